//! Peers that come, go and change.

use std::time::Duration;

use super::world::*;
use crate::tunnel::{DropReason, Event, PeerConfig, Refusal, Seal, Suite};
use crate::types::{PeerSlot, PublicKey};

#[test]
fn a_removed_peer_is_refused_at_once_in_both_directions() {
    let mut world = World::up();
    let sealed = world.a.seal(b"too late", world.now).unwrap().datagram;
    world.b.tunnels.set_peers(Vec::new(), world.now);
    assert_eq!(world.b.take(address(1), &sealed, world.now, world.wall), Err(DropReason::UnknownIndex));
    assert_eq!(world.b.seal(b"x", world.now), Err(Seal::Dropped(DropReason::NoPeer)));
    assert_eq!(world.b.tunnels.indices_used(), 0);
    assert_eq!(world.b.events().last(), Some(&Event::Down { peer: PEER }));
    world.pass_secs(121);
    let _ = world.a.seal(b"x", world.now);
    world.settle();
    assert_eq!(world.b.tunnels.status(PEER, world.now), None);
    assert!(world.b.drops(DropReason::UnknownIndex) + world.b.drops(DropReason::UnknownPeer) >= 2);
    assert_eq!(world.b.tunnels.poll_timeout(), None);
}

#[test]
fn a_removed_peer_takes_what_waited_for_it_along() {
    let mut world = World::new();
    let _ = world.a.seal(b"x", world.now);
    world.a.tunnels.set_peers(Vec::new(), world.now);
    assert!(world.sent().is_empty());
    assert_eq!(world.a.drops(DropReason::StagedGivenUp), 1);
}

#[test]
fn another_key_in_the_same_slot_is_another_peer() {
    let mut world = World::up();
    let sealed = world.a.seal(b"x", world.now).unwrap().datagram;
    world.b.tunnels.set_peers(vec![config(9)], world.now);
    assert_eq!(world.b.take(address(1), &sealed, world.now, world.wall), Err(DropReason::UnknownIndex));
    assert_eq!(world.b.seal(b"x", world.now), Err(Seal::Queued));
    let call = world.sent();
    assert_eq!(call[0].to, address(9));
}

#[test]
fn a_key_may_change_its_slot() {
    let mut world = World::up();
    let elsewhere = PeerConfig { slot: PeerSlot(8), ..config(1) };
    world.b.tunnels.set_peers(vec![elsewhere, PeerConfig { slot: PEER, ..config(9) }], world.now);
    let status = world.b.tunnels.status(PeerSlot(8), world.now).unwrap();
    assert!(!status.up, "a slot is for life, so this is another peer with the same key");
    world.pass_secs(6);
    world.a.tunnels.set_peers(vec![psk(1)(config(2))], world.now);
    world.b.tunnels.set_peers(vec![PeerConfig { slot: PeerSlot(8), ..psk(1)(config(1)) }], world.now);
    world.settle();
    assert!(world.b.tunnels.status(PeerSlot(8), world.now).unwrap().up);
}

#[test]
fn the_same_configuration_again_changes_nothing() {
    let mut world = World::up();
    let sealed = world.a.seal(b"x", world.now).unwrap().datagram;
    world.b.take(address(9), &sealed, world.now, world.wall).unwrap();
    for end in [&mut world.a, &mut world.b] {
        let other = if end.byte == 1 { 2 } else { 1 };
        let newcomer = PeerConfig { slot: PeerSlot(1), ..config(50) };
        end.tunnels.set_peers(vec![config(other), newcomer], world.now);
    }
    assert!(world.sent().is_empty());
    assert_eq!(world.b.status(world.now).endpoint, Some(address(9)), "a move is not undone");
    world.b.tunnels.set_peers(vec![PeerConfig { endpoint: Some(address(5)), ..config(1) }], world.now);
    assert_eq!(world.b.status(world.now).endpoint, Some(address(5)), "but a new statement counts");
    world.say_a(b"still here");
    assert_eq!(world.b.got.last().unwrap(), &padded(b"still here"));
}

#[test]
fn another_psk_ends_the_session_and_makes_a_new_one_at_once() {
    let mut world = World::up();
    let old = world.a.seal(b"old", world.now).unwrap().datagram;
    world.pass_secs(1);
    world.a.tunnels.set_peers(vec![psk(4)(config(2))], world.now);
    world.b.tunnels.set_peers(vec![psk(4)(config(1))], world.now);
    assert_eq!(world.b.take(address(1), &old, world.now, world.wall), Err(DropReason::UnknownIndex));
    assert!(!world.a.status(world.now).up && !world.b.status(world.now).up);
    world.settle();
    assert!(world.a.status(world.now).up && world.b.status(world.now).up);
    world.say_a(b"new");
    world.say_b(b"new");
    assert_eq!(world.b.got, [padded(b"new")]);
    assert_eq!(world.a.got, [padded(b"new")]);
}

#[test]
fn another_suite_makes_a_new_session_and_loses_nothing_meanwhile() {
    let aesgcm = |c| PeerConfig { suite: Suite::Aesgcm, ..c };
    let mut world = World::up();
    let before = world.a.status(world.now).last_handshake;
    world.pass_secs(1);
    world.a.tunnels.set_peers(vec![aesgcm(config(2))], world.now);
    for _ in 0..2 {
        let sent = world.a.seal(b"one way", world.now).unwrap().datagram;
        world.b.take(address(1), &sent, world.now, world.wall).unwrap();
        let sent = world.b.seal(b"and back", world.now).unwrap().datagram;
        world.a.take(address(2), &sent, world.now, world.wall).unwrap();
        // First one end has changed, then both.
        world.b.tunnels.set_peers(vec![aesgcm(config(1))], world.now);
    }
    assert_eq!((world.a.got.len(), world.b.got.len()), (2, 2));
    world.settle();
    assert!(world.a.status(world.now).last_handshake > before, "a new handshake was made");
    world.say_a(b"new");
    world.say_b(b"new");
    assert_eq!((world.a.got.len(), world.b.got.len()), (3, 3));
}

#[test]
fn a_psk_that_reaches_one_end_later_heals_by_itself() {
    let mut world = World::up();
    world.a.tunnels.set_peers(vec![psk(4)(config(2))], world.now);
    world.live(Duration::from_secs(3));
    assert!(!world.a.status(world.now).up);
    world.b.tunnels.set_peers(vec![psk(4)(config(1))], world.now);
    world.live(Duration::from_secs(1));
    assert!(world.a.status(world.now).up && world.b.status(world.now).up);
}

#[test]
fn unusable_peers_are_refused_by_name_and_the_others_work() {
    let mut world = World::strangers();
    let at = |slot, public_key| PeerConfig { slot: PeerSlot(slot), public_key, ..config(1) };
    world.b.tunnels.set_peers(
        vec![config(1), at(4, key(2)), at(5, PublicKey([0; 32])), at(6, key(1)), at(3, key(40)), at(7, key(41))],
        world.now,
    );
    let refused = |slot, why| Event::Refused { peer: PeerSlot(slot), why };
    assert_eq!(
        world.b.events(),
        [
            refused(4, Refusal::OwnKey),
            refused(5, Refusal::WeakKey),
            refused(6, Refusal::DuplicateKey),
            refused(3, Refusal::DuplicateSlot),
        ]
    );
    world.a.tunnels.set_peers(vec![config(2)], world.now);
    world.say_a(b"x");
    world.settle();
    assert_eq!(world.b.got, [padded(b"x")]);
    assert!(world.b.tunnels.status(PeerSlot(7), world.now).is_some());
}

#[test]
fn a_peer_without_an_endpoint_is_answered_when_it_calls() {
    let nowhere = |c| PeerConfig { endpoint: None, ..c };
    let mut world = World::with(same, nowhere);
    assert_eq!(world.b.seal(b"x", world.now), Err(Seal::Dropped(DropReason::NoEndpoint)));
    assert_eq!(world.b.tunnels.poll_timeout(), None);
    world.say_a(b"here I am");
    world.settle();
    world.say_b(b"welcome");
    assert_eq!(world.a.got, [padded(b"welcome")]);
}

#[test]
fn many_peers_do_not_mix() {
    let mut world = World::strangers();
    let mut ends: Vec<End> = (10..=250).map(|byte| End::new(byte, world.now)).collect();
    let peers = ends.iter().map(|end| PeerConfig { slot: PeerSlot(u16::from(end.byte)), ..config(end.byte) });
    world.b.tunnels.set_peers(peers.collect(), world.now);
    for end in &mut ends {
        end.tunnels.set_peers(vec![config(2)], world.now);
        let _ = end.seal(&[end.byte; 32], world.now);
        for _ in 0..2 {
            end.tunnels.handle_timeout(world.now, world.wall);
            while let Some(sent) = end.tunnels.poll_transmit() {
                let mut datagram = sent.datagram;
                let opened = world.b.tunnels.open(address(end.byte), &mut datagram, world.now, world.wall);
                if let crate::tunnel::Open::Payload { peer, payload } = opened {
                    assert_eq!(peer, PeerSlot(u16::from(end.byte)));
                    assert_eq!(payload, [end.byte; 32]);
                    end.got.push(Vec::new());
                }
            }
            while let Some(sent) = world.b.tunnels.poll_transmit() {
                end.take(address(2), &sent.datagram, world.now, world.wall).unwrap();
            }
        }
        assert_eq!(end.got.len(), 1);
    }
}

#[test]
fn what_waits_survives_another_psk() {
    let mut world = World::new();
    let _ = world.a.seal(b"patient", world.now);
    world.a.tunnels.set_peers(vec![psk(4)(config(2))], world.now);
    world.b.tunnels.set_peers(vec![psk(4)(config(1))], world.now);
    world.settle();
    assert_eq!(world.b.got, [padded(b"patient")]);
}

#[test]
fn a_peer_with_a_keepalive_is_called_as_soon_as_its_endpoint_is_known() {
    let every = |c| PeerConfig { keepalive: Some(Duration::from_secs(25)), ..c };
    let mut world = World::with(|c| every(PeerConfig { endpoint: None, ..c }), same);
    world.settle();
    assert!(world.captured.is_empty());
    world.a.tunnels.set_peers(vec![every(config(2))], world.now);
    world.settle();
    assert!(world.a.status(world.now).up);
}
