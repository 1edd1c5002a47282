//! What a node is told before it starts, by a program or by a file.
//!
//! A file is TOML or Skynet's own `key = value` form; both mean the same keys.
//!
//! | key | value | default | what |
//! |---|---|---|---|
//! | `harbor` | 0–255, or `[200, 254]` | 0 | the node's id; 0: a node that is alone, without links; a range (in Skynet's form `"200-254"`): the id is leased from it |
//! | `lease` | path | `skyharbor.lease` | where the leased id is remembered, if `harbor` is a range |
//! | `address` | `host:port` | – | where peers reach this node; told to the master |
//! | `bind` | `host:port` | `address` | where it listens, if that differs |
//! | `master` | `host:port` | `standalone` | the cluster's master |
//! | `standalone` | `host:port` | – | this node hosts the master there, and is a slave too unless `role = "master"` |
//! | `role` | text | from the others | `alone`, `slave`, `standalone` or `master`; only `master` (nothing else but the master, `harbor` 0) must be written |
//! | `thread` | 1–256 | allowed CPUs | worker threads |
//! | `pin` | bool | false | each worker stays on one of the allowed CPUs |
//! | `start` | text | – | kept for the host program; the `skyharbor` program starts `service` entries only |
//! | `logger` | path | stderr | the log file |
//! | `logger_level` | text | `info` | `error`, `warn`, `info`, `debug` or `trace` |
//! | `control` | path | – | the local control socket |
//! | `default_deadline` | `"500ms"`, `"5s"`, `"1m"` | `"5s"` | the deadline of calls that bring none |
//! | `memory` | bytes: 33554432 (32 MiB) and more | 2147483648 (2 GiB) | what messages and names may take: links are not read when half of it is used, a quarter may wait to be sent |
//! | `pause_deadline` | duration | `"10s"` | how long a link is not read for want of memory before it is given up |
//! | `compress` | `"off"`, or bytes: 1024–16777203 | `"off"` | payloads from this size on leave compressed, for nodes of our kind that read that, if it saves a fifth |
//! | `service` | see [`ServiceEntry`] | – | built-in services to start |
//!
//! ```text
//!  file ──► toml.rs ─────┐                 keys.rs                 relations.rs
//!           skynet.rs ───┴─► entries with ────────► Config + where ─────────────► Config, or every problem
//!           (+ include)      their lines   types,    each key stood  keys against
//!                                          ranges                    each other
//! ```
//!
//! Reading never stops at the first error: [`ConfigError`] has them all, each with its line. Nothing here starts
//! anything, opens a socket or resolves a name.

mod address;
mod entry;
mod keys;
mod lexer;
mod problem;
mod relations;
mod skynet;
mod spelling;
mod toml;

#[cfg(test)]
mod tests;

use crate::limits::{
    CALL_DEADLINE, CONFIG_BYTES_MAX, HEARTBEAT_DEADLINE, HEARTBEAT_TIME, MEMORY_BYTES, PAUSE_TIME_MAX,
    STALL_TIME_MAX, UNREACHABLE_TIME_MAX,
};
use crate::message::HarborId;
use crate::registry::HarborRange;
use crate::runtime::{Service, StartError};
use crate::seri::Value;
use crate::services::{Echo, Factories, Kv};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::entry::{Entries, Form};

pub use self::address::AddressError;
pub use self::problem::{ConfigError, Fault, Place, Problem, Severity};

/// What a node is told before it starts: plain data.
///
/// Every field has a builder method of the same name. A value that was built is checked by [`Config::check`] (and so
/// by the start of a node), one that was read from a file has been.
///
/// ```
/// use skyharbor::Config;
/// let config = Config::local()
///     .harbor(2)
///     .address("game2.internal:2526")
///     .bind("0.0.0.0:2526")
///     .master("game1.internal:2013");
/// assert!(config.check().is_ok());
/// assert!(Config::local().harbor(2).check().is_err(), "no address, no master");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The node's id; [`HarborId::SINGLE`] for a node without links.
    pub harbor: HarborId,
    /// The ids from which this node leases its own, if it does; `harbor` is then the first of them until it starts.
    pub harbor_range: Option<HarborRange>,
    /// The file that remembers the leased id. Each node has its own range and its own file.
    pub lease: PathBuf,
    /// Where peers reach this node, `host:port`. Port 0 (without `bind`): any free port, told to the master as it turns
    /// out.
    pub address: Option<String>,
    /// Where it listens for peers, if that is not `address`.
    pub bind: Option<String>,
    /// Where the cluster's master is; see also [`Config::master_address`].
    pub master: Option<String>,
    /// Where this node hosts the master, if it does.
    pub standalone: Option<String>,
    /// It hosts the master and nothing else.
    pub master_only: bool,
    /// Worker threads; `None`: one per allowed CPU. See also [`Config::workers`].
    pub threads: Option<u32>,
    /// Whether each worker stays on one CPU.
    pub pin: bool,
    /// The start service of the host program. The library does not use it.
    pub start: Option<String>,
    /// The log file; `None`: stderr. For programs: the library logs through `tracing` and opens nothing.
    pub logger: Option<PathBuf>,
    /// What is logged.
    pub logger_level: LoggerLevel,
    /// The path of the control socket, for programs.
    pub control: Option<PathBuf>,
    /// The deadline of calls that bring none of their own.
    pub default_deadline: Duration,
    /// How long a link to another skyharbor node is silent before that node is asked whether it lives; zero: never.
    pub heartbeat: Duration,
    /// How long such a link is silent before it is given up.
    pub heartbeat_deadline: Duration,
    /// How long unsent bytes of a link may stand still before it is given up; zero: until the system gives it up, which
    /// Linux does after `unreachable_deadline`.
    pub stall_deadline: Duration,
    /// How long the machine of a peer, or of the master, may be unreachable before its connections end.
    pub unreachable_deadline: Duration,
    /// Bytes that the node takes for messages and names. When services have not taken messages of a quarter of it, or large
    /// frames of a quarter are being read, links wait unread; another quarter may wait to be sent, an eighth be held for
    /// absent peers; one name is remembered for each 2 KiB. Messages inside the node are refused when they take all of it.
    pub memory: usize,
    /// How long a link is not read for want of memory before it is given up.
    pub pause_deadline: Duration,
    /// Payloads of so many bytes and more leave compressed, for nodes of our kind, if that saves a fifth; `None`: none does.
    /// It pays where bytes are dearer than the time of the I/O thread, which does it: not on a LAN.
    pub compress: Option<usize>,
    /// Built-in services to start, for programs. On a standalone node they can be launched from the whole cluster, too.
    pub services: Vec<ServiceEntry>,
    /// What can be launched by name from the whole cluster, if this node is standalone.
    pub factories: Factories,
    notes: Vec<Problem>,
}

/// A built-in service to start.
///
/// TOML: `[[service]]` with `kind = "echo"` and `name = "ECHO"`. Skynet's form, which has no tables:
/// `service = "echo ECHO, kv .kv"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Which one.
    pub kind: ServiceKind,
    /// A global name, or a local one that starts with `.`.
    pub name: String,
}

/// The built-in services that a configuration can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceKind {
    /// Answers with what it got.
    Echo,
    /// Keeps values by key.
    Kv,
}

impl ServiceKind {
    fn from_text(text: &str) -> Option<Self> {
        match text {
            "echo" => Some(Self::Echo),
            "kv" => Some(Self::Kv),
            _ => None,
        }
    }
}

/// The least severe events that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoggerLevel {
    /// Errors.
    Error,
    /// And warnings.
    Warn,
    /// And what an operator wants to know.
    #[default]
    Info,
    /// And decisions.
    Debug,
    /// And single messages.
    Trace,
}

impl LoggerLevel {
    fn from_text(text: &str) -> Option<Self> {
        match text {
            "error" => Some(Self::Error),
            "warn" => Some(Self::Warn),
            "info" => Some(Self::Info),
            "debug" => Some(Self::Debug),
            "trace" => Some(Self::Trace),
            _ => None,
        }
    }
}

/// What a node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// No links.
    Alone,
    /// Joins a master.
    Slave,
    /// Hosts the master and joins it.
    Standalone,
    /// Hosts the master only.
    Master,
}

impl Default for Config {
    fn default() -> Self {
        Self::local()
    }
}

impl Config {
    /// A node that is alone: harbor 0, no links.
    pub fn local() -> Self {
        Self {
            harbor: HarborId::SINGLE,
            harbor_range: None,
            lease: PathBuf::from("skyharbor.lease"),
            address: None,
            bind: None,
            master: None,
            standalone: None,
            master_only: false,
            threads: None,
            pin: false,
            start: None,
            logger: None,
            logger_level: LoggerLevel::default(),
            control: None,
            default_deadline: CALL_DEADLINE,
            heartbeat: HEARTBEAT_TIME,
            heartbeat_deadline: HEARTBEAT_DEADLINE,
            stall_deadline: STALL_TIME_MAX,
            unreachable_deadline: UNREACHABLE_TIME_MAX,
            memory: MEMORY_BYTES,
            pause_deadline: PAUSE_TIME_MAX,
            compress: None,
            services: Vec::new(),
            factories: Factories::default(),
            notes: Vec::new(),
        }
    }

    /// Reads a file: TOML if it is named `*.toml` or can be nothing else, Skynet's form otherwise.
    ///
    /// # Errors
    /// Every problem of the file, each with its line.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = read_text(path).map_err(|fault| Problem::of_file(path, fault))?;
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
            let mut entries = toml::read(&text, Some(path));
            if entries.has_errors() && skynet::looks_like(&text) {
                entries.problems.push(Problem::about_file(path, Severity::Info, Fault::LooksLikeSkynet));
            }
            return finish(entries, Form::Toml);
        }
        let directory = path.parent().unwrap_or(Path::new(""));
        let entries = skynet::read(&text, Some(path), directory, &environment);
        if entries.has_errors() && toml::looks_like(&text) {
            return finish(toml::read(&text, Some(path)), Form::Toml);
        }
        finish(entries, Form::Skynet)
    }

    /// Reads TOML.
    ///
    /// # Errors
    /// Every problem of the text, each with its line.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        finish(toml::read(text, None), Form::Toml)
    }

    /// Reads Skynet's form (`skynet_main.c`): assignments of literals, `--` comments, `include "file"`, `$VARIABLE`,
    /// and `..` between literals and keys set above. `include` starts from `directory`; `variable` looks variables up.
    ///
    /// # Errors
    /// Every problem of the text, each with its line. Code (calls, conditions, tables) is one.
    pub fn from_skynet(
        text: &str,
        directory: &Path,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        finish(skynet::read(text, None, directory, &variable), Form::Skynet)
    }

    /// Sets the node's id, 1–255, or 0 for a node that is alone.
    #[must_use]
    pub fn harbor(mut self, id: u8) -> Self {
        self.harbor = HarborId::new(id);
        self.harbor_range = None;
        self
    }

    /// Makes the node lease its id from a range, and remember it in the file `lease`: for a cluster with real nodes,
    /// which never link to an id again that they saw dead.
    #[must_use]
    pub fn harbor_range(mut self, range: HarborRange, lease: impl Into<PathBuf>) -> Self {
        self.harbor = range.first();
        self.harbor_range = Some(range);
        self.lease = lease.into();
        self
    }

    /// Sets where peers reach this node, `host:port`.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Sets where the node listens for peers, if that is not its `address`.
    #[must_use]
    pub fn bind(mut self, address: impl Into<String>) -> Self {
        self.bind = Some(address.into());
        self
    }

    /// Sets where the cluster's master is.
    #[must_use]
    pub fn master(mut self, address: impl Into<String>) -> Self {
        self.master = Some(address.into());
        self
    }

    /// Makes the node host the master at this address.
    #[must_use]
    pub fn standalone(mut self, address: impl Into<String>) -> Self {
        self.standalone = Some(address.into());
        self
    }

    /// Makes the node host the master and be nothing else; `harbor` stays 0.
    #[must_use]
    pub fn master_only(mut self, only: bool) -> Self {
        self.master_only = only;
        self
    }

    /// Sets the number of worker threads.
    #[must_use]
    pub fn threads(mut self, threads: u32) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Makes each worker stay on one of the allowed CPUs.
    #[must_use]
    pub fn pin(mut self, pin: bool) -> Self {
        self.pin = pin;
        self
    }

    /// Sets the name of the host program's start service.
    #[must_use]
    pub fn start(mut self, service: impl Into<String>) -> Self {
        self.start = Some(service.into());
        self
    }

    /// Sets the log file.
    #[must_use]
    pub fn logger(mut self, path: impl Into<PathBuf>) -> Self {
        self.logger = Some(path.into());
        self
    }

    /// Sets what is logged.
    #[must_use]
    pub fn logger_level(mut self, level: LoggerLevel) -> Self {
        self.logger_level = level;
        self
    }

    /// Sets the path of the control socket.
    #[must_use]
    pub fn control(mut self, path: impl Into<PathBuf>) -> Self {
        self.control = Some(path.into());
        self
    }

    /// Sets the deadline of calls that bring none.
    #[must_use]
    pub fn default_deadline(mut self, deadline: Duration) -> Self {
        self.default_deadline = deadline;
        self
    }

    /// Sets after which silence of a link another skyharbor node is asked whether it lives, and after which the link is
    /// given up.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Duration, deadline: Duration) -> Self {
        (self.heartbeat, self.heartbeat_deadline) = (heartbeat, deadline);
        self
    }

    /// Sets how long unsent bytes of a link may stand still.
    #[must_use]
    pub fn stall_deadline(mut self, deadline: Duration) -> Self {
        self.stall_deadline = deadline;
        self
    }

    /// Sets how long a machine may be unreachable before its connections end.
    #[must_use]
    pub fn unreachable_deadline(mut self, deadline: Duration) -> Self {
        self.unreachable_deadline = deadline;
        self
    }

    /// Sets how many bytes the node takes for messages and names.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// Sets how long a link is not read for want of memory before it is given up.
    #[must_use]
    pub fn pause_deadline(mut self, deadline: Duration) -> Self {
        self.pause_deadline = deadline;
        self
    }

    /// Lets payloads of so many bytes and more leave compressed, for nodes of our kind that read that.
    #[must_use]
    pub fn compress(mut self, bytes_min: usize) -> Self {
        self.compress = Some(bytes_min);
        self
    }

    /// Adds a built-in service.
    #[must_use]
    pub fn service(mut self, kind: ServiceKind, name: impl Into<String>) -> Self {
        self.services.push(ServiceEntry { kind, name: name.into() });
        self
    }

    /// Lets a standalone node launch services of this kind for its whole cluster, besides `echo` and `kv`: in Lua with
    /// `skynet.uniqueservice(true, name, …)`. The factory gets the values behind the name; see [`Factories::add`].
    ///
    /// ```
    /// use skyharbor::prelude::*;
    /// struct Room { players_max: i64 }
    /// impl Service for Room {}
    ///
    /// let config = Config::local().harbor(1).address("127.0.0.1:2526").standalone("127.0.0.1:2013").service_kind(
    ///     "room",
    ///     |arguments| Ok(Room { players_max: arguments.first().and_then(|most| most.as_int()).unwrap_or(64) }),
    /// );
    /// assert!(config.factories.contains("room"));
    /// ```
    #[must_use]
    pub fn service_kind<S, F>(mut self, name: &str, factory: F) -> Self
    where
        S: Service,
        F: Fn(&[Value]) -> Result<S, StartError> + Send + Sync + 'static,
    {
        self.factories.add(name, factory);
        self
    }

    /// What a standalone node can launch: `factories`, and the services that have a global name under that name.
    pub(super) fn launchable(&self) -> Factories {
        let mut factories = self.factories.clone();
        for entry in &self.services {
            match entry.kind {
                _ if entry.name.starts_with('.') || factories.contains(&entry.name) => {}
                ServiceKind::Echo => factories.add(&entry.name, |_| Ok(Echo)),
                ServiceKind::Kv => factories.add(&entry.name, |_| Ok(Kv::default())),
            }
        }
        factories
    }

    /// Checks every value and how they fit together.
    ///
    /// # Errors
    /// Every problem. They have no lines: a configuration from a file has been checked with them.
    pub fn check(&self) -> Result<(), ConfigError> {
        let findings = relations::findings(self).into_iter();
        let problems: Vec<_> = findings.map(|finding| finding.problem(None)).collect();
        ConfigError::if_any_error(&problems).map_or(Ok(()), Err)
    }

    /// What the node is in its cluster, as its keys say.
    pub fn role(&self) -> Role {
        match (self.master_only, self.harbor.is_single(), &self.standalone) {
            (true, _, _) => Role::Master,
            (false, true, _) => Role::Alone,
            (false, false, None) => Role::Slave,
            (false, false, Some(_)) => Role::Standalone,
        }
    }

    /// Where a slave finds the master: `master`, or `standalone` with the loopback host if it names every interface.
    pub fn master_address(&self) -> Option<String> {
        match (&self.master, &self.standalone) {
            (Some(master), _) => Some(master.clone()),
            (None, Some(standalone)) => Some(address::reachable(standalone)),
            (None, None) => None,
        }
    }

    /// What peers are told; none: where the socket turns out to listen, on a port that the system chooses.
    pub(super) fn advertised_address(&self) -> Option<&str> {
        self.address.as_deref().filter(|text| !address::takes_any_port(text))
    }

    /// Where the node listens for peers: `bind`, or `address`.
    pub fn listen_address(&self) -> Option<&str> {
        self.bind.as_deref().or(self.address.as_deref())
    }

    /// How many workers the node starts: `threads`, or the number of CPUs that this process may use.
    pub fn workers(&self) -> usize {
        let allowed = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(allowed, |threads| threads as usize)
    }

    /// What was noticed while it was read and is no error: unknown and ignored keys, values without effect.
    pub fn notes(&self) -> &[Problem] {
        &self.notes
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The text of a file. Bytes that are not UTF-8 become replacement characters: old files have comments in GBK.
fn read_text(path: &Path) -> Result<String, Fault> {
    let unreadable = |error: std::io::Error| Fault::Unreadable { reason: error.to_string() };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(Fault::FileTooLarge { bytes_max: CONFIG_BYTES_MAX });
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

/// Makes a configuration of what a reader found, or the list of all its problems.
fn finish(entries: Entries, form: Form) -> Result<Config, ConfigError> {
    let (mut config, places, mut problems) = keys::interpret(entries, form);
    let mut findings = relations::findings(&config);
    findings.extend(relations::written_role(&config, &places));
    // What hangs on a key that was refused already would only repeat it.
    findings.retain(|finding| !finding.hangs_on(places.broken()));
    problems.extend(findings.into_iter().map(|finding| finding.problem(Some(&places))));
    problems.sort_by(|one, other| one.place.cmp(&other.place));
    drop_consequences(&mut problems);
    if let Some(error) = ConfigError::if_any_error(&problems) {
        return Err(error);
    }
    config.notes = problems;
    Ok(config)
}

/// Leaves of each line whose text could not be read only the first reason: what follows from it says nothing.
/// The problems are sorted by their places.
fn drop_consequences(problems: &mut Vec<Problem>) {
    let spoils = |problem: &Problem| matches!(problem.fault, Fault::Syntax { .. } | Fault::NoVariable { .. });
    let spoiled: Vec<_> = problems.iter().filter(|problem| spoils(problem)).cloned().collect();
    let mut shown = None;
    problems.retain(|problem| {
        let first = spoiled.iter().find(|spoiled| spoiled.place == problem.place);
        let kept = first.is_none_or(|first| first == problem && shown != problem.place);
        if first.is_some() && kept {
            shown = problem.place.clone();
        }
        kept
    });
}
