//! What a local message carries beside its first 16 bytes.

/// Makes and checks the part of a message above 16 bytes.
pub(super) trait Filler: Copy + Send + 'static {
    /// That part.
    type Body: Send + 'static;
    /// The rest of message `seq`.
    fn make(self, seq: u64) -> Self::Body;
    /// Whether this is the rest of message `seq`.
    fn is_of(self, seq: u64, body: &Self::Body) -> bool;
}

/// Bytes of every message that are not its body.
pub(super) const HEAD_BYTES: usize = 16;

/// Nothing: the message has 16 bytes.
#[derive(Clone, Copy)]
pub(super) struct Plain;

/// Bytes of this message alone: allocated and filled where it is sent, checked and freed where it arrives.
#[derive(Clone, Copy)]
pub(super) struct Bulk {
    bytes: usize,
}

impl Bulk {
    /// The rest of messages of `size` bytes.
    pub(super) fn of_size(size: usize) -> Self {
        Self { bytes: size - HEAD_BYTES }
    }
}

impl Filler for Plain {
    type Body = ();

    fn make(self, _: u64) {}

    fn is_of(self, _: u64, (): &()) -> bool {
        true
    }
}

impl Filler for Bulk {
    type Body = Vec<u8>;

    fn make(self, seq: u64) -> Vec<u8> {
        vec![seq as u8; self.bytes]
    }

    fn is_of(self, seq: u64, body: &Vec<u8>) -> bool {
        let edge = Some(&(seq as u8));
        body.len() == self.bytes && body.first() == edge && body.last() == edge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_of_its_message_alone() {
        let (filler, longer) = (Bulk::of_size(64), Bulk::of_size(65));
        let body = filler.make(7);
        assert_eq!(body.len(), 48);
        assert!(filler.is_of(7, &body));
        assert!(!filler.is_of(8, &body) && !longer.is_of(7, &body));
        assert_eq!(size_of::<(u64, u64, <Plain as Filler>::Body)>(), HEAD_BYTES);
    }
}
