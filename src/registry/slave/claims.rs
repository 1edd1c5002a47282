//! Names that are asked for before they are registered (G12).
//!
//! A real master gives a name to whoever registers it last, and says nothing of a name that nobody has. So a question for
//! each wanted name goes out, and behind them one for a name that the master surely knows: our own (`~sky.<id>`). It
//! answers in order. Whoever has one of those names is known before our own name comes back.
//!
//! ```text
//!  waiting ──▶ Q A, Q B, Q ~sky.5 ──▶ asked ──▶ N A :02000008, N ~sky.5 ──▶ A is taken; R B
//! ```
//!
//! One batch is under way at a time; what comes meanwhile goes with the next.
//!
//! Behind them go the names that this node knew before it lost a master of our kind: who has them may have changed unheard
//! (G15). A real master would answer with the first owner that it ever heard, so it is not asked. What a master of our kind does
//! not answer it does not know, for it began again: once all who live must have come back to it, such an owner keeps the name from
//! nobody, and the master judges.
//!
//! A master of our kind judges by itself (G13). It is not asked for names that are registered again; they are told with
//! their epochs, and what it said last before our own name came back is its verdict.

use super::{Learnt, Slave, SlaveOutput, State, is_nobody};
use crate::clock::Instant;
use crate::limits::CLAIMS_ASKED_MAX;
use crate::message::{Handle, HarborAnswer, HarborId, Name, Waiter};
use crate::mutant::{self, Mutant};
use crate::registry::kin::{kin_name, kin_of};
use crate::wire::control::Packet;
use crate::wire::{ConnId, Trailing};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What this node wants to register at the present master.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Our own name came back on this control link: the master knows it.
    is_open: bool,
    /// Our own name was asked for behind those in `asked`.
    is_asked: bool,
    asked: VecDeque<Claim>,
    waiting: VecDeque<Claim>,
    /// Names of others, whose owners may be out of date.
    stale: VecDeque<Name>,
    /// Those of them of which the present master has said nothing.
    doubted: BTreeSet<Name>,
    /// From then on their owners would have come back to it.
    doubted_from: Option<Instant>,
    /// That time is over.
    is_doubted: bool,
    /// Names that our services have as far as this node knows, and that the present master was not told. At most one
    /// claim without a waiter for each.
    untold: BTreeSet<Name>,
    /// Names that are claimed for nobody.
    vacating: BTreeSet<Name>,
    /// Names that are claimed once more.
    regained: BTreeSet<Name>,
    /// Own names that were given to nobody.
    disputed: BTreeSet<Name>,
    /// Names that are asked for although they are known to be nobody's: a real master answers with the first owner that it ever
    /// heard, which is none any more.
    outdated: BTreeSet<Name>,
    /// What came of the other names that a real master is asked for.
    heard: BTreeMap<Name, Heard>,
    /// What a master of our kind said of those last.
    verdicts: BTreeMap<Name, (Handle, Option<u64>)>,
    /// Until then the waiters wait for the master.
    deadline: Option<Instant>,
}

/// What came of a name between the question for it and the one for our own name.
#[derive(Debug, Default)]
struct Heard {
    /// Owners that are somebody, among them the one that answers the question.
    owners: usize,
    /// Who had it gave it up.
    nobody: Option<Handle>,
}

/// One name.
#[derive(Clone, Copy, Debug)]
struct Claim {
    name: Name,
    handle: Handle,
    purpose: Purpose,
}

/// Why the master is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// A service wants the name, and waits.
    New(Waiter),
    /// The name is ours already inside this node.
    Again {
        /// It was registered; the master's verdict follows.
        is_told: bool,
    },
    /// Its owner is dead, and nobody shall have it (G14).
    Vacate,
    /// One of our services was told that it has it, and somebody else had it until now (G17).
    Regain,
    /// It is ours, and was given to nobody by a node that may be of our kind: its name is asked for.
    Dispute,
}

const AGAIN: Purpose = Purpose::Again { is_told: false };

impl Claims {
    /// Who waits, at most.
    fn waiters_len(&self) -> usize {
        let others = [&self.untold, &self.vacating, &self.regained, &self.disputed];
        let others: usize = others.into_iter().map(BTreeSet::len).sum();
        (self.asked.len() + self.waiting.len()).saturating_sub(others)
    }

    pub(super) fn is_untold(&self, name: &Name) -> bool {
        self.untold.contains(name)
    }

    /// A master of our kind says who has one of the untold names, before or after it has judged ours.
    pub(super) fn note_verdict(&mut self, name: Name, handle: Handle, epoch: Option<u64>) {
        self.verdicts.insert(name, (handle, epoch));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// A service wants a name: whether those count that the present master does not know.
    pub(super) fn look(&mut self, now: Instant) {
        self.is_doubted = self.doubted_from.is_some_and(|from| from <= now);
    }

    /// The owner of a name came: the present master knows it. Whether it is the answer of a real one for a name that is nobody's
    /// by now.
    pub(super) fn note_owner(&mut self, name: &Name, owner: Handle) -> bool {
        self.doubted.remove(name);
        if let Some(heard) = self.heard.get_mut(name) {
            match is_nobody(owner) {
                true => heard.nobody = Some(owner),
                false => heard.owners += 1,
            }
        }
        self.outdated.remove(name)
    }

    /// Takes back what a service wants of this name, or of any. Who waits for it.
    pub(super) fn give_up(&mut self, name: Option<Name>, handle: Handle) -> Vec<Waiter> {
        let mut waiters = Vec::new();
        for claims in [&mut self.asked, &mut self.waiting] {
            claims.retain(|claim| match claim.purpose {
                Purpose::New(waiter)
                    if claim.handle == handle && name.is_none_or(|name| name == claim.name) =>
                {
                    waiters.push(waiter);
                    false
                }
                Purpose::New(_)
                | Purpose::Again { .. }
                | Purpose::Vacate
                | Purpose::Regain
                | Purpose::Dispute => true,
            });
        }
        waiters
    }

    /// The name is not ours any more. Whether the present master never heard that it was.
    pub(super) fn forget_untold(&mut self, name: &Name) -> bool {
        self.untold.remove(name)
    }

    /// Takes back the claims of this waiter.
    pub(super) fn forget(&mut self, waiter: Waiter) {
        self.asked.retain(|claim| claim.purpose != Purpose::New(waiter));
        self.waiting.retain(|claim| claim.purpose != Purpose::New(waiter));
    }
}

impl Slave {
    /// Whether the master must be asked before the name is given to a service of this node.
    pub(super) fn must_ask(&self, name: &Name) -> bool {
        matches!(self.state, State::Ready { .. }) && self.kin.is_some() && !self.names.is_own(name)
    }

    /// A service wants a name.
    pub(super) fn claim(&mut self, now: Instant, name: Name, handle: Handle, waiter: Waiter) {
        if self.claims.waiters_len() >= self.bounds.name_waiters_max {
            return self.answer(waiter, HarborAnswer::Full);
        }
        self.claims.deadline.get_or_insert(now + self.bounds.claim_time_max);
        self.claims.waiting.push_back(Claim { name, handle, purpose: Purpose::New(waiter) });
        self.ask_for_claims();
    }

    /// The node is ready: the names of its services are claimed at this master.
    pub(super) fn claim_own(&mut self) {
        for (name, handle) in self.names.own() {
            self.claims.untold.insert(name);
            self.claims.waiting.push_back(Claim { name, handle, purpose: AGAIN });
        }
        self.ask_for_claims();
    }

    /// The node is ready: it asks again for all that it heard from earlier masters, if that is worth it (G15).
    pub(super) fn doubt_known(&mut self) {
        for name in self.names.vacant() {
            self.forget_vacant(name);
        }
        if self.has_kin_master() && !mutant::is(Mutant::OldMasterBelieved) {
            let is_others = |(name, _): &(Name, Handle)| !self.names.is_own(name) && kin_of(name).is_none();
            self.claims.stale = self.names.known().filter(is_others).map(|(name, _)| name).collect();
            self.claims.doubted = self.claims.stale.iter().copied().collect();
        }
    }

    /// Nobody shall have these names of the dead.
    pub(super) fn claim_for_nobody(&mut self, names: Vec<(Name, Handle)>) {
        for (name, handle) in names {
            if self.claims.vacating.insert(name) {
                self.claims.waiting.push_back(Claim { name, handle, purpose: Purpose::Vacate });
            }
        }
        self.ask_for_claims();
    }

    /// A service of this node was told that it has the name, and may have it now.
    pub(super) fn claim_again(&mut self, name: Name, handle: Handle) {
        if self.claims.regained.insert(name) {
            self.claims.waiting.push_back(Claim { name, handle, purpose: Purpose::Regain });
            self.ask_for_claims();
        }
    }

    /// A node that is not known to be of our kind gave a name of ours to nobody. It is asked whether it is.
    pub(super) fn dispute(&mut self, name: Name, nobody: Handle) {
        if self.claims.disputed.insert(name) {
            self.claims.waiting.push_back(Claim { name, handle: nobody, purpose: Purpose::Dispute });
            self.ask_for_claims();
        }
    }

    /// The owner of a name came. If the name is our own, everything that was asked before it is answered.
    pub(super) fn hear_barrier(&mut self, now: Instant, name: &Name) {
        if self.kin.is_none() || *name != kin_name(self.own) {
            return;
        }
        self.claims.is_open = true;
        if !self.claims.doubted.is_empty() {
            self.claims.doubted_from.get_or_insert(now + self.bounds.tie_time_max);
        }
        if std::mem::take(&mut self.claims.is_asked) {
            self.claims.outdated.clear();
            self.pass_over_first_owners();
            for claim in std::mem::take(&mut self.claims.asked) {
                self.decide(claim);
            }
            let is_waiting = !self.claims.waiting.is_empty();
            self.claims.deadline = is_waiting.then(|| now + self.bounds.claim_time_max);
        }
        self.ask_for_claims();
    }

    /// A real master answers with the first owner that it ever heard. Where the name was given up between question and answer, and
    /// nobody else was named, that owner is no news.
    fn pass_over_first_owners(&mut self) {
        for (name, heard) in std::mem::take(&mut self.claims.heard) {
            let Some(nobody) = heard.nobody.filter(|_| heard.owners == 1) else { continue };
            let is_first = |owner: Handle| owner.harbor() == nobody.harbor() && !is_nobody(owner);
            if self.names.owner(&name).is_some_and(is_first) {
                self.learn(name, nobody, None);
            }
        }
    }

    /// The master took too long: the names are known inside the node, and it hears of them when it has answered.
    pub(super) fn expire_claims(&mut self, now: Instant) {
        if self.claims.deadline.is_some_and(|deadline| deadline <= now) {
            self.claims.deadline = None;
            let asked = std::mem::take(&mut self.claims.asked);
            self.claims.asked = self.take_untold(asked);
            let waiting = std::mem::take(&mut self.claims.waiting);
            self.claims.waiting = self.take_untold(waiting);
        }
    }

    /// The control link is lost: the names are known inside the node (G9).
    pub(super) fn end_claims(&mut self) {
        let Claims { asked, waiting, .. } = std::mem::take(&mut self.claims);
        self.take_untold(asked);
        self.take_untold(waiting);
        self.claims = Claims::default();
    }

    /// Answers those who wait and forgets the names of the dead: nothing is certain without the master. What remains to be told to the master.
    fn take_untold(&mut self, claims: VecDeque<Claim>) -> VecDeque<Claim> {
        let mut rest = VecDeque::with_capacity(claims.len());
        for claim in claims {
            let Claim { name, handle, purpose } = claim;
            let is_rest = match purpose {
                Purpose::New(waiter) => {
                    self.take(name, handle, Some(waiter)) && self.claims.untold.insert(name)
                }
                Purpose::Again { .. } => true,
                Purpose::Vacate => !self.claims.vacating.remove(&name),
                // It is tried again when somebody else is gone.
                Purpose::Regain => !self.claims.regained.remove(&name),
                Purpose::Dispute => {
                    self.claims.disputed.remove(&name)
                        && self.names.is_own(&name)
                        && self.claims.untold.insert(name)
                }
            };
            if is_rest {
                rest.push_back(Claim { purpose: AGAIN, ..claim });
            }
        }
        rest
    }

    fn ask_for_claims(&mut self) {
        let State::Ready { conn } = self.state else { return };
        let has_work = !self.claims.waiting.is_empty() || !self.claims.stale.is_empty();
        if !self.claims.is_open || self.claims.is_asked || !has_work {
            return;
        }
        let batch = self.claims.waiting.len().min(CLAIMS_ASKED_MAX);
        let mut asked: VecDeque<Claim> = self.claims.waiting.drain(..batch).collect();
        self.claims.is_asked = true;
        for claim in &mut asked {
            if claim.purpose == AGAIN && self.has_kin_master() {
                claim.purpose = Purpose::Again { is_told: true };
                self.claims.verdicts.remove(&claim.name);
                self.register_again(conn, claim.name);
            } else if claim.purpose == Purpose::Dispute {
                self.send(conn, Packet::Query { name: kin_name(claim.handle.harbor()).into() });
            } else {
                let is_vacant = self.names.owner(&claim.name).is_some_and(is_nobody);
                if !self.has_kin_master() && is_vacant {
                    self.claims.outdated.insert(claim.name);
                } else if !self.has_kin_master() {
                    self.claims.heard.insert(claim.name, Heard::default());
                }
                self.send(conn, Packet::Query { name: claim.name.into() });
            }
        }
        self.claims.asked = asked;
        let room = self.claims.stale.len().min(CLAIMS_ASKED_MAX - batch);
        for name in self.claims.stale.drain(..room).collect::<Vec<_>>() {
            self.send(conn, Packet::Query { name: name.into() });
        }
        self.send(conn, Packet::Query { name: kin_name(self.own).into() });
    }

    /// `R` with the epoch at which the name was confirmed. It may be given up by now, or have moved.
    fn register_again(&mut self, conn: ConnId, name: Name) {
        if let Some(handle) = self.names.own_handle(&name) {
            let epoch = self.names.epoch(&name).unwrap_or(0);
            self.send_with(conn, Packet::Register { name: name.into(), handle }, Trailing::Epoch(epoch));
        }
    }

    /// The master has said what it knows of the name.
    fn decide(&mut self, claim: Claim) {
        let Claim { name, handle, purpose } = claim;
        let is_news = match purpose {
            Purpose::New(waiter) => self.take(name, handle, Some(waiter)),
            Purpose::Again { is_told: true } => return self.obey_verdict(name),
            // It was asked for before it was ours.
            Purpose::Again { is_told: false } if self.has_kin_master() => {
                return self.claims.waiting.push_back(claim);
            }
            Purpose::Again { is_told: false } => self.claims.untold.remove(&name) && self.names.is_own(&name),
            Purpose::Vacate => {
                self.claims.vacating.remove(&name);
                return self.vacate(name);
            }
            Purpose::Regain => {
                self.claims.regained.remove(&name);
                self.covets(&name, handle) && self.take(name, handle, None)
            }
            Purpose::Dispute => {
                self.claims.disputed.remove(&name);
                return self.settle_dispute(name, handle);
            }
        };
        if is_news && let Some(handle) = self.names.owner(&name) {
            self.send_if_ready(Packet::Register { name: name.into(), handle });
        }
    }

    fn obey_verdict(&mut self, name: Name) {
        let ours = self.names.own_handle(&name).filter(|_| self.names.epoch(&name).is_none());
        self.claims.untold.remove(&name);
        if let Some((owner, epoch)) = self.claims.verdicts.remove(&name) {
            self.hear(name, owner, epoch);
        }
        if let Some(ours) = ours.filter(|_| !self.names.is_own(&name)) {
            self.covet(name, ours);
        }
    }

    /// Gives the name to a service inside this node and answers the waiter. Whether that is news for the master.
    pub(super) fn take(&mut self, name: Name, handle: Handle, waiter: Option<Waiter>) -> bool {
        if let Some(owner) = self.rival(&name, handle) {
            self.answer_any(waiter, HarborAnswer::NameTaken(owner));
            return false;
        }
        let is_new = !self.names.is_own(&name);
        let forgotten = self.names.make_room(&name, &self.bounds);
        let learnt = self.names.register(name, handle, &self.bounds);
        if learnt == Learnt::Full {
            self.answer_any(waiter, HarborAnswer::Full);
            return false;
        }
        self.answer_any(waiter, HarborAnswer::Registered);
        self.outputs.extend(forgotten.map(|name| SlaveOutput::Forgotten { name }));
        self.report(name, handle, learnt);
        is_new
    }

    fn answer_any(&mut self, waiter: Option<Waiter>, answer: HarborAnswer) {
        if let Some(waiter) = waiter {
            self.answer(waiter, answer);
        }
    }

    /// Who has the name so that `handle` cannot have it.
    pub(super) fn rival(&self, name: &Name, handle: Handle) -> Option<Handle> {
        let owner = self.names.owner(name).filter(|owner| *owner != handle)?;
        let is_ours = owner.harbor() == self.own && self.names.is_own(name);
        let is_vouched = !self.claims.is_doubted || !self.claims.doubted.contains(name);
        (is_ours || (is_vouched && self.is_rival(owner))).then_some(owner)
    }

    /// Whether an owner that is not of this node keeps its names: its node is not known to be dead, or a link to it
    /// lives, and it is not nobody.
    pub(super) fn is_rival(&self, owner: Handle) -> bool {
        let id = owner.harbor();
        id != self.own && !self.is_lost(id) && !is_nobody(owner)
    }

    /// Whether a node is dead to the master, or was never there, and has no link.
    pub(super) fn is_lost(&self, id: HarborId) -> bool {
        (self.dead.contains(id) || self.is_absent(id)) && !self.linked.contains(id)
    }

    /// Whether no node of that id is there: it was neither announced as living when this node joined nor later.
    fn is_absent(&self, id: HarborId) -> bool {
        self.knows_all && id != self.own && !id.is_single() && !self.seen.contains(id)
    }
}
