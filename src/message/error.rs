//! Errors of sends and calls.

use super::{HarborId, Name};
use std::fmt;

/// Why a call ended without a reply. Every call ends, exactly once, in a reply or in one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The deadline of the call passed.
    #[error("the deadline passed")]
    Timeout,
    /// No service has this handle: it ended, or never was.
    #[error("no such service")]
    NoService,
    /// Nobody registered this global or local name within the time given.
    #[error("no service has the name {0}")]
    NoName(Name),
    /// The link to the callee's node is down and the request never left.
    #[error("the link to node {0} is down, the request was not sent")]
    PeerDown(HarborId),
    /// The link was lost after the request was handed to it: it may have been executed.
    #[error("the link to node {0} was lost, whether the request was executed is unknown")]
    OutcomeUnknown(HarborId),
    /// The callee dropped its responder without an answer, or ended with the request unanswered.
    #[error("the callee ended the request without an answer")]
    Dropped,
    /// The callee panicked while it handled the request.
    #[error("the callee panicked")]
    Panicked,
    /// The callee does not handle such a request.
    #[error("the callee does not handle such a request")]
    Unhandled,
    /// The callee on another node answered with Skynet's ERROR, which has no text.
    #[error("the callee answered with an error")]
    Remote,
    /// The callee refused with a code of its own.
    #[error("the callee failed with code {0}")]
    Failed(u32),
    /// The bytes of the request or reply are not what its type wants.
    #[error("malformed values at byte {offset}: {reason}")]
    Malformed {
        /// Where in the payload.
        offset: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A queue on the way is full.
    #[error("a queue on the way is full")]
    Full,
    /// The request waited for its link longer than messages are held.
    #[error("the request expired while it waited for its link")]
    Expired,
    /// The payload is larger than a frame can carry.
    #[error("the payload is larger than a frame can carry")]
    TooLarge,
    /// Such a message may not be sent there, or from here (a blocking call on a worker thread).
    #[error("not allowed")]
    Denied,
    /// The node shuts down.
    #[error("the node shuts down")]
    Shutdown,
}

/// Why a send was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendReason {
    /// The mailbox, link queue or the node's budget is full.
    #[error("full")]
    Full,
    /// No such service or name.
    #[error("unknown destination")]
    Unknown,
    /// The link to that node is down.
    #[error("the peer is down")]
    PeerDown,
    /// The payload is larger than a frame can carry.
    #[error("too large")]
    TooLarge,
    /// The node shuts down.
    #[error("the node shuts down")]
    Shutdown,
    /// Such a message may not be sent there.
    #[error("not allowed")]
    Denied,
}

impl From<SendReason> for CallError {
    fn from(reason: SendReason) -> Self {
        match reason {
            SendReason::Full => Self::Full,
            SendReason::Unknown => Self::NoService,
            SendReason::PeerDown => Self::PeerDown(HarborId::SINGLE),
            SendReason::TooLarge => Self::TooLarge,
            SendReason::Shutdown => Self::Shutdown,
            SendReason::Denied => Self::Denied,
        }
    }
}

/// A refused send: the reason, and the message itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<M> {
    /// Why.
    pub reason: SendReason,
    /// What was not sent.
    pub message: M,
}

impl<M> SendError<M> {
    /// A refusal of `message`.
    pub fn new(reason: SendReason, message: M) -> Self {
        Self { reason, message }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SendError({:?}, ..)", self.reason)
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "not sent: {}", self.reason)
    }
}

impl<M> std::error::Error for SendError<M> {}
