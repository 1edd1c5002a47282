//! Calls to peers that have no answer yet.
//!
//! ```text
//! index    (source, session) ──► place          one map for the node: an answer may come over another link
//! places   [ call │ call │ free │ call │ … ]    linked per peer, oldest first
//! peers    256 × (oldest, newest, len)
//! ```
//!
//! All calls are remembered equally long, so the oldest of a peer is the first to be forgotten.

use crate::clock::Instant;
use crate::limits::SLOTS;
use crate::message::{Handle, HarborId, Session};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Source and session of a call, which its answer carries as destination and session.
pub(super) type CallKey = (Handle, Session);

/// A call that was handed to a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) key: CallKey,
    pub(super) dest: Handle,
    /// The number of its frame on the link.
    pub(super) frame: u64,
    pub(super) expires: Instant,
}

const NONE: u32 = u32::MAX;

struct Place {
    call: Call,
    older: u32,
    newer: u32,
}

#[derive(Clone, Copy)]
struct List {
    oldest: u32,
    newest: u32,
    len: usize,
}

/// The table of pending calls; see the module's text.
pub(super) struct Pending {
    index: HashMap<CallKey, u32, BuildHasherDefault<KeyHasher>>,
    places: Vec<Place>,
    free: Vec<u32>,
    peers: Box<[List; SLOTS]>,
}

impl Pending {
    pub(super) fn new() -> Self {
        let empty = List { oldest: NONE, newest: NONE, len: 0 };
        let peers = Box::new([empty; SLOTS]);
        Self { index: HashMap::default(), places: Vec::new(), free: Vec::new(), peers }
    }

    /// Calls that wait for this peer.
    pub(super) fn len(&self, peer: HarborId) -> usize {
        self.peers[peer.index()].len
    }

    /// Remembers a call to `call.dest`'s node. A call with the same key is replaced: its caller asks anew.
    pub(super) fn insert(&mut self, call: Call) {
        if let Some(place) = self.index.get(&call.key) {
            self.unlink(*place);
        }
        let place = self.link(call);
        self.index.insert(call.key, place);
    }

    /// The call that this answer ends.
    pub(super) fn remove(&mut self, key: CallKey) -> Option<Call> {
        let place = self.index.remove(&key)?;
        Some(self.unlink(place))
    }

    /// The oldest call to this peer.
    pub(super) fn pop(&mut self, peer: HarborId) -> Option<Call> {
        let oldest = self.oldest(peer)?;
        self.remove(oldest.key)
    }

    /// The oldest call to this peer, if it is remembered long enough.
    pub(super) fn pop_expired(&mut self, peer: HarborId, now: Instant) -> Option<Call> {
        if self.oldest(peer)?.expires <= now { self.pop(peer) } else { None }
    }

    /// When the oldest call to this peer is forgotten.
    pub(super) fn deadline(&self, peer: HarborId) -> Option<Instant> {
        self.oldest(peer).map(|call| call.expires)
    }

    fn oldest(&self, peer: HarborId) -> Option<&Call> {
        let oldest = self.peers[peer.index()].oldest;
        self.places.get(oldest as usize).map(|place| &place.call)
    }

    /// Puts a call behind the newest of its peer.
    fn link(&mut self, call: Call) -> u32 {
        let list = &mut self.peers[call.dest.harbor().index()];
        let entry = Place { call, older: list.newest, newer: NONE };
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
        match list.newest {
            NONE => list.oldest = place,
            newest => self.places[newest as usize].newer = place,
        }
        list.newest = place;
        list.len += 1;
        place
    }

    /// Takes a call out of its peer's list and frees its place.
    fn unlink(&mut self, place: u32) -> Call {
        let Place { call, older, newer } = self.places[place as usize];
        let list = &mut self.peers[call.dest.harbor().index()];
        match older {
            NONE => list.oldest = newer,
            older => self.places[older as usize].newer = newer,
        }
        match newer {
            NONE => list.newest = older,
            newer => self.places[newer as usize].older = older,
        }
        list.len -= 1;
        self.free.push(place);
        call
    }
}

/// A fixed multiplicative hash. The keys are chosen by services of this node, never by a peer.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.0 = (self.0.rotate_left(32) ^ u64::from(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(source: u32, session: u32, dest: u32, at: u64) -> Call {
        let key = (Handle::from_bits(source), Session::from_bits(session));
        Call { key, dest: Handle::from_bits(dest), frame: at, expires: Instant::from_nanos(at) }
    }

    const TWO: HarborId = HarborId::new(2);
    const THREE: HarborId = HarborId::new(3);

    #[test]
    fn answers_leave_the_order_of_the_rest_alone() {
        let mut pending = Pending::new();
        for n in 1..=5 {
            pending.insert(call(0x0100_0008, n, 0x0200_0009, u64::from(n)));
            pending.insert(call(0x0100_0009, n, 0x0300_0009, u64::from(n)));
        }
        for gone in [1, 3, 5] {
            let key = (Handle::from_bits(0x0100_0008), Session::from_bits(gone));
            assert_eq!(pending.remove(key).unwrap().frame, u64::from(gone));
            assert!(pending.remove(key).is_none(), "an answer ends a call once");
        }
        assert_eq!((pending.len(TWO), pending.len(THREE)), (2, 5));
        assert_eq!(pending.deadline(TWO), Some(Instant::from_nanos(2)));
        let order: Vec<u64> = std::iter::from_fn(|| pending.pop(TWO)).map(|call| call.frame).collect();
        assert_eq!(order, [2, 4]);
        assert_eq!(pending.len(THREE), 5);
    }

    #[test]
    fn places_are_reused_and_the_same_key_is_replaced() {
        let mut pending = Pending::new();
        for n in 0..1000 {
            pending.insert(call(0x0100_0008, 7, 0x0200_0009, n));
            pending.insert(call(0x0100_0008, 7, 0x0300_0009, n));
        }
        assert_eq!((pending.len(TWO), pending.len(THREE)), (0, 1));
        assert!(pending.places.len() <= 2, "{}", pending.places.len());
        assert!(pending.pop_expired(THREE, Instant::from_nanos(998)).is_none());
        assert_eq!(pending.pop_expired(THREE, Instant::from_nanos(999)).unwrap().frame, 999);
        assert!(pending.index.is_empty());
    }
}
