//! Bytes that wait here have a bound for the whole node.

use super::kin::{kin_frame, met};
use super::*;
use crate::limits::{
    CHUNK_BYTES, FRAME_PACE_BYTES, FRAME_PACE_TIME, FRAME_STEP_BYTES, HEARTBEAT_DEADLINE, HEARTBEAT_TIME,
    MEMORY_LOOK_TIME, PAUSE_TIME_MAX,
};

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
    settings.bounds.inbound_bytes_max = 4 * LARGE;
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
    assert_eq!(bench.harbor.memory().reading, 2 * LARGE);
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
    assert_eq!((bench.harbor.memory().reading, bench.harbor.is_short_of_memory()), (0, false));
    assert_eq!(bench.harbor.intake().delivered, 3);
}

#[test]
fn the_largest_frames_of_all_nodes_at_once_stay_within_the_budget() {
    let peers: Vec<u8> = (1..=255).filter(|peer| *peer != 5).collect();
    let (mut bench, links) = tight(&peers);
    for link in &links {
        begins(&mut bench, *link, b"\0\xff\xff\xff");
        begins(&mut bench, *link, &[0; 1000]);
        assert!(bench.harbor.memory().reading <= crate::limits::PAYLOAD_BYTES_MAX);
    }
    // Nobody sends any more: those that hold memory go, one after the other, then those that waited too long.
    for _ in 0..10 {
        bench.after(PAUSE_TIME_MAX);
    }
    // Nobody waits any more: the last one that got memory has time.
    let open: Vec<_> = links.iter().filter(|link| bench.harbor.is_open(**link)).collect();
    assert_eq!((open.len(), bench.harbor.memory().reading), (1, crate::limits::PAYLOAD_BYTES_MAX));
    assert_eq!((bench.harbor.is_short_of_memory(), bench.harbor.memory().crowded), (false, 252));
    bench.input(|harbor, now| harbor.handle_closed(now, *open[0]));
    assert_eq!(bench.harbor.memory().reading, 0);
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
    bench.harbor.note_mailboxes(usize::MAX / 2);
    bench.input(|harbor, now| assert_eq!(harbor.room(now, link), 0));
    assert!(bench.read(link).starts_with(b"\0\0\0\x12\x2cPAUSE"));
    assert_eq!(bench.take(), format!("Pause {{ conn: ConnId({}) }}", link.number()));
    bench.after(PAUSE_TIME_MAX - HEARTBEAT_TIME);
    assert_eq!((bench.take(), bench.read(link)), (String::new(), Vec::new()), "it is not asked");
    bench.harbor.note_mailboxes(0);
    bench.after(MEMORY_LOOK_TIME);
    assert_eq!(bench.take(), format!("Resume {{ conn: ConnId({}) }}", link.number()));
    assert!(bench.read(link).starts_with(b"\0\0\0\x13\x34RESUME"));
    // From here its silence means something again.
    bench.after(HEARTBEAT_TIME * 2);
    assert!(bench.read(link)[4..].starts_with(b"\x24PING"));
    bench.after(HEARTBEAT_DEADLINE);
    assert_eq!(bench.take(), "close, Down((2), Silent)");
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

#[test]
fn nothing_is_read_while_mailboxes_are_full_and_links_are_read_in_turn_after_that() {
    let (mut bench, links) = tight(&[1, 2]);
    let say = |what: &str, link: ConnId| format!("{what} {{ conn: ConnId({}) }}", link.number());
    let room = |bench: &mut Bench, link: ConnId| {
        let mut room = 0;
        bench.input(|harbor, now| room = harbor.room(now, link));
        room
    };
    // A frame that has its memory is read to its end whatever is in mailboxes.
    begins(&mut bench, links[0], &frame(1, LARGE)[..1000]);
    bench.harbor.note_mailboxes(2 * LARGE);
    assert!(bench.harbor.is_short_of_memory());
    assert_eq!((room(&mut bench, links[0]), room(&mut bench, links[1])), (FRAME_STEP_BYTES, 0));
    assert_eq!(bench.take(), say("Pause", links[1]));
    begins(&mut bench, links[0], &frame(1, LARGE)[1000..]);
    assert_eq!(bench.take(), "0 to :05000008: TEXT");
    assert_eq!(room(&mut bench, links[0]), 0);
    assert_eq!(bench.take(), say("Pause", links[0]));
    bench.after(PAUSE_TIME_MAX / 4);
    assert_eq!(bench.take(), "");
    bench.harbor.note_mailboxes(2 * LARGE - 1);
    bench.after(MEMORY_LOOK_TIME);
    assert_eq!(bench.take(), say("Resume", links[1]), "there is room for one");
    bench.after(MEMORY_LOOK_TIME);
    assert_eq!(bench.take(), say("Resume", links[0]));
    let memory = bench.harbor.memory();
    assert_eq!((memory.waiting, memory.pauses, memory.mailboxes), (0, 2, 2 * LARGE - 1));
}

#[test]
fn compressed_messages_are_inflated_only_while_there_is_room_for_them() {
    const MESSAGES: usize = 40;
    let hello = Some(Hello { incarnation: 1, capabilities: Hello::READS_COMPRESSED });
    let mut settings = Settings { hello, ..Settings::new(HarborId::new(5)) };
    settings.bounds.inbound_bytes_max = 4 * LARGE;
    let (mut bench, _, link) = Bench::linked_as(settings);
    let mut bytes = Vec::new();
    for session in 1..=MESSAGES as u32 {
        let (source, dest) = (Handle::from_bits(0x0200_0009), Handle::from_bits(0x0500_0008));
        let body = Body::Bytes(Payload::from_vec(vec![7; LARGE / 4]));
        let message = Envelope { source, dest, session: Session::from_bits(session), kind: Kind::LUA, body };
        let frame = crate::wire::compress(message, PEER_2);
        let payload = frame.body.bytes().expect("a block");
        bytes.extend_from_slice(&(payload.len() as u32 + 12).to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&[2, 0, 0, 7, 255, 0, 0, 7, 0, 0, 0, 0]);
    }
    assert!(bytes.len() < crate::limits::READ_BYTES, "one read brings them all");
    begins(&mut bench, link, &bytes);
    let mut told = Vec::new();
    for _ in 0..=MESSAGES / 8 {
        let some = bench.take();
        let delivered = some.matches(" to ").count();
        assert!(delivered <= 8, "{delivered} messages of {} bytes in one go", LARGE / 4);
        told.extend(some.split(", ").filter_map(|words| words.split_once(" to ")?.0.parse::<usize>().ok()));
        // As long as they lie in mailboxes, nothing more comes.
        bench.harbor.note_mailboxes(2 * LARGE);
        bench.after(PAUSE_TIME_MAX / 4);
        assert_eq!(bench.take(), "");
        bench.harbor.note_mailboxes(0);
        bench.after(MEMORY_LOOK_TIME);
    }
    assert!(told.into_iter().eq(1..=MESSAGES), "all of them, in order");
}

#[test]
fn a_peer_that_does_not_read_leaves_others_their_room() {
    let mut settings = Settings::new(HarborId::new(5));
    settings.bounds.unsent_bytes_all_max = 3 * LARGE;
    let (mut bench, _, link) = Bench::linked_as(settings);
    let other = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, other, &[3]));
    bench.read(other);
    let send = |bench: &mut Bench, dest: u32, len: usize| {
        let body = Body::Bytes(Payload::from_vec(vec![7; len]));
        let envelope = Envelope { body, kind: Kind::TEXT, ..message(0, dest) };
        bench.input(|harbor, now| harbor.handle_send(now, envelope));
    };
    for _ in 0..100 {
        send(&mut bench, 0x0200_0009, LARGE / 10);
    }
    let failed = |bench: &Bench, peer| bench.harbor.account(peer).failed(Failure::Full);
    let (taken, refused) = (bench.harbor.memory().unsent, failed(&bench, PEER_2));
    assert!((3 * LARGE / 2..3 * LARGE / 2 + LARGE / 5).contains(&taken), "a half: {taken}");
    assert_eq!(refused, 85);
    for _ in 0..7 {
        send(&mut bench, 0x0300_0009, LARGE / 10);
    }
    assert_eq!(failed(&bench, HarborId::new(3)), 0, "a half of what is left is for the next");
    // What is written, and what is lost with its link, is not counted any more.
    bench.read(other);
    assert_eq!(bench.harbor.memory().unsent, taken);
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    assert_eq!(bench.harbor.memory().unsent, 0);
    assert!(bench.harbor.balances());
}

#[test]
fn a_peer_that_does_not_read_silences_this_node_towards_nobody() {
    let (mut bench, link) = met();
    let other = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, other, &[3]));
    bench.read(other);
    bench.take();
    bench.harbor.desk.bounds.unsent_bytes_all_max = LARGE;
    let body = Body::Bytes(Payload::from_vec(vec![7; 2 * LARGE]));
    let large = Envelope { body, kind: Kind::TEXT, ..message(0, 0x0300_0009) };
    bench.input(|harbor, now| harbor.handle_send(now, large));
    assert!(bench.harbor.memory().unsent > LARGE, "there is no room for anything else");
    begins(&mut bench, link, &kin_frame(b"\x24PING\x0a\x07"));
    assert!(bench.read(link)[4..].starts_with(b"\x24PONG\x0a\x07"), "who asks does not take us for dead");
    bench.harbor.note_mailboxes(usize::MAX / 2);
    bench.input(|harbor, now| assert_eq!(harbor.room(now, link), 0));
    assert!(bench.read(link)[4..].starts_with(b"\x2cPAUSE"));
    bench.harbor.note_mailboxes(0);
    bench.after(MEMORY_LOOK_TIME);
    assert!(bench.read(link)[4..].starts_with(b"\x34RESUME"));
    // What it does not read is bounded all the same.
    for _ in 0..10_000 {
        begins(&mut bench, link, &kin_frame(b"\x24PING\x0a\x07"));
    }
    let unread = bench.read(link).len();
    assert!((CHUNK_BYTES..CHUNK_BYTES + 100).contains(&unread), "{unread}");
}

#[test]
fn a_link_that_is_paused_while_hello_is_said_is_not_taken_for_dead() {
    let hello = Some(Hello { incarnation: 9, capabilities: Hello::PULSE });
    let mut settings = Settings { hello, ..Settings::new(HarborId::new(5)) };
    settings.bounds.inbound_bytes_max = 4 * LARGE;
    let (mut bench, _, link) = Bench::linked_as(settings);
    let other = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, other, &[3]));
    begins(&mut bench, other, &frame(3, 4 * LARGE)[..1000]);
    bench.read(other);
    bench.take();
    // One read brings the peer's hello and the begin of a frame for which there is no memory.
    let hello = kin_frame(b"\x2cHELLO\x0a\x09\x0a\x01");
    begins(&mut bench, link, &[&hello, &frame(2, LARGE)[..1000]].concat());
    assert!(bench.take().contains("Pause"));
    let said = bench.read(link);
    let place = |word: &[u8]| said.windows(word.len()).position(|bytes| bytes == word);
    assert!(place(b"HELLO") < place(b"PAUSE") && place(b"HELLO").is_some(), "{}", said.escape_ascii());
    for _ in 0..3 {
        // The other one keeps its pace.
        bench.after(PAUSE_TIME_MAX / 4);
        begins(&mut bench, other, &vec![0; FRAME_PACE_BYTES]);
    }
    assert_eq!((bench.take(), bench.read(link)), (String::new(), Vec::new()), "it is not asked, nor lost");
    begins(&mut bench, other, &frame(3, 4 * LARGE)[1000 + 3 * FRAME_PACE_BYTES..]);
    bench.after(MEMORY_LOOK_TIME);
    assert!(bench.take().contains("Resume"));
    let said = bench.read(link);
    assert!(said[4..].starts_with(b"\x34RESUME"), "{}", said.escape_ascii());
}

#[test]
fn a_link_whose_turn_it_is_goes_on_with_what_was_read_whoever_waits() {
    const MESSAGES: usize = 200;
    let hello = Some(Hello { incarnation: 1, capabilities: Hello::READS_COMPRESSED });
    let (mut bench, _, first) = Bench::linked_as(Settings { hello, ..Settings::new(HarborId::new(5)) });
    let second = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, second, &[3]));
    bench.take();
    bench.harbor.note_mailboxes(usize::MAX / 2);
    for (link, peer) in [(first, 2), (second, 3)] {
        let mut bytes = Vec::new();
        for _ in 0..MESSAGES {
            let body = Body::Bytes(Payload::from_vec(vec![7; 4000]));
            let source = Handle::new(HarborId::new(peer), 9);
            let message = Envelope { source, body, kind: Kind::TEXT, ..message(0, 0x0500_0008) };
            let frame = crate::wire::compress(message, HarborId::new(peer));
            let payload = frame.body.bytes().expect("a block");
            bytes.extend_from_slice(&(payload.len() as u32 + 12).to_be_bytes());
            bytes.extend_from_slice(payload);
            bytes.extend_from_slice(&[peer, 0, 0, 7, 255, 0, 0, 7, 0, 0, 0, 0]);
        }
        begins(&mut bench, link, &bytes);
    }
    assert_eq!(bench.take().matches("Pause").count(), 2);
    bench.harbor.note_mailboxes(0);
    bench.after(MEMORY_LOOK_TIME);
    let told = bench.take();
    assert_eq!(told.matches("TEXT").count(), 2 * MESSAGES);
    assert_eq!((told.matches("Resume").count(), told.matches("Pause").count()), (2, 0), "one turn each");
}
