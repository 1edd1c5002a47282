//! What became of every message that services of this node sent to others.
//!
//! ```text
//! accepted = delivered + failed(reason) + unknown + queued + in flight        at every event
//!
//! queued     held for a name or a link, or not yet written in full to the connection
//! in flight  written in full to a connection that lives
//! delivered  in flight, and an answer proved that the peer got it (a link keeps order: an answered call proves all before it)
//! unknown    in flight when its connection died
//! failed     anything else; its caller was told why
//! ```

use crate::message::{CallError, HarborId, Name};

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// A queue or table on the way is full.
    Full,
    /// It was held as long as messages are held.
    Expired,
    /// The link to its node is down, or was lost before the message was written.
    PeerDown,
    /// Its payload is larger than a frame can carry.
    TooLarge,
    /// Its type or body may not leave the node.
    Denied,
    /// Nobody took the name that it was sent to.
    NoName,
    /// This node leaves.
    Shutdown,
}

impl Failure {
    const COUNT: usize = 7;

    /// What the caller is told about a message to `peer`.
    pub(super) fn to_peer(self, peer: HarborId) -> CallError {
        match self {
            Self::Full => CallError::Full,
            Self::Expired => CallError::Expired,
            Self::PeerDown => CallError::PeerDown(peer),
            Self::TooLarge => CallError::TooLarge,
            Self::Denied | Self::NoName => CallError::Denied,
            Self::Shutdown => CallError::Shutdown,
        }
    }

    /// What the caller is told about a message to `name`.
    pub(super) fn to_name(self, name: Name) -> CallError {
        match self {
            Self::NoName | Self::Expired => CallError::NoName(name),
            Self::Full | Self::PeerDown | Self::TooLarge | Self::Denied | Self::Shutdown => {
                self.to_peer(HarborId::SINGLE)
            }
        }
    }
}

/// Counts of messages; see the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Messages that the machine took.
    pub accepted: u64,
    /// Messages of which an answer proved that they arrived.
    pub delivered: u64,
    /// Messages whose connection died after they were written to it.
    pub unknown: u64,
    /// Messages that are held or not written in full.
    pub queued: u64,
    /// Messages that are written, on connections that live.
    pub in_flight: u64,
    failed: [u64; Failure::COUNT],
}

impl Account {
    /// Messages that failed for this reason.
    pub fn failed(&self, reason: Failure) -> u64 {
        self.failed[reason as usize]
    }

    /// Messages that failed for any reason.
    pub fn failed_total(&self) -> u64 {
        self.failed.iter().sum()
    }

    /// Whether every accepted message is accounted for.
    pub fn balances(&self) -> bool {
        self.accepted == self.delivered + self.failed_total() + self.unknown + self.queued + self.in_flight
    }

    /// One message that was counted as accepted failed. What it was counted as besides is taken back by the caller.
    pub(super) fn fail(&mut self, reason: Failure) {
        self.fail_many(reason, 1);
    }

    /// As many failed for the same reason.
    pub(super) fn fail_many(&mut self, reason: Failure, messages: u64) {
        self.failed[reason as usize] += messages;
    }

    /// Adds another account to this one.
    pub(super) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.unknown += other.unknown;
        self.queued += other.queued;
        self.in_flight += other.in_flight;
        for (sum, one) in self.failed.iter_mut().zip(other.failed) {
            *sum += one;
        }
    }
}

/// Counts of messages that peers sent to this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// Frames that were decoded.
    pub frames: u64,
    /// Frames that were handed to services.
    pub delivered: u64,
    /// Frames of types that a peer may not send: SYSTEM, HARBOR, SOCKET.
    pub dropped: u64,
    /// Delivered frames of type DEBUG.
    pub debug: u64,
    /// RESPONSE and ERROR frames for which no call is out (it was answered before, or its deadline has passed), and ERROR
    /// frames that call a service of another node dead: dropped.
    pub stray: u64,
    /// Delivered frames whose source is a service of another node than the link's, or nobody.
    pub foreign: u64,
    /// Delivered frames whose service does not exist.
    pub undeliverable: u64,
    /// Delivered frames whose service had no room.
    pub overflowed: u64,
}
