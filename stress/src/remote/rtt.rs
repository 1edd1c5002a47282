//! One request and reply under way between two processes.

use super::payload::Stamp;
use super::{ECHO, Link, Tally};
use crate::plan::{Failure, Fault, Outcome, Params, Plan, require_count};
use crate::run::{Desk, Run};
use crate::sample::Sampler;
use crate::stage::PATIENCE;
use crate::watch::Watch;
use hdrhistogram::Histogram;
use skyharbor::clock::Instant;
use skyharbor::message::Payload;
use skyharbor::prelude::*;
use std::time::Duration;

/// Counts round trips.
pub(crate) fn rtt(plan: &Plan, watch: &Watch) -> Result<Outcome, Failure> {
    let run = Run::begin(plan, watch, 1, (1, "client"));
    let mut link = Link::start(plan)?;
    let trips_max = plan.share(1).unwrap_or(u64::MAX);
    let echo = link.find(ECHO)?;
    let client = Client {
        echo,
        stamp: Stamp::new(plan.seed, plan.size),
        trips: 0,
        trips_max,
        began: Instant::FAR,
        sampler: Sampler::every(1),
        desk: run.desk(0),
    };
    let client = link.stage.spawn("client", client)?;
    link.stage.ask(&client, Begin)?;
    let report = run.collect_one_while(|| link.child.check())?;
    let echoed = link.stage.ask(&echo, Tally)?;
    require_count("requests that the second process answered", echoed.count, report.trips)?;
    if !run.is_halted() {
        require_count("round trips", report.trips, trips_max)?;
    }
    link.end()?;
    run.close()?;
    let params = Params::from([("sample", 1.into())]);
    Ok(Outcome { msgs: report.trips, time: report.time, latency: Some(report.latency), params })
}

struct Client {
    echo: Handle,
    stamp: Stamp,
    trips: u64,
    trips_max: u64,
    began: Instant,
    sampler: Sampler,
    desk: Desk<Report>,
}

struct Report {
    trips: u64,
    time: Duration,
    latency: Histogram<u64>,
}

struct Begin;

impl Request for Begin {
    type Reply = ();
}

impl Client {
    fn ask(&self, ctx: &mut Context<'_, Self>) {
        ctx.call_raw(self.echo, Kind::TEXT, self.stamp.write(self.trips), PATIENCE, Self::answered);
    }

    fn answered(&mut self, ctx: &mut Context<'_, Self>, answer: Result<Payload, CallError>) {
        match answer.map(|payload| self.stamp.read(&payload)) {
            Ok(Some(number)) if number == self.trips => self.turn(ctx),
            Ok(Some(got)) => {
                let expected = self.trips;
                self.desk.fail(Fault::Sequence { who: "the client of node", index: 1, expected, got });
            }
            Ok(None) => self.desk.fail(Fault::Payload { who: "the client of node", index: 1 }),
            Err(error) => self.desk.fail(Fault::Call { who: "the client", error }),
        }
    }

    fn turn(&mut self, ctx: &mut Context<'_, Self>) {
        self.trips += 1;
        self.sampler.turn();
        self.desk.publish_now(self.trips);
        if self.trips < self.trips_max && !self.desk.is_halted() {
            return self.ask(ctx);
        }
        let (latency, _) = self.sampler.take();
        let time = Instant::now().since(self.began);
        self.desk.finish(Report { trips: self.trips, time, latency });
    }
}

impl Service for Client {}

impl Handler<Begin> for Client {
    fn handle(&mut self, Begin: Begin, ctx: &mut Context<'_, Self>) -> Reply<()> {
        self.began = Instant::now();
        self.sampler.start();
        self.ask(ctx);
        Reply::Now(())
    }
}
