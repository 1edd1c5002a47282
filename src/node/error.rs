//! The error of everything that is done with a node from outside.

use super::ConfigError;
use crate::message::{CallError, Handle, NameError, SendReason};
use crate::registry::LeaseError;
use crate::runtime::SpawnError;
use std::io;

/// What went wrong with a node, seen from the thread that owns it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration has errors.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A socket could not be opened, or a thread not started.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A listening address could not be opened.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address, `host:port`.
        address: String,
        /// Why.
        reason: io::ErrorKind,
    },
    /// No harbor id could be leased from the configured range.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A service was not spawned.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A message was not sent.
    #[error("not sent: {0}")]
    Send(SendReason),
    /// The text is not a global name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The global name belongs to another service.
    #[error("the name belongs to {0}")]
    NameTaken(Handle),
    /// The local name is malformed or taken.
    #[error("the local name {0:?} is malformed or taken")]
    LocalName(String),
    /// Unique services are kept by the node that hosts the master, and this is another one.
    #[error("only a standalone node has unique services")]
    NotStandalone,
    /// Threads did not end in time and were left behind.
    #[error("{} thread(s) did not end in time; stuck in {services:?}", services.len())]
    Stuck {
        /// What each of them was serving, as far as that is known.
        services: Vec<Option<Handle>>,
    },
    /// Shutdown was called on a thread of the node itself.
    #[error("a node cannot be shut down by one of its own threads")]
    OwnThread,
}
