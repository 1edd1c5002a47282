//! Who is in the cluster, and which service has which global name.
//!
//! Two machines, one for each end of a control link. They take decoded packets and give packets and decisions; bytes,
//! sockets and back-off are the business of whoever drives them (`harbor`). They read no clock and draw no number.
//!
//! ```text
//!                  control::Packet                       control::Packet
//!   Slave  ───────────────────────────▶  driver  ◀───────────────────────────  Master
//!   (one per node: joins, caches          │  ▲          (in one node: members, table of names)
//!    names, asks for unknown ones)        ▼  │
//!                                   handle_* / poll_*
//! ```
//!
//! Both speak four kinds of methods. `handle_*(now, …)` tells what happened. `poll_output` is drained after every
//! `handle_*`, in order: outputs say what to do and, as events, what to log. `poll_timeout` says when `handle_timeout`
//! wants to be called. The rest are getters.
//!
//! # Rules
//!
//! - **G1** A slave is a member as long as its control link lives. The master tells all members of a newcomer (`C`)
//!   before it tells the newcomer how many they are (`W`): they dial, it accepts.
//! - **G2** An id that a real node may have seen serves once in the life of a master. A second `H` with it is refused by closing
//!   without a byte, whether its slave lives or is dead: real nodes never link to an id again that they saw dead. An id that
//!   only our kind saw serves again when it has no member: for the same life of its node, or a later one, never for an
//!   earlier one. If it has one, the newcomer is refused and the member asked whether it lives.
//! - **G3** A name belongs to the first owner that lives. A later `R` by another is answered to its sender alone, with the
//!   owner; nothing is broadcast. (A real master broadcasts the loser's handle and keeps the winner's: split brain.)
//! - **G4** An owner lives as long as its node is a member. Names of the dead stay, so that calls to them fail instead of
//!   waiting, and are free to be taken. A node may move its own names. When nothing of the owner is left, no link either,
//!   its names are given to an id of a living node that is no service: so calls of real nodes get an ERROR. When a later life of the
//!   node comes, those of the life before are given to such an id of its own.
//! - **G5** Every new owner is broadcast (`N`), the sender of the `R` included. A query is answered to the asker, a
//!   query for an unknown name not at all: the broadcast of a later `R` is the answer.
//! - **G6** A joiner is ready when the announced slaves have linked or are reported dead, each once (one that comes again is a
//!   newcomer), at the latest after the time that its bounds give. Until then it keeps `C` and `N`, and neither registers nor asks.
//! - **G7** The last `N` counts, even for a name of our own: its owner is told that it lost the name.
//! - **G8** While anybody waits for a name, one `Q` for it is on the present control link, however many they are.
//! - **G9** Without a master names stay as they are known, new ones are known inside the node; the next master hears of
//!   them, and of every open question, as soon as the node is ready again.
//! - **G10** A real master broadcasts the owner of an `R` and answers queries with the first one that it ever heard. A name
//!   that had another owner before is registered again after every `C`, so that newcomers hear of the present one.
//! - **G11** A node that seeks its kind registers `~sky.<id>` right after `W` and asks for the name of every node that is
//!   linked. Two are of one kind when the present master has named both. A master of our kind tells by itself who is.
//! - **G12** Such a node asks for a name before it registers it, and directly after it for its own: answers keep their order,
//!   so an owner is known when its own name comes back. An owner that is neither dead nor nobody keeps the name.
//! - **G13** Of two living owners the one that was confirmed first keeps a name: the lower epoch, then the lower harbor id. The
//!   master alone judges; a node whose names are registered again believes what comes behind its own name.
//! - **G14** Under a real master the lowest of our kind gives the names of the dead to nobody, that is to an id of its own that is
//!   no service. Dead is who was reported so and has no link, for a while; it is asked first, as in G12.
//! - **G15** A node that is ready at a master of our kind again asks for all names that it knows, those of its own services
//!   aside: what became of them meanwhile it has not heard. One whose owner it does not know is free
//!   once all who live must have come back.
//! - **G16** A name ends with its service, or when that gives it up: its node gives it to nobody. Only the node that has a name
//!   can end it. Calls to a name of nobody fail; who asks for its owner waits for the next one.
//! - **G17** A service that was told that it has a name, before the master could be asked, and lost it to whom the master knows,
//!   gets it when that owner is gone or gives it up.

#![forbid(unsafe_code)]

mod bounds;
mod ids;
mod kin;
mod lease;
mod master;
mod names;
#[cfg(all(test, not(loom)))]
mod properties;
mod slave;
mod tenure;

pub use bounds::Bounds;
pub use kin::kin_of;
pub use lease::{HarborRange, LeaseError, Record};
pub use master::{Master, MasterEvent, MasterOutput, Refusal};
pub use slave::{Loss, NamesFull, Slave, SlaveEvent, SlaveOutput, SlaveState};
