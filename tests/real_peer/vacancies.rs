//! Names of the dead under a real master: our nodes see to it that real callers get errors.

use crate::joins::{cluster, host};
use crate::ours::{ECHO, Outcome, SETTLED};
use crate::world::{Cut, HostNo, LATENCY, World};
use skyharbor::limits::{SERVICE_ID_VACANT, VACATE_PAUSE};
use skyharbor::wire::control::Packet;
use std::time::Duration;

fn echo(id: u8) -> u32 {
    u32::from(id) << 24 | ECHO
}

fn nobody(id: u8) -> u32 {
    u32::from(id) << 24 | SERVICE_ID_VACANT
}

/// A real master with members 2, 3, …; whether each is real. Number 2 has `DB` before the next one comes.
fn with_owner(real: &[bool]) -> World {
    let mut world = cluster(Cut::Whole, &[(1, true), (2, real[0])], Duration::from_millis(300));
    world.run(SETTLED);
    register(&mut world, 1);
    for (id, is_real) in (3..).zip(real[1..].iter().copied()) {
        world.add(host(id, is_real, false), Duration::ZERO);
        world.run(SETTLED);
    }
    world
}

fn register(world: &mut World, host: HostNo) {
    match &world.hosts[host] {
        crate::world::Host::Real(_) => world.with_real(host, |real, _| real.register("DB", ECHO)),
        crate::world::Host::Ours(_) => world.with_ours(host, |ours, now| ours.register(now, "DB", ECHO)),
    }
    world.run(SETTLED);
}

/// What a call of `DB` by a real node comes to.
fn called(world: &mut World, from: HostNo) -> Option<Outcome> {
    let session = world.with_real(from, |real, _| real.call_name("DB", b"?"));
    world.run(SETTLED);
    world.real(from).outcomes.get(&session).cloned()
}

fn ours_knows(world: &mut World, host: HostNo) {
    world.with_ours(host, |ours, now| ours.call_name(now, "DB", b"?"));
    world.run(SETTLED);
}

fn failed() -> Option<Outcome> {
    Some(Outcome::Error("failed".to_owned()))
}

fn replied() -> Option<Outcome> {
    Some(Outcome::Reply(b"?".to_vec()))
}

/// Who registered `DB` at the master, in order.
fn registrations(world: &mut World) -> Vec<u32> {
    let heard = &world.real(0).master.as_ref().unwrap().heard;
    let registered = heard.iter().filter_map(|packet| match packet {
        Packet::Register { name, handle } if name.as_bytes() == b"DB" => Some(handle.bits()),
        _ => None,
    });
    registered.collect()
}

#[test]
fn real_callers_of_a_dead_owner_get_errors_and_the_next_owner_is_found() {
    for owner_is_real in [true, false] {
        for next_is_real in [true, false] {
            let mut world = with_owner(&[owner_is_real, false, false, true]);
            // Who asked for it knows it; so does who was there when it was registered.
            ours_knows(&mut world, 2);
            assert_eq!([called(&mut world, 0), called(&mut world, 4)], [replied(), replied()]);
            world.kill(1);
            world.run(VACATE_PAUSE / 2);
            assert_eq!(registrations(&mut world), [echo(2)], "it may come back");
            world.run(SETTLED);
            assert_eq!(registrations(&mut world), [echo(2), nobody(3)], "one of us does it, once");
            assert_eq!([called(&mut world, 0), called(&mut world, 4)], [failed(), failed()]);
            // A newcomer is not told, since a real one could not register the name then.
            let next = world.add(host(10, next_is_real, false), Duration::ZERO);
            world.run(SETTLED);
            register(&mut world, next);
            for caller in [0, 4] {
                assert_eq!(called(&mut world, caller), replied(), "{caller}");
                assert_eq!(world.real(caller).complaints(), [""; 0]);
            }
        }
    }
}

#[test]
fn a_real_newcomer_that_may_be_about_to_register_the_name_is_not_told_of_nobody() {
    let mut world = with_owner(&[true, false, true]);
    ours_knows(&mut world, 2);
    world.kill(1);
    world.run(VACATE_PAUSE / 2);
    let next = world.add(host(9, true, false), Duration::ZERO);
    world.run(SETTLED * 3);
    assert_eq!(registrations(&mut world), [echo(2)]);
    register(&mut world, next);
    assert_eq!([called(&mut world, 0), called(&mut world, 3)], [replied(), replied()]);
    assert_eq!(world.real(next).complaints(), [""; 0]);
    world.kill(next);
    world.run(SETTLED);
    assert_eq!(registrations(&mut world), [echo(2), echo(9), nobody(3)]);
    assert_eq!([called(&mut world, 0), called(&mut world, 3)], [failed(), failed()]);
}

#[test]
fn an_owner_that_is_merely_unlinked_or_without_a_master_keeps_its_name() {
    let mut world = with_owner(&[true, false, true]);
    ours_knows(&mut world, 2);
    let link = world.real(1).link(3).unwrap();
    world.cut(1, link);
    world.run(SETTLED * 3);
    assert_eq!(registrations(&mut world), [echo(2)], "it has its control link");

    let mut world = with_owner(&[true, false, true]);
    ours_knows(&mut world, 2);
    let control = world.real(1).control().unwrap();
    world.cut(1, control);
    world.run(SETTLED * 3);
    assert_eq!(registrations(&mut world), [echo(2)], "it has its link");
    assert_eq!(called(&mut world, 3), replied());
    world.kill(1);
    world.run(SETTLED);
    assert_eq!(registrations(&mut world), [echo(2), nobody(3)]);
    assert_eq!(called(&mut world, 3), failed());
}

#[test]
fn a_name_that_none_of_us_knows_stays_as_it_is() {
    let mut world = with_owner(&[true, false]);
    world.kill(1);
    world.run(SETTLED);
    assert_eq!(registrations(&mut world), [echo(2)]);
}

#[test]
fn when_who_stands_in_dies_the_next_of_us_does() {
    let mut world = with_owner(&[true, false, false, true]);
    ours_knows(&mut world, 2);
    ours_knows(&mut world, 3);
    world.kill(1);
    world.run(SETTLED);
    assert_eq!(world.ours(3).names["DB"], nobody(3));
    world.kill(2);
    world.run(SETTLED);
    assert_eq!(registrations(&mut world), [echo(2), nobody(3), nobody(4)]);
    assert_eq!(called(&mut world, 4), failed());
}

#[test]
fn the_lowest_and_the_owner_may_die_together() {
    let mut world = with_owner(&[true, false, false, true]);
    ours_knows(&mut world, 2);
    ours_knows(&mut world, 3);
    world.kill(1);
    world.kill(2);
    world.run(SETTLED);
    assert_eq!(registrations(&mut world), [echo(2), nobody(4)]);
    assert_eq!(called(&mut world, 4), failed());
}

#[test]
fn an_owner_that_comes_back_while_its_name_is_given_up_has_it_in_the_end() {
    for next_is_real in [true, false] {
        // The new owner registers at every moment around the question and its answer.
        for turn in 0..12u32 {
            let mut world = with_owner(&[true, false, true]);
            ours_knows(&mut world, 2);
            let next = world.add(host(9, next_is_real, false), Duration::ZERO);
            world.run(SETTLED);
            world.kill(1);
            let asked = Packet::Query { name: b"DB"[..].into() };
            let before = world.real(0).master.as_ref().unwrap().heard.len();
            while !world.real(0).master.as_ref().unwrap().heard[before..].contains(&asked) {
                world.run(LATENCY / 4);
                assert!(world.now.nanos() < 1_000_000_000_000, "nobody asks");
            }
            world.run(LATENCY / 4 * turn);
            register(&mut world, next);
            let story = format!("turn {turn}, real {next_is_real}: {:x?}", registrations(&mut world));
            if next_is_real && world.real(next).names["DB"] == nobody(3) {
                // It had heard of nobody before it registered, so it did not.
                assert_eq!(registrations(&mut world), [echo(2), nobody(3)], "{story}");
                continue;
            }
            for caller in [0, 3] {
                assert_eq!(called(&mut world, caller), replied(), "{caller} at {story}");
            }
            assert_eq!(world.ours(2).names["DB"], echo(9), "{story}");
            if !next_is_real {
                let conflicts = world.ours(next).events.iter();
                let is_conflict =
                    |event: &&skyharbor::harbor::Event| format!("{event:?}").contains("NameConflict");
                assert_eq!(conflicts.filter(is_conflict).count(), 0, "{story}");
            }
        }
    }
}
