//! Objects that operators declare: what is wanted (`spec`) and what was found (`status`).
//!
//! A manifest is `{apiVersion, kind, metadata: {name, ...}, spec}`. Unknown keys are refused, but in answers of a server
//! ([`super::heard`]).

mod any;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::policy::mtu::MtuPolicy;
use crate::policy::path::{PathRule, PdcFacts};
use crate::table::{Flood, Learning};
pub use crate::table::{PortRole, Roles};
use crate::types::{
    GroupRate, IfName, Mac, Mtu, NamePattern, NetworkId, NodeId, OverlayId, PdcId, PolicyId, PortId, Prefix, PublicKey,
    UdpPort, Version, Vlan, Vni, Wall,
};

/// What every object has besides its spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Meta<N> {
    /// Its name, unique for its kind.
    pub name: N,
    /// For people and selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Store revision of the last change. In a manifest: the change is refused if the object has another one by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// An object with name `N`, spec `S` and status `T`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    bound(deserialize = "N: Deserialize<'de>, S: Deserialize<'de>, T: Deserialize<'de> + Default")
)]
pub struct Object<N, S, T = ()> {
    /// Name, labels, revision.
    pub metadata: Meta<N>,
    /// What is wanted.
    pub spec: S,
    /// What was found. Refused in manifests but when it is what the server printed.
    #[serde(default)]
    pub status: T,
}

/// A physical datacenter.
pub type Pdc = Object<PdcId, PdcFacts>;
/// A machine that runs `meshd`, or a foreign peer. May exist before any machine joins as it.
pub type Node = Object<NodeId, NodeSpec, NodeStatus>;
/// An overlay (rule).
pub type Overlay = Object<OverlayId, OverlaySpec>;
/// A network.
pub type Network = Object<NetworkId, NetworkSpec>;
/// A vNIC.
pub type Port = Object<PortId, PortSpec>;
/// A path policy.
pub type PathPolicy = Object<PolicyId, PathRule>;
/// A join token, without its secret. Its name is its id.
pub type Token = Object<String, TokenSpec, TokenStatus>;

/// Any object, told apart by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind")]
#[expect(clippy::large_enum_variant, reason = "few at a time, and a box would be in everybody's way")]
pub enum Any {
    /// [`Pdc`]
    Pdc(Pdc),
    /// [`Node`]
    Node(Node),
    /// [`Overlay`]
    Overlay(Overlay),
    /// [`Network`]
    Network(Network),
    /// [`Port`]
    Port(Port),
    /// [`PathPolicy`]
    #[serde(rename = "Policy")]
    PathPolicy(PathPolicy),
    /// [`Token`]
    Token(Token),
}

/// Kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// [`Pdc`]
    Pdc,
    /// [`Node`]
    Node,
    /// [`Overlay`]
    Overlay,
    /// [`Network`]
    Network,
    /// [`Port`]
    Port,
    /// [`PathPolicy`]; once called `pathpolicy`.
    #[serde(rename = "policy", alias = "pathpolicy")]
    PathPolicy,
    /// [`Token`]
    Token,
}

/// What is wanted of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSpec {
    /// Its PDC. A token of another PDC cannot join as this node.
    pub pdc: PdcId,
    /// Its address inside the PDC; overrides what it reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<IpAddr>,
    /// Its address for other PDCs; overrides what it reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<IpAddr>,
    /// Set for a foreign peer: any WireGuard box with VXLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<ForeignSpec>,
}

/// What is wanted of a foreign peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForeignSpec {
    /// Its WireGuard public key.
    pub public_key: PublicKey,
    /// Where its WireGuard listens, if it is reachable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
    /// Its address inside the tunnel: the local address of its vxlan device.
    pub tunnel_address: Ipv4Addr,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeStatus {
    /// Its WireGuard key, once it has joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// The WireGuard key that it changes to: peers take it beside the other until the node has it in use everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_public_key: Option<PublicKey>,
    /// Since when its WireGuard key is in force; none: since it joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_since: Option<Wall>,
    /// True from when a new WireGuard key is wanted until the node has made one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace_key: bool,
    /// Since when two machines are known to run as this node, or to hold its key, or since its keys were taken back. Nobody takes
    /// anything from it until an operator releases it, or a machine joins as it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<Wall>,
    /// Id of the only token that lets a machine join as it, from when its keys were taken back until one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<String>,
    /// Keys of it that were taken back and that nobody may use again, the newest last: WireGuard keys (base64), and SHA-256
    /// (hexadecimal) of TLS keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
    /// SHA-256 (hexadecimal) of its TLS public key (SPKI).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<String>,
    /// The same of the key that it changes to; it takes the place of `tls_key` when the node first uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_tls_key: Option<String>,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<NodeFacts>,
    /// Its own address inside tunnels of form A, given once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_address: Option<Ipv4Addr>,
    /// When it joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<Wall>,
    /// The last version that it acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Version>,
    /// Whether it is there, by its own word; in answers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<bool>,
    /// Its machine has left, and nobody runs as it; in answers only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
    /// When it was last heard; in answers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Wall>,
    /// Paths from here that carry less than both ends' interfaces say: the largest outer packet in bytes, by the other node. Only
    /// what has stood long enough to count ([`crate::policy::steady`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<NodeId, u16>,
}

/// What a node says of itself at enrolment and whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeFacts {
    /// Address of its admin interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<IpAddr>,
    /// Address of its external interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<IpAddr>,
    /// MTU of its admin interface.
    pub admin_mtu: Mtu,
    /// MTU of its external interface.
    pub external_mtu: Mtu,
    /// UDP port of lane 0.
    pub listen: UdpPort,
    /// How many lanes it can run.
    pub lanes: u8,
    /// True where the CPU has AES instructions.
    pub aes: bool,
    /// Version of `meshd`.
    pub version: String,
}

/// What is wanted of an overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverlaySpec {
    /// VXLAN UDP port, unique among overlays. None: the lowest free one from 4789.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp_port: Option<UdpPort>,
    /// MTU of its networks, unless they say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<MtuPolicy>,
    /// Nodes that may host its networks; none: all. A name may be of a node that does not exist yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<BTreeSet<NodeId>>,
    /// Flooding of its networks, unless they say otherwise.
    #[serde(default)]
    pub flood: Flood,
}

/// What is wanted of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// Its overlay.
    pub overlay: OverlayId,
    /// Its VNI, unique in the overlay.
    pub vni: Vni,
    /// Prefixes of its guests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cidr: Vec<Prefix>,
    /// Gateway addresses, each inside one of the prefixes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway: Vec<IpAddr>,
    /// Overrides the overlay's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<MtuPolicy>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Where its ports come from.
    #[serde(default)]
    pub learning: Learning,
    /// For `learning: local`: names of the nodes that host it and may report ports, also without a declared port; `*` stands for any
    /// run of characters. A name may be of a node that does not exist yet. None: those that its overlay's `nodes` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<BTreeSet<NamePattern>>,
    /// Overrides the overlay's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flood: Option<Flood>,
    /// Broadcast and multicast frames a second: of each of its ports that says nothing else, and over tunnels of all together, which is never
    /// less than what one port may. None: [`GroupRate::USUAL`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_rate: Option<GroupRate>,
}

/// What is wanted of a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortSpec {
    /// Its network.
    pub network: NetworkId,
    /// The node that its guest runs on. A node that hosts no port of a network does not host the network.
    pub node: NodeId,
    /// Its address, unicast, unique in the network (and VLAN).
    pub mac: Mac,
    /// The guest's own 802.1Q tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// Its IP addresses, each unique in the network.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ips: BTreeSet<IpAddr>,
    /// Addresses beside its own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed: BTreeSet<Allowed>,
    /// What it may do besides being a guest.
    #[serde(default, skip_serializing_if = "Roles::is_guest")]
    pub role: Roles,
    /// The interface of the node that its guest is behind. Given, only this interface may send from its address, from the moment
    /// it is there; else the first interface on the network's bridge that does is held to it from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<IfName>,
    /// Broadcast and multicast frames a second that its guest may send; none: as its network says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_rate: Option<GroupRate>,
    /// Set by a node that found it (`learning: local`); such a port goes when the node no longer reports it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reported: bool,
}

/// An address that a port may use beside its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// Without `mac`: one that the guest may hold with its own Ethernet address, and other ports too (VRRP, CARP). Who holds it at the
    /// moment is between them: it is never answered for, its questions go to all.
    pub ip: IpAddr,
    /// Given: a guest of this guest, behind the same interface, unique in the network like a port's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
}

impl PortSpec {
    /// The addresses that others may hold, too.
    pub fn floating(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.allowed.iter().filter(|allowed| allowed.mac.is_none_or(|mac| mac == self.mac)).map(|allowed| allowed.ip)
    }

    /// Guests of its guest: Ethernet address and IP address.
    pub fn nested(&self) -> impl Iterator<Item = (Mac, IpAddr)> + '_ {
        self.allowed.iter().filter_map(|allowed| Some((allowed.mac.filter(|mac| *mac != self.mac)?, allowed.ip)))
    }
}

/// What is wanted of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenSpec {
    /// PDC of every node that joins with it.
    pub pdc: PdcId,
    /// Names that it may be used for; `*` stands for any run of characters, and alone for any name that is not declared.
    pub name_pattern: String,
    /// How many nodes may join with it.
    pub uses: u32,
    /// When it ends.
    pub expires: Wall,
    /// The machine that joins with it takes the place of the one that has its name, which is a whole one; the keys of that one are
    /// taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

/// What is known of a token. The secret itself is nowhere but in the token's text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenStatus {
    /// SHA-256 (hexadecimal) of the secret.
    pub secret_hash: String,
    /// Who used it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<TokenUse>,
}

/// One use of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenUse {
    /// The node.
    pub node: NodeId,
    /// SHA-256 (hexadecimal) of its TLS public key.
    pub key: String,
    /// From which address.
    pub from: String,
    /// When.
    pub at: Wall,
}

impl Any {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Pdc(_) => Kind::Pdc,
            Self::Node(_) => Kind::Node,
            Self::Overlay(_) => Kind::Overlay,
            Self::Network(_) => Kind::Network,
            Self::Port(_) => Kind::Port,
            Self::PathPolicy(_) => Kind::PathPolicy,
            Self::Token(_) => Kind::Token,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Pdc(o) => o.metadata.name.as_str(),
            Self::Node(o) => o.metadata.name.as_str(),
            Self::Overlay(o) => o.metadata.name.as_str(),
            Self::Network(o) => o.metadata.name.as_str(),
            Self::Port(o) => o.metadata.name.as_str(),
            Self::PathPolicy(o) => o.metadata.name.as_str(),
            Self::Token(o) => &o.metadata.name,
        }
    }

    /// Revision that the manifest insists on, or that the server reports.
    pub const fn revision(&self) -> Option<u64> {
        match self {
            Self::Pdc(o) => o.metadata.revision,
            Self::Node(o) => o.metadata.revision,
            Self::Overlay(o) => o.metadata.revision,
            Self::Network(o) => o.metadata.revision,
            Self::Port(o) => o.metadata.revision,
            Self::PathPolicy(o) => o.metadata.revision,
            Self::Token(o) => o.metadata.revision,
        }
    }
}

impl Kind {
    /// All of them, in the order in which they depend on each other.
    pub const ALL: [Self; 7] =
        [Self::Pdc, Self::Node, Self::Overlay, Self::Network, Self::Port, Self::PathPolicy, Self::Token];

    /// The word in the keys of the store and the paths of the API, which stay as they were first.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pdc => "pdc",
            Self::Node => "node",
            Self::Overlay => "overlay",
            Self::Network => "network",
            Self::Port => "port",
            Self::PathPolicy => "pathpolicy",
            Self::Token => "token",
        }
    }

    /// As people call it, the command line, and what is printed: the noun whose verbs are about it.
    pub const fn called(self) -> &'static str {
        match self {
            Self::PathPolicy => "policy",
            Self::Pdc | Self::Node | Self::Overlay | Self::Network | Self::Port | Self::Token => self.word(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.called())
    }
}
