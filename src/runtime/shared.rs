//! What all threads of one node share.

use super::cell::{Cell, Letter, Turn};
use super::door::Door;
use super::methods::{MethodTable, Methods};
use super::names::Names;
use super::route::Room;
use super::service::Service;
use crate::clock::Instant;
use crate::message::{Envelope, Handle, HarborId, HarborRequest, SendError, SendReason};
use crate::metrics::Counters;
use crate::queue::{Depot, Directory, Global, LaneSender, Stealer};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{CachePadded, Condvar, Crew, Mutex};
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;
use std::time::Duration;

/// What leaves the runtime for the I/O thread. Lane 0 carries requests, lane `n` messages to node `n`.
pub enum Outgoing {
    /// A message to a service of another node.
    Send(Envelope),
    /// A request to the harbor.
    Ask(HarborRequest),
}

impl Outgoing {
    /// Bytes that it holds outside itself.
    fn heap_len(&self) -> usize {
        match self {
            Self::Send(envelope) | Self::Ask(HarborRequest::Send { envelope, .. }) => {
                envelope.body.heap_len()
            }
            Self::Ask(_) => 0,
        }
    }
}

/// How a runtime is set up.
pub struct Settings {
    /// The node's id; 0 = alone.
    pub harbor: HarborId,
    /// Where service ids begin; derived from the incarnation, so that old handles do not soon name new services.
    pub first_local: u32,
    /// Worker threads.
    pub workers: usize,
    /// How long a worker that found nothing looks on before it sleeps.
    pub spin: Duration,
    /// Messages that may lie in mailboxes.
    pub messages_max: u64,
    /// Bytes that payloads outside their messages may have.
    pub bytes_max: u64,
    /// The way to the I/O thread, if the node has links.
    pub uplink: Option<LaneSender<Outgoing>>,
}

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// Services end; nothing is spawned any more.
    Draining,
    /// Workers end.
    Stopped,
}

/// One per node, behind an `Arc`.
pub(crate) struct Shared {
    pub(crate) instance: u64,
    pub(crate) harbor: HarborId,
    pub(crate) spin: Duration,
    pub(crate) directory: Arc<Directory<Cell, Letter>>,
    pub(crate) depot: Arc<Depot<Letter>>,
    pub(crate) global: Global<Turn>,
    pub(crate) stealers: Vec<Stealer<Turn>>,
    pub(crate) crew: Crew,
    pub(crate) names: Names,
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) threads: Mutex<Vec<ThreadId>>,
    /// The handle that each worker serves, 0 = none; one writer each.
    serving: Vec<CachePadded<AtomicU32>>,
    uplink: Option<LaneSender<Outgoing>>,
    phase: AtomicU32,
    /// Nobody waits for the services' ends: whoever ends the last one stops the workers.
    abandoned: AtomicBool,
    drained: (Mutex<()>, Condvar),
    methods: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    door: OnceLock<Arc<Door>>,
}

impl Shared {
    pub(crate) fn new(settings: Settings, stealers: Vec<Stealer<Turn>>) -> Arc<Self> {
        let workers = stealers.len();
        let shared = Arc::new(Self {
            instance: std::hash::BuildHasher::hash_one(
                &std::hash::RandomState::new(),
                Instant::now().nanos(),
            ),
            harbor: settings.harbor,
            spin: settings.spin,
            directory: Arc::new(Directory::new(settings.first_local)),
            depot: Arc::new(Depot::new(settings.messages_max, settings.bytes_max)),
            global: Global::new(),
            stealers,
            crew: Crew::new(workers),
            names: Names::default(),
            counters: (0..=workers).map(|_| Arc::default()).collect(),
            threads: Mutex::default(),
            serving: (0..workers).map(|_| CachePadded::new(AtomicU32::new(0))).collect(),
            uplink: settings.uplink,
            phase: AtomicU32::new(Phase::Running as u32),
            abandoned: AtomicBool::new(false),
            drained: Default::default(),
            methods: Mutex::default(),
            door: OnceLock::new(),
        });
        let door = Arc::new(Door::new(&shared));
        let _ = shared.door.set(door);
        shared
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    /// The way in for threads that are no workers.
    pub(crate) fn door(&self) -> &Arc<Door> {
        self.door.get().expect("set by `new`")
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Stopped,
        }
    }

    /// Moves on in the node's life; every sleeping worker looks at it.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u32, Ordering::Relaxed);
        for worker in 0..self.stealers.len() {
            self.crew.ring_worker(worker);
        }
    }

    /// A service ended: whoever waits for the last one looks again.
    pub(crate) fn service_ended(&self) {
        if self.phase() != Phase::Running && self.directory.is_empty() {
            let guard = self.drained.0.lock();
            self.drained.1.notify_all();
            drop(guard);
            if self.abandoned.load(Ordering::Relaxed) {
                self.leave();
                self.enter(Phase::Stopped);
            }
        }
    }

    /// Before [`Phase::Draining`]: the last service's end is the node's.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Tells the harbor to say farewell, if there is one and it has not.
    pub(crate) fn leave(&self) {
        let _ = self.send_up(0, Outgoing::Ask(HarborRequest::Leave), Room::Kept);
    }

    /// Waits until no service is left; whether that is so at the deadline.
    pub(crate) fn wait_drained(&self, timeout: Duration) -> bool {
        let deadline = self.now() + timeout;
        let mut guard = self.drained.0.lock();
        while !self.directory.is_empty() {
            let left = deadline.since(self.now());
            if left.is_zero() {
                return false;
            }
            guard = self.drained.1.wait(guard, Some(left));
        }
        true
    }

    /// The methods of a service type, collected at its first spawn.
    pub(crate) fn methods<S: Service>(&self) -> Option<Arc<MethodTable<S>>> {
        let mut methods = self.methods.lock();
        let entry = methods
            .entry(TypeId::of::<S>())
            .or_insert_with(|| Arc::new(Methods::<S>::collect().map(Arc::new)));
        let table = entry.downcast_ref::<Option<Arc<MethodTable<S>>>>();
        table.cloned().flatten()
    }

    /// A worker begins or ends (0) the turn of a service.
    pub(crate) fn serve(&self, worker: usize, handle: Handle) {
        self.serving[worker].store(handle.bits(), Ordering::Relaxed);
    }

    pub(crate) fn at_work(&self) -> Vec<Option<Handle>> {
        let handles = self.serving.iter().map(|serving| Handle::from_bits(serving.load(Ordering::Relaxed)));
        handles.map(|handle| (!handle.is_none()).then_some(handle)).collect()
    }

    /// Whether this node has links.
    pub(crate) fn is_linked(&self) -> bool {
        self.uplink.is_some()
    }

    /// Hands something to the I/O thread.
    ///
    /// # Errors
    /// Gives it back: its lane is full, or the I/O thread has ended.
    pub(crate) fn send_up(
        &self,
        lane: usize,
        outgoing: Outgoing,
        room: Room,
    ) -> Result<(), SendError<Outgoing>> {
        let Some(uplink) = &self.uplink else { return Err(SendError::new(SendReason::Unknown, outgoing)) };
        let bytes = outgoing.heap_len();
        let sent = match room {
            Room::Bounded => uplink.send(lane, outgoing, bytes),
            Room::Kept => uplink.send_answer(lane, outgoing, bytes),
        };
        sent.map_err(|outgoing| {
            let reason = if uplink.is_closed(lane) { SendReason::Shutdown } else { SendReason::Full };
            SendError::new(reason, outgoing)
        })
    }
}
