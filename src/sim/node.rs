//! A node of the simulation: a real machine, with services that are played.

use super::oracle::Uid;
use super::tcp::Side;
use crate::clock::Instant;
use crate::harbor::{Bounds, ConnId, Harbor, Join, Settings};
use crate::message::{Body, Envelope, Handle, HarborId, Kind, Name, Payload, Session};
use crate::registry;
use std::collections::BTreeMap;
use std::time::Duration;

/// The bytes in front of each payload: the number of the message.
const NUMBER_BYTES: usize = 8;

/// One service: it calls, sends and answers.
pub(super) struct Service {
    pub(super) uid: Uid,
    pub(super) name: Name,
    pub(super) alive: bool,
    session: Session,
    /// Calls that wait for an answer, with the numbers of their messages.
    pub(super) open: BTreeMap<Session, u64>,
}

impl Service {
    /// A session that is not in use.
    pub(super) fn next_session(&mut self) -> Session {
        self.session = self.session.next();
        self.session
    }
}

/// One node, in one life.
pub(super) struct Node {
    pub(super) life: u32,
    pub(super) id: HarborId,
    /// None while it is dead.
    pub(super) harbor: Option<Harbor>,
    pub(super) services: Vec<Service>,
    pub(super) conns: BTreeMap<ConnId, (u64, Side)>,
    /// Names that the machine published.
    pub(super) names: BTreeMap<Name, Handle>,
    pub(super) wake: Option<Instant>,
    /// Delivered messages that found no service.
    pub(super) undeliverable: Vec<Envelope>,
}

impl Node {
    pub(super) fn dead() -> Self {
        Self {
            life: 0,
            id: HarborId::SINGLE,
            harbor: None,
            services: Vec::new(),
            conns: BTreeMap::new(),
            names: BTreeMap::new(),
            wake: None,
            undeliverable: Vec::new(),
        }
    }

    /// Begins the next life.
    pub(super) fn begin(&mut self, index: usize, id: HarborId, services: usize, seed: u64) {
        let life = self.life + 1;
        *self = Self { life, id, harbor: Some(Harbor::new(settings(index, id, seed))), ..Self::dead() };
        self.services = (0..services).map(|service| new_service(index, life, service)).collect();
    }

    /// The machine, if this life goes on.
    pub(super) fn living(&mut self, life: u32) -> Option<&mut Harbor> {
        if self.life == life { self.harbor.as_mut() } else { None }
    }

    pub(super) fn handle_of(&self, local: u32) -> Handle {
        Handle::new(self.id, local)
    }

    /// The living service with this local id.
    pub(super) fn service(&mut self, local: u32) -> Option<&mut Service> {
        self.services.iter_mut().find(|service| service.uid.local == local && service.alive)
    }
}

/// The address of a node for links.
pub(super) fn links_address(index: usize) -> String {
    format!("node{index}:2526")
}

/// The address of the master, which node 0 hosts.
pub(super) const MASTER_ADDRESS: &str = "node0:2013";

fn settings(index: usize, own: HarborId, seed: u64) -> Settings {
    let bounds = Bounds {
        held_time_max: Duration::from_millis(400),
        handshake_time_max: Duration::from_millis(100),
        redial_time_min: Duration::from_millis(5),
        redial_time_max: Duration::from_millis(80),
        leave_time_max: Duration::from_millis(50),
        unsent_warn_bytes: 4096,
        unsent_bytes_max: 64 << 10,
        name_held_messages_max: 12,
        pending_calls_max: 40,
        registry: registry::Bounds {
            join_time_max: Duration::from_millis(200),
            hello_time_max: Duration::from_millis(200),
            ..registry::Bounds::default()
        },
        ..Bounds::default()
    };
    Settings {
        join: Some(Join { listen: links_address(index), advertise: None, master: MASTER_ADDRESS.to_owned() }),
        master: (index == 0).then(|| MASTER_ADDRESS.to_owned()),
        bounds,
        seed,
        ..Settings::new(own)
    }
}

/// Services of different lives have different local ids, as the design wants it.
fn new_service(node: usize, life: u32, service: usize) -> Service {
    let local = 8 + life * 1000 + service as u32;
    let uid = Uid { node, life, local };
    let (session, open) = (Session::NONE, BTreeMap::new());
    Service { uid, name: name_of(uid), alive: true, session, open }
}

/// The name that a service registers.
pub(super) fn name_of(uid: Uid) -> Name {
    let text = format!("N{}L{}S{}", uid.node, uid.life, uid.local);
    Name::new(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A message with its number in front and `padding` bytes behind.
pub(super) fn message(
    source: Handle,
    dest: Handle,
    session: Session,
    kind: Kind,
    number: u64,
    padding: usize,
) -> Envelope {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(NUMBER_BYTES + padding, number as u8);
    Envelope { source, dest, session, kind, body: Body::Bytes(Payload::from_vec(bytes)) }
}

/// The number of a message, if its payload is what [`message`] made of it.
pub(super) fn number_of(envelope: &Envelope) -> Option<u64> {
    let bytes = envelope.body.bytes()?;
    let (number, padding) = bytes.split_first_chunk::<NUMBER_BYTES>()?;
    let number = u64::from_le_bytes(*number);
    padding.iter().all(|byte| *byte == number as u8).then_some(number)
}
