//! What others of this host do to frames between guests, in words: frames that only cross a bridge say that something is dropped
//! ([`super::crossing`]), their packet filters say what ([`super::verdicts`]), and what is at a guest's own interface drops where no frame of
//! ours comes by.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::attached::{bounded, takers};
use super::fence_text::TABLE as FENCE;
use super::guard::TABLE as GUARD;
use super::named;
use super::shown::{self, Legacy, Shown};
use super::verdicts::{Drop, Frame, Rules, Sure, judge};
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::probe::crossing::{Flow, Protocol};
use crate::table::NetKey;
use crate::types::{IfName, Mono};

/// Code of what is dropped between the ports of a bridge.
pub const DROPS_FRAMES: &str = "M0685";
/// Code of what is dropped at an interface of a guest, or at a port of ours.
pub const AT_PORT: &str = "M0686";
/// Tables that are read in one look, at most.
pub const TABLES: usize = 32;
/// Chains of one finding that are named.
const NAMED: usize = 3;

/// A chain at a hook, of whomever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Family of its table, as `nft` writes it.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Its hook, as `nft` writes it.
    pub hook: &'static str,
    /// What no rule decides is dropped.
    pub drops: bool,
    /// At the hooks `ingress` and `egress`: the interfaces that it is at.
    pub devices: Vec<String>,
}

/// Interfaces in bridges of ours.
pub type Ports = BTreeMap<IfName, Place>;

/// Where an interface stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its bridge.
    pub bridge: IfName,
    /// The network of that.
    pub key: NetKey,
    /// What is cut off where nothing passes there.
    pub cut: Cut,
}

/// Family and name of a table.
pub type Table = (&'static str, String);

/// What is at the hooks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    /// Chains at hooks.
    pub bases: Vec<Base>,
    /// Rules of their tables.
    pub rules: BTreeMap<Table, Rules>,
    /// Tables of the older iptables, which `nft` does not show; as far as the kernel tells.
    pub legacy: Vec<&'static str>,
    /// What those of them that filter what is forwarded say of it.
    pub forward: Legacy,
    /// What bridges show by switches of their own.
    pub shown: Shown,
}

/// The ends of the way that frames cross.
#[derive(Debug, Clone, Copy)]
pub struct Ends<'a> {
    /// The bridge.
    pub bridge: &'a IfName,
    /// Where they go in.
    pub near: &'a IfName,
    /// Where they come out.
    pub far: &'a IfName,
}

/// How long rules that go on changing keep what is lost from being told with what they are now.
const FRESH: Duration = Duration::from_secs(6);

/// Rules that have changed since frames were sent that did not come out: what dropped these may be gone, and is then not said to be something
/// that nobody sees. Where something is lost, frames are sent again every second.
#[derive(Debug, Default)]
pub struct Changed(Option<Since>);

/// Of which generation the rules are, since when, and since when they have been others than those of the last look.
#[derive(Debug, Clone, Copy)]
struct Since {
    generation: u32,
    at: Mono,
    first: Mono,
}

impl Changed {
    /// Takes a look at what drops, which is another than the last one where `changed`. True: what is known of frames sent at `sent` is older.
    pub fn outdates(&mut self, changed: bool, generation: u32, sent: Mono, now: Mono) -> bool {
        let old = self.0.filter(|_| changed);
        let same = old.filter(|old| old.generation == generation);
        let new = || Since { generation, at: now, first: old.map_or(now, |old| old.first) };
        self.0 = changed.then(|| same.unwrap_or_else(new));
        self.0.is_some_and(|since| sent < since.at && now.since(since.first) < FRESH)
    }
}

/// True where bridged frames come by: always, or where `br_netfilter` shows them.
pub(super) fn is_crossed(base: &Base) -> bool {
    let family = matches!(base.family, "bridge" | "inet" | "ip" | "ip6");
    let ours = base.table == GUARD || base.table == FENCE;
    family && !ours && matches!(base.hook, "prerouting" | "forward" | "postrouting")
}

pub(super) fn is_at(base: &Base, port: &str) -> bool {
    matches!(base.hook, "ingress" | "egress") && base.table != FENCE && base.devices.iter().any(|device| device == port)
}

/// Tables whose rules are to be read. `asked`: frames are lost, or a bridge of guests shows its own to the packet filters of the host.
pub fn wanted(bases: &[Base], asked: bool, ports: &Ports) -> BTreeSet<Table> {
    let at = |base: &Base| ports.keys().any(|port| is_at(base, port.as_str()));
    // Those of bridges may name a port.
    let bridges = |base: &Base| base.family == "bridge" && !ports.is_empty();
    let some = bases.iter().filter(|base| (asked || bridges(base)) && is_crossed(base) || at(base));
    some.map(|base| (base.family, base.table.clone())).take(TABLES).collect()
}

/// What is wrong. `ports` are interfaces in bridges of ours, with the bridge.
pub fn findings(
    ends: Option<Ends<'_>>,
    lost: &BTreeSet<Flow>,
    all: &[Flow],
    ports: &Ports,
    filters: &Filters,
) -> Vec<Finding> {
    let crossing = ends.filter(|_| !lost.is_empty()).map(|ends| dropped(ends, lost, all, filters));
    crossing.into_iter().chain(at_ports(ports, filters)).chain(named::findings(ends, ports, filters)).collect()
}

fn dropped(ends: Ends<'_>, lost: &BTreeSet<Flow>, all: &[Flow], filters: &Filters) -> Finding {
    let culprits = culprits(ends, lost, filters);
    let named: Vec<String> = culprits.iter().take(NAMED).map(|(base, drop)| words(base, drop)).collect();
    let surest = culprits.first().map(|(_, drop)| drop.sure);
    let older = shown::older_ones(lost, &filters.forward);
    let by = match surest {
        Some(Sure::Yes | Sure::Likely) => format!("dropped by {}", named.join(" and ")),
        None if !older.is_empty() => format!("dropped by {}", older.join(" and ")),
        Some(Sure::Maybe) => format!("dropped, most likely by {}", named.join(" or ")),
        None => "dropped, by nothing that nft shows".to_owned(),
    };
    let what = format!(
        "frames between guests do not pass the bridges of this host: {} {by}; {}",
        protocols(lost, all),
        cost(lost),
    );
    let mut help: Vec<String> = culprits.iter().take(NAMED).map(|(base, drop)| way_out(base, drop)).collect();
    let shown = culprits.is_empty() || culprits.iter().any(|(base, _)| base.family != "bridge");
    if shown {
        // Frames are shown where either the switch of the host or that of the bridge is on (net/bridge/br_netfilter_hooks.c).
        let sysctl = format!("sysctl -w {}", settings(lost).join(" "));
        let all = [vec![sysctl], shown::switches(lost, &filters.shown)].concat().join("; ");
        help.push(if help.is_empty() { all } else { format!("or keep bridged frames out of it: {all}") });
    }
    if culprits.is_empty() && older.is_empty() {
        help.push(format!("else {}", where_else(filters)));
    }
    Finding::new(DROPS_FRAMES, what, help.join("; ")).cuts(cut(lost, all))
}

/// What guests lose by it. Who knows a neighbour's Ethernet address already sends to it without a question (RFC 826).
fn cost(lost: &BTreeSet<Flow>) -> &'static str {
    if lost.iter().all(|flow| flow.protocol == Protocol::Arp) {
        "its guests find no neighbour by IPv4 any more, on this node or another; those that they know already they reach until they ask again"
    } else if lost.iter().all(|flow| flow.protocol == Protocol::Ipv6) {
        "its guests are cut off from each other and from all other nodes by IPv6; by IPv4 they go on"
    } else if lost.iter().all(|flow| flow.protocol != Protocol::Ipv6) {
        "its guests are cut off from each other and from all other nodes by IPv4; by IPv6 they go on"
    } else {
        "its guests are cut off from each other and from all other nodes"
    }
}

/// What that cuts off. Where some addresses pass, it is not certain for others.
fn cut(lost: &BTreeSet<Flow>, all: &[Flow]) -> Cut {
    let is_lost = |ipv6: bool| lost.iter().any(|flow| ipv6 == (flow.protocol == Protocol::Ipv6));
    let whole = |flow: &&Flow| lost.iter().any(|one| one.protocol == flow.protocol) && !lost.contains(flow);
    let ipv6 = if is_lost(true) && is_lost(false) { None } else { Some(is_lost(true)) };
    Cut { ipv6, ..Cut::node(!all.iter().any(|flow| whole(&flow))) }
}

/// What drops them, the surest alone, each chain once.
fn culprits<'a>(ends: Ends<'_>, lost: &BTreeSet<Flow>, filters: &'a Filters) -> Vec<(&'a Base, Drop)> {
    let mut found: Vec<(&Base, Drop)> = Vec::new();
    for base in filters.bases.iter().filter(|base| is_crossed(base)) {
        let Some(rules) = filters.rules.get(&(base.family, base.table.clone())) else { continue };
        let seen = lost.iter().filter(|flow| sees(base.family, flow.protocol));
        let drops = seen.filter_map(|flow| judge(rules, &base.name, base.drops, &frame(base, ends, flow)));
        found.extend(drops.min().map(|drop| (base, drop)));
    }
    // A drop that is certain, or that nothing but what cannot be read may prevent, is enough of a reason.
    let surest = found.iter().map(|(_, drop)| drop.sure).min();
    found.retain(|(_, drop)| Some(drop.sure) == surest);
    found
}

pub(super) fn sees(family: &str, protocol: Protocol) -> bool {
    match family {
        "ip" => protocol == Protocol::Ipv4,
        "ip6" => protocol == Protocol::Ipv6,
        "inet" => protocol != Protocol::Arp,
        _ => true,
    }
}

/// Chains of family `bridge` see the ports, all others the bridge.
fn frame(base: &Base, ends: Ends<'_>, flow: &Flow) -> Frame {
    let bridge = ends.bridge.to_string();
    let (iif, oif) = if base.family == "bridge" {
        (ends.near.to_string(), ends.far.to_string())
    } else {
        (bridge.clone(), bridge.clone())
    };
    Frame {
        iif: (base.hook != "postrouting").then_some(iif),
        oif: (base.hook != "prerouting").then_some(oif),
        bridge: Some(bridge),
        protocol: Some(flow.protocol),
        any: false,
        from: vec![flow.from],
        to: vec![flow.to],
        near: Some(ends.near.to_string()),
        far: Some(ends.far.to_string()),
        ..Frame::default()
    }
}

/// Chains at interfaces of guests and at ports of ours that drop whatever comes by.
fn at_ports(ports: &Ports, filters: &Filters) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (port, Place { bridge, cut, .. }) in ports {
        for base in filters.bases.iter().filter(|base| is_at(base, port.as_str())) {
            let Some(rules) = filters.rules.get(&(base.family, base.table.clone())) else { continue };
            let name = Some(port.to_string());
            let (iif, oif) = if base.hook == "ingress" { (name, None) } else { (None, name) };
            let frame = Frame { iif, oif, ..Frame::default() };
            let judged =
                |protocol| judge(rules, &base.name, base.drops, &Frame { protocol, any: true, ..frame.clone() });
            let way = if base.hook == "ingress" { "comes from" } else { "goes to" };
            for (subject, ipv6, drop) in takers(|protocol| judged(protocol).filter(|drop| drop.sure == Sure::Yes)) {
                let what = format!("{subject} {way} {port} in bridge {bridge} is dropped by {}", words(base, &drop));
                let cut = Cut { ipv6, ..cut.clone() }.at_interface(base.hook != "ingress");
                findings.push(Finding::new(AT_PORT, what, way_out(base, &drop)).cuts(cut));
            }
        }
    }
    bounded(findings)
}

pub(super) fn words(base: &Base, drop: &Drop) -> String {
    let Base { family, table, name, hook, .. } = base;
    match &drop.rule {
        None => format!("chain {name} of table {family} {table} (hook {hook}, policy drop)"),
        Some((chain, _)) if chain == name => {
            format!("a rule in chain {name} of table {family} {table} (hook {hook}){}", drop.fate.words())
        }
        Some((chain, _)) => {
            let fate = drop.fate.words();
            format!("a rule in chain {chain} of table {family} {table} (by chain {name}, hook {hook}){fate}")
        }
    }
}

/// What lets frames between guests pass, and as little else as may be.
pub(super) fn way_out(base: &Base, drop: &Drop) -> String {
    let Base { family, table, name, hook, .. } = base;
    let what = match *hook {
        "prerouting" => "iifname \"vb*\"",
        "postrouting" => "oifname \"vb*\"",
        _ => "iifname \"vb*\" oifname \"vb*\"",
    };
    match (*family, &drop.rule) {
        (_, Some((chain, handle))) if *hook == "ingress" => {
            format!("nft delete rule {family} {table} {chain} handle {handle}")
        }
        // These see no bridge, but its ports.
        ("bridge" | "netdev", None) => format!("nft add chain {family} {table} {name} '{{ policy accept; }}'"),
        ("bridge" | "netdev", Some((chain, handle))) => {
            format!("nft delete rule {family} {table} {chain} handle {handle}")
        }
        _ => format!("nft insert rule {family} {table} {name} {what} accept"),
    }
}

/// The switches of `br_netfilter` for what is lost (Documentation/networking/ip-sysctl.rst).
fn settings(lost: &BTreeSet<Flow>) -> Vec<&'static str> {
    let of = |protocol| lost.iter().any(|flow| flow.protocol == protocol);
    let all = [
        (Protocol::Ipv4, "net.bridge.bridge-nf-call-iptables=0"),
        (Protocol::Ipv6, "net.bridge.bridge-nf-call-ip6tables=0"),
        (Protocol::Arp, "net.bridge.bridge-nf-call-arptables=0"),
    ];
    all.into_iter().filter(|(protocol, _)| of(*protocol)).map(|(_, setting)| setting).collect()
}

/// What `nft` does not show.
fn where_else(filters: &Filters) -> String {
    let mut all: Vec<String> = filters.legacy.iter().map(|tool| format!("{tool} -S")).collect();
    all.extend(["ebtables-legacy -L".to_owned(), "tc filter show; bpftool net".to_owned()]);
    format!("look at what is left: {}", all.join("; "))
}

/// Protocols that are lost; of those of which some pass, between which addresses.
fn protocols(lost: &BTreeSet<Flow>, all: &[Flow]) -> String {
    let mut words = Vec::new();
    for protocol in [Protocol::Ipv4, Protocol::Ipv6, Protocol::Arp] {
        let of = || lost.iter().filter(|flow| flow.protocol == protocol);
        let some_pass = all.iter().any(|flow| flow.protocol == protocol && !lost.contains(flow));
        match of().next() {
            None => {}
            Some(first) if some_pass => words.push(format!("{protocol} as from {} to {}", first.from, first.to)),
            Some(_) => words.push(protocol.to_string()),
        }
    }
    let last = words.pop().unwrap_or_default();
    let is = if words.is_empty() { "is" } else { "are" };
    let all = if words.is_empty() { last } else { format!("{} and {last}", words.join(", ")) };
    format!("{all} {is}")
}

#[cfg(test)]
#[path = "barriers_tests.rs"]
mod tests;
