//! Sockets in memory, in place of `sockets` and of the system's under `--cfg shuttle`: streams that cut and join bytes by
//! chance, and a poller that waits without time.
//!
//! One OS thread runs all of shuttle's, so the world is its own; nothing in it is held where another may go on.

use crate::sync::{Condvar, Mutex};
use shuttle::rand::{Rng, thread_rng};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How much a stream holds that nobody has read.
const INBOX_BYTES_MAX: usize = 256;

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

#[derive(Default)]
struct World {
    sockets: BTreeMap<u64, State>,
    last: u64,
}

#[derive(Default)]
struct State {
    watch: Option<(Arc<Poller>, Event)>,
    role: Role,
}

#[derive(Default)]
enum Role {
    #[default]
    Gone,
    Listener(SocketAddr, VecDeque<Socket>),
    Stream {
        peer: u64,
        inbox: VecDeque<u8>,
        ended: bool,
    },
}

impl World {
    fn add(&mut self, role: Role) -> Socket {
        self.last += 1;
        self.sockets.insert(self.last, State { watch: None, role });
        Socket(self.last)
    }

    fn role(&mut self, socket: u64) -> &mut Role {
        &mut self.sockets.get_mut(&socket).expect("its owner has it").role
    }

    /// How many bytes the other end takes; none: it is gone.
    fn room(&self, peer: u64) -> Option<usize> {
        match &self.sockets.get(&peer)?.role {
            Role::Stream { inbox, .. } => Some(INBOX_BYTES_MAX - inbox.len()),
            Role::Gone | Role::Listener(..) => None,
        }
    }

    /// Whether there is something to read, and room to write.
    fn readiness(&self, state: &State) -> (bool, bool) {
        match &state.role {
            Role::Gone => (false, false),
            Role::Listener(_, backlog) => (!backlog.is_empty(), false),
            Role::Stream { peer, inbox, ended } => {
                let room = self.room(*peer);
                (!inbox.is_empty() || *ended || room.is_none(), room != Some(0))
            }
        }
    }

    /// Whether it is a stream whose other end is gone.
    fn is_broken(&self, state: &State) -> bool {
        matches!(state.role, Role::Stream { peer, .. } if self.room(peer).is_none())
    }

    fn watcher(&self, socket: u64) -> Option<Arc<Poller>> {
        self.sockets.get(&socket)?.watch.as_ref().map(|(poller, _)| Arc::clone(poller))
    }
}

fn with<R>(run: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(run)
}

/// Whoever watches the socket looks again.
fn wake(socket: u64) {
    if let Some(poller) = with(|world| world.watcher(socket)) {
        // It cannot fail.
        let _ = poller.notify();
    }
}

/// Breaks every stream in the middle: each end finds the other gone.
pub fn break_streams() {
    let broken: Vec<u64> = with(|world| {
        let streams = world.sockets.iter_mut().filter(|(_, state)| matches!(state.role, Role::Stream { .. }));
        streams
            .map(|(id, state)| {
                if let Role::Stream { peer, ended, inbox } = &mut state.role {
                    (*peer, *ended) = (0, true);
                    inbox.clear();
                }
                *id
            })
            .collect()
    });
    broken.into_iter().for_each(wake);
}

/// A socket: a listener or an end of a stream.
#[derive(Debug)]
pub(super) struct Socket(u64);

impl Socket {
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let peer = with(|world| {
            let Role::Stream { peer, ended, .. } = world.role(self.0) else { return None };
            let peer = *peer;
            *ended |= how != Shutdown::Write;
            if let Some(State { role: Role::Stream { ended, .. }, .. }) = world.sockets.get_mut(&peer) {
                *ended = true;
            }
            Some(peer)
        });
        peer.into_iter().for_each(wake);
        Ok(())
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (taken, peer) = with(|world| {
            let peer_is_there = |world: &World, peer: u64| world.room(peer).is_some();
            let Role::Stream { peer, .. } = world.role(self.0) else { return Err(ErrorKind::NotConnected) };
            let peer = *peer;
            let is_linked = peer_is_there(world, peer);
            let Role::Stream { inbox, ended, .. } = world.role(self.0) else {
                unreachable!("it is a stream")
            };
            if inbox.is_empty() {
                return if *ended || !is_linked { Ok((0, peer)) } else { Err(ErrorKind::WouldBlock) };
            }
            let most = inbox.len().min(buffer.len());
            let len = thread_rng().gen_range(1..most + 1);
            for (to, from) in buffer.iter_mut().zip(inbox.drain(..len)) {
                *to = from;
            }
            Ok((len, peer))
        })?;
        wake(peer);
        Ok(taken)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // At the end of a run the world may be gone first.
        let state = WORLD.try_with(|world| world.try_borrow_mut().ok()?.sockets.remove(&self.0));
        if let Ok(Some(State { role: Role::Stream { peer, .. }, .. })) = state {
            wake(peer);
        }
    }
}

/// A listening socket.
pub(super) fn listen(address: SocketAddr) -> io::Result<Socket> {
    with(|world| {
        let is_used = |state: &State| matches!(state.role, Role::Listener(used, _) if used == address);
        if world.sockets.values().any(is_used) {
            return Err(ErrorKind::AddrInUse.into());
        }
        Ok(world.add(Role::Listener(address, VecDeque::new())))
    })
}

/// Where a socket listens.
pub(super) fn local_name(socket: &Socket) -> io::Result<String> {
    with(|world| match world.role(socket.0) {
        Role::Listener(address, _) => Ok(address.to_string()),
        Role::Gone | Role::Stream { .. } => Err(ErrorKind::Unsupported.into()),
    })
}

/// A socket that dials: it is connected at once, or refused.
pub(super) fn dial(address: SocketAddr, _unreachable: Duration) -> io::Result<Socket> {
    let (socket, listener) = with(|world| {
        let listens =
            |(_, state): &(&u64, &State)| matches!(state.role, Role::Listener(at, _) if at == address);
        let listener = *world.sockets.iter().find(listens).ok_or(ErrorKind::ConnectionRefused)?.0;
        let stream = |peer| Role::Stream { peer, inbox: VecDeque::new(), ended: false };
        let near = world.add(stream(0));
        let far = world.add(stream(near.0));
        *world.role(near.0) = stream(far.0);
        if let Role::Listener(_, backlog) = world.role(listener) {
            backlog.push_back(far);
        }
        Ok::<_, ErrorKind>((near, listener))
    })?;
    wake(listener);
    Ok(socket)
}

/// How dialling went.
pub(super) fn dialled(socket: &Socket) -> Option<io::Result<()>> {
    let is_linked = with(|world| match world.role(socket.0) {
        Role::Stream { peer, .. } => {
            let peer = *peer;
            world.room(peer).is_some()
        }
        Role::Gone | Role::Listener(..) => false,
    });
    Some(if is_linked { Ok(()) } else { Err(ErrorKind::ConnectionReset.into()) })
}

/// Accepts one connection.
pub(super) fn accept(listener: &Socket, _unreachable: Duration) -> Result<Socket, AcceptFailure> {
    with(|world| match world.role(listener.0) {
        Role::Listener(_, backlog) => backlog.pop_front().ok_or(AcceptFailure::Nobody),
        Role::Gone | Role::Stream { .. } => Err(AcceptFailure::Lost),
    })
}

/// Nothing is ever unreachable in memory: there is nothing to look for.
pub(super) fn probe(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// As before a probe.
pub(super) fn probe_no_more(_socket: &Socket, _unreachable: Duration) -> io::Result<()> {
    Ok(())
}

/// Writes some of it.
pub(super) fn write(socket: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let (written, peer) = with(|world| {
        let Role::Stream { peer, .. } = world.role(socket.0) else { return Err(ErrorKind::NotConnected) };
        let peer = *peer;
        let room = world.room(peer).ok_or(ErrorKind::BrokenPipe)?;
        let most = room.min(slices.iter().map(|slice| slice.len()).sum());
        if most == 0 {
            return Err(ErrorKind::WouldBlock);
        }
        let len = if thread_rng().gen_bool(0.5) { most } else { thread_rng().gen_range(1..most + 1) };
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied()).take(len);
        if let Role::Stream { inbox, .. } = world.role(peer) {
            inbox.extend(bytes);
        }
        Ok((len, peer))
    })?;
    wake(peer);
    Ok(written)
}

/// What an accept that failed means.
#[derive(Debug)]
pub(super) enum AcceptFailure {
    /// Nobody is waiting.
    Nobody,
    /// That one connection was lost before it was accepted.
    Lost,
    /// No descriptor is left.
    #[expect(dead_code, reason = "memory has as many as are wanted")]
    Exhausted(io::Error),
}

/// What happened to a socket, or is to be told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) key: usize,
    pub(super) readable: bool,
    pub(super) writable: bool,
    is_broken: bool,
}

impl Event {
    pub(super) fn is_interrupt(&self) -> bool {
        self.is_broken
    }

    pub(super) fn is_err(&self) -> Option<bool> {
        Some(self.is_broken)
    }

    pub(super) fn none(key: usize) -> Self {
        Self { key, readable: false, writable: false, is_broken: false }
    }

    pub(super) fn readable(key: usize) -> Self {
        Self { key, readable: true, writable: false, is_broken: false }
    }

    pub(super) fn writable(key: usize) -> Self {
        Self { key, readable: false, writable: true, is_broken: false }
    }

    pub(super) fn all(key: usize) -> Self {
        Self { key, readable: true, writable: true, is_broken: false }
    }
}

/// What a wait found.
pub(super) struct Events(Vec<Event>);

impl Events {
    pub(super) fn with_capacity(_most: std::num::NonZeroUsize) -> Self {
        Self(Vec::new())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Event> {
        self.0.iter().copied()
    }
}

/// Waits for sockets and for rings.
#[derive(Debug, Default)]
pub(super) struct Poller {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    pub(super) fn notify(&self) -> io::Result<()> {
        *self.rung.lock() = true;
        self.changed.notify_one();
        Ok(())
    }

    /// Time does not pass: a wait that is not for nothing ends by a socket or a ring.
    pub(super) fn wait(
        self: &Arc<Self>,
        events: &mut Events,
        patience: Option<Duration>,
    ) -> io::Result<usize> {
        let mut rung = self.rung.lock();
        loop {
            self.look(events);
            if !events.0.is_empty() || patience == Some(Duration::ZERO) || *rung {
                *rung = false;
                return Ok(events.0.len());
            }
            rung = self.changed.wait(rung, None);
        }
    }

    fn look(self: &Arc<Self>, events: &mut Events) {
        with(|world| {
            for state in world.sockets.values() {
                let Some((_, wanted)) = state.watch.as_ref().filter(|(poller, _)| Arc::ptr_eq(poller, self))
                else {
                    continue;
                };
                let (is_readable, is_writable) = world.readiness(state);
                let (readable, writable) = (is_readable && wanted.readable, is_writable && wanted.writable);
                // That is told whatever is watched for.
                let is_broken = world.is_broken(state);
                if readable || writable || is_broken {
                    events.0.push(Event { key: wanted.key, readable, writable, is_broken });
                }
            }
        });
    }

    pub(super) fn watch(self: &Arc<Self>, socket: &Socket, event: Event) -> io::Result<()> {
        with(|world| {
            if let Some(state) = world.sockets.get_mut(&socket.0) {
                state.watch = Some((Arc::clone(self), event));
            }
        });
        Ok(())
    }

    pub(super) fn delete(&self, socket: &Socket) -> io::Result<()> {
        with(|world| {
            if let Some(state) = world.sockets.get_mut(&socket.0) {
                state.watch = None;
            }
        });
        Ok(())
    }
}
