//! Calls in all directions: sizes, errors, deadlines, many callers, bursts.

use crate::agent::{Burst, Tally, Traffic, arguments, echo};
use crate::process::PATIENCE;
use crate::world::{Library, Real, Sort, World, destination};
use skyharbor::message::Kind;
use skyharbor::prelude::*;
use skyharbor::seri::{Value, unpack};
use std::time::Duration;

/// Bytes of text beside a command. A real node that has to send about 8 MB ends itself.
const SIZES: [usize; 8] = [0, 1, 63, 64, 4 << 10, 64 << 10, 1 << 20, 7 << 20];

/// Four nodes: two real ones, two of ours.
struct Four {
    // Ended before their world shows logs.
    lua: [Real; 2],
    rust: [Library; 2],
    world: World,
}

/// Nodes 1 to 4, of which one sort hosts the master.
fn four(master: Sort) -> Option<Four> {
    let world = World::found()?;
    let (lua, rust) = match master {
        Sort::Real => {
            let lua = [world.real_master(1), world.real(2)];
            (lua, [world.library(3), world.library(4)])
        }
        Sort::Library | Sort::Program => {
            let rust = [world.library_master(1), world.library(2)];
            ([world.real(3), world.real(4)], rust)
        }
    };
    Some(Four { lua, rust, world })
}

impl Four {
    /// Lua to Rust, Lua to Lua, as names and as handles.
    fn targets_of_lua(&self) -> Vec<String> {
        let rust = &self.rust[0];
        let lua = &self.lua[1];
        vec![rust.name(), rust.agent.handle().to_string(), lua.name(), lua.handle().to_string()]
    }

    /// Rust to Lua, Rust to Rust, as names and as handles.
    fn targets_of_rust(&self) -> Vec<String> {
        let rust = &self.rust[1];
        let lua = &self.lua[1];
        vec![lua.name(), lua.handle().to_string(), rust.name(), rust.agent.handle().to_string()]
    }
}

fn sizes(master: Sort) {
    let Some(four) = four(master) else { return };
    for (number, size) in SIZES.into_iter().enumerate() {
        for target in four.targets_of_lua() {
            let outcome = four.lua[0].ask(&format!("call {target} {number} {size}"));
            assert_eq!(outcome.as_deref(), Ok("right"), "Lua calls {target} with {size} bytes");
        }
        for target in four.targets_of_rust() {
            let request = echo(number as u64, size);
            let reply = four.rust[0].call(destination(&target), request.clone()).unwrap();
            assert!(reply[..] == request[..], "Rust calls {target} with {size} bytes");
        }
    }
    for target in four.targets_of_rust() {
        let reply = four.rust[0].call(destination(&target), Vec::new());
        assert_eq!(reply.as_deref(), Ok(&[][..]), "no values at all to {target}");
    }
    four.world.assert_healthy();
}

#[test]
fn all_sizes_under_a_real_master() {
    sizes(Sort::Real);
}

#[test]
fn all_sizes_under_our_master() {
    sizes(Sort::Library);
}

#[test]
fn a_payload_above_the_limit_is_refused_where_it_is_sent() {
    let Some(four) = four(Sort::Real) else { return };
    let (rust, lua) = (&four.rust[0], &four.lua[1]);
    let refused = rust.call(lua.handle(), vec![0; (1 << 24) - 12]);
    assert_eq!(refused, Err(CallError::TooLarge));
    assert_eq!(lua.ask("call R3 1 10").as_deref(), Ok("right"), "the link is as it was");
    four.world.assert_healthy();
}

/// 64 callers in each direction.
fn callers(master: Sort) {
    let Some(four) = four(master) else { return };
    let sizes = vec![0, 1, 63, 64, 4 << 10, 64 << 10];
    for target in four.targets_of_lua() {
        let traffic = Traffic {
            targets: Vec::new(),
            sizes: sizes.clone(),
            callers: 64,
            calls: 20,
            time: PATIENCE,
            pause: Duration::ZERO,
        };
        let tally = four.lua[0].begin_traffic(&target, &traffic).end_traffic(PATIENCE);
        assert_eq!(tally, Tally::clean(64 * 20), "Lua calls {target}");
    }
    for target in four.targets_of_rust() {
        let targets = vec![destination(&target)];
        let traffic = Traffic {
            targets,
            sizes: sizes.clone(),
            callers: 64,
            calls: 20,
            time: PATIENCE,
            pause: Duration::ZERO,
        };
        assert_eq!(four.rust[0].traffic(traffic), Tally::clean(64 * 20), "Rust calls {target}");
    }
    four.world.assert_healthy();
}

#[test]
fn many_callers_under_a_real_master() {
    callers(Sort::Real);
}

#[test]
fn many_callers_under_our_master() {
    callers(Sort::Library);
}

/// One way, nothing lost, nothing out of order.
fn bursts(master: Sort) {
    let Some(four) = four(master) else { return };
    for (tag, count, size) in [("small", 20_000, 100), ("mixed", 2_000, 4 << 10), ("large", 200, 64 << 10)] {
        for target in four.targets_of_lua() {
            let counted = four.lua[0].ask(&format!("burst {target} {tag}{target} {count} {size}"));
            assert_eq!(counted, Ok(format!("{count} 0")), "Lua sends to {target}");
        }
        for (target, tag) in
            four.targets_of_rust().iter().zip([[tag, "1"], [tag, "2"], [tag, "3"], [tag, "4"]])
        {
            let burst = Burst { to: destination(target), tag: tag.concat(), count, size };
            let counted = four.rust[0].node.call_blocking(&four.rust[0].agent, burst, PATIENCE).unwrap();
            assert_eq!(counted, Ok((count, 0)), "Rust sends to {target}");
        }
    }
    // A real node says so when 1,024 messages wait for one service: that is what a burst is.
    four.world.assert_healthy_but("May overload, message queue length = ");
}

#[test]
fn bursts_under_a_real_master() {
    bursts(Sort::Real);
}

#[test]
fn bursts_under_our_master() {
    bursts(Sort::Library);
}

/// What fails in Lua, as Rust is told.
fn errors_of_lua(master: Sort) {
    let Some(four) = four(master) else { return };
    let (rust, lua) = (&four.rust[0], &four.lua[1]);
    let by_name = destination(&lua.name());
    assert_eq!(rust.call(by_name, arguments("fail", [])), Err(CallError::Remote), "an error in Lua");
    assert_eq!(rust.call(lua.handle(), arguments("unheard", [])), Err(CallError::Remote), "no such command");
    let child: Handle = lua.ask("child").unwrap().parse().unwrap();
    let request = echo(1, 10);
    assert_eq!(rust.call(child, request.clone()).as_deref(), Ok(&request[..]));
    let wrong_kind = rust.node.call_raw_blocking(child, Kind::TEXT, b"text", PATIENCE);
    assert_eq!(wrong_kind, Err(CallError::Remote), "a type that it does not know");
    assert_eq!(lua.ask(&format!("kill {child}")).as_deref(), Ok("killed"));
    assert_eq!(rust.call(child, request.clone()), Err(CallError::Remote), "a dead handle");
    let nobody = Handle::new(lua.handle().harbor(), Handle::LOCAL_MAX);
    assert_eq!(rust.call(nobody, request.clone()), Err(CallError::Remote), "a handle that never was");
    let unknown = rust.node.call_raw_blocking(destination("NOBODY"), Kind::LUA, request.clone(), millis(300));
    assert!(matches!(unknown, Err(CallError::NoName(_) | CallError::Timeout)), "{unknown:?}");
    let late = rust.node.call_raw_blocking(by_name, Kind::LUA, arguments("never", []), millis(300));
    assert_eq!(late, Err(CallError::Timeout));
    let tardy = [Value::Int(30), Value::Int(1)];
    let late = rust.node.call_raw_blocking(by_name, Kind::LUA, arguments("later", tardy.clone()), millis(50));
    assert_eq!(late, Err(CallError::Timeout), "its reply comes when nobody waits any more");
    let reply = rust.call(by_name, arguments("later", tardy)).unwrap();
    assert_eq!(unpack(&reply), Ok(vec![Value::Int(1)]), "and is not taken for another one's");
}

#[test]
fn errors_of_lua_reach_rust_under_a_real_master() {
    errors_of_lua(Sort::Real);
}

#[test]
fn errors_of_lua_reach_rust_under_our_master() {
    errors_of_lua(Sort::Library);
}

#[test]
fn a_lua_service_that_exits_ends_the_calls_that_wait_for_it() {
    let Some(four) = four(Sort::Real) else { return };
    let (rust, lua) = (&four.rust[0], &four.lua[1]);
    let child: Handle = lua.ask("child").unwrap().parse().unwrap();
    let ended = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rust.call(child, arguments("never", [])));
        // The reply shows that the call before it was taken.
        assert!(rust.call(child, echo(1, 1)).is_ok());
        assert_eq!(rust.call(child, arguments("exit", [])), Err(CallError::Remote));
        waiting.join().unwrap()
    });
    assert_eq!(ended, Err(CallError::Remote));
    four.world.assert_healthy();
}

/// What fails in Rust, as Lua is told.
fn errors_of_rust(master: Sort) {
    let Some(four) = four(master) else { return };
    let (rust, lua) = (&four.rust[0], &four.lua[1]);
    let failed = |command: &str| {
        let outcome = lua.ask(command).unwrap();
        assert!(outcome.starts_with("failed "), "{command}: {outcome}");
    };
    let name = rust.name();
    failed(&format!("say {name} 1000 fail"));
    failed(&format!("say {name} 1000 unheard"));
    failed(&format!("call {} 1 10", Handle::new(rust.node.harbor(), Handle::LOCAL_MAX - 1)));
    let child = rust.node.spawn("child", crate::agent::Agent::default()).unwrap();
    let handle = child.handle();
    assert_eq!(lua.ask(&format!("call {handle} 1 10")).as_deref(), Ok("right"));
    // Ends with a call waiting, then it is a dead handle.
    let waiting = lua.begin(&format!("say {handle} 3000 never"));
    assert_eq!(
        lua.ask(&format!("call {handle} 1 10")).as_deref(),
        Ok("right"),
        "the call before it was taken"
    );
    rust.node.kill(child).unwrap();
    let ended = waiting.end(PATIENCE).unwrap();
    assert!(ended.starts_with("failed "), "{ended}");
    failed(&format!("call {handle} 1 10"));
    assert_eq!(lua.ask(&format!("say {name} 30 never")).as_deref(), Ok("late"));
    assert_eq!(lua.ask("call NOBODY 1 10 30").as_deref(), Ok("late"), "as with a real node: a name may come");
    assert_eq!(lua.ask(&format!("call {name} 1 10")).as_deref(), Ok("right"));
}

#[test]
fn errors_of_rust_reach_lua_under_a_real_master() {
    errors_of_rust(Sort::Real);
}

#[test]
fn errors_of_rust_reach_lua_under_our_master() {
    errors_of_rust(Sort::Library);
}

#[test]
fn a_name_that_comes_later_is_found() {
    let Some(four) = four(Sort::Real) else { return };
    let waiting = four.lua[1].begin("call LATER 1 100");
    let found = four.rust[1].node.spawn("later", crate::agent::Agent::default()).unwrap();
    four.rust[1].node.register_global("LATER", &found).unwrap();
    assert_eq!(waiting.end(PATIENCE).as_deref(), Ok("right"));
    let from_lua = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| four.rust[0].call(destination("LUALATER"), echo(2, 100)));
        assert_eq!(four.lua[1].ask("register LUALATER").as_deref(), Ok("registered"));
        waiting.join().unwrap()
    });
    assert_eq!(from_lua.as_deref(), Ok(&echo(2, 100)[..]));
    four.world.assert_healthy();
}

#[test]
fn the_program_and_a_real_node() {
    let Some(world) = World::found() else { return };
    let real = world.real_master(1);
    let own = world.program(2);
    assert_eq!(real.ask("say K2 1000 set key 7").as_deref(), Ok("replied nil"));
    assert_eq!(real.ask("say K2 1000 get key").as_deref(), Ok("replied 7"));
    assert_eq!(own.call(&["K2", "\"get\"", "\"key\""]).as_deref(), Ok("[7]"));
    let failed = real.ask("say K2 1000 unheard").unwrap();
    assert!(failed.starts_with("failed "), "{failed}");
    let failed = own.call(&["L1", "\"fail\""]).unwrap_err();
    assert!(failed.contains("the callee answered with an error"), "{failed}");
    own.stop();
    drop(real);
}
