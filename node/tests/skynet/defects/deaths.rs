//! E1, E2: a node dies, and comes back.

use crate::agent::{arguments, echo};
use crate::process::PATIENCE;
use crate::program::until;
use crate::world::{World, destination};
use skyharbor::message::{Kind, LinkState};
use skyharbor::prelude::*;
use std::thread;

/// A handle of a node that never was.
const NOBODY: &str = ":63000008";

#[test]
fn e1_callers_of_a_dead_real_node_wait_for_ever() {
    let Some(world) = World::found() else { return };
    let (_master, caller, dead) = (world.real_master(1), world.real(2), world.real(3));
    let handle = dead.handle();
    let missing = Handle::new(HarborId::new(1), Handle::LOCAL_MAX);
    let waiting = caller.begin("say L3 150 never");
    assert_eq!(caller.ask("call L3 1 10").as_deref(), Ok("right"), "the call before it was taken");
    dead.kill();
    assert_eq!(caller.ask("lost 3").as_deref(), Ok("lost"), "it knows that the link is lost");
    for target in ["L3".to_owned(), handle.to_string(), NOBODY.to_owned(), "NOBODY".to_owned()] {
        assert_eq!(caller.ask(&format!("call {target} 1 10 50")).as_deref(), Ok("late"), "{target}");
    }
    assert_eq!(waiting.end(PATIENCE).as_deref(), Ok("late"));
    let failed = caller.ask(&format!("call {missing} 1 10")).unwrap();
    assert!(failed.starts_with("failed "), "only a node that lives says that a service does not: {failed}");
}

#[test]
fn e1_callers_on_our_nodes_are_told() {
    let Some(world) = World::found() else { return };
    let (_master, rust, dead) = (world.real_master(1), world.library(2), world.real(3));
    let (handle, gone) = (dead.handle(), HarborId::new(3));
    assert!(rust.call(destination("L3"), echo(1, 1)).is_ok());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| rust.call(handle, arguments("never", [])));
        assert!(rust.call(handle, echo(2, 1)).is_ok(), "the call before it was taken, or is behind it");
        until("it waits", || rust.node.status().unwrap().peers.iter().any(|peer| peer.pending > 0));
        dead.kill();
        assert_eq!(waiting.join().unwrap(), Err(CallError::OutcomeUnknown(gone)));
    });
    assert_eq!(rust.link_state(3), Some(LinkState::Down));
    for target in ["L3".to_owned(), handle.to_string()] {
        assert_eq!(rust.call(destination(&target), echo(3, 1)), Err(CallError::PeerDown(gone)), "{target}");
    }
    let brief =
        |target: &str| rust.node.call_raw_blocking(destination(target), Kind::LUA, echo(4, 1), millis(300));
    assert_eq!(brief(NOBODY), Err(CallError::Timeout));
    let unknown = brief("NOBODY");
    assert!(matches!(unknown, Err(CallError::NoName(_) | CallError::Timeout)), "{unknown:?}");
    let missing = Handle::new(HarborId::new(1), Handle::LOCAL_MAX);
    assert_eq!(rust.call(missing, echo(5, 1)), Err(CallError::Remote));
}

#[test]
fn e2_a_real_node_that_comes_back_is_refused_and_ends_as_if_all_were_well() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    world.real(3).kill();
    master.log().wait_for("slave 3 is down");
    let again = world.start_real(3, false);
    assert_eq!(again.process().wait().code(), Some(0));
    master.log().wait_for("Slave 3 already register");
}

#[test]
fn e2_our_node_says_that_it_is_refused_and_goes_on() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    world.program(3).kill();
    master.log().wait_for("slave 3 is down");
    let again = world.program(3);
    again.log().wait_for("ERROR skyharbor::harbor: Refused");
    assert_eq!(again.call(&["E3", "\"echo\"", "1"]).as_deref(), Ok("[\"echo\",1]"), "its services run");
    // With a range it takes another id by itself.
    world.remember_lease(7, 3);
    let leased = world.start_leased(7, [3, 5]).ready();
    assert_eq!(leased.handle().harbor().get(), 4);
    assert_eq!(master.ask("call E7 1 10").as_deref(), Ok("right"));
    again.stop();
}
