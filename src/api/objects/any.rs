//! Reads an object whose kind is known only from its text. Where `kind` comes first, as every program of this project writes it, the
//! rest is read as it comes, so what reads it still sees each struct; else the object is kept until its kind is known.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Any;

const FIELDS: &[&str] = &["kind", "metadata", "spec", "status"];

/// Kinds as they are written; variants of [`Any`].
#[derive(Deserialize)]
enum Tag {
    Pdc,
    Node,
    Overlay,
    Network,
    Port,
    // Both words are read: manifests and stores have the first one, too.
    #[serde(rename = "Policy", alias = "PathPolicy")]
    PathPolicy,
    Token,
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("Any", FIELDS, ReadAny)
    }
}

struct ReadAny;

impl<'de> Visitor<'de> for ReadAny {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a kind")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
        let Some(first) = map.next_key::<String>()? else { return Err(de::Error::missing_field("kind")) };
        if first == "kind" {
            let kind = map.next_value::<Tag>()?;
            return of_kind(&kind, MapAccessDeserializer::new(map));
        }
        let mut members = Map::from_iter([(first, map.next_value::<Value>()?)]);
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if members.insert(key.clone(), value).is_some() {
                return Err(de::Error::custom(format!("duplicate field `{key}`")));
            }
        }
        let kind = members.remove("kind").ok_or_else(|| de::Error::missing_field("kind"))?;
        let kind = Tag::deserialize(kind).map_err(de::Error::custom)?;
        of_kind(&kind, Value::Object(members)).map_err(de::Error::custom)
    }
}

fn of_kind<'de, D: Deserializer<'de>>(kind: &Tag, rest: D) -> Result<Any, D::Error> {
    Ok(match kind {
        Tag::Pdc => Any::Pdc(Deserialize::deserialize(rest)?),
        Tag::Node => Any::Node(Deserialize::deserialize(rest)?),
        Tag::Overlay => Any::Overlay(Deserialize::deserialize(rest)?),
        Tag::Network => Any::Network(Deserialize::deserialize(rest)?),
        Tag::Port => Any::Port(Deserialize::deserialize(rest)?),
        Tag::PathPolicy => Any::PathPolicy(Deserialize::deserialize(rest)?),
        Tag::Token => Any::Token(Deserialize::deserialize(rest)?),
    })
}
