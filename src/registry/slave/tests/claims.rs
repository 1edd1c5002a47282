//! G12: a name is asked for before it is registered.

use super::*;

/// A node that seeks its kind, ready at a master that counts nobody else and knows our own name.
fn asking() -> Slave {
    let mut slave = Slave::new(id(OWN), Bounds::default());
    slave.seek_kin(HELLO);
    join(&mut slave, LINK);
    slave.handle_packet(START, LINK, own_name());
    drain(&mut slave);
    slave
}

fn join(slave: &mut Slave, conn: ConnId) {
    slave.handle_connected(START, conn, "here:1");
    slave.handle_packet(START, conn, Packet::Wait { n: 0 });
}

fn own_name() -> Packet {
    named("~sky.5", 0x0500_0007)
}

fn register(slave: &mut Slave, text: &str, session: u32) -> String {
    slave.handle_register(START, name(text), handle(0x0500_0008), waiter(session));
    drain(slave)
}

fn hear(slave: &mut Slave, packet: Packet) -> String {
    slave.handle_packet(START, LINK, packet);
    drain(slave)
}

#[test]
fn g12_a_name_is_asked_for_before_it_is_registered() {
    let mut slave = asking();
    hear(&mut slave, newcomer(2));
    assert_eq!(register(&mut slave, "FREE", 1), "1: Q \"FREE\", 1: Q \"~sky.5\"");
    let registered = "answer 1 Registered, publish FREE :05000008, 1: R \"FREE\" :05000008";
    assert_eq!(hear(&mut slave, own_name()), registered);
    assert_eq!(hear(&mut slave, named("FREE", 0x0500_0008)), "");
    assert_eq!(register(&mut slave, "FREE", 2), "answer 2 Registered", "it is ours");
    assert_eq!(register(&mut slave, "THEIRS", 3), "1: Q \"THEIRS\", 1: Q \"~sky.5\"");
    assert_eq!(hear(&mut slave, named("THEIRS", 0x0200_0009)), "publish THEIRS :02000009");
    assert_eq!(hear(&mut slave, own_name()), "answer 3 NameTaken(:02000009)");
    assert_eq!(hear(&mut slave, own_name()), "");
}

#[test]
fn g12_an_owner_that_is_dead_gone_nobody_or_of_this_node_leaves_the_name_free() {
    for (owner, is_free) in [
        (0x0200_0009, false),
        (0x0300_0009, true), // reported dead
        (0x0900_0009, true), // was never there
        (0x0200_0006, true), // nobody
        (0x0500_0009, true), // our own, before
    ] {
        let mut slave = asking();
        for n in [2, 3] {
            hear(&mut slave, newcomer(n));
        }
        hear(&mut slave, Packet::Dead { id: id(3) });
        register(&mut slave, "NAME", 1);
        hear(&mut slave, named("NAME", owner));
        let told = hear(&mut slave, own_name());
        assert_eq!(told.ends_with("1: R \"NAME\" :05000008"), is_free, "{owner:x}: {told}");
        // The master gives the first owner to whoever asks.
        let repeated = hear(&mut slave, newcomer(7)).contains("R \"NAME\"");
        assert_eq!(repeated, is_free, "{owner:x}");
    }
}

#[test]
fn g12_the_first_owner_that_a_real_master_remembers_is_no_news_behind_its_end() {
    // :02000006 is nobody: node 2 gave the name up.
    for (said, owner) in [
        (&[0x0200_0006, 0x0200_0009][..], None),
        (&[0x0200_0009, 0x0200_0006], None),
        (&[0x0200_0006], None),
        (&[0x0200_0009], Some(":02000009")),
        (&[0x0200_0006, 0x0200_0009, 0x0200_000a], Some(":0200000a")),
        (&[0x0200_0009, 0x0200_0006, 0x0200_000a], Some(":0200000a")),
        (&[0x0200_0006, 0x0300_0009], Some(":03000009")),
    ] {
        let mut slave = asking();
        for n in [2, 3] {
            hear(&mut slave, newcomer(n));
        }
        register(&mut slave, "NAME", 1);
        for handle in said {
            hear(&mut slave, named("NAME", *handle));
        }
        let told = hear(&mut slave, own_name());
        match owner {
            Some(owner) => assert_eq!(told, format!("answer 1 NameTaken({owner})"), "{said:x?}"),
            None => assert!(told.ends_with("1: R \"NAME\" :05000008"), "{said:x?}: {told}"),
        }
    }
}

#[test]
fn g12_nobody_is_absent_while_announced_links_are_missing() {
    let mut slave = Slave::new(id(OWN), Bounds::default());
    slave.seek_kin(HELLO);
    slave.handle_connected(START, LINK, "here:1");
    slave.handle_packet(START, LINK, Packet::Wait { n: 1 });
    slave.handle_packet(START, LINK, own_name());
    slave.handle_timeout(later(10));
    drain(&mut slave);
    register(&mut slave, "NAME", 1);
    hear(&mut slave, named("NAME", 0x0900_0009));
    assert_eq!(hear(&mut slave, own_name()), "answer 1 NameTaken(:09000009)", "it may be the missing one");
}

#[test]
fn g12_one_question_serves_many_and_those_who_come_meanwhile_wait_for_the_next() {
    let mut slave = asking();
    register(&mut slave, "A", 1);
    for (text, session) in [("B", 2), ("C", 3), ("B", 4)] {
        assert_eq!(register(&mut slave, text, session), "");
    }
    slave.handle_register(START, name("B"), handle(0x0500_0009), waiter(5));
    slave.handle_register(START, name("GONE"), handle(0x0500_0009), waiter(6));
    slave.handle_forget(START, waiter(6));
    assert_eq!(
        hear(&mut slave, own_name()),
        "answer 1 Registered, publish A :05000008, 1: R \"A\" :05000008, \
         1: Q \"B\", 1: Q \"C\", 1: Q \"B\", 1: Q \"B\", 1: Q \"~sky.5\""
    );
    assert_eq!(
        hear(&mut slave, own_name()),
        "answer 2 Registered, publish B :05000008, 1: R \"B\" :05000008, \
         answer 3 Registered, publish C :05000008, 1: R \"C\" :05000008, \
         answer 4 Registered, answer 5 NameTaken(:05000008)"
    );
}

#[test]
fn g12_the_name_goes_to_whoever_registers_it_between_question_and_answer() {
    let mut slave = asking();
    hear(&mut slave, newcomer(2));
    register(&mut slave, "NAME", 1);
    hear(&mut slave, named("NAME", 0x0200_0009));
    assert_eq!(hear(&mut slave, own_name()), "answer 1 NameTaken(:02000009)");
    register(&mut slave, "LATE", 2);
    hear(&mut slave, own_name());
    let lost = "NameLost { name: \"LATE\", ours: :05000008, theirs: :02000009 }";
    assert_eq!(hear(&mut slave, named("LATE", 0x0200_0009)), format!("publish LATE :02000009, {lost}"));
}

#[test]
fn g12_before_our_own_name_came_back_nothing_is_asked() {
    let mut slave = Slave::new(id(OWN), Bounds::default());
    slave.seek_kin(HELLO);
    assert_eq!(register(&mut slave, "EARLY", 1), "answer 1 Registered, publish EARLY :05000008");
    join(&mut slave, LINK);
    assert_eq!(
        drain(&mut slave),
        "1: H 5 here:1 hello 41, MasterUp, 1: R \"~sky.5\" :05000007, Joined { missing: 0 }"
    );
    assert_eq!(register(&mut slave, "MINE", 2), "");
    assert_eq!(
        hear(&mut slave, own_name()),
        "publish ~sky.5 :05000007, 1: Q \"EARLY\", 1: Q \"MINE\", 1: Q \"~sky.5\""
    );
    assert_eq!(
        hear(&mut slave, own_name()),
        "1: R \"EARLY\" :05000008, answer 2 Registered, publish MINE :05000008, 1: R \"MINE\" :05000008"
    );
}

#[test]
fn g12_names_that_are_told_again_are_not_taken_from_the_living() {
    let mut slave = asking();
    for text in ["DEAD", "LOST", "MINE"] {
        register(&mut slave, text, 1);
        hear(&mut slave, own_name());
    }
    slave.handle_closed(START, LINK);
    join(&mut slave, LINK);
    slave.handle_packet(START, LINK, newcomer(2));
    slave.handle_packet(START, LINK, newcomer(3));
    slave.handle_packet(START, LINK, Packet::Dead { id: id(3) });
    drain(&mut slave);
    let asked = "1: Q \"DEAD\", 1: Q \"LOST\", 1: Q \"MINE\", 1: Q \"~sky.5\"";
    assert_eq!(hear(&mut slave, own_name()), asked);
    assert_eq!(hear(&mut slave, named("DEAD", 0x0300_0009)), "");
    assert!(!hear(&mut slave, newcomer(4)).contains("R "), "not before the master has said all");
    let lost = "NameLost { name: \"LOST\", ours: :05000008, theirs: :02000009 }";
    assert_eq!(hear(&mut slave, named("LOST", 0x0200_0009)), format!("publish LOST :02000009, {lost}"));
    let told = "1: R \"DEAD\" :05000008, 1: R \"MINE\" :05000008";
    assert_eq!(hear(&mut slave, own_name()), told);
    assert!(hear(&mut slave, newcomer(6)).ends_with("1: R \"DEAD\" :05000008"));
}

#[test]
fn g12_who_waits_is_answered_when_the_master_is_gone_or_says_nothing() {
    let mut slave = asking();
    register(&mut slave, "A", 1);
    register(&mut slave, "B", 2);
    slave.handle_closed(START, LINK);
    assert_eq!(
        drain(&mut slave),
        "MasterLost(Closed), answer 1 Registered, publish A :05000008, answer 2 Registered, publish B :05000008"
    );
    assert_eq!(slave.poll_timeout(), None);
    let mut slave = asking();
    register(&mut slave, "A", 1);
    register(&mut slave, "B", 2);
    assert_eq!(slave.poll_timeout(), Some(later(5)));
    slave.handle_timeout(later(5));
    assert_eq!(
        drain(&mut slave),
        "answer 1 Registered, publish A :05000008, answer 2 Registered, publish B :05000008"
    );
    assert_eq!(slave.poll_timeout(), None);
    hear(&mut slave, newcomer(2));
    let lost = "NameLost { name: \"A\", ours: :05000008, theirs: :02000009 }";
    assert_eq!(hear(&mut slave, named("A", 0x0200_0009)), format!("publish A :02000009, {lost}"));
    assert_eq!(hear(&mut slave, own_name()), "1: Q \"B\", 1: Q \"~sky.5\"", "A is not registered");
    assert_eq!(hear(&mut slave, own_name()), "1: R \"B\" :05000008");
}

#[test]
fn g12_those_who_wait_are_bounded() {
    let mut slave = Slave::new(id(OWN), Bounds { name_waiters_max: 2, names_max: 2, ..Bounds::default() });
    slave.seek_kin(HELLO);
    join(&mut slave, LINK);
    slave.handle_packet(START, LINK, own_name());
    drain(&mut slave);
    register(&mut slave, "A", 1);
    register(&mut slave, "B", 2);
    assert_eq!(register(&mut slave, "C", 3), "answer 3 Full");
    hear(&mut slave, own_name());
    assert_eq!(hear(&mut slave, own_name()), "answer 2 Full", "no room for its owner");
}
