//! Skynet's packed values: what a `lua` message carries, its response, a control packet.
//!
//! A message is zero or more values one after the other, without count and without end mark. `lua-seri.c` of Skynet
//! is the reference; this is an independent description of the same bytes, drawn in `format.rs`.
//!
//! ```text
//!   pack (Value) ─► Writer ─► bytes ─► Reader ─► Outline ─► unpack (Value)
//! ```
//!
//! * [`Writer`] writes exactly Skynet's form. [`Reader`] reads every form that Skynet reads.
//! * The outline says where each value of a message lies, and settles what Lua settles by assignment: of a key that
//!   comes twice the later value counts, a nil removes the pair, a key inside the array range replaces the element.
//! * [`Value`] is any value as a tree.
//!
//! # Limits
//!
//! Written: 32 tables inside each other, a 33rd only if it is empty, as Skynet does. Read: 128. A real node has no
//! limit there and dies of a deep message. Both ways at most [`SERI_BYTES_MAX`](crate::limits::SERI_BYTES_MAX) bytes.
//! No length in a message makes the reader reserve more than the bytes that follow can fill. No bytes
//! panic, and no nesting overflows the stack.
//!
//! Nothing here knows sockets, clocks or threads.

#![forbid(unsafe_code)]

mod error;
mod format;
mod outline;
mod reader;
mod value;
mod writer;

pub use error::{PackError, UnpackError};
pub use format::Token;
pub use reader::{Limits, Reader};
pub use value::{Table, Value, pack, pack_into, unpack, unpack_with};
pub use writer::Writer;
