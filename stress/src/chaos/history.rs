//! What happened in one cluster: the ledgers of all lives beside what the nemesis did to them.

use super::ledger::Entry;
use skyharbor::clock::Instant;
use std::time::Duration;

/// Everything that the checker knows.
#[derive(Default)]
pub(super) struct History {
    pub(super) lives: Vec<Life>,
    pub(super) wounds: Vec<Wound>,
    pub(super) strains: Vec<Strain>,
    /// The deadline of calls.
    pub(super) deadline: Duration,
    /// How much later a call may end.
    pub(super) slack: Duration,
}

/// One process from its start to its end.
pub(super) struct Life {
    pub(super) life: u32,
    pub(super) slot: u8,
    pub(super) harbor: u8,
    pub(super) end: End,
    /// When it was stopped, and continued or killed.
    pub(super) stops: Vec<(Instant, Instant)>,
    pub(super) entries: Vec<Entry>,
    /// Its ledger has nothing but whole records.
    pub(super) is_whole: bool,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// kill -9.
    Killed(Instant),
    /// It was told to leave in the middle of everything.
    Left(Instant),
    /// It was told to end when everything was quiet.
    Ended(Instant),
}

/// What the proxy did to a connection between two lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wound {
    /// The lives of both ends; 0: the master.
    pub(super) lives: (u32, u32),
    pub(super) kind: WoundKind,
    pub(super) at: Instant,
    pub(super) until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WoundKind {
    /// It was ended.
    Hard,
    /// A bit was changed; from then until its end nothing on it is promised.
    Flip,
}

/// A fault that slows the connections of two slots down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strain {
    pub(super) slots: (u8, u8),
    pub(super) at: Instant,
    pub(super) until: Instant,
}

impl End {
    pub(super) fn at(self) -> Instant {
        match self {
            Self::Killed(at) | Self::Left(at) | Self::Ended(at) => at,
        }
    }
}

impl Life {
    /// How long it was stopped between two moments.
    pub(super) fn stopped(&self, from: Instant, to: Instant) -> Duration {
        self.stops.iter().map(|(stop, go)| (*go).min(to).since((*stop).max(from))).sum()
    }
}

impl Wound {
    pub(super) fn is_between(&self, one: u32, other: u32) -> bool {
        self.lives == (one, other) || self.lives == (other, one)
    }

    pub(super) fn concerns(&self, life: u32) -> bool {
        self.lives.0 == life || self.lives.1 == life
    }
}

impl Strain {
    pub(super) fn is_between(&self, one: u8, other: u8) -> bool {
        self.slots == (one, other) || self.slots == (other, one)
    }
}
