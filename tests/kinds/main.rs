//! What messages of each type mean, between services of one node and over a link to a node that is played by hand.

mod answers;
mod liveness;
mod multicast;
mod peer;

use peer::{Frame, Peer};
use serde::{Deserialize, Serialize};
use skyharbor::prelude::*;
use skyharbor::seri::{Value, pack, unpack};
use skyharbor::services::Echo;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

#[derive(Serialize, Deserialize)]
struct Add(i64);
impl Request for Add {
    type Reply = i64;
}
impl Wire for Add {
    const NAME: &'static str = "add";
}

#[derive(Default)]
struct Counter {
    total: i64,
}
impl Service for Counter {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Add>();
    }
}
impl Handler<Add> for Counter {
    fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) -> Reply<i64> {
        self.total += add.0;
        Reply::Now(self.total)
    }
}

/// Passes every `Add` on.
struct Front(Addr<Counter>);
impl Service for Front {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Add>();
    }
}
impl Handler<Add> for Front {
    fn handle(&mut self, add: Add, ctx: &mut Context<'_, Self>) -> Reply<i64> {
        ctx.forward_request(&self.0, add)
    }
}

/// Passes every raw message on.
struct Relay(Destination);
impl Service for Relay {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        ctx.forward(self.0, message)
    }
}

/// Tells the test what it hears, and does what the test wants.
struct Probe(Sender<Heard>);

#[derive(Debug, PartialEq)]
enum Heard {
    Message(Kind, Handle, u32, Vec<u8>),
    Answer(u32, Result<Vec<u8>, CallError>),
    Event(&'static str, Result<(), CallError>),
}

type Deed = Box<dyn FnOnce(&mut Probe, &mut Context<'_, Probe>) + Send>;
struct Do(Deed);
impl Request for Do {
    type Reply = ();
}

impl Probe {
    fn tell(&self, heard: Heard) {
        self.0.send(heard).expect("the test listens");
    }

    /// Calls for as long as it takes.
    fn call(&mut self, ctx: &mut Context<'_, Self>, number: u32, to: impl Into<Destination>) {
        ctx.call_raw(to, Kind::TEXT, b"?", NEVER, move |me, _, result| {
            me.tell(Heard::Answer(number, result.map(Payload::into_vec)));
        });
    }
}

impl Service for Probe {
    fn message(&mut self, _: &mut Context<'_, Self>, message: Message) -> Disposition {
        let (kind, source, session) = (message.kind(), message.source(), message.session().bits());
        self.tell(Heard::Message(kind, source, session, message.into_payload().into_vec()));
        Disposition::Unhandled
    }
}
impl Handler<Do> for Probe {
    fn handle(&mut self, todo: Do, ctx: &mut Context<'_, Self>) -> Reply<()> {
        (todo.0)(self, ctx);
        Reply::Now(())
    }
}

/// Node 1 with its master, and a probe.
struct World {
    master: String,
    node: Node,
    probe: Addr<Probe>,
    heard: Receiver<Heard>,
}

impl World {
    fn new() -> Self {
        Self::with(|config| config)
    }

    fn with(settings: impl FnOnce(Config) -> Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let master = listener.local_addr().expect("it is bound").to_string();
        drop(listener);
        let config = Config::local().harbor(1).address("127.0.0.1:0").standalone(master.clone()).threads(1);
        let node = Node::start(settings(config)).expect("the standalone node starts");
        let (sender, heard) = channel();
        let probe = node.spawn("probe", Probe(sender)).expect("it starts");
        node.wait_linked_to_itself();
        Self { master, node, probe, heard }
    }

    fn join(&self, id: u8) -> Peer {
        Peer::join(&self.master, id)
    }

    fn does(&self, deed: impl FnOnce(&mut Probe, &mut Context<'_, Probe>) + Send + 'static) {
        self.node.call_blocking(&self.probe, Do(Box::new(deed)), secs(20)).expect("the probe lives");
    }

    fn heard(&self) -> Heard {
        self.heard.recv_timeout(secs(20)).expect("the probe tells what it hears")
    }

    /// The next answers, by number.
    fn answers(&self, count: usize) -> Vec<(u32, Result<Vec<u8>, CallError>)> {
        let mut answers: Vec<_> = (0..count)
            .map(|_| match self.heard() {
                Heard::Answer(number, result) => (number, result),
                other => panic!("no answer: {other:?}"),
            })
            .collect();
        answers.sort_by_key(|(number, _)| *number);
        answers
    }

    fn pending(&self, peer: u8) -> usize {
        let peers = self.node.status().expect("the harbor answers").peers;
        peers.iter().find(|status| status.harbor.get() == peer).map_or(0, |status| status.pending)
    }

    fn end(self) {
        self.node.shutdown(secs(10)).expect("all threads end");
    }
}

trait Settled {
    fn wait_linked_to_itself(&self);
}

impl Settled for Node {
    /// The slave of the standalone node is a member: whoever joins the master now is dialled by it.
    fn wait_linked_to_itself(&self) {
        while !self.status().expect("the harbor answers").master_up {
            std::thread::yield_now();
        }
    }
}

fn lua(values: &[Value]) -> Vec<u8> {
    pack(values).expect("they can be packed")
}

fn text(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

// ERROR.

#[test]
fn an_error_without_a_session_ends_every_call_to_its_source() {
    let world = World::new();
    let mut lua_node = world.join(2);
    let (dying, other) = (lua_node.service(0x20), lua_node.service(0x21));
    world.does(move |probe, ctx| {
        for number in 0..3 {
            probe.call(ctx, number, dying);
        }
        probe.call(ctx, 3, other);
        // Nobody has this name yet.
        probe.call(ctx, 4, ctx.global("DYING"));
    });
    lua_node.register("DYING", 0x20);
    let calls: Vec<Frame> = (0..5).map(|_| lua_node.read()).collect();
    assert_eq!(calls.iter().filter(|call| call.dest == 0x20).count(), 4);
    lua_node.write(0x20, world.probe.handle(), Kind::ERROR, 0, b"");
    let dead = |number| (number, Err(CallError::NoService));
    assert_eq!(world.answers(4), [dead(0), dead(1), dead(2), dead(4)]);
    assert_eq!(world.pending(2), 1, "the harbor has forgotten them too");
    let open = calls.iter().find(|call| call.dest == 0x21).expect("it was called");
    lua_node.write(0x21, world.probe.handle(), Kind::RESPONSE, open.session, b"yes");
    assert_eq!(world.answers(1), [(3, Ok(b"yes".to_vec()))]);
    world.end();
}

#[test]
fn nobody_but_its_node_says_that_a_service_is_dead() {
    let world = World::new();
    let mut lua_node = world.join(2);
    let callee = lua_node.service(0x20);
    world.does(move |probe, ctx| {
        probe.call(ctx, 0, callee);
        ctx.redirect(ctx.handle(), callee, Kind::ERROR, Session::NONE, b"").expect("it lives");
    });
    let call = lua_node.read();
    // Node 2 cannot bury a service of this node either.
    let local = world.node.spawn("silent", Silent::default()).expect("it starts").handle();
    world.does(move |probe, ctx| probe.call(ctx, 1, local));
    lua_node.write_as(local, world.probe.handle(), Kind::ERROR, 0, b"");
    lua_node.write(0x20, world.probe.handle(), Kind::RESPONSE, call.session, b"yes");
    assert_eq!(world.answers(1), [(0, Ok(b"yes".to_vec()))]);
    world.end();
}

#[test]
fn an_error_with_a_session_ends_that_call() {
    let world = World::new();
    let mut lua_node = world.join(2);
    let callee = lua_node.service(0x20);
    world.does(move |probe, ctx| (0..2).for_each(|number| probe.call(ctx, number, callee)));
    let calls = [lua_node.read(), lua_node.read()];
    lua_node.write(0x20, world.probe.handle(), Kind::ERROR, calls[1].session, b"");
    assert_eq!(world.answers(1), [(1, Err(CallError::Remote))]);
    assert_eq!(world.pending(2), 1);
    world.end();
}

/// Keeps every request, until it is told to say that it is dead.
#[derive(Default)]
struct Silent(Vec<Responder<Payload>>);
impl Service for Silent {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        self.0.push(ctx.defer_raw());
        if message.kind() == Kind::CLIENT {
            ctx.send_raw(message.source(), Kind::ERROR, Session::NONE, b"").expect("the probe lives");
        }
        Disposition::Handled
    }
}

#[test]
fn a_service_of_the_same_node_may_say_that_it_is_dead() {
    let world = World::new();
    let silent = world.node.spawn("silent", Silent::default()).expect("it starts");
    let echo = world.node.spawn("echo", Echo).expect("it starts");
    world.does(move |probe, ctx| {
        for number in 0..2_000 {
            probe.call(ctx, number, silent);
        }
        ctx.send_raw(silent, Kind::CLIENT, Session::NONE, b"").expect("it lives");
        probe.call(ctx, 2_000, echo);
    });
    let answers = world.answers(2_001);
    assert!(answers[..2_000].iter().all(|(_, result)| *result == Err(CallError::NoService)));
    assert_eq!(answers[2_000], (2_000, Ok(b"?".to_vec())));
    world.end();
}

// TRACE.

#[test]
fn a_trace_tag_reaches_the_raw_door_and_is_never_answered() {
    let world = World::new();
    let mut lua_node = world.join(2);
    let counter = world.node.spawn("counter", Counter::default()).expect("it starts").handle();
    let echo = world.node.spawn("echo", Echo).expect("it starts").handle();
    let tag = b":02000010-1";
    for session in [0, 9] {
        lua_node.write(0x10, counter, Kind::TRACE, session, tag);
        lua_node.write(0x10, echo, Kind::TRACE, session, tag);
        lua_node.write(0x10, world.probe.handle(), Kind::TRACE, session, tag);
        let heard = Heard::Message(Kind::TRACE, lua_node.service(0x10), session, tag.to_vec());
        assert_eq!(world.heard(), heard, "it comes before its call");
        let answer = lua_node.call(counter, Kind::LUA, 9, &lua(&[text("add"), Value::Int(1)]));
        assert_eq!(answer.kind, Kind::RESPONSE, "nothing was written before");
        assert_eq!(lua_node.call(echo, Kind::TEXT, 9, b"x").payload, b"x");
    }
    // Passed on, the tag stays before its call.
    let behind = lua_node.service(0x30);
    let relay = world.node.spawn("relay", Relay(behind.into())).expect("it starts").handle();
    lua_node.write(0x10, relay, Kind::TRACE, 0, tag);
    lua_node.write(0x10, relay, Kind::TEXT, 5, b"call");
    let (first, second) = (lua_node.read(), lua_node.read());
    assert_eq!(
        (first.kind, first.source, &first.payload[..]),
        (Kind::TRACE, lua_node.service(0x10), &tag[..])
    );
    assert_eq!((second.kind, second.session), (Kind::TEXT, 5));
    world.end();
}

// DEBUG.

#[test]
fn debug_is_refused_but_for_ping_unless_the_service_wants_it() {
    let world = World::new();
    let mut lua_node = world.join(2);
    let counter = world.node.spawn("counter", Counter::default()).expect("it starts").handle();
    let (ping, run) = (lua(&[text("PING")]), lua(&[text("RUN"), text("os.exit()")]));
    let pong = lua_node.call(counter, Kind::DEBUG, 7, &ping);
    assert_eq!(
        (pong.kind, pong.payload),
        (Kind::RESPONSE, Vec::new()),
        "as Lua's skynet.ret() without a value"
    );
    assert_eq!(lua_node.call(counter, Kind::DEBUG, 8, &run).kind, Kind::ERROR);
    assert_eq!(lua_node.call(counter, Kind::DEBUG, 8, b"\xff").kind, Kind::ERROR);
    assert_eq!(lua_node.call(world.probe.handle(), Kind::DEBUG, 8, &run).kind, Kind::ERROR);
    for quiet in [&ping, &run] {
        // An ERROR with session 0 would say that the service is dead.
        lua_node.write(0x10, counter, Kind::DEBUG, 0, quiet);
    }
    let nobody = Handle::new(HarborId::new(1), 5);
    assert_eq!(lua_node.call(nobody, Kind::DEBUG, 9, &ping).kind, Kind::ERROR, "who is dead does not answer");
    let local = world.node.call_raw_blocking(counter, Kind::DEBUG, run.clone(), secs(20));
    assert_eq!(local, Err(CallError::Denied), "on the same node too");
    let (sender, heard) = channel();
    let open = world.node.spawn_with("open", Spawn::new().debug(), move || Probe(sender)).expect("it starts");
    assert_eq!(
        lua_node.call(open.handle(), Kind::DEBUG, 10, &run).kind,
        Kind::ERROR,
        "the probe takes nothing"
    );
    let heard = heard.recv_timeout(secs(20)).expect("it saw the command");
    assert_eq!(heard, Heard::Message(Kind::DEBUG, lua_node.service(0x10), 10, run));
    world.end();
}

// SYSTEM, HARBOR, SOCKET.

#[test]
fn system_harbor_and_socket_messages_cross_no_link() {
    let world = World::new();
    let mut lua_node = world.join(2);
    let (probe, there) = (world.probe.handle(), lua_node.service(0x20));
    for kind in [Kind::SYSTEM, Kind::HARBOR, Kind::SOCKET] {
        lua_node.write(0x10, probe, kind, 3, b"pointer!");
        world.does(move |_, ctx| {
            let refused = ctx.send_raw(there, kind, Session::NONE, b"x").expect_err("it may not leave");
            assert_eq!((refused.reason, &refused.message[..]), (SendReason::Denied, &b"x"[..]));
            let refused =
                ctx.redirect(there, there, kind, Session::NONE, b"x").expect_err("it may not leave");
            assert_eq!(refused.reason, SendReason::Denied);
            let named = ctx.send_raw(ctx.global("NOBODY"), kind, Session::NONE, b"x");
            assert_eq!(named.expect_err("it may not leave").reason, SendReason::Denied);
        });
        let called = world.node.call_raw_blocking(there, kind, b"x", secs(20));
        assert_eq!(called, Err(CallError::Denied));
    }
    lua_node.write(0x10, probe, Kind::TEXT, 0, b"end");
    let heard = Heard::Message(Kind::TEXT, lua_node.service(0x10), 0, b"end".to_vec());
    assert_eq!(world.heard(), heard, "nothing came before");
    world.does(move |_, ctx| ctx.send_raw(there, Kind::TEXT, Session::NONE, b"end").expect("the link is up"));
    assert_eq!(lua_node.read().payload, b"end", "nothing was written before");
    world.end();
}

// Forwarding.

#[test]
fn a_request_passed_on_to_another_node_belongs_to_its_asker() {
    let world = World::new();
    let (mut asker, mut callee) = (world.join(2), world.join(3));
    let relay = world.node.spawn("relay", Relay(callee.service(0x30).into())).expect("it starts").handle();
    asker.write(0x10, relay, Kind::LUA, 77, b"\x24work");
    let request = callee.read();
    assert_eq!((request.source, request.session, request.dest), (asker.service(0x10), 77, 0x30));
    assert_eq!(world.pending(3), 1, "as an entry of the asker");
    // A service of this node asks through the same relay; the answer comes straight to it.
    world.does(move |probe, ctx| probe.call(ctx, 1, relay));
    let request = callee.read();
    assert_eq!((request.source, world.pending(3)), (world.probe.handle(), 2));
    callee.write(0x30, request.source, Kind::RESPONSE, request.session, b"done");
    assert_eq!(world.answers(1), [(1, Ok(b"done".to_vec()))]);
    assert_eq!(world.pending(3), 1);
    // The callee's node is lost: the asker is told, whose node would not notice.
    drop(callee);
    let error = asker.read();
    assert_eq!((error.kind, error.session, error.dest), (Kind::ERROR, 77, 0x10));
    asker.write(0x10, relay, Kind::LUA, 78, b"");
    let error = asker.read();
    assert_eq!((error.kind, error.session), (Kind::ERROR, 78), "the next one fails at once");
    world.end();
}

#[test]
fn the_harbor_forgets_a_call_that_was_passed_on_and_given_up() {
    let world = World::new();
    let mut callee = world.join(3);
    let relay = world.node.spawn("relay", Relay(callee.service(0x30).into())).expect("it starts").handle();
    let ended = world.node.call_raw_blocking(relay, Kind::TEXT, b"x", millis(100));
    assert_eq!(ended, Err(CallError::Timeout));
    assert_eq!(callee.read().payload, b"x");
    while world.pending(3) > 0 {
        std::thread::yield_now();
    }
    world.end();
}

#[test]
fn a_typed_request_is_passed_on_and_answered_in_the_form_of_its_asker() {
    let world = World::new();
    let mut lua_node = world.join(2);
    let counter = world.node.spawn("counter", Counter::default()).expect("it starts");
    let front = world.node.spawn("front", Front(counter)).expect("it starts");
    assert_eq!(world.node.call_blocking(&front, Add(2), secs(20)), Ok(2), "as a value");
    assert_eq!(world.node.call_blocking(&front.handle(), Add(3), secs(20)), Ok(5), "as bytes");
    lua_node.write(0x10, front.handle(), Kind::LUA, 5, &lua(&[text("add"), Value::Int(4)]));
    let answer = lua_node.read();
    assert_eq!((answer.kind, answer.session, answer.source), (Kind::RESPONSE, 5, counter.handle()));
    assert_eq!(unpack(&answer.payload), Ok(vec![Value::Int(9)]));
    world.node.send(&front, Add(1)).expect("it lives");
    world.node.kill(counter).expect("it lives");
    let gone = world.node.call_blocking(&front, Add(1), secs(20));
    assert_eq!(gone, Err(CallError::NoService));
    lua_node.write(0x10, front.handle(), Kind::LUA, 6, &lua(&[text("add"), Value::Int(4)]));
    let answer = lua_node.read();
    assert_eq!((answer.kind, answer.session), (Kind::ERROR, 6));
    world.end();
}

#[test]
fn a_redirected_message_has_the_source_and_the_session_that_it_was_given() {
    let world = World::new();
    let (mut receiver, asker) = (world.join(2), world.join(3));
    let (to, source) = (receiver.service(0x20), asker.service(0x30));
    world.does(move |_, ctx| {
        ctx.redirect(to, source, Kind::MULTICAST, Session::from_bits(0x102), b"x").expect("the link is up");
        ctx.redirect(ctx.handle(), source, Kind::TEXT, Session::from_bits(9), b"y").expect("it lives");
    });
    let payload = b"x".to_vec();
    assert_eq!(receiver.read(), Frame { source, dest: 0x20, kind: Kind::MULTICAST, session: 0x102, payload });
    assert_eq!(world.heard(), Heard::Message(Kind::TEXT, source, 9, b"y".to_vec()));
    assert_eq!(world.pending(2), 0, "a channel is no call");
    world.end();
}

// Full mailboxes.

#[test]
fn a_full_mailbox_takes_the_answer_from_another_node_and_refuses_what_nobody_asked_for() {
    let world = World::new();
    let mut lua_node = world.join(2);
    let callee = lua_node.service(0x20);
    let (sender, heard) = channel();
    let options = Spawn::new().mailbox(Bounded::messages(1));
    let small = world.node.spawn_with("small", options, move || Probe(sender)).expect("it starts");
    let (gate, inside) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (opened, entered) = (Arc::clone(&gate), Arc::clone(&inside));
    let wait = Do(Box::new(move |probe: &mut Probe, ctx: &mut Context<'_, Probe>| {
        probe.call(ctx, 1, callee);
        entered.store(true, Ordering::Release);
        while !opened.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }));
    world.node.send(&small, wait).expect("it lives");
    while !inside.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    while world.node.send(&small, Do(Box::new(|_, _| {}))).is_ok() {}
    let call = lua_node.read();
    lua_node.write(0x20, small.handle(), Kind::RESPONSE, call.session, b"here");
    // These exceed the bound: one is refused, the others, which nobody asked for, are dropped without a word.
    lua_node.write(0x20, small.handle(), Kind::RESPONSE, 12345, b"late");
    lua_node.write(0x20, small.handle(), Kind::TEXT, 0, b"dropped");
    let refused = lua_node.call(small.handle(), Kind::TEXT, 5, b"refused");
    assert_eq!((refused.kind, refused.session), (Kind::ERROR, 5), "never with session 0: it is not dead");
    gate.store(true, Ordering::Release);
    let answer = heard.recv_timeout(secs(20)).expect("the answer is there");
    assert_eq!(answer, Heard::Answer(1, Ok(b"here".to_vec())));
    world.end();
}

// What skynet.harbor asks.

#[test]
fn a_service_waits_for_a_node_and_for_its_loss() {
    let world = World::new();
    world.does(|_, ctx| {
        let two = HarborId::new(2);
        ctx.connect(two, NEVER, |me, _, up| me.tell(Heard::Event("up", up)));
        ctx.link(HarborId::new(9), NEVER, |me, _, down| me.tell(Heard::Event("never there", down)));
    });
    assert_eq!(world.heard(), Heard::Event("never there", Ok(())), "at once");
    let lua_node = world.join(2);
    assert_eq!(world.heard(), Heard::Event("up", Ok(())));
    world.does(|_, ctx| {
        let (two, three) = (HarborId::new(2), HarborId::new(3));
        ctx.connect(two, NEVER, |me, _, up| me.tell(Heard::Event("still up", up)));
        ctx.connect(three, millis(20), |me, _, up| me.tell(Heard::Event("in vain", up)));
        ctx.link(two, NEVER, |me, _, down| me.tell(Heard::Event("down", down)));
    });
    assert_eq!(world.heard(), Heard::Event("still up", Ok(())));
    assert_eq!(world.heard(), Heard::Event("in vain", Err(CallError::Timeout)));
    drop(lua_node);
    assert_eq!(world.heard(), Heard::Event("down", Ok(())));
    world.end();
}

#[test]
fn a_name_is_waited_for_until_its_deadline() {
    let world = World::new();
    let mut lua_node = world.join(2);
    let found = |number: u32| {
        move |me: &mut Probe, _: &mut Context<'_, Probe>, found: Result<Handle, CallError>| {
            me.tell(Heard::Answer(number, found.map(|handle| handle.to_string().into_bytes())));
        }
    };
    world.does(move |_, ctx| {
        ctx.query("NOBODY".parse().expect("a name"), millis(20), found(1));
        ctx.query("LATER".parse().expect("a name"), NEVER, found(2));
    });
    let nobody = "NOBODY".parse().expect("a name");
    assert_eq!(world.answers(1), [(1, Err(CallError::NoName(nobody)))]);
    lua_node.register("LATER", 0x20);
    assert_eq!(world.answers(1), [(2, Ok(b":02000020".to_vec()))]);
    world.end();
}

#[test]
fn a_service_hears_of_the_loss_of_the_master() {
    let world = World::new();
    let config = Config::local().harbor(7).address("127.0.0.1:0").master(world.master.clone()).threads(1);
    let slave = Node::start(config).expect("it starts");
    slave.wait_linked_to_itself();
    let (sender, heard) = channel();
    let probe = slave.spawn("probe", Probe(sender)).expect("it starts");
    let wait = Do(Box::new(|_, ctx| {
        ctx.link_master(millis(20), |me, _, lost| me.tell(Heard::Event("not yet", lost)));
        ctx.link_master(NEVER, |me, _, lost| me.tell(Heard::Event("lost", lost)));
    }));
    slave.call_blocking(&probe, wait, secs(20)).expect("it lives");
    let next = || heard.recv_timeout(secs(20)).expect("it is told");
    assert_eq!(next(), Heard::Event("not yet", Err(CallError::Timeout)));
    world.end();
    assert_eq!(next(), Heard::Event("lost", Ok(())));
    slave.shutdown(secs(10)).expect("all threads end");
}

#[test]
fn a_node_that_is_alone_answers_the_same_questions() {
    let node = Node::start(Config::local().threads(1)).expect("it starts");
    let (sender, heard) = channel();
    let probe = node.spawn("probe", Probe(sender)).expect("it starts");
    let ask = Do(Box::new(|_, ctx| {
        let two = HarborId::new(2);
        ctx.connect(two, NEVER, |me, _, up| me.tell(Heard::Event("connect", up)));
        ctx.link(two, NEVER, |me, _, down| me.tell(Heard::Event("link", down)));
        ctx.link_master(NEVER, |me, _, lost| me.tell(Heard::Event("master", lost)));
    }));
    node.call_blocking(&probe, ask, secs(20)).expect("it lives");
    let next = || heard.recv_timeout(secs(20)).expect("it is told");
    assert_eq!(next(), Heard::Event("connect", Err(CallError::PeerDown(HarborId::new(2)))));
    assert_eq!(next(), Heard::Event("link", Ok(())));
    assert_eq!(next(), Heard::Event("master", Ok(())));
    node.shutdown(secs(10)).expect("all threads end");
}
