//! What guests may send, as data: the packet filter behind every guest's port. [`super::fence_text`] writes it down for `nft`.
//!
//! A port that names its interface is *bound*: what may come from there is in the filter before the interface exists, so there is no
//! moment in which it may say anything else. Ports without one are *loose*: on their networks every interface that is found on the
//! bridge may send for any of them, and for nobody else. Networks that find their guests by themselves (`learning: local`) cannot
//! know who is right; their interfaces are *open*, but for floods and the UDP ports of the underlay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::desired::{BridgeEntry, Hold, Net, Observed};
use super::reconcile::is_ours;
use crate::api::local::Finding;
use crate::table::{Learning, NetKey, PortRole, Slice};
use crate::types::{IfName, Mac, UdpPort, Vlan};

/// What passes from guests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fence {
    /// Our bridges. Without any the filter is not needed.
    pub bridges: BTreeSet<IfName>,
    /// Ports of our bridges that lead to other nodes: what they carry is checked elsewhere.
    pub ours: BTreeSet<IfName>,
    /// UDP ports of VXLAN and tunnels, on any node: no guest has anything to say there.
    pub underlay: BTreeSet<UdpPort>,
    /// Interfaces that ports name, with what may come from there.
    pub bound: BTreeMap<IfName, BTreeSet<Guest>>,
    /// Guests whose ports name no interface.
    pub loose: BTreeSet<Guest>,
    /// Interfaces that no port names, found on bridges of networks whose ports are declared: loose guests are behind them.
    pub unnamed: BTreeSet<IfName>,
    /// Interfaces found on bridges of networks that find their guests by themselves.
    pub open: BTreeSet<IfName>,
}

/// One guest address with all that may be sent from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guest {
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its 802.1Q tag.
    pub vlan: Option<Vlan>,
    /// Its IP addresses; with none at all its port does not say, and any may be.
    pub addresses: BTreeSet<IpAddr>,
    /// What it may do besides.
    pub role: PortRole,
}

/// Frames from one interface that were dropped for one reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// The interface.
    pub interface: IfName,
    /// Their source, where that is the reason.
    pub mac: Option<Mac>,
    /// Name of the reason in [`super::fence_text::REASONS`].
    pub reason: &'static str,
    /// How many since the first of them; quiet for a minute, they are forgotten.
    pub frames: u64,
}

impl Fence {
    /// True where nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.bridges.is_empty()
    }

    /// Adds the guests that a network has on this node. Rows of networks that find their guests by themselves name nobody who could
    /// be held to them.
    pub fn add(&mut self, slice: &Slice, key: &NetKey, bridge: &IfName, net: &Net, findings: &mut Vec<Finding>) {
        self.bridges.insert(bridge.clone());
        self.ours.extend(net.links.keys().filter(|name| *name != bridge).cloned());
        if net.learning == Learning::Local {
            return;
        }
        for (row_key, row) in slice.rows_of(key).filter(|(k, row)| row.node == slice.node && k.mac.is_unicast()) {
            let addresses = row.arp.iter().map(|a| IpAddr::V4(*a)).chain(row.nd.iter().map(|a| IpAddr::V6(*a)));
            let guest = Guest { mac: row_key.mac, vlan: row_key.vlan, addresses: addresses.collect(), role: row.role };
            match &row.interface {
                None => drop(self.loose.insert(guest)),
                Some(name) if is_plain(name) => drop(self.bound.entry(name.clone()).or_default().insert(guest)),
                Some(name) => findings.push(unusable(key, row_key.mac, name)),
            }
        }
    }

    /// This filter with the interfaces in it that are on our bridges now. One that a port names, but on another network's bridge,
    /// is held to the loose guests: its own have nothing to say there.
    #[must_use]
    pub fn with_found(&self, networks: &BTreeMap<&IfName, &Net>, observed: &Observed) -> Self {
        let mut fence = self.clone();
        for (name, link) in &observed.links {
            let Some(net) = link.port.as_ref().and_then(|port| networks.get(&port.bridge)) else { continue };
            // One of ours that is no longer wanted goes with this plan.
            if is_ours(name, link) || !is_plain(name) || net.guests.contains_key(name) {
                continue;
            }
            fence.bound.remove(name);
            match net.learning {
                Learning::Declared => fence.unnamed.insert(name.clone()),
                Learning::Local => fence.open.insert(name.clone()),
            };
        }
        fence
    }
}

/// Bridge FDB entries of bound guests: they stay with their interface, whatever else enters the bridge.
pub(super) fn pins(slice: &Slice, key: &NetKey) -> BTreeMap<IfName, BTreeSet<Mac>> {
    let mut pins: BTreeMap<IfName, BTreeSet<Mac>> = BTreeMap::new();
    for (row_key, row) in slice.rows_of(key).filter(|(k, row)| row.node == slice.node && k.mac.is_unicast()) {
        if let Some(name) = row.interface.as_ref().filter(|name| is_plain(name)) {
            pins.entry(name.clone()).or_default().insert(row_key.mac);
        }
    }
    pins
}

/// The entries that can be set now: those of interfaces that stand in the bridge.
pub(super) fn pinned<'a>(
    net: &'a Net,
    bridge: &'a IfName,
    observed: &'a Observed,
) -> impl Iterator<Item = (&'a Mac, BridgeEntry)> {
    let here = move |name: &IfName| {
        observed.links.get(name).and_then(|link| link.port.as_ref()).is_some_and(|port| port.bridge == *bridge)
    };
    let entry = |port: &IfName| BridgeEntry { port: port.clone(), hold: Hold::Pinned };
    let there = net.guests.iter().filter(move |(name, _)| here(name));
    there.flat_map(move |(name, macs)| macs.iter().map(move |mac| (mac, entry(name))))
}

/// True for a name that means itself in a filter: quotes would end it, and a star stand for other names.
pub fn is_plain(name: &IfName) -> bool {
    name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b))
}

fn unusable(key: &NetKey, mac: Mac, name: &IfName) -> Finding {
    Finding::new(
        "M0613",
        format!("network {key}: the port with {mac} names the interface {name:?}, which no packet filter can name"),
        "rename it with letters, digits, '.', '-', '_' and '@' only; until then it is not checked",
    )
}

#[cfg(test)]
#[path = "fence_tests.rs"]
mod tests;
