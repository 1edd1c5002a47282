//! Frames and packets as a peer writes and reads them: a reading of `wire.md` 4.2 that knows nothing of our decoder.

use crate::message::{Handle, HarborId};
use crate::wire::control::{Packet, encode};

/// The type of an answer.
pub const RESPONSE: u8 = 1;
/// The type of an error.
pub const ERROR: u8 = 7;
/// The type of packed values.
pub const LUA: u8 = 10;

/// One message between services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub source: u32,
    /// Who gets it.
    pub dest: u32,
    /// Its type.
    pub kind: u8,
    /// The session of the call, or 0.
    pub session: u32,
    /// Its bytes.
    pub payload: Vec<u8>,
}

impl Message {
    /// A call.
    pub fn call(source: u32, dest: u32, session: u32, payload: &[u8]) -> Self {
        Self { source, dest, kind: LUA, session, payload: payload.to_vec() }
    }

    /// An answer to this message.
    pub fn answer(&self, kind: u8, payload: &[u8]) -> Self {
        let (source, dest) = (self.dest, self.source);
        Self { source, dest, kind, session: self.session, payload: payload.to_vec() }
    }

    /// Its bytes on a link.
    pub fn to_frame(&self) -> Vec<u8> {
        let mut frame = (self.payload.len() as u32 + 12).to_be_bytes().to_vec();
        frame.extend_from_slice(&self.payload);
        frame.extend_from_slice(&self.source.to_be_bytes());
        frame.extend_from_slice(&(u32::from(self.kind) << 24 | self.dest & 0x00ff_ffff).to_be_bytes());
        frame.extend_from_slice(&self.session.to_be_bytes());
        frame
    }

    /// Takes the first frame of `bytes`; the receiver is node `to`.
    pub fn take(bytes: &mut Vec<u8>, to: u8) -> Option<Self> {
        let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
        let frame = bytes.get(4..4 + length)?;
        let (payload, trailer) = frame.split_at(length - 12);
        let word = |at: usize| trailer[at..].first_chunk().map_or(0, |word| u32::from_be_bytes(*word));
        let dest = u32::from(to) << 24 | word(4) & 0x00ff_ffff;
        let payload = payload.to_vec();
        let message = Self { source: word(0), dest, kind: trailer[4], session: word(8), payload };
        bytes.drain(..4 + length);
        Some(message)
    }
}

/// A control packet in bytes.
///
/// # Panics
/// If it is too long.
pub fn packet_bytes(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, &[], &mut bytes).expect("a packet that fits");
    bytes
}

/// `R`.
pub fn register(name: &str, handle: u32) -> Packet {
    Packet::Register { name: name.as_bytes().into(), handle: Handle::from_bits(handle) }
}

/// `Q`.
pub fn query(name: &str) -> Packet {
    Packet::Query { name: name.as_bytes().into() }
}

pub(super) fn id(id: u8) -> HarborId {
    HarborId::new(id)
}
