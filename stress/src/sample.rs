//! Latencies of one service that has one request under way at a time.

use hdrhistogram::Histogram;
use skyharbor::clock::Instant;
use std::time::Duration;

/// Significant decimal digits of every histogram.
const DIGITS: u8 = 3;
/// Round trips that decide how often a sampler reads the clock.
const TRIAL_TRIPS: u64 = 4096;
/// One of so many round trips is timed where the clock would cost too much.
const SPARSE: u32 = 16;

/// Times round trips that follow each other without a pause.
///
/// While every trip is timed, one reading of the clock ends a trip and starts the next. When it is sparse, the trip
/// that is timed has a reading of its own at both ends.
#[derive(Debug)]
pub(crate) struct Sampler {
    histogram: Histogram<u64>,
    /// One of so many trips is timed.
    every: u32,
    /// When the trip under way began, if it is timed.
    began: Option<Instant>,
    /// Trips until the next timed one begins, at least 1 while none is timed.
    wait: u32,
    /// Trips left that decide how often the clock is read; all of them are timed.
    trial: u64,
}

impl Sampler {
    /// Times one of `every` trips.
    pub(crate) fn every(every: u32) -> Self {
        Self { histogram: histogram(), every, began: None, wait: every, trial: 0 }
    }

    /// Times every trip, or one of 16 when a reading of the clock takes more than a tenth of a trip. The first trips
    /// decide that; a run that goes on without them forgets them.
    pub(crate) fn calibrated() -> Self {
        Self { trial: TRIAL_TRIPS, ..Self::every(1) }
    }

    /// The first request leaves now.
    pub(crate) fn start(&mut self) {
        self.began = Some(Instant::now());
    }

    /// A reply is here, and the next request leaves.
    pub(crate) fn turn(&mut self) {
        if let Some(began) = self.began.take() {
            let now = Instant::now();
            record(&mut self.histogram, now.since(began));
            self.wait = self.every;
            if self.every == 1 {
                self.began = Some(now);
                return self.turn_of_trial();
            }
        }
        self.wait -= 1;
        if self.wait == 0 {
            self.began = Some(Instant::now());
        }
    }

    fn turn_of_trial(&mut self) {
        if self.trial == 0 {
            return;
        }
        self.trial -= 1;
        if self.trial == 0 {
            self.every = share_timed(clock_nanos(), self.histogram.value_at_quantile(0.5));
            self.histogram.reset();
            self.began = Some(Instant::now());
        }
    }

    /// Takes out the histogram, and says which share of the trips is in it (one of so many).
    pub(crate) fn take(&mut self) -> (Histogram<u64>, u32) {
        (std::mem::replace(&mut self.histogram, histogram()), self.every)
    }
}

/// An empty histogram of nanoseconds. It grows with what it is given: 64 of them at their largest would fill the caches.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(DIGITS).expect("three digits are allowed")
}

/// Puts a time into a histogram of nanoseconds.
pub(crate) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.record(time.as_nanos() as u64).expect("it grows for every value");
}

/// One of how many trips to time, when a reading of the clock takes `clock` and a trip with one reading takes `trip`.
fn share_timed(clock: u64, trip: u64) -> u32 {
    if clock * 10 > trip.saturating_sub(clock) { SPARSE } else { 1 }
}

/// What one reading of the clock costs, in nanoseconds.
fn clock_nanos() -> u64 {
    const READINGS: u64 = 256;
    let began = Instant::now();
    for _ in 1..READINGS {
        std::hint::black_box(Instant::now());
    }
    Instant::now().since(began).as_nanos() as u64 / READINGS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_and_sparse_samplers_time_their_share() {
        for (every, timed) in [(1, 1000), (4, 250), (16, 63)] {
            let mut sampler = Sampler::every(every);
            sampler.start();
            for _ in 0..1000 {
                sampler.turn();
            }
            let (histogram, share) = sampler.take();
            assert_eq!((histogram.len(), share), (timed, every));
        }
    }

    #[test]
    fn the_trial_decides_and_is_forgotten() {
        assert_eq!([share_timed(20, 300), share_timed(20, 220), share_timed(20, 219)], [1, 1, SPARSE]);
        assert_eq!(share_timed(20, 0), SPARSE);
        let mut sampler = Sampler::calibrated();
        sampler.start();
        for _ in 0..TRIAL_TRIPS {
            sampler.turn();
        }
        for _ in 0..160 {
            sampler.turn();
        }
        let (histogram, share) = sampler.take();
        assert_eq!(histogram.len(), 160 / u64::from(share));
    }

    #[test]
    fn times_of_every_length_are_kept() {
        let mut histogram = histogram();
        let times = [1, 250, 60_000, 1 << 40].map(Duration::from_nanos);
        times.iter().for_each(|&time| record(&mut histogram, time));
        assert_eq!((histogram.min(), histogram.len()), (1, 4));
        assert!(histogram.max() >= 1 << 40);
    }

    #[test]
    fn a_run_shorter_than_the_trial_keeps_it() {
        let mut sampler = Sampler::calibrated();
        sampler.start();
        (0..100).for_each(|_| sampler.turn());
        assert_eq!(sampler.take().0.len(), 100);
    }
}
