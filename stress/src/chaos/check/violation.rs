//! What can be wrong, and what became of everything.

use super::super::letter::Letter;
use super::super::outcome::Outcome;
use skyharbor::clock::Instant;
use std::fmt;
use std::time::Duration;

/// One thing that must not be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(in crate::chaos) enum Violation {
    #[error("{} was got more than once, by lives {lives:?}", Of(letter))]
    Duplicate { letter: Letter, lives: Vec<u32> },
    #[error("life {life} got {} behind number {after} of the same agent", Of(letter))]
    Reordered { letter: Letter, life: u32, after: u64 },
    #[error("life {life} got {} behind a letter of life {newer}, which has the same id", Of(letter))]
    OldIncarnation { letter: Letter, life: u32, newer: u32 },
    #[error("life {life} got {} after it was told that the link was down", Of(letter))]
    AfterDown { letter: Letter, life: u32 },
    #[error("life {life}, agent {agent} got {}, which is not for it", Of(letter))]
    Misaddressed { letter: Letter, life: u32, agent: u16 },
    #[error("life {life} got {}, which nobody sent", Of(letter))]
    FromNowhere { letter: Letter, life: u32 },
    #[error("life {life} got {} with a session where there was none, or the other way round", Of(letter))]
    Session { letter: Letter, life: u32 },
    #[error("life {life}, agent {agent} got a message that is no letter at {at:?}, and no bit was changed")]
    Corrupt { life: u32, agent: u16, at: Instant },
    #[error("{} ended more than once: {outcomes:?}", Of(letter))]
    EndedAgain { letter: Letter, outcomes: Vec<Outcome> },
    #[error("{} has no outcome after {waited:?}", Of(letter))]
    Hung { letter: Letter, waited: Duration },
    #[error("{} ended after {waited:?}", Of(letter))]
    Late { letter: Letter, waited: Duration },
    #[error("{} ended with `{}`, which is not true", Of(letter), outcome.name())]
    Lie { letter: Letter, outcome: Outcome },
    #[error("life {life}, agent {agent}: number {number} has an outcome and was no call")]
    EndOfNothing { life: u32, agent: u16, number: u64 },
    #[error("{}, sent at {at:?}, is lost: its link to life {target} was up and stayed up", Of(letter))]
    Lost { letter: Letter, at: Instant, target: u32 },
    #[error("life {life} lost the link to node {harbor} at {at:?} without a reason")]
    FalseDown { life: u32, harbor: u8, at: Instant },
    #[error("life {life}: {what}")]
    LastWords { life: u32, what: String },
}

/// A letter for people.
struct Of<'a>(&'a Letter);

impl fmt::Display for Of<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Letter { from, number, to, form, handle, .. } = self.0;
        let what = if form.is_call { "call" } else { "letter" };
        let by = if form.by_name { "name" } else { "handle" };
        write!(
            out,
            "{what} {number} of life {} agent {} by {by} to slot {} agent {} (:{handle:08x})",
            from.life, from.agent, to.slot, to.agent
        )
    }
}

/// What became of all letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::chaos) struct Fates {
    pub(in crate::chaos) letters: u64,
    pub(in crate::chaos) calls: u64,
    /// Letters that were got.
    pub(in crate::chaos) got: u64,
    /// One-way letters that were accepted and not got.
    pub(in crate::chaos) lost: u64,
    /// By the number of the outcome.
    pub(in crate::chaos) refused: [u64; Outcome::ALL.len()],
    pub(in crate::chaos) ended: [u64; Outcome::ALL.len()],
    /// Calls of lives that died before their calls had to end.
    pub(in crate::chaos) open_at_death: u64,
    pub(in crate::chaos) downs: u64,
    pub(in crate::chaos) corrupt: u64,
}

impl Fates {
    pub(in crate::chaos) fn add(&mut self, other: &Self) {
        self.letters += other.letters;
        self.calls += other.calls;
        self.got += other.got;
        self.lost += other.lost;
        self.open_at_death += other.open_at_death;
        self.downs += other.downs;
        self.corrupt += other.corrupt;
        for (sum, one) in self.refused.iter_mut().zip(other.refused) {
            *sum += one;
        }
        for (sum, one) in self.ended.iter_mut().zip(other.ended) {
            *sum += one;
        }
    }

    /// Every call has an outcome, or died with its caller.
    pub(in crate::chaos) fn balances(&self) -> bool {
        self.calls == self.ended.iter().sum::<u64>() + self.open_at_death
    }
}
