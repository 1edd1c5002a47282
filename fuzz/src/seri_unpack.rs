//! Any bytes as packed values: no panic, what was read, as values or as a type, is written and read again as the same, and
//! each fault has a path.

use serde::{Deserialize, Serialize};
use skyharbor::seri::{Limits, PackError, Reader, Value, from_values, pack, to_values, unpack, unpack_with};
use std::collections::BTreeMap;

/// A type that asks for every kind of value.
#[derive(Debug, Serialize, Deserialize)]
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

fn packed(any: &Any) -> Result<Vec<u8>, PackError> {
    let mut bytes = Vec::new();
    to_values(any, &mut bytes).map(|()| bytes)
}

/// As bytes, since NaN is not equal to itself.
fn check_typed(bytes: &[u8]) {
    match from_values::<Any>(bytes) {
        Ok(any) => match packed(&any) {
            Ok(first) => {
                let again = from_values::<Any>(&first).expect("what was packed can be unpacked");
                assert_eq!(packed(&again), Ok(first));
            }
            Err(error) => assert_eq!(error, PackError::TooDeep),
        },
        Err(fault) => assert!(!fault.path(bytes).is_empty() && fault.offset <= bytes.len()),
    }
}

/// One input.
pub fn check(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    while let Ok(Some(_)) = reader.read() {}
    check_typed(bytes);
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
}
