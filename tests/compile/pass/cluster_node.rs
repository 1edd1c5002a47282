//! A node of a cluster, as far as it compiles: its master is nowhere, so it is not started.

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

fn serve(config: &str) -> Result<(), skyharbor::Error> {
    let node = Node::start(Config::from_file(config)?)?;
    let counter = node.spawn("counter", Counter { total: 0 })?;
    node.register_global("COUNTER", &counter)?;
    node.wait();
    node.shutdown(secs(5))
}

fn main() {
    assert!(matches!(serve("no-such-file.toml"), Err(skyharbor::Error::Config(_))));
}
