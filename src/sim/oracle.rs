//! What must hold, whatever happens. Everything that a node delivers or reports is checked here, once, for all runs.
//!
//! | | what | checked when |
//! |---|---|---|
//! | rule I1 | messages of one pair of services arrive in the order sent, by name or by handle, over all links | each delivery |
//! | rule I2 | each at most once | each delivery |
//! | rule I3 | a call has exactly one outcome, by its caller's deadline if it has one; a question exactly one answer | each outcome, end |
//! | rule I4 | what was accepted and not delivered is counted as failed or unknown | end of a run without faults |
//! | rule I5 | accepted = delivered + failed + unknown + queued + in flight, for each peer and for the node | each input |
//! | rule I6 | "not sent" is true: such a request never arrives, before or after; only its callee refuses a call | each failure and delivery |
//! | rule I7 | what was given to a link arrives over that link or not at all; a service of another life gets nothing | each delivery |
//! | rule I8 | UP and DOWN of a peer alternate; a peer that is not up delivers nothing; no call waits for a peer that is down | each delivery and event |
//! | rule I9 | names lead to their owners; an owner that is seen is not followed by one that had the name before | each name, end |
//! | rule I10 | what is held, waited for and unsent stays below its bound | each write, each look |
//! | rule I11 | after the faults every two nodes are linked, and everybody is answered by everybody, by handle and by name | end |
//! | rule I12 | a link that nothing happened to does not go down; one whose connection ended is down at once | each DOWN, each end |
//! | rule I13 | between two nodes that nothing happened to, messages take no longer than usual | each delivery |
//! | rule I15 | no panic; in the end no connection is left, and a node that says farewell is gone in time | end |
//! | rule I16 | the same case gives the same run | a hash of everything |
//!
//! After garbage (a flipped bit, missing bytes) a connection says anything. What comes over it is judged no more: it is no
//! delivery, and a call that it ends has ended somehow. All other connections are judged as ever; if garbage came over a control
//! link, names are judged no more in that run.

use super::tcp::TcpId;
use crate::message::{CallError, HarborId};
use std::collections::{BTreeMap, BTreeSet};

/// A service in one life of its node, never seen again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Uid {
    pub(super) node: usize,
    pub(super) life: u32,
    pub(super) local: u32,
}

/// Who may get a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Service(Uid),
    /// Whoever claimed this name at some time.
    Shared(u8),
    Nobody,
    /// By a name, in a run in which names may be garbage.
    Anyone,
}

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    Failed(CallError),
    /// The callee, or its node, answered with ERROR.
    Refused,
    /// The caller gave up, or ended.
    GaveUp,
    /// Something came over a connection with garbage.
    Garbled,
}

/// A message as its sender meant it.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) from: Uid,
    pub(super) to: Whom,
    pub(super) is_call: bool,
    pub(super) at: u64,
    /// A played real node sent it: its faults are its own.
    pub(super) by_real: bool,
    /// It must be answered.
    pub(super) is_probe: bool,
    /// It went to a name that nobody has.
    pub(super) is_nameless: bool,
    /// The connection of the link that was up when it was accepted.
    pub(super) link: Option<TcpId>,
    pub(super) delivered: bool,
    /// The sender was told that it was not sent.
    pub(super) disowned: bool,
    pub(super) outcome: Option<Outcome>,
    /// Its callee, or its callee's machine, said ERROR.
    pub(super) may_be_refused: bool,
}

impl Sent {
    pub(super) fn new(from: Uid, to: Whom, is_call: bool, at: u64) -> Self {
        Self {
            from,
            to,
            is_call,
            at,
            by_real: false,
            is_probe: false,
            is_nameless: false,
            link: None,
            may_be_refused: false,
            delivered: false,
            disowned: false,
            outcome: None,
        }
    }
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
    /// The latest message from one service to another; names that many claim may have had no owner yet, each for itself.
    last: BTreeMap<(Uid, Uid, Option<u8>), u64>,
    /// The links of each node that are up, by their connections.
    links: BTreeMap<usize, BTreeMap<HarborId, TcpId>>,
    /// Links that were lost, by who lost them.
    lost: BTreeSet<(usize, TcpId)>,
    claimed: BTreeSet<(u8, Uid)>,
    pub(super) tally: Tally,
}

impl Oracle {
    /// A message leaves its sender; its number, which travels in its payload.
    pub(super) fn sent(&mut self, sent: Sent) -> u64 {
        self.tally.sent += 1;
        self.sent.push(sent);
        self.sent.len() as u64 - 1
    }

    /// A service claims a shared name.
    pub(super) fn claims(&mut self, name: u8, who: Uid) {
        self.claimed.insert((name, who));
    }

    /// A message arrived at a service, over this connection.
    pub(super) fn delivered(&mut self, at: Uid, number: u64, over: Option<TcpId>) -> Sent {
        let Some(sent) = self.sent.get_mut(number as usize) else {
            panic!("I2: {at:?} got a message that nobody sent")
        };
        let from = sent.from;
        let is_right = match sent.to {
            Whom::Service(uid) => uid == at,
            Whom::Shared(name) => self.claimed.contains(&(name, at)),
            Whom::Nobody => false,
            Whom::Anyone => true,
        };
        assert!(is_right, "I7: message {number} of {from:?} to {:?} reached {at:?}", sent.to);
        assert!(!sent.delivered, "I2: message {number} of {from:?} was delivered twice");
        assert!(!sent.disowned, "I6: message {number} of {from:?} arrived though it was not sent");
        let is_right_link = sent.link.is_none() || from.node == at.node || sent.link == over;
        assert!(
            is_right_link,
            "I7: message {number} of {from:?} was given to link {:?} and came over {over:?}",
            sent.link
        );
        sent.delivered = true;
        let (copy, by_real) = (*sent, sent.by_real);
        let shared = match sent.to {
            Whom::Shared(name) => Some(name),
            Whom::Service(_) | Whom::Nobody | Whom::Anyone => None,
        };
        self.tally.delivered += 1;
        if let Some(before) = self.last.insert((from, at, shared), number) {
            assert!(by_real || before < number, "I1: {from:?} sent {number} to {at:?} before {before}");
        }
        copy
    }

    /// The callee of this message, or its machine, refuses it.
    pub(super) fn may_be_refused(&mut self, number: u64) {
        if let Some(sent) = self.sent.get_mut(number as usize) {
            sent.may_be_refused = true;
        }
    }

    /// A call ended with an error that says `by`, a service's local id. Nobody but its callee may do that, or the id that
    /// has the names of the dead.
    pub(super) fn refused(&self, number: u64, by: u32, vacant: u32, callee_lives: bool) {
        let sent = &self.sent[number as usize];
        let is_right = match sent.to {
            Whom::Service(uid) => uid.local == by && (sent.may_be_refused || !callee_lives),
            Whom::Shared(_) | Whom::Nobody | Whom::Anyone => true,
        };
        assert!(
            is_right || by == vacant,
            "I6: call {number} of {:?} to {:?} ended by an error of service {by}",
            sent.from,
            sent.to
        );
    }

    /// A call ended. Answers that come after the caller gave up change nothing.
    pub(super) fn ended(&mut self, number: u64, outcome: Outcome) {
        let sent = &mut self.sent[number as usize];
        assert!(sent.is_call, "I3: message {number} is no call and has an outcome: {outcome:?}");
        assert!(
            matches!(sent.outcome, None | Some(Outcome::GaveUp)),
            "I3: call {number} ended twice: {:?} and {outcome:?}",
            sent.outcome
        );
        let is_late = sent.link.is_some_and(|link| self.lost.contains(&(sent.from.node, link)));
        let is_by_link =
            matches!(outcome, Outcome::Failed(CallError::OutcomeUnknown(_) | CallError::PeerDown(_)));
        assert!(
            !(is_late && is_by_link),
            "I8: call {number} ended after the link that it was given to was down"
        );
        match outcome {
            Outcome::Answered => {
                self.tally.answered += 1;
                assert!(sent.delivered, "I6: call {number} was answered and never arrived");
            }
            Outcome::Failed(CallError::OutcomeUnknown(_)) => self.tally.unknown += 1,
            Outcome::Failed(reason) => {
                self.tally.failed += 1;
                assert!(!sent.delivered, "I6: call {number} arrived, its caller was told: {reason}");
                sent.disowned = true;
            }
            Outcome::Refused => self.tally.failed += 1,
            Outcome::GaveUp | Outcome::Garbled => {}
        }
        sent.outcome = Some(outcome);
    }

    /// When a message was sent, over which link.
    pub(super) fn of(&self, number: u64) -> Sent {
        self.sent[number as usize]
    }

    /// A link of a node came up, on this connection.
    pub(super) fn up(&mut self, node: usize, peer: HarborId, over: Option<TcpId>) {
        self.tally.ups += 1;
        let Some(over) = over else { panic!("I8: node {node}: {peer} is up, and nothing came from it") };
        let before = self.links.entry(node).or_default().insert(peer, over);
        assert_eq!(before, None, "I8: node {node}: {peer} is up twice");
    }

    /// A link of a node was lost; the connection that it was on.
    pub(super) fn down(&mut self, node: usize, peer: HarborId, pending: usize) -> TcpId {
        self.tally.downs += 1;
        let before = self.links.entry(node).or_default().remove(&peer);
        let Some(over) = before else { panic!("I8: node {node}: {peer} is down without having been up") };
        self.lost.insert((node, over));
        assert_eq!(pending, 0, "I8: node {node}: calls wait for {peer}, which is down");
        over
    }

    /// The connection of the link that is up.
    pub(super) fn link(&self, node: usize, peer: HarborId) -> Option<TcpId> {
        self.links.get(&node)?.get(&peer).copied()
    }

    /// Whether a link of the node is up on this connection.
    pub(super) fn is_link(&self, node: usize, over: TcpId) -> bool {
        self.links.get(&node).is_some_and(|links| links.values().any(|tcp| *tcp == over))
    }

    /// A connection of a node is gone: no link is on it any more.
    pub(super) fn closed(&self, node: usize, over: TcpId) {
        let on_it = self.links.get(&node).and_then(|links| links.iter().find(|(_, tcp)| **tcp == over));
        assert!(on_it.is_none(), "I12: node {node}: the connection of {on_it:?} ended, its link is up");
    }

    /// A message of a peer is delivered.
    pub(super) fn heard(&self, node: usize, peer: HarborId) {
        assert!(self.link(node, peer).is_some(), "I8: node {node}: a message of {peer}, which is not up");
    }

    /// The node is gone, and everything that it knew and waited for.
    pub(super) fn died(&mut self, node: usize, life: u32) {
        self.links.remove(&node);
        for sent in &mut self.sent {
            if (sent.from.node, sent.from.life) == (node, life) && sent.outcome.is_none() {
                sent.outcome = Some(Outcome::GaveUp);
            }
        }
    }

    /// Whether a service of this node sent a message of this number.
    pub(super) fn is_from(&self, number: u64, node: usize) -> bool {
        self.sent.get(number as usize).is_some_and(|sent| sent.from.node == node)
    }

    /// Peers that are up for a node.
    pub(super) fn peers(&self, node: usize) -> BTreeSet<HarborId> {
        self.links.get(&node).map(|links| links.keys().copied().collect()).unwrap_or_default()
    }

    /// Every call has ended, every probe was answered; without faults everything has arrived.
    pub(super) fn finish(&self, is_healthy: bool, is_lossless: bool) {
        for (number, sent) in self.sent.iter().enumerate() {
            let (from, to) = (sent.from, sent.to);
            let open = sent.is_call && sent.outcome.is_none();
            assert!(
                !open || (sent.by_real && !is_healthy),
                "I3: call {number} of {from:?} to {to:?} never ended"
            );
            let was_answered = sent.outcome == Some(Outcome::Answered);
            assert!(
                !sent.is_probe || was_answered || sent.outcome == Some(Outcome::GaveUp),
                "I11: after the faults call {number} of {from:?} to {to:?} ended with {:?}",
                sent.outcome
            );
            let must_arrive =
                is_lossless && matches!(to, Whom::Service(_)) && sent.outcome != Some(Outcome::GaveUp);
            assert!(
                !must_arrive || sent.delivered || sent.disowned,
                "I4: message {number} of {from:?} to {to:?} was lost in a healthy cluster"
            );
        }
    }
}
