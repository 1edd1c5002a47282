//! What the machine is told at its making.

use crate::limits;
use crate::message::HarborId;
use crate::registry;
use crate::wire::Hello;
use std::time::Duration;

/// Who the node is, which roles it plays and how much it may hold.
///
/// | `join` | `master` | the node is |
/// |---|---|---|
/// | none | none | alone: names work inside it |
/// | some | none | a slave |
/// | some | some | master and slave in one; its slave dials its master over TCP |
/// | none | some | a master only, with no links |
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's own id; 0 only if `join` is none.
    pub own: HarborId,
    /// How to be a slave.
    pub join: Option<Join>,
    /// `host:port` on which this node hosts the master.
    pub master: Option<String>,
    /// What this node tells others of its kind; none: it does not look for them, and they do not find it.
    pub hello: Option<Hello>,
    /// Payloads of so many bytes and more leave compressed for nodes that said that they read that; none: none does.
    pub compress: Option<usize>,
    /// How much may be held, and for how long.
    pub bounds: Bounds,
    /// What the jitter of back-offs is drawn from.
    pub seed: u64,
}

impl Settings {
    /// A node that is alone, with default bounds.
    pub fn new(own: HarborId) -> Self {
        let bounds = Bounds::default();
        Self { own, join: None, master: None, hello: None, compress: None, bounds, seed: 0 }
    }

    /// Where the master is dialled; empty if the node is no slave.
    pub(super) fn master_address(&self) -> &str {
        self.join.as_ref().map_or("", |join| &join.master)
    }
}

/// How to be a slave.
#[derive(Clone, Debug)]
pub struct Join {
    /// `host:port` to listen on for links.
    pub listen: String,
    /// `host:port` that the master passes to others; none: the address that `listen` turned out to be.
    pub advertise: Option<String>,
    /// `host:port` of the master.
    pub master: String,
}

/// How much may be held, and for how long; the defaults are in [`limits`].
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Messages held for one peer that is not linked yet.
    pub held_messages_max: usize,
    /// Payload bytes held for one peer that is not linked yet, or for all names.
    pub held_bytes_max: usize,
    /// Payload bytes held for all peers that are not linked yet.
    pub held_bytes_all_max: usize,
    /// How long a message is held.
    pub held_time_max: Duration,
    /// Messages held for one name that nobody has yet.
    pub name_held_messages_max: usize,
    /// Calls to one peer that wait for their answers.
    pub pending_calls_max: usize,
    /// How long a call that was passed on for another node is remembered, and any call once there is no room for more.
    pub call_time_max: Duration,
    /// Unsent bytes of one connection above which messages are refused.
    pub unsent_bytes_max: usize,
    /// Unsent bytes of all links: each may have as many as are left.
    pub unsent_bytes_all_max: usize,
    /// Unsent bytes of one link that are first warned of.
    pub unsent_warn_bytes: usize,
    /// Accepted connections that have not said who they are.
    pub strangers_max: usize,
    /// How long a handshake may take.
    pub handshake_time_max: Duration,
    /// The first pause before a lost or refused connection is dialled again.
    pub redial_time_min: Duration,
    /// The longest such pause; each failure doubles it up to here.
    pub redial_time_max: Duration,
    /// How long a link to a node of our kind is silent before the node is asked whether it lives; zero: never.
    pub heartbeat: Duration,
    /// How long such a link is silent before it is given up; at least twice as long.
    pub heartbeat_deadline: Duration,
    /// How long it has to answer when somebody else comes with its id.
    pub probe_time_max: Duration,
    /// How long unsent bytes of a link may stand still before it is given up; zero: for ever.
    pub stall_time_max: Duration,
    /// Bytes that peers may have this node hold: one half in large frames that are read, one in messages that services have
    /// not taken.
    pub inbound_bytes_max: usize,
    /// How long a link is not read because there is no memory for what it brings, before it is given up.
    pub pause_time_max: Duration,
    /// How long a leaving node tries to flush.
    pub leave_time_max: Duration,
    /// Names, waiters for names, and time for joining.
    pub registry: registry::Bounds,
}

impl Bounds {
    /// The default bounds of a node that may take so many bytes for messages and names: a half of them for what comes in,
    /// a quarter for what is not sent, an eighth for what waits for peers, the rest for names.
    pub fn within(memory: usize) -> Self {
        let default = Self::default();
        let held = default.held_bytes_all_max.min(memory / 8);
        let names_max = default.registry.names_max.min(memory / limits::NAME_SHARE_BYTES);
        Self {
            held_bytes_max: default.held_bytes_max.min(held),
            held_bytes_all_max: held,
            unsent_bytes_max: default.unsent_bytes_max.min(memory / 4),
            unsent_bytes_all_max: memory / 4,
            inbound_bytes_max: memory / 2,
            registry: registry::Bounds { names_max, ..default.registry },
            ..default
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            held_messages_max: limits::HELD_MESSAGES_MAX,
            held_bytes_max: limits::HELD_BYTES_MAX,
            held_bytes_all_max: limits::HELD_BYTES_ALL_MAX,
            held_time_max: limits::HELD_TIME_MAX,
            name_held_messages_max: limits::NAME_HELD_MESSAGES_MAX,
            pending_calls_max: limits::PENDING_CALLS_MAX,
            call_time_max: limits::CALL_TIME_MAX,
            unsent_bytes_max: limits::UNSENT_BYTES_MAX,
            unsent_bytes_all_max: limits::MEMORY_BYTES / 4,
            unsent_warn_bytes: limits::UNSENT_WARN_BYTES,
            strangers_max: limits::STRANGERS_MAX,
            handshake_time_max: limits::HANDSHAKE_TIME_MAX,
            redial_time_min: limits::REDIAL_TIME_MIN,
            redial_time_max: limits::REDIAL_TIME_MAX,
            heartbeat: limits::HEARTBEAT_TIME,
            heartbeat_deadline: limits::HEARTBEAT_DEADLINE,
            probe_time_max: limits::PROBE_TIME_MAX,
            stall_time_max: limits::STALL_TIME_MAX,
            inbound_bytes_max: limits::MEMORY_BYTES / 2,
            pause_time_max: limits::PAUSE_TIME_MAX,
            leave_time_max: limits::LEAVE_TIME_MAX,
            registry: registry::Bounds::default(),
        }
    }
}
