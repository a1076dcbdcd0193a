//! What guests may send, as data: the packet filter behind every guest's port. [`super::fence_text`] writes it down for `nft`.
//!
//! A port that names its interface is *bound*: what may come from there is in the filter before the interface exists, so there is no
//! moment in which it may say anything else. A port without one is *loose*: the first interface of its network that speaks with its
//! address is held to it from then on, and no other interface may (`pins`); until then any interface on that bridge that no port
//! names may. Networks that find their guests by themselves (`learning: local`) cannot know who is right; their interfaces are *open*,
//! but for what nobody may send and for how much.
//!
//! Every element belongs to one interface, or to one bridge: what a guest may say in one network says nothing about another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::desired::{BridgeEntry, Hold, Net, Observed};
use super::fence_sizes::Sizes;
use super::owners::Owners;
use super::reconcile::is_ours;
use super::{names, outside};
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::table::{Flood, Learning, NetKey, Network, Roles, Slice};
use crate::types::{GroupRate, IfName, Mac, Vlan};

/// What passes from guests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fence {
    /// Our bridges. Without any the filter is not needed.
    pub bridges: BTreeSet<IfName>,
    /// Ports of our bridges that lead to other nodes: what they carry is checked elsewhere.
    pub ours: BTreeSet<IfName>,
    /// Interfaces that ports name, with what may come from there, by the bridge that it may come into. One that is named in two
    /// networks stays shut until it stands in one of their bridges.
    pub named: BTreeMap<IfName, BTreeMap<IfName, BTreeSet<Guest>>>,
    /// Guests whose ports name no interface, by bridge.
    pub loose: BTreeMap<IfName, BTreeSet<Guest>>,
    /// Interfaces that no port names, with their bridge: loose guests are behind them.
    pub unnamed: BTreeMap<IfName, IfName>,
    /// Where loose guests have spoken first, by bridge and address.
    pub pins: BTreeMap<(IfName, Mac), Pin>,
    /// Interfaces found on bridges of networks that find their guests by themselves, with their bridge.
    pub open: BTreeMap<IfName, IfName>,
    /// Who is asked for an address, by bridge; not of networks that replicate everything.
    pub owners: BTreeMap<IfName, Arc<Owners>>,
    /// Interfaces from which nothing reaches this host while they stand in no bridge ([`super::outside`]).
    pub outside: BTreeSet<IfName>,
    /// Which devices bound the size of what passes.
    pub sizes: Sizes,
    /// Broadcast and multicast frames a second of interfaces on a bridge whose ports say nothing else, where that is not the usual.
    pub rates: BTreeMap<IfName, u32>,
    /// [`Observed::rules_before_devices`]: what is routed is held on the bridges themselves.
    pub by_device: bool,
}

/// The interface that a loose guest is held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The interface.
    pub interface: IfName,
    /// False while the interface does not exist. Made again it is the guest's at once; another one may become so meanwhile.
    pub here: bool,
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
    pub role: Roles,
    /// Broadcast and multicast frames a second that it may send.
    pub group_rate: u32,
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

/// A sample of what an interface says and may not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// The interface.
    pub interface: IfName,
    /// The Ethernet address that it says it from.
    pub mac: Mac,
    /// The IP address that it speaks for, where that is the reason.
    pub value: Option<IpAddr>,
    /// How many samples in the last minute; at most six, and four at once, of each interface.
    pub samples: u64,
}

impl Fence {
    /// True where nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.bridges.is_empty() && self.outside.is_empty()
    }

    /// What this host does not hear: [`super::guard::Guard::shut`].
    pub(super) fn shut(&self) -> impl Iterator<Item = &IfName> {
        self.bridges.iter().chain(&self.ours).chain(&self.outside)
    }

    /// Adds the guests that a network has on this node. Rows of networks that find their guests by themselves name nobody who could
    /// be held to them.
    pub fn add(&mut self, slice: &Slice, key: &NetKey, bridge: &IfName, net: &Net, findings: &mut Vec<Finding>) {
        self.bridges.insert(bridge.clone());
        if slice.networks.get(key).is_some_and(|network: &Network| network.flood != Flood::Replicate) {
            let owners = Owners::of(slice, key, |mac| net.bridge_fdb.contains_key(&mac));
            self.owners.insert(bridge.clone(), Arc::new(owners));
        }
        let usual = slice.networks.get(key).map_or(GroupRate::USUAL, Network::group_rate);
        if usual != GroupRate::USUAL {
            self.rates.insert(bridge.clone(), usual);
        }
        self.ours.extend(net.links.keys().filter(|name| *name != bridge).cloned());
        if net.learning == Learning::Local {
            return;
        }
        let known = interfaces(slice, key);
        for (row_key, row) in slice.rows_of(key).filter(|(k, row)| row.node == slice.node && k.mac.is_unicast()) {
            let addresses = row.addresses().collect();
            let group_rate = row.group_rate.map_or(usual, GroupRate::get);
            let guest = Guest { mac: row_key.mac, vlan: row_key.vlan, addresses, role: row.role, group_rate };
            match row.interface.as_ref().or_else(|| known.get(&row_key.mac).copied()) {
                None => drop(self.loose.entry(bridge.clone()).or_default().insert(guest)),
                Some(name) if may_be_guests(name) => {
                    let places = self.named.entry(name.clone()).or_default();
                    places.entry(bridge.clone()).or_default().insert(guest);
                }
                Some(name) => findings.push(unusable(key, row_key.mac, name)),
            }
        }
        findings.extend(self.loose.get(bridge).and_then(|loose| crowded(key, loose)));
    }

    /// This filter with the interfaces in it that are on our bridges now. One that a port names, but on another network's bridge,
    /// is held to the loose guests: its own have nothing to say there.
    #[must_use]
    pub fn with_found(&self, networks: &BTreeMap<&IfName, &Net>, observed: &Observed) -> Self {
        let mut fence = Self { by_device: observed.rules_before_devices, ..self.clone() };
        for (name, link) in &observed.links {
            let Some(port) = &link.port else { continue };
            let Some(net) = networks.get(&port.bridge) else { continue };
            // One of ours that is no longer wanted goes with this plan.
            if is_ours(name, link) || !is_plain(name) {
                continue;
            }
            let places = fence.named.remove(name).unwrap_or_default();
            if let Some(guests) = places.get(&port.bridge) {
                fence.named.insert(name.clone(), [(port.bridge.clone(), guests.clone())].into());
                continue;
            }
            match net.learning {
                Learning::Declared => drop(fence.unnamed.insert(name.clone(), port.bridge.clone())),
                Learning::Local => drop(fence.open.insert(name.clone(), port.bridge.clone())),
            }
        }
        fence.sizes.found(networks, observed);
        for (bridge, net) in networks {
            let pins = pins(net, bridge, observed);
            fence.pins.extend(pins.into_iter().map(|(mac, pin)| (((*bridge).clone(), mac), pin)));
        }
        for ((bridge, _), pin) in &fence.pins {
            fence.unnamed.entry(pin.interface.clone()).or_insert_with(|| bridge.clone());
        }
        // What stands in a bridge of others is none of ours.
        let away: Vec<IfName> =
            fence.named.keys().filter(|name| outside::is_elsewhere(name, observed)).cloned().collect();
        away.iter().for_each(|name| drop(fence.named.remove(name)));
        let outside = outside::of(&fence, observed);
        Self { outside, ..fence }
    }

    /// Adds a bridge of which nothing is left but the guests' plugs: what stands there may say nothing at all.
    pub(super) fn park(&mut self, bridge: &IfName, guests: &BTreeSet<&IfName>) {
        self.bridges.insert(bridge.clone());
        for name in guests.iter().filter(|name| is_plain(name)) {
            self.named.remove(*name);
            self.open.remove(*name);
            self.unnamed.insert((*name).clone(), bridge.clone());
        }
    }

    /// This filter while the bridges that it no longer has are still there: what `old` says of them goes on, so that nothing opens
    /// before they are gone.
    #[must_use]
    pub(super) fn keeping(&self, old: &Self) -> Self {
        let mut fence = self.clone();
        let leaves = |bridge: &IfName| old.bridges.contains(bridge) && !self.bridges.contains(bridge);
        if !old.bridges.iter().any(leaves) {
            return fence;
        }
        let known = |name: &IfName| {
            self.ours.contains(name)
                || self.named.contains_key(name)
                || self.unnamed.contains_key(name)
                || self.open.contains_key(name)
        };
        fence.bridges.extend(old.bridges.iter().cloned());
        let rates = old.rates.iter().filter(|(bridge, _)| leaves(bridge));
        fence.rates.extend(rates.map(|(bridge, rate)| (bridge.clone(), *rate)));
        fence.ours.extend(old.ours.iter().cloned());
        fence.outside.extend(old.outside.iter().cloned());
        let open = old.open.iter().filter(|(name, _)| !known(name));
        fence.open.extend(open.map(|(name, bridge)| (name.clone(), bridge.clone())));
        let named = old.named.iter().filter(|(name, _)| !known(name));
        fence.named.extend(named.map(|(name, places)| (name.clone(), places.clone())));
        let unnamed = old.unnamed.iter().filter(|(name, bridge)| leaves(bridge) && !known(name));
        fence.unnamed.extend(unnamed.map(|(name, bridge)| (name.clone(), bridge.clone())));
        let loose = old.loose.iter().filter(|(bridge, _)| leaves(bridge));
        fence.loose.extend(loose.map(|(bridge, guests)| (bridge.clone(), guests.clone())));
        let pins = old.pins.iter().filter(|((bridge, _), pin)| leaves(bridge) && !known(&pin.interface));
        fence.pins.extend(pins.map(|(key, pin)| (key.clone(), pin.clone())));
        fence
    }

    /// Interfaces of guests, with the network whose owners they ask.
    pub(super) fn askers(&self) -> impl Iterator<Item = (&IfName, &IfName)> {
        let named = self.named.iter().filter(|(_, places)| places.len() == 1);
        let named = named.flat_map(|(name, places)| places.keys().map(move |bridge| (name, bridge)));
        let others = self.open.iter().chain(&self.unnamed).filter(|(name, _)| !self.named.contains_key(*name));
        let guests = named.chain(others).filter(|(name, _)| !self.ours.contains(*name));
        guests.filter(|(_, bridge)| self.owners.contains_key(*bridge))
    }

    /// Loose guests that have spoken, with the interface that they are held to.
    pub(super) fn pinned_guests(&self) -> impl Iterator<Item = (&IfName, &Guest)> {
        self.pins.iter().flat_map(|((bridge, mac), pin)| {
            let guests = self.loose.get(bridge).into_iter().flatten();
            guests.filter(move |guest| guest.mac == *mac).map(move |guest| (&pin.interface, guest))
        })
    }

    /// True where no other interface may speak for the guest.
    pub(super) fn is_pinned(&self, bridge: &IfName, mac: Mac) -> bool {
        self.pins.get(&(bridge.clone(), mac)).is_some_and(|pin| pin.here)
    }
}

/// Where the loose guests of a network are held. An interface that has spoken first keeps its guest for as long as it stands in the
/// bridge; while it does not exist, the next one that speaks takes its place. What an earlier daemon has pinned counts.
pub(super) fn pins(net: &Net, bridge: &IfName, observed: &Observed) -> BTreeMap<Mac, Pin> {
    let here = |name: &IfName| {
        let link = observed.links.get(name).filter(|link| !is_ours(name, link) && is_plain(name));
        let port = link.and_then(|link| link.port.as_ref());
        port.is_some_and(|port| port.bridge == *bridge) && !net.guests.contains_key(name)
    };
    let loaded = observed.fence.loaded();
    let before = |mac: &Mac| loaded?.pins.get(&(bridge.clone(), *mac)).map(|pin| pin.interface.clone());
    let entries = observed.bridge_fdb.get(bridge);
    let spoken = |mac: &Mac| entries.and_then(|entries| entries.get(mac)).map(|entry| entry.port.clone());
    let pin = |mac: &Mac| {
        let before = before(mac);
        let held = before.clone().filter(here).or_else(|| spoken(mac).filter(here));
        let gone = || before.clone().filter(|name| !observed.links.contains_key(name));
        let there = held.clone().map(|interface| Pin { interface, here: true });
        there.or_else(|| gone().map(|interface| Pin { interface, here: false }))
    };
    net.loose.iter().filter_map(|mac| Some((*mac, pin(mac)?))).collect()
}

/// True where what is for an address that the bridge does not know goes to interfaces that no port names. It must while a guest has never
/// spoken whose port names no interface: nobody knows behind which it is, and it may wait to be asked. Otherwise whoever is asked
/// for is known, or not there, and what is for a guest that is not there is nobody else's to read.
pub(super) fn floods(net: &Net, bridge: &IfName, observed: &Observed) -> bool {
    net.floods_unknown || {
        let pins = pins(net, bridge, observed);
        net.loose.iter().any(|mac| !pins.contains_key(mac))
    }
}

/// Guests whose ports name an interface: they stay with it, whatever else enters the bridge.
pub(super) fn named(slice: &Slice, key: &NetKey) -> BTreeMap<IfName, BTreeSet<Mac>> {
    let mut pins: BTreeMap<IfName, BTreeSet<Mac>> = BTreeMap::new();
    for (row_key, row) in slice.rows_of(key).filter(|(k, row)| row.node == slice.node && k.mac.is_unicast()) {
        if let Some(name) = row.interface.as_ref().filter(|name| may_be_guests(name)) {
            pins.entry(name.clone()).or_default().insert(row_key.mac);
        }
    }
    pins
}

/// Addresses of the guests on this node whose ports name no interface.
pub(super) fn loose(slice: &Slice, key: &NetKey) -> BTreeSet<Mac> {
    let rows = slice.rows_of(key).filter(|(k, row)| row.node == slice.node && k.mac.is_unicast());
    let known = interfaces(slice, key);
    rows.map(|(key, _)| key.mac).filter(|mac| !known.contains_key(mac)).collect()
}

/// The interface of each guest on this node that some port of it names. A guest has one port for each VLAN; they are one guest, behind one
/// interface, and its address is held to that.
fn interfaces<'a>(slice: &'a Slice, key: &'a NetKey) -> BTreeMap<Mac, &'a IfName> {
    let rows = slice.rows_of(key).filter(|(_, row)| row.node == slice.node);
    let mut known = BTreeMap::new();
    for (row_key, name) in rows.filter_map(|(row_key, row)| Some((row_key, row.interface.as_ref()?))) {
        known.entry(row_key.mac).or_insert(name);
    }
    known
}

/// The entries that can be set now: those of interfaces that stand in the bridge.
pub(super) fn pinned(net: &Net, bridge: &IfName, observed: &Observed) -> BTreeMap<Mac, BridgeEntry> {
    let here = move |name: &IfName| {
        observed.links.get(name).and_then(|link| link.port.as_ref()).is_some_and(|port| port.bridge == *bridge)
    };
    let entry = |port: &IfName| BridgeEntry { port: port.clone(), hold: Hold::Pinned };
    let there = net.guests.iter().filter(move |(name, _)| here(name));
    let named = there.flat_map(|(name, macs)| macs.iter().map(move |mac| (*mac, entry(name))));
    let spoken = pins(net, bridge, observed).into_iter().filter(|(_, pin)| pin.here);
    spoken.map(|(mac, pin)| (mac, entry(&pin.interface))).chain(named).collect()
}

/// True for a name that a guest's interface can have: one that a filter can hold, and none of our own devices.
pub fn may_be_guests(name: &IfName) -> bool {
    is_plain(name) && names::parse(name.as_str()).is_none()
}

/// True for a name that means itself in a filter: quotes would end it, and a star stand for other names.
pub fn is_plain(name: &IfName) -> bool {
    name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b))
}

fn unusable(key: &NetKey, mac: Mac, name: &IfName) -> Finding {
    Finding::new(
        "M0613",
        format!(
            "network {key}: the port with {mac} names the interface {name:?}, which no packet filter can name, or which is a device of vxmesh"
        ),
        "rename it with letters, digits, '.', '-', '_' and '@' only; until then it is shut",
    )
    .cuts(Cut::guests(true, [&(key.clone(), mac)]))
}

/// Two guests of a network on this node that no interface is known of: until each has spoken, the other may take its place.
fn crowded(key: &NetKey, loose: &BTreeSet<Guest>) -> Option<Finding> {
    let macs: BTreeSet<Mac> = loose.iter().map(|guest| guest.mac).collect();
    let mut some = macs.iter().take(2).map(Mac::to_string);
    let (first, second) = (some.next()?, some.next()?);
    let what = format!(
        "network {key}: {} ports on this node name no interface ({first}, {second}...): until a guest has spoken, another guest of \
         this node may take its address",
        macs.len()
    );
    Some(
        Finding::new("M0614", what, "say behind which interface each of them is: meshctl port set PORT --interface IF")
            .harmless(),
    )
}

#[cfg(test)]
#[path = "fence_tests.rs"]
mod tests;
