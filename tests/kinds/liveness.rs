//! Links over TCP whose peers are gone and have not said so.

use crate::{Heard, World, peer::Peer};
use skyharbor::prelude::*;

/// A peer of our kind, met: it said hello, and that it answers to PING.
fn kin(world: &World) -> Peer {
    let mut peer = world.join(2);
    let reserved = Handle::new(HarborId::new(1), 7);
    peer.register("~sky.2", 7);
    assert!(peer.read().payload.starts_with(b"\x2cHELLO"));
    peer.write(7, reserved, Kind::LUA, 0, b"\x2cHELLO\x0a\x09\x0a\x01");
    peer
}

#[test]
fn a_silent_node_of_our_kind_is_asked_and_then_lost() {
    let world = World::with(|config| config.heartbeat(millis(20), secs(2)));
    let mut peer = kin(&world);
    let callee = peer.service(0x20);
    world.does(move |probe, ctx| {
        probe.call(ctx, 0, callee);
        ctx.link(HarborId::new(2), NEVER, |me, _, down| me.tell(Heard::Event("down", down)));
    });
    assert_eq!(peer.read().payload, b"?");
    for number in 1..=3 {
        let ping = peer.read();
        assert_eq!((&ping.payload[..], ping.dest), (&[&b"\x24PING\x0a"[..], &[number]].concat()[..], 7));
        let pong = [&b"\x24PONG\x0a"[..], &[number]].concat();
        peer.write(7, ping.source, Kind::LUA, 0, &pong);
    }
    // It says nothing any more; its socket stays open.
    assert_eq!(world.answers(1), [(0, Err(CallError::OutcomeUnknown(HarborId::new(2))))]);
    assert_eq!(world.heard(), Heard::Event("down", Ok(())));
    world.end();
}

#[test]
fn a_peer_that_does_not_read_is_given_up() {
    let world = World::with(|config| config.stall_deadline(millis(500)));
    let peer = world.join(2);
    let callee = peer.service(0x20);
    world.node.wait_linked(HarborId::new(2), secs(20)).expect("it said who it is");
    world.does(move |_, ctx| {
        ctx.link(HarborId::new(2), NEVER, |me, _, down| me.tell(Heard::Event("down", down)));
        // More than the buffers of both sockets take.
        for _ in 0..24 {
            ctx.send_raw(callee, Kind::TEXT, Session::NONE, vec![0; 1 << 20]).expect("there is room");
        }
    });
    assert_eq!(world.heard(), Heard::Event("down", Ok(())));
    world.end();
}
