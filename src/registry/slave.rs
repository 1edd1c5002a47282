//! A node's end of the control link: how it joins, what it is told, which names it knows.
//!
//! ```text
//!            handle_connected             W n                  n links or deaths, or too late
//!  ┌───────┐ ──────────────▶ ┌──────────┐ ──────▶ ┌─────────┐ ─────────────────────────────▶ ┌───────┐
//!  │ Apart │     H           │ Greeting │         │ Joining │        C kept, N kept, R, Q     │ Ready │
//!  └───────┘                 └──────────┘         └─────────┘                                └───────┘
//!      ▲   end: Refused             │                  │ end, fault: MasterLost                   │
//!      │   fault, not W, too late   │                  │                                          │
//!      └────────────────────────────┴──────────────────┴──────────────────────────────────────────┘
//! ```
//!
//! In every state services register names and ask for them, and the driver reports which links are up.

mod claims;
mod ends;
mod kept;
mod kinship;
mod regain;
mod vacancy;

use super::bounds::Bounds;
use super::ids::IdSet;
use super::kin::{Kin, kin_of};
use super::names::{Asked, Learnt, Names, is_nobody};
use crate::clock::Instant;
use crate::message::{Handle, HarborAnswer, HarborId, Name, Waiter};
use crate::mutant::{self, Mutant};
use crate::wire::control::{ControlFault, Packet, Received};
use crate::wire::{ConnId, Hello, PacketName, Trailing};
use claims::Claims;
use kept::Kept;
use regain::Coveted;
use std::collections::VecDeque;
use vacancy::Vacancies;

/// A node's machine; its rules G6–G9 are in the [module's text](super).
#[derive(Debug)]
pub struct Slave {
    own: HarborId,
    bounds: Bounds,
    /// Where this node listens, as it told the present master.
    address: String,
    state: State,
    /// Nodes with a live link to this one.
    linked: IdSet,
    /// Nodes that the present master reported dead and that did not come back.
    dead: IdSet,
    /// Nodes that were linked or announced since the present master was dialled.
    seen: IdSet,
    /// Every node that lives is in `seen`, or dead, or ours.
    knows_all: bool,
    was_ready: bool,
    /// None if this node does not seek its kind.
    kin: Option<Kin>,
    names: Names,
    claims: Claims,
    coveted: Coveted,
    vacancies: Vacancies,
    outputs: VecDeque<SlaveOutput>,
}

#[derive(Debug)]
enum State {
    Apart,
    Greeting {
        conn: ConnId,
        deadline: Instant,
    },
    /// `counted`: members of before that have linked or were reported dead, one of the `n` each. An id that comes again while we
    /// join is a newcomer, which waits for us: it is not one of them any more.
    Joining {
        conn: ConnId,
        deadline: Instant,
        n: u8,
        counted: IdSet,
        kept: Kept,
    },
    Ready {
        conn: ConnId,
    },
}

/// The state of the control link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlaveState {
    /// There is none.
    Apart,
    /// `H` is sent, `W` is awaited.
    Greeting,
    /// Announced links are awaited.
    Joining,
    /// The node is a member.
    Ready,
}

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlaveOutput {
    /// Write the packet to the control link.
    SendPacket {
        /// The control link.
        conn: ConnId,
        /// What.
        packet: Packet,
        /// What goes behind its values, if there is room.
        trailing: Trailing,
    },
    /// Close the control link. The machine has forgotten it; another may be dialled.
    Close {
        /// The control link.
        conn: ConnId,
    },
    /// A newcomer waits for a link from this node. Never for a node that is linked.
    Dial {
        /// Its id.
        id: HarborId,
        /// Where it listens, `host:port`.
        address: String,
    },
    /// A linked node announced itself anew. Unless the link is to an earlier life of it, nothing is to be done until that
    /// link is lost; then this is where to dial.
    Relocated {
        /// Its id.
        id: HarborId,
        /// Where it listens, `host:port`.
        address: String,
        /// What a master of our kind says of the life that announced itself.
        hello: Option<Hello>,
    },
    /// This node is of our kind, says the master, and knows the same of us (G11).
    Kin {
        /// Its id.
        id: HarborId,
    },
    /// The name has this owner from now on. Messages held for it can go.
    Published {
        /// The name.
        name: Name,
        /// The owner.
        handle: Handle,
    },
    /// Nobody has the name, and that is forgotten to make room for others.
    Forgotten {
        /// The name.
        name: Name,
    },
    /// Tell the waiter.
    Answer {
        /// Who.
        waiter: Waiter,
        /// What.
        answer: HarborAnswer,
    },
    /// Something to log or act on by policy.
    Event(SlaveEvent),
}

/// What happened at a node's end of the control link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlaveEvent {
    /// The master took this node in: `W` came.
    MasterUp,
    /// The node is ready; so many of the announced links are missing.
    Joined {
        /// Announced links that did not come in time.
        missing: u8,
    },
    /// The master closed the link instead of `W`: the id is in use, or was used before (G2). If this node had been
    /// ready under its id, the id is burnt at that master for ever.
    Refused {
        /// Whether this node had been ready before.
        was_ready: bool,
    },
    /// The control link is gone. Names and links stay; whoever drives this dials again, with back-off.
    MasterLost(Loss),
    /// The master reports that this node lost its own control link. A link to it may well live.
    ReportedDead(HarborId),
    /// A name of ours belongs to somebody else.
    NameLost {
        /// The name.
        name: Name,
        /// Our service, which had it.
        ours: Handle,
        /// Who has it now.
        theirs: Handle,
    },
    /// Names of dead nodes are about to be given to nobody, so that calls to them fail (G14).
    Vacating {
        /// How many.
        names: usize,
    },
    /// There is no room to remember the owner of this name.
    NameDropped {
        /// The name.
        name: Name,
    },
    /// An `N` for a name or handle that no node can use.
    BadName {
        /// The name.
        name: PacketName,
        /// Its owner.
        handle: Handle,
    },
    /// A packet that a master has no business sending was passed over.
    Ignored {
        /// What.
        packet: Packet,
    },
}

/// How a control link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// The connection ended.
    #[error("the master closed the link")]
    Closed,
    /// A packet could not be read.
    #[error(transparent)]
    Fault(ControlFault),
    /// The first packet was not `W`.
    #[error("the first packet of the master was not W")]
    NotWait,
    /// No `W` came in time.
    #[error("no W in time")]
    Late,
    /// The driver connected anew.
    #[error("replaced by a new link")]
    Replaced,
}

impl Slave {
    /// A node that knows nobody.
    pub fn new(own: HarborId, bounds: Bounds) -> Self {
        Self {
            own,
            bounds,
            address: String::new(),
            state: State::Apart,
            linked: IdSet::default(),
            dead: IdSet::default(),
            seen: IdSet::default(),
            knows_all: false,
            was_ready: false,
            kin: None,
            names: Names::default(),
            claims: Claims::default(),
            coveted: Coveted::default(),
            vacancies: Vacancies::default(),
            outputs: VecDeque::new(),
        }
    }

    /// The control link is up; `address` (`host:port`) is where this node listens, and it does so already. It must have
    /// at most [`ADDRESS_BYTES_MAX`](crate::limits::ADDRESS_BYTES_MAX) bytes.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId, address: &str) {
        if let Some(old) = self.master() {
            self.outputs.push_back(SlaveOutput::Close { conn: old });
            self.lose(Loss::Replaced);
        }
        // Another master, or another life of this one, has other dead.
        self.dead = IdSet::default();
        self.seen = self.linked;
        self.knows_all = false;
        self.names.forget_contested();
        self.forget_vacancies();
        self.forget_kin();
        self.state = State::Greeting { conn, deadline: now + self.bounds.join_time_max };
        self.address = address.to_owned();
        self.greet(conn);
    }

    /// A packet came on the control link; one on a link before the present one is ignored.
    pub fn handle_packet(&mut self, now: Instant, conn: ConnId, received: impl Into<Received>) {
        if self.master() != Some(conn) {
            return;
        }
        let Received { packet, extra } = received.into();
        let trailing = Trailing::read(&extra);
        match self.state {
            State::Apart => {}
            State::Greeting { .. } => self.greeted(now, conn, packet, trailing),
            State::Joining { .. } | State::Ready { .. } => self.told(now, packet, trailing),
        }
    }

    /// What came on the control link cannot be read. It is closed.
    pub fn handle_fault(&mut self, _now: Instant, conn: ConnId, fault: ControlFault) {
        if self.master() == Some(conn) {
            self.outputs.push_back(SlaveOutput::Close { conn });
            self.lose(Loss::Fault(fault));
        }
    }

    /// The control link ended; its socket is gone already.
    pub fn handle_closed(&mut self, _now: Instant, conn: ConnId) {
        if self.master() != Some(conn) {
            return;
        }
        match self.state {
            State::Greeting { .. } => {
                self.state = State::Apart;
                self.event(SlaveEvent::Refused { was_ready: self.was_ready });
            }
            State::Apart | State::Joining { .. } | State::Ready { .. } => self.lose(Loss::Closed),
        }
    }

    /// A link to that node is up, whoever dialled it.
    pub fn handle_linked(&mut self, _now: Instant, id: HarborId) {
        self.linked.insert(id);
        self.seen.insert(id);
        self.dead.remove(id);
        self.seek(id);
        self.count(id);
        self.ready_if_complete();
    }

    /// The link to that node is lost.
    pub fn handle_unlinked(&mut self, now: Instant, id: HarborId) {
        self.linked.remove(id);
        self.note_gone(now, id);
        self.regain();
    }

    /// A service of this node takes a name. The waiter is answered exactly once, `Registered`, `NameTaken` or `Full`: when the
    /// master has said who has it (G12), or at once if it cannot be asked. (If it then knows better,
    /// [`SlaveEvent::NameLost`] follows.) After [`Slave::handle_forget`] not at all.
    pub fn handle_register(&mut self, now: Instant, name: Name, handle: Handle, waiter: Waiter) {
        self.claims.look(now);
        if let Some(owner) = self.rival(&name, handle) {
            self.answer(waiter, HarborAnswer::NameTaken(owner));
        } else if self.must_ask(&name) {
            self.claim(now, name, handle, waiter);
        } else if self.take(name, handle, Some(waiter)) {
            self.send_if_ready(Packet::Register { name: name.into(), handle });
        }
    }

    /// A service asks for the owner of a name. It is answered exactly once: `Found`, `NotFound` at the deadline, or `Full`;
    /// after [`Slave::handle_forget`] not at all.
    pub fn handle_query(&mut self, _now: Instant, name: Name, waiter: Waiter, deadline: Instant) {
        match self.names.ask(name, waiter, deadline, &self.bounds) {
            Asked::Known(handle) => self.answer(waiter, HarborAnswer::Found(handle)),
            Asked::First => self.send_if_ready(Packet::Query { name: name.into() }),
            Asked::Again => {}
            Asked::Full => self.answer(waiter, HarborAnswer::Full),
        }
    }

    /// Messages are held for a name until [`SlaveOutput::Published`] or [`Slave::handle_released`]. Returns the owner
    /// if it is known: then there is nothing to hold.
    ///
    /// # Errors
    /// [`NamesFull`] if as many names are waited for as may be.
    pub fn handle_held(&mut self, _now: Instant, name: Name) -> Result<Option<Handle>, NamesFull> {
        match self.names.hold(name, &self.bounds) {
            Asked::Known(handle) => return Ok(Some(handle)),
            Asked::First => self.send_if_ready(Packet::Query { name: name.into() }),
            Asked::Again => {}
            Asked::Full => return Err(NamesFull),
        }
        Ok(None)
    }

    /// No message is held for the name any more.
    pub fn handle_released(&mut self, _now: Instant, name: Name) {
        self.names.release(&name);
    }

    /// This waiter waits for nothing any more.
    pub fn handle_forget(&mut self, _now: Instant, waiter: Waiter) {
        self.names.forget(waiter);
        self.claims.forget(waiter);
    }

    /// Ends what took too long. Harmless when it is too early.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Greeting { conn, deadline } if deadline <= now => {
                self.outputs.push_back(SlaveOutput::Close { conn });
                self.lose(Loss::Late);
            }
            State::Joining { deadline, .. } if deadline <= now => self.become_ready(),
            State::Apart | State::Greeting { .. } | State::Joining { .. } | State::Ready { .. } => {}
        }
        self.expire_claims(now);
        self.expire_vacancies(now);
        while let Some(waiter) = self.names.pop_expired(now) {
            self.answer(waiter, HarborAnswer::NotFound);
        }
    }

    /// When [`Slave::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let link = match self.state {
            State::Greeting { deadline, .. } | State::Joining { deadline, .. } => Some(deadline),
            State::Apart | State::Ready { .. } => None,
        };
        link.into_iter()
            .chain(self.names.deadline())
            .chain(self.claims.deadline())
            .chain(self.vacancy_deadline())
            .min()
    }

    /// What to do next, in order.
    pub fn poll_output(&mut self) -> Option<SlaveOutput> {
        self.outputs.pop_front()
    }

    /// The state of the control link.
    pub fn state(&self) -> SlaveState {
        match self.state {
            State::Apart => SlaveState::Apart,
            State::Greeting { .. } => SlaveState::Greeting,
            State::Joining { .. } => SlaveState::Joining,
            State::Ready { .. } => SlaveState::Ready,
        }
    }

    /// The control link, if there is one.
    pub fn master(&self) -> Option<ConnId> {
        match self.state {
            State::Apart => None,
            State::Greeting { conn, .. } | State::Joining { conn, .. } | State::Ready { conn } => Some(conn),
        }
    }

    /// Whether a link from a node that calls itself `id` is welcome: it is another node and has no live link. (A real
    /// node also refuses ids that were reported dead; we believe the link.)
    pub fn admits(&self, id: HarborId) -> bool {
        !id.is_single() && id != self.own && !self.linked.contains(id)
    }

    /// The owner of a name, as far as this node knows.
    pub fn owner(&self, name: &Name) -> Option<Handle> {
        self.names.owner(name)
    }

    /// All names that this node knows, by name.
    pub fn names(&self) -> impl Iterator<Item = (Name, Handle)> {
        self.names.known()
    }

    /// The first packet of the master.
    fn greeted(&mut self, now: Instant, conn: ConnId, packet: Packet, trailing: Trailing) {
        let Packet::Wait { n } = packet else {
            self.outputs.push_back(SlaveOutput::Close { conn });
            return self.lose(Loss::NotWait);
        };
        let deadline = now + self.bounds.join_time_max;
        self.state = State::Joining { conn, deadline, n, counted: self.linked, kept: Kept::default() };
        self.event(SlaveEvent::MasterUp);
        self.introduce(trailing.hello());
        self.ready_if_complete();
    }

    /// Any later packet of the master.
    fn told(&mut self, now: Instant, packet: Packet, trailing: Trailing) {
        match packet {
            Packet::Connect { id, address } => {
                self.meet(id, address, trailing.hello());
                self.hear_hello(id, trailing.hello());
                self.repeat_contested();
            }
            Packet::Name { name, handle } => match name.to_name() {
                Ok(name) if !handle.is_none() => {
                    match (kin_of(&name), trailing.hello()) {
                        (Some(id), Some(hello)) => self.hear_hello(id, Some(hello)),
                        (Some(_), None) => {
                            self.hear_kin(&name, handle);
                            self.recognise_heirs(now);
                        }
                        (None, _) => {}
                    }
                    self.hear(name, handle, trailing.epoch());
                    self.hear_barrier(now, &name);
                }
                Ok(_) | Err(_) => self.event(SlaveEvent::BadName { name, handle }),
            },
            Packet::Dead { id } if id != self.own => self.mourn(now, id),
            // Another node came with our id.
            Packet::Dead { .. } if self.has_kin_master() => {
                if let Some(conn) = self.master() {
                    self.greet(conn);
                }
            }
            Packet::Dead { .. }
            | Packet::Hello { .. }
            | Packet::Register { .. }
            | Packet::Query { .. }
            | Packet::Wait { .. }
            | Packet::Unknown { .. } => self.event(SlaveEvent::Ignored { packet }),
        }
    }

    /// `C`: dial the newcomer, now or when ready.
    fn meet(&mut self, id: HarborId, address: String, hello: Option<Hello>) {
        if self.linked.contains(id) {
            // The link may be a leftover that the newcomer has given up already.
            self.dead.remove(id);
            self.seen.insert(id);
            return self.outputs.push_back(SlaveOutput::Relocated { id, address, hello });
        }
        if !self.admits(id) {
            return;
        }
        self.dead.remove(id);
        self.seen.insert(id);
        self.note_heir(id);
        match &mut self.state {
            State::Joining { kept, .. } => kept.add_newcomer(id, address),
            State::Apart | State::Greeting { .. } | State::Ready { .. } => {
                self.outputs.push_back(SlaveOutput::Dial { id, address });
            }
        }
    }

    /// G10. To a master that gave the name to nobody else this says nothing new.
    fn repeat_contested(&mut self) {
        if let State::Ready { conn } = self.state {
            let told = |(name, _): &(Name, Handle)| !self.claims.is_untold(name);
            let packets = self.names.contested().filter(told);
            let packets = packets.map(|(name, handle)| Packet::Register { name: name.into(), handle });
            self.outputs.extend(packets.map(|packet| SlaveOutput::plain(conn, packet)));
        }
    }

    /// `N`: the name has this owner, now or when ready.
    fn hear(&mut self, name: Name, handle: Handle, epoch: Option<u64>) {
        let is_untold = self.state() == SlaveState::Ready && self.claims.is_untold(&name);
        if is_untold && self.has_kin_master() {
            return self.claims.note_verdict(name, handle, epoch);
        }
        if self.claims.note_owner(&name, handle) || self.hear_of_vacancy(&name, handle) {
            return;
        }
        if is_untold && !self.is_rival(handle) {
            // A dead owner cannot have our name, whatever a real master says; newcomers must hear of ours then.
            return self.names.contest(&name, handle);
        }
        match &mut self.state {
            State::Joining { kept, .. } if kept.names.len() < self.bounds.names_max => {
                kept.names.push((name, handle, epoch));
            }
            State::Joining { .. } => self.event(SlaveEvent::NameDropped { name }),
            State::Apart | State::Greeting { .. } | State::Ready { .. } => {
                self.learn(name, handle, epoch);
            }
        }
    }

    /// `D`.
    fn mourn(&mut self, now: Instant, id: HarborId) {
        self.count(id);
        if let State::Joining { kept, .. } = &mut self.state {
            kept.remove_newcomer(id);
        }
        self.dead.insert(id);
        self.note_gone(now, id);
        self.event(SlaveEvent::ReportedDead(id));
        self.regain();
        self.ready_if_complete();
    }

    /// A node has linked or is dead. A newcomer is none of those that were announced to us.
    fn count(&mut self, id: HarborId) {
        if let State::Joining { counted, kept, .. } = &mut self.state
            && !kept.has_newcomer(id)
        {
            counted.insert(id);
        }
    }

    /// Announced links that neither came nor were reported dead.
    fn missing(&self) -> u8 {
        match self.state {
            State::Joining { n, counted, .. } => n.saturating_sub(counted.len().min(255) as u8),
            State::Apart | State::Greeting { .. } | State::Ready { .. } => 0,
        }
    }

    fn ready_if_complete(&mut self) {
        if self.state() == SlaveState::Joining && self.missing() == 0 {
            self.become_ready();
        }
    }

    /// G6: everything that was kept is done now, in the order of Skynet; then the master hears what it does not know.
    fn become_ready(&mut self) {
        let missing = self.missing();
        let State::Joining { conn, kept, .. } = std::mem::replace(&mut self.state, State::Apart) else {
            return;
        };
        self.state = State::Ready { conn };
        // Links of an earlier join may be to nodes that this master does not count.
        self.knows_all = missing == 0 && !self.was_ready && self.kin.is_some();
        self.was_ready = true;
        // What is known of others by now was heard on an earlier link.
        self.doubt_known();
        self.event(SlaveEvent::Joined { missing });
        self.use_kept(kept);
        self.tell_ended(conn);
        if mutant::is(Mutant::OwnNamesForgotten) {
        } else if self.kin.is_some() {
            self.claim_own();
        } else {
            let own = self.names.own().map(|(name, handle)| Packet::Register { name: name.into(), handle });
            self.outputs.extend(own.map(|packet| SlaveOutput::plain(conn, packet)));
        }
        let wanted = self.names.wanted().map(|name| Packet::Query { name: name.into() });
        self.outputs.extend(wanted.map(|packet| SlaveOutput::plain(conn, packet)));
    }

    /// Names and newcomers that the lost master told us of while we joined are as good as ever.
    fn lose(&mut self, loss: Loss) {
        let before = std::mem::replace(&mut self.state, State::Apart);
        self.event(SlaveEvent::MasterLost(loss));
        match before {
            State::Joining { kept, .. } => self.use_kept(kept),
            State::Apart | State::Greeting { .. } | State::Ready { .. } => {}
        }
        self.forget_kin();
        self.forget_vacancies();
        self.end_claims();
    }

    /// Does what was kept while the node joined. A master of our kind has not judged our own names yet.
    fn use_kept(&mut self, kept: Kept) {
        if mutant::is(Mutant::KeptForgotten) {
            return;
        }
        for (id, address) in kept.newcomers {
            self.meet(id, address, self.hello_of(id));
        }
        let judges_later = self.has_kin_master();
        for (name, handle, epoch) in kept.names {
            if !(judges_later && self.names.is_own(&name)) {
                self.hear(name, handle, epoch);
            }
        }
    }

    /// Tells everybody what a name turned out to be.
    fn report(&mut self, name: Name, handle: Handle, learnt: Learnt) {
        match learnt {
            Learnt::Same => {}
            Learnt::Full => self.event(SlaveEvent::NameDropped { name }),
            Learnt::New { mut waiters, lost } => {
                mutant::when(Mutant::WaitersForgotten, || waiters.clear());
                self.outputs.push_back(SlaveOutput::Published { name, handle });
                for waiter in waiters {
                    self.answer(waiter, HarborAnswer::Found(handle));
                }
                if let Some(ours) = lost {
                    self.event(SlaveEvent::NameLost { name, ours, theirs: handle });
                }
            }
        }
    }

    fn answer(&mut self, waiter: Waiter, answer: HarborAnswer) {
        self.outputs.push_back(SlaveOutput::Answer { waiter, answer });
    }

    fn send(&mut self, conn: ConnId, packet: Packet) {
        self.outputs.push_back(SlaveOutput::plain(conn, packet));
    }

    fn send_with(&mut self, conn: ConnId, packet: Packet, trailing: Trailing) {
        self.outputs.push_back(SlaveOutput::SendPacket { conn, packet, trailing });
    }

    fn send_if_ready(&mut self, packet: Packet) {
        match self.state {
            State::Ready { conn } => self.send(conn, packet),
            State::Apart | State::Greeting { .. } | State::Joining { .. } => {}
        }
    }

    fn event(&mut self, event: SlaveEvent) {
        self.outputs.push_back(SlaveOutput::Event(event));
    }
}

impl SlaveOutput {
    /// A packet with nothing behind its values.
    fn plain(conn: ConnId, packet: Packet) -> Self {
        Self::SendPacket { conn, packet, trailing: Trailing::Nothing }
    }
}

/// As many names are waited for as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many unknown names are waited for")]
pub struct NamesFull;

#[cfg(test)]
mod tests;
