//! What is still referred to is not deleted.

use super::taken;
use crate::api::objects::{Any, Kind};
use crate::api::problem::Problem;
use crate::mgmt::state::State;
use crate::policy::path::Selector;

/// References that are named in a refusal, at most.
const NAMED: usize = 5;

/// Refuses the deletion of `object` while something in `after` refers to it.
pub(super) fn check(after: &State, object: &Any) -> Result<(), Problem> {
    let (kind, name) = (object.kind(), object.name());
    let references = references(after, kind, name);
    if references.is_empty() {
        return Ok(());
    }
    let mut problem = taken("M0313", format!("{kind} '{name}' is still referred to"));
    for reference in references.iter().take(NAMED) {
        problem = problem.note(format!("by {reference}"));
    }
    if let Some(more) = references.len().checked_sub(NAMED).filter(|more| *more > 0) {
        problem = problem.note(format!("and by {more} more"));
    }
    let first = references.first().and_then(|reference| reference.split_once(' '));
    let problem = match first {
        Some((other, name)) => {
            problem.help(format!("delete or change those first, as in: meshctl {other} delete {name}"))
        }
        None => problem,
    };
    Err(match kind {
        Kind::Node | Kind::Network => {
            problem.help(format!("or its ports together with it: meshctl {kind} delete {name} --cascade"))
        }
        Kind::Pdc | Kind::Overlay | Kind::Port | Kind::PathPolicy | Kind::Token => problem,
    })
}

/// What refers to an object: `port web-1`, `policy secret`.
fn references(state: &State, kind: Kind, name: &str) -> Vec<String> {
    let policies = |hit: &dyn Fn(&crate::policy::path::PathRule) -> bool| -> Vec<String> {
        let hits = state.policies.values().filter(|policy| hit(&policy.spec));
        hits.map(|policy| format!("policy {}", policy.metadata.name)).collect()
    };
    let ports = |hit: &dyn Fn(&crate::api::objects::PortSpec) -> bool| -> Vec<String> {
        let hits = state.ports.values().filter(|port| hit(&port.spec));
        hits.map(|port| format!("port {}", port.metadata.name)).collect()
    };
    match kind {
        Kind::Pdc => {
            let nodes = state.nodes.values().filter(|n| n.spec.pdc.as_str() == name);
            let tokens = state.tokens.values().filter(|t| t.spec.pdc.as_str() == name);
            let selects = |s: &Selector| matches!(s, Selector::Pdc(pdc) if pdc.as_str() == name);
            let mut found: Vec<_> = nodes.map(|n| format!("node {}", n.metadata.name)).collect();
            found.extend(tokens.map(|t| format!("token {}", t.metadata.name)));
            found.extend(policies(&|rule| rule.between.iter().any(selects)));
            found
        }
        Kind::Node => {
            let selects = |s: &Selector| matches!(s, Selector::Node(node) if node.as_str() == name);
            let mut found = ports(&|port| port.node.as_str() == name);
            found.extend(policies(&|rule| rule.between.iter().any(selects)));
            found
        }
        Kind::Overlay => {
            let networks = state.networks.values().filter(|n| n.spec.overlay.as_str() == name);
            networks.map(|n| format!("network {}", n.metadata.name)).collect()
        }
        Kind::Network => {
            let mut found = ports(&|port| port.network.as_str() == name);
            found.extend(policies(&|rule| rule.network.as_ref().is_some_and(|n| n.as_str() == name)));
            found
        }
        Kind::Port | Kind::PathPolicy | Kind::Token => Vec::new(),
    }
}
