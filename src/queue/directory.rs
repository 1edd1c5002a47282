//! Which mailbox has which id, without a lock, a count or a fence on the way there.
//!
//! ```text
//!  segments            segment (4096 slots)         Mailbox<S, M>
//! ┌───┬───┬─ … ─┬───┐   ┌──────┬──────┬─ … ─┐        ┌────────────┐
//! │ ● │   │     │   │   │  ●   │      │     │        │            │
//! └─┼─┴───┴─────┴───┘   └──┼───┴──────┴─────┘        └────────────┘
//!   └────────────────────► └──────────────────────────►
//! ```
//!
//! A find is three dependent loads. What keeps the mailbox alive is *quiescence* (QSBR; Hart, McKenney and Brown, 2006):
//! a thread that finds is a [`Participant`] and says regularly that it holds no reference ([`Participant::quiescent`], one
//! load and, if something was retired, one store). References borrow from the participant, so the compiler refuses to
//! keep one over that point. A retired mailbox is out of its slot at once; it is freed when every participant has been
//! quiescent or offline since. Until then threads that found it before may still push: those messages come out
//! with it ([`Retired::finish`]).
//!
//! **Grace.** Retired mailboxes wait in batches. A batch gets the next era. Its grace is over when every participant's
//! word is that era, a later one, or offline.
//!
//! ```text
//!  reclaimer                                     participant
//!    slot := null, era := e       [Q1] release     quiescent: word := era       [Q1] acquire, [Q2] release
//!    gate: read-modify-write      [Q3] both        online:    word := era; gate: read-modify-write [Q3] both
//!    every word ≥ e or offline?   [Q2] acquire     offline:   word := OFFLINE   [Q2] release
//! ```
//!
//! A word ≥ e read through Q2: the participant's uses before are done, and through Q1 it sees the slot empty after.
//! `OFFLINE` read through Q2: the uses before are done. A participant that comes online at that moment passes the gate
//! before or after the reclaimer. Before: the reclaimer sees its word (online, an old era) and waits. After: it
//! sees the slot empty. The gate stands for a store-load fence, and only who comes online pays for it.
//!
//! **Ids** are given out in ascending order, wrapping in 24 bits, so that an id returns as late as possible; segments
//! that are full are passed over whole, and one that has become empty is freed after a grace as a mailbox is. Ids below `SERVICE_ID_FREE_MIN` are given on demand only. A generation, raised
//! with each insertion, tells the users of one id apart.
//!
//! Insertion, retiring and reclaiming take locks: they are the cold path.

use super::bounds::Bounds;
use super::mailbox::{Mailbox, Token};
use super::node::Node;
use super::pool::Pool;
use crate::limits::SERVICE_ID_FREE_MIN;
use crate::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{CachePadded, Mutex};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Bits of an id that choose the slot in a segment, and ids in all.
#[cfg(not(loom))]
const SLOT_BITS: u32 = 12;
#[cfg(not(loom))]
const IDS: u32 = crate::limits::SERVICE_IDS;
/// A model needs few slots, and each costs it time.
#[cfg(loom)]
const SLOT_BITS: u32 = 4;
#[cfg(loom)]
const IDS: u32 = 32;

const SLOTS: usize = 1 << SLOT_BITS;
const SEGMENTS: usize = (IDS >> SLOT_BITS) as usize;

/// The word of a participant that holds no reference and will find nothing.
const OFFLINE: u64 = 0;

/// Every service id is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("every service id is in use")]
pub struct Exhausted;

/// The service id is in use, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("service id {0} is taken")]
pub struct Taken(pub u32);

type Slot<S, M> = AtomicPtr<Mailbox<S, M>>;
type Segment<S, M> = [Slot<S, M>; SLOTS];

fn segment_of(local: u32) -> usize {
    (local >> SLOT_BITS) as usize
}

fn slot_of(local: u32) -> usize {
    local as usize % SLOTS
}

/// Mailboxes by id; see the module's text.
pub struct Directory<S, M> {
    /// Written under the lock of `ids`, read by every find.
    segments: Box<[AtomicPtr<Segment<S, M>>]>,
    /// The latest batch's. Written under the lock of `limbo`, read by every quiescent point.
    era: CachePadded<AtomicU64>,
    /// Passed by who comes online and by who starts a grace.
    gate: CachePadded<AtomicU64>,
    /// Retired and not yet reclaimed.
    retired: CachePadded<AtomicUsize>,
    ids: Mutex<Ids>,
    limbo: Mutex<Limbo<S, M>>,
}

/// Which ids are in use.
struct Ids {
    segments: Vec<Option<Box<Usage>>>,
    next: u32,
    generation: u32,
    len: usize,
}

/// Which ids of one segment are in use.
struct Usage {
    words: [u64; SLOTS.div_ceil(64)],
    used: usize,
}

/// What is retired, and whom it waits for.
struct Limbo<S, M> {
    participants: Vec<Arc<CachePadded<AtomicU64>>>,
    /// Retired since the last era. A segment comes after the mailbox that was its last.
    fresh: Vec<Dead<S, M>>,
    /// Retired before the era `until`.
    waiting: Vec<Dead<S, M>>,
    until: u64,
    /// Nobody can reach these any more; taken from the end.
    ready: Vec<Dead<S, M>>,
}

/// What can no longer be found.
enum Dead<S, M> {
    Mailbox(NonNull<Mailbox<S, M>>),
    Segment(NonNull<Segment<S, M>>),
}

// SAFETY: the pointers of a directory are mailboxes that are shared by their own rules; in limbo they are owned.
unsafe impl<S: Send, M: Send> Send for Directory<S, M> {}
// SAFETY: as above.
unsafe impl<S: Send, M: Send> Sync for Directory<S, M> {}

impl Usage {
    fn new() -> Box<Self> {
        Box::new(Self { words: [0; SLOTS.div_ceil(64)], used: 0 })
    }

    /// The first free slot from `from` on.
    fn free_from(&self, from: usize) -> Option<usize> {
        if self.used == SLOTS {
            return None;
        }
        let mut skip = from % 64;
        for word in from / 64..self.words.len() {
            let free = !self.words[word] >> skip << skip;
            if free != 0 {
                let slot = word * 64 + free.trailing_zeros() as usize;
                return (slot < SLOTS).then_some(slot);
            }
            skip = 0;
        }
        None
    }

    fn is_used(&self, slot: usize) -> bool {
        self.words[slot / 64] >> (slot % 64) & 1 == 1
    }

    fn set(&mut self, slot: usize, used: bool) {
        let bit = 1 << (slot % 64);
        if used {
            self.words[slot / 64] |= bit;
            self.used += 1;
        } else {
            self.words[slot / 64] &= !bit;
            self.used -= 1;
        }
    }
}

impl Ids {
    /// The next free id after the last one given.
    fn find_free(&self) -> Option<u32> {
        let (mut segment, mut from) = (segment_of(self.next), slot_of(self.next));
        // The first segment twice: from its middle, and at the end from its start.
        for _ in 0..=SEGMENTS {
            if segment == 0 {
                from = from.max(SERVICE_ID_FREE_MIN as usize);
            }
            let free = match &self.segments[segment] {
                Some(usage) => usage.free_from(from),
                None => Some(from),
            };
            if let Some(slot) = free {
                return Some((segment << SLOT_BITS | slot) as u32);
            }
            (segment, from) = ((segment + 1) % SEGMENTS, 0);
        }
        None
    }

    /// Marks an id as used and returns its generation, never 0.
    fn claim(&mut self, local: u32) -> u32 {
        self.segments[segment_of(local)].get_or_insert_with(Usage::new).set(slot_of(local), true);
        self.len += 1;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.generation
    }

    fn is_used(&self, local: u32) -> bool {
        self.segments[segment_of(local)].as_ref().is_some_and(|usage| usage.is_used(slot_of(local)))
    }

    /// Frees an id. True: its segment is empty and not the next to be used.
    fn release(&mut self, local: u32) -> bool {
        let number = segment_of(local);
        let Some(usage) = &mut self.segments[number] else { return false };
        usage.set(slot_of(local), false);
        self.len -= 1;
        let is_empty = usage.used == 0 && number != segment_of(self.next);
        if is_empty {
            self.segments[number] = None;
        }
        is_empty
    }
}

/// An id that is used but has no mailbox yet; gives it back if `make` panics.
struct Claim<'a, S, M> {
    directory: &'a Directory<S, M>,
    local: u32,
}

impl<S, M> Drop for Claim<'_, S, M> {
    fn drop(&mut self) {
        self.directory.release(self.local, None);
    }
}

impl<S, M> Directory<S, M> {
    /// An empty directory whose first id is `first_id` or the next that may be given out.
    pub fn new(first_id: u32) -> Self {
        let ids = Ids {
            segments: (0..SEGMENTS).map(|_| None).collect(),
            next: first_id % IDS,
            generation: 0,
            len: 0,
        };
        let limbo = Limbo {
            participants: Vec::new(),
            fresh: Vec::new(),
            waiting: Vec::new(),
            until: 0,
            ready: Vec::new(),
        };
        Self {
            segments: (0..SEGMENTS).map(|_| AtomicPtr::new(ptr::null_mut())).collect(),
            era: CachePadded::new(AtomicU64::new(OFFLINE + 1)),
            gate: CachePadded::new(AtomicU64::new(0)),
            retired: CachePadded::new(AtomicUsize::new(0)),
            ids: Mutex::new(ids),
            limbo: Mutex::new(limbo),
        }
    }

    /// Adds a mailbox under the next free id. `make` gets the id and the generation; the mailbox can be found once it has
    /// returned. Its token is the caller's.
    ///
    /// # Errors
    /// Every id is in use.
    pub fn insert(
        &self,
        bounds: Option<Bounds>,
        make: impl FnOnce(u32, u32) -> S,
    ) -> Result<Token<S, M>, Exhausted> {
        let mut ids = self.ids.lock();
        let local = ids.find_free().ok_or(Exhausted)?;
        ids.next = (local + 1) % IDS;
        let generation = ids.claim(local);
        drop(ids);
        Ok(self.publish(local, generation, bounds, make))
    }

    /// As [`Directory::insert`], under an id of the caller's choice.
    ///
    /// # Errors
    /// The id is in use, is 0, or has more than 24 bits.
    pub fn insert_at(
        &self,
        local: u32,
        bounds: Option<Bounds>,
        make: impl FnOnce(u32, u32) -> S,
    ) -> Result<Token<S, M>, Taken> {
        let mut ids = self.ids.lock();
        if local == 0 || local >= IDS || ids.is_used(local) {
            return Err(Taken(local));
        }
        let generation = ids.claim(local);
        drop(ids);
        Ok(self.publish(local, generation, bounds, make))
    }

    fn publish(
        &self,
        local: u32,
        generation: u32,
        bounds: Option<Bounds>,
        make: impl FnOnce(u32, u32) -> S,
    ) -> Token<S, M> {
        let claim = Claim { directory: self, local };
        let segment = self.segment(segment_of(local));
        let state = make(local, generation);
        std::mem::forget(claim);
        let token = Mailbox::create(local, generation, bounds.unwrap_or_default(), state);
        // [Q4] Release: publishes the new mailbox.
        segment[slot_of(local)].store(token.as_ptr().as_ptr(), Ordering::Release);
        token
    }

    /// The segment of an id that is claimed, made if there is none yet.
    fn segment(&self, number: usize) -> &Segment<S, M> {
        if let Some(segment) = self.find_segment(number) {
            return segment;
        }
        let _ids = self.ids.lock();
        if let Some(segment) = self.find_segment(number) {
            return segment;
        }
        let slots: Box<[Slot<S, M>]> = (0..SLOTS).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        let segment = Box::into_raw(slots).cast::<Segment<S, M>>();
        // [Q4] Release: publishes the empty slots.
        self.segments[number].store(segment, Ordering::Release);
        // SAFETY: a segment lives while an id in it is in use.
        unsafe { &*segment }
    }

    /// The segment, if there is one: for participants until their quiescent point, for others while an id in it is theirs.
    #[inline]
    fn find_segment(&self, number: usize) -> Option<&Segment<S, M>> {
        // [Q4] Acquire: sees the slots.
        let segment = self.segments.get(number)?.load(Ordering::Acquire);
        // SAFETY: a segment lives while an id in it is in use, and until the grace of its last user is over.
        unsafe { segment.as_ref() }
    }

    /// Adds a thread that will find mailboxes. It starts offline.
    pub fn register(self: &Arc<Self>) -> Participant<S, M> {
        let word = Arc::new(CachePadded::new(AtomicU64::new(OFFLINE)));
        self.limbo.lock().participants.push(Arc::clone(&word));
        Participant { directory: Arc::clone(self), word, seen: OFFLINE, unshared: PhantomData }
    }

    /// Takes a mailbox out of the directory; its id is free. It comes back from [`Directory::reclaim`] once nobody can
    /// hold a reference.
    ///
    /// # Panics
    /// If the token is another directory's.
    pub fn retire(&self, token: Token<S, M>) {
        let local = token.local();
        let mailbox = token.into_ptr();
        let slot = self.find_segment(segment_of(local)).map(|segment| &segment[slot_of(local)]);
        let slot = slot.filter(|slot| slot.load(Ordering::Relaxed) == mailbox.as_ptr());
        let slot = slot.expect("a token is retired where it was inserted");
        slot.store(ptr::null_mut(), Ordering::Relaxed);
        self.release(local, Some(mailbox));
    }

    /// Frees an id, and retires its mailbox and the segment if that is empty now.
    fn release(&self, local: u32, mailbox: Option<NonNull<Mailbox<S, M>>>) {
        let mut ids = self.ids.lock();
        let segment = if ids.release(local) { self.unlink_segment(segment_of(local)) } else { None };
        drop(ids);
        let mut limbo = self.limbo.lock();
        self.retired.fetch_add(usize::from(mailbox.is_some()), Ordering::Relaxed);
        limbo.fresh.extend(mailbox.map(Dead::Mailbox));
        limbo.fresh.extend(segment.map(Dead::Segment));
    }

    /// Under the lock of `ids`.
    fn unlink_segment(&self, number: usize) -> Option<NonNull<Segment<S, M>>> {
        let segment = self.segments[number].load(Ordering::Relaxed);
        self.segments[number].store(ptr::null_mut(), Ordering::Relaxed);
        NonNull::new(segment)
    }

    /// Whether something is retired and not reclaimed; one relaxed load.
    #[inline]
    pub fn has_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed) > 0
    }

    /// One retired mailbox that nobody can reach any more, if there is one.
    #[inline]
    pub fn reclaim(&self) -> Option<Retired<S, M>> {
        if self.has_retired() { self.reclaim_one() } else { None }
    }

    #[cold]
    fn reclaim_one(&self) -> Option<Retired<S, M>> {
        // Not tried only: of two that look before they sleep the second must see that the first is offline.
        let mut limbo = self.limbo.lock();
        if limbo.ready.is_empty() {
            self.end_grace(&mut limbo);
        }
        loop {
            match limbo.ready.pop()? {
                Dead::Segment(segment) => {
                    // SAFETY: its grace is over, and it is in no list any more.
                    unsafe { free_segment(segment) }
                }
                Dead::Mailbox(mailbox) => {
                    self.retired.fetch_sub(1, Ordering::Relaxed);
                    return Some(Retired { mailbox });
                }
            }
        }
    }

    /// Starts the next batch's grace if none runs, and ends it if it is over.
    fn end_grace(&self, limbo: &mut Limbo<S, M>) {
        if limbo.waiting.is_empty() {
            if limbo.fresh.is_empty() {
                return;
            }
            std::mem::swap(&mut limbo.fresh, &mut limbo.waiting);
            limbo.until = self.era.load(Ordering::Relaxed) + 1;
            // [Q1] Release: the batch's slots are empty.
            self.era.store(limbo.until, Ordering::Release);
            // [Q3] AcqRel: who came online before is seen below, who comes after sees the slots empty.
            self.gate.fetch_add(1, Ordering::AcqRel);
        }
        let is_past = |word: &Arc<CachePadded<AtomicU64>>| {
            // [Q2] Acquire: the participant's uses before are done.
            let era = word.load(Ordering::Acquire);
            era == OFFLINE || era >= limbo.until
        };
        if limbo.participants.iter().all(is_past) {
            std::mem::swap(&mut limbo.waiting, &mut limbo.ready);
        }
    }

    /// Mailboxes that are in the directory.
    pub fn len(&self) -> usize {
        self.ids.lock().len
    }

    /// Whether no mailbox is in the directory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids in use, ascending. Walks the whole directory: for listings and shutdown.
    pub fn locals(&self) -> Vec<u32> {
        let ids = self.ids.lock();
        let mut locals = Vec::with_capacity(ids.len);
        for (number, usage) in ids.segments.iter().enumerate() {
            let Some(usage) = usage else { continue };
            let used = (0..SLOTS).filter(|&slot| usage.is_used(slot));
            locals.extend(used.map(|slot| (number << SLOT_BITS | slot) as u32));
        }
        locals
    }
}

impl<S, M> Drop for Directory<S, M> {
    /// Nobody can find mailboxes any more. Idle ones are freed with what is in them. A mailbox whose token is still
    /// out there cannot be: it is left.
    fn drop(&mut self) {
        for number in 0..SEGMENTS {
            let Some(segment) = self.unlink_segment(number) else { continue };
            // SAFETY: nobody else knows it any more, and it is freed below.
            for slot in unsafe { segment.as_ref() } {
                if let Some(mailbox) = NonNull::new(slot.load(Ordering::Relaxed)) {
                    drop_if_idle(mailbox);
                }
            }
            // SAFETY: it is unlinked.
            unsafe { free_segment(segment) };
        }
        let mut limbo = self.limbo.lock();
        let Limbo { fresh, waiting, ready, .. } = &mut *limbo;
        for dead in fresh.drain(..).chain(waiting.drain(..)).chain(ready.drain(..)) {
            match dead {
                Dead::Segment(segment) => {
                    // SAFETY: it is in no list any more, and there are no participants.
                    unsafe { free_segment(segment) }
                }
                Dead::Mailbox(mailbox) => drop(Retired { mailbox }),
            }
        }
    }
}

/// Frees a segment.
///
/// # Safety
/// It is from [`Directory::segment`], and the caller is the last to know it.
unsafe fn free_segment<S, M>(segment: NonNull<Segment<S, M>>) {
    // SAFETY: it was boxed as a slice of this length, and the caller is the last to know it.
    drop(unsafe { Box::from_raw(segment.as_ptr()) });
}

fn drop_if_idle<S, M>(mailbox: NonNull<Mailbox<S, M>>) {
    // SAFETY: mailboxes in slots are alive.
    let is_idle = unsafe { mailbox.as_ref() }.is_idle();
    if is_idle {
        drop(Retired { mailbox });
    }
}

impl<S, M> fmt::Debug for Directory<S, M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Directory({} retired)", self.retired.load(Ordering::Relaxed))
    }
}

/// A mailbox that nobody can reach any more, with its state and the messages that came too late. Dropping it drops them.
#[derive(Debug)]
pub struct Retired<S, M> {
    mailbox: NonNull<Mailbox<S, M>>,
}

// SAFETY: it owns the mailbox; state and messages may cross threads.
unsafe impl<S: Send, M: Send> Send for Retired<S, M> {}

impl<S, M> Retired<S, M> {
    fn mailbox(&self) -> &Mailbox<S, M> {
        // SAFETY: the mailbox lives until this is consumed.
        unsafe { self.mailbox.as_ref() }
    }

    /// The id that it had.
    pub fn local(&self) -> u32 {
        self.mailbox().local()
    }

    /// Which user of the id it was.
    pub fn generation(&self) -> u32 {
        self.mailbox().generation()
    }

    /// Frees it: hands the messages that nobody handled to `late`, control first, the nodes to `pool`, and returns the
    /// state.
    pub fn finish(self, pool: &mut Pool<M>, late: impl FnMut(M)) -> S {
        let mailbox = std::mem::ManuallyDrop::new(self).mailbox;
        // SAFETY: `dissolve` gives empty nodes of this type that nobody else knows.
        let recycle = |link| unsafe { pool.give(link) };
        // SAFETY: its grace is over: nobody else knows it, and all uses happened before.
        unsafe { Mailbox::dissolve(mailbox, late, recycle) }
    }
}

impl<S, M> Drop for Retired<S, M> {
    fn drop(&mut self) {
        // SAFETY: `dissolve` gives empty nodes of this type that nobody else knows.
        let free = |link| unsafe { Node::<M>::free(link) };
        // SAFETY: its grace is over: nobody else knows it, and all uses happened before.
        drop(unsafe { Mailbox::dissolve(self.mailbox, drop, free) });
    }
}

/// A thread that finds mailboxes; see the module's text. Dropped it is offline and forgotten.
pub struct Participant<S, M> {
    directory: Arc<Directory<S, M>>,
    /// The era it saw last, or `OFFLINE`. Written by it, read by who reclaims.
    word: Arc<CachePadded<AtomicU64>>,
    /// What it wrote there.
    seen: u64,
    /// One thread at a time, which may change.
    unshared: PhantomData<Cell<()>>,
}

impl<S, M> Participant<S, M> {
    /// From now on it may find.
    pub fn online(&mut self) {
        if self.seen != OFFLINE {
            return;
        }
        // [Q1] Acquire: with this era, the slots emptied before it are seen empty.
        self.seen = self.directory.era.load(Ordering::Acquire);
        self.word.store(self.seen, Ordering::Relaxed);
        // [Q3] AcqRel: who starts a grace later sees the word; of who did before, the empty slots are seen.
        self.directory.gate.fetch_add(1, Ordering::AcqRel);
    }

    /// It holds no reference; between two dispatches. Does nothing offline.
    #[inline]
    pub fn quiescent(&mut self) {
        // [Q1] Acquire: what was retired before this era is seen gone.
        let era = self.directory.era.load(Ordering::Acquire);
        if era != self.seen && self.seen != OFFLINE {
            self.seen = era;
            // [Q2] Release: our uses before are done.
            self.word.store(era, Ordering::Release);
        }
    }

    /// It holds no reference and finds nothing until it is online again: before it sleeps.
    pub fn offline(&mut self) {
        self.seen = OFFLINE;
        // [Q2] Release: our uses before are done.
        self.word.store(OFFLINE, Ordering::Release);
    }

    /// Whether it may find.
    pub fn is_online(&self) -> bool {
        self.seen != OFFLINE
    }

    /// The mailbox with this id; good until the next quiescent point.
    ///
    /// # Panics
    /// If it is offline.
    #[inline]
    pub fn find(&self, local: u32) -> Option<&Mailbox<S, M>> {
        assert!(self.seen != OFFLINE, "an offline participant finds nothing");
        let segment = self.directory.find_segment(segment_of(local))?;
        // [Q4] Acquire: sees the mailbox.
        let mailbox = segment[slot_of(local)].load(Ordering::Acquire);
        // SAFETY: it was in its slot after our last quiescent point, so it lives until our next.
        unsafe { mailbox.as_ref() }
    }

    /// The directory that it finds in.
    pub fn directory(&self) -> &Arc<Directory<S, M>> {
        &self.directory
    }
}

impl<S, M> Drop for Participant<S, M> {
    fn drop(&mut self) {
        self.offline();
        let mut limbo = self.directory.limbo.lock();
        limbo.participants.retain(|word| !Arc::ptr_eq(word, &self.word));
    }
}

impl<S, M> fmt::Debug for Participant<S, M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Participant(era {})", self.seen)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod models;
