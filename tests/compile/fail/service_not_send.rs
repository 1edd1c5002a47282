//! A service crosses threads: it must be `Send`.

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

struct Shared(std::rc::Rc<u32>);
impl Service for Shared {}

fn main() {}
