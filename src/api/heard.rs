//! Reads what another program of the mesh said. The two programs need not be of one version: a field that is not known here is
//! skipped and its name kept, and a value that is not known is taken as the safest one that is ([`SAFE`]).
//!
//! Tolerance belongs to this reader and not to the types. Whoever reads a type with plain serde, as manifests, files of people and
//! requests of operators are read, has unknown keys and values refused.

mod walk;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::DeserializeOwned;

use self::walk::With;
use super::problem::{clip, printable};

/// Enums whose unknown values are taken for a known one, and for which: the one that lets the least happen. An unknown value of
/// any other enum makes the message unreadable.
pub const SAFE: &[(&str, &str)] = &[
    // No frame goes where it is not known how.
    ("Path", "forbidden"),
    ("Action", "forbid"),
    ("Intra", "encrypted"),
    // No frame is multiplied, no address is learned, no guest may do more than a guest.
    ("Flood", "off"),
    ("Learning", "declared"),
    ("PortRole", "guest"),
    ("Oversize", "drop"),
    // Ends of two suites never make a session, so nothing is sent.
    ("Suite", "chacha"),
    // Nobody is meant.
    ("Selector", NOBODY),
    ("Exit", "failed"),
];
/// The value of [`SAFE`] that no text says, only the index [`crate::types::UNKNOWN_VARIANT`].
const NOBODY: &str = "nobody";

/// Names that are kept of one message; the rest is skipped without a word.
const NAMES_KEPT: usize = 16;

/// What was said, and the names of what was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard<T> {
    /// What was said, as far as it is known here.
    pub said: T,
    /// Fields and values that are not known here, by path, each once: `peers.*.mood`.
    pub unknown: Vec<String>,
}

/// Reads one JSON text.
///
/// # Errors
/// It is no JSON, something that is needed is missing, or a known field holds what it cannot.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<Heard<T>, serde_json::Error> {
    let notes = Notes::default();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let said = T::deserialize(With { inner: &mut json, at: At::ROOT, notes: &notes })?;
    json.end()?;
    Ok(Heard { said, unknown: notes.0.into_inner().into_iter().collect() })
}

/// Which unknown names were told already: each is told once, and nobody can make this grow for ever.
#[derive(Debug, Default)]
pub struct Names {
    told: BTreeSet<String>,
    by: BTreeMap<String, usize>,
}

/// Names that one source can have told.
const PER_SOURCE: usize = 32;
/// Names that are told in all.
const IN_ALL: usize = 512;

impl Names {
    /// Those of `unknown` that were not told before. `source` said them in a message of kind `message`.
    pub fn new_of(&mut self, source: &str, message: &str, unknown: &[String]) -> Vec<String> {
        let mut new = Vec::new();
        for name in unknown {
            let name = format!("{message}: {name}");
            let count = self.by.get(source).copied().unwrap_or_default();
            if self.told.len() < IN_ALL && count < PER_SOURCE && self.told.insert(name.clone()) {
                self.by.insert(source.to_owned(), count + 1);
                new.push(name);
            }
        }
        new
    }
}

/// Where in a message something stands. Elements of maps and lists are `*`, so a name stands for all of them.
#[derive(Debug, Clone, Copy)]
struct At<'a> {
    up: Option<&'a Self>,
    name: &'static str,
}

impl At<'static> {
    const ROOT: &'static Self = &Self { up: None, name: "" };
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.up {
            Some(up) => write!(f, "{up}{}.", self.name),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Default)]
struct Notes(RefCell<BTreeSet<String>>);

impl Notes {
    fn add(&self, at: &At<'_>, what: &str) {
        let mut names = self.0.borrow_mut();
        if names.len() < NAMES_KEPT {
            names.insert(format!("{at}{}", printable(clip(what))));
        }
    }
}

#[cfg(test)]
#[path = "heard_tests.rs"]
mod tests;
