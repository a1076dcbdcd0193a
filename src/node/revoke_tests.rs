use serde_json::{Value, json};

use super::*;
use crate::types::UdpPort;

fn slice(networks: &[(&str, u16, Value)], rows: Value, peers: &[&str]) -> Slice {
    let network = |(key, port, members): &(&str, u16, Value)| {
        let network = json!({"name": "blue", "udpPort": port, "cidr": [], "gateway": [], "guestMtu": 1400,
            "flood": "suppress", "learning": "declared", "members": members});
        ((*key).to_owned(), network)
    };
    let networks: serde_json::Map<String, Value> = networks.iter().map(network).collect();
    let mut slice = Slice::empty(Default::default(), "a-1".parse().unwrap(), "a".parse().unwrap());
    slice.networks = serde_json::from_value(networks.into()).unwrap();
    slice.rows = serde_json::from_value(rows).unwrap();
    for (number, name) in (1_u8..).zip(peers) {
        let peer = json!({"pdc": "b", "external": format!("198.51.100.{number}"), "listen": 51820, "lanes": 1});
        slice.peers.insert(name.parse().unwrap(), serde_json::from_value(peer).unwrap());
    }
    slice
}

fn blue(members: Value, rows: Value, peers: &[&str]) -> Slice {
    slice(&[("default/10", 4789, members)], rows, peers)
}

fn both() -> Value {
    json!({"b-1": "tunnel", "b-2": "tunnel"})
}

fn rows_of(slice: &Slice) -> Vec<String> {
    slice.rows.keys().map(ToString::to_string).collect()
}

const ONE: &str = "default/10/-/02:00:00:00:00:01";
const TWO: &str = "default/10/-/02:00:00:00:00:02";

#[test]
fn what_only_adds_takes_nothing_away() {
    let old = blue(json!({"b-1": "tunnel"}), json!({ONE: {"node": "b-1"}}), &["b-1"]);
    let new = blue(both(), json!({ONE: {"node": "b-1"}, TWO: {"node": "b-2"}}), &["b-1", "b-2"]);
    assert_eq!(remaining(&old, &new), None);
    assert_eq!(remaining(&old, &old), None);
}

#[test]
fn a_peer_that_is_gone_ends_and_one_that_is_new_waits() {
    let old = blue(both(), json!({ONE: {"node": "b-1"}, TWO: {"node": "b-2"}}), &["b-1", "b-2"]);
    let mut new = blue(
        json!({"b-1": "tunnel", "b-3": "tunnel"}),
        json!({ONE: {"node": "b-1"}, "default/10/-/02:00:00:00:00:03": {"node": "b-3"}}),
        &["b-1", "b-3"],
    );
    new.version.revision = 9;
    let left = remaining(&old, &new).unwrap();
    assert_eq!(left.peers.keys().map(ToString::to_string).collect::<Vec<_>>(), ["b-1"]);
    assert_eq!(rows_of(&left), [ONE]);
    let members = &left.networks.values().next().unwrap().members;
    assert_eq!(members.keys().map(ToString::to_string).collect::<Vec<_>>(), ["b-1"]);
}

#[test]
fn a_network_that_is_gone_or_gets_other_devices_ends() {
    let old = slice(&[("default/10", 4789, both()), ("default/20", 4789, both())], json!({}), &["b-1", "b-2"]);
    let mut new = old.clone();
    new.networks.retain(|key, _| key.vni.get() == 10);
    assert_eq!(remaining(&old, &new).unwrap().networks.len(), 1);
    let mut moved = old.clone();
    moved.networks.values_mut().for_each(|network| network.udp_port = UdpPort::try_from(4799).unwrap());
    assert_eq!(remaining(&old, &moved).unwrap().networks.len(), 0);
}

/// Old row, new row, what is left until the kernel has followed; none: nothing of it.
#[test]
fn a_guest_may_say_meanwhile_what_it_may_say_before_and_after() {
    let row = |node: &str, arp: Value, role: &str| json!({"node": node, "arp": arp, "role": role});
    let (a, b) = (json!(["10.0.0.1"]), json!(["10.0.0.2"]));
    let ab = json!(["10.0.0.1", "10.0.0.2"]);
    let any = json!([]);
    let table: Vec<(&str, Value, Value, Option<Value>)> = vec![
        ("moved", row("b-1", a.clone(), "guest"), row("b-2", a.clone(), "guest"), None),
        (
            "one address less",
            row("b-1", ab.clone(), "guest"),
            row("b-1", a.clone(), "guest"),
            Some(row("b-1", a.clone(), "guest")),
        ),
        ("another address", row("b-1", a.clone(), "guest"), row("b-1", b.clone(), "guest"), None),
        (
            "held to an address",
            row("b-1", any.clone(), "guest"),
            row("b-1", a.clone(), "guest"),
            Some(row("b-1", a.clone(), "guest")),
        ),
        (
            "no router any more",
            row("b-1", a.clone(), "router"),
            row("b-1", a.clone(), "guest"),
            Some(row("b-1", a.clone(), "guest")),
        ),
        (
            "a router from now on",
            row("b-1", ab.clone(), "guest"),
            row("b-1", a.clone(), "router"),
            Some(row("b-1", a.clone(), "guest")),
        ),
        (
            "held to nothing from now on, and another is gone",
            row("b-1", a.clone(), "guest"),
            row("b-1", any.clone(), "guest"),
            Some(row("b-1", a.clone(), "guest")),
        ),
    ];
    let holds = |arp: &Value, floating: &Value| json!({"node": "b-1", "arp": arp, "floating": floating});
    let table = table.into_iter().chain([
        ("holds one with others less", holds(&a, &ab), holds(&a, &b), Some(holds(&a, &b))),
        ("holds one with others from now on", holds(&a, &any), holds(&a, &b), Some(holds(&a, &any))),
        ("held to one with others", holds(&any, &any), holds(&any, &a), Some(holds(&any, &a))),
        ("its own is one with others from now on", holds(&a, &any), holds(&any, &a), None),
    ]);
    for (what, before, after, left) in table {
        let old = blue(both(), json!({ONE: before, TWO: {"node": "b-2"}}), &["b-1", "b-2"]);
        let new = blue(both(), json!({ONE: after}), &["b-1", "b-2"]);
        let remaining = remaining(&old, &new).unwrap();
        let row = remaining.rows.get(&ONE.parse().unwrap());
        let expected: Option<Row> = left.map(|left| serde_json::from_value(left).unwrap());
        assert_eq!(row, expected.as_ref(), "{what}");
        assert!(!remaining.rows.contains_key(&TWO.parse().unwrap()), "{what}: the other guest is gone");
    }
}
