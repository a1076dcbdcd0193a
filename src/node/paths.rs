//! The path of every (network, peer) pair of a slice, decided once here and used by the plan, the forwarding table, `explain`
//! and `status` alike.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::policy::mtu::Family;
use crate::policy::path::{self, End, Outer, Path, Verdict, Why};
use crate::table::{NetKey, Peer, Slice};
use crate::types::NodeId;

/// This node's own outer addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Own {
    /// Address inside the PDC.
    pub admin: Option<IpAddr>,
    /// Address for other PDCs.
    pub external: Option<IpAddr>,
}

/// All verdicts of a slice.
pub type Paths = BTreeMap<NetKey, BTreeMap<NodeId, Verdict>>;

/// Decides for every member of every hosted network: our own answer, or the management node's where that is stricter.
pub fn decide_all(slice: &Slice, own: Own) -> Paths {
    let net_paths = |key: &NetKey, network: &crate::table::Network| {
        let one = |(node, theirs): (&NodeId, &Path)| {
            let peer = slice.peers.get(node)?;
            let ours = decide(slice, own, &network.name, node, peer);
            let verdict = path::stricter(ours, *theirs);
            let from_files = slice.version.incarnation == 0;
            Some((node.clone(), if from_files { named_by_files(verdict) } else { verdict }))
        };
        (key.clone(), network.members.iter().filter_map(one).collect())
    };
    slice.networks.iter().map(|(key, network)| net_paths(key, network)).collect()
}

fn decide(slice: &Slice, own: Own, network: &crate::types::NetworkId, node: &NodeId, peer: &Peer) -> Verdict {
    let here = End { node: &slice.node, pdc: &slice.pdc, admin: own.admin, external: own.external, foreign: false };
    let foreign = peer.foreign.is_some();
    let there = End { node, pdc: &peer.pdc, admin: peer.admin, external: peer.external, foreign };
    path::decide(here, there, network, &slice.pdcs, &slice.policies)
}

/// Where this node and the management node do not decide alike, one finding a peer. The stricter answer counts already; that
/// they differ means that one of them has an older or a damaged picture, or lies.
pub fn disagreements(slice: &Slice, paths: &Paths) -> Vec<Finding> {
    // Table files have no second decider.
    if slice.version.incarnation == 0 {
        return Vec::new();
    }
    let mut by_peer: BTreeMap<&NodeId, (&NetKey, &Verdict, Path, usize)> = BTreeMap::new();
    for (key, verdicts) in paths {
        let Some(network) = slice.networks.get(key) else { continue };
        for (node, verdict) in verdicts {
            let Some(theirs) = network.members.get(node).copied() else { continue };
            if verdict.path != theirs || verdict.why == Why::Disagreement {
                by_peer.entry(node).or_insert((key, verdict, theirs, 0)).3 += 1;
            }
        }
    }
    by_peer.into_iter().map(|(node, (key, verdict, theirs, count))| differ(node, key, verdict, theirs, count)).collect()
}

fn differ(node: &NodeId, key: &NetKey, verdict: &Verdict, theirs: Path, count: usize) -> Finding {
    let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    let ours = if verdict.path == theirs {
        "this node reads the same table less strictly".to_owned()
    } else {
        format!("this node says {} ({})", verdict.path, verdict.why)
    };
    Finding::new(
        "M0413",
        format!(
            "path to '{node}' in {key}{more}: the management node says {theirs}, {ours}; the stricter counts: {}",
            verdict.path
        ),
        "right after a change it goes by itself; if it stays, compare `meshctl policy matrix` with `meshctl status`",
    )
    .cuts(Cut { peers: vec![node.clone()], ..Cut::default() })
}

/// A slice out of table files has no certified PDC and no management node to disagree with: names what really decided.
fn named_by_files(verdict: Verdict) -> Verdict {
    let why = if matches!(verdict.why, Why::SamePdc(_)) {
        Why::TableFile
    } else if verdict.path == Path::Forbidden && verdict.why == Why::Disagreement {
        Why::TableFileOutsideUnderlay
    } else {
        return verdict;
    };
    Verdict { why, ..verdict }
}

/// Outer address of the plain path to a peer.
pub fn vtep(peer: &Peer, outer: Outer) -> Option<IpAddr> {
    match outer {
        Outer::Admin => peer.admin,
        Outer::External => peer.external,
    }
}

/// Where a peer's lane is expected to listen; learned endpoints take precedence in the tunnel itself.
pub fn endpoint(peer: &Peer, outer: Outer, lane: u8) -> Option<SocketAddr> {
    if let Some(foreign) = &peer.foreign {
        return foreign.endpoint;
    }
    let port = peer.listen.get().checked_add(u16::from(lane))?;
    vtep(peer, outer).map(|address| SocketAddr::new(address, port))
}

/// Family of the outer packets to a peer: that of the address that they go to. `own` is what this node finds on the interface for that side, which
/// may be of the other family where both have theirs declared; it counts where nothing says where the peer is.
pub fn family(peer: &Peer, outer: Outer, own: Option<IpAddr>) -> Family {
    let there = endpoint(peer, outer, 0).map(|to| to.ip());
    match there.or(own).map(|address| address.to_canonical()) {
        Some(IpAddr::V6(_)) => Family::V6,
        Some(IpAddr::V4(_)) | None => Family::V4,
    }
}

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;
