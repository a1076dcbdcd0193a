//! What guests go on sending and their port does not let through, by kind: tags, protocols, a router's or DHCP server's word, link protocols, more
//! broadcast and multicast than they may. It is told while it goes on; values are told elsewhere ([`super::wrongs`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::desired::Desired;
use super::fence::Refused;
use super::paths;
use super::presence::{Wrong, bounded, name_of};
use super::wrongs::ports;
use crate::api::list::named;
use crate::api::local::Finding;
use crate::policy::path::Outer;
use crate::table::{NetKey, Peer, PortRole, Row, Slice};
use crate::types::{GroupRate, IfName, Mono, NodeId, Vlan};

/// Frames that make it more than a slip.
pub(super) const REPEATED: u64 = 2;
/// Interfaces and reasons that are remembered at most.
const MOST: usize = 256;
/// How long it is told after the last frame; LLDP comes every 30 s (IEEE 802.1AB-2016 section 9.2.5.7).
pub(super) const QUIET: Duration = Duration::from_secs(60);
/// The same where it comes by the thousand.
const QUIET_FLOOD: Duration = Duration::from_secs(15);
/// What was sent before a port was changed is read this late.
const STALE: Duration = Duration::from_secs(10);
const FLOOD: &str = "flood";
/// Code of a guest that goes on sending what is not carried for it.
pub(super) const SENDS: &str = "M0684";

/// Reason; what the guest sends; what to do. `PORT` is its port, `IF` its interface.
const KINDS: [(&str, &str, &str); 6] = [
    (
        "vlan",
        "frames with a tag that no port of it has",
        "declare the tag: meshctl port create NAME --vlan N ..., or take it away in the guest",
    ),
    (
        "type",
        "frames that are neither IPv4, IPv6 nor ARP",
        "what it is: nft list set bridge vxmesh_guests by_type; tcpdump -eni IF; this network carries nothing else, one that finds its guests by \
         itself does: meshctl network create NAME --overlay OVERLAY --vni N --learning local",
    ),
    (
        "router",
        "router advertisements, redirects or errors about packets of others",
        "if it is a router: meshctl port set PORT --role router",
    ),
    ("dhcp", "answers of a DHCP server", "if it is a DHCP server: meshctl port set PORT --role dhcp"),
    (
        "group",
        "frames of link protocols (01:80:c2:00:00:00 to 0f: LLDP, STP, LACP, 802.1X)",
        "they end at the guest's interface; switch them off in the guest",
    ),
    (
        FLOOD,
        "more broadcast and multicast frames than",
        "let it: meshctl port set PORT --group-rate N; or find out what it is: tcpdump -eni IF",
    ),
];

/// What one interface sends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sends {
    frames: u64,
    /// So many of them were sent before the port was changed.
    before: u64,
    last: Mono,
    /// What the ports behind the interface may do of it, as of the last look.
    may: Option<May>,
    /// Until when what is read is of before the port was changed.
    stale: Option<Mono>,
    /// The network that it was in when it was first seen in one.
    place: Option<NetKey>,
}

/// What a port says that bears on a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
enum May {
    Role(bool),
    Tags(BTreeSet<Vlan>),
    Rate(u32),
    Never,
}

impl May {
    /// What the ports of this node behind an interface may do, and those that name none.
    fn of(slice: &Slice, net: &NetKey, interface: &IfName, reason: &str) -> Self {
        let named = |row: &Row| row.interface.as_ref().is_none_or(|named| named == interface);
        let mut rows = slice.rows_of(net).filter(|(_, row)| row.node == slice.node && named(row));
        match reason {
            "router" => Self::Role(rows.any(|(_, row)| row.role.has(PortRole::Router))),
            "dhcp" => Self::Role(rows.any(|(_, row)| row.role.has(PortRole::Dhcp))),
            "vlan" => Self::Tags(rows.filter_map(|(key, _)| key.vlan).collect()),
            FLOOD => Self::Rate(group_rate(slice, net, interface)),
            _ => Self::Never,
        }
    }
}

/// All of them, by interface and reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Barred(BTreeMap<(IfName, &'static str), Sends>);

impl Barred {
    /// Takes what was counted for a reason.
    pub fn learn(&mut self, refused: &[Refused], now: Mono) {
        for Refused { interface, reason, frames, .. } in refused {
            if !KINDS.iter().any(|(of, ..)| of == reason) {
                continue;
            }
            let key = (interface.clone(), *reason);
            if let Some(sends) = self.0.get_mut(&key) {
                // A counter that begins anew has been moved as well.
                if sends.frames != *frames {
                    sends.last = now;
                }
                sends.frames = *frames;
                sends.before = if sends.stale.is_some() { *frames } else { sends.before.min(*frames) };
            } else if self.0.len() < MOST {
                let sends = Sends { frames: *frames, before: 0, last: now, may: None, stale: None, place: None };
                self.0.insert(key, sends);
            }
        }
    }

    /// Forgets what has ended, and interfaces that stand elsewhere now. What an interface has sent that nobody had seen yet is not forgotten:
    /// it may have said all when it was plugged in.
    pub fn end(&mut self, places: &BTreeMap<IfName, NetKey>, now: Mono) {
        let quiet = |reason: &str| if reason == FLOOD { QUIET_FLOOD } else { QUIET };
        self.0.retain(|(name, reason), sends| {
            let (place, before) = (places.get(name), sends.place.clone());
            sends.place = before.clone().or_else(|| place.cloned());
            now.since(sends.last) < quiet(reason) && (before.is_none() || before.as_ref() == place)
        });
    }

    /// Forgets what was sent before a port was changed in what bears on it: what comes from then on is judged anew.
    pub fn settle(&mut self, slice: &Slice, places: &BTreeMap<IfName, NetKey>, now: Mono) {
        for ((interface, reason), sends) in &mut self.0 {
            let Some(net) = places.get(interface) else { continue };
            sends.stale = sends.stale.filter(|until| now < *until);
            let may = May::of(slice, net, interface, reason);
            if sends.may.as_ref().is_some_and(|before| *before != may) {
                (sends.before, sends.stale) = (sends.frames, Some(now + STALE));
            }
            sends.may = Some(may);
        }
    }

    /// What is refused.
    pub fn findings(&self, slice: &Slice, desired: &Desired, places: &BTreeMap<IfName, NetKey>) -> Vec<Finding> {
        let mut all: BTreeMap<(&'static str, &'static str), BTreeSet<(String, String)>> = BTreeMap::new();
        for ((interface, reason), _) in self.0.iter().filter(|(_, sends)| sends.frames - sends.before >= REPEATED) {
            let (Some(net), Some(kind)) = (places.get(interface), KINDS.iter().find(|(of, ..)| of == reason)) else {
                continue;
            };
            let code = if *reason == FLOOD { "M0682" } else { SENDS };
            all.entry((code, *reason)).or_default().insert(told(slice, desired, net, interface, *kind));
        }
        all.into_iter().flat_map(|((code, _), told)| bounded(code, told.into_iter().map(wrong).collect())).collect()
    }
}

/// The rest of what the guest says passes.
pub(super) fn wrong((what, help): (String, String)) -> Wrong {
    Wrong { what, help, guests: Vec::new(), surely: false, away: false, from: None }
}

fn told(
    slice: &Slice,
    desired: &Desired,
    net: &NetKey,
    interface: &IfName,
    (reason, sends, help): (&str, &str, &str),
) -> (String, String) {
    if let Some(told) = of_nodes(slice, desired, net, interface, (reason, sends)) {
        return told;
    }
    let own = ports(slice, desired, net, interface);
    let who = own.as_ref().map_or_else(|| interface.to_string(), |(port, _)| format!("{port} ({interface})"));
    let rate = || format!(" the {} a second that it may", group_rate(slice, net, interface));
    let sends = if reason == FLOOD { sends.to_owned() + &rate() } else { sends.to_owned() };
    let fate = if reason == FLOOD { "the rest is dropped" } else { "they are dropped" };
    let what = format!("{who} in network {} sends {sends}; {fate}", name_of(slice, net));
    let port = own.as_ref().map_or("PORT", |(port, _)| port.argument());
    (what, help.replace("PORT", port).replace("IF", interface.as_str()))
}

/// What comes by a vxlan device, which no guest is behind: one of the nodes that send there lets it out.
fn of_nodes(
    slice: &Slice,
    desired: &Desired,
    net: &NetKey,
    interface: &IfName,
    (reason, sends): (&str, &str),
) -> Option<(String, String)> {
    let (bridge, network) = desired.networks.iter().find(|(_, one)| one.vxlan.as_ref() == Some(interface))?;
    let vteps: BTreeSet<_> = network.flood.iter().chain(network.vxlan_fdb.values()).map(|vtep| vtep.address).collect();
    let sends_here = |peer: &Peer| {
        let own = [Outer::Admin, Outer::External].map(|outer| paths::vtep(peer, outer));
        own.into_iter().flatten().any(|address| vteps.contains(&address))
    };
    let nodes: Vec<&NodeId> = slice.peers.iter().filter(|(_, peer)| sends_here(peer)).map(|(node, _)| node).collect();
    let who = match nodes.as_slice() {
        [] => "another node".to_owned(),
        [node] => format!("node {node}"),
        nodes => format!("one of the nodes {}", named(nodes.iter(), 4)),
    };
    let sends = if reason == FLOOD { "more broadcast and multicast frames than it may" } else { sends };
    let what = format!(
        "{who} lets {sends} out by the plain path (they come by {interface}) in network {}; they are dropped here",
        name_of(slice, net)
    );
    let help = if reason == "group" {
        format!(
            "there: ip -d link show {bridge} | grep stp_state, which has to be 0; meshctl events says who changed it"
        )
    } else {
        "there: meshctl status, which names the guest".to_owned()
    };
    Some((what, help))
}

/// What ports behind an interface may send.
fn group_rate(slice: &Slice, net: &NetKey, interface: &IfName) -> u32 {
    let usual = slice.networks.get(net).map_or(GroupRate::USUAL, |network| network.group_rate());
    let of = |row: &Row| row.group_rate.map_or(usual, GroupRate::get);
    let rows = slice.rows_of(net).filter(|(_, row)| row.interface.as_ref() == Some(interface));
    rows.map(|(_, row)| of(row)).max().unwrap_or(usual)
}

#[cfg(test)]
#[path = "barred_tests.rs"]
mod tests;
