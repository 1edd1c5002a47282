//! What both readers produce: keys with literal values and their lines.

use super::problem::{Fault, Place, Problem, Severity};

/// The form that a text is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Toml,
    /// Numbers may stand in quotes and booleans too: Skynet keeps every value as text.
    Skynet,
}

/// Everything that a text says.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) entries: Vec<Entry>,
    pub(super) problems: Vec<Problem>,
}

/// `key = value`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Literal,
    pub(super) place: Place,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Table(Vec<Entry>),
    List(Vec<(Literal, Place)>),
    /// A date of TOML: a value that no key takes.
    Date,
}

impl Literal {
    /// What it is, for people.
    pub(super) fn type_text(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "a text",
            Self::Table(_) => "a table",
            Self::List(_) => "an array",
            Self::Date => "a date",
        }
    }
}

impl Entries {
    pub(super) fn error(&mut self, place: Place, fault: Fault) {
        self.note(place, Severity::Error, fault);
    }

    pub(super) fn note(&mut self, place: Place, severity: Severity, fault: Fault) {
        self.problems.push(Problem { place: Some(place), severity, fault });
    }

    pub(super) fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }
}
