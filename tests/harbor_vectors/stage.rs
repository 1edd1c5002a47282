//! Machines that replay a transcript, the connections between them, and those of the scripted peers.
//!
//! Bytes between machines move at once and are kept, so that a sniffed scenario can be compared too. What a machine
//! writes to a scripted peer waits until a row expects it.

use skyharbor::clock::Instant;
use skyharbor::harbor::{Action, ConnId, Event, Harbor, Join, Listener, Settings};
use skyharbor::message::{Body, Envelope, Handle, HarborAnswer, HarborId, HarborRequest};
use skyharbor::wire::Slices;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

/// The address on which machine 1 hosts the master.
pub(crate) const MASTER: &str = "master:1";

/// The other end of a machine's connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Far {
    Machine(u8, ConnId),
    Script(String),
}

/// A real machine, with services that only exist.
pub(crate) struct Machine {
    pub(crate) harbor: Harbor,
    /// Local ids of its services.
    pub(crate) services: BTreeSet<u32>,
    pub(crate) delivered: Vec<Envelope>,
    pub(crate) events: Vec<Event>,
    pub(crate) answers: Vec<HarborAnswer>,
}

/// A connection of a scripted peer.
#[derive(Default)]
pub(crate) struct Script {
    machine: u8,
    conn: Option<ConnId>,
    /// What the machine wrote and no row has expected yet.
    pub(crate) unread: Vec<u8>,
    pub(crate) is_closed: bool,
}

/// All of it.
pub(crate) struct Stage {
    pub(crate) now: Instant,
    pub(crate) machines: BTreeMap<u8, Machine>,
    ends: BTreeMap<(u8, ConnId), Far>,
    pub(crate) scripts: BTreeMap<String, Script>,
    listeners: BTreeMap<String, (u8, Listener)>,
    /// What a machine that dials this address gets.
    pub(crate) peers: BTreeMap<String, String>,
    /// The master's ends of control links.
    control: BTreeSet<(u8, ConnId)>,
    /// What went between machines, by the names of both: `slave1`, `master`.
    pub(crate) sniffed: BTreeMap<(String, String), Vec<u8>>,
    /// Dialled addresses where nobody is.
    pub(crate) refused: Vec<String>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::from_nanos(1_000_000_000),
            machines: BTreeMap::new(),
            ends: BTreeMap::new(),
            scripts: BTreeMap::new(),
            listeners: BTreeMap::new(),
            peers: BTreeMap::new(),
            control: BTreeSet::new(),
            sniffed: BTreeMap::new(),
            refused: Vec::new(),
        }
    }

    /// Starts a machine; machine 1 of a stage without a scripted master hosts the master.
    pub(crate) fn start(&mut self, id: u8, listen: &str, hosts: bool) {
        let mut settings = Settings::new(HarborId::new(id));
        settings.join = Some(Join { listen: listen.to_owned(), advertise: None, master: MASTER.to_owned() });
        settings.master = hosts.then(|| MASTER.to_owned());
        let machine = Machine {
            harbor: Harbor::new(settings),
            services: BTreeSet::from([1, 6, 7, 8, 9, 10]),
            delivered: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
        };
        self.machines.insert(id, machine);
        self.with(id, |harbor, now| harbor.start(now));
    }

    /// The process of a machine is killed.
    pub(crate) fn kill(&mut self, id: u8) {
        self.machines.remove(&id);
        self.listeners.retain(|_, (machine, _)| *machine != id);
        let dead: Vec<_> = self.ends.keys().filter(|(machine, _)| *machine == id).copied().collect();
        for end in dead {
            self.hang_up(end);
        }
    }

    /// Gives an input to a machine and does what it wants done.
    pub(crate) fn with(&mut self, id: u8, input: impl FnOnce(&mut Harbor, Instant)) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&id) else { return };
        input(&mut machine.harbor, now);
        while let Some(harbor) = self.machines.get_mut(&id).map(|machine| &mut machine.harbor) {
            assert!(harbor.balances(), "the accounts of machine {id}");
            if let Some(action) = harbor.poll_action() {
                self.perform(id, action);
            } else if let Some(conn) = harbor.poll_transmit() {
                self.transmit(id, conn);
            } else {
                return;
            }
        }
    }

    /// Time passes.
    pub(crate) fn turn(&mut self, at_ms: f64) {
        let target = Instant::from_nanos(1_000_000_000 + (at_ms * 1e6) as u64);
        loop {
            let due = |machine: &Machine| machine.harbor.poll_timeout().filter(|due| *due <= target);
            let next = self.machines.iter().filter_map(|(id, machine)| Some((due(machine)?, *id))).min();
            let Some((due, id)) = next else { break };
            self.now = self.now.max(due);
            self.with(id, |harbor, now| harbor.handle_timeout(now));
        }
        self.now = self.now.max(target);
    }

    fn perform(&mut self, id: u8, action: Action) {
        let now = self.now;
        match action {
            Action::Listen { listener, address } => {
                self.listeners.insert(address.clone(), (id, listener));
                self.with(id, |harbor, _| harbor.handle_listening(now, listener, Ok(address)));
            }
            Action::StopListening(listener) => self.listeners.retain(|_, open| *open != (id, listener)),
            Action::Connect { conn, address } => self.connect(id, conn, &address),
            Action::Close { conn } => self.hang_up((id, conn)),
            Action::Deliver(envelope) | Action::Complete(envelope) => self.deliver(id, envelope),
            Action::Answer { answer, .. } => self.machine(id).answers.push(answer),
            Action::Publish { .. } | Action::Retract { .. } | Action::Probe { .. } => {}
            Action::Pause { .. } | Action::Resume { .. } => panic!("there is memory for all frames"),
            Action::Event(event) => self.machine(id).events.push(event),
        }
    }

    pub(crate) fn machine(&mut self, id: u8) -> &mut Machine {
        self.machines.get_mut(&id).expect("the machine plays in this scenario")
    }

    fn deliver(&mut self, id: u8, envelope: Envelope) {
        let machine = self.machine(id);
        if machine.services.contains(&envelope.dest.local()) {
            machine.delivered.push(envelope);
        } else {
            self.with(id, |harbor, now| harbor.handle_undeliverable(now, envelope));
        }
    }

    fn connect(&mut self, id: u8, conn: ConnId, address: &str) {
        if let Some((acceptor, listener)) = self.listeners.get(address).copied() {
            let now = self.now;
            let accepted = self.machine(acceptor).harbor.handle_accepted(now, listener);
            self.ends.insert((id, conn), Far::Machine(acceptor, accepted));
            self.ends.insert((acceptor, accepted), Far::Machine(id, conn));
            if listener == Listener::Master {
                self.control.insert((acceptor, accepted));
            }
            self.with(acceptor, |_, _| {});
            self.with(id, |harbor, now| harbor.handle_connected(now, conn));
        } else if let Some(name) = self.peers.get(address).filter(|name| !self.scripts.contains_key(*name)) {
            self.ends.insert((id, conn), Far::Script(name.clone()));
            let script = Script { machine: id, conn: Some(conn), ..Script::default() };
            self.scripts.insert(name.clone(), script);
            self.with(id, |harbor, now| harbor.handle_connected(now, conn));
        } else {
            self.refused.push(address.to_owned());
            let kind = io::ErrorKind::ConnectionRefused;
            self.with(id, |harbor, now| harbor.handle_connect_failed(now, conn, kind));
        }
    }

    /// A scripted peer connects to a machine.
    pub(crate) fn dial(&mut self, name: &str, id: u8, listener: Listener) {
        let now = self.now;
        let conn = self.machine(id).harbor.handle_accepted(now, listener);
        self.ends.insert((id, conn), Far::Script(name.to_owned()));
        let script = Script { machine: id, conn: Some(conn), ..Script::default() };
        self.scripts.insert(name.to_owned(), script);
        self.with(id, |_, _| {});
    }

    /// A scripted peer writes. A connection that the machine has closed swallows it.
    pub(crate) fn write(&mut self, name: &str, bytes: &[u8]) {
        let script = &self.scripts[name];
        if let (id, Some(conn)) = (script.machine, script.conn) {
            self.with(id, |harbor, now| harbor.handle_bytes(now, conn, bytes));
        }
    }

    /// A scripted peer closes.
    pub(crate) fn close(&mut self, name: &str) {
        let script = self.scripts.get_mut(name).expect("a connection that was made");
        if let (id, Some(conn)) = (script.machine, script.conn.take()) {
            self.ends.remove(&(id, conn));
            self.with(id, |harbor, now| harbor.handle_closed(now, conn));
        }
    }

    /// A machine writes everything that it has.
    fn transmit(&mut self, id: u8, conn: ConnId) {
        let mut bytes = Vec::new();
        while let Some(outbox) = self.machine(id).harbor.outbox(conn).filter(|outbox| !outbox.is_empty()) {
            let mut slices = Slices::new();
            outbox.slices(&mut slices);
            let written: usize = slices.iter().map(|slice| slice.len()).sum();
            slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
            drop(slices);
            outbox.advance(written);
        }
        self.with(id, |harbor, now| harbor.handle_sent(now, conn));
        match self.ends.get(&(id, conn)).cloned() {
            Some(Far::Script(name)) => {
                let script = self.scripts.get_mut(&name).expect("a connection that was made");
                script.unread.extend_from_slice(&bytes);
            }
            Some(Far::Machine(to, far)) => {
                let way = (self.role((id, conn)), self.role((to, far)));
                self.sniffed.entry(way).or_default().extend_from_slice(&bytes);
                self.with(to, |harbor, now| harbor.handle_bytes(now, far, &bytes));
            }
            None => {}
        }
    }

    /// What the sniffer calls the owner of this end.
    fn role(&self, end: (u8, ConnId)) -> String {
        if self.control.contains(&end) { "master".to_owned() } else { format!("slave{}", end.0) }
    }

    /// One end is gone; the other is told.
    fn hang_up(&mut self, end: (u8, ConnId)) {
        match self.ends.remove(&end) {
            Some(Far::Script(name)) => {
                let script = self.scripts.get_mut(&name).expect("a connection that was made");
                (script.conn, script.is_closed) = (None, true);
            }
            Some(Far::Machine(id, conn)) => {
                self.ends.remove(&(id, conn));
                self.with(id, |harbor, now| harbor.handle_closed(now, conn));
            }
            None => {}
        }
    }

    /// A service sends by handle.
    pub(crate) fn send(&mut self, id: u8, envelope: Envelope) {
        self.with(id, |harbor, now| harbor.handle_send(now, envelope));
    }

    /// A service asks.
    pub(crate) fn ask(&mut self, id: u8, request: HarborRequest) {
        self.with(id, |harbor, now| harbor.handle_request(now, request));
    }

    pub(crate) fn later(&self, secs: u64) -> Instant {
        self.now + Duration::from_secs(secs)
    }
}

/// A message of the transcript, without how it was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) source: Handle,
    pub(crate) dest: Handle,
    pub(crate) session: u32,
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn of(envelope: &Envelope) -> Option<Self> {
        let payload = match &envelope.body {
            Body::Bytes(payload) => payload.to_vec(),
            Body::Empty => Vec::new(),
            Body::Typed(_) | Body::Failure(_) => return None,
        };
        let (source, dest) = (envelope.source, envelope.dest);
        Some(Self { source, dest, session: envelope.session.bits(), kind: envelope.kind.0, payload })
    }

    /// The first frame of `bytes` and what is behind it; the receiver is node `to`. A reading of `wire.md` 4.2 that
    /// knows nothing of our decoder.
    pub(crate) fn read(bytes: &[u8], to: u8) -> Option<(Self, &[u8])> {
        let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let frame = bytes.get(4..4 + length)?;
        let (payload, trailer) = frame.split_at_checked(length.checked_sub(12)?)?;
        let word = |at: usize| u32::from_be_bytes(trailer[at..at + 4].try_into().unwrap());
        let message = Self {
            source: Handle::from_bits(word(0)),
            dest: Handle::new(HarborId::new(to), word(4) & 0x00ff_ffff),
            session: word(8),
            kind: trailer[4],
            payload: payload.to_vec(),
        };
        Some((message, &bytes[4 + length..]))
    }
}
