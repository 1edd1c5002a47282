//! The bytes of one value, without its place in a message.
//!
//! ```text
//!   head byte              then
//!  ┌───────────┬─────────┐
//!  │ cookie: 5 │ kind: 3 │
//!  └───────────┴─────────┘
//!    any         0 nil      -
//!    0, other    1 bool     -                                     false, true
//!    0           2 number   -                                     the integer 0
//!    1  2  4  6  2          u8, u16le, i32le, i64le               an integer
//!    8           2          f64le                                 a float
//!    any         3 pointer  8 bytes                               of no meaning on another machine
//!    0..=31      4 short    as many bytes                         a string
//!    2  4        5 long     u16le or u32le, as many bytes         a string
//!    0..=30      6 table    as many values, pairs, nil            the array's length is the cookie
//!    31          6          an integer, as many values, pairs, nil
//! ```

use super::error::{UnpackError, reason};

const NIL: u8 = 0;
const BOOL: u8 = 1;
const NUMBER: u8 = 2;
const POINTER: u8 = 3;
const SHORT_STRING: u8 = 4;
const LONG_STRING: u8 = 5;
const TABLE: u8 = 6;

const ZERO: u8 = 0;
const U8: u8 = 1;
const U16: u8 = 2;
const I32: u8 = 4;
const I64: u8 = 6;
const F64: u8 = 8;
const LENGTH_U16: u8 = 2;
const LENGTH_U32: u8 = 4;
/// The largest cookie: the longest short string; for tables the mark that the length follows.
const COOKIE_MAX: u8 = 31;

pub(super) const HEAD_NIL: u8 = NIL;
pub(super) const HEAD_POINTER: u8 = POINTER;
/// Ends the pairs of a table.
pub(super) const HEAD_END: u8 = NIL;

const fn head(kind: u8, cookie: u8) -> u8 {
    kind | cookie << 3
}

pub(super) fn bool_head(value: bool) -> u8 {
    head(BOOL, u8::from(value))
}

/// A head with the number behind it: at most one byte for the table, nine for its length.
#[derive(Clone, Copy)]
pub(super) struct Head {
    bytes: [u8; 10],
    len: u8,
}

impl Head {
    fn new(head: u8, number: &[u8]) -> Self {
        let mut bytes = [0; 10];
        bytes[0] = head;
        bytes[1..=number.len()].copy_from_slice(number);
        Self { bytes, len: number.len() as u8 + 1 }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// An integer in the form that Skynet chooses (`wb_integer` of `lua-seri.c`).
    pub(super) fn int(value: i64) -> Self {
        if value == 0 {
            Self::new(head(NUMBER, ZERO), &[])
        } else if let Ok(byte) = u8::try_from(value) {
            Self::new(head(NUMBER, U8), &[byte])
        } else if let Ok(short) = u16::try_from(value) {
            Self::new(head(NUMBER, U16), &short.to_le_bytes())
        } else if let Ok(word) = i32::try_from(value) {
            Self::new(head(NUMBER, I32), &word.to_le_bytes())
        } else {
            Self::new(head(NUMBER, I64), &value.to_le_bytes())
        }
    }

    pub(super) fn float(value: f64) -> Self {
        Self::new(head(NUMBER, F64), &value.to_le_bytes())
    }

    /// What stands before `len` bytes of a string; `None` if a string cannot be that long.
    pub(super) fn string(len: usize) -> Option<Self> {
        if len <= usize::from(COOKIE_MAX) {
            Some(Self::new(head(SHORT_STRING, len as u8), &[]))
        } else if let Ok(short) = u16::try_from(len) {
            Some(Self::new(head(LONG_STRING, LENGTH_U16), &short.to_le_bytes()))
        } else {
            let word = u32::try_from(len).ok()?;
            Some(Self::new(head(LONG_STRING, LENGTH_U32), &word.to_le_bytes()))
        }
    }

    /// What stands before a table whose array part has `array_len` elements; `None` if it cannot be that long.
    pub(super) fn table(array_len: usize) -> Option<Self> {
        if array_len < usize::from(COOKIE_MAX) {
            return Some(Self::new(head(TABLE, array_len as u8), &[]));
        }
        let len = Self::int(i64::from(i32::try_from(array_len).ok()?));
        Some(Self::new(head(TABLE, COOKIE_MAX), len.as_bytes()))
    }
}

/// One step of a message, as [`Reader`](super::Reader) gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Nil, or a missing element of an array.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer. A float key with an integral value is one too.
    Int(i64),
    /// A float, whatever its value.
    Float(f64),
    /// A string: any bytes, borrowed from the message.
    Bytes(&'a [u8]),
    /// A light userdata of the sender's process.
    Pointer(u64),
    /// A table begins: so many values of its array part follow, then keys and values in turn, then [`Token::End`].
    Table {
        /// The length of the array part: indices 1 to this. A reader gives no more than the bytes that remain can hold,
        /// those of all open tables together.
        array_len: usize,
    },
    /// The table that was begun last ends.
    End,
}

impl<'a> Token<'a> {
    /// The integer, also of a float with an integral value, as Lua's `lua_tointeger` takes it.
    pub fn as_int(self) -> Option<i64> {
        if let Self::Float(value) = self {
            return integral(value);
        }
        if let Self::Int(value) = self { Some(value) } else { None }
    }

    /// The bytes of a string.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The same as a key: Lua keeps a float with an integral value as an integer. `None` for NaN, which is no key.
    pub(super) fn into_key(self) -> Option<Self> {
        let Self::Float(value) = self else { return Some(self) };
        if value.is_nan() {
            return None;
        }
        Some(integral(value).map_or(self, Self::Int))
    }
}

/// The integer that a float stands for, if there is one.
pub(super) fn integral(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0; // 2^63
    ((-LIMIT..LIMIT).contains(&value) && value.fract() == 0.0).then_some(value as i64)
}

/// Reads the value at `offset` and says where the next begins; of a table only what stands before its first element.
pub(super) fn decode(bytes: &[u8], offset: usize) -> Result<(Token<'_>, usize), UnpackError> {
    let fault = |reason| UnpackError { offset, reason };
    let (&first, rest) = bytes.get(offset..).and_then(<[u8]>::split_first).ok_or(fault(reason::TRUNCATED))?;
    let cookie = first >> 3;
    let (token, len) = match first & 7 {
        NIL => (Token::Nil, 0),
        BOOL => (Token::Bool(cookie != 0), 0),
        NUMBER => decode_number(rest, cookie).map_err(fault)?,
        POINTER => (Token::Pointer(u64::from_le_bytes(*chunk(rest).map_err(fault)?)), 8),
        SHORT_STRING => decode_string(rest, 0, usize::from(cookie)).map_err(fault)?,
        LONG_STRING => decode_long_string(rest, cookie).map_err(fault)?,
        TABLE if cookie == COOKIE_MAX => match decode(bytes, offset + 1)? {
            (Token::Int(len), next) => (Token::Table { array_len: array_len(len) }, next - offset - 1),
            _ => return Err(fault(reason::ARRAY_LENGTH)),
        },
        TABLE => (Token::Table { array_len: usize::from(cookie) }, 0),
        _ => return Err(fault(reason::KIND)),
    };
    Ok((token, offset + 1 + len))
}

/// Skynet cuts an array length to a signed 32-bit number; a negative one means no elements.
fn array_len(len: i64) -> usize {
    usize::try_from(len as i32).unwrap_or(0)
}

fn decode_number(rest: &[u8], cookie: u8) -> Result<(Token<'_>, usize), &'static str> {
    Ok(match cookie {
        ZERO => (Token::Int(0), 0),
        U8 => (Token::Int(i64::from(u8::from_le_bytes(*chunk(rest)?))), 1),
        U16 => (Token::Int(i64::from(u16::from_le_bytes(*chunk(rest)?))), 2),
        I32 => (Token::Int(i64::from(i32::from_le_bytes(*chunk(rest)?))), 4),
        I64 => (Token::Int(i64::from_le_bytes(*chunk(rest)?)), 8),
        F64 => (Token::Float(f64::from_le_bytes(*chunk(rest)?)), 8),
        _ => return Err(reason::NUMBER_FORM),
    })
}

fn decode_long_string(rest: &[u8], cookie: u8) -> Result<(Token<'_>, usize), &'static str> {
    match cookie {
        LENGTH_U16 => decode_string(rest, 2, usize::from(u16::from_le_bytes(*chunk(rest)?))),
        LENGTH_U32 => decode_string(rest, 4, u32::from_le_bytes(*chunk(rest)?) as usize),
        _ => Err(reason::STRING_FORM),
    }
}

fn decode_string(rest: &[u8], from: usize, len: usize) -> Result<(Token<'_>, usize), &'static str> {
    let string = rest.get(from..).and_then(|rest| rest.get(..len)).ok_or(reason::TRUNCATED)?;
    Ok((Token::Bytes(string), from + len))
}

fn chunk<const N: usize>(rest: &[u8]) -> Result<&[u8; N], &'static str> {
    rest.first_chunk().ok_or(reason::TRUNCATED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_as_short_as_skynets() {
        for (value, len) in [
            (0, 1),
            (1, 2),
            (255, 2),
            (256, 3),
            (65_535, 3),
            (65_536, 5),
            (-1, 5),
            (i64::from(i32::MAX), 5),
            (i64::from(i32::MIN), 5),
            (i64::from(i32::MAX) + 1, 9),
            (i64::from(i32::MIN) - 1, 9),
        ] {
            let head = Head::int(value);
            assert_eq!(head.as_bytes().len(), len, "{value}");
            assert_eq!(decode(head.as_bytes(), 0), Ok((Token::Int(value), len)));
        }
        let string_len = |len| Head::string(len).map(|head| head.as_bytes().len());
        assert_eq!([31, 32, 65_535, 65_536].map(string_len), [Some(1), Some(3), Some(3), Some(5)]);
        let table_len = |len| Head::table(len).map(|head| head.as_bytes().len());
        assert_eq!([30, 31, 256, 1 << 31].map(table_len), [Some(1), Some(3), Some(4), None]);
    }

    #[test]
    fn an_array_length_is_cut_to_32_bits_with_a_sign() {
        for (len, array_len) in
            [(0x1_0000_0001, 1), (0xffff_ffff, 0), (-1, 0), (i64::MIN, 0), (0x7fff_ffff, 0x7fff_ffff)]
        {
            let bytes = [&[0xfe], Head::int(len).as_bytes()].concat();
            assert_eq!(decode(&bytes, 0), Ok((Token::Table { array_len }, bytes.len())), "{len}");
        }
    }

    #[test]
    fn a_float_is_an_integer_as_key_if_lua_says_so() {
        for (float, key) in [
            (-0.0, Some(Token::Int(0))),
            (-9_223_372_036_854_775_808.0, Some(Token::Int(i64::MIN))),
            (9_223_372_036_854_775_808.0, Some(Token::Float(9_223_372_036_854_775_808.0))),
            (9_223_372_036_854_774_784.0, Some(Token::Int(9_223_372_036_854_774_784))),
            (0.5, Some(Token::Float(0.5))),
            (f64::INFINITY, Some(Token::Float(f64::INFINITY))),
            (f64::NAN, None),
        ] {
            assert_eq!(Token::Float(float).into_key(), key, "{float}");
        }
    }
}
