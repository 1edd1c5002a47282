//! A node of the simulation: a real machine with services that are played, a played real node, or the crowd of strangers.

use super::case::{Plan, Stranger};
use super::oracle::Uid;
use super::real::Real;
use super::tcp::{Door, Side, TcpId};
use crate::harbor::{Bounds, Harbor, Hello, Join, Settings};
use crate::limits::{SERVICE_ID_FREE_MIN, SERVICE_ID_VACANT};
use crate::message::{Body, Envelope, Handle, HarborId, Kind, Name, Payload, Session};
use crate::registry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The bytes in front of each payload: the number of the message.
const NUMBER_BYTES: usize = 8;

/// The service that answers what real nodes ask at their start.
pub(super) const MANAGER: u32 = 9;
/// What a played real node calls its answering and its calling service.
pub(super) const REAL_ECHO: u32 = 8;
pub(super) const REAL_CALLER: u32 = 9;
/// Where errors for the names of the dead come from.
pub(super) const VACANT: u32 = SERVICE_ID_VACANT;

/// What a service waits for, besides calls. Each is answered once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Whether the name is its own now; nobody else wants it.
    OwnName,
    SharedName,
    /// Who has a name, until then on its clock.
    Owner {
        deadline: u64,
    },
    /// A link comes up, or is lost.
    Link,
}

/// One service: it calls, sends, asks and answers.
pub(super) struct Service {
    pub(super) uid: Uid,
    pub(super) alive: bool,
    session: Session,
    /// Calls that wait for an answer, with the numbers of their messages.
    pub(super) open: BTreeMap<Session, u64>,
    pub(super) asked: BTreeMap<Session, Question>,
    /// Calls that it gave up: their answers may still come.
    pub(super) given_up: BTreeSet<Session>,
}

impl Service {
    /// Services of different lives and slots have different local ids, as the design wants it.
    pub(super) fn new(node: usize, life: u32, local: u32) -> Self {
        let uid = Uid { node, life, local };
        // Some begin just before sessions start again at 1.
        let session =
            if local.is_multiple_of(3) { Session::from_bits(Session::MAX.bits() - 9) } else { Session::NONE };
        let (open, asked, given_up) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { uid, alive: true, session, open, asked, given_up }
    }

    /// A session that is not in use.
    pub(super) fn next_session(&mut self) -> Session {
        loop {
            self.session = self.session.next();
            if !self.open.contains_key(&self.session) && !self.asked.contains_key(&self.session) {
                return self.session;
            }
        }
    }
}

/// A node of ours.
pub(super) struct Ours {
    pub(super) harbor: Harbor,
    /// The services of the slots, and those that were there before.
    pub(super) services: Vec<Service>,
    local_last: u32,
    /// Names that the machine published.
    pub(super) names: BTreeMap<Name, Handle>,
    /// Delivered messages that found no service, or no room.
    pub(super) returned: VecDeque<(Envelope, Returned)>,
    pub(super) leaves: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returned {
    NoService,
    NoRoom,
}

impl Ours {
    /// A new service.
    pub(super) fn spawn(&mut self, node: usize, life: u32) -> Uid {
        self.local_last += 1;
        let service = Service::new(node, life, self.local_last);
        let uid = service.uid;
        self.services.push(service);
        uid
    }

    /// The living service with this local id.
    pub(super) fn service(&mut self, local: u32) -> Option<&mut Service> {
        self.services.iter_mut().rev().find(|service| service.uid.local == local && service.alive)
    }
}

/// Connections of those who are no nodes: what they will say, and who they are.
#[derive(Default)]
pub(super) struct Crowd {
    pub(super) conn_last: u64,
    pub(super) words: BTreeMap<u64, Stranger>,
    /// Those who have said it, to whom and when.
    pub(super) said: BTreeMap<u64, (Stranger, (usize, u32), u64)>,
}

pub(super) enum Host {
    Nothing,
    Ours(Box<Ours>),
    Real(Box<Real>),
    Crowd(Crowd),
}

/// Until when a node is not well; 0: it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Condition {
    pub(super) paused: u64,
    pub(super) paused_since: u64,
    pub(super) slow: u64,
    pub(super) cost: u64,
    /// When a slow node has time again.
    pub(super) free: u64,
    pub(super) no_descriptors: u64,
    pub(super) full: u64,
    /// Mailboxes hold all the memory that there is; or when a link was last not read, or read again.
    pub(super) crowded: u64,
    pub(super) refuses: u64,
    pub(super) silent: u64,
    pub(super) late: u64,
    pub(super) late_by: u64,
    /// The end of the last thing that could slow it down.
    pub(super) sick: u64,
}

/// One place in the cluster, in one life.
pub(super) struct Node {
    pub(super) index: usize,
    pub(super) life: u32,
    pub(super) id: HarborId,
    pub(super) host: Host,
    pub(super) conns: BTreeMap<u64, (TcpId, Side)>,
    /// Whether its sockets listen: for links, for slaves.
    pub(super) listens: [bool; 2],
    /// Whoever lives, or lived last, in each slot.
    pub(super) slots: Vec<Uid>,
    /// What its clock shows more than the world's.
    pub(super) offset: u64,
    pub(super) wake: Option<u64>,
    /// How long it stays away after its end.
    pub(super) down: u64,
    /// It has no power.
    pub(super) is_off: bool,
    pub(super) condition: Condition,
    /// The connection to the master.
    pub(super) control: Option<TcpId>,
    pub(super) master_up: bool,
    /// Calls of a played real node: the numbers of their messages, and whether they went to a name.
    pub(super) real_calls: BTreeMap<u32, (u64, bool)>,
    /// The master does not take its id: somebody gives it another.
    pub(super) is_refused: bool,
}

impl Node {
    pub(super) fn new(index: usize, host: Host) -> Self {
        Self {
            index,
            life: 0,
            id: HarborId::SINGLE,
            host,
            conns: BTreeMap::new(),
            listens: [false; 2],
            slots: Vec::new(),
            offset: 0,
            wake: None,
            down: 0,
            is_off: false,
            condition: Condition::default(),
            control: None,
            master_up: false,
            real_calls: BTreeMap::new(),
            is_refused: false,
        }
    }

    /// Begins the next life of a node of ours.
    pub(super) fn begin_ours(&mut self, plan: &Plan, id: HarborId, seed: u64) {
        self.begin(id);
        let harbor = Harbor::new(settings(plan, self.index, id, u64::from(self.life), seed));
        let local_last = SERVICE_ID_FREE_MIN + (self.life << 12) + 16;
        let (services, names, returned) = (Vec::new(), BTreeMap::new(), VecDeque::new());
        let mut ours = Ours { harbor, services, local_last, names, returned, leaves: false };
        self.slots = (0..plan.services).map(|_| ours.spawn(self.index, self.life)).collect();
        if self.index == 0 && plan.reals != 0 {
            ours.services.push(Service::new(0, self.life, MANAGER));
        }
        self.host = Host::Ours(Box::new(ours));
    }

    /// Begins the next life of a played real node.
    pub(super) fn begin_real(&mut self, id: HarborId) {
        self.begin(id);
        let mut real = Real::new(id.get(), self.index == 0);
        real.address = address(self.index);
        self.slots = vec![Uid { node: self.index, life: self.life, local: REAL_ECHO }];
        self.host = Host::Real(Box::new(real));
    }

    fn begin(&mut self, id: HarborId) {
        self.life += 1;
        self.id = id;
        self.listens = [false; 2];
        (self.wake, self.control, self.master_up, self.is_off) = (None, None, false, false);
        self.is_refused = false;
        self.real_calls.clear();
    }

    /// Ours, if this life goes on.
    pub(super) fn ours(&mut self, life: u32) -> Option<&mut Ours> {
        match &mut self.host {
            Host::Ours(ours) if self.life == life => Some(ours),
            Host::Ours(_) | Host::Real(_) | Host::Crowd(_) | Host::Nothing => None,
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.host, Host::Nothing)
    }

    pub(super) fn handle_of(&self, local: u32) -> Handle {
        Handle::new(self.id, local)
    }
}

/// The address of a node for links.
pub(super) fn address(index: usize) -> String {
    format!("node:{index}")
}

/// The address of the master, which node 0 hosts.
pub(super) const MASTER_ADDRESS: &str = "master";

/// The node and the door of an address.
pub(super) fn place_of(address: &str) -> Option<(usize, Door)> {
    if address == MASTER_ADDRESS {
        return Some((0, Door::Master));
    }
    Some((address.strip_prefix("node:")?.parse().ok()?, Door::Links))
}

fn settings(plan: &Plan, index: usize, own: HarborId, incarnation: u64, seed: u64) -> Settings {
    let bounds = if plan.default_bounds == 1 { Bounds::default() } else { small_bounds(plan) };
    let join = Join { listen: address(index), advertise: None, master: MASTER_ADDRESS.to_owned() };
    Settings {
        join: Some(join),
        master: (index == 0).then(|| MASTER_ADDRESS.to_owned()),
        hello: (plan.kin == 1).then_some(Hello { incarnation, capabilities: CAPABILITIES }),
        // Some compress what they send.
        compress: (index % 2 == 1).then_some(64),
        bounds,
        seed,
        ..Settings::new(own)
    }
}

const CAPABILITIES: u64 = Hello::PULSE | Hello::READS_COMPRESSED;

/// Reached by what one read may bring; in every other run there is more.
const INBOUND_BYTES_MAX: usize = 16 << 10;

/// Bounds that are reached, and times that pass, within a short run.
fn small_bounds(plan: &Plan) -> Bounds {
    Bounds {
        held_messages_max: 60,
        held_time_max: Duration::from_millis(400),
        handshake_time_max: Duration::from_millis(100),
        heartbeat: Duration::from_millis(60),
        heartbeat_deadline: Duration::from_millis(200),
        probe_time_max: Duration::from_millis(100),
        stall_time_max: Duration::from_millis(400),
        redial_time_min: Duration::from_millis(5),
        redial_time_max: Duration::from_millis(80),
        leave_time_max: Duration::from_millis(50),
        unsent_warn_bytes: 4096,
        unsent_bytes_max: 64 << 10,
        inbound_bytes_max: INBOUND_BYTES_MAX << (4 * (plan.seed & 1)),
        pause_time_max: Duration::from_millis(300),
        name_held_messages_max: 12,
        pending_calls_max: 40,
        registry: registry::Bounds {
            join_time_max: Duration::from_millis(200),
            hello_time_max: Duration::from_millis(200),
            claim_time_max: Duration::from_millis(400),
            ..registry::Bounds::default()
        },
        ..Bounds::default()
    }
}

/// The bounds of the nodes of a run.
pub(super) fn bounds(plan: &Plan) -> Bounds {
    if plan.default_bounds == 1 { Bounds::default() } else { small_bounds(plan) }
}

/// The name that a service registers.
pub(super) fn name_of(uid: Uid) -> Name {
    name(&format!("N{}L{:x}", uid.node, uid.local))
}

/// The name that a played real node registers.
pub(super) fn real_name(uid: Uid) -> String {
    format!("R{}L{}", uid.node, uid.life)
}

/// A name that several services claim.
pub(super) fn shared_name(number: u8) -> Name {
    name(&format!("SHARED{number}"))
}

/// A name of the test's making.
pub(super) fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The number of a message and `padding` bytes behind it.
pub(super) fn payload(number: u64, padding: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(NUMBER_BYTES + padding);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.resize(NUMBER_BYTES + padding, number as u8);
    bytes
}

pub(super) fn message(
    (source, dest): (Handle, Handle),
    session: Session,
    kind: Kind,
    bytes: Vec<u8>,
) -> Envelope {
    Envelope { source, dest, session, kind, body: Body::Bytes(Payload::from_vec(bytes)) }
}

/// The number of a message, if its payload is what [`payload`] made of it.
pub(super) fn number_of(bytes: &[u8]) -> Option<u64> {
    let (number, padding) = bytes.split_first_chunk::<NUMBER_BYTES>()?;
    let number = u64::from_le_bytes(*number);
    padding.iter().all(|byte| *byte == number as u8).then_some(number)
}
