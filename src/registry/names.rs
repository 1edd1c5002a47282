//! The names that one node knows, registers and waits for.
//!
//! ```text
//! known   name ─► owner, epoch                  what the last N said, or our own registration; vacant: those of nobody
//! own     name ─► our service                   what the next master must hear; contested: what newcomers must
//! ended   name                                  what our services had, and no master has heard of its end
//! wanted  name ─► waiters, held                 no name is both wanted and known to be somebody's
//!           ▲
//! by_waiter (source, session, ticket)           to forget one
//! by_time   (deadline, ticket)                  to expire them
//! ```

use super::bounds::Bounds;
use crate::clock::Instant;
use crate::limits::{CONTESTED_NAMES_MAX, SERVICE_ID_VACANT};
use crate::message::{Handle, Name, Session, Waiter};
use crate::mutant::{self, Mutant};
use std::collections::{BTreeMap, BTreeSet};

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<Name, Owner>,
    /// Names that are known to be nobody's: they make room for others.
    vacant: BTreeSet<Name>,
    /// Own names whose services gave them up, or ended, while no master could be told.
    ended: BTreeSet<Name>,
    own: BTreeMap<Name, Handle>,
    /// Own names that had another owner before, as far as this node knows (G10).
    contested: BTreeSet<Name>,
    wanted: BTreeMap<Name, Wanted>,
    by_waiter: BTreeMap<(Handle, Session, Ticket), Name>,
    by_time: BTreeMap<(Instant, Ticket), Name>,
    ticket_last: Ticket,
}

/// Who has a name, as far as this node knows.
#[derive(Clone, Copy, Debug)]
struct Owner {
    handle: Handle,
    /// When a master of our kind confirmed it for this node's services, or for the other's.
    epoch: Option<u64>,
}

/// The number of one waiter, so that equal waiters are told apart.
type Ticket = u64;

/// Who wants a name that nobody has.
#[derive(Debug, Default)]
struct Wanted {
    /// Messages are held for it.
    held: bool,
    waiters: BTreeMap<Ticket, (Waiter, Instant)>,
}

/// What a name turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Learnt {
    /// It is as it was.
    Same,
    /// It has a new owner: all these waiters are answered.
    New {
        waiters: Vec<Waiter>,
        /// Our service that had it before.
        lost: Option<Handle>,
    },
    /// There is no room to remember it, and nobody waits for it.
    Full,
}

/// What becomes of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The owner is known.
    Known(Handle),
    /// It is wanted from now on.
    First,
    /// It was wanted before.
    Again,
    /// Too many names are wanted, or too many wait.
    Full,
}

/// Whether a handle is no service: the name that has it is nobody's.
pub(super) fn is_nobody(handle: Handle) -> bool {
    handle.local() == SERVICE_ID_VACANT
}

impl Names {
    pub(super) fn owner(&self, name: &Name) -> Option<Handle> {
        self.known.get(name).map(|owner| owner.handle)
    }

    /// Whether the name is registered for a service of this node.
    pub(super) fn is_own(&self, name: &Name) -> bool {
        self.own.contains_key(name)
    }

    /// Our service that has the name.
    pub(super) fn own_handle(&self, name: &Name) -> Option<Handle> {
        self.own.get(name).copied()
    }

    pub(super) fn known(&self) -> impl Iterator<Item = (Name, Handle)> {
        self.known.iter().map(|(name, owner)| (*name, owner.handle))
    }

    pub(super) fn own(&self) -> impl Iterator<Item = (Name, Handle)> {
        self.own.iter().map(|(name, handle)| (*name, *handle))
    }

    /// When a master confirmed the present owner.
    pub(super) fn epoch(&self, name: &Name) -> Option<u64> {
        self.known.get(name).and_then(|owner| owner.epoch)
    }

    /// Own names that had another owner before.
    pub(super) fn contested(&self) -> impl Iterator<Item = (Name, Handle)> {
        self.contested.iter().filter_map(|name| Some((*name, *self.own.get(name)?)))
    }

    /// Another master, or another life of this one, knows nothing of former owners.
    pub(super) fn forget_contested(&mut self) {
        self.contested.clear();
    }

    /// Names whose end no master has heard of; it is about to.
    pub(super) fn take_ended(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.ended)
    }

    /// No master could be told that our service has the name no more.
    pub(super) fn note_ended(&mut self, name: Name, bounds: &Bounds) {
        if self.ended.len() < bounds.names_max {
            self.ended.insert(name);
        }
    }

    /// Own names of this service.
    pub(super) fn of(&self, handle: Handle) -> Vec<Name> {
        self.own.iter().filter(|(_, owner)| **owner == handle).map(|(name, _)| *name).collect()
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = Name> {
        self.wanted.keys().copied()
    }

    /// A service of this node takes the name. [`Learnt::Full`] if it cannot be remembered.
    pub(super) fn register(&mut self, name: Name, handle: Handle, bounds: &Bounds) -> Learnt {
        if !self.has_room(&name, bounds) {
            return Learnt::Full;
        }
        let before = self.known.get(&name).copied();
        let is_contested = before.is_some_and(|before| before.handle != handle);
        // A name that moves inside a node is that node's as long as before.
        let before = before.filter(|before| before.handle.harbor() == handle.harbor());
        let learnt = self.learn(name, handle, before.and_then(|before| before.epoch), bounds);
        self.own.insert(name, handle);
        self.ended.remove(&name);
        if is_contested {
            self.repeat(name);
        }
        learnt
    }

    /// The master may know another owner of our name.
    pub(super) fn contest(&mut self, name: &Name, other: Handle) {
        if self.own.get(name).is_some_and(|ours| *ours != other) {
            self.repeat(*name);
        }
    }

    fn repeat(&mut self, name: Name) {
        if self.contested.len() < CONTESTED_NAMES_MAX {
            self.contested.insert(name);
        }
    }

    /// Our service gives the name up. Whether it had the name.
    pub(super) fn unregister(&mut self, name: &Name, handle: Handle) -> bool {
        let had = self.own.get(name) == Some(&handle);
        if had {
            self.own.remove(name);
            self.contested.remove(name);
        }
        had
    }

    /// The name belongs to this handle (G7).
    pub(super) fn learn(
        &mut self,
        name: Name,
        handle: Handle,
        epoch: Option<u64>,
        bounds: &Bounds,
    ) -> Learnt {
        if let Some(owner) = self.known.get_mut(&name).filter(|owner| owner.handle == handle) {
            owner.epoch = epoch.or(owner.epoch);
            return Learnt::Same;
        }
        if mutant::is(Mutant::OldNameKept) && self.known.contains_key(&name) {
            return Learnt::Same;
        }
        let has_room = self.has_room(&name, bounds);
        let waiters = match is_nobody(handle) {
            true if !has_room => return Learnt::Full,
            true => self.answer_nobody(&name),
            false => self.answer(&name),
        };
        if has_room {
            self.known.insert(name, Owner { handle, epoch });
            self.note_vacant(name, handle);
        } else if waiters.is_none() {
            return Learnt::Full;
        }
        self.contested.remove(&name);
        let lost = self.own.remove(&name);
        Learnt::New { waiters: waiters.unwrap_or_default(), lost }
    }

    /// Somebody waits until the deadline for the name's owner.
    pub(super) fn ask(&mut self, name: Name, waiter: Waiter, deadline: Instant, bounds: &Bounds) -> Asked {
        let is_known = self.owner(&name).is_some_and(|owner| !is_nobody(owner));
        if self.by_waiter.len() >= bounds.name_waiters_max && !is_known {
            return Asked::Full;
        }
        let asked = self.want(name, bounds);
        if let (Asked::First | Asked::Again, Some(wanted)) = (&asked, self.wanted.get_mut(&name)) {
            self.ticket_last += 1;
            let ticket = self.ticket_last;
            wanted.waiters.insert(ticket, (waiter, deadline));
            self.by_waiter.insert((waiter.source, waiter.session, ticket), name);
            self.by_time.insert((deadline, ticket), name);
        }
        asked
    }

    /// Messages are held for the name until [`Names::release`].
    pub(super) fn hold(&mut self, name: Name, bounds: &Bounds) -> Asked {
        if let Some(handle) = self.owner(&name) {
            return Asked::Known(handle);
        }
        let asked = self.want(name, bounds);
        if let Some(wanted) = self.wanted.get_mut(&name) {
            wanted.held = true;
        }
        asked
    }

    /// No message is held for the name any more.
    pub(super) fn release(&mut self, name: &Name) {
        if let Some(wanted) = self.wanted.get_mut(name) {
            wanted.held = false;
            self.drop_unwanted(name);
        }
    }

    /// This waiter waits for nothing any more.
    pub(super) fn forget(&mut self, waiter: Waiter) {
        let (source, session) = (waiter.source, waiter.session);
        let all = (source, session, Ticket::MIN)..=(source, session, Ticket::MAX);
        let found: Vec<(Ticket, Name)> =
            self.by_waiter.range(all).map(|(key, name)| (key.2, *name)).collect();
        for (ticket, name) in found {
            self.remove(ticket, &name);
        }
    }

    /// One waiter whose time is over.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Waiter> {
        let first = self.by_time.first_key_value().filter(|_| !mutant::is(Mutant::QuestionForEver));
        let (&(deadline, ticket), &name) = first?;
        if deadline > now {
            return None;
        }
        self.remove(ticket, &name)
    }

    /// When the next waiter's time is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first = self.by_time.first_key_value().filter(|_| !mutant::is(Mutant::QuestionForEver));
        first.map(|((deadline, _), _)| *deadline)
    }

    fn has_room(&self, name: &Name, bounds: &Bounds) -> bool {
        self.known.len() < bounds.names_max || self.known.contains_key(name)
    }

    fn note_vacant(&mut self, name: Name, handle: Handle) {
        match is_nobody(handle) {
            true => self.vacant.insert(name),
            false => self.vacant.remove(&name),
        };
    }

    /// Whether it was known that nobody has the name; now nothing is known of it.
    pub(super) fn forget_vacant(&mut self, name: &Name) -> bool {
        let was_vacant = self.vacant.remove(name);
        if was_vacant {
            self.known.remove(name);
        }
        was_vacant
    }

    /// Names that are known to be nobody's.
    pub(super) fn vacant(&self) -> Vec<Name> {
        self.vacant.iter().copied().collect()
    }

    /// Forgets a name of nobody if there is no room for this one. What was forgotten.
    pub(super) fn make_room(&mut self, name: &Name, bounds: &Bounds) -> Option<Name> {
        if self.has_room(name, bounds) {
            return None;
        }
        let vacant = self.vacant.pop_first()?;
        self.known.remove(&vacant);
        Some(vacant)
    }

    fn want(&mut self, name: Name, bounds: &Bounds) -> Asked {
        let owner = self.owner(&name);
        if let Some(handle) = owner.filter(|handle| !is_nobody(*handle)) {
            return Asked::Known(handle);
        }
        if self.wanted.contains_key(&name) {
            return Asked::Again;
        }
        if self.wanted.len() >= bounds.names_waited_max {
            return Asked::Full;
        }
        self.wanted.insert(name, Wanted::default());
        // Who knows that a name is nobody's hears of the next owner without asking.
        if owner.is_some() { Asked::Again } else { Asked::First }
    }

    /// The name is nobody's: what is held for it goes there and fails, who asks for its owner waits on.
    fn answer_nobody(&mut self, name: &Name) -> Option<Vec<Waiter>> {
        let wanted = self.wanted.get_mut(name)?;
        wanted.held = false;
        self.drop_unwanted(name);
        Some(Vec::new())
    }

    /// The name is wanted no more; its waiters in the order in which they asked.
    fn answer(&mut self, name: &Name) -> Option<Vec<Waiter>> {
        let wanted = self.wanted.remove(name)?;
        for (ticket, (waiter, deadline)) in &wanted.waiters {
            self.by_waiter.remove(&(waiter.source, waiter.session, *ticket));
            self.by_time.remove(&(*deadline, *ticket));
        }
        Some(wanted.waiters.into_values().map(|(waiter, _)| waiter).collect())
    }

    fn remove(&mut self, ticket: Ticket, name: &Name) -> Option<Waiter> {
        let (waiter, deadline) = self.wanted.get_mut(name)?.waiters.remove(&ticket)?;
        self.by_waiter.remove(&(waiter.source, waiter.session, ticket));
        self.by_time.remove(&(deadline, ticket));
        self.drop_unwanted(name);
        Some(waiter)
    }

    fn drop_unwanted(&mut self, name: &Name) {
        if self.wanted.get(name).is_some_and(|wanted| !wanted.held && wanted.waiters.is_empty()) {
            self.wanted.remove(name);
        }
    }
}
