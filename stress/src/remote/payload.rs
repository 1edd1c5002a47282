//! Payloads that carry their number and can be checked.
//!
//! ```text
//!  0         8         16                     size
//!  ├─ number ┼─ check ─┼─ low byte of number ─┤      little endian; check = mix(seed ^ number)
//! ```

use crate::random::mix;

/// The least bytes of a payload.
const HEAD_BYTES: usize = 16;

/// Writes and reads the payloads of one run.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    seed: u64,
    size: usize,
}

impl Stamp {
    /// Payloads of `size` bytes, at least 16.
    pub(super) fn new(seed: u64, size: usize) -> Self {
        Self { seed, size: size.max(HEAD_BYTES) }
    }

    /// The payload of message `number`.
    pub(super) fn write(&self, number: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size);
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&mix(self.seed ^ number).to_le_bytes());
        bytes.resize(self.size, number as u8);
        bytes
    }

    /// The number of a payload, if it is one of this run.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<u64> {
        let (number, rest) = bytes.split_first_chunk()?;
        let (check, rest) = rest.split_first_chunk()?;
        let number = u64::from_le_bytes(*number);
        let is_whole = bytes.len() == self.size && rest.last().is_none_or(|&last| last == number as u8);
        (is_whole && u64::from_le_bytes(*check) == mix(self.seed ^ number)).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_read_only_as_it_was_written() {
        let stamp = Stamp::new(7, 32);
        let bytes = stamp.write(1000);
        assert_eq!(bytes.len(), 32);
        assert_eq!(stamp.read(&bytes), Some(1000));
        assert_eq!(stamp.read(&bytes[..31]), None);
        assert_eq!(Stamp::new(8, 32).read(&bytes), None, "of another run");
        for place in [0, 8, 31] {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1;
            assert_eq!(stamp.read(&bytes), None, "byte {place} changed");
        }
        let least = Stamp::new(7, 16);
        assert_eq!(least.read(&least.write(3)), Some(3));
        assert_eq!(least.read(&[]), None);
    }
}
