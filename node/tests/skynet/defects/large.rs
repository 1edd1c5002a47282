//! E6: messages that are too large for who sends them, or for who gets them.

use crate::agent::{Burst, echo};
use crate::process::PATIENCE;
use crate::program::until;
use crate::world::{Library, Real, World};
use skyharbor::message::LinkState;
use skyharbor::prelude::*;
use std::os::unix::process::ExitStatusExt;

/// More than a thread's stack of the usual size.
const ABOVE_STACK: usize = 9_000_000;
/// More than a frame may carry.
const ABOVE_FRAME: usize = (1 << 24) + 100;

/// A real node whose threads have room for any frame.
fn deep(world: &World, id: u8) -> Real {
    let mut draft = world.draft(id, false);
    draft.stack_kib = Some(64 << 10);
    world.start(draft).ready()
}

#[test]
fn e6_a_real_node_that_sends_a_large_message_ends() {
    let Some(world) = World::found() else { return };
    let (_master, sender, other) = (world.real_master(1), world.real(2), world.real(3));
    assert_eq!(other.ask("call L2 1 7000000").as_deref(), Ok("right"));
    let _sending = sender.begin(&format!("call L3 1 {ABOVE_STACK}"));
    assert_eq!(sender.wait().signal(), Some(11), "SIGSEGV");
}

#[test]
fn e6_a_real_node_that_sends_more_than_a_frame_carries_loses_its_link_for_ever() {
    let Some(world) = World::found() else { return };
    let (_master, sender, other) = (world.real_master(1), deep(&world, 2), world.real(3));
    assert_eq!(sender.ask("call L3 1 10").as_deref(), Ok("right"));
    assert_eq!(sender.ask(&format!("call L3 1 {ABOVE_FRAME} 300")).as_deref(), Ok("late"));
    assert_eq!(sender.ask("call L3 1 10 50").as_deref(), Ok("late"), "nothing goes through any more");
    assert_eq!(other.ask("call L1 1 10").as_deref(), Ok("right"));
}

/// One message with so many bytes of text, one way.
fn send(rust: &Library, to: Handle, size: usize) -> Result<(i64, i64), String> {
    let burst = Burst { to: to.into(), tag: size.to_string(), count: 1, size };
    rust.node.call_blocking(&rust.agent, burst, PATIENCE).unwrap()
}

#[test]
fn e6_our_node_sends_any_message_that_a_frame_carries_and_refuses_the_rest() {
    let Some(world) = World::found() else { return };
    let (_master, rust) = (world.real_master(1), world.library(2));
    let (real, other) = (world.real(3), world.library(4));
    for to in [real.handle(), other.agent.handle()] {
        assert_eq!(send(&rust, to, ABOVE_STACK), Ok((1, 0)));
        let refused = rust.call(to, vec![0; ABOVE_FRAME]);
        assert_eq!(refused, Err(CallError::TooLarge));
        assert_eq!(rust.call(to, echo(1, 10)).as_deref(), Ok(&echo(1, 10)[..]), "the link is as it was");
    }
    let request = echo(2, ABOVE_STACK);
    assert!(rust.call(other.agent.handle(), request.clone()).is_ok_and(|reply| reply[..] == request[..]));
}

#[test]
fn e6_our_node_closes_the_link_of_a_frame_that_is_too_large_and_its_callers_are_told() {
    let Some(world) = World::found() else { return };
    let (master, rust, sender) = (world.real_master(1), world.library(2), deep(&world, 3));
    let gone = HarborId::new(3);
    assert!(rust.call(sender.handle(), echo(1, 10)).is_ok());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rust.call(sender.handle(), crate::agent::arguments("never", [])));
        until("it waits", || rust.node.status().unwrap().peers.iter().any(|peer| peer.pending > 0));
        let sending = sender.begin(&format!("call R2 1 {ABOVE_FRAME} 100"));
        assert_eq!(waiting.join().unwrap(), Err(CallError::OutcomeUnknown(gone)));
        assert_eq!(sending.end(PATIENCE).as_deref(), Ok("late"), "nothing tells a real caller");
    });
    assert_eq!(rust.link_state(3), Some(LinkState::Down));
    assert_eq!(rust.call(sender.handle(), echo(2, 10)), Err(CallError::PeerDown(gone)));
    assert_eq!(master.ask("call R2 1 10").as_deref(), Ok("right"), "the others go on");
}
