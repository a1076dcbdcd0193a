//! How a node stays in sync: `GET /v1/slice?incarnation=I&revision=R&hash=H` answers with one JSON [`Message`] a line, without
//! end; `POST /v1/report` goes the other way.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::objects::NodeFacts;
use super::proof::Proof;
use crate::table::{Delta, NetKey, Slice};
use crate::types::{Mac, NodeId, PublicKey, Version};

/// One line of the stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Message {
    /// The whole slice: at first contact, after a gap, after a wrong hash.
    Snapshot {
        /// The slice.
        slice: Box<Slice>,
        /// [`crate::table::delta::hash`] of it.
        hash: String,
    },
    /// What changed.
    Delta {
        /// The difference.
        delta: Box<Delta>,
    },
    /// Nothing that concerns this node changed up to here. Sent every few seconds, so silence means a dead connection.
    Current {
        /// The store's version.
        version: Version,
    },
    /// This node is no member any more; its certificate is not accepted from now on.
    Removed,
}

/// `POST /v1/report`: what a node may say, and nothing else.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// The version that the kernel and the lanes now follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Version>,
    /// What it says of itself, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<NodeFacts>,
    /// Every port that it found on bridges of networks with `learning: local`; none: no change since the last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<FoundPort>>,
    /// The WireGuard key that it has made and wants to change to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_key: Option<PublicKey>,
    /// The new WireGuard key, once every tunnel that is up was made under it: the old one can go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_in_use: Option<PublicKey>,
    /// What the tunnels to all peers carry, as far as it was measured; none: no change since the last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<MeasuredPath>>,
    /// That the node itself says `facts`, `next_key` and `key_in_use`: a stolen TLS key says none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<Proof>,
}

/// What the tunnel to a peer carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeasuredPath {
    /// The peer.
    pub node: NodeId,
    /// The largest outer IP packet that was seen to arrive, bytes; of several lanes the smallest.
    pub bytes: u16,
}

/// A guest that a node found on its own bridge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FoundPort {
    /// The network.
    pub network: NetKey,
    /// Its address.
    pub mac: Mac,
    /// Addresses seen in its ARP and ND.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ips: BTreeSet<IpAddr>,
}
