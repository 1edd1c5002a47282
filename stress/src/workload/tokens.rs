//! Tokens that hop from service to service: round a ring, or at random.

use super::body::{Bulk, Filler, HEAD_BYTES, Plain};
use crate::plan::{Failure, Fault, Outcome, Params, Plan, require_count};
use crate::random::SplitMix;
use crate::run::{Desk, Run};
use crate::stage::Stage;
use crate::watch::Watch;
use skyharbor::clock::Instant;
use skyharbor::prelude::*;
use std::sync::Arc;

/// Who plays.
#[derive(Clone, Copy)]
struct Shape {
    services: u32,
    tokens: u32,
    is_random: bool,
}

const RING: Shape = Shape { services: 1000, tokens: 64, is_random: false };
const MIXED: Shape = Shape { services: 128, tokens: 256, is_random: true };

/// A ring; counts hops.
pub(crate) fn ring(plan: &Plan, watch: &Watch) -> Result<Outcome, Failure> {
    sized(plan, watch, RING)
}

/// Each hop to a random service; counts hops.
pub(crate) fn mixed(plan: &Plan, watch: &Watch) -> Result<Outcome, Failure> {
    sized(plan, watch, MIXED)
}

fn sized(plan: &Plan, watch: &Watch, shape: Shape) -> Result<Outcome, Failure> {
    if plan.size == HEAD_BYTES {
        play(plan, watch, Plain, shape)
    } else {
        play(plan, watch, Bulk::of_size(plan.size), shape)
    }
}

/// The message: 16 bytes and its body.
struct Token<F: Filler> {
    /// Hops behind it.
    hops: u64,
    id: u32,
    /// Where it has to arrive.
    place: u32,
    body: F::Body,
}

impl<F: Filler> Request for Token<F> {
    type Reply = ();
}

struct Hop<F: Filler> {
    place: u32,
    filler: F,
    /// Where tokens go, by place.
    others: Arc<[Addr<Hop<F>>]>,
    /// None in a ring: the next place.
    random: Option<SplitMix>,
    hops_max: u64,
    count: u64,
    desk: Desk<Report>,
}

/// A token that was taken out of the game.
struct Report {
    id: u32,
    hops: u64,
    ended: Instant,
}

/// Tells a service the others.
struct Meet<F: Filler>(Arc<[Addr<Hop<F>>]>);

impl<F: Filler> Request for Meet<F> {
    type Reply = ();
}

/// Sends this many tokens, to places all around. Answered with the time.
struct Launch(u32);

impl Request for Launch {
    type Reply = Instant;
}

/// How many tokens came?
struct Tally;

impl Request for Tally {
    type Reply = u64;
}

impl<F: Filler> Hop<F> {
    fn send(&mut self, ctx: &mut Context<'_, Self>, token: Token<F>) {
        let (index, to) = (token.id.into(), self.others[token.place as usize]);
        if let Err(SendError { reason, .. }) = ctx.send(&to, token) {
            self.desk.fail(Fault::Refused { who: "the holder of token", index, reason });
        }
    }

    fn next_place(&mut self) -> u32 {
        let places = self.others.len() as u32;
        match &mut self.random {
            Some(random) => random.below(places),
            None if self.place + 1 == places => 0,
            None => self.place + 1,
        }
    }
}

impl<F: Filler> Service for Hop<F> {}

impl<F: Filler> Handler<Meet<F>> for Hop<F> {
    fn handle(&mut self, Meet(others): Meet<F>, _: &mut Context<'_, Self>) -> Reply<()> {
        self.others = others;
        Reply::Now(())
    }
}

impl<F: Filler> Handler<Launch> for Hop<F> {
    fn handle(&mut self, Launch(tokens): Launch, ctx: &mut Context<'_, Self>) -> Reply<Instant> {
        let began = Instant::now();
        let places = self.others.len() as u32;
        for id in 0..tokens {
            let place = if tokens < places { id * (places / tokens) } else { id % places };
            self.send(ctx, Token { hops: 0, id, place, body: self.filler.make(0) });
        }
        Reply::Now(began)
    }
}

impl<F: Filler> Handler<Token<F>> for Hop<F> {
    fn handle(&mut self, token: Token<F>, ctx: &mut Context<'_, Self>) -> Reply<()> {
        if token.place != self.place || !self.filler.is_of(token.hops, &token.body) {
            self.desk.fail(Fault::Payload { who: "place", index: self.place.into() });
        }
        self.count += 1;
        self.desk.publish(self.count);
        let hops = token.hops + 1;
        if hops == self.hops_max || self.desk.is_halted() {
            self.desk.finish(Report { id: token.id, hops, ended: Instant::now() });
        } else {
            let place = self.next_place();
            self.send(ctx, Token { hops, id: token.id, place, body: self.filler.make(hops) });
        }
        Reply::Now(())
    }
}

impl<F: Filler> Handler<Tally> for Hop<F> {
    fn handle(&mut self, Tally: Tally, _: &mut Context<'_, Self>) -> Reply<u64> {
        Reply::Now(self.count)
    }
}

fn play<F: Filler>(plan: &Plan, watch: &Watch, filler: F, shape: Shape) -> Result<Outcome, Failure> {
    let run = Run::begin(plan, watch, shape.services as usize, (shape.tokens as usize, "tokens"));
    let stage = Stage::local(plan)?;
    let hops_max = plan.share(shape.tokens.into()).unwrap_or(u64::MAX);
    let mut hops = Vec::new();
    for place in 0..shape.services {
        let random = shape.is_random.then(|| SplitMix::new(plan.seed, place.into()));
        let (desk, others) = (run.desk(place as usize), Arc::from([]));
        let hop = Hop { place, filler, others, random, hops_max, count: 0, desk };
        hops.push(stage.spawn("hop", hop)?);
    }
    let others: Arc<[Addr<Hop<F>>]> = hops.into();
    for hop in &*others {
        stage.ask(hop, Meet(Arc::clone(&others)))?;
    }
    let began = stage.ask(&others[0], Launch(shape.tokens))?;
    let reports = run.collect(shape.tokens as usize)?;
    let mut arrived = 0;
    for hop in &*others {
        arrived += stage.ask(hop, Tally)?;
    }
    verify(&reports, arrived, (!run.is_halted()).then_some(hops_max))?;
    stage.end()?;
    run.close()?;
    let ended = reports.iter().map(|report| report.ended).max().unwrap_or_default();
    let params = Params::from([("services", shape.services.into()), ("tokens", shape.tokens.into())]);
    Ok(Outcome { msgs: arrived, time: ended.since(began), latency: None, params })
}

/// Every token came back once, and made as many hops as it says; `hops_each` if the run was not cut short.
fn verify(reports: &[Report], arrived: u64, hops_each: Option<u64>) -> Result<(), Failure> {
    let mut ids: Vec<u32> = reports.iter().map(|report| report.id).collect();
    ids.sort_unstable();
    ids.dedup();
    require_count("tokens that came back", ids.len() as u64, reports.len() as u64)?;
    require_count("hops", arrived, reports.iter().map(|report| report.hops).sum())?;
    if let Some(hops) = hops_each {
        for report in reports {
            require_count("hops of one token", report.hops, hops)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(id: u32, hops: u64) -> Report {
        Report { id, hops, ended: Instant::FAR }
    }

    #[test]
    fn a_lost_or_repeated_token_or_hop_is_found() {
        assert!(verify(&[report(1, 5), report(0, 5)], 10, Some(5)).is_ok());
        assert!(verify(&[report(1, 5), report(0, 7)], 12, None).is_ok());
        assert!(verify(&[report(1, 5), report(1, 5)], 10, Some(5)).is_err(), "a token came back twice");
        assert!(verify(&[report(1, 5), report(0, 5)], 11, Some(5)).is_err(), "one hop too many arrived");
        assert!(verify(&[report(1, 4), report(0, 6)], 10, Some(5)).is_err(), "one token ended early");
    }
}
