//! The machines under any sequence of events: the master against a naive model, the slave against what its
//! services and its link must see, and a master with slaves.

mod ties;

use super::names::is_nobody;
use super::*;
use crate::clock::Instant;
use crate::message::{Handle, HarborAnswer, HarborId, Name, Session, Waiter};
use crate::wire::control::{ControlFault, Packet, Received};
use crate::wire::{ConnId, PacketName};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

fn packet_name(n: u8) -> PacketName {
    name(n).into()
}

fn name(n: u8) -> Name {
    Name::new(&[b'A' + n]).unwrap()
}

fn handle(harbor: u8, local: u8) -> Handle {
    Handle::new(HarborId::new(harbor), u32::from(local) + 8)
}

fn hello(id: u8) -> Packet {
    Packet::Hello { id: HarborId::new(id), address: format!("host:{id}") }
}

/// Packets of a master and of a slave, about few ids and names so that they meet.
fn packet() -> impl Strategy<Value = Packet> {
    let id = || 1..6u8;
    let name = || (0..3u8).prop_map(packet_name);
    let handle = || (0..6u8, 0..3u8).prop_map(|(harbor, local)| handle(harbor, local));
    prop_oneof![
        3 => id().prop_map(hello),
        4 => (name(), handle()).prop_map(|(name, handle)| Packet::Register { name, handle }),
        2 => name().prop_map(|name| Packet::Query { name }),
        1 => (0..4u8).prop_map(|n| Packet::Wait { n }),
        1 => id().prop_map(|id| Packet::Connect { id: HarborId::new(id), address: String::new() }),
        2 => (name(), handle()).prop_map(|(name, handle)| Packet::Name { name, handle }),
        1 => id().prop_map(|id| Packet::Dead { id: HarborId::new(id) }),
        1 => Just(Packet::Unknown { letter: b"Z".to_vec() }),
    ]
}

#[derive(Clone, Debug)]
enum MasterOp {
    Accepted,
    /// Accepted, and `H` at once.
    Joined(u8),
    /// `R` of a name of the sender's own node.
    Own(u64, u8, u8),
    /// Connections are counted from the newest backwards.
    Packet(u64, Packet),
    Fault(u64),
    Closed(u64),
    Seconds(u64),
}

fn master_op() -> impl Strategy<Value = MasterOp> {
    let conn = || 0..8u64;
    prop_oneof![
        2 => Just(MasterOp::Accepted),
        4 => (1..6u8).prop_map(MasterOp::Joined),
        6 => (conn(), 0..3u8, 0..3u8).prop_map(|(conn, name, local)| MasterOp::Own(conn, name, local)),
        12 => (conn(), packet()).prop_map(|(conn, packet)| MasterOp::Packet(conn, packet)),
        1 => conn().prop_map(MasterOp::Fault),
        1 => conn().prop_map(MasterOp::Closed),
        1 => (1..4u64).prop_map(MasterOp::Seconds),
    ]
}

/// The rules of a master without any index: lists that are searched.
#[derive(Default)]
struct MasterModel {
    guests: Vec<(u64, u64)>,
    members: Vec<(u64, u8)>,
    ever: Vec<u8>,
    names: Vec<(PacketName, Handle)>,
    /// What each connection must read; `None` is the end.
    written: BTreeMap<u64, Vec<Option<Packet>>>,
}

impl MasterModel {
    const GUESTS_MAX: usize = 3;
    const NAMES_MAX: usize = 2;

    fn id(&self, conn: u64) -> Option<u8> {
        self.members.iter().find(|(member, _)| *member == conn).map(|(_, id)| *id)
    }

    fn write(&mut self, conn: u64, packet: Option<Packet>) {
        self.written.entry(conn).or_default().push(packet);
    }

    fn broadcast(&mut self, packet: &Packet) {
        for (conn, _) in self.members.clone() {
            self.write(conn, Some(packet.clone()));
        }
    }

    fn accept(&mut self, conn: u64, second: u64) {
        match self.guests.len() < Self::GUESTS_MAX {
            true => self.guests.push((conn, second + 5)),
            false => self.write(conn, None),
        }
    }

    fn packet(&mut self, conn: u64, packet: Packet) {
        if self.guests.iter().any(|(guest, _)| *guest == conn) {
            self.guests.retain(|(guest, _)| *guest != conn);
            match packet {
                Packet::Hello { id, address } if !self.ever.contains(&id.get()) => {
                    self.broadcast(&Packet::Connect { id, address });
                    self.write(conn, Some(Packet::Wait { n: self.members.len() as u8 }));
                    self.members.push((conn, id.get()));
                    self.ever.push(id.get());
                }
                _ => self.write(conn, None),
            }
        } else if let Some(sender) = self.id(conn) {
            match packet {
                Packet::Register { name, handle } => self.register(conn, sender, name, handle),
                Packet::Query { name } => {
                    let found = self.names.iter().find(|(known, _)| *known == name).cloned();
                    if let Some((name, handle)) = found {
                        self.write(conn, Some(Packet::Name { name, handle }));
                    }
                }
                _ => {}
            }
        }
    }

    fn register(&mut self, conn: u64, sender: u8, name: PacketName, handle: Handle) {
        let lives = |handle: Handle| self.members.iter().any(|(_, id)| *id == handle.harbor().get());
        let owner = self.names.iter().find(|(known, _)| *known == name).map(|(_, owner)| *owner);
        let own = |handle: Handle| handle.harbor().get() == sender;
        let is_taken = match owner {
            None => self.names.len() < Self::NAMES_MAX,
            Some(owner) => owner != handle && (!lives(owner) || (own(owner) && own(handle))),
        };
        if is_taken {
            self.names.retain(|(known, _)| *known != name);
            self.names.push((name.clone(), handle));
            self.broadcast(&Packet::Name { name, handle });
        } else if let Some(owner) = owner {
            self.write(conn, Some(Packet::Name { name, handle: owner }));
        }
    }

    /// The connection is gone; `closes` if the master is the one who closes it.
    fn end(&mut self, conn: u64, closes: bool) {
        let is_guest = self.guests.iter().any(|(guest, _)| *guest == conn);
        let id = self.id(conn);
        self.guests.retain(|(guest, _)| *guest != conn);
        self.members.retain(|(member, _)| *member != conn);
        if closes && (is_guest || id.is_some()) {
            self.write(conn, None);
        }
        if let Some(id) = id {
            self.broadcast(&Packet::Dead { id: HarborId::new(id) });
        }
    }

    fn second(&mut self, second: u64) {
        for (conn, deadline) in self.guests.clone() {
            if deadline <= second {
                self.end(conn, true);
            }
        }
    }
}

fn at(second: u64) -> Instant {
    Instant::default() + Duration::from_secs(second)
}

proptest! {
    #[test]
    fn the_master_does_what_the_naive_model_does(ops in prop::collection::vec(master_op(), 0..100)) {
        let bounds = Bounds {
            guests_max: MasterModel::GUESTS_MAX, names_max: MasterModel::NAMES_MAX, ..Bounds::default()
        };
        let mut master = Master::new(bounds);
        let mut model = MasterModel::default();
        let mut written: BTreeMap<u64, Vec<Option<Packet>>> = BTreeMap::new();
        let (mut second, mut conns) = (0, 0);
        for op in ops {
            match op {
                MasterOp::Accepted => {
                    conns += 1;
                    master.handle_accepted(at(second), ConnId::new(conns));
                    model.accept(conns, second);
                }
                MasterOp::Joined(id) => {
                    conns += 1;
                    master.handle_accepted(at(second), ConnId::new(conns));
                    model.accept(conns, second);
                    master.handle_packet(at(second), ConnId::new(conns), hello(id));
                    model.packet(conns, hello(id));
                }
                MasterOp::Own(back, text, local) => {
                    let conn = conns.saturating_sub(back);
                    let Some(id) = model.id(conn) else { continue };
                    let packet = Packet::Register { name: packet_name(text), handle: handle(id, local) };
                    master.handle_packet(at(second), ConnId::new(conn), packet.clone());
                    model.packet(conn, packet);
                }
                MasterOp::Packet(back, packet) => {
                    let conn = conns.saturating_sub(back);
                    master.handle_packet(at(second), ConnId::new(conn), packet.clone());
                    model.packet(conn, packet);
                }
                MasterOp::Fault(back) => {
                    let conn = conns.saturating_sub(back);
                    master.handle_fault(at(second), ConnId::new(conn), ControlFault::Empty);
                    model.end(conn, true);
                }
                MasterOp::Closed(back) => {
                    let conn = conns.saturating_sub(back);
                    master.handle_closed(at(second), ConnId::new(conn));
                    model.end(conn, false);
                }
                MasterOp::Seconds(seconds) => {
                    second += seconds;
                    master.handle_timeout(at(second));
                    model.second(second);
                }
            }
            while let Some(output) = master.poll_output() {
                match output {
                    MasterOutput::SendPacket { conn, packet, .. } => {
                        written.entry(conn.number()).or_default().push(Some(packet));
                    }
                    MasterOutput::Close { conn } => written.entry(conn.number()).or_default().push(None),
                    MasterOutput::Event(_) => {}
                }
            }
            prop_assert_eq!(&written, &model.written);
            prop_assert_eq!(master.poll_timeout(), model.guests.iter().map(|(_, second)| at(*second)).min());
        }
        let members: Vec<u64> = master.members().map(|(_, conn)| conn.number()).collect();
        model.members.sort_by_key(|(_, id)| *id);
        prop_assert_eq!(members, model.members.iter().map(|(conn, _)| *conn).collect::<Vec<_>>());
    }
}

#[derive(Clone, Debug)]
enum SlaveOp {
    Connected,
    Packet(Packet),
    Fault,
    Closed,
    Linked(u8),
    Unlinked(u8),
    Register(u8, u8),
    Unregister(u8, u8),
    Query(u8, u64),
    Forget(u32),
    Held(u8),
    Released(u8),
    Seconds(u64),
}

fn slave_op() -> impl Strategy<Value = SlaveOp> {
    prop_oneof![
        2 => Just(SlaveOp::Connected),
        8 => packet().prop_map(SlaveOp::Packet),
        4 => (0..3u8).prop_map(|n| SlaveOp::Packet(Packet::Wait { n })),
        1 => Just(SlaveOp::Fault),
        1 => Just(SlaveOp::Closed),
        2 => (1..6u8).prop_map(SlaveOp::Linked),
        1 => (1..6u8).prop_map(SlaveOp::Unlinked),
        4 => (0..5u8, 0..3u8).prop_map(|(name, local)| SlaveOp::Register(name, local)),
        1 => (0..5u8, 0..3u8).prop_map(|(name, local)| SlaveOp::Unregister(name, local)),
        6 => (0..5u8, 0..9u64).prop_map(|(name, seconds)| SlaveOp::Query(name, seconds)),
        2 => (0..30u32).prop_map(SlaveOp::Forget),
        2 => (0..5u8).prop_map(SlaveOp::Held),
        1 => (0..5u8).prop_map(SlaveOp::Released),
        2 => (1..6u64).prop_map(SlaveOp::Seconds),
    ]
}

const OWN: u8 = 4;

/// A slave, and what its services and its link have seen of it.
struct Watched {
    slave: Slave,
    second: u64,
    conn: u64,
    session: u32,
    waiting: BTreeSet<u32>,
    linked: BTreeSet<u8>,
    published: BTreeMap<Name, Handle>,
    /// Our names that the driver was not told are lost.
    own: BTreeMap<Name, Handle>,
    held: BTreeSet<Name>,
    /// Packets on the present link.
    sent: Vec<Packet>,
}

impl Watched {
    fn new() -> Self {
        let bounds = Bounds { names_max: 4, names_waited_max: 2, name_waiters_max: 4, ..Bounds::default() };
        Self {
            slave: Slave::new(HarborId::new(OWN), bounds),
            second: 0,
            conn: 0,
            session: 0,
            waiting: BTreeSet::new(),
            linked: BTreeSet::new(),
            published: BTreeMap::new(),
            own: BTreeMap::new(),
            held: BTreeSet::new(),
            sent: Vec::new(),
        }
    }

    /// Every request gets a session of its own.
    fn waiter(&mut self) -> Waiter {
        self.session += 1;
        self.waiting.insert(self.session);
        Waiter { source: handle(OWN, 9), session: Session::from_bits(self.session) }
    }

    fn run(&mut self, op: SlaveOp) {
        let now = at(self.second);
        let conn = ConnId::new(self.conn);
        match op {
            SlaveOp::Connected => {
                self.conn += 1;
                self.sent.clear();
                self.slave.handle_connected(now, ConnId::new(self.conn), "host:4");
            }
            SlaveOp::Packet(packet) => self.slave.handle_packet(now, conn, packet),
            SlaveOp::Fault => self.slave.handle_fault(now, conn, ControlFault::Empty),
            SlaveOp::Closed => self.slave.handle_closed(now, conn),
            SlaveOp::Linked(id) => {
                self.linked.insert(id);
                self.slave.handle_linked(now, HarborId::new(id));
            }
            SlaveOp::Unlinked(id) => {
                self.linked.remove(&id);
                self.slave.handle_unlinked(now, HarborId::new(id));
            }
            SlaveOp::Register(text, local) => {
                let waiter = self.waiter();
                self.slave.handle_register(now, name(text), handle(OWN, local), waiter);
                let first = self.slave.poll_output();
                let Some(SlaveOutput::Answer { waiter: told, answer }) = first else { panic!("{first:?}") };
                assert_eq!(told, waiter);
                self.waiting.remove(&waiter.session.bits());
                match answer {
                    HarborAnswer::Registered => {
                        self.own.insert(name(text), handle(OWN, local));
                    }
                    HarborAnswer::NameTaken(owner) => {
                        assert_eq!(self.published.get(&name(text)), Some(&owner))
                    }
                    HarborAnswer::Full => assert!(!self.published.contains_key(&name(text))),
                    other => panic!("{other:?}"),
                }
            }
            SlaveOp::Unregister(text, local) => {
                self.slave.handle_unregister(now, name(text), handle(OWN, local));
                if self.own.get(&name(text)) == Some(&handle(OWN, local)) {
                    self.own.remove(&name(text));
                }
            }
            SlaveOp::Query(text, seconds) => {
                let waiter = self.waiter();
                self.slave.handle_query(now, name(text), waiter, at(self.second + seconds));
            }
            SlaveOp::Forget(session) => {
                self.waiting.remove(&session);
                let waiter = Waiter { source: handle(OWN, 9), session: Session::from_bits(session) };
                self.slave.handle_forget(now, waiter);
            }
            SlaveOp::Held(text) => match self.slave.handle_held(now, name(text)) {
                Ok(None) => {
                    self.held.insert(name(text));
                }
                Ok(Some(owner)) => assert_eq!(self.published.get(&name(text)), Some(&owner)),
                Err(NamesFull) => assert!(!self.held.contains(&name(text))),
            },
            SlaveOp::Released(text) => {
                self.held.remove(&name(text));
                self.slave.handle_released(now, name(text));
            }
            SlaveOp::Seconds(seconds) => {
                self.second += seconds;
                self.slave.handle_timeout(at(self.second));
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.slave.poll_output() {
            match output {
                SlaveOutput::SendPacket { conn, packet, .. } => {
                    assert_eq!(conn.number(), self.conn);
                    self.sent.push(packet);
                }
                SlaveOutput::Close { .. } => {}
                SlaveOutput::Dial { id, .. } => {
                    assert!(id.get() != OWN && !self.linked.contains(&id.get()), "{id} is dialled");
                }
                SlaveOutput::Relocated { id, .. } => assert!(self.linked.contains(&id.get()), "{id}"),
                SlaveOutput::Kin { id } => panic!("nobody looked for {id}"),
                SlaveOutput::Published { name, handle } => {
                    // A full table publishes what it answers and forgets it.
                    if self.slave.owner(&name).is_some() {
                        self.published.insert(name, handle);
                    }
                    self.held.remove(&name);
                }
                SlaveOutput::Forgotten { name } => assert!(self.published.remove(&name).is_some(), "{name}"),
                SlaveOutput::Answer { waiter, answer } => {
                    assert!(self.waiting.remove(&waiter.session.bits()), "{answer:?} for nobody, or twice");
                }
                SlaveOutput::Event(SlaveEvent::NameLost { name, ours, .. }) => {
                    assert_eq!(self.own.remove(&name), Some(ours));
                }
                SlaveOutput::Event(_) => {}
            }
        }
    }

    /// What holds between any two events.
    fn check(&mut self) {
        let known: BTreeMap<Name, Handle> = self.slave.names().collect();
        assert_eq!(known, self.published);
        for (name, handle) in &self.own {
            assert_eq!(known.get(name), Some(handle), "our name is known");
        }
        assert!(self.held.iter().all(|name| !known.contains_key(name)));
        if let Some(timeout) = self.slave.poll_timeout() {
            self.slave.handle_timeout(Instant::from_nanos(timeout.nanos().min(at(self.second).nanos())));
            self.drain();
        }
        match self.slave.state() {
            SlaveState::Apart => {}
            SlaveState::Greeting | SlaveState::Joining => {
                assert_eq!(self.sent.len(), 1, "H and nothing else: {:?}", self.sent);
                assert!(matches!(self.sent[0], Packet::Hello { .. }));
            }
            SlaveState::Ready => {
                for (name, handle) in &self.own {
                    let register = Packet::Register { name: (*name).into(), handle: *handle };
                    assert!(self.sent.contains(&register), "the master has not heard of {name}");
                }
                for name in &self.held {
                    assert!(
                        self.sent.contains(&Packet::Query { name: (*name).into() }),
                        "{name} is not asked for"
                    );
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_slave_keeps_its_word_to_services_and_master(ops in prop::collection::vec(slave_op(), 0..100)) {
        let mut watched = Watched::new();
        for op in ops {
            watched.run(op);
            watched.drain();
            watched.check();
        }
        watched.second += 10;
        watched.slave.handle_timeout(at(watched.second));
        watched.drain();
        prop_assert_eq!(watched.waiting, BTreeSet::new(), "every query is answered in the end");
    }
}

#[derive(Clone, Debug)]
enum ClusterOp {
    /// A slave connects, if it is not connected.
    Connect(usize),
    /// The oldest packet from this slave arrives at the master, or from the master at the slave.
    Up(usize),
    Down(usize),
    Register(usize, u8, u8),
    /// The service of this slave that has the name, if one has, gives it up.
    End(usize, u8),
    Cut(usize),
}

fn cluster_op() -> impl Strategy<Value = ClusterOp> {
    let slave = || 0..3usize;
    prop_oneof![
        4 => slave().prop_map(ClusterOp::Connect),
        8 => slave().prop_map(ClusterOp::Up),
        8 => slave().prop_map(ClusterOp::Down),
        6 => (slave(), 0..3u8, 0..2u8).prop_map(|(slave, name, local)| ClusterOp::Register(slave, name, local)),
        2 => (slave(), 0..3u8).prop_map(|(slave, name)| ClusterOp::End(slave, name)),
        1 => slave().prop_map(ClusterOp::Cut),
    ]
}

/// One node: its slave and what is under way on its control link.
struct Node {
    id: u8,
    slave: Slave,
    conn: Option<ConnId>,
    up: VecDeque<Received>,
    down: VecDeque<Received>,
    own: BTreeMap<Name, Handle>,
}

/// A master with three slaves whose packets take their time. All links between the nodes are up.
struct Cluster {
    master: Master,
    nodes: Vec<Node>,
    conns: u64,
}

impl Cluster {
    fn new() -> Self {
        let nodes = (1..=3u8).map(|id| {
            let mut slave = Slave::new(HarborId::new(id), Bounds::default());
            for other in (1..=3).filter(|other| *other != id) {
                slave.handle_linked(at(0), HarborId::new(other));
            }
            Node { id, slave, conn: None, up: VecDeque::new(), down: VecDeque::new(), own: BTreeMap::new() }
        });
        Self { master: Master::new(Bounds::default()), nodes: nodes.collect(), conns: 0 }
    }

    fn run(&mut self, op: ClusterOp) {
        match op {
            ClusterOp::Connect(n) if self.nodes[n].conn.is_none() => {
                self.conns += 1;
                let conn = ConnId::new(self.conns);
                self.nodes[n].conn = Some(conn);
                self.nodes[n].slave.handle_connected(at(0), conn, "host:1");
                self.master.handle_accepted(at(0), conn);
            }
            ClusterOp::Up(n) => {
                if let (Some(conn), Some(packet)) = (self.nodes[n].conn, self.nodes[n].up.pop_front()) {
                    self.master.handle_packet(at(0), conn, packet);
                }
            }
            ClusterOp::Down(n) => {
                let node = &mut self.nodes[n];
                if let (Some(conn), Some(packet)) = (node.conn, node.down.pop_front()) {
                    node.slave.handle_packet(at(0), conn, packet);
                }
            }
            ClusterOp::Register(n, text, local) => {
                let waiter = Waiter { source: Handle::NONE, session: Session::NONE };
                self.nodes[n].slave.handle_register(at(0), name(text), handle(n as u8 + 1, local), waiter);
            }
            ClusterOp::End(n, text) => {
                let node = &mut self.nodes[n];
                if let Some(owner) = node.own.remove(&name(text)) {
                    node.slave.handle_unregister(at(0), name(text), owner);
                }
            }
            ClusterOp::Cut(n) => {
                if let Some(conn) = self.nodes[n].conn {
                    self.master.handle_closed(at(0), conn);
                    self.lose(n);
                }
            }
            ClusterOp::Connect(_) => {}
        }
        self.drain();
    }

    fn lose(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if let Some(conn) = node.conn.take() {
            node.slave.handle_closed(at(0), conn);
            node.up.clear();
            node.down.clear();
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.master.poll_output() {
            let index = |conn| self.nodes.iter().position(|node| node.conn == Some(conn));
            match output {
                // Real nodes have no slave here.
                MasterOutput::SendPacket { conn, packet, trailing } => {
                    if let Some(n) = index(conn) {
                        self.nodes[n].down.push_back(trailing.behind(packet));
                    }
                }
                MasterOutput::Close { conn } => {
                    if let Some(n) = index(conn) {
                        self.lose(n);
                    }
                }
                MasterOutput::Event(_) => {}
            }
        }
        for node in &mut self.nodes {
            while let Some(output) = node.slave.poll_output() {
                match output {
                    SlaveOutput::SendPacket { packet, trailing, .. } => {
                        node.up.push_back(trailing.behind(packet));
                    }
                    SlaveOutput::Close { .. } => panic!("this master makes no mistakes"),
                    SlaveOutput::Event(SlaveEvent::NameLost { name, .. }) => {
                        node.own.remove(&name);
                    }
                    SlaveOutput::Published { name, handle }
                        if handle.harbor().get() == node.id && !is_nobody(handle) =>
                    {
                        node.own.insert(name, handle);
                    }
                    // Before it came back from the master, the end of the name overtook its beginning.
                    SlaveOutput::Published { name, handle } if is_nobody(handle) => {
                        node.own.remove(&name);
                    }
                    SlaveOutput::Published { .. }
                    | SlaveOutput::Forgotten { .. }
                    | SlaveOutput::Dial { .. }
                    | SlaveOutput::Relocated { .. }
                    | SlaveOutput::Kin { .. }
                    | SlaveOutput::Answer { .. }
                    | SlaveOutput::Event(_) => {}
                }
            }
        }
    }

    /// Everything that is under way arrives.
    fn settle(&mut self) {
        while self.nodes.iter().any(|node| !node.up.is_empty() || !node.down.is_empty()) {
            for n in 0..self.nodes.len() {
                self.run(ClusterOp::Up(n));
                self.run(ClusterOp::Down(n));
            }
        }
    }
}

proptest! {
    #[test]
    fn at_rest_all_members_agree_with_the_master(ops in prop::collection::vec(cluster_op(), 0..120)) {
        let mut cluster = Cluster::new();
        for op in ops {
            cluster.run(op);
        }
        cluster.settle();
        let owners: BTreeMap<Name, Handle> =
            cluster.master.names().map(|(name, handle)| (name.to_name().unwrap(), handle)).collect();
        for node in cluster.nodes.iter().filter(|node| node.conn.is_some()) {
            prop_assert_eq!(node.slave.state(), SlaveState::Ready);
            for (name, handle) in node.slave.names() {
                prop_assert_eq!(owners.get(&name), Some(&handle), "node {} and name {}", node.id, name);
            }
            for (name, handle) in &node.own {
                prop_assert_eq!(owners.get(name), Some(handle), "node {} thinks that it has {}", node.id, name);
            }
        }
    }
}
