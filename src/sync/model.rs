//! The shim as loom models run it.

use std::time::Duration;

pub use parking_lot::RwLock;
pub use std::thread;

/// Answers to threads that wait.
pub mod channel {
    pub use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, unbounded};
}

/// Lets other threads of the model go on: a spinning thread must not starve them.
pub fn spin_loop() {
    loom::hint::spin_loop();
}

/// Explores the interleavings of a model in which at most `preemptions` threads are interrupted where they need not be.
#[cfg(test)]
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Atomic words. The fence is not among them: only `doorbell.rs` has one.
pub mod atomic {
    pub use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
}

pub(super) use loom::sync::atomic::fence;

pub use loom::cell::UnsafeCell;

/// A lock for cold paths.
#[derive(Debug)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

/// The locked state; unlocks when dropped.
pub type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Mutex<T> {
    /// An unlocked value.
    pub fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("a model's thread panicked")
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

/// Where a thread waits for a condition under a [`Mutex`].
#[derive(Debug)]
pub struct Condvar(loom::sync::Condvar);

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl Condvar {
    /// Nobody waits.
    pub fn new() -> Self {
        Self(loom::sync::Condvar::new())
    }

    /// Unlocks, waits until it is notified, locks again. A model has no time: the timeout never passes.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>, _timeout: Option<Duration>) -> MutexGuard<'a, T> {
        self.0.wait(guard).expect("a model's thread panicked")
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
