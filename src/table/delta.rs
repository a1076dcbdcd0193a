//! The difference of two slices, and the hash that proves it was applied to the right one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{NetKey, Network, OwnKeys, Peer, Row, RowKey, Slice, Told};
use crate::policy::path::{PathRule, PdcFacts};
use crate::types::{NodeId, PdcId, PolicyId, Version};

/// What turns the slice of `from` into the slice of `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delta {
    /// Version that it applies to.
    pub from: Version,
    /// Version that it makes.
    pub to: Version,
    /// [`hash`] of the slice that it makes.
    pub hash: String,
    /// PDC of the node, if it changed. Left out if not: `null` would say that there is none ([`Told::change`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pdc: Option<PdcId>,
    /// Tunnel address of the node as of `to`.
    pub tunnel_address: Option<Ipv4Addr>,
    /// Static keys of the node as of `to`.
    #[serde(default)]
    pub keys: Option<OwnKeys>,
    /// Changed PDCs.
    pub pdcs: Change<PdcId, PdcFacts>,
    /// Changed policies.
    pub policies: Change<PolicyId, PathRule>,
    /// Changed networks.
    pub networks: Change<NetKey, Network>,
    /// Changed rows.
    pub rows: Change<RowKey, Row>,
    /// Changed peers.
    pub peers: Change<NodeId, Peer>,
}

/// The difference of two maps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "K: Deserialize<'de> + Ord, V: Deserialize<'de>"))]
pub struct Change<K: Ord, V> {
    /// New or other values.
    pub set: BTreeMap<K, V>,
    /// Keys that are gone.
    pub gone: BTreeSet<K>,
}

/// Why a delta was not applied. The answer to each is a fresh snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// It starts from another version than the one here.
    #[error("the delta starts at version {starts}, the slice here is {here}")]
    Gap {
        /// Where it starts.
        starts: Version,
        /// What is here.
        here: Version,
    },
    /// It does not go forward.
    #[error("the delta goes from {from} to {to}, which is not forward")]
    NotForward {
        /// Where it starts.
        from: Version,
        /// Where it ends.
        to: Version,
    },
    /// The result is not what the sender has.
    #[error("the slice after the delta to {to} hashes to {ours}, the sender's to {theirs}")]
    Hash {
        /// Where it ends.
        to: Version,
        /// Our hash.
        ours: String,
        /// The sender's.
        theirs: String,
    },
}

impl<K: Ord + Clone, V: Clone + PartialEq> Change<K, V> {
    fn between(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Self {
        let set = new.iter().filter(|(k, v)| old.get(k) != Some(v)).map(|(k, v)| (k.clone(), v.clone())).collect();
        let gone = old.keys().filter(|k| !new.contains_key(k)).cloned().collect();
        Self { set, gone }
    }

    fn apply_to(self, map: &mut BTreeMap<K, V>) {
        for key in &self.gone {
            map.remove(key);
        }
        map.extend(self.set);
    }

    /// True where nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.gone.is_empty()
    }
}

impl Delta {
    /// The difference of two slices of one node.
    pub fn between(old: &Slice, new: &Slice) -> Self {
        Self {
            from: old.version,
            to: new.version,
            hash: hash(new),
            pdc: (old.pdc != new.pdc).then(|| new.pdc.clone()),
            tunnel_address: new.tunnel_address,
            keys: new.keys,
            pdcs: Change::between(&old.pdcs, &new.pdcs),
            policies: Change::between(&old.policies, &new.policies),
            networks: Change::between(&old.networks, &new.networks),
            rows: Change::between(&old.rows, &new.rows),
            peers: Change::between(&old.peers, &new.peers),
        }
    }

    /// The slice after this delta; `slice` is used up, so keep the old one until this succeeds. `ours` is the hash of what the node
    /// was told, this delta included ([`Told::change`]).
    ///
    /// # Errors
    /// [`DeltaError`]: it does not fit, or the result is not the sender's.
    pub fn apply(self, mut slice: Slice, ours: String) -> Result<Slice, DeltaError> {
        if self.from != slice.version {
            return Err(DeltaError::Gap { starts: self.from, here: slice.version });
        }
        if self.to <= self.from {
            return Err(DeltaError::NotForward { from: self.from, to: self.to });
        }
        slice.version = self.to;
        if let Some(pdc) = self.pdc {
            slice.pdc = pdc;
        }
        slice.tunnel_address = self.tunnel_address;
        slice.keys = self.keys;
        self.pdcs.apply_to(&mut slice.pdcs);
        self.policies.apply_to(&mut slice.policies);
        self.networks.apply_to(&mut slice.networks);
        self.rows.apply_to(&mut slice.rows);
        self.peers.apply_to(&mut slice.peers);
        if ours == self.hash { Ok(slice) } else { Err(DeltaError::Hash { to: self.to, ours, theirs: self.hash }) }
    }
}

/// [`Told::hash`] of a slice. It does not depend on the version, so a slice that a change did not touch keeps its hash.
pub fn hash(slice: &Slice) -> String {
    Told::of(slice).hash()
}
