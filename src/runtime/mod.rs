//! Services on workers.
//!
//! A service is a value with `&mut self` handlers that one worker at a time runs. What makes that so is the token of
//! [`crate::queue`]: exactly one exists for each service that is not idle, and only its holder touches the service.
//!
//! ```text
//!   ctx.send / ctx.call / answers                              worker.rs
//!          │                                          ┌───────────────────────────┐
//!          ▼ route by handle                          │ next(): LIFO, ring, global│
//!   mailbox.push ──"you schedule it"──► LIFO or ring ─►  turn(): control, messages│──► handler or continuation
//!          │                                          │ rest(): spin, sleep       │
//!          │ handle of another node                   └───────────────────────────┘
//!          ▼
//!   lane of its slot ──► I/O thread                   door.rs: foreign threads, dropped responders, the I/O thread
//! ```
//!
//! | file | what |
//! |---|---|
//! | `service` | what users write: services, requests, handlers |
//! | `context` | what a handler may do |
//! | `cluster` | what a handler may ask about names and nodes |
//! | `address` | who a request goes to, and in which form it travels |
//! | `calls` | sessions, deadlines and timers of one service |
//! | `respond` | the duty to answer |
//! | `worker` | the run loop: flow 1 of `docs/ARCHITECTURE.md` |
//! | `route` | where a message goes |
//! | `life` | spawn and end |
//! | `door` | ways in for threads that are no workers |
//!
//! The runtime knows no socket, peer or registry: what leaves the node goes into [`Outgoing`] lanes, what comes in comes
//! through an [`Inlet`]. It starts no thread: whoever owns the node runs each [`Seat`] on one.
//!
//! Invariants: a message is answered, delivered or counted, never lost; a continuation runs once or is dropped with its
//! service; user code never runs under a lock.

#![forbid(unsafe_code)]

mod address;
mod bridge;
mod calls;
mod cell;
mod cluster;
mod context;
mod door;
mod life;
mod methods;
mod names;
mod respond;
mod route;
mod service;
mod shared;
mod spawn;
mod worker;

pub use address::{Addr, Destination, Global, Target};
pub use calls::TimerId;
pub use context::{Context, NEVER, Overrun, Tick};
pub use door::Inlet;
pub use methods::Methods;
pub use respond::{Later, Responder};
pub use service::{
    BY_VARIANT, Disposition, Handler, Message, Reply, Request, Service, SpawnError, StartError, Wire,
};
pub use shared::{Outgoing, Settings};
pub use spawn::{Bounded, Spawn};

use crate::message::{CallError, SendError, SendReason};
use crate::metrics::Counts;
use crate::queue::RunQueue;
use crate::sync::{channel, thread};
use address::sealed::{Packed, Route};
use bridge::{Bridge, BridgeAddr, Job, hand_over};
use shared::{Phase, Shared};
use std::sync::Arc;
use std::time::Duration;
use worker::Worker;

/// The runtime of one node, as its owner holds it.
pub struct Runtime {
    shared: Arc<Shared>,
    bridge: BridgeAddr,
}

/// A worker that waits for its thread.
pub struct Seat(Worker);

impl Seat {
    /// Runs services until the node stops. Call it on a thread of its own.
    pub fn run(mut self) {
        self.0.shared.threads.lock().push(thread::current().id());
        self.0.run();
    }
}

impl Runtime {
    /// A runtime and its workers.
    ///
    /// # Panics
    /// If `settings.workers` is zero.
    pub fn new(settings: Settings) -> (Self, Vec<Seat>) {
        assert!(settings.workers > 0, "a runtime needs a worker");
        let rings: Vec<RunQueue<cell::Turn>> = (0..settings.workers).map(|_| RunQueue::new()).collect();
        let stealers = rings.iter().map(RunQueue::stealer).collect();
        let shared = Shared::new(settings, stealers);
        let mut seats: Vec<Seat> = rings
            .into_iter()
            .enumerate()
            .map(|(index, ring)| Seat(Worker::new(&shared, index, ring)))
            .collect();
        let bridge = seats[0].0.spawn("bridge", &Spawn::new(), || Bridge).expect("a new directory has room");
        (Self { shared, bridge }, seats)
    }

    /// The I/O thread's way in.
    pub fn inlet(&self) -> Inlet {
        Inlet::new(&self.shared)
    }

    /// Runs `task` on a worker and waits for what it sends back.
    ///
    /// # Errors
    /// `Denied` on a worker of this node, `Shutdown` if it ends first, `Panicked` if the task does, `Timeout` after
    /// `timeout`.
    fn on_worker<T: Send + 'static>(
        &self,
        timeout: Duration,
        task: impl FnOnce(&mut Context<'_, Bridge>, channel::Sender<T>) + Send + 'static,
    ) -> Result<T, CallError> {
        if self.shared.threads.lock().contains(&thread::current().id()) {
            return Err(CallError::Denied);
        }
        let (sender, receiver) = channel::bounded(1);
        let job = Job(Box::new(move |ctx| task(ctx, sender)));
        let packed = <BridgeAddr as Route<Job>>::pack(job).map_err(|(reason, _)| reason)?;
        self.shared
            .door()
            .post(Destination::from(&self.bridge), packed.0)
            .map_err(|_| CallError::Shutdown)?;
        let received = match timeout {
            NEVER => receiver.recv().map_err(|_| channel::RecvTimeoutError::Disconnected),
            _ => receiver.recv_timeout(timeout),
        };
        received.map_err(|reason| match reason {
            channel::RecvTimeoutError::Timeout => CallError::Timeout,
            channel::RecvTimeoutError::Disconnected if self.shared.phase() == Phase::Running => {
                CallError::Panicked
            }
            channel::RecvTimeoutError::Disconnected => CallError::Shutdown,
        })
    }

    /// Calls from a foreign thread and waits for the reply.
    ///
    /// # Errors
    /// As [`Context::call`]; `Denied` on a worker of this node, where waiting would stop it.
    pub fn call_blocking<R, T>(
        &self,
        target: &T,
        request: R,
        timeout: Duration,
    ) -> Result<R::Reply, CallError>
    where
        R: Request,
        T: Target<R> + Copy + Send + 'static,
    {
        // Packed and unpacked here: that may be slow, and it is the user's code.
        let letter = T::pack(request).map_err(|(reason, _)| reason)?.0;
        let to = target.destination();
        let answer = self.on_worker(patience(timeout), move |ctx, sender| {
            ctx.call_packed(to, letter, timeout, move |_, _, result| hand_over(&sender, result));
        })?;
        answer.and_then(T::reply)
    }

    /// Calls with bytes from a foreign thread and waits for the reply's bytes.
    ///
    /// # Errors
    /// As [`Runtime::call_blocking`].
    pub fn call_raw_blocking(
        &self,
        to: impl Into<Destination>,
        kind: crate::message::Kind,
        payload: impl Into<crate::message::Payload>,
        timeout: Duration,
    ) -> Result<crate::message::Payload, CallError> {
        let (to, payload) = (to.into(), payload.into());
        self.on_worker(patience(timeout), move |ctx, sender| {
            ctx.call_raw(to, kind, payload, timeout, move |_, _, result| hand_over(&sender, result));
        })?
    }

    /// Asks the harbor from a foreign thread and waits for the answer.
    ///
    /// # Errors
    /// As [`Runtime::call_blocking`].
    pub fn ask_blocking(
        &self,
        timeout: Duration,
        request: impl FnOnce(crate::message::Waiter) -> crate::message::HarborRequest + Send + 'static,
    ) -> Result<crate::message::HarborAnswer, CallError> {
        self.on_worker(patience(timeout), move |ctx, sender| {
            ctx.ask(timeout, request, move |_, _, answer| hand_over(&sender, answer));
        })?
    }

    /// Sends from a foreign thread; there is no source to answer to.
    ///
    /// # Errors
    /// As [`Context::send`].
    pub fn send<R: Request, T: Target<R>>(&self, target: &T, request: R) -> Result<(), SendError<R>> {
        let letter = match T::pack(request) {
            Ok(packed) => packed.0,
            Err((_, request)) => return Err(SendError::new(SendReason::Denied, request)),
        };
        self.shared.door().post(target.destination(), letter).map_err(|refused| {
            let request = T::unpack(Packed(refused.message)).expect("a refused letter comes back as it went");
            SendError::new(refused.reason, request)
        })
    }

    /// Spawns a service and waits for its `start`.
    ///
    /// # Errors
    /// As [`Context::spawn_with`]; `Shutdown` on a worker of this node too.
    pub fn spawn_with<S: Service>(
        &self,
        label: &str,
        options: Spawn,
        factory: impl FnOnce() -> S + Send + 'static,
    ) -> Result<Addr<S>, SpawnError> {
        let label = label.to_owned();
        let spawned = self.on_worker(NEVER, move |ctx, sender| {
            let _ = sender.send(ctx.spawn_with(&label, options, factory));
        });
        spawned.unwrap_or_else(|reason| match reason {
            CallError::Panicked => Err(SpawnError::Panicked),
            _ => Err(SpawnError::Shutdown),
        })
    }

    /// Ends a service of this node.
    ///
    /// # Errors
    /// `Unknown` if there is no such service.
    pub fn kill(&self, service: impl Into<Destination>) -> Result<(), SendError<()>> {
        let service = service.into();
        let killed = self.on_worker(NEVER, move |ctx, sender| {
            let _ = sender.send(ctx.kill(service));
        });
        killed.unwrap_or(Err(SendError::new(SendReason::Shutdown, ())))
    }

    /// Gives a service of this node a local name.
    ///
    /// # Errors
    /// [`SpawnError::Name`] if it is malformed or taken.
    pub fn register_local(&self, name: &str, service: crate::message::Handle) -> Result<(), SpawnError> {
        self.shared.names.register_local(name, service).then_some(()).ok_or(SpawnError::Name)
    }

    /// A service of this node gives up a global name.
    pub fn unregister_global(&self, name: crate::message::Name, service: crate::message::Handle) {
        self.shared.unregister_global(name, service);
    }

    /// The service of this node with the local name.
    pub fn local(&self, name: &str) -> Option<crate::message::Handle> {
        self.shared.names.local(name)
    }

    /// Services that live, this runtime's own one not counted.
    pub fn services(&self) -> usize {
        self.shared.directory.len().saturating_sub(1)
    }

    /// What the workers counted so far.
    pub fn counts(&self) -> Counts {
        self.shared.counters.iter().map(|counters| counters.read()).sum()
    }

    /// Whether the calling thread is one of this runtime's workers.
    pub fn is_own_thread(&self) -> bool {
        self.shared.threads.lock().contains(&thread::current().id())
    }

    /// Ends all services: each one's `stop` runs, every waiting call gets [`CallError::Shutdown`]. Whether none was left
    /// at the deadline. Workers go on until [`Runtime::stop`].
    pub fn drain(&self, timeout: Duration) -> bool {
        self.shared.enter(Phase::Draining);
        self.shared.door().kill_all(CallError::Shutdown);
        self.shared.wait_drained(timeout)
    }

    /// The service that each worker serves right now, if it serves one.
    pub fn at_work(&self) -> Vec<Option<crate::message::Handle>> {
        self.shared.at_work()
    }

    /// Tells the harbor to say farewell, if there is one.
    pub fn leave(&self) {
        self.shared.leave();
    }

    /// Ends all services and, when the last one has ended, the workers; waits for nothing. For a worker of this runtime.
    pub fn abandon(&self) {
        self.shared.abandon();
        self.shared.enter(Phase::Draining);
        self.shared.door().kill_all(CallError::Shutdown);
    }

    /// Ends the workers after their current turn.
    pub fn stop(&self) {
        self.shared.enter(Phase::Stopped);
    }
}

/// How long a foreign thread waits for a call that ends by itself after `timeout`, unless no worker is free to end it.
fn patience(timeout: Duration) -> Duration {
    if timeout == NEVER { NEVER } else { timeout.saturating_add(Duration::from_millis(500)) }
}
