//! How a node is known to its kind, and whom it knows (G11).

use super::{Slave, SlaveOutput, State};
use crate::message::{Handle, HarborId, Name};
use crate::registry::kin::{Kin, kin_handle, kin_name};
use crate::wire::control::Packet;
use crate::wire::{ConnId, Hello, Trailing};

impl Slave {
    /// Makes this node register a name by which its kind knows it, say `hello` to its master, and look for others (G11).
    /// To be called before it joins.
    pub fn seek_kin(&mut self, hello: Hello) {
        self.kin = Some(Kin::new(hello));
    }

    /// Whether that node is of our kind, and knows it of us.
    pub fn is_kin(&self, id: HarborId) -> bool {
        self.kin.as_ref().is_some_and(|kin| kin.is_named(id) && kin.is_named(self.own))
    }

    /// What the present master, if it is of our kind, said of a node of our kind.
    pub fn hello_of(&self, id: HarborId) -> Option<Hello> {
        self.kin.as_ref().and_then(|kin| kin.hello(id))
    }

    /// Whether the present master is of our kind.
    pub fn has_kin_master(&self) -> bool {
        self.kin.as_ref().is_some_and(Kin::has_master)
    }

    pub(super) fn forget_kin(&mut self) {
        if let Some(kin) = &mut self.kin {
            kin.forget();
        }
    }

    /// `H`: at the beginning, and when a master of our kind doubts that this node lives.
    pub(super) fn greet(&mut self, conn: ConnId) {
        let trailing = self.kin.as_ref().map_or(Trailing::Nothing, |kin| Trailing::Hello(kin.own()));
        let packet = Packet::Hello { id: self.own, address: self.address.clone() };
        self.send_with(conn, packet, trailing);
    }

    /// `W` came: our own name, then the questions for those who are linked already.
    pub(super) fn introduce(&mut self, master: Option<Hello>) {
        let (Some(conn), Some(kin)) = (self.master(), &mut self.kin) else { return };
        kin.greeted(master);
        let (name, handle) = (kin_name(self.own).into(), kin_handle(self.own));
        self.send(conn, Packet::Register { name, handle });
        for id in (1..=255).map(HarborId::new).filter(|id| self.linked.contains(*id)).collect::<Vec<_>>() {
            self.seek(id);
        }
    }

    pub(super) fn seek(&mut self, id: HarborId) {
        let conn = match self.state {
            State::Joining { conn, .. } | State::Ready { conn } => conn,
            State::Apart | State::Greeting { .. } => return,
        };
        if self.kin.as_mut().is_some_and(|kin| kin.ask(id)) {
            self.send(conn, Packet::Query { name: kin_name(id).into() });
        }
    }

    /// `C`, or an `N` with a hello, of a master of our kind: who the node is.
    pub(super) fn hear_hello(&mut self, id: HarborId, hello: Option<Hello>) {
        let new = self.kin.as_mut().filter(|kin| kin.has_master()).and_then(|kin| kin.introduced(id, hello));
        self.meet_kin(new);
    }

    /// Our own name comes back like any other; those that came before it count from then on.
    pub(super) fn hear_kin(&mut self, name: &Name, handle: Handle) {
        let new = self.kin.as_mut().and_then(|kin| kin.hear(name, handle));
        self.meet_kin(new);
    }

    fn meet_kin(&mut self, new: Option<HarborId>) {
        let Some(new) = new else { return };
        let ids = if new == self.own { 1..=255 } else { new.get()..=new.get() };
        let kin: Vec<HarborId> =
            ids.map(HarborId::new).filter(|id| *id != self.own && self.is_kin(*id)).collect();
        self.outputs.extend(kin.into_iter().map(|id| SlaveOutput::Kin { id }));
    }
}
