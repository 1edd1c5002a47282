//! A request that is not `Wire` cannot go to a global name.

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

struct Client;
impl Service for Client {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        let counter = ctx.global("COUNTER");
        ctx.call(&counter, Add(2), secs(1), |_, _, _| {});
        Ok(())
    }
}

fn main() {}
