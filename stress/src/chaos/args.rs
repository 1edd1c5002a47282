//! The command line of `chaos`, and that of its members.

use super::weather::FAULTS;
use crate::cli::seconds;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What `chaos` takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChaosArgs {
    /// Node processes; the first one hosts the master
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=32))]
    pub(super) nodes: u8,
    /// Real Skynet nodes besides, which answer, are killed and stopped [default: 1 if SKYNET_DIR names a built Skynet, else 0]
    #[arg(long, value_name = "NODES", value_parser = clap::value_parser!(u8).range(0..=8))]
    pub(super) real: Option<u8>,
    /// Services of each node that send and call
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(super) agents: u16,
    /// Letters that each node sends a second, two of three of them calls
    #[arg(long, default_value_t = 300.0, value_parser = rate)]
    pub(super) rate: f64,
    /// The deadline of calls
    #[arg(long, default_value = "2s", value_parser = time)]
    pub(super) deadline: Duration,
    /// How much later than its deadline a call may end before that counts as wrong; a stopped caller has the time of its stop besides
    #[arg(long, default_value = "3s", value_parser = time)]
    pub(super) slack: Duration,
    /// Worker threads of each node
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) workers: u16,
    /// Go on for so many seconds
    #[arg(long, value_parser = seconds, default_value = "60")]
    pub(super) secs: Duration,
    /// Go on until so many processes were killed, however long that takes
    #[arg(long)]
    pub(super) kills: Option<u64>,
    /// How long one cluster lives before its ledger is checked and the next one starts; earlier if it runs out of harbor ids
    #[arg(long, value_name = "SECS", value_parser = seconds, default_value = "30")]
    pub(super) round: Duration,
    /// From one kill -9 to the next, on average; 0: never
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = time)]
    pub(super) kills_every: Duration,
    /// From one SIGSTOP to the next, on average; 0: never
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub(super) stops_every: Duration,
    /// From one node that leaves in order to the next, on average; 0: never
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    pub(super) leaves_every: Duration,
    /// From one fault of the proxy to the next, on average; 0: never [default: 100ms; 1s with --netns]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) faults_every: Option<Duration>,
    /// Faults of the proxy, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = FAULTS, default_values = FAULTS)]
    pub(super) faults: Vec<String>,
    /// The node that hosts the master is killed, stopped and leaves like all others
    #[arg(long)]
    pub(super) kill_master: bool,
    /// A node comes back with the harbor id that it had; otherwise with a fresh one
    #[arg(long)]
    pub(super) same_id: bool,
    /// Links without the proxy, and so without its faults
    #[arg(long)]
    pub(super) direct: bool,
    /// A network namespace for each node instead of the proxy, and cuts of one direction or both between them for up to 12 s; takes root and iproute2
    #[arg(long, conflicts_with_all = ["direct", "faults"])]
    pub(super) netns: bool,
    /// Services of each node that keep its workers busy all the time
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    pub(super) hogs: u16,
    /// Seed of the nemesis' plan, of all letters and faults [default: a fresh one, printed with the result]
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Keep the ledgers in this folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) keep: Option<PathBuf>,
    /// Print one line of JSON instead of the table
    #[arg(long)]
    pub(super) json: bool,
    /// Give up when no ledger grew for so long
    #[arg(long, value_name = "SECS", default_value = "60", value_parser = seconds)]
    pub(super) stall: Duration,
}

/// What a member is told when it starts.
#[derive(Args, Debug)]
pub(crate) struct MemberArgs {
    /// Which life this is, of all slots
    #[arg(long)]
    pub(super) life: u32,
    /// Its slot
    #[arg(long)]
    pub(super) slot: u8,
    /// Slots of the cluster
    #[arg(long)]
    pub(super) slots: u8,
    /// How many of them, the last ones, have real nodes
    #[arg(long)]
    pub(super) real: u8,
    /// Its services
    #[arg(long)]
    pub(super) agents: u16,
    /// Letters a second
    #[arg(long)]
    pub(super) rate: f64,
    /// The deadline of calls, in milliseconds
    #[arg(long)]
    pub(super) deadline: u64,
    /// Worker threads
    #[arg(long)]
    pub(super) workers: usize,
    /// Services that keep them busy
    #[arg(long)]
    pub(super) hogs: u16,
    /// The seed of the run
    #[arg(long)]
    pub(super) seed: u64,
    /// Its harbor id
    #[arg(long)]
    pub(super) harbor: u8,
    /// Where others dial it
    #[arg(long)]
    pub(super) address: String,
    /// Where it listens
    #[arg(long)]
    pub(super) bind: String,
    /// Where it dials the master
    #[arg(long)]
    pub(super) master: String,
    /// Where it hosts the master, if it does
    #[arg(long)]
    pub(super) standalone: Option<SocketAddr>,
    /// Its ledger
    #[arg(long)]
    pub(super) ledger: PathBuf,
}

/// What becomes a real node is told.
#[derive(Args, Debug)]
pub(crate) struct RealArgs {
    /// Skynet's program
    pub(super) program: PathBuf,
    /// Its configuration
    pub(super) config: PathBuf,
}

/// `300ms`, `1.5s`, `0`.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a time such as 300ms, 1.5s, or 0".to_owned();
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let is_bare = text != "0" && !text.ends_with('s');
    if is_bare || !(0.0..=3600.0).contains(&(number * unit)) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(number * unit))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number of letters per second".to_owned())?;
    if !(1.0..=100_000.0).contains(&rate) {
        return Err("must be between 1 and 100000 letters per second".into());
    }
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let millis = |text| time(text).map(|time| time.as_millis());
        assert_eq!([millis("300ms"), millis("1.5s"), millis("0")], [Ok(300), Ok(1500), Ok(0)]);
        for bad in ["", "5", "s", "ms", "-1s", "nans", "3601s"] {
            assert!(time(bad).is_err(), "{bad:?}");
        }
    }
}
