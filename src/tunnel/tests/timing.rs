//! What happens by the passing of time alone.

use std::time::Duration;

use super::world::*;
use crate::tunnel::{DropReason, Event, PeerConfig, Seal};

const MS: Duration = Duration::from_millis(1);

fn kinds(lost: &[(crate::types::Mono, OnWire)]) -> Vec<u8> {
    lost.iter().map(|(_, packet)| packet.datagram[0]).collect()
}

#[test]
fn the_initiator_rekeys_after_120_s_when_it_sends() {
    let mut world = World::up();
    world.live(Duration::from_secs(119));
    world.say_a(b"x");
    assert!(world.sent().is_empty());
    world.pass_secs(1);
    world.say_a(b"x");
    let sent = world.sent();
    assert_eq!(sent.iter().map(|p| p.datagram[0]).collect::<Vec<_>>(), [1]);
    world.deliver(&sent[0]).unwrap();
    world.settle();
    assert_eq!(world.a.status(world.now).last_handshake, Some(world.now));
    assert_eq!(world.b.status(world.now).last_handshake, Some(world.now));
}

#[test]
fn the_responder_does_not_rekey_by_age() {
    let mut world = World::up();
    world.live(Duration::from_secs(150));
    world.say_b(b"x");
    assert_eq!(world.b.tunnels.poll_transmit(), None);
    world.sent();
    assert_eq!(world.b.counters().initiations_sent, 0);
}

#[test]
fn the_initiator_that_only_receives_rekeys_before_the_session_runs_out() {
    let mut world = World::up();
    world.live(Duration::from_millis(164_900));
    world.say_b(b"x");
    assert!(world.sent().is_empty());
    world.live(Duration::from_millis(100));
    world.say_b(b"x");
    assert_eq!(world.sent().iter().map(|p| p.datagram[0]).collect::<Vec<_>>(), [1]);
}

#[test]
fn traffic_of_an_hour_needs_thirty_handshakes_and_loses_nothing() {
    let mut world = World::up();
    let mut said = 0;
    while said < 3_600 {
        world.live(Duration::from_secs(1));
        world.say_a(&[1; 100]);
        world.say_b(&[2; 100]);
        said += 1;
    }
    assert_eq!((world.a.got.len(), world.b.got.len()), (said, said));
    let handshakes = world.a.counters().initiations_sent + world.b.counters().initiations_sent;
    assert!((29..=31).contains(&handshakes), "{handshakes}");
    assert_eq!(world.a.counters().drops.total() + world.b.counters().drops.total(), 0);
}

#[test]
fn an_initiation_is_repeated_every_5_s_with_jitter_and_given_up_after_90_s() {
    let mut world = World::new();
    assert_eq!(world.a.seal(b"x", world.now), Err(Seal::Queued));
    let begin = world.now;
    let lost = world.silence(Duration::from_secs(200));
    assert!(kinds(&lost).iter().all(|kind| *kind == 1));
    assert!((17..=18).contains(&lost.len()), "{}", lost.len());
    for pair in lost.windows(2) {
        let apart = pair[1].0.since(pair[0].0);
        assert!(apart >= 5_000 * MS && apart <= (5_334 + 100) * MS, "{apart:?}");
    }
    assert!(lost.last().unwrap().0.since(begin) < Duration::from_secs(90));
    assert_eq!(world.a.events(), [Event::GaveUp { peer: PEER }]);
    assert_eq!(world.a.drops(DropReason::StagedGivenUp), 1);
    assert_eq!(world.a.status(world.now).handshaking_since, None);
    assert_eq!(world.a.tunnels.poll_timeout(), None, "nothing is left to do");
}

#[test]
fn after_giving_up_the_next_payload_calls_again() {
    let mut world = World::new();
    let _ = world.a.seal(b"x", world.now);
    world.silence(Duration::from_secs(100));
    let _ = world.a.seal(b"again", world.now);
    world.settle();
    assert_eq!(world.b.got, [padded(b"again")]);
}

#[test]
fn jitter_differs() {
    let mut world = World::new();
    let _ = world.a.seal(b"x", world.now);
    let mut waits = std::collections::BTreeSet::new();
    for _ in 0..15 {
        world.sent();
        let due = world.a.tunnels.poll_timeout().unwrap();
        waits.insert(due.since(world.now));
        world.now = due;
    }
    assert!(waits.len() >= 14, "{waits:?}");
    assert!(waits.iter().all(|wait| (5_000 * MS..=5_334 * MS).contains(wait)), "{waits:?}");
}

#[test]
fn a_response_is_accepted_until_the_next_initiation() {
    let mut world = World::new();
    let _ = world.a.seal(b"x", world.now);
    let initiation = world.sent().remove(0);
    world.deliver(&initiation).unwrap();
    let response = world.sent().remove(0);
    world.pass(4_900 * MS);
    world.deliver(&response).unwrap();
    world.settle();
    assert_eq!(world.b.got, [padded(b"x")], "an answer that took 4.9 s is an answer");
}

#[test]
fn who_receives_data_and_says_nothing_sends_one_keepalive_after_10_s() {
    let mut world = World::quiet();
    world.say_a(b"x");
    let before = world.captured.len();
    world.live(Duration::from_millis(9_900));
    assert_eq!(world.captured.len(), before);
    world.live(Duration::from_secs(60));
    assert_eq!(world.captured.len(), before + 1, "and keepalives do not answer keepalives");
    assert_eq!(world.captured.last().unwrap().datagram.len(), 32);
    assert_eq!(world.captured.last().unwrap().to, address(1));
    assert_eq!(world.a.counters().keepalives_received, 2, "and one for what began the session");
}

#[test]
fn data_that_comes_while_a_keepalive_is_due_has_a_keepalive_too() {
    let mut world = World::up();
    for _ in 0..35 {
        world.say_a(b"x");
        world.live(Duration::from_secs(1));
    }
    let sent = world.b.counters().keepalives_sent;
    assert_eq!(sent, 3, "one for each 10 s in which data came");
}

#[test]
fn an_answer_within_10_s_saves_the_keepalive() {
    let mut world = World::up();
    for _ in 0..20 {
        world.say_a(b"x");
        world.live(Duration::from_secs(5));
        world.say_b(b"y");
        world.live(Duration::from_secs(1));
    }
    assert_eq!(world.b.counters().keepalives_sent, 0);
}

#[test]
fn data_without_any_answer_for_15_s_begins_a_handshake() {
    let mut world = World::quiet();
    let begin = world.now;
    let _lost = world.a.seal(b"x", world.now).unwrap();
    let lost = world.silence(Duration::from_secs(17));
    assert_eq!(kinds(&lost), [1]);
    let after = lost[0].0.since(begin);
    assert!(after >= 15_000 * MS && after <= (15_334 + 100) * MS, "{after:?}");
}

#[test]
fn a_keepalive_from_the_peer_is_answer_enough() {
    let mut world = World::up();
    world.say_a(b"x");
    world.live(Duration::from_secs(100));
    assert_eq!(world.a.counters().initiations_sent, 1, "only the first one");
}

#[test]
fn a_session_is_used_for_180_s_and_not_longer_in_neither_direction() {
    let mut world = World::up();
    let sealed = world.a.seal(b"late", world.now).unwrap().datagram;
    let on_time = world.a.seal(b"on time", world.now).unwrap().datagram;
    world.pass_secs(179);
    world.b.take(address(1), &on_time, world.now, world.wall).unwrap();
    world.pass_secs(1);
    assert_eq!(world.b.take(address(1), &sealed, world.now, world.wall), Err(DropReason::SessionExpired));
    assert!(!world.a.status(world.now).up);
    assert_eq!(world.a.seal(b"x", world.now), Err(Seal::Queued));
}

#[test]
fn keys_are_wiped_after_540_s_and_indices_given_back() {
    let mut world = World::up();
    let sealed = world.a.seal(b"x", world.now).unwrap().datagram;
    world.silence(Duration::from_secs(539));
    assert!(world.b.tunnels.peer_mut(PEER).sessions.count() > 0);
    world.silence(Duration::from_secs(2));
    for end in [&mut world.a, &mut world.b] {
        assert_eq!(end.tunnels.peer_mut(PEER).sessions.count(), 0);
        assert_eq!(end.tunnels.indices_used(), 0);
        assert_eq!(end.events().last(), Some(&Event::Down { peer: PEER }));
    }
    assert_eq!(world.b.take(address(1), &sealed, world.now, world.wall), Err(DropReason::UnknownIndex));
    assert_eq!(world.b.tunnels.poll_timeout(), None);
}

#[test]
fn old_sessions_go_when_newer_ones_come() {
    let mut world = World::up();
    for _ in 0..10 {
        world.live(Duration::from_secs(121));
        world.say_a(b"x");
        world.settle();
        for end in [&mut world.a, &mut world.b] {
            let sessions = end.tunnels.peer_mut(PEER).sessions.count();
            assert!(sessions <= 2);
            assert_eq!(end.tunnels.indices_used(), sessions, "no index outlives its session");
        }
    }
}

#[test]
fn a_packet_sealed_just_before_new_keys_arrives_after_them() {
    let mut world = World::up();
    world.pass_secs(121);
    let old = world.a.seal(b"old", world.now).unwrap().datagram;
    world.settle();
    assert_eq!(world.b.status(world.now).last_handshake, Some(world.now));
    world.b.take(address(1), &old, world.now, world.wall).unwrap();
    assert_eq!(world.b.got.last().unwrap(), &padded(b"old"));
}

#[test]
fn both_call_at_once_and_both_are_heard() {
    let mut world = World::new();
    let _ = world.a.seal(b"from a", world.now);
    let _ = world.b.seal(b"from b", world.now);
    let crossing = world.sent();
    assert_eq!(crossing.len(), 2);
    for packet in crossing {
        world.deliver(&packet).unwrap();
    }
    world.settle();
    assert_eq!(world.b.got, [padded(b"from a")]);
    assert_eq!(world.a.got, [padded(b"from b")]);
    for round in 0..100 {
        world.say_a(&[round; 32]);
        world.say_b(&[round; 32]);
    }
    assert_eq!((world.a.got.len(), world.b.got.len()), (101, 101));
    assert_eq!(world.a.counters().drops.total() + world.b.counters().drops.total(), 0);
}

#[test]
fn a_persistent_keepalive_goes_on_calling_after_giving_up() {
    let every = |c| PeerConfig { keepalive: Some(Duration::from_secs(25)), ..c };
    let mut world = World::with(every, same);
    let lost = world.silence(Duration::from_secs(300));
    assert!(lost.len() >= 50, "{}", lost.len());
    world.live(Duration::from_secs(6));
    assert!(world.b.status(world.now).up);
}

#[test]
fn the_deadline_is_never_late() {
    // Driven by its own deadlines alone, an end does the same as one that is asked ten times a second.
    let mut world = World::new();
    let _ = world.a.seal(b"x", world.now);
    let until = world.now + Duration::from_secs(700);
    let mut sent = 0;
    while let Some(due) = world.a.tunnels.poll_timeout().filter(|due| *due < until) {
        assert!(due >= world.now, "no deadline stays behind");
        let time = due.since(world.now);
        world.pass(time);
        sent += world.sent().len();
    }
    assert!((17..=18).contains(&sent), "{sent}");
    assert_eq!(world.a.events(), [Event::GaveUp { peer: PEER }]);
}

#[test]
fn two_ends_that_always_call_at_once_lose_nothing_in_an_hour() {
    let every = |c| PeerConfig { keepalive: Some(Duration::from_secs(25)), ..c };
    let mut world = World::with(every, every);
    let crossing = world.sent();
    assert_eq!(crossing.len(), 2);
    for packet in crossing {
        world.deliver(&packet).unwrap();
    }
    world.settle();
    for _ in 0..3_600 {
        world.live(Duration::from_secs(1));
        world.say_a(&[1; 100]);
        world.say_b(&[2; 100]);
    }
    assert_eq!((world.a.got.len(), world.b.got.len()), (3_600, 3_600));
    assert_eq!(world.a.counters().drops.total() + world.b.counters().drops.total(), 0);
    let handshakes = world.a.counters().initiations_sent + world.b.counters().initiations_sent;
    assert!((30..=61).contains(&handshakes), "{handshakes}");
}
