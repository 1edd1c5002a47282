//! The one I/O thread. It moves bytes and decides nothing.
//!
//! ```text
//!  services ──► lanes ──┐                                             ┌──► Inlet ──► services
//!                       ▼            handle_* / poll_*                │
//!                  ┌─────────┐  ◄───────────────────────►  ┌──────────┴─┐
//!                  │ IoThread│                             │   Harbor   │  decides
//!                  └─┬─────▲─┘                             └────────────┘
//!             writev ▼     │ read
//!                  connections, listeners ── readiness ── poller ◄── ring: a lane, a resolved name
//! ```
//!
//! | file | what |
//! |---|---|
//! | `io_thread` | the run loop: sleeps, and looks on before that |
//! | `helm` | one turn in numbered steps; a sender that stands in |
//! | `connections` | sockets of peers: dialling, reading, writing, the last bytes |
//! | `listeners` | listening sockets |
//! | `reactor` | what both share: poller, deadlines, questions to the resolver |
//! | `registration` | a socket that the poller watches; the one `unsafe` |
//! | `sockets` | calls of the system and what their errors mean |
//! | `memory` | stands in for them and for the poller under shuttle |
//! | `resolver` | names become addresses, on a thread of its own |
//! | `address` | `host:port` |
//! | `bell` | ends a wait from another thread |
//! | `counters` | what is counted |
//! | `journal` | log lines |
//!
//! Nobody here reads a frame, knows a slot or retries: that is [`harbor`](crate::harbor). What lives here is what only a
//! socket can do: partial writes, several addresses of one name, descriptors that run out, bytes that a close would lose.
//!
//! Threads: [`IoThread`] runs on one (and, for one turn at a time, on those of senders), [`Resolver`] on another; whoever owns the node starts both. [`PollerBell`] may be
//! rung by all.
//!
//! Batching is natural: all that is taken in one turn rides one write per connection. While the thread is awake a send
//! costs no system call; asleep, the first sender writes in its place, the next one wakes it.
//!
//! Invariants: a socket is forgotten by the poller before it is closed; the machine hears of a connection's end once, and
//! nothing after; every loop is bounded by a name of [`limits`](crate::limits); no error of the system ends the thread,
//! except one of the poller itself.
#![deny(unsafe_code)]

mod address;
mod bell;
mod connections;
mod counters;
mod helm;
mod io_thread;
mod journal;
mod listeners;
mod reactor;
mod registration;
mod resolver;
#[cfg_attr(shuttle, path = "memory.rs")]
mod sockets;
#[cfg(all(test, not(shuttle)))]
mod tests;

/// What the system gives: sockets, and the poller that watches them.
#[cfg(not(shuttle))]
mod system {
    pub(super) use polling::{Event, Events, PollMode, Poller};
    pub(super) use socket2::Socket;
}
#[cfg(shuttle)]
use sockets as system;
#[cfg(shuttle)]
pub use sockets::break_streams;

pub use bell::PollerBell;
pub use counters::{IoCount, IoCounters, IoCounts};
pub use io_thread::{IoThread, Settings};
pub use resolver::Resolver;
