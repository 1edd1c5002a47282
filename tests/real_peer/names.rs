//! Who has a name, next to real nodes.

use crate::joins::{cluster, host, serve};
use crate::ours::{ECHO, Outcome, SETTLED, name_of};
use crate::world::{Cut, World};
use skyharbor::harbor::Event;
use skyharbor::message::{Handle, HarborAnswer};
use skyharbor::registry::MasterEvent;
use std::time::Duration;

fn echo(id: u8) -> u32 {
    u32::from(id) << 24 | ECHO
}

/// Members 1, 2, … joined one after the other; whether each is real.
fn joined(real: &[bool]) -> World {
    let members: Vec<(u8, bool)> = (1..).zip(real.iter().copied()).collect();
    let mut world = cluster(Cut::Whole, &members, Duration::from_millis(300));
    world.run(Duration::from_millis(1));
    serve(&mut world);
    world.run(SETTLED);
    world
}

fn taken(world: &mut World, ours: usize) -> Option<HarborAnswer> {
    world.ours(ours).answers.iter().rfind(|answer| matches!(answer, HarborAnswer::NameTaken(_))).cloned()
}

#[test]
fn the_first_living_owner_wins_at_our_master_and_the_loser_is_told() {
    let mut world = joined(&[false, true, false, false]);
    world.with_real(1, |real, _| real.register("DB", ECHO));
    // Both before they heard of each other.
    world.with_ours(2, |ours, now| ours.register(now, "DB", ECHO));
    world.run(SETTLED);
    let (name, ours, theirs) = (name_of("DB"), Handle::from_bits(echo(3)), Handle::from_bits(echo(2)));
    assert!(world.ours(2).events.contains(&Event::NameConflict { name, ours, theirs }));
    let is_taken = |event: &Event| matches!(event, Event::Master(MasterEvent::NameTaken { winner, .. }) if *winner == theirs);
    assert!(world.ours(0).events.iter().any(is_taken));
    // And once it is known, at once.
    world.with_ours(3, |ours, now| ours.register(now, "DB", ECHO));
    assert_eq!(taken(&mut world, 3), Some(HarborAnswer::NameTaken(theirs)));
    world.run(SETTLED);
    for host in [0, 2, 3] {
        assert_eq!(world.ours(host).names["DB"], echo(2), "nobody is split");
    }
}

#[test]
fn a_second_registration_by_a_real_node_loses_and_the_registrant_hears_the_winner() {
    let mut world = joined(&[false, false, true]);
    world.with_ours(1, |ours, now| ours.register(now, "DB", ECHO));
    // Before the broadcast reaches it, so that it does not know better.
    world.with_real(2, |real, _| real.register("DB", ECHO));
    world.run(SETTLED);
    assert_eq!(
        world.real(2).names["DB"],
        echo(2),
        "its own registration is overwritten by the N for the loser"
    );
    assert_eq!(world.ours(0).names["DB"], echo(2));
    let session = world.with_real(2, |real, _| real.call_name("DB", b"?"));
    world.run(SETTLED);
    assert_eq!(world.real(2).outcomes[&session], Outcome::Reply(b"?".to_vec()));
}

#[test]
fn under_a_real_master_our_loser_is_told_too() {
    let mut world = joined(&[true, false, true]);
    world.with_ours(1, |ours, now| ours.register(now, "DB", ECHO));
    world.with_real(2, |real, _| real.register("DB", ECHO));
    world.run(SETTLED);
    let (name, ours, theirs) = (name_of("DB"), Handle::from_bits(echo(2)), Handle::from_bits(echo(3)));
    assert!(world.ours(1).events.contains(&Event::NameConflict { name, ours, theirs }));
}

#[test]
fn a_dead_owner_s_name_gives_real_callers_errors_until_somebody_takes_it() {
    for owner_is_real in [true, false] {
        let mut world = joined(&[false, owner_is_real, true, true]);
        match owner_is_real {
            true => world.with_real(1, |real, _| real.register("DB", ECHO)),
            false => world.with_ours(1, |ours, now| ours.register(now, "DB", ECHO)),
        }
        world.run(SETTLED);
        let before = world.with_real(2, |real, _| real.call_name("DB", b"?"));
        world.run(SETTLED);
        assert_eq!(world.real(2).outcomes[&before], Outcome::Reply(b"?".to_vec()));
        world.kill(1);
        world.run(SETTLED);
        let after = world.with_real(2, |real, _| real.call_name("DB", b"?"));
        // One that never heard of it asks.
        let late = world.add(host(9, true, false), Duration::ZERO);
        world.run(SETTLED);
        let asked = world.with_real(late, |real, _| real.call_name("DB", b"?"));
        world.run(SETTLED);
        let failed = Outcome::Error("failed".to_owned());
        assert_eq!(world.real(2).outcomes.get(&after), Some(&failed));
        assert_eq!(world.real(late).outcomes.get(&asked), Some(&failed));
        world.with_ours(0, |ours, now| ours.register(now, "DB", ECHO));
        world.run(SETTLED);
        for caller in [2, 3, late] {
            let session = world.with_real(caller, |real, _| real.call_name("DB", b"!"));
            world.run(SETTLED);
            assert_eq!(world.real(caller).outcomes.get(&session), Some(&Outcome::Reply(b"!".to_vec())));
            assert_eq!(world.real(caller).complaints(), [""; 0]);
        }
    }
}

#[test]
fn a_name_is_not_given_up_while_the_owner_s_link_lives() {
    let mut world = joined(&[false, true, true]);
    world.with_real(1, |real, _| real.register("DB", ECHO));
    world.run(SETTLED);
    let control = world.real(1).control().unwrap();
    world.cut(1, control);
    world.run(SETTLED);
    for caller in [1, 2] {
        let session = world.with_real(caller, |real, _| real.call_name("DB", b"?"));
        world.run(SETTLED);
        assert_eq!(world.real(caller).outcomes.get(&session), Some(&Outcome::Reply(b"?".to_vec())));
    }
    // Now its link goes too.
    world.kill(1);
    world.run(SETTLED);
    let session = world.with_real(2, |real, _| real.call_name("DB", b"?"));
    world.run(SETTLED);
    assert_eq!(world.real(2).outcomes.get(&session), Some(&Outcome::Error("failed".to_owned())));
}

#[test]
fn under_a_real_master_newcomers_hear_of_the_present_owner() {
    let mut world = joined(&[true, true, false]);
    world.with_real(1, |real, _| real.register("DB", ECHO));
    world.run(SETTLED);
    world.kill(1);
    world.run(SETTLED);
    world.with_ours(2, |ours, now| ours.register(now, "DB", ECHO));
    world.run(SETTLED);
    assert_eq!(
        world.real(0).master.as_ref().unwrap().names[&name_of("DB").into()].bits(),
        echo(2),
        "for ever"
    );
    let late = world.add(host(9, true, false), Duration::ZERO);
    world.run(SETTLED);
    for caller in [0, late] {
        let session = world.with_real(caller, |real, _| real.call_name("DB", b"?"));
        world.run(SETTLED);
        assert_eq!(
            world.real(caller).outcomes.get(&session),
            Some(&Outcome::Reply(b"?".to_vec())),
            "{caller}"
        );
    }
}
