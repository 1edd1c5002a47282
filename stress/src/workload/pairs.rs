//! Pairs of services that play a ball: one message in flight each, sent both ways.

use super::body::{Bulk, Filler, HEAD_BYTES, Plain};
use crate::plan::{Failure, Fault, Outcome, Params, Plan, require_count};
use crate::run::{Desk, Run};
use crate::sample::{Sampler, histogram};
use crate::stage::Stage;
use crate::watch::Watch;
use hdrhistogram::Histogram;
use skyharbor::clock::Instant;
use skyharbor::prelude::*;

/// Pairs of the workload `pairs`.
const PAIRS: u64 = 64;
/// One of so many round trips of 64 pairs is timed; a pair's trip is long, but the CPUs do all of them.
const PAIRS_SAMPLE: u32 = 16;

/// One pair; counts round trips.
pub(crate) fn pingpong(plan: &Plan, watch: &Watch) -> Result<Outcome, Failure> {
    sized(plan, watch, 1, 1)
}

/// 64 pairs; counts messages, two for each round trip.
pub(crate) fn pairs(plan: &Plan, watch: &Watch) -> Result<Outcome, Failure> {
    sized(plan, watch, PAIRS, 2)
}

fn sized(plan: &Plan, watch: &Watch, pairs: u64, counted_per_trip: u64) -> Result<Outcome, Failure> {
    if plan.size == HEAD_BYTES {
        play(plan, watch, Plain, pairs, counted_per_trip)
    } else {
        play(plan, watch, Bulk::of_size(plan.size), pairs, counted_per_trip)
    }
}

/// The message: 16 bytes and its body.
struct Ball<F: Filler> {
    seq: u64,
    /// Which pair and which run it belongs to.
    tag: u64,
    body: F::Body,
}

impl<F: Filler> Request for Ball<F> {
    type Reply = ();
}

/// Serves, counts round trips, and ends the game.
struct Striker<F: Filler> {
    game: Game<F>,
    partner: Addr<Returner<F>>,
    trips_max: u64,
    began: Instant,
    sampler: Sampler,
}

/// Sends every ball back.
struct Returner<F: Filler> {
    game: Game<F>,
    partner: Option<Addr<Striker<F>>>,
}

/// What both ends of a pair know.
struct Game<F> {
    pair: u64,
    tag: u64,
    filler: F,
    /// Balls that came.
    count: u64,
    desk: Desk<Report>,
}

/// What a striker comes back with.
struct Report {
    trips: u64,
    began: Instant,
    ended: Instant,
    latency: Histogram<u64>,
    sample: u32,
}

/// Tells a returner its striker.
struct Meet<F: Filler>(Addr<Striker<F>>);

impl<F: Filler> Request for Meet<F> {
    type Reply = ();
}

/// The first ball leaves.
struct Serve;

impl Request for Serve {
    type Reply = ();
}

/// How many balls came?
struct Tally;

impl Request for Tally {
    type Reply = u64;
}

impl<F: Filler> Game<F> {
    /// Takes the ball that came; false if it is not the one that had to come.
    fn take(&mut self, who: &'static str, ball: &Ball<F>) -> bool {
        let index = self.pair;
        if ball.seq != self.count {
            self.desk.fail(Fault::Sequence { who, index, expected: self.count, got: ball.seq });
            return false;
        }
        if ball.tag != self.tag || !self.filler.is_of(ball.seq, &ball.body) {
            self.desk.fail(Fault::Payload { who, index });
            return false;
        }
        self.count += 1;
        true
    }

    fn ball(&self, seq: u64) -> Ball<F> {
        Ball { seq, tag: self.tag, body: self.filler.make(seq) }
    }

    fn refused<M>(&self, who: &'static str, error: &SendError<M>) {
        self.desk.fail(Fault::Refused { who, index: self.pair, reason: error.reason });
    }
}

impl<F: Filler> Striker<F> {
    fn strike(&mut self, ctx: &mut Context<'_, Self>) {
        let ball = self.game.ball(self.game.count);
        if let Err(error) = ctx.send(&self.partner, ball) {
            self.game.refused("striker", &error);
        }
    }

    fn finish(&mut self) {
        let (latency, sample) = self.sampler.take();
        let (began, ended) = (self.began, Instant::now());
        self.game.desk.finish(Report { trips: self.game.count, began, ended, latency, sample });
    }
}

impl<F: Filler> Service for Striker<F> {}

impl<F: Filler> Handler<Serve> for Striker<F> {
    fn handle(&mut self, Serve: Serve, ctx: &mut Context<'_, Self>) -> Reply<()> {
        self.began = Instant::now();
        self.sampler.start();
        self.strike(ctx);
        Reply::Now(())
    }
}

impl<F: Filler> Handler<Ball<F>> for Striker<F> {
    fn handle(&mut self, ball: Ball<F>, ctx: &mut Context<'_, Self>) -> Reply<()> {
        if self.game.take("striker", &ball) {
            self.sampler.turn();
            self.game.desk.publish(self.game.count);
            if self.game.count == self.trips_max || self.game.desk.is_halted() {
                self.finish();
            } else {
                self.strike(ctx);
            }
        }
        Reply::Now(())
    }
}

impl<F: Filler> Service for Returner<F> {}

impl<F: Filler> Handler<Meet<F>> for Returner<F> {
    fn handle(&mut self, Meet(striker): Meet<F>, _: &mut Context<'_, Self>) -> Reply<()> {
        self.partner = Some(striker);
        Reply::Now(())
    }
}

impl<F: Filler> Handler<Ball<F>> for Returner<F> {
    fn handle(&mut self, ball: Ball<F>, ctx: &mut Context<'_, Self>) -> Reply<()> {
        if let Some(striker) = self.partner
            && self.game.take("returner", &ball)
            && let Err(error) = ctx.send(&striker, self.game.ball(ball.seq))
        {
            self.game.refused("returner", &error);
        }
        Reply::Now(())
    }
}

impl<F: Filler> Handler<Tally> for Returner<F> {
    fn handle(&mut self, Tally: Tally, _: &mut Context<'_, Self>) -> Reply<u64> {
        Reply::Now(self.game.count)
    }
}

fn play<F: Filler>(
    plan: &Plan,
    watch: &Watch,
    filler: F,
    pairs: u64,
    counted: u64,
) -> Result<Outcome, Failure> {
    let run = Run::begin(plan, watch, pairs as usize, (pairs as usize, "pairs play"));
    let stage = Stage::local(plan)?;
    let trips_max = plan.share(pairs * counted).unwrap_or(u64::MAX);
    let mut players = Vec::new();
    for pair in 0..pairs {
        let game = || Game { pair, tag: plan.seed ^ pair, filler, count: 0, desk: run.desk(pair as usize) };
        let returner = stage.spawn("returner", Returner { game: game(), partner: None })?;
        let sampler = if pairs == 1 { Sampler::calibrated() } else { Sampler::every(PAIRS_SAMPLE) };
        let striker = Striker { game: game(), partner: returner, trips_max, began: Instant::FAR, sampler };
        let striker = stage.spawn("striker", striker)?;
        stage.ask(&returner, Meet(striker))?;
        players.push((striker, returner));
    }
    for (striker, _) in &players {
        stage.ask(striker, Serve)?;
    }
    let reports = run.collect(players.len())?;
    let trips = reports.iter().map(|report| report.trips).sum();
    let mut returned = 0;
    for (_, returner) in &players {
        returned += stage.ask(returner, Tally)?;
    }
    require_count("balls returned", returned, trips)?;
    if !run.is_halted() {
        require_count("round trips", trips, trips_max.saturating_mul(pairs))?;
    }
    stage.end()?;
    run.close()?;
    Ok(outcome(&reports, trips * counted))
}

fn outcome(reports: &[Report], msgs: u64) -> Outcome {
    let mut latency = histogram();
    for report in reports {
        latency.add(&report.latency).expect("histograms of one precision add up");
    }
    let began = reports.iter().map(|report| report.began).min().unwrap_or_default();
    let ended = reports.iter().map(|report| report.ended).max().unwrap_or_default();
    let sample = reports.first().map_or(1, |report| report.sample);
    let params = Params::from([("sample", sample.into()), ("pairs", reports.len().into())]);
    Outcome { msgs, time: ended.since(began), latency: Some(latency), params }
}
