//! Ring 3: keys, values and one global revision. [`Store`] is the contract; [`Embedded`] keeps it in one file (redb),
//! [`Memory`] in memory. Nothing here knows what a value means.
//!
//! The verbs are those of etcd: get, range, a transaction with preconditions, and the changes after a revision. So a store that
//! several management nodes share fits behind the same trait. Calls block; an async caller runs them on a blocking thread.

mod embedded;
mod memory;

use tokio::sync::watch;

pub use self::embedded::Embedded;
pub use self::memory::Memory;

/// How many revisions [`Store::changes`] can go back. A caller that is further behind takes a fresh range instead.
pub const HISTORY: u64 = 4096;

/// A value and the revision of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Global revision of the transaction that wrote it.
    pub revision: u64,
    /// The bytes.
    pub value: Vec<u8>,
}

/// A consistent view of some keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Global revision of the view.
    pub revision: u64,
    /// Keys and their entries in the order of keys.
    pub entries: Vec<(String, Entry)>,
}

/// What must hold for a transaction to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The key was last written by this revision.
    Revision {
        /// The key.
        key: String,
        /// Its revision.
        revision: u64,
    },
    /// There is no such key.
    Absent {
        /// The key.
        key: String,
    },
}

/// Writes and deletes that happen together or not at all. Each makes one new global revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What must hold.
    pub preconditions: Vec<Precondition>,
    /// Keys to write; a key is written or deleted at most once.
    pub writes: Vec<(String, Vec<u8>)>,
    /// Keys to delete; one that is not there is no error.
    pub deletes: Vec<String>,
}

/// What one transaction did to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Global revision of the transaction.
    pub revision: u64,
    /// The key.
    pub key: String,
    /// The new value; none: deleted.
    pub value: Option<Vec<u8>>,
}

/// Why the store did not do it. In every case nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A precondition does not hold.
    #[error("{key} changed meanwhile: expected {expected}, found {found}")]
    Conflict {
        /// The key.
        key: String,
        /// What the precondition says.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The history no longer reaches back that far: take a fresh range.
    #[error("the history begins after revision {oldest}, so the changes after {asked} are not known any more")]
    Compacted {
        /// What was asked for.
        asked: u64,
        /// The lowest revision that can be asked for.
        oldest: u64,
    },
    /// No space left.
    #[error("the disk is full: {0}")]
    DiskFull(std::io::Error),
    /// The file is not what was written.
    #[error("the store is damaged: {0}")]
    Corrupted(String),
    /// Another process has the file open.
    #[error("the store {0} is open in another process")]
    Busy(String),
    /// The file is of a newer or older program.
    #[error("the store has format {found}, this program knows format {known}")]
    Format {
        /// In the file.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// Reading or writing failed in another way.
    #[error("the store cannot be read or written: {0}")]
    Io(std::io::Error),
}

/// The contract. `tests.rs` holds every implementation to it.
pub trait Store: Send + Sync {
    /// One entry.
    ///
    /// # Errors
    /// [`StoreError`]
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// All entries whose keys start with `prefix`, as of one revision.
    ///
    /// # Errors
    /// [`StoreError`]
    fn range(&self, prefix: &str) -> Result<Range, StoreError>;

    /// Does all of it or nothing; returns the new global revision. When it returns, the change survives a power cut.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] naming the first key whose precondition does not hold; else [`StoreError`].
    fn commit(&self, transaction: &Transaction) -> Result<u64, StoreError>;

    /// Every change after `revision`, in order.
    ///
    /// # Errors
    /// [`StoreError::Compacted`]: the history does not reach back that far.
    fn changes(&self, revision: u64) -> Result<Vec<Change>, StoreError>;

    /// The newest revision, and a wake-up for each next one. With [`Store::changes`] this is a watch from any revision.
    fn head(&self) -> watch::Receiver<u64>;
}

impl Transaction {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Insists that `key` was last written by `revision`; none: that it does not exist.
    #[must_use]
    pub fn expect(mut self, key: impl Into<String>, revision: Option<u64>) -> Self {
        let key = key.into();
        self.preconditions.push(match revision {
            Some(revision) => Precondition::Revision { key, revision },
            None => Precondition::Absent { key },
        });
        self
    }

    /// Writes `key`.
    #[must_use]
    pub fn write(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.writes.push((key.into(), value.into()));
        self
    }

    /// Deletes `key`.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.deletes.push(key.into());
        self
    }
}

impl Precondition {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Revision { key, .. } | Self::Absent { key } => key,
        }
    }

    /// Holds it for a key that was last written by `found`?
    fn check(&self, found: Option<u64>) -> Result<(), StoreError> {
        let expected = match self {
            Self::Revision { revision, .. } => Some(*revision),
            Self::Absent { .. } => None,
        };
        if found == expected {
            return Ok(());
        }
        let words = |revision: Option<u64>| revision.map_or_else(|| "nothing".to_owned(), |r| format!("revision {r}"));
        Err(StoreError::Conflict { key: self.key().to_owned(), expected: words(expected), found: words(found) })
    }
}

#[cfg(test)]
mod tests;
