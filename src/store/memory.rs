//! The contract in memory, for simulations: nothing survives the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Change, Entry, HISTORY, Range, Store, StoreError, Transaction};

/// A store in memory.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    head: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    entries: BTreeMap<String, Entry>,
    history: BTreeMap<u64, Vec<Change>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { state: Mutex::default(), head: watch::Sender::new(0) }
    }
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.state().entries.get(key).cloned())
    }

    fn range(&self, prefix: &str) -> Result<Range, StoreError> {
        let state = self.state();
        let from = state.entries.range(prefix.to_owned()..);
        let within = from.take_while(|(key, _)| key.starts_with(prefix));
        Ok(Range { revision: state.revision, entries: within.map(|(k, e)| (k.clone(), e.clone())).collect() })
    }

    fn commit(&self, transaction: &Transaction) -> Result<u64, StoreError> {
        let mut state = self.state();
        for precondition in &transaction.preconditions {
            precondition.check(state.entries.get(precondition.key()).map(|e| e.revision))?;
        }
        let revision = state.revision + 1;
        let mut changes = Vec::new();
        for (key, value) in &transaction.writes {
            state.entries.insert(key.clone(), Entry { revision, value: value.clone() });
            changes.push(Change { revision, key: key.clone(), value: Some(value.clone()) });
        }
        for key in &transaction.deletes {
            if state.entries.remove(key).is_some() {
                changes.push(Change { revision, key: key.clone(), value: None });
            }
        }
        state.revision = revision;
        state.history.insert(revision, changes);
        state.history = state.history.split_off(&(revision.saturating_sub(HISTORY) + 1));
        self.head.send_replace(revision);
        Ok(revision)
    }

    fn changes(&self, revision: u64) -> Result<Vec<Change>, StoreError> {
        let state = self.state();
        let oldest = state.revision.saturating_sub(HISTORY);
        if revision < oldest {
            return Err(StoreError::Compacted { asked: revision, oldest });
        }
        Ok(state.history.range(revision + 1..).flat_map(|(_, changes)| changes.clone()).collect())
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }
}
