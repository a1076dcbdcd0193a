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
    short(&mut state, "a-1", "b-2", 1380);
    assert_eq!(of(&state).mtu.get(), 1298, "the smaller direction counts");
}

#[test]
fn what_was_measured_inside_a_pdc_counts_only_where_a_tunnel_goes() {
    let mut state = fixture::mesh();
    short(&mut state, "a-1", "a-2", 1400);
    assert_eq!(of(&state).mtu.get(), 1418);
    let mut pdc = fixture::pdc("a", "10.0.0.0/24");
    pdc.spec.intra = crate::policy::path::Intra::Encrypted;
    state.put(Any::Pdc(pdc));
    assert_eq!(of(&state).mtu.get(), 1318);
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
fn no_network_gets_less_than_1280_by_computing_and_an_operator_may_say_less() {
    for prefix in ["192.168.10.0/24", "fd00::/64"] {
        let mut state = fixture::mesh();
        state.put(Any::Network(fixture::network("blue", "default", 10, prefix)));
        short(&mut state, "a-1", "b-1", 1280);
        assert_eq!((of(&state).mtu.get(), of(&state).missing), (1280, 82), "{prefix}");
    }
    assert_eq!(precedence(Some(600), None), (Some(600), 600));
}

/// What one member says, of either side or of its paths, against every network and what an operator may still do about it.
#[test]
fn what_one_member_says_takes_no_more_than_the_floor_and_refuses_operators_nothing() {
    type Lie = fn(&mut State);
    let interface = |state: &mut State, name: &str, mtu: u64| {
        let facts = Arc::make_mut(state.nodes.get_mut(&name.parse().unwrap()).unwrap()).status.facts.as_mut().unwrap();
        (facts.admin_mtu, facts.external_mtu) = (Mtu::try_from(mtu).unwrap(), Mtu::try_from(mtu).unwrap());
    };
    let lies: [(&str, Lie); 3] = [
        ("its interfaces carry 576", |_| {}),
        ("its paths carry 1200", |state| {
            for to in ["a-1", "a-2", "b-1"] {
                short(state, "b-2", to, 1200);
            }
        }),
        ("others' paths to it carry 1200", |state| {
            for from in ["a-1", "a-2", "b-1"] {
                short(state, from, "b-2", 1200);
            }
        }),
    ];
    for (n, (what, lie)) in lies.into_iter().enumerate() {
        let mut state = fixture::mesh();
        if n == 0 {
            interface(&mut state, "b-2", 576);
        }
        lie(&mut state);
        assert_eq!(of(&state).mtu.get(), 1280, "{what}");
        // The operator's remedy and everyday changes are not refused on its account.
        let mut fixed = fixture::network("blue", "default", 10, "192.168.10.0/24");
        fixed.spec.mtu = Some(MtuPolicy { fixed: Mtu::try_from(1418).ok(), ..MtuPolicy::default() });
        let edits = |before: Option<Any>, after: Any| [crate::mgmt::state::Edit { before, after: Some(after) }];
        let before = state.networks.values().next().map(|net| Any::Network(net.as_ref().clone()));
        crate::mgmt::validate::check(&state, &edits(before, Any::Network(fixed)))
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        let port = fixture::port("late", "blue", "b-1", 77, "192.168.10.77");
        crate::mgmt::validate::check(&state, &edits(None, Any::Port(port))).unwrap_or_else(|e| panic!("{what}: {e}"));
        // Who it is stands in the findings.
        let index = Index::new(Arc::new(state));
        let (measured, interfaces) = Default::default();
        let (mono, wall) = Default::default();
        let known = crate::mgmt::mtu_now::Known { measured: &measured, interfaces: &interfaces, mono, wall };
        let found = crate::mgmt::mtu_map::findings(&index, &known, false);
        assert!(found.len() == 1 && found[0].code == "M0510" && found[0].what.contains("b-2"), "{what}: {found:?}");
    }
}
