//! What can be wrong with a configuration, and where.

use super::address::AddressError;
use crate::message::NameError;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A configuration was refused: everything that is wrong with it, and what else was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// One thing that was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, if it came from a text.
    pub place: Option<Place>,
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub fault: Fault,
}

/// A line of a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, if the text came from one.
    pub file: Option<Arc<Path>>,
    /// The line, from 1; 0 is the file as a whole.
    pub line: u32,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// Probably not what was meant.
    Warning,
    /// Good to know.
    Info,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file cannot be read.
    #[error("cannot be read: {reason}")]
    Unreadable {
        /// The system's text.
        reason: String,
    },
    /// The file is too large to be a configuration.
    #[error("is larger than {bytes_max} bytes")]
    FileTooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The text breaks the grammar.
    #[error("{reason}")]
    Syntax {
        /// How.
        reason: String,
    },
    /// A `*.toml` file that starts like Skynet's form.
    #[error("this looks like Skynet's form, which is read from files that are not named *.toml")]
    LooksLikeSkynet,
    /// Code in Skynet's form.
    #[error("{what} is code; skyharbor reads literals only")]
    Code {
        /// What stands there.
        what: String,
    },
    /// A `$VARIABLE` without a value.
    #[error("the environment has no variable {name}")]
    NoVariable {
        /// Its name.
        name: String,
    },
    /// A name in an expression that was not set above.
    #[error("{name} is not set above this line")]
    NotSet {
        /// The name.
        name: String,
    },
    /// An `include` that leads back to a file that is being read.
    #[error("include \"{path}\" leads back to itself")]
    IncludeCycle {
        /// The path as it was written.
        path: String,
    },
    /// Too many `include`s.
    #[error("more than {files_max} files, or nested deeper than {depth_max}")]
    IncludeTooMany {
        /// Files of one configuration.
        files_max: usize,
        /// Files inside each other.
        depth_max: usize,
    },
    /// An included file that cannot be read.
    #[error("include \"{path}\" {reason}")]
    IncludeUnreadable {
        /// The path as it was written.
        path: String,
        /// Why.
        reason: String,
    },
    /// A key that nobody knows.
    #[error("unknown key {key}{}", suggestion.map_or(String::new(), |known| format!(", did you mean {known}?")))]
    UnknownKey {
        /// The key.
        key: String,
        /// What it may stand for.
        suggestion: Option<&'static str>,
    },
    /// Keys that Skynet reads and skyharbor has no use for.
    #[error("ignored, skyharbor has no use for them: {}", keys.join(", "))]
    IgnoredKeys {
        /// The keys.
        keys: Vec<String>,
    },
    /// A second value for a key; the last one counts.
    #[error("{key} is set again, the value above is lost")]
    SetAgain {
        /// The key.
        key: String,
    },
    /// A value of a type that the key does not take.
    #[error("{key} must be {expected}, not {found}")]
    WrongType {
        /// The key.
        key: String,
        /// What it takes.
        expected: &'static str,
        /// What it got.
        found: &'static str,
    },
    /// A text that is none of those that the key takes.
    #[error("{key} is {text:?}, it must be {expected}")]
    WrongText {
        /// The key.
        key: String,
        /// What it got.
        text: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A number outside its range.
    #[error("{key} is {value}, it must be {range}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// What it got.
        value: i64,
        /// What it takes.
        range: &'static str,
    },
    /// A text that is not an address.
    #[error("{key} = {text:?}: {reason}")]
    BadAddress {
        /// The key.
        key: &'static str,
        /// What it got.
        text: String,
        /// Why.
        reason: AddressError,
    },
    /// A duration out of range.
    #[error("{key} must be 1ms to 1h")]
    BadDuration {
        /// The key.
        key: &'static str,
    },
    /// A path that cannot name a socket.
    #[error("{key} must be a path of 1 to {bytes_max} bytes, this one has {bytes}")]
    BadSocketPath {
        /// The key.
        key: &'static str,
        /// Its length.
        bytes: usize,
        /// The system's limit.
        bytes_max: usize,
    },
    /// A service's global name breaks the rules.
    #[error("service name {name:?}: {reason}")]
    BadGlobalName {
        /// The name.
        name: String,
        /// Why.
        reason: NameError,
    },
    /// A service's local name breaks the rules.
    #[error("service name {name:?}: a local name is '.' and 1 to {len_max} bytes")]
    BadLocalName {
        /// The name.
        name: String,
        /// The most bytes behind the dot.
        len_max: usize,
    },
    /// Two services with one name.
    #[error("the name {name} is used by another service entry")]
    NameUsedTwice {
        /// The name.
        name: String,
    },
    /// A service entry without one of its keys.
    #[error("this service has no {key}")]
    ServiceIncomplete {
        /// The key that is missing.
        key: &'static str,
    },
    /// More services than a configuration may start.
    #[error("more than {services_max} services")]
    TooManyServices {
        /// The limit.
        services_max: usize,
    },
    /// More problems than are reported.
    #[error("and more: only the first {problems_max} are reported")]
    TooManyProblems {
        /// The limit.
        problems_max: usize,
    },
    /// A key is missing that others need.
    #[error("{key} is missing: {why}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Who needs it.
        why: &'static str,
    },
    /// Two keys that exclude each other.
    #[error("{what}")]
    Contradiction {
        /// What to do.
        what: &'static str,
    },
    /// `role` says something else than the other keys.
    #[error("role is {written:?}, the other keys make it {derived:?}")]
    WrongRole {
        /// What is written.
        written: String,
        /// What follows from `harbor` and `standalone`.
        derived: &'static str,
    },
    /// Two keys with one address.
    #[error("{first} and {second} are the same address, {address}: {why}")]
    SameAddress {
        /// A key.
        first: &'static str,
        /// Another key.
        second: &'static str,
        /// Their address.
        address: String,
        /// Why this cannot be.
        why: &'static str,
    },
    /// An address that names every interface, where others need one of them.
    #[error("{key} = {text:?} names every interface of a machine, {why}")]
    EveryInterface {
        /// The key.
        key: &'static str,
        /// The address.
        text: String,
        /// What to write.
        why: &'static str,
    },
    /// `master` and `standalone` have different ports.
    #[error(
        "master and standalone have different ports: this node joins another master than the one that it hosts"
    )]
    OtherMaster,
    /// A key that has no effect together with the others.
    #[error("{key} has no effect: {why}")]
    NoEffect {
        /// The key.
        key: &'static str,
        /// Why.
        why: &'static str,
    },
}

impl Problem {
    /// An error of a file as a whole.
    pub(super) fn of_file(path: &Path, fault: Fault) -> ConfigError {
        ConfigError { problems: vec![Self::about_file(path, Severity::Error, fault)] }
    }

    pub(super) fn about_file(path: &Path, severity: Severity, fault: Fault) -> Self {
        Self { place: Some(Place { file: Some(path.into()), line: 0 }), severity, fault }
    }
}

impl ConfigError {
    /// The problems as an error, if there is an error among them.
    pub(super) fn if_any_error(problems: &[Problem]) -> Option<Self> {
        let has_error = problems.iter().any(|problem| problem.severity == Severity::Error);
        has_error.then(|| Self { problems: problems.to_vec() })
    }

    /// Everything that was noticed, by file and line; at least one is an error.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), 0) => write!(out, "{}", file.display()),
            (Some(file), line) => write!(out, "{}:{line}", file.display()),
            (None, line) => write!(out, "line {line}"),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(out, "{place}: ")?;
        }
        write!(out, "{}: {}", self.severity, self.fault)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(out, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
