//! The connections: dialled, up, and those whose last bytes are on their way.
//!
//! ```text
//!  connect() ─► Resolving ─► Connecting ─┬─► Up ──── close() ────► Lingering ─► gone
//!       │           │    ▲        │      │   │                         ▲
//!       │           │    └ next ──┘      │   └─ end or error ─► gone   └ end of the peer, or LINGER_TIME_MAX
//!       └───────────┴─ failed, too late ─┴─► gone
//!                               adopt() ─┘
//! ```
//!
//! Writing on a connection that is up:
//!
//! ```text
//!        queue()             write(): socket full            writable
//!  Idle ─────────► Queued ─────────────────────────► Blocked ─────────► Queued
//!    ▲                │ └─ write(): error ─► Broken: what the peer sent is read to its end, then it is gone
//!    └── all written ─┘
//! ```
//!
//! A socket that is closed while bytes of its peer lie unread sends a reset, and the reset may destroy our last bytes on
//! the other side. So a connection that the machine closes says that it writes no more, and its peer's bytes are read and
//! dropped until the peer has closed too.

use super::counters::IoCount;
use super::reactor::{Key, Reactor, Resolution};
use super::registration::{Interest, Registration};
use super::resolver::Addresses;
use super::sockets;
use crate::clock::Instant;
use crate::harbor::ConnId;
use crate::limits::{CONNECT_TIME_MAX, LINGER_TIME_MAX, LINGERING_MAX, WRITES_MAX};
use crate::wire::{Outbox, Slices};
use socket2::Socket;
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;

#[derive(Debug)]
enum Stage {
    /// The resolver was asked.
    Resolving { until: Instant },
    /// Dialling one address; `rest` are the others, the next one last.
    Connecting { socket: Registration, rest: Addresses, until: Instant },
    /// Bytes flow.
    Up { socket: Registration, writing: Writing },
    /// Closed by the machine; its peer has not closed yet.
    Lingering { socket: Registration, until: Instant },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Idle,
    Queued,
    Blocked,
    Broken,
}

#[derive(Debug)]
struct Connection {
    conn: ConnId,
    stage: Stage,
}

/// What became of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    /// Nothing to tell.
    Nothing,
    /// It is up.
    Connected(ConnId),
    /// All its addresses failed; it is forgotten.
    ConnectFailed(ConnId, ErrorKind),
    /// It brought bytes.
    Bytes(ConnId, &'a [u8]),
    /// It ended; it is forgotten.
    Closed(ConnId),
}

/// All connections of the node.
#[derive(Default)]
pub(super) struct Connections {
    table: HashMap<Key, Connection>,
    /// Those whose `writing` is `Queued`, and a few that are gone or closed.
    queued: VecDeque<ConnId>,
    lingering: usize,
}

impl Connections {
    /// Dials.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        conn: ConnId,
        address: &str,
    ) -> Outcome<'static> {
        match reactor.resolve(Key::conn(conn), address) {
            Ok(Resolution::Done(addresses)) => self.dial(now, reactor, conn, addresses, ErrorKind::NotFound),
            Ok(Resolution::Asked) => {
                let until = now + CONNECT_TIME_MAX;
                reactor.wake_at(until, Key::conn(conn));
                self.table.insert(Key::conn(conn), Connection { conn, stage: Stage::Resolving { until } });
                Outcome::Nothing
            }
            Err(kind) => Self::dial_failed(reactor, conn, kind),
        }
    }

    /// The resolver's answer. It may come too late.
    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        key: Key,
        addresses: Result<Addresses, ErrorKind>,
    ) -> Outcome<'static> {
        match self.table.remove(&key) {
            Some(Connection { conn, stage: Stage::Resolving { .. } }) => match addresses {
                Ok(mut addresses) => {
                    addresses.reverse();
                    self.dial(now, reactor, conn, addresses, ErrorKind::NotFound)
                }
                Err(kind) => Self::dial_failed(reactor, conn, kind),
            },
            Some(other) => {
                self.table.insert(key, other);
                Outcome::Nothing
            }
            None => Outcome::Nothing,
        }
    }

    /// Dials the last of these addresses, or one before it if that fails at once; `failure` is why the one after it failed.
    fn dial(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        conn: ConnId,
        mut addresses: Addresses,
        mut failure: ErrorKind,
    ) -> Outcome<'static> {
        let key = Key::conn(conn);
        while let Some(address) = addresses.pop() {
            reactor.count(IoCount::Dials, 1);
            let dialling =
                sockets::dial(address).and_then(|socket| reactor.register(socket, key, Interest::Write));
            match dialling {
                Ok(socket) => {
                    let until = now + CONNECT_TIME_MAX;
                    reactor.wake_at(until, key);
                    let stage = Stage::Connecting { socket, rest: addresses, until };
                    self.table.insert(key, Connection { conn, stage });
                    return Outcome::Nothing;
                }
                Err(error) => failure = error.kind(),
            }
        }
        Self::dial_failed(reactor, conn, failure)
    }

    fn dial_failed(reactor: &Reactor, conn: ConnId, kind: ErrorKind) -> Outcome<'static> {
        reactor.count(IoCount::DialFailures, 1);
        Outcome::ConnectFailed(conn, kind)
    }

    /// Takes over an accepted socket.
    ///
    /// # Errors
    /// The poller's; the socket is closed then.
    pub(super) fn adopt(&mut self, reactor: &Reactor, conn: ConnId, socket: Socket) -> io::Result<()> {
        let socket = reactor.register(socket, Key::conn(conn), Interest::Read)?;
        let stage = Stage::Up { socket, writing: Writing::Idle };
        self.table.insert(Key::conn(conn), Connection { conn, stage });
        Ok(())
    }

    /// Closes a connection; what was not handed to the system is not sent.
    pub(super) fn close(&mut self, now: Instant, reactor: &mut Reactor, conn: ConnId) {
        let key = Key::conn(conn);
        let Some(Connection { stage: Stage::Up { mut socket, writing }, .. }) = self.table.remove(&key)
        else {
            return;
        };
        let lingers = writing != Writing::Broken
            && self.lingering < LINGERING_MAX
            && socket.socket().shutdown(Shutdown::Write).is_ok()
            && socket.watch(Interest::Read).is_ok();
        if lingers {
            let until = now + LINGER_TIME_MAX;
            reactor.wake_at(until, key);
            self.table.insert(key, Connection { conn, stage: Stage::Lingering { socket, until } });
            self.lingering += 1;
        }
    }

    /// Something happened to a socket. Reads at most once into `buffer`: what is left is reported again, after the others.
    pub(super) fn handle_event<'a>(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        event: &polling::Event,
        buffer: &'a mut [u8],
    ) -> Outcome<'a> {
        let key = Key::of(event);
        // Closed by an earlier event of the same wait.
        let Some(Connection { conn, stage }) = self.table.get_mut(&key) else { return Outcome::Nothing };
        let conn = *conn;
        match stage {
            Stage::Resolving { .. } => Outcome::Nothing,
            Stage::Connecting { socket, .. } => match sockets::dialled(socket.socket()) {
                None => Outcome::Nothing,
                Some(result) => self.decide(now, reactor, key, result),
            },
            Stage::Up { socket, writing } => {
                if event.writable && *writing == Writing::Blocked {
                    *writing = Writing::Queued;
                    self.queued.push_back(conn);
                }
                if !event.readable {
                    return Outcome::Nothing;
                }
                match read(socket, buffer, reactor) {
                    Some(0) => {
                        self.table.remove(&key);
                        Outcome::Closed(conn)
                    }
                    Some(len) => Outcome::Bytes(conn, &buffer[..len]),
                    None => Outcome::Nothing,
                }
            }
            Stage::Lingering { socket, .. } => {
                if read(socket, buffer, reactor) == Some(0) {
                    self.table.remove(&key);
                    self.lingering -= 1;
                }
                Outcome::Nothing
            }
        }
    }

    /// A dialled connection is up, or its address failed and the next one is tried.
    fn decide(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        key: Key,
        result: io::Result<()>,
    ) -> Outcome<'static> {
        let Some(Connection { conn, stage: Stage::Connecting { mut socket, rest, .. } }) =
            self.table.remove(&key)
        else {
            return Outcome::Nothing;
        };
        match result.and_then(|()| socket.watch(Interest::Read)) {
            Ok(()) => {
                self.table
                    .insert(key, Connection { conn, stage: Stage::Up { socket, writing: Writing::Idle } });
                self.queue(conn);
                Outcome::Connected(conn)
            }
            Err(error) => {
                drop(socket);
                self.dial(now, reactor, conn, rest, error.kind())
            }
        }
    }

    /// A deadline of this connection may have come.
    pub(super) fn handle_deadline(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        key: Key,
    ) -> Outcome<'static> {
        let Some(Connection { conn, stage }) = self.table.get(&key) else { return Outcome::Nothing };
        let conn = *conn;
        match stage {
            Stage::Resolving { until } if *until <= now => {
                self.table.remove(&key);
                Self::dial_failed(reactor, conn, ErrorKind::TimedOut)
            }
            Stage::Connecting { until, .. } if *until <= now => {
                self.decide(now, reactor, key, Err(ErrorKind::TimedOut.into()))
            }
            Stage::Lingering { until, .. } if *until <= now => {
                self.table.remove(&key);
                self.lingering -= 1;
                Outcome::Nothing
            }
            Stage::Resolving { .. }
            | Stage::Connecting { .. }
            | Stage::Lingering { .. }
            | Stage::Up { .. } => Outcome::Nothing,
        }
    }

    /// The outbox of this connection has bytes.
    pub(super) fn queue(&mut self, conn: ConnId) {
        if let Some(Connection { stage: Stage::Up { writing, .. }, .. }) =
            self.table.get_mut(&Key::conn(conn))
            && *writing == Writing::Idle
        {
            *writing = Writing::Queued;
            self.queued.push_back(conn);
        }
    }

    /// How many wait for [`write`](Self::write).
    pub(super) fn queued(&self) -> usize {
        self.queued.len()
    }

    /// The next one to write to.
    pub(super) fn poll_queued(&mut self) -> Option<ConnId> {
        self.queued.pop_front()
    }

    /// Writes what the socket takes of the outbox; how many bytes.
    pub(super) fn write(&mut self, reactor: &Reactor, conn: ConnId, outbox: Option<&mut Outbox>) -> usize {
        let Some(Connection { stage: Stage::Up { socket, writing }, .. }) =
            self.table.get_mut(&Key::conn(conn))
        else {
            return 0;
        };
        let (result, bytes) = match outbox {
            Some(outbox) => write_out(socket.socket(), outbox, reactor),
            None => (Ok(Writing::Idle), 0),
        };
        let interest = |now| match now {
            Writing::Blocked | Writing::Queued => Interest::Both,
            Writing::Idle | Writing::Broken => Interest::Read,
        };
        *writing = match result {
            Ok(Writing::Queued) => {
                self.queued.push_back(conn);
                Writing::Queued
            }
            // If it cannot be watched for room, it is of no use any more.
            Ok(now) if socket.watch(interest(now)).is_ok() => now,
            Ok(_) | Err(_) => {
                // From now on reads bring what is there already and then the end.
                let _ = socket.socket().shutdown(Shutdown::Both);
                Writing::Broken
            }
        };
        bytes
    }

    /// How many were closed by the machine and not yet by their peers.
    pub(super) fn lingering(&self) -> usize {
        self.lingering
    }

    /// Drops all. Those that the machine has not closed.
    pub(super) fn drop_all(&mut self) -> Vec<ConnId> {
        self.queued.clear();
        self.lingering = 0;
        let dropped = self.table.drain().map(|(_, connection)| connection);
        let mut open: Vec<_> = dropped
            .filter(|connection| !matches!(connection.stage, Stage::Lingering { .. }))
            .map(|connection| connection.conn)
            .collect();
        open.sort_unstable();
        open
    }
}

/// Writes until the outbox is empty, the socket is full, or the others want their turn.
fn write_out(socket: &Socket, outbox: &mut Outbox, reactor: &Reactor) -> (io::Result<Writing>, usize) {
    let mut bytes = 0;
    for _ in 0..WRITES_MAX {
        if outbox.is_empty() {
            return (Ok(Writing::Idle), bytes);
        }
        let mut slices = Slices::new();
        outbox.slices(&mut slices);
        let offered = slices.iter().map(|slice| slice.len()).sum::<usize>();
        reactor.count(IoCount::Writes, 1);
        match sockets::write(socket, &slices) {
            Ok(0) => return (Err(ErrorKind::WriteZero.into()), bytes),
            Ok(written) => {
                drop(slices);
                outbox.advance(written);
                bytes += written;
                reactor.count(IoCount::WrittenBytes, written as u64);
                if written < offered {
                    reactor.count(IoCount::PartialWrites, 1);
                    return (Ok(Writing::Blocked), bytes);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (Ok(Writing::Blocked), bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (Err(error), bytes),
        }
    }
    (Ok(if outbox.is_empty() { Writing::Idle } else { Writing::Queued }), bytes)
}

/// Reads once: how many bytes, 0 at the end of the stream, however it ended; none if there is nothing now.
fn read(socket: &Registration, buffer: &mut [u8], reactor: &Reactor) -> Option<usize> {
    reactor.count(IoCount::Reads, 1);
    match socket.socket().read(buffer) {
        Ok(len) => {
            reactor.count(IoCount::ReadBytes, len as u64);
            Some(len)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
        Err(_) => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harbor::{self, Harbor, Listener};
    use crate::message::{Body, Envelope, Handle, HarborId, Kind, Payload, Session};
    use crate::net::PollerBell;
    use crate::net::resolver::Resolver;
    use socket2::{Domain, Type};
    use std::io::Write;
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    const NOW: Instant = Instant::from_nanos(1_000_000_000);
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Connections with a poller, and nobody who decides.
    struct Stand {
        reactor: Reactor,
        connections: Connections,
        harbor: Harbor,
        buffer: Vec<u8>,
    }

    /// An outcome with its bytes.
    #[derive(Debug, PartialEq, Eq)]
    enum Told {
        Connected,
        ConnectFailed(ErrorKind),
        Bytes(Vec<u8>),
        Closed,
    }

    fn told(outcome: Outcome<'_>) -> Option<Told> {
        match outcome {
            Outcome::Nothing => None,
            Outcome::Connected(_) => Some(Told::Connected),
            Outcome::ConnectFailed(_, kind) => Some(Told::ConnectFailed(kind)),
            Outcome::Bytes(_, bytes) => Some(Told::Bytes(bytes.to_vec())),
            Outcome::Closed(_) => Some(Told::Closed),
        }
    }

    impl Stand {
        fn new() -> (Self, Resolver) {
            let (reactor, resolver) = Reactor::new(PollerBell::new().unwrap());
            let harbor = Harbor::new(harbor::Settings::new(HarborId::SINGLE));
            let connections = Connections::default();
            (Self { reactor, connections, harbor, buffer: vec![0; 64 << 10] }, resolver)
        }

        fn conn(&mut self) -> ConnId {
            self.harbor.handle_accepted(NOW, Listener::Links)
        }

        /// A connection that is up, and its peer's end.
        fn link(&mut self) -> (ConnId, TcpStream) {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            let socket = Socket::from(listener.accept().unwrap().0);
            socket.set_nonblocking(true).unwrap();
            let conn = self.conn();
            self.connections.adopt(&self.reactor, conn, socket).unwrap();
            (conn, peer)
        }

        fn socket(&self, conn: ConnId) -> &Socket {
            match &self.connections.table[&Key::conn(conn)].stage {
                Stage::Up { socket, .. } => socket.socket(),
                stage => panic!("not up: {stage:?}"),
            }
        }

        fn writing(&self, conn: ConnId) -> Writing {
            match self.connections.table[&Key::conn(conn)].stage {
                Stage::Up { writing, .. } => writing,
                ref stage => panic!("not up: {stage:?}"),
            }
        }

        /// What the events of one wait came to. Events without an outcome are allowed.
        fn wait(&mut self, patience: Duration) -> Vec<Told> {
            let mut events = polling::Events::new();
            self.reactor.poller().wait(&mut events, Some(patience)).unwrap();
            let Self { reactor, connections, buffer, .. } = self;
            let handle = |event| told(connections.handle_event(NOW, reactor, &event, buffer));
            events.iter().filter_map(handle).collect()
        }

        /// Waits until there is an outcome.
        fn next(&mut self) -> Told {
            for _ in 0..1000 {
                let mut all = self.wait(PATIENCE);
                if !all.is_empty() {
                    assert_eq!(all.len(), 1, "{all:?}");
                    return all.remove(0);
                }
            }
            panic!("nothing happens");
        }

        fn connect(&mut self, conn: ConnId, address: &str) -> Option<Told> {
            told(self.connections.connect(NOW, &mut self.reactor, conn, address))
        }

        fn flush(&mut self, conn: ConnId, outbox: &mut Outbox) -> usize {
            while self.connections.poll_queued().is_some() {}
            self.connections.write(&self.reactor, conn, Some(outbox))
        }
    }

    fn frame(len: usize) -> Envelope {
        let body = Body::Bytes(Payload::from_vec((0..len).map(|at| (at * 7 + len) as u8).collect()));
        let (source, dest) = (Handle::from_bits(0x0300_0007), Handle::from_bits(0x0200_0008));
        Envelope { source, dest, session: Session::from_bits(7), kind: Kind::LUA, body }
    }

    fn bytes_of(outbox: &Outbox) -> Vec<u8> {
        let mut slices = Slices::new();
        outbox.slices(&mut slices);
        slices.iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    /// An address on which nobody listens, as long as the socket lives.
    fn nowhere() -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[test]
    fn a_slow_reader_and_a_tiny_send_buffer_lose_nothing() {
        let (mut stand, _resolver) = Stand::new();
        let (conn, mut peer) = stand.link();
        peer.set_nonblocking(true).unwrap();
        stand.socket(conn).set_send_buffer_size(1).unwrap();
        let mut outbox = Outbox::new();
        for len in [10, 1 << 20, 0, 1024, 1025, 300_000, 64] {
            outbox.push_frame(frame(len)).unwrap();
        }
        let expected = bytes_of(&outbox);
        let mut got = Vec::new();
        let mut piece = vec![0; 50_000];
        stand.connections.queue(conn);
        while got.len() < expected.len() {
            if stand.connections.queued() > 0 {
                stand.flush(conn, &mut outbox);
            }
            match peer.read(&mut piece) {
                Ok(len) => got.extend_from_slice(&piece[..len]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    assert_eq!(stand.writing(conn), Writing::Blocked);
                    assert_eq!(stand.wait(PATIENCE), []);
                }
            }
        }
        assert!(got == expected);
        let counts = stand.reactor.counters().read();
        assert!(counts[IoCount::PartialWrites] > 10, "{counts:?}");
        assert_eq!(counts[IoCount::WrittenBytes], expected.len() as u64);
    }

    #[test]
    fn room_to_write_is_watched_for_only_while_it_is_missing() {
        let (mut stand, _resolver) = Stand::new();
        let (conn, mut peer) = stand.link();
        let mut outbox = Outbox::new();
        outbox.push_frame(frame(16 << 10)).unwrap();
        assert!(stand.flush(conn, &mut outbox) > 16 << 10);
        assert_eq!(stand.wait(Duration::ZERO), []);
        assert_eq!(stand.connections.queued(), 0);
        outbox.push_frame(frame((16 << 20) - 100)).unwrap();
        stand.flush(conn, &mut outbox);
        assert_eq!(stand.writing(conn), Writing::Blocked, "no buffer takes 16 MB");
        stand.connections.queue(conn);
        assert_eq!(stand.connections.queued(), 0, "it waits for room");
        let total = outbox.len() + stand.reactor.counters().read()[IoCount::WrittenBytes] as usize;
        let reader = std::thread::Builder::new().spawn(move || {
            let mut sum = 0;
            while sum < total {
                sum += peer.read(&mut vec![0; 1 << 20]).unwrap();
            }
            peer
        });
        while !outbox.is_empty() {
            assert_eq!(stand.wait(PATIENCE), []);
            stand.flush(conn, &mut outbox);
        }
        let _peer = reader.unwrap().join().unwrap();
        assert_eq!(stand.writing(conn), Writing::Idle);
        assert_eq!(stand.wait(Duration::ZERO), []);
        assert_eq!(stand.connections.queued(), 0, "room is no event any more");
    }

    #[test]
    fn a_refused_connection_says_so() {
        let (mut stand, _resolver) = Stand::new();
        let (conn, (_socket, nowhere)) = (stand.conn(), nowhere());
        let outcome = stand.connect(conn, &nowhere.to_string()).unwrap_or_else(|| stand.next());
        assert_eq!(outcome, Told::ConnectFailed(ErrorKind::ConnectionRefused));
        assert!(stand.connections.table.is_empty());
        assert_eq!(
            stand.connect(conn, "no port"),
            Some(Told::ConnectFailed(ErrorKind::InvalidInput)),
            "an address from a peer may be anything"
        );
    }

    #[test]
    fn the_addresses_of_a_name_are_tried_in_order() {
        let (mut stand, _resolver) = Stand::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let conn = stand.conn();
        stand
            .connections
            .table
            .insert(Key::conn(conn), Connection { conn, stage: Stage::Resolving { until: NOW } });
        let (_socket, nowhere) = nowhere();
        let addresses = vec![nowhere, listener.local_addr().unwrap(), nowhere];
        let outcome =
            stand.connections.handle_answer(NOW, &mut stand.reactor, Key::conn(conn), Ok(addresses));
        assert_eq!(told(outcome).unwrap_or_else(|| stand.next()), Told::Connected);
        listener.accept().unwrap();
        assert_eq!(stand.reactor.counters().read()[IoCount::Dials], 2);
    }

    #[test]
    fn localhost_is_resolved_and_dialled() {
        let (mut stand, resolver) = Stand::new();
        let listener = TcpListener::bind(("localhost", 0)).unwrap();
        let conn = stand.conn();
        let address = format!("localhost:{}", listener.local_addr().unwrap().port());
        assert_eq!(stand.connect(conn, &address), None);
        std::thread::Builder::new().spawn(|| resolver.run()).unwrap();
        assert_eq!(stand.wait(PATIENCE), [], "the resolver rings");
        let answer = stand.reactor.poll_answer().expect("it rang for its answer");
        let outcome = stand.connections.handle_answer(NOW, &mut stand.reactor, answer.key, answer.addresses);
        assert_eq!(told(outcome).unwrap_or_else(|| stand.next()), Told::Connected);
    }

    #[test]
    fn an_answer_that_comes_too_late_is_dropped() {
        let (mut stand, _resolver) = Stand::new();
        let (conn, key) = (stand.conn(), Key::conn(stand.harbor.handle_accepted(NOW, Listener::Links)));
        assert_eq!(stand.connect(conn, "localhost:1"), None);
        let too_late = NOW + CONNECT_TIME_MAX;
        assert_eq!(stand.reactor.poll_expired(NOW), None);
        assert_eq!(stand.reactor.poll_expired(too_late), Some(Key::conn(conn)));
        let outcome = stand.connections.handle_deadline(too_late, &mut stand.reactor, Key::conn(conn));
        assert_eq!(told(outcome), Some(Told::ConnectFailed(ErrorKind::TimedOut)));
        for key in [Key::conn(conn), key] {
            let outcome = stand.connections.handle_answer(NOW, &mut stand.reactor, key, Ok(Vec::new()));
            assert_eq!(outcome, Outcome::Nothing);
        }
    }

    #[test]
    fn a_peer_that_does_not_answer_is_given_up_and_the_next_address_is_tried() {
        let (mut stand, _resolver) = Stand::new();
        // A listener whose backlog is full leaves the next connection undecided.
        let listener = sockets::listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        listener.listen(0).unwrap();
        let full = listener.local_addr().unwrap().as_socket().unwrap();
        let _waiting = TcpStream::connect(full).unwrap();
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let conn = stand.conn();
        let addresses = vec![other.local_addr().unwrap(), full];
        let outcome = stand.connections.dial(NOW, &mut stand.reactor, conn, addresses, ErrorKind::NotFound);
        assert_eq!(outcome, Outcome::Nothing);
        assert_eq!(stand.wait(Duration::ZERO), []);
        let late = NOW + CONNECT_TIME_MAX;
        let outcome = stand.connections.handle_deadline(late, &mut stand.reactor, Key::conn(conn));
        assert_eq!(told(outcome).unwrap_or_else(|| stand.next()), Told::Connected);
    }

    #[test]
    fn a_closed_dial_is_forgotten() {
        let (mut stand, _resolver) = Stand::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let conn = stand.conn();
        assert_eq!(stand.connect(conn, &listener.local_addr().unwrap().to_string()), None);
        stand.connections.close(NOW, &mut stand.reactor, conn);
        assert_eq!(stand.wait(Duration::ZERO), []);
        assert!(stand.connections.table.is_empty());
    }

    #[test]
    fn what_a_peer_sent_before_it_reset_is_read_first() {
        let (mut stand, _resolver) = Stand::new();
        let (_, mut peer) = stand.link();
        let half = &bytes_of(&{
            let mut outbox = Outbox::new();
            outbox.push_frame(frame(1000)).unwrap();
            outbox
        })[..500];
        peer.write_all(half).unwrap();
        assert_eq!(stand.next(), Told::Bytes(half.to_vec()));
        Socket::from(peer).set_linger(Some(Duration::ZERO)).unwrap();
        assert_eq!(stand.next(), Told::Closed, "by a reset, in the middle of a frame");
        assert!(stand.connections.table.is_empty());
        assert_eq!(stand.wait(Duration::ZERO), []);
    }

    #[test]
    fn a_write_that_fails_leaves_what_the_peer_sent_readable() {
        let (mut stand, _resolver) = Stand::new();
        let (conn, mut peer) = stand.link();
        peer.write_all(b"last words").unwrap();
        drop(peer);
        let mut outbox = Outbox::new();
        for _ in 0..1000 {
            outbox.push_bytes(b"hello?");
            stand.flush(conn, &mut outbox);
            if stand.writing(conn) == Writing::Broken {
                break;
            }
        }
        assert_eq!(stand.writing(conn), Writing::Broken);
        stand.connections.queue(conn);
        assert_eq!(stand.connections.queued(), 0, "nothing is written any more");
        assert_eq!(stand.next(), Told::Bytes(b"last words".to_vec()));
        assert_eq!(stand.next(), Told::Closed);
    }

    #[test]
    fn last_bytes_arrive_though_the_peers_were_not_read() {
        let (mut stand, _resolver) = Stand::new();
        let (conn, mut peer) = stand.link();
        let mut outbox = Outbox::new();
        outbox.push_bytes(&[7; 100_000]);
        while !outbox.is_empty() {
            stand.flush(conn, &mut outbox);
        }
        peer.write_all(b"unread").unwrap();
        stand.connections.close(NOW, &mut stand.reactor, conn);
        assert_eq!(stand.connections.lingering(), 1);
        assert_eq!(stand.wait(PATIENCE), [], "read, and told to nobody");
        let mut got = Vec::new();
        peer.read_to_end(&mut got).expect("an end in order, no reset");
        assert_eq!(got.len(), 100_000);
        drop(peer);
        stand.wait(PATIENCE);
        assert_eq!(stand.connections.lingering(), 0);
        assert!(stand.connections.table.is_empty());
    }

    #[test]
    fn lingering_ends() {
        let (mut stand, _resolver) = Stand::new();
        let links: Vec<_> = (0..=LINGERING_MAX).map(|_| stand.link()).collect();
        for (conn, _) in &links {
            stand.connections.close(NOW, &mut stand.reactor, *conn);
        }
        assert_eq!(
            (stand.connections.lingering(), stand.connections.table.len()),
            (LINGERING_MAX, LINGERING_MAX)
        );
        let late = NOW + LINGER_TIME_MAX;
        while let Some(key) = stand.reactor.poll_expired(late) {
            stand.connections.handle_deadline(late, &mut stand.reactor, key);
        }
        assert_eq!((stand.connections.lingering(), stand.connections.table.len()), (0, 0));
    }

    #[test]
    fn many_small_frames_ride_one_write() {
        let (mut stand, _resolver) = Stand::new();
        let (conn, mut peer) = stand.link();
        let mut outbox = Outbox::new();
        for _ in 0..1000 {
            outbox.push_frame(frame(64)).unwrap();
        }
        let total = outbox.len();
        stand.flush(conn, &mut outbox);
        assert!(outbox.is_empty());
        peer.read_exact(&mut vec![0; total]).unwrap();
        assert_eq!(stand.reactor.counters().read()[IoCount::Writes], 1);
    }

    #[test]
    fn dropping_all_names_those_that_were_open() {
        let (mut stand, _resolver) = Stand::new();
        let ((open, _), (closed, _)) = (stand.link(), stand.link());
        let dialling = stand.conn();
        assert_eq!(stand.connect(dialling, "localhost:1"), None);
        stand.connections.close(NOW, &mut stand.reactor, closed);
        assert_eq!(stand.connections.drop_all(), [open, dialling]);
        assert_eq!(stand.connections.lingering(), 0);
    }
}
