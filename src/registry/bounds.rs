//! How much the machines take in.

use crate::limits;
use std::time::Duration;

/// How much the machines take in and how long they wait; the defaults are in [`limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Names that are remembered.
    pub names_max: usize,
    /// Unknown names that somebody of this node waits for.
    pub names_waited_max: usize,
    /// Who may wait for names, all names together.
    pub name_waiters_max: usize,
    /// How long a joiner waits for `W`, and then for the links that it announced.
    pub join_time_max: Duration,
    /// How long whoever registers a name waits for the master's word on it.
    pub claim_time_max: Duration,
    /// How long a name that no master had confirmed may still go to a lower harbor id that registers it again.
    pub tie_time_max: Duration,
    /// How long a master waits for `H`.
    pub hello_time_max: Duration,
    /// Connections to the master that have not said `H` yet.
    pub guests_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            names_max: limits::NAMES_MAX,
            names_waited_max: limits::NAMES_WAITED_MAX,
            name_waiters_max: limits::NAME_WAITERS_MAX,
            join_time_max: limits::JOIN_TIME_MAX,
            claim_time_max: limits::CLAIM_TIME_MAX,
            tie_time_max: limits::TIE_TIME_MAX,
            hello_time_max: limits::HANDSHAKE_TIME_MAX,
            guests_max: limits::GUESTS_MAX,
        }
    }
}
