//! What is lost: a real node, the master, a node of ours; and what goes on.

use crate::agent::{Burst, CALL_TIME, Tally, Traffic, arguments, echo};
use crate::process::PATIENCE;
use crate::program::until;
use crate::world::{Library, Member, Real, Sort, World, assert_mesh, destination};
use skyharbor::message::{Kind, LinkState};
use skyharbor::prelude::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// Waits until so many calls of this node wait for that one.
fn wait_pending(library: &Library, harbor: u8, calls: usize) {
    until("the calls wait", || {
        let status = library.node.status().unwrap();
        status.peers.iter().any(|peer| peer.harbor.get() == harbor && peer.pending >= calls)
    });
}

/// Calls wait for a real node that is killed; it comes back.
fn real_node_killed(master: Sort) {
    let Some(world) = World::found() else { return };
    let master = world.first(master, 1);
    let rust = world.library(2);
    let real = world.real(3);
    rust.wait_linked(3);
    let (to, gone) = (real.handle(), HarborId::new(3));
    thread::scope(|scope| {
        let calls: Vec<_> = (0..16).map(|_| scope.spawn(|| rust.call(to, arguments("never", [])))).collect();
        wait_pending(&rust, 3, 16);
        real.kill();
        for call in calls {
            assert_eq!(call.join().unwrap(), Err(CallError::OutcomeUnknown(gone)));
        }
    });
    let refused = rust.call(to, echo(1, 1));
    assert!(
        matches!(refused, Err(CallError::PeerDown(id) | CallError::OutcomeUnknown(id)) if id == gone),
        "{refused:?}"
    );
    assert_eq!(master.call("R2", 1, 10), Ok(()), "the others go on");

    let refused = world.start_real(3, false);
    assert_eq!(refused.log().find("agent L3"), None, "its old id is burnt: the process ends");
    let again = Member::Real(world.real(4));
    let rust = Member::Library(rust);
    assert_mesh(&[&master, &rust, &again], 100);
}

#[test]
fn a_killed_real_node_fails_our_calls_and_comes_back_with_a_fresh_id_under_a_real_master() {
    real_node_killed(Sort::Real);
}

#[test]
fn a_killed_real_node_fails_our_calls_and_comes_back_with_a_fresh_id_under_our_master() {
    real_node_killed(Sort::Library);
}

#[test]
fn a_real_node_killed_under_load_costs_its_own_calls_only() {
    let Some(world) = World::found() else { return };
    let _master = world.real_master(1);
    let rust = world.library(2);
    let (killed, other) = (world.real(3), world.library(4));
    let traffic = |to: Destination, calls| Traffic {
        targets: vec![to],
        sizes: vec![0, 100, 64 << 10],
        callers: 32,
        calls,
        time: PATIENCE,
        pause: Duration::ZERO,
    };
    let (to_killed, to_other) = (killed.handle().into(), other.agent.handle().into());
    // The kill may come before the first answer under load: that answers come is seen before.
    assert_eq!(rust.traffic(traffic(to_killed, 3)), Tally::clean(32 * 3));
    let [lost, kept] = thread::scope(|scope| {
        let lost = scope.spawn(|| rust.traffic(traffic(to_killed, 100_000_000)));
        let kept = scope.spawn(|| rust.traffic(traffic(to_other, 200)));
        wait_pending(&rust, 3, 16);
        killed.kill();
        [lost, kept].map(|traffic| traffic.join().unwrap())
    });
    assert_eq!(kept, Tally::clean(32 * 200));
    assert!(lost.first.contains("node 3"), "{lost:?}");
    assert_eq!((lost.wrong, lost.failed), (0, 32), "each caller's last call failed: {lost:?}");
}

#[test]
fn a_real_node_that_stands_still_costs_deadlines_only() {
    let Some(world) = World::found() else { return };
    let _master = world.real_master(1);
    let rust = world.library(2);
    let real = world.real(3);
    let to = real.handle();
    assert!(rust.call(to, echo(1, 1)).is_ok());
    real.process().pause();
    let late = rust.node.call_raw_blocking(to, Kind::LUA, echo(2, 10), millis(200));
    assert_eq!(late, Err(CallError::Timeout));
    real.process().go_on();
    assert_eq!(rust.call(to, echo(3, 10)).as_deref(), Ok(&echo(3, 10)[..]));
    world.assert_healthy();
}

/// The master's process is killed; everybody else calls everybody else.
fn master_lost(sort: Sort) {
    let Some(world) = World::found() else { return };
    let master = world.first(sort, 1);
    let rest = [(Sort::Real, 2), (Sort::Library, 3), (Sort::Real, 4), (Sort::Program, 5), (Sort::Library, 6)]
        .map(|(sort, id)| world.join(sort, id));
    assert_mesh(&rest.iter().collect::<Vec<_>>(), 10);
    match master {
        Member::Real(real) => real.kill(),
        Member::Program(program) => program.kill(),
        Member::Library(library) => drop(library),
    }
    for member in &rest {
        match member {
            Member::Real(real) => drop(real.log().wait_for("Master disconnect")),
            Member::Library(library) => until("it noticed", || !library.node.status().unwrap().master_up),
            Member::Program(_) => {}
        }
    }
    assert_mesh(&rest.iter().collect::<Vec<_>>(), 1000);
}

#[test]
fn a_killed_real_master_costs_no_traffic() {
    master_lost(Sort::Real);
}

#[test]
fn our_killed_master_costs_no_traffic() {
    master_lost(Sort::Program);
}

#[test]
fn what_real_nodes_see_of_a_killed_node_of_ours() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let own = world.program(2);
    let real = world.real(3);
    for from in [&master, &real] {
        assert_eq!(from.ask("call E2 1 100").as_deref(), Ok("right"));
    }
    let watching = [master.begin("lost 2"), real.begin("lost 2")];
    own.process().pause();
    let waiting = real.begin("call E2 2 100 100");
    own.kill();
    for watching in watching {
        assert_eq!(watching.end(PATIENCE).as_deref(), Ok("lost"), "harbor.link returns");
    }
    // A real node never fails a call to a lost node: nothing that a dead process could do.
    assert_eq!(waiting.end(PATIENCE).as_deref(), Ok("late"));
    assert_eq!(real.ask("call E2 1 100 30").as_deref(), Ok("late"));
    assert_eq!(real.ask("call L1 1 100").as_deref(), Ok("right"), "the others go on");

    let again = world.program(4);
    for from in [&master, &real] {
        assert_eq!(from.ask("call E4 1 100").as_deref(), Ok("right"), "it came back with a fresh id");
    }
    assert_eq!(again.call(&["L3", "\"echo\"", "1"]).as_deref(), Ok("[\"echo\",1]"));
    again.log().wait_for("running");
}

#[test]
fn a_node_of_ours_that_leaves_is_seen_to_leave() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let (rust, own) = (world.library(2), world.program(3));
    assert_eq!(master.ask("call R2 1 1").as_deref(), Ok("right"));
    assert_eq!(master.ask("call E3 1 1").as_deref(), Ok("right"));
    let watching = [master.begin("lost 2"), master.begin("lost 3")];
    rust.node.shutdown(PATIENCE).unwrap();
    own.stop();
    for watching in watching {
        assert_eq!(watching.end(PATIENCE).as_deref(), Ok("lost"));
    }
    master.log().wait_for("slave 2 is down");
    master.log().wait_for("slave 3 is down");
}

#[test]
fn our_listener_stays_open_where_a_real_one_closes() {
    let Some(world) = World::found() else { return };
    let older = world.library_master(1);
    let _newer = world.library(2);
    let real = world.real(3);
    older.wait_linked(2);
    older.wait_linked(3);
    assert!(!real.listens(), "a real node listens while it joins");
    let status = older.node.status().unwrap();
    let peer = status.peers.iter().find(|peer| peer.harbor.get() == 2).unwrap();
    // Somebody who says that he is node 1, which has a link: closed without a byte.
    let mut stream = TcpStream::connect(peer.address.as_deref().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[1]).unwrap();
    let mut answer = Vec::new();
    // A reset is a close too.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "an id with a link is refused without a byte");
    assert_eq!(real.ask("call R2 1 10").as_deref(), Ok("right"));
    assert_eq!(older.link_state(2), Some(LinkState::Header));
    let reply = older.node.call_raw_blocking(destination("R2"), Kind::LUA, echo(1, 10), CALL_TIME);
    assert!(reply.is_ok(), "{reply:?}");
    world.assert_healthy();
}

#[test]
fn a_burnt_id_is_refused_and_harms_nobody() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    world.program(2).stop();
    master.log().wait_for("slave 2 is down");
    let again = world.program(2);
    again.log().wait_for("Refused");
    assert_eq!(master.ask("call L1 1 10").as_deref(), Ok("right"));
    let other = world.library(3);
    assert_eq!(master.ask("call R3 1 10").as_deref(), Ok("right"));
    assert_eq!(other.call(destination("L1"), echo(1, 10)).as_deref(), Ok(&echo(1, 10)[..]));
}

#[test]
fn a_real_node_that_is_stuck_behind_a_dead_joiner_is_freed() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let rust = world.library(2);
    rust.wait_linked(1);
    // Somebody joins as node 9 and never connects to anyone.
    let mut dead = TcpStream::connect(world.master()).unwrap();
    let hello = [b"\x14\x0cH\x0a\x09|".as_slice(), b"127.0.0.1:00001"].concat();
    dead.write_all(&hello).unwrap();
    master.log().wait_for("Harbor 9 ");
    let real = world.start_real(3, false);
    real.log().wait_for("Waiting for 3 harbors");
    real.log().wait_for("Harbor 1 connected");
    real.log().wait_for("Harbor 2 connected");
    drop(dead);
    let real = real.ready();
    assert_eq!(real.ask("call R2 1 10").as_deref(), Ok("right"));
    assert_eq!(real.ask("call L1 1 10").as_deref(), Ok("right"));
}

#[test]
fn a_burst_into_a_node_that_stands_still_arrives_when_it_goes_on() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let rust = world.library(2);
    let real = world.real(3);
    assert!(rust.call(real.handle(), echo(1, 1)).is_ok());
    real.process().pause();
    // More than sockets hold.
    let burst = Burst { to: real.handle().into(), tag: "still".to_owned(), count: 10_000, size: 4 << 10 };
    let counted = thread::scope(|scope| {
        let sending = scope.spawn(|| rust.node.call_blocking(&rust.agent, burst, PATIENCE).unwrap());
        for number in 0..10 {
            let request = echo(number, 1000);
            assert_eq!(rust.call(master.handle(), request.clone()).as_deref(), Ok(&request[..]));
        }
        real.process().go_on();
        sending.join().unwrap()
    });
    assert_eq!(counted, Ok((10_000, 0)));
    world.assert_healthy_but("May overload, message queue length = ");
}

/// Nodes of ours without a master look for it again and again.
#[test]
fn nodes_of_ours_join_a_real_master_that_comes_later_and_one_that_comes_back() {
    let Some(world) = World::found() else { return };
    let (one, two) = (world.library(2), world.library(4));
    let ours = [Member::Library(two), Member::Program(world.program(3))];
    let request = echo(1, 10);
    let first = thread::scope(|scope| {
        let waiting = scope.spawn(|| one.call(destination("L1"), request.clone()));
        let master = world.real_master(1);
        assert_eq!(waiting.join().unwrap().as_deref(), Ok(&request[..]), "a call waits for a name");
        master
    });
    let joined = |master: Real| {
        let master = Member::Real(master);
        for member in &ours {
            until("it has joined", || member.call("L1", 1, 10).is_ok());
        }
        assert_mesh(&[&master, &ours[0], &ours[1]], 100);
        match master {
            Member::Real(real) => real,
            Member::Library(_) | Member::Program(_) => unreachable!("it is what it was"),
        }
    };
    joined(first).kill();
    until("it noticed", || one.link_state(1) == Some(LinkState::Down));
    assert_mesh(&[&ours[0], &ours[1]], 100);
    // Another process with the same id and address; its ids are fresh.
    let second = joined(world.real_master(1));
    until("it has joined", || one.call(destination("L1"), request.clone()).is_ok());
    assert_eq!(second.ask("call R2 1 10").as_deref(), Ok("right"), "it knows the names of before");
}
