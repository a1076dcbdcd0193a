use serde_json::json;

use super::*;
use crate::probe::crossing::Protocol;

fn frame(protocol: Protocol) -> Frame {
    let (from, to) = if protocol == Protocol::Ipv6 { ("fd00::1", "fd00::2") } else { ("192.168.10.1", "192.168.10.2") };
    Frame {
        iif: Some("vb16777215.12b5".into()),
        oif: Some("vb16777215.12b5".into()),
        bridge: Some("vb16777215.12b5".into()),
        protocol: Some(protocol),
        any: false,
        from: vec![from.parse().unwrap()],
        to: vec![to.parse().unwrap()],
        ..Frame::default()
    }
}

/// A rule: matches as `[left, op, right]`, then a verdict.
fn rule(parts: Value) -> Rule {
    Rule { handle: 7, parts: parts.as_array().unwrap().clone() }
}

fn matches(left: Value, op: &str, right: Value) -> Value {
    json!({"match": {"left": left, "op": op, "right": right}})
}

fn one(parts: Value, policy_drops: bool, frame: &Frame) -> Option<Drop> {
    let rules = Rules::from([("c".to_owned(), vec![rule(parts)])]);
    judge(&rules, "c", policy_drops, frame)
}

#[test]
fn every_form_of_a_match_is_read_or_is_said_to_be_unread() {
    use Match::{Maybe, No, Yes};
    let meta = |key: &str| json!({"meta": {"key": key}});
    let payload = |protocol: &str, field: &str| json!({"payload": {"protocol": protocol, "field": field}});
    let table = [
        (meta("iifname"), "==", json!("vb*"), Yes),
        (meta("iifname"), "!=", json!("docker0"), Yes),
        (meta("oifname"), "==", json!({"set": ["eth0", "vb16777215.12b5"]}), Yes),
        (meta("oifname"), "==", json!("@ours"), Maybe),
        (meta("l4proto"), "==", json!({"set": ["tcp", "udp"]}), Yes),
        (meta("l4proto"), "==", json!("icmp"), No),
        (meta("nfproto"), "==", json!("ipv6"), No),
        (meta("mark"), "==", json!(0), Yes),
        (meta("skuid"), "==", json!(0), Maybe),
        (payload("ip", "saddr"), "==", json!({"prefix": {"addr": "192.168.0.0", "len": 16}}), Yes),
        (payload("ip", "saddr"), "==", json!({"range": ["192.168.10.2", "192.168.10.9"]}), No),
        (payload("ip", "daddr"), "!=", json!("192.168.10.2"), No),
        (payload("ip6", "saddr"), "!=", json!("fd00::9"), No),
        (payload("tcp", "dport"), "!=", json!(22), No),
        (payload("udp", "dport"), "==", json!({"range": [1, 1024]}), Yes),
        (payload("ether", "saddr"), "==", json!("02:00:00:00:00:01"), Maybe),
        (json!({"ct": {"key": "state"}}), "in", json!(["established", "related"]), No),
        (json!({"ct": {"key": "state"}}), "in", json!("untracked"), Yes),
        (json!({"fib": {"result": "oif"}}), "==", json!(false), Maybe),
    ];
    for (left, op, right, wanted) in table {
        let drop =
            one(json!([matches(left.clone(), op, right.clone()), {"drop": null}]), false, &frame(Protocol::Ipv4));
        let sure = match wanted {
            Yes => Some(Sure::Yes),
            No => None,
            Maybe => Some(Sure::Maybe),
        };
        assert_eq!(drop.map(|drop| drop.sure), sure, "{left} {op} {right}");
    }
}

#[test]
fn policies_drop_what_no_rule_lets_pass_and_what_cannot_be_read_makes_it_likely() {
    let frame = frame(Protocol::Ipv4);
    let policy = |sure| Some(Drop { sure, rule: None, fate: Fate::Dropped });
    assert_eq!(one(json!([]), true, &frame), policy(Sure::Yes));
    assert_eq!(one(json!([]), false, &frame), None);
    assert_eq!(one(json!([{"counter": {"packets": 1}}, {"accept": null}]), true, &frame), None);
    assert_eq!(one(json!([{"xt": null}, {"accept": null}]), true, &frame), policy(Sure::Likely));
    assert_eq!(one(json!([{"limit": {}}, {"accept": null}]), true, &frame), policy(Sure::Likely));
    assert_eq!(one(json!([{"return": null}]), true, &frame), policy(Sure::Yes));
    let by_rule = Drop { sure: Sure::Maybe, rule: Some(("c".into(), 7)), fate: Fate::Dropped };
    assert_eq!(one(json!([{"xt": null}, {"drop": null}]), false, &frame), Some(by_rule));
    for word in ["drop", "reject"] {
        let by_rule = Drop { sure: Sure::Yes, rule: Some(("c".into(), 7)), fate: Fate::Dropped };
        assert_eq!(one(json!([{ word: null }]), false, &frame), Some(by_rule));
    }
}

#[test]
fn chains_are_followed_into_each_other_and_never_for_ever() {
    let jump = |to: &str| rule(json!([{"jump": {"target": to}}]));
    let drop = || rule(json!([{"drop": null}]));
    let back = || rule(json!([{"return": null}]));
    let rules = Rules::from([
        ("c".into(), vec![jump("loop"), jump("back"), jump("end")]),
        ("loop".into(), vec![jump("loop")]),
        ("back".into(), vec![back(), drop()]),
        ("end".into(), vec![drop()]),
        ("gone".into(), vec![rule(json!([{"goto": {"target": "back"}}])), drop()]),
    ]);
    let judged = |chain: &str| judge(&rules, chain, false, &frame(Protocol::Ipv4)).and_then(|drop| drop.rule);
    assert_eq!(judged("c"), Some(("end".into(), 7)));
    assert_eq!((judged("back"), judged("gone"), judged("none")), (None, None, None));
}

#[test]
fn maps_in_rules_tell_protocols_apart() {
    let map = json!([{"vmap": {"key": {"payload": {"protocol": "ether", "field": "type"}},
        "data": {"set": [["ip", {"accept": null}], ["arp", {"drop": null}]]}}}]);
    let judged = |protocol| one(map.clone(), false, &frame(protocol)).map(|drop| drop.sure);
    assert_eq!([Protocol::Ipv4, Protocol::Arp, Protocol::Ipv6].map(judged), [None, Some(Sure::Yes), None]);
}

#[test]
fn of_a_frame_of_which_nothing_is_known_only_what_is_for_all_is_sure() {
    let any = Frame { iif: Some("tap1".into()), ..Frame::default() };
    let all = json!([matches(json!({"meta": {"key": "iifname"}}), "==", json!("tap*")), {"drop": null}]);
    assert_eq!(one(all, false, &any).unwrap().sure, Sure::Yes);
    let some =
        json!([matches(json!({"payload": {"protocol": "tcp", "field": "dport"}}), "==", json!(25)), {"drop": null}]);
    assert_eq!(one(some, false, &any).unwrap().sure, Sure::Maybe);
}
