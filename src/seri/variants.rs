//! The names of an enum's variants, which serde's derive knows and no trait tells.

use super::deserialize::Fault;
use super::error::reason;
use serde::de::{Deserialize, Deserializer, Visitor};

/// The names of the variants of `T` as they are packed; `None` if it is no enum, or one that is read in another way
/// (untagged, internally or adjacently tagged).
pub(crate) fn variant_names<T: for<'de> Deserialize<'de>>() -> Option<&'static [&'static str]> {
    let mut names = None;
    // It ends as soon as it has asked.
    let _ = T::deserialize(Listener { names: &mut names });
    names
}

/// Gives nothing, and remembers what it was asked for.
struct Listener<'n> {
    names: &'n mut Option<&'static [&'static str]>,
}

impl<'de> Deserializer<'de> for Listener<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::new(reason::VARIANT_FORM))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Fault> {
        *self.names = Some(variants);
        Err(Fault::new(reason::VARIANT_FORM))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    #[allow(dead_code, reason = "only their names matter")]
    enum Order {
        Stop,
        GoOn(u8),
        #[serde(rename = "at")]
        Place {
            x: i64,
        },
        #[serde(alias = "halt", alias = "end")]
        Rest,
    }

    #[derive(Deserialize)]
    #[serde(tag = "kind")]
    #[allow(dead_code, reason = "only their names matter")]
    enum Tagged {
        Stop,
    }

    #[test]
    fn the_names_are_those_that_are_packed() {
        let names = variant_names::<Order>().expect("an enum");
        for name in ["stop", "go-on", "at", "rest"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        assert_eq!(variant_names::<Box<Order>>(), Some(names));
        assert_eq!(variant_names::<Tagged>(), None);
        assert_eq!(variant_names::<(Order, u8)>(), None);
        assert_eq!(variant_names::<String>(), None);
    }
}
