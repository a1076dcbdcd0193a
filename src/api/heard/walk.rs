//! The walk over a message while serde reads it: every deserializer, visitor and access is wrapped, so that each value's place is
//! known and each struct's own list of fields decides which members it is shown.

use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, U32Deserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::{At, NOBODY, Notes, SAFE};
use crate::api::problem::clip;

/// A deserializer, seed, sequence or variant of which the place is known.
pub(super) struct With<'a, T> {
    pub(super) inner: T,
    pub(super) at: &'a At<'a>,
    pub(super) notes: &'a Notes,
}

impl<'a, T> With<'a, T> {
    /// What reads the value, with the names that a struct has.
    const fn look<V>(visitor: V, at: &'a At<'a>, notes: &'a Notes, known: Known) -> Look<'a, V> {
        Look { inner: visitor, at, notes, known }
    }
}

/// Names that can stand here; none: it is a map, and any can.
type Known = Option<&'static [&'static str]>;

macro_rules! forward {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(Self::look(visitor, self.at, self.notes, None))
        }
    )* };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for With<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option
        deserialize_unit deserialize_seq deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, Self::look(visitor, self.at, self.notes, None))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_newtype_struct(name, Self::look(visitor, self.at, self.notes, None))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_tuple(len, Self::look(visitor, self.at, self.notes, None))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_tuple_struct(name, len, Self::look(visitor, self.at, self.notes, None))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_struct(name, fields, Self::look(visitor, self.at, self.notes, Some(fields)))
    }

    /// JSON shows whether an enum has a payload: a text has none, an object of one member has.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Choose { inner: visitor, at: self.at, notes: self.notes, name, variants })
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A visitor that hands on what it sees, places included.
struct Look<'a, V> {
    inner: V,
    at: &'a At<'a>,
    notes: &'a Notes,
    known: Known,
}

macro_rules! hand_on {
    ($($method:ident: $kind:ty,)*) => { $(
        fn $method<E: de::Error>(self, value: $kind) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )* };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Look<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    hand_on! {
        visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128, visit_f64: f64,
        visit_char: char, visit_str: &str, visit_borrowed_str: &'de str, visit_string: String, visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(With { inner, at: self.at, notes: self.notes })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(With { inner, at: self.at, notes: self.notes })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(With { inner, at: self.at, notes: self.notes })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Members { inner, at: self.at, notes: self.notes, known: self.known, name: "*" })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for With<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(With { inner, at: self.at, notes: self.notes })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for With<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let at = At { up: Some(self.at), name: "*" };
        self.inner.next_element_seed(With { inner: seed, at: &at, notes: self.notes })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// The members of an object; those of a struct that it does not have are skipped.
struct Members<'a, A> {
    inner: A,
    at: &'a At<'a>,
    notes: &'a Notes,
    known: Known,
    /// Whose value comes next.
    name: &'static str,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(known) = self.known else { return self.inner.next_key_seed(seed) };
        while let Some(key) = self.inner.next_key_seed(Word(known))? {
            match key {
                Ok(name) => {
                    self.name = name;
                    return seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some);
                }
                Err(other) => {
                    self.notes.add(self.at, &other);
                    self.inner.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let at = At { up: Some(self.at), name: self.name };
        self.inner.next_value_seed(With { inner: seed, at: &at, notes: self.notes })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// Reads a text: one of the known ones, or another.
struct Word(&'static [&'static str]);

impl Word {
    fn find(&self, text: &str) -> Result<&'static str, String> {
        self.0.iter().find(|known| **known == text).copied().ok_or_else(|| text.to_owned())
    }
}

impl<'de> DeserializeSeed<'de> for Word {
    type Value = Result<&'static str, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Word {
    type Value = Result<&'static str, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.find(text))
    }
}

/// Reads the value of an enum.
struct Choose<'a, V> {
    inner: V,
    at: &'a At<'a>,
    notes: &'a Notes,
    name: &'static str,
    variants: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> Choose<'_, V> {
    /// Takes the safe value of this enum for `text`.
    fn instead<E: de::Error>(self, text: &str) -> Result<V::Value, E> {
        let Some((_, safe)) = SAFE.iter().find(|(name, _)| *name == self.name) else {
            return Err(E::unknown_variant(clip(text), self.variants));
        };
        let place = self.at.to_string();
        self.notes.add(At::ROOT, &format!("{}: '{}', taken as '{safe}'", place.trim_end_matches('.'), clip(text)));
        match *safe {
            NOBODY => self.inner.visit_enum(U32Deserializer::new(u32::MAX)),
            safe => self.inner.visit_enum(BorrowedStrDeserializer::new(safe)),
        }
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Choose<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {:?}", self.variants)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<V::Value, E> {
        match Word(self.variants).find(text) {
            Ok(known) => self.inner.visit_enum(BorrowedStrDeserializer::new(known)),
            Err(other) => self.instead(&other),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        let Some(key) = map.next_key_seed(Word(self.variants))? else {
            return Err(de::Error::invalid_length(0, &"an object with one member"));
        };
        match key {
            Ok(name) => self.inner.visit_enum(Payload { inner: map, at: self.at, notes: self.notes, name }),
            Err(other) => {
                map.next_value::<IgnoredAny>()?;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                self.instead(&other)
            }
        }
    }
}

/// An enum with a payload: an object of one member.
struct Payload<'a, A> {
    inner: A,
    at: &'a At<'a>,
    notes: &'a Notes,
    name: &'static str,
}

impl<'de, A: MapAccess<'de>> Payload<'_, A> {
    fn only<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<S::Value, A::Error> {
        let at = At { up: Some(self.at), name: self.name };
        let value = self.inner.next_value_seed(With { inner: seed, at: &at, notes: self.notes })?;
        match self.inner.next_key::<IgnoredAny>()? {
            Some(_) => Err(de::Error::invalid_length(2, &"an object with one member")),
            None => Ok(value),
        }
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Payload<'_, A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), A::Error> {
        let name = seed.deserialize(BorrowedStrDeserializer::<A::Error>::new(self.name))?;
        Ok((name, self))
    }
}

/// Reads the fields of a variant.
struct Fields<V>(&'static [&'static str], V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Fields<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_struct("", self.0, self.1)
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Payload<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.only(std::marker::PhantomData::<()>)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.only(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, _: V) -> Result<V::Value, A::Error> {
        Err(de::Error::invalid_length(len, &"a variant that messages have"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.only(Fields(fields, visitor))
    }
}
