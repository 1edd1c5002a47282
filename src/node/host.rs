//! A node as a value: starts its threads in order, ends them in order.
//!
//! ```text
//!  start:     config checked ─► lanes ─► runtime ─► listening (if linked) ─► I/O thread ─► worker threads
//!             ─► listening where a host's name had to be resolved ─► SERVICE and DATACENTER (if standalone)
//!  shutdown:  harbor leaves ─► services end, calls get Shutdown ─► I/O thread ends ─► workers end ─► joined
//! ```

use super::lease::{Denied, Lease};
use super::{Config, Error, Role};
use crate::clock::Instant;
use crate::harbor::{self, Harbor};
use crate::message::{
    CallError, Handle, HarborAnswer, HarborId, HarborRequest, Kind, Name, Payload, SendError, Status,
};
use crate::metrics::Counts;
use crate::net::{self, IoThread, PollerBell, Resolver};
use crate::queue::{LaneReceiver, Lanes};
use crate::registry::HarborRange;
use crate::runtime::{
    Addr, Destination, NEVER, Outgoing, Request, Runtime, Service, Settings, Spawn, SpawnError, Target,
};
use crate::services::{DataCenter, Provide, ServiceManager};
use crate::sync::{Condvar, Doorbell, Mutex};
use crate::sync::{channel, thread};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// One node of a cluster, or one that is alone.
///
/// Dropped, it is shut down with a second's patience; dropped on one of its own threads, it ends without being waited
/// for. Several nodes may live in one process.
pub struct Node {
    runtime: Runtime,
    harbor: HarborId,
    threads: Threads,
    /// The `SERVICE` of a standalone node.
    manager: Option<Addr<ServiceManager>>,
    /// Keeps others from the file.
    _lease: Option<Lease>,
    stopping: Arc<Stopping>,
    ended: bool,
}

/// Threads and how their ends are learned.
struct Threads {
    handles: Vec<Option<thread::JoinHandle<()>>>,
    ends: channel::Receiver<usize>,
    sender: channel::Sender<usize>,
}

/// Tells the thread in [`Node::wait`] to return; clone it into signal handlers and services.
#[derive(Clone)]
pub struct Stopper(Arc<Stopping>);

#[derive(Default)]
struct Stopping {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Stopper {
    /// Ends [`Node::wait`], now or when it is called. On any thread.
    pub fn stop(&self) {
        *self.0.asked.lock() = true;
        self.0.changed.notify_all();
    }
}

impl Node {
    /// Starts a node.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Listen`] if an address is in use or its host's name is not resolved in ten seconds,
    /// [`Error::Io`] if a thread cannot be started.
    pub fn start(config: Config) -> Result<Self, Error> {
        config.check()?;
        match config.harbor_range {
            Some(range) => Self::start_leased(config, range),
            None => Self::start_as(config, Box::new(|_| ())),
        }
    }

    /// With the id that the lease gives, or the next one if the master refuses it. A master that cannot be asked now
    /// may refuse it later: then the next start takes another.
    fn start_leased(config: Config, range: HarborRange) -> Result<Self, Error> {
        let (mut lease, is_corrupt) = Lease::open(&config.lease, range)?;
        if is_corrupt {
            tracing::warn!(path = %config.lease.display(), "the lease is torn or changed: starting over");
        }
        loop {
            let harbor = lease.take(Instant::unix_seconds())?;
            let (sender, verdicts) = channel::bounded(1);
            let mut config = config.clone();
            config.harbor = harbor;
            // Only the first word counts, and nobody waits for more.
            let on_event = move |event: &harbor::Event| {
                if let Some(verdict) = verdict_of(event) {
                    let _ = sender.try_send(verdict);
                }
            };
            let mut node = Self::start_as(config, Box::new(on_event))?;
            match verdicts.recv_timeout(crate::limits::LEASE_TIME_MAX) {
                Ok(Verdict::Refused) => {
                    tracing::warn!(%harbor, "the master refused the leased id");
                    lease.refuse()?;
                    node.shutdown(Duration::from_secs(1))?;
                }
                Ok(Verdict::Taken | Verdict::Unknown) | Err(_) => {
                    node._lease = Some(lease);
                    return Ok(node);
                }
            }
        }
    }

    fn start_as(config: Config, on_event: OnEvent) -> Result<Self, Error> {
        // 1. The lanes to the I/O thread, if there will be one.
        let links = links(&config);
        let (uplink, io) = match &links {
            Some(_) => {
                let bell =
                    PollerBell::new().map_err(|source| Error::Io { what: "cannot poll sockets", source })?;
                let doorbell = Arc::new(Doorbell::new(bell.clone()));
                let lane_bytes_max = crate::limits::LANE_BYTES_MAX.min(config.memory as u64 / 32);
                let (sender, receiver) = Lanes::with_bytes(crate::limits::SLOTS, lane_bytes_max, doorbell);
                (Some(sender), Some((bell, receiver)))
            }
            None => (None, None),
        };
        // 2. The runtime.
        let settings = Settings {
            harbor: config.harbor,
            first_local: seed() as u32 & Handle::LOCAL_MAX,
            workers: config.workers(),
            spin: crate::limits::SPIN_TIME,
            messages_max: (config.memory / crate::limits::MESSAGE_SHARE_BYTES) as u64,
            bytes_max: config.memory as u64,
            uplink,
        };
        let (runtime, seats) = Runtime::new(settings);
        // 3. The listeners: an address in use is found out before anything runs.
        let (io, opening) = match links.zip(io) {
            Some((links, (bell, lanes))) => {
                let io = net::Settings {
                    unreachable: config.unreachable_deadline,
                    on_event,
                    ..net::Settings::default()
                };
                let (io, opening) = open(links, bell, lanes, &runtime, io)?;
                (Some(io), Some(opening))
            }
            None => (None, None),
        };
        // 4. The threads.
        let mut node = Self {
            runtime,
            harbor: config.harbor,
            threads: Threads::new(),
            manager: None,
            _lease: None,
            stopping: Arc::default(),
            ended: false,
        };
        if let Some((io_thread, resolver)) = io {
            node.threads.start("skyharbor-resolver".into(), move || resolver.run())?;
            node.threads.start("skyharbor-io".into(), move || {
                // The poller's error is logged where it occurs; calls that wait for links have been failed.
                let _ = io_thread.run();
            })?;
        }
        let cores = if config.pin { core_affinity::get_core_ids().unwrap_or_default() } else { Vec::new() };
        for (index, seat) in seats.into_iter().enumerate() {
            let core = cores.get(index % cores.len().max(1)).copied();
            node.threads.start(format!("skyharbor-{index}"), move || {
                if let Some(core) = core {
                    core_affinity::set_for_current(core);
                }
                seat.run();
            })?;
        }
        // 5. Listeners whose hosts had to be resolved.
        opening.map_or(Ok(()), Opening::wait)?;
        // 6. What the other nodes of the cluster wait for.
        node.offer(&config)?;
        Ok(node)
    }

    /// Starts the services that every node of a Skynet cluster expects of the one that hosts the master, in its order.
    fn offer(&mut self, config: &Config) -> Result<(), Error> {
        if config.role() != Role::Standalone {
            return Ok(());
        }
        let data_center = self.spawn("DATACENTER", DataCenter::default())?;
        self.register_global("DATACENTER", &data_center)?;
        let manager = self.spawn("SERVICE", ServiceManager::new(config.launchable()))?;
        self.register_global("SERVICE", &manager)?;
        self.manager = Some(manager);
        Ok(())
    }

    /// The node's id; 0 = alone.
    pub fn harbor(&self) -> HarborId {
        self.harbor
    }

    /// Spawns a service and waits for its `start`. `label` is for people: logs, statistics.
    ///
    /// # Errors
    /// [`SpawnError`]: it refused to start or panicked, no room, shutdown, or called on a thread of this node.
    pub fn spawn<S: Service>(&self, label: &str, service: S) -> Result<Addr<S>, SpawnError> {
        self.runtime.spawn_with(label, Spawn::new(), move || service)
    }

    /// Spawns a service from a factory, with options.
    ///
    /// # Errors
    /// As [`Node::spawn`].
    pub fn spawn_with<S: Service>(
        &self,
        label: &str,
        options: Spawn,
        factory: impl FnOnce() -> S + Send + 'static,
    ) -> Result<Addr<S>, SpawnError> {
        self.runtime.spawn_with(label, options, factory)
    }

    /// Calls a service from a thread that is no worker, and waits.
    ///
    /// # Errors
    /// Why there is no reply; [`CallError::Denied`] on a worker thread, which must not wait.
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
        self.runtime.call_blocking(target, request, timeout)
    }

    /// Calls with bytes of any kind, and waits for the reply's bytes.
    ///
    /// # Errors
    /// As [`Node::call_blocking`].
    pub fn call_raw_blocking(
        &self,
        to: impl Into<Destination>,
        kind: Kind,
        payload: impl Into<Payload>,
        timeout: Duration,
    ) -> Result<Payload, CallError> {
        self.runtime.call_raw_blocking(to, kind, payload, timeout)
    }

    /// Sends a one-way message.
    ///
    /// # Errors
    /// Gives the request back with the reason.
    pub fn send<R: Request, T: Target<R>>(&self, target: &T, request: R) -> Result<(), SendError<R>> {
        self.runtime.send(target, request)
    }

    /// Gives a service of this node a global name. Returns when it is recorded: when the master has said that no living
    /// service has it, or at once if the master cannot be asked; then it is told when it is reached.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::NameTaken`], or [`Error::Call`] if the node shuts down.
    pub fn register_global<S>(&self, name: &str, service: &Addr<S>) -> Result<(), Error> {
        let (name, handle): (Name, Handle) = (name.parse()?, service.handle());
        let asked =
            self.runtime.ask_blocking(NEVER, move |waiter| HarborRequest::Register { name, handle, waiter });
        match asked? {
            HarborAnswer::Registered => Ok(()),
            HarborAnswer::NameTaken(owner) => Err(Error::NameTaken(owner)),
            other => Err(no_answer(&other).into()),
        }
    }

    /// A service of this node gives up a global name; nothing happens if it does not have it. Names that a service has when it
    /// ends are given up then.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn unregister_global<S>(&self, name: &str, service: &Addr<S>) -> Result<(), Error> {
        self.runtime.unregister_global(name.parse()?, service.handle());
        Ok(())
    }

    /// Gives a service of this node a local name (`.name`).
    ///
    /// # Errors
    /// [`Error::LocalName`].
    pub fn register_local<S>(&self, name: &str, service: &Addr<S>) -> Result<(), Error> {
        let registered = self.runtime.register_local(name, service.handle());
        registered.map_err(|_| Error::LocalName(name.to_owned()))
    }

    /// Makes a service of this standalone node the one that `skynet.uniqueservice(true, name)` and
    /// `skynet.queryservice(true, name)` find from every node of the cluster; who waits for it is answered.
    ///
    /// # Errors
    /// [`Error::NotStandalone`]; [`Error::LocalName`] if there is a unique service of that name; [`Error::Call`] if the
    /// node shuts down.
    pub fn register_unique<S>(&self, name: &str, service: &Addr<S>) -> Result<(), Error> {
        let manager = self.manager.ok_or(Error::NotStandalone)?;
        self.register_local(&ServiceManager::local_name(name), service)?;
        self.call_blocking(&manager, Provide(name.to_owned()), NEVER)?;
        Ok(())
    }

    /// The service of this node with a local name.
    pub fn local(&self, name: &str) -> Option<Handle> {
        self.runtime.local(name)
    }

    /// Who has a global name? Waits until somebody has it, at most `timeout`.
    ///
    /// # Errors
    /// [`CallError::NoName`] after `timeout`.
    pub fn query(&self, name: Name, timeout: Duration) -> Result<Handle, CallError> {
        let deadline = if timeout == NEVER {
            crate::clock::Instant::FAR
        } else {
            crate::clock::Instant::now() + timeout
        };
        let asked =
            self.runtime.ask_blocking(NEVER, move |waiter| HarborRequest::Query { name, waiter, deadline });
        match asked? {
            HarborAnswer::Found(handle) => Ok(handle),
            HarborAnswer::NotFound => Err(CallError::NoName(name)),
            other => Err(no_answer(&other)),
        }
    }

    /// Names and peers as this node sees them.
    ///
    /// # Errors
    /// As [`Node::call_blocking`].
    pub fn status(&self) -> Result<Status, CallError> {
        let asked =
            self.runtime.ask_blocking(Duration::from_secs(5), |waiter| HarborRequest::Status { waiter });
        match asked? {
            HarborAnswer::Status(status) => Ok(*status),
            other => Err(no_answer(&other)),
        }
    }

    /// Waits until that node is linked, at most `timeout`.
    ///
    /// # Errors
    /// [`CallError::Timeout`]; [`CallError::PeerDown`] if this node has no links, or leaves.
    pub fn wait_linked(&self, harbor: HarborId, timeout: Duration) -> Result<(), CallError> {
        let asked =
            self.runtime.ask_blocking(timeout, move |waiter| HarborRequest::Connect { harbor, waiter });
        match asked? {
            HarborAnswer::Up => Ok(()),
            HarborAnswer::Down => Err(CallError::PeerDown(harbor)),
            other => Err(no_answer(&other)),
        }
    }

    /// Ends a service of this node, ahead of its queued messages.
    ///
    /// # Errors
    /// `Unknown` if there is no such service.
    pub fn kill(&self, service: impl Into<Destination>) -> Result<(), SendError<()>> {
        self.runtime.kill(service)
    }

    /// How many services live.
    pub fn services(&self) -> usize {
        self.runtime.services()
    }

    /// What the workers counted.
    pub fn counts(&self) -> Counts {
        self.runtime.counts()
    }

    /// What ends [`Node::wait`].
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.stopping))
    }

    /// Waits until a [`Stopper`] of this node is used.
    pub fn wait(&self) {
        let mut asked = self.stopping.asked.lock();
        while !*asked {
            asked = self.stopping.changed.wait(asked, None);
        }
    }

    /// Ends every service, as the first step of [`Node::shutdown`]: each one's `stop` runs, every waiting call gets
    /// [`CallError::Shutdown`], nothing is spawned any more. Whether none was left after `timeout`.
    pub fn stop_services(&self, timeout: Duration) -> bool {
        self.runtime.drain(timeout)
    }

    /// Ends the node: peers are told, every service's `stop` runs, every waiting call gets [`CallError::Shutdown`], all
    /// threads are joined.
    ///
    /// # Errors
    /// [`Error::Stuck`] if threads did not end within `timeout`; they are left behind and hold what they hold.
    /// [`Error::OwnThread`] on a thread of this node.
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), Error> {
        self.end(timeout)
    }

    fn end(&mut self, timeout: Duration) -> Result<(), Error> {
        if self.runtime.is_own_thread() {
            return Err(Error::OwnThread);
        }
        self.ended = true;
        self.stopper().stop();
        let deadline = crate::clock::Instant::now() + timeout;
        // 1. Services end; what they still say goes out.
        self.runtime.drain(timeout);
        // 2. Peers are told.
        self.runtime.leave();
        // 3. Threads end.
        self.runtime.stop();
        if self.threads.join(deadline) {
            return Ok(());
        }
        Err(Error::Stuck { services: self.runtime.at_work().into_iter().filter(Option::is_some).collect() })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Err(Error::OwnThread) = self.end(Duration::from_secs(1)) {
            // A service had it. Its thread cannot wait for itself.
            self.runtime.abandon();
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Node({}, {} services)", self.harbor, self.services())
    }
}

impl Threads {
    fn new() -> Self {
        let (sender, ends) = channel::unbounded();
        Self { handles: Vec::new(), ends, sender }
    }

    fn start(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let (index, sender) = (self.handles.len(), self.sender.clone());
        let started = thread::Builder::new().name(name).spawn(move || {
            let _end = SendAtEnd(sender, index);
            run();
        });
        let handle = started.map_err(|source| Error::Io { what: "cannot start a thread", source })?;
        self.handles.push(Some(handle));
        Ok(())
    }

    /// Joins all threads that end by the deadline; whether these were all.
    fn join(&mut self, deadline: crate::clock::Instant) -> bool {
        let running = self.handles.iter().filter(|handle| handle.is_some()).count();
        for _ in 0..running {
            // A thread that was told to end needs a moment even if the deadline has passed.
            let left = deadline.since(crate::clock::Instant::now()).max(Duration::from_millis(50));
            let Ok(index) = self.ends.recv_timeout(left) else { return false };
            if let Some(handle) = self.handles[index].take() {
                let _ = handle.join();
            }
        }
        true
    }
}

/// Reports the end of a thread, also if it panics.
struct SendAtEnd(channel::Sender<usize>, usize);

impl Drop for SendAtEnd {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

/// Why a question to the harbor has no answer of its own kind.
fn no_answer(answer: &HarborAnswer) -> CallError {
    match answer {
        HarborAnswer::Full => CallError::Full,
        HarborAnswer::Registered
        | HarborAnswer::NameTaken(_)
        | HarborAnswer::Found(_)
        | HarborAnswer::NotFound
        | HarborAnswer::Up
        | HarborAnswer::Down
        | HarborAnswer::Status(_) => CallError::Dropped,
    }
}

/// What the harbor is told, if the node has links.
fn links(config: &Config) -> Option<harbor::Settings> {
    let join = || {
        let listen = config.listen_address()?.to_owned();
        let advertise = config.advertised_address().map(str::to_owned);
        Some(harbor::Join { listen, advertise, master: config.master_address()? })
    };
    let (join, master) = match config.role() {
        Role::Alone => return None,
        Role::Slave => (join(), None),
        Role::Standalone => (join(), config.standalone.clone()),
        Role::Master => (None, config.standalone.clone()),
    };
    let capabilities = harbor::Hello::PULSE | harbor::Hello::READS_COMPRESSED;
    let hello = Some(harbor::Hello { incarnation: Instant::unix_millis(), capabilities });
    let bounds = bounds(config);
    let (own, compress) = (config.harbor, config.compress);
    Some(harbor::Settings { own, join, master, hello, compress, bounds, seed: seed() })
}

/// What the configuration says of links.
fn bounds(config: &Config) -> harbor::Bounds {
    harbor::Bounds {
        heartbeat: config.heartbeat,
        heartbeat_deadline: config.heartbeat_deadline,
        stall_time_max: config.stall_deadline,
        pause_time_max: config.pause_deadline,
        ..harbor::Bounds::within(config.memory)
    }
}

type OnEvent = Box<dyn FnMut(&harbor::Event) + Send>;

/// What the master says to a leased id.
#[derive(Debug)]
enum Verdict {
    Taken,
    Refused,
    /// It could not be asked.
    Unknown,
}

fn verdict_of(event: &harbor::Event) -> Option<Verdict> {
    match event {
        harbor::Event::MasterUp => Some(Verdict::Taken),
        harbor::Event::Refused { .. } => Some(Verdict::Refused),
        harbor::Event::ConnectFailed { .. } => Some(Verdict::Unknown),
        _ => None,
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Limit(error) => Self::Lease(error),
            Denied::File(source) => Self::Io { what: "cannot remember the leased harbor id", source },
        }
    }
}

/// Listeners whose outcome is not known yet, with their addresses.
struct Opening {
    waiting: Vec<(harbor::Listener, String)>,
    outcomes: channel::Receiver<(harbor::Listener, Result<(), io::ErrorKind>)>,
}

impl Opening {
    /// Takes the outcomes that are there.
    fn poll(&mut self) -> Result<(), Error> {
        while let Ok((listener, outcome)) = self.outcomes.try_recv() {
            self.take(listener, outcome)?;
        }
        Ok(())
    }

    /// Waits for all outcomes, at most [`LISTEN_TIME_MAX`](crate::limits::LISTEN_TIME_MAX).
    fn wait(mut self) -> Result<(), Error> {
        let deadline = crate::clock::Instant::now() + crate::limits::LISTEN_TIME_MAX;
        while let Some(&(next, _)) = self.waiting.first() {
            let left = deadline.since(crate::clock::Instant::now());
            match self.outcomes.recv_timeout(left) {
                Ok((listener, outcome)) => self.take(listener, outcome)?,
                Err(_) => self.take(next, Err(io::ErrorKind::TimedOut))?,
            }
        }
        Ok(())
    }

    fn take(&mut self, listener: harbor::Listener, outcome: Result<(), io::ErrorKind>) -> Result<(), Error> {
        let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == listener) else {
            return Ok(());
        };
        let (_, address) = self.waiting.swap_remove(at);
        outcome.map_err(|reason| Error::Listen { address, reason })
    }
}

/// The I/O thread and its resolver. The listeners are open, or wait for their hosts to be resolved.
fn open(
    links: harbor::Settings,
    bell: PollerBell,
    lanes: LaneReceiver<Outgoing>,
    runtime: &Runtime,
    settings: net::Settings,
) -> Result<((IoThread, Resolver), Opening), Error> {
    let address_of_links = links.join.as_ref().map(|join| (harbor::Listener::Links, join.listen.clone()));
    let address_of_master = links.master.clone().map(|master| (harbor::Listener::Master, master));
    let waiting: Vec<_> = address_of_links.into_iter().chain(address_of_master).collect();
    let (sender, outcomes) = channel::bounded(waiting.len());
    // There is room for each listener's one outcome.
    let on_listening = move |listener, outcome| {
        let _ = sender.try_send((listener, outcome));
    };
    let settings = net::Settings { on_listening: Box::new(on_listening), ..settings };
    let opened = IoThread::new(settings, bell, Harbor::new(links), runtime.inlet(), lanes);
    let mut opening = Opening { waiting, outcomes };
    opening.poll()?;
    Ok((opened, opening))
}

/// A number that another start, another process and another machine do not have: where this incarnation's service ids
/// begin, so that a handle of an old incarnation does not soon name a new service; what back-offs are drawn from.
fn seed() -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), crate::clock::Instant::now().nanos())
}
