//! The one place where the mesh changes: decide on the newest state, commit with preconditions, publish. The audit entry is in
//! the same transaction as the change it tells of.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::api::admin::AuditEvent;
use crate::api::problem::{Exit, Problem};
use crate::mgmt::audit;
use crate::mgmt::backup::INCARNATION;
use crate::mgmt::edit;
use crate::mgmt::index::Index;
use crate::mgmt::ledger::{self, Kept, Ledger, Place, Shelf};
use crate::mgmt::state::{self, Edit, State};
use crate::store::{Change, Range, Store, StoreError, Transaction};
use crate::types::Version;

/// Attempts of one change against others.
const ATTEMPTS: usize = 4;

/// The mesh as of one revision.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// The revision.
    pub(super) version: Version,
    /// The state, and what follows from it. The same `Arc` as before where a revision changed no object.
    pub(super) index: Arc<Index>,
}

/// What a decision wants to happen.
#[derive(Debug)]
pub(super) struct Plan<T> {
    /// Objects to write or delete. Those that change nothing are left out.
    pub(super) edits: Vec<Edit>,
    /// The entry for the audit log.
    pub(super) event: Option<AuditEvent>,
    /// What the caller gets once it has happened.
    pub(super) answer: T,
}

/// The store, the state that it holds, and those who wait for the next one.
pub(super) struct Core {
    store: Arc<dyn Store>,
    view: watch::Sender<View>,
    /// One change at a time; the keys of the audit log.
    audit: Mutex<Ledger>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("version", &self.view.borrow().version).finish_non_exhaustive()
    }
}

impl Core {
    /// Reads everything from the store.
    ///
    /// # Errors
    /// A [`Problem`]: the store cannot be read, or holds what is no object.
    pub(super) fn load(store: Arc<dyn Store>) -> Result<Self, Problem> {
        let range = store.range("").map_err(|e| problem(&e))?;
        let incarnation = incarnation(&range)?;
        let (mut state, mut log) = (State::default(), Ledger::default());
        for (key, entry) in range.entries {
            if key.starts_with(audit::PREFIX) {
                log.load(place_of(&entry.value), Kept { key, bytes: entry.value.len() });
            } else if state::object_of_key(&key).is_some() {
                state.put(state::decode(&key, &entry.value, entry.revision).map_err(|e| damaged(&e.to_string()))?);
            }
        }
        let version = Version { incarnation, revision: range.revision };
        let view = View { version, index: Arc::new(Index::new(Arc::new(state))) };
        Ok(Self { store, view: watch::Sender::new(view), audit: Mutex::new(log) })
    }

    /// The newest view.
    pub(super) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// The newest view, and a wake-up for each next one.
    pub(super) fn watch(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// The store's changes after a revision.
    ///
    /// # Errors
    /// A [`Problem`] of the store.
    pub(super) fn changes(&self, revision: u64) -> Result<Vec<Change>, Problem> {
        self.store.changes(revision).map_err(|e| problem(&e))
    }

    /// All that the store holds.
    ///
    /// # Errors
    /// A [`Problem`] of the store.
    pub(super) fn everything(&self) -> Result<Range, Problem> {
        self.store.range("").map_err(|e| problem(&e))
    }

    /// The audit log, oldest first.
    ///
    /// # Errors
    /// A [`Problem`] of the store.
    pub(super) fn events(&self) -> Result<Vec<AuditEvent>, Problem> {
        let range = self.store.range(audit::PREFIX).map_err(|e| problem(&e))?;
        Ok(range.entries.iter().filter_map(|(_, entry)| serde_json::from_slice(&entry.value).ok()).collect())
    }

    /// Decides on the newest state and makes it so; `decide` is asked again where somebody else was faster. Blocks.
    ///
    /// # Errors
    /// What `decide` says, or a [`Problem`] of the store. Nothing was changed then.
    pub(super) fn change<T>(&self, mut decide: impl FnMut(&View) -> Result<Plan<T>, Problem>) -> Result<T, Problem> {
        let mut log = self.audit.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = None;
        for _ in 0..ATTEMPTS {
            self.catch_up()?;
            let view = self.view();
            let plan = decide(&view)?;
            let edits: Vec<_> = plan.edits.into_iter().filter(|edit| edit.before != edit.after).collect();
            if edits.is_empty() && plan.event.is_none() {
                return Ok(plan.answer);
            }
            let noted = plan.event.as_ref().map(|event| note(&mut log, event));
            match self.store.commit(&transaction(&edits, noted.as_ref())) {
                Ok(revision) => {
                    self.publish(&view, revision, edits);
                    return Ok(plan.answer);
                }
                Err(error) => {
                    if let Some(Noted { place, displaced, .. }) = noted {
                        log.undo(&place, displaced);
                    }
                    let told = problem(&error);
                    if !matches!(error, StoreError::Conflict { .. }) {
                        return Err(told);
                    }
                    last = Some(told);
                }
            }
        }
        Err(last.unwrap_or_else(|| damaged("no attempt was made")))
    }

    fn publish(&self, view: &View, revision: u64, edits: Vec<Edit>) {
        let version = Version { revision, ..view.version };
        let index = if edits.is_empty() {
            Arc::clone(&view.index)
        } else {
            let stamp =
                |edit: Edit| Edit { after: edit.after.map(|o| state::with_revision(o, Some(revision))), ..edit };
            let edits: Vec<_> = edits.into_iter().map(stamp).collect();
            Arc::new(Index::new(Arc::new(view.index.state.after(&edits))))
        };
        self.view.send_replace(View { version, index });
    }

    /// Takes in what others wrote into the store: another management node, or a write of ours whose confirmation was lost.
    fn catch_up(&self) -> Result<(), Problem> {
        let view = self.view();
        let newest = *self.store.head().borrow();
        if newest <= view.version.revision {
            return Ok(());
        }
        let changes = self.store.changes(view.version.revision).map_err(|e| problem(&e))?;
        let mut state = view.index.state.as_ref().clone();
        for change in changes {
            let Some((kind, name)) = state::object_of_key(&change.key) else { continue };
            match change.value {
                Some(value) => {
                    let object = state::decode(&change.key, &value, change.revision);
                    state.put(object.map_err(|e| damaged(&e.to_string()))?);
                }
                None => state.remove(kind, name),
            }
        }
        let version = Version { revision: newest, ..view.version };
        self.view.send_replace(View { version, index: Arc::new(Index::new(Arc::new(state))) });
        Ok(())
    }
}

/// The incarnation of a store with this content.
///
/// # Errors
/// M0703: it is no number.
pub(super) fn incarnation(range: &Range) -> Result<u64, Problem> {
    let Some((_, entry)) = range.entries.iter().find(|(key, _)| key == INCARNATION) else { return Ok(1) };
    let text = String::from_utf8_lossy(&entry.value);
    text.trim().parse().map_err(|_| damaged(&format!("{INCARNATION} is no number")))
}

/// An entry of the audit log on its way into the store.
struct Noted {
    place: Place,
    key: String,
    value: Vec<u8>,
    /// Those that make room for it.
    displaced: Vec<(Place, Kept)>,
}

/// Where a stored entry belongs; one that cannot be read is as good as one of the server's.
fn place_of(value: &[u8]) -> Place {
    let unknown = || (Shelf::Server, "unknown".to_owned());
    serde_json::from_slice::<AuditEvent>(value).map_or_else(|_| unknown(), |event| ledger::place(&event))
}

/// Makes room for an entry.
fn note(log: &mut Ledger, event: &AuditEvent) -> Noted {
    let (place, key) = (ledger::place(event), audit::key(event.at, crate::clock::random()));
    // Texts and names: serialising cannot fail.
    let value = serde_json::to_vec(event).unwrap_or_default();
    let displaced = log.add(&place, Kept { key: key.clone(), bytes: value.len() });
    Noted { place, key, value, displaced }
}

/// The transaction of some edits and their audit entry.
fn transaction(edits: &[Edit], noted: Option<&Noted>) -> Transaction {
    let mut transaction = Transaction::new();
    for edit in edits {
        let Some((key, revision)) = edit::precondition(edit) else { continue };
        transaction = transaction.expect(key.clone(), revision);
        transaction = match &edit.after {
            Some(after) => transaction.write(key, state::encode(after)),
            None => transaction.delete(key),
        };
    }
    let Some(Noted { key, value, displaced, .. }) = noted else { return transaction };
    let transaction = transaction.write(key.clone(), value.clone());
    displaced.iter().fold(transaction, |transaction, (_, old)| transaction.delete(old.key.clone()))
}

fn damaged(what: &str) -> Problem {
    Problem::new("M0703", Exit::Failed, format!("the store is damaged: {what}"))
        .note("nothing was changed")
        .help("put a backup back: meshmgr restore FILE")
}

/// What a store error means for whoever asked.
pub(super) fn problem(error: &StoreError) -> Problem {
    let (code, exit, help) = match error {
        StoreError::Conflict { .. } => ("M0701", Exit::Conflict, "look at what is there now and try again"),
        StoreError::Compacted { .. } => ("M0707", Exit::Failed, "ask again without a revision"),
        StoreError::DiskFull(_) => {
            ("M0702", Exit::Failed, "make room on the disk of the management node and try again")
        }
        StoreError::Corrupted(_) => ("M0703", Exit::Failed, "put a backup back: meshmgr restore FILE"),
        StoreError::Busy(_) => ("M0704", Exit::Failed, "one meshmgr is enough: systemctl status meshmgr"),
        StoreError::Format { .. } => {
            ("M0705", Exit::Failed, "run the program version that made it, or restore a backup")
        }
        StoreError::Io(_) => ("M0706", Exit::Failed, "look at the disk and the rights of the state folder"),
    };
    Problem::new(code, exit, error.to_string()).note("nothing was changed").help(help)
}
