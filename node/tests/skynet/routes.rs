//! Requests that travel further than to the one who was asked, and requests that are traced.

use crate::agent::{arguments, echo};
use crate::process::PATIENCE;
use crate::world::{World, destination};
use skyharbor::message::Kind;
use skyharbor::prelude::*;
use skyharbor::seri::Value;

/// Passes everything on; source and session stay.
struct Proxy(Destination);
impl Service for Proxy {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        ctx.forward(self.0, message)
    }
}

#[test]
fn a_request_of_lua_that_we_pass_on_is_answered_by_the_last_one() {
    let Some(world) = World::found() else { return };
    let asking = world.real_master(1);
    let rust = world.library(2);
    let (lua, other) = (world.real(3), world.library(4));
    for (name, backend) in [("PROXY1", lua.name()), ("PROXY2", other.name()), ("PROXY3", rust.name())] {
        let proxy = rust.node.spawn("proxy", Proxy(destination(&backend))).unwrap();
        rust.node.register_global(name, &proxy).unwrap();
        for size in [0, 100, 64 << 10] {
            let outcome = asking.ask(&format!("call {name} 1 {size}"));
            assert_eq!(outcome.as_deref(), Ok("right"), "{size} bytes through us to {backend}");
        }
        let counted = asking.ask(&format!("burst {name} {name} 1000 100"));
        assert_eq!(counted.as_deref(), Ok("1000 0"), "one way through us to {backend}");
    }
    world.assert_healthy();
}

#[test]
fn a_request_of_ours_that_lua_passes_on_is_answered_by_the_last_one() {
    let Some(world) = World::found() else { return };
    let passing = world.real_master(1);
    let rust = world.library(2);
    let (lua, other) = (world.real(3), world.library(4));
    let forwarded = |last: String| {
        let request = [Value::Bytes(last.clone().into()), Value::Int(7), Value::Bytes(b"text".into())];
        let reply = rust.call(passing.handle(), arguments("forward", request));
        let echoed = arguments("echo", [Value::Int(7), Value::Bytes(b"text".into())]);
        assert_eq!(reply.as_deref(), Ok(&echoed[..]), "through a real node to {last}");
    };
    [lua.name(), other.name(), passing.name()].into_iter().for_each(forwarded);
    let pending: usize = rust.node.status().unwrap().peers.iter().map(|peer| peer.pending).sum();
    assert_eq!(pending, 0, "an answer from another node ends the call too");
    forwarded(rust.name());
    world.assert_healthy();
}

#[test]
fn a_traced_call_is_an_ordinary_one() {
    let Some(world) = World::found() else { return };
    let lua = world.real_master(1);
    let rust = world.library(2);
    let own = world.program(3);
    let proxy = rust.node.spawn("proxy", Proxy(destination("L1"))).unwrap();
    rust.node.register_global("PROXY", &proxy).unwrap();
    for target in ["R2", "E3", "PROXY"] {
        assert_eq!(lua.ask(&format!("traced {target}")).as_deref(), Ok("right"), "{target}");
        let handle = rust.agent.handle();
        assert_eq!(lua.ask(&format!("traced {handle}")).as_deref(), Ok("right"));
    }
    assert_eq!(own.call(&["L1", "\"echo\"", "1"]).as_deref(), Ok("[\"echo\",1]"));
    world.assert_healthy_but("TRACE ");
}

#[test]
fn a_real_node_is_pinged_without_a_trace() {
    let Some(world) = World::found() else { return };
    let lua = world.real_master(1);
    let rust = world.library(2);
    rust.wait_linked(1);
    // The launcher of the standard bootstrap.
    let launcher = Handle::new(HarborId::new(1), 3);
    let ping = skyharbor::seri::pack(&[Value::Bytes(b"PING".into())]).unwrap();
    let answer = rust.node.call_raw_blocking(launcher, Kind::DEBUG, ping, PATIENCE);
    assert_eq!(answer.as_deref(), Ok(&[][..]));
    assert_eq!(rust.call(lua.handle(), echo(1, 1)).as_deref(), Ok(&echo(1, 1)[..]));
    world.assert_healthy();
}

#[test]
fn our_services_answer_ping_and_no_other_question_of_a_debugger() {
    let Some(world) = World::found() else { return };
    let lua = world.real_master(1);
    let rust = world.library(2);
    let own = world.program(3);
    for target in [rust.agent.handle(), own.handle()] {
        assert_eq!(lua.ask(&format!("debug {target} 3000 PING")).as_deref(), Ok("replied"));
        for question in ["INFO", "STAT", "RUN return", "KILL"] {
            let outcome = lua.ask(&format!("debug {target} 3000 {question}")).unwrap();
            assert!(outcome.starts_with("failed "), "{question}: {outcome}");
        }
        assert_eq!(lua.ask(&format!("call {target} 1 10")).as_deref(), Ok("right"), "it lives");
    }
    world.assert_healthy();
}
