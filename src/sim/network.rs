//! What the I/O thread and the kernel do: listen, dial, accept, read, write, close.

use super::tcp::{End, Piece, Side, Tcp};
use super::world::{Due, World};
use crate::harbor::{ConnId, Harbor, Listener};
use crate::wire::Slices;
use std::time::Duration;

impl World {
    /// The delay of something that the network does.
    pub(super) fn delay(&mut self) -> Duration {
        let longest = self.plan.delay_max.as_nanos() as u64;
        Duration::from_nanos(self.rng.in_range(1_000..longest))
    }

    pub(super) fn dial(&mut self, node: usize, life: u32, conn: ConnId, address: &str) {
        if self.nodes[node].living(life).is_none() {
            return;
        }
        let is_refused = !self.healing && self.rng.chance(self.plan.refuse_percent);
        let target = self.listeners.get(address).copied().filter(|_| !is_refused);
        let Some((acceptor, listener)) = target else {
            let delay = self.delay();
            return self.after(delay, Due::Refused { node, life, conn });
        };
        self.tcp_last += 1;
        let tcp = self.tcp_last;
        let acceptor = (acceptor, self.nodes[acceptor].life);
        let (accept, connect) = (self.delay(), self.delay());
        let is_control = listener == Listener::Master;
        let open = Tcp::new((node, life), acceptor, is_control, self.plan.delay_max, &mut self.rng);
        self.tcps.insert(tcp, open);
        self.after(accept, Due::Accept { tcp, listener });
        self.after(connect, Due::Connected { tcp, conn });
    }

    pub(super) fn accept(&mut self, tcp: u64, listener: Listener) {
        let Some((node, life)) = self.tcps.get(&tcp).map(|tcp| tcp.node(Side::Acceptor)) else { return };
        let is_open = self.listeners.values().any(|open| *open == (node, listener));
        let now = self.now;
        let Some(harbor) = self.nodes[node].living(life).filter(|_| is_open) else {
            return self.reset_by(tcp, Side::Acceptor);
        };
        let conn = harbor.handle_accepted(now, listener);
        self.open(tcp, Side::Acceptor, node, conn);
        self.drain(node, life);
        self.arrive(tcp, Side::Acceptor);
    }

    pub(super) fn connected(&mut self, tcp: u64, conn: ConnId) {
        let Some((node, life)) = self.tcps.get(&tcp).map(|tcp| tcp.node(Side::Dialler)) else { return };
        let wanted = self.nodes[node].living(life).is_some_and(|harbor| harbor.is_open(conn));
        if !wanted {
            return self.reset_by(tcp, Side::Dialler);
        }
        self.open(tcp, Side::Dialler, node, conn);
        self.input(node, life, |harbor, now| harbor.handle_connected(now, conn));
        self.arrive(tcp, Side::Dialler);
    }

    fn open(&mut self, tcp: u64, side: Side, node: usize, conn: ConnId) {
        if let Some(open) = self.tcps.get_mut(&tcp) {
            open.open(side, conn);
            self.nodes[node].conns.insert(conn, (tcp, side));
        }
    }

    /// Reads what has arrived, as the machine allows.
    pub(super) fn arrive(&mut self, tcp: u64, side: Side) {
        loop {
            let now = self.now;
            let Some(open) = self.tcps.get_mut(&tcp) else { return };
            let (node, life) = open.node(side);
            let conn = match open.end(side) {
                End::Open(conn) => conn,
                End::Opening => return,
                // Whoever writes to a socket that is gone is told so.
                End::Gone => return self.reset_by(tcp, side),
            };
            let Some(piece) = open.receive(now, side, &mut self.rng) else { return };
            match piece {
                Piece::Bytes(bytes) => {
                    self.at(now, Due::Writable { tcp, side: side.other() });
                    self.input(node, life, |harbor, now| harbor.handle_bytes(now, conn, &bytes));
                }
                Piece::Fin | Piece::Reset => {
                    self.drop_end(tcp, side);
                    self.input(node, life, |harbor, now| harbor.handle_closed(now, conn));
                    return self.reset_by(tcp, side);
                }
            }
        }
    }

    pub(super) fn writable(&mut self, tcp: u64, side: Side) {
        self.write(tcp, side);
    }

    /// Writes as much of the outbox as the window takes.
    pub(super) fn write(&mut self, tcp: u64, side: Side) {
        let now = self.now;
        let Some(open) = self.tcps.get_mut(&tcp) else { return };
        let (node, life) = open.node(side);
        let (End::Open(conn), room) = (open.end(side), open.room(side)) else { return };
        let Some(harbor) = self.nodes[node].living(life) else { return };
        let bytes = take_bytes(harbor, conn, room);
        if bytes.is_empty() {
            return;
        }
        let sent = bytes.len();
        let at = open.send(now, side, Piece::Bytes(bytes), &mut self.rng);
        self.at(at, Due::Arrive { tcp, side: side.other() });
        self.input(node, life, |harbor, now| {
            if let Some(outbox) = harbor.outbox(conn) {
                outbox.advance(sent);
            }
            harbor.handle_sent(now, conn);
        });
        self.write(tcp, side);
    }

    /// The machine closes a connection; dialled ones may not be there yet.
    pub(super) fn close(&mut self, node: usize, conn: ConnId) {
        let Some(&(tcp, side)) = self.nodes[node].conns.get(&conn) else { return };
        let now = self.now;
        if let Some(open) = self.tcps.get_mut(&tcp) {
            let at = open.send(now, side, Piece::Fin, &mut self.rng);
            self.at(at, Due::Arrive { tcp, side: side.other() });
        }
        self.drop_end(tcp, side);
    }

    /// This side has nothing to do with the connection any more.
    pub(super) fn drop_end(&mut self, tcp: u64, side: Side) {
        let Some(open) = self.tcps.get_mut(&tcp) else { return };
        if let End::Open(conn) = open.end(side) {
            let (node, _) = open.node(side);
            self.nodes[node].conns.remove(&conn);
        }
        open.drop_end(side);
        if open.is_over() {
            self.tcps.remove(&tcp);
        }
    }

    /// This side is gone: the other one is told, and may miss what was on its way.
    pub(super) fn reset_by(&mut self, tcp: u64, side: Side) {
        self.drop_end(tcp, side);
        let now = self.now;
        let Some(open) = self.tcps.get_mut(&tcp) else { return };
        if open.end(side.other()) != End::Gone {
            open.lose_tail(side.other(), &mut self.rng);
            let at = open.send(now, side, Piece::Reset, &mut self.rng);
            self.at(at, Due::Arrive { tcp, side: side.other() });
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
