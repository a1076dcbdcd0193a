//! The packet filter that was loaded last. The engine changes it; the watch brings it back when somebody else has touched it,
//! without waiting for the engine: until then every VXLAN frame that is well made would be let in.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::KernelError;
use super::nft;
use crate::node::desired::ObservedGuard;
use crate::node::guard::Guard;

/// Runs of `nft` whose notices may still be on their way.
const RUNS: usize = 16;

/// Shared by a [`super::Kernel`] and its [`super::watch::Watch`].
#[derive(Debug, Clone, Default)]
pub(super) struct Keeper {
    loaded: Arc<Mutex<Option<Loaded>>>,
    /// Process ids of our own last runs of `nft`: netlink says who made a change, and by default a socket's id is its process's
    /// (`netlink_autobind`, net/netlink/af_netlink.c).
    runs: Arc<Mutex<VecDeque<u32>>>,
}

/// What was loaded last and how `nft` lists it: if it lists otherwise, somebody changed it.
#[derive(Debug)]
struct Loaded {
    guard: Guard,
    listing: String,
}

impl Keeper {
    /// Runs the transaction that leads to `guard`.
    pub(super) fn load(&self, guard: &Guard, text: &str) -> Result<(), KernelError> {
        let mut loaded = lock(&self.loaded);
        *loaded = None;
        *loaded = self.run(guard, text)?;
        Ok(())
    }

    /// Removes the table, if it is there.
    pub(super) fn delete(&self) -> Result<(), KernelError> {
        let mut loaded = lock(&self.loaded);
        *loaded = None;
        nft::delete(|process| self.remember(process))
    }

    /// What is there now.
    pub(super) fn observe(&self) -> Result<ObservedGuard, KernelError> {
        let loaded = lock(&self.loaded);
        Ok(match (nft::list()?, &*loaded) {
            (None, _) => ObservedGuard::Absent,
            (Some(now), Some(Loaded { guard, listing })) if now == *listing => ObservedGuard::Loaded(guard.clone()),
            (Some(_), _) => ObservedGuard::Unknown,
        })
    }

    /// Loads again what was loaded last. False: nothing was, or it was removed on purpose.
    pub(super) fn restore(&self) -> Result<bool, KernelError> {
        let mut loaded = lock(&self.loaded);
        let Some(guard) = loaded.as_ref().map(|loaded| loaded.guard.clone()) else { return Ok(false) };
        *loaded = None;
        *loaded = self.run(&guard, &guard.text())?;
        Ok(true)
    }

    /// True where that process was one of our own runs of `nft`.
    pub(super) fn is_ours(&self, process: u32) -> bool {
        lock(&self.runs).contains(&process)
    }

    fn run(&self, guard: &Guard, text: &str) -> Result<Option<Loaded>, KernelError> {
        nft::run(text, |process| self.remember(process))?;
        Ok(nft::list()?.map(|listing| Loaded { guard: guard.clone(), listing }))
    }

    fn remember(&self, process: u32) {
        let mut runs = lock(&self.runs);
        runs.truncate(RUNS - 1);
        runs.push_front(process);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
