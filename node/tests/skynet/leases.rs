//! Real nodes burn ids: a node of ours that comes back takes another one from its range.

use crate::process::PATIENCE;
use crate::program::until;
use crate::world::World;

#[test]
fn a_burnt_id_is_replaced_by_the_next_of_the_range_and_the_name_moves() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let real = world.real(2);
    // Somebody had the first two ids of the range, long ago. (The range allows one new id a minute.)
    for id in [200, 201] {
        world.library(id).wait_linked(1);
        master.log().wait_for(&format!("slave {id} is down"));
    }
    world.remember_lease(7, 201);
    let first = world.start_leased(7, [200, 203]).ready();
    assert_eq!(first.handle().harbor().get(), 202, "the one behind the last");
    for from in [&master, &real] {
        assert_eq!(from.ask("call E7 1 100").as_deref(), Ok("right"));
    }
    first.kill();
    assert_eq!(real.ask("lost 202").as_deref(), Ok("lost"));

    // It crashed within a minute: no id is burnt for that.
    let second = world.start_leased(7, [200, 203]);
    second.log().wait_for("less than a minute ago");
    world.remember_lease(7, 202);
    let third = world.start_leased(7, [200, 203]).ready();
    assert_eq!(third.handle().harbor().get(), 203);
    for from in [&master, &real] {
        until("the name has moved", || from.ask("query E7 3000") == Ok(third.handle().to_string()));
        assert_eq!(from.ask("call E7 1 100").as_deref(), Ok("right"));
    }
    assert_eq!(third.call(&["L2", "\"echo\"", "1"]).as_deref(), Ok("[\"echo\",1]"));
    assert_eq!(master.begin("call L2 1 10").end(PATIENCE).as_deref(), Ok("right"));
}
