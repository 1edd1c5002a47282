//! Skynet's actor runtime and its Harbor in Rust: services in one process and over many, in Skynet's wire format.
//!
//! A node has services. A service is a value with `&mut self` handlers that one worker at a time runs. Services send
//! messages and call each other, on this node or on another one of the cluster; nobody has to know where a service lives.
//!
//! ```
//! use skyharbor::prelude::*;
//!
//! struct Add(i64);
//! impl Request for Add {
//!     type Reply = i64;
//! }
//!
//! struct Counter {
//!     total: i64,
//! }
//! impl Service for Counter {}
//! impl Handler<Add> for Counter {
//!     fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) -> Reply<i64> {
//!         self.total += add.0;
//!         Reply::Now(self.total)
//!     }
//! }
//!
//! fn main() -> Result<(), skyharbor::Error> {
//!     let node = Node::start(Config::local())?;
//!     let counter = node.spawn("counter", Counter { total: 0 })?;
//!     println!("the total is {}", node.call_blocking(&counter, Add(2), secs(1))?);
//!     node.shutdown(secs(1))
//! }
//! ```
//!
//! # What to know first
//!
//! - A handler never waits. [`Context::call`] takes a continuation that runs exactly once: with the reply, or with the
//!   [`CallError`] that says why there is none. [`Context::defer`] keeps the duty to answer for later.
//! - An [`Addr`] leads to exactly one service; a typed request moves to it. A [`Handle`] or a [`Global`] name may lead to
//!   another node and another language: requests to them are [`Wire`].
//! - A [`Service`] has two doors: a [`Handler`] for each typed request, and [`Service::message`] for everything else.
//! - What is refused comes back: [`SendError`] holds the message and the [`SendReason`].
//! - There is no async and no global state. [`Node::shutdown`] joins every thread that the node started.
//!
//! # The rooms
//!
//! Programs need [`prelude`] and little else. The modules are public for tests, benchmarks and readers, lowest first:
//!
//! ```text
//!  sync  limits  clock          what everything stands on
//!  queue  metrics               how threads meet; what is counted
//!  message  seri  wire          words; packed values; bytes and frames
//!  registry  runtime  harbor    names and members; services on workers; all decisions about peers
//!  net  services  node          sockets; built-in services; one node as a value
//! ```
//!
//! # The flows
//!
//! Each can be read from file to file; `docs/ARCHITECTURE.md` names the functions.
//!
//! ```text
//!  local message     context ─► route ─► mailbox ─► LIFO slot or ring ─► worker ─► handler
//!  to another node   context ─► route ─► lane ─► I/O thread ─► harbor ─► wire ─► one writev
//!  from another      read ─► harbor ─► wire ─► inlet ─► mailbox ─► …
//!  name              a request to the harbor; the answer is a reply like any other
//!  failure           link lost ─► every waiting call fails ─► the peer is down
//!  timer             the service's wheel ─► its worker's wheel ─► the control lane ─► the service
//! ```

pub mod clock;
pub mod harbor;
pub mod limits;
pub mod message;
pub mod metrics;
#[cfg(feature = "mutants")]
pub mod mutant;
#[cfg(not(feature = "mutants"))]
mod mutant;
pub mod net;
pub mod node;
pub mod queue;
pub mod registry;
pub mod runtime;
pub mod seri;
pub mod services;
#[cfg(any(test, fuzzing, feature = "sim"))]
pub mod sim;
pub mod sync;
pub mod wire;

pub use message::{
    CallError, Handle, HarborId, Kind, Name, NameError, Payload, SendError, SendReason, Session,
};
pub use node::{Config, ConfigError, Error, Node, Stopper};
pub use runtime::{
    Addr, BY_VARIANT, Bounded, Context, Destination, Disposition, Global, Handler, Later, Message, Methods,
    NEVER, Overrun, Reply, Request, Responder, Service, Spawn, SpawnError, StartError, Target, Tick, TimerId,
    Wire,
};

use std::time::Duration;

/// So many milliseconds.
pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// So many seconds.
pub const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The period of something that happens so many times a second.
///
/// # Panics
/// If `rate` is zero.
pub const fn hz(rate: u32) -> Duration {
    Duration::from_nanos(1_000_000_000 / rate as u64)
}

/// What programs use: `use skyharbor::prelude::*;`
pub mod prelude {
    pub use crate::metrics::Count;
    pub use crate::{
        Addr, BY_VARIANT, Bounded, CallError, Config, Context, Destination, Disposition, Error, Global,
        Handle, Handler, HarborId, Kind, Message, Methods, NEVER, Name, NameError, Node, Overrun, Payload,
        Reply, Request, Responder, SendError, SendReason, Service, Session, Spawn, SpawnError, StartError,
        Tick, TimerId, Wire, hz, millis, secs,
    };
}
