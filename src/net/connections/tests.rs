use super::*;
use crate::harbor::{self, Harbor, Listener};
use crate::limits::HANDSHAKE_TIME_MAX;
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
        let (reactor, resolver) =
            Reactor::new(PollerBell::new().unwrap(), crate::limits::UNREACHABLE_TIME_MAX);
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
        let begun = Instant::now();
        self.reactor.poller().wait(&mut events, Some(patience)).unwrap();
        assert!(patience.is_zero() || Instant::now() - begun < patience, "nothing happens");
        let Self { reactor, connections, buffer, .. } = self;
        let handle = |event| told(connections.handle_event(NOW, reactor, &event, buffer));
        events.iter().filter_map(handle).collect()
    }

    /// Whether the poller has nothing to report, not even events without an outcome.
    fn is_quiet(&self) -> bool {
        let mut events = polling::Events::new();
        self.reactor.poller().wait(&mut events, Some(Duration::ZERO)).unwrap();
        events.is_empty()
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
    assert!(stand.is_quiet());
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
    assert!(stand.is_quiet(), "room is no event any more");
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
        .insert(Key::conn(conn), Connection { conn, stage: Stage::Resolving { by: NOW + CONNECT_TIME_MAX } });
    let (_socket, nowhere) = nowhere();
    let third = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addresses = vec![nowhere, listener.local_addr().unwrap(), third.local_addr().unwrap()];
    let outcome = stand.connections.handle_answer(NOW, &mut stand.reactor, Key::conn(conn), Ok(addresses));
    assert_eq!(told(outcome).unwrap_or_else(|| stand.next()), Told::Connected);
    assert_eq!(stand.reactor.counters().read()[IoCount::Dials], 2);
    listener.accept().unwrap();
}

#[test]
fn localhost_is_resolved_and_dialled() {
    let (mut stand, resolver) = Stand::new();
    let listener = TcpListener::bind(("localhost", 0)).unwrap();
    let conn = stand.conn();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    // The resolver reads the clock: it does not ask for those who wait no more.
    let asked = stand.connections.connect(Instant::now(), &mut stand.reactor, conn, &address);
    assert_eq!(asked, Outcome::Nothing);
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
    let by = NOW + CONNECT_TIME_MAX;
    let outcome = stand.connections.dial(NOW, &mut stand.reactor, conn, addresses, by, ErrorKind::NotFound);
    assert_eq!(outcome, Outcome::Nothing);
    assert_eq!(stand.wait(Duration::ZERO), []);
    let late = NOW + CONNECT_TIME_MAX / 2;
    let outcome = stand.connections.handle_deadline(late, &mut stand.reactor, Key::conn(conn));
    assert_eq!(told(outcome).unwrap_or_else(|| stand.next()), Told::Connected);
}

#[test]
fn every_address_of_a_name_is_tried_before_the_machine_gives_the_dial_up() {
    let (mut stand, _resolver) = Stand::new();
    let listener = sockets::listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    listener.listen(0).unwrap();
    let full = listener.local_addr().unwrap().as_socket().unwrap();
    let _waiting = TcpStream::connect(full).unwrap();
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let conn = stand.conn();
    assert_eq!(stand.connect(conn, "localhost:1"), None);
    let addresses = vec![full, full, other.local_addr().unwrap()];
    let outcome = stand.connections.handle_answer(NOW, &mut stand.reactor, Key::conn(conn), Ok(addresses));
    assert_eq!(outcome, Outcome::Nothing);
    while stand.reactor.counters().read()[IoCount::Dials] < 3 {
        let due = stand.reactor.next_deadline().expect("somebody is dialled");
        assert!(due < NOW + HANDSHAKE_TIME_MAX, "the machine gives up first");
        let key = stand.reactor.poll_expired(due).expect("it is due");
        let outcome = stand.connections.handle_deadline(due, &mut stand.reactor, key);
        assert_eq!(outcome, Outcome::Nothing);
    }
    assert_eq!(stand.next(), Told::Connected);
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
fn a_write_that_fails_ends_the_connection_though_the_peer_lives() {
    let (mut stand, _resolver) = Stand::new();
    let (conn, mut peer) = stand.link();
    peer.write_all(b"still here").unwrap();
    stand.socket(conn).shutdown(Shutdown::Write).unwrap();
    let mut outbox = Outbox::new();
    outbox.push_bytes(b"hello?");
    stand.flush(conn, &mut outbox);
    assert_eq!(stand.next(), Told::Bytes(b"still here".to_vec()));
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
