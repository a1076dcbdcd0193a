//! What the kernel should hold and what it holds, as data. The same types say both, so that [`super::reconcile::diff`] is a
//! comparison; values are as the kernel has them, whoever made them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::checksums::Checks;
use super::fence::Fence;
use super::guard::Guard;
use super::onlink::{HeldOnLink, OnLink};
use super::watch_told::Down;
use crate::table::{Learning, NetKey};
use crate::types::{IfName, Mac, PortId, Vni};

/// Everything of ours that the kernel should hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// The packet filter around the VXLAN UDP ports.
    pub guard: Guard,
    /// The packet filter behind the guests' ports, without the interfaces that are found on bridges.
    pub fence: Fence,
    /// The routing table of the plain path.
    pub onlink: OnLink,
    /// The first port of this node that names an interface.
    pub named_by: BTreeMap<IfName, PortId>,
    /// Hosted networks by bridge.
    pub networks: BTreeMap<IfName, Net>,
    /// A bridge that is no longer wanted stays for as long as guests are plugged into it, cut off from everything.
    pub keeps_plugs: bool,
}

/// One hosted network in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Net {
    /// Which one.
    pub key: NetKey,
    /// Where its ports come from.
    pub learning: Learning,
    /// Interfaces that its ports on this node name, with the guests behind each.
    pub guests: BTreeMap<IfName, BTreeSet<Mac>>,
    /// Guests on this node whose ports name no interface.
    pub loose: BTreeSet<Mac>,
    /// Unicast to addresses that nobody has goes to all guests.
    pub floods_unknown: bool,
    /// Its bridge, its TAP and, where a plain path exists, its vxlan device.
    pub links: BTreeMap<IfName, Link>,
    /// The vxlan device, if there is one.
    pub vxlan: Option<IfName>,
    /// The TAP that the lanes attach to. It always exists, so that a first tunnel needs no new device.
    pub tap: IfName,
    /// Bridge FDB: which port a remote guest is behind.
    pub bridge_fdb: BTreeMap<Mac, BridgeEntry>,
    /// FDB of the vxlan device: which VTEP a remote guest is behind.
    pub vxlan_fdb: BTreeMap<Mac, Vtep>,
    /// Flood list of the vxlan device: the plain members.
    pub flood: BTreeSet<Vtep>,
    /// What the host itself knows of remote guests without a tag, should it ever speak to them from the bridge.
    pub neighbours: BTreeMap<IpAddr, Neighbour>,
}

/// What the kernel holds: links that matter, and the tables of links that bear our names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The packet filter around the VXLAN UDP ports.
    pub guard: ObservedGuard,
    /// The packet filter behind the guests' ports.
    pub fence: ObservedFence,
    /// The kernel takes packet filter rules on a device by its name while there is no such device, and keeps them when it goes (Linux 6.16).
    pub rules_before_devices: bool,
    /// This host tracks connections: there is an entry of one, or a rule for which the kernel makes some.
    pub tracks: bool,
    /// The table and chain of a rule that gives packets a zone of connection tracking, whatever interface they come and go by.
    pub zone: Option<String>,
    /// The check of guests' checksums.
    pub checks: Checks,
    /// The routing table of the plain path.
    pub onlink: HeldOnLink,
    /// Links that matter, by name: ours, those in our bridges, and vxlan devices.
    pub links: BTreeMap<IfName, Link>,
    /// Names of all other links that are up.
    pub up: BTreeSet<IfName>,
    /// Those of all links that are up and have no carrier.
    pub dark: BTreeSet<IfName>,
    /// Ports of bridges of ours that have a carrier and do not forward (`IFLA_BRPORT_STATE`).
    pub blocked: BTreeSet<IfName>,
    /// Ports of bridges that are none of ours.
    pub bridged: BTreeSet<IfName>,
    /// Where each link stands, whoever made it.
    pub places: BTreeMap<IfName, Place>,
    /// When each guest last sent something, where the bridge knows; of the entries in `bridge_fdb` behind guests' ports.
    pub heard: BTreeMap<IfName, BTreeMap<Mac, Duration>>,
    /// Addresses on devices with our name that the kernel has not given by itself.
    pub addresses: BTreeMap<IfName, BTreeSet<IpAddr>>,
    /// Links that are none of ours and have an address of this host, other than for their own link.
    pub addressed: BTreeSet<IfName>,
    /// What the filter that an earlier process has left holds for interfaces of guests ([`super::outside`]), and for bridges.
    pub shut: BTreeSet<IfName>,
    /// FDB of each bridge with our name. Addresses of the ports themselves are left out, and of what was learned behind a guest's
    /// port there is no more than [`super::discover::PORTS_OF_INTERFACE`] and one.
    pub bridge_fdb: BTreeMap<IfName, BTreeMap<Mac, BridgeEntry>>,
    /// Bridges with our name on which this host has IPv6 switched off (`disable_ipv6`): the kernel takes no IPv6 neighbour there.
    pub no_ipv6: BTreeSet<IfName>,
    /// A device that comes has it switched off.
    pub new_without_ipv6: bool,
    /// Unicast FDB of each vxlan device with our name. More than one VTEP for a MAC means that each gets a copy.
    pub vxlan_fdb: BTreeMap<IfName, BTreeMap<Mac, BTreeSet<Vtep>>>,
    /// Flood list of each vxlan device with our name.
    pub flood: BTreeMap<IfName, BTreeSet<Vtep>>,
    /// Neighbours on each bridge with our name.
    pub neighbours: BTreeMap<IfName, BTreeMap<IpAddr, Neighbour>>,
}

/// Where a link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The kernel's number of it. Made again under its name it has another one.
    pub index: u32,
    /// What it is a part of (a bridge, a bond, a VRF), by name, or by number where the name is none that we could mean.
    pub master: Option<String>,
    /// Administratively up.
    pub up: bool,
    /// Of a kind that no guest is behind: a network card, or what hosts make for themselves (VLANs, bonds, bridges).
    pub card: bool,
}

/// What is known of a packet filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ObservedFilter<F> {
    /// There is none of our name, or a part of it is missing.
    #[default]
    Absent,
    /// There is one, but not the one that this process loaded: an older daemon's, or changed by others.
    Unknown,
    /// It is what this process loaded last.
    Loaded(F),
}

impl<F> ObservedFilter<F> {
    /// What this process loaded last, if it is still there.
    pub const fn loaded(&self) -> Option<&F> {
        match self {
            Self::Loaded(filter) => Some(filter),
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// What is known of the filter on the VXLAN UDP ports.
pub type ObservedGuard = ObservedFilter<Guard>;
/// What is known of the filter behind the guests' ports.
pub type ObservedFence = ObservedFilter<Fence>;

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it is.
    pub kind: Kind,
    /// `IFLA_IFALIAS`; ours names the network ([`super::names::alias`]).
    pub alias: Option<String>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// IPv6 `addr_gen_mode none`, and no address that the kernel gave before: the host says nothing on the device, and nobody reaches
    /// it there.
    pub no_addresses: bool,
    /// Its place in a bridge, if it is in one.
    pub port: Option<Port>,
}

/// Kinds of devices, with the attributes that we set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A bridge.
    Bridge(Bridge),
    /// A VXLAN tunnel endpoint.
    Vxlan(Vxlan),
    /// A TAP.
    Tap(Tap),
    /// Anything else, by the kernel's word (`veth`, `dummy`, ...; empty for hardware).
    Other(String),
}

/// A bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// IGMP and MLD snooping; off: multicast goes where broadcast goes.
    pub mcast_snooping: bool,
    /// 802.1Q filtering; off: one FDB for all tags of the guests.
    pub vlan_filtering: bool,
    /// `net.ipv6.conf.DEV.accept_ra`; read for devices with our name only; 0: a guest's router advertisement cannot give the host a route.
    pub accept_ra: u8,
    /// `net.ipv4.conf.DEV.arp_ignore`; 8: the host never answers a guest's ARP for an address of its own.
    pub arp_ignore: u8,
    /// Which of 01:80:c2:00:00:00 to 0f are forwarded, a bit each, instead of kept and handed to the host past the packet filter.
    pub group_fwd_mask: u16,
    /// Most entries that its FDB learns (`IFLA_BR_FDB_MAX_LEARNED`, Linux 6.7; nothing bounds it before that). It is for interfaces that
    /// nobody has seen yet: those that are known bring few addresses.
    pub fdb_max_learned: u32,
    /// Frames to those addresses teach the FDB nothing (`BR_BOOLOPT_NO_LL_LEARN`, Linux 5.0).
    pub no_linklocal_learn: bool,
    /// Spanning tree (`IFLA_BR_STP_STATE`), by the kernel or by a daemon; off: a port forwards at once, and the bridge says nothing to guests.
    pub stp: bool,
}

/// A VXLAN tunnel endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vxlan {
    /// VNI; 0 for a device with external control.
    pub vni: u32,
    /// UDP port, ours and the peers'.
    pub udp_port: u16,
    /// True where it carries over IPv6; a device speaks one family.
    pub ipv6: bool,
    /// Outer source address; none lets the route decide.
    pub local: Option<IpAddr>,
    /// Interface of its group and of entries made without one; none lets each entry decide.
    pub dev: Option<IfName>,
    /// Outer TTL or hop limit; 255 lets the receiver see that nobody forwarded the frame (RFC 5082).
    pub ttl: u8,
    /// Learning of VTEPs from traffic; off: the table alone decides.
    pub learning: bool,
}

/// A TAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the kernel, under their own names")]
pub struct Tap {
    /// One queue a lane.
    pub multi_queue: bool,
    /// A `virtio_net_hdr` before each frame, for offloads.
    pub vnet_hdr: bool,
    /// It stays when the last queue is closed.
    pub persist: bool,
    /// It has an owner: else every user of the host may open a queue of it.
    pub owned: bool,
}

/// A device's place in a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The bridge.
    pub bridge: IfName,
    /// How frames pass.
    pub flags: PortFlags,
}

/// How frames pass a bridge port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the kernel, under their own names")]
pub struct PortFlags {
    /// Exchanges no frame with other isolated ports: what comes from one node never goes on to another (split horizon).
    pub isolated: bool,
    /// Sources of incoming frames enter the FDB.
    pub learning: bool,
    /// Only frames enter whose source has an FDB entry on this very port (`BR_PORT_LOCKED`, Linux 5.18).
    pub locked: bool,
    /// The bridge answers ARP and ND for guests behind this port from its neighbour table.
    pub neigh_suppress: bool,
    /// Unknown unicast leaves here.
    pub flood: bool,
    /// Multicast leaves here.
    pub mcast_flood: bool,
    /// Broadcast leaves here.
    pub bcast_flood: bool,
    /// A frame leaves by the port that it came by, so its sender gets it, too (`IFLA_BRPORT_MODE`).
    pub hairpin: bool,
    /// The bridge answers ARP in place of who is asked and keeps the question (`IFLA_BRPORT_PROXYARP`, `IFLA_BRPORT_PROXYARP_WIFI`).
    pub proxy_arp: bool,
}

/// One entry of a bridge FDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeEntry {
    /// The port.
    pub port: IfName,
    /// How firmly.
    pub hold: Hold,
}

/// How firmly a bridge FDB entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// Learned from a frame; ages.
    Learned,
    /// Static: does not age, but moves when a frame with this source enters another port.
    Static,
    /// Static and sticky: neither ages nor moves, so a guest cannot take a remote guest's address.
    Pinned,
}

/// Where a vxlan device sends a frame.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vtep {
    /// Outer destination.
    pub address: IpAddr,
    /// Interface that frames leave through, whatever the routes say; none lets the route decide.
    pub via: Option<IfName>,
}

/// One neighbour entry on a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Its Ethernet address.
    pub mac: Mac,
    /// Never re-verified, never collected. Ours always are.
    pub permanent: bool,
    /// Answers for it have the router flag (RFC 4861 section 4.4, `NTF_ROUTER`). IPv6 only.
    pub router: bool,
}

impl Link {
    /// The VNI and UDP port, if it is a vxlan device.
    pub fn vxlan(&self) -> Option<&Vxlan> {
        match &self.kind {
            Kind::Vxlan(vxlan) => Some(vxlan),
            Kind::Bridge(_) | Kind::Tap(_) | Kind::Other(_) => None,
        }
    }

    /// The network that its alias names, if the alias is ours.
    pub fn network(&self) -> Option<NetKey> {
        super::names::net_of_alias(self.alias.as_deref()?)
    }
}

impl Kind {
    /// The kernel's word for it.
    pub fn word(&self) -> &str {
        match self {
            Self::Bridge(_) => "bridge",
            Self::Vxlan(_) => "vxlan",
            Self::Tap(_) => "tap",
            Self::Other(word) if word.is_empty() => "physical",
            Self::Other(word) => word,
        }
    }
}

impl Observed {
    /// How an interface does not carry, if so.
    pub fn down(&self, name: &IfName) -> Option<Down> {
        if !self.is_up(name) {
            return Some(Down::Off);
        }
        if self.dark.contains(name) {
            return Some(Down::NoCarrier);
        }
        let bridge = self.places.get(name).filter(|_| self.bridged.contains(name))?.master.as_deref()?;
        Some(Down::InBridge(bridge.into()))
    }

    /// True where there is such a link and it is up.
    pub fn is_up(&self, name: &IfName) -> bool {
        self.up.contains(name) || self.links.get(name).is_some_and(|link| link.up)
    }
}

impl Desired {
    /// Wanted links of all networks.
    pub fn links(&self) -> impl Iterator<Item = (&IfName, &Link)> {
        self.networks.values().flat_map(|net| &net.links)
    }
}

impl Vxlan {
    /// A device as we make it.
    pub fn ours(vni: Vni, udp_port: u16, ipv6: bool) -> Self {
        Self { vni: vni.get(), udp_port, ipv6, local: None, dev: None, ttl: 255, learning: false }
    }
}

impl Bridge {
    /// A bridge as we make it.
    pub const OURS: Self = Self {
        mcast_snooping: false,
        vlan_filtering: false,
        accept_ra: 0,
        arp_ignore: 8,
        // All that the kernel lets be forwarded: not 00 to 02 (`BR_GROUPFWD_RESTRICTED`, net/bridge/br_private.h).
        group_fwd_mask: 0xfff8,
        fdb_max_learned: 16_384,
        no_linklocal_learn: true,
        stp: false,
    };
}

impl PortFlags {
    /// The same for the port of a guest, which loses no frame and doubles none. What others may mean by it stays as it is: that it is isolated
    /// (which is told), and that a program beside us manages what it learns.
    #[must_use]
    pub const fn of_guest(self, flood: bool) -> Self {
        Self {
            locked: false,
            neigh_suppress: false,
            flood,
            mcast_flood: true,
            bcast_flood: true,
            hairpin: false,
            proxy_arp: false,
            ..self
        }
    }
}

impl Tap {
    /// A TAP as we make it.
    pub const OURS: Self = Self { multi_queue: true, vnet_hdr: true, persist: true, owned: true };
}
