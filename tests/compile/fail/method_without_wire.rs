//! Bytes reach requests that are `Wire` only.

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

struct Open;
impl Service for Open {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Add>();
    }
}
impl Handler<Add> for Open {
    fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) -> Reply<i64> {
        Reply::Now(add.0)
    }
}

fn main() {}
