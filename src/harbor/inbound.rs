//! The memory of frames that are being read.
//!
//! A frame of more than `FRAME_STEP_BYTES` that is not there whole is read only after all of its bytes are reserved, from one
//! budget of the node. A link that finds no room waits for its turn, unread:
//!
//! ```text
//!  length read ──▶ room, and nobody waits? ──yes──▶ reserved ──▶ read to its end ──▶ released
//!                     │ no                             ▲
//!                     ▼                                │ its turn, and room
//!                  waiting: the link is not read ──────┘
//! ```
//!
//! So whatever peers announce, frames that are read take no more than the budget, and for each link a step and what one
//! read brought. A link that holds memory and sends slowly while others wait is closed.

use crate::message::HarborId;
use std::collections::VecDeque;

/// See the module's text.
pub(super) struct Inbound {
    bytes_max: usize,
    bytes: usize,
    /// Links with the lengths that they wait for; each at most once.
    waiting: VecDeque<(HarborId, usize)>,
}

impl Inbound {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, waiting: VecDeque::new() }
    }

    /// Reserves memory for a frame of this link, or lets the link wait for its turn.
    pub(super) fn reserve(&mut self, peer: HarborId, bytes: usize) -> bool {
        let fits = self.waiting.is_empty() && self.has_room(bytes);
        if fits {
            self.bytes += bytes;
        } else {
            self.waiting.push_back((peer, bytes));
        }
        fits
    }

    /// One frame fits in any budget.
    fn has_room(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= self.bytes_max
    }

    /// A frame is read, or its link is lost.
    pub(super) fn release(&mut self, bytes: usize) {
        self.bytes -= bytes;
    }

    /// The link is lost: it waits no more.
    pub(super) fn forget(&mut self, peer: HarborId) {
        self.waiting.retain(|(waiting, _)| *waiting != peer);
    }

    /// The link whose turn it is, if there is room for its frame, which is reserved now.
    pub(super) fn admit(&mut self) -> Option<HarborId> {
        let (peer, bytes) = *self.waiting.front()?;
        if !self.has_room(bytes) {
            return None;
        }
        self.waiting.pop_front();
        self.bytes += bytes;
        Some(peer)
    }

    /// Whether links wait.
    pub(super) fn is_short(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Bytes reserved.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u8) -> HarborId {
        HarborId::new(id)
    }

    #[test]
    fn links_are_admitted_in_their_turn() {
        let mut inbound = Inbound::new(100);
        assert!(inbound.reserve(id(1), 60));
        assert!(!inbound.reserve(id(2), 50) && !inbound.reserve(id(3), 10) && !inbound.reserve(id(4), 10));
        assert_eq!(inbound.admit(), None, "who waits for little does not overtake");
        inbound.forget(id(3));
        inbound.release(60);
        assert_eq!((inbound.admit(), inbound.admit(), inbound.admit()), (Some(id(2)), Some(id(4)), None));
        assert_eq!((inbound.bytes, inbound.is_short()), (60, false));
    }

    #[test]
    fn one_frame_is_read_however_small_the_budget() {
        let mut inbound = Inbound::new(100);
        assert!(inbound.reserve(id(1), 1000));
        assert!(!inbound.reserve(id(2), 1));
        inbound.release(1000);
        assert_eq!(inbound.admit(), Some(id(2)));
    }
}
