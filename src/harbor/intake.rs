//! What a peer's frames may do here.

use super::desk::Desk;
use super::kin;
use super::link::{Link, Reserved};
use crate::message::{CallError, Envelope, HarborId, Kind};
use crate::wire::FrameFault;

/// Decodes everything in the chunk; what is for services is delivered in order. The rest is for later: it begins with a
/// frame for which there is no memory now.
///
/// # Errors
/// The frame that breaks the link. Everything before it was delivered.
pub(super) fn receive<'a>(
    peer: HarborId,
    link: &mut Link,
    mut chunk: &'a [u8],
    desk: &mut Desk,
) -> Result<&'a [u8], FrameFault> {
    loop {
        let Some(envelope) = link.decoder.feed(&mut chunk)? else {
            match link.decoder.gated() {
                Some(bytes) if desk.inbound.reserve(peer, bytes) => {
                    link.frame = Some(Reserved::new(bytes, desk.now));
                    link.decoder.admit();
                    continue;
                }
                Some(_) | None => return Ok(chunk),
            }
        };
        if let Some(frame) = link.frame.take() {
            desk.inbound.release(frame.bytes);
        }
        desk.intake.frames += 1;
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
}

fn deliver(peer: HarborId, envelope: Envelope, desk: &mut Desk) {
    count(peer, &envelope, desk);
    if kin::is_addressed(&envelope, desk) {
        return desk.kin_mail.push_back((peer, envelope));
    }
    desk.deliver(envelope);
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
