use serde_json::{Value, json};

use super::super::plan::tests::{local, planned, slice};
use super::*;
use crate::node::desired::{Desired, Kind, Link, ObservedFence, Place, Port, PortFlags};
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
        hairpin: false,
        proxy_arp: false,
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
fn a_kernel_with_rules_before_devices_holds_what_is_routed_on_the_bridges_themselves() {
    let mut observed = Observed { rules_before_devices: true, ..Observed::default() };
    plugged(&mut observed, "tap9", "vb10.12b5");
    let fence = fence_of(&bound(), &observed);
    let text = fence.text();
    let tables = text.split_once("\ntable inet").unwrap().1;
    crate::node::golden::check("fence-devices.nft", tables.split_once("add element").unwrap().0);
    let guard_of = |observed: &Observed| {
        let ops = reconcile::diff(&planned(&bound(), &local()).desired, observed);
        let guard = ops.into_iter().find_map(|op| if let Op::LoadGuard(guard) = op { Some(guard) } else { None });
        guard.unwrap()
    };
    assert_eq!(guard_of(&observed).through, None, "bridged frames do not pass there");
    let before = Observed { rules_before_devices: false, ..observed.clone() };
    assert_eq!(guard_of(&before).through, Some([name("vb10.12b5")].into()));
    let more = Fence { bridges: [name("vb10.12b5"), name("vb11.12b5")].into(), ..fence.clone() };
    let (comes, goes) = (more.change_from(&fence), fence.change_from(&more));
    assert_eq!(comes.matches("device \"vb11.12b5\"").count(), 2, "{comes}");
    assert!(!comes.contains("device \"vb10.12b5\""), "{comes}");
    assert_eq!(goes.matches("delete chain").count(), 2, "{goes}");
    let elsewhere = Fence { by_device: false, ..fence.clone() };
    assert_eq!(elsewhere.change_from(&fence), format!("delete table netdev vxmesh_guests\n{}", elsewhere.text()));
    assert_eq!(fence.change_from(&elsewhere), fence.text());
}

#[test]
fn what_a_named_interface_may_say_is_there_before_the_interface_and_before_any_device() {
    let plan = planned(&bound(), &local());
    let ops = reconcile::diff(&plan.desired, &Observed::default());
    let at = |wanted: fn(&Op) -> bool| ops.iter().position(wanted).unwrap();
    assert!(at(|op| matches!(op, Op::LoadFence(_))) < at(|op| matches!(op, Op::AddLink { .. })));
    let Op::LoadFence(fence) = &ops[at(|op| matches!(op, Op::LoadFence(_)))] else { unreachable!() };
    assert!(fence.named.contains_key(&name("tap1")));
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
    let flags = "isolated off learning on locked off neigh_suppress off flood off mcast_flood on bcast_flood on hairpin off proxy_arp off";
    assert_eq!(run(&mut fake, &bound()), [pin.to_owned(), format!("bridge link set dev tap1 {flags}")]);
    // Whatever would lose or double frames there is set back; that somebody has isolated it is told, and stays.
    let wrong: [fn(&mut PortFlags); 6] = [
        |flags| flags.bcast_flood = false,
        |flags| flags.mcast_flood = false,
        |flags| flags.hairpin = true,
        |flags| flags.neigh_suppress = true,
        |flags| flags.proxy_arp = true,
        |flags| flags.locked = true,
    ];
    for (n, change) in wrong.into_iter().enumerate() {
        change(&mut fake.state.links.get_mut(&name("tap1")).unwrap().port.as_mut().unwrap().flags);
        assert_eq!(run(&mut fake, &bound()), [format!("bridge link set dev tap1 {flags}")], "{n}");
    }
    fake.state.links.get_mut(&name("tap1")).unwrap().port.as_mut().unwrap().flags.isolated = true;
    assert!(run(&mut fake, &bound()).is_empty());
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
    assert_eq!(fence.named.keys().collect::<Vec<_>>(), [&name("tap1")]);
    assert_eq!(fence.unnamed, [(name("tap9"), name("vb10.12b5"))].into());
    assert!(fence.open.is_empty());
    // The same interface on the bridge of another network has nothing of its own to say.
    let mut two = bound();
    let (key, network) = two.networks.first_key_value().unwrap();
    let (mut other, network) = (key.clone(), network.clone());
    other.vni = 11_u64.try_into().unwrap();
    two.networks.insert(other, network);
    plugged(&mut observed, "tap1", "vb11.12b5");
    let fence = fence_of(&two, &observed);
    assert!(fence.named.is_empty(), "{fence:?}");
    assert_eq!(fence.unnamed[&name("tap1")], name("vb11.12b5"));
}

#[test]
fn a_network_that_finds_its_guests_leaves_their_interfaces_open() {
    let mut slice = bound();
    slice.networks.values_mut().for_each(|network| network.learning = Learning::Local);
    let mut observed = Observed::default();
    plugged(&mut observed, "tap9", "vb10.12b5");
    let fence = fence_of(&slice, &observed);
    assert!(fence.named.is_empty() && fence.loose.is_empty() && fence.unnamed.is_empty());
    assert_eq!(fence.open, [(name("tap9"), name("vb10.12b5"))].into());
}

#[test]
fn a_guest_in_no_bridge_is_kept_from_the_host_unless_its_interface_has_an_address_of_the_host() {
    let bridge = name("vb10.12b5");
    let mut observed = Observed::default();
    let outside = |observed: &Observed| fence_of(&bound(), observed).outside;
    assert_eq!(outside(&observed), [name("tap1")].into(), "before it exists");
    let mistaken = |observed: &Observed| {
        let desired = Desired { fence: fence_of(&bound(), observed), ..Desired::default() };
        reconcile::conflicts(&desired, observed).into_iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(mistaken(&observed), [] as [String; 0]);
    observed.addressed.insert(name("tap1"));
    assert_eq!(outside(&observed), [].into(), "a network card of the host that somebody has named");
    assert_eq!(mistaken(&observed), ["M0617"]);
    observed.addressed.clear();
    plugged(&mut observed, "other", "vb10.12b5");
    assert_eq!(outside(&observed), [name("other"), name("tap1")].into(), "and any that stands in the bridge");
    let fence = fence_of(&bound(), &observed);
    let gone = Fence { bridges: [].into(), ..fence.clone() };
    observed.fence = ObservedFence::Loaded(fence.clone());
    observed.links.clear();
    let left = |observed: &Observed| Fence::default().with_found(&[].into(), observed);
    assert!(left(&observed).is_empty(), "nothing is there any more");
    let place = Place { index: 7, master: None, up: true, card: false };
    observed.places.insert(name("other"), place);
    assert_eq!(left(&observed).outside, [name("other")].into(), "its port has gone, and its guest has not");
    assert!(!left(&observed).is_empty());
    assert!(gone.keeping(&fence).outside.is_superset(&fence.outside) && fence.bridges.contains(&bridge));
}

#[test]
fn a_new_guest_changes_elements_only() {
    let (old, new) =
        (fence_of(&slice("suppress", json!({})), &Observed::default()), fence_of(&bound(), &Observed::default()));
    let change = new.change_from(&old);
    assert_eq!(
        change,
        "add element bridge vxmesh_guests asks { \"tap1\" : goto ask_10_12b5 }\n\
         add element bridge vxmesh_guests known { \"tap1\" }\n\
         add element bridge vxmesh_guests tagged_ip4 { \"tap1\" . 0x020000000021 . 7 . 0xc0a80a15 }\n\
         add element bridge vxmesh_guests tagged_ip6 { \"tap1\" . 0x020000000021 . 7 . 0xfd100000000000000000000000000021, \
         \"tap1\" . 0x020000000021 . 7 . 0xfe80000000000000000000fffe000021 }\n\
         add element bridge vxmesh_guests tagged_lla { \"tap1\" . 0x020000000021 . 7 . 0x020000000021 }\n\
         add element bridge vxmesh_guests tagged_mac { \"tap1\" . 0x020000000021 . 7 }\n\
         add element bridge vxmesh_guests tagged_router { \"tap1\" . 0x020000000021 . 7 }\n\
         add element bridge vxmesh_guests who { \"tap1\" : goto bound }\n"
    );
    // Whom others have met is forgotten with it.
    let back = old.change_from(&new);
    let (removed, forgotten) = back.split_at(back.find("flush").unwrap());
    assert_eq!((removed.replace("delete", "add"), forgotten), (change, "flush set bridge vxmesh_guests met\n"));
}

#[test]
fn a_port_cannot_name_one_of_our_own_devices() {
    let row = json!({"node": "a", "interface": "vt10.12b5"});
    let text = fence_of(&with_row("default/10/-/02:00:00:00:00:21", row), &Observed::default()).text();
    assert!(text.contains("\"vt10.12b5\" : goto peers") && !text.contains("\"vt10.12b5\" : goto bound"), "{text}");
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

/// A loose guest of this node, `02:..:31`, on a network with two interfaces that no port names.
fn loose() -> (Slice, Observed) {
    let slice = with_row("default/10/-/02:00:00:00:00:31", json!({"node": "a", "arp": ["192.168.10.31"]}));
    let mut observed = Observed::default();
    plugged(&mut observed, "tap1", "vb10.12b5");
    plugged(&mut observed, "tap2", "vb10.12b5");
    (slice, observed)
}

fn spoke(observed: &mut Observed, interface: &str, hold: Hold) {
    let table = observed.bridge_fdb.entry(name("vb10.12b5")).or_default();
    table.insert("02:00:00:00:00:31".parse().unwrap(), BridgeEntry { port: name(interface), hold });
}

/// The addresses that any interface of the bridge may speak for.
fn loose_elements(text: &str) -> &str {
    text.lines().find(|line| line.contains("vxmesh_guests loose_10_12b5_mac {")).unwrap_or_default()
}

fn pin_of(fence: &Fence) -> Option<(&str, bool)> {
    let pin = fence.pins.get(&(name("vb10.12b5"), "02:00:00:00:00:31".parse().unwrap()))?;
    Some((pin.interface.as_str(), pin.here))
}

#[test]
fn a_guest_without_an_interface_is_held_to_the_first_that_speaks_for_it() {
    let (slice, mut observed) = loose();
    let free = fence_of(&slice, &observed);
    assert_eq!(pin_of(&free), None);
    assert!(loose_elements(&free.text()).contains("02:00:00:00:00:31"));
    spoke(&mut observed, "tap2", Hold::Learned);
    let held = fence_of(&slice, &observed);
    assert_eq!(pin_of(&held), Some(("tap2", true)));
    let text = held.text();
    assert!(
        !loose_elements(&text).contains("02:00:00:00:00:31")
            && text.contains("bound_mac { \"tap2\" . 02:00:00:00:00:31 }"),
        "{text}"
    );
    // Taken off the FDB it stays with its interface, whoever speaks next.
    observed.fence = ObservedFence::Loaded(held.clone());
    observed.bridge_fdb.clear();
    spoke(&mut observed, "tap1", Hold::Learned);
    let plan = planned(&slice, &local());
    assert!(reconcile::diff(&plan.desired, &observed).iter().all(|op| !matches!(op, Op::ChangeFence { .. })));
}

#[test]
fn an_interface_that_is_gone_keeps_its_guest_until_another_speaks_for_it() {
    let (slice, mut observed) = loose();
    spoke(&mut observed, "tap2", Hold::Pinned);
    let held = fence_of(&slice, &observed);
    assert_eq!(pin_of(&held), Some(("tap2", true)), "what an earlier daemon has pinned counts");
    observed.fence = ObservedFence::Loaded(held);
    observed.links.remove(&name("tap2"));
    observed.bridge_fdb.clear();
    let waiting = fence_of(&slice, &observed);
    assert_eq!(pin_of(&waiting), Some(("tap2", false)));
    let text = waiting.text();
    assert!(
        text.contains("bound_mac { \"tap2\" . 02:00:00:00:00:31 }"),
        "made again it may speak without a daemon: {text}"
    );
    assert!(
        text.contains("\"tap2\" : goto loose_10_12b5") && loose_elements(&text).contains("02:00:00:00:00:31"),
        "{text}"
    );
    observed.fence = ObservedFence::Loaded(waiting);
    spoke(&mut observed, "tap1", Hold::Learned);
    assert_eq!(pin_of(&fence_of(&slice, &observed)), Some(("tap1", true)));
}

#[test]
fn an_interface_that_two_networks_name_is_shut_until_it_stands_in_one_of_them() {
    let mut slice = with_row("default/10/-/02:00:00:00:00:21", json!({"node": "a", "interface": "tap1"}));
    let network = slice.networks.values().next().unwrap().clone();
    slice.networks.insert("default/11".parse().unwrap(), network);
    let row = json!({"node": "a", "interface": "tap1", "role": "router"});
    slice.rows.insert("default/11/-/02:00:00:00:00:21".parse().unwrap(), serde_json::from_value(row).unwrap());
    let shut = fence_of(&slice, &Observed::default()).text();
    assert!(!shut.contains("\"tap1\" :"), "{shut}");
    let mut observed = Observed::default();
    plugged(&mut observed, "tap1", "vb10.12b5");
    let text = fence_of(&slice, &observed).text();
    assert!(text.contains("\"tap1\" : goto bound") && !text.contains("bound_router { \"tap1\""), "{text}");
}

#[test]
fn rules_of_a_bridge_come_and_go_with_its_unnamed_interfaces() {
    let (slice, observed) = loose();
    let (without, with) = (fence_of(&slice, &Observed::default()), fence_of(&slice, &observed));
    let comes = with.change_from(&without);
    assert!(
        comes.contains("chain loose_10_12b5 {") && comes.contains("add element bridge vxmesh_guests who"),
        "{comes}"
    );
    let goes = without.change_from(&with);
    assert!(goes.contains("delete chain bridge vxmesh_guests loose_10_12b5_tagged_arp"), "{goes}");
    assert!(!goes.contains("delete element bridge vxmesh_guests loose_"), "sets go whole: {goes}");
}

#[test]
fn several_guests_without_interfaces_on_one_node_are_a_finding() {
    let codes =
        |slice: &Slice| planned(slice, &local()).findings.iter().map(|f| f.code.to_string()).collect::<Vec<_>>();
    let mut slice = slice("suppress", json!({}));
    assert!(codes(&slice).is_empty(), "one alone has nobody to fear");
    let key = "default/10/-/02:00:00:00:00:32".parse().unwrap();
    slice.rows.insert(key, serde_json::from_value(json!({"node": "a"})).unwrap());
    assert_eq!(codes(&slice), ["M0614"]);
}

#[test]
fn a_guest_whose_port_names_its_interface_is_behind_it_in_every_vlan() {
    let mut slice = with_row("default/10/-/02:00:00:00:00:21", json!({"node": "a", "interface": "tap1"}));
    let row = json!({"node": "a", "arp": ["192.168.10.21"]});
    slice.rows.insert("default/10/20/02:00:00:00:00:21".parse().unwrap(), serde_json::from_value(row).unwrap());
    let text = fence_of(&slice, &Observed::default()).text();
    assert!(text.contains("tagged_mac { \"tap1\" . 0x020000000021 . 20 }"), "{text}");
    let loose = super::loose(&slice, &"default/10".parse().unwrap());
    assert!(!loose.contains(&"02:00:00:00:00:21".parse().unwrap()), "{loose:?}");
}
