//! The helm: the machine, its sockets and the way to the services. Whoever holds its lock does the work of the I/O
//! thread: that thread itself, or a sender while it sleeps.
//!
//! Waking a sleeping thread takes longer than a short write, and the woken thread needs a CPU that another may have. So
//! who sends to a peer while the I/O thread sleeps **stands in** for it: takes what lies in the lanes, has the machine
//! encode it and writes it, as a worker of a real node does (Skynet's `socket_server.c`, direct write). Somebody who
//! sends much would write each message alone; so who comes again within [`STAND_IN_PAUSE`] wakes the thread instead,
//! which then batches. Names, joins and leaves are left to the thread.

use super::bell::PollerBell;
use super::connections::{Connections, Outcome};
use super::counters::{IoCount, IoCounters};
use super::io_thread::Settings;
use super::journal;
use super::listeners::Listeners;
use super::reactor::{Key, Reactor};
use super::resolver::Resolver;
use super::system;
use crate::clock::Instant;
use crate::harbor::{Action, Event, Harbor, Listener};
use crate::limits::{
    LANE_LOOKS_MAX, LANE_MESSAGES_MAX, LEAVE_TIME_MAX, LINGER_TIME_MAX, READ_BYTES, SLOTS, STAND_IN_PAUSE,
    UPLINK_TURN_MESSAGES_MAX,
};
use crate::message::{Envelope, HarborRequest, SendError, SendReason};
use crate::queue::LaneReceiver;
use crate::runtime::{Inlet, Outgoing};
use std::io;
use std::sync::Arc;

/// The lane of requests; lane `n` carries messages to node `n`.
const REQUESTS: usize = 0;

/// See the module's text. Whoever unlocks it leaves the inlet offline.
pub(super) struct Helm {
    harbor: Harbor,
    inlet: Inlet,
    lanes: LaneReceiver<Outgoing>,
    reactor: Reactor,
    listeners: Listeners,
    connections: Connections,
    on_event: Box<dyn FnMut(&Event) + Send>,
    on_listening: Box<dyn FnMut(Listener, Result<(), io::ErrorKind>) + Send>,
    /// A leave was asked for, and the machine does not know yet.
    leave_asked: bool,
    /// When a leave that was asked for is given up.
    leave_by: Option<Instant>,
    /// Until when the I/O thread sleeps if nobody rings.
    sleeps_until: Instant,
    /// When a sender last stood in.
    stood_in: Option<Instant>,
    /// Nobody comes any more.
    is_finished: bool,
    /// Somebody panicked while standing in: nothing here can be relied on.
    is_broken: bool,
    /// Memory that turns use again: this turn's messages, the bytes of one read.
    outgoing: Vec<Outgoing>,
    buffer: Box<[u8]>,
}

impl Helm {
    pub(super) fn new(
        settings: Settings,
        bell: PollerBell,
        harbor: Harbor,
        inlet: Inlet,
        lanes: LaneReceiver<Outgoing>,
    ) -> (Self, Resolver) {
        let (reactor, resolver) = Reactor::new(bell, settings.unreachable);
        let helm = Self {
            harbor,
            inlet,
            lanes,
            reactor,
            listeners: Listeners::default(),
            connections: Connections::default(),
            on_event: settings.on_event,
            on_listening: settings.on_listening,
            leave_asked: false,
            leave_by: None,
            sleeps_until: Instant::FAR,
            stood_in: None,
            is_finished: false,
            is_broken: false,
            outgoing: Vec::with_capacity(UPLINK_TURN_MESSAGES_MAX),
            buffer: vec![0; READ_BYTES].into(),
        };
        (helm, resolver)
    }

    /// Opens the listeners.
    pub(super) fn start(&mut self, now: Instant) {
        self.inlet.online();
        self.harbor.start(now);
        self.perform(now);
        self.inlet.offline();
    }

    pub(super) fn counters(&self) -> &Arc<IoCounters> {
        self.reactor.counters()
    }

    /// Whether something is to be done before the I/O thread may sleep.
    pub(super) fn has_work(&self) -> bool {
        self.connections.queued() > 0 || self.lanes.has_dirty() || self.leave_asked
    }

    /// When something is to be done although nobody rings; [`Instant::FAR`] if never.
    pub(super) fn deadline(&self) -> Instant {
        let deadlines = [self.harbor.poll_timeout(), self.reactor.next_deadline(), self.leave_by];
        deadlines.into_iter().flatten().min().unwrap_or(Instant::FAR)
    }

    /// The I/O thread is about to sleep until then.
    pub(super) fn sleep_until(&mut self, deadline: Instant) {
        self.reactor.count(IoCount::Sleeps, 1);
        self.sleeps_until = deadline;
    }

    /// Nobody may do anything here any more.
    pub(super) fn give_up(&mut self) {
        self.is_broken = true;
        self.is_finished = true;
        self.inlet.offline();
    }

    /// What follows a wait of the I/O thread. Whether there was something to do.
    ///
    /// # Panics
    /// If a sender panicked here.
    pub(super) fn turn(&mut self, now: Instant, ready: &[system::Event]) -> bool {
        assert!(!self.is_broken, "a sender panicked while it stood in");
        self.inlet.online();
        self.reactor.count(IoCount::Turns, 1);
        // 2. What services send.
        let taken = self.take_outgoing(now);
        // 3. What sockets brought.
        self.handle_ready(now, ready);
        self.handle_answers(now);
        // 4. Deadlines.
        self.handle_deadlines(now);
        // 5. Workers begin with what was delivered while this thread writes.
        self.wake_workers();
        // 6. What goes out, one write per connection, and what services answered meanwhile.
        self.flush(now);
        for _ in 0..LANE_LOOKS_MAX {
            if !self.lanes.has_dirty() {
                break;
            }
            self.take_outgoing(now);
            self.flush(now);
        }
        // 7. Workers hear of what the writes brought.
        self.inlet.offline();
        taken > 0 || !ready.is_empty()
    }

    /// Does the work of the sleeping I/O thread, on the thread of a sender. False: that one must be woken.
    pub(super) fn stand_in(&mut self, now: Instant) -> bool {
        let is_again = self.stood_in.is_some_and(|last| now.since(last) < STAND_IN_PAUSE);
        let is_more = self.leave_asked || self.connections.queued() > 0 || self.lanes.is_dirty(REQUESTS);
        if is_again || is_more || self.is_finished {
            return false;
        }
        self.inlet.online();
        self.reactor.count(IoCount::StandIns, 1);
        self.take_outgoing(now);
        self.flush(now);
        self.inlet.offline();
        self.stood_in = Some(now);
        !self.has_work() && self.deadline() >= self.sleeps_until
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
            match request {
                // The call that is over may be among the messages.
                Outgoing::Ask(HarborRequest::Forget { .. }) => messages.push(request),
                Outgoing::Ask(_) | Outgoing::Send(_) => self.handle_outgoing(now, request),
            }
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
    fn handle_ready(&mut self, now: Instant, ready: &[system::Event]) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for event in ready {
            if let Some(listener) = Key::of(event).as_listener() {
                self.accept(now, listener);
                continue;
            }
            let len = if self.harbor.is_short_of_memory() { self.room(now, event) } else { READ_BYTES };
            let outcome = self.connections.handle_event(now, &mut self.reactor, event, &mut buffer[..len]);
            self.tell(now, outcome);
            self.wake_workers();
        }
        self.buffer = buffer;
    }

    /// How much may be read of a connection now that memory is short.
    fn room(&mut self, now: Instant, event: &system::Event) -> usize {
        let Some(conn) = self.connections.conn(event).filter(|_| event.readable) else { return READ_BYTES };
        let room = self.harbor.room(now, conn);
        self.perform(now);
        room
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
                Action::Probe { conn } => self.connections.probe(now, &mut self.reactor, conn),
                Action::Pause { conn } => {
                    self.reactor.count(IoCount::Pauses, 1);
                    self.connections.set_reading(conn, false);
                }
                Action::Resume { conn } => self.connections.set_reading(conn, true),
                Action::Deliver(envelope) => {
                    let delivered = self.inlet.deliver(envelope);
                    self.note_delivered(now, delivered);
                }
                Action::Complete(envelope) => {
                    let delivered = self.inlet.complete(envelope);
                    self.note_delivered(now, delivered);
                }
                Action::Answer { waiter, answer } => self.inlet.answer(waiter, answer),
                Action::Publish { name, handle } => {
                    // It ended before the master had said that the name is its.
                    if !self.inlet.publish(name, handle) {
                        self.harbor.handle_request(now, HarborRequest::Ended { handle });
                    }
                }
                Action::Retract { name } => self.inlet.retract(name),
                Action::Event(event) => {
                    journal::log(&event);
                    (self.on_event)(&event);
                }
            }
        }
        self.harbor.note_mailboxes(self.inlet.memory());
        while let Some(conn) = self.harbor.poll_transmit() {
            self.connections.queue(conn);
        }
    }

    /// Counts a delivery, and tells the machine why there was none.
    fn note_delivered(&mut self, now: Instant, delivered: Result<(), SendError<Envelope>>) {
        match delivered {
            Ok(()) => self.reactor.count(IoCount::Delivered, 1),
            Err(SendError { reason: SendReason::Full, message }) => {
                self.reactor.count(IoCount::Overflowed, 1);
                self.harbor.handle_overflow(now, message);
            }
            Err(SendError { message, .. }) => {
                self.reactor.count(IoCount::Undelivered, 1);
                self.harbor.handle_undeliverable(now, message);
            }
        }
    }

    fn tell_listening(
        &mut self,
        now: Instant,
        listener: Listener,
        result: Option<Result<String, io::ErrorKind>>,
    ) {
        if let Some(result) = result {
            (self.on_listening)(listener, result.as_ref().map(|_| ()).map_err(|kind| *kind));
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

    /// Whether the node has left, or leaving takes too long.
    pub(super) fn has_ended(&self, now: Instant) -> bool {
        let has_left = self.harbor.has_left() && self.connections.lingering() == 0;
        has_left || self.leave_by.is_some_and(|deadline| deadline <= now)
    }

    /// Drops all sockets, fails what waits for them and hands back what lies in the lanes, which take nothing any more.
    pub(super) fn finish(&mut self, now: Instant) {
        self.is_finished = true;
        self.inlet.online();
        for listener in [Listener::Links, Listener::Master] {
            self.listeners.close(listener);
        }
        for conn in self.connections.drop_all() {
            self.harbor.handle_closed(now, conn);
            self.perform(now);
        }
        // Without connections this is done at once; it fails what is held, and answers who waits.
        self.harbor.handle_request(now, HarborRequest::Leave);
        self.perform(now);
        self.close_lanes();
    }

    /// Hands back what lies in the lanes, which take nothing any more.
    pub(super) fn close_lanes(&mut self) {
        self.is_finished = true;
        self.inlet.online();
        let Self { lanes, inlet, .. } = self;
        lanes.close(|outgoing| inlet.refuse(outgoing));
        self.inlet.offline();
    }
}
