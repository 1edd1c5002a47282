//! The program `skyharbor`: runs a node, checks its configuration, talks to running nodes.
//!
//! ```text
//!  main ──► run    a node, its services and its control socket, until a signal
//!       ├─► check  a configuration, every error with its line
//!       ├─► call   through a control socket, or from a node of its own (join)
//!       └─► names  through a control socket
//! ```
//!
//! The library knows no signals, files or terminals; they are here. Everything that the program does with the library
//! goes through its public API.

#![forbid(unsafe_code)]

mod arguments;
mod call;
mod callee;
mod check;
mod control;
mod events;
mod gateway;
mod join;
mod json;
mod limits;
mod logs;
mod names;
mod outcome;
mod run;

use arguments::{Arguments, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { config } => run::run(&config),
        Command::Check { config } => check::check(&config),
        Command::Call(arguments) => call::call(&arguments),
        Command::Names { via, json } => names::names(&via, json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => failed.report(),
    }
}
