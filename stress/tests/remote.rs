//! Every workload of two processes, small.

mod program;

use program::{pass, record};

#[test]
fn round_trips_cross_the_link() {
    let record = pass("rtt --n 200");
    assert_eq!((&record["msgs"], &record["params"]["size"]), (&200.into(), &32.into()), "{record}");
    assert!(record["p50_ns"].as_u64() > Some(0), "{record}");
}

#[test]
fn a_flood_arrives_whole_through_any_window() {
    let wide = pass("flood --n 50000");
    assert_eq!((&wide["msgs"], &wide["params"]["window"]), (&50_000.into(), &16_384.into()), "{wide}");
    assert!(wide["msgs_per_s"].as_f64() > Some(0.0) && wide["p50_ns"].is_null(), "{wide}");
    let narrow = record("flood --n 1000 --window 5 --size 16");
    assert_eq!(narrow["msgs"], 1000, "{narrow}");
    let single = record("flood --n 1");
    assert_eq!(single["msgs"], 1, "{single}");
    let large = record("flood --n 40 --size 1000000");
    assert_eq!((&large["msgs"], &large["params"]["window"]), (&40.into(), &16.into()), "{large}");
}

#[test]
fn an_open_loop_sends_what_is_due() {
    let record = pass("openloop --n 300 --rate 3000");
    assert_eq!((&record["msgs"], &record["params"]["rate"]), (&300.into(), &3000.0.into()), "{record}");
    assert!(record["secs"].as_f64() >= Some(0.099), "300 requests at 3,000/s take 0.1 s: {record}");
    assert!(record["p50_ns"].as_u64() > Some(0), "{record}");
    assert!(record["params"]["send_late_p50_ns"].is_u64(), "{record}");
}

#[test]
fn a_run_by_time_ends_and_is_counted() {
    for workload in ["rtt", "flood", "openloop"] {
        let record = record(&format!("{workload} --secs 0.2 --workers 1 --pin"));
        assert!(record["msgs"].as_u64() > Some(0), "{record}");
    }
}
