//! A network namespace for each slot, and a bridge between them: machines of their own, whose ways to each other the kernel
//! loses without a word to anybody. Takes root, and `ip` of iproute2 (ip-netns(8), ip-route(8)).
//!
//! ```text
//!  namespace of slot 0       namespace of the hub       namespace of slot 1
//!    10.77.0.1 eth0 ────────── v0 ─ bridge ─ v1 ────────── eth0 10.77.0.2
//!    blackhole 10.77.0.2: nothing goes from 0 to 1, no connection ends by that
//! ```
//!
//! The system's own network is not touched. Dropped, all of it is gone, and with it every process's connections.

use super::weather::Lane;
use crate::plan::Failure;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where every node listens, and the master besides.
const PORTS: (u16, u16) = (2526, 2013);

/// The namespaces of one cluster.
pub(super) struct Nets {
    prefix: String,
    slots: u8,
    /// Lanes that lead nowhere, and how many cuts each has.
    cut: BTreeMap<Lane, u32>,
}

impl Nets {
    pub(super) fn start(slots: u8) -> Result<Self, Failure> {
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::Namespaces("only root makes network namespaces".into()));
        }
        remove_orphans();
        let nets = Self { prefix: format!("chaos-{}", std::process::id()), slots, cut: BTreeMap::new() };
        let hub = nets.hub();
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "bridge", "up"])?;
        for slot in 0..slots {
            let (inside, plug) = (nets.inside(slot), format!("v{slot}"));
            let address = format!("{}/24", address(slot));
            ip(&["netns", "add", &inside])?;
            ip(&[
                "-n", &hub, "link", "add", &plug, "type", "veth", "peer", "name", "eth0", "netns", &inside,
            ])?;
            ip(&["-n", &hub, "link", "set", &plug, "master", "bridge", "up"])?;
            ip(&["-n", &inside, "addr", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &inside, "link", "set", "eth0", "up"])?;
            ip(&["-n", &inside, "link", "set", "lo", "up"])?;
        }
        Ok(nets)
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }

    fn inside(&self, slot: u8) -> String {
        format!("{}-{slot}", self.prefix)
    }

    /// Where the nodes listen, by slot, and behind them the master, which is in slot 0.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let nodes = (0..self.slots).map(|slot| (slot, PORTS.0));
        nodes.chain([(0, PORTS.1)]).map(|(slot, port)| SocketAddr::new(address(slot), port)).collect()
    }

    /// The same command in the namespace of a slot.
    pub(super) fn enter(&self, slot: u8, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.inside(slot)]).arg(command.get_program());
        inside.args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }

    /// From now on nothing goes that way.
    pub(super) fn cut(&mut self, lane: Lane) -> Result<(), Failure> {
        let cuts = self.cut.entry(lane).or_default();
        *cuts += 1;
        if *cuts > 1 {
            return Ok(());
        }
        self.route("add", lane)
    }

    /// One cut less.
    pub(super) fn heal(&mut self, lane: Lane) -> Result<(), Failure> {
        match self.cut.get_mut(&lane) {
            Some(cuts) if *cuts > 1 => *cuts -= 1,
            Some(_) => {
                self.cut.remove(&lane);
                self.route("del", lane)?;
            }
            None => {}
        }
        Ok(())
    }

    pub(super) fn heal_all(&mut self) -> Result<(), Failure> {
        while let Some((lane, _)) = self.cut.pop_first() {
            self.route("del", lane)?;
        }
        Ok(())
    }

    fn route(&self, verb: &str, lane: Lane) -> Result<(), Failure> {
        ip(&["-n", &self.inside(lane.from), "route", verb, "blackhole", &address(lane.to).to_string()])
    }
}

impl Drop for Nets {
    fn drop(&mut self) {
        for name in (0..self.slots).map(|slot| self.inside(slot)).chain([self.hub()]) {
            remove(&name);
        }
    }
}

/// Whoever was killed left its namespaces behind.
fn remove_orphans() {
    let Ok(listed) = Command::new("ip").args(["netns", "list"]).output() else { return };
    for name in String::from_utf8_lossy(&listed.stdout).lines().filter_map(|line| line.split(' ').next()) {
        let owner = name.strip_prefix("chaos-").and_then(|rest| rest.split_once('-')).map(|(id, _)| id);
        let is_orphan =
            owner.is_some_and(|id| id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists());
        if is_orphan {
            remove(name);
        }
    }
}

/// Whatever was not made, or is gone, need not be removed.
fn remove(name: &str) {
    Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status().ok();
}

fn address(slot: u8) -> IpAddr {
    Ipv4Addr::new(10, 77, 0, slot + 1).into()
}

fn ip(arguments: &[&str]) -> Result<(), Failure> {
    let said = |what: String| Failure::Namespaces(format!("ip {}: {what}", arguments.join(" ")));
    let output = Command::new("ip").args(arguments).output().map_err(|error| said(error.to_string()))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said(complaint.trim().to_owned())) }
}
