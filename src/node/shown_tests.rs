use super::*;
use crate::node::barriers::{Base, Place};
use crate::node::verdicts::Rules;

fn ports() -> Ports {
    let place = Place { bridge: bridge(), key: "default/10".parse().unwrap(), cut: Cut::node(true) };
    [("tap1".parse().unwrap(), place)].into()
}

fn bridge() -> IfName {
    "vb10.12b5".parse().unwrap()
}

fn shown(protocol: Protocol) -> Shown {
    [(bridge(), [protocol].into())].into()
}

fn filters(family: &'static str) -> Filters {
    let base =
        Base { family, table: "filter".into(), name: "FORWARD".into(), hook: "forward", drops: true, devices: vec![] };
    let rules = [((family, "filter".to_owned()), Rules::new())].into();
    Filters { bases: vec![base], rules, ..Filters::default() }
}

#[test]
fn a_bridge_that_shows_frames_to_what_drops_them_is_told_with_its_switch() {
    for (protocol, family, switch, ipv6) in [
        (Protocol::Ipv4, "ip", "nf_call_iptables", false),
        (Protocol::Ipv6, "ip6", "nf_call_ip6tables", true),
        (Protocol::Ipv6, "inet", "nf_call_ip6tables", true),
    ] {
        let found = findings(&shown(protocol), &[].into(), &ports(), &filters(family), &Legacy::new());
        let [one] = found.as_slice() else { panic!("{found:?}") };
        let words = format!("are dropped by chain FORWARD of table {family} filter (hook forward, policy drop)");
        assert!(one.code == SHOWN && one.what.contains(&words), "{one:?}");
        assert_eq!(one.help, format!("ip link set vb10.12b5 type bridge {switch} 0"));
        let cut = one.cut.as_ref().unwrap();
        assert_eq!((cut.surely, cut.ipv6, cut.networks.len()), (true, Some(ipv6), 1));
    }
    // It shows another protocol, or nothing; what our own frames lose is told with them.
    assert_eq!(findings(&shown(Protocol::Ipv4), &[].into(), &ports(), &filters("ip6"), &Legacy::new()), []);
    assert_eq!(findings(&Shown::new(), &[].into(), &ports(), &filters("ip"), &Legacy::new()), []);
    let flow = Flow { protocol: Protocol::Ipv4, from: [10, 0, 0, 1].into(), to: [10, 0, 0, 2].into() };
    assert_eq!(findings(&shown(Protocol::Ipv4), &[flow].into(), &ports(), &filters("ip"), &Legacy::new()), []);
}

#[test]
fn of_the_older_iptables_only_what_it_says_is_certain() {
    for (chain, surely) in [
        ("-P FORWARD DROP\n", Some(true)),
        ("-P FORWARD ACCEPT\n-A FORWARD -j DROP\n", Some(true)),
        ("-P FORWARD DROP\n-A FORWARD -i docker0 -j ACCEPT\n", Some(false)),
        ("-P FORWARD ACCEPT\n-A FORWARD -i docker0 -j DROP\n", None),
        ("-P FORWARD ACCEPT\n", None),
        ("", None),
    ] {
        let legacy: Legacy = [("iptables-legacy", chain.to_owned())].into();
        let found = findings(&shown(Protocol::Ipv4), &[].into(), &ports(), &Filters::default(), &legacy);
        assert_eq!(found.first().map(|one| one.cut.as_ref().unwrap().surely), surely, "{chain}: {found:?}");
        assert!(found.iter().all(|one| one.what.contains("iptables-legacy -S FORWARD")), "{found:?}");
    }
}
