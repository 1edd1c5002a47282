//! Deadlines of one owner: a hierarchical timer wheel (Varghese and Lauck, 1987; Skynet's `skynet_timer.c`).
//!
//! ```text
//!  level 0   64 slots of 1 tick        ← fires from here
//!  level 1   64 slots of 64 ticks      ↑ a slot whose time comes is spread over the levels below
//!  …
//!  level 5   64 slots of 64⁵ ticks     what is later still waits in its last slot and is placed again
//! ```
//!
//! A tick is 2²⁰ ns, 1.05 ms. A deadline is rounded up to a tick: a timer never fires early, and at most one tick
//! late. Its level is given by the highest bit in which its tick differs from now, as in tokio's wheel. Insert and
//! cancel are O(1), the next deadline is O(levels); each level has a word with a bit per slot in use.
//!
//! Entries are kept in a slab and linked in both directions. A [`TimerKey`] has the entry's generation: a key whose timer
//! fired or was cancelled cancels nothing. No atomics: the wheel moves with its owner. 1.6 KiB, and
//! 24 bytes and the value per entry.

use crate::clock::Instant;
use std::fmt;

const TICK_BITS: u32 = 20;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 6;
/// How many ticks ahead an entry is placed at most: one slot of the last level less than a full turn, since the slot of
/// now is for now.
const AHEAD_MAX: u64 = (SLOTS as u64 - 1) << (SLOT_BITS * (LEVELS as u32 - 1));
const NONE: u32 = u32::MAX;

/// Names one timer; see [`Wheel::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey {
    index: u32,
    generation: u32,
}

/// Timers with values; see the module's text.
pub struct Wheel<T> {
    /// The tick up to which everything has fired.
    now: u64,
    levels: [Level; LEVELS],
    entries: Vec<Entry<T>>,
    /// The first free entry.
    free: u32,
    len: usize,
}

struct Level {
    /// A bit per slot in use.
    used: u64,
    /// The first entry of each slot; the list is a ring, so its `before` is the last.
    slots: [u32; SLOTS],
}

struct Entry<T> {
    /// When it fires, in ticks.
    tick: u64,
    next: u32,
    before: u32,
    generation: u32,
    /// Where it is linked, `level << 6 | slot`.
    place: u16,
    /// None: the entry is free.
    value: Option<T>,
}

impl<T> Wheel<T> {
    /// No timers; time starts at `now`.
    pub fn new(now: Instant) -> Self {
        const EMPTY: Level = Level { used: 0, slots: [NONE; SLOTS] };
        Self {
            now: now.nanos() >> TICK_BITS,
            levels: [EMPTY; LEVELS],
            entries: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    /// Timers that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a timer. One whose deadline has passed fires at the next call of [`Wheel::advance`].
    ///
    /// # Panics
    /// With 2³²−1 timers.
    pub fn insert(&mut self, deadline: Instant, value: T) -> TimerKey {
        let tick = deadline.nanos().div_ceil(1 << TICK_BITS);
        let index = self.allocate(tick, value);
        self.link(index);
        self.len += 1;
        TimerKey { index, generation: self.entries[index as usize].generation }
    }

    /// Takes a timer out before it fires. None: it fired or was cancelled.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.generation != key.generation || entry.value.is_none() {
            return None;
        }
        self.unlink(key.index);
        self.release(key.index)
    }

    /// When [`Wheel::advance`] should be called next: not later than the first deadline's tick, and often earlier if that
    /// is far away. None: no timer waits.
    pub fn next_deadline(&self) -> Option<Instant> {
        let (_, _, tick) = self.next_slot()?;
        Some(Instant::from_nanos(tick.saturating_mul(1 << TICK_BITS)))
    }

    /// The timers whose deadline is not after `now`, in the order of their ticks. What is not taken from the iterator
    /// fires at the next call.
    pub fn advance(&mut self, now: Instant) -> Expired<'_, T> {
        Expired { now, wheel: self }
    }

    /// The first timer whose deadline is not after `now`, if there is one: one step of [`Wheel::advance`].
    pub fn pop_expired(&mut self, now: Instant) -> Option<(TimerKey, T)> {
        let now = now.nanos() >> TICK_BITS;
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > now {
                break;
            }
            self.now = self.now.max(tick);
            if level > 0 {
                self.spread(level, slot);
                continue;
            }
            let index = self.levels[0].slots[slot];
            let generation = self.entries[index as usize].generation;
            self.unlink(index);
            return self.release(index).map(|value| (TimerKey { index, generation }, value));
        }
        self.now = self.now.max(now);
        None
    }

    /// The slot whose time comes first, and its time. On one level slots come in the order of time from now on; a lower
    /// level's come before a higher level's.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        for (number, level) in self.levels.iter().enumerate() {
            if level.used == 0 {
                continue;
            }
            let shift = SLOT_BITS * number as u32;
            let here = (self.now >> shift) as usize % SLOTS;
            let ahead = level.used.rotate_right(here as u32).trailing_zeros();
            let slot = (here + ahead as usize) % SLOTS;
            let start = (self.now >> shift << shift).saturating_add(u64::from(ahead) << shift);
            return Some((number, slot, start.max(self.now)));
        }
        None
    }

    /// Places a slot's entries again, seen from now.
    fn spread(&mut self, level: usize, slot: usize) {
        while self.levels[level].used >> slot & 1 == 1 {
            let index = self.levels[level].slots[slot];
            self.unlink(index);
            self.link(index);
        }
    }

    /// Where an entry belongs, seen from now.
    fn place(&self, tick: u64) -> (usize, usize) {
        let tick = tick.clamp(self.now, self.now + AHEAD_MAX);
        let differs = (tick ^ self.now) | (SLOTS as u64 - 1);
        let level = ((differs.ilog2() / SLOT_BITS) as usize).min(LEVELS - 1);
        (level, (tick >> (SLOT_BITS * level as u32)) as usize % SLOTS)
    }

    fn link(&mut self, index: u32) {
        let (level, slot) = self.place(self.entries[index as usize].tick);
        let first = self.levels[level].slots[slot];
        let (next, before) = if first == NONE {
            self.levels[level].used |= 1 << slot;
            self.levels[level].slots[slot] = index;
            (index, index)
        } else {
            (first, self.entries[first as usize].before)
        };
        self.entries[next as usize].before = index;
        self.entries[before as usize].next = index;
        let entry = &mut self.entries[index as usize];
        (entry.next, entry.before) = (next, before);
        entry.place = (level << SLOT_BITS | slot) as u16;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { next, before, place, .. } = self.entries[index as usize];
        let (level, slot) = (usize::from(place) >> SLOT_BITS, usize::from(place) % SLOTS);
        let level = &mut self.levels[level];
        if next == index {
            level.used &= !(1 << slot);
            level.slots[slot] = NONE;
            return;
        }
        if level.slots[slot] == index {
            level.slots[slot] = next;
        }
        self.entries[next as usize].before = before;
        self.entries[before as usize].next = next;
    }

    fn allocate(&mut self, tick: u64, value: T) -> u32 {
        let index = self.free;
        if index == NONE {
            let index = u32::try_from(self.entries.len()).ok().filter(|&index| index != NONE);
            let index = index.expect("at most 2^32 - 1 timers");
            let value = Some(value);
            self.entries.push(Entry { tick, next: index, before: index, generation: 0, place: 0, value });
            return index;
        }
        let entry = &mut self.entries[index as usize];
        self.free = entry.next;
        entry.tick = tick;
        entry.value = Some(value);
        index
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
        entry.value.take()
    }
}

impl<T> fmt::Debug for Wheel<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Wheel({} timers)", self.len)
    }
}

/// Timers that fire now; see [`Wheel::advance`].
#[derive(Debug)]
pub struct Expired<'a, T> {
    wheel: &'a mut Wheel<T>,
    now: Instant,
}

impl<T> Iterator for Expired<'_, T> {
    type Item = (TimerKey, T);

    fn next(&mut self) -> Option<Self::Item> {
        self.wheel.pop_expired(self.now)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn at(tick: u64) -> Instant {
        Instant::from_nanos(tick << TICK_BITS)
    }

    fn fired(wheel: &mut Wheel<u64>, now: Instant) -> Vec<u64> {
        wheel.advance(now).map(|(_, value)| value).collect()
    }

    #[test]
    fn timers_fire_in_order_and_never_early() {
        let mut wheel = Wheel::new(at(100));
        for tick in [5_000_000, 101, 164, 4_196, 100, 7] {
            wheel.insert(at(tick), tick);
        }
        wheel.insert(Instant::from_nanos((101 << TICK_BITS) + 1), 102);
        assert_eq!(fired(&mut wheel, at(100)), [100, 7], "what is late fires at once, first come first");
        assert_eq!(wheel.next_deadline(), Some(at(101)));
        assert_eq!(fired(&mut wheel, Instant::from_nanos((102 << TICK_BITS) - 1)), [101]);
        assert_eq!(fired(&mut wheel, at(5_000_000)), [102, 164, 4_196, 5_000_000]);
        assert_eq!((wheel.next_deadline(), wheel.len()), (None, 0));
    }

    #[test]
    fn a_key_cancels_once_and_only_its_timer() {
        let mut wheel = Wheel::new(at(0));
        let key = wheel.insert(at(10), 1);
        assert_eq!(wheel.cancel(key), Some(1));
        assert_eq!(wheel.cancel(key), None);
        let other = wheel.insert(at(10), 2);
        assert_eq!(other.index, key.index, "the entry is used again");
        assert_eq!(wheel.cancel(key), None);
        assert_eq!(fired(&mut wheel, at(10)), [2]);
        assert_eq!(wheel.cancel(other), None, "it fired");
    }

    #[test]
    fn the_farthest_deadline_waits() {
        let mut wheel = Wheel::new(at(3));
        let key = wheel.insert(Instant::FAR, 1);
        let next = wheel.next_deadline().unwrap();
        assert!(next > at(3) && next < Instant::FAR);
        assert_eq!(fired(&mut wheel, at(AHEAD_MAX * 3)), Vec::<u64>::new());
        assert_eq!(wheel.cancel(key), Some(1));
        let mut late = Wheel::new(Instant::FAR);
        late.insert(Instant::FAR, 2);
        assert!(late.next_deadline().is_some());
    }

    #[test]
    fn sizes_are_as_promised() {
        assert!(size_of::<Wheel<u32>>() <= 2048);
        assert!(size_of::<Entry<u64>>() <= 48);
    }

    /// The tick of [`Instant::FAR`], rounded down.
    const TICK_MAX: u64 = u64::MAX >> TICK_BITS;

    proptest! {
        #[test]
        fn a_wheel_is_a_sorted_map(start in 0u64..1 << 40, steps in prop::collection::vec((0u8..4, 0u32..44, any::<u64>()), 1..200)) {
            let mut wheel = Wheel::new(at(start));
            let mut model: BTreeMap<(u64, u64), TimerKey> = BTreeMap::new();
            let mut now = start;
            for (id, (step, bits, random)) in steps.into_iter().enumerate() {
                let id = id as u64;
                let far = (random & ((1 << bits) - 1)).min(TICK_MAX - now);
                match step {
                    0 | 1 => {
                        let tick = (now + far).saturating_sub(random >> 62);
                        model.insert((tick.max(now), id), wheel.insert(at(tick), id));
                    }
                    2 => {
                        let Some((&place, &key)) = model.iter().nth(random as usize % model.len().max(1)) else { continue };
                        model.remove(&place);
                        prop_assert_eq!(wheel.cancel(key), Some(place.1));
                        prop_assert_eq!(wheel.cancel(key), None);
                    }
                    _ => {
                        now += far;
                        let later = model.split_off(&(now + 1, 0));
                        let due = std::mem::replace(&mut model, later);
                        let fired: Vec<_> = wheel.advance(at(now)).map(|(key, id)| (id, key)).collect();
                        let mut sorted = fired.clone();
                        let tick = |id: u64| due.keys().find(|due| due.1 == id).map(|due| due.0);
                        prop_assert!(fired.is_sorted_by_key(|&(id, _)| tick(id)), "in the order of ticks");
                        sorted.sort_by_key(|&(id, _)| id);
                        let mut due: Vec<_> = due.into_iter().map(|((_, id), key)| (id, key)).collect();
                        due.sort_by_key(|&(id, _)| id);
                        prop_assert_eq!(sorted, due);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                let first = model.keys().next().map(|&(tick, _)| at(tick));
                prop_assert!(wheel.next_deadline() <= first, "{:?} {:?}", wheel.next_deadline(), first);
                prop_assert_eq!(wheel.next_deadline().is_some(), first.is_some());
            }
        }
    }
}
