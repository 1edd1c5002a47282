//! G13: whoever was confirmed first has the name, in whatever order the registrations come again.

use super::*;
use crate::limits::SERVICE_ID_VACANT;
use crate::wire::{Hello, Trailing};

fn life(incarnation: u64) -> Hello {
    Hello { incarnation, capabilities: 0 }
}

/// All orders of `0..len`.
fn orders(len: usize) -> Vec<Vec<usize>> {
    if len == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(len - 1);
    let places = |order: Vec<usize>| {
        (0..len).map(move |place| {
            let mut longer = order.clone();
            longer.insert(place, len - 1);
            longer
        })
    };
    shorter.into_iter().flat_map(places).collect()
}

/// A master that began again, its members 1, 2, …, and what it told each of one name.
struct Replays {
    master: Master,
    told: BTreeMap<u64, Handle>,
}

impl Replays {
    fn new(members: usize) -> Self {
        let mut master = Master::new(Bounds::default());
        master.seek_kin(life(9));
        for id in 1..=members as u8 {
            let conn = ConnId::new(id.into());
            master.handle_accepted(at(0), conn);
            master.handle_packet(at(0), conn, Trailing::Hello(life(1)).behind(hello(id)));
        }
        Self { master, told: BTreeMap::new() }
    }

    fn register(&mut self, index: usize, handle: Handle, trailing: Trailing) {
        let packet = Packet::Register { name: packet_name(0), handle };
        self.master.handle_packet(at(1), ConnId::new(index as u64 + 1), trailing.behind(packet));
        while let Some(output) = self.master.poll_output() {
            match output {
                MasterOutput::SendPacket { conn, packet: Packet::Name { name, handle }, .. }
                    if name == packet_name(0) =>
                {
                    self.told.insert(conn.number(), handle);
                }
                MasterOutput::SendPacket { .. } | MasterOutput::Event(_) => {}
                MasterOutput::Close { conn } => panic!("{conn:?} is closed"),
            }
        }
    }

    fn owner(&self) -> Option<Handle> {
        self.master.names().find(|(name, _)| **name == packet_name(0)).map(|(_, handle)| handle)
    }
}

/// Who has the name after nodes 1, 2, … registered it again in this order, each with its epoch; and whether all
/// who were told believe the same.
fn owner_after(epochs: &[u64], order: &[usize], new: Option<usize>) -> u8 {
    let mut cluster = Replays::new(epochs.len() + 1);
    let own = |index: usize| handle(index as u8 + 1, 0);
    for (turn, index) in order.iter().enumerate() {
        if new == Some(turn) {
            cluster.register(epochs.len(), own(epochs.len()), Trailing::Nothing);
        }
        cluster.register(*index, own(*index), Trailing::Epoch(epochs[*index]));
    }
    let owners: BTreeSet<Handle> = cluster.told.values().copied().collect();
    assert_eq!(owners.len(), 1, "{:?}", cluster.told);
    owners.first().unwrap().harbor().get()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_order_of_arrival_ends_with_the_same_owner(epochs in prop::collection::vec(0..4u64, 1..5)) {
        let rank = |index: &usize| (epochs[*index].wrapping_sub(1), *index);
        let first = (0..epochs.len()).min_by_key(rank).unwrap();
        for order in orders(epochs.len()) {
            prop_assert_eq!(owner_after(&epochs, &order, None), first as u8 + 1, "{:?}", &order);
            // One that registers it now never stands in the way of who was confirmed.
            for turn in (0..epochs.len()).filter(|_| epochs[first] != 0) {
                prop_assert_eq!(owner_after(&epochs, &order, Some(turn)), first as u8 + 1, "{:?}", &order);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever between the registrations the end of one comes: that node does not have the name in the end, the master has told
    /// everybody the same, and an end changes nothing for whoever else has it.
    #[test]
    fn every_order_of_arrival_with_an_end_leaves_one_belief(
        epochs in prop::collection::vec(0..4u64, 1..5), ending in 0..4usize,
    ) {
        let ending = ending % epochs.len();
        for order in orders(epochs.len() + 1) {
            let end = order.iter().position(|index| *index == epochs.len()).unwrap();
            let began = order.iter().position(|index| *index == ending).unwrap();
            if end < began {
                continue;
            }
            let mut cluster = Replays::new(epochs.len());
            for index in order {
                let before = cluster.owner();
                if index == epochs.len() {
                    cluster.register(ending, nobody(ending), Trailing::Nothing);
                    if before.is_some_and(|owner| owner.harbor() != id_of(ending)) {
                        prop_assert_eq!(cluster.owner(), before);
                    }
                } else {
                    cluster.register(index, handle(index as u8 + 1, 0), Trailing::Epoch(epochs[index]));
                }
            }
            let owner = cluster.owner().unwrap();
            prop_assert!(owner.harbor() != id_of(ending) || is_nobody(owner));
            prop_assert!(cluster.told.values().all(|told| *told == owner), "{:?}", cluster.told);
        }
    }
}

fn id_of(index: usize) -> HarborId {
    HarborId::new(index as u8 + 1)
}

fn nobody(index: usize) -> Handle {
    Handle::new(id_of(index), SERVICE_ID_VACANT)
}

/// The master began again within a second, so its first numbers are those of its last life.
#[test]
fn a_master_whose_clock_did_not_move_gives_no_name_away() {
    let base = 9 << 16;
    let replays = [(1, 0, base + 20), (1, 1, base + 30)];
    for order in orders(replays.len()) {
        let mut master = Master::new(Bounds::default());
        master.seek_kin(life(9));
        for node in [1, 2] {
            master.handle_accepted(at(0), ConnId::new(node));
            master.handle_packet(
                at(0),
                ConnId::new(node),
                Trailing::Hello(life(1)).behind(hello(node as u8)),
            );
        }
        let mut register = |node: u8, text: u8, trailing: Trailing| {
            let packet = Packet::Register { name: packet_name(text), handle: handle(node, 0) };
            master.handle_packet(at(1), ConnId::new(node.into()), trailing.behind(packet));
        };
        register(2, 0, Trailing::Nothing);
        for index in &order {
            let (node, text, epoch) = replays[*index];
            register(node, text, Trailing::Epoch(epoch));
        }
        let owner = master.names().find(|(name, _)| **name == packet_name(0)).map(|(_, handle)| handle);
        assert_eq!(owner, Some(handle(1, 0)), "{order:?}");
    }
}

/// Epochs count for nodes of our kind, and for their own names.
#[test]
fn who_is_not_of_our_kind_or_not_the_owner_brings_no_epoch() {
    let mut master = Master::new(Bounds::default());
    master.seek_kin(life(9));
    for node in 1..=4u8 {
        let conn = ConnId::new(node.into());
        let about = if node == 3 { Trailing::Nothing } else { Trailing::Hello(life(1)) };
        master.handle_accepted(at(0), conn);
        master.handle_packet(at(0), conn, about.behind(hello(node)));
    }
    let mut register = |conn: u8, owner: u8, epoch: u64| {
        let packet = Packet::Register { name: packet_name(0), handle: handle(owner, 0) };
        master.handle_packet(at(1), ConnId::new(conn.into()), Trailing::Epoch(epoch).behind(packet));
        master.names().next().map(|(_, owner)| owner.harbor().get())
    };
    assert_eq!(register(2, 2, 20), Some(2));
    assert_eq!(register(3, 3, 1), Some(2), "a node that did not say who it is");
    // Another speaks for the owner and would make its claim older; then a claim in between still wins.
    assert_eq!(register(4, 2, 1), Some(2));
    assert_eq!(register(1, 1, 10), Some(1));
    assert_eq!(register(4, 4, u64::MAX), Some(1), "no number is used up by it");
}

#[derive(Clone, Debug)]
enum Op {
    Usual(ClusterOp),
    /// A real node registers a name.
    Real(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![9 => cluster_op().prop_map(Op::Usual), 1 => (0..3u8).prop_map(Op::Real)]
}

impl Cluster {
    fn of_kin() -> Self {
        let mut cluster = Self::new();
        cluster.nodes.iter_mut().for_each(|node| node.slave.seek_kin(life(u64::from(node.id))));
        cluster
    }

    /// The master ends and begins again: it knows nothing.
    fn restart(&mut self, incarnation: u64) {
        for n in 0..self.nodes.len() {
            self.lose(n);
        }
        self.drain();
        self.master = Master::new(Bounds::default());
        self.master.seek_kin(life(incarnation));
    }

    fn join_all(&mut self) {
        for n in 0..self.nodes.len() {
            self.run(ClusterOp::Connect(n));
        }
        self.settle();
    }

    /// A real node comes, takes a name and goes on with its life.
    fn real(&mut self, text: u8) {
        self.conns += 1;
        let (conn, id) = (ConnId::new(self.conns), 100 + self.conns as u8 % 100);
        self.master.handle_accepted(at(0), conn);
        self.master.handle_packet(at(0), conn, hello(id));
        for node in &mut self.nodes {
            node.slave.handle_linked(at(0), HarborId::new(id));
        }
        let packet = Packet::Register { name: packet_name(text), handle: handle(id, 0) };
        self.master.handle_packet(at(0), conn, packet);
        self.drain();
    }

    fn owners(&self) -> BTreeMap<Name, Handle> {
        let owned = self.master.names().filter(|(_, handle)| !is_nobody(*handle));
        owned.map(|(name, handle)| (name.to_name().unwrap(), handle)).collect()
    }
}

proptest! {
    #[test]
    fn a_master_that_begins_again_changes_no_owner(
        before in prop::collection::vec(op(), 0..60), during in prop::collection::vec(op(), 0..60),
    ) {
        let mut cluster = Cluster::of_kin();
        for op in before {
            match op {
                Op::Usual(op) => cluster.run(op),
                Op::Real(text) => cluster.real(text),
            }
        }
        cluster.restart(2);
        cluster.join_all();
        let mut owners = cluster.owners();
        cluster.restart(3);
        for op in during {
            match op {
                // A name that was given up is anybody's.
                Op::Usual(ClusterOp::End(n, text)) => {
                    if cluster.nodes[n].own.contains_key(&name(text)) {
                        owners.remove(&name(text));
                    }
                    cluster.run(ClusterOp::End(n, text));
                }
                // Whoever is cut off from this master is dead to it.
                Op::Usual(ClusterOp::Cut(_)) => {}
                Op::Usual(op) => cluster.run(op),
                Op::Real(text) => cluster.real(text),
            }
        }
        cluster.join_all();
        let after = cluster.owners();
        for (name, owner) in &owners {
            prop_assert_eq!(after.get(name).map(|after| after.harbor()), Some(owner.harbor()), "{}", name);
        }
        for node in &cluster.nodes {
            prop_assert_eq!(node.slave.state(), SlaveState::Ready);
            for (name, handle) in node.slave.names() {
                // A real node does not come back to a master that began again.
                let is_lost = handle.harbor().get() > 100;
                let agrees = after.get(&name).map_or(is_nobody(handle), |owner| *owner == handle);
                prop_assert!(is_lost || agrees, "node {} and name {}", node.id, name);
            }
            for (name, handle) in &node.own {
                prop_assert_eq!(after.get(name), Some(handle), "node {} thinks that it has {}", node.id, name);
            }
        }
    }
}
