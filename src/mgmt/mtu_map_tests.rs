use std::sync::Arc;

use super::*;
use crate::api::objects::Any;
use crate::api::stream::MeasuredPath;
use crate::mgmt::fixture;
use crate::mgmt::interfaces::Interfaces;
use crate::mgmt::state::State;
use crate::policy::mtu::MtuPolicy;
use crate::types::Mono;

fn of(state: &State, sizes: &[(&str, &str, u16)]) -> MeshMtu {
    let mut measured = Measured::default();
    for (from, to, bytes) in sizes {
        let path = MeasuredPath { node: to.parse().unwrap(), bytes: *bytes, since: None };
        measured.report(state, &from.parse().unwrap(), &[path], Wall::from_secs(7));
    }
    let (interfaces, mono, wall) = (Interfaces::default(), Mono::default(), Wall::from_secs(1000));
    let known = Known { measured: &measured, interfaces: &interfaces, mono, wall };
    map(&Index::new(Arc::new(state.clone())), &known, &Said::default(), None)
}

fn pair<'a>(map: &'a MeshMtu, a: &str, b: &str) -> &'a PdcPairMtu {
    map.pairs.iter().find(|pair| pair.a.as_str() == a && pair.b.as_str() == b).unwrap()
}

#[test]
fn every_pair_of_pdcs_stands_with_what_it_carries_and_who_limits_it() {
    let mut state = fixture::mesh();
    let mut narrow = fixture::joined("b-2", "b", "10.1.0.2", "198.51.1.2", 4);
    narrow.status.facts.as_mut().unwrap().external_mtu = Mtu::try_from(1492).unwrap();
    state.put(Any::Node(narrow));
    let map = of(&state, &[]);
    let cells: Vec<_> =
        map.pairs.iter().map(|pair| (pair.a.as_str(), pair.b.as_str(), pair.path, pair.guest)).collect();
    let expected = [("a", "a", Path::Plain, 1450), ("a", "b", Path::Tunnel, 1410), ("b", "b", Path::Plain, 1450)];
    assert_eq!(cells, expected);
    assert_eq!(pair(&map, "a", "b").limit, "b-2, external interface");
    assert_eq!(pair(&map, "a", "b").measured, None);
    assert_eq!(pair(&map, "a", "a").limit, "admin interfaces");
    let blue = &map.networks[0];
    assert_eq!((blue.mtu.get(), blue.missing, blue.fixed, blue.said_by), (1410, 0, false, Some(SaidBy::Node)));
}

#[test]
fn a_measured_path_stands_beside_the_computed_one_and_says_whether_it_counts() {
    let mut state = fixture::mesh();
    let map = of(&state, &[("a-1", "b-1", 1400), ("b-2", "a-1", 1500)]);
    let across = pair(&map, "a", "b");
    assert_eq!((across.underlay, across.measured, across.counts, across.guest), (1500, Some(1400), 1500, 1418));
    assert_eq!(across.limit, "the path a-1 - b-1, which shrank; that counts from 1970-01-01T00:16:40Z on if it stays");
    let mut short = fixture::joined("a-1", "a", "10.0.0.1", "198.51.0.1", 1);
    short.status.paths.insert("b-1".parse().unwrap(), 1400);
    state.put(Any::Node(short));
    let map = of(&state, &[("a-1", "b-1", 1400)]);
    let across = pair(&map, "a", "b");
    assert_eq!((across.counts, across.guest, across.limit.as_str()), (1400, 1318, "the path a-1 - b-1"));
    assert_eq!(map.networks[0].limit, "the path a-1 - b-1, since 1970-01-01T00:00:07Z");
}

#[test]
fn a_fixed_network_that_falls_short_is_found() {
    let mut state = fixture::mesh();
    let mut net = fixture::network("blue", "default", 10, "192.168.10.0/24");
    net.spec.mtu = Some(MtuPolicy { fixed: Mtu::try_from(1430).ok(), ..MtuPolicy::default() });
    state.put(Any::Network(net));
    let index = Index::new(Arc::new(state));
    let (measured, interfaces) = Default::default();
    let (mono, wall) = Default::default();
    let found = findings(&index, &Known { measured: &measured, interfaces: &interfaces, mono, wall }, false);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].what.contains("12 bytes short of its MTU 1430 on the tightest path (fits 1418: external interfaces)"),
        "{}",
        found[0].what
    );
    assert!(found[0].help.ends_with("meshctl network set blue --mtu 1418"), "{}", found[0].help);
}

#[test]
fn a_network_that_no_two_nodes_host_falls_short_of_nothing() {
    let mut state = fixture::mesh();
    let mut net = fixture::network("red", "default", 11, "192.168.11.0/24");
    net.spec.mtu = Some(MtuPolicy { fixed: Mtu::try_from(1460).ok(), ..MtuPolicy::default() });
    state.put(Any::Network(net));
    let line = |map: MeshMtu| map.networks.into_iter().find(|line| line.network.as_str() == "red").unwrap();
    let red = line(of(&state, &[]));
    assert_eq!((red.alone, red.missing, red.whole), (true, 10, 1450));
    let (measured, interfaces, mono, wall) = Default::default();
    let known = Known { measured: &measured, interfaces: &interfaces, mono, wall };
    assert_eq!(findings(&Index::new(Arc::new(state)), &known, false), []);
}

#[test]
fn pairs_whose_frames_take_the_tunnel_stand_with_their_plain_path_and_others_do_not() {
    let mut state = fixture::mesh();
    for (name, number) in [("a-2", 2), ("a-3", 3)] {
        let [admin, external] = ["10.0.0", "198.51.0"].map(|net| format!("{net}.{number}"));
        state.put(Any::Node(fixture::joined(name, "a", &admin, &external, number)));
    }
    let index = Index::new(Arc::new(state));
    let (measured, interfaces) = (Measured::default(), Interfaces::default());
    let known =
        Known { measured: &measured, interfaces: &interfaces, mono: Mono::default(), wall: Wall::from_secs(1000) };
    let two = |a: &str, b: &str| [a.parse().unwrap(), b.parse().unwrap()];
    let detours = [two("a-1", "a-2"), two("a-1", "b-1"), two("a-1", "nobody")].into();
    let map = map(&index, &known, &Said { detours, narrow: Detours::new() }, None);
    let inside = pair(&map, "a", "a");
    assert_eq!(inside.detours, [two("a-1", "a-2")]);
    assert!(inside.limit.ends_with("by the tunnel now, their plain path is dead: a-1 - a-2"), "{}", inside.limit);
    for (a, b) in [("a", "b"), ("b", "b")] {
        assert!(pair(&map, a, b).detours.is_empty(), "{a} {b}");
    }
}

#[test]
fn a_plain_path_of_which_its_nodes_say_that_it_loses_large_packets_is_no_path_that_fits() {
    let mut state = fixture::mesh();
    state.put(Any::Node(fixture::joined("a-2", "a", "10.0.0.2", "198.51.0.2", 2)));
    let index = Index::new(Arc::new(state));
    let (measured, interfaces) = (Measured::default(), Interfaces::default());
    let known =
        Known { measured: &measured, interfaces: &interfaces, mono: Mono::default(), wall: Wall::from_secs(1000) };
    let narrow: Detours = [["a-1".parse().unwrap(), "a-2".parse().unwrap()]].into();
    let map = map(&index, &known, &Said { narrow, ..Said::default() }, None);
    assert!(pair(&map, "a", "a").limit.ends_with("the rest is lost: a-1 - a-2"), "{:?}", map.pairs);
    assert!(!pair(&map, "a", "b").limit.contains("the rest is lost"));
    for line in &map.networks {
        let shares = line.limit.contains("the rest is lost");
        assert_eq!(line.lost, shares, "{line:?}");
    }
    assert!(map.networks.iter().any(|line| line.lost), "{:?}", map.networks);
}
