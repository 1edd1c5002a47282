//! From serde's types to packed values.

use super::error::PackError;
use super::writer::Writer;
use serde::ser::{self, Serialize};

/// Packs a message behind what `bytes` has; see the [module](super) for the forms.
///
/// # Errors
/// [`PackError`]; `bytes` is then as it was.
pub fn to_values<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), PackError> {
    let mut writer = Writer::new(bytes);
    value.serialize(Serializer { writer: &mut writer, is_message: true })?;
    writer.finish()
}

/// Writes one value, or the values of a message.
struct Serializer<'s, 'w> {
    writer: &'s mut Writer<'w>,
    /// Unit and tuples are as many values as they have fields, a variant has its name before them.
    is_message: bool,
}

impl<'s, 'w> Serializer<'s, 'w> {
    fn value(writer: &'s mut Writer<'w>) -> Self {
        Self { writer, is_message: false }
    }

    fn integer(self, value: Option<i64>) -> Result<(), PackError> {
        self.writer.int(value.ok_or(PackError::IntegerRange)?)
    }
}

impl<'s, 'w> ser::Serializer for Serializer<'s, 'w> {
    type Ok = ();
    type Error = PackError;
    type SerializeSeq = Tables<'s, 'w>;
    type SerializeTuple = Tables<'s, 'w>;
    type SerializeTupleStruct = Tables<'s, 'w>;
    type SerializeTupleVariant = Tables<'s, 'w>;
    type SerializeMap = Tables<'s, 'w>;
    type SerializeStruct = Tables<'s, 'w>;
    type SerializeStructVariant = Tables<'s, 'w>;

    fn serialize_bool(self, value: bool) -> Result<(), PackError> {
        self.writer.bool(value)
    }

    fn serialize_i8(self, value: i8) -> Result<(), PackError> {
        self.writer.int(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), PackError> {
        self.writer.int(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), PackError> {
        self.writer.int(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), PackError> {
        self.writer.int(value)
    }

    fn serialize_i128(self, value: i128) -> Result<(), PackError> {
        self.integer(value.try_into().ok())
    }

    fn serialize_u8(self, value: u8) -> Result<(), PackError> {
        self.writer.int(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), PackError> {
        self.writer.int(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), PackError> {
        self.writer.int(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), PackError> {
        self.integer(value.try_into().ok())
    }

    fn serialize_u128(self, value: u128) -> Result<(), PackError> {
        self.integer(value.try_into().ok())
    }

    fn serialize_f32(self, value: f32) -> Result<(), PackError> {
        self.writer.float(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), PackError> {
        self.writer.float(value)
    }

    fn serialize_char(self, value: char) -> Result<(), PackError> {
        self.writer.str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), PackError> {
        self.writer.str(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), PackError> {
        self.writer.bytes(value)
    }

    fn serialize_none(self) -> Result<(), PackError> {
        self.writer.nil()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), PackError> {
        value.serialize(Serializer::value(self.writer))
    }

    fn serialize_unit(self) -> Result<(), PackError> {
        if self.is_message { Ok(()) } else { self.writer.nil() }
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), PackError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), PackError> {
        self.writer.str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), PackError> {
        value.serialize(Serializer::value(self.writer))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), PackError> {
        const EMPTY_TABLE_LEN: usize = 2;
        if self.is_message {
            self.writer.str(variant)?;
            return value.serialize(Serializer::value(self.writer));
        }
        let position = self.writer.position();
        self.writer.begin_table(0)?;
        self.writer.str(variant)?;
        value.serialize(Serializer::value(self.writer))?;
        self.writer.end()?;
        // A pair with nil does not exist, and the name must not be lost.
        if self.writer.position() == position + EMPTY_TABLE_LEN {
            self.writer.replace_with_str(position, variant)?;
        }
        Ok(())
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Tables<'s, 'w>, PackError> {
        self.writer.begin_array(len.unwrap_or(0))?;
        Ok(Tables { writer: self.writer, depth: 1 })
    }

    fn serialize_tuple(self, len: usize) -> Result<Tables<'s, 'w>, PackError> {
        if self.is_message {
            return Ok(Tables { writer: self.writer, depth: 0 });
        }
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Tables<'s, 'w>, PackError> {
        self.serialize_tuple(len)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Tables<'s, 'w>, PackError> {
        if self.is_message {
            self.writer.str(variant)?;
            return Ok(Tables { writer: self.writer, depth: 0 });
        }
        self.writer.begin_table(0)?;
        self.writer.str(variant)?;
        self.writer.begin_array(len)?;
        Ok(Tables { writer: self.writer, depth: 2 })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Tables<'s, 'w>, PackError> {
        self.writer.begin_table(0)?;
        Ok(Tables { writer: self.writer, depth: 1 })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Tables<'s, 'w>, PackError> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Tables<'s, 'w>, PackError> {
        let depth = if self.is_message {
            1
        } else {
            self.writer.begin_table(0)?;
            2
        };
        self.writer.str(variant)?;
        self.writer.begin_table(0)?;
        Ok(Tables { writer: self.writer, depth })
    }
}

/// The inside of a sequence, map, variant or message: values, then the end of so many tables.
struct Tables<'s, 'w> {
    writer: &'s mut Writer<'w>,
    depth: u8,
}

impl Tables<'_, '_> {
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PackError> {
        value.serialize(Serializer::value(self.writer))
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), PackError> {
        self.writer.str(name)?;
        self.value(value)
    }

    fn finish(self) -> Result<(), PackError> {
        (0..self.depth).try_for_each(|_| self.writer.end())
    }
}

impl ser::SerializeSeq for Tables<'_, '_> {
    type Ok = ();
    type Error = PackError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PackError> {
        self.value(value)
    }

    fn end(self) -> Result<(), PackError> {
        self.finish()
    }
}

impl ser::SerializeTuple for Tables<'_, '_> {
    type Ok = ();
    type Error = PackError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PackError> {
        self.value(value)
    }

    fn end(self) -> Result<(), PackError> {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Tables<'_, '_> {
    type Ok = ();
    type Error = PackError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PackError> {
        self.value(value)
    }

    fn end(self) -> Result<(), PackError> {
        self.finish()
    }
}

impl ser::SerializeTupleVariant for Tables<'_, '_> {
    type Ok = ();
    type Error = PackError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PackError> {
        self.value(value)
    }

    fn end(self) -> Result<(), PackError> {
        self.finish()
    }
}

impl ser::SerializeMap for Tables<'_, '_> {
    type Ok = ();
    type Error = PackError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), PackError> {
        self.value(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PackError> {
        self.value(value)
    }

    fn end(self) -> Result<(), PackError> {
        self.finish()
    }
}

impl ser::SerializeStruct for Tables<'_, '_> {
    type Ok = ();
    type Error = PackError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), PackError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), PackError> {
        self.finish()
    }
}

impl ser::SerializeStructVariant for Tables<'_, '_> {
    type Ok = ();
    type Error = PackError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), PackError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), PackError> {
        self.finish()
    }
}
