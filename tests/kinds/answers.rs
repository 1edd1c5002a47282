//! Which call an answer from another node may end.

use crate::{Heard, Silent, World};
use skyharbor::prelude::*;
use skyharbor::services::Echo;

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
        let nobody = "NOBODY".parse().expect("a name");
        ctx.query(nobody, NEVER, |me, _, found| me.tell(Heard::Event("found", found.map(drop))));
    });
    for session in GUESSES {
        for kind in [Kind::RESPONSE, Kind::ERROR] {
            peer.write(0x20, world.probe.handle(), kind, session, b"mine");
            peer.write_as(silent, world.probe.handle(), kind, session, b"mine");
        }
    }
    peer.write(0x20, world.probe.handle(), Kind::TEXT, 0, b"end");
    let end = Heard::Message(Kind::TEXT, peer.service(0x20), 0, b"end".to_vec());
    assert_eq!(world.heard(), end, "no call ended before");
    world.node.kill(silent).expect("it lives");
    assert_eq!(world.answers(1), [(0, Err(CallError::Dropped))]);
    world.end();
}

#[test]
fn a_call_that_is_passed_back_and_answered_here_leaves_nothing_behind() {
    let world = World::new();
    let mut peer = world.join(2);
    let (callee, probe) = (peer.service(0x20), world.probe.handle());
    let echo = world.node.spawn("echo", Echo).expect("it starts").handle();
    world.does(move |probe, ctx| (0..2).for_each(|number| probe.call(ctx, number, callee)));
    let calls = [peer.read(), peer.read()];
    peer.write_as(probe, echo, Kind::TEXT, calls[0].session, b"back");
    assert_eq!(world.answers(1), [(0, Ok(b"back".to_vec()))]);
    while world.pending(2) > 1 {
        std::thread::yield_now();
    }
    peer.write(0x20, probe, Kind::RESPONSE, calls[1].session, b"there");
    assert_eq!(world.answers(1), [(1, Ok(b"there".to_vec()))]);
    assert_eq!(world.pending(2), 0);
    world.end();
}
