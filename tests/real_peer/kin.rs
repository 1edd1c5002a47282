//! Nodes of our kind find each other under any master, and real nodes do not notice.

use crate::joins::{cluster, host, serve};
use crate::ours::{ECHO, Ours, Outcome, SETTLED};
use crate::world::{Cut, Host, World};
use skyharbor::harbor::Event;
use skyharbor::message::HarborId;
use skyharbor::sim::real::{LUA, Message};
use std::collections::BTreeSet;
use std::time::Duration;

/// Who said hello to this node, in their order.
fn met(world: &mut World, host: usize) -> Vec<u8> {
    let events = world.ours(host).events.iter();
    let met = events.filter_map(|event| match event {
        Event::Kin { peer, hello } => {
            assert_eq!(*hello, Ours::hello(peer.get()));
            Some(peer.get())
        }
        _ => None,
    });
    met.collect()
}

fn joined(members: &[(u8, bool)], pause: Duration) -> World {
    let mut world = cluster(Cut::Whole, members, pause);
    world.run(Duration::from_millis(1));
    serve(&mut world);
    world.run(SETTLED);
    world
}

#[test]
fn our_nodes_meet_once_each_and_real_nodes_hear_only_names() {
    for bits in 0..32u8 {
        for pause in [Duration::ZERO, Duration::from_millis(300)] {
            let members: Vec<(u8, bool)> =
                (0..5).map(|place| (200 + place, bits >> place & 1 == 1)).collect();
            let mut world = joined(&members, pause);
            let ours: BTreeSet<u8> = members.iter().filter(|(_, real)| !real).map(|(id, _)| *id).collect();
            for (host, (id, is_real)) in members.iter().enumerate() {
                if *is_real {
                    let real = world.real(host);
                    assert_eq!(real.complaints(), [""; 0], "{members:?}");
                    assert!(real.received.iter().all(|message| message.payload.ends_with(b"REPORT")));
                    let strange: Vec<_> = real.names.keys().filter(|name| !is_known(name, &ours)).collect();
                    assert!(strange.is_empty(), "{strange:?}");
                } else {
                    let others: BTreeSet<u8> = ours.iter().copied().filter(|other| other != id).collect();
                    let met = met(&mut world, host);
                    assert_eq!(met.len(), others.len(), "once each: {members:?}, {id} met {met:?}");
                    assert_eq!(met.into_iter().collect::<BTreeSet<_>>(), others, "{members:?}");
                    assert!(world.ours(host).harbor.kin(HarborId::new(*id)).is_none());
                }
            }
        }
    }
}

fn is_known(name: &str, ours: &BTreeSet<u8>) -> bool {
    let is_service = ["SERVICE", "DATACENTER"].contains(&name);
    is_service || ours.iter().any(|id| name == format!("~sky.{id}"))
}

#[test]
fn a_node_that_does_not_look_for_its_kind_gets_no_hello() {
    let mut world = World::new(Cut::Whole);
    world.add(host(1, true, true), Duration::ZERO);
    world.add(host(2, false, false), Duration::from_millis(50));
    let settings = skyharbor::harbor::Settings { hello: None, ..Ours::settings(3, false) };
    world.add(Host::Ours(Box::new(Ours::new(settings))), Duration::from_millis(100));
    world.run(SETTLED);
    assert_eq!(met(&mut world, 1), [0; 0]);
    assert_eq!(world.ours(2).harbor.intake().frames, 0);
}

#[test]
fn real_nodes_get_large_payloads_as_they_are() {
    for master in [true, false] {
        let mut world = joined(&[(1, master), (2, false), (3, true), (4, false)], Duration::from_millis(300));
        let payload = vec![7; 100_000];
        let mut sessions = Vec::new();
        for dest in [1, 3, 4] {
            let dest = dest << 24 | ECHO;
            sessions.push(world.with_ours(1, |ours, now| ours.call(now, dest, &payload)));
        }
        world.run(SETTLED);
        for session in sessions {
            assert_eq!(world.ours(1).outcomes.get(&session), Some(&Outcome::Reply(payload.clone())));
        }
        let real = world.real(2);
        assert_eq!(real.received.last().map(|message| &message.payload), Some(&payload));
        assert_eq!(real.complaints(), [""; 0]);
    }
}

#[test]
fn a_node_that_comes_back_under_another_id_is_met_again() {
    let mut world = joined(&[(1, true), (2, false), (3, false)], Duration::from_millis(300));
    world.kill(2);
    world.run(SETTLED);
    assert!(world.ours(1).harbor.kin(HarborId::new(3)).is_none(), "it is gone");
    let again = world.add(host(4, false, false), Duration::ZERO);
    world.run(SETTLED);
    assert_eq!((met(&mut world, 1), met(&mut world, again)), (vec![3, 4], vec![2]));
}

#[test]
fn who_is_no_kin_gets_an_error_from_the_reserved_id_and_makes_no_hello() {
    let mut world = joined(&[(1, true), (2, false)], Duration::from_millis(300));
    let session = world.with_real(0, |real, _| real.call_name("~sky.2", b"?"));
    world.with_real(0, |real, _| {
        let (source, dest) = (real.handle(ECHO), 0x0200_0007);
        let payload = b"\x2cHELLO\x0a\x01\x0a\x01".to_vec();
        real.send(Message { source, dest, kind: LUA, session: 0, payload });
    });
    world.run(SETTLED);
    assert_eq!(world.real(0).outcomes.get(&session), Some(&Outcome::Error("failed".to_owned())));
    assert_eq!(met(&mut world, 1), [0; 0]);
    assert_eq!(world.real(0).complaints(), [""; 0]);
}
