//! One service, one request, one process. The start of everything else.

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

fn main() -> Result<(), skyharbor::Error> {
    let node = Node::start(Config::local())?;
    let counter = node.spawn("counter", Counter { total: 0 })?;
    println!("the total is {}", node.call_blocking(&counter, Add(2), secs(1))?);
    node.shutdown(secs(1))
}
