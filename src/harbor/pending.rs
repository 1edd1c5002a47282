//! Calls to peers that have no answer yet.
//!
//! ```text
//! index    (source, session) ──► place          one map for the node: an answer may come over another link
//! places   [ call │ call │ free │ call │ … ]    linked per peer, oldest first
//! peers    256 × (oldest, newest, len)          calls of services of this node
//!          256 × (oldest, newest, len)          calls that were passed on for services of other nodes
//! pairs    (source, dest) ──► newest place      linked too: when a callee dies, the calls to it are found
//! ```
//!
//! A call of ours leaves by its answer, by the word of its caller that it waits no more, or with its link: a call without
//! a deadline hears of that loss after days, too. The answer to a call that was passed on goes to its caller's node and is
//! not seen here, so that such a call is remembered for a while only.

use crate::clock::Instant;
use crate::limits::SLOTS;
use crate::message::{Handle, HarborId, Session};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

/// Source and session of a call, which its answer carries as destination and session.
pub(super) type CallKey = (Handle, Session);

/// Caller and callee.
type Pair = (Handle, Handle);

/// Whose calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of services of this node.
    Ours,
    /// Of services of other nodes, passed on by services of this node.
    Theirs,
}

/// A call that was handed to a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) key: CallKey,
    pub(super) dest: Handle,
    /// The number of its frame on the link.
    pub(super) frame: u64,
    /// When it may be forgotten.
    pub(super) expires: Instant,
}

impl Call {
    fn pair(&self) -> Pair {
        (self.key.0, self.dest)
    }
}

const NONE: u32 = u32::MAX;

struct Place {
    call: Call,
    older: u32,
    newer: u32,
    /// Among the calls of its pair.
    pair_older: u32,
    pair_newer: u32,
}

#[derive(Clone, Copy)]
struct List {
    oldest: u32,
    newest: u32,
    len: usize,
}

/// The table of pending calls; see the module's text.
pub(super) struct Pending {
    index: HashMap<CallKey, u32, KeyHash>,
    pairs: HashMap<Pair, u32, KeyHash>,
    places: Vec<Place>,
    free: Vec<u32>,
    peers: Box<[List; 2 * SLOTS]>,
    own: HarborId,
}

impl Pending {
    /// The table of node `own`; no peer knows the seed.
    pub(super) fn new(own: HarborId, seed: u64) -> Self {
        let empty = List { oldest: NONE, newest: NONE, len: 0 };
        let peers = Box::new([empty; 2 * SLOTS]);
        let hash = KeyHash::new(seed);
        let (index, pairs) = (HashMap::with_hasher(hash), HashMap::with_hasher(hash));
        Self { index, pairs, places: Vec::new(), free: Vec::new(), peers, own }
    }

    /// Whose the calls of this source are.
    pub(super) fn whose(&self, source: Handle) -> Whose {
        if source.is_remote(self.own) { Whose::Theirs } else { Whose::Ours }
    }

    fn list(&self, peer: HarborId, whose: Whose) -> &List {
        &self.peers[place_of(peer, whose)]
    }

    fn list_of(&mut self, call: &Call) -> &mut List {
        let whose = self.whose(call.key.0);
        &mut self.peers[place_of(call.dest.harbor(), whose)]
    }

    /// Calls that wait for this peer.
    pub(super) fn len(&self, peer: HarborId, whose: Whose) -> usize {
        self.list(peer, whose).len
    }

    /// Remembers a call to `call.dest`'s node. A call with the same key is replaced: its caller asks anew.
    pub(super) fn insert(&mut self, call: Call) {
        if let Some(place) = self.index.get(&call.key) {
            self.unlink(*place);
        }
        let place = self.link(call);
        self.index.insert(call.key, place);
    }

    /// Whether this call waits for its answer.
    pub(super) fn contains(&self, key: CallKey) -> bool {
        self.index.contains_key(&key)
    }

    /// The call that this answer ends.
    pub(super) fn remove(&mut self, key: CallKey) -> Option<Call> {
        let place = self.index.remove(&key)?;
        Some(self.unlink(place))
    }

    /// The oldest call to this peer.
    pub(super) fn pop(&mut self, peer: HarborId, whose: Whose) -> Option<Call> {
        let oldest = self.oldest(peer, whose)?;
        self.remove(oldest.key)
    }

    /// A call of this caller to this callee.
    pub(super) fn pop_pair(&mut self, caller: Handle, callee: Handle) -> Option<Call> {
        let newest = *self.pairs.get(&(caller, callee))?;
        self.remove(self.places[newest as usize].call.key)
    }

    /// The oldest call to this peer, if it is remembered long enough.
    pub(super) fn pop_expired(&mut self, peer: HarborId, whose: Whose, now: Instant) -> Option<Call> {
        if self.oldest(peer, whose)?.expires <= now { self.pop(peer, whose) } else { None }
    }

    /// When the oldest call that was passed on to this peer is forgotten.
    pub(super) fn deadline(&self, peer: HarborId) -> Option<Instant> {
        self.oldest(peer, Whose::Theirs).map(|call| call.expires)
    }

    fn oldest(&self, peer: HarborId, whose: Whose) -> Option<&Call> {
        let oldest = self.list(peer, whose).oldest;
        self.places.get(oldest as usize).map(|place| &place.call)
    }

    /// Puts a call behind the newest of its peer and of its pair.
    fn link(&mut self, call: Call) -> u32 {
        let List { newest, .. } = *self.list_of(&call);
        let pair_older = self.pairs.get(&call.pair()).copied().unwrap_or(NONE);
        let entry = Place { call, older: newest, newer: NONE, pair_older, pair_newer: NONE };
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = entry;
                place
            }
            None => {
                self.places.push(entry);
                (self.places.len() - 1) as u32
            }
        };
        if newest != NONE {
            self.places[newest as usize].newer = place;
        }
        if pair_older != NONE {
            self.places[pair_older as usize].pair_newer = place;
        }
        self.pairs.insert(call.pair(), place);
        let list = self.list_of(&call);
        if newest == NONE {
            list.oldest = place;
        }
        list.newest = place;
        list.len += 1;
        place
    }

    /// Takes a call out of its pair.
    fn part(&mut self, place: u32) {
        let Place { call, pair_older, pair_newer, .. } = self.places[place as usize];
        if let Some(older) = self.places.get_mut(pair_older as usize) {
            older.pair_newer = pair_newer;
        }
        match (pair_newer, pair_older) {
            (NONE, NONE) => drop(self.pairs.remove(&call.pair())),
            (NONE, older) => drop(self.pairs.insert(call.pair(), older)),
            (newer, older) => self.places[newer as usize].pair_older = older,
        }
    }

    /// Takes a call out of its peer's list and its pair, and frees its place.
    fn unlink(&mut self, place: u32) -> Call {
        self.part(place);
        let Place { call, older, newer, .. } = self.places[place as usize];
        if let Some(older) = self.places.get_mut(older as usize) {
            older.newer = newer;
        }
        if let Some(newer) = self.places.get_mut(newer as usize) {
            newer.older = older;
        }
        let list = self.list_of(&call);
        if older == NONE {
            list.oldest = newer;
        }
        if newer == NONE {
            list.newest = older;
        }
        list.len -= 1;
        self.free.push(place);
        call
    }
}

fn place_of(peer: HarborId, whose: Whose) -> usize {
    match whose {
        Whose::Ours => peer.index(),
        Whose::Theirs => SLOTS + peer.index(),
    }
}

/// A folded multiplicative hash with a secret: a request that is passed on has the source and the session that a peer
/// chose, who could otherwise put all of them into one place.
#[derive(Clone, Copy)]
pub(super) struct KeyHash {
    start: u64,
    factor: u64,
}

impl KeyHash {
    fn new(seed: u64) -> Self {
        let mix = |bits: u64| fold(bits ^ 0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93);
        let start = mix(seed);
        Self { start, factor: mix(start) | 1 }
    }
}

/// Without a secret: for keys that services of this node choose.
impl Default for KeyHash {
    fn default() -> Self {
        Self::new(0)
    }
}

impl BuildHasher for KeyHash {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher { state: self.start, factor: self.factor }
    }
}

pub(super) struct KeyHasher {
    state: u64,
    factor: u64,
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.state = fold(self.state ^ u64::from(word), self.factor);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

/// Both halves of the product.
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::Whose::{Ours, Theirs};
    use super::*;

    fn call(source: u32, session: u32, dest: u32, at: u64) -> Call {
        let key = (Handle::from_bits(source), Session::from_bits(session));
        Call { key, dest: Handle::from_bits(dest), frame: at, expires: Instant::from_nanos(at) }
    }

    const ONE: HarborId = HarborId::new(1);
    const TWO: HarborId = HarborId::new(2);
    const THREE: HarborId = HarborId::new(3);

    #[test]
    fn answers_leave_the_order_of_the_rest_alone() {
        let mut pending = Pending::new(ONE, 7);
        for n in 1..=5 {
            pending.insert(call(0x0100_0008, n, 0x0200_0009, u64::from(n)));
            pending.insert(call(0x0100_0009, n, 0x0300_0009, u64::from(n)));
        }
        for gone in [1, 3, 5] {
            let key = (Handle::from_bits(0x0100_0008), Session::from_bits(gone));
            assert_eq!(pending.remove(key).unwrap().frame, u64::from(gone));
            assert!(pending.remove(key).is_none(), "an answer ends a call once");
        }
        assert_eq!((pending.len(TWO, Ours), pending.len(THREE, Ours)), (2, 5));
        assert_eq!(pending.deadline(TWO), None, "ours are not forgotten");
        let order: Vec<u64> = std::iter::from_fn(|| pending.pop(TWO, Ours)).map(|call| call.frame).collect();
        assert_eq!(order, [2, 4]);
        assert_eq!(pending.len(THREE, Ours), 5);
    }

    #[test]
    fn places_are_reused_and_the_same_key_is_replaced() {
        let mut pending = Pending::new(ONE, 7);
        for n in 0..1000 {
            pending.insert(call(0x0100_0008, 7, 0x0200_0009, n));
            pending.insert(call(0x0100_0008, 7, 0x0300_0009, n));
        }
        assert_eq!((pending.len(TWO, Ours), pending.len(THREE, Ours)), (0, 1));
        assert!(pending.places.len() <= 2, "{}", pending.places.len());
        assert!(pending.pop_expired(THREE, Ours, Instant::from_nanos(998)).is_none());
        assert_eq!(pending.pop_expired(THREE, Ours, Instant::from_nanos(999)).unwrap().frame, 999);
        assert!(pending.index.is_empty() && pending.pairs.is_empty());
    }

    #[test]
    fn the_calls_of_a_pair_are_found_and_no_others() {
        let mut pending = Pending::new(ONE, 7);
        for n in 1..=6 {
            pending.insert(call(0x0100_0008, n, 0x0200_0009 + n % 2, u64::from(n)));
            pending.insert(call(0x0100_0009, n, 0x0200_0009, u64::from(n)));
        }
        let (caller, callee) = (Handle::from_bits(0x0100_0008), Handle::from_bits(0x0200_000a));
        // One of the middle was answered, the newest too.
        for gone in [3, 5] {
            pending.remove((caller, Session::from_bits(gone))).unwrap();
        }
        pending.insert(call(0x0100_0008, 9, 0x0200_000a, 9));
        let found: Vec<u64> =
            std::iter::from_fn(|| pending.pop_pair(caller, callee)).map(|call| call.frame).collect();
        assert_eq!(found, [9, 1]);
        assert_eq!((pending.len(TWO, Ours), pending.pairs.len()), (9, 2));
        while pending.pop(TWO, Ours).is_some() {}
        assert!(pending.pairs.is_empty() && pending.index.is_empty());
    }

    #[test]
    fn calls_that_were_passed_on_stand_in_a_list_of_their_own() {
        let mut pending = Pending::new(ONE, 7);
        for n in 1..=3 {
            pending.insert(call(0x0100_0008, n, 0x0200_0009, u64::from(n)));
            pending.insert(call(0x0300_0008, n, 0x0200_0009, 10 + u64::from(n)));
        }
        assert_eq!((pending.len(TWO, Ours), pending.len(TWO, Theirs)), (3, 3));
        assert_eq!(pending.deadline(TWO), Some(Instant::from_nanos(11)));
        assert!(pending.pop_expired(TWO, Theirs, Instant::from_nanos(10)).is_none());
        assert_eq!(pending.pop_expired(TWO, Theirs, Instant::from_nanos(11)).unwrap().frame, 11);
        assert_eq!(pending.pop(TWO, Ours).unwrap().frame, 1);
        assert_eq!((pending.len(TWO, Ours), pending.len(TWO, Theirs)), (2, 2));
    }

    /// Keys of the form that made a hash without a secret give each the same place.
    #[test]
    fn nobody_chooses_keys_that_share_a_place() {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let inverse = (0..6)
            .fold(FACTOR, |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(FACTOR.wrapping_mul(inverse))));
        let keys = (0u64..512).map(|n| {
            let mixed = n.rotate_right(6).wrapping_mul(inverse);
            let source = ((mixed >> 32) as u32).wrapping_mul(inverse as u32);
            let rotated = u64::from(source).wrapping_mul(FACTOR).rotate_left(32);
            (source, (rotated ^ mixed) as u32)
        });
        let hash = KeyHash::new(7);
        let places = keys.map(|(source, session)| {
            let mut hasher = hash.build_hasher();
            hasher.write_u32(source);
            hasher.write_u32(session);
            hasher.finish() % 1024
        });
        let places: std::collections::BTreeSet<u64> = places.collect();
        assert!(places.len() > 256, "{} places for 512 keys", places.len());
    }
}
