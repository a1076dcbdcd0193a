//! Which interface is plugged into which network. A bridge that goes takes its plugs with it; what stood in it is remembered by the
//! kernel's number of it, so that it goes back where it was, and an interface that takes over a name does not take over its place.
//!
//! An interface that a port names belongs into the bridge of that port's network, and is put there whenever it stands nowhere or in
//! another bridge of ours. One that no port names belongs where its operator has put it: it is put back only where its bridge went,
//! not where somebody pulled it out. What stands in a bridge of others, or is a part of anything else, is never touched.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::desired::{Desired, Kind, Link, Observed, Place};
use super::names;
use super::op::Op;
use super::reconcile::{blocked, is_ours};
use crate::table::{NetKey, Slice};
use crate::types::{IfName, NetworkId};

/// Most interfaces that are remembered.
pub const MOST: usize = 8192;

/// Where an interface stood last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plug {
    /// The kernel's number of the interface.
    pub index: u32,
    /// The network of the bridge.
    pub net: NetKey,
    /// Its name, where the node hosts it: it stays where VNI or overlay become others.
    pub network: Option<NetworkId>,
    /// The bridge.
    pub bridge: IfName,
    /// The kernel's number of the bridge.
    pub bridge_index: u32,
}

/// All that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plugs {
    known: BTreeMap<IfName, Plug>,
    /// What the kernel did not let be plugged, where it stood then, and why.
    refused: BTreeMap<IfName, (Place, String)>,
}

impl Plugs {
    /// Begins with what an earlier process remembered.
    pub fn with(known: BTreeMap<IfName, Plug>) -> Self {
        Self { known, refused: BTreeMap::new() }
    }

    /// What is remembered.
    pub const fn known(&self) -> &BTreeMap<IfName, Plug> {
        &self.known
    }

    /// Why an interface could not be plugged.
    pub fn why(&self, name: &IfName) -> Option<&str> {
        self.refused.get(name).map(|(_, why)| why.as_str())
    }

    /// Remembers what stands where. Forgotten is what has gone, what stands in something of others, and what somebody has pulled out
    /// of a bridge that is still there.
    pub fn learn(&mut self, slice: &Slice, observed: &Observed) {
        self.known.retain(|name, plug| stays(name, plug, observed));
        self.refused.retain(|name, (place, _)| observed.places.get(name) == Some(place));
        for (name, link) in &observed.links {
            let Some(plug) = plug_of(slice, observed, name, link) else { continue };
            let room = self.known.len() < MOST;
            match self.known.get_mut(name) {
                // The network is no longer in the slice: what it was called is still known.
                Some(known) if known.net == plug.net && plug.network.is_none() => {
                    *known = Plug { network: known.network.take(), ..plug };
                }
                Some(known) => *known = plug,
                None if room => drop(self.known.insert(name.clone(), plug)),
                None => {}
            }
        }
    }

    /// The steps that put what is astray where it belongs. What the kernel has refused is not tried again while it stands where it
    /// stood then.
    pub fn steps(&self, slice: &Slice, desired: &Desired, observed: &Observed) -> Vec<Op> {
        let blocked = blocked(desired, observed);
        let named = desired.fence.named.iter().filter_map(|(name, places)| {
            let (bridge, _) = places.iter().next().filter(|_| places.len() == 1)?;
            Some((name, bridge))
        });
        let loose = self.known.iter().filter(|(name, _)| !desired.fence.named.contains_key(*name));
        let loose = loose.filter_map(|(name, plug)| Some((name, home(slice, desired, plug)?)));
        let astray = named.chain(loose).filter(|(name, bridge)| {
            let Some(place) = observed.places.get(*name) else { return false };
            may_be_plugged(name, place, desired, observed)
                && place.master.as_deref() != Some(bridge.as_str())
                && desired.networks.contains_key(*bridge)
                && !blocked.contains_key(*bridge)
                && !self.refused.contains_key(*name)
        });
        astray.map(|(name, bridge)| Op::Plug { name: name.clone(), bridge: bridge.clone() }).collect()
    }

    /// The kernel does not let an interface be plugged.
    pub fn refuse(&mut self, name: &IfName, observed: &Observed, why: String) {
        if let Some(place) = observed.places.get(name) {
            self.refused.insert(name.clone(), (place.clone(), why));
        }
    }

    /// What was refused may be tried again.
    pub fn forgive(&mut self) {
        self.refused.clear();
    }
}

/// The steps that give bridges of ours their names back, which somebody has renamed.
pub fn renames(desired: &Desired, observed: &Observed) -> Vec<Op> {
    let free = |bridge: &IfName| !observed.places.contains_key(bridge) && !observed.links.contains_key(bridge);
    let renamed = desired.networks.iter().filter(|(bridge, _)| free(bridge)).filter_map(|(bridge, net)| {
        let alias = names::alias(&net.key);
        let is_it = |(name, link): &(&IfName, &Link)| {
            names::parse(name.as_str()).is_none()
                && matches!(link.kind, Kind::Bridge(_))
                && link.alias.as_ref() == Some(&alias)
        };
        let (name, _) = observed.links.iter().find(is_it)?;
        Some(Op::Rename { name: name.clone(), to: bridge.clone() })
    });
    renamed.collect()
}

/// Bridges of ours that nothing asks for any more and that guests are plugged into, with these guests.
pub fn parked<'a>(
    observed: &'a Observed,
    wanted: impl Fn(&IfName) -> bool,
) -> BTreeMap<&'a IfName, BTreeSet<&'a IfName>> {
    let mut parked: BTreeMap<&IfName, BTreeSet<&IfName>> = BTreeMap::new();
    for (name, link) in observed.links.iter().filter(|(name, link)| !is_ours(name, link)) {
        let Some(port) = &link.port else { continue };
        let Some((bridge, link)) = observed.links.get_key_value(&port.bridge) else { continue };
        if is_ours(bridge, link) && !wanted(bridge) {
            parked.entry(bridge).or_default().insert(name);
        }
    }
    parked
}

/// True for a bridge that says of itself that it is ours, whatever it is called.
pub(super) fn says_ours(bridge: &str, observed: &Observed) -> bool {
    let link = bridge.parse::<IfName>().ok().and_then(|name| observed.links.get(&name));
    link.is_some_and(|link| matches!(link.kind, Kind::Bridge(_)) && link.network().is_some())
}

/// What stands nowhere, or in a bridge of ours. Never what carries this node's own traffic.
fn may_be_plugged(name: &IfName, place: &Place, desired: &Desired, observed: &Observed) -> bool {
    let carries = [&desired.guard.admin, &desired.guard.external].into_iter().flatten().any(|s| s.interface == *name);
    let ours = names::parse(name.as_str()).is_some() || says_ours(name.as_str(), observed);
    let free = place.master.as_ref().is_none_or(|master| says_ours(master, observed));
    free && !ours && !carries && name.as_str() != "lo"
}

/// The bridge of the network that an interface stood in.
fn home<'a>(slice: &Slice, desired: &'a Desired, plug: &Plug) -> Option<&'a IfName> {
    let is_it = |net: &&super::desired::Net| match &plug.network {
        Some(name) => slice.networks.get(&net.key).is_some_and(|network| network.name == *name),
        None => net.key == plug.net,
    };
    desired.networks.iter().find(|(_, net)| is_it(net)).map(|(bridge, _)| bridge)
}

fn plug_of(slice: &Slice, observed: &Observed, name: &IfName, link: &Link) -> Option<Plug> {
    let bridge = link.port.as_ref().map(|port| &port.bridge).filter(|_| !is_ours(name, link))?;
    let of = observed.links.get(bridge).filter(|link| matches!(link.kind, Kind::Bridge(_)))?;
    let net = of.network()?;
    let network = slice.networks.get(&net).map(|network| network.name.clone());
    let index = observed.places.get(name)?.index;
    let bridge_index = observed.places.get(bridge)?.index;
    // A device of ours by another name is no guest.
    let guest = names::parse(name.as_str()).is_none() && link.network().is_none();
    guest.then(|| Plug { index, net, network, bridge: bridge.clone(), bridge_index })
}

fn stays(name: &IfName, plug: &Plug, observed: &Observed) -> bool {
    let Some(place) = observed.places.get(name).filter(|place| place.index == plug.index) else { return false };
    match &place.master {
        None => observed.places.get(&plug.bridge).is_none_or(|bridge| bridge.index != plug.bridge_index),
        Some(master) => says_ours(master, observed),
    }
}

#[cfg(test)]
#[path = "plugs_tests.rs"]
mod tests;
