use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::linux::fake::Fake;
use crate::node::desired::{BridgeEntry, Port, Vxlan};
use crate::node::golden;
use crate::node::onlink::Route;
use crate::node::plan::tests::{local, planned, slice};
use crate::table::Slice;

fn text(ops: &[Op]) -> String {
    ops.iter().map(|op| format!("{op}\n")).collect()
}

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// Applies the difference and checks that nothing is left to do.
fn settle(kernel: &mut Fake, desired: &Desired) -> Vec<Op> {
    let ops = diff(desired, &kernel.observe().unwrap());
    kernel.apply(&ops).unwrap_or_else(|e| panic!("{e}\n{}", text(&ops)));
    let left = diff(desired, &kernel.observe().unwrap());
    assert!(left.is_empty(), "still to do:\n{}after:\n{}", text(&left), text(&ops));
    ops
}

fn desired(slice: &Slice) -> Desired {
    planned(slice, &local()).desired
}

fn suppress() -> Slice {
    slice("suppress", json!({}))
}

fn other(kind: Kind, alias: Option<&str>) -> Link {
    Link { kind, alias: alias.map(Into::into), mtu: 1500, up: true, no_addresses: false, port: None }
}

#[test]
fn who_gives_a_bridge_an_address_is_told_how_a_host_gets_into_the_network() {
    let desired = desired(&suppress());
    let mut kernel = Fake::default();
    settle(&mut kernel, &desired);
    let (bridge, net) = desired.networks.iter().next().unwrap();
    for (device, told) in [(bridge, true), (&net.tap, false)] {
        let mut observed = kernel.state.clone();
        observed.addresses.insert(device.clone(), ["192.168.10.1".parse().unwrap()].into());
        let findings = conflicts(&desired, &observed);
        let [one] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!(one.code, "M0615");
        let help = one.help.as_str();
        assert!(help.starts_with(&format!("take it off: ip address flush dev {device}")), "{help}");
        for command in [
            "ip link add h0 type veth peer name h1;",
            "meshctl port create NAME --network NETWORK --node NODE --mac MAC-OF-h0 --ip ADDRESS --interface h1;",
            "ip address add ADDRESS/LENGTH dev h0",
        ] {
            assert_eq!(help.contains(command), told, "{device}: {help}");
        }
    }
}

#[test]
fn a_node_that_moves_from_plain_to_tunnel_is_shut_out_first() {
    let mut kernel = Fake::default();
    settle(&mut kernel, &desired(&suppress()));
    let encrypt = slice("suppress", json!({"c": {"between": [{"node": "a"}, {"node": "c"}], "action": "encrypt"}}));
    let ops = settle(&mut kernel, &desired(&encrypt));
    golden::check("plain-to-tunnel.txt", &text(&ops));
}

#[test]
fn a_network_that_goes_away_leaves_the_guard_until_its_last_device_is_gone() {
    let mut kernel = Fake::default();
    let both = {
        let mut slice = suppress();
        let mut second = slice.networks.values().next().unwrap().clone();
        second.udp_port = UdpPort::try_from(4790).unwrap();
        slice.networks.insert("second/11".parse().unwrap(), second);
        slice
    };
    settle(&mut kernel, &desired(&both));
    golden::check("network-gone.txt", &text(&settle(&mut kernel, &desired(&suppress()))));
}

#[test]
fn cleanup_removes_all_that_is_ours_and_only_that() {
    let mut kernel = Fake::default();
    let mine = other(Kind::Other("veth".into()), None);
    kernel.state.links.insert(name("tap0"), mine.clone());
    // Our alias under another name, and our name with another alias: both are somebody else's.
    kernel
        .state
        .links
        .insert(name("br0"), other(Kind::Bridge(crate::node::desired::Bridge::OURS), Some("vxmesh:default/10")));
    kernel.state.links.insert(name("vb77.12b5"), other(Kind::Bridge(crate::node::desired::Bridge::OURS), Some("lab")));
    let before = kernel.state.clone();
    settle(&mut kernel, &desired(&suppress()));
    kernel.apply(&cleanup(&kernel.state.clone())).unwrap();
    assert_eq!(kernel.state, before);
}

#[test]
fn a_tap_of_ours_with_a_carrier_is_held_by_a_daemon_that_runs() {
    let mut kernel = Fake::default();
    settle(&mut kernel, &desired(&suppress()));
    let taps: Vec<IfName> = kernel
        .state
        .links
        .iter()
        .filter(|(_, link)| matches!(link.kind, Kind::Tap(_)))
        .map(|(name, _)| name.clone())
        .collect();
    assert!(!taps.is_empty());
    kernel.state.dark.extend(taps.iter().cloned());
    assert_eq!(held(&kernel.state), None, "up, and nobody has them open");
    kernel.state.dark.remove(&taps[0]);
    assert_eq!(held(&kernel.state), Some(&taps[0]));
    kernel.state.links.get_mut(&taps[0]).unwrap().up = false;
    assert_eq!(held(&kernel.state), None);
}

#[test]
fn a_foreign_bridge_with_our_name_is_reported_and_left_alone() {
    let mut kernel = Fake::default();
    let foreign = other(Kind::Bridge(crate::node::desired::Bridge::OURS), None);
    kernel.state.links.insert(name("vb10.12b5"), foreign.clone());
    let desired = desired(&suppress());
    let findings = conflicts(&desired, &kernel.state);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].code, "M0611");
    settle(&mut kernel, &desired);
    assert_eq!(kernel.state.links, [(name("vb10.12b5"), foreign)].into());
}

#[test]
fn a_foreign_vxlan_device_on_our_udp_port_blocks_the_network_and_keeps_its_traffic() {
    let mut kernel = Fake::default();
    let flannel = Vxlan { vni: 1, udp_port: 4789, ipv6: false, local: None, dev: None, ttl: 0, learning: true };
    kernel.state.links.insert(name("flannel.1"), other(Kind::Vxlan(flannel.clone()), None));
    let desired = desired(&suppress());
    assert_eq!(conflicts(&desired, &kernel.state)[0].code, "M0612");
    settle(&mut kernel, &desired);
    assert_eq!(kernel.state.links.len(), 1);
    assert_eq!(kernel.state.guard, ObservedGuard::Absent, "there is nothing of ours to guard on that port");

    // It came after us: ours stays, and stays guarded.
    let mut kernel = Fake::default();
    settle(&mut kernel, &desired);
    kernel.state.links.insert(name("flannel.1"), other(Kind::Vxlan(flannel.clone()), None));
    assert!(diff(&desired, &kernel.state).is_empty());
    let told = conflicts(&desired, &kernel.state);
    assert!(told.len() == 1 && told[0].code == "M0612", "{told:?}");
    assert!(told[0].what.contains("flannel.1") && told[0].what.contains("4789"), "{told:?}");
    // Ours was taken away, and another one has its VNI: the kernel makes no second one, and this network alone has no plain path.
    let mut robbed = kernel.clone();
    let flannel10 = Vxlan { vni: 10, ..flannel.clone() };
    robbed.state.links.remove(&name("vv10.12b5")).unwrap();
    robbed.state.links.insert(name("flannel.10"), other(Kind::Vxlan(flannel10), None));
    let mut second = kernel.state.links[&name("vv10.12b5")].clone();
    second.alias = Some(names::alias(&"default/11".parse().unwrap()));
    robbed.state.links.insert(name("vv11.12b5"), second);
    let said = conflicts(&desired, &robbed.state);
    let of = |cut: &Option<Cut>| cut.clone().unwrap_or_default().networks.len();
    let robbed = said.iter().find(|one| one.what.contains("flannel.10")).unwrap();
    assert!(robbed.code == "M0612" && robbed.what.contains("network default/10") && of(&robbed.cut) == 1, "{said:?}");
    assert!(robbed.help.contains("ip link delete flannel.10"), "{robbed:?}");
    // Of several the first is named. One at a port of its own is in nobody's way.
    let also = |port| other(Kind::Vxlan(Vxlan { udp_port: port, ..flannel.clone() }), None);
    kernel.state.links.insert(name("flannel.2"), also(4789));
    kernel.state.links.insert(name("elsewhere"), also(8472));
    let told = conflicts(&desired, &kernel.state);
    assert!(told.len() == 1 && told[0].what.contains("flannel.1 and 1 more"), "{told:?}");
    kernel.state.links.retain(|name, _| !name.as_str().starts_with("flannel"));
    assert_eq!(conflicts(&desired, &kernel.state), []);
}

#[test]
fn an_attribute_that_cannot_change_makes_the_device_anew() {
    let mut kernel = Fake::default();
    let desired = desired(&suppress());
    settle(&mut kernel, &desired);
    if let Some(Link { kind: Kind::Vxlan(vxlan), .. }) = kernel.state.links.get_mut(&name("vv10.12b5")) {
        vxlan.ttl = 64;
    }
    let ops = text(&settle(&mut kernel, &desired));
    let anew = "ip link delete dev vv10.12b5\nip link add name vv10.12b5";
    assert!(ops.contains(anew), "{ops}");
    // Whoever takes its UDP port meanwhile is sent nothing.
    let (shut, open) = ("add element inet vxmesh early {", "delete element inet vxmesh early {");
    let at = |what: &str| ops.find(what).unwrap();
    assert!(at(shut) < at(anew) && at("dev vv10.12b5 up") < at(open), "{ops}");
    let first =
        "flush chain inet vxmesh arriving\nadd rule inet vxmesh arriving udp dport @early counter name in_early drop\n";
    assert!(ops.contains(first), "{ops}");
    assert!(!ops.contains("inet vxmesh admin"), "what the device sends as soon as it is up leaves: {ops}");
    assert!(!ops.contains("vt10.12b5"), "the other path is not disturbed: {ops}");
}

/// The kernel refuses an IPv6 neighbour there, and no frame of a guest needs it.
#[test]
fn a_host_without_ipv6_builds_all_the_rest() {
    let mut kernel = Fake::default();
    kernel.state.new_without_ipv6 = true;
    let mut slice = suppress();
    slice.rows.values_mut().for_each(|row| row.nd = ["fd10::2".parse().unwrap()].into());
    let desired = desired(&slice);
    settle(&mut kernel, &desired);
    let six = |kernel: &Fake| kernel.state.neighbours[&name("vb10.12b5")].keys().filter(|to| to.is_ipv6()).count();
    assert_eq!(six(&kernel), 0);
    kernel.state.no_ipv6.clear();
    settle(&mut kernel, &desired);
    assert!(six(&kernel) > 0);
}

#[test]
fn a_copy_to_a_second_vtep_is_removed() {
    let mut kernel = Fake::default();
    let desired = desired(&suppress());
    settle(&mut kernel, &desired);
    let vteps = kernel.state.vxlan_fdb.get_mut(&name("vv10.12b5")).unwrap().values_mut().next().unwrap();
    vteps.insert(Vtep { address: "192.0.2.66".parse().unwrap(), via: None });
    let ops = text(&settle(&mut kernel, &desired));
    assert_eq!(ops, "bridge fdb delete 02:00:00:00:00:02 dev vv10.12b5 self dst 192.0.2.66\n");
}

#[test]
fn what_a_guest_learned_on_its_own_port_is_not_ours_to_remove() {
    let mut kernel = Fake::default();
    let desired = desired(&suppress());
    settle(&mut kernel, &desired);
    let guest = BridgeEntry { port: name("tap0"), hold: Hold::Learned };
    let table = kernel.state.bridge_fdb.get_mut(&name("vb10.12b5")).unwrap();
    table.insert("02:00:00:00:00:01".parse().unwrap(), guest.clone());
    assert!(diff(&desired, &kernel.state).is_empty());
    // But a remote guest's address on it is: the table says where that guest is.
    let table = kernel.state.bridge_fdb.get_mut(&name("vb10.12b5")).unwrap();
    table.insert("02:00:00:00:00:02".parse().unwrap(), guest);
    let ops = diff(&desired, &kernel.state);
    assert_eq!(text(&ops), "bridge fdb replace 02:00:00:00:00:02 dev vv10.12b5 master static sticky\n");
}

/// Ways in which others disturb what we made.
#[derive(Debug, Clone)]
enum Drift {
    Delete(usize),
    Down(usize),
    Flags(usize),
    Mtu(usize),
    Addresses(usize),
    Free(usize),
    Learn(u8, usize),
    Flush(usize),
    Guard(bool),
    Table(usize),
}

fn drifts() -> impl Strategy<Value = Vec<Drift>> {
    let one = prop_oneof![
        (0..3_usize).prop_map(Drift::Delete),
        (0..3_usize).prop_map(Drift::Down),
        (0..3_usize).prop_map(Drift::Flags),
        (0..3_usize).prop_map(Drift::Mtu),
        (0..3_usize).prop_map(Drift::Addresses),
        (0..3_usize).prop_map(Drift::Free),
        (any::<u8>(), 0..3_usize).prop_map(|(mac, port)| Drift::Learn(mac, port)),
        (0..4_usize).prop_map(Drift::Flush),
        any::<bool>().prop_map(Drift::Guard),
        (0..3_usize).prop_map(Drift::Table),
    ];
    prop::collection::vec(one, 0..8)
}

fn disturb(kernel: &mut Fake, drift: &Drift) {
    let at = |n: usize| name(["vb10.12b5", "vt10.12b5", "vv10.12b5"][n]);
    let bridge = at(0);
    match *drift {
        Drift::Delete(n) => kernel.apply(&[Op::DeleteLink { name: at(n) }]).unwrap(),
        Drift::Down(n) => drop(kernel.apply(&[Op::SetUp { name: at(n), up: false }])),
        Drift::Mtu(n) => drop(kernel.apply(&[Op::SetMtu { name: at(n), mtu: 1200 }])),
        Drift::Addresses(n) => {
            if let Some(link) = kernel.state.links.get_mut(&at(n)) {
                link.no_addresses = false;
            }
        }
        Drift::Flags(n) => {
            if let Some(Port { flags, .. }) = kernel.state.links.get_mut(&at(n)).and_then(|l| l.port.as_mut()) {
                (flags.isolated, flags.hairpin, flags.proxy_arp) = (false, true, true);
                flags.bcast_flood = !flags.bcast_flood;
            }
            if let Some(Kind::Bridge(bridge)) = kernel.state.links.get_mut(&at(n)).map(|link| &mut link.kind) {
                bridge.stp = true;
            }
        }
        Drift::Free(n) => {
            if let Some(link) = kernel.state.links.get_mut(&at(n)) {
                link.port = None;
                kernel.state.bridge_fdb.clear();
            }
        }
        Drift::Learn(mac, n) => {
            let here =
                kernel.state.links.get(&at(n)).is_some_and(|l| l.port.as_ref().is_some_and(|p| p.bridge == bridge));
            if here {
                let entry = BridgeEntry { port: at(n), hold: Hold::Learned };
                kernel.state.bridge_fdb.entry(bridge).or_default().insert(Mac([2, 0, 0, 0, 0, mac]), entry);
            }
        }
        Drift::Flush(0) => kernel.state.bridge_fdb.clear(),
        Drift::Flush(1) => kernel.state.vxlan_fdb.clear(),
        Drift::Flush(2) => kernel.state.flood.clear(),
        Drift::Flush(_) => kernel.state.neighbours.clear(),
        Drift::Table(0) => kernel.state.onlink.table.routes.clear(),
        Drift::Table(1) => kernel.state.onlink.table.rules.clear(),
        Drift::Table(_) => {
            let route = kernel.state.onlink.table.routes.first().cloned();
            let astray = |route: Route| Route { gateway: "10.9.0.254".parse().ok(), ..route };
            kernel.state.onlink.table.routes.extend(route.map(astray));
        }
        Drift::Guard(gone) => {
            kernel.state.guard = if gone { ObservedGuard::Absent } else { ObservedGuard::Unknown };
        }
    }
}

fn slices() -> impl Strategy<Value = Slice> {
    let policy = prop_oneof![
        Just(json!({})),
        Just(json!({"p": {"between": [], "action": "encrypt"}})),
        Just(json!({"p": {"between": [], "action": "forbid"}})),
        Just(json!({"p": {"between": [{"node": "b"}], "action": "encrypt"}})),
        Just(json!({"p": {"between": [{"pdc": "x"}, {"pdc": "y"}], "action": "plain", "iKnowThisIsClear": true}})),
    ];
    let rows = prop::collection::btree_map(
        (any::<u8>(), prop::option::of(1..4_u64)),
        (prop::sample::select(vec!["a", "b", "c", "far", "shut", "nobody"]), any::<u8>()),
        0..12,
    );
    let mtu = prop::sample::select(vec![1418_u64, 1280, 1200]);
    let mtu = (mtu, 0..2_u8);
    (prop::sample::select(vec!["off", "suppress", "replicate"]), policy, rows, any::<bool>(), mtu).prop_map(
        |(flood, policy, rows, hosted, (mtu, hops))| {
            let mut slice = slice(flood, policy);
            slice.pdcs.values_mut().for_each(|facts| facts.max_hops = hops);
            slice.networks.values_mut().for_each(|network| network.guest_mtu = mtu.try_into().unwrap());
            let wanted = rows.into_iter().map(|((mac, vlan), (node, address))| {
                let vlan = vlan.map_or_else(|| "-".to_owned(), |v| v.to_string());
                let key = format!("default/10/{vlan}/02:00:00:00:00:{mac:02x}").parse().unwrap();
                let row = json!({"node": node, "arp": [format!("192.168.10.{address}")], "nd": [format!("fd10::{address:x}")]});
                (key, serde_json::from_value(row).unwrap())
            });
            slice.rows = wanted.collect();
            if !hosted {
                slice.networks.clear();
            }
            slice
        },
    )
}

fn members(guard: &Guard) -> impl Iterator<Item = (UdpPort, IpAddr, crate::types::Vni)> {
    guard.admin.iter().chain(&guard.external).flat_map(|side| side.members.iter().copied())
}

proptest! {
    #[test]
    fn any_slice_after_any_other_settles_and_cleans_up(first in slices(), drift in drifts(), second in slices()) {
        let mut kernel = Fake::default();
        kernel.state.links.insert(name("eth0"), other(Kind::Other(String::new()), None));
        let bare = kernel.state.clone();
        settle(&mut kernel, &desired(&first));
        for one in &drift {
            disturb(&mut kernel, one);
        }
        settle(&mut kernel, &desired(&second));
        settle(&mut kernel, &Desired::default());
        prop_assert_eq!(kernel.state, bare);
    }

    /// The guard is the first step that changes it, and at no moment does a VTEP stand in a table that the guard then has not.
    #[test]
    fn the_guard_is_ahead_of_every_table(first in slices(), second in slices()) {
        let mut kernel = Fake::default();
        settle(&mut kernel, &desired(&first));
        let ops = diff(&desired(&second), &kernel.state);
        for op in &ops {
            kernel.apply(std::slice::from_ref(op)).unwrap();
            let members: BTreeSet<_> = kernel.state.guard.loaded().into_iter().flat_map(members).collect();
            if let Op::SetVtep { vxlan, vtep, .. } | Op::AddFlood { vxlan, vtep } = op {
                let (_, vni, port) = names::parse(vxlan.as_str()).unwrap();
                prop_assert!(members.contains(&(port, vtep.address, vni)), "{op}");
            }
            let listening = listening(&[], &kernel.state);
            let early = kernel.state.guard.loaded().map(|guard| guard.early.clone()).unwrap_or_default();
            let heard = |port: &UdpPort| listening.contains(port) || early.contains(port);
            prop_assert!(members.iter().all(|(port, ..)| heard(port)), "{op}: anybody may listen there");
            let open: Vec<u16> = kernel.state.links.values().filter_map(Link::vxlan).map(|v| v.udp_port).collect();
            if let Some(port) = open.first() {
                prop_assert!(
                    matches!(&kernel.state.guard, ObservedGuard::Loaded(g) if g.ports.iter().any(|p| p.get() == *port)),
                    "UDP port {port} is open and not guarded after {op}"
                );
            }
        }
    }
}
