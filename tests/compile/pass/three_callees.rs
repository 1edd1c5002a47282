//! One request, three kinds of callee.

use serde::{Deserialize, Serialize};
use skyharbor::prelude::*;

#[derive(Serialize, Deserialize)]
struct Add(i64);
impl Request for Add {
    type Reply = i64;
}
impl Wire for Add {
    const NAME: &'static str = "add";
}

struct Counter {
    total: i64,
}
impl Service for Counter {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Add>();
    }
}
impl Handler<Add> for Counter {
    fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) -> Reply<i64> {
        self.total += add.0;
        Reply::Now(self.total)
    }
}

/// Calls the counter by its address, its handle and its name.
struct Client {
    counter: Addr<Counter>,
    answers: Vec<i64>,
    all: Option<Responder<Vec<i64>>>,
}
impl Service for Client {}

struct Run;
impl Request for Run {
    type Reply = Vec<i64>;
}

impl Client {
    fn answered(&mut self, ctx: &mut Context<'_, Self>, answer: Result<i64, CallError>) {
        self.answers.push(answer.expect("the counter answers"));
        if self.answers.len() == 3 {
            self.all.take().expect("asked once").reply(ctx, self.answers.clone());
        }
    }
}

impl Handler<Run> for Client {
    fn handle(&mut self, _: Run, ctx: &mut Context<'_, Self>) -> Reply<Vec<i64>> {
        let (all, later) = ctx.defer();
        self.all = Some(all);
        ctx.call(&self.counter, Add(2), secs(5), Self::answered);
        ctx.call(&self.counter.handle(), Add(3), secs(5), |me, ctx, sum| me.answered(ctx, sum));
        let counter = ctx.global("COUNTER");
        ctx.call(&counter, Add(4), secs(5), |me, ctx, sum| me.answered(ctx, sum));
        later
    }
}

fn main() -> Result<(), skyharbor::Error> {
    let node = Node::start(Config::local())?;
    let counter = node.spawn("counter", Counter { total: 0 })?;
    node.register_global("COUNTER", &counter)?;
    let client = node.spawn("client", Client { counter, answers: Vec::new(), all: None })?;
    assert_eq!(node.call_blocking(&client, Run, secs(5))?, [2, 5, 9]);
    node.shutdown(secs(1))
}
