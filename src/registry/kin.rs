//! The names by which nodes of our kind find each other under any master.
//!
//! A real master passes nothing on but names, so each of our nodes registers `~sky.<id>` for a reserved id of its own, and
//! asks for the name of every node that it is linked to. Real nodes store such a name and say nothing.

use super::ids::IdSet;
use crate::limits::SERVICE_ID_KIN;
use crate::message::{Handle, HarborId, Name};

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

/// What the present master said of such names. Another master, or another life of this one, may have other nodes under
/// the same ids, so nothing outlives the control link.
#[derive(Debug, Default)]
pub(super) struct Kin {
    /// Their names were heard with the right handle; our own among them.
    named: IdSet,
    /// Asked for on this control link.
    asked: IdSet,
}

impl Kin {
    /// Whether the node's name must be asked for; it is not asked for again.
    pub(super) fn ask(&mut self, id: HarborId) -> bool {
        !self.named.contains(id) && self.asked.insert(id)
    }

    /// A name was heard. Whether it is new that this node is of our kind.
    pub(super) fn hear(&mut self, name: &Name, handle: Handle) -> Option<HarborId> {
        let id = kin_of(name)?;
        if handle == kin_handle(id) {
            return self.named.insert(id).then_some(id);
        }
        self.named.remove(id);
        None
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
        let (mut kin, nine) = (Kin::default(), HarborId::new(9));
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
