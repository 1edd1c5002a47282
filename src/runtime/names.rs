//! Names of this node's services, and the global names that this node knows.

use crate::limits;
use crate::message::{Handle, Name};
use crate::sync::RwLock;
use std::collections::HashMap;

/// Name tables. Cold: written when services register or end, read when a message goes to a name.
#[derive(Default)]
pub(crate) struct Names {
    tables: RwLock<Tables>,
}

#[derive(Default)]
struct Tables {
    locals: HashMap<Box<str>, Handle>,
    globals: HashMap<Name, Handle>,
    /// How many entries of `locals` and `globals` each service of this node owns; the rest of `globals` are other nodes'.
    owned: HashMap<Handle, u32>,
}

impl Names {
    /// Gives `handle` the name `.name`; whether that worked. The dot may be left out.
    pub(crate) fn register_local(&self, name: &str, handle: Handle) -> bool {
        let name = name.strip_prefix('.').unwrap_or(name);
        let mut tables = self.tables.write();
        if name.is_empty() || tables.locals.contains_key(name) || tables.locals.len() >= limits::NAMES_MAX {
            return false;
        }
        tables.locals.insert(name.into(), handle);
        *tables.owned.entry(handle).or_default() += 1;
        true
    }

    pub(crate) fn local(&self, name: &str) -> Option<Handle> {
        self.tables.read().locals.get(name.strip_prefix('.').unwrap_or(name)).copied()
    }

    /// Registers a global name of a node that is alone: first come, first served.
    ///
    /// # Errors
    /// The handle that has it.
    pub(crate) fn claim(&self, name: Name, handle: Handle) -> Result<(), Handle> {
        let mut tables = self.tables.write();
        match tables.globals.get(&name) {
            Some(&owner) if owner == handle => Ok(()),
            Some(&owner) => Err(owner),
            None if tables.globals.len() >= limits::NAMES_MAX => Err(Handle::NONE),
            None => {
                tables.globals.insert(name, handle);
                *tables.owned.entry(handle).or_default() += 1;
                Ok(())
            }
        }
    }

    /// The harbor learned who has a name; `is_ours`: a service of this node.
    pub(crate) fn publish(&self, name: Name, handle: Handle, is_ours: bool) {
        let mut tables = self.tables.write();
        let before = tables.globals.insert(name, handle);
        tables.disown(before);
        if is_ours {
            *tables.owned.entry(handle).or_default() += 1;
        }
    }

    /// The harbor forgot a name.
    pub(crate) fn retract(&self, name: Name) {
        let mut tables = self.tables.write();
        let before = tables.globals.remove(&name);
        tables.disown(before);
    }

    /// A service of a node that is alone gives up a global name.
    pub(crate) fn release(&self, name: Name, handle: Handle) {
        let mut tables = self.tables.write();
        if tables.globals.get(&name) == Some(&handle) {
            tables.globals.remove(&name);
            tables.disown(Some(handle));
        }
    }

    pub(crate) fn global(&self, name: Name) -> Option<Handle> {
        self.tables.read().globals.get(&name).copied()
    }

    /// All names of a node that is alone.
    pub(crate) fn globals(&self) -> Vec<(Name, Handle)> {
        self.tables.read().globals.iter().map(|(&name, &handle)| (name, handle)).collect()
    }

    /// A service ended: forgets its names. Whether it had global ones.
    pub(crate) fn forget(&self, handle: Handle) -> bool {
        if !self.tables.read().owned.contains_key(&handle) {
            return false;
        }
        let mut tables = self.tables.write();
        tables.owned.remove(&handle);
        tables.locals.retain(|_, owner| *owner != handle);
        let before = tables.globals.len();
        tables.globals.retain(|_, owner| *owner != handle);
        tables.globals.len() < before
    }
}

impl Tables {
    /// A service lost one of its names.
    fn disown(&mut self, owner: Option<Handle>) {
        let Some(owner) = owner else { return };
        if let Some(count) = self.owned.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                self.owned.remove(&owner);
            }
        }
    }
}
