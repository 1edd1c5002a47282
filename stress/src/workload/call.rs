//! One service calls another, one call at a time.

use super::body::{Bulk, Filler, HEAD_BYTES, Plain};
use crate::plan::{Failure, Fault, Outcome, Params, Plan, require_count};
use crate::run::{Desk, Run};
use crate::sample::Sampler;
use crate::stage::{PATIENCE, Stage};
use crate::watch::Watch;
use hdrhistogram::Histogram;
use skyharbor::clock::Instant;
use skyharbor::prelude::*;

/// Counts calls.
pub(crate) fn call(plan: &Plan, watch: &Watch) -> Result<Outcome, Failure> {
    if plan.size == HEAD_BYTES {
        play(plan, watch, Plain)
    } else {
        play(plan, watch, Bulk::of_size(plan.size))
    }
}

/// Request and reply alike.
struct Question<F: Filler> {
    seq: u64,
    tag: u64,
    body: F::Body,
}

impl<F: Filler> Request for Question<F> {
    type Reply = Question<F>;
}

struct Client<F: Filler> {
    server: Addr<Server>,
    filler: F,
    tag: u64,
    calls: u64,
    calls_max: u64,
    began: Instant,
    sampler: Sampler,
    desk: Desk<Report>,
}

/// Answers with the question.
struct Server {
    count: u64,
}

struct Report {
    calls: u64,
    time: std::time::Duration,
    latency: Histogram<u64>,
    sample: u32,
}

struct Begin;

impl Request for Begin {
    type Reply = ();
}

/// How many questions came?
struct Tally;

impl Request for Tally {
    type Reply = u64;
}

impl<F: Filler> Client<F> {
    fn ask(&self, ctx: &mut Context<'_, Self>) {
        let seq = self.calls;
        let question = Question { seq, tag: self.tag, body: self.filler.make(seq) };
        ctx.call(&self.server, question, PATIENCE, Self::answered);
    }

    fn answered(&mut self, ctx: &mut Context<'_, Self>, answer: Result<Question<F>, CallError>) {
        match answer {
            Ok(answer) if answer.seq != self.calls => {
                let (expected, got) = (self.calls, answer.seq);
                self.desk.fail(Fault::Sequence { who: "client", index: 0, expected, got });
            }
            Ok(answer) if answer.tag != self.tag || !self.filler.is_of(answer.seq, &answer.body) => {
                self.desk.fail(Fault::Payload { who: "client", index: 0 });
            }
            Ok(_) => self.turn(ctx),
            Err(error) => self.desk.fail(Fault::Call { who: "the client", error }),
        }
    }

    fn turn(&mut self, ctx: &mut Context<'_, Self>) {
        self.calls += 1;
        self.sampler.turn();
        self.desk.publish(self.calls);
        if self.calls < self.calls_max && !self.desk.is_halted() {
            return self.ask(ctx);
        }
        let (latency, sample) = self.sampler.take();
        let time = Instant::now().since(self.began);
        self.desk.finish(Report { calls: self.calls, time, latency, sample });
    }
}

impl<F: Filler> Service for Client<F> {}

impl<F: Filler> Handler<Begin> for Client<F> {
    fn handle(&mut self, Begin: Begin, ctx: &mut Context<'_, Self>) -> Reply<()> {
        self.began = Instant::now();
        self.sampler.start();
        self.ask(ctx);
        Reply::Now(())
    }
}

impl Service for Server {}

impl<F: Filler> Handler<Question<F>> for Server {
    fn handle(&mut self, question: Question<F>, _: &mut Context<'_, Self>) -> Reply<Question<F>> {
        self.count += 1;
        Reply::Now(question)
    }
}

impl Handler<Tally> for Server {
    fn handle(&mut self, Tally: Tally, _: &mut Context<'_, Self>) -> Reply<u64> {
        Reply::Now(self.count)
    }
}

fn play<F: Filler>(plan: &Plan, watch: &Watch, filler: F) -> Result<Outcome, Failure> {
    let run = Run::begin(plan, watch, 1, (1, "client"));
    let stage = Stage::local(plan)?;
    let server = stage.spawn("server", Server { count: 0 })?;
    let calls_max = plan.share(1).unwrap_or(u64::MAX);
    let client = Client {
        server,
        filler,
        tag: plan.seed,
        calls: 0,
        calls_max,
        began: Instant::FAR,
        sampler: Sampler::calibrated(),
        desk: run.desk(0),
    };
    let client = stage.spawn("client", client)?;
    stage.ask(&client, Begin)?;
    let report = run.collect_one()?;
    require_count("calls that the server answered", stage.ask(&server, Tally)?, report.calls)?;
    if !run.is_halted() {
        require_count("calls", report.calls, calls_max)?;
    }
    stage.end()?;
    run.close()?;
    let params = Params::from([("sample", report.sample.into())]);
    Ok(Outcome { msgs: report.calls, time: report.time, latency: Some(report.latency), params })
}
