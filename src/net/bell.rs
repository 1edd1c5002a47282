//! What ends a wait of the I/O thread from another thread, or makes it needless.

use super::helm::Helm;
use super::system::Poller;
use crate::clock::Instant;
use crate::sync::{Bell, Mutex};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};

/// Rings at the poller. Made first: the lanes to the I/O thread need a bell before the thread has its seat.
#[derive(Clone)]
pub struct PollerBell(Arc<Place>);

struct Place {
    poller: Arc<Poller>,
    /// Weak: the helm holds the bell.
    helm: OnceLock<Weak<Mutex<Helm>>>,
}

impl PollerBell {
    /// A new poller.
    ///
    /// # Errors
    /// The system's: no descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Place { poller: Arc::new(Poller::new()?), helm: OnceLock::new() })))
    }

    pub(super) fn poller(&self) -> &Arc<Poller> {
        &self.0.poller
    }

    /// From now on senders may stand in for the thread that sits at this helm.
    pub(super) fn seat(&self, helm: &Arc<Mutex<Helm>>) {
        // Another helm was first: its thread is woken for each message, as long as nobody is at it.
        let _ = self.0.helm.set(Arc::downgrade(helm));
    }
}

impl Bell for PollerBell {
    fn ring(&self) {
        // Writing to an event descriptor fails only when it is full of rings already.
        let _ = self.0.poller.notify();
    }

    fn stand_in(&self) -> bool {
        let Some(helm) = self.0.helm.get().and_then(Weak::upgrade) else { return false };
        let Some(mut helm) = helm.try_lock() else { return false };
        // The service that sends did nothing wrong: the thread, which is woken, ends as if the panic had been its own.
        let done = catch_unwind(AssertUnwindSafe(|| helm.stand_in(Instant::now())));
        done.unwrap_or_else(|_| {
            helm.give_up();
            false
        })
    }
}

impl fmt::Debug for PollerBell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PollerBell")
    }
}
