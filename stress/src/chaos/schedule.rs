//! What the nemesis does when: a plan that the seed gives, whatever the processes make of it.

use super::weather::{Fault, Lane, MASTER};
use crate::random::SplitMix;
use std::time::Duration;

/// One thing that the nemesis does. Slots, not lives: whoever is there when its time comes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Deed {
    /// kill -9; the next life starts after `rest`.
    Kill { slot: u8, rest: Duration },
    /// SIGSTOP, and SIGCONT after `time`.
    Stop { slot: u8, time: Duration },
    /// The node leaves in order; the next life starts `rest` after its end.
    Leave { slot: u8, rest: Duration },
    /// The proxy's fault on these lanes.
    Weather { lanes: Vec<Lane>, fault: Fault, time: Duration },
}

/// What a plan is made for.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) slots: u8,
    /// The slots from this one on are killed, stopped, or leave.
    pub(super) first_victim: u8,
    /// From one deed to the next, by sort: kills, stops, leaves, faults; zero: never.
    pub(super) every: [Duration; 4],
    /// Names of faults.
    pub(super) faults: Vec<String>,
    /// Control links may be lost too.
    pub(super) is_master_patient: bool,
    /// Ways between machines are cut, which the control links take as well.
    pub(super) parts_machines: bool,
}

/// An endless plan: deeds with their times from the beginning, in their order.
pub(super) struct Schedule {
    terms: Terms,
    sorts: [Sort; 4],
}

/// One sort of deeds, with random numbers of its own: without the others its deeds are the same.
struct Sort {
    random: SplitMix,
    next: Option<Duration>,
}

impl Schedule {
    pub(super) fn new(terms: Terms, seed: u64) -> Self {
        let sorts = std::array::from_fn(|sort| {
            let mut random = SplitMix::new(seed, sort as u64);
            let next = pause(&mut random, terms.every[sort]);
            Sort { random, next }
        });
        Self { terms, sorts }
    }

    fn deed(&mut self, sort: usize) -> Deed {
        let random = &mut self.sorts[sort].random;
        let first = self.terms.first_victim;
        let slot = first + random.below(u32::from(self.terms.slots - first)) as u8;
        match sort {
            0 => Deed::Kill { slot, rest: millis(random, 0, 200) },
            // Most stops are hiccups; some are longer than any deadline.
            1 if random.below(8) == 0 => Deed::Stop { slot, time: millis(random, 1000, 4000) },
            1 => Deed::Stop { slot, time: millis(random, 5, 500) },
            2 => Deed::Leave { slot, rest: millis(random, 0, 500) },
            _ => weather(&self.terms, random),
        }
    }
}

impl Iterator for Schedule {
    type Item = (Duration, Deed);

    fn next(&mut self) -> Option<Self::Item> {
        let times = self.sorts.iter().map(|sort| sort.next);
        let (sort, at) =
            times.enumerate().filter_map(|(sort, at)| Some((sort, at?))).min_by_key(|(_, at)| *at)?;
        let deed = self.deed(sort);
        let Sort { random, next } = &mut self.sorts[sort];
        *next = pause(random, self.terms.every[sort]).map(|pause| at + pause);
        Some((at, deed))
    }
}

/// Between half and one and a half of the average.
fn pause(random: &mut SplitMix, every: Duration) -> Option<Duration> {
    let share = 0.5 + f64::from(random.below(1 << 20)) / f64::from(1 << 20);
    (!every.is_zero()).then(|| every.mul_f64(share))
}

fn millis(random: &mut SplitMix, least: u32, most: u32) -> Duration {
    Duration::from_millis((least + random.below(most - least + 1)).into())
}

fn weather(terms: &Terms, random: &mut SplitMix) -> Deed {
    // The first slot has the master.
    let first = u8::from(terms.parts_machines && !terms.is_master_patient);
    let slots = terms.slots - first;
    let from = random.below(slots.into()) as u8;
    let away = 1 + random.below(u32::from(slots) - 1) as u8;
    let to = first + (from + away) % slots;
    let from = first + from;
    let name = &terms.faults[random.below(terms.faults.len() as u32) as usize];
    let (fault, mut time) = fault(name, random);
    if terms.parts_machines {
        // Half of them are longer than a heartbeat's deadline.
        time *= 6;
    }
    let may_be_lost = terms.is_master_patient || !fault.is_hard();
    let is_of_master = random.below(8) == 0 && from != 0 && may_be_lost && !terms.parts_machines;
    // A changed name or address would stay in the master's table, and no ledger could tell what follows from it.
    let to = if is_of_master && fault != Fault::Flip { MASTER } else { to };
    let lane = if random.below(2) == 0 { Lane { from, to } } else { Lane { from: to, to: from } };
    let is_both = random.below(2) == 0 && time > Duration::ZERO;
    let lanes = if is_both { vec![lane, lane.back()] } else { vec![lane] };
    Deed::Weather { lanes, fault, time }
}

/// A fault and how long it holds; one that happens once holds as long as it waits for a chunk.
fn fault(name: &str, random: &mut SplitMix) -> (Fault, Duration) {
    match name {
        "delay" => {
            let (least, jitter) = (millis(random, 1, 100), millis(random, 0, 50));
            (Fault::Delay { least, jitter }, millis(random, 100, 2000))
        }
        "stall" => (Fault::Stall, millis(random, 20, 1500)),
        "split" => (Fault::Split, millis(random, 50, 1000)),
        "cap" => (Fault::Cap { bytes: 2000 << random.below(8) }, millis(random, 100, 1500)),
        "flip" => (Fault::Flip, Duration::from_millis(500)),
        "truncate" => (Fault::Truncate, Duration::from_millis(500)),
        "reset" => (Fault::Reset, Duration::from_millis(500)),
        _ => (Fault::Cut, millis(random, 50, 2000)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::weather::FAULTS;
    use super::*;

    fn terms() -> Terms {
        Terms {
            slots: 8,
            first_victim: 1,
            every: [300, 1000, 5000, 100].map(Duration::from_millis),
            faults: FAULTS.map(str::to_owned).into(),
            is_master_patient: false,
            parts_machines: false,
        }
    }

    #[test]
    fn a_seed_gives_one_plan_in_the_order_of_time() {
        let plan = |seed| Schedule::new(terms(), seed).take(3000).collect::<Vec<_>>();
        let deeds = plan(7);
        assert!(deeds == plan(7) && deeds != plan(8));
        assert!(deeds.is_sorted_by_key(|(at, _)| *at));
        let kills = deeds.iter().filter(|(_, deed)| matches!(deed, Deed::Kill { .. })).count() as f64;
        let every = deeds.last().unwrap().0.as_secs_f64() / kills;
        assert!((0.25..0.35).contains(&every), "a kill every {every} s");
    }

    #[test]
    fn all_faults_come_and_the_master_is_spared() {
        let mut seen = [0; FAULTS.len()];
        for (_, deed) in Schedule::new(terms(), 1).take(20_000) {
            match deed {
                Deed::Kill { slot, .. } | Deed::Stop { slot, .. } | Deed::Leave { slot, .. } => {
                    assert!((1..8).contains(&slot));
                }
                Deed::Weather { lanes, fault, .. } => {
                    seen[fault.index()] += 1;
                    assert!(lanes.iter().all(|lane| lane.from != lane.to));
                    assert!(!fault.is_hard() || !lanes[0].is_of_master());
                }
            }
        }
        assert!(seen.iter().all(|count| *count > 500), "{seen:?}");
    }

    #[test]
    fn ways_between_machines_are_cut_and_the_first_one_is_spared() {
        let terms = |is_master_patient| Terms {
            every: [Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::from_secs(1)],
            faults: vec!["cut".into()],
            parts_machines: true,
            is_master_patient,
            ..terms()
        };
        let cuts = |is_master_patient| {
            let deeds = Schedule::new(terms(is_master_patient), 5).take(1000);
            deeds.map(|(_, deed)| match deed {
                Deed::Weather { lanes, fault: Fault::Cut, time } => (lanes, time),
                other => panic!("{other:?}"),
            })
        };
        let ends =
            |(lanes, _): (Vec<Lane>, Duration)| lanes.into_iter().flat_map(|lane| [lane.from, lane.to]);
        assert!(cuts(false).flat_map(ends).all(|slot| (1..8).contains(&slot)));
        assert!(
            cuts(true).flat_map(ends).all(|slot| slot < 8) && cuts(true).flat_map(ends).any(|slot| slot == 0)
        );
        let long = cuts(false).filter(|(_, time)| *time > Duration::from_secs(5)).count();
        assert!((400..800).contains(&long), "{long}");
    }

    #[test]
    fn a_sort_that_never_comes_leaves_the_others_alone() {
        let kills = |terms: Terms| {
            let deeds = Schedule::new(terms, 3).filter(|(_, deed)| matches!(deed, Deed::Kill { .. }));
            deeds.take(100).collect::<Vec<_>>()
        };
        let mut quiet = terms();
        quiet.every[3] = Duration::ZERO;
        assert_eq!(kills(quiet), kills(terms()));
    }
}
