//! Unique services: Rust launches those of a real master's node, Lua lists those of ours.

use crate::agent::{arguments, echo};
use crate::world::{World, destination};
use skyharbor::message::Handle;
use skyharbor::seri::{Value, unpack};

#[test]
fn rust_launches_and_finds_unique_services_of_a_real_master() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let (rust, lua) = (world.library(2), world.real(3));
    let service = destination("SERVICE");
    let texts = |texts: &[&str]| -> Vec<Value> { texts.iter().map(|text| (*text).into()).collect() };
    let handle = |command: &str, more: &[&str]| {
        let mut values = vec![Value::from(command)];
        values.extend(texts(more));
        let reply = rust.call(service, skyharbor::seri::pack(&values).unwrap()).unwrap();
        match unpack(&reply).as_deref() {
            Ok([Value::Int(bits)]) => Handle::from_bits(u32::try_from(*bits).unwrap()),
            other => panic!("{other:?} is no handle"),
        }
    };
    let launched = handle("LAUNCH", &["@agent", "child"]);
    assert_eq!(launched.harbor().get(), 1, "where SERVICE is");
    assert_eq!(handle("QUERY", &["@agent"]), launched);
    assert_eq!(handle("LAUNCH", &["@agent", "child"]), launched, "there is one of them");
    assert_eq!(lua.ask("queried agent"), Ok(launched.to_string()), "Lua finds the same");
    let request = echo(1, 100);
    assert_eq!(rust.call(launched, request.clone()).as_deref(), Ok(&request[..]));
    let listed = rust.call(service, arguments("LIST", [])).unwrap();
    let listed = unpack(&listed).unwrap();
    let [Value::Table(table)] = &listed[..] else { panic!("{listed:?}") };
    assert!(table.pairs.iter().any(|(name, _)| name.as_bytes() == Some(b"@agent")), "{table:?}");
    world.assert_healthy();
    drop(master);
}

#[test]
fn lua_lists_the_unique_services_of_our_master() {
    let Some(world) = World::found() else { return };
    let _master = world.library_master(1);
    let (one, two) = (world.real(2), world.real(3));
    let kv = one.ask("unique kv").unwrap();
    let own = one.ask("own agent child").unwrap();
    let listed = two.ask("listed").unwrap();
    let words: Vec<_> = listed.split(' ').collect();
    assert!(words.contains(&format!("@kv={kv}").as_str()), "{listed}");
    assert!(
        words.contains(&format!("agent@2={own}").as_str()),
        "what a real node's own manager has: {listed}"
    );
    world.assert_healthy();
}
