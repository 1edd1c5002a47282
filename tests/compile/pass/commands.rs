//! The commands of a service as one enum: each variant is a method, and what it has are the arguments.

use serde::{Deserialize, Serialize};
use skyharbor::prelude::*;
use std::collections::HashMap;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Store {
    Get(String),
    Set(String, i64),
}
impl Request for Store {
    type Reply = Option<i64>;
}
impl Wire for Store {
    const NAME: &'static str = BY_VARIANT;
}

#[derive(Default)]
struct Shelf(HashMap<String, i64>);
impl Service for Shelf {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Store>();
    }
}
impl Handler<Store> for Shelf {
    fn handle(&mut self, store: Store, _: &mut Context<'_, Self>) -> Reply<Option<i64>> {
        Reply::Now(match store {
            Store::Get(key) => self.0.get(&key).copied(),
            Store::Set(key, value) => self.0.insert(key, value),
        })
    }
}

fn main() -> Result<(), skyharbor::Error> {
    let node = Node::start(Config::local())?;
    let shelf = node.spawn("shelf", Shelf::default())?.handle();
    assert_eq!(node.call_blocking(&shelf, Store::Set("a".into(), 1), secs(5))?, None);
    assert_eq!(node.call_blocking(&shelf, Store::Get("a".into()), secs(5))?, Some(1));
    node.shutdown(secs(1))
}
