//! Packed values as JSON, both ways and without loss.
//!
//! | packed value | JSON |
//! |---|---|
//! | nil, boolean, integer | `null`, `true`/`false`, a number without fraction |
//! | float | a number with fraction or exponent; `{"float": "nan"}`, `"inf"`, `"-inf"` |
//! | string, UTF-8 | a string |
//! | string, other bytes | `{"bytes": "00ff"}` |
//! | table with an array part only, or empty | an array |
//! | other table | an object; the integer key 5 is `"5"` |
//! | table that no object can show | `{"pairs": [[key, value], …]}` |
//! | light userdata | `{"pointer": "0x…"}`, shown only: it means nothing in another process |
//!
//! A key that reads like an integer is one, in both directions: a string key `"5"`, a key that is neither string nor
//! integer, or a table that would look like one of the forms above is shown as pairs.

use crate::limits::JSON_DEPTH_MAX;
use serde_json::{Map, Value as Json};
use skyharbor::seri::{Table, Value};
use std::collections::BTreeSet;

/// Why a value has no JSON, or JSON no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// The tables nest too deeply to be shown.
    TooDeep,
    /// An integer past 64 bits with a sign.
    Range(String),
    /// `{"bytes": …}` without pairs of hexadecimal digits.
    Hex(String),
    /// `{"float": …}` with another text than `nan`, `inf` and `-inf`.
    Float(String),
    /// `{"pairs": …}` with something else than `[key, value]` inside, or `null` as key.
    Pairs,
    /// `{"pointer": …}`.
    Pointer,
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooDeep => write!(out, "the values nest more than {JSON_DEPTH_MAX} levels of JSON"),
            Self::Range(number) => {
                // An integer may have as many digits as a request has bytes.
                const SHOWN_MAX: usize = 40;
                let shown: String = number.chars().take(SHOWN_MAX).collect();
                let cut = if shown.len() < number.len() { "…" } else { "" };
                write!(out, "{shown}{cut} does not fit 64 bits with a sign")
            }
            Self::Hex(text) => write!(out, "\"bytes\" must be pairs of hexadecimal digits, not {text:?}"),
            Self::Float(text) => write!(out, "\"float\" must be \"nan\", \"inf\" or \"-inf\", not {text:?}"),
            Self::Pairs => {
                write!(out, "\"pairs\" must be an array of [key, value] with keys that are not null")
            }
            Self::Pointer => write!(out, "a pointer means nothing in another process"),
        }
    }
}

impl std::error::Error for JsonError {}

/// One JSON value for each packed value.
pub(crate) fn from_values(values: &[Value]) -> Result<Vec<Json>, JsonError> {
    values.iter().map(|value| show(value, 1)).collect()
}

/// The first integer of a JSON text that does not fit 64 bits with a sign. A reader of JSON takes those of more than 64
/// bits for floats, and nobody would notice the digits that are lost. What is no JSON is for the reader to refuse.
pub(crate) fn find_unfit_integer(text: &[u8]) -> Option<JsonError> {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let len = match byte {
            b'"' => string_len(&text[at..]),
            b'-' | b'0'..=b'9' => number_len(&text[at..]),
            _ => 1,
        };
        if byte != b'"' && len > 18 {
            let number = String::from_utf8_lossy(&text[at..at + len]);
            let is_integer = number.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
            if is_integer && number.parse::<i64>().is_err() {
                return Some(JsonError::Range(number.into_owned()));
            }
        }
        at += len;
    }
    None
}

fn number_len(text: &[u8]) -> usize {
    let part = |byte: &&u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    text.iter().take_while(part).count()
}

/// The length of a string with its quotes; one that is not closed ends with the text.
fn string_len(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// One packed value for each JSON value.
pub(crate) fn to_values(json: &[Json]) -> Result<Vec<Value>, JsonError> {
    json.iter().map(read).collect()
}

fn show(value: &Value, depth: usize) -> Result<Json, JsonError> {
    if depth > JSON_DEPTH_MAX {
        return Err(JsonError::TooDeep);
    }
    Ok(match value {
        Value::Nil => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Float(value) if value.is_nan() => single("float", Json::from("nan")),
        Value::Float(f64::INFINITY) => single("float", Json::from("inf")),
        Value::Float(f64::NEG_INFINITY) => single("float", Json::from("-inf")),
        Value::Float(value) => Json::from(*value),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Json::from(text),
            Err(_) => single("bytes", Json::from(hexadecimal(bytes))),
        },
        Value::Pointer(bits) => single("pointer", Json::from(format!("0x{bits:016x}"))),
        Value::Table(table) if table.pairs.is_empty() => Json::Array(show_all(&table.array, depth + 1)?),
        Value::Table(table) => match object_keys(table) {
            Some(keys) => Json::Object(show_members(keys, table, depth)?),
            None => show_pairs(table, depth)?,
        },
    })
}

fn show_all(values: &[Value], depth: usize) -> Result<Vec<Json>, JsonError> {
    values.iter().map(|value| show(value, depth)).collect()
}

/// The texts of a table's keys, if each has one of its own and the object would be read as this table. It looks at no
/// value inside the values: each is shown once, however deep it lies.
fn object_keys(table: &Table) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    let mut seen = BTreeSet::new();
    for (key, _) in entries(table) {
        let text = match &key {
            Value::Int(key) => key.to_string(),
            Value::Bytes(key) => {
                std::str::from_utf8(key).ok().filter(|key| integer(key).is_none())?.to_owned()
            }
            Value::Nil | Value::Bool(_) | Value::Float(_) | Value::Pointer(_) | Value::Table(_) => {
                return None;
            }
        };
        if !seen.insert(text.clone()) {
            return None;
        }
        keys.push(text);
    }
    let mut members = keys.iter().zip(entries(table));
    let looks_special = match (members.next(), members.next()) {
        (Some((key, (_, value))), None) => is_special(key, is_text(value), is_list(value)),
        _ => false,
    };
    (!looks_special).then_some(keys)
}

/// Whether a value is shown as a JSON string.
fn is_text(value: &Value) -> bool {
    value.as_bytes().is_some_and(|bytes| std::str::from_utf8(bytes).is_ok())
}

/// Whether a value is shown as a JSON array.
fn is_list(value: &Value) -> bool {
    matches!(value, Value::Table(table) if table.pairs.is_empty())
}

fn show_members(keys: Vec<String>, table: &Table, depth: usize) -> Result<Map<String, Json>, JsonError> {
    let members = keys.into_iter().zip(entries(table));
    members.map(|(key, (_, value))| show(value, depth + 1).map(|shown| (key, shown))).collect()
}

fn show_pairs(table: &Table, depth: usize) -> Result<Json, JsonError> {
    let pair = |(key, value): (Value, &Value)| {
        Ok(Json::Array(vec![show(&key, depth + 3)?, show(value, depth + 3)?]))
    };
    let pairs: Result<Vec<_>, _> = entries(table).map(pair).collect();
    Ok(single("pairs", Json::Array(pairs?)))
}

/// The keys and values of a table, those of its array part first; nil means that there is none.
fn entries(table: &Table) -> impl Iterator<Item = (Value, &Value)> {
    let array = table.array.iter().enumerate().map(|(index, value)| (Value::Int(index as i64 + 1), value));
    let pairs = table.pairs.iter().map(|(key, value)| (key.clone(), value));
    array.chain(pairs).filter(|(_, value)| **value != Value::Nil)
}

fn single(key: &str, value: Json) -> Json {
    Json::Object(Map::from_iter([(key.to_owned(), value)]))
}

/// Whether an object with this one member is read as one of the forms that are no tables.
fn is_special(key: &str, is_text: bool, is_list: bool) -> bool {
    match key {
        "bytes" | "float" | "pointer" => is_text,
        "pairs" => is_list,
        _ => false,
    }
}

/// The one member of an object that is read as such a form.
fn special(object: &Map<String, Json>) -> Option<(&str, &Json)> {
    let mut members = object.iter();
    match (members.next(), members.next()) {
        (Some((key, value)), None) if is_special(key, value.is_string(), value.is_array()) => {
            Some((key.as_str(), value))
        }
        _ => None,
    }
}

fn read(json: &Json) -> Result<Value, JsonError> {
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) if number.is_f64() => Value::Float(value),
            (None, _) => return Err(JsonError::Range(number.to_string())),
        },
        Json::String(text) => Value::Bytes(text.clone().into_bytes()),
        Json::Array(values) => Value::Table(Table::from_array(to_values(values)?)),
        Json::Object(object) => {
            if let Some((key, value)) = special(object) {
                return read_special(key, value);
            }
            let pair = |(key, value): (&String, &Json)| {
                let key = integer(key).map_or_else(|| Value::Bytes(key.clone().into_bytes()), Value::Int);
                Ok((key, read(value)?))
            };
            Value::Table(Table::from_pairs(object.iter().map(pair).collect::<Result<_, _>>()?))
        }
    })
}

fn read_special(key: &str, value: &Json) -> Result<Value, JsonError> {
    let text = value.as_str().unwrap_or_default();
    match (key, text) {
        ("bytes", _) => bytes_of(text).map(Value::Bytes).ok_or_else(|| JsonError::Hex(text.to_owned())),
        ("float", "nan") => Ok(Value::Float(f64::NAN)),
        ("float", "inf") => Ok(Value::Float(f64::INFINITY)),
        ("float", "-inf") => Ok(Value::Float(f64::NEG_INFINITY)),
        ("float", _) => Err(JsonError::Float(text.to_owned())),
        ("pointer", _) => Err(JsonError::Pointer),
        (_, _) => {
            let pairs =
                value.as_array().into_iter().flatten().map(|pair| match pair.as_array().map(Vec::as_slice) {
                    Some([key, value]) if !key.is_null() => Ok((read(key)?, read(value)?)),
                    Some(_) | None => Err(JsonError::Pairs),
                });
            Ok(Value::Table(Table::from_pairs(pairs.collect::<Result<_, _>>()?)))
        }
    }
}

/// The integer that is written exactly so.
fn integer(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let pairs = digits?;
    let whole = pairs.len() % 2 == 0;
    whole.then(|| pairs.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use skyharbor::seri::{pack, unpack};

    fn bytes(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }

    fn pairs(pairs: &[(Value, Value)]) -> Value {
        Value::Table(Table::from_pairs(pairs.to_vec()))
    }

    #[test]
    fn every_form_is_shown_and_read() {
        for (value, json) in [
            (Value::Nil, json!(null)),
            (Value::Int(i64::MIN), json!(i64::MIN)),
            (Value::Float(1.0), json!(1.0)),
            (Value::Float(f64::INFINITY), json!({"float": "inf"})),
            (bytes("né"), json!("né")),
            (Value::Bytes(vec![0, 255]), json!({"bytes": "00ff"})),
            (Value::Table(Table::from_array(vec![Value::Nil, Value::Bool(true)])), json!([null, true])),
            (Value::Table(Table::default()), json!([])),
            (
                pairs(&[(bytes("a"), Value::Int(1)), (Value::Int(-5), Value::Int(2))]),
                json!({"a": 1, "-5": 2}),
            ),
            (pairs(&[(bytes("5"), Value::Int(1))]), json!({"pairs": [["5", 1]]})),
            (pairs(&[(bytes("05"), Value::Int(1))]), json!({"05": 1})),
            (pairs(&[(Value::Bool(true), Value::Int(1))]), json!({"pairs": [[true, 1]]})),
            (pairs(&[(bytes("bytes"), bytes("00"))]), json!({"pairs": [["bytes", "00"]]})),
            (pairs(&[(bytes("bytes"), Value::Int(1))]), json!({"bytes": 1})),
            (pairs(&[(bytes("pairs"), Value::Table(Table::default()))]), json!({"pairs": [["pairs", []]]})),
        ] {
            assert_eq!(from_values(std::slice::from_ref(&value)), Ok(vec![json.clone()]));
            let text = json.to_string();
            let reread = serde_json::from_str(&text).unwrap();
            assert_eq!(meaning(&to_values(&[reread]).unwrap()[0]), meaning(&value), "{text}");
        }
    }

    #[test]
    fn mixed_tables_are_objects_and_pointers_are_only_shown() {
        let mixed = Table { array: vec![bytes("x"), Value::Nil], pairs: vec![(bytes("n"), Value::Int(2))] };
        assert_eq!(from_values(&[Value::Table(mixed)]), Ok(vec![json!({"1": "x", "n": 2})]));
        assert_eq!(from_values(&[Value::Pointer(255)]), Ok(vec![json!({"pointer": "0x00000000000000ff"})]));
    }

    #[test]
    fn what_has_no_value_is_refused() {
        for (json, error) in [
            (json!(u64::MAX), JsonError::Range(u64::MAX.to_string())),
            (json!([{"bytes": "0"}]), JsonError::Hex("0".into())),
            (json!({"bytes": "é0"}), JsonError::Hex("é0".into())),
            (json!({"float": "1"}), JsonError::Float("1".into())),
            (json!({"pairs": [[1]]}), JsonError::Pairs),
            (json!({"pairs": [[null, 1]]}), JsonError::Pairs),
            (json!({"pointer": "0x1"}), JsonError::Pointer),
        ] {
            assert_eq!(to_values(std::slice::from_ref(&json)), Err(error), "{json}");
        }
        let deep =
            (0..JSON_DEPTH_MAX).fold(Value::Nil, |inner, _| Value::Table(Table::from_array(vec![inner])));
        assert_eq!(from_values(&[deep]), Err(JsonError::TooDeep));
    }

    #[test]
    fn tables_of_pairs_inside_each_other_are_shown_once_each() {
        // Each level is tried as an object first, and its inner table comes before the key that has no text.
        let levels = 31;
        let deep = (0..levels).fold(Value::Int(0), |inner, _| {
            pairs(&[(bytes("inner"), inner), (Value::Bool(true), Value::Int(1))])
        });
        let shown = from_values(&[deep]).unwrap();
        assert_eq!(shown[0].to_string().matches("\"inner\"").count(), levels);
        let deep = (0..levels).fold(Value::Table(Table::default()), |inner, _| {
            pairs(&[(bytes("pairs"), Value::Table(Table::from_array(vec![inner])))])
        });
        assert_eq!(
            from_values(&[deep]),
            Err(JsonError::TooDeep),
            "four levels of JSON for each, more than may be"
        );
    }

    #[test]
    fn integers_past_64_bits_are_found_wherever_they_stand() {
        for (text, number) in [
            ("18446744073709551616", "18446744073709551616"),
            ("[1,{\"a\":-9223372036854775809}]", "-9223372036854775809"),
            ("9223372036854775808", "9223372036854775808"),
            ("\"\\\"\",99999999999999999999", "99999999999999999999"),
        ] {
            assert_eq!(find_unfit_integer(text.as_bytes()), Some(JsonError::Range(number.into())), "{text}");
        }
        for text in [
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551616.0",
            "1e300",
            "18446744073709551616e0",
            "\"18446744073709551616\"",
            "{\"18446744073709551616\":\"\\\\\"}",
            "\"never closed 18446744073709551616",
            "\"\\",
            "",
            "-",
        ] {
            assert_eq!(find_unfit_integer(text.as_bytes()), None, "{text}");
        }
        let long = JsonError::Range("9".repeat(1_000_000)).to_string();
        assert!(long.len() < 100 && long.contains("9…"), "{long}");
    }

    /// A value's meaning in Lua as a text: tables without nils, integral float keys as integers, in one order.
    fn meaning(value: &Value) -> String {
        match value {
            Value::Table(table) => {
                let mut members: Vec<_> = entries(table)
                    .map(|(key, value)| {
                        let key = key.as_int().map_or(key, Value::Int);
                        format!("{} = {}", meaning(&key), meaning(value))
                    })
                    .collect();
                members.sort();
                format!("{{{}}}", members.join(", "))
            }
            other => format!("{other:?}"),
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[a-c0-9]{0,3}", "bytes|pairs|float|pointer|-?[0-9]"];
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_map(Value::Float),
            text.prop_map(|text| Value::Bytes(text.into_bytes())),
            proptest::collection::vec(any::<u8>(), 0..4).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let array = proptest::collection::vec(inner.clone(), 0..4);
            let pairs = proptest::collection::vec((inner.clone(), inner), 0..4);
            (array, pairs).prop_map(|(array, pairs)| Value::Table(Table { array, pairs }))
        })
    }

    proptest! {
        #[test]
        fn nothing_is_lost_on_the_way(value in any_value()) {
            let Ok(packed) = pack(&[value]) else { return Ok(()) };
            let value = &unpack(&packed).unwrap()[0];
            let text = Json::Array(from_values(std::slice::from_ref(value)).unwrap()).to_string();
            let json: Vec<Json> = serde_json::from_str(&text).unwrap();
            let back = to_values(&json).unwrap();
            prop_assert_eq!(meaning(&back[0]), meaning(value), "{}", text);
        }
    }
}
