//! E4, E10: names with two owners, and with an owner that is gone.

use crate::agent::{Agent, echo};
use crate::program::until;
use crate::world::{Real, Sort, World, destination};
use skyharbor::prelude::*;

/// Real node 2 takes a name, then 3 joins, which has not heard of it, and takes it too. Who has it, says each of them, and
/// one that joins last.
fn twins(world: &World) -> [Real; 3] {
    let first = world.real(2);
    assert_eq!(first.ask("register TWIN").as_deref(), Ok("registered"));
    let second = world.real(3);
    assert_eq!(second.ask("register TWIN").as_deref(), Ok("registered"));
    let last = world.real(4);
    [first, second, last]
}

fn owner(real: &Real) -> Result<String, String> {
    real.ask("query TWIN 3000")
}

#[test]
fn e4_a_name_under_a_real_master_has_two_owners() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let [first, second, last] = twins(&world);
    for from in [&master, &first, &second] {
        until("who was there believes the last", || owner(from) == Ok(second.handle().to_string()));
    }
    assert_eq!(owner(&last), Ok(first.handle().to_string()), "who asks later is told the first");
}

#[test]
fn e4_a_name_under_our_master_has_one_owner() {
    let Some(world) = World::found() else { return };
    let master = world.first(Sort::Library, 1);
    let [first, second, last] = twins(&world);
    for from in [&first, &second, &last] {
        until("the first keeps it", || owner(from) == Ok(first.handle().to_string()));
    }
    assert_eq!(master.call("TWIN", 1, 10), Ok(()));
}

#[test]
fn e4_our_node_takes_no_name_of_a_living_service_under_a_real_master() {
    let Some(world) = World::found() else { return };
    let (master, first) = (world.real_master(1), world.real(2));
    assert_eq!(first.ask("register TWIN").as_deref(), Ok("registered"));
    assert_eq!(owner(&master), Ok(first.handle().to_string()), "the master has heard of it");
    let second = world.library(3);
    // While it joins it cannot ask the master, and is told later that it lost.
    second.wait_linked(1);
    second.wait_linked(2);
    let taken = second.node.register_global("TWIN", &second.agent);
    assert!(matches!(taken, Err(skyharbor::Error::NameTaken(owner)) if owner == first.handle()), "{taken:?}");
    let last = world.real(4);
    for from in [&first, &last] {
        assert_eq!(owner(from), Ok(first.handle().to_string()));
    }
}

#[test]
fn e10_the_name_of_a_dead_lua_service_is_lost() {
    let Some(world) = World::found() else { return };
    let (master, real) = (world.real_master(1), world.real(2));
    let child = real.ask("child").unwrap();
    assert_eq!(real.ask(&format!("name MORTAL {child}")).as_deref(), Ok("named"));
    assert_eq!(master.ask("call MORTAL 1 10").as_deref(), Ok("right"));
    assert_eq!(real.ask(&format!("kill {child}")).as_deref(), Ok("killed"));
    assert_eq!(real.ask("call MORTAL 1 10 50").as_deref(), Ok("late"), "on its own node nobody is told");
    // Nobody there ever has it again.
    let next = real.ask("child").unwrap();
    assert_eq!(real.ask(&format!("name MORTAL {next}")).as_deref(), Ok("named"));
    real.log().wait_for("assertion failed!");
    assert_eq!(real.ask("query MORTAL 3000"), Ok(child));
    // A name that is too long is refused by one function and taken by another, and leads nowhere.
    assert!(real.ask(&format!("name sixteen_bytes_xx {next}")).is_err());
    assert_eq!(real.ask(&format!("globalname sixteen_bytes_xx {next}")).as_deref(), Ok("named"));
    assert_eq!(master.ask("query sixteen_bytes_xx 3000"), Ok(next));
    assert_eq!(master.ask("call sixteen_bytes_xx 1 10 50").as_deref(), Ok("late"));
}

#[test]
fn e10_the_name_of_a_dead_service_of_ours_gives_errors() {
    let Some(world) = World::found() else { return };
    let (master, rust, other) = (world.real_master(1), world.library(2), world.library(3));
    let mortal = rust.node.spawn("mortal", Agent::default()).unwrap();
    rust.node.register_global("MORTAL", &mortal).unwrap();
    assert_eq!(master.ask("call MORTAL 1 10").as_deref(), Ok("right"));
    rust.node.kill(mortal).unwrap();
    let request = echo(1, 10);
    for own in [&rust, &other] {
        let refused = own.call(destination("MORTAL"), request.clone());
        assert!(matches!(refused, Err(CallError::NoService | CallError::Remote)), "{refused:?}");
    }
    let failed = master.ask("call MORTAL 1 10").unwrap();
    assert!(failed.starts_with("failed "), "{failed}");
    let refused = rust.node.register_global("sixteen_bytes_xx", &rust.agent);
    assert!(matches!(refused, Err(skyharbor::Error::Name(_))), "{refused:?}");
    world.assert_healthy_but("Unknown destination ");
}

#[test]
fn e10_the_name_of_a_dead_service_of_ours_can_be_given_again() {
    let Some(world) = World::found() else { return };
    let (master, rust, other) = (world.real_master(1), world.library(2), world.library(3));
    // A real master tells those who come later of the first owner for ever.
    [&rust, &other].iter().for_each(|own| own.wait_linked(1));
    for own in [&rust, &other] {
        let mortal = own.node.spawn("mortal", Agent::default()).unwrap();
        until("the name is free", || own.node.register_global("MORTAL", &mortal).is_ok());
        until("Lua finds it", || master.ask("query MORTAL 3000") == Ok(mortal.handle().to_string()));
        own.node.kill(mortal).unwrap();
        until("it is dead", || own.call(destination("MORTAL"), echo(1, 10)).is_err());
    }
}
