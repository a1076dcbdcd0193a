use serde_json::json;

use super::*;
use crate::linux::fake::Fake;
use crate::node::desired::{BridgeEntry, Neighbour};
use crate::node::plan::tests::{local, planned, slice};
use crate::node::reconcile;

fn mac(number: u32) -> Mac {
    let [_, a, b, c] = number.to_be_bytes();
    Mac([2, 0, 1, a, b, c])
}

/// A node whose bridge has learned this many guests on one port.
fn learned(count: u32) -> (Slice, Desired, Observed) {
    let mut slice = slice("suppress", json!({}));
    slice.networks.values_mut().for_each(|n| n.learning = Learning::Local);
    let desired = planned(&slice, &local()).desired;
    let mut kernel = Fake::default();
    kernel.apply(&reconcile::diff(&desired, &Observed::default())).unwrap();
    let mut observed = kernel.state;
    let table = observed.bridge_fdb.get_mut(&"vb10.12b5".parse().unwrap()).unwrap();
    let entry = BridgeEntry { port: "tap0".parse().unwrap(), hold: Hold::Learned };
    table.extend((0..count).map(|n| (mac(n), entry.clone())));
    (slice, desired, observed)
}

#[test]
fn guests_on_ports_of_others_are_found_and_remote_ones_are_not() {
    let (slice, desired, mut observed) = learned(2);
    let bridge = "vb10.12b5".parse().unwrap();
    let heard = Neighbour { mac: mac(1), permanent: false };
    observed.neighbours.get_mut(&bridge).unwrap().insert("192.168.10.77".parse().unwrap(), heard);
    let found = discover(&slice, &desired, &observed);
    assert_eq!(found.iter().map(|p| p.mac).collect::<Vec<_>>(), [mac(0), mac(1)]);
    assert_eq!(found[0].ips, [].into());
    assert_eq!(found[1].ips, ["192.168.10.77".parse().unwrap()].into());
}

#[test]
fn a_guest_that_invents_addresses_cannot_fill_the_report() {
    let (slice, desired, observed) = learned(10_000);
    assert_eq!(discover(&slice, &desired, &observed).len(), MAX_PORTS);
}

#[test]
fn networks_with_declared_ports_find_nothing() {
    let (mut slice, desired, observed) = learned(2);
    slice.networks.values_mut().for_each(|n| n.learning = Learning::Declared);
    assert_eq!(discover(&slice, &desired, &observed), []);
}
