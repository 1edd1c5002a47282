//! The values of the data center: tables in tables, as `datacenterd.lua` keeps them.
//!
//! ```text
//!  root ─► "room" ─► 7 ─► "players" ─► 12          QUERY "room", 7, "players"   12
//!                     └─► "map"     ─► "cave"      QUERY "room", 7              {players = 12, map = "cave"}
//! ```
//!
//! A table that was set as a value and one that grew by setting keys below it are the same thing. What Lua raises as an
//! error is a [`Fault`] here, and what Lua grows without end has bounds. A refused update changes nothing.
//!
//! Every table knows what is in it, so nothing is written into a message that cannot carry it.

use crate::limits::{DATACENTER_BYTES_MAX, DATACENTER_ENTRIES_MAX, DATACENTER_KEYS_MAX, SERI_BYTES_MAX};
use crate::seri::{PackError, Value, Writer};
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

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), PackError> {
        match self {
            Self::Bool(value) => writer.bool(*value),
            Self::Int(value) => writer.int(*value),
            Self::Float(bits) => writer.float(f64::from_bits(*bits)),
            Self::Bytes(value) => writer.bytes(value),
            Self::Pointer(value) => writer.pointer(*value),
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

/// A value of the tree.
#[derive(Debug)]
pub(super) enum Item {
    /// Neither nil nor a table.
    Scalar(Value),
    Table(Branch),
}

/// A table, and what is in it.
#[derive(Debug, Default)]
pub(super) struct Branch {
    items: BTreeMap<Key, Item>,
    cost: Cost,
}

/// What something takes of the bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    entries: usize,
    bytes: usize,
}

impl Cost {
    fn of(key: &Key, item: &Item) -> Self {
        Self { entries: 1, bytes: key.bytes() }.plus(item.cost())
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

    /// How many bytes it has at least when it is packed: each value has a head.
    fn packed_len_min(self) -> usize {
        self.entries + self.bytes
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
        let mut branch = Branch::default();
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

    fn cost(&self) -> Cost {
        match self {
            Self::Scalar(Value::Bytes(bytes)) => Cost { entries: 0, bytes: bytes.len() },
            Self::Scalar(_) => Cost::default(),
            Self::Table(branch) => branch.cost,
        }
    }

    /// As one packed value.
    ///
    /// # Errors
    /// [`PackError::TooLarge`] and [`PackError::TooDeep`], the former before anything is written if the sizes say so.
    pub(super) fn pack(&self) -> Result<Vec<u8>, PackError> {
        if self.cost().packed_len_min() > SERI_BYTES_MAX {
            return Err(PackError::TooLarge);
        }
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        self.write(&mut writer)?;
        writer.finish()?;
        Ok(bytes)
    }

    /// Calls itself only as deep as the writer lets tables nest.
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), PackError> {
        let branch = match self {
            Self::Scalar(value) => return value.write(writer),
            Self::Table(branch) => branch,
        };
        let from_one = branch.items.range(Key::Int(1)..);
        let array = from_one.zip(1..).take_while(|((key, _), index)| **key == Key::Int(*index));
        let array_len = array.clone().count();
        writer.begin_table(array_len)?;
        for ((_, element), _) in array {
            element.write(writer)?;
        }
        let is_element = |key: &Key| matches!(key, Key::Int(index) if (1..=array_len as i64).contains(index));
        for (key, item) in branch.items.iter().filter(|(key, _)| !is_element(key)) {
            key.write(writer)?;
            item.write(writer)?;
        }
        writer.end()
    }
}

impl Branch {
    /// Puts an item there; what was there before.
    fn insert(&mut self, key: Key, item: Item) -> Option<Item> {
        let old = self.remove(&key);
        self.cost = self.cost.plus(Cost::of(&key, &item));
        self.items.insert(key, item);
        old
    }

    fn remove(&mut self, key: &Key) -> Option<Item> {
        let old = self.items.remove(key)?;
        self.cost = self.cost.minus(Cost::of(key, &old));
        Some(old)
    }

    /// Puts an item at the end of `keys`, or removes what is there; what was there before. Missing tables on the way are
    /// made. Calls itself only as deep as paths are.
    fn put(&mut self, keys: &[Key], new: Option<Item>) -> Result<Option<Item>, Fault> {
        let (key, rest) = keys.split_first().ok_or(Fault::BadKey)?;
        if rest.is_empty() {
            return Ok(match new {
                Some(item) => self.insert(key.clone(), item),
                None => self.remove(key),
            });
        }
        let mut below = self.remove(key).unwrap_or_else(|| Item::Table(Self::default()));
        let old = match &mut below {
            Item::Table(branch) => branch.put(rest, new),
            Item::Scalar(_) => Err(Fault::NotATable),
        };
        self.insert(key.clone(), below);
        old
    }
}

/// What a query finds.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// No value at all: there is nothing under the first key.
    Nothing,
    /// Nil, further down.
    Nil,
    Item(&'a Item),
}

/// See the module's text.
pub(super) struct Tree {
    root: Branch,
    most: Cost,
}

impl Default for Tree {
    fn default() -> Self {
        let most = Cost { entries: DATACENTER_ENTRIES_MAX, bytes: DATACENTER_BYTES_MAX };
        Self { root: Branch::default(), most }
    }
}

impl Tree {
    /// What is there. A nil among the keys ends them.
    pub(super) fn query(&self, keys: &[Value]) -> Result<Found<'_>, Fault> {
        let Some((first, rest)) = keys.split_first() else { return Ok(Found::Nothing) };
        let first = Key::of(first).and_then(|key| self.root.items.get(&key));
        let Some(mut item) = first else { return Ok(Found::Nothing) };
        for key in rest.iter().take_while(|key| **key != Value::Nil) {
            let below = match item {
                Item::Table(branch) => Key::of(key).and_then(|key| branch.items.get(&key)),
                // Lua looks among the methods of strings, where no values are.
                Item::Scalar(Value::Bytes(_)) => None,
                Item::Scalar(_) => return Err(Fault::NotATable),
            };
            let Some(below) = below else { return Ok(Found::Nil) };
            item = below;
        }
        Ok(Found::Item(item))
    }

    /// Puts a value there, nil to remove it; what was there before. Missing tables above it are made, also for nil.
    pub(super) fn update(&mut self, keys: &[Value], value: &Value) -> Result<Option<Item>, Fault> {
        let keys = path(keys)?;
        let new = Item::of(value)?;
        self.check(&keys, new.as_ref())?;
        self.root.put(&keys, new)
    }

    /// Whether there is room when `new` stands at the end of `keys`, and nothing in the way.
    fn check(&self, keys: &[Key], new: Option<&Item>) -> Result<(), Fault> {
        let (mut added, mut removed) = (Cost::default(), Cost::default());
        let mut branch = Some(&self.root);
        for (index, key) in keys.iter().enumerate() {
            let is_last = index + 1 == keys.len();
            let found = branch.and_then(|branch| branch.items.get(key));
            if is_last {
                added = new.map_or(added, |new| added.plus(Cost::of(key, new)));
                removed = found.map_or(removed, |old| Cost::of(key, old));
                break;
            }
            branch = match found {
                Some(Item::Table(below)) => Some(below),
                Some(Item::Scalar(_)) => return Err(Fault::NotATable),
                None => {
                    added = added.plus(Cost { entries: 1, bytes: key.bytes() });
                    None
                }
            };
        }
        let used = self.root.cost.plus(added).minus(removed);
        let grows = used.exceeds(self.root.cost);
        if grows && used.exceeds(self.most) { Err(Fault::Full) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seri::{Table, unpack};

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

    /// The values of an answer.
    fn unpacked(item: &Item) -> Value {
        unpack(&item.pack().expect("it fits")).expect("packed values").remove(0)
    }

    fn query(tree: &Tree, keys: &[Value]) -> Result<Option<Value>, Fault> {
        tree.query(keys).map(|found| match found {
            Found::Nothing => None,
            Found::Nil => Some(Value::Nil),
            Found::Item(item) => Some(unpacked(item)),
        })
    }

    fn update(tree: &mut Tree, keys: &[Value], value: &Value) -> Result<Option<Value>, Fault> {
        let old = tree.update(keys, value);
        assert_eq!(tree.root.cost, counted(&tree.root), "every table knows what is in it");
        old.map(|old| old.as_ref().map(unpacked))
    }

    /// What is in a table, counted one by one.
    fn counted(branch: &Branch) -> Cost {
        let mut cost = Cost::default();
        for (key, item) in &branch.items {
            if let Item::Table(below) = item {
                assert_eq!(below.cost, counted(below));
            }
            cost = cost.plus(Cost::of(key, item));
        }
        cost
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
            assert_eq!(update(&mut tree, &keys(path), &value), Ok(None));
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
            assert_eq!(query(&tree, &path), answer, "{path:?}");
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
            assert_eq!(update(&mut tree, &keys(path), &value), Ok(old), "{path}");
        }
        assert_eq!(query(&tree, &keys("deep")), Ok(Some(table(&[("er", Table::default().into())]))));
    }

    #[test]
    fn refused_updates_change_nothing() {
        let mut tree = tree();
        let used = tree.root.cost;
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
            assert_eq!(update(&mut tree, &path, &value), Err(fault), "{path:?} {value:?}");
        }
        assert_eq!(query(&tree, &keys("new")), Ok(None));
        assert_eq!(tree.root.cost, used);
    }

    #[test]
    fn what_is_used_is_exact_and_bounded() {
        let mut tree = Tree { most: Cost { entries: 5, bytes: 20 }, ..Tree::default() };
        assert_eq!(update(&mut tree, &keys("a.b.c"), &"0123456789".into()), Ok(None));
        assert_eq!(tree.root.cost, Cost { entries: 3, bytes: 13 });
        assert_eq!(
            update(&mut tree, &keys("a.b.c"), &"0123456789abcdefgh".into()),
            Err(Fault::Full),
            "bytes"
        );
        assert_eq!(update(&mut tree, &keys("1.2.3"), &int(1)), Err(Fault::Full), "entries");
        assert_eq!(
            update(&mut tree, &keys("x"), &Table::from_array(vec![int(1), int(2)]).into()),
            Err(Fault::Full)
        );
        assert_eq!(query(&tree, &keys("1")), Ok(None));
        assert_eq!(update(&mut tree, &keys("a.b"), &int(1)).map(|old| old.is_some()), Ok(true));
        assert_eq!(tree.root.cost, Cost { entries: 2, bytes: 2 });
        assert_eq!(update(&mut tree, &keys("a"), &Value::Nil).map(|old| old.is_some()), Ok(true));
        assert_eq!(tree.root.cost, Cost::default());
    }

    #[test]
    fn arrays_come_back_as_arrays() {
        let mut tree = Tree::default();
        let list = Value::from(Table {
            array: vec![int(1), Value::Nil, int(3)],
            pairs: vec![(int(4), int(4)), (Value::Float(0.5), int(5))],
        });
        update(&mut tree, &keys("list"), &list).unwrap();
        let pairs = vec![(int(3), int(3)), (int(4), int(4)), (Value::Float(0.5), int(5))];
        let kept = Table { array: vec![int(1)], pairs };
        assert_eq!(query(&tree, &keys("list")), Ok(Some(kept.into())));
        update(&mut tree, &["list".into(), Value::Float(2.0)], &int(2)).unwrap();
        let kept = Table { array: (1..=4).map(int).collect(), pairs: vec![(Value::Float(0.5), int(5))] };
        assert_eq!(query(&tree, &keys("list")), Ok(Some(kept.into())));
    }

    #[test]
    fn what_no_message_can_carry_is_refused_by_its_size() {
        let mut tree = Tree::default();
        let large = Value::Bytes(vec![7; SERI_BYTES_MAX / 2]);
        for key in ["a.b", "a.c"] {
            update(&mut tree, &keys(key), &large).expect("there is room");
        }
        let Ok(Found::Item(both)) = tree.query(&keys("a")) else { panic!("it is there") };
        assert!(both.cost().packed_len_min() > SERI_BYTES_MAX);
        assert_eq!(both.pack(), Err(PackError::TooLarge));
        // Many small values, and one level below.
        let many = Table::from_array(vec![Value::Bool(true); 1000]);
        update(&mut tree, &keys("d.many"), &many.into()).expect("there is room");
        let Ok(Found::Item(many)) = tree.query(&keys("d")) else { panic!("it is there") };
        assert_eq!(many.cost(), Cost { entries: 1001, bytes: 4 });
        assert_eq!(many.pack().map(|bytes| bytes.len() >= 1005), Ok(true));
    }
}
