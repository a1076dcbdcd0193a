//! An established session: what goes through, what the wire sees, what a session's ends are.

use super::world::*;
use crate::tunnel::limits::{REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES};
use crate::tunnel::{DropReason, Event, HEADROOM, Seal, Suite};
use crate::types::PeerSlot;

#[test]
fn a_payload_starts_the_handshake_waits_for_it_and_arrives() {
    let mut world = World::new();
    assert_eq!(world.a.seal(b"first", world.now), Err(Seal::Queued));
    assert_eq!(world.a.seal(b"second", world.now), Err(Seal::Queued));
    assert_eq!(world.a.tunnels.poll_timeout(), Some(world.now), "the initiation is due at once");
    world.settle();
    assert_eq!(world.b.got, [padded(b"first"), padded(b"second")]);
    assert_eq!(world.captured.iter().map(|p| p.datagram.len()).collect::<Vec<_>>(), [148, 92, 48, 48]);
    assert_eq!(world.a.events(), [Event::Up { peer: PEER }]);
    assert_eq!(world.b.events(), [Event::Up { peer: PEER }]);
}

#[test]
fn both_directions_work_in_each_suite_with_and_without_a_psk() {
    for suite in [Suite::Chacha, Suite::Aesgcm] {
        for byte in [0, 7] {
            let set = |c| crate::tunnel::PeerConfig { suite, ..psk(byte)(c) };
            let mut world = World::with(set, set);
            world.say_a(&[1; 1400]);
            world.settle();
            world.say_b(&[2; 60]);
            world.say_a(&[3; 61]);
            assert_eq!(world.b.got, [padded(&[1; 1400]), padded(&[3; 61])]);
            assert_eq!(world.a.got, [padded(&[2; 60])]);
        }
    }
}

#[test]
fn the_data_message_is_wireguards() {
    let mut world = World::up();
    let sent = world.a.seal(&[7; 20], world.now).unwrap();
    assert_eq!(sent.to, address(2));
    assert_eq!(sent.datagram.len(), 16 + 32 + 16, "20 bytes are padded to 32");
    assert_eq!(sent.datagram[..4], [4, 0, 0, 0]);
    assert_eq!(sent.datagram[8..16], 1_u64.to_le_bytes(), "the second message of the session");
    assert!(!sent.datagram.windows(8).any(|w| w == [7; 8]), "nothing of it is in clear");
}

#[test]
fn padding_ends_where_the_buffer_does() {
    let mut world = World::up();
    for room in 0..16 {
        let mut buf = vec![0xee; HEADROOM + 20 + room + 16];
        buf[HEADROOM..HEADROOM + 20].fill(7);
        let sealed = world.a.tunnels.seal(PEER, &mut buf, 20, world.now);
        let len = HEADROOM + (20 + room).min(32) + 16;
        assert_eq!(sealed, Seal::Ready { len, to: address(2) });
        world.b.take(address(1), &buf[..len], world.now, world.wall).unwrap();
        let mut payload = vec![7; 20];
        payload.resize((20 + room).min(32), 0);
        assert_eq!(world.b.got.pop().unwrap(), payload, "and is zero, whatever the buffer held");
    }
    let mut small = [0; HEADROOM + 20 + 15];
    assert_eq!(world.a.tunnels.seal(PEER, &mut small, 20, world.now), Seal::Dropped(DropReason::NoRoom));
    assert_eq!(world.a.tunnels.seal(PEER, &mut [], 0, world.now), Seal::Dropped(DropReason::NoRoom));
}

#[test]
fn any_payload_goes_through_whatever_its_first_byte() {
    let mut world = World::up();
    for first in [0x00, 0x08, 0x45, 0x60, 0xff] {
        world.say_a(&[first; 64]);
        assert_eq!(world.b.got.pop().unwrap(), [first; 64]);
    }
}

#[test]
fn the_counter_has_64_bits_and_its_limits_hold() {
    let mut world = World::up();
    let skip = |world: &mut World, counter| {
        world.a.tunnels.peer_mut(PEER).sessions.skip_to(counter);
    };
    world.pass_secs(6);
    skip(&mut world, REKEY_AFTER_MESSAGES - 2);
    world.say_a(b"last before");
    assert!(world.sent().is_empty(), "not yet time for new keys");
    world.say_a(b"one past");
    assert_eq!(world.sent().len(), 1, "a new handshake, though the keys are seconds old");
    skip(&mut world, REJECT_AFTER_MESSAGES - 1);
    world.say_a(b"the very last");
    assert_eq!(world.b.got.last().unwrap(), &padded(b"the very last"));
    assert_eq!(world.a.seal(b"one too many", world.now), Err(Seal::Queued));
}

#[test]
fn a_counter_past_the_limit_is_refused() {
    let mut world = World::up();
    let mut sent = world.a.seal(b"x", world.now).unwrap().datagram;
    sent[8..16].copy_from_slice(&REJECT_AFTER_MESSAGES.to_le_bytes());
    assert_eq!(world.b.take(address(1), &sent, world.now, world.wall), Err(DropReason::CounterLimit));
}

#[test]
fn session_indices_are_random() {
    let mut seen = std::collections::BTreeSet::new();
    let mut world = World::up();
    for _ in 0..20 {
        world.say_a(b"x");
        world.live(std::time::Duration::from_secs(125));
    }
    for packet in world.captured.iter().filter(|p| p.datagram[0] == 1 || p.datagram[0] == 2) {
        seen.insert(u32::from_le_bytes(packet.datagram[4..8].try_into().unwrap()));
    }
    assert!(seen.len() > 20, "{}", seen.len());
    let near = seen.iter().zip(seen.iter().skip(1)).filter(|(a, b)| **b - **a < 1 << 16).count();
    assert_eq!(near, 0, "no two in sequence, no two in one block");
}

#[test]
fn an_unknown_slot_is_refused() {
    let mut world = World::up();
    for slot in [0, 4, u16::MAX] {
        let mut buf = [0; 128];
        let sealed = world.a.tunnels.seal(PeerSlot(slot), &mut buf, 16, world.now);
        assert_eq!(sealed, Seal::Dropped(DropReason::NoPeer));
    }
}

#[test]
fn the_peer_is_followed_by_any_authentic_packet() {
    let mut world = World::up();
    let sent = world.a.seal(b"from elsewhere", world.now).unwrap();
    world.b.take(address(9), &sent.datagram, world.now, world.wall).unwrap();
    assert_eq!(world.b.status(world.now).endpoint, Some(address(9)));
    assert_eq!(world.b.seal(b"x", world.now).unwrap().to, address(9));
    let moved = Event::EndpointMoved { peer: PEER, from: Some(address(1)), to: address(9) };
    assert_eq!(world.b.events().last(), Some(&moved));
}

#[test]
fn a_late_packet_does_not_move_the_peer_back() {
    let mut world = World::up();
    let late = world.a.seal(b"late", world.now).unwrap().datagram;
    let early = world.a.seal(b"early", world.now).unwrap().datagram;
    world.b.take(address(9), &early, world.now, world.wall).unwrap();
    world.b.take(address(1), &late, world.now, world.wall).unwrap();
    assert_eq!(world.b.got.len(), 2);
    assert_eq!(world.b.status(world.now).endpoint, Some(address(9)));
}

#[test]
fn a_flapping_endpoint_is_reported_once_a_second() {
    let mut world = World::up();
    for i in 0..100 {
        let sent = world.a.seal(b"x", world.now).unwrap().datagram;
        world.b.take(address(10 + i % 2), &sent, world.now, world.wall).unwrap();
    }
    let moves = world.b.events().iter().filter(|e| matches!(e, Event::EndpointMoved { .. })).count();
    assert_eq!(moves, 1);
}

#[test]
fn a_persistent_keepalive_keeps_the_session_fresh_without_data() {
    let every = |c| crate::tunnel::PeerConfig { keepalive: Some(std::time::Duration::from_secs(25)), ..c };
    let mut world = World::with(every, same);
    world.settle();
    assert!(world.a.status(world.now).up, "it is called at once");
    let before = world.a.counters().keepalives_sent;
    world.live(std::time::Duration::from_secs(1_000));
    let sent = world.a.counters().keepalives_sent - before;
    assert!((38..=60).contains(&sent), "{sent} keepalives in 1000 s");
    assert!(world.a.status(world.now).up && world.b.status(world.now).up);
}
