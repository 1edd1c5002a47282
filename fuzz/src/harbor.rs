//! Any bytes as inputs of a machine that hosts a master and is its own slave: no panic, the accounts balance after each
//! input, a link goes up and down by turns, and after its farewell nothing is open.

use skyharbor::clock::Instant;
use skyharbor::harbor::{Action, ConnId, Event, Harbor, Join, Listener, Settings};
use skyharbor::message::{Body, Envelope, HarborRequest, Payload, Waiter};
use skyharbor::{Handle, HarborId, Kind, Name, Session};
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

const OWN: u8 = 5;

/// The input, read from its front; 0 when it is used up.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn handle(&mut self) -> Handle {
        Handle::new(HarborId::new(self.byte() % 8), u32::from(self.byte()))
    }

    fn some(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (now, later) = self.0.split_at(len);
        self.0 = later;
        now
    }

    fn name(&mut self) -> Name {
        Name::new(&[b'A' + self.byte() % 4]).expect("one letter is a name")
    }

    fn waiter(&mut self) -> Waiter {
        let session = Session::from_bits(u32::from(self.byte()));
        Waiter { source: Handle::new(HarborId::new(OWN), 8), session }
    }

    fn envelope(&mut self) -> Envelope {
        let body = match self.byte() % 4 {
            0 => Body::Empty,
            _ => Body::Bytes(Payload::from(self.some())),
        };
        let (source, dest) = (Handle::new(HarborId::new(OWN), 8), self.handle());
        let session = Session::from_bits(u32::from(self.byte()));
        Envelope { source, dest, session, kind: Kind(self.byte() % 16), body }
    }
}

struct Machine {
    harbor: Harbor,
    now: Instant,
    conns: Vec<ConnId>,
    up: BTreeSet<HarborId>,
}

impl Machine {
    fn new() -> Self {
        let mut settings = Settings::new(HarborId::new(OWN));
        let (listen, master) = ("here".to_owned(), "master".to_owned());
        settings.master = Some(master.clone());
        settings.join = Some(Join { listen, advertise: None, master });
        settings.bounds.held_messages_max = 6;
        settings.bounds.pending_calls_max = 6;
        settings.bounds.unsent_bytes_max = 4096;
        let (now, conns, up) = (Instant::from_nanos(1), Vec::new(), BTreeSet::new());
        let mut machine = Self { harbor: Harbor::new(settings), now, conns, up };
        machine.harbor.start(now);
        machine.drain();
        machine
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let (now, what) = (self.now, bytes.byte());
        let place = usize::from(bytes.byte());
        let conn = self.conns.get(place % self.conns.len().max(1)).copied();
        match (what % 16, conn) {
            (0, _) => {
                let listener = if place % 2 == 0 { Listener::Links } else { Listener::Master };
                self.conns.push(self.harbor.handle_accepted(now, listener));
            }
            (1, Some(conn)) => self.harbor.handle_connected(now, conn),
            (2, Some(conn)) => {
                self.harbor.handle_connect_failed(now, conn, io::ErrorKind::ConnectionRefused);
            }
            (3, Some(conn)) => self.harbor.handle_closed(now, conn),
            (4..=7, Some(conn)) => self.harbor.handle_bytes(now, conn, bytes.some()),
            (8, Some(conn)) => {
                if let Some(outbox) = self.harbor.outbox(conn) {
                    outbox.advance(outbox.len().min(usize::from(bytes.byte())));
                }
                self.harbor.handle_sent(now, conn);
            }
            (9, _) => self.harbor.handle_send(now, bytes.envelope()),
            (10, _) => self.harbor.handle_undeliverable(now, bytes.envelope()),
            (11..=14, _) => self.harbor.handle_request(now, self.request(bytes)),
            (15, _) => {
                self.now = now + Duration::from_millis(1 << (place % 20));
                self.harbor.handle_timeout(self.now);
            }
            _ => {}
        }
        self.drain();
    }

    fn request(&self, bytes: &mut Bytes<'_>) -> HarborRequest {
        let harbor = HarborId::new(bytes.byte() % 8);
        match bytes.byte() % 8 {
            0 | 1 => HarborRequest::Send { name: bytes.name(), envelope: bytes.envelope() },
            2 => HarborRequest::Register {
                name: bytes.name(),
                handle: Handle::new(HarborId::new(OWN), u32::from(bytes.byte())),
                waiter: bytes.waiter(),
            },
            3 => {
                let deadline = self.now + Duration::from_millis(u64::from(bytes.byte()));
                HarborRequest::Query { name: bytes.name(), waiter: bytes.waiter(), deadline }
            }
            4 => HarborRequest::Link { harbor, waiter: bytes.waiter() },
            5 => HarborRequest::Connect { harbor, waiter: bytes.waiter() },
            6 => HarborRequest::LinkMaster { waiter: bytes.waiter() },
            _ => HarborRequest::Forget { waiter: bytes.waiter() },
        }
    }

    fn drain(&mut self) {
        assert!(self.harbor.balances());
        while let Some(action) = self.harbor.poll_action() {
            match action {
                Action::Listen { listener, address } => {
                    self.harbor.handle_listening(self.now, listener, Ok(address));
                }
                Action::Connect { conn, .. } => self.conns.push(conn),
                Action::Close { conn } => assert!(!self.harbor.is_open(conn)),
                Action::Event(Event::Up(peer)) => assert!(self.up.insert(peer)),
                Action::Event(Event::Down(peer, _)) => {
                    assert!(self.up.remove(&peer));
                    assert_eq!(self.harbor.pending_calls(peer), 0);
                }
                _ => {}
            }
        }
        while let Some(conn) = self.harbor.poll_transmit() {
            assert_eq!(self.harbor.outbox(conn).is_some(), self.harbor.is_open(conn));
        }
    }
}

/// One input.
pub fn check(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut machine = Machine::new();
    while !bytes.0.is_empty() {
        machine.step(&mut bytes);
    }
    machine.harbor.handle_request(machine.now, HarborRequest::Leave);
    machine.now = machine.now + Duration::from_secs(60);
    machine.harbor.handle_timeout(machine.now);
    machine.drain();
    assert!(machine.harbor.has_left() && machine.up.is_empty());
    let account = machine.harbor.node_account();
    assert_eq!((account.queued, account.in_flight), (0, 0));
}
