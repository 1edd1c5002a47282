//! What the I/O thread and the systems under it do: listen, dial, accept, read, write, close, give up.

use super::node::{Host, place_of};
use super::tcp::{Door, End, Piece, Received, Side, Tcp, TcpId, Weather};
use super::world::{Due, Mark, World, conn_id};
use crate::harbor::{ConnId, Harbor, Listener};
use crate::wire::Slices;
use std::io;

impl World<'_> {
    // Who reaches whom.

    /// Until when nothing of this kind of connection goes from one node to the other.
    pub(super) fn blocked_until(&self, from: usize, to: usize, door: Door) -> Option<u64> {
        let until = self.blocks[from * self.nodes.len() + to][door as usize].1;
        (until > self.now).then_some(until)
    }

    fn blocked_towards(&self, tcp: &Tcp, side: Side) -> Option<u64> {
        self.blocked_until(tcp.node(side.other()).0, tcp.node(side).0, tcp.door)
    }

    /// Something went wrong with these connections.
    pub(super) fn touch(&mut self, is_touched: impl Fn(&Tcp) -> bool) {
        for (id, _) in self.tcps.iter().filter(|(_, tcp)| is_touched(tcp)) {
            self.marks[*id as usize].touched = true;
        }
    }

    // Dialling.

    /// A machine dials; the connection is there later, or not.
    pub(super) fn connect(&mut self, node: usize, life: u32, conn: u64, address: &str) {
        self.check_dial(node, address);
        let delay = self.delay(node, conn);
        let due = match place_of(address) {
            Some((to, door)) if to + 1 < self.nodes.len() => Due::Dial { node, life, conn, to, door },
            Some(_) | None => Due::Refused { node, life, conn, kind: io::ErrorKind::ConnectionRefused },
        };
        self.after(delay, due);
    }

    fn delay(&self, node: usize, conn: u64) -> u64 {
        self.rng([1, node as u64, conn]).in_range(1_000..self.case.plan.delay_max.max(1_001))
    }

    /// Whether the process still wants this connection.
    fn is_wanted(&mut self, node: usize, life: u32, conn: u64) -> bool {
        let place = &mut self.nodes[node];
        match &mut place.host {
            Host::Ours(ours) => place.life == life && ours.harbor.is_open(conn_id(conn)),
            Host::Real(_) => place.life == life,
            Host::Crowd(_) => true,
            Host::Nothing => false,
        }
    }

    pub(super) fn dial(&mut self, node: usize, life: u32, conn: u64, (to, door): (usize, Door)) {
        if !self.is_wanted(node, life, conn) {
            return;
        }
        let target = &self.nodes[to];
        let blocked = self.blocked_until(node, to, door).max(self.blocked_until(to, node, door));
        let silent = Some(target.condition.silent).filter(|until| *until > self.now);
        let off = target.is_off.then_some(self.now + self.case.plan.dead_after / 8);
        if let Some(until) = blocked.max(silent).max(off) {
            // The system asks again until somebody answers, or the process has enough.
            let delay = self.delay(node, conn);
            return self.at(until + delay, Due::Dial { node, life, conn, to, door });
        }
        let refuses = target.condition.refuses > self.now || !target.listens[door as usize];
        let kind = match self.nodes[node].condition.no_descriptors > self.now {
            // What EMFILE is to us.
            true => Some(io::ErrorKind::Other),
            false => refuses.then_some(io::ErrorKind::ConnectionRefused),
        };
        if let Some(kind) = kind {
            let delay = self.delay(node, conn);
            return self.after(delay, Due::Refused { node, life, conn, kind });
        }
        self.open_tcp((node, life, conn), to, door);
    }

    fn open_tcp(&mut self, (node, life, conn): (usize, u32, u64), to: usize, door: Door) {
        let plan = &self.case.plan;
        let weather = Weather {
            delay_max: plan.delay_max,
            window_min: plan.window_min,
            window_max: plan.window_max,
            is_fine: plan.default_bounds == 0,
        };
        let mut rng = self.rng([2, node as u64, conn]);
        let mut delay = || rng.in_range(1_000..plan.delay_max.max(1_001));
        let (accept, connect) = (delay(), delay());
        let tcp = self.marks.len() as TcpId;
        let nodes = [(node, life), (to, self.nodes[to].life)];
        let is_sick = |node: usize| self.nodes[node].condition.sick > self.now;
        let strange = node + 1 == self.nodes.len();
        let touched = strange || is_sick(node) || is_sick(to);
        let crowded = [node, to].iter().any(|node| self.nodes[*node].condition.crowded > self.now);
        self.marks.push(Mark { opened: self.now, touched, garbled: false, strange, crowded });
        self.tcps.insert(tcp, Tcp::new(nodes, door, weather, rng));
        self.after(accept, Due::Accept { tcp });
        self.after(accept + connect, Due::Connected { tcp, conn });
    }

    pub(super) fn refused(&mut self, node: usize, life: u32, conn: u64, kind: io::ErrorKind) {
        match &mut self.nodes[node].host {
            Host::Ours(_) => {
                self.input(node, life, |harbor, now| harbor.handle_connect_failed(now, conn_id(conn), kind));
            }
            Host::Real(_) => self.real_input(node, life, |real, _| real.refused(conn)),
            Host::Crowd(crowd) => drop(crowd.words.remove(&conn)),
            Host::Nothing => {}
        }
    }

    pub(super) fn accept(&mut self, tcp: TcpId) {
        let Some(open) = self.tcps.get(&tcp) else { return };
        let ((node, life), door) = (open.node(Side::Acceptor), open.door);
        let place = &self.nodes[node];
        if place.condition.no_descriptors > self.now {
            return self.at(place.condition.no_descriptors, Due::Accept { tcp });
        }
        if place.life != life || !place.is_alive() || !place.listens[door as usize] {
            return self.reset_by(tcp, Side::Acceptor);
        }
        let now = self.clock(node);
        let conn = match &mut self.nodes[node].host {
            Host::Ours(ours) => {
                let listener = match door {
                    Door::Links => Listener::Links,
                    Door::Master => Listener::Master,
                };
                ours.harbor.handle_accepted(now, listener).number()
            }
            Host::Real(real) => real.accepted(now, door),
            Host::Crowd(_) | Host::Nothing => return,
        };
        self.open(tcp, Side::Acceptor, conn);
        self.drain_any(node, life);
        self.arrive(tcp, Side::Acceptor);
    }

    pub(super) fn connected(&mut self, tcp: TcpId, conn: u64) {
        let Some(open) = self.tcps.get(&tcp) else { return };
        let ((node, life), door) = (open.node(Side::Dialler), open.door);
        if !self.is_wanted(node, life, conn) {
            return self.reset_by(tcp, Side::Dialler);
        }
        self.open(tcp, Side::Dialler, conn);
        if door == Door::Master {
            self.nodes[node].control = Some(tcp);
        }
        match self.nodes[node].host {
            Host::Ours(_) => {
                self.input(node, life, |harbor, now| harbor.handle_connected(now, conn_id(conn)))
            }
            Host::Real(_) => self.real_input(node, life, |real, _| real.connected(conn)),
            Host::Crowd(_) => self.strange(conn),
            Host::Nothing => {}
        }
        self.arrive(tcp, Side::Dialler);
    }

    fn open(&mut self, tcp: TcpId, side: Side, conn: u64) {
        if let Some(open) = self.tcps.get_mut(&tcp) {
            open.open(side, conn);
            let (node, _) = open.node(side);
            self.nodes[node].conns.insert(conn, (tcp, side));
        }
    }

    // Reading.

    /// A machine has no memory for what comes over a connection, or has some again.
    pub(super) fn pause_reading(&mut self, node: usize, conn: u64, is_paused: bool) {
        let Some(&(tcp, side)) = self.nodes[node].conns.get(&conn) else { return };
        let Some(open) = self.tcps.get_mut(&tcp) else { return };
        open.towards(side).is_paused = is_paused;
        let crowded = &mut self.nodes[node].condition.crowded;
        *crowded = self.now.max(*crowded);
        if !is_paused {
            self.after(1, Due::Arrive { tcp, side });
        }
    }

    /// Reads what has arrived, as the machine allows.
    pub(super) fn arrive(&mut self, tcp: TcpId, side: Side) {
        loop {
            let Some(open) = self.tcps.get(&tcp) else { return };
            let (node, life) = open.node(side);
            if let Some(until) = self.blocked_towards(open, side) {
                return self.at(until, Due::Arrive { tcp, side });
            }
            if self.nodes[node].is_off {
                let later = self.case.plan.dead_after / 8;
                return self.after(later, Due::Arrive { tcp, side });
            }
            match open.end(side) {
                End::Open(conn) => {
                    if !self.read(tcp, side, (node, life, conn)) {
                        return;
                    }
                }
                End::Opening => return,
                // Whoever writes to a socket that is gone is told so.
                End::Gone => return self.reset_by(tcp, side),
            }
        }
    }

    /// One read. Whether there may be more.
    fn read(&mut self, tcp: TcpId, side: Side, (node, life, conn): (usize, u32, u64)) -> bool {
        let clock = self.clock(node);
        let Some(open) = self.tcps.get_mut(&tcp) else { return false };
        if open.towards(side).is_lost || open.towards(side).is_paused {
            return false;
        }
        let place = &mut self.nodes[node];
        if let Host::Ours(ours) = &mut place.host
            && place.life == life
            && open.has_arrived(self.now, side)
            && ours.harbor.is_short_of_memory()
            && ours.harbor.room(clock, conn_id(conn)) == 0
        {
            // It is not read until the machine says so.
            self.drain(node, life);
            return false;
        }
        let received = open.receive(self.now, side, |bytes| match &mut place.host {
            Host::Ours(ours) if place.life == life => ours.harbor.handle_bytes(clock, conn_id(conn), bytes),
            Host::Real(real) if place.life == life && !bytes.is_empty() => real.bytes(clock, conn, bytes),
            Host::Ours(_) | Host::Real(_) | Host::Crowd(_) | Host::Nothing => {}
        });
        let writer_waits = open.towards(side).writer_waits;
        match received {
            None => false,
            Some(Received::Bytes(())) => {
                if writer_waits {
                    self.acknowledge(tcp, side);
                }
                self.over = Some(tcp);
                self.drain_any(node, life);
                self.over = None;
                true
            }
            Some(Received::End) => {
                self.drop_end(tcp, side);
                self.tell_closed(tcp, node, life, conn);
                self.reset_by(tcp, side);
                false
            }
        }
    }

    fn drain_any(&mut self, node: usize, life: u32) {
        match self.nodes[node].host {
            Host::Ours(_) => self.drain(node, life),
            // Nothing is put in, what it wants is done.
            Host::Real(_) => self.real_input(node, life, |_, _| {}),
            Host::Crowd(_) | Host::Nothing => {}
        }
    }

    /// The process hears that its connection has ended.
    pub(super) fn tell_closed(&mut self, tcp: TcpId, node: usize, life: u32, conn: u64) {
        match self.nodes[node].host {
            Host::Ours(_) => {
                self.input(node, life, |harbor, now| harbor.handle_closed(now, conn_id(conn)));
                if self.nodes[node].life == life {
                    self.oracle.closed(node, tcp);
                }
            }
            Host::Real(_) => self.real_input(node, life, |real, _| real.closed(conn)),
            Host::Crowd(_) | Host::Nothing => {}
        }
    }

    /// There is room again: the writer hears of it if the way back is open.
    fn acknowledge(&mut self, tcp: TcpId, reader: Side) {
        let Some(open) = self.tcps.get_mut(&tcp) else { return };
        open.towards(reader).writer_waits = false;
        let delay = open.rng.in_range(1_000..self.case.plan.delay_max.max(1_001));
        let at = self.tcps.get(&tcp).and_then(|open| self.blocked_towards(open, reader.other()));
        self.at(at.unwrap_or(self.now) + delay, Due::Writable { tcp, side: reader.other() });
    }

    // Writing.

    pub(super) fn writable(&mut self, tcp: TcpId, side: Side) {
        let Some(open) = self.tcps.get(&tcp) else { return };
        let ((node, life), End::Open(conn)) = (open.node(side), open.end(side)) else { return };
        // The way back may be cut again.
        if let Some(until) = self.blocked_towards(open, side) {
            return self.at(until, Due::Writable { tcp, side });
        }
        match self.nodes[node].host {
            Host::Ours(_) if self.nodes[node].life == life => {
                self.transmit(node, conn);
                self.drain(node, life);
            }
            Host::Real(_) | Host::Crowd(_) => self.flush_played(tcp, side),
            Host::Ours(_) | Host::Nothing => {}
        }
    }

    /// Writes as much of a machine's outbox as there is room for.
    pub(super) fn transmit(&mut self, node: usize, conn: u64) {
        let Some(&(tcp, side)) = self.nodes[node].conns.get(&conn) else { return };
        loop {
            let now = self.clock(node);
            let Some(open) = self.tcps.get_mut(&tcp) else { return };
            let room = open.room(side);
            let Host::Ours(ours) = &mut self.nodes[node].host else { return };
            let unsent = ours.harbor.outbox(conn_id(conn)).map_or(0, |outbox| outbox.len());
            if unsent == 0 || room == 0 {
                open.towards(side.other()).writer_waits = unsent > 0;
                return self.check_unsent(node, unsent);
            }
            let bytes = take_bytes(&mut ours.harbor, conn_id(conn), room);
            let sent = bytes.len();
            if let Some(outbox) = ours.harbor.outbox(conn_id(conn)) {
                outbox.advance(sent);
            }
            ours.harbor.handle_sent(now, conn_id(conn));
            self.send(tcp, side, Piece::Bytes(bytes, 0), 0);
        }
    }

    /// Sends a piece; it arrives later, or never.
    fn send(&mut self, tcp: TcpId, from: Side, piece: Piece, late: u64) {
        let now = self.now;
        let Some(open) = self.tcps.get_mut(&tcp) else { return };
        let at = open.send(now, from, piece, late);
        if !open.towards(from.other()).is_lost {
            self.at(at, Due::Arrive { tcp, side: from.other() });
        }
    }

    /// How much later than usual the ends of this node's connections travel.
    fn late_by(&self, node: usize) -> u64 {
        let condition = &self.nodes[node].condition;
        if condition.late > self.now { condition.late_by } else { 0 }
    }

    /// A played node writes: what there is no room for waits.
    pub(super) fn write_played(&mut self, node: usize, conn: u64, bytes: &[u8]) {
        let Some(&(tcp, side)) = self.nodes[node].conns.get(&conn) else { return };
        if let Some(open) = self.tcps.get_mut(&tcp) {
            open.towards(side.other()).backlog.extend(bytes);
            self.flush_played(tcp, side);
        }
    }

    fn flush_played(&mut self, tcp: TcpId, side: Side) {
        loop {
            let Some(open) = self.tcps.get_mut(&tcp) else { return };
            let room = open.room(side);
            let lane = open.towards(side.other());
            let len = lane.backlog.len().min(room);
            if len == 0 {
                lane.writer_waits = !lane.backlog.is_empty();
                break;
            }
            let bytes: Vec<u8> = lane.backlog.drain(..len).collect();
            self.send(tcp, side, Piece::Bytes(bytes, 0), 0);
        }
        let Some(open) = self.tcps.get_mut(&tcp) else { return };
        let lane = open.towards(side.other());
        if lane.ends && lane.backlog.is_empty() {
            let (node, _) = open.node(side);
            self.send_end(tcp, side, node);
        }
    }

    pub(super) fn send_end(&mut self, tcp: TcpId, side: Side, node: usize) {
        let late = self.late_by(node);
        self.send(tcp, side, Piece::Fin, late);
        self.drop_end(tcp, side);
    }

    // Closing.

    /// A machine closes a connection; dialled ones may not be there yet. If it gives up a handshake for another, the acceptor
    /// may have taken the link for up.
    pub(super) fn close(&mut self, node: usize, conn: u64) {
        if let Some(&(tcp, side)) = self.nodes[node].conns.get(&conn) {
            let mark = &mut self.marks[tcp as usize];
            mark.touched |= side == Side::Dialler && !self.oracle.is_link(node, tcp);
            self.send_end(tcp, side, node);
        }
    }

    /// A played node closes, behind what it wrote: for what reason is its own business.
    pub(super) fn close_played(&mut self, node: usize, conn: u64) {
        let Some(&(tcp, side)) = self.nodes[node].conns.get(&conn) else { return };
        self.marks[tcp as usize].touched = true;
        if let Some(open) = self.tcps.get_mut(&tcp) {
            open.towards(side.other()).ends = true;
            self.flush_played(tcp, side);
        }
    }

    /// This side has nothing to do with the connection any more.
    pub(super) fn drop_end(&mut self, tcp: TcpId, side: Side) {
        let Some(open) = self.tcps.get_mut(&tcp) else { return };
        if let End::Open(conn) = open.end(side) {
            let (node, _) = open.node(side);
            self.nodes[node].conns.remove(&conn);
        }
        open.drop_end(self.now, side);
        if open.is_over() {
            self.tcps.remove(&tcp);
        }
    }

    /// This side is gone: the other one is told, and may miss what was on its way.
    pub(super) fn reset_by(&mut self, tcp: TcpId, side: Side) {
        self.drop_end(tcp, side);
        let Some(open) = self.tcps.get_mut(&tcp) else { return };
        if open.end(side.other()) != End::Gone {
            open.discard(side.other());
            self.send(tcp, side, Piece::Reset, 0);
        }
    }

    /// A machine wants its system to look whether the other end still knows a connection.
    pub(super) fn ask_system(&mut self, node: usize, conn: u64) {
        if let Some(&(tcp, side)) = self.nodes[node].conns.get(&conn) {
            self.after(2 * self.case.plan.delay_max, Due::Probed { tcp, side });
        }
    }

    /// If it does not, and can say so, the connection is reset.
    pub(super) fn probed(&mut self, tcp: TcpId, side: Side) {
        let Some(open) = self.tcps.get_mut(&tcp) else { return };
        let (node, other) = (open.node(side).0, open.node(side.other()).0);
        let is_lost = open.towards(side).is_lost || self.nodes[other].is_off;
        let Some(open) = self.tcps.get(&tcp) else { return };
        let is_cut = self.blocked_until(node, other, open.door).is_some()
            || self.blocked_towards(open, side).is_some();
        if open.end(side.other()) == End::Gone && !is_lost && !is_cut {
            self.reset_by(tcp, side.other());
        }
    }

    /// The system has waited long enough for the other end: if it still does not answer, the process is told.
    pub(super) fn give_up_connection(&mut self, tcp: TcpId, side: Side) {
        let Some(open) = self.tcps.get_mut(&tcp) else { return };
        let End::Open(conn) = open.end(side) else { return };
        let is_lost = open.towards(side).is_lost || open.towards(side.other()).is_lost;
        let is_alone = open.end(side.other()) == End::Gone && open.towards(side).is_empty();
        let ((node, life), (other, _)) = (open.node(side), open.node(side.other()));
        let door = open.door as usize;
        let ways = [node * self.nodes.len() + other, other * self.nodes.len() + node];
        let dead_after = self.case.plan.dead_after;
        let is_cut = ways.iter().any(|way| {
            let (since, until) = self.blocks[*way][door];
            until > self.now && since + dead_after <= self.now
        });
        if is_lost || is_alone || is_cut {
            self.drop_end(tcp, side);
            self.tell_closed(tcp, node, life, conn);
        }
    }
}

/// Up to `room` unsent bytes of a connection; they stay in the outbox.
fn take_bytes(harbor: &mut Harbor, conn: ConnId, room: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(outbox) = harbor.outbox(conn) {
        let mut slices = Slices::new();
        outbox.slices(&mut slices);
        for slice in &slices {
            bytes.extend_from_slice(&slice[..slice.len().min(room - bytes.len())]);
        }
    }
    bytes
}
