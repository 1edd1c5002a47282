//! The life of a global name: it ends with its service or when that gives it up, and everybody hears of it.

use skyharbor::clock::Instant;
use skyharbor::prelude::*;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

struct Idle;
impl Service for Idle {}

/// Reports every owner of a name.
struct Watcher {
    name: Name,
    seen: Sender<Option<Handle>>,
}

impl Watcher {
    fn watch(&self, ctx: &mut Context<'_, Self>, known: Option<Handle>) {
        ctx.watch_name(self.name, known, secs(60), |me, ctx, owner| {
            if let Ok(owner) = owner {
                let _ = me.seen.send(owner);
                me.watch(ctx, owner);
            }
        });
    }
}

impl Service for Watcher {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        self.watch(ctx, None);
        Ok(())
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").to_string()
}

/// Node 1, which hosts the master, and node 2.
fn pair() -> [Node; 2] {
    let master = free_address();
    let first = Config::local().harbor(1).address("127.0.0.1:0").standalone(master.clone()).threads(1);
    let first = Node::start(first).expect("it starts");
    let second = Config::local().harbor(2).address("127.0.0.1:0").master(master).threads(1);
    let second = Node::start(second).expect("it starts");
    second.wait_linked(HarborId::new(1), secs(20)).expect("they are linked");
    [first, second]
}

fn end(nodes: [Node; 2]) {
    for node in nodes.into_iter().rev() {
        node.shutdown(secs(10)).expect("all threads end");
    }
}

fn watcher(node: &Node, text: &str) -> (Receiver<Option<Handle>>, Name) {
    let (seen, sees) = channel();
    let name: Name = text.parse().expect("a name");
    node.spawn("watcher", Watcher { name, seen }).expect("it starts");
    (sees, name)
}

/// Until it is free.
fn register(node: &Node, name: &str, service: &Addr<Idle>) {
    let began = Instant::now();
    while let Err(taken) = node.register_global(name, service) {
        assert!(matches!(taken, Error::NameTaken(_)) && Instant::now().since(began) < secs(20), "{taken:?}");
    }
}

#[test]
fn a_name_ends_with_its_service_and_every_node_sees_it() {
    let nodes = pair();
    for (owner, other) in [(0, 1), (1, 0)] {
        let text = format!("MORTAL{owner}");
        let watches = [0, 1].map(|index: usize| watcher(&nodes[index], &text));
        let mortal = nodes[owner].spawn("mortal", Idle).expect("it starts");
        nodes[owner].register_global(&text, &mortal).expect("it is free");
        let next = nodes[other].spawn("next", Idle).expect("it starts");
        for (sees, _) in &watches {
            assert_eq!(sees.recv_timeout(secs(20)), Ok(Some(mortal.handle())));
        }
        nodes[owner].kill(mortal).expect("it lives");
        for (index, (sees, name)) in watches.iter().enumerate() {
            assert_eq!(sees.recv_timeout(secs(20)), Ok(None));
            let asked = nodes[index].query(*name, Duration::from_millis(20));
            assert_eq!(asked, Err(CallError::NoName(*name)), "nobody has it by the deadline");
        }
        nodes[other].register_global(&text, &next).expect("it is free once it was seen to be");
        for (sees, _) in &watches {
            assert_eq!(sees.recv_timeout(secs(20)), Ok(Some(next.handle())));
        }
        nodes[other].unregister_global(&text, &next).expect("a name");
        for (sees, _) in &watches {
            assert_eq!(sees.recv_timeout(secs(20)), Ok(None));
        }
    }
    end(nodes);
}

#[test]
fn a_service_that_dies_while_it_is_given_a_name_keeps_none() {
    let nodes = pair();
    for _ in 0..30 {
        let mortal = nodes[1].spawn("mortal", Idle).expect("it starts");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = nodes[1].register_global("BRIEF", &mortal);
            });
            scope.spawn(|| nodes[1].kill(mortal.handle()));
        });
        let next = nodes[0].spawn("next", Idle).expect("it starts");
        register(&nodes[0], "BRIEF", &next);
        nodes[0].kill(next).expect("it lives");
        let last = nodes[1].spawn("last", Idle).expect("it starts");
        register(&nodes[1], "BRIEF", &last);
        nodes[1].unregister_global("BRIEF", &last).expect("a name");
    }
    end(nodes);
}

#[test]
fn on_a_node_that_is_alone_a_name_is_given_up_too() {
    let node = Node::start(Config::local().threads(1)).expect("it starts");
    let [first, second] = [0, 1].map(|_| node.spawn("idle", Idle).expect("it starts"));
    node.register_global("NAME", &first).expect("it is free");
    node.unregister_global("NAME", &second).expect("a name");
    assert!(matches!(node.register_global("NAME", &second), Err(Error::NameTaken(_))));
    node.unregister_global("NAME", &first).expect("a name");
    node.register_global("NAME", &second).expect("it is free");
    node.kill(second).expect("it lives");
    register(&node, "NAME", &first);
    node.shutdown(secs(10)).expect("all threads end");
}
