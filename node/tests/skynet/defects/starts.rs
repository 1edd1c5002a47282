//! E7, E8: nodes that wait for ever when they start, and configurations that are wrong.

use crate::agent::echo;
use crate::played::Played;
use crate::program::{output, stderr};
use crate::world::{World, destination};
use std::fs;
use std::net::TcpStream;

/// The played node, which never dials anybody.
const SILENT: u8 = 9;

fn is_ready(log: &crate::process::Log) -> bool {
    log.lines().iter().any(|line| line.contains("Shakehand ready"))
}

#[test]
fn e7_a_real_node_waits_for_ever_for_one_that_never_dials_and_others_behind_it() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let silent = Played::join(world.master().1, SILENT);
    let stuck = world.start_real(2, false);
    stuck.log().wait_for("Waiting for 2 harbors");
    stuck.log().wait_for("Harbor 1 connected");
    let behind = world.start_real(3, false);
    behind.log().wait_for("Waiting for 3 harbors");
    behind.log().wait_for("Harbor 1 connected");
    // It waits on although the master says that the silent one is gone.
    drop(silent);
    master.log().wait_for("slave 9 is down");
    assert_eq!(master.ask("call L2 1 1 50").as_deref(), Ok("late"));
    assert!(!is_ready(stuck.log()) && !is_ready(behind.log()));
    // Any connection makes it count again, and frees those behind it.
    drop(TcpStream::connect(("127.0.0.1", stuck.links())).unwrap());
    let (_stuck, behind) = (stuck.ready(), behind.ready());
    assert_eq!(behind.ask("call L2 1 10").as_deref(), Ok("right"));
}

#[test]
fn e7_our_node_goes_on_without_one_that_never_dials() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let silent = Played::join(world.master().1, SILENT);
    let rust = world.library(2);
    rust.wait_linked(1);
    // As soon as the master says that it is gone; without a word after ten seconds.
    drop(silent);
    assert_eq!(master.ask("call R2 1 10").as_deref(), Ok("right"));
    let behind = world.real(3);
    assert_eq!(behind.ask("call R2 1 10").as_deref(), Ok("right"));
    assert_eq!(rust.call(destination("L3"), echo(1, 10)).as_deref(), Ok(&echo(1, 10)[..]));
}

#[test]
fn e7_our_node_goes_on_while_the_silent_one_stays_silent() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let _silent = Played::join(world.master().1, SILENT);
    let own = world.program(2);
    own.log().wait_for("Joined { missing: 1 }");
    assert_eq!(master.ask("call E2 1 10").as_deref(), Ok("right"));
}

#[test]
fn e8_a_real_node_with_a_wrong_configuration_hangs_or_ends_with_status_0() {
    let Some(world) = World::found() else { return };
    // A master with harbor 0.
    let mut draft = world.draft(1, true);
    draft.config = draft.config.replace("harbor = 1\n", "harbor = 0\n");
    let hanging = world.start(draft);
    hanging.log().wait_for("assertion failed!");
    assert!(hanging.process().runs(), "it does nothing and does not end");
    // Nobody is at the master's address.
    let lonely = world.start_real(2, false);
    assert_eq!(lonely.process().wait().code(), Some(0));
    // No address of its own.
    let mut draft = world.draft(3, false);
    draft.config = draft
        .config
        .lines()
        .filter(|line| !line.starts_with("address"))
        .fold(String::new(), |text, line| text + line + "\n");
    assert_eq!(world.start(draft).process().wait().code(), Some(0));
}

#[test]
fn e8_our_node_says_what_is_wrong_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let path = path.to_str().unwrap();
    for (config, problem) in [
        ("harbor = 0\nmaster = \"127.0.0.1:1\"\nstandalone = \"127.0.0.1:1\"\n", "harbor"),
        ("harbor = 3\nmaster = \"127.0.0.1:1\"\n", "address is missing"),
        ("harbor = 3\naddress = \"127.0.0.1:0\"\n", "master is missing"),
    ] {
        fs::write(path, config).unwrap();
        for command in ["check", "run"] {
            let ended = output(&[command, path]);
            assert_eq!(ended.status.code(), Some(2), "{command}: {config}");
            assert!(stderr(&ended).contains(problem), "{}", stderr(&ended));
        }
    }
}

#[test]
fn e8_our_node_waits_for_a_master_that_is_not_there_yet() {
    let Some(world) = World::found() else { return };
    let own = world.program(2);
    let master = world.real_master(1);
    own.log().wait_for("Joined { missing: 0 }");
    assert_eq!(master.ask("call E2 1 10").as_deref(), Ok("right"));
}
