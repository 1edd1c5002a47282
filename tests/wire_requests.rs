//! Requests as bytes: one request type for three kinds of callee, and the raw door.

use serde::{Deserialize, Serialize};
use skyharbor::prelude::*;
use skyharbor::seri::{Value, pack, unpack};

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
