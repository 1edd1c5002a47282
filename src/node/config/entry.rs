//! What both readers produce: keys with literal values and their lines.

use super::problem::{Fault, Place, Problem, Severity};
use crate::limits::CONFIG_PROBLEMS_MAX;

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
    /// How many were noticed, kept or not.
    pub(super) errors: usize,
    pub(super) notes: usize,
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

    /// Adds a problem. Of errors, and of everything else, [`CONFIG_PROBLEMS_MAX`] are kept: a file that is no
    /// configuration at all may have a million.
    pub(super) fn note(&mut self, place: Place, severity: Severity, fault: Fault) {
        let count = if severity == Severity::Error { &mut self.errors } else { &mut self.notes };
        *count += 1;
        let fault = match *count {
            ..=CONFIG_PROBLEMS_MAX => fault,
            _ if *count == CONFIG_PROBLEMS_MAX + 1 => {
                Fault::TooManyProblems { problems_max: CONFIG_PROBLEMS_MAX }
            }
            _ => return,
        };
        self.problems.push(Problem { place: Some(place), severity, fault });
    }

    /// Whether another error would not be kept.
    pub(super) fn is_full(&self) -> bool {
        self.errors > CONFIG_PROBLEMS_MAX
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }
}
