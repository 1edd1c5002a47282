//! The open loop's clock: what is due when, and a thread that says so.

use skyharbor::clock::Instant;
use std::ops::Range;
use std::time::Duration;

/// The shortest nap between two looks at the clock.
const NAP: Duration = Duration::from_micros(20);
/// The longest: a pacer notices the end of its run within this time.
const NAP_MAX: Duration = Duration::from_millis(10);

/// Requests at a fixed rate: number `i` is due at `start + i / rate`, no matter when it can be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) start: Instant,
    /// Nanoseconds from one request to the next.
    period: f64,
}

impl Schedule {
    pub(crate) fn new(start: Instant, rate: f64) -> Self {
        Self { start, period: 1e9 / rate }
    }

    /// The intended send time of request `index`.
    pub(crate) fn due(&self, index: u64) -> Instant {
        self.start + Duration::from_nanos((index as f64 * self.period) as u64)
    }

    /// How many requests are due by `now`.
    fn due_by(&self, now: Instant) -> u64 {
        if now < self.start {
            return 0;
        }
        let estimate = (now.since(self.start).as_nanos() as f64 / self.period) as u64 + 1;
        // Rounding may be off by one either way; `due` is what counts.
        let estimate = if self.due(estimate - 1) > now { estimate - 1 } else { estimate };
        if self.due(estimate) <= now { estimate + 1 } else { estimate }
    }
}

/// Hands out the requests of a schedule as they fall due.
#[derive(Debug)]
pub(crate) struct Pacer {
    schedule: Schedule,
    handed: u64,
    /// Requests in all.
    count: u64,
}

impl Pacer {
    pub(crate) fn new(schedule: Schedule, count: u64) -> Self {
        Self { schedule, handed: 0, count }
    }

    /// The numbers of the requests that fell due since the last question.
    pub(crate) fn take(&mut self, now: Instant) -> Range<u64> {
        let from = self.handed;
        self.handed = self.schedule.due_by(now).max(from).min(self.count);
        from..self.handed
    }

    pub(crate) fn is_done(&self) -> bool {
        self.handed == self.count
    }

    /// How long nothing will be due.
    pub(crate) fn nap(&self, now: Instant) -> Duration {
        self.schedule.due(self.handed).since(now).clamp(NAP, NAP_MAX)
    }
}

/// Makes naps of the calling thread end when they should: by default Linux lets them run 50 µs over.
pub(crate) fn sharpen_naps() {
    #[cfg(target_os = "linux")]
    // Where it is refused, naps are as long as they are.
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(1_000_000 + nanos)
    }

    #[test]
    fn requests_fall_due_at_their_times_and_never_twice() {
        let mut pacer = Pacer::new(Schedule::new(at(0), 1e6), 1_000_000);
        assert_eq!(pacer.take(Instant::from_nanos(0)), 0..0);
        assert_eq!(pacer.take(at(0)), 0..1);
        assert_eq!(pacer.take(at(999)), 1..1);
        assert_eq!(pacer.nap(at(999)), NAP);
        assert_eq!(pacer.take(at(5_000)), 1..6);
        assert_eq!(pacer.take(at(4_000)), 6..6, "a clock that goes back hands out nothing");
    }

    #[test]
    fn a_counted_pacer_ends() {
        let mut pacer = Pacer::new(Schedule::new(at(0), 1e3), 3);
        assert_eq!(pacer.take(at(0)), 0..1);
        assert_eq!(pacer.nap(at(0)), Duration::from_millis(1));
        assert!(!pacer.is_done());
        assert_eq!(pacer.take(at(1_000_000_000)), 1..3);
        assert!(pacer.is_done());
        assert_eq!(pacer.take(at(2_000_000_000)), 3..3);
    }

    #[test]
    fn odd_rates_do_not_drift() {
        let schedule = Schedule::new(at(0), 3.0);
        assert_eq!(schedule.due(3_000_000).since(at(0)), Duration::from_secs(1_000_000));
        for index in [0, 1, 7, 1_000_003] {
            assert_eq!(schedule.due_by(schedule.due(index)), index + 1);
        }
    }
}
