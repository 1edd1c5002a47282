//! What a peer's frames may do here.

use super::Fault;
use super::desk::Desk;
use super::kin;
use super::link::{Link, is_call};
use crate::message::{CallError, Envelope, Handle, HarborId, Kind};

/// Decodes everything in the chunk; what is for services is delivered in order.
///
/// # Errors
/// The frame that breaks the link. Everything before it was delivered.
pub(super) fn receive(
    peer: HarborId,
    link: &mut Link,
    mut chunk: &[u8],
    desk: &mut Desk,
) -> Result<(), Fault> {
    while let Some(frame) = link.decoder.feed(&mut chunk)? {
        desk.intake.frames += 1;
        let envelope = kin::message(peer, frame, desk)?;
        link.note_received(&envelope, peer, desk);
        match envelope.kind {
            Kind::SYSTEM | Kind::HARBOR | Kind::SOCKET => desk.intake.dropped += 1,
            Kind::ERROR if !envelope.session.wants_answer() => bury(peer, envelope, desk),
            Kind::RESPONSE | Kind::ERROR => answer(peer, envelope, link, desk),
            kind => {
                desk.intake.debug += u64::from(kind == Kind::DEBUG);
                deliver(peer, envelope, desk);
            }
        }
    }
    Ok(())
}

fn deliver(peer: HarborId, mut envelope: Envelope, desk: &mut Desk) {
    count(peer, &envelope, desk);
    if is_made_up(&envelope, desk) {
        envelope.source = Handle::NONE;
    }
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
        return;
    };
    if call.dest.harbor() == peer {
        link.confirm(call.frame);
    }
    count(peer, &envelope, desk);
    desk.complete(envelope);
}

/// The source of an ERROR without a session is dead: the calls of its receiver to it end, all of which are in this table.
/// Only the source's own node can know.
fn bury(peer: HarborId, envelope: Envelope, desk: &mut Desk) {
    if envelope.source.harbor() != peer {
        desk.intake.stray += 1;
        return;
    }
    while let Some(call) = desk.pending.pop_pair(envelope.dest, envelope.source) {
        let (caller, session) = call.key;
        desk.complete(Envelope::error(call.dest, caller, session, CallError::NoService));
    }
    deliver(peer, envelope, desk);
}
