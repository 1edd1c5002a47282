//! What a peer's frames may do here.

use super::DebugPolicy;
use super::desk::Desk;
use super::link::Link;
use crate::message::{Body, CallError, Envelope, HarborId, Kind};
use crate::wire::FrameFault;

/// Packed values of the one DEBUG command that is harmless: the string `PING`.
const PING: &[u8] = b"\x24PING";

/// Decodes everything in the chunk; what is for services is delivered in order.
///
/// # Errors
/// The frame that breaks the link. Everything before it was delivered.
pub(super) fn receive(
    peer: HarborId,
    link: &mut Link,
    mut chunk: &[u8],
    desk: &mut Desk,
) -> Result<(), FrameFault> {
    while let Some(envelope) = link.decoder.feed(&mut chunk)? {
        desk.intake.frames += 1;
        match envelope.kind {
            Kind::SYSTEM | Kind::HARBOR | Kind::SOCKET => desk.intake.dropped += 1,
            Kind::DEBUG if desk.debug == DebugPolicy::Ping => debug(&envelope, desk),
            Kind::RESPONSE | Kind::ERROR => {
                let call = desk.pending.remove((envelope.dest, envelope.session));
                match call {
                    Some(call) if call.dest.harbor() == peer => link.confirm(call.frame),
                    Some(_) => {}
                    // A real node answers even a late answer of ours with ERROR, and the session that it repeats is not
                    // ours: it could end a call that never left this node.
                    None if is_stray(&envelope) => {
                        desk.intake.stray += 1;
                        continue;
                    }
                    None => {}
                }
                deliver(peer, envelope, desk);
            }
            _ => deliver(peer, envelope, desk),
        }
    }
    Ok(())
}

/// Whether this would end a call, if a call went out for it to end.
fn is_stray(envelope: &Envelope) -> bool {
    envelope.kind == Kind::ERROR && envelope.session.wants_answer()
}

fn deliver(peer: HarborId, envelope: Envelope, desk: &mut Desk) {
    desk.intake.delivered += 1;
    // Multicast and redirected messages carry foreign sources, so they are only counted.
    if envelope.source.harbor() != peer {
        desk.intake.foreign += 1;
    }
    desk.deliver(envelope);
}

/// A ping is answered as a real service answers it. Anything else is refused, but only with a session: an ERROR
/// with session 0 would say that the service is dead.
fn debug(envelope: &Envelope, desk: &mut Desk) {
    desk.intake.debug += 1;
    if !envelope.session.wants_answer() {
        return;
    }
    let (source, dest, session) = (envelope.dest, envelope.source, envelope.session);
    let is_ping = envelope.body.bytes().is_some_and(|bytes| bytes.starts_with(PING));
    desk.reply(if is_ping {
        Envelope { source, dest, session, kind: Kind::RESPONSE, body: Body::Empty }
    } else {
        Envelope::error(source, dest, session, CallError::Denied)
    });
}
