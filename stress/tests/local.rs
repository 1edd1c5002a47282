//! Every workload of one process, small.

mod program;

use program::{pass, record};

#[test]
fn round_trips_have_latencies() {
    for workload in ["pingpong", "call"] {
        let record = pass(&format!("{workload} --n 2000"));
        assert_eq!(record["workload"], workload);
        assert_eq!(record["msgs"], 2000);
        assert!(record["p50_ns"].as_u64() > Some(0), "{record}");
    }
}

#[test]
fn pairs_count_two_messages_for_each_round_trip() {
    let record = pass("pairs --n 12800");
    assert_eq!((&record["msgs"], &record["params"]["pairs"]), (&12800.into(), &64.into()));
    assert!(record["p50_ns"].as_u64() > Some(0), "{record}");
}

#[test]
fn counts_have_no_latencies() {
    for workload in ["fanin", "ring", "mixed"] {
        let record = pass(&format!("{workload} --n 12800"));
        assert_eq!(record["msgs"], 12800, "{record}");
        assert!(record["p50_ns"].is_null() && record["max_ns"].is_null(), "{record}");
    }
}

#[test]
fn a_tree_is_summed_whatever_its_shape() {
    for leaves in [1, 2, 10, 11, 999] {
        let record = record(&format!("tree --n {leaves}"));
        assert_eq!(record["msgs"], leaves, "{record}");
        #[cfg(target_os = "linux")]
        assert!(record["params"]["peak_bytes"].as_u64() > Some(0), "{record}");
    }
    pass("tree --n 5000");
}

#[test]
fn idle_services_have_a_size() {
    let record = pass("idle --n 5050");
    assert_eq!(record["msgs"], 5050, "{record}");
    #[cfg(target_os = "linux")]
    assert!(record["params"]["bytes_each"].as_u64() > Some(0), "{record}");
}

#[test]
fn larger_messages_arrive_whole() {
    for workload in ["pingpong", "call", "pairs", "fanin", "ring", "mixed"] {
        let record = record(&format!("{workload} --n 1280 --size 1000"));
        assert_eq!(record["params"]["size"], 1000);
        assert!(record["msgs"].as_u64() >= Some(1280), "{record}");
    }
}

#[test]
fn a_run_by_time_ends_and_is_counted() {
    for workload in ["pingpong", "call", "pairs", "fanin", "ring", "mixed"] {
        let record = record(&format!("{workload} --secs 0.1"));
        assert!(record["msgs"].as_u64() > Some(0), "{record}");
        assert_eq!(record["params"]["secs"], 0.1, "{record}");
    }
}

#[test]
fn options_reach_the_run() {
    let record = record("mixed --n 2560 --workers 3 --pin --seed 42");
    let params = &record["params"];
    assert_eq!((&params["workers"], &params["pin"], &params["seed"]), (&3.into(), &true.into(), &42.into()));
}
