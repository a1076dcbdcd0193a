//! Somebody has a node's private key and none of its PSKs: what its calls do at a peer, and to the node.

use std::time::Duration;

use super::world::*;
use crate::tunnel::timers::Timers;
use crate::tunnel::{DropReason, PeerConfig};
use crate::types::Wall;

const TEN_YEARS: Duration = Duration::from_secs(3650 * 86_400);
const ELSEWHERE: u8 = 66;

/// Calls of a thief of `a`'s key to `b`, with timestamps from `wall` on.
fn calls(world: &World, wall: Wall, count: usize) -> Vec<Vec<u8>> {
    let mut thief = End::new(1, world.now);
    thief.tunnels.set_peers(vec![PeerConfig { psk: None, ..config(2) }], world.now);
    let mut now = world.now;
    let mut sent = Vec::new();
    while sent.len() < count {
        let _ = thief.seal(b"x", now);
        thief.tunnels.handle_timeout(now, wall);
        now = now + Duration::from_secs(6);
        sent.extend(thief.tunnels.poll_transmit().map(|transmit| transmit.datagram));
    }
    sent
}

/// Starts `a` again with nothing in its memory, and lets it say something; gives how long it took to arrive.
fn restarted(world: &mut World) -> Duration {
    world.a = End::new(1, world.now);
    world.a.tunnels.set_peers(vec![psk(7)(config(2))], world.now);
    world.b.got.clear();
    let since = world.now;
    world.say_a(b"back");
    world.settle();
    while world.b.got.is_empty() {
        world.live(Duration::from_millis(100));
        assert!(world.now.since(since) < Duration::from_secs(300), "never");
    }
    world.now.since(since)
}

/// `b` as it knows the other end: where it is, or that it always calls first.
fn worlds() -> [World; 2] {
    let silent = |config| PeerConfig { endpoint: None, ..psk(7)(config) };
    [World::with(psk(7), psk(7)), World::with(psk(7), silent)]
}

#[test]
fn one_call_from_the_future_keeps_its_owner_from_calling_no_moment() {
    for mut world in worlds() {
        for from in [ELSEWHERE, 1] {
            world.say_a(b"hello");
            world.live(Duration::from_secs(5));
            for call in calls(&world, world.wall + TEN_YEARS, 3) {
                let taken = world.b.take(address(from), &call, world.now, world.wall);
                assert_eq!(taken, Ok(()), "answered: nobody can know");
                assert!(world.b.take(address(from), &call, world.now, world.wall).is_err(), "but once");
                world.pass(Duration::from_millis(20));
                while world.b.tunnels.poll_transmit().is_some() {}
            }
            assert_eq!(restarted(&mut world), Duration::ZERO, "from {from}");
            assert_eq!(world.b.drops(DropReason::StaleTimestamp), 3 * if from == 1 { 2 } else { 1 });
        }
    }
}

#[test]
fn a_session_in_the_making_is_not_lost_to_a_thief_who_calls_without_pause() {
    for mut world in worlds() {
        if world.b.status(world.now).endpoint.is_none() {
            // It must have been heard once.
            world.say_a(b"hello");
            world.settle();
            world.live(Duration::from_secs(300));
            world.b.got.clear();
        }
        let _ = world.a.seal(b"first", world.now);
        let call = world.sent().into_iter().find(|packet| packet.datagram[0] == 1).unwrap();
        let thefts = calls(&world, world.wall + TEN_YEARS, 100);
        let (before, after) = thefts.split_at(50);
        let thief_calls = |world: &mut World, calls: &[Vec<u8>]| {
            for call in calls {
                assert_eq!(world.b.take(address(ELSEWHERE), call, world.now, world.wall), Ok(()));
                world.pass(Duration::from_millis(20));
            }
        };
        thief_calls(&mut world, before);
        world.deliver(&call).unwrap();
        let answers = world.sent();
        thief_calls(&mut world, after);
        let answer = answers.iter().find(|packet| packet.to == address(1)).unwrap();
        world.deliver(answer).unwrap();
        for packet in world.sent().into_iter().filter(|packet| packet.from == address(1)) {
            world.deliver(&packet).unwrap();
        }
        assert_eq!(world.b.got, [padded(b"first")]);
        assert_eq!(world.b.status(world.now).endpoint, Some(address(1)));
    }
}

fn deadlines(end: &mut End) -> [crate::types::Mono; 4] {
    let Timers { keepalive, silence, persistent, initiate, .. } = end.tunnels.peer_mut(PEER).timers;
    [keepalive, silence, persistent, initiate]
}

#[test]
fn a_call_that_is_not_confirmed_changes_nothing_that_is_known_of_the_peer() {
    let every = |c| PeerConfig { keepalive: Some(Duration::from_secs(25)), ..psk(7)(c) };
    let mut world = World::with(psk(7), every);
    world.live(Duration::from_secs(1));
    // Something is due of every kind: data came and was not answered, and data was sent that nobody answers.
    world.say_a(b"question");
    let _ = world.b.seal(b"lost", world.now).unwrap();
    world.say_a(b"another");
    let _ = world.b.seal(b"lost too", world.now).unwrap();
    world.pass(Duration::from_secs(1));
    let (before, due) = (world.b.status(world.now), deadlines(&mut world.b));
    assert!(due[1] < crate::tunnel::timers::NEVER && due[2] < crate::tunnel::timers::NEVER);
    for from in [ELSEWHERE, 1] {
        for call in calls(&world, world.wall + TEN_YEARS, 2) {
            world.wall = world.wall + Duration::from_secs(30);
            world.now = world.now + Duration::from_millis(20);
            assert_eq!(world.b.take(address(from), &call, world.now, world.wall), Ok(()));
        }
        world.wall = world.wall + TEN_YEARS;
    }
    assert_eq!(world.b.status(world.now), before);
    assert_eq!(deadlines(&mut world.b), due);

    // Where it was not known where the peer is, it is not known now.
    let [_, mut world] = worlds();
    let call = calls(&world, world.wall, 1).remove(0);
    assert_eq!(world.b.take(address(ELSEWHERE), &call, world.now, world.wall), Ok(()));
    assert_eq!(world.b.status(world.now).endpoint, None);
}

#[test]
fn a_thief_who_calls_all_the_time_from_the_peers_own_address_delays_no_rekeying_of_ours() {
    let mut world = World::with(psk(7), psk(7));
    world.say_b(b"hello");
    world.settle();
    let mut thefts = calls(&world, world.wall + TEN_YEARS, 400).into_iter();
    let since = world.now;
    while world.now.since(since) < Duration::from_secs(400) {
        let call = thefts.next().unwrap();
        let _ = world.b.take(address(1), &call, world.now, world.wall);
        world.live(Duration::from_secs(1));
        world.say_b(b"data");
        world.say_a(b"data");
        assert!(world.a.status(world.now).up && world.b.status(world.now).up, "{:?}", world.now.since(since));
    }
    assert!(world.a.got.len() >= 400 && world.b.got.len() >= 400, "{} {}", world.a.got.len(), world.b.got.len());
}
