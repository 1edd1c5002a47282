//! The built-in services through the public API.

use skyharbor::limits::{DATACENTER_WAKE_BYTES_MAX, UNIQUE_WAITERS_MAX};
use skyharbor::node::ServiceKind;
use skyharbor::prelude::*;
use skyharbor::seri::{Table, Value, pack, unpack};
use skyharbor::services::{DataCenter, Echo, Factories, Kv, ServiceManager};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn text(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

#[test]
fn echo_answers_what_it_got_in_bytes_of_any_kind_and_in_values() {
    #[derive(Debug, PartialEq)]
    struct Ping(Vec<u32>);
    impl Request for Ping {
        type Reply = Ping;
    }
    let node = Node::start(Config::local().threads(1)).unwrap();
    let echo = node.spawn("echo", Echo).unwrap();
    for kind in [Kind::TEXT, Kind::LUA, Kind::CLIENT, Kind(200)] {
        for bytes in [&b""[..], b"hello", &[0xff; 100_000]] {
            let reply = node.call_raw_blocking(echo, kind, bytes, secs(5)).unwrap();
            assert_eq!(&reply[..], bytes, "{kind:?}");
        }
    }
    assert_eq!(node.call_blocking(&echo, Ping(vec![1, 2]), secs(5)).unwrap(), Ping(vec![1, 2]));
    node.shutdown(secs(5)).unwrap();
}

#[test]
fn kv_keeps_values_by_key() {
    let node = Node::start(Config::local().threads(1)).unwrap();
    let kv = node.spawn("kv", Kv::default()).unwrap();
    node.register_global("KV", &kv).unwrap();
    let name: Name = "KV".parse().unwrap();
    let call = |kind, values: &[Value]| node.call_raw_blocking(name, kind, pack(values).unwrap(), secs(5));
    let told = |reply: Payload| unpack(&reply).unwrap();
    let set = [text("set"), text("k"), Value::Int(5)];
    assert_eq!(call(Kind::LUA, &set).map(told), Ok(vec![Value::Nil]));
    assert_eq!(call(Kind::LUA, &set).map(told), Ok(vec![Value::Int(5)]));
    assert_eq!(call(Kind::LUA, &[text("get"), text("k")]).map(told), Ok(vec![Value::Int(5)]));
    assert_eq!(call(Kind::LUA, &[text("get")]).map(told), Err(CallError::Failed(Kv::BAD_KEY)));
    assert_eq!(call(Kind::TEXT, &set).map(told), Err(CallError::Unhandled));
    node.shutdown(secs(5)).unwrap();
}

// What a standalone node offers to its cluster. Requests are the bytes that a real Skynet node sends.

/// A standalone node and a slave.
struct Pair {
    master: Node,
    slave: Node,
}

/// An address that nobody listens on at this moment.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").to_string()
}

impl Pair {
    fn new(config: impl FnOnce(Config) -> Config) -> Self {
        let address = free_address();
        let standalone = Config::local().harbor(1).address("127.0.0.1:0").standalone(&*address).threads(2);
        let master = Node::start(config(standalone)).expect("the standalone node starts");
        let slave = Config::local().harbor(200).address("127.0.0.1:0").master(address).threads(2);
        Self { master, slave: Node::start(slave).expect("the slave starts") }
    }

    /// From the slave, over the link.
    fn call(&self, name: &str, bytes: &[u8]) -> Result<Vec<u8>, CallError> {
        call(&self.slave, name, bytes)
    }

    fn values(&self, name: &str, bytes: &[u8]) -> Vec<Value> {
        unpack(&self.call(name, bytes).expect("an answer")).expect("packed values")
    }

    fn service(&self, bytes: &[u8]) -> Vec<Value> {
        self.values("SERVICE", bytes)
    }

    /// What `LIST` says of each name.
    fn list(&self) -> Vec<(String, String)> {
        let Some(Value::Table(table)) = self.service(b"\x24LIST").pop() else {
            panic!("LIST answers a table")
        };
        assert!(table.array.is_empty());
        let text = |value: &Value| value.as_str().expect("texts").to_owned();
        let mut list: Vec<_> = table.pairs.iter().map(|(name, state)| (text(name), text(state))).collect();
        list.sort();
        list
    }

    /// Waits until so many wait for the name.
    fn wait_for_waiters(&self, name: &str, count: usize) {
        let waiters = |state: &str| state.lines().filter(|line| line.starts_with(':')).count();
        while !self.list().iter().any(|(listed, state)| listed == name && waiters(state) == count) {
            std::thread::yield_now();
        }
    }

    fn shutdown(self) {
        self.slave.shutdown(secs(10)).expect("all threads end");
        self.master.shutdown(secs(10)).expect("all threads end");
    }
}

fn call(node: &Node, name: &str, bytes: &[u8]) -> Result<Vec<u8>, CallError> {
    let name: Name = name.parse().expect("a name");
    node.call_raw_blocking(name, Kind::LUA, bytes, secs(20)).map(Payload::into_vec)
}

fn refusal(values: &[Value]) -> &str {
    let [Value::Nil, Value::Bytes(reason)] = values else { panic!("{values:?} is no refusal") };
    std::str::from_utf8(reason).expect("a text")
}

fn handle(values: &[Value]) -> Handle {
    let [Value::Int(bits)] = values else { panic!("{values:?} is no handle") };
    Handle::from_bits(u32::try_from(*bits).expect("a handle"))
}

/// Answers with the arguments that it was launched with; ends when it is told to.
struct Room(Vec<Value>);
impl Service for Room {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        if message.kind() == Kind::TEXT {
            ctx.exit();
        }
        ctx.reply(pack(&self.0).expect("they were packed before"));
        Disposition::Handled
    }
}

fn room(arguments: &[Value]) -> Result<Room, StartError> {
    match arguments.first() {
        Some(Value::Nil) => Err(StartError::new("a room has a size")),
        Some(Value::Bool(_)) => panic!("on purpose"),
        _ => Ok(Room(arguments.to_vec())),
    }
}

#[test]
fn service_answers_the_bytes_of_real_nodes() {
    let pair = Pair::new(|config| config.service_kind("room", room));
    // A boot: REPORT with the handle of a slave's own service manager.
    assert_eq!(pair.call("SERVICE", b"\x34REPORT\x32\x06\x00\x00\xc8\x00\x00\x00\x00"), Ok(vec![0]));
    // skynet.uniqueservice(true, "room", 64, "hall"), by way of the slave's own service manager.
    let launched = handle(&pair.service(b"\x34LAUNCH\x2c@room\x0a\x40\x24hall"));
    assert_eq!(launched.harbor(), HarborId::new(1));
    let arguments = pair.slave.call_raw_blocking(launched, Kind::LUA, &b""[..], secs(20)).expect("it lives");
    assert_eq!(&arguments[..], b"\x0a\x40\x24hall");
    // Launched once, found under its name.
    assert_eq!(handle(&pair.service(b"\x34LAUNCH\x2c@room\x0a\x01")), launched);
    assert_eq!(handle(&pair.service(b"\x3cGLAUNCH\x24room")), launched);
    assert_eq!(handle(&pair.service(b"\x2cQUERY\x2c@room")), launched);
    assert_eq!(handle(&pair.service(b"\x34GQUERY\x24room")), launched);
    // Without the mark it is another one.
    let other = handle(&pair.service(b"\x34LAUNCH\x24room"));
    assert_ne!(other, launched);
    assert_eq!(handle(&pair.service(b"\x2cQUERY\x24room")), other);
    let (launched, other) = (launched.to_string(), other.to_string());
    assert_eq!(pair.list(), [("@room".to_owned(), launched), ("room".to_owned(), other)]);
    pair.shutdown();
}

#[test]
fn service_refuses_in_values_or_with_an_error_as_real_nodes_do() {
    let pair = Pair::new(|config| config.service_kind("room", room));
    for (bytes, reason) in [
        (&b"\x34LAUNCH\x24@cat"[..], "no service is called cat"),
        (b"\x34LAUNCH\x34@snaxd\x1ccat", "no service is called snaxd.cat"),
        (b"\x34LAUNCH\x1c@\xff\xfe", "no service is called \\xff\\xfe"),
        (b"\x34LAUNCH\x2c@room\x00", "the service did not start: a room has a size"),
        (b"\x2cQUERY\x2c@room", "the service did not start: a room has a size"),
        (b"\x34LAUNCH\x2c@room\x09", "the launch failed: the callee panicked"),
        (b"\x34LAUNCH", "a unique service has a name"),
        (b"\x34REPORT", "a service manager has a handle"),
        (b"\x34remove", "Invalid command remove"),
    ] {
        assert_eq!(refusal(&pair.service(bytes)), reason);
    }
    for bytes in [&b""[..], b"\x00", b"\x09", b"\x06\x00", b"\x34LAU"] {
        assert_eq!(pair.call("SERVICE", bytes), Err(CallError::Remote), "{bytes:?}");
    }
    let service: Name = "SERVICE".parse().unwrap();
    let refused = pair.slave.call_raw_blocking(service, Kind::TEXT, b"\x24LIST", secs(20));
    assert_eq!(refused, Err(CallError::Remote));
    // A failure stays until it is launched again.
    let reason = "Error: the launch failed: the callee panicked".to_owned();
    assert_eq!(pair.list(), [("@room".to_owned(), reason)]);
    handle(&pair.service(b"\x34LAUNCH\x2c@room"));
    pair.shutdown();
}

#[test]
fn everyone_who_waits_for_a_service_learns_what_became_of_it() {
    let launches = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&launches);
    let slow = move |_: &[Value]| match counted.fetch_add(1, Ordering::Relaxed) {
        0 => Err(StartError::new("not today")),
        _ => Ok(Room(Vec::new())),
    };
    let pair = Pair::new(|config| config.service_kind("room", slow));
    for succeeds in [false, true] {
        std::thread::scope(|scope| {
            let query = || pair.service(b"\x2cQUERY\x2c@hall");
            let hall: Vec<_> = (0..3).map(|_| scope.spawn(query)).collect();
            pair.wait_for_waiters("@hall", 3);
            assert_eq!(refusal(&pair.service(b"\x34LAUNCH\x2c@hall")), "no service is called hall");
            for waiting in hall {
                assert_eq!(refusal(&waiting.join().expect("no panic")), "no service is called hall");
            }
            let launch = || pair.service(b"\x34LAUNCH\x2c@room");
            let rooms: Vec<_> = (0..4).map(|_| scope.spawn(launch)).collect();
            let answers: Vec<_> = rooms.into_iter().map(|room| room.join().expect("no panic")).collect();
            let refused = answers.iter().filter(|answer| answer[0] == Value::Nil).count();
            // Each launch that fails is one for everybody who wanted it at that time.
            assert!(if succeeds { refused == 0 } else { (1..=4).contains(&refused) }, "{answers:?}");
        });
    }
    assert_eq!(launches.load(Ordering::Relaxed), 2, "one fails, one succeeds, the rest wait or find it");
    assert_eq!(pair.list().len(), 1);
    pair.shutdown();
}

#[test]
fn a_query_waits_for_the_launch_and_a_service_that_ended_is_launched_again() {
    let pair = Pair::new(|config| config.service_kind("room", room));
    let mut last = None;
    for _ in 0..2 {
        std::thread::scope(|scope| {
            let waiting: Vec<_> =
                (0..4).map(|_| scope.spawn(|| pair.service(b"\x2cQUERY\x2c@room"))).collect();
            pair.wait_for_waiters("@room", 4);
            let launched = handle(&call_here(&pair.master, b"\x34LAUNCH\x2c@room"));
            for waiting in waiting {
                assert_eq!(handle(&waiting.join().expect("no panic")), launched);
            }
            assert_ne!(last.replace(launched), Some(launched));
            pair.slave.call_raw_blocking(launched, Kind::TEXT, &b""[..], secs(20)).expect("its last answer");
            while !pair.list().is_empty() {
                std::thread::yield_now();
            }
        });
    }
    pair.shutdown();
}

fn call_here(master: &Node, bytes: &[u8]) -> Vec<Value> {
    unpack(&call(master, "SERVICE", bytes).expect("an answer")).expect("packed values")
}

/// What a real node's own service manager answers to LIST.
struct OtherManager;
impl Service for OtherManager {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        assert_eq!(message.bytes(), b"\x24LIST");
        ctx.reply(b"\x06\x24cave\x4c:c8000009\x00");
        Disposition::Handled
    }
}

#[test]
fn a_list_has_what_other_nodes_report() {
    let pair = Pair::new(|config| config.service_kind("room", room));
    let other = pair.slave.spawn("manager", OtherManager).expect("it starts");
    let report = pack(&["REPORT".into(), other.handle().bits().into()]).expect("it packs");
    assert_eq!(pair.call("SERVICE", &report), Ok(vec![0]));
    let room = handle(&pair.service(b"\x34LAUNCH\x2c@room")).to_string();
    let expected = [("@room".to_owned(), room.clone()), ("cave@200".to_owned(), ":c8000009".to_owned())];
    assert_eq!(pair.list(), expected);
    // One that does not answer any more is left out.
    pair.slave.kill(other).expect("it lives");
    while pair.list().len() > 1 {
        std::thread::yield_now();
    }
    assert_eq!(pair.list(), [("@room".to_owned(), room)]);
    pair.shutdown();
}

#[test]
fn a_node_reports_nobody_but_its_own_service_manager() {
    let pair = Pair::new(|config| config);
    let other = pair.slave.spawn("manager", OtherManager).expect("it starts");
    let report = |handle: Handle| pack(&["REPORT".into(), handle.bits().into()]).expect("it packs");
    for (node, stranger) in
        [(&pair.slave, 0x0100_0009), (&pair.slave, 0x0300_0009), (&pair.master, 0xc800_0009)]
    {
        let answer = call(node, "SERVICE", &report(Handle::from_bits(stranger))).expect("an answer");
        let values = unpack(&answer).expect("packed values");
        assert_eq!(refusal(&values), "a node reports a service manager of its own", "{stranger:x}");
    }
    assert_eq!(pair.list(), []);
    assert_eq!(pair.call("SERVICE", &report(other.handle())), Ok(vec![0]));
    assert_eq!(pair.list(), [("cave@200".to_owned(), ":c8000009".to_owned())]);
    pair.shutdown();
}

#[test]
fn nothing_is_launched_that_nobody_could_hear_of() {
    let launches = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&launches);
    let mut factories = Factories::default();
    factories.add("room", move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(Room(Vec::new()))
    });
    let node = Node::start(Config::local().threads(1)).unwrap();
    let manager = node.spawn("SERVICE", ServiceManager::new(factories)).unwrap();
    node.register_global("SERVICE", &manager).unwrap();
    let crowd = node.spawn("crowd", Crowd).unwrap();
    node.call_blocking(&crowd, Wait(manager.handle()), secs(30)).unwrap();
    let launch = || call(&node, "SERVICE", b"\x34LAUNCH\x2c@room").map(|answer| unpack(&answer).unwrap());
    assert_eq!(refusal(&launch().unwrap()), "too many wait for unique services");
    assert_eq!(launches.load(Ordering::Relaxed), 0);
    node.shutdown(secs(5)).unwrap();
}

/// Waits for a service as often as anybody may.
struct Crowd;
struct Wait(Handle);
impl Request for Wait {
    type Reply = ();
}
impl Service for Crowd {}
impl Handler<Wait> for Crowd {
    fn handle(&mut self, wait: Wait, ctx: &mut Context<'_, Self>) -> Reply<()> {
        for _ in 0..UNIQUE_WAITERS_MAX {
            ctx.call_raw(wait.0, Kind::LUA, b"\x2cQUERY\x2c@hall", NEVER, |_, _, _| {});
        }
        Reply::Now(())
    }
}

#[test]
fn who_waited_on_a_node_that_is_lost_is_forgotten() {
    let pair = Pair::new(|config| config);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| call(&pair.slave, "SERVICE", b"\x2cQUERY\x2c@room"));
        pair.wait_for_waiters("@room", 1);
        assert!(pair.slave.stop_services(secs(10)));
        assert_eq!(waiting.join().expect("no panic"), Err(CallError::Shutdown));
    });
    pair.slave.shutdown(secs(10)).expect("all threads end");
    let is_empty = |values: &[Value]| values == [Value::from(Table::default())];
    while !is_empty(&call_here(&pair.master, b"\x24LIST")) {
        std::thread::yield_now();
    }
    pair.master.shutdown(secs(10)).expect("all threads end");
}

#[test]
fn services_of_the_program_and_of_the_configuration_are_unique_ones_too() {
    let pair =
        Pair::new(|config| config.service(ServiceKind::Kv, "LEVELS").service(ServiceKind::Echo, ".echo"));
    let levels = handle(&pair.service(b"\x34LAUNCH\x3c@LEVELS"));
    let set = b"\x1cset\x0ck\x0a\x05";
    let answer = pair.slave.call_raw_blocking(levels, Kind::LUA, &set[..], secs(20)).expect("it is a kv");
    assert_eq!(&answer[..], b"\x00");
    assert_eq!(refusal(&pair.service(b"\x34LAUNCH\x34@.echo")), "no service is called .echo");
    handle(&pair.service(b"\x34LAUNCH\x1c@kv"));
    handle(&pair.service(b"\x34LAUNCH\x2c@echo"));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pair.service(b"\x2cQUERY\x34@arena"));
        pair.wait_for_waiters("@arena", 1);
        let arena = pair.master.spawn("arena", Room(Vec::new())).expect("it starts");
        pair.master.register_unique("arena", &arena).expect("it is free");
        assert_eq!(handle(&waiting.join().expect("no panic")), arena.handle());
        assert_eq!(handle(&pair.service(b"\x34LAUNCH\x34@arena")), arena.handle());
        assert!(matches!(pair.master.register_unique("arena", &arena), Err(Error::LocalName(_))));
        assert!(matches!(pair.slave.register_unique("arena", &arena), Err(Error::NotStandalone)));
    });
    pair.shutdown();
}

#[test]
fn data_center_answers_the_bytes_of_real_nodes() {
    let pair = Pair::new(|config| config);
    // The values of each command and its answer, or none for an ERROR.
    let table = [
        // datacenter.get("a"), datacenter.get("a", "b"): nothing is there.
        (&b"\x2cQUERY\x0ca"[..], Some(&b""[..])),
        (b"\x2cQUERY\x0ca\x0cb", Some(b"")),
        (b"\x2cQUERY", Some(b"")),
        // datacenter.set("a", "b", 7): nothing was there; then 8, which answers 7.
        (b"\x34UPDATE\x0ca\x0cb\x0a\x07", Some(b"")),
        (b"\x34UPDATE\x0ca\x0cb\x0a\x08", Some(b"\x0a\x07")),
        (b"\x2cQUERY\x0ca\x0cb", Some(b"\x0a\x08")),
        (b"\x2cQUERY\x0ca", Some(b"\x06\x0cb\x0a\x08\x00")),
        (b"\x2cQUERY\x0ca\x0cc", Some(b"\x00")),
        (b"\x24WAIT\x0ca\x0cb", Some(b"\x0a\x08")),
        // Below a value.
        (b"\x2cQUERY\x0ca\x0cb\x0cc", None),
        (b"\x34UPDATE\x0ca\x0cb\x0cc\x0a\x01", None),
        (b"\x24WAIT\x0ca\x0cb\x0cc", None),
        // datacenter.set("a", "b", nil), twice; datacenter.set("a").
        (b"\x34UPDATE\x0ca\x0cb\x00", Some(b"\x0a\x08")),
        (b"\x34UPDATE\x0ca\x0cb\x00", Some(b"\x00")),
        (b"\x2cQUERY\x0ca", Some(b"\x06\x00")),
        (b"\x34UPDATE\x0ca", Some(b"\x06\x00")),
        (b"\x2cQUERY\x0ca", Some(b"")),
        // No keys, nil and NaN as keys.
        (b"\x34UPDATE", None),
        (b"\x34UPDATE\x00\x0a\x01", None),
        (b"\x34UPDATE\x42\x00\x00\x00\x00\x00\x00\xf8\x7f\x0a\x01", None),
        (b"\x24WAIT", None),
        (b"\x24WAIT\x00", None),
        // Other commands, no commands, no values.
        (b"\x34update\x0ca\x0a\x01", None),
        (b"", None),
        (b"\x0a\x01", None),
        (b"\x2cQU", None),
    ];
    for (bytes, answer) in table {
        let expected = answer.map(<[u8]>::to_vec).ok_or(CallError::Remote);
        assert_eq!(pair.call("DATACENTER", bytes), expected, "{}", bytes.escape_ascii());
    }
    // A caller of the node itself gets the reasons.
    let reason = |bytes| call(&pair.master, "DATACENTER", bytes).unwrap_err();
    assert_eq!(reason(b"\x24WAIT"), CallError::Failed(DataCenter::BAD_KEY));
    assert_eq!(reason(b"\x34update"), CallError::Unhandled);
    pair.shutdown();
}

type Answers = Vec<Result<Vec<u8>, CallError>>;

/// Sends calls to the data center in order, and answers with their answers.
#[derive(Default)]
struct Script {
    answers: Vec<Option<Result<Vec<u8>, CallError>>>,
    done: Option<Responder<Answers>>,
}
struct Run(Vec<Vec<u8>>);
impl Request for Run {
    type Reply = Answers;
}
impl Service for Script {}
impl Handler<Run> for Script {
    fn handle(&mut self, run: Run, ctx: &mut Context<'_, Self>) -> Reply<Answers> {
        let (done, later) = ctx.defer();
        self.done = Some(done);
        self.answers = vec![None; run.0.len()];
        let data_center = ctx.global("DATACENTER");
        for (index, bytes) in run.0.into_iter().enumerate() {
            ctx.call_raw(data_center, Kind::LUA, bytes, secs(20), move |script, ctx, answer| {
                script.answers[index] = Some(answer.map(Payload::into_vec));
                if let Some(answers) = script.answers.iter().cloned().collect()
                    && let Some(done) = script.done.take()
                {
                    done.reply(ctx, answers);
                }
            });
        }
        later
    }
}

#[test]
fn waits_of_the_data_center_end_with_the_update() {
    let pair = Pair::new(|config| config);
    let script = pair.slave.spawn("script", Script::default()).expect("it starts");
    for (update, answer) in [
        // datacenter.set("a", "b", "c", 5) for datacenter.wait("a", "b", "c").
        (&b"\x34UPDATE\x0ca\x0cb\x0cc\x0a\x05"[..], Ok(b"\x0a\x05".to_vec())),
        (b"\x34UPDATE\x0ca\x0cb\x0cc\x06\x0cx\x02\x00", Ok(b"\x06\x0cx\x02\x00".to_vec())),
        // A branch cannot be woken; the value counts as a key.
        (b"\x34UPDATE\x0ca\x0cb\x0cc\x0cd\x0a\x05", Err(CallError::Remote)),
        (b"\x34UPDATE\x0ca\x0cb\x0cc", Err(CallError::Remote)),
    ] {
        let wait = &b"\x24WAIT\x0ca\x0cb\x0cc"[..];
        let (above, below) = (&b"\x24WAIT\x0ca\x0cb"[..], &b"\x24WAIT\x0ca\x0cb\x0cc\x0cd"[..]);
        let run = Run([wait, above, below, wait, update].map(<[u8]>::to_vec).into());
        let answers = pair.slave.call_blocking(&script, run, secs(30)).expect("it answers");
        let crossed = || Err(CallError::Remote);
        assert_eq!(answers, [answer.clone(), crossed(), crossed(), answer, Ok(Vec::new())]);
        pair.call("DATACENTER", b"\x34UPDATE\x0ca\x00").expect("it is removed");
    }
    pair.shutdown();
}

#[test]
fn one_update_of_the_data_center_wakes_as_many_as_its_bytes_allow() {
    let node = Node::start(Config::local().threads(1)).unwrap();
    let data_center = node.spawn("data center", DataCenter::default()).unwrap();
    node.register_global("DATACENTER", &data_center).unwrap();
    let script = node.spawn("script", Script::default()).unwrap();
    let large = Value::Bytes(vec![7; 15 << 20]);
    let news = pack(std::slice::from_ref(&large)).unwrap();
    let told = DATACENTER_WAKE_BYTES_MAX / news.len();
    let mut calls = vec![pack(&[text("WAIT"), text("a")]).unwrap(); told + 2];
    calls.push(pack(&[text("UPDATE"), text("a"), large]).unwrap());
    calls.push(pack(&[text("WAIT"), text("a")]).unwrap());
    let mut answers = node.call_blocking(&script, Run(calls), secs(30)).unwrap();
    let again = answers.pop().unwrap();
    assert_eq!(answers.pop().unwrap(), Ok(Vec::new()), "the update is done");
    for (waiter, answer) in answers.into_iter().enumerate() {
        let full = Err(CallError::Failed(DataCenter::FULL));
        assert!(answer == if waiter < told { Ok(news.clone()) } else { full }, "waiter {waiter}");
    }
    assert!(again == Ok(news), "whoever asks again has it");
    node.shutdown(secs(5)).unwrap();
}

#[test]
fn an_update_of_the_data_center_is_done_also_if_no_message_carries_the_old_value() {
    let pair = Pair::new(|config| config);
    let values = |values: &[Value]| pair.values("DATACENTER", &pack(values).unwrap());
    for key in ["b", "c"] {
        let half = Value::Bytes(vec![7; 9 << 20]);
        assert_eq!(values(&[text("UPDATE"), text("a"), text(key), half]), []);
    }
    let query = pack(&[text("QUERY"), text("a")]).unwrap();
    assert_eq!(pair.call("DATACENTER", &query), Err(CallError::Remote));
    assert_eq!(call(&pair.master, "DATACENTER", &query), Err(CallError::TooLarge));
    let stand_in = |reason| [Table::default().into(), text(reason)];
    let old = values(&[text("UPDATE"), text("a"), Value::Int(1)]);
    assert_eq!(old, stand_in("the packed values are larger than a frame can carry"));
    assert_eq!(values(&[text("QUERY"), text("a")]), [Value::Int(1)]);
    // Deeper than Skynet writes: 40 keys make 39 tables.
    let mut deep: Vec<Value> = (0..40).map(Value::Int).collect();
    deep.insert(0, text("UPDATE"));
    deep.push(Value::Bool(true));
    assert_eq!(values(&deep), []);
    let old = values(&[text("UPDATE"), Value::Int(0), Value::Nil]);
    assert_eq!(old, stand_in("tables nest deeper than Skynet writes"));
    assert_eq!(values(&[text("QUERY"), Value::Int(0)]), []);
    pair.shutdown();
}

#[test]
fn only_a_standalone_node_offers_them() {
    let names = ["SERVICE", "DATACENTER"].map(|name| name.parse::<Name>().unwrap());
    let alone = Node::start(Config::local().threads(1)).unwrap();
    let address = free_address();
    let master = Config::local().standalone(&*address).master_only(true).threads(1);
    let master = Node::start(master).expect("the master starts");
    let slave = Config::local().harbor(2).address("127.0.0.1:0").master(address).threads(1);
    let slave = Node::start(slave).expect("the slave starts");
    for node in [&alone, &master, &slave] {
        assert_eq!(node.services(), 0);
        for name in names {
            assert_eq!(node.query(name, millis(100)), Err(CallError::NoName(name)));
        }
    }
    for node in [alone, slave, master] {
        node.shutdown(secs(10)).expect("all threads end");
    }
}
