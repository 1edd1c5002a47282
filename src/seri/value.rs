//! A packed value as a tree of its own.

use super::error::{PackError, UnpackError};
use super::format::Token;
use super::outline::{Entry, Outline};
use super::reader::Limits;
use super::writer::Writer;

/// Any value that Skynet can pack.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nil.
    #[default]
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float, whatever its value.
    Float(f64),
    /// A string: any bytes.
    Bytes(Vec<u8>),
    /// A light userdata: an address of the sender's process.
    Pointer(u64),
    /// A table.
    Table(Table),
}

/// A table: its array part, and the pairs of all other keys in no particular order.
///
/// What [`unpack`] gives has distinct keys, no nil as a pair's value, no integral float as key and no key inside the
/// array range. [`pack`] writes a table as it is, except that it leaves pairs out whose value is nil and writes an
/// integral float key as integer. Equality is that of the parts: it knows nothing of Lua's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The values of the keys 1, 2, 3, …; nil where one is missing.
    pub array: Vec<Value>,
    /// Keys and values.
    pub pairs: Vec<(Value, Value)>,
}

impl Value {
    /// The integer, also of a float with an integral value.
    pub fn as_int(&self) -> Option<i64> {
        self.as_scalar()?.as_int()
    }

    /// The bytes of a string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.as_scalar()?.as_bytes()
    }

    /// The text of a string, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The table.
    pub fn as_table(&self) -> Option<&Table> {
        if let Self::Table(table) = self { Some(table) } else { None }
    }

    /// Writes this value. Calls itself only as deep as the writer lets tables nest.
    pub(crate) fn write(&self, writer: &mut Writer<'_>) -> Result<(), PackError> {
        match self {
            Self::Nil => writer.nil(),
            Self::Bool(value) => writer.bool(*value),
            Self::Int(value) => writer.int(*value),
            Self::Float(value) => writer.float(*value),
            Self::Bytes(value) => writer.bytes(value),
            Self::Pointer(value) => writer.pointer(*value),
            Self::Table(table) => {
                writer.begin_table(table.array.len())?;
                for element in &table.array {
                    element.write(writer)?;
                }
                for (key, value) in &table.pairs {
                    key.write(writer)?;
                    value.write(writer)?;
                }
                writer.end()
            }
        }
    }

    fn as_scalar(&self) -> Option<Token<'_>> {
        Some(match self {
            Self::Nil => Token::Nil,
            Self::Bool(value) => Token::Bool(*value),
            Self::Int(value) => Token::Int(*value),
            Self::Float(value) => Token::Float(*value),
            Self::Bytes(value) => Token::Bytes(value),
            Self::Pointer(value) => Token::Pointer(*value),
            Self::Table(_) => return None,
        })
    }
}

impl Table {
    /// A table with nothing but an array.
    pub fn from_array(array: Vec<Value>) -> Self {
        Self { array, pairs: Vec::new() }
    }

    /// A table with nothing but pairs.
    pub fn from_pairs(pairs: Vec<(Value, Value)>) -> Self {
        Self { array: Vec::new(), pairs }
    }

    /// The value of an integer key.
    pub fn index(&self, key: i64) -> Option<&Value> {
        let element = usize::try_from(key).ok().and_then(|key| self.array.get(key.checked_sub(1)?));
        element.or_else(|| self.find(|found| *found == Value::Int(key)))
    }

    /// The value of a string key.
    pub fn field(&self, key: &str) -> Option<&Value> {
        self.find(|found| found.as_bytes() == Some(key.as_bytes()))
    }

    fn find(&self, is_wanted: impl Fn(&Value) -> bool) -> Option<&Value> {
        // The last, as the reader of these pairs will see it.
        self.pairs.iter().rev().find(|(key, _)| is_wanted(key)).map(|(_, value)| value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Bytes(value.into())
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.into())
    }
}

impl From<Table> for Value {
    fn from(value: Table) -> Self {
        Self::Table(value)
    }
}

/// Packs values into a message.
///
/// # Errors
/// [`PackError`] says what Skynet could not write either.
pub fn pack(values: &[Value]) -> Result<Vec<u8>, PackError> {
    let mut bytes = Vec::new();
    pack_into(values, &mut bytes)?;
    Ok(bytes)
}

/// Packs values behind what `bytes` has.
///
/// # Errors
/// As [`pack`]; `bytes` is then as it was.
pub fn pack_into(values: &[Value], bytes: &mut Vec<u8>) -> Result<(), PackError> {
    let mut writer = Writer::new(bytes);
    for value in values {
        value.write(&mut writer)?;
    }
    writer.finish()
}

/// Unpacks the values of a message.
///
/// # Errors
/// The first fault of the bytes: one is enough for the whole message.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Value>, UnpackError> {
    unpack_with(bytes, &Limits::default())
}

/// Unpacks the values of a message within limits.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_with(bytes: &[u8], limits: &Limits) -> Result<Vec<Value>, UnpackError> {
    let outline = Outline::new(bytes, *limits)?;
    read_all(&outline, outline.values())
}

fn read_all(
    outline: &Outline<'_>,
    entries: impl Iterator<Item = Entry> + Clone,
) -> Result<Vec<Value>, UnpackError> {
    let mut values = Vec::with_capacity(entries.clone().count());
    for entry in entries {
        values.push(read(outline, entry, outline.token(entry)?)?);
    }
    Ok(values)
}

/// Calls itself only as deep as the limits let tables nest.
fn read(outline: &Outline<'_>, entry: Entry, token: Token<'_>) -> Result<Value, UnpackError> {
    Ok(match token {
        Token::Nil | Token::End => Value::Nil,
        Token::Bool(value) => Value::Bool(value),
        Token::Int(value) => Value::Int(value),
        Token::Float(value) => Value::Float(value),
        Token::Bytes(value) => Value::Bytes(value.to_vec()),
        Token::Pointer(value) => Value::Pointer(value),
        Token::Table { array_len } => {
            let array = read_all(outline, outline.elements(entry, array_len))?;
            let entries = outline.pairs(entry, array_len);
            let mut pairs = Vec::with_capacity(entries.clone().count());
            for (key, value) in entries {
                let key = read(outline, key, outline.key(key)?)?;
                pairs.push((key, read(outline, value, outline.token(value)?)?));
            }
            Value::Table(Table { array, pairs })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|digit| *digit != b' ').collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    fn pairs(pairs: &[(Value, Value)]) -> Value {
        Table::from_pairs(pairs.to_vec()).into()
    }

    #[test]
    fn pairs_are_settled_as_lua_assigns_them() {
        let int = Value::Int;
        for (hex, table) in [
            ("06 0a01 0a05 0a01 0a06 00", pairs(&[(int(1), int(6))])),
            ("06 0c61 0a05 0c62 0a07 0c61 00 00", pairs(&[("b".into(), int(7))])),
            ("06 0c61 00 0c61 0a05 00", pairs(&[("a".into(), int(5))])),
            ("06 42000000000000f03f 0a05 0a01 0a06 00", pairs(&[(int(1), int(6))])),
            ("06 420000000000000080 09 02 01 00", pairs(&[(int(0), Value::Bool(false))])),
            (
                "06 0600 0a01 0600 0a02 00",
                pairs(&[(Table::default().into(), int(1)), (Table::default().into(), int(2))]),
            ),
            ("06 0600 00 00", pairs(&[])),
            ("16 0a01 0a02 0a02 0a09 00", Table::from_array(vec![int(1), int(9)]).into()),
            ("16 0a01 0a02 0a02 00 00", Table::from_array(vec![int(1), Value::Nil]).into()),
            ("0e 0e0a0100 0a01 0e0a0200 00", {
                Table::from_array(vec![Table::from_array(vec![int(2)]).into()]).into()
            }),
        ] {
            assert_eq!(unpack(&bytes(hex)), Ok(vec![table]), "{hex}");
        }
    }

    #[test]
    fn many_repeated_keys_are_settled_too() {
        let key =
            |index: i64| if index % 3 == 0 { Value::Int(index) } else { Value::from(&*index.to_string()) };
        let sent: Vec<_> = (0..200).map(|index| (key(index % 50), Value::Int(index))).collect();
        let kept = sent[150..].to_vec();
        let bytes = pack(&[Table::from_pairs(sent).into()]).unwrap();
        assert_eq!(unpack(&bytes), Ok(vec![Table::from_pairs(kept).into()]));
    }

    #[test]
    fn a_refused_value_leaves_the_bytes_as_they_were() {
        let mut bytes = vec![7];
        let nil_key = pairs(&[(Value::Nil, Value::Int(1))]);
        let nan_key = pairs(&[(Value::Float(f64::NAN), Value::Int(1))]);
        assert_eq!(pack_into(&[Value::Int(1), nil_key], &mut bytes), Err(PackError::NilKey));
        assert_eq!(pack_into(&[Value::Int(1), nan_key], &mut bytes), Err(PackError::NanKey));
        assert_eq!(bytes, [7]);
    }

    #[test]
    fn tables_are_looked_up_as_lua_does() {
        let table = Table {
            array: vec![Value::Int(10), Value::Nil],
            pairs: vec![("n".into(), Value::Int(2)), (Value::Int(7), Value::Bool(true))],
        };
        assert_eq!(table.index(1), Some(&Value::Int(10)));
        assert_eq!(table.index(7), Some(&Value::Bool(true)));
        assert_eq!((table.index(0), table.index(-1)), (None, None));
        assert_eq!(table.field("n").and_then(Value::as_int), Some(2));
        assert_eq!(table.field("m"), None);
    }
}
