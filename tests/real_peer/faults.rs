//! What real nodes do wrong, and what is done about it.

use crate::joins::{cluster, host, serve};
use crate::ours::{ECHO, Ours, Outcome, SETTLED};
use crate::world::{Cut, Host, World};
use skyharbor::harbor::{DownReason, Event, Fault};
use skyharbor::message::HarborId;
use skyharbor::sim::real::{Faults, Real};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn error(text: &str) -> Option<Outcome> {
    Some(Outcome::Error(text.to_owned()))
}

fn reply(text: &[u8]) -> Option<Outcome> {
    Some(Outcome::Reply(text.to_vec()))
}

fn echo(id: u8) -> u32 {
    u32::from(id) << 24 | ECHO
}

/// Our master, node 1, and the real node 2 with its faults.
fn with_faulty(faults: Faults) -> World {
    let mut world = World::new(Cut::Whole);
    world.add(host(1, false, true), Duration::ZERO);
    world.add(Host::Real(Box::new(Real::faulty(2, faults))), Duration::from_millis(10));
    world.run(Duration::from_millis(1));
    serve(&mut world);
    world
}

#[test]
fn a_late_answer_byte_costs_nothing_that_waits_for_it() {
    let late_answer = Duration::from_secs(3);
    let mut world = with_faulty(Faults { late_answer, ..Faults::default() });
    world.run(Duration::from_millis(100));
    let sessions = [b"1", b"2"].map(|text| world.with_ours(0, |ours, now| ours.call(now, echo(2), text)));
    world.run(Duration::from_secs(1));
    assert!(world.ours(0).outcomes.is_empty(), "nothing is written before the answer");
    world.run(late_answer + SETTLED);
    assert_eq!(
        sessions.map(|session| world.ours(0).outcomes[&session].clone()).map(Some),
        [reply(b"1"), reply(b"2")]
    );
    assert_eq!(world.real(1).complaints(), [""; 0]);
}

#[test]
fn a_peer_that_never_answers_is_given_up_and_its_callers_are_told() {
    let mut world = with_faulty(Faults { never_answers: true, ..Faults::default() });
    let session = world.with_ours(0, |ours, now| ours.call(now, echo(2), b"?"));
    world.run(Duration::from_secs(6));
    let is_late = |event: &Event| matches!(event, Event::PeerFault { fault: Fault::HandshakeTimeout, .. });
    assert!(world.ours(0).events.iter().any(is_late));
    world.run(LONG);
    assert_eq!(world.ours(0).outcomes.get(&session).cloned(), error("Expired"));
}

#[test]
fn a_peer_that_answers_with_another_id_is_down_at_once() {
    let mut world = with_faulty(Faults { wrong_id: Some(9), ..Faults::default() });
    let session = world.with_ours(0, |ours, now| ours.call(now, echo(2), b"?"));
    world.run(SETTLED);
    assert_eq!(world.ours(0).outcomes.get(&session).cloned(), error("PeerDown(HarborId(2))"));
    world.run(LONG);
    assert_eq!(
        world.accepted.iter().filter(|(_, address)| address == "node:2").count(),
        1,
        "not dialled again"
    );
}

#[test]
fn a_killed_peer_is_not_silent_for_our_callers() {
    let mut world = cluster(Cut::Whole, &[(1, true), (2, false), (3, true)], Duration::from_millis(300));
    world.run(SETTLED);
    let answered = world.with_ours(1, |ours, now| ours.call(now, echo(3), b"a"));
    world.run(SETTLED);
    // On their way when it dies.
    let lost = [0; 3].map(|_| world.with_ours(1, |ours, now| ours.call(now, echo(3), b"b")));
    world.kill(2);
    world.run(SETTLED);
    let late = world.with_ours(1, |ours, now| ours.call(now, echo(3), b"c"));
    let ours = world.ours(1);
    assert_eq!(ours.outcomes.get(&answered).cloned(), reply(b"a"));
    for session in lost {
        assert_eq!(ours.outcomes.get(&session).cloned(), error("OutcomeUnknown(HarborId(3))"));
    }
    assert_eq!(ours.outcomes.get(&late).cloned(), error("PeerDown(HarborId(3))"));
    assert!(ours.events.contains(&Event::Down(HarborId::new(3), DownReason::Closed)));
    assert!(ours.harbor.balances());
}

#[test]
fn a_peer_that_never_dials_keeps_no_newcomer_of_ours_for_ever() {
    let mut world = World::new(Cut::Whole);
    let faults = Faults { never_dials: true, ..Faults::default() };
    world.add(host(1, true, true), Duration::ZERO);
    world.add(Host::Real(Box::new(Real::faulty(2, faults))), Duration::from_millis(100));
    world.add(host(3, false, false), Duration::from_millis(500));
    world.run(Duration::from_secs(9));
    assert!(!world.ours(2).has_joined());
    world.run(Duration::from_secs(3));
    assert!(world.ours(2).events.contains(&Event::Joined { missing: 1 }));
    let session = world.with_ours(2, |ours, now| ours.call(now, echo(1), b"on we go"));
    world.run(SETTLED);
    assert_eq!(world.ours(2).outcomes.get(&session).cloned(), reply(b"on we go"));
}

#[test]
fn newcomers_that_are_stuck_behind_a_peer_that_died_while_they_joined_are_freed() {
    for master_is_real in [true, false] {
        let mut world = World::new(Cut::Whole);
        let faults = Faults { never_dials: true, ..Faults::default() };
        world.add(host(1, master_is_real, true), Duration::ZERO);
        world.add(host(2, false, false), Duration::from_millis(100));
        world.add(Host::Real(Box::new(Real::faulty(3, faults))), Duration::from_millis(500));
        world.run(Duration::from_millis(1));
        serve(&mut world);
        world.run(SETTLED);
        let stuck = world.add(host(4, true, false), Duration::ZERO);
        let ours = world.add(host(5, false, false), Duration::from_secs(1));
        world.run(Duration::from_secs(5));
        assert!(!world.real(stuck).is_ready() && !world.ours(ours).has_joined());
        world.kill(2);
        world.run(Duration::from_millis(900));
        assert!(!world.real(stuck).is_ready(), "a real node is not freed by the death alone");
        assert!(!world.ours(ours).has_joined(), "it waits for the stuck one as well");
        world.run(Duration::from_secs(2));
        assert!(world.real(stuck).is_ready());
        assert!(world.ours(ours).events.contains(&Event::Joined { missing: 0 }));
        both_ways(&mut world, ours, stuck);
        both_ways(&mut world, 1, stuck);
        // Who is ready does not listen any more: it is asked once for each death and then never again.
        world.kill(ours);
        world.run(LONG);
        let asked = world.refused.iter().filter(|address| *address == "node:4").count();
        assert!(asked <= 2, "{asked}");
    }
}

#[test]
fn a_burnt_id_is_refused_by_a_real_master_without_a_byte_and_a_fresh_one_is_taken() {
    let mut world = cluster(Cut::Whole, &[(1, true), (5, false)], Duration::ZERO);
    world.run(SETTLED);
    world.kill(1);
    world.run(SETTLED);
    let again = world.add(host(5, false, false), Duration::ZERO);
    let fresh = world.add(host(6, false, false), Duration::ZERO);
    world.run(SETTLED);
    assert!(world.ours(again).events.contains(&Event::Refused { was_ready: false }));
    assert!(!world.ours(again).has_joined() && world.ours(fresh).has_joined());
    let session = world.with_real(0, |real, _| real.call(echo(6), b"you"));
    world.run(SETTLED);
    assert_eq!(world.real(0).outcomes.get(&session).cloned(), reply(b"you"));
}

#[test]
fn a_real_node_that_comes_back_needs_a_fresh_id_at_our_master_too() {
    let mut world = cluster(Cut::Whole, &[(1, false), (2, true), (3, true)], Duration::from_millis(300));
    world.run(Duration::from_millis(1));
    serve(&mut world);
    world.run(SETTLED);
    world.kill(1);
    world.run(SETTLED);
    let again = world.add(host(2, true, false), Duration::ZERO);
    let fresh = world.add(host(4, true, false), Duration::ZERO);
    world.run(SETTLED);
    assert!(!world.real(again).is_ready() && world.real(fresh).has_booted);
    for from in [2, fresh] {
        let id = if from == 2 { 4 } else { 3 };
        let session = world.with_real(from, |real, _| real.call(echo(id), b"hi"));
        world.run(SETTLED);
        assert_eq!(world.real(from).outcomes.get(&session).cloned(), reply(b"hi"));
    }
    assert_eq!(world.real(2).complaints(), [""; 0]);
}

/// Calls in both directions between our node and a real one.
fn both_ways(world: &mut World, ours: usize, real: usize) {
    let (own, peer) = (world.ours(ours).id, world.real(real).id);
    let there = world.with_ours(ours, |ours, now| ours.call(now, echo(peer), b"there"));
    let back = world.with_real(real, |real, _| real.call(echo(own), b"back"));
    world.run(SETTLED);
    assert_eq!(world.ours(ours).outcomes.get(&there).cloned(), reply(b"there"));
    assert_eq!(world.real(real).outcomes.get(&back).cloned(), reply(b"back"));
}

#[test]
fn d_is_a_hint_while_the_link_lives() {
    let members = [(1, false), (2, true), (3, false)];
    let mut world = cluster(Cut::Whole, &members, Duration::from_millis(300));
    world.run(Duration::from_millis(1));
    serve(&mut world);
    world.run(SETTLED);
    let control = world.real(1).control().unwrap();
    world.cut(1, control);
    world.run(SETTLED);
    let ours = world.ours(2);
    assert!(!ours.events.iter().any(|event| matches!(event, Event::Down(..))), "the link lives");
    both_ways(&mut world, 0, 1);
    both_ways(&mut world, 2, 1);
}

#[test]
fn our_own_control_link_lost_costs_no_traffic_with_real_nodes() {
    let members = [(1, true), (2, false), (3, true)];
    let mut world = cluster(Cut::Whole, &members, Duration::from_millis(300));
    world.run(SETTLED);
    let control = world.real(0).master.as_ref().unwrap().conn_of(2).unwrap();
    world.cut(0, control);
    world.run(SETTLED);
    assert!(world.ours(1).events.iter().any(|event| matches!(event, Event::MasterDown(_))));
    both_ways(&mut world, 1, 0);
    both_ways(&mut world, 1, 2);
    // It tries to join again and is refused, since its id is burnt: still no traffic is lost.
    assert!(world.ours(1).events.contains(&Event::Refused { was_ready: true }));
    world.run(LONG);
    both_ways(&mut world, 1, 2);
}

#[test]
fn a_real_master_that_dies_costs_names_and_no_traffic() {
    let members = [(1, true), (2, false), (3, true)];
    let mut world = cluster(Cut::Whole, &members, Duration::from_millis(300));
    world.run(SETTLED);
    world.kill(0);
    world.run(SETTLED);
    both_ways(&mut world, 1, 2);
    world.run(LONG);
    both_ways(&mut world, 1, 2);
}

#[test]
fn a_peer_s_bytes_close_its_link_and_nothing_else() {
    let members = [(1, false), (2, true), (3, true)];
    for bytes in [&b"\x01\x00\x00\x00"[..], b"\x00\x00\x00\x0b12345678901", b"\xff\xff\xff\xff"] {
        let mut world = cluster(Cut::Bytes, &members, Duration::from_millis(300));
        world.run(Duration::from_millis(1));
        serve(&mut world);
        world.run(SETTLED);
        let link = world.real(1).link(1).unwrap();
        world.with_real(1, |real, _| real.write(link, bytes));
        world.run(SETTLED);
        assert!(
            world.ours(0).events.contains(&Event::Down(HarborId::new(2), DownReason::Fault)),
            "{bytes:?}"
        );
        both_ways(&mut world, 0, 2);
    }
}

#[test]
fn size_0_from_a_real_slave_closes_its_control_link_alone() {
    let mut world = cluster(Cut::Whole, &[(1, false), (2, true)], Duration::from_millis(300));
    world.run(Duration::from_millis(1));
    serve(&mut world);
    world.run(SETTLED);
    let control = world.real(1).control().unwrap();
    world.with_real(1, |real, _| real.write(control, &[0]));
    world.run(SETTLED);
    assert_eq!(world.real(1).control(), None);
    both_ways(&mut world, 0, 1);
}

#[test]
fn a_real_caller_of_a_missing_service_gets_an_error() {
    let mut world = cluster(Cut::Joined, &[(1, true), (255, false)], Duration::from_millis(300));
    world.run(SETTLED);
    let missing = world.with_real(0, |real, _| real.call(0xff00_0abc, b"?"));
    world.run(SETTLED);
    assert_eq!(world.real(0).outcomes.get(&missing).cloned(), error("failed"));
    assert_eq!(world.real(0).complaints(), [""; 0]);
    let ours: &mut Ours = world.ours(1);
    assert_eq!(ours.harbor.intake().undeliverable, 1);
}

#[test]
fn a_real_caller_of_an_unknown_name_asks_with_every_message_and_is_served_when_it_comes() {
    let mut world = cluster(Cut::Whole, &[(1, false), (2, true)], Duration::from_millis(300));
    world.run(Duration::from_millis(1));
    serve(&mut world);
    world.run(SETTLED);
    let sessions: Vec<u32> =
        (0..100).map(|_| world.with_real(1, |real, _| real.call_name("later", b"x"))).collect();
    world.run(SETTLED);
    let asked = world.real(1).queries.iter().filter(|name| *name == "later").count();
    assert_eq!((asked, world.real(1).outcomes.len()), (100, 0), "no answer to any Q");
    world.with_ours(0, |ours, now| ours.register(now, "later", ECHO));
    world.run(SETTLED);
    let real = world.real(1);
    assert!(sessions.iter().all(|session| real.outcomes.get(session).cloned() == reply(b"x")));
    assert_eq!(real.complaints(), [""; 0]);
}
