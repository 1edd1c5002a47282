//! The connections: dialled, up, and those whose last bytes are on their way.
//!
//! ```text
//!  connect() ─► Resolving ─► Connecting ─┬─► Up ──── close() ────► Lingering ─► gone
//!       │           │    ▲        │      │   │                         ▲
//!       │           │    └ next ──┘      │   └─ end or error ─► gone   └ end of the peer, or LINGER_TIME_MAX
//!       └───────────┴─ failed, too late ─┴─► gone
//!                               adopt() ─┘
//! ```
//!
//! Writing on a connection that is up:
//!
//! ```text
//!        queue()             write(): socket full            writable
//!  Idle ─────────► Queued ─────────────────────────► Blocked ─────────► Queued
//!    ▲                │ └─ write(): error ─► Broken: what the peer sent is read to its end, then it is gone
//!    └── all written ─┘
//! ```
//!
//! A socket that is closed while bytes of its peer lie unread sends a reset, and the reset may destroy our last bytes on
//! the other side. So a connection that the machine closes says that it writes no more, and its peer's bytes are read and
//! dropped until the peer has closed too.

use super::counters::IoCount;
use super::reactor::{Key, Reactor, Resolution};
use super::registration::{Interest, Registration};
use super::resolver::Addresses;
use super::sockets;
use super::system::{self, Socket};
use crate::clock::Instant;
use crate::harbor::ConnId;
use crate::limits::{CONNECT_TIME_MAX, LINGER_TIME_MAX, LINGERING_MAX, PROBE_TIME_MAX, WRITES_MAX};
use crate::wire::{Outbox, Slices};
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;

#[derive(Debug)]
enum Stage {
    /// The resolver was asked; `by` is when the whole dial ends.
    Resolving { by: Instant },
    /// Dialling one address until `until`; `rest` are the others, the next one last.
    Connecting { socket: Registration, rest: Addresses, until: Instant, by: Instant },
    /// Bytes flow; those of the peer stay in the system while the machine does not want them.
    Up { socket: Registration, writing: Writing, is_read: bool },
    /// Closed by the machine; its peer has not closed yet.
    Lingering { socket: Registration, until: Instant },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Idle,
    Queued,
    Blocked,
    Broken,
}

#[derive(Debug)]
struct Connection {
    conn: ConnId,
    stage: Stage,
}

/// What became of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    /// Nothing to tell.
    Nothing,
    /// It is up.
    Connected(ConnId),
    /// All its addresses failed; it is forgotten.
    ConnectFailed(ConnId, ErrorKind),
    /// It brought bytes.
    Bytes(ConnId, &'a [u8]),
    /// It ended; it is forgotten.
    Closed(ConnId),
}

/// All connections of the node.
#[derive(Default)]
pub(super) struct Connections {
    table: HashMap<Key, Connection>,
    /// Those whose `writing` is `Queued`, and a few that are gone or closed.
    queued: VecDeque<ConnId>,
    lingering: usize,
}

impl Connections {
    /// Dials.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        conn: ConnId,
        address: &str,
    ) -> Outcome<'static> {
        let by = now + CONNECT_TIME_MAX;
        match reactor.resolve(Key::conn(conn), address, by) {
            Ok(Resolution::Done(addresses)) => {
                self.dial(now, reactor, conn, addresses, by, ErrorKind::NotFound)
            }
            Ok(Resolution::Asked) => {
                reactor.wake_at(by, Key::conn(conn));
                self.table.insert(Key::conn(conn), Connection { conn, stage: Stage::Resolving { by } });
                Outcome::Nothing
            }
            Err(kind) => Self::dial_failed(reactor, conn, kind),
        }
    }

    /// The resolver's answer. It may come too late.
    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        key: Key,
        addresses: Result<Addresses, ErrorKind>,
    ) -> Outcome<'static> {
        match self.table.remove(&key) {
            Some(Connection { conn, stage: Stage::Resolving { by } }) => match addresses {
                Ok(mut addresses) => {
                    addresses.reverse();
                    self.dial(now, reactor, conn, addresses, by, ErrorKind::NotFound)
                }
                Err(kind) => Self::dial_failed(reactor, conn, kind),
            },
            Some(other) => {
                self.table.insert(key, other);
                Outcome::Nothing
            }
            None => Outcome::Nothing,
        }
    }

    /// Dials the last of these addresses, or one before it if that fails at once; `failure` is why the one after it failed.
    /// They share the time up to `by` equally: the machine dials anew after that, from the first address on.
    fn dial(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        conn: ConnId,
        mut addresses: Addresses,
        by: Instant,
        mut failure: ErrorKind,
    ) -> Outcome<'static> {
        let key = Key::conn(conn);
        while let Some(address) = addresses.pop() {
            reactor.count(IoCount::Dials, 1);
            let dialling = sockets::dial(address, reactor.unreachable())
                .and_then(|socket| reactor.register(socket, key, Interest::Write));
            match dialling {
                Ok(socket) => {
                    let until = now + by.since(now) / (addresses.len() as u32 + 1);
                    reactor.wake_at(until, key);
                    let stage = Stage::Connecting { socket, rest: addresses, until, by };
                    self.table.insert(key, Connection { conn, stage });
                    return Outcome::Nothing;
                }
                Err(error) => failure = error.kind(),
            }
        }
        Self::dial_failed(reactor, conn, failure)
    }

    fn dial_failed(reactor: &Reactor, conn: ConnId, kind: ErrorKind) -> Outcome<'static> {
        reactor.count(IoCount::DialFailures, 1);
        Outcome::ConnectFailed(conn, kind)
    }

    /// Takes over an accepted socket.
    ///
    /// # Errors
    /// The poller's; the socket is closed then.
    pub(super) fn adopt(&mut self, reactor: &Reactor, conn: ConnId, socket: Socket) -> io::Result<()> {
        let socket = reactor.register(socket, Key::conn(conn), Interest::Read)?;
        let stage = Stage::Up { socket, writing: Writing::Idle, is_read: true };
        self.table.insert(Key::conn(conn), Connection { conn, stage });
        Ok(())
    }

    /// Closes a connection; what was not handed to the system is not sent.
    pub(super) fn close(&mut self, now: Instant, reactor: &mut Reactor, conn: ConnId) {
        let key = Key::conn(conn);
        let Some(Connection { stage: Stage::Up { mut socket, writing, .. }, .. }) = self.table.remove(&key)
        else {
            return;
        };
        let lingers = writing != Writing::Broken
            && self.lingering < LINGERING_MAX
            && socket.socket().shutdown(Shutdown::Write).is_ok()
            && socket.watch(Interest::Read).is_ok();
        if lingers {
            let until = now + LINGER_TIME_MAX;
            reactor.wake_at(until, key);
            self.table.insert(key, Connection { conn, stage: Stage::Lingering { socket, until } });
            self.lingering += 1;
        }
    }

    /// Has the system look for the peer, each second for a while; what it finds is an ordinary end of the connection.
    pub(super) fn probe(&mut self, now: Instant, reactor: &mut Reactor, conn: ConnId) {
        let key = Key::conn(conn);
        if let Some(Connection { stage: Stage::Up { socket, .. }, .. }) = self.table.get(&key)
            && sockets::probe(socket.socket()).is_ok()
        {
            reactor.wake_at(now + PROBE_TIME_MAX, key);
        }
    }

    /// Which connection an event is about, unless an earlier one of the same wait ended it.
    pub(super) fn conn(&self, event: &system::Event) -> Option<ConnId> {
        self.table.get(&Key::of(event)).map(|connection| connection.conn)
    }

    /// Something happened to a socket. Reads at most once into `buffer`: what is left is reported again, after the others.
    pub(super) fn handle_event<'a>(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        event: &system::Event,
        buffer: &'a mut [u8],
    ) -> Outcome<'a> {
        let key = Key::of(event);
        // Closed by an earlier event of the same wait.
        let Some(Connection { conn, stage }) = self.table.get_mut(&key) else { return Outcome::Nothing };
        let conn = *conn;
        match stage {
            Stage::Resolving { .. } => Outcome::Nothing,
            Stage::Connecting { socket, .. } => match sockets::dialled(socket.socket()) {
                None => Outcome::Nothing,
                Some(result) => self.decide(now, reactor, key, result),
            },
            Stage::Up { socket, writing, is_read } => {
                if event.writable && *writing == Writing::Blocked {
                    *writing = Writing::Queued;
                    self.queued.push_back(conn);
                }
                if !*is_read && is_broken(event) {
                    self.table.remove(&key);
                    return Outcome::Closed(conn);
                }
                if !event.readable || !*is_read {
                    return Outcome::Nothing;
                }
                match read(socket, buffer, reactor) {
                    Some(0) => {
                        self.table.remove(&key);
                        Outcome::Closed(conn)
                    }
                    Some(len) => Outcome::Bytes(conn, &buffer[..len]),
                    None => Outcome::Nothing,
                }
            }
            Stage::Lingering { socket, .. } => {
                if read(socket, buffer, reactor) == Some(0) {
                    self.table.remove(&key);
                    self.lingering -= 1;
                }
                Outcome::Nothing
            }
        }
    }

    /// A dialled connection is up, or its address failed and the next one is tried.
    fn decide(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        key: Key,
        result: io::Result<()>,
    ) -> Outcome<'static> {
        let Some(Connection { conn, stage: Stage::Connecting { mut socket, rest, by, .. } }) =
            self.table.remove(&key)
        else {
            return Outcome::Nothing;
        };
        match result.and_then(|()| socket.watch(Interest::Read)) {
            Ok(()) => {
                let stage = Stage::Up { socket, writing: Writing::Idle, is_read: true };
                self.table.insert(key, Connection { conn, stage });
                self.queue(conn);
                Outcome::Connected(conn)
            }
            Err(error) => {
                drop(socket);
                self.dial(now, reactor, conn, rest, by, error.kind())
            }
        }
    }

    /// A deadline of this connection may have come.
    pub(super) fn handle_deadline(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        key: Key,
    ) -> Outcome<'static> {
        let Some(Connection { conn, stage }) = self.table.get(&key) else { return Outcome::Nothing };
        let conn = *conn;
        match stage {
            Stage::Resolving { by } if *by <= now => {
                self.table.remove(&key);
                Self::dial_failed(reactor, conn, ErrorKind::TimedOut)
            }
            Stage::Connecting { until, .. } if *until <= now => {
                self.decide(now, reactor, key, Err(ErrorKind::TimedOut.into()))
            }
            Stage::Lingering { until, .. } if *until <= now => {
                self.table.remove(&key);
                self.lingering -= 1;
                Outcome::Nothing
            }
            Stage::Up { socket, .. } => {
                // The end of a probe. A connection that cannot be told is probed on.
                let _ = sockets::probe_no_more(socket.socket(), reactor.unreachable());
                Outcome::Nothing
            }
            Stage::Resolving { .. } | Stage::Connecting { .. } | Stage::Lingering { .. } => Outcome::Nothing,
        }
    }

    /// The outbox of this connection has bytes.
    pub(super) fn queue(&mut self, conn: ConnId) {
        if let Some(Connection { stage: Stage::Up { writing, .. }, .. }) =
            self.table.get_mut(&Key::conn(conn))
            && *writing == Writing::Idle
        {
            *writing = Writing::Queued;
            self.queued.push_back(conn);
        }
    }

    /// How many wait for [`write`](Self::write).
    pub(super) fn queued(&self) -> usize {
        self.queued.len()
    }

    /// The next one to write to.
    pub(super) fn poll_queued(&mut self) -> Option<ConnId> {
        self.queued.pop_front()
    }

    /// Writes what the socket takes of the outbox; how many bytes.
    pub(super) fn write(&mut self, reactor: &Reactor, conn: ConnId, outbox: Option<&mut Outbox>) -> usize {
        let Some(Connection { stage: Stage::Up { socket, writing, is_read }, .. }) =
            self.table.get_mut(&Key::conn(conn))
        else {
            return 0;
        };
        let (result, bytes) = match outbox {
            Some(outbox) => write_out(socket.socket(), outbox, reactor),
            None => (Ok(Writing::Idle), 0),
        };
        *writing = match result {
            Ok(Writing::Queued) => {
                self.queued.push_back(conn);
                Writing::Queued
            }
            // If it cannot be watched for room, it is of no use any more.
            Ok(now) if socket.watch(now.interest(*is_read)).is_ok() => now,
            Ok(_) | Err(_) => {
                // From now on reads bring what is there already and then the end.
                let _ = socket.socket().shutdown(Shutdown::Both);
                Writing::Broken
            }
        };
        bytes
    }

    /// Reads the connection, or leaves its bytes in the system.
    pub(super) fn set_reading(&mut self, conn: ConnId, wanted: bool) {
        if let Some(Connection { stage: Stage::Up { socket, writing, is_read }, .. }) =
            self.table.get_mut(&Key::conn(conn))
        {
            *is_read = wanted;
            if socket.watch(writing.interest(wanted)).is_err() {
                // It would never be heard of again: its end is reported whatever is watched for.
                let _ = socket.socket().shutdown(Shutdown::Both);
            }
        }
    }

    /// How many were closed by the machine and not yet by their peers.
    pub(super) fn lingering(&self) -> usize {
        self.lingering
    }

    /// Drops all. Those that the machine has not closed.
    pub(super) fn drop_all(&mut self) -> Vec<ConnId> {
        self.queued.clear();
        self.lingering = 0;
        let dropped = self.table.drain().map(|(_, connection)| connection);
        let mut open: Vec<_> = dropped
            .filter(|connection| !matches!(connection.stage, Stage::Lingering { .. }))
            .map(|connection| connection.conn)
            .collect();
        open.sort_unstable();
        open
    }
}

impl Writing {
    /// What to watch a connection for.
    fn interest(self, is_read: bool) -> Interest {
        match (self, is_read) {
            (Self::Blocked | Self::Queued, true) => Interest::Both,
            (Self::Blocked | Self::Queued, false) => Interest::Write,
            (Self::Idle | Self::Broken, true) => Interest::Read,
            (Self::Idle | Self::Broken, false) => Interest::Nothing,
        }
    }
}

/// Whether both directions are over, or an error is: that is reported again and again, whatever is watched for.
fn is_broken(event: &system::Event) -> bool {
    event.is_interrupt() || event.is_err() == Some(true)
}

/// Writes until the outbox is empty, the socket is full, or the others want their turn.
fn write_out(socket: &Socket, outbox: &mut Outbox, reactor: &Reactor) -> (io::Result<Writing>, usize) {
    let mut bytes = 0;
    for _ in 0..WRITES_MAX {
        if outbox.is_empty() {
            return (Ok(Writing::Idle), bytes);
        }
        let mut slices = Slices::new();
        outbox.slices(&mut slices);
        let offered = slices.iter().map(|slice| slice.len()).sum::<usize>();
        reactor.count(IoCount::Writes, 1);
        match sockets::write(socket, &slices) {
            Ok(0) => return (Err(ErrorKind::WriteZero.into()), bytes),
            Ok(written) => {
                drop(slices);
                outbox.advance(written);
                bytes += written;
                reactor.count(IoCount::WrittenBytes, written as u64);
                if written < offered {
                    reactor.count(IoCount::PartialWrites, 1);
                    return (Ok(Writing::Blocked), bytes);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (Ok(Writing::Blocked), bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (Err(error), bytes),
        }
    }
    (Ok(if outbox.is_empty() { Writing::Idle } else { Writing::Queued }), bytes)
}

/// Reads once: how many bytes, 0 at the end of the stream, however it ended; none if there is nothing now.
fn read(socket: &Registration, buffer: &mut [u8], reactor: &Reactor) -> Option<usize> {
    reactor.count(IoCount::Reads, 1);
    match socket.socket().read(buffer) {
        Ok(len) => {
            reactor.count(IoCount::ReadBytes, len as u64);
            Some(len)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
        Err(_) => Some(0),
    }
}

#[cfg(test)]
mod tests;
