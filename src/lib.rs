//! Skynet's actor runtime and its Harbor in Rust.

pub mod clock;
pub mod harbor;
pub mod limits;
pub mod message;
pub mod metrics;
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
    Addr, Bounded, Context, Destination, Disposition, Global, Handler, Later, Message, Methods, NEVER,
    Overrun, Reply, Request, Responder, Service, Spawn, SpawnError, StartError, Target, Tick, TimerId, Wire,
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
        Addr, Bounded, CallError, Config, Context, Destination, Disposition, Error, Global, Handle, Handler,
        HarborId, Kind, Message, Methods, NEVER, Name, NameError, Node, Overrun, Payload, Reply, Request,
        Responder, SendError, SendReason, Service, Session, Spawn, SpawnError, StartError, Tick, TimerId,
        Wire, hz, millis, secs,
    };
}
