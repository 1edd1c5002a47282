//! Time, connections and how bytes are cut on their way.

use crate::ours::Ours;
use skyharbor::clock::Instant;
use skyharbor::sim::real::{Do, Door, Real};
use std::collections::BTreeMap;
use std::time::Duration;

/// How the bytes of a connection arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Each write by itself.
    Whole,
    /// One byte at a time.
    Bytes,
    /// What is written within 40 ms arrives in one piece, as from a socket without TCP_NODELAY.
    Joined,
    /// In pieces of these many bytes, whatever the writes were.
    Pieces(usize),
}

pub(crate) const LATENCY: Duration = Duration::from_micros(100);
const NAGLE: Duration = Duration::from_millis(40);

/// The number of a host in the world.
pub(crate) type HostNo = usize;

pub(crate) enum Host {
    Ours(Box<Ours>),
    Real(Box<Real>),
}

/// One end of a connection.
type End = (HostNo, u64);

enum Due {
    Start(HostNo),
    Accept { dialler: End, address: String },
    Connected(End),
    Refused(End),
    Arrive(End),
    Ended(End),
    Wake(HostNo),
}

/// Bytes on their way to an end.
#[derive(Default)]
struct Pipe {
    pieces: std::collections::VecDeque<Vec<u8>>,
    /// Until then whatever is written joins the last piece.
    open_until: Option<Instant>,
    last: Option<Instant>,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    turn: u64,
    due: BTreeMap<(Instant, u64), Due>,
    pub(crate) hosts: Vec<Host>,
    wakes: Vec<Option<Instant>>,
    far: BTreeMap<End, End>,
    pipes: BTreeMap<End, Pipe>,
    listeners: BTreeMap<String, (HostNo, Door)>,
    cut: Cut,
    /// Connections that were refused: the address and when.
    pub(crate) refused: Vec<String>,
    /// Connections that were accepted, by the address dialled.
    pub(crate) accepted: Vec<(HostNo, String)>,
}

impl World {
    pub(crate) fn new(cut: Cut) -> Self {
        Self {
            now: Instant::from_nanos(1_000_000_000),
            turn: 0,
            due: BTreeMap::new(),
            hosts: Vec::new(),
            wakes: Vec::new(),
            far: BTreeMap::new(),
            pipes: BTreeMap::new(),
            listeners: BTreeMap::new(),
            cut,
            refused: Vec::new(),
            accepted: Vec::new(),
        }
    }

    /// Adds a host that starts after `delay`.
    pub(crate) fn add(&mut self, host: Host, delay: Duration) -> HostNo {
        self.hosts.push(host);
        self.wakes.push(None);
        let number = self.hosts.len() - 1;
        self.after(delay, Due::Start(number));
        number
    }

    pub(crate) fn ours(&mut self, host: HostNo) -> &mut Ours {
        match &mut self.hosts[host] {
            Host::Ours(ours) => ours,
            Host::Real(_) => panic!("host {host} is real"),
        }
    }

    pub(crate) fn real(&mut self, host: HostNo) -> &mut Real {
        match &mut self.hosts[host] {
            Host::Real(real) => real,
            Host::Ours(_) => panic!("host {host} is ours"),
        }
    }

    /// Runs until `time` has passed.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(entry) = self.due.first_entry()
            && entry.key().0 <= end
        {
            let ((at, _), due) = entry.remove_entry();
            self.now = at;
            self.step(due);
        }
        self.now = end;
    }

    /// Something is asked of a host; what it wants done is done.
    pub(crate) fn with_ours<T>(&mut self, host: HostNo, act: impl FnOnce(&mut Ours, Instant) -> T) -> T {
        let now = self.now;
        let result = act(self.ours(host), now);
        self.settle(host);
        result
    }

    pub(crate) fn with_real<T>(&mut self, host: HostNo, act: impl FnOnce(&mut Real, Instant) -> T) -> T {
        let now = self.now;
        let result = act(self.real(host), now);
        self.settle(host);
        result
    }

    /// The process ends: its connections do, nobody listens, nothing wakes it.
    pub(crate) fn kill(&mut self, host: HostNo) {
        self.listeners.retain(|_, (owner, _)| *owner != host);
        let conns: Vec<u64> =
            self.far.keys().filter(|(owner, _)| *owner == host).map(|(_, conn)| *conn).collect();
        for conn in conns {
            self.close((host, conn));
        }
        match &mut self.hosts[host] {
            Host::Ours(ours) => ours.is_dead = true,
            Host::Real(real) => real.is_dead = true,
        }
    }

    /// The machine is gone from one moment to the next: nobody hears of it, its connections are half open.
    pub(crate) fn vanish(&mut self, host: HostNo) {
        self.far.retain(|one, two| one.0 != host && two.0 != host);
        self.kill(host);
    }

    /// The two hosts of a connection lose it; both are told.
    pub(crate) fn cut(&mut self, one: HostNo, conn: u64) {
        if let Some(far) = self.far.remove(&(one, conn)) {
            self.far.remove(&far);
            self.after(LATENCY, Due::Ended((one, conn)));
            self.after(LATENCY, Due::Ended(far));
        }
    }

    fn after(&mut self, delay: Duration, due: Due) {
        self.turn += 1;
        self.due.insert((self.now + delay, self.turn), due);
    }

    fn step(&mut self, due: Due) {
        match due {
            Due::Start(host) => self.input(host, |host, now| host.start(now)),
            Due::Wake(host) => {
                self.wakes[host] = None;
                self.input(host, |host, now| host.timeout(now));
            }
            Due::Accept { dialler, address } => self.accept(dialler, &address),
            Due::Connected(end) if self.far.contains_key(&end) => {
                self.input(end.0, |host, now| host.connected(now, end.1));
            }
            Due::Connected(_) => {}
            Due::Refused(end) => self.input(end.0, |host, now| host.refused(now, end.1)),
            Due::Arrive(end) => {
                let piece = self.pipes.get_mut(&end).and_then(|pipe| {
                    pipe.open_until = None;
                    pipe.pieces.pop_front()
                });
                if let Some(piece) = piece {
                    self.input(end.0, |host, now| host.bytes(now, end.1, &piece));
                }
            }
            Due::Ended(end) => {
                self.pipes.remove(&end);
                self.input(end.0, |host, now| host.closed(now, end.1));
            }
        }
    }

    fn accept(&mut self, dialler: End, address: &str) {
        let Some((host, door)) = self.listeners.get(address).copied() else {
            self.refused.push(address.to_owned());
            return self.after(LATENCY, Due::Refused(dialler));
        };
        self.accepted.push((dialler.0, address.to_owned()));
        let now = self.now;
        let conn = match &mut self.hosts[host] {
            Host::Ours(ours) => ours.accepted(now, door),
            Host::Real(real) => real.accepted(now, door),
        };
        self.far.insert(dialler, (host, conn));
        self.far.insert((host, conn), dialler);
        self.after(LATENCY, Due::Connected(dialler));
        self.settle(host);
    }

    fn input(&mut self, host: HostNo, input: impl FnOnce(&mut Host, Instant)) {
        if !self.hosts[host].is_dead() {
            input(&mut self.hosts[host], self.now);
            self.settle(host);
        }
    }

    fn settle(&mut self, host: HostNo) {
        while let Some(wish) = self.hosts[host].poll(self.now) {
            match wish {
                Do::Listen(address, door) => {
                    self.listeners.insert(address, (host, door));
                }
                Do::StopListening(door) => self.listeners.retain(|_, open| *open != (host, door)),
                Do::Connect(conn, address) => {
                    self.after(LATENCY, Due::Accept { dialler: (host, conn), address });
                }
                Do::Write(conn, bytes) => self.write((host, conn), bytes),
                Do::Close(conn) => self.close((host, conn)),
            }
        }
        let wake = self.hosts[host].deadline();
        if let Some(at) = wake
            && self.wakes[host].is_none_or(|set| at < set)
        {
            let delay = at.since(self.now).max(Duration::from_nanos(1));
            self.wakes[host] = Some(self.now + delay);
            self.after(delay, Due::Wake(host));
        }
    }

    fn write(&mut self, from: End, bytes: Vec<u8>) {
        let Some(&to) = self.far.get(&from) else { return };
        let pipe = self.pipes.entry(to).or_default();
        if pipe.open_until.is_some_and(|until| self.now < until) {
            let last = pipe.pieces.back_mut().expect("a piece that is open");
            return last.extend_from_slice(&bytes);
        }
        let (delay, pieces): (Duration, Vec<Vec<u8>>) = match self.cut {
            Cut::Whole => (LATENCY, vec![bytes]),
            Cut::Bytes => (LATENCY, bytes.chunks(1).map(<[u8]>::to_vec).collect()),
            Cut::Pieces(len) => (LATENCY, bytes.chunks(len).map(<[u8]>::to_vec).collect()),
            Cut::Joined => {
                pipe.open_until = Some(self.now + NAGLE);
                (NAGLE, vec![bytes])
            }
        };
        let mut at = (self.now + delay).max(pipe.last.unwrap_or_default());
        let mut times = Vec::new();
        for piece in pieces {
            pipe.pieces.push_back(piece);
            at = at + Duration::from_nanos(50);
            times.push(at);
        }
        pipe.last = Some(at);
        for at in times {
            self.turn += 1;
            self.due.insert((at, self.turn), Due::Arrive(to));
        }
    }

    /// One end closes: the other hears of it behind the bytes that are on their way.
    fn close(&mut self, end: End) {
        self.pipes.remove(&end);
        let Some(far) = self.far.remove(&end) else { return };
        self.far.remove(&far);
        let last = self.pipes.get(&far).and_then(|pipe| pipe.last);
        let at = (self.now + LATENCY).max(last.unwrap_or_default() + Duration::from_nanos(1));
        self.turn += 1;
        self.due.insert((at, self.turn), Due::Ended(far));
    }
}

impl Host {
    fn is_dead(&self) -> bool {
        match self {
            Self::Ours(ours) => ours.is_dead,
            Self::Real(real) => real.is_dead,
        }
    }

    fn start(&mut self, now: Instant) {
        match self {
            Self::Ours(ours) => ours.start(now),
            Self::Real(real) => real.start(),
        }
    }

    fn connected(&mut self, now: Instant, conn: u64) {
        match self {
            Self::Ours(ours) => ours.connected(now, conn),
            Self::Real(real) => real.connected(conn),
        }
    }

    fn refused(&mut self, now: Instant, conn: u64) {
        match self {
            Self::Ours(ours) => ours.refused(now, conn),
            Self::Real(real) => real.refused(conn),
        }
    }

    fn bytes(&mut self, now: Instant, conn: u64, bytes: &[u8]) {
        match self {
            Self::Ours(ours) => ours.bytes(now, conn, bytes),
            Self::Real(real) => real.bytes(now, conn, bytes),
        }
    }

    fn closed(&mut self, now: Instant, conn: u64) {
        match self {
            Self::Ours(ours) => ours.closed(now, conn),
            Self::Real(real) => real.closed(conn),
        }
    }

    fn timeout(&mut self, now: Instant) {
        match self {
            Self::Ours(ours) => ours.timeout(now),
            Self::Real(real) => real.timeout(now),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Ours(ours) => ours.deadline(),
            Self::Real(real) => real.deadline(),
        }
    }

    fn poll(&mut self, now: Instant) -> Option<Do> {
        match self {
            Self::Ours(ours) => ours.poll(now),
            Self::Real(real) => real.poll(),
        }
    }
}
