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

use super::address::Destination;
use super::cell::{Cell, Control, Core, Ending, Letter, Running, Turn};
use super::respond::Origin;
use super::service::{Service, SpawnError};
use super::shared::{Outgoing, Phase, Shared};
use super::spawn::Spawn;
use crate::clock::Instant;
use crate::limits;
use crate::message::{Body, NameEntry};
use crate::message::{
    CallError, Envelope, Handle, HarborAnswer, HarborRequest, Kind, SendError, SendReason, Status, Waiter,
};
use crate::metrics::{Count, Counters};
use crate::queue::{Parcel, Participant, Pool, Pop, RunQueue, Wheel};
use std::marker::PhantomData;
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
    counters: Arc<Counters>,
    participant: Participant<Cell, Letter>,
    pool: Pool<Letter>,
    index: usize,
    lifo: Option<Turn>,
    lifo_turns: u32,
    ring: RunQueue<Turn>,
    pushed: bool,
    searching: bool,
    wheel: Wheel<Alarm>,
    alarm: Instant,
    turns: u32,
    pace: Pace,
    victim: usize,
    spawning: u32,
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
            wheel: Wheel::new(now),
            alarm: Instant::FAR,
            turns: 0,
            pace: Pace { left: 1, interval: 1, last: now },
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

    /// Work was found: the last one who searched sees to it that another looks for more.
    fn end_search(&mut self) {
        if std::mem::take(&mut self.searching) {
            self.shared.crew.end_search();
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
        }
    }

    /// The next service to run, without waiting.
    fn next(&mut self) -> Option<Turn> {
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(limits::GLOBAL_TURNS_MAX)
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
        if !self.ring.is_empty() {
            return;
        }
        // 2. Look on, as one who searches.
        let shared = Arc::clone(&self.shared);
        self.searching = self.searching || shared.crew.start_search();
        if self.searching && self.look_on(now) {
            return;
        }
        // 3. Announce the sleep, look once more, sleep.
        shared.serve(self.index, Handle::NONE);
        self.participant.offline();
        self.reclaim();
        shared.crew.prepare(self.index, self.searching);
        if shared.has_work() || shared.phase() == Phase::Stopped {
            shared.crew.cancel(self.index);
        } else {
            let alarm = self.wheel.next_deadline().map(|alarm| alarm.since(shared.now()));
            self.counters.add(Count::Parks, 1);
            shared.crew.park(self.index, alarm);
        }
        self.searching = true;
        self.participant.online();
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
                    return self.end(token, Ending { reason: CallError::Panicked, stop: false });
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
            // 3. Calls that failed when they were made, then one message.
            let cell = token.state();
            if cell.core.calls.as_ref().is_some_and(|calls| calls.has_failed()) {
                self.end_failed_call(cell);
            } else {
                let letter = match token.pop(&mut self.pool) {
                    Pop::Message(letter) => letter,
                    Pop::Empty => return Verdict::Empty,
                    Pop::Gap => return Verdict::Again,
                };
                self.dispatch(token.state(), letter);
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
        let heap = letter.heap_len();
        if heap > 0 {
            self.pool.release_bytes(heap);
        }
        self.counters.add(Count::Delivered, 1);
        let Cell { core, service: Some(service) } = cell else {
            return self.refuse(letter, CallError::NoService);
        };
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

    /// An answer: runs the continuation that waits for it. A late one, whose call is over, is counted and dropped.
    fn answered(&mut self, cell: &mut Cell, envelope: Envelope) {
        let Cell { core, service: Some(service) } = cell else { return };
        let continuation = core.calls.as_mut().and_then(|calls| calls.close(envelope.session));
        let Some(continuation) = continuation else { return self.counters.add(Count::Late, 1) };
        let result = match envelope.body {
            Body::Failure(reason) => Err(reason),
            _ if envelope.kind == Kind::ERROR => Err(CallError::Remote),
            body => Ok(body),
        };
        self.origin = Origin::default();
        (continuation.resume)(&mut **service, core, self, continuation.closure, result);
    }

    fn end_failed_call(&mut self, cell: &mut Cell) {
        let Cell { core, service: Some(service) } = cell else { return };
        let failed = core.calls.as_mut().and_then(|calls| calls.pop_failed());
        if let Some((continuation, reason)) = failed {
            self.origin = Origin::default();
            (continuation.resume)(&mut **service, core, self, continuation.closure, Err(reason));
        }
    }

    fn control(&mut self, cell: &mut Cell, letter: Letter) {
        match letter {
            Letter::Control(Control::Kill(reason)) => {
                cell.core.ending.get_or_insert(Ending { reason, stop: true });
            }
            Letter::Control(Control::Tick(at)) if cell.core.armed == at => self.tick(cell),
            Letter::Control(Control::Tick(_)) | Letter::Envelope(_) | Letter::Request(..) => {}
        }
    }

    /// A deadline of a service may have passed: ends its calls and fires its timers.
    fn tick(&mut self, cell: &mut Cell) {
        cell.core.armed = Instant::FAR;
        let now = self.shared.now();
        while cell.core.ending.is_none() {
            let Cell { core, service: Some(service) } = cell else { return };
            let expired = core.calls.as_mut().and_then(|calls| calls.pop_due(now));
            self.origin = Origin::default();
            match expired {
                None => break,
                Some(super::calls::Expired::Call(continuation)) => {
                    self.counters.add(Count::Timeouts, 1);
                    let timeout = Err(CallError::Timeout);
                    (continuation.resume)(&mut **service, core, self, continuation.closure, timeout);
                }
                Some(super::calls::Expired::Timer { id, scheduled, fire, action }) => {
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
        if at < core.armed {
            core.armed = at;
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
    fn push(&mut self, token: Turn) {
        self.ring.push(token, &self.shared.global);
        self.pushed = true;
    }

    /// Puts a service that just got its first message in front.
    fn ready(&mut self, token: Turn) {
        if let Some(before) = self.lifo.replace(token) {
            self.push(before);
        }
    }

    /// Sends a message from here.
    ///
    /// # Errors
    /// Gives it back with the reason.
    pub(crate) fn post(&mut self, to: Destination, mut letter: Letter) -> Result<(), SendError<Letter>> {
        let (handle, generation) = match to {
            Destination::Exact { handle, generation, node } if node == self.shared.instance => {
                (handle, Some(generation))
            }
            Destination::Exact { .. } => return Err(SendError::new(SendReason::Unknown, letter)),
            Destination::Handle(handle) => (handle, None),
            Destination::Global(name) => match self.shared.names.global(name) {
                Some(handle) => (handle, None),
                None => return self.shared.post_to_name(name, letter),
            },
        };
        if let Some(envelope) = letter.envelope_mut() {
            envelope.dest = handle;
        }
        if handle.is_remote(self.shared.harbor) {
            return self.shared.post_away(handle, letter);
        }
        self.counters.add(Count::Sent, 1);
        match self.post_here(handle, generation, letter) {
            Ok(Some(token)) => {
                self.ready(token);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(refused) => {
                self.counters.add(Count::Refused, 1);
                Err(refused)
            }
        }
    }

    fn post_here(
        &mut self,
        handle: Handle,
        generation: Option<u32>,
        letter: Letter,
    ) -> Result<Option<Turn>, SendError<Letter>> {
        post_here(&self.participant, &mut self.pool, handle, generation, letter)
    }

    /// Sends an answer; one that nobody can take is counted.
    pub(crate) fn deliver(&mut self, answer: Envelope) {
        let to = Destination::Handle(answer.dest);
        if self.post(to, Letter::Envelope(answer)).is_err() {
            self.counters.add(Count::Unanswered, 1);
        }
    }

    /// Ends the message that is being handled with an error, if its answer is still owed.
    pub(crate) fn settle(&mut self, from: Handle, reason: CallError) {
        if std::mem::take(&mut self.origin.owed) {
            self.deliver(self.origin.failure(from, reason));
        }
    }

    fn refuse(&mut self, letter: Letter, reason: CallError) {
        let refusal = letter.into_envelope().and_then(|envelope| envelope.refusal(reason));
        if let Some(refusal) = refusal {
            self.deliver(refusal);
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

    /// Hands a request to the harbor; a node that is alone answers by itself.
    pub(crate) fn ask(&mut self, request: HarborRequest) -> Result<(), CallError> {
        if self.shared.is_linked() {
            return self.shared.send_up(0, Outgoing::Ask(request)).map_err(|_| CallError::Full);
        }
        match self.shared.answer_alone(request) {
            Ok((waiter, answer)) => {
                self.deliver(answer_envelope(waiter, answer));
                Ok(())
            }
            Err(reason) => Err(reason),
        }
    }

    /// Spawns a service and runs its `start`.
    pub(crate) fn spawn<S: Service>(
        &mut self,
        label: &str,
        options: &Spawn,
        factory: impl FnOnce() -> S,
    ) -> Result<super::address::Addr<S>, SpawnError> {
        if self.shared.phase() != Phase::Running {
            return Err(SpawnError::Shutdown);
        }
        if self.spawning >= limits::SPAWN_DEPTH_MAX {
            return Err(SpawnError::Exhausted);
        }
        let methods = self.shared.methods::<S>();
        let harbor = self.shared.harbor;
        let bounds = options.bounds.map(super::spawn::Bounded::bounds);
        let mut token = self
            .shared
            .directory
            .insert(bounds, |local, generation| Cell {
                core: Core {
                    handle: Handle::new(harbor, local),
                    generation,
                    ending: None,
                    calls: None,
                    armed: Instant::FAR,
                    label: label.into(),
                },
                service: None,
            })
            .map_err(|_| SpawnError::Exhausted)?;
        let cell = token.state();
        let (handle, generation) = (cell.core.handle, cell.core.generation);
        let outer = std::mem::take(&mut self.origin);
        self.spawning += 1;
        let started = catch_unwind(AssertUnwindSafe(|| {
            let cell = token.state();
            let service = cell.service.insert(Box::new(Running { service: factory(), methods }));
            service.start(&mut cell.core, self)
        }));
        self.spawning -= 1;
        self.origin = outer;
        let failure = match started {
            Ok(Ok(())) => match &options.local_name {
                Some(name) if !self.shared.names.register_local(name, handle) => Some(SpawnError::Name),
                Some(_) | None => None,
            },
            Ok(Err(refused)) => Some(SpawnError::Start(refused)),
            Err(_panic) => Some(SpawnError::Panicked),
        };
        if let Some(failure) = failure {
            self.end(token, Ending { reason: CallError::NoService, stop: false });
            return Err(failure);
        }
        self.counters.add(Count::Spawned, 1);
        self.launch(token);
        Ok(super::address::Addr { handle, generation, node: self.shared.instance, _service: PhantomData })
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
    fn end(&mut self, mut token: Turn, ending: Ending) {
        let Cell { core, service } = token.state();
        let handle = core.handle;
        self.origin = Origin::default();
        // 1. Its own last word.
        if let Some(service) = service.as_mut().filter(|_| ending.stop) {
            let stopped = catch_unwind(AssertUnwindSafe(|| service.stop(core, self)));
            self.counters.add(Count::Panics, u64::from(stopped.is_err()));
        }
        // 2. Its state and continuations; responders in them answer their callers.
        let remains = (service.take(), core.calls.take());
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(remains)));
        self.counters.add(Count::Panics, u64::from(dropped.is_err()));
        self.shared.names.forget(handle);
        // 3. What lies in its mailbox.
        while let Pop::Message(letter) = token.pop(&mut self.pool) {
            self.discard(letter, ending.reason);
        }
        drop(token.take_control());
        // 4. The rest when no thread can send to it any more.
        self.shared.directory.retire(token);
        self.counters.add(Count::Ended, 1);
        self.shared.service_ended();
    }

    fn discard(&mut self, letter: Letter, reason: CallError) {
        let heap = letter.heap_len();
        if heap > 0 {
            self.pool.release_bytes(heap);
        }
        self.counters.add(Count::Discarded, 1);
        self.refuse(letter, reason);
    }

    /// Frees ended services that no thread can see any more, and answers what reached them late.
    fn reclaim(&mut self) {
        while let Some(retired) = self.shared.directory.reclaim() {
            let mut late = Vec::new();
            drop(retired.finish(&mut self.pool, |letter| late.push(letter)));
            for letter in late {
                self.discard(letter, CallError::NoService);
            }
        }
    }
}

/// The answer of the harbor as a message.
pub(crate) fn answer_envelope(waiter: Waiter, answer: HarborAnswer) -> Envelope {
    Envelope {
        source: Handle::NONE,
        dest: waiter.source,
        session: waiter.session,
        kind: Kind::RESPONSE,
        body: Body::Typed(Parcel::new(answer)),
    }
}

/// Puts a message into the mailbox of a service of this node; a token comes back if the caller must schedule it.
pub(crate) fn post_here(
    participant: &Participant<Cell, Letter>,
    pool: &mut Pool<Letter>,
    handle: Handle,
    generation: Option<u32>,
    letter: Letter,
) -> Result<Option<Turn>, SendError<Letter>> {
    let found = participant.find(handle.local());
    let found =
        found.filter(|mailbox| generation.is_none_or(|generation| mailbox.generation() == generation));
    let Some(mailbox) = found else { return Err(SendError::new(SendReason::Unknown, letter)) };
    let heap = letter.heap_len();
    if heap > 0 && !pool.reserve_bytes(heap) {
        return Err(SendError::new(SendReason::Full, letter));
    }
    mailbox.push(pool, letter, heap).map_err(|refused| {
        let letter = refused.into_message();
        if heap > 0 {
            pool.release_bytes(heap);
        }
        SendError::new(SendReason::Full, letter)
    })
}

impl Shared {
    /// Whether any queue that a sleeping worker must not miss has something.
    fn has_work(&self) -> bool {
        !self.global.is_empty() || self.stealers.iter().any(|stealer| !stealer.is_empty())
    }

    pub(crate) fn post_away(&self, handle: Handle, letter: Letter) -> Result<(), SendError<Letter>> {
        if !self.is_linked() {
            return Err(SendError::new(SendReason::Unknown, letter));
        }
        let refusal = match &letter {
            Letter::Envelope(envelope) => refusal_to_leave(envelope),
            Letter::Request(..) | Letter::Control(_) => Some(SendReason::Denied),
        };
        let Letter::Envelope(envelope) = letter else {
            return Err(SendError::new(SendReason::Denied, letter));
        };
        if let Some(reason) = refusal {
            return Err(SendError::new(reason, Letter::Envelope(envelope)));
        }
        self.send_up(handle.harbor().index(), Outgoing::Send(envelope)).map_err(full)
    }

    pub(crate) fn post_to_name(
        &self,
        name: crate::message::Name,
        letter: Letter,
    ) -> Result<(), SendError<Letter>> {
        if !self.is_linked() {
            return Err(SendError::new(SendReason::Unknown, letter));
        }
        let Letter::Envelope(envelope) = letter else {
            return Err(SendError::new(SendReason::Denied, letter));
        };
        if let Some(reason) = refusal_to_leave(&envelope) {
            return Err(SendError::new(reason, Letter::Envelope(envelope)));
        }
        self.send_up(0, Outgoing::Ask(HarborRequest::Send { name, envelope })).map_err(full)
    }

    /// What a harbor would answer, on a node that has none.
    pub(crate) fn answer_alone(&self, request: HarborRequest) -> Result<(Waiter, HarborAnswer), CallError> {
        match request {
            HarborRequest::Register { name, handle, waiter } => Ok((
                waiter,
                match self.names.claim(name, handle) {
                    Ok(()) => HarborAnswer::Registered,
                    Err(owner) => HarborAnswer::NameTaken(owner),
                },
            )),
            HarborRequest::Query { name, waiter, .. } => {
                let answer = self.names.global(name).map_or(HarborAnswer::NotFound, HarborAnswer::Found);
                Ok((waiter, answer))
            }
            HarborRequest::Link { waiter, .. }
            | HarborRequest::Connect { waiter, .. }
            | HarborRequest::LinkMaster { waiter } => Ok((waiter, HarborAnswer::Down)),
            HarborRequest::Status { waiter } => {
                let names = self
                    .names
                    .globals()
                    .into_iter()
                    .map(|(name, handle)| NameEntry { name, handle })
                    .collect();
                let status = Status { names, names_complete: true, ..Status::default() };
                Ok((waiter, HarborAnswer::Status(Box::new(status))))
            }
            HarborRequest::Send { .. } | HarborRequest::Forget { .. } | HarborRequest::Leave => {
                Err(CallError::Denied)
            }
        }
    }
}

fn full(outgoing: Outgoing) -> SendError<Letter> {
    match outgoing {
        Outgoing::Send(envelope) | Outgoing::Ask(HarborRequest::Send { envelope, .. }) => {
            SendError::new(SendReason::Full, Letter::Envelope(envelope))
        }
        Outgoing::Ask(_) => unreachable!("only messages are posted"),
    }
}

/// Why a message may not leave the node.
fn refusal_to_leave(envelope: &Envelope) -> Option<SendReason> {
    match &envelope.body {
        _ if !envelope.kind.may_leave() => Some(SendReason::Denied),
        Body::Typed(_) => Some(SendReason::Denied),
        Body::Bytes(payload) if payload.len() > limits::PAYLOAD_BYTES_MAX => Some(SendReason::TooLarge),
        Body::Bytes(_) | Body::Empty | Body::Failure(_) => None,
    }
}
