//! Every bug of `skyharbor::mutant` is found by the simulator within a minute, and the program without them is not blamed
//! for one in the same runs.
//!
//! `MUTANT=Name` plays one of them, `JOBS=n` chooses the threads, `SECONDS=n` how long each is hunted.
#![cfg(feature = "mutants")]
#![expect(clippy::disallowed_methods, reason = "a bug has to be found in time")]

use skyharbor::mutant::{Mutant, choose};
use skyharbor::sim::{Case, Scale, attempt};
use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a bug may stay unseen, unless `SECONDS` says otherwise.
const TIME_MAX: Duration = Duration::from_secs(60);

struct Kill {
    mutant: Mutant,
    /// None: a case that failed once.
    seed: Option<u64>,
    time: Duration,
    message: String,
}

impl Kill {
    fn by(&self) -> String {
        self.seed.map_or_else(|| "an old case".to_owned(), |seed| format!("seed {seed}"))
    }
}

/// The cases of `tests/simulation`.
fn old_cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("old cases").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path| fs::read_to_string(path).expect("a text").parse().expect("a case");
    paths.into_iter().map(read).collect()
}

/// Plays old cases, then one seed after the other, until a rule is broken.
fn hunt(mutant: Mutant) -> Option<Kill> {
    let start = Instant::now();
    let seconds = std::env::var("SECONDS").map(|text| text.parse().expect("SECONDS is a number"));
    let time_max = seconds.map_or(TIME_MAX, Duration::from_secs);
    choose(Some(mutant));
    let old = old_cases().into_iter().map(|case| (None, case));
    let drawn = (0..).map(|seed| (Some(seed), Case::draw(seed, Scale::Short)));
    let found = old.chain(drawn).take_while(|_| start.elapsed() < time_max).find_map(|(seed, case)| {
        let message = attempt(&case).err()?;
        Some(Kill { mutant, seed, time: start.elapsed(), message })
    });
    choose(None);
    match &found {
        Some(kill) => {
            println!("{mutant:?}: killed by {} after {:.1} s", kill.by(), kill.time.as_secs_f64())
        }
        None => println!("{mutant:?}: alive after {:.1} s", start.elapsed().as_secs_f64()),
    }
    found
}

#[test]
fn every_mutant_is_killed() {
    let only = std::env::var("MUTANT").ok();
    let is_wanted = |mutant: &Mutant| only.as_ref().is_none_or(|name| *name == format!("{mutant:?}"));
    let mutants: Vec<Mutant> = Mutant::ALL.into_iter().filter(is_wanted).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let turn = || mutants.get(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(turn).map(|mutant| hunt(*mutant).ok_or(*mutant)).collect::<Vec<_>>()
    };
    let hunts: Vec<Result<Kill, Mutant>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs()).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let survivors: Vec<Mutant> = hunts.iter().filter_map(|hunt| hunt.as_ref().err().copied()).collect();
    let mut kills: Vec<Kill> = hunts.into_iter().flatten().collect();
    kills.sort_by_key(|kill| kill.mutant as usize);
    println!("| mutant | killed by | seconds | rule |\n|---|---|--:|---|");
    for kill in &kills {
        let Kill { mutant, time, message, .. } = kill;
        let rule: String = message.lines().next().unwrap_or_default().chars().take(90).collect();
        println!("| {mutant:?} | {} | {:.2} | {rule} |", kill.by(), time.as_secs_f64());
    }
    assert!(survivors.is_empty(), "{} killed, these survive: {survivors:?}", kills.len());
    let last = kills.iter().filter_map(|kill| kill.seed).max().unwrap_or(0);
    println!("{} of {} killed, at the latest by seed {last}", kills.len(), mutants.len());
    canary(last);
}

/// The same runs without a bug.
fn canary(last: u64) {
    for seed in 0..=last {
        let result = attempt(&Case::draw(seed, Scale::Short));
        assert!(result.is_ok(), "seed {seed} without a mutant: {result:?}");
    }
}

#[test]
fn the_list_is_complete() {
    for (place, mutant) in Mutant::ALL.into_iter().enumerate() {
        assert_eq!(mutant as usize, place, "{mutant:?}");
    }
    assert_eq!(Mutant::ALL.last(), Some(&Mutant::LargeMisplaced), "the last of the enum");
}

fn jobs() -> usize {
    std::env::var("JOBS").map_or_else(
        |_| thread::available_parallelism().map_or(1, NonZero::get),
        |text| text.parse().expect("JOBS is a number"),
    )
}
