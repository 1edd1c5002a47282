//! Accidents in user code: whatever goes wrong in one service, the calls of all others still end, and the node goes on.

use serde::{Deserialize, Serialize};
use skyharbor::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};

fn node(threads: u32) -> Node {
    Node::start(Config::local().threads(threads)).expect("a local node starts")
}

struct Ask;
impl Request for Ask {
    type Reply = u32;
}

#[derive(Clone, Copy)]
enum Child {
    Refuses,
    Panics,
    Exits,
}
impl Service for Child {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        match self {
            Self::Refuses => Err(StartError::new("not today")),
            Self::Panics => panic!("on purpose"),
            Self::Exits => {
                ctx.exit();
                Ok(())
            }
        }
    }
}

/// Spawns a child that does not live, then answers.
struct Parent(Child);
impl Service for Parent {}
impl Handler<Ask> for Parent {
    fn handle(&mut self, _: Ask, ctx: &mut Context<'_, Self>) -> Reply<u32> {
        let _ = ctx.spawn("child", self.0);
        Reply::Now(1)
    }
}

#[test]
fn a_handler_whose_spawn_fails_still_answers() {
    let node = node(1);
    for child in [Child::Refuses, Child::Panics, Child::Exits] {
        let parent = node.spawn("parent", Parent(child)).expect("it starts");
        assert_eq!(node.call_blocking(&parent, Ask, secs(3)), Ok(1));
    }
    node.shutdown(secs(5)).expect("all threads end");
}

/// A request that panics when it is dropped unhandled.
struct Bomb(bool);
impl Request for Bomb {
    type Reply = u32;
}
impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "on purpose");
    }
}

struct Gate(Arc<AtomicU32>);
impl Service for Gate {}
impl Handler<Ask> for Gate {
    fn handle(&mut self, _: Ask, ctx: &mut Context<'_, Self>) -> Reply<u32> {
        self.0.store(1, Ordering::Release);
        while self.0.load(Ordering::Acquire) != 2 {
            std::thread::yield_now();
        }
        ctx.exit();
        Reply::Now(0)
    }
}
impl Handler<Bomb> for Gate {
    fn handle(&mut self, mut bomb: Bomb, _: &mut Context<'_, Self>) -> Reply<u32> {
        bomb.0 = false;
        Reply::Now(0)
    }
}

#[test]
fn a_panic_in_the_drop_of_a_queued_request_ends_no_worker() {
    let node = node(1);
    let gate = Arc::new(AtomicU32::new(0));
    let service = node.spawn("gate", Gate(Arc::clone(&gate))).expect("it starts");
    node.send(&service, Ask).expect("it lives");
    while gate.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    std::thread::scope(|scope| {
        let waiting: Vec<_> =
            (0..3).map(|_| scope.spawn(|| node.call_blocking(&service, Bomb(true), secs(3)))).collect();
        node.send(&service, Bomb(true)).expect("it lives");
        gate.store(2, Ordering::Release);
        for call in waiting {
            assert_eq!(call.join().expect("no panic"), Err(CallError::NoService));
        }
    });
    let gate = node.spawn("gate", Gate(gate)).expect("the worker lives");
    assert_eq!(node.call_blocking(&gate, Bomb(false), secs(3)), Ok(0));
    node.shutdown(secs(5)).expect("all threads end");
}

/// Panics in its first request once others wait behind it.
struct Panics(Arc<AtomicU32>);
impl Service for Panics {}
impl Handler<Ask> for Panics {
    fn handle(&mut self, _: Ask, _: &mut Context<'_, Self>) -> Reply<u32> {
        self.0.store(1, Ordering::Release);
        while self.0.load(Ordering::Acquire) != 2 {
            std::thread::yield_now();
        }
        panic!("on purpose")
    }
}

#[test]
fn requests_behind_one_that_panics_were_not_begun() {
    let node = node(2);
    let gate = Arc::new(AtomicU32::new(0));
    let panics = node.spawn("panics", Panics(Arc::clone(&gate))).expect("it starts");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| node.call_blocking(&panics, Ask, secs(3)));
        while gate.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        let sent = node.counts()[Count::Sent];
        let second = scope.spawn(|| node.call_blocking(&panics, Ask, secs(3)));
        while node.counts()[Count::Sent] == sent {
            std::thread::yield_now();
        }
        gate.store(2, Ordering::Release);
        assert_eq!(first.join().expect("no panic"), Err(CallError::Panicked));
        assert_eq!(second.join().expect("no panic"), Err(CallError::NoService));
    });
    node.shutdown(secs(5)).expect("all threads end");
}

/// A value that cannot be packed: its code panics.
#[derive(Deserialize)]
struct Unpackable;
impl Serialize for Unpackable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("on purpose")
    }
}

#[derive(Serialize, Deserialize)]
struct Fetch(bool);
impl Request for Fetch {
    type Reply = Unpackable;
}
impl Wire for Fetch {
    const NAME: &'static str = "fetch";
}

#[derive(Serialize, Deserialize)]
struct Store(Unpackable);
impl Request for Store {
    type Reply = ();
}
impl Wire for Store {
    const NAME: &'static str = "store";
}

struct Shelf;
impl Service for Shelf {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Fetch>();
    }
}
impl Handler<Fetch> for Shelf {
    fn handle(&mut self, fetch: Fetch, ctx: &mut Context<'_, Self>) -> Reply<Unpackable> {
        if !fetch.0 {
            return Reply::Now(Unpackable);
        }
        let (answer, later) = ctx.defer();
        answer.reply(ctx, Unpackable);
        later
    }
}

#[test]
fn a_reply_whose_packing_panics_is_an_error_at_its_caller() {
    let node = node(1);
    for (deferred, expected) in [(false, CallError::Panicked), (true, CallError::Dropped)] {
        let shelf = node.spawn("shelf", Shelf).expect("it starts");
        let ended = node.call_blocking(&shelf.handle(), Fetch(deferred), secs(3));
        assert_eq!(ended.map(|_| ()), Err(expected));
    }
    node.shutdown(secs(5)).expect("all threads end");
}

/// Names one method twice: a mistake that panics at the first spawn.
struct Twice;
impl Service for Twice {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Fetch>().on::<Fetch>();
    }
}
impl Handler<Fetch> for Twice {
    fn handle(&mut self, _: Fetch, _: &mut Context<'_, Self>) -> Reply<Unpackable> {
        Reply::Fail(CallError::Unhandled)
    }
}

#[test]
fn a_panic_on_behalf_of_a_foreign_thread_leaves_the_node_usable() {
    let node = node(1);
    let parent = node.spawn("parent", Parent(Child::Refuses)).expect("it starts");
    assert!(matches!(node.spawn("twice", Twice), Err(SpawnError::Panicked)));
    assert_eq!(node.call_blocking(&parent, Ask, secs(3)), Ok(1));
    let packed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        node.call_blocking(&parent.handle(), Store(Unpackable), secs(3))
    }));
    assert!(!matches!(packed, Ok(Ok(()))));
    assert_eq!(node.call_blocking(&parent, Ask, secs(3)), Ok(1));
    node.shutdown(secs(5)).expect("all threads end");
}

/// Keeps its own bounded mailbox full until its call has ended.
struct Full {
    callee: Addr<Parent>,
    ended: Option<Result<u32, CallError>>,
    results: Sender<Result<u32, CallError>>,
}
struct Fill;
impl Request for Fill {
    type Reply = ();
}
impl Service for Full {}
impl Handler<Ask> for Full {
    fn handle(&mut self, _: Ask, ctx: &mut Context<'_, Self>) -> Reply<u32> {
        ctx.call(&self.callee.clone(), Ask, secs(2), |me: &mut Self, _, result| me.ended = Some(result));
        while ctx.send(&ctx.me(), Fill).is_ok() {}
        Reply::Now(0)
    }
}
impl Handler<Fill> for Full {
    fn handle(&mut self, _: Fill, ctx: &mut Context<'_, Self>) -> Reply<()> {
        match self.ended {
            Some(result) => {
                let _ = self.results.send(result);
            }
            None => while ctx.send(&ctx.me(), Fill).is_ok() {},
        }
        Reply::Now(())
    }
}

#[test]
fn a_full_mailbox_takes_the_answer_to_a_call() {
    let node = node(1);
    let callee = node.spawn("parent", Parent(Child::Refuses)).expect("it starts");
    let (sender, results) = channel();
    let full = Full { callee, ended: None, results: sender };
    let options = Spawn::new().mailbox(Bounded::messages(3));
    let full = node.spawn_with("full", options, move || full).expect("it starts");
    node.send(&full, Ask).expect("it lives");
    assert_eq!(results.recv_timeout(secs(10)).expect("the call ends"), Ok(1));
    node.shutdown(secs(5)).expect("all threads end");
}

/// Calls again whenever its call fails.
struct Stubborn {
    gone: Addr<Parent>,
    stop: bool,
}
impl Stubborn {
    fn call(&mut self, ctx: &mut Context<'_, Self>) {
        ctx.call(&self.gone.clone(), Ask, secs(5), |me: &mut Self, ctx, _| {
            if !me.stop {
                me.call(ctx);
            }
        });
    }
}
impl Service for Stubborn {}
impl Handler<Fill> for Stubborn {
    fn handle(&mut self, _: Fill, ctx: &mut Context<'_, Self>) -> Reply<()> {
        self.call(ctx);
        Reply::Now(())
    }
}
impl Handler<Ask> for Stubborn {
    fn handle(&mut self, _: Ask, _: &mut Context<'_, Self>) -> Reply<u32> {
        self.stop = true;
        Reply::Now(7)
    }
}

#[test]
fn a_service_whose_calls_fail_for_ever_still_hears_its_messages() {
    let node = node(1);
    let gone = node.spawn("parent", Parent(Child::Refuses)).expect("it starts");
    node.kill(gone).expect("it lives");
    let stubborn = node.spawn("stubborn", Stubborn { gone, stop: false }).expect("it starts");
    node.send(&stubborn, Fill).expect("it lives");
    assert_eq!(node.call_blocking(&stubborn, Ask, secs(3)), Ok(7));
    node.shutdown(secs(5)).expect("all threads end");
}

/// Keeps the first message and passes it on while it handles the second.
struct Keeper {
    to: Addr<Parent>,
    kept: Option<Message>,
}
impl Service for Keeper {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        match self.kept.take() {
            None => {
                self.kept = Some(message);
                Disposition::Handled
            }
            Some(kept) => ctx.forward(self.to, kept),
        }
    }
}

#[test]
fn forwarding_an_older_message_does_not_take_the_duty_to_answer_this_one() {
    let node = node(1);
    let to = node.spawn("parent", Parent(Child::Refuses)).expect("it starts");
    let keeper = node.spawn("keeper", Keeper { to, kept: None }).expect("it starts");
    for _ in 0..2 {
        let ended = node.call_raw_blocking(keeper, Kind::TEXT, b"x", secs(3));
        assert_eq!(ended.map(|_| ()), Err(CallError::Dropped));
    }
    node.shutdown(secs(5)).expect("all threads end");
}

#[test]
fn a_call_that_nobody_may_answer_is_refused() {
    let node = node(1);
    let parent = node.spawn("parent", Parent(Child::Refuses)).expect("it starts");
    for kind in [Kind::RESPONSE, Kind::ERROR, Kind::MULTICAST] {
        let ended = node.call_raw_blocking(parent, kind, b"x", secs(3));
        assert_eq!(ended.map(|_| ()), Err(CallError::Denied), "{kind:?}");
    }
    node.shutdown(secs(5)).expect("all threads end");
}

/// Drops its node, when it is the last to have it, on one of the node's own threads.
struct Owner(Option<Arc<Node>>);
impl Owner {
    fn wait(&mut self, ctx: &mut Context<'_, Self>) {
        if self.0.as_ref().is_some_and(|node| Arc::strong_count(node) == 1) {
            self.0 = None;
        } else {
            ctx.after(millis(1), Self::wait).expect("room for a timer");
        }
    }
}
impl Service for Owner {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        self.wait(ctx);
        Ok(())
    }
}

/// Starts with a timer, a tick and a message, each of which may be refused.
struct Starter(Handle);
impl Service for Starter {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        ctx.after(millis(1), |_, _| {})?;
        ctx.every(millis(1), Overrun::Skip, |_, _, _| {})?;
        ctx.send_raw(self.0, Kind::TEXT, Session::NONE, b"hello")?;
        Ok(())
    }
}

#[test]
fn what_is_refused_in_a_start_can_be_passed_on_as_its_reason() {
    let node = node(1);
    let listener = node.spawn("parent", Parent(Child::Refuses)).expect("it starts");
    node.spawn("starter", Starter(listener.handle())).expect("nothing is refused");
    let refused = node.spawn("starter", Starter(Handle::from_bits(7))).expect_err("nobody has this handle");
    assert_eq!(refused.to_string(), "the service did not start: not sent: unknown destination");
    node.shutdown(secs(5)).expect("all threads end");
}

struct Witness(Sender<&'static str>);
impl Service for Witness {
    fn stop(&mut self, _: &mut Context<'_, Self>) {
        let _ = self.0.send("stopped");
    }
}

#[test]
fn a_node_dropped_on_its_own_thread_ends() {
    let node = Arc::new(node(2));
    let (sender, events) = channel();
    node.spawn("witness", Witness(sender)).expect("it starts");
    node.spawn("owner", Owner(Some(Arc::clone(&node)))).expect("it starts");
    drop(node);
    assert_eq!(events.recv_timeout(secs(5)), Ok("stopped"));
}
