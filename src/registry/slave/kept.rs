//! What a node is told while it joins, until it is ready (G6).

use crate::message::{Handle, HarborId, Name};

/// What came while the node was not ready.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// At most one per id.
    pub(super) newcomers: Vec<(HarborId, String)>,
    /// In order; bounded as the table of names is.
    pub(super) names: Vec<(Name, Handle, Option<u64>)>,
}

impl Kept {
    pub(super) fn add_newcomer(&mut self, id: HarborId, address: String) {
        self.remove_newcomer(id);
        self.newcomers.push((id, address));
    }

    pub(super) fn remove_newcomer(&mut self, id: HarborId) {
        self.newcomers.retain(|(other, _)| *other != id);
    }

    pub(super) fn has_newcomer(&self, id: HarborId) -> bool {
        self.newcomers.iter().any(|(other, _)| *other == id)
    }
}
