//! A tree of services: spawned from its root, summed from its leaves, gone at the end.

use crate::machine;
use crate::plan::{Failure, Fault, Outcome, Params, Plan, require_count};
use crate::run::{Desk, Run};
use crate::stage::Stage;
use crate::watch::Watch;
use skyharbor::clock::Instant;
use skyharbor::prelude::*;
use std::sync::Arc;

/// Children of a branch.
const FAN_OUT: u64 = 10;

/// Counts leaves.
pub(crate) fn tree(plan: &Plan, watch: &Watch) -> Result<Outcome, Failure> {
    let run = Run::begin(plan, watch, 1, (1, "root"));
    let leaves = plan.share(1).unwrap_or(1);
    let stage = Stage::local(plan)?;
    let began = Instant::now();
    let root = Branch::new(None, 0, leaves, Arc::new(run.desk(0)));
    let root = stage.spawn("root", root)?;
    stage.ask(&root, Grow)?;
    let report = run.collect_one()?;
    if !run.is_halted() {
        require_count("leaves", report.fruit.leaves, leaves)?;
        require_count("sum of the leaves", report.fruit.sum, leaves * (leaves - 1) / 2)?;
    }
    stage.end()?;
    run.close()?;
    let params = Params::from([("fan_out", FAN_OUT.into()), ("peak_bytes", machine::peak_bytes().into())]);
    Ok(Outcome { msgs: report.fruit.leaves, time: report.ended.since(began), latency: None, params })
}

/// A leaf is a branch for one leaf.
struct Branch {
    parent: Option<Addr<Branch>>,
    /// The number of its first leaf.
    first: u64,
    leaves: u64,
    /// Children that owe their fruit.
    waiting: u64,
    fruit: Fruit,
    desk: Arc<Desk<Report>>,
}

/// What comes up from a child.
#[derive(Clone, Copy, Default)]
struct Fruit {
    leaves: u64,
    sum: u64,
}

impl Request for Fruit {
    type Reply = ();
}

struct Report {
    fruit: Fruit,
    ended: Instant,
}

/// Spawn the children.
struct Grow;

impl Request for Grow {
    type Reply = ();
}

impl Branch {
    fn new(parent: Option<Addr<Branch>>, first: u64, leaves: u64, desk: Arc<Desk<Report>>) -> Self {
        Self { parent, first, leaves, waiting: 0, fruit: Fruit::default(), desk }
    }

    /// Spawns up to ten children, that share the leaves as evenly as possible.
    fn spawn_children(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), Fault> {
        let children = self.leaves.min(FAN_OUT);
        let (mut first, parent) = (self.first, Some(ctx.me()));
        for child in 0..children {
            let leaves = self.leaves / children + u64::from(child < self.leaves % children);
            let branch = Branch::new(parent, first, leaves, Arc::clone(&self.desk));
            let index = first;
            let child = ctx.spawn("branch", branch).map_err(|error| {
                let reason = error.to_string();
                Fault::Spawn { who: "branch", index, reason }
            })?;
            ctx.send(&child, Grow).map_err(|error| self.refused(error.reason))?;
            first += leaves;
        }
        self.waiting = children;
        Ok(())
    }

    /// Hands its fruit up and ends.
    fn fall(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), Fault> {
        match self.parent {
            Some(parent) => ctx.send(&parent, self.fruit).map_err(|error| self.refused(error.reason))?,
            None => self.desk.finish(Report { fruit: self.fruit, ended: Instant::now() }),
        }
        ctx.exit();
        Ok(())
    }

    fn refused(&self, reason: SendReason) -> Fault {
        Fault::Refused { who: "branch", index: self.first, reason }
    }

    fn note(&self, result: Result<(), Fault>) -> Reply<()> {
        if let Err(fault) = result {
            self.desk.fail(fault);
        }
        Reply::Now(())
    }
}

impl Service for Branch {}

impl Handler<Grow> for Branch {
    fn handle(&mut self, Grow: Grow, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let result = if self.desk.is_halted() {
            self.fall(ctx)
        } else if self.leaves == 1 {
            self.fruit = Fruit { leaves: 1, sum: self.first };
            self.fall(ctx)
        } else {
            self.spawn_children(ctx)
        };
        self.note(result)
    }
}

impl Handler<Fruit> for Branch {
    fn handle(&mut self, fruit: Fruit, ctx: &mut Context<'_, Self>) -> Reply<()> {
        self.fruit.leaves += fruit.leaves;
        self.fruit.sum += fruit.sum;
        self.waiting -= 1;
        // The lowest branches tell the watcher; leaves would be too many, and the higher ones would count twice.
        if self.waiting == 0 && self.leaves <= FAN_OUT {
            self.desk.add(self.fruit.leaves);
        }
        let result = if self.waiting == 0 { self.fall(ctx) } else { Ok(()) };
        self.note(result)
    }
}
