//! A played real node: how it joins, what it keeps of names, what it does wrong.

use super::frame::{ERROR, LUA, Message, RESPONSE, packet_bytes, query, register};
use super::master::Master;
use super::slots::{Slots, Status};
use super::{Do, Faults, Outcome};
use crate::clock::Instant;
use crate::sim::tcp::Door;
use crate::wire::control::{Decoder, Packet};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Between the id byte and the moment from which frames of an accepted link are read: what comes in it is lost.
const HANDOVER: Duration = Duration::from_micros(300);

const ECHO: u32 = 8;
const CALLER: u32 = 9;
const SERVICE: u32 = 7;

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Off,
    Dialling,
    Greeting,
    /// It accepts until its table has this many entries.
    Waiting(usize),
    Ready,
    /// The process has no slave: it was refused.
    Failed,
}

/// One real node.
pub struct Real {
    /// Its id.
    pub id: u8,
    /// Where it listens for links.
    pub address: String,
    /// Its process has ended.
    pub is_dead: bool,
    /// What it does otherwise than it should.
    pub faults: Faults,
    /// What it logged that is no routine.
    pub log: Vec<String>,
    /// A call that had two outcomes. Garbage may end one before it begins.
    pub ended_twice: Option<u32>,
    /// What its calls came to, by session.
    pub outcomes: BTreeMap<u32, Outcome>,
    /// What reached its services.
    pub received: Vec<Message>,
    /// Its harbor service.
    pub slots: Slots,
    /// The master, if it hosts it.
    pub master: Option<Master>,
    /// Its names: the last N, or its own registration.
    pub names: BTreeMap<String, u32>,
    /// Whether its start script runs: SERVICE was found and has answered.
    pub has_booted: bool,
    /// What it asked the master, name by name.
    pub queries: Vec<String>,
    step: Step,
    control: Option<u64>,
    decoder: Decoder,
    /// Living links have their connection, dead ones none.
    slaves: BTreeMap<u8, Option<u64>>,
    kept: BTreeMap<u8, String>,
    strangers: Vec<u64>,
    dialled: BTreeMap<u64, u8>,
    handovers: VecDeque<(Instant, u64, u8)>,
    /// What came before it accepts: a connection's first byte, or its end.
    backlog: VecDeque<(u64, Option<u8>)>,
    wishes: VecDeque<Do>,
    now: Instant,
    conn_last: u64,
    session_last: u32,
}

impl Real {
    /// A slave of the master at `master`, which it hosts or not.
    pub fn new(id: u8, hosts: bool) -> Self {
        Self {
            id,
            address: format!("node:{id}"),
            is_dead: false,
            faults: Faults::default(),
            log: Vec::new(),
            ended_twice: None,
            outcomes: BTreeMap::new(),
            received: Vec::new(),
            slots: Slots::new(id),
            master: hosts.then(Master::default),
            names: BTreeMap::new(),
            has_booted: false,
            queries: Vec::new(),
            step: Step::Off,
            control: None,
            decoder: Decoder::new(),
            slaves: BTreeMap::new(),
            kept: BTreeMap::new(),
            strangers: Vec::new(),
            dialled: BTreeMap::new(),
            handovers: VecDeque::new(),
            backlog: VecDeque::new(),
            wishes: VecDeque::new(),
            now: Instant::default(),
            conn_last: 0,
            session_last: 0,
        }
    }

    /// A slave with faults.
    pub fn faulty(id: u8, faults: Faults) -> Self {
        Self { faults, ..Self::new(id, false) }
    }

    /// The handle of one of its services.
    pub fn handle(&self, local: u32) -> u32 {
        u32::from(self.id) << 24 | local
    }

    /// Whether its join is done.
    pub fn is_ready(&self) -> bool {
        self.step == Step::Ready
    }

    /// Everything that it wrote as an error, its master's lines too.
    pub fn complaints(&self) -> Vec<String> {
        let master = self.master.iter().flat_map(|master| &master.log);
        self.log.iter().chain(&self.slots.log).chain(master).cloned().collect()
    }

    /// CALLER calls a handle.
    pub fn call(&mut self, dest: u32, payload: &[u8]) -> u32 {
        self.session_last += 1;
        let message = Message::call(self.handle(CALLER), dest, self.session_last, payload);
        self.send(message);
        self.session_last
    }

    /// CALLER calls a name: each message to an unknown one asks the master anew.
    pub fn call_name(&mut self, name: &str, payload: &[u8]) -> u32 {
        self.session_last += 1;
        let message = Message::call(self.handle(CALLER), 0, self.session_last, payload);
        match self.slots.send_name(name, message) {
            Some(message) => self.send(message),
            None => self.ask(name),
        }
        self.flush();
        self.session_last
    }

    /// A service takes a name. One that is known is an error inside the node, nothing on the wire.
    pub fn register(&mut self, name: &str, local: u32) {
        if self.names.contains_key(name) {
            return self.log.push(format!("{name} is registered"));
        }
        let handle = self.handle(local);
        self.names.insert(name.to_owned(), handle);
        self.tell(&register(name, handle));
        self.slots.update_name(name, handle);
        self.flush();
    }

    /// The link's connection, if there is or was one.
    pub fn link(&self, id: u8) -> Option<u64> {
        self.slots.conn(id)
    }

    /// Its connection to the master.
    pub fn control(&self) -> Option<u64> {
        self.control
    }

    /// Writes as its slave would, whatever it is.
    pub fn tell(&mut self, packet: &Packet) {
        if let Some(conn) = self.control {
            self.wishes.push_back(Do::Write(conn, packet_bytes(packet)));
        }
    }

    /// Bytes on any connection.
    pub fn write(&mut self, conn: u64, bytes: &[u8]) {
        self.wishes.push_back(Do::Write(conn, bytes.to_vec()));
    }

    /// Connects; the number of the connection.
    pub fn dial(&mut self, address: &str) -> u64 {
        self.conn_last += 1;
        self.wishes.push_back(Do::Connect(self.conn_last, address.to_owned()));
        self.conn_last
    }

    fn ask(&mut self, name: &str) {
        match self.names.get(name).copied() {
            Some(handle) => self.slots.update_name(name, handle),
            None => {
                self.queries.push(name.to_owned());
                self.tell(&query(name));
            }
        }
    }

    /// Its process starts.
    pub fn start(&mut self) {
        if self.master.is_some() {
            self.wishes.push_back(Do::Listen("master".to_owned(), Door::Master));
        }
        self.wishes.push_back(Do::Listen(self.address.clone(), Door::Links));
        self.step = Step::Dialling;
        self.control = Some(self.dial("master"));
    }

    /// Somebody connected.
    ///
    /// # Panics
    /// If it is asked for a master that it does not host.
    pub fn accepted(&mut self, _now: Instant, door: Door) -> u64 {
        self.conn_last += 1;
        match (door, &mut self.master) {
            (Door::Master, Some(master)) => master.accepted(self.conn_last),
            (Door::Master, None) => panic!("no master"),
            (Door::Links, _) => self.strangers.push(self.conn_last),
        }
        self.conn_last
    }

    /// A dialled connection is there.
    pub fn connected(&mut self, conn: u64) {
        if self.control == Some(conn) {
            self.step = Step::Greeting;
            let address = self.address.clone();
            return self.tell(&Packet::Hello { id: super::frame::id(self.id), address });
        }
        if let Some(id) = self.dialled.remove(&conn) {
            self.slaves.insert(id, Some(conn));
            self.slots.dialled(id, conn);
            self.flush();
        }
    }

    /// A dialled connection failed.
    pub fn refused(&mut self, conn: u64) {
        if self.control == Some(conn) {
            self.control = None;
            self.step = Step::Failed;
        }
        if let Some(id) = self.dialled.remove(&conn) {
            self.log.push(format!("Can't connect to node:{id}"));
        }
    }

    /// Bytes arrived.
    pub fn bytes(&mut self, now: Instant, conn: u64, bytes: &[u8]) {
        if let Some(master) = self.master.as_mut().filter(|master| master.owns(conn)) {
            return master.bytes(conn, bytes, &mut self.wishes);
        }
        if self.control == Some(conn) {
            self.control_bytes(bytes);
        } else if self.strangers.contains(&conn) {
            self.now = now;
            self.accept(conn, Some(bytes[0]));
        } else if self.slaves.values().any(|slave| *slave == Some(conn)) && !self.slots.owns(conn) {
            // It is being handed over: read by nobody.
        } else {
            self.slots.bytes(conn, bytes);
        }
        self.flush();
    }

    /// What comes before `W` waits in the listener's backlog, what comes after the join is closed with the listener.
    fn accept(&mut self, conn: u64, byte: Option<u8>) {
        match (&self.step, byte) {
            (Step::Off | Step::Dialling | Step::Greeting, _) => self.backlog.push_back((conn, byte)),
            (Step::Waiting(_), Some(id)) => self.greeted(conn, id),
            (Step::Waiting(_), None) => {
                self.strangers.retain(|stranger| *stranger != conn);
                self.log.push("Connection closed".to_owned());
                self.go_on_if_complete();
            }
            (Step::Ready | Step::Failed, _) => {
                self.strangers.retain(|stranger| *stranger != conn);
                self.wishes.push_back(Do::Close(conn));
            }
        }
    }

    fn control_bytes(&mut self, mut bytes: &[u8]) {
        loop {
            match self.decoder.feed(&mut bytes) {
                Ok(Some(received)) => self.told(received.packet),
                Ok(None) => return,
                Err(fault) => {
                    self.log.push(format!("Master disconnect: {fault}"));
                    return self.lose_master();
                }
            }
        }
    }

    fn lose_master(&mut self) {
        if let Some(conn) = self.control.take() {
            self.wishes.push_back(Do::Close(conn));
        }
    }

    fn told(&mut self, packet: Packet) {
        match (&self.step, packet) {
            (Step::Greeting, Packet::Wait { n: 0 }) => self.become_ready(),
            (Step::Greeting, Packet::Wait { n }) => {
                self.step = Step::Waiting(usize::from(n));
                while let Some((conn, byte)) = self.backlog.pop_front() {
                    self.accept(conn, byte);
                }
            }
            (Step::Greeting, other) => {
                self.log.push(format!("slave shakehand failed: {other:?}"));
                self.step = Step::Failed;
            }
            (Step::Waiting(_), Packet::Connect { id, address }) => {
                self.kept.insert(id.get(), address);
            }
            (_, Packet::Connect { id, address }) => self.meet(id.get(), &address),
            (_, Packet::Name { name, handle }) => {
                let text = String::from_utf8_lossy(name.as_bytes()).into_owned();
                self.names.insert(text.clone(), handle.bits());
                if self.step == Step::Ready {
                    self.name_known(&text, handle.bits());
                }
            }
            (_, Packet::Dead { id }) => {
                self.slaves.insert(id.get(), None);
            }
            (_, _) => {}
        }
    }

    fn name_known(&mut self, name: &str, handle: u32) {
        if name.is_empty() || name.len() >= 16 || handle == 0 {
            return self.log.push(format!("Invalid global name {name}"));
        }
        self.slots.update_name(name, handle);
        if name == "SERVICE" && !self.has_booted && self.master.is_none() {
            self.session_last += 1;
            let report = Message::call(self.handle(SERVICE), handle, self.session_last, b"\x34REPORT");
            self.send(report);
        }
    }

    fn meet(&mut self, id: u8, address: &str) {
        if !self.slaves.contains_key(&id) && !self.faults.never_dials {
            let conn = self.dial(address);
            self.dialled.insert(conn, id);
        }
    }

    /// The first byte of an accepted connection. What stands behind it is lost.
    fn greeted(&mut self, conn: u64, id: u8) {
        self.strangers.retain(|stranger| *stranger != conn);
        let is_new = !self.slaves.contains_key(&id);
        if !is_new {
            self.log.push(format!("Slave {id} exist"));
            self.wishes.push_back(Do::Close(conn));
        }
        if is_new {
            self.slaves.insert(id, Some(conn));
            if !self.faults.never_answers {
                self.handovers.push_back((self.now + HANDOVER + self.faults.late_answer, conn, id));
            }
        }
        self.go_on_if_complete();
    }

    /// Looked at after an incoming connection only, whatever became of it.
    fn go_on_if_complete(&mut self) {
        if matches!(self.step, Step::Waiting(n) if self.slaves.len() >= n) {
            self.become_ready();
        }
    }

    fn become_ready(&mut self) {
        self.step = Step::Ready;
        self.wishes.push_back(Do::StopListening(Door::Links));
        for (id, address) in std::mem::take(&mut self.kept) {
            self.meet(id, &address);
        }
        for (name, handle) in self.names.clone() {
            self.name_known(&name, handle);
        }
        if self.master.is_some() {
            self.has_booted = true;
            self.register("DATACENTER", 6);
            self.register("SERVICE", SERVICE);
        } else if !self.names.contains_key("SERVICE") {
            self.ask("SERVICE");
        }
    }

    /// A connection ended.
    pub fn closed(&mut self, conn: u64) {
        if let Some(master) = self.master.as_mut().filter(|master| master.owns(conn)) {
            return master.closed(conn, &mut self.wishes);
        }
        if self.control == Some(conn) {
            self.control = None;
            if self.step == Step::Greeting {
                self.step = Step::Failed;
            } else {
                self.log.push("Master disconnect".to_owned());
            }
        } else if self.strangers.contains(&conn) {
            self.accept(conn, None);
        } else if let Some(id) = self.slots.closed(conn) {
            // Marked for good, in silence; the slot goes on writing into the dead connection.
            self.slaves.insert(id, None);
        }
        self.flush();
    }

    /// Its time has come.
    pub fn timeout(&mut self, now: Instant) {
        while let Some((at, conn, id)) = self.handovers.front().copied()
            && at <= now
        {
            self.handovers.pop_front();
            let byte = self.faults.wrong_id.unwrap_or(self.id);
            self.wishes.push_back(Do::Write(conn, vec![byte]));
            self.slots.accepted(id, conn);
        }
        self.flush();
    }

    /// When it wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.handovers.front().map(|(at, _, _)| *at)
    }

    /// The next thing that it wants done.
    pub fn poll(&mut self) -> Option<Do> {
        self.wishes.pop_front()
    }

    /// One of its services sends.
    pub fn send(&mut self, message: Message) {
        self.slots.send(message);
        self.flush();
    }

    /// Does what the slots want: writes, and messages for services of this node.
    fn flush(&mut self) {
        loop {
            if let Some((conn, bytes)) = self.slots.writes.pop_front() {
                self.wishes.push_back(Do::Write(conn, bytes));
            } else if let Some((conn, id)) = self.slots.closes.pop_front() {
                debug_assert_eq!(self.slots.status(id), Status::Down);
                self.wishes.push_back(Do::Close(conn));
            } else if let Some(message) = self.slots.local.pop_front() {
                self.deliver(message);
            } else {
                return;
            }
        }
    }

    fn deliver(&mut self, message: Message) {
        match (message.dest & 0x00ff_ffff, message.kind) {
            (CALLER, RESPONSE) => self.ended(message.session, Outcome::Reply(message.payload)),
            // A service is dead; its calls have errors of their own.
            (CALLER, ERROR) if message.session == 0 => {}
            (CALLER, ERROR) => self.ended(message.session, Outcome::Error("failed".to_owned())),
            (SERVICE, RESPONSE) => self.has_booted = true,
            (SERVICE, ERROR) => self.log.push("boot failed".to_owned()),
            (ECHO | SERVICE, LUA) => {
                if message.session != 0 {
                    self.slots.send(message.answer(RESPONSE, &message.payload));
                }
                self.received.push(message);
            }
            (ECHO, _) => self.received.push(message),
            (_, kind) => {
                self.log.push(format!("Unknown destination :{:x} type({kind})", message.dest));
                if kind != ERROR {
                    self.slots.send(message.answer(ERROR, b""));
                }
            }
        }
    }

    fn ended(&mut self, session: u32, outcome: Outcome) {
        if self.outcomes.insert(session, outcome).is_some() {
            self.ended_twice = Some(session);
        }
    }
}
