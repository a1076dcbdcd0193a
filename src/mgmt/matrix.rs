//! The policy matrix: the path of every pair, by PDC and by node.

use super::index::Index;
use super::mtus;
use crate::api::admin::{Matrix, NodePair, PdcPair};
use crate::api::objects::Node;
use crate::policy::path::{self, End};
use crate::types::{NetworkId, NodeId, PdcId};

/// Pairs of nodes that are listed at most.
const PAIRS_MAX: usize = 10_000;

/// The matrix of a state.
pub fn matrix(index: &Index) -> Matrix {
    let ids: Vec<&PdcId> = index.pdcs.keys().collect();
    let pairs = ids.iter().enumerate().flat_map(|(n, a)| ids[n..].iter().map(move |b| (*a, *b)));
    let pdcs = pairs.filter_map(|(a, b)| pdc_pair(index, a, b)).collect();
    let mut nodes = Vec::new();
    for (network, hosts) in &index.hosts {
        let hosts: Vec<&Node> = hosts.iter().filter_map(|id| index.state.nodes.get(id)).map(AsRef::as_ref).collect();
        for (n, a) in hosts.iter().enumerate() {
            let room = PAIRS_MAX.saturating_sub(nodes.len());
            nodes.extend(hosts[n + 1..].iter().take(room).map(|b| node_pair(index, network, a, b)));
        }
    }
    Matrix { pdcs, nodes }
}

/// What two nodes with addresses inside their PDCs' underlays would get in a network that no policy names.
fn pdc_pair(index: &Index, a: &PdcId, b: &PdcId) -> Option<PdcPair> {
    let [x, y]: [NodeId; 2] = ["any-node-of-a".parse().ok()?, "any-node-of-b".parse().ok()?];
    let network: NetworkId = "any-network".parse().ok()?;
    let inside = |pdc: &PdcId| index.pdcs.get(pdc)?.underlay.first().map(crate::types::Prefix::network);
    let [one, other] =
        [(&x, a), (&y, b)].map(|(node, pdc)| End { node, pdc, admin: inside(pdc), external: None, foreign: false });
    let verdict = path::decide(one, other, &network, &index.pdcs, &index.policies);
    Some(PdcPair { a: a.clone(), b: b.clone(), path: verdict.path, why: verdict.why.to_string() })
}

fn node_pair(index: &Index, network: &NetworkId, a: &Node, b: &Node) -> NodePair {
    let verdict = index.verdict(network, a, b);
    let vlan = index.state.networks.get(network).and_then(|n| index.mtu_policy(n)).is_some_and(|policy| policy.vlan);
    let mtu = mtus::pair(index, network, a, b).and_then(|pair| pair.span.sum(vlan).mtu().ok());
    NodePair {
        network: network.clone(),
        a: a.metadata.name.clone(),
        b: b.metadata.name.clone(),
        path: verdict.path,
        why: verdict.why.to_string(),
        outer: verdict.outer,
        mtu,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mgmt::fixture;
    use crate::policy::path::Path;

    #[test]
    fn the_matrix_of_two_by_two() {
        let matrix = matrix(&Index::new(Arc::new(fixture::mesh())));
        let pdcs: Vec<_> = matrix.pdcs.iter().map(|p| (p.a.as_str(), p.b.as_str(), p.path)).collect();
        assert_eq!(pdcs, [("a", "a", Path::Plain), ("a", "b", Path::Tunnel), ("b", "b", Path::Plain)]);
        assert_eq!(matrix.nodes.len(), 6);
        let across = matrix.nodes.iter().find(|p| p.a.as_str() == "a-1" && p.b.as_str() == "b-1").unwrap();
        assert_eq!(
            (across.path, across.mtu.unwrap().get(), across.why.as_str()),
            (Path::Tunnel, 1418, "different PDCs")
        );
        let inside = matrix.nodes.iter().find(|p| p.b.as_str() == "a-2").unwrap();
        assert_eq!((inside.path, inside.mtu.unwrap().get()), (Path::Plain, 1450));
    }
}
