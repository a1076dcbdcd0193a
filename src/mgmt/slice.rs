//! The slice of one node out of the whole state: the networks that it hosts, their rows, and the nodes that host them too.
//! What a node does not host it does not learn.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::index::{self, Index};
use super::psk;
use crate::api::objects::{self, Node, Port};
use crate::table::{Foreign, KeyPair, NetKey, Network, OwnKeys, Peer, Row, RowKey, Slice, Suite};
use crate::types::{NodeId, SecretKey, UdpPort, Version};

/// UDP port of a peer's tunnel where none is known.
const USUAL_LISTEN: u64 = 51_820;

/// Builds the slice of `node`; none: there is no such node. Without `secret` the PSKs are left out.
pub fn build(index: &Index, node: &NodeId, version: Version, secret: Option<&SecretKey>) -> Option<Slice> {
    let me = index.state.nodes.get(node)?;
    let mut slice = Slice::empty(version, node.clone(), me.spec.pdc.clone());
    slice.tunnel_address = me.status.tunnel_address;
    slice.keys = me.status.public_key.map(|current| OwnKeys {
        current,
        next: me.status.next_public_key,
        replace: me.status.replace_key,
    });
    let mut peers = BTreeSet::new();
    for id in index.hosted.get(node).into_iter().flatten() {
        let Some(network) = index.state.networks.get(id) else { continue };
        let key = NetKey { overlay: network.spec.overlay.clone(), vni: network.spec.vni };
        for port in index.ports.get(id).into_iter().flatten() {
            add_row(index, &mut slice, &key, port);
        }
        let Some(seen) = as_seen(index, me, network) else { continue };
        peers.extend(seen.members.keys().cloned());
        slice.networks.insert(key, seen);
    }
    let peer = |id: NodeId| index.state.nodes.get(&id).map(|node| (id, peer_of(me, node, secret)));
    slice.peers = peers.into_iter().filter_map(peer).collect();
    add_policy(index, &mut slice);
    Some(slice)
}

/// Facts of the PDCs that the slice names, and the policies that can match in it.
fn add_policy(index: &Index, slice: &mut Slice) {
    let pdcs = slice.peers.values().map(|peer| &peer.pdc).chain([&slice.pdc]);
    let named = pdcs.filter_map(|id| index.pdcs.get_key_value(id)).map(|(id, facts)| (id.clone(), facts.clone()));
    slice.pdcs = named.collect();
    let names: BTreeSet<_> = slice.networks.values().map(|network| &network.name).collect();
    let concerns = index.policies.iter().filter(|(_, rule)| rule.network.as_ref().is_none_or(|n| names.contains(n)));
    slice.policies = concerns.map(|(id, rule)| (id.clone(), rule.clone())).collect();
}

/// A network as `me` sees it; none: its overlay is gone or has no UDP port yet.
fn as_seen(index: &Index, me: &Node, network: &objects::Network) -> Option<Network> {
    let overlay = index.overlay(network)?;
    let id = &network.metadata.name;
    let others = index.hosts.get(id).into_iter().flatten().filter(|other| **other != me.metadata.name);
    let member = |other: &NodeId| {
        let node = index.state.nodes.get(other)?;
        Some((other.clone(), index.verdict(id, me, node).path))
    };
    Some(Network {
        name: id.clone(),
        udp_port: overlay.spec.udp_port?,
        cidr: network.spec.cidr.clone(),
        gateway: network.spec.gateway.clone(),
        mtu: index.mtu_policy(network),
        guest_mtu: index.mtus.get(id)?.mtu,
        flood: network.spec.flood.unwrap_or(overlay.spec.flood),
        group_rate: network.spec.group_rate,
        learning: network.spec.learning,
        members: others.filter_map(member).collect(),
    })
}

fn add_row(index: &Index, slice: &mut Slice, net: &NetKey, port: &Port) {
    let spec = &port.spec;
    // A port on a node that its overlay no longer admits is nowhere.
    if !index.hosts.get(&spec.network).is_some_and(|hosts| hosts.contains(&spec.node)) {
        return;
    }
    let key = RowKey { overlay: net.overlay.clone(), vni: net.vni, vlan: spec.vlan, mac: spec.mac };
    let mut row = Row {
        port: Some(port.metadata.name.clone()),
        role: spec.role,
        interface: spec.interface.clone().filter(|_| spec.node == slice.node),
        floating: spec.floating().collect(),
        group_rate: spec.group_rate,
        ..Row::of(spec.node.clone())
    };
    for (mac, ip) in spec.nested() {
        let guest = Row { interface: row.interface.clone(), group_rate: spec.group_rate, ..Row::of(spec.node.clone()) };
        let nested = slice.rows.entry(RowKey { mac, ..key.clone() }).or_insert(guest);
        own(nested, ip);
    }
    spec.ips.iter().for_each(|ip| own(&mut row, *ip));
    slice.rows.insert(key, row);
}

fn own(row: &mut Row, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => drop(row.arp.insert(ip)),
        IpAddr::V6(ip) => drop(row.nd.insert(ip)),
    }
}

/// Another node as `me` must know it.
fn peer_of(me: &Node, other: &Node, secret: Option<&SecretKey>) -> Peer {
    let end = index::end(other);
    let facts = other.status.facts.as_ref();
    let foreign = other.spec.foreign.as_ref();
    let key = index::public_key(other);
    let psk = match (secret, index::public_key(me), key) {
        (Some(secret), Some(mine), Some(theirs)) => {
            Some(psk::of_pair(secret, (name(me), &mine), (name(other), &theirs)))
        }
        _ => None,
    };
    let listen = foreign.and_then(|f| f.endpoint).and_then(|e| UdpPort::try_from(u64::from(e.port())).ok());
    Peer {
        pdc: other.spec.pdc.clone(),
        public_key: key,
        psk,
        suite: suite(me, other),
        admin: end.admin,
        external: end.external,
        listen: listen.or_else(|| facts.map(|facts| facts.listen)).unwrap_or_else(usual_listen),
        lanes: lanes(me).min(lanes(other)),
        changing: changing(me, other, secret),
        foreign: foreign.map(|f| Foreign { tunnel_address: f.tunnel_address, endpoint: f.endpoint }),
    }
}

/// The pairs of keys that hold besides while one of the two changes its key, best first: new ones before old ones.
fn changing(me: &Node, other: &Node, secret: Option<&SecretKey>) -> Vec<KeyPair> {
    let keys = |node: &Node| node.status.next_public_key.into_iter().chain(index::public_key(node));
    let pairs = keys(me).flat_map(|own| keys(other).map(move |remote| (own, remote)));
    let in_force = (index::public_key(me), index::public_key(other));
    let besides = pairs.filter(|(own, remote)| (Some(*own), Some(*remote)) != in_force);
    let pair = |(own, remote)| {
        let psk = secret.map(|secret| psk::of_pair(secret, (name(me), &own), (name(other), &remote)));
        KeyPair { own, remote, psk }
    };
    besides.map(pair).collect()
}

const fn name(node: &Node) -> &NodeId {
    &node.metadata.name
}

/// How many lanes a node runs: one where it is no `meshd` (a WireGuard box follows the last address that a peer sent from), and
/// where it has not said how many.
fn lanes(node: &Node) -> u8 {
    let ours = node.status.facts.as_ref().filter(|_| node.spec.foreign.is_none());
    ours.map_or(1, |facts| facts.lanes.max(1))
}

/// AES where both ends are ours and have instructions for it: half the cycles. What a node has not reported it does not have.
fn suite(me: &Node, other: &Node) -> Suite {
    let has_aes =
        |node: &Node| node.spec.foreign.is_none() && node.status.facts.as_ref().is_some_and(|facts| facts.aes);
    if has_aes(me) && has_aes(other) { Suite::Aesgcm } else { Suite::Chacha }
}

fn usual_listen() -> UdpPort {
    match UdpPort::try_from(USUAL_LISTEN) {
        Ok(port) => port,
        Err(_) => unreachable!("{USUAL_LISTEN} is a UDP port"),
    }
}

#[cfg(test)]
#[path = "slice_tests.rs"]
mod tests;
