use std::sync::Arc;

use super::*;
use crate::api::objects::Any;
use crate::mgmt::fixture;
use crate::mgmt::state::State;
use crate::policy::mtu::MtuPolicy;
use crate::types::Mtu;

fn of(state: &State) -> Guest {
    Index::new(Arc::new(state.clone())).mtus[&"blue".parse().unwrap()].clone()
}

fn short(state: &mut State, from: &str, to: &str, bytes: u16) {
    let node = state.nodes.get_mut(&from.parse().unwrap()).unwrap();
    Arc::make_mut(node).status.paths.insert(to.parse().unwrap(), bytes);
}

#[test]
fn one_measured_path_lowers_the_network_that_spans_it() {
    let mut state = fixture::mesh();
    assert_eq!(of(&state).mtu.get(), 1418);
    short(&mut state, "b-2", "a-1", 1400);
    assert_eq!(of(&state).mtu.get(), 1318, "it counts from whichever end it was measured");
    short(&mut state, "a-1", "b-2", 1300);
    assert_eq!(of(&state).mtu.get(), 1218, "the smaller direction counts");
}

#[test]
fn what_was_measured_inside_a_pdc_counts_only_where_a_tunnel_goes() {
    let mut state = fixture::mesh();
    short(&mut state, "a-1", "a-2", 1300);
    assert_eq!(of(&state).mtu.get(), 1418);
    let mut pdc = fixture::pdc("a", "10.0.0.0/24");
    pdc.spec.intra = crate::policy::path::Intra::Encrypted;
    state.put(Any::Pdc(pdc));
    assert_eq!(of(&state).mtu.get(), 1218);
}

#[test]
fn a_path_to_a_node_that_does_not_host_the_network_does_not_count() {
    let mut state = fixture::mesh();
    state.put(Any::Node(fixture::joined("b-3", "b", "10.1.0.3", "198.51.1.3", 9)));
    short(&mut state, "a-1", "b-3", 1300);
    assert_eq!(of(&state).mtu.get(), 1418);
}

/// The policy of `blue`, of its overlay, and what the node's slice says then: policy and number.
fn precedence(network: Option<u64>, overlay: Option<u64>) -> (Option<u16>, u16) {
    let fixed = |n: u64| MtuPolicy { fixed: Mtu::try_from(n).ok(), ..MtuPolicy::default() };
    let mut state = fixture::mesh();
    let mut net = fixture::network("blue", "default", 10, "192.168.10.0/24");
    net.spec.mtu = network.map(fixed);
    state.put(Any::Network(net));
    let mut over = fixture::overlay("default", 4789);
    over.spec.mtu = overlay.map(fixed);
    state.put(Any::Overlay(over));
    let index = Index::new(Arc::new(state));
    let slice = crate::mgmt::slice::build(&index, &"a-1".parse().unwrap(), Default::default(), None).unwrap();
    let seen = slice.networks.values().next().unwrap();
    (seen.mtu.and_then(|policy| policy.fixed).map(Mtu::get), seen.guest_mtu.get())
}

#[test]
fn the_network_decides_before_the_overlay_and_the_overlay_before_the_node() {
    assert_eq!(precedence(Some(1200), Some(1300)), (Some(1200), 1200));
    assert_eq!(precedence(None, Some(1300)), (Some(1300), 1300));
    assert_eq!(precedence(None, None), (None, 1418), "no policy: the node's own counts, else what is computed");
}

#[test]
fn ipv6_guests_get_1280_on_a_path_that_carries_less() {
    let mut state = fixture::mesh();
    let mut net = fixture::network("blue", "default", 10, "192.168.10.0/24");
    net.spec.cidr.push("fd00::/64".parse().unwrap());
    state.put(Any::Network(net));
    short(&mut state, "a-1", "b-1", 1280);
    assert_eq!((of(&state).mtu.get(), of(&state).missing), (1280, 82));
}
