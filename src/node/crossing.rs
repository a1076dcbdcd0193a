//! The way of frames that only cross a bridge of this host ([`crate::probe::crossing`]): two more TAPs in a bridge of echoes
//! ([`super::watch`]). What others have at the hooks of bridged frames (packet filters of family `bridge`, and of `ip`, `ip6` and `inet`
//! where `br_netfilter` shows frames to them) drops these as it drops those of guests, on a node without any peer, too.
//!
//! ```text
//!  meshd ── vp16777215.12b5 (TAP) ── vb16777215.12b5 (bridge) ── vq16777215.12b5 (TAP) ── meshd
//! ```
//!
//! One bridge a host is enough: hooks are the host's, not the bridge's. Nobody else is reached: the second TAP is isolated as the vxlan device
//! is, and both are locked to an address that is pinned there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use blake2::Blake2s256;
use blake2::digest::{Digest as _, Update as _};

use super::desired::{BridgeEntry, Hold, Kind, Link, Port, PortFlags, Tap};
use super::names::{self, Device};
use super::plan::{Local, Plan, TAP_MTU};
use super::watch::{self, ECHO_VNI};
use crate::probe::crossing::{Flow, Protocol};
use crate::table::{NetKey, Slice};
use crate::types::{IfName, Mac, OverlayId, Prefix, UdpPort, Vni};

/// Networks whose addresses are tried: a packet filter may let some pass and others not.
const NETWORKS: usize = 16;
/// Addresses where no network says any: link-local ones (RFC 3927, RFC 4291 section 2.5.6).
const LINK4: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(169, 254, 1, 1), Ipv4Addr::new(169, 254, 1, 2));
const LINK6: (Ipv6Addr, Ipv6Addr) =
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2));

/// The way, and what is sent on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The bridge.
    pub bridge: IfName,
    /// The TAP that frames go in by.
    pub near: IfName,
    /// The TAP that they come out by.
    pub far: IfName,
    /// What is sent.
    pub flows: Vec<Flow>,
}

/// Ethernet addresses of both ends: locally administered, and nobody else's.
pub fn macs() -> (Mac, Mac) {
    let mac = |end: &[u8]| {
        let hash = Blake2s256::new().chain(b"vxmesh bridge crossing v1").chain(end).finalize();
        Mac([0x02, hash[0], hash[1], hash[2], hash[3], hash[4]])
    };
    (mac(b"near"), mac(b"far"))
}

/// Adds the two TAPs to a plan, and the bridge where there are no echoes. None where this node has no network, so no guest.
pub fn add(plan: &mut Plan, slice: &Slice, local: &Local) -> Option<Way> {
    let (udp_port, overlay) = place(plan, slice)?;
    let Ok(vni) = Vni::try_from(u64::from(ECHO_VNI)) else { unreachable!("{ECHO_VNI} is a VNI") };
    let [bridge, near, far] =
        [Device::Bridge, Device::Near, Device::Far].map(|device| names::device(device, vni, udp_port));
    let key = NetKey { overlay, vni };
    let desired = &mut plan.desired;
    let alone = || watch::net(&bridge, key.clone(), udp_port, &[].into(), local);
    let net = desired.networks.entry(bridge.clone()).or_insert_with(alone);
    let (near_mac, far_mac) = macs();
    for (name, mac, isolated) in [(&near, near_mac, false), (&far, far_mac, true)] {
        let flags = PortFlags { isolated, bcast_flood: isolated, ..watch::FLAGS };
        let port = Some(Port { bridge: bridge.clone(), flags });
        let kind = Kind::Tap(Tap::OURS);
        let alias = Some(names::alias(&key));
        net.links.insert(name.clone(), Link { kind, alias, mtu: TAP_MTU, up: true, no_addresses: true, port });
        net.bridge_fdb.insert(mac, BridgeEntry { port: name.clone(), hold: Hold::Pinned });
    }
    desired.fence.ours.extend(net.links.keys().filter(|name| **name != bridge).cloned());
    desired.fence.bridges.insert(bridge.clone());
    Some(Way { bridge, near, far, flows: flows(slice) })
}

/// The first overlay in which no network of guests has the VNI of the echoes.
fn place(plan: &Plan, slice: &Slice) -> Option<(UdpPort, OverlayId)> {
    let planned = plan.desired.networks.values().map(|net| &net.key).filter(|key| key.vni.get() != ECHO_VNI);
    let port = |key: &NetKey| Some((slice.networks.get(key)?.udp_port, key.overlay.clone()));
    let taken = |port: &UdpPort| {
        slice.networks.iter().any(|(key, network)| network.udp_port == *port && key.vni.get() == ECHO_VNI)
    };
    planned.filter_map(port).filter(|(port, _)| !taken(port)).min()
}

/// What guests of the networks of this node send: ARP, IPv4 and IPv6, each between addresses that they may have.
fn flows(slice: &Slice) -> Vec<Flow> {
    let prefixes: Vec<Prefix> = slice.networks.values().flat_map(|network| network.cidr.iter().copied()).collect();
    let mut all: Vec<Flow> = Vec::new();
    for prefix in prefixes.into_iter().take(NETWORKS) {
        let (from, to) = two(prefix);
        let kinds = if from.is_ipv4() { [Protocol::Arp, Protocol::Ipv4].as_slice() } else { &[Protocol::Ipv6] };
        all.extend(kinds.iter().map(|protocol| Flow { protocol: *protocol, from, to }));
    }
    let (from4, to4) = (LINK4.0.into(), LINK4.1.into());
    if !all.iter().any(|flow| flow.from.is_ipv4()) {
        all.extend([Protocol::Arp, Protocol::Ipv4].map(|protocol| Flow { protocol, from: from4, to: to4 }));
    }
    if !all.iter().any(|flow| flow.from.is_ipv6()) {
        all.push(Flow { protocol: Protocol::Ipv6, from: LINK6.0.into(), to: LINK6.1.into() });
    }
    all.sort();
    all.dedup();
    all
}

/// Two addresses of a prefix, or of the smallest one the same twice.
fn two(prefix: Prefix) -> (IpAddr, IpAddr) {
    let at = |n| prefix.nth(n).unwrap_or_else(|| prefix.network());
    (at(1), at(2))
}

#[cfg(test)]
#[path = "crossing_tests.rs"]
mod tests;
