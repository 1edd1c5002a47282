//! The unsent bytes of one connection.
//!
//! ```text
//!  chunks    ┌───────────────────────┐┌──────────────────────┐      64 KiB each, only the last one is open:
//!            │ small frames … length ││ trailer small frames │      the small stream
//!            └──────────▲───────────▲┘└──────────────────────┘
//!              sent ────┘           │
//!  payloads                     ┌───┴───┐                          longer than COPY_BYTES_MAX,
//!                               │ bytes │ at this place            written from where they are
//!                               └───────┘
//! ```
//!
//! Frames up to [`COPY_BYTES_MAX`] are copied into the open chunk, so that a thousand of them are one slice of a
//! `writev`. A longer payload keeps its own memory: the stream of chunks has its length and its trailer, and the
//! payload is written when the stream reaches its place. Chunks that are sent are used again; in steady state a frame
//! costs no allocation.

use crate::limits::{
    CHUNK_BYTES, CHUNKS_SPARE_MAX, COPY_BYTES_MAX, IOVEC_MAX, PAYLOAD_BYTES_MAX, TRAILER_BYTES,
};
use crate::message::{Body, Envelope, Kind, Payload, SendError, SendReason};
use crate::mutant::{self, Mutant};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::io::IoSlice;

/// What one `writev` takes.
pub type Slices<'a> = SmallVec<[IoSlice<'a>; IOVEC_MAX]>;

/// The unsent bytes of one connection, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    chunks: VecDeque<Vec<u8>>,
    payloads: VecDeque<LargePayload>,
    spare: SmallVec<[Vec<u8>; CHUNKS_SPARE_MAX]>,
    /// Where in the small stream the first chunk begins.
    base: u64,
    /// Where in the small stream the first unsent byte stands.
    at: u64,
    /// Where in the small stream the next byte goes.
    end: u64,
    /// How much of the first payload is sent; the stream has reached its place if this is not 0.
    payload_sent: usize,
    pushed: u64,
    sent: u64,
}

/// A payload with its place in the small stream.
#[derive(Debug)]
struct LargePayload {
    at: u64,
    payload: Payload,
}

impl Outbox {
    /// An empty outbox. It takes no memory before the first push.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the message as one harbor frame (R1, R2, R3). [`Body::Failure`] goes as an ERROR without payload (R8).
    ///
    /// # Errors
    /// Gives the message back, with nothing appended (R6): [`SendReason::TooLarge`] above [`PAYLOAD_BYTES_MAX`],
    /// [`SendReason::Denied`] for a kind that may not leave (R7) and for a body that is not bytes.
    pub fn push_frame(&mut self, envelope: Envelope) -> Result<(), SendError<Envelope>> {
        let payload_len = match &envelope.body {
            Body::Empty | Body::Failure(_) => 0,
            Body::Bytes(payload) => payload.len(),
            Body::Typed(_) => return Err(SendError::new(SendReason::Denied, envelope)),
        };
        if payload_len > PAYLOAD_BYTES_MAX {
            return Err(SendError::new(SendReason::TooLarge, envelope));
        }
        if !envelope.kind.may_leave() {
            return Err(SendError::new(SendReason::Denied, envelope));
        }
        let length = ((payload_len + TRAILER_BYTES) as u32).to_be_bytes();
        let trailer = trailer(&envelope);
        match envelope.body {
            Body::Bytes(payload) if payload_len > COPY_BYTES_MAX => {
                self.append(&[&length]);
                let at = self.end - u64::from(mutant::is(Mutant::LargeMisplaced));
                self.payloads.push_back(LargePayload { at, payload });
                self.append(&[&trailer]);
            }
            body => {
                let parts = [&length[..], body.bytes().unwrap_or_default(), &trailer];
                self.append(&parts);
                if mutant::is(Mutant::FrameTwice) {
                    self.append(&parts);
                    self.pushed += (length.len() + payload_len + TRAILER_BYTES) as u64;
                }
            }
        }
        self.pushed += (length.len() + payload_len + TRAILER_BYTES) as u64;
        Ok(())
    }

    /// Appends bytes as they are: a handshake, a control packet.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(CHUNK_BYTES) {
            self.append(&[part]);
        }
        self.pushed += bytes.len() as u64;
    }

    /// Unsent bytes.
    pub fn len(&self) -> usize {
        (self.pushed - self.sent) as usize
    }

    /// Whether everything is sent.
    pub fn is_empty(&self) -> bool {
        self.pushed == self.sent
    }

    /// Bytes pushed since the outbox was made: a frame that was just pushed ends here.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Bytes sent since the outbox was made: what was pushed beyond this has not left whole.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Appends the unsent bytes to `slices`, from the first on, until the list has [`IOVEC_MAX`] of them.
    pub fn slices<'a>(&'a self, slices: &mut Slices<'a>) {
        let mut payloads = self.payloads.iter();
        let mut next = payloads.next();
        let mut skipped = self.payload_sent;
        let (mut at, mut start) = (self.at, self.base);
        for chunk in &self.chunks {
            let end = start + chunk.len() as u64;
            loop {
                let stop = next.map_or(end, |large| large.at.min(end));
                if at < stop && slices.len() < IOVEC_MAX {
                    slices.push(IoSlice::new(&chunk[(at - start) as usize..(stop - start) as usize]));
                }
                at = stop;
                if slices.len() >= IOVEC_MAX {
                    return;
                }
                match next {
                    Some(large) if large.at == at => {
                        slices.push(IoSlice::new(&large.payload[skipped..]));
                        skipped = 0;
                        next = payloads.next();
                    }
                    Some(_) | None => break,
                }
            }
            start = end;
        }
    }

    /// Takes note that the first `sent` unsent bytes are written.
    ///
    /// # Panics
    /// If that is more than [`Outbox::len`].
    pub fn advance(&mut self, sent: usize) {
        assert!(sent <= self.len(), "{sent} bytes sent of {}", self.len());
        self.sent += sent as u64;
        let mut left = sent;
        while left > 0 {
            left -= match self.payloads.front() {
                Some(large) if large.at == self.at => self.advance_payload(left),
                Some(_) | None => self.advance_stream(left),
            };
        }
    }

    /// Takes up to `left` bytes from the first payload; how many.
    fn advance_payload(&mut self, left: usize) -> usize {
        let unsent = self.payloads.front().map_or(0, |large| large.payload.len()) - self.payload_sent;
        if left < unsent {
            self.payload_sent += left;
            return left;
        }
        self.payload_sent = 0;
        self.payloads.pop_front();
        unsent
    }

    /// Takes up to `left` bytes from the first chunk, not beyond the next payload's place; how many.
    fn advance_stream(&mut self, left: usize) -> usize {
        let end = self.base + self.chunks.front().map_or(0, Vec::len) as u64;
        let stop = self.payloads.front().map_or(end, |large| large.at.min(end));
        let taken = ((stop - self.at) as usize).min(left);
        self.at += taken as u64;
        if self.at == end {
            self.base = end;
            self.recycle_first_chunk();
        }
        taken
    }

    /// The first chunk is sent. The only chunk stays open; another becomes spare while there is room for it.
    fn recycle_first_chunk(&mut self) {
        if self.chunks.len() == 1 {
            self.chunks[0].clear();
            return;
        }
        let Some(mut chunk) = self.chunks.pop_front() else { return };
        if self.spare.len() < CHUNKS_SPARE_MAX {
            chunk.clear();
            self.spare.push(chunk);
        }
    }

    /// Appends the parts to the small stream, all to one chunk: the open one if it has room, otherwise a new one.
    fn append(&mut self, parts: &[&[u8]]) {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        debug_assert!(len <= CHUNK_BYTES);
        if self.chunks.back().is_none_or(|open| open.len() + len > CHUNK_BYTES) {
            let chunk = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES));
            self.chunks.push_back(chunk);
        }
        let Some(open) = self.chunks.back_mut() else { return };
        for part in parts {
            open.extend_from_slice(part);
        }
        self.end += len as u64;
    }
}

pub(super) fn trailer(envelope: &Envelope) -> [u8; TRAILER_BYTES] {
    let kind = match envelope.body {
        Body::Failure(_) => Kind::ERROR,
        Body::Empty | Body::Bytes(_) | Body::Typed(_) => envelope.kind,
    };
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..4].copy_from_slice(&envelope.source.bits().to_be_bytes());
    trailer[4..8].copy_from_slice(&(u32::from(kind.0) << 24 | envelope.dest.local()).to_be_bytes());
    let session =
        if mutant::is(Mutant::SessionCut) { envelope.session.bits() & 7 } else { envelope.session.bits() };
    trailer[8..].copy_from_slice(&session.to_be_bytes());
    trailer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{CallError, Handle, HarborId, Session};
    use crate::queue::Parcel;
    use crate::wire::FrameDecoder;

    fn message(body: Body) -> Envelope {
        let (source, dest) = (Handle::from_bits(0x0300_0007), Handle::from_bits(0x0200_0008));
        Envelope { source, dest, session: Session::from_bits(7), kind: Kind::LUA, body }
    }

    fn bytes_of(len: usize) -> Body {
        Body::Bytes(Payload::from_vec((0..len).map(|at| (at * 7 + len) as u8).collect()))
    }

    fn unsent(outbox: &Outbox) -> Vec<u8> {
        let mut slices = Slices::new();
        outbox.slices(&mut slices);
        slices.iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    fn lens(outbox: &Outbox) -> Vec<usize> {
        let mut slices = Slices::new();
        outbox.slices(&mut slices);
        slices.iter().map(|slice| slice.len()).collect()
    }

    #[test]
    fn r1_r2_r3_the_bytes_of_a_real_node() {
        let mut outbox = Outbox::new();
        outbox.push_frame(message(Body::Bytes(Payload::from(b"\x24ECHO\x74by name from 3")))).unwrap();
        let expected = b"\0\0\0\x20\x24ECHO\x74by name from 3\x03\0\0\x07\x0a\0\0\x08\0\0\0\x07";
        assert_eq!(unsent(&outbox), expected);
        assert_eq!((outbox.len(), outbox.pushed(), outbox.sent()), (36, 36, 0));
    }

    #[test]
    fn r8_a_failure_is_an_error_without_payload() {
        let mut outbox = Outbox::new();
        let (source, dest) = (Handle::from_bits(0x01ab_cdef), Handle::from_bits(0x0200_0010));
        let error = Envelope::error(source, dest, Session::from_bits(7), CallError::NoService);
        outbox.push_frame(error).unwrap();
        assert_eq!(unsent(&outbox), b"\0\0\0\x0c\x01\xab\xcd\xef\x07\0\0\x10\0\0\0\x07");
    }

    #[test]
    fn r6_r7_what_cannot_leave_comes_back_and_leaves_no_byte() {
        let system = |kind| Envelope { kind, ..message(Body::Empty) };
        let cases = [
            (message(bytes_of(PAYLOAD_BYTES_MAX + 1)), SendReason::TooLarge),
            (message(Body::Typed(Parcel::new(7u32))), SendReason::Denied),
            (system(Kind::SYSTEM), SendReason::Denied),
            (system(Kind::HARBOR), SendReason::Denied),
            (system(Kind::SOCKET), SendReason::Denied),
        ];
        let mut outbox = Outbox::new();
        for (envelope, reason) in cases {
            let kind = envelope.kind;
            let refused = outbox.push_frame(envelope).unwrap_err();
            assert_eq!((refused.reason, refused.message.kind), (reason, kind));
            assert!(outbox.is_empty() && unsent(&outbox).is_empty());
        }
        outbox.push_frame(message(bytes_of(PAYLOAD_BYTES_MAX))).unwrap();
        assert_eq!(outbox.len(), 4 + 0x00ff_ffff);
    }

    #[test]
    fn small_frames_are_one_slice_and_large_payloads_stay_where_they_are() {
        let mut outbox = Outbox::new();
        for _ in 0..100 {
            outbox.push_frame(message(bytes_of(64))).unwrap();
        }
        assert_eq!(lens(&outbox), [8000]);
        let large = Payload::from_vec(vec![1; COPY_BYTES_MAX + 1]);
        let place = large.as_ptr();
        outbox.push_frame(message(Body::Bytes(large))).unwrap();
        outbox.push_frame(message(bytes_of(COPY_BYTES_MAX))).unwrap();
        assert_eq!(lens(&outbox), [8004, COPY_BYTES_MAX + 1, 12 + 16 + COPY_BYTES_MAX]);
        let mut slices = Slices::new();
        outbox.slices(&mut slices);
        assert_eq!(slices[1].as_ptr(), place, "moved, not copied");
    }

    #[test]
    fn partial_writes_of_every_size_lose_nothing() {
        for step in [1, 3, 11, 4096, 65_536] {
            let mut outbox = Outbox::new();
            let mut expected = vec![9];
            outbox.push_bytes(&[9]);
            for len in [0, 1, 40, 1024, 1025, 1025, 64, 65_536, 2000, 0] {
                let Body::Bytes(payload) = bytes_of(len) else { panic!() };
                expected.extend_from_slice(&(len as u32 + 12).to_be_bytes());
                expected.extend_from_slice(&payload);
                expected.extend_from_slice(b"\x03\0\0\x07\x0a\0\0\x08\0\0\0\x07");
                outbox.push_frame(message(Body::Bytes(payload))).unwrap();
            }
            let mut sent = Vec::new();
            while !outbox.is_empty() {
                let mut slices = Slices::new();
                outbox.slices(&mut slices);
                let part = &slices[0][..slices[0].len().min(step)];
                assert!(!part.is_empty());
                sent.extend_from_slice(part);
                let len = part.len();
                drop(slices);
                outbox.advance(len);
                assert_eq!(outbox.len(), expected.len() - sent.len());
            }
            assert!(sent == expected, "step {step}");
            assert_eq!((lens(&outbox), outbox.sent()), (vec![], outbox.pushed()));
        }
    }

    #[test]
    fn a_writev_takes_no_more_slices_than_it_can() {
        let mut outbox = Outbox::new();
        for _ in 0..IOVEC_MAX {
            outbox.push_frame(message(bytes_of(2000))).unwrap();
        }
        assert_eq!(lens(&outbox).len(), IOVEC_MAX);
        outbox.advance(lens(&outbox).iter().sum());
        assert_eq!(lens(&outbox).len(), IOVEC_MAX);
    }

    #[test]
    fn chunks_are_used_again() {
        let mut outbox = Outbox::new();
        let mut places = std::collections::BTreeSet::new();
        for round in 0..50 {
            for _ in 0..1500 {
                outbox.push_frame(message(bytes_of(64))).unwrap();
            }
            assert_eq!(lens(&outbox).len(), 2, "{round}");
            places.extend(outbox.chunks.iter().map(|chunk| (chunk.as_ptr(), chunk.capacity())));
            outbox.advance(outbox.len());
            assert_eq!((outbox.chunks.len(), outbox.spare.len()), (1, 1));
        }
        assert_eq!(places.len(), 2, "two chunks for four million bytes");
    }

    #[test]
    fn long_bytes_take_many_chunks() {
        let mut outbox = Outbox::new();
        let bytes: Vec<u8> = (0..3 * CHUNK_BYTES + 5).map(|at| at as u8).collect();
        outbox.push_bytes(&bytes);
        assert_eq!(unsent(&outbox), bytes);
    }

    #[test]
    fn what_one_node_sends_another_reads() {
        let mut outbox = Outbox::new();
        for len in [0, 5, 5000] {
            outbox.push_frame(message(bytes_of(len))).unwrap();
        }
        let bytes = unsent(&outbox);
        let mut chunk = &bytes[..];
        let mut decoder = FrameDecoder::new(HarborId::new(2));
        for len in [0, 5, 5000] {
            let envelope = decoder.feed(&mut chunk).unwrap().unwrap();
            assert_eq!(
                format!("{envelope:?}"),
                format!(
                    "{:?}",
                    message(match len {
                        0 => Body::Empty,
                        _ => bytes_of(len),
                    })
                )
            );
        }
    }

    #[test]
    #[should_panic(expected = "17 bytes sent of 16")]
    fn more_than_there_is_was_not_sent() {
        let mut outbox = Outbox::new();
        outbox.push_frame(message(Body::Empty)).unwrap();
        outbox.advance(17);
    }
}
