//! How long to wait before dialling again.

use super::Bounds;
use std::time::Duration;

/// A source of jitter with a seed of its own: the same seed gives the same pauses (splitmix64, Steele et al. 2014).
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Failures in a row of one dialled address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure: doubled each time, between half of it and all of it.
    pub(super) fn pause(&mut self, bounds: &Bounds, jitter: &mut Jitter) -> Duration {
        let doubled = bounds.redial_time_min.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(bounds.redial_time_max);
        let half = (pause / 2).as_nanos() as u64;
        pause / 2 + Duration::from_nanos(jitter.next() % (half + 1))
    }

    /// The next pause is the longest.
    pub(super) fn exhaust(&mut self) {
        self.failures = u32::MAX;
    }

    /// It worked, and held for a while.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let bounds = Bounds::default();
        let (mut backoff, mut jitter) = (Backoff::default(), Jitter::new(7));
        for failure in 0..40 {
            let full = (bounds.redial_time_min * (1 << failure.min(10))).min(bounds.redial_time_max);
            let pause = backoff.pause(&bounds, &mut jitter);
            assert!(pause >= full / 2 && pause <= full, "failure {failure}: {pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause(&bounds, &mut jitter) <= bounds.redial_time_min);
        backoff.exhaust();
        assert!(backoff.pause(&bounds, &mut jitter) >= bounds.redial_time_max / 2);
    }
}
