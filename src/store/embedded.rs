//! The contract in one file: redb, copy-on-write B-trees with checksums. A commit returns after its sync, so a killed process
//! or a power cut leaves either the whole transaction or none of it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{Builder, Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use tokio::sync::watch;

use super::{Change, Entry, HISTORY, Range, Store, StoreError, Transaction};

/// Key to (revision, value).
const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");
/// Revision to the changes that it made (see [`pack`]).
const CHANGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("changes");
/// Numbers of the store itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// Format of the three tables.
const FORMAT: u64 = 1;
/// Pages kept in memory, bytes.
const CACHE: usize = 64 << 20;

/// How the file is opened; called again after a failed write, because redb takes no more orders after one.
type Open = dyn Fn() -> Result<Database, StoreError> + Send + Sync;

/// A store in one file.
pub struct Embedded {
    open: Box<Open>,
    /// None between a failed write and the next order.
    database: Mutex<Option<Database>>,
    head: watch::Sender<u64>,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("revision", &*self.head.borrow()).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the store in `path`, or makes it (mode 0600).
    ///
    /// # Errors
    /// [`StoreError::Busy`]: another process has it; [`StoreError::Corrupted`], [`StoreError::Format`], [`StoreError::Io`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let path = path.to_owned();
        Self::from_opener(Box::new(move || open_file(&path)))
    }

    fn from_opener(open: Box<Open>) -> Result<Self, StoreError> {
        let database = open()?;
        let revision = prepare(&database)?;
        Ok(Self { open, database: Mutex::new(Some(database)), head: watch::Sender::new(revision) })
    }

    fn slot(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `order` on the database; after a failed read or write the file is closed, and opened again by the next order.
    fn with<T>(&self, order: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut slot = self.slot();
        if slot.is_none() {
            let database = (self.open)()?;
            // A write whose last sync failed may have reached the disk after all: the file says what counts.
            self.head.send_replace(prepare(&database)?);
            *slot = Some(database);
        }
        let Some(database) = slot.as_ref() else { unreachable!("it was just opened") };
        let done = order(database);
        if matches!(done, Err(StoreError::Io(_) | StoreError::DiskFull(_) | StoreError::Corrupted(_))) {
            *slot = None;
        }
        done
    }
}

fn open_file(path: &PathBuf) -> Result<Database, StoreError> {
    let file: File = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| io_fault(io::Error::new(e.kind(), format!("{}: {e}", path.display()))))?;
    Builder::new().set_cache_size(CACHE).create_file(file).map_err(|error| {
        if matches!(error, redb::DatabaseError::DatabaseAlreadyOpen) {
            StoreError::Busy(path.display().to_string())
        } else {
            fault(error)
        }
    })
}

/// Makes the tables if they are not there; the newest revision.
fn prepare(database: &Database) -> Result<u64, StoreError> {
    let writing = database.begin_write().map_err(fault)?;
    let revision = {
        writing.open_table(ENTRIES).map_err(fault)?;
        writing.open_table(CHANGES).map_err(fault)?;
        let mut meta = writing.open_table(META).map_err(fault)?;
        let found = number(&meta, "format")?;
        match found {
            Some(FORMAT) => {}
            Some(found) => return Err(StoreError::Format { found, known: FORMAT }),
            None => {
                meta.insert("format", FORMAT).map_err(fault)?;
            }
        }
        let revision = number(&meta, "revision")?.unwrap_or(0);
        if found == Some(FORMAT) {
            drop(meta);
            writing.abort().map_err(fault)?;
            return Ok(revision);
        }
        revision
    };
    writing.commit().map_err(fault)?;
    Ok(revision)
}

fn number(meta: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<Option<u64>, StoreError> {
    Ok(meta.get(name).map_err(fault)?.map(|guard| guard.value()))
}

impl Store for Embedded {
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.with(|database| {
            let table = database.begin_read().map_err(fault)?.open_table(ENTRIES).map_err(fault)?;
            let found = table.get(key).map_err(fault)?;
            Ok(found.map(|guard| entry(guard.value())))
        })
    }

    fn range(&self, prefix: &str) -> Result<Range, StoreError> {
        self.with(|database| {
            let reading = database.begin_read().map_err(fault)?;
            let revision = number(&reading.open_table(META).map_err(fault)?, "revision")?.unwrap_or(0);
            let table = reading.open_table(ENTRIES).map_err(fault)?;
            let mut entries = Vec::new();
            for item in table.range(prefix..).map_err(fault)? {
                let (key, value) = item.map_err(fault)?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                entries.push((key.value().to_owned(), entry(value.value())));
            }
            Ok(Range { revision, entries })
        })
    }

    fn commit(&self, transaction: &Transaction) -> Result<u64, StoreError> {
        let revision = self.with(|database| {
            let mut writing = database.begin_write().map_err(fault)?;
            // What is written comes from others too. In one phase a checksum that is no cryptographic hash decides after a crash
            // which of two states counts, and who chooses enough of the bytes could choose that.
            writing.set_two_phase_commit(true);
            let revision = write(&writing, transaction)?;
            writing.commit().map_err(fault)?;
            Ok(revision)
        })?;
        self.head.send_replace(revision);
        Ok(revision)
    }

    fn changes(&self, revision: u64) -> Result<Vec<Change>, StoreError> {
        self.with(|database| {
            let reading = database.begin_read().map_err(fault)?;
            let newest = number(&reading.open_table(META).map_err(fault)?, "revision")?.unwrap_or(0);
            let oldest = newest.saturating_sub(HISTORY);
            if revision < oldest {
                return Err(StoreError::Compacted { asked: revision, oldest });
            }
            let table = reading.open_table(CHANGES).map_err(fault)?;
            let mut changes = Vec::new();
            for item in table.range(revision + 1..).map_err(fault)? {
                let (revision, packed) = item.map_err(fault)?;
                unpack(revision.value(), packed.value(), &mut changes)?;
            }
            Ok(changes)
        })
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }
}

fn entry((revision, value): (u64, &[u8])) -> Entry {
    Entry { revision, value: value.to_vec() }
}

/// Checks the preconditions and writes everything into the three tables; the caller commits.
fn write(writing: &WriteTransaction, transaction: &Transaction) -> Result<u64, StoreError> {
    let mut entries = writing.open_table(ENTRIES).map_err(fault)?;
    for precondition in &transaction.preconditions {
        let found = entries.get(precondition.key()).map_err(fault)?.map(|guard| guard.value().0);
        precondition.check(found)?;
    }
    let mut meta = writing.open_table(META).map_err(fault)?;
    let revision = number(&meta, "revision")?.unwrap_or(0) + 1;
    meta.insert("revision", revision).map_err(fault)?;
    let mut packed = Vec::new();
    for (key, value) in &transaction.writes {
        entries.insert(key.as_str(), (revision, value.as_slice())).map_err(fault)?;
        pack(key, Some(value), &mut packed)?;
    }
    for key in &transaction.deletes {
        if entries.remove(key.as_str()).map_err(fault)?.is_some() {
            pack(key, None, &mut packed)?;
        }
    }
    remember(&mut writing.open_table(CHANGES).map_err(fault)?, revision, &packed)?;
    Ok(revision)
}

fn remember(changes: &mut Table<'_, u64, &'static [u8]>, revision: u64, packed: &[u8]) -> Result<(), StoreError> {
    changes.insert(revision, packed).map_err(fault)?;
    changes.retain_in(..=revision.saturating_sub(HISTORY), |_, _| false).map_err(fault)
}

/// Appends one change: length of the key, key, then 0 for a deletion or 1, length of the value, value. Lengths are 4 bytes,
/// little endian.
fn pack(key: &str, value: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), StoreError> {
    pack_part(key.as_bytes(), out)?;
    out.push(u8::from(value.is_some()));
    value.map_or(Ok(()), |value| pack_part(value, out))
}

fn pack_part(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
    let length =
        u32::try_from(bytes.len()).map_err(|_| StoreError::Io(io::Error::other("4 GiB or more in one value")))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn unpack(revision: u64, mut packed: &[u8], changes: &mut Vec<Change>) -> Result<(), StoreError> {
    while !packed.is_empty() {
        let change = unpack_one(revision, &mut packed);
        changes.push(change.ok_or_else(|| StoreError::Corrupted(format!("the history of revision {revision}")))?);
    }
    Ok(())
}

fn unpack_one(revision: u64, packed: &mut &[u8]) -> Option<Change> {
    let key = String::from_utf8(part(packed)?.to_vec()).ok()?;
    let (kind, rest) = packed.split_first()?;
    *packed = rest;
    let value = match kind {
        0 => None,
        1 => Some(part(packed)?.to_vec()),
        _ => return None,
    };
    Some(Change { revision, key, value })
}

fn part<'a>(packed: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = packed.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (part, rest) = rest.split_at_checked(length)?;
    *packed = rest;
    Some(part)
}

fn io_fault(error: io::Error) -> StoreError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum, and not exhaustive")]
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull(error),
        // Not a store at all, or one that was cut.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => StoreError::Corrupted(error.to_string()),
        _ => StoreError::Io(error),
    }
}

fn fault(error: impl Into<redb::Error>) -> StoreError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum, and not exhaustive")]
    match error.into() {
        redb::Error::Io(error) => io_fault(error),
        redb::Error::Corrupted(what) => StoreError::Corrupted(what),
        redb::Error::DatabaseAlreadyOpen => StoreError::Busy("file".to_owned()),
        redb::Error::UpgradeRequired(found) => StoreError::Format { found: u64::from(found), known: FORMAT },
        other @ (redb::Error::TableTypeMismatch { .. } | redb::Error::TypeDefinitionChanged { .. }) => {
            StoreError::Corrupted(other.to_string())
        }
        other => StoreError::Io(io::Error::other(other.to_string())),
    }
}

#[cfg(test)]
#[path = "embedded_tests.rs"]
mod tests;
