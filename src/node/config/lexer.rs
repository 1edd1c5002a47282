//! The words of Skynet's form: Lua's tokens, as far as literals need them, with `$VARIABLE` substitution.
//!
//! Skynet replaces every `$VARIABLE` of a file by its value before it reads the file, in comments too. Here comments
//! are skipped first, a value inside quotes is taken as it is, and a value outside quotes is read as literals.

use super::problem::Fault;
use crate::limits::CONFIG_PROBLEMS_MAX;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    Name(String),
    Text(String),
    Int(i64),
    Float(f64),
    /// Punctuation: one of Lua's symbols, `..` and `==` whole.
    Mark(&'static str),
}

/// A word and its line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) word: Word,
    pub(super) line: u32,
}

/// What is wrong, and in which line.
pub(super) type LineFault = (u32, Fault);
/// Looks up an environment variable.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Lua's symbols, longer ones before their beginnings.
const MARKS: [&str; 34] = [
    "...", "..", "==", "~=", "<=", ">=", "//", "::", "<<", ">>", "=", "(", ")", "{", "}", "[", "]", ";", ":",
    ",", ".", "+", "-", "*", "/", "%", "^", "#", "&", "~", "|", "<", ">", "?",
];

/// The words of `text`, and what is wrong with it by line. A wrong word is left out.
pub(super) fn words(text: &str, variable: Lookup<'_>) -> (Vec<Token>, Vec<LineFault>) {
    let mut lexer =
        Lexer { text, at: 0, line: 1, variable: Some(variable), tokens: Vec::new(), faults: Vec::new() };
    lexer.run();
    (lexer.tokens, lexer.faults)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    /// Absent inside the value of a variable.
    variable: Option<Lookup<'a>>,
    tokens: Vec<Token>,
    faults: Vec<LineFault>,
}

impl<'a> Lexer<'a> {
    fn run(&mut self) {
        if self.text.starts_with('#') {
            self.skip_line();
        }
        while let Some(next) = self.peek() {
            match next {
                b'\n' => self.advance(1),
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.advance(1),
                b'-' if self.rest().starts_with("--") => self.skip_comment(),
                b'"' | b'\'' => self.quoted(next),
                b'[' if self.long_bracket().is_some() => self.long_text(),
                b'0'..=b'9' => self.number(),
                b'.' if matches!(self.rest().as_bytes().get(1), Some(b'0'..=b'9')) => self.number(),
                b'$' => self.bare_variable(),
                b'_' | b'a'..=b'z' | b'A'..=b'Z' => self.name(),
                _ => self.mark(),
            }
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes `bytes` bytes and counts their lines.
    fn advance(&mut self, bytes: usize) {
        let passed = &self.text.as_bytes()[self.at..self.at + bytes];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u32;
        self.at += bytes;
    }

    fn push(&mut self, word: Word, line: u32) {
        self.tokens.push(Token { word, line });
    }

    fn fault(&mut self, line: u32, reason: &str) {
        self.note(line, Fault::Syntax { reason: reason.to_owned() });
    }

    /// Notes a fault; of those that nobody will be shown, the first.
    fn note(&mut self, line: u32, fault: Fault) {
        if self.faults.len() <= CONFIG_PROBLEMS_MAX {
            self.faults.push((line, fault));
        }
    }

    fn skip_line(&mut self) {
        let len = self.rest().find('\n').unwrap_or(self.rest().len());
        self.advance(len);
    }

    fn skip_comment(&mut self) {
        self.advance(2);
        match self.long_bracket() {
            Some(level) => {
                let line = self.line;
                if self.long_content(level).is_none() {
                    self.fault(line, "the comment is not closed");
                }
            }
            None => self.skip_line(),
        }
    }

    /// The level of a long bracket `[==[` that starts here.
    fn long_bracket(&self) -> Option<usize> {
        let inner = self.rest().strip_prefix('[')?;
        let level = inner.bytes().take_while(|byte| *byte == b'=').count();
        inner[level..].starts_with('[').then_some(level)
    }

    /// Passes a long bracket and gives what is inside; an unclosed one ends with the text.
    fn long_content(&mut self, level: usize) -> Option<&'a str> {
        self.advance(level + 2);
        let first_newline = self.rest().bytes().take_while(|byte| *byte == b'\r').count();
        if self.rest()[first_newline..].starts_with('\n') {
            self.advance(first_newline + 1);
        }
        let close = format!("]{}]", "=".repeat(level));
        let found = self.rest().find(&close);
        let content = &self.rest()[..found.unwrap_or(self.rest().len())];
        self.advance(content.len());
        found.map(|_| {
            self.advance(close.len());
            content
        })
    }

    fn long_text(&mut self) {
        let line = self.line;
        let level = self.long_bracket().unwrap_or(0);
        match self.long_content(level) {
            Some(content) => {
                let text = self.substituted(content, line);
                self.push(Word::Text(text), line);
            }
            None => self.fault(line, "the long text is not closed"),
        }
    }

    /// Text with its variables replaced; long texts have no escapes.
    fn substituted(&mut self, content: &str, line: u32) -> String {
        let mut text = String::new();
        let mut rest = content;
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            let name = &after[..name_len(after)];
            text.push_str(&self.value_of(name, line));
            rest = &after[name.len()..];
        }
        text + rest
    }

    /// The value of a variable: `$` itself if no name follows, nothing (and a fault) if it is not set.
    fn value_of(&mut self, name: &str, line: u32) -> String {
        let Some(variable) = self.variable.filter(|_| !name.is_empty()) else { return format!("${name}") };
        variable(name).unwrap_or_else(|| {
            self.note(line, Fault::NoVariable { name: name.to_owned() });
            String::new()
        })
    }

    fn bare_variable(&mut self) {
        let line = self.line;
        let name = &self.rest()[1..][..name_len(&self.rest()[1..])];
        self.advance(1 + name.len());
        if name.is_empty() || self.variable.is_none() {
            return self.fault(line, "'$' stands before the name of an environment variable");
        }
        let value = self.value_of(name, line);
        let mut inner =
            Lexer { text: &value, at: 0, line: 1, variable: None, tokens: Vec::new(), faults: Vec::new() };
        inner.run();
        self.tokens.extend(inner.tokens.into_iter().map(|token| Token { line, ..token }));
        inner.faults.into_iter().for_each(|(_, fault)| self.note(line, fault));
    }

    fn quoted(&mut self, quote: u8) {
        let line = self.line;
        self.advance(1);
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                None | Some(b'\n') => return self.fault(line, "the text is not closed on its line"),
                Some(end) if end == quote => break self.advance(1),
                Some(b'\\') => self.escape(&mut bytes),
                Some(b'$') => {
                    let name = &self.rest()[1..][..name_len(&self.rest()[1..])];
                    self.advance(1 + name.len());
                    bytes.extend(self.value_of(name, line).bytes());
                }
                Some(byte) => {
                    bytes.push(byte);
                    self.advance(1);
                }
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.push(Word::Text(text), line);
    }

    /// One escape of Lua.
    fn escape(&mut self, bytes: &mut Vec<u8>) {
        let line = self.line;
        self.advance(1);
        let Some(letter) = self.peek() else { return };
        if letter.is_ascii() {
            self.advance(1);
        }
        match letter {
            b'a' => bytes.push(7),
            b'b' => bytes.push(8),
            b'f' => bytes.push(12),
            b'n' | b'\n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'v' => bytes.push(11),
            b'\\' | b'"' | b'\'' => bytes.push(letter),
            b'z' => self.advance(self.rest().len() - self.rest().trim_ascii_start().len()),
            b'x' => match self.digits(2, 16) {
                (2, code) => bytes.push(code as u8),
                _ => self.fault(line, "\\x is followed by two hexadecimal digits"),
            },
            b'0'..=b'9' => {
                self.at -= 1;
                match self.digits(3, 10) {
                    (_, code @ 0..=255) => bytes.push(code as u8),
                    _ => self.fault(line, "a decimal escape is at most \\255"),
                }
            }
            _ => self.fault(line, "unknown escape in a text"),
        }
    }

    /// Up to `count` digits: how many there were, and their number.
    fn digits(&mut self, count: usize, radix: u32) -> (usize, u32) {
        let digit = |byte: &u8| char::from(*byte).to_digit(radix);
        let values: Vec<u32> = self.rest().as_bytes().iter().map_while(digit).take(count).collect();
        self.advance(values.len());
        (values.len(), values.iter().fold(0, |number, digit| number * radix + digit))
    }

    fn number(&mut self) {
        let line = self.line;
        let text = self.rest();
        let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
        let mut len = 0;
        for byte in text.bytes() {
            let signed_exponent = len > 0 && matches!(text.as_bytes()[len - 1], b'e' | b'E') && !hexadecimal;
            let part = byte.is_ascii_alphanumeric()
                || byte == b'.' && !text[len..].starts_with("..")
                || matches!(byte, b'+' | b'-') && signed_exponent;
            if !part {
                break;
            }
            len += 1;
        }
        let text = &text[..len];
        self.advance(len);
        match parse_number(text) {
            Some(word) => self.push(word, line),
            None => self.fault(line, &format!("malformed number {text}")),
        }
    }

    fn name(&mut self) {
        let name = &self.rest()[..name_len(self.rest())];
        self.push(Word::Name(name.to_owned()), self.line);
        self.advance(name.len());
    }

    fn mark(&mut self) {
        let line = self.line;
        match MARKS.iter().find(|mark| self.rest().starts_with(**mark)) {
            Some(mark) => {
                self.push(Word::Mark(mark), line);
                self.advance(mark.len());
            }
            None => {
                let letter = self.rest().chars().next().unwrap_or('\u{fffd}');
                self.fault(line, &format!("unexpected character {letter:?}"));
                self.advance(letter.len_utf8());
            }
        }
    }
}

/// The length of the letters, digits and underscores that `text` starts with.
fn name_len(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

/// A number as Lua reads it: hexadecimal integers wrap, decimal ones that are too large are floats.
fn parse_number(text: &str) -> Option<Word> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let mut number = (!digits.is_empty()).then_some(0u64)?;
        for digit in digits.chars() {
            number = number << 4 | u64::from(digit.to_digit(16)?);
        }
        return Some(Word::Int(number as i64));
    }
    if let Ok(integer) = text.parse() {
        return Some(Word::Int(integer));
    }
    let decimal =
        text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    text.parse().ok().filter(|_| decimal).map(Word::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "IP" => Some("10.0.0.1".to_owned()),
            "ID" => Some("3".to_owned()),
            "QUOTED" => Some("\"text\"".to_owned()),
            "LOOP" => Some("$LOOP".to_owned()),
            _ => None,
        }
    }

    fn texts(source: &str) -> Vec<String> {
        let (tokens, faults) = words(source, &variable);
        assert_eq!(faults, [], "{source}");
        tokens
            .into_iter()
            .map(|token| match token.word {
                Word::Name(name) => name,
                Word::Text(text) => format!("{text:?}"),
                Word::Int(int) => int.to_string(),
                Word::Float(float) => format!("{float:?}"),
                Word::Mark(mark) => mark.to_owned(),
            })
            .collect()
    }

    #[test]
    fn literals_of_every_form() {
        for (source, expected) in [
            ("a = 'x' -- comment", "a = \"x\""),
            ("--[[ long\n$UNSET ]] a", "a"),
            ("--[==[ ]] ]==] a", "a"),
            ("[[\nx\\n]] [=[]]]=]", "\"x\\\\n\" \"]]\""),
            (
                r#""\65\x42\n\"\'" 'a\z
                b'"#,
                "\"AB\\n\\\"'\" \"ab\"",
            ),
            ("0x10 10 1.5 .5 3e2 1..2", "16 10 1.5 0.5 300.0 1 .. 2"),
            ("0xffffffffffffffff 9223372036854775808", "-1 9.223372036854776e18"),
            ("x.y == z", "x . y == z"),
            ("\"$IP:1\" [[$IP]] $ID $QUOTED \"$\"", "\"10.0.0.1:1\" \"10.0.0.1\" 3 \"text\" \"$\""),
            ("\"$LOOP\"", "\"$LOOP\""),
            ("#!/usr/bin/lua\na", "a"),
        ] {
            let expected: String = expected.to_owned();
            assert_eq!(texts(source).join(" "), expected, "{source}");
        }
    }

    #[test]
    fn faults_have_their_lines_and_spoil_one_word() {
        for (source, line, reason) in [
            ("\n\"abc\nd", 2, "not closed on its line"),
            ("\n\n[[abc\n", 3, "the long text is not closed"),
            ("--[[", 1, "the comment is not closed"),
            ("\n 12ab", 2, "malformed number 12ab"),
            ("0x", 1, "malformed number 0x"),
            ("\"\\q\"", 1, "unknown escape"),
            ("\"\\300\"", 1, "at most"),
            ("\"\\xg\"", 1, "two hexadecimal digits"),
            ("\n@", 2, "unexpected character '@'"),
            ("\n\n$UNSET", 3, "no variable UNSET"),
            ("\n\"$UNSET\"", 2, "no variable UNSET"),
            ("$LOOP", 1, "environment variable"),
            ("é", 1, "unexpected character 'é'"),
            ("\"\\é\"", 1, "unknown escape"),
        ] {
            let (_, faults) = words(source, &variable);
            assert_eq!(faults.len(), 1, "{source} {faults:?}");
            assert_eq!(faults[0].0, line, "{source}");
            assert!(faults[0].1.to_string().contains(reason), "{source}: {}", faults[0].1);
        }
    }
}
