//! One life: a node with its agents, in a process of its own that may be killed at any moment.
//!
//! What it is told comes line by line through its stdin, what it says goes through its stdout:
//!
//! ```text
//!  ready            it has its names
//!  quiet ─► quiet   nobody sends any more, and no call is open
//!  probe ─► probed N   everybody called everybody by name; so many did not answer
//!  (end)            it leaves and ends in order
//! ```

use super::agent::{Agent, Outstanding, Probe, Setting, name_of};
use super::args::MemberArgs;
use super::ledger::{Ledger, Record};
use super::letter::{Pen, Place};
use super::process::end_with_parent;
use crate::output::say;
use crate::plan::Failure;
use crate::stage::{PATIENCE, Stage};
use skyharbor::clock::Instant;
use skyharbor::prelude::*;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// How long the names of the life before may stay taken.
const NAMES_TIME_MAX: Duration = Duration::from_secs(20);
/// How long to wait before a taken name is asked for again, or whether calls are still open.
const PAUSE: Duration = Duration::from_millis(20);
/// How much longer than its deadline an open call may take until this process says so.
const CALLS_TIME_MAX: Duration = Duration::from_secs(10);

/// Lives until its stdin is closed.
pub(crate) fn member(args: &MemberArgs) -> Result<(), Failure> {
    end_with_parent();
    let failed = |error| Failure::File(args.ledger.display().to_string(), error);
    let ledger = Ledger::create(&args.ledger).map_err(failed)?;
    log_beside(&args.ledger).map_err(failed)?;
    let config = Config::local().harbor(args.harbor).address(&args.address).bind(&args.bind);
    let config = match &args.standalone {
        Some(standalone) => config.standalone(standalone.to_string()),
        None => config.master(&args.master),
    };
    let stage = Stage::start(config, args.workers, false)?;
    let setting = Arc::new(Setting {
        life: args.life,
        slot: args.slot,
        slots: args.slots,
        real: args.real,
        agents: args.agents,
        period: Duration::from_secs_f64(f64::from(args.agents) / args.rate),
        deadline: Duration::from_millis(args.deadline),
        pen: Pen::new(args.seed),
        seed: args.seed,
        ledger,
        is_quiet: AtomicBool::new(false),
    });
    let agents: Result<Vec<_>, _> =
        (0..args.agents).map(|agent| stage.spawn("agent", Agent::new(&setting, agent))).collect();
    let agents = agents?;
    for _ in 0..args.hogs {
        stage.spawn("hog", Hog)?;
    }
    register(&stage, &agents, &setting)?;
    let _ = say("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        obey(&line, &stage, &agents, &setting)?;
    }
    stage.end()
}

/// Keeps a worker busy as long as the node lives.
struct Hog;

/// So long, then it asks itself for more: others get their turns in between.
const SPIN_TIME: Duration = Duration::from_millis(1);

struct Spin;

impl Request for Spin {
    type Reply = ();
}

impl Service for Hog {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        let me = ctx.me();
        ctx.send(&me, Spin)?;
        Ok(())
    }
}

impl Handler<Spin> for Hog {
    fn handle(&mut self, spin: Spin, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let began = Instant::now();
        while Instant::now().since(began) < SPIN_TIME {
            std::hint::spin_loop();
        }
        let me = ctx.me();
        // Refused only when the node ends.
        let _ = ctx.send(&me, spin);
        Reply::Now(())
    }
}

/// Gives the agents their names: now, or as soon as the master knows that the life before is dead.
fn register(stage: &Stage, agents: &[Addr<Agent>], setting: &Setting) -> Result<(), Failure> {
    let began = Instant::now();
    for (agent, address) in (0..).zip(agents) {
        let name = name_of(Place { slot: setting.slot, agent });
        loop {
            match stage.node().register_global(&name.to_string(), address) {
                Ok(()) => break,
                Err(Error::NameTaken(_)) if Instant::now().since(began) < NAMES_TIME_MAX => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
        setting.ledger.write(Record::Named { agent });
    }
    Ok(())
}

fn obey(line: &str, stage: &Stage, agents: &[Addr<Agent>], setting: &Setting) -> Result<(), Failure> {
    match line {
        "quiet" => {
            setting.is_quiet.store(true, Ordering::Relaxed);
            let outstanding = wait_until_answered(stage, agents, setting)?;
            let panics = stage.node().counts()[Count::Panics] as u32;
            setting.ledger.write(Record::Quiet { outstanding, panics });
            let _ = say("quiet");
        }
        "probe" => {
            let mut failed = 0;
            for agent in agents {
                let patience = setting.deadline + PATIENCE;
                failed += stage.node().call_blocking(agent, Probe, patience).map_err(Error::from)?;
            }
            let _ = say(format_args!("probed {failed}"));
        }
        _ => {}
    }
    Ok(())
}

/// How many calls are open when none should be any more.
fn wait_until_answered(stage: &Stage, agents: &[Addr<Agent>], setting: &Setting) -> Result<u32, Failure> {
    let began = Instant::now();
    loop {
        let mut open = 0;
        for agent in agents {
            open += stage.ask(agent, Outstanding)?;
        }
        if open == 0 || Instant::now().since(began) > setting.deadline + CALLS_TIME_MAX {
            return Ok(open);
        }
        std::thread::sleep(PAUSE);
    }
}

/// What the node says goes into a file beside the ledger, with the ledger's clock.
fn log_beside(ledger: &Path) -> io::Result<()> {
    let file = File::create(ledger.with_extension("log"))?;
    // There is one log, and nobody set another.
    let _ = tracing_subscriber::fmt().with_writer(file).with_timer(LedgerClock).with_ansi(false).try_init();
    Ok(())
}

struct LedgerClock;

impl FormatTime for LedgerClock {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        write!(line, "{:?}", Instant::now())
    }
}
