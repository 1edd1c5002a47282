//! The event loop of a run: time, network, services, faults.

use super::node::Node;
use super::oracle::{Oracle, Tally, Uid};
use super::rng::Rng;
use super::tcp::{Side, Tcp};
use crate::clock::Instant;
use crate::harbor::{Action, ConnId, Event, Harbor, Listener};
use crate::message::{Handle, HarborId, Name, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::io;
use std::time::Duration;

/// What a run does; drawn from its seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes; node 0 hosts the master.
    pub nodes: usize,
    /// Services of each node.
    pub services: usize,
    /// How long faults happen and services act.
    pub busy: Duration,
    /// How long after that everything may take to settle.
    pub settle: Duration,
    /// The longest delay of a piece of bytes.
    pub delay_max: Duration,
    /// Mean time between two acts of a service.
    pub act_every: Duration,
    /// Mean time between two faults; none: no faults.
    pub fault_every: Option<Duration>,
    /// How often a connection is refused or reset at once, in percent.
    pub refuse_percent: u64,
    /// The longest padding of a message, in bytes.
    pub padding_max: u64,
}

impl Plan {
    /// A plan of this seed.
    pub fn draw(rng: &mut Rng) -> Self {
        let faults = rng.chance(75);
        let fault_every = Duration::from_millis(rng.in_range(15..150));
        Self {
            nodes: rng.in_range(2..6) as usize,
            services: rng.in_range(1..4) as usize,
            busy: Duration::from_millis(rng.in_range(150..500)),
            settle: Duration::from_secs(4),
            delay_max: Duration::from_micros(rng.in_range(50..6_000)),
            act_every: Duration::from_micros(rng.in_range(2_000..20_000)),
            fault_every: faults.then_some(fault_every),
            refuse_percent: if faults { rng.in_range(0..30) } else { 0 },
            padding_max: if rng.chance(30) { 8_000 } else { 200 },
        }
    }
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// A hash of everything that happened, in order.
    pub trace: u64,
    /// Inputs handled by all machines.
    pub inputs: u64,
    /// Crashes, farewells and cut connections.
    pub faults: u64,
    /// Messages and calls.
    pub tally: Tally,
}

/// Runs the seed's plan to its end.
///
/// # Panics
/// If a rule of the oracle is broken.
pub fn run(seed: u64) -> Report {
    let _witness = Witness(seed);
    let mut rng = Rng::new(seed);
    let plan = Plan::draw(&mut rng);
    World::new(plan, rng).run()
}

/// Names the seed of a run that panics.
struct Witness(u64);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation of seed {} broke a rule", self.0);
        }
    }
}

/// FNV-1a (Fowler, Noll, Vo) over text.
struct Fnv<'a>(&'a mut u64);

impl fmt::Write for Fnv<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.0 = (*self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

/// What is due at some time. A node is named with its life: what was meant for an earlier life is void.
#[derive(Clone, Debug)]
pub(super) enum Due {
    Boot { node: usize },
    Listening { node: usize, life: u32, listener: Listener, address: String },
    Dial { node: usize, life: u32, conn: ConnId, address: String },
    Accept { tcp: u64, listener: Listener },
    Connected { tcp: u64, conn: ConnId },
    Refused { node: usize, life: u32, conn: ConnId },
    Arrive { tcp: u64, side: Side },
    Writable { tcp: u64, side: Side },
    Wake { node: usize, life: u32 },
    Register { uid: Uid },
    Act { uid: Uid },
    Reply { uid: Uid, to: Handle, session: Session, number: u64 },
    GiveUp { uid: Uid, session: Session },
    Fault,
    Heal,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) rng: Rng,
    pub(super) now: Instant,
    pub(super) turn: u64,
    pub(super) due: BTreeMap<(Instant, u64), Due>,
    pub(super) nodes: Vec<Node>,
    pub(super) tcps: BTreeMap<u64, Tcp>,
    pub(super) tcp_last: u64,
    pub(super) listeners: BTreeMap<String, (usize, Listener)>,
    pub(super) id_last: u8,
    pub(super) healing: bool,
    pub(super) oracle: Oracle,
    pub(super) report: Report,
}

impl World {
    fn new(plan: Plan, rng: Rng) -> Self {
        let nodes = (0..plan.nodes).map(|_| Node::dead()).collect();
        let report = Report { trace: 0xcbf2_9ce4_8422_2325, inputs: 0, faults: 0, tally: Tally::default() };
        Self {
            plan,
            rng,
            now: Instant::from_nanos(1_000_000_000),
            turn: 0,
            due: BTreeMap::new(),
            nodes,
            tcps: BTreeMap::new(),
            tcp_last: 0,
            listeners: BTreeMap::new(),
            id_last: 0,
            healing: false,
            oracle: Oracle::default(),
            report,
        }
    }

    fn run(mut self) -> Report {
        for node in 0..self.plan.nodes {
            let after = self.rng.in_range(0..50_000_000);
            self.after(Duration::from_nanos(after), Due::Boot { node });
        }
        if let Some(every) = self.plan.fault_every {
            self.after(every, Due::Fault);
        }
        self.after(self.plan.busy, Due::Heal);
        let end = self.now + self.plan.busy + self.plan.settle;
        while let Some(entry) = self.due.first_entry() {
            let (at, _) = *entry.key();
            if at > end {
                break;
            }
            let due = entry.remove();
            self.now = at;
            self.trace(&due);
            self.step(due);
        }
        self.finish();
        self.report.tally = self.oracle.tally;
        self.report
    }

    /// In the end every call has its outcome and every two nodes have each other.
    fn finish(&self) {
        self.oracle.finish();
        let ids: BTreeSet<HarborId> = self.nodes.iter().map(|node| node.id).collect();
        for (index, node) in self.nodes.iter().enumerate() {
            let others: BTreeSet<HarborId> = ids.iter().copied().filter(|id| *id != node.id).collect();
            assert_eq!(self.oracle.peers(index), others, "node {index} ({}) and its peers", node.id);
            let names: BTreeSet<Name> = node.names.keys().copied().collect();
            let own = node.services.iter().filter(|service| service.alive).map(|service| service.name);
            assert!(own.into_iter().all(|name| names.contains(&name)), "node {index} knows its own names");
            self.check_names(index);
        }
    }

    /// What a node believes of a living service's name is true.
    fn check_names(&self, index: usize) {
        for node in &self.nodes {
            for service in &node.services {
                let believed = self.nodes[index].names.get(&service.name);
                let handle = node.handle_of(service.uid.local);
                assert!(believed.is_none_or(|known| *known == handle), "node {index}: {}", service.name);
            }
        }
    }

    // Time.

    pub(super) fn after(&mut self, delay: Duration, due: Due) {
        self.at(self.now + delay, due);
    }

    pub(super) fn at(&mut self, at: Instant, due: Due) {
        self.turn += 1;
        self.due.insert((at, self.turn), due);
    }

    /// Around `mean`, never 0.
    pub(super) fn around(&mut self, mean: Duration) -> Duration {
        let nanos = mean.as_nanos() as u64;
        Duration::from_nanos(self.rng.in_range(nanos / 2..nanos * 3 / 2 + 1) + 1)
    }

    /// What happens goes into the hash of the run.
    pub(super) fn trace(&mut self, what: &impl fmt::Debug) {
        // A hash takes everything.
        let _ = write!(Fnv(&mut self.report.trace), "{:?} {what:?}", self.now);
    }

    // What is due.

    pub(super) fn step(&mut self, due: Due) {
        match due {
            Due::Boot { node } => self.boot(node),
            Due::Listening { node, life, listener, address } => {
                self.input(node, life, |harbor, now| harbor.handle_listening(now, listener, Ok(address)));
            }
            Due::Dial { node, life, conn, address } => self.dial(node, life, conn, &address),
            Due::Accept { tcp, listener } => self.accept(tcp, listener),
            Due::Connected { tcp, conn } => self.connected(tcp, conn),
            Due::Refused { node, life, conn } => {
                let kind = io::ErrorKind::ConnectionRefused;
                self.input(node, life, |harbor, now| harbor.handle_connect_failed(now, conn, kind));
            }
            Due::Arrive { tcp, side } => self.arrive(tcp, side),
            Due::Writable { tcp, side } => self.writable(tcp, side),
            Due::Wake { node, life } => {
                self.nodes[node].wake = None;
                self.input(node, life, |harbor, now| harbor.handle_timeout(now));
            }
            Due::Register { uid } => self.register(uid),
            Due::Act { uid } => self.act(uid),
            Due::Reply { uid, to, session, number } => self.reply(uid, to, session, number),
            Due::GiveUp { uid, session } => self.give_up(uid, session),
            Due::Fault => self.fault(),
            Due::Heal => self.heal(),
        }
    }

    /// Gives an input to a machine, if it still lives, and does what it wants done.
    pub(super) fn input(&mut self, node: usize, life: u32, handle: impl FnOnce(&mut Harbor, Instant)) {
        let now = self.now;
        let Some(harbor) = self.nodes[node].living(life) else { return };
        handle(harbor, now);
        self.report.inputs += 1;
        self.drain(node, life);
    }

    pub(super) fn drain(&mut self, node: usize, life: u32) {
        loop {
            let Some(harbor) = self.nodes[node].living(life) else { return };
            if let Some(action) = harbor.poll_action() {
                self.perform(node, life, action);
            } else if let Some(conn) = harbor.poll_transmit() {
                if let Some(&(tcp, side)) = self.nodes[node].conns.get(&conn) {
                    self.write(tcp, side);
                }
            } else if let Some(envelope) = self.nodes[node].undeliverable.pop() {
                let now = self.now;
                if let Some(harbor) = self.nodes[node].living(life) {
                    harbor.handle_undeliverable(now, envelope);
                }
            } else {
                break;
            }
        }
        let balances = self.nodes[node].living(life).is_none_or(|harbor| harbor.balances());
        assert!(balances, "node {node}: the accounts do not balance");
        self.schedule(node, life);
        let has_left = self.nodes[node].harbor.as_ref().is_some_and(Harbor::has_left);
        if has_left {
            assert!(self.nodes[node].conns.is_empty(), "node {node} left with open connections");
            self.die(node);
        }
    }

    fn schedule(&mut self, node: usize, life: u32) {
        let Some(deadline) = self.nodes[node].living(life).and_then(|harbor| harbor.poll_timeout()) else {
            return;
        };
        let at = deadline.max(self.now + Duration::from_nanos(1));
        if self.nodes[node].wake.is_none_or(|wake| at < wake) {
            self.nodes[node].wake = Some(at);
            self.at(at, Due::Wake { node, life });
        }
    }

    pub(super) fn perform(&mut self, node: usize, life: u32, action: Action) {
        self.trace(&action);
        match action {
            Action::Listen { listener, address } => {
                self.listeners.insert(address.clone(), (node, listener));
                self.after(Duration::from_nanos(1), Due::Listening { node, life, listener, address });
            }
            Action::StopListening(listener) => {
                self.listeners.retain(|_, open| *open != (node, listener));
            }
            Action::Connect { conn, address } => {
                let delay = self.delay();
                self.after(delay, Due::Dial { node, life, conn, address });
            }
            Action::Close { conn } => self.close(node, conn),
            // A connection of this network that is not closed works, and frames are small.
            Action::Probe { .. } | Action::Pause { .. } | Action::Resume { .. } => {}
            Action::Deliver(envelope) | Action::Complete(envelope) => self.deliver(node, envelope),
            Action::Answer { waiter, answer } => self.answered(node, waiter, &answer),
            Action::Publish { name, handle } => {
                self.nodes[node].names.insert(name, handle);
            }
            Action::Retract { name } => {
                self.nodes[node].names.remove(&name);
            }
            Action::Event(event) => self.event(node, &event),
        }
    }

    fn event(&mut self, node: usize, event: &Event) {
        let Some(harbor) = &self.nodes[node].harbor else { return };
        self.oracle.event(node, event, harbor);
    }
}
