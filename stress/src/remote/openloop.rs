//! Requests at a fixed rate, whether replies keep up or not; latency from the intended send time.

use super::payload::Stamp;
use super::{ECHO, Link, Tally};
use crate::pace::{Pacer, Schedule, sharpen_naps};
use crate::plan::{Failure, Fault, Goal, Outcome, Params, Plan, require_count};
use crate::run::{Desk, Run};
use crate::sample::{histogram, record};
use crate::stage::{PATIENCE, Stage};
use crate::watch::Watch;
use hdrhistogram::Histogram;
use skyharbor::clock::Instant;
use skyharbor::message::Payload;
use skyharbor::prelude::*;
use std::ops::Range;
use std::time::Duration;

/// From the start of the client to the first request: everything is in place by then.
const LEAD: Duration = Duration::from_millis(20);

/// Counts replies.
pub(crate) fn openloop(plan: &Plan, watch: &Watch) -> Result<Outcome, Failure> {
    let requests = requests_of(plan);
    let plan = &Plan { goal: Goal::Count(requests), ..plan.clone() };
    let run = Run::begin(plan, watch, 1, (1, "client"));
    let mut link = Link::start(plan)?;
    let echo = link.find(ECHO)?;
    let schedule = Schedule::new(Instant::now() + LEAD, plan.rate);
    let client = Client {
        echo,
        schedule,
        stamp: Stamp::new(plan.seed, plan.size),
        asked: 0,
        answered: 0,
        is_last_asked: false,
        latency: histogram(),
        lateness: histogram(),
        desk: run.desk(0),
    };
    let client = link.stage.spawn("client", client)?;
    let report = std::thread::scope(|scope| {
        let (desk, pacer) = (run.desk(0), Pacer::new(schedule, requests));
        let stage = &link.stage;
        let thread = std::thread::Builder::new().name("pacer".into());
        thread
            .spawn_scoped(scope, move || pace(stage, client, pacer, &desk))
            .map_err(|error| Failure::File("the pacer".into(), error))?;
        run.collect_one_while(|| link.child.check())
    })?;
    let echoed = link.stage.ask(&echo, Tally)?;
    require_count("requests that the second process answered", echoed.count, report.answered)?;
    if !run.is_halted() {
        require_count("replies", report.answered, requests)?;
    }
    link.end()?;
    run.close()?;
    let late = report.lateness.value_at_quantile(0.5);
    let params = Params::from([("rate", plan.rate.into()), ("send_late_p50_ns", late.into())]);
    let time = report.ended.since(schedule.start);
    Ok(Outcome { msgs: report.answered, time, latency: Some(report.latency), params })
}

/// As many as fall due in the time, or as many as were asked for.
fn requests_of(plan: &Plan) -> u64 {
    match plan.goal {
        Goal::Count(count) => count,
        Goal::Time(time) => ((time.as_secs_f64() * plan.rate).ceil() as u64).max(1),
    }
}

/// Tells the client what is due, until all is or the run is halted.
fn pace(stage: &Stage, client: Addr<Client>, mut pacer: Pacer, desk: &Desk<Report>) {
    sharpen_naps();
    loop {
        let numbers = pacer.take(Instant::now());
        let is_last = pacer.is_done() || desk.is_halted();
        if (is_last || !numbers.is_empty())
            && let Err(SendError { reason, .. }) = stage.node().send(&client, Due { numbers, is_last })
        {
            return desk.fail(Fault::Refused { who: "the pacer of node", index: 1, reason });
        }
        if is_last {
            return;
        }
        std::thread::sleep(pacer.nap(Instant::now()));
    }
}

struct Client {
    echo: Handle,
    schedule: Schedule,
    stamp: Stamp,
    asked: u64,
    answered: u64,
    is_last_asked: bool,
    /// From the intended send time to the reply.
    latency: Histogram<u64>,
    /// From the intended send time to the real one.
    lateness: Histogram<u64>,
    desk: Desk<Report>,
}

struct Report {
    answered: u64,
    latency: Histogram<u64>,
    lateness: Histogram<u64>,
    ended: Instant,
}

/// These requests are due.
struct Due {
    numbers: Range<u64>,
    is_last: bool,
}

impl Request for Due {
    type Reply = ();
}

impl Client {
    fn answer(&mut self, number: u64, answer: Result<Payload, CallError>) {
        match answer.map(|payload| self.stamp.read(&payload)) {
            Ok(Some(got)) if got == number => {}
            Ok(Some(got)) => {
                return self.desk.fail(Fault::Sequence {
                    who: "the client of node",
                    index: 1,
                    expected: number,
                    got,
                });
            }
            Ok(None) => return self.desk.fail(Fault::Payload { who: "the client of node", index: 1 }),
            Err(error) => return self.desk.fail(Fault::Call { who: "the client", error }),
        }
        let now = Instant::now();
        record(&mut self.latency, now.since(self.schedule.due(number)));
        self.answered += 1;
        self.desk.publish_now(self.answered);
        self.finish_if_all_is_answered(now);
    }

    fn finish_if_all_is_answered(&mut self, now: Instant) {
        if self.is_last_asked && self.answered == self.asked {
            let latency = std::mem::replace(&mut self.latency, histogram());
            let lateness = std::mem::replace(&mut self.lateness, histogram());
            self.desk.finish(Report { answered: self.answered, latency, lateness, ended: now });
        }
    }
}

impl Service for Client {}

impl Handler<Due> for Client {
    fn handle(&mut self, due: Due, ctx: &mut Context<'_, Self>) -> Reply<()> {
        for number in due.numbers {
            record(&mut self.lateness, Instant::now().since(self.schedule.due(number)));
            let payload = self.stamp.write(number);
            ctx.call_raw(self.echo, Kind::TEXT, payload, PATIENCE, move |me: &mut Self, _, answer| {
                me.answer(number, answer);
            });
            self.asked += 1;
        }
        if due.is_last {
            self.is_last_asked = true;
            self.finish_if_all_is_answered(Instant::now());
        }
        Reply::Now(())
    }
}
