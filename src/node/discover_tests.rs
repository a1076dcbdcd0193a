use serde_json::json;

use super::*;
use crate::linux::fake::Fake;
use crate::node::desired::{BridgeEntry, Neighbour};
use crate::node::plan::tests::{local, planned, slice};
use crate::node::reconcile;

const BRIDGE: &str = "vb10.12b5";

fn mac(number: usize) -> Mac {
    let [_, a, b, c] = u32::try_from(number).unwrap().to_be_bytes();
    Mac([2, 0, 1, a, b, c])
}

/// A node whose bridge has learned this many guests on each of some ports, numbered one after the other.
fn learned(ports: &[(&str, usize)]) -> (Slice, Desired, Observed) {
    let mut slice = slice("suppress", json!({}));
    slice.networks.values_mut().for_each(|n| n.learning = Learning::Local);
    let desired = planned(&slice, &local()).desired;
    let mut kernel = Fake::default();
    kernel.apply(&reconcile::diff(&desired, &Observed::default())).unwrap();
    let mut observed = kernel.state;
    let table = observed.bridge_fdb.get_mut(&BRIDGE.parse().unwrap()).unwrap();
    let names = ports.iter().flat_map(|(port, count)| std::iter::repeat_n(port, *count));
    for (number, port) in names.enumerate() {
        table.insert(mac(number), BridgeEntry { port: port.parse().unwrap(), hold: Hold::Learned });
    }
    (slice, desired, observed)
}

fn found(ports: &[(&str, usize)]) -> Found {
    let (slice, desired, observed) = learned(ports);
    discover(&slice, &desired, &observed, &BTreeSet::new())
}

fn of(found: &Found, interface: &str) -> usize {
    found.ports.values().filter(|name| name.as_str() == interface).count()
}

fn codes(found: &Found) -> Vec<&str> {
    found.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn guests_on_ports_of_others_are_found_and_remote_ones_are_not() {
    let (slice, desired, mut observed) = learned(&[("tap0", 2)]);
    let heard = Neighbour { mac: mac(1), permanent: false, router: false };
    observed.neighbours.get_mut(&BRIDGE.parse().unwrap()).unwrap().insert("192.168.10.77".parse().unwrap(), heard);
    let found = discover(&slice, &desired, &observed, &BTreeSet::new());
    let ports: Vec<&FoundPort> = found.ports.keys().collect();
    assert_eq!(ports.iter().map(|p| p.mac).collect::<Vec<_>>(), [mac(0), mac(1)]);
    assert_eq!(ports[0].ips, [].into());
    assert_eq!(ports[1].ips, ["192.168.10.77".parse().unwrap()].into());
    assert!(found.findings.is_empty());
}

#[test]
fn one_interface_never_uses_up_the_places_of_another() {
    for (invented, others) in [(65, 1), (1000, 3), (300_000, 64)] {
        let found = found(&[("evil", invented), ("good", others)]);
        assert_eq!((of(&found, "evil"), of(&found, "good")), (PORTS_OF_INTERFACE, others), "{invented}");
        assert_eq!(codes(&found), ["M0649"]);
        let text = &found.findings[0].what;
        assert!(text.contains("evil") && text.contains("default/10") && !text.contains("good"), "{text}");
    }
}

#[test]
fn the_bound_of_the_node_is_shared_out_evenly_and_said() {
    let names: Vec<String> = (0..200).map(|n| format!("veth{n:03}")).collect();
    let mut ports: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), PORTS_OF_INTERFACE)).collect();
    ports.push(("zz-last", 3));
    let found = found(&ports);
    assert_eq!(found.ports.len(), MAX_PORTS);
    assert_eq!(of(&found, "zz-last"), 3, "a name that comes last costs nothing");
    let least = names.iter().map(|name| of(&found, name)).min().unwrap();
    assert!(least >= MAX_PORTS / 201, "{least}");
    assert_eq!(codes(&found), ["M0650"]);
}

#[test]
fn findings_about_many_interfaces_are_few() {
    let names: Vec<String> = (0..200).map(|n| format!("veth{n:03}")).collect();
    let ports: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), PORTS_OF_INTERFACE + 1)).collect();
    let found = found(&ports);
    assert_eq!(found.findings.len(), NAMED + 2);
    assert!(found.findings[NAMED].what.contains("192 more"), "{}", found.findings[NAMED].what);
}

#[test]
fn who_is_known_stays_whatever_is_invented_beside_it() {
    let (slice, desired, observed) = learned(&[("evil", 5000)]);
    let net = slice.networks.keys().next().unwrap().clone();
    let known: BTreeSet<Guest> = (4000..4010).map(|n| (net.clone(), mac(n))).collect();
    let found = discover(&slice, &desired, &observed, &known);
    let reported: BTreeSet<Guest> = found.ports.keys().map(|port| (port.network.clone(), port.mac)).collect();
    assert!(known.is_subset(&reported));
    let again = discover(&slice, &desired, &observed, &reported);
    assert_eq!(again, found, "and the choice stands");
}

#[test]
fn a_guest_that_invents_ip_addresses_has_few() {
    let (slice, desired, mut observed) = learned(&[("tap0", 1)]);
    let table = observed.neighbours.get_mut(&BRIDGE.parse().unwrap()).unwrap();
    for n in 0..1000_u16 {
        let [a, b] = n.to_be_bytes();
        table.insert(IpAddr::from([192, 168, a, b]), Neighbour { mac: mac(0), permanent: false, router: false });
    }
    let found = discover(&slice, &desired, &observed, &BTreeSet::new());
    assert_eq!(found.ports.keys().next().unwrap().ips.len(), ADDRESSES_OF_PORT);
}

#[test]
fn networks_with_declared_ports_find_nothing() {
    let (mut slice, desired, observed) = learned(&[("tap0", 100)]);
    slice.networks.values_mut().for_each(|n| n.learning = Learning::Declared);
    assert_eq!(discover(&slice, &desired, &observed, &BTreeSet::new()), Found::default());
}
