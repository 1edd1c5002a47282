//! The command line.

#[cfg(unix)]
use crate::chaos::{ChaosArgs, MemberArgs, RealArgs};
use crate::plan::{Goal, Plan};
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long a workload runs unless the command line says otherwise, in seconds.
const SECS: f64 = 5.0;
/// How long each of the four steps of `quick` runs, in seconds.
const QUICK_SECS: f64 = 12.0;
/// Messages of `fanin`: an amount and not a time, because its queue grows while it runs.
const FANIN_MESSAGES: u64 = 5_000_000;
/// Leaves of `tree`.
const TREE_LEAVES: u64 = 1_000_000;
/// Services of `idle`.
const IDLE_SERVICES: u64 = 100_000;

/// Stress programs for skyharbor: each runs one workload, verifies it to the last message, and prints rate and latency.
#[derive(Debug, Parser)]
#[command(name = "skyharbor-stress", bin_name = "cargo stress", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One minute: ping-pong, 64 pairs, then round trips and a one-way flood to a second process over TCP
    Quick(QuickArgs),
    /// One pair of services, one message in flight, sent both ways; counts round trips
    Pingpong(TimedArgs),
    /// One service calls another, one call at a time; counts round trips
    Call(TimedArgs),
    /// 64 pairs of services, one message in flight each; counts messages
    Pairs(TimedArgs),
    /// 64 producers send to one sink and re-post themselves every 100 messages
    Fanin(LocalArgs),
    /// 64 tokens go round a ring of 1,000 services; counts hops
    Ring(LocalArgs),
    /// 256 tokens hop between 128 services at random; counts hops
    Mixed(LocalArgs),
    /// A 10-ary tree of services is spawned and its leaves summed; counts leaves, shows the peak memory
    Tree(SpawnArgs),
    /// Idle services; shows the bytes of each
    Idle(SpawnArgs),
    /// Two processes, one call at a time; counts round trips
    Rtt(RttArgs),
    /// Two processes, one way, bounded by a window; the receiver's rate from first to last message
    Flood(FloodArgs),
    /// Two processes, calls at a fixed rate; latency from the intended send time
    Openloop(OpenloopArgs),
    /// Eight processes, killed, stopped and cut off from each other at random; every message and call is accounted for
    #[cfg(unix)]
    Chaos(ChaosArgs),
    /// Percentiles of two `.hgrm` files side by side
    Compare(CompareArgs),
    /// The second process of a two-process workload
    #[command(hide = true)]
    Peer(PeerArgs),
    /// One of the processes of `chaos`
    #[cfg(unix)]
    #[command(hide = true)]
    Member(MemberArgs),
    /// A real node of `chaos`, which this process becomes
    #[cfg(unix)]
    #[command(hide = true)]
    Real(RealArgs),
}

/// What every workload takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct CommonArgs {
    /// Worker threads of each node [default: one per CPU]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Pin each worker thread to one CPU
    #[arg(long)]
    pin: bool,
    /// Print one line of JSON instead of the table
    #[arg(long)]
    pub(crate) json: bool,
    /// Seed of all random choices and payload bytes [default: a fresh one, printed with the result]
    #[arg(long)]
    seed: Option<u64>,
    /// Give up when nothing moved for so long
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = seconds)]
    pub(crate) stall: Duration,
}

/// How long a workload runs.
#[derive(Args, Clone, Debug)]
pub(crate) struct GoalArgs {
    /// Run for so many seconds [default: 5; `fanin`: --n 5000000 instead]
    #[arg(long, value_parser = seconds, conflicts_with = "n")]
    secs: Option<Duration>,
    /// Run until so many are counted (of what the workload counts)
    #[arg(long, value_parser = count)]
    n: Option<u64>,
}

/// A latency histogram to keep.
#[derive(Args, Clone, Debug)]
pub(crate) struct HistogramArgs {
    /// Write the latencies as percentile text for the HdrHistogram plotter, in microseconds
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,
}

/// Bytes of a local message.
#[derive(Args, Clone, Debug)]
pub(crate) struct SizeArgs {
    /// Bytes of a message; above 16, the rest is allocated, filled, checked and freed for each message
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(16..=16_000_000))]
    size: u32,
}

#[derive(Args, Debug)]
pub(crate) struct QuickArgs {
    /// Seconds of each of the four steps
    #[arg(long, default_value_t = QUICK_SECS.into(), value_parser = secs_value)]
    secs: Secs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// A local workload with latencies.
#[derive(Args, Debug)]
pub(crate) struct TimedArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    goal: GoalArgs,
    #[command(flatten)]
    size: SizeArgs,
    #[command(flatten)]
    pub(crate) histogram: HistogramArgs,
}

/// A local workload that only counts.
#[derive(Args, Debug)]
pub(crate) struct LocalArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    goal: GoalArgs,
    #[command(flatten)]
    size: SizeArgs,
}

/// A workload of spawning.
#[derive(Args, Debug)]
pub(crate) struct SpawnArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// How many [default: 1,000,000 leaves, 100,000 idle services]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=12_000_000))]
    n: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct RttArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    goal: GoalArgs,
    /// Bytes of the request in its frame (64 is a pathological size for Skynet)
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(16..=16_000_000))]
    size: u32,
    #[command(flatten)]
    pub(crate) histogram: HistogramArgs,
}

#[derive(Args, Debug)]
pub(crate) struct FloodArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    goal: GoalArgs,
    /// Bytes of a message in its frame
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=16_000_000))]
    size: u32,
    /// Messages under way at most [default: 16,384 or as many as make 16 MiB]
    #[arg(long, value_parser = clap::value_parser!(u32).range(4..=1_000_000))]
    window: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct OpenloopArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    goal: GoalArgs,
    /// Bytes of the request in its frame
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(16..=16_000_000))]
    size: u32,
    /// Requests per second
    #[arg(long, default_value_t = 20_000.0, value_parser = rate)]
    rate: f64,
    #[command(flatten)]
    pub(crate) histogram: HistogramArgs,
}

#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// Percentile text of the first run
    pub(crate) first: PathBuf,
    /// Percentile text of the second run
    pub(crate) second: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct PeerArgs {
    /// Where the master listens
    #[arg(long)]
    pub(crate) master: SocketAddr,
    /// Worker threads
    #[arg(long)]
    pub(crate) workers: usize,
    /// Pin each worker thread to one CPU
    #[arg(long)]
    pub(crate) pin: bool,
    /// The first process's seed
    #[arg(long)]
    pub(crate) seed: u64,
    /// Bytes of a payload
    #[arg(long)]
    pub(crate) size: usize,
}

/// Seconds as a command line value that shows its default.
#[derive(Clone, Copy, Debug)]
struct Secs(Duration);

impl From<f64> for Secs {
    fn from(secs: f64) -> Self {
        Self(Duration::from_secs_f64(secs))
    }
}

impl std::fmt::Display for Secs {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_secs_f64().fmt(out)
    }
}

impl CommonArgs {
    fn plan(&self, goal: Goal, size: u32) -> Plan {
        Plan {
            title: String::new(),
            goal,
            workers: self.workers.map_or_else(Plan::workers_of_machine, usize::from),
            pin: self.pin,
            seed: self.seed.unwrap_or_else(Plan::fresh_seed),
            size: size as usize,
            rate: 0.0,
            window: None,
        }
    }
}

impl GoalArgs {
    fn goal(&self, otherwise: Goal) -> Goal {
        match (self.n, self.secs) {
            (Some(count), _) => Goal::Count(count),
            (None, Some(time)) => Goal::Time(time),
            (None, None) => otherwise,
        }
    }

    fn timed(&self) -> Goal {
        self.goal(Goal::Time(Duration::from_secs_f64(SECS)))
    }
}

impl QuickArgs {
    pub(crate) fn plan(&self) -> Plan {
        self.common.plan(Goal::Time(self.secs.0), 16)
    }
}

impl TimedArgs {
    pub(crate) fn plan(&self) -> Plan {
        self.common.plan(self.goal.timed(), self.size.size)
    }
}

impl LocalArgs {
    pub(crate) fn plan(&self) -> Plan {
        self.common.plan(self.goal.timed(), self.size.size)
    }

    pub(crate) fn fanin_plan(&self) -> Plan {
        self.common.plan(self.goal.goal(Goal::Count(FANIN_MESSAGES)), self.size.size)
    }
}

impl SpawnArgs {
    pub(crate) fn tree_plan(&self) -> Plan {
        self.common.plan(Goal::Count(self.n.unwrap_or(TREE_LEAVES)), 16)
    }

    pub(crate) fn idle_plan(&self) -> Plan {
        self.common.plan(Goal::Count(self.n.unwrap_or(IDLE_SERVICES)), 16)
    }
}

impl RttArgs {
    pub(crate) fn plan(&self) -> Plan {
        self.common.plan(self.goal.timed(), self.size)
    }
}

impl FloodArgs {
    pub(crate) fn plan(&self) -> Plan {
        let plan = self.common.plan(self.goal.timed(), self.size);
        Plan { window: self.window.map(u64::from), ..plan }
    }
}

impl OpenloopArgs {
    pub(crate) fn plan(&self) -> Plan {
        Plan { rate: self.rate, ..self.common.plan(self.goal.timed(), self.size) }
    }
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let secs: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if !(0.001..=86_400.0).contains(&secs) {
        return Err("must be between 0.001 and 86400 seconds".into());
    }
    Ok(Duration::from_secs_f64(secs))
}

fn secs_value(text: &str) -> Result<Secs, String> {
    seconds(text).map(Secs)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number of requests per second".to_owned())?;
    if !(0.01..=10_000_000.0).contains(&rate) {
        return Err("must be between 0.01 and 10000000 requests per second".into());
    }
    Ok(rate)
}

/// A count, with `_` between its digits if one likes.
fn count(text: &str) -> Result<u64, String> {
    match text.replace('_', "").parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("not a count".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("stress").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        let Command::Fanin(fanin) = parse("fanin").unwrap().command else { panic!("not fanin") };
        assert_eq!(fanin.fanin_plan().goal, Goal::Count(5_000_000));
        let Command::Rtt(rtt) = parse("rtt --seed 7").unwrap().command else { panic!("not rtt") };
        let plan = rtt.plan();
        assert_eq!((plan.goal, plan.size, plan.seed), (Goal::Time(Duration::from_secs(5)), 32, 7));
        let Command::Quick(quick) = parse("quick").unwrap().command else { panic!("not quick") };
        assert_eq!(quick.plan().goal, Goal::Time(Duration::from_secs(12)));
        assert_eq!(quick.common.stall, Duration::from_secs(10));
    }

    #[test]
    fn counts_and_times_exclude_each_other_and_have_bounds() {
        let Command::Ring(ring) = parse("ring --n 1_000").unwrap().command else { panic!("not ring") };
        assert_eq!(ring.plan().goal, Goal::Count(1000));
        for bad in [
            "ring --n 5 --secs 1",
            "ring --n 0",
            "ring --n -1",
            "ring --secs 0",
            "ring --secs nan",
            "ring --workers 0",
            "ring --size 15",
            "ring --hgrm out",
            "tree --secs 1",
            "openloop --rate 0",
            "openloop --rate nan",
            "flood --window 3",
            "compare a.hgrm",
            "sprint",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
