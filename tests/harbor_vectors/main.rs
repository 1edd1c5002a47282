//! Transcripts of real nodes, replayed against whole machines, byte for byte.
//!
//! The scripted peer's bytes go in, and the machine must write the bytes that the real node wrote, link by link. The
//! services of the real nodes are played: where a row was written by a service, the service sends it. Where ours does
//! otherwise on purpose, the plan of the scenario says so with a reason, and a difference that does not show up is an
//! error. `master.json` without links belongs to the tests of `registry`.

mod replay;
mod scenarios;
mod sniffed;
mod stage;
mod transcript;
mod traps;

use replay::Replay;
use scenarios::{harbor_plan, is_written, slave_plan};
use std::collections::BTreeSet;
use transcript::{Scenario, load};

/// Scenarios of which no bytes were recorded.
const WITHOUT_BYTES: [(&str, &str); 2] = [
    ("handover_gap", "counts of a race in the real acceptor; trap 2 of the traps' tests"),
    ("real_to_real_over_limit", "two real nodes, only the results; the limit is in frame_out_limits_*"),
];

fn harbor_json() -> Vec<Scenario> {
    load(include_str!("../vectors/harbor.json"))
}

fn master_json() -> Vec<Scenario> {
    load(include_str!("../vectors/master.json"))
}

#[test]
fn every_harbor_transcript_is_replayed() {
    let mut replayed = BTreeSet::new();
    let scenarios = harbor_json();
    for scenario in &scenarios {
        let Some(plan) = harbor_plan(scenario) else { continue };
        println!("{}", scenario.name);
        Replay::new(scenario, plan).run();
        replayed.insert(scenario.name.as_str());
    }
    let without: BTreeSet<&str> = WITHOUT_BYTES.iter().map(|(name, _)| *name).collect();
    for scenario in &scenarios {
        let has_bytes = scenario.rows.iter().any(is_written);
        assert_eq!(has_bytes, !without.contains(scenario.name.as_str()), "{}", scenario.name);
    }
    let all: BTreeSet<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(&replayed | &without, all);
    assert_eq!((replayed.len(), without.len(), all.len()), (29, 2, 31));
}

#[test]
fn every_transcript_of_a_slave_is_replayed() {
    let scenarios = master_json();
    let slaves = scenarios.iter().filter(|scenario| scenario.name.starts_with("fake_master"));
    let mut replayed = 0;
    for scenario in slaves {
        println!("{}", scenario.name);
        Replay::new(scenario, slave_plan(scenario)).run();
        replayed += 1;
    }
    assert_eq!(replayed, 17);
}

#[test]
fn the_sniffed_cluster_is_replayed() {
    let scenarios = master_json();
    let sniffed = scenarios.iter().find(|scenario| scenario.name == "real_master_and_three_slaves");
    sniffed::replay(sniffed.unwrap());
}
