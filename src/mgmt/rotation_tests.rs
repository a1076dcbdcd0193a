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

    let proposed = propose(&index(&state), node(&index(&state), "a-1"), key(77)).unwrap().unwrap();
    state = state.after(&[proposed]);
    let keys = made(&state, "a-1").keys.unwrap();
    assert_eq!((keys.current, keys.next, keys.replace), (key(1), Some(key(77)), false));
    let peer = made(&state, "b-1").peers[&name("a-1")].clone();
    assert_eq!(peer.public_key, Some(key(1)));
    assert_eq!(peer.changing.len(), 1);
    let pair = &peer.changing[0];
    assert_eq!((pair.own, pair.remote), (key(3), key(77)));
    assert!(pair.psk == Some(psk::of_pair(&secret, &key(3), &key(77))));
    let mine = &made(&state, "a-1").peers[&name("b-1")].changing[0];
    assert_eq!((mine.own, mine.remote), (key(77), key(3)));
    assert!(mine.psk == pair.psk);

    // Both ends change at the same time: the newest pair comes first.
    let too = propose(&index(&state), node(&index(&state), "b-1"), key(88)).unwrap().unwrap();
    let both = state.after(&[too]);
    let pairs: Vec<_> = made(&both, "a-1").peers[&name("b-1")].changing.iter().map(|p| (p.own, p.remote)).collect();
    assert_eq!(pairs, [(key(77), key(88)), (key(77), key(3)), (key(1), key(88))]);

    let switched = switch(node(&index(&state), "a-1"), key(77), Wall::from_secs(5)).unwrap();
    state = state.after(&[switched]);
    let peer = made(&state, "b-1").peers[&name("a-1")].clone();
    assert_eq!((peer.public_key, peer.changing.len()), (Some(key(77)), 0), "the old one is gone");
    assert!(peer.psk == Some(psk::of_pair(&secret, &key(3), &key(77))));
}

#[test]
fn each_step_can_be_said_again() {
    let mut state = fixture::mesh();
    let first = propose(&index(&state), node(&index(&state), "a-1"), key(77)).unwrap().unwrap();
    state = state.after(&[first]);
    assert_eq!(propose(&index(&state), node(&index(&state), "a-1"), key(77)), Ok(None));
    assert!(switch(node(&index(&state), "a-1"), key(78), Wall::default()).is_none(), "that is another key");
    let switched = switch(node(&index(&state), "a-1"), key(77), Wall::default()).unwrap();
    state = state.after(&[switched]);
    assert_eq!(propose(&index(&state), node(&index(&state), "a-1"), key(77)), Ok(None));
    assert!(switch(node(&index(&state), "a-1"), key(77), Wall::default()).is_none());
}

#[test]
fn a_key_of_another_node_is_refused() {
    let state = fixture::mesh();
    for stolen in [2, 0] {
        let refused = propose(&index(&state), node(&index(&state), "a-1"), key(stolen));
        assert_eq!(refused, Err(RotationError::Taken(name("a-1"))));
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
    let proposed = propose(&index(&state), node(&index(&state), "a-1"), key(77)).unwrap().unwrap();
    state = state.after(&[proposed]);
    let switched = switch(node(&index(&state), "a-1"), key(77), now).unwrap();
    state = state.after(&[switched]);
    assert_eq!(due(&index(&state), month, now).len(), 3, "its age counts from the switch");
}
