//! Why values cannot be packed, or bytes not unpacked.

use crate::message::CallError;
use std::fmt;

/// Why values cannot be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A value lies inside more than [`SERI_WRITE_DEPTH_MAX`](crate::limits::SERI_WRITE_DEPTH_MAX) tables.
    #[error("tables nest deeper than Skynet writes")]
    TooDeep,
    /// The message would have more than [`SERI_BYTES_MAX`](crate::limits::SERI_BYTES_MAX) bytes.
    #[error("the packed values are larger than a frame can carry")]
    TooLarge,
    /// An integer that is no `i64`.
    #[error("an integer does not fit 64 bits with a sign")]
    IntegerRange,
    /// A key of a table is nil.
    #[error("a table key is nil")]
    NilKey,
    /// A key of a table is not a number.
    #[error("a table key is NaN")]
    NanKey,
    /// A table was not ended, was ended before its last element or between key and value, or none was open.
    #[error("a table was not finished")]
    Unfinished,
    /// A `Serialize` implementation gave up.
    #[error("the type refused to be packed")]
    Refused,
}

impl serde::ser::Error for PackError {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Refused
    }
}

/// Why bytes are not packed values, or not those that were wanted. It concerns the whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed values at byte {offset}: {reason}")]
pub struct UnpackError {
    /// Where the value at fault begins, in bytes from the start of the message.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

impl From<UnpackError> for CallError {
    fn from(error: UnpackError) -> Self {
        Self::Malformed { offset: error.offset, reason: error.reason }
    }
}

/// The reasons of [`UnpackError`] that the bytes alone give.
pub(super) mod reason {
    pub(crate) const TRUNCATED: &str = "the message ends inside a value";
    pub(crate) const ARRAY_TOO_LONG: &str = "an array is longer than the bytes that remain";
    pub(crate) const ARRAY_LENGTH: &str = "an array length is not an integer";
    pub(crate) const NUMBER_FORM: &str = "no such form of a number";
    pub(crate) const STRING_FORM: &str = "no such form of a long string";
    pub(crate) const KIND: &str = "no such kind of value";
    pub(crate) const NAN_KEY: &str = "a table key is NaN";
    pub(crate) const TOO_DEEP: &str = "tables nest too deeply";
    pub(crate) const TOO_LARGE: &str = "the message is too large";
}
