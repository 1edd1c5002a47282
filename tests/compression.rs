//! Two nodes of our kind over loopback, with a gate between them that counts what goes over their link.

use skyharbor::prelude::*;
use skyharbor::services::Echo;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, Builder, JoinHandle};

/// Passes one connection on, both ways, and counts its bytes.
struct Gate {
    address: String,
    passed: Arc<AtomicU64>,
    porter: JoinHandle<()>,
}

impl Gate {
    fn before(behind: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let passed = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&passed);
        let porter = Builder::new().spawn(move || {
            let (outer, _) = listener.accept().expect("the other node dials");
            let inner = TcpStream::connect(behind).expect("the node listens");
            let (back, forth) = ((clone(&inner), clone(&outer)), (outer, inner));
            thread::scope(|scope| {
                scope.spawn(|| copy(back, &counter));
                copy(forth, &counter);
            });
        });
        Self { address, passed, porter: porter.expect("the system has threads") }
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("there are descriptors")
}

fn copy((mut from, mut to): (TcpStream, TcpStream), passed: &AtomicU64) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        // Counted before the other side can answer.
        passed.fetch_add(count as u64, Ordering::Relaxed);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// A standalone node and a slave with an echo, behind a gate.
struct Pair {
    master: Node,
    slave: Node,
    echo: Handle,
    gate: Gate,
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").to_string()
}

impl Pair {
    fn new(config: impl Fn(Config) -> Config) -> Self {
        let (master, bind) = (free_address(), free_address());
        let gate = Gate::before(bind.clone());
        let first = Config::local().harbor(1).address("127.0.0.1:0").standalone(master.clone()).threads(1);
        let second =
            Config::local().harbor(2).address(gate.address.clone()).bind(bind).master(master).threads(1);
        let master = Node::start(config(first)).expect("the standalone node starts");
        let slave = Node::start(config(second)).expect("the slave starts");
        let echo = slave.spawn("echo", Echo).expect("it starts").handle();
        master.wait_linked(HarborId::new(2), secs(20)).expect("the slave is there");
        Self { master, slave, echo, gate }
    }

    /// Calls the echo; how many bytes that took.
    fn call(&self, payload: &[u8]) -> u64 {
        let before = self.gate.passed.load(Ordering::Relaxed);
        let reply =
            self.master.call_raw_blocking(self.echo, Kind::LUA, payload, secs(20)).expect("it answers");
        assert!(reply[..] == *payload, "{} bytes", payload.len());
        self.gate.passed.load(Ordering::Relaxed) - before
    }

    fn shutdown(self) {
        self.slave.shutdown(secs(10)).expect("all threads end");
        self.master.shutdown(secs(10)).expect("all threads end");
        self.gate.porter.join().expect("the link is closed");
    }
}

/// No pattern that saves anything.
fn noise(len: usize) -> Vec<u8> {
    let mut state = len as u32 | 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

#[test]
fn large_payloads_between_our_nodes_take_fewer_bytes_and_arrive_as_they_were() {
    let pair = Pair::new(|config| config.compress(1024));
    let large = b"a game server says the same again ".repeat(30_000);
    // Each compresses from when it has heard the other's hello.
    while pair.call(&large) > large.len() as u64 / 5 {
        thread::yield_now();
    }
    for len in [0, 1, 1023, 1024, 1025, 65_536, 1_000_000] {
        pair.call(&large[..len]);
        assert!(pair.call(&noise(len)) >= 2 * len as u64, "noise stays as it is");
    }
    let largest = vec![7; 16_777_203];
    assert!(pair.call(&largest) < 1 << 20);
    pair.shutdown();
}

#[test]
fn a_node_that_was_not_told_to_sends_payloads_as_they_are() {
    let pair = Pair::new(|config| config);
    let large = vec![7; 100_000];
    for _ in 0..20 {
        assert!(pair.call(&large) >= 200_000);
    }
    pair.shutdown();
}

/// Tells the test the number of each message.
struct Ear(Sender<u32>);
impl Service for Ear {
    fn message(&mut self, _: &mut Context<'_, Self>, message: Message) -> Disposition {
        let number = message.bytes().first_chunk().map(|number| u32::from_be_bytes(*number));
        self.0.send(number.expect("a number")).expect("the test listens");
        Disposition::Handled
    }
}

/// Sends numbered messages of changing sizes, only some of which are worth it.
struct Mouth;
struct Say(Handle, u32);
impl Request for Say {
    type Reply = ();
}
impl Service for Mouth {}
impl Handler<Say> for Mouth {
    fn handle(&mut self, Say(ear, count): Say, ctx: &mut Context<'_, Self>) -> Reply<()> {
        for number in 0..count {
            let rest = match number % 4 {
                0 => Vec::new(),
                1 => vec![0; 4000],
                2 => noise(4000),
                _ => vec![0; 60_000],
            };
            let payload = [&number.to_be_bytes()[..], &rest].concat();
            ctx.send_raw(ear, Kind::LUA, Session::NONE, payload).expect("there is room");
        }
        Reply::Now(())
    }
}

#[test]
fn messages_keep_their_order_compressed_or_not() {
    let pair = Pair::new(|config| config.compress(1024));
    let (sender, heard) = channel();
    let ear = pair.slave.spawn("ear", Ear(sender)).expect("it starts").handle();
    let mouth = pair.master.spawn("mouth", Mouth).expect("it starts");
    pair.master.call_blocking(&mouth, Say(ear, 1000), secs(20)).expect("it says it");
    for number in 0..1000 {
        assert_eq!(heard.recv_timeout(secs(20)), Ok(number));
    }
    pair.shutdown();
}
