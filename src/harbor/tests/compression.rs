//! Payloads that leave compressed, and what a peer can do with such frames.

use super::*;
use crate::limits::COMPRESS_BYTES_MIN;
use crate::wire::{CompressionFault, FrameDecoder, Outbox, Trailing, compress, decompress, is_compressed};

const OWN: HarborId = HarborId::new(5);
/// As much as a payload must have to leave compressed.
const LARGE: usize = 2000;

/// Node 5, which compresses, with a link from node 2. `reads`: what it says to its kind.
fn linked(reads: bool) -> (Bench, ConnId) {
    let hello = Some(hello(reads));
    let (bench, _, link) = Bench::linked_as(Settings { hello, compress: Some(LARGE), ..Settings::new(OWN) });
    (bench, link)
}

fn hello(reads: bool) -> Hello {
    Hello { incarnation: 1, capabilities: if reads { Hello::READS_COMPRESSED } else { 4 } }
}

/// What node 2 writes.
fn written(messages: Vec<Envelope>) -> Vec<u8> {
    let mut outbox = Outbox::new();
    messages.into_iter().for_each(|message| outbox.push_frame(message).expect("a frame carries it"));
    let mut slices = crate::wire::Slices::new();
    outbox.slices(&mut slices);
    slices.iter().flat_map(|slice| slice.iter().copied()).collect()
}

/// What node 2 says of itself.
fn from_kin(reads: bool) -> Envelope {
    let payload = [&b"\x2cHELLO\x0a\x01\x0a"[..], &[hello(reads).capabilities as u8]].concat();
    let (source, dest) = (Handle::new(PEER_2, 7), Handle::new(OWN, 7));
    let body = Body::Bytes(Payload::from_vec(payload));
    Envelope { source, dest, session: Session::NONE, kind: Kind::LUA, body }
}

/// Node 2 says hello, and is answered with ours.
fn greets(bench: &mut Bench, link: ConnId, reads: bool) {
    assert!(bench.reads(link, vec![from_kin(reads)]).starts_with("Kin "));
    assert!(bench.read(link).starts_with(b"\0\0\0\x16\x2cHELLO"));
}

/// From a service of node 2 to one of node 5.
fn from_peer(session: u32, kind: Kind, len: usize) -> Envelope {
    let (source, dest) = (Handle::new(PEER_2, 9), Handle::new(OWN, 8));
    let body = Body::Bytes(Payload::from_vec(vec![7; len]));
    Envelope { source, dest, session: Session::from_bits(session), kind, body }
}

impl Bench {
    /// Sends a payload of so many equal bytes to node 2, and what went over the link for it.
    fn sends(&mut self, link: ConnId, session: u32, len: usize) -> Envelope {
        let body = Body::Bytes(Payload::from_vec(vec![7; len]));
        let envelope = Envelope { body, ..message(session, 0x0200_0009) };
        self.input(|harbor, now| harbor.handle_send(now, envelope));
        let bytes = self.read(link);
        let mut decoder = FrameDecoder::new(PEER_2);
        decoder.feed(&mut &bytes[..]).expect("frames").expect("one of them")
    }

    fn reads(&mut self, link: ConnId, messages: Vec<Envelope>) -> String {
        let bytes = written(messages);
        self.input(|harbor, now| harbor.handle_bytes(now, link, &bytes));
        self.take()
    }
}

#[test]
fn only_a_peer_that_said_on_this_link_that_it_reads_them_gets_compressed_messages() {
    let (mut bench, link) = linked(true);
    assert!(!is_compressed(&bench.sends(link, 1, LARGE), OWN), "nothing is known of it");
    greets(&mut bench, link, true);
    let carried = bench.sends(link, 2, LARGE);
    assert!(is_compressed(&carried, OWN));
    let inside = decompress(&carried).expect("it is ours");
    assert_eq!((inside.session.bits(), inside.dest), (2, Handle::from_bits(0x0200_0009)));
    assert_eq!(inside.body.bytes(), Some(&[7; LARGE][..]));
    assert!(!is_compressed(&bench.sends(link, 3, LARGE - 1), OWN), "it is smaller than was told");
    // The next link of that node.
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    let next = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, next, &[2]));
    bench.read(next);
    bench.take();
    assert!(!is_compressed(&bench.sends(next, 4, LARGE), OWN));
    greets(&mut bench, next, false);
    assert!(!is_compressed(&bench.sends(next, 5, LARGE), OWN), "it reads none");
}

#[test]
fn the_word_of_a_master_is_not_enough() {
    let own = Some(hello(true));
    let mut bench = Bench::slave_as(Settings { hello: own, compress: Some(LARGE), ..Settings::new(OWN) });
    let control = bench.connect("master");
    let kin = |id: u32| named(&format!("~sky.{id}"), id << 24 | 7);
    let mut bytes = Vec::new();
    for packet in [Packet::Wait { n: 0 }, kin(5), kin(2)] {
        Trailing::Hello(hello(true)).encode(&packet, &mut bytes).expect("it fits");
    }
    bench.input(|harbor, now| harbor.handle_bytes(now, control, &bytes));
    let link = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &[2]));
    assert!(bench.read(link).starts_with(b"\x05\0\0\0"), "a hello goes out");
    assert_eq!(bench.harbor.kin(PEER_2), None, "and none came");
    assert!(!is_compressed(&bench.sends(link, 1, LARGE), OWN));
    bench.take();
    bench.reads(link, vec![from_kin(true)]);
    assert!(is_compressed(&bench.sends(link, 2, LARGE), OWN));
}

#[test]
fn a_node_that_was_not_told_to_compresses_nothing() {
    let hello = Some(hello(true));
    let (mut bench, _, link) = Bench::linked_as(Settings { hello, ..Settings::new(OWN) });
    greets(&mut bench, link, true);
    assert!(!is_compressed(&bench.sends(link, 1, 1 << 20), OWN));
}

#[test]
fn calls_that_leave_and_answers_that_come_compressed_are_calls_and_answers() {
    let (mut bench, link) = linked(true);
    greets(&mut bench, link, true);
    for session in 1..=3 {
        bench.sends(link, session, LARGE);
    }
    assert_eq!(bench.harbor.pending_calls(PEER_2), 3);
    let answer = |session, kind| compress(from_peer(session, kind, COMPRESS_BYTES_MIN), PEER_2);
    let answers = vec![answer(1, Kind::RESPONSE), answer(2, Kind::ERROR), answer(1, Kind::RESPONSE)];
    assert_eq!(bench.reads(link, answers), "1 to :05000008: RESPONSE, 2 to :05000008: ERROR");
    assert_eq!((bench.harbor.pending_calls(PEER_2), bench.harbor.intake().stray), (1, 1));
    let account = bench.harbor.account(PEER_2);
    // Our hello, and two of the three calls.
    assert_eq!((account.accepted, account.delivered, account.in_flight), (1 + 3, 1 + 2, 1));
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    assert!(bench.take().starts_with("3 to :05000008: OutcomeUnknown((2)), Down"));
}

#[test]
fn messages_keep_their_order_and_their_rules() {
    let (mut bench, link) = linked(true);
    let packed = |session, kind| compress(from_peer(session, kind, LARGE), PEER_2);
    let plain = |session| from_peer(session, Kind::LUA, LARGE);
    let messages = vec![
        plain(1),
        packed(2, Kind::LUA),
        forged(Kind::SYSTEM),
        plain(4),
        packed(5, Kind::TEXT),
        packed(0, Kind::ERROR),
        packed(6, Kind::DEBUG),
    ];
    let words = "1 to :05000008: LUA, 2 to :05000008: LUA, 4 to :05000008: LUA, 5 to :05000008: TEXT, \
                 0 to :05000008: ERROR, 6 to :05000008: DEBUG";
    assert_eq!(bench.reads(link, messages), words);
    let intake = bench.harbor.intake();
    assert_eq!((intake.frames, intake.delivered, intake.dropped, intake.debug), (7, 6, 1, 1));
}

/// A compressed message of a kind that may not leave.
fn forged(kind: Kind) -> Envelope {
    let mut carried = compress(from_peer(3, Kind::LUA, LARGE), PEER_2);
    let mut bytes = carried.body.bytes().expect("bytes").to_vec();
    bytes[4] = kind.0;
    carried.body = Body::Bytes(Payload::from_vec(bytes));
    carried
}

#[test]
fn malformed_compressed_messages_close_the_link() {
    let carried = || compress(from_peer(1, Kind::LUA, LARGE), PEER_2);
    let with = |change: fn(&mut Vec<u8>)| {
        let mut frame = carried();
        let mut bytes = frame.body.bytes().expect("bytes").to_vec();
        change(&mut bytes);
        frame.body = Body::Bytes(Payload::from_vec(bytes));
        frame
    };
    let (length, block) = (LARGE as u32, carried().body.bytes().expect("bytes").len() - 16);
    for (reads, frame, fault) in [
        (true, with(|bytes| bytes.truncate(15)), CompressionFault::TooShort { bytes: 15 }),
        (true, with(|bytes| bytes[12] = 1), CompressionFault::TooLong { length: 1 << 24 | length, block }),
        (true, with(|bytes| bytes[15] ^= 1), CompressionFault::BadBlock { length: length ^ 1 }),
        (true, with(|bytes| bytes.truncate(22)), CompressionFault::TooLong { length, block: 6 }),
        (true, with(|bytes| bytes.truncate(24)), CompressionFault::BadBlock { length }),
        (true, with(|bytes| bytes[7] = 7), CompressionFault::Nested),
        (false, carried(), CompressionFault::NotOffered),
    ] {
        let (mut bench, link) = linked(reads);
        let told = bench.reads(link, vec![from_peer(9, Kind::LUA, 1), frame, from_peer(10, Kind::LUA, 1)]);
        let conn = link.number();
        let fault =
            format!("PeerFault {{ conn: ConnId({conn}), peer: Some((2)), fault: Compression({fault:?}) }}");
        assert_eq!(told, format!("9 to :05000008: LUA, {fault}, close, Down((2), Fault)"));
    }
}

#[test]
fn who_says_no_hello_takes_such_frames_for_messages_to_nobody() {
    let (mut bench, _, link) = Bench::linked();
    let carried = compress(from_peer(1, Kind::LUA, LARGE), PEER_2);
    assert_eq!(bench.reads(link, vec![carried]), "0 to :05000007: Kind(255)");
}
