//! Any bytes as packed values: no panic, and what was read is written and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use skyharbor::seri::{Limits, PackError, Reader, Value, from_values, pack, unpack, unpack_with};
use std::collections::BTreeMap;

/// A type that asks for every kind of value.
#[derive(Debug, Deserialize)]
#[allow(dead_code)]
enum Any {
    Unit,
    Number(i64),
    Small(u8, i16, f32),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Option<Any>>),
    Map(BTreeMap<i64, Any>),
    Fields { name: Option<String>, inner: Option<Box<Any>>, fixed: Option<[u8; 3]> },
    Wrapped(Box<Any>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[allow(dead_code)]
enum Loose {
    Flag(bool),
    Number(f64),
    Text(String),
    List(Vec<Loose>),
    Map(BTreeMap<String, Loose>),
}

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new(bytes);
    while let Ok(Some(_)) = reader.read() {}
    let _ = from_values::<Any>(bytes);
    let _ = from_values::<Loose>(bytes);
    let _ = from_values::<(Value, Vec<Option<u8>>, BTreeMap<String, Value>)>(bytes);
    let _ = unpack_with(bytes, &Limits { depth_max: 3, bytes_max: 64 });
    let Ok(values) = unpack(bytes) else { return };
    let packed = match pack(&values) {
        Ok(packed) => packed,
        Err(error) => {
            assert_eq!(error, PackError::TooDeep, "nothing else that was read cannot be written");
            return;
        }
    };
    let again = unpack(&packed).expect("what was packed can be unpacked");
    // As bytes, since NaN is not equal to itself.
    assert_eq!(pack(&again), Ok(packed));
});
