//! The bytes of a message.

use smallvec::SmallVec;
use std::fmt;
use std::ops::Deref;

/// The bytes of a message. Up to [`Payload::INLINE_LEN`] bytes live in the message itself, longer ones on the heap.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(SmallVec<[u8; Payload::INLINE_LEN]>);

impl Payload {
    /// How many bytes need no allocation.
    pub const INLINE_LEN: usize = 40;

    /// No bytes.
    pub fn new() -> Self {
        Self(SmallVec::new())
    }

    /// Takes over a vector without copying it.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self(SmallVec::from_vec(bytes))
    }

    /// The bytes as a vector; those that live in the message are copied out.
    pub fn into_vec(self) -> Vec<u8> {
        self.0.into_vec()
    }

    /// Bytes that this payload holds outside the message.
    pub fn heap_len(&self) -> usize {
        if self.0.spilled() { self.0.capacity() } else { 0 }
    }

    /// Appends bytes.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Payload {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from_vec(bytes)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            len @ 0..=32 => write!(out, "Payload({len}: {})", self.escape_ascii()),
            len => write!(out, "Payload({len}: {}…)", self[..32].escape_ascii()),
        }
    }
}
