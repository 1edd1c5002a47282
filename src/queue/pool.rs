//! Message nodes without the allocator, and the node's budget.
//!
//! ```text
//!   pool of a thread that sends              depot                   pool of a thread that receives
//!  ┌──────────────────────────┐   64 nodes  ┌────────────┐  64 nodes  ┌──────────────────────────┐
//!  │ free ► ► ► …   spare ► ► │ ◄────────── │ stack of   │ ◄───────── │ free ► ► ► …   spare ► ► │
//!  └──────────────────────────┘             │ chunks     │            └──────────────────────────┘
//!    take(), no atomics                     └────────────┘              give(), no atomics
//! ```
//!
//! A [`Pool`] belongs to one thread: two plain lists of free nodes, `free` in use and `spare` full or empty. Nodes are
//! given to the pool of the thread that consumed the message; when both lists are full one chunk of 64 goes to the
//! [`Depot`], when both are empty one comes from it. A thread that only sends and one that only receives therefore
//! exchange chunks, and nobody allocates. A depot keeps at most `DEPOT_CHUNKS_MAX` chunks, a pool two.
//!
//! **The stack of chunks** is a Treiber stack of slot numbers, lock-free: its head is a number and a tag that each step
//! raises, so that a head seen before is never taken for the same one again (ABA) unless 2³² steps pass in between. Two
//! such stacks share the slots: the full ones and the vacant ones.
//!
//! **The budget.** Nodes outside the depot, in mailboxes and pools, are counted in chunks; a chunk beyond
//! `messages_max` is refused. Bytes are leased from the depot in steps of 64 KiB. Both counts are relaxed: they publish
//! nothing. An answer goes past the budget, by as many bytes as it has at most. A thread's pool can hold 128 nodes and 128 KiB that are in no mailbox: the budget is that coarse.

use super::node::{self, Link, Node};
use crate::limits::BYTES_LEASE;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{CachePadded, UnsafeCell};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

#[cfg(not(loom))]
use crate::limits::{DEPOT_CHUNKS_MAX as SLOTS, POOL_CHUNK_NODES as CHUNK};

/// Small enough for a model to reach every border.
#[cfg(loom)]
const CHUNK: usize = 2;
#[cfg(loom)]
const SLOTS: usize = 2;

/// A list of free nodes of one owner.
struct List {
    first: *mut Link,
    len: usize,
}

impl List {
    const EMPTY: Self = Self { first: ptr::null_mut(), len: 0 };

    /// Safety: `link` is a free node that is in no list.
    #[inline]
    unsafe fn push(&mut self, link: *mut Link) {
        // SAFETY: the caller gives us the node.
        unsafe { node::set_next(link, self.first) };
        self.first = link;
        self.len += 1;
    }

    #[inline]
    fn pop(&mut self) -> Option<*mut Link> {
        if self.first.is_null() {
            return None;
        }
        let link = self.first;
        // SAFETY: nodes of a list are alive and ours.
        self.first = unsafe { node::next(link) };
        self.len -= 1;
        Some(link)
    }
}

/// Free nodes of one thread, and its lease of the node's byte budget; see the module's text.
pub struct Pool<M> {
    depot: Arc<Depot<M>>,
    /// At most one chunk.
    free: List,
    /// Nothing or one chunk.
    spare: List,
    bytes: u64,
}

// SAFETY: a pool owns its nodes, which are empty.
unsafe impl<M: Send> Send for Pool<M> {}

impl<M> Pool<M> {
    /// An empty pool of a node's depot.
    pub fn new(depot: &Arc<Depot<M>>) -> Self {
        Self { depot: Arc::clone(depot), free: List::EMPTY, spare: List::EMPTY, bytes: 0 }
    }

    /// An empty node, unless the node's budget of messages is used up.
    #[inline]
    pub(super) fn take(&mut self) -> Option<*mut Link> {
        match self.free.pop() {
            Some(link) => Some(link),
            None => self.take_chunk(),
        }
    }

    #[cold]
    fn take_chunk(&mut self) -> Option<*mut Link> {
        if self.spare.len > 0 {
            std::mem::swap(&mut self.free, &mut self.spare);
        } else {
            self.free = self.depot.take()?;
        }
        self.free.pop()
    }

    /// An empty node, past the node's budget if that is used up.
    pub(super) fn take_past(&mut self) -> *mut Link {
        loop {
            match self.take() {
                Some(link) => return link,
                None => self.free = self.depot.take_past(),
            }
        }
    }

    /// Takes back an empty node.
    ///
    /// # Safety
    /// `link` is an empty node of messages `M`, and the caller owns it.
    #[inline]
    pub(super) unsafe fn give(&mut self, link: *mut Link) {
        if self.free.len == CHUNK {
            self.give_chunk();
        }
        // SAFETY: the caller gives us the node.
        unsafe { self.free.push(link) };
    }

    #[cold]
    fn give_chunk(&mut self) {
        let full = std::mem::replace(&mut self.free, List::EMPTY);
        let spare = std::mem::replace(&mut self.spare, full);
        if spare.len > 0 {
            self.depot.give(spare);
        }
    }

    /// Reserves `n` bytes of the node's budget, unless it is used up.
    #[inline]
    pub fn reserve_bytes(&mut self, n: usize) -> bool {
        let n = n as u64;
        if n > self.bytes && !self.lease(n - self.bytes) {
            return false;
        }
        self.bytes -= n;
        true
    }

    /// Reserves `n` bytes, past the node's budget if that is used up: as much again.
    pub(super) fn reserve_bytes_past(&mut self, n: usize) -> bool {
        n == 0 || self.reserve_bytes(n) || self.depot.lease_past(n as u64)
    }

    #[cold]
    fn lease(&mut self, missing: u64) -> bool {
        // Near the end of the budget a whole step may be too much where the bytes themselves are not.
        let steps = missing.next_multiple_of(BYTES_LEASE);
        let leased = [steps, missing].into_iter().find(|&n| self.depot.lease(n));
        self.bytes += leased.unwrap_or(0);
        leased.is_some()
    }

    /// Returns bytes that were reserved, by this pool or another one of the depot.
    #[inline]
    pub fn release_bytes(&mut self, n: usize) {
        self.bytes += n as u64;
        if self.bytes > 2 * BYTES_LEASE {
            self.depot.unlease(self.bytes - BYTES_LEASE);
            self.bytes = BYTES_LEASE;
        }
    }
}

impl<M> Drop for Pool<M> {
    fn drop(&mut self) {
        self.depot.unlease(self.bytes);
        for list in [&mut self.free, &mut self.spare] {
            let list = std::mem::replace(list, List::EMPTY);
            if list.len == CHUNK {
                self.depot.give(list);
            } else {
                self.depot.free(list);
            }
        }
    }
}

impl<M> fmt::Debug for Pool<M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Pool({} nodes, {} bytes)", self.free.len + self.spare.len, self.bytes)
    }
}

const NONE: u32 = u32::MAX;

/// A stack of slot numbers: `tag << 32 | number`.
struct Stack {
    head: CachePadded<AtomicU64>,
}

impl Stack {
    fn new(first: u32) -> Self {
        Self { head: CachePadded::new(AtomicU64::new(first.into())) }
    }

    fn push(&self, slots: &[Slot], number: u32) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            slots[number as usize].next.store(head as u32, Ordering::Relaxed);
            // [P1] Release: publishes the slot's next and its chunk.
            let pushed = self.head.compare_exchange_weak(
                head,
                step(head, number),
                Ordering::Release, // [P1]
                Ordering::Relaxed,
            );
            match pushed {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    fn pop(&self, slots: &[Slot]) -> Option<u32> {
        // [P1] Acquire: sees the top slot's next and chunk; all pushes below are in its release sequence.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let number = head as u32;
            if number == NONE {
                return None;
            }
            // May be another stack's by now; then the tag has changed and the exchange fails.
            let next = slots[number as usize].next.load(Ordering::Relaxed);
            // What it exchanges is the head that was acquired: a tag comes once. [P1] Acquire on failure: as above.
            let popped = self.head.compare_exchange_weak(
                head,
                step(head, next),
                Ordering::Relaxed,
                Ordering::Acquire, // [P1]
            );
            match popped {
                Ok(_) => return Some(number),
                Err(now) => head = now,
            }
        }
    }
}

/// The head after `head` with another number on top.
fn step(head: u64, number: u32) -> u64 {
    (head >> 32).wrapping_add(1) << 32 | u64::from(number)
}

struct Slot {
    next: AtomicU32,
    /// The first node of a chunk; the slot's while it is among the full ones.
    chunk: UnsafeCell<*mut Link>,
}

/// Free nodes of all threads in chunks, and the node's budget; see the module's text.
pub struct Depot<M> {
    slots: Box<[Slot]>,
    full: Stack,
    vacant: Stack,
    /// Nodes outside the depot.
    messages: CachePadded<AtomicU64>,
    messages_max: u64,
    /// Bytes that pools have leased.
    bytes: CachePadded<AtomicU64>,
    bytes_max: u64,
    nodes: PhantomData<fn(M)>,
}

// SAFETY: a depot's nodes are empty, and a slot's chunk is touched only by whoever popped the slot.
unsafe impl<M: Send> Send for Depot<M> {}
// SAFETY: as above.
unsafe impl<M: Send> Sync for Depot<M> {}

impl<M> Depot<M> {
    /// An empty depot that gives out at most `messages_max` nodes, rounded up to a chunk, and leases `bytes_max` bytes.
    pub fn new(messages_max: u64, bytes_max: u64) -> Self {
        let slot = |number: usize| Slot {
            next: AtomicU32::new(if number + 1 < SLOTS { number as u32 + 1 } else { NONE }),
            chunk: UnsafeCell::new(ptr::null_mut()),
        };
        Self {
            slots: (0..SLOTS).map(slot).collect(),
            full: Stack::new(NONE),
            vacant: Stack::new(0),
            messages: CachePadded::new(AtomicU64::new(0)),
            messages_max: messages_max.next_multiple_of(CHUNK as u64),
            bytes: CachePadded::new(AtomicU64::new(0)),
            bytes_max,
            nodes: PhantomData,
        }
    }

    /// Nodes in mailboxes and pools now.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Bytes that pools have leased now: those in mailboxes and what the pools keep for the next.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that messages take now, with their nodes, and what `pools` pools may keep for the next not counted.
    pub fn memory(&self, pools: usize) -> u64 {
        let node = size_of::<Node<M>>() as u64;
        let kept = pools as u64 * (2 * CHUNK as u64 * node + 2 * BYTES_LEASE);
        (self.bytes() + self.messages() * node).saturating_sub(kept)
    }

    /// One chunk, unless the budget is used up.
    fn take(&self) -> Option<List> {
        add_up_to(&self.messages, CHUNK as u64, self.messages_max).then(|| self.take_counted())
    }

    /// One chunk, past the budget.
    #[cold]
    fn take_past(&self) -> List {
        self.messages.fetch_add(CHUNK as u64, Ordering::Relaxed);
        self.take_counted()
    }

    fn take_counted(&self) -> List {
        let Some(number) = self.full.pop(&self.slots) else {
            return Self::allocate();
        };
        let first = self.slots[number as usize].chunk.with(|chunk| {
            // SAFETY: we popped this slot, so its chunk is ours.
            unsafe { *chunk }
        });
        self.vacant.push(&self.slots, number);
        List { first, len: CHUNK }
    }

    fn allocate() -> List {
        let mut list = List::EMPTY;
        for _ in 0..CHUNK {
            // SAFETY: the node is new.
            unsafe { list.push(Node::<M>::allocate()) };
        }
        list
    }

    /// Takes back one chunk; gives it to the allocator if there is no room.
    fn give(&self, list: List) {
        let Some(number) = self.vacant.pop(&self.slots) else {
            return self.free(list);
        };
        self.messages.fetch_sub(list.len as u64, Ordering::Relaxed);
        self.slots[number as usize].chunk.with_mut(|chunk| {
            // SAFETY: we popped this slot, so it is ours.
            unsafe { *chunk = list.first }
        });
        self.full.push(&self.slots, number);
    }

    /// Gives nodes that were outside the depot to the allocator.
    fn free(&self, list: List) {
        self.messages.fetch_sub(list.len as u64, Ordering::Relaxed);
        Self::free_nodes(list);
    }

    fn free_nodes(mut list: List) {
        while let Some(link) = list.pop() {
            // SAFETY: nodes of a list are empty and ours.
            unsafe { Node::<M>::free(link) };
        }
    }

    fn lease(&self, n: u64) -> bool {
        add_up_to(&self.bytes, n, self.bytes_max)
    }

    /// Past the budget, up to as much again.
    #[cold]
    fn lease_past(&self, n: u64) -> bool {
        add_up_to(&self.bytes, n, self.bytes_max.saturating_mul(2))
    }

    fn unlease(&self, n: u64) {
        self.bytes.fetch_sub(n, Ordering::Relaxed);
    }
}

/// Adds `n` unless that exceeds `max`. Concurrent refusals may refuse each other; the bound holds.
fn add_up_to(word: &AtomicU64, n: u64, max: u64) -> bool {
    let before = word.fetch_add(n, Ordering::Relaxed);
    let fits = before.checked_add(n).is_some_and(|sum| sum <= max);
    if !fits {
        word.fetch_sub(n, Ordering::Relaxed);
    }
    fits
}

impl<M> Drop for Depot<M> {
    fn drop(&mut self) {
        while let Some(number) = self.full.pop(&self.slots) {
            let first = self.slots[number as usize].chunk.with(|chunk| {
                // SAFETY: we popped this slot, so its chunk is ours.
                unsafe { *chunk }
            });
            Self::free_nodes(List { first, len: CHUNK });
        }
    }
}

impl<M> fmt::Debug for Depot<M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Depot({} messages, {} bytes outside)", self.messages(), self.bytes())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::limits::DEPOT_CHUNKS_MAX;

    fn give(pool: &mut Pool<u64>, link: *mut Link) {
        // SAFETY: tests give empty nodes that they took.
        unsafe { pool.give(link) }
    }

    #[test]
    fn chunks_travel_from_who_frees_to_who_takes() {
        let depot = Arc::new(Depot::<u64>::new(1 << 20, 0));
        let (mut sender, mut receiver) = (Pool::new(&depot), Pool::new(&depot));
        let mut known = std::collections::HashSet::new();
        for round in 0..50 {
            let nodes: Vec<_> = (0..CHUNK).map(|_| sender.take().unwrap()).collect();
            let before = known.len();
            known.extend(nodes.iter().copied());
            assert!(round < 5 || known.len() == before, "no new node in round {round}");
            nodes.into_iter().for_each(|link| give(&mut receiver, link));
        }
        drop((sender, receiver));
        assert_eq!(depot.messages(), 0);
    }

    #[test]
    fn the_budget_is_counted_in_chunks() {
        let depot = Arc::new(Depot::<u64>::new(CHUNK as u64 + 1, 0));
        let (mut one, mut other) = (Pool::new(&depot), Pool::new(&depot));
        let mut nodes: Vec<_> = std::iter::from_fn(|| one.take()).collect();
        assert_eq!(nodes.len(), 2 * CHUNK);
        assert!(other.take().is_none());
        give(&mut other, nodes.pop().unwrap());
        assert!(other.take().map(|link| give(&mut one, link)).is_some());
        nodes.into_iter().for_each(|link| give(&mut one, link));
        drop((one, other));
        assert_eq!(depot.messages(), 0);
    }

    #[test]
    fn bytes_are_leased_in_steps_and_to_the_last() {
        let depot = Arc::new(Depot::<u64>::new(0, 3 * BYTES_LEASE));
        let (mut one, mut other) = (Pool::new(&depot), Pool::new(&depot));
        assert!(one.reserve_bytes(1));
        assert_eq!(depot.bytes(), BYTES_LEASE);
        let rest = 2 * BYTES_LEASE as usize;
        assert!(!other.reserve_bytes(rest + 1));
        assert!(other.reserve_bytes(rest - 1) && other.reserve_bytes(1) && !other.reserve_bytes(1));
        one.release_bytes(rest);
        assert_eq!(depot.bytes(), BYTES_LEASE + 1, "a surplus goes back");
        one.release_bytes(1);
        drop((one, other));
        assert_eq!(depot.bytes(), 0);
    }

    #[test]
    fn a_depot_keeps_a_bounded_number() {
        let depot = Arc::new(Depot::<u64>::new(u64::MAX / 2, 0));
        let mut pool = Pool::new(&depot);
        let nodes: Vec<_> = (0..(DEPOT_CHUNKS_MAX + 10) * CHUNK).map(|_| pool.take().unwrap()).collect();
        nodes.into_iter().for_each(|link| give(&mut pool, link));
        drop(pool);
        assert_eq!(depot.messages(), 0);
        assert_eq!(depot.vacant.pop(&depot.slots), None, "every slot is full");
    }

    #[test]
    fn many_threads_exchange_chunks() {
        let depot = Arc::new(Depot::<u64>::new(1 << 12, 1 << 20));
        std::thread::scope(|threads| {
            for thread in 1..4usize {
                let mut pool = Pool::new(&depot);
                threads.spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..20_000 {
                        if round * thread % 300 < 150 {
                            let Some(link) = pool.take() else { continue };
                            // SAFETY: the node is ours.
                            unsafe { Node::fill(link, thread as u64, round) };
                            held.push((link, round));
                        } else if let Some((link, round)) = held.pop() {
                            // SAFETY: it was filled above, and nobody else knows it.
                            assert_eq!(unsafe { Node::<u64>::empty(link) }, (thread as u64, round));
                            give(&mut pool, link);
                        }
                    }
                    held.into_iter().for_each(|(link, _)| give(&mut pool, link));
                });
            }
        });
        assert_eq!(depot.messages(), 0);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync::explore;
    use loom::thread;

    /// Takes a chunk of nodes, uses them, and gives them back: loom sees a node in two hands.
    fn use_chunk(pool: &mut Pool<u32>) {
        let nodes: Vec<_> = std::iter::from_fn(|| pool.take()).take(CHUNK).collect();
        for &link in &nodes {
            // SAFETY: the node is ours.
            unsafe { Node::fill(link, 7u32, 0) };
            // SAFETY: it was filled just now.
            assert_eq!(unsafe { Node::<u32>::empty(link) }, (7, 0));
        }
        for link in nodes {
            // SAFETY: the node is empty and ours.
            unsafe { pool.give(link) };
        }
    }

    /// M8: chunks change hands; none is lost, none is in two hands, the count ends at 0.
    #[test]
    fn chunks_between_two_pools() {
        explore(3, || {
            let depot = Arc::new(Depot::<u32>::new(4 * CHUNK as u64, 0));
            use_chunk(&mut Pool::new(&depot));
            let other = Arc::clone(&depot);
            let thread = thread::spawn(move || use_chunk(&mut Pool::new(&other)));
            use_chunk(&mut Pool::new(&depot));
            thread.join().unwrap();
            assert_eq!(depot.messages(), 0);
        });
    }

    /// M8: a pop that was interrupted while the stack was emptied and filled again does not take the old order (ABA).
    #[test]
    fn a_stack_that_comes_back() {
        explore(3, || {
            let slots: Arc<[Slot]> = (0..3)
                .map(|_| Slot { next: AtomicU32::new(NONE), chunk: UnsafeCell::new(ptr::null_mut()) })
                .collect();
            let stack = Arc::new(Stack::new(NONE));
            for number in [2, 1, 0] {
                stack.push(&slots, number);
            }
            let (other_slots, other) = (Arc::clone(&slots), Arc::clone(&stack));
            let thread = thread::spawn(move || other.pop(&other_slots));
            let first = stack.pop(&slots).unwrap();
            let second = stack.pop(&slots).unwrap();
            stack.push(&slots, first);
            let theirs = thread.join().unwrap().unwrap();
            let mut all = vec![second, theirs];
            all.extend(std::iter::from_fn(|| stack.pop(&slots)).take(3));
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2]);
        });
    }

    /// M8: a budget is not exceeded by two that ask at once.
    #[test]
    fn two_ask_for_the_last_chunk() {
        explore(3, || {
            let depot = Arc::new(Depot::<u32>::new(CHUNK as u64, 1));
            let other = Arc::clone(&depot);
            let ask = |depot: &Arc<Depot<u32>>| {
                let mut pool = Pool::new(depot);
                let (bytes, link) = (pool.reserve_bytes(1), pool.take());
                if let Some(link) = link {
                    // SAFETY: the node is empty and ours.
                    unsafe { pool.give(link) };
                }
                (bytes, link.is_some(), pool)
            };
            let thread = thread::spawn(move || ask(&other));
            let ours = ask(&depot);
            let theirs = thread.join().unwrap();
            assert!(!(ours.0 && theirs.0), "both got the byte");
            assert!(!(ours.1 && theirs.1), "both got the chunk");
        });
    }
}
