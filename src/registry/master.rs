//! The master: members and names.
//!
//! ```text
//!  handle_accepted            H with a fresh id
//!  ────────────────▶ Guest ──────────────────────▶ Member ─────────────────▶ gone, D to all other members
//!                      │                            │    ▲   closed, fault
//!                      │ anything else, too late    └────┘
//!                      ▼                            R, Q; all else is passed over
//!               closed without a byte
//! ```

mod lives;

use super::bounds::Bounds;
use super::kin::{kin_handle, kin_name};
use super::names::is_nobody;
use super::tenure::{Claim, Epochs, Tenure};
use crate::clock::Instant;
use crate::limits::{SERVICE_ID_VACANT, VACANT_NAMES_MAX};
use crate::message::{Handle, HarborId};
use crate::mutant::{self, Mutant};
use crate::wire::control::{ControlFault, Packet, Received};
use crate::wire::{ConnId, Hello, PacketName, Trailing};
use lives::{Coming, Lives};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The master's machine; its rules G1–G5 are in the [module's text](super).
#[derive(Debug)]
pub struct Master {
    bounds: Bounds,
    /// What this master says of itself; none: it says nothing that a real one would not.
    hello: Option<Hello>,
    links: BTreeMap<ConnId, Link>,
    members: BTreeMap<HarborId, ConnId>,
    /// Every id that ever was a member's (G2).
    lives: Lives,
    names: BTreeMap<PacketName, Owner>,
    /// Names of nobody, which make room for others.
    vacant: BTreeSet<PacketName>,
    epochs: Epochs,
    outputs: VecDeque<MasterOutput>,
}

/// Who has a name.
#[derive(Clone, Copy, Debug)]
struct Owner {
    handle: Handle,
    /// None: the owner is dead, the handle is nobody's, the name is free.
    tenure: Option<Tenure>,
}

impl Owner {
    fn told(&self) -> Trailing {
        self.tenure.map_or(Trailing::Nothing, |tenure| Trailing::Epoch(tenure.epoch))
    }
}

#[derive(Clone, Copy, Debug)]
enum Link {
    Guest {
        deadline: Instant,
    },
    Member {
        id: HarborId,
        hello: Option<Hello>,
        /// Another node came with its id: until then it must have said that it lives.
        doubted_until: Option<Instant>,
    },
}

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterOutput {
    /// Write the packet to this connection. It always fits.
    SendPacket {
        /// To whom.
        conn: ConnId,
        /// What.
        packet: Packet,
        /// What goes behind its values, if there is room.
        trailing: Trailing,
    },
    /// Close the connection, after flushing what was written to it before. The machine has forgotten it.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Something to log or count.
    Event(MasterEvent),
}

/// What happened at the master, for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MasterEvent {
    /// A slave became a member.
    Joined {
        /// Its id.
        id: HarborId,
        /// Where it listens.
        address: String,
    },
    /// A member is gone.
    Left {
        /// Its id.
        id: HarborId,
        /// What its link did, if that was the reason.
        fault: Option<ControlFault>,
    },
    /// A connection was closed without a byte.
    Refused {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: Refusal,
    },
    /// A name has a new owner.
    Named {
        /// The name.
        name: PacketName,
        /// The owner.
        handle: Handle,
    },
    /// Names of a dead node lead to nobody from now on (G4).
    Vacated {
        /// The node.
        id: HarborId,
        /// Where calls to its names get their errors from.
        stand_in: Handle,
        /// How many.
        names: usize,
    },
    /// A name ended with its service, or was given up (G16).
    NameEnded {
        /// The name.
        name: PacketName,
        /// Where calls to it get their errors from.
        nobody: Handle,
    },
    /// A registration lost against a live owner (G3).
    NameTaken {
        /// The name.
        name: PacketName,
        /// Who has it.
        winner: Handle,
        /// Who wanted it.
        loser: Handle,
    },
    /// A registration was dropped: the table is full, or its `N` would not fit in a packet.
    NameDropped {
        /// The name.
        name: PacketName,
        /// Who wanted it.
        handle: Handle,
    },
    /// A packet that a member has no business sending was passed over.
    Ignored {
        /// Who sent it.
        id: HarborId,
        /// What.
        packet: Packet,
    },
}

/// Why a connection to the master was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The id serves or served another slave of this master (G2).
    #[error("id {0} was used before")]
    IdUsed(HarborId),
    /// The id serves a node of our kind. It is asked whether it lives; if it does not answer, the next try succeeds.
    #[error("id {0} is in use")]
    IdInUse(HarborId),
    /// A later life of the node was a member already.
    #[error("id {0} had a later life")]
    OldLife(HarborId),
    /// The first packet was not an `H`.
    #[error("the first packet was not H")]
    NotHello,
    /// The first packet could not be read.
    #[error(transparent)]
    Fault(ControlFault),
    /// No `H` came in time.
    #[error("no H in time")]
    Late,
    /// Too many connections without `H`.
    #[error("too many connections without H")]
    Crowded,
}

impl Master {
    /// A master of nobody.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            hello: None,
            links: BTreeMap::new(),
            members: BTreeMap::new(),
            lives: Lives::default(),
            names: BTreeMap::new(),
            vacant: BTreeSet::new(),
            epochs: Epochs::new(bounds.tie_time_max),
            outputs: VecDeque::new(),
        }
    }

    /// Makes this master known to members of its kind, and them to each other. To be called before it accepts anybody.
    pub fn seek_kin(&mut self, hello: Hello) {
        self.hello = Some(hello);
        self.epochs.begin(hello);
    }

    /// A control connection was accepted. The driver gives it a number that it never gives again.
    pub fn handle_accepted(&mut self, now: Instant, conn: ConnId) {
        if self.links.len() - self.members.len() >= self.bounds.guests_max {
            return self.refuse(conn, Refusal::Crowded);
        }
        let deadline = now + self.bounds.hello_time_max;
        self.links.insert(conn, Link::Guest { deadline });
    }

    /// A packet was read from the connection. Connections that the machine has closed are ignored.
    pub fn handle_packet(&mut self, now: Instant, conn: ConnId, received: impl Into<Received>) {
        let Received { packet, extra } = received.into();
        let trailing = Trailing::read(&extra);
        if let Some(Link::Member { doubted_until, .. }) = self.links.get_mut(&conn) {
            *doubted_until = None;
        }
        match (self.links.get(&conn), packet) {
            (None, _) => {}
            (Some(Link::Guest { .. }), Packet::Hello { id, address }) => {
                self.admit(now, conn, id, address, trailing.hello());
            }
            // That it lives is all that it says.
            (Some(Link::Member { id: own, .. }), Packet::Hello { id, .. })
                if *own == id && self.is_kin(conn) => {}
            (
                Some(Link::Guest { .. }),
                Packet::Register { .. }
                | Packet::Query { .. }
                | Packet::Wait { .. }
                | Packet::Connect { .. }
                | Packet::Name { .. }
                | Packet::Dead { .. }
                | Packet::Unknown { .. },
            ) => self.refuse(conn, Refusal::NotHello),
            (Some(Link::Member { id, .. }), Packet::Register { name, handle }) => {
                let id = *id;
                // Only our kind has epochs, and only for names of its own.
                let is_trusted = self.is_kin(conn) && handle.harbor() == id;
                if handle.harbor() == id && is_nobody(handle) {
                    return self.end_name((conn, id), name, handle);
                }
                let claim = Claim::of(if is_trusted { trailing } else { Trailing::Nothing });
                self.register(now, (conn, id), name, handle, claim);
            }
            (Some(Link::Member { .. }), Packet::Query { name }) => self.answer(conn, name),
            (
                Some(Link::Member { id, .. }),
                packet @ (Packet::Hello { .. }
                | Packet::Wait { .. }
                | Packet::Connect { .. }
                | Packet::Name { .. }
                | Packet::Dead { .. }
                | Packet::Unknown { .. }),
            ) => {
                let id = *id;
                self.event(MasterEvent::Ignored { id, packet });
            }
        }
    }

    /// Nothing of that node is left: it is no member and no link to it lives. Its names are given to an id without a
    /// service on `own`, the node that hosts this master; if that has no links: on a member that is known to be of our kind.
    pub fn handle_lost(&mut self, _now: Instant, id: HarborId, own: Option<HarborId>) {
        if self.members.contains_key(&id) {
            return;
        }
        let Some(stand_in) = own.filter(|own| *own != id).or_else(|| self.kin(id)) else { return };
        self.vacate(id, Handle::new(stand_in, SERVICE_ID_VACANT), |_| true);
    }

    /// Gives names of that node to nobody, those with such handles.
    fn vacate(&mut self, id: HarborId, stand_in: Handle, is_over: impl Fn(Handle) -> bool) {
        let names: Vec<PacketName> = self
            .names
            .iter()
            .filter(|(_, owner)| owner.handle.harbor() == id && is_over(owner.handle))
            .map(|(name, _)| name.clone())
            .take(VACANT_NAMES_MAX)
            .collect();
        if names.is_empty() {
            return;
        }
        for name in &names {
            self.put(name.clone(), Owner { handle: stand_in, tenure: None });
            self.broadcast(&Packet::Name { name: name.clone(), handle: stand_in }, Trailing::Nothing);
        }
        self.event(MasterEvent::Vacated { id, stand_in, names: names.len() });
    }

    /// The lowest member but this one that says by its name that it is of our kind.
    fn kin(&self, but: HarborId) -> Option<HarborId> {
        let mut others = self.members.keys().copied().filter(|id| *id != but);
        others.find(|id| {
            let owner = self.names.get(&PacketName::from(kin_name(*id)));
            owner.is_some_and(|owner| owner.handle.harbor() == *id)
        })
    }

    /// What the connection sent cannot be read. It is closed.
    pub fn handle_fault(&mut self, _now: Instant, conn: ConnId, fault: ControlFault) {
        match self.links.get(&conn) {
            None => {}
            Some(Link::Guest { .. }) => self.refuse(conn, Refusal::Fault(fault)),
            Some(Link::Member { id, .. }) => {
                let id = *id;
                self.outputs.push_back(MasterOutput::Close { conn });
                self.remove(conn, id, Some(fault));
            }
        }
    }

    /// The connection ended; its socket is gone already.
    pub fn handle_closed(&mut self, _now: Instant, conn: ConnId) {
        match self.links.get(&conn) {
            None => {}
            Some(Link::Guest { .. }) => {
                self.links.remove(&conn);
            }
            Some(Link::Member { id, .. }) => self.remove(conn, *id, None),
        }
    }

    /// Refuses guests that said nothing in time. Harmless when it is too early.
    pub fn handle_timeout(&mut self, now: Instant) {
        let late: Vec<ConnId> =
            self.guests().filter(|(_, deadline)| *deadline <= now).map(|(conn, _)| conn).collect();
        for conn in late {
            self.refuse(conn, Refusal::Late);
        }
        let silent: Vec<(ConnId, HarborId)> =
            self.doubted().filter(|(.., until)| *until <= now).map(|(conn, id, _)| (conn, id)).collect();
        for (conn, id) in silent {
            self.outputs.push_back(MasterOutput::Close { conn });
            self.remove(conn, id, None);
        }
    }

    /// When [`Master::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let guests = self.guests().map(|(_, deadline)| deadline);
        guests.chain(self.doubted().map(|(.., until)| until)).min()
    }

    /// What to do next, in order.
    pub fn poll_output(&mut self) -> Option<MasterOutput> {
        self.outputs.pop_front()
    }

    /// The members, by id.
    pub fn members(&self) -> impl Iterator<Item = (HarborId, ConnId)> {
        self.members.iter().map(|(id, conn)| (*id, *conn))
    }

    /// Whether the node is a member.
    pub fn is_member(&self, id: HarborId) -> bool {
        self.members.contains_key(&id)
    }

    /// All names with their owners, those of dead nodes too, by name.
    pub fn names(&self) -> impl Iterator<Item = (&PacketName, Handle)> {
        self.names.iter().map(|(name, owner)| (name, owner.handle))
    }

    /// Members that must say that they live, and until when.
    fn doubted(&self) -> impl Iterator<Item = (ConnId, HarborId, Instant)> {
        self.links.iter().filter_map(|(conn, link)| match link {
            Link::Member { id, doubted_until, .. } => doubted_until.map(|until| (*conn, *id, until)),
            Link::Guest { .. } => None,
        })
    }

    /// Every guest with its deadline; their number is bounded.
    fn guests(&self) -> impl Iterator<Item = (ConnId, Instant)> {
        self.links.iter().filter_map(|(conn, link)| match link {
            Link::Guest { deadline } => Some((*conn, *deadline)),
            Link::Member { .. } => None,
        })
    }

    /// G1, G2.
    fn admit(&mut self, now: Instant, conn: ConnId, id: HarborId, address: String, hello: Option<Hello>) {
        let hello = hello.filter(|_| self.hello.is_some());
        let coming = match self.lives.judge(id, hello) {
            Ok(_) if self.members.contains_key(&id) => {
                self.doubt(now, id);
                return self.refuse(conn, Refusal::IdInUse(id));
            }
            Ok(coming) => coming,
            Err(reason) => return self.refuse(conn, reason),
        };
        let is_real = |link: &Link| matches!(link, Link::Member { hello: None, .. });
        self.lives.begin(id, hello, self.links.values().any(is_real));
        if coming == Coming::NewLife {
            self.free_names(id);
        }
        let n = self.members.len() as u8 + u8::from(mutant::is(Mutant::WaitTooMany));
        let about = hello.map_or(Trailing::Nothing, Trailing::Hello);
        if !mutant::is(Mutant::NewcomerUntold) {
            self.broadcast(&Packet::Connect { id, address: address.clone() }, about);
        }
        self.links.insert(conn, Link::Member { id, hello, doubted_until: None });
        self.send(conn, Packet::Wait { n }, self.hello.map_or(Trailing::Nothing, Trailing::Hello));
        if self.is_kin(conn) {
            self.introduce_kin(conn);
        }
        self.members.insert(id, conn);
        self.event(MasterEvent::Joined { id, address });
    }

    /// Another node has the id of this member: it is asked whether it lives, by the news of its own death.
    fn doubt(&mut self, now: Instant, id: HarborId) {
        let Some(conn) = self.members.get(&id).copied() else { return };
        if let Some(Link::Member { doubted_until: doubted @ None, .. }) = self.links.get_mut(&conn) {
            *doubted = Some(now + self.bounds.hello_time_max);
            self.send(conn, Packet::Dead { id }, Trailing::Nothing);
        }
    }

    /// The services of a life that is over have no names: those are nobody's at the next life, where calls to them fail, and
    /// whoever knew one hears that it is free. (The name by which our kind knows the node is the next life's too.)
    fn free_names(&mut self, id: HarborId) {
        for owner in self.names.values_mut().filter(|owner| owner.handle.harbor() == id) {
            owner.tenure = None;
        }
        let is_over = |handle: Handle| !is_nobody(handle) && handle != kin_handle(id);
        self.vacate(id, Handle::new(id, SERVICE_ID_VACANT), is_over);
    }

    /// A newcomer of our kind hears of all members of our kind by their names (G11).
    fn introduce_kin(&mut self, newcomer: ConnId) {
        for (id, conn) in self.members.clone() {
            if let Some(Link::Member { hello: Some(hello), .. }) = self.links.get(&conn).copied() {
                let packet = Packet::Name { name: kin_name(id).into(), handle: kin_handle(id) };
                self.send(newcomer, packet, Trailing::Hello(hello));
            }
        }
    }

    /// Whether master and member are of our kind: nothing of ours goes to a real node.
    fn is_kin(&self, conn: ConnId) -> bool {
        let is_ours = |link: &Link| matches!(link, Link::Member { hello: Some(_), .. });
        self.hello.is_some() && self.links.get(&conn).is_some_and(is_ours)
    }

    fn refuse(&mut self, conn: ConnId, reason: Refusal) {
        self.links.remove(&conn);
        self.outputs.push_back(MasterOutput::Close { conn });
        self.event(MasterEvent::Refused { conn, reason });
    }

    /// The member is gone: all others hear of it.
    fn remove(&mut self, conn: ConnId, id: HarborId, fault: Option<ControlFault>) {
        self.links.remove(&conn);
        self.members.remove(&id);
        mutant::unless(Mutant::DeathUntold, || self.broadcast(&Packet::Dead { id }, Trailing::Nothing));
        self.event(MasterEvent::Left { id, fault });
    }

    /// G3, G4, G5, G13.
    fn register(
        &mut self,
        now: Instant,
        (conn, sender): (ConnId, HarborId),
        name: PacketName,
        handle: Handle,
        claim: Claim,
    ) {
        let news = Packet::Name { name: name.clone(), handle };
        let tenure = match self.names.get(&name).copied() {
            None if !self.has_room() || !news.fits() => {
                return self.event(MasterEvent::NameDropped { name, handle });
            }
            Some(Owner { handle: before, tenure: Some(tenure) }) if before == handle => {
                let tenure = Some(self.epochs.renew(now, (claim, sender), tenure));
                let owner = Owner { handle, tenure };
                self.put(name, owner);
                return self.send(conn, news, owner.told());
            }
            Some(owner) if !self.may_take(now, owner, (handle, claim), sender) => {
                self.epochs.hear(claim);
                if mutant::is(Mutant::LoserBroadcast) {
                    self.broadcast(&news, Trailing::Nothing);
                }
                let winner = owner.handle;
                self.send(conn, Packet::Name { name: name.clone(), handle: winner }, owner.told());
                return self.event(MasterEvent::NameTaken { name, winner, loser: handle });
            }
            // It fits with the old handle; with a new one it may not.
            Some(_) if !news.fits() => return self.event(MasterEvent::NameDropped { name, handle }),
            // The node has the name as long as before.
            Some(Owner { handle: before, tenure: Some(tenure) }) if before.harbor() == handle.harbor() => {
                tenure
            }
            None | Some(_) => self.epochs.confirm(now, claim),
        };
        let owner = Owner { handle, tenure: Some(tenure) };
        self.put(name.clone(), owner);
        mutant::unless(Mutant::NameUntold, || self.broadcast(&news, owner.told()));
        self.event(MasterEvent::Named { name, handle });
    }

    /// G16. A name that this master does not know ended while there was none: others may know it.
    fn end_name(&mut self, (conn, sender): (ConnId, HarborId), name: PacketName, nobody: Handle) {
        let news = Packet::Name { name: name.clone(), handle: nobody };
        match self.names.get(&name).copied() {
            Some(owner) if owner.handle.harbor() != sender => return self.answer(conn, name),
            Some(_) => {}
            None if self.is_kin(conn) && self.has_room() => {}
            None => return,
        }
        if !news.fits() {
            return self.event(MasterEvent::NameDropped { name, handle: nobody });
        }
        self.put(name.clone(), Owner { handle: nobody, tenure: None });
        self.broadcast(&news, Trailing::Nothing);
        self.event(MasterEvent::NameEnded { name, nobody });
    }

    /// Whether one more name can be remembered; one of nobody makes room for it.
    fn has_room(&mut self) -> bool {
        if self.names.len() >= self.bounds.names_max
            && let Some(vacant) = self.vacant.pop_first()
        {
            self.names.remove(&vacant);
        }
        self.names.len() < self.bounds.names_max
    }

    fn put(&mut self, name: PacketName, owner: Owner) {
        match is_nobody(owner.handle) {
            true => self.vacant.insert(name.clone()),
            false => self.vacant.remove(&name),
        };
        self.names.insert(name, owner);
    }

    /// Whether `sender` may give a name of `owner` to `handle`: the owner's node is gone, or it is the sender itself (G4), or
    /// the sender was confirmed before (G13).
    fn may_take(
        &self,
        now: Instant,
        owner: Owner,
        (handle, claim): (Handle, Claim),
        sender: HarborId,
    ) -> bool {
        let id = owner.handle.harbor();
        let Some(tenure) = owner.tenure.filter(|_| self.members.contains_key(&id)) else { return true };
        let is_own = handle.harbor() == sender;
        mutant::is(Mutant::NameStolen)
            || is_own && (id == sender || self.epochs.is_older(now, (claim, sender), (tenure, id)))
    }

    /// G5.
    fn answer(&mut self, conn: ConnId, name: PacketName) {
        if let Some(owner) = self.names.get(&name).copied().filter(|_| !mutant::is(Mutant::QueryUnanswered)) {
            self.send(conn, Packet::Name { name, handle: owner.handle }, owner.told());
        }
    }

    fn send(&mut self, conn: ConnId, packet: Packet, trailing: Trailing) {
        let trailing = if self.is_kin(conn) { trailing } else { Trailing::Nothing };
        self.outputs.push_back(MasterOutput::SendPacket { conn, packet, trailing });
    }

    /// To every member, by id.
    fn broadcast(&mut self, packet: &Packet, trailing: Trailing) {
        let conns: Vec<ConnId> = self.members.values().copied().collect();
        for conn in conns {
            self.send(conn, packet.clone(), trailing);
        }
    }

    fn event(&mut self, event: MasterEvent) {
        self.outputs.push_back(MasterOutput::Event(event));
    }
}

#[cfg(test)]
mod tests;
