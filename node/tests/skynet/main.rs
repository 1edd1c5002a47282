//! Live clusters: real Skynet nodes, nodes of ours in this process, processes of the `skyharbor` program.
//!
//! The environment variable `SKYNET_DIR` names a built Skynet; without it every test says so once and passes.
//! `SKYNET_MINUTES` is how long the mixed traffic of `soak.rs` runs (default: a few seconds).
//!
//! ```text
//!  a test ──(a socket of its own: lines of text)──► agent.lua in a real node ──┐
//!         ──(a value in this process)─────────────► agent.rs in our node ──────┼── harbor links, master links
//!         ──(skyharbor call --via)────────────────► echo in our program ───────┘
//! ```
//!
//! Ports are chosen free, configurations are written to a folder that goes away, processes are ended by their handles.

mod agent;
mod calls;
mod defects;
mod leases;
mod losses;
mod mixes;
mod multicast;
mod names;
#[path = "../played/mod.rs"]
mod played;
mod process;
#[path = "../program/mod.rs"]
mod program;
mod restarts;
mod routes;
mod services;
mod soak;
mod uniques;
mod values;
mod watches;
mod world;
