//! One message.

use super::{CallError, Handle, Kind, Payload, Session};
use crate::queue::Parcel;
use std::fmt;

/// One message with its addresses.
///
/// ```text
/// source  who answers go to (0 = nobody)
/// dest    who receives it
/// session 0 = no answer wanted; otherwise the answer carries the same number
/// kind    Skynet's message type
/// body    bytes, a typed value that never leaves the process, or the reason of an error
/// ```
pub struct Envelope {
    /// The service that sent it.
    pub source: Handle,
    /// The service that receives it.
    pub dest: Handle,
    /// The session of the call that it asks for or answers.
    pub session: Session,
    /// Its type.
    pub kind: Kind,
    /// What it carries.
    pub body: Body,
}

/// What a message carries.
#[derive(Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// Bytes, as they travel over links.
    Bytes(Payload),
    /// A value of the process, moved and never serialised.
    Typed(Parcel),
    /// Why the call of this session failed; its kind is [`Kind::ERROR`].
    Failure(CallError),
}

impl Body {
    /// The bytes, if it has any: an empty body has none but is valid as an empty payload.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Empty => Some(&[]),
            Self::Bytes(payload) => Some(payload),
            Self::Typed(_) | Self::Failure(_) => None,
        }
    }

    /// Bytes that it holds outside the message.
    pub fn heap_len(&self) -> usize {
        match self {
            Self::Empty | Self::Failure(_) => 0,
            Self::Bytes(payload) => payload.heap_len(),
            Self::Typed(parcel) => parcel.heap_len(),
        }
    }
}

impl Envelope {
    /// An ERROR for the call `session` of `dest`, from `source`, with its reason.
    pub fn error(source: Handle, dest: Handle, session: Session, reason: CallError) -> Self {
        Self { source, dest, session, kind: Kind::ERROR, body: Body::Failure(reason) }
    }

    /// The ERROR that answers this message, if somebody waits for an answer to it.
    ///
    /// Responses and errors are never answered.
    pub fn refusal(&self, reason: CallError) -> Option<Self> {
        let waits = self.session.wants_answer() && self.kind.is_answered() && !self.source.is_none();
        waits.then(|| Self::error(self.dest, self.source, self.session, reason))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => out.write_str("empty"),
            Self::Bytes(payload) => payload.fmt(out),
            Self::Typed(_) => out.write_str("typed"),
            Self::Failure(reason) => reason.fmt(out),
        }
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, dest, session, kind, body } = self;
        write!(out, "{kind:?} {source} -> {dest} session {} {body:?}", session.bits())
    }
}
