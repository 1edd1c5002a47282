//! Options of a spawn.

use crate::queue::Bounds;

/// Options of [`crate::Context::spawn_with`].
///
/// ```
/// use skyharbor::{Bounded, Spawn};
/// let options = Spawn::new().mailbox(Bounded::messages(10_000)).local_name(".room");
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Spawn {
    pub(crate) bounds: Option<Bounded>,
    pub(crate) local_name: Option<Box<str>>,
    pub(crate) debug: bool,
}

impl Spawn {
    /// The defaults: a mailbox bounded by the node's budget alone, no local name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bounds the mailbox; what exceeds it is refused at the sender with `Full`.
    #[must_use]
    pub fn mailbox(mut self, bounds: Bounded) -> Self {
        self.bounds = Some(bounds);
        self
    }

    /// Gives the service a local name (`.name`) before it starts.
    #[must_use]
    pub fn local_name(mut self, name: &str) -> Self {
        self.local_name = Some(name.into());
        self
    }

    /// Lets messages of type DEBUG through the raw door. Otherwise `PING` is answered for the service, as every Lua service
    /// answers it, and all else is refused: what Skynet's debug console sends can stop a service and run code in it.
    #[must_use]
    pub fn debug(mut self) -> Self {
        self.debug = true;
        self
    }
}

/// The bounds of one mailbox. Answers to the service's own calls are never refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded {
    messages: u32,
    bytes: u64,
}

impl Bounded {
    /// At most so many messages.
    pub const fn messages(most: u32) -> Self {
        Self { messages: most, bytes: 0 }
    }

    /// At most so many bytes of payloads that do not fit into their messages.
    pub const fn bytes(most: u64) -> Self {
        Self { messages: 0, bytes: most }
    }

    /// Both.
    #[must_use]
    pub const fn and_bytes(mut self, most: u64) -> Self {
        self.bytes = most;
        self
    }

    pub(crate) fn bounds(self) -> Bounds {
        Bounds { messages: self.messages, bytes: self.bytes }
    }
}
