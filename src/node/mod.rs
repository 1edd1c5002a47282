//! One node as a value: what it is told before it starts, and its life.

#![forbid(unsafe_code)]

mod config;
mod error;
mod host;
mod lease;

pub use config::{
    AddressError, Config, ConfigError, Fault, LoggerLevel, Place, Problem, Role, ServiceEntry, ServiceKind,
    Severity,
};
pub use error::Error;
pub use host::{Node, Stopper};
