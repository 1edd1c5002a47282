//! Ctrl-C: what was measured is verified and printed, and the exit code says that the run was cut short.
#![cfg(unix)]

mod program;

use program::{start, stderr, stdout};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead, BufReader};

/// Starts the program, presses Ctrl-C as soon as it says that it runs, and gives its stdout, stderr and exit code.
fn interrupted(arguments: &str) -> (String, String, Option<i32>) {
    let mut program = start(arguments);
    let mut errors = BufReader::new(program.stderr.take().expect("it is piped"));
    let mut first = String::new();
    errors.read_line(&mut first).expect("it says what runs");
    let id = Pid::from_child(&program);
    kill_process_group(id, Signal::INT).expect("it runs");
    let rest: String = errors.lines().map(|line| line.expect("it is text") + "\n").collect();
    let output = program.wait_with_output().expect("it ends");
    (stdout(&output), first + &rest + &stderr(&output), output.status.code())
}

#[test]
fn a_local_run_prints_what_it_has() {
    let (out, err, code) = interrupted("ring --secs 600");
    assert_eq!(code, Some(130), "{out}{err}");
    assert!(out.contains("workload") && out.contains("hops/s") && !out.contains("PASS"), "{out}");
    assert!(err.contains("interrupted"), "{err}");
}

#[test]
fn a_remote_run_ends_in_order() {
    for workload in ["rtt", "flood", "openloop"] {
        let (out, err, code) = interrupted(&format!("{workload} --secs 600"));
        assert_eq!(code, Some(130), "{out}{err}");
        assert!(out.contains("workload") && !out.contains("PASS"), "{out}");
        assert!(err.contains("interrupted") && !err.contains("FAIL"), "{err}");
    }
}

#[test]
fn quick_prints_the_steps_so_far() {
    let (out, err, code) = interrupted("quick --secs 600");
    assert_eq!(code, Some(130), "{out}{err}");
    assert!(out.contains("\npingpong ") && !out.contains("\npairs ") && !out.contains("PASS"), "{out}");
}

#[test]
fn a_record_is_still_one_line() {
    let (out, err, code) = interrupted("tree --n 12000000 --json");
    assert_eq!(code, Some(130), "{out}{err}");
    assert_eq!(out.lines().count(), 1, "{out}");
    program::check_shape(&serde_json::from_str(&out).unwrap(), &out);
}
