//! From packed values to serde's types.

use super::error::{UnpackError, reason};
use super::format::Token;
use super::outline::{Entry, Outline};
use super::reader::Limits;
use super::tables::{ByteElements, ListAccess, TableView, Variant};
use crate::limits::{SERI_HOLES_MAX, SERI_WRAPPERS_MAX};
use serde::de::{self, Deserialize, Unexpected, Visitor};
use std::cell::Cell;
use std::fmt;

/// Unpacks a message; see the [module](super) for the forms. Text and bytes may be borrowed from it.
///
/// # Errors
/// The first fault of the bytes, or the first value that the type does not take. A pointer is one, except where it is ignored.
pub fn from_values<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, UnpackError> {
    let outline = Outline::new(bytes, Limits::default())?;
    let message = Message { holes_left: Cell::new(SERI_HOLES_MAX + bytes.len()), outline };
    let first = message.outline.values().next();
    let place = first.map_or(Place::Missing { offset: bytes.len() }, Place::Value);
    let deserializer = Deserializer { message: &message, place, is_message: true, wrappers: 0 };
    T::deserialize(deserializer)
        .map_err(|fault| UnpackError { offset: fault.offset.unwrap_or(0), reason: fault.reason })
}

/// What is read, and what may still be made of it.
pub(super) struct Message<'de> {
    pub(super) outline: Outline<'de>,
    /// Nils that may yet be given for elements that are not there.
    pub(super) holes_left: Cell<usize>,
}

/// Where a value is.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Value(Entry),
    /// As value it may be a float that as key is an integer.
    Key(Entry),
    /// The key of an element of an array.
    Index {
        index: i64,
        element: Entry,
    },
    /// Nil, where something is missing.
    Missing {
        offset: usize,
    },
}

/// Why a type cannot be read.
#[derive(Debug)]
pub(super) struct Fault {
    /// Known as soon as the fault has left the type that found it.
    offset: Option<usize>,
    reason: &'static str,
}

/// Reads one value, or the values of a message.
#[derive(Clone, Copy)]
pub(super) struct Deserializer<'m, 'de> {
    pub(super) message: &'m Message<'de>,
    pub(super) place: Place,
    /// Unit and tuples are as many values as they have fields, a variant has its name before them.
    is_message: bool,
    /// Options and newtypes around this value and those that it is in.
    wrappers: usize,
}

impl<'m, 'de> Deserializer<'m, 'de> {
    /// A value that is inside this one.
    pub(super) fn inside(self, place: Place) -> Self {
        Self { place, is_message: false, ..self }
    }

    /// The same value inside an option or newtype.
    fn unwrapped(self) -> Result<Self, Fault> {
        if self.wrappers >= SERI_WRAPPERS_MAX {
            return Err(Fault::new(reason::TOO_DEEP));
        }
        Ok(Self { is_message: false, wrappers: self.wrappers + 1, ..self })
    }

    pub(super) fn offset(self) -> usize {
        match self.place {
            Place::Value(entry) | Place::Key(entry) | Place::Index { element: entry, .. } => {
                self.message.outline.offset(entry)
            }
            Place::Missing { offset } => offset,
        }
    }

    fn token(self) -> Result<Token<'de>, Fault> {
        let token = match self.place {
            Place::Value(entry) => self.message.outline.token(entry),
            Place::Key(entry) => self.message.outline.key(entry),
            Place::Index { index, .. } => Ok(Token::Int(index)),
            Place::Missing { .. } => Ok(Token::Nil),
        };
        token.map_err(Fault::from)
    }
}

impl<'de> Deserializer<'_, 'de> {
    /// A value of whatever type it has.
    fn any<V: Visitor<'de>>(self, token: Token<'de>, visitor: V) -> Result<V::Value, Fault> {
        match token {
            Token::Nil | Token::End => visitor.visit_unit(),
            Token::Bool(value) => visitor.visit_bool(value),
            Token::Int(value) => visitor.visit_i64(value),
            Token::Float(value) => visitor.visit_f64(value),
            Token::Bytes(value) => match std::str::from_utf8(value) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => visitor.visit_borrowed_bytes(value),
            },
            Token::Pointer(_) => Err(Fault::new(reason::POINTER)),
            Token::Table { array_len } => TableView::new(self, array_len)?.visit_any(visitor),
        }
    }

    /// An integer, or a float that stands for one.
    fn integer<V: Visitor<'de>>(self, token: Token<'de>, visitor: V) -> Result<V::Value, Fault> {
        match token.as_int() {
            Some(value) => visitor.visit_i64(value),
            None => self.any(token, visitor),
        }
    }

    fn text<V: Visitor<'de>>(self, token: Token<'de>, visitor: V) -> Result<V::Value, Fault> {
        let Token::Bytes(bytes) = token else { return self.any(token, visitor) };
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::new(reason::NOT_TEXT))?;
        visitor.visit_borrowed_str(text)
    }

    fn bytes<V: Visitor<'de>>(self, token: Token<'de>, visitor: V) -> Result<V::Value, Fault> {
        let Token::Bytes(bytes) = token else { return self.sequence(token, visitor) };
        visitor.visit_borrowed_bytes(bytes)
    }

    /// A table as a list, or a string as a list of bytes.
    fn sequence<V: Visitor<'de>>(self, token: Token<'de>, visitor: V) -> Result<V::Value, Fault> {
        match token {
            Token::Bytes(bytes) => visitor.visit_seq(ByteElements::new(bytes)),
            Token::Table { array_len } => TableView::new(self, array_len)?.visit_list(visitor),
            _ => self.any(token, visitor),
        }
    }

    /// So many values of the message, so many elements of a table, or so many bytes.
    fn tuple<V: Visitor<'de>>(self, token: Token<'de>, len: usize, visitor: V) -> Result<V::Value, Fault> {
        match token {
            _ if self.is_message => visitor.visit_seq(ListAccess::of_message(self, 0, len)),
            Token::Bytes(bytes) if bytes.len() == len => visitor.visit_seq(ByteElements::new(bytes)),
            Token::Table { array_len } => TableView::new(self, array_len)?.visit_tuple(len, visitor),
            _ => self.any(token, visitor),
        }
    }

    fn variant<V: Visitor<'de>>(self, token: Token<'de>, visitor: V) -> Result<V::Value, Fault> {
        match token {
            Token::Bytes(_) if self.is_message => visitor.visit_enum(Variant::of_message(self)),
            Token::Bytes(_) => visitor.visit_enum(Variant::of_name(self)),
            Token::Table { array_len } => visitor.visit_enum(TableView::new(self, array_len)?.variant()?),
            _ => self.any(token, visitor),
        }
    }

    /// Reads the token, and says of faults that they are here unless they are inside.
    fn visit<T>(self, read: impl FnOnce(Self, Token<'de>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.token()
            .and_then(|token| read(self, token))
            .map_err(|fault| Fault { offset: fault.offset.or(Some(self.offset())), ..fault })
    }
}

impl<'de> de::Deserializer<'de> for Deserializer<'_, 'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.any(token, visitor))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.integer(token, visitor))
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.integer(token, visitor))
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.integer(token, visitor))
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.integer(token, visitor))
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.integer(token, visitor))
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.integer(token, visitor))
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.integer(token, visitor))
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.integer(token, visitor))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.integer(token, visitor))
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.integer(token, visitor))
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.text(token, visitor))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.text(token, visitor))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.text(token, visitor))
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.bytes(token, visitor))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.bytes(token, visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| match token {
            Token::Nil => visitor.visit_none(),
            _ => visitor.visit_some(this.unwrapped()?),
        })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_message { visitor.visit_unit() } else { self.deserialize_any(visitor) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit(|this, _| visitor.visit_newtype_struct(this.unwrapped()?))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.sequence(token, visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.tuple(token, len, visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(|this, token| match token {
            Token::Table { array_len } => TableView::new(this, array_len)?.visit_map(visitor),
            _ => this.any(token, visitor),
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit(|this, token| match token {
            Token::Table { array_len } => TableView::new(this, array_len)?.visit_fields(visitor),
            _ => this.any(token, visitor),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit(|this, token| this.variant(token, visitor))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

impl Fault {
    pub(super) fn new(reason: &'static str) -> Self {
        Self { offset: None, reason }
    }
}

impl From<UnpackError> for Fault {
    fn from(error: UnpackError) -> Self {
        Self { offset: Some(error.offset), reason: error.reason }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.reason)
    }
}

impl std::error::Error for Fault {}

/// The texts of other implementations are not kept: they would have to be allocated for each bad message.
impl de::Error for Fault {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::new(reason::REFUSED)
    }

    fn invalid_type(found: Unexpected<'_>, _: &dyn de::Expected) -> Self {
        Self::new(match found {
            Unexpected::Unit | Unexpected::Option => reason::UNWANTED_NIL,
            Unexpected::Bool(_) => reason::UNWANTED_BOOL,
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => reason::UNWANTED_INT,
            Unexpected::Float(_) => reason::UNWANTED_FLOAT,
            Unexpected::Str(_) | Unexpected::Bytes(_) | Unexpected::Char(_) => reason::UNWANTED_STRING,
            Unexpected::Seq | Unexpected::Map => reason::UNWANTED_TABLE,
            _ => reason::VARIANT_FORM,
        })
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn de::Expected) -> Self {
        Self::new(reason::VALUE)
    }

    fn invalid_length(_: usize, _: &dyn de::Expected) -> Self {
        Self::new(reason::LENGTH)
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::new(reason::UNKNOWN_VARIANT)
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::new(reason::UNKNOWN_FIELD)
    }

    fn missing_field(_: &'static str) -> Self {
        Self::new(reason::MISSING_FIELD)
    }

    fn duplicate_field(_: &'static str) -> Self {
        Self::new(reason::REPEATED_FIELD)
    }
}
