//! Changes that give the bridges of guests other names: another UDP port of an overlay, another VNI or overlay of a network. Nodes take
//! the guests along, but not in no time, and whoever else names the bridge, such as the definition of a virtual machine, still names the
//! old one. So it is said first, and done on a second word.

use std::collections::BTreeSet;

use super::state::{Edit, State};
use crate::api::list::named;
use crate::api::objects::{Any, Network};
use crate::api::problem::{Exit, Problem};
use crate::node::names::{self, Device};
use crate::types::{NodeId, UdpPort};

/// Bridges that are named before it is counted how many more there are.
const NAMED: usize = 3;

/// Refuses edits that give bridges with guests other names.
///
/// # Errors
/// M0680.
pub fn check(state: &State, edits: &[Edit]) -> Result<(), Problem> {
    let names = |any: &Option<Any>| matches!(any, Some(Any::Overlay(_) | Any::Network(_)));
    if !edits.iter().any(|edit| names(&edit.before)) {
        return Ok(());
    }
    let after = state.after(edits);
    let mut renamed = Vec::new();
    let (mut guests, mut nodes): (usize, BTreeSet<&NodeId>) = (0, BTreeSet::new());
    for (name, network) in &state.networks {
        let Some(new) = after.networks.get(name) else { continue };
        let names = (bridge(state, network), bridge(&after, new));
        let (Some(old), Some(new)) = names else { continue };
        let ports = || state.ports.values().filter(|port| port.spec.network == *name);
        if old != new && ports().next().is_some() {
            guests += ports().count();
            nodes.extend(ports().map(|port| &port.spec.node));
            renamed.push(format!("{old} of network {name} becomes {new}"));
        }
    }
    if renamed.is_empty() { Ok(()) } else { Err(refused(&renamed, guests, nodes.len())) }
}

/// What nodes call the bridge of a network.
fn bridge(state: &State, network: &Network) -> Option<String> {
    let port: UdpPort = state.overlays.get(&network.spec.overlay)?.spec.udp_port?;
    Some(names::device(Device::Bridge, network.spec.vni, port).to_string())
}

fn refused(renamed: &[String], guests: usize, nodes: usize) -> Problem {
    let shown = named(renamed, NAMED);
    let what = format!("this gives bridges other names under running guests: {shown}; {guests} ports on {nodes} nodes");
    Problem::new("M0680", Exit::Conflict, what)
        .note("nothing was changed")
        .note("nodes plug what stands in the old bridge into the new one; until all have, guests lose frames, for some seconds")
        .note("what else names the old bridge, such as definitions of virtual machines, has to be changed by hand")
        .help("the same command with --yes does it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mgmt::fixture;
    use crate::types::Vni;

    fn edit(state: &State, change: impl Fn(&mut Any)) -> Vec<Edit> {
        let all = [(crate::api::objects::Kind::Overlay, "default"), (crate::api::objects::Kind::Network, "blue")];
        let edits = all.into_iter().filter_map(|(kind, name)| {
            let before = state.get(kind, name).unwrap();
            let mut after = before.clone();
            change(&mut after);
            (before != after).then(|| Edit::update(before, after))
        });
        edits.collect()
    }

    #[test]
    fn what_renames_a_bridge_under_guests_is_refused_and_nothing_else_is() {
        type Change = fn(&mut Any);
        let udp: Change = |any| {
            if let Any::Overlay(overlay) = any {
                overlay.spec.udp_port = UdpPort::try_from(4799).ok();
            }
        };
        let vni: Change = |any| {
            if let Any::Network(network) = any {
                network.spec.vni = Vni::try_from(11).unwrap();
            }
        };
        let cidr: Change = |any| {
            if let Any::Network(network) = any {
                network.spec.cidr.push("192.168.99.0/24".parse().unwrap());
            }
        };
        let state = fixture::mesh();
        for (what, change, new) in
            [("UDP port", udp, Some("vb10.12bf")), ("VNI", vni, Some("vb11.12b5")), ("prefix", cidr, None)]
        {
            let edits = edit(&state, change);
            assert!(!edits.is_empty(), "{what}");
            match (check(&state, &edits), new) {
                (Ok(()), None) => {}
                (Err(problem), Some(new)) => {
                    assert_eq!(problem.code, "M0680");
                    assert!(problem.what.contains("vb10.12b5") && problem.what.contains(new), "{}", problem.what);
                    assert!(problem.help[0].contains("--yes"));
                }
                (other, _) => panic!("{what}: {other:?}"),
            }
            let mut empty = state.clone();
            empty.ports.clear();
            assert!(check(&empty, &edit(&empty, change)).is_ok(), "{what}: there are no guests");
        }
    }
}
