//! What a service may ask of the harbor, and the answers.

use super::{Envelope, Handle, HarborId, Name, Session};
use crate::clock::Instant;

/// Who waits for the answer to a request: a service and the session of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The asking service.
    pub source: Handle,
    /// The session that the answer carries.
    pub session: Session,
}

/// A request to the harbor. Each one with a [`Waiter`] gets exactly one [`HarborAnswer`].
#[derive(Debug)]
pub enum HarborRequest {
    /// Send this message to whoever has the name; its `dest` is not set yet.
    Send {
        /// The receiver's name.
        name: Name,
        /// The message.
        envelope: Envelope,
    },
    /// Register a global name for a service of this node. Under a master that can be asked, it says first who has it.
    Register {
        /// The name.
        name: Name,
        /// Its owner, a service of this node.
        handle: Handle,
        /// Who is told the result.
        waiter: Waiter,
    },
    /// A service of this node gives up a global name.
    Unregister {
        /// The name.
        name: Name,
        /// Its owner; nothing happens if that is another.
        handle: Handle,
    },
    /// A service of this node ended, and its global names with it.
    Ended {
        /// The service.
        handle: Handle,
    },
    /// Answered when the name has another owner than the asking service knows: `Found`, or `NotFound` if it is nobody's.
    Watch {
        /// The name.
        name: Name,
        /// Its owner as far as that service knows; [`Handle::NONE`]: nobody.
        known: Handle,
        /// Who is told.
        waiter: Waiter,
    },
    /// Who has this name? Answered when it is known, or at the deadline.
    Query {
        /// The name.
        name: Name,
        /// Who is told.
        waiter: Waiter,
        /// When to give up.
        deadline: Instant,
    },
    /// Answered when the link to that node is lost (at once if there is none): Skynet's `LINK`.
    Link {
        /// The node.
        harbor: HarborId,
        /// Who is told.
        waiter: Waiter,
    },
    /// Answered when the link to that node is up: Skynet's `CONNECT`.
    Connect {
        /// The node.
        harbor: HarborId,
        /// Who is told.
        waiter: Waiter,
    },
    /// Answered when the link to the master is lost: Skynet's `LINKMASTER`.
    LinkMaster {
        /// Who is told.
        waiter: Waiter,
    },
    /// The asking service no longer waits (its deadline passed): forget its `Query`, `Watch`, `Link`, `Connect` or `LinkMaster`.
    Forget {
        /// Who waited.
        waiter: Waiter,
    },
    /// A picture of names and peers.
    Status {
        /// Who is told.
        waiter: Waiter,
    },
    /// Say farewell to master and peers, flush, close.
    Leave,
}

/// The answer to a [`HarborRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HarborAnswer {
    /// The name is recorded; the master is told now or when it can be asked.
    Registered,
    /// The name belongs to this handle already.
    NameTaken(Handle),
    /// The owner of the name.
    Found(Handle),
    /// The deadline passed and nobody has the name.
    NotFound,
    /// There is no room for another name or waiter.
    Full,
    /// The link is up.
    Up,
    /// The link is lost, or there is none.
    Down,
    /// The picture asked for.
    Status(Box<Status>),
}

/// Names and peers as one node sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The node's own id.
    pub harbor: HarborId,
    /// Whether the control link to the master is up.
    pub master_up: bool,
    /// Whether `names` can be complete: only a master knows every name, a slave knows what it asked for or heard.
    pub names_complete: bool,
    /// Known names.
    pub names: Vec<NameEntry>,
    /// Slots that were ever used.
    pub peers: Vec<PeerStatus>,
    /// What the node's memory for messages of links is used for.
    pub memory: MemoryUse,
}

/// What a node's memory for messages of links is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes reserved for large frames that are being read.
    pub reading: usize,
    /// Bytes that messages in mailboxes take, those of this node's own services too.
    pub mailboxes: usize,
    /// Bytes that wait to be written to links.
    pub unsent: usize,
    /// Bytes held for peers that are not linked yet.
    pub held: usize,
    /// Links that are not read, for want of memory.
    pub waiting: usize,
    /// How often a link was not read.
    pub pauses: u64,
    /// Links that were given up because they were not read for too long.
    pub crowded: u64,
}

/// One name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameEntry {
    /// The name.
    pub name: Name,
    /// Its owner.
    pub handle: Handle,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its id.
    pub harbor: HarborId,
    /// Its address, if it is known (`host:port`).
    pub address: Option<String>,
    /// The state of its slot.
    pub state: LinkState,
    /// Messages that are held for it.
    pub held: usize,
    /// Calls to it that have no answer yet.
    pub pending: usize,
}

/// The five states of a slot, Skynet's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Never linked; messages are held.
    Wait,
    /// Connected, the id byte of the peer is missing; messages are held.
    Handshake,
    /// Up, between frames.
    Header,
    /// Up, inside a frame.
    Content,
    /// The link was lost; messages fail at once.
    Down,
}
