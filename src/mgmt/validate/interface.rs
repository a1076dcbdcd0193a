//! An interface is on one bridge, so the ports that name it are ports of one network.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::taken;
use crate::api::local::Finding;
use crate::api::objects::{Any, Port};
use crate::api::problem::Problem;
use crate::mgmt::state::{Edit, State};
use crate::types::{IfName, NodeId};

/// An interface of a node.
type Place<'a> = (&'a NodeId, &'a IfName);

const HELP: &str = "an interface is on the bridge of one network: name another for one of the ports";

fn place(port: &Port) -> Option<Place<'_>> {
    port.spec.interface.as_ref().map(|interface| (&port.spec.node, interface))
}

/// Refuses a port that comes to an interface which a port of another network names. Two that were there before stay.
///
/// # Errors
/// M0349.
pub(super) fn check(after: &State, edits: &[Edit]) -> Result<(), Problem> {
    let places: BTreeSet<Place<'_>> = edits.iter().filter_map(came_to).collect();
    let wanted = |port: &&Port| place(port).is_some_and(|place| places.contains(&place));
    match shared(after.ports.values().map(AsRef::as_ref).filter(wanted)).into_iter().next() {
        Some((a, b)) if !places.is_empty() => Err(taken("M0349", text(a, b)).help(HELP)),
        Some(_) | None => Ok(()),
    }
}

/// Where a port is after an edit, if it was not there, or of another network, before.
fn came_to(edit: &Edit) -> Option<Place<'_>> {
    let Some(Any::Port(new)) = &edit.after else { return None };
    let stays = |old: &Port| place(old) == place(new) && old.spec.network == new.spec.network;
    match &edit.before {
        Some(Any::Port(old)) if stays(old) => None,
        Some(_) | None => place(new),
    }
}

/// Pairs of ports of two networks at one interface, one pair an interface and network.
fn shared<'a>(ports: impl Iterator<Item = &'a Port>) -> Vec<(&'a Port, &'a Port)> {
    let mut first: BTreeMap<Place<'_>, &Port> = BTreeMap::new();
    let mut told = BTreeSet::new();
    let mut pairs = Vec::new();
    for port in ports {
        let Some(place) = place(port) else { continue };
        match first.entry(place) {
            Entry::Vacant(free) => drop(free.insert(port)),
            Entry::Occupied(other) if other.get().spec.network == port.spec.network => {}
            Entry::Occupied(other) => {
                if told.insert((place, &port.spec.network)) {
                    pairs.push((*other.get(), port));
                }
            }
        }
    }
    pairs
}

fn text(a: &Port, b: &Port) -> String {
    let (interface, node) = place(b).map_or((String::new(), String::new()), |(n, i)| (i.to_string(), n.to_string()));
    format!(
        "ports '{}' of network '{}' and '{}' of network '{}' name the same interface '{interface}' of node '{node}'",
        a.metadata.name, a.spec.network, b.metadata.name, b.spec.network
    )
}

/// What is in the store from before the rule.
pub fn findings(state: &State) -> Vec<Finding> {
    let pairs = shared(state.ports.values().map(AsRef::as_ref));
    pairs.into_iter().map(|(a, b)| Finding::new("M0349", text(a, b), HELP)).collect()
}

#[cfg(test)]
#[path = "interface_tests.rs"]
mod tests;
