//! A table of values: `"set", key, value` answers what was there, `"get", key` what is.

use crate::limits::{KV_BYTES_MAX, KV_ENTRIES_MAX};
use crate::message::{CallError, Kind, Payload};
use crate::runtime::{Context, Disposition, Message, Service};
use crate::seri::{self, Value};
use std::collections::HashMap;

/// Keeps values by key, in memory.
///
/// ```text
/// "get", key         answers the value, nil if there is none
/// "set", key, value  answers the value that was there before; a value of nil removes the key
/// ```
///
/// A key is a string, a boolean or a number; 1 and 1.0 are the same key, as in Lua. Everything else is refused:
///
/// | error | why |
/// |---|---|
/// | [`CallError::Unhandled`] | not packed values, or another command |
/// | [`CallError::Malformed`] | the bytes are no packed values |
/// | [`CallError::Failed`] with [`Kv::BAD_KEY`] | the key is missing, nil, NaN or a table |
/// | [`CallError::Failed`] with [`Kv::FULL`] | [`KV_ENTRIES_MAX`] keys or [`KV_BYTES_MAX`] bytes are reached |
#[derive(Debug)]
pub struct Kv {
    /// Packed values by packed keys.
    entries: HashMap<Box<[u8]>, Payload>,
    bytes: usize,
    bytes_max: usize,
}

impl Default for Kv {
    fn default() -> Self {
        Self { entries: HashMap::new(), bytes: 0, bytes_max: KV_BYTES_MAX }
    }
}

impl Kv {
    /// The key is missing, or of a type that no table takes or that nobody could ask for again.
    pub const BAD_KEY: u32 = 1;
    /// There is no room for another value.
    pub const FULL: u32 = 2;

    /// Executes one command of packed values; the answer is packed values too.
    fn execute(&mut self, command: &[u8]) -> Result<Payload, CallError> {
        let mut values = seri::unpack(command)?.into_iter();
        let mut next = || values.next().unwrap_or_default();
        let (verb, key, value) = (next(), next(), next());
        match verb.as_bytes() {
            Some(b"get") => Ok(self.value(&packed_key(&key)?)),
            Some(b"set") if value == Value::Nil => Ok(self.remove(&packed_key(&key)?)),
            Some(b"set") => self.insert(packed_key(&key)?, &value),
            Some(_) | None => Err(CallError::Unhandled),
        }
    }

    fn value(&self, key: &[u8]) -> Payload {
        self.entries.get(key).map_or_else(nil, |value| Payload::from(&value[..]))
    }

    fn remove(&mut self, key: &[u8]) -> Payload {
        let Some(old) = self.entries.remove(key) else { return nil() };
        self.bytes -= key.len() + old.len();
        old
    }

    fn insert(&mut self, key: Box<[u8]>, value: &Value) -> Result<Payload, CallError> {
        let packed = seri::pack(std::slice::from_ref(value)).map_err(|_| CallError::TooLarge)?;
        let old_bytes = self.entries.get(&key).map(|old| key.len() + old.len());
        let bytes = self.bytes - old_bytes.unwrap_or(0) + key.len() + packed.len();
        let entries = self.entries.len() + usize::from(old_bytes.is_none());
        if bytes > self.bytes_max || entries > KV_ENTRIES_MAX {
            return Err(CallError::Failed(Self::FULL));
        }
        self.bytes = bytes;
        Ok(self.entries.insert(key, Payload::from(packed)).unwrap_or_else(nil))
    }
}

impl Service for Kv {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        if message.kind() != Kind::LUA {
            return Disposition::Unhandled;
        }
        match self.execute(message.bytes()) {
            Ok(answer) => ctx.reply(answer),
            Err(reason) => ctx.fail(reason),
        }
        Disposition::Handled
    }
}

/// The one packed nil.
fn nil() -> Payload {
    Payload::from(&[0])
}

fn packed_key(key: &Value) -> Result<Box<[u8]>, CallError> {
    let bad = CallError::Failed(Kv::BAD_KEY);
    let plain = match key {
        Value::Nil | Value::Table(_) | Value::Pointer(_) => return Err(bad),
        Value::Float(number) if number.is_nan() => return Err(bad),
        Value::Float(number) => key.as_int().map_or(Value::Float(*number), Value::Int),
        Value::Bool(_) | Value::Int(_) | Value::Bytes(_) => key.clone(),
    };
    seri::pack(&[plain]).map(Vec::into_boxed_slice).map_err(|_| bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seri::{Table, pack, unpack};

    fn text(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }

    fn run(kv: &mut Kv, command: &[Value]) -> Result<Value, CallError> {
        let answer = kv.execute(&pack(command).unwrap())?;
        let mut values = unpack(&answer).unwrap();
        assert_eq!(values.len(), 1);
        Ok(values.remove(0))
    }

    fn set(kv: &mut Kv, key: Value, value: Value) -> Result<Value, CallError> {
        run(kv, &[text("set"), key, value])
    }

    fn get(kv: &mut Kv, key: Value) -> Result<Value, CallError> {
        run(kv, &[text("get"), key])
    }

    #[test]
    fn set_answers_what_was_there_and_get_what_is() {
        let mut kv = Kv::default();
        let table = Value::Table(Table::from_array(vec![Value::Int(1), text("x")]));
        assert_eq!(get(&mut kv, text("a")), Ok(Value::Nil));
        assert_eq!(set(&mut kv, text("a"), table.clone()), Ok(Value::Nil));
        assert_eq!(set(&mut kv, text("a"), Value::Int(2)), Ok(table));
        assert_eq!(get(&mut kv, text("a")), Ok(Value::Int(2)));
        assert_eq!(set(&mut kv, text("a"), Value::Nil), Ok(Value::Int(2)));
        assert_eq!(set(&mut kv, text("a"), Value::Nil), Ok(Value::Nil));
        assert_eq!((kv.entries.len(), kv.bytes), (0, 0));
    }

    #[test]
    fn keys_are_luas() {
        let mut kv = Kv::default();
        set(&mut kv, Value::Float(1.0), text("one")).unwrap();
        assert_eq!(get(&mut kv, Value::Int(1)), Ok(text("one")));
        assert_eq!(get(&mut kv, text("1")), Ok(Value::Nil));
        for bad in [Value::Nil, Value::Float(f64::NAN), Value::Table(Table::default()), Value::Pointer(1)] {
            assert_eq!(get(&mut kv, bad.clone()), Err(CallError::Failed(Kv::BAD_KEY)), "{bad:?}");
            assert_eq!(
                set(&mut kv, bad.clone(), Value::Int(1)),
                Err(CallError::Failed(Kv::BAD_KEY)),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn other_commands_are_refused() {
        let mut kv = Kv::default();
        assert_eq!(run(&mut kv, &[]), Err(CallError::Unhandled));
        assert_eq!(run(&mut kv, &[text("delete"), text("a")]), Err(CallError::Unhandled));
        assert_eq!(run(&mut kv, &[text("get")]), Err(CallError::Failed(Kv::BAD_KEY)));
        assert!(matches!(kv.execute(&[0xff]), Err(CallError::Malformed { .. })));
    }

    #[test]
    fn a_full_table_keeps_what_it_has() {
        let mut kv = Kv { bytes_max: 1_000, ..Kv::default() };
        let large = || Value::Bytes(vec![7; 300]);
        for key in 1..=3 {
            assert_eq!(set(&mut kv, Value::Int(key), large()), Ok(Value::Nil));
        }
        assert_eq!(set(&mut kv, Value::Int(4), large()), Err(CallError::Failed(Kv::FULL)));
        assert_eq!(get(&mut kv, Value::Int(4)), Ok(Value::Nil));
        assert_eq!(set(&mut kv, Value::Int(1), large()), Ok(large()), "no more than before");
        set(&mut kv, Value::Int(1), Value::Nil).unwrap();
        assert_eq!(set(&mut kv, Value::Int(4), large()), Ok(Value::Nil));
    }
}
