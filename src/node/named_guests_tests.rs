use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::api::cut::Direction;
use crate::node::barriers::{Base, Filters};
use crate::node::plan::tests as plans;
use crate::node::verdicts::{Rule, Rules};
use crate::probe::crossing::Protocol;

/// `one` and `two` on this node, behind tap1 and tap2; `three` on another of its PDC.
pub(crate) fn slice() -> Slice {
    let mut slice = plans::slice("suppress", json!({}));
    slice.rows.clear();
    for (n, port, node) in [(1, "one", "a"), (2, "two", "a"), (3, "three", "b")] {
        let row =
            json!({"node": node, "interface": format!("tap{n}"), "port": port, "arp": [format!("192.168.10.{n}")]});
        let key = format!("default/10/-/02:00:00:00:00:0{n}").parse().unwrap();
        slice.rows.insert(key, serde_json::from_value(row).unwrap());
    }
    slice
}

fn told(family: &'static str, parts: Value) -> Vec<Finding> {
    all(family, &json!([parts]))
}

fn all(family: &'static str, rules: &Value) -> Vec<Finding> {
    with_sets(family, rules, BTreeMap::new())
}

fn with_sets(family: &'static str, rules: &Value, sets: BTreeMap<String, Set>) -> Vec<Finding> {
    let hook = "forward";
    let base = Base { family, table: "op".into(), name: "c".into(), hook, drops: false, devices: Vec::new() };
    let rule = |(parts, handle): (&Value, u64)| Rule { handle, parts: parts.as_array().unwrap().clone() };
    let mut rules =
        Rules::from([("c".to_owned(), rules.as_array().unwrap().iter().zip(7..).map(rule).collect::<Vec<_>>())]);
    rules.sets = sets;
    let filters =
        Filters { bases: vec![base], rules: [((family, "op".to_owned()), rules)].into(), ..Filters::default() };
    let book = Book { filters, host: [Protocol::Ipv4].into(), ..Book::default() };
    let place = |cut| Place { bridge: "vb10.12b5".parse().unwrap(), key: "default/10".parse().unwrap(), cut };
    let guest = Cut::guests(true, &[("default/10".parse().unwrap(), "02:00:00:00:00:02".parse().unwrap())]);
    let ports = [("tap2".parse().unwrap(), place(guest))].into();
    findings(&book, &ports, (&slice(), &Presence::default()), &[])
}

#[test]
fn a_rule_that_drops_all_of_one_guest_is_told_with_the_guest_and_its_direction() {
    let is = |left: Value, right: &str| json!({"match": {"op": "==", "left": left, "right": right}});
    let payload = |protocol: &str, field: &str| json!({"payload": {"protocol": protocol, "field": field}});
    let drop = || json!({"drop": null});
    for (family, part, begins, ipv6, direction) in [
        (
            "bridge",
            is(payload("ether", "saddr"), "02:00:00:00:00:02"),
            "what comes from port two (02:00:00:00:00:02) is",
            None,
            Direction::FromGuests,
        ),
        (
            "bridge",
            is(payload("ether", "daddr"), "02:00:00:00:00:02"),
            "what is for port two (",
            None,
            Direction::ToGuests,
        ),
        (
            "bridge",
            is(payload("ip", "daddr"), "192.168.10.2"),
            "IPv4 that is for port two (",
            Some(false),
            Direction::ToGuests,
        ),
        (
            "bridge",
            is(payload("arp", "saddr ip"), "192.168.10.2"),
            "ARP that comes from port two (",
            Some(false),
            Direction::FromGuests,
        ),
        (
            "ip",
            is(json!({"physdev": "in"}), "tap2"),
            "IPv4 that comes from tap2 in bridge vb10.12b5",
            Some(false),
            Direction::FromGuests,
        ),
        ("ip", is(json!({"physdev": "out"}), "tap2"), "IPv4 that goes to tap2 in", Some(false), Direction::ToGuests),
    ] {
        let found = told(family, json!([part, drop()]));
        let [one] = found.as_slice() else { panic!("{part}: {found:?}") };
        assert!(one.code == BRIDGE_RULE && one.what.starts_with(begins), "{one:?}");
        assert_eq!(one.help, format!("nft delete rule {family} op c handle 7"));
        let cut = one.cut.as_ref().unwrap();
        assert_eq!((cut.surely, cut.ipv6, cut.direction, cut.guests.len()), (true, ipv6, Some(direction), 1));
    }
    let smtp = json!({"match": {"op": "==", "left": payload("tcp", "dport"), "right": 25}});
    for parts in [
        json!([is(payload("ether", "saddr"), "02:00:00:00:00:02"), smtp, drop()]),
        json!([is(payload("ether", "saddr"), "02:00:00:00:00:02"), {"accept": null}]),
        // It is of another node.
        json!([is(payload("ether", "saddr"), "02:00:00:00:00:03"), drop()]),
        json!([drop()]),
    ] {
        assert_eq!(told("bridge", parts.clone()), [], "{parts}");
    } // To some it may send.
    let from = || is(json!({"physdev": "in"}), "tap2");
    let some = json!([[from(), is(json!({"physdev": "out"}), "vv10.12b5"), {"accept": null}], [from(), drop()]]);
    assert_eq!(all("ip", &some), []);
}

#[test]
fn a_guest_in_a_named_set_or_a_network_of_a_rule_is_told_as_one_that_a_rule_names() {
    let by_source = |right: &Value| {
        let left = json!({"payload": {"protocol": "ip", "field": "saddr"}});
        json!([[{"match": {"op": "==", "left": left, "right": right}}, {"drop": null}]])
    };
    let prefix = |address: &str, len: u8| json!({"prefix": {"addr": address, "len": len}});
    let told = |elements: Value| {
        let set = Set::read(&json!({"name": "s", "elem": elements})).unwrap();
        with_sets("bridge", &by_source(&json!("@s")), [("s".to_owned(), set)].into())
    };
    for found in [
        told(json!(["192.168.10.2"])),
        told(json!(["198.51.100.7", prefix("192.168.10.2", 31)])),
        all("bridge", &by_source(&prefix("192.168.10.2", 31))),
        all("bridge", &by_source(&json!({"range": ["192.168.10.2", "192.168.10.9"]}))),
    ] {
        let words = "IPv4 that comes from port two (02:00:00:00:00:02) is dropped by";
        assert!(found.len() == 1 && found[0].what.starts_with(words), "{found:?}");
    }
    assert_eq!(told(json!(["192.168.10.3"])), [], "a guest of another node may be shut out here on purpose");
    assert_eq!(told(json!(["192.168.10.9", prefix("198.51.100.0", 24)])), [], "a block list of others");
}
