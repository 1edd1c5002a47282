//! Every bug of `skyharbor::mutant` is found by the simulator within a minute, and the program without them is not blamed
//! for one in the same runs.
//!
//! `MUTANT=Name` plays one of them, `JOBS=n` chooses the threads.
#![cfg(feature = "mutants")]

use skyharbor::mutant::{Mutant, choose};
use skyharbor::sim::{Case, Scale, attempt};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a bug may stay unseen.
const TIME_MAX: Duration = Duration::from_secs(60);

struct Kill {
    mutant: Mutant,
    seed: u64,
    time: Duration,
    message: String,
}

/// Plays one seed after the other until a rule is broken.
fn hunt(mutant: Mutant) -> Option<Kill> {
    let start = Instant::now();
    choose(Some(mutant));
    let found = (0..).take_while(|_| start.elapsed() < TIME_MAX).find_map(|seed| {
        let message = attempt(&Case::draw(seed, Scale::Short)).err()?;
        Some(Kill { mutant, seed, time: start.elapsed(), message })
    });
    choose(None);
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
    println!("| mutant | seed | runs | seconds | rule |\n|---|--:|--:|--:|---|");
    for Kill { mutant, seed, time, message } in &kills {
        let rule: String = message.lines().next().unwrap_or_default().chars().take(90).collect();
        println!("| {mutant:?} | {seed} | {} | {:.2} | {rule} |", seed + 1, time.as_secs_f64());
    }
    assert!(survivors.is_empty(), "{} killed, these survive: {survivors:?}", kills.len());
    let last = kills.iter().map(|kill| kill.seed).max().unwrap_or(0);
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
    assert_eq!(Mutant::ALL.last(), Some(&Mutant::OldNameKept), "the last of the enum");
}

fn jobs() -> usize {
    std::env::var("JOBS").map_or_else(
        |_| thread::available_parallelism().map_or(1, NonZero::get),
        |text| text.parse().expect("JOBS is a number"),
    )
}
