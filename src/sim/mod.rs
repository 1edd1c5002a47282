//! N harbors, one thread, one seed.
//!
//! ```text
//!  seed ─▶ plan ─▶ ┌──────────── world: one heap of what is due, virtual time ────────────┐
//!                  │  node 0 (hosts the master)   node 1          node 2 …                │
//!                  │  ┌────────┐ services         ┌────────┐      ┌────────┐              │
//!                  │  │ Harbor │ call, send,      │ Harbor │      │ Harbor │              │
//!                  │  └───┬────┘ answer, die      └───┬────┘      └───┬────┘              │
//!                  │      └──── TCP: pieces, delay, refusal, end, reset ─────┘            │
//!                  │  faults: crash and restart, leave, cut connections                   │
//!                  └──────────────── every output ─▶ oracle, trace hash ──────────────────┘
//! ```
//!
//! The machines are the real ones; only sockets, clock and services are played. A run has three phases: *busy* with
//! faults, *healing* without faults in which crashed nodes come back, and *quiet*, in which every call must end and
//! every two nodes must find each other. The same seed gives the same run to the last byte: [`run`] returns a hash of
//! everything that happened. A broken rule panics and names it; the seed reproduces it.
#![forbid(unsafe_code)]

mod faults;
mod network;
mod node;
mod oracle;
mod rng;
mod tcp;
mod traffic;
mod world;

#[cfg(test)]
mod tests;

pub use oracle::Tally;
pub use rng::Rng;
pub use world::{Plan, Report, run};
