//! Names of the dead under a real master (G14).
//!
//! A real master goes on handing out the names of the dead, and whoever calls one waits for ever. A node of our kind gives
//! such a name to an id of its own that is no service: a real master tells everybody the last registration, so real
//! callers get an ERROR. Only the lowest of our kind that has a control link does it, as far as each one knows.
//!
//! ```text
//!  D, no link ──pause──▶ Q name, Q ~sky.3 ──▶ nobody living has it: R name :03000006 ──▶ N name :03000006
//!                                                                                │
//!              N name :09000008 came in between: its owner lives, R name :09000008 ◀┘
//! ```
//!
//! It asks before (G12), so that an owner who came back is not robbed. One that registers between question and `R` is
//! given its name back, because this node hears of it before its own `R` comes back.
//!
//! A real node cannot register a name that it was told of. So newcomers are not told of these, and where a real newcomer
//! came after the death, and may be about to register the name, it is left alone.

use super::{Slave, SlaveEvent, State, is_nobody};
use crate::clock::Instant;
use crate::limits::{SERVICE_ID_VACANT, VACANT_NAMES_MAX, VACATE_PAUSE};
use crate::message::{Handle, HarborId, Name};
use crate::registry::ids::IdSet;
use crate::registry::kin::kin_of;
use crate::wire::control::Packet;
use std::collections::BTreeMap;

/// Names of the dead.
#[derive(Debug, Default)]
pub(super) struct Vacancies {
    /// Nodes of which nothing is left, and until when they may come back to their names.
    due: BTreeMap<HarborId, Instant>,
    /// Who came after the death of each node.
    heirs: BTreeMap<HarborId, IdSet>,
    /// Names that were given to nobody and whose `N` has not come back, with the owner that was named meanwhile.
    given: BTreeMap<Name, Option<Handle>>,
}

impl Slave {
    /// The master reported this node dead, or the link to it is lost.
    pub(super) fn note_gone(&mut self, now: Instant, id: HarborId) {
        if self.kin.is_some() && !self.has_kin_master() && self.dead.contains(id) {
            self.vacancies.due.insert(id, now + VACATE_PAUSE);
            self.vacancies.heirs.entry(id).or_default();
        }
    }

    /// The master announced a newcomer.
    pub(super) fn note_heir(&mut self, id: HarborId) {
        self.vacancies.heirs.remove(&id);
        for heirs in self.vacancies.heirs.values_mut() {
            heirs.insert(id);
        }
    }

    /// A node turned out to be of our kind, which asks before it takes a name: where it was the heir, the names of the dead are
    /// looked at again.
    pub(super) fn recognise_heirs(&mut self, now: Instant) {
        let kin: Vec<HarborId> = (1..=255).map(HarborId::new).filter(|id| self.is_kin(*id)).collect();
        for (dead, heirs) in &mut self.vacancies.heirs {
            let before = heirs.len();
            kin.iter().for_each(|id| heirs.remove(*id));
            if heirs.len() < before {
                self.vacancies.due.insert(*dead, now + VACATE_PAUSE);
            }
        }
    }

    /// Whether a real node that came after this one's death may be about to take its names.
    fn has_heir(&self, id: HarborId) -> bool {
        let heirs = self.vacancies.heirs.get(&id).copied().unwrap_or_default();
        (1..=255).map(HarborId::new).any(|id| heirs.contains(id) && !self.is_kin(id) && !self.is_gone(id))
    }

    /// Whether nothing is left of a node: it is dead to the master and has no link. (A node that is not linked may be alive.)
    fn is_gone(&self, id: HarborId) -> bool {
        self.dead.contains(id) && !self.linked.contains(id)
    }

    /// Whether this node does it, and no lower one that the master can hear.
    fn stands_in(&self) -> bool {
        let is_lower = |id: &HarborId| self.is_kin(*id) && !self.dead.contains(*id);
        !self.has_kin_master() && !(1..self.own.get()).map(HarborId::new).any(|id| is_lower(&id))
    }

    /// Whether the master can be asked; deaths of before are remembered until then.
    fn asks_for_the_dead(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// When [`Slave::expire_vacancies`] has something to do.
    pub(super) fn vacancy_deadline(&self) -> Option<Instant> {
        self.vacancies.due.values().min().copied().filter(|_| self.asks_for_the_dead())
    }

    /// Asks for the names of those who did not come back. All of the dead are looked through: who stood in for them may be
    /// dead by now.
    pub(super) fn expire_vacancies(&mut self, now: Instant) {
        if !self.asks_for_the_dead() {
            return;
        }
        let before = self.vacancies.due.len();
        self.vacancies.due.retain(|_, deadline| *deadline > now);
        if self.vacancies.due.len() == before || !self.stands_in() {
            return;
        }
        let is_lost = |(name, owner): &(Name, Handle)| {
            let id = owner.harbor();
            self.is_gone(id)
                && !self.vacancies.due.contains_key(&id)
                && !self.has_heir(id)
                && kin_of(name).is_none()
        };
        let names: Vec<(Name, Handle)> = self.names.known().filter(is_lost).take(VACANT_NAMES_MAX).collect();
        if !names.is_empty() {
            self.event(SlaveEvent::Vacating { names: names.len() });
            self.claim_for_nobody(names);
        }
    }

    /// The master has said who has the name.
    pub(super) fn vacate(&mut self, name: Name) {
        // A real newcomer may have come since the question.
        let is_free = |owner: Handle| self.is_lost(owner.harbor()) && !self.has_heir(owner.harbor());
        let is_free = self.names.owner(&name).is_some_and(is_free);
        if is_free && self.stands_in() {
            let nobody = self.nobody();
            self.learn(name, nobody, None);
            self.vacancies.given.insert(name, None);
            self.send_if_ready(Packet::Register { name: name.into(), handle: nobody });
        }
    }

    /// An `N`. Whether there is nothing to learn from it.
    pub(super) fn hear_of_vacancy(&mut self, name: &Name, handle: Handle) -> bool {
        let is_nobody = is_nobody(handle);
        if is_nobody && self.names.is_own(name) && !self.is_kin(handle.harbor()) && !self.has_kin_master() {
            self.dispute(*name, handle);
            return true;
        }
        if is_nobody && let Some(ours) = self.names.own_handle(name).filter(|_| self.is_kin(handle.harbor()))
        {
            // One of our kind took us for dead, or was faster than we.
            self.names.contest(name, handle);
            self.send_if_ready(Packet::Register { name: (*name).into(), handle: ours });
            return true;
        }
        let is_back = is_nobody && handle.harbor() == self.own;
        let Some(other) = self.vacancies.given.get_mut(name) else { return false };
        if !is_back {
            *other = Some(handle);
            return false;
        }
        let other = self.vacancies.given.remove(name).flatten();
        let is_living = |owner: &Handle| !super::is_nobody(*owner) && !self.is_lost(owner.harbor());
        let living = other.filter(is_living);
        if let Some(owner) = living {
            self.send_if_ready(Packet::Register { name: (*name).into(), handle: owner });
        }
        living.is_some()
    }

    /// The master has said whether the node that gave our name to nobody is of our kind. A real one has a service there.
    pub(super) fn settle_dispute(&mut self, name: Name, nobody: Handle) {
        if self.is_kin(nobody.harbor()) {
            self.hear_of_vacancy(&name, nobody);
        } else if self.names.is_own(&name) {
            self.learn(name, nobody, None);
        }
    }

    /// An id of this node that is no service.
    pub(super) fn nobody(&self) -> Handle {
        Handle::new(self.own, SERVICE_ID_VACANT)
    }

    pub(super) fn forget_vacancies(&mut self) {
        self.vacancies = Vacancies::default();
    }
}
