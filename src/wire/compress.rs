//! Large payloads, compressed on their way between nodes of our kind.
//!
//! ```text
//!  the frame that carries one: type 255, session 0, between the reserved ids of both nodes; its payload:
//!  0        4      5        8         12       16
//!  ┌────────┬──────┬────────┬─────────┬────────┬───────────┐
//!  │ source │ kind │ dest   │ session │ length │ LZ4 block │   the trailer of the message inside, then its length
//!  │ u32    │ u8   │ 24 bit │ u32     │ u32    │           │   all integers big-endian
//!  └────────┴──────┴────────┴─────────┴────────┴───────────┘
//! ```
//!
//! It takes the place of the message's own frame, so order is kept. A node that does not know such frames refuses them as it
//! does everything for the reserved id; `harbor` sends them only to those who said that they do.

use super::frame::envelope;
use super::outbox::trailer;
use crate::limits::{
    COMPRESS_BYTES_MIN, COMPRESS_RATIO_MAX, COMPRESS_SAVED_PERCENT_MIN, PAYLOAD_BYTES_MAX, SERVICE_ID_KIN,
    TRAILER_BYTES,
};
use crate::message::{Body, Envelope, Handle, HarborId, Kind, Payload, Session};

const KIND: Kind = Kind(255);
const LENGTH_BYTES: usize = 4;
const HEAD_BYTES: usize = TRAILER_BYTES + LENGTH_BYTES;

/// What is wrong with a compressed message. The link that brought it cannot be trusted any further: what it carried is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionFault {
    /// This node never said that it reads compressed messages.
    #[error("a compressed message for a node that reads none")]
    NotOffered,
    /// It has no room for its head.
    #[error("a compressed message of {bytes} bytes, less than its head")]
    TooShort {
        /// Bytes that it has.
        bytes: usize,
    },
    /// It announces more than a frame carries, or than its block can hold.
    #[error("{block} bytes that announce a message of {length}")]
    TooLong {
        /// The length that it announces.
        length: u32,
        /// Bytes of its block.
        block: usize,
    },
    /// Its block is damaged, or of another length than announced.
    #[error("a compressed message that does not give the {length} bytes that it announces")]
    BadBlock {
        /// The length that it announces.
        length: u32,
    },
    /// The message inside is for the reserved id too.
    #[error("a compressed message for the id of compressed messages")]
    Nested,
}

/// The frame that carries a message of node `own` compressed (R14), or the message itself if that saves too little.
pub fn compress(message: Envelope, own: HarborId) -> Envelope {
    let block = match &message.body {
        Body::Bytes(payload) if is_fit(&message, payload) => block(payload),
        Body::Bytes(_) | Body::Empty | Body::Typed(_) | Body::Failure(_) => None,
    };
    let Some((mut bytes, len)) = block else { return message };
    bytes[..TRAILER_BYTES].copy_from_slice(&trailer(&message));
    bytes[TRAILER_BYTES..HEAD_BYTES].copy_from_slice(&len.to_be_bytes());
    Envelope {
        source: Handle::new(own, SERVICE_ID_KIN),
        dest: Handle::new(message.dest.harbor(), SERVICE_ID_KIN),
        session: Session::NONE,
        kind: KIND,
        body: Body::Bytes(Payload::from_vec(bytes)),
    }
}

/// Whether a message may be compressed.
fn is_fit(message: &Envelope, payload: &[u8]) -> bool {
    let is_size = (COMPRESS_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&payload.len());
    is_size && message.kind.may_leave() && message.dest.local() != SERVICE_ID_KIN
}

/// Room for the head and the payload as a block behind it, if that saves enough; and how long the payload is.
fn block(payload: &[u8]) -> Option<(Vec<u8>, u32)> {
    let len = u32::try_from(payload.len()).ok()?;
    let mut bytes = vec![0; HEAD_BYTES + lz4_flex::block::get_maximum_output_size(payload.len())];
    let block = lz4_flex::block::compress_into(payload, &mut bytes[HEAD_BYTES..]).ok()?;
    bytes.truncate(HEAD_BYTES + block);
    if bytes.len() > payload.len() * (100 - COMPRESS_SAVED_PERCENT_MIN) / 100 {
        return None;
    }
    // It may wait long to be sent.
    bytes.shrink_to_fit();
    Some((bytes, len))
}

/// Whether a frame carries a compressed message of node `peer`.
pub fn is_compressed(frame: &Envelope, peer: HarborId) -> bool {
    frame.kind == KIND
        && frame.session == Session::NONE
        && frame.source == Handle::new(peer, SERVICE_ID_KIN)
        && frame.dest.local() == SERVICE_ID_KIN
}

/// How long the payload is of the message inside a frame that carries one compressed.
///
/// # Errors
/// The frame has no room for its head, or announces more than can be (R15).
pub fn inflated_len(frame: &Envelope) -> Result<usize, CompressionFault> {
    parts(frame).map(|(_, len, _)| len)
}

/// Trailer, length and block.
fn parts(frame: &Envelope) -> Result<(&[u8; TRAILER_BYTES], usize, &[u8]), CompressionFault> {
    let bytes = frame.body.bytes().unwrap_or_default();
    let too_short = CompressionFault::TooShort { bytes: bytes.len() };
    let (trailer, rest) = bytes.split_first_chunk::<TRAILER_BYTES>().ok_or(too_short)?;
    let (length, block) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(too_short)?;
    let length = u32::from_be_bytes(*length);
    let len = length as usize;
    if len > PAYLOAD_BYTES_MAX || len / COMPRESS_RATIO_MAX > block.len() {
        return Err(CompressionFault::TooLong { length, block: block.len() });
    }
    Ok((trailer, len, block))
}

/// The message inside a frame that carries one compressed.
///
/// # Errors
/// The first rule that it breaks (R15, R16). No memory is taken for the message before its length was found possible.
pub fn decompress(frame: &Envelope) -> Result<Envelope, CompressionFault> {
    let (trailer, len, block) = parts(frame)?;
    let mut payload = vec![0; len];
    match lz4_flex::block::decompress_into(block, &mut payload) {
        Ok(written) if written == len => {}
        Ok(_) | Err(_) => return Err(CompressionFault::BadBlock { length: len as u32 }),
    }
    let message = envelope(frame.dest.harbor(), Payload::from_vec(payload), trailer);
    if message.dest.local() == SERVICE_ID_KIN { Err(CompressionFault::Nested) } else { Ok(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: HarborId = HarborId::new(3);
    const PEER: HarborId = HarborId::new(2);

    fn message(payload: Vec<u8>) -> Envelope {
        let (source, dest) = (Handle::new(OWN, 0x77), Handle::new(PEER, 8));
        let body = Body::Bytes(Payload::from_vec(payload));
        Envelope { source, dest, session: Session::from_bits(7), kind: Kind::LUA, body }
    }

    /// A frame as it arrives at node 2: trailer, length, block.
    fn frame(local: u8, length: u32, block: &[u8]) -> Envelope {
        let head = [&[3, 0, 0, 0x77, 10, 0, 0, local, 0, 0, 0, 7][..], &length.to_be_bytes()].concat();
        let (source, dest) = (Handle::new(OWN, SERVICE_ID_KIN), Handle::new(PEER, SERVICE_ID_KIN));
        let body = Body::Bytes(Payload::from_vec([&head, block].concat()));
        Envelope { source, dest, session: Session::NONE, kind: KIND, body }
    }

    /// 4,000 times the same byte: one literal, a match of 3,994 bytes at distance 1, the last five literals.
    const BLOCK: &[u8] =
        b"\x1fx\x01\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x96\x50xxxxx";

    #[test]
    fn r14_a_message_is_carried_behind_its_trailer_and_length() {
        let carried = compress(message(vec![b'x'; 4000]), OWN);
        assert!(is_compressed(&carried, OWN) && !is_compressed(&carried, PEER));
        let bytes = carried.body.bytes().unwrap();
        assert_eq!(bytes[..HEAD_BYTES], *b"\x03\0\0\x77\x0a\0\0\x08\0\0\0\x07\0\0\x0f\xa0");
        let read = decompress(&carried).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", message(vec![b'x'; 4000])));
        assert_eq!(read.body.bytes(), Some(&[b'x'; 4000][..]));
        assert_eq!(inflated_len(&carried), Ok(4000));
        let read = decompress(&frame(8, 4000, BLOCK)).unwrap();
        assert_eq!(read.body.bytes(), Some(&[b'x'; 4000][..]));
    }

    #[test]
    fn r14_what_saves_too_little_stays_as_it_is() {
        // A fifth of zeros, the rest without any pattern.
        let mut state = 1u32;
        let mut noise = |len: usize| -> Vec<u8> {
            let next = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            (0..len).map(next).collect()
        };
        let mostly = |percent: usize, noise: Vec<u8>| [vec![0; percent * 1000], noise].concat();
        let (worth, not_worth) = (mostly(23, noise(77_000)), mostly(19, noise(81_000)));
        assert!(is_compressed(&compress(message(worth), OWN), OWN));
        for payload in [not_worth, noise(100_000), vec![0; COMPRESS_BYTES_MIN - 1], Vec::new()] {
            let sent = compress(message(payload.clone()), OWN);
            assert!(sent.kind == Kind::LUA && sent.body.bytes() == Some(&payload[..]), "{}", payload.len());
        }
        let large = compress(message(vec![0; PAYLOAD_BYTES_MAX]), OWN);
        assert!(is_compressed(&large, OWN));
        assert_eq!(decompress(&large).map(|read| read.body.heap_len()), Ok(PAYLOAD_BYTES_MAX));
        let too_large = compress(message(vec![0; PAYLOAD_BYTES_MAX + 1]), OWN);
        assert!(!is_compressed(&too_large, OWN), "the outbox says what is wrong with it");
        let mut kin = message(vec![0; 4000]);
        kin.dest = Handle::new(PEER, SERVICE_ID_KIN);
        assert!(!is_compressed(&compress(kin, OWN), OWN));
    }

    #[test]
    fn r15_r16_faults_have_names() {
        let mut short = frame(8, 4000, BLOCK);
        short.body = Body::Bytes(Payload::from(&[0; HEAD_BYTES - 1]));
        let mut empty = frame(8, 4000, BLOCK);
        empty.body = Body::Empty;
        let long = PAYLOAD_BYTES_MAX as u32 + 1;
        let block = BLOCK.len();
        for (frame, fault) in [
            (empty, CompressionFault::TooShort { bytes: 0 }),
            (short, CompressionFault::TooShort { bytes: HEAD_BYTES - 1 }),
            (frame(8, long, &vec![0; 1 << 20]), CompressionFault::TooLong { length: long, block: 1 << 20 }),
            (frame(8, u32::MAX, BLOCK), CompressionFault::TooLong { length: u32::MAX, block }),
            (frame(8, 1 << 20, BLOCK), CompressionFault::TooLong { length: 1 << 20, block }),
            (frame(8, 3999, BLOCK), CompressionFault::BadBlock { length: 3999 }),
            (frame(8, 4001, BLOCK), CompressionFault::BadBlock { length: 4001 }),
            (frame(8, 4000, &BLOCK[..20]), CompressionFault::BadBlock { length: 4000 }),
            (frame(8, 4000, &BLOCK[2..]), CompressionFault::BadBlock { length: 4000 }),
            (frame(8, 0, b""), CompressionFault::BadBlock { length: 0 }),
            (frame(7, 4000, BLOCK), CompressionFault::Nested),
        ] {
            assert_eq!(decompress(&frame).map(|read| read.kind), Err(fault));
        }
    }
}
