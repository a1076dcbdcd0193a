use serde_json::json;

use super::*;
use crate::node::verdicts::Rule;

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn flow(protocol: Protocol, third: u8) -> Flow {
    match protocol {
        Protocol::Ipv6 => Flow { protocol, from: "fd00::1".parse().unwrap(), to: "fd00::2".parse().unwrap() },
        Protocol::Arp | Protocol::Ipv4 => {
            let at = |last: u8| std::net::Ipv4Addr::new(192, 168, third, last).into();
            Flow { protocol, from: at(1), to: at(2) }
        }
    }
}

fn base(family: &'static str, hook: &'static str, drops: bool) -> Base {
    Base { family, table: "fw".into(), name: "c".into(), hook, drops, devices: vec!["tap1".into()] }
}

fn filters(bases: &[Base], parts: serde_json::Value) -> Filters {
    let rules = Rules::from([("c".to_owned(), vec![Rule { handle: 7, parts: parts.as_array().unwrap().clone() }])]);
    let rules = bases.iter().map(|base| ((base.family, base.table.clone()), rules.clone())).collect();
    Filters { bases: bases.to_vec(), rules, ..Filters::default() }
}

fn place() -> Place {
    Place { bridge: name("vb10.12b5"), key: "default/10".parse().unwrap(), cut: Cut::node(true) }
}

fn told(lost: &[Flow], filters: &Filters) -> Vec<Finding> {
    let (bridge, near, far) = (name("vb16777215.12b5"), name("vp16777215.12b5"), name("vq16777215.12b5"));
    let ends = Ends { bridge: &bridge, near: &near, far: &far };
    let ports = [(name("tap1"), place())].into();
    findings(
        Some(ends),
        &lost.iter().copied().collect(),
        &[lost, &[flow(Protocol::Ipv4, 99)]].concat(),
        &ports,
        filters,
    )
}

#[test]
fn what_drops_is_named_with_a_way_out_for_each_family_and_hook() {
    let (four, six, arp) = (flow(Protocol::Ipv4, 10), flow(Protocol::Ipv6, 10), flow(Protocol::Arp, 10));
    let table = [
        (
            "ip",
            "forward",
            four,
            "nft insert rule ip fw c iifname \"vb*\" oifname \"vb*\" accept; or keep bridged frames out of it: sysctl -w net.bridge.bridge-nf-call-iptables=0",
        ),
        (
            "ip6",
            "prerouting",
            six,
            "nft insert rule ip6 fw c iifname \"vb*\" accept; or keep bridged frames out of it: sysctl -w net.bridge.bridge-nf-call-ip6tables=0",
        ),
        (
            "inet",
            "postrouting",
            six,
            "nft insert rule inet fw c oifname \"vb*\" accept; or keep bridged frames out of it: sysctl -w net.bridge.bridge-nf-call-ip6tables=0",
        ),
        ("bridge", "forward", arp, "nft add chain bridge fw c '{ policy accept; }'"),
    ];
    for (family, hook, lost, help) in table {
        let one = told(&[lost], &filters(&[base(family, hook, true)], json!([])));
        assert_eq!(one.len(), 1, "{family}");
        let want = format!("by chain c of table {family} fw (hook {hook}, policy drop)");
        assert!(one[0].code == DROPS_FRAMES && one[0].what.contains(&want), "{}", one[0].what);
        assert_eq!(one[0].help, help);
        let rule = told(&[lost], &filters(&[base(family, hook, false)], json!([{"drop": null}])));
        assert!(rule[0].what.contains(&format!("a rule in chain c of table {family} fw")), "{}", rule[0].what);
        assert!(family != "bridge" || rule[0].help == "nft delete rule bridge fw c handle 7");
    }
}

#[test]
fn what_does_not_see_the_frame_is_not_blamed_and_then_it_is_said_where_else_to_look() {
    let innocent = [base("ip6", "forward", true), base("ip", "input", true), base("netdev", "egress", false)];
    let mut filters = filters(&innocent, json!([]));
    filters.legacy = vec!["iptables-legacy"];
    let one = told(&[flow(Protocol::Ipv4, 10)], &filters);
    assert_eq!(one.len(), 1);
    assert!(one[0].what.contains("by nothing that nft shows"), "{}", one[0].what);
    assert!(one[0].help.starts_with("sysctl -w net.bridge.bridge-nf-call-iptables=0; else"), "{}", one[0].help);
    assert!(one[0].help.contains("iptables-legacy -S"), "{}", one[0].help);
    // Our own drop what they have to.
    let ours = Base { table: "vxmesh_guests".into(), ..base("bridge", "forward", true) };
    assert_eq!(wanted(&[ours], true, &[].into()), [].into());
}

#[test]
fn nothing_is_read_and_nothing_said_where_frames_pass() {
    let bases = [base("ip", "forward", true), base("bridge", "forward", true)];
    // Rules of bridges may name a port.
    assert_eq!(wanted(&bases, false, &[(name("tap1"), place())].into()), [("bridge", "fw".to_owned())].into());
    assert_eq!(wanted(&bases, false, &Ports::new()), [].into());
    assert_eq!(told(&[], &filters(&bases, json!([]))), []);
}

#[test]
fn at_an_interface_of_a_guest_only_what_drops_everything_is_a_fault() {
    for (hook, way) in [("ingress", "comes from"), ("egress", "goes to")] {
        let one = told(&[], &filters(&[base("netdev", hook, true)], json!([])));
        let want = format!("what {way} tap1 in bridge vb10.12b5 is dropped by chain c of table netdev fw");
        assert!(one.len() == 1 && one[0].code == AT_PORT && one[0].what.starts_with(&want), "{one:?}");
        let some = json!([{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 25}}, {"drop": null}]);
        assert_eq!(told(&[], &filters(&[base("netdev", hook, false)], some)), []);
        let ether = |kind: &str| json!([{"match": {"op": "==", "left": {"payload": {"protocol": "ether", "field": "type"}}, "right": kind}}, {"drop": null}]);
        for (kind, subject, ipv6) in
            [("ip", "IPv4 that", false), ("arp", "ARP that", false), ("ip6", "IPv6 that", true)]
        {
            let one = told(&[], &filters(&[base("netdev", hook, false)], ether(kind)));
            let [one] = one.as_slice() else { panic!("{kind}: {one:?}") };
            assert!(
                one.what.starts_with(&format!("{subject} {way} tap1 in bridge vb10.12b5 is dropped by")),
                "{one:?}"
            );
            assert_eq!(one.cut.as_ref().unwrap().ipv6, Some(ipv6));
        }
        let udp =
            json!([{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "udp"}}, {"drop": null}]);
        assert_eq!(told(&[], &filters(&[base("netdev", hook, false)], udp)), [], "some of IPv4 passes");
        let elsewhere = Base { devices: vec!["eth0".into()], ..base("netdev", hook, true) };
        assert_eq!(told(&[], &filters(&[elsewhere], json!([]))), []);
    }
}

#[test]
fn of_many_interfaces_each_is_in_what_is_cut_off_whether_it_is_named_or_not() {
    use crate::policy::path::Path;
    use crate::types::Mac;
    let guest = |last: u8| ("default/10".parse().unwrap(), Mac([2, 0, 0, 0, 0, last]));
    let taps: Vec<String> = (1..=40).map(|last| format!("tap{last}")).collect();
    let mut ports: Ports = taps
        .iter()
        .zip(1_u8..)
        .map(|(tap, last)| (name(tap), Place { cut: Cut::guests(last % 2 == 0, &[guest(last)]), ..place() }))
        .collect();
    ports.insert(name("vt10.12b5"), Place { cut: Cut::way(&guest(1).0, Path::Tunnel), ..place() });
    let devices = ports.keys().map(ToString::to_string).collect();
    let filters = filters(&[Base { devices, ..base("netdev", "ingress", true) }], json!([]));
    let told = findings(None, &[].into(), &[], &ports, &filters);
    assert!(told.len() == 8 + 3, "{told:?}");
    let cuts: Vec<&Cut> = told.iter().filter_map(|finding| finding.cut.as_ref()).collect();
    for last in 1..=40_u8 {
        let (network, mac) = guest(last);
        let of: Vec<_> =
            cuts.iter().filter(|cut| cut.guests.iter().any(|one| (&one.network, one.mac) == (&network, mac))).collect();
        assert!(of.len() == 1 && of[0].surely == (last % 2 == 0), "{last}: {of:?}");
    }
    assert_eq!(cuts.iter().filter(|cut| cut.path == Some(Path::Tunnel) && cut.networks.len() == 1).count(), 1);
    assert!(told.iter().any(|finding| finding.what.ends_with("the same holds for 15 more")), "{told:?}");
}

#[test]
fn protocols_are_named_and_where_some_addresses_pass_which_do_not() {
    let what = |lost: &[Flow]| told(lost, &filters(&[base("bridge", "forward", true)], json!([])))[0].what.clone();
    let all = [flow(Protocol::Ipv4, 10), flow(Protocol::Ipv6, 10), flow(Protocol::Arp, 10)];
    assert!(
        what(&all).contains("IPv4 as from 192.168.10.1 to 192.168.10.2, IPv6 and ARP are dropped"),
        "{}",
        what(&all)
    );
    assert!(what(&all[1..2]).contains("of this host: IPv6 is dropped"));
    // Who knows a neighbour reaches it without ARP.
    for (lost, cut_off) in [(&all[..], true), (&all[1..2], true), (&all[1..], true), (&all[2..], false)] {
        let said = what(lost);
        assert_eq!(said.contains("cut off from each other"), cut_off, "{said}");
        assert_eq!(said.contains("find no neighbour by IPv4 any more"), !cut_off, "{said}");
    }
}

#[test]
fn what_is_cut_off_is_of_the_families_that_are_dropped_and_certain_where_no_address_passes() {
    let dropped = filters(&[base("bridge", "forward", true)], json!([]));
    let (four, six, arp) = (flow(Protocol::Ipv4, 10), flow(Protocol::Ipv6, 10), flow(Protocol::Arp, 10));
    for (lost, surely, ipv6) in [
        (vec![six], true, Some(true)),
        (vec![arp], true, Some(false)),
        // IPv4 between other addresses passes.
        (vec![four], false, Some(false)),
        (vec![arp, six], true, None),
    ] {
        let cut = told(&lost, &dropped)[0].cut.clone().unwrap();
        assert_eq!((cut.node, cut.surely, cut.ipv6), (true, surely, ipv6), "{lost:?}");
    }
}

#[test]
fn what_the_older_iptables_drops_is_named_with_every_switch_that_shows_it_frames() {
    let filters = Filters {
        legacy: vec!["iptables-legacy"],
        forward: [("iptables-legacy", "-P FORWARD DROP".to_owned())].into(),
        shown: [("vb10.12b5".parse().unwrap(), [Protocol::Ipv4, Protocol::Ipv6].into())].into(),
        ..Filters::default()
    };
    let found = told(&[flow(Protocol::Ipv4, 10)], &filters);
    assert!(found[0].what.contains("dropped by iptables-legacy -S FORWARD;"), "{found:?}");
    let off = "sysctl -w net.bridge.bridge-nf-call-iptables=0; ip link set vb10.12b5 type bridge nf_call_iptables 0";
    assert_eq!(found[0].help, off);
    // It lets IPv6 pass, and questions are none of its.
    for protocol in [Protocol::Ipv6, Protocol::Arp] {
        let found = told(&[flow(protocol, 10)], &filters);
        assert!(found[0].what.contains("by nothing that nft shows"), "{found:?}");
    }
}

#[test]
fn rules_that_have_changed_since_frames_were_lost_are_not_held_against_them() {
    let at = |tenths: u64| Mono::from_nanos(tenths * 100_000_000);
    let mut changed = Changed::default();
    assert!(!changed.outdates(false, 7, at(0), at(20)), "the rules of before");
    assert!(changed.outdates(true, 8, at(18), at(30)), "what dropped them may be gone");
    assert!(changed.outdates(true, 8, at(29), at(40)), "these, too, were sent before that was seen");
    assert!(!changed.outdates(true, 8, at(31), at(50)), "lost by the rules of now");
    assert!(!changed.outdates(false, 8, at(31), at(60)));
    // Whoever changes rules all the time hides nothing.
    let told = (0..10).map(|second| changed.outdates(true, 9 + second, at(0), at(70 + 10 * u64::from(second))));
    assert_eq!(told.filter(|outdated| *outdated).count(), 6);
}
