//! The fault proxy, in user space: every link and every control link of the cluster goes through it.
//!
//! ```text
//!  node a ── dials the address of b ──► listener of b ──► pump a→b ──► the port where b's node listens
//!            (its id byte says: a)                    ◄── pump b→a ◄──
//!  node a ── dials its address of the master ──► control listener of a ──► pumps ──► the master's port
//! ```
//!
//! A slot keeps its addresses from life to life, as a machine does. Each pump is a thread that reads, holds and writes one
//! direction of one connection; what it does to the bytes is in [`super::weather`].

#[cfg(test)]
mod tests;

use super::history::WoundKind;
use super::pump::Pump;
use super::weather::{Lane, MASTER, Sky};
use crate::plan::Failure;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skyharbor::clock::Instant;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often threads look whether the proxy ends.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// How long who dials may take to say who it is.
const GREETING_TIME_MAX: Duration = Duration::from_secs(5);

/// The proxy of one cluster. Dropped, it closes every connection and joins its threads.
pub(super) struct Proxy {
    shared: Arc<Shared>,
    addresses: Vec<Addresses>,
    acceptor: Option<JoinHandle<()>>,
}

/// Where the proxy listens for a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    /// Other nodes dial it there.
    pub(super) links: SocketAddr,
    /// It dials the master there.
    pub(super) master: SocketAddr,
}

/// What all threads of the proxy share.
pub(super) struct Shared {
    pub(super) sky: Arc<Sky>,
    roster: Mutex<Roster>,
    ends: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    seed: u64,
}

/// Who lives where.
#[derive(Default)]
struct Roster {
    /// The slot and the life that have a harbor id.
    ids: BTreeMap<u8, (u8, u32)>,
    /// By slot: the life that is there, and where its node listens.
    slots: BTreeMap<u8, (u32, SocketAddr)>,
    master: Option<SocketAddr>,
}

/// One connection, with both of its sockets.
pub(super) struct Conn {
    /// Whoever dialled, and whoever was dialled.
    pub(super) sockets: (TcpStream, TcpStream),
    /// Their lives; 0: the master.
    lives: (u32, u32),
    closed: AtomicBool,
    flipped: Mutex<Option<Instant>>,
    sky: Arc<Sky>,
}

impl Proxy {
    /// Listens for so many slots.
    pub(super) fn start(slots: u8, sky: Arc<Sky>, seed: u64) -> Result<Self, Failure> {
        let failed = |error| Failure::File("the proxy".into(), error);
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for slot in 0..slots {
            let (links, links_at) = listen().map_err(failed)?;
            let (master, master_at) = listen().map_err(failed)?;
            addresses.push(Addresses { links: links_at, master: master_at });
            listeners.push((Lane { from: slot, to: MASTER }, master));
            // Who dials says it with its first byte.
            listeners.push((Lane { from: slot, to: slot }, links));
        }
        let shared = Arc::new(Shared {
            sky,
            roster: Mutex::default(),
            ends: AtomicBool::new(false),
            threads: Mutex::default(),
            seed,
        });
        let of_thread = Arc::clone(&shared);
        let acceptor = std::thread::Builder::new()
            .name("proxy".into())
            .spawn(move || of_thread.accept(&listeners))
            .map_err(failed)?;
        Ok(Self { shared, addresses, acceptor: Some(acceptor) })
    }

    pub(super) fn addresses(&self, slot: u8) -> Addresses {
        self.addresses[usize::from(slot)]
    }

    /// A life begins: connections to its slot go there, and whoever has this id is it.
    pub(super) fn admit(&self, slot: u8, life: u32, harbor: u8, listens: SocketAddr) {
        let mut roster = self.shared.roster.lock();
        roster.ids.insert(harbor, (slot, life));
        roster.slots.insert(slot, (life, listens));
    }

    /// Where the master is now.
    pub(super) fn set_master(&self, listens: SocketAddr) {
        self.shared.roster.lock().master = Some(listens);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(acceptor) = self.acceptor.take() {
            // What a thread panicked with was printed, and the checker sees what it did.
            acceptor.join().ok();
        }
        let threads = std::mem::take(&mut *self.shared.threads.lock());
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl Shared {
    pub(super) fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    fn accept(self: &Arc<Self>, listeners: &[(Lane, TcpListener)]) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK.as_nanos() as _ };
        while !self.ends() {
            let mut fds: Vec<PollFd<'_>> =
                listeners.iter().map(|(_, listener)| PollFd::new(listener, PollFlags::IN)).collect();
            if poll(&mut fds, Some(&timeout)).is_err() {
                continue;
            }
            for (lane, listener) in listeners {
                while let Ok((socket, _)) = listener.accept() {
                    self.serve(*lane, socket);
                }
            }
        }
    }

    /// A connection was dialled: a thread of its own finds out by whom.
    fn serve(self: &Arc<Self>, lane: Lane, socket: TcpStream) {
        let shared = Arc::clone(self);
        self.spawn(move || {
            let greeted = if lane.is_of_master() {
                shared.to_master(lane, socket)
            } else {
                shared.to_slot(lane, socket)
            };
            // A connection that leads nowhere is closed, as a dead node's are.
            if let Ok(pump) = greeted {
                pump.run();
            }
        });
    }

    fn spawn(self: &Arc<Self>, run: impl FnOnce() + Send + 'static) {
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        // Without a thread the connection is closed.
        threads.extend(std::thread::Builder::new().name("pump".into()).spawn(run));
    }

    fn to_master(self: &Arc<Self>, lane: Lane, socket: TcpStream) -> io::Result<Pump> {
        let (life, master) = {
            let roster = self.roster.lock();
            (roster.slots.get(&lane.from).map_or(0, |(life, _)| *life), roster.master)
        };
        self.connect(lane, socket, master, (life, 0), &[])
    }

    fn to_slot(self: &Arc<Self>, lane: Lane, mut socket: TcpStream) -> io::Result<Pump> {
        let mut id = [0];
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(GREETING_TIME_MAX))?;
        socket.read_exact(&mut id)?;
        let (dialler, dialled) = {
            let roster = self.roster.lock();
            (roster.ids.get(&id[0]).copied(), roster.slots.get(&lane.to).copied())
        };
        let (from, dialler) = dialler.ok_or(io::ErrorKind::NotFound)?;
        let (dialled, listens) = dialled.ok_or(io::ErrorKind::NotFound)?;
        self.connect(Lane { from, to: lane.to }, socket, Some(listens), (dialler, dialled), &id)
    }

    /// Dials on, starts the pump of the way back, and gives the one there; `first` was read already.
    fn connect(
        self: &Arc<Self>,
        lane: Lane,
        dialler: TcpStream,
        to: Option<SocketAddr>,
        lives: (u32, u32),
        first: &[u8],
    ) -> io::Result<Pump> {
        let now = Instant::now();
        if self.ends() || self.sky.is_cut(lane, now) || self.sky.is_cut(lane.back(), now) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let dialled = TcpStream::connect(to.ok_or(io::ErrorKind::NotConnected)?)?;
        for socket in [&dialler, &dialled] {
            socket.set_nonblocking(false)?;
            socket.set_nodelay(true)?;
            socket.set_write_timeout(Some(LOOK))?;
        }
        let conn = Arc::new(Conn {
            sockets: (dialler, dialled),
            lives,
            closed: AtomicBool::new(false),
            flipped: Mutex::new(None),
            sky: Arc::clone(&self.sky),
        });
        let stream = now.nanos() ^ u64::from(lane.from) << 8 ^ u64::from(lane.to);
        let back = Pump::new(self, lane.back(), Arc::clone(&conn), false, self.seed ^ stream);
        self.spawn(move || back.run());
        let mut there = Pump::new(self, lane, conn, true, self.seed ^ !stream);
        there.hold(first);
        Ok(there)
    }
}

impl Conn {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Ends both directions in order.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // They may be closed already.
        let (dialler, dialled) = &self.sockets;
        dialler.shutdown(Shutdown::Both).ok();
        dialled.shutdown(Shutdown::Both).ok();
    }

    /// Ends both directions with RST, as soon as both pumps have let go.
    pub(super) fn reset(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let (dialler, dialled) = &self.sockets;
        for socket in [dialler, dialled] {
            rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).ok();
        }
    }

    /// The connection may be lost by what the proxy did.
    pub(super) fn hurt(&self, now: Instant) {
        self.sky.hurt(self.lives, WoundKind::Hard, now, now);
    }

    /// A bit of it is another: until it ends nothing on it is promised.
    pub(super) fn flip(&self, now: Instant) {
        self.flipped.lock().get_or_insert(now);
    }

    pub(super) fn flipped(&self) -> Option<Instant> {
        *self.flipped.lock()
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if let Some(at) = *self.flipped.lock() {
            self.sky.hurt(self.lives, WoundKind::Flip, at, Instant::now());
        }
    }
}
