//! Packed values, read one after the other.

use super::error::{UnpackError, reason};
use super::format::{Token, decode};
use crate::limits::{SERI_BYTES_MAX, SERI_READ_DEPTH_MAX};
use smallvec::SmallVec;

/// What a reader accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most tables inside each other.
    pub depth_max: usize,
    /// The most bytes of a message.
    pub bytes_max: usize,
}

impl Default for Limits {
    /// [`SERI_READ_DEPTH_MAX`] and [`SERI_BYTES_MAX`].
    fn default() -> Self {
        Self { depth_max: SERI_READ_DEPTH_MAX, bytes_max: SERI_BYTES_MAX }
    }
}

/// Reads packed values token by token, every form of them; strings are borrowed from the message.
///
/// It keeps the grammar (which value is an element, a key, an end) and allocates only for tables inside each other,
/// never for what an array length promises: a length that the bytes that remain cannot hold is an error at once.
///
/// ```
/// # use skyharbor::seri::{Reader, Token, UnpackError};
/// let mut reader = Reader::new(b"\x0cW\x0a\x02");
/// assert_eq!(reader.read()?, Some(Token::Bytes(b"W")));
/// assert_eq!(reader.read()?, Some(Token::Int(2)));
/// assert_eq!(reader.read()?, None);
/// # Ok::<(), UnpackError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    limits: Limits,
    open: SmallVec<[Open; 8]>,
    /// Bytes that the open tables need at least: one for each element to come, for the value of a key, for the end.
    owed: usize,
}

/// A table that was begun and not ended.
#[derive(Clone, Copy, Debug)]
struct Open {
    elements_left: usize,
    /// A key was read, its value comes next.
    value_next: bool,
}

impl<'a> Reader<'a> {
    /// A reader of one message, with the default limits.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::with_limits(bytes, Limits::default())
    }

    /// A reader of one message.
    pub fn with_limits(bytes: &'a [u8], limits: Limits) -> Self {
        Self { bytes, offset: 0, limits, open: SmallVec::new(), owed: 0 }
    }

    /// Where the next token begins, in bytes from the start of the message.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// How many tables are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// Reads the next token; `None` at the end of the message.
    ///
    /// # Errors
    /// The first fault of the bytes; it stays where it is, so reading on gives it again.
    pub fn read(&mut self) -> Result<Option<Token<'a>>, UnpackError> {
        if self.bytes.len() > self.limits.bytes_max {
            return Err(UnpackError { offset: self.limits.bytes_max, reason: reason::TOO_LARGE });
        }
        if self.offset == self.bytes.len() && self.open.is_empty() {
            return Ok(None);
        }
        let (token, next) = decode(self.bytes, self.offset)?;
        if let Token::Table { array_len } = token {
            self.check_table(array_len, next)?;
        }
        let token = self.advance(token)?;
        if let Token::Table { array_len } = token {
            self.owed += array_len + 1;
            self.open.push(Open { elements_left: array_len, value_next: false });
        }
        self.offset = next;
        Ok(Some(token))
    }

    /// Whether a table with such an array part may begin here, its first element at `next`.
    fn check_table(&self, array_len: usize, next: usize) -> Result<(), UnpackError> {
        let fault = |reason| UnpackError { offset: self.offset, reason };
        if self.open.len() >= self.limits.depth_max {
            return Err(fault(reason::TOO_DEEP));
        }
        // `owed` still counts the table itself where one is due; that byte stands for its end.
        if self.owed.saturating_add(array_len) > self.bytes.len() - next {
            return Err(fault(reason::ARRAY_TOO_LONG));
        }
        Ok(())
    }

    /// Steps over the place of one value, and says what the value is there.
    fn advance(&mut self, token: Token<'a>) -> Result<Token<'a>, UnpackError> {
        let Some(open) = self.open.last_mut() else { return Ok(token) };
        if open.elements_left > 0 {
            open.elements_left -= 1;
            self.owed -= 1;
            return Ok(token);
        }
        if open.value_next {
            open.value_next = false;
            self.owed -= 1;
            return Ok(token);
        }
        if token == Token::Nil {
            self.open.pop();
            self.owed -= 1;
            return Ok(Token::End);
        }
        let fault = UnpackError { offset: self.offset, reason: reason::NAN_KEY };
        let key = token.into_key().ok_or(fault)?;
        open.value_next = true;
        self.owed += 1;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all<'a>(reader: &mut Reader<'a>) -> Result<Vec<Token<'a>>, UnpackError> {
        let mut tokens = Vec::new();
        while let Some(token) = reader.read()? {
            tokens.push(token);
        }
        Ok(tokens)
    }

    #[test]
    fn tokens_come_in_their_places() {
        // { nil, 2, [1.0] = {}, [{}] = nil }, nil
        let bytes = b"\x16\x00\x0a\x02\x42\0\0\0\0\0\0\xf0\x3f\x06\x00\x06\x00\x00\x00\x00";
        let mut reader = Reader::new(bytes);
        let tokens = [
            Token::Table { array_len: 2 },
            Token::Nil,
            Token::Int(2),
            Token::Int(1),
            Token::Table { array_len: 0 },
            Token::End,
            Token::Table { array_len: 0 },
            Token::End,
            Token::Nil,
            Token::End,
            Token::Nil,
        ];
        assert_eq!(read_all(&mut reader), Ok(tokens.to_vec()));
        assert_eq!((reader.offset(), reader.depth()), (bytes.len(), 0));
        assert_eq!(reader.read(), Ok(None), "it stays at the end");
    }

    #[test]
    fn every_fault_has_its_place_and_reason() {
        for (bytes, offset, reason) in [
            (&b"\x09\x0a"[..], 1, reason::TRUNCATED),
            (b"\x12\x00", 0, reason::TRUNCATED),
            (b"\x22\x00\x00\x00", 0, reason::TRUNCATED),
            (b"\x32\x00\x00\x00\x00\x00\x00\x00", 0, reason::TRUNCATED),
            (b"\x42\x00", 0, reason::TRUNCATED),
            (b"\x03\x00\x00\x00\x00\x00\x00\x00", 0, reason::TRUNCATED),
            (b"\x00\x14a", 1, reason::TRUNCATED),
            (b"\x15\x01", 0, reason::TRUNCATED),
            (b"\x15\x02\x00a", 0, reason::TRUNCATED),
            (b"\x25\xff\xff\xff\xffa", 0, reason::TRUNCATED),
            (b"\x06", 1, reason::TRUNCATED),
            (b"\x06\x09", 2, reason::TRUNCATED),
            (b"\xfe", 1, reason::TRUNCATED),
            (b"\x0e", 0, reason::ARRAY_TOO_LONG),
            (b"\x00\xfe\x22\xff\xff\xff\x7f\x00\x00", 1, reason::ARRAY_TOO_LONG),
            (b"\x16\x16\x00\x00\x00", 1, reason::ARRAY_TOO_LONG),
            (b"\xfe\x42\0\0\0\0\0\0\0\x40\x00", 0, reason::ARRAY_LENGTH),
            (b"\xfe\x0ca\x00", 0, reason::ARRAY_LENGTH),
            (b"\xfe\x06\x00\x00", 0, reason::ARRAY_LENGTH),
            (b"\xfe\x1a", 1, reason::NUMBER_FORM),
            (b"\x00\x00\x1a", 2, reason::NUMBER_FORM),
            (b"\x0d\x01", 0, reason::STRING_FORM),
            (b"\x0a\x01\x07", 2, reason::KIND),
            (b"\xff", 0, reason::KIND),
            (b"\x06\x42\0\0\0\0\0\0\xf8\x7f\x09\x00", 1, reason::NAN_KEY),
        ] {
            let mut reader = Reader::new(bytes);
            let fault = UnpackError { offset, reason };
            assert_eq!(read_all(&mut reader), Err(fault), "{}", bytes.escape_ascii());
            assert_eq!(reader.read(), Err(fault), "it stays at the fault");
        }
    }

    #[test]
    fn limits_hold_to_the_step() {
        let limits = Limits { depth_max: 3, bytes_max: 100 };
        let bytes = b"\x0e\x0e\x06\x00\x00\x00";
        assert!(read_all(&mut Reader::with_limits(bytes, limits)).is_ok());
        let bytes = b"\x0e\x0e\x0e\x06\x00\x00\x00\x00";
        let fault = UnpackError { offset: 3, reason: reason::TOO_DEEP };
        assert_eq!(read_all(&mut Reader::with_limits(bytes, limits)), Err(fault));
        assert!(read_all(&mut Reader::with_limits(&[0; 100], limits)).is_ok());
        let fault = UnpackError { offset: 100, reason: reason::TOO_LARGE };
        assert_eq!(read_all(&mut Reader::with_limits(&[0; 101], limits)), Err(fault));
        // Each table is a key of the one around it.
        let fault = UnpackError { offset: SERI_READ_DEPTH_MAX, reason: reason::TOO_DEEP };
        assert_eq!(read_all(&mut Reader::new(&[0x06; 1000])), Err(fault));
    }
}
