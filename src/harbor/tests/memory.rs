//! Bytes that wait here have a bound for the whole node.

use super::kin::{kin_frame, met};
use super::*;
use crate::limits::{FRAME_PACE_BYTES, FRAME_PACE_TIME, HEARTBEAT_DEADLINE, HEARTBEAT_TIME, PAUSE_TIME_MAX};

#[test]
fn messages_for_absent_peers_share_one_budget() {
    let (mut bench, control) = Bench::member();
    let cost = 2 + size_of::<(Instant, Envelope)>();
    bench.harbor.desk.bounds.held_bytes_all_max = 3 * cost;
    for (session, peer) in [(1, 2), (2, 3), (3, 4), (4, 2), (5, 9)] {
        bench.send(session, peer << 24 | 8);
    }
    assert_eq!(bench.take(), "4 to :05000008: Full, 5 to :05000008: Full");
    // What is held no more makes room, however it ends: its link comes up, it expires, its node is dead.
    let link = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &[2]));
    bench.send(6, 0x0900_0008);
    assert_eq!(bench.take(), "Up((2))");
    bench.packet(control, &Packet::Dead { id: HarborId::new(3) });
    bench.send(7, 0x0800_0008);
    assert!(!bench.take().contains("Full"));
    bench.after(bench.harbor.desk.bounds.held_time_max);
    assert_eq!(bench.harbor.desk.held_bytes, 0);
    assert!(bench.harbor.balances());
}

// Large frames.

const LARGE: usize = 1 << 20;

/// A message of `len` bytes to service 8, as node `from` writes it.
fn frame(from: u8, len: usize) -> Vec<u8> {
    let mut frame = (len as u32 + 12).to_be_bytes().to_vec();
    frame.resize(4 + len, from);
    frame.extend_from_slice(&[from, 0, 0, 9, Kind::TEXT.0, 0, 0, 8, 0, 0, 0, 0]);
    frame
}

/// A member with memory for two large frames, and links from these nodes.
fn tight(peers: &[u8]) -> (Bench, Vec<ConnId>) {
    let mut settings = Settings::new(HarborId::new(5));
    settings.bounds.inbound_bytes_max = 2 * LARGE;
    let (mut bench, _) = Bench::member_as(settings);
    let links = peers.iter().map(|peer| {
        let link = bench.accept(Listener::Links);
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &[*peer]));
        bench.read(link);
        link
    });
    let links = links.collect();
    bench.take();
    (bench, links)
}

fn begins(bench: &mut Bench, link: ConnId, bytes: &[u8]) {
    bench.input(|harbor, now| harbor.handle_bytes(now, link, bytes));
}

#[test]
fn a_large_frame_waits_for_memory_in_its_turn() {
    let (mut bench, links) = tight(&[1, 2, 3, 4]);
    let frames: Vec<Vec<u8>> = (1..=4).map(|peer| frame(peer, LARGE)).collect();
    for (link, frame) in links.iter().zip(&frames) {
        begins(&mut bench, *link, &frame[..70_000]);
    }
    let say = |what: &str, link: ConnId| format!("{what} {{ conn: ConnId({}) }}", link.number());
    assert_eq!(bench.take(), format!("{}, {}", say("Pause", links[2]), say("Pause", links[3])));
    assert!(bench.harbor.is_short_of_memory());
    assert_eq!(bench.harbor.desk.inbound.bytes(), 2 * LARGE);
    // Small frames of others go on; what was on its way when the pause was said is kept.
    begins(&mut bench, links[2], &frames[2][70_000..80_000]);
    begins(&mut bench, links[1], &frames[1][70_000..]);
    assert_eq!(bench.take(), format!("0 to :05000008: TEXT, {}", say("Resume", links[2])));
    begins(&mut bench, links[2], &frames[2][80_000..]);
    assert_eq!(bench.take(), format!("0 to :05000008: TEXT, {}", say("Resume", links[3])));
    // A link that is lost gives back what it has.
    bench.input(|harbor, now| harbor.handle_closed(now, links[0]));
    begins(&mut bench, links[3], &frames[3][70_000..]);
    assert_eq!(bench.take(), "Down((1), Closed), 0 to :05000008: TEXT");
    assert_eq!((bench.harbor.desk.inbound.bytes(), bench.harbor.is_short_of_memory()), (0, false));
    assert_eq!(bench.harbor.intake().delivered, 3);
}

#[test]
fn the_largest_frames_of_all_nodes_at_once_stay_within_the_budget() {
    let peers: Vec<u8> = (1..=255).filter(|peer| *peer != 5).collect();
    let (mut bench, links) = tight(&peers);
    for link in &links {
        begins(&mut bench, *link, b"\0\xff\xff\xff");
        begins(&mut bench, *link, &[0; 1000]);
        assert!(bench.harbor.desk.inbound.bytes() <= crate::limits::PAYLOAD_BYTES_MAX);
    }
    // Nobody sends any more: those that hold memory go, one after the other, then those that waited too long.
    for _ in 0..10 {
        bench.after(PAUSE_TIME_MAX);
    }
    assert!(links.iter().all(|link| !bench.harbor.is_open(*link)));
    assert_eq!((bench.harbor.desk.inbound.bytes(), bench.harbor.is_short_of_memory()), (0, false));
}

#[test]
fn a_frame_that_comes_slowly_makes_room_for_those_who_wait() {
    let (mut bench, links) = tight(&[1, 2]);
    let large = frame(1, 2 * LARGE);
    begins(&mut bench, links[0], &large[..1000]);
    let rest = large[1000..].chunks(FRAME_PACE_BYTES / 10);
    bench.after(10 * FRAME_PACE_TIME);
    assert_eq!(bench.take(), "", "nobody waits: it has time");
    begins(&mut bench, links[1], &frame(2, LARGE)[..1000]);
    bench.take();
    for bytes in rest.take(2) {
        begins(&mut bench, links[0], bytes);
        bench.after(FRAME_PACE_TIME / 2);
    }
    bench.after(FRAME_PACE_TIME / 4);
    let told = bench.take();
    assert!(told.contains("SlowFrame") && told.contains("Down((1), Fault)"), "{told}");
    assert!(told.ends_with(&format!("Resume {{ conn: ConnId({}) }}", links[1].number())), "{told}");
}

#[test]
fn a_link_that_is_not_read_for_too_long_is_given_up() {
    let (mut bench, links) = tight(&[1, 2]);
    begins(&mut bench, links[0], &frame(1, 16 * LARGE - 100)[..1000]);
    begins(&mut bench, links[1], &frame(2, LARGE)[..1000]);
    bench.take();
    for _ in 0..3 {
        // The first one keeps its pace.
        bench.after(PAUSE_TIME_MAX / 4);
        begins(&mut bench, links[0], &vec![0; FRAME_PACE_BYTES]);
    }
    assert_eq!(bench.take(), "");
    bench.after(PAUSE_TIME_MAX / 4);
    assert_eq!(bench.take(), "close, Down((2), Crowded)");
    assert!(!bench.harbor.is_short_of_memory());
}

#[test]
fn a_node_of_our_kind_hears_that_it_is_not_read_and_is_not_taken_for_dead() {
    let (mut bench, link) = met();
    bench.harbor.desk.inbound = super::super::inbound::Inbound::new(LARGE);
    let other = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, other, &[3]));
    begins(&mut bench, other, &frame(3, LARGE)[..1000]);
    begins(&mut bench, link, &frame(2, LARGE)[..1000]);
    assert!(bench.read(link).starts_with(b"\0\0\0\x12\x2cPAUSE"));
    bench.take();
    bench.after(HEARTBEAT_DEADLINE + HEARTBEAT_TIME - Duration::from_nanos(1));
    assert!(bench.read(link).is_empty(), "it is not asked");
    let Some(Action::Event(Event::PeerFault { .. })) = bench.harbor.poll_action() else {
        // The other link was too slow meanwhile.
        assert!(bench.take().contains("SlowFrame"));
        return;
    };
}

#[test]
fn a_node_of_our_kind_that_cannot_read_is_not_asked_and_its_bytes_may_stand_still() {
    let (mut bench, link) = met();
    begins(&mut bench, link, &kin_frame(b"\x2cPAUSE"));
    bench.send(0, 0x0200_0008);
    bench.after(PAUSE_TIME_MAX + HEARTBEAT_DEADLINE - Duration::from_nanos(1));
    assert_eq!(bench.take(), "");
    assert_eq!(bench.read(link).len(), 18, "the message alone");
    begins(&mut bench, link, &kin_frame(b"\x34RESUME"));
    bench.after(HEARTBEAT_TIME * 2);
    assert!(bench.read(link)[4..].starts_with(b"\x24PING"));
    // Whoever never reads again is lost as any other.
    begins(&mut bench, link, &kin_frame(b"\x2cPAUSE"));
    bench.after(PAUSE_TIME_MAX + 2 * HEARTBEAT_DEADLINE);
    assert!(bench.take().is_empty() && !bench.read(link).is_empty());
    bench.after(HEARTBEAT_DEADLINE);
    assert_eq!(bench.take(), "close, Down((2), Silent)");
}
