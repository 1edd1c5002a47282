//! What listeners and connections share: the poller, the deadlines of sockets, the resolver.

use super::address::Address;
use super::bell::PollerBell;
use super::counters::{IoCount, IoCounters};
use super::registration::{Interest, Registration};
use super::resolver::{Addresses, Answer, Inquiry, Question, Resolver};
use crate::clock::Instant;
use crate::harbor::{ConnId, Listener};
use socket2::Socket;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What an event, a deadline or an answer is about: a listener or a connection. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(usize);

impl Key {
    const LISTENERS: usize = 2;

    pub(super) fn listener(listener: Listener) -> Self {
        match listener {
            Listener::Links => Self(0),
            Listener::Master => Self(1),
        }
    }

    pub(super) fn conn(conn: ConnId) -> Self {
        Self(conn.number() as usize + Self::LISTENERS)
    }

    pub(super) fn of(event: &polling::Event) -> Self {
        Self(event.key)
    }

    /// Which listener, if it is one.
    pub(super) fn as_listener(self) -> Option<Listener> {
        [Listener::Links, Listener::Master].into_iter().find(|&listener| Self::listener(listener) == self)
    }
}

/// What an address needs before a socket can be made.
pub(super) enum Resolution {
    /// Nothing.
    Done(Addresses),
    /// An answer of the resolver.
    Asked,
}

pub(super) struct Reactor {
    bell: PollerBell,
    inquiry: Inquiry,
    /// Deadlines are not taken out when their reason goes away: whoever is called in vain ignores it.
    deadlines: BinaryHeap<Reverse<(Instant, Key)>>,
    /// How long a peer's machine may be unreachable.
    unreachable: Duration,
    counters: Arc<IoCounters>,
}

impl Reactor {
    pub(super) fn new(bell: PollerBell, unreachable: Duration) -> (Self, Resolver) {
        let (inquiry, resolver) = Inquiry::new(&bell);
        let (deadlines, counters) = (BinaryHeap::new(), Arc::default());
        (Self { bell, inquiry, deadlines, unreachable, counters }, resolver)
    }

    /// How long a peer's machine may be unreachable before its connections end.
    pub(super) fn unreachable(&self) -> Duration {
        self.unreachable
    }

    pub(super) fn register(&self, socket: Socket, key: Key, interest: Interest) -> io::Result<Registration> {
        Registration::new(self.bell.poller(), socket, key.0, interest)
    }

    #[cfg(test)]
    pub(super) fn poller(&self) -> &polling::Poller {
        self.bell.poller()
    }

    /// Adds to a counter.
    pub(super) fn count(&self, what: IoCount, count: u64) {
        self.counters.add(what, count);
    }

    pub(super) fn counters(&self) -> &Arc<IoCounters> {
        &self.counters
    }

    /// Calls for `key` at `deadline`.
    pub(super) fn wake_at(&mut self, deadline: Instant, key: Key) {
        self.deadlines.push(Reverse((deadline, key)));
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.peek().map(|&Reverse((deadline, _))| deadline)
    }

    /// The next one whose deadline has come.
    pub(super) fn poll_expired(&mut self, now: Instant) -> Option<Key> {
        let &Reverse((deadline, key)) = self.deadlines.peek()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop();
        Some(key)
    }

    /// Turns an address into numbers, or has the resolver do it; after `by` nobody waits for its answer.
    pub(super) fn resolve(
        &mut self,
        key: Key,
        address: &str,
        by: Instant,
    ) -> Result<Resolution, io::ErrorKind> {
        match Address::parse(address)? {
            Address::Known(address) => Ok(Resolution::Done(Addresses::from_iter([address]))),
            Address::Named { host, port } => {
                self.inquiry.ask(Question { key, host, port, by })?;
                Ok(Resolution::Asked)
            }
        }
    }

    pub(super) fn poll_answer(&mut self) -> Option<Answer> {
        self.inquiry.poll_answer()
    }
}
