//! Services that asked to be told about a link, about the master, or about another owner of a name. (Who asks for its owner waits in
//! `registry`.)

use super::pending::KeyHash;
use crate::limits::WAITERS_MAX;
use crate::message::{Handle, HarborId, Name, Session, Waiter};
use std::collections::{BTreeMap, HashMap};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The link to a node comes up.
    Connect(HarborId),
    /// The link to a node is lost.
    Link(HarborId),
    /// The link to the master is lost.
    Master,
    /// A name has another owner than this; [`Handle::NONE`]: nobody.
    Name(Name, Handle),
}

/// There are [`WAITERS_MAX`] waiters.
#[derive(Debug)]
pub(super) struct WaitersFull;

/// A waiter's place: its subject and its turn among all.
type Place = (Subject, u64);

/// All waiters of the node, by subject in the order in which they came.
#[derive(Default)]
pub(super) struct Waiters {
    places: BTreeMap<Place, Waiter>,
    by_waiter: HashMap<(Handle, Session), Place, KeyHash>,
    turn: u64,
}

impl Waiters {
    /// Lets a waiter wait. One that waits already waits for the new subject instead.
    ///
    /// # Errors
    /// [`WaitersFull`]; the waiter then waits for nothing.
    pub(super) fn insert(&mut self, subject: Subject, waiter: Waiter) -> Result<(), WaitersFull> {
        self.forget(waiter);
        if self.places.len() >= WAITERS_MAX {
            return Err(WaitersFull);
        }
        self.turn += 1;
        let place = (subject, self.turn);
        self.places.insert(place, waiter);
        self.by_waiter.insert((waiter.source, waiter.session), place);
        Ok(())
    }

    /// The first who waits for this, who then waits no more.
    pub(super) fn pop(&mut self, subject: Subject) -> Option<Waiter> {
        let mut places = self.places.range((subject, 0)..=(subject, u64::MAX));
        let place = *places.next()?.0;
        self.remove(place)
    }

    /// The first who waits for another owner of the name than one that is not this.
    pub(super) fn pop_name(&mut self, name: Name, owner: Handle) -> Option<Waiter> {
        let all = (Subject::Name(name, Handle::NONE), 0)
            ..=(Subject::Name(name, Handle::from_bits(u32::MAX)), u64::MAX);
        let is_told = |place: &&Place| place.0 != Subject::Name(name, owner);
        let place = *self.places.range(all).map(|(place, _)| place).find(is_told)?;
        self.remove(place)
    }

    /// Anybody at all, who then waits no more.
    pub(super) fn pop_any(&mut self) -> Option<Waiter> {
        let place = *self.places.first_key_value()?.0;
        self.remove(place)
    }

    /// Whatever it waits for, it waits no more.
    pub(super) fn forget(&mut self, waiter: Waiter) {
        if let Some(place) = self.by_waiter.get(&(waiter.source, waiter.session)).copied() {
            self.remove(place);
        }
    }

    fn remove(&mut self, place: Place) -> Option<Waiter> {
        let waiter = self.places.remove(&place)?;
        self.by_waiter.remove(&(waiter.source, waiter.session));
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(session: u32) -> Waiter {
        Waiter { source: Handle::from_bits(0x0100_0008), session: Session::from_bits(session) }
    }

    const LINK: Subject = Subject::Link(HarborId::new(2));
    const OTHER: Subject = Subject::Link(HarborId::new(3));

    #[test]
    fn each_is_told_once_in_order() {
        let mut waiters = Waiters::default();
        for session in 1..=3 {
            waiters.insert(LINK, waiter(session)).unwrap();
        }
        waiters.insert(OTHER, waiter(4)).unwrap();
        waiters.forget(waiter(2));
        waiters.forget(waiter(2));
        assert_eq!(waiters.pop(LINK), Some(waiter(1)));
        assert_eq!(waiters.pop(LINK), Some(waiter(3)));
        assert_eq!(waiters.pop(LINK), None);
        assert_eq!(waiters.pop_any(), Some(waiter(4)));
        assert!(waiters.places.is_empty() && waiters.by_waiter.is_empty());
    }

    #[test]
    fn the_same_waiter_moves_to_the_new_subject() {
        let mut waiters = Waiters::default();
        waiters.insert(LINK, waiter(1)).unwrap();
        waiters.insert(Subject::Master, waiter(1)).unwrap();
        assert_eq!(waiters.pop(LINK), None);
        assert_eq!(waiters.pop(Subject::Master), Some(waiter(1)));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut waiters = Waiters::default();
        for session in 0..WAITERS_MAX as u32 {
            waiters.insert(LINK, waiter(session)).unwrap();
        }
        assert!(waiters.insert(LINK, waiter(u32::MAX)).is_err());
        assert!(waiters.insert(LINK, waiter(0)).is_ok(), "it has a place already");
    }
}
