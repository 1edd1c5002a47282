//! The simulator itself: it does what it says, and cases can be written, read and made smaller. The seeds are played by
//! `tests/simulation.rs`.

use super::{Act, CLASSES, Case, Fault, Report, Scale, attempt, play, shrink};

fn sum(seeds: std::ops::Range<u64>) -> Report {
    let mut sum = Report::default();
    for seed in seeds {
        sum.add(&play(&Case::draw(seed, Scale::Short)));
    }
    sum
}

#[test]
fn a_run_in_which_nothing_happens_breaks_no_rule_so_much_must_happen() {
    let sum = sum(0..40);
    let tally = sum.tally;
    assert!(tally.delivered > 10_000 && tally.answered > 5_000, "{tally:?}");
    assert!(tally.failed > 1_000 && tally.unknown > 50 && tally.downs > 200, "{tally:?}");
    assert!(sum.faults.iter().filter(|count| **count > 0).count() > CLASSES.len() / 2, "{:?}", sum.faults);
}

#[test]
fn a_seed_gives_the_same_run_to_the_last_byte() {
    for seed in (0..60).step_by(6) {
        let case = Case::draw(seed, Scale::Short);
        assert_eq!(play(&case), play(&case), "seed {seed}");
    }
    assert_ne!(sum(1..2).trace, sum(2..3).trace);
}

#[test]
fn a_case_is_read_as_it_was_written() {
    for seed in 0..60 {
        for scale in [Scale::Short, Scale::Long] {
            let case = Case::draw(seed, scale);
            assert_eq!(case.to_string().parse(), Ok(case), "seed {seed}");
        }
    }
    assert!("@1 walk 2".parse::<Case>().is_err() && "nodes".parse::<Case>().is_err());
}

#[test]
fn a_failing_case_becomes_small() {
    // No node of such a case is alive in the end, which is against the rules.
    let mut case = Case::draw(3, Scale::Short);
    let (node, down) = (0, 3_600_000_000_000);
    let at = case.plan.busy / 2;
    let place = case.steps.partition_point(|step| step.at < at);
    case.steps.insert(place, super::Step { at, act: Act::Fault(Fault::Crash { node, down }) });
    let message = attempt(&case).expect_err("the node is missing");
    let small = shrink(&case, &message, 400);
    assert_eq!(small.case.steps.len(), 1, "{}", small.case);
    assert!(small.message.starts_with("I11: node 0 is not back"), "{}", small.message);
}
