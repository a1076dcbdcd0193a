//! Bridges of guests that somebody has told to show their frames to the host's packet filters (`nf_call_iptables` and `nf_call_ip6tables` of the
//! bridge): what these drop, the bridge that we cross ourselves ([`super::crossing`]) does not meet.

use std::collections::{BTreeMap, BTreeSet};

use super::attached::bounded;
use super::barriers::{Filters, Ports, is_crossed, sees, words};
use super::verdicts::{Frame, Sure, judge};
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::probe::crossing::{Flow, Protocol};
use crate::table::NetKey;
use crate::types::IfName;

/// Code of a bridge whose frames packet filters of the host drop.
pub const SHOWN: &str = "M0697";

/// What bridges show.
pub type Shown = BTreeMap<IfName, BTreeSet<Protocol>>;
/// What a tool of the older iptables says of its chain FORWARD, by tool.
pub type Legacy = BTreeMap<&'static str, String>;

/// What is wrong. What our own frames lose is told where they are ([`super::barriers`]).
pub fn findings(
    shown: &Shown,
    lost: &BTreeSet<Flow>,
    ports: &Ports,
    filters: &Filters,
    legacy: &Legacy,
) -> Vec<Finding> {
    let networks: BTreeMap<&IfName, &NetKey> = ports.values().map(|place| (&place.bridge, &place.key)).collect();
    let all = shown.iter().flat_map(|(bridge, protocols)| protocols.iter().map(move |protocol| (bridge, *protocol)));
    let open = all.filter(|(_, protocol)| lost.iter().all(|flow| flow.protocol != *protocol));
    let told = open.filter_map(|(bridge, protocol)| {
        let (sure, by) = dropped(bridge, protocol, filters, legacy)?;
        let switch = switch(protocol)?;
        let surely = sure == Sure::Yes;
        let fate = if surely { "are dropped" } else { "are most likely dropped" };
        let what = format!(
            "{protocol} frames on bridge {bridge} {fate} by {by}: this bridge shows them to the packet filters of the host ({switch} 1)"
        );
        let cut = Cut { surely, ipv6: Some(protocol == Protocol::Ipv6), ..Cut::network(networks.get(bridge)?) };
        Some(Finding::new(SHOWN, what, off(bridge, switch)).cuts(cut))
    });
    bounded(told.collect())
}

fn switch(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::Ipv4 => Some("nf_call_iptables"),
        Protocol::Ipv6 => Some("nf_call_ip6tables"),
        Protocol::Arp => None,
    }
}

/// What drops frames of a protocol on a bridge, the surest.
fn dropped(bridge: &IfName, protocol: Protocol, filters: &Filters, legacy: &Legacy) -> Option<(Sure, String)> {
    let bases = filters.bases.iter();
    let bases = bases.filter(|base| base.family != "bridge" && is_crossed(base) && sees(base.family, protocol));
    let by_nft = bases.filter_map(|base| {
        let rules = filters.rules.get(&(base.family, base.table.clone()))?;
        let name = || Some(bridge.to_string());
        let frame = Frame {
            iif: name().filter(|_| base.hook != "postrouting"),
            oif: name().filter(|_| base.hook != "prerouting"),
            bridge: name(),
            protocol: Some(protocol),
            ..Frame::default()
        };
        let drop = judge(rules, &base.name, base.drops, &frame).filter(|drop| drop.sure != Sure::Maybe)?;
        Some((drop.sure, words(base, &drop)))
    });
    by_nft.chain(by_older(protocol, legacy)).min_by_key(|(sure, _)| *sure)
}

/// The older iptables, where it drops frames of a protocol that it is shown.
fn by_older(protocol: Protocol, legacy: &Legacy) -> Option<(Sure, String)> {
    let tool = match protocol {
        Protocol::Ipv4 => "iptables-legacy",
        Protocol::Ipv6 => "ip6tables-legacy",
        Protocol::Arp => return None,
    };
    legacy.get(tool).and_then(|chain| older(chain)).map(|sure| (sure, format!("{tool} -S FORWARD")))
}

/// Tools of the older iptables whose chain FORWARD drops what is lost.
pub(super) fn older_ones(lost: &BTreeSet<Flow>, legacy: &Legacy) -> Vec<String> {
    let protocols: BTreeSet<Protocol> = lost.iter().map(|flow| flow.protocol).collect();
    protocols.into_iter().filter_map(|protocol| Some(by_older(protocol, legacy)?.1)).collect()
}

/// Commands after which no bridge shows frames of what is lost by a switch of its own.
pub(super) fn switches(lost: &BTreeSet<Flow>, shown: &Shown) -> Vec<String> {
    let is_lost = |protocol: &Protocol| lost.iter().any(|flow| flow.protocol == *protocol);
    let all = shown.iter().flat_map(|(bridge, protocols)| protocols.iter().map(move |protocol| (bridge, *protocol)));
    all.filter(|(_, protocol)| is_lost(protocol)).filter_map(|(bridge, of)| Some(off(bridge, switch(of)?))).collect()
}

fn off(bridge: &IfName, switch: &str) -> String {
    format!("ip link set {bridge} type bridge {switch} 0")
}

/// What a chain in the words of `iptables -S` makes of every frame, as far as its first rule and its policy say it.
fn older(chain: &str) -> Option<Sure> {
    let mut rules = chain.lines().filter_map(|line| line.trim().strip_prefix("-A FORWARD ")).map(str::trim);
    let policy = chain.lines().any(|line| line.trim() == "-P FORWARD DROP");
    match rules.next() {
        Some("-j DROP") => Some(Sure::Yes),
        None if policy => Some(Sure::Yes),
        // Unless one of its rules lets them pass.
        Some(_) if policy => Some(Sure::Likely),
        Some(_) | None => None,
    }
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
