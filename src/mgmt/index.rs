//! What follows from the state and every slice needs: who hosts which network, and each network's guest MTU. Made once a
//! revision, so that a slice costs what it holds and not what the mesh holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::state::State;
use crate::api::objects::{Network, Node, Overlay, Port};
use crate::policy::mtu::{self, Carrier, Family, MtuError, MtuPolicy};
use crate::policy::path::{self, End, Outer, Path, PathRule, PdcFacts, Selector, Verdict};
use crate::table::Learning;
use crate::types::{Mtu, NetworkId, NodeId, PdcId, PolicyId};

/// Underlay MTU where nobody has said another.
const USUAL_MTU: u16 = 1500;

/// A state and what follows from it.
#[derive(Debug)]
pub struct Index {
    /// The state.
    pub state: Arc<State>,
    /// Ports of each network, in the order of names.
    pub ports: BTreeMap<NetworkId, Vec<Arc<Port>>>,
    /// Nodes that host each network.
    pub hosts: BTreeMap<NetworkId, BTreeSet<NodeId>>,
    /// Networks that each node hosts.
    pub hosted: BTreeMap<NodeId, BTreeSet<NetworkId>>,
    /// Guest MTU of each network, or why its fixed number does not fit.
    pub mtus: BTreeMap<NetworkId, Result<Mtu, MtuError>>,
    /// Facts of all PDCs, as `policy::path` takes them.
    pub pdcs: BTreeMap<PdcId, PdcFacts>,
    /// All policies, as `policy::path` takes them.
    pub policies: BTreeMap<PolicyId, PathRule>,
    /// Lanes that every pair uses: as many as the node with the fewest runs, one where there is a foreign peer. One number for
    /// all, because a guest's flow leaves by the lane that the kernel gives it to, whoever it is for.
    pub lanes: u8,
}

impl Index {
    /// Makes the index of a state.
    pub fn new(state: Arc<State>) -> Self {
        let mut ports: BTreeMap<NetworkId, Vec<Arc<Port>>> = BTreeMap::new();
        for port in state.ports.values() {
            ports.entry(port.spec.network.clone()).or_default().push(Arc::clone(port));
        }
        let of = |id: &NetworkId| ports.get(id).map(Vec::as_slice).unwrap_or_default();
        let hosts: BTreeMap<_, _> =
            state.networks.iter().map(|(id, network)| (id.clone(), hosts_of(&state, network, of(id)))).collect();
        let mut hosted: BTreeMap<NodeId, BTreeSet<NetworkId>> = BTreeMap::new();
        for (network, nodes) in &hosts {
            for node in nodes {
                hosted.entry(node.clone()).or_default().insert(network.clone());
            }
        }
        let pdcs = state.pdcs.iter().map(|(id, pdc)| (id.clone(), pdc.spec.clone())).collect();
        let policies = state.policies.iter().map(|(id, policy)| (id.clone(), policy.spec.clone())).collect();
        let lanes = fewest_lanes(&state);
        let mut index = Self { state, ports, hosts, hosted, mtus: BTreeMap::new(), pdcs, policies, lanes };
        index.mtus = index.state.networks.keys().map(|id| (id.clone(), index.guest_mtu(id))).collect();
        index
    }

    /// The verdict for a network and a pair of nodes.
    pub fn verdict(&self, network: &NetworkId, a: &Node, b: &Node) -> Verdict {
        path::decide(end(a), end(b), network, &self.pdcs, &self.policies)
    }

    /// The MTU policy of a network: its own, or else its overlay's.
    pub fn mtu_policy(&self, network: &Network) -> Option<MtuPolicy> {
        network.spec.mtu.or_else(|| self.overlay(network).and_then(|overlay| overlay.spec.mtu))
    }

    /// The overlay of a network.
    pub fn overlay(&self, network: &Network) -> Option<&Overlay> {
        self.state.overlays.get(&network.spec.overlay).map(AsRef::as_ref)
    }

    /// Guest MTU over all pairs of joined nodes that host the network. Nodes that are alike in everything that a path depends on
    /// stand for each other, so the work grows with the kinds of nodes and not with the square of their number.
    fn guest_mtu(&self, id: &NetworkId) -> Result<Mtu, MtuError> {
        let Some(network) = self.state.networks.get(id) else {
            return mtu::guest(MtuPolicy::default(), &[], USUAL_MTU);
        };
        let nodes = self.hosts.get(id).into_iter().flatten().filter_map(|node| self.state.nodes.get(node));
        let mut kinds: BTreeMap<NodeKind<'_>, (&Node, bool)> = BTreeMap::new();
        for node in nodes.filter(|node| is_member(node)) {
            kinds.entry(self.kind(node)).and_modify(|(_, twice)| *twice = true).or_insert((node, false));
        }
        let mut paths = Vec::new();
        let kinds: Vec<_> = kinds.into_values().collect();
        for (n, (a, twice)) in kinds.iter().enumerate() {
            let others = kinds[n + 1..].iter().map(|(b, _)| *b).chain(twice.then_some(*a));
            paths.extend(others.filter_map(|b| carrier(a, b, &self.verdict(id, a, b))));
        }
        paths.sort_unstable();
        paths.dedup();
        mtu::guest(self.mtu_policy(network).unwrap_or_default(), &paths, alone(&kinds))
    }

    fn kind<'a>(&self, node: &'a Node) -> NodeKind<'a> {
        let End { admin, external, foreign, pdc, .. } = end(node);
        let underlay = self.pdcs.get(pdc).map(|facts| facts.underlay.as_slice()).unwrap_or_default();
        let inside = admin.is_some_and(|address| underlay.iter().any(|prefix| prefix.contains(address)));
        let named = self.policies.values().flat_map(|rule| &rule.between);
        let named = named.into_iter().any(|selector| match selector {
            Selector::Node(name) => *name == node.metadata.name,
            Selector::Pdc(_) => false,
        });
        let mtus = (underlay_mtu(node, Outer::Admin), underlay_mtu(node, Outer::External));
        let families = (admin.map(family), external.map(family));
        NodeKind { pdc, inside, families, mtus, foreign, named: named.then_some(&node.metadata.name) }
    }
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

fn alone(kinds: &[(&Node, bool)]) -> u16 {
    kinds.iter().map(|(node, _)| underlay_mtu(node, Outer::Admin)).min().unwrap_or(USUAL_MTU)
}

fn fewest_lanes(state: &State) -> u8 {
    let of = |node: &Arc<Node>| match (&node.spec.foreign, &node.status.facts) {
        (Some(_), _) => Some(1),
        (None, facts) => facts.as_ref().map(|facts| facts.lanes.max(1)),
    };
    state.nodes.values().filter_map(of).min().unwrap_or(1)
}

/// True for a node that frames can come from: one that has joined, or a foreign peer.
pub fn is_member(node: &Node) -> bool {
    public_key(node).is_some()
}

/// Its WireGuard key, if it has one by now.
pub fn public_key(node: &Node) -> Option<crate::types::PublicKey> {
    node.spec.foreign.as_ref().map(|foreign| foreign.public_key).or(node.status.public_key)
}

/// May the node host networks of the overlay?
pub fn admits(overlay: &Overlay, node: &NodeId) -> bool {
    overlay.spec.nodes.as_ref().is_none_or(|nodes| nodes.contains(node))
}

/// The nodes that host a network: those that its ports name, and with `learning: local` every joined node that the overlay
/// admits. A foreign peer reports nothing, so it hosts such a network only if a port or the overlay names it.
fn hosts_of(state: &State, network: &Network, ports: &[Arc<Port>]) -> BTreeSet<NodeId> {
    let Some(overlay) = state.overlays.get(&network.spec.overlay) else { return BTreeSet::new() };
    let mut hosts: BTreeSet<NodeId> =
        ports.iter().map(|port| &port.spec.node).filter(|node| admits(overlay, node)).cloned().collect();
    if network.spec.learning == Learning::Local {
        let learns = |node: &Node| {
            admits(overlay, &node.metadata.name)
                && is_member(node)
                && (node.spec.foreign.is_none() || overlay.spec.nodes.is_some())
        };
        hosts.extend(state.nodes.values().filter(|node| learns(node)).map(|node| node.metadata.name.clone()));
    }
    hosts
}

/// A node as `policy::path` sees it. What is declared overrides what the node says.
pub fn end(node: &Node) -> End<'_> {
    let facts = node.status.facts.as_ref();
    let endpoint = node.spec.foreign.as_ref().and_then(|foreign| foreign.endpoint);
    End {
        node: &node.metadata.name,
        pdc: &node.spec.pdc,
        admin: node.spec.admin.or_else(|| facts.and_then(|f| f.admin)),
        external: node.spec.external.or_else(|| facts.and_then(|f| f.external)).or_else(|| endpoint.map(|e| e.ip())),
        foreign: node.spec.foreign.is_some(),
    }
}

const fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

fn underlay_mtu(node: &Node, outer: Outer) -> u16 {
    let facts = node.status.facts.as_ref();
    facts.map_or(USUAL_MTU, |facts| match outer {
        Outer::Admin => facts.admin_mtu.get(),
        Outer::External => facts.external_mtu.get(),
    })
}

/// What carries frames of a pair, and the underlay MTU below; none: nothing does.
pub fn carrier(a: &Node, b: &Node, verdict: &Verdict) -> Option<(Carrier, u16)> {
    let address = |node| match verdict.outer {
        Outer::Admin => end(node).admin,
        Outer::External => end(node).external,
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
