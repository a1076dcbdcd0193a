//! Rules about nodes.

use super::{exists, refuse, taken};
use crate::api::objects::{Kind, Node};
use crate::api::problem::Problem;
use crate::mgmt::state::State;
use crate::mgmt::{facts, index};

pub(super) fn check(before: &State, after: &State, node: &Node) -> Result<(), Problem> {
    let name = &node.metadata.name;
    exists(after, Kind::Pdc, node.spec.pdc.as_str(), &format!("node {name}"))?;
    check_pdc(before, node)?;
    for address in [node.spec.admin, node.spec.external].into_iter().flatten() {
        if !facts::is_hosts(address) {
            return Err(refuse("M0328", format!("{address} of node '{name}' is not an address of one host")));
        }
    }
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

/// No two nodes have one WireGuard key or one tunnel address.
fn check_unique(after: &State, node: &Node) -> Result<(), Problem> {
    let name = &node.metadata.name;
    let others = || after.nodes.values().filter(|other| other.metadata.name != *name);
    let key = index::public_key(node);
    if let Some(other) = others().find(|other| key.is_some() && index::public_key(other) == key) {
        let what = format!("nodes '{name}' and '{}' have the same WireGuard key", other.metadata.name);
        return Err(taken("M0325", what).help("a cloned disk? make new keys on one of them and join again"));
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
