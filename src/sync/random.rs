//! The shim as shuttle's runs use it: one thread at a time, and who goes on is drawn by chance wherever threads meet.
//!
//! Unlike loom it does not try every order and knows one memory order only; in return it runs whole nodes.

use std::time::Duration;

pub use super::cell::UnsafeCell;
pub use shuttle::hint::spin_loop;
pub use shuttle::thread;

/// Atomic words. The fence is not among them: only `doorbell.rs` has one.
pub mod atomic {
    pub use shuttle::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
}

pub(super) use shuttle::sync::atomic::fence;

/// Answers to threads that wait, as crossbeam's channels.
pub mod channel {
    pub use shuttle::sync::mpsc::{
        Receiver, RecvTimeoutError, SyncSender as Sender, TryRecvError, sync_channel as bounded,
    };

    /// A channel whose bound is never reached.
    pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        bounded(1 << 20)
    }
}

/// A lock for cold paths.
#[derive(Debug, Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

/// The locked state; unlocks when dropped.
pub type MutexGuard<'a, T> = shuttle::sync::MutexGuard<'a, T>;

impl<T> Mutex<T> {
    /// An unlocked value.
    pub const fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

/// A lock for tables that are mostly read.
#[derive(Debug, Default)]
pub struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    /// Waits until nobody writes.
    pub fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until nobody else is there.
    pub fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Where a thread waits for a condition under a [`Mutex`].
#[derive(Debug, Default)]
pub struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self(shuttle::sync::Condvar::new())
    }

    /// Unlocks, waits until it is notified, locks again. Time never passes: who is not woken is found as a deadlock.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>, _timeout: Option<Duration>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner())
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
