use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::node::plan::tests as plans;
use crate::node::{golden, names, reconcile};

const TAP: &str = "vt16777215.12b5";

/// The plan with its echoes.
fn with_echoes(slice: &Slice, local: &Local) -> (Plan, Vec<Echoes>) {
    let mut plan = plans::planned(slice, local);
    let paths = paths::decide_all(slice, local.own());
    let echoes = add(&mut plan, slice, &paths, local);
    (plan, echoes)
}

fn names_of(echoes: &Echoes) -> Vec<&str> {
    echoes.peers.keys().map(NodeId::as_str).collect()
}

#[test]
fn echoes_have_a_network_of_their_own_in_which_the_nodes_are_the_guests() {
    let (plan, echoes) = with_echoes(&plans::slice("suppress", json!({})), &plans::local());
    assert_eq!(plan.findings, []);
    let observed = crate::node::desired::Observed::default();
    let ops = reconcile::diff(&plan.desired, &observed);
    let of_echoes = |op: &&crate::node::op::Op| {
        op.device().is_some_and(|device| names::parse(device.as_str()).is_some_and(|(_, vni, _)| vni.get() == ECHO_VNI))
    };
    let lines: String = ops.iter().filter(of_echoes).map(|op| format!("{op}\n")).collect();
    golden::check("echoes.txt", &lines);
    let [one] = echoes.as_slice() else { panic!("{echoes:?}") };
    assert_eq!((one.tap.as_str(), names_of(one)), (TAP, vec!["b", "c"]), "neither tunnels nor forbidden nodes");
    let b = &one.peers[&"b".parse().unwrap()];
    assert_eq!((b.needed, b.largest, b.outer), (1418, 1450, Outer::Admin));
}

#[test]
fn the_guard_lets_in_whom_it_lets_in_for_guests_and_nobody_else() {
    let slice = plans::slice("suppress", json!({}));
    let members = |plan: &Plan| plan.desired.guard.admin.as_ref().unwrap().members.clone();
    let before = members(&plans::planned(&slice, &plans::local()));
    let (plan, _) = with_echoes(&slice, &plans::local());
    let added: BTreeSet<_> = members(&plan).difference(&before).cloned().collect();
    let vteps = |of: &BTreeSet<(UdpPort, IpAddr, Vni)>| -> BTreeSet<IpAddr> { of.iter().map(|m| m.1).collect() };
    assert_eq!(vteps(&added), vteps(&before));
    assert!(added.iter().all(|(_, _, vni)| vni.get() == ECHO_VNI));
    // No interface of a guest has anything to say there, found or named.
    let fence = &plan.desired.fence;
    let bridge: IfName = "vb16777215.12b5".parse().unwrap();
    assert!(fence.bridges.contains(&bridge) && !fence.loose.contains_key(&bridge));
    assert!(fence.named.values().all(|places| !places.contains_key(&bridge)));
    assert!(fence.ours.contains(&TAP.parse().unwrap()));
}

#[test]
fn where_no_path_is_plain_there_is_nothing_to_watch() {
    let encrypted = json!({"all": {"between": [], "action": "encrypt"}});
    let (plan, echoes) = with_echoes(&plans::slice("suppress", encrypted), &plans::local());
    assert_eq!((echoes.len(), plan.desired.networks.len()), (0, 1));
    let nowhere = Local { admin: None, ..plans::local() };
    assert_eq!(with_echoes(&plans::slice("suppress", json!({})), &nowhere).1, []);
}

#[test]
fn a_network_that_has_the_vni_stays_and_its_overlay_is_not_watched() {
    let text = serde_json::to_string(&plans::slice("suppress", json!({}))).unwrap();
    let slice: Slice = serde_json::from_str(&text.replace("default/10", "default/16777215")).unwrap();
    let before = plans::planned(&slice, &plans::local());
    let (plan, echoes) = with_echoes(&slice, &plans::local());
    assert_eq!((plan.desired, echoes), (before.desired, Vec::new()));
    assert_eq!(plan.findings.len(), 1);
    assert_eq!(plan.findings[0].code, "M0668");
}

#[test]
fn addresses_of_nodes_are_unicast_local_and_apart() {
    let vteps = (0..2000_u32).map(|n| IpAddr::from(std::net::Ipv4Addr::from(0x0a09_0000 + n)));
    let macs: BTreeSet<Mac> = vteps.chain(["fd00::1".parse().unwrap()]).map(mac).collect();
    assert_eq!(macs.len(), 2001);
    assert!(macs.iter().all(|mac| mac.is_unicast() && mac.0[0] == 2));
}
