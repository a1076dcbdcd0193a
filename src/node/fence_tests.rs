use serde_json::{Value, json};

use super::super::plan::tests::{local, planned, slice};
use super::*;
use crate::node::desired::{Kind, Link, Port, PortFlags};
use crate::node::reconcile;
use crate::node::reconcile::Op;

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn with_row(key: &str, row: Value) -> Slice {
    let mut slice = slice("suppress", json!({}));
    slice.rows.insert(key.parse().unwrap(), serde_json::from_value(row).unwrap());
    slice
}

fn bound() -> Slice {
    let row = json!({"node": "a", "arp": ["192.168.10.21"], "nd": ["fd10::21"], "interface": "tap1", "role": "router"});
    with_row("default/10/7/02:00:00:00:00:21", row)
}

/// A device of somebody else on a bridge.
fn plugged(observed: &mut Observed, interface: &str, bridge: &str) {
    let flags = PortFlags {
        isolated: false,
        learning: true,
        neigh_suppress: false,
        flood: true,
        mcast_flood: true,
        bcast_flood: true,
        locked: false,
    };
    let port = Some(Port { bridge: name(bridge), flags });
    let link = Link { kind: Kind::Other("veth".into()), alias: None, mtu: 1500, up: true, no_addresses: true, port };
    observed.links.insert(name(interface), link);
}

fn fence_of(slice: &Slice, observed: &Observed) -> Fence {
    let plan = planned(slice, &local());
    reconcile::diff(&plan.desired, observed)
        .into_iter()
        .find_map(|op| {
            let (Op::LoadFence(fence) | Op::ChangeFence { to: fence, .. }) = op else { return None };
            Some(fence)
        })
        .unwrap()
}

#[test]
fn the_filter_reads_like_this() {
    let mut observed = Observed::default();
    plugged(&mut observed, "tap9", "vb10.12b5");
    crate::node::golden::check("fence.nft", &fence_of(&bound(), &observed).text());
}

#[test]
fn what_a_named_interface_may_say_is_there_before_the_interface_and_before_any_device() {
    let plan = planned(&bound(), &local());
    let ops = reconcile::diff(&plan.desired, &Observed::default());
    let at = |wanted: fn(&Op) -> bool| ops.iter().position(wanted).unwrap();
    assert!(at(|op| matches!(op, Op::LoadFence(_))) < at(|op| matches!(op, Op::AddLink { .. })));
    let Op::LoadFence(fence) = &ops[at(|op| matches!(op, Op::LoadFence(_)))] else { unreachable!() };
    assert!(fence.bound.contains_key(&name("tap1")));
    assert!(!ops.iter().any(|op| matches!(op, Op::Pin { port, .. } if port.as_str() == "tap1")), "it is not there yet");
}

#[test]
fn a_guest_is_pinned_where_its_interface_stands_and_let_go_when_its_row_is_gone() {
    let mut fake = crate::linux::fake::Fake::default();
    let run = |fake: &mut crate::linux::fake::Fake, slice: &Slice| {
        let ops = reconcile::diff(&planned(slice, &local()).desired, &fake.observe().unwrap());
        fake.apply(&ops).unwrap();
        let text: Vec<String> = ops.iter().map(ToString::to_string).collect();
        assert!(reconcile::diff(&planned(slice, &local()).desired, &fake.observe().unwrap()).is_empty());
        text
    };
    run(&mut fake, &bound());
    plugged(&mut fake.state, "tap1", "vb10.12b5");
    let pin = "bridge fdb replace 02:00:00:00:00:21 dev tap1 master static sticky";
    assert_eq!(run(&mut fake, &bound()), [pin]);
    let without = run(&mut fake, &slice("suppress", json!({})));
    assert!(without.contains(&"bridge fdb delete 02:00:00:00:00:21 dev tap1 master".to_owned()), "{without:?}");
}

#[test]
fn interfaces_are_held_to_what_their_network_and_their_port_say() {
    let mut observed = Observed::default();
    plugged(&mut observed, "tap1", "vb10.12b5");
    plugged(&mut observed, "tap9", "vb10.12b5");
    plugged(&mut observed, "docker0p", "docker0");
    let fence = fence_of(&bound(), &observed);
    assert_eq!(fence.bound.keys().collect::<Vec<_>>(), [&name("tap1")]);
    assert_eq!(fence.unnamed, [name("tap9")].into());
    assert!(fence.open.is_empty());
    // The same interface on the bridge of another network has nothing of its own to say.
    let mut two = bound();
    let (key, network) = two.networks.first_key_value().unwrap();
    let (mut other, network) = (key.clone(), network.clone());
    other.vni = 11_u64.try_into().unwrap();
    two.networks.insert(other, network);
    plugged(&mut observed, "tap1", "vb11.12b5");
    let fence = fence_of(&two, &observed);
    assert!(fence.bound.is_empty() && fence.unnamed.contains(&name("tap1")), "{fence:?}");
}

#[test]
fn a_network_that_finds_its_guests_leaves_their_interfaces_open() {
    let mut slice = bound();
    slice.networks.values_mut().for_each(|network| network.learning = Learning::Local);
    let mut observed = Observed::default();
    plugged(&mut observed, "tap9", "vb10.12b5");
    let fence = fence_of(&slice, &observed);
    assert!(fence.bound.is_empty() && fence.loose.is_empty() && fence.unnamed.is_empty());
    assert_eq!(fence.open, [name("tap9")].into());
}

#[test]
fn a_new_guest_changes_elements_only() {
    let (old, new) =
        (fence_of(&slice("suppress", json!({})), &Observed::default()), fence_of(&bound(), &Observed::default()));
    let change = new.change_from(&old);
    assert_eq!(
        change,
        "add element bridge vxmesh_guests bound_ip4 { \"tap1\" . 02:00:00:00:00:21 . 192.168.10.21 }\n\
         add element bridge vxmesh_guests bound_ip6 { \"tap1\" . 02:00:00:00:00:21 . 0xfd100000000000000000000000000021, \
         \"tap1\" . 02:00:00:00:00:21 . 0xfe80000000000000000000fffe000021 }\n\
         add element bridge vxmesh_guests bound_router { \"tap1\" . 02:00:00:00:00:21 }\n\
         add element bridge vxmesh_guests bound_tag { \"tap1\" . 02:00:00:00:00:21 . 7 }\n\
         add element bridge vxmesh_guests who { \"tap1\" : goto bound }\n"
    );
    assert_eq!(old.change_from(&new).replace("delete", "add"), change);
}

#[test]
fn a_port_cannot_name_one_of_our_own_devices() {
    let row = json!({"node": "a", "interface": "vt10.12b5"});
    let text = fence_of(&with_row("default/10/-/02:00:00:00:00:21", row), &Observed::default()).text();
    assert!(text.contains("\"vt10.12b5\" : accept") && !text.contains("\"vt10.12b5\" : goto"), "{text}");
}

#[test]
fn a_name_that_a_filter_cannot_hold_is_a_finding_and_in_no_filter() {
    for bad in ["a\"b", "tap*", "a;b", "a{b"] {
        let slice = with_row("default/10/-/02:00:00:00:00:21", json!({"node": "a", "interface": bad}));
        let plan = planned(&slice, &local());
        assert_eq!(plan.findings.iter().map(|f| f.code.as_str()).collect::<Vec<_>>(), ["M0613"], "{bad}");
        assert!(!fence_of(&slice, &Observed::default()).text().contains(bad));
    }
}
