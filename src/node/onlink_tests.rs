use serde_json::json;

use super::*;
use crate::linux::fake::Fake;
use crate::node::desired::{Kind, Link};
use crate::node::op::Op;
use crate::node::plan::tests::{local, planned, slice};
use crate::node::plan::{Local, Plan};
use crate::node::reconcile;

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// The slice of the plan's tests, in a PDC with this many routers.
fn routed(hops: u8, policies: serde_json::Value) -> Slice {
    let mut slice = slice("suppress", policies);
    slice.pdcs.values_mut().for_each(|facts| facts.max_hops = hops);
    slice
}

fn six(slice: &Slice) -> Slice {
    let text = serde_json::to_string(slice).unwrap();
    serde_json::from_str(&text.replace("10.9.0.0/24", "fd00::/64").replace("10.9.0.", "fd00::")).unwrap()
}

fn lines(plan: &Plan) -> Vec<String> {
    let mut observed = Observed::default();
    observed.links.insert(name("eth0"), up());
    let (first, last) = diff(&plan.desired.onlink, &observed);
    assert_eq!(last, []);
    first.iter().map(ToString::to_string).collect()
}

fn up() -> Link {
    Link { kind: Kind::Other(String::new()), alias: None, mtu: 1500, up: true, no_addresses: false, port: None }
}

/// A kernel in memory with the admin interface.
fn kernel() -> Fake {
    let mut kernel = Fake::default();
    kernel.state.links.insert(name("eth0"), up());
    kernel
}

fn settle(kernel: &mut Fake, plan: &Plan) -> Vec<String> {
    let ops = reconcile::diff(&plan.desired, &kernel.state);
    kernel.apply(&ops).unwrap();
    assert_eq!(reconcile::diff(&plan.desired, &kernel.state), []);
    ops.iter().filter(|op| matches!(op, Op::OnLink(_))).map(ToString::to_string).collect()
}

#[test]
fn without_routers_a_table_knows_the_underlay_and_ends_there() {
    assert_eq!(
        lines(&planned(&routed(0, json!({})), &local())),
        [
            "ip route replace unreachable 0.0.0.0/0 table 7764077 protocol kernel",
            "ip route replace 10.9.0.0/24 dev eth0 table 7764077 protocol kernel",
            "ip rule add pref 40 ipproto udp dport 4789 oif eth0 lookup 7764077 protocol kernel",
        ]
    );
    let mut host = local();
    host.admin.as_mut().unwrap().address = "fd00::1".parse().unwrap();
    assert_eq!(
        lines(&planned(&six(&routed(0, json!({}))), &host)),
        [
            "ip -6 route replace unreachable ::/0 metric 1024 table 7764077 protocol kernel",
            "ip -6 route replace fd00::/64 dev eth0 metric 1024 table 7764077 protocol kernel",
            "ip -6 rule add pref 40 ipproto udp dport 4789 oif eth0 lookup 7764077 protocol kernel",
        ]
    );
}

#[test]
fn there_is_no_table_where_there_are_routers_no_plain_path_or_no_admin_interface() {
    let nothing = [
        planned(&routed(1, json!({})), &local()),
        planned(&routed(0, json!({"all": {"between": [], "action": "encrypt"}})), &local()),
        planned(&routed(0, json!({})), &Local { admin: None, ..local() }),
    ];
    for plan in nothing {
        assert!(plan.desired.onlink.is_empty(), "{:?}", plan.desired.onlink);
    }
}

#[test]
fn a_vtep_outside_the_underlay_is_told_and_stays_on_the_segment() {
    let mut slice = routed(0, json!({"p": {"between": [{"pdc": "x"}, {"pdc": "x"}], "action": "plain"}}));
    slice.peers.get_mut(&"c".parse().unwrap()).unwrap().admin = Some("10.77.0.3".parse().unwrap());
    let plan = planned(&slice, &local());
    let codes: Vec<&str> = plan.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["M0646"], "{:?}", plan.findings);
    assert!(plan.findings[0].what.contains("'c' (10.77.0.3) leave"), "{}", plan.findings[0].what);
    assert!(lines(&plan).iter().any(|line| line.contains("10.77.0.3/32 dev eth0")), "{:?}", lines(&plan));
}

#[test]
fn members_across_in_clear_by_the_same_interface_keep_their_routers() {
    let clear = json!({"lab": {"between": [{"pdc": "x"}, {"pdc": "y"}], "action": "plain", "iKnowThisIsClear": true}});
    let (apart, mut one) = (local(), local());
    one.external.as_mut().unwrap().interface = name("eth0");
    let throws =
        |host: &Local| lines(&planned(&routed(0, clear.clone()), host)).join("\n").contains("throw 203.0.113.4/32");
    assert!(throws(&one));
    assert!(!throws(&apart), "another interface never comes to the table");
}

#[test]
fn the_rules_stand_before_any_device_and_go_after_the_last() {
    let mut kernel = kernel();
    let at = |ops: &[Op], what: &str| {
        ops.iter().position(|op| op.to_string().contains(what)).unwrap_or_else(|| panic!("{what}"))
    };
    let plan = planned(&routed(0, json!({})), &local());
    let ops = reconcile::diff(&plan.desired, &kernel.state);
    assert!(at(&ops, "rule add") < at(&ops, "ip link add"));
    assert!(at(&ops, "nft -f") < at(&ops, "rule add"), "the guard is first of all");
    kernel.apply(&ops).unwrap();
    let ops = reconcile::cleanup(&kernel.state);
    assert!(at(&ops, "rule delete") > at(&ops, "ip link delete dev vv10"));
    kernel.apply(&ops).unwrap();
    assert_eq!(kernel.state.onlink, HeldOnLink::default());
}

#[test]
fn what_others_change_in_the_table_is_mended_and_other_tables_are_none_of_it() {
    type Change = (&'static str, fn(&mut OnLink));
    let plan = planned(&routed(0, json!({})), &local());
    let changes: [Change; 6] = [
        ("routes gone", |table| table.routes.clear()),
        ("rules gone", |table| table.rules.clear()),
        ("a route by a router", |table| {
            let route = table.routes.last().unwrap().clone();
            table.routes.insert(Route { gateway: "10.9.0.254".parse().ok(), ..route });
        }),
        ("a route for a type of service", |table| {
            let route = table.routes.last().unwrap().clone();
            table.routes.insert(Route { tos: 4, gateway: "10.9.0.254".parse().ok(), ..route });
        }),
        ("a rule of another preference", |table| {
            let rule = table.rules.pop_first().unwrap();
            table.rules.insert(Rule { preference: 33_000, ..rule });
        }),
        ("a rule that asks for more", |table| {
            let rule = table.rules.pop_first().unwrap();
            table.rules.insert(Rule { exact: false, ..rule });
        }),
    ];
    for (what, change) in changes {
        let mut kernel = kernel();
        settle(&mut kernel, &plan);
        let right = kernel.state.onlink.clone();
        change(&mut kernel.state.onlink.table);
        assert_ne!(settle(&mut kernel, &plan), [""; 0], "{what}");
        assert_eq!(kernel.state.onlink, right, "{what}");
    }
}

#[test]
fn an_interface_that_is_down_is_waited_for() {
    let mut kernel = kernel();
    let plan = planned(&routed(0, json!({})), &local());
    settle(&mut kernel, &plan);
    // The kernel takes them away without a word.
    kernel.state.links.get_mut(&name("eth0")).unwrap().up = false;
    kernel.state.onlink.table.routes.retain(|route| route.dev.is_none());
    assert_eq!(settle(&mut kernel, &plan), [""; 0], "nothing can be done, and nothing fails");
    kernel.state.links.get_mut(&name("eth0")).unwrap().up = true;
    assert_eq!(settle(&mut kernel, &plan), ["ip route replace 10.9.0.0/24 dev eth0 table 7764077 protocol kernel"]);
}

#[test]
fn a_kernel_without_such_rules_is_told_and_everything_else_is_built() {
    let mut kernel = kernel();
    kernel.state.onlink.unsupported = Some("Operation not supported".into());
    let plan = planned(&routed(0, json!({})), &local());
    assert_eq!(settle(&mut kernel, &plan), [""; 0]);
    assert!(kernel.state.links.contains_key(&name("vv10.12b5")));
    let codes: Vec<String> = reconcile::conflicts(&plan.desired, &kernel.state).into_iter().map(|f| f.code).collect();
    assert_eq!(codes, ["M0645"]);
    let other = planned(&routed(1, json!({})), &local());
    assert_eq!(reconcile::conflicts(&other.desired, &kernel.state), [], "who wants none is told nothing");
}

#[test]
fn vxlan_of_others_is_not_led() {
    let mut kernel = kernel();
    let flannel = crate::node::desired::Vxlan::ours(crate::types::Vni::try_from(1).unwrap(), 4789, false);
    kernel.state.links.insert(name("flannel.1"), Link { kind: Kind::Vxlan(flannel), ..up() });
    assert_eq!(settle(&mut kernel, &planned(&routed(0, json!({})), &local())), [""; 0]);
}
