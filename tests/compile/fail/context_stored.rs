//! A context cannot be kept in its service.

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

struct Keeper {
    ctx: Option<&'static mut Context<'static, Keeper>>,
}
impl Service for Keeper {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        self.ctx = Some(ctx);
        Ok(())
    }
}

fn main() {}
