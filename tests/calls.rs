//! Every call ends exactly once: with a reply, an error that says why, or its deadline.

use skyharbor::prelude::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Ways to end a request.
#[derive(Clone, Copy, Debug)]
enum End {
    Reply,
    Fail,
    DeferThenReply,
    DropResponder,
    KeepResponder,
    Panic,
    Exit,
    ExitWithResponder,
}

struct Try(End);
impl Request for Try {
    type Reply = u32;
}

#[derive(Default)]
struct Callee {
    kept: Vec<Responder<u32>>,
}
impl Service for Callee {}
impl Handler<Try> for Callee {
    fn handle(&mut self, request: Try, ctx: &mut Context<'_, Self>) -> Reply<u32> {
        match request.0 {
            End::Reply => Reply::Now(7),
            End::Fail => Reply::Fail(CallError::Failed(42)),
            End::DeferThenReply => {
                let (answer, later) = ctx.defer();
                ctx.after(millis(2), move |_, ctx| answer.reply(ctx, 8)).expect("room for a timer");
                later
            }
            End::DropResponder => {
                let (answer, later) = ctx.defer();
                drop(answer);
                later
            }
            End::KeepResponder => {
                let (answer, later) = ctx.defer();
                self.kept.push(answer);
                later
            }
            End::Panic => panic!("on purpose"),
            End::Exit => {
                ctx.exit();
                Reply::Now(9)
            }
            End::ExitWithResponder => {
                let (answer, later) = ctx.defer();
                self.kept.push(answer);
                ctx.exit();
                later
            }
        }
    }
}

/// Calls on behalf of the test and tells it every result that it gets.
struct Caller(Sender<Result<u32, CallError>>);
impl Service for Caller {}
struct Call(Addr<Callee>, End, Duration);
impl Request for Call {
    type Reply = ();
}
impl Handler<Call> for Caller {
    fn handle(&mut self, call: Call, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let mut inside = true;
        ctx.call(&call.0, Try(call.1), call.2, |me: &mut Self, _, result| {
            me.0.send(result).expect("the test listens");
        });
        std::hint::black_box(&mut inside);
        Reply::Now(())
    }
}

struct World {
    node: Node,
    caller: Addr<Caller>,
    results: Receiver<Result<u32, CallError>>,
}

impl World {
    fn new() -> Self {
        let node = Node::start(Config::local().threads(2)).expect("a local node starts");
        let (sender, results) = channel();
        let caller = node.spawn("caller", Caller(sender)).expect("it starts");
        Self { node, caller, results }
    }

    fn callee(&self) -> Addr<Callee> {
        self.node.spawn("callee", Callee::default()).expect("it starts")
    }

    fn call(&self, callee: Addr<Callee>, end: End, timeout: Duration) -> Result<u32, CallError> {
        self.node.send(&self.caller, Call(callee, end, timeout)).expect("the caller lives");
        self.results.recv_timeout(secs(10)).expect("every call ends")
    }

    fn finish(self) {
        self.node.shutdown(secs(5)).expect("all threads end");
        assert!(self.results.try_recv().is_err(), "no call ends twice");
    }
}

#[test]
fn each_end_of_a_request_reaches_its_caller_with_its_reason() {
    let world = World::new();
    for (end, expected) in [
        (End::Reply, Ok(7)),
        (End::Fail, Err(CallError::Failed(42))),
        (End::DeferThenReply, Ok(8)),
        (End::DropResponder, Err(CallError::Dropped)),
        (End::Panic, Err(CallError::Panicked)),
        (End::Exit, Ok(9)),
        (End::ExitWithResponder, Err(CallError::Dropped)),
    ] {
        assert_eq!(world.call(world.callee(), end, secs(5)), expected, "{end:?}");
    }
    world.finish();
}

#[test]
fn a_call_without_an_answer_ends_at_its_deadline_and_a_late_answer_is_dropped() {
    let world = World::new();
    let callee = world.callee();
    assert_eq!(world.call(callee, End::KeepResponder, millis(20)), Err(CallError::Timeout));
    world.node.kill(callee).expect("it lives");
    assert_eq!(world.call(callee, End::Reply, secs(5)), Err(CallError::NoService));
    assert_eq!(world.node.counts()[Count::Late], 1, "the responder's error came late");
    world.finish();
}

#[test]
fn who_is_killed_or_gone_gives_no_service() {
    let world = World::new();
    let callee = world.callee();
    world.node.kill(callee).expect("it lives");
    for _ in 0..100 {
        assert_eq!(world.call(callee, End::Reply, secs(5)), Err(CallError::NoService));
    }
    assert!(world.node.kill(callee).is_err(), "it can be killed once");
    world.finish();
}

#[test]
fn a_panic_ends_one_service_and_nothing_else() {
    let world = World::new();
    let (bad, good) = (world.callee(), world.callee());
    assert_eq!(world.call(bad, End::Panic, secs(5)), Err(CallError::Panicked));
    assert_eq!(world.call(bad, End::Reply, secs(5)), Err(CallError::NoService));
    assert_eq!(world.call(good, End::Reply, secs(5)), Ok(7));
    assert_eq!(world.node.counts()[Count::Panics], 1);
    world.finish();
}

#[test]
fn foreign_threads_get_the_same_ends() {
    let world = World::new();
    assert_eq!(world.node.call_blocking(&world.callee(), Try(End::Reply), secs(5)), Ok(7));
    assert_eq!(world.node.call_blocking(&world.callee(), Try(End::Panic), secs(5)), Err(CallError::Panicked));
    assert_eq!(
        world.node.call_blocking(&world.callee(), Try(End::KeepResponder), millis(20)),
        Err(CallError::Timeout)
    );
    world.finish();
}

#[test]
fn shutdown_ends_waiting_calls_of_foreign_threads() {
    let node = Node::start(Config::local().threads(1)).expect("a local node starts");
    let callee = node.spawn("callee", Callee::default()).expect("it starts");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| node.call_blocking(&callee, Try(End::KeepResponder), secs(60)));
        while node.counts()[Count::Delivered] < 3 {
            std::thread::yield_now();
        }
        node.stop_services(secs(5));
        let ended = waiting.join().expect("no panic");
        assert!(matches!(ended, Err(CallError::Shutdown | CallError::Dropped)), "{ended:?}");
    });
    node.shutdown(secs(5)).expect("all threads end");
}

/// A service that makes `n` calls at once and counts how each ends.
struct Burst {
    callee: Addr<Callee>,
    ended: u32,
    whole: Option<Responder<u32>>,
}
impl Service for Burst {}
struct Run(u32);
impl Request for Run {
    type Reply = u32;
}
impl Handler<Run> for Burst {
    fn handle(&mut self, run: Run, ctx: &mut Context<'_, Self>) -> Reply<u32> {
        let (answer, later) = ctx.defer();
        self.whole = Some(answer);
        for index in 0..run.0 {
            let end = if index % 2 == 0 { End::Reply } else { End::DropResponder };
            ctx.call(&self.callee.clone(), Try(end), secs(30), move |me: &mut Self, ctx, result| {
                assert_eq!(result.is_ok(), index % 2 == 0, "the answer of call {index}");
                me.ended += 1;
                if me.ended == run.0 {
                    me.whole.take().expect("the last one answers").reply(ctx, me.ended);
                }
            });
        }
        later
    }
}

#[test]
fn many_calls_of_one_service_find_their_own_answers() {
    let world = World::new();
    let burst = Burst { callee: world.callee(), ended: 0, whole: None };
    let burst = world.node.spawn("burst", burst).expect("it starts");
    assert_eq!(world.node.call_blocking(&burst, Run(5_000), secs(20)), Ok(5_000));
    world.finish();
}

/// A worker must not wait: it would wait for itself.
struct Waits(std::sync::Arc<Node>);
impl Service for Waits {}
struct Wait(Addr<Callee>);
impl Request for Wait {
    type Reply = Result<u32, CallError>;
}
impl Handler<Wait> for Waits {
    fn handle(&mut self, wait: Wait, _: &mut Context<'_, Self>) -> Reply<Result<u32, CallError>> {
        Reply::Now(self.0.call_blocking(&wait.0, Try(End::Reply), secs(5)))
    }
}

#[test]
fn a_blocking_call_on_a_worker_is_an_error() {
    let node = std::sync::Arc::new(Node::start(Config::local().threads(2)).expect("a local node starts"));
    let callee = node.spawn("callee", Callee::default()).expect("it starts");
    let waits = node.spawn("waits", Waits(std::sync::Arc::clone(&node))).expect("it starts");
    assert_eq!(node.call_blocking(&waits, Wait(callee), secs(5)), Ok(Err(CallError::Denied)));
    node.kill(waits).expect("it lives");
}
