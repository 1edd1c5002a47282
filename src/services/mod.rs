//! Built-in services: ordinary services that any node can start, by code or by its configuration.
//!
//! They speak packed values, so that Lua services call them like their own kind. Nothing here opens a socket or starts
//! a thread.
//!
//! | service | speaks |
//! |---|---|
//! | [`DataCenter`] | `"QUERY"`, `"UPDATE"` and `"WAIT"` of values under paths of keys, as Skynet's |
//! | [`Echo`] | anything: the answer is what came |
//! | [`Kv`] | `"get", key` and `"set", key, value` |
//! | [`Multicast`] | channels for services of this node; Skynet's `multicastd` for other nodes |

#![forbid(unsafe_code)]

mod datacenter;
mod echo;
mod kv;
pub mod multicast;
mod watch;

pub use datacenter::DataCenter;
pub use echo::Echo;
pub use kv::Kv;
pub use multicast::Multicast;
