//! The duty to answer: who waits, in which form, and what happens if nobody answers.

use super::context::Context;
use super::door::Door;
use super::service::{Reply, Service};
use crate::message::{Body, CallError, Envelope, Handle, Kind, Payload, Session};
use crate::queue::Parcel;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Packs a typed answer for a caller that speaks bytes.
pub(crate) type Encode = fn(Parcel) -> Result<Payload, CallError>;

/// The message that is being handled: who waits for its answer, if anybody still does.
#[derive(Clone, Copy, Default)]
pub(crate) struct Origin {
    pub(crate) source: Handle,
    pub(crate) session: Session,
    /// `Some` if the request came as bytes: how its answer is packed.
    pub(crate) encode: Option<Encode>,
    /// Whether the answer is still owed.
    pub(crate) owed: bool,
}

impl Origin {
    pub(crate) fn of(envelope: &Envelope) -> Self {
        Self {
            source: envelope.source,
            session: envelope.session,
            encode: None,
            owed: envelope.refusal(CallError::Dropped).is_some(),
        }
    }

    /// The answer with a value of the process, packed if the caller speaks bytes.
    pub(crate) fn answer<T: Send + 'static>(&self, from: Handle, value: T) -> Envelope {
        let parcel = Parcel::new(value);
        let body = match self.encode {
            None => Ok(Body::Typed(parcel)),
            Some(encode) => encode(parcel).map(Body::Bytes),
        };
        match body {
            Ok(body) => self.envelope(from, Kind::RESPONSE, body),
            Err(reason) => self.failure(from, reason),
        }
    }

    pub(crate) fn envelope(&self, from: Handle, kind: Kind, body: Body) -> Envelope {
        Envelope { source: from, dest: self.source, session: self.session, kind, body }
    }

    pub(crate) fn failure(&self, from: Handle, reason: CallError) -> Envelope {
        Envelope::error(from, self.source, self.session, reason)
    }
}

/// The duty to answer one caller, kept for later: by [`Context::defer`] and [`Context::defer_raw`].
///
/// It may be moved anywhere, another thread included. Dropped without an answer, its caller gets [`CallError::Dropped`].
#[must_use = "dropped, the caller gets an error"]
pub struct Responder<T> {
    origin: Origin,
    from: Handle,
    door: Arc<Door>,
    _reply: PhantomData<fn(T)>,
}

/// The half of [`Context::defer`] that a handler returns.
pub struct Later<T>(PhantomData<fn(T)>);

impl<T> Later<T> {
    /// For whoever took the duty to answer.
    pub(crate) fn given() -> Self {
        Self(PhantomData)
    }
}

impl<T> Responder<T> {
    pub(crate) fn new(origin: Origin, from: Handle, door: Arc<Door>) -> (Self, Reply<T>) {
        (Self { origin, from, door, _reply: PhantomData }, Reply::Later(Later::given()))
    }

    /// Whether somebody waits for the answer.
    pub fn is_awaited(&self) -> bool {
        self.origin.owed
    }

    /// Ends the call with an error.
    pub fn fail<S: Service>(mut self, ctx: &mut Context<'_, S>, reason: CallError) {
        if std::mem::take(&mut self.origin.owed) {
            ctx.worker.deliver(self.origin.failure(self.from, reason));
        }
    }

    /// Ends the call with an error, from any thread.
    pub fn fail_from_outside(mut self, reason: CallError) {
        if std::mem::take(&mut self.origin.owed) {
            self.door.deliver(self.origin.failure(self.from, reason));
        }
    }
}

impl<T: Send + 'static> Responder<T> {
    /// Answers the caller.
    pub fn reply<S: Service>(mut self, ctx: &mut Context<'_, S>, value: T) {
        if let Some(answer) = self.take_answer(value) {
            ctx.worker.deliver(answer);
        }
    }

    /// Answers the caller from any thread.
    pub fn reply_from_outside(mut self, value: T) {
        if let Some(answer) = self.take_answer(value) {
            self.door.deliver(answer);
        }
    }

    /// The answer, if it is owed. Packing is user code: if it panics, the duty is still there for `drop`.
    fn take_answer(&mut self, value: T) -> Option<Envelope> {
        let answer = self.origin.owed.then(|| self.origin.answer(self.from, value));
        self.origin.owed = false;
        answer
    }
}

impl<T> Drop for Responder<T> {
    fn drop(&mut self) {
        if self.origin.owed {
            self.door.deliver(self.origin.failure(self.from, CallError::Dropped));
        }
    }
}

impl<T> fmt::Debug for Responder<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Responder(to {} session {})", self.origin.source, self.origin.session.bits())
    }
}
