//! One connection that is up: frames out, frames in, and how far each got.

use super::desk::Desk;
use super::kin;
use super::patience::Patience;
use super::pending::{Call, Whose};
use super::pulse::Pulse;
use super::{ConnId, Event};
use crate::clock::Instant;
use crate::limits::{FRAME_PACE_TIME, FRAME_STEP_BYTES, LARGE_WARN_BYTES, PAYLOAD_BYTES_MAX, STALL_STEPS};
use crate::message::{Body, CallError, Envelope, HarborId, Kind, SendError, SendReason};
use crate::mutant::{self, Mutant};
use crate::wire::{FrameDecoder, Outbox};
use std::collections::VecDeque;
use std::time::Duration;

/// A link that is up.
pub(super) struct Link {
    pub(super) conn: ConnId,
    pub(super) since: Instant,
    pub(super) decoder: FrameDecoder,
    pub(super) outbox: Outbox,
    pub(super) pulse: Pulse,
    /// How long none of the unsent bytes has moved; none if there are none.
    pub(super) stall: Option<Patience>,
    /// Memory of the frame that is being read, if it is a large one.
    pub(super) frame: Option<Reserved>,
    /// The link is not read: there is no memory for its next frame.
    pub(super) pause: Option<Pause>,
    /// Our hello was said.
    pub(super) is_greeted: bool,
    /// Until when the peer does not read, as it said.
    pub(super) peer_rests_until: Instant,
    /// Until when the system has been told to look for the peer.
    pub(super) probed_until: Instant,
    /// Lengths of the frames that are not written in full, the oldest first.
    unsent: VecDeque<u32>,
    /// Where in the outbox the oldest of them ends.
    unsent_end: u64,
    /// Frames handed to the outbox; they are numbered from 1.
    frames: u64,
    /// The latest frame that an answer proved to have arrived, and with it all before.
    confirmed: u64,
    warn_bytes: usize,
    /// Of the unsent bytes, those that are counted for the node.
    counted: usize,
    /// Payloads from here on are warned of, sent and received.
    large_sent: usize,
    large_received: usize,
}

impl Link {
    /// A link on a connection whose handshake is done; `outbox` may still hold our id byte.
    pub(super) fn new(conn: ConnId, outbox: Outbox, desk: &mut Desk) -> Self {
        let decoder = FrameDecoder::with_gate(desk.own, FRAME_STEP_BYTES);
        let warn_bytes = desk.bounds.unsent_warn_bytes;
        let unsent_end = outbox.pushed();
        let mut link = Self {
            conn,
            since: desk.now,
            decoder,
            outbox,
            pulse: Pulse::default(),
            stall: None,
            frame: None,
            pause: None,
            is_greeted: false,
            peer_rests_until: Instant::default(),
            probed_until: Instant::default(),
            unsent: VecDeque::new(),
            unsent_end,
            frames: 0,
            confirmed: 0,
            warn_bytes,
            counted: 0,
            large_sent: LARGE_WARN_BYTES,
            large_received: LARGE_WARN_BYTES,
        };
        if !link.outbox.is_empty() && !mutant::is(Mutant::FirstBytesUnwatched) {
            link.expect_progress(desk);
        }
        link
    }

    /// Appends a frame to the outbox. A call is remembered until it is answered.
    ///
    /// # Errors
    /// Gives the message back: too many unsent bytes or pending calls, or a message that no frame can carry.
    pub(super) fn push(&mut self, envelope: Envelope, desk: &mut Desk) -> Result<(), SendError<Envelope>> {
        let is_call = is_call(&envelope);
        let is_full =
            self.outbox.len() >= unsent_max(&envelope, desk) && !mutant::is(Mutant::UnsentUnbounded);
        if is_full || (is_call && !has_place(&envelope, desk)) {
            return Err(SendError::new(SendReason::Full, envelope));
        }
        self.append(envelope, desk)
    }

    /// Appends a frame, however many bytes are unsent.
    ///
    /// # Errors
    /// Gives a message back that no frame can carry.
    pub(super) fn append(&mut self, envelope: Envelope, desk: &mut Desk) -> Result<(), SendError<Envelope>> {
        let (peer, is_call) = (envelope.dest.harbor(), is_call(&envelope));
        let (source, dest, session) = (envelope.source, envelope.dest, envelope.session);
        note_large(&mut self.large_sent, &envelope, peer, true, desk);
        let (was_empty, before) = (self.outbox.is_empty(), self.outbox.pushed());
        self.outbox.push_frame(kin::frame(envelope, desk))?;
        let len = self.outbox.pushed() - before;
        if self.unsent.is_empty() {
            self.unsent_end = self.outbox.pushed();
        }
        self.unsent.push_back(len as u32);
        self.frames += 1;
        self.count(desk);
        if is_call && !mutant::is(Mutant::PendingForgotten) {
            let expires = desk.now + desk.bounds.call_time_max;
            desk.pending.insert(Call { key: (source, session), dest, frame: self.frames, expires });
            match desk.pending.whose(source) {
                Whose::Ours => {}
                Whose::Theirs => desk.wake_at(expires),
            }
        }
        if was_empty {
            desk.transmit(self.conn);
            self.expect_progress(desk);
        }
        self.warn(peer, desk);
        Ok(())
    }

    /// There are unsent bytes: from now on they have to move.
    fn expect_progress(&mut self, desk: &mut Desk) {
        let limit = desk.bounds.stall_time_max;
        if !limit.is_zero() {
            let stall = Patience::new(desk.now, limit / STALL_STEPS, limit);
            desk.wake_at(stall.due());
            self.stall = Some(stall);
        }
    }

    /// When the link has to be looked at.
    pub(super) fn due(&self) -> Option<Instant> {
        let pause = self.pause.as_ref().map(|pause| pause.patience.due());
        let frame = self.frame.as_ref().map(|frame| frame.patience.due());
        let stall = self.stall.as_ref().map(Patience::due);
        [pause, frame, stall, self.pulse.due()].into_iter().flatten().min()
    }

    /// Counts the unsent bytes for the node.
    fn count(&mut self, desk: &mut Desk) {
        desk.unsent_bytes = desk.unsent_bytes + self.outbox.len() - self.counted;
        self.counted = self.outbox.len();
    }

    /// The link is lost: what was reserved for its frame, what it waits for and what it did not send is for others.
    pub(super) fn forget_memory(&mut self, peer: HarborId, desk: &mut Desk) {
        self.release_frame(desk);
        desk.inbound.forget(peer);
        desk.unsent_bytes -= std::mem::take(&mut self.counted);
    }

    /// There is memory for the frame that waits.
    pub(super) fn begin_frame(&mut self, bytes: usize, desk: &mut Desk) {
        let frame = Reserved::new(bytes, desk.now);
        desk.wake_at(frame.patience.due());
        self.frame = Some(frame);
        self.decoder.admit();
    }

    /// The frame that was being read is read: from now on its bytes are those of a message.
    pub(super) fn release_frame(&mut self, desk: &mut Desk) {
        if let Some(frame) = self.frame.take() {
            desk.inbound.release(frame.bytes);
            desk.inbound.pass(frame.bytes);
        }
    }

    fn warn(&mut self, peer: HarborId, desk: &mut Desk) {
        let bytes = self.outbox.len();
        if bytes >= self.warn_bytes {
            desk.event(Event::Unsent { peer, bytes });
            while self.warn_bytes <= bytes {
                self.warn_bytes = self.warn_bytes.saturating_mul(2).max(1);
            }
        }
    }

    /// A message came from the peer.
    pub(super) fn note_received(&mut self, envelope: &Envelope, peer: HarborId, desk: &mut Desk) {
        note_large(&mut self.large_received, envelope, peer, false, desk);
    }

    /// Bytes of the outbox were written: which frames are out.
    pub(super) fn note_sent(&mut self, desk: &mut Desk) {
        self.count(desk);
        let sent = self.outbox.sent();
        let sent = sent - u64::from(mutant::is(Mutant::WrittenLate));
        while !self.unsent.is_empty() && self.unsent_end <= sent {
            self.unsent.pop_front();
            self.unsent_end += self.unsent.front().copied().map_or(0, u64::from);
        }
        if self.outbox.is_empty() {
            self.warn_bytes = desk.bounds.unsent_warn_bytes;
            self.stall = None;
        }
        self.stall.iter_mut().for_each(|stall| stall.restart(desk.now));
    }

    /// An answer proved that this frame arrived. (An answer to a frame that is not out yet proves nothing.)
    pub(super) fn confirm(&mut self, frame: u64) {
        let most = if mutant::is(Mutant::EverythingConfirmed) { self.frames } else { self.written() };
        let frame = if mutant::is(Mutant::EverythingConfirmed) { self.frames } else { frame };
        self.confirmed = self.confirmed.max(frame.min(most));
    }

    /// Frames that an answer proved to have arrived.
    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Frames handed to the outbox.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames that are not written in full.
    pub(super) fn unsent(&self) -> u64 {
        self.unsent.len() as u64
    }

    /// Frames that are written in full.
    pub(super) fn written(&self) -> u64 {
        self.frames - self.unsent()
    }

    /// Frames that are written and not proved to have arrived.
    pub(super) fn in_flight(&self) -> u64 {
        self.written() - self.confirmed
    }
}

/// Memory that is reserved for the frame that is being read.
pub(super) struct Reserved {
    pub(super) bytes: usize,
    /// What had arrived when it was last looked at, and when that is looked at again.
    pub(super) arrived: usize,
    pub(super) patience: Patience,
}

impl Reserved {
    pub(super) fn new(bytes: usize, now: Instant) -> Self {
        let patience = Patience::new(now, FRAME_PACE_TIME / STALL_STEPS, FRAME_PACE_TIME);
        Self { bytes, arrived: 0, patience }
    }
}

/// A link that is not read.
pub(super) struct Pause {
    /// A compressed message that comes first.
    pub(super) compressed: Option<Envelope>,
    /// What was read before.
    pub(super) rest: Vec<u8>,
    pub(super) patience: Patience,
}

impl Pause {
    pub(super) fn new(compressed: Option<Envelope>, rest: Vec<u8>, now: Instant, limit: Duration) -> Self {
        Self { compressed, rest, patience: Patience::new(now, limit / STALL_STEPS, limit) }
    }
}

/// Warns of a large payload, if the peer is real as far as this node knows, and raises the mark.
fn note_large(mark: &mut usize, envelope: &Envelope, peer: HarborId, is_sent: bool, desk: &mut Desk) {
    let bytes = envelope.body.bytes().map_or(0, <[u8]>::len);
    if bytes >= *mark && !desk.met.contains_key(&peer) {
        desk.event(Event::Large { peer, bytes, is_sent });
        while *mark <= bytes {
            *mark = mark.saturating_mul(2);
        }
    }
}

/// Whether somebody waits for the answer to this message.
pub(super) fn is_call(envelope: &Envelope) -> bool {
    envelope.session.wants_answer() && envelope.kind.is_answered()
}

/// Whether the table of pending calls has a place for this one. If it is full, the oldest call gives way: one that was
/// passed on for another node at once, one of ours if it is old; its caller, if it still waits, is told.
fn has_place(envelope: &Envelope, desk: &mut Desk) -> bool {
    let (peer, whose) = (envelope.dest.harbor(), desk.pending.whose(envelope.source));
    let one_more = usize::from(mutant::is(Mutant::PendingOneTooMany));
    if desk.pending.len(peer, whose) < desk.bounds.pending_calls_max + one_more {
        return true;
    }
    match whose {
        Whose::Theirs => desk.pending.pop(peer, whose).is_some(),
        Whose::Ours => match desk.pending.pop_expired(peer, whose, desk.now) {
            Some(Call { key: (caller, session), dest, .. }) => {
                desk.reply(Envelope::error(dest, caller, session, CallError::OutcomeUnknown(peer)));
                true
            }
            None => false,
        },
    }
}

/// Whether a frame can carry this message.
///
/// # Errors
/// [`SendReason::TooLarge`] or [`SendReason::Denied`].
pub(super) fn carriable(envelope: &Envelope) -> Result<(), SendReason> {
    match &envelope.body {
        _ if !envelope.kind.may_leave() => Err(SendReason::Denied),
        Body::Typed(_) => Err(SendReason::Denied),
        Body::Failure(_) if envelope.kind != Kind::ERROR => Err(SendReason::Denied),
        Body::Bytes(payload) if payload.len() > PAYLOAD_BYTES_MAX => Err(SendReason::TooLarge),
        Body::Bytes(_) | Body::Empty | Body::Failure(_) => Ok(()),
    }
}

/// How much may be unsent for this message to be sent: as much as there is room left in the node, so that a peer that does
/// not read leaves the others at least as much as it takes. Errors have as much room again as everything else: a caller on
/// the other side waits for them.
fn unsent_max(envelope: &Envelope, desk: &Desk) -> usize {
    let room = desk.bounds.unsent_bytes_all_max.saturating_sub(desk.unsent_bytes);
    let bytes = desk.bounds.unsent_bytes_max.min(room);
    let is_error = envelope.kind == Kind::ERROR && matches!(envelope.body, Body::Empty | Body::Failure(_));
    if is_error { bytes.saturating_mul(2) } else { bytes }
}
