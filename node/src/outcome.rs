//! How a command ends.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// What a command failed of: a text for stderr and the exit code.
#[derive(Debug)]
pub(crate) struct Failed {
    code: u8,
    text: String,
}

impl Failed {
    /// Exit code 1: it did not work.
    pub(crate) fn new(text: impl Display) -> Self {
        Self { code: 1, text: text.to_string() }
    }

    /// Exit code 2: it was asked for the wrong thing.
    pub(crate) fn usage(text: impl Display) -> Self {
        Self { code: 2, text: text.to_string() }
    }

    /// Says why, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        complain(format_args!("skyharbor: {}", self.text));
        ExitCode::from(self.code)
    }
}

impl Display for Failed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.fmt(out)
    }
}

/// Writes a line to stdout.
///
/// # Errors
/// Nobody reads it any more.
pub(crate) fn say(text: impl Display) -> Result<(), Failed> {
    writeln!(io::stdout(), "{text}")
        .map_err(|error| Failed::new(format_args!("cannot write the result: {error}")))
}

/// Writes a line to stderr, if somebody reads it.
pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
