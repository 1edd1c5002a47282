//! The vocabulary that every layer above shares: who is addressed, what kind of message it is, which
//! session waits for an answer, what the message carries, and which errors exist.
//!
//! Nothing here does I/O, spawns, blocks or reads a clock. The runtime and the harbor know each other
//! only through these words.
//!
//! | word | type | where it comes from |
//! |---|---|---|
//! | handle | [`Handle`] | Skynet: 8-bit harbor id, 24-bit service id |
//! | kind | [`Kind`] | Skynet's `PTYPE_*` numbers |
//! | session | [`Session`] | 31-bit number chosen by the requester, 0 = no answer wanted |
//! | name | [`Name`] | global names, 1–15 bytes |
//! | envelope | [`Envelope`] | one message with its source, destination, session and body |
//! | request | [`HarborRequest`] | what a service may ask of the harbor |

#![forbid(unsafe_code)]

mod envelope;
mod error;
mod handle;
mod kind;
mod name;
mod payload;
mod request;
mod session;

pub use envelope::{Body, Envelope};
pub use error::{CallError, SendError, SendReason};
pub use handle::{Handle, HarborId, ParseHandleError};
pub use kind::Kind;
pub use name::{Name, NameError};
pub use payload::Payload;
pub use request::{HarborAnswer, HarborRequest, LinkState, MemoryUse, NameEntry, PeerStatus, Status, Waiter};
pub use session::Session;
