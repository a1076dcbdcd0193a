use serde_json::json;

use super::*;
use crate::node::plan::tests as plans;

fn said(interface: &str, mac: &str, value: Option<&str>, samples: u64) -> Said {
    Said {
        interface: interface.parse().unwrap(),
        mac: mac.parse().unwrap(),
        value: value.map(|value| value.parse().unwrap()),
        samples,
    }
}

/// Two guests here, one elsewhere, one in another network.
fn slice() -> Slice {
    let mut slice = plans::slice("suppress", json!({}));
    slice.rows.clear();
    let mut other = slice.networks.values().next().unwrap().clone();
    other.name = "red".parse().unwrap();
    slice.networks.insert("default/11".parse().unwrap(), other);
    let node = slice.node.clone();
    for (key, row) in [
        ("default/10/-/02:00:00:00:00:01", json!({"node": node, "interface": "tap1", "port": "one", "arp": ["192.168.10.1"], "nd": ["fd00::1"]})),
        ("default/10/-/02:00:00:00:00:02", json!({"node": node, "interface": "tap2", "port": "two", "arp": ["192.168.10.2"]})),
        ("default/10/-/02:00:00:00:00:03", json!({"node": "b", "port": "far", "arp": ["192.168.10.3"]})),
        ("default/11/-/02:00:00:00:00:04", json!({"node": node, "port": "red-one", "arp": ["192.168.10.4"]})),
    ] {
        slice.rows.insert(key.parse().unwrap(), serde_json::from_value(row).unwrap());
    }
    slice
}

fn places() -> BTreeMap<IfName, NetKey> {
    let blue: NetKey = "default/10".parse().unwrap();
    ["tap1", "tap2", "x9"].map(|name| (name.parse().unwrap(), blue.clone())).into()
}

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

fn told(wrongs: &Wrongs) -> Vec<(String, String)> {
    let slice = slice();
    let desired = plans::planned(&slice, &plans::local()).desired;
    wrongs.findings(&slice, &desired, &places()).into_iter().map(|finding| (finding.code, finding.what)).collect()
}

#[test]
fn each_wrong_value_says_whose_it_is() {
    let own = "02:00:00:00:00:01";
    for (reason, sample, code, words) in [
        ("mac", said("tap1", "02:00:00:00:00:99", None, 3), "M0675", &["port one", "02:00:00:00:00:99", own][..]),
        ("mac", said("x9", "02:00:00:00:00:99", None, 3), "M0675", &["x9", "which no port has"]),
        ("mac", said("tap1", "02:00:00:00:00:02", None, 3), "M0677", &["port one", "port two", "on a"]),
        ("mac", said("tap1", "02:00:00:00:00:03", None, 3), "M0677", &["port one", "port far", "on b"]),
        ("mac", said("tap1", "02:00:00:00:00:04", None, 3), "M0678", &["tap1", "port red-one", "network red"]),
        ("ip", said("tap1", own, Some("192.168.10.99"), 3), "M0676", &["port one", "192.168.10.99"]),
        ("ip", said("tap1", own, Some("fe80::99"), 3), "M0676", &["port one", "fe80::99"]),
        ("arp", said("tap1", own, Some("192.168.10.2"), 3), "M0677", &["port one", "port two", "192.168.10.2"]),
        ("arp", said("tap1", own, Some("192.168.10.3"), 3), "M0677", &["port one", "port far", "on b"]),
        ("arp", said("tap1", own, Some("192.168.10.4"), 3), "M0676", &["of another network, which is another address"][..0]),
        ("nd", said("tap1", own, Some("fd00::1"), 3), "M0676", &["port one", "its own address fd00::1"]),
    ] {
        let mut wrongs = Wrongs::default();
        wrongs.learn(reason, std::slice::from_ref(&sample), at(0));
        let told = told(&wrongs);
        assert_eq!(told.len(), 1, "{sample:?}");
        assert_eq!(told[0].0, code, "{told:?}");
        assert!(words.iter().all(|word| told[0].1.contains(word)), "{words:?}: {told:?}");
        assert!(told[0].1.contains(&sample.interface.to_string()), "{told:?}");
    }
}

#[test]
fn a_slip_is_no_finding_what_goes_on_is_one_and_it_ends() {
    let sample = |samples| said("tap1", "02:00:00:00:00:01", Some("192.168.10.99"), samples);
    let mut wrongs = Wrongs::default();
    wrongs.learn("ip", &[sample(1)], at(0));
    assert_eq!(told(&wrongs), []);
    wrongs.learn("ip", &[sample(2)], at(1));
    for seconds in (10..600).step_by(10) {
        wrongs.learn("ip", &[sample(2 + seconds / 10)], at(seconds));
        wrongs.end(&places(), at(seconds));
        assert_eq!(told(&wrongs).len(), 1, "{seconds}");
    }
    // The kernel keeps old samples for a minute, and others go on being wrong.
    for seconds in 600..649 {
        wrongs.learn("ip", &[sample(2 + 59)], at(seconds));
        wrongs.end(&places(), at(seconds));
    }
    assert_eq!(told(&wrongs).len(), 1);
    wrongs.end(&places(), at(650));
    assert_eq!(told(&wrongs), []);
    wrongs.learn("ip", &[sample(9)], at(700));
    wrongs.end(&BTreeMap::new(), at(700));
    assert_eq!(told(&wrongs), [], "it was pulled out");
}

#[test]
fn a_guest_that_invents_values_is_one_finding_that_does_not_change() {
    let mut wrongs = Wrongs::default();
    let mut first = Vec::new();
    for second in 0..300_u64 {
        let values: Vec<Said> = (0..9)
            .map(|n| said("tap1", "02:00:00:00:00:01", Some(&format!("10.{}.{n}.7", second % 250)), second + 2))
            .collect();
        wrongs.learn("ip", &values, at(second));
        wrongs.end(&places(), at(second));
        let now = told(&wrongs);
        assert_eq!(now.len(), 1);
        if second == 0 {
            first.clone_from(&now);
        }
        assert_eq!(now, first);
    }
    let mut many = Wrongs::default();
    let all: Vec<Said> =
        (0..10_000).map(|n| said(&format!("t{n}"), "02:00:00:00:00:99", None, 5)).collect();
    many.learn("mac", &all, at(0));
    assert!(many.0.len() <= MOST);
    let all: Vec<Finding> = {
        let slice = slice();
        let desired = plans::planned(&slice, &plans::local()).desired;
        let places = (0..10_000).map(|n| (format!("t{n}").parse().unwrap(), "default/10".parse().unwrap())).collect();
        many.findings(&slice, &desired, &places)
    };
    assert!(all.len() <= 9, "{}", all.len());
}
