//! The seeds that every test run plays; more of them in `tests/simulation.rs`.

use super::{Tally, run};

#[test]
fn two_hundred_seeds() {
    let mut sum = Tally::default();
    let mut faults = 0;
    for seed in 0..200 {
        let report = run(seed);
        faults += report.faults;
        sum.add(&report.tally);
    }
    // A run in which nothing happens breaks no rule.
    assert!(sum.delivered > 20_000 && sum.answered > 10_000, "{sum:?}");
    assert!(faults > 300 && sum.unknown > 100 && sum.failed > 1_000 && sum.downs > 500, "{sum:?}");
}

#[test]
fn a_seed_gives_the_same_run_to_the_last_byte() {
    for seed in (0..200).step_by(20) {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1).trace, run(2).trace);
}
