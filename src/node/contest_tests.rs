use serde_json::json;

use super::*;
use crate::node::plan::tests as plans;

const FAR: &str = "02:00:00:00:00:03";

/// A network that learns, with a guest here and one on node b, and one that takes declared ports only with another guest of b's.
fn slice() -> Slice {
    let mut slice = plans::slice("suppress", json!({}));
    slice.rows.clear();
    let net: NetKey = "default/10".parse().unwrap();
    let mut other = slice.networks[&net].clone();
    other.name = "red".parse().unwrap();
    slice.networks.insert("default/11".parse().unwrap(), other);
    slice.networks.get_mut(&net).unwrap().learning = Learning::Local;
    let node = slice.node.clone();
    for (key, row) in [
        ("default/10/-/02:00:00:00:00:01", json!({"node": node})),
        ("default/10/-/02:00:00:00:00:03", json!({"node": "b"})),
        ("default/11/-/02:00:00:00:00:04", json!({"node": "b"})),
    ] {
        slice.rows.insert(key.parse().unwrap(), serde_json::from_value(row).unwrap());
    }
    slice
}

fn places() -> BTreeMap<IfName, NetKey> {
    [("tap1", "default/10"), ("tap2", "default/10"), ("tap3", "default/11")]
        .map(|(name, net)| (name.parse().unwrap(), net.parse().unwrap()))
        .into()
}

fn spoken(interface: &str, mac: &str) -> (IfName, Mac) {
    (interface.parse().unwrap(), mac.parse().unwrap())
}

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

#[test]
fn only_a_guest_that_a_learning_network_has_elsewhere_is_claimed() {
    let mut claims = Claims::default();
    let heard = [
        spoken("tap1", "02:00:00:00:00:01"),
        spoken("tap1", "02:00:00:00:00:09"),
        spoken("tap1", FAR),
        spoken("tap3", "02:00:00:00:00:04"),
        spoken("gone", FAR),
    ];
    claims.learn(&slice(), &places(), &heard, at(1));
    assert_eq!(claims.forget(at(1)), [spoken("tap1", FAR)], "and the filter is to tell that one again");
    assert_eq!((claims.forget(at(10)).len(), claims.forget(at(11)).len()), (0, 1));
    let ports: Vec<FoundPort> = claims.ports().collect();
    assert_eq!(
        ports,
        [FoundPort { network: "default/10".parse().unwrap(), mac: FAR.parse().unwrap(), ips: [].into() }]
    );
}

#[test]
fn a_claim_ends_when_the_guest_is_learned_here_silent_or_unplugged() {
    let (none, guest) = (BTreeSet::new(), ("default/10".parse().unwrap(), FAR.parse().unwrap()));
    let claimed = || {
        let mut claims = Claims::default();
        claims.learn(&slice(), &places(), &[spoken("tap1", FAR)], at(1));
        claims
    };
    let mut claims = claimed();
    claims.end(&places(), &none, at(30));
    assert_eq!(claims.ports().count(), 1);
    claims.learn(&slice(), &places(), &[spoken("tap1", FAR)], at(30));
    claims.end(&places(), &none, at(59));
    assert_eq!(claims.ports().count(), 1, "it was heard again");
    claims.end(&places(), &none, at(60));
    assert_eq!(claims.ports().count(), 0);
    let mut claims = claimed();
    claims.end(&places(), &BTreeSet::from([guest]), at(2));
    assert_eq!(claims.ports().count(), 0);
    let mut claims = claimed();
    claims.end(&BTreeMap::new(), &none, at(2));
    assert_eq!(claims.ports().count(), 0);
}

#[test]
fn a_claim_that_is_not_granted_is_told_with_both_places_until_it_is() {
    let mut claims = Claims::default();
    claims.learn(&slice(), &places(), &[spoken("tap1", FAR)], at(1));
    assert!(claims.findings(&slice(), at(6)).is_empty(), "tables take their time");
    let told = claims.findings(&slice(), at(7));
    assert!(told.len() == 1 && told[0].code == "M0698", "{told:?}");
    for word in [FAR, "tap1", " b,", "default/10"] {
        assert!(told[0].what.contains(word), "{word}: {told:?}");
    }
    let mut moved = slice();
    for row in moved.rows.values_mut() {
        row.node = moved.node.clone();
    }
    assert!(claims.findings(&moved, at(8)).is_empty());
    assert!(claims.granted(&slice()).is_empty());
    let granted = claims.granted(&moved);
    assert!(granted.len() == 1 && granted[0].1.as_str() == "tap1" && claims.ports().count() == 0, "{granted:?}");
}

#[test]
fn a_guest_that_joins_two_networks_makes_few_claims() {
    let mut slice = slice();
    let mac = |n: u8| Mac([2, 0, 0, 0, 1, n]);
    for n in 0..200 {
        let key = format!("default/10/-/{}", mac(n));
        slice.rows.insert(key.parse().unwrap(), serde_json::from_value(json!({"node": "b"})).unwrap());
    }
    let mut claims = Claims::default();
    let heard: Vec<_> = (0..200).map(|n| ("tap1".parse().unwrap(), mac(n))).collect();
    claims.learn(&slice, &places(), &heard, at(1));
    assert_eq!(claims.ports().count(), OF_INTERFACE);
    claims.learn(&slice, &places(), &[("tap2".parse().unwrap(), mac(150))], at(1));
    assert_eq!(claims.ports().count(), OF_INTERFACE + 1);
    assert_eq!(claims.findings(&slice, at(99)).len(), NAMED + 1);
}

#[test]
fn claims_are_said_again_for_as_long_as_they_stand() {
    let mut claims = Claims::default();
    assert!(!claims.repeat(at(1)));
    claims.learn(&slice(), &places(), &[spoken("tap1", FAR)], at(10));
    let said: Vec<u64> = (10..30).filter(|second| claims.repeat(at(*second))).collect();
    assert_eq!(said, [15, 20, 25]);
    assert!(REPEATED * 2 < crate::mgmt::found::FRESH, "one may be lost");
    claims.end(&places(), &BTreeSet::new(), at(60));
    assert!(!claims.repeat(at(60)));
}

#[test]
fn a_guest_that_was_let_go_is_claimed_at_once_behind_its_old_interface_alone() {
    let guest = ("default/10".parse().unwrap(), FAR.parse().unwrap());
    for (behind, heard, at_once) in [(None, "tap1", 0), (Some("tap1"), "tap1", 1), (Some("tap1"), "tap2", 0)] {
        let (mut claims, behind): (_, Option<IfName>) = (Claims::default(), behind.map(|name| name.parse().unwrap()));
        claims.let_go(&guest, behind.as_ref(), at(1));
        claims.learn(&slice(), &places(), &[spoken(heard, FAR)], at(2));
        assert_eq!(claims.ports().count(), at_once, "{behind:?} {heard}");
        assert_eq!(claims.forget(at(2)).len(), at_once);
        assert!(RESTS > crate::mgmt::found::BACK, "nor got back for having had it");
        claims.end(&places(), &BTreeSet::new(), at(9));
        if at_once == 0 {
            assert_eq!(claims.forget(at(9)), [spoken(heard, FAR)], "the filter tells it again");
            claims.learn(&slice(), &places(), &[spoken(heard, FAR)], at(9));
        }
        assert_eq!(claims.ports().count(), 1);
    }
}
