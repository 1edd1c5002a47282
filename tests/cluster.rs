//! Nodes of one process that are linked over loopback TCP.

use serde::{Deserialize, Serialize};
use skyharbor::prelude::*;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};

#[derive(Serialize, Deserialize)]
struct Add(i64);
impl Request for Add {
    type Reply = i64;
}
impl Wire for Add {
    const NAME: &'static str = "add";
}

/// Never answered.
#[derive(Serialize, Deserialize)]
struct Hang;
impl Request for Hang {
    type Reply = ();
}
impl Wire for Hang {
    const NAME: &'static str = "hang";
}

#[derive(Default)]
struct Counter {
    total: i64,
    kept: Vec<Responder<()>>,
}
impl Service for Counter {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Add>().on::<Hang>();
    }
}
impl Handler<Add> for Counter {
    fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) -> Reply<i64> {
        self.total += add.0;
        Reply::Now(self.total)
    }
}
impl Handler<Hang> for Counter {
    fn handle(&mut self, _: Hang, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let (answer, later) = ctx.defer();
        self.kept.push(answer);
        later
    }
}

/// An address that nobody listens on at this moment.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").to_string()
}

struct Cluster {
    master: String,
    nodes: Vec<Node>,
}

impl Cluster {
    /// A standalone node and so many slaves, numbered from 1.
    fn new(count: u8) -> Self {
        let master = free_address();
        let mut cluster = Self { master: master.clone(), nodes: Vec::new() };
        let first = Config::local().harbor(1).address("127.0.0.1:0").standalone(master).threads(1);
        cluster.nodes.push(Node::start(first).expect("the standalone node starts"));
        for id in 2..=count {
            cluster.join(id);
        }
        cluster
    }

    fn join(&mut self, id: u8) {
        let config = Config::local().harbor(id).address("127.0.0.1:0").master(self.master.clone()).threads(1);
        self.nodes.push(Node::start(config).expect("a slave starts"));
    }

    fn shutdown(self) {
        for node in self.nodes.into_iter().rev() {
            node.shutdown(secs(10)).expect("all threads end");
        }
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

#[test]
fn services_call_each_other_by_global_name_in_all_directions() {
    let cluster = Cluster::new(3);
    for (index, node) in cluster.nodes.iter().enumerate() {
        let counter = node.spawn("counter", Counter::default()).expect("it starts");
        node.register_global(&format!("COUNTER{index}"), &counter).expect("it is free");
    }
    for (from, node) in cluster.nodes.iter().enumerate() {
        for to in 0..cluster.nodes.len() {
            let global = Global::new(name(&format!("COUNTER{to}")));
            assert_eq!(node.call_blocking(&global, Add(1), secs(10)), Ok(from as i64 + 1), "{from} to {to}");
        }
    }
    // By handle too, once it is known.
    let handle = cluster.nodes[2].query(name("COUNTER0"), secs(10)).expect("it is registered");
    assert_eq!(handle.harbor(), HarborId::new(1));
    assert_eq!(cluster.nodes[2].call_blocking(&handle, Add(10), secs(10)), Ok(13));
    cluster.shutdown();
}

#[test]
fn a_call_waits_for_a_name_and_for_a_node_that_come_later() {
    let mut cluster = Cluster::new(2);
    let caller = &cluster.nodes[1];
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| caller.call_blocking(&Global::new(name("LATER")), Add(5), secs(20)));
        let counter = cluster.nodes[0].spawn("counter", Counter::default()).expect("it starts");
        cluster.nodes[0].register_global("LATER", &counter).expect("it is free");
        assert_eq!(waiting.join().expect("no panic"), Ok(5));
    });
    cluster.join(9);
    let counter = cluster.nodes[2].spawn("counter", Counter::default()).expect("it starts");
    cluster.nodes[2].register_global("NINTH", &counter).expect("it is free");
    assert_eq!(cluster.nodes[1].call_blocking(&Global::new(name("NINTH")), Add(6), secs(20)), Ok(6));
    cluster.shutdown();
}

#[test]
fn a_dead_service_and_an_unknown_handle_on_another_node_are_errors() {
    let cluster = Cluster::new(2);
    let counter = cluster.nodes[0].spawn("counter", Counter::default()).expect("it starts");
    cluster.nodes[0].register_global("COUNTER", &counter).expect("it is free");
    let handle = cluster.nodes[1].query(name("COUNTER"), secs(10)).expect("it is registered");
    assert_eq!(cluster.nodes[1].call_blocking(&handle, Add(1), secs(10)), Ok(1));
    cluster.nodes[0].kill(counter).expect("it lives");
    assert_eq!(cluster.nodes[1].call_blocking(&handle, Add(1), secs(10)), Err(CallError::Remote));
    let nobody = Handle::new(HarborId::new(1), 5);
    assert_eq!(cluster.nodes[1].call_blocking(&nobody, Add(1), secs(10)), Err(CallError::Remote));
    cluster.shutdown();
}

#[test]
fn the_loss_of_a_node_ends_every_call_that_waits_for_it() {
    let mut cluster = Cluster::new(2);
    let counter = cluster.nodes[1].spawn("counter", Counter::default()).expect("it starts");
    cluster.nodes[1].register_global("COUNTER", &counter).expect("it is free");
    let handle = cluster.nodes[0].query(name("COUNTER"), secs(10)).expect("it is registered");
    assert_eq!(cluster.nodes[0].call_blocking(&handle, Add(1), secs(10)), Ok(1));
    let (caller, results) = spawn_caller(&cluster.nodes[0]);
    cluster.nodes[0].send(&caller, Start(handle, 100)).expect("it lives");
    let lost = cluster.nodes.pop().expect("two nodes");
    while lost.counts()[Count::Delivered] < 100 {
        std::thread::yield_now();
    }
    lost.shutdown(secs(10)).expect("all threads end");
    for _ in 0..100 {
        let ended = results.recv_timeout(secs(10)).expect("every call ends");
        // Its services end before its links: most callers hear of the end from them.
        assert!(matches!(ended, Err(CallError::Remote | CallError::OutcomeUnknown(_))), "{ended:?}");
    }
    let refused = cluster.nodes[0].call_blocking(&handle, Add(1), secs(10));
    assert!(matches!(refused, Err(CallError::PeerDown(_))), "{refused:?}");
    cluster.shutdown();
}

struct Caller(Sender<Result<(), CallError>>);
impl Service for Caller {}
struct Start(Handle, u32);
impl Request for Start {
    type Reply = ();
}
impl Handler<Start> for Caller {
    fn handle(&mut self, start: Start, ctx: &mut Context<'_, Self>) -> Reply<()> {
        for _ in 0..start.1 {
            ctx.call(&start.0, Hang, secs(60), |me: &mut Self, _, result| {
                me.0.send(result).expect("the test listens");
            });
        }
        Reply::Now(())
    }
}

fn spawn_caller(node: &Node) -> (Addr<Caller>, Receiver<Result<(), CallError>>) {
    let (sender, results) = channel();
    (node.spawn("caller", Caller(sender)).expect("it starts"), results)
}

#[test]
fn a_master_that_comes_later_is_found() {
    let master = free_address();
    let slave = Config::local().harbor(2).address("127.0.0.1:0").master(master.clone()).threads(1);
    let slave = Node::start(slave).expect("it starts without its master");
    let counter = slave.spawn("counter", Counter::default()).expect("it starts");
    slave.register_global("COUNTER", &counter).expect("it is recorded");
    let first = Config::local().harbor(1).address("127.0.0.1:0").standalone(master).threads(1);
    let first = Node::start(first).expect("the standalone node starts");
    assert_eq!(first.call_blocking(&Global::new(name("COUNTER")), Add(3), secs(20)), Ok(3));
    slave.shutdown(secs(10)).expect("all threads end");
    first.shutdown(secs(10)).expect("all threads end");
}

#[test]
fn a_port_in_use_is_an_error_at_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let config = Config::local().harbor(1).address(address.clone()).standalone(free_address());
    let refused = Node::start(config).expect_err("the port is taken");
    let expected = std::io::ErrorKind::AddrInUse;
    assert!(
        matches!(&refused, Error::Listen { address: at, reason } if *at == address && *reason == expected),
        "{refused}"
    );
}

#[test]
fn what_is_too_large_is_refused_at_the_sender() {
    let cluster = Cluster::new(2);
    let counter = cluster.nodes[1].spawn("counter", Counter::default()).expect("it starts");
    cluster.nodes[1].register_global("COUNTER", &counter).expect("it is free");
    let handle = cluster.nodes[0].query(name("COUNTER"), secs(10)).expect("it is registered");
    let call = |len: usize| cluster.nodes[0].call_raw_blocking(handle, Kind::TEXT, vec![1; len], secs(20));
    assert_eq!(call(16_777_204), Err(CallError::TooLarge));
    assert_eq!(call(16_777_203), Err(CallError::Remote), "it arrives, and nobody handles text");
    assert_eq!(cluster.nodes[0].call_blocking(&handle, Add(1), secs(10)), Ok(1), "the link is still good");
    cluster.shutdown();
}
