//! What is looked at from outside: bounds, delays, names, and the state in which a run ends.

use super::case::{Place, Way};
use super::node::{Host, VACANT, bounds, name_of, shared_name};
use super::oracle::{Sent, Uid, Whom};
use super::services::Letter;
use super::tcp::{End, Side, TcpId};
use super::world::{Due, START, World, conn_id};
use crate::limits::{SERVICE_ID_VACANT, STALL_STEPS, TIE_TIME_MAX};
use crate::message::{Handle, HarborId, HarborRequest, MemoryUse, Name, Session, Status, Waiter};
use crate::registry::MasterEvent;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Dials of one address by a node that has all its links: a newcomer may be stuck behind a dead one, or several.
const DIALS_MAX: u32 = 12;

impl World<'_> {
    // Bounds (I10).

    /// Looks at every node, and again later.
    pub(super) fn look(&mut self) {
        for node in 0..self.case.plan.nodes as usize {
            self.look_at(node);
        }
        if !self.healing {
            self.after(self.case.plan.busy / 40 + 1, Due::Look);
        }
    }

    /// Asks a machine of ours how it is.
    pub(super) fn look_at(&mut self, node: usize) {
        let life = self.nodes[node].life;
        if self.nodes[node].ours(life).is_some() {
            let waiter = Waiter { source: Handle::NONE, session: Session::NONE };
            self.input(node, life, |harbor, now| {
                harbor.handle_request(now, HarborRequest::Status { waiter })
            });
        }
    }

    pub(super) fn check_status(&mut self, node: usize, status: &Status) {
        let bounds = bounds(&self.case.plan);
        for peer in &status.peers {
            let (held, pending) = (peer.held, peer.pending);
            assert!(held <= bounds.held_messages_max, "I10: node {node} holds {held} for {}", peer.harbor);
            assert!(
                pending <= bounds.pending_calls_max,
                "I10: node {node} has {pending} calls to {}",
                peer.harbor
            );
        }
        let life = self.nodes[node].life;
        let Some(ours) = self.nodes[node].ours(life) else { return };
        let open: Vec<u64> =
            ours.services.iter().flat_map(|service| service.open.values().copied()).collect();
        let nameless = open.into_iter().filter(|number| self.oracle.of(*number).is_nameless).count();
        assert!(
            nameless <= bounds.name_held_messages_max,
            "I10: node {node}: {nameless} calls wait for one name"
        );
    }

    /// The unsent bytes of a connection: at most its bound and one more message, errors as much again.
    pub(super) fn check_unsent(&mut self, node: usize, unsent: usize) {
        let most = 2 * bounds(&self.case.plan).unsent_bytes_max + (16 << 10);
        assert!(unsent <= most, "I10: node {node} has {unsent} unsent bytes");
    }

    // Delays (I13).

    /// A message over a link that nothing happened to, between two nodes that nothing happened to, is not late. (Answers
    /// have taken both ways and the time of a service.)
    pub(super) fn check_delay(&self, sent: Sent, ways: u64) {
        let (Some(link), Whom::Service(to)) = (sent.link, sent.to) else { return };
        let is_sick = |node: usize| {
            let condition = &self.nodes[node].condition;
            condition.sick >= sent.at || condition.crowded >= sent.at
        };
        if self.marks[link as usize].touched || is_sick(sent.from.node) || is_sick(to.node) {
            return;
        }
        let plan = &self.case.plan;
        let windows = bounds(plan).unsent_bytes_max.min(2 << 20) as u64 / plan.window_min + 20;
        let most = ways * windows * 2 * plan.delay_max + 10 * plan.delay_max;
        let took = self.now - sent.at;
        assert!(took <= most, "I13: a message of {:?} to {to:?} took {took} ns, {most} at most", sent.from);
    }

    // Detection (I12).

    /// From now on nothing comes to this side. If both nodes are of our kind and have met, its machine finds that in time.
    pub(super) fn expect_down(&mut self, tcp: TcpId, side: Side) {
        let Some(open) = self.tcps.get(&tcp) else { return };
        let ((node, life), (other, _)) = (open.node(side), open.node(side.other()));
        let peer = self.nodes[other].id;
        if self.nodes[node].ours(life).is_none_or(|ours| !ours.harbor.is_watched(peer)) {
            // Then it is up to the system.
            return;
        }
        let bounds = bounds(&self.case.plan);
        let time = bounds.heartbeat_deadline + 2 * bounds.heartbeat;
        self.look_for_down(tcp, side, (self.now, time), true);
    }

    fn look_for_down(&mut self, tcp: TcpId, side: Side, (since, time): (u64, Duration), may_wait: bool) {
        let at = since + time.as_nanos() as u64 + 20 * self.case.plan.delay_max;
        self.at(at, Due::Detected { tcp, side, since, may_wait });
    }

    /// The link is down by now, unless something came, or its node was not well itself. (While a question cannot be written,
    /// the peer owes no answer: then unsent bytes that stand still are what ends the link.)
    pub(super) fn check_detected(&mut self, tcp: TcpId, side: Side, since: u64, may_wait: bool) {
        let Some(open) = self.tcps.get_mut(&tcp) else { return };
        let ((node, life), (other, _), end) = (open.node(side), open.node(side.other()), open.end(side));
        let is_silent = open.towards(side).silent_since.is_some_and(|silent| silent <= since);
        let way = self.blocks[other * self.nodes.len() + node][open.door as usize];
        let was_cut = way.0 <= since && way.1 > self.now;
        let theirs = &self.nodes[other].condition;
        let was_paused = theirs.paused_since <= since && theirs.paused > self.now;
        let bounds = bounds(&self.case.plan);
        let time = bounds.heartbeat_deadline + 2 * bounds.heartbeat;
        // Who does not read, or has heard that it is not read, gives the other time; that it is over may be under way for long.
        let rest = (bounds.pause_time_max + bounds.heartbeat_deadline).as_nanos() as u64;
        let crowded =
            [(node, 0), (other, rest)].map(|(node, rest)| match self.nodes[node].condition.crowded {
                0 => 0,
                until => until + rest,
            });
        // What a cut kept back came when it ended.
        let came = if way.1 <= self.now { way.1 } else { 0 };
        let rested = crowded[0].max(crowded[1]).max(came);
        if rested >= since {
            return self.look_for_down(tcp, side, (rested + 1, time), may_wait);
        }
        let was_well = self.nodes[node].condition.sick < since;
        let peer = self.nodes[other].id;
        let is_link = self.oracle.link(node, peer) == Some(tcp);
        let Some(ours) = self.nodes[node].ours(life).filter(|_| is_link && was_well) else { return };
        if !(is_silent || was_cut || was_paused) || !ours.harbor.is_watched(peer) {
            return;
        }
        let End::Open(conn) = end else { return };
        let has_unsent = ours.harbor.outbox(conn_id(conn)).is_some_and(|outbox| !outbox.is_empty());
        assert!(has_unsent && may_wait, "I12: node {node} has not found that its link to {peer} is dead");
        let time = bounds.stall_time_max + 2 * bounds.heartbeat + bounds.stall_time_max / STALL_STEPS;
        self.look_for_down(tcp, side, (since, time), false);
    }

    // Refusals (I6).

    pub(super) fn check_refusal(&self, number: u64, by: u32) {
        let callee_lives = match self.oracle.of(number).to {
            Whom::Service(to) => self.lives(to),
            Whom::Shared(_) | Whom::Nobody | Whom::Anyone => false,
        };
        self.oracle.refused(number, by, VACANT, callee_lives);
    }

    fn lives(&self, uid: Uid) -> bool {
        let node = &self.nodes[uid.node];
        match &node.host {
            Host::Ours(ours) => {
                node.life == uid.life
                    && ours.services.iter().any(|service| service.uid == uid && service.alive)
            }
            Host::Real(_) => node.life == uid.life,
            Host::Crowd(_) | Host::Nothing => false,
        }
    }

    // Names (I9).

    pub(super) fn published(&mut self, node: usize, name: Name, handle: Handle) {
        let life = self.nodes[node].life;
        if let Some(ours) = self.nodes[node].ours(life) {
            ours.names.insert(name, handle);
        }
    }

    /// The master that we host gives no name of a member to another node. (After its restart, members may bring older
    /// rights along.)
    pub(super) fn check_master(&mut self, event: &MasterEvent) {
        match event {
            MasterEvent::Joined { id, .. } => drop(self.members.insert(*id)),
            MasterEvent::Left { id, .. } => drop(self.members.remove(id)),
            MasterEvent::Named { name, handle } => {
                let (Ok(name), owner) = (name.to_name(), handle.harbor()) else { return };
                if handle.local() == SERVICE_ID_VACANT {
                    // Its owner gave it up.
                    self.named.remove(&name);
                    return;
                }
                let before =
                    self.named.insert(name, (owner, self.now)).filter(|(before, _)| *before != owner);
                let is_one_life = self.nodes[0].life == 1 && self.case.plan.keeps_ids == 0;
                // Those who claimed it while they could not reach the master come in any order: the lowest id has it.
                let is_tie = |at: u64| self.now - at < TIE_TIME_MAX.as_nanos() as u64;
                let before = before.filter(|(before, at)| *before < owner || !is_tie(*at));
                let robbed = before
                    .map(|(before, _)| before)
                    .filter(|before| is_one_life && self.members.contains(before));
                assert!(
                    robbed.is_none(),
                    "I9: {name} of {robbed:?} was given to {owner}, and its owner lives"
                );
            }
            _ => {}
        }
    }

    // Dials (I15).

    /// Once everything has settled, nobody dials any more. (A new master knows nothing of who died before it.)
    pub(super) fn check_dial(&mut self, node: usize, address: &str) {
        let plan = &self.case.plan;
        let is_settled = self.nodes[0].is_alive()
            && !self.leaving
            && self.nodes[0].life == 1
            && plan.reals == 0
            && self.estranged.is_empty();
        let Some(dials) = self.dials.get_mut(node).filter(|_| is_settled && plan.default_bounds == 0) else {
            return;
        };
        let dials = dials.entry(address.to_owned()).or_default();
        *dials += 1;
        assert!(*dials <= DIALS_MAX, "I15: node {node} dials {address} for ever");
    }

    // Probes and the end (I11).

    /// After the faults every node calls every other, by handle and by name.
    pub(super) fn probe(&mut self) {
        self.dials = vec![BTreeMap::new(); self.nodes.len()];
        let places = |node: usize| Place { node: node as u8, slot: 0 };
        let ours: Vec<usize> =
            (0..self.case.plan.nodes as usize).filter(|node| self.is_member(*node)).collect();
        for from in &ours {
            for to in ours.iter().filter(|to| *to != from) {
                if self.estranged.contains(&(*from, *to)) {
                    continue;
                }
                for way in [Way::Handle, Way::Name] {
                    let to = places(*to);
                    let (is_call, is_hasty, is_probe, bytes) = (true, false, true, 20);
                    self.speak(places(*from), Letter { way, to, is_call, is_hasty, is_probe, bytes });
                }
            }
        }
    }

    /// Ours, and known to the present master.
    fn is_member(&self, node: usize) -> bool {
        matches!(self.nodes[node].host, Host::Ours(_)) && self.nodes[node].master_up
    }

    /// In the end every call has its outcome, every two nodes have each other, and names lead to their owners.
    pub(super) fn finish(&mut self) {
        let count = self.case.plan.nodes as usize;
        let has_failed = |node: &usize| match &self.nodes[*node].host {
            Host::Ours(ours) => ours.harbor.node_account().failed_total() > 0,
            Host::Real(_) | Host::Crowd(_) | Host::Nothing => false,
        };
        let is_lossless = self.healthy && !(0..count).any(|node| has_failed(&node));
        self.oracle.finish(self.healthy, is_lossless);
        for node in 0..count {
            match &self.nodes[node].host {
                Host::Ours(_) => self.check_end(node),
                Host::Real(real) => {
                    let twice = real.ended_twice.filter(|_| !self.has_garbage());
                    assert!(twice.is_none(), "I3: call {twice:?} of real node {node} ended twice");
                    let complaints = real.complaints();
                    assert!(
                        !is_lossless || complaints.is_empty(),
                        "a real node complains in a healthy cluster: {complaints:?}"
                    );
                }
                Host::Nothing => panic!("I11: node {node} is not back after {} ns", self.now - START),
                Host::Crowd(_) => {}
            }
        }
    }

    fn check_end(&self, index: usize) {
        let count = self.case.plan.nodes as usize;
        let (node, peers) = (&self.nodes[index], self.oracle.peers(index));
        let Host::Ours(ours) = &node.host else { return };
        let has_master = node.master_up || self.case.plan.reals & 1 == 1 && !self.healthy;
        assert!(has_master, "I11: node {index} has no master");
        let is_expected = |other: &usize| {
            *other != index && self.is_member(*other) && !self.estranged.contains(&(index, *other))
        };
        let members: BTreeSet<HarborId> =
            (0..count).filter(is_expected).map(|other| self.nodes[other].id).collect();
        if node.master_up {
            let missing: Vec<&HarborId> = members.difference(&peers).collect();
            assert!(missing.is_empty(), "I11: node {index} has no link to {missing:?}, only to {peers:?}");
        }
        if self.case.plan.reals == 0 && self.estranged.is_empty() {
            assert_eq!(peers, members, "I11: node {index} and its peers");
            let lines = if index == 0 { 1 + count } else { 1 };
            // A dead node's address may be somebody else's by now, who is dialled in vain for ever.
            let limit = self.now - bounds(&self.case.plan).handshake_time_max.as_nanos() as u64;
            let is_old = |tcp: &TcpId| self.marks[*tcp as usize].opened < limit;
            let conns = node.conns.values().filter(|(tcp, _)| is_old(tcp)).count();
            assert_eq!(conns, peers.len() + lines, "I15: connections of node {index}: {:?}", node.conns);
        }
        let MemoryUse { reading, mailboxes, held, waiting, .. } = ours.harbor.memory();
        let rest = (reading, mailboxes, held, waiting);
        assert_eq!(rest, (0, 0, 0, 0), "I15: memory of node {index} that nothing needs");
        for service in &ours.services {
            let asked: Vec<_> = service.asked.values().filter(|asked| is_answered_soon(**asked)).collect();
            assert!(asked.is_empty() || !service.alive, "I3: {:?} still waits for {asked:?}", service.uid);
        }
        if self.case.plan.loose_names == 0 {
            self.check_names(index);
        }
    }

    /// What a node believes of a living service's name is true, and all agree about the names that many claim.
    fn check_names(&self, index: usize) {
        let Host::Ours(ours) = &self.nodes[index].host else { return };
        for node in self.nodes.iter().filter(|node| matches!(node.host, Host::Ours(_))) {
            for uid in &node.slots {
                let believed = ours.names.get(&name_of(*uid)).copied();
                let handle = node.handle_of(uid.local);
                assert!(believed.is_none_or(|known| known == handle), "I9: node {index}: {}", name_of(*uid));
                assert!(
                    believed.is_some() || node.index != index,
                    "I9: node {index} and its own {}",
                    name_of(*uid)
                );
            }
        }
        // A new master is told nothing of what its members heard from the one before.
        let is_one_master = self.nodes[0].life == 1 || self.case.plan.keeps_ids == 1;
        for name in (0..3).map(shared_name).filter(|_| is_one_master) {
            let owners = (0..self.case.plan.nodes as usize).filter_map(|node| self.known_at(node, name));
            let owners: BTreeSet<Handle> = owners.filter(|owner| self.is_id_in_use(owner.harbor())).collect();
            assert!(owners.len() <= 1, "I9: {name} has the owners {owners:?}");
        }
    }

    fn is_id_in_use(&self, id: HarborId) -> bool {
        self.nodes.iter().any(|node| node.id == id && node.is_alive())
    }

    fn known_at(&self, node: usize, name: Name) -> Option<Handle> {
        match &self.nodes[node].host {
            Host::Ours(ours) => ours.names.get(&name).copied(),
            Host::Real(_) | Host::Crowd(_) | Host::Nothing => None,
        }
    }
}

fn is_answered_soon(question: super::node::Question) -> bool {
    question != super::node::Question::Link
}
