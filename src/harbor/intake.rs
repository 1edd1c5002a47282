//! What a peer's frames may do here.

use super::Fault;
use super::desk::Desk;
use super::kin;
use super::link::{Link, is_call};
use crate::message::{CallError, Envelope, Handle, HarborId, Kind};
use crate::mutant::{self, Mutant};
use crate::wire;

/// What waits until there is memory for it.
pub(super) struct Later<'a> {
    /// A compressed message that comes before the rest.
    pub(super) compressed: Option<Envelope>,
    /// Bytes that were read and not decoded.
    pub(super) rest: &'a [u8],
}

/// Decodes everything in the chunk for which there is memory; what is for services is delivered in order.
///
/// # Errors
/// The frame that breaks the link. Everything before it was delivered.
pub(super) fn receive<'a>(
    peer: HarborId,
    link: &mut Link,
    mut chunk: &'a [u8],
    desk: &mut Desk,
) -> Result<Option<Later<'a>>, Fault> {
    desk.inbound.pass(chunk.len());
    loop {
        let Some(frame) = link.decoder.feed(&mut chunk)? else {
            match link.decoder.gated() {
                Some(bytes) if desk.inbound.reserve(peer, bytes) => {
                    link.begin_frame(bytes, desk);
                    continue;
                }
                Some(_) => return Ok(Some(Later { compressed: None, rest: chunk })),
                None => return Ok(None),
            }
        };
        desk.intake.frames += 1;
        if !kin::is_compressed(peer, &frame, desk)? {
            link.release_frame(desk);
            take(peer, frame, link, desk);
        } else if desk.inbound.may_inflate(peer) {
            inflate(peer, &frame, link, desk)?;
        } else {
            return Ok(Some(Later { compressed: Some(frame), rest: chunk }));
        }
    }
}

/// Takes the message inside a compressed one. Its bytes count from before there is memory for them.
///
/// # Errors
/// It is damaged.
pub(super) fn inflate(
    peer: HarborId,
    frame: &Envelope,
    link: &mut Link,
    desk: &mut Desk,
) -> Result<(), Fault> {
    desk.inbound.pass(wire::inflated_len(frame)?);
    let message = wire::decompress(frame)?;
    link.release_frame(desk);
    take(peer, message, link, desk);
    Ok(())
}

fn take(peer: HarborId, mut envelope: Envelope, link: &mut Link, desk: &mut Desk) {
    link.note_received(&envelope, peer, desk);
    match envelope.kind {
        Kind::SYSTEM | Kind::HARBOR | Kind::SOCKET if !mutant::is(Mutant::ReservedDelivered) => {
            desk.intake.dropped += 1;
        }
        Kind::ERROR if !envelope.session.wants_answer() => bury(peer, envelope, desk),
        Kind::RESPONSE | Kind::ERROR => answer(peer, envelope, link, desk),
        kind => {
            desk.intake.debug += u64::from(kind == Kind::DEBUG);
            if is_made_up(&envelope, desk) {
                envelope.source = Handle::NONE;
            } else {
                come_home(peer, &envelope, link, desk);
            }
            deliver(peer, envelope, desk);
        }
    }
}

/// A request of this node that was passed on from node to node and came back is no other node's to answer any more: whoever has
/// it here answers its asker without the harbor. If it is passed on again it is remembered again.
fn come_home(peer: HarborId, envelope: &Envelope, link: &mut Link, desk: &mut Desk) {
    // The session of anything else is no call: that of a multicast packet is its channel.
    if envelope.source.is_remote(desk.own) || !is_call(envelope) {
        return;
    }
    if let Some(call) = desk.pending.remove((envelope.source, envelope.session))
        && call.dest.harbor() == peer
    {
        link.confirm(call.frame);
    }
}

fn deliver(peer: HarborId, envelope: Envelope, desk: &mut Desk) {
    count(peer, &envelope, desk);
    if kin::is_addressed(&envelope, desk) {
        return desk.kin_mail.push_back((peer, envelope));
    }
    desk.deliver(envelope);
}

/// Whether a call comes from a service of this node that has no such call out. A call that was passed back to this node is
/// answered by its services, which go by the session alone: the answer to one that a peer made up would end another call.
fn is_made_up(envelope: &Envelope, desk: &Desk) -> bool {
    is_call(envelope)
        && !envelope.source.is_remote(desk.own)
        && !desk.pending.contains((envelope.source, envelope.session))
}

fn count(peer: HarborId, envelope: &Envelope, desk: &mut Desk) {
    desk.intake.delivered += 1;
    // Multicast and redirected messages carry foreign sources, so they are only counted.
    if envelope.source.harbor() != peer {
        desk.intake.foreign += 1;
    }
}

/// An answer ends the call whose entry it finds, and nothing else: the runtime goes by the session alone, so one that finds
/// none is dropped here. In the healthy case it is late, and its call is over.
///
/// It may come over the link of another node than the one that was called, because that one may have passed the request
/// on. So a peer can end our calls to any other if it guesses receiver and session, as in Skynet; it cannot end one that
/// never left this node.
fn answer(peer: HarborId, envelope: Envelope, link: &mut Link, desk: &mut Desk) {
    let Some(call) = desk.pending.remove((envelope.dest, envelope.session)) else {
        desk.intake.stray += 1;
        mutant::when(Mutant::AnyAnswer, || desk.complete(envelope));
        return;
    };
    if call.dest.harbor() == peer {
        link.confirm(call.frame);
    }
    count(peer, &envelope, desk);
    mutant::unless(Mutant::AnswerDropped, || desk.complete(envelope));
}

/// The source of an ERROR without a session is dead: the calls of its receiver to it end, all of which are in this table.
/// Only the source's own node can know.
fn bury(peer: HarborId, envelope: Envelope, desk: &mut Desk) {
    if envelope.source.harbor() != peer && !mutant::is(Mutant::AnyoneBuries) {
        desk.intake.stray += 1;
        return;
    }
    while let Some(call) = desk.pending.pop_pair(envelope.dest, envelope.source) {
        let (caller, session) = call.key;
        if mutant::is(Mutant::BuriedInSilence) {
            continue;
        }
        desk.complete(Envelope::error(call.dest, caller, session, CallError::NoService));
    }
    deliver(peer, envelope, desk);
}
