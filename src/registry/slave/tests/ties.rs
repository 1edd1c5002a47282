//! G11 and G13 under a master of our kind: who is of our kind, and names that are registered again.

use super::*;

const MASTER: Hello = Hello { incarnation: 7, capabilities: 0 };

/// Joins a master of our kind that waits for `n` links, on this connection.
fn join(slave: &mut Slave, conn: ConnId, n: u8) {
    slave.handle_connected(START, conn, "here:1");
    slave.handle_packet(START, conn, Trailing::Hello(MASTER).behind(Packet::Wait { n }));
}

fn new() -> Slave {
    let mut slave = Slave::new(id(OWN), Bounds::default());
    slave.seek_kin(HELLO);
    slave
}

/// A node that has `A`, confirmed at epoch 30, and `B`, never confirmed; its master is gone.
fn with_names() -> Slave {
    let mut slave = new();
    join(&mut slave, LINK, 0);
    slave.handle_packet(START, LINK, own_name());
    slave.handle_register(START, name("A"), handle(0x0500_0008), waiter(1));
    slave.handle_packet(START, LINK, own_name());
    hear(&mut slave, LINK, "A", 0x0500_0008, 30);
    slave.handle_closed(START, LINK);
    slave.handle_register(START, name("B"), handle(0x0500_0008), waiter(2));
    drain(&mut slave);
    slave
}

fn own_name() -> Packet {
    named("~sky.5", 0x0500_0007)
}

fn hear(slave: &mut Slave, conn: ConnId, text: &str, bits: u32, epoch: u64) -> String {
    slave.handle_packet(START, conn, Trailing::Epoch(epoch).behind(named(text, bits)));
    drain(slave)
}

const AGAIN: ConnId = ConnId::new(2);

fn barrier(slave: &mut Slave) -> String {
    slave.handle_packet(START, AGAIN, own_name());
    drain(slave)
}

#[test]
fn g11_a_master_of_our_kind_says_who_is_and_is_not_asked() {
    let mut slave = new();
    slave.handle_linked(START, id(2));
    join(&mut slave, LINK, 2);
    let joined = "1: H 5 here:1 hello 41, MasterUp, 1: R \"~sky.5\" :05000007";
    assert_eq!(drain(&mut slave), joined, "no question for 2");
    let two = Hello { incarnation: 12, capabilities: 3 };
    slave.handle_packet(START, LINK, Trailing::Hello(two).behind(named("~sky.2", 0x0200_0007)));
    assert_eq!(drain(&mut slave), "", "our own name has not come back");
    slave.handle_packet(START, LINK, own_name());
    assert_eq!(drain(&mut slave), "kin 2");
    slave.handle_linked(START, id(3));
    drain(&mut slave);
    let nine = Hello { incarnation: 19, capabilities: 0 };
    slave.handle_packet(START, LINK, Trailing::Hello(nine).behind(newcomer(9)));
    assert_eq!(drain(&mut slave), "dial 9 host:9, kin 9");
    assert_eq!([2, 3, 9].map(|n| slave.hello_of(id(n))), [Some(two), None, Some(nine)]);
    // The id serves a real node now.
    slave.handle_packet(START, LINK, newcomer(9));
    assert_eq!((slave.hello_of(id(9)), slave.is_kin(id(9))), (None, false));
    slave.handle_closed(START, LINK);
    slave.handle_connected(START, AGAIN, "here:1");
    slave.handle_packet(START, AGAIN, Packet::Wait { n: 1 });
    assert!(drain(&mut slave).contains("2: Q \"~sky.2\""), "a real master is asked");
    assert_eq!(slave.hello_of(id(2)), None, "nothing that one master said counts under the next");
}

#[test]
fn g13_names_are_registered_again_with_their_epochs_and_without_a_question() {
    let mut slave = with_names();
    join(&mut slave, AGAIN, 0);
    drain(&mut slave);
    let told = "2: R \"A\" :05000008 epoch 30, 2: R \"B\" :05000008 epoch 0, 2: Q \"~sky.5\"";
    assert_eq!(barrier(&mut slave), told);
    hear(&mut slave, AGAIN, "A", 0x0500_0008, 30);
    hear(&mut slave, AGAIN, "B", 0x0500_0008, 40);
    assert_eq!(barrier(&mut slave), "");
    slave.handle_closed(START, AGAIN);
    join(&mut slave, LINK, 0);
    drain(&mut slave);
    slave.handle_packet(START, LINK, own_name());
    assert!(drain(&mut slave).contains("1: R \"B\" :05000008 epoch 40"), "it was confirmed");
}

#[test]
fn g13_only_the_last_word_before_our_own_name_is_a_verdict() {
    let mut slave = with_names();
    join(&mut slave, AGAIN, 1);
    hear(&mut slave, AGAIN, "A", 0x0200_0009, 50);
    slave.handle_linked(START, id(2));
    hear(&mut slave, AGAIN, "B", 0x0200_0009, 51);
    drain(&mut slave);
    barrier(&mut slave);
    // Others are named before the master has read what we say.
    hear(&mut slave, AGAIN, "A", 0x0200_0009, 50);
    hear(&mut slave, AGAIN, "B", 0x0200_0009, 51);
    assert_eq!(slave.owner(&name("A")), Some(handle(0x0500_0008)), "ours until it has");
    hear(&mut slave, AGAIN, "A", 0x0500_0008, 30);
    let lost = "NameLost { name: \"B\", ours: :05000008, theirs: :02000009 }";
    assert_eq!(barrier(&mut slave), format!("publish B :02000009, {lost}"));
    let lost = "NameLost { name: \"A\", ours: :05000008, theirs: :03000009 }";
    let told = hear(&mut slave, AGAIN, "A", 0x0300_0009, 20);
    assert_eq!(told, format!("publish A :03000009, {lost}"), "the first owner came later than we");
}

#[test]
fn g13_a_name_that_moves_inside_its_node_keeps_its_epoch() {
    let mut slave = with_names();
    slave.handle_unregister(START, name("A"), handle(0x0500_0008));
    slave.handle_register(START, name("A"), handle(0x0500_0009), waiter(3));
    join(&mut slave, AGAIN, 0);
    drain(&mut slave);
    assert!(barrier(&mut slave).contains("2: R \"A\" :05000009 epoch 30"));
}

#[test]
fn g13_a_name_that_the_master_was_too_slow_for_is_told_as_unconfirmed() {
    let mut slave = new();
    join(&mut slave, AGAIN, 0);
    slave.handle_packet(START, AGAIN, own_name());
    slave.handle_register(START, name("A"), handle(0x0500_0008), waiter(1));
    drain(&mut slave);
    slave.handle_timeout(later(5));
    assert_eq!(drain(&mut slave), "answer 1 Registered, publish A :05000008");
    hear(&mut slave, AGAIN, "A", 0x0200_0009, 50);
    assert_eq!(barrier(&mut slave), "2: R \"A\" :05000008 epoch 0, 2: Q \"~sky.5\"");
    assert_eq!(barrier(&mut slave), "", "it is ours: nobody else was named");
}

#[test]
fn g13_what_a_lost_master_has_not_judged_is_ours() {
    let mut slave = with_names();
    join(&mut slave, AGAIN, 1);
    hear(&mut slave, AGAIN, "A", 0x0200_0009, 50);
    slave.handle_closed(START, AGAIN);
    assert_eq!(slave.owner(&name("A")), Some(handle(0x0500_0008)));
}

#[test]
fn g2_a_node_whose_id_another_has_says_that_it_lives() {
    let mut slave = new();
    join(&mut slave, LINK, 0);
    drain(&mut slave);
    slave.handle_packet(START, LINK, Packet::Dead { id: id(OWN) });
    assert_eq!(drain(&mut slave), "1: H 5 here:1 hello 41");
}

#[test]
fn g2_a_later_life_of_a_linked_node_is_told_with_its_incarnation() {
    let mut slave = new();
    join(&mut slave, LINK, 0);
    slave.handle_linked(START, id(2));
    drain(&mut slave);
    let hello = |incarnation| Trailing::Hello(Hello { incarnation, capabilities: 0 });
    slave.handle_packet(START, LINK, hello(12).behind(newcomer(2)));
    assert_eq!(drain(&mut slave), "relocated 2 host:2 life 12");
    slave.handle_packet(START, LINK, newcomer(2));
    assert_eq!(drain(&mut slave), "relocated 2 host:2");
}

#[test]
fn g15_a_node_that_was_away_asks_again_for_what_it_knows() {
    let mut slave = with_names();
    join(&mut slave, LINK, 0);
    for (text, bits) in [("C", 0x0200_0008), ("~sky.2", 0x0200_0007), ("D", 0x0300_0008)] {
        slave.handle_packet(START, LINK, named(text, bits));
    }
    slave.handle_closed(START, LINK);
    drain(&mut slave);
    join(&mut slave, AGAIN, 0);
    drain(&mut slave);
    let own = "1: R \"A\" :05000008 epoch 30, 1: R \"B\" :05000008 epoch 0";
    let asked = "1: Q \"C\", 1: Q \"D\", 1: Q \"~sky.5\"";
    assert_eq!(barrier(&mut slave).replace("2: ", "1: "), format!("{own}, {asked}"));
    slave.handle_packet(START, AGAIN, named("C", 0x0400_0008));
    assert_eq!(drain(&mut slave), "publish C :04000008");
    assert_eq!(barrier(&mut slave), "", "once");
}

#[test]
fn g15_a_master_that_began_again_judges_names_whose_owners_it_does_not_know() {
    // The node that had `C` died with the master; under the id of the one that had `D` is another life.
    let mut slave = with_names();
    join(&mut slave, LINK, 0);
    for (text, bits) in [("C", 0x0200_0008), ("D", 0x0300_0008), ("E", 0x0300_0009)] {
        slave.handle_packet(START, LINK, named(text, bits));
    }
    slave.handle_closed(START, LINK);
    slave.handle_linked(START, id(3));
    join(&mut slave, AGAIN, 1);
    barrier(&mut slave);
    slave.handle_packet(START, AGAIN, named("E", 0x0300_0009));
    barrier(&mut slave);
    let register_all = |slave: &mut Slave, now: Instant| {
        for (session, text) in [(3, "C"), (4, "D"), (5, "E")] {
            slave.handle_register(now, name(text), handle(0x0500_0008), waiter(session));
        }
        drain(slave)
    };
    let return_time = Bounds::default().tie_time_max;
    let early = register_all(&mut slave, START + (return_time - Duration::from_nanos(1)));
    assert_eq!(early.matches("NameTaken").count(), 3, "they may come back: {early}");
    let told = register_all(&mut slave, START + return_time);
    assert_eq!(told, "2: Q \"C\", 2: Q \"~sky.5\", answer 5 NameTaken(:03000009)");
    let taken = |text, session| {
        let named = format!("publish {text} :05000008, 2: R {text:?} :05000008");
        format!("answer {session} Registered, {named}")
    };
    assert_eq!(barrier(&mut slave), format!("{}, 2: Q \"D\", 2: Q \"~sky.5\"", taken("C", 3)));
    // Its owner was only late.
    assert_eq!(hear(&mut slave, AGAIN, "D", 0x0300_0008, 9), "");
    assert_eq!(barrier(&mut slave), "answer 4 NameTaken(:03000008)");
}

#[test]
fn g15_a_real_master_is_not_asked_again() {
    let mut slave = new();
    slave.handle_connected(START, LINK, "here:1");
    slave.handle_packet(START, LINK, Packet::Wait { n: 0 });
    slave.handle_packet(START, LINK, own_name());
    slave.handle_packet(START, LINK, named("C", 0x0200_0008));
    slave.handle_closed(START, LINK);
    slave.handle_connected(START, AGAIN, "here:1");
    slave.handle_packet(START, AGAIN, Packet::Wait { n: 0 });
    drain(&mut slave);
    assert_eq!(barrier(&mut slave), "", "it would answer with the first owner that it ever heard");
}

/// A node that was told apart that it has `A`, which its master knows to be of node 2's life before.
fn outrun() -> Slave {
    let mut slave = new();
    slave.handle_register(START, name("A"), handle(0x0500_0008), waiter(1));
    join(&mut slave, AGAIN, 1);
    slave.handle_linked(START, id(2));
    barrier(&mut slave);
    hear(&mut slave, AGAIN, "A", 0x0200_0009, 20);
    let lost = "NameLost { name: \"A\", ours: :05000008, theirs: :02000009 }";
    assert_eq!(barrier(&mut slave), format!("publish A :02000009, {lost}"));
    slave
}

#[test]
fn g17_who_was_told_that_it_has_a_name_gets_it_when_the_owner_is_gone() {
    let gone: [fn(&mut Slave); 3] = [
        |slave| {
            slave.handle_packet(START, AGAIN, Packet::Dead { id: id(2) });
            assert_eq!(drain(slave), "ReportedDead(HarborId(2))", "its link lives");
            slave.handle_unlinked(START, id(2));
        },
        |slave| {
            slave.handle_unlinked(START, id(2));
            assert_eq!(drain(slave), "", "it may be there still");
            slave.handle_packet(START, AGAIN, Packet::Dead { id: id(2) });
        },
        |slave| slave.handle_packet(START, AGAIN, named("A", 0x0200_0006)),
    ];
    for gone in gone {
        let mut slave = outrun();
        gone(&mut slave);
        assert!(drain(&mut slave).ends_with("2: Q \"A\", 2: Q \"~sky.5\""));
        assert_eq!(barrier(&mut slave), "publish A :05000008, 2: R \"A\" :05000008");
    }
}

#[test]
fn g17_who_gave_it_up_or_ended_wants_it_no_more() {
    for end in [
        |slave: &mut Slave| slave.handle_unregister(START, name("A"), handle(0x0500_0008)),
        |slave: &mut Slave| slave.handle_ended(START, handle(0x0500_0008)),
    ] {
        let mut slave = outrun();
        end(&mut slave);
        slave.handle_packet(START, AGAIN, named("A", 0x0200_0006));
        assert_eq!(drain(&mut slave), "publish A :02000006");
    }
}

#[test]
fn g17_whoever_is_faster_has_it() {
    let mut slave = outrun();
    slave.handle_linked(START, id(3));
    slave.handle_packet(START, AGAIN, named("A", 0x0200_0006));
    drain(&mut slave);
    hear(&mut slave, AGAIN, "A", 0x0300_0009, 21);
    assert_eq!(barrier(&mut slave), "");
    slave.handle_packet(START, AGAIN, named("A", 0x0300_0006));
    assert!(drain(&mut slave).contains("Q \"A\""), "and then");
}
