use std::sync::Arc;

use super::*;
use crate::api::objects::{Any, ForeignSpec, Kind};
use crate::mgmt::fixture;
use crate::mgmt::state::State;
use crate::policy::path::Path;
use crate::table::Learning;
use crate::types::{GroupRate, Mtu, PublicKey};

const SECRET: [u8; 32] = [7; 32];

fn slice_of(state: State, node: &str) -> Slice {
    let version = Version { incarnation: 1, revision: 9 };
    let index = Index::new(Arc::new(state));
    build(&index, &node.parse().unwrap(), version, Some(&SecretKey::from_bytes(SECRET))).unwrap()
}

#[test]
fn the_slice_of_a_node_of_two_by_two() {
    let slice = slice_of(fixture::mesh(), "a-1");
    let printed = serde_json::to_string_pretty(&slice).unwrap();
    let golden = include_str!("slice_golden.json");
    assert_eq!(printed.trim(), golden.trim());
}

#[test]
fn what_a_port_may_send_to_all_is_told_to_every_member_of_its_network() {
    let rate = |number: u64| GroupRate::try_from(number).ok();
    let mut state = fixture::mesh();
    let mut network = (*state.networks[&"blue".parse().unwrap()]).clone();
    network.spec.group_rate = rate(300);
    state.networks.insert(network.metadata.name.clone(), Arc::new(network));
    let (id, mut port) = state.ports.iter().next().map(|(id, port)| (id.clone(), (**port).clone())).unwrap();
    port.spec.group_rate = rate(5000);
    state.ports.insert(id.clone(), Arc::new(port));
    for node in ["a-1", "a-2", "b-1"] {
        let slice = slice_of(state.clone(), node);
        assert!(slice.networks.values().all(|network| network.group_rate() == 300), "{node}");
        for row in slice.rows.values() {
            assert_eq!(row.group_rate, rate(5000).filter(|_| row.port.as_ref() == Some(&id)), "{node}: {:?}", row.port);
        }
    }
}

#[test]
fn both_ends_of_a_pair_get_one_psk_and_an_operators_view_has_none() {
    let [a, b] = ["a-1", "b-1"].map(|name| slice_of(fixture::mesh(), name));
    let psk = |slice: &Slice, peer: &str| slice.peers[&peer.parse().unwrap()].psk.clone().unwrap();
    assert!(psk(&a, "b-1") == psk(&b, "a-1"));
    assert!(psk(&a, "b-1") != psk(&a, "b-2"));
    let index = Index::new(Arc::new(fixture::mesh()));
    let view = build(&index, &"a-1".parse().unwrap(), Version::default(), None).unwrap();
    assert!(view.peers.values().all(|peer| peer.psk.is_none()));
}

#[test]
fn a_node_learns_nothing_of_networks_that_it_does_not_host() {
    let mut state = fixture::mesh();
    state.put(Any::Network(fixture::network("red", "default", 11, "192.168.11.0/24")));
    state.put(Any::Port(fixture::port("red-b", "red", "b-1", 99, "192.168.11.5")));
    let slice = slice_of(state.clone(), "a-1");
    assert!(slice.rows.keys().all(|key| key.vni.get() == 10) && slice.networks.len() == 1);
    assert_eq!(slice_of(state, "b-1").networks.len(), 2);
    let mut alone = fixture::mesh();
    alone.put(Any::Node(fixture::joined("a-3", "a", "10.0.0.3", "198.51.0.3", 9)));
    let nothing = slice_of(alone, "a-3");
    assert!(nothing.rows.is_empty() && nothing.peers.is_empty() && nothing.networks.is_empty());
}

/// Who hosts a learning network, by what an operator has said.
#[test]
fn a_learning_network_is_hosted_by_those_whom_an_operator_named_and_by_no_other_member() {
    let names = |list: &[&str]| Some(list.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<_>>());
    let hosts = |overlay_nodes: Option<&[&str]>, network_nodes: Option<&[&str]>, ports: &[(&str, bool)]| {
        let mut state = fixture::mesh();
        let mut net = fixture::network("learn", "default", 12, "192.168.12.0/24");
        net.spec.learning = Learning::Local;
        net.spec.nodes = network_nodes.map(|list| list.iter().map(|name| name.parse().unwrap()).collect());
        state.put(Any::Network(net));
        state.put(Any::Node(fixture::node("declared-only", "a")));
        let mut overlay = fixture::overlay("default", 4789);
        overlay.spec.nodes = overlay_nodes.and_then(names);
        state.put(Any::Overlay(overlay));
        for (n, (node, reported)) in ports.iter().enumerate() {
            let n = u32::try_from(n).unwrap();
            let mut port = fixture::port(&format!("p{n}"), "learn", node, 200 + n, &format!("192.168.12.{}", n + 5));
            port.spec.reported = *reported;
            state.put(Any::Port(port));
        }
        let index = Index::new(Arc::new(state.clone()));
        let hosts =
            index.hosts[&"learn".parse().unwrap()].iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        for node in ["a-1", "a-2", "b-1", "b-2"] {
            let slice = slice_of(state.clone(), node);
            let has = slice.networks.values().any(|network| network.name.as_str() == "learn");
            assert_eq!(has, hosts.split(' ').any(|host| host == node), "{node}: {hosts}");
        }
        hosts
    };
    assert_eq!(hosts(None, None, &[]), "", "to be a member of the mesh is not enough");
    assert_eq!(hosts(None, None, &[("b-1", false)]), "b-1", "a declared port");
    assert_eq!(hosts(None, None, &[("b-1", true)]), "b-1", "what was found before names were needed");
    assert_eq!(hosts(Some(&["a-1", "b-2", "not-yet"]), None, &[]), "a-1 b-2", "the overlay's list");
    assert_eq!(hosts(None, Some(&["*"]), &[]), "a-1 a-2 b-1 b-2");
    assert_eq!(hosts(None, Some(&["a-*", "declared-only"]), &[]), "a-1 a-2");
    assert_eq!(hosts(Some(&["a-1"]), Some(&["*"]), &[]), "a-1", "both lists count");
    assert_eq!(hosts(None, Some(&["a-1"]), &[("b-1", true), ("b-2", false)]), "a-1 b-2", "what is found makes no host");
}

#[test]
fn a_machine_with_a_token_gets_no_keys_of_learning_networks_that_do_not_name_it() {
    let mut state = fixture::mesh();
    let mut net = fixture::network("learn", "default", 12, "192.168.12.0/24");
    net.spec.learning = Learning::Local;
    net.spec.nodes = Some(BTreeSet::from(["a-*".parse().unwrap()]));
    state.put(Any::Network(net));
    state.put(Any::Node(fixture::joined("stray", "b", "10.1.0.9", "198.51.1.9", 9)));
    let slice = slice_of(state.clone(), "stray");
    assert!(slice.peers.is_empty() && slice.networks.is_empty() && slice.rows.is_empty());
    assert!(!slice_of(state, "a-1").peers.contains_key(&"stray".parse().unwrap()));
}

#[test]
fn a_removed_node_is_in_no_slice() {
    let mut state = fixture::mesh();
    state.remove(Kind::Port, "guest-b-2");
    state.remove(Kind::Node, "b-2");
    let slice = slice_of(state, "a-1");
    assert!(!slice.peers.contains_key(&"b-2".parse().unwrap()));
    assert_eq!(slice.rows.len(), 3);
}

#[test]
fn a_foreign_peer_has_one_lane_form_a_and_lowers_the_mtu() {
    let mut state = fixture::mesh();
    let mut foreign = fixture::node("box", "b");
    foreign.spec.foreign = Some(ForeignSpec {
        public_key: PublicKey([9; 32]),
        endpoint: Some("203.0.113.9:51999".parse().unwrap()),
        tunnel_address: "100.64.9.9".parse().unwrap(),
    });
    state.put(Any::Node(foreign));
    state.put(Any::Port(fixture::port("guest-box", "blue", "box", 77, "192.168.10.77")));
    let slice = slice_of(state, "a-1");
    let peer = &slice.peers[&"box".parse().unwrap()];
    assert_eq!((peer.lanes, peer.listen.get(), peer.suite), (1, 51999, Suite::Chacha));
    assert!(peer.psk.is_some() && peer.foreign.is_some());
    let others = slice.peers.iter().filter(|(node, _)| node.as_str() != "box");
    assert!(others.map(|(_, peer)| peer.lanes).all(|lanes| lanes == 2), "it costs nobody else a lane");
    let network = slice.networks.values().next().unwrap();
    assert_eq!(network.members[&"box".parse().unwrap()], Path::Tunnel);
    assert_eq!(network.guest_mtu.get(), 1500 - 110);
}

#[test]
fn a_fixed_mtu_that_no_longer_fits_is_kept_and_the_missing_bytes_are_known() {
    let mut state = fixture::mesh();
    let mut net = fixture::network("blue", "default", 10, "192.168.10.0/24");
    net.spec.mtu = Some(crate::policy::mtu::MtuPolicy { fixed: Mtu::try_from(1418).ok(), ..Default::default() });
    state.put(Any::Network(net));
    let mtu = |state: &State| slice_of(state.clone(), "a-1").networks.values().next().unwrap().guest_mtu.get();
    assert_eq!(mtu(&state), 1418);
    let mut node = fixture::joined("b-1", "b", "10.1.0.1", "198.51.1.1", 3);
    node.status.facts.as_mut().unwrap().external_mtu = Mtu::try_from(1420).unwrap();
    state.put(Any::Node(node));
    assert_eq!(mtu(&state), 1418, "guests keep what they were told; the tunnel carries it in fragments");
    let index = Index::new(Arc::new(state));
    assert_eq!(index.mtus[&"blue".parse().unwrap()].missing, 80);
}

#[test]
fn aes_is_for_pairs_in_which_both_ends_report_the_instructions() {
    let mut state = fixture::mesh();
    let suites =
        |state: &State, node: &str, peer: &str| slice_of(state.clone(), node).peers[&peer.parse().unwrap()].suite;
    assert_eq!(suites(&state, "a-1", "b-1"), Suite::Aesgcm);
    let change = |state: &mut State, name: &str, facts: fn(&mut objects::NodeStatus)| {
        facts(&mut Arc::make_mut(state.nodes.get_mut(&name.parse().unwrap()).unwrap()).status);
    };
    change(&mut state, "b-1", |status| status.facts.as_mut().unwrap().aes = false);
    for (node, peer, suite) in
        [("a-1", "b-1", Suite::Chacha), ("b-1", "a-1", Suite::Chacha), ("a-1", "b-2", Suite::Aesgcm)]
    {
        assert_eq!(suites(&state, node, peer), suite, "{node} {peer}");
    }
    change(&mut state, "b-2", |status| status.facts = None);
    assert_eq!(suites(&state, "a-1", "b-2"), Suite::Chacha, "nothing is known of it yet");
}

#[test]
fn a_pair_uses_as_many_lanes_as_the_end_with_fewer_and_both_hear_the_same() {
    let mut state = fixture::mesh();
    let lanes_of = [("a-1", 4), ("b-1", 2), ("b-2", 1)];
    for (name, lanes) in lanes_of {
        let mut node = state.nodes[&name.parse().unwrap()].as_ref().clone();
        node.status.facts.as_mut().unwrap().lanes = lanes;
        state.put(Any::Node(node));
    }
    for (one, lanes_of_one) in lanes_of {
        let slice = slice_of(state.clone(), one);
        for (other, lanes_of_other) in lanes_of.into_iter().filter(|(other, _)| *other != one) {
            let lanes = slice.peers[&other.parse().unwrap()].lanes;
            assert_eq!(lanes, lanes_of_one.min(lanes_of_other), "{one} to {other}");
        }
    }
}
