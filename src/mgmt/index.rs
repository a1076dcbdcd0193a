//! What follows from the state and every slice needs: who hosts which network, and each network's guest MTU. Made once a
//! revision, so that a slice costs what it holds and not what the mesh holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::mtus;
use super::state::State;
use crate::api::objects::{Network, Node, Overlay, Port};
use crate::policy::mtu::{Guest, MtuPolicy};
use crate::policy::path::{self, End, PathRule, PdcFacts, Verdict};
use crate::table::Learning;
use crate::types::{NetworkId, NodeId, PdcId, PolicyId};

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
    /// Guest MTU of each network, and what it came from.
    pub mtus: BTreeMap<NetworkId, Guest>,
    /// Facts of all PDCs, as `policy::path` takes them.
    pub pdcs: BTreeMap<PdcId, PdcFacts>,
    /// All policies, as `policy::path` takes them.
    pub policies: BTreeMap<PolicyId, PathRule>,
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
        let mut index = Self { state, ports, hosts, hosted, mtus: BTreeMap::new(), pdcs, policies };
        index.mtus = index.state.networks.keys().map(|id| (id.clone(), mtus::guest(&index, id))).collect();
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
}

/// True for a node that frames can come from: one that has joined, or a foreign peer.
pub fn is_member(node: &Node) -> bool {
    public_key(node).is_some()
}

/// Its WireGuard key, if it has one by now, and only one machine.
pub fn public_key(node: &Node) -> Option<crate::types::PublicKey> {
    let own = node.status.public_key.filter(|_| node.status.quarantined.is_none());
    node.spec.foreign.as_ref().map(|foreign| foreign.public_key).or(own)
}

/// May the node host networks of the overlay?
pub fn admits(overlay: &Overlay, node: &NodeId) -> bool {
    overlay.spec.nodes.as_ref().is_none_or(|nodes| nodes.contains(node))
}

/// Is the node made a host of a `learning: local` network by name? By the network's own list, or else by its overlay's. A foreign
/// peer reports nothing, so a pattern does not mean it.
fn names(overlay: &Overlay, network: &Network, node: &Node) -> bool {
    let name = node.metadata.name.as_str();
    match &network.spec.nodes {
        Some(nodes) => nodes.iter().any(|one| one.fits(name) && (one.is_name() || node.spec.foreign.is_none())),
        None => overlay.spec.nodes.is_some(),
    }
}

/// The nodes that host a network: those that its ports name, and with `learning: local` every joined node that an operator made a
/// host of it ([`names`]). Nobody becomes one by being a member of the mesh, nor by what it reports: what a node found counts for
/// a network that names no hosts, and that is what it found before such names were needed.
fn hosts_of(state: &State, network: &Network, ports: &[Arc<Port>]) -> BTreeSet<NodeId> {
    let Some(overlay) = state.overlays.get(&network.spec.overlay) else { return BTreeSet::new() };
    let trusted = |name: &NodeId| state.nodes.get(name).is_none_or(|node| node.status.quarantined.is_none());
    let counts = |port: &&Arc<Port>| !port.spec.reported || network.spec.nodes.is_none();
    let mut hosts: BTreeSet<NodeId> = ports
        .iter()
        .filter(counts)
        .map(|port| &port.spec.node)
        .filter(|node| admits(overlay, node) && trusted(node))
        .cloned()
        .collect();
    if network.spec.learning == Learning::Local {
        let learns =
            |node: &Node| admits(overlay, &node.metadata.name) && is_member(node) && names(overlay, network, node);
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
