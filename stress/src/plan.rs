//! What a workload is asked to do, and what it comes back with.

use hdrhistogram::Histogram;
use serde_json::Value;
use skyharbor::clock::Instant;
use skyharbor::{CallError, SendReason};
use std::collections::BTreeMap;
use std::time::Duration;

/// When a workload ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// After this time.
    Time(Duration),
    /// When so many are counted.
    Count(u64),
}

/// What a workload is asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Stands before the progress.
    pub(crate) title: String,
    pub(crate) goal: Goal,
    /// Worker threads of each node.
    pub(crate) workers: usize,
    pub(crate) pin: bool,
    pub(crate) seed: u64,
    /// Bytes of a message.
    pub(crate) size: usize,
    /// Requests per second, `openloop` only.
    pub(crate) rate: f64,
    /// Messages under way, `flood` only.
    pub(crate) window: Option<u64>,
}

/// Extra facts of a run, in the order of their names.
pub(crate) type Params = BTreeMap<&'static str, Value>;

/// What a workload measured, after everything was verified.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What was counted: messages, round trips, hops, leaves, services.
    pub(crate) msgs: u64,
    pub(crate) time: Duration,
    /// Nanoseconds; none where a workload has no latency.
    pub(crate) latency: Option<Histogram<u64>>,
    /// Facts that the plan does not hold.
    pub(crate) params: Params,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Messages were lost or repeated.
    #[error("{what}: {counted} counted, {expected} expected")]
    Count { what: &'static str, counted: u64, expected: u64 },
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("the node failed: {0}")]
    Node(#[from] skyharbor::Error),
    #[error("the second process {0}")]
    Peer(String),
    #[error("a process {0}")]
    Member(String),
    #[error("found no free ports")]
    Ports,
    #[error("{0} must name a built Skynet")]
    NoSkynet(&'static str),
    #[error("no network namespaces: {0}")]
    Namespaces(String),
    #[error("{0}: {1}")]
    File(String, std::io::Error),
}

/// What a service found wrong while it ran.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{who} {index} got message {got}, message {expected} was next")]
    Sequence { who: &'static str, index: u64, expected: u64, got: u64 },
    #[error("{who} {index} got the payload of another message")]
    Payload { who: &'static str, index: u64 },
    #[error("a send of {who} {index} was refused: {reason}")]
    Refused { who: &'static str, index: u64, reason: SendReason },
    #[error("a call of {who} failed: {error}")]
    Call { who: &'static str, error: CallError },
    #[error("{who} {index} could not spawn: {reason}")]
    Spawn { who: &'static str, index: u64, reason: String },
}

impl Plan {
    /// One worker per CPU that this process may use.
    pub(crate) fn workers_of_machine() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// A seed that differs from run to run, short enough to be typed again.
    pub(crate) fn fresh_seed() -> u64 {
        crate::random::mix(Instant::now().nanos()) >> 32
    }

    /// What is asked of each of `parts` when the goal is a count: rounded up, so that the whole is at least the goal.
    pub(crate) fn share(&self, parts: u64) -> Option<u64> {
        match self.goal {
            Goal::Count(count) => Some(count.div_ceil(parts)),
            Goal::Time(_) => None,
        }
    }
}

/// Fails unless as many were counted as expected.
pub(crate) fn require_count(what: &'static str, counted: u64, expected: u64) -> Result<(), Failure> {
    if counted == expected { Ok(()) } else { Err(Failure::Count { what, counted, expected }) }
}

impl Goal {
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Time(time) => format!("{} s", time.as_secs_f64()),
            Self::Count(count) => format!("{count}"),
        }
    }
}
