//! Another name for a node that no machine has joined as yet. A node that has joined keeps its name: its certificate holds it, the proofs of
//! its keys are about it, and the pre-shared keys of its tunnels are derived from it (`docs/protocol.md`).

use super::state::{Edit, State};
use super::validate::missing;
use crate::api::objects::{Any, Kind, Node};
use crate::api::problem::{Exit, Problem};
use crate::policy::path::Selector;
use crate::types::{NamePattern, NodeId};

/// The edits that give a node another name, with everything that names it: ports, policies, overlays, networks and tokens.
///
/// # Errors
/// M0333: there is no such node; M0331: there is one of the new name; M0287: the name cannot change.
pub fn rename(state: &State, old: &NodeId, new: &NodeId) -> Result<Vec<Edit>, Problem> {
    let node = state.nodes.get(old).ok_or_else(|| missing(state, "M0333", Kind::Node, old.as_str()))?;
    if state.nodes.contains_key(new) {
        let what = format!("node '{new}' exists already");
        return Err(Problem::new("M0331", Exit::Conflict, what)
            .note("nothing was changed")
            .help("see what there is: meshctl node list"));
    }
    movable(node, new)?;
    let mut renamed = node.as_ref().clone();
    renamed.metadata.name = new.clone();
    renamed.metadata.revision = None;
    let mut edits = vec![Edit::create(Any::Node(renamed))];
    let all = Kind::ALL.into_iter().flat_map(|kind| state.list(kind));
    edits.extend(all.filter_map(|object| {
        let mut after = object.clone();
        follow(&mut after, old, new).then(|| Edit::update(object, after))
    }));
    edits.push(Edit::delete(Any::Node(node.as_ref().clone())));
    Ok(edits)
}

/// Why a node keeps its name, and the way to another one.
fn movable(node: &Node, new: &NodeId) -> Result<(), Problem> {
    let (name, pdc, status) = (&node.metadata.name, &node.spec.pdc, &node.status);
    let refused = |what: String| Problem::new("M0287", Exit::Conflict, what).note("nothing was changed");
    if node.spec.foreign.is_some() {
        return Err(refused(format!(
            "node '{name}' is a foreign peer, and the pre-shared keys of its tunnels are derived from its name"
        ))
        .help(format!("make it anew: meshctl node create {new} --pdc {pdc} --foreign-key KEY --tunnel-address ADDRESS"))
        .help(format!("then set it up: meshctl node foreign {new}; and: meshctl node delete {name} --cascade")));
    }
    if status.joined.is_some() || status.rejoin.is_some() || !status.revoked.is_empty() {
        return Err(refused(format!("node '{name}' has joined: its certificate, the proofs of its keys and the keys of its tunnels hold its name"))
            .help(format!(
                "a machine takes the new name by joining anew, its ports first: meshctl node create {new} --pdc {pdc}; \
                 meshctl port set PORT --node {new}, for each"
            ))
            .help(format!(
                "on the machine: meshctl leave; then here: meshctl node delete {name}; meshctl token create --pdc {pdc} --name {new}"
            ))
            .help(format!("on the machine: meshctl join --name {new}"))
            .help(format!("to keep the name on another machine: meshctl token create --replace {name}")));
    }
    Ok(())
}

/// Puts the new name where the old one stands; true where that was anywhere.
fn follow(object: &mut Any, old: &NodeId, new: &NodeId) -> bool {
    let mut found = false;
    let pattern = |text: &NodeId| text.as_str().parse::<NamePattern>().ok();
    match object {
        Any::Port(port) if port.spec.node == *old => {
            port.spec.node = new.clone();
            found = true;
        }
        Any::PathPolicy(policy) => {
            for end in policy.spec.between.iter_mut().filter(|end| matches!(end, Selector::Node(node) if node == old)) {
                *end = Selector::Node(new.clone());
                found = true;
            }
        }
        Any::Overlay(overlay) => {
            if let Some(nodes) = overlay.spec.nodes.as_mut().filter(|nodes| nodes.contains(old)) {
                nodes.remove(old);
                found = nodes.insert(new.clone());
            }
        }
        Any::Network(network) => {
            let (Some(was), Some(is)) = (pattern(old), pattern(new)) else { return false };
            if let Some(nodes) = network.spec.nodes.as_mut().filter(|nodes| nodes.contains(&was)) {
                nodes.remove(&was);
                found = nodes.insert(is);
            }
        }
        Any::Token(token) if token.spec.name_pattern == old.as_str() => {
            token.spec.name_pattern = new.to_string();
            found = true;
        }
        Any::Pdc(_) | Any::Node(_) | Any::Port(_) | Any::Token(_) => {}
    }
    found
}

#[cfg(test)]
#[path = "rename_tests.rs"]
mod tests;
