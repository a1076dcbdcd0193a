//! `learning: local`: a guest that another node has in the table, and that is heard behind an interface of this one. Its address is pinned to
//! the port that leads to the other node, so the bridge does not learn it here, and without a word nobody would ever know that it has moved.
//! This node claims it all the same. Whether it moves is not for this node to say, nor for management: the node that has it asks the guest
//! ([`super::questions`]), and lets go of one that does not answer.
//!
//! What is heard is a set of the packet filter that is filled where an address is heard for the first time in five minutes
//! (`fence_rules`), so ordinary frames cost nothing more. Of a guest of another node it is forgotten there when it was read, and
//! the next frame is told again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::discover::Guest;
use crate::api::local::Finding;
use crate::api::stream::FoundPort;
use crate::table::{Learning, NetKey, Row, Slice};
use crate::types::{IfName, Mac, Mono};

/// How long a claim stands after the guest was last heard.
const LASTS: Duration = Duration::from_secs(30);
/// How often it is seen whether a guest that is claimed is still heard: each time the packet filter is changed.
const FORGET: Duration = Duration::from_secs(10);
/// How long a claim may take before it is told that it is not granted: the other node asks for a second, and tables follow.
const GRANTED: Duration = Duration::from_secs(6);
/// How often a claim is said again while it stands: management forgets one that is not (`mgmt::found`).
const REPEATED: Duration = Duration::from_secs(5);
/// How long a guest that this node has let go is claimed only behind the interface that it was behind, and not at all where it did not answer
/// there: management gives it back (`mgmt::found::BACK`), and another guest that speaks as it at once is not to get it so.
const RESTS: Duration = Duration::from_secs(8);
/// Most claims of one interface, and of all of them. A guest that joins two networks has as many as these have guests.
const OF_INTERFACE: usize = 16;
const MOST: usize = 256;
/// Claims that findings name one by one.
const NAMED: usize = 8;

/// A guest of another node that is heard here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    /// Behind this interface.
    interface: IfName,
    since: Mono,
    last: Mono,
    /// When it was last forgotten in the filter.
    forgotten: Option<Mono>,
}

/// A guest that was let go.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rest {
    since: Mono,
    /// May come back behind this interface at once.
    behind: Option<IfName>,
    /// Was heard behind this one meanwhile.
    heard: Option<IfName>,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    all: BTreeMap<Guest, Claim>,
    /// Guests that this node has let go.
    rest: BTreeMap<Guest, Rest>,
    /// What the filter is to tell again: it was heard too soon.
    again: Vec<(IfName, Mac)>,
    /// When the claims were last said again.
    said: Option<Mono>,
}

/// The row of a guest that a network with `learning: local` has on another node. Tagged guests have none: they are held to no port.
pub(super) fn elsewhere<'a>(slice: &'a Slice, (net, mac): &'a Guest) -> Option<&'a Row> {
    let learns = slice.networks.get(net).is_some_and(|network| network.learning == Learning::Local);
    let (mac, mut rows) = (*mac, slice.rows_of(net).filter(|(key, _)| learns && key.vlan.is_none()));
    rows.find(|(key, _)| key.mac == mac).map(|(_, row)| row).filter(|row| row.node != slice.node)
}

impl Claims {
    /// Takes what was heard behind guests' interfaces.
    pub fn learn(&mut self, slice: &Slice, places: &BTreeMap<IfName, NetKey>, spoken: &[(IfName, Mac)], now: Mono) {
        for (interface, mac) in spoken {
            let Some(guest) = places.get(interface).map(|net| (net.clone(), *mac)) else { continue };
            if elsewhere(slice, &guest).is_none() {
                continue;
            }
            if let Some(rest) = self.rest.get_mut(&guest).filter(|rest| rest.behind.as_ref() != Some(interface)) {
                rest.heard = Some(interface.clone());
                continue;
            }
            let of_interface = self.all.values().filter(|claim| claim.interface == *interface).count();
            let room = of_interface < OF_INTERFACE && self.all.len() < MOST;
            match self.all.get_mut(&guest) {
                Some(claim) if claim.interface == *interface => claim.last = now,
                None if room => {
                    let claim = Claim { interface: interface.clone(), since: now, last: now, forgotten: None };
                    self.all.insert(guest, claim);
                }
                // Heard behind two interfaces of this node it is no guest that has moved here.
                Some(_) | None => {}
            }
        }
    }

    /// What is to be forgotten in the filter, so that it is told again when it is heard again.
    pub fn forget(&mut self, now: Mono) -> Vec<(IfName, Mac)> {
        let due = self.all.iter_mut().filter(|(_, claim)| claim.forgotten.is_none_or(|at| now.since(at) >= FORGET));
        let forget = |((_, mac), claim): (&Guest, &mut Claim)| {
            claim.forgotten = Some(now);
            (claim.interface.clone(), *mac)
        };
        std::mem::take(&mut self.again).into_iter().chain(due.map(forget)).collect()
    }

    /// Takes out the claims that are granted: the table has these guests on this node.
    pub fn granted(&mut self, slice: &Slice) -> Vec<(FoundPort, IfName)> {
        let here = |(net, mac): &Guest| {
            let mut rows = slice.rows_of(net).filter(|(_, row)| row.node == slice.node);
            rows.any(|(key, _)| key.mac == *mac && key.vlan.is_none())
        };
        let granted: Vec<Guest> = self.all.keys().filter(|guest| here(guest)).cloned().collect();
        let take = |guest: Guest| {
            let interface = self.all.remove(&guest)?.interface;
            Some((FoundPort { network: guest.0, mac: guest.1, ips: BTreeSet::new() }, interface))
        };
        granted.into_iter().filter_map(take).collect()
    }

    /// Ends the claims of guests that are not heard any more, whose interface is in no bridge of ours, and that the bridge has learned here.
    pub fn end(&mut self, places: &BTreeMap<IfName, NetKey>, found: &BTreeSet<Guest>, now: Mono) {
        let over = self.rest.extract_if(.., |_, rest| now.since(rest.since) >= RESTS);
        self.again.extend(over.filter_map(|((_, mac), rest)| Some((rest.heard?, mac))));
        self.all.retain(|guest, claim| {
            let here = places.get(&claim.interface) == Some(&guest.0);
            here && now.since(claim.last) < LASTS && !found.contains(guest)
        });
    }

    /// This node has let go of a guest. `behind`: its interface, where that has gone; none where the guest did not answer.
    pub fn let_go(&mut self, guest: &Guest, behind: Option<&IfName>, now: Mono) {
        if self.rest.len() < MOST || self.rest.contains_key(guest) {
            self.rest.insert(guest.clone(), Rest { since: now, behind: behind.cloned(), heard: None });
        }
    }

    /// True where claims stand that have to be said again now.
    pub fn repeat(&mut self, now: Mono) -> bool {
        if self.all.is_empty() {
            self.said = None;
            return false;
        }
        // What is new is said as such.
        let due = now.since(*self.said.get_or_insert(now)) >= REPEATED;
        if due {
            self.said = Some(now);
        }
        due
    }

    /// What is claimed. What addresses such a guest has is found when it is known to be here.
    pub fn ports(&self) -> impl Iterator<Item = FoundPort> {
        self.all.keys().map(|(network, mac)| FoundPort { network: network.clone(), mac: *mac, ips: BTreeSet::new() })
    }

    /// Claims that are not granted.
    pub fn findings(&self, slice: &Slice, now: Mono) -> Vec<Finding> {
        let waits = self.all.iter().filter(|(_, claim)| now.since(claim.since) >= GRANTED);
        let waits: Vec<_> = waits.filter_map(|(guest, claim)| Some((guest, claim, elsewhere(slice, guest)?))).collect();
        let one = |((net, mac), claim, row): &(&Guest, &Claim, &Row)| {
            let what = format!(
                "network {net}: the guest {mac} is heard behind {} here, and the table has it on {}, which has not let it go: two guests have \
                 one address, a guest joins two networks, or it has moved and its old node cannot tell",
                claim.interface, row.node
            );
            let help = format!(
                "if it has moved, on {}: ip link set dev IF nomaster, with its old interface; otherwise give one of the two another address",
                row.node
            );
            Finding::new("M0698", what, help)
        };
        let mut findings: Vec<Finding> = waits.iter().take(NAMED).map(one).collect();
        if waits.len() > NAMED {
            let what = format!("as many as {} more guests of other nodes are heard here", waits.len() - NAMED);
            findings.push(Finding::new("M0698", what, "meshctl status on the nodes that have them"));
        }
        findings
    }
}

#[cfg(test)]
#[path = "contest_tests.rs"]
mod tests;
