//! The reader of TOML.

use super::entry::{Entries, Entry, Literal};
use super::problem::{Fault, Place};
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// Reads a text; syntax errors leave out what they spoil and nothing else.
pub(super) fn read(text: &str, file: Option<&Path>) -> Entries {
    let (table, errors) = DeTable::parse_recoverable(text);
    let reader = Reader { lines: Lines::of(text), file: file.map(Arc::from) };
    let mut found = Entries { entries: reader.table(table.get_ref()), ..Entries::default() };
    for error in errors {
        let place = reader.place(error.span().map_or(0, |span| span.start));
        found.error(place, Fault::Syntax { reason: error.message().trim_end().to_owned() });
    }
    found.entries.sort_by_key(|entry| entry.place.line);
    found
}

/// Whether a text that is not Skynet's form is meant as TOML: it parses, and has a table header or a `#` comment.
pub(super) fn looks_like(text: &str) -> bool {
    let marked = text.lines().any(|line| line.trim_start().starts_with(['[', '#']));
    marked && DeTable::parse(text).is_ok()
}

struct Reader {
    lines: Lines,
    file: Option<Arc<Path>>,
}

impl Reader {
    fn place(&self, offset: usize) -> Place {
        Place { file: self.file.clone(), line: self.lines.line(offset) }
    }

    fn table(&self, table: &DeTable<'_>) -> Vec<Entry> {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let key: &Spanned<std::borrow::Cow<'_, str>> = key;
            Entry {
                key: key.get_ref().to_string(),
                value: self.literal(value.get_ref()),
                place: self.place(key.span().start),
            }
        };
        table.iter().map(entry).collect()
    }

    fn literal(&self, value: &DeValue<'_>) -> Literal {
        match value {
            DeValue::String(text) => Literal::Text(text.to_string()),
            DeValue::Integer(integer) => parse_integer(integer),
            DeValue::Float(float) => Literal::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Literal::Bool(*value),
            DeValue::Datetime(_) => Literal::Date,
            DeValue::Array(values) => Literal::List(
                values
                    .iter()
                    .map(|value| (self.literal(value.get_ref()), self.place(value.span().start)))
                    .collect(),
            ),
            DeValue::Table(table) => Literal::Table(self.table(table)),
        }
    }
}

/// An integer past 64 bits becomes the nearest float: no key takes either.
fn parse_integer(integer: &DeInteger<'_>) -> Literal {
    match i64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(value) => Literal::Int(value),
        Err(_) => Literal::Float(integer.as_str().parse().unwrap_or(f64::NAN)),
    }
}

/// Line numbers of byte offsets.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { starts: std::iter::once(0).chain(ends.map(|(offset, _)| offset + 1)).collect() }
    }

    fn line(&self, offset: usize) -> u32 {
        self.starts.partition_point(|&start| start <= offset) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_lines() {
        let found = read("a = 1\n\n# comment\nb = [1,\n 2]\n[[service]]\nkind = \"echo\"\n", None);
        assert!(found.problems.is_empty());
        let lines: Vec<_> =
            found.entries.iter().map(|entry| (entry.key.as_str(), entry.place.line)).collect();
        assert_eq!(lines, [("a", 1), ("b", 4), ("service", 6)]);
        let Literal::List(list) = &found.entries[1].value else { panic!("{found:?}") };
        assert_eq!(list[1].1.line, 5);
    }

    #[test]
    fn every_syntax_error_is_found_and_the_rest_is_read() {
        let found = read("a = \nb = 2\nc == 3\nb = 4\nd = 5\n", None);
        let line = |problem: &super::super::Problem| problem.place.as_ref().unwrap().line;
        let lines: std::collections::BTreeSet<_> = found.problems.iter().map(line).collect();
        assert_eq!(lines, [1, 3, 4].into(), "{:?}", found.problems);
        assert!(found.entries.iter().any(|entry| entry.key == "d"));
    }

    #[test]
    fn integers_of_every_base() {
        let found = read("a = 0xff\nb = -9223372036854775808\nc = 99999999999999999999\n", None);
        let values: Vec<_> = found.entries.iter().map(|entry| entry.value.clone()).collect();
        assert_eq!(values[..2], [Literal::Int(255), Literal::Int(i64::MIN)]);
        assert!(matches!(values[2], Literal::Float(_)));
    }
}
