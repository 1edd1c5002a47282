//! The service through which control clients reach the node: an ordinary service, so that their calls have the same
//! deadlines and errors as everyone's.

use crate::callee::Callee;
use skyharbor::message::{HarborAnswer, HarborRequest, Status};
use skyharbor::prelude::*;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// The gateway.
pub(crate) struct Gateway;

/// Something that a client wants, and where the result goes. It is dropped unanswered only with its node.
pub(crate) enum Ask {
    /// A call with packed values.
    Call {
        callee: Callee,
        payload: Payload,
        timeout: Duration,
        result: SyncSender<Result<Payload, CallError>>,
    },
    /// The node's picture of its cluster.
    Status { timeout: Duration, result: SyncSender<Result<Status, CallError>> },
}

impl Request for Ask {
    type Reply = ();
}

impl Service for Gateway {}

impl Handler<Ask> for Gateway {
    fn handle(&mut self, ask: Ask, ctx: &mut Context<'_, Self>) -> Reply<()> {
        match ask {
            Ask::Call { callee, payload, timeout, result } => {
                match destination(&callee, ctx) {
                    Some(to) => ctx.call_raw(to, Kind::LUA, payload, timeout, move |_, _, reply| {
                        // A client that is gone does not wait.
                        let _ = result.try_send(reply);
                    }),
                    None => drop(result.try_send(Err(CallError::NoService))),
                }
            }
            Ask::Status { timeout, result } => {
                ctx.ask(
                    timeout,
                    |waiter| HarborRequest::Status { waiter },
                    move |_, _, answer| {
                        let status = answer.and_then(|answer| match answer {
                            HarborAnswer::Status(status) => Ok(*status),
                            _ => Err(CallError::Dropped),
                        });
                        let _ = result.try_send(status);
                    },
                );
            }
        }
        Reply::Now(())
    }
}

/// Where a call goes; `None` if no service of this node has the local name.
fn destination(callee: &Callee, ctx: &Context<'_, Gateway>) -> Option<Destination> {
    match callee {
        Callee::Handle(handle) => Some(Destination::from(*handle)),
        Callee::Global(name) => Some(Destination::from(*name)),
        Callee::Local(name) => ctx.local(name).map(Destination::from),
    }
}
