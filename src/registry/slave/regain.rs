//! Names that were given to services of this node before the master could be asked, and that turned out to be another's (G17).
//!
//! ```text
//!  registered apart: Ok ──▶ master: another has it: NameLost, coveted ──that owner is dead or gives it up──▶ claimed as new
//! ```
//!
//! A service that was told that it has a name does not ask for it again. So where the owner turns out to be the life before of the
//! same node, whose death the master had not noticed yet, the name would be nobody's for ever.

use super::{Slave, is_nobody};
use crate::message::{Handle, Name};
use std::collections::BTreeMap;

/// Names with the services of this node that were told that they have them.
#[derive(Debug, Default)]
pub(super) struct Coveted {
    names: BTreeMap<Name, Handle>,
}

impl Coveted {
    /// A master confirmed that the name is ours, or somebody else here has it.
    pub(super) fn forget(&mut self, name: &Name) {
        self.names.remove(name);
    }

    /// The service gave the name up, or all of its names.
    pub(super) fn forget_if(&mut self, name: Option<Name>, handle: Handle) {
        self.names.retain(|other, owner| *owner != handle || name.is_some_and(|name| name != *other));
    }
}

impl Slave {
    /// The name has this owner.
    pub(super) fn learn(&mut self, name: Name, handle: Handle, epoch: Option<u64>) {
        let untold = self.names.own_handle(&name).filter(|_| self.claims.is_untold(&name));
        self.make_room(&name);
        let learnt = self.names.learn(name, handle, epoch, &self.bounds);
        self.report(name, handle, learnt);
        if let Some(ours) = untold.filter(|_| !self.names.is_own(&name)) {
            self.covet(name, ours);
        }
        if is_nobody(handle) {
            self.regain();
        } else if epoch.is_some() && self.names.is_own(&name) {
            self.coveted.forget(&name);
        }
    }

    /// A name that no master had confirmed was lost to somebody else.
    pub(super) fn covet(&mut self, name: Name, ours: Handle) {
        if self.coveted.names.len() < self.bounds.names_max {
            self.coveted.names.insert(name, ours);
        }
    }

    pub(super) fn covets(&self, name: &Name, ours: Handle) -> bool {
        self.coveted.names.get(name) == Some(&ours)
    }

    /// Some owner is gone, or gave a name up.
    pub(super) fn regain(&mut self) {
        if self.coveted.names.is_empty() {
            return;
        }
        let wanted: Vec<(Name, Handle)> =
            self.coveted.names.iter().map(|(name, ours)| (*name, *ours)).collect();
        let free = wanted
            .into_iter()
            .filter(|(name, ours)| !self.names.is_own(name) && self.rival(name, *ours).is_none());
        for (name, ours) in free.collect::<Vec<_>>() {
            self.claim_again(name, ours);
        }
    }
}
