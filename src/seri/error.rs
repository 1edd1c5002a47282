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

/// The reasons of [`UnpackError`]: first those that the bytes alone give, then those of the type that is read.
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

    pub(crate) const POINTER: &str = "a pointer of another process";
    pub(crate) const NOT_TEXT: &str = "a string that should be text is not UTF-8";
    pub(crate) const TOO_SPARSE: &str = "an index is too far from the others";
    pub(crate) const VARIANT_FORM: &str = "a variant is neither a string nor a table of one named value";
    pub(crate) const UNWANTED_NIL: &str = "nil where another type is wanted";
    pub(crate) const UNWANTED_BOOL: &str = "a boolean where another type is wanted";
    pub(crate) const UNWANTED_INT: &str = "an integer where another type is wanted";
    pub(crate) const UNWANTED_FLOAT: &str = "a float where another type is wanted";
    pub(crate) const UNWANTED_STRING: &str = "a string where another type is wanted";
    pub(crate) const UNWANTED_TABLE: &str = "a table of another kind is wanted, or no table";
    pub(crate) const VALUE: &str = "a value outside the range of its type";
    pub(crate) const LENGTH: &str = "another number of elements is wanted";
    pub(crate) const UNKNOWN_VARIANT: &str = "no such variant";
    pub(crate) const UNKNOWN_FIELD: &str = "no such field";
    pub(crate) const MISSING_FIELD: &str = "a field is missing";
    pub(crate) const REPEATED_FIELD: &str = "a field comes twice, under two names";
    pub(crate) const REFUSED: &str = "the type refused the value";
}
