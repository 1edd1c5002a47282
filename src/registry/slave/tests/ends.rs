//! G16: names end with their services.

use super::*;

const MASTER: Hello = Hello { incarnation: 7, capabilities: 0 };
const AGAIN: ConnId = ConnId::new(2);

/// A node of our kind that has `A` and `B` for one service and `C` for another, at a master of this kind.
fn with_names(is_kin: bool) -> Slave {
    let mut slave = Slave::new(id(OWN), Bounds::default());
    slave.seek_kin(HELLO);
    join(&mut slave, LINK, is_kin);
    for (text, bits) in [("A", 0x0500_0008), ("B", 0x0500_0008), ("C", 0x0500_0009)] {
        slave.handle_register(START, name(text), handle(bits), waiter(1));
        slave.handle_packet(START, LINK, own_name());
        slave.handle_packet(START, LINK, named(text, bits));
    }
    drain(&mut slave);
    slave
}

fn join(slave: &mut Slave, conn: ConnId, is_kin: bool) {
    slave.handle_connected(START, conn, "here:1");
    let about = if is_kin { Trailing::Hello(MASTER) } else { Trailing::Nothing };
    slave.handle_packet(START, conn, about.behind(Packet::Wait { n: 0 }));
    slave.handle_packet(START, conn, own_name());
}

fn own_name() -> Packet {
    named("~sky.5", 0x0500_0007)
}

fn hear(slave: &mut Slave, packet: Packet) -> String {
    slave.handle_packet(START, LINK, packet);
    drain(slave)
}

#[test]
fn g16_a_name_ends_with_its_service_under_either_master() {
    for is_kin in [true, false] {
        let mut slave = with_names(is_kin);
        slave.handle_ended(START, handle(0x0500_0008));
        let told = |text| format!("publish {text} :05000006, 1: R \"{text}\" :05000006");
        assert_eq!(drain(&mut slave), format!("{}, {}", told("A"), told("B")));
        slave.handle_ended(START, handle(0x0500_0008));
        slave.handle_unregister(START, name("C"), handle(0x0500_0008));
        assert_eq!(drain(&mut slave), "", "C is another's");
        assert_eq!(hear(&mut slave, named("A", 0x0500_0006)), "");
        slave.handle_unregister(START, name("C"), handle(0x0500_0009));
        assert_eq!(drain(&mut slave), told("C"));
    }
}

#[test]
fn g16_who_asks_for_a_name_of_nobody_waits_for_the_next_owner_or_the_deadline() {
    let mut slave = with_names(true);
    assert_eq!(hear(&mut slave, named("X", 0x0200_0006)), "publish X :02000006");
    slave.handle_query(START, name("X"), waiter(1), later(1));
    slave.handle_query(START, name("X"), waiter(2), later(3));
    assert_eq!(drain(&mut slave), "", "the next owner is told without a question");
    slave.handle_timeout(later(1));
    assert_eq!(drain(&mut slave), "answer 1 NotFound");
    assert_eq!(hear(&mut slave, named("X", 0x0300_0006)), "publish X :03000006");
    assert_eq!(hear(&mut slave, named("X", 0x0300_0009)), "publish X :03000009, answer 2 Found(:03000009)");
}

#[test]
fn g16_messages_that_are_held_for_a_name_of_nobody_move_on_to_fail_and_questions_stay() {
    let mut slave = with_names(true);
    assert_eq!(slave.handle_held(START, name("X")), Ok(None));
    slave.handle_query(START, name("X"), waiter(1), later(1));
    drain(&mut slave);
    assert_eq!(hear(&mut slave, named("X", 0x0200_0006)), "publish X :02000006");
    assert_eq!(slave.handle_held(START, name("X")), Ok(Some(handle(0x0200_0006))));
    slave.handle_timeout(later(1));
    assert_eq!(drain(&mut slave), "answer 1 NotFound");
}

#[test]
fn g16_what_a_service_wanted_ends_with_it() {
    let mut slave = with_names(true);
    slave.handle_register(START, name("X"), handle(0x0500_0008), waiter(5));
    slave.handle_register(START, name("Y"), handle(0x0500_0009), waiter(6));
    drain(&mut slave);
    slave.handle_ended(START, handle(0x0500_0008));
    assert!(drain(&mut slave).starts_with("answer 5 NotFound, publish A :05000006"));
    hear(&mut slave, own_name());
    assert_eq!(slave.owner(&name("X")), None);
    hear(&mut slave, own_name());
    assert_eq!(slave.owner(&name("Y")), Some(handle(0x0500_0009)));
}

#[test]
fn g16_what_ends_without_a_master_is_told_to_the_next_one_of_our_kind() {
    for is_kin in [true, false] {
        let mut slave = with_names(true);
        slave.handle_closed(START, LINK);
        slave.handle_ended(START, handle(0x0500_0008));
        slave.handle_register(START, name("B"), handle(0x0500_0009), waiter(1));
        let ended = "MasterLost(Closed), publish A :05000006, publish B :05000006";
        assert_eq!(drain(&mut slave), format!("{ended}, answer 1 Registered, publish B :05000009"));
        join(&mut slave, AGAIN, is_kin);
        let told = drain(&mut slave);
        assert_eq!(told.contains("R \"A\" :05000006"), is_kin, "a real one knows nothing of it: {told}");
        assert!(told.contains("forget A"), "another may have it by now: {told}");
        assert!(!told.contains("R \"B\" :05000006"), "it has an owner: {told}");
    }
}

#[test]
fn g16_a_name_that_this_master_never_heard_of_is_not_taken_from_others() {
    let mut slave = with_names(false);
    slave.handle_closed(START, LINK);
    drain(&mut slave);
    join(&mut slave, AGAIN, false);
    drain(&mut slave);
    slave.handle_ended(START, handle(0x0500_0009));
    assert_eq!(drain(&mut slave), "publish C :05000006, forget C", "it was just asked for");
}

#[test]
fn g16_a_real_master_s_first_owner_is_nobody_any_more() {
    let mut slave = with_names(false);
    slave.handle_linked(START, id(2));
    hear(&mut slave, named("X", 0x0200_0009));
    assert_eq!(hear(&mut slave, named("X", 0x0200_0006)), "publish X :02000006");
    slave.handle_register(START, name("X"), handle(0x0500_0008), waiter(1));
    drain(&mut slave);
    assert_eq!(hear(&mut slave, named("X", 0x0200_0009)), "", "it answers with whom it heard first");
    let taken = "answer 1 Registered, publish X :05000008, 1: R \"X\" :05000008";
    assert_eq!(hear(&mut slave, own_name()), taken);
    // One that registers it in that moment has it.
    hear(&mut slave, named("X", 0x0500_0006));
    slave.handle_unregister(START, name("X"), handle(0x0500_0008));
    slave.handle_register(START, name("X"), handle(0x0500_0008), waiter(2));
    drain(&mut slave);
    hear(&mut slave, named("X", 0x0200_0009));
    hear(&mut slave, named("X", 0x0200_000a));
    assert_eq!(hear(&mut slave, own_name()), "answer 2 NameTaken(:0200000a)");
}

#[test]
fn g16_names_of_nobody_make_room() {
    let mut slave = Slave::new(id(OWN), Bounds { names_max: 2, ..Bounds::default() });
    slave.handle_connected(START, LINK, "here:1");
    slave.handle_packet(START, LINK, Packet::Wait { n: 0 });
    for (text, bits) in [("A", 0x0200_0009), ("B", 0x0200_0006)] {
        slave.handle_packet(START, LINK, named(text, bits));
    }
    drain(&mut slave);
    assert_eq!(hear(&mut slave, named("C", 0x0200_0009)), "forget B, publish C :02000009");
    assert_eq!(hear(&mut slave, named("D", 0x0200_0009)), "NameDropped { name: \"D\" }");
}
