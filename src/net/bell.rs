//! What ends a wait of the I/O thread from another thread.

use crate::sync::Bell;
use polling::Poller;
use std::io;
use std::sync::Arc;

/// Rings at the poller. Made first: the lanes to the I/O thread need a bell before the thread has its seat.
#[derive(Clone, Debug)]
pub struct PollerBell(Arc<Poller>);

impl PollerBell {
    /// A new poller.
    ///
    /// # Errors
    /// The system's: no descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Poller::new()?)))
    }

    pub(super) fn poller(&self) -> &Arc<Poller> {
        &self.0
    }
}

impl Bell for PollerBell {
    fn ring(&self) {
        // Writing to an event descriptor fails only when it is full of rings already.
        let _ = self.0.notify();
    }
}
