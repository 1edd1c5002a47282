//! A handler answers with its request's reply type.

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

struct Teller;
impl Service for Teller {}
impl Handler<Add> for Teller {
    fn handle(&mut self, _: Add, _: &mut Context<'_, Self>) -> Reply<i64> {
        Reply::Now("two")
    }
}

fn main() {}
