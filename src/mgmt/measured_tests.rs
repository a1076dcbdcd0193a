use std::sync::Arc;

use super::*;
use crate::mgmt::fixture;
use crate::mgmt::state::State;

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn path(node: &str, bytes: u16) -> MeasuredPath {
    MeasuredPath { node: id(node), bytes, since: None }
}

fn at(second: u64) -> Mono {
    Mono::from_nanos(second * 1_000_000_000)
}

/// Looks once a second and writes down what changes.
fn run(measured: &mut Measured, state: &mut State, seconds: std::ops::RangeInclusive<u64>) -> Vec<(u64, Change)> {
    let mut all = Vec::new();
    for second in seconds {
        let index = Index::new(Arc::new(state.clone()));
        let (changes, edits) = measured.settle(&index, at(second));
        *state = state.after(&edits);
        all.extend(changes.into_iter().map(|change| (second, change)));
    }
    all
}

fn guest_mtu(state: &State) -> u16 {
    Index::new(Arc::new(state.clone())).mtus[&"blue".parse().unwrap()].mtu.get()
}

#[test]
fn a_shrunk_path_lowers_the_network_after_thirty_seconds_and_raises_it_after_five_minutes() {
    let (mut measured, mut state) = (Measured::default(), fixture::mesh());
    measured.report(&state, &id("a-1"), &[path("b-1", 1400), path("b-2", 1500)], Wall::from_secs(7));
    let changes = run(&mut measured, &mut state, 0..=60);
    assert_eq!(changes, [(30, Change { from: id("a-1"), to: id("b-1"), before: 1500, after: 1400 })]);
    assert_eq!(guest_mtu(&state), 1318);
    assert_eq!(measured.newest(&id("b-1"), &id("a-1")), Some((1400, Wall::from_secs(7))));
    measured.report(&state, &id("a-1"), &[path("b-1", 1500)], Wall::from_secs(99));
    let changes = run(&mut measured, &mut state, 61..=400);
    assert_eq!(changes.iter().map(|(second, change)| (*second, change.after)).collect::<Vec<_>>(), [(361, 1500)]);
    assert_eq!(guest_mtu(&state), 1418);
    assert!(state.nodes[&id("a-1")].status.paths.is_empty(), "nothing is kept of a path that carries all");
}

#[test]
fn what_counts_outlives_a_restart_and_a_silent_node() {
    let (mut measured, mut state) = (Measured::default(), fixture::mesh());
    measured.report(&state, &id("a-1"), &[path("b-1", 1400)], Wall::from_secs(7));
    run(&mut measured, &mut state, 0..=30);
    let mut restarted = Measured::default();
    assert!(run(&mut restarted, &mut state, 31..=700).is_empty());
    assert_eq!(guest_mtu(&state), 1318);
}

#[test]
fn claims_below_what_every_path_carries_are_not_believed() {
    let (mut measured, mut state) = (Measured::default(), fixture::mesh());
    measured.report(
        &state,
        &id("a-1"),
        &[path("b-1", 1199), path("a-1", 1300), path("nobody", 1300)],
        Wall::from_secs(7),
    );
    assert!(run(&mut measured, &mut state, 0..=60).is_empty());
    assert_eq!(guest_mtu(&state), 1418);
}

#[test]
fn a_removed_node_is_forgotten_at_both_ends() {
    let (mut measured, mut state) = (Measured::default(), fixture::mesh());
    measured.report(&state, &id("a-1"), &[path("b-1", 1400)], Wall::from_secs(7));
    run(&mut measured, &mut state, 0..=30);
    state.nodes.remove(&id("b-1"));
    measured.forget(&id("b-1"));
    run(&mut measured, &mut state, 31..=31);
    assert!(state.nodes[&id("a-1")].status.paths.is_empty());
    assert_eq!(measured.newest(&id("a-1"), &id("b-1")), None);
}

#[test]
fn the_sentence_names_paths_and_networks() {
    let (mut measured, mut state) = (Measured::default(), fixture::mesh());
    measured.report(&state, &id("a-1"), &[path("b-1", 1400)], Wall::from_secs(7));
    let before = Index::new(Arc::new(state.clone()));
    let changes: Vec<Change> = run(&mut measured, &mut state, 0..=30).into_iter().map(|(_, change)| change).collect();
    let text = sentence(&changes, &before, &Index::new(Arc::new(state)));
    assert_eq!(text, "the path a-1 - b-1 shrank from 1500 to 1400 bytes; guest MTU of blue: 1418 -> 1318");
}

/// A path to a node that there is not is not kept, however many there are.
#[test]
fn paths_are_to_nodes_that_there_are() {
    let (mut measured, state) = (Measured::default(), fixture::mesh());
    let invented: Vec<_> = (0..10_000).map(|n| path(&format!("node-{n}"), 1300)).chain([path("b-1", 1300)]).collect();
    measured.report(&state, &id("a-1"), &invented, Wall::from_secs(7));
    assert_eq!(measured.all().map(|(_, to, _)| to.as_str()).collect::<Vec<_>>(), ["b-1"]);
}
