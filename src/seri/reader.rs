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
