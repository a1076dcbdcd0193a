//! Guests found on this node's own bridges, for networks with `learning: local`: what the bridge learned on ports that are not
//! ours. Bounded, so that a guest that invents addresses cannot fill the table of the mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::desired::{Desired, Hold, Observed};
use crate::api::stream::FoundPort;
use crate::table::{Learning, Slice};
use crate::types::Mac;

/// Most guests of one network that a node reports. What is above is left out, the largest addresses first.
pub const MAX_PORTS: usize = 4096;

/// Guests on the bridges of networks with `learning: local`. Addresses are known where the bridge itself has heard the guest; they
/// are left empty where it has not.
pub fn discover(slice: &Slice, desired: &Desired, observed: &Observed) -> Vec<FoundPort> {
    let local = |net: &super::desired::Net| slice.networks.get(&net.key).is_some_and(|n| n.learning == Learning::Local);
    let mut found = Vec::new();
    for (bridge, net) in desired.networks.iter().filter(|(_, net)| local(net)) {
        let heard = heard(observed.neighbours.get(bridge));
        let entries = observed.bridge_fdb.get(bridge).into_iter().flatten();
        let guests = entries.filter(|(mac, entry)| {
            entry.hold == Hold::Learned && !net.links.contains_key(&entry.port) && mac.is_unicast()
        });
        found.extend(guests.take(MAX_PORTS).map(|(mac, _)| FoundPort {
            network: net.key.clone(),
            mac: *mac,
            ips: heard.get(mac).cloned().unwrap_or_default(),
        }));
    }
    found
}

/// Addresses that the bridge heard itself; entries of the table (permanent) are no news.
fn heard(neighbours: Option<&BTreeMap<IpAddr, super::desired::Neighbour>>) -> BTreeMap<Mac, BTreeSet<IpAddr>> {
    let mut heard: BTreeMap<Mac, BTreeSet<IpAddr>> = BTreeMap::new();
    for (address, neighbour) in neighbours.into_iter().flatten().filter(|(_, n)| !n.permanent) {
        heard.entry(neighbour.mac).or_default().insert(*address);
    }
    heard
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
