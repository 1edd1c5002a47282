//! Our control link: when the master is dialled, and what it says.
//!
//! ```text
//!           listening                connected: H
//!  ┌──────┐ ────────▶ ┌─────────┐ ───────────────▶ ┌──────┐
//!  │ Idle │           │ Dialling│                  │ Open │   what goes over it: registry::Slave
//!  └──────┘           └─────────┘                  └──────┘
//!                       ▲     │ refused, late          │ lost, refused by the master
//!                       │     ▼                        │
//!                     ┌─────────┐                      │
//!                     │ Pause   │ ◀────────────────────┘
//!                     └─────────┘
//! ```
//!
//! Losing the master costs name changes, never traffic: nothing here touches a link between nodes that is up.

use super::backoff::Backoff;
use super::desk::{Desk, Role};
use super::line::Line;
use super::{Action, ConnId, DownReason, Event, Harbor, Listener};
use crate::clock::Instant;
use crate::message::HarborAnswer;
use crate::mutant::{self, Mutant};
use crate::registry::{Slave, SlaveEvent, SlaveOutput, SlaveState};
use crate::wire::control::Packet;
use crate::wire::{Outbox, Trailing};
use std::io;

use super::waiters::Subject;

/// The slave's end of the control link.
pub(super) struct Control {
    pub(super) slave: Slave,
    state: State,
    /// Where this node listens for links, as others shall dial it; none until it does.
    pub(super) own_address: Option<String>,
    backoff: Backoff,
}

enum State {
    /// This node does not listen yet, is no slave, or leaves.
    Idle,
    Pause(Instant),
    Dialling(ConnId, Instant),
    Open(Line),
}

impl Control {
    pub(super) fn new(slave: Slave) -> Self {
        Self { slave, state: State::Idle, own_address: None, backoff: Backoff::default() }
    }

    /// Dials the master.
    pub(super) fn dial(&mut self, master: &str, desk: &mut Desk) {
        let deadline = desk.now + desk.bounds.handshake_time_max;
        self.state = State::Dialling(desk.dial(Role::Control, master.to_owned()), deadline);
        desk.wake_at(deadline);
    }

    pub(super) fn connected(&mut self, conn: ConnId, desk: &mut Desk) {
        if let (State::Dialling(dialled, _), Some(address)) = (&self.state, &self.own_address)
            && *dialled == conn
        {
            self.state = State::Open(Line::new(conn));
            self.slave.handle_connected(desk.now, conn, address);
        }
    }

    /// The connection is gone or was never there: the master is dialled again later.
    fn pause(&mut self, desk: &mut Desk) {
        if desk.leaving || mutant::is(Mutant::MasterForgotten) {
            self.state = State::Idle;
            return;
        }
        let until = desk.now + self.backoff.pause(&desk.bounds, &mut desk.jitter);
        self.state = State::Pause(until);
        desk.wake_at(until);
    }

    pub(super) fn is_dialling(&self, conn: ConnId) -> bool {
        matches!(self.state, State::Dialling(dialled, _) if dialled == conn)
    }

    pub(super) fn connect_failed(&mut self, master: &str, kind: io::ErrorKind, desk: &mut Desk) {
        desk.event(Event::ConnectFailed { address: master.to_owned(), kind });
        self.pause(desk);
    }

    pub(super) fn bytes(&mut self, conn: ConnId, mut chunk: &[u8], desk: &mut Desk) {
        while let State::Open(line) = &mut self.state {
            match line.read(&mut chunk) {
                Ok(Some(packet)) => self.slave.handle_packet(desk.now, conn, packet),
                Ok(None) => return,
                Err(fault) => return self.slave.handle_fault(desk.now, conn, fault),
            }
        }
    }

    /// The connection ended by itself, or is closed with us.
    pub(super) fn closed(&mut self, conn: ConnId, desk: &mut Desk) {
        self.pause(desk);
        self.slave.handle_closed(desk.now, conn);
    }

    /// The registry has done with the connection, or it is of no use: it is closed, and dialled again later.
    pub(super) fn hang_up(&mut self, conn: ConnId, desk: &mut Desk) {
        if matches!(&self.state, State::Open(line) if line.conn == conn) {
            desk.close(conn);
            self.closed(conn, desk);
        }
    }

    pub(super) fn write(&mut self, packet: &Packet, trailing: Trailing, desk: &mut Desk) {
        if let State::Open(line) = &mut self.state
            && !line.write(packet, trailing, desk)
        {
            let conn = line.conn;
            self.hang_up(conn, desk);
        }
    }

    /// The node leaves: what is written goes out, then the link is closed.
    pub(super) fn leave(&mut self, desk: &mut Desk) {
        match &self.state {
            State::Open(line) if !line.outbox.is_empty() => {}
            State::Open(_) | State::Dialling(..) | State::Pause(_) | State::Idle => self.abandon(desk),
        }
    }

    /// The link is closed with whatever is unsent.
    pub(super) fn abandon(&mut self, desk: &mut Desk) {
        match &self.state {
            State::Open(line) => {
                let conn = line.conn;
                self.hang_up(conn, desk);
            }
            State::Dialling(conn, _) => desk.close(*conn),
            State::Pause(_) | State::Idle => {}
        }
        self.state = State::Idle;
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, master: &str, desk: &mut Desk) {
        match self.state {
            State::Pause(until) if until <= desk.now => self.dial(master, desk),
            State::Dialling(conn, deadline) if deadline <= desk.now => {
                desk.close(conn);
                self.connect_failed(master, io::ErrorKind::TimedOut, desk);
            }
            State::Pause(_) | State::Dialling(..) | State::Idle | State::Open(_) => {}
        }
        self.slave.handle_timeout(desk.now);
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match self.state {
            State::Pause(until) | State::Dialling(_, until) => Some(until),
            State::Idle | State::Open(_) => None,
        };
        own.into_iter().chain(self.slave.poll_timeout()).min()
    }

    pub(super) fn outbox(&mut self) -> Option<&mut Outbox> {
        match &mut self.state {
            State::Open(line) => Some(&mut line.outbox),
            State::Idle | State::Pause(_) | State::Dialling(..) => None,
        }
    }

    /// Whether the master took this node in, and is there.
    pub(super) fn is_up(&self) -> bool {
        match self.slave.state() {
            SlaveState::Joining | SlaveState::Ready => true,
            SlaveState::Apart | SlaveState::Greeting => false,
        }
    }
}

impl Harbor {
    /// Does what the slave's machine wants.
    pub(super) fn obey(&mut self, output: SlaveOutput) {
        match output {
            SlaveOutput::SendPacket { packet, trailing, .. } => {
                self.control.write(&packet, trailing, &mut self.desk);
            }
            SlaveOutput::Close { conn } => self.control.hang_up(conn, &mut self.desk),
            SlaveOutput::Relocated { id, address, hello } => {
                if let Some(begun) = hello {
                    self.begin_life(id, begun);
                }
                self.nudges.announced(id, &address, &mut self.desk);
                self.slots[id.index()].announced(address, &mut self.desk);
            }
            SlaveOutput::Dial { id, address } => {
                self.nudges.announced(id, &address, &mut self.desk);
                self.slots[id.index()].announced(address, &mut self.desk);
            }
            SlaveOutput::Kin { id } => self.greet_kin(id),
            SlaveOutput::Published { name, handle } => self.name_known(name, handle),
            SlaveOutput::Forgotten { name } => self.desk.actions.push_back(Action::Retract { name }),
            SlaveOutput::Answer { waiter, answer } => self.desk.answer(waiter, answer),
            SlaveOutput::Event(event) => self.learn(event),
        }
    }

    fn learn(&mut self, event: SlaveEvent) {
        match event {
            SlaveEvent::MasterUp => self.desk.event(Event::MasterUp),
            SlaveEvent::Joined { missing } => {
                self.control.backoff.reset();
                self.desk.event(Event::Joined { missing });
                if mutant::is(Mutant::ListenerClosed) {
                    self.desk.actions.push_back(Action::StopListening(Listener::Links));
                }
            }
            // Whoever hangs up while it greets was not refused.
            SlaveEvent::Refused { .. } if self.desk.leaving => {}
            SlaveEvent::Refused { was_ready } => self.desk.event(Event::Refused { was_ready }),
            SlaveEvent::MasterLost(loss) => {
                self.desk.event(Event::MasterDown(loss));
                if mutant::is(Mutant::LinksLostWithMaster) {
                    self.slots.iter_mut().for_each(|slot| slot.give_up(DownReason::Closed, &mut self.desk));
                }
                self.desk.answer_all(Subject::Master, &HarborAnswer::Down);
            }
            SlaveEvent::ReportedDead(id) => {
                self.nudges.died(id, &mut self.desk);
                self.slots[id.index()].dead(&mut self.desk);
            }
            SlaveEvent::NameLost { name, ours, theirs } => {
                self.desk.event(Event::NameConflict { name, ours, theirs });
            }
            other => self.desk.event(Event::Slave(other)),
        }
    }
}
