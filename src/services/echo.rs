//! The echo: the first service of every new cluster.

use crate::runtime::{Context, Disposition, Handler, Message, Reply, Request, Service};

/// Answers each call with exactly what it got: the same bytes for a message of any kind, the same value for a typed
/// request whose reply is itself.
///
/// ```
/// use skyharbor::prelude::*;
/// use skyharbor::services::Echo;
/// let node = Node::start(Config::local().threads(1))?;
/// let echo = node.spawn("echo", Echo)?;
/// let reply = node.call_raw_blocking(&echo, Kind::TEXT, &b"hello"[..], secs(1))?;
/// assert_eq!(&reply[..], b"hello");
/// # Ok::<(), skyharbor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Service for Echo {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        ctx.reply(message.into_payload());
        Disposition::Handled
    }
}

impl<R: Request<Reply = R>> Handler<R> for Echo {
    fn handle(&mut self, request: R, _: &mut Context<'_, Self>) -> Reply<R> {
        Reply::Now(request)
    }
}
