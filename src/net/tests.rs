//! The I/O thread with its machine and a runtime, over loopback: turned by hand against peers that this file plays byte
//! by byte, and two of them on threads of their own.

use super::{IoCount, IoThread, PollerBell, Resolver, Settings};
use crate::clock::Instant;
use crate::harbor::{self, DownReason, Event, Harbor, Join, Listener};
use crate::limits::{ACCEPTS_MAX, PAYLOAD_BYTES_MAX, SLOTS, UPLINK_TURN_MESSAGES_MAX};
use crate::message::{
    Body, CallError, Envelope, Handle, HarborAnswer, HarborId, HarborRequest, Kind, Name, Payload, Session,
    Waiter,
};
use crate::queue::{LaneSender, Lanes};
use crate::runtime::{self, Context, Disposition, Message, Outgoing, Runtime, Seat, Service, Spawn};
use crate::sync::Doorbell;
use crate::wire::control::{self, Decoder, Packet};
use crossbeam::channel::{self, Receiver};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// Turns of at most 100 ms each after which something does not happen any more.
const TURNS_MAX: usize = 300;

/// An I/O thread without a thread, and what belongs to it.
struct Rig {
    io_thread: IoThread,
    resolver: Option<Resolver>,
    sender: LaneSender<Outgoing>,
    events: Receiver<Event>,
    runtime: Runtime,
    seats: Vec<Seat>,
}

/// A connection that the test plays.
struct Peer {
    stream: TcpStream,
    got: Vec<u8>,
    ended: bool,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self { stream, got: Vec::new(), ended: false }
    }

    /// Reads what there is.
    fn read(&mut self) {
        let mut piece = vec![0; 1 << 20];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return self.ended = true,
                Ok(len) => self.got.extend_from_slice(&piece[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn write_packet(&mut self, packet: &Packet) {
        let mut bytes = Vec::new();
        control::encode(packet, &[], &mut bytes).unwrap();
        self.write(&bytes);
    }
}

/// Node 1 of the master at that address.
fn member(master: String) -> harbor::Settings {
    let join = Join { listen: "127.0.0.1:0".into(), advertise: None, master };
    harbor::Settings { join: Some(join), ..harbor::Settings::new(HarborId::new(1)) }
}

impl Rig {
    fn new(settings: harbor::Settings) -> Self {
        Self::with(settings, |_| ())
    }

    fn with(settings: harbor::Settings, mut hear: impl FnMut(&Event) + Send + 'static) -> Self {
        let bell = PollerBell::new().unwrap();
        let (sender, lanes) = Lanes::new(SLOTS, Arc::new(Doorbell::new(bell.clone())));
        let (runtime, seats) = Runtime::new(runtime::Settings {
            harbor: settings.own,
            first_local: 100,
            workers: 1,
            spin: Duration::ZERO,
            messages_max: 1 << 20,
            bytes_max: 1 << 30,
            uplink: Some(sender.clone()),
        });
        let (reporter, events) = channel::unbounded();
        let on_event = Box::new(move |event: &Event| {
            reporter.send(event.clone()).unwrap_or_default();
            hear(event);
        });
        // Without looking on: a turn is a wait.
        let settings_here = Settings { on_event, busy_poll: Duration::ZERO, ..Settings::default() };
        let harbor = Harbor::new(settings);
        let (io_thread, resolver) = IoThread::new(settings_here, bell, harbor, runtime.inlet(), lanes);
        Self { io_thread, resolver: Some(resolver), sender, events, runtime, seats }
    }

    /// Node 1, taken in by a master that the test plays: the master's end, and where node 1 listens.
    fn joined() -> (Self, Peer, String) {
        Self::joined_with(|_| ())
    }

    fn joined_with(hear: impl FnMut(&Event) + Send + 'static) -> (Self, Peer, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut rig = Self::with(member(listener.local_addr().unwrap().to_string()), hear);
        let (master, address) = rig.take_in(&listener);
        (rig, master, address)
    }

    fn take_in(&mut self, listener: &TcpListener) -> (Peer, String) {
        let mut master = self.accept(listener);
        let address = self.until(|_| {
            master.read();
            match Decoder::new().feed(&mut &master.got[..]).unwrap()?.packet {
                Packet::Hello { id, address } if id == HarborId::new(1) => Some(address),
                packet => panic!("{packet:?}"),
            }
        });
        master.write_packet(&Packet::Wait { n: 0 });
        self.until_event(|event| matches!(event, Event::Joined { .. }));
        (master, address)
    }

    /// Node 1 with a link to node 2, which the test plays.
    fn linked() -> (Self, Peer, Peer) {
        Self::linked_with(|_| ())
    }

    fn linked_with(hear: impl FnMut(&Event) + Send + 'static) -> (Self, Peer, Peer) {
        let (mut rig, mut master, _) = Self::joined_with(hear);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        master.write_packet(&Packet::Connect { id: HarborId::new(2), address });
        let mut peer = rig.accept(&listener);
        assert_eq!(rig.read(&mut peer, 1), [1], "the dialler says who it is");
        peer.write(&[2]);
        rig.until_event(|event| *event == Event::Up(HarborId::new(2)));
        peer.got.clear();
        (rig, master, peer)
    }

    fn turn(&mut self) -> ControlFlow<()> {
        self.io_thread.turn(Some(Duration::from_millis(100))).unwrap()
    }

    fn until<T>(&mut self, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        for _ in 0..TURNS_MAX {
            if let Some(found) = look(self) {
                return found;
            }
            let _ = self.turn();
        }
        panic!("it does not happen")
    }

    fn until_event(&mut self, is_it: impl Fn(&Event) -> bool) -> Event {
        self.until(|rig| rig.events.try_iter().find(&is_it))
    }

    fn accept(&mut self, listener: &TcpListener) -> Peer {
        listener.set_nonblocking(true).unwrap();
        self.until(|_| listener.accept().ok().map(|(stream, _)| Peer::new(stream)))
    }

    fn read(&mut self, peer: &mut Peer, len: usize) -> Vec<u8> {
        self.until(|_| {
            peer.read();
            (peer.got.len() >= len).then(|| peer.got.clone())
        })
    }

    fn count(&self, what: IoCount) -> u64 {
        self.io_thread.counters().read()[what]
    }

    /// A message to a service of node 2.
    fn send(&self, message: Envelope) {
        self.sender
            .send(message.dest.harbor().index(), Outgoing::Send(message), 0)
            .unwrap_or_else(|_| panic!("full"));
    }

    fn ask(&self, request: HarborRequest) {
        self.sender.send(0, Outgoing::Ask(request), 0).unwrap_or_else(|_| panic!("full"));
    }

    /// Gives everything a thread.
    fn run(self) -> Running {
        let Self { io_thread, resolver, sender, events, runtime, seats } = self;
        let spawn = thread::Builder::new;
        let workers = seats.into_iter().map(|seat| spawn().spawn(move || seat.run()).unwrap()).collect();
        spawn().spawn(move || resolver.unwrap().run()).unwrap();
        let io_thread = spawn().spawn(move || io_thread.run()).unwrap();
        Running { io_thread, workers, sender, events, runtime }
    }
}

const HERE: Handle = Handle::new(HarborId::new(1), 0x00ab_cdef);
const THERE: Handle = Handle::new(HarborId::new(2), 0x10);

fn message(session: u32, bytes: &[u8]) -> Envelope {
    let body = Body::Bytes(Payload::from(bytes));
    Envelope { source: HERE, dest: THERE, session: Session::from_bits(session), kind: Kind::LUA, body }
}

/// The frame of [`message`], as it is on the wire.
fn frame(session: u32, bytes: &[u8]) -> Vec<u8> {
    let mut frame = (bytes.len() as u32 + 12).to_be_bytes().to_vec();
    frame.extend_from_slice(bytes);
    frame.extend_from_slice(b"\x01\xab\xcd\xef\x0a\0\0\x10");
    frame.extend_from_slice(&session.to_be_bytes());
    frame
}

#[test]
fn an_io_thread_moves_to_its_thread() {
    fn is_send<T: Send>() {}
    is_send::<IoThread>();
    is_send::<Resolver>();
}

#[test]
fn frames_that_are_queued_together_ride_few_writes() {
    const COUNT: u64 = 10_000;
    let (mut rig, _master, mut peer) = Rig::linked();
    let before = rig.count(IoCount::Writes);
    let mut expected = Vec::new();
    for number in 0..COUNT {
        rig.send(message(0, &number.to_be_bytes()));
        expected.extend_from_slice(&frame(0, &number.to_be_bytes()));
    }
    assert!(rig.read(&mut peer, expected.len()) == expected, "in order, each once");
    let writes = rig.count(IoCount::Writes) - before;
    assert!(writes * 50 < COUNT, "{writes} writes");
    assert!(rig.count(IoCount::Taken) >= COUNT);
}

/// Whoever sends while the thread sleeps writes in its place, and lets it sleep. Requests are left to the thread.
#[test]
fn a_sender_stands_in_for_the_sleeping_thread() {
    let (rig, _master, mut peer) = Rig::linked();
    let Rig { mut io_thread, sender, seats, .. } = rig;
    let counters = io_thread.counters();
    let sleeps = || counters.read()[IoCount::Sleeps];
    let before = sleeps();
    let turns = move || while io_thread.turn(Some(PATIENCE)).unwrap().is_continue() {};
    let thread = thread::Builder::new().spawn(turns).unwrap();
    // It may be caught on its way to sleep, and is woken then.
    let mut sent = Vec::new();
    for session in 1.. {
        let slept = sleeps();
        wait_until(|| sleeps() > before && counters.read()[IoCount::Turns] > 0);
        sender.send(2, Outgoing::Send(message(session, b"hello")), 0).unwrap_or_else(|_| panic!("full"));
        sent.extend(frame(session, b"hello"));
        if counters.read()[IoCount::StandIns] > 0 {
            break;
        }
        assert!(session < 1000, "nobody ever stands in");
        wait_until(|| sleeps() > slept);
    }
    wait_until(|| {
        peer.read();
        peer.got.len() >= sent.len()
    });
    assert_eq!(peer.got, sent, "all of them, in order");
    let stood_in = counters.read()[IoCount::StandIns];
    sender.send(0, Outgoing::Ask(HarborRequest::Leave), 0).unwrap_or_else(|_| panic!("full"));
    thread.join().unwrap();
    assert_eq!(counters.read()[IoCount::StandIns], stood_in, "the thread leaves by itself");
    drop(seats);
}

/// The service that sends is not the one that is wrong: the thread ends, with a panic of its own.
#[test]
fn a_panic_while_standing_in_ends_the_thread_and_not_the_sender() {
    let (rig, _master, _peer) = Rig::linked_with(|event| assert!(!matches!(event, Event::Unsent { .. })));
    let Rig { mut io_thread, sender, .. } = rig;
    let counters = io_thread.counters();
    let sleeps = || counters.read()[IoCount::Sleeps];
    let before = sleeps();
    let turns = move || while io_thread.turn(Some(PATIENCE)).unwrap().is_continue() {};
    let thread = thread::Builder::new().spawn(turns).unwrap();
    wait_until(|| sleeps() > before);
    let large = vec![0; 8 << 20];
    sender.send(2, Outgoing::Send(message(1, &large)), 0).unwrap_or_else(|_| panic!("full"));
    thread.join().unwrap_err();
    assert!(sender.is_closed(2), "whoever sends now is told");
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(Instant::now() - start < PATIENCE, "it does not happen");
        thread::yield_now();
    }
}

#[test]
fn a_message_to_nobody_is_answered() {
    let (mut rig, _master, mut peer) = Rig::linked();
    // From 02000010 to 01abcdef, session 7; `wire.md` 4.5 has the answer.
    let request = b"\0\0\0\x0e\x14?\x02\0\0\x10\x0a\xab\xcd\xef\0\0\0\x07";
    for byte in request {
        peer.write(&[*byte]);
        let _ = rig.io_thread.turn(Some(Duration::ZERO)).unwrap();
    }
    let answer = rig.read(&mut peer, 16);
    assert_eq!(answer, b"\0\0\0\x0c\x01\xab\xcd\xef\x07\0\0\x10\0\0\0\x07");
    assert_eq!(rig.count(IoCount::Undelivered), 1);
}

#[test]
fn names_and_handles_keep_one_order() {
    let (mut rig, mut master, mut peer) = Rig::linked();
    let name: Name = "ECHO".parse().unwrap();
    let read = rig.count(IoCount::ReadBytes);
    master.write_packet(&Packet::Name { name: name.into(), handle: THERE });
    rig.until(|rig| (rig.count(IoCount::ReadBytes) > read).then_some(()));
    // After this request the lane of requests is polled last.
    let waiter = Waiter { source: HERE, session: Session::from_bits(1) };
    rig.ask(HarborRequest::Status { waiter });
    rig.until(|rig| (rig.count(IoCount::Taken) == 1).then_some(()));
    rig.ask(HarborRequest::Send { name, envelope: message(0, b"first, to the name") });
    rig.send(message(0, b"second, to the handle"));
    let expected = [frame(0, b"first, to the name"), frame(0, b"second, to the handle")].concat();
    assert_eq!(rig.read(&mut peer, expected.len()), expected);
}

#[test]
fn a_peer_that_resets_in_the_middle_of_a_frame_takes_its_calls_along() {
    let (mut rig, _master, mut peer) = Rig::linked();
    rig.send(message(7, b"who answers?"));
    assert_eq!(rig.read(&mut peer, 28), frame(7, b"who answers?"));
    peer.write(&frame(7, b"never whole")[..10]);
    let Peer { stream, .. } = peer;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    let down = rig.until_event(|event| matches!(event, Event::Down(..)));
    assert_eq!(down, Event::Down(HarborId::new(2), DownReason::Closed));
    assert_eq!(rig.count(IoCount::Undelivered), 1, "the failure of the call, and its caller is nobody");
}

#[test]
fn a_call_that_is_forgotten_before_it_is_taken_is_forgotten_all_the_same() {
    let (mut rig, _master, mut peer) = Rig::linked();
    rig.send(message(7, b"who answers?"));
    let waiter = Waiter { source: HERE, session: Session::from_bits(7) };
    rig.ask(HarborRequest::Forget { waiter });
    assert_eq!(rig.read(&mut peer, 28), frame(7, b"who answers?"));
    drop(peer);
    rig.until_event(|event| matches!(event, Event::Down(..)));
    assert_eq!(rig.count(IoCount::Undelivered), 0, "nobody is told that it failed");
}

#[test]
fn what_was_sent_before_a_leave_arrives() {
    let (mut rig, master, mut peer) = Rig::linked();
    let mut expected = Vec::new();
    // More than one turn takes; the request to leave is in a lane that goes before theirs.
    for number in 0..UPLINK_TURN_MESSAGES_MAX as u32 + 1000 {
        let bytes = number.to_be_bytes().repeat(50);
        rig.send(message(0, &bytes));
        expected.extend_from_slice(&frame(0, &bytes));
    }
    rig.ask(HarborRequest::Leave);
    rig.until(|_| {
        peer.read();
        peer.ended.then_some(())
    });
    assert!(peer.got == expected);
    assert!(rig.turn().is_continue(), "the peers have not closed");
    drop((peer, master));
    let mut left = || rig.turn().is_break().then_some(());
    assert!((0..TURNS_MAX).any(|_| left().is_some()), "the node has left");
    for _ in 0..3 {
        rig.send(message(8, b"too late"));
    }
    let Rig { io_thread, sender, .. } = rig;
    io_thread.finish();
    assert!(sender.is_empty(2), "handed back");
}

#[test]
fn an_end_without_a_farewell_tells_everybody_who_waits() {
    let (rig, _master, _) = Rig::joined();
    let Rig { mut io_thread, sender, runtime, seats, .. } = rig;
    let workers: Vec<_> =
        seats.into_iter().map(|seat| thread::Builder::new().spawn(move || seat.run()).unwrap()).collect();
    let (name, nobody, patience) = ("NOBODY".parse::<Name>().unwrap(), HarborId::new(3), PATIENCE);
    let named = runtime::Destination::Global(name);
    thread::scope(|scope| {
        let held = scope.spawn(|| runtime.call_raw_blocking(THERE, Kind::LUA, vec![1], patience));
        let nameless = scope.spawn(|| runtime.call_raw_blocking(named, Kind::LUA, vec![1], patience));
        let asked = scope.spawn(|| {
            let deadline = crate::clock::Instant::FAR;
            runtime.ask_blocking(patience, move |waiter| HarborRequest::Query { name, waiter, deadline })
        });
        let linked = scope.spawn(|| {
            runtime.ask_blocking(patience, move |waiter| HarborRequest::Connect { harbor: nobody, waiter })
        });
        let counters = io_thread.counters();
        let taken = counters.read()[IoCount::Taken];
        while counters.read()[IoCount::Taken] < taken + 4 {
            assert!(io_thread.turn(Some(Duration::from_millis(100))).unwrap().is_continue());
        }
        io_thread.finish();
        assert_eq!(held.join().unwrap(), Err(CallError::Shutdown));
        assert_eq!(nameless.join().unwrap(), Err(CallError::Shutdown));
        assert_eq!(asked.join().unwrap(), Ok(HarborAnswer::NotFound));
        assert_eq!(linked.join().unwrap(), Ok(HarborAnswer::Down));
        // Nobody will take anything any more.
        let late = runtime.call_raw_blocking(THERE, Kind::LUA, vec![1], patience);
        assert_eq!(late, Err(CallError::Shutdown));
        let status = runtime.ask_blocking(patience, |waiter| HarborRequest::Status { waiter });
        assert_eq!(status, Err(CallError::Shutdown));
    });
    assert!(runtime.drain(PATIENCE));
    runtime.stop();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert!(sender.send(2, Outgoing::Send(message(1, b"late")), 0).is_err());
}

/// However the thread ends, nobody waits for ever.
#[test]
fn a_panic_of_the_thread_tells_everybody_who_waits() {
    let (rig, _master, _peer) = Rig::linked_with(|event| assert!(!matches!(event, Event::Unsent { .. })));
    let counters = rig.io_thread.counters();
    let taken = counters.read()[IoCount::Taken];
    let Running { io_thread, workers, sender, runtime, .. } = rig.run();
    let name: Name = "NOBODY".parse().unwrap();
    let to_nobody = Handle::new(HarborId::new(3), 9);
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let deadline = crate::clock::Instant::FAR;
            runtime.ask_blocking(PATIENCE, move |waiter| HarborRequest::Query { name, waiter, deadline })
        });
        let held = scope.spawn(|| runtime.call_raw_blocking(to_nobody, Kind::LUA, vec![1], PATIENCE));
        wait_until(|| counters.read()[IoCount::Taken] >= taken + 2);
        let large = vec![0; 8 << 20];
        sender.send(2, Outgoing::Send(message(1, &large)), 0).unwrap_or_else(|_| panic!("full"));
        io_thread.join().unwrap_err();
        assert_eq!(asked.join().unwrap(), Ok(HarborAnswer::NotFound));
        assert_eq!(held.join().unwrap(), Err(CallError::Shutdown));
        let late = runtime.call_raw_blocking(THERE, Kind::LUA, vec![1], PATIENCE);
        assert_eq!(late, Err(CallError::Shutdown));
    });
    assert!(runtime.drain(PATIENCE));
    runtime.stop();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

#[test]
fn a_port_in_use_is_an_event_before_the_thread_runs() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut settings = harbor::Settings::new(HarborId::SINGLE);
    settings.master = Some(listener.local_addr().unwrap().to_string());
    let rig = Rig::new(settings);
    let events: Vec<_> = rig.events.try_iter().collect();
    assert_eq!(events, [Event::ListenFailed(Listener::Master, ErrorKind::AddrInUse)]);
}

#[test]
fn a_refused_master_is_dialled_again() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut rig = Rig::new(member(address.to_string()));
    let failed = rig.until_event(|event| matches!(event, Event::ConnectFailed { .. }));
    let kind = ErrorKind::ConnectionRefused;
    assert_eq!(failed, Event::ConnectFailed { address: address.to_string(), kind });
    socket.listen(1).unwrap();
    rig.take_in(&TcpListener::from(socket));
}

#[test]
fn names_of_hosts_are_resolved_elsewhere() {
    let listener = TcpListener::bind(("localhost", 0)).unwrap();
    let mut settings = member(format!("localhost:{}", listener.local_addr().unwrap().port()));
    settings.join.as_mut().unwrap().listen = "localhost:0".into();
    let mut rig = Rig::new(settings);
    let resolver = rig.resolver.take().unwrap();
    let resolver = thread::Builder::new().spawn(|| resolver.run()).unwrap();
    let (_master, address) = rig.take_in(&listener);
    assert!(!address.starts_with("localhost"), "{address}");
    drop(rig);
    resolver.join().unwrap();
}

#[test]
fn a_burst_of_strangers_is_accepted_and_the_surplus_closed() {
    const STRANGERS_MAX: usize = 64;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut settings = member(listener.local_addr().unwrap().to_string());
    settings.bounds.strangers_max = STRANGERS_MAX;
    let mut rig = Rig::new(settings);
    let (_master, address) = rig.take_in(&listener);
    let turns = rig.count(IoCount::Turns);
    let mut strangers: Vec<_> = (0..200).map(|_| Peer::new(TcpStream::connect(&address).unwrap())).collect();
    rig.until(|rig| (rig.count(IoCount::Accepts) == 200).then_some(()));
    assert!(rig.count(IoCount::Turns) - turns <= 2 * 200 / ACCEPTS_MAX as u64);
    rig.until(|_| {
        strangers.iter_mut().for_each(Peer::read);
        (strangers.iter().filter(|stranger| stranger.ended).count() >= 200 - STRANGERS_MAX).then_some(())
    });
    assert!(strangers.iter().all(|stranger| stranger.got.is_empty()), "an acceptor never speaks first");
}

/// A node with all its threads.
struct Running {
    io_thread: JoinHandle<io::Result<()>>,
    workers: Vec<JoinHandle<()>>,
    sender: LaneSender<Outgoing>,
    events: Receiver<Event>,
    runtime: Runtime,
}

impl Running {
    fn until_event(&self, is_it: impl Fn(&Event) -> bool) {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("it happens in time");
            if is_it(&event) {
                return;
            }
        }
    }

    fn spawn_echo(&self) -> Handle {
        self.runtime.spawn_with("echo", Spawn::new(), || Echo).unwrap().handle()
    }

    fn call(&self, to: Handle, payload: Vec<u8>) -> Result<Payload, CallError> {
        self.runtime.call_raw_blocking(to, Kind::LUA, payload, PATIENCE)
    }

    fn leave(self) {
        self.sender.send(0, Outgoing::Ask(HarborRequest::Leave), 0).unwrap_or_else(|_| panic!("full"));
        self.io_thread.join().unwrap().unwrap();
        assert!(self.runtime.drain(PATIENCE));
        self.runtime.stop();
        for worker in self.workers {
            worker.join().unwrap();
        }
    }
}

struct Echo;
impl Service for Echo {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        ctx.reply(message.into_payload());
        Disposition::Handled
    }
}

/// Node 1 hosts the master and is its slave, node 2 joins it.
fn two_nodes() -> (Running, Running) {
    let (first, master) = loop {
        // The port is free when it is chosen; another program may be faster.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().to_string();
        let first = Rig::new(harbor::Settings { master: Some(free.clone()), ..member(free.clone()) });
        if first.events.is_empty() {
            break (first.run(), free);
        }
    };
    first.until_event(|event| matches!(event, Event::Joined { .. }));
    let second = Rig::new(harbor::Settings { own: HarborId::new(2), ..member(master) }).run();
    first.until_event(|event| *event == Event::Up(HarborId::new(2)));
    second.until_event(|event| *event == Event::Up(HarborId::new(1)));
    (first, second)
}

#[test]
fn two_nodes_call_each_other() {
    let (first, second) = two_nodes();
    let (here, there) = (first.spawn_echo(), second.spawn_echo());
    for number in 0..200u32 {
        let bytes = number.to_be_bytes().to_vec();
        assert_eq!(first.call(there, bytes.clone()).as_deref(), Ok(&bytes[..]));
        assert_eq!(second.call(here, bytes.clone()).as_deref(), Ok(&bytes[..]));
    }
    let nobody = Handle::new(HarborId::new(2), 0x00ab_cdef);
    assert_eq!(first.call(nobody, vec![1]), Err(CallError::Remote), "answered, not timed out");
    first.leave();
    second.until_event(|event| *event == Event::Down(HarborId::new(1), DownReason::Closed));
    assert_eq!(second.call(here, vec![1]), Err(CallError::PeerDown(HarborId::new(1))));
    second.leave();
}

#[test]
fn the_largest_frame_goes_and_comes_back() {
    let (first, second) = two_nodes();
    let there = second.spawn_echo();
    let large: Vec<u8> = (0..PAYLOAD_BYTES_MAX).map(|at| (at * 31 / 8) as u8).collect();
    let back = first.call(there, large.clone()).unwrap();
    assert!(back[..] == large[..]);
    let too_large = first.call(there, vec![0; PAYLOAD_BYTES_MAX + 1]);
    assert_eq!(too_large, Err(CallError::TooLarge));
    first.leave();
    second.leave();
}

#[test]
fn global_names_are_found_across_nodes() {
    let (first, second) = two_nodes();
    let (echo, name) = (second.spawn_echo(), "ECHO".parse::<Name>().unwrap());
    let register = move |waiter| HarborRequest::Register { name, handle: echo, waiter };
    assert_eq!(second.runtime.ask_blocking(PATIENCE, register), Ok(HarborAnswer::Registered));
    let answer =
        first.runtime.call_raw_blocking(runtime::Destination::Global(name), Kind::LUA, vec![5], PATIENCE);
    assert_eq!(answer.as_deref(), Ok(&[5][..]));
    first.leave();
    second.leave();
}
