//! One cluster under the nemesis, from its first process to its last.
//!
//! ```text
//!  start all ─► deeds as the plan has them ─► heal ─► quiet ─► everybody calls everybody ─► end all ─► history
//! ```

use super::args::ChaosArgs;
use super::check::Violation;
use super::history::{End, History, Strain};
use super::nets::Nets;
use super::process::{Identity, Process};
use super::proxy::Proxy;
use super::real;
use super::schedule::{Deed, Schedule, Terms};
use super::weather::{FAULTS, Fault, Lane, Sky};
use crate::plan::Failure;
use crate::random::SplitMix;
use crate::watch::{Board, Watch};
use signal_hook::consts::SIGINT;
use skyharbor::clock::Instant;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the nemesis looks after its processes.
const LOOK: Duration = Duration::from_millis(2);
/// How long a process may take to join and have its names.
const READY_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a process may take to end in order.
const END_TIME_MAX: Duration = Duration::from_secs(20);
/// How long after everything was healed until everybody reaches everybody.
const HEAL_TIME_MAX: Duration = Duration::from_secs(60);
/// From one try of that to the next.
const PROBE_PAUSE: Duration = Duration::from_millis(200);
/// How much longer than deadline and slack a process may take to be quiet.
const QUIET_TIME_MAX: Duration = Duration::from_secs(20);
/// From one fault of the proxy to the next.
const FAULTS_EVERY: Duration = Duration::from_millis(100);
/// From one cut between machines to the next; each is much longer.
const CUTS_EVERY: Duration = Duration::from_secs(1);
/// Ports below those that the system gives to whoever dials: they are free again as soon as their process is dead.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How many ports are tried.
const PORT_TRIES: u32 = 200;

/// What was done, by sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Deeds {
    pub(super) lives: u64,
    /// Of these, real nodes.
    pub(super) real: u64,
    pub(super) kills: u64,
    pub(super) stops: u64,
    pub(super) leaves: u64,
    pub(super) faults: [u64; FAULTS.len()],
}

/// One cluster.
pub(super) struct Cluster<'a> {
    args: &'a ChaosArgs,
    /// Where Skynet is, and how many slots, the last ones, have real nodes.
    skynet: Option<(PathBuf, u8)>,
    seed: u64,
    folder: &'a Path,
    watch: &'a Watch,
    board: &'a Board,
    sky: Arc<Sky>,
    /// None: links are direct.
    proxy: Option<Proxy>,
    /// None: all are on one machine.
    nets: Option<Nets>,
    /// Where the nodes listen, by slot, and behind them the master.
    ports: Vec<SocketAddr>,
    slots: Vec<Slot>,
    past: Vec<(Process, End)>,
    dues: BTreeSet<(Instant, Due)>,
    next_harbor: u16,
    pub(super) deeds: Deeds,
    strains: Vec<Strain>,
    violations: Vec<Violation>,
}

enum Slot {
    Vacant,
    /// Its process, and whether it is ready.
    Running(Process, bool),
    /// Told to leave at this time; the next life begins so long after its end.
    Leaving(Process, Instant, Duration),
}

/// What is to be done later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Start(u8),
    /// SIGCONT for this life of that slot.
    Continue(u8, u32),
    /// A way between machines has one cut less.
    Heal(Lane),
}

impl<'a> Cluster<'a> {
    /// Starts all processes and waits until they are ready.
    pub(super) fn start(
        args: &'a ChaosArgs,
        seed: u64,
        folder: &'a Path,
        (watch, board): (&'a Watch, &'a Board),
    ) -> Result<Self, Failure> {
        let skynet = match (args.real, real::skynet()) {
            (Some(0), _) | (None, None) => None,
            (real, Some(folder)) => Some((folder, real.unwrap_or(1))),
            (Some(_), None) => return Err(Failure::NoSkynet(real::SKYNET_DIR)),
        };
        let slots = args.nodes + skynet.as_ref().map_or(0, |(_, real)| *real);
        let sky = Arc::new(Sky::default());
        let nets = args.netns.then(|| Nets::start(slots)).transpose()?;
        let is_direct = args.direct || args.netns;
        let proxy = if is_direct { None } else { Some(Proxy::start(slots, Arc::clone(&sky), seed)?) };
        let ports = match &nets {
            Some(nets) => nets.addresses(),
            None => free_addresses(usize::from(slots) + 1)?,
        };
        if let Some(proxy) = &proxy {
            proxy.set_master(ports[usize::from(slots)]);
        }
        let mut cluster = Self {
            args,
            skynet,
            seed,
            folder,
            watch,
            board,
            sky,
            proxy,
            nets,
            ports,
            slots: (0..slots).map(|_| Slot::Vacant).collect(),
            past: Vec::new(),
            dues: BTreeSet::new(),
            next_harbor: 1,
            deeds: Deeds::default(),
            strains: Vec::new(),
            violations: Vec::new(),
        };
        for slot in 0..slots {
            cluster.begin(slot)?;
        }
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// Whether another process may die: each life takes a harbor id, and all slots need one in the end.
    fn has_ids(&self) -> bool {
        self.args.same_id || usize::from(self.next_harbor) + self.slots.len() <= 255
    }

    /// The next life of a slot begins.
    fn begin(&mut self, slot: u8) -> Result<(), Failure> {
        let args = self.args;
        let harbor = if args.same_id { u16::from(slot) + 1 } else { self.next_harbor } as u8;
        self.next_harbor += 1;
        self.deeds.lives += 1;
        let life = self.deeds.lives as u32;
        let bind = self.ports[usize::from(slot)];
        let host = self.ports[self.slots.len()];
        let (address, master) = match &self.proxy {
            Some(proxy) => {
                proxy.admit(slot, life, harbor, bind);
                let addresses = proxy.addresses(slot);
                (addresses.links, addresses.master)
            }
            None => (bind, host),
        };
        let identity = Identity { life, slot, harbor };
        let process = match &self.skynet {
            Some((skynet, _)) if slot >= args.nodes => {
                let terms = real::Terms { agents: args.agents, seed: self.seed, listens: bind, master };
                Process::real(identity, self.folder, skynet, &terms, self.nets.as_ref())?
            }
            _ => {
                let mut arguments = self.arguments();
                let own = [("--address", address), ("--bind", bind), ("--master", master)];
                arguments.extend(own.into_iter().flat_map(|(name, value)| [name.into(), value.to_string()]));
                if slot == 0 {
                    arguments.extend(["--standalone".to_owned(), host.to_string()]);
                }
                Process::member(identity, self.folder, &arguments, self.nets.as_ref())?
            }
        };
        let is_ready = process.is_real();
        self.deeds.real += u64::from(process.is_real());
        self.slots[usize::from(slot)] = Slot::Running(process, is_ready);
        Ok(())
    }

    /// What all members are told.
    fn arguments(&self) -> Vec<String> {
        let args = self.args;
        let real = self.skynet.as_ref().map_or(0, |(_, real)| *real);
        [
            ("--slots", self.slots.len().to_string()),
            ("--real", real.to_string()),
            ("--agents", args.agents.to_string()),
            ("--rate", args.rate.to_string()),
            ("--deadline", args.deadline.as_millis().to_string()),
            ("--workers", args.workers.to_string()),
            ("--hogs", args.hogs.to_string()),
            ("--seed", self.seed.to_string()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }

    // Deeds.

    /// Does what the plan has until then, or until `enough` says so.
    pub(super) fn rage(&mut self, until: Instant, enough: impl Fn(&Deeds) -> bool) -> Result<(), Failure> {
        let args = self.args;
        let faults_every = args.faults_every.unwrap_or(if args.netns { CUTS_EVERY } else { FAULTS_EVERY });
        let faults = match (args.direct, args.netns) {
            (true, _) => Vec::new(),
            (false, true) => vec!["cut".to_owned()],
            (false, false) => args.faults.clone(),
        };
        let terms = Terms {
            slots: self.slots.len() as u8,
            first_victim: u8::from(!args.kill_master),
            every: [args.kills_every, args.stops_every, args.leaves_every, faults_every],
            faults,
            is_master_patient: args.same_id,
            parts_machines: args.netns,
        };
        let terms = if terms.faults.is_empty() {
            Terms { every: without_faults(terms.every), ..terms }
        } else {
            terms
        };
        let began = Instant::now();
        // A plan without deeds lets them live until the time is over.
        let plan = Schedule::new(terms, self.seed).map(|(at, deed)| (began + at, Some(deed)));
        for (due, deed) in plan.chain([(until, None)]) {
            while Instant::now() < due.min(until) && !self.watch.interrupted() {
                self.tend()?;
                std::thread::sleep(LOOK.min(due.since(Instant::now())));
            }
            let is_over = Instant::now() >= until || self.watch.interrupted();
            if is_over || enough(&self.deeds) || !self.has_ids() {
                break;
            }
            if let Some(deed) = deed {
                self.perform(deed)?;
            }
        }
        Ok(())
    }

    fn perform(&mut self, deed: Deed) -> Result<(), Failure> {
        let now = Instant::now();
        match deed {
            Deed::Weather { lanes, fault, time } => self.weather(&lanes, fault, now + time)?,
            Deed::Kill { slot, rest } => {
                if let Some(process) = self.take_running(slot) {
                    self.kill(process, now + rest)?;
                }
            }
            Deed::Stop { slot, time } => {
                if let Slot::Running(process, _) = &mut self.slots[usize::from(slot)]
                    && !process.is_stopped()
                {
                    process.stop();
                    self.deeds.stops += 1;
                    self.dues.insert((now + time, Due::Continue(slot, process.life)));
                }
            }
            Deed::Leave { slot, rest } => {
                if let Some(mut process) = self.take_running(slot) {
                    if process.is_real() {
                        return self.kill(process, now + rest);
                    }
                    process.go_on();
                    process.dismiss();
                    self.deeds.leaves += 1;
                    self.slots[usize::from(slot)] = Slot::Leaving(process, now, rest);
                }
            }
        }
        Ok(())
    }

    fn kill(&mut self, mut process: Process, next: Instant) -> Result<(), Failure> {
        let at = process.kill()?;
        self.dues.insert((next, Due::Start(process.slot)));
        self.past.push((process, End::Killed(at)));
        self.deeds.kills += 1;
        Ok(())
    }

    fn take_running(&mut self, slot: u8) -> Option<Process> {
        match std::mem::replace(&mut self.slots[usize::from(slot)], Slot::Vacant) {
            Slot::Running(process, _) => Some(process),
            other => {
                self.slots[usize::from(slot)] = other;
                None
            }
        }
    }

    fn weather(&mut self, lanes: &[Lane], fault: Fault, until: Instant) -> Result<(), Failure> {
        self.deeds.faults[fault.index()] += 1;
        for lane in lanes {
            match &mut self.nets {
                Some(nets) => {
                    nets.cut(*lane)?;
                    self.dues.insert((until, Due::Heal(*lane)));
                }
                None => self.sky.begin(*lane, fault, until),
            }
            if !lane.is_of_master() && (!fault.is_hard() || fault == Fault::Cut) {
                self.strains.push(Strain { slots: (lane.from, lane.to), at: Instant::now(), until });
            }
        }
        Ok(())
    }

    // What happens by itself.

    /// Does what is due and finds out who has ended.
    fn tend(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        while let Some((at, due)) = self.dues.first().copied().filter(|(at, _)| *at <= now) {
            self.dues.remove(&(at, due));
            match due {
                Due::Start(slot) => self.begin(slot)?,
                Due::Heal(lane) => {
                    if let Some(nets) = &mut self.nets {
                        nets.heal(lane)?;
                    }
                }
                Due::Continue(slot, life) => {
                    if let Slot::Running(process, _) = &mut self.slots[usize::from(slot)]
                        && process.life == life
                    {
                        process.go_on();
                    }
                }
            }
        }
        for slot in 0..self.slots.len() as u8 {
            self.look_after(slot, now);
        }
        let grown: u64 = self.processes().map(Process::ledger_bytes).sum();
        self.board.publish(0, grown / 64 + self.deeds.lives);
        Ok(())
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Running(process, _) | Slot::Leaving(process, ..) => Some(process),
            Slot::Vacant => None,
        })
    }

    fn look_after(&mut self, slot: u8, now: Instant) {
        let index = usize::from(slot);
        let (status, since, rest) = match &mut self.slots[index] {
            Slot::Vacant => return,
            Slot::Running(process, is_ready) => {
                *is_ready = *is_ready || process.hear(Duration::ZERO).is_some();
                (process.ended(), now, Duration::ZERO)
            }
            Slot::Leaving(process, since, rest) => (process.ended(), *since, *rest),
        };
        let is_late = now.since(since) > END_TIME_MAX;
        if status.is_none() && !is_late {
            return;
        }
        let (process, was_told) = match std::mem::replace(&mut self.slots[index], Slot::Vacant) {
            Slot::Vacant => return,
            Slot::Running(process, _) => (process, false),
            Slot::Leaving(process, ..) => (process, true),
        };
        let complaint = process.complaint();
        let what = match status {
            // What becomes of a real node, whatever we do to it, is not ours to judge.
            _ if process.is_real() => None,
            Some(status) if was_told && status.success() && complaint.is_empty() => None,
            // Ctrl-C found it before it had a process group of its own.
            Some(status) if self.watch.interrupted() && status.signal() == Some(SIGINT) => None,
            Some(status) => Some(format!("it ended with {status}: {complaint}")),
            None => Some(format!("it did not leave within {END_TIME_MAX:?}: {complaint}")),
        };
        let life = process.life;
        self.violations.extend(what.map(|what| Violation::LastWords { life, what }));
        self.past.push((process, End::Left(since)));
        self.dues.insert((now + rest, Due::Start(slot)));
    }

    // The end.

    /// Heals everything, makes sure that everybody reaches everybody, ends all processes and says what happened.
    pub(super) fn finish(mut self) -> Result<(History, Vec<Violation>, Deeds), Failure> {
        self.sky.clear();
        if let Some(nets) = &mut self.nets {
            nets.heal_all()?;
        }
        for slot in &mut self.slots {
            if let Slot::Running(process, _) = slot {
                process.go_on();
            }
        }
        self.wait_ready()?;
        self.silence();
        self.probe();
        self.dismiss()?;
        // Whatever the proxy did to connections is known when they have ended.
        drop(self.proxy.take());
        let wounds = self.sky.take_wounds();
        let lives: Result<Vec<_>, _> = self.past.drain(..).map(|(process, end)| process.life(end)).collect();
        let (deadline, slack) = (self.args.deadline, self.args.slack);
        let history = History { lives: lives?, wounds, strains: self.strains, deadline, slack };
        Ok((history, self.violations, self.deeds))
    }

    /// Waits until every slot has a process that is ready.
    fn wait_ready(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            self.tend()?;
            let waits_for = self.slots.iter().position(|slot| !matches!(slot, Slot::Running(_, true)));
            let Some(waits_for) = waits_for else { return Ok(()) };
            if Instant::now().since(began) > READY_TIME_MAX {
                let said = self.processes().find(|process| usize::from(process.slot) == waits_for);
                let said = said.map(Process::complaint).unwrap_or_default();
                return Err(Failure::Member(format!("of slot {waits_for} was not ready in time: {said}")));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Nobody sends any more, and all calls end.
    fn silence(&mut self) {
        let patience = self.args.deadline + self.args.slack + QUIET_TIME_MAX;
        self.ask_all("quiet", patience, |_| true);
    }

    /// Everybody calls everybody, until all answer.
    fn probe(&mut self) {
        let began = Instant::now();
        loop {
            let patience = self.args.deadline + self.args.slack + QUIET_TIME_MAX;
            let missing = self.ask_all("probe", patience, |said| said == "probed 0");
            if missing.is_empty() {
                return;
            }
            if Instant::now().since(began) > HEAL_TIME_MAX {
                return self.violations.extend(missing.into_iter().map(|(life, said)| {
                    let what = format!("it does not reach everybody after {HEAL_TIME_MAX:?}: {said}");
                    Violation::LastWords { life, what }
                }));
            }
            std::thread::sleep(PROBE_PAUSE);
        }
    }

    /// Says something to all; whose answers were not as wanted.
    fn ask_all(&mut self, line: &str, patience: Duration, is_wanted: fn(&str) -> bool) -> Vec<(u32, String)> {
        let mut missing = Vec::new();
        for slot in &mut self.slots {
            if let Slot::Running(process, _) = slot {
                process.tell(line);
            }
        }
        let until = Instant::now() + patience;
        for process in self.processes().filter(|process| !process.is_real()) {
            match process.hear(until.since(Instant::now())) {
                Some(said) if is_wanted(&said) => {}
                said => missing.push((process.life, said.unwrap_or_else(|| "no answer".into()))),
            }
            self.board.add(0, 1);
        }
        missing
    }

    /// All end in order; the one that hosts the master is the last.
    fn dismiss(&mut self) -> Result<(), Failure> {
        let at = Instant::now();
        for slot in (0..self.slots.len()).rev() {
            let Slot::Running(mut process, _) = std::mem::replace(&mut self.slots[slot], Slot::Vacant) else {
                continue;
            };
            if process.is_real() {
                let at = process.kill()?;
                self.past.push((process, End::Killed(at)));
                continue;
            }
            process.dismiss();
            let until = Instant::now() + END_TIME_MAX;
            let status = loop {
                match process.ended() {
                    None if Instant::now() < until => std::thread::sleep(LOOK),
                    status => break status,
                }
            };
            let (life, complaint) = (process.life, process.complaint());
            if !status.is_some_and(|status| status.success()) || !complaint.is_empty() {
                let what = format!("it was told to end and ended with {status:?}: {complaint}");
                self.violations.push(Violation::LastWords { life, what });
            }
            self.past.push((process, End::Ended(at)));
        }
        Ok(())
    }
}

fn without_faults(every: [Duration; 4]) -> [Duration; 4] {
    let [kills, stops, leaves, _] = every;
    [kills, stops, leaves, Duration::ZERO]
}

/// Addresses on which nobody listens, each of its own.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>, Failure> {
    let mut random = SplitMix::new(Instant::now().nanos(), std::process::id().into());
    let mut addresses = BTreeSet::new();
    for _ in 0..PORT_TRIES {
        let port = PORTS.start + random.below(PORTS.len() as u32) as u16;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            addresses.insert(address);
        }
        if addresses.len() == count {
            return Ok(addresses.into_iter().collect());
        }
    }
    Err(Failure::Ports)
}
