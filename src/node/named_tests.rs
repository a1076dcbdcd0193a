use serde_json::json;

use super::*;
use crate::node::barriers::Place;
use crate::node::verdicts::{Rule, Rules};

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn told(hook: &'static str, drops: bool, rules: serde_json::Value) -> Vec<Finding> {
    let (bridge, near, far) = (name("vb16777215.12b5"), name("vp16777215.12b5"), name("vq16777215.12b5"));
    let ends = Ends { bridge: &bridge, near: &near, far: &far };
    let (ten, eleven): (NetKey, NetKey) = ("default/10".parse().unwrap(), "default/11".parse().unwrap());
    let place = |bridge, key: &NetKey| Place { bridge: name(bridge), key: key.clone(), cut: Cut::node(true) };
    let ports = [
        (name("tap1"), place("vb10.12b5", &ten)),
        (name("tap2"), place("vb10.12b5", &ten)),
        (name("tap3"), place("vb11.12b5", &eleven)),
    ];
    let base = Base { family: "bridge", table: "fw".into(), name: "c".into(), hook, drops, devices: Vec::new() };
    let rule = |(parts, handle): (&serde_json::Value, u64)| Rule { handle, parts: parts.as_array().unwrap().clone() };
    let rules = Rules::from([("c".to_owned(), rules.as_array().unwrap().iter().zip(7..).map(rule).collect())]);
    let rules = [(("bridge", "fw".to_owned()), rules)].into();
    findings(Some(ends), &ports.into(), &Filters { bases: vec![base], rules, ..Filters::default() })
}

fn meta(key: &str, value: &str) -> serde_json::Value {
    json!({"match": {"op": "==", "left": {"meta": {"key": key}}, "right": value}})
}

#[test]
fn a_rule_that_names_an_interface_or_a_bridge_of_guests_is_told_with_it_and_its_direction() {
    let drop = json!({"drop": null});
    for (hook, key, value, begins) in [
        ("forward", "iifname", "tap1", "what comes from tap1 in bridge vb10.12b5 is dropped by a rule in chain c"),
        ("prerouting", "iifname", "tap3", "what comes from tap3 in bridge vb11.12b5 is"),
        ("forward", "oifname", "tap2", "what goes to tap2 in bridge vb10.12b5 is"),
        ("postrouting", "oifname", "tap1", "what goes to tap1 in bridge vb10.12b5 is"),
        ("forward", "ibrname", "vb11.12b5", "what crosses bridge vb11.12b5 is dropped by a rule in chain c"),
    ] {
        let found = told(hook, false, json!([[meta(key, value), drop]]));
        let [one] = found.as_slice() else { panic!("{key} {value}: {found:?}") };
        assert!(one.code == BRIDGE_RULE && one.what.starts_with(begins), "{one:?}");
        assert_eq!(one.help, "nft delete rule bridge fw c handle 7");
        let network = one.cut.as_ref().unwrap().networks.first().map(ToString::to_string);
        assert_eq!(network.as_deref(), (key == "ibrname").then_some("default/11"), "{one:?}");
    }
}

#[test]
fn a_rule_for_one_protocol_of_an_interface_is_told_with_the_protocol() {
    let drop = json!({"drop": null});
    let ether =
        json!({"match": {"op": "==", "left": {"payload": {"protocol": "ether", "field": "type"}}, "right": "ip6"}});
    let found = told("forward", false, json!([[meta("iifname", "tap1"), ether, drop]]));
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert!(one.what.starts_with("IPv6 that comes from tap1 in bridge vb10.12b5 is dropped by"), "{one:?}");
    assert_eq!(one.cut.as_ref().unwrap().ipv6, Some(true));
    let found = told("forward", false, json!([[meta("ibrname", "vb11.12b5"), ether, drop]]));
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert!(one.what.starts_with("IPv6 that crosses bridge vb11.12b5 is dropped by"), "{one:?}");
    // Frames of our own are lost by that as well, which is M0685.
    assert_eq!(told("forward", false, json!([[ether, drop]])), []);
}

#[test]
fn what_may_pass_or_is_dropped_on_every_bridge_is_not_told_here() {
    let drop = json!({"drop": null});
    let port = json!({"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 25}});
    for (drops, rules) in [
        (false, json!([[meta("iifname", "tap1"), port, drop]])),
        (false, json!([[meta("iifname", "eth0"), drop]])),
        (false, json!([[meta("iifname", "tap1"), {"accept": null}], [meta("iifname", "tap1"), drop]])),
        // Frames that cross a bridge of our own are lost as well, which is M0685.
        (true, json!([])),
        (false, json!([[drop]])),
    ] {
        assert_eq!(told("forward", drops, rules.clone()), [], "{rules}");
    }
    // A list of those that may pass, and one that is not on it.
    let listed =
        |of: &[&str]| json!(of.iter().map(|of| [meta("iifname", of), json!({"accept": null})]).collect::<Vec<_>>());
    let found = told("prerouting", true, listed(&["vp16777215.12b5", "tap1", "tap3"]));
    assert!(found.len() == 1 && found[0].what.starts_with("what comes from tap2"), "{found:?}");
}
