//! What threads share is built from here: atomics, cells, locks and parkers behind one shim.
//!
//! Compiled normally the names are std's and parking_lot's. Under `--cfg loom` they are loom's, and the models in
//! the files of `queue` and in [`doorbell`](Doorbell) explore every interleaving that a preemption bound allows.
//! Nothing outside this folder names `std::sync::atomic`, `loom` or `parking_lot`.
//!
//! [`Doorbell`] and [`Crew`] are the sleep/wake protocol; it is argued once, in `doorbell.rs`, the only file with
//! fences.

mod doorbell;
#[cfg(loom)]
mod model;
#[cfg(not(loom))]
mod real;

#[cfg(all(test, loom))]
pub(crate) use model::explore;
#[cfg(loom)]
pub use model::{Condvar, Mutex, MutexGuard, UnsafeCell, atomic, spin_loop};
#[cfg(not(loom))]
pub use real::{Condvar, Mutex, MutexGuard, UnsafeCell, atomic, spin_loop};

pub use crossbeam::utils::CachePadded;
pub use doorbell::{Bell, Crew, Doorbell, Parker};
pub use parking_lot::RwLock;
