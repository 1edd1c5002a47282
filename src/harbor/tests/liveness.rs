//! Links whose peers are gone and have not said so.

use super::kin::{kin_frame, met};
use super::*;
use crate::limits::{HEARTBEAT_DEADLINE, HEARTBEAT_TIME, PROBE_TIME_MAX, STALL_STEPS, STALL_TIME_MAX};

const PING_1: &[u8] = b"\0\0\0\x13\x24PING\x0a\x01\x05\0\0\x07\x0a\0\0\x07\0\0\0\0";

fn pong(number: u8) -> Vec<u8> {
    kin_frame(&[&b"\x24PONG\x0a"[..], &[number]].concat())
}

#[test]
fn a_silent_node_of_our_kind_is_asked_and_then_lost() {
    let (mut bench, link) = met();
    bench.send(7, 0x0200_0008);
    bench.read(link);
    bench.after(HEARTBEAT_TIME);
    assert_eq!(bench.read(link), PING_1);
    bench.after(HEARTBEAT_DEADLINE - HEARTBEAT_TIME - Duration::from_nanos(1));
    assert_eq!((bench.take(), bench.read(link)), (String::new(), Vec::new()), "asked once");
    bench.after(Duration::from_nanos(1));
    assert_eq!(bench.take(), "close, 7 to :05000008: OutcomeUnknown((2)), Down((2), Silent)");
    assert!(!bench.harbor.is_open(link));
}

#[test]
fn an_answer_proves_what_was_sent_before_its_question() {
    let (mut bench, link) = met();
    bench.send(0, 0x0200_0008);
    bench.read(link);
    bench.after(HEARTBEAT_TIME);
    assert_eq!(bench.read(link), PING_1);
    bench.send(0, 0x0200_0008);
    bench.read(link);
    // Our hello, the message, the question; the last message came later.
    assert_eq!(bench.harbor.account(PEER_2).in_flight, 4);
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &pong(2)));
    assert_eq!(bench.harbor.account(PEER_2).in_flight, 4, "nobody asked that");
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &pong(1)));
    let account = bench.harbor.account(PEER_2);
    assert_eq!((account.delivered, account.in_flight), (3, 1));
    for _ in 0..100 {
        bench.after(HEARTBEAT_TIME);
        let number = bench.read(link)[10];
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &pong(number)));
    }
    assert_eq!(bench.take(), "", "who answers is not lost");
}

#[test]
fn a_question_is_answered_with_its_number() {
    let (mut bench, link) = met();
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &kin_frame(b"\x24PING\x12\x39\x30")));
    assert_eq!(bench.read(link), b"\0\0\0\x14\x24PONG\x12\x39\x30\x05\0\0\x07\x0a\0\0\x07\0\0\0\0");
}

#[test]
fn a_link_with_traffic_is_not_asked() {
    let (mut bench, link) = met();
    let message = b"\0\0\0\x0c\x02\0\0\x09\0\0\0\x08\0\0\0\0";
    for _ in 0..1000 {
        bench.after(HEARTBEAT_TIME / 10);
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &message[..5]));
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &message[5..]));
        assert_eq!(bench.read(link), b"");
    }
}

#[test]
fn a_question_that_waits_behind_others_gives_the_peer_its_time() {
    let (mut bench, link) = met();
    bench.send(0, 0x0200_0008);
    bench.after(HEARTBEAT_TIME * 9);
    assert!(bench.harbor.is_open(link), "nothing of it was written yet");
    assert!(bench.read(link).ends_with(&PING_1[4..]));
    bench.after(HEARTBEAT_DEADLINE);
    assert_eq!(bench.take(), "close, Down((2), Silent)");
}

#[test]
fn a_node_that_stood_still_itself_gives_the_others_their_time() {
    let (mut bench, link) = met();
    bench.after(HEARTBEAT_TIME);
    assert_eq!(bench.read(link), PING_1);
    // Nobody calls the machine for an hour.
    bench.now = bench.now + Duration::from_secs(3600);
    bench.input(|harbor, now| harbor.handle_timeout(now));
    assert!(bench.harbor.is_open(link));
    bench.after(HEARTBEAT_TIME);
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &pong(1)));
    bench.after(HEARTBEAT_TIME / 2);
    assert_eq!(bench.take(), "");
}

#[test]
fn real_nodes_and_those_that_cannot_answer_are_not_asked() {
    let (mut bench, _, link) = Bench::linked();
    bench.after(Duration::from_secs(3600));
    assert_eq!((bench.read(link), bench.take()), (Vec::new(), String::new()));
    // Its capabilities are none; it can, and nobody shall ask.
    for (hello, heartbeat) in
        [(&b"\x2cHELLO\x0a\x09\x02"[..], HEARTBEAT_TIME), (&b"\x2cHELLO\x0a\x09\x0a\x01"[..], Duration::ZERO)]
    {
        let (mut bench, link) = met();
        bench.harbor.desk.bounds.heartbeat = heartbeat;
        bench.input(|harbor, now| harbor.handle_closed(now, link));
        let link = bench.accept(Listener::Links);
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &[2]));
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &kin_frame(hello)));
        assert!(
            bench.harbor.kin(PEER_2).is_some() && bench.read(link).starts_with(b"\x05\0\0\0\x16\x2cHELLO")
        );
        bench.take();
        bench.after(Duration::from_secs(3600));
        assert_eq!((bench.read(link), bench.take()), (Vec::new(), String::new()), "{heartbeat:?}");
    }
}

// Bytes that do not move.

/// The peer reads so many bytes.
fn read_some(bench: &mut Bench, link: ConnId, bytes: usize) {
    bench.harbor.outbox(link).expect("it is open").advance(bytes);
    bench.input(|harbor, now| harbor.handle_sent(now, link));
}

#[test]
fn a_link_whose_bytes_stand_still_is_given_up() {
    let (mut bench, _, link) = Bench::linked();
    bench.send(7, 0x0200_0008);
    bench.after(STALL_TIME_MAX - Duration::from_nanos(1));
    assert_eq!(bench.take(), "");
    bench.after(Duration::from_nanos(1));
    assert_eq!(bench.take(), "close, 7 to :05000008: PeerDown((2)), Down((2), Stalled)");
    assert!(!bench.harbor.is_open(link));
}

#[test]
fn what_was_held_for_a_link_must_move_from_its_first_byte_on() {
    let (mut bench, _) = Bench::member();
    bench.send(7, 0x0200_0008);
    let link = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &[2]));
    assert_eq!(bench.take(), "Up((2))");
    // Our id byte and a part of the message that stands right behind it.
    read_some(&mut bench, link, 3);
    bench.after(STALL_TIME_MAX - Duration::from_nanos(1));
    assert_eq!(bench.take(), "");
    bench.after(Duration::from_nanos(1));
    assert_eq!(bench.take(), "close, 7 to :05000008: PeerDown((2)), Down((2), Stalled)");
}

#[test]
fn a_link_whose_bytes_move_is_not_given_up_however_slowly() {
    let (mut bench, _, link) = Bench::linked();
    bench.send(7, 0x0200_0008);
    for _ in 0..17 {
        bench.after(STALL_TIME_MAX - Duration::from_nanos(1));
        read_some(&mut bench, link, 1);
    }
    bench.read(link);
    bench.after(Duration::from_secs(3600));
    assert_eq!(bench.take(), "", "an empty outbox cannot stand still");
}

#[test]
fn bytes_that_this_machine_could_not_write_do_not_count() {
    let (mut bench, _, _) = Bench::linked();
    bench.send(7, 0x0200_0008);
    for _ in 1..STALL_STEPS {
        bench.now = bench.now + Duration::from_secs(3600);
        bench.input(|harbor, now| harbor.handle_timeout(now));
        assert_eq!(bench.take(), "", "nobody called it for an hour");
    }
    bench.after(STALL_TIME_MAX / STALL_STEPS);
    assert!(bench.take().ends_with("Down((2), Stalled)"));
}

#[test]
fn nothing_stalls_if_that_is_switched_off() {
    let settings = |bench: &mut Bench| bench.harbor.desk.bounds.stall_time_max = Duration::ZERO;
    let (mut bench, _, _) = Bench::linked();
    settings(&mut bench);
    bench.send(7, 0x0200_0008);
    bench.after(Duration::from_secs(3600));
    assert_eq!(bench.take(), "");
}

// An id whose old link nobody closed.

/// Somebody connects with the id of node 2, and is refused without a byte.
fn newcomer(bench: &mut Bench) {
    let other = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, other, &[2]));
    assert!(!bench.harbor.is_open(other) && bench.read(other).is_empty());
}

const REFUSED: &str = ", peer: None, fault: IdInUse((2)) }, close";

#[test]
fn a_newcomer_with_the_id_of_a_dead_node_of_our_kind_succeeds_at_its_next_try() {
    let (mut bench, link) = met();
    bench.after(Duration::from_nanos(1));
    newcomer(&mut bench);
    assert!(bench.take().ends_with(REFUSED));
    assert_eq!(bench.read(link), PING_1);
    newcomer(&mut bench);
    bench.take();
    bench.after(PROBE_TIME_MAX - Duration::from_nanos(1));
    assert_eq!((bench.take(), bench.read(link)), (String::new(), Vec::new()), "asked once");
    bench.after(Duration::from_nanos(1));
    assert_eq!(bench.take(), "close, Down((2), Silent)");
    let again = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, again, &[2]));
    assert_eq!(bench.take(), "Up((2))");
}

#[test]
fn a_newcomer_with_the_id_of_a_living_node_harms_nobody() {
    let (mut bench, link) = met();
    for number in 1..=50 {
        newcomer(&mut bench);
        assert_eq!(bench.read(link)[10], number);
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &pong(number)));
        bench.after(HEARTBEAT_TIME);
        bench.input(|harbor, now| harbor.handle_bytes(now, link, b"\0"));
        let rest = &b"\0\0\x0c\x02\0\0\x09\0\0\0\x08\0\0\0\0"[..];
        bench.input(|harbor, now| harbor.handle_bytes(now, link, rest));
    }
    assert!(bench.harbor.is_open(link));
}

#[test]
fn the_system_looks_for_a_real_node_when_a_newcomer_has_its_id() {
    let (mut bench, control, link) = Bench::linked();
    let probe = format!("Probe {{ conn: ConnId({}) }}", link.number());
    newcomer(&mut bench);
    assert!(bench.take().starts_with(&probe));
    newcomer(&mut bench);
    assert!(!bench.take().contains("Probe"), "not for each");
    bench.after(PROBE_TIME_MAX);
    let announced = Packet::Connect { id: PEER_2, address: "peer:2".to_owned() };
    bench.packet(control, &announced);
    assert_eq!(bench.take(), probe, "so does the master's word that it is new");
    // Its machine does not know the connection any more.
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    let again = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, again, &[2]));
    assert!(bench.take().ends_with("Up((2))"));
}
