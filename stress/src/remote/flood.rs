//! One way as fast as the window allows, measured where it arrives.

use super::payload::Stamp;
use super::{Count, Link, SINK, Tally};
use crate::plan::{Failure, Fault, Outcome, Params, Plan, require_count};
use crate::run::{Desk, Run};
use crate::stage::PATIENCE;
use crate::watch::Watch;
use skyharbor::message::Payload;
use skyharbor::prelude::*;
use std::time::Duration;

/// The widest window, in messages.
const WINDOW_MESSAGES_MAX: u64 = 16_384;
/// The widest window, in bytes.
const WINDOW_BYTES_MAX: u64 = 16 << 20;
/// The sink acknowledges each time this part of the window has come.
const ACKS_PER_WINDOW: u64 = 4;
/// Messages that are sent before other messages of the sender have their turn.
const BURST: u64 = 256;

/// Counts messages that the second process got.
pub(crate) fn flood(plan: &Plan, watch: &Watch) -> Result<Outcome, Failure> {
    let run = Run::begin(plan, watch, 1, (1, "flood"));
    let mut link = Link::start(plan)?;
    let window = plan.window.unwrap_or_else(|| window_of(plan.size));
    let sink = link.find(SINK)?;
    let sender = Sender {
        sink,
        stamp: Stamp::new(plan.seed, plan.size),
        sent: 0,
        sent_max: plan.share(1).unwrap_or(u64::MAX),
        acknowledged: 0,
        quarter: window / ACKS_PER_WINDOW,
        has_sent_last: false,
        desk: run.desk(0),
    };
    let sender = link.stage.spawn("sender", sender)?;
    link.stage.ask(&sender, More)?;
    let report = run.collect_one_while(|| link.child.check())?;
    verify(&report)?;
    if let (false, Some(count)) = (run.is_halted(), plan.share(1)) {
        require_count("messages", report.sent, count)?;
    }
    link.end()?;
    run.close()?;
    let time = Duration::from_nanos(report.count.last.saturating_sub(report.count.first));
    let params = Params::from([("window", window.into())]);
    Ok(Outcome { msgs: report.count.count, time, latency: None, params })
}

fn window_of(size: usize) -> u64 {
    (WINDOW_BYTES_MAX / size as u64).clamp(ACKS_PER_WINDOW, WINDOW_MESSAGES_MAX)
}

/// Every message came, once, in its order.
fn verify(report: &Report) -> Result<(), Failure> {
    let Report { sent, count } = report;
    if let Some(expected) = count.expected {
        let (who, index) = ("the sink of node", 2);
        return Err(match count.got {
            Some(got) => Fault::Sequence { who, index, expected, got }.into(),
            None => Fault::Payload { who, index }.into(),
        });
    }
    require_count("messages that the second process got", count.count, *sent)
}

struct Sender {
    sink: Handle,
    stamp: Stamp,
    sent: u64,
    sent_max: u64,
    acknowledged: u64,
    /// A quarter of the window.
    quarter: u64,
    has_sent_last: bool,
    desk: Desk<Report>,
}

struct Report {
    sent: u64,
    count: Count,
}

/// Send on.
struct More;

impl Request for More {
    type Reply = ();
}

impl Sender {
    /// Sends what the window allows, a burst at most.
    fn send(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), SendReason> {
        let room = self.acknowledged + ACKS_PER_WINDOW * self.quarter - self.sent;
        for _ in 0..room.min(BURST) {
            let payload = self.stamp.write(self.sent);
            self.sent += 1;
            self.has_sent_last = self.sent == self.sent_max || self.desk.is_halted();
            if self.has_sent_last || self.sent.is_multiple_of(self.quarter) {
                // A mark: its reply is the acknowledgement of all before it.
                let mark = self.sent;
                ctx.call_raw(self.sink, Kind::TEXT, payload, PATIENCE, move |me: &mut Self, ctx, answer| {
                    me.acknowledge(ctx, mark, answer);
                });
            } else {
                let sent = ctx.send_raw(self.sink, Kind::TEXT, Session::NONE, payload);
                sent.map_err(|error| error.reason)?;
            }
            if self.has_sent_last {
                return Ok(());
            }
        }
        let me = ctx.me();
        if room > BURST { ctx.send(&me, More).map_err(|error| error.reason) } else { Ok(()) }
    }

    /// The sink got the message number `mark` and says how many came.
    fn acknowledge(&mut self, ctx: &mut Context<'_, Self>, mark: u64, answer: Result<Payload, CallError>) {
        match answer.map(|payload| payload[..].try_into().map(u64::from_le_bytes)) {
            Ok(Ok(count)) if count == mark => {}
            Ok(Ok(got)) => {
                let (who, index) = ("the sink of node", 2);
                return self.desk.fail(Fault::Sequence { who, index, expected: mark, got });
            }
            Ok(Err(_)) => return self.desk.fail(Fault::Payload { who: "the sender of node", index: 1 }),
            Err(error) => return self.desk.fail(Fault::Call { who: "the sender", error }),
        }
        let was_full = self.sent == self.acknowledged + ACKS_PER_WINDOW * self.quarter;
        self.acknowledged = mark;
        self.desk.publish_now(mark);
        if self.has_sent_last && mark == self.sent {
            ctx.call(&self.sink, Tally, PATIENCE, Self::finish);
        } else if was_full && !self.has_sent_last {
            self.go_on(ctx);
        }
    }

    fn go_on(&mut self, ctx: &mut Context<'_, Self>) {
        if let Err(reason) = self.send(ctx) {
            self.desk.fail(Fault::Refused { who: "the sender of node", index: 1, reason });
        }
    }

    fn finish(&mut self, _: &mut Context<'_, Self>, count: Result<Count, CallError>) {
        match count {
            Ok(count) => self.desk.finish(Report { sent: self.sent, count }),
            Err(error) => self.desk.fail(Fault::Call { who: "the sender", error }),
        }
    }
}

impl Service for Sender {}

impl Handler<More> for Sender {
    fn handle(&mut self, More: More, ctx: &mut Context<'_, Self>) -> Reply<()> {
        if !self.has_sent_last {
            self.go_on(ctx);
        }
        Reply::Now(())
    }
}
