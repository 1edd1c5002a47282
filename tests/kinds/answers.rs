//! Which call an answer from another node may end.

use crate::{Silent, World};
use skyharbor::prelude::*;

/// Sessions that a peer may guess: a service's first calls have the lowest.
const GUESSES: std::ops::Range<u32> = 1..64;

#[test]
fn a_guessed_session_ends_no_call_that_stays_on_the_node() {
    let world = World::new();
    let mut peer = world.join(2);
    let silent = world.node.spawn("silent", Silent::default()).expect("it starts").handle();
    world.does(move |probe, ctx| {
        probe.call(ctx, 0, silent);
        // A question to the harbor is a call too.
        ctx.link(HarborId::new(2), NEVER, |me, _, _| me.tell(crate::Heard::Event("link", Ok(()))));
    });
    for session in GUESSES {
        for kind in [Kind::RESPONSE, Kind::ERROR] {
            peer.write(0x20, world.probe.handle(), kind, session, b"mine");
            peer.write_as(silent, world.probe.handle(), kind, session, b"mine");
        }
    }
    peer.write(0x20, world.probe.handle(), Kind::TEXT, 0, b"end");
    let end = crate::Heard::Message(Kind::TEXT, peer.service(0x20), 0, b"end".to_vec());
    assert_eq!(world.heard(), end, "no call ended before");
    world.node.kill(silent).expect("it lives");
    assert_eq!(world.answers(1), [(0, Err(CallError::Dropped))]);
    world.end();
}
