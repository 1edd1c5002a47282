//! The workloads of two processes.
//!
//! ```text
//!   this process, node 1                        the second process, node 2
//!   master, client ── harbor link over TCP ──►  STRESS-ECHO, STRESS-SINK
//!          │                                        ▲
//!          └─ stdin of the second process ──────────┘  closed: it ends
//! ```
//!
//! Payloads go through the raw door as TEXT, so that a frame has exactly the bytes that were asked for. Questions about
//! results are typed requests, packed as values.

mod child;
mod flood;
mod openloop;
mod payload;
mod peer;
mod rtt;

pub(crate) use flood::flood;
pub(crate) use openloop::openloop;
pub(crate) use peer::peer;
pub(crate) use rtt::rtt;

use crate::plan::{Failure, Plan};
use crate::stage::{PATIENCE, Stage};
use child::Child;
use serde::{Deserialize, Serialize};
use skyharbor::clock::Instant;
use skyharbor::prelude::*;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

/// The global name of the service that answers with what it got.
const ECHO: &str = "STRESS-ECHO";
/// The global name of the service that counts what it gets.
const SINK: &str = "STRESS-SINK";
/// Any free port of the loopback interface.
const LOOPBACK: &str = "127.0.0.1:0";
/// How often the second process is looked after while its names are awaited.
const LOOK: Duration = Duration::from_millis(100);
/// How many ports are tried for the master.
const PORT_TRIES: u32 = 8;

/// Both ends of a link: the node of this process, and the second process.
struct Link {
    stage: Stage,
    child: Child,
}

impl Link {
    /// Starts a node that hosts the master, and the second process, which joins it.
    fn start(plan: &Plan) -> Result<Self, Failure> {
        let (stage, master) = start_master(plan)?;
        let child = Child::start(plan, &master)?;
        Ok(Self { stage, child })
    }

    /// The service of the second process that has this global name, as soon as it has.
    fn find(&mut self, name: &str) -> Result<Handle, Failure> {
        let name: Name = name.parse().map_err(Error::from)?;
        let began = Instant::now();
        loop {
            // If the second process failed, its own words say more than a missing name.
            self.child.check()?;
            match self.stage.node().query(name, LOOK) {
                Err(CallError::NoName(_)) if Instant::now().since(began) < PATIENCE => {}
                found => return Ok(found.map_err(Error::from)?),
            }
        }
    }

    /// Ends the second process and the node.
    fn end(self) -> Result<(), Failure> {
        self.child.end()?;
        self.stage.end()
    }
}

/// A node that hosts the master on a free port, and that address. Others may take the port between the moment when it
/// is found free and the node's own bind; then another one is tried.
fn start_master(plan: &Plan) -> Result<(Stage, String), Failure> {
    let mut tries_left = PORT_TRIES;
    loop {
        let master = free_address().map_err(|error| Failure::File(LOOPBACK.into(), error))?;
        let config = Config::local().harbor(1).address(LOOPBACK).standalone(master.clone());
        tries_left -= 1;
        match Stage::start(config, plan.workers, plan.pin) {
            Ok(stage) => return Ok((stage, master)),
            Err(Failure::Node(Error::Listen { .. })) if tries_left > 0 => {}
            Err(failure) => return Err(failure),
        }
    }
}

fn free_address() -> io::Result<String> {
    Ok(TcpListener::bind(LOOPBACK)?.local_addr()?.to_string())
}

/// What the echo and the sink say about themselves.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Count {
    /// Messages that came.
    count: u64,
    /// Nanoseconds of the monotonic clock when the first and the last of them came; of the sink alone.
    first: u64,
    last: u64,
    /// The number that the first wrong message had to have, and what it had; of the sink alone.
    expected: Option<u64>,
    got: Option<u64>,
}

/// How much came?
#[derive(Serialize, Deserialize)]
struct Tally;

impl Request for Tally {
    type Reply = Count;
}

impl Wire for Tally {
    const NAME: &'static str = "tally";
}
