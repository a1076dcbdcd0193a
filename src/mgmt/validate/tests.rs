use super::*;
use crate::api::objects::{Allowed, ForeignSpec, Object};
use crate::mgmt::edit;
use crate::mgmt::fixture;
use crate::policy::mtu::{MtuPolicy, Oversize};
use crate::policy::path::PathRule;
use crate::table::{Flood, Learning};
use crate::types::{Mac, Mtu, PublicKey, Vlan};

fn apply(items: Vec<Any>) -> Result<State, Problem> {
    let state = fixture::mesh();
    let edits = edit::apply(&state, items)?;
    check(&state, &edits)
}

fn refused(items: Vec<Any>) -> Problem {
    let problem = apply(items).unwrap_err();
    assert!(problem.notes.contains(&"nothing was changed".to_owned()), "{problem}");
    problem
}

fn port(name: &str, mac: u32, ip: &str) -> crate::api::objects::Port {
    fixture::port(name, "blue", "a-1", mac, ip)
}

fn policy(name: &str, between: Vec<Selector>, action: Action) -> Any {
    let spec = PathRule { between, network: None, action, i_know_this_is_clear: false };
    Any::PathPolicy(Object { metadata: fixture::meta(name), spec, status: () })
}

#[test]
fn a_good_port_passes() {
    let state = apply(vec![Any::Port(port("web", 50, "192.168.10.50"))]).unwrap();
    assert_eq!(state.ports.len(), 5);
}

#[test]
fn the_same_mac_or_address_twice_names_both_ports() {
    let mac = refused(vec![Any::Port(port("web", 1, "192.168.10.50"))]);
    assert_eq!(mac.what, "ports 'guest-a-1' and 'web' of network 'blue' have the same address 02:00:00:00:00:01");
    assert_eq!((mac.code.as_str(), mac.exit), ("M0314", Exit::Conflict));
    let ip = refused(vec![Any::Port(port("web", 50, "192.168.10.11"))]);
    assert_eq!((ip.code.as_str(), ip.what.contains("192.168.10.11")), ("M0315", true));
    let both_new = vec![Any::Port(port("x", 60, "192.168.10.60")), Any::Port(port("y", 60, "192.168.10.61"))];
    assert_eq!(refused(both_new).code, "M0314");
}

#[test]
fn another_vlan_or_network_may_use_the_same_mac_and_address() {
    let mut tagged = port("web", 1, "192.168.10.11");
    tagged.spec.vlan = Some(Vlan::try_from(5).unwrap());
    apply(vec![Any::Port(tagged)]).unwrap();
    let red = fixture::network("red", "default", 11, "192.168.10.0/24");
    let twin = fixture::port("twin", "red", "a-1", 1, "192.168.10.11");
    apply(vec![Any::Network(red), Any::Port(twin)]).unwrap();
}

/// A port that may use these besides: IP, or IP and MAC.
fn allowing(name: &str, mac: u32, ip: &str, allowed: &[(&str, Option<Mac>)]) -> Any {
    let mut made = port(name, mac, ip);
    made.spec.allowed = allowed.iter().map(|(ip, mac)| Allowed { ip: ip.parse().unwrap(), mac: *mac }).collect();
    Any::Port(made)
}

#[test]
fn an_address_may_be_held_by_several_ports_that_are_allowed_to_and_is_nobodys_own() {
    let (vip, inner) = ("192.168.10.100", Mac([2, 0, 0, 0, 9, 9]));
    let both = || {
        [("x", 60, "192.168.10.60"), ("y", 61, "192.168.10.61")].map(|(n, m, ip)| allowing(n, m, ip, &[(vip, None)]))
    };
    apply(both().into()).unwrap();
    let with = |other: Any| both().into_iter().chain([other]).collect::<Vec<_>>();
    let nested = |ip: &'static str, mac| [(ip, Some(mac))];
    apply(with(allowing("z", 62, "192.168.10.62", &nested("192.168.10.63", inner)))).unwrap();
    // A MAC of its own is the same as none.
    apply(with(allowing("z", 62, "192.168.10.62", &nested(vip, Mac([2, 0, 0, 0, 0, 62]))))).unwrap();
    for (why, other, code) in [
        ("own address of another", allowing("z", 62, vip, &[]), "M0352"),
        ("own address of itself", allowing("z", 62, vip, &[(vip, None)]), "M0352"),
        (
            "the link-local address of another's MAC",
            allowing("z", 62, "192.168.10.62", &[("fe80::ff:fe00:3c", None)]),
            "M0352",
        ),
        ("address of a guest's guest", allowing("z", 62, "192.168.10.62", &nested(vip, inner)), "M0352"),
        ("outside", allowing("z", 62, "192.168.10.62", &[("192.168.11.1", None)]), "M0321"),
        ("guest's guest outside", allowing("z", 62, "192.168.10.62", &nested("192.168.11.1", inner)), "M0321"),
        (
            "MAC of a port",
            allowing("z", 62, "192.168.10.62", &nested("192.168.10.63", Mac([2, 0, 0, 0, 0, 60]))),
            "M0314",
        ),
        ("address of a port", allowing("z", 62, "192.168.10.62", &nested("192.168.10.60", inner)), "M0315"),
        ("group", allowing("z", 62, "192.168.10.62", &nested("192.168.10.63", Mac::BROADCAST)), "M0320"),
    ] {
        assert_eq!(refused(with(other)).code, code, "{why}");
    }
    let twice = ["z", "w"]
        .into_iter()
        .zip(70..)
        .map(|(n, m)| allowing(n, m, &format!("192.168.10.{m}"), &nested("192.168.10.80", inner)));
    assert_eq!(refused(twice.collect()).code, "M0314", "one guest's guest in two places");
}

#[test]
fn an_address_that_several_may_hold_needs_a_network_in_which_its_holder_is_found() {
    let state = fixture::mesh();
    let blue = || state.networks.values().next().unwrap().as_ref().clone();
    let holder = allowing("x", 60, "192.168.10.60", &[("192.168.10.100", None)]);
    for (flood, learning, overlay) in [
        (Some(Flood::Off), Learning::Declared, Flood::Suppress),
        (None, Learning::Declared, Flood::Off),
        (None, Learning::Local, Flood::Suppress),
    ] {
        let (mut network, mut over) = (blue(), state.overlays.values().next().unwrap().as_ref().clone());
        (network.spec.flood, network.spec.learning, over.spec.flood) = (flood, learning, overlay);
        let refused = refused(vec![Any::Overlay(over), Any::Network(network), holder.clone()]);
        assert_eq!(refused.code, "M0353", "{flood:?} {learning:?} {overlay:?}");
    }
}

#[test]
fn addresses_that_no_guest_can_have_are_refused() {
    for (ip, code) in
        [("192.168.11.1", "M0321"), ("192.168.10.0", "M0321"), ("192.168.10.255", "M0321"), ("2001:db8::1", "M0321")]
    {
        assert_eq!(refused(vec![Any::Port(port("web", 50, ip))]).code, code, "{ip}");
    }
    apply(vec![Any::Port(port("web", 50, "fe80::1"))]).unwrap();
    for mac in [Mac::BROADCAST, Mac::ZERO, Mac([1, 0, 0x5e, 0, 0, 1])] {
        let mut bad = port("web", 50, "192.168.10.50");
        bad.spec.mac = mac;
        assert_eq!(refused(vec![Any::Port(bad)]).code, "M0320");
    }
}

#[test]
fn the_own_address_of_a_prefix_is_no_guests_in_either_family_and_a_pair_of_two_has_no_edge() {
    for (cidr, ip, edge) in [
        ("2001:db8::/64", "2001:db8::", Some("own address of the prefix 2001:db8::/64")),
        ("2001:db8::/126", "2001:db8::", Some("own address of the prefix")),
        ("2001:db8::/64", "2001:db8::1", None),
        ("2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", None),
        ("2001:db8::/127", "2001:db8::", None),
        ("2001:db8::/127", "2001:db8::1", None),
        ("2001:db8::5/128", "2001:db8::5", None),
        ("192.0.2.0/24", "192.0.2.0", Some("own address of the prefix")),
        ("192.0.2.0/24", "192.0.2.255", Some("broadcast address")),
        ("192.0.2.0/24", "192.0.2.128", None),
        ("192.0.2.0/31", "192.0.2.0", None),
        ("192.0.2.0/31", "192.0.2.1", None),
        ("192.0.2.7/32", "192.0.2.7", None),
    ] {
        let mut network = fixture::mesh().networks.values().next().unwrap().as_ref().clone();
        network.spec.cidr = vec![cidr.parse().unwrap()];
        network.spec.gateway = Vec::new();
        assert_eq!(belongs(&network, ip.parse().unwrap()), edge.is_none(), "{ip} in {cidr}");
        let mut gateway = network.clone();
        gateway.spec.gateway = vec![ip.parse().unwrap()];
        let refusal = apply(vec![Any::Network(gateway)]).err();
        let about = refusal.as_ref().filter(|problem| problem.code == "M0319").map(|problem| problem.to_string());
        assert_eq!(about.is_some(), edge.is_some(), "{ip} in {cidr}: {refusal:?}");
        assert!(edge.is_none_or(|words| about.unwrap().contains(words)), "{ip} in {cidr}: {refusal:?}");
    }
}

#[test]
fn a_missing_reference_comes_with_the_name_that_was_probably_meant() {
    let missing = refused(vec![Any::Port(fixture::port("web", "bleu", "a-1", 50, "192.168.10.50"))]);
    assert_eq!(missing.what, "network 'bleu' does not exist");
    assert_eq!(missing.help, ["did you mean 'blue'?"]);
    assert_eq!(missing.exit, Exit::Invalid);
    assert_eq!(
        refused(vec![Any::Port(fixture::port("web", "blue", "a-9", 50, "192.168.10.50"))]).what,
        "node 'a-9' does not exist"
    );
    assert_eq!(
        refused(vec![Any::Network(fixture::network("red", "defualt", 11, "10.0.0.0/24"))]).help,
        ["did you mean 'default'?"]
    );
    assert_eq!(refused(vec![Any::Node(fixture::node("c-1", "brno"))]).what, "PDC 'brno' does not exist");
    let ghost = vec![Selector::Node("ghost".parse().unwrap())];
    assert_eq!(refused(vec![policy("p", ghost, Action::Forbid)]).code, "M0330");
}

#[test]
fn only_an_overlays_nodes_may_not_exist_yet() {
    let mut overlay = fixture::overlay("other", 4790);
    overlay.spec.nodes = Some(["not-yet".parse().unwrap()].into());
    apply(vec![Any::Overlay(overlay.clone())]).unwrap();
    let net = fixture::network("red", "other", 10, "192.168.11.0/24");
    let refused = refused(vec![
        Any::Overlay(overlay),
        Any::Network(net),
        Any::Port(fixture::port("web", "red", "a-1", 50, "192.168.11.50")),
    ]);
    assert_eq!(refused.code, "M0324");
}

#[test]
fn an_overlay_gets_the_lowest_free_udp_port_and_keeps_it() {
    let free = |name: &str| Any::Overlay(fixture::overlay(name, 0));
    let state = apply(vec![free("x"), free("y"), Any::Overlay(fixture::overlay("z", 4790))]).unwrap();
    let port = |state: &State, name: &str| state.overlays[&name.parse().unwrap()].spec.udp_port.unwrap().get();
    assert_eq!([port(&state, "x"), port(&state, "y"), port(&state, "z")], [4791, 4792, 4790]);
    let again = edit::apply(&state, vec![free("y")]).unwrap();
    assert_eq!(port(&check(&state, &again).unwrap(), "y"), 4792);
}

#[test]
fn two_overlays_on_one_udp_port_and_reserved_ones_are_refused() {
    assert_eq!(refused(vec![Any::Overlay(fixture::overlay("x", 4789))]).code, "M0317");
    for port in [53, 68, 51820, 51821] {
        assert_eq!(refused(vec![Any::Overlay(fixture::overlay("x", port))]).code, "M0318", "{port}");
    }
    apply(vec![Any::Overlay(fixture::overlay("x", 8472))]).unwrap();
}

#[test]
fn one_vni_is_one_network_of_an_overlay() {
    assert_eq!(refused(vec![Any::Network(fixture::network("red", "default", 10, "10.0.0.0/24"))]).code, "M0316");
    // The last one is the nodes' own.
    assert_eq!(
        refused(vec![Any::Network(fixture::network("red", "default", 16_777_215, "10.0.0.0/24"))]).code,
        "M0316"
    );
    apply(vec![Any::Network(fixture::network("red", "default", 16_777_214, "10.0.0.0/24"))]).unwrap();
    apply(vec![
        Any::Overlay(fixture::overlay("x", 4790)),
        Any::Network(fixture::network("red", "x", 10, "10.0.0.0/24")),
    ])
    .unwrap();
}

#[test]
fn gateways_and_prefixes_must_agree() {
    for gateway in ["192.168.11.1", "192.168.10.0", "192.168.10.255"] {
        let mut net = fixture::network("blue", "default", 10, "192.168.10.0/24");
        net.spec.gateway = vec![gateway.parse().unwrap()];
        assert_eq!(refused(vec![Any::Network(net)]).code, "M0319", "{gateway}");
    }
    let mut routed = fixture::network("blue", "default", 10, "192.168.10.0/24");
    routed.spec.gateway = vec!["192.168.10.1".parse().unwrap(), "fe80::1".parse().unwrap()];
    apply(vec![Any::Network(routed)]).unwrap();
    let mut net = fixture::network("red", "default", 11, "10.0.0.0/8");
    net.spec.cidr.push("10.1.0.0/16".parse().unwrap());
    assert_eq!(refused(vec![Any::Network(net)]).code, "M0329");
    let narrower = fixture::network("blue", "default", 10, "192.168.10.0/29");
    assert_eq!(refused(vec![Any::Network(narrower)]).code, "M0321", "its ports must still fit");
}

#[test]
fn an_impossible_fixed_mtu_is_refused_with_the_missing_bytes() {
    let fixed = |mtu: u64, oversize| {
        let mut net = fixture::network("blue", "default", 10, "192.168.10.0/24");
        net.spec.mtu = Some(MtuPolicy { fixed: Mtu::try_from(mtu).ok(), vlan: false, oversize });
        Any::Network(net)
    };
    apply(vec![fixed(1418, Oversize::Drop)]).unwrap();
    for (mtu, oversize, missing) in
        [(1450, Oversize::Drop, 32), (1450, Oversize::TooBig, 32), (1500, Oversize::Fragment, 50)]
    {
        let problem = refused(vec![fixed(mtu, oversize)]);
        assert!(problem.what.contains(&format!("{missing} bytes too large")), "{problem}");
        assert_eq!(problem.code, "M0501");
    }
    apply(vec![fixed(1450, Oversize::Fragment)]).unwrap();
}

/// Plain pairs and tunnels have limits of their own: who limits is who the sum is of, and what is advised changes something.
#[test]
fn a_refused_mtu_names_the_interface_that_its_sum_is_of() {
    let state = fixture::mesh();
    let mut named = Vec::new();
    for oversize in [Oversize::Fragment, Oversize::TooBig, Oversize::Drop] {
        let mut net = fixture::network("blue", "default", 10, "192.168.10.0/24");
        net.spec.mtu = Some(MtuPolicy { fixed: Mtu::try_from(1460).ok(), vlan: false, oversize });
        let problem = check(&state, &edit::apply(&state, vec![Any::Network(net)]).unwrap()).unwrap_err();
        let (plain, text) = (problem.what.contains("= 1450"), problem.to_string());
        assert!(text.contains(if plain { "admin interface" } else { "external interface" }), "{oversize:?}: {text}");
        assert!(text.contains("--mtu auto"), "{text}");
        named.push(plain);
    }
    assert_eq!(named, [true, false, false], "only what may go in fragments is bounded by the plain path alone");
}

#[test]
fn an_address_that_two_ports_want_leads_to_the_way_that_works() {
    let state = fixture::mesh();
    let port = fixture::port("vip", "blue", "a-1", 77, "192.168.10.11");
    let problem = check(&state, &edit::apply(&state, vec![Any::Port(port)]).unwrap()).unwrap_err();
    assert_eq!(problem.code, "M0315");
    assert!(problem.to_string().contains("--allowed 192.168.10.11"), "{problem}");
}

#[test]
fn ipv6_needs_1280() {
    let mut net = fixture::network("six", "default", 11, "fd00::/64");
    net.spec.mtu = Some(MtuPolicy { fixed: Mtu::try_from(1200).ok(), ..MtuPolicy::default() });
    let problem = refused(vec![Any::Network(net)]);
    assert_eq!(problem.code, "M0501");
    assert!(problem.what.contains("80 bytes are missing to 1280"), "{problem}");
}

#[test]
fn a_port_that_makes_a_fixed_mtu_impossible_is_refused() {
    let mut state = fixture::mesh();
    let mut net = fixture::network("inside", "default", 11, "192.168.11.0/24");
    net.spec.mtu = Some(MtuPolicy { fixed: Mtu::try_from(1450).ok(), vlan: false, oversize: Oversize::Drop });
    state.put(Any::Network(net));
    let add = |state: &State, name: &str, node: &str, n: u32| {
        let item = Any::Port(fixture::port(name, "inside", node, n, &format!("192.168.11.{n}")));
        check(state, &edit::apply(state, vec![item]).unwrap())
    };
    let state = add(&state, "one", "a-1", 1).unwrap();
    let state = add(&state, "two", "a-2", 2).unwrap();
    let refused = add(&state, "three", "b-1", 3).unwrap_err();
    assert_eq!(refused.code, "M0501");
    assert!(refused.to_string().contains("meshctl network set inside --mtu auto"), "{refused}");
}

#[test]
fn a_path_that_shrank_long_ago_is_no_reason_to_refuse_a_port() {
    let mut state = fixture::mesh();
    let mut net = fixture::network("blue", "default", 10, "192.168.10.0/24");
    net.spec.mtu = Some(MtuPolicy { fixed: Mtu::try_from(1418).ok(), vlan: false, oversize: Oversize::Drop });
    state.put(Any::Network(net));
    let mut short = fixture::joined("a-1", "a", "10.0.0.1", "198.51.0.1", 1);
    short.status.paths.insert("b-1".parse().unwrap(), 1400);
    state.put(Any::Node(short));
    let item = Any::Port(fixture::port("new", "blue", "a-2", 99, "192.168.10.99"));
    check(&state, &edit::apply(&state, vec![item]).unwrap()).unwrap();
}

#[test]
fn what_is_referred_to_is_not_deleted() {
    let state = fixture::mesh();
    let delete = |kind, name: &str, cascade| check(&state, &edit::delete(&state, kind, name, None, cascade).unwrap());
    for (kind, name, by) in [
        (Kind::Pdc, "a", "by node a-1"),
        (Kind::Node, "a-1", "by port guest-a-1"),
        (Kind::Overlay, "default", "by network blue"),
        (Kind::Network, "blue", "by port guest-a-1"),
    ] {
        let problem = delete(kind, name, false).unwrap_err();
        assert_eq!((problem.code.as_str(), problem.notes[1].as_str()), ("M0313", by));
    }
    let after = delete(Kind::Node, "a-1", true).unwrap();
    assert_eq!((after.nodes.len(), after.ports.len()), (3, 3));
    delete(Kind::Port, "guest-a-1", false).unwrap();
    assert_eq!(
        edit::delete(&state, Kind::Port, "guset-a-1", None, false).unwrap_err().help,
        ["did you mean 'guest-a-1'?"]
    );
}

#[test]
fn a_joined_node_keeps_its_pdc_and_its_status() {
    let mut moved = fixture::joined("a-1", "b", "10.0.0.1", "198.51.0.1", 1);
    assert_eq!(refused(vec![Any::Node(moved.clone())]).code, "M0323");
    moved.spec.pdc = "a".parse().unwrap();
    apply(vec![Any::Node(moved.clone())]).unwrap();
    // The clock by which it joined knows parts of a second, and what is printed does not.
    let mut joined = fixture::mesh();
    let at = crate::types::Wall::from_nanos(1_800_000_000_123_456_789);
    let mut known = moved.clone();
    known.status.joined = Some(at);
    joined.put(Any::Node(known.clone()));
    let read = serde_json::from_value(serde_json::to_value(&known).unwrap()).unwrap();
    edit::apply(&joined, vec![Any::Node(read)]).unwrap();
    moved.status.public_key = Some(PublicKey([99; 32]));
    assert_eq!(refused(vec![Any::Node(moved)]).code, "M0322");
    let kept = apply(vec![Any::Node(fixture::node("a-1", "a"))]).unwrap();
    assert!(kept.nodes[&"a-1".parse().unwrap()].status.joined.is_some());
}

#[test]
fn two_nodes_never_share_a_key_or_a_tunnel_address() {
    let foreign = |key: u8, address: &str| {
        let mut node = fixture::node("box", "a");
        node.spec.foreign = Some(ForeignSpec {
            public_key: PublicKey([key; 32]),
            endpoint: None,
            tunnel_address: address.parse().unwrap(),
        });
        Any::Node(node)
    };
    assert_eq!(refused(vec![foreign(1, "100.64.9.9")]).code, "M0325");
    assert_eq!(refused(vec![foreign(50, "100.64.0.1")]).code, "M0325");
    apply(vec![foreign(50, "100.64.9.9")]).unwrap();
}

#[test]
fn clear_text_across_pdcs_needs_its_confirmation() {
    let ends = || vec![Selector::Pdc("a".parse().unwrap()), Selector::Node("b-1".parse().unwrap())];
    assert_eq!(refused(vec![policy("p", ends(), Action::Plain)]).code, "M0401");
    apply(vec![policy("p", ends(), Action::Encrypt)]).unwrap();
    let three = vec![ends()[0].clone(), ends()[0].clone(), ends()[1].clone()];
    assert_eq!(refused(vec![policy("p", three, Action::Forbid)]).code, "M0402");
}

#[test]
fn a_path_has_two_ends() {
    let between = |ends: &[Selector]| vec![policy("p", ends.to_vec(), Action::Forbid)];
    let (node, pdc) = (Selector::Node("b-1".parse().unwrap()), Selector::Pdc("b".parse().unwrap()));
    let itself = refused(between(&[node.clone(), node.clone()]));
    assert!(itself.code == "M0402" && itself.what.contains("names node 'b-1' twice"), "{itself}");
    for ends in [&[node.clone()][..], &[pdc.clone(), pdc.clone()], &[node, pdc]] {
        apply(between(ends)).unwrap();
    }
}

#[test]
fn routers_are_named_only_where_there_may_be_some_and_can_be_next_hops() {
    let pdc = |hops: u8, routers: &[&str]| {
        let mut pdc = fixture::pdc("a", "10.0.0.0/24");
        pdc.spec.max_hops = hops;
        pdc.spec.routers = routers.iter().map(|router| router.parse().unwrap()).collect();
        vec![Any::Pdc(pdc)]
    };
    for (hops, routers, code) in [
        (0, &["10.0.0.254"][..], "M0370"),
        (1, &["0.0.0.0"], "M0371"),
        (1, &["224.0.0.1"], "M0371"),
        (1, &["::1"], "M0371"),
    ] {
        assert_eq!(refused(pdc(hops, routers)).code, code, "{hops} {routers:?}");
    }
    let many: Vec<String> = (1..=17).map(|n| format!("10.0.0.{n}")).collect();
    assert_eq!(refused(pdc(1, &many.iter().map(String::as_str).collect::<Vec<_>>())).code, "M0327");
    apply(pdc(0, &[])).unwrap();
    apply(pdc(2, &["10.0.0.254", "fe80::fe"])).unwrap();
}

#[test]
fn an_old_revision_loses() {
    let mut state = fixture::mesh();
    let mut net = fixture::network("blue", "default", 10, "192.168.10.0/24");
    net.metadata.revision = Some(7);
    state.put(Any::Network(net.clone()));
    net.metadata.revision = Some(6);
    let problem = edit::put_one(&state, Any::Network(net.clone()), false).unwrap_err();
    assert_eq!((problem.code.as_str(), problem.exit), ("M0332", Exit::Conflict));
    assert!(problem.what.ends_with("you have revision 6, it is at revision 7"), "{problem}");
    net.metadata.revision = Some(7);
    edit::put_one(&state, Any::Network(net.clone()), false).unwrap();
    assert_eq!(edit::put_one(&state, Any::Network(net), true).unwrap_err().code, "M0331");
    assert_eq!(edit::delete(&state, Kind::Network, "blue", Some(6), true).unwrap_err().code, "M0332");
}

#[test]
fn tokens_and_doubles_cannot_be_applied() {
    let twice = vec![Any::Port(port("web", 50, "192.168.10.50")); 2];
    assert_eq!(refused(twice).code, "M0334");
}
