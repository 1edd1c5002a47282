//! The values of the data center: tables in tables, as `datacenterd.lua` keeps them.
//!
//! ```text
//!  root ─► "room" ─► 7 ─► "players" ─► 12          QUERY "room", 7, "players"   12
//!                     └─► "map"     ─► "cave"      QUERY "room", 7              {players = 12, map = "cave"}
//! ```
//!
//! A table that was set as a value and one that grew by setting keys below it are the same thing. What Lua raises as an
//! error is a [`Fault`] here, and what Lua grows without end has bounds. A refused update changes nothing.

use crate::limits::{DATACENTER_BYTES_MAX, DATACENTER_ENTRIES_MAX, DATACENTER_KEYS_MAX};
use crate::seri::{Table, Value};
use std::collections::BTreeMap;

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A key is missing, nil, NaN or a table.
    BadKey,
    /// No room for another value or waiter.
    Full,
    /// A key below something that is no table.
    NotATable,
    /// More keys than a path has, or values nested deeper than messages are.
    TooLong,
    /// Others wait for a key above or below the one that is waited for.
    Crossed,
    /// What was waited for is a table now, or a key above it is a value.
    Branch,
}

/// What identifies an entry of a table; 1 and 1.0 are the same key, as in Lua.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Bool(bool),
    Int(i64),
    /// The bits of a float that is no integer.
    Float(u64),
    Bytes(Box<[u8]>),
    Pointer(u64),
}

impl Key {
    /// `None` for what is no key: nil and NaN in any table, and a table, which nobody could name a second time.
    pub(super) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Nil | Value::Table(_) => return None,
            Value::Float(number) if number.is_nan() => return None,
            Value::Float(number) => value.as_int().map_or(Self::Float(number.to_bits()), Self::Int),
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Bytes(value) => Self::Bytes(value.as_slice().into()),
            Value::Pointer(value) => Self::Pointer(*value),
        })
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(bits) => Value::Float(f64::from_bits(*bits)),
            Self::Bytes(value) => Value::Bytes(value.to_vec()),
            Self::Pointer(value) => Value::Pointer(*value),
        }
    }

    /// Bytes of a string, 0 for other keys.
    pub(super) fn bytes(&self) -> usize {
        if let Self::Bytes(value) = self { value.len() } else { 0 }
    }
}

/// The keys of a path; none is missing.
pub(super) fn path(keys: &[Value]) -> Result<Vec<Key>, Fault> {
    if keys.is_empty() {
        return Err(Fault::BadKey);
    }
    if keys.len() > DATACENTER_KEYS_MAX {
        return Err(Fault::TooLong);
    }
    keys.iter().map(|key| Key::of(key).ok_or(Fault::BadKey)).collect()
}

type Branch = BTreeMap<Key, Item>;

enum Item {
    /// Neither nil nor a table.
    Scalar(Value),
    Table(Branch),
}

/// What something takes of the bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    entries: usize,
    bytes: usize,
}

impl Cost {
    fn of_key(key: &Key) -> Self {
        Self { entries: 1, bytes: key.bytes() }
    }

    fn plus(self, other: Self) -> Self {
        Self { entries: self.entries + other.entries, bytes: self.bytes + other.bytes }
    }

    fn minus(self, other: Self) -> Self {
        Self { entries: self.entries - other.entries, bytes: self.bytes - other.bytes }
    }

    fn exceeds(self, most: Self) -> bool {
        self.entries > most.entries || self.bytes > most.bytes
    }
}

impl Item {
    /// `None` for nil. Calls itself only as deep as messages are read.
    fn of(value: &Value) -> Result<Option<Self>, Fault> {
        let table = match value {
            Value::Nil => return Ok(None),
            Value::Table(table) => table,
            scalar => return Ok(Some(Self::Scalar(scalar.clone()))),
        };
        let mut branch = Branch::new();
        for (index, element) in (1..).zip(&table.array) {
            if let Some(item) = Self::of(element)? {
                branch.insert(Key::Int(index), item);
            }
        }
        for (key, value) in &table.pairs {
            if let Some(item) = Self::of(value)? {
                branch.insert(Key::of(key).ok_or(Fault::BadKey)?, item);
            }
        }
        Ok(Some(Self::Table(branch)))
    }

    fn to_value(&self) -> Value {
        let branch = match self {
            Self::Scalar(value) => return value.clone(),
            Self::Table(branch) => branch,
        };
        let elements = (1..).map_while(|index| branch.get(&Key::Int(index)));
        let array: Vec<Value> = elements.map(Self::to_value).collect();
        let is_element =
            |key: &Key| matches!(key, Key::Int(index) if (1..=array.len() as i64).contains(index));
        let pairs = branch.iter().filter(|(key, _)| !is_element(key));
        let pairs = pairs.map(|(key, item)| (key.to_value(), item.to_value())).collect();
        Value::Table(Table { array, pairs })
    }

    fn cost(&self) -> Cost {
        match self {
            Self::Scalar(Value::Bytes(bytes)) => Cost { entries: 0, bytes: bytes.len() },
            Self::Scalar(_) => Cost::default(),
            Self::Table(branch) => branch
                .iter()
                .map(|(key, item)| Cost::of_key(key).plus(item.cost()))
                .fold(Cost::default(), Cost::plus),
        }
    }
}

/// See the module's text.
pub(super) struct Tree {
    root: Branch,
    used: Cost,
    most: Cost,
}

impl Default for Tree {
    fn default() -> Self {
        let most = Cost { entries: DATACENTER_ENTRIES_MAX, bytes: DATACENTER_BYTES_MAX };
        Self { root: Branch::new(), used: Cost::default(), most }
    }
}

impl Tree {
    /// What is there. `None`, no value at all, if there is nothing under the first key; nil further down. A nil among the
    /// keys ends them.
    pub(super) fn query(&self, keys: &[Value]) -> Result<Option<Value>, Fault> {
        let Some((first, rest)) = keys.split_first() else { return Ok(None) };
        let Some(mut item) = Key::of(first).and_then(|key| self.root.get(&key)) else { return Ok(None) };
        for key in rest.iter().take_while(|key| **key != Value::Nil) {
            let below = match item {
                Item::Table(branch) => Key::of(key).and_then(|key| branch.get(&key)),
                // Lua looks among the methods of strings, where no values are.
                Item::Scalar(Value::Bytes(_)) => None,
                Item::Scalar(_) => return Err(Fault::NotATable),
            };
            let Some(below) = below else { return Ok(Some(Value::Nil)) };
            item = below;
        }
        Ok(Some(item.to_value()))
    }

    /// Puts a value there, nil to remove it; what was there before. Missing tables above it are made, also for nil.
    pub(super) fn update(&mut self, keys: &[Value], value: &Value) -> Result<Option<Value>, Fault> {
        let mut keys = path(keys)?;
        let new = Item::of(value)?;
        let used = self.used_after(&keys, new.as_ref())?;
        let last = keys.pop().ok_or(Fault::BadKey)?;
        let mut branch = &mut self.root;
        for key in keys {
            let Item::Table(below) = branch.entry(key).or_insert_with(|| Item::Table(Branch::new())) else {
                return Err(Fault::NotATable);
            };
            branch = below;
        }
        let old = match new {
            Some(item) => branch.insert(last, item),
            None => branch.remove(&last),
        };
        self.used = used;
        Ok(old.map(|old| old.to_value()))
    }

    /// What will be used when `new` stands at the end of `keys`.
    fn used_after(&self, keys: &[Key], new: Option<&Item>) -> Result<Cost, Fault> {
        let (mut added, mut removed) = (Cost::default(), Cost::default());
        let mut branch = Some(&self.root);
        for (index, key) in keys.iter().enumerate() {
            let is_last = index + 1 == keys.len();
            let found = branch.and_then(|branch| branch.get(key));
            if is_last {
                added = new.map_or(added, |new| added.plus(Cost::of_key(key)).plus(new.cost()));
                removed = found.map_or(removed, |old| Cost::of_key(key).plus(old.cost()));
                break;
            }
            branch = match found {
                Some(Item::Table(below)) => Some(below),
                Some(Item::Scalar(_)) => return Err(Fault::NotATable),
                None => {
                    added = added.plus(Cost::of_key(key));
                    None
                }
            };
        }
        let used = self.used.plus(added).minus(removed);
        let grows = used.exceeds(self.used);
        if grows && used.exceeds(self.most) { Err(Fault::Full) } else { Ok(used) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(value: i64) -> Value {
        Value::Int(value)
    }

    fn keys(texts: &str) -> Vec<Value> {
        texts.split('.').map(Value::from).collect()
    }

    fn table(pairs: &[(&str, Value)]) -> Value {
        Table::from_pairs(pairs.iter().map(|(key, value)| (Value::from(*key), value.clone())).collect())
            .into()
    }

    fn tree() -> Tree {
        let mut tree = Tree::default();
        for (path, value) in [
            ("number", int(5)),
            ("text", "cave".into()),
            ("no", Value::Bool(false)),
            ("room.size", int(7)),
            ("room.name", "hall".into()),
        ] {
            assert_eq!(tree.update(&keys(path), &value), Ok(None));
        }
        tree
    }

    #[test]
    fn queries_answer_as_lua_does() {
        let tree = tree();
        let nothing = Ok(None);
        let nil = Ok(Some(Value::Nil));
        for (path, answer) in [
            (vec![], nothing.clone()),
            (vec![Value::Nil], nothing.clone()),
            (keys("missing"), nothing.clone()),
            (keys("missing.below"), nothing.clone()),
            (vec![Value::Float(f64::NAN)], nothing.clone()),
            (vec![Table::default().into()], nothing),
            (keys("number"), Ok(Some(int(5)))),
            (keys("no"), Ok(Some(Value::Bool(false)))),
            (keys("room"), Ok(Some(table(&[("name", "hall".into()), ("size", int(7))])))),
            (keys("room.size"), Ok(Some(int(7)))),
            (
                vec!["room".into(), Value::Nil, "size".into()],
                Ok(Some(table(&[("name", "hall".into()), ("size", int(7))]))),
            ),
            (keys("room.missing"), nil.clone()),
            (keys("room.missing.below"), nil.clone()),
            (vec!["room".into(), Table::default().into()], nil.clone()),
            (keys("text.below"), nil),
            (keys("number.below"), Err(Fault::NotATable)),
            (keys("no.below"), Err(Fault::NotATable)),
            (keys("room.size.below"), Err(Fault::NotATable)),
        ] {
            assert_eq!(tree.query(&path), answer, "{path:?}");
        }
    }

    #[test]
    fn updates_answer_what_was_there_and_merge_tables() {
        let mut tree = tree();
        for (path, value, old) in [
            ("number", int(6), Some(int(5))),
            ("number", Value::Nil, Some(int(6))),
            ("number", Value::Nil, None),
            ("no", Value::Bool(true), Some(Value::Bool(false))),
            ("door", table(&[("open", Value::Bool(true))]), None),
            ("door.key", int(1), None),
            ("door.open", int(2), Some(Value::Bool(true))),
            ("door", int(3), Some(table(&[("key", int(1)), ("open", int(2))]))),
            ("deep.er.still", Value::Nil, None),
        ] {
            assert_eq!(tree.update(&keys(path), &value), Ok(old), "{path}");
        }
        assert_eq!(tree.query(&keys("deep")), Ok(Some(table(&[("er", Table::default().into())]))));
    }

    #[test]
    fn refused_updates_change_nothing() {
        let mut tree = tree();
        let used = tree.used;
        let long: Vec<Value> = (0..=DATACENTER_KEYS_MAX as i64).map(int).collect();
        let table_key = Table::from_pairs(vec![(Table::default().into(), int(1))]);
        for (path, value, fault) in [
            (vec![], int(1), Fault::BadKey),
            (vec![Value::Nil], int(1), Fault::BadKey),
            (vec!["new".into(), Value::Nil], int(1), Fault::BadKey),
            (vec!["new".into(), Value::Float(f64::NAN)], int(1), Fault::BadKey),
            (vec!["new".into(), Table::default().into()], int(1), Fault::BadKey),
            (keys("new"), table_key.into(), Fault::BadKey),
            (keys("number.below"), int(1), Fault::NotATable),
            (keys("number.below"), Value::Nil, Fault::NotATable),
            (keys("text.below"), int(1), Fault::NotATable),
            (keys("no.below.it"), int(1), Fault::NotATable),
            (long, int(1), Fault::TooLong),
        ] {
            assert_eq!(tree.update(&path, &value), Err(fault), "{path:?} {value:?}");
        }
        assert_eq!(tree.query(&keys("new")), Ok(None));
        assert_eq!(tree.used, used);
    }

    #[test]
    fn what_is_used_is_exact_and_bounded() {
        let mut tree = Tree { most: Cost { entries: 5, bytes: 20 }, ..Tree::default() };
        assert_eq!(tree.update(&keys("a.b.c"), &"0123456789".into()), Ok(None));
        assert_eq!(tree.used, Cost { entries: 3, bytes: 13 });
        assert_eq!(tree.update(&keys("a.b.c"), &"0123456789abcdefgh".into()), Err(Fault::Full), "bytes");
        assert_eq!(tree.update(&keys("1.2.3"), &int(1)), Err(Fault::Full), "entries");
        assert_eq!(
            tree.update(&keys("x"), &Table::from_array(vec![int(1), int(2)]).into()),
            Err(Fault::Full)
        );
        assert_eq!(tree.query(&keys("1")), Ok(None));
        assert_eq!(tree.update(&keys("a.b"), &int(1)).map(|old| old.is_some()), Ok(true));
        assert_eq!(tree.used, Cost { entries: 2, bytes: 2 });
        assert_eq!(tree.update(&keys("a"), &Value::Nil).map(|old| old.is_some()), Ok(true));
        assert_eq!(tree.used, Cost::default());
    }

    #[test]
    fn arrays_come_back_as_arrays() {
        let mut tree = Tree::default();
        let list = Value::from(Table {
            array: vec![int(1), Value::Nil, int(3)],
            pairs: vec![(int(4), int(4)), (Value::Float(0.5), int(5))],
        });
        tree.update(&keys("list"), &list).unwrap();
        let pairs = vec![(int(3), int(3)), (int(4), int(4)), (Value::Float(0.5), int(5))];
        let kept = Table { array: vec![int(1)], pairs };
        assert_eq!(tree.query(&keys("list")), Ok(Some(kept.into())));
        tree.update(&["list".into(), Value::Float(2.0)], &int(2)).unwrap();
        let kept = Table { array: (1..=4).map(int).collect(), pairs: vec![(Value::Float(0.5), int(5))] };
        assert_eq!(tree.query(&keys("list")), Ok(Some(kept.into())));
    }
}
