//! Who waits for a value of the data center that is not there yet.
//!
//! ```text
//!  WAIT "room", 7        root ─► "room": branch ─► 7: queue [A]
//!  WAIT "room", 7        root ─► "room": branch ─► 7: queue [A, B]
//!  WAIT "room"           refused: others wait below it
//!  WAIT "room", 7, "x"   refused: others wait above it
//! ```
//!
//! The rules are those of `datacenterd.lua`. A branch is gone with its last waiter; there it stays, and refuses whoever
//! waits for it later.

use super::tree::{Fault, Key, path};
use crate::limits::{DATACENTER_WAIT_BYTES_MAX, DATACENTER_WAITERS_MAX};
use crate::seri::Value;
use std::collections::BTreeMap;

type Branch<W> = BTreeMap<Key, Wait<W>>;

enum Wait<W> {
    Queue(Vec<W>),
    Branch(Branch<W>),
}

/// Whom an update wakes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Woken<W> {
    /// They waited for this value.
    Answered(Vec<W>),
    /// They waited for something above it, or below it, that now cannot come.
    Failed(Vec<W>),
}

/// See the module's text.
pub(super) struct Waits<W> {
    root: Branch<W>,
    len: usize,
}

impl<W> Default for Waits<W> {
    fn default() -> Self {
        Self { root: Branch::new(), len: 0 }
    }
}

impl<W> Waits<W> {
    /// Lets `waiter` wait. A nil among the keys ends them.
    ///
    /// # Errors
    /// Gives it back with the reason.
    pub(super) fn insert(&mut self, keys: &[Value], waiter: W) -> Result<(), (W, Fault)> {
        let named = keys.iter().skip(1).take_while(|key| **key != Value::Nil).count() + 1;
        let keys = match path(&keys[..named.min(keys.len())]) {
            Ok(keys) => keys,
            Err(fault) => return Err((waiter, fault)),
        };
        let bytes: usize = keys.iter().map(Key::bytes).sum();
        if bytes > DATACENTER_WAIT_BYTES_MAX {
            return Err((waiter, Fault::TooLong));
        }
        if self.len >= DATACENTER_WAITERS_MAX {
            return Err((waiter, Fault::Full));
        }
        if self.is_crossed(&keys) {
            return Err((waiter, Fault::Crossed));
        }
        self.queue(keys).push(waiter);
        self.len += 1;
        Ok(())
    }

    /// Whether others wait above or below.
    fn is_crossed(&self, keys: &[Key]) -> bool {
        let mut branch = &self.root;
        for (index, key) in keys.iter().enumerate() {
            match branch.get(key) {
                Some(Wait::Branch(below)) => branch = below,
                Some(Wait::Queue(_)) => return index + 1 < keys.len(),
                None => return false,
            }
        }
        true
    }

    /// The queue at the end of `keys`, which nothing crosses.
    fn queue(&mut self, keys: Vec<Key>) -> &mut Vec<W> {
        let last = keys.len() - 1;
        let mut branch = &mut self.root;
        for (index, key) in keys.into_iter().enumerate() {
            let wait = branch.entry(key).or_insert_with(|| match index {
                _ if index == last => Wait::Queue(Vec::new()),
                _ => Wait::Branch(Branch::new()),
            });
            match wait {
                Wait::Queue(queue) => return queue,
                Wait::Branch(below) => branch = below,
            }
        }
        unreachable!("a path has a last key")
    }

    /// A new value stands at `keys`: takes out whom that wakes.
    ///
    /// As in Lua, the first queue on the way decides, and the value stands behind the keys as if it were one more: who
    /// waits for `"a", "b"` fails when `"a"` becomes `"b"`.
    pub(super) fn wake(&mut self, keys: &[Value], value: &Value) -> Option<Woken<W>> {
        let words: Vec<&Value> = keys.iter().chain([value]).collect();
        let woken = take(&mut self.root, &words)?;
        let (Woken::Answered(waiters) | Woken::Failed(waiters)) = &woken;
        self.len -= waiters.len();
        Some(woken)
    }

    /// Drops every waiter that is gone.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&W) -> bool) {
        self.len = keep(&mut self.root, &is_gone);
    }
}

/// Calls itself only as deep as paths are.
fn take<W>(branch: &mut Branch<W>, words: &[&Value]) -> Option<Woken<W>> {
    let (word, rest) = words.split_first()?;
    let key = Key::of(word)?;
    match branch.get_mut(&key)? {
        Wait::Queue(queue) => {
            let queue = std::mem::take(queue);
            branch.remove(&key);
            Some(if rest.len() == 1 { Woken::Answered(queue) } else { Woken::Failed(queue) })
        }
        Wait::Branch(below) => {
            let woken = take(below, rest);
            if below.is_empty() {
                branch.remove(&key);
            }
            woken
        }
    }
}

/// How many are left.
fn keep<W>(branch: &mut Branch<W>, is_gone: &impl Fn(&W) -> bool) -> usize {
    let mut left = 0;
    branch.retain(|_, wait| {
        let here = match wait {
            Wait::Queue(queue) => {
                queue.retain(|waiter| !is_gone(waiter));
                queue.len()
            }
            Wait::Branch(below) => keep(below, is_gone),
        };
        left += here;
        here > 0
    });
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(texts: &str) -> Vec<Value> {
        texts.split('.').map(Value::from).collect()
    }

    fn waiting(paths: &[(&str, u32)]) -> Waits<u32> {
        let mut waits = Waits::default();
        for (path, waiter) in paths {
            assert_eq!(waits.insert(&keys(path), *waiter), Ok(()), "{path}");
        }
        waits
    }

    #[test]
    fn nobody_waits_above_or_below_others() {
        let mut waits = waiting(&[("a.b.c", 1), ("a.b.d", 2), ("a.b.c", 3), ("x", 4)]);
        for crossed in ["a", "a.b", "a.b.c.e", "x.y", "x.y.z"] {
            assert_eq!(waits.insert(&keys(crossed), 9), Err((9, Fault::Crossed)), "{crossed}");
        }
        assert_eq!(waits.len, 4);
    }

    #[test]
    fn keys_are_checked_and_end_at_a_nil() {
        let mut waits = Waits::default();
        let nan = Value::Float(f64::NAN);
        let long = Value::Bytes(vec![7; DATACENTER_WAIT_BYTES_MAX + 1]);
        for (path, fault) in [
            (vec![], Fault::BadKey),
            (vec![Value::Nil], Fault::BadKey),
            (vec![Value::Nil, "a".into()], Fault::BadKey),
            (vec!["a".into(), nan], Fault::BadKey),
            (vec![long], Fault::TooLong),
            ((0..200).map(Value::Int).collect(), Fault::TooLong),
        ] {
            assert_eq!(waits.insert(&path, 1), Err((1, fault)), "{path:?}");
        }
        assert_eq!(waits.insert(&["a".into(), Value::Nil, "b".into()], 1), Ok(()));
        assert_eq!(waits.wake(&keys("a"), &Value::Int(1)), Some(Woken::Answered(vec![1])));
        assert!(waits.root.is_empty());
    }

    #[test]
    fn an_update_wakes_as_lua_does() {
        let one = Value::Int(1);
        for (waiter, update, value, woken) in [
            ("a", "a", &one, Some(Woken::Answered(vec![5]))),
            ("a.b", "a.b", &one, Some(Woken::Answered(vec![5]))),
            ("a", "b", &one, None),
            ("a.b", "a.c", &one, None),
            ("a.b", "a", &one, None),
            ("a", "a.b", &one, Some(Woken::Failed(vec![5]))),
            ("a.b", "a.b.c", &one, Some(Woken::Failed(vec![5]))),
            ("a", "a.b.c", &one, Some(Woken::Failed(vec![5]))),
            // The value counts as a key.
            ("a.b", "a", &"b".into(), Some(Woken::Failed(vec![5]))),
            ("a.b.c", "a", &"b".into(), None),
        ] {
            let mut waits = waiting(&[(waiter, 5)]);
            assert_eq!(waits.wake(&keys(update), value), woken, "{waiter} {update}");
            assert_eq!(waits.len, usize::from(woken.is_none()));
            assert_eq!(waits.root.is_empty(), woken.is_some());
        }
    }

    #[test]
    fn a_branch_is_gone_with_its_last_waiter() {
        let mut waits = waiting(&[("a.b", 1), ("a.c", 2), ("d.e.f", 3)]);
        waits.forget(|waiter| *waiter == 3);
        assert_eq!(waits.insert(&keys("d"), 4), Ok(()));
        waits.wake(&keys("a.b"), &Value::Int(1));
        assert_eq!(waits.insert(&keys("a"), 5), Err((5, Fault::Crossed)));
        waits.wake(&keys("a.c"), &Value::Int(1));
        assert_eq!(waits.insert(&keys("a"), 5), Ok(()));
        assert_eq!(waits.len, 2);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut waits = Waits::default();
        for waiter in 0..DATACENTER_WAITERS_MAX {
            assert!(waits.insert(&[Value::Int(1)], waiter).is_ok());
        }
        assert_eq!(waits.insert(&[Value::Int(2)], 7), Err((7, Fault::Full)));
    }
}
