//! Skynet's actor runtime and its Harbor in Rust.

pub mod clock;
pub mod limits;
pub mod message;
pub mod node;
pub mod queue;
pub mod seri;
pub mod sync;

pub use message::{CallError, Handle, HarborId, Kind, Name, SendError, SendReason, Session};
pub use node::{Config, ConfigError};
