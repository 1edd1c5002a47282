//! Nodes of our kind: who they are, and the one message that they send each other.
//!
//! Nothing of this ever goes to a real node: a hello is sent when the present master has named both ends (`~sky.<id>`,
//! `registry`) and the link is up, once for each link, so one counts and a repeated one does nothing. It is an ordinary message between two reserved ids:
//! type LUA, session 0, packed values `"HELLO"`, incarnation, capabilities.

use super::desk::Desk;
use super::{Event, Fault, Harbor, Hello};
use crate::limits::SERVICE_ID_KIN;
use crate::message::{Body, CallError, Envelope, Handle, HarborId, Kind, Payload, Session};
use crate::seri::{self, Value};
use std::collections::BTreeSet;

const HELLO: &str = "HELLO";

/// What this node said to its kind; at most one entry for each id.
#[derive(Default)]
pub(super) struct Kin {
    /// Who got our hello on the present link.
    greeted: BTreeSet<HarborId>,
}

impl Kin {
    /// The link is gone: who comes next under this id is somebody else.
    pub(super) fn lost(&mut self, id: HarborId, desk: &mut Desk) {
        self.greeted.remove(&id);
        desk.met.remove(&id);
    }
}

/// Whether a frame is for the reserved id and not for a service.
pub(super) fn is_addressed(envelope: &Envelope, desk: &Desk) -> bool {
    desk.is_kin && envelope.dest.local() == SERVICE_ID_KIN
}

impl Harbor {
    /// Says hello to a node of our kind, once for each link.
    pub(super) fn greet_kin(&mut self, id: HarborId) {
        let Some(hello) = self.settings.hello else { return };
        let is_due = self.slots[id.index()].is_up() && self.control.slave.is_kin(id);
        if is_due && !self.desk.leaving && self.kin.greeted.insert(id) {
            let source = Handle::new(self.desk.own, SERVICE_ID_KIN);
            let dest = Handle::new(id, SERVICE_ID_KIN);
            let body = Body::Bytes(Payload::from_vec(pack(hello)));
            self.send(Envelope { source, dest, session: Session::NONE, kind: Kind::LUA, body });
        }
    }

    /// A message for the reserved id. Anything but a hello is refused as by a service that does not exist.
    pub(super) fn kin_mail(&mut self, peer: HarborId, envelope: &Envelope) {
        let is_from_kin = envelope.source == Handle::new(peer, SERVICE_ID_KIN) && envelope.kind == Kind::LUA;
        if !self.slots[peer.index()].is_up() {
            // Its link broke behind this message.
            return;
        }
        let hello = envelope.body.bytes().filter(|_| is_from_kin).and_then(unpack);
        if let Some(hello) = hello {
            self.meet(peer, hello);
        } else if envelope.kind != Kind::ERROR && envelope.session.wants_answer() {
            let (source, dest) = (envelope.dest, envelope.source);
            self.desk.reply(Envelope::error(source, dest, envelope.session, CallError::NoService));
        }
    }

    /// The first hello of a link counts. Once more says nothing; another one cannot be true, since a node has one
    /// incarnation as long as its links live.
    fn meet(&mut self, peer: HarborId, hello: Hello) {
        match self.desk.met.get(&peer) {
            None => {
                self.desk.met.insert(peer, hello);
                self.desk.event(Event::Kin { peer, hello });
            }
            Some(known) if *known == hello => {}
            Some(_) => self.slots[peer.index()].fault(Fault::OtherHello, &mut self.desk),
        }
    }

    /// What a node of our kind said of itself on the present link; none of a real node.
    pub fn kin(&self, peer: HarborId) -> Option<Hello> {
        self.desk.met.get(&peer).copied()
    }
}

fn pack(hello: Hello) -> Vec<u8> {
    let number = |bits: u64| Value::Int(i64::from_ne_bytes(bits.to_ne_bytes()));
    let values = [Value::from(HELLO), number(hello.incarnation), number(hello.capabilities)];
    // Three scalars always fit.
    seri::pack(&values).unwrap_or_default()
}

/// Values behind the known ones are for later versions.
fn unpack(bytes: &[u8]) -> Option<Hello> {
    let number = |int: i64| u64::from_ne_bytes(int.to_ne_bytes());
    match &seri::unpack(bytes).ok()?[..] {
        [Value::Bytes(word), Value::Int(incarnation), Value::Int(capabilities), ..]
            if word == HELLO.as_bytes() =>
        {
            Some(Hello { incarnation: number(*incarnation), capabilities: number(*capabilities) })
        }
        _ => None,
    }
}
