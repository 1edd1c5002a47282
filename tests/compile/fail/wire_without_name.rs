//! A request for the wire says by which name it is called, or that its variants do.

use serde::{Deserialize, Serialize};
use skyharbor::prelude::*;

#[derive(Serialize, Deserialize)]
enum Store {
    Get(String),
    Set(String, i64),
}
impl Request for Store {
    type Reply = Option<i64>;
}
impl Wire for Store {}

fn main() {}
