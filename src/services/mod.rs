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
//! | [`ServiceManager`] | `"REPORT"`, `"LAUNCH"`, `"QUERY"` and `"LIST"` of unique services, as Skynet's |
//!
//! # What real nodes wait for
//!
//! A node that hosts the master (`standalone`) starts a [`ServiceManager`] as the global name `SERVICE` and a [`DataCenter`]
//! as `DATACENTER`: real Skynet nodes that join it do not run their start script before `SERVICE` has answered. Their
//! Lua code launches Rust services with `skynet.uniqueservice(true, "NAME", …)`: those of [`Factories`]. Any other node finds
//! both under their names, with ordinary calls, whoever hosts the master.

#![forbid(unsafe_code)]

mod datacenter;
mod echo;
mod factories;
mod kv;
mod launcher;
mod manager;
pub mod multicast;
mod watch;

pub use datacenter::DataCenter;
pub use echo::Echo;
pub use factories::Factories;
pub use kv::Kv;
pub(crate) use manager::Provide;
pub use manager::ServiceManager;
pub use multicast::Multicast;
