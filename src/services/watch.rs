//! Whoever keeps duties to services of other nodes drops them when their node is lost.

use crate::message::{Handle, HarborAnswer, HarborId, HarborRequest};
use crate::runtime::{Context, NEVER, Service};
use std::collections::BTreeSet;

/// The nodes whose loss a service waits for; at most one request for each.
#[derive(Debug, Default)]
pub(super) struct Watched(BTreeSet<HarborId>);

/// A service that keeps duties to services of other nodes.
pub(super) trait Watches: Service {
    /// Its book of nodes.
    fn watched(&mut self) -> &mut Watched;

    /// The link to that node is lost: whoever waited there is gone, or was told so.
    fn handle_lost(&mut self, ctx: &mut Context<'_, Self>, harbor: HarborId);
}

/// Tells `service` when the node of `source` is lost, if that is another node.
pub(super) fn watch<S: Watches>(service: &mut S, ctx: &mut Context<'_, S>, source: Handle) {
    let harbor = source.harbor();
    if !source.is_remote(ctx.harbor()) || !service.watched().0.insert(harbor) {
        return;
    }
    let request = |waiter| HarborRequest::Link { harbor, waiter };
    ctx.ask(NEVER, request, move |service, ctx, answer| {
        service.watched().0.remove(&harbor);
        // Anything else says that nobody watches, not that the node is lost.
        if answer == Ok(HarborAnswer::Down) {
            service.handle_lost(ctx, harbor);
        }
    });
}
