//! Session numbers.

/// The number by which an answer finds its call: 0 = no answer wanted, otherwise 1..=2³¹−1.
///
/// The wire carries 32 bits. A peer may send the top bit set (a real node never does); such a session is kept
/// and echoed unchanged, never produced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(u32);

impl Session {
    /// No answer wanted.
    pub const NONE: Self = Self(0);
    /// The largest session that is ever chosen, 2³¹−1.
    pub const MAX: Self = Self(0x7fff_ffff);

    /// A session from its 32 bits, as they came from the wire.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The 32 bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether somebody waits for an answer.
    pub const fn wants_answer(self) -> bool {
        self.0 != 0
    }

    /// The session after this one: 2³¹−1 is followed by 1.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 >= Self::MAX.0 { Self(1) } else { Self(self.0 + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_wraps_past_zero() {
        assert_eq!(Session::NONE.next().bits(), 1);
        assert_eq!(Session::MAX.next().bits(), 1);
        assert_eq!(Session::from_bits(u32::MAX).next().bits(), 1);
    }
}
