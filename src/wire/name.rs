//! Names as they travel.

use crate::message::{Name, NameError};
use smallvec::SmallVec;
use std::fmt;

/// A name in a control packet: any bytes that fit in one, also those that [`Name`] refuses. A master passes them on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketName(SmallVec<[u8; Name::LEN_MAX]>);

impl PacketName {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name, if nodes can use it.
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken.
    pub fn to_name(&self) -> Result<Name, NameError> {
        Name::new(&self.0)
    }
}

impl From<Name> for PacketName {
    fn from(name: Name) -> Self {
        Self::from(name.as_bytes())
    }
}

impl From<&[u8]> for PacketName {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl fmt::Debug for PacketName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\"", self.0.escape_ascii())
    }
}
