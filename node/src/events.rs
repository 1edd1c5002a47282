//! What the main thread of a running node waits for.

use crate::gateway::Ask;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::mpsc::SyncSender;
use std::thread::Builder;

/// Something for the main thread.
pub(crate) enum Event {
    /// Leave.
    Stop,
    /// The log file was moved away.
    ReopenLog,
    /// A control client wants something.
    Ask(Ask),
}

/// The exit code of a process that ended at its second Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Turns signals into events: Ctrl-C and SIGTERM stop, a second one ends the process at once; SIGHUP opens the log again.
///
/// # Errors
/// The handlers or the thread cannot be installed.
pub(crate) fn watch_signals(events: SyncSender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let watch = move || {
        let mut stopping = false;
        for signal in signals.forever() {
            match signal {
                // A full queue is one that the main thread works on; an operator sends the signal again.
                SIGHUP => drop(events.try_send(Event::ReopenLog)),
                _ if stopping => std::process::exit(INTERRUPTED),
                _ => {
                    stopping = true;
                    // It waits for room; if the main thread is gone, the process ends anyway.
                    let _ = events.send(Event::Stop);
                }
            }
        }
    };
    Builder::new().name("signals".to_owned()).spawn(watch).map(drop)
}
