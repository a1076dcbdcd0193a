//! The part of an explanation that is about now: whether the guests at both ends are where they belong, whether bridge and devices are as
//! planned, and what the filters refuse of them. It is added to what the table says: that goes on to say what would happen.

use std::net::IpAddr;
use std::time::Duration;

use super::concerns::{self, End, Way};
use super::end::has;
use super::explain::{ExplainError, Target};
use super::presence::{At, Here, Presence, port_of};
use super::wrongs::{self, SAYS};
use crate::api::local::{Explanation, Finding, Step};
use crate::api::stream::{AwayGuest, FoundPort};
use crate::table::{Learning, NetKey, RowKey, Slice};
use crate::types::{Mac, NodeId, Vlan};

/// A guest that was heard so lately sends from its own address.
const LATELY: Duration = Duration::from_secs(60);

/// What a node knows of now.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// Its slice.
    pub slice: &'a Slice,
    /// Where its guests are.
    pub presence: &'a Presence,
    /// Guests that it has found.
    pub found: &'a [FoundPort],
    /// What is wrong, all of it.
    pub findings: &'a [Finding],
}

/// Adds what this node sees to an explanation of a frame from one of its ports.
pub fn add(explanation: &mut Explanation, now: Now<'_>, way: &Way<'_>) {
    let own = &now.slice.node;
    let local = way.to.filter(|(_, row)| row.node == *own);
    let isolated = |key: &RowKey| now.presence.of(&(key.net(), key.mac)).is_some_and(|here| here.at == At::Isolated);
    let meet = local.is_some_and(|(key, _)| !(isolated(way.from) && isolated(key)));
    let name = |key: &RowKey| port_of(now.slice, &key.net(), key.mac).to_string();
    let by_ip = explanation.from.parse::<IpAddr>().is_ok();
    let first = guest(now, way.from, &name(way.from), (meet, by_ip));
    let there = local.and_then(|(key, _)| guest(now, key, &name(key), (meet, false)));
    let mut first: Vec<Step> = first.into_iter().collect();
    if concerns::in_the_way(now.findings, End { direction: None, ..way.near() }).is_empty() {
        let name = now.slice.networks.get(&way.net).map(|network| network.name.to_string()).unwrap_or_default();
        first.push(Step::new("devices", true, format!("bridge, devices and filters of {name} are as planned")));
    }
    first.extend(small(now, way.from, &name(way.from)));
    let small = local.and_then(|(key, _)| small(now, key, &name(key)));
    insert(explanation, first, there.into_iter().chain(small));
    concerns::add(explanation, now.findings, way.near());
    if let Some(far) = way.far(own).filter(|far| far.peer.is_none()) {
        concerns::add(explanation, now.findings, far);
    }
}

/// Adds who uses the address that is asked for where no port has it, as these findings of nodes of the network say.
pub fn add_users(explanation: &mut Explanation, net: &NetKey, to: &Target, findings: &[Finding]) {
    let (Target::Ip(ip), None) = (to, explanation.mac) else { return };
    let here = |finding: &&Finding| {
        let cut = finding.cut.as_ref();
        wrongs::uses(finding, *ip) && cut.is_some_and(|cut| cut.guests.iter().any(|guest| guest.network == *net))
    };
    let said = |what: &str| explanation.steps.iter().any(|step| step.text.contains(what));
    let users: Vec<Step> = findings
        .iter()
        .filter(here)
        .filter(|finding| !said(&finding.what))
        .map(|finding| Step::new("status", false, format!("{} {}: {}", finding.code, finding.what, finding.help)))
        .collect();
    explanation.steps.extend(users);
    concerns::settle(explanation);
}

/// Why a frame from an IP address that no port has cannot be explained where somebody uses it, as these findings say: who it is, and what to do.
pub fn in_use(from: &Target, findings: &[Finding]) -> Option<ExplainError> {
    let Target::Ip(ip) = from else { return None };
    let finding = findings.iter().find(|finding| wrongs::uses(finding, *ip))?;
    let what = format!("no port has the address {ip}, and who uses it is refused: {} {}", finding.code, finding.what);
    Some(ExplainError::Undeclared { what, help: finding.help.clone() })
}

/// Adds which of the two guests is not plugged in at all, as their nodes say. They say it without proof, so it is not certain.
pub fn add_away(explanation: &mut Explanation, way: &Way<'_>, from: &[AwayGuest], to: &[AwayGuest]) {
    let step = |node: &NodeId, away: &[AwayGuest], name: &str, mac: Mac| {
        // The name comes into a command for people, and nobody has proved it.
        let of = |guest: &&AwayGuest| guest.network == way.net && guest.mac == mac && guest.interface.is_plain();
        let interface = &away.iter().find(of)?.interface;
        let text = format!(
            "{node} says that {interface}, the interface of {name}, is not there: most often its guest does not run; on {node}: ip link show dev \
             {interface}"
        );
        Some(Step::open("guest", text))
    };
    let first = step(&explanation.from_node, from, &explanation.from, way.from.mac);
    let last = way.to.and_then(|(key, row)| step(&row.node, to, &explanation.to, key.mac));
    insert(explanation, first.into_iter().collect(), last);
}

/// Adds what nodes have told of the two ends to what the table says of them.
pub fn add_told(explanation: &mut Explanation, way: &Way<'_>, from: &[Finding], to: &[Finding]) {
    let own = explanation.from_node.clone();
    let (before, names) = (explanation.steps.len(), (explanation.from.clone(), explanation.to.clone()));
    concerns::add(explanation, from, way.near());
    let mut asked = own.to_string();
    if let Some((far, (_, row))) = way.far(&own).zip(way.to) {
        concerns::add(explanation, to, far);
        if row.node != own {
            asked = format!("{own} and {}", row.node);
        }
    }
    let away = explanation.steps.iter().any(|step| step.what == "guest");
    if explanation.may_arrive() && explanation.steps.len() == before && !away {
        let (from, to) = names;
        let text = format!(
            "nothing that is in its way is known here of {asked}; whether the path carries now and both guests are plugged in, nodes know: \
             on {own}: meshctl explain {from} {to}"
        );
        explanation.steps.push(Step::new("status", true, text));
    }
}

/// What is said of a guest of this node whose interface takes less than its network's number. The kernel hands nothing larger to any interface,
/// and takes nothing larger from the other end of a `veth` either (`is_skb_forwardable`, net/core/dev.c). Small frames arrive, so it is not certain.
fn small(now: Now<'_>, key: &RowKey, name: &str) -> Option<Step> {
    let network = now.slice.networks.get(&key.net())?;
    let (net, guest) = (&network.name, network.guest_mtu);
    let (interface, mtu) = now.presence.small(&(key.net(), key.mac), guest)?;
    let text = format!(
        "{name}: its interface {interface} has an MTU of {mtu}, guests of {net} have {guest}: larger packets for it end there, and so does what it \
         sends of more where {interface} is a veth; smaller ones pass: ip link set dev {interface} mtu {guest}"
    );
    Some(Step::open("mtu", text))
}

/// Behind the step about the port comes what is there now; what is at the other end comes last.
fn insert(explanation: &mut Explanation, first: Vec<Step>, last: impl IntoIterator<Item = Step>) {
    let at = explanation.steps.iter().position(|step| step.what == "port").map_or(0, |at| at + 1);
    explanation.steps.splice(at..at, first);
    explanation.steps.extend(last);
    concerns::settle(explanation);
}

/// A VLAN in words.
pub(super) fn vlan(vlan: Option<Vlan>) -> String {
    vlan.map_or_else(|| "no VLAN".to_owned(), |vlan| format!("VLAN {vlan}"))
}

/// Where a guest of this node is, and what is refused of it. `meet`: the guest at the other end is on this node too, and they are not both isolated. `by_ip`: what it
/// sends from an IP address of its own is asked for.
fn guest(now: Now<'_>, key: &RowKey, name: &str, (meet, by_ip): (bool, bool)) -> Option<Step> {
    let here = now.presence.of(&(key.net(), key.mac))?;
    let (passes, text) = place(here);
    let passes = passes || meet && here.at == At::Isolated;
    let learnt = now.slice.networks.get(&key.net()).is_some_and(|network| network.learning == Learning::Local);
    let silent = here.at == At::Silent && !(learnt && has(now.found, &key.net(), key.mac));
    let said = here.interface.as_ref().map(|interface| {
        let about = format!("({interface})");
        let of = |finding: &&Finding| SAYS.contains(&finding.code.as_str()) && finding.what.contains(&about);
        now.findings.iter().filter(of).collect::<Vec<_>>()
    });
    let said = said.unwrap_or_default();
    let refused: String = said.iter().map(|finding| format!("; refused: {} {}", finding.code, finding.what)).collect();
    let own = here.heard.is_some_and(|heard| heard <= LATELY);
    // From its own Ethernet address it uses an IP address that it may not: what it sends from its own arrives.
    let beside = !said.is_empty() && said.iter().all(|finding| of_one_address(finding));
    let note = if beside { "; what it sends from its own IP address is not" } else { "" };
    let text = format!("{name}: {text}{refused}{note}");
    let open = passes && (silent || !said.is_empty());
    Some(match (said.is_empty(), open) {
        // Asked for by that address, it is what arrives.
        (false, true) if beside && own && !silent && by_ip => Step::new("guest", true, text),
        // Which it sends is not known.
        (_, true) if silent || own || beside => Step::open("guest", text),
        (none, _) => Step::new("guest", passes && none, text),
    })
}

/// True where the finding is about an IP address alone that a guest may not use.
fn of_one_address(finding: &Finding) -> bool {
    finding.cut.as_ref().is_some_and(|cut| !cut.surely && !cut.from.is_empty())
}

fn place(here: &Here) -> (bool, String) {
    let Here { bridge, interface, at, heard, .. } = here;
    let Some(interface) = interface else {
        return (true, format!("its port names no interface, and it has not spoken in {bridge} yet"));
    };
    let heard =
        heard.map_or_else(|| "it has not been heard".to_owned(), |ago| format!("heard {} s ago", ago.as_secs()));
    let (passes, text) = match at {
        At::Plugged => return (true, format!("{interface} stands in {bridge} and is up; {heard}")),
        At::Silent => return (true, format!("{interface} has not spoken in {bridge} yet")),
        At::Down => (false, format!("{interface} stands in {bridge} and is down")),
        At::Dark => (
            false,
            format!(
                "{interface} stands in {bridge} and has no carrier: its guest has set its own link down, or does not run"
            ),
        ),
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
        At::Absent => (false, format!("there is no interface {interface}: most often its guest does not run")),
    };
    // Each of them is seen by a command here, also what `status` does not tell, or no longer.
    let look = match at {
        At::Blocked | At::Isolated => format!("bridge -d link show dev {interface}"),
        At::Hosts => format!("ip address show dev {interface}"),
        At::Plugged
        | At::Silent
        | At::Down
        | At::Dark
        | At::Elsewhere(_)
        | At::OtherNetwork(_)
        | At::Refused(_)
        | At::Nowhere
        | At::Absent => format!("ip link show dev {interface}"),
    };
    (passes, format!("{text}: {look}"))
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
