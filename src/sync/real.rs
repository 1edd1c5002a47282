//! The shim as programs run it: std's atomics, parking_lot's locks.

use std::time::Duration;

pub use super::cell::UnsafeCell;
pub use parking_lot::RwLock;
pub use std::hint::spin_loop;
pub use std::thread;

/// Answers to threads that wait.
pub mod channel {
    pub use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, unbounded};
}

/// Atomic words. The fence is not among them: only `doorbell.rs` has one.
pub mod atomic {
    pub use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
}

pub(super) use std::sync::atomic::fence;

/// A lock for cold paths.
#[derive(Debug, Default)]
pub struct Mutex<T>(parking_lot::Mutex<T>);

/// The locked state; unlocks when dropped.
pub type MutexGuard<'a, T> = parking_lot::MutexGuard<'a, T>;

impl<T> Mutex<T> {
    /// An unlocked value.
    pub const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock()
    }
}

/// Where a thread waits for a condition under a [`Mutex`].
#[derive(Debug, Default)]
pub struct Condvar(parking_lot::Condvar);

impl Condvar {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self(parking_lot::Condvar::new())
    }

    /// Unlocks, waits until it is notified or `timeout` has passed (none = for ever), locks again. May return early.
    pub fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>, timeout: Option<Duration>) -> MutexGuard<'a, T> {
        match timeout {
            Some(timeout) => {
                self.0.wait_for(&mut guard, timeout);
            }
            None => self.0.wait(&mut guard),
        }
        guard
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }

    /// Wakes one that waits.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }
}
