//! One request, three kinds of callee: a service of this node, a bare handle, a global name. Through an `Addr` the value
//! moves; through the other two it travels as Skynet's packed values, so the callee may be Lua on another machine.

use serde::{Deserialize, Serialize};
use skyharbor::prelude::*;

#[derive(Serialize, Deserialize)]
struct Add(i64);
impl Request for Add {
    type Reply = i64;
}
impl Wire for Add {
    const NAME: &'static str = "add"; // in Lua: skynet.call(addr, "lua", "add", 2)
}

struct Counter {
    total: i64,
}
impl Service for Counter {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Add>(); // what bytes may reach
    }
}
impl Handler<Add> for Counter {
    fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) -> Reply<i64> {
        self.total += add.0;
        Reply::Now(self.total)
    }
}

fn main() -> Result<(), skyharbor::Error> {
    let node = Node::start(Config::local())?;
    let counter = node.spawn("counter", Counter { total: 0 })?;
    node.register_global("COUNTER", &counter)?;

    let by_address = node.call_blocking(&counter, Add(2), secs(1))?;
    let by_handle = node.call_blocking(&counter.handle(), Add(3), secs(1))?;
    let by_name = node.call_blocking(&Global::new("COUNTER".parse()?), Add(4), secs(1))?;
    println!("by address {by_address}, by handle {by_handle}, by name {by_name}");

    let nobody = Global::new("NOBODY".parse()?);
    println!("NOBODY: {}", node.call_blocking(&nobody, Add(1), secs(1)).unwrap_err());
    node.shutdown(secs(1))
}
