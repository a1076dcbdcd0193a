use std::sync::Arc;

use super::*;
use crate::mgmt::fixture;
use crate::mgmt::state::State;

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// What a node says, by side.
fn says(admin: u64, external: u64) -> NodeFacts {
    let (admin_mtu, external_mtu) = (Mtu::try_from(admin).unwrap(), Mtu::try_from(external).unwrap());
    NodeFacts { admin_mtu, external_mtu, ..fixture::facts("10.1.0.1", "198.51.1.1") }
}

/// Looks once a second and writes down what changes.
fn run(interfaces: &mut Interfaces, state: &mut State, seconds: std::ops::Range<u64>) -> Vec<(u64, Change)> {
    let mut all = Vec::new();
    for second in seconds {
        let index = Index::new(Arc::new(state.clone()));
        let changes = interfaces.settle(&index, Mono::from_nanos(second * 1_000_000_000));
        *state = state.after(&edits(&index, &changes));
        all.extend(changes.into_iter().map(|change| (second, change)));
    }
    all
}

fn guest_mtu(state: &State) -> u16 {
    Index::new(Arc::new(state.clone())).mtus[&"blue".parse().unwrap()].mtu.get()
}

#[test]
fn what_a_node_says_anew_is_stored_with_the_sizes_that_count() {
    let (before, now) = (says(1500, 1500), NodeFacts { lanes: 9, ..says(576, 9000) });
    let stored = counted(Some(&before), &now);
    assert_eq!((stored.admin_mtu.get(), stored.external_mtu.get(), stored.lanes), (1500, 1500, 9));
    assert_eq!(counted(None, &now), now, "the first facts of a node count as they are");
}

/// Each side, down and up: when it counts, and what the network has before and after.
#[test]
fn a_smaller_size_counts_after_thirty_seconds_and_a_larger_one_after_five_minutes() {
    for (what, said, side, after) in [
        ("external", says(1500, 1400), Outer::External, 1318),
        ("external, absurdly", says(1500, 576), Outer::External, 1280),
        ("admin", says(1350, 1500), Outer::Admin, 1300),
        ("admin, absurdly", says(576, 1500), Outer::Admin, 1280),
    ] {
        let (mut interfaces, mut state) = (Interfaces::default(), fixture::mesh());
        interfaces.hear(&id("b-1"), &said);
        assert!(run(&mut interfaces, &mut state, 0..30).is_empty(), "{what}");
        assert_eq!(guest_mtu(&state), 1418, "{what}");
        let changes = run(&mut interfaces, &mut state, 30..32);
        assert_eq!(changes.iter().map(|(second, change)| (*second, change.side)).collect::<Vec<_>>(), [(30, side)]);
        assert_eq!(guest_mtu(&state), after, "{what}");
        interfaces.hear(&id("b-1"), &says(1500, 1500));
        assert!(run(&mut interfaces, &mut state, 40..339).is_empty(), "{what}");
        assert_eq!((run(&mut interfaces, &mut state, 339..342).len(), guest_mtu(&state)), (1, 1418), "{what}");
    }
}

#[test]
fn who_takes_it_back_or_flaps_moves_nothing() {
    let (mut interfaces, mut state) = (Interfaces::default(), fixture::mesh());
    for second in 0..600 {
        let external = if second % 20 < 19 { 576 } else { 1500 };
        interfaces.hear(&id("b-1"), &says(1500, external));
        assert!(run(&mut interfaces, &mut state, second..second + 1).is_empty(), "second {second}");
    }
    assert_eq!(guest_mtu(&state), 1418);
    assert!(interfaces.nodes.len() <= 1);
    interfaces.forget(&id("b-1"));
    assert!(interfaces.nodes.is_empty());
}

#[test]
fn the_sentence_names_who_said_what_and_what_that_did() {
    let (mut interfaces, mut state) = (Interfaces::default(), fixture::mesh());
    interfaces.hear(&id("b-1"), &says(1500, 576));
    let before = Index::new(Arc::new(state.clone()));
    let changes: Vec<Change> = run(&mut interfaces, &mut state, 0..31).into_iter().map(|(_, change)| change).collect();
    let text = sentence(&changes, &before, &Index::new(Arc::new(state)));
    let said =
        "node b-1 says that its external interface carries 576 bytes, 1500 before; guest MTU of blue: 1418 -> 1280";
    assert_eq!(text, said);
}
