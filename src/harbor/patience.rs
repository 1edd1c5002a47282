//! How long something has not happened, without the time in which this machine stood still.
//!
//! A thread that is starved, or a machine that sleeps, finds all deadlines passed at once, while what it waits for may lie in
//! its sockets. So time is counted in steps: one that took longer counts as one, and before the next ends, what came
//! meanwhile is seen.

use crate::clock::Instant;
use std::time::Duration;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Patience {
    step: Duration,
    limit: Duration,
    looked: Instant,
    waited: Duration,
    due: Instant,
}

impl Patience {
    /// Begins to wait.
    pub(super) fn new(now: Instant, step: Duration, limit: Duration) -> Self {
        let due = now + step.min(limit);
        Self { step, limit, looked: now, waited: Duration::ZERO, due }
    }

    /// It happened, or could not happen yet: the wait begins anew.
    pub(super) fn restart(&mut self, now: Instant) {
        self.looked = now;
        self.waited = Duration::ZERO;
    }

    /// When to look.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    /// Looks: whether the limit is reached.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        self.waited += now.since(self.looked).min(self.step);
        self.looked = now;
        self.due = now + self.limit.saturating_sub(self.waited).min(self.step);
        self.waited >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_nanos(10);
    const LIMIT: Duration = Duration::from_nanos(35);

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(1000 + nanos)
    }

    #[test]
    fn steps_in_time_add_up_to_the_limit() {
        let mut patience = Patience::new(at(0), STEP, LIMIT);
        for due in [10, 20, 30] {
            assert_eq!(patience.due(), at(due));
            assert!(!patience.is_over(at(due)));
        }
        assert!(!patience.is_due(at(34)) && patience.is_due(at(35)));
        assert!(patience.is_over(at(35)));
    }

    #[test]
    fn a_step_that_comes_late_counts_as_one() {
        let mut patience = Patience::new(at(0), STEP, LIMIT);
        assert!(!patience.is_over(at(1_000)) && !patience.is_over(at(9_000)) && !patience.is_over(at(9_010)));
        assert_eq!(patience.due(), at(9_015));
        patience.restart(at(9_012));
        assert!(!patience.is_over(at(9_015)), "it begins anew");
        assert_eq!(patience.due(), at(9_025));
    }
}
