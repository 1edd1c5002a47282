//! Packed values, written one after the other.

use super::error::PackError;
use super::format::{HEAD_END, HEAD_NIL, HEAD_POINTER, Head, Token, bool_head};
use crate::limits::{SERI_BYTES_MAX, SERI_WRITE_DEPTH_MAX};
use smallvec::SmallVec;

/// Appends packed values to a vector, in the form that Skynet writes.
///
/// The writer knows where in a table it stands: it refuses nil and NaN as keys, writes a float key with an integral
/// value as the integer that it is in Lua, and takes a pair back whose value is nil. A writer that is dropped before
/// [`finish`](Self::finish), as after an error, leaves the vector as it was.
///
/// ```
/// # use skyharbor::seri::{PackError, Writer};
/// let mut packet = Vec::new();
/// let mut writer = Writer::new(&mut packet);
/// writer.str("H")?;
/// writer.int(2)?;
/// writer.finish()?;
/// assert_eq!(packet, b"\x0cH\x0a\x02");
/// # Ok::<(), PackError>(())
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    bytes: &'a mut Vec<u8>,
    /// Where this message begins, and what a drop cuts back to.
    start: usize,
    open: SmallVec<[Open; 4]>,
}

/// A table that was begun and not ended.
#[derive(Debug)]
struct Open {
    head_at: usize,
    /// The array length that its head says.
    announced: usize,
    elements: usize,
    next: Next,
}

/// What the next value of a table is.
///
/// ```text
///  begin_array ─► Listed            begin_table ─► Element ──last──► Key ◄──► Pair
///                                       └──────── length 0 ──────────▲
/// ```
#[derive(Clone, Copy, Debug)]
enum Next {
    /// An element of a table that has nothing else.
    Listed,
    /// An element, before the pairs.
    Element,
    Key,
    /// The value of the key that was written at `key_at`.
    Pair {
        key_at: usize,
    },
}

impl<'a> Writer<'a> {
    /// A writer that appends to `bytes`.
    pub fn new(bytes: &'a mut Vec<u8>) -> Self {
        let start = bytes.len();
        Self { bytes, start, open: SmallVec::new() }
    }

    /// Keeps what was written.
    ///
    /// # Errors
    /// [`PackError::Unfinished`] if a table is open.
    pub fn finish(mut self) -> Result<(), PackError> {
        if !self.open.is_empty() {
            return Err(PackError::Unfinished);
        }
        self.start = self.bytes.len();
        Ok(())
    }

    /// Writes nil. As the value of a pair it takes the pair back.
    ///
    /// # Errors
    /// [`PackError::NilKey`] where a key is due; `TooDeep` and `TooLarge` as all methods.
    pub fn nil(&mut self) -> Result<(), PackError> {
        match self.advance()? {
            Some(Next::Key) => Err(PackError::NilKey),
            Some(Next::Pair { key_at }) => {
                self.bytes.truncate(key_at);
                Ok(())
            }
            None | Some(Next::Listed | Next::Element) => self.append(&[HEAD_NIL]),
        }
    }

    /// Writes a boolean.
    ///
    /// # Errors
    /// `TooDeep` and `TooLarge` as all methods.
    pub fn bool(&mut self, value: bool) -> Result<(), PackError> {
        self.advance()?;
        self.append(&[bool_head(value)])
    }

    /// Writes an integer.
    ///
    /// # Errors
    /// `TooDeep` and `TooLarge` as all methods.
    pub fn int(&mut self, value: i64) -> Result<(), PackError> {
        self.advance()?;
        self.append(Head::int(value).as_bytes())
    }

    /// Writes a float, which stays one even if its value is integral, except as a key.
    ///
    /// # Errors
    /// [`PackError::NanKey`]; `TooDeep` and `TooLarge` as all methods.
    pub fn float(&mut self, value: f64) -> Result<(), PackError> {
        let head = match self.advance()? {
            Some(Next::Key) => match Token::Float(value).into_key() {
                None => return Err(PackError::NanKey),
                Some(key) => key.as_int().map_or(Head::float(value), Head::int),
            },
            None | Some(Next::Listed | Next::Element | Next::Pair { .. }) => Head::float(value),
        };
        self.append(head.as_bytes())
    }

    /// Writes a string of any bytes.
    ///
    /// # Errors
    /// `TooDeep` and `TooLarge` as all methods.
    pub fn bytes(&mut self, value: &[u8]) -> Result<(), PackError> {
        self.advance()?;
        self.append_string(value)
    }

    /// Writes a string.
    ///
    /// # Errors
    /// `TooDeep` and `TooLarge` as all methods.
    pub fn str(&mut self, value: &str) -> Result<(), PackError> {
        self.bytes(value.as_bytes())
    }

    /// Writes a light userdata, which means nothing in another process.
    ///
    /// # Errors
    /// `TooDeep` and `TooLarge` as all methods.
    pub fn pointer(&mut self, value: u64) -> Result<(), PackError> {
        self.advance()?;
        self.append(&[HEAD_POINTER])?;
        self.append(&value.to_le_bytes())
    }

    /// Begins a table: the next `array_len` values are its elements 1 to `array_len`, those after them keys and values
    /// in turn, until [`end`](Self::end).
    ///
    /// # Errors
    /// `TooDeep` and `TooLarge` as all methods.
    pub fn begin_table(&mut self, array_len: usize) -> Result<(), PackError> {
        self.begin(array_len, if array_len == 0 { Next::Key } else { Next::Element })
    }

    /// Begins a table in which every value is an element, until [`end`](Self::end). `expected_len` may be wrong: the
    /// length is mended at the end.
    ///
    /// # Errors
    /// `TooDeep` and `TooLarge` as all methods.
    pub fn begin_array(&mut self, expected_len: usize) -> Result<(), PackError> {
        // A wrong guess must not cost more than the mending.
        self.begin(expected_len.min(SERI_BYTES_MAX), Next::Listed)
    }

    /// Ends the table that was begun last.
    ///
    /// # Errors
    /// [`PackError::Unfinished`] if elements or the value of a key are missing, or no table is open.
    pub fn end(&mut self) -> Result<(), PackError> {
        let open = self.open.pop().ok_or(PackError::Unfinished)?;
        match open.next {
            Next::Listed if open.elements != open.announced => self.mend(&open)?,
            Next::Listed | Next::Key => {}
            Next::Element | Next::Pair { .. } => return Err(PackError::Unfinished),
        }
        self.append(&[HEAD_END])
    }

    /// Bytes in the vector, those before this message included.
    pub(super) fn position(&self) -> usize {
        self.bytes.len()
    }

    /// Puts a string in the place of the last value, which begins at `position`.
    pub(super) fn replace_with_str(&mut self, position: usize, value: &str) -> Result<(), PackError> {
        self.bytes.truncate(position);
        self.append_string(value.as_bytes())
    }

    fn begin(&mut self, announced: usize, next: Next) -> Result<(), PackError> {
        self.advance()?;
        let head_at = self.bytes.len();
        let head = Head::table(announced).ok_or(PackError::TooLarge)?;
        self.append(head.as_bytes())?;
        self.open.push(Open { head_at, announced, elements: 0, next });
        Ok(())
    }

    /// Steps over the place of one value and says which it was; `None` outside tables.
    fn advance(&mut self) -> Result<Option<Next>, PackError> {
        // A 33rd table may be begun, but nothing fits into it: so Skynet does.
        if self.open.len() > SERI_WRITE_DEPTH_MAX {
            return Err(PackError::TooDeep);
        }
        let position = self.bytes.len();
        let Some(open) = self.open.last_mut() else { return Ok(None) };
        let place = open.next;
        match place {
            Next::Listed => open.elements += 1,
            Next::Element => {
                open.elements += 1;
                if open.elements == open.announced {
                    open.next = Next::Key;
                }
            }
            Next::Key => open.next = Next::Pair { key_at: position },
            Next::Pair { .. } => open.next = Next::Key,
        }
        Ok(Some(place))
    }

    /// Rewrites the head of an array whose length was not what was expected.
    fn mend(&mut self, open: &Open) -> Result<(), PackError> {
        let old_len = Head::table(open.announced).ok_or(PackError::TooLarge)?.as_bytes().len();
        let head = Head::table(open.elements).ok_or(PackError::TooLarge)?;
        self.bytes.splice(open.head_at..open.head_at + old_len, head.as_bytes().iter().copied());
        Ok(())
    }

    fn append_string(&mut self, value: &[u8]) -> Result<(), PackError> {
        let head = Head::string(value.len()).ok_or(PackError::TooLarge)?;
        self.append(head.as_bytes())?;
        self.append(value)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        if self.bytes.len() - self.start + bytes.len() > SERI_BYTES_MAX {
            return Err(PackError::TooLarge);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.bytes.truncate(self.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer<'_>) -> Result<(), PackError>) -> Result<Vec<u8>, PackError> {
        let mut bytes = b"before".to_vec();
        let mut writer = Writer::new(&mut bytes);
        match write(&mut writer) {
            Ok(()) => writer.finish().map(|()| bytes.split_off(6)),
            Err(error) => {
                drop(writer);
                assert_eq!(bytes, b"before", "an error leaves nothing behind");
                Err(error)
            }
        }
    }

    #[test]
    fn pairs_are_mended_to_what_lua_can_hold() {
        let bytes = written(|writer| {
            writer.begin_table(1)?;
            writer.nil()?;
            writer.float(2.0)?;
            writer.float(2.0)?;
            writer.begin_table(0)?;
            writer.end()?;
            writer.nil()?;
            writer.str("a")?;
            writer.bool(true)?;
            writer.end()
        });
        assert_eq!(bytes.unwrap(), b"\x0e\x00\x0a\x02\x42\0\0\0\0\0\0\0\x40\x0ca\x09\x00");
    }

    #[test]
    fn a_wrong_expected_length_is_mended() {
        for expected in [0, 1, 30, 31, 300, usize::MAX] {
            for len in [0, 1, 30, 31, 255, 256] {
                let list = written(|writer| {
                    writer.begin_array(1)?;
                    writer.begin_array(expected)?;
                    (0..len).try_for_each(|_| writer.bool(true))?;
                    writer.end()?;
                    writer.end()
                });
                let head = Head::table(len).unwrap();
                let wanted = [b"\x0e", head.as_bytes(), &vec![0x09; len], b"\0\0"].concat();
                assert_eq!(list, Ok(wanted), "{expected} expected, {len} came");
            }
        }
    }

    #[test]
    fn what_is_not_finished_is_refused() {
        type Write = fn(&mut Writer<'_>) -> Result<(), PackError>;
        let cases: [Write; 5] = [
            |writer| writer.end(),
            |writer| writer.begin_table(0),
            |writer| writer.begin_table(1).and_then(|()| writer.end()),
            |writer| writer.begin_table(0).and_then(|()| writer.int(1)).and_then(|()| writer.end()),
            |writer| writer.begin_array(0).and_then(|()| writer.end()).and_then(|()| writer.end()),
        ];
        for (case, write) in cases.into_iter().enumerate() {
            assert_eq!(written(write), Err(PackError::Unfinished), "{case}");
        }
    }

    #[test]
    fn keys_are_checked() {
        let nil = |writer: &mut Writer<'_>| writer.begin_table(0).and_then(|()| writer.nil());
        let nan = |writer: &mut Writer<'_>| writer.begin_table(0).and_then(|()| writer.float(f64::NAN));
        assert_eq!(written(nil), Err(PackError::NilKey));
        assert_eq!(written(nan), Err(PackError::NanKey));
    }

    #[test]
    fn a_message_has_its_largest_size() {
        // The head of so long a string takes five bytes.
        let largest = vec![0; SERI_BYTES_MAX - 5];
        assert_eq!(written(|writer| writer.bytes(&largest)).map(|bytes| bytes.len()), Ok(SERI_BYTES_MAX));
        let one_more = |writer: &mut Writer<'_>| writer.bytes(&largest).and_then(|()| writer.nil());
        assert_eq!(written(one_more), Err(PackError::TooLarge));
        assert_eq!(written(|writer| writer.begin_table(usize::MAX)), Err(PackError::TooLarge));
    }
}
