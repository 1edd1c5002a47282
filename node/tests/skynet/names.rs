//! Global names: who has one, who is told, what becomes of a dead owner's.

use crate::agent::{Agent, Burst, echo};
use crate::process::PATIENCE;
use crate::world::{Sort, World, destination};
use std::thread;

#[test]
fn both_sides_find_the_same_owner() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let rust = world.library(2);
    let real = world.real(3);
    let late = world.library(4);
    for from in [&master, &real] {
        assert_eq!(from.ask("query R2 3000"), Ok(rust.agent.handle().to_string()));
        assert_eq!(from.ask("query R4 3000"), Ok(late.agent.handle().to_string()));
    }
    for from in [&rust, &late] {
        assert_eq!(from.node.query("L3".parse().unwrap(), PATIENCE), Ok(real.handle()));
        assert_eq!(from.node.query("R2".parse().unwrap(), PATIENCE), Ok(rust.agent.handle()));
    }
    world.assert_healthy();
}

#[test]
fn a_name_that_a_lua_service_is_known_to_have_is_not_taken_away() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let real = world.real(2);
    let rust = world.library(3);
    assert_eq!(rust.node.query("L2".parse().unwrap(), PATIENCE), Ok(real.handle()));
    let thief = rust.node.spawn("thief", Agent::default()).unwrap();
    assert!(rust.node.register_global("L2", &thief).is_err(), "the loser is told");
    for from in [&master, &real] {
        assert_eq!(from.ask("query L2 3000"), Ok(real.handle().to_string()));
        assert_eq!(from.ask("call L2 1 10").as_deref(), Ok("right"));
    }
    assert_eq!(rust.node.query("L2".parse().unwrap(), PATIENCE), Ok(real.handle()));
    world.assert_healthy();
}

fn an_unheard_name_is_not_taken_away(sort: Sort) {
    let Some(world) = World::found() else { return };
    let master = world.first(sort, 1);
    let real = world.real(2);
    let rust = world.library(3);
    rust.wait_linked(1);
    rust.wait_linked(2);
    assert_eq!(real.ask("query R3 3000"), Ok(rust.agent.handle().to_string()));
    let thief = rust.node.spawn("thief", Agent::default()).unwrap();
    let taken = rust.node.register_global("L2", &thief);
    assert!(matches!(taken, Err(skyharbor::Error::NameTaken(owner)) if owner == real.handle()), "{taken:?}");
    rust.node.register_global("FREE", &thief).unwrap();
    let late = world.library(4);
    for from in [&rust, &late] {
        assert_eq!(from.node.query("L2".parse().unwrap(), PATIENCE), Ok(real.handle()));
    }
    assert_eq!(real.ask("query L2 3000"), Ok(real.handle().to_string()));
    assert_eq!(real.ask("query FREE 3000"), Ok(thief.handle().to_string()));
    assert_eq!(master.call("L2", 1, 10), Ok(()));
    world.assert_healthy();
}

#[test]
fn a_name_that_we_never_heard_of_is_not_taken_from_a_lua_service() {
    an_unheard_name_is_not_taken_away(Sort::Real);
}

#[test]
fn a_name_that_we_never_heard_of_is_not_taken_from_a_lua_service_under_our_master() {
    an_unheard_name_is_not_taken_away(Sort::Library);
}

#[test]
fn a_name_follows_its_owner_to_a_fresh_id() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let real = world.real(2);
    let own = |id| {
        let library = world.library(id);
        let moved = library.node.spawn("moved", Agent::default()).unwrap();
        library.node.register_global("MOVED", &moved).unwrap();
        (library, moved.handle())
    };
    let (first, before) = own(3);
    for from in [&master, &real] {
        assert_eq!(from.ask("query MOVED 3000"), Ok(before.to_string()));
    }
    first.node.shutdown(PATIENCE).unwrap();
    master.log().wait_for("slave 3 is down");
    let (second, after) = own(4);
    assert_ne!(before, after);
    assert_eq!(second.call(destination("MOVED"), echo(1, 10)).as_deref(), Ok(&echo(1, 10)[..]));
    for from in [&master, &real] {
        crate::program::until("the name has moved", || from.ask("query MOVED 3000") == Ok(after.to_string()));
        assert_eq!(from.ask("call MOVED 1 10").as_deref(), Ok("right"));
    }
}

#[test]
fn a_dead_owners_name_answers_with_errors_under_our_master() {
    let Some(world) = World::found() else { return };
    let _master = world.library_master(1);
    let real = world.real(2);
    let own = world.program(3);
    assert_eq!(real.ask("call E3 1 10").as_deref(), Ok("right"));
    own.kill();
    assert_eq!(real.ask("lost 3").as_deref(), Ok("lost"));
    crate::program::until("the name answers with an error", || {
        real.ask("call E3 1 10 30").is_ok_and(|outcome| outcome.starts_with("failed "))
    });
    assert_eq!(real.ask("call R1 1 10").as_deref(), Ok("right"));
}

#[test]
fn a_dead_owners_name_answers_with_errors_under_a_real_master_until_it_has_another() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let real = world.real(2);
    let doomed = world.real(3);
    let rust = world.library(4);
    let other = world.library(5);
    for from in [&rust, &other] {
        assert_eq!(from.node.query("L3".parse().unwrap(), PATIENCE), Ok(doomed.handle()));
    }
    for from in [&master, &real] {
        assert_eq!(from.ask("call L3 1 10").as_deref(), Ok("right"));
    }
    doomed.kill();
    for from in [&master, &real] {
        crate::program::until("the name answers with an error", || {
            from.ask("call L3 1 10 30").is_ok_and(|outcome| outcome.starts_with("failed "))
        });
        assert_eq!(from.ask("call R4 1 10").as_deref(), Ok("right"));
    }
    let heir = other.node.spawn("heir", Agent::default()).unwrap();
    other.node.register_global("L3", &heir).unwrap();
    for from in [&master, &real] {
        crate::program::until("the name has an owner", || {
            from.ask("query L3 3000") == Ok(heir.handle().to_string())
        });
        assert_eq!(from.ask("call L3 1 10").as_deref(), Ok("right"));
    }
}

/// Each message to a name that nobody has asks for it again; all wait, and arrive in their order.
fn burst_before_the_name(sort: Sort) {
    let Some(world) = World::found() else { return };
    let master = world.first(sort, 1);
    let lua = world.real(2);
    let rust = world.library(3);
    let from_lua = lua.begin("burst LATE burst 1000 100");
    // Its question shows that the messages before it were sent.
    assert_eq!(lua.ask("query LATE 10").as_deref(), Ok("late"));
    let late = rust.node.spawn("late", Agent::default()).unwrap();
    rust.node.register_global("LATE", &late).unwrap();
    assert_eq!(from_lua.end(PATIENCE).as_deref(), Ok("1000 0"));
    let burst = Burst { to: destination("LUALATE"), tag: "burst".to_owned(), count: 1000, size: 100 };
    let from_rust = thread::scope(|scope| {
        let sending = scope.spawn(|| rust.node.call_blocking(&rust.agent, burst, PATIENCE).unwrap());
        assert_eq!(lua.ask("query LUALATE 10").as_deref(), Ok("late"));
        assert_eq!(lua.ask("register LUALATE").as_deref(), Ok("registered"));
        sending.join().unwrap()
    });
    assert_eq!(from_rust, Ok((1000, 0)));
    world.assert_healthy_but("May overload, message queue length = ");
    drop(master);
}

#[test]
fn messages_wait_for_a_name_under_a_real_master() {
    burst_before_the_name(Sort::Real);
}

#[test]
fn messages_wait_for_a_name_under_our_master() {
    burst_before_the_name(Sort::Library);
}

#[test]
fn many_names() {
    let Some(world) = World::found() else { return };
    let lua = world.real_master(1);
    let rust = world.library(2);
    let other = world.library(3);
    for number in 0..300 {
        rust.node.register_global(&format!("rust{number}"), &rust.agent).unwrap();
        assert_eq!(lua.ask(&format!("register lua{number}")).as_deref(), Ok("registered"));
    }
    for number in 0..300 {
        let name = |of: &str| format!("{of}{number}").parse().unwrap();
        assert_eq!(other.node.query(name("lua"), PATIENCE), Ok(lua.handle()));
        assert_eq!(other.node.query(name("rust"), PATIENCE), Ok(rust.agent.handle()));
        assert_eq!(lua.ask(&format!("query rust{number} 3000")), Ok(rust.agent.handle().to_string()));
    }
    world.assert_healthy();
}

/// Names of one byte, of fifteen, and of bytes that are not letters.
#[test]
fn the_shortest_and_the_longest_names() {
    let Some(world) = World::found() else { return };
    let lua = world.real_master(1);
    let rust = world.library(2);
    for name in ["x", "fifteen_bytes_x", "~/[]{}:.,=+-*", "\u{540d}\u{5b57}"] {
        rust.node.register_global(name, &rust.agent).unwrap();
        assert_eq!(lua.ask(&format!("call {name} 1 10")).as_deref(), Ok("right"), "{name}");
    }
    for name in ["y", "fifteen_bytes_y", "~/[]{}:.,=+-y", "\u{540d}y"] {
        assert_eq!(lua.ask(&format!("register {name}")).as_deref(), Ok("registered"));
        let request = echo(1, 10);
        assert_eq!(rust.call(destination(name), request.clone()).as_deref(), Ok(&request[..]), "{name}");
    }
    assert!(rust.node.register_global("sixteen_bytes_xx", &rust.agent).is_err());
    assert!(lua.ask("register sixteen_bytes_yy").is_err());
    world.assert_healthy();
}
