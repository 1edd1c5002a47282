//! Bytes and messages: harbor frames between nodes, control packets between a node and the master.
//!
//! Nothing here decides anything, reads a clock or touches a socket. Chunks of bytes go in, whole messages come out
//! ([`FrameDecoder`], [`control::Decoder`]); messages go in, slices for one `writev` come out ([`Outbox`]). The
//! I/O thread and the simulator drive it through `harbor`.
//!
//! # Harbor frame
//!
//! ```text
//!  0        4              4+n      8+n            12+n     16+n
//!  ┌────────┬──────────────┬────────┬──────┬───────┬────────┐
//!  │ n + 12 │ payload      │ source │ kind │ dest  │ session│   all integers big-endian
//!  │ u32    │ n bytes      │ u32    │ u8   │ 24 bit│ u32    │
//!  └────────┴──────────────┴────────┴──────┴───────┴────────┘
//!            ◄── the length counts payload and trailer ─────►
//! ```
//!
//! # Control packet
//!
//! ```text
//!  0      1                       1+n
//!  ┌──────┬────────┬──────────────┐
//!  │ n    │ letter │ its values … │   packed values (`crate::seri`), n bytes of them, the first a one-letter string
//!  │ u8   │        │              │
//!  └──────┴────────┴──────────────┘
//! ```
//!
//! # Rules
//!
//! Frames:
//! - **R1** The length counts payload and trailer. It is 12..=0x00ffffff, checked before memory is taken for the frame.
//! - **R2** The trailer stands *behind* the payload.
//! - **R3** The destination's harbor id does not travel: the receiver puts its own. The source travels whole, unchecked.
//! - **R4** Frames are split and joined at will by the transport.
//! - **R5** Memory for a frame grows with the bytes that arrived, never with the length that was announced.
//! - **R6** A frame leaves whole or not at all: what cannot be encoded is given back before a byte is appended.
//! - **R7** Kinds SYSTEM, HARBOR and SOCKET never leave: a real node aborts when it should send them, and follows
//!   pointers when it gets them. The decoder gives them to `harbor`, which refuses them.
//! - **R8** The reason of a failed call stays here: an error leaves as kind ERROR with an empty payload.
//!
//! Control packets:
//! - **R9** The size does not count itself. 0 breaks the link, and so does a body that is not packed values.
//! - **R10** Values behind the known ones are kept but mean nothing to Skynet; ours say there who they are and how old a
//!   registration is ([`Trailing`]).
//! - **R11** Integers are written in Skynet's form: a handle from 2³¹ takes the 8-byte integer.
//! - **R12** Numbers are read as Lua reads them: any width, floats without fraction, handles also as negative numbers.
//! - **R13** A packet that says nothing we know is [`control::Packet::Unknown`], for the receiver to ignore.
//!
//! Compressed messages ([`compress`]), between nodes of our kind:
//! - **R14** A payload leaves compressed only if that saves a fifth, its head included.
//! - **R15** The length of the message is checked against what a frame carries and what its block can hold, before memory is
//!   taken.
//! - **R16** The message inside may be any that a frame carries, but for one to the reserved id.

#![forbid(unsafe_code)]

mod compress;
pub mod control;
mod frame;
mod name;
mod outbox;
#[cfg(all(test, not(loom)))]
mod properties;
mod trailing;

pub use compress::{CompressionFault, compress, decompress, inflated_len, is_compressed};
pub use frame::{FrameDecoder, FrameFault};
pub use name::PacketName;
pub use outbox::{Outbox, Slices};
pub use trailing::{Hello, Trailing};

/// A connection, by the number that the harbor machine gave it. Numbers are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    /// The connection with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, for logs and tables.
    pub const fn number(self) -> u64 {
        self.0
    }
}
