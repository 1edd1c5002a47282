//! Real Skynet nodes, played as they were seen to behave: how they join, link, name and lose.
//!
//! ```text
//!  node      how it joins, whom it links to, what it keeps of names, what it does wrong, its log
//!  slots     its harbor service: links, messages that wait, names
//!  master    the master inside a real node
//!  frame     frames and packets, read and written without our decoders
//! ```
//!
//! A played node does the harmful things too: it loses what comes before a link is handed over, closes its listener
//! after the join, goes on writing into dead links, never dials again, takes an id once, lets the first registration win
//! in its table and the last one in everybody's cache. What a real one would log as an error is kept, so that a run without faults
//! can show that nobody made it complain. The tests in `tests/real_peer` and the simulator use the same model.

mod frame;
mod master;
mod node;
mod slots;

pub use crate::sim::tcp::Door;
pub use frame::{ERROR, LUA, Message, RESPONSE, packet_bytes, query, register};
pub use master::Master;
pub use node::Real;
pub use slots::{Slots, Status};

use std::time::Duration;

/// What a host wants done, in order.
#[derive(Debug)]
pub enum Do {
    /// Listen at this address.
    Listen(String, Door),
    /// Close a listening socket.
    StopListening(Door),
    /// Dial; the number is the connection's.
    Connect(u64, String),
    /// Write, however much waits already.
    Write(u64, Vec<u8>),
    /// Close, behind what was written.
    Close(u64),
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The payload of the answer.
    Reply(Vec<u8>),
    /// An error, and what is known of it.
    Error(String),
}

/// What a node does otherwise than it should.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// It hands accepted links over this late, and so its answer byte comes this late.
    pub late_answer: Duration,
    /// It never answers an id byte.
    pub never_answers: bool,
    /// It answers with this byte in place of its id.
    pub wrong_id: Option<u8>,
    /// It does not dial whom the master names.
    pub never_dials: bool,
}
