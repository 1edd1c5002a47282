//! The checker: holds the ledgers of all lives against each other and against what the nemesis did.
//!
//! What must hold, whatever was killed, stopped, cut or slow:
//!
//! - a letter is got at most once, by whom it was addressed to, and was sent before;
//! - the letters of one agent to another are got in the order in which they were sent, by name or by handle;
//! - every call of an agent that lives ends once, at most `slack` after its deadline (a stop of its process not counted);
//! - a call that ends as if nobody had got its letter, or a send that was refused: nobody did;
//! - an answer is that of whoever got the letter;
//! - over a link that stays up until the end nothing is lost;
//! - behind a link's DOWN comes nothing of a life that is dead, and no link is DOWN without a reason;
//! - in the end no call is open, and nothing panicked.
//!
//! A bit that the proxy changed may be any bit of any frame, and Skynet's wire has no check: whatever two lives said to each
//! other while a connection between them had a changed bit is exempt, as is what they said shortly before.

mod measure;
mod violation;

#[cfg(test)]
mod tests;

pub(super) use measure::Measures;
pub(super) use violation::{Fates, Violation};

use super::history::{End, History, Life, WoundKind};
use super::ledger::Record;
use super::letter::{Author, Letter};
use super::outcome::Outcome;
use skyharbor::clock::Instant;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How long after a wound what it did may show.
const WOUND_TIME: Duration = Duration::from_secs(30);
/// A process or a link that stood still so long may be taken for dead.
const STILL_TIME: Duration = Duration::from_secs(1);
/// How much earlier than one end the other one may be told that their link is up.
const NEWS_TIME: Duration = Duration::from_millis(500);
/// How long before a bit was changed what was hurt by it may have been sent, beside the deadline.
const FLIP_TIME: Duration = Duration::from_secs(5);

/// What the checker found.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) violations: Vec<Violation>,
    pub(super) fates: Fates,
    pub(super) measures: Measures,
}

/// One letter and all that is known of it.
struct Message {
    letter: Letter,
    at: Instant,
    /// The index of its author's life.
    author: usize,
    refused: Option<Outcome>,
    ends: Vec<(Outcome, u32, Instant)>,
    /// The index of the life and the agent that got it.
    gots: Vec<(usize, u16)>,
}

struct Checker<'a> {
    history: &'a History,
    /// Index by life.
    lives: HashMap<u32, usize>,
    /// Who has a handle: index of the life, and agent.
    handles: HashMap<u32, (usize, u16)>,
    messages: BTreeMap<(Author, u64), Message>,
    verdict: Verdict,
}

/// Checks one history.
pub(super) fn check(history: &History) -> Verdict {
    let mut checker = Checker::new(history);
    for (index, life) in history.lives.iter().enumerate() {
        checker.read_sent(index, life);
    }
    for (index, life) in history.lives.iter().enumerate() {
        checker.read_got(index, life);
        checker.check_order(life);
        checker.check_links(life);
        checker.check_end(life);
    }
    let messages = std::mem::take(&mut checker.messages);
    for message in messages.values() {
        checker.check_deliveries(message);
        checker.check_outcome(message);
        checker.check_loss(message);
        checker.count(message);
    }
    checker.verdict.measures = measure::measure(history, messages.values());
    checker.verdict
}

impl<'a> Checker<'a> {
    fn new(history: &'a History) -> Self {
        let lives = history.lives.iter().enumerate().map(|(index, life)| (life.life, index)).collect();
        let mut handles = HashMap::new();
        for (index, life) in history.lives.iter().enumerate() {
            for entry in &life.entries {
                if let Record::Born { agent, handle } = entry.record {
                    handles.insert(handle, (index, agent));
                }
            }
        }
        Self { history, lives, handles, messages: BTreeMap::new(), verdict: Verdict::default() }
    }

    fn found(&mut self, violation: Violation) {
        self.verdict.violations.push(violation);
    }

    // Reading.

    /// What a life sent, and how its calls ended.
    fn read_sent(&mut self, index: usize, life: &Life) {
        let mut last: HashMap<u16, u64> = HashMap::new();
        for entry in &life.entries {
            match entry.record {
                Record::Sent { letter, .. } => {
                    let last = last.entry(letter.from.agent).or_default();
                    if letter.from.life != life.life || letter.number != *last + 1 {
                        let what = format!("its ledger has number {} behind {last}", letter.number);
                        self.verdict.violations.push(Violation::LastWords { life: life.life, what });
                    }
                    *last = letter.number;
                    let message = Message {
                        letter,
                        at: entry.at,
                        author: index,
                        refused: None,
                        ends: Vec::new(),
                        gots: Vec::new(),
                    };
                    self.messages.insert((letter.from, letter.number), message);
                }
                Record::Refused { agent, number, outcome } => match self.message(life.life, agent, number) {
                    Some(message) => message.refused = Some(outcome),
                    None => self.found(Violation::EndOfNothing { life: life.life, agent, number }),
                },
                Record::Ended { agent, number, outcome, life: who } => {
                    match self.message(life.life, agent, number) {
                        Some(message) => message.ends.push((outcome, who, entry.at)),
                        None => self.found(Violation::EndOfNothing { life: life.life, agent, number }),
                    }
                }
                Record::Born { .. }
                | Record::Named { .. }
                | Record::Got { .. }
                | Record::Corrupt { .. }
                | Record::Up { .. }
                | Record::Down { .. }
                | Record::Quiet { .. } => {}
            }
        }
    }

    fn message(&mut self, life: u32, agent: u16, number: u64) -> Option<&mut Message> {
        self.messages.get_mut(&(Author { life, agent }, number))
    }

    /// What a life got.
    fn read_got(&mut self, index: usize, life: &Life) {
        for entry in &life.entries {
            match entry.record {
                Record::Got { agent, letter, asks } => {
                    let sent = self.messages.get_mut(&(letter.from, letter.number));
                    match sent.filter(|message| message.letter == letter) {
                        Some(message) => message.gots.push((index, agent)),
                        None => self.found(Violation::FromNowhere { letter, life: life.life }),
                    }
                    let is_right = asks == letter.form.is_call;
                    if !is_right && !self.is_flipped(letter.from.life, life.life, entry.at) {
                        self.found(Violation::Session { letter, life: life.life });
                    }
                }
                Record::Corrupt { agent } => {
                    self.verdict.fates.corrupt += 1;
                    if !self.is_flipped_near(life.life, entry.at) {
                        self.found(Violation::Corrupt { life: life.life, agent, at: entry.at });
                    }
                }
                Record::Born { .. }
                | Record::Named { .. }
                | Record::Sent { .. }
                | Record::Refused { .. }
                | Record::Ended { .. }
                | Record::Up { .. }
                | Record::Down { .. }
                | Record::Quiet { .. } => {}
            }
        }
    }

    // One life.

    /// The letters of one author come in their order, and of an id's lives the older one's first.
    fn check_order(&mut self, life: &Life) {
        let mut last: HashMap<(u16, Author), u64> = HashMap::new();
        let mut newest: HashMap<(u16, u8), u32> = HashMap::new();
        for entry in &life.entries {
            let Record::Got { agent, letter, .. } = entry.record else { continue };
            let last = last.entry((agent, letter.from)).or_default();
            if letter.number < *last {
                let after = *last;
                self.found(Violation::Reordered { letter, life: life.life, after });
            }
            *last = letter.number.max(*last);
            let Some(author) = self.lives.get(&letter.from.life) else { continue };
            let newest = newest.entry((agent, self.history.lives[*author].harbor)).or_default();
            if letter.from.life < *newest {
                let newer = *newest;
                self.found(Violation::OldIncarnation { letter, life: life.life, newer });
            }
            *newest = letter.from.life.max(*newest);
        }
    }

    /// Links go down for a reason, and behind that comes nothing of the dead.
    fn check_links(&mut self, life: &Life) {
        let mut buried: HashMap<u8, Instant> = HashMap::new();
        let mut up: HashMap<u8, Instant> = HashMap::new();
        for entry in &life.entries {
            match entry.record {
                Record::Down { harbor, .. } => {
                    buried.insert(harbor, entry.at);
                    self.verdict.fates.downs += 1;
                    let since = up.get(&harbor).copied().unwrap_or(entry.at);
                    if !self.is_down_explained(life, harbor, (since, entry.at)) {
                        self.found(Violation::FalseDown { life: life.life, harbor, at: entry.at });
                    }
                }
                Record::Up { harbor, .. } => {
                    buried.remove(&harbor);
                    up.insert(harbor, entry.at);
                }
                Record::Got { agent: 0, letter, .. } => {
                    let Some(author) = self.lives.get(&letter.from.life) else { continue };
                    let author = &self.history.lives[*author];
                    let is_dead = buried.get(&author.harbor).is_some_and(|at| {
                        author.end.at() <= *at && !self.is_wounded(author.life, life.life, *at)
                    });
                    if is_dead {
                        self.found(Violation::AfterDown { letter, life: life.life });
                    }
                }
                Record::Born { .. }
                | Record::Named { .. }
                | Record::Sent { .. }
                | Record::Refused { .. }
                | Record::Ended { .. }
                | Record::Got { .. }
                | Record::Corrupt { .. }
                | Record::Quiet { .. } => {}
            }
        }
    }

    /// Whether there was a reason to lose a link that was up since then and lost at that time.
    fn is_down_explained(&self, life: &Life, harbor: u8, (since, at): (Instant, Instant)) -> bool {
        if life.end.at() <= at {
            return true;
        }
        let stood_still = |(from, to): (Instant, Instant)| {
            to.since(from) >= STILL_TIME && from <= at && at <= to + WOUND_TIME
        };
        let others = self.history.lives.iter().filter(|other| other.harbor == harbor);
        others.into_iter().any(|other| {
            let strains =
                self.history.strains.iter().filter(|strain| strain.is_between(life.slot, other.slot));
            other.end.at() <= at
                || is_half(life, other, since, at)
                || self.is_wounded(life.life, other.life, at)
                || strains.map(|strain| (strain.at, strain.until)).any(stood_still)
                || life.stops.iter().chain(&other.stops).copied().any(stood_still)
        })
    }

    /// Whether the proxy ended a connection between two lives shortly before: the news of that may come when there is
    /// another one already.
    fn is_wounded(&self, one: u32, other: u32, at: Instant) -> bool {
        let wounds = self.history.wounds.iter().filter(|wound| wound.is_between(one, other));
        wounds.into_iter().any(|wound| wound.at <= at && at <= wound.until + WOUND_TIME)
    }

    /// The last words of a life that was not killed.
    fn check_end(&mut self, life: &Life) {
        let found = |what| Violation::LastWords { life: life.life, what };
        if !life.is_whole {
            self.found(found("its ledger is torn".into()));
        }
        if !matches!(life.end, End::Ended(_)) {
            return;
        }
        let last = life.entries.iter().rev().find_map(|entry| match entry.record {
            Record::Quiet { outstanding, panics } => Some((outstanding, panics)),
            _ => None,
        });
        match last {
            Some((0, 0)) => {}
            Some((open, panics)) => self.found(found(format!("{open} calls open, {panics} panics"))),
            None => self.found(found("it was never quiet".into())),
        }
    }

    // One message.

    /// Got at most once, by whom it was addressed to.
    fn check_deliveries(&mut self, message: &Message) {
        let letter = message.letter;
        if message.gots.len() > 1 {
            let lives = message.gots.iter().map(|(life, _)| self.history.lives[*life].life).collect();
            self.found(Violation::Duplicate { letter, lives });
        }
        for &(index, agent) in &message.gots {
            let life = &self.history.lives[index];
            let is_right = if letter.form.by_name {
                (life.slot, agent) == (letter.to.slot, letter.to.agent)
            } else {
                self.handles.get(&letter.handle) == Some(&(index, agent))
            };
            if !is_right && !self.is_exempt(message) {
                self.found(Violation::Misaddressed { letter, life: life.life, agent });
            }
        }
        if let Some(outcome) = message.refused
            && !message.gots.is_empty()
        {
            self.found(Violation::Lie { letter, outcome });
        }
    }

    /// A call ends once, in time, and its end is true.
    fn check_outcome(&mut self, message: &Message) {
        let letter = message.letter;
        let (author, longest) =
            (&self.history.lives[message.author], self.history.deadline + self.history.slack);
        if !letter.form.is_call {
            if !message.ends.is_empty() {
                self.found(Violation::EndOfNothing {
                    life: letter.from.life,
                    agent: letter.from.agent,
                    number: letter.number,
                });
            }
            return;
        }
        if message.ends.len() > 1 {
            let outcomes = message.ends.iter().map(|(outcome, ..)| *outcome).collect();
            self.found(Violation::EndedAgain { letter, outcomes });
        }
        let ended = message.ends.first().map_or(author.end.at(), |(.., at)| *at);
        let waited = ended.since(message.at).saturating_sub(author.stopped(message.at, ended));
        let must_have_ended = waited > longest || matches!(author.end, End::Ended(_));
        match message.ends.first() {
            None if must_have_ended => self.found(Violation::Hung { letter, waited }),
            Some(_) if waited > longest => self.found(Violation::Late { letter, waited }),
            None | Some(_) => {}
        }
        if let Some(&(outcome, life, _)) = message.ends.first() {
            self.check_truth(message, outcome, life);
        }
    }

    fn check_truth(&mut self, message: &Message, outcome: Outcome, life: u32) {
        let letter = message.letter;
        let got_by =
            |life: &u32| message.gots.iter().any(|(index, _)| self.history.lives[*index].life == *life);
        let is_true = match outcome {
            Outcome::Reply => got_by(&life),
            Outcome::WrongReply | Outcome::Other => false,
            // A service that ends with its node may have got it before.
            Outcome::NoService => {
                message.gots.iter().all(|(index, _)| matches!(self.history.lives[*index].end, End::Left(_)))
            }
            outcome => !outcome.denies_delivery() || message.gots.is_empty(),
        };
        if !is_true && !self.is_exempt(message) {
            self.found(Violation::Lie { letter, outcome });
        }
    }

    /// Nothing is lost over a link that was up when it was sent and stayed up.
    fn check_loss(&mut self, message: &Message) {
        if !message.gots.is_empty() || message.refused.is_some() {
            return;
        }
        let author = &self.history.lives[message.author];
        let Some(&(target, _)) = self.handles.get(&message.letter.handle) else { return };
        let target = &self.history.lives[target];
        let (End::Ended(end), End::Ended(_)) = (author.end, target.end) else { return };
        let mut is_up = false;
        for entry in author.entries.iter().take_while(|entry| entry.at < end) {
            match entry.record {
                Record::Up { harbor, .. } if harbor == target.harbor && entry.at < message.at => is_up = true,
                Record::Down { harbor, .. } if harbor == target.harbor => is_up = false,
                _ => {}
            }
        }
        let wounds = self.history.wounds.iter();
        let is_wounded = wounds
            .filter(|wound| wound.is_between(author.life, target.life))
            .any(|wound| wound.until + STILL_TIME >= message.at);
        if is_up && !is_wounded {
            self.found(Violation::Lost { letter: message.letter, at: message.at, target: target.life });
        }
    }

    fn count(&mut self, message: &Message) {
        let fates = &mut self.verdict.fates;
        fates.letters += 1;
        fates.got += u64::from(!message.gots.is_empty());
        fates.calls += u64::from(message.letter.form.is_call);
        if let Some(outcome) = message.refused {
            fates.refused[outcome as usize] += 1;
        }
        match message.ends.first() {
            Some((outcome, ..)) => fates.ended[*outcome as usize] += 1,
            None if message.letter.form.is_call => fates.open_at_death += 1,
            None => {}
        }
        let is_lost = message.gots.is_empty() && message.refused.is_none() && !message.letter.form.is_call;
        fates.lost += u64::from(is_lost);
    }

    // Flipped bits.

    /// Whether the author and whoever is at the letter's place had a connection with a changed bit.
    fn is_exempt(&self, message: &Message) -> bool {
        let author = message.letter.from.life;
        let at_place = self.history.lives.iter().filter(|life| life.slot == message.letter.to.slot);
        at_place.into_iter().any(|life| self.is_flipped(author, life.life, message.at))
    }

    fn is_flipped(&self, one: u32, other: u32, at: Instant) -> bool {
        self.flips(at).any(|wound| wound.is_between(one, other))
    }

    fn is_flipped_near(&self, life: u32, at: Instant) -> bool {
        self.flips(at).any(|wound| wound.concerns(life))
    }

    /// Changed bits that may have something to do with what was at that time.
    fn flips(&self, at: Instant) -> impl Iterator<Item = &super::history::Wound> {
        let before = self.history.deadline + FLIP_TIME;
        self.history.wounds.iter().filter(move |wound| {
            wound.kind == WoundKind::Flip && wound.at <= at + before && at <= wound.until + before
        })
    }
}

/// Whether only one end ever took the link for one. A slot keeps its address: who dials the life before meets the next one,
/// which takes the connection for its own, until who dialled sees the wrong id.
fn is_half(life: &Life, other: &Life, since: Instant, until: Instant) -> bool {
    !other.entries.iter().any(|entry| {
        let is_up = matches!(entry.record, Record::Up { harbor, .. } if harbor == life.harbor);
        is_up && since <= entry.at + NEWS_TIME && entry.at <= until
    })
}
