use std::sync::Arc;

use super::*;
use crate::mgmt::state::State;
use crate::mgmt::{fixture, psk, slice};
use crate::types::{SecretKey, Version};

fn name(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn key(byte: u8) -> PublicKey {
    PublicKey([byte; 32])
}

fn index(state: &State) -> Index {
    Index::new(Arc::new(state.clone()))
}

fn node<'a>(index: &'a Index, text: &str) -> &'a Node {
    &index.state.nodes[&name(text)]
}

/// Proposes with both keys proved; the one edit that follows.
fn proposed(state: &State, of: &str, new: PublicKey) -> Edit {
    changed(propose(&index(state), node(&index(state), of), new, true, Wall::default()))
}

fn switched(state: &State, of: &str, new: PublicKey, now: Wall) -> Edit {
    changed(switch(&index(state), node(&index(state), of), new, true, now))
}

fn changed(outcome: Result<Outcome, RotationError>) -> Edit {
    let Ok(Outcome::Change(edit)) = outcome else { panic!("{outcome:?}") };
    *edit
}

#[test]
fn both_keys_hold_from_the_proposal_to_the_switch_with_a_psk_for_every_pair() {
    let secret = SecretKey::from_bytes([1; 32]);
    let mut state = fixture::mesh();
    let made =
        |state: &State, of: &str| slice::build(&index(state), &name(of), Version::default(), Some(&secret)).unwrap();
    let asked = ask(&index(&state), node(&index(&state), "a-1")).unwrap();
    state = state.after(&[asked]);
    assert!(made(&state, "a-1").keys.unwrap().replace);
    assert!(made(&state, "b-1").peers[&name("a-1")].changing.is_empty(), "nobody else learns of it");

    state = state.after(&[proposed(&state, "a-1", key(77))]);
    let keys = made(&state, "a-1").keys.unwrap();
    assert_eq!((keys.current, keys.next, keys.replace), (key(1), Some(key(77)), false));
    let peer = made(&state, "b-1").peers[&name("a-1")].clone();
    assert_eq!(peer.public_key, Some(key(1)));
    assert_eq!(peer.changing.len(), 1);
    let pair = &peer.changing[0];
    assert_eq!((pair.own, pair.remote), (key(3), key(77)));
    assert!(pair.psk == Some(psk::of_pair(&secret, (&name("b-1"), &key(3)), (&name("a-1"), &key(77)))));
    let mine = &made(&state, "a-1").peers[&name("b-1")].changing[0];
    assert_eq!((mine.own, mine.remote), (key(77), key(3)));
    assert!(mine.psk == pair.psk);

    // Both ends change at the same time: the newest pair comes first.
    let both = state.after(&[proposed(&state, "b-1", key(88))]);
    let pairs: Vec<_> = made(&both, "a-1").peers[&name("b-1")].changing.iter().map(|p| (p.own, p.remote)).collect();
    assert_eq!(pairs, [(key(77), key(88)), (key(77), key(3)), (key(1), key(88))]);

    state = state.after(&[switched(&state, "a-1", key(77), Wall::from_secs(5))]);
    let peer = made(&state, "b-1").peers[&name("a-1")].clone();
    assert_eq!((peer.public_key, peer.changing.len()), (Some(key(77)), 0), "the old one is gone");
    assert!(peer.psk == Some(psk::of_pair(&secret, (&name("b-1"), &key(3)), (&name("a-1"), &key(77)))));
}

#[test]
fn each_step_can_be_said_again() {
    let mut state = fixture::mesh();
    let again = |state: &State| propose(&index(state), node(&index(state), "a-1"), key(77), false, Wall::default());
    let switch = |state: &State, key| switch(&index(state), node(&index(state), "a-1"), key, false, Wall::default());
    state = state.after(&[proposed(&state, "a-1", key(77))]);
    assert_eq!(again(&state), Ok(Outcome::Known));
    assert_eq!(switch(&state, key(78)), Ok(Outcome::Known), "that is another key");
    state = state.after(&[switched(&state, "a-1", key(77), Wall::default())]);
    assert_eq!(again(&state), Ok(Outcome::Known));
    assert_eq!(switch(&state, key(77)), Ok(Outcome::Known));
}

/// {report of a next key, switch to it} x {nobody's, in force, next, in quarantine, declared, taken back, no key} x {proved, not}.
#[test]
fn who_does_not_prove_is_refused_alone_and_two_who_prove_are_quarantined_both() {
    use crate::api::objects::ForeignSpec;
    let mut mesh = fixture::mesh();
    let mut put = |name: &str, change: &dyn Fn(&mut Node)| {
        let mut node =
            mesh.nodes.get(&self::name(name)).map_or_else(|| fixture::node(name, "b"), |n| n.as_ref().clone());
        change(&mut node);
        mesh.put(Any::Node(node));
    };
    put("a-2", &|node| node.status.next_public_key = Some(key(92)));
    put("b-2", &|node| node.status.quarantined = Some(Wall::from_secs(1)));
    put("b-1", &|node| node.status.revoked = vec![key(93).to_string()]);
    let tunnel_address = "100.64.9.9".parse().unwrap();
    put("box", &|n| n.spec.foreign = Some(ForeignSpec { public_key: key(94), endpoint: None, tunnel_address }));
    let kinds = [
        ("nobody's", 77, Some(None)),
        ("in force", 2, Some(Some("a-2"))),
        ("next", 92, Some(Some("a-2"))),
        ("in quarantine", 4, Some(Some("b-2"))),
        ("taken back", 93, None),
        ("declared", 94, None),
        ("no key", 0, None),
    ];
    for (what, theirs, expected) in kinds {
        for door in ["report", "switch"] {
            let mut state = mesh.clone();
            if door == "switch" {
                let mut liar = state.nodes[&name("a-1")].as_ref().clone();
                liar.status.next_public_key = Some(key(theirs));
                state.put(Any::Node(liar));
            }
            let says = |proved| match door {
                "report" => {
                    propose(&index(&state), node(&index(&state), "a-1"), key(theirs), proved, Wall::from_secs(9))
                }
                _ => switch(&index(&state), node(&index(&state), "a-1"), key(theirs), proved, Wall::from_secs(9)),
            };
            assert!(matches!(says(false), Err(RotationError::Key { .. })), "{what}, {door}, unproved");
            match (says(true), expected) {
                (Ok(Outcome::Change(_)), Some(None)) | (Err(RotationError::Key { .. }), None) => {}
                (Ok(Outcome::Clash { edits, other }), Some(Some(victim))) => {
                    assert_eq!(other, name(victim), "{what}, {door}");
                    let after = state.after(&edits);
                    let out = |of: &str| after.nodes[&name(of)].status.quarantined.is_some();
                    assert!(out("a-1") && out(victim), "{what}, {door}");
                }
                (outcome, _) => panic!("{what}, {door}: {outcome:?}"),
            }
        }
    }
}

#[test]
fn a_node_whose_tunnels_end_at_a_foreign_peer_keeps_its_key() {
    let mut state = fixture::mesh();
    let mut foreign = fixture::node("f-1", "b");
    foreign.spec.foreign = Some(crate::api::objects::ForeignSpec {
        public_key: key(60),
        endpoint: None,
        tunnel_address: "100.64.1.1".parse().unwrap(),
    });
    state.put(Any::Node(foreign));
    state.put(Any::Port(fixture::port("guest-f-1", "blue", "f-1", 60, "192.168.10.60")));
    let index = index(&state);
    let refused = RotationError::Foreign { node: name("a-1"), peer: name("f-1") };
    assert_eq!(ask(&index, node(&index, "a-1")), Err(refused));
    assert_eq!(ask(&index, node(&index, "f-1")), Err(RotationError::NotJoined(name("f-1"))));
    assert!(due(&index, Duration::ZERO, Wall::from_secs(1 << 33)).is_empty());
    let month = Duration::from_secs(30 * 86_400);
    let at = |days: u64| Wall::from_secs(1_000 + days * 86_400);
    assert!(stuck(&index, month, at(29)).is_empty(), "its time has not come");
    let told = stuck(&index, month, at(45));
    assert_eq!(told.len(), 4, "each node with a tunnel to it, and not that peer itself: {told:?}");
    assert!(told[0].what.starts_with("the WireGuard key of node a-1 is 45 days old"), "{told:?}");
    assert!(told[0].what.contains("foreign peer f-1"), "{told:?}");
    assert!(stuck(&tests::index(&fixture::mesh()), month, at(45)).is_empty(), "these can change theirs");
}

#[test]
fn the_schedule_asks_for_keys_that_are_old_enough_and_not_twice() {
    let mut state = fixture::mesh();
    let month = Duration::from_secs(30 * 86_400);
    let joined = 1_000;
    assert!(due(&index(&state), month, Wall::from_secs(joined + 30 * 86_400 - 1)).is_empty());
    let now = Wall::from_secs(joined + 30 * 86_400);
    assert_eq!(due(&index(&state), month, now).len(), 4);
    let asked = ask(&index(&state), node(&index(&state), "a-1")).unwrap();
    state = state.after(&[asked]);
    assert_eq!(due(&index(&state), month, now).len(), 3);
    state = state.after(&[proposed(&state, "a-1", key(77))]);
    state = state.after(&[switched(&state, "a-1", key(77), now)]);
    assert_eq!(due(&index(&state), month, now).len(), 3, "its age counts from the switch");
}
