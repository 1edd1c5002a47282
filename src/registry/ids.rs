//! A set of harbor ids.

use crate::message::HarborId;

/// A set of harbor ids: 256 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct IdSet([u64; 4]);

impl IdSet {
    /// Whether the id was missing.
    pub(super) fn insert(&mut self, id: HarborId) -> bool {
        let missing = !self.contains(id);
        self.0[id.index() / 64] |= 1 << (id.index() % 64);
        missing
    }

    pub(super) fn remove(&mut self, id: HarborId) {
        self.0[id.index() / 64] &= !(1 << (id.index() % 64));
    }

    pub(super) fn contains(&self, id: HarborId) -> bool {
        self.0[id.index() / 64] >> (id.index() % 64) & 1 == 1
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_its_bit() {
        let mut set = IdSet::default();
        for id in 0..=255 {
            assert!(set.insert(HarborId::new(id)) && !set.insert(HarborId::new(id)));
        }
        for id in (0..=255).step_by(3) {
            set.remove(HarborId::new(id));
        }
        for id in 0..=255 {
            assert_eq!(set.contains(HarborId::new(id)), id % 3 != 0, "{id}");
        }
        assert_eq!(set.len(), 256 - 86);
    }
}
