//! The node that a workload's services run on.

use crate::plan::{Failure, Plan};
use skyharbor::Target;
use skyharbor::prelude::*;
use std::time::Duration;

/// How long a question to a service, and the end of a node, may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

/// A node without links, or with them.
pub(crate) struct Stage {
    node: Node,
}

impl Stage {
    /// A node that is alone.
    pub(crate) fn local(plan: &Plan) -> Result<Self, Failure> {
        Self::start(Config::local(), plan.workers, plan.pin)
    }

    /// A node with this many workers.
    pub(crate) fn start(config: Config, workers: usize, pin: bool) -> Result<Self, Failure> {
        let node = Node::start(config.threads(workers as u32).pin(pin))?;
        Ok(Self { node })
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Gives a service a global name.
    pub(crate) fn register<S: Service>(&self, name: &str, service: &Addr<S>) -> Result<(), Failure> {
        Ok(self.node.register_global(name, service)?)
    }

    pub(crate) fn spawn<S: Service>(&self, label: &str, service: S) -> Result<Addr<S>, Failure> {
        Ok(self.node.spawn(label, service).map_err(Error::from)?)
    }

    /// Asks a service and waits for its answer.
    pub(crate) fn ask<R: Request, T>(&self, service: &T, request: R) -> Result<R::Reply, Failure>
    where
        T: Target<R> + Copy + Send + 'static,
    {
        Ok(self.node.call_blocking(service, request, PATIENCE).map_err(Error::from)?)
    }

    /// Shuts the node down: every service ends and every thread is joined.
    pub(crate) fn end(self) -> Result<(), Failure> {
        Ok(self.node.shutdown(PATIENCE)?)
    }
}
