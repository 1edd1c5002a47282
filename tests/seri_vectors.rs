//! Packed values against the bytes of a real node: `tests/vectors/seri.json`.
//!
//! Left out are the three encode errors of values that no type of ours can hold: a function, a full userdata and a
//! thread of Lua. A cycle and a failing `__pairs` cannot be built as `Value` either; both have their like in serde, a
//! type that contains itself and a type that fails.

use serde::ser::{Error, Serialize, SerializeSeq, Serializer};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use skyharbor::seri::{PackError, Table, Value, pack, to_values, unpack};
use std::fmt::Write;

const VECTORS: &str = include_str!("vectors/seri.json");

/// Lua values that `Value` cannot hold.
const NOT_EXPRESSIBLE: [&str; 3] = ["function", "full_userdata", "thread"];

fn vectors(section: &str) -> Vec<Json> {
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    vectors[section].as_array().unwrap().clone()
}

fn text<'v>(vector: &'v Json, field: &str) -> &'v str {
    vector[field].as_str().unwrap_or_else(|| panic!("{field} of {vector}"))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The form in which the vectors give values: tables as pairs, sorted as text.
fn describe(value: &Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => format!("i:{value}"),
        Value::Float(value) => format!("f:{}", to_hex(&value.to_le_bytes())),
        Value::Bytes(value) => format!("s:{}", to_hex(value)),
        Value::Pointer(value) => format!("p:{value:#x}"),
        Value::Table(table) => {
            let elements =
                (1..).zip(&table.array).map(|(index, element)| (Value::Int(index), element.clone()));
            let mut pairs: Vec<_> = elements
                .chain(table.pairs.clone())
                .filter(|(_, value)| *value != Value::Nil)
                .map(|(key, value)| format!("{}={}", describe(&integral_key(key)), describe(&value)))
                .collect();
            pairs.sort();
            format!("{{{}}}", pairs.join(","))
        }
    }
}

/// Lua keeps a float key with an integral value as an integer.
fn integral_key(key: Value) -> Value {
    match key {
        Value::Float(value) if value.fract() == 0.0 => Value::Int(value as i64),
        key => key,
    }
}

fn describe_all(values: &[Value]) -> String {
    values.iter().map(describe).collect::<Vec<_>>().join(",")
}

#[test]
fn values_are_packed_as_a_real_node_packs_them() {
    let vectors = vectors("encode");
    for vector in &vectors {
        let name = text(vector, "name");
        let values = values_of(name, text(vector, "lua"));
        let packed = pack(&values).unwrap();
        let unordered = vector["hash_order"] == "unspecified";
        match vector["hex"].as_str() {
            Some(hex) if unordered => {
                let mut theirs = from_hex(hex);
                assert_eq!(
                    describe_all(&unpack(&packed).unwrap()),
                    describe_all(&unpack(&theirs).unwrap()),
                    "{name}"
                );
                let mut ours = packed.clone();
                ours.sort_unstable();
                theirs.sort_unstable();
                assert_eq!(ours, theirs, "{name}, in any order");
            }
            Some(hex) => assert_eq!(to_hex(&packed), hex, "{name}"),
            None => check_digest(&packed, vector),
        }
        let theirs = vector["hex"].as_str().map_or(packed, from_hex);
        assert_eq!(describe_all(&unpack(&theirs).unwrap()), describe_all(&values), "{name}, unpacked");
    }
    assert_eq!(vectors.len(), 118, "all of them were handled");
}

fn check_digest(packed: &[u8], vector: &Json) {
    let name = text(vector, "name");
    assert_eq!(packed.len() as u64, vector["length"].as_u64().unwrap(), "{name}");
    assert_eq!(to_hex(&packed[..16]), text(vector, "first16"), "{name}");
    assert_eq!(to_hex(&packed[packed.len() - 4..]), text(vector, "last4"), "{name}");
    assert_eq!(to_hex(&Sha256::digest(packed)), text(vector, "sha256"), "{name}");
}

#[test]
fn bytes_are_read_as_a_real_node_reads_them() {
    let vectors = vectors("decode");
    for vector in &vectors {
        let bytes = from_hex(text(vector, "hex"));
        let unpacked = unpack(&bytes);
        match vector["values"].as_str() {
            Some(values) => {
                assert_eq!(unpacked.map(|values| describe_all(&values)), Ok(values.into()), "{vector}")
            }
            None => {
                let _expected = text(vector, "error");
                let fault = unpacked.expect_err(text(vector, "name"));
                assert!(fault.offset <= bytes.len() && !fault.reason.is_empty(), "{fault} for {vector}");
            }
        }
    }
    assert_eq!(vectors.len(), 56, "all of them were handled");
}

#[test]
fn a_pointer_is_read_as_eight_bytes() {
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    let bytes = from_hex(text(&vectors["light_pointer_example"], "hex"));
    let values = unpack(&bytes).unwrap();
    assert_eq!(values, [Value::Pointer(0x7f49_7800_6970)]);
    assert_eq!(pack(&values).unwrap(), bytes);
}

#[test]
fn what_a_real_node_refuses_to_pack_is_refused() {
    let vectors = vectors("encode_errors");
    let mut left_out = Vec::new();
    for vector in &vectors {
        match text(vector, "name") {
            "depth_33_with_leaf" => {
                assert_eq!(
                    pack(&[nested(Table::from_array(vec![Value::Int(7)]), 32)]),
                    Err(PackError::TooDeep)
                );
            }
            "depth_34_innermost_empty" => {
                assert_eq!(pack(&[nested(Table::default(), 33)]), Err(PackError::TooDeep));
            }
            "cycle" => assert_eq!(to_values(&Cycle, &mut Vec::new()), Err(PackError::TooDeep)),
            "pairs_error" => assert_eq!(to_values(&Failing, &mut Vec::new()), Err(PackError::Refused)),
            name => left_out.push(name),
        }
    }
    assert_eq!(left_out, NOT_EXPRESSIBLE);
    assert_eq!(vectors.len(), 7);
}

/// A list that contains itself.
struct Cycle;

impl Serialize for Cycle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(1))?;
        list.serialize_element(self)?;
        list.end()
    }
}

/// A map that cannot say what is in it.
struct Failing;

impl Serialize for Failing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(None)?;
        Err(S::Error::custom("boom"))
    }
}

/// So many tables around a table.
fn nested(innermost: Table, depth: usize) -> Value {
    (0..depth).fold(innermost.into(), |inner, _| Table::from_array(vec![inner]).into())
}

/// The Lua arguments of an encode vector. Programs are rebuilt by hand, literals evaluated.
fn values_of(name: &str, lua: &str) -> Vec<Value> {
    let is_program = lua.starts_with("(function") || lua.starts_with("setmetatable");
    if !is_program {
        return Literals { rest: lua }.all();
    }
    let ones = |len: &str| {
        let program = format!("(function() local t={{}} for i=1,{len} do t[i]=1 end return t end)()");
        assert_eq!(lua, program);
        Table::from_array(vec![Value::Int(1); len.parse().unwrap()])
    };
    vec![match name {
        "array_far_index" => {
            Table { array: vec!["a".into()], pairs: vec![(Value::Int(1000), "z".into())] }.into()
        }
        "array31_plus_hash" => {
            Table { array: (1..=31).map(Value::Int).collect(), pairs: vec![("k".into(), "v".into())] }.into()
        }
        // What its `__pairs` gives.
        "pairs_metamethod" => {
            Table::from_pairs(vec![(Value::Int(1), Value::Int(10)), (Value::Int(2), Value::Int(20))]).into()
        }
        "metatable_without_pairs" => Table::from_array(vec![Value::Int(1), Value::Int(2)]).into(),
        "depth_32_with_leaf" => nested(Table::from_array(vec![Value::Int(7)]), 31),
        "depth_33_innermost_empty" => nested(Table::default(), 32),
        _ => match name.strip_prefix("array_").and_then(|name| name.strip_suffix("_of_1")) {
            Some(len) => ones(len).into(),
            None => panic!("no value for {name}: {lua}"),
        },
    }]
}

/// Evaluates the literals of Lua that the vectors use, and the few operators on numbers.
struct Literals<'a> {
    rest: &'a str,
}

impl<'a> Literals<'a> {
    fn all(mut self) -> Vec<Value> {
        let mut values = Vec::new();
        while !self.rest.is_empty() {
            values.push(self.quotient());
            assert!(self.rest.is_empty() || self.eat(","), "at {}", self.rest);
        }
        values
    }

    fn eat(&mut self, text: &str) -> bool {
        self.rest.strip_prefix(text).map(|rest| self.rest = rest).is_some()
    }

    fn expect(&mut self, text: &str) {
        assert!(self.eat(text), "{text} wanted at {}", self.rest);
    }

    fn take_while(&mut self, is_wanted: impl Fn(char) -> bool) -> &'a str {
        let len = self.rest.find(|found| !is_wanted(found)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn quotient(&mut self) -> Value {
        let left = self.negation();
        if !self.eat("/") {
            return left;
        }
        Value::Float(match (float(&left), float(&self.negation())) {
            // The NaN of x86-64, where the vectors were taken.
            (0.0, 0.0) => f64::from_bits(0xfff8 << 48),
            (left, right) => left / right,
        })
    }

    fn negation(&mut self) -> Value {
        if !self.eat("-") {
            return self.power();
        }
        match self.negation() {
            Value::Int(value) => Value::Int(-value),
            value => Value::Float(-float(&value)),
        }
    }

    fn power(&mut self) -> Value {
        let base = self.atom();
        if !self.eat("^") {
            return base;
        }
        Value::Float(float(&base).powf(float(&self.negation())))
    }

    fn atom(&mut self) -> Value {
        if self.eat("(") {
            let value = self.quotient();
            self.expect(")");
            return value;
        }
        if self.eat("string.rep(") {
            let value = self.quotient();
            self.expect(",");
            let count = self.quotient().as_int().unwrap() as usize;
            self.expect(")");
            return Value::Bytes(value.as_bytes().unwrap().repeat(count));
        }
        match self.rest.chars().next() {
            Some('{') => self.table().into(),
            Some('"' | '\'') => Value::Bytes(self.string()),
            Some('0'..='9') => self.number(),
            _ => match self.take_while(|found| found.is_alphanumeric() || found == '.') {
                "nil" => Value::Nil,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "math.pi" => Value::Float(std::f64::consts::PI),
                "math.mininteger" => Value::Int(i64::MIN),
                word => panic!("no value for {word}"),
            },
        }
    }

    fn number(&mut self) -> Value {
        if self.eat("0x") {
            return Value::Int(
                i64::from_str_radix(self.take_while(|digit| digit.is_ascii_hexdigit()), 16).unwrap(),
            );
        }
        let mut number =
            self.take_while(|found| found.is_ascii_digit() || found == '.' || found == 'e').to_owned();
        if number.ends_with('e') && self.eat("-") {
            number = format!("{number}-{}", self.take_while(|digit| digit.is_ascii_digit()));
        }
        match number.parse() {
            Ok(value) => Value::Int(value),
            Err(_) => Value::Float(number.parse().unwrap()),
        }
    }

    fn string(&mut self) -> Vec<u8> {
        let quote = self.rest.as_bytes()[0];
        self.rest = &self.rest[1..];
        let mut string = Vec::new();
        loop {
            let byte = self.rest.as_bytes()[0];
            self.rest = &self.rest[1..];
            if byte == quote {
                return string;
            }
            string.push(match byte {
                b'\\' if self.eat("x") => {
                    let (digits, rest) = self.rest.split_at(2);
                    self.rest = rest;
                    u8::from_str_radix(digits, 16).unwrap()
                }
                b'\\' => self.take_while(|digit| digit.is_ascii_digit()).parse().unwrap(),
                byte => byte,
            });
        }
    }

    /// The array part ends before the first nil, as the `#` of that node had it.
    fn table(&mut self) -> Table {
        self.expect("{");
        let mut table = Table::default();
        let mut listed = Vec::new();
        while !self.eat("}") {
            if self.eat("[") {
                let key = self.quotient();
                self.expect("]=");
                table.pairs.push((key, self.quotient()));
            } else if let Some(name) = self.field_name() {
                table.pairs.push((name.into(), self.quotient()));
            } else {
                listed.push(self.quotient());
            }
            self.eat(",");
        }
        let border = listed.iter().position(|value| *value == Value::Nil).unwrap_or(listed.len());
        let later = (1..).zip(&listed).skip(border).filter(|(_, value)| **value != Value::Nil);
        table.pairs.extend(later.map(|(index, value)| (Value::Int(index), value.clone())));
        listed.truncate(border);
        Table { array: listed, ..table }
    }

    fn field_name(&mut self) -> Option<&'a str> {
        let (name, rest) = self.rest.split_once('=')?;
        name.chars().all(char::is_alphabetic).then(|| {
            self.rest = rest;
            name
        })
    }
}

fn float(number: &Value) -> f64 {
    match number {
        Value::Int(value) => *value as f64,
        Value::Float(value) => *value,
        value => panic!("{value:?} is no number"),
    }
}
