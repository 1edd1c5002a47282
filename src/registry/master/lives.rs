//! Which ids may serve again (G2).
//!
//! A real node never links to an id again that it saw dead, so an id that one may have seen serves once. One that only nodes of
//! our kind saw serves again: the same life of its node after its control link was lost, or a later one.

use super::Refusal;
use crate::message::HarborId;
use crate::mutant::{self, Mutant};
use crate::registry::ids::IdSet;
use crate::wire::Hello;
use std::collections::BTreeMap;

/// The ids that ever were members', and their lives.
#[derive(Debug, Default)]
pub(super) struct Lives {
    used: IdSet,
    /// Ids that a real node may have seen.
    burnt: IdSet,
    /// The last life of each id of our kind.
    incarnations: BTreeMap<HarborId, u64>,
}

/// How a node comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coming {
    First,
    /// Its control link was lost, its services live.
    Again,
    /// Nothing of its life before is left.
    NewLife,
}

impl Lives {
    /// How the node comes, if its id has no member.
    pub(super) fn judge(&self, id: HarborId, hello: Option<Hello>) -> Result<Coming, Refusal> {
        if !self.used.contains(id) {
            return Ok(Coming::First);
        }
        let is_burnt = self.burnt.contains(id) || mutant::is(Mutant::IdsBurnt);
        let last = self.incarnations.get(&id).filter(|_| !is_burnt);
        let (Some(last), Some(hello)) = (last, hello) else { return Err(Refusal::IdUsed(id)) };
        match hello.incarnation.cmp(last) {
            std::cmp::Ordering::Less => Err(Refusal::OldLife(id)),
            std::cmp::Ordering::Equal => Ok(Coming::Again),
            std::cmp::Ordering::Greater => Ok(Coming::NewLife),
        }
    }

    /// The node is a member. `hello`: it and the master are of our kind; `sees_real`: so are not all others.
    pub(super) fn begin(&mut self, id: HarborId, hello: Option<Hello>, sees_real: bool) {
        self.used.insert(id);
        match hello {
            Some(hello) => drop(self.incarnations.insert(id, hello.incarnation)),
            // It hears of the death of everybody who is there.
            None => self.burnt = self.used,
        }
        if sees_real {
            self.burnt.insert(id);
        }
    }
}
