//! The traps of `wire.md` §8 that concern a healthy link, by their numbers. (9: the program's built-in services; 13:
//! cluster links; 16: packed values.)

use crate::scenarios::message;
use crate::stage::{MASTER, Message, Stage};
use skyharbor::clock::Instant;
use skyharbor::harbor::{Action, Event, Harbor, Join, Listener, Settings};
use skyharbor::message::{Body, CallError, Handle, HarborAnswer, HarborId, HarborRequest, Session, Waiter};
use skyharbor::wire::control::{Packet, encode};

const NOW: Instant = Instant::from_nanos(1);

fn bytes_of(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, &[], &mut bytes).unwrap();
    bytes
}

fn connect(id: u8, address: &str) -> Vec<u8> {
    bytes_of(&Packet::Connect { id: HarborId::new(id), address: address.to_owned() })
}

fn named(name: &str, handle: u32) -> Vec<u8> {
    bytes_of(&Packet::Name { name: name.as_bytes().into(), handle: Handle::from_bits(handle) })
}

/// Node 5 under a scripted master that announced `n` links.
fn slave(n: u8) -> Stage {
    let mut stage = Stage::new();
    stage.peers.insert(MASTER.to_owned(), "control".to_owned());
    stage.start(5, "node:5", false);
    assert_eq!(unread(&mut stage, "control"), b"\x0b\x0cH\x0a\x05\x34node:5");
    stage.write("control", &bytes_of(&Packet::Wait { n }));
    stage
}

/// Node 5 with a link to the scripted node 2, which dialled.
fn linked() -> Stage {
    let mut stage = slave(1);
    stage.dial("2-5", 5, Listener::Links);
    stage.write("2-5", &[2]);
    assert_eq!(unread(&mut stage, "2-5"), [5]);
    stage
}

/// What the machine wrote since the last look.
fn unread(stage: &mut Stage, link: &str) -> Vec<u8> {
    std::mem::take(&mut stage.scripts.get_mut(link).expect("a link of this name").unread)
}

fn waiter(session: u32) -> Waiter {
    Waiter { source: Handle::from_bits(0x0500_0007), session: Session::from_bits(session) }
}

#[test]
fn trap_1_the_trailer_is_behind_the_payload_and_big_endian() {
    let mut stage = linked();
    stage.send(5, message(0x0500_0007, 0x0200_0030, 0x0102_0304, 10, b"payload"));
    let frame = b"\x00\x00\x00\x13payload\x05\x00\x00\x07\x0a\x00\x00\x30\x01\x02\x03\x04";
    assert_eq!(unread(&mut stage, "2-5"), frame);
}

#[test]
fn trap_2_a_dialler_is_silent_until_the_answer_byte() {
    let mut stage = slave(0);
    stage.peers.insert("peer:8".to_owned(), "5-8".to_owned());
    stage.write("control", &connect(8, "peer:8"));
    stage.send(5, message(0x0500_0007, 0x0800_0030, 1, 10, b"early"));
    assert_eq!(unread(&mut stage, "5-8"), [5], "the id byte alone");
    stage.write("5-8", &[8]);
    let (sent, _) = Message::read(&unread(&mut stage, "5-8"), 8).unwrap();
    assert_eq!(sent.payload, b"early");
}

#[test]
fn trap_2_an_acceptor_takes_frames_right_behind_the_id_byte() {
    let mut stage = slave(1);
    stage.dial("2-5", 5, Listener::Links);
    assert_eq!(unread(&mut stage, "2-5"), b"", "an acceptor never speaks first");
    stage.write("2-5", b"\x02\x00\x00\x00\x0d!\x02\x00\x00\x09\x00\x00\x00\x07\x00\x00\x00\x00");
    assert_eq!(unread(&mut stage, "2-5"), [5]);
    let delivered = Message::of(&stage.machine(5).delivered[0]).unwrap();
    assert_eq!((delivered.payload.as_slice(), delivered.source.bits()), (&b"!"[..], 0x0200_0009));
}

#[test]
fn trap_3_a_slave_listens_before_it_greets_and_takes_no_second_link() {
    let mut settings = Settings::new(HarborId::new(5));
    let (listen, master) = ("node:5".to_owned(), MASTER.to_owned());
    settings.join = Some(Join { listen, advertise: None, master });
    let mut harbor = Harbor::new(settings);
    harbor.start(NOW);
    assert!(matches!(harbor.poll_action(), Some(Action::Listen { listener: Listener::Links, .. })));
    assert!(harbor.poll_action().is_none(), "the master is not dialled before it listens");
    harbor.handle_listening(NOW, Listener::Links, Ok("node:5".to_owned()));
    assert!(matches!(harbor.poll_action(), Some(Action::Connect { .. })));

    let mut stage = linked();
    stage.dial("2-5 again", 5, Listener::Links);
    stage.write("2-5 again", &[2]);
    assert!(stage.scripts["2-5 again"].is_closed);
    assert_eq!(unread(&mut stage, "2-5 again"), b"", "refused without a byte");
    stage.send(5, message(0x0500_0007, 0x0200_0030, 0, 0, b"x"));
    assert!(!unread(&mut stage, "2-5").is_empty(), "the live link is not disturbed");
}

#[test]
fn trap_4_announced_links_are_awaited_but_not_for_ever() {
    let joined =
        |stage: &mut Stage| stage.machine(5).events.iter().any(|event| matches!(event, Event::Joined { .. }));
    let mut stage = slave(2);
    stage.dial("2-5", 5, Listener::Links);
    stage.write("2-5", &[2]);
    assert!(!joined(&mut stage), "one of two");
    stage.write("control", &bytes_of(&Packet::Dead { id: HarborId::new(3) }));
    assert!(joined(&mut stage), "the other died while it was to come");

    let mut stage = slave(1);
    stage.turn(9_999.0);
    assert!(!joined(&mut stage));
    stage.turn(10_001.0);
    assert!(stage.machine(5).events.contains(&Event::Joined { missing: 1 }));
}

#[test]
fn trap_4_a_newcomer_is_dialled_at_once() {
    let mut stage = slave(0);
    stage.peers.insert("peer:8".to_owned(), "5-8".to_owned());
    stage.write("control", &connect(8, "peer:8"));
    assert_eq!(unread(&mut stage, "5-8"), [5]);
}

#[test]
fn trap_5_ids_are_burnt_at_a_master() {
    let mut stage = Stage::new();
    stage.start(1, "node:1", true);
    let hello = bytes_of(&Packet::Hello { id: HarborId::new(2), address: "peer:2".to_owned() });
    stage.dial("control", 1, Listener::Master);
    stage.write("control", &hello);
    assert_eq!(unread(&mut stage, "control"), bytes_of(&Packet::Wait { n: 1 }));
    stage.close("control");
    stage.dial("control again", 1, Listener::Master);
    stage.write("control again", &hello);
    assert!(stage.scripts["control again"].is_closed);
    assert_eq!(unread(&mut stage, "control again"), b"");
}

#[test]
fn trap_6_an_unknown_name_is_asked_for_once_and_may_come_at_any_time() {
    let mut stage = linked();
    let name = "LATER".parse().unwrap();
    for session in [0, 3] {
        let envelope = message(0x0500_0007, 0, session, 10, b"by name");
        stage.ask(5, HarborRequest::Send { name, envelope });
    }
    let deadline = stage.later(5);
    stage.ask(5, HarborRequest::Query { name, waiter: waiter(9), deadline });
    assert_eq!(unread(&mut stage, "control"), bytes_of(&Packet::Query { name: name.into() }));
    stage.write("control", &named("LATER", 0x0200_0030));
    let frames = unread(&mut stage, "2-5");
    let (first, rest) = Message::read(&frames, 2).unwrap();
    let (second, rest) = Message::read(rest, 2).unwrap();
    assert_eq!((first.session, second.session, rest.len()), (0, 3, 0), "in the order sent");
    assert_eq!(stage.machine(5).answers, [HarborAnswer::Found(Handle::from_bits(0x0200_0030))]);

    // An N that nobody asked for, and one for a name of our own.
    stage.write("control", &named("UNASKED", 0x0200_0031));
    let mine = "MINE".parse().unwrap();
    let (handle, waiter) = (Handle::from_bits(0x0500_0008), waiter(10));
    stage.ask(5, HarborRequest::Register { name: mine, handle, waiter });
    stage.write("control", &named("MINE", 0x0200_0055));
    let (ours, theirs) = (handle, Handle::from_bits(0x0200_0055));
    assert!(stage.machine(5).events.contains(&Event::NameConflict { name: mine, ours, theirs }));
}

#[test]
fn trap_7_after_a_second_registration_the_last_n_counts() {
    let mut stage = linked();
    stage.write("control", &named("TWICE", 0x0200_0001));
    stage.write("control", &named("TWICE", 0x0200_0002));
    let envelope = message(0x0500_0007, 0, 0, 0, b"x");
    stage.ask(5, HarborRequest::Send { name: "TWICE".parse().unwrap(), envelope });
    let (sent, _) = Message::read(&unread(&mut stage, "2-5"), 2).unwrap();
    assert_eq!(sent.dest.local(), 2);
}

#[test]
fn trap_8_handles_of_high_ids_take_the_long_integer() {
    let mut stage = Stage::new();
    stage.peers.insert(MASTER.to_owned(), "control".to_owned());
    stage.start(200, "node:200", false);
    stage.write("control", &bytes_of(&Packet::Wait { n: 0 }));
    unread(&mut stage, "control");
    let (name, handle) = ("HIGH".parse().unwrap(), Handle::from_bits(0xc800_0008));
    stage.ask(200, HarborRequest::Register { name, handle, waiter: waiter(1) });
    assert_eq!(unread(&mut stage, "control"), b"\x10\x0cR\x24HIGH\x32\x08\x00\x00\xc8\x00\x00\x00\x00");
}

#[test]
fn trap_10_a_missing_service_is_answered_with_an_error_and_a_send_to_it_too_but_no_answer() {
    let mut stage = linked();
    for (kind, session, answered) in [(10, 7, true), (0, 0, true), (1, 9, false), (7, 9, false)] {
        let mut frame = b"\x00\x00\x00\x0c\x02\x00\x00\x10\x00\xab\xcd\xef\x00\x00\x00".to_vec();
        frame[8] = kind;
        frame.push(session);
        stage.write("2-5", &frame);
        let answer =
            [&b"\x00\x00\x00\x0c\x05\xab\xcd\xef\x07\x00\x00\x10\x00\x00\x00"[..], &[session]].concat();
        assert_eq!(unread(&mut stage, "2-5"), if answered { answer } else { Vec::new() }, "kind {kind}");
    }
}

#[test]
fn trap_10_debug_is_up_to_the_service_and_answered_by_nobody_else() {
    let mut stage = linked();
    let debug = |session: u8, payload: &[u8]| {
        let mut frame = vec![0, 0, 0, 12 + payload.len() as u8];
        frame.extend_from_slice(payload);
        frame.extend_from_slice(&[2, 0, 0, 0x10, 9, 0, 0, 7, 0, 0, 0, session]);
        frame
    };
    for (session, command) in [(0, &b"\x1cRUN"[..]), (6, b"\x1cRUN"), (7, b"\x24PING")] {
        stage.write("2-5", &debug(session, command));
    }
    assert_eq!(unread(&mut stage, "2-5"), b"", "whether a service lives, only it can say");
    assert_eq!(stage.machine(5).delivered.len(), 3);
    assert_eq!(stage.machine(5).harbor.intake().debug, 3);
}

#[test]
fn what_peers_may_not_send_is_dropped_and_counted() {
    let mut stage = linked();
    for kind in [4, 5, 6] {
        for session in [0, 3] {
            stage.write("2-5", &[0, 0, 0, 13, b'x', 2, 0, 0, 0x10, kind, 0, 0, 7, 0, 0, 0, session]);
        }
    }
    assert!(stage.machine(5).delivered.is_empty());
    assert_eq!(unread(&mut stage, "2-5"), b"");
    let intake = stage.machine(5).harbor.intake();
    assert_eq!((intake.frames, intake.dropped, intake.delivered), (6, 6, 0));
}

#[test]
fn trap_11_a_dead_link_is_not_silent() {
    let mut stage = linked();
    for session in 1..=3 {
        stage.send(5, message(0x0500_0007, 0x0200_0030, session, 10, b"x"));
    }
    stage.write("2-5", b"\0\0\0\x0c\x02\0\0\x30\x01\0\0\x07\0\0\0\x02");
    stage.close("2-5");
    let told: Vec<(u32, bool)> = stage
        .machine(5)
        .delivered
        .iter()
        .map(|envelope| {
            let unknown = matches!(envelope.body, Body::Failure(CallError::OutcomeUnknown(_)));
            (envelope.session.bits(), unknown)
        })
        .collect();
    assert_eq!(told, [(2, false), (1, true), (3, true)], "the answer first, then who is still waiting");
    let down = stage.machine(5).events.iter().any(|event| matches!(event, Event::Down(..)));
    assert!(down);
}

#[test]
fn trap_12_the_largest_frame_goes_and_one_byte_more_does_not() {
    let mut stage = linked();
    stage.send(5, message(0x0500_0007, 0x0200_0030, 1, 10, &vec![7; 16_777_204]));
    assert_eq!(unread(&mut stage, "2-5"), b"");
    stage.send(5, message(0x0500_0007, 0x0200_0030, 2, 10, &vec![7; 16_777_203]));
    let written = unread(&mut stage, "2-5");
    assert_eq!((&written[..4], written.len()), (&b"\x00\xff\xff\xff"[..], 16_777_219));
    let told = &stage.machine(5).delivered[0];
    assert!(matches!(told.body, Body::Failure(CallError::TooLarge)) && told.session.bits() == 1);

    stage.write("2-5", b"\x01\x00\x00\x00");
    assert!(stage.scripts["2-5"].is_closed, "closed as soon as the length is read");
}

#[test]
fn trap_14_a_session_with_its_top_bit_set_is_kept_and_answered_as_it_is() {
    let mut stage = linked();
    stage.write("2-5", b"\0\0\0\x0c\x02\0\0\x10\x0a\0\0\x07\x80\0\0\x01");
    assert_eq!(stage.machine(5).delivered[0].session.bits(), 0x8000_0001);
    assert_eq!(unread(&mut stage, "2-5"), b"", "delivered: that is no error");
    stage.send(5, message(0x0500_0007, 0x0200_0010, 0x8000_0001, 1, b"answer"));
    let (answer, _) = Message::read(&unread(&mut stage, "2-5"), 2).unwrap();
    assert_eq!(answer.session, 0x8000_0001);
}

#[test]
fn trap_15_size_0_breaks_the_control_link_and_nothing_else() {
    let mut stage = linked();
    stage.write("control", &[0]);
    assert!(stage.scripts["control"].is_closed);
    assert!(stage.machine(5).events.iter().any(|event| matches!(event, Event::MasterDown(_))));
    stage.send(5, message(0x0500_0007, 0x0200_0030, 0, 0, b"x"));
    assert!(!unread(&mut stage, "2-5").is_empty(), "links live on");
}
