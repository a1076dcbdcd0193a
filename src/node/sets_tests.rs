use serde_json::json;

use super::*;
use crate::node::verdicts::{Frame, Rules, Sure, judge};
use crate::probe::crossing::Protocol;

fn set(elements: &Value, flags: &Value) -> Set {
    Set::read(&json!({"name": "s", "elem": elements, "flags": flags})).unwrap()
}

fn rules(parts: Value, set: Option<Set>) -> Rules {
    let mut rules = Rules::from([("c".to_owned(), vec![Rule { handle: 7, parts: parts.as_array().unwrap().clone() }])]);
    rules.sets.extend(set.map(|set| ("s".to_owned(), set)));
    rules
}

/// How sure it is that a guest's packet is dropped.
fn dropped(rules: &Rules, from: &[&str]) -> Option<Sure> {
    let frame = Frame {
        protocol: Some(Protocol::Ipv4),
        any: true,
        from: from.iter().map(|address| address.parse().unwrap()).collect(),
        from_mac: "02:00:00:00:00:01".parse().ok(),
        iif: Some("g1".to_owned()),
        ..Frame::default()
    };
    judge(rules, "c", false, &frame).map(|drop| drop.sure)
}

fn by_source(op: &str) -> Value {
    json!([{"match": {"op": op, "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@s"}}, {"drop": null}])
}

#[test]
fn a_set_that_does_not_hold_a_guest_is_no_doubt_and_one_that_does_drops_it() {
    let (none, timeout) = (json!([]), json!(["interval", "timeout"]));
    let many: Vec<Value> =
        (0..60_000_u32).map(|n| json!(std::net::Ipv4Addr::from(0xc633_0000 + n * 2).to_string())).collect();
    let all = [
        json!(["198.51.100.7", {"elem": {"val": "192.168.10.9", "comment": "x"}}]),
        json!([{"prefix": {"addr": "192.168.10.8", "len": 29}}, "10.0.0.1"]),
        json!([{"range": ["192.168.10.1", "192.168.10.10"]}, "10.0.0.1"]),
        json!([many.clone(), vec![json!("192.168.10.9")]].concat()),
        json!([{"prefix": {"addr": "0.0.0.0", "len": 0}}]),
    ];
    for elements in &all {
        let here = set(elements, &none);
        assert_eq!(dropped(&rules(by_source("=="), Some(here.clone())), &["192.168.10.9"]), Some(Sure::Yes));
        assert_eq!(dropped(&rules(by_source("!="), Some(here)), &["192.168.10.9"]), None);
        // One that ends by itself may have ended.
        let ends = set(elements, &timeout);
        assert_eq!(dropped(&rules(by_source("=="), Some(ends)), &["192.168.10.9"]), Some(Sure::Maybe));
    }
    for elements in
        [json!([]), json!(["198.51.100.7"]), json!([{"range": ["192.168.10.10", "192.168.10.20"]}]), json!(many)]
    {
        for flags in [&none, &timeout] {
            let other = set(&elements, flags);
            assert_eq!(dropped(&rules(by_source("=="), Some(other.clone())), &["192.168.10.9"]), None, "{flags}");
            assert_eq!(dropped(&rules(by_source("!="), Some(other)), &["192.168.10.9"]), Some(Sure::Yes));
        }
    }
    // It bears one of two addresses, or one that nobody knows.
    let one = set(&all[0], &none);
    assert_eq!(
        dropped(&rules(by_source("=="), Some(one.clone())), &["192.168.10.9", "192.168.10.8"]),
        Some(Sure::Maybe)
    );
    assert_eq!(dropped(&rules(by_source("=="), Some(one)), &[]), Some(Sure::Maybe));
    // It was not read.
    assert_eq!(dropped(&rules(by_source("=="), None), &["192.168.10.9"]), Some(Sure::Maybe));
}

#[test]
fn sets_of_other_things_are_read_as_well() {
    let by = |left: Value| json!([{"match": {"op": "==", "left": left, "right": "@s"}}, {"drop": null}]);
    let ether = json!({"payload": {"protocol": "ether", "field": "saddr"}});
    let port = json!({"meta": {"key": "iifname"}});
    let both = json!({"concat": [{"meta": {"key": "iifname"}}, {"payload": {"protocol": "ip", "field": "saddr"}}]});
    for (left, elements, is) in [
        (&ether, json!(["02:00:00:00:00:01"]), Some(Sure::Yes)),
        (&ether, json!(["02:00:00:00:00:02"]), None),
        (&port, json!(["g2", "g1"]), Some(Sure::Yes)),
        (&port, json!(["g2"]), None),
        (&both, json!([{"concat": ["g1", "192.168.10.9"]}]), Some(Sure::Yes)),
        (&both, json!([{"concat": ["g1", "192.168.10.8"]}]), None),
    ] {
        let rules = rules(by(left.clone()), Some(set(&elements, &json!([]))));
        assert_eq!(dropped(&rules, &["192.168.10.9"]), is, "{elements}");
    }
}

#[test]
fn what_is_too_large_or_changed_by_packets_is_not_read() {
    let many: Vec<Value> = vec![json!("10.0.0.1"); ELEMENTS + 1];
    assert!(Set::read(&json!({"elem": many})).is_none());
    let macs: Vec<Value> = vec![json!("02:00:00:00:00:01"); OTHERS + 1];
    assert!(Set::read(&json!({"elem": macs})).is_none());
    let rule = |parts: Value| Rule { handle: 1, parts: parts.as_array().unwrap().clone() };
    let matched = |name: &str| rule(json!([{"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": name}}]));
    let all = [
        matched("@read"),
        matched("@dynamic"),
        matched("@written"),
        rule(json!([{"set": {"op": "add", "elem": {"meta": {"key": "mark"}}, "set": "@written"}}])),
    ];
    let told = [json!({"set": {"name": "dynamic", "flags": ["dynamic", "timeout"]}}), json!({"set": {"name": "read"}})];
    assert_eq!(asked(all.iter(), &told), BTreeSet::from(["read".to_owned()]));
}
