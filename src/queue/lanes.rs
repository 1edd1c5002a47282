//! Messages from every thread to one, the I/O thread, in lanes: one per peer.
//!
//! ```text
//!  worker ──┐  lane 0  ▒▒▒▒                 dirty bits
//!  worker ──┼► lane 1                       1 0 1 0 0 …      ┌──────────┐
//!  foreign ─┘  lane 2  ▒▒            ─────────────────────►  │ I/O      │
//!              …                            doorbell         └──────────┘
//! ```
//!
//! A lane is a lock-free FIFO (crossbeam's `SegQueue`; a locked list under loom). A send pushes, then sets the lane's bit;
//! only who turns the bit on rings the doorbell, so that a busy lane costs neither a fence nor a look at the sleeper.
//! The receiver takes the bits of a word away, then empties those lanes.
//!
//! **No message is missed.** A send's step on the word is either before the receiver's, which then sees (L1) the push; or
//! after, and the bit stays. A bit is on while its first sender has not rung yet: a later sender relies on that ring.
//!
//! Each lane is bounded, in messages and in the bytes that they hold outside themselves: a send beyond `LANE_MESSAGES_MAX` or
//! the lane's bytes (`LANE_BYTES_MAX`, or what the node may take) gives the message back. An answer has more room, up to
//! `LANE_ANSWERS_MAX` and twice the bytes: the caller on the other side waits for it, and the sender has no other use for it.
//! Messages without such bytes touch one counter only.
//!
//! A receiver that ends closes the lanes. Their lengths count who is about to push, too, so it can wait for those and take
//! the last message; whoever comes later gets the message back.

use crate::limits::{LANE_ANSWERS_MAX, LANE_BYTES_MAX, LANE_MESSAGES_MAX};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{CachePadded, Doorbell};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

#[cfg(not(loom))]
use crossbeam::queue::SegQueue;
#[cfg(loom)]
use locked::SegQueue;

const WORD_BITS: usize = u64::BITS as usize;
/// What is added to the length of a lane that is closed: more than any lane holds.
const CLOSED: u64 = 1 << 32;

/// The lanes that senders and the receiver share.
pub struct Lanes<T> {
    lanes: Box<[CachePadded<Lane<T>>]>,
    /// A bit per lane: something was pushed since the receiver took the bit.
    dirty: Box<[CachePadded<AtomicU64>]>,
    doorbell: Arc<Doorbell>,
    /// Bytes in one lane above which sends are refused.
    bytes_max: u64,
}

struct Lane<T> {
    messages: SegQueue<(T, u64)>,
    /// Pushed or about to be pushed, and not taken. Relaxed: it publishes nothing.
    len: AtomicU64,
    /// The bytes of those.
    bytes: AtomicU64,
}

impl<T> Lane<T> {
    fn new() -> Self {
        Self { messages: SegQueue::new(), len: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Takes room for a message of so many bytes, if there is any left; the last one may exceed it.
    fn reserve(&self, bytes: u64, most: Room) -> bool {
        // Looked at first: whoever closes a lane waits until nobody has counted itself in.
        if self.len.load(Ordering::Relaxed) >= most.messages || self.is_full(bytes, most) {
            return false;
        }
        if self.len.fetch_add(1, Ordering::Relaxed) >= most.messages {
            self.len.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        if bytes > 0 {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        true
    }

    fn is_full(&self, bytes: u64, most: Room) -> bool {
        bytes > 0 && self.bytes.load(Ordering::Relaxed) >= most.bytes
    }

    /// Gives the room back.
    fn release(&self, bytes: u64) {
        self.len.fetch_sub(1, Ordering::Relaxed);
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// How much a lane takes. Several senders may each exceed the bytes by one message.
#[derive(Clone, Copy)]
struct Room {
    messages: u64,
    bytes: u64,
}

impl Room {
    fn for_requests(bytes_max: u64) -> Self {
        Self { messages: LANE_MESSAGES_MAX, bytes: bytes_max }
    }

    fn for_answers(bytes_max: u64) -> Self {
        Self { messages: LANE_ANSWERS_MAX, bytes: 2 * bytes_max }
    }
}

impl<T> Lanes<T> {
    /// `count` lanes to one receiver, whom `doorbell` wakes.
    #[expect(clippy::new_ret_no_self, reason = "the lanes are reached through their two ends only")]
    pub fn new(count: usize, doorbell: Arc<Doorbell>) -> (LaneSender<T>, LaneReceiver<T>) {
        Self::with_bytes(count, LANE_BYTES_MAX, doorbell)
    }

    /// The same with lanes that take at most so many bytes, and twice as many in answers.
    pub fn with_bytes(
        count: usize,
        bytes_max: u64,
        doorbell: Arc<Doorbell>,
    ) -> (LaneSender<T>, LaneReceiver<T>) {
        let lane = |_| CachePadded::new(Lane::new());
        let words = count.div_ceil(WORD_BITS);
        let lanes = Arc::new(Self {
            lanes: (0..count).map(lane).collect(),
            dirty: (0..words).map(|_| CachePadded::new(AtomicU64::new(0))).collect(),
            doorbell,
            bytes_max,
        });
        let sender = LaneSender { lanes: Arc::clone(&lanes) };
        (sender, LaneReceiver { lanes, taken: vec![0; words].into(), next: 0, unshared: PhantomData })
    }
}

impl<T> fmt::Debug for Lanes<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Lanes({})", self.lanes.len())
    }
}

/// Any thread's end.
#[derive(Debug)]
pub struct LaneSender<T> {
    lanes: Arc<Lanes<T>>,
}

impl<T> LaneSender<T> {
    /// Adds a message, which holds so many bytes outside itself, at the end of a lane, and wakes the receiver if it sleeps.
    ///
    /// # Errors
    /// Gives it back if the lane is full, or [closed](Self::is_closed).
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn send(&self, lane: usize, message: T, bytes: usize) -> Result<(), T> {
        self.push(lane, message, bytes, Room::for_requests(self.lanes.bytes_max))
    }

    /// As [`send`](Self::send), with more room: for an answer, and for what must not be refused.
    ///
    /// # Errors
    /// Gives it back if the lane has no room even for that, or is closed.
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn send_answer(&self, lane: usize, message: T, bytes: usize) -> Result<(), T> {
        self.push(lane, message, bytes, Room::for_answers(self.lanes.bytes_max))
    }

    fn push(&self, lane: usize, message: T, bytes: usize, most: Room) -> Result<(), T> {
        let to = &self.lanes.lanes[lane];
        if !to.reserve(bytes as u64, most) {
            return Err(message);
        }
        to.messages.push((message, bytes as u64));
        let bit = 1 << (lane % WORD_BITS);
        // [L1] Release: publishes the push to whom takes the bit.
        let before = self.lanes.dirty[lane / WORD_BITS].fetch_or(bit, Ordering::Release);
        if before & bit == 0 {
            self.lanes.doorbell.ring();
        }
        Ok(())
    }

    /// Messages that wait in a lane.
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn len(&self, lane: usize) -> u64 {
        self.lanes.lanes[lane].len.load(Ordering::Relaxed) % CLOSED
    }

    /// Whether the receiver has ended: a lane takes nothing any more.
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn is_closed(&self, lane: usize) -> bool {
        self.lanes.lanes[lane].len.load(Ordering::Relaxed) >= CLOSED
    }

    /// Whether nothing waits in a lane.
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn is_empty(&self, lane: usize) -> bool {
        self.len(lane) == 0
    }

    /// The receiver's doorbell.
    pub fn doorbell(&self) -> &Doorbell {
        &self.lanes.doorbell
    }
}

impl<T> Clone for LaneSender<T> {
    fn clone(&self) -> Self {
        Self { lanes: Arc::clone(&self.lanes) }
    }
}

/// The receiver's end; one thread's at a time.
#[derive(Debug)]
pub struct LaneReceiver<T> {
    lanes: Arc<Lanes<T>>,
    /// Bits taken whose lanes are not emptied yet.
    taken: Box<[u64]>,
    /// The lane after the last one that was polled, so that none waits for the others' for ever.
    next: usize,
    unshared: PhantomData<Cell<()>>,
}

impl<T> LaneReceiver<T> {
    /// A lane with messages, each once until it is sent to again: take them all, or [`LaneReceiver::mark`] it.
    pub fn poll_dirty(&mut self) -> Option<usize> {
        let words = self.taken.len();
        let start = self.next / WORD_BITS;
        // The first word twice: from its middle, and at the end from its start.
        for step in 0..=words {
            let word = (start + step) % words.max(1);
            let from = if step == 0 { self.next % WORD_BITS } else { 0 };
            let bits = self.take_word(word)? >> from << from;
            if bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                self.taken[word] &= !(1 << bit);
                let lane = word * WORD_BITS + bit;
                self.next = (lane + 1) % (words * WORD_BITS);
                return Some(lane);
            }
        }
        None
    }

    /// The lanes of a word that are to be emptied.
    fn take_word(&mut self, word: usize) -> Option<u64> {
        let dirty = self.lanes.dirty.get(word)?;
        if dirty.load(Ordering::Relaxed) != 0 {
            // [L1] Acquire: sees the pushes of everyone who set a bit or found it set.
            self.taken[word] |= dirty.swap(0, Ordering::Acquire);
        }
        Some(self.taken[word])
    }

    /// Whether a lane waits to be polled; for the look after a sleep is announced.
    pub fn has_dirty(&self) -> bool {
        let is_dirty = |word: &CachePadded<AtomicU64>| word.load(Ordering::Relaxed) != 0;
        self.taken.iter().any(|&word| word != 0) || self.lanes.dirty.iter().any(is_dirty)
    }

    /// Whether this lane waits to be polled.
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn is_dirty(&self, lane: usize) -> bool {
        let word = lane / WORD_BITS;
        let bits = self.taken[word] | self.lanes.dirty[word].load(Ordering::Relaxed);
        bits & 1 << (lane % WORD_BITS) != 0
    }

    /// Takes the oldest message of a lane.
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn take(&mut self, lane: usize) -> Option<T> {
        let from = &self.lanes.lanes[lane];
        let (message, bytes) = from.messages.pop()?;
        from.release(bytes);
        Some(message)
    }

    /// Lets a lane that was not emptied be polled again.
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn mark(&mut self, lane: usize) {
        self.taken[lane / WORD_BITS] |= 1 << (lane % WORD_BITS);
    }

    /// Closes all lanes and takes what is left: no message that a send took stays behind.
    pub fn close(&mut self, mut left: impl FnMut(T)) {
        for lane in 0..self.lanes.lanes.len() {
            let len = &self.lanes.lanes[lane].len;
            if len.load(Ordering::Relaxed) < CLOSED {
                len.fetch_add(CLOSED, Ordering::Relaxed);
            }
            // Whoever is counted in and has not pushed yet is two steps from it.
            while self.lanes.lanes[lane].len.load(Ordering::Relaxed) > CLOSED {
                match self.take(lane) {
                    Some(message) => left(message),
                    None => crate::sync::spin_loop(),
                }
            }
        }
    }

    /// Whose sleep a send ends.
    pub fn doorbell(&self) -> &Arc<Doorbell> {
        &self.lanes.doorbell
    }
}

impl<T> Drop for LaneReceiver<T> {
    fn drop(&mut self) {
        self.close(drop);
    }
}

/// What stands in for crossbeam's queue under loom. Its pop may miss a push that it does not see, as the real one's may.
#[cfg(loom)]
mod locked {
    use crate::sync::Mutex;
    use crate::sync::atomic::{AtomicUsize, Ordering};
    use std::collections::VecDeque;

    pub(super) struct SegQueue<T> {
        messages: Mutex<VecDeque<T>>,
        pushed: AtomicUsize,
        popped: AtomicUsize,
    }

    impl<T> SegQueue<T> {
        pub(super) fn new() -> Self {
            let messages = Mutex::new(VecDeque::new());
            Self { messages, pushed: AtomicUsize::new(0), popped: AtomicUsize::new(0) }
        }

        pub(super) fn push(&self, message: T) {
            self.messages.lock().push_back(message);
            self.pushed.fetch_add(1, Ordering::Relaxed);
        }

        pub(super) fn pop(&self) -> Option<T> {
            if self.pushed.load(Ordering::Relaxed) == self.popped.load(Ordering::Relaxed) {
                return None;
            }
            self.popped.fetch_add(1, Ordering::Relaxed);
            self.messages.lock().pop_front()
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Parker;

    fn lanes(count: usize) -> (LaneSender<u64>, LaneReceiver<u64>, Arc<Parker>) {
        let parker = Arc::new(Parker::new());
        let (sender, receiver) = Lanes::new(count, Arc::new(Doorbell::new(Arc::clone(&parker))));
        (sender, receiver, parker)
    }

    #[test]
    fn lanes_are_polled_once_each_and_in_turn() {
        let (sender, mut receiver, _) = lanes(257);
        assert_eq!(receiver.poll_dirty(), None);
        for lane in [256, 3, 64, 3] {
            sender.send(lane, lane as u64, 0).unwrap();
        }
        assert!(receiver.has_dirty());
        assert_eq!(receiver.poll_dirty(), Some(3));
        assert_eq!((receiver.take(3), receiver.take(3), receiver.take(3)), (Some(3), Some(3), None));
        sender.send(3, 4, 0).unwrap();
        assert_eq!(receiver.poll_dirty(), Some(64), "3 waits for its turn");
        assert_eq!(receiver.poll_dirty(), Some(256));
        receiver.mark(256);
        assert_eq!(receiver.poll_dirty(), Some(3));
        assert_eq!(receiver.poll_dirty(), Some(256), "not emptied");
        assert_eq!(receiver.poll_dirty(), None);
        assert!(!receiver.has_dirty());
    }

    #[test]
    fn a_full_lane_gives_the_message_back() {
        let (sender, mut receiver, _) = lanes(2);
        for n in 0..LANE_MESSAGES_MAX {
            sender.send(1, n, 0).unwrap();
        }
        assert_eq!(sender.send(1, 7, 0), Err(7));
        assert_eq!(sender.send(0, 7, 0), Ok(()), "another lane has room");
        assert_eq!(receiver.take(1), Some(0));
        assert_eq!(sender.send(1, 8, 0), Ok(()));
        assert_eq!(sender.len(1), LANE_MESSAGES_MAX);
    }

    #[test]
    fn an_answer_finds_room_in_a_full_lane() {
        let (sender, mut receiver, _) = lanes(1);
        while sender.send(0, 1, 0).is_ok() {}
        while sender.send_answer(0, 2, 0).is_ok() {}
        assert_eq!(sender.len(0), LANE_ANSWERS_MAX);
        let taken: Vec<u64> = std::iter::from_fn(|| receiver.take(0)).collect();
        assert_eq!(taken.iter().filter(|&&message| message == 1).count() as u64, LANE_MESSAGES_MAX);
        assert_eq!(sender.send(0, 3, 0), Ok(()));
    }

    #[test]
    fn bytes_are_bounded_and_come_back() {
        let (sender, mut receiver, _) = lanes(1);
        let half = LANE_BYTES_MAX as usize / 2;
        for n in 0..3 {
            // The last one exceeds the bound: it is a message that must not be cut.
            assert_eq!(sender.send(0, n, half + n as usize).is_ok(), n < 2, "{n}");
        }
        assert_eq!(sender.send(0, 3, 0), Ok(()), "what holds no bytes finds room");
        assert_eq!(sender.send_answer(0, 4, half), Ok(()), "so does an answer");
        while sender.send_answer(0, 5, half).is_ok() {}
        assert!(sender.lanes.lanes[0].bytes.load(Ordering::Relaxed) <= 2 * LANE_BYTES_MAX + half as u64);
        while receiver.take(0).is_some() {}
        assert_eq!(sender.lanes.lanes[0].bytes.load(Ordering::Relaxed), 0);
        assert_eq!(sender.send(0, 6, half), Ok(()));
    }

    #[test]
    fn closed_lanes_keep_nothing_and_take_nothing() {
        let (sender, mut receiver, _) = lanes(3);
        sender.send(2, 7, 0).unwrap();
        let mut left = Vec::new();
        receiver.close(|message| left.push(message));
        assert_eq!(left, [7]);
        assert_eq!((sender.send(2, 8, 0), sender.send_answer(1, 9, 0)), (Err(8), Err(9)));
        assert!(sender.is_closed(0) && sender.is_empty(2));
        receiver.close(|message| panic!("{message} came through"));
    }

    #[test]
    fn every_message_is_taken_or_given_back_while_the_lanes_are_closed() {
        for _ in 0..200 {
            let (sender, mut receiver, _) = lanes(1);
            let (mut left, mut sent) = (0, 0);
            std::thread::scope(|threads| {
                let senders = [0; 2].map(|_| {
                    let sender = sender.clone();
                    threads.spawn(move || (0..).take_while(|&n| sender.send(0, n, 0).is_ok()).count())
                });
                while receiver.take(0).is_none() {
                    std::hint::spin_loop();
                }
                receiver.close(|_| left += 1);
                sent = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
            });
            assert_eq!(left + 1, sent);
        }
    }

    const SENDERS: u64 = 3;
    const EACH: u64 = 20_000;
    const LANES: u64 = 5;
    /// A test that waits longer than this has lost a ring.
    const STALL: std::time::Duration = std::time::Duration::from_secs(20);

    #[test]
    fn many_senders_lose_nothing_to_a_receiver_that_sleeps() {
        let (sender, mut receiver, parker) = lanes(LANES as usize);
        let mut expected = [[0; LANES as usize]; SENDERS as usize];
        std::thread::scope(|threads| {
            for from in 0..SENDERS {
                let sender = sender.clone();
                threads.spawn(move || {
                    for n in 0..EACH {
                        let lane = (n % LANES) as usize;
                        while sender.send(lane, (from << 32) | (n / LANES), 0).is_err() {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let mut received = 0;
            while received < SENDERS * EACH {
                while let Some(lane) = receiver.poll_dirty() {
                    while let Some(message) = receiver.take(lane) {
                        let next = &mut expected[(message >> 32) as usize][lane];
                        assert_eq!(message as u32, *next, "a lane keeps each sender's order");
                        *next += 1;
                        received += 1;
                    }
                }
                if received < SENDERS * EACH {
                    let doorbell = Arc::clone(receiver.doorbell());
                    let rung = doorbell.sleep(|| receiver.has_dirty(), || parker.park(Some(STALL)));
                    assert_ne!(rung, Some(false), "a ring is lost");
                }
            }
        });
        assert_eq!(receiver.poll_dirty(), None);
    }

    #[test]
    fn only_a_sleeper_is_rung() {
        let (sender, mut receiver, parker) = lanes(1);
        sender.send(0, 1, 0).unwrap();
        receiver.doorbell().prepare();
        assert!(receiver.has_dirty(), "so it does not sleep");
        receiver.doorbell().cancel();
        assert_eq!(receiver.poll_dirty(), Some(0));
        receiver.doorbell().prepare();
        sender.send(0, 2, 0).unwrap();
        assert!(parker.park(Some(STALL)));
        receiver.doorbell().cancel();
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync::{Parker, explore};
    use loom::thread;

    fn receive(receiver: &mut LaneReceiver<u32>, parker: &Parker, count: usize) -> Vec<u32> {
        let mut all = Vec::new();
        while all.len() < count {
            while let Some(lane) = receiver.poll_dirty() {
                all.extend(std::iter::from_fn(|| receiver.take(lane)));
            }
            if all.len() < count {
                let doorbell = Arc::clone(receiver.doorbell());
                doorbell.sleep(|| receiver.has_dirty(), || parker.park(None));
            }
        }
        all
    }

    fn lanes(count: usize) -> (LaneSender<u32>, LaneReceiver<u32>, Arc<Parker>) {
        let parker = Arc::new(Parker::new());
        let (sender, receiver) = Lanes::new(count, Arc::new(Doorbell::new(Arc::clone(&parker))));
        (sender, receiver, parker)
    }

    /// M6: two senders on one lane, whose bit only one of them turns on, and a receiver that sleeps.
    #[test]
    fn two_senders_on_one_lane() {
        explore(3, || {
            let (sender, mut receiver, parker) = lanes(1);
            let other = sender.clone();
            let one = thread::spawn(move || sender.send(0, 1, 0).unwrap());
            let two = thread::spawn(move || other.send(0, 2, 0).unwrap());
            let mut all = receive(&mut receiver, &parker, 2);
            all.sort_unstable();
            assert_eq!(all, [1, 2]);
            one.join().unwrap();
            two.join().unwrap();
        });
    }

    /// M6: one sender on two lanes, which come in order each.
    #[test]
    fn one_sender_on_two_lanes() {
        explore(3, || {
            let (sender, mut receiver, parker) = lanes(2);
            let thread = thread::spawn(move || {
                for message in [10, 20, 11] {
                    sender.send(message as usize / 10 - 1, message, 0).unwrap();
                }
            });
            let all = receive(&mut receiver, &parker, 3);
            assert_eq!(all.iter().copied().filter(|&n| n < 20).collect::<Vec<_>>(), [10, 11]);
            thread.join().unwrap();
        });
    }

    /// M6: a send while the receiver closes: the message is taken or given back.
    #[test]
    fn a_send_while_the_lanes_are_closed() {
        explore(3, || {
            let (sender, mut receiver, _) = lanes(1);
            let thread = thread::spawn(move || sender.send(0, 1, 0).is_ok());
            let mut left = 0;
            receiver.close(|_| left += 1);
            assert_eq!(thread.join().unwrap(), left == 1);
            assert_eq!(receiver.take(0), None);
        });
    }
}
