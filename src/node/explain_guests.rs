//! The part of an explanation that is about now: whether the guests at both ends are where they belong, whether bridge and devices are as
//! planned, and what the filters refuse of them. It is added to what the table says: that goes on to say what would happen.

use std::net::IpAddr;
use std::time::Duration;

use super::barriers::{self, AT_PORT, DROPS_FRAMES};
use super::names::{self, Device};
use super::presence::{At, Here, PLACE, Presence};
use super::wrongs::{SAYS, SENDS};
use crate::api::local::{Explanation, Finding, Step};
use crate::table::{RowKey, Slice};
use crate::types::{NodeId, PortId, Vlan};

/// A guest that was heard so lately sends from its own address.
const LATELY: Duration = Duration::from_secs(60);

/// What a node knows of now.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// Its slice.
    pub slice: &'a Slice,
    /// Where its guests are.
    pub presence: &'a Presence,
    /// What is wrong with the kernel; nothing where it follows the plan.
    pub kernel: &'a [Finding],
    /// Devices of others in the way, and what else is wrong with this host; what keeps a network from being built begins with its name.
    pub conflicts: &'a [Finding],
    /// What guests say and may not.
    pub guests: &'a [Finding],
}

/// Adds what this node sees to an explanation of a frame from one of its ports.
pub fn add(explanation: &mut Explanation, now: Now<'_>) {
    let mut steps = Vec::new();
    let from = row_of(now.slice, &explanation.from);
    steps.extend(from.and_then(|key| guest(now, key, &format!("port {}", explanation.from))));
    // The other end, where it is here too.
    let net = from.map(RowKey::net);
    let target = net
        .as_ref()
        .zip(explanation.mac)
        .and_then(|(net, mac)| now.slice.rows_of(net).find(|(key, row)| key.mac == mac && row.node == now.slice.node));
    let there = target.and_then(|(key, row)| {
        let name = row.port.as_ref().map_or_else(|| format!("guest {}", key.mac), |port| format!("port {port}"));
        guest(now, key, &name)
    });
    steps.extend(from.map(|key| kernel(now, key, target.is_some())));
    insert(explanation, steps, there);
}

/// Adds what nodes have told of the two ports to what the table says of them.
pub fn add_told(explanation: &mut Explanation, from: &[Finding], to: Option<(&PortId, &[Finding])>) {
    let sender = explanation.from.clone();
    let first = told(&sender, from);
    let there = to.and_then(|(port, findings)| told(port, findings));
    insert(explanation, first.into_iter().collect(), there);
}

/// Adds what a node has told of its host, if that drops frames between guests. `ipv6`: what is sent, where that is known.
pub fn add_host(explanation: &mut Explanation, node: &NodeId, findings: &[Finding], ipv6: Option<bool>) {
    let finding = findings.iter().find(|finding| finding.code == DROPS_FRAMES);
    let Some(finding) = finding.filter(|finding| barriers::is_about(finding, ipv6)) else { return };
    let text = format!("on {node}: {} {}", finding.code, finding.what);
    explanation.steps.push(step("devices", false, text));
    explanation.delivered = false;
}

/// Behind the step about the port comes what is there now; what is at the other end comes last.
fn insert(explanation: &mut Explanation, first: Vec<Step>, last: Option<Step>) {
    let passes = first.iter().chain(&last).all(|step| step.passes);
    explanation.delivered &= passes;
    let at = explanation.steps.iter().position(|step| step.what == "port").map_or(0, |at| at + 1);
    explanation.steps.splice(at..at, first);
    explanation.steps.extend(last);
}

fn row_of<'a>(slice: &'a Slice, port: &PortId) -> Option<&'a RowKey> {
    slice.rows.iter().find(|(_, row)| row.port.as_ref() == Some(port)).map(|(key, _)| key)
}

/// A VLAN in words.
pub(super) fn vlan(vlan: Option<Vlan>) -> String {
    vlan.map_or_else(|| "no VLAN".to_owned(), |vlan| format!("VLAN {vlan}"))
}

/// Where a guest of this node is, and what is refused of it.
fn guest(now: Now<'_>, key: &RowKey, name: &str) -> Option<Step> {
    let here = now.presence.of(&(key.net(), key.mac))?;
    let (passes, text) = place(here);
    let said = here.interface.as_ref().and_then(|interface| {
        let about = format!("({interface})");
        let of = |finding: &&Finding| SAYS.contains(&finding.code.as_str()) && finding.what.contains(&about);
        now.guests.iter().find(of)
    });
    // What it says beside its own is in nobody's way.
    let own = here.heard.is_some_and(|heard| heard <= LATELY);
    let barred = here.interface.as_ref().and_then(|interface| barred(now, interface.as_str()));
    let text = match barred.or(said) {
        Some(finding) => format!("{text}; refused: {} {}", finding.code, finding.what),
        None => text,
    };
    let passes = passes && barred.is_none() && (said.is_none() || own);
    Some(step("guest", passes, format!("{name}: {text}")))
}

/// What drops everything at an interface.
fn barred<'a>(now: Now<'a>, interface: &str) -> Option<&'a Finding> {
    let about = format!(" {interface} in bridge ");
    now.guests.iter().find(|finding| finding.code == AT_PORT && finding.what.contains(&about))
}

fn place(here: &Here) -> (bool, String) {
    let Here { bridge, interface, at, heard } = here;
    let Some(interface) = interface else {
        return (true, format!("its port names no interface, and it has not spoken in {bridge} yet"));
    };
    let heard =
        heard.map_or_else(|| "it has not been heard".to_owned(), |ago| format!("heard {} s ago", ago.as_secs()));
    match at {
        At::Plugged => (true, format!("{interface} stands in {bridge} and is up; {heard}")),
        At::Silent => (true, format!("{interface} has not spoken in {bridge} yet")),
        At::Down => (false, format!("{interface} stands in {bridge} and is down")),
        At::Blocked => (false, format!("{interface} stands in {bridge} and does not forward")),
        At::Isolated => {
            (false, format!("{interface} stands in {bridge} and is isolated from what leads to other nodes"))
        }
        At::Elsewhere(master) => (false, format!("{interface} stands in {master}, which is not ours, not in {bridge}")),
        At::OtherNetwork(other) => {
            (false, format!("{interface} stands in {other} of another network, not in {bridge}"))
        }
        At::Refused(why) => (false, format!("{interface} cannot be put into {bridge}: {why}")),
        At::Hosts => (false, format!("{interface} is this host's own, no guest is taken to be behind it")),
        At::Nowhere => (false, format!("{interface} stands in no bridge, not in {bridge}")),
        At::Absent => (false, format!("there is no interface {interface}")),
    }
}

/// Whether bridge and devices of the network are as planned. What stays on this node passes neither vxlan device nor TAP.
fn kernel(now: Now<'_>, key: &RowKey, stays: bool) -> Step {
    let net = key.net();
    let name = now.slice.networks.get(&net).map(|network| network.name.to_string()).unwrap_or_default();
    let about = format!("network {net}:");
    let of_net = |finding: &&Finding| finding.what.starts_with(&about);
    let port = now.slice.networks.get(&net).map(|network| network.udp_port).filter(|_| !stays);
    let ours = |device| port.and_then(|port| barred(now, names::device(device, net.vni, port).as_str()));
    let barred = || ours(Device::Vxlan).or_else(|| ours(Device::Tap));
    match now.kernel.first().or_else(|| now.conflicts.iter().chain(now.guests).find(of_net)).or_else(barred) {
        Some(finding) => step("devices", false, format!("{} {}", finding.code, finding.what)),
        None => step("devices", true, format!("bridge, devices and filters of {name} are as planned")),
    }
}

/// What a node has told of a port.
fn told(port: &PortId, findings: &[Finding]) -> Option<Step> {
    let heads = [format!("port {port}:"), format!("port {port} (")];
    let about = |finding: &&Finding| heads.iter().any(|head| finding.what.starts_with(head.as_str()));
    let of = |codes: &'static [&'static str]| {
        findings.iter().filter(about).find(move |finding| codes.contains(&finding.code.as_str()))
    };
    let line = |finding: &Finding| format!("{} {}", finding.code, finding.what);
    if let Some(finding) = of(&PLACE) {
        return Some(step("guest", false, line(finding)));
    }
    // Another Ethernet address than its own is all that it sends, most often; another IP address may be one of several.
    of(&SAYS).map(|finding| step("guest", finding.code != SENDS, line(finding)))
}

fn step(what: &str, passes: bool, text: String) -> Step {
    Step { what: what.to_owned(), text, passes }
}

/// True for an IP address that is nobody's: multicast, or the broadcast address of everywhere or of a prefix.
pub(super) fn is_for_all(ip: IpAddr, prefixes: &[crate::types::Prefix]) -> bool {
    let last = |prefix: &crate::types::Prefix| match (prefix.network(), ip) {
        (IpAddr::V4(first), IpAddr::V4(ip)) if prefix.len() < 31 => {
            let host = u32::MAX.checked_shr(u32::from(prefix.len())).unwrap_or_default();
            u32::from(first) | host == u32::from(ip)
        }
        _ => false,
    };
    ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast()) || prefixes.iter().any(last)
}

#[cfg(test)]
#[path = "explain_guests_tests.rs"]
mod tests;
