//! How calls and refused sends end, as a code in the ledger, and which of these ends say that nobody got the letter.

use skyharbor::{CallError, SendReason};

/// How a call ended, or why a send was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum Outcome {
    /// The answer to this very letter.
    Reply,
    /// An answer, but not to this letter.
    WrongReply,
    Timeout,
    NoService,
    NoName,
    PeerDown,
    /// The link was lost after the letter had left.
    Unknown,
    /// The callee's node answered with an error.
    Remote,
    Full,
    Expired,
    TooLarge,
    Denied,
    Shutdown,
    /// Any other error: none of them can come from an agent.
    Other,
}

impl Outcome {
    pub(super) const ALL: [Self; 14] = [
        Self::Reply,
        Self::WrongReply,
        Self::Timeout,
        Self::NoService,
        Self::NoName,
        Self::PeerDown,
        Self::Unknown,
        Self::Remote,
        Self::Full,
        Self::Expired,
        Self::TooLarge,
        Self::Denied,
        Self::Shutdown,
        Self::Other,
    ];

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// For people and programs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::WrongReply => "wrong_reply",
            Self::Timeout => "timeout",
            Self::NoService => "no_service",
            Self::NoName => "no_name",
            Self::PeerDown => "peer_down",
            Self::Unknown => "outcome_unknown",
            Self::Remote => "remote",
            Self::Full => "full",
            Self::Expired => "expired",
            Self::TooLarge => "too_large",
            Self::Denied => "denied",
            Self::Shutdown => "shutdown",
            Self::Other => "other",
        }
    }

    /// Whether it says that the letter was not handed to anybody.
    pub(super) fn denies_delivery(self) -> bool {
        match self {
            Self::NoService
            | Self::NoName
            | Self::PeerDown
            | Self::Full
            | Self::Expired
            | Self::TooLarge
            | Self::Denied => true,
            Self::Reply
            | Self::WrongReply
            | Self::Timeout
            | Self::Unknown
            | Self::Remote
            | Self::Shutdown
            | Self::Other => false,
        }
    }

    /// Whether the loss of a link ended the call.
    pub(super) fn is_of_lost_link(self) -> bool {
        matches!(self, Self::PeerDown | Self::Unknown)
    }
}

impl From<CallError> for Outcome {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Timeout => Self::Timeout,
            CallError::NoService => Self::NoService,
            CallError::NoName(_) => Self::NoName,
            CallError::PeerDown(_) => Self::PeerDown,
            CallError::OutcomeUnknown(_) => Self::Unknown,
            CallError::Remote => Self::Remote,
            CallError::Full => Self::Full,
            CallError::Expired => Self::Expired,
            CallError::TooLarge => Self::TooLarge,
            CallError::Denied => Self::Denied,
            CallError::Shutdown => Self::Shutdown,
            _ => Self::Other,
        }
    }
}

impl From<SendReason> for Outcome {
    fn from(reason: SendReason) -> Self {
        CallError::from(reason).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back() {
        for (code, outcome) in (0..).zip(Outcome::ALL) {
            assert_eq!((outcome as u8, Outcome::from_code(code)), (code, Some(outcome)));
        }
        assert_eq!(Outcome::from_code(Outcome::ALL.len() as u8), None);
    }
}
