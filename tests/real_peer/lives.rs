//! A node that comes back under its id, where all are of our kind.

use crate::joins::cluster;
use crate::ours::{ECHO, Ours, Outcome, SETTLED};
use crate::world::{Cut, Host, HostNo, World};
use skyharbor::harbor::{Event, Hello, Settings};
use skyharbor::message::HarborId;
use std::time::Duration;

const TWO: HarborId = HarborId::new(2);

/// Long enough to find out that a silent member is dead, and to dial again after that.
const LONG: Duration = Duration::from_secs(20);

fn joined(real: &[bool]) -> World {
    let members: Vec<(u8, bool)> = (1..).zip(real.iter().copied()).collect();
    let mut world = cluster(Cut::Whole, &members, Duration::from_millis(300));
    world.run(SETTLED);
    world
}

/// Node 2 in this life, listening there.
fn two(incarnation: u64, listen: &str) -> Host {
    let mut settings = Ours::settings(2, false);
    settings.join.as_mut().unwrap().listen = listen.to_owned();
    let hello = Some(Hello { incarnation, capabilities: 0 });
    Host::Ours(Box::new(Ours::new(Settings { hello, ..settings })))
}

/// What a call of node 2 by this node comes to.
fn called(world: &mut World, from: HostNo) -> Option<Outcome> {
    let session = world.with_ours(from, |ours, now| ours.call(now, 0x0200_0000 | ECHO, b"?"));
    world.run(SETTLED);
    world.ours(from).outcomes.get(&session).cloned()
}

fn replied() -> Option<Outcome> {
    Some(Outcome::Reply(b"?".to_vec()))
}

/// What this node saw of node 2.
fn seen(world: &mut World, host: HostNo) -> Vec<&'static str> {
    let events = world.ours(host).events.iter();
    let seen = events.filter_map(|event| match event {
        Event::Up(TWO) => Some("up"),
        Event::Down(TWO, _) => Some("down"),
        _ => None,
    });
    seen.collect()
}

fn has_joined(world: &mut World, host: HostNo) -> bool {
    world.ours(host).has_joined()
}

#[test]
fn a_node_that_was_killed_comes_back_under_its_id_as_a_new_life() {
    let mut world = joined(&[false, false, false]);
    world.with_ours(1, |ours, now| ours.register(now, "DB", ECHO));
    world.ours(1).answers_calls = false;
    world.run(SETTLED);
    let pending = world.with_ours(2, |ours, now| ours.call(now, 0x0200_0000 | ECHO, b"?"));
    world.run(SETTLED);
    world.kill(1);
    world.run(SETTLED);
    assert_eq!(world.ours(2).outcomes[&pending], Outcome::Error("OutcomeUnknown(HarborId(2))".to_owned()));
    let again = world.add(two(5000, "node:2"), Duration::ZERO);
    world.run(SETTLED);
    assert!(has_joined(&mut world, again));
    for host in [0, 2] {
        assert_eq!(seen(&mut world, host), ["up", "down", "up"]);
        assert_eq!(world.ours(host).harbor.kin(TWO).map(|hello| hello.incarnation), Some(5000));
        assert_eq!(called(&mut world, host), replied());
    }
    // Its names did not live on.
    world.with_ours(2, |ours, now| ours.register(now, "DB", ECHO));
    world.run(SETTLED);
    for host in [0, 2, again] {
        assert_eq!(world.ours(host).names.get("DB"), Some(&(0x0300_0000 | ECHO)), "{host}");
    }
}

#[test]
fn a_life_that_vanished_is_found_dead_and_over_before_the_next_one_is_linked() {
    let mut world = joined(&[false, false, false]);
    world.ours(1).answers_calls = false;
    let pending = world.with_ours(2, |ours, now| ours.call(now, 0x0200_0000 | ECHO, b"?"));
    world.run(SETTLED);
    world.vanish(1);
    let again = world.add(two(5000, "node:2"), Duration::ZERO);
    world.run(Duration::from_secs(1));
    assert!(!has_joined(&mut world, again), "the one before may live");
    world.run(LONG);
    assert!(has_joined(&mut world, again));
    assert_eq!(world.ours(2).outcomes[&pending], Outcome::Error("OutcomeUnknown(HarborId(2))".to_owned()));
    for host in [0, 2] {
        assert_eq!(seen(&mut world, host), ["up", "down", "up"]);
        assert_eq!(world.ours(host).harbor.kin(TWO).map(|hello| hello.incarnation), Some(5000));
        assert_eq!(called(&mut world, host), replied());
        assert!(world.ours(host).harbor.balances());
    }
}

#[test]
fn a_second_node_with_a_living_id_is_refused_and_does_the_first_no_harm() {
    for incarnation in [1, 1002, 5000] {
        let mut world = joined(&[false, false, false]);
        let second = world.add(two(incarnation, "second:2"), Duration::ZERO);
        world.run(LONG);
        assert!(!has_joined(&mut world, second));
        assert!(world.ours(second).events.contains(&Event::Refused { was_ready: false }));
        for host in [0, 2] {
            assert_eq!(seen(&mut world, host), ["up"]);
            assert_eq!(called(&mut world, host), replied());
        }
        let is_lost = |event: &Event| matches!(event, Event::MasterDown(_) | Event::Down(..));
        assert!(!world.ours(1).events.iter().any(is_lost), "{:?}", world.ours(1).events);
    }
}

#[test]
fn a_control_link_that_is_lost_alone_comes_back_and_no_call_fails() {
    let mut world = joined(&[false, false, false]);
    world.with_ours(1, |ours, now| ours.register(now, "DB", ECHO));
    world.run(SETTLED);
    // Its first connection is the control link.
    let control = world.ours(1).conns[0].number();
    world.cut(1, control);
    world.run(LONG);
    let joins = world.ours(1).events.iter().filter(|event| matches!(event, Event::Joined { .. })).count();
    assert_eq!(joins, 2);
    for host in [0, 2] {
        assert_eq!(seen(&mut world, host), ["up"]);
        assert_eq!(called(&mut world, host), replied());
    }
    world.with_ours(2, |ours, now| ours.register(now, "DB", ECHO));
    world.run(SETTLED);
    assert_eq!(world.ours(0).names["DB"], 0x0200_0000 | ECHO, "it has its names");
}

#[test]
fn where_a_real_node_is_or_was_an_id_stays_burnt() {
    for leaves in [true, false] {
        let mut world = joined(&[false, false, true]);
        if leaves {
            world.kill(2);
        }
        world.kill(1);
        world.run(SETTLED);
        let again = world.add(two(5000, "node:2"), Duration::ZERO);
        world.run(LONG);
        assert!(!has_joined(&mut world, again));
    }
}
