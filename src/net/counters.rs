//! What the I/O thread counts.

use crate::sync::CachePadded;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::fmt;
use std::ops::Index;

/// One thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoCount {
    /// Turns of the thread, each with one wait or look.
    Turns,
    /// Waits that could block.
    Sleeps,
    /// Times that a sender stood in for the sleeping thread.
    StandIns,
    /// Calls of `read`.
    Reads,
    /// Bytes read.
    ReadBytes,
    /// Calls of `writev`.
    Writes,
    /// Bytes written.
    WrittenBytes,
    /// Writes that the socket did not take whole.
    PartialWrites,
    /// Messages and requests taken from the lanes.
    Taken,
    /// Messages handed to services.
    Delivered,
    /// Messages for services that do not exist.
    Undelivered,
    /// Messages for services that had no room.
    Overflowed,
    /// Times that a link was not read any more, for want of memory.
    Pauses,
    /// Connections accepted.
    Accepts,
    /// Accepts that failed.
    AcceptFailures,
    /// Connections dialled, counted for each address tried.
    Dials,
    /// Connections dialled in vain, with all their addresses.
    DialFailures,
}

impl IoCount {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 17] = [
        Self::Turns,
        Self::Sleeps,
        Self::StandIns,
        Self::Reads,
        Self::ReadBytes,
        Self::Writes,
        Self::WrittenBytes,
        Self::PartialWrites,
        Self::Taken,
        Self::Delivered,
        Self::Undelivered,
        Self::Overflowed,
        Self::Pauses,
        Self::Accepts,
        Self::AcceptFailures,
        Self::Dials,
        Self::DialFailures,
    ];
}

/// The counters of one I/O thread, which alone writes them; whoever else reads them sees each a moment late.
#[derive(Debug, Default)]
pub struct IoCounters(CachePadded<[AtomicU64; IoCount::ALL.len()]>);

impl IoCounters {
    /// Adds; only the I/O thread may.
    pub(super) fn add(&self, what: IoCount, count: u64) {
        let counter = &self.0[what as usize];
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The values now.
    pub fn read(&self) -> IoCounts {
        IoCounts(std::array::from_fn(|index| self.0[index].load(Ordering::Relaxed)))
    }
}

/// What the counters said at one moment.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct IoCounts([u64; IoCount::ALL.len()]);

impl Index<IoCount> for IoCounts {
    type Output = u64;

    fn index(&self, what: IoCount) -> &u64 {
        &self.0[what as usize]
    }
}

impl fmt::Debug for IoCounts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(IoCount::ALL.iter().map(|&what| (what, self[what]))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_has_a_place_of_its_own() {
        let counters = IoCounters::default();
        for (index, what) in IoCount::ALL.into_iter().enumerate() {
            assert_eq!(what as usize, index);
            counters.add(what, index as u64 + 1);
        }
        let counts = counters.read();
        assert!(IoCount::ALL.iter().all(|&what| counts[what] == what as u64 + 1));
    }
}
