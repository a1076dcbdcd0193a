//! What is known of each node while the server runs: its newest slice, the few before it, whether it is connected, what it has
//! acknowledged and what it last reported. Nothing here is worth a disk: all of it comes again when the node does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::core::View;
use super::presence::Presence;
use crate::api::stream::{AwayGuest, FoundPort};
use crate::mgmt::clones::Voices;
use crate::mgmt::facts::FactsError;
use crate::mgmt::found::{self, Claimed, Refusal};
use crate::mgmt::index::Index;
use crate::mgmt::told::Said;
use crate::mgmt::uplinks::Uplinks;
use crate::mgmt::{limits, slice};
use crate::policy::mtu::MtuPolicy;
use crate::policy::quiet::Hush;
use crate::policy::sources::Bucket;
use crate::table::{Slice, delta};
use crate::types::{Mono, NodeId, PortId, SecretKey, Version, Wall};

/// Slices of one node that a delta can start from.
const RECENT: usize = 4;
/// How long a node may take to follow a change before it is wrong that it does not.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

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
    /// When it was made.
    changed: Option<Mono>,
    /// Open streams.
    pub(super) streams: usize,
    /// Number of the newest of them; those before it end.
    pub(super) newest: tokio::sync::watch::Sender<u64>,
    /// Which machines have spoken as this node.
    pub(super) voices: Voices,
    /// When the newest certificate ends that this run of the server has given it.
    pub(super) certified: Wall,
    /// What was said of its coming and going.
    pub(super) presence: Presence,
    /// It said that its machine has left, and none has come since.
    pub(super) left: bool,
    /// It says on its stream that its reports do not arrive.
    pub(super) unreported: bool,
    /// When it was last heard.
    pub(super) seen: Option<Wall>,
    /// What its kernel and lanes follow.
    pub(super) acknowledged: Option<Version>,
    /// The slice that it was last told to have, and the version that it calls it by. That is an older one than the slice's own where the same
    /// content was made again, by a server that has started anew.
    pub(super) called: Option<(Arc<Made>, Version)>,
    /// The version that it said to have when it last came, if this store has never been there.
    pub(super) ahead: Option<Version>,
    /// Its own `[mtu]`.
    pub(super) own_mtu: Option<MtuPolicy>,
    /// Guests of its ports whose interface is not there, as it says.
    pub(super) away: Vec<AwayGuest>,
    /// What it finds wrong.
    pub(super) told: Said,
    /// Why what it last said of itself is not believed.
    pub(super) unbelieved: Option<FactsError>,
    /// What it found on its bridges and is not believed.
    waiting: BTreeMap<Claimed, Waiting>,
    /// The address that it said it from.
    pub(super) claims_from: String,
    /// Held while a request of the node is read and worked on: one at a time, so that they need the room of one.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How often it may ask for more than a sign of life.
    pace: Option<Bucket>,
    /// Log lines about it.
    pub(super) logged: Hush,
    /// Entries of the audit log about what it is refused.
    pub(super) noted: Hush,
}

/// A claim that is not believed.
#[derive(Debug)]
struct Waiting {
    ips: BTreeSet<IpAddr>,
    why: Refusal,
    /// When its node began to say it, and when it said it last.
    since: Mono,
    said: Mono,
}

impl Waiting {
    /// May it count when another node lets go?
    fn counts(&self, now: Mono) -> bool {
        matches!(self.why, Refusal::Owned { .. }) && now.since(self.said) <= found::FRESH
    }
}

/// A guest that its node has let go.
#[derive(Debug)]
struct LetGo {
    by: NodeId,
    at: Mono,
}

/// Guests that a node hears and another one has, by the node that has them: the port, and who hears it.
pub(super) type Contests = BTreeMap<NodeId, BTreeMap<Claimed, (PortId, NodeId)>>;

/// All nodes' places.
#[derive(Debug, Default)]
pub(super) struct Hub {
    seats: Mutex<BTreeMap<NodeId, Arc<Mutex<Seat>>>>,
    /// Who has what others claim.
    contests: tokio::sync::watch::Sender<Arc<Contests>>,
    /// What nodes cannot know of their peers.
    uplinks: Mutex<Arc<Uplinks>>,
    /// Claims that all nodes wait with.
    waiting: AtomicUsize,
    /// Guests that were let go lately.
    let_go: Mutex<BTreeMap<Claimed, LetGo>>,
}

fn claim_of((network, mac): &Claimed, waiting: &Waiting) -> FoundPort {
    FoundPort { network: network.clone(), mac: *mac, ips: waiting.ips.clone() }
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
        let seat = lock(&self.seats).remove(node);
        if let Some(seat) = seat {
            self.waiting.fetch_sub(lock(&seat).waiting.len(), Ordering::Relaxed);
            self.contest(crate::clock::mono());
        }
    }

    /// What others claim of each node, and when that changes.
    pub(super) fn contests(&self) -> tokio::sync::watch::Receiver<Arc<Contests>> {
        self.contests.subscribe()
    }

    /// What is known of peers that are not heard, as of the last look.
    pub(super) fn uplinks(&self) -> Arc<Uplinks> {
        Arc::clone(&lock(&self.uplinks))
    }

    /// Replaces that.
    pub(super) fn set_uplinks(&self, known: Uplinks) {
        *lock(&self.uplinks) = Arc::new(known);
    }

    /// Sees anew who has what others claim, and still say.
    pub(super) fn contest(&self, now: Mono) {
        let mut contests = Contests::new();
        for (by, seat) in self.all() {
            for (claimed, waiting) in lock(&seat).waiting.iter().filter(|(_, waiting)| waiting.counts(now)) {
                if let Refusal::Owned { port, node } = &waiting.why {
                    let of_node = contests.entry(node.clone()).or_default();
                    of_node.entry(claimed.clone()).or_insert_with(|| (port.clone(), by.clone()));
                }
            }
        }
        self.contests.send_if_modified(|known| {
            let news = **known != contests;
            if news {
                *known = Arc::new(contests);
            }
            news
        });
    }

    /// Remembers which of the claims that a node has just said are not believed, as far as there is room: first those that may count when
    /// another node lets go. Returns those that were not refused for the same reason before, and how many it did not look at.
    pub(super) fn wait(
        &self,
        node: &NodeId,
        refused: BTreeMap<FoundPort, Refusal>,
        now: Mono,
    ) -> (Vec<(FoundPort, Refusal)>, usize) {
        let (contested, news) = self.with(node, |seat| {
            let contested = |seat: &Seat| seat.waiting.values().any(|claim| matches!(claim.why, Refusal::Owned { .. }));
            let was = contested(seat);
            let before = std::mem::take(&mut seat.waiting);
            let all = self.waiting.fetch_sub(before.len(), Ordering::Relaxed).saturating_sub(before.len());
            let (mut new, mut left_out) = (Vec::new(), 0);
            let (first, second): (Vec<_>, Vec<_>) =
                refused.into_iter().partition(|(_, why)| matches!(why, Refusal::Owned { .. }));
            for (claim, why) in first.into_iter().chain(second) {
                let mine = seat.waiting.len();
                if !limits::fits(mine, all + mine, limits::WAITING_ALWAYS, limits::WAITING_OF_NODE, limits::WAITING) {
                    left_out += 1;
                    continue;
                }
                let about = (claim.network.clone(), claim.mac);
                let ips = claim.ips.iter().take(limits::FOUND_ADDRESSES).copied().collect();
                let old = before.get(&about);
                if old.is_none_or(|old| old.why != why) {
                    new.push((claim, why.clone()));
                }
                let since = old.filter(|old| now.since(old.said) <= found::FRESH).map_or(now, |old| old.since);
                seat.waiting.insert(about, Waiting { ips, why, since, said: now });
            }
            self.waiting.fetch_add(seat.waiting.len(), Ordering::Relaxed);
            (was || contested(seat), (new, left_out))
        });
        if contested {
            self.contest(now);
        }
        news
    }

    /// Takes what became of claims of a node that were judged again. Of those that are refused it is known anew whose the guest is.
    pub(super) fn judged(&self, node: &NodeId, again: &[FoundPort], refused: &BTreeMap<FoundPort, Refusal>, now: Mono) {
        self.with(node, |seat| {
            for claim in again {
                let about = (claim.network.clone(), claim.mac);
                match (refused.get(claim), seat.waiting.get_mut(&about)) {
                    (Some(why), Some(waiting)) => waiting.why = why.clone(),
                    (None, Some(_)) => {
                        seat.waiting.remove(&about);
                        self.waiting.fetch_sub(1, Ordering::Relaxed);
                    }
                    (_, None) => {}
                }
            }
        });
        self.contest(now);
    }

    /// Claims of a node that are not believed.
    #[cfg(test)]
    pub(super) fn waits_with(&self, node: &NodeId) -> Vec<FoundPort> {
        self.with(node, |seat| seat.waiting.iter().map(|(about, waiting)| claim_of(about, waiting)).collect())
    }

    /// Who claims guests that `node` has let go, in the order in which they are judged: of each guest first the node that has begun last to hear it.
    /// A claim that is not said any more counts for nothing.
    pub(super) fn claimants(
        &self,
        node: &NodeId,
        let_go: &BTreeSet<Claimed>,
        now: Mono,
    ) -> Vec<(NodeId, Vec<FoundPort>)> {
        let mut newest: BTreeMap<Claimed, (Mono, NodeId, FoundPort)> = BTreeMap::new();
        let mut others: BTreeMap<NodeId, Vec<FoundPort>> = BTreeMap::new();
        for (by, seat) in self.all().into_iter().filter(|(by, _)| by != node) {
            for (about, waiting) in &lock(&seat).waiting {
                if !let_go.contains(about) || !waiting.counts(now) {
                    continue;
                }
                let mine = (waiting.since, by.clone(), claim_of(about, waiting));
                let later = match newest.get(about) {
                    Some((since, ..)) if *since >= waiting.since => Some(mine),
                    Some(_) | None => newest.insert(about.clone(), mine),
                };
                if let Some((_, by, claim)) = later {
                    others.entry(by).or_default().push(claim);
                }
            }
        }
        let mut first: BTreeMap<NodeId, Vec<FoundPort>> = BTreeMap::new();
        for (_, by, claim) in newest.into_values() {
            first.entry(by).or_default().push(claim);
        }
        first.into_iter().chain(others).collect()
    }

    /// Remembers which guests a node has let go. However often that is so within a short time: a machine that starts has its interface gone several times.
    pub(super) fn set_let_go(&self, node: &NodeId, let_go: &BTreeSet<Claimed>, now: Mono) {
        let mut all = lock(&self.let_go);
        all.retain(|_, known| now.since(known.at) <= found::BACK);
        for about in let_go {
            if all.len() < limits::WAITING || all.contains_key(about) {
                all.insert(about.clone(), LetGo { by: node.clone(), at: now });
            }
        }
    }

    /// Guests that a node has let go within [`found::BACK`].
    pub(super) fn lately(&self, node: &NodeId, now: Mono) -> BTreeSet<Claimed> {
        let counts = |known: &LetGo| known.by == *node && now.since(known.at) <= found::BACK;
        lock(&self.let_go).iter().filter(|(_, known)| counts(known)).map(|(about, _)| about.clone()).collect()
    }

    /// The turn of a node's requests; whoever has it goes first.
    pub(super) fn turn(&self, node: &NodeId) -> Arc<tokio::sync::Mutex<()>> {
        self.with(node, |seat| Arc::clone(&seat.turn))
    }

    /// How long a node has to wait until it may ask for more than a sign of life.
    pub(super) fn pace(&self, node: &NodeId, now: Mono) -> Duration {
        let rate = limits::ASKED_BY_MEMBER;
        self.with(node, |seat| seat.pace.get_or_insert_with(|| Bucket::full(rate, now)).wait(rate, now))
    }

    /// How much about each node was kept back in the log and the audit log, and not said yet.
    pub(super) fn kept_back(&self) -> Vec<(NodeId, u64)> {
        let rest = |seat: &mut Seat| seat.noted.rest().unwrap_or(0) + seat.logged.rest().unwrap_or(0);
        let seats = self.all().into_iter().map(|(node, seat)| (node, rest(&mut lock(&seat))));
        seats.filter(|(_, count)| *count > 0).collect()
    }

    fn all(&self) -> Vec<(NodeId, Arc<Mutex<Seat>>)> {
        lock(&self.seats).iter().map(|(node, seat)| (node.clone(), Arc::clone(seat))).collect()
    }

    /// Nodes that have a newer version than this store, and which.
    pub(super) fn ahead(&self) -> Vec<(NodeId, Version)> {
        self.all().into_iter().filter_map(|(node, seat)| lock(&seat).ahead.map(|ahead| (node, ahead))).collect()
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
        seat.changed = Some(crate::clock::mono());
        Some(made)
    }

    /// A slice that the node says it has, if it is one of the recent ones.
    pub(super) fn recent(&self, node: &NodeId, hash: &str) -> Option<Arc<Made>> {
        self.with(node, |seat| seat.recent.iter().find(|made| made.hash == hash).cloned())
    }

    /// Is the slice that the node needs so new that it may still be on its way to kernel and lanes, or not made yet?
    pub(super) fn changing(&self, node: &NodeId, view: &View, now: Mono) -> bool {
        self.with(node, |seat| {
            let made = seat.basis.as_ref().is_some_and(|basis| Arc::ptr_eq(basis, &view.index));
            !made || seat.changed.is_some_and(|at| now.since(at) < ON_ITS_WAY)
        })
    }

    /// Does the node follow the slice that this state makes for it? Not before that slice is made: until then nobody knows.
    pub(super) fn in_sync(&self, node: &NodeId, view: &View) -> bool {
        self.with(node, |seat| match (&seat.basis, seat.acknowledged, seat.recent.back()) {
            (Some(basis), Some(acknowledged), Some(newest)) => {
                let called = seat.called.as_ref().filter(|(made, _)| made.hash == newest.hash);
                let version = called.map_or(newest.slice.version, |(_, version)| *version);
                Arc::ptr_eq(basis, &view.index) && acknowledged >= version
            }
            _ => false,
        })
    }
}
