//! The map of MTUs: what each pair of PDCs carries, what each network makes of it, and who limits it.

use std::collections::BTreeMap;

use super::index::Index;
use super::measured::Measured;
use super::mtus::{self, Pair, underlay_mtu};
use crate::api::local::Finding;
use crate::api::mtu::{MeshMtu, NetworkMtu, PdcPairMtu, SaidBy, SizeCounts};
use crate::api::objects::{Network, Node};
use crate::policy::mtu::{Carrier, Guest, IPV6_LEAST};
use crate::policy::path::{Outer, Path};
use crate::types::{NetworkId, NodeId, PdcId, Wall};

/// One cell of the matrix: two PDCs in the order of their names.
type Cell = (PdcId, PdcId, Path);

/// The map; with `only`, of one network.
pub fn map(index: &Index, measured: &Measured, only: Option<&NetworkId>) -> MeshMtu {
    let networks =
        || index.state.networks.values().filter(|network| only.is_none_or(|id| *id == network.metadata.name));
    let mut tightest: BTreeMap<Cell, Pair<'_>> = BTreeMap::new();
    for network in networks() {
        for pair in mtus::pairs(index, &network.metadata.name) {
            let cell = tightest.entry(cell(pair.a, pair.b, path_of(&pair))).or_insert(pair);
            if pair.span.sum(false).guest() < cell.span.sum(false).guest() {
                *cell = pair;
            }
        }
    }
    let newest = newest(index, measured, only);
    MeshMtu {
        pairs: tightest.into_iter().map(|(cell, pair)| line(cell, &pair, &newest)).collect(),
        networks: networks().filter_map(|network| network_line(index, measured, network)).collect(),
    }
}

/// What is wrong: networks whose MTU the tightest path does not carry whole, and pairs of nodes that carry less than any network
/// has.
pub fn findings(index: &Index, measured: &Measured) -> Vec<Finding> {
    let networks = || index.state.networks.values().map(AsRef::as_ref);
    let (narrow, rest): (Vec<&Network>, Vec<&Network>) =
        networks().partition(|network| index.mtu_policy(network).unwrap_or_default().fixed.is_none());
    let narrow = narrow.into_iter().filter_map(|network| narrow_pair(index, network));
    let lines = rest.into_iter().filter_map(|network| network_line(index, measured, network));
    let finding = |line: NetworkMtu| {
        Finding::new(
            "M0502",
            format!(
                "network {}: {} bytes short of its MTU {} on the tightest path (fits {}: {}); frames that use them go in fragments, \
             none is lost",
                line.network, line.missing, line.mtu, line.whole, line.limit
            ),
            format!("repair the path (meshctl mtu map), or: meshctl network set {} --mtu {}", line.network, line.whole),
        )
    };
    narrow.chain(lines.filter(|line| line.missing > 0).map(finding)).collect()
}

/// The tightest pair of a network whose MTU is computed, where it carries less than what is ever computed: it does not lower the
/// network, so it is told itself.
fn narrow_pair(index: &Index, network: &Network) -> Option<Finding> {
    let (name, vlan) = (&network.metadata.name, index.mtu_policy(network).unwrap_or_default().vlan);
    let pairs = mtus::pairs(index, name);
    let pair = pairs.iter().filter(|pair| pair.is_narrow(vlan)).min_by_key(|pair| pair.span.sum(vlan).guest())?;
    let fate = match path_of(pair) {
        Path::Plain => "its larger frames are lost on the plain path",
        Path::Tunnel | Path::Forbidden => "its larger frames go in fragments",
    };
    let (a, b, guest) = (&pair.a.metadata.name, &pair.b.metadata.name, pair.span.sum(vlan).guest());
    let what = format!(
        "network {name}: the way {a} - {b} carries {guest} bytes ({}), less than the {IPV6_LEAST} that every network has; this pair \
         alone pays: {fate}",
        limit(pair)
    );
    let help = format!(
        "repair it, or take the node out; if all of the network shall have so little: meshctl network set {name} --mtu NUMBER"
    );
    Some(Finding::new("M0510", what, help))
}

fn cell(a: &Node, b: &Node, path: Path) -> Cell {
    let (a, b) = (&a.spec.pdc, &b.spec.pdc);
    if a <= b { (a.clone(), b.clone(), path) } else { (b.clone(), a.clone(), path) }
}

const fn path_of(pair: &Pair<'_>) -> Path {
    match pair.span.carrier {
        Carrier::Plain(_) => Path::Plain,
        Carrier::Compact(_) | Carrier::Standard { .. } => Path::Tunnel,
    }
}

/// The smallest size that was measured between each two PDCs, and since when.
fn newest(index: &Index, measured: &Measured, only: Option<&NetworkId>) -> BTreeMap<(PdcId, PdcId), (u16, Wall)> {
    let mut newest = BTreeMap::new();
    let hosts = only.and_then(|id| index.hosts.get(id));
    let hosts = |node: &NodeId| only.is_none() || hosts.is_some_and(|hosts| hosts.contains(node));
    for (from, to, size) in measured.all().filter(|(from, to, _)| hosts(from) && hosts(to)) {
        let [Some(a), Some(b)] = [from, to].map(|node| index.state.nodes.get(node)) else { continue };
        let (a, b, _) = cell(a, b, Path::Tunnel);
        newest.entry((a, b)).and_modify(|old| *old = size.min(*old)).or_insert(size);
    }
    newest
}

fn line((a, b, path): Cell, pair: &Pair<'_>, newest: &BTreeMap<(PdcId, PdcId), (u16, Wall)>) -> PdcPairMtu {
    let sum = pair.span.sum(false);
    let measured = newest.get(&(a.clone(), b.clone())).filter(|_| path == Path::Tunnel);
    let waits = measured.is_some_and(|(bytes, _)| *bytes < pair.span.size());
    let ends = if pair.a.spec.pdc == a { [pair.a, pair.b] } else { [pair.b, pair.a] };
    PdcPairMtu {
        ends: ends.map(|node| node.metadata.name.clone()),
        path,
        underlay: pair.span.underlay,
        measured: measured.map(|(bytes, _)| *bytes),
        since: measured.map(|(_, since)| *since),
        counts: pair.span.size(),
        guest: sum.guest(),
        sum: sum.to_string(),
        limit: if waits { "a path that shrank; it counts once it has stood for 30 s".to_owned() } else { limit(pair) },
        a,
        b,
    }
}

/// Who limits a pair, in words.
pub(super) fn limit(pair: &Pair<'_>) -> String {
    let (a, b) = (&pair.a.metadata.name, &pair.b.metadata.name);
    if pair.span.size() < pair.span.underlay {
        return format!("the path {a} - {b}");
    }
    let side = match pair.outer {
        Outer::Admin => "admin",
        Outer::External => "external",
    };
    match underlay_mtu(pair.a, pair.outer).cmp(&underlay_mtu(pair.b, pair.outer)) {
        std::cmp::Ordering::Less => format!("{a}, {side} interface"),
        std::cmp::Ordering::Greater => format!("{b}, {side} interface"),
        std::cmp::Ordering::Equal => format!("{side} interfaces"),
    }
}

fn network_line(index: &Index, measured: &Measured, network: &Network) -> Option<NetworkMtu> {
    let name = &network.metadata.name;
    let Guest { mtu, sum, missing } = index.mtus.get(name)?;
    let policy = index.mtu_policy(network).unwrap_or_default();
    let pairs = mtus::pairs(index, name);
    let tightest = pairs.iter().min_by_key(|pair| pair.span.sum(policy.vlan).guest());
    let since = tightest.filter(|pair| pair.span.size() < pair.span.underlay);
    let since = since.and_then(|pair| measured.newest(&pair.a.metadata.name, &pair.b.metadata.name));
    let since = since.map_or_else(String::new, |(_, since)| format!(", since {since}"));
    Some(NetworkMtu {
        network: name.clone(),
        mtu: *mtu,
        fixed: policy.fixed.is_some(),
        said_by: Some(said_by(index, network)),
        whole: sum.guest(),
        missing: *missing,
        sum: sum.to_string(),
        limit: tightest.map_or_else(|| "no pair of nodes yet".to_owned(), |pair| limit(pair) + &since),
        oversize: policy.oversize,
        counts: SizeCounts::default(),
    })
}

fn said_by(index: &Index, network: &Network) -> SaidBy {
    if network.spec.mtu.is_some() {
        SaidBy::Network
    } else if index.overlay(network).is_some_and(|overlay| overlay.spec.mtu.is_some()) {
        SaidBy::Overlay
    } else {
        SaidBy::Node
    }
}

#[cfg(test)]
#[path = "mtu_map_tests.rs"]
mod tests;
