//! Real processes under a nemesis: killed, stopped, told to leave, their links hurt by a proxy; and a ledger that survives
//! them all, by which every message and every call is accounted for.
//!
//! ```text
//!  this process                                       member: a node with agents (one of 8)
//!    schedule ─► cluster ── SIGKILL, SIGSTOP ───────────►  agents ── letters and calls ─┐
//!                   │                                        │                          │
//!                   └─► weather ─► proxy ◄─── every link and control link ──────────────┘
//!    checker ◄──────────── ledger, a file per life ◄─────────┘
//! ```

mod agent;
mod args;
mod check;
mod cluster;
mod history;
mod ledger;
mod letter;
mod member;
mod nets;
mod outcome;
mod process;
mod proxy;
mod pump;
mod real;
mod schedule;
mod summary;
mod weather;

pub(crate) use args::{ChaosArgs, MemberArgs, RealArgs};
pub(crate) use member::member;
pub(crate) use real::real;

use crate::machine;
use crate::output::{complain, say};
use crate::plan::{Failure, Goal, Plan};
use crate::watch::{Board, INTERRUPTED, Watch};
use cluster::{Cluster, Deeds};
use skyharbor::clock::Instant;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use summary::Summary;

/// Violations that are printed; all are counted.
const VIOLATIONS_SHOWN_MAX: usize = 20;

/// Clusters under the nemesis, one after the other, until the time is over or enough was killed.
pub(crate) fn chaos(args: &ChaosArgs) -> ExitCode {
    if !args.json && !say(machine::line()) {
        return ExitCode::FAILURE;
    }
    let watch = match Watch::start(args.stall) {
        Ok(watch) => watch,
        Err(error) => return fail(&format_args!("cannot watch over the run: {error}")),
    };
    let seed = args.seed.unwrap_or_else(Plan::fresh_seed);
    let mut summary = Summary::new(args, seed);
    let ended = run(args, seed, &watch, &mut summary);
    let is_shown = summary.is_empty() || summary.print(args.json);
    if let Err(failure) = ended {
        return fail(&failure);
    }
    if summary.violations > 0 {
        return fail(&format_args!("{} violations, seed {seed}", summary.violations));
    }
    if watch.interrupted() {
        complain("interrupted; what happened until then is checked");
        return ExitCode::from(INTERRUPTED);
    }
    let passed = is_shown && (args.json || say("PASS"));
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(what: &dyn std::fmt::Display) -> ExitCode {
    complain(format_args!("FAIL chaos: {what}"));
    ExitCode::FAILURE
}

fn run(args: &ChaosArgs, seed: u64, watch: &Watch, summary: &mut Summary) -> Result<(), Failure> {
    let mut left = args.secs;
    for round in 1.. {
        let folder = Folder::new(args.keep.as_deref(), round)?;
        let killed = summary.deeds.kills;
        let is_enough = |kills: u64| args.kills.is_some_and(|enough| kills >= enough);
        let enough = |deeds: &Deeds| is_enough(killed + deeds.kills);
        let time = if args.kills.is_none() { args.round.min(left) } else { args.round };
        let board = Board::new(1);
        let (history, mut violations, deeds) = {
            let name = format!("chaos, round {round}");
            let shown = Goal::Time(Duration::from_secs_f64(time.as_secs_f64().ceil()));
            let outstanding = Box::new(|| "a ledger that grows".to_owned());
            let _step = watch.step(&name, shown, board.clone(), outstanding);
            let seed = crate::random::mix(seed ^ round);
            let mut cluster = Cluster::start(args, seed, &folder.path, (watch, &board))?;
            // How long processes take to start is not counted.
            let began = Instant::now();
            cluster.rage(began + time, enough)?;
            left = left.saturating_sub(Instant::now().since(began));
            cluster.finish()?
        };
        let verdict = check::check(&history);
        violations.extend(verdict.violations);
        for violation in violations.iter().take(VIOLATIONS_SHOWN_MAX) {
            complain(format_args!("round {round}: {violation}"));
        }
        if !violations.is_empty() {
            complain(format_args!("round {round}: the ledgers are in {}", folder.keep().display()));
        }
        summary.add(&deeds, violations.len(), &verdict.fates, &verdict.measures);
        let is_over = if args.kills.is_none() { left.is_zero() } else { is_enough(summary.deeds.kills) };
        if is_over || watch.interrupted() || summary.violations > 0 {
            break;
        }
    }
    Ok(())
}

/// The folder of one round's ledgers. Dropped, it is removed, unless it is kept.
struct Folder {
    path: PathBuf,
    is_kept: std::cell::Cell<bool>,
}

impl Folder {
    fn new(keep: Option<&Path>, round: u64) -> Result<Self, Failure> {
        let path = match keep {
            Some(folder) => folder.join(format!("round-{round}")),
            None => {
                let (now, id) = (Instant::now().nanos(), std::process::id());
                std::env::temp_dir().join(format!("chaos-{id}-{now}-{round}"))
            }
        };
        let made = keep.map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::create_dir(&path));
        made.map_err(|error| Failure::File(path.display().to_string(), error))?;
        Ok(Self { path, is_kept: std::cell::Cell::new(keep.is_some()) })
    }

    fn keep(&self) -> &Path {
        self.is_kept.set(true);
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept.get() {
            // What is left over lies where the system cleans up.
            fs::remove_dir_all(&self.path).ok();
        }
    }
}
