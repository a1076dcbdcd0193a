//! What is known of each node while the server runs: its newest slice, the few before it, whether it is connected, what it has
//! acknowledged and what it last reported. Nothing here is worth a disk: all of it comes again when the node does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::core::View;
use crate::api::stream::FoundPort;
use crate::mgmt::clones::Voices;
use crate::mgmt::facts::FactsError;
use crate::mgmt::found::Refusal;
use crate::mgmt::index::Index;
use crate::mgmt::slice;
use crate::table::{Slice, delta};
use crate::types::{NodeId, SecretKey, Version, Wall};

/// Slices of one node that a delta can start from.
const RECENT: usize = 4;

/// A slice and its hash.
#[derive(Debug)]
pub(super) struct Made {
    /// The slice, of the revision in which it last changed.
    pub(super) slice: Slice,
    /// [`delta::hash`] of it.
    pub(super) hash: String,
}

/// One node's place.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// Newest last.
    recent: VecDeque<Arc<Made>>,
    /// The state that the newest one was made of.
    basis: Option<Arc<Index>>,
    /// Open streams.
    pub(super) streams: usize,
    /// Number of the newest of them; those before it end.
    pub(super) newest: tokio::sync::watch::Sender<u64>,
    /// Which machines have spoken as this node.
    pub(super) voices: Voices,
    /// When the newest certificate ends that this run of the server has given it.
    pub(super) certified: Wall,
    /// When it was last heard.
    pub(super) seen: Option<Wall>,
    /// What its kernel and lanes follow.
    pub(super) acknowledged: Option<Version>,
    /// The version that it said to have when it last came, if this store has never been there.
    pub(super) ahead: Option<Version>,
    /// Why what it last said of itself is not believed.
    pub(super) unbelieved: Option<FactsError>,
    /// What it last found on its bridges.
    pub(super) claims: Vec<FoundPort>,
    /// Which of those are not believed.
    pub(super) refused: BTreeMap<FoundPort, Refusal>,
}

/// All nodes' places.
#[derive(Debug, Default)]
pub(super) struct Hub {
    seats: Mutex<BTreeMap<NodeId, Arc<Mutex<Seat>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A node's place.
    pub(super) fn seat(&self, node: &NodeId) -> Arc<Mutex<Seat>> {
        Arc::clone(lock(&self.seats).entry(node.clone()).or_default())
    }

    /// Works on a node's place.
    pub(super) fn with<T>(&self, node: &NodeId, work: impl FnOnce(&mut Seat) -> T) -> T {
        work(&mut lock(&self.seat(node)))
    }

    /// Forgets a removed node.
    pub(super) fn forget(&self, node: &NodeId) {
        lock(&self.seats).remove(node);
    }

    /// Nodes with claims that were refused; one of them may be free by now.
    pub(super) fn waiting(&self) -> Vec<NodeId> {
        let seats: Vec<_> = lock(&self.seats).iter().map(|(node, seat)| (node.clone(), Arc::clone(seat))).collect();
        seats.into_iter().filter(|(_, seat)| !lock(seat).refused.is_empty()).map(|(node, _)| node).collect()
    }

    /// Nodes that have a newer version than this store, and which.
    pub(super) fn ahead(&self) -> Vec<(NodeId, Version)> {
        let seats: Vec<_> = lock(&self.seats).iter().map(|(node, seat)| (node.clone(), Arc::clone(seat))).collect();
        seats.into_iter().filter_map(|(node, seat)| lock(&seat).ahead.map(|ahead| (node, ahead))).collect()
    }

    /// The newest slice of a node, made at most once a state; none: there is no such node. Blocks.
    pub(super) fn made(&self, node: &NodeId, view: &View, secret: &SecretKey) -> Option<Arc<Made>> {
        let seat = self.seat(node);
        let mut seat = lock(&seat);
        if let (Some(basis), Some(newest)) = (&seat.basis, seat.recent.back())
            && Arc::ptr_eq(basis, &view.index)
        {
            return Some(Arc::clone(newest));
        }
        let slice = slice::build(&view.index, node, view.version, Some(secret))?;
        let hash = delta::hash(&slice);
        seat.basis = Some(Arc::clone(&view.index));
        if let Some(newest) = seat.recent.back().filter(|newest| newest.hash == hash) {
            return Some(Arc::clone(newest));
        }
        if seat.recent.len() == RECENT {
            seat.recent.pop_front();
        }
        let made = Arc::new(Made { slice, hash });
        seat.recent.push_back(Arc::clone(&made));
        Some(made)
    }

    /// A slice that the node says it has, if it is one of the recent ones.
    pub(super) fn recent(&self, node: &NodeId, hash: &str) -> Option<Arc<Made>> {
        self.with(node, |seat| seat.recent.iter().find(|made| made.hash == hash).cloned())
    }

    /// Does the node follow the slice that this state makes for it? Not before that slice is made: until then nobody knows.
    pub(super) fn in_sync(&self, node: &NodeId, view: &View) -> bool {
        self.with(node, |seat| match (&seat.basis, seat.acknowledged, seat.recent.back()) {
            (Some(basis), Some(acknowledged), Some(newest)) => {
                Arc::ptr_eq(basis, &view.index) && acknowledged >= newest.slice.version
            }
            _ => false,
        })
    }
}
