//! The names by which nodes of our kind find each other under any master.
//!
//! A real master passes nothing on but names, so each of our nodes registers `~sky.<id>` for a reserved id of its own, and
//! asks for the name of every node that it is linked to. Real nodes store such a name and say nothing.
//!
//! A master of our kind passes on what a node says of itself in its `H`, behind `C` and behind an `N` for each of our kind
//! that a newcomer of our kind gets after `W`. Under it nobody asks.

use super::ids::IdSet;
use crate::limits::SERVICE_ID_KIN;
use crate::message::{Handle, HarborId, Name};
use crate::wire::Hello;
use std::collections::BTreeMap;

const PREFIX: &[u8] = b"~sky.";

/// The name that node `id` registers if it is of our kind.
pub(super) fn kin_name(id: HarborId) -> Name {
    match Name::new(format!("~sky.{id}").as_bytes()) {
        Ok(name) => name,
        Err(error) => unreachable!("nine bytes that are no number: {error}"),
    }
}

/// The handle that such a name is registered for.
pub(super) fn kin_handle(id: HarborId) -> Handle {
    Handle::new(id, SERVICE_ID_KIN)
}

/// The node that this name stands for, if it is such a name.
pub fn kin_of(name: &Name) -> Option<HarborId> {
    let digits = name.as_bytes().strip_prefix(PREFIX)?;
    let id = std::str::from_utf8(digits).ok()?.parse().ok().map(HarborId::new)?;
    (kin_name(id) == *name && !id.is_single()).then_some(id)
}

/// What the present master said of our kind. Another master, or another life of this one, may have other nodes under
/// the same ids, so nothing but our own hello outlives the control link.
#[derive(Debug)]
pub(super) struct Kin {
    /// What this node says of itself.
    own: Hello,
    /// Their names were heard with the right handle, or their hellos; our own name among them.
    named: IdSet,
    /// Asked for on this control link.
    asked: IdSet,
    /// What a master of our kind passed on.
    hellos: BTreeMap<HarborId, Hello>,
    /// What it says of itself.
    master: Option<Hello>,
}

impl Kin {
    pub(super) fn new(own: Hello) -> Self {
        Self { own, named: IdSet::default(), asked: IdSet::default(), hellos: BTreeMap::new(), master: None }
    }

    /// Nothing is known of another master.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.own);
    }

    pub(super) fn own(&self) -> Hello {
        self.own
    }

    /// The master greets us as one of our kind, or as a real one.
    pub(super) fn greeted(&mut self, master: Option<Hello>) {
        self.master = master;
    }

    /// Whether the present master is of our kind.
    pub(super) fn has_master(&self) -> bool {
        self.master.is_some()
    }

    /// Whether the node's name must be asked for; it is not asked for again. A master of our kind tells by itself.
    pub(super) fn ask(&mut self, id: HarborId) -> bool {
        !self.has_master() && !self.named.contains(id) && self.asked.insert(id)
    }

    /// A name was heard. Whether it is new that this node is of our kind.
    pub(super) fn hear(&mut self, name: &Name, handle: Handle) -> Option<HarborId> {
        let id = kin_of(name)?;
        if handle == kin_handle(id) {
            return self.named.insert(id).then_some(id);
        }
        self.named.remove(id);
        self.hellos.remove(&id);
        None
    }

    /// The master of our kind says who this node is, or that it is real. Whether it is new that it is of our kind.
    pub(super) fn introduced(&mut self, id: HarborId, hello: Option<Hello>) -> Option<HarborId> {
        match hello {
            Some(hello) => {
                let is_other = self.hellos.insert(id, hello) != Some(hello);
                (self.named.insert(id) || is_other).then_some(id)
            }
            None => {
                self.named.remove(id);
                self.hellos.remove(&id);
                None
            }
        }
    }

    pub(super) fn hello(&self, id: HarborId) -> Option<Hello> {
        self.hellos.get(&id).copied()
    }

    pub(super) fn is_named(&self, id: HarborId) -> bool {
        self.named.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_one_to_one() {
        for id in 1..=255 {
            assert_eq!(kin_of(&kin_name(HarborId::new(id))), Some(HarborId::new(id)));
        }
        for other in ["~sky.", "~sky.0", "~sky.01", "~sky.256", "~sky.+1", "~sky.1 ", "sky.1"] {
            assert_eq!(kin_of(&other.parse().unwrap()), None, "{other}");
        }
    }

    #[test]
    fn a_name_for_another_handle_is_no_sign_of_kinship() {
        let (mut kin, nine) = (Kin::new(Hello { incarnation: 1, capabilities: 0 }), HarborId::new(9));
        assert_eq!(
            kin.hear(&kin_name(nine), Handle::new(nine, 8)),
            None,
            "a service of a real node took the name"
        );
        assert_eq!(kin.hear(&kin_name(nine), kin_handle(HarborId::new(8))), None);
        assert!(kin.ask(nine) && !kin.ask(nine));
        assert_eq!(kin.hear(&kin_name(nine), kin_handle(nine)), Some(nine));
        assert_eq!(kin.hear(&kin_name(nine), kin_handle(nine)), None, "nothing new");
        assert_eq!(kin.hear(&kin_name(nine), Handle::new(nine, 8)), None);
        assert!(!kin.is_named(nine), "taken away");
    }
}
