//! Clusters of real nodes, of nodes of ours in this process, and of processes of the `skyharbor` program.

use crate::agent::{self, Agent, CALL_TIME, Tally, Traffic, text};
use crate::process::{Log, PATIENCE, Process};
use crate::program::{output, reply, skyharbor};
use parking_lot::Mutex;
use skyharbor::message::{Kind, LinkState};
use skyharbor::prelude::*;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Once;
use std::time::Duration;
use tempfile::TempDir;

/// The environment variable that names a built Skynet.
const SKYNET: &str = "SKYNET_DIR";
/// Ports that the system does not give to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// One cluster. Dropped after a failure, it shows the logs of all its processes.
pub(crate) struct World {
    folder: TempDir,
    skynet: PathBuf,
    master: u16,
    logs: Mutex<Vec<(Sort, u8, Log)>>,
}

/// A real node with the agent of `agent.lua`, whose global name is `L` and its id.
pub(crate) struct Real {
    process: Process,
    id: u8,
    links: u16,
    control: u16,
    handle: Handle,
}

/// A node of ours in this process, with an agent whose global name is `R` and its id.
pub(crate) struct Library {
    pub(crate) node: Node,
    pub(crate) agent: Addr<Agent>,
}

/// A process of our program, with an echo whose global name is `E` and its label, and a table of values, `K` and its
/// label. The label is its id, unless that is leased.
pub(crate) struct Program {
    process: Process,
    label: u8,
    control: PathBuf,
    handle: Handle,
}

/// Any of them.
pub(crate) enum Member {
    Real(Real),
    Library(Library),
    Program(Program),
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Real,
    Library,
    Program,
}

impl World {
    /// An empty world, if there is a Skynet; otherwise one line says that nothing was tested.
    pub(crate) fn found() -> Option<Self> {
        let Some(skynet) = std::env::var_os(SKYNET).map(PathBuf::from) else {
            // Straight to stderr: what a test prints is not shown when it passes.
            static SAID: Once = Once::new();
            let line =
                format!("skipped: tests with live Skynet nodes, {SKYNET} does not name a built Skynet\n");
            SAID.call_once(|| std::io::stderr().write_all(line.as_bytes()).unwrap());
            return None;
        };
        assert!(skynet.join("skynet").is_file(), "{SKYNET} = {} has no program `skynet`", skynet.display());
        let folder = tempfile::tempdir().unwrap();
        Some(Self { folder, skynet, master: free_port(), logs: Mutex::default() })
    }

    /// Starts a real node that hosts the master.
    pub(crate) fn real_master(&self, id: u8) -> Real {
        self.start_real(id, true).ready()
    }

    /// Starts a real node that joins, and waits until its agent runs.
    pub(crate) fn real(&self, id: u8) -> Real {
        self.start_real(id, false).ready()
    }

    /// Starts a real node without waiting for it.
    pub(crate) fn start_real(&self, id: u8, is_master: bool) -> Starting {
        self.start(self.draft(id, is_master))
    }

    /// A real node as it would be started.
    pub(crate) fn draft(&self, id: u8, is_master: bool) -> Draft {
        let links = free_port();
        let skynet = self.skynet.display();
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/skynet");
        let master = self.master;
        let mut config = format!(
            "thread = 2\nharbor = {id}\naddress = \"127.0.0.1:{links}\"\nmaster = \"127.0.0.1:{master}\"\n\
             start = \"agent\"\nbootstrap = \"snlua bootstrap\"\nlualoader = \"{skynet}/lualib/loader.lua\"\n\
             luaservice = \"{skynet}/service/?.lua;{}/?.lua\"\nlua_path = \"{skynet}/lualib/?.lua\"\n\
             lua_cpath = \"{skynet}/luaclib/?.so\"\ncpath = \"{skynet}/cservice/?.so\"\n",
            ours.display(),
        );
        if is_master {
            writeln!(config, "standalone = \"127.0.0.1:{master}\"").unwrap();
        }
        Draft { id, links, config, stack_kib: None }
    }

    /// Starts a real node as it is drafted.
    pub(crate) fn start(&self, draft: Draft) -> Starting {
        let Draft { id, links, config, stack_kib } = draft;
        let path = self.folder.path().join(format!("real{id}-{links}"));
        fs::write(&path, config).unwrap();
        let skynet = self.skynet.join("skynet");
        let mut command = match stack_kib {
            None => Command::new(skynet),
            Some(kib) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -s {kib} && exec \"$0\" \"$1\"")]).arg(skynet);
                shell
            }
        };
        let process = Process::start(command.arg(&path).current_dir(self.folder.path()));
        self.logs.lock().push((Sort::Real, id, process.log().clone()));
        Starting { process, id, links }
    }

    /// Starts a node of ours in this process that hosts the master.
    pub(crate) fn library_master(&self, id: u8) -> Library {
        let standalone = format!("127.0.0.1:{}", self.master);
        Library::start(library(id).standalone(standalone))
    }

    /// Starts a node of ours in this process that joins.
    pub(crate) fn library(&self, id: u8) -> Library {
        let master = format!("127.0.0.1:{}", self.master);
        Library::start(library(id).master(master))
    }

    /// Starts our program as a node that hosts the master.
    pub(crate) fn program_master(&self, id: u8) -> Program {
        self.start_program(id, &format!("harbor = {id}\nstandalone = \"127.0.0.1:{}\"", self.master)).ready()
    }

    /// Starts our program as a node that joins.
    pub(crate) fn program(&self, id: u8) -> Program {
        self.start_program(id, &format!("harbor = {id}\nmaster = \"127.0.0.1:{}\"", self.master)).ready()
    }

    /// Starts our program as a node that reaches the master by way of this port.
    pub(crate) fn program_by_way_of(&self, id: u8, port: u16) -> Program {
        self.start_program(id, &format!("harbor = {id}\nmaster = \"127.0.0.1:{port}\"")).ready()
    }

    /// Starts our program with an id from a range; its names end in `label`. The folder remembers the id.
    pub(crate) fn start_leased(&self, label: u8, range: [u8; 2]) -> StartingProgram {
        let lease = self.folder.path().join(format!("lease{label}"));
        let keys = format!("harbor = {range:?}\nlease = \"{}\"\n", lease.display());
        self.start_program(label, &format!("{keys}master = \"127.0.0.1:{}\"", self.master))
    }

    /// Writes the record of a lease as a node wrote it that took this id long ago.
    pub(crate) fn remember_lease(&self, label: u8, id: u8) {
        let record = format!("skyharbor lease 1\nid {id}\nrefused 0\ntaken 1000000000\n");
        let step = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let sum = record.bytes().fold(0xcbf2_9ce4_8422_2325, step);
        let path = self.folder.path().join(format!("lease{label}"));
        fs::write(path, format!("{record}sum {sum:016x}\n")).unwrap();
    }

    fn start_program(&self, label: u8, role: &str) -> StartingProgram {
        let control = self.folder.path().join(format!("own{label}.sock"));
        let path = self.folder.path().join(format!("own{label}.toml"));
        let service = |kind, name: String| format!("[[service]]\nkind = \"{kind}\"\nname = \"{name}\"\n");
        let text = format!(
            "thread = 1\naddress = \"127.0.0.1:0\"\n{role}\ncontrol = \"{}\"\n{}{}",
            control.display(),
            service("echo", format!("E{label}")),
            service("kv", format!("K{label}")),
        );
        fs::write(&path, text).unwrap();
        let process = Process::start(&mut skyharbor(&["run", path.to_str().unwrap()]));
        self.logs.lock().push((Sort::Program, label, process.log().clone()));
        StartingProgram { process, label, control }
    }

    /// Where the master is.
    pub(crate) fn master(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.master)
    }

    /// Starts a node of this sort that joins, and waits until it runs.
    pub(crate) fn join(&self, sort: Sort, id: u8) -> Member {
        match sort {
            Sort::Real => Member::Real(self.real(id)),
            Sort::Library => Member::Library(self.library(id)),
            Sort::Program => Member::Program(self.program(id)),
        }
    }

    /// Starts a node of this sort that hosts the master.
    pub(crate) fn first(&self, sort: Sort, id: u8) -> Member {
        match sort {
            Sort::Real => Member::Real(self.real_master(id)),
            Sort::Library => Member::Library(self.library_master(id)),
            Sort::Program => Member::Program(self.program_master(id)),
        }
    }

    /// Fails if a process logged anything that it does not log in a healthy cluster.
    pub(crate) fn assert_healthy(&self) {
        self.assert_healthy_but("\n");
    }

    /// The same, of lines without this text.
    pub(crate) fn assert_healthy_but(&self, expected: &str) {
        let mut complaints = String::new();
        for (sort, id, log) in &*self.logs.lock() {
            for line in log.lines().iter().filter(|line| !is_healthy(*sort, line) && !line.contains(expected))
            {
                writeln!(complaints, "{sort:?} {id}: {line}").unwrap();
            }
        }
        assert!(complaints.is_empty(), "lines that a healthy cluster does not log:\n{complaints}");
    }
}

/// A node of ours, which compresses for its kind: real nodes are not to notice.
fn library(id: u8) -> Config {
    Config::local().harbor(id).address("127.0.0.1:0").compress(1024)
}

/// Whether a healthy node logs such a line. Those of real nodes are known one by one: anything else is taken for a
/// complaint.
fn is_healthy(sort: Sort, line: &str) -> bool {
    const REAL: &[&str] = &[
        "LAUNCH ",
        "KILL self",
        "KILL :",
        "master listen socket ",
        "connect from ",
        "slave connect to master ",
        "Waiting for ",
        "New connection (fd = ",
        "Shakehand ready",
        "Connect to harbor ",
        // What messages of megabytes bring, between real nodes too.
        "message havn't send to Harbor ",
        "Memory warning ",
        "agent L",
    ];
    if sort != Sort::Real {
        let is_large = line.contains("WARN") && line.contains("Unsent");
        return is_large || !line.contains("ERROR") && !line.contains("WARN");
    }
    let Some((_, text)) = line.strip_prefix("[:").and_then(|line| line.split_once("] ")) else {
        return false;
    };
    let is_report =
        text.starts_with("Harbor ") && (text.contains(" report ") || text.contains(" connected "));
    is_report || REAL.iter().any(|known| text.starts_with(known))
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (sort, id, log) in &*self.logs.lock() {
                eprintln!("---- log of {sort:?} {id}\n{}", log.lines().join("\n"));
            }
        }
    }
}

/// A port that nobody has and that no other test was given.
fn free_port() -> u16 {
    use std::sync::LazyLock;
    static NEXT: LazyLock<Mutex<u16>> = LazyLock::new(|| {
        let spread = std::process::id() * 101 % u32::from(PORTS.end - PORTS.start);
        Mutex::new(PORTS.start + spread as u16)
    });
    let mut next = NEXT.lock();
    for _ in PORTS {
        *next = if *next + 1 < PORTS.end { *next + 1 } else { PORTS.start };
        if TcpListener::bind(("127.0.0.1", *next)).is_ok() {
            return *next;
        }
    }
    panic!("no free port");
}

/// A real node before it is started.
pub(crate) struct Draft {
    id: u8,
    links: u16,
    /// Its configuration.
    pub(crate) config: String,
    /// The stack of its threads, if it is not the system's.
    pub(crate) stack_kib: Option<u32>,
}

/// A real node that was started.
pub(crate) struct Starting {
    process: Process,
    id: u8,
    links: u16,
}

impl Starting {
    /// What it wrote.
    pub(crate) fn log(&self) -> &Log {
        self.process.log()
    }

    /// Its process.
    pub(crate) fn process(self) -> Process {
        self.process
    }

    /// Where it listens for links while it joins.
    pub(crate) fn links(&self) -> u16 {
        self.links
    }

    /// Waits until its agent runs.
    pub(crate) fn ready(self) -> Real {
        let Self { process, id, links } = self;
        let line = process.log().wait_for(&format!("agent L{id} at "));
        let mut words = line.rsplit(' ');
        let control = words.next().unwrap().parse().unwrap();
        let handle = line.split(" at ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
        Real { process, id, links, control, handle }
    }
}

/// A process of our program that was started.
pub(crate) struct StartingProgram {
    process: Process,
    label: u8,
    control: PathBuf,
}

impl StartingProgram {
    /// What it wrote.
    pub(crate) fn log(&self) -> &Log {
        self.process.log()
    }

    /// Waits until it runs.
    pub(crate) fn ready(self) -> Program {
        let Self { process, label, control } = self;
        process.log().wait_for("running");
        let echo = process.log().wait_for(&format!("service echo E{label} at "));
        let handle = echo.rsplit(' ').next().unwrap().parse().unwrap();
        Program { process, label, control, handle }
    }
}

impl Real {
    /// Its agent's global name.
    pub(crate) fn name(&self) -> String {
        format!("L{}", self.id)
    }

    /// Its agent's handle.
    pub(crate) fn handle(&self) -> Handle {
        self.handle
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> &Log {
        self.process.log()
    }

    /// Whether somebody can still connect to its address for links.
    pub(crate) fn listens(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.links)).is_ok()
    }

    /// Has its agent execute a command of `agent.lua`: the results, or the error.
    pub(crate) fn ask(&self, command: &str) -> Result<String, String> {
        self.ask_within(command, PATIENCE)
    }

    /// The same, with more time.
    pub(crate) fn ask_within(&self, command: &str, time: Duration) -> Result<String, String> {
        self.begin(command).end(time)
    }

    /// Has its agent begin a command.
    pub(crate) fn begin(&self, command: &str) -> Asked {
        let mut stream = TcpStream::connect(("127.0.0.1", self.control)).unwrap();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        Asked { stream, command: command.to_owned() }
    }

    /// Traffic from its agent.
    pub(crate) fn begin_traffic(&self, targets: &str, traffic: &Traffic) -> Asked {
        let sizes: Vec<_> = traffic.sizes.iter().map(ToString::to_string).collect();
        let Traffic { callers, calls, time, pause, .. } = traffic;
        self.begin(&format!(
            "traffic {targets} {} {callers} {calls} {} {}",
            sizes.join(","),
            time.as_millis() / 10,
            pause.as_millis() / 10,
        ))
    }

    /// Kills its process.
    pub(crate) fn kill(self) {
        self.process.kill();
    }

    /// Its process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Waits for its end: its status.
    pub(crate) fn wait(self) -> ExitStatus {
        self.process.wait()
    }
}

/// A command that a real node's agent executes.
pub(crate) struct Asked {
    stream: TcpStream,
    command: String,
}

impl Asked {
    /// Waits for its results.
    pub(crate) fn end(self, time: Duration) -> Result<String, String> {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut line = String::new();
        let read = BufReader::new(self.stream).read_line(&mut line);
        assert!(read.is_ok() && line.ends_with('\n'), "{}: {read:?} {line:?}", self.command);
        match line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "")) {
            ("ok", results) => Ok(results.to_owned()),
            (_, error) => Err(error.to_owned()),
        }
    }

    /// Waits for the end of traffic, or for what there is of it.
    pub(crate) fn end_traffic(self, time: Duration) -> Tally {
        let line = self.end(time + PATIENCE).unwrap();
        let mut words = line.splitn(4, ' ');
        let mut number = || words.next().unwrap().parse().unwrap();
        let (right, wrong, failed) = (number(), number(), number());
        Tally { right, wrong, failed, first: words.next().unwrap_or_default().to_owned() }
    }
}

impl Library {
    fn start(config: Config) -> Self {
        let id = config.harbor;
        let node = Node::start(config.threads(1)).unwrap();
        let agent = node.spawn("agent", Agent::default()).unwrap();
        node.register_global(&format!("R{}", id.get()), &agent).unwrap();
        Self { node, agent }
    }

    /// Its agent's global name.
    pub(crate) fn name(&self) -> String {
        format!("R{}", self.node.harbor().get())
    }

    /// Calls anybody with a packed command.
    pub(crate) fn call(&self, to: impl Into<Destination>, request: Vec<u8>) -> Result<Payload, CallError> {
        self.node.call_raw_blocking(to, Kind::LUA, request, CALL_TIME)
    }

    /// Runs traffic to its end.
    pub(crate) fn traffic(&self, traffic: Traffic) -> Tally {
        let time = traffic.time + PATIENCE;
        self.node.call_blocking(&self.agent, traffic, time).unwrap()
    }

    /// How this node's link to another one stands.
    pub(crate) fn link_state(&self, harbor: u8) -> Option<LinkState> {
        let status = self.node.status().unwrap();
        status.peers.iter().find(|peer| peer.harbor.get() == harbor).map(|peer| peer.state)
    }

    /// Waits until this node has a link to that one.
    pub(crate) fn wait_linked(&self, harbor: u8) {
        self.node.wait_linked(HarborId::new(harbor), PATIENCE).unwrap();
    }
}

impl Program {
    /// The path of its control socket.
    pub(crate) fn control(&self) -> &str {
        self.control.to_str().unwrap()
    }

    /// Its echo's handle.
    pub(crate) fn handle(&self) -> Handle {
        self.handle
    }

    /// `skyharbor call --via` this node.
    pub(crate) fn call(&self, arguments: &[&str]) -> Result<String, String> {
        let head = ["call", "--via", self.control(), "--timeout", "30s"];
        reply(&output(&[&head[..], arguments].concat()))
    }

    /// Its process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> &Log {
        self.process.log()
    }

    /// Kills its process.
    pub(crate) fn kill(self) {
        self.process.kill();
    }

    /// Ends it as an operator does.
    pub(crate) fn stop(self) {
        let status = self.process.stop();
        assert_eq!(status.code(), Some(0));
    }
}

impl Member {
    /// The id of its node, or the label of one whose id is leased.
    pub(crate) fn id(&self) -> u8 {
        match self {
            Self::Real(real) => real.id,
            Self::Library(library) => library.node.harbor().get(),
            Self::Program(program) => program.label,
        }
    }

    /// The global name of its agent or echo.
    pub(crate) fn name(&self) -> String {
        let letter = match self {
            Self::Real(_) => 'L',
            Self::Library(_) => 'R',
            Self::Program(_) => 'E',
        };
        format!("{letter}{}", self.id())
    }

    /// The handle of its agent or echo.
    pub(crate) fn handle(&self) -> Handle {
        match self {
            Self::Real(real) => real.handle,
            Self::Library(library) => library.agent.handle(),
            Self::Program(program) => program.handle,
        }
    }

    /// Has its agent call another one by name or by handle, and checks the echo.
    pub(crate) fn call(&self, target: &str, number: u64, size: usize) -> Result<(), String> {
        match self {
            Self::Real(real) => match real.ask(&format!("call {target} {number} {size}"))?.as_str() {
                "right" => Ok(()),
                outcome => Err(outcome.to_owned()),
            },
            Self::Library(library) => {
                let sent = agent::echo(number, size);
                let reply =
                    library.call(destination(target), sent.clone()).map_err(|reason| reason.to_string())?;
                if reply[..] == sent[..] { Ok(()) } else { Err("wrong".to_owned()) }
            }
            Self::Program(program) => {
                let number = number.to_string();
                // JSON on a command line: letters, and not too many.
                let letters: String = text(7, size).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
                let text = format!("\"{letters}\"");
                let reply = program.call(&[target, "\"echo\"", &number, &text])?;
                if reply == format!("[\"echo\",{number},{text}]") { Ok(()) } else { Err(reply) }
            }
        }
    }
}

/// A target as it is written.
pub(crate) fn destination(target: &str) -> Destination {
    if target.starts_with(':') {
        target.parse::<Handle>().unwrap().into()
    } else {
        target.parse::<Name>().unwrap().into()
    }
}

/// Every member calls every other one, by name and by handle, with this many bytes.
pub(crate) fn assert_mesh(members: &[&Member], size: usize) {
    let mut number = 0;
    for from in members {
        for to in members.iter().filter(|to| to.id() != from.id()) {
            for target in [to.name(), to.handle().to_string()] {
                number += 1;
                let called = from.call(&target, number, size);
                assert_eq!(called, Ok(()), "{} calls {} as {target}", from.name(), to.name());
            }
        }
    }
}
