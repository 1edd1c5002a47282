//! What services ask for: names, links, farewell.

use super::waiters::Subject;
use super::{Action, Failure, Harbor, Phase};
use crate::clock::Instant;
use crate::limits::SERVICE_ID_VACANT;
use crate::message::{
    Envelope, Handle, HarborAnswer, HarborId, HarborRequest, Name, NameEntry, Status, Waiter,
};
use crate::mutant::{self, Mutant};
use crate::registry::kin_of;

/// A name of nobody has no owner that a service could use.
fn owner_of(handle: Handle) -> Handle {
    if handle.local() == SERVICE_ID_VACANT { Handle::NONE } else { handle }
}

fn as_answer(owner: Handle) -> HarborAnswer {
    if owner.is_none() { HarborAnswer::NotFound } else { HarborAnswer::Found(owner) }
}

impl Harbor {
    /// A service asks something.
    pub fn handle_request(&mut self, now: Instant, request: HarborRequest) {
        self.desk.now = now;
        match request {
            HarborRequest::Send { name, envelope } => self.send_by_name(name, envelope),
            HarborRequest::Register { name, handle, waiter } => {
                self.control.slave.handle_register(now, name, handle, waiter);
                if let Some(deadline) = self.control.slave.poll_timeout() {
                    self.desk.wake_at(deadline);
                }
            }
            HarborRequest::Unregister { .. } | HarborRequest::Ended { .. } if self.desk.leaving => {}
            HarborRequest::Unregister { name, handle } => {
                self.control.slave.handle_unregister(now, name, handle);
            }
            HarborRequest::Ended { handle } => self.control.slave.handle_ended(now, handle),
            HarborRequest::Watch { name, known, waiter } => self.watch(name, known, waiter),
            HarborRequest::Query { name, waiter, deadline } => self.query(name, waiter, deadline),
            HarborRequest::Link { harbor, waiter } => self.wait_for_loss(harbor, waiter),
            HarborRequest::Connect { harbor, waiter } => self.wait_for_link(harbor, waiter),
            HarborRequest::LinkMaster { waiter } => self.wait_for_master_loss(waiter),
            HarborRequest::Forget { waiter } => self.forget(waiter),
            HarborRequest::Status { waiter } => {
                let status = Box::new(self.status());
                self.desk.answer(waiter, HarborAnswer::Status(status));
            }
            HarborRequest::Leave => self.leave(),
        }
        self.settle();
    }

    // Names.

    fn send_by_name(&mut self, name: Name, envelope: Envelope) {
        if let Some(owner) = self.control.slave.owner(&name) {
            return self.send(Envelope { dest: owner, ..envelope });
        }
        self.own_account.accepted += 1;
        if self.desk.leaving {
            return self.fail_nameless(name, &envelope, Failure::Shutdown);
        }
        if self.control.slave.handle_held(self.desk.now, name).is_err() {
            return self.fail_nameless(name, &envelope, Failure::Full);
        }
        match self.nameless.push(self.desk.now, name, envelope, &self.desk.bounds) {
            Ok(expires) => self.desk.wake_at(expires),
            Err(envelope) => {
                self.fail_nameless(name, &envelope, Failure::Full);
                self.release(name);
            }
        }
    }

    /// A message to a name ends here; who waits for its answer is told.
    fn fail_nameless(&mut self, name: Name, envelope: &Envelope, reason: Failure) {
        self.own_account.fail(reason);
        mutant::unless(Mutant::NamelessInSilence, || self.desk.refuse(envelope, reason.to_name(name)));
    }

    /// If nothing is held for the name any more, the registry need not ask for it.
    fn release(&mut self, name: Name) {
        if !self.nameless.waits_for(name) {
            self.control.slave.handle_released(self.desk.now, name);
        }
    }

    /// Messages that waited too long for a name.
    pub(super) fn expire_nameless(&mut self) {
        if mutant::is(Mutant::NamelessForEver) {
            return;
        }
        while let Some((name, envelope)) = self.nameless.pop_expired(self.desk.now) {
            self.fail_nameless(name, &envelope, Failure::NoName);
            self.release(name);
        }
    }

    /// A name has an owner now, or another: what waited for it moves on, in order, before anybody hears of it.
    pub(super) fn name_known(&mut self, name: Name, owner: Handle) {
        let mut held = self.nameless.take(name);
        while let Some(envelope) = held.pop() {
            // From here on it counts where it goes.
            mutant::unless(Mutant::NamelessMiscounted, || self.own_account.accepted -= 1);
            let is_half = mutant::is(Mutant::LowHalfLost) && !self.slots[owner.harbor().index()].is_up();
            let dest = if is_half { Handle::new(owner.harbor(), 0) } else { owner };
            self.send(Envelope { dest, ..envelope });
        }
        if !mutant::is(Mutant::NameUnpublished) {
            self.desk.actions.push_back(Action::Publish { name, handle: owner });
        }
        while let Some(waiter) = self.desk.waiters.pop_name(name, owner_of(owner)) {
            self.desk.answer(waiter, as_answer(owner_of(owner)));
        }
    }

    /// Waits for another owner of a name than the asking service knows.
    fn watch(&mut self, name: Name, known: Handle, waiter: Waiter) {
        let present = owner_of(self.control.slave.owner(&name).unwrap_or_default());
        if present != owner_of(known) {
            self.desk.answer(waiter, as_answer(present));
        } else if self.desk.leaving {
            self.desk.answer(waiter, HarborAnswer::Down);
        } else {
            self.wait(Subject::Name(name, present), waiter);
        }
    }

    fn query(&mut self, name: Name, waiter: Waiter, deadline: Instant) {
        if self.desk.leaving {
            return self.desk.answer(waiter, HarborAnswer::NotFound);
        }
        self.control.slave.handle_query(self.desk.now, name, waiter, deadline);
        self.desk.wake_at(deadline);
    }

    // Links.

    fn wait_for_loss(&mut self, peer: HarborId, waiter: Waiter) {
        if self.slots[peer.index()].is_up() {
            self.wait(Subject::Link(peer), waiter);
        } else {
            self.desk.answer(waiter, HarborAnswer::Down);
        }
    }

    fn wait_for_link(&mut self, peer: HarborId, waiter: Waiter) {
        if self.slots[peer.index()].is_up() {
            self.desk.answer(waiter, HarborAnswer::Up);
        } else if self.settings.join.is_none() || self.desk.leaving {
            self.desk.answer(waiter, HarborAnswer::Down);
        } else {
            self.wait(Subject::Connect(peer), waiter);
        }
    }

    fn wait_for_master_loss(&mut self, waiter: Waiter) {
        if self.control.is_up() {
            self.wait(Subject::Master, waiter);
        } else {
            self.desk.answer(waiter, HarborAnswer::Down);
        }
    }

    fn wait(&mut self, subject: Subject, waiter: Waiter) {
        if self.desk.waiters.insert(subject, waiter).is_err() {
            self.desk.answer(waiter, HarborAnswer::Full);
        }
    }

    fn forget(&mut self, waiter: Waiter) {
        if self.desk.pending.remove((waiter.source, waiter.session)).is_none() {
            self.desk.waiters.forget(waiter);
            self.control.slave.handle_forget(self.desk.now, waiter);
        }
    }

    // Farewell.

    /// Nothing new begins; what is written goes out; then everything is closed.
    fn leave(&mut self) {
        if self.desk.leaving {
            return;
        }
        self.desk.leaving = true;
        let deadline = self.desk.now + self.desk.bounds.leave_time_max;
        self.phase = Phase::Leaving { deadline };
        self.desk.wake_at(deadline);
        for listener in std::mem::take(&mut self.listening) {
            self.desk.actions.push_back(Action::StopListening(listener));
        }
        while let Some((_, conn)) = self.strangers.pop_front() {
            self.desk.close(conn);
        }
        while let Some((name, envelope)) = self.nameless.pop_any() {
            self.fail_nameless(name, &envelope, Failure::Shutdown);
        }
        self.nudges.leave(&mut self.desk);
        for slot in &mut self.slots {
            slot.leave(&mut self.desk);
        }
        self.control.leave(&mut self.desk);
        if let Some(host) = &mut self.host {
            host.leave(&mut self.desk);
        }
        while let Some(waiter) = self.desk.waiters.pop_any() {
            self.desk.answer(waiter, HarborAnswer::Down);
        }
    }

    /// The time for a farewell is over.
    pub(super) fn abandon(&mut self) {
        for slot in &mut self.slots {
            slot.abandon(&mut self.desk);
        }
        self.control.abandon(&mut self.desk);
        if let Some(host) = &mut self.host {
            host.abandon(&mut self.desk);
        }
    }

    /// The last connection is closed: who still asks for a name is told that it was in vain.
    pub(super) fn left(&mut self) {
        self.phase = Phase::Left;
        self.control.slave.handle_timeout(Instant::FAR);
    }

    /// Names and peers as this node sees them.
    fn status(&self) -> Status {
        let entry = |(name, handle)| NameEntry { name, handle };
        // The names by which our kind finds itself are no services.
        let is_shown = |(name, _): &(Name, Handle)| kin_of(name).is_none();
        let names = match &self.host {
            // Names that no node of ours could register are carried for others; nobody here can send to them.
            Some(host) => {
                let names = host.master.names();
                names
                    .filter_map(|(name, handle)| Some((Name::new(name.as_bytes()).ok()?, handle)))
                    .filter(is_shown)
                    .map(entry)
                    .collect()
            }
            None => self.control.slave.names().filter(is_shown).map(entry).collect(),
        };
        Status {
            harbor: self.desk.own,
            master_up: self.control.is_up(),
            // Alone or hosting the master, the node knows every name; a slave knows what it asked for or was told.
            names_complete: self.settings.join.is_none() || self.host.is_some(),
            names,
            memory: self.memory(),
            peers: self.slots.iter().filter_map(|slot| slot.status(&self.desk)).collect(),
        }
    }
}
