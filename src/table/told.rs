//! What a node was told, entry by entry, as digests of the very bytes: so a node that does not know a field of an entry still has the
//! same hash as whoever sent it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::Slice;

type Digest = [u8; 32];
/// The members of an object, as they were written.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Members of a slice and of a delta that are about the message itself.
const ENVELOPE: [&str; 4] = ["version", "from", "to", "hash"];
/// The key of the one entry of a part that is no object.
const WHOLE: &str = "";

/// A slice as it was told. A part is a member of the slice (`rows`, `peers`, ...), known here or not; an entry is a member of a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    parts: BTreeMap<String, BTreeMap<String, Digest>>,
}

impl Told {
    /// A slice that was made here, or read from where unknown fields are not kept.
    pub fn of(slice: &Slice) -> Self {
        // A slice is maps of text to plain values: neither can fail.
        let told = serde_json::to_string(slice).and_then(|text| Self::read(&text));
        debug_assert!(told.is_ok(), "{told:?}");
        told.unwrap_or_default()
    }

    /// A slice as JSON.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn read(slice: &str) -> Result<Self, serde_json::Error> {
        let mut told = Self::default();
        for (part, text) in members(slice)? {
            told.replace(&part, text)?;
        }
        Ok(told)
    }

    /// Follows a delta (JSON). A part that it does not name stays; `null` takes it away; an object of exactly `set` and `gone` changes
    /// those entries; anything else takes the place of the part.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn change(&mut self, delta: &str) -> Result<(), serde_json::Error> {
        for (part, text) in members(delta)? {
            let change = serde_json::from_str::<Change<'_>>(text.get());
            match change {
                Ok(Change { set, gone }) if !ENVELOPE.contains(&part.as_str()) => {
                    let entries = self.parts.entry(part).or_default();
                    for key in &gone {
                        entries.remove(key);
                    }
                    entries.extend(set.into_iter().map(|(key, text)| (key, digest(text))));
                }
                Ok(_) | Err(_) => self.replace(&part, text)?,
            }
        }
        Ok(())
    }

    fn replace(&mut self, part: &str, text: &RawValue) -> Result<(), serde_json::Error> {
        if ENVELOPE.contains(&part) {
            return Ok(());
        }
        let entries = match text.get() {
            "null" => BTreeMap::new(),
            object if object.starts_with('{') => {
                members(object)?.into_iter().map(|(key, text)| (key, digest(text))).collect()
            }
            _ => BTreeMap::from([(WHOLE.to_owned(), digest(text))]),
        };
        self.parts.insert(part.to_owned(), entries);
        Ok(())
    }

    /// SHA-256, in hexadecimal, over every entry in the order of names: length and name of the part, length and key of the entry
    /// (each length 4 bytes, big-endian), SHA-256 of its text. A part without entries is as one that is not there.
    pub fn hash(&self) -> String {
        let mut all = Sha256::new();
        for (part, entries) in &self.parts {
            for (key, digest) in entries {
                for text in [part, key] {
                    // No name has 4 GiB.
                    all.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
                    all.update(text);
                }
                all.update(digest);
            }
        }
        all.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The difference of two maps, whatever they hold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change<'a> {
    #[serde(borrow)]
    set: Members<'a>,
    gone: Vec<String>,
}

fn members(object: &str) -> Result<Members<'_>, serde_json::Error> {
    serde_json::from_str(object)
}

fn digest(text: &RawValue) -> Digest {
    Sha256::digest(text.get()).into()
}
