//! The packet filters that were loaded last. The engine changes them; the watch brings them back when somebody else has touched them,
//! without waiting for the engine: until then every VXLAN frame that is well made would be let in, and every frame of a guest.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::counters::Family;
use super::error::KernelError;
use super::tracking::Tracking;
use super::unloaded::{Ours, Unloaded};
use super::{nft, print};
use crate::node::desired::{ObservedFilter, ObservedGuard};
use crate::node::fence::Fence;
use crate::node::fence_text::TABLE as FENCE;
use crate::node::guard::{Guard, TABLE};
use crate::types::Mono;

/// Runs of `nft` whose notices may still be on their way.
const RUNS: usize = 16;

/// A filter that is kept.
pub(super) trait Filter: Clone {
    /// Which one it is.
    const OURS: Ours;
    /// Loads all of it, whatever was there.
    fn whole(&self) -> String;
    /// What is there, as a number ([`print::read`]); none where a part of it is missing.
    fn read() -> io::Result<Option<u64>>;
}

impl Filter for Guard {
    const OURS: Ours = Ours::Guard;

    fn whole(&self) -> String {
        self.text()
    }

    fn read() -> io::Result<Option<u64>> {
        // As below: there is one of family netdev only where the kernel knows it.
        let tags = print::read(Family::Netdev, TABLE)?.unwrap_or_default();
        Ok(print::read(Family::Inet, TABLE)?.map(|inet| inet.rotate_left(1) ^ tags))
    }
}

impl Filter for Fence {
    const OURS: Ours = Ours::Fence;

    fn whole(&self) -> String {
        self.text()
    }

    fn read() -> io::Result<Option<u64>> {
        // There are others only on kernels with rules on absent devices, and then they are a part of what was loaded.
        let read = |family| Ok::<_, io::Error>(print::read(family, FENCE)?.unwrap_or_default());
        let (ingress, egress) = (read(Family::Inet)?, read(Family::Netdev)?);
        let bridge = print::read(Family::Bridge, FENCE)?;
        Ok(bridge.map(|bridge| bridge.rotate_left(1) ^ ingress ^ egress.rotate_left(2)))
    }
}

/// Shared by a [`super::Kernel`] and its [`super::watch::Watch`].
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    /// What may pass on the VXLAN UDP ports.
    pub(super) guard: Kept<Guard>,
    /// What guests may send.
    pub(super) fence: Kept<Fence>,
    runs: Runs,
    tracking: Arc<Mutex<Tracking>>,
}

/// One filter.
#[derive(Debug, Clone)]
pub(super) struct Kept<F> {
    loaded: Arc<Mutex<Option<Loaded<F>>>>,
    runs: Runs,
}

/// Process ids of our own last runs of `nft`: netlink says who made a change, and by default a socket's id is its process's
/// (`netlink_autobind`, net/netlink/af_netlink.c).
#[derive(Debug, Clone, Default)]
struct Runs(Arc<Mutex<VecDeque<u32>>>);

/// What was loaded last and what the kernel has of it: where that is something else, somebody changed it.
#[derive(Debug)]
struct Loaded<F> {
    filter: F,
    print: u64,
}

impl Keeper {
    /// Nothing is loaded yet.
    pub(super) fn new() -> Self {
        let runs = Runs::default();
        Self { guard: Kept::new(&runs), fence: Kept::new(&runs), runs, tracking: Arc::default() }
    }

    /// True where this host tracks connections ([`Tracking::tracks`]).
    pub(super) fn tracks(&self) -> bool {
        lock(&self.tracking).tracks()
    }

    /// The chain by which packets get a zone ([`Tracking::zone`]).
    pub(super) fn zone(&self) -> Option<String> {
        lock(&self.tracking).zone()
    }

    /// When rules of others are to be looked at again ([`Tracking::again`]).
    pub(super) fn again(&self) -> Option<Mono> {
        lock(&self.tracking).again()
    }

    /// Leaves VXLAN out of the host's table of connections where the host tracks and the guard that is loaded does not know it yet: until
    /// the engine has looked, one guest could fill it. False: there was nothing to do, and there is nothing for the engine to look at.
    pub(super) fn untrack(&self) -> Result<bool, KernelError> {
        let tracks = self.tracks();
        let news = lock(&self.tracking).news();
        let turned = tracks
            && self.guard.turn(|guard| (!guard.untracked).then(|| Guard { untracked: true, ..guard.clone() }))?;
        Ok(turned || news)
    }

    /// Why what is there could not be read: told of the filter that is to be loaded next, as loading it would tell it. The guard comes first.
    pub(super) fn unloaded(&self, guard: &ObservedGuard, why: KernelError) -> KernelError {
        if guard.loaded().is_some() { self.fence.unloaded(why) } else { self.guard.unloaded(why) }
    }

    /// True where that process was one of our own runs of `nft`.
    pub(super) fn is_ours(&self, process: u32) -> bool {
        lock(&self.runs.0).contains(&process)
    }
}

impl<F> Kept<F> {
    fn new(runs: &Runs) -> Self {
        Self { loaded: Arc::default(), runs: runs.clone() }
    }
}

impl<F: Filter> Kept<F> {
    /// Runs the transaction that leads to `filter`.
    pub(super) fn load(&self, filter: &F, text: &str) -> Result<(), KernelError> {
        let mut loaded = lock(&self.loaded);
        *loaded = None;
        *loaded = self.run(filter, text)?;
        Ok(())
    }

    /// Runs a transaction that touches nothing but elements of sets that the kernel fills: they are no part of what was loaded.
    pub(super) fn amend(&self, text: &str) -> Result<(), KernelError> {
        let _loaded = lock(&self.loaded);
        nft::run(text, |process| self.runs.remember(process))
    }

    /// Runs the transaction that removes it.
    pub(super) fn delete(&self, text: &str) -> Result<(), KernelError> {
        let mut loaded = lock(&self.loaded);
        *loaded = None;
        nft::run(text, |process| self.runs.remember(process))
    }

    /// Looks at what is there.
    pub(super) fn observe(&self) -> Result<ObservedFilter<F>, KernelError> {
        let loaded = lock(&self.loaded);
        Ok(match (read::<F>()?, &*loaded) {
            (None, _) => ObservedFilter::Absent,
            (Some(now), Some(Loaded { filter, print })) if now == *print => ObservedFilter::Loaded(filter.clone()),
            (Some(_), _) => ObservedFilter::Unknown,
        })
    }

    /// Loads again what was loaded last where others have `touched` it, or where that is not known because notices were lost and it
    /// is no longer what it was. False: there is nothing to do, nothing was loaded, or it was removed on purpose.
    pub(super) fn keep(&self, touched: bool, lost: bool) -> Result<bool, KernelError> {
        let mut loaded = lock(&self.loaded);
        let Some(now) = loaded.as_ref() else { return Ok(false) };
        if !(touched || lost && read::<F>()? != Some(now.print)) {
            return Ok(false);
        }
        self.turn_to(&mut loaded, |filter| Some(filter.clone()))
    }

    /// Loads in its stead what `to` makes of the one that was loaded last; false where that is nothing.
    fn turn(&self, to: impl FnOnce(&F) -> Option<F>) -> Result<bool, KernelError> {
        self.turn_to(&mut lock(&self.loaded), to)
    }

    fn turn_to(&self, loaded: &mut Option<Loaded<F>>, to: impl FnOnce(&F) -> Option<F>) -> Result<bool, KernelError> {
        let Some(filter) = loaded.as_ref().and_then(|loaded| to(&loaded.filter)) else { return Ok(false) };
        *loaded = None;
        *loaded = self.run(&filter, &filter.whole())?;
        Ok(true)
    }

    /// Why it is not loaded, with what the kernel has in its place.
    fn unloaded(&self, why: KernelError) -> KernelError {
        let there = F::read().ok().map(|print| print.is_some());
        KernelError::Filter { of: Unloaded { filter: F::OURS, there }, why: Box::new(why) }
    }

    fn run(&self, filter: &F, text: &str) -> Result<Option<Loaded<F>>, KernelError> {
        nft::run(text, |process| self.runs.remember(process)).map_err(|why| self.unloaded(why))?;
        Ok(read::<F>()?.map(|print| Loaded { filter: filter.clone(), print }))
    }
}

fn read<F: Filter>() -> Result<Option<u64>, KernelError> {
    F::read().map_err(KernelError::socket("reading the packet filter"))
}

impl Runs {
    fn remember(&self, process: u32) {
        let mut runs = lock(&self.0);
        runs.truncate(RUNS - 1);
        runs.push_front(process);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
