//! A continuation crosses threads with its service.

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
}
impl Service for Client {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        let local = std::rc::Rc::new(2);
        ctx.call(&self.counter, Add(2), secs(1), move |_, _, _| drop(local));
        Ok(())
    }
}

fn main() {}
