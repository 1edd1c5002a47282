//! Several nodes in one process, names, starts that fail, bounds, shutdown.

use skyharbor::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

struct Add(i64);
impl Request for Add {
    type Reply = i64;
}

struct Counter {
    total: i64,
}
impl Service for Counter {}
impl Handler<Add> for Counter {
    fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) -> Reply<i64> {
        self.total += add.0;
        Reply::Now(self.total)
    }
}

fn node(threads: u32) -> Node {
    Node::start(Config::local().threads(threads)).expect("a local node starts")
}

#[test]
fn nodes_of_one_process_share_nothing_and_refuse_each_others_addresses() {
    let (first, second) = (node(1), node(2));
    let here = first.spawn("counter", Counter { total: 0 }).expect("it starts");
    let there = second.spawn("counter", Counter { total: 100 }).expect("it starts");
    assert_eq!(first.call_blocking(&here, Add(2), secs(5)), Ok(2));
    assert_eq!(second.call_blocking(&there, Add(2), secs(5)), Ok(102));
    assert_eq!(second.call_blocking(&here, Add(2), secs(5)), Err(CallError::NoService));
    assert_eq!(first.send(&there, Add(2)).unwrap_err().reason, SendReason::Unknown);
    first.shutdown(secs(5)).expect("all threads end");
    assert_eq!(second.call_blocking(&there, Add(1), secs(5)), Ok(103));
    second.shutdown(secs(5)).expect("all threads end");
}

struct Refuses;
impl Service for Refuses {
    fn start(&mut self, _: &mut Context<'_, Self>) -> Result<(), StartError> {
        Err(StartError::new("not today"))
    }
}

struct Panics;
impl Service for Panics {
    fn start(&mut self, _: &mut Context<'_, Self>) -> Result<(), StartError> {
        panic!("on purpose")
    }
}

#[test]
fn a_start_that_fails_is_an_error_and_leaves_nothing_behind() {
    let node = node(2);
    let refused = node.spawn("refuses", Refuses).expect_err("it refuses");
    assert_eq!(refused.to_string(), "the service did not start: not today");
    assert!(matches!(node.spawn("panics", Panics), Err(SpawnError::Panicked)));
    assert_eq!(node.services(), 0);
    node.shutdown(secs(5)).expect("all threads end");
}

/// A free port of every loopback address, and listeners that take it.
fn taken_everywhere() -> (u16, Vec<TcpListener>) {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = first.local_addr().expect("it is bound").port();
    // Where there is no IPv6, nobody can listen there either.
    let second = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).ok();
    (port, std::iter::once(first).chain(second).collect())
}

#[test]
fn an_address_in_use_is_an_error_under_its_hosts_name_too() {
    let (port, _taken) = taken_everywhere();
    let named = format!("localhost:{port}");
    let slave = Config::local().harbor(2).address(&*named).master("127.0.0.1:1").threads(1);
    let hub = Config::local().standalone(&*named).master_only(true).threads(1);
    for config in [slave, hub] {
        match Node::start(config) {
            Err(Error::Listen { address, .. }) => assert_eq!(address, named),
            other => panic!("{other:?}"),
        }
    }
    let config = Config::local().harbor(2).address("localhost:0").master("127.0.0.1:1").threads(1);
    Node::start(config).expect("any free port").shutdown(secs(5)).expect("all threads end");
}

#[test]
fn a_node_without_links_is_not_linked() {
    let node = node(1);
    let peer = HarborId::new(7);
    assert_eq!(node.wait_linked(peer, secs(5)), Err(CallError::PeerDown(peer)));
    node.shutdown(secs(5)).expect("all threads end");
}

#[test]
fn names_work_without_a_harbor() {
    let node = node(1);
    let counter = node.spawn("counter", Counter { total: 0 }).expect("it starts");
    let other = node.spawn("counter", Counter { total: 0 }).expect("it starts");
    node.register_local(".counter", &counter).expect("it is free");
    assert!(node.register_local(".counter", &other).is_err());
    assert_eq!(node.local(".counter"), Some(counter.handle()));
    node.register_global("COUNTER", &counter).expect("it is free");
    assert!(
        matches!(node.register_global("COUNTER", &other), Err(Error::NameTaken(owner)) if owner == counter.handle())
    );
    assert!(matches!(node.register_global("123", &other), Err(Error::Name(NameError::Numeric))));
    let name = "COUNTER".parse().expect("a name");
    assert_eq!(node.query(name, millis(10)), Ok(counter.handle()));
    node.kill(counter).expect("it lives");
    while node.services() > 1 {
        std::thread::yield_now();
    }
    assert_eq!(node.query(name, millis(10)), Err(CallError::NoName(name)));
    assert_eq!(node.local(".counter"), None);
    node.shutdown(secs(5)).expect("all threads end");
}

/// Looks for its own name when it starts.
struct Named(Arc<AtomicU32>);
impl Service for Named {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        assert_eq!(ctx.local(".named"), Some(ctx.handle()));
        Ok(())
    }
}

#[test]
fn a_service_has_its_name_before_it_starts_and_without_it_does_not_start() {
    let node = node(1);
    let starts = Arc::new(AtomicU32::new(0));
    for expected in [true, false] {
        let named = Named(Arc::clone(&starts));
        let spawned = node.spawn_with("named", Spawn::new().local_name(".named"), move || named);
        assert_eq!(spawned.is_ok(), expected, "{spawned:?}");
    }
    assert_eq!(starts.load(Ordering::Relaxed), 1);
    assert_eq!(node.services(), 1);
    node.shutdown(secs(5)).expect("all threads end");
}

struct Slow(Arc<AtomicU32>);
impl Service for Slow {
    fn stop(&mut self, _: &mut Context<'_, Self>) {
        self.0.fetch_add(1_000, Ordering::Relaxed);
    }
}
struct Work;
impl Request for Work {
    type Reply = ();
}
impl Handler<Work> for Slow {
    fn handle(&mut self, _: Work, _: &mut Context<'_, Self>) -> Reply<()> {
        while self.0.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Reply::Now(())
    }
}

#[test]
fn a_bounded_mailbox_refuses_what_exceeds_it_and_gives_it_back() {
    let node = node(1);
    let gate = Arc::new(AtomicU32::new(0));
    let slow = Slow(Arc::clone(&gate));
    let options = Spawn::new().mailbox(Bounded::messages(10));
    let slow = node.spawn_with("slow", options, move || slow).expect("it starts");
    let taken = (0..100).take_while(|_| node.send(&slow, Work).is_ok()).count();
    assert!((10..=11).contains(&taken), "{taken} were taken: ten in the mailbox, one may be in its handler");
    assert_eq!(node.send(&slow, Work).unwrap_err().reason, SendReason::Full);
    gate.store(1, Ordering::Release);
    while gate.load(Ordering::Relaxed) < 1 + taken as u32 {
        std::thread::yield_now();
    }
    node.send(&slow, Work).expect("there is room again");
    node.shutdown(secs(5)).expect("all threads end");
    assert!(gate.load(Ordering::Relaxed) >= 1_000, "`stop` ran");
}

#[test]
fn a_thread_stuck_in_a_handler_is_reported_and_left_behind() {
    let node = node(1);
    let gate = Arc::new(AtomicU32::new(0));
    let slow = node.spawn("slow", Slow(Arc::clone(&gate))).expect("it starts");
    node.send(&slow, Work).expect("it lives");
    while node.counts()[Count::Delivered] < 2 {
        std::thread::yield_now();
    }
    let stuck = node.shutdown(millis(50)).expect_err("the handler does not end");
    assert!(matches!(&stuck, Error::Stuck { services } if services == &[Some(slow.handle())]), "{stuck}");
    gate.store(1, Ordering::Release);
}

#[test]
fn starting_and_stopping_many_nodes_leaves_no_thread() {
    let threads = || std::fs::read_dir("/proc/self/task").map(|tasks| tasks.count()).unwrap_or(0);
    let before = threads();
    for _ in 0..50 {
        let node = node(3);
        let counter = node.spawn("counter", Counter { total: 0 }).expect("it starts");
        assert_eq!(node.call_blocking(&counter, Add(1), secs(5)), Ok(1));
        node.shutdown(secs(5)).expect("all threads end");
    }
    // Other tests of this binary start threads of their own meanwhile; fifty nodes would leave a hundred and fifty.
    assert!(threads() < before + 100, "{before} threads before, {} after", threads());
}

/// Waits inside its handler for what the others do.
struct Waiter {
    helpers: Vec<Addr<Slow>>,
}
impl Service for Waiter {}
struct Go(Arc<AtomicU32>, u32);
impl Request for Go {
    type Reply = bool;
}
impl Handler<Go> for Waiter {
    fn handle(&mut self, go: Go, ctx: &mut Context<'_, Self>) -> Reply<bool> {
        for helper in &self.helpers {
            ctx.send(helper, Work).expect("it lives");
        }
        let begin = ctx.now();
        while go.0.load(Ordering::Relaxed) < go.1 && ctx.now() - begin < secs(5) {
            std::thread::yield_now();
        }
        Reply::Now(go.0.load(Ordering::Relaxed) >= go.1)
    }
}

#[test]
fn a_sleeping_worker_is_woken_while_the_handler_that_sends_goes_on() {
    let node = node(2);
    let gate = Arc::new(AtomicU32::new(1));
    let helpers = (0..3).map(|_| node.spawn("slow", Slow(Arc::clone(&gate))).expect("it starts")).collect();
    let waiter = node.spawn("waiter", Waiter { helpers }).expect("it starts");
    // The last one that it sends to stays with it; the two before can be taken by the other worker.
    assert_eq!(node.call_blocking(&waiter, Go(Arc::clone(&gate), 3), secs(20)), Ok(true));
    node.shutdown(secs(5)).expect("all threads end");
}
