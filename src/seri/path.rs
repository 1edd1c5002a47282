//! Where in a message a fault is, in words: `2.bag[3]` is element 3 of the field `bag` of value 2.

use super::error::UnpackError;
use super::format::Token;
use super::reader::Reader;
use std::fmt::Write;

/// Bytes of a key that are shown.
const KEY_BYTES_SHOWN: usize = 32;

impl UnpackError {
    /// The way to the value at fault in the message that was read: its place among the message's values, from 1, then
    /// keys and indices.
    ///
    /// ```
    /// # use skyharbor::seri::{from_values, to_values};
    /// let mut message = Vec::new();
    /// to_values(&("move", [[1, 2], [3, -4]]), &mut message)?;
    /// let fault = from_values::<(String, Vec<Vec<u8>>)>(&message).unwrap_err();
    /// assert_eq!(fault.path(&message), "2[2][2]");
    /// assert_eq!(fault.reason, "a value outside the range of its type");
    /// # Ok::<(), skyharbor::seri::PackError>(())
    /// ```
    pub fn path(&self, message: &[u8]) -> String {
        let mut reader = Reader::new(message);
        let mut way =
            Way { path: String::new(), open: Vec::new(), next: Next::Element { index: 1, left: usize::MAX } };
        loop {
            let is_here = reader.offset() >= self.offset;
            let Ok(Some(token)) = reader.read() else { return way.step(Token::Nil).path };
            if is_here && token != Token::End {
                return way.step(token).path;
            }
            way = way.enter(token);
        }
    }
}

/// The place that the next token of a message fills.
struct Way {
    /// To the innermost open table.
    path: String,
    /// The tables around it: how much of the path leads to them, and what comes behind the table that is open in them.
    open: Vec<(usize, Next)>,
    next: Next,
}

enum Next {
    Element {
        index: usize,
        left: usize,
    },
    Key,
    /// The value of this key.
    Value(String),
}

impl Way {
    /// The same with the path to the next token, which is this one.
    fn step(mut self, token: Token<'_>) -> Self {
        match &self.next {
            // The values of a message are counted, elements are indexed.
            Next::Element { index, .. } if self.open.is_empty() => write!(self.path, "{index}"),
            Next::Element { index, .. } => write!(self.path, "[{index}]"),
            Next::Key => write!(self.path, "{}", key_text(token)),
            Next::Value(key) => write!(self.path, "{key}"),
        }
        .expect("a string takes any text");
        self
    }

    /// Passes a token.
    fn enter(mut self, token: Token<'_>) -> Self {
        if token == Token::End {
            // A reader gives no end without a beginning.
            if let Some((len, next)) = self.open.pop() {
                self.path.truncate(len);
                self.next = next;
            }
            return self;
        }
        let behind = match &self.next {
            Next::Element { left: 1, .. } => Next::Key,
            Next::Element { index, left } => Next::Element { index: index + 1, left: left - 1 },
            Next::Key => Next::Value(key_text(token)),
            Next::Value(_) => Next::Key,
        };
        let Token::Table { array_len } = token else { return Self { next: behind, ..self } };
        let len = self.path.len();
        let mut inside = self.step(token);
        inside.open.push((len, behind));
        inside.next = if array_len == 0 { Next::Key } else { Next::Element { index: 1, left: array_len } };
        inside
    }
}

/// A key as Lua writes it behind the table's name.
fn key_text(key: Token<'_>) -> String {
    match key {
        Token::Bytes(name) if is_word(name) => format!(".{}", name.escape_ascii()),
        Token::Bytes(name) => {
            let (shown, rest) = name.split_at(name.len().min(KEY_BYTES_SHOWN));
            let cut = if rest.is_empty() { "" } else { "…" };
            format!("[\"{}\"{cut}]", shown.escape_ascii())
        }
        Token::Bool(key) => format!("[{key}]"),
        Token::Int(key) => format!("[{key}]"),
        Token::Float(key) => format!("[{key:?}]"),
        Token::Nil | Token::End => "[a key]".into(),
        Token::Pointer(_) => "[a pointer]".into(),
        Token::Table { .. } => "[a table]".into(),
    }
}

fn is_word(name: &[u8]) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let first = name.first().is_some_and(|byte| is_letter(*byte));
    first
        && name.len() <= KEY_BYTES_SHOWN
        && name.iter().all(|byte| is_letter(*byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seri::{Table, Value, from_values, pack};
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "read by its derive only")]
    struct Player {
        name: String,
        bag: Vec<u8>,
        #[serde(default)]
        scores: BTreeMap<i64, u8>,
    }

    fn player(bag: Value, scores: Value) -> Value {
        let pairs = vec![("name".into(), "n".into()), ("bag".into(), bag), ("scores".into(), scores)];
        Table::from_pairs(pairs).into()
    }

    fn list(values: &[i64]) -> Value {
        Table::from_array(values.iter().copied().map(Value::Int).collect()).into()
    }

    #[test]
    fn the_path_leads_to_the_value_at_fault() {
        let scores =
            |key: Value, value: Value| Table::from_pairs(vec![(Value::Int(7), Value::Int(1)), (key, value)]);
        for (values, path) in [
            (vec![Value::Bool(true)], "1"),
            (vec![Value::Int(1)], "2"),
            (vec![Value::Int(1), Value::Int(2)], "2"),
            (vec![Value::Int(1), player(Value::Int(1), Value::Nil)], "2.bag"),
            (vec![Value::Int(1), player(list(&[1, 2, 300]), Value::Nil)], "2.bag[3]"),
            (vec![Value::Int(1), player(list(&[]), list(&[1, 2, 3, -4]))], "2.scores[4]"),
            (
                vec![Value::Int(1), player(list(&[1]), scores(Value::Int(-8), "x".into()).into())],
                "2.scores[-8]",
            ),
            (
                vec![Value::Int(1), player(list(&[1]), scores("a b".into(), Value::Int(1)).into())],
                "2.scores[\"a b\"]",
            ),
            (vec![Value::Int(1), player(list(&[1]), scores("k".into(), Value::Int(1)).into())], "2.scores.k"),
            (
                vec![Value::Int(1), player(list(&[1]), scores(list(&[1, 2]), Value::Int(1)).into())],
                "2.scores[a table]",
            ),
            (vec![Value::Int(1), Table::default().into()], "2"),
        ] {
            let message = pack(&values).unwrap();
            let fault = from_values::<(u8, Player)>(&message).unwrap_err();
            assert_eq!(fault.path(&message), path, "{fault}");
        }
    }

    #[test]
    fn bytes_that_are_no_values_have_a_path_too() {
        for (bytes, path) in [
            (&b"\x09\x07"[..], "2"),
            (b"\x0e\x0e\x07\x00\x00", "1[1][1]"),
            (b"\x06\x0ck\x07", "1.k"),
            (b"\x06\x0ck\x09\x42\0\0\0\0\0\0\xf8\x7f", "1[a key]"),
            (b"\x0e\x06\x00\x00\x07", "2"),
        ] {
            let fault = from_values::<Value>(bytes).unwrap_err();
            assert_eq!(fault.path(bytes), path, "{} in {}", fault, bytes.escape_ascii());
        }
        let elsewhere = UnpackError { offset: 900, reason: "" };
        assert_eq!(elsewhere.path(b""), "1");
        assert_eq!(elsewhere.path(b"\x09\x09"), "3");
    }

    #[test]
    fn long_and_strange_keys_are_cut_and_escaped() {
        let message =
            pack(&[Table::from_pairs(vec![("k\n".repeat(50).as_str().into(), Value::Int(1))]).into()])
                .unwrap();
        let fault = from_values::<BTreeMap<i64, u8>>(&message).unwrap_err();
        assert_eq!(fault.path(&message), format!("1[\"{}\"…]", "k\\n".repeat(16)));
    }
}
