//! All decisions about peers: who is dialled, what is sent, held or failed, which names are known.
//!
//! The machine is pure. It opens no socket, reads no clock, starts no thread and draws no random number: the I/O thread
//! (or the simulator) tells it what happened and when, then drains what it wants done.
#![forbid(unsafe_code)]

mod action;
mod settings;

pub use action::{Action, ConnId, DownReason, Event, Fault, Listener};
pub use settings::{Bounds, DebugPolicy, Join, Settings};

use crate::clock::Instant;
use crate::message::{Envelope, HarborRequest};
use std::collections::VecDeque;
use std::io;

/// One node's machine; see the module's text.
///
/// After every `handle_*` call, drain [`poll_action`](Self::poll_action) and then
/// [`poll_transmit`](Self::poll_transmit), and ask [`poll_timeout`](Self::poll_timeout) before waiting.
pub struct Harbor {
    settings: Settings,
    actions: VecDeque<Action>,
    transmit: VecDeque<ConnId>,
    conn_last: u64,
}

impl Harbor {
    /// A machine that has done nothing yet.
    ///
    /// # Panics
    /// If it shall be a slave and its own id is 0.
    pub fn new(settings: Settings) -> Self {
        assert!(settings.join.is_none() || !settings.own.is_single(), "a slave needs an id");
        Self { settings, actions: VecDeque::new(), transmit: VecDeque::new(), conn_last: 0 }
    }

    /// Opens the listeners; what follows comes from their results.
    pub fn start(&mut self, _now: Instant) {
        if let Some(address) = self.settings.master.clone() {
            self.actions.push_back(Action::Listen { listener: Listener::Master, address });
        }
        if let Some(join) = &self.settings.join {
            let address = join.listen.clone();
            self.actions.push_back(Action::Listen { listener: Listener::Links, address });
        }
    }

    /// The result of [`Action::Listen`]: the address as it turned out (`host:port`), or why not.
    pub fn handle_listening(
        &mut self,
        _now: Instant,
        listener: Listener,
        result: Result<String, io::ErrorKind>,
    ) {
        if let Err(kind) = result {
            self.actions.push_back(Action::Event(Event::ListenFailed(listener, kind)));
        }
    }

    /// A connection was accepted. It may be closed at once by an action.
    pub fn handle_accepted(&mut self, _now: Instant, _listener: Listener) -> ConnId {
        self.conn_last += 1;
        ConnId(self.conn_last)
    }

    /// A dialled connection is established.
    pub fn handle_connected(&mut self, _now: Instant, _conn: ConnId) {}

    /// A dialled connection failed; it is forgotten.
    pub fn handle_connect_failed(&mut self, _now: Instant, _conn: ConnId, _kind: io::ErrorKind) {}

    /// Bytes were read. Ignored for connections that the machine has closed.
    pub fn handle_bytes(&mut self, _now: Instant, _conn: ConnId, _bytes: &[u8]) {}

    /// The connection ended, in order or by an error; the socket is gone already.
    pub fn handle_closed(&mut self, _now: Instant, _conn: ConnId) {}

    /// Bytes of this connection's outbox were written.
    pub fn handle_sent(&mut self, _now: Instant, _conn: ConnId) {}

    /// A service of this node sends to a handle of another node.
    pub fn handle_send(&mut self, _now: Instant, _envelope: Envelope) {}

    /// A service asks something.
    pub fn handle_request(&mut self, _now: Instant, _request: HarborRequest) {}

    /// A delivered message found no service: its sender is answered with ERROR, except to an ERROR.
    pub fn handle_undeliverable(&mut self, _now: Instant, _envelope: Envelope) {}

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come. Harmless when it has not.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next connection whose outbox got bytes. A connection that is still writing need not be looked at.
    pub fn poll_transmit(&mut self) -> Option<ConnId> {
        self.transmit.pop_front()
    }

    /// Whether a [`HarborRequest::Leave`] is done: everything flushed (or given up) and closed.
    pub fn has_left(&self) -> bool {
        false
    }
}
