//! What may not be: every rule about objects that one object alone cannot break. Pure: the state before and the edits come in,
//! a [`Problem`] or nothing comes out, and nothing is changed when there is a problem.

mod deletion;
mod floating;
mod interface;
mod network;
mod node;
mod pdc;

use std::collections::{BTreeMap, BTreeSet};

pub use self::interface::findings as interface_findings;
pub(super) use self::network::belongs;
use super::state::{Edit, State};
use crate::api::objects::{Any, Kind, Meta, PathPolicy};
use crate::api::problem::{Exit, Problem};
use crate::policy::path::{Action, Selector};
use crate::types::{NetworkId, PdcId};

/// Labels of one object, at most.
const LABELS_MAX: usize = 64;
/// Bytes of a label's key or value and of other free text, at most.
const TEXT_MAX: usize = 256;

/// Objects that a refusal names beside the first.
const ALSO: usize = 20;

/// One refusal of all that is wrong: the first, and in its notes the others; none: nothing is.
pub(super) fn together(mut problems: Vec<Problem>) -> Option<Problem> {
    let mut said = BTreeSet::new();
    problems.retain(|problem| said.insert((problem.code.clone(), problem.what.clone())));
    let mut problems = problems.into_iter();
    let first = problems.next()?;
    let others: Vec<Problem> = problems.collect();
    let more = others.len().saturating_sub(ALSO);
    let named = others.iter().take(ALSO);
    let first = named.fold(first, |first, other| first.note(format!("also [{}] {}", other.code, other.what)));
    Some(if more > 0 { first.note(format!("and {more} more")) } else { first })
}

/// Holds every rule for the objects that `edits` touch, in the state that they make.
///
/// # Errors
/// A [`Problem`] that names every object that breaks a rule by itself, or the first two that do together.
pub fn check(before: &State, edits: &[Edit]) -> Result<State, Problem> {
    let after = before.after(edits);
    let mut networks = BTreeSet::new();
    let mut problems = Vec::new();
    for edit in edits.iter().filter(|edit| edit.before != edit.after) {
        let judged = match (&edit.before, &edit.after) {
            (_, Some(object)) => check_object(before, &after, object),
            (Some(object), None) => deletion::check(&after, object),
            (None, None) => Ok(()),
        };
        problems.extend(judged.err());
        for object in [&edit.before, &edit.after].into_iter().flatten() {
            touched(&after, object, &mut networks);
        }
    }
    if let Some(problem) = together(problems) {
        return Err(problem);
    }
    interface::check(&after, edits)?;
    network::check_all(before, &after, &networks)?;
    Ok(after)
}

fn check_object(before: &State, after: &State, object: &Any) -> Result<(), Problem> {
    match object {
        Any::Pdc(pdc) => {
            check_labels(Kind::Pdc, &pdc.metadata)?;
            pdc::check_routers(pdc)
        }
        Any::Node(new) => {
            check_labels(Kind::Node, &new.metadata)?;
            node::check(before, after, new)
        }
        Any::Overlay(overlay) => {
            check_labels(Kind::Overlay, &overlay.metadata)?;
            network::check_overlay(after, overlay)
        }
        Any::Network(net) => {
            check_labels(Kind::Network, &net.metadata)?;
            network::check_network(after, net)
        }
        Any::Port(port) => {
            check_labels(Kind::Port, &port.metadata)?;
            network::check_port(after, port)
        }
        Any::PathPolicy(policy) => {
            check_labels(Kind::PathPolicy, &policy.metadata)?;
            check_policy(after, policy)
        }
        Any::Token(token) => exists(after, Kind::Pdc, token.spec.pdc.as_str(), "the new token"),
    }
}

/// The networks whose ports or MTU an edit can break.
fn touched(state: &State, object: &Any, out: &mut BTreeSet<NetworkId>) {
    match object {
        Any::Network(network) => drop(out.insert(network.metadata.name.clone())),
        Any::Port(port) => drop(out.insert(port.spec.network.clone())),
        Any::Overlay(overlay) => {
            let name = &overlay.metadata.name;
            out.extend(state.networks.values().filter(|n| n.spec.overlay == *name).map(|n| n.metadata.name.clone()));
        }
        // These move paths, so any fixed MTU may be concerned.
        Any::PathPolicy(_) | Any::Pdc(_) | Any::Node(_) => {
            out.extend(
                state.networks.values().filter(|n| network::fixed_mtu(state, n)).map(|n| n.metadata.name.clone()),
            );
        }
        Any::Token(_) => {}
    }
}

fn check_policy(state: &State, policy: &PathPolicy) -> Result<(), Problem> {
    let name = &policy.metadata.name;
    let whose = format!("policy {name}");
    let spec = &policy.spec;
    if spec.between.len() > 2 {
        let what = format!("policy '{name}' names {} ends; a path has two", spec.between.len());
        return Err(refuse("M0402", what));
    }
    if let [Selector::Node(one), Selector::Node(two)] = &spec.between[..]
        && one == two
    {
        // Between two nodes of one PDC there are paths, between a node and itself there is none.
        let what = format!("policy '{name}' names node '{one}' twice; a path has two ends");
        let help = format!("name the node at the other end; for all paths of '{one}' name it once");
        return Err(refuse("M0402", what).help(help));
    }
    for selector in &spec.between {
        match selector {
            Selector::Pdc(pdc) => exists(state, Kind::Pdc, pdc.as_str(), &whose)?,
            Selector::Node(node) => exists(state, Kind::Node, node.as_str(), &whose)?,
            Selector::Unknown => {
                return Err(refuse("M0302", format!("policy '{name}' names an end of no known kind")));
            }
        }
    }
    if let Some(network) = &spec.network {
        exists(state, Kind::Network, network.as_str(), &whose)?;
    }
    let pdc_of = |selector: &Selector| -> Option<PdcId> {
        match selector {
            Selector::Pdc(pdc) => Some(pdc.clone()),
            Selector::Node(node) => state.nodes.get(node).map(|node| node.spec.pdc.clone()),
            Selector::Unknown => None,
        }
    };
    let [a, b] = [0, 1].map(|n| spec.between.get(n).and_then(pdc_of));
    let across = a.is_some() && b.is_some() && a != b;
    if spec.action == Action::Plain && across && !spec.i_know_this_is_clear {
        let what = format!("policy '{name}' sends frames between two PDCs in clear");
        return Err(refuse("M0401", what).help("if that is what you want, set iKnowThisIsClear: true"));
    }
    Ok(())
}

fn check_labels<N: std::fmt::Display>(kind: Kind, meta: &Meta<N>) -> Result<(), Problem> {
    let too_long = |text: &String| text.len() > TEXT_MAX;
    if meta.labels.len() > LABELS_MAX || meta.labels.iter().any(|(k, v)| too_long(k) || too_long(v)) {
        let what = format!(
            "{kind} '{}' has too many or too long labels: {LABELS_MAX} of {TEXT_MAX} bytes are the most",
            meta.name
        );
        return Err(refuse("M0327", what));
    }
    Ok(())
}

/// A refusal of something invalid.
fn refuse(code: &str, what: String) -> Problem {
    Problem::new(code, Exit::Invalid, what).note("nothing was changed")
}

/// A refusal of something that is taken.
fn taken(code: &str, what: String) -> Problem {
    Problem::new(code, Exit::Conflict, what).note("nothing was changed")
}

/// The object that `whose` refers to must exist.
fn exists(state: &State, kind: Kind, name: &str, whose: &str) -> Result<(), Problem> {
    match state.get(kind, name) {
        Some(_) => Ok(()),
        None => Err(Problem { exit: Exit::Invalid, ..missing(state, "M0330", kind, name) }
            .note(format!("{whose} refers to it"))),
    }
}

/// There is no such object; the most similar name is suggested.
pub fn missing(state: &State, code: &str, kind: Kind, name: &str) -> Problem {
    let problem = Problem::new(code, Exit::NotFound, format!("{} '{}' does not exist", title(kind), name));
    let problem = problem.note("nothing was changed");
    match crate::config::nearest(name, state.names(kind)) {
        Some(near) => problem.help(format!("did you mean '{near}'?")),
        None => problem.help(format!("see what there is: meshctl {kind} list")),
    }
}

const fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Pdc => "PDC",
        Kind::Node => "node",
        Kind::Overlay => "overlay",
        Kind::Network => "network",
        Kind::Port => "port",
        Kind::PathPolicy => "policy",
        Kind::Token => "token",
    }
}

/// First value that two share, with both names.
fn twice<K: Ord, N>(pairs: impl Iterator<Item = (K, N)>) -> Option<(K, N, N)> {
    let mut seen: BTreeMap<K, N> = BTreeMap::new();
    for (key, name) in pairs {
        if let Some(first) = seen.remove(&key) {
            return Some((key, first, name));
        }
        seen.insert(key, name);
    }
    None
}

#[cfg(test)]
mod tests;
