use serde_json::json;

use super::*;
use crate::node::plan::tests as plans;
use crate::table::Learning;
use crate::types::Mac;

fn slice() -> Slice {
    let mut slice = plans::slice("suppress", json!({}));
    slice.rows.clear();
    slice.networks.values_mut().for_each(|network| network.learning = Learning::Local);
    slice
}

fn places() -> BTreeMap<IfName, NetKey> {
    [("tap1".parse().unwrap(), "default/10".parse().unwrap())].into()
}

fn mac(n: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, u8::try_from(n).unwrap()])
}

fn ports(guests: impl IntoIterator<Item = usize>) -> BTreeMap<FoundPort, IfName> {
    let port = |n| FoundPort { network: "default/10".parse().unwrap(), mac: mac(n), ips: [].into() };
    guests.into_iter().map(|n| (port(n), "tap1".parse().unwrap())).collect()
}

fn at(hours: u64) -> Mono {
    Mono::from_nanos(hours * 3_600_000_000_000)
}

/// A node that heard guest 3 at one o'clock.
fn heard() -> Silent {
    let mut silent = Silent::default();
    silent.add(&mut ports([3]), &slice(), &places(), at(1));
    silent
}

fn after(silent: &mut Silent, slice: &Slice, places: &BTreeMap<IfName, NetKey>, hour: u64) -> usize {
    let mut found = ports([]);
    silent.add(&mut found, slice, places, at(hour));
    found.len()
}

#[test]
fn a_silent_guest_is_kept_for_a_day_after_it_was_heard_last() {
    let mut silent = heard();
    for hour in [2, 12, 24] {
        assert_eq!(after(&mut silent, &slice(), &places(), hour), 1, "{hour}");
    }
    assert_eq!(after(&mut silent, &slice(), &places(), 25), 0);
    assert_eq!(after(&mut silent, &slice(), &places(), 2), 0, "it is forgotten");
    let mut silent = heard();
    silent.add(&mut ports([3]), &slice(), &places(), at(20));
    assert_eq!(after(&mut silent, &slice(), &places(), 43), 1, "it was heard again");
}

#[test]
fn it_goes_with_its_interface_with_another_node_and_when_it_is_let_go() {
    assert_eq!(after(&mut heard(), &slice(), &BTreeMap::new(), 2), 0);
    let other = [("tap1".parse().unwrap(), "default/11".parse().unwrap())].into();
    assert_eq!(after(&mut heard(), &slice(), &other, 2), 0);
    for (node, count) in [("b", 0), (slice().node.as_str(), 1)] {
        let mut slice = slice();
        let key = format!("default/10/-/{}", mac(3));
        slice.rows.insert(key.parse().unwrap(), serde_json::from_value(json!({"node": node})).unwrap());
        assert_eq!(after(&mut heard(), &slice, &places(), 2), count, "{node}");
    }
    let mut silent = heard();
    silent.forget(&("default/10".parse().unwrap(), mac(3)));
    assert_eq!(after(&mut silent, &slice(), &places(), 2), 0);
}

#[test]
fn who_speaks_goes_before_who_is_silent() {
    let mut silent = heard();
    silent.add(&mut ports([4]), &slice(), &places(), at(2));
    let mut found = ports(100..100 + PORTS_OF_INTERFACE - 1);
    silent.add(&mut found, &slice(), &places(), at(3));
    assert_eq!(found.len(), PORTS_OF_INTERFACE);
    let macs: BTreeSet<Mac> = found.keys().map(|port| port.mac).collect();
    assert!(macs.contains(&mac(4)) && !macs.contains(&mac(3)), "who was heard last stays");
}
