//! N harbors, one thread, one seed.
//!
//! ```text
//!  seed ─▶ case ─▶ ┌──────────── world: one heap of what is due, virtual time ────────────┐
//!   plan and steps │  node 0 (hosts the master)   node 1          node 2: a played real one│
//!                  │  ┌────────┐ services         ┌────────┐      ┌────────┐              │
//!                  │  │ Harbor │ call, send, ask, │ Harbor │      │ Real   │   crowd of   │
//!                  │  └───┬────┘ answer, end      └───┬────┘      └───┬────┘   strangers  │
//!                  │      └──── TCP: streams, buffers, delay, end, reset, silence ────┘   │
//!                  │  faults: of processes, machines, clocks, descriptors, connections    │
//!                  └──────────────── every output ─▶ oracle, trace hash ──────────────────┘
//! ```
#![forbid(unsafe_code)]

mod case;
mod checks;
mod draw;
mod faults;
mod network;
mod node;
mod oracle;
pub mod real;
mod rng;
mod services;
mod shrink;
mod tcp;
mod trace;
mod world;

#[cfg(test)]
mod tests;

pub use case::{Act, BadLine, CLASSES, Case, Doors, Fault, Place, Plan, STRANGERS, Step, Stranger, Way};
pub use draw::Scale;
pub use oracle::Tally;
pub use rng::Rng;
pub use shrink::{Failure, attempt, shrink};
pub use world::{Report, play};
