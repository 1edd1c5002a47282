//! What must hold, whatever happens. Everything that a node delivers or reports is checked here, once, for all runs.
//!
//! | rule | checked when |
//! |---|---|
//! | messages of one pair of services arrive in the order sent, by name or by handle, each at most once | each delivery |
//! | a message reaches the service that it was sent to, in the life in which that service was meant | each delivery |
//! | a call has at most one outcome before its caller gives up, and one in the end | each outcome, end |
//! | only its callee refuses a call | each outcome |
//! | "not sent" is true: such a request never arrives, before or after | each failure and delivery |
//! | UP and DOWN of a peer alternate; a peer that is not up delivers nothing | each delivery and event |
//! | nothing that this node sent to a peer waits for an answer once the peer is down | each DOWN |
//! | accepted = delivered + failed + unknown + queued + in flight | after each input of each node |

use crate::harbor::{Event, Harbor};
use crate::limits::SERVICE_ID_VACANT;
use crate::message::{CallError, HarborId};
use std::collections::{BTreeMap, BTreeSet};

/// A service in one life of its node, never seen again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Uid {
    pub(super) node: usize,
    pub(super) life: u32,
    pub(super) local: u32,
}

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    Failed(CallError),
    /// The callee, or its node, answered with ERROR.
    Refused,
    /// The caller gave up.
    GaveUp,
}

struct Sent {
    from: Uid,
    /// Who may get it; none: nobody has that name.
    to: Option<Uid>,
    is_call: bool,
    delivered: bool,
    /// The sender was told that it was not sent.
    disowned: bool,
    outcome: Option<Outcome>,
}

/// Counts of a run, for the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages sent.
    pub sent: u64,
    /// Messages that reached their service.
    pub delivered: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that failed, and the callers told why.
    pub failed: u64,
    /// Calls whose outcome is unknown because their link was lost.
    pub unknown: u64,
    /// Links that came up, seen from each side.
    pub ups: u64,
    /// Links that were lost, seen from each side.
    pub downs: u64,
}

impl Tally {
    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.answered += other.answered;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.ups += other.ups;
        self.downs += other.downs;
    }
}

/// The judge of a run.
#[derive(Default)]
pub(super) struct Oracle {
    sent: Vec<Sent>,
    last: BTreeMap<(Uid, Uid), usize>,
    up: BTreeMap<usize, BTreeSet<HarborId>>,
    pub(super) tally: Tally,
}

impl Oracle {
    /// A message leaves its sender; its number, which travels in its payload.
    pub(super) fn sent(&mut self, from: Uid, to: Option<Uid>, is_call: bool) -> u64 {
        self.tally.sent += 1;
        let (delivered, disowned, outcome) = (false, false, None);
        self.sent.push(Sent { from, to, is_call, delivered, disowned, outcome });
        self.sent.len() as u64 - 1
    }

    /// A message arrived at a service.
    pub(super) fn delivered(&mut self, at: Uid, number: u64) {
        let number = number as usize;
        let Some(sent) = self.sent.get_mut(number) else { panic!("{at:?} got a message that nobody sent") };
        let from = sent.from;
        assert_eq!(sent.to, Some(at), "message {number} of {from:?} reached somebody else");
        assert!(!sent.delivered, "message {number} of {from:?} was delivered twice");
        assert!(!sent.disowned, "message {number} of {from:?} arrived though it was not sent");
        sent.delivered = true;
        self.tally.delivered += 1;
        if let Some(before) = self.last.insert((from, at), number) {
            assert!(before < number, "{from:?} sent {number} to {at:?} before {before}");
        }
    }

    /// A call is refused by a service, or in the name of one: nobody but its callee may do that here, or the id that has
    /// the names of dead nodes.
    pub(super) fn refused(&self, number: u64, by: u32) {
        let sent = &self.sent[number as usize];
        let callee = sent.to.map(|uid| uid.local);
        assert!(
            callee == Some(by) || by == SERVICE_ID_VACANT,
            "call {number} of {:?} ended by an error that belongs to another",
            sent.from
        );
    }

    /// A call ended. Answers that come after the caller gave up change nothing.
    pub(super) fn ended(&mut self, number: u64, outcome: Outcome) {
        let sent = &mut self.sent[number as usize];
        assert!(sent.is_call, "message {number} is no call and has an outcome: {outcome:?}");
        assert!(
            matches!(sent.outcome, None | Some(Outcome::GaveUp)),
            "call {number} ended twice: {:?} and {outcome:?}",
            sent.outcome
        );
        match outcome {
            Outcome::Answered => {
                self.tally.answered += 1;
                assert!(sent.delivered, "call {number} was answered and never arrived");
            }
            Outcome::Failed(CallError::OutcomeUnknown(_)) => self.tally.unknown += 1,
            Outcome::Failed(reason) => {
                self.tally.failed += 1;
                assert!(!sent.delivered, "call {number} arrived, its caller was told: {reason}");
                sent.disowned = true;
            }
            Outcome::Refused => self.tally.failed += 1,
            Outcome::GaveUp => {}
        }
        sent.outcome = Some(outcome);
    }

    /// A link event of a node.
    pub(super) fn event(&mut self, node: usize, event: &Event, harbor: &Harbor) {
        let up = self.up.entry(node).or_default();
        match event {
            Event::Up(peer) => {
                self.tally.ups += 1;
                assert!(up.insert(*peer), "node {node}: {peer} is up twice");
            }
            Event::Down(peer, _) => {
                self.tally.downs += 1;
                assert!(up.remove(peer), "node {node}: {peer} is down without having been up");
                assert_eq!(
                    harbor.pending_calls(*peer),
                    0,
                    "node {node}: calls wait for {peer}, which is down"
                );
            }
            _ => {}
        }
    }

    /// A message of a peer is delivered.
    pub(super) fn heard(&self, node: usize, peer: HarborId) {
        let is_up = self.up.get(&node).is_some_and(|up| up.contains(&peer));
        assert!(is_up, "node {node}: a message of {peer}, which is not up");
    }

    /// The node is gone, and everything that it knew and waited for.
    pub(super) fn died(&mut self, node: usize, life: u32) {
        self.up.remove(&node);
        for sent in &mut self.sent {
            if (sent.from.node, sent.from.life) == (node, life) && sent.outcome.is_none() {
                sent.outcome = Some(Outcome::GaveUp);
            }
        }
    }

    /// Peers that are up for a node.
    pub(super) fn peers(&self, node: usize) -> BTreeSet<HarborId> {
        self.up.get(&node).cloned().unwrap_or_default()
    }

    /// Every call has ended.
    pub(super) fn finish(&self) {
        for (number, sent) in self.sent.iter().enumerate() {
            let open = sent.is_call && sent.outcome.is_none();
            assert!(!open, "call {number} of {:?} to {:?} never ended", sent.from, sent.to);
        }
    }
}
