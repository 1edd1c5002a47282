//! What a handler may ask about the cluster: who has a name, which nodes are linked. (`skynet.harbor` of Lua.)
//!
//! Each question is a call to the harbor of this node: its answer is a continuation like that of any call, and is never
//! later than its deadline. A node that is alone answers by itself.

use super::address::Global;
use super::calls::Callee;
use super::cell::{Behaviour, Core, continuation};
use super::context::{Context, NEVER, resume};
use super::service::Service;
use super::worker::Worker;
use crate::clock::Instant;
use crate::message::{Body, CallError, Handle, HarborAnswer, HarborId, HarborRequest, Name, Waiter};
use crate::queue::Parcel;
use std::time::Duration;

impl<S: Service> Context<'_, S> {
    /// Whoever has a global name, on any node. Nothing is looked up yet.
    ///
    /// # Panics
    /// If `name` breaks the rules of [`Name`]; use [`Global::new`] for names that are not in the source text.
    pub fn global(&self, name: &str) -> Global {
        match name.parse::<Name>() {
            Ok(name) => Global(name),
            Err(reason) => panic!("{name:?} is not a global name: {reason}"),
        }
    }

    /// Registers a global name for this service: Skynet's `harbor.globalname`. `then` gets `Ok` when it is recorded (by the master too, or inside the node
    /// until the master is reached), or the handle that has the name already.
    pub fn register_global<F>(&mut self, name: Name, then: F)
    where
        F: FnOnce(&mut S, &mut Context<'_, S>, Result<HarborAnswer, CallError>) + Send + 'static,
    {
        let handle = self.core.handle;
        self.ask(NEVER, |waiter| HarborRequest::Register { name, handle, waiter }, then);
    }

    /// Gives up a global name of this service. Names that it has when it ends are given up then.
    pub fn unregister_global(&mut self, name: Name) {
        self.worker.shared.unregister_global(name, self.core.handle);
    }

    /// Waits until the owner of a global name is another than `known`, of which `None` is nobody: at once if it is.
    ///
    /// `then` gets the present owner; or `Timeout`, `Full` if too many wait, or `PeerDown` with this node's own id if that leaves;
    /// on a node that is alone nothing is waited for: `Denied`.
    /// Every change is seen if each answer is followed by the next question; of several in between the last one.
    pub fn watch_name<F>(&mut self, name: Name, known: Option<Handle>, timeout: Duration, then: F)
    where
        F: FnOnce(&mut S, &mut Context<'_, S>, Result<Option<Handle>, CallError>) + Send + 'static,
    {
        let (own, known) = (self.harbor(), known.unwrap_or_default());
        let told = move |me: &mut S, ctx: &mut Context<'_, S>, answer: Result<HarborAnswer, CallError>| {
            let owner = match answer {
                Ok(HarborAnswer::Found(handle)) => Ok(Some(handle)),
                Ok(HarborAnswer::NotFound) => Ok(None),
                Ok(HarborAnswer::Full) => Err(CallError::Full),
                Ok(_) => Err(CallError::PeerDown(own)),
                Err(reason) => Err(reason),
            };
            then(me, ctx, owner);
        };
        self.ask(timeout, |waiter| HarborRequest::Watch { name, known, waiter }, told);
    }

    /// Who has this global name? Skynet's `harbor.queryname`, with a deadline: waits for it until `timeout`, then
    /// [`CallError::NoName`].
    pub fn query<F>(&mut self, name: Name, timeout: Duration, then: F)
    where
        F: FnOnce(&mut S, &mut Context<'_, S>, Result<Handle, CallError>) + Send + 'static,
    {
        let deadline = if timeout < NEVER { self.now() + timeout } else { Instant::FAR };
        let found = move |me: &mut S, ctx: &mut Context<'_, S>, answer: Result<HarborAnswer, CallError>| {
            let handle = match answer {
                Ok(HarborAnswer::Found(handle)) => Ok(handle),
                Ok(HarborAnswer::Full) => Err(CallError::Full),
                Ok(_) | Err(CallError::Timeout) => Err(CallError::NoName(name)),
                Err(reason) => Err(reason),
            };
            then(me, ctx, handle);
        };
        self.ask(NEVER, |waiter| HarborRequest::Query { name, waiter, deadline }, found);
    }

    /// Waits until the link to that node is lost: Skynet's `harbor.link`. At once if there is none.
    ///
    /// `then` gets `Ok` when the link is gone, everything that it brought and every error of a call that it owed an answer
    /// having come before; or `Timeout`, or `Full` if too many wait.
    pub fn link<F>(&mut self, harbor: HarborId, timeout: Duration, then: F)
    where
        F: FnOnce(&mut S, &mut Context<'_, S>, Result<(), CallError>) + Send + 'static,
    {
        self.watch(
            timeout,
            |waiter| HarborRequest::Link { harbor, waiter },
            HarborAnswer::Down,
            harbor,
            then,
        );
    }

    /// Waits until that node is linked: Skynet's `harbor.connect`. At once if it is.
    ///
    /// `then` gets `Ok` when messages go out; `Timeout`; `Full` if too many wait; `PeerDown` if this node is alone or leaves.
    pub fn connect<F>(&mut self, harbor: HarborId, timeout: Duration, then: F)
    where
        F: FnOnce(&mut S, &mut Context<'_, S>, Result<(), CallError>) + Send + 'static,
    {
        self.watch(
            timeout,
            |waiter| HarborRequest::Connect { harbor, waiter },
            HarborAnswer::Up,
            harbor,
            then,
        );
    }

    /// Waits until the master is lost: Skynet's `harbor.linkmaster`. At once if this node is not connected to one.
    ///
    /// `then` gets `Ok` when it is gone, `Timeout`, or `Full` if too many wait. Traffic goes on without it.
    pub fn link_master<F>(&mut self, timeout: Duration, then: F)
    where
        F: FnOnce(&mut S, &mut Context<'_, S>, Result<(), CallError>) + Send + 'static,
    {
        let own = self.harbor();
        self.watch(timeout, |waiter| HarborRequest::LinkMaster { waiter }, HarborAnswer::Down, own, then);
    }

    /// Asks the harbor for something that comes about, or not.
    fn watch<F>(
        &mut self,
        timeout: Duration,
        request: impl FnOnce(Waiter) -> HarborRequest,
        wanted: HarborAnswer,
        peer: HarborId,
        then: F,
    ) where
        F: FnOnce(&mut S, &mut Context<'_, S>, Result<(), CallError>) + Send + 'static,
    {
        let told = move |me: &mut S, ctx: &mut Context<'_, S>, answer: Result<HarborAnswer, CallError>| {
            let result = match answer {
                Ok(answer) if answer == wanted => Ok(()),
                Ok(HarborAnswer::Full) => Err(CallError::Full),
                Ok(_) => Err(CallError::PeerDown(peer)),
                Err(reason) => Err(reason),
            };
            then(me, ctx, result);
        };
        self.ask(timeout, request, told);
    }

    /// Asks the harbor for anything it answers; see [`HarborRequest`].
    pub fn ask<F>(&mut self, timeout: Duration, request: impl FnOnce(Waiter) -> HarborRequest, then: F)
    where
        F: FnOnce(&mut S, &mut Context<'_, S>, Result<HarborAnswer, CallError>) + Send + 'static,
    {
        let continuation = continuation(resume_answer::<S, F>, then);
        let Some(session) = self.open_call(timeout, Callee::Harbor, continuation) else { return };
        let request = request(Waiter { source: self.core.handle, session });
        if let Err(reason) = self.worker.ask(request) {
            self.refuse_call(session, reason);
        }
    }
}

fn resume_answer<S, F>(
    behaviour: &mut dyn Behaviour,
    core: &mut Core,
    worker: &mut Worker,
    closure: Parcel,
    result: Result<Body, CallError>,
) where
    S: Service,
    F: FnOnce(&mut S, &mut Context<'_, S>, Result<HarborAnswer, CallError>) + Send + 'static,
{
    let answer = result.and_then(|body| match body {
        Body::Typed(parcel) => parcel.open().map_err(|_| CallError::Dropped),
        Body::Failure(reason) => Err(reason),
        Body::Empty | Body::Bytes(_) => Err(CallError::Dropped),
    });
    resume::<S, F, _>(behaviour, core, worker, closure, answer);
}
