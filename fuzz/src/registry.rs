//! Any bytes on the control links of a master and of a slave: no panic, nothing for a connection that is closed, and
//! every waiter is answered once, and what only our kind says goes to nobody else. An odd length makes both of our kind.
//!
//! The input is a row of steps: a byte that says which, a byte for its subject, a length byte, that many bytes.

use skyharbor::clock::Instant;
use skyharbor::message::Waiter;
use skyharbor::registry::{Bounds, Master, MasterOutput, Slave, SlaveOutput};
use skyharbor::wire::control::{Decoder, Packet, encode};
use skyharbor::wire::{ConnId, Hello, Trailing};
use skyharbor::{Handle, HarborId, Name, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

struct Nodes {
    now: Instant,
    master: Master,
    /// Connections whose hello said of what kind they are.
    greeted: BTreeSet<ConnId>,
    are_kin: bool,
    links: BTreeMap<ConnId, Decoder>,
    conn_last: u64,
    slave: Slave,
    control: Option<(ConnId, Decoder)>,
    linked: BTreeSet<u8>,
    session_last: u32,
    waiting: BTreeSet<u32>,
}

impl Nodes {
    fn new(are_kin: bool) -> Self {
        let bounds = Bounds {
            names_max: 8,
            names_waited_max: 4,
            name_waiters_max: 8,
            guests_max: 4,
            ..Bounds::default()
        };
        let (mut master, mut slave) = (Master::new(bounds), Slave::new(HarborId::new(5), bounds));
        if are_kin {
            let hello = Hello { incarnation: 7, capabilities: 0 };
            master.seek_kin(hello);
            slave.seek_kin(hello);
        }
        Self {
            now: Instant::default(),
            master,
            greeted: BTreeSet::new(),
            are_kin,
            links: BTreeMap::new(),
            conn_last: 0,
            slave,
            control: None,
            linked: BTreeSet::new(),
            session_last: 0,
            waiting: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: u8, subject: u8, bytes: &[u8]) {
        match step % 10 {
            0 => {
                self.conn_last += 1;
                let conn = ConnId::new(self.conn_last);
                self.links.insert(conn, Decoder::new());
                self.master.handle_accepted(self.now, conn);
            }
            1 => self.feed_master(ConnId::new(u64::from(subject)), bytes),
            2 => {
                let conn = ConnId::new(u64::from(subject));
                if self.links.remove(&conn).is_some() {
                    self.master.handle_closed(self.now, conn);
                }
            }
            3 => {
                self.conn_last += 1;
                let conn = ConnId::new(self.conn_last);
                self.control = Some((conn, Decoder::new()));
                self.slave.handle_connected(self.now, conn, "127.0.0.1:1");
            }
            4 => self.feed_slave(bytes),
            5 => {
                if let Some((conn, _)) = self.control.take() {
                    self.slave.handle_closed(self.now, conn);
                }
            }
            6 if subject.is_multiple_of(2) => {
                self.linked.insert(subject);
                self.slave.handle_linked(self.now, HarborId::new(subject));
            }
            6 => {
                self.linked.remove(&subject);
                self.slave.handle_unlinked(self.now, HarborId::new(subject));
            }
            7 => self.ask(subject, bytes),
            8 => {
                self.waiting.remove(&subject.into());
                self.slave.handle_forget(self.now, waiter(subject.into()));
            }
            _ => {
                self.now = self.now + Duration::from_millis(u64::from(subject) * 20);
                self.master.handle_timeout(self.now);
                self.slave.handle_timeout(self.now);
            }
        }
        self.drain();
    }

    fn feed_master(&mut self, conn: ConnId, mut bytes: &[u8]) {
        while let Some(decoder) = self.links.get_mut(&conn) {
            match decoder.feed(&mut bytes) {
                Ok(Some(received)) => {
                    if Trailing::read(&received.extra).hello().is_some() {
                        self.greeted.insert(conn);
                    }
                    self.master.handle_packet(self.now, conn, received);
                }
                Ok(None) => break,
                Err(fault) => self.master.handle_fault(self.now, conn, fault),
            }
            self.drain();
        }
    }

    fn feed_slave(&mut self, mut bytes: &[u8]) {
        while let Some((conn, decoder)) = &mut self.control {
            match decoder.feed(&mut bytes) {
                Ok(Some(received)) => self.slave.handle_packet(self.now, *conn, received),
                Ok(None) => break,
                Err(fault) => self.slave.handle_fault(self.now, *conn, fault),
            }
            self.drain();
        }
    }

    fn ask(&mut self, subject: u8, bytes: &[u8]) {
        let Ok(name) = Name::new(bytes) else { return };
        let handle = Handle::new(HarborId::new(5), subject.into());
        match subject % 4 {
            0 => {
                let waiter = self.new_waiter();
                self.slave.handle_query(self.now, name, waiter, self.now + Duration::from_secs(1));
            }
            1 => {
                let waiter = self.new_waiter();
                self.slave.handle_register(self.now, name, handle, waiter);
            }
            2 => self.slave.handle_unregister(self.now, name, handle),
            _ if self.slave.handle_held(self.now, name) == Ok(None) => {
                self.slave.handle_released(self.now, name)
            }
            _ => {}
        }
    }

    fn new_waiter(&mut self) -> Waiter {
        self.session_last += 1;
        self.waiting.insert(self.session_last);
        waiter(self.session_last)
    }

    fn drain(&mut self) {
        while let Some(output) = self.master.poll_output() {
            match output {
                MasterOutput::SendPacket { conn, packet, trailing } => {
                    let may_know = self.are_kin && self.greeted.contains(&conn);
                    assert!(may_know || trailing == Trailing::Nothing, "ours goes to a real node");
                    assert!(self.links.contains_key(&conn), "a packet for a closed connection");
                    check_packet(&packet);
                }
                MasterOutput::Close { conn } => assert!(self.links.remove(&conn).is_some(), "closed twice"),
                MasterOutput::Event(_) => {}
            }
        }
        while let Some(output) = self.slave.poll_output() {
            match output {
                SlaveOutput::SendPacket { conn, packet, .. } => {
                    assert_eq!(self.control.as_ref().map(|(control, _)| *control), Some(conn));
                    check_packet(&packet);
                }
                SlaveOutput::Close { conn } => {
                    // A replaced link is closed after its successor came up.
                    if self.control.as_ref().is_some_and(|(control, _)| *control == conn) {
                        self.control = None;
                    }
                }
                SlaveOutput::Kin { .. } => assert!(self.are_kin),
                SlaveOutput::Dial { id, .. } => assert!(id.get() != 5 && !self.linked.contains(&id.get())),
                SlaveOutput::Relocated { id, .. } => assert!(self.linked.contains(&id.get())),
                SlaveOutput::Answer { waiter, .. } => {
                    assert!(
                        self.waiting.remove(&waiter.session.bits()),
                        "answered twice, or though forgotten"
                    );
                }
                SlaveOutput::Published { .. } | SlaveOutput::Forgotten { .. } | SlaveOutput::Event(_) => {}
            }
        }
        assert_eq!(self.master.members().count() + self.guests(), self.links.len());
    }

    fn guests(&self) -> usize {
        let members: BTreeSet<ConnId> = self.master.members().map(|(_, conn)| conn).collect();
        self.links.keys().filter(|conn| !members.contains(conn)).count()
    }
}

fn waiter(session: u32) -> Waiter {
    Waiter { source: Handle::from_bits(0x0500_0009), session: Session::from_bits(session) }
}

fn check_packet(packet: &Packet) {
    let mut bytes = Vec::new();
    encode(packet, &[], &mut bytes).expect("packets that the machines send fit");
}

/// One input.
pub fn check(input: &[u8]) {
    let mut nodes = Nodes::new(input.len() % 2 == 1);
    let mut rest = input;
    while let [step, subject, len, later @ ..] = rest {
        let (bytes, later) = later.split_at(later.len().min(usize::from(*len)));
        nodes.step(*step, *subject, bytes);
        rest = later;
    }
    nodes.now = nodes.now + Duration::from_secs(10);
    nodes.slave.handle_timeout(nodes.now);
    nodes.drain();
    assert!(nodes.waiting.is_empty(), "every waiter is answered in the end");
}
