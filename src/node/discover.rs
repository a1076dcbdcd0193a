//! Guests found on this node's own bridges, for networks with `learning: local`: what the bridge learned on ports that are not
//! ours. Bounded by interface and by node, so that a guest that invents addresses fills neither the table of the mesh nor the places
//! of others: what is above its interface's bound is left out, and a finding names the interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::desired::{Desired, Hold, Net, Observed};
use crate::api::local::Finding;
use crate::api::stream::FoundPort;
use crate::table::{Learning, NetKey, Slice};
use crate::types::{IfName, Mac};

/// Most guests of one node that it reports, over all its networks. Interfaces share them out evenly.
pub const MAX_PORTS: usize = 4096;
/// Most guests behind one interface: enough for a machine that hosts some by itself, too little to hurt anybody.
pub const PORTS_OF_INTERFACE: usize = 64;
/// Most IP addresses of one guest, the smallest first.
pub const ADDRESSES_OF_PORT: usize = 16;
/// Interfaces that findings name one by one.
const NAMED: usize = 8;

/// One guest: its network and its address.
pub type Guest = (NetKey, Mac);

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Guests, in order, and the interface that each is behind.
    pub ports: BTreeMap<FoundPort, IfName>,
    /// Interfaces with more guests than count.
    pub findings: Vec<Finding>,
}

/// Guests on the bridges of networks with `learning: local`. Where there are too many, those that are `known` stay: a flood of new
/// addresses makes no new table with each look. Addresses are known where the bridge itself has heard the guest; they are left empty
/// where it has not.
pub fn discover(slice: &Slice, desired: &Desired, observed: &Observed, known: &BTreeSet<Guest>) -> Found {
    let local = |net: &Net| slice.networks.get(&net.key).is_some_and(|n| n.learning == Learning::Local);
    let (mut behind, mut found): (BTreeMap<&IfName, Behind<'_>>, Found) = Default::default();
    for (bridge, net) in desired.networks.iter().filter(|(_, net)| local(net)) {
        for (mac, entry) in observed.bridge_fdb.get(bridge).into_iter().flatten() {
            let guest = entry.hold == Hold::Learned && !net.links.contains_key(&entry.port) && mac.is_unicast();
            if guest {
                let new = || Behind { bridge, net: &net.key, macs: Vec::new() };
                behind.entry(&entry.port).or_insert_with(new).macs.push(*mac);
            }
        }
    }
    found.findings = crowded(&behind);
    for of in behind.values_mut() {
        of.macs.sort_by_key(|mac| (!known.contains(&(of.net.clone(), *mac)), *mac));
        of.macs.truncate(PORTS_OF_INTERFACE);
    }
    let chosen = shared_out(&behind);
    if chosen.len() < behind.values().map(|of| of.macs.len()).sum() {
        found.findings.push(full());
    }
    let heard: BTreeMap<&IfName, _> =
        desired.networks.keys().map(|bridge| (bridge, heard(observed.neighbours.get(bridge)))).collect();
    for (interface, of, mac) in chosen {
        let ips = heard.get(of.bridge).and_then(|heard| heard.get(&mac)).cloned().unwrap_or_default();
        found.ports.insert(FoundPort { network: of.net.clone(), mac, ips }, interface.clone());
    }
    found
}

/// Adds what was found to what has been found since the start, without addresses: the same guest is not counted again when the bridge
/// hears one. The bounds are the same; guests of interfaces that are no longer `there` make room.
pub fn remember(kept: &mut BTreeMap<FoundPort, IfName>, found: &Found, there: impl Fn(&IfName) -> bool) {
    let mut count: BTreeMap<IfName, usize> = BTreeMap::new();
    kept.values().for_each(|interface| *count.entry(interface.clone()).or_default() += 1);
    for (port, interface) in &found.ports {
        let port = FoundPort { ips: BTreeSet::new(), ..port.clone() };
        if kept.contains_key(&port) || count.get(interface).is_some_and(|count| *count >= PORTS_OF_INTERFACE) {
            continue;
        }
        if kept.len() >= MAX_PORTS {
            kept.retain(|_, interface| there(interface));
        }
        if kept.len() < MAX_PORTS {
            *count.entry(interface.clone()).or_default() += 1;
            kept.insert(port, interface.clone());
        }
    }
}

/// What is behind one interface.
struct Behind<'a> {
    bridge: &'a IfName,
    net: &'a NetKey,
    macs: Vec<Mac>,
}

/// The first of each interface, then the second of each, and so on while there is room.
fn shared_out<'a>(behind: &'a BTreeMap<&'a IfName, Behind<'a>>) -> Vec<(&'a IfName, &'a Behind<'a>, Mac)> {
    let round = |n: usize| behind.iter().filter_map(move |(name, of)| Some((*name, of, *of.macs.get(n)?)));
    (0..PORTS_OF_INTERFACE).flat_map(round).take(MAX_PORTS).collect()
}

fn crowded(behind: &BTreeMap<&IfName, Behind<'_>>) -> Vec<Finding> {
    let crowded: Vec<_> = behind.iter().filter(|(_, of)| of.macs.len() > PORTS_OF_INTERFACE).collect();
    let help =
        "a guest that invents addresses does this: bridge fdb show; a machine that hosts more needs declared ports";
    let one = |(interface, of): &(&&IfName, &Behind<'_>)| {
        let text = format!(
            "network {}: more than {PORTS_OF_INTERFACE} Ethernet addresses are behind the interface {interface}; the others are \
             not in the table",
            of.net
        );
        Finding::new("M0649", text, help)
    };
    let mut findings: Vec<Finding> = crowded.iter().take(NAMED).map(one).collect();
    if crowded.len() > NAMED {
        let text = format!("as many are behind {} more interfaces", crowded.len() - NAMED);
        findings.push(Finding::new("M0649", text, help));
    }
    findings
}

fn full() -> Finding {
    let text = format!("more than {MAX_PORTS} guests were found on this node; the others are not in the table");
    Finding::new("M0650", text, "declare ports, or spread the guests over more nodes")
}

/// Addresses that the bridge heard itself; entries of the table (permanent) are no news.
fn heard(neighbours: Option<&BTreeMap<IpAddr, super::desired::Neighbour>>) -> BTreeMap<Mac, BTreeSet<IpAddr>> {
    let mut heard: BTreeMap<Mac, BTreeSet<IpAddr>> = BTreeMap::new();
    for (address, neighbour) in neighbours.into_iter().flatten().filter(|(_, n)| !n.permanent) {
        let of_guest = heard.entry(neighbour.mac).or_default();
        if of_guest.len() < ADDRESSES_OF_PORT {
            of_guest.insert(*address);
        }
    }
    heard
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
