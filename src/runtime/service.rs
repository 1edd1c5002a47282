//! What a user writes: services, requests, handlers.

use super::context::Context;
use super::methods::Methods;
use super::respond::Later;
use crate::message::{Body, CallError, Handle, Kind, Payload, SendError, Session};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that receives messages, one at a time, on whichever worker is free.
///
/// Every method has a default, so `impl Service for Counter {}` is a service. Handlers of typed requests are
/// [`Handler`]; everything that no typed handler takes comes through [`Service::message`].
///
/// A panic in any of these methods ends this one service: its mailbox is answered with errors, its state is
/// dropped, nothing else is touched.
pub trait Service: Sized + Send + 'static {
    /// Runs before the first message. Messages that arrive meanwhile wait.
    ///
    /// # Errors
    /// A refused start ends the service; the one who spawned it gets the reason.
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        let _ = ctx;
        Ok(())
    }

    /// Runs once when the service ends by `exit`, `kill` or shutdown, not after a panic or a refused start.
    fn stop(&mut self, ctx: &mut Context<'_, Self>) {
        let _ = ctx;
    }

    /// The raw door: a message that no typed handler takes, as Skynet's C callback gets it.
    ///
    /// An [`Disposition::Unhandled`] message is answered with ERROR if its sender waits.
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        let _ = (ctx, message);
        Disposition::Unhandled
    }

    /// Names the typed requests that bytes may reach, from other nodes or through a bare handle.
    fn methods(methods: &mut Methods<Self>) {
        let _ = methods;
    }
}

/// A typed message to a service, with the type of its answer. One-way messages have `Reply = ()`.
pub trait Request: Send + 'static {
    /// What the callee answers.
    type Reply: Send + 'static;
}

/// A request that can leave the process: packed as Skynet packs values.
///
/// In Lua the request `Add(2)` with `NAME = "add"` arrives as the arguments `"add", 2`, and what the Lua function returns
/// becomes the reply. A tuple struct is as many arguments as it has fields, a struct with named fields is one table, an
/// enum is its variant's name and the variant's fields; a reply likewise. [`crate::seri`] has the rules.
pub trait Wire: Request<Reply: Serialize + DeserializeOwned> + Serialize + DeserializeOwned {
    /// The first argument, by which the receiver chooses its method; or [`BY_VARIANT`].
    const NAME: &'static str;
}

/// The [`Wire::NAME`] of a request that has none of its own. An enum of a service's commands is one: each variant is a
/// method under the variant's name, as serde has it.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use skyharbor::prelude::*;
/// #[derive(Serialize, Deserialize)]
/// #[serde(rename_all = "lowercase")]
/// enum Command {
///     Get(String),          // "get", key
///     Set(String, i64),     // "set", key, value
///     Clear,                // "clear"
/// }
/// impl Request for Command {
///     type Reply = Option<i64>;
/// }
/// impl Wire for Command {
///     const NAME: &'static str = BY_VARIANT;
/// }
/// ```
///
/// Of another type it is the arguments alone, for a callee that expects no name before them; [`Methods::on`] takes
/// enums only.
pub const BY_VARIANT: &str = "\0";

/// A service that takes requests of type `R`.
pub trait Handler<R: Request>: Service {
    /// Handles one request.
    fn handle(&mut self, request: R, ctx: &mut Context<'_, Self>) -> Reply<R::Reply>;
}

/// What a handler returns.
#[must_use = "a reply that is not returned from the handler answers nobody"]
pub enum Reply<T> {
    /// The answer.
    Now(T),
    /// The caller gets this error.
    Fail(CallError),
    /// The answer comes later, through the responder that [`Context::defer`] gave together with this value.
    Later(Later<T>),
}

/// What became of a raw message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It was taken. A call that was neither answered nor deferred nor forwarded meanwhile ends with [`CallError::Dropped`].
    Handled,
    /// Nobody takes such a message: a caller gets [`CallError::Unhandled`].
    Unhandled,
}

/// A message as it came through the raw door.
#[derive(Debug)]
pub struct Message {
    pub(crate) kind: Kind,
    pub(crate) source: Handle,
    pub(crate) session: Session,
    pub(crate) body: Body,
}

impl Message {
    /// Its type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Who sent it; [`Handle::NONE`] if unknown.
    pub fn source(&self) -> Handle {
        self.source
    }

    /// The session that an answer must carry; 0 = no answer wanted.
    pub fn session(&self) -> Session {
        self.session
    }

    /// Its bytes. A typed value, which only typed handlers take, has none.
    pub fn bytes(&self) -> &[u8] {
        self.body.bytes().unwrap_or_default()
    }

    /// Its bytes, without a copy.
    pub fn into_payload(self) -> Payload {
        match self.body {
            Body::Bytes(payload) => payload,
            Body::Empty | Body::Typed(_) | Body::Failure(_) => Payload::new(),
        }
    }
}

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct StartError {
    reason: Box<str>,
}

impl StartError {
    /// A refusal with a text for people.
    pub fn new(reason: impl std::fmt::Display) -> Self {
        Self { reason: reason.to_string().into() }
    }
}

impl From<CallError> for StartError {
    fn from(reason: CallError) -> Self {
        Self::new(reason)
    }
}

/// What was refused is dropped, the reason stays.
impl<M> From<SendError<M>> for StartError {
    fn from(refused: SendError<M>) -> Self {
        Self::new(refused)
    }
}

/// Why nothing was spawned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The service refused to start.
    #[error("the service did not start: {0}")]
    Start(#[from] StartError),
    /// The service panicked in `start`.
    #[error("the service panicked while it started")]
    Panicked,
    /// All 2²⁴ service ids are in use, or services spawned services in `start` too deeply.
    #[error("no room for another service")]
    Exhausted,
    /// The node shuts down.
    #[error("the node shuts down")]
    Shutdown,
    /// The local name is taken or malformed.
    #[error("the local name is taken or malformed")]
    Name,
}
