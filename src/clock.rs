//! Time as a value.
//!
//! Pure machines are told the time and never ask. The OS clock is read by the worker, the I/O thread and programs,
//! through [`Instant::now`] and nowhere else (`clippy.toml` forbids the others).

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds on the machine's monotonic clock (`CLOCK_MONOTONIC`): comparable between processes of one machine.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Later than any deadline.
    pub const FAR: Self = Self(u64::MAX);

    /// Reads the OS clock, about 20 ns.
    #[cfg(not(shuttle))]
    pub fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Self(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    /// A microsecond later than the last time: shuttle's runs must not depend on how fast they are.
    #[cfg(shuttle)]
    pub fn now() -> Self {
        thread_local! {
            static NANOS: std::cell::Cell<u64> = const { std::cell::Cell::new(1_000_000_000) };
        }
        Self(NANOS.replace(NANOS.get() + 1000))
    }

    /// Seconds since 1970 on the clock of the wall: for what is kept from one start to the next. It may be set back.
    pub fn unix_seconds() -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        u64::try_from(now.tv_sec).unwrap_or_default()
    }

    /// Milliseconds since 1970 on the clock of the wall: a number that grows from one start to the next, unless that is set back.
    pub fn unix_millis() -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        seconds * 1000 + now.tv_nsec as u64 / 1_000_000
    }

    /// An instant from its nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Its nanoseconds.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}
