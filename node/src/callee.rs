//! Who is called, as it is written on a command line, and why a call failed, as it is shown.

use crate::control::Failure;
use skyharbor::message::NameError;
use skyharbor::{CallError, Handle, Name};
use std::str::FromStr;

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Callee {
    /// `:01000abc`
    Handle(Handle),
    /// `.name`, of the node that makes the call.
    Local(String),
    /// `NAME`
    Global(Name),
}

impl FromStr for Callee {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(':') {
            return text.parse().map(Self::Handle).map_err(|error| format!("{text}: {error}"));
        }
        if text.starts_with('.') && text.len() > 1 {
            return Ok(Self::Local(text.to_owned()));
        }
        text.parse().map(Self::Global).map_err(|error: NameError| format!("{text}: {error}"))
    }
}

/// A failed call, for programs and for people.
pub(crate) fn failure(reason: CallError) -> Failure {
    let word = match reason {
        CallError::Timeout => "timeout",
        CallError::NoService => "no_service",
        CallError::NoName(_) => "no_name",
        CallError::PeerDown(_) => "peer_down",
        CallError::OutcomeUnknown(_) => "outcome_unknown",
        CallError::Dropped => "dropped",
        CallError::Panicked => "panicked",
        CallError::Unhandled => "unhandled",
        CallError::Remote => "remote",
        CallError::Failed(_) => "failed",
        CallError::Malformed { .. } => "malformed",
        CallError::Full => "full",
        CallError::Expired => "expired",
        CallError::TooLarge => "too_large",
        CallError::Denied => "denied",
        CallError::Shutdown => "shutdown",
        _ => "error",
    };
    Failure::new(word, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_to_name_a_callee() {
        assert_eq!(":1000ABC".parse(), Ok(Callee::Handle(Handle::from_bits(0x0100_0abc))));
        assert_eq!(".kv".parse(), Ok(Callee::Local(".kv".to_owned())));
        assert_eq!("KV".parse(), Ok(Callee::Global("KV".parse().unwrap())));
        for text in ["", ".", ":", ":xyz", "1234567890123456", "12"] {
            assert!(text.parse::<Callee>().is_err(), "{text}");
        }
    }
}
