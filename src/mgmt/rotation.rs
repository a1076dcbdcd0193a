//! The change of a node's WireGuard key. The node makes the new key itself; its peers take both until the node has it in use.
//!
//! | step | who | what |
//! |---|---|---|
//! | 1 | operator, schedule | [`ask`]: the node's slice says that a new key is wanted |
//! | 2 | node | makes it, keeps it on disk beside the old one, reports its public half and proves that it holds both |
//! | 3 | here | [`propose`]: every peer's slice has both keys, and a PSK for each pair of keys that may meet |
//! | 4 | node | makes new sessions under it with every peer; when all are, reports that, proved with the new key |
//! | 5 | here | [`switch`]: the new key is the node's only one, in every slice |
//! | 6 | node | throws the old one away |
//!
//! Each step can be said again, and a crash between two of them leaves keys that both ends have.

use std::time::Duration;

use super::index::Index;
use super::keys::{self, KeyError};
use super::state::Edit;
use crate::api::local::Finding;
use crate::api::objects::{Any, Node, NodeStatus};
use crate::api::problem::{Exit, Problem};
use crate::types::{NodeId, PublicKey, Wall};

/// Nodes that change their keys at one time where the schedule says so.
const AT_ONCE: usize = 8;

/// Why a node's key is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// No machine has joined as it.
    #[error("no machine has joined as node '{0}'")]
    NotJoined(NodeId),
    /// Its networks reach a foreign peer, which has to be told by hand.
    #[error("node '{node}' has a tunnel to the foreign peer '{peer}', which would not know the new key")]
    Foreign {
        /// The node.
        node: NodeId,
        /// The foreign peer.
        peer: NodeId,
    },
    /// The key is not taken, or the change is not proved.
    #[error("node '{node}' does not change its WireGuard key: {why}")]
    Key {
        /// The node.
        node: NodeId,
        /// Why.
        why: KeyError,
    },
}

/// What a node's word about its keys leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is so already.
    Known,
    /// This is to be written.
    Change(Box<Edit>),
    /// Another node has proved the same key: this is to be written, and both are in quarantine.
    Clash {
        /// The edits.
        edits: Vec<Edit>,
        /// The other node.
        other: NodeId,
    },
}

/// The edit that asks a node for a new key.
///
/// # Errors
/// [`RotationError::NotJoined`], [`RotationError::Foreign`].
pub fn ask(index: &Index, node: &Node) -> Result<Edit, RotationError> {
    allowed(index, node)?;
    Ok(with(node, |status| status.replace_key = status.next_public_key.is_none()))
}

/// Lets peers take the key that a node has made. `proved` is whether it has shown that it holds the private halves of its key in
/// force and of this one, and means to go from one to the other.
///
/// # Errors
/// [`RotationError`]
pub fn propose(index: &Index, node: &Node, key: PublicKey, proved: bool, now: Wall) -> Result<Outcome, RotationError> {
    let status = &node.status;
    if status.next_public_key == Some(key) || status.public_key == Some(key) {
        return Ok(Outcome::Known);
    }
    if let Some(clash) = compared(index, node, key, proved, now)? {
        return Ok(clash);
    }
    allowed(index, node)?;
    Ok(Outcome::Change(Box::new(with(node, |status| {
        status.next_public_key = Some(key);
        status.replace_key = false;
    }))))
}

/// Makes the new key the only one, where it is the one that was proposed last. `proved` is whether the node has said so with it.
///
/// # Errors
/// [`RotationError::Key`]
pub fn switch(index: &Index, node: &Node, key: PublicKey, proved: bool, now: Wall) -> Result<Outcome, RotationError> {
    if node.status.next_public_key != Some(key) {
        return Ok(Outcome::Known);
    }
    if let Some(clash) = compared(index, node, key, proved, now)? {
        return Ok(clash);
    }
    Ok(Outcome::Change(Box::new(with(node, |status| {
        status.public_key = Some(key);
        status.next_public_key = None;
        status.key_since = Some(now);
        status.replace_key = false;
    }))))
}

/// The key beside all others; none: nobody else has it.
fn compared(
    index: &Index,
    node: &Node,
    key: PublicKey,
    proved: bool,
    now: Wall,
) -> Result<Option<Outcome>, RotationError> {
    let name = &node.metadata.name;
    let judged = keys::judge(&index.state, name, &key, proved);
    let other = judged.map_err(|why| RotationError::Key { node: name.clone(), why })?;
    Ok(other.map(|other| Outcome::Clash {
        edits: vec![keys::quarantine(node, now), keys::quarantine(other, now)],
        other: other.metadata.name.clone(),
    }))
}

/// Nodes whose key is older than `age` and that can change it now; a few at a time.
pub fn due(index: &Index, age: Duration, now: Wall) -> Vec<&Node> {
    let changes = |node: &Node| node.status.replace_key || node.status.next_public_key.is_some();
    let nodes = || index.state.nodes.values().map(AsRef::as_ref);
    let room = AT_ONCE.saturating_sub(nodes().filter(|node| changes(node)).count());
    let old = |node: &Node| {
        let since = node.status.key_since.or(node.status.joined);
        since.is_some_and(|since| since.as_nanos().saturating_add(nanos(age)) <= now.as_nanos())
    };
    nodes().filter(|node| !changes(node) && old(node) && allowed(index, node).is_ok()).take(room).collect()
}

/// Nodes whose key is older than `age` and that cannot change it by themselves: what is wrong, by node.
pub fn stuck(index: &Index, age: Duration, now: Wall) -> Vec<Finding> {
    let old = |node: &Node| {
        let since = node.status.key_since.or(node.status.joined)?;
        let days = now.since(since).as_secs() / 86_400;
        let error = allowed(index, node).err().filter(|_| now.since(since) >= age)?;
        let RotationError::Foreign { node, peer } = error else { return None };
        let what = format!(
            "the WireGuard key of node {node} is {days} days old and is not changed: it has a tunnel to the foreign peer {peer}, which would not know the new key"
        );
        let help = format!(
            "take {peer} out of its networks, meshctl node rotate-key {node}, then set {peer} up anew: meshctl node foreign {peer}"
        );
        Some(Finding::new("M0691", what, help))
    };
    index.state.nodes.values().filter_map(|node| old(node)).collect()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn allowed(index: &Index, node: &Node) -> Result<(), RotationError> {
    let name = &node.metadata.name;
    if node.status.public_key.is_none() || node.spec.foreign.is_some() {
        return Err(RotationError::NotJoined(name.clone()));
    }
    let networks = index.hosted.get(name).into_iter().flatten();
    let peers = networks.filter_map(|network| index.hosts.get(network)).flatten();
    let is_foreign = |peer: &&NodeId| index.state.nodes.get(*peer).is_some_and(|node| node.spec.foreign.is_some());
    match peers.filter(is_foreign).min() {
        Some(peer) => Err(RotationError::Foreign { node: name.clone(), peer: peer.clone() }),
        None => Ok(()),
    }
}

fn with(node: &Node, change: impl FnOnce(&mut NodeStatus)) -> Edit {
    let mut changed = node.clone();
    change(&mut changed.status);
    Edit::update(Any::Node(node.clone()), Any::Node(changed))
}

impl RotationError {
    /// For the user.
    pub fn problem(&self) -> Problem {
        let (exit, help) = match self {
            Self::NotJoined(_) => (Exit::Conflict, "only a node that runs meshd changes its key: meshctl node list"),
            Self::Foreign { .. } => (Exit::Conflict, "set that peer up anew by hand: meshctl node foreign NAME"),
            Self::Key { why, .. } => return Problem { what: self.to_string(), ..why.problem() },
        };
        Problem::new("M0262", exit, self.to_string()).note("nothing was changed").help(help)
    }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
