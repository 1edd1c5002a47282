//! The workloads of one process.

mod body;
mod call;
mod fanin;
mod idle;
mod pairs;
mod tokens;
mod tree;

pub(crate) use call::call;
pub(crate) use fanin::fanin;
pub(crate) use idle::idle;
pub(crate) use pairs::{pairs, pingpong};
pub(crate) use tokens::{mixed, ring};
pub(crate) use tree::tree;
