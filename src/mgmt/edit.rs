//! From what an operator sends to edits: revisions compared, statuses kept, defaults filled in. Whether the result makes sense
//! is for [`super::validate`] to say.

use std::collections::BTreeSet;

use super::state::{Edit, State, key, with_revision};
use super::validate::{missing, together};
use crate::api::objects::{Any, Kind, Node, NodeStatus, Overlay};
use crate::api::problem::{Exit, Problem};
use crate::table::Learning;
use crate::types::UdpPort;

/// First UDP port that an overlay is given (RFC 7348 section 5).
const FIRST_UDP_PORT: u64 = 4789;

/// Well-known UDP ports that a host may need: DNS, DHCP, NTP, IKE, DHCPv6.
const RESERVED: [u16; 9] = [53, 67, 68, 123, 500, 546, 547, 4500, 5353];
/// Tunnel ports of nodes that have not said theirs: the usual one and one for each possible lane.
const TUNNELS: std::ops::RangeInclusive<u16> = 51_820..=51_883;

/// Edits that bring all `items` to what they say. Unchanged objects give an edit with equal sides.
///
/// # Errors
/// A [`Problem`]: a revision that has moved on, a kind that cannot be applied, an object named twice.
pub fn apply(state: &State, items: Vec<Any>) -> Result<Vec<Edit>, Problem> {
    let mut seen = BTreeSet::new();
    let mut ports = udp_ports(state, &items);
    let mut edits = Vec::with_capacity(items.len());
    let mut problems = Vec::new();
    for item in items {
        if !seen.insert((item.kind(), item.name().to_owned())) {
            let what = format!("{} '{}' is in the request twice", item.kind(), item.name());
            problems.push(Problem::new("M0334", Exit::Invalid, what).note("nothing was changed"));
            continue;
        }
        match put(state, item, false, &mut ports) {
            Ok(edit) => edits.push(edit),
            Err(problem) => problems.push(problem),
        }
    }
    together(problems).map_or(Ok(edits), Err)
}

/// The edit of one object; with `create`, an existing one is refused.
///
/// # Errors
/// As [`apply`], and [`Problem`] M0331.
pub fn put_one(state: &State, item: Any, create: bool) -> Result<Edit, Problem> {
    let mut ports = udp_ports(state, std::slice::from_ref(&item));
    put(state, item, create, &mut ports)
}

fn put(state: &State, item: Any, create: bool, ports: &mut BTreeSet<u16>) -> Result<Edit, Problem> {
    let (kind, name) = (item.kind(), item.name().to_owned());
    let before = state.get(kind, &name);
    if create && before.is_some() {
        let problem = Problem::new("M0331", Exit::Conflict, format!("{kind} '{name}' exists already"));
        return Err(problem.note("nothing was changed").help(format!("to change it: meshctl {kind} set {name} ...")));
    }
    check_revision(kind, &name, item.revision(), before.as_ref())?;
    let item = with_revision(item, before.as_ref().and_then(Any::revision));
    let after = complete(state, item, before.as_ref(), ports)?;
    Ok(Edit { before, after: Some(after) })
}

/// An edit that insists on a revision which is not the newest loses, and learns the newest.
fn check_revision(kind: Kind, name: &str, wanted: Option<u64>, before: Option<&Any>) -> Result<(), Problem> {
    let Some(wanted) = wanted else { return Ok(()) };
    let newest = before.and_then(Any::revision);
    if newest == Some(wanted) {
        return Ok(());
    }
    let found = newest.map_or_else(|| "it does not exist".to_owned(), |r| format!("it is at revision {r}"));
    let what = format!("{kind} '{name}' was changed meanwhile: you have revision {wanted}, {found}");
    Err(Problem::new("M0332", Exit::Conflict, what)
        .note("nothing was changed")
        .help(format!("look at what is there now: meshctl get {kind} {name} -o yaml")))
}

/// Fills in what an operator leaves out and refuses what is not the operator's to write.
fn complete(state: &State, item: Any, before: Option<&Any>, ports: &mut BTreeSet<u16>) -> Result<Any, Problem> {
    match (item, before) {
        (Any::Token(token), _) => Err(token_problem(&token.metadata.name)),
        (Any::Node(node), Some(Any::Node(old))) => node_status(node, &old.status).map(Any::Node),
        (Any::Node(node), _) => node_status(node, &NodeStatus::default()).map(Any::Node),
        (Any::Overlay(overlay), Some(Any::Overlay(old))) => overlay_port(overlay, old.spec.udp_port, ports),
        (Any::Overlay(overlay), _) => overlay_port(overlay, None, ports),
        (Any::Port(mut port), before) => {
            let was = matches!(before, Some(Any::Port(old)) if old.spec.reported);
            let learns = state.networks.get(&port.spec.network).is_some_and(|n| n.spec.learning == Learning::Local);
            port.spec.reported &= was && learns;
            Ok(Any::Port(port))
        }
        (item @ (Any::Pdc(_) | Any::Network(_) | Any::PathPolicy(_)), _) => Ok(item),
    }
}

fn token_problem(name: &str) -> Problem {
    Problem::new("M0326", Exit::Invalid, format!("token '{name}' cannot be written: a token is made with its secret"))
        .note("nothing was changed")
        .help("meshctl token create --pdc PDC")
}

/// What the server knows of a node is kept; a manifest may repeat it, not change it.
fn node_status(mut node: Node, known: &NodeStatus) -> Result<Node, Problem> {
    let written = std::mem::replace(&mut node.status, known.clone());
    // Not stored: the server fills them in when it answers.
    let written = NodeStatus { acknowledged: None, connected: None, left: false, seen: None, ..written };
    let stored = NodeStatus { acknowledged: None, connected: None, left: false, seen: None, ..known.clone() };
    // What was read has whole seconds, and this run of the server knows more of what it has written itself.
    let form = |status: &NodeStatus| serde_json::to_value(status).unwrap_or_default();
    if written == NodeStatus::default() || form(&written) == form(&stored) {
        return Ok(node);
    }
    let what = format!("the status of node '{}' is found, not declared", node.metadata.name);
    Err(Problem::new("M0322", Exit::Invalid, what).note("nothing was changed").help("leave 'status' out"))
}

fn overlay_port(mut overlay: Overlay, old: Option<UdpPort>, ports: &mut BTreeSet<u16>) -> Result<Any, Problem> {
    overlay.spec.udp_port = match overlay.spec.udp_port.or(old) {
        Some(port) => Some(port),
        None => Some(lowest_free(ports).ok_or_else(|| missing_port(&overlay))?),
    };
    ports.extend(overlay.spec.udp_port.map(UdpPort::get));
    Ok(Any::Overlay(overlay))
}

fn missing_port(overlay: &Overlay) -> Problem {
    let what = format!("no UDP port from {FIRST_UDP_PORT} is free for overlay '{}'", overlay.metadata.name);
    Problem::new("M0342", Exit::Conflict, what).note("nothing was changed")
}

fn lowest_free(taken: &BTreeSet<u16>) -> Option<UdpPort> {
    let free = (FIRST_UDP_PORT..=UdpPort::MAX).filter_map(|n| UdpPort::try_from(n).ok());
    free.into_iter().find(|port| !taken.contains(&port.get()) && !RESERVED.contains(&port.get()))
}

/// UDP ports that a new overlay is not given: those of overlays, here and in the request, and those of tunnels.
fn udp_ports(state: &State, items: &[Any]) -> BTreeSet<u16> {
    let of = |overlay: &Overlay| overlay.spec.udp_port.map(UdpPort::get);
    let asked = items.iter().filter_map(|item| if let Any::Overlay(overlay) = item { of(overlay) } else { None });
    state.overlays.values().filter_map(|o| of(o)).chain(asked).chain(tunnel_ports(state)).collect()
}

fn tunnel_ports(state: &State) -> impl Iterator<Item = u16> {
    let lanes = |node: &Node| {
        let facts = node.status.facts.as_ref()?;
        let first = facts.listen.get();
        Some(first..=first.saturating_add(u16::from(facts.lanes.saturating_sub(1))))
    };
    TUNNELS.chain(state.nodes.values().filter_map(move |node| lanes(node)).flatten())
}

/// Why an overlay may not have a UDP port; none: it may.
pub(super) fn reserved(state: &State, port: UdpPort) -> Option<&'static str> {
    if RESERVED.contains(&port.get()) {
        return Some("hosts need it for DNS, DHCP, NTP or IKE");
    }
    tunnel_ports(state).any(|taken| taken == port.get()).then_some("tunnels listen on it")
}

/// The edits that delete an object: with a node or a network go the ports that were found and not declared; with `cascade` also
/// the declared ones.
///
/// # Errors
/// [`Problem`] M0333: there is none; M0332: it has another revision.
pub fn delete(
    state: &State,
    kind: Kind,
    name: &str,
    revision: Option<u64>,
    cascade: bool,
) -> Result<Vec<Edit>, Problem> {
    let object = state.get(kind, name).ok_or_else(|| missing(state, "M0333", kind, name))?;
    check_revision(kind, name, revision, Some(&object))?;
    let goes = |port: &crate::api::objects::Port| {
        let on = match kind {
            Kind::Node => port.spec.node.as_str() == name,
            Kind::Network => port.spec.network.as_str() == name,
            Kind::Pdc | Kind::Overlay | Kind::Port | Kind::PathPolicy | Kind::Token => false,
        };
        on && (cascade || port.spec.reported)
    };
    let ports = state.ports.values().filter(|port| goes(port)).map(|port| Any::Port(port.as_ref().clone()));
    Ok(ports.chain([object]).map(Edit::delete).collect())
}

/// Store keys that an edit touches, with the revision that each must have.
pub fn precondition(edit: &Edit) -> Option<(String, Option<u64>)> {
    let object = edit.object()?;
    Some((key(object.kind(), object.name()), edit.before.as_ref().and_then(Any::revision)))
}
