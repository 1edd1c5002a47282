//! A socket that a poller watches: the one place where sockets are registered.

#[cfg(not(shuttle))]
use super::system::PollMode;
use super::system::{Event, Poller, Socket};
use std::io;
use std::sync::Arc;

/// What to be told about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Errors and the end only.
    Nothing,
    /// There is something to read or to accept.
    Read,
    /// There is room to write, or a dialled connection is decided.
    Write,
    /// Both.
    Both,
}

impl Interest {
    fn event(self, key: usize) -> Event {
        match self {
            Self::Nothing => Event::none(key),
            Self::Read => Event::readable(key),
            Self::Write => Event::writable(key),
            Self::Both => Event::all(key),
        }
    }
}

/// A socket and its place in the poller. The poller forgets it before the socket is closed.
///
/// Level mode: what was not read or accepted now is reported again by the next wait, so no loop has to run dry.
#[derive(Debug)]
pub(super) struct Registration {
    poller: Arc<Poller>,
    socket: Socket,
    key: usize,
    interest: Interest,
}

impl Registration {
    /// Watches the socket; its events carry `key`.
    ///
    /// # Errors
    /// The poller's; the socket is closed then.
    pub(super) fn new(
        poller: &Arc<Poller>,
        socket: Socket,
        key: usize,
        interest: Interest,
    ) -> io::Result<Self> {
        // SAFETY: the poller must forget a source before it is closed. The socket stays in this value, lent by reference
        // only, and `drop` deletes it from the poller before the field is dropped.
        #[cfg(not(shuttle))]
        #[expect(unsafe_code, reason = "the one registration")]
        unsafe { poller.add_with_mode(&socket, interest.event(key), PollMode::Level) }?;
        #[cfg(shuttle)]
        poller.watch(&socket, interest.event(key))?;
        Ok(Self { poller: Arc::clone(poller), socket, key, interest })
    }

    /// The socket.
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Changes what is watched for; no system call if it is so already.
    ///
    /// # Errors
    /// The poller's: the system is out of memory.
    pub(super) fn watch(&mut self, interest: Interest) -> io::Result<()> {
        if self.interest != interest {
            #[cfg(not(shuttle))]
            self.poller.modify_with_mode(&self.socket, interest.event(self.key), PollMode::Level)?;
            #[cfg(shuttle)]
            self.poller.watch(&self.socket, interest.event(self.key))?;
            self.interest = interest;
        }
        Ok(())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // It fails only for sockets that are not registered.
        let _ = self.poller.delete(&self.socket);
    }
}
