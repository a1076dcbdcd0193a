use serde_json::{Value, json};

use super::*;
use crate::node::desired::Observed;
use crate::node::{golden, reconcile};

/// Rows of the golden table: two guests in the PDC, one across, one of a forbidden node, one of our own.
fn rows() -> Value {
    let row = |node: &str, arp: &[&str], nd: &[&str]| json!({"node": node, "arp": arp, "nd": nd});
    json!({
        "default/10/-/02:00:00:00:00:01": row("a", &["192.168.10.11"], &[]),
        "default/10/-/02:00:00:00:00:02": row("b", &["192.168.10.12"], &["fd10::12"]),
        "default/10/-/02:00:00:00:00:03": row("c", &["192.168.10.13"], &[]),
        "default/10/-/02:00:00:00:00:04": row("far", &["192.168.10.14"], &["fd10::14"]),
        "default/10/-/02:00:00:00:00:05": row("shut", &["192.168.10.15"], &[]),
    })
}

pub(crate) fn slice(flood: &str, policies: Value) -> Slice {
    let peer = |pdc: &str, admin: &str, external: &str| json!({"pdc": pdc, "admin": admin, "external": external, "listen": 51820, "lanes": 1});
    serde_json::from_value(json!({
        "version": {"incarnation": 1, "revision": 1}, "node": "a", "pdc": "x", "tunnelAddress": null,
        "pdcs": {
            "x": {"intra": "plain", "underlay": ["10.9.0.0/24"], "maxHops": 1},
            "y": {"intra": "plain", "underlay": ["10.9.1.0/24"], "maxHops": 0},
        },
        "policies": policies,
        "networks": {"default/10": {
            "name": "blue", "udpPort": 4789, "cidr": ["192.168.10.0/24"], "gateway": [], "guestMtu": 1418,
            "flood": flood, "learning": "declared",
            "members": {"b": "plain", "c": "plain", "far": "plain", "shut": "forbidden"},
        }},
        "rows": rows(),
        "peers": {
            "b": peer("x", "10.9.0.2", "198.51.100.2"), "c": peer("x", "10.9.0.3", "198.51.100.3"),
            "far": peer("y", "10.9.1.4", "203.0.113.4"), "shut": peer("x", "10.9.0.5", "198.51.100.5"),
        },
    }))
    .unwrap()
}

pub(crate) fn local() -> Local {
    let side = |name: &str, address: &str| {
        Some(Underlay { interface: name.parse().unwrap(), address: address.parse().unwrap(), mtu: 1500 })
    };
    let (admin, external) = (side("eth0", "10.9.0.1"), side("eth1", "198.51.100.1"));
    Local { admin, external, mtu: MtuPolicy::default(), clamp_mss: true, tunnel: BTreeSet::new() }
}

pub(crate) fn planned(slice: &Slice, local: &Local) -> Plan {
    plan(slice, &paths::decide_all(slice, local.own()), local)
}

/// Everything that is done on an empty host.
fn lines(plan: &Plan) -> String {
    let ops = reconcile::diff(&plan.desired, &Observed::default());
    let findings = plan.findings.iter().map(|f| format!("# {} {}\n#   help: {}\n", f.code, f.what, f.help));
    findings.chain(ops.iter().map(|op| format!("{op}\n"))).collect()
}

fn clear_to_y() -> Value {
    json!({"lab": {"between": [{"pdc": "x"}, {"pdc": "y"}], "action": "plain", "iKnowThisIsClear": true}})
}

fn only_net(plan: &Plan) -> &Net {
    plan.desired.networks.values().next().unwrap()
}

#[test]
fn a_network_over_two_pdcs_becomes_these_lines() {
    golden::check("two-pdcs.txt", &lines(&planned(&slice("suppress", json!({})), &local())));
}

#[test]
fn a_network_without_flooding_has_no_flood_list() {
    golden::check("flood-off.txt", &lines(&planned(&slice("off", json!({})), &local())));
}

#[test]
fn clear_across_pdcs_goes_through_the_external_interface() {
    golden::check("clear-across.txt", &lines(&planned(&slice("replicate", clear_to_y()), &local())));
}

#[test]
fn a_network_without_a_plain_path_has_no_vxlan_device() {
    let policies = json!({"shut": {"between": [], "action": "encrypt"}});
    golden::check("tunnels-only.txt", &lines(&planned(&slice("suppress", policies), &local())));
}

#[test]
fn a_forbidden_node_gets_nothing_at_all() {
    let plan = planned(&slice("replicate", clear_to_y()), &local());
    let text = lines(&plan);
    assert!(!text.contains("02:00:00:00:00:05") && !text.contains("10.9.0.5"), "{text}");
}

#[test]
fn a_network_with_ipv6_is_not_told_to_take_a_number_that_it_cannot_have() {
    let mut slice = slice("suppress", json!({}));
    let mut narrow = local();
    narrow.admin.as_mut().unwrap().mtu = 1300;
    let help = |slice: &Slice| planned(slice, &narrow).findings.remove(0).help;
    assert!(help(&slice).ends_with("meshctl network set blue --mtu 1250"), "{}", help(&slice));
    slice.networks.values_mut().next().unwrap().cidr.push("fd10::/64".parse().unwrap());
    let told = help(&slice);
    assert!(told.contains("by 30 bytes") && told.contains("1280") && !told.contains("--mtu"), "{told}");
}

#[test]
fn a_wide_mtu_is_reported_with_the_missing_bytes_and_the_device_gets_what_fits() {
    let mut slice = slice("suppress", json!({}));
    slice.networks.values_mut().next().unwrap().mtu =
        Some(MtuPolicy { fixed: Some(Mtu::try_from(1500).unwrap()), ..MtuPolicy::default() });
    let plan = planned(&slice, &local());
    let finding = &plan.findings[0];
    assert_eq!(finding.code, "M0501");
    assert!(finding.what.starts_with("network blue: ") && finding.what.contains("50 bytes too large"), "{finding:?}");
    assert!(finding.help.ends_with("lower the network's: meshctl network set blue --mtu 1450"), "{finding:?}");
    let mtus: Vec<(String, u32)> =
        only_net(&plan).links.iter().map(|(name, link)| (name.to_string(), link.mtu)).collect();
    assert_eq!(mtus, [("vb10.12b5".into(), 1500), ("vt10.12b5".into(), TAP_MTU), ("vv10.12b5".into(), 1450)]);
}

#[test]
fn the_nodes_own_mtu_counts_where_network_and_overlay_say_nothing() {
    let fixed = MtuPolicy { fixed: Some(Mtu::try_from(1300).unwrap()), ..MtuPolicy::default() };
    let plan = planned(&slice("suppress", json!({})), &Local { mtu: fixed, ..local() });
    let mtus: Vec<u32> = only_net(&plan).links.values().map(|link| link.mtu).collect();
    assert_eq!(mtus, [1300, TAP_MTU, 1300], "bridge, TAP, vxlan");
}

#[test]
fn whoever_reads_the_resolved_slice_finds_the_number_of_network_overlay_or_node() {
    let policy = |n| Some(MtuPolicy { fixed: Mtu::try_from(n).ok(), ..MtuPolicy::default() });
    let number = |theirs: Option<MtuPolicy>, ours: MtuPolicy| {
        let mut slice = slice("suppress", json!({}));
        slice.networks.values_mut().for_each(|network| network.mtu = theirs);
        let resolved = Local { mtu: ours, ..local() }.resolved(&Arc::new(slice));
        let network = resolved.networks.values().next().unwrap();
        (network.guest_mtu.get(), network.mtu.is_some())
    };
    let (auto, node) = (MtuPolicy::default(), policy(1300).unwrap());
    assert_eq!(number(None, auto), (1418, true), "computed");
    assert_eq!(number(None, node), (1300, true), "the node's");
    assert_eq!(number(Some(auto), node), (1418, true), "auto of the network beats the node's number");
}

#[test]
fn a_host_without_an_admin_address_sends_nothing_in_clear() {
    let plan = planned(&slice("replicate", clear_to_y()), &Local { admin: None, ..local() });
    let net = only_net(&plan);
    assert!(net.vxlan_fdb.keys().all(|mac| mac.0[5] == 4), "only the node across is left: {:?}", net.vxlan_fdb);
    assert!(plan.desired.guard.admin.is_none());
}

#[test]
fn one_address_on_two_nodes_is_reported_and_this_node_wins() {
    let mut slice = slice("suppress", json!({}));
    let row = slice.rows.values().next().unwrap().clone();
    slice.rows.insert("default/10/7/02:00:00:00:00:02".parse().unwrap(), row);
    let plan = planned(&slice, &local());
    assert_eq!(plan.findings.iter().map(|f| f.code.as_str()).collect::<Vec<_>>(), ["M0604", "M0614"]);
    assert!(!only_net(&plan).bridge_fdb.contains_key(&"02:00:00:00:00:02".parse().unwrap()));
}

#[test]
fn two_overlays_on_one_udp_port_are_reported_and_the_first_is_built() {
    let mut slice = slice("suppress", json!({}));
    let network = slice.networks.values().next().unwrap().clone();
    slice.networks.insert("second/10".parse().unwrap(), network);
    let plan = planned(&slice, &local());
    assert_eq!(plan.desired.networks.len(), 1);
    assert_eq!(plan.findings[0].code, "M0603");
}

#[test]
fn members_of_another_family_are_reported_and_get_nothing() {
    let mut slice = slice("suppress", json!({"all": {"between": [{"pdc": "x"}, {"pdc": "x"}], "action": "plain"}}));
    slice.peers.get_mut(&"c".parse().unwrap()).unwrap().admin = Some("fd00::3".parse().unwrap());
    let plan = planned(&slice, &local());
    let found = plan.findings.iter().find(|f| f.code == "M0405").unwrap();
    // The address is what this node itself uses, whatever management has declared of it.
    assert!(found.what.contains("the admin address that this node itself uses, to fd00::3"), "{}", found.what);
    assert!(found.help.contains("admin = \"ADDRESS\" in [underlay] of meshd.toml"), "{}", found.help);
    assert!(!only_net(&plan).vxlan_fdb.contains_key(&"02:00:00:00:00:03".parse().unwrap()));
}
