use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::objects::{Any, Object};
use crate::mgmt::index::Index;
use crate::mgmt::state::State;
use crate::mgmt::{fixture, slice};
use crate::node::plan::tests::{local, slice as golden_slice};
use crate::policy::path::Intra;
use crate::types::Version;

const NODES: [&str; 4] = ["a-1", "a-2", "b-1", "b-2"];

/// The mesh of the fixture with nodes in other places, a PDC that encrypts and a policy.
fn state(admins: [u8; 4], encrypted: bool, policy: u8) -> State {
    let mut state = fixture::mesh();
    for (n, (name, third)) in (1..).zip(NODES.into_iter().zip(admins)) {
        // 10.0.0.0/24 is the underlay of PDC a, 10.1.0.0/24 that of b.
        let (admin, external) = (format!("10.{third}.0.{n}"), format!("198.51.100.{n}"));
        state.put(Any::Node(fixture::joined(name, &name[..1], &admin, &external, n)));
    }
    if encrypted {
        let mut pdc = fixture::pdc("a", "10.0.0.0/24");
        pdc.spec.intra = Intra::Encrypted;
        state.put(Any::Pdc(pdc));
    }
    let action = ["plain", "encrypt", "forbid"].get(usize::from(policy % 4));
    if let Some(action) = action {
        let between = json!([{"pdc": "a"}, {"node": "b-1"}]);
        let rule = json!({"between": between, "action": action, "iKnowThisIsClear": policy > 3});
        let spec = serde_json::from_value(rule).unwrap();
        state.put(Any::PathPolicy(Object { metadata: fixture::meta("p"), spec, status: () }));
    }
    state
}

fn slice_of(state: &State, node: &str) -> Slice {
    let index = Index::new(std::sync::Arc::new(state.clone()));
    slice::build(&index, &node.parse().unwrap(), Version { incarnation: 1, revision: 1 }, None).unwrap()
}

proptest! {
    /// What a node decides for itself from its slice is what the management node decided, and what the other end decides.
    #[test]
    fn node_management_and_peer_agree(admins in [0..3_u8, 0..3, 0..3, 0..3], encrypted: bool, policy in 0..8_u8) {
        let state = state(admins, encrypted, policy);
        let mut all = BTreeMap::new();
        for (n, (name, third)) in (1..).zip(NODES.into_iter().zip(admins)) {
            let slice = slice_of(&state, name);
            let own = Own {
                admin: format!("10.{third}.0.{n}").parse().ok(),
                external: format!("198.51.100.{n}").parse().ok(),
            };
            let paths = decide_all(&slice, own);
            prop_assert_eq!(disagreements(&slice, &paths), Vec::new());
            for (key, network) in &slice.networks {
                for (peer, theirs) in &network.members {
                    prop_assert_eq!(paths[key][peer].path, *theirs);
                    all.insert((slice.node.clone(), peer.clone()), *theirs);
                }
            }
        }
        prop_assert_eq!(all.len(), 12);
        for ((from, to), path) in &all {
            prop_assert_eq!(all[&(to.clone(), from.clone())], *path);
            let same = from.as_str()[..1] == to.as_str()[..1];
            prop_assert!(same || *path != Path::Plain || policy == 4, "{from} to {to} is plain");
        }
    }

    /// Whatever a slice says of a pair, the node is never less strict than its own reading, and says so where they differ.
    #[test]
    fn a_slice_that_lies_opens_nothing(lies in prop::collection::vec(0..3_u8, 3), which in 0..4_usize) {
        let state = state([0, 0, 1, 1], false, 3);
        let mut slice = slice_of(&state, NODES[which]);
        let own = Own { admin: format!("10.{}.0.{}", which / 2, which + 1).parse().ok(), external: None };
        let honest = decide_all(&slice, own);
        for (told, lie) in slice.networks.values_mut().flat_map(|n| n.members.values_mut()).zip(lies) {
            *told = [Path::Plain, Path::Tunnel, Path::Forbidden][usize::from(lie)];
        }
        let paths = decide_all(&slice, own);
        let found = disagreements(&slice, &paths);
        for (key, network) in &slice.networks {
            for (peer, told) in &network.members {
                let (ours, counts) = (honest[key][peer].path, paths[key][peer].path);
                prop_assert_eq!(counts, ours.max(*told));
                let word = format!("'{peer}'");
                prop_assert_eq!(found.iter().any(|f| f.what.contains(&word)), ours != *told, "{:?}", found);
            }
        }
    }
}

#[test]
fn a_disagreement_names_both_answers_and_the_one_that_counts() {
    // The golden slice says that a node of another PDC is reached in clear, and that one of this PDC is not reached.
    let slice = golden_slice("suppress", json!({}));
    let found = disagreements(&slice, &decide_all(&slice, local().own()));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].what.contains("'shut'") && found[1].what.contains("less strictly"), "{}", found[1].what);
    assert_eq!(
        (found[0].code.as_str(), found[0].what.as_str()),
        (
            "M0413",
            "path to 'far' in default/10: the management node says plain, this node says tunnel (different PDCs); \
             the stricter counts: tunnel"
        )
    );
    let mut files = slice;
    files.version.incarnation = 0;
    assert_eq!(disagreements(&files, &decide_all(&files, local().own())), [], "table files have no second decider");
}
