//! What threads share is built from here: atomics, cells, locks and parkers behind one shim.
//!
//! Compiled normally the names are std's and parking_lot's. Under `--cfg loom` they are loom's, and the models in
//! the files of `queue` and in [`doorbell`](Doorbell) explore every interleaving that a preemption bound allows. Under
//! `--cfg shuttle` they are shuttle's, and `tests/shuttle` runs whole nodes in orders drawn by chance.
//! Nothing outside this folder names `std::sync::atomic`, `loom`, `shuttle` or `parking_lot`.
//!
//! [`Doorbell`] and [`Crew`] are the sleep/wake protocol; it is argued once, in `doorbell.rs`, the only file with
//! fences.

#[cfg(not(loom))]
mod cell;
mod doorbell;
#[cfg(loom)]
mod model;
#[cfg(shuttle)]
mod random;
#[cfg(not(any(loom, shuttle)))]
mod real;

#[cfg(loom)]
use model as shim;
#[cfg(all(test, loom))]
pub(crate) use model::explore;
#[cfg(shuttle)]
use random as shim;
#[cfg(not(any(loom, shuttle)))]
use real as shim;

pub use shim::{Condvar, Mutex, MutexGuard, RwLock, UnsafeCell, atomic, channel, spin_loop, thread};

pub use crossbeam::utils::CachePadded;
pub use doorbell::{Bell, Crew, Doorbell, Parker};
