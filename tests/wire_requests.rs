//! Requests as bytes: one request type for three kinds of callee, and the raw door.

use serde::{Deserialize, Serialize};
use skyharbor::prelude::*;
use skyharbor::seri::{Table, Value, pack, unpack};

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Add(i64);
impl Request for Add {
    type Reply = i64;
}
impl Wire for Add {
    const NAME: &'static str = "add";
}

/// Two arguments, and a reply of two values.
#[derive(Serialize, Deserialize)]
struct Divide(i64, i64);
impl Request for Divide {
    type Reply = (i64, i64);
}
impl Wire for Divide {
    const NAME: &'static str = "divide";
}

/// A request that stays in the process.
struct Reset;
impl Request for Reset {
    type Reply = ();
}

#[derive(Default)]
struct Counter {
    total: i64,
}
impl Service for Counter {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Add>().on::<Divide>();
    }
}
impl Handler<Add> for Counter {
    fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) -> Reply<i64> {
        self.total += add.0;
        Reply::Now(self.total)
    }
}
impl Handler<Divide> for Counter {
    fn handle(&mut self, divide: Divide, ctx: &mut Context<'_, Self>) -> Reply<(i64, i64)> {
        if divide.1 == 0 {
            return Reply::Fail(CallError::Failed(0));
        }
        let (answer, later) = ctx.defer();
        ctx.after(millis(1), move |_, ctx| answer.reply(ctx, (divide.0 / divide.1, divide.0 % divide.1)))
            .unwrap();
        later
    }
}
impl Handler<Reset> for Counter {
    fn handle(&mut self, _: Reset, _: &mut Context<'_, Self>) -> Reply<()> {
        self.total = 0;
        Reply::Now(())
    }
}

/// Speaks bytes only: what Lua code would see.
struct Raw {
    backend: Addr<Counter>,
}
impl Service for Raw {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        match message.kind() {
            Kind::LUA => ctx.forward(self.backend, message),
            Kind::TEXT => {
                let upper = message.bytes().to_ascii_uppercase();
                ctx.reply(upper);
                Disposition::Handled
            }
            Kind::CLIENT => {
                let later = ctx.defer_raw();
                ctx.call_raw(
                    self.backend,
                    Kind::LUA,
                    message.into_payload(),
                    secs(5),
                    move |_, ctx, result| match result {
                        Ok(payload) => later.reply(ctx, payload),
                        Err(reason) => later.fail(ctx, reason),
                    },
                );
                Disposition::Handled
            }
            Kind::SNAX => Disposition::Handled,
            _ => Disposition::Unhandled,
        }
    }
}

fn world() -> (Node, Addr<Counter>, Addr<Raw>) {
    let node = Node::start(Config::local().threads(2)).expect("a local node starts");
    let counter = node.spawn("counter", Counter::default()).expect("it starts");
    let raw = node.spawn("raw", Raw { backend: counter }).expect("it starts");
    (node, counter, raw)
}

#[test]
fn one_request_type_reaches_an_address_a_handle_and_a_name() {
    let (node, counter, _) = world();
    assert_eq!(node.call_blocking(&counter, Add(2), secs(5)), Ok(2));
    assert_eq!(node.call_blocking(&counter.handle(), Add(3), secs(5)), Ok(5));
    node.register_global("COUNTER", &counter).expect("it is free");
    let global = Global::new("COUNTER".parse().expect("a name"));
    assert_eq!(node.call_blocking(&global, Add(4), secs(5)), Ok(9));
    assert_eq!(node.call_blocking(&global, Divide(17, 5), secs(5)), Ok((3, 2)));
    assert_eq!(node.call_blocking(&global, Divide(17, 0), secs(5)), Err(CallError::Failed(0)));
    let nobody = "NOBODY".parse().expect("a name");
    assert_eq!(node.call_blocking(&Global::new(nobody), Add(1), secs(5)), Err(CallError::NoName(nobody)));
    assert_eq!(node.call_blocking(&counter, Reset, secs(5)), Ok(()));
    node.shutdown(secs(5)).expect("all threads end");
}

fn lua(values: &[Value]) -> Vec<u8> {
    pack(values).expect("they can be packed")
}

#[test]
fn bytes_reach_methods_by_their_name_and_nothing_else() {
    let (node, counter, raw) = world();
    let call = |to: Handle, kind, bytes: Vec<u8>| node.call_raw_blocking(to, kind, bytes, secs(5));
    let add = lua(&[Value::Bytes(b"add".to_vec()), Value::Int(5)]);
    // In Lua: skynet.call(counter, "lua", "add", 5); the answer is one integer.
    let answer = call(counter.handle(), Kind::LUA, add.clone()).expect("it answers");
    assert_eq!(unpack(&answer), Ok(vec![Value::Int(5)]));
    assert_eq!(
        call(raw.handle(), Kind::LUA, add.clone()).map(|answer| unpack(&answer)),
        Ok(Ok(vec![Value::Int(10)]))
    );
    assert_eq!(
        call(raw.handle(), Kind::CLIENT, add).map(|answer| unpack(&answer)),
        Ok(Ok(vec![Value::Int(15)]))
    );
    assert_eq!(call(raw.handle(), Kind::TEXT, b"shout".to_vec()).as_deref(), Ok(&b"SHOUT"[..]));
    assert_eq!(call(raw.handle(), Kind::SNAX, Vec::new()), Err(CallError::Dropped));
    assert_eq!(call(raw.handle(), Kind::QUEUE, Vec::new()), Err(CallError::Unhandled));
    let unknown = lua(&[Value::Bytes(b"reset".to_vec())]);
    assert_eq!(call(counter.handle(), Kind::LUA, unknown), Err(CallError::Unhandled));
    let malformed = lua(&[Value::Bytes(b"add".to_vec()), Value::Bool(true)]);
    assert!(matches!(call(counter.handle(), Kind::LUA, malformed), Err(CallError::Malformed { .. })));
    assert_eq!(call(counter.handle(), Kind::LUA, vec![0xff; 40]), Err(CallError::Unhandled));
    let large = vec![7; 1 << 20];
    assert_eq!(call(raw.handle(), Kind::TEXT, large.clone()).map(|answer| answer.len()), Ok(large.len()));
    node.shutdown(secs(5)).expect("all threads end");
}

#[test]
fn a_handle_of_another_node_is_unknown_to_a_node_without_links() {
    let (node, ..) = world();
    let elsewhere = Handle::new(HarborId::new(9), 100);
    assert_eq!(node.call_blocking(&elsewhere, Add(1), secs(5)), Err(CallError::NoService));
    assert_eq!(node.send(&elsewhere, Add(7)).unwrap_err().message, Add(7), "the request comes back");
    node.shutdown(secs(5)).expect("all threads end");
}

/// The commands of one service in one type, as its Lua callers write them.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Board {
    Get(String),
    Add(String, i64),
    Top { count: usize },
    Clear,
}
impl Request for Board {
    type Reply = (Option<i64>, Option<String>);
}
impl Wire for Board {
    const NAME: &'static str = BY_VARIANT;
}

/// Commands under one first name: `"socket", "data", fd, text`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Socket {
    Data(u32, String),
    Close(u32),
}
impl Request for Socket {
    type Reply = Socket;
}
impl Wire for Socket {
    const NAME: &'static str = "socket";
}

/// Arguments without a command.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Plain(i64, String);
impl Request for Plain {
    type Reply = (Value, Value);
}
impl Wire for Plain {
    const NAME: &'static str = BY_VARIANT;
}

#[derive(Default)]
struct Scores(std::collections::BTreeMap<String, i64>);
impl Service for Scores {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Board>().on::<Socket>();
    }

    /// What no method takes: it answers with what it got.
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        if message.kind() != Kind::LUA {
            return Disposition::Unhandled;
        }
        ctx.reply(message.into_payload());
        Disposition::Handled
    }
}
impl Handler<Board> for Scores {
    fn handle(&mut self, board: Board, _: &mut Context<'_, Self>) -> Reply<(Option<i64>, Option<String>)> {
        Reply::Now(match board {
            Board::Get(player) => match self.0.get(&player) {
                Some(score) => (Some(*score), None),
                None => (None, Some(format!("no such player: {player}"))),
            },
            Board::Add(player, points) => {
                let score = self.0.entry(player).or_default();
                *score += points;
                (Some(*score), None)
            }
            Board::Top { count } => (self.0.values().copied().max().filter(|_| count > 0), None),
            Board::Clear => {
                self.0.clear();
                (None, None)
            }
        })
    }
}
impl Handler<Socket> for Scores {
    fn handle(&mut self, socket: Socket, _: &mut Context<'_, Self>) -> Reply<Socket> {
        Reply::Now(match socket {
            Socket::Data(fd, text) => Socket::Data(fd, text.to_uppercase()),
            Socket::Close(fd) => Socket::Close(fd),
        })
    }
}

fn text(text: &str) -> Value {
    Value::from(text)
}

#[test]
fn the_variants_of_an_enum_are_the_commands_of_a_service() {
    let node = Node::start(Config::local().threads(2)).expect("a local node starts");
    let scores = node.spawn("scores", Scores::default()).expect("it starts");
    let call = |values: &[Value]| {
        let answer = node.call_raw_blocking(scores.handle(), Kind::LUA, lua(values), secs(5));
        answer.map(|answer| unpack(&answer).expect("packed values"))
    };
    // skynet.call(scores, "lua", "add", "ann", 5)
    assert_eq!(call(&[text("add"), text("ann"), Value::Int(5)]), Ok(vec![Value::Int(5), Value::Nil]));
    assert_eq!(call(&[text("get"), text("ann")]), Ok(vec![Value::Int(5), Value::Nil]));
    // local score, reason = skynet.call(scores, "lua", "get", "bob")
    assert_eq!(call(&[text("get"), text("bob")]), Ok(vec![Value::Nil, text("no such player: bob")]));
    let table = Table::from_pairs(vec![(text("count"), Value::Int(1))]).into();
    assert_eq!(call(&[text("top"), table]), Ok(vec![Value::Int(5), Value::Nil]));
    assert_eq!(call(&[text("clear")]), Ok(vec![Value::Nil, Value::Nil]));
    // skynet.call(scores, "lua", "socket", "data", 7, "x")
    let data = [text("socket"), text("data"), Value::Int(7), text("x")];
    assert_eq!(call(&data), Ok(vec![text("data"), Value::Int(7), text("X")]));

    let malformed = call(&[text("add"), text("ann"), text("many")]);
    assert_eq!(
        malformed,
        Err(CallError::Malformed { offset: 8, reason: "a string where another type is wanted" }),
        "the offset is the message's"
    );
    let other = [text("drop"), Value::Int(1)];
    assert_eq!(call(&other), Ok(other.to_vec()), "no command of the enum: the raw door");
    node.shutdown(secs(5)).expect("all threads end");
}

#[test]
fn an_enum_of_commands_reaches_an_address_a_handle_and_a_name() {
    let node = Node::start(Config::local().threads(2)).expect("a local node starts");
    let scores = node.spawn("scores", Scores::default()).expect("it starts");
    node.register_global("SCORES", &scores).expect("it is free");
    let global = Global::new("SCORES".parse().expect("a name"));
    let add = |points| Board::Add("ann".into(), points);
    assert_eq!(node.call_blocking(&scores, add(1), secs(5)), Ok((Some(1), None)));
    assert_eq!(node.call_blocking(&scores.handle(), add(2), secs(5)), Ok((Some(3), None)));
    assert_eq!(node.call_blocking(&global, add(3), secs(5)), Ok((Some(6), None)));
    assert_eq!(node.call_blocking(&global, Board::Clear, secs(5)), Ok((None, None)));
    let answer = node.call_blocking(&global, Socket::Close(9), secs(5));
    assert!(matches!(answer, Ok(Socket::Close(9))));
    let elsewhere = Handle::new(HarborId::new(9), 100);
    assert_eq!(node.send(&elsewhere, add(4)).unwrap_err().message, add(4), "the request comes back");
    // To Lua: skynet.dispatch("lua", function(session, source, number, text) … end)
    let plain = || Plain(1, "x".into());
    let echo = node.spawn("echo", skyharbor::services::Echo).expect("it starts");
    assert_eq!(node.call_blocking(&echo.handle(), plain(), secs(5)), Ok((Value::Int(1), text("x"))));
    assert_eq!(node.send(&elsewhere, plain()).unwrap_err().message, plain());
    node.shutdown(secs(5)).expect("all threads end");
}

struct Confused;
impl Service for Confused {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Plain>();
    }
}
impl Handler<Plain> for Confused {
    fn handle(&mut self, plain: Plain, _: &mut Context<'_, Self>) -> Reply<(Value, Value)> {
        Reply::Now((Value::Int(plain.0), Value::Nil))
    }
}

#[test]
fn a_method_without_a_name_must_be_an_enum() {
    let node = Node::start(Config::local().threads(1)).expect("a local node starts");
    let spawned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| node.spawn("confused", Confused)));
    assert!(!matches!(spawned, Ok(Ok(_))), "it must not start");
    node.shutdown(secs(5)).expect("all threads end");
}
