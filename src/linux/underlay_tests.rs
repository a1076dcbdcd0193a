use super::*;

fn host(addresses: &[(&str, &str, bool, u32)]) -> Host {
    let candidate = |(interface, address, single, lasting): &(&str, &str, bool, u32)| Candidate {
        place: Underlay { interface: interface.parse().unwrap(), address: address.parse().unwrap(), mtu: 1500 },
        single: *single,
        lasting: *lasting,
    };
    let addresses: Vec<Candidate> = addresses.iter().map(candidate).collect();
    let mtus = addresses.iter().map(|one| (one.place.interface.clone(), 1500)).collect();
    Host { mtus, addresses }
}

fn wish(held: &str, inside: &[&str]) -> Wish {
    Wish { held: held.parse().ok(), inside: inside.iter().map(|prefix| prefix.parse().unwrap()).collect() }
}

fn chosen(host: &Host, wish: &Wish) -> (String, bool) {
    let found = host.resolve(&"eth0".parse().unwrap(), wish).unwrap();
    (found.place.address.to_string(), found.firm)
}

const EVER: u32 = u32::MAX;

#[test]
fn what_a_node_is_does_not_follow_a_momentary_order() {
    let vip = ("eth0", "10.0.0.100", true, EVER);
    let own = ("eth0", "10.0.0.1", false, EVER);
    for order in [[vip, own], [own, vip]] {
        let host = host(&order);
        assert_eq!(chosen(&host, &Wish::default()), ("10.0.0.1".into(), true), "a floating address never wins");
        assert_eq!(chosen(&host, &wish("10.0.0.1", &[])).0, "10.0.0.1");
        assert_eq!(chosen(&host, &wish("10.0.0.100", &[])), ("10.0.0.100".into(), true), "what was used stays");
        assert_eq!(chosen(&host, &wish("10.9.9.9", &[])).0, "10.0.0.1", "what is gone does not count");
    }
    assert_eq!(chosen(&host(&[vip]), &wish("10.0.0.1", &[])), ("10.0.0.100".into(), false), "better than none");
}

#[test]
fn the_pdcs_own_come_before_others_and_what_lasts_before_what_does_not() {
    let host = host(&[
        ("eth1", "10.1.0.9", false, EVER),
        ("eth0", "fd00::5", false, EVER),
        ("eth0", "192.0.2.5", false, 600),
        ("eth0", "192.0.2.6", false, EVER),
        ("eth0", "10.1.0.5", true, 600),
    ]);
    assert_eq!(chosen(&host, &Wish::default()).0, "192.0.2.6");
    assert_eq!(chosen(&host, &wish("", &["10.1.0.0/16"])), ("10.1.0.5".into(), false));
    assert_eq!(chosen(&host, &wish("", &["fd00::/64"])), ("fd00::5".into(), true));
    assert_eq!(chosen(&host, &wish("192.0.2.5", &["10.1.0.0/16"])), ("192.0.2.5".into(), true), "it had that one");
    assert_eq!(chosen(&host, &wish("10.1.0.9", &[])).0, "192.0.2.6", "another interface's does not count");
    let written = host.resolve(&"10.1.0.5".parse().unwrap(), &Wish::default()).unwrap();
    assert!(written.firm, "who writes an address means it");
}

#[test]
fn no_device_of_ours_is_named_as_a_side_of_this_node() {
    let mut host = host(&[("eth0", "10.0.0.1", false, EVER), ("eth1", "10.1.0.1", false, EVER)]);
    for ours in ["vb10.12b5", "vv10.12b5", "vt10.12b5", "vp16777215.12b5", "vq16777215.12b5"] {
        host.mtus.insert(ours.parse().unwrap(), 1500);
    }
    host.mtus.insert("vb0".parse().unwrap(), 1500);
    let error = host.resolve(&"eth9".parse().unwrap(), &Wish::default()).unwrap_err();
    assert_eq!(error.to_string(), "there is no interface 'eth9'; there are: eth0, eth1, vb0");
}
