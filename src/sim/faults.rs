//! What goes wrong, and how it is put right.

use super::tcp::{End, Side, Tcp};
use super::world::{Due, World};
use crate::message::{HarborId, HarborRequest};
use std::time::Duration;

impl World {
    /// A node begins a life. Ids are never used again: this master burns them.
    pub(super) fn boot(&mut self, node: usize) {
        if self.nodes[node].harbor.is_some() {
            return;
        }
        self.id_last += 1;
        let (id, seed) = (HarborId::new(self.id_last), self.rng.bits());
        self.nodes[node].begin(node, id, self.plan.services, seed);
        let life = self.nodes[node].life;
        self.input(node, life, |harbor, now| harbor.start(now));
        let uids: Vec<_> = self.nodes[node].services.iter().map(|service| service.uid).collect();
        for uid in uids {
            let (register, act) = (self.delay() * 3, self.around(self.plan.act_every));
            self.after(register, Due::Register { uid });
            self.after(act, Due::Act { uid });
        }
    }

    /// The process is gone; its sockets are reset.
    pub(super) fn die(&mut self, node: usize) {
        let (life, services) = (self.nodes[node].life, std::mem::take(&mut self.nodes[node].services));
        self.listeners.retain(|_, (owner, _)| *owner != node);
        let conns: Vec<_> = self.nodes[node].conns.values().copied().collect();
        for (tcp, side) in conns {
            self.reset_by(tcp, side);
        }
        self.nodes[node].harbor = None;
        self.nodes[node].services = services;
        self.oracle.died(node, life);
        let pause = self.around(Duration::from_millis(40));
        self.after(pause, Due::Boot { node });
    }

    /// One fault, and the next one later.
    pub(super) fn fault(&mut self) {
        if self.healing {
            return;
        }
        if let Some(every) = self.plan.fault_every {
            let next = self.around(every);
            self.after(next, Due::Fault);
        }
        self.report.faults += 1;
        let node = self.rng.index(self.nodes.len());
        match self.rng.index(10) {
            0..2 => {
                if self.nodes[node].harbor.is_some() {
                    self.die(node);
                }
            }
            2 => self.leave(node),
            _ => self.cut(),
        }
    }

    fn leave(&mut self, node: usize) {
        let life = self.nodes[node].life;
        self.input(node, life, |harbor, now| harbor.handle_request(now, HarborRequest::Leave));
    }

    /// Resets a link in the middle. (A control link stays: its master would not have the id back.)
    fn cut(&mut self) {
        let is_link = |tcp: &Tcp| !tcp.is_control && tcp.is_established();
        let links: Vec<u64> = self.tcps.iter().filter(|(_, tcp)| is_link(tcp)).map(|(id, _)| *id).collect();
        if links.is_empty() {
            return;
        }
        let tcp = links[self.rng.index(links.len())];
        for side in [Side::Dialler, Side::Acceptor] {
            let Some(open) = self.tcps.get(&tcp) else { return };
            let ((node, life), end) = (open.node(side), open.end(side));
            if let End::Open(conn) = end {
                self.drop_end(tcp, side);
                self.input(node, life, |harbor, now| harbor.handle_closed(now, conn));
            }
        }
    }

    /// No faults from here on; nodes that are dead come back by themselves.
    pub(super) fn heal(&mut self) {
        self.healing = true;
    }
}
