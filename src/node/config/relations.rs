//! Values that a [`Config`] can hold and a node cannot use, and keys that do not fit together.

use super::address::{AddressError, HostPort, takes_any_port};
use super::keys::{COMPRESS_RANGE, MEMORY_RANGE, Places, THREAD_RANGE};
use super::problem::{Fault, Problem, Severity};
use super::{Config, Role};
use crate::limits::{
    COMPRESS_BYTES_MIN, LOCAL_NAME_BYTES_MAX, MEMORY_BYTES_MIN, PAYLOAD_BYTES_MAX, SOCKET_PATH_BYTES_MAX,
    THREADS_MAX,
};
use crate::message::Name;
use std::collections::BTreeSet;
use std::time::Duration;

const DEADLINE_MAX: Duration = Duration::from_secs(3600);
const UNREACHABLE_MIN: Duration = Duration::from_secs(3);

/// A problem, and the keys that it is about: the first one's line is its place.
pub(super) struct Finding {
    spot: Spot,
    /// Keys without which the problem says nothing.
    others: &'static [&'static str],
    severity: Severity,
    fault: Fault,
}

enum Spot {
    Key(&'static str),
    Service(usize),
}

impl Finding {
    pub(super) fn problem(self, places: Option<&Places>) -> Problem {
        let place = places.and_then(|places| match self.spot {
            Spot::Key(key) => places.key(key),
            Spot::Service(index) => places.service(index),
        });
        Problem { place: place.cloned(), severity: self.severity, fault: self.fault }
    }

    /// Whether one of its keys was refused already.
    pub(super) fn hangs_on(&self, broken: &[&'static str]) -> bool {
        let on_key = matches!(self.spot, Spot::Key(key) if broken.contains(&key));
        on_key || self.others.iter().any(|key| broken.contains(key))
    }
}

/// Everything that is wrong with the values of `config`.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    found.numbers(config);
    found.paths(config);
    found.addresses(config);
    match config.role() {
        Role::Alone => found.alone(config),
        Role::Slave => found.slave(config),
        Role::Standalone => found.standalone(config),
        Role::Master => found.master_only(config),
    }
    found.services(config);
    found.0
}

/// What `role` was written as must be what the other keys say.
pub(super) fn written_role(config: &Config, places: &Places) -> Option<Finding> {
    let written = places.role.as_deref()?;
    let derived = match config.role() {
        Role::Alone => "alone",
        Role::Slave => "slave",
        Role::Standalone => "standalone",
        Role::Master => "master",
    };
    (written != derived).then(|| Finding {
        spot: Spot::Key("role"),
        others: &["harbor", "standalone"],
        severity: Severity::Error,
        fault: Fault::WrongRole { written: written.to_owned(), derived },
    })
}

struct Findings(Vec<Finding>);

impl Findings {
    fn push(&mut self, spot: Spot, others: &'static [&'static str], severity: Severity, fault: Fault) {
        self.0.push(Finding { spot, others, severity, fault });
    }

    fn error(&mut self, key: &'static str, others: &'static [&'static str], fault: Fault) {
        self.push(Spot::Key(key), others, Severity::Error, fault);
    }

    fn warning(&mut self, key: &'static str, others: &'static [&'static str], fault: Fault) {
        self.push(Spot::Key(key), others, Severity::Warning, fault);
    }

    fn numbers(&mut self, config: &Config) {
        if let Some(threads) = config.threads.filter(|threads| !(1..=THREADS_MAX).contains(threads)) {
            let fault = Fault::OutOfRange { key: "thread", value: threads.into(), range: THREAD_RANGE };
            self.error("thread", &[], fault);
        }
        if config.memory < MEMORY_BYTES_MIN {
            let value = i64::try_from(config.memory).unwrap_or(i64::MAX);
            self.error("memory", &[], Fault::OutOfRange { key: "memory", value, range: MEMORY_RANGE });
        }
        let sizes = COMPRESS_BYTES_MIN..=PAYLOAD_BYTES_MAX;
        if let Some(bytes) = config.compress.filter(|bytes| !sizes.contains(bytes)) {
            let value = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.error("compress", &[], Fault::OutOfRange { key: "compress", value, range: COMPRESS_RANGE });
        }
        if config.default_deadline < Duration::from_millis(1) || config.default_deadline > DEADLINE_MAX {
            self.error("default_deadline", &[], Fault::BadDuration { key: "default_deadline" });
        }
        self.liveness(config);
    }

    /// A heartbeat of zero is none, and so is a stall.
    fn liveness(&mut self, config: &Config) {
        let (heartbeat, deadline) = (config.heartbeat, config.heartbeat_deadline);
        if heartbeat > DEADLINE_MAX {
            self.error("heartbeat", &[], Fault::BadDuration { key: "heartbeat" });
        } else if deadline < Duration::from_millis(1) || deadline > DEADLINE_MAX {
            self.error("heartbeat_deadline", &[], Fault::BadDuration { key: "heartbeat_deadline" });
        } else if deadline < 2 * heartbeat {
            let what = "heartbeat_deadline is less than twice the heartbeat: the answer would have no time";
            self.error("heartbeat_deadline", &["heartbeat"], Fault::Contradiction { what });
        }
        if config.stall_deadline > DEADLINE_MAX {
            self.error("stall_deadline", &[], Fault::BadDuration { key: "stall_deadline" });
        }
        if config.pause_deadline < Duration::from_millis(1) || config.pause_deadline > DEADLINE_MAX {
            self.error("pause_deadline", &[], Fault::BadDuration { key: "pause_deadline" });
        }
        if config.unreachable_deadline < UNREACHABLE_MIN || config.unreachable_deadline > DEADLINE_MAX {
            let what =
                "unreachable_deadline must be 3s to 1h: the system counts in seconds, and asks three times";
            self.error("unreachable_deadline", &[], Fault::Contradiction { what });
        }
    }

    fn paths(&mut self, config: &Config) {
        let control = config.control.as_ref().map(|path| path.as_os_str().len());
        if let Some(bytes) = control.filter(|bytes| !(1..=SOCKET_PATH_BYTES_MAX).contains(bytes)) {
            let bytes_max = SOCKET_PATH_BYTES_MAX;
            self.error("control", &[], Fault::BadSocketPath { key: "control", bytes, bytes_max });
        }
        if config.logger.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            let fault = Fault::Missing { key: "logger", why: "an empty path names no file" };
            self.error("logger", &[], fault);
        }
    }

    fn addresses(&mut self, config: &Config) {
        for (key, text) in config.addresses() {
            let parsed = match HostPort::parse(text) {
                Ok(parsed) if parsed.port == 0 && matches!(key, "master" | "standalone") => {
                    Err(AddressError::ZeroPort)
                }
                parsed => parsed,
            };
            if let Err(reason) = parsed {
                self.error(key, &[], Fault::BadAddress { key, text: text.to_owned(), reason });
            }
        }
        let told = [
            (
                "address",
                &config.address,
                "peers elsewhere cannot connect to it: put it into bind, and a host here",
            ),
            ("master", &config.master, "name the master's host"),
        ];
        for (key, text, why) in told {
            let wildcard = text.as_deref().and_then(|text| HostPort::parse(text).ok());
            if let (Some(text), true) = (text, wildcard.is_some_and(HostPort::is_wildcard)) {
                self.warning(key, &[], Fault::EveryInterface { key, text: text.clone(), why });
            }
        }
    }

    fn alone(&mut self, config: &Config) {
        if config.standalone.is_some() {
            let what = "standalone with harbor 0: give the node an id of 1 to 255, \
                        or write role = \"master\" for a node that is the master and nothing else";
            self.error("standalone", &["harbor", "role"], Fault::Contradiction { what });
            return;
        }
        for (key, _) in config.addresses() {
            let why = "with harbor 0 the node is alone";
            self.warning(key, &["harbor", "standalone", "role"], Fault::NoEffect { key, why });
        }
    }

    fn slave(&mut self, config: &Config) {
        self.needs_address(config);
        self.fixed_ports(config);
        if config.master.is_none() {
            let why = "a node with a harbor id needs a master, or hosts it with standalone";
            self.error("harbor", &["master", "standalone"], Fault::Missing { key: "master", why });
        }
        for key in ["bind", "address"] {
            let why = "a node that hosts the master says so with standalone";
            self.clash(config, [key, "master"], &["standalone"], HostPort::is_same_as, why);
        }
    }

    fn standalone(&mut self, config: &Config) {
        self.needs_address(config);
        self.fixed_ports(config);
        let key = if config.bind.is_some() { "bind" } else { "address" };
        let why = "peers and the master's members need a port each";
        self.clash(config, [key, "standalone"], &[], HostPort::collides_with, why);
        let port = |text: &Option<String>| {
            text.as_deref().and_then(|text| HostPort::parse(text).ok()).map(|address| address.port)
        };
        let ports = port(&config.master).zip(port(&config.standalone));
        if ports.is_some_and(|(master, standalone)| master != standalone && master != 0 && standalone != 0) {
            self.warning("master", &["standalone"], Fault::OtherMaster);
        }
    }

    fn master_only(&mut self, config: &Config) {
        if !config.harbor.is_single() {
            let what = "role = \"master\" is the master and nothing else: leave out harbor, or the role";
            self.error("role", &["harbor"], Fault::Contradiction { what });
        }
        if config.standalone.is_none() {
            let why = "it is where the master listens";
            self.error("role", &["standalone"], Fault::Missing { key: "standalone", why });
        }
        for (key, _) in config.addresses() {
            if key != "standalone" {
                let why = "this node is the master and nothing else";
                self.warning(key, &["role"], Fault::NoEffect { key, why });
            }
        }
    }

    fn needs_address(&mut self, config: &Config) {
        if config.address.is_none() {
            let why = "a node with a harbor id needs the address where its peers reach it";
            self.error("harbor", &["address"], Fault::Missing { key: "address", why });
        }
    }

    /// A port that the system chooses is told to peers as the address of the socket: with `bind`, that is not where
    /// they reach it.
    fn fixed_ports(&mut self, config: &Config) {
        let keys = config.addresses().filter(|(key, _)| matches!(*key, "address" | "bind"));
        for (key, text) in keys.filter(|(_, text)| config.bind.is_some() && takes_any_port(text)) {
            let reason = AddressError::ZeroPortBound;
            self.error(key, &["bind"], Fault::BadAddress { key, text: text.to_owned(), reason });
        }
    }

    /// Reports two keys whose addresses exclude each other.
    fn clash<'c>(
        &mut self,
        config: &'c Config,
        [first, second]: [&'static str; 2],
        others: &'static [&'static str],
        excludes: fn(HostPort<'c>, HostPort<'c>) -> bool,
        why: &'static str,
    ) {
        let find = |wanted| config.addresses().find(|(key, _)| *key == wanted).map(|(_, text)| text);
        let (Some(one), Some(other)) = (find(first), find(second)) else { return };
        let (Ok(parsed), Ok(other)) = (HostPort::parse(one), HostPort::parse(other)) else { return };
        if excludes(parsed, other) {
            self.error(first, others, Fault::SameAddress { first, second, address: one.to_owned(), why });
        }
    }

    fn services(&mut self, config: &Config) {
        let mut names = BTreeSet::new();
        for (index, service) in config.services.iter().enumerate() {
            let name = service.name.clone();
            let fault = match name.strip_prefix('.') {
                Some(local) if local.is_empty() || local.len() > LOCAL_NAME_BYTES_MAX => {
                    Some(Fault::BadLocalName { name, len_max: LOCAL_NAME_BYTES_MAX })
                }
                Some(_) => None,
                None => Name::new(name.as_bytes()).err().map(|reason| Fault::BadGlobalName { name, reason }),
            };
            let repeated = !names.insert(service.name.as_str());
            let twice = repeated.then(|| Fault::NameUsedTwice { name: service.name.clone() });
            if let Some(fault) = fault.or(twice) {
                self.push(Spot::Service(index), &[], Severity::Error, fault);
            }
        }
    }
}

impl Config {
    /// The addresses that are set, by their keys.
    fn addresses(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let keys = [
            ("address", &self.address),
            ("bind", &self.bind),
            ("master", &self.master),
            ("standalone", &self.standalone),
        ];
        keys.into_iter().filter_map(|(key, text)| text.as_deref().map(|text| (key, text)))
    }
}
