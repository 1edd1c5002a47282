//! Which harbor id a node takes from its range, and how often it may take a new one.
//!
//! ```text
//!            no id yet, or not of the range                    the master refused it
//!  record ───────────────────────────────▶ a new one ◀──────────────────────────────── the last one
//!     │       the last one again, for nothing              ▲          not within a minute of the one before,
//!     └────────────────────────────────────────────────────┘          not more than ten a day
//! ```
//!
//! Real nodes never link to an id again that they saw dead, and a real master takes each id once (`wire.md` 3.2). A node
//! that comes back needs another one then; a node that crashes again and again must not use up the cluster's ids. The
//! decision is pure: seconds since 1970 come in, a [`Record`] to be kept goes out.

use crate::limits::{LEASE_DAY, LEASE_INTERVAL, LEASES_DAY_MAX};
use crate::message::HarborId;
use std::time::Duration;

/// The ids that a node may take, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HarborRange {
    first: u8,
    last: u8,
}

impl HarborRange {
    /// The range from `first` to `last`; none if it is empty or has id 0.
    pub const fn new(first: u8, last: u8) -> Option<Self> {
        if first == 0 || first > last { None } else { Some(Self { first, last }) }
    }

    /// The lowest id.
    pub const fn first(self) -> HarborId {
        HarborId::new(self.first)
    }

    /// The highest id.
    pub const fn last(self) -> HarborId {
        HarborId::new(self.last)
    }

    /// Whether the id is one of them.
    pub const fn contains(self, id: HarborId) -> bool {
        self.first <= id.get() && id.get() <= self.last
    }

    fn after(self, id: HarborId) -> HarborId {
        if self.contains(id) && id.get() < self.last { HarborId::new(id.get() + 1) } else { self.first() }
    }
}

/// What is remembered from one start to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The last id that was taken; 0: none.
    pub id: HarborId,
    /// The master refused it: it served before, or serves now.
    pub is_refused: bool,
    /// When new ids were taken, in seconds since 1970, the latest last; at most [`LEASES_DAY_MAX`].
    pub taken: Vec<u64>,
}

/// Why no id is given out now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// A new id was taken less than a minute ago.
    #[error("a new harbor id was taken less than a minute ago: the next one in {} s", wait.as_secs())]
    TooSoon {
        /// How long until the next one.
        wait: Duration,
    },
    /// Ten new ids were taken within a day.
    #[error("{LEASES_DAY_MAX} new harbor ids were taken within a day: the next one in {} s", wait.as_secs())]
    TooMany {
        /// How long until the next one.
        wait: Duration,
    },
}

impl Record {
    /// The id to start with: the last one if it was not refused, a new one otherwise. The record is to be kept before the
    /// id is used.
    ///
    /// # Errors
    /// [`LeaseError`]; the record is then to be kept too: what a clock that was set back since calls the future is now in it,
    /// so that the wait ends.
    pub fn lease(&mut self, range: HarborRange, now: u64) -> Result<HarborId, LeaseError> {
        if range.contains(self.id) && !self.is_refused {
            return Ok(self.id);
        }
        self.taken = self.recent(now);
        let taken = &self.taken;
        let wait_since = |then: u64, pause: Duration| {
            let passed = Duration::from_secs(now - then);
            pause.checked_sub(passed).filter(|wait| !wait.is_zero())
        };
        if let Some(oldest) = taken.first()
            && taken.len() >= LEASES_DAY_MAX
            && let Some(wait) = wait_since(*oldest, LEASE_DAY)
        {
            return Err(LeaseError::TooMany { wait });
        }
        if let Some(wait) = taken.last().and_then(|latest| wait_since(*latest, LEASE_INTERVAL)) {
            return Err(LeaseError::TooSoon { wait });
        }
        self.id = range.after(self.id);
        self.is_refused = false;
        self.taken.push(now);
        Ok(self.id)
    }

    /// The master refused the id.
    pub fn refuse(&mut self) {
        self.is_refused = true;
    }

    /// Those of the last day. A clock that was set back makes none of them later than now.
    fn recent(&self, now: u64) -> Vec<u64> {
        let taken = self.taken.iter().map(|then| (*then).min(now));
        let mut taken: Vec<u64> = taken.filter(|then| now - then < LEASE_DAY.as_secs()).collect();
        taken.sort_unstable();
        taken.drain(..taken.len().saturating_sub(LEASES_DAY_MAX));
        taken
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RANGE: HarborRange = HarborRange { first: 200, last: 202 };
    const NOON: u64 = 1_800_000_000;

    fn refused_after(record: &mut Record, now: u64) -> Result<u8, LeaseError> {
        record.refuse();
        record.lease(RANGE, now).map(HarborId::get)
    }

    #[test]
    fn the_last_id_is_kept_until_it_is_refused_and_then_the_next_is_taken() {
        let mut record = Record::default();
        assert_eq!(record.lease(RANGE, NOON), Ok(HarborId::new(200)));
        for _ in 0..100 {
            assert_eq!(record.lease(RANGE, NOON), Ok(HarborId::new(200)), "it costs nothing");
        }
        assert_eq!(record.taken, [NOON]);
        assert_eq!(refused_after(&mut record, NOON + 60), Ok(201));
        assert_eq!(refused_after(&mut record, NOON + 120), Ok(202));
        assert_eq!(refused_after(&mut record, NOON + 180), Ok(200), "round");
        let other = HarborRange::new(10, 20).unwrap();
        assert_eq!(record.lease(other, NOON + 240), Ok(HarborId::new(10)), "another range");
    }

    #[test]
    fn one_new_id_a_minute_and_ten_a_day() {
        let mut record = Record::default();
        record.lease(RANGE, NOON).unwrap();
        let kept = record.clone();
        let wait = Duration::from_secs(1);
        assert_eq!(refused_after(&mut record, NOON + 59), Err(LeaseError::TooSoon { wait }));
        assert_eq!(record, Record { is_refused: true, ..kept });
        for n in 1..10 {
            assert!(refused_after(&mut record, NOON + n * 60).is_ok(), "{n}");
        }
        let wait = Duration::from_secs(24 * 3600 - 600);
        assert_eq!(refused_after(&mut record, NOON + 600), Err(LeaseError::TooMany { wait }));
        assert!(refused_after(&mut record, NOON + 24 * 3600).is_ok());
        let wait = Duration::from_secs(60);
        assert_eq!(refused_after(&mut record, NOON + 24 * 3600), Err(LeaseError::TooMany { wait }));
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let mut record = Record::default();
        record.lease(RANGE, NOON).unwrap();
        let before = NOON - 365 * 24 * 3600;
        let wait = Duration::from_secs(60);
        assert_eq!(refused_after(&mut record, before), Err(LeaseError::TooSoon { wait }));
        assert_eq!(record.taken, [before]);
        assert!(refused_after(&mut record, before + 60).is_ok());
    }

    proptest! {
        /// Whatever happens and however often it starts, no minute has two new ids and no day eleven.
        #[test]
        fn the_limits_hold(steps in prop::collection::vec((0u64..20_000, any::<bool>()), 1..200)) {
            let (mut record, mut now, mut new) = (Record::default(), NOON, Vec::new());
            for (pause, is_refused) in steps {
                now += pause;
                if is_refused {
                    record.refuse();
                }
                let before = record.id;
                if let Ok(id) = record.lease(RANGE, now) {
                    prop_assert!(RANGE.contains(id));
                    if is_refused || before != id {
                        new.push(now);
                    }
                }
                prop_assert!(record.taken.len() <= LEASES_DAY_MAX);
            }
            prop_assert!(new.windows(2).all(|two| two[1] - two[0] >= 60));
            prop_assert!(new.windows(11).all(|day| day[10] - day[0] >= 24 * 3600));
        }
    }
}
