//! Tables as serde's sequences, tuples, maps, structs and variants.

use super::deserialize::{Deserializer, Fault, Place};
use super::error::reason;
use super::format::Token;
use super::outline::{Entry, Outline};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use std::iter::Peekable;
use std::vec::IntoIter;

/// A table that is about to be read as some type.
#[derive(Clone, Copy)]
pub(super) struct TableView<'m, 'de> {
    source: Deserializer<'m, 'de>,
    entry: Entry,
    array_len: usize,
}

/// The keys of a table's pairs, for those who want a list. A sender may put elements there: Lua does so with those
/// behind a hole, and with all of them for a table with `__pairs`.
struct Indices {
    /// The elements behind the array part, sorted by their indices.
    later: Vec<(i64, Entry)>,
    /// How many keys are no indices.
    others: usize,
}

impl<'m, 'de> TableView<'m, 'de> {
    /// `source` is where a table of that array length is.
    pub(super) fn new(source: Deserializer<'m, 'de>, array_len: usize) -> Result<Self, Fault> {
        match source.place {
            Place::Value(entry) | Place::Key(entry) => Ok(Self { source, entry, array_len }),
            Place::Index { .. } | Place::Missing { .. } => Err(Fault::new(reason::UNWANTED_TABLE)),
        }
    }

    /// A list without holes behind the array part is a sequence, and so is the empty table; all else is a map.
    pub(super) fn visit_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let indices = self.indices()?;
        let len = indices.list_len(self.array_len);
        if indices.others == 0 && len == self.array_len + indices.later.len() {
            return visitor.visit_seq(self.list(indices, len));
        }
        self.visit_map(visitor)
    }

    pub(super) fn visit_list<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let indices = self.wanted_indices()?;
        let len = indices.list_len(self.array_len);
        let holes = len - self.array_len - indices.later.len();
        let holes_left = &self.source.message.holes_left;
        match holes_left.get().checked_sub(holes) {
            Some(left) => holes_left.set(left),
            None => return Err(Fault::new(reason::TOO_SPARSE)),
        }
        visitor.visit_seq(self.list(indices, len))
    }

    pub(super) fn visit_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(self.list(self.wanted_indices()?, len))
    }

    pub(super) fn visit_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let elements = (1..).zip(self.outline().elements(self.entry, self.array_len));
        let pairs = self.outline().pairs(self.entry, self.array_len);
        visitor.visit_map(PairAccess { source: self.source, elements, pairs, value: None })
    }

    /// Only string keys can be fields; a number would be taken for the position of one.
    pub(super) fn visit_fields<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let outline = self.outline();
        let pairs = outline
            .pairs(self.entry, self.array_len)
            .filter(|(key, _)| matches!(outline.token(*key), Ok(Token::Bytes(_))));
        visitor.visit_map(PairAccess {
            source: self.source,
            elements: std::iter::empty(),
            pairs,
            value: None,
        })
    }

    /// `{name = content}`.
    pub(super) fn variant(self) -> Result<Variant<'m, 'de>, Fault> {
        let mut pairs = self.outline().pairs(self.entry, self.array_len);
        let (Some((name, content)), None, 0) = (pairs.next(), pairs.next(), self.array_len) else {
            return Err(Fault::new(reason::VARIANT_FORM));
        };
        if self.outline().token(name)?.as_bytes().is_none() {
            return Err(Fault::new(reason::VARIANT_FORM));
        }
        let name = self.source.inside(Place::Key(name));
        Ok(Variant { name, content: Content::Value(self.source.inside(Place::Value(content))) })
    }

    fn outline(self) -> &'m Outline<'de> {
        &self.source.message.outline
    }

    fn indices(self) -> Result<Indices, Fault> {
        let mut indices = Indices { later: Vec::new(), others: 0 };
        for (key, value) in self.outline().pairs(self.entry, self.array_len) {
            match self.outline().key(key)? {
                // Those inside the array range have replaced elements already.
                Token::Int(index) if index > 0 => indices.later.push((index, value)),
                _ => indices.others += 1,
            }
        }
        indices.later.sort_unstable_by_key(|(index, _)| *index);
        Ok(indices)
    }

    /// As [`indices`](Self::indices), and an error if the table is clearly something else than a list.
    fn wanted_indices(self) -> Result<Indices, Fault> {
        let indices = self.indices()?;
        if self.array_len == 0 && indices.later.is_empty() && indices.others > 0 {
            return Err(Fault::new(reason::UNWANTED_TABLE));
        }
        Ok(indices)
    }

    fn list(self, indices: Indices, len: usize) -> ListAccess<'m, 'de, impl Iterator<Item = Entry>> {
        ListAccess {
            source: self.source,
            elements: self.outline().elements(self.entry, self.array_len),
            later: indices.later.into_iter().peekable(),
            index: 0,
            left: len,
            missing_at: self.source.offset(),
        }
    }
}

impl Indices {
    /// The largest index.
    fn list_len(&self, array_len: usize) -> usize {
        self.later.last().map_or(array_len, |(index, _)| usize::try_from(*index).unwrap_or(usize::MAX))
    }
}

/// The elements of a list, nil where one is missing.
pub(super) struct ListAccess<'m, 'de, I> {
    source: Deserializer<'m, 'de>,
    elements: I,
    later: Peekable<IntoIter<(i64, Entry)>>,
    index: i64,
    left: usize,
    missing_at: usize,
}

impl<'m, 'de> ListAccess<'m, 'de, ()> {
    /// The values of a message as elements, but for those before `first`.
    pub(super) fn of_message(
        source: Deserializer<'m, 'de>,
        first: usize,
        len: usize,
    ) -> ListAccess<'m, 'de, impl Iterator<Item = Entry>> {
        let outline = &source.message.outline;
        ListAccess {
            source,
            elements: outline.values().skip(first),
            later: Vec::new().into_iter().peekable(),
            index: 0,
            left: len,
            missing_at: outline.bytes_len(),
        }
    }
}

impl<'de, I: Iterator<Item = Entry>> SeqAccess<'de> for ListAccess<'_, 'de, I> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.index += 1;
        let later = || self.later.next_if(|(index, _)| *index == self.index).map(|(_, element)| element);
        let place = match self.elements.next().or_else(later) {
            Some(element) => Place::Value(element),
            None => Place::Missing { offset: self.missing_at },
        };
        seed.deserialize(self.source.inside(place)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// Keys and values: first the elements with their indices, then the pairs.
struct PairAccess<'m, 'de, I, P> {
    source: Deserializer<'m, 'de>,
    elements: I,
    pairs: P,
    /// The value of the key that was given last.
    value: Option<Entry>,
}

impl<'de, I, P> PairAccess<'_, 'de, I, P>
where
    I: Iterator<Item = (i64, Entry)>,
    P: Iterator<Item = (Entry, Entry)>,
{
    fn next(&mut self) -> Result<Option<(Place, Entry)>, Fault> {
        for (index, element) in self.elements.by_ref() {
            if self.source.message.outline.token(element)? != Token::Nil {
                return Ok(Some((Place::Index { index, element }, element)));
            }
        }
        Ok(self.pairs.next().map(|(key, value)| (Place::Key(key), value)))
    }
}

impl<'de, I, P> MapAccess<'de> for PairAccess<'_, 'de, I, P>
where
    I: Iterator<Item = (i64, Entry)>,
    P: Iterator<Item = (Entry, Entry)>,
{
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, value)) = self.next()? else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(self.source.inside(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let value = self.value.take().ok_or(Fault::new(reason::REFUSED))?;
        seed.deserialize(self.source.inside(Place::Value(value)))
    }
}

/// A variant's name and content.
pub(super) struct Variant<'m, 'de> {
    name: Deserializer<'m, 'de>,
    content: Content<'m, 'de>,
}

impl<'m, 'de> Variant<'m, 'de> {
    /// The name alone: the content is nil.
    pub(super) fn of_name(name: Deserializer<'m, 'de>) -> Self {
        Self { name, content: Content::Value(name.inside(Place::Missing { offset: name.offset() })) }
    }

    /// The name is the first value of the message, the content is the others.
    pub(super) fn of_message(name: Deserializer<'m, 'de>) -> Self {
        let outline = &name.message.outline;
        let second = outline.values().nth(1);
        let place = second.map_or(Place::Missing { offset: outline.bytes_len() }, Place::Value);
        Self { name, content: Content::Arguments(name.inside(place)) }
    }
}

impl<'m, 'de> de::EnumAccess<'de> for Variant<'m, 'de> {
    type Error = Fault;
    type Variant = Content<'m, 'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'m, 'de>), Fault> {
        Ok((seed.deserialize(self.name)?, self.content))
    }
}

/// A variant's content.
pub(super) enum Content<'m, 'de> {
    /// One value.
    Value(Deserializer<'m, 'de>),
    /// The values of the message from the second on; here is that one.
    Arguments(Deserializer<'m, 'de>),
}

impl<'m, 'de> Content<'m, 'de> {
    /// The only value, or the first.
    fn value(self) -> Deserializer<'m, 'de> {
        match self {
            Self::Value(value) | Self::Arguments(value) => value,
        }
    }
}

impl<'de> de::VariantAccess<'de> for Content<'_, 'de> {
    type Error = Fault;

    /// A sender in Lua may write `{name = true}`.
    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.value())
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Self::Value(table) => de::Deserializer::deserialize_tuple(table, len, visitor),
            Self::Arguments(first) => visitor.visit_seq(ListAccess::of_message(first, 1, len)),
        }
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        de::Deserializer::deserialize_struct(self.value(), "", fields, visitor)
    }
}

/// The bytes of a string as elements, for a `Vec<u8>` and the like. Other integers do not take them: a list of
/// numbers is no string.
pub(super) struct ByteElements<'de>(std::slice::Iter<'de, u8>);

impl<'de> ByteElements<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self(bytes.iter())
    }
}

impl<'de> SeqAccess<'de> for ByteElements<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        self.0.next().map(|byte| seed.deserialize(ByteElement(*byte))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct ByteElement(u8);

impl<'de> de::Deserializer<'de> for ByteElement {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::new(reason::UNWANTED_STRING))
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u8(self.0)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
