//! All decisions about peers: who is dialled, what is sent, held or failed, which names are known.
//!
//! The machine is pure. It opens no socket, reads no clock, starts no thread and draws no random number: the I/O thread
//! (or the simulator) tells it what happened and when, then drains what it wants done.
//!
//! ```text
//!  services                                Harbor                                        I/O thread
//!  send by handle ─────────────▶ ┌──────────────────────────────┐
//!  request: send by name,        │ names    held messages       │ ◀── listening, accepted, connected,
//!  register, query, link … ────▶ │ slots    256 peers, links    │     bytes, closed, sent, time
//!                                │ pending  calls without answer│ ──▶ listen, connect, close; outboxes
//!  deliveries, answers,    ◀──── │ control  registry::Slave     │
//!  published names               │ host     registry::Master    │
//!                                └──────────────────────────────┘
//! ```
//!
//! # Rules
//!
//! - **H1** An acceptor never speaks first; a dialler writes its id byte and nothing else before the answer. Frames may stand
//!   right behind an id byte.
//! - **H2** A link that is up is given up for no other; an id with such a link is refused without a byte.
//! - **H3** Messages from one service to another leave in the order in which they came: what was held for a name or a link
//!   goes before what comes later, and a name is published only when everything held for it has moved on.
//! - **H4** When a link is lost: first the deliveries that were decoded, then one failure for each call that it owed an
//!   answer, then [`Event::Down`], then nothing of that connection.
//! - **H5** A call whose frame was written in full has an unknown outcome; any other was certainly not executed.
//! - **H6** Every accepted message is delivered, failed with a reason, unknown, queued or in flight ([`Account`]).
//! - **H7** Peers never reach kinds SYSTEM, HARBOR and SOCKET. (DEBUG is up to the service, whoever sends it.)
//! - **H8** Losing the master costs name changes, never traffic.
#![forbid(unsafe_code)]

mod account;
mod action;
mod backoff;
mod control;
mod desk;
mod held;
mod host;
mod inbound;
mod intake;
mod kin;
mod line;
mod link;
mod names;
mod nudge;
mod patience;
mod pending;
mod pulse;
mod requests;
mod settings;
mod slot;
mod waiters;

pub use crate::wire::{ConnId, Hello};
pub use account::{Account, Failure, Intake};
pub use action::{Action, DownReason, Event, Fault, Listener};
pub use settings::{Bounds, Join, Settings};

use crate::clock::Instant;
use crate::limits::{ADDRESS_BYTES_MAX, SHORT_READ_BYTES, SLOTS};
use crate::message::{CallError, Envelope, HarborId, Kind, MemoryUse, Session};
use crate::mutant::{self, Mutant};
use crate::registry::{Master, Slave};
use crate::wire::Outbox;
use control::Control;
use desk::{Desk, LinkChange, Role};
use host::Host;
use kin::Kin;
use names::Nameless;
use nudge::Nudges;
use slot::{InUse, Slot};
use std::collections::VecDeque;
use std::io;

/// One node's machine; see the module's text.
///
/// After every `handle_*` call, drain [`poll_action`](Self::poll_action) and then
/// [`poll_transmit`](Self::poll_transmit), and ask [`poll_timeout`](Self::poll_timeout) before waiting.
pub struct Harbor {
    settings: Settings,
    desk: Desk,
    slots: Vec<Slot>,
    /// Accepted connections without an id byte, and until when they may stay so; the oldest first.
    strangers: VecDeque<(Instant, ConnId)>,
    listening: Vec<Listener>,
    nameless: Nameless,
    nudges: Nudges,
    kin: Kin,
    control: Control,
    host: Option<Host>,
    /// Messages that never reached a slot: held for a name, or for services of this node.
    own_account: Account,
    phase: Phase,
}

/// Where the node is in its life.
enum Phase {
    Running,
    Leaving { deadline: Instant },
    Left,
}

impl Harbor {
    /// A machine that has done nothing yet.
    ///
    /// # Panics
    /// If it shall be a slave and its own id is 0.
    pub fn new(settings: Settings) -> Self {
        let is_member = settings.join.is_some();
        assert!(!is_member || !settings.own.is_single(), "a slave needs an id");
        let slots = (0..SLOTS).map(|id| Slot::new(HarborId::new(id as u8), is_member)).collect();
        let registry = settings.bounds.registry;
        let mut slave = Slave::new(settings.own, registry);
        let mut master = settings.master.as_ref().map(|_| Master::new(registry));
        if let Some(hello) = settings.hello {
            slave.seek_kin(hello);
            master.iter_mut().for_each(|master| master.seek_kin(hello));
        }
        Self {
            desk: Desk::new(&settings),
            slots,
            strangers: VecDeque::new(),
            listening: Vec::new(),
            nameless: Nameless::default(),
            nudges: Nudges::default(),
            kin: Kin::default(),
            control: Control::new(slave),
            host: master.map(Host::new),
            own_account: Account::default(),
            phase: Phase::Running,
            settings,
        }
    }

    /// Opens the listeners; everything else follows from their results.
    pub fn start(&mut self, now: Instant) {
        self.desk.now = now;
        // The master first, so that our own slave finds it.
        if let Some(address) = self.settings.master.clone() {
            self.desk.actions.push_back(Action::Listen { listener: Listener::Master, address });
        }
        if let Some(join) = &self.settings.join {
            let address = join.listen.clone();
            self.desk.actions.push_back(Action::Listen { listener: Listener::Links, address });
        }
    }

    // Connections.

    /// The result of [`Action::Listen`]: the address as it turned out (`host:port`), or why not.
    pub fn handle_listening(
        &mut self,
        now: Instant,
        listener: Listener,
        result: Result<String, io::ErrorKind>,
    ) {
        self.desk.now = now;
        match result {
            // Its name was being resolved when the node began to leave.
            Ok(_) if self.desk.leaving => self.desk.actions.push_back(Action::StopListening(listener)),
            Ok(address) => {
                self.listening.push(listener);
                if listener == Listener::Links {
                    self.join(address);
                }
            }
            Err(kind) => self.desk.event(Event::ListenFailed(listener, kind)),
        }
        self.settle();
    }

    /// The node listens for links: now it may say so to the master (`wire.md` 3.3).
    fn join(&mut self, actual: String) {
        let Some(join) = &self.settings.join else { return };
        let address = join.advertise.clone().unwrap_or(actual);
        if address.len() > ADDRESS_BYTES_MAX {
            return self.desk.event(Event::ListenFailed(Listener::Links, io::ErrorKind::InvalidInput));
        }
        self.control.own_address = Some(address);
        self.control.dial(&join.master, &mut self.desk);
    }

    /// A connection was accepted. It may be closed at once by an action.
    pub fn handle_accepted(&mut self, now: Instant, listener: Listener) -> ConnId {
        self.desk.now = now;
        let conn = match (listener, &mut self.host) {
            (Listener::Master, Some(host)) => host.accept(&mut self.desk),
            (Listener::Master, None) | (Listener::Links, _) => self.accept_stranger(),
        };
        self.settle();
        conn
    }

    fn accept_stranger(&mut self) -> ConnId {
        let conn = self.desk.open(Role::Stranger);
        let is_member = self.settings.join.is_some() && !self.desk.leaving;
        if self.strangers.len() >= self.desk.bounds.strangers_max || !is_member {
            self.desk.close(conn);
        } else {
            let deadline = self.desk.now + self.desk.bounds.handshake_time_max;
            self.strangers.push_back((deadline, conn));
            self.desk.wake_at(deadline);
        }
        conn
    }

    /// A dialled connection is established.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId) {
        self.desk.now = now;
        match self.desk.role(conn) {
            Some(Role::Link(peer)) => self.slots[peer.index()].connected(conn, &mut self.desk),
            Some(Role::Control) => self.control.connected(conn, &mut self.desk),
            Some(Role::Nudge(peer)) => self.nudges.connected(peer, conn, &mut self.desk),
            Some(Role::Stranger | Role::Slave) | None => {}
        }
        self.settle();
    }

    /// A dialled connection failed; it is forgotten.
    pub fn handle_connect_failed(&mut self, now: Instant, conn: ConnId, kind: io::ErrorKind) {
        self.desk.now = now;
        match self.desk.role(conn) {
            Some(Role::Link(peer)) if self.slots[peer.index()].is_dialling(conn) => {
                self.desk.forget(conn);
                self.slots[peer.index()].connect_failed(conn, kind, &mut self.desk);
            }
            Some(Role::Control) if self.control.is_dialling(conn) => {
                self.desk.forget(conn);
                self.control.connect_failed(self.settings.master_address(), kind, &mut self.desk);
            }
            Some(Role::Nudge(peer)) => {
                self.desk.forget(conn);
                self.nudges.refused(peer, conn);
            }
            // It was established before: its end.
            Some(Role::Link(_) | Role::Control | Role::Stranger | Role::Slave) => {
                self.handle_closed(now, conn)
            }
            None => {}
        }
        self.settle();
    }

    /// Bytes were read. Ignored for connections that the machine has closed.
    pub fn handle_bytes(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        self.desk.now = now;
        match self.desk.role(conn) {
            Some(Role::Link(peer)) => self.slots[peer.index()].bytes(conn, bytes, &mut self.desk),
            Some(Role::Stranger) => self.stranger_bytes(conn, bytes),
            Some(Role::Nudge(_)) => {}
            Some(Role::Control) => self.control.bytes(conn, bytes, &mut self.desk),
            Some(Role::Slave) => {
                if let Some(host) = &mut self.host {
                    host.bytes(conn, bytes, &mut self.desk);
                }
            }
            None => {}
        }
        self.settle();
    }

    /// The first byte of an accepted connection says who it is. Frames may stand right behind it.
    fn stranger_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some((id, frames)) = bytes.split_first() else { return };
        let peer = HarborId::new(*id);
        self.strangers.retain(|(_, stranger)| *stranger != conn);
        if peer.is_single() || peer == self.desk.own {
            return self.desk.fault(conn, None, Fault::OwnId(peer));
        }
        let slot = &mut self.slots[peer.index()];
        match slot.greeted(conn, &mut self.desk) {
            Ok(()) => slot.bytes(conn, frames, &mut self.desk),
            Err(InUse) => self.desk.fault(conn, None, Fault::IdInUse(peer)),
        }
    }

    /// The connection ended, in order or by an error; the socket is gone already.
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId) {
        self.desk.now = now;
        match self.desk.forget(conn) {
            Some(Role::Link(peer)) => self.slots[peer.index()].closed(conn, &mut self.desk),
            Some(Role::Stranger) => self.strangers.retain(|(_, stranger)| *stranger != conn),
            Some(Role::Nudge(peer)) => self.nudges.refused(peer, conn),
            Some(Role::Control) => self.control.closed(conn, &mut self.desk),
            Some(Role::Slave) => {
                if let Some(host) = &mut self.host {
                    host.closed(conn, &mut self.desk);
                }
            }
            None => {}
        }
        self.settle();
    }

    /// Bytes of this connection's outbox were written.
    pub fn handle_sent(&mut self, now: Instant, conn: ConnId) {
        self.desk.now = now;
        match self.desk.role(conn) {
            Some(Role::Link(peer)) => self.slots[peer.index()].sent(&mut self.desk),
            Some(Role::Control) if self.desk.leaving => self.control.leave(&mut self.desk),
            Some(Role::Slave) => {
                if let Some(host) = &mut self.host {
                    host.sent(conn, &mut self.desk);
                }
            }
            Some(Role::Control | Role::Stranger | Role::Nudge(_)) | None => {}
        }
        self.settle();
    }

    /// The unsent bytes of a connection, if it is established and the machine has not closed it.
    pub fn outbox(&mut self, conn: ConnId) -> Option<&mut Outbox> {
        match self.desk.role(conn)? {
            Role::Link(peer) => self.slots[peer.index()].outbox(conn),
            Role::Control => self.control.outbox(),
            Role::Slave => self.host.as_mut()?.outbox(conn),
            Role::Stranger | Role::Nudge(_) => None,
        }
    }

    // Messages.

    /// A service of this node sends to a handle of another node. (To a handle of this node, it is delivered.)
    pub fn handle_send(&mut self, now: Instant, envelope: Envelope) {
        self.desk.now = now;
        self.send(envelope);
        self.settle();
    }

    /// A delivered message found no service: its sender is answered with ERROR, with the same session even if that
    /// is 0 (`wire.md` 4.5). The answer goes to the node of the message's source, whoever brought it.
    ///
    /// An answer is not answered. (A real node answers a RESPONSE.) Its session is a number of the service that is gone;
    /// the service that answered would take it for one of its own calls, and end that. So would a publisher the session of a
    /// multicast packet, which is its channel: it is told without one that the service is dead.
    pub fn handle_undeliverable(&mut self, now: Instant, envelope: Envelope) {
        self.desk.now = now;
        self.desk.intake.undeliverable += 1;
        if !matches!(envelope.kind, Kind::RESPONSE | Kind::ERROR) && !mutant::is(Mutant::MissingInSilence) {
            let (missing, sender) = (envelope.dest, envelope.source);
            let session = if envelope.kind == Kind::MULTICAST { Session::NONE } else { envelope.session };
            self.desk.reply(Envelope::error(missing, sender, session, CallError::NoService));
        }
        self.settle();
    }

    /// A delivered message found its service's mailbox full. Who waits for its answer is told by an ERROR with its session;
    /// nobody else is, since an ERROR without one would say that the service is dead.
    pub fn handle_overflow(&mut self, now: Instant, envelope: Envelope) {
        self.desk.now = now;
        self.desk.intake.overflowed += 1;
        mutant::unless(Mutant::OverflowInSilence, || self.desk.refuse(&envelope, CallError::Full));
        self.settle();
    }

    /// By handle: to its slot, or to a service of this node.
    fn send(&mut self, envelope: Envelope) {
        if !envelope.dest.is_remote(self.desk.own) {
            self.own_account.accepted += 1;
            self.own_account.delivered += 1;
            return self.desk.deliver(envelope);
        }
        let slot = &mut self.slots[envelope.dest.harbor().index()];
        let is_answer = matches!(envelope.kind, Kind::RESPONSE | Kind::ERROR);
        if self.desk.leaving && !is_answer {
            slot.refuse(envelope, Failure::Shutdown, &mut self.desk);
        } else {
            slot.send(envelope, &mut self.desk);
        }
    }

    // Time.

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come. Harmless when it has not.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.desk.now = now;
        while let Some((deadline, conn)) = self.strangers.front().copied()
            && deadline <= now
            && !mutant::is(Mutant::StrangersStay)
        {
            self.strangers.pop_front();
            self.desk.fault(conn, None, Fault::HandshakeTimeout);
        }
        for slot in &mut self.slots {
            slot.expire(&mut self.desk);
        }
        self.desk.inbound.look();
        self.expire_unproven();
        self.expire_nameless();
        self.nudges.expire(&mut self.desk);
        self.control.expire(self.settings.master_address(), &mut self.desk);
        if let Some(host) = &mut self.host {
            host.expire(&mut self.desk);
        }
        match self.phase {
            Phase::Leaving { deadline } if deadline <= now && !mutant::is(Mutant::LeaveForEver) => {
                self.abandon()
            }
            Phase::Leaving { .. } | Phase::Running | Phase::Left => {}
        }
        self.settle();
        self.desk.set_alarm(self.deadline());
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, if nothing happens before. It may turn out to
    /// be too early.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.desk.alarm()
    }

    /// When something is due, exactly.
    fn deadline(&self) -> Option<Instant> {
        let leave = match self.phase {
            Phase::Leaving { deadline } => Some(deadline),
            Phase::Running | Phase::Left => None,
        };
        let strangers = self.strangers.front().filter(|_| !mutant::is(Mutant::StrangersStay));
        let stranger = strangers.map(|(deadline, _)| *deadline);
        let slots = self.slots.iter().filter_map(|slot| slot.deadline(&self.desk));
        let host = self.host.as_ref().and_then(Host::deadline);
        let rest = [
            leave,
            stranger,
            self.nameless.deadline(),
            self.nudges.deadline(),
            self.kin.deadline(),
            self.control.deadline(),
            host,
            self.desk.look_at(),
        ];
        slots.chain(rest.into_iter().flatten()).min()
    }

    // Outputs.

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.desk.actions.pop_front();
        if action.is_none() {
            self.desk.inbound.passed();
        }
        action
    }

    /// The next connection whose outbox is no longer empty. It is not named again before it was empty once more: whoever
    /// writes stays with it until then. It may have been closed since.
    pub fn poll_transmit(&mut self) -> Option<ConnId> {
        self.desk.transmit.pop_front()
    }

    /// Whether a [`HarborRequest::Leave`](crate::message::HarborRequest) is done: everything flushed (or given up) and closed.
    pub fn has_left(&self) -> bool {
        matches!(self.phase, Phase::Left)
    }

    /// Lets the parts hear of each other until all is said. It ends: links change only by inputs, an ERROR is never
    /// answered, and the registry's machines do not talk to themselves.
    fn settle(&mut self) {
        loop {
            if let Some(change) = self.desk.link_changes.pop_front() {
                match change {
                    LinkChange::Up(id) => {
                        self.control.slave.handle_linked(self.desk.now, id);
                        self.greet_kin(id);
                    }
                    LinkChange::Down(id) => {
                        self.control.slave.handle_unlinked(self.desk.now, id);
                        if let Some(deadline) = self.control.slave.poll_timeout() {
                            self.desk.wake_at(deadline);
                        }
                        self.kin.lost(id, &mut self.desk);
                        self.vacate(id);
                    }
                    LinkChange::Left(id) => self.vacate(id),
                }
            } else if let Some(output) = self.control.slave.poll_output() {
                self.obey(output);
                if let Some(deadline) = self.control.slave.poll_timeout() {
                    self.desk.wake_at(deadline);
                }
            } else if let Some((peer, envelope)) = self.desk.kin_mail.pop_front() {
                self.kin_mail(peer, &envelope);
            } else if let Some(peer) = self.desk.inbound.admit() {
                self.slots[peer.index()].admitted(&mut self.desk);
                self.desk.inbound.end_turn();
            } else if let Some(reply) = self.desk.replies.pop_front() {
                self.send(reply);
            } else if matches!(self.phase, Phase::Leaving { .. }) && self.desk.conns_len() == 0 {
                self.left();
            } else {
                break;
            }
        }
        if let Some(look) = self.desk.look_at() {
            self.desk.wake_at(look);
        }
    }

    /// If nothing of that node is left, the master that we host gives its names to nobody. A link that lives knows better
    /// than the loss of a control link.
    fn vacate(&mut self, id: HarborId) {
        if let Some(host) = self.host.as_mut().filter(|_| !self.slots[id.index()].is_up()) {
            let own = self.settings.join.is_some().then_some(self.desk.own);
            host.lost(id, own, &mut self.desk);
        }
    }

    // What it knows.

    /// What became of the messages to this peer.
    pub fn account(&self, peer: HarborId) -> Account {
        self.slots[peer.index()].account()
    }

    /// What became of all messages of this node.
    pub fn node_account(&self) -> Account {
        let mut sum = self.own_account;
        sum.queued += self.nameless.len() as u64;
        for slot in self.slots.iter().filter(|slot| slot.is_used()) {
            sum.add(&slot.account());
        }
        sum
    }

    /// Whether every accepted message is accounted for, for each peer and for the node (H6).
    pub fn balances(&self) -> bool {
        self.node_account().balances()
            && self.slots.iter().all(|slot| !slot.is_used() || slot.account().balances())
    }

    /// What peers sent to this node.
    pub fn intake(&self) -> Intake {
        self.desk.intake
    }

    /// Calls to this peer that have no answer yet.
    pub fn pending_calls(&self, peer: HarborId) -> usize {
        self.slots[peer.index()].pending(&self.desk)
    }

    // The memory of what peers send.

    /// What messages in mailboxes hold: said by whoever performs the actions, when all are performed. While links wait for
    /// memory, [`handle_timeout`](Self::handle_timeout) wants to know it often.
    pub fn note_mailboxes(&mut self, bytes: usize) {
        self.desk.inbound.note_mailboxes(bytes);
    }

    /// Whether memory is short: whoever reads a connection asks for [`room`](Self::room) first.
    pub fn is_short_of_memory(&self) -> bool {
        self.desk.inbound.is_tight()
    }

    /// How many bytes may be read from this connection, which has some. None: it is not to be read now, which an action says
    /// too; that it has bytes was a sign of life.
    pub fn room(&mut self, now: Instant, conn: ConnId) -> usize {
        self.desk.now = now;
        match self.desk.role(conn) {
            Some(Role::Link(peer)) => {
                let room = self.slots[peer.index()].room(conn, &mut self.desk);
                self.settle();
                room
            }
            Some(Role::Stranger | Role::Nudge(_) | Role::Control | Role::Slave) | None => SHORT_READ_BYTES,
        }
    }

    /// What the memory for messages of links is used for.
    pub fn memory(&self) -> MemoryUse {
        let Desk { unsent_bytes: unsent, held_bytes: held, .. } = self.desk;
        MemoryUse { unsent, held, ..self.desk.inbound.usage() }
    }

    /// Whether the connection is one that the machine has not closed.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.desk.role(conn).is_some()
    }
}

#[cfg(test)]
mod tests;
