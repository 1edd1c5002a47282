//! Two nodes in one process, linked over loopback TCP as two processes would be: a service of one is called by its global
//! name from the other, then its node goes away.

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

/// A port that nobody uses at this moment: other nodes must know the master's.
fn free_address() -> std::io::Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let master = free_address()?;
    let one = Node::start(Config::local().harbor(1).address("127.0.0.1:0").standalone(&*master))?;
    let two = Node::start(Config::local().harbor(2).address("127.0.0.1:0").master(&*master))?;

    let counter = two.spawn("counter", Counter { total: 0 })?;
    two.register_global("COUNTER", &counter)?;

    let name: Name = "COUNTER".parse()?;
    let handle = one.query(name, secs(5))?;
    println!("COUNTER is {handle} on node {}", handle.harbor());
    println!("by name:   {}", one.call_blocking(&Global::new(name), Add(2), secs(5))?);
    println!("by handle: {}", one.call_blocking(&handle, Add(3), secs(5))?);

    two.shutdown(secs(5))?;
    match one.call_blocking(&handle, Add(4), secs(5)) {
        Ok(total) => println!("still there? {total}"),
        Err(reason) => println!("node 2 has left: {reason}"),
    }
    one.shutdown(secs(5))?;
    Ok(())
}
