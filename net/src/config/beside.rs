// SPDX-License-Identifier: Apache-2.0
//! A table whose keys belong to two types. `#[serde(flatten)]` does that too, but loses where a value stood.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};

/// The keys that are taken out before the rest is read.
pub trait Own<'de> {
    /// Takes the value of `key` from `map`, or leaves it and says `false`.
    ///
    /// # Errors
    /// The value's.
    fn take<M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error>;
}

/// Reads a table: `own` takes what is its own, the rest is the result.
///
/// # Errors
/// That of the first value of the wrong type.
pub fn read<'de, T, D, O>(deserializer: D, own: &mut O) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
    O: Own<'de>,
{
    deserializer.deserialize_map(Whole { own, rest: PhantomData })
}

struct Whole<'a, O, T> {
    own: &'a mut O,
    rest: PhantomData<T>,
}

impl<'de, O: Own<'de>, T: Deserialize<'de>> Visitor<'de> for Whole<'_, O, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T, M::Error> {
        T::deserialize(MapAccessDeserializer::new(Rest { map, own: self.own }))
    }
}

struct Rest<'a, M, O> {
    map: M,
    own: &'a mut O,
}

impl<'de, M: MapAccess<'de>, O: Own<'de>> MapAccess<'de> for Rest<'_, M, O> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, M::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if !self.own.take(&key, &mut self.map)? {
                let key: StringDeserializer<M::Error> = key.into_deserializer();
                return seed.deserialize(key).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, M::Error> {
        self.map.next_value_seed(seed)
    }
}
