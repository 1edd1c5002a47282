//! Mixed traffic for a long time: every reply is checked.

use crate::agent::{Tally, Traffic};
use crate::world::{Library, Real, Sort, World, destination};
use std::io::Write;
use std::thread;
use std::time::Duration;

/// The environment variable with the minutes, a fraction if need be.
const MINUTES: &str = "SKYNET_MINUTES";
const DEFAULT_TIME: Duration = Duration::from_secs(5);
/// Callers of each node.
const CALLERS: u64 = 8;

/// What the traffic calls with: mostly small, some large.
fn sizes() -> Vec<usize> {
    let mut sizes = [0, 1, 20, 63, 64, 100, 300, 1000].repeat(8);
    sizes.extend([4 << 10, 16 << 10, 64 << 10, 64 << 10, 256 << 10, 1 << 20]);
    sizes
}

fn time() -> Duration {
    let Ok(minutes) = std::env::var(MINUTES) else { return DEFAULT_TIME };
    let minutes: f64 = minutes.parse().unwrap_or_else(|_| panic!("{MINUTES} = {minutes:?} is no number"));
    Duration::from_secs_f64(minutes * 60.0)
}

/// Three real nodes and two of ours call each other and the echo of our program.
fn mixed(master: Sort, time: Duration) {
    let Some(world) = World::found() else { return };
    let (lua, rust): (Vec<Real>, Vec<Library>) = match master {
        Sort::Real => {
            let lua = vec![world.real_master(1), world.real(2), world.real(3)];
            (lua, vec![world.library(4), world.library(5)])
        }
        Sort::Library | Sort::Program => {
            let rust = vec![world.library_master(1), world.library(2)];
            ([3, 4, 5].map(|id| world.real(id)).into(), rust)
        }
    };
    let program = world.join(Sort::Program, 6);
    let mut all: Vec<(u8, String)> = Vec::new();
    for real in &lua {
        let id = real.handle().harbor().get();
        all.extend([(id, real.name()), (id, real.handle().to_string())]);
    }
    for library in &rust {
        let id = library.node.harbor().get();
        all.extend([(id, format!("R{id}")), (id, library.agent.handle().to_string())]);
    }
    all.extend([(program.id(), program.name()), (program.id(), program.handle().to_string())]);
    let others = |id| {
        let names = all.iter().filter(|(of, _)| *of != id).map(|(_, name)| name.as_str());
        names.collect::<Vec<_>>()
    };
    let traffic =
        Traffic { targets: Vec::new(), sizes: sizes(), callers: CALLERS, calls: u64::MAX >> 1, time };

    let lua_calls: Vec<_> = lua
        .iter()
        .map(|real| real.begin_traffic(&others(real.handle().harbor().get()).join(","), &traffic))
        .collect();
    let (traffic, others) = (&traffic, &others);
    let tallies = thread::scope(|scope| {
        let calls: Vec<_> = rust
            .iter()
            .map(|library| {
                let targets = others(library.node.harbor().get()).into_iter().map(destination).collect();
                scope.spawn(move || library.traffic(Traffic { targets, ..traffic.clone() }))
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>()
    });
    let mut total = Tally::default();
    let lua_tallies = lua_calls.into_iter().map(|calls| calls.end_traffic(time));
    for (who, tally) in
        lua_tallies.map(|tally| ("Lua", tally)).chain(tallies.into_iter().map(|tally| ("Rust", tally)))
    {
        say(&format!(
            "{master:?} master, {time:?}: from {who}: {} right, {} wrong, {} failed {}",
            tally.right, tally.wrong, tally.failed, tally.first
        ));
        total.add(tally);
    }
    assert!(total.right > 0);
    assert_eq!(total, Tally::clean(total.right));
    world.assert_healthy();
}

/// Shown although the test passes.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[test]
fn mixed_traffic_under_a_real_master() {
    mixed(Sort::Real, time());
}

#[test]
fn mixed_traffic_under_our_master() {
    mixed(Sort::Library, time());
}
