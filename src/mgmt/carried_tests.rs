use super::*;
use crate::mgmt::fixture;
use crate::mgmt::keys::{quarantine, reset, without_keys};
use crate::mgmt::state::Edit;

const NOW: Wall = Wall::from_secs(1_796_000_000);

/// Nodes of the usual mesh that have joined, each with a TLS key of its own.
fn nodes() -> Vec<Node> {
    let state = fixture::mesh();
    let joined = state.nodes.values().filter(|node| node.status.public_key.is_some());
    let with_tls = |(number, node): (usize, &std::sync::Arc<Node>)| {
        let mut node = Node::clone(node);
        node.status.tls_key = Some(format!("{number:064x}"));
        node
    };
    joined.enumerate().map(with_tls).collect()
}

fn entries(nodes: &[Node]) -> BTreeMap<String, Vec<u8>> {
    let one = |node: &Node| {
        (state::key(Kind::Node, &node.metadata.name.to_string()), state::encode(&Any::Node(node.clone())))
    };
    nodes.iter().map(one).collect()
}

fn put_back(before: &[Node], backup: &[Node]) -> Carried {
    let before = entries(before);
    let before = Before::of(before.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    carried(&before, &entries(backup), NOW)
}

fn edited(edit: Edit) -> Node {
    match edit.after {
        Some(Any::Node(node)) => node,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_backup_of_the_same_nodes_changes_nothing() {
    let nodes = nodes();
    assert!(nodes.len() > 1);
    assert_eq!(put_back(&nodes, &nodes), Carried::default());
    assert_eq!(put_back(&[], &nodes), Carried::default(), "a store that was lost says nothing of anybody");
    assert_eq!(Carried::default().told(), "");
}

#[test]
fn keys_that_were_taken_back_stay_worthless() {
    let backup = nodes();
    let name = backup[0].metadata.name.clone();
    let mut reset_there = backup.clone();
    reset_there[0] = edited(reset(&backup[0], "t1", NOW).unwrap());
    let mut replaced = backup.clone();
    replaced[0].status = NodeStatus { tls_key: Some("f".repeat(64)), ..without_keys(&backup[0].status) };
    let mut caught = backup.clone();
    caught[0] = edited(quarantine(&backup[0], NOW));
    // Its keys under another name.
    let mut renamed = reset_there.clone();
    renamed[0].metadata.name = "elsewhere".parse().unwrap();
    for before in [reset_there, replaced, caught, renamed] {
        let carried = put_back(&before, &backup);
        assert_eq!((&carried.caught, &carried.again), (&vec![name.clone()], &Vec::new()));
        let [(key, value)] = &carried.writes.into_iter().collect::<Vec<_>>()[..] else { panic!() };
        let written = node(key, value).unwrap();
        assert_eq!(written.status.quarantined, Some(NOW));
        assert_eq!(live(&written.status), live(&backup[0].status), "an operator may still release it");
    }
}

#[test]
fn who_was_deleted_is_named_and_who_was_in_quarantine_in_the_backup_is_no_news() {
    let mut backup = nodes();
    let carried = put_back(&backup[1..], &backup);
    assert_eq!((&carried.again, carried.writes.len()), (&vec![backup[0].metadata.name.clone()], 0));
    assert!(carried.told().contains(&format!("meshctl node reset {}", backup[0].metadata.name)));
    let before = backup.clone();
    backup[0] = edited(quarantine(&backup[0], NOW));
    assert_eq!(put_back(&before, &backup), Carried::default());
    assert_eq!(put_back(&backup, &backup), Carried::default());
}
