//! Who is attacked, and who must not notice.

use crate::program::{Program, free_port};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use skyharbor::message::Kind;
use skyharbor::prelude::*;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// What a victim's memory may grow by, in bytes.
pub(crate) const GROWTH_MAX: u64 = 64 << 20;
/// What it is told to take for messages and names: a half of that, since allocators need some room too.
const MEMORY: u64 = GROWTH_MAX / 2;
/// The victim's id, and the healthy node's.
pub(crate) const VICTIM: u8 = 1;
pub(crate) const HEALTHY: u8 = 200;
/// How the healthy node and the victim look after each other.
const HEARTBEAT: Duration = secs(5);
const HEARTBEAT_DEADLINE: Duration = secs(60);
/// How long a call of the healthy node may take.
const CALL_TIME: Duration = secs(60);

/// A process of the program with an echo, `ECHO`.
pub(crate) struct Victim {
    pub(crate) program: Program,
    /// Where it listens for links.
    pub(crate) links: u16,
    /// Where its master listens, if it hosts one.
    pub(crate) master: u16,
    /// Its echo.
    pub(crate) echo: Handle,
    base: u64,
    _folder: TempDir,
}

impl Victim {
    /// A node that hosts the master.
    pub(crate) fn master() -> Self {
        Self::start(|links, master| {
            format!("harbor = 1\naddress = \"127.0.0.1:{links}\"\nstandalone = \"127.0.0.1:{master}\"\n")
        })
    }

    /// A node whose master is at this port.
    pub(crate) fn slave_of(port: u16) -> Self {
        Self::start(|links, _| {
            format!("harbor = 1\naddress = \"127.0.0.1:{links}\"\nmaster = \"127.0.0.1:{port}\"\n")
        })
    }

    fn start(keys: impl Fn(u16, u16) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..5 {
            let (links, master) = (free_port(), free_port());
            let common = format!(
                "memory = {MEMORY}\nheartbeat = \"{HEARTBEAT:?}\"\nheartbeat_deadline = \"{HEARTBEAT_DEADLINE:?}\"\n"
            );
            let echo = format!("{common}[[service]]\nkind = \"echo\"\nname = \"ECHO\"\n");
            let mut program =
                Program::start(folder.path(), "victim", &format!("{}{echo}", keys(links, master)));
            if program.sees("running") {
                let echo = handle_of(&program.log());
                let base = limit(program.pid());
                return Self { program, links, master, echo, base, _folder: folder };
            }
            assert!(program.log().contains("in use"), "{}", program.log());
        }
        panic!("no free ports");
    }

    /// How far its memory has grown at most, in bytes.
    pub(crate) fn growth(&self) -> u64 {
        memory(self.program.pid(), "VmHWM:").saturating_sub(self.base)
    }

    /// Its open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.program.pid().as_raw_nonzero())).unwrap().count()
    }

    /// It lives, and has not grown by more than it may.
    pub(crate) fn assert_sound(&self) {
        let growth = self.growth();
        eprintln!("grew by {} KiB", growth >> 10);
        assert!(growth <= GROWTH_MAX, "it grew by {growth} bytes");
        let reply = self.program.call(&[&self.echo.to_string(), "1"]);
        assert_eq!(reply.as_deref(), Ok("[1]"), "it answers its operator");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- the end of the victim's log\n{}", self.program.last_lines());
        }
    }
}

/// The handle of the only service, as the log says it.
fn handle_of(log: &str) -> Handle {
    let line = log.lines().find(|line| line.contains("service echo ECHO at ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// From now on the process may not have more than `GROWTH_MAX` of writable memory beyond what it has: the memory it has
/// used at most so far. (Not `RLIMIT_AS`: each thread's allocator reserves 64 MiB of addresses that it never touches.)
fn limit(pid: Pid) -> u64 {
    let size = memory(pid, "VmData:") + GROWTH_MAX;
    prlimit(Some(pid), Resource::Data, Rlimit { current: Some(size), maximum: Some(size) }).unwrap();
    memory(pid, "VmHWM:")
}

fn memory(pid: Pid, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_else(|| panic!("{status}"));
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// A node that has nothing to do with the attack.
pub(crate) struct Healthy(Node);

impl Healthy {
    /// Joins the victim's cluster.
    pub(crate) fn join(victim: &Victim) -> Self {
        let master = format!("127.0.0.1:{}", victim.master);
        let config = Config::local().harbor(HEALTHY).address("127.0.0.1:0").master(master).threads(1);
        // On a machine that others use, a victim that is attacked may be silent for seconds.
        let config = config.heartbeat(HEARTBEAT, HEARTBEAT_DEADLINE);
        let node = Node::start(config).unwrap();
        node.wait_linked(HarborId::new(VICTIM), CALL_TIME).unwrap();
        Self(node)
    }

    /// One call of the victim, its reply checked.
    pub(crate) fn call(&self, echo: Handle, number: u32) -> Result<(), CallError> {
        let request = [number.to_le_bytes().to_vec(), vec![7; number as usize % 2000]].concat();
        let reply = self.0.call_raw_blocking(echo, Kind::TEXT, request.clone(), CALL_TIME)?;
        assert!(reply[..] == request[..], "call {number} got another's reply");
        Ok(())
    }

    /// Calls the victim without a pause while it is attacked, and once more after that.
    fn calls_during(&self, victim: &Victim, attack: impl FnOnce(&Calls)) {
        let (echo, over) = (victim.echo, AtomicBool::new(false));
        let (sender, made) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let sender = sender;
                for number in 0.. {
                    assert_eq!(self.call(echo, number), Ok(()), "call {number}");
                    if over.load(Ordering::Relaxed) || sender.send(()).is_err() {
                        break;
                    }
                }
            });
            let calls = Calls { made, over: &over };
            attack(&calls);
        });
        assert_eq!(self.call(echo, 0), Ok(()));
    }
}

/// The calls of the healthy node; dropped, they end.
pub(crate) struct Calls<'a> {
    made: Receiver<()>,
    over: &'a AtomicBool,
}

impl Calls<'_> {
    /// Waits until a call that began after this moment is answered.
    pub(crate) fn wait(&self) {
        while self.made.try_recv().is_ok() {}
        // The first of them began before.
        for _ in 0..2 {
            self.made.recv_timeout(2 * CALL_TIME).expect("a healthy call is answered");
        }
    }
}

impl Drop for Calls<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Bytes without a pattern, the same for the same seed.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A victim that hosts the master, and its healthy peer, while this is done to it.
pub(crate) fn attack(attack: impl FnOnce(&Victim, &Calls)) {
    let victim = Victim::master();
    let healthy = Healthy::join(&victim);
    healthy.calls_during(&victim, |calls| attack(&victim, calls));
    victim.assert_sound();
}
