//! The master that this node hosts: its connections. What goes over them: `registry::Master`.

use super::desk::{Desk, LinkChange, Role};
use super::line::Line;
use super::{ConnId, Event};
use crate::clock::Instant;
use crate::message::HarborId;
use crate::registry::{Master, MasterEvent, MasterOutput};
use crate::wire::Outbox;
use std::collections::BTreeMap;

/// The master with its connections.
pub(super) struct Host {
    pub(super) master: Master,
    lines: BTreeMap<ConnId, Served>,
}

struct Served {
    line: Line,
    /// The master has done with it: it is closed when its bytes are out, or then.
    closing: Option<Instant>,
}

impl Host {
    pub(super) fn new(master: Master) -> Self {
        Self { master, lines: BTreeMap::new() }
    }

    pub(super) fn accept(&mut self, desk: &mut Desk) -> ConnId {
        let conn = desk.open(Role::Slave);
        if desk.leaving {
            desk.close(conn);
        } else {
            self.lines.insert(conn, Served { line: Line::new(conn), closing: None });
            self.master.handle_accepted(desk.now, conn);
            self.obey(desk);
        }
        conn
    }

    pub(super) fn bytes(&mut self, conn: ConnId, mut chunk: &[u8], desk: &mut Desk) {
        while let Some(served) = self.lines.get_mut(&conn)
            && served.closing.is_none()
        {
            match served.line.read(&mut chunk) {
                Ok(Some(packet)) => self.master.handle_packet(desk.now, conn, packet),
                Ok(None) => break,
                Err(fault) => self.master.handle_fault(desk.now, conn, fault),
            }
            self.obey(desk);
        }
        self.obey(desk);
    }

    /// The connection ended. A master that leaves tells nobody: its slaves live, and must not take each other for dead.
    pub(super) fn closed(&mut self, conn: ConnId, desk: &mut Desk) {
        self.lines.remove(&conn);
        if !desk.leaving {
            self.master.handle_closed(desk.now, conn);
            self.obey(desk);
        }
    }

    /// Bytes were written: a connection that only waited for that is closed.
    pub(super) fn sent(&mut self, conn: ConnId, desk: &mut Desk) {
        let is_done = self.lines.get(&conn).is_some_and(|served| {
            (served.closing.is_some() || desk.leaving) && served.line.outbox.is_empty()
        });
        if is_done {
            self.hang_up(conn, desk);
        }
    }

    fn hang_up(&mut self, conn: ConnId, desk: &mut Desk) {
        desk.close(conn);
        self.closed(conn, desk);
    }

    /// No link to that node lives. If it is no member either, its names lead to nobody.
    pub(super) fn lost(&mut self, id: HarborId, own: Option<HarborId>, desk: &mut Desk) {
        if !desk.leaving {
            self.master.handle_lost(desk.now, id, own);
            self.obey(desk);
        }
    }

    /// The node leaves: what is written goes out, then everything is closed.
    pub(super) fn leave(&mut self, desk: &mut Desk) {
        let conns: Vec<ConnId> = self.lines.keys().copied().collect();
        for conn in conns {
            self.sent(conn, desk);
        }
    }

    /// Everything is closed with whatever is unsent.
    pub(super) fn abandon(&mut self, desk: &mut Desk) {
        while let Some((conn, _)) = self.lines.pop_first() {
            desk.close(conn);
        }
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, desk: &mut Desk) {
        let now = desk.now;
        let is_late = |served: &Served| served.closing.is_some_and(|deadline| deadline <= now);
        let late: Vec<ConnId> =
            self.lines.iter().filter(|(_, served)| is_late(served)).map(|(conn, _)| *conn).collect();
        for conn in late {
            self.hang_up(conn, desk);
        }
        self.master.handle_timeout(now);
        self.obey(desk);
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let closing = self.lines.values().filter_map(|served| served.closing);
        closing.chain(self.master.poll_timeout()).min()
    }

    pub(super) fn outbox(&mut self, conn: ConnId) -> Option<&mut Outbox> {
        self.lines.get_mut(&conn).map(|served| &mut served.line.outbox)
    }

    /// Does what the master's machine wants.
    fn obey(&mut self, desk: &mut Desk) {
        while let Some(output) = self.master.poll_output() {
            match output {
                MasterOutput::SendPacket { conn, packet, trailing } => {
                    let mut line = self.lines.get_mut(&conn).map(|served| &mut served.line);
                    let reads = line.as_mut().is_none_or(|line| line.write(&packet, trailing, desk));
                    if !reads {
                        // A slave that does not read is dead to the others.
                        self.lines.remove(&conn);
                        desk.close(conn);
                        self.master.handle_closed(desk.now, conn);
                    }
                }
                MasterOutput::Close { conn } => self.close_when_sent(conn, desk),
                MasterOutput::Event(event) => {
                    if let MasterEvent::Left { id, .. } = event {
                        desk.link_changes.push_back(LinkChange::Left(id));
                    }
                    desk.event(Event::Master(event));
                }
            }
        }
        if let Some(deadline) = self.master.poll_timeout() {
            desk.wake_at(deadline);
        }
    }

    fn close_when_sent(&mut self, conn: ConnId, desk: &mut Desk) {
        let Some(served) = self.lines.get_mut(&conn) else { return };
        if served.line.outbox.is_empty() {
            self.lines.remove(&conn);
            desk.close(conn);
        } else {
            let deadline = desk.now + desk.bounds.handshake_time_max;
            served.closing = Some(deadline);
            desk.wake_at(deadline);
        }
    }
}
