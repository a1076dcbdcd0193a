//! A backup as text: everything that the store holds, as of one revision. The first line says what follows and hashes it; then
//! one entry a line. No key is in it: those of the installation are in no store.
//!
//! What is put back is an older truth, so it gets a higher incarnation than any node can have seen: see [`restored`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::carried::{self, Before, Carried};
use super::certs::{hex, hex_sha256};
use super::{audit, state};
use crate::api::API_VERSION;
use crate::types::{Version, Wall};

/// Key of the incarnation in the store: raised by a restore.
pub const INCARNATION: &str = "meta/incarnation";
/// `kind` of the first line.
const KIND: &str = "Backup";

/// What a store held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// As of this version.
    pub version: Version,
    /// When it was made.
    pub made: Wall,
    /// SHA-256 of the public key of the installation's CA.
    pub pin: [u8; 32],
    /// Objects and the audit log, by key; the incarnation is in the version.
    pub entries: BTreeMap<String, Vec<u8>>,
}

/// Why a text is no backup that can be put back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The first line is another.
    #[error("the first line is not that of a backup: {0}")]
    Head(String),
    /// Something is missing, or was changed.
    #[error("the file is not what was written: the hash in its first line is of other bytes")]
    Damaged,
    /// An entry cannot be read.
    #[error("line {line}: {why}")]
    Entry {
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A key stands twice.
    #[error("'{0}' stands twice")]
    Twice(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Head {
    api_version: String,
    kind: String,
    version: Version,
    made: Wall,
    ca: String,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    value: String,
}

/// The text of a backup.
pub fn write(backup: &Backup) -> String {
    let mut body = String::new();
    for (key, value) in &backup.entries {
        let line = Line { key: key.clone(), value: String::from_utf8_lossy(value).into_owned() };
        // Two texts: serialising cannot fail.
        body.push_str(&serde_json::to_string(&line).unwrap_or_default());
        body.push('\n');
    }
    let head = Head {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        version: backup.version,
        made: backup.made,
        ca: hex(&backup.pin),
        sha256: hex_sha256(body.as_bytes()),
    };
    format!("{}\n{body}", serde_json::to_string(&head).unwrap_or_default())
}

/// Reads a backup; each object in it is one that this program understands.
///
/// # Errors
/// [`BackupError`]
pub fn read(text: &str) -> Result<Backup, BackupError> {
    let (head, body) = text.split_once('\n').ok_or_else(|| BackupError::Head("there is one line only".to_owned()))?;
    let head: Head = serde_json::from_str(head).map_err(|e| BackupError::Head(e.to_string()))?;
    if head.api_version != API_VERSION || head.kind != KIND {
        return Err(BackupError::Head(format!("it is a {} of {}", head.kind, head.api_version)));
    }
    let pin = bytes_32(&head.ca).ok_or_else(|| BackupError::Head("'ca' is no SHA-256".to_owned()))?;
    if hex_sha256(body.as_bytes()) != head.sha256 {
        return Err(BackupError::Damaged);
    }
    let mut entries = BTreeMap::new();
    for (n, line) in body.lines().enumerate() {
        let Line { key, value } = entry(line).map_err(|why| BackupError::Entry { line: n + 2, why })?;
        if entries.insert(key.clone(), value.into_bytes()).is_some() {
            return Err(BackupError::Twice(key));
        }
    }
    Ok(Backup { version: head.version, made: head.made, pin, entries })
}

fn entry(line: &str) -> Result<Line, String> {
    let line: Line = serde_json::from_str(line).map_err(|e| e.to_string())?;
    if !line.key.starts_with(audit::PREFIX) {
        state::decode(&line.key, line.value.as_bytes(), 0).map_err(|e| e.to_string())?;
    }
    Ok(line)
}

fn bytes_32(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// What a restore does to a store, all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The incarnation from now on: higher than that of the backup and of the store, so every node takes it for newer.
    pub incarnation: u64,
    /// Keys to write.
    pub writes: BTreeMap<String, Vec<u8>>,
    /// Keys to delete.
    pub deletes: BTreeSet<String>,
    /// What is kept of the store of before, and what a person has to know of it.
    pub carried: Carried,
}

/// Puts a backup in the place of what a store with this incarnation holds as `before`, at `now`. Who was cut off stays so: see [`carried`].
pub fn restored<'a>(
    backup: &Backup,
    incarnation: u64,
    before: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    now: Wall,
) -> Restored {
    let incarnation = backup.version.incarnation.max(incarnation).saturating_add(1);
    let carried = carried::carried(&Before::of(before.clone()), &backup.entries, now);
    let mut writes = backup.entries.clone();
    writes.extend(carried.writes.clone());
    writes.insert(INCARNATION.to_owned(), incarnation.to_string().into_bytes());
    let deletes = before.map(|(key, _)| key).filter(|key| !writes.contains_key(*key)).map(str::to_owned).collect();
    Restored { incarnation, writes, deletes, carried }
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
