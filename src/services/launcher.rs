//! Launches one service and ends: a slow or broken factory holds up nobody but those who wait for its service.

use super::factories::{Factory, Launch};
use crate::message::Handle;
use crate::runtime::{Context, Handler, Reply, Request, Service, Spawn};
use crate::seri::Value;
use std::sync::Arc;

pub(super) struct Launcher;

/// Launch a service under a label and a local name.
pub(super) struct Order {
    pub(super) factory: Arc<Factory>,
    pub(super) label: String,
    pub(super) local_name: String,
    pub(super) arguments: Vec<Value>,
}

impl Request for Order {
    /// The service, or why there is none.
    type Reply = Result<Handle, String>;
}

impl Service for Launcher {}

impl Handler<Order> for Launcher {
    fn handle(&mut self, order: Order, ctx: &mut Context<'_, Self>) -> Reply<Result<Handle, String>> {
        let options = Spawn::new().local_name(&order.local_name);
        let launch = Launch { label: &order.label, options, arguments: &order.arguments };
        let launched = (order.factory)(ctx, launch);
        ctx.exit();
        Reply::Now(launched.map_err(|reason| reason.to_string()))
    }
}
