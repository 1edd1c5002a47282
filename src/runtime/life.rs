//! The beginning and the end of a service.
//!
//! ```text
//!  spawn: a cell with its token ─► the factory ─► `start` ─► idle, or its first turn
//!  end:   `stop` ─► state and continuations dropped ─► mailbox answered with errors ─► retired ─► freed after grace
//! ```

use super::address::{Addr, Destination};
use super::cell::{Cell, Control, Core, Ending, Letter, Running, Turn};
use super::respond::Origin;
use super::service::{Service, SpawnError};
use super::shared::Phase;
use super::spawn::{Bounded, Spawn};
use super::worker::Worker;
use crate::limits;
use crate::message::{CallError, Handle, SendError, SendReason};
use crate::metrics::Count;
use crate::queue::Pop;
use smallvec::SmallVec;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Worker {
    /// Spawns a service and runs its `start`.
    pub(crate) fn spawn<S: Service>(
        &mut self,
        label: &str,
        options: &Spawn,
        factory: impl FnOnce() -> S,
    ) -> Result<Addr<S>, SpawnError> {
        if self.shared.phase() != Phase::Running {
            return Err(SpawnError::Shutdown);
        }
        if self.spawning >= limits::SPAWN_DEPTH_MAX {
            return Err(SpawnError::Exhausted);
        }
        let methods = self.shared.methods::<S>();
        let harbor = self.shared.harbor;
        let bounds = options.bounds.map(Bounded::bounds);
        let mut token = self
            .shared
            .directory
            .insert(bounds, |local, generation| Cell {
                core: Core {
                    handle: Handle::new(harbor, local),
                    generation,
                    ending: None,
                    calls: None,
                    alarms: SmallVec::new(),
                    label: label.into(),
                    sees_debug: options.debug,
                },
                service: None,
            })
            .map_err(|_| SpawnError::Exhausted)?;
        let cell = token.state();
        let (handle, generation) = (cell.core.handle, cell.core.generation);
        let outer = std::mem::take(&mut self.origin);
        if let Err(reason) = self.admit(handle, options) {
            self.end(token, Ending { reason: CallError::NoService, stop: false });
            self.origin = outer;
            return Err(reason);
        }
        self.spawning += 1;
        let started = catch_unwind(AssertUnwindSafe(|| {
            let cell = token.state();
            let service = cell.service.insert(Box::new(Running { service: factory(), methods }));
            service.start(&mut cell.core, self)
        }));
        self.spawning -= 1;
        let failure = match started {
            Ok(Ok(())) => None,
            Ok(Err(refused)) => Some(SpawnError::Start(refused)),
            Err(_panic) => Some(SpawnError::Panicked),
        };
        match failure {
            Some(_) => self.end(token, Ending { reason: CallError::NoService, stop: false }),
            None => {
                self.counters.add(Count::Spawned, 1);
                self.launch(token);
            }
        }
        // The parent's message is handled again, with its duty to answer.
        self.origin = outer;
        if let Some(failure) = failure {
            return Err(failure);
        }
        Ok(Addr { handle, generation, node: self.shared.instance, _service: PhantomData })
    }

    /// Whether a service that can be found now may start.
    fn admit(&self, handle: Handle, options: &Spawn) -> Result<(), SpawnError> {
        // Whoever drains the node says so, then lists the services under the directory's lock. We pass that lock between
        // making the service known and looking: either it is in the list, or we see that the node drains.
        let _ = self.shared.directory.len();
        if self.shared.phase() != Phase::Running {
            return Err(SpawnError::Shutdown);
        }
        match &options.local_name {
            Some(name) if !self.shared.names.register_local(name, handle) => Err(SpawnError::Name),
            Some(_) | None => Ok(()),
        }
    }

    /// The first end of a turn: the service idles, or runs if it has something to do already.
    fn launch(&mut self, mut token: Turn) {
        let cell = token.state();
        let failed = cell.core.calls.as_ref().is_some_and(|calls| calls.has_failed());
        if let Some(ending) = cell.core.ending {
            return self.end(token, ending);
        }
        if failed {
            return self.push(token);
        }
        if let Err(token) = token.idle() {
            self.ready(token);
        }
    }

    /// Ends a service: nothing of it runs after this, and everyone who waits for it is told.
    pub(super) fn end(&mut self, mut token: Turn, ending: Ending) {
        let Cell { core, service } = token.state();
        let handle = core.handle;
        self.origin = Origin::default();
        // 1. Its own last word.
        if let Some(service) = service.as_mut().filter(|_| ending.stop) {
            let stopped = catch_unwind(AssertUnwindSafe(|| service.stop(core, self)));
            self.counters.add(Count::Panics, u64::from(stopped.is_err()));
        }
        // 2. Its state and continuations; responders in them answer their callers.
        if self.shared.is_linked() {
            for (session, callee) in core.calls.iter().flat_map(|calls| calls.waiting()) {
                self.shared.forget(handle, session, callee);
            }
        }
        let remains = (service.take(), core.calls.take());
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(remains)));
        self.counters.add(Count::Panics, u64::from(dropped.is_err()));
        // 3. What lies in its mailbox.
        while let Pop::Message(letter) = token.pop(&mut self.pool) {
            self.discard(letter, ending.reason);
        }
        drop(token.take_control());
        // 4. The rest when no thread can send to it any more.
        self.shared.directory.retire(token);
        // 5. Its names, behind that: who publishes one either finds it dead or is found here.
        self.shared.forget_names(handle);
        self.counters.add(Count::Ended, 1);
        self.shared.service_ended();
    }

    pub(super) fn discard(&mut self, letter: Letter, reason: CallError) {
        self.counters.add(Count::Discarded, 1);
        let refusal = letter.envelope().and_then(|envelope| envelope.refusal(reason));
        // What is in it is the user's, and nobody else would catch its panic here.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(letter)));
        self.counters.add(Count::Panics, u64::from(dropped.is_err()));
        if let Some(refusal) = refusal {
            self.deliver(refusal);
        }
    }

    /// Frees ended services that no thread can see any more, and answers what reached them late.
    pub(super) fn reclaim(&mut self) {
        while let Some(retired) = self.shared.directory.reclaim() {
            let mut late = Vec::new();
            drop(retired.finish(&mut self.pool, |letter| late.push(letter)));
            // Who answers must find, also where a worker looks offline before it sleeps.
            let was_online = self.participant.is_online();
            self.participant.online();
            for letter in late {
                self.pool.release_bytes(letter.heap_len());
                self.discard(letter, CallError::NoService);
            }
            if !was_online {
                self.participant.offline();
            }
        }
    }

    pub(crate) fn kill(&mut self, to: Destination) -> Result<(), SendError<()>> {
        let unknown = SendError::new(SendReason::Unknown, ());
        let (handle, generation) = match to {
            Destination::Exact { handle, generation, node } if node == self.shared.instance => {
                (handle, Some(generation))
            }
            Destination::Handle(handle) if !handle.is_remote(self.shared.harbor) => (handle, None),
            Destination::Handle(_) | Destination::Global(_) | Destination::Exact { .. } => {
                return Err(unknown);
            }
        };
        let mailbox = self.participant.find(handle.local());
        let mailbox =
            mailbox.filter(|mailbox| generation.is_none_or(|generation| mailbox.generation() == generation));
        let token =
            mailbox.ok_or(unknown)?.push_control(Letter::Control(Control::Kill(CallError::NoService)));
        if let Some(token) = token {
            self.push(token);
        }
        Ok(())
    }
}
