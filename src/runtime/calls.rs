//! The calls and timers of one service: what waits, until when, and what then runs.
//!
//! ```text
//!  table   session & mask → Pending { session, callee, deadline, continuation }   grows by doubling, occupied entries are skipped
//!  timers  index          → Timer   { generation, deadline, action }
//!  wheel   deadlines of both, O(1) to add and cancel
//!  failed  calls that were refused when they were made: they end after the handler that made them
//!  sweep   a callee is dead: its calls are looked for, SWEEP_PLACES_MAX places at a time, and become failed ones
//! ```
//!
//! A service has none of this until its first call or timer. The whole is owned by the service: no lock, no atomics.

use super::cell::{Behaviour, Core};
use super::worker::Worker;
use crate::clock::Instant;
use crate::limits;
use crate::message::{Body, CallError, Handle, HarborId, Name, Session};
use crate::queue::{Parcel, TimerKey, Wheel};
use std::collections::VecDeque;

/// Runs the continuation of a call, which lies in the parcel.
pub(crate) type Resume = fn(&mut dyn Behaviour, &mut Core, &mut Worker, Parcel, Result<Body, CallError>);
/// Runs the action of a timer, which lies in the parcel; what it returns runs at the next tick.
pub(crate) type Fire =
    fn(&mut dyn Behaviour, &mut Core, &mut Worker, Parcel, Instant) -> Option<(Instant, Parcel)>;

/// What runs when a call ends.
pub(crate) struct Continuation {
    pub(crate) resume: Resume,
    pub(crate) closure: Parcel,
}

/// A timer of a service, for [`crate::Context::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

/// What a deadline is for.
#[derive(Clone, Copy)]
enum Due {
    Call(Session),
    Timer(TimerId),
}

/// Who a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callee {
    /// The service with this handle, on any node.
    Service(Handle),
    /// Whoever gets this name, which nobody had when the call was made.
    Name(Name),
    /// The harbor of this node.
    Harbor,
}

impl Callee {
    /// Whether the harbor has a place of its own for the call.
    pub(crate) fn is_away(self, own: HarborId) -> bool {
        match self {
            Self::Service(handle) => handle.is_remote(own),
            Self::Name(_) | Self::Harbor => true,
        }
    }
}

struct Pending {
    session: Session,
    callee: Callee,
    due: Option<TimerKey>,
    continuation: Continuation,
}

/// A look through the table for the calls of a dead callee.
struct Sweep {
    dead: Handle,
    place: usize,
}

struct Timer {
    generation: u32,
    armed: Option<Armed>,
}

struct Armed {
    due: TimerKey,
    scheduled: Instant,
    fire: Fire,
    action: Parcel,
}

/// What [`Calls::pop_due`] found.
pub(crate) enum Expired {
    Call { session: Session, callee: Callee, continuation: Continuation },
    Timer { id: TimerId, scheduled: Instant, fire: Fire, action: Parcel },
}

/// See the module's text.
pub(crate) struct Calls {
    last: Session,
    live: usize,
    table: Vec<Option<Pending>>,
    timers: Vec<Timer>,
    free_timers: Vec<u32>,
    wheel: Wheel<Due>,
    failed: VecDeque<(Continuation, CallError)>,
    sweep: Option<Sweep>,
}

impl Calls {
    const CAPACITY_MIN: usize = 4;

    pub(crate) fn new(now: Instant) -> Self {
        Self {
            last: Session::NONE,
            live: 0,
            table: Vec::new(),
            timers: Vec::new(),
            free_timers: Vec::new(),
            wheel: Wheel::new(now),
            failed: VecDeque::new(),
            sweep: None,
        }
    }

    /// Remembers a call; its session is the next one whose place in the table is free.
    ///
    /// # Errors
    /// Gives the continuation back if [`limits::CALLS_MAX`] calls wait.
    pub(crate) fn open(
        &mut self,
        deadline: Option<Instant>,
        callee: Callee,
        continuation: Continuation,
    ) -> Result<Session, Continuation> {
        if self.live >= limits::CALLS_MAX {
            return Err(continuation);
        }
        if self.live * 2 >= self.table.len() {
            self.grow();
        }
        let mask = self.table.len() - 1;
        let mut session = self.last.next();
        while self.table[session.bits() as usize & mask].is_some() {
            session = session.next();
        }
        self.last = session;
        let due = deadline.map(|deadline| self.wheel.insert(deadline, Due::Call(session)));
        self.table[session.bits() as usize & mask] = Some(Pending { session, callee, due, continuation });
        self.live += 1;
        Ok(session)
    }

    /// The calls that wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (Session, Callee)> {
        self.table.iter().flatten().map(|pending| (pending.session, pending.callee))
    }

    fn grow(&mut self) {
        let capacity = (self.table.len() * 2).max(Self::CAPACITY_MIN);
        let old =
            std::mem::replace(&mut self.table, std::iter::repeat_with(|| None).take(capacity).collect());
        for pending in old.into_iter().flatten() {
            // Entries that differ modulo the old capacity differ modulo its double. They stay or move up: a sweep goes on.
            let place = pending.session.bits() as usize & (capacity - 1);
            self.table[place] = Some(pending);
        }
    }

    /// Ends the call `session`: whom it waited for and its continuation, if it still waits.
    pub(crate) fn close(&mut self, session: Session) -> Option<(Callee, Continuation)> {
        let mask = self.table.len().checked_sub(1)?;
        let place = &mut self.table[session.bits() as usize & mask];
        let pending = place.take_if(|pending| pending.session == session)?;
        if let Some(due) = pending.due {
            self.wheel.cancel(due);
        }
        self.live -= 1;
        Some((pending.callee, pending.continuation))
    }

    /// A callee is dead: [`sweep`](Self::sweep) finds its calls.
    pub(crate) fn begin_sweep(&mut self, dead: Handle) {
        self.sweep = (self.live > 0).then_some(Sweep { dead, place: 0 });
    }

    pub(crate) fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Looks at the next [`limits::SWEEP_PLACES_MAX`] places: calls of the dead callee end, `ended` hears of each.
    /// `owner` says who has a name now.
    pub(crate) fn sweep(
        &mut self,
        owner: impl Fn(Name) -> Option<Handle>,
        mut ended: impl FnMut(Session, Callee),
    ) {
        let Some(Sweep { dead, place }) = self.sweep.take() else { return };
        let end = self.table.len().min(place + limits::SWEEP_PLACES_MAX);
        let waits_for = |callee| match callee {
            Callee::Service(handle) => handle == dead,
            Callee::Name(name) => owner(name) == Some(dead),
            Callee::Harbor => false,
        };
        for place in place..end {
            let Some(pending) = self.table[place].take_if(|pending| waits_for(pending.callee)) else {
                continue;
            };
            if let Some(due) = pending.due {
                self.wheel.cancel(due);
            }
            self.live -= 1;
            ended(pending.session, pending.callee);
            self.fail(pending.continuation, CallError::NoService);
        }
        self.sweep = (end < self.table.len()).then_some(Sweep { dead, place: end });
    }

    /// A call that could not be made: its continuation runs after the handler that made it.
    pub(crate) fn fail(&mut self, continuation: Continuation, reason: CallError) {
        self.failed.push_back((continuation, reason));
    }

    pub(crate) fn pop_failed(&mut self) -> Option<(Continuation, CallError)> {
        self.failed.pop_front()
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Sets a timer.
    ///
    /// # Errors
    /// Gives the action back if [`limits::TIMERS_MAX`] timers are set.
    pub(crate) fn set_timer(&mut self, at: Instant, fire: Fire, action: Parcel) -> Result<TimerId, Parcel> {
        let index = match self.free_timers.pop() {
            Some(index) => index,
            None if self.timers.len() >= limits::TIMERS_MAX => return Err(action),
            None => {
                self.timers.push(Timer { generation: 0, armed: None });
                (self.timers.len() - 1) as u32
            }
        };
        let id = TimerId { index, generation: self.timers[index as usize].generation };
        self.arm(id, at, fire, action);
        Ok(id)
    }

    /// Sets a timer that has just fired again, under the same id; if it was cancelled meanwhile its action is dropped.
    pub(crate) fn rearm(&mut self, id: TimerId, at: Instant, fire: Fire, action: Parcel) {
        if self.timers[id.index as usize].generation == id.generation {
            self.arm(id, at, fire, action);
        }
    }

    fn arm(&mut self, id: TimerId, at: Instant, fire: Fire, action: Parcel) {
        let due = self.wheel.insert(at, Due::Timer(id));
        self.timers[id.index as usize].armed = Some(Armed { due, scheduled: at, fire, action });
    }

    /// Cancels a timer: its action, to be dropped outside, and whether it was still set.
    pub(crate) fn cancel_timer(&mut self, id: TimerId) -> Option<Option<Parcel>> {
        let timer =
            self.timers.get_mut(id.index as usize).filter(|timer| timer.generation == id.generation)?;
        let armed = timer.armed.take();
        if let Some(armed) = &armed {
            self.wheel.cancel(armed.due);
        }
        self.retire_timer(id);
        Some(armed.map(|armed| armed.action))
    }

    /// Frees the id of a timer that fired for the last time.
    pub(crate) fn retire_timer(&mut self, id: TimerId) {
        let timer = &mut self.timers[id.index as usize];
        if timer.generation == id.generation && timer.armed.is_none() {
            timer.generation = timer.generation.wrapping_add(1);
            self.free_timers.push(id.index);
        }
    }

    /// One call or timer whose time has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Expired> {
        while let Some((_, due)) = self.wheel.pop_expired(now) {
            match due {
                Due::Call(session) => {
                    let mask = self.table.len() - 1;
                    let place = &mut self.table[session.bits() as usize & mask];
                    if let Some(pending) = place.take_if(|pending| pending.session == session) {
                        self.live -= 1;
                        let Pending { callee, continuation, .. } = pending;
                        return Some(Expired::Call { session, callee, continuation });
                    }
                }
                Due::Timer(id) => {
                    if let Some(Armed { scheduled, fire, action, .. }) =
                        self.timers[id.index as usize].armed.take()
                    {
                        return Some(Expired::Timer { id, scheduled, fire, action });
                    }
                }
            }
        }
        None
    }

    /// When the next deadline passes.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next_deadline()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    fn nothing(_: &mut dyn Behaviour, _: &mut Core, _: &mut Worker, _: Parcel, _: Result<Body, CallError>) {}

    fn continuation(number: u32) -> Continuation {
        Continuation { resume: nothing, closure: Parcel::new(number) }
    }

    fn number(continuation: Continuation) -> u32 {
        continuation.closure.open().unwrap()
    }

    fn closed((_, continuation): (Callee, Continuation)) -> u32 {
        number(continuation)
    }

    const HERE: Callee = Callee::Service(Handle::from_bits(8));

    #[test]
    fn sessions_skip_what_is_occupied_and_return_only_after_a_whole_round() {
        let mut calls = Calls::new(Instant::default());
        let first = calls.open(None, HERE, continuation(1)).unwrap_or_else(|_| panic!());
        calls.last = Session::MAX;
        for expected in 2..40 {
            let session = calls.open(None, HERE, continuation(expected)).unwrap_or_else(|_| panic!());
            assert_ne!(session, first, "a session in use is skipped");
            if expected % 2 == 0 {
                assert_eq!(calls.close(session).map(closed), Some(expected));
            }
        }
        assert_eq!(calls.close(first).map(closed), Some(1));
        assert!(calls.close(first).is_none(), "a call ends once");
        assert_eq!(calls.live, 19);
    }

    #[test]
    fn a_reply_and_a_deadline_exclude_each_other() {
        let mut calls = Calls::new(Instant::default());
        let at = Instant::default() + Duration::from_millis(5);
        let late = Instant::default() + Duration::from_millis(50);
        let answered = calls.open(Some(at), HERE, continuation(1)).unwrap_or_else(|_| panic!());
        let expired = calls.open(Some(at), HERE, continuation(2)).unwrap_or_else(|_| panic!());
        assert!(calls.close(answered).is_some());
        let Some(Expired::Call { continuation, .. }) = calls.pop_due(late) else {
            panic!("the second call expires")
        };
        assert_eq!(number(continuation), 2);
        assert!(calls.pop_due(late).is_none());
        assert!(calls.close(expired).is_none());
    }

    #[test]
    fn a_cancelled_timer_never_fires_and_its_id_is_not_reused_for_another() {
        fn never(
            _: &mut dyn Behaviour,
            _: &mut Core,
            _: &mut Worker,
            _: Parcel,
            _: Instant,
        ) -> Option<(Instant, Parcel)> {
            None
        }
        let mut calls = Calls::new(Instant::default());
        let at = Instant::default() + Duration::from_millis(5);
        let first = calls.set_timer(at, never, Parcel::new(1)).unwrap();
        assert!(calls.cancel_timer(first).is_some());
        assert!(calls.cancel_timer(first).is_none());
        let second = calls.set_timer(at, never, Parcel::new(2)).unwrap();
        assert_ne!(first, second);
        let Some(Expired::Timer { id, .. }) = calls.pop_due(at + Duration::from_millis(9)) else {
            panic!("it fires")
        };
        assert_eq!(id, second);
    }

    #[test]
    fn a_sweep_ends_the_calls_of_the_dead_in_bounded_steps() {
        let mut calls = Calls::new(Instant::default());
        let (name, unknown) = ("GONE".parse().unwrap(), "OTHER".parse().unwrap());
        let callees = [
            HERE,
            Callee::Service(Handle::from_bits(9)),
            Callee::Name(name),
            Callee::Name(unknown),
            Callee::Harbor,
        ];
        for number in 0..10_000 {
            calls.open(None, callees[number as usize % 5], continuation(number)).unwrap_or_else(|_| panic!());
        }
        calls.begin_sweep(Handle::from_bits(8));
        let (mut ended, mut steps) = (0, 0);
        while calls.is_sweeping() {
            let before = ended;
            calls.sweep(|asked| (asked == name).then_some(Handle::from_bits(8)), |_, _| ended += 1);
            assert!(ended - before <= limits::SWEEP_PLACES_MAX);
            steps += 1;
        }
        assert_eq!((ended, calls.live), (4_000, 6_000));
        assert_eq!(steps, calls.table.len().div_ceil(limits::SWEEP_PLACES_MAX));
        for _ in 0..4_000 {
            let (continuation, reason) = calls.pop_failed().unwrap();
            assert_eq!((number(continuation) % 5 % 2, reason), (0, CallError::NoService));
        }
        assert!(!calls.has_failed());
    }

    #[test]
    fn a_table_that_grows_is_swept_to_its_new_end() {
        let mut calls = Calls::new(Instant::default());
        calls.last = Session::from_bits(1500);
        for number in 0..600 {
            calls.open(None, HERE, continuation(number)).unwrap_or_else(|_| panic!());
        }
        calls.begin_sweep(Handle::from_bits(8));
        calls.sweep(|_| None, |_, _| {});
        for number in 0..1200 {
            calls.open(None, Callee::Harbor, continuation(number)).unwrap_or_else(|_| panic!());
        }
        while calls.is_sweeping() {
            calls.sweep(|_| None, |_, _| {});
        }
        assert_eq!(calls.live, 1200);
    }
}
