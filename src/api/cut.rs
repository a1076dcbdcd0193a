//! What a finding keeps from arriving, so that `explain` and `status` come from the same facts: who tells what is wrong says what is cut off by
//! it, and nobody has to read that out of a sentence.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::local::Finding;
use crate::policy::path::Path;
use crate::table::NetKey;
use crate::types::{Mac, NodeId};

/// Peers, guests or networks of one finding that are listed at most; of the rest it is said that there are some.
pub const LISTED: usize = 64;

/// What is cut off by what a finding tells. All parts empty: no frame is concerned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cut {
    /// True: nothing arrives. False: something may not.
    pub surely: bool,
    /// All that this node's guests send and get.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub node: bool,
    /// Networks on this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetKey>,
    /// What goes between this node and these peers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<NodeId>,
    /// The paths that it concerns, to these peers or of these networks; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Path>,
    /// Only IPv6, or only IPv4 and its questions (ARP); none: whatever is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<bool>,
    /// Only what this node's guests send, or only what is for them; none: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Guests of this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guests: Vec<CutGuest>,
    /// Not what they send from another IP address than these; none: whatever they send. What is for them is concerned all the same: they may
    /// have one of these in place of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<IpAddr>,
    /// Only what goes between this node and others: on the node itself all passes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
    /// There are more than are listed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub others: bool,
}

/// Which way a frame goes, as the node of a finding sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// A guest of the node sends it.
    FromGuests,
    /// It is for a guest of the node.
    ToGuests,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn back(self) -> Self {
        match self {
            Self::FromGuests => Self::ToGuests,
            Self::ToGuests => Self::FromGuests,
        }
    }
}

/// One guest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CutGuest {
    /// Its network.
    pub network: NetKey,
    /// Its Ethernet address.
    pub mac: Mac,
}

impl Cut {
    /// All that this node's guests send and get.
    pub fn node(surely: bool) -> Self {
        Self { surely, node: true, ..Self::default() }
    }

    /// What of a network enters or leaves this node by one kind of path.
    pub fn way(key: &NetKey, path: Path) -> Self {
        Self { path: Some(path), ..Self::network(key) }
    }

    /// A network on this node.
    pub fn network(key: &NetKey) -> Self {
        Self { surely: true, networks: vec![key.clone()], ..Self::default() }
    }

    /// What goes to peers, by one kind of path.
    pub fn peers<'a>(surely: bool, path: Path, peers: impl IntoIterator<Item = &'a NodeId>) -> Self {
        Self { surely, path: Some(path), peers: peers.into_iter().cloned().collect(), ..Self::default() }.bounded()
    }

    /// Guests of this node.
    pub fn guests<'a>(surely: bool, guests: impl IntoIterator<Item = &'a (NetKey, Mac)>) -> Self {
        let guest = |(network, mac): &(NetKey, Mac)| CutGuest { network: network.clone(), mac: *mac };
        Self { surely, guests: guests.into_iter().map(guest).collect(), ..Self::default() }.bounded()
    }

    /// The same for guests that use some IP addresses. Of more than [`LISTED`] none is named, and any is concerned.
    #[must_use]
    pub fn sent_from(self, from: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut from: Vec<IpAddr> = from.into_iter().collect();
        let first = from.first().map(IpAddr::is_ipv6);
        let ipv6 = first.filter(|ipv6| from.iter().all(|one| one.is_ipv6() == *ipv6));
        if from.len() > LISTED {
            from.clear();
        }
        Self { from, ipv6, ..self }
    }

    /// The part of it that goes to the interface at which it is cut off, or that comes from there. A guest's interface gets what is for the
    /// guest, one towards other nodes what guests have sent.
    #[must_use]
    pub fn at_interface(self, goes_to: bool) -> Self {
        let outward = self.path.is_some() || !self.peers.is_empty();
        let direction = if goes_to == outward { Direction::FromGuests } else { Direction::ToGuests };
        Self { direction: Some(direction), ..self }
    }

    /// True where both are of one kind, so that they can be joined and neither says more than it did.
    pub fn takes(&self, other: &Self) -> bool {
        let kind = |cut: &Self| (cut.surely, cut.path, cut.ipv6, cut.away, cut.direction);
        kind(self) == kind(other) && self.from == other.from
    }

    /// Adds what another of the same kind ([`Self::takes`]) cuts off.
    pub fn join(&mut self, other: Self) {
        self.node |= other.node;
        self.others |= other.others;
        let networks: Vec<_> = other.networks.into_iter().filter(|one| !self.networks.contains(one)).collect();
        self.networks.extend(networks);
        let peers: Vec<_> = other.peers.into_iter().filter(|one| !self.peers.contains(one)).collect();
        self.peers.extend(peers);
        let guests: Vec<_> = other.guests.into_iter().filter(|one| !self.guests.contains(one)).collect();
        self.guests.extend(guests);
        *self = std::mem::take(self).bounded();
    }

    /// What is listed, at most [`LISTED`] of a kind.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.others |= [self.networks.len(), self.peers.len(), self.guests.len()].iter().any(|len| *len > LISTED);
        self.networks.truncate(LISTED);
        self.peers.truncate(LISTED);
        self.guests.truncate(LISTED);
        self
    }
}

impl Finding {
    /// The same with what it cuts off.
    #[must_use]
    pub fn cuts(self, cut: Cut) -> Self {
        Self { cut: Some(cut), ..self }
    }

    /// The same, if it keeps no frame from arriving.
    #[must_use]
    pub fn harmless(self) -> Self {
        self.cuts(Cut::default())
    }

    /// True where it says the same in the same words.
    pub fn is_said(&self, other: &Self) -> bool {
        (&self.code, &self.what, &self.help) == (&other.code, &other.what, &other.help)
    }
}
