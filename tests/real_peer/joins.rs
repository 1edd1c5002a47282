//! Who links to whom: every role, any order, any ids, however the bytes are cut.

use crate::ours::{ECHO, Ours, Outcome, SETTLED};
use crate::world::{Cut, Host, HostNo, World};
use skyharbor::sim::real::Real;
use std::collections::BTreeSet;
use std::time::Duration;

const CUTS: [Cut; 4] = [Cut::Whole, Cut::Bytes, Cut::Joined, Cut::Pieces(3)];

/// A node of a cluster: its id, and whether it is real.
pub(crate) type Member = (u8, bool);

pub(crate) fn host(id: u8, is_real: bool, hosts_master: bool) -> Host {
    match is_real {
        true => Host::Real(Box::new(Real::new(id, hosts_master))),
        false => Host::Ours(Box::new(Ours::new(Ours::settings(id, hosts_master)))),
    }
}

/// A cluster; the first member hosts the master, the others join in their order with `pause` between them.
pub(crate) fn cluster(cut: Cut, members: &[Member], pause: Duration) -> World {
    let mut world = World::new(cut);
    for (place, (id, is_real)) in members.iter().enumerate() {
        let delay = if place == 0 { Duration::ZERO } else { Duration::from_millis(5) + pause * place as u32 };
        world.add(host(*id, *is_real, place == 0), delay);
    }
    world
}

/// The start script of our master's node: it has SERVICE and DATACENTER, and answers calls to them.
pub(crate) fn serve(world: &mut World) {
    if let Host::Ours(_) = &world.hosts[0] {
        for name in ["DATACENTER", "SERVICE"] {
            world.with_ours(0, |ours, now| ours.register(now, name, ECHO));
        }
    }
}

/// CALLER of one member calls; the session.
fn call(world: &mut World, from: HostNo, dest: u32, payload: &[u8]) -> u32 {
    match &world.hosts[from] {
        Host::Ours(_) => world.with_ours(from, |ours, now| ours.call(now, dest, payload)),
        Host::Real(_) => world.with_real(from, |real, _| real.call(dest, payload)),
    }
}

fn call_name(world: &mut World, from: HostNo, name: &str, payload: &[u8]) -> u32 {
    match &world.hosts[from] {
        Host::Ours(_) => world.with_ours(from, |ours, now| ours.call_name(now, name, payload)),
        Host::Real(_) => world.with_real(from, |real, _| real.call_name(name, payload)),
    }
}

fn register(world: &mut World, host: HostNo, name: &str) {
    match &world.hosts[host] {
        Host::Ours(_) => world.with_ours(host, |ours, now| ours.register(now, name, ECHO)),
        Host::Real(_) => world.with_real(host, |real, _| real.register(name, ECHO)),
    }
}

fn outcome(world: &World, from: HostNo, session: u32) -> Option<Outcome> {
    match &world.hosts[from] {
        Host::Ours(ours) => ours.outcomes.get(&session).cloned(),
        Host::Real(real) => real.outcomes.get(&session).cloned(),
    }
}

/// Everybody calls everybody by handle and by name, and gets what it sent.
fn check_calls(world: &mut World, members: &[Member], story: &str) {
    for (host, (id, _)) in members.iter().enumerate() {
        register(world, host, &format!("echo{id}"));
    }
    let mut calls = Vec::new();
    for (from, (own, _)) in members.iter().enumerate() {
        for (id, _) in members.iter().filter(|(id, _)| id != own) {
            let payload = format!("{own} to {id}");
            let by_handle = call(world, from, u32::from(*id) << 24 | ECHO, payload.as_bytes());
            let by_name = call_name(world, from, &format!("echo{id}"), payload.as_bytes());
            calls.extend([by_handle, by_name].map(|session| (from, session, payload.clone())));
        }
    }
    world.run(SETTLED);
    for (from, session, payload) in calls {
        let expected = Outcome::Reply(payload.into_bytes());
        let own = members[from].0;
        assert_eq!(outcome(world, from, session), Some(expected), "{story}: a call of {own}");
    }
}

/// Nobody had a reason to write an error into its log.
fn check_silence(world: &World, story: &str) {
    for host in &world.hosts {
        match host {
            Host::Real(real) => assert_eq!(real.complaints(), [""; 0], "{story}: the log of {}", real.id),
            Host::Ours(ours) => {
                let own = ours.id;
                assert!(ours.has_joined() && ours.harbor.balances(), "{story}: {own}: {:?}", ours.events);
            }
        }
    }
}

fn check_joined(world: &World, story: &str) {
    for host in &world.hosts {
        if let Host::Real(real) = host {
            assert!(real.is_ready() && real.has_booted, "{story}: {} has not booted", real.id);
        }
    }
}

/// Rows `[master, second, third, fourth]`: whether they are real.
fn mixes() -> Vec<[bool; 4]> {
    (0..16).map(|bits: u8| [3, 2, 1, 0].map(|bit| bits >> bit & 1 == 1)).collect()
}

fn play(cut: Cut, members: &[Member], pause: Duration) {
    let story = format!("{members:?}, {cut:?}, {pause:?}");
    let mut world = cluster(cut, members, pause);
    world.run(Duration::from_millis(1));
    serve(&mut world);
    world.run(SETTLED);
    check_joined(&world, &story);
    check_calls(&mut world, members, &story);
    check_silence(&world, &story);
}

#[test]
fn every_mix_of_real_and_our_nodes_links_and_calls_in_any_join_order() {
    for mix in mixes() {
        for pause in [Duration::ZERO, Duration::from_micros(150), Duration::from_millis(200)] {
            for (cut, ids) in
                CUTS.into_iter().zip([[1, 2, 3, 4], [200, 2, 255, 127], [4, 3, 2, 1], [128, 255, 1, 254]])
            {
                let members: Vec<Member> = ids.into_iter().zip(mix).collect();
                play(cut, &members, pause);
            }
        }
    }
}

#[test]
fn all_255_ids_join_our_master() {
    let members: Vec<Member> = (1..=255).map(|id| (id, id % 8 == 3)).collect();
    join_all(&members);
}

#[test]
fn ids_up_to_255_join_a_real_master() {
    let members: Vec<Member> = (0..64).map(|place| (255 - 4 * place, place % 2 == 0)).collect();
    join_all(&members);
}

/// All join one after the other; then everybody calls the last one, and it calls the first.
fn join_all(members: &[Member]) {
    let pause = Duration::from_millis(20);
    let mut world = cluster(Cut::Whole, members, pause);
    world.run(Duration::from_millis(1));
    serve(&mut world);
    world.run(pause * members.len() as u32 + SETTLED);
    check_joined(&world, "all");
    let (first, last) = (members[0].0, members[members.len() - 1].0);
    let echo = |id: u8| u32::from(id) << 24 | ECHO;
    let callers = 0..members.len() - 1;
    let mut calls: Vec<(HostNo, u32)> =
        callers.map(|from| (from, call(&mut world, from, echo(last), b"far"))).collect();
    calls.push((members.len() - 1, call(&mut world, members.len() - 1, echo(first), b"far")));
    world.run(SETTLED);
    for (from, session) in calls {
        let expected = Outcome::Reply(b"far".to_vec());
        assert_eq!(outcome(&world, from, session), Some(expected), "from {}", members[from].0);
    }
    check_silence(&world, "all");
}

#[test]
fn the_older_node_dials_and_each_pair_has_one_link() {
    for mix in mixes() {
        let members: Vec<Member> = [1, 2, 3, 4].into_iter().zip(mix).collect();
        let mut world = cluster(Cut::Whole, &members, Duration::from_millis(300));
        world.run(Duration::from_millis(1));
        serve(&mut world);
        world.run(SETTLED);
        let dialled: Vec<(HostNo, String)> =
            world.accepted.iter().filter(|(_, address)| address != "master").cloned().collect();
        let expected: BTreeSet<(HostNo, String)> =
            (0..4).flat_map(|from| (from + 1..4).map(move |to| (from, format!("node:{}", to + 1)))).collect();
        assert_eq!(dialled.len(), expected.len(), "{mix:?}: {dialled:?}");
        assert_eq!(dialled.into_iter().collect::<BTreeSet<_>>(), expected, "{mix:?}");
        assert_eq!(world.refused, [""; 0], "{mix:?}: a running real node is never dialled");
    }
}

#[test]
fn an_acceptor_of_ours_is_silent_until_the_id_byte_and_its_listener_stays_open() {
    let mut world = cluster(Cut::Whole, &[(1, true), (5, false)], Duration::ZERO);
    world.run(SETTLED);
    let again = world.with_real(0, |real, _| real.dial("node:5"));
    world.run(Duration::from_secs(1));
    assert_eq!(world.accepted.last().unwrap(), &(0, "node:5".to_owned()), "it listens after its join");
    assert!(world.refused.is_empty());
    // The live link is not given up: the second one is refused without a byte.
    world.with_real(0, |real, _| real.write(again, &[1]));
    world.run(Duration::from_secs(1));
    assert_eq!(world.real(0).complaints(), [""; 0], "no byte came on it");
    let session = call(&mut world, 0, 0x0500_0000 | ECHO, b"alive");
    world.run(SETTLED);
    assert_eq!(outcome(&world, 0, session), Some(Outcome::Reply(b"alive".to_vec())));
}

#[test]
fn calls_made_before_the_peer_joins_are_held_for_it_in_both_directions() {
    for mix in [[true, false], [false, true]] {
        let members: Vec<Member> = [9, 130].into_iter().zip(mix).collect();
        let mut world = cluster(Cut::Joined, &members, Duration::from_secs(2));
        world.run(Duration::from_millis(1));
        serve(&mut world);
        world.run(Duration::from_millis(100));
        let sessions = [b"one", b"two"].map(|text| call(&mut world, 0, 0x8200_0000 | ECHO, text));
        world.run(Duration::from_secs(2) + SETTLED);
        let told = sessions.map(|session| outcome(&world, 0, session));
        assert_eq!(told, [b"one", b"two"].map(|text| Some(Outcome::Reply(text.to_vec()))), "{mix:?}");
        check_silence(&world, &format!("{mix:?}"));
    }
}
