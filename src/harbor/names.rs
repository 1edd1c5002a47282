//! Messages to names that nobody has yet.

use super::Bounds;
use super::held::{Held, HeldBounds};
use crate::clock::Instant;
use crate::message::{Envelope, Name};
use crate::mutant::{self, Mutant};
use std::collections::{BTreeMap, BTreeSet};

/// Messages held per name, each name's in order.
#[derive(Default)]
pub(super) struct Nameless {
    held: BTreeMap<Name, Held>,
    /// For each name here, when its oldest message expires.
    deadlines: BTreeSet<(Instant, Name)>,
    messages: usize,
    bytes: usize,
}

impl Nameless {
    /// Holds a message and says when it expires.
    ///
    /// # Errors
    /// Gives the message back if its name, or all of them together, hold too much.
    pub(super) fn push(
        &mut self,
        now: Instant,
        name: Name,
        envelope: Envelope,
        bounds: &Bounds,
    ) -> Result<Instant, Envelope> {
        let is_new = !self.held.contains_key(&name);
        let held = self.held.entry(name).or_default();
        let before = held.bytes();
        let room = HeldBounds {
            messages_max: bounds.name_held_messages_max,
            bytes_max: bounds.held_bytes_max.saturating_sub(self.bytes - before),
            time_max: bounds.held_time_max,
        };
        let result = held.push(now, envelope, room);
        self.bytes += held.bytes() - before;
        match result {
            Ok(expires) => {
                self.messages += 1;
                if held.len() == 1 {
                    self.deadlines.insert((expires, name));
                }
                Ok(expires)
            }
            Err(envelope) => {
                if is_new {
                    self.held.remove(&name);
                }
                Err(envelope)
            }
        }
    }

    /// The name has an owner: everything that waited for it.
    pub(super) fn take(&mut self, name: Name) -> Held {
        let Some(held) = self.held.remove(&name) else { return Held::default() };
        if let Some(deadline) = held.deadline() {
            self.deadlines.remove(&(deadline, name));
        }
        self.messages -= held.len();
        self.bytes -= held.bytes();
        held
    }

    /// One message whose time is over.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<(Name, Envelope)> {
        let (deadline, name) = *self.deadlines.first()?;
        if deadline <= now { self.pop(name).map(|envelope| (name, envelope)) } else { None }
    }

    /// Any message at all.
    pub(super) fn pop_any(&mut self) -> Option<(Name, Envelope)> {
        let (_, name) = *self.deadlines.first()?;
        self.pop(name).map(|envelope| (name, envelope))
    }

    /// The oldest message of a name.
    fn pop(&mut self, name: Name) -> Option<Envelope> {
        let mut held = self.take(name);
        let envelope = held.pop();
        if let Some(deadline) = held.deadline() {
            self.deadlines.insert((deadline, name));
            self.messages += held.len();
            self.bytes += held.bytes();
            self.held.insert(name, held);
        }
        envelope
    }

    /// When the oldest message expires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first = self.deadlines.first().filter(|_| !mutant::is(Mutant::NamelessForEver));
        first.map(|(deadline, _)| *deadline)
    }

    /// Whether messages wait for this name.
    pub(super) fn waits_for(&self, name: Name) -> bool {
        self.held.contains_key(&name)
    }

    /// Messages held.
    pub(super) fn len(&self) -> usize {
        self.messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Body, Handle, Kind, Payload, Session};
    use std::time::Duration;

    fn message(session: u32) -> Envelope {
        let source = Handle::from_bits(0x0100_0008);
        let body = Body::Bytes(Payload::from(&[0; 100]));
        let session = Session::from_bits(session);
        Envelope { source, dest: Handle::NONE, session, kind: Kind::LUA, body }
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn bounds() -> Bounds {
        Bounds {
            name_held_messages_max: 3,
            held_bytes_max: 4 * (100 + size_of::<(Instant, Envelope)>()),
            held_time_max: Duration::from_nanos(10),
            ..Bounds::default()
        }
    }

    #[test]
    fn names_keep_their_order_and_expire_oldest_first() {
        let mut nameless = Nameless::default();
        for (time, text) in [(1, "B"), (2, "A"), (3, "B")] {
            nameless.push(at(time), name(text), message(time as u32), &bounds()).unwrap();
        }
        assert!(nameless.pop_expired(at(10)).is_none());
        let expired: Vec<u32> = std::iter::from_fn(|| nameless.pop_expired(at(12)))
            .map(|(_, envelope)| envelope.session.bits())
            .collect();
        assert_eq!(expired, [1, 2]);
        assert_eq!((nameless.len(), nameless.deadline()), (1, Some(at(13))));
        assert_eq!(nameless.take(name("B")).len(), 1);
        assert_eq!((nameless.messages, nameless.bytes, nameless.deadline()), (0, 0, None));
    }

    #[test]
    fn messages_and_bytes_are_bounded() {
        let mut nameless = Nameless::default();
        let mut push = |text: &str| nameless.push(at(0), name(text), message(1), &bounds()).is_ok();
        assert!(push("A") && push("A") && push("A"));
        assert!(!push("A"), "three messages of one name");
        assert!(push("B"));
        assert!(!push("C"), "bytes of all names");
        while nameless.pop_any().is_some() {}
        assert_eq!((nameless.messages, nameless.bytes, nameless.held.len()), (0, 0, 0));
    }
}
