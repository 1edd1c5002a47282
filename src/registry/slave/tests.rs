use super::*;
use crate::message::{Session, Waiter};
use crate::wire::Hello;
use SlaveState::{Apart, Greeting, Joining, Ready};
use std::time::Duration;

mod claims;
mod ends;
mod ties;
mod vacancy;

const OWN: u8 = 5;
const LINK: ConnId = ConnId::new(1);
const HELLO: Hello = Hello { incarnation: 41, capabilities: 0 };
const START: Instant = Instant::from_nanos(1_000);

fn id(id: u8) -> HarborId {
    HarborId::new(id)
}

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

fn handle(bits: u32) -> Handle {
    Handle::from_bits(bits)
}

fn waiter(session: u32) -> Waiter {
    Waiter { source: handle(0x0500_0007), session: Session::from_bits(session) }
}

fn named(text: &str, bits: u32) -> Packet {
    Packet::Name { name: name(text).into(), handle: handle(bits) }
}

fn newcomer(n: u8) -> Packet {
    Packet::Connect { id: id(n), address: format!("host:{n}") }
}

fn later(seconds: u64) -> Instant {
    START + Duration::from_secs(seconds)
}

/// What comes out, one word or two each.
fn drain(slave: &mut Slave) -> String {
    let mut all = Vec::new();
    while let Some(output) = slave.poll_output() {
        all.push(match output {
            SlaveOutput::SendPacket { conn, packet, trailing } => {
                format!("{}: {}{}", conn.number(), show(&packet), behind(trailing))
            }
            SlaveOutput::Close { conn } => format!("close {}", conn.number()),
            SlaveOutput::Dial { id, address } => format!("dial {id} {address}"),
            SlaveOutput::Kin { id } => format!("kin {id}"),
            SlaveOutput::Relocated { id, address, hello } => {
                let life = hello.map_or(String::new(), |hello| format!(" life {}", hello.incarnation));
                format!("relocated {id} {address}{life}")
            }
            SlaveOutput::Published { name, handle } => format!("publish {name} {handle}"),
            SlaveOutput::Forgotten { name } => format!("forget {name}"),
            SlaveOutput::Answer { waiter, answer } => format!("answer {} {answer:?}", waiter.session.bits()),
            SlaveOutput::Event(event) => format!("{event:?}"),
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
        Packet::Hello { id, address } => format!("H {id} {address}"),
        Packet::Register { name, handle } => format!("R {name:?} {handle}"),
        Packet::Query { name } => format!("Q {name:?}"),
        other => panic!("a slave never sends {other:?}"),
    }
}

fn in_state(state: SlaveState) -> Slave {
    let mut slave = Slave::new(id(OWN), Bounds::default());
    if state != Apart {
        slave.handle_connected(START, LINK, "here:1");
    }
    match state {
        Apart | Greeting => {}
        Joining => slave.handle_packet(START, LINK, Packet::Wait { n: 2 }),
        Ready => slave.handle_packet(START, LINK, Packet::Wait { n: 0 }),
    }
    drain(&mut slave);
    assert_eq!(slave.state(), state);
    slave
}

fn ready() -> Slave {
    in_state(Ready)
}

type Event = fn(&mut Slave);
type Expected = (&'static str, SlaveState);

/// Every event with what it does in each state: Apart, Greeting, Joining (for two links), Ready.
#[expect(clippy::too_many_lines, reason = "a table")]
fn table() -> Vec<(&'static str, Event, [Expected; 4])> {
    let packet_in_greeting = ("close 1, MasterLost(NotWait)", Apart);
    vec![
        (
            "connected",
            |slave| slave.handle_connected(START, ConnId::new(2), "there:2"),
            [
                ("2: H 5 there:2", Greeting),
                ("close 1, MasterLost(Replaced), 2: H 5 there:2", Greeting),
                ("close 1, MasterLost(Replaced), 2: H 5 there:2", Greeting),
                ("close 1, MasterLost(Replaced), 2: H 5 there:2", Greeting),
            ],
        ),
        (
            "W 0",
            |slave| slave.handle_packet(START, LINK, Packet::Wait { n: 0 }),
            [
                ("", Apart),
                ("MasterUp, Joined { missing: 0 }", Ready),
                ("Ignored { packet: Wait { n: 0 } }", Joining),
                ("Ignored { packet: Wait { n: 0 } }", Ready),
            ],
        ),
        (
            "W 1",
            |slave| slave.handle_packet(START, LINK, Packet::Wait { n: 1 }),
            [
                ("", Apart),
                ("MasterUp", Joining),
                ("Ignored { packet: Wait { n: 1 } }", Joining),
                ("Ignored { packet: Wait { n: 1 } }", Ready),
            ],
        ),
        (
            "C",
            |slave| slave.handle_packet(START, LINK, newcomer(3)),
            [("", Apart), packet_in_greeting, ("", Joining), ("dial 3 host:3", Ready)],
        ),
        (
            "N",
            |slave| slave.handle_packet(START, LINK, named("ECHO", 0x0200_0009)),
            [("", Apart), packet_in_greeting, ("", Joining), ("publish ECHO :02000009", Ready)],
        ),
        (
            "D",
            |slave| slave.handle_packet(START, LINK, Packet::Dead { id: id(2) }),
            [
                ("", Apart),
                packet_in_greeting,
                ("ReportedDead(HarborId(2))", Joining),
                ("ReportedDead(HarborId(2))", Ready),
            ],
        ),
        (
            "a slave's letter",
            |slave| slave.handle_packet(START, LINK, Packet::Query { name: name("A").into() }),
            [
                ("", Apart),
                packet_in_greeting,
                ("Ignored { packet: Query { name: \"A\" } }", Joining),
                ("Ignored { packet: Query { name: \"A\" } }", Ready),
            ],
        ),
        (
            "unknown letter",
            |slave| slave.handle_packet(START, LINK, Packet::Unknown { letter: vec![] }),
            [
                ("", Apart),
                packet_in_greeting,
                ("Ignored { packet: Unknown { letter: [] } }", Joining),
                ("Ignored { packet: Unknown { letter: [] } }", Ready),
            ],
        ),
        (
            "packet of a link before",
            |slave| slave.handle_packet(START, ConnId::new(0), newcomer(3)),
            [("", Apart), ("", Greeting), ("", Joining), ("", Ready)],
        ),
        (
            "fault",
            |slave| slave.handle_fault(START, LINK, ControlFault::Empty),
            [
                ("", Apart),
                ("close 1, MasterLost(Fault(Empty))", Apart),
                ("close 1, MasterLost(Fault(Empty))", Apart),
                ("close 1, MasterLost(Fault(Empty))", Apart),
            ],
        ),
        (
            "closed",
            |slave| slave.handle_closed(START, LINK),
            [
                ("", Apart),
                ("Refused { was_ready: false }", Apart),
                ("MasterLost(Closed)", Apart),
                ("MasterLost(Closed)", Apart),
            ],
        ),
        (
            "closed, a link before",
            |slave| slave.handle_closed(START, ConnId::new(0)),
            [("", Apart), ("", Greeting), ("", Joining), ("", Ready)],
        ),
        (
            "linked",
            |slave| slave.handle_linked(START, id(2)),
            [("", Apart), ("", Greeting), ("", Joining), ("", Ready)],
        ),
        (
            "linked by two",
            |slave| {
                slave.handle_linked(START, id(2));
                slave.handle_linked(START, id(3));
            },
            [("", Apart), ("", Greeting), ("Joined { missing: 0 }", Ready), ("", Ready)],
        ),
        (
            "linked and unlinked",
            |slave| {
                slave.handle_linked(START, id(2));
                slave.handle_unlinked(START, id(2));
                slave.handle_linked(START, id(3));
            },
            [("", Apart), ("", Greeting), ("Joined { missing: 0 }", Ready), ("", Ready)],
        ),
        (
            "too early",
            |slave| slave.handle_timeout(later(9)),
            [("", Apart), ("", Greeting), ("", Joining), ("", Ready)],
        ),
        (
            "too late",
            |slave| slave.handle_timeout(later(10)),
            [
                ("", Apart),
                ("close 1, MasterLost(Late)", Apart),
                ("Joined { missing: 2 }", Ready),
                ("", Ready),
            ],
        ),
        (
            "register",
            |slave| slave.handle_register(START, name("MINE"), handle(0x0500_0008), waiter(1)),
            [
                ("answer 1 Registered, publish MINE :05000008", Apart),
                ("answer 1 Registered, publish MINE :05000008", Greeting),
                ("answer 1 Registered, publish MINE :05000008", Joining),
                ("answer 1 Registered, publish MINE :05000008, 1: R \"MINE\" :05000008", Ready),
            ],
        ),
        (
            "query",
            |slave| slave.handle_query(START, name("THEIRS"), waiter(1), Instant::FAR),
            [("", Apart), ("", Greeting), ("", Joining), ("1: Q \"THEIRS\"", Ready)],
        ),
        (
            "held",
            |slave| assert_eq!(slave.handle_held(START, name("THEIRS")), Ok(None)),
            [("", Apart), ("", Greeting), ("", Joining), ("1: Q \"THEIRS\"", Ready)],
        ),
    ]
}

#[test]
fn every_event_in_every_state() {
    for (event, run, expected) in table() {
        for (state, (outputs, next)) in [Apart, Greeting, Joining, Ready].into_iter().zip(expected) {
            let mut slave = in_state(state);
            run(&mut slave);
            assert_eq!(drain(&mut slave), outputs, "{event} in {state:?}");
            assert_eq!(slave.state(), next, "{event} in {state:?}");
        }
    }
}

#[test]
fn g6_what_comes_while_joining_waits_until_ready_and_keeps_its_order() {
    let mut slave = in_state(Joining);
    slave.handle_register(START, name("MINE"), handle(0x0500_0008), waiter(1));
    slave.handle_query(START, name("SERVICE"), waiter(2), Instant::FAR);
    slave.handle_query(START, name("EARLY"), waiter(3), Instant::FAR);
    drain(&mut slave);
    for packet in
        [newcomer(9), newcomer(3), named("EARLY", 0x0300_0007), newcomer(4), Packet::Dead { id: id(4) }]
    {
        slave.handle_packet(START, LINK, packet);
    }
    slave.handle_linked(START, id(2));
    assert_eq!(drain(&mut slave), "ReportedDead(HarborId(4))", "a newcomer's death is none of the announced");
    slave.handle_packet(START, LINK, Packet::Dead { id: id(7) });
    assert_eq!(
        drain(&mut slave),
        "ReportedDead(HarborId(7)), Joined { missing: 0 }, dial 9 host:9, dial 3 host:3, \
         publish EARLY :03000007, answer 3 Found(:03000007), 1: R \"MINE\" :05000008, 1: Q \"SERVICE\""
    );
}

#[test]
fn g6_a_link_and_a_death_of_one_id_count_once() {
    let mut slave = in_state(Joining);
    slave.handle_packet(START, LINK, Packet::Dead { id: id(7) });
    slave.handle_linked(START, id(7));
    slave.handle_linked(START, id(7));
    assert_eq!(slave.state(), Joining);
    slave.handle_linked(START, id(8));
    assert_eq!(slave.state(), Ready);
}

#[test]
fn g6_an_id_that_comes_again_is_a_newcomer_and_counts_as_it_did() {
    let mut slave = in_state(Joining);
    for packet in [Packet::Dead { id: id(7) }, newcomer(7), Packet::Dead { id: id(7) }, newcomer(7)] {
        slave.handle_packet(START, LINK, packet);
    }
    assert_eq!(slave.state(), Joining);
    slave.handle_linked(START, id(8));
    assert_eq!(slave.state(), Ready, "the newcomer 7 waits for us, not we for it");
    assert!(drain(&mut slave).ends_with("Joined { missing: 0 }, dial 7 host:7"));
}

#[test]
fn g6_links_that_live_when_the_node_joins_again_count() {
    let mut slave = ready();
    slave.handle_linked(START, id(2));
    slave.handle_closed(START, LINK);
    slave.handle_connected(START, ConnId::new(2), "here:1");
    slave.handle_packet(START, ConnId::new(2), Packet::Wait { n: 1 });
    assert_eq!(slave.state(), Ready);
}

#[test]
fn news_of_our_own_death_are_ignored() {
    let mut slave = in_state(Joining);
    slave.handle_register(START, name("MINE"), handle(0x0500_0008), waiter(1));
    slave.handle_linked(START, id(2));
    drain(&mut slave);
    slave.handle_packet(START, LINK, Packet::Dead { id: id(OWN) });
    assert_eq!(drain(&mut slave), "Ignored { packet: Dead { id: HarborId(5) } }");
    slave.handle_register(START, name("MINE"), handle(0x0500_0009), waiter(2));
    assert_eq!(drain(&mut slave), "answer 2 NameTaken(:05000008)");
}

#[test]
fn what_was_kept_outlives_the_link_that_told_it() {
    let mut slave = in_state(Joining);
    slave.handle_packet(START, LINK, newcomer(3));
    slave.handle_packet(START, LINK, named("EARLY", 0x0300_0007));
    slave.handle_closed(START, LINK);
    assert_eq!(drain(&mut slave), "MasterLost(Closed), dial 3 host:3, publish EARLY :03000007");
}

#[test]
fn a_newcomer_is_dialled_unless_it_is_linked_or_ourselves() {
    let mut slave = ready();
    slave.handle_linked(START, id(2));
    for n in [2, OWN] {
        slave.handle_packet(START, LINK, newcomer(n));
        assert!(!slave.admits(id(n)));
    }
    assert_eq!(drain(&mut slave), "relocated 2 host:2");
    slave.handle_unlinked(START, id(2));
    assert!(slave.admits(id(2)) && !slave.admits(id(0)));
    slave.handle_packet(START, LINK, Packet::Dead { id: id(2) });
    assert!(slave.admits(id(2)), "the link counts, not the master's word");
    slave.handle_packet(START, LINK, newcomer(2));
    assert_eq!(drain(&mut slave), "ReportedDead(HarborId(2)), dial 2 host:2");
}

#[test]
fn g9_the_next_master_hears_our_names_and_questions() {
    let mut slave = ready();
    slave.handle_register(START, name("B"), handle(0x0500_0008), waiter(1));
    slave.handle_query(START, name("THEIRS"), waiter(2), Instant::FAR);
    slave.handle_closed(START, LINK);
    slave.handle_register(START, name("A"), handle(0x0500_0009), waiter(3));
    slave.handle_held(START, name("HELD")).unwrap();
    slave.handle_connected(START, ConnId::new(2), "here:1");
    drain(&mut slave);
    slave.handle_packet(START, ConnId::new(2), Packet::Wait { n: 0 });
    assert_eq!(
        drain(&mut slave),
        "MasterUp, Joined { missing: 0 }, 2: R \"A\" :05000009, 2: R \"B\" :05000008, 2: Q \"HELD\", 2: Q \"THEIRS\""
    );
    slave.handle_closed(START, ConnId::new(2));
    slave.handle_connected(START, ConnId::new(3), "here:1");
    drain(&mut slave);
    slave.handle_closed(START, ConnId::new(3));
    assert_eq!(drain(&mut slave), "Refused { was_ready: true }", "the id is burnt");
    assert_eq!(slave.owner(&name("A")), Some(handle(0x0500_0009)), "names stay");
}

#[test]
fn g8_one_question_for_many_waiters_answered_in_order() {
    let mut slave = ready();
    for session in 1..=3 {
        slave.handle_query(START, name("UNK"), waiter(session), Instant::FAR);
    }
    slave.handle_held(START, name("UNK")).unwrap();
    slave.handle_forget(START, waiter(2));
    assert_eq!(drain(&mut slave), "1: Q \"UNK\"");
    slave.handle_packet(START, LINK, named("UNK", 0x0200_0066));
    let expected = "publish UNK :02000066, answer 1 Found(:02000066), answer 3 Found(:02000066)";
    assert_eq!(drain(&mut slave), expected);
    slave.handle_query(START, name("UNK"), waiter(4), Instant::FAR);
    assert_eq!(slave.handle_held(START, name("UNK")), Ok(Some(handle(0x0200_0066))));
    slave.handle_packet(START, LINK, named("UNK", 0x0200_0066));
    assert_eq!(drain(&mut slave), "answer 4 Found(:02000066)", "no question, nothing new");
}

#[test]
fn g8_a_name_that_nobody_waits_for_is_asked_anew() {
    let mut slave = ready();
    slave.handle_query(START, name("UNK"), waiter(1), Instant::FAR);
    slave.handle_held(START, name("UNK")).unwrap();
    slave.handle_forget(START, waiter(1));
    slave.handle_query(START, name("UNK"), waiter(2), Instant::FAR);
    assert_eq!(drain(&mut slave), "1: Q \"UNK\"", "messages are held for it");
    slave.handle_forget(START, waiter(2));
    slave.handle_released(START, name("UNK"));
    slave.handle_query(START, name("UNK"), waiter(3), Instant::FAR);
    assert_eq!(drain(&mut slave), "1: Q \"UNK\"");
}

#[test]
fn every_waiter_has_its_own_deadline() {
    let mut slave = ready();
    slave.handle_query(START, name("UNK"), waiter(1), later(3));
    slave.handle_query(START, name("UNK"), waiter(2), later(1));
    slave.handle_query(START, name("OTHER"), waiter(2), later(2));
    drain(&mut slave);
    for (at, expected) in [(1, "answer 2 NotFound"), (2, "answer 2 NotFound"), (3, "answer 1 NotFound")] {
        assert_eq!(slave.poll_timeout(), Some(later(at)));
        slave.handle_timeout(Instant::from_nanos(later(at).nanos() - 1));
        assert_eq!(drain(&mut slave), "");
        slave.handle_timeout(later(at));
        assert_eq!(drain(&mut slave), expected);
    }
    assert_eq!(slave.poll_timeout(), None);
}

#[test]
fn poll_timeout_is_the_nearest_of_link_and_waiters() {
    let mut slave = in_state(Greeting);
    assert_eq!(slave.poll_timeout(), Some(later(10)));
    slave.handle_query(START, name("UNK"), waiter(1), later(11));
    assert_eq!(slave.poll_timeout(), Some(later(10)));
    slave.handle_query(START, name("UNK"), waiter(2), later(3));
    assert_eq!(slave.poll_timeout(), Some(later(3)));
}

#[test]
fn g7_the_last_n_counts_even_for_our_own_name() {
    let mut slave = ready();
    slave.handle_register(START, name("MINE"), handle(0x0500_0008), waiter(1));
    drain(&mut slave);
    slave.handle_packet(START, LINK, named("MINE", 0x0500_0008));
    assert_eq!(drain(&mut slave), "", "our own broadcast");
    slave.handle_packet(START, LINK, named("MINE", 0x0200_0055));
    let lost = "NameLost { name: \"MINE\", ours: :05000008, theirs: :02000055 }";
    assert_eq!(drain(&mut slave), format!("publish MINE :02000055, {lost}"));
    slave.handle_register(START, name("MINE"), handle(0x0500_0008), waiter(2));
    assert_eq!(drain(&mut slave), "answer 2 NameTaken(:02000055)");
    slave.handle_closed(START, LINK);
    slave.handle_connected(START, ConnId::new(2), "here:1");
    slave.handle_packet(START, ConnId::new(2), Packet::Wait { n: 0 });
    assert!(!drain(&mut slave).contains("R \"MINE\""), "a lost name is not claimed again");
}

#[test]
fn a_name_can_be_taken_from_the_dead_and_from_those_who_gave_it_up() {
    let mut slave = ready();
    slave.handle_packet(START, LINK, named("A", 0x0200_0009));
    slave.handle_register(START, name("A"), handle(0x0500_0008), waiter(1));
    slave.handle_packet(START, LINK, Packet::Dead { id: id(2) });
    slave.handle_register(START, name("A"), handle(0x0500_0008), waiter(2));
    assert_eq!(
        drain(&mut slave),
        "publish A :02000009, answer 1 NameTaken(:02000009), ReportedDead(HarborId(2)), \
         answer 2 Registered, publish A :05000008, 1: R \"A\" :05000008"
    );
    slave.handle_register(START, name("A"), handle(0x0500_0008), waiter(3));
    slave.handle_register(START, name("A"), handle(0x0500_0009), waiter(4));
    assert_eq!(drain(&mut slave), "answer 3 Registered, answer 4 NameTaken(:05000008)");
    slave.handle_unregister(START, name("A"), handle(0x0500_0009));
    assert!(slave.owner(&name("A")).is_some());
    slave.handle_register(START, name("A"), handle(0x0500_0009), waiter(5));
    slave.handle_unregister(START, name("A"), handle(0x0500_0008));
    slave.handle_register(START, name("A"), handle(0x0500_0009), waiter(6));
    assert_eq!(
        drain(&mut slave),
        "answer 5 NameTaken(:05000008), publish A :05000006, 1: R \"A\" :05000006, \
         answer 6 Registered, publish A :05000009, 1: R \"A\" :05000009"
    );
}

#[test]
fn g4_an_owner_lives_while_its_link_does_and_a_name_of_nobody_is_free() {
    let mut slave = ready();
    slave.handle_linked(START, id(2));
    slave.handle_packet(START, LINK, named("A", 0x0200_0009));
    slave.handle_packet(START, LINK, Packet::Dead { id: id(2) });
    drain(&mut slave);
    slave.handle_register(START, name("A"), handle(0x0500_0008), waiter(1));
    assert_eq!(drain(&mut slave), "answer 1 NameTaken(:02000009)");
    slave.handle_packet(START, LINK, named("A", 0x0100_0006));
    drain(&mut slave);
    slave.handle_register(START, name("A"), handle(0x0500_0008), waiter(2));
    assert!(drain(&mut slave).ends_with("1: R \"A\" :05000008"));
}

#[test]
fn g10_a_name_that_had_another_owner_is_registered_again_for_every_newcomer() {
    let mut slave = ready();
    slave.handle_packet(START, LINK, named("A", 0x0200_0009));
    slave.handle_packet(START, LINK, Packet::Dead { id: id(2) });
    slave.handle_register(START, name("A"), handle(0x0500_0008), waiter(1));
    slave.handle_register(START, name("B"), handle(0x0500_0008), waiter(2));
    drain(&mut slave);
    slave.handle_packet(START, LINK, newcomer(9));
    assert!(drain(&mut slave).ends_with("1: R \"A\" :05000008"), "after the dial, and no other name");
    slave.handle_unregister(START, name("A"), handle(0x0500_0008));
    assert_eq!(drain(&mut slave), "publish A :05000006, 1: R \"A\" :05000006");
    slave.handle_packet(START, LINK, newcomer(10));
    assert!(!drain(&mut slave).contains("R "), "it was given up");
}

#[test]
fn registering_answers_those_who_wait() {
    let mut slave = ready();
    slave.handle_query(START, name("MINE"), waiter(1), Instant::FAR);
    slave.handle_register(START, name("MINE"), handle(0x0500_0008), waiter(2));
    let expected = "1: Q \"MINE\", answer 2 Registered, publish MINE :05000008, answer 1 Found(:05000008), \
                    1: R \"MINE\" :05000008";
    assert_eq!(drain(&mut slave), expected);
}

#[test]
fn names_that_no_node_can_use_are_ignored() {
    let mut slave = ready();
    for (bytes, bits) in [(&b""[..], 1), (b"BBBBBBBBBBBBBBBB", 1), (b".local", 1), (b"GOOD", 0)] {
        let packet = Packet::Name { name: bytes.into(), handle: handle(bits) };
        slave.handle_packet(START, LINK, packet);
        assert!(drain(&mut slave).starts_with("BadName"), "{}", bytes.escape_ascii());
    }
    assert_eq!(slave.names().count(), 0);
}

#[test]
fn tables_are_bounded() {
    let bounds = Bounds { names_max: 2, names_waited_max: 2, name_waiters_max: 3, ..Bounds::default() };
    let mut slave = Slave::new(id(OWN), bounds);
    let query = |slave: &mut Slave, text, session| {
        slave.handle_query(START, name(text), waiter(session), later(1));
        drain(slave)
    };
    assert_eq!(query(&mut slave, "A", 1), "");
    assert_eq!(query(&mut slave, "B", 2), "");
    assert_eq!(query(&mut slave, "C", 3), "answer 3 Full", "two names are waited for");
    assert_eq!(slave.handle_held(START, name("C")), Err(NamesFull));
    assert_eq!(query(&mut slave, "B", 4), "");
    assert_eq!(query(&mut slave, "B", 5), "answer 5 Full", "three wait");
    let register = |slave: &mut Slave, text, session| {
        slave.handle_register(START, name(text), handle(0x0500_0010 + session), waiter(session));
        drain(slave)
    };
    assert_eq!(register(&mut slave, "X", 6), "answer 6 Registered, publish X :05000016");
    assert_eq!(register(&mut slave, "Y", 7), "answer 7 Registered, publish Y :05000017");
    assert_eq!(register(&mut slave, "A", 8), "answer 8 Full");
    assert_eq!(query(&mut slave, "X", 9), "answer 9 Found(:05000016)", "a known name needs no room");
    slave.handle_connected(START, LINK, "here:1");
    slave.handle_packet(START, LINK, Packet::Wait { n: 1 });
    drain(&mut slave);
    for text in ["Z", "A", "A"] {
        slave.handle_packet(START, LINK, named(text, 0x0200_0001));
    }
    assert_eq!(drain(&mut slave), "NameDropped { name: \"A\" }", "two names are kept while joining");
    slave.handle_linked(START, id(2));
    assert_eq!(
        drain(&mut slave),
        "Joined { missing: 0 }, NameDropped { name: \"Z\" }, publish A :02000001, answer 1 Found(:02000001), \
         1: R \"X\" :05000016, 1: R \"Y\" :05000017, 1: Q \"B\""
    );
    assert_eq!(slave.owner(&name("A")), None, "answered, not remembered");
}
