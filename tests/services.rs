//! The built-in services through the public API.

use skyharbor::prelude::*;
use skyharbor::seri::{Value, pack, unpack};
use skyharbor::services::{Echo, Kv};

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
