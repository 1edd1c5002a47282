//! What a handler may do: send, call, answer, set timers, spawn, end.

use super::address::sealed::Packed;
use super::address::{Addr, Destination, Target, envelope, forwarded};
use super::calls::{Callee, Continuation, Fire, TimerId};
use super::cell::{Behaviour, Core, Ending, Letter, Running, continuation};
use super::respond::{Later, Origin, Responder};
use super::service::{Disposition, Handler, Message, Reply, Request, Service, SpawnError};
use super::spawn::Spawn;
use super::worker::Worker;
use crate::clock::Instant;
use crate::message::{
    Body, CallError, Envelope, Handle, HarborId, Kind, Payload, SendError, SendReason, Session,
};
use crate::queue::Parcel;
use std::marker::PhantomData;
use std::time::Duration;

/// A handler's view of the runtime, valid for the one message that is being handled.
pub struct Context<'a, S: Service> {
    pub(crate) core: &'a mut Core,
    pub(crate) worker: &'a mut Worker,
    _service: PhantomData<fn(S)>,
}

/// A call without a deadline: it ends when the callee answers or ends, its node is lost, or this node shuts down.
pub const NEVER: Duration = Duration::MAX;

impl<'a, S: Service> Context<'a, S> {
    pub(crate) fn new(core: &'a mut Core, worker: &'a mut Worker) -> Self {
        Self { core, worker, _service: PhantomData }
    }

    /// This service's own address.
    pub fn me(&self) -> Addr<S> {
        let (handle, generation) = (self.core.handle, self.core.generation);
        Addr { handle, generation, node: self.worker.shared.instance, _service: PhantomData }
    }

    /// This service's own handle.
    pub fn handle(&self) -> Handle {
        self.core.handle
    }

    /// The label that this service was spawned with, for people.
    pub fn label(&self) -> &str {
        &self.core.label
    }

    /// This node's id.
    pub fn harbor(&self) -> HarborId {
        self.worker.shared.harbor
    }

    /// Who sent the message that is being handled; [`Handle::NONE`] in timers, `start` and `stop`.
    pub fn source(&self) -> Handle {
        self.worker.origin.source
    }

    /// The time now, read from the clock.
    pub fn now(&self) -> Instant {
        self.worker.shared.now()
    }

    /// Sends a one-way message.
    ///
    /// # Errors
    /// Gives the request back with the reason: no such service, mailbox or budget full, too large, shutdown.
    pub fn send<R: Request, T: Target<R>>(&mut self, target: &T, request: R) -> Result<(), SendError<R>> {
        let mut letter = match T::pack(request) {
            Ok(packed) => packed.0,
            Err((_, request)) => return Err(SendError::new(SendReason::Denied, request)),
        };
        if let Some(envelope) = letter.envelope_mut() {
            envelope.source = self.core.handle;
        }
        self.worker.post(target.destination(), letter).map_err(|refused| {
            let request = T::unpack(Packed(refused.message)).expect("a refused letter comes back as it went");
            SendError::new(refused.reason, request)
        })
    }

    /// Sends bytes of any kind. `session` is 0 unless this answers or imitates a call.
    ///
    /// # Errors
    /// As [`Context::send`]; kinds that may not leave the node give `Denied` for a foreign handle.
    pub fn send_raw(
        &mut self,
        to: impl Into<Destination>,
        kind: Kind,
        session: Session,
        payload: impl Into<Payload>,
    ) -> Result<(), SendError<Payload>> {
        let message =
            Envelope { source: self.core.handle, session, ..envelope(kind, Body::Bytes(payload.into())) };
        self.worker.post(to.into(), Letter::Envelope(message)).map_err(refused_payload)
    }

    /// Sends bytes in another service's name, as Skynet's `redirect`: the receiver sees `source`, and its answer goes there.
    ///
    /// # Errors
    /// As [`Context::send_raw`].
    pub fn redirect(
        &mut self,
        to: impl Into<Destination>,
        source: Handle,
        kind: Kind,
        session: Session,
        payload: impl Into<Payload>,
    ) -> Result<(), SendError<Payload>> {
        let message = Envelope { source, session, ..envelope(kind, Body::Bytes(payload.into())) };
        self.worker.post(to.into(), Letter::Envelope(message)).map_err(refused_payload)
    }

    /// Calls: sends a request and runs `then` with the reply or the reason why there is none.
    ///
    /// `then` runs exactly once, on this service, after the handler that made the call returned: with the reply, an
    /// error, or [`CallError::Timeout`] after `timeout`. Only if this service itself ends before, it is dropped unrun.
    pub fn call<R, T, F>(&mut self, target: &T, request: R, timeout: Duration, then: F)
    where
        R: Request,
        T: Target<R>,
        F: FnOnce(&mut S, &mut Context<'_, S>, Result<R::Reply, CallError>) + Send + 'static,
    {
        let continuation = continuation(resume_typed::<S, R, T, F>, then);
        match T::pack(request) {
            Ok(packed) => self.call_letter(target.destination(), packed.0, timeout, continuation),
            Err((reason, _)) => self.calls().fail(continuation, reason),
        }
    }

    /// Calls with bytes, as Skynet's `rawcall`; the reply comes as bytes. Kinds that nobody answers ([`Kind::RESPONSE`],
    /// [`Kind::ERROR`], [`Kind::MULTICAST`], [`Kind::TRACE`]) end with [`CallError::Denied`].
    pub fn call_raw<F>(
        &mut self,
        to: impl Into<Destination>,
        kind: Kind,
        payload: impl Into<Payload>,
        timeout: Duration,
        then: F,
    ) where
        F: FnOnce(&mut S, &mut Context<'_, S>, Result<Payload, CallError>) + Send + 'static,
    {
        let continuation = continuation(resume_raw::<S, F>, then);
        if !kind.is_answered() {
            return self.calls().fail(continuation, CallError::Denied);
        }
        let letter = Letter::Envelope(envelope(kind, Body::Bytes(payload.into())));
        self.call_letter(to.into(), letter, timeout, continuation);
    }

    /// Calls with a packed request; the reply comes as it is.
    pub(crate) fn call_packed<F>(&mut self, to: Destination, letter: Letter, timeout: Duration, then: F)
    where
        F: FnOnce(&mut S, &mut Context<'_, S>, Result<Body, CallError>) + Send + 'static,
    {
        self.call_letter(to, letter, timeout, continuation(resume_packed::<S, F>, then));
    }

    fn call_letter(
        &mut self,
        to: Destination,
        mut letter: Letter,
        timeout: Duration,
        continuation: Continuation,
    ) {
        let to = self.worker.shared.resolve(to);
        let callee = match to {
            Destination::Handle(handle) | Destination::Exact { handle, .. } => Callee::Service(handle),
            Destination::Global(name) => Callee::Name(name),
        };
        let Some(session) = self.open_call(timeout, callee, continuation) else { return };
        if let Some(envelope) = letter.envelope_mut() {
            envelope.source = self.core.handle;
            envelope.session = session;
        }
        if let Err(refused) = self.worker.post(to, letter) {
            let reason = match (refused.reason, to) {
                (SendReason::PeerDown, Destination::Handle(handle)) => CallError::PeerDown(handle.harbor()),
                (SendReason::Unknown, Destination::Global(name)) => CallError::NoName(name),
                (reason, _) => reason.into(),
            };
            self.refuse_call(session, reason);
        }
    }

    /// A session for a call whose continuation waits; `None` if it could not wait and fails instead.
    pub(super) fn open_call(
        &mut self,
        timeout: Duration,
        callee: Callee,
        continuation: Continuation,
    ) -> Option<Session> {
        let deadline = (timeout < NEVER).then(|| self.now() + timeout);
        let opened = self.calls().open(deadline, callee, continuation);
        match opened {
            Ok(session) => {
                if let Some(deadline) = deadline {
                    self.worker.arm(self.core, deadline);
                }
                Some(session)
            }
            Err(continuation) => {
                self.calls().fail(continuation, CallError::Full);
                None
            }
        }
    }

    pub(super) fn refuse_call(&mut self, session: Session, reason: CallError) {
        if let Some((_, continuation)) = self.calls().close(session) {
            self.calls().fail(continuation, reason);
        }
    }

    fn calls(&mut self) -> &mut super::calls::Calls {
        let shared = &self.worker.shared;
        self.core.calls(|| shared.now())
    }

    /// Keeps the duty to answer the message that is being handled for later.
    ///
    /// The second value is what the handler returns; the first answers. If the responder is dropped, the caller gets
    /// [`CallError::Dropped`].
    pub fn defer<T>(&mut self) -> (Responder<T>, Reply<T>) {
        let origin = self.take_duty();
        Responder::new(origin, self.core.handle, self.worker.shared.door().clone())
    }

    /// Keeps the duty to answer a raw message with bytes for later.
    pub fn defer_raw(&mut self) -> Responder<Payload> {
        let origin = Origin { encode: Some(encode_raw), ..self.take_duty() };
        Responder::new(origin, self.core.handle, self.worker.shared.door().clone()).0
    }

    fn take_duty(&mut self) -> Origin {
        let origin = self.worker.origin;
        self.worker.origin.owed = false;
        origin
    }

    /// Answers the raw message that is being handled with bytes.
    pub fn reply(&mut self, payload: impl Into<Payload>) {
        self.worker.answer(self.core.handle, Body::Bytes(payload.into()));
    }

    /// Answers the raw message that is being handled with an error.
    pub fn fail(&mut self, reason: CallError) {
        self.worker.settle(self.core.handle, reason);
    }

    /// Passes a raw message on, to a service of any node: its source and session stay, so the answer goes straight to the
    /// original caller, wherever that is, and past this service. ([`Context::forward_request`] does it with typed requests.)
    ///
    /// If it cannot be passed on the caller gets the reason. A message kept from before may be forwarded too; its caller
    /// was told `Dropped` when its handling ended, and the message that is being handled is still to be answered.
    pub fn forward(&mut self, to: impl Into<Destination>, message: Message) -> Disposition {
        let Message { kind, source, session, body } = message;
        let origin = &self.worker.origin;
        let is_current = (origin.source, origin.session) == (source, session);
        let envelope = Envelope { source, dest: Handle::NONE, session, kind, body };
        match self.worker.post(to.into(), Letter::Envelope(envelope)) {
            Ok(()) if is_current => self.worker.origin.owed = false,
            Err(refused) if is_current => self.worker.settle(self.core.handle, refused.reason.into()),
            Ok(()) | Err(_) => {}
        }
        Disposition::Handled
    }

    /// Passes a typed request on to another service of this node: that one answers, straight to whoever asked, and sees the
    /// asker as its source. Return what this returns.
    ///
    /// If it cannot be passed on the asker gets the reason. A request that was deferred before is sent without an asker.
    pub fn forward_request<R, T>(&mut self, to: &Addr<T>, request: R) -> Reply<R::Reply>
    where
        R: Request,
        T: Handler<R>,
    {
        let origin = self.take_duty();
        let session = if origin.owed { origin.session } else { Session::NONE };
        let letter = forwarded::<T, R>(Origin { session, ..origin }, request);
        if let Err(refused) = self.worker.post(to.into(), letter)
            && origin.owed
        {
            self.worker.deliver(origin.failure(self.core.handle, refused.reason.into()));
        }
        Reply::Later(Later::given())
    }

    /// Ends the handling of a typed request: answers now, or not yet.
    pub(crate) fn finish<T: Send + 'static>(&mut self, reply: Reply<T>) {
        let origin = self.worker.origin;
        if !origin.owed {
            return;
        }
        let from = self.core.handle;
        // Packing is user code: if it panics the answer is still owed.
        let answer = match reply {
            Reply::Now(value) => origin.answer(from, value),
            Reply::Fail(reason) => origin.failure(from, reason),
            Reply::Later(_) => origin.failure(from, CallError::Dropped),
        };
        self.worker.origin.owed = false;
        self.worker.deliver(answer);
    }

    /// Runs `then` once, `time` from now, ahead of queued messages. At most 1 ms late on an idle machine, never early.
    ///
    /// # Errors
    /// `Full` with the closure if [`crate::limits::TIMERS_MAX`] timers of this service are set.
    pub fn after<F>(&mut self, time: Duration, then: F) -> Result<TimerId, SendError<F>>
    where
        F: FnOnce(&mut S, &mut Context<'_, S>) + Send + 'static,
    {
        let at = self.now() + time;
        self.set_timer(at, fire_once::<S, F>, then)
    }

    /// Runs `tick` every `period` on an absolute schedule, the first time one period from now, ahead of queued messages.
    ///
    /// # Errors
    /// `Full` with the closure if [`crate::limits::TIMERS_MAX`] timers of this service are set.
    ///
    /// # Panics
    /// If `period` is zero.
    pub fn every<F>(&mut self, period: Duration, overrun: Overrun, tick: F) -> Result<TimerId, SendError<F>>
    where
        F: FnMut(&mut S, &mut Context<'_, S>, Tick) + Send + 'static,
    {
        assert!(!period.is_zero(), "a period must not be zero");
        let at = self.now() + period;
        let every = Every { period, overrun, index: 0, tick };
        self.set_timer(at, fire_every::<S, F>, every)
            .map_err(|refused| SendError::new(refused.reason, refused.message.tick))
    }

    fn set_timer<A: Send + 'static>(
        &mut self,
        at: Instant,
        fire: Fire,
        action: A,
    ) -> Result<TimerId, SendError<A>> {
        let set = self.calls().set_timer(at, fire, Parcel::new(action));
        match set {
            Ok(id) => {
                self.worker.arm(self.core, at);
                Ok(id)
            }
            Err(action) => {
                let action = action.open().expect("a refused action comes back as it went");
                Err(SendError::new(SendReason::Full, action))
            }
        }
    }

    /// Cancels a timer. Whether it was still set.
    pub fn cancel(&mut self, timer: TimerId) -> bool {
        let cancelled = self.core.calls.as_mut().and_then(|calls| calls.cancel_timer(timer));
        cancelled.is_some()
    }

    /// Spawns a service; its `start` runs before this returns.
    ///
    /// # Errors
    /// [`SpawnError`]: it refused to start or panicked, no room, shutdown.
    pub fn spawn<T: Service>(&mut self, label: &str, service: T) -> Result<Addr<T>, SpawnError> {
        self.spawn_with(label, Spawn::new(), move || service)
    }

    /// Spawns a service from a factory, with options.
    ///
    /// # Errors
    /// As [`Context::spawn`].
    pub fn spawn_with<T: Service>(
        &mut self,
        label: &str,
        options: Spawn,
        factory: impl FnOnce() -> T,
    ) -> Result<Addr<T>, SpawnError> {
        self.worker.spawn(label, &options, factory)
    }

    /// Ends this service after the current message: `stop` runs, whoever waits for it gets [`CallError::NoService`].
    pub fn exit(&mut self) {
        self.core.ending.get_or_insert(Ending { reason: CallError::NoService, stop: true });
    }

    /// Ends a service of this node, ahead of its queued messages; they are answered with [`CallError::NoService`].
    ///
    /// # Errors
    /// `Unknown` if there is no such service on this node.
    pub fn kill(&mut self, service: impl Into<Destination>) -> Result<(), SendError<()>> {
        self.worker.kill(service.into())
    }

    /// Gives this service a local name (`.name`).
    ///
    /// # Errors
    /// [`SpawnError::Name`] if it is malformed or taken.
    pub fn register_local(&mut self, name: &str) -> Result<(), SpawnError> {
        let taken = self.worker.shared.names.register_local(name, self.core.handle);
        taken.then_some(()).ok_or(SpawnError::Name)
    }

    /// The service of this node with the local name `.name`.
    pub fn local(&self, name: &str) -> Option<Handle> {
        self.worker.shared.names.local(name)
    }
}

/// What `every` does about ticks whose time passed while a handler or the machine was busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overrun {
    /// Missed ticks are skipped; the schedule stays.
    #[default]
    Skip,
    /// Up to this many missed ticks run one after the other, the rest are skipped; the schedule stays.
    CatchUp(u32),
    /// The schedule moves: the next tick comes one period after this one ran.
    Slip,
}

/// One tick of [`Context::every`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Counts periods from 0; skipped ticks count too.
    pub index: u64,
    /// When it was due.
    pub scheduled: Instant,
    /// How late it runs.
    pub late_by: Duration,
}

struct Every<F> {
    period: Duration,
    overrun: Overrun,
    index: u64,
    tick: F,
}

impl<F> Every<F> {
    /// When the next tick is due, and its index; `scheduled` was the one before.
    fn advance(&mut self, scheduled: Instant, now: Instant) -> Instant {
        let missed = (now.since(scheduled).as_nanos() / self.period.as_nanos()) as u64;
        let skipped = match self.overrun {
            Overrun::Skip => missed,
            Overrun::CatchUp(most) => missed.saturating_sub(u64::from(most)),
            Overrun::Slip => {
                self.index += 1;
                return now + self.period;
            }
        };
        self.index += 1 + skipped;
        let ahead = self.period.as_nanos().saturating_mul(u128::from(skipped) + 1);
        scheduled + Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX))
    }
}

fn refused_payload(refused: SendError<Letter>) -> SendError<Payload> {
    let payload = match refused.message.into_envelope().map(|envelope| envelope.body) {
        Some(Body::Bytes(payload)) => payload,
        Some(Body::Empty | Body::Typed(_) | Body::Failure(_)) | None => Payload::new(),
    };
    SendError::new(refused.reason, payload)
}

fn encode_raw(payload: Parcel) -> Result<Payload, CallError> {
    payload.open().map_err(|_| CallError::Dropped)
}

/// Runs the closure that waits for an answer. Who packs a closure names the function that opens it.
pub(super) fn resume<S, F, A>(
    behaviour: &mut dyn Behaviour,
    core: &mut Core,
    worker: &mut Worker,
    closure: Parcel,
    answer: Result<A, CallError>,
) where
    S: Service,
    F: FnOnce(&mut S, &mut Context<'_, S>, Result<A, CallError>) + Send + 'static,
{
    let running = Running::<S>::of(behaviour);
    let Ok(then) = closure.open::<F>() else { unreachable!("a closure is opened as what was packed") };
    then(&mut running.service, &mut Context::new(core, worker), answer);
}

fn resume_typed<S, R, T, F>(
    behaviour: &mut dyn Behaviour,
    core: &mut Core,
    worker: &mut Worker,
    closure: Parcel,
    result: Result<Body, CallError>,
) where
    S: Service,
    R: Request,
    T: Target<R>,
    F: FnOnce(&mut S, &mut Context<'_, S>, Result<R::Reply, CallError>) + Send + 'static,
{
    resume::<S, F, _>(behaviour, core, worker, closure, result.and_then(T::reply));
}

fn resume_packed<S, F>(
    behaviour: &mut dyn Behaviour,
    core: &mut Core,
    worker: &mut Worker,
    closure: Parcel,
    result: Result<Body, CallError>,
) where
    S: Service,
    F: FnOnce(&mut S, &mut Context<'_, S>, Result<Body, CallError>) + Send + 'static,
{
    resume::<S, F, _>(behaviour, core, worker, closure, result);
}

fn resume_raw<S, F>(
    behaviour: &mut dyn Behaviour,
    core: &mut Core,
    worker: &mut Worker,
    closure: Parcel,
    result: Result<Body, CallError>,
) where
    S: Service,
    F: FnOnce(&mut S, &mut Context<'_, S>, Result<Payload, CallError>) + Send + 'static,
{
    let payload = result.and_then(|body| match body {
        Body::Bytes(payload) => Ok(payload),
        Body::Empty => Ok(Payload::new()),
        Body::Failure(reason) => Err(reason),
        Body::Typed(_) => Err(CallError::Malformed { offset: 0, reason: "the reply has no bytes" }),
    });
    resume::<S, F, _>(behaviour, core, worker, closure, payload);
}

fn fire_once<S, F>(
    behaviour: &mut dyn Behaviour,
    core: &mut Core,
    worker: &mut Worker,
    closure: Parcel,
    _: Instant,
) -> Option<(Instant, Parcel)>
where
    S: Service,
    F: FnOnce(&mut S, &mut Context<'_, S>) + Send + 'static,
{
    let running = Running::<S>::of(behaviour);
    let Ok(then) = closure.open::<F>() else { unreachable!("`after` packs its closure with this function") };
    then(&mut running.service, &mut Context::new(core, worker));
    None
}

fn fire_every<S, F>(
    behaviour: &mut dyn Behaviour,
    core: &mut Core,
    worker: &mut Worker,
    closure: Parcel,
    scheduled: Instant,
) -> Option<(Instant, Parcel)>
where
    S: Service,
    F: FnMut(&mut S, &mut Context<'_, S>, Tick) + Send + 'static,
{
    let running = Running::<S>::of(behaviour);
    let Ok(mut every) = closure.open::<Every<F>>() else {
        unreachable!("`every` packs its closure with this function")
    };
    let now = worker.shared.now();
    let tick = Tick { index: every.index, scheduled, late_by: now.since(scheduled) };
    (every.tick)(&mut running.service, &mut Context::new(core, worker), tick);
    let next = every.advance(scheduled, now);
    Some((next, Parcel::new(every)))
}
