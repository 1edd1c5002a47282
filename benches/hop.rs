//! What does one message between two services of one worker cost, scheduling included? Through the public API: a ball goes
//! to and fro between two services, ten thousand times for each foreign call that starts it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skyharbor::prelude::*;
use std::time::Duration;

const HOPS: u32 = 10_000;

/// The ball, with the hops that are left.
struct Ball(u32);
impl Request for Ball {
    type Reply = ();
}

struct Join(Addr<Player>);
impl Request for Join {
    type Reply = ();
}

struct Play;
impl Request for Play {
    type Reply = ();
}

/// How it passes the ball on: as a one-way message, or as a call whose reply it takes.
#[derive(Clone, Copy)]
enum Style {
    Send,
    Call,
}

struct Player {
    style: Style,
    other: Option<Addr<Player>>,
    end: Option<Responder<()>>,
}

impl Player {
    fn pass(&mut self, ctx: &mut Context<'_, Self>, left: u32) {
        let other = self.other.expect("joined");
        if left == 0 {
            return self.end.take().expect("the ball ends where it began").reply(ctx, ());
        }
        match self.style {
            Style::Send => ctx.send(&other, Ball(left - 1)).expect("the other lives"),
            // Two hops: there and back.
            Style::Call => ctx.call(&other, Ball(0), secs(60), move |me, ctx, reply| {
                reply.expect("the other answers");
                me.pass(ctx, left - 2);
            }),
        }
    }
}

impl Service for Player {}
impl Handler<Join> for Player {
    fn handle(&mut self, join: Join, _: &mut Context<'_, Self>) -> Reply<()> {
        self.other = Some(join.0);
        Reply::Now(())
    }
}
impl Handler<Play> for Player {
    fn handle(&mut self, _: Play, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let (end, later) = ctx.defer();
        self.end = Some(end);
        self.pass(ctx, HOPS);
        later
    }
}
impl Handler<Ball> for Player {
    fn handle(&mut self, ball: Ball, ctx: &mut Context<'_, Self>) -> Reply<()> {
        if let Style::Send = self.style {
            self.pass(ctx, ball.0);
        }
        Reply::Now(())
    }
}

fn hop(bench: &mut Criterion) {
    let node = Node::start(Config::local().threads(1)).expect("a local node starts");
    let mut group = bench.benchmark_group("hop");
    group.sample_size(20).throughput(Throughput::Elements(u64::from(HOPS)));
    for (name, style) in [("send", Style::Send), ("call and reply", Style::Call)] {
        let player = || node.spawn("player", Player { style, other: None, end: None }).expect("it starts");
        let (one, other) = (player(), player());
        for (player, other) in [(one, other), (other, one)] {
            node.call_blocking(&player, Join(other), secs(1)).expect("it joins");
        }
        group.bench_function(name, |bench| {
            bench.iter(|| node.call_blocking(&one, Play, NEVER).expect("the ball comes back"));
        });
    }
    group.finish();
    node.shutdown(secs(5)).expect("all threads end");
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    targets = hop
}
criterion_main!(benches);
