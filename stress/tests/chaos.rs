//! Real processes under the nemesis, small.
#![cfg(target_os = "linux")]

mod program;

use program::{check_shape, run, start, stderr, stdout};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};
use skyharbor::clock::Instant;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::time::Duration;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_small_cluster_survives_everything_with_exact_accounts() {
    let output = run("chaos --nodes 4 --secs 4 --seed 7 --kills-every 200ms --json");
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    assert_eq!(text.lines().count(), 1, "{text}");
    let record: serde_json::Value = serde_json::from_str(&text).expect("the line is JSON");
    check_shape(&record, &text);
    let params = &record["params"];
    assert_eq!((&params["violations"], &params["seed"]), (&0.into(), &7.into()), "{text}");
    assert!(params["kills"].as_u64() > Some(5) && params["stops"].as_u64() > Some(0), "{text}");
    assert!(params["got"].as_u64() > Some(0) && params["ended"]["reply"].as_u64() > Some(0), "{text}");
    let calls =
        params["ended"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum::<u64>();
    let open = params["open_at_death"].as_u64().unwrap();
    assert_eq!(params["calls"].as_u64(), Some(calls + open), "{text}");
}

#[test]
fn links_without_the_proxy_are_killed_at_all_the_same_and_a_number_of_kills_ends_the_run() {
    let output = run("chaos --nodes 3 --kills 4 --kills-every 100ms --direct --round 20");
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    assert!(text.contains(" 4 killed") && text.ends_with("\nPASS\n"), "{text}");
}

#[test]
fn real_nodes_answer_in_the_mix() {
    if std::env::var_os("SKYNET_DIR").is_none() {
        eprintln!("SKYNET_DIR does not name a built Skynet: nothing was tested");
        return;
    }
    let output = run("chaos --nodes 3 --real 2 --kills 8 --round 20 --json");
    assert!(output.status.success(), "{output:?}");
    let record: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("the line is JSON");
    assert!(record["params"]["real"].as_u64() >= Some(2), "{record}");
}

#[test]
fn cuts_between_machines_cost_links_and_no_account() {
    let is_possible = rustix::process::geteuid().is_root()
        && std::process::Command::new("ip").arg("-V").output().is_ok_and(|output| output.status.success());
    if !is_possible {
        eprintln!("no root, or no `ip`: nothing was tested");
        return;
    }
    let spaces = || {
        let listed = std::process::Command::new("ip").args(["netns", "list"]).output().expect("it lists");
        stdout(&listed)
            .lines()
            .filter(|name| name.starts_with("chaos-"))
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let before = spaces();
    let line =
        "chaos --netns --real 0 --nodes 4 --secs 14 --round 20 --kills-every 3s --faults-every 500ms --json";
    let output = run(line);
    assert!(output.status.success(), "{output:?}");
    let record: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("the line is JSON");
    assert!(
        record["params"]["faults"]["cut"].as_u64() > Some(10) && record["params"]["kills"].as_u64() > Some(1),
        "{record}"
    );
    assert!(spaces().is_subset(&before), "{:?} and before {before:?}", spaces());
}

#[test]
fn workers_that_are_always_busy_cost_no_link() {
    let line = "chaos --direct --real 0 --nodes 3 --hogs 2 --rate 20 --secs 3 --round 3 --kills-every 0 \
                --stops-every 0 --leaves-every 0 --json";
    let output = run(line);
    assert!(output.status.success(), "{output:?}");
    let record: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("the line is JSON");
    assert!(record["params"]["lives"] == 3 && record["msgs"].as_u64() > Some(20), "{record}");
}

#[test]
fn a_wrong_line_is_refused() {
    for line in [
        "chaos --nodes 1",
        "chaos --netns --direct",
        "chaos --faults rain",
        "chaos --kills-every 5",
        "chaos --rate 0",
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(2), "{line}: {output:?}");
    }
}

/// A run that goes on until it is ended, and what it said on stderr when its processes began to start.
fn endless() -> (std::process::Child, BufReader<std::process::ChildStderr>) {
    let mut program = start("chaos --nodes 3 --secs 600 --round 600 --stops-every 50ms");
    let mut errors = BufReader::new(program.stderr.take().expect("it is piped"));
    let mut first = String::new();
    errors.read_line(&mut first).expect("it says what runs");
    assert!(first.contains("chaos, round 1"), "{first}");
    (program, errors)
}

#[test]
fn ctrl_c_checks_what_happened_until_then() {
    let (program, errors) = endless();
    kill_process_group(Pid::from_child(&program), Signal::INT).expect("it runs");
    let rest: String = errors.lines().map(|line| line.expect("it is text") + "\n").collect();
    let output = program.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{rest}{output:?}");
    assert!(rest.contains("interrupted") && !rest.contains("FAIL"), "{rest}");
    assert!(stdout(&output).contains("accounts: every call has one end"), "{output:?}");
    assert!(!stdout(&output).contains("PASS") && stderr(&output).is_empty(), "{output:?}");
}

#[test]
fn no_process_stays_behind_however_the_first_one_ends() {
    let (mut program, _errors) = endless();
    let parent = Pid::from_child(&program);
    // A real node is among them where Skynet is.
    let count = 3 + usize::from(std::env::var_os("SKYNET_DIR").is_some());
    let members = until("members", || {
        let members = children_of(parent);
        (members.len() == count).then_some(members)
    });
    program.kill().expect("it runs");
    program.wait().expect("it ends");
    for member in members {
        until("end of a member", || (is_gone(member)).then_some(()));
    }
}

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

fn children_of(parent: Pid) -> Vec<Pid> {
    let id = parent.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
}

/// Gone, or dead and waiting for whoever collects orphans.
fn is_gone(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(process).is_err() || stat.contains(") Z ")
}
