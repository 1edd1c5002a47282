//! Many simulated clusters, each from one seed; see `skyharbor::sim`.
//!
//! | variable | what |
//! |---|---|
//! | `SEEDS=a..b` | short runs of these seeds |
//! | `HOURS=n` | long runs until so many cluster-hours have passed, from seed `FIRST` on |
//! | `JOBS=n` | threads for both |
//! | `SHRINK=n` | runs that making a failing case small may take |
#![cfg(feature = "sim")]
#![expect(clippy::disallowed_methods, reason = "it says how fast it was")]

use skyharbor::sim::{CLASSES, Case, Report, Scale, attempt, shrink};
use std::fs;
use std::num::NonZero;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// Runs that a failing case may take to become small.
const SHRINK_RUNS: usize = 600;
const HOUR: u64 = 3_600_000_000_000;

/// How often a seed is played twice.
const TWICE_EVERY: u64 = 16;

#[test]
fn short_runs() {
    let text = variable("SEEDS").unwrap_or_else(|| "0..160".to_owned());
    let seeds = range(&text).expect("SEEDS is like 1000..2000");
    let next = AtomicU64::new(seeds.start);
    play(Scale::Short, || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end));
}

#[test]
fn hours() {
    let hours: u64 = variable("HOURS").map_or(1, |text| text.parse().expect("HOURS is a number"));
    let first: u64 = variable("FIRST").map_or(0, |text| text.parse().expect("FIRST is a number"));
    let (next, left) = (AtomicU64::new(first), AtomicU64::new(hours * HOUR));
    play(Scale::Long, || {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let plan = Case::draw(seed, Scale::Long).plan;
        let time = plan.busy + plan.settle;
        let take = |left: u64| (left > 0).then(|| left.saturating_sub(time));
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok().then_some(seed)
    });
}

/// Plays seeds as long as there are any, on all threads. A case that fails is made small and shown.
fn play(scale: Scale, next: impl Fn() -> Option<u64> + Sync) {
    let jobs = variable("JOBS").map_or_else(
        || thread::available_parallelism().map_or(1, NonZero::get),
        |text| text.parse().expect("JOBS is a number"),
    );
    let start = Instant::now();
    let reports = thread::scope(|scope| {
        let work = || std::iter::from_fn(&next).map(|seed| one(seed, scale)).collect::<Vec<Report>>();
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no failure")).collect::<Vec<Report>>()
    });
    let mut sum = Report::default();
    reports.iter().for_each(|report| sum.add(report));
    show(scale, &sum, reports.len(), jobs, start);
}

fn one(seed: u64, scale: Scale) -> Report {
    let case = Case::draw(seed, scale);
    let report = attempt(&case).unwrap_or_else(|message| fail(seed, scale, &case, &message));
    if seed.is_multiple_of(TWICE_EVERY) {
        assert_eq!(attempt(&case).as_ref(), Ok(&report), "I16: seed {seed} gives two runs");
    }
    report
}

fn fail(seed: u64, scale: Scale, case: &Case, message: &str) -> ! {
    println!("seed {seed} ({scale:?}): {message}");
    let runs = variable("SHRINK").map_or(SHRINK_RUNS, |text| text.parse().expect("SHRINK is a number"));
    let failure = shrink(case, message, runs);
    let steps = failure.case.steps.len();
    println!("# {}\n# {steps} steps after {} runs\n{}", failure.message, failure.runs, failure.case);
    panic!("seed {seed} ({scale:?}): {message}");
}

fn show(scale: Scale, sum: &Report, runs: usize, jobs: usize, start: Instant) {
    let wall = start.elapsed().as_secs_f64();
    let (hours, busy) = (sum.time as f64 / HOUR as f64, sum.busy as f64 / HOUR as f64);
    let speed = sum.time as f64 / 1e9 / wall / jobs as f64;
    println!(
        "{scale:?}: {runs} runs, {hours:.2} cluster-hours ({busy:.2} with faults), {wall:.1} s on {jobs} threads"
    );
    println!(
        "{speed:.0} x real time per thread, {} events, {} restarts, {:?}",
        sum.events, sum.restarts, sum.tally
    );
    let faults: Vec<String> =
        CLASSES.iter().zip(sum.faults).map(|(class, count)| format!("{class} {count}")).collect();
    println!("{} faults: {}", sum.faults.iter().sum::<u64>(), faults.join(", "));
}

/// Cases that failed once, each with what went wrong in its first line.
#[test]
fn old_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the folder of old cases").flatten() {
        let text = fs::read_to_string(entry.path()).expect("a text");
        let case: Case = text.parse().unwrap_or_else(|error| panic!("{:?}: {error}", entry.path()));
        let result = attempt(&case);
        assert!(result.is_ok(), "{:?}: {result:?}", entry.path());
        count += 1;
    }
    assert!(count > 0, "no old case");
}

/// A case of one's own: `CASE=file`.
#[test]
fn given_case() {
    let Some(path) = variable("CASE") else { return };
    let text = fs::read_to_string(path).expect("a text");
    let result = attempt(&text.parse().expect("a case"));
    println!("{result:?}");
    result.expect("no failure");
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn range(text: &str) -> Option<Range<u64>> {
    let (start, end) = text.split_once("..")?;
    Some(start.parse().ok()?..end.parse().ok()?)
}

#[test]
fn ranges_are_read() {
    assert_eq!(range("3..7"), Some(3..7));
    assert_eq!((range("3"), range("a..b")), (None, None));
}
