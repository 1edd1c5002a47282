//! The service through which foreign threads call, spawn and ask: their requests become jobs of an ordinary service, so
//! that deadlines, errors and remote calls are the same for both.
//!
//! Code of users that runs on a thread's behalf may panic: its job ends, the service, which all threads share, does not.

use super::address::Addr;
use super::context::Context;
use super::service::{Handler, Reply, Request, Service};
use crate::metrics::Count;
use crate::sync::channel::Sender;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) struct Bridge;

type Task = Box<dyn FnOnce(&mut Context<'_, Bridge>) + Send>;

/// One thing to do on a worker.
pub(crate) struct Job(pub(crate) Task);

impl Request for Job {
    type Reply = ();
}

impl Service for Bridge {}

impl Handler<Job> for Bridge {
    fn handle(&mut self, job: Job, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let done = catch_unwind(AssertUnwindSafe(|| (job.0)(ctx)));
        ctx.worker.counters.add(Count::Panics, u64::from(done.is_err()));
        Reply::Now(())
    }
}

/// Hands a result to the thread that waits. If none does any more it is dropped here, and a panic in that ends nothing.
pub(crate) fn hand_over<T>(sender: &Sender<T>, result: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(sender.send(result))));
}

pub(crate) type BridgeAddr = Addr<Bridge>;
