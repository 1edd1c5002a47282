//! The service through which foreign threads call, spawn and ask: their requests become jobs of an ordinary service, so
//! that deadlines, errors and remote calls are the same for both.

use super::address::Addr;
use super::context::Context;
use super::service::{Handler, Reply, Request, Service};

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
        (job.0)(ctx);
        Reply::Now(())
    }
}

pub(crate) type BridgeAddr = Addr<Bridge>;
