//! How long what waited for a killed process had to wait.

use super::super::history::{End, History, Life};
use super::super::ledger::Record;
use super::super::outcome::Outcome;
use super::Message;
use crate::sample::{histogram, record};
use hdrhistogram::Histogram;
use skyharbor::clock::Instant;
use std::collections::HashMap;
use std::time::Duration;

/// How long before a kill a link must have been left alone to count as healthy.
const HEALTHY_TIME: Duration = Duration::from_millis(500);

/// Times from kill -9 on, in nanoseconds.
pub(in crate::chaos) struct Measures {
    /// To the last failed call that waited on the killed, over healthy links; one value per kill.
    pub(in crate::chaos) last_failed: Histogram<u64>,
    /// The same over all links: stalled, capped and cut ones, and callers that were stopped themselves.
    pub(in crate::chaos) last_failed_any: Histogram<u64>,
    /// To each survivor's DOWN, over healthy links.
    pub(in crate::chaos) down: Histogram<u64>,
    /// Calls that waited on the killed over healthy links and ended only by their deadline.
    pub(in crate::chaos) timeouts: u64,
}

impl Default for Measures {
    fn default() -> Self {
        Self { last_failed: histogram(), last_failed_any: histogram(), down: histogram(), timeouts: 0 }
    }
}

impl Measures {
    pub(in crate::chaos) fn add(&mut self, other: &Self) {
        for (sum, one) in [
            (&mut self.last_failed, &other.last_failed),
            (&mut self.last_failed_any, &other.last_failed_any),
            (&mut self.down, &other.down),
        ] {
            sum.add(one).expect("it grows for every value");
        }
        self.timeouts += other.timeouts;
    }
}

pub(super) fn measure<'a>(history: &History, messages: impl Iterator<Item = &'a Message>) -> Measures {
    let mut measures = Measures::default();
    // Who was killed, by the handles of its agents.
    let mut killed: HashMap<u32, (usize, Instant)> = HashMap::new();
    for (index, life) in history.lives.iter().enumerate() {
        let End::Killed(at) = life.end else { continue };
        for entry in &life.entries {
            if let Record::Born { handle, .. } = entry.record {
                killed.insert(handle, (index, at));
            }
        }
    }
    let mut last: HashMap<usize, (Option<Instant>, Option<Instant>)> = HashMap::new();
    for message in messages {
        let Some(&(victim, at)) = killed.get(&message.letter.handle) else { continue };
        let Some(&(outcome, _, ended)) = message.ends.first() else { continue };
        let waited = message.at <= at && ended > at;
        let is_healthy =
            is_healthy(history, &history.lives[message.author], &history.lives[victim], at, ended);
        measures.timeouts += u64::from(waited && is_healthy && outcome == Outcome::Timeout);
        // Sent to the dead before its end was known. By name it may have gone to the next life.
        let is_late = message.at > at && !message.letter.form.by_name && outcome == Outcome::Unknown;
        let is_failed = (waited && outcome.is_of_lost_link()) || is_late;
        if is_failed {
            let (any, healthy) = last.entry(victim).or_default();
            *any = (*any).max(Some(ended));
            if is_healthy {
                *healthy = (*healthy).max(Some(ended));
            }
        }
    }
    for (victim, (any, healthy)) in last {
        let at = history.lives[victim].end.at();
        any.into_iter().for_each(|ended| record(&mut measures.last_failed_any, ended.since(at)));
        healthy.into_iter().for_each(|ended| record(&mut measures.last_failed, ended.since(at)));
    }
    measure_downs(history, &mut measures);
    measures
}

/// The first DOWN of each survivor that had a link.
fn measure_downs(history: &History, measures: &mut Measures) {
    for victim in &history.lives {
        let End::Killed(at) = victim.end else { continue };
        for life in history.lives.iter().filter(|life| life.life != victim.life && life.end.at() > at) {
            let mut news = life.entries.iter().filter_map(|entry| match entry.record {
                Record::Up { harbor, .. } if harbor == victim.harbor => Some((entry.at, true)),
                Record::Down { harbor, .. } if harbor == victim.harbor => Some((entry.at, false)),
                _ => None,
            });
            let was_up = news.clone().take_while(|(then, _)| *then <= at).last().is_some_and(|(_, up)| up);
            let down = news.find(|(then, _)| *then > at);
            if let (true, Some((then, false))) = (was_up, down)
                && is_healthy(history, life, victim, at, then)
            {
                record(&mut measures.down, then.since(at));
            }
        }
    }
}

/// Whether nothing slowed down the caller or its link to the killed.
fn is_healthy(history: &History, caller: &Life, victim: &Life, at: Instant, ended: Instant) -> bool {
    let overlaps = |from: Instant, to: Instant| from <= ended && at <= to + HEALTHY_TIME;
    let strains = history.strains.iter().filter(|strain| strain.is_between(caller.slot, victim.slot));
    let wounds = history.wounds.iter().filter(|wound| wound.is_between(caller.life, victim.life));
    !strains.into_iter().any(|strain| overlaps(strain.at, strain.until))
        && !wounds.into_iter().any(|wound| overlaps(wound.at, wound.until))
        && !caller.stops.iter().any(|(from, to)| overlaps(*from, *to))
}
