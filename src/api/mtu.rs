//! What paths carry and what that leaves for guests: `GET /v1/mtu` of a management node ([`MeshMtu`]) and of `meshd`
//! ([`NodeMtu`]), `GET /v1/mtu/probe?to=NODE|PORT` of `meshd` ([`Probed`]). All sizes are bytes.

use serde::{Deserialize, Serialize};

use crate::policy::mtu::Oversize;
use crate::policy::path::Path;
use crate::types::{Mtu, NetworkId, NodeId, PdcId, Wall};

/// The map of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshMtu {
    /// The tightest way between each two PDCs whose nodes share a network; the two may be the same.
    pub pairs: Vec<PdcPairMtu>,
    /// Every network.
    pub networks: Vec<NetworkMtu>,
}

/// The tightest way between nodes of two PDCs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PdcPairMtu {
    /// One PDC.
    pub a: PdcId,
    /// The other.
    pub b: PdcId,
    /// How frames go.
    pub path: Path,
    /// The two nodes, each in its PDC.
    pub ends: [NodeId; 2],
    /// What the interfaces of both ends say: the largest outer packet.
    pub underlay: u16,
    /// The smallest outer packet size that was measured between the two PDCs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<u16>,
    /// Since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Wall>,
    /// What counts of the two: a measured size counts once it has stood.
    pub counts: u16,
    /// What that leaves for a guest.
    pub guest: u16,
    /// The arithmetic.
    pub sum: String,
    /// Who limits it.
    pub limit: String,
    /// Pairs of nodes whose frames take the tunnel now: their plain path is dead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detours: Vec<[NodeId; 2]>,
}

/// What was done about sizes, counted since the lanes started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SizeCounts {
    /// Frames of guests that were larger than the guest MTU, whatever became of them. By network only.
    pub oversize: u64,
    /// Frames that were carried in fragments.
    pub fragmented: u64,
    /// The fragments that they became.
    pub fragments_sent: u64,
    /// Frames put together from fragments.
    pub reassembled: u64,
    /// Fragments that became no frame. By peer only.
    pub fragments_refused: u64,
    /// Guests that were told by ICMP that a packet was too big. By network only.
    pub too_big: u64,
    /// SYNs whose MSS was lowered.
    pub mss_clamped: u64,
}

impl SizeCounts {
    /// True where nothing was done.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Those above zero, by name.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("oversize", self.oversize),
            ("fragmented", self.fragmented),
            ("fragments-sent", self.fragments_sent),
            ("reassembled", self.reassembled),
            ("fragments-refused", self.fragments_refused),
            ("too-big", self.too_big),
            ("mss-clamped", self.mss_clamped),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// Who said what a network's MTU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SaidBy {
    /// Its own policy.
    Network,
    /// Its overlay's.
    Overlay,
    /// Each node's `[mtu]`.
    Node,
}

/// One network's MTU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkMtu {
    /// The network.
    pub network: NetworkId,
    /// What its guests may send.
    pub mtu: Mtu,
    /// True for a fixed number, false for one that follows the paths.
    pub fixed: bool,
    /// Whose policy it is, as far as who answers knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_by: Option<SaidBy>,
    /// What the tightest path carries whole.
    pub whole: u16,
    /// By how many bytes that falls short of `mtu`: such frames travel in fragments.
    pub missing: u16,
    /// They do not, they are lost: the tightest path is a plain one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// No two nodes host it yet: the rest is of a plain path between two that are to come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// The arithmetic of the tightest path.
    pub sum: String,
    /// Who limits it.
    pub limit: String,
    /// What happens to a frame that is larger than `mtu`.
    pub oversize: Oversize,
    /// What this node did about sizes in it.
    #[serde(default, skip_serializing_if = "SizeCounts::is_zero")]
    pub counts: SizeCounts,
}

/// The map of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeMtu {
    /// This node.
    pub node: NodeId,
    /// Its way to every peer, one line for each kind of path.
    pub peers: Vec<PeerMtu>,
    /// Its networks.
    pub networks: Vec<NetworkMtu>,
}

/// The way to one peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerMtu {
    /// The peer.
    pub node: NodeId,
    /// Its PDC.
    pub pdc: PdcId,
    /// How frames go.
    pub path: Path,
    /// What this node's interface says.
    pub underlay: u16,
    /// The largest outer packet that was seen to arrive; of several lanes the smallest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<u16>,
    /// Since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Wall>,
    /// Each lane's tunnel.
    pub lanes: Vec<LaneMtu>,
    /// What was done about sizes on the way to and from it.
    #[serde(default, skip_serializing_if = "SizeCounts::is_zero")]
    pub counts: SizeCounts,
    /// What the way leaves for a guest.
    pub guest: u16,
    /// The arithmetic.
    pub sum: String,
    /// Who limits it.
    pub limit: String,
}

/// What one lane knows of its path to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneMtu {
    /// Which lane.
    pub lane: u8,
    /// What it sends at most.
    pub bytes: u16,
    /// `base`, `searching`, `complete` or `error`.
    pub phase: String,
    /// Seconds since it is so.
    pub seconds: u64,
}

/// The answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probed {
    /// Whose path it is.
    pub node: NodeId,
    /// How long it took, milliseconds.
    pub milliseconds: u64,
    /// What each lane found.
    pub lanes: Vec<LaneMtu>,
    /// True where every lane found its size.
    pub complete: bool,
    /// What the smallest of them leaves for a guest.
    pub guest: u16,
    /// The arithmetic.
    pub sum: String,
}
