//! Global names.

use std::fmt;
use std::str::FromStr;

/// A global name: 1–15 bytes that neither start with `.` (local) or `:` (a handle) nor look like a number.
///
/// The rule is Skynet's (`skynet.name`, `service_harbor.c`); the bytes need not be UTF-8. Names of control packets
/// that break the rule can be carried by the registry but never made here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    len: u8,
    bytes: [u8; Name::LEN_MAX],
}

/// Why a text is not a global name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No bytes.
    #[error("a global name must not be empty")]
    Empty,
    /// More than [`Name::LEN_MAX`] bytes.
    #[error("a global name has at most 15 bytes, this one has {0}")]
    TooLong(usize),
    /// It starts with `.`, which marks names of one node.
    #[error("a global name must not start with '.', which marks local names")]
    Local,
    /// It starts with `:`, which marks handles.
    #[error("a global name must not start with ':', which marks handles")]
    HandleForm,
    /// Skynet takes it for a number.
    #[error("a global name must not look like a number")]
    Numeric,
}

impl Name {
    /// The most bytes that a global name has.
    pub const LEN_MAX: usize = 15;

    /// Checks and wraps `bytes`.
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        match bytes {
            [] => return Err(NameError::Empty),
            [b'.', ..] => return Err(NameError::Local),
            [b':', ..] => return Err(NameError::HandleForm),
            _ if bytes.len() > Self::LEN_MAX => return Err(NameError::TooLong(bytes.len())),
            _ if looks_like_a_number(bytes) => return Err(NameError::Numeric),
            _ => {}
        }
        let mut name = Self { len: bytes.len() as u8, bytes: [0; Self::LEN_MAX] };
        name.bytes[..bytes.len()].copy_from_slice(bytes);
        Ok(name)
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// `tonumber` of Lua: space around it, one sign, decimal or hexadecimal digits, a fraction, an exponent.
fn looks_like_a_number(bytes: &[u8]) -> bool {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = bytes.iter().position(|byte| !is_space(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    let unsigned = match &bytes[start..end] {
        [b'+' | b'-', rest @ ..] => rest,
        all => all,
    };
    match unsigned {
        [b'0', b'x' | b'X', digits @ ..] => is_numeral(digits, u8::is_ascii_hexdigit, *b"pP"),
        digits => is_numeral(digits, u8::is_ascii_digit, *b"eE"),
    }
}

/// Digits with at most one point, and an exponent or none.
fn is_numeral(bytes: &[u8], is_digit: fn(&u8) -> bool, exponent: [u8; 2]) -> bool {
    let marked = bytes.iter().position(|byte| exponent.contains(byte));
    let (mantissa, power) = bytes.split_at(marked.unwrap_or(bytes.len()));
    let points = mantissa.iter().filter(|byte| **byte == b'.').count();
    let digits = mantissa.iter().filter(|byte| is_digit(byte)).count();
    let power = match power {
        [_, b'+' | b'-', digits @ ..] | [_, digits @ ..] => Some(digits),
        [] => None,
    };
    let is_power = power.is_none_or(|power| !power.is_empty() && power.iter().all(u8::is_ascii_digit));
    digits > 0 && points <= 1 && digits + points == mantissa.len() && is_power
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text.as_bytes())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(out)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_skynet() {
        for good in ["A", "ECHO", "~sky.200", "a b", "x12", "nan", "inf", "123456789012345a"] {
            assert_eq!(Name::from_str(good).is_ok(), good.len() <= 15, "{good}");
        }
        for (bad, why) in [
            ("", NameError::Empty),
            (".echo", NameError::Local),
            (":01000001", NameError::HandleForm),
            ("1234567890abcdef", NameError::TooLong(16)),
            ("12", NameError::Numeric),
            ("-1.5e3", NameError::Numeric),
            ("0xff", NameError::Numeric),
        ] {
            assert_eq!(Name::from_str(bad), Err(why), "{bad}");
        }
        for number in ["7", "+7", " 7 ", "7.", "1.5", "1e5", "1E+5", "0x1f", "0X.8", "0x1p4", "\t0x1.8P-1\n"]
        {
            assert_eq!(Name::from_str(number), Err(NameError::Numeric), "{number:?}");
        }
        for name in [
            "7a", "--7", "1e", "1e+", "0x", "0x1p", "0xg", "1.2.3", "1_0", "e5", "+", "1 2", "7\0", "\u{a0}7",
        ] {
            assert!(Name::from_str(name).is_ok(), "{name:?}");
        }
        assert_eq!(Name::new(&[0xff, 0]).unwrap().to_string(), "\\xff\\x00");
    }
}
