//! What the guests of a network may send: over every pair of nodes that host it, what carries between the two, what their
//! interfaces say and what was measured. One function for slices, validation, the map and events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::index::{self, Index};
use crate::api::objects::{Network, Node};
use crate::policy::mtu::{self, Carrier, Family, Guest, MtuError, Span};
use crate::policy::path::{End, Outer, Path, Selector, Verdict};
use crate::types::{NetworkId, NodeId, PdcId};

/// Underlay MTU where nobody has said another.
const USUAL_MTU: u16 = 1500;

/// A pair of nodes that share a network, and the way between them.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// One end.
    pub a: &'a Node,
    /// The other.
    pub b: &'a Node,
    /// Which of their addresses are the outer ones.
    pub outer: Outer,
    /// What is known of the way. Measured is what counts, not what was heard last.
    pub span: Span,
}

impl Pair<'_> {
    /// True where it carries less than the least guest MTU that is ever computed.
    pub fn is_narrow(&self, vlan: bool) -> bool {
        self.span.sum(vlan).guest() < mtu::IPV6_LEAST
    }
}

/// Guest MTU of a network over all pairs of joined nodes that host it. Where neither it nor its overlay has a policy it is
/// computed; a node whose `[mtu]` says otherwise uses that. What is computed is never less than IPv6 needs, whatever the guests
/// have: below it a bridge has no IPv6 at all, and one member that says little of its interface would take it from everybody. A
/// pair that carries less pays alone ([`super::mtu_map::findings`]), until an operator gives a number.
pub fn guest(index: &Index, id: &NetworkId) -> Guest {
    let network = index.state.networks.get(id);
    let policy = network.and_then(|network| index.mtu_policy(network)).unwrap_or_default();
    let spans: Vec<Span> = pairs(index, id).iter().map(|pair| pair.span).collect();
    let members = members(index, id);
    let alone = members.iter().map(|node| underlay_mtu(node, Outer::Admin)).min().unwrap_or(USUAL_MTU);
    mtu::guest(policy, true, &spans, alone)
}

/// Why the network cannot have the MTU that its policy wants. A pair below the least of all networks is a fault of that pair, and
/// no reason to refuse what an operator wants of the rest.
///
/// # Errors
/// [`MtuError`] with the missing bytes.
pub fn check(index: &Index, network: &Network) -> Result<(), MtuError> {
    let policy = index.mtu_policy(network).unwrap_or_default();
    let pairs = pairs(index, &network.metadata.name);
    let spans: Vec<Span> = pairs.iter().filter(|pair| !pair.is_narrow(policy.vlan)).map(|pair| pair.span).collect();
    mtu::check(policy, has_ipv6(network), &spans)
}

/// What a change did to the guest MTUs of networks, as the end of a sentence; empty: nothing.
pub fn moved(before: &Index, after: &Index) -> String {
    let moved = after.mtus.iter().filter_map(|(name, guest)| {
        let old = before.mtus.get(name)?.mtu;
        (old != guest.mtu).then(|| format!("; guest MTU of {name}: {old} -> {}", guest.mtu))
    });
    moved.collect()
}

/// True where guests have IPv6 by declaration: such a network's MTU is at least 1280.
pub fn has_ipv6(network: &Network) -> bool {
    network.spec.cidr.iter().any(|prefix| prefix.network().is_ipv6())
}

/// Pairs of nodes that share a network, enough of them that every guest MTU comes out right. Nodes that are alike in everything
/// that a path depends on stand for each other, so the work grows with the kinds of nodes and not with the square of their
/// number; pairs with a measured shortfall are added one by one.
pub fn pairs<'a>(index: &'a Index, id: &NetworkId) -> Vec<Pair<'a>> {
    let members = members(index, id);
    let mut kinds: BTreeMap<NodeKind<'_>, (&Node, Option<&Node>)> = BTreeMap::new();
    for node in &members {
        kinds.entry(kind(index, node)).and_modify(|(_, twin)| *twin = Some(node)).or_insert((node, None));
    }
    let kinds: Vec<_> = kinds.into_values().collect();
    let mut pairs = Vec::new();
    for (n, (a, twin)) in kinds.iter().enumerate() {
        let others = kinds[n + 1..].iter().map(|(b, _)| *b).chain(*twin);
        pairs.extend(others.filter_map(|b| pair(index, id, a, b)));
    }
    pairs.extend(members.iter().flat_map(|a| short(index, id, a)));
    pairs
}

/// Pairs of a node whose measured path counts.
fn short<'a>(index: &'a Index, id: &NetworkId, a: &'a Node) -> Vec<Pair<'a>> {
    let hosts = index.hosts.get(id);
    let hosted = a.status.paths.keys().filter(|b| hosts.is_some_and(|hosts| hosts.contains(*b)));
    let nodes = hosted.filter_map(|b| index.state.nodes.get(b)).map(AsRef::as_ref).filter(|b| index::is_member(b));
    nodes.filter_map(|b| pair(index, id, a, b)).collect()
}

/// The way between two nodes in a network; none: nothing goes.
pub fn pair<'a>(index: &Index, id: &NetworkId, a: &'a Node, b: &'a Node) -> Option<Pair<'a>> {
    let verdict = index.verdict(id, a, b);
    let (carrier, underlay) = carrier(a, b, &verdict)?;
    let measured = [(a, b), (b, a)].into_iter().filter_map(|(from, to)| from.status.paths.get(&to.metadata.name));
    // The kernel's own path is not measured.
    let measured = measured.filter(|_| verdict.path == Path::Tunnel).min().copied();
    Some(Pair { a, b, outer: verdict.outer, span: Span { carrier, underlay, measured } })
}

/// Nodes of a network that frames can come from.
fn members<'a>(index: &'a Index, id: &NetworkId) -> Vec<&'a Node> {
    let nodes = index.hosts.get(id).into_iter().flatten().filter_map(|node| index.state.nodes.get(node));
    nodes.map(AsRef::as_ref).filter(|node| index::is_member(node)).collect()
}

/// Everything of a node that its paths depend on.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct NodeKind<'a> {
    pdc: &'a PdcId,
    inside: bool,
    families: (Option<Family>, Option<Family>),
    mtus: (u16, u16),
    foreign: bool,
    named: Option<&'a NodeId>,
}

fn kind<'a>(index: &Index, node: &'a Node) -> NodeKind<'a> {
    let End { admin, external, foreign, pdc, .. } = index::end(node);
    let underlay = index.pdcs.get(pdc).map(|facts| facts.underlay.as_slice()).unwrap_or_default();
    let inside = admin.is_some_and(|address| underlay.iter().any(|prefix| prefix.contains(address)));
    let named = index.policies.values().flat_map(|rule| &rule.between);
    let named = named.into_iter().any(|selector| match selector {
        Selector::Node(name) => *name == node.metadata.name,
        Selector::Pdc(_) | Selector::Unknown => false,
    });
    let mtus = (underlay_mtu(node, Outer::Admin), underlay_mtu(node, Outer::External));
    let families = (admin.map(family), external.map(family));
    NodeKind { pdc, inside, families, mtus, foreign, named: named.then_some(&node.metadata.name) }
}

const fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// Underlay MTU of a node's side, as it reported it.
pub fn underlay_mtu(node: &Node, outer: Outer) -> u16 {
    let facts = node.status.facts.as_ref();
    facts.map_or(USUAL_MTU, |facts| match outer {
        Outer::Admin => facts.admin_mtu.get(),
        Outer::External => facts.external_mtu.get(),
    })
}

/// What carries frames of a pair, and the underlay MTU below; none: nothing does.
pub fn carrier(a: &Node, b: &Node, verdict: &Verdict) -> Option<(Carrier, u16)> {
    let address = |node| match verdict.outer {
        Outer::Admin => index::end(node).admin,
        Outer::External => index::end(node).external,
    };
    let v6 = [a, b].iter().any(|node| address(node).is_some_and(|ip| ip.is_ipv6()));
    let outer = if v6 { Family::V6 } else { Family::V4 };
    let foreign = a.spec.foreign.is_some() || b.spec.foreign.is_some();
    let carrier = match verdict.path {
        Path::Plain => Carrier::Plain(outer),
        Path::Tunnel if foreign => Carrier::Standard { outer, inner: Family::V4 },
        Path::Tunnel => Carrier::Compact(outer),
        Path::Forbidden => return None,
    };
    Some((carrier, underlay_mtu(a, verdict.outer).min(underlay_mtu(b, verdict.outer))))
}

/// The networks that two nodes both host and reach each other in by a tunnel, and what carries there.
pub fn tunnel<'a>(index: &'a Index, a: &'a Node, b: &'a Node) -> Option<Pair<'a>> {
    let nothing = BTreeSet::new();
    let hosted = |node: &Node| index.hosted.get(&node.metadata.name).unwrap_or(&nothing);
    let shared = hosted(a).intersection(hosted(b));
    let mut tunnels = shared.filter_map(|id| pair(index, id, a, b));
    tunnels.find(|pair| !matches!(pair.span.carrier, Carrier::Plain(_)))
}

#[cfg(test)]
#[path = "mtus_tests.rs"]
mod tests;
