//! A process that runs out of descriptors accepts nothing for a while, does not spin, and goes on when there are some
//! again; and no descriptor is left behind. Alone in its file: the limit is the whole process's.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use skyharbor::clock::Instant;
use skyharbor::harbor::{Harbor, Settings};
use skyharbor::net::{self, IoCount, IoThread, PollerBell};
use skyharbor::queue::Lanes;
use skyharbor::runtime::{self, Runtime};
use skyharbor::sync::Doorbell;
use skyharbor::{HarborId, millis, secs};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

const PEERS: u64 = 10;

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a Linux machine").count()
}

/// An I/O thread, turned by hand, whose node hosts a master at this address.
fn master(address: SocketAddr) -> (IoThread, Runtime) {
    let bell = PollerBell::new().expect("a poller");
    let (sender, lanes) = Lanes::new(256, Arc::new(Doorbell::new(bell.clone())));
    let (runtime, _seats) = Runtime::new(runtime::Settings {
        harbor: HarborId::SINGLE,
        first_local: 100,
        workers: 1,
        spin: millis(0),
        messages_max: 1 << 20,
        bytes_max: 1 << 30,
        uplink: Some(sender),
    });
    let harbor =
        Harbor::new(Settings { master: Some(address.to_string()), ..Settings::new(HarborId::SINGLE) });
    let (io_thread, _resolver) =
        IoThread::new(net::Settings::default(), bell, harbor, runtime.inlet(), lanes);
    (io_thread, runtime)
}

#[test]
fn descriptors_run_out_and_come_back() {
    let before = open_descriptors();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback").local_addr().expect("bound");
    let (mut io_thread, runtime) = master(free);
    let peers: Vec<_> = (0..PEERS)
        .map(|_| socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket"))
        .collect();
    // Room for a few more; descriptors are handed out from the lowest on.
    let all = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(open_descriptors() as u64 - 1 + 3), ..all };
    setrlimit(Resource::Nofile, few).expect("less is always allowed");
    for peer in &peers {
        peer.connect(&free.into()).expect("the system accepts for us");
    }
    let counters = io_thread.counters();
    let count = |what| counters.read()[what];
    let begun = Instant::now();
    while count(IoCount::AcceptFailures) == 0 {
        let _ = io_thread.turn(Some(secs(20))).expect("it turns");
    }
    // Whoever is in is served as ever.
    let member = &peers[0];
    member.send(b"\x09\x0cH\x0a\x02\x24peer").expect("its connection is open");
    member.set_nonblocking(true).expect("a socket has this option");
    let mut welcome = [std::mem::MaybeUninit::uninit(); 4];
    while member.recv(&mut welcome).is_err() {
        let _ = io_thread.turn(Some(millis(1))).expect("it turns");
        assert!(Instant::now().since(begun) < secs(20), "the master answers");
    }
    // The pauses double from 10 ms up to a second.
    assert!(count(IoCount::Accepts) < PEERS);
    assert!(count(IoCount::AcceptFailures) < 20, "it does not try all the time");
    setrlimit(Resource::Nofile, all).expect("as it was");
    while count(IoCount::Accepts) < PEERS {
        let _ = io_thread.turn(Some(secs(20))).expect("it turns");
        assert!(Instant::now().since(begun) < secs(20), "it goes on");
    }
    io_thread.finish();
    drop((peers, runtime));
    assert_eq!(open_descriptors(), before, "none is left behind");
}
