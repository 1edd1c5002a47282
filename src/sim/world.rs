//! The event loop of a run: time, what is due, and the machines that it is given to.

use super::case::{Act, CLASSES, Case};
use super::node::{Crowd, Host, Node, Returned};
use super::oracle::{Oracle, Tally, Uid};
use super::real::{Do, Real};
use super::tcp::{Door, End, Side, Tcp, TcpId};
use super::trace::Trace;
use crate::clock::Instant;
use crate::harbor::{Action, ConnId, DownReason, Event, Fault, Harbor, Listener};
use crate::message::{Envelope, Handle, HarborId, Name, Session};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io;

/// What a run did, or many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A hash of everything that happened, in order.
    pub trace: u64,
    /// Things that were due, each of them handled by some machine.
    pub events: u64,
    /// The virtual time that passed, in nanoseconds.
    pub time: u64,
    /// The part of it in which services acted and faults came.
    pub busy: u64,
    /// Faults that happened, by their class.
    pub faults: [u64; CLASSES.len()],
    /// Lives of nodes after their first: each came back under its id, or under a fresh one.
    pub restarts: u64,
    /// Messages and calls.
    pub tally: Tally,
}

impl Report {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.trace ^= other.trace;
        self.events += other.events;
        self.time += other.time;
        self.busy += other.busy;
        self.restarts += other.restarts;
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, one)| *sum += one);
        self.tally.add(&other.tally);
    }
}

/// Plays the case to its end.
///
/// # Panics
/// If a rule of the oracle is broken.
pub fn play(case: &Case) -> Report {
    World::new(case).run()
}

/// What is due at some time. A node is named with its life: what was meant for an earlier life is void.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Boot {
        node: usize,
    },
    Listening {
        node: usize,
        life: u32,
        door: Door,
    },
    Dial {
        node: usize,
        life: u32,
        conn: u64,
        to: usize,
        door: Door,
    },
    Accept {
        tcp: TcpId,
    },
    Connected {
        tcp: TcpId,
        conn: u64,
    },
    Refused {
        node: usize,
        life: u32,
        conn: u64,
        kind: io::ErrorKind,
    },
    Arrive {
        tcp: TcpId,
        side: Side,
    },
    Writable {
        tcp: TcpId,
        side: Side,
    },
    /// The system asks the other end whether it still knows the connection.
    Probed {
        tcp: TcpId,
        side: Side,
    },
    /// The machine must have found by now that its link is dead.
    Detected {
        tcp: TcpId,
        side: Side,
        since: u64,
        may_wait: bool,
    },
    /// The system gives up a connection whose other end has not answered for long.
    GivenUp {
        tcp: TcpId,
        side: Side,
    },
    Wake {
        node: usize,
        life: u32,
    },
    Register {
        uid: Uid,
    },
    Act {
        step: usize,
    },
    Reply {
        uid: Uid,
        to: Handle,
        session: Session,
        number: u64,
    },
    GiveUp {
        uid: Uid,
        session: Session,
    },
    Depart {
        conn: u64,
    },
    Look,
    Heal,
    Probe,
}

/// The order of what is due: by time, then by who came first.
struct Entry(Reverse<(u64, u64)>, Due);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// What became of a connection, for as long as the run lasts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// When it was opened.
    pub(super) opened: u64,
    /// Something went wrong with it, or with one of its nodes.
    pub(super) touched: bool,
    /// Garbage came over it.
    pub(super) garbled: bool,
    /// One of its ends is no node.
    pub(super) strange: bool,
    /// One of its nodes had no memory for what it brings.
    pub(super) crowded: bool,
}

pub(super) struct World<'a> {
    pub(super) case: &'a Case,
    pub(super) now: u64,
    turn: u64,
    due: BinaryHeap<Entry>,
    next_step: usize,
    /// The nodes of the plan, then the crowd.
    pub(super) nodes: Vec<Node>,
    pub(super) tcps: BTreeMap<TcpId, Tcp>,
    pub(super) marks: Vec<Mark>,
    /// Since when and until when nothing goes from one node to another: links, control links.
    pub(super) blocks: Vec<[(u64, u64); 2]>,
    pub(super) id_last: u8,
    /// The ids of the nodes that live, or lived last, and one that nobody has.
    pub(super) ids: Vec<HarborId>,
    pub(super) healing: bool,
    /// The end of the run: nodes leave and do not come back.
    pub(super) leaving: bool,
    /// A frame of one was garbage to the other: it is not dialled again.
    pub(super) estranged: BTreeSet<(usize, usize)>,
    /// Dials of each node since it was looked at whether everybody answers.
    pub(super) dials: Vec<BTreeMap<String, u32>>,
    /// Who is a member of the master that we host, and who has which name, as the master said.
    pub(super) members: BTreeSet<HarborId>,
    pub(super) named: BTreeMap<Name, (HarborId, u64)>,
    /// No fault has happened.
    pub(super) healthy: bool,
    /// The connection whose bytes are being handled.
    pub(super) over: Option<TcpId>,
    /// The connection that is read again: what had come over it before is handled now.
    resumed: Option<TcpId>,
    pub(super) oracle: Oracle,
    pub(super) trace: Trace,
    pub(super) report: Report,
}

/// More than happens in any run, however long.
const EVENTS_MAX: u64 = 400_000;

/// When a run begins.
pub(super) const START: u64 = 1_000_000_000;

impl<'a> World<'a> {
    fn new(case: &'a Case) -> Self {
        let count = case.plan.nodes as usize;
        let mut nodes: Vec<Node> = (0..count).map(|index| Node::new(index, Host::Nothing)).collect();
        nodes.push(Node::new(count, Host::Crowd(Crowd::default())));
        let report = Report::default();
        Self {
            case,
            now: START,
            turn: 0,
            due: BinaryHeap::new(),
            next_step: 0,
            blocks: vec![[(0, 0); 2]; (count + 1) * (count + 1)],
            nodes,
            tcps: BTreeMap::new(),
            marks: Vec::new(),
            id_last: 0,
            ids: vec![super::services::NOWHERE; count + 1],
            healing: false,
            leaving: false,
            estranged: BTreeSet::new(),
            dials: Vec::new(),
            members: BTreeSet::new(),
            named: BTreeMap::new(),
            healthy: true,
            over: None,
            resumed: None,
            oracle: Oracle::default(),
            trace: Trace::default(),
            report,
        }
    }

    fn run(mut self) -> Report {
        let plan = &self.case.plan;
        let mut rng = self.rng([0, 0, 0]);
        for node in 0..plan.nodes as usize {
            self.nodes[node].offset = rng.in_range(0..1 << 40);
            let after = if node == 0 { 0 } else { rng.in_range(0..plan.delay_max * 20 + 20_000_000) };
            self.at(START + after, Due::Boot { node });
        }
        let (heal, end) = (START + plan.busy, START + plan.busy + plan.settle);
        self.at(heal, Due::Heal);
        self.at(end - plan.settle / 4, Due::Probe);
        self.at(START, Due::Look);
        self.run_until(end);
        self.finish();
        self.farewell();
        self.report.time = self.now - START;
        self.report.busy = self.case.plan.busy;
        self.report.tally = self.oracle.tally;
        self.report.trace = self.trace.sum();
        self.report
    }

    /// Does everything that is due until then.
    pub(super) fn run_until(&mut self, end: u64) {
        loop {
            let step = self.case.steps.get(self.next_step).map(|step| START + step.at);
            let due = self.due.peek().map(|Entry(Reverse((at, _)), _)| *at);
            let at = match (step, due) {
                (Some(step), Some(due)) => step.min(due),
                (Some(at), None) | (None, Some(at)) => at,
                (None, None) => break,
            };
            if at > end {
                break;
            }
            self.now = self.now.max(at);
            if step == Some(at) {
                self.next_step += 1;
                self.step(Due::Act { step: self.next_step - 1 });
            } else if let Some(Entry(_, due)) = self.due.pop() {
                self.step(due);
            }
        }
        self.now = end;
    }

    // Time.

    pub(super) fn after(&mut self, delay: u64, due: Due) {
        self.at(self.now + delay, due);
    }

    pub(super) fn at(&mut self, at: u64, due: Due) {
        self.turn += 1;
        self.due.push(Entry(Reverse((at, self.turn)), due));
    }

    /// Chance that belongs to one thing.
    pub(super) fn rng(&self, thing: [u64; 3]) -> super::rng::Rng {
        super::rng::Rng::of(self.case.plan.seed, thing)
    }

    /// What a node's clock shows.
    pub(super) fn clock(&self, node: usize) -> Instant {
        Instant::from_nanos(self.now + self.nodes[node].offset)
    }

    // What is due.

    /// The node whose process must run for this, if it is one of the plan.
    fn process_of(&self, due: &Due) -> Option<usize> {
        let of_side = |tcp: &TcpId, side: Side| {
            let tcp = self.tcps.get(tcp)?;
            (tcp.end(side) != End::Gone).then_some(tcp.node(side).0)
        };
        match due {
            Due::Listening { node, .. } | Due::Refused { node, .. } | Due::Wake { node, .. } => Some(*node),
            Due::Accept { tcp } => of_side(tcp, Side::Acceptor),
            Due::Connected { tcp, .. } => of_side(tcp, Side::Dialler),
            Due::Arrive { tcp, side } | Due::Writable { tcp, side } | Due::GivenUp { tcp, side } => {
                of_side(tcp, *side)
            }
            Due::Register { uid } | Due::Reply { uid, .. } | Due::GiveUp { uid, .. } => Some(uid.node),
            Due::Act { step } => match self.case.steps[*step].act {
                Act::Speak { from: who, .. }
                | Act::Claim { who, .. }
                | Act::Ask { who, .. }
                | Act::Watch { who, .. }
                | Act::Kill { who } => Some(who.node.into()),
                Act::Fault(_) => None,
            },
            Due::Probed { .. } | Due::Detected { .. } => None,
            Due::Boot { .. } | Due::Dial { .. } | Due::Depart { .. } | Due::Look | Due::Heal | Due::Probe => {
                None
            }
        }
    }

    /// Until when a process does nothing, because it is stopped or slow.
    fn is_busy_until(&mut self, due: &Due) -> Option<u64> {
        let node = self.process_of(due)?;
        let now = self.now;
        let condition = &mut self.nodes[node].condition;
        if condition.paused > now {
            return Some(condition.paused);
        }
        if condition.slow > now {
            if condition.free > now {
                return Some(condition.free);
            }
            condition.free = now + condition.cost;
        }
        None
    }

    fn step(&mut self, due: Due) {
        if let Some(until) = self.is_busy_until(&due) {
            return self.at(until, due);
        }
        self.report.events += 1;
        assert!(self.report.events < EVENTS_MAX, "I11: so much happens that nothing comes to an end");
        self.trace.due(self.now, &due);
        match due {
            Due::Boot { node } => self.boot(node),
            Due::Listening { node, life, door } => self.listening(node, life, door),
            Due::Dial { node, life, conn, to, door } => self.dial(node, life, conn, (to, door)),
            Due::Accept { tcp } => self.accept(tcp),
            Due::Connected { tcp, conn } => self.connected(tcp, conn),
            Due::Refused { node, life, conn, kind } => self.refused(node, life, conn, kind),
            Due::Arrive { tcp, side } => self.arrive(tcp, side),
            Due::Writable { tcp, side } => self.writable(tcp, side),
            Due::Probed { tcp, side } => self.probed(tcp, side),
            Due::Detected { tcp, side, since, may_wait } => self.check_detected(tcp, side, since, may_wait),
            Due::GivenUp { tcp, side } => self.give_up_connection(tcp, side),
            Due::Wake { node, life } => self.wake(node, life),
            Due::Register { uid } => self.register(uid),
            Due::Act { step } => self.act(step),
            Due::Reply { uid, to, session, number } => self.reply(uid, to, session, number),
            Due::GiveUp { uid, session } => self.give_up(uid, session),
            Due::Depart { conn } => self.depart(conn),
            Due::Look => self.look(),
            Due::Heal => self.heal(),
            Due::Probe => self.probe(),
        }
    }

    fn listening(&mut self, node: usize, life: u32, door: Door) {
        let (listener, address) = match door {
            Door::Links => (Listener::Links, super::node::address(node)),
            Door::Master => (Listener::Master, super::node::MASTER_ADDRESS.to_owned()),
        };
        self.input(node, life, |harbor, now| harbor.handle_listening(now, listener, Ok(address)));
    }

    fn wake(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life || self.nodes[node].wake.is_none_or(|wake| wake > self.now) {
            return;
        }
        self.nodes[node].wake = None;
        match self.nodes[node].host {
            Host::Ours(_) => self.input(node, life, Harbor::handle_timeout),
            Host::Real(_) => self.real_input(node, life, |real, now| real.timeout(now)),
            Host::Crowd(_) | Host::Nothing => {}
        }
    }

    // Machines.

    /// Gives an input to a machine of ours, if it still lives, and does what it wants done.
    pub(super) fn input(&mut self, node: usize, life: u32, handle: impl FnOnce(&mut Harbor, Instant)) {
        let now = self.clock(node);
        let Some(ours) = self.nodes[node].ours(life) else { return };
        handle(&mut ours.harbor, now);
        self.drain(node, life);
    }

    /// The same for a played real node.
    pub(super) fn real_input(&mut self, node: usize, life: u32, handle: impl FnOnce(&mut Real, Instant)) {
        let now = self.clock(node);
        let is_living = self.nodes[node].life == life;
        let Host::Real(real) = &mut self.nodes[node].host else { return };
        if is_living {
            handle(real, now);
            self.drain_real(node, life);
        }
    }

    pub(super) fn drain(&mut self, node: usize, life: u32) {
        let is_crowded = self.nodes[node].condition.crowded > self.now;
        let mailboxes = if is_crowded { usize::MAX / 2 } else { 0 };
        loop {
            let now = self.clock(node);
            let Some(ours) = self.nodes[node].ours(life) else { break };
            if let Some(action) = ours.harbor.poll_action() {
                self.perform(node, life, action);
            } else if let Some(conn) = ours.harbor.poll_transmit() {
                self.transmit(node, conn.number());
            } else if let Some((envelope, returned)) = ours.returned.pop_front() {
                match returned {
                    Returned::NoService => ours.harbor.handle_undeliverable(now, envelope),
                    Returned::NoRoom => ours.harbor.handle_overflow(now, envelope),
                }
            } else {
                ours.harbor.note_mailboxes(mailboxes);
                break;
            }
        }
        self.resumed = None;
        self.after_input(node, life);
    }

    fn after_input(&mut self, node: usize, life: u32) {
        let now = self.now;
        let (offset, events) = (self.nodes[node].offset, self.report.events);
        let ids = &self.ids;
        let Host::Ours(ours) = &mut self.nodes[node].host else { return };
        let is_even = ids.iter().all(|peer| ours.harbor.account(*peer).balances());
        assert!(is_even, "I5: node {node}: the accounts of its peers do not balance");
        // All 256 of them, and the node's: less often.
        let is_even = events % 32 != 0 || ours.harbor.balances();
        assert!(is_even, "I5: node {node}: its accounts do not balance");
        let deadline = ours.harbor.poll_timeout();
        let has_left = ours.harbor.has_left();
        if let Some(deadline) = deadline {
            self.wake_at(node, life, deadline.nanos().saturating_sub(offset).max(now + 1));
        }
        if has_left {
            let conns = &self.nodes[node].conns;
            assert!(conns.is_empty(), "I15: node {node} left with open connections: {conns:?}");
            self.end_life(node);
        } else if self.nodes[node].is_refused {
            self.restart(node);
        }
    }

    pub(super) fn wake_at(&mut self, node: usize, life: u32, at: u64) {
        if self.nodes[node].wake.is_none_or(|wake| at < wake) {
            self.nodes[node].wake = Some(at);
            self.at(at, Due::Wake { node, life });
        }
    }

    pub(super) fn perform(&mut self, node: usize, life: u32, action: Action) {
        self.trace.action(node, &action);
        match action {
            Action::Listen { listener, .. } => {
                let door = door_of(listener);
                self.nodes[node].listens[door as usize] = true;
                self.after(1, Due::Listening { node, life, door });
            }
            Action::StopListening(listener) => self.nodes[node].listens[door_of(listener) as usize] = false,
            Action::Connect { conn, address } => self.connect(node, life, conn.number(), &address),
            Action::Close { conn } => self.close(node, conn.number()),
            Action::Probe { conn } => self.ask_system(node, conn.number()),
            Action::Pause { conn } => self.pause_reading(node, conn.number(), true),
            Action::Resume { conn } => {
                self.pause_reading(node, conn.number(), false);
                let conn = self.nodes[node].conns.get(&conn.number());
                self.resumed = conn.map(|(tcp, _)| *tcp);
            }
            Action::Deliver(envelope) => self.pass_on(node, envelope, true),
            Action::Complete(envelope) => self.pass_on(node, envelope, false),
            Action::Answer { waiter, answer } => self.answered(node, waiter, &answer),
            Action::Publish { name, handle } => self.published(node, name, handle),
            Action::Retract { name } => {
                if let Some(ours) = self.nodes[node].ours(life) {
                    ours.names.remove(&name);
                }
            }
            Action::Event(event) => self.event(node, life, &event),
        }
    }

    /// A message for a service, over the connection that is read, or is read again.
    fn pass_on(&mut self, node: usize, envelope: Envelope, may_be_full: bool) {
        let over = self.over;
        let is_its = |tcp: &TcpId| self.oracle.link(node, envelope.source.harbor()) == Some(*tcp);
        self.over = self.resumed.filter(is_its).or(over);
        self.deliver(node, envelope, may_be_full);
        self.over = over;
    }

    fn event(&mut self, node: usize, life: u32, event: &Event) {
        match event {
            Event::Up(peer) => self.oracle.up(node, *peer, self.over),
            Event::Down(peer, reason) => self.lost(node, life, *peer, *reason),
            Event::MasterUp => self.nodes[node].master_up = true,
            Event::Joined { missing } => {
                let is_right = *missing == 0 || !self.healthy;
                assert!(is_right, "I11: node {node} waited for {missing} links in a healthy cluster");
            }
            Event::Master(event) => self.check_master(event),
            Event::MasterDown(_) => self.lost_master(node),
            Event::Refused { .. } => self.nodes[node].is_refused = true,
            Event::PeerFault { conn, fault, .. } => self.faulted(node, conn.number(), *fault),
            _ => {}
        }
    }

    /// A machine closes a connection because of what its peer did. (Who answers for another id, after a restart at the same
    /// address, may have taken the link for up.)
    fn faulted(&mut self, node: usize, conn: u64, fault: Fault) {
        let Some((tcp, _)) = self.nodes[node].conns.get(&conn) else { return };
        let mark = &mut self.marks[*tcp as usize];
        let is_guilty = mark.garbled || mark.strange;
        let is_frame = matches!(fault, Fault::Frame(_));
        assert!(is_guilty || !is_frame, "I12: node {node}: {fault} on a connection without garbage");
        mark.touched = true;
        if let (true, Some(tcp)) = (is_frame, self.tcps.get(tcp)) {
            let pair = Side::BOTH.map(|side| tcp.node(side).0);
            self.estranged.extend([(pair[0], pair[1]), (pair[1], pair[0])]);
        }
    }

    /// I12: nothing goes down that nothing happened to.
    fn lost(&mut self, node: usize, life: u32, peer: HarborId, reason: DownReason) {
        let Some(ours) = self.nodes[node].ours(life) else { return };
        let (pending, leaves) = (ours.harbor.pending_calls(peer), ours.leaves);
        let over = self.oracle.down(node, peer, pending);
        let mark = self.marks[over as usize];
        // Nodes of our kind say so when they do not read; that is not silence.
        let was_crowded = mark.crowded && reason != DownReason::Silent;
        assert!(
            mark.touched || was_crowded || leaves,
            "I12: node {node}: the link to {peer} is down ({reason:?}), and nothing happened to it"
        );
    }

    fn lost_master(&mut self, node: usize) {
        self.nodes[node].master_up = false;
        if let Some(tcp) = self.nodes[node].control {
            let leaves = matches!(&self.nodes[node].host, Host::Ours(ours) if ours.leaves);
            let mark = self.marks[tcp as usize];
            assert!(
                mark.touched || leaves,
                "I12: node {node}: the master is down, and nothing happened to its link"
            );
        }
    }

    fn drain_real(&mut self, node: usize, life: u32) {
        while self.nodes[node].life == life
            && let Host::Real(real) = &mut self.nodes[node].host
            && let Some(wish) = real.poll()
        {
            self.trace.wish(node, &wish);
            match wish {
                Do::Listen(_, door) => self.nodes[node].listens[door as usize] = true,
                Do::StopListening(door) => self.nodes[node].listens[door as usize] = false,
                Do::Connect(conn, address) => self.connect(node, life, conn, &address),
                Do::Write(conn, bytes) => self.write_played(node, conn, &bytes),
                Do::Close(conn) => self.close_played(node, conn),
            }
        }
        let offset = self.nodes[node].offset;
        let Host::Real(real) = &self.nodes[node].host else { return };
        if let Some(deadline) = real.deadline() {
            let at = deadline.nanos().saturating_sub(offset).max(self.now + 1);
            self.wake_at(node, life, at);
        }
        self.hear_real(node);
    }
}

fn door_of(listener: Listener) -> Door {
    match listener {
        Listener::Links => Door::Links,
        Listener::Master => Door::Master,
    }
}

/// A machine's number of a connection.
pub(super) const fn conn_id(conn: u64) -> ConnId {
    ConnId::new(conn)
}
