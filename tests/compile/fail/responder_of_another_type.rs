//! A responder answers with the reply type of its request.

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

struct Gate {
    counter: Addr<Counter>,
}
impl Service for Gate {}
impl Handler<Add> for Gate {
    fn handle(&mut self, add: Add, ctx: &mut Context<'_, Self>) -> Reply<i64> {
        let (answer, later) = ctx.defer();
        ctx.call(&self.counter, add, secs(1), move |_, ctx, _| answer.reply(ctx, String::from("two")));
        later
    }
}

fn main() {}
