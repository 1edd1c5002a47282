//! What nodes of our kind say to each other.

use super::*;
use crate::wire::Trailing;

/// A frame between the reserved ids of node 2 and node 5, as node 2 writes it.
pub(super) fn kin_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32 + 12).to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&[2, 0, 0, 7, Kind::LUA.0, 0, 0, 7, 0, 0, 0, 0]);
    frame
}

fn hello(incarnation: u8) -> Vec<u8> {
    kin_frame(&[&b"\x2cHELLO\x0a"[..], &[incarnation], b"\x0a\x01"].concat())
}

/// Node 5, which looks for its kind, with a link from node 2, of which it knows nothing.
fn linked_as_kin() -> (Bench, ConnId, ConnId) {
    let hello = Some(Hello { incarnation: 1, capabilities: Hello::PULSE });
    let (mut bench, control, link) = Bench::linked_as(Settings { hello, ..Settings::new(HarborId::new(5)) });
    bench.read(control);
    (bench, control, link)
}

/// The same; both have said hello, and node 2 answers to PING.
pub(super) fn met() -> (Bench, ConnId) {
    let (mut bench, control, link) = linked_as_kin();
    for id in [5, 2] {
        bench.packet(control, &named(&format!("~sky.{id}"), id << 24 | 7));
    }
    assert!(bench.read(link).starts_with(b"\0\0\0\x16\x2cHELLO"));
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &hello(9)));
    bench.take();
    (bench, link)
}

const MET: &str = "Kin { peer: (2), hello: Hello { incarnation: 9, capabilities: 1 } }";

#[test]
fn one_hello_of_a_link_counts() {
    let (mut bench, _, link) = linked_as_kin();
    for _ in 0..4 {
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &hello(9)));
    }
    assert_eq!(bench.take(), MET, "a repeated one makes no event");
    let answers = bench.read(link);
    assert!(answers.starts_with(b"\0\0\0\x16\x2cHELLO"), "ours, though no master told us of it");
    assert_eq!(answers.len(), 4 + 0x16, "once");
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &hello(8)));
    let conn = link.number();
    let fault = format!("PeerFault {{ conn: ConnId({conn}), peer: Some((2)), fault: OtherHello }}");
    assert_eq!(bench.take(), format!("{fault}, close, Down((2), Fault)"));
    assert_eq!(bench.harbor.kin(PEER_2), None);
}

#[test]
fn what_a_node_says_of_itself_stands_against_the_word_of_a_master() {
    let own = Hello { incarnation: 1, capabilities: Hello::PULSE };
    let mut bench = Bench::slave_as(Settings { hello: Some(own), ..Settings::new(HarborId::new(5)) });
    let control = bench.connect("master");
    let kin = |id: u32| named(&format!("~sky.{id}"), id << 24 | 7);
    let told = |bench: &mut Bench, packets: Vec<Packet>, hello: Hello| {
        let mut bytes = Vec::new();
        for packet in packets {
            Trailing::Hello(hello).encode(&packet, &mut bytes).expect("it fits");
        }
        bench.input(|harbor, now| harbor.handle_bytes(now, control, &bytes));
    };
    told(&mut bench, vec![Packet::Wait { n: 0 }, kin(5), kin(2)], own);
    let link = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &[2]));
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &hello(9)));
    let said = bench.harbor.kin(PEER_2);
    assert_eq!(said, Some(Hello { incarnation: 9, ..own }));
    told(&mut bench, vec![kin(2)], Hello { incarnation: 8, ..own });
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &hello(9)));
    assert_eq!((bench.harbor.kin(PEER_2), bench.harbor.is_open(link)), (said, true));
}

#[test]
fn who_said_no_hello_is_not_answered() {
    let (mut bench, _, link) = linked_as_kin();
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &kin_frame(b"\x24PING\x0a\x01")));
    assert_eq!((bench.read(link), bench.take()), (Vec::new(), String::new()));
}

#[test]
fn a_hello_on_a_link_that_breaks_behind_it_is_not_heard() {
    let (mut bench, _, link) = linked_as_kin();
    let broken = [&hello(9)[..], &[0, 0, 0, 1]].concat();
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &broken));
    assert!(bench.take().ends_with("Down((2), Fault)"), "nothing of the link comes behind its loss");
    assert_eq!(bench.harbor.kin(PEER_2), None);
}

#[test]
fn a_word_that_is_too_long_or_unknown_is_for_nobody() {
    let (mut bench, link) = met();
    let long = [&b"\x24PING\x0a\x01"[..], &[0; 300]].concat();
    for payload in [&long[..], b"\x34FUTURE\x0a\x01", b"\x24PING", b"", b"\xff"] {
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &kin_frame(payload)));
        assert!(bench.read(link).is_empty(), "{payload:?}");
    }
    assert_eq!(bench.take(), "");
}

/// The master says that node 2 begins this life.
fn begins(bench: &mut Bench, control: ConnId, incarnation: u64) {
    let mut bytes = Vec::new();
    let packet = Packet::Connect { id: PEER_2, address: "peer".to_owned() };
    let about = Trailing::Hello(Hello { incarnation, capabilities: Hello::PULSE });
    about.encode(&packet, &mut bytes).expect("it fits");
    bench.input(|harbor, now| harbor.handle_bytes(now, control, &bytes));
}

/// Node 5 under a master of its kind, with a link from node 2 that has said nothing.
fn linked_under_kin() -> (Bench, ConnId, ConnId) {
    let own = Hello { incarnation: 1, capabilities: Hello::PULSE };
    let mut bench = Bench::slave_as(Settings { hello: Some(own), ..Settings::new(HarborId::new(5)) });
    let control = bench.connect("master");
    let mut bytes = Vec::new();
    Trailing::Hello(own).encode(&Packet::Wait { n: 0 }, &mut bytes).expect("it fits");
    bench.input(|harbor, now| harbor.handle_bytes(now, control, &bytes));
    let link = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &[2]));
    bench.read(link);
    bench.take();
    (bench, control, link)
}

#[test]
fn a_link_that_named_its_life_ends_when_a_later_one_begins() {
    let (mut bench, control, link) = linked_under_kin();
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &hello(9)));
    assert_eq!(bench.take(), MET);
    begins(&mut bench, control, 9);
    assert!(bench.harbor.is_open(link), "it is the same life");
    bench.take();
    bench.send(1, 0x0200_0008);
    bench.read(link);
    begins(&mut bench, control, 10);
    let failed = "1 to :05000008: OutcomeUnknown((2))";
    assert_eq!(bench.take(), format!("close, {failed}, Down((2), Superseded), dial peer"));
}

#[test]
fn a_link_that_has_said_nothing_says_to_which_life_it_is() {
    let (mut bench, control, link) = linked_under_kin();
    begins(&mut bench, control, 9);
    assert!(bench.harbor.is_open(link), "who dials again may meet a life before the master tells of it");
    bench.take();
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &hello(9)));
    assert_eq!(bench.take(), MET);
    bench.after(bench.harbor.desk.bounds.heartbeat / 2);
    assert!(bench.harbor.is_open(link));

    let (mut bench, control, link) = linked_under_kin();
    begins(&mut bench, control, 10);
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &hello(9)));
    assert!(bench.take().ends_with("close, Down((2), Superseded)"));
    assert_eq!(bench.harbor.kin(PEER_2), None);
    bench.after(bench.harbor.desk.bounds.redial_time_max);
    assert!(bench.dialled.contains_key("peer"));
}

#[test]
fn a_link_that_never_says_anything_ends_if_it_is_to_our_kind() {
    for is_kin in [true, false] {
        let (mut bench, control, link) = linked_under_kin();
        if is_kin {
            for id in [5, 2] {
                bench.packet(control, &named(&format!("~sky.{id}"), id << 24 | 7));
            }
            bench.read(link);
        }
        begins(&mut bench, control, 10);
        bench.read(link);
        bench.after(bench.harbor.desk.bounds.heartbeat_deadline);
        assert_eq!(bench.take().contains("close, Down((2), Superseded)"), is_kin, "a real node says nothing");
        assert_eq!(bench.harbor.is_open(link), !is_kin);
    }
}

#[test]
fn a_link_that_is_not_read_need_not_say_to_which_life_it_is() {
    let (mut bench, control, link) = linked_under_kin();
    for id in [5, 2] {
        bench.packet(control, &named(&format!("~sky.{id}"), id << 24 | 7));
    }
    bench.harbor.note_mailboxes(usize::MAX / 2);
    bench.input(|harbor, now| assert_eq!(harbor.room(now, link), 0));
    begins(&mut bench, control, 10);
    bench.read(link);
    bench.take();
    let deadline = bench.harbor.desk.bounds.heartbeat_deadline;
    bench.after(deadline);
    assert!(bench.harbor.is_open(link), "its hello may lie in the system: {}", bench.take());
    bench.harbor.note_mailboxes(0);
    bench.after(crate::limits::MEMORY_LOOK_TIME);
    assert!(bench.take().contains("Resume"));
    bench.after(deadline);
    assert!(bench.take().ends_with("close, Down((2), Superseded)"), "it had its time");
}
