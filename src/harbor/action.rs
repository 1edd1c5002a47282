//! What the machine wants done, and what it reports.

use super::Hello;
use crate::message::{Envelope, Handle, HarborAnswer, HarborId, Name, Waiter};
use crate::registry::{Loss, MasterEvent, SlaveEvent};
use crate::wire::{CompressionFault, ConnId, FrameFault};
use std::io;

/// The two listening sockets that a node can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listener {
    /// For links of other nodes (Skynet's `address`).
    Links,
    /// For slaves of the master that this node hosts (Skynet's `standalone`).
    Master,
}

/// What the I/O thread does next. Actions are performed in the order in which they are polled.
#[derive(Debug)]
pub enum Action {
    /// Listen; answered by [`handle_listening`](super::Harbor::handle_listening).
    Listen {
        /// Which socket this becomes.
        listener: Listener,
        /// `host:port`, port 0 lets the system choose.
        address: String,
    },
    /// Close a listening socket.
    StopListening(Listener),
    /// Dial; answered by [`handle_connected`](super::Harbor::handle_connected) or
    /// [`handle_connect_failed`](super::Harbor::handle_connect_failed). A `Close` may come before either.
    Connect {
        /// What the connection will be called.
        conn: ConnId,
        /// `host:port`, to be resolved.
        address: String,
    },
    /// Drop the connection, dialled or up, with whatever was not sent. No `handle_*` may name it afterwards.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Have the system look soon whether the peer's machine still knows this connection, which goes on meanwhile. If it
    /// does not: [`handle_closed`](super::Harbor::handle_closed).
    Probe {
        /// Which.
        conn: ConnId,
    },
    /// Read nothing from this connection until [`Resume`](Self::Resume). That it broke may be told, its end need not be.
    Pause {
        /// Which.
        conn: ConnId,
    },
    /// Read from this connection again.
    Resume {
        /// Which.
        conn: ConnId,
    },
    /// Hand a message to the service of this node that its `dest` names; if there is none:
    /// [`handle_undeliverable`](super::Harbor::handle_undeliverable); if it has no room:
    /// [`handle_overflow`](super::Harbor::handle_overflow).
    Deliver(Envelope),
    /// The same with the answer to a call that was counted when it left: it takes that place, however full the mailbox is.
    Complete(Envelope),
    /// Tell the waiter.
    Answer {
        /// Who asked.
        waiter: Waiter,
        /// The answer.
        answer: HarborAnswer,
    },
    /// This name has this owner from now on: messages to it may be sent by handle.
    Publish {
        /// The name.
        name: Name,
        /// Its owner.
        handle: Handle,
    },
    /// This name has no known owner any more (Skynet's wire cannot say so): messages to it come by [`HarborRequest::Send`](crate::message::HarborRequest) again.
    Retract {
        /// The name.
        name: Name,
    },
    /// Something to log, count or tell monitors. Nothing has to be done about it.
    Event(Event),
}

/// What happened, for logs and monitors.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The link to that node is up.
    Up(HarborId),
    /// The link to that node was lost. Everything that it brought was delivered before, every call that waited for
    /// it was failed before, nothing of it comes after.
    Down(HarborId, DownReason),
    /// The control link to the master is up: our `H` was accepted.
    MasterUp,
    /// The control link to the master was lost; it is dialled again. Links and names stay.
    MasterDown(Loss),
    /// The master refused this node's id: it is in use, or was used before. The node tries again.
    Refused {
        /// The node had been a member under this id.
        was_ready: bool,
    },
    /// The node is a member: the links that the master announced are up, or `missing` of them were given up.
    Joined {
        /// Announced links that did not come in time.
        missing: u8,
    },
    /// A linked node is of our kind and said so.
    Kin {
        /// Who.
        peer: HarborId,
        /// What it said.
        hello: Hello,
    },
    /// A name of ours belongs to somebody else.
    NameConflict {
        /// The name.
        name: Name,
        /// Who registered it here.
        ours: Handle,
        /// Who has it.
        theirs: Handle,
    },
    /// Something else on the slave's end of the control link.
    Slave(SlaveEvent),
    /// Something at the master that this node hosts.
    Master(MasterEvent),
    /// A listening socket could not be opened. It is not tried again.
    ListenFailed(Listener, io::ErrorKind),
    /// A dialled connection failed; it is tried again with back-off.
    ConnectFailed {
        /// Whom.
        address: String,
        /// Why.
        kind: io::ErrorKind,
    },
    /// A peer broke the protocol; its connection is closed.
    PeerFault {
        /// Which connection.
        conn: ConnId,
        /// Who, if it said so.
        peer: Option<HarborId>,
        /// What it did.
        fault: Fault,
    },
    /// A message to a real node, or from one, is so large that the node may die of sending one of its size: 4 MiB and
    /// each doubling, once for each link.
    Large {
        /// Which node.
        peer: HarborId,
        /// Bytes of the payload.
        bytes: usize,
        /// It went to the node; otherwise it came from there.
        is_sent: bool,
    },
    /// The unsent bytes of a link passed a mark: 1 MiB and each doubling.
    Unsent {
        /// To whom.
        peer: HarborId,
        /// How many bytes.
        bytes: usize,
    },
}

/// Why a link went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// The connection ended, in order or by an error.
    Closed,
    /// The peer broke the protocol.
    Fault,
    /// The master announced a later life of the peer.
    Superseded,
    /// This node left.
    Left,
    /// A node of our kind said nothing, and did not answer, for [`Bounds::heartbeat_deadline`](super::Bounds).
    Silent,
    /// Unsent bytes did not move for [`Bounds::stall_time_max`](super::Bounds).
    Stalled,
    /// There was no memory for what it brings for [`Bounds::pause_time_max`](super::Bounds).
    Crowded,
}

/// How a peer broke the protocol. Each variant closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The id byte of an answer is not the id that was dialled.
    #[error("dialled node {expected}, node {got} answered")]
    WrongId {
        /// Who was dialled.
        expected: HarborId,
        /// Who answered.
        got: HarborId,
    },
    /// The id byte names this node, or nobody.
    #[error("{0} is not the id of another node")]
    OwnId(HarborId),
    /// The id has a live link.
    #[error("node {0} has a live link already")]
    IdInUse(HarborId),
    /// The id byte did not come in time.
    #[error("the handshake took too long")]
    HandshakeTimeout,
    /// A node of our kind said hello anew on the same link, with something else.
    #[error("another hello on the same link")]
    OtherHello,
    /// A large frame comes slowly while others wait for the memory that it takes.
    #[error("{arrived} bytes of a frame of {length} came, too slowly for those who wait for its memory")]
    SlowFrame {
        /// Bytes of its payload that came.
        arrived: usize,
        /// Bytes of its payload.
        length: usize,
    },
    /// A frame of the link is malformed.
    #[error(transparent)]
    Frame(#[from] FrameFault),
    /// A compressed message is malformed, or was never asked for.
    #[error(transparent)]
    Compression(#[from] CompressionFault),
}
