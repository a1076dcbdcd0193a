//! Ring 1: the table. What one node needs of it is a [`Slice`]; two slices differ by a [`Delta`]; a [`Version`] orders them.
//!
//! The management node makes slices, each node keeps its own on disk and boots from it. Nothing here does I/O: encoding is
//! text in, text out. [`files`] reads and writes the illumos `files` form of one (overlay, VNI).

pub mod delta;
pub mod files;
mod key;
mod peer;
mod roles;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

pub use self::delta::{Delta, DeltaError};
pub use self::key::{NetKey, RowKey};
pub use self::peer::{Foreign, KeyPair, OwnKeys, Peer, Suite};
pub use self::roles::{PortRole, Roles};
pub use self::told::Told;
use crate::policy::mtu::MtuPolicy;
use crate::policy::path::{Path, PathRule, PdcFacts};
use crate::types::{GroupRate, IfName, Mac, Mtu, NetworkId, NodeId, PdcId, PolicyId, PortId, Prefix, UdpPort, Version};

/// Everything that one node needs: the networks that it hosts, their rows, and the peers that host them too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slice {
    /// Monotone on a node: an older one is refused.
    pub version: Version,
    /// The node that this slice is for; a slice for another node is refused.
    pub node: NodeId,
    /// Its PDC, as its certificate says.
    pub pdc: PdcId,
    /// Its own address inside tunnels of form A (what foreign peers see); no host interface carries it.
    pub tunnel_address: Option<Ipv4Addr>,
    /// The static keys that the management node has of this node; none: it has not joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<OwnKeys>,
    /// Facts of every PDC named here.
    pub pdcs: BTreeMap<PdcId, PdcFacts>,
    /// Path policies, in the order in which they are tried (by name).
    pub policies: BTreeMap<PolicyId, PathRule>,
    /// Networks that this node hosts.
    pub networks: BTreeMap<NetKey, Network>,
    /// Rows of those networks, those of this node's own ports included.
    pub rows: BTreeMap<RowKey, Row>,
    /// Every other node that hosts at least one of those networks.
    pub peers: BTreeMap<NodeId, Peer>,
}

/// One VNI of an overlay, as a node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// Its name.
    pub name: NetworkId,
    /// VXLAN UDP port of its overlay.
    pub udp_port: UdpPort,
    /// Prefixes of the guests.
    pub cidr: Vec<Prefix>,
    /// Gateway addresses of the guests.
    pub gateway: Vec<IpAddr>,
    /// How its guests' MTU is found, as the network or else its overlay says; none leaves it to the node's own `[mtu]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<MtuPolicy>,
    /// Guest MTU as the management node computed it over all PDC pairs that the network spans.
    pub guest_mtu: Mtu,
    /// What happens to broadcast, unknown unicast and multicast.
    pub flood: Flood,
    /// Broadcast and multicast frames a second, where its ports say nothing else; none: [`GroupRate::USUAL`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_rate: Option<GroupRate>,
    /// Where its ports come from.
    pub learning: Learning,
    /// The other nodes that host it, with the path that the management node decided. The node decides again with
    /// [`crate::policy::path::decide`]; the stricter of the two counts.
    pub members: BTreeMap<NodeId, Path>,
}

impl Network {
    /// Its guests have IPv6, so its MTU cannot be less than 1280 bytes (RFC 8200 section 5).
    pub fn has_ipv6(&self) -> bool {
        self.cidr.iter().any(|prefix| prefix.network().is_ipv6())
    }

    /// Broadcast and multicast frames a second of a port that says nothing else.
    pub fn group_rate(&self) -> u32 {
        self.group_rate.map_or(GroupRate::USUAL, GroupRate::get)
    }

    /// True where the guest that has the address routes: it is a gateway of the network, or its port has the role. Hosts give up a default
    /// route by a neighbour that says it is no router (RFC 4861 section 7.2.5).
    pub fn is_router(&self, row: &Row, address: IpAddr) -> bool {
        row.role.has(PortRole::Router) || self.gateway.contains(&address)
    }
}

/// What happens to frames without one known destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flood {
    /// Dropped, but for ARP and ND that the table answers.
    Off,
    /// The table answers ARP and ND; other broadcast and multicast goes to all members, rate-limited; unicast to a MAC that is in
    /// no row is dropped.
    #[default]
    Suppress,
    /// All of it goes to all members.
    Replicate,
}

/// Where the ports of a network come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Learning {
    /// Only declared ports.
    #[default]
    Declared,
    /// Also what each node finds on its own bridge and reports.
    Local,
}

/// One guest address and where it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Row {
    /// The node that hosts it.
    pub node: NodeId,
    /// IPv4 addresses that ARP requests are answered for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub arp: BTreeSet<Ipv4Addr>,
    /// IPv6 addresses that neighbour solicitations are answered for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub nd: BTreeSet<Ipv6Addr>,
    /// Addresses that it may hold and others may, too. Nobody is answered for them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub floating: BTreeSet<IpAddr>,
    /// The port, where one is declared or reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortId>,
    /// Guest that this one's DHCP broadcasts are sent to (illumos `dhcp-proxy`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp_proxy: Option<Mac>,
    /// What it may do besides being a guest.
    #[serde(default, skip_serializing_if = "Roles::is_guest")]
    pub role: Roles,
    /// The interface of its node that its guest is behind; none where the port names none, and in the slices of other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<IfName>,
    /// Broadcast and multicast frames a second that it may send; none: as its network says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_rate: Option<GroupRate>,
}

impl Row {
    /// A guest of `node` of which nothing more is known.
    pub fn of(node: NodeId) -> Self {
        let (arp, nd, floating) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (port, dhcp_proxy, interface, group_rate) = (None, None, None, None);
        Self { node, arp, nd, floating, port, dhcp_proxy, role: Roles::default(), interface, group_rate }
    }

    /// What it may speak for; none at all: its port does not say, and any may be.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let own = self.arp.iter().map(|a| IpAddr::V4(*a)).chain(self.nd.iter().map(|a| IpAddr::V6(*a)));
        own.chain(self.floating.iter().copied())
    }
}

impl Slice {
    /// A slice with nothing in it, for a node that has just been made.
    pub fn empty(version: Version, node: NodeId, pdc: PdcId) -> Self {
        Self {
            version,
            node,
            pdc,
            tunnel_address: None,
            keys: None,
            pdcs: BTreeMap::new(),
            policies: BTreeMap::new(),
            networks: BTreeMap::new(),
            rows: BTreeMap::new(),
            peers: BTreeMap::new(),
        }
    }

    /// Rows of one network, by key.
    pub fn rows_of<'a>(&'a self, net: &'a NetKey) -> impl Iterator<Item = (&'a RowKey, &'a Row)> {
        self.rows.range(RowKey::first_of(net)..).take_while(move |(key, _)| key.is_in(net))
    }
}

#[cfg(test)]
mod tests;
