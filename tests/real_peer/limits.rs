//! How much fits, and what is said when it is nearly too much.

use crate::joins::{cluster, host, serve};
use crate::ours::{ECHO, Ours, Outcome, SETTLED};
use crate::world::{Cut, Host, World};
use skyharbor::harbor::{Event, Listener, Settings};
use skyharbor::message::NameError;
use skyharbor::{HarborId, Name};
use std::io;
use std::time::Duration;

/// A node whose address has this many bytes.
fn at_address_of(len: usize) -> Ours {
    let mut settings: Settings = Ours::settings(2, false);
    settings.join.as_mut().unwrap().advertise = Some("a".repeat(len));
    Ours::new(settings)
}

#[test]
fn the_longest_address_fills_a_packet_and_one_byte_more_is_an_error() {
    for (len, fits) in [(248, true), (249, false)] {
        let mut world = World::new(Cut::Bytes);
        world.add(host(1, true, true), Duration::ZERO);
        world.add(Host::Ours(Box::new(at_address_of(len))), Duration::from_millis(10));
        world.run(SETTLED);
        let failed = Event::ListenFailed(Listener::Links, io::ErrorKind::InvalidInput);
        assert_eq!(world.ours(1).events.contains(&failed), !fits, "{len}");
        assert_eq!(world.ours(1).events.contains(&Event::MasterUp), fits, "{len}");
        assert_eq!(world.refused.contains(&"a".repeat(len)), fits, "the real node dials it, {len}");
    }
}

#[test]
fn names_of_1_to_15_bytes_are_carried_and_16_are_none() {
    for (master, owner) in [(true, false), (false, false), (false, true)] {
        let mut world =
            cluster(Cut::Joined, &[(1, master), (2, owner), (3, true)], Duration::from_millis(300));
        world.run(Duration::from_millis(1));
        serve(&mut world);
        world.run(SETTLED);
        for name in ["x", "exactly15bytes.", "~!@#$%^&*()", "\u{540d}\u{5b57}"] {
            match owner {
                true => world.with_real(1, |real, _| real.register(name, ECHO)),
                false => world.with_ours(1, |ours, now| ours.register(now, name, ECHO)),
            }
            world.run(SETTLED);
            let session = world.with_real(2, |real, _| real.call_name(name, b"?"));
            world.run(SETTLED);
            assert_eq!(world.real(2).outcomes.get(&session), Some(&Outcome::Reply(b"?".to_vec())), "{name}");
        }
        assert_eq!(world.real(2).complaints(), [""; 0]);
    }
    assert_eq!("sixteen.bytes..!".parse::<Name>(), Err(NameError::TooLong(16)));
}

fn large(world: &mut World, host: usize) -> Vec<(u8, usize, bool)> {
    let events = world.ours(host).events.iter();
    let large = events.filter_map(|event| match event {
        Event::Large { peer, bytes, is_sent } => Some((peer.get(), *bytes, *is_sent)),
        _ => None,
    });
    large.collect()
}

#[test]
fn large_messages_to_and_from_real_nodes_are_warned_of_at_each_doubling_and_others_are_not() {
    const MIB: usize = 1 << 20;
    let mut world = cluster(Cut::Whole, &[(1, true), (2, false), (3, false)], Duration::from_millis(300));
    world.run(SETTLED);
    for bytes in [4 * MIB - 1, 4 * MIB, 5 * MIB, 7_000_000, 8 * MIB, 16_777_203] {
        for dest in [1, 3] {
            let dest = dest << 24 | ECHO;
            world.with_ours(1, |ours, now| ours.call(now, dest, &vec![7; bytes]));
        }
        world.run(SETTLED);
    }
    assert!(world.ours(1).outcomes.values().all(|outcome| matches!(outcome, Outcome::Reply(_))));
    let marks = [4 * MIB, 8 * MIB].map(|bytes| [(1, bytes, true), (1, bytes, false)]);
    assert_eq!(large(&mut world, 1), marks.as_flattened(), "the echo comes back as large");
    assert_eq!(large(&mut world, 2), [], "they are of one kind");
}

#[test]
fn unsent_bytes_are_warned_of_from_1_mib_on() {
    assert_eq!(Settings::new(HarborId::new(1)).bounds.unsent_warn_bytes, 1 << 20);
}
