//! What all rounds came to.

use super::args::ChaosArgs;
use super::check::{Fates, Measures};
use super::cluster::Deeds;
use super::letter::HEAD_BYTES;
use super::outcome::Outcome;
use super::weather::FAULTS;
use crate::output::say;
use crate::plan::{self, Goal, Params, Plan};
use crate::report::{self, Record};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use skyharbor::clock::Instant;

/// The sums of all rounds.
pub(super) struct Summary {
    plan: Plan,
    began: Instant,
    nodes: u8,
    rounds: u64,
    pub(super) deeds: Deeds,
    pub(super) violations: usize,
    fates: Fates,
    measures: Measures,
}

impl Summary {
    pub(super) fn new(args: &ChaosArgs, seed: u64) -> Self {
        let plan = Plan {
            title: "chaos".into(),
            goal: args.kills.map_or(Goal::Time(args.secs), Goal::Count),
            workers: args.workers.into(),
            pin: false,
            seed,
            size: HEAD_BYTES,
            rate: args.rate,
            window: None,
        };
        Self {
            plan,
            began: Instant::now(),
            nodes: args.nodes,
            rounds: 0,
            deeds: Deeds::default(),
            violations: 0,
            fates: Fates::default(),
            measures: Measures::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rounds == 0
    }

    pub(super) fn add(&mut self, deeds: &Deeds, violations: usize, fates: &Fates, measures: &Measures) {
        self.rounds += 1;
        self.violations += violations;
        self.deeds.lives += deeds.lives;
        self.deeds.real += deeds.real;
        self.deeds.kills += deeds.kills;
        self.deeds.stops += deeds.stops;
        self.deeds.leaves += deeds.leaves;
        for (sum, one) in self.deeds.faults.iter_mut().zip(deeds.faults) {
            *sum += one;
        }
        self.fates.add(fates);
        self.measures.add(measures);
    }

    /// Whether it was written.
    #[must_use]
    pub(super) fn print(&self, json: bool) -> bool {
        let outcome = plan::Outcome {
            msgs: self.fates.letters,
            time: Instant::now().since(self.began),
            latency: Some(self.measures.last_failed.clone()),
            params: self.params(),
        };
        let record = Record::new("chaos", "letters", &self.plan, outcome);
        if json { say(record.json()) } else { say(self.text()) }
    }

    fn params(&self) -> Params {
        let Self { deeds, fates, measures, .. } = self;
        let named = |counts: &[u64]| -> Value {
            let counts = Outcome::ALL.iter().zip(counts).filter(|(_, count)| **count > 0);
            counts
                .map(|(outcome, count)| (outcome.name().to_owned(), json!(count)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let faults = FAULTS.iter().zip(deeds.faults).map(|(name, count)| ((*name).to_owned(), json!(count)));
        Params::from([
            ("nodes", self.nodes.into()),
            ("rounds", self.rounds.into()),
            ("lives", deeds.lives.into()),
            ("real", deeds.real.into()),
            ("kills", deeds.kills.into()),
            ("stops", deeds.stops.into()),
            ("leaves", deeds.leaves.into()),
            ("faults", Value::Object(faults.collect())),
            ("violations", self.violations.into()),
            ("calls", fates.calls.into()),
            ("ended", named(&fates.ended)),
            ("refused", named(&fates.refused)),
            ("open_at_death", fates.open_at_death.into()),
            ("got", fates.got.into()),
            ("lost", fates.lost.into()),
            ("downs", fates.downs.into()),
            ("corrupt", fates.corrupt.into()),
            ("last_failed_any_p99_ns", measures.last_failed_any.value_at_quantile(0.99).into()),
            ("down_p99_ns", measures.down.value_at_quantile(0.99).into()),
            ("waited_for_deadline", measures.timeouts.into()),
        ])
    }

    fn text(&self) -> String {
        let Self { deeds, fates, measures, .. } = self;
        let counted = |names: &mut dyn Iterator<Item = (&'static str, u64)>| {
            names
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| format!("{name} {count}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let named = |counts: &[u64]| {
            counted(&mut Outcome::ALL.iter().map(|outcome| outcome.name()).zip(counts.iter().copied()))
        };
        let faults = counted(&mut FAULTS.into_iter().zip(deeds.faults));
        let lines = [
            format!(
                "{} rounds of {} nodes in {}, seed {}: {} lives, {} of them real, {} killed, {} stopped, {} told to leave",
                self.rounds,
                self.nodes,
                report::duration(Instant::now().since(self.began)),
                self.plan.seed,
                deeds.lives,
                deeds.real,
                deeds.kills,
                deeds.stops,
                deeds.leaves
            ),
            format!("faults of links: {faults}"),
            format!(
                "letters: {}, got {}, one-way and lost with a link {}",
                fates.letters, fates.got, fates.lost
            ),
            format!("refused at once: {}", named(&fates.refused)),
            format!(
                "calls: {}: {}, died with their caller {}",
                fates.calls,
                named(&fates.ended),
                fates.open_at_death
            ),
            format!(
                "accounts: {}",
                if fates.balances() { "every call has one end" } else { "calls are missing" }
            ),
            format!(
                "links lost, as the survivors were told: {}; spoilt letters refused: {}",
                fates.downs, fates.corrupt
            ),
            format!("kill -9 to the last failed call, healthy links: {}", times(&measures.last_failed)),
            format!("kill -9 to the last failed call, all links:     {}", times(&measures.last_failed_any)),
            format!("kill -9 to DOWN at a survivor, healthy links:   {}", times(&measures.down)),
            format!("calls that waited for their deadline instead:   {}", measures.timeouts),
        ];
        format!("\n{}\n", lines.join("\n"))
    }
}

fn times(times: &Histogram<u64>) -> String {
    let [median, late] = [0.5, 0.99].map(|share| report::time(times.value_at_quantile(share)));
    format!("{} times, p50 {median}, p99 {late}, max {}", times.len(), report::time(times.max()))
}
