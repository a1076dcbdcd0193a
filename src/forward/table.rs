//! What the data plane asks: an immutable snapshot of a slice in which each question of a frame is one lookup.
//!
//! Built by the control plane, swapped in by pointer, loaded once a batch. One truth serves both directions: where the FDB
//! says a MAC lives is where frames for it go *and* the only peer that may send from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fair::PLACES;
use super::map::Lookup;
use super::rate::Rate;
use super::slots::Slots;
use crate::node::paths::Paths;
use crate::node::plan::Local;
use crate::policy::mtu::{MtuPolicy, Oversize};
use crate::policy::path::Path;
use crate::table::{Flood, Learning, NetKey, Network, Peer, PortRole, Row, RowKey, Slice};
use crate::types::{GroupRate, IfName, Mac, NetSlot, NodeId, PeerSlot, Prefix, UdpPort, Vlan, Vni};

/// The snapshot.
#[derive(Debug, Clone, Default)]
pub struct Table {
    tunnel_address: Option<Ipv4Addr>,
    nets: Vec<Option<Net>>,
    by_vni: Lookup<u64, NetSlot>,
    peers: Vec<Option<Pair>>,
}

/// What is stated of this node and a peer.
#[derive(Debug, Clone, Copy)]
struct Pair {
    form: Form,
    lanes: u8,
}

/// One network.
#[derive(Debug, Clone)]
pub struct Net {
    /// Its VNI.
    pub vni: Vni,
    /// VXLAN UDP port of its overlay.
    pub udp_port: UdpPort,
    /// What happens to frames without one known destination.
    pub flood: Flood,
    /// How many flooded frames a second, per lane, out of this node and in from each peer; none: no limit.
    pub flood_rate: Option<Rate>,
    /// Largest IP packet of a guest, in bytes.
    pub guest_mtu: u16,
    /// What happens to larger ones.
    pub oversize: Oversize,
    /// Whether the MSS of SYNs is lowered to what fits.
    pub clamp_mss: bool,
    /// Whether it finds its guests by itself: it knows no roles, and frames of any type may pass.
    pub found: bool,
    /// Its IP prefixes; empty: any.
    pub cidr: Box<[Prefix]>,
    /// Peers that host it over a tunnel, in the order of their names.
    pub members: Box<[PeerSlot]>,
    fdb: Lookup<u64, Station>,
    arp: Lookup<u64, Neighbour>,
    nd: Lookup<(u16, u128), Neighbour>,
    floating: Lookup<(u16, u128), Box<[Mac]>>,
}

/// What the node's own file says about sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizing {
    /// Counts for networks that have no MTU policy, neither of their own nor of their overlay.
    pub mtu: MtuPolicy,
    /// Whether the MSS of SYNs is lowered.
    pub clamp_mss: bool,
}

impl Default for Sizing {
    fn default() -> Self {
        Self { mtu: MtuPolicy::default(), clamp_mss: true }
    }
}

impl From<&Local> for Sizing {
    fn from(local: &Local) -> Self {
        Self { mtu: local.mtu, clamp_mss: local.clamp_mss }
    }
}

/// One guest address: where it lives and what its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Station {
    /// Where it lives.
    pub place: Place,
    /// Guest that its DHCP broadcasts are sent to.
    pub dhcp_proxy: Option<Mac>,
    /// What it may say.
    pub rights: Rights,
    /// Its place among the sources of its node in its network: whose [fair share](super::Fair) its frames to many are of. Guests behind one interface of
    /// this node have one together.
    pub place_among: u8,
    /// The first of its row's IPv4 addresses: most packets are from this one, and it costs no second look-up.
    pub v4: Option<Ipv4Addr>,
    /// The first of its row's IPv6 addresses.
    pub v6: Option<Ipv6Addr>,
}

/// What a guest may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Use addresses that are in no row and speak for them: its own row names none, or the network finds its guests by itself. Never
    /// those that a row gives to another.
    pub unlisted: bool,
    /// Send router advertisements and redirects, and packets of others.
    pub route: bool,
    /// Answer DHCP.
    pub serve_dhcp: bool,
}

/// Where a guest lives, and how frames get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On this node.
    Local,
    /// On a peer, over its tunnel.
    Tunnel(PeerSlot),
    /// On a peer, over the plain path: the kernel carries it.
    Plain(PeerSlot),
    /// On a peer that policy forbids.
    Forbidden(PeerSlot),
}

/// Who answers to an IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Its Ethernet address.
    pub mac: Mac,
    /// Where it lives. This node answers in place of guests on other nodes that frames may go to.
    pub place: Place,
    /// True for a router ([`Network::is_router`]): a neighbour advertisement says so (RFC 4861 section 4.4, R).
    pub router: bool,
}

/// Payload form of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// B: VXLAN header and frame. Between `meshd`s.
    Compact,
    /// B, control messages alone: a peer whose frames take the plain path, and never this one.
    Session,
    /// A: IPv4, UDP, VXLAN and frame. What a foreign peer speaks.
    Standard {
        /// The peer's address inside the tunnel.
        address: Ipv4Addr,
    },
}

impl Table {
    /// Builds the snapshot. A peer or network without a slot is left out: frames for it are dropped and counted.
    pub fn build(slice: &Slice, paths: &Paths, slots: &Slots, sizing: Sizing) -> Self {
        let mut table = Self { tunnel_address: slice.tunnel_address, ..Self::default() };
        for (node, peer) in &slice.peers {
            if let Some(slot) = slots.peer(node) {
                let form = Form::of(peer, paths.values().filter_map(|of| of.get(node)).map(|verdict| verdict.path));
                put(&mut table.peers, slot.index(), Pair { form, lanes: peer.lanes.max(1) });
            }
        }
        for (key, network) in &slice.networks {
            let Some(slot) = slots.net(key) else { continue };
            table.by_vni.add(vni_key(network.udp_port, key.vni), slot);
            put(&mut table.nets, slot.index(), Net::build(slice, paths, slots, sizing, (key, network)));
        }
        table
    }

    /// A network by slot.
    pub fn net(&self, slot: NetSlot) -> Option<&Net> {
        self.nets.get(slot.index())?.as_ref()
    }

    /// The network of a UDP port and VNI: two overlays may use one VNI, never one UDP port.
    pub fn net_of(&self, udp_port: UdpPort, vni: Vni) -> Option<NetSlot> {
        self.by_vni.get(&vni_key(udp_port, vni)).copied()
    }

    /// Payload form of a peer.
    pub fn form(&self, peer: PeerSlot) -> Option<Form> {
        Some(self.peers.get(peer.index())?.as_ref()?.form)
    }

    /// How many lanes the pair uses, counted from lane 0: at least one.
    pub fn lanes(&self, peer: PeerSlot) -> u8 {
        self.peers.get(peer.index()).and_then(Option::as_ref).map_or(1, |pair| pair.lanes)
    }

    /// The VXLAN UDP ports of all networks, sorted.
    pub fn udp_ports(&self) -> Vec<u16> {
        let ports: BTreeSet<u16> = self.nets.iter().flatten().map(|net| net.udp_port.get()).collect();
        ports.into_iter().collect()
    }

    /// This node's address inside tunnels of form A.
    pub fn tunnel_address(&self) -> Option<Ipv4Addr> {
        self.tunnel_address
    }
}

impl Form {
    fn of(peer: &Peer, paths: impl Iterator<Item = Path>) -> Self {
        if let Some(foreign) = &peer.foreign {
            return Self::Standard { address: foreign.tunnel_address };
        }
        let strictest = paths.filter(|path| *path != Path::Forbidden).max();
        if strictest == Some(Path::Plain) { Self::Session } else { Self::Compact }
    }
}

impl Net {
    fn build(slice: &Slice, paths: &Paths, slots: &Slots, sizing: Sizing, (key, network): (&NetKey, &Network)) -> Self {
        let policy = network.mtu.unwrap_or(sizing.mtu);
        let verdicts = paths.get(key);
        let path_to = |node| verdicts.and_then(|v| v.get(node)).map_or(Path::Forbidden, |verdict| verdict.path);
        let members = network.members.keys().filter(|node| path_to(node) == Path::Tunnel);
        let with_key = members.filter(|node| slice.peers.get(node).is_some_and(|peer| peer.public_key.is_some()));
        let mut net = Self {
            vni: key.vni,
            udp_port: network.udp_port,
            flood: network.flood,
            flood_rate: (network.flood != Flood::Replicate).then(|| flood_rate(slice, key, network)),
            guest_mtu: policy.fixed.unwrap_or(network.guest_mtu).get(),
            oversize: policy.oversize,
            clamp_mss: sizing.clamp_mss,
            found: network.learning == Learning::Local,
            cidr: network.cidr.iter().copied().collect(),
            members: with_key.filter_map(|node| slots.peer(node)).collect(),
            fdb: Lookup::default(),
            arp: Lookup::default(),
            nd: Lookup::default(),
            floating: Lookup::default(),
        };
        let mut holders: BTreeMap<(u16, u128), Vec<Mac>> = BTreeMap::new();
        let mut sources = Sources::default();
        for (key, row) in slice.rows_of(key) {
            let place = if row.node == slice.node {
                Place::Local
            } else {
                let Some(peer) = slots.peer(&row.node) else { continue };
                Place::of(path_to(&row.node), peer)
            };
            net.add_row((key, row), place, sources.place(key, row), network);
            row.floating.iter().for_each(|ip| holders.entry(any_key(key.vlan, *ip)).or_default().push(key.mac));
        }
        for (key, macs) in holders {
            net.floating.add(key, macs.into());
        }
        net
    }

    fn add_row(&mut self, (key, row): (&RowKey, &Row), place: Place, place_among: u8, network: &Network) {
        let rights = Rights::of(row, network.learning);
        let (v4, v6) = (row.arp.first().copied(), row.nd.first().copied());
        let station = Station { place, dhcp_proxy: row.dhcp_proxy, rights, place_among, v4, v6 };
        self.fdb.add(fdb_key(key.vlan, key.mac), station);
        for ip in &row.arp {
            let router = network.is_router(row, (*ip).into());
            self.arp.add(arp_key(key.vlan, *ip), Neighbour { mac: key.mac, place, router });
        }
        for ip in &row.nd {
            let router = network.is_router(row, (*ip).into());
            self.nd.add(nd_key(key.vlan, *ip), Neighbour { mac: key.mac, place, router });
        }
    }

    /// The guest with an address; frames tagged with a VLAN ask with it. A network that finds its guests by itself finds them without
    /// their tags, which are their own affair there.
    pub fn station(&self, vlan: Option<Vlan>, mac: Mac) -> Option<Station> {
        let tagless = || if self.found && vlan.is_some() { self.fdb.get(&fdb_key(None, mac)) } else { None };
        self.fdb.get(&fdb_key(vlan, mac)).or_else(tagless).copied()
    }

    /// Who answers to an IPv4 address.
    pub fn arp(&self, vlan: Option<Vlan>, ip: Ipv4Addr) -> Option<Neighbour> {
        self.arp.get(&arp_key(vlan, ip)).copied()
    }

    /// The guests that may hold an address, where it is one that several may: nobody is answered for it.
    pub fn holders(&self, vlan: Option<Vlan>, ip: IpAddr) -> Option<&[Mac]> {
        self.floating.get(&any_key(vlan, ip)).map(AsRef::as_ref)
    }

    /// Who answers to an IPv6 address.
    pub fn nd(&self, vlan: Option<Vlan>, ip: Ipv6Addr) -> Option<Neighbour> {
        self.nd.get(&nd_key(vlan, ip)).copied()
    }
}

/// The sources of each node in a network, in the order of their rows: as long as they are no more than there are places, each has its own.
#[derive(Default)]
struct Sources<'a>(BTreeMap<&'a NodeId, BTreeMap<Source<'a>, u8>>);

/// Who sends: a guest may have several addresses, and is behind one interface.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Source<'a> {
    Interface(&'a IfName),
    Guest(Mac),
}

impl<'a> Sources<'a> {
    fn place(&mut self, key: &RowKey, row: &'a Row) -> u8 {
        let of_node = self.0.entry(&row.node).or_default();
        let next = u8::try_from(of_node.len() % usize::from(PLACES)).unwrap_or_default();
        let source = row.interface.as_ref().map_or(Source::Guest(key.mac), Source::Interface);
        *of_node.entry(source).or_insert(next)
    }
}

/// What a network may send to many over tunnels: never less than what one of its ports may.
fn flood_rate(slice: &Slice, key: &NetKey, network: &Network) -> Rate {
    let ports = slice.rows_of(key).filter_map(|(_, row)| row.group_rate);
    Rate::flood(ports.map(GroupRate::get).fold(network.group_rate(), u32::max))
}

impl Rights {
    /// A network that finds its guests by itself knows no roles.
    fn of(row: &Row, learning: Learning) -> Self {
        let found = learning == Learning::Local;
        Self {
            unlisted: found || row.addresses().next().is_none(),
            route: found || row.role.has(PortRole::Router),
            serve_dhcp: found || row.role.has(PortRole::Dhcp),
        }
    }
}

impl Place {
    fn of(path: Path, peer: PeerSlot) -> Self {
        match path {
            Path::Plain => Self::Plain(peer),
            Path::Tunnel => Self::Tunnel(peer),
            Path::Forbidden => Self::Forbidden(peer),
        }
    }
}

fn put<T>(list: &mut Vec<Option<T>>, index: usize, value: T) {
    if list.len() <= index {
        list.resize_with(index + 1, || None);
    }
    list[index] = Some(value);
}

fn vni_key(udp_port: UdpPort, vni: Vni) -> u64 {
    u64::from(udp_port.get()) << 24 | u64::from(vni.get())
}

fn fdb_key(vlan: Option<Vlan>, mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from(tag(vlan)) << 48 | u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

fn arp_key(vlan: Option<Vlan>, ip: Ipv4Addr) -> u64 {
    u64::from(tag(vlan)) << 32 | u64::from(u32::from(ip))
}

fn nd_key(vlan: Option<Vlan>, ip: Ipv6Addr) -> (u16, u128) {
    (tag(vlan), ip.into())
}

fn any_key(vlan: Option<Vlan>, ip: IpAddr) -> (u16, u128) {
    match ip {
        IpAddr::V4(ip) => nd_key(vlan, ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => nd_key(vlan, ip),
    }
}

/// 0 stands for "no VLAN": no tag is 0 (IEEE 802.1Q-2018 table 9-2: the null VLAN identifier is a priority tag).
fn tag(vlan: Option<Vlan>) -> u16 {
    vlan.map_or(0, Vlan::get)
}
