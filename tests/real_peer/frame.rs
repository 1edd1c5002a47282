//! Frames and packets as a peer writes and reads them: a reading of `wire.md` 4.2 that knows nothing of our decoder.

use skyharbor::message::{Handle, HarborId};
use skyharbor::wire::control::{Packet, encode};

pub(crate) const RESPONSE: u8 = 1;
pub(crate) const ERROR: u8 = 7;
pub(crate) const LUA: u8 = 10;

/// One message between services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) source: u32,
    pub(crate) dest: u32,
    pub(crate) kind: u8,
    pub(crate) session: u32,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn call(source: u32, dest: u32, session: u32, payload: &[u8]) -> Self {
        Self { source, dest, kind: LUA, session, payload: payload.to_vec() }
    }

    pub(crate) fn answer(&self, kind: u8, payload: &[u8]) -> Self {
        let (source, dest) = (self.dest, self.source);
        Self { source, dest, kind, session: self.session, payload: payload.to_vec() }
    }

    pub(crate) fn to_frame(&self) -> Vec<u8> {
        let mut frame = (self.payload.len() as u32 + 12).to_be_bytes().to_vec();
        frame.extend_from_slice(&self.payload);
        frame.extend_from_slice(&self.source.to_be_bytes());
        frame.extend_from_slice(&(u32::from(self.kind) << 24 | self.dest & 0x00ff_ffff).to_be_bytes());
        frame.extend_from_slice(&self.session.to_be_bytes());
        frame
    }

    /// Takes the first frame of `bytes`; the receiver is node `to`.
    pub(crate) fn take(bytes: &mut Vec<u8>, to: u8) -> Option<Self> {
        let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let frame = bytes.get(4..4 + length)?;
        let (payload, trailer) = frame.split_at(length - 12);
        let word = |at: usize| u32::from_be_bytes(trailer[at..at + 4].try_into().unwrap());
        let dest = u32::from(to) << 24 | word(4) & 0x00ff_ffff;
        let payload = payload.to_vec();
        let message = Self { source: word(0), dest, kind: trailer[4], session: word(8), payload };
        bytes.drain(..4 + length);
        Some(message)
    }
}

pub(crate) fn packet_bytes(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, &[], &mut bytes).unwrap();
    bytes
}

pub(crate) fn register(name: &str, handle: u32) -> Packet {
    Packet::Register { name: name.as_bytes().into(), handle: Handle::from_bits(handle) }
}

pub(crate) fn query(name: &str) -> Packet {
    Packet::Query { name: name.as_bytes().into() }
}

pub(crate) fn id(id: u8) -> HarborId {
    HarborId::new(id)
}
