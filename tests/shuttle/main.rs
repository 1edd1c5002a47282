//! Two whole nodes, runtime, harbor and I/O threads, in orders drawn by chance. Only sockets and clock are played: streams
//! in memory that cut and join bytes, and time in which no wait ends, so that who is not woken is found as a deadlock.
//!
//! ```sh
//! RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target/shuttle cargo test --release --test shuttle
//! ```
//!
//! `SCHEDULES=n` is how many orders of each kind a test tries. A failure prints its schedule; hashes and jitter are drawn anew by each
//! run, so it may take another search to see it again.
#![cfg(shuttle)]

use serde::{Deserialize, Serialize};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread::{self, JoinHandle};
use skyharbor::net::break_streams;
use skyharbor::prelude::*;

/// Tries a scenario in many orders: in half of them threads change anywhere, in the others seldom.
fn explore(scenario: fn()) {
    let schedules =
        std::env::var("SCHEDULES").map_or(100, |count| count.parse().expect("SCHEDULES is a number"));
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = shuttle::MaxSteps::FailAfter(3_000_000);
    shuttle::Runner::new(RandomScheduler::new(schedules), config.clone()).run(scenario);
    shuttle::Runner::new(PctScheduler::new(5, schedules), config).run(scenario);
}

/// Answers its number.
#[derive(Serialize, Deserialize)]
struct Say(u64);
impl Request for Say {
    type Reply = u64;
}
impl Wire for Say {
    const NAME: &'static str = "say";
}

struct Echo;
impl Service for Echo {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Say>();
    }
}
impl Handler<Say> for Echo {
    fn handle(&mut self, say: Say, _: &mut Context<'_, Self>) -> Reply<u64> {
        Reply::Now(say.0)
    }
}

/// Calls `ECHO` so many times at once, every other time by its handle as soon as it knows it; answers all outcomes in the
/// order in which they came.
struct Ask(u64);
impl Request for Ask {
    type Reply = Vec<(u64, Result<u64, CallError>)>;
}

#[derive(Default)]
struct Asker {
    outcomes: Vec<(u64, Result<u64, CallError>)>,
    waiting: u64,
    answer: Option<Responder<Vec<(u64, Result<u64, CallError>)>>>,
}
impl Service for Asker {}
impl Asker {
    fn call(&mut self, ctx: &mut Context<'_, Self>, number: u64) {
        self.waiting += 1;
        let echo = ctx.global("ECHO");
        ctx.call(&echo, Say(number), NEVER, move |asker: &mut Self, ctx, outcome| {
            asker.outcomes.push((number, outcome));
            asker.waiting -= 1;
            if asker.waiting == 0
                && let Some(answer) = asker.answer.take()
            {
                answer.reply(ctx, std::mem::take(&mut asker.outcomes));
            }
        });
    }
}
impl Handler<Ask> for Asker {
    fn handle(&mut self, ask: Ask, ctx: &mut Context<'_, Self>) -> Reply<Vec<(u64, Result<u64, CallError>)>> {
        let (answer, later) = ctx.defer();
        self.answer = Some(answer);
        (0..ask.0).for_each(|number| self.call(ctx, number));
        later
    }
}

/// Node 1 hosts the master and asks, node 2 has the echo.
struct Pair {
    one: Node,
    two: Node,
    asker: Addr<Asker>,
    echo: Addr<Echo>,
}

impl Pair {
    fn start() -> Self {
        let one = Config::local().harbor(1).address("127.0.0.1:1").standalone("127.0.0.1:2").threads(1);
        let one = Node::start(one).expect("node 1 starts");
        let two = Config::local().harbor(2).address("127.0.0.1:3").master("127.0.0.1:2").threads(1);
        let two = Node::start(two).expect("node 2 starts");
        let asker = one.spawn("asker", Asker::default()).expect("it starts");
        let echo = two.spawn("echo", Echo).expect("it starts");
        Self { one, two, asker, echo }
    }

    fn register(&self) {
        self.two.register_global("ECHO", &self.echo).expect("the name is free");
    }

    /// Both nodes know each other and the name: from here on nothing waits for time to pass.
    fn linked() -> Self {
        let pair = Self::start();
        pair.register();
        assert_eq!(pair.ask(1), [(0, Ok(0))]);
        pair
    }

    fn ask(&self, times: u64) -> Vec<(u64, Result<u64, CallError>)> {
        let outcomes = self.one.call_blocking(&self.asker, Ask(times), NEVER).expect("the asker lives");
        let mut numbers: Vec<u64> = outcomes.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..times).collect::<Vec<_>>(), "each call has one outcome");
        outcomes
    }

    fn stop(self) {
        self.two.shutdown(secs(10)).expect("all threads of node 2 end");
        self.one.shutdown(secs(10)).expect("all threads of node 1 end");
    }
}

/// Calls by name wait for it, reach the other node and come back in order; then all threads end.
#[test]
fn calls_between_nodes_that_start() {
    explore(|| {
        let pair = Pair::start();
        pair.register();
        let expected: Vec<_> = (0..4).map(|number| (number, Ok(number))).collect();
        assert_eq!(pair.ask(4), expected);
        pair.stop();
    });
}

/// The streams break in the middle: each call has one outcome.
#[test]
fn calls_over_streams_that_break() {
    explore(|| {
        let pair = Pair::linked();
        let breaker = thread::spawn(break_streams);
        for (number, outcome) in pair.ask(4) {
            let is_told = match outcome {
                Ok(reply) => reply == number,
                Err(reason) => matches!(reason, CallError::OutcomeUnknown(_) | CallError::PeerDown(_)),
            };
            assert!(is_told, "{number}: {outcome:?}");
        }
        breaker.join().expect("it ends");
        pair.stop();
    });
}

/// The callee is killed meanwhile: each call has one outcome.
#[test]
fn calls_to_a_service_that_is_killed() {
    explore(|| {
        let Pair { one, two, asker, echo } = Pair::linked();
        let killer: JoinHandle<Node> = thread::spawn(move || {
            two.kill(&echo).expect("it lived");
            two
        });
        let outcomes = one.call_blocking(&asker, Ask(4), NEVER).expect("the asker lives");
        assert_eq!(outcomes.len(), 4);
        for (number, outcome) in outcomes {
            let is_told = outcome.map_or_else(|reason| reason == CallError::Remote, |reply| reply == number);
            assert!(is_told, "{number}: {outcome:?}");
        }
        let two = killer.join().expect("it ends");
        Pair { one, two, asker, echo }.stop();
    });
}

/// A node leaves meanwhile: each call has one outcome, and all threads end.
#[test]
fn a_node_that_leaves_under_traffic() {
    explore(|| {
        let Pair { one, two, asker, .. } = Pair::linked();
        let leaver = thread::spawn(move || two.shutdown(secs(10)).expect("all threads of node 2 end"));
        let outcomes = one.call_blocking(&asker, Ask(4), NEVER).expect("the asker lives");
        assert_eq!(outcomes.len(), 4);
        for (number, outcome) in outcomes {
            assert!(outcome.is_err() || outcome == Ok(number), "{number}: {outcome:?}");
        }
        leaver.join().expect("it ends");
        one.shutdown(secs(10)).expect("all threads of node 1 end");
    });
}
