use super::*;

fn host() -> Vec<Interface> {
    let interface = |name: &str, mtu, addresses: &[&str]| Interface {
        name: name.parse().unwrap(),
        mtu,
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
    };
    vec![
        interface("eth0", 9000, &["10.0.0.5", "fd00::5"]),
        interface("eth1", 1500, &["203.0.113.5"]),
        interface("eth2", 1500, &[]),
        interface("dummy0", 65536, &["10.9.9.9"]),
        interface("tiny0", 500, &["10.8.8.8"]),
    ]
}

fn with(underlay: &str) -> Attached {
    let config = Config::parse("f", &format!("management = ['m:1']\n{underlay}")).unwrap();
    attach(&config, &host(), Some(&"eth1".parse().unwrap()))
}

#[test]
fn interfaces_and_addresses_are_resolved_to_both() {
    let attached = with("[underlay]\nadmin = 'eth0'\nexternal = '203.0.113.5'");
    let admin = attached.local.admin.unwrap();
    assert_eq!((admin.interface.as_str(), admin.address.to_string().as_str(), admin.mtu), ("eth0", "10.0.0.5", 9000));
    assert_eq!(attached.local.external.unwrap().interface.as_str(), "eth1");
    assert!(attached.findings.is_empty());
}

#[test]
fn what_is_not_named_is_the_default_routes_interface() {
    let attached = with("");
    assert_eq!(attached.local.admin, attached.local.external);
    assert_eq!(attached.local.admin.unwrap().interface.as_str(), "eth1");
    let config = Config::parse("f", "management = ['m:1']").unwrap();
    assert_eq!(attach(&config, &host(), None).findings.len(), 2);
}

#[test]
fn a_side_that_cannot_be_used_is_a_finding_and_never_a_guess() {
    for (admin, why) in [
        ("eth9", "no interface 'eth9'"),
        ("eth2", "'eth2' has no global address"),
        ("10.0.0.6", "no interface of this host has the address 10.0.0.6"),
        ("tiny0", "an MTU is 576 to 65535, not 500"),
    ] {
        let attached = with(&format!("[underlay]\nadmin = '{admin}'"));
        assert_eq!(attached.local.admin, None);
        assert!(attached.findings[0].what.contains(why), "{:?}", attached.findings);
        assert!(attached.local.external.is_some());
    }
}

#[test]
fn the_file_may_know_the_mtu_better_than_the_interface() {
    assert_eq!(with("[underlay]\nadmin = 'eth0'\n[mtu]\nunderlay = 1480").local.admin.unwrap().mtu, 1480);
    assert_eq!(with("[underlay]\nadmin = 'dummy0'").local.admin.unwrap().mtu, 65535);
}
