//! What the runtime keeps for one service, and what lies in its mailbox.

use super::calls::{Calls, Continuation, Resume};
use super::context::Context;
use super::methods::{MethodTable, split_name};
use super::respond::Origin;
use super::service::{Disposition, Message, Service, StartError};
use super::worker::Worker;
use crate::clock::Instant;
use crate::message::{Body, CallError, Envelope, Handle, Kind};
use crate::queue::{Parcel, Token};
use smallvec::SmallVec;
use std::any::Any;
use std::sync::Arc;

/// The right to run one service; see [`crate::queue`].
pub(crate) type Turn = Token<Cell, Letter>;

/// Runs a typed request, which lies in the parcel.
pub(crate) type Invoke = fn(&mut dyn Behaviour, &mut Core, &mut Worker, Parcel);

/// One entry of a mailbox.
pub(crate) enum Letter {
    /// A message for the raw door, a method, or a waiting call.
    Envelope(Envelope),
    /// A typed request and who runs it.
    Request(Envelope, Invoke),
    /// For the control lane.
    Control(Control),
}

impl Letter {
    /// Bytes outside the letter, for the node's budget.
    pub(crate) fn heap_len(&self) -> usize {
        match self {
            Self::Envelope(envelope) | Self::Request(envelope, _) => envelope.body.heap_len(),
            Self::Control(_) => 0,
        }
    }
}

/// What overtakes ordinary messages.
pub(crate) enum Control {
    /// This alarm of the service has gone off.
    Tick(Instant),
    /// End now; who waits gets this reason.
    Kill(CallError),
}

/// A service's state and its bookkeeping; lives inside the mailbox, reached by the token only.
pub(crate) struct Cell {
    pub(crate) core: Core,
    /// `None` once it ended.
    pub(crate) service: Option<Box<dyn Behaviour>>,
}

/// The bookkeeping of a service.
pub(crate) struct Core {
    pub(crate) handle: Handle,
    pub(crate) generation: u32,
    /// Set by `exit`, kill or a refused start; the turn ends with the message that set it.
    pub(crate) ending: Option<Ending>,
    pub(crate) calls: Option<Box<Calls>>,
    /// When workers will tick this service: the alarms in their wheels, the next one last. A far one stays while near ones
    /// come and go.
    pub(crate) alarms: SmallVec<[Instant; 2]>,
    pub(crate) label: Arc<str>,
    /// DEBUG messages come through the raw door.
    pub(crate) sees_debug: bool,
}

/// Why a service ends: callers in its mailbox get the reason; `stop` runs unless it panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) reason: CallError,
    pub(crate) stop: bool,
}

impl Core {
    pub(crate) fn calls(&mut self, now: impl FnOnce() -> Instant) -> &mut Calls {
        self.calls.get_or_insert_with(|| Box::new(Calls::new(now())))
    }
}

/// A service of any type.
pub(crate) trait Behaviour: Any + Send {
    fn start(&mut self, core: &mut Core, worker: &mut Worker) -> Result<(), StartError>;
    fn stop(&mut self, core: &mut Core, worker: &mut Worker);
    /// A message that no waiting call takes: a method by its name, or the raw door.
    fn receive(&mut self, core: &mut Core, worker: &mut Worker, envelope: Envelope);
}

/// A service of type `S`.
pub(crate) struct Running<S: Service> {
    pub(crate) service: S,
    pub(crate) methods: Option<Arc<MethodTable<S>>>,
}

impl<S: Service> Running<S> {
    /// The service behind `behaviour`, whose type the address promises.
    pub(crate) fn of(behaviour: &mut dyn Behaviour) -> &mut Self {
        let any: &mut dyn Any = behaviour;
        any.downcast_mut()
            .expect("an address of this type leads to a service of this type: generations are checked")
    }
}

impl<S: Service> Behaviour for Running<S> {
    fn start(&mut self, core: &mut Core, worker: &mut Worker) -> Result<(), StartError> {
        self.service.start(&mut Context::new(core, worker))
    }

    fn stop(&mut self, core: &mut Core, worker: &mut Worker) {
        self.service.stop(&mut Context::new(core, worker));
    }

    fn receive(&mut self, core: &mut Core, worker: &mut Worker, envelope: Envelope) {
        worker.origin = Origin::of(&envelope);
        if envelope.kind == Kind::DEBUG && !core.sees_debug {
            return debug(core, worker, &envelope);
        }
        let envelope = match &self.methods {
            Some(methods) => match methods.find(&envelope) {
                Some((method, arguments)) => {
                    return method(&mut self.service, &mut Context::new(core, worker), arguments);
                }
                None => envelope,
            },
            None => envelope,
        };
        let Envelope { source, session, kind, body, .. } = envelope;
        let message = Message { kind, source, session, body };
        let disposition = self.service.message(&mut Context::new(core, worker), message);
        let reason = match disposition {
            Disposition::Handled => CallError::Dropped,
            Disposition::Unhandled => CallError::Unhandled,
        };
        worker.settle(core.handle, reason);
    }
}

/// A DEBUG message to a service that does not want to see it. `PING` is answered as a Lua service answers it, without a
/// value; everything else is refused.
fn debug(core: &Core, worker: &mut Worker, envelope: &Envelope) {
    let command = envelope.body.bytes().and_then(split_name);
    match command {
        Some((b"PING", _)) => worker.answer(core.handle, Body::Empty),
        Some(_) | None => worker.settle(core.handle, CallError::Denied),
    }
}

/// A continuation's code: opens the closure and runs it with the decoded result.
pub(crate) fn continuation<F: Send + 'static>(resume: Resume, closure: F) -> Continuation {
    Continuation { resume, closure: Parcel::new(closure) }
}
