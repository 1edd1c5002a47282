//! Types of serde to packed values and back.

use super::error::reason;
use super::*;
use crate::limits::{SERI_HOLES_MAX, SERI_READ_DEPTH_MAX, SERI_WRITE_DEPTH_MAX};
use serde::de::{DeserializeOwned, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};

fn packed<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, PackError> {
    let mut bytes = Vec::new();
    to_values(value, &mut bytes).map(|()| bytes)
}

/// What a type gives, as values.
fn values<T: Serialize + ?Sized>(value: &T) -> Vec<Value> {
    unpack(&packed(value).unwrap()).unwrap()
}

/// What values give as a type.
fn typed<T: DeserializeOwned>(values: &[Value]) -> Result<T, UnpackError> {
    from_values(&pack(values).unwrap())
}

fn reason_of<T: DeserializeOwned + Debug>(values: &[Value]) -> &'static str {
    typed::<T>(values).unwrap_err().reason
}

fn int(value: i64) -> Value {
    Value::Int(value)
}

fn list(array: impl IntoIterator<Item = Value>) -> Value {
    Table::from_array(array.into_iter().collect()).into()
}

fn pairs<const N: usize>(pairs: [(Value, Value); N]) -> Value {
    Table::from_pairs(pairs.into()).into()
}

#[track_caller]
fn both_ways<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, wanted: &[Value]) {
    assert_eq!(values(&value), wanted);
    assert_eq!(typed::<T>(wanted), Ok(value));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nothing;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Add(i64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Move(i64, Option<f64>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped((i64, i64));

#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
struct Player {
    name: String,
    level: Option<u8>,
    bag: Vec<u16>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Order {
    Stop,
    Wait(Option<u32>),
    Pair(i64, i64),
    Go { x: f64, fast: bool },
    Of(Box<Order>),
}

#[test]
fn a_message_has_as_many_values_as_its_type_has_fields() {
    both_ways((), &[]);
    both_ways(Nothing, &[]);
    both_ways(Add(5), &[int(5)]);
    both_ways(Move(1, Some(2.0)), &[int(1), Value::Float(2.0)]);
    both_ways(Move(1, None), &[int(1), Value::Nil]);
    both_ways(Wrapped((1, 2)), &[list([int(1), int(2)])]);
    both_ways([1_u8, 2, 3], &[int(1), int(2), int(3)]);
    both_ways((String::from("add"), Add(2)), &["add".into(), int(2)]);
    both_ways(vec![1, 2], &[list([int(1), int(2)])]);
    both_ways(Some((1, 2)), &[list([int(1), int(2)])]);
    both_ways(None::<u8>, &[Value::Nil]);
    both_ways(Value::Nil, &[Value::Nil]);
}

#[test]
fn surplus_values_are_ignored_and_missing_ones_are_nil() {
    assert_eq!(typed::<()>(&[int(1)]), Ok(()));
    assert_eq!(typed::<Add>(&[int(1), int(2)]), Ok(Add(1)));
    assert_eq!(typed::<Move>(&[int(1)]), Ok(Move(1, None)));
    assert_eq!(typed::<(i64, i64)>(&[int(1), int(2), list([])]), Ok((1, 2)));
    assert_eq!(typed::<Option<u8>>(&[]), Ok(None));
    assert_eq!(from_values::<u8>(&[]), Err(UnpackError { offset: 0, reason: reason::UNWANTED_NIL }));
    let missing = UnpackError { offset: 2, reason: reason::UNWANTED_NIL };
    assert_eq!(from_values::<(u8, u8)>(b"\x0a\x01"), Err(missing));
    assert_eq!(
        from_values::<Add>(b"\x0a\x01\x07").unwrap_err().reason,
        reason::KIND,
        "surplus bytes must be values"
    );
}

#[test]
fn values_inside_a_message() {
    both_ways((((), Nothing), 0), &[list([Value::Nil, Value::Nil]), int(0)]);
    both_ways(vec![Add(1), Add(2)], &[list([int(1), int(2)])]);
    both_ways(vec![Some(1), None, Some(3), None], &[list([int(1), Value::Nil, int(3), Value::Nil])]);
    both_ways(vec![Move(1, None)], &[list([list([int(1), Value::Nil])])]);
    both_ways(('ä', String::from("x")), &["ä".into(), "x".into()]);
    both_ways((1.5_f32, f64::INFINITY), &[Value::Float(1.5), Value::Float(f64::INFINITY)]);
    both_ways((i64::MIN, i64::MAX as u64, -1_i128), &[int(i64::MIN), int(i64::MAX), int(-1)]);
    both_ways(
        Player { name: "n".into(), level: None, bag: vec![] },
        &[pairs([("name".into(), "n".into()), ("bag".into(), list([]))])],
    );
    both_ways(
        BTreeMap::from([(3, true), (7, false)]),
        &[pairs([(int(3), true.into()), (int(7), false.into())])],
    );
    both_ways(HashMap::from([(String::from("k"), Some(1))]), &[pairs([("k".into(), int(1))])]);
}

#[test]
fn variants_are_names_or_tables_of_one_pair() {
    for (order, wanted) in [
        (Order::Stop, "Stop".into()),
        (Order::Wait(Some(5)), pairs([("Wait".into(), int(5))])),
        (Order::Wait(None), "Wait".into()),
        (Order::Pair(1, 2), pairs([("Pair".into(), list([int(1), int(2)]))])),
        (
            Order::Go { x: 1.0, fast: true },
            pairs([("Go".into(), pairs([("x".into(), Value::Float(1.0)), ("fast".into(), true.into())]))]),
        ),
        (Order::Of(Box::new(Order::Stop)), pairs([("Of".into(), "Stop".into())])),
    ] {
        // An option is one value, whatever is in it.
        both_ways(Some(order), &[wanted]);
    }
    assert_eq!(typed(&[pairs([("Stop".into(), true.into())])]), Ok(Some(Order::Stop)), "as Lua may write it");
    for (values, wanted) in [
        (int(1), reason::UNWANTED_INT),
        (list(["Stop".into()]), reason::VARIANT_FORM),
        (pairs([]), reason::VARIANT_FORM),
        (pairs([(int(7), int(1))]), reason::VARIANT_FORM),
        (pairs([("Wait".into(), int(1)), ("Stop".into(), int(1))]), reason::VARIANT_FORM),
        ("Halt".into(), reason::UNKNOWN_VARIANT),
        ("Pair".into(), reason::UNWANTED_NIL),
    ] {
        assert_eq!(reason_of::<Vec<Order>>(&[list([values.clone()])]), wanted, "{values:?}");
    }
}

#[test]
fn a_message_that_is_a_variant_is_its_name_and_its_fields() {
    both_ways(Order::Stop, &["Stop".into()]);
    both_ways(Order::Wait(Some(5)), &["Wait".into(), int(5)]);
    both_ways(Order::Wait(None), &["Wait".into(), Value::Nil]);
    both_ways(Order::Pair(1, 2), &["Pair".into(), int(1), int(2)]);
    let fields = pairs([("x".into(), Value::Float(1.0)), ("fast".into(), true.into())]);
    both_ways(Order::Go { x: 1.0, fast: true }, &["Go".into(), fields]);
    both_ways(
        Order::Of(Box::new(Order::Pair(1, 2))),
        &["Of".into(), pairs([("Pair".into(), list([int(1), int(2)]))])],
    );
    both_ways(Ok::<(), u8>(()), &["Ok".into(), Value::Nil]);

    assert_eq!(typed(&["Wait".into()]), Ok(Order::Wait(None)), "what is missing is nil");
    assert_eq!(typed(&["Stop".into(), int(1)]), Ok(Order::Stop), "what is too much is ignored");
    assert_eq!(typed(&["Pair".into(), int(1), int(2), int(3)]), Ok(Order::Pair(1, 2)));
    assert_eq!(
        typed(&[pairs([("Pair".into(), list([int(1), int(2)]))])]),
        Ok(Order::Pair(1, 2)),
        "in one table"
    );
    let fault = |bytes: &[u8]| from_values::<Order>(bytes).map_err(|fault| (fault.offset, fault.reason));
    assert_eq!(fault(b""), Err((0, reason::UNWANTED_NIL)));
    assert_eq!(fault(b"\x24Halt"), Err((0, reason::UNKNOWN_VARIANT)));
    assert_eq!(fault(b"\x24Pair\x0a\x01"), Err((7, reason::UNWANTED_NIL)));
    assert_eq!(fault(b"\x24Pair\x0a\x01\x09"), Err((7, reason::UNWANTED_BOOL)));
    assert_eq!(fault(b"\x14Go\x06\x00"), Err((3, reason::MISSING_FIELD)));
    assert_eq!(fault(b"\x0a\x01"), Err((0, reason::UNWANTED_INT)));
}

#[test]
fn numbers_are_converted_only_without_loss() {
    assert_eq!(typed::<u8>(&[Value::Float(3.0)]), Ok(3));
    assert_eq!(typed::<f64>(&[int(3)]), Ok(3.0));
    assert_eq!(reason_of::<u8>(&[Value::Float(3.5)]), reason::UNWANTED_FLOAT);
    assert_eq!(reason_of::<u8>(&[int(256)]), reason::VALUE);
    assert_eq!(reason_of::<u64>(&[int(-1)]), reason::VALUE);
    assert_eq!(reason_of::<i64>(&[Value::Float(9.3e18)]), reason::UNWANTED_FLOAT);
    assert_eq!(reason_of::<i64>(&["1".into()]), reason::UNWANTED_STRING);
    assert_eq!(reason_of::<String>(&[true.into()]), reason::UNWANTED_BOOL);
    assert_eq!(packed(&(i64::MAX as u64 + 1)), Err(PackError::IntegerRange));
    assert_eq!(packed(&i128::MIN), Err(PackError::IntegerRange));
}

#[test]
fn numbers_at_the_ends_of_their_types_come_back() {
    both_ways(
        (i8::MIN, i16::MIN, i32::MIN, i64::MIN),
        &[i8::MIN.into(), i16::MIN.into(), i32::MIN.into(), i64::MIN].map(int),
    );
    let largest = [u8::MAX.into(), u16::MAX.into(), u32::MAX.into(), i64::MAX];
    both_ways((u8::MAX, u16::MAX, u32::MAX, i64::MAX as u64), &largest.map(int));
    for float in [f64::MAX, f64::MIN_POSITIVE, 5e-324, -0.0, f64::NEG_INFINITY, 2_f64.powi(63)] {
        let back = typed::<f64>(&values(&float)).map(f64::to_bits);
        assert_eq!(back, Ok(float.to_bits()), "{float:e}");
    }
    assert!(typed::<f64>(&values(&f64::NAN)).is_ok_and(f64::is_nan));
    assert_eq!(typed::<i64>(&[Value::Float(-(2_f64.powi(63)))]), Ok(i64::MIN));
    assert_eq!(reason_of::<i64>(&[Value::Float(2_f64.powi(63))]), reason::UNWANTED_FLOAT);
    // As Lua's own conversion: a float has 53 bits.
    assert_eq!(typed::<f64>(&[int(i64::MAX)]), Ok(2_f64.powi(63)));
}

#[test]
fn an_option_in_an_option_is_one() {
    both_ways((Some(Some(1)), None::<Option<u8>>), &[int(1), Value::Nil]);
    assert_eq!(values(&Some(None::<u8>)), [Value::Nil]);
    assert_eq!(typed::<Option<Option<u8>>>(&[Value::Nil]), Ok(None));
    both_ways(vec![Some(vec![Some(1), None]), None], &[list([list([int(1), Value::Nil]), Value::Nil])]);
}

#[test]
fn keys_of_maps() {
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    struct Id(u32);
    both_ways(BTreeMap::from([(Id(7), true)]), &[pairs([(int(7), true.into())])]);
    both_ways(BTreeMap::from([(vec![1, 2], 3)]), &[pairs([(list([int(1), int(2)]), int(3))])]);
    let by_index = BTreeMap::from([(Id(1), "a".to_string()), (Id(3), "c".to_string())]);
    assert_eq!(typed(&[list(["a".into(), Value::Nil, "c".into()])]), Ok(by_index));
    let by_float = b"\x06\x42\0\0\0\0\0\0\0\x40\x09\x00";
    assert_eq!(from_values(by_float), Ok(BTreeMap::from([(Id(2), true)])));
    assert_eq!(packed(&BTreeMap::from([(None::<u8>, 1)])), Err(PackError::NilKey));
}

#[test]
fn elements_are_found_wherever_the_sender_put_them() {
    let only_pairs = pairs([(int(2), int(20)), (int(1), int(10)), (int(3), int(30))]);
    assert_eq!(typed(&[only_pairs]), Ok(vec![10, 20, 30]));
    let behind_a_hole = Value::from(Table { array: vec![int(1)], pairs: vec![(int(3), int(3))] });
    assert_eq!(typed(std::slice::from_ref(&behind_a_hole)), Ok(vec![Some(1), None, Some(3)]));
    assert_eq!(reason_of::<Vec<u8>>(std::slice::from_ref(&behind_a_hole)), reason::UNWANTED_NIL);
    assert_eq!(typed(&[int(0), behind_a_hole]), Ok((0, (Some(1), None::<u8>, Some(3), None::<u8>))));
    let with_others = Value::from(Table {
        array: vec![int(10), int(20)],
        pairs: vec![("n".into(), int(2)), (int(0), int(7)), (int(-1), int(7)), (Value::Float(1.5), int(7))],
    });
    assert_eq!(typed(&[with_others]), Ok(vec![10, 20]));
    assert_eq!(typed(&[pairs([])]), Ok(Vec::<u8>::new()));
    let not_a_list = pairs([("x".into(), int(1))]);
    assert_eq!(reason_of::<Vec<u8>>(std::slice::from_ref(&not_a_list)), reason::UNWANTED_TABLE);
    assert_eq!(reason_of::<Vec<(u8, u8)>>(&[list([not_a_list])]), reason::UNWANTED_TABLE);
}

#[test]
fn holes_are_bounded_by_message() {
    let far = |index: i64| pairs([(int(index), true.into())]);
    let bytes = pack(&[far(SERI_HOLES_MAX as i64)]).unwrap();
    assert_eq!(from_values::<Vec<Option<bool>>>(&bytes).map(|list| list.len()), Ok(SERI_HOLES_MAX));
    for index in [2 * SERI_HOLES_MAX as i64, i64::MAX] {
        assert_eq!(reason_of::<Vec<Option<bool>>>(&[far(index)]), reason::TOO_SPARSE);
    }
    let two = [list([far(SERI_HOLES_MAX as i64 / 2), far(SERI_HOLES_MAX as i64)])];
    assert_eq!(reason_of::<Vec<Vec<Option<bool>>>>(&two), reason::TOO_SPARSE);
}

/// As `serde_bytes` does.
#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Raw;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.into()))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

#[test]
fn strings_are_text_or_bytes() {
    let bytes = Value::from(&b"\xff\x00a"[..]);
    both_ways(Raw(b"\xff\x00a".to_vec()), std::slice::from_ref(&bytes));
    assert_eq!(typed(std::slice::from_ref(&bytes)), Ok(b"\xff\x00a".to_vec()));
    assert_eq!(typed(&[list([bytes.clone()])]), Ok(vec![*b"\xff\x00a"]));
    assert_eq!(reason_of::<Vec<[u8; 2]>>(&[list([bytes.clone()])]), reason::UNWANTED_STRING);
    assert_eq!(reason_of::<Vec<u32>>(std::slice::from_ref(&bytes)), reason::UNWANTED_STRING);
    let fault = UnpackError { offset: 2, reason: reason::NOT_TEXT };
    assert_eq!(typed::<(u8, String)>(&[int(1), bytes]), Err(fault));
    let packed = packed(&("text", Raw(b"\xfe".to_vec()))).unwrap();
    assert_eq!(from_values::<(&str, Raw)>(&packed), Ok(("text", Raw(b"\xfe".to_vec()))));
}

#[test]
fn structs_take_their_fields_from_string_keys() {
    let table = Value::from(Table {
        array: vec![int(1), int(2), int(3)],
        pairs: vec![
            ("extra".into(), list([Value::Pointer(1)])),
            (Value::from(&b"\xff"[..]), int(1)),
            (list([]), int(1)),
            ("bag".into(), list([])),
            ("name".into(), "first".into()),
            ("name".into(), "second".into()),
            ("level".into(), int(5)),
            ("level".into(), int(6)),
        ],
    });
    let player = Player { name: "second".into(), level: Some(6), bag: vec![] };
    assert_eq!(typed(&[table]), Ok(player), "a key that comes twice takes the later value");

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[serde(alias = "y")]
        _x: u8,
    }
    assert_eq!(reason_of::<Strict>(&[pairs([])]), reason::MISSING_FIELD);
    assert_eq!(reason_of::<Strict>(&[pairs([("z".into(), int(1))])]), reason::UNKNOWN_FIELD);
    assert_eq!(
        reason_of::<Strict>(&[pairs([("_x".into(), int(1)), ("y".into(), int(1))])]),
        reason::REPEATED_FIELD
    );
}

#[test]
fn faults_are_where_the_value_is() {
    // { bag = { 1, "x" } }: the head, "bag", the head of the list, 1, then the string.
    let table = pairs([("bag".into(), list([int(1), "x".into()]))]);
    let fault = UnpackError { offset: 8, reason: reason::UNWANTED_STRING };
    assert_eq!(typed::<Player>(std::slice::from_ref(&table)), Err(fault));
    let missing = UnpackError { offset: 1, reason: reason::MISSING_FIELD };
    assert_eq!(typed::<(bool, Player)>(&[true.into(), pairs([])]), Err(missing));
    let pointer = UnpackError { offset: 1, reason: reason::POINTER };
    assert_eq!(typed::<Vec<Value>>(&[list([Value::Pointer(1)])]), Err(pointer));
    assert_eq!(typed::<IgnoredAny>(&[Value::Pointer(1)]).map(drop), Ok(()));
    let refused = typed::<std::num::NonZeroU8>(&[int(0)]).unwrap_err();
    assert_eq!(refused.reason, reason::VALUE);
}

#[test]
fn types_that_ask_for_any_value_get_the_closest() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Loose {
        Number(i64),
        Text(String),
        List(Vec<Loose>),
        Map(BTreeMap<String, Loose>),
    }
    both_ways(
        Loose::Map(BTreeMap::from([
            ("a".into(), Loose::Number(1)),
            ("b".into(), Loose::List(vec![Loose::Text("x".into()), Loose::List(vec![])])),
        ])),
        &[pairs([("a".into(), int(1)), ("b".into(), list(["x".into(), list([])]))])],
    );
    let list_as_pairs = pairs([(int(2), int(2)), (int(1), int(1))]);
    assert_eq!(typed(&[list_as_pairs]), Ok(Loose::List(vec![Loose::Number(1), Loose::Number(2)])));

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Box(Player),
    }
    let player = Player { name: "n".into(), level: Some(1), bag: vec![1] };
    let fields: [(Value, Value); 4] = [
        ("kind".into(), "Box".into()),
        ("name".into(), "n".into()),
        ("level".into(), int(1)),
        ("bag".into(), list([int(1)])),
    ];
    both_ways(Tagged::Box(player), &[pairs(fields)]);
}

#[test]
fn a_value_is_carried_by_serde() {
    let table = Value::from(Table {
        array: vec![int(1), Value::Float(2.0), Value::from(&b"\xff"[..])],
        pairs: vec![("k".into(), list([Value::Bool(true), "t".into()]))],
    });
    let with_hole = Value::from(Table { array: vec![int(1)], pairs: vec![(int(3), int(3))] });
    let message = (String::from("cmd"), table.clone(), with_hole.clone(), Value::Nil);
    let values = [Value::from("cmd"), table, with_hole, Value::Nil];
    assert_eq!(typed(&values), Ok(message));
    let bytes = packed(&values).unwrap();
    assert_eq!(from_values::<[Value; 4]>(&bytes), Ok(values));
    assert_eq!(packed(&[Value::Pointer(1)]), Err(PackError::Refused));
    let json = serde_json::to_string(&list([int(1), pairs([("a".into(), Value::Nil)])])).unwrap();
    assert_eq!(json, r#"[1,{"a":null}]"#);
    assert_eq!(serde_json::from_str::<Value>(r#"[1,{"a":null}]"#).unwrap(), list([int(1), pairs([])]));
    assert!(serde_json::from_str::<Value>("18446744073709551615").is_err());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree {
    inner: Option<Box<Tree>>,
}

#[test]
fn nesting_is_bounded_both_ways() {
    let tree =
        |depth: usize| (1..depth).fold(Tree { inner: None }, |tree, _| Tree { inner: Some(Box::new(tree)) });
    let deepest = packed(&tree(SERI_WRITE_DEPTH_MAX)).unwrap();
    assert_eq!(from_values(&deepest), Ok(tree(SERI_WRITE_DEPTH_MAX)));
    assert_eq!(packed(&tree(SERI_WRITE_DEPTH_MAX + 1)), Err(PackError::TooDeep));

    let nested = |depth: usize| {
        let opening: Vec<u8> = b"\x06\x2cinner".repeat(depth - 1);
        [opening, b"\x06\x00".to_vec(), vec![0; depth - 1]].concat()
    };
    assert_eq!(from_values(&nested(SERI_READ_DEPTH_MAX)), Ok(tree(SERI_READ_DEPTH_MAX)));
    assert!(from_values::<Value>(&nested(SERI_READ_DEPTH_MAX)).is_ok());
    let limits = Limits { depth_max: usize::MAX, ..Limits::default() };
    let too_deep = nested(SERI_READ_DEPTH_MAX + 1);
    assert_eq!(unpack_with(&too_deep, &limits).unwrap_err().reason, reason::TOO_DEEP);
    assert_eq!(unpack(&nested(1_000_000)).unwrap_err().reason, reason::TOO_DEEP);
}

#[test]
fn types_that_wrap_themselves_end() {
    #[derive(Debug, Deserialize)]
    struct Endless(#[allow(dead_code, reason = "read by its derive only")] Option<Box<Endless>>);
    assert!(typed::<Endless>(&[Value::Nil]).is_ok());
    assert_eq!(reason_of::<Endless>(&[int(1)]), reason::TOO_DEEP);
}
