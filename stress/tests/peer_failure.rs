//! The second process: what happens when it is lost, and that it never stays behind.
#![cfg(target_os = "linux")]

mod program;

use program::{run, start, stderr, stdout};
use rustix::process::{Pid, Signal, kill_process};
use skyharbor::clock::Instant;
use std::fs;
use std::time::Duration;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until there is an answer.
fn until<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now().since(began) < PATIENCE, "no {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The process that `parent` started, once it has used this much CPU time, in ticks of 10 ms.
fn peer_of(parent: Pid, ticks: u64) -> Pid {
    let parent = parent.as_raw_nonzero().get();
    until("second process", || {
        fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let id: i32 = entry.file_name().to_str()?.parse().ok()?;
            let (its_parent, its_ticks) = parent_and_ticks(id)?;
            (its_parent == parent && its_ticks >= ticks).then(|| Pid::from_raw(id))?
        })
    })
}

fn parent_and_ticks(id: i32) -> Option<(i32, u64)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the fields behind it are numbered from the third.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3);
    let (user, system): (u64, u64) = (field(14)?.parse().ok()?, field(15)?.parse().ok()?);
    Some((field(4)?.parse().ok()?, user + system))
}

/// Runs a workload, kills its second process after that has used so much CPU time, and gives what the first one said.
fn lose_the_peer(workload: &str, ticks: u64) -> String {
    let program = start(&format!("{workload} --secs 600"));
    let peer = peer_of(Pid::from_child(&program), ticks);
    kill_process(peer, Signal::KILL).expect("it runs");
    let output = program.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{workload}: {output:?}");
    assert!(!stdout(&output).contains("PASS"), "{output:?}");
    stderr(&output)
}

#[test]
fn a_lost_peer_fails_the_run_with_its_reason() {
    for workload in ["rtt", "flood", "openloop"] {
        // At once, and when messages flow: joining takes less than 0.1 s of CPU time.
        for ticks in [0, 10] {
            let error = lose_the_peer(workload, ticks);
            assert!(error.contains(&format!("FAIL {workload}: ")), "{error}");
            let of_a_call = error.contains("the link to node 2") || error.contains("the peer is down");
            assert!(of_a_call || error.contains("the second process ended with signal: 9"), "{error}");
        }
    }
}

#[test]
fn the_peer_ends_with_the_first_process_however_that_ends() {
    let mut program = start("rtt --secs 600");
    let peer = peer_of(Pid::from_child(&program), 10);
    program.kill().expect("it runs");
    program.wait().expect("it ends");
    let id = peer.as_raw_nonzero();
    until("end of the second process", || {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // Gone, or dead and waiting for whoever collects orphans.
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn a_peer_that_cannot_join_says_so() {
    let peer = run("peer --master 127.0.0.1:1 --workers 0 --seed 1 --size 16");
    assert_eq!(peer.status.code(), Some(1), "{peer:?}");
    assert!(!stderr(&peer).trim().is_empty(), "{peer:?}");
}
