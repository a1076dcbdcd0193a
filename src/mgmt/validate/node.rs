//! Rules about nodes.

use std::sync::Arc;

use super::{exists, refuse, taken};
use crate::api::objects::{Kind, Node};
use crate::api::problem::Problem;
use crate::mgmt::facts;
use crate::mgmt::keys::{self, KeyError};
use crate::mgmt::state::State;
use crate::tunnel::is_sound;
use crate::types::NodeId;

pub(super) fn check(before: &State, after: &State, node: &Node) -> Result<(), Problem> {
    let name = &node.metadata.name;
    exists(after, Kind::Pdc, node.spec.pdc.as_str(), &format!("node {name}"))?;
    check_pdc(before, node)?;
    let old = before.nodes.get(name).map(AsRef::as_ref);
    if let Err(error) = facts::check(after, old, node) {
        return Err(refuse("M0328", format!("node '{name}': {error}")));
    }
    check_foreign(after, old, node)?;
    check_unique(after, node)
}

/// The PDC is in the certificate: another one needs another certificate, so the node joins again.
fn check_pdc(before: &State, node: &Node) -> Result<(), Problem> {
    let name = &node.metadata.name;
    let Some(old) = before.nodes.get(name) else { return Ok(()) };
    if old.status.joined.is_none() || old.spec.pdc == node.spec.pdc {
        return Ok(());
    }
    let what =
        format!("node '{name}' joined as one of PDC '{}'; it cannot be moved to '{}'", old.spec.pdc, node.spec.pdc);
    Err(refuse("M0323", what).help(format!("delete it and let it join with a token of PDC '{}'", node.spec.pdc)))
}

/// A key that an operator declares is the peer's word by the operator's: nobody proves it, but nobody else may have it, or have had
/// it taken back.
fn check_foreign(after: &State, old: Option<&Node>, node: &Node) -> Result<(), Problem> {
    let key = |node: &Node| node.spec.foreign.as_ref().map(|foreign| foreign.public_key);
    let Some(new) = key(node).filter(|new| old.and_then(key) != Some(*new)) else { return Ok(()) };
    let name = &node.metadata.name;
    if !is_sound(&new) {
        return Err(KeyError::Unsound(new).problem());
    }
    match keys::holder(after, name, &new) {
        Some(other) => Err(same_key(name, &other.metadata.name)),
        None => Ok(()),
    }
}

fn same_key(name: &NodeId, other: &NodeId) -> Problem {
    let what = format!("nodes '{name}' and '{other}' have the same WireGuard key");
    taken("M0325", what).help("a cloned disk? make new keys on one of them and join again")
}

/// No two nodes have one WireGuard key, in force or next, but where both are in quarantine for it; nor one tunnel address.
fn check_unique(after: &State, node: &Node) -> Result<(), Problem> {
    let name = &node.metadata.name;
    let others = || after.nodes.values().filter(|other| other.metadata.name != *name);
    let both_out = |other: &Node| node.status.quarantined.is_some() && other.status.quarantined.is_some();
    let shares = |other: &&Arc<Node>| keys::of(node).any(|key| keys::of(other).any(|theirs| theirs == key));
    if let Some(other) = others().find(|other| shares(other) && !both_out(other)) {
        return Err(same_key(name, &other.metadata.name));
    }
    let address = |node: &Node| node.spec.foreign.as_ref().map(|f| f.tunnel_address).or(node.status.tunnel_address);
    let mine = address(node);
    match others().find(|other| mine.is_some() && address(other) == mine) {
        Some(other) => {
            Err(taken("M0325", format!("nodes '{name}' and '{}' have the same tunnel address", other.metadata.name)))
        }
        None => Ok(()),
    }
}
