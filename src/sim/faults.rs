//! How nodes begin and end, what goes wrong, and how it is put right.

use super::case::{Doors, Fault, Stranger};
use super::node::{Host, MANAGER};
use super::oracle::Uid;
use super::real::{Message, packet_bytes};
use super::tcp::{Damage, Door, End, Side, Tcp, TcpId};
use super::world::{Due, World};
use crate::message::{HarborId, HarborRequest, Kind};
use crate::wire::control::Packet;

/// The highest id that a node gets: those above are nobody's, or strangers'.
const ID_MAX: u8 = 240;
/// An id that only a stranger has.
const STRANGE_ID: HarborId = HarborId::new(254);

impl World<'_> {
    // Lives.

    /// A node begins a life.
    pub(super) fn boot(&mut self, node: usize) {
        if self.nodes[node].is_alive() || self.leaving {
            return;
        }
        let is_real = self.case.plan.is_real(node);
        let id = match self.case.plan.keeps_ids {
            1 => HarborId::new(node as u8 + 1),
            _ => {
                self.id_last += 1;
                HarborId::new(self.id_last)
            }
        };
        self.report.restarts += u64::from(self.nodes[node].life > 0);
        self.ids[node] = id;
        let mut rng = self.rng([5, node as u64, u64::from(self.nodes[node].life)]);
        if is_real {
            self.nodes[node].begin_real(id);
            let life = self.nodes[node].life;
            self.real_input(node, life, |real, _| real.start());
        } else {
            self.nodes[node].begin_ours(&self.case.plan, id, rng.bits());
            let life = self.nodes[node].life;
            self.input(node, life, |harbor, now| harbor.start(now));
        }
        let life = self.nodes[node].life;
        if node == 0 && !is_real && self.case.plan.reals != 0 {
            self.after(1, Due::Register { uid: Uid { node, life, local: MANAGER } });
        }
        for uid in self.nodes[node].slots.clone() {
            self.after(rng.in_range(0..self.case.plan.delay_max * 3), Due::Register { uid });
        }
    }

    /// Nothing is left of the process but its connections.
    pub(super) fn end_life(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        let life = place.life;
        place.host = Host::Nothing;
        place.listens = [false; 2];
        self.oracle.died(node, life);
        let down = std::mem::take(&mut self.nodes[node].down);
        if !self.leaving {
            self.after(down.max(1), Due::Boot { node });
        }
    }

    /// Whether the node can end now and come back.
    fn may_end(&mut self, node: usize, down: u64) -> bool {
        let is_possible = self.nodes[node].is_alive() && self.id_last < ID_MAX;
        if is_possible {
            self.nodes[node].down = down;
            self.touch(|tcp| tcp.side_of(node).is_some());
        }
        is_possible
    }

    /// The process is gone; its system closes its connections, or resets those with something unread.
    pub(super) fn crash(&mut self, node: usize) {
        self.end_life(node);
        for (tcp, side) in self.conns_of(node) {
            let Some(open) = self.tcps.get_mut(&tcp) else { continue };
            match open.rng.chance(50) {
                true => self.reset_by(tcp, side),
                false => self.send_end(tcp, side, node),
            }
        }
    }

    fn conns_of(&self, node: usize) -> Vec<(TcpId, Side)> {
        self.nodes[node].conns.values().copied().collect()
    }

    /// A node whose id the master does not take is started anew.
    pub(super) fn restart(&mut self, node: usize) {
        let pause = self.case.plan.delay_max;
        if self.may_end(node, pause) {
            self.crash(node);
        }
    }

    /// Nobody is told: the others' systems find out, or their machines.
    fn lose_power(&mut self, node: usize) {
        self.end_life(node);
        self.nodes[node].is_off = true;
        for (tcp, side) in self.conns_of(node) {
            self.drop_end(tcp, side);
            self.after(self.case.plan.dead_after, Due::GivenUp { tcp, side: side.other() });
            self.expect_down(tcp, side.other());
        }
    }

    fn leave(&mut self, node: usize) {
        let life = self.nodes[node].life;
        if let Some(ours) = self.nodes[node].ours(life) {
            ours.leaves = true;
            self.input(node, life, |harbor, now| harbor.handle_request(now, HarborRequest::Leave));
        }
    }

    // Faults.

    pub(super) fn fault(&mut self, fault: Fault) {
        if self.healing || !self.apply(fault) {
            return;
        }
        self.healthy = false;
        self.report.faults[fault.class()] += 1;
    }

    /// Whether it could happen.
    fn apply(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Crash { node, down } => {
                let is_possible = self.may_end(node.into(), down);
                if is_possible {
                    self.crash(node.into());
                }
                is_possible
            }
            Fault::PowerLoss { node, down } => {
                let is_possible = self.may_end(node.into(), down);
                if is_possible {
                    self.lose_power(node.into());
                }
                is_possible
            }
            Fault::Leave { node, down } => {
                let is_possible = self.may_end(node.into(), down);
                if is_possible {
                    self.leave(node.into());
                }
                is_possible
            }
            Fault::Pause { node, .. }
            | Fault::Slow { node, .. }
            | Fault::Jump { node, .. }
            | Fault::NoDescriptors { node, .. }
            | Fault::Full { node, .. }
            | Fault::Memory { node, .. }
            | Fault::Refuse { node, .. }
            | Fault::Silence { node, .. }
            | Fault::LateEnd { node, .. } => self.worsen(node.into(), fault),
            Fault::Cut { one, other, doors, time } => {
                let is_cut = self.cut(one, other, doors, time);
                self.cut(other, one, doors, time) || is_cut
            }
            Fault::OneWay { from, to, doors, time } => self.cut(from, to, doors, time),
            Fault::Stall { from, to, time } => self.cut(1 << from, 1 << to, Doors::Links, time),
            Fault::Reset { one, other, doors } => self.reset(one.into(), other.into(), doors),
            Fault::Hole { one, other } => self.lose_connection(one.into(), other.into()),
            Fault::HalfOpen { forgets, other } => self.forget_connection(forgets.into(), other.into()),
            Fault::Flip { from, to, doors } => self.damage(from, to, doors, Damage::Flip),
            Fault::Truncate { from, to, doors } => self.damage(from, to, doors, Damage::Truncate),
            Fault::Stranger { node, who } => self.stranger(node.into(), who),
        }
    }

    /// A node is not well for a while.
    fn worsen(&mut self, node: usize, fault: Fault) -> bool {
        let now = self.now;
        if !self.nodes[node].is_alive() {
            return false;
        }
        let place = &mut self.nodes[node];
        let condition = &mut place.condition;
        let until = |time: u64| now + time;
        let sick = match fault {
            Fault::Pause { time, .. } => {
                if condition.paused <= now {
                    condition.paused_since = now;
                }
                condition.paused = condition.paused.max(until(time));
                condition.paused
            }
            Fault::Slow { time, cost, .. } => {
                (condition.slow, condition.cost) = (until(time), cost);
                condition.slow + 200 * cost
            }
            Fault::Jump { by, .. } => {
                place.offset += by;
                // Its alarm is too late now.
                place.wake = None;
                let life = place.life;
                self.wake_at(node, life, now + 1);
                now + 1
            }
            Fault::NoDescriptors { time, .. } => {
                condition.no_descriptors = until(time);
                0
            }
            Fault::Full { time, .. } => {
                condition.full = until(time);
                0
            }
            Fault::Memory { time, .. } => {
                condition.crowded = until(time);
                0
            }
            Fault::Refuse { time, .. } => {
                condition.refuses = until(time);
                0
            }
            Fault::Silence { time, .. } => {
                condition.silent = until(time);
                0
            }
            Fault::LateEnd { time, late, .. } => {
                (condition.late, condition.late_by) = (until(time), late);
                0
            }
            _ => return false,
        };
        let condition = &mut self.nodes[node].condition;
        condition.sick = condition.sick.max(sick);
        if sick > 0 {
            self.touch(|tcp| tcp.side_of(node).is_some());
        }
        if let Fault::Memory { .. } = fault {
            for (tcp, _) in self.conns_of(node) {
                self.marks[tcp as usize].crowded = true;
            }
            let life = self.nodes[node].life;
            self.input(node, life, |_, _| {});
        }
        if let Fault::Pause { .. } = fault {
            for (tcp, side) in self.conns_of(node) {
                self.expect_down(tcp, side.other());
            }
        }
        true
    }

    pub(super) fn is_sick(&self, node: usize) -> bool {
        self.nodes[node].condition.sick >= self.now
    }

    /// Nothing goes from one set to the other for a while.
    fn cut(&mut self, from: u16, to: u16, doors: Doors, time: u64) -> bool {
        let (count, now) = (self.nodes.len(), self.now);
        let has = |set: u16, node: usize| node + 1 < count && set >> node & 1 == 1;
        let mut is_cut = false;
        for from_node in (0..count).filter(|node| has(from, *node)) {
            for to_node in (0..count).filter(|node| has(to, *node) && *node != from_node) {
                for door in doors_of(doors) {
                    let (since, until) = &mut self.blocks[from_node * count + to_node][*door as usize];
                    if *until <= now {
                        *since = now;
                    }
                    *until = (*until).max(now + time);
                    is_cut = true;
                }
            }
        }
        let crosses = |tcp: &Tcp| {
            let nodes = Side::BOTH.map(|side| tcp.node(side).0);
            let crosses = |one: usize, other: usize| has(from, one) && has(to, other);
            (crosses(nodes[0], nodes[1]) || crosses(nodes[1], nodes[0]))
                && doors_of(doors).contains(&tcp.door)
        };
        self.touch(crosses);
        // A master burns the ids of the dead: a member that its system gives up would never come back.
        let cut: Vec<TcpId> = self.tcps.iter().filter(|(_, tcp)| crosses(tcp)).map(|(id, _)| *id).collect();
        for (tcp, side) in cut.into_iter().flat_map(|tcp| Side::BOTH.map(|side| (tcp, side))) {
            self.expect_down(tcp, side);
        }
        let may_die = |tcp: &Tcp| tcp.door == Door::Links || self.case.plan.keeps_ids == 1;
        if time >= self.case.plan.dead_after {
            let crossing = self.tcps.iter().filter(|(_, tcp)| crosses(tcp) && may_die(tcp));
            let crossing: Vec<TcpId> = crossing.map(|(id, _)| *id).collect();
            for (tcp, side) in crossing.into_iter().flat_map(|tcp| Side::BOTH.map(|side| (tcp, side))) {
                self.after(self.case.plan.dead_after, Due::GivenUp { tcp, side });
            }
        }
        is_cut
    }

    /// An established connection between two nodes.
    fn connection(&self, one: usize, other: usize, doors: Doors) -> Option<TcpId> {
        let is_it = |tcp: &Tcp| {
            tcp.is_between(one, other) && tcp.is_established() && doors_of(doors).contains(&tcp.door)
        };
        self.tcps.iter().find(|(_, tcp)| is_it(tcp)).map(|(id, _)| *id)
    }

    fn reset(&mut self, one: usize, other: usize, doors: Doors) -> bool {
        let Some(tcp) = self.connection(one, other, doors) else { return false };
        self.reset_both(tcp);
        true
    }

    fn reset_both(&mut self, tcp: TcpId) {
        self.marks[tcp as usize].touched = true;
        for side in Side::BOTH {
            self.forget_end(tcp, side);
        }
    }

    /// One side's process loses its connection; nothing is sent.
    fn forget_end(&mut self, tcp: TcpId, side: Side) {
        let Some(open) = self.tcps.get(&tcp) else { return };
        let ((node, life), End::Open(conn)) = (open.node(side), open.end(side)) else { return };
        self.drop_end(tcp, side);
        self.tell_closed(tcp, node, life, conn);
    }

    fn lose_connection(&mut self, one: usize, other: usize) -> bool {
        let Some(tcp) = self.connection(one, other, Doors::Links) else { return false };
        self.marks[tcp as usize].touched = true;
        for side in Side::BOTH {
            if let Some(open) = self.tcps.get_mut(&tcp) {
                open.lose(self.now, side);
            }
            self.after(self.case.plan.dead_after, Due::GivenUp { tcp, side });
            self.expect_down(tcp, side);
        }
        true
    }

    fn forget_connection(&mut self, forgets: usize, other: usize) -> bool {
        let Some(tcp) = self.connection(forgets, other, Doors::Links) else { return false };
        let Some(side) = self.tcps.get(&tcp).and_then(|open| open.side_of(forgets)) else { return false };
        self.marks[tcp as usize].touched = true;
        self.after(self.case.plan.dead_after, Due::GivenUp { tcp, side: side.other() });
        self.expect_down(tcp, side.other());
        self.forget_end(tcp, side);
        true
    }

    fn damage(&mut self, from: u8, to: u8, doors: Doors, damage: Damage) -> bool {
        let Some(tcp) = self.connection(from.into(), to.into(), doors) else { return false };
        let mark = &mut self.marks[tcp as usize];
        (mark.touched, mark.garbled) = (true, true);
        if let Some(open) = self.tcps.get_mut(&tcp)
            && let Some(side) = open.side_of(to.into())
        {
            open.towards(side).damage = Some(damage);
        }
        true
    }

    // Strangers.

    fn crowd(&self) -> usize {
        self.nodes.len() - 1
    }

    fn stranger(&mut self, node: usize, who: Stranger) -> bool {
        let is_for_master = matches!(who, Stranger::Noise | Stranger::UsedHello);
        let index = self.crowd();
        let Host::Crowd(crowd) = &mut self.nodes[index].host else { return false };
        crowd.conn_last += 1;
        let conn = crowd.conn_last;
        crowd.words.insert(conn, who);
        let (to, door) = if is_for_master { (0, Door::Master) } else { (node, Door::Links) };
        self.after(1, Due::Dial { node: index, life: 0, conn, to, door });
        true
    }

    /// What a stranger says.
    fn words(&self, node: usize, who: Stranger) -> Vec<u8> {
        let own = self.nodes[node].id.get();
        let other = self.nodes.iter().map(|node| node.id).find(|id| id.get() != own && !id.is_single());
        let other = other.unwrap_or(STRANGE_ID);
        let strange = STRANGE_ID.get();
        match who {
            Stranger::Silent | Stranger::Closes => Vec::new(),
            Stranger::OwnId => vec![own],
            Stranger::UsedId => match self.oracle.link(node, other) {
                Some(_) => vec![other.get()],
                None => vec![own],
            },
            Stranger::Reserved => {
                let dest = self.nodes[node].slots.first().map_or(8, |uid| uid.local);
                let source =
                    self.nodes.iter().find(|node| node.id == other).and_then(|node| node.slots.first());
                let source = u32::from(other.get()) << 24 | source.map_or(8, |uid| uid.local);
                let kinds = [(Kind::SYSTEM, 1), (Kind::HARBOR, 0), (Kind::SOCKET, 2), (Kind::ERROR, 0)];
                let frames = kinds.map(|(kind, session)| {
                    Message { source, dest, kind: kind.0, session, payload: vec![0x41; 64] }.to_frame()
                });
                [vec![strange], frames.concat()].concat()
            }
            Stranger::Short => vec![strange, 0, 0, 0, 11, 1, 2, 3],
            Stranger::Long => vec![strange, 1, 0, 0, 0, 1, 2, 3],
            Stranger::Endless => vec![strange, 0, 0xff, 0xff, 0xff, 1, 2, 3],
            Stranger::Noise => {
                let mut rng = self.rng([6, self.now, 0]);
                (0..64).map(|_| rng.bits() as u8).collect()
            }
            Stranger::UsedHello => packet_bytes(&Packet::Hello { id: other, address: "nobody:1".to_owned() }),
        }
    }

    /// A stranger's connection is there.
    pub(super) fn strange(&mut self, conn: u64) {
        let index = self.crowd();
        let Host::Crowd(crowd) = &mut self.nodes[index].host else { return };
        let Some(who) = crowd.words.remove(&conn) else { return };
        if who == Stranger::Closes {
            return self.close_played(index, conn);
        }
        let (now, to) = (self.now, self.acceptor_of(index, conn));
        let words = self.words(to.0, who);
        if let Host::Crowd(crowd) = &mut self.nodes[index].host {
            crowd.said.insert(conn, (who, to, now));
        }
        self.write_played(index, conn, &words);
        // Who says nothing waits for the door.
        let least = match who {
            Stranger::Silent => super::node::bounds(&self.case.plan).handshake_time_max.as_nanos() as u64,
            _ => 0,
        };
        let stay = least + self.rng([7, conn, 0]).in_range(1..self.case.plan.dead_after);
        self.after(stay, Due::Depart { conn });
    }

    /// Who has taken this connection, in which life.
    fn acceptor_of(&self, node: usize, conn: u64) -> (usize, u32) {
        let tcp = self.nodes[node].conns.get(&conn).and_then(|(tcp, _)| self.tcps.get(tcp));
        tcp.map_or((node, 0), |tcp| tcp.node(Side::Acceptor))
    }

    pub(super) fn depart(&mut self, conn: u64) {
        self.check_stranger(conn);
        self.close_played(self.crowd(), conn);
    }

    /// Who is no node has been shown the door in time.
    fn check_stranger(&self, conn: u64) {
        let place = &self.nodes[self.crowd()];
        let (Host::Crowd(crowd), true) = (&place.host, place.conns.contains_key(&conn)) else { return };
        let Some((who, (to, life), since)) = crowd.said.get(&conn).copied() else { return };
        let host = &self.nodes[to];
        let bounds = super::node::bounds(&self.case.plan);
        let patience = match who {
            Stranger::Silent => bounds.handshake_time_max,
            Stranger::OwnId | Stranger::Short | Stranger::Long => std::time::Duration::ZERO,
            Stranger::UsedId
            | Stranger::UsedHello
            | Stranger::Reserved
            | Stranger::Endless
            | Stranger::Noise
            | Stranger::Closes => return,
        };
        let limit = since + patience.as_nanos() as u64 + 10 * self.case.plan.delay_max;
        let condition = &host.condition;
        // A close of its own may come late as well.
        let is_well = [condition.sick, condition.no_descriptors, condition.late, condition.crowded]
            .iter()
            .all(|end| *end < since);
        let is_judge = matches!(host.host, Host::Ours(_)) && host.life == life && is_well;
        assert!(!is_judge || self.now <= limit, "I12: node {to} lets a stranger stay: {who:?}");
    }

    // The end of the faults.

    /// No faults from here on. What had garbage on it is reset, as somebody who looks after the cluster would do.
    pub(super) fn heal(&mut self) {
        self.healing = true;
        let now = self.now;
        for block in self.blocks.iter_mut().flatten() {
            block.1 = block.1.min(now);
        }
        for node in &mut self.nodes {
            let condition = &mut node.condition;
            for until in [
                &mut condition.paused,
                &mut condition.slow,
                &mut condition.no_descriptors,
                &mut condition.full,
                &mut condition.crowded,
                &mut condition.refuses,
                &mut condition.silent,
                &mut condition.late,
            ] {
                *until = (*until).min(now);
            }
        }
        for conn in self.nodes[self.crowd()].conns.keys().copied().collect::<Vec<u64>>() {
            self.depart(conn);
        }
        let garbled: Vec<TcpId> =
            self.tcps.keys().copied().filter(|tcp| self.marks[*tcp as usize].garbled).collect();
        for tcp in garbled {
            self.reset_both(tcp);
        }
    }

    /// Every node of ours says farewell.
    pub(super) fn farewell(&mut self) {
        self.leaving = true;
        for node in 0..self.nodes.len() {
            self.touch(|tcp| tcp.side_of(node).is_some());
        }
        for node in 0..self.nodes.len() {
            self.leave(node);
        }
        let time = super::node::bounds(&self.case.plan).leave_time_max.as_nanos() as u64;
        self.run_until(self.now + time + self.case.plan.delay_max * 10 + 1);
        for node in &self.nodes {
            let has_left = !matches!(node.host, Host::Ours(_));
            assert!(has_left, "I15: node {} has not left in time", node.index);
        }
    }
}

fn doors_of(doors: Doors) -> &'static [Door] {
    match doors {
        Doors::All => &[Door::Links, Door::Master],
        Doors::Links => &[Door::Links],
        Doors::Control => &[Door::Master],
    }
}
