//! Services that do nothing: what each costs in memory.

use crate::machine;
use crate::plan::{Failure, Fault, Outcome, Params, Plan, require_count};
use crate::run::{Desk, Run};
use crate::stage::Stage;
use crate::watch::Watch;
use serde_json::Value;
use skyharbor::clock::Instant;
use skyharbor::prelude::*;

/// Services spawned in one go.
const BATCH: u64 = 100;

/// Counts services; params say the bytes of each.
pub(crate) fn idle(plan: &Plan, watch: &Watch) -> Result<Outcome, Failure> {
    let run = Run::begin(plan, watch, 1, (1, "nursery"));
    let services = plan.share(1).unwrap_or(1);
    let stage = Stage::local(plan)?;
    let nursery = Nursery { services, spawned: 0, sample: Vec::new(), desk: run.desk(0) };
    let nursery = stage.spawn("nursery", nursery)?;
    let before = machine::resident_bytes();
    let began = Instant::now();
    stage.ask(&nursery, Hatch)?;
    let report = run.collect_one()?;
    let bytes = before.zip(machine::resident_bytes()).map(|(before, after)| after.saturating_sub(before));
    if !run.is_halted() {
        require_count("services spawned", report.spawned, services)?;
    }
    for (batch, child) in (0..).zip(&report.sample) {
        require_count("number of an idle service", stage.ask(child, Number)?, batch * BATCH)?;
    }
    stage.end()?;
    run.close()?;
    let bytes_each = bytes.map_or(Value::Null, |bytes| (bytes / report.spawned.max(1)).into());
    let params = Params::from([("bytes_each", bytes_each), ("peak_bytes", machine::peak_bytes().into())]);
    Ok(Outcome { msgs: report.spawned, time: report.ended.since(began), latency: None, params })
}

/// Spawns the others.
struct Nursery {
    services: u64,
    spawned: u64,
    /// The first of each batch.
    sample: Vec<Addr<Idle>>,
    desk: Desk<Report>,
}

struct Report {
    spawned: u64,
    sample: Vec<Addr<Idle>>,
    ended: Instant,
}

/// Knows its number and nothing else.
struct Idle(u64);

/// Spawn the next batch.
struct Hatch;

impl Request for Hatch {
    type Reply = ();
}

/// Which number are you?
struct Number;

impl Request for Number {
    type Reply = u64;
}

impl Service for Idle {}

impl Handler<Number> for Idle {
    fn handle(&mut self, Number: Number, _: &mut Context<'_, Self>) -> Reply<u64> {
        Reply::Now(self.0)
    }
}

impl Nursery {
    fn hatch(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), Fault> {
        let until = self.services.min(self.spawned + BATCH);
        while self.spawned < until {
            let index = self.spawned;
            let child = ctx.spawn("idle", Idle(index)).map_err(|error| {
                let reason = error.to_string();
                Fault::Spawn { who: "nursery", index, reason }
            })?;
            if index.is_multiple_of(BATCH) {
                self.sample.push(child);
            }
            self.spawned += 1;
        }
        self.desk.publish_now(self.spawned);
        if self.spawned < self.services && !self.desk.is_halted() {
            let (me, index) = (ctx.me(), self.spawned);
            return ctx.send(&me, Hatch).map_err(|error| {
                let reason = error.reason;
                Fault::Refused { who: "nursery", index, reason }
            });
        }
        let sample = std::mem::take(&mut self.sample);
        self.desk.finish(Report { spawned: self.spawned, sample, ended: Instant::now() });
        Ok(())
    }
}

impl Service for Nursery {}

impl Handler<Hatch> for Nursery {
    fn handle(&mut self, Hatch: Hatch, ctx: &mut Context<'_, Self>) -> Reply<()> {
        if let Err(fault) = self.hatch(ctx) {
            self.desk.fail(fault);
        }
        Reply::Now(())
    }
}
