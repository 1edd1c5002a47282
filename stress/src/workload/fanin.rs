//! Many producers, one sink.

use super::body::{Bulk, Filler, HEAD_BYTES, Plain};
use crate::plan::{Failure, Fault, Outcome, Params, Plan, require_count};
use crate::run::{Desk, Run};
use crate::stage::Stage;
use crate::watch::Watch;
use skyharbor::clock::Instant;
use skyharbor::prelude::*;
use std::time::Duration;

const PRODUCERS: u64 = 64;
/// Messages that a producer sends before it lets others run.
const BURST: u64 = 100;
/// Messages that the sink has not taken yet, above which producers wait: producers outrun the sink, and a run by time
/// must not fill the memory.
const BACKLOG_MAX: u64 = 5_000_000;
/// The counter that the sink publishes; producers publish nothing.
const SINK: usize = 0;

/// Counts the sink's messages.
pub(crate) fn fanin(plan: &Plan, watch: &Watch) -> Result<Outcome, Failure> {
    if plan.size == HEAD_BYTES {
        play(plan, watch, Plain)
    } else {
        play(plan, watch, Bulk::of_size(plan.size))
    }
}

/// The message: 16 bytes and its body.
struct Item<F: Filler> {
    seq: u64,
    producer: u32,
    tag: u32,
    body: F::Body,
}

impl<F: Filler> Request for Item<F> {
    type Reply = ();
}

struct Producer<F: Filler> {
    index: u32,
    tag: u32,
    filler: F,
    sink: Addr<Sink<F>>,
    sent: u64,
    sent_max: u64,
    desk: Desk<Report>,
}

/// Knows which message of which producer is next, starts the producers and ends the run.
struct Sink<F> {
    tag: u32,
    filler: F,
    next: Vec<u64>,
    count: u64,
    producers: u64,
    began: Instant,
    desk: Desk<Report>,
}

/// What the sink comes back with.
struct Report {
    count: u64,
    time: Duration,
}

/// Starts these producers.
struct Start<F: Filler>(Vec<Addr<Producer<F>>>);

impl<F: Filler> Request for Start<F> {
    type Reply = ();
}

/// The next burst leaves.
struct Produce;

impl Request for Produce {
    type Reply = ();
}

/// A producer's last word.
struct Last {
    producer: u32,
    sent: u64,
}

impl Request for Last {
    type Reply = ();
}

impl<F: Filler> Producer<F> {
    /// Sends a burst, then whatever comes after it.
    fn produce(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), SendReason> {
        if !self.is_ahead() {
            self.burst(ctx)?;
        }
        if self.sent == self.sent_max || self.desk.is_halted() {
            let last = Last { producer: self.index, sent: self.sent };
            return ctx.send(&self.sink, last).map_err(|error| error.reason);
        }
        let me = ctx.me();
        ctx.send(&me, Produce).map_err(|error| error.reason)
    }

    fn burst(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), SendReason> {
        let until = self.sent_max.min(self.sent + BURST);
        while self.sent < until {
            let seq = self.sent;
            let body = self.filler.make(seq);
            let item = Item { seq, producer: self.index, tag: self.tag, body };
            ctx.send(&self.sink, item).map_err(|error| error.reason)?;
            self.sent += 1;
        }
        Ok(())
    }

    /// Whether this producer has more than its part of the backlog.
    fn is_ahead(&self) -> bool {
        let taken = self.desk.published(SINK) / PRODUCERS;
        self.sent > taken + BACKLOG_MAX / PRODUCERS
    }
}

impl<F: Filler> Service for Producer<F> {}

impl<F: Filler> Handler<Produce> for Producer<F> {
    fn handle(&mut self, Produce: Produce, ctx: &mut Context<'_, Self>) -> Reply<()> {
        if let Err(reason) = self.produce(ctx) {
            self.desk.fail(Fault::Refused { who: "producer", index: self.index.into(), reason });
        }
        Reply::Now(())
    }
}

impl<F: Filler> Service for Sink<F> {}

impl<F: Filler> Handler<Start<F>> for Sink<F> {
    fn handle(&mut self, Start(producers): Start<F>, ctx: &mut Context<'_, Self>) -> Reply<()> {
        self.began = Instant::now();
        for (index, producer) in (0..).zip(&producers) {
            if let Err(SendError { reason, .. }) = ctx.send(producer, Produce) {
                self.desk.fail(Fault::Refused { who: "the sink's start of producer", index, reason });
            }
        }
        Reply::Now(())
    }
}

impl<F: Filler> Handler<Item<F>> for Sink<F> {
    fn handle(&mut self, item: Item<F>, _: &mut Context<'_, Self>) -> Reply<()> {
        self.expect(item.producer, item.seq);
        if item.tag != self.tag || !self.filler.is_of(item.seq, &item.body) {
            self.desk.fail(Fault::Payload { who: "the sink for producer", index: item.producer.into() });
        }
        self.next[item.producer as usize] = item.seq + 1;
        self.count += 1;
        self.desk.publish(self.count);
        Reply::Now(())
    }
}

impl<F: Filler> Handler<Last> for Sink<F> {
    fn handle(&mut self, last: Last, _: &mut Context<'_, Self>) -> Reply<()> {
        self.expect(last.producer, last.sent);
        self.producers -= 1;
        if self.producers == 0 {
            let time = Instant::now().since(self.began);
            self.desk.finish(Report { count: self.count, time });
        }
        Reply::Now(())
    }
}

impl<F> Sink<F> {
    /// Message `seq` of a producer is here: it has to be the next one.
    fn expect(&self, producer: u32, seq: u64) {
        let expected = self.next[producer as usize];
        if seq != expected {
            let (who, index) = ("the sink for producer", producer.into());
            self.desk.fail(Fault::Sequence { who, index, expected, got: seq });
        }
    }
}

fn play<F: Filler>(plan: &Plan, watch: &Watch, filler: F) -> Result<Outcome, Failure> {
    let run = Run::begin(plan, watch, 1, (1, "sink"));
    let stage = Stage::local(plan)?;
    let tag = plan.seed as u32;
    let sink = Sink {
        tag,
        filler,
        next: vec![0; PRODUCERS as usize],
        count: 0,
        producers: PRODUCERS,
        began: Instant::FAR,
        desk: run.desk(SINK),
    };
    let sink = stage.spawn("sink", sink)?;
    let sent_max = plan.share(PRODUCERS).unwrap_or(u64::MAX);
    let mut producers = Vec::new();
    for index in 0..PRODUCERS as u32 {
        let desk = run.desk(SINK);
        let producer = Producer { index, tag, filler, sink, sent: 0, sent_max, desk };
        producers.push(stage.spawn("producer", producer)?);
    }
    stage.ask(&sink, Start(producers))?;
    let report = run.collect_one()?;
    if !run.is_halted() {
        require_count("messages", report.count, sent_max.saturating_mul(PRODUCERS))?;
    }
    stage.end()?;
    run.close()?;
    let params = Params::from([("producers", PRODUCERS.into()), ("backlog_max", BACKLOG_MAX.into())]);
    Ok(Outcome { msgs: report.count, time: report.time, latency: None, params })
}
