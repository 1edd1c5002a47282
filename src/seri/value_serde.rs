//! [`Value`] as serde sees it: to carry any value inside a typed message, or to turn it into another format.

use super::value::{Table, Value};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};
use std::fmt;

/// A table without pairs is a sequence, any other a map in which the elements have their indices as keys; a string
/// is text if it is UTF-8. A pointer is an error.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_none(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Bytes(value) => match std::str::from_utf8(value) {
                Ok(text) => serializer.serialize_str(text),
                Err(_) => serializer.serialize_bytes(value),
            },
            Self::Pointer(_) => Err(S::Error::custom("a pointer means nothing outside its process")),
            Self::Table(table) => table.serialize(serializer),
        }
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.pairs.is_empty() {
            let mut list = serializer.serialize_seq(Some(self.array.len()))?;
            self.array.iter().try_for_each(|element| list.serialize_element(element))?;
            return list.end();
        }
        let mut map = serializer.serialize_map(None)?;
        for (index, element) in (1_i64..).zip(&self.array) {
            if *element != Value::Nil {
                map.serialize_entry(&index, element)?;
            }
        }
        self.pairs.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

/// Of a map, the values of the keys 1, 2, 3, … become the array part as long as they come in this order.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any value that Lua has")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        let wide = |_| E::invalid_value(de::Unexpected::Unsigned(value), &self);
        value.try_into().map(Value::Int).map_err(wide)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = list.next_element()? {
            array.push(element);
        }
        Ok(Table::from_array(array).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut table = Table::default();
        while let Some((key, value)) = map.next_entry::<Value, Value>()? {
            if key == Value::Int(table.array.len() as i64 + 1) {
                table.array.push(value);
            } else if value != Value::Nil {
                table.pairs.push((key, value));
            }
        }
        Ok(table.into())
    }
}
