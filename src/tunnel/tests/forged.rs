//! What an attacker on the way can do: replay, forge, cut, and hand in garbage.

use proptest::prelude::*;

use super::world::*;
use crate::tunnel::{DropReason, Event, Seal};

/// A conversation with handshakes by both sides, a rekey, data and keepalives; the capture of all of it.
fn conversation() -> World {
    let mut world = World::up();
    for round in 0..20 {
        world.say_a(&[round; 50]);
        world.say_b(&[round; 500]);
        world.live(std::time::Duration::from_secs(15));
    }
    world
}

#[test]
fn no_captured_message_has_any_effect_a_second_time() {
    let mut world = conversation();
    let capture = world.captured.clone();
    assert!(capture.iter().filter(|p| p.datagram[0] == 1).count() >= 3, "there are handshakes among them");
    let (a, b) = (world.a.got.len(), world.b.got.len());
    let before = (world.a.status(world.now), world.b.status(world.now));
    for packet in &capture {
        assert!(world.deliver(packet).is_err(), "{:?}", packet.datagram);
    }
    assert_eq!((world.a.got.len(), world.b.got.len()), (a, b), "nothing is delivered twice");
    assert_eq!((world.a.status(world.now), world.b.status(world.now)), before);
    assert!(world.sent().is_empty(), "and nothing is answered");
}

#[test]
fn nothing_that_is_replayed_moves_the_endpoint() {
    let mut world = conversation();
    for packet in world.captured.clone() {
        let end = if packet.to == address(1) { &mut world.a } else { &mut world.b };
        assert!(end.take(address(66), &packet.datagram, world.now, world.wall).is_err());
    }
    assert_eq!(world.a.status(world.now).endpoint, Some(address(2)));
    assert_eq!(world.b.status(world.now).endpoint, Some(address(1)));
}

#[test]
fn an_initiation_replayed_after_a_restart_moves_nothing_and_yields_no_session() {
    let world = conversation();
    let initiation = world.captured.iter().rfind(|p| p.datagram[0] == 1 && p.to == address(2)).unwrap();
    let mut fresh = World::new();
    fresh.b.take(address(66), &initiation.datagram, fresh.now, fresh.wall).unwrap();
    let answer = fresh.sent();
    assert_eq!(answer[0].to, address(66), "it cannot know yet");
    assert_eq!(fresh.b.status(fresh.now).endpoint, Some(address(1)));
    assert!(!fresh.b.status(fresh.now).up);
    assert_eq!(fresh.b.seal(b"x", fresh.now), Err(Seal::Queued));
}

#[test]
fn any_flipped_bit_of_any_message_is_refused() {
    let mut world = World::new();
    let _ = world.a.seal(&[9; 40], world.now);
    for kind in [1, 2, 4] {
        let packet = world.sent().remove(0);
        assert_eq!(packet.datagram[0], kind);
        for bit in 0..packet.datagram.len() * 8 {
            let mut forged = packet.clone();
            forged.datagram[bit / 8] ^= 1 << (bit % 8);
            // Without load nobody looks at the second MAC.
            let second_mac = kind != 4 && bit / 8 >= packet.datagram.len() - 16;
            assert!(second_mac || world.deliver(&forged).is_err(), "message {kind}, bit {bit}");
        }
        world.deliver(&packet).unwrap();
    }
    assert_eq!(world.b.got, [padded(&[9; 40])]);
}

#[test]
fn a_message_cut_short_or_made_longer_is_refused() {
    let mut world = World::new();
    let _ = world.a.seal(&[9; 40], world.now);
    for _ in 0..3 {
        let packet = world.sent().remove(0);
        for len in 0..packet.datagram.len() {
            let cut = OnWire { datagram: packet.datagram[..len].to_vec(), ..packet.clone() };
            assert!(world.deliver(&cut).is_err());
        }
        let long = OnWire { datagram: [packet.datagram.clone(), vec![0]].concat(), ..packet.clone() };
        assert!(world.deliver(&long).is_err());
        world.deliver(&packet).unwrap();
    }
}

#[test]
fn the_reserved_bytes_are_zero() {
    let mut world = World::up();
    for at in 1..4 {
        let mut sealed = world.a.seal(b"x", world.now).unwrap().datagram;
        sealed[at] = 1;
        assert_eq!(world.b.take(address(1), &sealed, world.now, world.wall), Err(DropReason::Malformed));
    }
}

#[test]
fn a_forgery_with_a_far_counter_does_not_close_the_window() {
    let mut world = World::up();
    let true_one = world.a.seal(b"true", world.now).unwrap().datagram;
    let mut forged = true_one.clone();
    forged[8..16].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    assert_eq!(world.b.take(address(1), &forged, world.now, world.wall), Err(DropReason::DataForged));
    world.b.take(address(1), &true_one, world.now, world.wall).unwrap();
}

#[test]
fn data_with_every_reordering_inside_the_window_arrives_once() {
    let mut world = World::up();
    let mut sealed: Vec<_> = (0..9_000).map(|_| world.a.seal(b"x", world.now).unwrap().datagram).collect();
    sealed.reverse();
    let results: Vec<_> = sealed.iter().map(|s| world.b.take(address(1), s, world.now, world.wall)).collect();
    assert!(results[..8_192].iter().all(Result::is_ok));
    assert!(results[8_192..].iter().all(|r| *r == Err(DropReason::Replayed)));
}

#[test]
fn another_psk_gives_no_session_and_no_data() {
    let mut world = World::with(psk(1), psk(2));
    let _ = world.a.seal(b"x", world.now);
    world.live(std::time::Duration::from_secs(30));
    assert!(world.b.got.is_empty());
    assert!(world.a.drops(DropReason::HandshakeForged) >= 5);
    assert!(!world.a.status(world.now).up && !world.b.status(world.now).up);
    assert!(world.a.events().is_empty() && world.b.events().is_empty());
}

#[test]
fn a_peer_in_another_suite_is_refused_by_name() {
    let set = |suite| move |c| crate::tunnel::PeerConfig { suite, ..c };
    let mut world = World::with(set(crate::tunnel::Suite::Aesgcm), same);
    let _ = world.a.seal(b"x", world.now);
    world.settle();
    assert_eq!(world.b.drops(DropReason::HandshakeForged), 1, "b has no peer in that suite, so it does not try it");
    let other =
        crate::tunnel::PeerConfig { slot: crate::types::PeerSlot(5), suite: crate::tunnel::Suite::Aesgcm, ..config(9) };
    world.b.tunnels.set_peers(vec![config(1), other], world.now);
    world.live(std::time::Duration::from_secs(6));
    assert_eq!(world.b.drops(DropReason::WrongSuite), 1, "now it does, and knows who errs");
    assert!(!world.b.status(world.now).up);
}

#[test]
fn a_stranger_is_refused() {
    let mut world = World::new();
    let mut stranger = End::new(7, world.now);
    stranger.tunnels.set_peers(vec![config(2)], world.now);
    let _ = stranger.seal(b"let me in", world.now);
    stranger.tunnels.handle_timeout(world.now, world.wall);
    let knock = stranger.tunnels.poll_transmit().unwrap().datagram;
    assert_eq!(world.b.take(address(7), &knock, world.now, world.wall), Err(DropReason::UnknownPeer));
    assert!(world.sent().is_empty(), "silence is a virtue");
}

#[test]
fn a_clock_that_goes_back_does_not_lock_a_peer_out() {
    let mut world = World::up();
    world.wall = crate::types::Wall::from_secs(1_000);
    world.live(std::time::Duration::from_secs(121));
    world.say_a(b"x");
    world.settle();
    assert_eq!(world.b.status(world.now).last_handshake, Some(world.now));
    assert_eq!(world.b.drops(DropReason::StaleTimestamp), 0);
}

#[test]
fn a_cookie_reply_that_nobody_asked_for_is_refused() {
    let mut world = World::new();
    let _ = world.a.seal(b"x", world.now);
    let initiation = world.sent().remove(0);
    let mut forged = vec![0; 64];
    forged[0] = 3;
    forged[4..8].copy_from_slice(&initiation.datagram[4..8]);
    assert_eq!(world.a.take(address(2), &forged, world.now, world.wall), Err(DropReason::WrongCookie));
    forged[4] ^= 1;
    assert_eq!(world.a.take(address(2), &forged, world.now, world.wall), Err(DropReason::UnknownIndex));
}

proptest! {
    #[test]
    fn garbage_is_refused_and_changes_nothing(
        kind in 0_u8..6,
        length in prop_oneof![Just(148_usize), Just(92), Just(64), Just(32), Just(48), 0_usize..300],
        seed in any::<u64>(),
        index in any::<bool>(),
    ) {
        let mut world = World::up();
        let mut garbage = vec![0; length];
        crate::tunnel::Random::fill(&mut Dice::new(seed), &mut garbage);
        if length >= 8 {
            garbage[..4].copy_from_slice(&[kind, 0, 0, 0]);
            if index {
                // The index of b's session, as everybody on the way has seen it.
                let seen = world.captured.last().unwrap().datagram[4..8].to_vec();
                garbage[4..8].copy_from_slice(&seen);
            }
        }
        let before = world.b.status(world.now);
        prop_assert!(world.b.take(address(66), &garbage, world.now, world.wall).is_err());
        prop_assert_eq!(world.b.status(world.now), before);
        prop_assert!(world.sent().is_empty());
        world.say_a(b"still here");
        prop_assert_eq!(world.b.got.last().unwrap(), &padded(b"still here"));
        prop_assert_eq!(world.b.events(), &[Event::Up { peer: PEER }]);
    }
}
