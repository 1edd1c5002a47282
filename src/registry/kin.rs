//! The names by which nodes of our kind find each other.

use crate::message::{HarborId, Name};

/// The name that node `id` registers if it is of our kind.
pub(super) fn kin_name(id: HarborId) -> Name {
    match Name::new(format!("~sky.{id}").as_bytes()) {
        Ok(name) => name,
        Err(error) => unreachable!("nine bytes that are no number: {error}"),
    }
}
