//! What a node cannot know of a peer that it does not hear, and management can: that it is away, that it says itself that an interface of its own is
//! the fault, that others do not hear it either, that it hears this node. So what is said of a dead tunnel begins where the fault is.

use std::collections::{BTreeMap, BTreeSet};

use super::news::Says;
use crate::api::cut::{Cut, Direction};
use crate::api::local::Finding;
use crate::api::stream::PeerWord;
pub use crate::node::watch_told::ITS_FAULT;
use crate::node::watch_told::LINE;
use crate::policy::path::Path;
use crate::types::{IfName, NodeId};

/// Code of what is said of a tunnel that carries nothing.
pub const TUNNEL: &str = "M0410";
/// In what a node says of a tunnel whose other end management does not hear either.
pub const AWAY_TOO: &str = "(M0107 there)";
/// Others that have to say of a node that they do not hear it: one alone may lie, or have a fault of its own.
const WITNESSES: usize = 2;
/// Peers that one node is told of at most.
const MOST: usize = 64;

/// What is known of one node.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    away: bool,
    line: Option<IfName>,
    /// The same of plain paths, with those that it cuts off.
    plain: Option<(IfName, Cut)>,
    /// Who hears nothing of it, [`WITNESSES`] and one of them at most.
    missed_by: BTreeSet<NodeId>,
    /// Who it hears, and does not reach.
    unreached: BTreeSet<NodeId>,
}

/// What is known of all nodes of which something is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Uplinks(BTreeMap<NodeId, Known>);

/// A tunnel of which this says surely which direction fails, as the node of the finding sees it; one whose own interface is the fault says
/// nothing of its peers.
fn dead(finding: &Finding) -> Option<&Cut> {
    let cut = finding.cut.as_ref().filter(|cut| cut.surely && cut.path == Some(Path::Tunnel))?;
    (finding.code == TUNNEL && finding.line.is_none()).then_some(cut)
}

impl Uplinks {
    /// Out of what all nodes say; `missing`: one without a connection counts as away.
    pub fn new(says: &[Says], missing: impl Fn(&NodeId) -> bool) -> Self {
        let mut known: BTreeMap<NodeId, Known> = BTreeMap::new();
        for Says { node, here, findings } in says {
            if !here {
                if missing(node) {
                    known.entry(node.clone()).or_default().away = true;
                }
                continue;
            }
            if let Some(line) = own_line(findings) {
                known.entry(node.clone()).or_default().line = Some(line.clone());
            }
            if let Some((line, cut)) = plain_line(findings) {
                known.entry(node.clone()).or_default().plain = Some((line.clone(), cut.clone()));
            }
            for cut in findings.iter().filter_map(dead) {
                for peer in &cut.peers {
                    if cut.direction == Some(Direction::FromGuests) {
                        known.entry(node.clone()).or_default().unreached.insert(peer.clone());
                        continue;
                    }
                    let missed = &mut known.entry(peer.clone()).or_default().missed_by;
                    if missed.len() <= WITNESSES {
                        missed.insert(node.clone());
                    }
                }
            }
        }
        Self(known)
    }

    /// What `reader` is told of its peers.
    pub fn of<'a>(&self, reader: &NodeId, peers: impl IntoIterator<Item = &'a NodeId>) -> Vec<PeerWord> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let word = |node: &NodeId| {
            let known = self.0.get(node)?;
            let cuts = |cut: &Cut| cut.others || cut.peers.contains(reader);
            let plain = known.plain.as_ref().filter(|(_, cut)| cuts(cut)).map(|(line, _)| line.clone());
            let word = PeerWord {
                plain,
                node: node.clone(),
                away: known.away,
                line: known.line.clone(),
                missed: known.missed_by.iter().filter(|other| *other != reader).count() >= WITNESSES,
                one_way: known.unreached.contains(reader),
            };
            (word.away || word.line.is_some() || word.plain.is_some() || word.missed || word.one_way).then_some(word)
        };
        peers.into_iter().filter_map(word).take(MOST).collect()
    }
}

/// The interface that a node says is down by which its plain paths go, and what that cuts off.
pub fn plain_line(findings: &[Finding]) -> Option<(&IfName, &Cut)> {
    let down = |finding: &&Finding| finding.code == LINE;
    findings.iter().filter(down).find_map(|finding| {
        let cut = finding.cut.as_ref().filter(|cut| cut.surely && cut.path == Some(Path::Plain))?;
        Some((finding.line.as_ref()?, cut))
    })
}

/// The interface that a node calls its own fault.
pub fn own_line(findings: &[Finding]) -> Option<&IfName> {
    findings.iter().find_map(|finding| finding.line.as_ref())
}

#[cfg(test)]
#[path = "uplinks_tests.rs"]
mod tests;
