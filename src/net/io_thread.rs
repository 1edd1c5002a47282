//! The run loop of the I/O thread: it sleeps in the poller and wakes to a turn at the [helm](super::helm).

use super::bell::PollerBell;
use super::counters::IoCounters;
use super::helm::Helm;
use super::resolver::Resolver;
use super::system::{self, Events};
use crate::clock::Instant;
use crate::harbor::{Event, Harbor, Listener};
use crate::limits::{
    EVENTS_MAX, IO_BUSY_POLL_TIME, IO_CROWDED_TIME, IO_YIELD_TIME_MAX, UNREACHABLE_TIME_MAX,
};
use crate::queue::LaneReceiver;
use crate::runtime::{Inlet, Outgoing};
use crate::sync::{Doorbell, Mutex};
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

/// How an I/O thread runs.
pub struct Settings {
    /// How long it looks on for more after work before it sleeps. A message that comes meanwhile costs no wake-up; the
    /// thread takes its CPU as long as nobody else wants it.
    pub busy_poll: Duration,
    /// How long a peer's machine may be unreachable before its connections end.
    pub unreachable: Duration,
    /// Told what happens to links, in order, on the I/O thread or on the thread of a sender that stands in for it: it
    /// must not block.
    pub on_event: Box<dyn FnMut(&Event) + Send>,
    /// Told once for each listener how opening it went: by [`IoThread::new`] if that shows at once, on the I/O thread if
    /// its host has to be resolved. It must not block.
    pub on_listening: Box<dyn FnMut(Listener, Result<(), io::ErrorKind>) + Send>,
}

impl Default for Settings {
    fn default() -> Self {
        let (on_event, on_listening) = (Box::new(|_: &Event| ()), Box::new(|_, _| ()));
        let unreachable = UNREACHABLE_TIME_MAX;
        Self { busy_poll: IO_BUSY_POLL_TIME, unreachable, on_event, on_listening }
    }
}

/// All sockets of a node and the machine that decides about them; see the module's text.
pub struct IoThread {
    helm: Arc<Mutex<Helm>>,
    bell: PollerBell,
    doorbell: Arc<Doorbell>,
    look_on: LookOn,
    /// What the last wait reported.
    events: Events,
    ready: Vec<system::Event>,
}

impl IoThread {
    /// An I/O thread and its resolver, which wait for their threads. Opens the listeners: if one fails at once,
    /// `settings.on_event` hears [`Event::ListenFailed`] before this returns.
    ///
    /// `bell` must be the one that the doorbell of `lanes` rings, and of no other I/O thread.
    pub fn new(
        settings: Settings,
        bell: PollerBell,
        harbor: Harbor,
        inlet: Inlet,
        lanes: LaneReceiver<Outgoing>,
    ) -> (Self, Resolver) {
        let doorbell = Arc::clone(lanes.doorbell());
        let look_on = LookOn::new(settings.busy_poll);
        let (mut helm, resolver) = Helm::new(settings, bell.clone(), harbor, inlet, lanes);
        helm.start(Instant::now());
        let helm = Arc::new(Mutex::new(helm));
        bell.seat(&helm);
        let io_thread = Self {
            helm,
            bell,
            doorbell,
            look_on,
            events: Events::with_capacity(EVENTS_MAX),
            ready: Vec::with_capacity(EVENTS_MAX.get()),
        };
        (io_thread, resolver)
    }

    /// What this thread counts, to be read on any thread.
    pub fn counters(&self) -> Arc<IoCounters> {
        Arc::clone(self.helm.lock().counters())
    }

    /// Turns until the node has left, then hands back what it could not send. Call it on a thread of its own.
    ///
    /// # Errors
    /// The poller's, after which the node has no links any more. Calls that wait for them have been failed.
    ///
    /// # Panics
    /// If it or whoever hears its events does. All who wait have been told then, as far as that can still be done.
    pub fn run(mut self) -> io::Result<()> {
        let ended = catch_unwind(AssertUnwindSafe(|| self.turns()));
        if ended.is_err() {
            tracing::error!("the I/O thread panicked: this node has no links any more");
        }
        let told = catch_unwind(AssertUnwindSafe(|| self.helm.lock().finish(Instant::now())));
        if told.is_err() {
            self.helm.lock().close_lanes();
        }
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn turns(&mut self) -> io::Result<()> {
        loop {
            match self.turn(None) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(()),
                Err(error) => {
                    tracing::error!(%error, "the poller failed");
                    return Err(error);
                }
            }
        }
    }

    /// One turn; breaks when a [`HarborRequest::Leave`](crate::message::HarborRequest::Leave) is done or given up. Waits
    /// for at most `patience`, if there is any; for ever, if nothing has a deadline.
    ///
    /// # Errors
    /// The poller's.
    pub fn turn(&mut self, patience: Option<Duration>) -> io::Result<ControlFlow<()>> {
        // 1. Wait.
        self.wait(patience)?;
        self.ready.clear();
        self.ready.extend(self.events.iter());
        // 2. What came and what goes; the rest of the steps are the helm's.
        let now = Instant::now();
        let mut helm = self.helm.lock();
        let was_busy = helm.turn(now, &self.ready);
        self.look_on.turned(now, was_busy);
        Ok(if helm.has_ended(now) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Waits for sockets, lanes, resolved names or a deadline. Before it sleeps, senders are told to ring, and the helm
    /// is free for them.
    fn wait(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        let Self { helm, bell, doorbell, look_on, events, .. } = self;
        events.clear();
        let poll = |events: &mut Events, patience| bell.poller().wait(events, patience).map(drop);
        let mut helm = helm.lock();
        let deadline = helm.deadline();
        let is_finite = deadline < Instant::FAR;
        let now = if is_finite || look_on.is_on() { Instant::now() } else { Instant::default() };
        let patience = is_finite.then(|| deadline.since(now)).into_iter().chain(at_most).min();
        let is_awake = helm.has_work() || look_on.lasts(now) || patience == Some(Duration::ZERO);
        if !is_awake {
            doorbell.prepare();
            // Looked at once more, after the announcement.
            if !helm.has_work() {
                helm.sleep_until(deadline);
                drop(helm);
                let waited = poll(events, patience);
                doorbell.cancel();
                return waited;
            }
            doorbell.cancel();
        }
        let has_work = helm.has_work();
        drop(helm);
        if !has_work {
            look_on.give_way();
        }
        poll(events, Some(Duration::ZERO))
    }

    /// Drops all sockets, fails what waits for them and hands back what lies in the lanes. For a host that turns by itself.
    pub fn finish(self) {
        self.helm.lock().finish(Instant::now());
    }
}

/// After work the thread looks on for more before it sleeps: a message that comes meanwhile wakes nobody. Where others
/// want its CPU it does not, since who gives way to them comes back late, and who sleeps is woken at once.
struct LookOn {
    time: Duration,
    until: Instant,
    crowded_until: Instant,
    was_busy: bool,
}

impl LookOn {
    fn new(time: Duration) -> Self {
        Self { time, until: Instant::default(), crowded_until: Instant::default(), was_busy: false }
    }

    /// A turn ended.
    fn turned(&mut self, now: Instant, was_busy: bool) {
        self.was_busy = was_busy;
        if was_busy && now >= self.crowded_until {
            self.until = now + self.time;
        }
    }

    /// Whether the clock must be read to know if it lasts.
    fn is_on(&self) -> bool {
        self.until > Instant::default()
    }

    /// Whether the thread still looks on.
    fn lasts(&mut self, now: Instant) -> bool {
        let lasts = now < self.until;
        if !lasts {
            self.until = Instant::default();
        }
        lasts
    }

    /// Lets others have the CPU, if the last turn had nothing to do.
    fn give_way(&mut self) {
        if self.was_busy {
            return;
        }
        let start = Instant::now();
        crate::sync::thread::yield_now();
        let now = Instant::now();
        if now.since(start) > IO_YIELD_TIME_MAX {
            self.until = Instant::default();
            self.crowded_until = now + IO_CROWDED_TIME;
        }
    }
}
