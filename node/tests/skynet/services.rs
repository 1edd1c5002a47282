//! What real nodes wait for when a node of ours is standalone: SERVICE and DATACENTER.

use crate::world::World;

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
    assert_eq!(waiting.end(crate::process::PATIENCE).as_deref(), Ok("9"));
    world.assert_healthy();
}
