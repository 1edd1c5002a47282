//! The raw door: a proxy that passes on what it gets.

use skyharbor::prelude::*;

struct Echo;
impl Service for Echo {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        ctx.reply(message.into_payload());
        Disposition::Handled
    }
}

struct Proxy {
    backend: Handle,
}
impl Service for Proxy {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        match message.kind() {
            Kind::LUA => ctx.forward(self.backend, message),
            _ => Disposition::Unhandled,
        }
    }
}

fn main() -> Result<(), skyharbor::Error> {
    let node = Node::start(Config::local())?;
    let echo = node.spawn("echo", Echo)?;
    let proxy = node.spawn("proxy", Proxy { backend: echo.handle() })?;
    assert_eq!(&*node.call_raw_blocking(proxy, Kind::LUA, b"hello", secs(5))?, b"hello");
    let refused = node.call_raw_blocking(proxy, Kind::TEXT, b"hello", secs(5));
    assert_eq!(refused, Err(CallError::Unhandled));
    node.shutdown(secs(1))
}
