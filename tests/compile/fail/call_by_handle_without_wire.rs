//! A request that is not `Wire` cannot go to a bare handle: whoever has it may be on another node.

use skyharbor::prelude::*;

struct Add(i64);
impl Request for Add {
    type Reply = i64;
}

struct Counter {
    total: i64,
}
impl Service for Counter {}
impl Handler<Add> for Counter {
    fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) -> Reply<i64> {
        self.total += add.0;
        Reply::Now(self.total)
    }
}

fn main() {
    let node = Node::start(Config::local()).unwrap();
    let counter = node.spawn("counter", Counter { total: 0 }).unwrap();
    let _ = node.call_blocking(&counter.handle(), Add(2), secs(1));
}
