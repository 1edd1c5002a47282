//! Since when an owner has its name, and who of two living ones keeps it (G13).
//!
//! A master numbers the registrations that it accepts: the number is the registration's *epoch*. Owners of our kind are
//! told theirs behind `N` and bring it along when they register their names again, with the next master or with the next
//! life of this one. So the owner that was confirmed first is found again, in whatever order the registrations come.
//!
//! ```text
//!  a registration           brings              against a living owner
//!  new                      nothing             loses
//!  again, confirmed         its epoch           the lower (epoch, harbor id) wins
//!  again, never confirmed   0                   loses, but to another of its sort that came a moment ago and has the
//!                                               higher harbor id
//! ```

use crate::clock::Instant;
use crate::message::HarborId;
use crate::wire::{Hello, Trailing};
use std::time::Duration;

/// Registrations that a master may accept in each millisecond of its life, on average, before its epochs run into those of the
/// next life: an incarnation is a time in milliseconds.
const EPOCHS_OF_INCARNATION: u64 = 1 << 16;

/// Above all epochs of the next centuries.
const EPOCH_END: u64 = 1 << 62;

/// Why a node says that it has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It registers it now.
    New,
    /// It registers again what no master has confirmed yet.
    Unconfirmed,
    /// It registers again what was confirmed then.
    Confirmed(u64),
}

impl Claim {
    pub(super) fn of(trailing: Trailing) -> Self {
        match trailing.epoch() {
            None => Self::New,
            Some(0) => Self::Unconfirmed,
            Some(epoch) => Self::Confirmed(epoch),
        }
    }
}

/// Since when an owner has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tenure {
    pub(super) epoch: u64,
    /// The owner brought the epoch along; otherwise this life of the master gave it.
    is_brought: bool,
    /// Until then the name goes to a lower harbor id that was never confirmed either.
    tie_until: Option<Instant>,
}

/// Numbers registrations.
#[derive(Debug)]
pub(super) struct Epochs {
    next: u64,
    tie_time_max: Duration,
}

impl Epochs {
    pub(super) fn new(tie_time_max: Duration) -> Self {
        Self { next: 1, tie_time_max }
    }

    /// The first number of this life is above all of earlier lives, if clocks are right.
    pub(super) fn begin(&mut self, hello: Hello) {
        self.next = hello.incarnation.saturating_mul(EPOCHS_OF_INCARNATION).max(1);
    }

    /// Whether the claim of node `id` is older than that of a living owner.
    pub(super) fn is_older(
        &self,
        now: Instant,
        (claim, id): (Claim, HarborId),
        owner: (Tenure, HarborId),
    ) -> bool {
        let (tenure, owner) = owner;
        match claim {
            Claim::New => false,
            Claim::Unconfirmed => tenure.tie_until.is_some_and(|until| now < until) && id < owner,
            // Whoever brings a number along was confirmed before this owner came: in an earlier life of the master, whatever the
            // clock said then, or in this one, before its node was away.
            Claim::Confirmed(_) if !tenure.is_brought => true,
            Claim::Confirmed(epoch) => (epoch, id) < (tenure.epoch, owner),
        }
    }

    /// The claim is accepted.
    pub(super) fn confirm(&mut self, now: Instant, claim: Claim) -> Tenure {
        match claim {
            Claim::Confirmed(epoch) => {
                self.hear(claim);
                Tenure { epoch, is_brought: true, tie_until: None }
            }
            Claim::New | Claim::Unconfirmed => {
                let epoch = self.next;
                self.next = self.next.saturating_add(1);
                let tie_until = (claim == Claim::Unconfirmed).then(|| now + self.tie_time_max);
                Tenure { epoch, is_brought: false, tie_until }
            }
        }
    }

    /// The node that has the name registers it again: it has it as long as before, or longer.
    pub(super) fn renew(&mut self, now: Instant, claim: (Claim, HarborId), tenure: Tenure) -> Tenure {
        let is_older = self.is_older(now, claim, (tenure, claim.1));
        if is_older { self.confirm(now, claim.0) } else { tenure }
    }

    /// Numbers that were given are not given again. One that no master can have given does not use them up.
    pub(super) fn hear(&mut self, claim: Claim) {
        if let Claim::Confirmed(epoch @ ..EPOCH_END) = claim {
            self.next = self.next.max(epoch.saturating_add(1));
        }
    }
}
