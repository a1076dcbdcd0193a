//! Manifests: objects as YAML or JSON, several documents in a file, read into the same types that go over the wire.
//!
//! Each document is read twice: first for its kind, then as that kind, so that an error in it knows its line and column. What
//! `meshctl get -o json` prints (one document with `items`) is a manifest too. Aliases and merge keys are refused: a manifest
//! says what it means where it stands.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_saphyr::{Error as YamlError, Location, Spanned};

use super::{Source, say};
use crate::api::API_VERSION;
use crate::api::objects::{Any, Kind, Meta, Object};
use crate::api::problem::{Exit, Problem};

/// Most bytes of one file. Ten thousand ports take about 3 MiB.
pub const MOST: usize = 16 << 20;

/// Words after `kind:`, in the order of [`Kind::ALL`].
const KINDS: [&str; 7] = ["Pdc", "Node", "Overlay", "Network", "Port", "Policy", "Token"];
/// What policies were called first.
const POLICY: &str = "PathPolicy";

/// Reads every object of a file, in the order in which they stand there.
///
/// # Errors
/// A [`Problem`] M03xx with the place: not YAML, an unknown kind, key or word, a wrong type, a key given twice, another
/// `apiVersion`, no object at all. Nothing of a file with an error is used.
pub fn parse(file: &str, text: &str) -> Result<Vec<Any>, Problem> {
    if text.len() > MOST {
        let what = format!("{file} has {} MiB; a manifest has at most {} MiB", text.len() >> 20, MOST >> 20);
        return Err(Problem::new("M0306", Exit::Invalid, what).help("cut it into several files"));
    }
    let mut objects = Vec::new();
    for document in documents(text) {
        document.read(Source::new(file, text), &mut objects)?;
    }
    if objects.is_empty() {
        return Err(Problem::new("M0341", Exit::Invalid, format!("{file} holds no object")).help(
            "a manifest is YAML or JSON, and begins with apiVersion: vxmesh/v1; there are some in examples/manifests",
        ));
    }
    Ok(objects)
}

/// One document and how many lines stand before it.
struct Document<'a> {
    text: &'a str,
    line: usize,
}

/// Cuts a text at its `---` and `...` lines, which YAML forbids inside of a document. Empty documents are left out.
fn documents(text: &str) -> Vec<Document<'_>> {
    let mut found = Vec::new();
    let (mut start, mut first, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let marker = |mark: &str| {
            line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        };
        if marker("---") || marker("...") {
            found.push(Document { text: &text[start..at], line: first });
            // What stands behind `---` on its line belongs to the document, the marker itself does not.
            (start, first) = (if marker("...") { at + line.len() } else { at }, number + usize::from(marker("...")));
        }
        at += line.len();
    }
    found.push(Document { text: &text[start..], line: first });
    let blank = |line: &str| matches!(line.trim(), "" | "---") || line.trim_start().starts_with('#');
    found.retain(|document| !document.text.lines().all(blank));
    found
}

impl Document<'_> {
    fn read(&self, source: Source<'_>, objects: &mut Vec<Any>) -> Result<(), Problem> {
        let head: Head = self.yaml(source, PhantomData)?;
        match &head.items {
            None => objects.push(self.yaml(source, Typed(self.kind(source, &head, true)?))?),
            Some(items) => {
                self.version(source, &head, true)?;
                let kinds: Result<Vec<Kind>, Problem> =
                    items.iter().map(|item| self.kind(source, item, false)).collect();
                objects.extend(self.yaml(source, Envelope(kinds?))?);
            }
        }
        Ok(())
    }

    /// Reads the document as what `seed` makes.
    fn yaml<'de, S: DeserializeSeed<'de>>(&'de self, source: Source<'_>, seed: S) -> Result<S::Value, Problem> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_depth: 32,
                max_events: 4_000_000,
                max_nodes: 2_000_000,
                max_documents: 1,
                max_anchors: 0,
                max_aliases: 0,
                max_merge_keys: 0,
            },
            strict_booleans: true,
            with_snippet: false,
        };
        serde_saphyr::with_deserializer_from_str_with_options(self.text, options, |deserializer| {
            seed.deserialize(deserializer)
        })
        .map_err(|error| self.problem(source, &error))
    }

    fn version(&self, source: Source<'_>, head: &Head, needed: bool) -> Result<(), Problem> {
        match &head.api_version {
            Some(version) if version.value == API_VERSION => Ok(()),
            Some(version) => Err(say::value(format!("the apiVersion '{}' is not known", version.value))
                .at(self.place(source, version.referenced))
                .help(format!("this version understands {API_VERSION}"))),
            None if needed => Err(self.missing(source, head, "apiVersion").help(format!("apiVersion: {API_VERSION}"))),
            None => Ok(()),
        }
    }

    fn kind(&self, source: Source<'_>, head: &Head, needs_version: bool) -> Result<Kind, Problem> {
        let Some(kind) = &head.kind else { return Err(self.missing(source, head, "kind")) };
        self.version(source, head, needs_version)?;
        let known = KINDS
            .iter()
            .zip(Kind::ALL)
            .find(|(word, known)| **word == kind.value || (*known == Kind::PathPolicy && kind.value == POLICY));
        known
            .map(|(_, kind)| kind)
            .ok_or_else(|| say::unknown_word("the kind", &kind.value, &KINDS).at(self.place(source, kind.referenced)))
    }

    fn missing(&self, source: Source<'_>, head: &Head, key: &str) -> Problem {
        let known = head.kind.as_ref().or(head.api_version.as_ref()).map(|value| value.referenced);
        let place = match known {
            Some(location) => self.place(source, location),
            None => source.line_column(self.line + 1 + usize::from(self.text.starts_with("---\n")), 1),
        };
        let problem = say::missing_key(key, "every object").at(place);
        if key == "kind" { problem.help(format!("kind: one of {}", KINDS.join(", "))) } else { problem }
    }

    fn place(&self, source: Source<'_>, location: Location) -> crate::api::problem::Place {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        source.line_column(self.line.saturating_add(number(location.line())), number(location.column()))
    }

    fn problem(&self, source: Source<'_>, error: &YamlError) -> Problem {
        let problem = worded(error.without_snippet());
        match error.location() {
            Some(location) => problem.at(self.place(source, location)),
            None => problem.note(format!("in {}", source.file)),
        }
    }
}

/// What a parser's error says, in our words.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum of seventy kinds of errors that grows")]
fn worded(error: &YamlError) -> Problem {
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => say::unknown_word("the key", field, expected),
        YamlError::SerdeUnknownVariant { variant, expected, .. } => say::unknown_word("the word", variant, expected),
        YamlError::SerdeMissingField { field, .. } => say::missing_key(field, "this object"),
        YamlError::SerdeInvalidType { unexpected, expected, .. }
        | YamlError::SerdeInvalidValue { unexpected, expected, .. } => {
            say::problem(&format!("invalid type: {unexpected}, expected {expected}"))
        }
        YamlError::DuplicateMappingKey { key, .. } => {
            say::problem(&format!("duplicate key `{}`", key.as_deref().unwrap_or_default()))
        }
        YamlError::Message { msg, .. } => say::problem(msg),
        YamlError::Unexpected { expected: "mapping start", .. } => {
            let begins = "a manifest is YAML or JSON, and begins with apiVersion: vxmesh/v1";
            say::value("a table of keys is needed here")
                .help(format!("KEY: VALUE, or {{KEY: VALUE}}, as in examples/manifests; {begins}"))
        }
        YamlError::Unexpected { expected: "sequence start", .. } => say::value("a list is needed here")
            .help("a single value needs brackets too: [VALUE]; or a line of its own that begins with '- '"),
        other => {
            let text = other.to_string();
            if text.contains("budget") && ["Anchor", "Alias", "Merge"].iter().any(|word| text.contains(word)) {
                return say::value("anchors, aliases and merge keys are not taken").help("write the value out");
            }
            if text.contains("tabs disallowed") || text.contains("found a tab") {
                return say::syntax("a tab stands where YAML takes spaces only").help("indent by two spaces");
            }
            say::problem(text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what))
        }
    }
}

/// What says how the rest is to be read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<Spanned<String>>,
    kind: Option<Spanned<String>>,
    items: Option<Vec<Self>>,
}

/// An object with the two keys that only manifests have.
#[derive(Deserialize)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    bound(deserialize = "N: Deserialize<'de>, S: Deserialize<'de>, T: Deserialize<'de>")
)]
struct Written<N, S, T> {
    #[serde(rename = "apiVersion")]
    _api_version: Option<IgnoredAny>,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: Meta<N>,
    spec: S,
    status: Option<T>,
}

/// Reads an object of a known kind.
struct Typed(Kind);

impl<'de> DeserializeSeed<'de> for Typed {
    type Value = Any;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Any, D::Error> {
        Ok(match self.0 {
            Kind::Pdc => Any::Pdc(object(deserializer)?),
            Kind::Node => Any::Node(object(deserializer)?),
            Kind::Overlay => Any::Overlay(object(deserializer)?),
            Kind::Network => Any::Network(object(deserializer)?),
            Kind::Port => Any::Port(object(deserializer)?),
            Kind::PathPolicy => Any::PathPolicy(object(deserializer)?),
            Kind::Token => Any::Token(object(deserializer)?),
        })
    }
}

fn object<'de, D, N, S, T>(deserializer: D) -> Result<Object<N, S, T>, D::Error>
where
    D: Deserializer<'de>,
    N: Deserialize<'de>,
    S: Deserialize<'de>,
    T: Deserialize<'de> + Default,
{
    let Written { metadata, spec, status, .. } = Written::<N, S, T>::deserialize(deserializer)?;
    Ok(Object { metadata, spec, status: status.unwrap_or_default() })
}

/// Reads `{apiVersion, kind, items}` whose items have these kinds.
struct Envelope(Vec<Kind>);

/// The items themselves.
struct Items(Vec<Kind>);

impl<'de> DeserializeSeed<'de> for Envelope {
    type Value = Vec<Any>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope {
    type Value = Vec<Any>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with items")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut kinds = Some(self.0);
        let mut items = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "items" => items = map.next_value_seed(Items(kinds.take().unwrap_or_default()))?,
                "apiVersion" | "kind" => {
                    map.next_value::<IgnoredAny>()?;
                }
                other => return Err(de::Error::unknown_field(other, &["apiVersion", "kind", "items"])),
            }
        }
        Ok(items)
    }
}

impl<'de> DeserializeSeed<'de> for Items {
    type Value = Vec<Any>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<Any>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::with_capacity(self.0.len());
        for kind in self.0 {
            items.extend(seq.next_element_seed(Typed(kind))?);
        }
        // Ends the sequence: the reader has looked at every item before.
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(items)
    }
}

/// An object as a manifest prints it: `apiVersion` first, nothing that is empty.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    #[serde(flatten)]
    object: &'a Any,
}

/// An object as JSON with `apiVersion` and without empty values; what [`parse`] reads back.
///
/// # Errors
/// None in practice: objects are plain data.
pub fn to_value(object: &Any) -> Result<serde_json::Value, serde_json::Error> {
    let mut value = serde_json::to_value(Printed { api_version: API_VERSION, object })?;
    prune(&mut value);
    super::dates::readable(&mut value);
    Ok(value)
}

/// An object as one YAML document, without `---`.
///
/// # Errors
/// A sentence, where the value cannot be written as YAML.
pub fn to_yaml(object: &Any) -> Result<String, String> {
    let value = to_value(object).map_err(|error| error.to_string())?;
    serde_saphyr::to_string(&value).map_err(|error| error.to_string())
}

/// Takes nulls out of objects.
fn prune(value: &mut serde_json::Value) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(prune);
    } else if let Some(list) = value.as_array_mut() {
        list.iter_mut().for_each(prune);
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
