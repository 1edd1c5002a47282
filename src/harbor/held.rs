//! Messages that wait for a name or for a link, in order.

use crate::clock::Instant;
use crate::message::{Body, Envelope};
use crate::mutant::{self, Mutant};
use std::collections::VecDeque;
use std::time::Duration;

/// How much a [`Held`] may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldBounds {
    pub(super) messages_max: usize,
    pub(super) bytes_max: usize,
    pub(super) time_max: Duration,
}

/// A bounded queue of messages. All are held equally long, so the oldest is the first to expire.
#[derive(Default)]
pub(super) struct Held {
    queue: VecDeque<(Instant, Envelope)>,
    bytes: usize,
}

/// What a held message costs, in bytes: its payload and its place.
fn cost(envelope: &Envelope) -> usize {
    let payload = match &envelope.body {
        Body::Bytes(payload) => payload.len(),
        Body::Empty | Body::Typed(_) | Body::Failure(_) => 0,
    };
    payload + size_of::<(Instant, Envelope)>()
}

impl Held {
    /// Appends a message and says when it will expire.
    ///
    /// # Errors
    /// Gives the message back if there is no room.
    pub(super) fn push(
        &mut self,
        now: Instant,
        envelope: Envelope,
        bounds: HeldBounds,
    ) -> Result<Instant, Envelope> {
        let cost = cost(&envelope);
        if self.queue.len() >= bounds.messages_max + usize::from(mutant::is(Mutant::HeldOneTooMany))
            || self.bytes + cost > bounds.bytes_max
        {
            return Err(envelope);
        }
        let expires = now + bounds.time_max;
        self.bytes += cost;
        self.queue.push_back((expires, envelope));
        Ok(expires)
    }

    /// The oldest message.
    pub(super) fn pop(&mut self) -> Option<Envelope> {
        let is_reversed = mutant::is(Mutant::HeldReversed);
        let (_, envelope) = if is_reversed { self.queue.pop_back() } else { self.queue.pop_front() }?;
        self.bytes -= cost(&envelope);
        Some(envelope)
    }

    /// The oldest message, if its time is over.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Envelope> {
        let (expires, _) = self.queue.front().filter(|_| !mutant::is(Mutant::HeldForEver))?;
        if *expires <= now { self.pop() } else { None }
    }

    /// When the oldest message expires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let oldest = self.queue.front().filter(|_| !mutant::is(Mutant::HeldForEver));
        oldest.map(|(expires, _)| *expires)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Payload bytes and places of all messages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Handle, Kind, Payload, Session};

    fn message(session: u32, len: usize) -> Envelope {
        let source = Handle::from_bits(0x0100_0008);
        let dest = Handle::from_bits(0x0200_0008);
        let body = Body::Bytes(Payload::from_vec(vec![0; len]));
        Envelope { source, dest, session: Session::from_bits(session), kind: Kind::LUA, body }
    }

    const BOUNDS: HeldBounds =
        HeldBounds { messages_max: 3, bytes_max: 4096, time_max: Duration::from_nanos(100) };

    #[test]
    fn order_and_expiry_are_first_in_first_out() {
        let mut held = Held::default();
        for n in 1..=3 {
            held.push(Instant::from_nanos(u64::from(n)), message(n, 0), BOUNDS).unwrap();
        }
        assert_eq!(held.deadline(), Some(Instant::from_nanos(101)));
        assert!(held.pop_expired(Instant::from_nanos(100)).is_none());
        assert_eq!(held.pop_expired(Instant::from_nanos(101)).unwrap().session.bits(), 1);
        assert!(held.pop_expired(Instant::from_nanos(101)).is_none());
        assert_eq!(held.pop().unwrap().session.bits(), 2);
        assert_eq!(held.len(), 1);
    }

    #[test]
    fn count_and_bytes_are_bounded_and_come_back() {
        let mut held = Held::default();
        let now = Instant::from_nanos(0);
        assert_eq!(held.push(now, message(1, 4096), BOUNDS).unwrap_err().session.bits(), 1);
        for n in 0..3 {
            held.push(now, message(n, 100), BOUNDS).unwrap();
        }
        assert_eq!(held.push(now, message(9, 0), BOUNDS).unwrap_err().session.bits(), 9);
        while held.pop().is_some() {}
        assert_eq!(held.bytes, 0, "every byte is given back");
    }
}
