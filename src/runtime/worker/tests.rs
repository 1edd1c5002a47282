use super::super::respond::Responder;
use super::super::route::Room;
use super::super::service::{Disposition, Handler, Message, Reply, Request, Service, SpawnError, StartError};
use super::super::shared::{Outgoing, Settings};
use super::super::{Addr, Context, Methods, Runtime, Spawn};
use super::*;
use crate::message::{HarborId, HarborRequest, Payload, Session, Waiter};
use crate::queue::{LaneReceiver, LaneSender, Lanes};
use crate::sync::{Doorbell, Parker};
use std::time::Duration;

struct Idle;
impl Service for Idle {}

fn runtime() -> (Runtime, Worker) {
    begin(HarborId::SINGLE, None)
}

/// Node 1, and the I/O thread's end of its lanes.
fn linked() -> (Runtime, Worker, LaneReceiver<Outgoing>) {
    let (sender, receiver) = Lanes::new(limits::SLOTS, Arc::new(Doorbell::new(Parker::new())));
    let (runtime, worker) = begin(HarborId::new(1), Some(sender));
    (runtime, worker, receiver)
}

fn begin(harbor: HarborId, uplink: Option<LaneSender<Outgoing>>) -> (Runtime, Worker) {
    begin_within(1 << 30, harbor, uplink)
}

/// A node that may hold so many bytes.
fn begin_within(bytes_max: u64, harbor: HarborId, uplink: Option<LaneSender<Outgoing>>) -> (Runtime, Worker) {
    let settings = Settings {
        harbor,
        first_local: 8,
        workers: 1,
        spin: Duration::ZERO,
        messages_max: 1 << 20,
        bytes_max,
        uplink,
    };
    let (runtime, mut seats) = Runtime::new(settings);
    let mut worker = seats.pop().expect("one worker").0;
    worker.participant.online();
    (runtime, worker)
}

fn run(worker: &mut Worker) {
    while let Some(token) = worker.next() {
        worker.step(token);
    }
}

fn spawn<S: Service>(worker: &mut Worker, service: S) -> Addr<S> {
    worker.spawn("", &Spawn::new(), || service).expect("it starts")
}

/// A call of `from` that reaches `to` after `to` has ended, from a thread that found it before.
fn call_too_late<S: Service>(worker: &mut Worker, from: Handle, to: Addr<S>, bytes: usize) {
    let mut late = worker.shared.directory.register();
    late.online();
    let mailbox = late.find(to.handle.local()).expect("it lives");
    worker.kill(to.into()).expect("it lives");
    run(worker);
    let envelope = Envelope {
        source: from,
        dest: to.handle,
        session: Session::from_bits(1),
        kind: Kind::TEXT,
        body: Body::Bytes(Payload::from(vec![0; bytes])),
    };
    let letter = Letter::Envelope(envelope);
    let heap = letter.heap_len();
    let pushed = mailbox.push(&mut worker.pool, letter, heap).expect("there is room");
    assert!(pushed.is_none(), "its token is retired");
}

#[test]
fn a_call_that_reaches_a_service_too_late_is_answered_before_the_worker_sleeps() {
    let (_runtime, mut worker) = runtime();
    let (caller, callee) = (spawn(&mut worker, Idle), spawn(&mut worker, Idle));
    run(&mut worker);
    call_too_late(&mut worker, caller.handle, callee, 0);
    let late = worker.counters.read()[Count::Late];
    for _ in 0..3 {
        // As `run` does, but a sleep would last for ever: it is ended by a ring that comes first.
        worker.shared.crew.ring_worker(0);
        worker.rest();
        let parks = worker.counters.read()[Count::Parks];
        if worker.lifo.is_some() || !worker.ring.is_empty() {
            assert_eq!(parks, 0, "it slept while its own queues had work");
        }
        run(&mut worker);
    }
    assert_eq!(worker.counters.read()[Count::Late], late + 1, "the caller got the error");
}

#[test]
fn payload_bytes_return_to_the_budget_however_their_message_ends() {
    let (_runtime, mut worker) = runtime();
    let (caller, callee) = (spawn(&mut worker, Idle), spawn(&mut worker, Idle));
    run(&mut worker);
    let step = crate::limits::BYTES_LEASE as usize;
    for _ in 0..20 {
        let body = Body::Bytes(Payload::from(vec![0; step]));
        let envelope = Envelope {
            source: caller.handle,
            dest: callee.handle,
            session: Session::NONE,
            kind: Kind::TEXT,
            body,
        };
        worker.post(callee.into(), Letter::Envelope(envelope)).expect("there is room");
        assert!(worker.shared.depot.bytes() <= 5 * step as u64 / 2, "counted once");
        run(&mut worker);
    }
    let before = worker.shared.depot.bytes();
    for _ in 0..20 {
        let callee = spawn(&mut worker, Idle);
        call_too_late(&mut worker, caller.handle, callee, step);
        worker.shared.crew.ring_worker(0);
        worker.rest();
        run(&mut worker);
    }
    assert!(worker.shared.depot.bytes() <= before + 2 * step as u64, "{}", worker.shared.depot.bytes());
}

thread_local! {
    /// The node that is drained while a service of it is being spawned.
    static DRAINED: std::cell::RefCell<Option<Arc<Shared>>> = const { std::cell::RefCell::new(None) };
}

struct Untimely;
impl Service for Untimely {
    fn methods(_: &mut Methods<Self>) {
        if let Some(shared) = DRAINED.take() {
            shared.enter(Phase::Draining);
            shared.door().kill_all(CallError::Shutdown);
        }
    }
}

#[test]
fn a_service_that_is_spawned_while_the_node_begins_to_drain_does_not_outlive_it() {
    let (_runtime, mut worker) = runtime();
    DRAINED.set(Some(Arc::clone(&worker.shared)));
    let spawned = worker.spawn("", &Spawn::new(), || Untimely);
    assert!(matches!(spawned, Err(SpawnError::Shutdown)), "{spawned:?}");
    run(&mut worker);
    assert!(worker.shared.directory.is_empty());
}

/// Sets a far timer in the beginning, and a near one with each beat.
struct Busy;
struct Beat;
impl Request for Beat {
    type Reply = ();
}
impl Service for Busy {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        ctx.after(Duration::from_secs(3600), |_, _| {}).map(drop).map_err(StartError::new)
    }
}
impl Handler<Beat> for Busy {
    fn handle(&mut self, _: Beat, ctx: &mut Context<'_, Self>) -> Reply<()> {
        ctx.after(Duration::ZERO, |_, _| {}).expect("room for a timer");
        Reply::Now(())
    }
}

#[test]
fn a_far_deadline_behind_many_near_ones_is_one_alarm() {
    let (runtime, mut worker) = runtime();
    let busy = spawn(&mut worker, Busy);
    let mut now = worker.shared.now();
    for _ in 0..50 {
        runtime.send(&busy, Beat).expect("it lives");
        run(&mut worker);
        // The near timer's tick has come.
        while worker.shared.now().since(now) < Duration::from_millis(3) {
            std::hint::spin_loop();
        }
        now = worker.shared.now();
        worker.ring_alarms(now);
        run(&mut worker);
    }
    assert!(worker.wheel.len() < 8, "{} alarms for two timers", worker.wheel.len());
}

/// Owes answers until it owes as many as it was told, then gives them all, of so many bytes each.
struct Debtor {
    owed: Vec<Responder<Payload>>,
    most: usize,
    bytes: usize,
}
impl Debtor {
    fn new(most: usize, bytes: usize) -> Self {
        Self { owed: Vec::new(), most, bytes }
    }
}
impl Service for Debtor {
    fn message(&mut self, ctx: &mut Context<'_, Self>, _: Message) -> Disposition {
        self.owed.push(ctx.defer_raw());
        if self.owed.len() == self.most {
            for responder in self.owed.drain(..) {
                responder.reply(ctx, Payload::from_vec(vec![0; self.bytes]));
            }
        }
        Disposition::Handled
    }
}

/// Calls of a service of node 2.
fn call_from_elsewhere(worker: &mut Worker, to: Handle, calls: u32) {
    for session in (1..=calls).map(Session::from_bits) {
        let (source, body) = (Handle::from_bits(0x0200_0010), Body::Empty);
        let letter = Letter::Envelope(Envelope { source, dest: to, session, kind: Kind::TEXT, body });
        worker.post(to.into(), letter).expect("there is room");
    }
    run(worker);
}

#[test]
fn every_caller_on_another_node_is_answered_however_many_answers_come_at_once() {
    let (_runtime, mut worker, mut lanes) = linked();
    let calls = limits::LANE_MESSAGES_MAX as u32 + 10;
    let debtor = spawn(&mut worker, Debtor::new(calls as usize, 0)).handle;
    call_from_elsewhere(&mut worker, debtor, calls);
    let answers = std::iter::from_fn(|| lanes.take(2));
    let sessions = answers.map(|outgoing| match outgoing {
        Outgoing::Send(answer) if answer.kind == Kind::RESPONSE => answer.session.bits(),
        _ => panic!("no answer"),
    });
    assert!(sessions.eq(1..=calls));
    assert_eq!(worker.counters.read()[Count::Unanswered], 0);
}

#[test]
fn a_caller_on_another_node_hears_of_an_answer_that_fits_in_no_frame() {
    let (_runtime, mut worker, mut lanes) = linked();
    for (over, kind) in [(0, Kind::RESPONSE), (1, Kind::ERROR)] {
        let debtor = spawn(&mut worker, Debtor::new(1, limits::PAYLOAD_BYTES_MAX + over)).handle;
        call_from_elsewhere(&mut worker, debtor, 1);
        let Some(Outgoing::Send(answer)) = lanes.take(2) else { panic!("no answer with {over} too many") };
        assert_eq!((answer.kind, answer.session.bits(), answer.source), (kind, 1, debtor));
    }
}

/// Calls whom it is told to, for as long as it takes.
struct Caller;
struct Call(Handle);
impl Request for Call {
    type Reply = ();
}
impl Service for Caller {}
impl Handler<Call> for Caller {
    fn handle(&mut self, call: Call, ctx: &mut Context<'_, Self>) -> Reply<()> {
        ctx.call_raw(call.0, Kind::TEXT, b"?", super::super::NEVER, |_, _, _| {});
        Reply::Now(())
    }
}

#[test]
fn the_harbor_hears_of_a_call_that_went_away_and_was_answered_here() {
    let (runtime, mut worker, mut lanes) = linked();
    let (caller, here) = (spawn(&mut worker, Caller), spawn(&mut worker, Idle).handle);
    let there = Handle::from_bits(0x0200_0010);
    // Who is called, who answers, and whether the harbor cannot know.
    let rows = [(there, there, false), (there, here, true), (here, here, false)];
    for (session, (callee, source, expected)) in (1..).zip(rows) {
        runtime.send(&caller, Call(callee)).expect("it lives");
        let (dest, session) = (caller.handle, Session::from_bits(session));
        let answer = Envelope { source, dest, session, kind: Kind::RESPONSE, body: Body::Empty };
        run(&mut worker);
        worker.deliver(answer);
        run(&mut worker);
        let told = lanes.take(0).map(|outgoing| match outgoing {
            Outgoing::Ask(HarborRequest::Forget { waiter }) => waiter,
            Outgoing::Ask(_) | Outgoing::Send(_) => panic!("something else"),
        });
        assert_eq!(told, expected.then_some(Waiter { source: dest, session }), "{callee} {source}");
        assert!(lanes.take(1).is_none(), "a local call costs nothing");
    }
}

#[test]
fn a_caller_on_another_node_hears_of_an_answer_for_which_its_lane_has_no_room() {
    let (_runtime, mut worker, mut lanes) = linked();
    let bytes = 15 << 20;
    let fitting = (2 * limits::LANE_BYTES_MAX as usize).div_ceil(bytes);
    let debtor = spawn(&mut worker, Debtor::new(fitting + 2, bytes)).handle;
    call_from_elsewhere(&mut worker, debtor, fitting as u32 + 2);
    let kinds: Vec<Kind> = std::iter::from_fn(|| lanes.take(2))
        .map(|outgoing| match outgoing {
            Outgoing::Send(answer) => answer.kind,
            Outgoing::Ask(_) => panic!("no answer"),
        })
        .collect();
    assert_eq!(kinds[..fitting], vec![Kind::RESPONSE; fitting]);
    assert_eq!(kinds[fitting..], [Kind::ERROR, Kind::ERROR]);
}

/// Calls as often as it is told, and says how each call ended: how many bytes, or why not.
struct Collector(std::sync::mpsc::Sender<Result<usize, CallError>>);
struct Collect(Handle, usize);
impl Request for Collect {
    type Reply = ();
}
impl Service for Collector {}
impl Handler<Collect> for Collector {
    fn handle(&mut self, Collect(from, calls): Collect, ctx: &mut Context<'_, Self>) -> Reply<()> {
        for _ in 0..calls {
            ctx.call_raw(from, Kind::TEXT, b"?", super::super::NEVER, |me, _, result| {
                me.0.send(result.map(|reply| reply.len())).expect("the test listens");
            });
        }
        Reply::Now(())
    }
}

#[test]
fn a_caller_hears_of_an_answer_for_whose_bytes_the_node_has_no_room() {
    const BYTES: usize = 100_000;
    let (sender, _lanes) = Lanes::new(limits::SLOTS, Arc::new(Doorbell::new(Parker::new())));
    let (runtime, mut worker) = begin_within(10 * BYTES as u64, HarborId::new(1), Some(sender));
    let (said, heard) = std::sync::mpsc::channel();
    let caller = spawn(&mut worker, Collector(said));
    // Answers of this node.
    let debtor = spawn(&mut worker, Debtor::new(30, BYTES)).handle;
    runtime.send(&caller, Collect(debtor, 30)).expect("it lives");
    run(&mut worker);
    let ends: Vec<_> = heard.try_iter().collect();
    let answered = ends.iter().filter(|end| **end == Ok(BYTES)).count();
    assert!((18..=20).contains(&answered), "{answered}: twice as many bytes as it may hold");
    assert!(ends[answered..].iter().eq(&vec![Err(CallError::Full); 30 - answered]), "{ends:?}");
    // Answers of another.
    let there = Handle::from_bits(0x0200_0010);
    runtime.send(&caller, Collect(there, 2)).expect("it lives");
    run(&mut worker);
    let mut inlet = runtime.inlet();
    inlet.online();
    for (session, bytes) in [(31, 21 * BYTES), (32, BYTES)] {
        let body = Body::Bytes(Payload::from_vec(vec![0; bytes]));
        let session = Session::from_bits(session);
        let answer = Envelope { source: there, dest: caller.handle, session, kind: Kind::RESPONSE, body };
        assert_eq!(inlet.complete(answer).is_ok(), bytes == BYTES);
    }
    inlet.offline();
    run(&mut worker);
    assert!(heard.try_iter().eq([Err(CallError::Full), Ok(BYTES)]));
}

#[test]
fn a_full_lane_of_requests_takes_the_farewell() {
    let (runtime, worker, mut lanes) = linked();
    let waiter = Waiter { source: Handle::NONE, session: Session::NONE };
    let request = || Outgoing::Ask(HarborRequest::Forget { waiter });
    while worker.shared.send_up(0, request(), Room::Bounded).is_ok() {}
    runtime.leave();
    let last = std::iter::from_fn(|| lanes.take(0)).last();
    assert!(matches!(last, Some(Outgoing::Ask(HarborRequest::Leave))));
}

/// Takes a millisecond for each message, and has always another.
struct Slowpoke;
impl Service for Slowpoke {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        Ok(ctx.send_raw(ctx.handle(), Kind::TEXT, Session::NONE, Payload::default())?)
    }
    fn message(&mut self, ctx: &mut Context<'_, Self>, _: Message) -> Disposition {
        let begin = ctx.now();
        while ctx.now().since(begin) < Duration::from_millis(1) {}
        ctx.send_raw(ctx.handle(), Kind::TEXT, Session::NONE, Payload::default()).expect("it lives");
        Disposition::Handled
    }
}

#[test]
fn what_comes_from_outside_waits_for_few_turns_of_slow_services() {
    let (_runtime, mut worker) = runtime();
    let step = |worker: &mut Worker| {
        let token = worker.next().expect("there is always work");
        worker.step(token);
    };
    let witness = spawn(&mut worker, Idle);
    run(&mut worker);
    for _ in 0..4 {
        spawn(&mut worker, Slowpoke);
    }
    while worker.turns % limits::GLOBAL_TURNS_MAX != 1 {
        step(&mut worker);
    }
    let (source, dest) = (witness.handle, witness.handle);
    let body = Body::Bytes(Payload::default());
    let envelope = Envelope { source, dest, session: Session::NONE, kind: Kind::TEXT, body };
    worker.shared.door().post(witness.into(), Letter::Envelope(envelope)).expect("it lives");
    assert!(!worker.shared.global.is_empty());
    step(&mut worker);
    step(&mut worker);
    assert!(worker.shared.global.is_empty(), "the ring alone had turns");
}
