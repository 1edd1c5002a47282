//! Any bytes of a linked peer, of a slave at our master, or of our master: what a machine does and writes is the same
//! whether they come whole, one by one or in pieces, and the accounts balance.
//!
//! The first byte says who writes, the second how long the pieces are.

use skyharbor::clock::Instant;
use skyharbor::harbor::{Action, ConnId, Harbor, Hello, Join, Listener, Settings};
use skyharbor::message::{Body, Envelope, Payload};
use skyharbor::wire::Slices;
use skyharbor::{Handle, HarborId, Kind, Session};
use std::collections::BTreeMap;

const OWN: u8 = 5;
const PEER: u8 = 3;

#[derive(Clone, Copy)]
enum Writer {
    Peer,
    Slave,
    Master,
}

struct Machine {
    harbor: Harbor,
    now: Instant,
    /// Dialled connections; the first one is the control link.
    dialled: Vec<ConnId>,
    /// What went to services.
    delivered: Vec<String>,
    /// What it answered to services of its own node.
    answered: Vec<String>,
    /// Everything else that it wants done.
    done: Vec<String>,
    /// A connection is closed later if it has something to write.
    closed: Vec<ConnId>,
    written: BTreeMap<ConnId, Vec<u8>>,
}

impl Machine {
    fn new(hosts: bool) -> Self {
        let mut settings = Settings::new(HarborId::new(OWN));
        let (listen, master) = ("here:1".to_owned(), "master:1".to_owned());
        settings.master = hosts.then(|| master.clone());
        settings.join = Some(Join { listen, advertise: None, master });
        settings.hello = Some(Hello { incarnation: 1, capabilities: Hello::READS_COMPRESSED });
        let now = Instant::from_nanos(1);
        let mut machine = Self {
            harbor: Harbor::new(settings),
            now,
            dialled: Vec::new(),
            delivered: Vec::new(),
            answered: Vec::new(),
            done: Vec::new(),
            closed: Vec::new(),
            written: BTreeMap::new(),
        };
        machine.harbor.start(now);
        machine.drain();
        machine
    }

    /// The connection on which bytes come, after the handshake of whoever writes them.
    fn open(&mut self, writer: Writer) -> ConnId {
        match writer {
            Writer::Peer => {
                let conn = self.harbor.handle_accepted(self.now, Listener::Links);
                self.harbor.handle_bytes(self.now, conn, &[PEER]);
                self.drain();
                (1..5).for_each(|session| self.call(session));
                conn
            }
            Writer::Slave => {
                let conn = self.harbor.handle_accepted(self.now, Listener::Master);
                let hello = b"\x0b\x0cH\x0a\x03\x34here:2";
                self.harbor.handle_bytes(self.now, conn, hello);
                self.drain();
                conn
            }
            Writer::Master => {
                let conn = self.dialled[0];
                self.harbor.handle_connected(self.now, conn);
                self.drain();
                conn
            }
        }
    }

    /// A call that waits for the peer.
    fn call(&mut self, session: u32) {
        let source = Handle::new(HarborId::new(OWN), 8 + session % 2);
        let dest = Handle::new(HarborId::new(PEER), 9);
        let body = Body::Bytes(Payload::from(&b"\x0a\x01"[..]));
        let session = Session::from_bits(session);
        self.harbor.handle_send(self.now, Envelope { source, dest, session, kind: Kind::LUA, body });
        self.drain();
    }

    fn drain(&mut self) {
        assert!(self.harbor.balances());
        while let Some(action) = self.harbor.poll_action() {
            let text = format!("{action:?}");
            match action {
                // Our own answer to a frame for nobody, which claimed to come from here.
                Action::Deliver(envelope) if envelope.source.harbor() == HarborId::new(OWN) => {
                    self.answered.push(text);
                }
                Action::Deliver(envelope) => {
                    self.delivered.push(text);
                    // Every other service does not exist. (An answer to a service of this node would be delivered
                    // behind what the same bytes brought, so it depends on the pieces.)
                    let is_from_peer = envelope.source.harbor() == HarborId::new(PEER);
                    if is_from_peer && envelope.dest.local() % 2 == 1 {
                        self.harbor.handle_undeliverable(self.now, envelope);
                    }
                }
                Action::Complete(_) => self.delivered.push(text),
                Action::Listen { listener, address } => {
                    self.harbor.handle_listening(self.now, listener, Ok(address));
                }
                Action::Connect { conn, .. } => {
                    self.dialled.push(conn);
                    self.done.push(text);
                }
                Action::Close { conn } => self.closed.push(conn),
                _ => self.done.push(text),
            }
        }
        if let Some(conn) = self.harbor.poll_transmit() {
            self.write(conn);
            self.drain();
        }
    }

    /// Writes everything, so that nothing depends on how much the connection takes.
    fn write(&mut self, conn: ConnId) {
        while let Some(outbox) = self.harbor.outbox(conn).filter(|outbox| !outbox.is_empty()) {
            let mut slices = Slices::new();
            outbox.slices(&mut slices);
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            drop(slices);
            outbox.advance(bytes.len());
            self.written.entry(conn).or_default().extend(bytes);
            self.harbor.handle_sent(self.now, conn);
        }
    }
}

fn play(writer: Writer, bytes: &[u8], piece_len: usize) -> Machine {
    let mut machine = Machine::new(matches!(writer, Writer::Slave));
    let conn = machine.open(writer);
    for piece in bytes.chunks(piece_len) {
        machine.harbor.handle_bytes(machine.now, conn, piece);
        machine.drain();
    }
    machine
}

/// One input.
pub fn check(input: &[u8]) {
    let [who, piece_len, bytes @ ..] = input else { return };
    let writer = [Writer::Peer, Writer::Slave, Writer::Master][usize::from(*who) % 3];
    let whole = play(writer, bytes, usize::MAX);
    for piece_len in [usize::from(*piece_len).max(1), 1] {
        let pieces = play(writer, bytes, piece_len);
        assert_eq!(whole.delivered, pieces.delivered);
        assert_eq!(whole.answered, pieces.answered);
        assert_eq!(whole.done, pieces.done);
        assert_eq!(whole.closed, pieces.closed);
        for (conn, written) in &whole.written {
            // What is not written when a fault closes its connection is lost; pieces leave more time to write.
            let more = pieces.written.get(conn).map_or(&[][..], |bytes| bytes);
            let is_all = pieces.harbor.is_open(*conn);
            assert!(more.starts_with(written) && (!is_all || more.len() == written.len()));
        }
    }
}
