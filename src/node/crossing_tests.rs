use serde_json::json;

use super::*;
use crate::node::desired::{Link, Observed};
use crate::node::plan::tests as plans;
use crate::node::{golden, paths, reconcile};

fn crossed(slice: &Slice, local: &Local) -> (Plan, Option<Way>) {
    let mut plan = plans::planned(slice, local);
    let paths = paths::decide_all(slice, local.own());
    watch::add(&mut plan, slice, &paths, local);
    let way = add(&mut plan, slice, local);
    (plan, way)
}

fn tunnels_only() -> Slice {
    plans::slice("suppress", json!({"all": {"between": [], "action": "encrypt"}}))
}

#[test]
fn a_node_without_a_plain_peer_has_a_bridge_to_cross_and_nothing_else_in_it() {
    let (plan, way) = crossed(&tunnels_only(), &plans::local());
    let way = way.unwrap();
    let ops = reconcile::diff(&plan.desired, &Observed::default());
    let of_it = |op: &&crate::node::op::Op| {
        op.device().is_some_and(|device| names::parse(device.as_str()).is_some_and(|(_, vni, _)| vni.get() == ECHO_VNI))
    };
    golden::check("crossing.txt", &ops.iter().filter(of_it).map(|op| format!("{op}\n")).collect::<String>());
    let kinds: Vec<_> = way.flows.iter().map(|flow| (flow.protocol, flow.from.to_string())).collect();
    assert_eq!(
        kinds,
        [
            (Protocol::Arp, "192.168.10.1".to_owned()),
            (Protocol::Ipv4, "192.168.10.1".to_owned()),
            (Protocol::Ipv6, "fe80::1".to_owned())
        ]
    );
}

#[test]
fn nothing_that_a_member_sends_reaches_the_ends_and_no_guest_has_a_part_in_it() {
    for slice in [plans::slice("suppress", json!({})), tunnels_only()] {
        let (plan, way) = crossed(&slice, &plans::local());
        let way = way.unwrap();
        let net = &plan.desired.networks[&way.bridge];
        let flags = |link: &Link| link.port.as_ref().map(|port| port.flags);
        // By two isolated ports nothing passes; the near end and the echoes' TAP are nobody's way in.
        let isolated = |name: &IfName| flags(&net.links[name]).is_some_and(|flags| flags.isolated);
        assert!(isolated(&way.far) && !isolated(&way.near) && !isolated(&net.tap));
        assert!(net.vxlan.iter().all(isolated));
        let ports = net.links.values().filter_map(flags);
        assert!(
            ports.clone().count() >= 3 && ports.clone().all(|flags| flags.locked && !flags.learning && !flags.flood)
        );
        let fence = &plan.desired.fence;
        assert!([&way.near, &way.far].iter().all(|name| fence.ours.contains(*name)));
        assert!(fence.bridges.contains(&way.bridge) && fence.named.values().all(|to| !to.contains_key(&way.bridge)));
        let (near, far) = macs();
        assert_eq!((&net.bridge_fdb[&near].port, &net.bridge_fdb[&far].port), (&way.near, &way.far));
    }
}

#[test]
fn a_node_without_a_network_has_nothing_to_cross() {
    let mut slice = tunnels_only();
    slice.networks.clear();
    let (plan, way) = crossed(&slice, &plans::local());
    assert_eq!((way, plan.desired.networks.len()), (None, 0));
}

#[test]
fn a_network_that_has_the_vni_stays_as_it_is() {
    let text = serde_json::to_string(&tunnels_only()).unwrap();
    let slice: Slice = serde_json::from_str(&text.replace("default/10", "default/16777215")).unwrap();
    let before = plans::planned(&slice, &plans::local());
    let (plan, way) = crossed(&slice, &plans::local());
    assert_eq!((plan.desired, way), (before.desired, None));
}

#[test]
fn smallest_prefixes_have_addresses_too() {
    for (prefix, from, to) in [
        ("10.0.0.0/24", "10.0.0.1", "10.0.0.2"),
        ("255.255.255.254/31", "255.255.255.255", "255.255.255.254"),
        ("10.0.0.7/32", "10.0.0.7", "10.0.0.7"),
        (
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ),
    ] {
        assert_eq!(two(prefix.parse().unwrap()), (from.parse().unwrap(), to.parse().unwrap()), "{prefix}");
    }
}
