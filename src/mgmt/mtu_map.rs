//! The map of MTUs: what each pair of PDCs carries, what each network makes of it, and who limits it.

use std::collections::{BTreeMap, BTreeSet};

use super::index::Index;
use super::measured::Measured;
use super::mtu_now::{Known, Tense};
use super::mtus::{self, Pair, underlay_mtu};
use crate::api::list::named;
use crate::api::local::Finding;
use crate::api::mtu::{MeshMtu, NetworkMtu, PdcPairMtu, SaidBy, SizeCounts};
use crate::api::objects::{Network, Node};
use crate::policy::mtu::{Carrier, Guest, IPV6_LEAST, MtuPolicy, Span, Sum};
use crate::policy::path::{Outer, Path};
use crate::types::{Mtu, NetworkId, NodeId, PdcId, Wall};

/// Pairs of nodes whose frames take the tunnel because their plain path is dead, each in the order of names.
pub type Detours = BTreeSet<[NodeId; 2]>;

/// What nodes say of plain paths that no interface says, each pair in the order of names.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// Pairs whose frames take the tunnel meanwhile.
    pub detours: Detours,
    /// Pairs that lose frames which their guests may send: less passes than the interfaces say (M0664).
    pub narrow: Detours,
}

/// Pairs of a line that are named.
const NAMED: usize = 3;

/// One cell of the matrix: two PDCs in the order of their names.
type Cell = (PdcId, PdcId, Path);

/// The map; with `only`, of one network.
pub fn map(index: &Index, known: &Known<'_>, said: &Said, only: Option<&NetworkId>) -> MeshMtu {
    let networks =
        || index.state.networks.values().filter(|network| only.is_none_or(|id| *id == network.metadata.name));
    let mut tightest: BTreeMap<Cell, Pair<'_>> = BTreeMap::new();
    let guest = |pair: &Pair<'_>| (pair.span.sum(false).guest(), known.span(pair).sum(false).guest());
    for network in networks() {
        for pair in mtus::pairs(index, &network.metadata.name) {
            let cell = tightest.entry(cell(pair.a, pair.b, path_of(&pair))).or_insert(pair);
            if guest(&pair) < guest(cell) {
                *cell = pair;
            }
        }
    }
    let newest = newest(index, known.measured, only);
    let pair = |(cell, pair)| {
        narrowed(detoured(line(index, known, cell, &pair, &newest), index, &said.detours), index, &said.narrow)
    };
    MeshMtu {
        pairs: tightest.into_iter().map(pair).collect(),
        networks: networks()
            .filter_map(|network| Some(losing(network_line(index, known, network)?, index, network, &said.narrow)))
            .collect(),
    }
}

/// The same with the pairs that take the tunnel meanwhile: what this says of the plain path is about the others.
fn detoured(line: PdcPairMtu, index: &Index, detours: &Detours) -> PdcPairMtu {
    let pairs = of_line(&line, index, detours);
    if pairs.is_empty() {
        return line;
    }
    let limit = format!("{}; by the tunnel now, their plain path is dead: {}", line.limit, names(&pairs));
    PdcPairMtu { limit, detours: pairs, ..line }
}

/// The same with the pairs between which less passes, as their nodes have measured.
fn narrowed(line: PdcPairMtu, index: &Index, narrow: &Detours) -> PdcPairMtu {
    let pairs = of_line(&line, index, narrow);
    if pairs.is_empty() {
        return line;
    }
    let limit = format!("{}; less passes by plain paths, and the rest is lost: {}", line.limit, names(&pairs));
    PdcPairMtu { limit, ..line }
}

/// The same of a network: what its number is from does not carry it between these.
fn losing(line: NetworkMtu, index: &Index, network: &Network, narrow: &Detours) -> NetworkMtu {
    let plain = |pair: &Pair<'_>| {
        let (a, b) = (&pair.a.metadata.name, &pair.b.metadata.name);
        let ends = if a <= b { [a.clone(), b.clone()] } else { [b.clone(), a.clone()] };
        (path_of(pair) == Path::Plain && narrow.contains(&ends)).then_some(ends)
    };
    if narrow.is_empty() {
        return line;
    }
    let pairs: BTreeSet<_> = mtus::pairs(index, &network.metadata.name).iter().filter_map(plain).collect();
    if pairs.is_empty() {
        return line;
    }
    let limit = format!(
        "{}; less passes by plain paths, and the rest is lost: {}",
        line.limit,
        names(&pairs.into_iter().collect::<Vec<_>>())
    );
    NetworkMtu { limit, lost: true, ..line }
}

/// Those of the pairs that a line is about.
fn of_line(line: &PdcPairMtu, index: &Index, pairs: &Detours) -> Vec<[NodeId; 2]> {
    let pdc = |node: &NodeId| index.state.nodes.get(node).map(|node| &node.spec.pdc);
    let inside = |pair: &&[NodeId; 2]| line.a == line.b && pair.iter().all(|node| pdc(node) == Some(&line.a));
    pairs.iter().filter(|_| line.path == Path::Plain).filter(inside).cloned().collect()
}

fn names(pairs: &[[NodeId; 2]]) -> String {
    named(pairs.iter().map(|[a, b]| format!("{a} - {b}")), NAMED)
}

/// What is wrong now: networks whose MTU the tightest of their paths does not carry whole, and pairs of nodes that carry less than any network
/// has. A pair that is repaired is nothing wrong, though it still counts; the map says from when on it does not. `early`: nodes had no time yet
/// to say what their paths carry, so of what was measured last nothing is said.
pub fn findings(index: &Index, known: &Known<'_>, early: bool) -> Vec<Finding> {
    let networks = || index.state.networks.values().map(AsRef::as_ref);
    let (narrow, rest): (Vec<&Network>, Vec<&Network>) =
        networks().partition(|network| index.mtu_policy(network).unwrap_or_default().fixed.is_none());
    let narrow = narrow.into_iter().filter_map(|network| narrow_pair(index, known, network, early));
    let lines = rest.into_iter().filter_map(|network| network_line(index, known, network));
    let finding = |line: NetworkMtu| {
        Finding::new(
            "M0502",
            format!(
                "network {}: {} bytes short of its MTU {} on the tightest path (fits {}: {}); frames that use them go in fragments",
                line.network, line.missing, line.mtu, line.whole, line.limit
            ),
            format!("repair the path (meshctl mtu map), or: meshctl network set {} --mtu {}", line.network, line.whole),
        )
    };
    narrow.chain(lines.filter(|line| line.missing > 0 && !line.alone).map(finding)).collect()
}

/// The tightest pair of a network whose MTU is computed, where it carries less than what is ever computed, and that counts: it does not
/// lower the network, so it is told itself.
fn narrow_pair(index: &Index, known: &Known<'_>, network: &Network, early: bool) -> Option<Finding> {
    let (name, vlan) = (&network.metadata.name, index.mtu_policy(network).unwrap_or_default().vlan);
    let pairs = mtus::pairs(index, name);
    let guest = |pair: &Pair<'_>| known.span(pair).sum(vlan).guest();
    let said = |pair: &&Pair<'_>| !early || known.tense(pair) != Tense::Last;
    let narrow = pairs.iter().filter(|pair| pair.is_narrow(vlan) && guest(pair) < IPV6_LEAST).filter(said);
    let pair = narrow.min_by_key(|pair| guest(pair))?;
    let (carries, fate) = match (known.tense(pair), path_of(pair)) {
        (Tense::Last, _) => ("carried", "its larger frames went in fragments, when it was measured last"),
        (_, Path::Plain) => ("carries", "its larger frames are lost on the plain path"),
        (_, Path::Tunnel | Path::Forbidden) => ("carries", "its larger frames go in fragments"),
    };
    let (a, b, guest) = (&pair.a.metadata.name, &pair.b.metadata.name, guest(pair));
    let what = format!(
        "network {name}: the way {a} - {b} {carries} {guest} bytes ({}), less than the {IPV6_LEAST} that every network has; this pair \
         alone pays: {fate}",
        who(pair, known.span(pair), known)
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

/// A size that was measured, and where.
struct Newest<'a> {
    bytes: u16,
    since: Wall,
    ends: [&'a Node; 2],
}

/// The smallest size that was measured between each two PDCs, and since when.
fn newest<'a>(index: &'a Index, measured: &Measured, only: Option<&NetworkId>) -> BTreeMap<(PdcId, PdcId), Newest<'a>> {
    let mut newest: BTreeMap<_, Newest<'a>> = BTreeMap::new();
    let hosts = only.and_then(|id| index.hosts.get(id));
    let hosts = |node: &NodeId| only.is_none() || hosts.is_some_and(|hosts| hosts.contains(node));
    for (from, to, (bytes, since)) in measured.all().filter(|(from, to, _)| hosts(from) && hosts(to)) {
        let [Some(a), Some(b)] = [from, to].map(|node| index.state.nodes.get(node)) else { continue };
        let (pdc, other, _) = cell(a, b, Path::Tunnel);
        let smaller =
            newest.get(&(pdc.clone(), other.clone())).is_none_or(|old| (bytes, since) < (old.bytes, old.since));
        if smaller {
            newest.insert((pdc, other), Newest { bytes, since, ends: [a, b] });
        }
    }
    newest
}

fn line(
    index: &Index,
    known: &Known<'_>,
    (a, b, path): Cell,
    pair: &Pair<'_>,
    newest: &BTreeMap<(PdcId, PdcId), Newest<'_>>,
) -> PdcPairMtu {
    let sum = pair.span.sum(false);
    let measured = newest.get(&(a.clone(), b.clone())).filter(|_| path == Path::Tunnel);
    // What has shrunk may be another pair than the one that counts.
    let falls = measured.filter(|newest| newest.bytes < pair.span.size());
    let falls = falls.and_then(|Newest { ends: [a, b], .. }| mtus::tunnel(index, a, b));
    let ends = if pair.a.spec.pdc == a { [pair.a, pair.b] } else { [pair.b, pair.a] };
    PdcPairMtu {
        ends: ends.map(|node| node.metadata.name.clone()),
        path,
        underlay: pair.span.underlay,
        measured: measured.map(|newest| newest.bytes),
        since: measured.map(|newest| newest.since),
        counts: pair.span.size(),
        guest: sum.guest(),
        sum: sum.to_string(),
        detours: Vec::new(),
        limit: limit_now(falls.as_ref().unwrap_or(pair), known),
        a,
        b,
    }
}

/// Who limits what counts of a pair, in words.
pub(super) fn limit(pair: &Pair<'_>) -> String {
    words(pair, pair.span, [pair.a, pair.b].map(|node| underlay_mtu(node, pair.outer)))
}

/// Who limits a pair to `span`, by what is known.
fn who(pair: &Pair<'_>, span: Span, known: &Known<'_>) -> String {
    words(pair, span, [pair.a, pair.b].map(|node| known.says(node, pair.outer)))
}

/// Who limits a pair, and whether that is so, was so, or is about to count.
fn limit_now(pair: &Pair<'_>, known: &Known<'_>) -> String {
    let now = known.span(pair);
    match known.tense(pair) {
        Tense::Is => who(pair, now, known),
        Tense::Last => format!("{}, when it was measured last", who(pair, now, known)),
        Tense::Was { until, counts } => {
            format!("{} until {until}; from {counts} on {} bytes count if that stays", limit(pair), now.size())
        }
        Tense::Falls { counts } => {
            format!("{}, which shrank; that counts from {counts} on if it stays", who(pair, now, known))
        }
    }
}

fn words(pair: &Pair<'_>, span: Span, interfaces: [u16; 2]) -> String {
    let (a, b) = (&pair.a.metadata.name, &pair.b.metadata.name);
    if span.size() < span.underlay {
        return format!("the path {a} - {b}");
    }
    let side = match pair.outer {
        Outer::Admin => "admin",
        Outer::External => "external",
    };
    match interfaces[0].cmp(&interfaces[1]) {
        std::cmp::Ordering::Less => format!("{a}, {side} interface"),
        std::cmp::Ordering::Greater => format!("{b}, {side} interface"),
        std::cmp::Ordering::Equal => format!("{side} interfaces"),
    }
}

fn network_line(index: &Index, known: &Known<'_>, network: &Network) -> Option<NetworkMtu> {
    let name = &network.metadata.name;
    let Guest { mtu, sum, .. } = index.mtus.get(name)?;
    let policy = index.mtu_policy(network).unwrap_or_default();
    let pairs = mtus::pairs(index, name);
    let tightest = pairs.iter().map(|pair| known.span(pair).sum(policy.vlan)).min_by_key(Sum::guest);
    let now = tightest.unwrap_or_else(|| sum.clone());
    Some(NetworkMtu {
        network: name.clone(),
        mtu: *mtu,
        fixed: policy.fixed.is_some(),
        said_by: Some(said_by(index, network)),
        whole: now.guest(),
        missing: mtu.get().saturating_sub(now.guest()),
        lost: false,
        alone: pairs.is_empty(),
        sum: now.to_string(),
        limit: network_limit(&pairs, known, policy, *mtu),
        oversize: policy.oversize,
        counts: SizeCounts::default(),
    })
}

/// Who limits a network: where it falls short, the pair that carries least now; else the pair that its number is from. A number that is
/// from pairs which carry more by now rises when the last of them counts.
fn network_limit(pairs: &[Pair<'_>], known: &Known<'_>, policy: MtuPolicy, mtu: Mtu) -> String {
    let now = |pair: &Pair<'_>| known.span(pair).sum(policy.vlan).guest();
    let counted = |pair: &Pair<'_>| pair.span.sum(policy.vlan).guest();
    let Some(tightest) = pairs.iter().min_by_key(|pair| now(pair)) else { return "no pair of nodes yet".to_owned() };
    let measured = || known.measured.newest(&tightest.a.metadata.name, &tightest.b.metadata.name);
    let least = pairs.iter().map(counted).min().unwrap_or_default();
    if policy.fixed.is_some() || now(tightest) < mtu.get() || now(tightest) <= least {
        let since = measured().filter(|_| known.span(tightest).size() < known.span(tightest).underlay);
        let since = since.map_or_else(String::new, |(_, since)| format!(", since {since}"));
        let falls = match known.tense(tightest) {
            Tense::Falls { counts } if policy.fixed.is_none() => format!("; that counts from {counts} on if it stays"),
            Tense::Last => ", when it was measured last".to_owned(),
            Tense::Is | Tense::Was { .. } | Tense::Falls { .. } => String::new(),
        };
        return who(tightest, known.span(tightest), known) + &since + &falls;
    }
    let was = pairs.iter().filter(|pair| counted(pair) <= least).filter_map(|pair| match known.tense(pair) {
        Tense::Was { until, counts } => Some((counts, until, pair)),
        Tense::Is | Tense::Last | Tense::Falls { .. } => None,
    });
    match was.max_by_key(|(counts, ..)| *counts) {
        Some((counts, until, pair)) => {
            format!("{} until {until}; the number rises at {counts} if that stays", limit(pair))
        }
        None => who(tightest, known.span(tightest), known),
    }
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
