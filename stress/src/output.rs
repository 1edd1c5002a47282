//! What people and programs read, on streams that somebody may have closed: `… | head`, a terminal that is gone.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line to stdout. Whether that worked; if not, stderr says so.
#[must_use]
pub(crate) fn say(text: impl Display) -> bool {
    let written = writeln!(io::stdout(), "{text}").and_then(|()| io::stdout().flush());
    if let Err(error) = &written {
        complain(format_args!("FAIL: cannot write the result: {error}"));
    }
    written.is_ok()
}

/// Writes a line to stderr, if somebody reads it.
pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
