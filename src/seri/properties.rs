//! What holds for all values and for all bytes.

use super::outline::Outline;
use super::*;
use crate::limits::SERI_READ_DEPTH_MAX;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Any value that can be written, with all the things in it that Lua settles: keys that come twice, keys inside the
/// array range, integral floats as keys, nil as the value of a pair.
fn any_value() -> impl Strategy<Value = Value> {
    any_scalar().prop_recursive(5, 32, 6, |inner| {
        let key = inner.clone().prop_filter("no key", |key| {
            !matches!(key, Value::Nil) && !matches!(key, Value::Float(float) if float.is_nan())
        });
        (vec(inner.clone(), 0..5), vec((key, inner), 0..5))
            .prop_map(|(array, pairs)| Value::Table(Table { array, pairs }))
    })
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        (-2_i64..6).prop_map(Value::Int),
        any::<i64>().prop_map(Value::Int),
        (0..63_u32, any::<bool>()).prop_map(|(bits, negative)| {
            Value::Int(if negative { -(1_i64 << bits) } else { (1_i64 << bits) - 1 })
        }),
        any::<f64>().prop_filter("equal to itself", |float| !float.is_nan()).prop_map(Value::Float),
        (-2_i32..6).prop_map(|whole| Value::Float(whole.into())),
        // About the ends of the integers.
        (-9.3e18..9.3e18).prop_map(Value::Float),
        vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        any::<u64>().prop_map(Value::Pointer),
    ]
}

/// A table as Lua has it after its assignments: an independent account of what the reader makes of the bytes. Pairs
/// whose value is nil are not written.
fn settled(value: &Value) -> Value {
    let Value::Table(table) = value else { return value.clone() };
    let mut array: Vec<_> = table.array.iter().map(settled).collect();
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    for (key, value) in table.pairs.iter().filter(|(_, value)| *value != Value::Nil) {
        let key = match settled(key) {
            Value::Float(float) if float < 2_f64.powi(63) && float == (float as i64) as f64 => {
                Value::Int(float as i64)
            }
            key => key,
        };
        let value = settled(value);
        match key {
            Value::Int(index) if index > 0 && index as u64 <= array.len() as u64 => {
                array[index as usize - 1] = value
            }
            key => {
                if !matches!(key, Value::Table(_)) {
                    pairs.retain(|(earlier, _)| *earlier != key);
                }
                pairs.push((key, value));
            }
        }
    }
    Table { array, pairs }.into()
}

/// Bytes that begin like values.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let head = prop_oneof![
        any::<u8>(),
        prop::sample::select(&b"\x00\x01\x02\x09\x0a\x12\x22\x32\x42\x03\x0c\x15\x25\x06\x0e\x16\xfe"[..])
    ];
    vec(head, 0..200)
}

/// Bytes of memory that values take outside themselves.
fn footprint(values: &Vec<Value>) -> usize {
    values.capacity() * size_of::<Value>() + values.iter().map(footprint_of).sum::<usize>()
}

fn footprint_of(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.capacity(),
        Value::Table(table) => {
            let pairs = table.pairs.iter().map(|(key, value)| footprint_of(key) + footprint_of(value));
            let space = table.pairs.capacity() * size_of::<(Value, Value)>();
            footprint(&table.array) + space + pairs.sum::<usize>()
        }
        Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Pointer(_) => 0,
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Rich {
    id: u64,
    position: (f64, f32, f64),
    name: String,
    secret: Vec<u8>,
    scores: BTreeMap<i32, Vec<Option<i64>>>,
    mark: char,
    flags: [bool; 3],
    state: State,
    // Its pair has nil for value, and is not there.
    #[serde(default)]
    nothing: (),
    inner: Option<Box<Rich>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum State {
    Idle,
    Chasing(u32),
    Near(Option<i16>),
    Moving(i64, i8),
    Casting { spell: String, power: Option<f32> },
}

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::Idle),
        any::<u32>().prop_map(State::Chasing),
        any::<Option<i16>>().prop_map(State::Near),
        any::<(i64, i8)>().prop_map(|(x, y)| State::Moving(x, y)),
        (".*", proptest::option::of(-1.0_f32..1.0))
            .prop_map(|(spell, power)| State::Casting { spell, power }),
    ]
}

fn any_rich() -> impl Strategy<Value = Rich> {
    let leaf = (
        (
            0..=i64::MAX as u64,
            (-1e9_f64..1e9, -1e9_f32..1e9, -1e9_f64..1e9),
            ".{0,40}",
            vec(any::<u8>(), 0..9),
        ),
        (
            btree_map(-3_i32..5, vec(any::<Option<i64>>(), 0..40), 0..6),
            any::<char>(),
            any::<[bool; 3]>(),
            any_state(),
        ),
    )
        .prop_map(|((id, position, name, secret), (scores, mark, flags, state))| Rich {
            id,
            position,
            name,
            secret,
            scores,
            mark,
            flags,
            state,
            nothing: (),
            inner: None,
        });
    vec(leaf, 1..4).prop_map(|chain| {
        let wrap = |inner: Option<Rich>, outer: Rich| Some(Rich { inner: inner.map(Box::new), ..outer });
        chain.into_iter().fold(None, wrap).expect("at least one")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_come_back_as_lua_has_them(values in vec(any_value(), 0..4)) {
        let bytes = pack(&values).unwrap();
        let wanted: Vec<_> = values.iter().map(settled).collect();
        let unpacked = unpack(&bytes).unwrap();
        prop_assert_eq!(&unpacked, &wanted);
        // Settled values are written as they are.
        prop_assert_eq!(unpack(&pack(&wanted).unwrap()).unwrap(), wanted);
    }

    #[test]
    fn a_prefix_is_an_error_or_fewer_values(values in vec(any_value(), 1..4)) {
        let bytes = pack(&values).unwrap();
        let whole = unpack(&bytes).unwrap();
        for len in 0..bytes.len() {
            if let Ok(fewer) = unpack(&bytes[..len]) {
                prop_assert!(fewer.len() < whole.len());
                prop_assert_eq!(&fewer[..], &whole[..fewer.len()]);
            }
        }
    }

    #[test]
    fn no_bytes_panic_or_take_much_memory(bytes in any_bytes()) {
        check_bytes(&bytes)?;
    }

    #[test]
    fn no_damage_panics_or_takes_much_memory(
        values in vec(any_value(), 1..4),
        damages in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = pack(&values).unwrap();
        for (index, byte) in damages {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        check_bytes(&bytes)?;
    }

    #[test]
    fn types_come_back(rich in any_rich()) {
        let mut bytes = Vec::new();
        to_values(&rich, &mut bytes).unwrap();
        prop_assert_eq!(from_values::<Rich>(&bytes), Ok(rich.clone()));
        let value: Value = from_values(&bytes).unwrap();
        let mut again = Vec::new();
        to_values(&value, &mut again).unwrap();
        prop_assert_eq!(from_values::<Rich>(&again), Ok(rich));
    }

    #[test]
    fn a_variant_comes_back_as_message_and_as_value(state in any_state()) {
        let mut bytes = Vec::new();
        to_values(&state, &mut bytes).unwrap();
        prop_assert_eq!(from_values::<State>(&bytes), Ok(state.clone()));
        let values = unpack(&bytes).unwrap();
        prop_assert!(values[0].as_str().is_some_and(|name| variant_names::<State>().unwrap().contains(&name)));
        bytes.clear();
        to_values(&Some(&state), &mut bytes).unwrap();
        prop_assert_eq!(from_values::<Option<State>>(&bytes), Ok(Some(state.clone())));
        prop_assert_eq!(from_values::<State>(&bytes), Ok(state), "and in one table");
    }
}

/// What may be done with bytes of a peer.
fn check_bytes(bytes: &[u8]) -> Result<(), TestCaseError> {
    let _ = from_values::<Rich>(bytes);
    if let Err(fault) = from_values::<State>(bytes) {
        prop_assert!(fault.path(bytes).len() < 64 * (SERI_READ_DEPTH_MAX + 1));
    }
    let _ = from_values::<(State, Vec<Option<u8>>, BTreeMap<i64, Value>)>(bytes);
    if let Ok(outline) = Outline::new(bytes, Limits::default()) {
        prop_assert!(outline.footprint() <= 16 * bytes.len());
    }
    let Ok(values) = unpack(bytes) else { return Ok(()) };
    prop_assert!(footprint(&values) <= size_of::<Value>() * bytes.len(), "{} bytes", footprint(&values));
    if let Ok(packed) = pack(&values) {
        let again = unpack(&packed).unwrap();
        prop_assert_eq!(pack(&again).unwrap(), packed, "what was read is in Skynet's form");
    }
    Ok(())
}
