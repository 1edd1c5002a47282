//! Counters with one writer each, added up when they are read.

#![forbid(unsafe_code)]

use crate::sync::CachePadded;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::fmt;
use std::iter::Sum;
use std::ops::Index;

/// What a worker counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Count {
    /// Messages sent to services of this node by its services.
    Sent,
    /// Of those, refused at the sender.
    Refused,
    /// Messages handed to their services.
    Delivered,
    /// Messages found in the mailboxes of services that had ended.
    Discarded,
    /// Answers that nobody could take.
    Unanswered,
    /// Answers to calls that were over.
    Late,
    /// Calls that ended by their deadline.
    Timeouts,
    /// Turns of services.
    Turns,
    /// Services taken from another worker.
    Steals,
    /// Times that a worker slept.
    Parks,
    /// Services spawned.
    Spawned,
    /// Services ended.
    Ended,
    /// Panics caught.
    Panics,
}

impl Count {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 13] = [
        Self::Sent,
        Self::Refused,
        Self::Delivered,
        Self::Discarded,
        Self::Unanswered,
        Self::Late,
        Self::Timeouts,
        Self::Turns,
        Self::Steals,
        Self::Parks,
        Self::Spawned,
        Self::Ended,
        Self::Panics,
    ];
}

/// The counters of one worker, which alone writes them: adding is a load and a store, no locked operation.
#[derive(Debug, Default)]
pub struct Counters(CachePadded<[AtomicU64; Count::ALL.len()]>);

impl Counters {
    /// Adds; only the owner may.
    pub fn add(&self, what: Count, count: u64) {
        let counter = &self.0[what as usize];
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The values now; each may be a moment apart from the others.
    pub fn read(&self) -> Counts {
        Counts(std::array::from_fn(|index| self.0[index].load(Ordering::Relaxed)))
    }
}

/// What counters say at one moment.
///
/// ```
/// use skyharbor::metrics::{Count, Counters};
/// let counters = Counters::default();
/// counters.add(Count::Turns, 2);
/// assert_eq!(counters.read()[Count::Turns], 2);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u64; Count::ALL.len()]);

impl Index<Count> for Counts {
    type Output = u64;

    fn index(&self, what: Count) -> &u64 {
        &self.0[what as usize]
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| {
            Self(std::array::from_fn(|index| sum.0[index].wrapping_add(one.0[index])))
        })
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(Count::ALL.iter().map(|&what| (what, self[what]))).finish()
    }
}
