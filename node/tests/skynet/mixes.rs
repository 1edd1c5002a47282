//! Who hosts the master, who joins, in which order: afterwards everybody calls everybody, by name and by handle.

use crate::world::{Member, Sort, World, assert_mesh};
use Sort::{Library, Program, Real};

/// A cluster in which each node joins when the one before it runs.
fn one_after_the_other(sorts: &[Sort], ids: &[u8]) {
    let Some(world) = World::found() else { return };
    let members: Vec<_> = sorts
        .iter()
        .zip(ids)
        .enumerate()
        .map(|(place, (sort, id))| if place == 0 { world.first(*sort, *id) } else { world.join(*sort, *id) })
        .collect();
    assert_mesh(&members.iter().collect::<Vec<_>>(), 100);
    world.assert_healthy();
}

#[test]
fn a_real_master_real_slaves_and_ours() {
    one_after_the_other(&[Real, Real, Library, Real, Program], &[1, 2, 3, 4, 5]);
}

#[test]
fn a_real_master_and_ours_only() {
    one_after_the_other(&[Real, Library, Program, Library], &[1, 2, 3, 4]);
}

#[test]
fn our_master_in_a_library_and_real_slaves() {
    one_after_the_other(&[Library, Real, Real, Real], &[1, 2, 3, 4]);
}

#[test]
fn our_master_in_the_program_and_real_slaves() {
    one_after_the_other(&[Program, Real, Library, Real], &[1, 2, 3, 4]);
}

#[test]
fn ids_with_the_highest_bit() {
    one_after_the_other(&[Real, Library, Real, Library, Program], &[128, 255, 200, 254, 127]);
    one_after_the_other(&[Library, Real, Library, Real], &[255, 128, 129, 254]);
}

/// The six orders of two real nodes and two of ours.
const ORDERS: [[Sort; 4]; 6] = [
    [Real, Real, Library, Program],
    [Real, Library, Real, Program],
    [Real, Library, Program, Real],
    [Library, Real, Real, Program],
    [Library, Real, Program, Real],
    [Library, Program, Real, Real],
];

#[test]
fn every_order_under_a_real_master() {
    for order in ORDERS {
        one_after_the_other(&[&[Real], &order[..]].concat(), &[1, 2, 3, 4, 5]);
    }
}

#[test]
fn every_order_under_our_master() {
    for order in ORDERS {
        one_after_the_other(&[&[Library], &order[..]].concat(), &[1, 2, 3, 4, 5]);
    }
}

/// Seven join at the same moment.
fn all_at_once(master: Sort) {
    let Some(world) = World::found() else { return };
    let first = world.first(master, 1);
    let starting: Vec<_> = [2, 130, 4, 255].map(|id| world.start_real(id, false)).into();
    let mut members = vec![first];
    members.extend([5, 200].map(|id| world.join(Library, id)));
    members.push(world.join(Program, 7));
    members.extend(starting.into_iter().map(|real| Member::Real(real.ready())));
    assert_mesh(&members.iter().collect::<Vec<_>>(), 10);
    world.assert_healthy();
}

#[test]
fn eight_nodes_of_which_seven_join_at_once_under_a_real_master() {
    all_at_once(Real);
}

#[test]
fn eight_nodes_of_which_seven_join_at_once_under_our_master() {
    all_at_once(Library);
}
