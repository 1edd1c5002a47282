use super::*;
use crate::message::{HarborAnswer, Session, Waiter};
use crate::registry::{Slave, SlaveOutput};
use std::time::Duration;

const START: Instant = Instant::from_nanos(1_000);

fn id(id: u8) -> HarborId {
    HarborId::new(id)
}

fn handle(bits: u32) -> Handle {
    Handle::from_bits(bits)
}

fn conn(number: u64) -> ConnId {
    ConnId::new(number)
}

fn hello(n: u8) -> Packet {
    Packet::Hello { id: id(n), address: format!("host:{n}") }
}

fn register(name: &str, bits: u32) -> Packet {
    Packet::Register { name: name.as_bytes().into(), handle: handle(bits) }
}

fn query(name: &str) -> Packet {
    Packet::Query { name: name.as_bytes().into() }
}

/// What comes out. Connections have the numbers of their slaves.
fn drain(master: &mut Master) -> String {
    let mut all = Vec::new();
    while let Some(output) = master.poll_output() {
        all.push(match output {
            MasterOutput::SendPacket { conn, packet, trailing } => {
                format!("{}: {}{}", conn.number(), show(&packet), behind(trailing))
            }
            MasterOutput::Close { conn } => format!("close {}", conn.number()),
            MasterOutput::Event(event) => match event {
                MasterEvent::NameEnded { name, nobody } => format!("{name:?} ended: {nobody}"),
                MasterEvent::Joined { id, .. } => format!("joined {id}"),
                MasterEvent::Left { id, fault: None } => format!("left {id}"),
                MasterEvent::Left { id, fault: Some(fault) } => format!("left {id} {fault:?}"),
                MasterEvent::Refused { reason, .. } => format!("{reason:?}"),
                MasterEvent::Named { name, handle } => format!("named {name:?} {handle}"),
                MasterEvent::NameTaken { winner, loser, .. } => format!("taken {winner} {loser}"),
                MasterEvent::Vacated { id, stand_in, names } => format!("vacated {id} {stand_in} {names}"),
                MasterEvent::NameDropped { .. } => "dropped".to_owned(),
                MasterEvent::Ignored { id, .. } => format!("ignored {id}"),
            },
        });
    }
    all.join(", ")
}

fn behind(trailing: Trailing) -> String {
    match trailing {
        Trailing::Nothing => String::new(),
        Trailing::Hello(hello) => format!(" hello {}", hello.incarnation),
        Trailing::Epoch(epoch) => format!(" epoch {epoch}"),
    }
}

fn show(packet: &Packet) -> String {
    match packet {
        Packet::Wait { n } => format!("W {n}"),
        Packet::Connect { id, address } => format!("C {id} {address}"),
        Packet::Name { name, handle } => format!("N {name:?} {handle}"),
        Packet::Dead { id } => format!("D {id}"),
        other => panic!("a master never sends {other:?}"),
    }
}

/// A master with these members, each on the connection of its number.
fn master_of(members: &[u8]) -> Master {
    let mut master = Master::new(Bounds::default());
    for n in members {
        master.handle_accepted(START, conn(u64::from(*n)));
        master.handle_packet(START, conn(u64::from(*n)), hello(*n));
    }
    drain(&mut master);
    master
}

fn tell(master: &mut Master, from: u8, packet: Packet) -> String {
    master.handle_packet(START, conn(u64::from(from)), packet);
    drain(master)
}

type Event = fn(&mut Master);

/// Every event of connection 3 with what it does if the machine does not know it, if it is a guest, if it is a member
/// besides member 1.
fn table() -> Vec<(&'static str, Event, [&'static str; 3])> {
    fn packet(master: &mut Master, packet: Packet) {
        master.handle_packet(START, conn(3), packet);
    }
    let refused = "close 3, NotHello";
    vec![
        ("H", |master| packet(master, hello(3)), ["", "1: C 3 host:3, 3: W 1, joined 3", "ignored 3"]),
        (
            "R",
            |master| packet(master, register("A", 0x0300_0009)),
            ["", refused, "1: N \"A\" :03000009, 3: N \"A\" :03000009, named \"A\" :03000009"],
        ),
        ("Q, known", |master| packet(master, query("KNOWN")), ["", refused, "3: N \"KNOWN\" :01000008"]),
        ("Q, unknown", |master| packet(master, query("A")), ["", refused, ""]),
        ("W", |master| packet(master, Packet::Wait { n: 1 }), ["", refused, "ignored 3"]),
        (
            "C",
            |master| packet(master, Packet::Connect { id: id(9), address: String::new() }),
            ["", refused, "ignored 3"],
        ),
        (
            "N",
            |master| packet(master, Packet::Name { name: b"A"[..].into(), handle: handle(1) }),
            ["", refused, "ignored 3"],
        ),
        ("D", |master| packet(master, Packet::Dead { id: id(1) }), ["", refused, "ignored 3"]),
        (
            "unknown letter",
            |master| packet(master, Packet::Unknown { letter: vec![] }),
            ["", refused, "ignored 3"],
        ),
        (
            "fault",
            |master| master.handle_fault(START, conn(3), ControlFault::Empty),
            ["", "close 3, Fault(Empty)", "close 3, 1: D 3, left 3 Empty"],
        ),
        ("closed", |master| master.handle_closed(START, conn(3)), ["", "", "1: D 3, left 3"]),
        ("too early", |master| master.handle_timeout(START + Duration::from_secs(4)), ["", "", ""]),
        (
            "too late",
            |master| master.handle_timeout(START + Duration::from_secs(5)),
            ["", "close 3, Late", ""],
        ),
    ]
}

#[test]
fn every_event_in_every_state() {
    for (event, run, expected) in table() {
        for (state, expected) in ["unknown", "guest", "member"].into_iter().zip(expected) {
            let mut master = master_of(&[1]);
            tell(&mut master, 1, register("KNOWN", 0x0100_0008));
            if state != "unknown" {
                master.handle_accepted(START, conn(3));
            }
            if state == "member" {
                tell(&mut master, 3, hello(3));
            }
            run(&mut master);
            assert_eq!(drain(&mut master), expected, "{event} of {state}");
        }
    }
}

#[test]
fn g1_members_hear_of_the_newcomer_before_it_is_told_to_wait() {
    let mut master = master_of(&[1, 2]);
    master.handle_accepted(START, conn(9));
    assert_eq!(tell(&mut master, 9, hello(9)), "1: C 9 host:9, 2: C 9 host:9, 9: W 2, joined 9");
    assert_eq!(master.members().map(|(id, _)| id.get()).collect::<Vec<_>>(), [1, 2, 9]);
    master.handle_closed(START, conn(1));
    assert_eq!(drain(&mut master), "2: D 1, 9: D 1, left 1");
}

#[test]
fn g2_an_id_serves_once_whether_its_slave_lives_or_not() {
    let mut master = master_of(&[1, 2]);
    master.handle_closed(START, conn(2));
    drain(&mut master);
    for (attempt, used) in [(10, 1), (11, 2)] {
        master.handle_accepted(START, conn(attempt));
        master.handle_packet(START, conn(attempt), hello(used));
        assert_eq!(drain(&mut master), format!("close {attempt}, IdUsed(HarborId({used}))"));
    }
    assert_eq!(tell(&mut master, 1, query("A")), "", "the living one is not disturbed");
    assert_eq!(master.members().count(), 1);
}

#[test]
fn g3_the_first_living_owner_wins_and_only_the_loser_hears_of_it() {
    let mut master = master_of(&[1, 2, 3]);
    tell(&mut master, 1, register("A", 0x0100_0008));
    let lost = "2: N \"A\" :01000008, taken :01000008 :02000009";
    assert_eq!(tell(&mut master, 2, register("A", 0x0200_0009)), lost);
    assert_eq!(tell(&mut master, 3, query("A")), "3: N \"A\" :01000008");
    assert_eq!(tell(&mut master, 1, register("A", 0x0100_0008)), "1: N \"A\" :01000008", "a repeated R");
}

#[test]
fn g4_names_of_the_dead_stay_until_somebody_takes_them() {
    let mut master = master_of(&[1, 2, 3]);
    tell(&mut master, 1, register("A", 0x0100_0008));
    master.handle_closed(START, conn(1));
    drain(&mut master);
    assert_eq!(tell(&mut master, 2, query("A")), "2: N \"A\" :01000008");
    let taken = "2: N \"A\" :02000009, 3: N \"A\" :02000009, named \"A\" :02000009";
    assert_eq!(tell(&mut master, 2, register("A", 0x0200_0009)), taken);
}

#[test]
fn g4_names_of_those_of_whom_nothing_is_left_lead_to_nobody() {
    let mut master = master_of(&[1, 2, 3, 4]);
    tell(&mut master, 2, register("A", 0x0200_0008));
    tell(&mut master, 2, register("B", 0x0200_0009));
    tell(&mut master, 3, register("C", 0x0300_0009));
    let lost = |master: &mut Master, n: u8, own: Option<u8>| {
        master.handle_lost(START, id(n), own.map(id));
        drain(master)
    };
    assert_eq!(lost(&mut master, 2, Some(1)), "", "it is a member");
    master.handle_closed(START, conn(2));
    drain(&mut master);
    assert_eq!(lost(&mut master, 2, None), "", "nobody is known who could answer");
    let news =
        |name: &str| format!("1: N {name:?} :01000006, 3: N {name:?} :01000006, 4: N {name:?} :01000006");
    let told = format!("{}, {}, vacated 2 :01000006 2", news("A"), news("B"));
    assert_eq!(lost(&mut master, 2, Some(1)), told);
    assert_eq!(lost(&mut master, 2, Some(1)), "", "once");
    assert_eq!(tell(&mut master, 4, query("A")), "4: N \"A\" :01000006");
    let taken = tell(&mut master, 4, register("A", 0x0400_0008));
    assert!(taken.ends_with("named \"A\" :04000008"), "{taken}");
    // A master without links of its own asks one of our kind to stand in.
    tell(&mut master, 4, register("~sky.4", 0x0400_0007));
    tell(&mut master, 3, register("~sky.1", 0x0300_0007));
    master.handle_closed(START, conn(1));
    drain(&mut master);
    let told = "3: N \"B\" :04000006, 4: N \"B\" :04000006, vacated 1 :04000006 1";
    assert_eq!(lost(&mut master, 1, None), told);
}

#[test]
fn g4_a_node_moves_its_own_names_and_no_other() {
    let mut master = master_of(&[1, 2]);
    tell(&mut master, 1, register("A", 0x0100_0008));
    let moved = "1: N \"A\" :01000009, 2: N \"A\" :01000009, named \"A\" :01000009";
    assert_eq!(tell(&mut master, 1, register("A", 0x0100_0009)), moved);
    let lost = "2: N \"A\" :01000009, taken :01000009 :0100000a";
    assert_eq!(tell(&mut master, 2, register("A", 0x0100_000a)), lost, "not for another node");
    let lost = "1: N \"A\" :01000009, taken :01000009 :02000009";
    assert_eq!(tell(&mut master, 1, register("A", 0x0200_0009)), lost, "not to another node");
}

#[test]
fn g5_a_late_registration_answers_the_query_before_it() {
    let mut master = master_of(&[1, 2]);
    assert_eq!(tell(&mut master, 2, query("LATER")), "");
    let news = "1: N \"LATER\" :01000008, 2: N \"LATER\" :01000008, named \"LATER\" :01000008";
    assert_eq!(tell(&mut master, 1, register("LATER", 0x0100_0008)), news);
}

#[test]
fn guests_and_names_are_bounded() {
    let bounds = Bounds { guests_max: 2, names_max: 1, ..Bounds::default() };
    let mut master = Master::new(bounds);
    for n in 1..=3 {
        master.handle_accepted(START, conn(n));
    }
    assert_eq!(drain(&mut master), "close 3, Crowded");
    assert_eq!(tell(&mut master, 1, hello(1)), "1: W 0, joined 1");
    master.handle_accepted(START + Duration::from_secs(1), conn(4));
    assert_eq!(drain(&mut master), "", "a member is no guest");
    assert_eq!(master.poll_timeout(), Some(START + Duration::from_secs(5)));
    master.handle_timeout(START + Duration::from_secs(5));
    assert_eq!(drain(&mut master), "close 2, Late");
    assert_eq!(master.poll_timeout(), Some(START + Duration::from_secs(6)));

    tell(&mut master, 1, register("A", 0x0100_0008));
    assert_eq!(tell(&mut master, 1, register("B", 0x0100_0008)), "dropped");
    assert_eq!(
        tell(&mut master, 1, register("A", 0x0100_0009)),
        "1: N \"A\" :01000009, named \"A\" :01000009"
    );
}

#[test]
fn a_name_that_would_not_fit_in_its_broadcast_is_dropped() {
    let mut master = master_of(&[1]);
    let long = |bits| Packet::Register { name: vec![b'n'; 248].as_slice().into(), handle: handle(bits) };
    assert!(tell(&mut master, 1, long(7)).starts_with("1: N"));
    let long = |bits| Packet::Register { name: vec![b'm'; 248].as_slice().into(), handle: handle(bits) };
    assert_eq!(tell(&mut master, 1, long(0xff00_0001)), "dropped");
    assert_eq!(master.names().count(), 1);
}

#[test]
fn every_id_can_be_a_member() {
    let mut master = Master::new(Bounds::default());
    for n in 1..=255 {
        master.handle_accepted(START, conn(n.into()));
        master.handle_packet(START, conn(n.into()), hello(n));
    }
    assert!(drain(&mut master).ends_with("255: W 254, joined 255"));
    assert_eq!(master.members().count(), 255);
}

#[test]
fn a_name_is_never_given_to_a_handle_with_which_it_fits_in_no_packet() {
    let mut master = master_of(&[3]);
    let name = "n".repeat(245);
    let named = tell(&mut master, 3, register(&name, 1));
    assert!(named.starts_with("3: N"), "{named}");
    // In an R a handle may be a negative number of five bytes; in an N this one takes nine.
    assert_eq!(tell(&mut master, 3, register(&name, 0xffff_ffff)), "dropped");
    let known = tell(&mut master, 3, query(&name));
    assert!(known.ends_with(" :00000001"), "{known}");
}

const HELLO: Hello = Hello { incarnation: 7, capabilities: 0 };

/// The first epoch that a master of this incarnation gives.
const FIRST: u64 = 7 << 16;

/// A master of our kind with these members, who are of our kind if they say an incarnation.
fn kin_master_of(members: &[(u8, Option<u64>)]) -> Master {
    let mut master = Master::new(Bounds::default());
    master.seek_kin(HELLO);
    for (n, incarnation) in members {
        greet(&mut master, *n, *incarnation);
    }
    master
}

fn greet(master: &mut Master, n: u8, incarnation: Option<u64>) -> String {
    let hello = |incarnation| Trailing::Hello(Hello { incarnation, capabilities: 0 });
    let trailing = incarnation.map_or(Trailing::Nothing, hello);
    master.handle_accepted(START, conn(u64::from(n)));
    master.handle_packet(START, conn(u64::from(n)), trailing.behind(self::hello(n)));
    drain(master)
}

fn tell_epoch(master: &mut Master, from: u8, packet: Packet, epoch: u64) -> String {
    master.handle_packet(START, conn(u64::from(from)), Trailing::Epoch(epoch).behind(packet));
    drain(master)
}

#[test]
fn g11_our_kind_hears_of_our_kind_and_real_nodes_hear_what_skynet_says() {
    let mut master = kin_master_of(&[(1, Some(101)), (2, None)]);
    let told = greet(&mut master, 3, Some(103));
    assert_eq!(
        told,
        "1: C 3 host:3 hello 103, 2: C 3 host:3, 3: W 2 hello 7, 3: N \"~sky.1\" :01000007 hello 101, joined 3"
    );
    assert_eq!(greet(&mut master, 4, None), "1: C 4 host:4, 2: C 4 host:4, 3: C 4 host:4, 4: W 3, joined 4");
    let named = tell(&mut master, 2, register("A", 0x0200_0008));
    let news = |to: u8, epoch: &str| format!("{to}: N \"A\" :02000008{epoch}");
    let epoch = format!(" epoch {FIRST}");
    let told = [news(1, &epoch), news(2, ""), news(3, &epoch), news(4, "")].join(", ");
    assert_eq!(named, format!("{told}, named \"A\" :02000008"));
    assert_eq!(tell(&mut master, 4, query("A")), news(4, ""));
    assert_eq!(tell(&mut master, 3, query("A")), news(3, &epoch));
}

#[test]
fn g11_a_master_that_says_nothing_of_itself_passes_nothing_on() {
    let mut master = Master::new(Bounds::default());
    greet(&mut master, 1, Some(101));
    assert_eq!(greet(&mut master, 2, Some(102)), "1: C 2 host:2, 2: W 1, joined 2");
    let named = tell(&mut master, 2, register("A", 0x0200_0008));
    assert!(!named.contains("epoch"), "{named}");
}

#[test]
fn g13_an_owner_that_was_confirmed_before_gets_its_name_back() {
    let mut master = kin_master_of(&[(1, Some(1)), (2, Some(1)), (3, None)]);
    let is_named = |told: String, bits: u32| told.ends_with(&format!("named \"A\" {}", handle(bits)));
    // A real node was faster, then one of ours that was confirmed late, then the first.
    assert!(is_named(tell(&mut master, 3, register("A", 0x0300_0008)), 0x0300_0008));
    assert!(is_named(tell_epoch(&mut master, 2, register("A", 0x0200_0008), 90), 0x0200_0008));
    assert!(is_named(tell_epoch(&mut master, 1, register("A", 0x0100_0008), 80), 0x0100_0008));
    let lost = |told: String| told.contains("taken :01000008");
    assert!(lost(tell_epoch(&mut master, 2, register("A", 0x0200_0008), 90)));
    assert!(lost(tell(&mut master, 3, register("A", 0x0300_0008))));
    assert!(lost(tell_epoch(&mut master, 2, register("A", 0x0200_0008), 0)), "never confirmed");
    assert_eq!(
        tell(&mut master, 2, query("A")),
        "2: N \"A\" :01000008 epoch 80",
        "it is known for the next life"
    );
    // It moves it and is no younger for it.
    assert!(is_named(tell(&mut master, 1, register("A", 0x0100_0009)), 0x0100_0009));
    assert_eq!(tell(&mut master, 2, query("A")), "2: N \"A\" :01000009 epoch 80");
}

#[test]
fn g13_an_epoch_is_no_right_to_a_name_of_another_node() {
    let mut master = kin_master_of(&[(1, Some(1)), (2, Some(1))]);
    tell(&mut master, 1, register("A", 0x0100_0008));
    let told = tell_epoch(&mut master, 2, register("A", 0x0900_0008), 5);
    assert!(told.contains("taken"), "{told}");
}

#[test]
fn g13_epochs_grow_whatever_the_clock_says() {
    let mut master = kin_master_of(&[(1, Some(1)), (2, Some(1))]);
    let late = FIRST + 1000;
    tell(&mut master, 2, register("A", 0x0200_0008));
    // An earlier life of the master had a clock that was ahead: its owner was there before all the same.
    let told = tell_epoch(&mut master, 1, register("A", 0x0100_0008), late);
    assert!(told.ends_with("named \"A\" :01000008"), "{told}");
    tell(&mut master, 1, register("B", 0x0100_0008));
    assert_eq!(tell(&mut master, 2, query("B")), format!("2: N \"B\" :01000008 epoch {}", late + 1));
}

#[test]
fn g13_of_two_that_were_never_confirmed_the_lower_id_wins_for_a_while() {
    let unconfirmed = |master: &mut Master, n: u8, at: Instant| {
        let packet = register("A", u32::from(n) << 24 | 8);
        master.handle_packet(at, conn(n.into()), Trailing::Epoch(0).behind(packet));
        drain(master)
    };
    let tie_end = START + Bounds::default().tie_time_max;
    for (at, wins) in [(START, true), (tie_end, false)] {
        let mut master = kin_master_of(&[(1, Some(1)), (2, Some(1)), (3, Some(1))]);
        unconfirmed(&mut master, 2, START);
        assert!(unconfirmed(&mut master, 3, at).contains("taken :02000008"));
        assert_eq!(unconfirmed(&mut master, 1, at).ends_with("named \"A\" :01000008"), wins);
    }
    let mut master = kin_master_of(&[(1, Some(1)), (2, None)]);
    tell(&mut master, 2, register("A", 0x0200_0008));
    assert!(unconfirmed(&mut master, 1, START).contains("taken :02000008"), "a new one was confirmed now");
}

#[test]
fn g13_the_names_of_the_dead_go_to_whoever_comes() {
    let mut master = kin_master_of(&[(1, Some(1)), (2, Some(1)), (3, Some(1))]);
    tell_epoch(&mut master, 1, register("A", 0x0100_0008), 5);
    master.handle_closed(START, conn(1));
    drain(&mut master);
    assert!(tell_epoch(&mut master, 2, register("A", 0x0200_0008), 0).ends_with("named \"A\" :02000008"));
    master.handle_closed(START, conn(2));
    master.handle_lost(START, id(2), Some(id(3)));
    drain(&mut master);
    assert_eq!(tell(&mut master, 3, query("A")), "3: N \"A\" :03000006", "nobody was never confirmed");
    assert!(tell(&mut master, 3, register("A", 0x0300_0009)).ends_with("named \"A\" :03000009"));
}

/// Node `n` comes in a life of our kind on this connection.
fn come(master: &mut Master, at: Instant, link: u64, n: u8, incarnation: u64) -> String {
    master.handle_accepted(at, conn(link));
    let hello = Trailing::Hello(Hello { incarnation, capabilities: 0 });
    master.handle_packet(at, conn(link), hello.behind(self::hello(n)));
    drain(master)
}

#[test]
fn g2_an_id_that_only_our_kind_saw_serves_the_same_life_or_a_later_one_again() {
    let mut master = kin_master_of(&[(1, Some(101)), (2, Some(102))]);
    tell(&mut master, 2, register("A", 0x0200_0008));
    master.handle_closed(START, conn(2));
    drain(&mut master);
    assert_eq!(come(&mut master, START, 10, 2, 101), "close 10, OldLife(HarborId(2))");
    let again = "1: C 2 host:2 hello 102, 11: W 1 hello 7, 11: N \"~sky.1\" :01000007 hello 101, joined 2";
    assert_eq!(come(&mut master, START, 11, 2, 102), again);
    assert!(tell(&mut master, 1, register("A", 0x0100_0008)).contains("taken"), "its services live");
    master.handle_closed(START, conn(11));
    drain(&mut master);
    let begun = come(&mut master, START, 12, 2, 103);
    let over = "1: N \"A\" :02000006, vacated 2 :02000006 1";
    assert!(begun.starts_with(&format!("{over}, 1: C 2 host:2 hello 103, 12: W 1")), "{begun}");
    let named = tell(&mut master, 1, register("A", 0x0100_0008));
    assert!(named.ends_with("named \"A\" :01000008"), "nothing of its life before is left: {named}");
    assert_eq!(come(&mut master, START, 13, 2, 102), "close 13, OldLife(HarborId(2))");
}

/// What the master writes to node 1 and that to the master, until both have said all.
fn exchange(master: &mut Master, slave: &mut Slave) -> Vec<HarborAnswer> {
    let mut answers = Vec::new();
    loop {
        if let Some(output) = master.poll_output() {
            match output {
                MasterOutput::SendPacket { conn, packet, trailing } => {
                    slave.handle_packet(START, conn, trailing.behind(packet));
                }
                MasterOutput::Close { .. } | MasterOutput::Event(_) => {}
            }
        } else if let Some(output) = slave.poll_output() {
            match output {
                SlaveOutput::SendPacket { conn, packet, trailing } => {
                    master.handle_packet(START, conn, trailing.behind(packet));
                }
                SlaveOutput::Answer { answer, .. } => answers.push(answer),
                _ => {}
            }
        } else {
            return answers;
        }
    }
}

#[test]
fn g4_a_name_of_a_life_that_is_over_is_free_for_those_who_knew_it() {
    let mut master = kin_master_of(&[]);
    let mut slave = Slave::new(id(1), Bounds::default());
    slave.seek_kin(Hello { incarnation: 101, capabilities: 0 });
    master.handle_accepted(START, conn(1));
    slave.handle_connected(START, conn(1), "host:1");
    exchange(&mut master, &mut slave);
    let begin = |master: &mut Master, link: u64, incarnation: u64| {
        let hello = Trailing::Hello(Hello { incarnation, capabilities: 0 });
        master.handle_accepted(START, conn(link));
        master.handle_packet(START, conn(link), hello.behind(self::hello(2)));
    };
    begin(&mut master, 2, 102);
    for (name, handle) in [("A", 0x0200_0008), ("~sky.2", 0x0200_0007)] {
        master.handle_packet(START, conn(2), register(name, handle));
    }
    exchange(&mut master, &mut slave);
    slave.handle_linked(START, id(2));
    let name = "A".parse().unwrap();
    assert_eq!(slave.owner(&name), Some(handle(0x0200_0008)));
    // Its machine died without a word: the link of node 1 stands until the next life is announced.
    master.handle_closed(START, conn(2));
    begin(&mut master, 3, 103);
    exchange(&mut master, &mut slave);
    assert!(slave.is_kin(id(2)) && slave.hello_of(id(2)).is_some_and(|hello| hello.incarnation == 103));
    slave.handle_unlinked(START, id(2));
    slave.handle_linked(START, id(2));
    let waiter = Waiter { source: handle(0x0100_0008), session: Session::from_bits(7) };
    slave.handle_register(START, name, handle(0x0100_0008), waiter);
    assert_eq!(exchange(&mut master, &mut slave), [HarborAnswer::Registered]);
    assert_eq!(slave.owner(&name), Some(handle(0x0100_0008)));
}

#[test]
fn g2_an_id_that_a_real_node_may_have_seen_is_burnt() {
    // The real node is there before, comes later, or has left.
    for (before, after, leaves) in [(true, false, false), (false, true, false), (true, false, true)] {
        let mut master = kin_master_of(&[(1, Some(101))]);
        let real = |master: &mut Master| drop(greet(master, 9, None));
        if before {
            real(&mut master);
        }
        greet(&mut master, 2, Some(102));
        if after {
            real(&mut master);
        }
        if leaves {
            master.handle_closed(START, conn(9));
        }
        master.handle_closed(START, conn(2));
        drain(&mut master);
        assert_eq!(come(&mut master, START, 20, 2, 103), "close 20, IdUsed(HarborId(2))");
        master.handle_closed(START, conn(9));
        drain(&mut master);
        assert!(come(&mut master, START, 21, 3, 103).contains("joined 3"));
        master.handle_closed(START, conn(21));
        drain(&mut master);
        assert!(come(&mut master, START, 22, 3, 104).contains("joined 3"), "no real node saw it");
        master.handle_accepted(START, conn(23));
        assert!(tell(&mut master, 23, hello(3)).contains("IdUsed"), "a real node does not come back");
    }
}

#[test]
fn g2_a_living_member_is_asked_before_its_id_goes_to_another_life() {
    let asked = |incarnation| {
        let mut master = kin_master_of(&[(1, Some(101)), (2, Some(102))]);
        assert_eq!(come(&mut master, START, 10, 2, incarnation), "2: D 2, close 10, IdInUse(HarborId(2))");
        assert_eq!(come(&mut master, START, 11, 2, incarnation), "close 11, IdInUse(HarborId(2))", "once");
        master
    };
    let answer_end = START + Duration::from_secs(5);
    for incarnation in [102, 103] {
        let mut master = asked(incarnation);
        assert_eq!(master.poll_timeout(), Some(answer_end));
        assert_eq!(tell(&mut master, 2, hello(2)), "", "it lives");
        assert_eq!(master.poll_timeout(), None);
        master.handle_timeout(answer_end);
        assert!(master.is_member(id(2)));
        let mut master = asked(incarnation);
        master.handle_timeout(answer_end);
        assert_eq!(drain(&mut master), "close 2, 1: D 2, left 2");
        assert!(come(&mut master, answer_end, 12, 2, incarnation).contains("joined 2"));
    }
    let mut master = kin_master_of(&[(1, Some(101)), (2, Some(102))]);
    assert_eq!(come(&mut master, START, 10, 2, 101), "close 10, OldLife(HarborId(2))", "not asked for that");
}

/// Members 1 to 3 of our kind, and 4, which is real.
fn of_kin() -> Master {
    let mut master = Master::new(Bounds { names_max: 3, ..Bounds::default() });
    master.seek_kin(Hello { incarnation: 9, capabilities: 0 });
    for n in 1..=4u8 {
        let about = Trailing::Hello(Hello { incarnation: n.into(), capabilities: 0 });
        let about = if n == 4 { Trailing::Nothing } else { about };
        master.handle_accepted(START, conn(n.into()));
        master.handle_packet(START, conn(n.into()), about.behind(hello(n)));
    }
    drain(&mut master);
    master
}

fn told(master: &mut Master, from: u64, packet: Packet) -> String {
    master.handle_packet(START, conn(from), packet);
    drain(master)
}

#[test]
fn g16_the_node_that_has_a_name_ends_it_and_nobody_else() {
    let mut master = of_kin();
    told(&mut master, 2, register("A", 0x0200_0008));
    let refused = told(&mut master, 3, register("A", 0x0300_0006));
    assert!(refused.starts_with("3: N \"A\" :02000008"), "{refused}");
    let forged = told(&mut master, 3, register("A", 0x0200_0006));
    assert!(forged.starts_with("3: N \"A\" :02000008"), "{forged}");
    let ended: Vec<String> = (1..=4).map(|n| format!("{n}: N \"A\" :02000006")).collect();
    assert_eq!(
        told(&mut master, 2, register("A", 0x0200_0006)),
        format!("{}, \"A\" ended: :02000006", ended.join(", "))
    );
    assert!(told(&mut master, 3, register("A", 0x0300_0008)).ends_with("named \"A\" :03000008"));
    assert!(told(&mut master, 2, register("A", 0x0200_0008)).ends_with("taken :03000008 :02000008"));
}

#[test]
fn g16_an_end_that_this_master_did_not_see_begin_is_passed_on_and_takes_no_room() {
    let mut master = of_kin();
    assert!(told(&mut master, 2, register("A", 0x0200_0006)).ends_with("\"A\" ended: :02000006"));
    assert_eq!(told(&mut master, 4, register("X", 0x0400_0006)), "", "nobody was told by a real node");
    for text in ["B", "C", "D"] {
        assert!(told(&mut master, 2, register(text, 0x0200_0008)).contains("named"), "{text}");
    }
    assert_eq!(master.names().count(), 3);
    assert_eq!(told(&mut master, 2, register("E", 0x0200_0008)), "dropped");
    assert_eq!(told(&mut master, 3, register("E", 0x0300_0006)), "");
}
