//! Skynet's packed values: what a `lua` message carries, its response, a control packet.
//!
//! A message is zero or more values one after the other, without count and without end mark. `lua-seri.c` of Skynet
//! is the reference; this is an independent description of the same bytes, drawn in `format.rs`.
//!
//! ```text
//!   to_values (serde) ─┐                                   ┌─► from_values (serde)
//!                      ├─► Writer ─► bytes ─► Reader ─► Outline
//!   pack (Value)  ─────┘                                   └─► unpack (Value)
//! ```
//!
//! * [`Writer`] writes exactly Skynet's form. [`Reader`] reads every form that Skynet reads.
//! * The outline says where each value of a message lies, and settles what Lua settles by assignment: of a key that
//!   comes twice the later value counts, a nil removes the pair, a key inside the array range replaces the element.
//! * [`Value`] is for those who do not know what comes; everybody else uses serde.
//!
//! # Messages and serde
//!
//! A *message* is a sequence of values, what Lua code passes as arguments or returns:
//!
//! | Rust | values of the message | in Lua |
//! |---|---|---|
//! | `()`, unit struct | none | |
//! | tuple, tuple struct, array | as many as fields | `a, b` |
//! | variant of an enum | its name, then its fields as of a tuple struct; named fields are one table | `"add", a, b` |
//! | newtype, everything else | one | `a` |
//!
//! When a message is read, surplus values are ignored and missing ones are nil. Within a value:
//!
//! | Rust | packed |
//! |---|---|
//! | `None`, `()`, unit struct | nil, and so is `Some(None)`. A pair with nil does not exist: a field `()` needs `#[serde(default)]` |
//! | integer | integer; a `u64` above `i64::MAX` is an error. An integral float is read as one |
//! | float | float. An integer is read as one |
//! | `str`, `char`, bytes | string. Only UTF-8 is read as text; `Vec<u8>` and `serde_bytes` take any |
//! | sequence, tuple | table with an array. Integer keys among the pairs are read as elements, holes as nil |
//! | struct | table with string keys. Other keys and unknown fields are ignored |
//! | map | table with pairs. The elements of an array are read with their indices as keys |
//! | unit variant | its name as string |
//! | other variant | table `{name = content}`; the name alone if the content is nil |
//!
//! Types with a readable and a compact form use the readable one. Those that ask for whatever comes (untagged enums,
//! [`Value`]) are given a sequence for a list, the empty table included, and a map for any other table.
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

mod deserialize;
mod error;
mod format;
mod outline;
mod path;
mod reader;
mod serialize;
mod tables;
mod value;
mod value_serde;
mod variants;
mod writer;

pub use deserialize::from_values;
pub use error::{PackError, UnpackError};
pub use format::Token;
pub use reader::{Limits, Reader};
pub use serialize::to_values;
pub use value::{Table, Value, pack, pack_into, unpack, unpack_with};
pub(crate) use variants::variant_names;
pub use writer::Writer;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
