//! Handles and harbor ids.

use std::fmt;
use std::str::FromStr;

/// A node's number in a cluster: 1–255, or 0 for a node that is alone ([`HarborId::SINGLE`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HarborId(u8);

impl HarborId {
    /// Single-node mode: no links, names and services work inside the process.
    pub const SINGLE: Self = Self(0);

    /// Wraps a raw id; every `u8` is one.
    pub const fn new(id: u8) -> Self {
        Self(id)
    }

    /// The raw id.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The id as an index into a table of 256 slots.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether this is [`HarborId::SINGLE`].
    pub const fn is_single(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for HarborId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The 32-bit address of a service: high 8 bits harbor id, low 24 bits service id.
///
/// Its text form is Skynet's, a colon and eight hexadecimal digits; parsing takes any case and width.
///
/// ```
/// use skyharbor::{Handle, HarborId};
/// let handle = Handle::new(HarborId::new(1), 0xabc);
/// assert_eq!(handle.to_string(), ":01000abc");
/// assert_eq!(":1000ABC".parse::<Handle>().unwrap(), handle);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u32);

impl Handle {
    /// No service. Skynet writes it where a source is unknown.
    pub const NONE: Self = Self(0);
    /// The largest service id, 2²⁴−1.
    pub const LOCAL_MAX: u32 = 0x00ff_ffff;

    /// The handle of service `local` (its low 24 bits are used) on node `harbor`.
    pub const fn new(harbor: HarborId, local: u32) -> Self {
        Self((harbor.get() as u32) << 24 | (local & Self::LOCAL_MAX))
    }

    /// A handle from its 32 bits.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The 32 bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The node part.
    pub const fn harbor(self) -> HarborId {
        HarborId::new((self.0 >> 24) as u8)
    }

    /// The service part, 24 bits.
    pub const fn local(self) -> u32 {
        self.0 & Self::LOCAL_MAX
    }

    /// Whether the handle names nothing.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether a message to this handle leaves the node `own`.
    pub fn is_remote(self, own: HarborId) -> bool {
        self.harbor() != own && !self.harbor().is_single()
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, ":{:08x}", self.0)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The text is not a handle: it must be `:` and one to eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a handle is ':' and one to eight hexadecimal digits")]
pub struct ParseHandleError;

impl FromStr for Handle {
    type Err = ParseHandleError;

    fn from_str(text: &str) -> Result<Self, ParseHandleError> {
        let digits = text.strip_prefix(':').ok_or(ParseHandleError)?;
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits.is_empty() || digits.len() > 8 || !hexadecimal {
            return Err(ParseHandleError);
        }
        u32::from_str_radix(digits, 16).map(Self).map_err(|_| ParseHandleError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_eight_and_twenty_four_bits() {
        let handle = Handle::new(HarborId::new(0xfe), 0x0100_0009);
        assert_eq!(handle.bits(), 0xfe00_0009);
        assert_eq!((handle.harbor().get(), handle.local()), (0xfe, 9));
        assert!(handle.is_remote(HarborId::new(1)));
        assert!(!handle.is_remote(HarborId::new(0xfe)));
        assert!(!Handle::from_bits(9).is_remote(HarborId::new(1)), "harbor 0 is never another node");
    }

    #[test]
    fn text_takes_any_case_and_width() {
        assert_eq!(":1".parse(), Ok(Handle::from_bits(1)));
        assert_eq!(":FF0000aB".parse(), Ok(Handle::from_bits(0xff00_00ab)));
        for bad in ["", ":", "01000abc", ":123456789", ":+1", ":g", ": 1"] {
            assert_eq!(bad.parse::<Handle>(), Err(ParseHandleError), "{bad:?}");
        }
    }
}
