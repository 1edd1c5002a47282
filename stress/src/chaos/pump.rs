//! One direction of one connection: reads, holds, hurts, writes.

use super::proxy::{Conn, LOOK, Shared};
use super::weather::{Air, Fault, Lane};
use crate::random::SplitMix;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skyharbor::clock::Instant;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Bytes that a pump holds; a sender is slowed down by what its socket does not take.
const HELD_BYTES_MAX: usize = 256 << 10;
/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;
/// Bytes of one write under a cap.
const CAPPED_BYTES: usize = 512;
/// Bytes of one turn that are written one by one; the rest of a long chunk goes in pieces.
const SPLIT_BYTES_MAX: usize = 2048;
/// The pieces of the rest.
const SPLIT_PIECE_BYTES: usize = 997;
/// How long a connection lives with a flipped bit: its reader may wait for a frame that never ends.
const FLIPPED_TIME_MAX: Duration = Duration::from_millis(300);
/// How long a pump that may not write sleeps.
const NAP: Duration = Duration::from_millis(2);

/// One direction of one connection.
pub(super) struct Pump {
    shared: Arc<Shared>,
    lane: Lane,
    conn: Arc<Conn>,
    /// From who dialled to who was dialled; otherwise back.
    is_there: bool,
    random: SplitMix,
    held: VecDeque<Chunk>,
    held_bytes: usize,
    /// Nothing is written before.
    pause: Instant,
    /// Hits the next chunk.
    shot: Option<Fault>,
    /// Cuts that had begun when the connection did; it does not survive another one.
    cuts: u64,
    /// Its first bytes, which say who is who, are past.
    is_greeted: bool,
}

/// What was read at once.
struct Chunk {
    /// It may be written from then on.
    due: Instant,
    bytes: Vec<u8>,
    written: usize,
}

impl Pump {
    pub(super) fn new(shared: &Arc<Shared>, lane: Lane, conn: Arc<Conn>, is_there: bool, seed: u64) -> Self {
        Self {
            shared: Arc::clone(shared),
            lane,
            conn,
            is_there,
            random: SplitMix::new(seed, 0),
            held: VecDeque::new(),
            held_bytes: 0,
            pause: Instant::default(),
            shot: None,
            cuts: shared.sky.look_back(lane),
            is_greeted: false,
        }
    }

    /// Takes bytes that were read before.
    pub(super) fn hold(&mut self, bytes: &[u8]) {
        self.push(Instant::now(), bytes);
    }

    /// Pumps until its end of the connection ends. The other direction ends by itself: what is still there goes out.
    pub(super) fn run(mut self) {
        let mut buffer = vec![0; READ_BYTES];
        let mut is_open = true;
        while !self.conn.is_closed() {
            if self.shared.ends() {
                return self.conn.close();
            }
            let now = Instant::now();
            let air = self.shared.sky.look(self.lane, now);
            // 1. What ends or changes it.
            if self.is_ended_by(air, now) {
                return;
            }
            // 2. Out.
            let may_write = !air.is_stalled && !air.is_cut;
            if may_write && !self.write(air, now) {
                return;
            }
            if !is_open && self.held.is_empty() {
                // It may be closed already.
                let _ = self.sockets().1.shutdown(Shutdown::Write);
                return;
            }
            // 3. In.
            if is_open && self.held_bytes < HELD_BYTES_MAX {
                is_open = self.read(&mut buffer, air, may_write);
            } else {
                std::thread::sleep(NAP);
            }
        }
    }

    /// Where it reads, and where it writes.
    fn sockets(&self) -> (&TcpStream, &TcpStream) {
        let (dialler, dialled) = &self.conn.sockets;
        if self.is_there { (dialler, dialled) } else { (dialled, dialler) }
    }

    fn push(&mut self, due: Instant, bytes: &[u8]) {
        // A write of nothing looks as if the receiver were gone.
        if bytes.is_empty() {
            return;
        }
        self.held_bytes += bytes.len();
        self.held.push_back(Chunk { due, bytes: bytes.to_vec(), written: 0 });
    }

    fn is_ended_by(&mut self, air: Air, now: Instant) -> bool {
        self.shot = self.shot.or(air.shot);
        let is_flipped_long = self.conn.flipped().is_some_and(|at| now.since(at) > FLIPPED_TIME_MAX);
        if self.shot == Some(Fault::Reset) || (air.cuts > self.cuts && !air.is_cut) || is_flipped_long {
            self.conn.hurt(now);
            self.conn.reset();
            return true;
        }
        // The others hit bytes. A changed id would hurt a link that is not this one.
        if self.held.is_empty() || !self.is_greeted {
            return false;
        }
        match self.shot.take() {
            Some(Fault::Truncate) => {
                self.truncate(now);
                true
            }
            Some(Fault::Flip) => {
                self.flip(now);
                false
            }
            _ => false,
        }
    }

    /// Writes half of what is held and ends the connection.
    fn truncate(&mut self, now: Instant) {
        self.conn.hurt(now);
        let whole: Vec<u8> =
            self.held.drain(..).flat_map(|chunk| chunk.bytes.into_iter().skip(chunk.written)).collect();
        // What the receiver does not take at once is cut off too.
        let _ = self.sockets().1.write(&whole[..whole.len() / 2]);
        self.conn.close();
    }

    /// Changes one bit of what was read last.
    fn flip(&mut self, now: Instant) {
        let Some(chunk) = self.held.back_mut() else { return };
        self.conn.flip(now);
        let left = chunk.bytes.len() - chunk.written;
        let bit = self.random.below(left as u32 * 8) as usize;
        chunk.bytes[chunk.written + bit / 8] ^= 1 << (bit % 8);
    }

    /// Writes what is due, as the air lets it. False: the receiver is gone.
    fn write(&mut self, air: Air, now: Instant) -> bool {
        let mut singles_left = SPLIT_BYTES_MAX;
        while let Some(chunk) = self.held.front().filter(|chunk| chunk.due <= now && self.pause <= now) {
            let rest = &chunk.bytes[chunk.written..];
            let most = match air {
                Air { cap: Some(_), .. } => CAPPED_BYTES,
                Air { is_split: true, .. } if singles_left > 0 => 1,
                Air { is_split: true, .. } => SPLIT_PIECE_BYTES,
                Air { .. } => rest.len(),
            };
            match self.sockets().1.write(&rest[..most.min(rest.len())]) {
                Ok(0) => return false,
                Ok(count) => self.wrote(count, air, now),
                // It takes no more for now, or it is closed and the loop sees that.
                Err(error) if is_patient(error.kind()) => return true,
                Err(_) => return false,
            }
            singles_left = singles_left.saturating_sub(1);
        }
        true
    }

    fn wrote(&mut self, count: usize, air: Air, now: Instant) {
        self.held_bytes -= count;
        self.is_greeted = true;
        if let Some(cap) = air.cap {
            self.pause = now + Duration::from_secs_f64(count as f64 / f64::from(cap.max(1)));
        }
        if let Some(chunk) = self.held.front_mut() {
            chunk.written += count;
            if chunk.written == chunk.bytes.len() {
                self.held.pop_front();
            }
        }
    }

    /// Reads what comes until something is to be written. False: the sender has ended.
    fn read(&mut self, buffer: &mut [u8], air: Air, may_write: bool) -> bool {
        let now = Instant::now();
        let due = self.held.front().map(|chunk| chunk.due.max(self.pause).since(now));
        let wait = due.filter(|_| may_write).unwrap_or(LOOK).min(LOOK);
        let timeout = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as _ };
        let mut from = [PollFd::new(self.sockets().0, PollFlags::IN)];
        if !matches!(poll(&mut from, Some(&timeout)), Ok(1..)) {
            return true;
        }
        match self.sockets().0.read(buffer) {
            Ok(0) => false,
            Ok(count) => {
                let late = air.delay.map_or(Duration::ZERO, |(least, jitter)| {
                    least + Duration::from_nanos(self.random.next() % (jitter.as_nanos() as u64 + 1))
                });
                let last = self.held.back().map_or(Instant::default(), |chunk| chunk.due);
                self.push((Instant::now() + late).max(last), &buffer[..count]);
                true
            }
            Err(error) => is_patient(error.kind()),
        }
    }
}

fn is_patient(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
