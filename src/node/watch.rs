//! The way of the echoes of the plain path: for each overlay a network of its own with a VNI that no other has, in which the nodes
//! themselves are the guests. What a frame of a guest passes they pass too: packet filters of this host and of others, a bridge, a
//! vxlan device of the same UDP port and VTEPs, the wire.
//!
//! ```text
//!  meshd ── vt16777215.12b5 (TAP) ── vb16777215.12b5 (bridge) ── vv16777215.12b5 (vxlan device) ── wire
//! ```
//!
//! Nobody else is in it: both ports are locked to the pinned addresses of nodes and flood nothing, the packet filter of guests lets
//! nothing through from any other interface, and the guard nobody in who shares no plain path.

use std::collections::BTreeMap;
use std::net::IpAddr;

use blake2::Blake2s256;
use blake2::digest::{Digest as _, Update as _};

use super::desired::{Bridge, BridgeEntry, Hold, Kind, Link, Net, Port, PortFlags, Tap, Vtep, Vxlan};
use super::names::{self, Device};
use super::paths::{self, Paths};
use super::plan::{Local, Plan, TAP_MTU};
use super::watch_told::unwatched;
use crate::api::local::Finding;
use crate::policy::mtu::{Carrier, Family};
use crate::policy::path::{Outer, Path};
use crate::probe::plain::{PairConfig, PairKey};
use crate::table::{Learning, NetKey, Peer, Slice};
use crate::types::{IfName, Mac, NodeId, OverlayId, PeerSlot, UdpPort, Vni};

/// The VNI that is kept for it in every overlay: the last.
pub const ECHO_VNI: u32 = 0x00ff_ffff;

/// MTU of a bridge of echoes that nobody is behind: what IPv6 needs.
const ALONE_MTU: u16 = crate::policy::mtu::IPV6_LEAST;

/// How the ports of its bridges pass frames: to pinned addresses, from pinned addresses, and to each other.
pub(super) const FLAGS: PortFlags = PortFlags {
    isolated: false,
    learning: false,
    locked: true,
    neigh_suppress: false,
    flood: false,
    mcast_flood: false,
    bcast_flood: false,
    hairpin: false,
    proxy_arp: false,
};

/// One overlay whose plain paths are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Echoes {
    /// The TAP that they leave and arrive by.
    pub tap: IfName,
    /// UDP port of the overlay.
    pub udp_port: UdpPort,
    /// The peers.
    pub peers: BTreeMap<NodeId, Echoed>,
}

/// A peer, as far as the plan knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Echoed {
    /// Its VTEP.
    pub address: IpAddr,
    /// The address of this node that it knows.
    pub own: IpAddr,
    /// Which kind of address that is.
    pub outer: Outer,
    /// What guests of the networks that it shares may send, in bytes.
    pub needed: u16,
    /// What the devices carry towards it, in bytes of a guest's packet.
    pub largest: u16,
}

impl Echoed {
    /// Bytes of the outer packet around a packet of a guest.
    pub fn overhead(&self) -> u16 {
        Carrier::Plain(family(self.address)).sum(0, false).overhead()
    }
}

/// An overlay that is to be watched: its name, and who is reached how.
type Wanted = BTreeMap<UdpPort, (OverlayId, BTreeMap<NodeId, Echoed>)>;

/// The Ethernet address for echoes of who has this VTEP: locally administered, the same on every node that computes it, whatever names
/// the two have for each other.
pub fn mac(vtep: IpAddr) -> Mac {
    let hash = Blake2s256::new().chain(b"vxmesh plain echo address v1").chain(vtep.to_string().as_bytes()).finalize();
    Mac([0x02, hash[0], hash[1], hash[2], hash[3], hash[4]])
}

/// Adds the networks of the echoes to a plan. What the plan leaves out of the plain path is not watched.
pub fn add(plan: &mut Plan, slice: &Slice, paths: &Paths, local: &Local) -> Vec<Echoes> {
    let Ok(vni) = Vni::try_from(u64::from(ECHO_VNI)) else { unreachable!("{ECHO_VNI} is a VNI") };
    let mut all = Vec::new();
    for (udp_port, (overlay, peers)) in wanted(plan, slice, paths, local) {
        let bridge = names::device(Device::Bridge, vni, udp_port);
        if plan.desired.networks.contains_key(&bridge) {
            plan.findings.push(taken(&overlay));
            continue;
        }
        let net = net(&bridge, NetKey { overlay, vni }, udp_port, &peers, local);
        allow(plan, udp_port, vni, &peers);
        plan.desired.fence.bridges.insert(bridge.clone());
        plan.desired.fence.ours.extend(net.links.keys().filter(|name| **name != bridge).cloned());
        all.push(Echoes { tap: net.tap.clone(), udp_port, peers });
        plan.desired.networks.insert(bridge, net);
    }
    all
}

/// Who is reached by the plain path, by overlay. A vxlan device speaks one family, which the first decides.
fn wanted(plan: &Plan, slice: &Slice, paths: &Paths, local: &Local) -> Wanted {
    let mut wanted = Wanted::new();
    for (key, verdicts) in paths {
        let Some(network) = slice.networks.get(key) else { continue };
        for (node, verdict) in verdicts.iter().filter(|(_, verdict)| verdict.path == Path::Plain) {
            let peer = slice.peers.get(node);
            let (Some(side), Some(address)) =
                (local.side(verdict.outer), peer.and_then(|peer| paths::vtep(peer, verdict.outer)))
            else {
                continue;
            };
            let guard = [&plan.desired.guard.admin, &plan.desired.guard.external];
            let member = (network.udp_port, address, key.vni);
            if !guard.into_iter().flatten().any(|side| side.members.contains(&member)) {
                continue;
            }
            let (_, peers) = wanted.entry(network.udp_port).or_insert_with(|| (key.overlay.clone(), BTreeMap::new()));
            if peers.values().next().is_some_and(|first| first.address.is_ipv4() != address.is_ipv4()) {
                continue;
            }
            let largest = Carrier::Plain(family(address)).sum(side.mtu, false).guest();
            let new = || Echoed { address, own: side.address, outer: verdict.outer, needed: 0, largest };
            let echoed = peers.entry(node.clone()).or_insert_with(new);
            echoed.needed = echoed.needed.max(network.guest_mtu.get().min(largest));
        }
    }
    wanted
}

/// The network of the echoes of an overlay; of one without peers, its bridge and its TAP.
pub(super) fn net(
    bridge: &IfName,
    key: NetKey,
    udp_port: UdpPort,
    peers: &BTreeMap<NodeId, Echoed>,
    local: &Local,
) -> Net {
    let (tap, vxlan) = (names::device(Device::Tap, key.vni, udp_port), names::device(Device::Vxlan, key.vni, udp_port));
    let largest = peers.values().map(|peer| peer.largest).min().unwrap_or(ALONE_MTU);
    let link =
        |kind, mtu: u32, port| Link { kind, alias: Some(names::alias(&key)), mtu, up: true, no_addresses: true, port };
    let port = |isolated| Some(Port { bridge: bridge.clone(), flags: PortFlags { isolated, ..FLAGS } });
    let via = |peer: &Echoed| local.side(peer.outer).map(|side| side.interface.clone());
    let vtep = |peer: &Echoed| Vtep { address: peer.address, via: via(peer) };
    let first = peers.values().next();
    let one_side = first.filter(|first| peers.values().all(|peer| peer.outer == first.outer));
    let side = one_side.and_then(|first| local.side(first.outer));
    let ours = Vxlan::ours(key.vni, udp_port.get(), first.is_some_and(|first| first.address.is_ipv6()));
    let kind = Vxlan { local: side.map(|side| side.address), dev: side.map(|side| side.interface.clone()), ..ours };
    let pinned = |port: &IfName| BridgeEntry { port: port.clone(), hold: Hold::Pinned };
    let links = [
        (bridge.clone(), link(Kind::Bridge(Bridge::OURS), largest.into(), None)),
        (tap.clone(), link(Kind::Tap(Tap::OURS), TAP_MTU, port(false))),
        // What comes from members goes to that TAP, and to no port of `crossing`.
        (vxlan.clone(), link(Kind::Vxlan(kind), largest.into(), port(true))),
    ];
    let links = links.into_iter().filter(|(name, _)| *name != vxlan || !peers.is_empty());
    let far = peers.values().map(|peer| (mac(peer.address), pinned(&vxlan)));
    let own = peers.values().map(|peer| (mac(peer.own), pinned(&tap)));
    Net {
        learning: Learning::Declared,
        guests: BTreeMap::new(),
        loose: [].into(),
        floods_unknown: false,
        links: links.collect(),
        bridge_fdb: far.chain(own).collect(),
        vxlan_fdb: peers.values().map(|peer| (mac(peer.address), vtep(peer))).collect(),
        flood: [].into(),
        neighbours: BTreeMap::new(),
        vxlan: Some(vxlan).filter(|_| !peers.is_empty()),
        tap,
        key,
    }
}

/// Opens the guard for echoes of exactly these.
fn allow(plan: &mut Plan, udp_port: UdpPort, vni: Vni, peers: &BTreeMap<NodeId, Echoed>) {
    for peer in peers.values() {
        let side = match peer.outer {
            Outer::Admin => &mut plan.desired.guard.admin,
            Outer::External => &mut plan.desired.guard.external,
        };
        if let Some(side) = side {
            side.members.insert((udp_port, peer.address, vni));
        }
    }
}

/// What the watch of an overlay is told of each peer.
pub fn pairs(echoes: &Echoes, slice: &Slice, slot: impl Fn(&NodeId) -> Option<PeerSlot>) -> Vec<PairConfig> {
    let one = |(node, echoed): (&NodeId, &Echoed)| {
        let Echoed { address, own, largest, needed, .. } = *echoed;
        let keys = slice.peers.get(node).map(keys)?;
        Some(PairConfig { peer: slot(node)?, mac: mac(address), own: mac(own), keys, largest, needed })
    };
    echoes.peers.iter().filter_map(one).collect()
}

/// The keys of a pair: that of the pair's keys in force, then those that hold while one of the two changes.
fn keys(peer: &Peer) -> Vec<PairKey> {
    let besides = peer.changing.iter().map(|pair| PairKey::of(pair.psk.as_ref()));
    std::iter::once(PairKey::of(peer.psk.as_ref())).chain(besides).collect()
}

fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

fn taken(overlay: &OverlayId) -> Finding {
    let why = format!("a network of it has VNI {ECHO_VNI}, which is kept for echoes");
    let help = "make that network anew with another VNI: meshctl network create";
    unwatched(&format!("the plain paths of overlay '{overlay}'"), &why, help)
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
