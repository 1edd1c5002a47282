//! A mailbox's own bounds: optional, since each costs senders one more read-modify-write per message.
//!
//! ```text
//!  senders' line                            owner's line
//!  pushed       read-modify-write, senders  popped   plain store, owner
//!  popped_seen  copy of popped, senders ◄─────────── read when the copy is not enough
//! ```

use crate::sync::atomic::{AtomicU64, Ordering};
use std::fmt;

/// A bound of one mailbox's own; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The most messages that wait in it.
    pub messages: u32,
    /// The most bytes of payload that wait in it.
    pub bytes: u64,
}

/// Why a message was not taken. It is given back.
#[non_exhaustive]
#[derive(thiserror::Error)]
pub enum PushError<M> {
    /// The mailbox's own bound is reached.
    #[error("the mailbox is full")]
    MailboxFull(M),
    /// The node's budget of messages or bytes is used up.
    #[error("the node's message budget is used up")]
    NodeFull(M),
}

impl<M> PushError<M> {
    /// The message.
    pub fn into_message(self) -> M {
        match self {
            Self::MailboxFull(message) | Self::NodeFull(message) => message,
        }
    }
}

impl<M> fmt::Debug for PushError<M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::MailboxFull(_) => "MailboxFull(..)",
            Self::NodeFull(_) => "NodeFull(..)",
        })
    }
}

/// Which bound refuses a message.
pub(super) enum Full {
    Mailbox,
    Node,
}

impl Full {
    /// The error that gives the message back.
    #[cold]
    pub(super) fn refuse<M>(self, message: M) -> PushError<M> {
        match self {
            Self::Mailbox => PushError::MailboxFull(message),
            Self::Node => PushError::NodeFull(message),
        }
    }
}

/// The senders' half of a count: what was ever pushed, and the owner's count of what was popped as last seen.
///
/// Relaxed throughout: counts publish nothing. A refused send is counted for a moment, so that another one may be
/// refused with it; the bound is never exceeded.
pub(super) struct Ledger {
    pushed: AtomicU64,
    popped_seen: AtomicU64,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { pushed: AtomicU64::new(0), popped_seen: AtomicU64::new(0) }
    }

    /// Counts `n` more if that keeps to `max`.
    #[inline]
    pub(super) fn add(&self, n: u64, max: u64, popped: &AtomicU64) -> bool {
        let before = self.pushed.fetch_add(n, Ordering::Relaxed);
        // What was popped may be newer than our place in the order of pushes: then nothing waits before us.
        let fits = |popped: u64| n <= max && before.saturating_sub(popped) <= max - n;
        if fits(self.popped_seen.load(Ordering::Relaxed)) {
            return true;
        }
        let popped = popped.load(Ordering::Relaxed);
        self.popped_seen.store(popped, Ordering::Relaxed);
        let fits = fits(popped);
        if !fits {
            self.remove(n);
        }
        fits
    }

    /// Counts `n` more, past any bound.
    pub(super) fn add_past(&self, n: u64) {
        self.pushed.fetch_add(n, Ordering::Relaxed);
    }

    /// Uncounts `n` that were not pushed in the end.
    pub(super) fn remove(&self, n: u64) {
        self.pushed.fetch_sub(n, Ordering::Relaxed);
    }
}

/// Counts in a word that only the caller writes.
#[inline]
pub(super) fn count(word: &AtomicU64, n: u64) {
    word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}
