//! What every part of the machine works with: the clock's reading, the bounds, the outputs, the tables that all share.

use super::inbound::Budget;
use super::pending::Pending;
use super::waiters::{Subject, Waiters};
use super::{Action, Bounds, ConnId, Event, Fault, Hello, Intake, Settings, backoff::Jitter};
use crate::clock::Instant;
use crate::limits::MEMORY_LOOK_TIME;
use crate::message::{CallError, Envelope, HarborAnswer, HarborId, Waiter};
use crate::mutant::{self, Mutant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a connection is for. Its owner keeps its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Accepted, its id byte has not come.
    Stranger,
    /// The link of this slot: dialled, in its handshake or up.
    Link(HarborId),
    /// A connection for a newcomer that may be stuck: it is closed when it is there.
    Nudge(HarborId),
    /// Our control link to the master.
    Control,
    /// A control link of a slave to the master that we host.
    Slave,
}

/// A link that came up or was lost, or a member that left the master that we host.
pub(super) enum LinkChange {
    Up(HarborId),
    Down(HarborId),
    Left(HarborId),
}

/// The shared part of the machine. Slots, names and registry get it with every call.
pub(super) struct Desk {
    pub(super) now: Instant,
    pub(super) own: HarborId,
    pub(super) bounds: Bounds,
    /// Nodes of our kind that said hello on their present link.
    pub(super) met: BTreeMap<HarborId, Hello>,
    /// Those that said themselves, on their present link, that they read compressed messages.
    pub(super) readers: BTreeSet<HarborId>,
    /// What this node tells its kind, if it looks for it.
    pub(super) hello: Option<Hello>,
    /// Payloads of so many bytes and more leave compressed, for those who read that.
    pub(super) compress: Option<usize>,
    /// The node says farewell: nothing new begins.
    pub(super) leaving: bool,
    pub(super) jitter: Jitter,
    pub(super) pending: Pending,
    pub(super) waiters: Waiters,
    pub(super) intake: Intake,
    /// The memory of what peers send.
    pub(super) inbound: Budget,
    /// Bytes held for peers that are not linked yet, all of them together.
    pub(super) held_bytes: usize,
    /// Unsent bytes of all links.
    pub(super) unsent_bytes: usize,
    /// Messages that the machine itself sends to other nodes: refusals. Routed when the current input is handled.
    pub(super) replies: VecDeque<Envelope>,
    /// Messages for the id that nodes of our kind have in common, with the peers that they came from.
    pub(super) kin_mail: VecDeque<(HarborId, Envelope)>,
    /// Links that came up or were lost, for the registry.
    pub(super) link_changes: VecDeque<LinkChange>,
    pub(super) actions: VecDeque<Action>,
    pub(super) transmit: VecDeque<ConnId>,
    conns: BTreeMap<ConnId, Role>,
    conn_last: u64,
    alarm: Option<Instant>,
}

impl Desk {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            now: Instant::default(),
            own: settings.own,
            bounds: settings.bounds.clone(),
            met: BTreeMap::new(),
            readers: BTreeSet::new(),
            hello: settings.hello,
            compress: settings.compress,
            leaving: false,
            jitter: Jitter::new(settings.seed),
            pending: Pending::new(settings.own, settings.seed),
            waiters: Waiters::default(),
            intake: Intake::default(),
            inbound: Budget::new(settings.bounds.inbound_bytes_max),
            held_bytes: 0,
            unsent_bytes: 0,
            replies: VecDeque::new(),
            kin_mail: VecDeque::new(),
            link_changes: VecDeque::new(),
            actions: VecDeque::new(),
            transmit: VecDeque::new(),
            conns: BTreeMap::new(),
            conn_last: 0,
            alarm: None,
        }
    }

    // Connections.

    /// Gives a connection its number and its role.
    pub(super) fn open(&mut self, role: Role) -> ConnId {
        self.conn_last += 1;
        let conn = ConnId::new(self.conn_last);
        self.conns.insert(conn, role);
        conn
    }

    /// Dials.
    pub(super) fn dial(&mut self, role: Role, address: String) -> ConnId {
        let conn = self.open(role);
        self.actions.push_back(Action::Connect { conn, address });
        conn
    }

    /// What the connection is for, if the machine has not closed it.
    pub(super) fn role(&self, conn: ConnId) -> Option<Role> {
        self.conns.get(&conn).copied()
    }

    pub(super) fn set_role(&mut self, conn: ConnId, role: Role) {
        self.conns.insert(conn, role);
    }

    /// The connection is gone by itself.
    pub(super) fn forget(&mut self, conn: ConnId) -> Option<Role> {
        self.conns.remove(&conn)
    }

    /// Closes a connection.
    pub(super) fn close(&mut self, conn: ConnId) {
        if self.conns.remove(&conn).is_some() {
            self.actions.push_back(Action::Close { conn });
        }
    }

    /// Connections that are not closed.
    pub(super) fn conns_len(&self) -> usize {
        self.conns.len()
    }

    /// An outbox that was empty has bytes.
    pub(super) fn transmit(&mut self, conn: ConnId) {
        self.transmit.push_back(conn);
    }

    // Time.

    /// Something ends at `deadline`: [`alarm`](Self::alarm) is no later.
    pub(super) fn wake_at(&mut self, deadline: Instant) {
        self.alarm = Some(self.alarm.map_or(deadline, |alarm| alarm.min(deadline)));
    }

    /// When the machine must be called, at the latest. It may be called in vain.
    pub(super) fn alarm(&self) -> Option<Instant> {
        self.alarm
    }

    /// Sets the alarm anew, to exactly the next deadline.
    pub(super) fn set_alarm(&mut self, alarm: Option<Instant>) {
        self.alarm = alarm;
    }

    /// When the mailboxes are looked at again, if links wait for room in them.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.inbound.is_looked_for().then(|| self.now + MEMORY_LOOK_TIME)
    }

    // Outputs.

    pub(super) fn deliver(&mut self, envelope: Envelope) {
        self.actions.push_back(Action::Deliver(envelope));
    }

    /// Delivers the answer of a call that was pending until now.
    pub(super) fn complete(&mut self, envelope: Envelope) {
        self.actions.push_back(Action::Complete(envelope));
    }

    pub(super) fn event(&mut self, event: Event) {
        self.actions.push_back(Action::Event(event));
    }

    pub(super) fn answer(&mut self, waiter: Waiter, answer: HarborAnswer) {
        self.actions.push_back(Action::Answer { waiter, answer });
    }

    /// Answers everybody who waits for this.
    pub(super) fn answer_all(&mut self, subject: Subject, answer: &HarborAnswer) {
        while let Some(waiter) = self.waiters.pop(subject) {
            mutant::when(Mutant::WaiterTwice, || self.answer(waiter, answer.clone()));
            self.answer(waiter, answer.clone());
        }
    }

    /// Closes a connection whose peer broke the protocol.
    pub(super) fn fault(&mut self, conn: ConnId, peer: Option<HarborId>, fault: Fault) {
        self.event(Event::PeerFault { conn, peer, fault });
        self.close(conn);
    }

    /// Tells whoever waits for the answer to this message that there will be none.
    pub(super) fn refuse(&mut self, envelope: &Envelope, reason: CallError) {
        if let Some(error) = envelope.refusal(reason) {
            self.reply(error);
        }
    }

    /// Delivers a message of the machine here, or sends it to its node once the current input is handled.
    pub(super) fn reply(&mut self, envelope: Envelope) {
        if envelope.dest.is_none() {
            return;
        }
        if envelope.dest.is_remote(self.own) {
            self.replies.push_back(envelope);
        } else {
            self.deliver(envelope);
        }
    }
}
