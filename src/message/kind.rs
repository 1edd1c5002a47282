//! Message types with Skynet's numbers.

use std::fmt;

/// The type of a message, one byte on the wire (`skynet.h`, `PTYPE_*`). 13–255 are free for programs.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// Plain text.
    pub const TEXT: Self = Self(0);
    /// The answer to a request, matched by session.
    pub const RESPONSE: Self = Self(1);
    /// A multicast packet; its session is the channel.
    pub const MULTICAST: Self = Self(2);
    /// Forwarded from a client connection.
    pub const CLIENT: Self = Self(3);
    /// Control of a node; never crosses a link.
    pub const SYSTEM: Self = Self(4);
    /// Commands to the harbor; never crosses a link.
    pub const HARBOR: Self = Self(5);
    /// Socket events; never crosses a link.
    pub const SOCKET: Self = Self(6);
    /// The call with this session failed; session 0: the source is dead.
    pub const ERROR: Self = Self(7);
    /// Unused since Skynet 1.0, kept for its number.
    pub const QUEUE: Self = Self(8);
    /// Debug console commands. `PING` is answered for the service, everything else refused, unless the service wants to
    /// see them ([`crate::Spawn::debug`]).
    pub const DEBUG: Self = Self(9);
    /// Packed values ([`crate::seri`]).
    pub const LUA: Self = Self(10);
    /// Snax services.
    pub const SNAX: Self = Self(11);
    /// A trace tag for the next message of its source, sent right before each call of a traced Lua coroutine, without a
    /// session. The raw door gets it like any message; forwarded, it keeps its place before its call.
    pub const TRACE: Self = Self(12);

    /// Whether messages of this type may cross a link: SYSTEM, HARBOR and SOCKET may not, in either direction.
    /// (A real Skynet node aborts when it is made to send one, and follows pointers when it receives one.)
    pub const fn may_leave(self) -> bool {
        !matches!(self, Self::SYSTEM | Self::HARBOR | Self::SOCKET)
    }

    /// Whether a message of this type with a session is answered: responses and errors are answers, the session of a
    /// multicast packet is its channel, and that of a trace tag, if it has one, belongs to the call behind it.
    pub const fn is_answered(self) -> bool {
        !matches!(self, Self::RESPONSE | Self::ERROR | Self::MULTICAST | Self::TRACE)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 13] = [
            "TEXT",
            "RESPONSE",
            "MULTICAST",
            "CLIENT",
            "SYSTEM",
            "HARBOR",
            "SOCKET",
            "ERROR",
            "QUEUE",
            "DEBUG",
            "LUA",
            "SNAX",
            "TRACE",
        ];
        match NAMES.get(usize::from(self.0)) {
            Some(name) => out.write_str(name),
            None => write!(out, "Kind({})", self.0),
        }
    }
}
