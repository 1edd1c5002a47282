//! A continuation cannot borrow its service: it gets it when it runs.

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

struct Client {
    counter: Addr<Counter>,
    sum: i64,
}
impl Service for Client {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        ctx.call(&self.counter, Add(2), secs(1), |_, _, sum| self.sum = sum.unwrap());
        Ok(())
    }
}

fn main() {}
