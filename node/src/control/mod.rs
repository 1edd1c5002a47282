//! The control socket: how programs of the same machine talk to a running node.
//!
//! A Unix domain socket with mode 0600. Each line from a client is one [`Request`] as JSON, each line back is its
//! [`Answer`]; a connection's requests are answered one after the other. It can be used by hand:
//!
//! ```text
//! $ echo '{"call":{"to":"ECHO","arguments":[1,"x"],"timeout_ms":1000}}' | nc -U node.sock
//! {"reply":[1,"x"]}
//! $ echo '{"names":{}}' | nc -U node.sock
//! {"names":{"harbor":2,"master_up":true,"complete":false,"names":[…],"peers":[…]}}
//! ```
//!
//! ```text
//!  accept thread ──► connection thread ──Ask──► main thread ──► gateway service ──► the callee
//!                          ▲                                          │
//!                          └───────────── channel of the Ask ◄────────┘
//! ```
//!
//! Connections, line lengths and deadlines are bounded by [`crate::limits`].

mod client;
mod lines;
mod protocol;
mod server;
mod socket;

pub(crate) use client::ask;
pub(crate) use protocol::{Answer, Call, Failure, NameLine, Names, PeerLine, Request};
pub(crate) use server::{Client, Server};
