//! The listening sockets.
//!
//! ```text
//!           open()                 answer                   accept: nothing left
//!  Closed ──────────► Resolving ──────────► Open ─────────────────────────────────► Paused
//!    ▲        └──── numeric address ────────▲  ▲                                       │
//!    └──── close(), resolver or bind failed    └────────── a pause, longer each time ──┘
//! ```
//!
//! A process without free descriptors cannot accept, and level mode would report the waiting connection for ever. So the
//! listener is not watched for a while, longer with each failure; the system keeps the connections in its backlog meanwhile.

use super::counters::IoCount;
use super::reactor::{Key, Reactor, Resolution};
use super::registration::{Interest, Registration};
use super::resolver::Addresses;
use super::sockets::{self, AcceptFailure};
use crate::clock::Instant;
use crate::harbor::Listener;
use crate::limits::{ACCEPT_PAUSE_MAX, ACCEPT_PAUSE_MIN, ACCEPTS_MAX};
use socket2::Socket;
use std::io;
use std::time::Duration;

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Closed,
    Resolving,
    Open(Registration),
    Paused {
        socket: Registration,
        until: Instant,
    },
}

/// Both listeners.
#[derive(Default)]
pub(super) struct Listeners {
    links: Place,
    master: Place,
}

#[derive(Default)]
struct Place {
    stage: Stage,
    /// Pauses since something was accepted.
    pauses: u32,
}

impl Place {
    /// The next pause, and whether it is the first.
    fn pause(&mut self) -> (Duration, bool) {
        let doubled = ACCEPT_PAUSE_MIN.saturating_mul(1 << self.pauses.min(20));
        let is_first = self.pauses == 0;
        self.pauses = self.pauses.saturating_add(1);
        (doubled.min(ACCEPT_PAUSE_MAX), is_first)
    }
}

impl Listeners {
    fn place(&mut self, listener: Listener) -> &mut Place {
        match listener {
            Listener::Links => &mut self.links,
            Listener::Master => &mut self.master,
        }
    }

    fn stage(&mut self, listener: Listener) -> &mut Stage {
        &mut self.place(listener).stage
    }

    /// Opens a listener: its address as it turned out, or why not; none if the resolver has to be waited for.
    pub(super) fn open(
        &mut self,
        reactor: &mut Reactor,
        listener: Listener,
        address: &str,
    ) -> Option<Result<String, io::ErrorKind>> {
        *self.stage(listener) = Stage::Closed;
        match reactor.resolve(Key::listener(listener), address, Instant::FAR) {
            Ok(Resolution::Done(addresses)) => self.handle_resolved(reactor, listener, &addresses),
            Ok(Resolution::Asked) => {
                *self.stage(listener) = Stage::Resolving;
                None
            }
            Err(kind) => Some(Err(kind)),
        }
    }

    /// The resolver's answer; none if nobody waits for it any more.
    pub(super) fn handle_answer(
        &mut self,
        reactor: &Reactor,
        listener: Listener,
        addresses: Result<Addresses, io::ErrorKind>,
    ) -> Option<Result<String, io::ErrorKind>> {
        match std::mem::take(self.stage(listener)) {
            Stage::Resolving => match addresses {
                Ok(addresses) => self.handle_resolved(reactor, listener, &addresses),
                Err(kind) => Some(Err(kind)),
            },
            stage @ (Stage::Closed | Stage::Open(_) | Stage::Paused { .. }) => {
                *self.stage(listener) = stage;
                None
            }
        }
    }

    /// Listens on the first address on which it can.
    fn handle_resolved(
        &mut self,
        reactor: &Reactor,
        listener: Listener,
        addresses: &Addresses,
    ) -> Option<Result<String, io::ErrorKind>> {
        let mut failure = io::ErrorKind::NotFound;
        for &address in addresses {
            let opened = sockets::listen(address).and_then(|socket| {
                let name = sockets::local_name(&socket)?;
                Ok((reactor.register(socket, Key::listener(listener), Interest::Read)?, name))
            });
            match opened {
                Ok((registration, name)) => {
                    *self.stage(listener) = Stage::Open(registration);
                    return Some(Ok(name));
                }
                Err(error) => failure = error.kind(),
            }
        }
        Some(Err(failure))
    }

    /// Closes a listener. Connections in its backlog are reset by the system.
    pub(super) fn close(&mut self, listener: Listener) {
        *self.stage(listener) = Stage::Closed;
    }

    /// Accepts up to [`ACCEPTS_MAX`] connections; the rest is reported again.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        reactor: &mut Reactor,
        listener: Listener,
        mut accepted: impl FnMut(&mut Reactor, Socket),
    ) {
        let unreachable = reactor.unreachable();
        let Place { stage: Stage::Open(open), pauses } = self.place(listener) else { return };
        for _ in 0..ACCEPTS_MAX {
            match sockets::accept(open.socket(), unreachable) {
                Ok(socket) => {
                    *pauses = 0;
                    reactor.count(IoCount::Accepts, 1);
                    accepted(reactor, socket);
                }
                Err(AcceptFailure::Nobody) => return,
                Err(AcceptFailure::Lost) => reactor.count(IoCount::AcceptFailures, 1),
                Err(AcceptFailure::Exhausted(error)) => {
                    reactor.count(IoCount::AcceptFailures, 1);
                    return self.pause(now, reactor, listener, &error);
                }
            }
        }
    }

    /// Looks away for a while. Only the first of a row of pauses is worth a line.
    fn pause(&mut self, now: Instant, reactor: &mut Reactor, listener: Listener, error: &io::Error) {
        let place = self.place(listener);
        if let Stage::Open(mut socket) = std::mem::take(&mut place.stage) {
            let (pause, is_first) = place.pause();
            if is_first {
                tracing::warn!(?listener, %error, "cannot accept, pausing until it is possible again");
            }
            // If it cannot be told to look away, it is told again at the next failure.
            let _ = socket.watch(Interest::Nothing);
            let until = now + pause;
            place.stage = Stage::Paused { socket, until };
            reactor.wake_at(until, Key::listener(listener));
        }
    }

    /// A pause may be over.
    pub(super) fn handle_deadline(&mut self, now: Instant, reactor: &mut Reactor, listener: Listener) {
        let place = self.place(listener);
        place.stage = match std::mem::take(&mut place.stage) {
            Stage::Paused { mut socket, until } if until <= now => match socket.watch(Interest::Read) {
                Ok(()) => Stage::Open(socket),
                Err(_) => {
                    let until = now + place.pause().0;
                    reactor.wake_at(until, Key::listener(listener));
                    Stage::Paused { socket, until }
                }
            },
            stage @ (Stage::Closed | Stage::Resolving | Stage::Open(_) | Stage::Paused { .. }) => stage,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::PollerBell;
    use crate::net::resolver::Resolver;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    const NOW: Instant = Instant::from_nanos(1_000_000_000);
    const PATIENCE: Duration = Duration::from_secs(20);

    fn stand() -> (Listeners, Reactor, Resolver) {
        let (reactor, resolver) =
            Reactor::new(PollerBell::new().unwrap(), crate::limits::UNREACHABLE_TIME_MAX);
        (Listeners::default(), reactor, resolver)
    }

    fn ready(reactor: &Reactor, patience: Duration) -> Vec<Key> {
        let mut events = polling::Events::new();
        reactor.poller().wait(&mut events, Some(patience)).unwrap();
        events.iter().map(|event| Key::of(&event)).collect()
    }

    #[test]
    fn a_burst_is_accepted_in_turns() {
        let (mut listeners, mut reactor, _resolver) = stand();
        let opened = listeners.open(&mut reactor, Listener::Links, "127.0.0.1:0");
        let address = opened.unwrap().unwrap();
        let peers: Vec<_> = (0..200).map(|_| TcpStream::connect(&address).unwrap()).collect();
        let mut accepted = Vec::new();
        let mut turns = Vec::new();
        while accepted.len() < peers.len() {
            assert_eq!(ready(&reactor, PATIENCE), [Key::listener(Listener::Links)]);
            let before = accepted.len();
            listeners.accept(NOW, &mut reactor, Listener::Links, |_, socket| accepted.push(socket));
            turns.push(accepted.len() - before);
        }
        assert_eq!(turns, [64, 64, 64, 8]);
        assert_eq!(ready(&reactor, Duration::ZERO), []);
        assert_eq!(reactor.counters().read()[IoCount::Accepts], 200);
    }

    #[test]
    fn a_port_in_use_is_a_typed_error() {
        let (mut listeners, mut reactor, _resolver) = stand();
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = other.local_addr().unwrap().to_string();
        let opened = listeners.open(&mut reactor, Listener::Master, &address);
        assert_eq!(opened, Some(Err(io::ErrorKind::AddrInUse)));
        drop(other);
        assert_eq!(listeners.open(&mut reactor, Listener::Master, &address), Some(Ok(address.clone())));
        listeners.close(Listener::Master);
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_listener_with_a_name_waits_for_the_resolver() {
        let (mut listeners, mut reactor, _resolver) = stand();
        assert_eq!(listeners.open(&mut reactor, Listener::Links, "localhost:0"), None);
        let addresses = Ok(vec![(Ipv4Addr::LOCALHOST, 0).into()]);
        let opened = listeners.handle_answer(&reactor, Listener::Links, addresses.clone());
        assert!(opened.unwrap().unwrap().starts_with("127.0.0.1:"));
        assert_eq!(listeners.handle_answer(&reactor, Listener::Links, addresses), None, "open already");
        assert_eq!(listeners.open(&mut reactor, Listener::Master, "localhost:0"), None);
        let unknown = listeners.handle_answer(&reactor, Listener::Master, Err(io::ErrorKind::NotFound));
        assert_eq!(unknown, Some(Err(io::ErrorKind::NotFound)));
    }

    #[test]
    fn a_pause_ends_by_its_deadline() {
        let (mut listeners, mut reactor, _resolver) = stand();
        let address = listeners.open(&mut reactor, Listener::Links, "127.0.0.1:0").unwrap().unwrap();
        let _peer = TcpStream::connect(address).unwrap();
        let error = io::ErrorKind::QuotaExceeded.into();
        listeners.pause(NOW, &mut reactor, Listener::Links, &error);
        assert_eq!(ready(&reactor, Duration::ZERO), [], "nobody looks");
        assert_eq!(reactor.next_deadline(), Some(NOW + ACCEPT_PAUSE_MIN));
        listeners.handle_deadline(NOW, &mut reactor, Listener::Links);
        assert_eq!(ready(&reactor, Duration::ZERO), [], "too early");
        listeners.handle_deadline(NOW + ACCEPT_PAUSE_MIN, &mut reactor, Listener::Links);
        assert_eq!(ready(&reactor, PATIENCE), [Key::listener(Listener::Links)]);
        let mut accepted = 0;
        listeners.accept(NOW, &mut reactor, Listener::Links, |_, _| accepted += 1);
        assert_eq!(accepted, 1);
    }

    #[test]
    fn pauses_grow_until_something_is_accepted() {
        let (mut listeners, mut reactor, _resolver) = stand();
        let address = listeners.open(&mut reactor, Listener::Links, "127.0.0.1:0").unwrap().unwrap();
        let error = io::ErrorKind::QuotaExceeded.into();
        let mut now = NOW;
        for pause in [10, 20, 40, 80, 160, 320, 640, 1000, 1000].map(Duration::from_millis) {
            listeners.pause(now, &mut reactor, Listener::Links, &error);
            assert_eq!(reactor.next_deadline(), Some(now + pause));
            now = now + pause;
            assert!(reactor.poll_expired(now).is_some());
            listeners.handle_deadline(now, &mut reactor, Listener::Links);
        }
        let _peer = TcpStream::connect(address).unwrap();
        assert_eq!(ready(&reactor, PATIENCE), [Key::listener(Listener::Links)]);
        listeners.accept(now, &mut reactor, Listener::Links, |_, _| ());
        listeners.pause(now, &mut reactor, Listener::Links, &error);
        assert_eq!(reactor.next_deadline(), Some(now + ACCEPT_PAUSE_MIN));
    }
}
