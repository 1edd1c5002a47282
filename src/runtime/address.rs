//! Addresses: who a request goes to, and in which form it travels.

use super::cell::{Behaviour, Core, Invoke, Letter, Running};
use super::context::Context;
use super::methods::{pack_request, unpack_request};
use super::respond::{Encode, Origin};
use super::service::{Handler, Request, Wire};
use super::worker::Worker;
use crate::message::{Body, CallError, Envelope, Handle, Kind, Name, Session};
use crate::queue::Parcel;
use crate::seri;
use std::fmt;
use std::marker::PhantomData;

/// The address of a service of type `S` on this node. Copy it freely; it keeps nothing alive.
///
/// It carries the node instance and the generation of its slot: used on another node of the process, or after the
/// service ended, it gives [`CallError::NoService`], before the message moves.
pub struct Addr<S> {
    pub(crate) handle: Handle,
    pub(crate) generation: u32,
    pub(crate) node: u64,
    pub(crate) _service: PhantomData<fn(S)>,
}

impl<S> Addr<S> {
    /// The 32-bit handle, as other nodes and Lua code see it.
    pub fn handle(&self) -> Handle {
        self.handle
    }
}

impl<S> Clone for Addr<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Addr<S> {}

impl<S> PartialEq for Addr<S> {
    fn eq(&self, other: &Self) -> bool {
        (self.handle, self.generation, self.node) == (other.handle, other.generation, other.node)
    }
}

impl<S> Eq for Addr<S> {}

impl<S> fmt::Debug for Addr<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Addr({})", self.handle)
    }
}

/// Whoever has this global name, in any node and in any language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Global(pub(crate) Name);

impl Global {
    /// The service with this name.
    pub fn new(name: Name) -> Self {
        Self(name)
    }

    /// The name.
    pub fn name(&self) -> Name {
        self.0
    }
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// By handle, on any node.
    Handle(Handle),
    /// By global name.
    Global(Name),
    /// A service of this node, exactly that one.
    Exact {
        /// Its handle.
        handle: Handle,
        /// The generation of its slot.
        generation: u32,
        /// The node instance.
        node: u64,
    },
}

impl From<Handle> for Destination {
    fn from(handle: Handle) -> Self {
        Self::Handle(handle)
    }
}

impl From<Name> for Destination {
    fn from(name: Name) -> Self {
        Self::Global(name)
    }
}

impl From<Global> for Destination {
    fn from(global: Global) -> Self {
        Self::Global(global.0)
    }
}

impl<S> From<Addr<S>> for Destination {
    fn from(addr: Addr<S>) -> Self {
        Self::Exact { handle: addr.handle, generation: addr.generation, node: addr.node }
    }
}

impl<T: Copy + Into<Destination>> From<&T> for Destination {
    fn from(address: &T) -> Self {
        (*address).into()
    }
}

/// Something that takes requests of type `R`: an [`Addr`] whose service has the handler, or, for requests that are
/// [`Wire`], a [`Handle`] or a [`Global`] name.
pub trait Target<R: Request>: sealed::Route<R> {}

impl<S: Handler<R>, R: Request> Target<R> for Addr<S> {}
impl<R: Wire> Target<R> for Handle {}
impl<R: Wire> Target<R> for Global {}

pub(crate) mod sealed {
    use super::{Body, CallError, Destination, Letter, Request};

    /// A request as a message.
    pub struct Packed(pub(crate) Letter);

    /// How a request becomes a message for this kind of address, and back.
    pub trait Route<R: Request> {
        /// Where it goes.
        fn destination(&self) -> Destination;
        /// The request as a message.
        fn pack(request: R) -> Result<Packed, (CallError, R)>;
        /// The request of a message that was refused.
        fn unpack(packed: Packed) -> Option<R>;
        /// The reply in an answer.
        fn reply(body: Body) -> Result<R::Reply, CallError>;
    }
}

impl<S: Handler<R>, R: Request> sealed::Route<R> for Addr<S> {
    fn destination(&self) -> Destination {
        self.into()
    }

    fn pack(request: R) -> Result<sealed::Packed, (CallError, R)> {
        let envelope = envelope(Kind::LUA, Body::Typed(Parcel::new(request)));
        Ok(sealed::Packed(Letter::Request(envelope, invoke::<S, R> as Invoke)))
    }

    fn unpack(packed: sealed::Packed) -> Option<R> {
        match packed.0 {
            Letter::Request(Envelope { body: Body::Typed(parcel), .. }, _) => parcel.open().ok(),
            Letter::Request(..) | Letter::Envelope(_) | Letter::Control(_) => None,
        }
    }

    fn reply(body: Body) -> Result<R::Reply, CallError> {
        match body {
            Body::Typed(parcel) => parcel.open().map_err(|_| WRONG_REPLY),
            Body::Failure(reason) => Err(reason),
            Body::Empty | Body::Bytes(_) => Err(WRONG_REPLY),
        }
    }
}

const WRONG_REPLY: CallError =
    CallError::Malformed { offset: 0, reason: "the reply is not of the request's reply type" };

impl<R: Wire> sealed::Route<R> for Handle {
    fn destination(&self) -> Destination {
        (*self).into()
    }

    fn pack(request: R) -> Result<sealed::Packed, (CallError, R)> {
        match pack_request(&request) {
            Ok(payload) => Ok(sealed::Packed(Letter::Envelope(envelope(Kind::LUA, Body::Bytes(payload))))),
            Err(reason) => Err((reason, request)),
        }
    }

    fn unpack(packed: sealed::Packed) -> Option<R> {
        let Letter::Envelope(envelope) = packed.0 else { return None };
        unpack_request(envelope.body.bytes()?)
    }

    fn reply(body: Body) -> Result<R::Reply, CallError> {
        match body {
            Body::Bytes(payload) => seri::from_values(&payload).map_err(CallError::from),
            Body::Empty => seri::from_values(&[]).map_err(CallError::from),
            Body::Typed(parcel) => parcel.open().map_err(|_| WRONG_REPLY),
            Body::Failure(reason) => Err(reason),
        }
    }
}

impl<R: Wire> sealed::Route<R> for Global {
    fn destination(&self) -> Destination {
        (*self).into()
    }

    fn pack(request: R) -> Result<sealed::Packed, (CallError, R)> {
        <Handle as sealed::Route<R>>::pack(request)
    }

    fn unpack(packed: sealed::Packed) -> Option<R> {
        <Handle as sealed::Route<R>>::unpack(packed)
    }

    fn reply(body: Body) -> Result<R::Reply, CallError> {
        <Handle as sealed::Route<R>>::reply(body)
    }
}

pub(crate) fn envelope(kind: Kind, body: Body) -> Envelope {
    Envelope { source: Handle::NONE, dest: Handle::NONE, session: Session::NONE, kind, body }
}

/// Runs a typed request and answers it.
fn invoke<S: Handler<R>, R: Request>(
    behaviour: &mut dyn Behaviour,
    core: &mut Core,
    worker: &mut Worker,
    request: Parcel,
) {
    let running = Running::<S>::of(behaviour);
    let Ok(request) = request.open::<R>() else { unreachable!("`pack` packs an `R` with this function") };
    let mut ctx = Context::new(core, worker);
    let reply = running.service.handle(request, &mut ctx);
    ctx.finish(reply);
}

/// A request that another service passes on, and how its asker wants the answer.
struct Forwarded<R> {
    request: R,
    encode: Option<Encode>,
}

/// A typed request as `origin`, who asked, would have sent it.
pub(crate) fn forwarded<S: Handler<R>, R: Request>(origin: Origin, request: R) -> Letter {
    let Origin { source, session, encode, .. } = origin;
    let body = Body::Typed(Parcel::new(Forwarded { request, encode }));
    let envelope = Envelope { source, session, ..envelope(Kind::LUA, body) };
    Letter::Request(envelope, invoke_forwarded::<S, R> as Invoke)
}

/// Runs a typed request that was passed on, and answers who asked.
fn invoke_forwarded<S: Handler<R>, R: Request>(
    behaviour: &mut dyn Behaviour,
    core: &mut Core,
    worker: &mut Worker,
    forwarded: Parcel,
) {
    let Ok(Forwarded::<R> { request, encode }) = forwarded.open() else {
        unreachable!("`forwarded` packs a `Forwarded<R>` with this function")
    };
    worker.origin.encode = encode;
    let mut ctx = Context::new(core, worker);
    let reply = Running::<S>::of(behaviour).service.handle(request, &mut ctx);
    ctx.finish(reply);
}

impl Letter {
    pub(crate) fn envelope(&self) -> Option<&Envelope> {
        match self {
            Self::Envelope(envelope) | Self::Request(envelope, _) => Some(envelope),
            Self::Control(_) => None,
        }
    }

    pub(crate) fn envelope_mut(&mut self) -> Option<&mut Envelope> {
        match self {
            Self::Envelope(envelope) | Self::Request(envelope, _) => Some(envelope),
            Self::Control(_) => None,
        }
    }

    pub(crate) fn into_envelope(self) -> Option<Envelope> {
        match self {
            Self::Envelope(envelope) | Self::Request(envelope, _) => Some(envelope),
            Self::Control(_) => None,
        }
    }
}
