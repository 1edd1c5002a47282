//! One node as a value: what it is told before it starts.

#![forbid(unsafe_code)]

mod config;

pub use config::{
    AddressError, Config, ConfigError, Fault, LoggerLevel, Place, Problem, Role, ServiceEntry, ServiceKind,
    Severity,
};
