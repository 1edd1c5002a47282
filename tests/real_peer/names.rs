//! Who has a name, next to real nodes.

use crate::joins::{cluster, host, serve};
use crate::ours::{ECHO, Ours, Outcome, SETTLED, name_of};
use crate::world::{Cut, Host, LATENCY, World};
use skyharbor::harbor::{Event, Hello, Settings};
use skyharbor::limits::CLAIM_TIME_MAX;
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
    // Ours has asked already, and is not heard yet.
    world.with_ours(2, |ours, now| ours.register(now, "DB", ECHO));
    world.run(LATENCY * 3 / 2);
    world.with_real(1, |real, _| real.register("DB", ECHO));
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
    // Behind our registration and before its broadcast, so that it does not know better.
    world.run(LATENCY * 5 / 2);
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
    world.run(LATENCY * 5 / 2);
    world.with_real(2, |real, _| real.register("DB", ECHO));
    world.run(SETTLED);
    let (name, ours, theirs) = (name_of("DB"), Handle::from_bits(echo(2)), Handle::from_bits(echo(3)));
    assert!(world.ours(1).events.contains(&Event::NameConflict { name, ours, theirs }));
}

#[test]
fn a_living_owner_that_we_never_heard_of_keeps_its_name_under_both_masters() {
    for master_is_real in [true, false] {
        for cut in [Cut::Whole, Cut::Bytes, Cut::Joined] {
            let pause = Duration::from_millis(300);
            let mut world = cluster(cut, &[(1, master_is_real), (2, true)], pause);
            world.run(SETTLED);
            world.with_real(1, |real, _| real.register("DB", ECHO));
            world.run(SETTLED);
            // The one is asked when it has joined, the other tells what it has as soon as it has joined.
            let late = world.add(host(3, false, false), Duration::ZERO);
            world.run(SETTLED);
            let early = world.add(host(4, false, false), Duration::ZERO);
            world.with_ours(late, |ours, now| ours.register(now, "DB", ECHO));
            world.with_ours(early, |ours, now| ours.register(now, "DB", ECHO));
            world.run(SETTLED);
            let winner = Handle::from_bits(echo(2));
            assert_eq!(taken(&mut world, late), Some(HarborAnswer::NameTaken(winner)));
            let (name, ours) = (name_of("DB"), Handle::from_bits(echo(4)));
            let conflict = Event::NameConflict { name, ours, theirs: winner };
            assert!(world.ours(early).events.contains(&conflict));
            assert_eq!(world.real(1).names["DB"], echo(2));
            assert_eq!([world.ours(late).names["DB"], world.ours(early).names["DB"]], [echo(2); 2]);
            if master_is_real {
                assert_eq!(world.real(0).names["DB"], echo(2));
                assert_eq!(world.real(0).complaints(), [""; 0]);
            }
            assert_eq!(world.real(1).complaints(), [""; 0]);
        }
    }
}

#[test]
fn a_name_of_a_node_that_died_before_we_came_is_free_under_both_masters() {
    for master_is_real in [true, false] {
        let mut world = joined(&[master_is_real, false, true]);
        world.with_ours(1, |ours, now| ours.register(now, "DB", ECHO));
        world.run(SETTLED);
        world.kill(1);
        world.run(SETTLED);
        let again = world.add(host(9, false, false), Duration::ZERO);
        world.with_ours(again, |ours, now| ours.register(now, "DB", ECHO));
        world.run(SETTLED);
        assert_eq!(world.real(2).names["DB"], echo(9));
        let late = world.add(host(10, true, false), Duration::ZERO);
        world.run(SETTLED);
        let session = world.with_real(late, |real, _| real.call_name("DB", b"?"));
        world.run(SETTLED);
        assert_eq!(world.real(late).outcomes.get(&session), Some(&Outcome::Reply(b"?".to_vec())));
    }
}

#[test]
fn a_master_that_says_nothing_of_names_is_not_waited_for_for_ever() {
    for is_stuck_from_the_start in [true, false] {
        let mut world = joined(&[true, true]);
        world.real(0).master.as_mut().unwrap().is_stuck = is_stuck_from_the_start;
        let late = world.add(host(9, false, false), Duration::ZERO);
        world.run(SETTLED);
        world.real(0).master.as_mut().unwrap().is_stuck = true;
        world.with_ours(late, |ours, now| ours.register(now, "DB", ECHO));
        world.run(CLAIM_TIME_MAX - LATENCY);
        assert_eq!(world.ours(late).answers, []);
        world.run(LATENCY * 2);
        assert_eq!(world.ours(late).answers, [HarborAnswer::Registered]);
        assert_eq!(world.ours(late).names["DB"], echo(9));
    }
}

#[test]
fn many_names_at_once_cost_one_question_each() {
    let mut world = joined(&[true, true, false]);
    world.with_real(1, |real, _| real.register("N7", ECHO));
    world.run(SETTLED);
    let late = world.add(host(9, false, false), Duration::ZERO);
    world.run(SETTLED);
    let before = world.real(0).master.as_ref().unwrap().heard.len();
    for number in 0..100 {
        world.with_ours(late, |ours, now| ours.register(now, &format!("N{number}"), ECHO));
    }
    world.run(SETTLED);
    assert_eq!(taken(&mut world, late), Some(HarborAnswer::NameTaken(Handle::from_bits(echo(2)))));
    let registered = world.ours(late).answers.iter().filter(|answer| **answer == HarborAnswer::Registered);
    assert_eq!(registered.count(), 99);
    assert_eq!(
        world.real(0).master.as_ref().unwrap().names.get(&name_of("N99").into()).unwrap().bits(),
        echo(9)
    );
    let heard = world.real(0).master.as_ref().unwrap().heard.len() - before;
    assert_eq!(heard, 100 + 99 + 2, "a question and a registration each, and our own name twice");
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

#[test]
fn who_had_a_name_before_our_master_began_again_has_it_after() {
    for newcomer_is_real in [true, false] {
        let mut world = joined(&[false, false, true]);
        world.with_ours(1, |ours, now| ours.register(now, "DB", ECHO));
        world.run(SETTLED);
        world.kill(0);
        // The owner's pauses between two dials are the longest by now.
        world.run(Duration::from_secs(30));
        let settings =
            Settings { hello: Some(Hello { incarnation: 2001, capabilities: 0 }), ..Ours::settings(1, true) };
        world.add(Host::Ours(Box::new(Ours::new(settings))), Duration::ZERO);
        let newcomer = world.add(host(9, newcomer_is_real, false), Duration::from_millis(1));
        world.run(Duration::from_millis(10));
        match newcomer_is_real {
            true => world.with_real(newcomer, |real, _| real.register("DB", ECHO)),
            false => world.with_ours(newcomer, |ours, now| ours.register(now, "DB", ECHO)),
        }
        world.run(Duration::from_millis(10));
        let session = world.with_ours(3, |ours, now| ours.call_name(now, "DB", b"?"));
        assert_eq!(world.ours(3).names["DB"], echo(9), "it came first");
        world.run(Duration::from_secs(10));
        assert_eq!([world.ours(1).names["DB"], world.ours(3).names["DB"]], [echo(2); 2]);
        assert_eq!(
            world.ours(3).outcomes.get(&session),
            Some(&Outcome::Reply(b"?".to_vec())),
            "by the first"
        );
        match newcomer_is_real {
            true => assert_eq!(world.real(newcomer).names["DB"], echo(2)),
            false => {
                let (name, ours, theirs) =
                    (name_of("DB"), Handle::from_bits(echo(9)), Handle::from_bits(echo(2)));
                let conflict = Event::NameConflict { name, ours, theirs };
                assert!(world.ours(newcomer).events.contains(&conflict));
            }
        }
        let is_conflict = |event: &Event| matches!(event, Event::NameConflict { .. });
        assert!(!world.ours(1).events.iter().any(is_conflict), "{:?}", world.ours(1).events);
    }
}
