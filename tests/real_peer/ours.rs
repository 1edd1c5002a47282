//! A harbor of ours in the world, with services that are played.

use skyharbor::clock::Instant;
use skyharbor::harbor::{Action, ConnId, Event, Harbor, Hello, Join, Listener, Settings};
use skyharbor::limits::COMPRESS_BYTES_MIN;
use skyharbor::message::{
    Body, Envelope, Handle, HarborAnswer, HarborId, HarborRequest, Kind, Name, Payload, Session, Waiter,
};
pub(crate) use skyharbor::sim::real::Outcome;
use skyharbor::sim::real::{Do, Door, LUA, Message, RESPONSE};
use skyharbor::wire::Slices;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

/// The service that answers every call with what it got.
pub(crate) const ECHO: u32 = 8;
/// The service that calls.
pub(crate) const CALLER: u32 = 9;

pub(crate) struct Ours {
    pub(crate) id: u8,
    pub(crate) harbor: Harbor,
    pub(crate) is_dead: bool,
    /// Whether calls to ECHO are answered.
    pub(crate) answers_calls: bool,
    pub(crate) events: Vec<Event>,
    /// Calls of CALLER by their sessions.
    pub(crate) outcomes: BTreeMap<u32, Outcome>,
    pub(crate) answers: Vec<HarborAnswer>,
    /// What reached ECHO, in order.
    pub(crate) received: Vec<Message>,
    pub(crate) names: BTreeMap<String, u32>,
    pub(crate) conns: Vec<ConnId>,
    replies: VecDeque<Envelope>,
    missing: VecDeque<Envelope>,
    listening: VecDeque<(Listener, String)>,
    session_last: u32,
}

impl Ours {
    /// A node that listens at `node:<id>`, a slave of the master at `master`, which it hosts or not.
    pub(crate) fn settings(id: u8, hosts: bool) -> Settings {
        let join = Join { listen: format!("node:{id}"), advertise: None, master: "master".to_owned() };
        let master = hosts.then(|| "master".to_owned());
        let hello = Some(Self::hello(id));
        let (join, compress, seed) = (Some(join), Some(COMPRESS_BYTES_MIN), u64::from(id));
        Settings { join, master, hello, compress, seed, ..Settings::new(HarborId::new(id)) }
    }

    /// What it says to its kind.
    pub(crate) fn hello(id: u8) -> Hello {
        Hello { incarnation: 1000 + u64::from(id), capabilities: Hello::PULSE | Hello::READS_COMPRESSED }
    }

    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            id: settings.own.get(),
            harbor: Harbor::new(settings),
            is_dead: false,
            answers_calls: true,
            events: Vec::new(),
            outcomes: BTreeMap::new(),
            answers: Vec::new(),
            received: Vec::new(),
            names: BTreeMap::new(),
            conns: Vec::new(),
            replies: VecDeque::new(),
            missing: VecDeque::new(),
            listening: VecDeque::new(),
            session_last: 0,
        }
    }

    pub(crate) fn handle(&self, local: u32) -> u32 {
        u32::from(self.id) << 24 | local
    }

    /// CALLER calls a handle; the session by which its outcome is found.
    pub(crate) fn call(&mut self, now: Instant, dest: u32, payload: &[u8]) -> u32 {
        let envelope = self.request(dest, payload);
        self.harbor.handle_send(now, envelope);
        self.session_last
    }

    /// CALLER calls a name.
    pub(crate) fn call_name(&mut self, now: Instant, name: &str, payload: &[u8]) -> u32 {
        let envelope = self.request(0, payload);
        self.harbor.handle_request(now, HarborRequest::Send { name: name_of(name), envelope });
        self.session_last
    }

    fn request(&mut self, dest: u32, payload: &[u8]) -> Envelope {
        self.session_last += 1;
        let message = Message::call(self.handle(CALLER), dest, self.session_last, payload);
        envelope(&message)
    }

    /// Takes a global name for one of this node's services.
    pub(crate) fn register(&mut self, now: Instant, name: &str, local: u32) {
        let (name, handle) = (name_of(name), Handle::from_bits(self.handle(local)));
        let waiter = Waiter { source: Handle::from_bits(self.handle(CALLER)), session: Session::NONE };
        self.harbor.handle_request(now, HarborRequest::Register { name, handle, waiter });
    }

    pub(crate) fn has_joined(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Joined { .. }))
    }

    pub(crate) fn start(&mut self, now: Instant) {
        self.harbor.start(now);
    }

    pub(crate) fn accepted(&mut self, now: Instant, door: Door) -> u64 {
        let listener = match door {
            Door::Links => Listener::Links,
            Door::Master => Listener::Master,
        };
        let conn = self.harbor.handle_accepted(now, listener);
        self.conns.push(conn);
        conn.number()
    }

    pub(crate) fn connected(&mut self, now: Instant, conn: u64) {
        self.harbor.handle_connected(now, ConnId::new(conn));
    }

    pub(crate) fn refused(&mut self, now: Instant, conn: u64) {
        self.harbor.handle_connect_failed(now, ConnId::new(conn), io::ErrorKind::ConnectionRefused);
    }

    pub(crate) fn bytes(&mut self, now: Instant, conn: u64, bytes: &[u8]) {
        self.harbor.handle_bytes(now, ConnId::new(conn), bytes);
    }

    pub(crate) fn closed(&mut self, now: Instant, conn: u64) {
        self.harbor.handle_closed(now, ConnId::new(conn));
    }

    pub(crate) fn timeout(&mut self, now: Instant) {
        self.harbor.handle_timeout(now);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.harbor.poll_timeout()
    }

    pub(crate) fn poll(&mut self, now: Instant) -> Option<Do> {
        loop {
            if let Some(action) = self.harbor.poll_action() {
                if let Some(wish) = self.perform(action) {
                    return Some(wish);
                }
            } else if let Some(conn) = self.harbor.poll_transmit() {
                let bytes = self.unsent(conn);
                self.harbor.handle_sent(now, conn);
                return Some(Do::Write(conn.number(), bytes));
            } else if let Some((listener, address)) = self.listening.pop_front() {
                self.harbor.handle_listening(now, listener, Ok(address));
            } else if let Some(envelope) = self.missing.pop_front() {
                self.harbor.handle_undeliverable(now, envelope);
            } else {
                let reply = self.replies.pop_front()?;
                self.harbor.handle_send(now, reply);
            }
        }
    }

    fn perform(&mut self, action: Action) -> Option<Do> {
        let door = |listener| match listener {
            Listener::Links => Door::Links,
            Listener::Master => Door::Master,
        };
        match action {
            Action::Listen { listener, address } => {
                self.listening.push_back((listener, address.clone()));
                return Some(Do::Listen(address, door(listener)));
            }
            Action::StopListening(listener) => return Some(Do::StopListening(door(listener))),
            Action::Connect { conn, address } => {
                self.conns.push(conn);
                return Some(Do::Connect(conn.number(), address));
            }
            Action::Close { conn } => return Some(Do::Close(conn.number())),
            // The connections of this world do not die in silence, and there is memory for all frames.
            Action::Probe { .. } | Action::Pause { .. } | Action::Resume { .. } => {}
            Action::Deliver(envelope) | Action::Complete(envelope) => self.deliver(envelope),
            Action::Answer { answer, .. } => self.answers.push(answer),
            Action::Publish { name, handle } => {
                self.names.insert(name.to_string(), handle.bits());
            }
            Action::Retract { name } => {
                self.names.remove(&name.to_string());
            }
            Action::Event(event) => self.events.push(event),
        }
        None
    }

    fn deliver(&mut self, envelope: Envelope) {
        match (envelope.dest.local(), envelope.kind.0) {
            (CALLER, _) => {
                let outcome = match &envelope.body {
                    Body::Failure(error) => Outcome::Error(format!("{error:?}")),
                    Body::Bytes(payload) if envelope.kind == Kind::RESPONSE => {
                        Outcome::Reply(payload.to_vec())
                    }
                    Body::Empty if envelope.kind == Kind::RESPONSE => Outcome::Reply(Vec::new()),
                    Body::Bytes(_) | Body::Empty | Body::Typed(_) => Outcome::Error("Remote".to_owned()),
                };
                let before = self.outcomes.insert(envelope.session.bits(), outcome);
                assert_eq!(before, None, "call {} ended twice", envelope.session.bits());
            }
            (ECHO, kind) => {
                let message = message(&envelope);
                if kind == LUA && message.session != 0 && self.answers_calls {
                    self.replies.push_back(self::envelope(&message.answer(RESPONSE, &message.payload)));
                }
                self.received.push(message);
            }
            _ => self.missing.push_back(envelope),
        }
    }

    fn unsent(&mut self, conn: ConnId) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(outbox) = self.harbor.outbox(conn).filter(|outbox| !outbox.is_empty()) {
            let mut slices = Slices::new();
            outbox.slices(&mut slices);
            let before = bytes.len();
            slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
            drop(slices);
            outbox.advance(bytes.len() - before);
        }
        bytes
    }
}

pub(crate) fn name_of(name: &str) -> Name {
    name.parse().unwrap()
}

fn envelope(message: &Message) -> Envelope {
    let body = match message.payload.is_empty() {
        true => Body::Empty,
        false => Body::Bytes(Payload::from_vec(message.payload.clone())),
    };
    let (source, dest) = (Handle::from_bits(message.source), Handle::from_bits(message.dest));
    Envelope { source, dest, session: Session::from_bits(message.session), kind: Kind(message.kind), body }
}

fn message(envelope: &Envelope) -> Message {
    let payload = match &envelope.body {
        Body::Bytes(payload) => payload.to_vec(),
        Body::Empty | Body::Typed(_) | Body::Failure(_) => Vec::new(),
    };
    let (source, dest) = (envelope.source.bits(), envelope.dest.bits());
    Message { source, dest, kind: envelope.kind.0, session: envelope.session.bits(), payload }
}

/// How long a world needs until everybody has heard everything, in the healthy case.
pub(crate) const SETTLED: Duration = Duration::from_secs(3);
