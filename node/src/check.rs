//! `skyharbor check`: what is wrong with a configuration, or what it means.

use crate::outcome::{Failed, complain, say};
use skyharbor::node::{Role, ServiceKind, Severity};
use skyharbor::{Config, ConfigError};
use std::path::Path;

/// Reports every problem; a sound configuration is summed up.
///
/// # Errors
/// The configuration has an error.
pub(crate) fn check(path: &Path) -> Result<(), Failed> {
    let config = read(path)?;
    say(format_args!("{}: OK: {}", path.display(), summary(&config)))
}

/// Reads a configuration and writes everything that was noticed to stderr.
///
/// # Errors
/// The configuration has an error.
pub(crate) fn read(path: &Path) -> Result<Config, Failed> {
    match Config::from_file(path) {
        Ok(config) => {
            config.notes().iter().for_each(complain);
            Ok(config)
        }
        Err(error) => Err(refusal(path, &error)),
    }
}

fn refusal(path: &Path, error: &ConfigError) -> Failed {
    let problems = error.problems();
    problems.iter().for_each(complain);
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let plural = if errors == 1 { "" } else { "s" };
    Failed::usage(format_args!("{} has {errors} error{plural}", path.display()))
}

/// What a configuration means, in one line.
pub(crate) fn summary(config: &Config) -> String {
    let role = match config.role() {
        Role::Alone => "a node that is alone".to_owned(),
        Role::Slave => format!("slave, harbor {}", config.harbor),
        Role::Standalone => format!("master and slave, harbor {}", config.harbor),
        Role::Master => "master only".to_owned(),
    };
    let mut parts = vec![role];
    if matches!(config.role(), Role::Slave | Role::Standalone) {
        let named = [
            ("address", config.address.clone()),
            ("bind", config.bind.clone()),
            ("master", config.master_address()),
        ];
        parts.extend(named.into_iter().filter_map(|(key, value)| Some(format!("{key} {}", value?))));
    }
    if matches!(config.role(), Role::Standalone | Role::Master) {
        parts.extend(config.standalone.as_ref().map(|address| format!("hosts the master at {address}")));
    }
    let workers = config.workers();
    parts.push(format!("{workers} worker{}", if workers == 1 { "" } else { "s" }));
    if config.pin {
        parts.push("pinned".to_owned());
    }
    parts.extend(config.services.iter().map(|service| format!("{} {}", kind(service.kind), service.name)));
    parts.extend(config.control.as_ref().map(|path| format!("control {}", path.display())));
    parts.join(", ")
}

/// The word of a configuration for a built-in service.
pub(crate) fn kind(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Echo => "echo",
        ServiceKind::Kv => "kv",
        _ => "service",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_name_what_counts() {
        let alone = Config::local().threads(1);
        assert_eq!(summary(&alone), "a node that is alone, 1 worker");
        let both = Config::local()
            .harbor(1)
            .address("a:1")
            .standalone("0.0.0.0:2")
            .threads(2)
            .pin(true)
            .service(ServiceKind::Echo, "ECHO")
            .control("/c");
        assert_eq!(
            summary(&both),
            "master and slave, harbor 1, address a:1, master 127.0.0.1:2, hosts the master at 0.0.0.0:2, \
             2 workers, pinned, echo ECHO, control /c"
        );
        let master = Config::local().standalone("a:2").master_only(true).threads(3);
        assert_eq!(summary(&master), "master only, hosts the master at a:2, 3 workers");
    }
}
