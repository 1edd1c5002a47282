//! The memory of what peers send: frames that are read, and messages until their services have taken them.
//!
//! The budget has two halves, one for each:
//!
//! ```text
//!  a frame of more than FRAME_STEP_BYTES    ┌──────────┐  read   ┌───────────┐  taken by services
//!  ───── has all its bytes reserved ──────▶ │ reading  │ ──────▶ │ delivered │ ──────────────────▶
//!        waits if reading has no room       └──────────┘         └───────────┘
//!                                                                   ▲   ▲
//!  what else comes: no link is read while delivered is full ────────┘   │
//!  a compressed message is inflated only while it is not full ──────────┘
//! ```
//!
//! A link that finds no room is not read and waits in one of two queues, which take turns; nothing overtakes in a
//! queue. Nothing is reserved before delivered has room, so what is read never waits for what waits to be read.
//!
//! So whatever peers announce, all of it together takes no more than the budget and one message, and for each link a step and
//! what one small read brought. A link that holds memory and sends slowly while others wait is closed.

use crate::limits::FRAME_STEP_BYTES;
use crate::message::{HarborId, MemoryUse};
use crate::mutant::{self, Mutant};
use std::collections::VecDeque;

/// See the module's text.
pub(super) struct Budget {
    half: usize,
    reading: usize,
    /// Delivered and not in mailboxes yet: the actions for it are not performed.
    passing: usize,
    mailboxes: usize,
    /// Room given to links since the last look at the mailboxes, which may not have brought anything yet.
    granted: usize,
    /// Links that wait to read a frame, with the lengths; a link waits at most once, here or there.
    frames: VecDeque<(HarborId, usize)>,
    /// Links that wait to deliver.
    deliveries: VecDeque<HarborId>,
    is_frame_next: bool,
    /// Whose turn it is: it goes on with all that was read of it before the others have theirs.
    turn: Option<HarborId>,
    pauses: u64,
    crowded: u64,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            half: bytes_max / 2,
            reading: 0,
            passing: 0,
            mailboxes: 0,
            granted: 0,
            frames: VecDeque::new(),
            deliveries: VecDeque::new(),
            is_frame_next: false,
            turn: None,
            pauses: 0,
            crowded: 0,
        }
    }

    /// Reserves memory for a frame of this link, or lets the link wait for its turn.
    pub(super) fn reserve(&mut self, peer: HarborId, bytes: usize) -> bool {
        let fits = self.frames.is_empty() && !self.is_full() && self.has_room(bytes);
        if fits {
            self.reading += bytes;
        } else {
            self.pauses += 1;
            self.frames.push_back((peer, bytes));
        }
        fits
    }

    /// One frame fits in any budget.
    fn has_room(&self, bytes: usize) -> bool {
        self.reading == 0 || self.reading + bytes <= self.half
    }

    /// A frame is read, or its link is lost.
    pub(super) fn release(&mut self, bytes: usize) {
        self.reading -= bytes;
    }

    /// Whether a message may be inflated that this link brought; if not, the link waits for its turn.
    pub(super) fn may_inflate(&mut self, peer: HarborId) -> bool {
        let is_next = self.deliveries.is_empty() || self.turn == Some(peer);
        let may = is_next && !self.is_full();
        if !may {
            self.wait(peer);
        }
        may
    }

    /// Nothing that this link brings may be delivered now: it waits for its turn.
    pub(super) fn wait(&mut self, peer: HarborId) {
        self.pauses += 1;
        self.deliveries.push_back(peer);
    }

    /// So many bytes are on their way into mailboxes.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.passing += bytes;
    }

    /// What was delivered is in mailboxes.
    pub(super) fn passed(&mut self) {
        self.passing = 0;
    }

    /// What messages in mailboxes hold now.
    pub(super) fn note_mailboxes(&mut self, bytes: usize) {
        self.mailboxes = bytes;
    }

    /// The link is lost: it waits no more.
    pub(super) fn forget(&mut self, peer: HarborId) {
        self.frames.retain(|(waiting, _)| *waiting != peer);
        self.deliveries.retain(|waiting| *waiting != peer);
    }

    /// A link was given up because it waited too long.
    pub(super) fn note_crowded(&mut self) {
        self.crowded += 1;
    }

    /// A look at the mailboxes: room that was given to links and not used is there again.
    pub(super) fn look(&mut self) {
        self.granted = 0;
    }

    /// The link whose turn it is, if there is room for it. Memory for its frame, if it waits for that, is reserved now.
    pub(super) fn admit(&mut self) -> Option<HarborId> {
        let is_full = self.is_full() || self.delivered() + self.granted >= self.half.max(1);
        if is_full || mutant::is(Mutant::PausedForEver) {
            return None;
        }
        self.is_frame_next = !self.is_frame_next;
        self.turn = match !self.is_frame_next {
            true => self.admit_frame().or_else(|| self.admit_delivery()),
            false => self.admit_delivery().or_else(|| self.admit_frame()),
        };
        self.turn
    }

    /// The link whose turn it was has done what it could.
    pub(super) fn end_turn(&mut self) {
        self.turn = None;
    }

    fn admit_frame(&mut self) -> Option<HarborId> {
        let (peer, bytes) = *self.frames.front()?;
        if !self.has_room(bytes) {
            return None;
        }
        self.frames.pop_front();
        self.reading += bytes;
        Some(peer)
    }

    fn admit_delivery(&mut self) -> Option<HarborId> {
        let peer = self.deliveries.pop_front()?;
        self.granted += FRAME_STEP_BYTES;
        Some(peer)
    }

    fn delivered(&self) -> usize {
        self.passing + self.mailboxes
    }

    /// Whether nothing may be delivered but what is being read already.
    pub(super) fn is_full(&self) -> bool {
        self.delivered() >= self.half.max(1)
    }

    /// Whether links wait, or would: whoever reads has to ask how much.
    pub(super) fn is_tight(&self) -> bool {
        self.is_full() || self.is_awaited()
    }

    /// Whether links wait.
    fn is_awaited(&self) -> bool {
        !self.frames.is_empty() || !self.deliveries.is_empty()
    }

    /// Whether links wait for memory of those that read a frame.
    pub(super) fn has_frames_waiting(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Whether what links wait for may come without an event of the machine: services that take messages.
    pub(super) fn is_looked_for(&self) -> bool {
        self.is_awaited() && self.delivered() + self.granted > 0
    }

    /// What it is used for now.
    pub(super) fn usage(&self) -> MemoryUse {
        MemoryUse {
            reading: self.reading,
            mailboxes: self.mailboxes,
            waiting: self.frames.len() + self.deliveries.len(),
            pauses: self.pauses,
            crowded: self.crowded,
            ..MemoryUse::default()
        }
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
        let mut budget = Budget::new(200);
        assert!(budget.reserve(id(1), 60));
        assert!(!budget.reserve(id(2), 50) && !budget.reserve(id(3), 10) && !budget.reserve(id(4), 10));
        assert_eq!(budget.admit(), None, "who waits for little does not overtake");
        budget.forget(id(3));
        budget.release(60);
        assert_eq!((budget.admit(), budget.admit(), budget.admit()), (Some(id(2)), Some(id(4)), None));
        assert_eq!((budget.reading, budget.is_awaited()), (60, false));
    }

    #[test]
    fn one_frame_is_read_however_small_the_budget() {
        let mut budget = Budget::new(200);
        assert!(budget.reserve(id(1), 1000));
        assert!(!budget.reserve(id(2), 1));
        budget.release(1000);
        assert_eq!(budget.admit(), Some(id(2)));
    }

    #[test]
    fn nothing_is_read_or_inflated_while_mailboxes_are_full() {
        let mut budget = Budget::new(200);
        assert!(budget.may_inflate(id(1)) && !budget.is_tight());
        budget.pass(100);
        assert!(budget.is_full() && !budget.reserve(id(1), 1) && !budget.may_inflate(id(2)));
        budget.passed();
        budget.note_mailboxes(100);
        assert_eq!((budget.admit(), budget.is_looked_for()), (None, true));
        budget.note_mailboxes(99);
        assert_eq!((budget.admit(), budget.admit(), budget.is_tight()), (Some(id(2)), None, true));
        budget.look();
        assert_eq!((budget.admit(), budget.is_tight()), (Some(id(1)), false));
        assert_eq!(budget.usage().pauses, 2);
    }

    #[test]
    fn frames_and_other_deliveries_take_turns_and_do_not_wait_for_each_other() {
        let mut budget = Budget::new(8 * FRAME_STEP_BYTES);
        let half = 4 * FRAME_STEP_BYTES;
        budget.note_mailboxes(half);
        for peer in 1..=2 {
            assert!(!budget.reserve(id(peer), FRAME_STEP_BYTES));
            budget.wait(id(peer + 10));
        }
        budget.note_mailboxes(0);
        let order: Vec<_> = std::iter::from_fn(|| budget.admit()).collect();
        assert_eq!(order, [id(11), id(1), id(12), id(2)]);
        // A frame that has no room keeps no delivery from its turn.
        assert!(!budget.reserve(id(3), 3 * FRAME_STEP_BYTES));
        budget.wait(id(13));
        budget.look();
        assert_eq!((budget.admit(), budget.admit()), (Some(id(13)), None));
    }
}
