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
        let answer = matches!(self.kind, Kind::RESPONSE | Kind::ERROR | Kind::MULTICAST);
        let waits = self.session.wants_answer() && !answer && !self.source.is_none();
        waits.then(|| Self::error(self.dest, self.source, self.session, reason))
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = match &self.body {
            Body::Empty => "empty".to_owned(),
            Body::Bytes(payload) => format!("{payload:?}"),
            Body::Typed(_) => "typed".to_owned(),
            Body::Failure(reason) => format!("{reason:?}"),
        };
        let Self { source, dest, session, kind, .. } = self;
        write!(out, "{kind:?} {source} -> {dest} session {} {body}", session.bits())
    }
}
