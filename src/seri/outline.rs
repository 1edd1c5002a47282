//! Where every value of a message lies.
//!
//! ```text
//!  bytes   0e 0a 05 0c 61 09 00 | 02        { 5, a = true }, 0
//!  spots   0 table, behind it: 4            each: offset of its first byte, and the spot behind the value
//!          1   element 1     : 2            with all that is inside it
//!          2   key "a"       : 3
//!          3   value true    : 4
//!          4 integer         : 5
//! ```
//!
//! One pass over the bytes makes the list, 8 bytes for each value (and 32 for each key of the table at hand). It is what makes a walk in any order safe and
//! linear: the bytes are known to be whole, nothing has to be skipped by reading it, and each table's pairs are
//! settled as Lua's assignments would settle them.

use super::error::{UnpackError, reason};
use super::format::{Token, decode};
use super::reader::{Limits, Reader};
use crate::limits::SERI_READ_DEPTH_MAX;
use smallvec::SmallVec;
use std::cmp::Ordering;

/// How many keys are compared each with each; more are sorted.
const KEYS_COMPARED_MAX: usize = 16;

/// The list of a message's values.
pub(super) struct Outline<'a> {
    bytes: &'a [u8],
    spots: SmallVec<[Spot; 32]>,
}

/// A value of the message, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(u32);

#[derive(Clone, Copy, Debug)]
struct Spot {
    /// Of the value's first byte. With [`MARK`]: of an element, the spot of the pair's value that replaced it; of a
    /// key, that the pair does not count.
    offset: u32,
    /// The spot behind this value and all that is inside it.
    end: u32,
}

const MARK: u32 = 1 << 31;

impl<'a> Outline<'a> {
    /// Reads the whole message.
    pub(super) fn new(bytes: &'a [u8], limits: Limits) -> Result<Self, UnpackError> {
        // The trees and types that are made of the list are walked by recursion, so no limit may be larger.
        let depth_max = limits.depth_max.min(SERI_READ_DEPTH_MAX);
        let bytes_max = limits.bytes_max.min(MARK as usize - 1);
        let mut reader = Reader::with_limits(bytes, Limits { depth_max, bytes_max });
        let mut outline = Self { bytes, spots: SmallVec::new() };
        let mut open: SmallVec<[(u32, usize); 8]> = SmallVec::new();
        loop {
            let offset = reader.offset() as u32;
            match reader.read()? {
                None => return Ok(outline),
                Some(Token::Table { array_len }) => {
                    open.push((outline.len(), array_len));
                    outline.push(offset);
                }
                Some(Token::End) => {
                    if let Some((table, array_len)) = open.pop() {
                        outline.spots[table as usize].end = outline.len();
                        outline.settle(table, array_len)?;
                    }
                }
                Some(
                    Token::Nil
                    | Token::Bool(_)
                    | Token::Int(_)
                    | Token::Float(_)
                    | Token::Bytes(_)
                    | Token::Pointer(_),
                ) => outline.push(offset),
            }
        }
    }

    /// The values of the message.
    pub(super) fn values(&self) -> impl Iterator<Item = Entry> + Clone {
        self.siblings(0, self.len())
    }

    /// Where a value begins.
    pub(super) fn offset(&self, entry: Entry) -> usize {
        self.spots[entry.0 as usize].offset as usize
    }

    /// The number of bytes, where missing values are.
    pub(super) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// A value; of a table what [`elements`](Self::elements) and [`pairs`](Self::pairs) want to know.
    pub(super) fn token(&self, entry: Entry) -> Result<Token<'a>, UnpackError> {
        Ok(decode(self.bytes, self.offset(entry))?.0)
    }

    /// A value that is a key.
    pub(super) fn key(&self, entry: Entry) -> Result<Token<'a>, UnpackError> {
        let fault = UnpackError { offset: self.offset(entry), reason: reason::NAN_KEY };
        self.token(entry)?.into_key().ok_or(fault)
    }

    /// The array part of a table.
    pub(super) fn elements(&self, table: Entry, array_len: usize) -> impl Iterator<Item = Entry> + Clone {
        self.siblings(table.0 + 1, self.spots[table.0 as usize].end).take(array_len).map(|element| match self
            .spots[element.0 as usize]
            .offset
        {
            offset if offset & MARK != 0 => Entry(offset & !MARK),
            _ => element,
        })
    }

    /// The keys and values of a table that count.
    pub(super) fn pairs(
        &self,
        table: Entry,
        array_len: usize,
    ) -> impl Iterator<Item = (Entry, Entry)> + Clone {
        let mut siblings = self.behind_elements(table.0, array_len);
        std::iter::from_fn(move || Some((siblings.next()?, siblings.next()?)))
            .filter(|(key, _)| self.spots[key.0 as usize].offset & MARK == 0)
    }

    /// The keys and values of a table, whether they count or not.
    fn behind_elements(&self, table: u32, array_len: usize) -> Siblings<'_> {
        let mut siblings = self.siblings(table + 1, self.spots[table as usize].end);
        if array_len > 0 {
            siblings.nth(array_len - 1);
        }
        siblings
    }

    /// Bytes of memory that the list takes outside itself.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        if self.spots.spilled() { self.spots.capacity() * size_of::<Spot>() } else { 0 }
    }

    fn siblings(&self, next: u32, stop: u32) -> Siblings<'_> {
        Siblings { spots: &self.spots, next, stop }
    }

    fn len(&self) -> u32 {
        self.spots.len() as u32
    }

    fn push(&mut self, offset: u32) {
        let end = self.len() + 1;
        self.spots.push(Spot { offset, end });
    }

    /// Does to the pairs of a table what Lua's assignments one after the other do.
    fn settle(&mut self, table: u32, array_len: usize) -> Result<(), UnpackError> {
        let Siblings { next: mut spot, stop: end, .. } = self.behind_elements(table, array_len);
        let mut elements = Vec::new();
        let mut keys: SmallVec<[(Token<'a>, u32); KEYS_COMPARED_MAX]> = SmallVec::new();
        while spot < end {
            let value = self.spots[spot as usize].end;
            let key = self.key(Entry(spot))?;
            match replaced_element(key, array_len) {
                Some(index) => {
                    if elements.is_empty() {
                        elements.extend(self.siblings(table + 1, end).take(array_len));
                    }
                    self.spots[elements[index].0 as usize].offset = MARK | value;
                    self.mark(spot);
                }
                None => {
                    // Two tables are never the same key: Lua compares which tables they are.
                    if !matches!(key, Token::Table { .. }) {
                        keys.push((key, spot));
                    }
                    if self.token(Entry(value))? == Token::Nil {
                        self.mark(spot);
                    }
                }
            }
            spot = self.spots[value as usize].end;
        }
        self.mark_repeated(keys);
        Ok(())
    }

    /// Takes back all but the last pair of each key.
    fn mark_repeated(&mut self, mut keys: SmallVec<[(Token<'a>, u32); KEYS_COMPARED_MAX]>) {
        if keys.len() <= KEYS_COMPARED_MAX {
            for (index, (earlier, spot)) in keys.iter().enumerate() {
                if keys[index + 1..].iter().any(|(later, _)| compare_keys(*earlier, *later).is_eq()) {
                    self.mark(*spot);
                }
            }
            return;
        }
        // A stable sort: the pairs of one key stay in their order.
        keys.sort_by(|(left, _), (right, _)| compare_keys(*left, *right));
        for pair in keys.windows(2) {
            if compare_keys(pair[0].0, pair[1].0).is_eq() {
                self.mark(pair[0].1);
            }
        }
    }

    fn mark(&mut self, key: u32) {
        self.spots[key as usize].offset |= MARK;
    }
}

/// The index of the element that a pair with this key replaces.
fn replaced_element(key: Token<'_>, array_len: usize) -> Option<usize> {
    let Token::Int(key) = key else { return None };
    let index = usize::try_from(key).ok()?.checked_sub(1)?;
    (index < array_len).then_some(index)
}

/// Some order of keys that are no tables.
fn compare_keys(left: Token<'_>, right: Token<'_>) -> Ordering {
    match (left, right) {
        (Token::Bool(left), Token::Bool(right)) => left.cmp(&right),
        (Token::Int(left), Token::Int(right)) => left.cmp(&right),
        (Token::Float(left), Token::Float(right)) => left.total_cmp(&right),
        (Token::Bytes(left), Token::Bytes(right)) => left.cmp(right),
        (Token::Pointer(left), Token::Pointer(right)) => left.cmp(&right),
        (left, right) => rank(left).cmp(&rank(right)),
    }
}

fn rank(key: Token<'_>) -> u8 {
    match key {
        Token::Nil | Token::End => 0,
        Token::Bool(_) => 1,
        Token::Int(_) => 2,
        Token::Float(_) => 3,
        Token::Bytes(_) => 4,
        Token::Pointer(_) => 5,
        Token::Table { .. } => 6,
    }
}

/// Values side by side, from one spot to another.
#[derive(Clone)]
struct Siblings<'o> {
    spots: &'o [Spot],
    next: u32,
    stop: u32,
}

impl Iterator for Siblings<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.next >= self.stop {
            return None;
        }
        let entry = Entry(self.next);
        self.next = self.spots[self.next as usize].end;
        Some(entry)
    }
}
