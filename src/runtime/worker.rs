//! One worker: takes services from queues and gives each a turn.
//!
//! ```text
//!   next():   global queue now and then → LIFO slot → ring → global queue → another worker's ring
//!   turn():   control lane, then up to TURN_MESSAGES_MAX messages or TURN_TIME_MAX
//!   rest():   look on for a while, then sleep until work or the next alarm
//! ```
//!
//! A worker touches a service only through its token ([`Turn`]); the LIFO slot and the wheel are its own; ring, global queue
//! and sleepers are shared through their types. Between turns it passes a quiescent point.

use super::calls::Expired;
use super::cell::{Cell, Control, Core, Ending, Letter, Turn};
use super::respond::Origin;
use super::shared::{Phase, Shared};
use crate::clock::Instant;
use crate::limits;
use crate::message::{Body, CallError, Envelope, Handle, Kind};
use crate::metrics::{Count, Counters};
use crate::queue::{Participant, Pool, Pop, RunQueue, Wheel};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A tick that some service wants.
#[derive(Clone, Copy)]
struct Alarm {
    local: u32,
    generation: u32,
    at: Instant,
}

/// See the module's text.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) origin: Origin,
    pub(super) counters: Arc<Counters>,
    pub(super) participant: Participant<Cell, Letter>,
    pub(super) pool: Pool<Letter>,
    index: usize,
    lifo: Option<Turn>,
    lifo_turns: u32,
    ring: RunQueue<Turn>,
    pushed: bool,
    searching: bool,
    /// Something was sent away since the last rest: what comes next comes from the I/O thread, which needs a CPU.
    pub(super) sent_away: bool,
    wheel: Wheel<Alarm>,
    alarm: Instant,
    turns: u32,
    /// When the global queue's turn was last due by the clock, and whether it is.
    global_at: Instant,
    global_due: bool,
    pace: Pace,
    victim: usize,
    pub(super) spawning: u32,
}

/// Decides after how many turns the clock is read again: often while turns are long.
struct Pace {
    left: u32,
    interval: u32,
    last: Instant,
}

impl Pace {
    const INTERVAL_MAX: u32 = 64;
    const ELAPSED_TARGET_NANOS: u64 = 20_000;

    fn passed(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }

    /// Whether a turn takes long enough that whoever waits behind it should rather be taken by another worker.
    fn is_slow(&self) -> bool {
        self.interval == 1
    }

    fn read(&mut self, now: Instant) {
        let elapsed = now.since(self.last).as_nanos() as u64;
        self.interval = match elapsed {
            ..Self::ELAPSED_TARGET_NANOS => (self.interval * 2).min(Self::INTERVAL_MAX),
            _ => (self.interval / 4).max(1),
        };
        self.left = self.interval;
        self.last = now;
    }
}

/// Why a turn ended.
enum Verdict {
    /// The mailbox is empty.
    Empty,
    /// More to do.
    Again,
    /// The service ended.
    Ended(Ending),
}

impl Worker {
    pub(crate) fn new(shared: &Arc<Shared>, index: usize, ring: RunQueue<Turn>) -> Self {
        let now = shared.now();
        Self {
            origin: Origin::default(),
            counters: Arc::clone(&shared.counters[index]),
            participant: shared.directory.register(),
            pool: Pool::new(&shared.depot),
            index,
            lifo: None,
            lifo_turns: 0,
            ring,
            pushed: false,
            searching: false,
            sent_away: false,
            wheel: Wheel::new(now),
            alarm: Instant::FAR,
            turns: 0,
            global_at: now,
            global_due: false,
            pace: Pace { left: 1, interval: 2, last: now },
            victim: index,
            spawning: 0,
            shared: Arc::clone(shared),
        }
    }

    /// The worker's thread: until the node stops.
    pub(crate) fn run(&mut self) {
        self.participant.online();
        while self.shared.phase() != Phase::Stopped {
            match self.next() {
                Some(token) => {
                    self.end_search();
                    self.step(token);
                }
                None => self.rest(),
            }
        }
        self.participant.offline();
        self.reclaim();
    }

    /// Work was found: the last one who searched sees to it that another takes what else there is.
    fn end_search(&mut self) {
        if std::mem::take(&mut self.searching) {
            let shared = &self.shared;
            shared.crew.end_search(|| shared.has_work());
        }
    }

    /// One turn and what follows it.
    pub(crate) fn step(&mut self, token: Turn) {
        // 1. The service's turn.
        self.turn(token);
        self.counters.add(Count::Turns, 1);
        // 2. Nothing of the directory is held here.
        self.participant.quiescent();
        // 3. Whoever sleeps may take what was pushed to the ring.
        if std::mem::take(&mut self.pushed) {
            self.shared.crew.ring();
        }
        // 4. Alarms and the dead, now and then.
        if self.pace.passed() {
            let now = self.shared.now();
            self.pace.read(now);
            self.ring_alarms(now);
            self.reclaim();
            if now.since(self.global_at) >= limits::GLOBAL_TIME_MAX {
                self.global_at = now;
                self.global_due = true;
            }
        }
    }

    /// The next service to run, without waiting.
    fn next(&mut self) -> Option<Turn> {
        self.turns = self.turns.wrapping_add(1);
        let is_due = std::mem::take(&mut self.global_due);
        if (is_due || self.turns.is_multiple_of(limits::GLOBAL_TURNS_MAX))
            && let Some(token) = self.shared.global.pop().taken()
        {
            return Some(token);
        }
        if self.lifo_turns < limits::LIFO_TURNS_MAX
            && let Some(token) = self.lifo.take()
        {
            self.lifo_turns += 1;
            return Some(token);
        }
        self.lifo_turns = 0;
        let queued = self.ring.pop().or_else(|| self.shared.global.pop_into(&self.ring).taken());
        queued.or_else(|| self.lifo.take()).or_else(|| self.steal())
    }

    fn steal(&mut self) -> Option<Turn> {
        let workers = self.shared.stealers.len();
        for _ in 1..workers {
            self.victim = (self.victim + 1) % workers;
            if self.victim == self.index {
                self.victim = (self.victim + 1) % workers;
            }
            if let Some(token) = self.shared.stealers[self.victim].steal(&self.ring).taken() {
                self.counters.add(Count::Steals, 1);
                return Some(token);
            }
        }
        None
    }

    /// Nothing to do: looks on for a while, then sleeps.
    fn rest(&mut self) {
        // 1. Alarms and the dead.
        let now = self.shared.now();
        self.pace.read(now);
        self.ring_alarms(now);
        self.reclaim();
        if self.has_own_work() {
            return;
        }
        // 2. Look on, as one who searches, unless the I/O thread waits for this CPU.
        let shared = Arc::clone(&self.shared);
        self.searching = self.searching || shared.crew.start_search();
        let is_patient = !std::mem::take(&mut self.sent_away);
        if self.searching && is_patient && self.look_on(now) {
            return;
        }
        // 3. Announce the sleep, look once more, sleep.
        shared.serve(self.index, Handle::NONE);
        self.participant.offline();
        shared.crew.prepare(self.index, self.searching);
        // What ended is looked for after the announcement, as all work is: whoever holds it up rings when it goes offline.
        self.reclaim();
        if self.has_own_work() || shared.has_work() || shared.phase() == Phase::Stopped {
            shared.crew.cancel(self.index);
        } else {
            let alarm = (self.alarm < Instant::FAR).then(|| self.alarm.since(shared.now()));
            self.counters.add(Count::Parks, 1);
            shared.crew.park(self.index, alarm);
        }
        self.searching = true;
        self.participant.online();
    }

    /// Whether something waits that this worker alone knows of, or that it has put into its ring.
    fn has_own_work(&self) -> bool {
        self.lifo.is_some() || !self.ring.is_empty()
    }

    /// Looks into all queues until the spin time is over; whether something came, which then lies in the ring.
    fn look_on(&mut self, since: Instant) -> bool {
        let until = since + self.shared.spin;
        loop {
            if let Some(token) = self.found() {
                self.push(token);
                return true;
            }
            if self.shared.now() >= until || self.alarm <= until {
                return false;
            }
            self.participant.quiescent();
            crate::sync::spin_loop();
        }
    }

    fn found(&mut self) -> Option<Turn> {
        self.shared.global.pop_into(&self.ring).taken().or_else(|| self.steal())
    }

    /// Gives a service its turn.
    fn turn(&mut self, mut token: Turn) {
        let mut spent = 0;
        let mut since = None;
        self.shared.serve(self.index, token.state().core.handle);
        loop {
            let run = catch_unwind(AssertUnwindSafe(|| self.messages(&mut token, &mut spent, &mut since)));
            match run {
                Ok(Verdict::Empty) => match token.idle() {
                    Ok(()) => return,
                    Err(back) => token = back,
                },
                Ok(Verdict::Again) => return self.push(token),
                Ok(Verdict::Ended(ending)) => return self.end(token, ending),
                Err(_panic) => {
                    self.counters.add(Count::Panics, 1);
                    let handle = token.state().core.handle;
                    self.settle(handle, CallError::Panicked);
                    // Those that wait behind the one that panicked were never begun.
                    return self.end(token, Ending { reason: CallError::NoService, stop: false });
                }
            }
        }
    }

    fn messages(&mut self, token: &mut Turn, spent: &mut u32, since: &mut Option<Instant>) -> Verdict {
        loop {
            // 1. What overtakes messages.
            if token.has_control() {
                for letter in token.take_control() {
                    self.control(token.state(), letter);
                }
                if let Some(ending) = token.state().core.ending {
                    return Verdict::Ended(ending);
                }
            }
            // 2. The turn's budget.
            if *spent >= limits::TURN_MESSAGES_MAX || self.exceeds_time(*spent, since) {
                return Verdict::Again;
            }
            *spent += 1;
            // 3. A callee died: its calls end before anything else happens.
            if self.sweep_calls(token.state()) {
                continue;
            }
            // 4. A call that failed when it was made, and a message: neither keeps the other waiting.
            let has_failed = self.end_failed_call(token.state());
            if token.state().core.ending.is_none() {
                match token.pop(&mut self.pool) {
                    Pop::Message(letter) => self.dispatch(token.state(), letter),
                    Pop::Empty if has_failed => {}
                    Pop::Empty => return Verdict::Empty,
                    Pop::Gap => return Verdict::Again,
                }
            }
            if let Some(ending) = token.state().core.ending {
                return Verdict::Ended(ending);
            }
        }
    }

    /// Whether the turn's time is over; the clock is read at powers of two, so that short turns never read it.
    fn exceeds_time(&self, spent: u32, since: &mut Option<Instant>) -> bool {
        if !spent.is_power_of_two() {
            return false;
        }
        let now = self.shared.now();
        now.since(*since.get_or_insert(now)) > limits::TURN_TIME_MAX
    }

    /// Hands one message to its service.
    fn dispatch(&mut self, cell: &mut Cell, letter: Letter) {
        let Cell { core, service: Some(service) } = cell else {
            return self.discard(letter, CallError::NoService);
        };
        self.counters.add(Count::Delivered, 1);
        match letter {
            Letter::Request(envelope, invoke) => {
                self.origin = Origin::of(&envelope);
                if let Body::Typed(parcel) = envelope.body {
                    invoke(&mut **service, core, self, parcel);
                }
            }
            Letter::Envelope(envelope) => match envelope.kind {
                Kind::RESPONSE | Kind::ERROR => self.answered(cell, envelope),
                _ => service.receive(core, self, envelope),
            },
            Letter::Control(_) => {}
        }
    }

    /// An answer: runs the continuation that waits for it. A late one, whose call is over, is counted and dropped. An ERROR
    /// without a session says that its source is dead: all calls to it end. (Those to other nodes are the harbor's to end. It
    /// knows which they are, and a look through all calls for each word of a peer would stop a service that has many.)
    fn answered(&mut self, cell: &mut Cell, envelope: Envelope) {
        let Cell { core, service: Some(service) } = cell else { return };
        if envelope.kind == Kind::ERROR && !envelope.session.wants_answer() {
            let is_ours = self.is_local(envelope.source);
            if let Some(calls) = core.calls.as_mut().filter(|_| is_ours) {
                calls.begin_sweep(envelope.source);
            }
            return;
        }
        let closed = core.calls.as_mut().and_then(|calls| calls.close(envelope.session));
        let Some((callee, continuation)) = closed else { return self.counters.add(Count::Late, 1) };
        if callee.is_away(self.shared.harbor) && self.is_local(envelope.source) {
            // The callee passed the request back to this node: the harbor did not see the answer.
            self.shared.forget(core.handle, envelope.session, callee);
        }
        let result = match envelope.body {
            Body::Failure(reason) => Err(reason),
            _ if envelope.kind == Kind::ERROR => Err(CallError::Remote),
            body => Ok(body),
        };
        self.origin = Origin::default();
        (continuation.resume)(&mut **service, core, self, continuation.closure, result);
    }

    /// Whether a service of this node has this handle.
    fn is_local(&self, handle: Handle) -> bool {
        !handle.is_none() && !handle.is_remote(self.shared.harbor)
    }

    /// Goes on with the search for calls of a dead callee, by one step; whether there was something to do.
    fn sweep_calls(&mut self, cell: &mut Cell) -> bool {
        let Some(calls) = cell.core.calls.as_mut().filter(|calls| calls.is_sweeping()) else { return false };
        let (shared, handle) = (&self.shared, cell.core.handle);
        calls.sweep(
            |name| shared.names.global(name),
            |session, callee| {
                if shared.is_linked() {
                    shared.forget(handle, session, callee);
                }
            },
        );
        true
    }

    /// Whether there was one.
    fn end_failed_call(&mut self, cell: &mut Cell) -> bool {
        let Cell { core, service: Some(service) } = cell else { return false };
        let failed = core.calls.as_mut().and_then(|calls| calls.pop_failed());
        let Some((continuation, reason)) = failed else { return false };
        self.origin = Origin::default();
        (continuation.resume)(&mut **service, core, self, continuation.closure, Err(reason));
        true
    }

    fn control(&mut self, cell: &mut Cell, letter: Letter) {
        match letter {
            Letter::Control(Control::Kill(reason)) => {
                cell.core.ending.get_or_insert(Ending { reason, stop: true });
            }
            Letter::Control(Control::Tick(at)) => {
                cell.core.alarms.retain(|alarm| *alarm != at);
                self.tick(cell);
            }
            Letter::Envelope(_) | Letter::Request(..) => {}
        }
    }

    /// A deadline of a service may have passed: ends its calls and fires its timers.
    fn tick(&mut self, cell: &mut Cell) {
        let now = self.shared.now();
        while cell.core.ending.is_none() {
            let Cell { core, service: Some(service) } = cell else { return };
            let expired = core.calls.as_mut().and_then(|calls| calls.pop_due(now));
            self.origin = Origin::default();
            match expired {
                None => break,
                Some(Expired::Call { session, callee, continuation }) => {
                    self.counters.add(Count::Timeouts, 1);
                    if self.shared.is_linked() {
                        self.shared.forget(core.handle, session, callee);
                    }
                    let timeout = Err(CallError::Timeout);
                    (continuation.resume)(&mut **service, core, self, continuation.closure, timeout);
                }
                Some(Expired::Timer { id, scheduled, fire, action }) => {
                    let again = fire(&mut **service, core, self, action, scheduled);
                    if let Some(calls) = core.calls.as_mut() {
                        match again {
                            Some((next, action)) => calls.rearm(id, next, fire, action),
                            None => calls.retire_timer(id),
                        }
                    }
                }
            }
        }
        if let Some(next) = cell.core.calls.as_ref().and_then(|calls| calls.next_deadline()) {
            self.arm(&mut cell.core, next);
        }
    }

    /// Sees to it that the service is ticked at `at`, or before.
    pub(crate) fn arm(&mut self, core: &mut Core, at: Instant) {
        if at < core.alarms.last().copied().unwrap_or(Instant::FAR) {
            core.alarms.push(at);
            self.wheel.insert(at, Alarm { local: core.handle.local(), generation: core.generation, at });
            self.alarm = self.alarm.min(at);
        }
    }

    fn ring_alarms(&mut self, now: Instant) {
        if now < self.alarm {
            return;
        }
        while let Some((_, Alarm { local, generation, at })) = self.wheel.pop_expired(now) {
            let mailbox = self.participant.find(local).filter(|mailbox| mailbox.generation() == generation);
            let token = mailbox.and_then(|mailbox| mailbox.push_control(Letter::Control(Control::Tick(at))));
            if let Some(token) = token {
                self.push(token);
            }
        }
        self.alarm = self.wheel.next_deadline().unwrap_or(Instant::FAR);
    }

    /// Puts a service that has work at the end of the ring.
    pub(super) fn push(&mut self, token: Turn) {
        self.ring.push(token, &self.shared.global);
        self.pushed = true;
    }

    /// Puts a service that just got its first message in front, where nobody can take it away; where turns take long,
    /// into the ring, where others can. Whoever sleeps is woken now for what others can take: the handler that sends may
    /// go on for long.
    pub(super) fn ready(&mut self, token: Turn) {
        let shared = match self.pace.is_slow() {
            true => Some(token),
            false => self.lifo.replace(token),
        };
        if let Some(token) = shared {
            self.push(token);
            if self.shared.crew.asleep() > 0 {
                self.shared.crew.ring();
            }
        }
    }

    /// Answers the message that is being handled, if that is still owed.
    pub(crate) fn answer(&mut self, from: Handle, body: Body) {
        if std::mem::take(&mut self.origin.owed) {
            self.deliver(self.origin.envelope(from, Kind::RESPONSE, body));
        }
    }

    /// Ends the message that is being handled with an error, if its answer is still owed.
    pub(crate) fn settle(&mut self, from: Handle, reason: CallError) {
        if std::mem::take(&mut self.origin.owed) {
            self.deliver(self.origin.failure(from, reason));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
