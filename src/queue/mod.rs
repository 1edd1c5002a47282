//! Lock-free queues and the storage that they move, one algorithm per file. Nothing here knows what a service is.
//!
//! | file | what it is |
//! |---|---|
//! | `mailbox` | many senders, one owner; the send that finds it idle gets the token that schedules it |
//! | `bounds` | what one mailbox may hold, where that is asked for |
//! | `directory` | service id → mailbox, without a lock or a count on the way; frees after a grace period |
//! | `pool` | message nodes of one thread, moved between threads in chunks; the node's budget |
//! | `run` | scheduled tokens: a worker's own, those that others steal, those of nobody |
//! | `lanes` | messages to the I/O thread, one lane per peer |
//! | `wheel` | deadlines of one owner |
//! | `parcel` | a value of any type inside a message |
//!
//! Every ordering that is not relaxed carries a label and is one half of a pair. One half publishes, the other sees:
//!
//! | label | publishes | sees |
//! |---|---|---|
//! | A1 | `mailbox` going idle, a send's swap | the next swap or kick: the token, the former head's null link |
//! | A2 | `mailbox` a send's link | the owner's pop: the node, and what the send's swap saw |
//! | C1 | `mailbox` a control push | the owner's taking of the list |
//! | C2 | `mailbox` a kick | the owner's clearing of it: the control push |
//! | P1 | `pool` a chunk pushed on a stack of the depot | its pop |
//! | Q1 | `directory` a new era: the slots of its batch are empty | a participant's next era |
//! | Q2 | `directory` a participant's era or going offline: its uses are done | who ends a grace |
//! | Q3 | `directory` coming online, starting a grace | whichever of the two passes the gate second |
//! | Q4 | `directory` a new mailbox in its slot, a new segment | a find |
//! | L1 | `lanes` a lane's bit: the push before it | the receiver's taking of the bits |
//!
//! D1, the pair of fences, is `sync`'s and lives in `doorbell.rs`.

mod bounds;
mod directory;
mod lanes;
mod mailbox;
mod node;
mod parcel;
mod pool;
mod run;
mod wheel;

pub use bounds::{Bounds, PushError};
pub use directory::{Directory, Exhausted, Participant, Retired, Taken};
pub use lanes::{LaneReceiver, LaneSender, Lanes};
pub use mailbox::{ChainPushed, ControlBatch, Mailbox, Pop, Token};
pub use parcel::Parcel;
pub use pool::{Depot, Pool};
pub use run::{Global, RunQueue, Stealer, Stolen};
pub use wheel::{Expired, TimerKey, Wheel};
