//! What real nodes wait for when a node of ours is standalone: SERVICE and DATACENTER.

use crate::agent::echo;
use crate::process::PATIENCE;
use crate::world::World;
use skyharbor::prelude::*;

#[test]
fn real_nodes_share_our_data_center() {
    let Some(world) = World::found() else { return };
    let _master = world.library_master(1);
    let (one, two) = (world.real(2), world.real(3));
    let waiting = two.begin("wait later");
    assert_eq!(one.ask("set key 7").as_deref(), Ok("nil"));
    assert_eq!(two.ask("get key").as_deref(), Ok("7"));
    assert_eq!(two.ask("set key eight").as_deref(), Ok("7"));
    assert_eq!(one.ask("get key").as_deref(), Ok("eight"));
    assert_eq!(one.ask("get nothing").as_deref(), Ok("nil"));
    assert_eq!(one.ask("set later 9").as_deref(), Ok("nil"));
    assert_eq!(waiting.end(PATIENCE).as_deref(), Ok("9"));
    world.assert_healthy();
}

#[test]
fn lua_launches_our_services_by_their_names() {
    let Some(world) = World::found() else { return };
    let master = world.library_master(1);
    let (one, two) = (world.real(2), world.real(3));
    let waiting = two.begin("queried kv");
    let kv: Handle = one.ask("unique kv").unwrap().parse().unwrap();
    assert_eq!(kv.harbor().get(), 1, "where SERVICE is");
    assert_eq!(waiting.end(PATIENCE), Ok(kv.to_string()), "a query waits for the launch");
    assert_eq!(two.ask("unique kv"), Ok(kv.to_string()), "there is one of them");
    assert_eq!(one.ask(&format!("say {kv} 1000 set key 7")).as_deref(), Ok("replied nil"));
    assert_eq!(two.ask(&format!("say {kv} 1000 get key")).as_deref(), Ok("replied 7"));

    let launched: Handle = two.ask("unique echo").unwrap().parse().unwrap();
    assert_eq!(one.ask(&format!("call {launched} 1 1000")).as_deref(), Ok("right"));
    assert_eq!(master.call(launched, echo(1, 10)).as_deref(), Ok(&echo(1, 10)[..]));
    assert!(one.ask("unique nosuchservice").is_err(), "an error as a real node gives it");
    assert_eq!(one.ask("call R1 1 10").as_deref(), Ok("right"));
}

#[test]
fn the_program_serves_real_nodes_as_a_library_does() {
    let Some(world) = World::found() else { return };
    let _master = world.program_master(1);
    let (one, two) = (world.real(2), world.real(3));
    let kv = one.ask("unique kv").unwrap();
    assert_eq!(two.ask("unique kv"), Ok(kv));
    assert_eq!(one.ask("set key 7").as_deref(), Ok("nil"));
    assert_eq!(two.ask("get key").as_deref(), Ok("7"));
    world.assert_healthy();
}
