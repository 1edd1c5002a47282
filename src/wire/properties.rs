//! Properties of everything that reads or writes bytes here.

use super::control::{self, ControlFault, Packet, Received};
use super::{FrameDecoder, FrameFault, Outbox, PacketName, Slices};
use super::{compress, decompress, is_compressed};
use crate::limits::{CONTROL_BYTES_MAX, COPY_BYTES_MAX, FRAME_STEP_BYTES};
use crate::message::{Body, Envelope, Handle, HarborId, Kind, Payload, Session};
use crate::seri::Value;
use proptest::prelude::*;

const OWN: HarborId = HarborId::new(2);

/// A message as plain values: source, low 24 bits of the destination, session, kind, payload.
type Plain = (u32, u32, u32, u8, Vec<u8>);

fn plain(envelope: &Envelope) -> Plain {
    assert_eq!(envelope.dest.harbor(), OWN);
    let payload = envelope.body.bytes().unwrap().to_vec();
    (envelope.source.bits(), envelope.dest.local(), envelope.session.bits(), envelope.kind.0, payload)
}

fn message((source, local, session, kind, payload): Plain) -> Envelope {
    Envelope {
        source: Handle::from_bits(source),
        dest: Handle::new(HarborId::new(9), local),
        session: Session::from_bits(session),
        kind: Kind(kind),
        body: Body::Bytes(Payload::from_vec(payload)),
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![4 => 0..100usize, 1 => COPY_BYTES_MAX - 2..COPY_BYTES_MAX + 3, 1 => 0..20_000usize];
    (len, any::<u8>()).prop_map(|(len, seed)| (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect())
}

fn messages() -> impl Strategy<Value = Vec<Plain>> {
    let kind = any::<u8>().prop_filter("leaves", |kind| Kind(*kind).may_leave());
    let message = (any::<u32>(), 0..=Handle::LOCAL_MAX, any::<u32>(), kind, payload());
    prop::collection::vec(message, 0..20)
}

/// Sizes of reads or writes, used again and again.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![1..20usize, 1..5_000usize, 1..200_000usize];
    // A large one among them keeps the number of turns small.
    prop::collection::vec(size, 1..20).prop_map(|sizes| [&sizes[..], &[4_000]].concat())
}

/// Pieces that come again and again, and noise between them.
fn patterned() -> impl Strategy<Value = Vec<u8>> {
    let piece = (prop::collection::vec(any::<u8>(), 1..200), 1..40usize);
    let pieces = prop::collection::vec(piece, 0..30);
    pieces.prop_map(|pieces| pieces.into_iter().flat_map(|(piece, times)| piece.repeat(times)).collect())
}

/// Everything that comes out of a decoder for these bytes in chunks of these sizes, and how it ended.
fn frames(mut bytes: &[u8], sizes: &[usize]) -> (Vec<Plain>, Option<FrameFault>) {
    let mut decoder = FrameDecoder::new(OWN);
    let mut all = Vec::new();
    let mut fed = 0;
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (mut chunk, rest) = bytes.split_at((*size).min(bytes.len()));
        bytes = rest;
        fed += chunk.len();
        loop {
            match decoder.feed(&mut chunk) {
                Ok(Some(envelope)) => all.push(plain(&envelope)),
                Ok(None) => break,
                Err(fault) => return (all, Some(fault)),
            }
        }
        assert!(chunk.is_empty());
        assert!(decoder.held_bytes() <= FRAME_STEP_BYTES.max(2 * fed));
    }
    (all, None)
}

fn packets(mut bytes: &[u8], sizes: &[usize]) -> (Vec<Received>, Option<ControlFault>) {
    let mut decoder = control::Decoder::new();
    let mut all = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (mut chunk, rest) = bytes.split_at((*size).min(bytes.len()));
        bytes = rest;
        loop {
            match decoder.feed(&mut chunk) {
                Ok(Some(received)) => all.push(received),
                Ok(None) => break,
                Err(fault) => return (all, Some(fault)),
            }
        }
    }
    (all, None)
}

fn packet() -> impl Strategy<Value = Packet> {
    let id = || (1..=255u8).prop_map(HarborId::new);
    let address = || "[ -~]{0,60}";
    let name = || prop::collection::vec(any::<u8>(), 0..80).prop_map(|name| PacketName::from(&name[..]));
    let handle = || any::<u32>().prop_map(Handle::from_bits);
    prop_oneof![
        (id(), address()).prop_map(|(id, address)| Packet::Hello { id, address }),
        (name(), handle()).prop_map(|(name, handle)| Packet::Register { name, handle }),
        name().prop_map(|name| Packet::Query { name }),
        any::<u8>().prop_map(|n| Packet::Wait { n }),
        (id(), address()).prop_map(|(id, address)| Packet::Connect { id, address }),
        (name(), handle()).prop_map(|(name, handle)| Packet::Name { name, handle }),
        id().prop_map(|id| Packet::Dead { id }),
    ]
}

fn extra() -> impl Strategy<Value = Vec<Value>> {
    let value = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::Float),
        "[a-z]{0,40}".prop_map(|text| Value::from(text.as_str())),
    ];
    prop::collection::vec(value, 0..4)
}

/// Bytes with good packets among them, and packets with a letter of ours and nonsense behind it.
fn control_bytes() -> impl Strategy<Value = Vec<u8>> {
    let known = (packet(), extra()).prop_map(|(packet, extra)| {
        let mut bytes = Vec::new();
        let _ = control::encode(&packet, &extra, &mut bytes);
        bytes
    });
    let letter = prop::sample::select(b"HRQWCNDZ".to_vec());
    let lettered = (letter, prop::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(letter, values)| [&[values.len() as u8 + 2, 0x0c, letter], &values[..]].concat());
    let noise = prop::collection::vec(any::<u8>(), 0..20);
    prop::collection::vec(prop_oneof![4 => known, 4 => lettered, 1 => noise], 0..10)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn what_is_compressed_is_what_comes_out(
        source: u32,
        local in 0..=Handle::LOCAL_MAX,
        session: u32,
        kind: u8,
        payload in patterned(),
        damage in prop::option::of((any::<prop::sample::Index>(), 1..=255u8)),
    ) {
        let sent = (source, local, session, kind, payload);
        let mut frame = compress(message(sent.clone()), OWN);
        prop_assume!(is_compressed(&frame, OWN));
        let len = frame.body.bytes().unwrap().len();
        prop_assert!(len <= sent.4.len() * 4 / 5, "{len} of {}", sent.4.len());
        // As it arrives.
        frame.dest = Handle::new(OWN, frame.dest.local());
        prop_assert_eq!(decompress(&frame).map(|read| plain(&read)), Ok(sent));
        if let Some((at, flip)) = damage {
            let mut bytes = frame.body.bytes().unwrap().to_vec();
            bytes[at.index(len)] ^= flip;
            frame.body = Body::Bytes(Payload::from_vec(bytes));
            let _ = decompress(&frame);
        }
    }

    #[test]
    fn frames_survive_any_writes_and_reads(
        messages in messages(), writes in sizes(), reads in sizes(), refills in 1..5usize,
    ) {
        let mut outbox = Outbox::new();
        let mut sent = Vec::new();
        let mut left = messages.clone().into_iter();
        let mut writes = writes.iter().cycle();
        loop {
            for plain in left.by_ref().take(refills) {
                outbox.push_frame(message(plain)).unwrap();
            }
            if outbox.is_empty() {
                break;
            }
            let mut slices = Slices::new();
            outbox.slices(&mut slices);
            let mut room = *writes.next().unwrap();
            let before = sent.len();
            for slice in &slices {
                prop_assert!(!slice.is_empty());
                sent.extend_from_slice(&slice[..slice.len().min(room)]);
                room -= slice.len().min(room);
            }
            drop(slices);
            let written = sent.len() - before;
            prop_assert!(0 < written && written <= outbox.len());
            outbox.advance(written);
            prop_assert_eq!(outbox.sent(), sent.len() as u64);
        }
        let total: usize = messages.iter().map(|(.., payload)| payload.len() + 16).sum();
        prop_assert_eq!(sent.len(), total);
        let (received, fault) = frames(&sent, &reads);
        prop_assert_eq!(fault, None);
        prop_assert!(received == messages, "{} of {} messages", received.len(), messages.len());
    }

    #[test]
    fn any_bytes_are_frames_or_a_fault_whatever_the_reads(
        noise in prop::collection::vec(prop_oneof![3 => Just(0u8), 1 => 12..64u8, 1 => any::<u8>()], 0..400),
        reads in sizes(),
    ) {
        prop_assert_eq!(frames(&noise, &reads), frames(&noise, &[usize::MAX]));
    }

    #[test]
    fn packets_survive_any_reads(
        packets_sent in prop::collection::vec((packet(), extra()), 0..10), reads in sizes(),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (packet, extra) in packets_sent {
            let before = bytes.len();
            match control::encode(&packet, &extra, &mut bytes) {
                Ok(()) => {
                    prop_assert_eq!(bytes.len() - before, usize::from(bytes[before]) + 1);
                    expected.push(Received { packet, extra });
                }
                Err(_) => prop_assert_eq!(bytes.len(), before),
            }
        }
        prop_assert_eq!(packets(&bytes, &reads), (expected, None));
    }

    #[test]
    fn any_bytes_are_packets_or_a_fault_whatever_the_reads(bytes in control_bytes(), reads in sizes()) {
        let (received, fault) = packets(&bytes, &reads);
        let whole = packets(&bytes, &[usize::MAX]);
        // Compared as text, because NaN may be among the values.
        prop_assert_eq!(format!("{:?}", (&received, fault)), format!("{whole:?}"));
        for Received { packet, extra } in received {
            // What was read can be written, unless Skynet's form of it is longer than the sender's.
            let mut again = Vec::new();
            let is_unknown = matches!(packet, Packet::Unknown { .. });
            if !is_unknown && control::encode(&packet, &extra, &mut again).is_ok() {
                prop_assert!(again.len() <= CONTROL_BYTES_MAX + 1);
                let (back, fault) = packets(&again, &[usize::MAX]);
                prop_assert_eq!(fault, None);
                prop_assert_eq!(format!("{back:?}"), format!("{:?}", [Received { packet, extra }]));
            }
        }
    }
}
