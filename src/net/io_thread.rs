//! The run loop of the I/O thread.

use super::bell::PollerBell;
use super::connections::{Connections, Outcome};
use super::counters::{IoCount, IoCounters};
use super::journal;
use super::listeners::Listeners;
use super::reactor::{Key, Reactor};
use super::resolver::Resolver;
use crate::clock::Instant;
use crate::harbor::{Action, Event, Harbor, Listener};
use crate::limits::{
    EVENTS_MAX, LANE_MESSAGES_MAX, LEAVE_TIME_MAX, LINGER_TIME_MAX, READ_BYTES, SLOTS,
    UPLINK_TURN_MESSAGES_MAX,
};
use crate::message::HarborRequest;
use crate::queue::LaneReceiver;
use crate::runtime::{Inlet, Outgoing};
use crate::sync::Doorbell;
use polling::Events;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// The lane of requests; lane `n` carries messages to node `n`.
const REQUESTS: usize = 0;

/// How an I/O thread runs.
pub struct Settings {
    /// How long it looks on for work before it sleeps, in which a message costs no wake-up and the thread a whole CPU.
    pub busy_poll: Duration,
    /// Told what happens to links, in order, on the I/O thread: it must not block.
    pub on_event: Box<dyn FnMut(&Event) + Send>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { busy_poll: Duration::ZERO, on_event: Box::new(|_| ()) }
    }
}

/// All sockets of a node and the machine that decides about them; see the module's text.
pub struct IoThread {
    harbor: Harbor,
    inlet: Inlet,
    lanes: LaneReceiver<Outgoing>,
    doorbell: Arc<Doorbell>,
    reactor: Reactor,
    listeners: Listeners,
    connections: Connections,
    settings: Settings,
    /// It does not sleep before this.
    busy_until: Instant,
    /// A leave was asked for, and the machine does not know yet.
    leave_asked: bool,
    /// When a leave that was asked for is given up.
    leave_by: Option<Instant>,
    events: Events,
    /// Memory that turns use again: this wait's events, this turn's messages, the bytes of one read.
    ready: Vec<polling::Event>,
    outgoing: Vec<Outgoing>,
    buffer: Box<[u8]>,
}

impl IoThread {
    /// An I/O thread and its resolver, which wait for their threads. Opens the listeners: if one fails at once,
    /// `settings.on_event` hears [`Event::ListenFailed`] before this returns.
    ///
    /// `bell` must be the one that the doorbell of `lanes` rings.
    pub fn new(
        settings: Settings,
        bell: PollerBell,
        harbor: Harbor,
        inlet: Inlet,
        lanes: LaneReceiver<Outgoing>,
    ) -> (Self, Resolver) {
        let (reactor, resolver) = Reactor::new(bell);
        let doorbell = Arc::clone(lanes.doorbell());
        let mut io_thread = Self {
            harbor,
            inlet,
            lanes,
            doorbell,
            reactor,
            listeners: Listeners::default(),
            connections: Connections::default(),
            settings,
            busy_until: Instant::default(),
            leave_asked: false,
            leave_by: None,
            events: Events::with_capacity(EVENTS_MAX),
            ready: Vec::with_capacity(EVENTS_MAX.get()),
            outgoing: Vec::with_capacity(UPLINK_TURN_MESSAGES_MAX),
            buffer: vec![0; READ_BYTES].into(),
        };
        io_thread.start(Instant::now());
        (io_thread, resolver)
    }

    fn start(&mut self, now: Instant) {
        self.inlet.online();
        self.harbor.start(now);
        self.perform(now);
        self.inlet.offline();
    }

    /// What this thread counts, to be read on any thread.
    pub fn counters(&self) -> Arc<IoCounters> {
        Arc::clone(self.reactor.counters())
    }

    /// Turns until the node has left, then hands back what it could not send. Call it on a thread of its own.
    ///
    /// # Errors
    /// The poller's, after which the node has no links any more. Calls that wait for them have been failed.
    pub fn run(mut self) -> io::Result<()> {
        let result = loop {
            match self.turn(None) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break Ok(()),
                Err(error) => {
                    tracing::error!(%error, "the poller failed");
                    break Err(error);
                }
            }
        };
        self.finish();
        result
    }

    /// One turn; breaks when a [`HarborRequest::Leave`] is done or given up. Waits for at most `patience`, if there is
    /// any; for ever, if nothing has a deadline.
    ///
    /// # Errors
    /// The poller's.
    pub fn turn(&mut self, patience: Option<Duration>) -> io::Result<ControlFlow<()>> {
        // 1. Wait. The workers hear of what the last turn delivered.
        self.inlet.offline();
        self.wait(patience)?;
        self.inlet.online();
        let now = Instant::now();
        self.reactor.count(IoCount::Turns, 1);
        // 2. What services send.
        let taken = self.take_outgoing(now);
        // 3. What sockets brought.
        self.handle_ready(now);
        self.handle_answers(now);
        // 4. Deadlines.
        self.handle_deadlines(now);
        // 5. Workers begin with what was delivered while this thread writes.
        self.wake_workers();
        // 6. What goes out, one write per connection.
        self.flush(now);
        if taken > 0 || !self.ready.is_empty() {
            self.busy_until = now + self.settings.busy_poll;
        }
        Ok(self.has_ended(now))
    }

    /// Waits for sockets, lanes, resolved names or a deadline. Before it sleeps, senders are told to ring.
    fn wait(&mut self, patience: Option<Duration>) -> io::Result<()> {
        let patience = self.patience(patience);
        let Self { lanes, doorbell, reactor, events, .. } = self;
        events.clear();
        let slept = if patience == Some(Duration::ZERO) {
            None
        } else {
            doorbell.sleep(
                || lanes.has_dirty(),
                || {
                    reactor.count(IoCount::Sleeps, 1);
                    reactor.poller().wait(events, patience)
                },
            )
        };
        slept.unwrap_or_else(|| reactor.poller().wait(events, Some(Duration::ZERO)))?;
        self.ready.clear();
        self.ready.extend(self.events.iter());
        Ok(())
    }

    /// How long the wait may take; none = for ever.
    fn patience(&self, at_most: Option<Duration>) -> Option<Duration> {
        if self.connections.queued() > 0 || self.lanes.has_dirty() || self.leave_asked {
            return Some(Duration::ZERO);
        }
        let deadlines = [self.harbor.poll_timeout(), self.reactor.next_deadline(), self.leave_by];
        let deadline = deadlines.into_iter().flatten().min();
        let is_busy_poll = !self.settings.busy_poll.is_zero();
        if deadline.is_none() && !is_busy_poll {
            return at_most;
        }
        let now = Instant::now();
        if self.busy_until > now {
            return Some(Duration::ZERO);
        }
        let patience = deadline.map(|deadline| deadline.since(now));
        patience.into_iter().chain(at_most).min()
    }

    /// Hands the machine what services sent; how many.
    ///
    /// A service that sends to a name and then, when the name is known, to its handle expects that order. The first went
    /// to the lane of requests, the second to the lane of a node. So the lanes of nodes are emptied first and the lane of
    /// requests after them, and what came from that one is handled first: what was in it before any of the others, even
    /// by a sender that was interrupted in between, is among the `LANE_MESSAGES_MAX` that it can hold.
    ///
    /// A leave is the exception: what was sent before it still goes out. So the machine hears of it once the lanes have
    /// been emptied after it was taken.
    fn take_outgoing(&mut self, now: Instant) -> usize {
        let leaves = std::mem::take(&mut self.leave_asked);
        let mut messages = std::mem::take(&mut self.outgoing);
        let is_emptied = self.take_lanes(&mut messages);
        let mut taken = messages.len();
        let requests_end = taken + LANE_MESSAGES_MAX as usize;
        while taken < requests_end
            && let Some(request) = self.lanes.take(REQUESTS)
        {
            self.handle_outgoing(now, request);
            taken += 1;
        }
        if taken == requests_end {
            self.lanes.mark(REQUESTS);
        }
        for message in messages.drain(..) {
            self.handle_outgoing(now, message);
        }
        self.outgoing = messages;
        if leaves && is_emptied {
            self.harbor.handle_request(now, HarborRequest::Leave);
        } else {
            self.leave_asked |= leaves;
        }
        self.reactor.count(IoCount::Taken, taken as u64);
        self.perform(now);
        taken
    }

    /// Takes from the lanes of nodes; whether all of them were emptied.
    fn take_lanes(&mut self, messages: &mut Vec<Outgoing>) -> bool {
        // Each lane once: senders that do not rest could go on for ever.
        for _ in 0..=SLOTS {
            if messages.len() >= UPLINK_TURN_MESSAGES_MAX {
                return false;
            }
            match self.lanes.poll_dirty() {
                Some(REQUESTS) => {}
                Some(lane) => self.take_lane(lane, messages),
                None => return true,
            }
        }
        false
    }

    fn take_lane(&mut self, lane: usize, messages: &mut Vec<Outgoing>) {
        while messages.len() < UPLINK_TURN_MESSAGES_MAX {
            match self.lanes.take(lane) {
                Some(message) => messages.push(message),
                None => return,
            }
        }
        self.lanes.mark(lane);
    }

    fn handle_outgoing(&mut self, now: Instant, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Send(envelope) => self.harbor.handle_send(now, envelope),
            Outgoing::Ask(HarborRequest::Leave) => {
                self.leave_asked = true;
                self.leave_by.get_or_insert(now + LEAVE_TIME_MAX + LINGER_TIME_MAX);
            }
            Outgoing::Ask(request) => self.harbor.handle_request(now, request),
        }
    }

    /// Reads, accepts, ends of dialling: what the wait reported.
    fn handle_ready(&mut self, now: Instant) {
        let ready = std::mem::take(&mut self.ready);
        let mut buffer = std::mem::take(&mut self.buffer);
        for event in &ready {
            if let Some(listener) = Key::of(event).as_listener() {
                self.accept(now, listener);
                continue;
            }
            let outcome = self.connections.handle_event(now, &mut self.reactor, event, &mut buffer);
            self.tell(now, outcome);
            self.wake_workers();
        }
        self.ready = ready;
        self.buffer = buffer;
    }

    /// Wakes a worker if something was delivered, and lets ended services be freed.
    fn wake_workers(&mut self) {
        self.inlet.offline();
        self.inlet.online();
    }

    fn accept(&mut self, now: Instant, listener: Listener) {
        let Self { harbor, reactor, listeners, connections, .. } = self;
        listeners.accept(now, reactor, listener, |reactor, socket| {
            let conn = harbor.handle_accepted(now, listener);
            if let Err(error) = connections.adopt(reactor, conn, socket) {
                tracing::warn!(?listener, %error, "cannot watch a connection");
                harbor.handle_closed(now, conn);
            }
        });
        self.perform(now);
    }

    /// Tells the machine what became of a connection, and does what it wants.
    fn tell(&mut self, now: Instant, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Nothing => return,
            Outcome::Connected(conn) => self.harbor.handle_connected(now, conn),
            Outcome::ConnectFailed(conn, kind) => self.harbor.handle_connect_failed(now, conn, kind),
            Outcome::Bytes(conn, bytes) => self.harbor.handle_bytes(now, conn, bytes),
            Outcome::Closed(conn) => self.harbor.handle_closed(now, conn),
        }
        self.perform(now);
    }

    fn handle_answers(&mut self, now: Instant) {
        while let Some(answer) = self.reactor.poll_answer() {
            match answer.key.as_listener() {
                Some(listener) => {
                    let result = self.listeners.handle_answer(&self.reactor, listener, answer.addresses);
                    self.tell_listening(now, listener, result);
                    self.perform(now);
                }
                None => {
                    let Self { connections, reactor, .. } = self;
                    let outcome = connections.handle_answer(now, reactor, answer.key, answer.addresses);
                    self.tell(now, outcome);
                }
            }
        }
    }

    fn handle_deadlines(&mut self, now: Instant) {
        while let Some(key) = self.reactor.poll_expired(now) {
            match key.as_listener() {
                Some(listener) => self.listeners.handle_deadline(now, &mut self.reactor, listener),
                None => {
                    let outcome = self.connections.handle_deadline(now, &mut self.reactor, key);
                    self.tell(now, outcome);
                }
            }
        }
        if self.harbor.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.harbor.handle_timeout(now);
            self.perform(now);
        }
    }

    /// Does what the machine wants done, in its order. An undeliverable message makes at most one more, an ERROR, which
    /// makes none: the loop ends.
    fn perform(&mut self, now: Instant) {
        while let Some(action) = self.harbor.poll_action() {
            match action {
                Action::Listen { listener, address } => {
                    let result = self.listeners.open(&mut self.reactor, listener, &address);
                    self.tell_listening(now, listener, result);
                }
                Action::StopListening(listener) => self.listeners.close(listener),
                Action::Connect { conn, address } => {
                    if let Outcome::ConnectFailed(conn, kind) =
                        self.connections.connect(now, &mut self.reactor, conn, &address)
                    {
                        self.harbor.handle_connect_failed(now, conn, kind);
                    }
                }
                Action::Close { conn } => self.connections.close(now, &mut self.reactor, conn),
                Action::Deliver(envelope) => match self.inlet.deliver(envelope) {
                    Ok(()) => self.reactor.count(IoCount::Delivered, 1),
                    Err(refused) => {
                        self.reactor.count(IoCount::Undelivered, 1);
                        self.harbor.handle_undeliverable(now, refused.message);
                    }
                },
                Action::Answer { waiter, answer } => self.inlet.answer(waiter, answer),
                Action::Publish { name, handle } => self.inlet.publish(name, handle),
                Action::Retract { name } => self.inlet.retract(name),
                Action::Event(event) => {
                    journal::log(&event);
                    (self.settings.on_event)(&event);
                }
            }
        }
        while let Some(conn) = self.harbor.poll_transmit() {
            self.connections.queue(conn);
        }
    }

    fn tell_listening(
        &mut self,
        now: Instant,
        listener: Listener,
        result: Option<Result<String, io::ErrorKind>>,
    ) {
        if let Some(result) = result {
            self.harbor.handle_listening(now, listener, result);
        }
    }

    /// Writes to each connection that waits for it, once; those that have more are next turn's.
    fn flush(&mut self, now: Instant) {
        for _ in 0..self.connections.queued() {
            let Some(conn) = self.connections.poll_queued() else { return };
            let outbox = self.harbor.outbox(conn);
            if self.connections.write(&self.reactor, conn, outbox) > 0 {
                self.harbor.handle_sent(now, conn);
                self.perform(now);
            }
        }
    }

    fn has_ended(&self, now: Instant) -> ControlFlow<()> {
        let has_left = self.harbor.has_left() && self.connections.lingering() == 0;
        let is_late = self.leave_by.is_some_and(|deadline| deadline <= now);
        if has_left || is_late { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Drops all sockets, fails what waits for them and hands back what lies in the lanes. For a host that turns by itself.
    pub fn finish(mut self) {
        let now = Instant::now();
        self.inlet.online();
        for listener in [Listener::Links, Listener::Master] {
            self.listeners.close(listener);
        }
        for conn in self.connections.drop_all() {
            self.harbor.handle_closed(now, conn);
            self.perform(now);
        }
        for _ in 0..SLOTS {
            let Some(lane) = self.lanes.poll_dirty() else { break };
            for _ in 0..LANE_MESSAGES_MAX {
                let Some(outgoing) = self.lanes.take(lane) else { break };
                self.inlet.refuse(outgoing);
            }
        }
        self.inlet.offline();
    }
}
