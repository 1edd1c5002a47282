//! G14: names of the dead under a real master.

use super::*;
use crate::limits::{VACANT_NAMES_MAX, VACATE_PAUSE};

const GONE: Instant = Instant::from_nanos(START.nanos() + VACATE_PAUSE.as_nanos() as u64);

/// A node of our kind at a real master, linked to real nodes 2 and 8 and to nodes 3 and 7 of our kind.
fn standing_in() -> Slave {
    let mut slave = Slave::new(id(OWN), Bounds::default());
    slave.seek_kin(HELLO);
    slave.handle_connected(START, LINK, "here:1");
    slave.handle_packet(START, LINK, Packet::Wait { n: 4 });
    for n in [2, 3, 7, 8] {
        slave.handle_linked(START, id(n));
    }
    for (text, bits) in [("~sky.5", 0x0500_0007), ("~sky.3", 0x0300_0007), ("~sky.7", 0x0700_0007)] {
        hear(&mut slave, named(text, bits));
    }
    slave
}

/// Node 3 has no control link any more: this one is the lowest that the master hears.
fn lowest() -> Slave {
    let mut slave = standing_in();
    hear(&mut slave, Packet::Dead { id: id(3) });
    slave
}

fn hear(slave: &mut Slave, packet: Packet) -> String {
    slave.handle_packet(START, LINK, packet);
    drain(slave)
}

fn die(slave: &mut Slave, n: u8) {
    hear(slave, Packet::Dead { id: id(n) });
    slave.handle_unlinked(START, id(n));
    drain(slave);
}

fn wait(slave: &mut Slave) -> String {
    slave.handle_timeout(GONE);
    drain(slave)
}

fn own_name() -> Packet {
    named("~sky.5", 0x0500_0007)
}

#[test]
fn g14_a_name_of_the_dead_is_asked_for_and_given_to_nobody() {
    let mut slave = lowest();
    for (text, bits) in [("A", 0x0200_0009), ("B", 0x0800_0009), ("~sky.9", 0x0200_0007)] {
        hear(&mut slave, named(text, bits));
    }
    die(&mut slave, 2);
    slave.handle_timeout(Instant::from_nanos(GONE.nanos() - 1));
    assert_eq!(drain(&mut slave), "", "it may come back");
    assert_eq!(slave.poll_timeout(), Some(GONE));
    assert_eq!(wait(&mut slave), "Vacating { names: 1 }, 1: Q \"A\", 1: Q \"~sky.5\"");
    assert_eq!(slave.poll_timeout(), None);
    hear(&mut slave, named("A", 0x0200_0009));
    assert_eq!(hear(&mut slave, own_name()), "publish A :05000006, 1: R \"A\" :05000006");
    assert_eq!(hear(&mut slave, named("A", 0x0500_0006)), "");
    assert!(!hear(&mut slave, newcomer(9)).contains("R "), "a newcomer may want it");
    slave.handle_register(START, name("A"), handle(0x0500_0008), waiter(1));
    assert!(drain(&mut slave).contains("Q \"A\""));
    assert!(hear(&mut slave, own_name()).ends_with("1: R \"A\" :05000008"), "it is free");
}

#[test]
fn g14_only_the_lowest_that_the_master_hears_does_it() {
    let mut slave = standing_in();
    hear(&mut slave, named("A", 0x0200_0009));
    die(&mut slave, 2);
    assert_eq!(wait(&mut slave), "", "3 does it");
    // It dies, whether it has done it or not.
    hear(&mut slave, Packet::Dead { id: id(3) });
    assert!(wait(&mut slave).contains("1: Q \"A\""));
}

#[test]
fn g14_who_is_not_certainly_gone_keeps_its_names() {
    let cases: [fn(&mut Slave); 5] = [
        |slave| slave.handle_unlinked(START, id(2)),
        |slave| drop(hear(slave, Packet::Dead { id: id(2) })),
        |slave| {
            die(slave, 2);
            slave.handle_linked(START, id(2));
        },
        |slave| {
            die(slave, 2);
            hear(slave, newcomer(2));
        },
        // A real node that came since may be about to take them.
        |slave| {
            die(slave, 2);
            hear(slave, newcomer(9));
        },
    ];
    for case in cases {
        let mut slave = lowest();
        hear(&mut slave, named("A", 0x0200_0009));
        case(&mut slave);
        drain(&mut slave);
        assert_eq!(wait(&mut slave), "");
    }
    let mut slave = lowest();
    hear(&mut slave, named("A", 0x0200_0009));
    die(&mut slave, 2);
    hear(&mut slave, newcomer(9));
    slave.handle_linked(START, id(9));
    hear(&mut slave, named("~sky.9", 0x0900_0007));
    assert!(wait(&mut slave).contains("1: Q \"A\""), "one of our kind asks before");
}

#[test]
fn g14_an_heir_that_turns_out_to_be_of_our_kind_behind_the_pause_is_none() {
    let mut slave = lowest();
    hear(&mut slave, named("A", 0x0200_0009));
    die(&mut slave, 2);
    hear(&mut slave, newcomer(9));
    slave.handle_linked(START, id(9));
    drain(&mut slave);
    assert_eq!((wait(&mut slave).as_str(), slave.poll_timeout()), ("", None), "it may be a real node");
    slave.handle_packet(GONE, LINK, named("~sky.9", 0x0900_0007));
    drain(&mut slave);
    slave.handle_timeout(GONE + VACATE_PAUSE);
    assert!(drain(&mut slave).contains("1: Q \"A\""));
}

#[test]
fn g14_an_heir_that_comes_behind_the_question_keeps_the_name() {
    let mut slave = lowest();
    hear(&mut slave, named("A", 0x0200_0009));
    die(&mut slave, 2);
    wait(&mut slave);
    hear(&mut slave, newcomer(9));
    hear(&mut slave, named("A", 0x0200_0009));
    assert_eq!(hear(&mut slave, own_name()), "", "its start would fail if it were told of the name");
}

#[test]
fn g14_a_death_while_the_node_joins_is_remembered() {
    let mut slave = Slave::new(id(OWN), Bounds::default());
    slave.seek_kin(HELLO);
    slave.handle_connected(START, LINK, "here:1");
    slave.handle_packet(START, LINK, Packet::Wait { n: 3 });
    hear(&mut slave, own_name());
    for n in [2, 8] {
        slave.handle_linked(START, id(n));
    }
    hear(&mut slave, named("A", 0x0200_0009));
    die(&mut slave, 2);
    assert!(!wait(&mut slave).contains("Q \"A\""), "one that was announced is missing yet");
    assert!(
        slave.poll_timeout().is_some_and(|deadline| deadline > GONE),
        "it waits for that one, not for the dead"
    );
    slave.handle_linked(GONE, id(9));
    drain(&mut slave);
    assert_eq!(slave.poll_timeout(), Some(GONE));
    assert!(wait(&mut slave).contains("1: Q \"A\""));
}

#[test]
fn g14_two_that_do_it_at_once_are_no_owners() {
    let mut slave = lowest();
    hear(&mut slave, named("A", 0x0200_0009));
    die(&mut slave, 2);
    wait(&mut slave);
    assert!(hear(&mut slave, own_name()).contains("R \"A\" :05000006"));
    hear(&mut slave, named("A", 0x0700_0006));
    assert!(!hear(&mut slave, named("A", 0x0500_0006)).contains("R "), "nobody is given it back");
}

#[test]
fn g14_an_owner_that_came_back_keeps_the_name_whenever_it_is_heard_of() {
    let asked = || {
        let mut slave = lowest();
        hear(&mut slave, named("A", 0x0200_0009));
        die(&mut slave, 2);
        wait(&mut slave);
        slave
    };
    let mut slave = asked();
    hear(&mut slave, named("A", 0x0800_0009));
    assert_eq!(hear(&mut slave, own_name()), "", "before the answer");
    let mut slave = asked();
    assert!(hear(&mut slave, own_name()).contains("R \"A\" :05000006"));
    assert_eq!(hear(&mut slave, named("A", 0x0800_0009)), "publish A :08000009", "before our own");
    assert_eq!(hear(&mut slave, named("A", 0x0500_0006)), "1: R \"A\" :08000009", "it gets it back");
    assert_eq!(hear(&mut slave, named("A", 0x0800_0009)), "");
    let mut slave = asked();
    hear(&mut slave, own_name());
    hear(&mut slave, named("A", 0x0200_0009));
    assert_eq!(hear(&mut slave, named("A", 0x0500_0006)), "publish A :05000006", "the dead are not back");
}

#[test]
fn g14_an_owner_does_not_give_way_to_nobody_of_our_kind() {
    let mut slave = standing_in();
    slave.handle_register(START, name("A"), handle(0x0500_0008), waiter(1));
    hear(&mut slave, own_name());
    assert_eq!(hear(&mut slave, named("A", 0x0300_0006)), "1: R \"A\" :05000008");
    assert_eq!(hear(&mut slave, named("A", 0x0200_0006)), "1: Q \"~sky.2\", 1: Q \"~sky.5\"");
    let lost = "publish A :02000006, NameLost { name: \"A\", ours: :05000008, theirs: :02000006 }";
    assert_eq!(hear(&mut slave, own_name()), lost, "a real node has services there");
}

#[test]
fn g14_an_owner_asks_whether_who_gave_its_name_to_nobody_is_of_our_kind() {
    let mut slave = standing_in();
    slave.handle_register(START, name("A"), handle(0x0500_0008), waiter(1));
    hear(&mut slave, own_name());
    hear(&mut slave, named("A", 0x0900_0006));
    assert_eq!(hear(&mut slave, named("A", 0x0900_0006)), "", "once");
    assert_eq!(hear(&mut slave, named("~sky.9", 0x0900_0007)), "kin 9, publish ~sky.9 :09000007");
    assert_eq!(hear(&mut slave, own_name()), "1: R \"A\" :05000008");
    assert_eq!(slave.owner(&name("A")), Some(handle(0x0500_0008)));
}

#[test]
fn g14_a_lost_control_link_ends_it_and_the_next_master_says_who_is_dead() {
    let mut slave = lowest();
    hear(&mut slave, named("A", 0x0200_0009));
    die(&mut slave, 2);
    wait(&mut slave);
    slave.handle_closed(START, LINK);
    slave.handle_connected(START, ConnId::new(2), "here:1");
    slave.handle_packet(START, ConnId::new(2), Packet::Wait { n: 0 });
    drain(&mut slave);
    slave.handle_packet(START, ConnId::new(2), own_name());
    assert_eq!(drain(&mut slave), "");
    slave.handle_timeout(later(60));
    assert_eq!((drain(&mut slave).as_str(), slave.poll_timeout()), ("", None));
}

#[test]
fn g14_under_a_master_of_our_kind_the_master_does_it() {
    let mut slave = Slave::new(id(OWN), Bounds::default());
    slave.seek_kin(HELLO);
    slave.handle_connected(START, LINK, "here:1");
    slave.handle_packet(START, LINK, Trailing::Hello(HELLO).behind(Packet::Wait { n: 1 }));
    slave.handle_linked(START, id(2));
    hear(&mut slave, named("A", 0x0200_0009));
    die(&mut slave, 2);
    assert_eq!((wait(&mut slave).as_str(), slave.poll_timeout()), ("", None));
}

#[test]
fn g14_the_names_of_the_dead_are_bounded() {
    let mut slave = lowest();
    for number in 0..=VACANT_NAMES_MAX {
        hear(&mut slave, named(&format!("N{number}"), 0x0200_0009));
    }
    die(&mut slave, 2);
    assert!(wait(&mut slave).starts_with(&format!("Vacating {{ names: {VACANT_NAMES_MAX} }}")));
}
