//! Newcomers that may be stuck behind a peer that died while they joined.
//!
//! ```text
//!  C id: known ──▶ Idle ──D of an older node──▶ Pause ──due──▶ Dialling ──connected: closed at once──▶ Pause, at most
//!                   ▲                                             │                                    NUDGES_MAX times
//!                   └─ enough tries ◀─────────────────────────────┤ refused: it does not listen, so it is not stuck
//!                                                                 ▼
//!                                                               forgotten
//! ```
//!
//! A real newcomer counts a death only when the next connection comes (`wire.md` 3.3). Without one it waits for ever, and
//! everybody who joins after it waits behind it. A connection that is closed without a byte is enough.

use super::ConnId;
use super::desk::{Desk, Role};
use crate::clock::Instant;
use crate::limits::{NUDGE_PAUSE, NUDGES_MAX};
use crate::message::HarborId;
use std::collections::BTreeMap;

/// The newcomers that this node has seen and that may still wait; at most one for each id.
#[derive(Default)]
pub(super) struct Nudges {
    newcomers: BTreeMap<HarborId, Newcomer>,
    announced: u64,
}

struct Newcomer {
    address: String,
    /// How many were announced before it: it waits for none of those that came after it.
    place: u64,
    tries: u32,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Idle,
    Pause(Instant),
    Dialling(ConnId, Instant),
}

impl Nudges {
    /// The master says that this node is new.
    pub(super) fn announced(&mut self, id: HarborId, address: &str, desk: &mut Desk) {
        self.forget(id, desk);
        self.announced += 1;
        let (address, place) = (address.to_owned(), self.announced);
        self.newcomers.insert(id, Newcomer { address, place, tries: 0, step: Step::Idle });
    }

    /// The master says that this node is dead. Who came after it may have waited for it.
    pub(super) fn died(&mut self, id: HarborId, desk: &mut Desk) {
        let place = self.newcomers.get(&id).map_or(0, |newcomer| newcomer.place);
        self.forget(id, desk);
        let until = desk.now + NUDGE_PAUSE;
        for newcomer in self.newcomers.values_mut().filter(|newcomer| newcomer.place > place) {
            newcomer.tries = 0;
            if let Step::Idle = newcomer.step {
                newcomer.step = Step::Pause(until);
                desk.wake_at(until);
            }
        }
    }

    /// It is known not to be stuck, or gone.
    pub(super) fn forget(&mut self, id: HarborId, desk: &mut Desk) {
        if let Some(Newcomer { step: Step::Dialling(conn, _), .. }) = self.newcomers.remove(&id) {
            desk.close(conn);
        }
    }

    /// The connection that was all it needed.
    pub(super) fn connected(&mut self, id: HarborId, conn: ConnId, desk: &mut Desk) {
        desk.close(conn);
        self.pause(id, conn, desk);
    }

    /// Nobody listens there.
    pub(super) fn refused(&mut self, id: HarborId, conn: ConnId) {
        if self.is_dialling(id, conn) {
            self.newcomers.remove(&id);
        }
    }

    fn is_dialling(&self, id: HarborId, conn: ConnId) -> bool {
        let step = self.newcomers.get(&id).map(|newcomer| newcomer.step);
        matches!(step, Some(Step::Dialling(dialled, _)) if dialled == conn)
    }

    /// Once more later, if it was not enough.
    fn pause(&mut self, id: HarborId, conn: ConnId, desk: &mut Desk) {
        if !self.is_dialling(id, conn) {
            return;
        }
        if let Some(newcomer) = self.newcomers.get_mut(&id) {
            newcomer.tries += 1;
            newcomer.step = Step::Idle;
            if newcomer.tries < NUDGES_MAX {
                let until = desk.now + NUDGE_PAUSE * (1 << newcomer.tries);
                newcomer.step = Step::Pause(until);
                desk.wake_at(until);
            }
        }
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, desk: &mut Desk) {
        let mut late = Vec::new();
        for (id, newcomer) in &mut self.newcomers {
            match newcomer.step {
                Step::Pause(until) if until <= desk.now => {
                    let deadline = desk.now + desk.bounds.handshake_time_max;
                    let conn = desk.dial(Role::Nudge(*id), newcomer.address.clone());
                    newcomer.step = Step::Dialling(conn, deadline);
                    desk.wake_at(deadline);
                }
                Step::Dialling(conn, deadline) if deadline <= desk.now => late.push((*id, conn)),
                Step::Pause(_) | Step::Dialling(..) | Step::Idle => {}
            }
        }
        for (id, conn) in late {
            desk.close(conn);
            self.pause(id, conn, desk);
        }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = self.newcomers.values().filter_map(|newcomer| match newcomer.step {
            Step::Pause(at) | Step::Dialling(_, at) => Some(at),
            Step::Idle => None,
        });
        due.min()
    }

    /// The node leaves.
    pub(super) fn leave(&mut self, desk: &mut Desk) {
        while let Some((_, newcomer)) = self.newcomers.pop_first() {
            if let Step::Dialling(conn, _) = newcomer.step {
                desk.close(conn);
            }
        }
    }
}
