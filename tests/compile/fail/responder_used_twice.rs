//! A responder answers once.

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

struct Gate;
impl Service for Gate {}
impl Handler<Add> for Gate {
    fn handle(&mut self, _: Add, ctx: &mut Context<'_, Self>) -> Reply<i64> {
        let (answer, later) = ctx.defer();
        answer.reply(ctx, 1);
        answer.reply(ctx, 2);
        later
    }
}

fn main() {}
