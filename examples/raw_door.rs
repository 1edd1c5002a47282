//! The raw door: a service that sees messages as Skynet's C callback does, with type, session, source and bytes. This one
//! passes LUA messages on to a backend, counts TEXT, and leaves the rest unhandled.

use skyharbor::prelude::*;
use skyharbor::seri::{Value, pack, unpack};
use skyharbor::services::Echo;

struct Proxy {
    backend: Handle,
    texts: u32,
}
impl Service for Proxy {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        match message.kind() {
            // Source and session stay: the backend answers the caller itself.
            Kind::LUA => ctx.forward(self.backend, message),
            Kind::TEXT => {
                self.texts += 1;
                ctx.reply(format!("text {}, {} bytes", self.texts, message.bytes().len()).into_bytes());
                Disposition::Handled
            }
            _ => Disposition::Unhandled,
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::start(Config::local())?;
    let backend = node.spawn("echo", Echo)?.handle();
    let proxy = node.spawn("proxy", Proxy { backend, texts: 0 })?;

    let packed = pack(&[Value::Int(1), Value::Bytes(b"two".to_vec())])?;
    let reply = node.call_raw_blocking(proxy, Kind::LUA, packed, secs(1))?;
    for value in unpack(&reply)? {
        println!("LUA:    {:?} {:?}", value.as_int(), value.as_str());
    }

    let reply = node.call_raw_blocking(proxy, Kind::TEXT, b"hello", secs(1))?;
    println!("TEXT:   {}", String::from_utf8_lossy(&reply));

    let refused = node.call_raw_blocking(proxy, Kind::CLIENT, b"?", secs(1));
    println!("CLIENT: {}", refused.unwrap_err());
    node.shutdown(secs(1))?;
    Ok(())
}
