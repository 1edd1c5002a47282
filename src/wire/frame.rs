//! Reading harbor frames.
//!
//! ```text
//!             a whole frame in the chunk: straight to its envelope
//!                 ┌──────┐
//!                 ▼      │
//!  ┌──────────────────┐  │ 4 bytes  ┌─────────┐  n bytes  ┌─────────┐
//!  │ Length           │──┴────────┬▶│ Payload │──────────▶│ Trailer │
//!  │ (0..4 bytes)     │           │ └─────────┘           └─────────┘
//!  └──────────────────┘◀──────────│───────────────────────────┘ 12 bytes: an envelope
//!          │          above the gate    ▲ admit
//!          │                      ▼     │
//!          │                    ┌─────────┐
//!          │                    │ Gated   │
//!          │                    └─────────┘
//!          │ length out of range
//!          ▼
//!        Broken   (for good: where the next frame starts is not known)
//! ```

use crate::limits::{FRAME_LENGTH_MAX, FRAME_STEP_BYTES, TRAILER_BYTES};
use crate::message::{Body, Envelope, Handle, HarborId, Kind, Payload, Session};
use crate::mutant::{self, Mutant};

const LENGTH_BYTES: usize = 4;

/// What a peer did wrong on a harbor link. Its link cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameFault {
    /// The length does not fit in 24 bits.
    #[error("frame of {length} bytes, more than the {FRAME_LENGTH_MAX} that a link takes")]
    TooLong {
        /// The length field.
        length: u32,
    },
    /// The length does not cover the trailer.
    #[error("frame of {length} bytes, less than its trailer")]
    TooShort {
        /// The length field.
        length: u32,
    },
}

/// Reads harbor frames from the chunks of one link.
///
/// ```
/// use skyharbor::HarborId;
/// use skyharbor::wire::FrameDecoder;
///
/// let mut decoder = FrameDecoder::new(HarborId::new(2));
/// let mut chunk = &b"\0\0\0\x0e\x0c\x78\x03\0\0\x07\x0a\0\0\x08\0\0\0\x07\0\0"[..];
/// let envelope = decoder.feed(&mut chunk).unwrap().unwrap();
/// assert_eq!(envelope.dest.to_string(), ":02000008");
/// assert!(decoder.feed(&mut chunk).unwrap().is_none(), "two bytes of the next frame");
/// assert!(decoder.is_inside());
/// ```
#[derive(Debug)]
pub struct FrameDecoder {
    own: HarborId,
    /// The longest payload that is read without being admitted.
    gate: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Length { bytes: [u8; LENGTH_BYTES], filled: usize },
    Gated { len: usize },
    Payload { payload: Vec<u8>, len: usize },
    Trailer { payload: Vec<u8>, bytes: [u8; TRAILER_BYTES], filled: usize },
    Broken(FrameFault),
}

impl State {
    const START: Self = Self::Length { bytes: [0; LENGTH_BYTES], filled: 0 };
}

impl FrameDecoder {
    /// A decoder for a link of node `own`, whose id the destinations get (R3).
    pub fn new(own: HarborId) -> Self {
        Self { own, gate: usize::MAX, state: State::START }
    }

    /// One that reads no payload longer than `gate` before it is [admitted](Self::admit), unless all of it is there at once.
    pub fn with_gate(own: HarborId, gate: usize) -> Self {
        Self { gate, ..Self::new(own) }
    }

    /// The length of the payload that waits to be admitted.
    pub fn gated(&self) -> Option<usize> {
        match self.state {
            State::Gated { len } => Some(len),
            State::Length { .. } | State::Payload { .. } | State::Trailer { .. } | State::Broken(_) => None,
        }
    }

    /// There is memory for the payload that waits: the next [`feed`](Self::feed) reads it.
    pub fn admit(&mut self) {
        if let State::Gated { len } = self.state {
            self.state = State::Payload { payload: Vec::new(), len };
        }
    }

    /// Bytes of the incomplete frame's payload that have arrived.
    pub fn arrived(&self) -> usize {
        match &self.state {
            State::Length { .. } | State::Gated { .. } | State::Broken(_) => 0,
            State::Payload { payload, .. } | State::Trailer { payload, .. } => payload.len(),
        }
    }

    /// Takes bytes from the front of `chunk` up to the end of the next frame. `None`: the chunk is used up and the
    /// frame is not complete; what there is of it is kept. Or the frame is [gated](Self::gated), and the rest of the chunk is
    /// for later.
    ///
    /// An empty payload becomes [`Body::Empty`], any other [`Body::Bytes`], whatever the kind.
    ///
    /// # Errors
    /// A length out of range (R1). The link is broken: every later call returns the same fault.
    pub fn feed(&mut self, chunk: &mut &[u8]) -> Result<Option<Envelope>, FrameFault> {
        if let State::Length { filled: 0, .. } = self.state
            && let Some((payload, trailer)) = whole_frame(chunk).map_err(|fault| self.break_with(fault))?
        {
            return Ok(Some(envelope(self.own, Payload::from(payload), trailer)));
        }
        self.resume(chunk)
    }

    /// Whether a frame has begun and is not complete.
    pub fn is_inside(&self) -> bool {
        match self.state {
            State::Length { filled, .. } => filled > 0,
            State::Gated { .. } | State::Payload { .. } | State::Trailer { .. } => true,
            State::Broken(_) => false,
        }
    }

    /// Bytes of memory that the incomplete frame takes outside this value.
    pub fn held_bytes(&self) -> usize {
        match &self.state {
            State::Length { .. } | State::Gated { .. } | State::Broken(_) => 0,
            State::Payload { payload, .. } | State::Trailer { payload, .. } => payload.capacity(),
        }
    }

    /// Goes on with a frame that is not whole in one chunk.
    fn resume(&mut self, chunk: &mut &[u8]) -> Result<Option<Envelope>, FrameFault> {
        loop {
            match &mut self.state {
                State::Length { bytes, filled } => {
                    if !fill(bytes, filled, chunk) {
                        return Ok(None);
                    }
                    let len = payload_len(*bytes).map_err(|fault| self.break_with(fault))?;
                    self.state = match len > self.gate {
                        true => State::Gated { len },
                        false => State::Payload { payload: Vec::new(), len },
                    };
                }
                State::Gated { .. } => return Ok(None),
                State::Payload { payload, len } => {
                    extend(payload, *len, chunk);
                    if payload.len() < *len {
                        return Ok(None);
                    }
                    let payload = std::mem::take(payload);
                    self.state = State::Trailer { payload, bytes: [0; TRAILER_BYTES], filled: 0 };
                }
                State::Trailer { payload, bytes, filled } => {
                    mutant::when(Mutant::FrameSplit, || *filled = 0);
                    if !fill(bytes, filled, chunk) {
                        return Ok(None);
                    }
                    let envelope = envelope(self.own, Payload::from_vec(std::mem::take(payload)), bytes);
                    self.state = State::START;
                    return Ok(Some(envelope));
                }
                State::Broken(fault) => return Err(*fault),
            }
        }
    }

    fn break_with(&mut self, fault: FrameFault) -> FrameFault {
        self.state = State::Broken(fault);
        fault
    }
}

/// The frame at the front of the chunk, if all of it is there.
#[expect(clippy::type_complexity, reason = "payload and trailer of one frame")]
fn whole_frame<'a>(chunk: &mut &'a [u8]) -> Result<Option<(&'a [u8], &'a [u8; TRAILER_BYTES])>, FrameFault> {
    let Some((length, rest)) = chunk.split_first_chunk() else { return Ok(None) };
    let len = payload_len(*length)?;
    let Some((payload, rest)) = rest.split_at_checked(len) else { return Ok(None) };
    let Some((trailer, rest)) = rest.split_first_chunk() else { return Ok(None) };
    *chunk = rest;
    Ok(Some((payload, trailer)))
}

/// The payload's length from the length field (R1).
fn payload_len(length: [u8; LENGTH_BYTES]) -> Result<usize, FrameFault> {
    let length = u32::from_be_bytes(length);
    match length as usize {
        0..TRAILER_BYTES if mutant::is(Mutant::ShortFrameTaken) => Ok(0),
        0..TRAILER_BYTES => Err(FrameFault::TooShort { length }),
        TRAILER_BYTES..=FRAME_LENGTH_MAX => Ok(length as usize - TRAILER_BYTES),
        _ if mutant::is(Mutant::LongFrameTaken) => Ok(length as usize),
        _ => Err(FrameFault::TooLong { length }),
    }
}

/// Moves bytes into the rest of `field`; whether it is full.
fn fill<const N: usize>(field: &mut [u8; N], filled: &mut usize, chunk: &mut &[u8]) -> bool {
    let (now, later) = chunk.split_at(chunk.len().min(N - *filled));
    field[*filled..*filled + now.len()].copy_from_slice(now);
    *filled += now.len();
    *chunk = later;
    *filled == N
}

/// Moves bytes into a payload that will have `len`. Its memory is at most twice what has arrived, or one step (R5).
fn extend(payload: &mut Vec<u8>, len: usize, chunk: &mut &[u8]) {
    let (now, later) = chunk.split_at(chunk.len().min(len - payload.len()));
    let arrived = payload.len() + now.len();
    if arrived > payload.capacity() {
        let capacity = (2 * arrived).max(FRAME_STEP_BYTES).min(len);
        payload.reserve_exact(capacity - payload.len());
    }
    payload.extend_from_slice(now);
    *chunk = later;
}

/// The message of a payload and its trailer (R3).
pub(super) fn envelope(own: HarborId, payload: Payload, trailer: &[u8; TRAILER_BYTES]) -> Envelope {
    let [s0, s1, s2, s3, kind, d0, d1, d2, n0, n1, n2, n3] = *trailer;
    Envelope {
        source: Handle::from_bits(u32::from_be_bytes([
            if mutant::is(Mutant::SourceUnmarked) { 0 } else { s0 },
            s1,
            s2,
            s3,
        ])),
        dest: Handle::new(own, u32::from_be_bytes([0, d0, d1, d2])),
        session: Session::from_bits(u32::from_be_bytes([n0, n1, n2, n3])),
        kind: Kind(kind),
        body: if payload.is_empty() { Body::Empty } else { Body::Bytes(payload) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call from wire.md 4.2: `"ECHO","by name from 3"` from 0x03000007 to 0x02000008, session 7.
    const ECHO: &[u8] = b"\0\0\0\x20\x24ECHO\x74by name from 3\x03\0\0\x07\x0a\0\0\x08\0\0\0\x07";
    const OWN: HarborId = HarborId::new(2);

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32 + 12).to_be_bytes().to_vec();
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&[3, 0, 0, 7, 10, 0, 0, 8, 0, 0, 0, 7]);
        bytes
    }

    /// Everything that comes out of one decoder for these chunks, and the fault that ended it.
    fn decode(chunks: &[&[u8]]) -> (Vec<String>, Option<FrameFault>) {
        let mut decoder = FrameDecoder::new(OWN);
        let mut envelopes = Vec::new();
        for chunk in chunks {
            let mut rest = *chunk;
            loop {
                match decoder.feed(&mut rest) {
                    Ok(Some(envelope)) => envelopes.push(describe(&envelope)),
                    Ok(None) => break,
                    Err(fault) => return (envelopes, Some(fault)),
                }
            }
            assert!(rest.is_empty());
        }
        (envelopes, None)
    }

    fn describe(envelope: &Envelope) -> String {
        format!("{envelope:?} {}", envelope.body.bytes().unwrap().escape_ascii())
    }

    #[test]
    fn r1_r2_r3_a_frame_of_a_real_node() {
        let mut chunk = ECHO;
        let envelope = FrameDecoder::new(OWN).feed(&mut chunk).unwrap().unwrap();
        assert_eq!(envelope.source, Handle::from_bits(0x0300_0007));
        assert_eq!(envelope.dest, Handle::from_bits(0x0200_0008));
        assert_eq!((envelope.kind, envelope.session.bits()), (Kind::LUA, 7));
        assert_eq!(envelope.body.bytes(), Some(&b"\x24ECHO\x74by name from 3"[..]));
        assert!(chunk.is_empty());
    }

    #[test]
    fn r1_lengths_out_of_range_break_the_link_before_memory_is_taken() {
        for (length, fault) in [
            (11, FrameFault::TooShort { length: 11 }),
            (0, FrameFault::TooShort { length: 0 }),
            (0x0100_0000, FrameFault::TooLong { length: 0x0100_0000 }),
            (u32::MAX, FrameFault::TooLong { length: u32::MAX }),
        ] {
            let bytes = u32::to_be_bytes(length);
            assert_eq!(decode(&[&bytes]), (vec![], Some(fault)));
            assert_eq!(decode(&[&bytes[..1], &bytes[1..]]), (vec![], Some(fault)));

            let mut decoder = FrameDecoder::new(OWN);
            assert!(decoder.feed(&mut &bytes[..]).is_err());
            assert_eq!(decoder.feed(&mut &ECHO[..]).unwrap_err(), fault, "broken for good");
            assert_eq!((decoder.is_inside(), decoder.held_bytes()), (false, 0));
        }
        assert_eq!(decode(&[&0x00ff_ffff_u32.to_be_bytes()]), (vec![], None), "the longest is taken");
    }

    #[test]
    fn frames_before_a_fault_still_come_out() {
        let bytes = [ECHO, &[0, 0, 0, 1], ECHO].concat();
        let (envelopes, fault) = decode(&[&bytes]);
        assert_eq!((envelopes.len(), fault), (1, Some(FrameFault::TooShort { length: 1 })));
    }

    #[test]
    fn r4_any_split_gives_the_same_frames() {
        let bytes = [ECHO, &frame(b""), &frame(&[0x5a; 41]), &frame(b"x")].concat();
        let (whole, fault) = decode(&[&bytes]);
        assert_eq!((whole.len(), fault), (4, None));
        for cut in 0..=bytes.len() {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(decode(&[left, right]), (whole.clone(), None), "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single), (whole, None));
    }

    #[test]
    fn r5_memory_follows_the_bytes_that_arrived() {
        const LEN: usize = 16 << 20;
        let mut decoder = FrameDecoder::new(OWN);
        let length = (LEN as u32 - 1).to_be_bytes();
        assert!(decoder.feed(&mut &length[..]).unwrap().is_none());
        assert_eq!(decoder.held_bytes(), 0);
        let mut arrived = 0;
        let mut rest = vec![0x5a; LEN - 1];
        rest[LEN - 13..].copy_from_slice(&ECHO[24..]);
        for chunk in rest.chunks(10_000) {
            arrived += chunk.len();
            match decoder.feed(&mut &chunk[..]).unwrap() {
                Some(envelope) => {
                    let Body::Bytes(payload) = envelope.body else { panic!("no payload") };
                    assert_eq!((arrived, payload.len(), payload.heap_len()), (LEN - 1, LEN - 13, LEN - 13));
                    return;
                }
                None => assert!(decoder.held_bytes() <= FRAME_STEP_BYTES.max(2 * arrived), "{arrived}"),
            }
        }
        panic!("the frame never ended");
    }

    #[test]
    fn the_state_says_whether_a_frame_has_begun() {
        let mut decoder = FrameDecoder::new(OWN);
        for byte in &ECHO[..ECHO.len() - 1] {
            assert!(decoder.feed(&mut &[*byte][..]).unwrap().is_none());
            assert!(decoder.is_inside());
        }
        assert!(decoder.feed(&mut &ECHO[ECHO.len() - 1..]).unwrap().is_some());
        assert!(!decoder.is_inside());
    }

    #[test]
    fn a_long_payload_waits_to_be_admitted() {
        let long = frame(&[7; 100]);
        for cut in [4, 5, 50, long.len() - 1] {
            let mut decoder = FrameDecoder::with_gate(OWN, 99);
            let mut chunk = &long[..cut];
            for _ in 0..2 {
                assert!(decoder.feed(&mut chunk).unwrap().is_none());
                assert_eq!((decoder.gated(), chunk, decoder.held_bytes()), (Some(100), &long[4..cut], 0));
            }
            decoder.admit();
            let mut rest = &long[4..];
            let envelope = decoder.feed(&mut rest).unwrap().expect("all of it is there");
            assert_eq!((envelope.body.bytes().unwrap().len(), decoder.gated()), (100, None));
        }
        // Nothing has to be kept of one that is there whole, and a short one waits for nobody.
        let mut decoder = FrameDecoder::with_gate(OWN, 99);
        assert!(decoder.feed(&mut &long[..]).unwrap().is_some());
        let short = frame(&[7; 99]);
        assert!(decoder.feed(&mut &short[..50]).unwrap().is_none());
        assert_eq!((decoder.gated(), decoder.arrived()), (None, 46));
    }
}
