//! Runs the stress program as its users do.
#![allow(dead_code)] // each test file uses its part

#[cfg(unix)]
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};

/// A command that runs the program.
pub(crate) fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skyharbor-stress"));
    command.args(arguments.split_whitespace());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &str) -> Output {
    command(arguments).output().expect("the program starts")
}

/// Starts the program, as the first of a process group as a shell does, and leaves it running.
pub(crate) fn start(arguments: &str) -> Child {
    let mut command = command(arguments);
    #[cfg(unix)]
    command.process_group(0);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// What it printed on stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the output is UTF-8")
}

/// What it printed on stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("the output is UTF-8")
}

/// Runs a workload that has to pass, twice: for people, and for programs. Gives the record of the second.
pub(crate) fn pass(arguments: &str) -> serde_json::Value {
    let people = run(arguments);
    assert!(people.status.success(), "{arguments}: {people:?}");
    assert!(stdout(&people).ends_with("\nPASS\n"), "{arguments}: {people:?}");
    record(arguments)
}

/// Runs a workload with `--json` and reads its one line.
pub(crate) fn record(arguments: &str) -> serde_json::Value {
    let output = run(&format!("{arguments} --json"));
    let text = stdout(&output);
    assert!(output.status.success(), "{arguments}: {output:?}");
    assert_eq!(text.lines().count(), 1, "{arguments}: {text}");
    let record = serde_json::from_str(&text).expect("the line is JSON");
    check_shape(&record, &text);
    record
}

const KEYS: [&str; 10] =
    ["workload", "params", "msgs", "secs", "msgs_per_s", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"];

/// Exactly the keys, in their order, with the right kinds of values.
pub(crate) fn check_shape(record: &serde_json::Value, text: &str) {
    let object = record.as_object().expect("an object");
    assert_eq!(object.len(), KEYS.len(), "{text}");
    let places =
        KEYS.map(|key| text.rfind(&format!("\"{key}\":")).unwrap_or_else(|| panic!("no {key}: {text}")));
    assert!(places.is_sorted(), "{text}");
    assert!(
        record["workload"].is_string() && record["params"].is_object() && record["msgs"].is_u64(),
        "{text}"
    );
    assert!(record["secs"].as_f64().is_some_and(|secs| secs >= 0.0), "{text}");
    assert!(record["msgs_per_s"].as_f64().is_some_and(|rate| rate >= 0.0), "{text}");
    let latencies: Vec<_> = KEYS[5..].iter().map(|key| record[key].as_u64()).collect();
    assert!(latencies.iter().all(Option::is_none) || latencies.is_sorted(), "{text}");
    assert!(KEYS[5..].iter().all(|key| record[key].is_null() || record[key].is_u64()), "{text}");
}
