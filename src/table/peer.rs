//! A peer: another node as this one must know it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::types::{PdcId, Psk, PublicKey, UdpPort};

/// Another node that hosts one of this node's networks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peer {
    /// Its PDC, as its certificate says (never its own file).
    pub pdc: PdcId,
    /// Its WireGuard public key; none before it has joined, and then there is no tunnel to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// The key that only this pair has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psk: Option<Psk>,
    /// Cipher suite of this pair.
    #[serde(default)]
    pub suite: Suite,
    /// Its address inside its PDC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<IpAddr>,
    /// Its address for other PDCs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<IpAddr>,
    /// UDP port of its lane 0; lane i listens on this + i.
    pub listen: UdpPort,
    /// How many lanes the pair uses, at least 1.
    pub lanes: u8,
    /// Pairs of keys that hold besides while this node or the peer changes its key, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changing: Vec<KeyPair>,
    /// Set where the peer is any WireGuard box with VXLAN instead of a `meshd`: form A, suite `chacha`, one lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<Foreign>,
}

/// A static key of this node and one of a peer that may make sessions together.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyPair {
    /// This node's.
    pub own: PublicKey,
    /// The peer's.
    pub remote: PublicKey,
    /// The key that only these two have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psk: Option<Psk>,
}

/// What must be known of a foreign peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Foreign {
    /// Its address inside the tunnel: the outer address of its vxlan device.
    pub tunnel_address: Ipv4Addr,
    /// Where its WireGuard listens, if it does not call first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
}

/// Cipher suite of a pair. Stated by the table, never negotiated on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// WireGuard: ChaCha20-Poly1305.
    #[default]
    Chacha,
    /// AES-256-GCM in WireGuard's framing, between two `meshd` on machines with AES instructions.
    Aesgcm,
}

/// The static keys of this node, as the management node has them. The node alone has their private halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnKeys {
    /// The one in force.
    pub current: PublicKey,
    /// The one that follows it: peers know it by now and take it beside the one in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PublicKey>,
    /// True: the node is to make a new one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

impl fmt::Debug for Peer {
    /// Everything but the PSK.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("pdc", &self.pdc)
            .field("public_key", &self.public_key)
            .field("suite", &self.suite)
            .field("admin", &self.admin)
            .field("external", &self.external)
            .field("listen", &self.listen)
            .field("lanes", &self.lanes)
            .field("changing", &self.changing)
            .field("foreign", &self.foreign)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyPair {
    /// Everything but the PSK.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("own", &self.own).field("remote", &self.remote).finish_non_exhaustive()
    }
}
