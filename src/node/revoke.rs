//! What may go on of the table in force while a newer one is brought to the kernel. Peers, networks and guests that the newer one has no
//! more end at once, before anything else is done; what it adds waits until packet filters and kernel have followed.

use std::collections::BTreeMap;

use crate::table::{Network, Peer, Row, Slice};

/// `new` without all that `old` does not have; none where `new` takes nothing away from `old`.
pub fn remaining(old: &Slice, new: &Slice) -> Option<Slice> {
    if !takes_away(old, new) {
        return None;
    }
    let mut left = new.clone();
    left.peers = both(&old.peers, &new.peers, shared_peer);
    left.networks = both(&old.networks, &new.networks, shared_network);
    left.rows = both(&old.rows, &new.rows, shared_row);
    Some(left)
}

/// True where something that holds under `old` does not hold under `new`, or not in the same way.
fn takes_away(old: &Slice, new: &Slice) -> bool {
    let network = |old: &Network, new: &Network| shared_network(old, new).is_some_and(|shared| shared == *old);
    old.policies != new.policies
        || old.pdcs != new.pdcs
        || old.peers.iter().any(|(node, peer)| new.peers.get(node).is_none_or(|new| !is_same(peer, new)))
        || old.networks.iter().any(|(key, of)| new.networks.get(key).is_none_or(|new| !network(of, new)))
        || old
            .rows
            .iter()
            .any(|(key, row)| new.rows.get(key).is_none_or(|new| shared_row(row, new).as_ref() != Some(row)))
}

fn both<K: Ord + Clone, V>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    shared: impl Fn(&V, &V) -> Option<V>,
) -> BTreeMap<K, V> {
    let pair = |(key, new): (&K, &V)| Some((key.clone(), shared(old.get(key)?, new)?));
    new.iter().filter_map(pair).collect()
}

/// True where frames go to the peer and come from it as before. Keys, addresses and UDP ports do not count: they change with this
/// node's own, all at one time, and a peer whose keys are stolen is no peer at all.
fn is_same(old: &Peer, new: &Peer) -> bool {
    old.pdc == new.pdc && old.foreign == new.foreign && old.public_key.is_some() == new.public_key.is_some()
}

/// The peer as it was, so that its sessions go on; as it is now where its place has changed.
fn shared_peer(old: &Peer, new: &Peer) -> Option<Peer> {
    Some(if is_same(old, new) { old.clone() } else { new.clone() })
}

/// The newer one, with the members of both. With another UDP port it has other devices, which are not there yet.
fn shared_network(old: &Network, new: &Network) -> Option<Network> {
    let mut shared = new.clone();
    shared.members.retain(|node, _| old.members.contains_key(node));
    (old.udp_port == new.udp_port).then_some(shared)
}

/// What both say of a guest; none where it has moved, or may say nothing under both.
fn shared_row(old: &Row, new: &Row) -> Option<Row> {
    if old.node != new.node {
        return None;
    }
    let names = |row: &Row| row.addresses().next().is_some();
    let mut shared = new.clone();
    shared.role = old.role.both(new.role);
    // A row that names no address lets its guest speak for any.
    if names(old) && names(new) {
        shared.arp.retain(|address| old.arp.contains(address));
        shared.nd.retain(|address| old.nd.contains(address));
        shared.floating.retain(|address| old.floating.contains(address));
        return names(&shared).then_some(shared);
    }
    if names(old) {
        (shared.arp, shared.nd, shared.floating) = (old.arp.clone(), old.nd.clone(), old.floating.clone());
    }
    Some(shared)
}

#[cfg(test)]
#[path = "revoke_tests.rs"]
mod tests;
