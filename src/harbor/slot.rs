//! One peer: what is done with messages to it, and who has the link.
//!
//! ```text
//!            C: dial            connected: our id byte out      their id byte
//!  ┌──────┐ ───────▶ connecting ───────────▶ ┌───────────┐ ─────────────────▶ ┌─────────────────┐
//!  │ Wait │          refused: pause, again   │ Handshake │                    │ Up              │
//!  │ holds│ ◀─────────────────────────────── │ holds     │                    │ Header⇄Content  │
//!  └──────┘   late or closed: pause, again   └───────────┘                    │ sends           │
//!     │  │                                      ▲     │ wrong id              └─────────────────┘
//!     │  └── D: ───────────────────┐            │     │                         ▲            │ lost
//!     │                            ▼            │     ▼                         │            │
//!     │                         ┌──────────────────────────┐   accepted, their id byte       │
//!     │                         │ Down: sends fail at once │ ──────────────────┤            │
//!     │                         └──────────────────────────┘ ◀─────────────────│────────────┘
//!     └───────── accepted, their id byte: ours out at once ────────────────────┘
//! ```
//!
//! Only the side that the master told to dial (`C`) dials, also after a loss, until the master says `D`. When both
//! sides dial at once, the dial of the lower id wins. A link that is up is never given up for another.

use super::account::{Account, Failure};
use super::backoff::Backoff;
use super::desk::{Desk, LinkChange, Role};
use super::held::{Held, HeldBounds};
use super::link::{Link, carriable};
use super::pending::Whose;
use super::waiters::Subject;
use super::{ConnId, DownReason, Event, Fault};
use crate::clock::Instant;
use crate::message::{
    CallError, Envelope, HarborAnswer, HarborId, Kind, LinkState, PeerStatus, SendError, SendReason,
};
use crate::mutant::{self, Mutant};
use crate::wire::Outbox;
use std::io;

mod liveness;
mod reading;

/// One of the 256 places for peers.
pub(super) struct Slot {
    id: HarborId,
    state: State,
    /// Where to dial it, as long as the master wants it dialled.
    address: Option<String>,
    backoff: Backoff,
    account: Account,
    used: bool,
}

enum State {
    /// Never linked: messages wait.
    Wait { held: Held, dial: Dial },
    /// Dialled and connected, our id byte is out: messages wait.
    Handshake(Handshake),
    /// Messages go out. Between frames or inside one: the decoder knows.
    Up(Box<Link>),
    /// The link was lost: messages fail.
    Down { dial: Dial },
}

/// What is being done about a connection that is not there.
enum Dial {
    Idle,
    Pause(Instant),
    Connecting(ConnId, Instant),
}

struct Handshake {
    conn: ConnId,
    outbox: Outbox,
    held: Held,
    deadline: Instant,
    was_down: bool,
}

/// The id has a link that stays.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InUse;

impl Slot {
    /// A slot that was never linked. In a node that is no member of anything it is down for good.
    pub(super) fn new(id: HarborId, is_member: bool) -> Self {
        let state = if is_member {
            State::Wait { held: Held::default(), dial: Dial::Idle }
        } else {
            State::Down { dial: Dial::Idle }
        };
        let (backoff, account) = (Backoff::default(), Account::default());
        Self { id, state, address: None, backoff, account, used: false }
    }

    // Messages.

    /// Sends, holds or fails a message, by the state.
    pub(super) fn send(&mut self, envelope: Envelope, desk: &mut Desk) {
        self.used = true;
        mutant::unless(Mutant::AcceptedUncounted, || self.account.accepted += 1);
        if let Err(reason) = carriable(&envelope) {
            return self.fail(envelope, reason.into(), desk);
        }
        match &mut self.state {
            State::Wait { held, .. } | State::Handshake(Handshake { held, .. }) => {
                let (before, bounds) = (held.bytes(), held_bounds(held, desk));
                match held.push(desk.now, envelope, bounds) {
                    Ok(expires) => {
                        desk.held_bytes += held.bytes() - before;
                        desk.wake_at(expires);
                    }
                    Err(envelope) => self.fail(envelope, Failure::Full, desk),
                }
            }
            State::Up(link) => {
                if let Err(SendError { reason, message }) = link.push(envelope, desk) {
                    if mutant::is(Mutant::FullInSilence) {
                        return self.account.fail(reason.into());
                    }
                    self.fail(message, reason.into(), desk);
                }
            }
            State::Down { .. } => self.fail(envelope, Failure::PeerDown, desk),
        }
    }

    /// Fails a message without a try.
    pub(super) fn refuse(&mut self, envelope: Envelope, reason: Failure, desk: &mut Desk) {
        self.used = true;
        self.account.accepted += 1;
        self.fail(envelope, reason, desk);
    }

    /// An accepted message ends here; who waits for its answer, or for this answer, is told.
    fn fail(&mut self, envelope: Envelope, reason: Failure, desk: &mut Desk) {
        mutant::unless(Mutant::FailedUncounted, || self.account.fail(reason));
        let told = reason.to_peer(self.id);
        if mutant::is(Mutant::FailedUntold)
            || (mutant::is(Mutant::AnswerLost) && envelope.kind == Kind::RESPONSE)
        {
            return;
        }
        if envelope.kind == Kind::RESPONSE && reason != Failure::PeerDown {
            desk.reply(Envelope::error(envelope.source, envelope.dest, envelope.session, told));
        } else {
            desk.refuse(&envelope, told);
        }
    }

    fn fail_held(&mut self, mut held: Held, reason: Failure, desk: &mut Desk) {
        if mutant::is(Mutant::HeldDroppedAtDeath) {
            return self.account.fail_many(reason, held.len() as u64);
        }
        while let Some(envelope) = take_held(&mut held, desk) {
            self.fail(envelope, reason, desk);
        }
    }

    // Who is dialled.

    /// The master says: dial it there.
    pub(super) fn announced(&mut self, address: String, desk: &mut Desk) {
        self.used = true;
        if desk.leaving {
            return;
        }
        let is_new = self.address.as_ref() != Some(&address);
        self.address = Some(address);
        self.backoff.reset();
        match self.dial() {
            Some(Dial::Connecting(..)) if !is_new => {}
            Some(_) => self.connect(desk),
            // A newcomer under this id: its old link may be one that nobody closed.
            None => self.probe(desk.bounds.heartbeat_deadline, desk),
        }
    }

    /// The master says: it is dead. A link that is up knows better.
    pub(super) fn dead(&mut self, desk: &mut Desk) {
        self.used = true;
        self.address = None;
        self.stop_dialling(desk);
        if let State::Wait { held, .. } = &mut self.state {
            let held = std::mem::take(held);
            self.state = State::Down { dial: Dial::Idle };
            self.fail_held(held, Failure::PeerDown, desk);
        }
    }

    fn dial(&mut self) -> Option<&mut Dial> {
        match &mut self.state {
            State::Wait { dial, .. } | State::Down { dial } => Some(dial),
            State::Handshake(_) | State::Up(_) => None,
        }
    }

    fn stop_dialling(&mut self, desk: &mut Desk) {
        if let Some(dial) = self.dial()
            && let Dial::Connecting(conn, _) = std::mem::replace(dial, Dial::Idle)
        {
            desk.close(conn);
        }
    }

    fn connect(&mut self, desk: &mut Desk) {
        self.stop_dialling(desk);
        let (id, address) = (self.id, self.address.clone());
        if let (Some(dial), Some(address)) = (self.dial(), address) {
            let deadline = desk.now + desk.bounds.handshake_time_max;
            *dial = Dial::Connecting(desk.dial(Role::Link(id), address), deadline);
            desk.wake_at(deadline);
        }
    }

    /// Dials again later, if the master has not taken back its word.
    fn pause(&mut self, desk: &mut Desk) {
        if self.address.is_none() || desk.leaving || mutant::is(Mutant::NoRedial) {
            return;
        }
        let until = desk.now + self.backoff.pause(&desk.bounds, &mut desk.jitter);
        if let Some(dial) = self.dial() {
            *dial = Dial::Pause(until);
            desk.wake_at(until);
        }
    }

    pub(super) fn is_dialling(&mut self, conn: ConnId) -> bool {
        matches!(self.dial(), Some(Dial::Connecting(dialled, _)) if *dialled == conn)
    }

    pub(super) fn connect_failed(&mut self, conn: ConnId, kind: io::ErrorKind, desk: &mut Desk) {
        let address = self.address.clone().unwrap_or_default();
        if self.is_dialling(conn)
            && let Some(dial) = self.dial()
        {
            *dial = Dial::Idle;
            desk.event(Event::ConnectFailed { address, kind });
            self.pause(desk);
        }
    }

    // The handshake.

    /// The dialled connection is there: our id byte goes out, nothing else.
    pub(super) fn connected(&mut self, conn: ConnId, desk: &mut Desk) {
        let (held, was_down) = match &mut self.state {
            State::Wait { held, dial: Dial::Connecting(dialled, _) } if *dialled == conn => {
                (std::mem::take(held), false)
            }
            State::Down { dial: Dial::Connecting(dialled, _) } if *dialled == conn => (Held::default(), true),
            State::Wait { .. } | State::Handshake(_) | State::Up(_) | State::Down { .. } => return,
        };
        let outbox = id_byte(desk.own, conn, desk);
        let deadline = desk.now + desk.bounds.handshake_time_max;
        desk.wake_at(deadline);
        self.state = State::Handshake(Handshake { conn, outbox, held, deadline, was_down });
    }

    /// An accepted connection said that it is this peer: our id byte goes out and the link is up.
    ///
    /// # Errors
    /// [`InUse`] if the peer has a link that stays; nothing is written then. Whether that link lives is looked at: if it
    /// does not, the peer's next try succeeds.
    pub(super) fn greeted(&mut self, conn: ConnId, desk: &mut Desk) -> Result<(), InUse> {
        self.used = true;
        let held = match &mut self.state {
            State::Up(_) if mutant::is(Mutant::LinkTakenOver) => {
                self.give_up(DownReason::Closed, desk);
                Held::default()
            }
            State::Up(_) => {
                self.probe(desk.bounds.probe_time_max, desk);
                return Err(InUse);
            }
            State::Handshake(_) if desk.own < self.id => return Err(InUse),
            State::Handshake(handshake) => {
                desk.close(handshake.conn);
                std::mem::take(&mut handshake.held)
            }
            State::Wait { held, .. } => std::mem::take(held),
            State::Down { .. } => Held::default(),
        };
        self.stop_dialling(desk);
        desk.set_role(conn, Role::Link(self.id));
        let outbox = id_byte(desk.own, conn, desk);
        self.up(conn, outbox, held, desk);
        Ok(())
    }

    /// The handshake is done: what was held goes out first.
    fn up(&mut self, conn: ConnId, outbox: Outbox, mut held: Held, desk: &mut Desk) {
        let mut link = Box::new(Link::new(conn, outbox, desk));
        mutant::unless(Mutant::UpSkipped, || desk.event(Event::Up(self.id)));
        desk.link_changes.push_back(LinkChange::Up(self.id));
        desk.answer_all(Subject::Connect(self.id), &HarborAnswer::Up);
        while let Some(envelope) = take_held(&mut held, desk) {
            if mutant::is(Mutant::HeldForgotten) {
                self.account.fail(Failure::Expired);
                continue;
            }
            if let Err(SendError { reason, message }) = link.push(envelope, desk) {
                self.fail(message, reason.into(), desk);
            }
        }
        self.state = State::Up(link);
    }

    /// The handshake did not work out. What is held goes on waiting, if the peer was never linked and is not dead meanwhile.
    fn handshake_failed(&mut self, desk: &mut Desk) {
        if let State::Handshake(handshake) = &mut self.state {
            let (held, was_down) = (std::mem::take(&mut handshake.held), handshake.was_down);
            if was_down || self.address.is_none() {
                self.state = State::Down { dial: Dial::Idle };
                self.fail_held(held, Failure::PeerDown, desk);
            } else {
                self.state = State::Wait { held, dial: Dial::Idle };
            }
            self.pause(desk);
        }
    }

    /// Somebody else answered: the address is wrong, or a bit changed on its way. The master may give another, or call the peer
    /// dead; until then it is tried again after the longest pause.
    fn wrong_id(&mut self, got: HarborId, desk: &mut Desk) {
        if let State::Handshake(handshake) = &mut self.state {
            let (conn, held) = (handshake.conn, std::mem::take(&mut handshake.held));
            self.state = State::Down { dial: Dial::Idle };
            desk.fault(conn, Some(self.id), Fault::WrongId { expected: self.id, got });
            self.fail_held(held, Failure::PeerDown, desk);
            self.backoff.exhaust();
            self.pause(desk);
        }
    }

    // The link.

    /// Bytes of this slot's connection.
    pub(super) fn bytes(&mut self, conn: ConnId, mut chunk: &[u8], desk: &mut Desk) {
        if let State::Handshake(handshake) = &mut self.state
            && handshake.conn == conn
        {
            let Some((answer, rest)) = chunk.split_first() else { return };
            if HarborId::new(*answer) != self.id && !mutant::is(Mutant::WrongIdTaken) {
                return self.wrong_id(HarborId::new(*answer), desk);
            }
            chunk = rest;
            let (outbox, held) = (std::mem::take(&mut handshake.outbox), std::mem::take(&mut handshake.held));
            self.up(conn, outbox, held, desk);
        }
        if matches!(&self.state, State::Up(link) if link.conn == conn) {
            self.read(chunk, desk);
        }
    }

    /// The peer broke the protocol: its link is closed, and dialled again after the longest pause. A bit that changed on its
    /// way is no reason to part for good, and a peer that is broken no reason to hurry. (If it was the peer that found a
    /// fault in what we said, the link was lost soon after it came up, and the pauses grow.)
    pub(super) fn fault(&mut self, fault: Fault, desk: &mut Desk) {
        if let State::Up(link) = &self.state {
            desk.fault(link.conn, Some(self.id), fault);
            self.lost(DownReason::Fault, desk);
        }
    }

    /// The peer lives again, and this link is to its life before.
    pub(super) fn supersede(&mut self, desk: &mut Desk) {
        if let State::Up(link) = &self.state {
            desk.close(link.conn);
            self.lost(DownReason::Superseded, desk);
        }
    }

    /// Bytes of this slot's outbox were written.
    pub(super) fn sent(&mut self, desk: &mut Desk) {
        if let State::Up(link) = &mut self.state {
            link.note_sent(desk);
        }
        if desk.leaving {
            self.leave(desk);
        }
    }

    /// The connection ended by itself.
    pub(super) fn closed(&mut self, conn: ConnId, desk: &mut Desk) {
        match &self.state {
            State::Handshake(handshake) if handshake.conn == conn => self.handshake_failed(desk),
            State::Up(link) if link.conn == conn => self.lost(DownReason::Closed, desk),
            State::Wait { .. } | State::Down { .. } => {
                self.connect_failed(conn, io::ErrorKind::ConnectionAborted, desk);
            }
            State::Handshake(_) | State::Up(_) => {}
        }
    }

    /// The link is gone: every call that it owed an answer fails, oldest first, then the peer is down.
    fn lost(&mut self, reason: DownReason, desk: &mut Desk) {
        let down = State::Down { dial: Dial::Idle };
        let State::Up(mut link) = std::mem::replace(&mut self.state, down) else { return };
        if reason == DownReason::Fault {
            self.backoff.exhaust();
        } else if desk.now.since(link.since) >= desk.bounds.redial_time_max {
            // One that comes up only to be lost at once did not work.
            self.backoff.reset();
        }
        link.forget_memory(self.id, desk);
        mutant::unless(Mutant::UnknownUncounted, || self.account.unknown += link.in_flight());
        mutant::unless(Mutant::UnsentUncounted, || self.account.fail_many(Failure::PeerDown, link.unsent()));
        mutant::when(Mutant::DownFirst, || desk.event(Event::Down(self.id, reason)));
        while let Some(call) =
            desk.pending.pop(self.id, Whose::Ours).or_else(|| desk.pending.pop(self.id, Whose::Theirs))
        {
            if mutant::is(Mutant::PendingKept) {
                continue;
            }
            let was_sent = call.frame <= link.written() && !mutant::is(Mutant::UnknownCalledUnsent);
            let told =
                if was_sent { CallError::OutcomeUnknown(self.id) } else { CallError::PeerDown(self.id) };
            let (caller, session) = call.key;
            desk.reply(Envelope::error(call.dest, caller, session, told));
        }
        if !mutant::is(Mutant::DownFirst) && !mutant::is(Mutant::DownSkipped) {
            desk.event(Event::Down(self.id, reason));
        }
        desk.link_changes.push_back(LinkChange::Down(self.id));
        desk.answer_all(Subject::Link(self.id), &HarborAnswer::Down);
        self.pause(desk);
    }

    /// The node leaves: nothing new is dialled, an idle link is closed, one with unsent bytes stays until they are out.
    pub(super) fn leave(&mut self, desk: &mut Desk) {
        self.address = None;
        self.stop_dialling(desk);
        match &mut self.state {
            State::Wait { held, .. } => {
                let held = std::mem::take(held);
                self.state = State::Down { dial: Dial::Idle };
                self.fail_held(held, Failure::Shutdown, desk);
            }
            State::Handshake(handshake) => {
                let (conn, held) = (handshake.conn, std::mem::take(&mut handshake.held));
                desk.close(conn);
                self.state = State::Down { dial: Dial::Idle };
                self.fail_held(held, Failure::Shutdown, desk);
            }
            State::Up(link) if link.outbox.is_empty() => self.abandon(desk),
            State::Up(_) | State::Down { .. } => {}
        }
    }

    /// The node has left: the link is closed with whatever is unsent.
    pub(super) fn abandon(&mut self, desk: &mut Desk) {
        self.give_up(DownReason::Left, desk);
    }

    // Time.

    /// Does what is due.
    pub(super) fn expire(&mut self, desk: &mut Desk) {
        while desk.pending.pop_expired(self.id, Whose::Theirs, desk.now).is_some() {}
        let now = desk.now;
        while let Some(held) = self.held_mut() {
            let before = held.bytes();
            let Some(envelope) = held.pop_expired(now) else { break };
            desk.held_bytes -= before - held.bytes();
            if mutant::is(Mutant::HeldExpiresInSilence) {
                self.account.fail(Failure::Expired);
                continue;
            }
            self.fail(envelope, Failure::Expired, desk);
        }
        if self.step_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        match &self.state {
            State::Handshake(handshake) => {
                desk.fault(handshake.conn, Some(self.id), Fault::HandshakeTimeout);
                self.handshake_failed(desk);
            }
            State::Wait { dial, .. } | State::Down { dial } => match *dial {
                Dial::Connecting(conn, _) => {
                    desk.close(conn);
                    self.connect_failed(conn, io::ErrorKind::TimedOut, desk);
                }
                Dial::Pause(_) => self.connect(desk),
                Dial::Idle => {}
            },
            State::Up(_) => self.check_liveness(desk),
        }
    }

    /// When something is due.
    pub(super) fn deadline(&self, desk: &Desk) -> Option<Instant> {
        let held = self.held().and_then(Held::deadline);
        [self.step_deadline(), held, desk.pending.deadline(self.id)].into_iter().flatten().min()
    }

    /// When the next step towards a link, or the next look at it, is due.
    fn step_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Handshake(handshake) => Some(handshake.deadline),
            State::Wait { dial, .. } | State::Down { dial } => match dial {
                Dial::Pause(until) | Dial::Connecting(_, until) => Some(*until),
                Dial::Idle => None,
            },
            State::Up(link) => link.due(),
        }
    }

    // What it knows.

    fn held(&self) -> Option<&Held> {
        match &self.state {
            State::Wait { held, .. } | State::Handshake(Handshake { held, .. }) => Some(held),
            State::Up(_) | State::Down { .. } => None,
        }
    }

    fn held_mut(&mut self) -> Option<&mut Held> {
        match &mut self.state {
            State::Wait { held, .. } | State::Handshake(Handshake { held, .. }) => Some(held),
            State::Up(_) | State::Down { .. } => None,
        }
    }

    /// Whether anything was ever heard of the peer, or sent to it.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// The outbox of this slot's connection.
    pub(super) fn outbox(&mut self, conn: ConnId) -> Option<&mut Outbox> {
        match &mut self.state {
            State::Handshake(handshake) if handshake.conn == conn => Some(&mut handshake.outbox),
            State::Up(link) if link.conn == conn => Some(&mut link.outbox),
            State::Wait { .. } | State::Handshake(_) | State::Up(_) | State::Down { .. } => None,
        }
    }

    /// What became of the messages to this peer.
    pub(super) fn account(&self) -> Account {
        let mut account = self.account;
        account.queued += self.held().map_or(0, Held::len) as u64;
        if let State::Up(link) = &self.state {
            account.queued += link.unsent();
            account.in_flight += link.in_flight();
        }
        account
    }

    /// Calls to the peer that have no answer yet.
    pub(super) fn pending(&self, desk: &Desk) -> usize {
        desk.pending.len(self.id, Whose::Ours) + desk.pending.len(self.id, Whose::Theirs)
    }

    /// The peer as a status request shows it; none if it was never heard of.
    pub(super) fn status(&self, desk: &Desk) -> Option<PeerStatus> {
        let state = match &self.state {
            State::Wait { .. } => LinkState::Wait,
            State::Handshake(_) => LinkState::Handshake,
            State::Up(link) if link.decoder.is_inside() => LinkState::Content,
            State::Up(_) => LinkState::Header,
            State::Down { .. } => LinkState::Down,
        };
        self.used.then(|| PeerStatus {
            harbor: self.id,
            address: self.address.clone(),
            state,
            held: self.held().map_or(0, Held::len),
            pending: self.pending(desk),
        })
    }
}

/// What may be held here, and is not held for others.
fn held_bounds(held: &Held, desk: &Desk) -> HeldBounds {
    let room = desk.bounds.held_bytes_all_max.saturating_sub(desk.held_bytes - held.bytes());
    HeldBounds {
        messages_max: desk.bounds.held_messages_max,
        bytes_max: desk.bounds.held_bytes_max.min(room),
        time_max: desk.bounds.held_time_max,
    }
}

/// The oldest message that is held.
fn take_held(held: &mut Held, desk: &mut Desk) -> Option<Envelope> {
    let before = held.bytes();
    let envelope = held.pop();
    desk.held_bytes -= before - held.bytes();
    envelope
}

/// A new outbox with our id byte.
fn id_byte(own: HarborId, conn: ConnId, desk: &mut Desk) -> Outbox {
    let mut outbox = Outbox::new();
    outbox.push_bytes(&[own.get()]);
    desk.transmit(conn);
    outbox
}

impl From<SendReason> for Failure {
    fn from(reason: SendReason) -> Self {
        match reason {
            SendReason::Full => Self::Full,
            SendReason::Unknown => Self::NoName,
            SendReason::PeerDown => Self::PeerDown,
            SendReason::TooLarge => Self::TooLarge,
            SendReason::Shutdown => Self::Shutdown,
            SendReason::Denied => Self::Denied,
        }
    }
}

#[cfg(test)]
mod tests;
