use super::*;
use crate::api::objects::ForeignSpec;
use crate::mgmt::{fixture, validate};

fn name(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn key(byte: u8) -> PublicKey {
    PublicKey([byte; 32])
}

fn changed(state: &State, of: &str, change: impl FnOnce(&mut Node)) -> Edit {
    let before = state.nodes[&name(of)].as_ref().clone();
    let mut after = before.clone();
    change(&mut after);
    Edit::update(Any::Node(before), Any::Node(after))
}

/// The operator's door: a foreign peer's key beside every kind of key that a node can have.
#[test]
fn an_operator_declares_no_key_that_a_node_has_had_or_is_to_have() {
    let mut state = fixture::mesh();
    for edit in [
        changed(&state, "a-1", |node| node.status.next_public_key = Some(key(91))),
        changed(&state, "a-2", |node| node.status.quarantined = Some(Wall::from_secs(1))),
        changed(&state, "b-1", |node| node.status.revoked = vec![key(93).to_string()]),
    ] {
        state = state.after(&[edit]);
    }
    for (what, theirs, code) in [
        ("in force", 1, Some("M0325")),
        ("next", 91, Some("M0325")),
        ("in quarantine", 2, Some("M0325")),
        ("taken back", 93, Some("M0325")),
        ("no key", 0, Some("M0283")),
        ("nobody's", 77, None),
    ] {
        let mut node = fixture::node("box", "b");
        let tunnel_address = "100.64.9.9".parse().unwrap();
        node.spec.foreign = Some(ForeignSpec { public_key: key(theirs), endpoint: None, tunnel_address });
        let judged = validate::check(&state, &[Edit::create(Any::Node(node))]).map_err(|problem| problem.code);
        assert_eq!(judged.err().as_deref(), code, "{what}");
    }
}

#[test]
fn a_reset_takes_all_keys_and_leaves_the_place() {
    let mut state = fixture::mesh();
    state = state.after(&[changed(&state, "a-1", |node| {
        node.status.next_public_key = Some(key(91));
        node.status.next_tls_key = Some("b".repeat(64));
    })]);
    let before = state.nodes[&name("a-1")].as_ref().clone();
    let edit = reset(&before, "t1", Wall::from_secs(9)).unwrap();
    let after = validate::check(&state, &[edit]).unwrap();
    let node = after.nodes[&name("a-1")].as_ref();
    assert_eq!(node.spec, before.spec);
    assert_eq!(node.status.tunnel_address, before.status.tunnel_address);
    assert_eq!((of(node).count(), node.status.tls_key.as_ref()), (0, None));
    for dead in [key(1).to_string(), key(91).to_string(), "b".repeat(64), before.status.tls_key.unwrap()] {
        assert!(is_revoked(node, &dead), "{dead}");
    }
    assert_eq!(reset(node, "t2", Wall::from_secs(10)).map(|_| ()), Ok(()), "a token that ended is replaced");
    assert!(reset(&fixture::node("new", "a"), "t1", Wall::default()).is_err(), "nothing has joined as it");
    let (why, _) = why_quarantined(&after, node).unwrap();
    assert!(why.contains("was reset") && held(&after, node).is_some(), "{why}");
}

#[test]
fn what_is_remembered_of_taken_keys_has_a_bound() {
    let mut node = fixture::joined("a-1", "a", "10.0.0.1", "198.51.0.1", 1);
    for n in 0..100_u8 {
        node.status.public_key = Some(key(n));
        node.status.tls_key = Some(format!("{n:064}"));
        let Some(Any::Node(reset)) = reset(&node, "t", Wall::default()).unwrap().after else { panic!() };
        node = reset;
    }
    assert_eq!(node.status.revoked.len(), REVOKED_MAX);
    assert!(is_revoked(&node, &key(99).to_string()), "the newest stay");
}

#[test]
fn nobody_is_released_beside_another_who_has_its_key() {
    let mut state = fixture::mesh();
    for of in ["a-1", "a-2"] {
        state = state.after(&[changed(&state, of, |node| {
            node.status.public_key = Some(key(7));
            node.status.quarantined = Some(Wall::from_secs(1));
        })]);
    }
    assert!(held(&state, &state.nodes[&name("a-1")]).is_some());
    let release = |state: &State| changed(state, "a-1", |node| node.status.quarantined = None);
    assert_eq!(validate::check(&state, &[release(&state)]).unwrap_err().code, "M0325");
    state.remove(crate::api::objects::Kind::Node, "a-2");
    assert!(held(&state, &state.nodes[&name("a-1")]).is_none());
}
