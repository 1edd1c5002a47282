//! What the machine reports, as log lines.

use crate::harbor::Event;
use crate::registry::MasterEvent;
use tracing::Level;

/// Writes one line, with the target `skyharbor::harbor`.
pub(super) fn log(event: &Event) {
    const TARGET: &str = "skyharbor::harbor";
    match level(event) {
        Level::ERROR => tracing::error!(target: TARGET, "{event:?}"),
        Level::WARN => tracing::warn!(target: TARGET, "{event:?}"),
        Level::INFO => tracing::info!(target: TARGET, "{event:?}"),
        _ => tracing::debug!(target: TARGET, "{event:?}"),
    }
}

fn level(event: &Event) -> Level {
    match event {
        Event::ListenFailed(..) | Event::Refused { .. } => Level::ERROR,
        Event::Down(..)
        | Event::MasterDown(_)
        | Event::NameConflict { .. }
        | Event::PeerFault { .. }
        | Event::Slave(_)
        | Event::Large { .. }
        | Event::Unsent { .. } => Level::WARN,
        Event::Kin { .. } | Event::Up(_) | Event::MasterUp | Event::Joined { .. } => Level::INFO,
        Event::Master(MasterEvent::Joined { .. } | MasterEvent::Left { .. }) => Level::INFO,
        Event::Master(MasterEvent::Named { .. }) => Level::DEBUG,
        Event::Master(_) => Level::WARN,
        // Each try of a redial, with back-off: a peer that is away for a day says so many thousand times.
        Event::ConnectFailed { .. } => Level::DEBUG,
    }
}
