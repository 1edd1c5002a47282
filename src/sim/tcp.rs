//! TCP as a machine sees it: two streams of bytes with finite buffers, cut anywhere, with delay, end, reset and silence.
//!
//! ```text
//!   dialler                               acceptor
//!   Connect ── delay ──▶ listener? ─no──▶ refused
//!                          │yes
//!                          ├─ delay ──▶ accepted (a number of its own)
//!   connected ◀── delay ───┘
//!   write ≤ window ─▶ [piece][piece] ──▶ bytes        each direction: in order, a delay for each piece
//!   close ──────────▶ end, behind the pieces           reset: what was not read is lost
//! ```

use super::rng::Rng;
use std::collections::VecDeque;

/// The number of a connection in a run.
pub(super) type TcpId = u32;

/// One of the two listening sockets of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// For links of other nodes.
    Links,
    /// For slaves of the master.
    Master,
}

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Dialler,
    Acceptor,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Dialler, Self::Acceptor];

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// What a side has of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Not connected, or not accepted yet.
    Opening,
    /// The process knows it by this number.
    Open(u64),
    /// Closed, or forgotten: whoever writes to it is told so by a reset.
    Gone,
}

/// What travels towards one side.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes, and how many of them were read.
    Bytes(Vec<u8>, usize),
    Fin,
    Reset,
}

/// What happens to the next bytes of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    Flip,
    Truncate,
}

/// One direction, named by its receiver.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pieces: VecDeque<(u64, Piece)>,
    /// What a played writer, whose queue has no bound, could not write yet.
    pub(super) backlog: VecDeque<u8>,
    /// It closes when that is written.
    pub(super) ends: bool,
    bytes: usize,
    window: usize,
    last: u64,
    /// How many bytes are read at once, at the most.
    grain: usize,
    /// The writer has more than there is room for.
    pub(super) writer_waits: bool,
    /// The network has forgotten it: nothing arrives any more.
    pub(super) is_lost: bool,
    /// The reader has no memory for what comes.
    pub(super) is_paused: bool,
    /// Since when nobody writes to it any more, or nothing of that arrives.
    pub(super) silent_since: Option<u64>,
    pub(super) damage: Option<Damage>,
}

/// One connection between two nodes.
pub(super) struct Tcp {
    /// Node index and life of dialler and acceptor.
    nodes: [(usize, u32); 2],
    pub(super) door: Door,
    ends: [End; 2],
    towards: [Lane; 2],
    delay_max: u64,
    pub(super) rng: Rng,
}

/// How big the buffers are, and how the bytes are cut.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    pub(super) delay_max: u64,
    pub(super) window_min: u64,
    pub(super) window_max: u64,
    /// Some connections are read byte by byte.
    pub(super) is_fine: bool,
}

impl Tcp {
    /// A connection that is being opened.
    pub(super) fn new(nodes: [(usize, u32); 2], door: Door, weather: Weather, mut rng: Rng) -> Self {
        let mut lane = || {
            let grain = match rng.index(20) {
                0 if weather.is_fine => 1,
                1 => 20,
                2..6 => 1_500,
                _ => usize::MAX >> 1,
            };
            let window = rng.in_range(weather.window_min..weather.window_max.max(weather.window_min + 1));
            Lane { window: window as usize, grain, ..Lane::default() }
        };
        let towards = [lane(), lane()];
        Self { nodes, door, ends: [End::Opening, End::Opening], towards, delay_max: weather.delay_max, rng }
    }

    pub(super) fn node(&self, side: Side) -> (usize, u32) {
        self.nodes[side.index()]
    }

    /// The side that belongs to this node.
    pub(super) fn side_of(&self, node: usize) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| self.node(*side).0 == node)
    }

    pub(super) fn is_between(&self, one: usize, other: usize) -> bool {
        let nodes = self.nodes.map(|(node, _)| node);
        nodes == [one, other] || nodes == [other, one]
    }

    pub(super) fn end(&self, side: Side) -> End {
        self.ends[side.index()]
    }

    pub(super) fn open(&mut self, side: Side, conn: u64) {
        self.ends[side.index()] = End::Open(conn);
    }

    /// The direction towards this side.
    pub(super) fn towards(&mut self, side: Side) -> &mut Lane {
        &mut self.towards[side.index()]
    }

    /// This side has dropped its socket: what was on its way to it is for nobody.
    pub(super) fn drop_end(&mut self, now: u64, side: Side) {
        self.ends[side.index()] = End::Gone;
        self.towards(side.other()).silent_since.get_or_insert(now);
        let lane = self.towards(side);
        lane.pieces.clear();
        lane.bytes = 0;
    }

    /// Nothing arrives at this side any more.
    pub(super) fn lose(&mut self, now: u64, side: Side) {
        let lane = self.towards(side);
        lane.is_lost = true;
        lane.silent_since.get_or_insert(now);
    }

    /// Whether both sides have it.
    pub(super) fn is_established(&self) -> bool {
        self.ends.iter().all(|end| matches!(end, End::Open(_)))
    }

    /// Whether both sides have dropped it.
    pub(super) fn is_over(&self) -> bool {
        self.ends == [End::Gone, End::Gone]
    }

    /// How many bytes this side may write now; 0 if it has to wait. Sometimes less than there is room for.
    pub(super) fn room(&mut self, from: Side) -> usize {
        let is_partial = self.rng.chance(10);
        let lane = self.towards(from.other());
        let room = lane.window.saturating_sub(lane.bytes);
        if is_partial && room > 1 { 1 + room / 3 } else { room }
    }

    /// Sends a piece, which takes `late` longer than usual; when it arrives.
    pub(super) fn send(&mut self, now: u64, from: Side, piece: Piece, late: u64) -> u64 {
        let delay = self.rng.in_range(1_000..self.delay_max.max(1_001)) + late;
        let chance = self.rng.bits();
        let lane = self.towards(from.other());
        lane.last = lane.last.max(now + delay);
        let piece = match piece {
            Piece::Bytes(bytes, _) => {
                let bytes = lane.damaged(bytes, chance);
                lane.bytes += bytes.len();
                Piece::Bytes(bytes, 0)
            }
            other => other,
        };
        lane.pieces.push_back((lane.last, piece));
        lane.last
    }

    /// A reset overtakes what travels towards this side: what was not read is lost.
    pub(super) fn discard(&mut self, side: Side) {
        let keep = self.rng.chance(30);
        let lane = self.towards(side);
        if !keep {
            lane.pieces.clear();
        }
    }

    /// Whether there is something to read.
    pub(super) fn has_arrived(&mut self, now: u64, side: Side) -> bool {
        self.towards(side).pieces.front().is_some_and(|(at, _)| *at <= now)
    }

    /// Hands the bytes that have arrived to `read`, as many at once as this direction gives, or says what else came.
    pub(super) fn receive<T>(
        &mut self,
        now: u64,
        side: Side,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Option<Received<T>> {
        let grain = self.towards(side).grain;
        let most = if grain < 2_000 { 1 + self.rng.index(grain) } else { grain };
        let lane = self.towards(side);
        let (at, piece) = lane.pieces.front_mut()?;
        if *at > now {
            return None;
        }
        let received = match piece {
            Piece::Bytes(bytes, start) => {
                let end = bytes.len().min(*start + most);
                let result = read(&bytes[*start..end]);
                lane.bytes = lane.bytes.saturating_sub(end - *start);
                *start = end;
                if end < bytes.len() {
                    return Some(Received::Bytes(result));
                }
                Received::Bytes(result)
            }
            Piece::Fin | Piece::Reset => Received::End,
        };
        lane.pieces.pop_front();
        Some(received)
    }
}

/// What a side finds when it reads.
pub(super) enum Received<T> {
    Bytes(T),
    End,
}

impl Lane {
    /// The next bytes, with whatever is to happen to them.
    fn damaged(&mut self, mut bytes: Vec<u8>, chance: u64) -> Vec<u8> {
        let place = chance as usize % bytes.len().max(1);
        match self.damage.take() {
            Some(Damage::Flip) => bytes[place] ^= 1 << (chance >> 32 & 7),
            Some(Damage::Truncate) => bytes.truncate(place),
            None => {}
        }
        bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}
