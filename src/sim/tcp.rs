//! TCP as the machine sees it: ordered bytes in pieces of any size, with delay, refusal, end and reset.
//!
//! ```text
//!   dialler                               acceptor
//!   Connect ── delay ──▶ listener? ─no──▶ refused
//!                          │yes
//!                          ├─ delay ──▶ accepted (a ConnId of its own)
//!   connected ◀── delay ───┘
//!   write ≤ window ─▶ [piece][piece] ──▶ bytes        each direction: in order, a delay for each piece
//!   close ──────────▶ end, behind the pieces           reset: whatever is under way is lost
//! ```

use super::rng::Rng;
use crate::clock::Instant;
use crate::harbor::ConnId;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// How many bytes of one direction may be under way.
const WINDOW_BYTES: Range<u64> = 500..40_000;
/// How many bytes are read at once, at the most.
const PIECE_BYTES_MAX: u64 = 1500;

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Dialler,
    Acceptor,
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// What a side has been told about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Not connected, or not accepted yet.
    Opening,
    Open(ConnId),
    Gone,
}

/// What travels towards one side.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

/// One direction, named by its receiver.
#[derive(Debug, Default)]
struct Lane {
    pieces: VecDeque<(Instant, Piece)>,
    bytes: u64,
    window: u64,
    last: Instant,
}

/// One connection between two nodes.
pub(super) struct Tcp {
    /// Node index and life of dialler and acceptor.
    nodes: [(usize, u32); 2],
    ends: [End; 2],
    towards: [Lane; 2],
    delay_max: Duration,
    /// To the master.
    pub(super) is_control: bool,
}

impl Tcp {
    /// A connection that is being opened.
    pub(super) fn new(
        dialler: (usize, u32),
        acceptor: (usize, u32),
        is_control: bool,
        delay_max: Duration,
        rng: &mut Rng,
    ) -> Self {
        let lane = |window| Lane { window, ..Lane::default() };
        let windows = [rng.in_range(WINDOW_BYTES), rng.in_range(WINDOW_BYTES)];
        Self {
            nodes: [dialler, acceptor],
            ends: [End::Opening, End::Opening],
            towards: windows.map(lane),
            delay_max,
            is_control,
        }
    }

    pub(super) fn node(&self, side: Side) -> (usize, u32) {
        self.nodes[side.index()]
    }

    pub(super) fn end(&self, side: Side) -> End {
        self.ends[side.index()]
    }

    pub(super) fn open(&mut self, side: Side, conn: ConnId) {
        self.ends[side.index()] = End::Open(conn);
    }

    /// This side has dropped its socket: what was on its way to it is for nobody.
    pub(super) fn drop_end(&mut self, side: Side) {
        self.ends[side.index()] = End::Gone;
        self.towards[side.index()].pieces.clear();
    }

    /// Whether both sides have it.
    pub(super) fn is_established(&self) -> bool {
        self.ends.iter().all(|end| matches!(end, End::Open(_)))
    }

    /// Whether both sides have dropped it.
    pub(super) fn is_over(&self) -> bool {
        self.ends == [End::Gone, End::Gone]
    }

    /// How many bytes this side may write now; 0 if it has to wait.
    pub(super) fn room(&self, from: Side) -> usize {
        let lane = &self.towards[from.other().index()];
        lane.window.saturating_sub(lane.bytes) as usize
    }

    /// Sends a piece; when it arrives.
    pub(super) fn send(&mut self, now: Instant, from: Side, piece: Piece, rng: &mut Rng) -> Instant {
        let lane = &mut self.towards[from.other().index()];
        let delay = Duration::from_nanos(rng.in_range(1_000..self.delay_max.as_nanos() as u64));
        lane.last = lane.last.max(now + delay);
        if let Piece::Bytes(bytes) = &piece {
            lane.bytes += bytes.len() as u64;
        }
        lane.pieces.push_back((lane.last, piece));
        lane.last
    }

    /// Loses some of what travels towards this side: a reset overtakes it.
    pub(super) fn lose_tail(&mut self, side: Side, rng: &mut Rng) {
        let lane = &mut self.towards[side.index()];
        if !lane.pieces.is_empty() {
            lane.pieces.truncate(rng.index(lane.pieces.len() + 1));
        }
    }

    /// The next piece for this side that has arrived. Bytes may be cut again.
    pub(super) fn receive(&mut self, now: Instant, side: Side, rng: &mut Rng) -> Option<Piece> {
        let lane = &mut self.towards[side.index()];
        if lane.pieces.front()?.0 > now {
            return None;
        }
        let (at, piece) = lane.pieces.pop_front()?;
        Some(match piece {
            Piece::Bytes(mut bytes) => {
                let read = rng.in_range(1..PIECE_BYTES_MAX).min(bytes.len() as u64);
                let rest = bytes.split_off(read as usize);
                lane.bytes -= read;
                if !rest.is_empty() {
                    lane.pieces.push_front((at, Piece::Bytes(rest)));
                }
                Piece::Bytes(bytes)
            }
            Piece::Fin => Piece::Fin,
            Piece::Reset => Piece::Reset,
        })
    }
}
