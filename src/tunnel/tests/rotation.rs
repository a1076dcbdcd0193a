//! Static keys that change, and clocks that jump: what becomes of the tunnels meanwhile.

use std::time::Duration;

use super::delayed::Delayed;
use super::world::*;
use crate::tunnel::{DropReason, KeyPair, OwnKey, PeerConfig};
use crate::types::{Psk, PublicKey, Wall};

/// The keys that `a` and `b` change to, by their byte.
const NEXT_A: u8 = 41;
const NEXT_B: u8 = 42;
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

fn own(byte: u8) -> OwnKey {
    OwnKey { secret: secret(byte), floor: Wall::default() }
}

/// The PSK of two keys, the same from both ends.
fn psk_of(a: PublicKey, b: PublicKey) -> Psk {
    Psk::from_bytes(std::array::from_fn(|at| a.0[at] ^ b.0[at]))
}

/// What an end with these keys, the one in force first, knows of a peer with these.
fn peer(mine: &[u8], theirs: &[u8], byte: u8) -> PeerConfig {
    let pairs = theirs.iter().rev().flat_map(|t| mine.iter().rev().map(move |m| (key(*m), key(*t))));
    let in_force = (key(mine[0]), key(theirs[0]));
    let mut changing: Vec<KeyPair> = pairs
        .filter(|pair| *pair != in_force)
        .map(|(own, remote)| KeyPair { own, remote, psk: Some(psk_of(own, remote)) })
        .collect();
    changing.sort_by_key(|pair| pair.own == key(mine[0]));
    PeerConfig {
        public_key: in_force.1,
        psk: Some(psk_of(in_force.0, in_force.1)),
        keepalive: Some(Duration::from_secs(25)),
        changing,
        ..config(byte)
    }
}

fn set(wire: &mut Delayed, byte: u8, mine: &[u8], theirs: &[u8]) {
    let now = wire.world.now;
    let end = if byte == 1 { &mut wire.world.a } else { &mut wire.world.b };
    end.tunnels.set_keys(&mine.iter().map(|byte| own(*byte)).collect::<Vec<_>>());
    end.tunnels.set_peers(vec![peer(mine, theirs, 3 - byte)], now);
}

fn keys(wire: &Delayed) -> [(PublicKey, PublicKey); 2] {
    [&wire.world.a, &wire.world.b].map(|end| end.status(wire.world.now).keys.unwrap())
}

#[test]
fn a_key_changes_under_traffic_and_nothing_is_lost_whoever_learns_of_it_first() {
    for late in [0, 100, 7_000].map(Duration::from_millis) {
        let mut wire = Delayed::new(Duration::from_millis(20));
        set(&mut wire, 1, &[1], &[2]);
        set(&mut wire, 2, &[2], &[1]);
        wire.talk(Duration::from_secs(2));
        set(&mut wire, 1, &[1, NEXT_A], &[2]);
        wire.talk(late);
        set(&mut wire, 2, &[2], &[1, NEXT_A]);
        wire.talk(Duration::from_secs(12));
        assert_eq!(keys(&wire), [(key(NEXT_A), key(2)), (key(2), key(NEXT_A))], "{late:?}");
        // It is confirmed: the old one goes, here first, there later.
        set(&mut wire, 2, &[2], &[NEXT_A]);
        wire.talk(Duration::from_millis(100) + late);
        set(&mut wire, 1, &[NEXT_A], &[2]);
        wire.talk(Duration::from_secs(1));
        wire.rest(Duration::from_secs(120));
        wire.talk(Duration::from_secs(10));
        wire.assert_all_arrived(&format!("{late:?}"));
    }
}

#[test]
fn both_ends_change_their_keys_at_once_and_nothing_is_lost() {
    let mut wire = Delayed::new(Duration::from_millis(20));
    set(&mut wire, 1, &[1], &[2]);
    set(&mut wire, 2, &[2], &[1]);
    wire.talk(Duration::from_secs(2));
    set(&mut wire, 1, &[1, NEXT_A], &[2, NEXT_B]);
    set(&mut wire, 2, &[2, NEXT_B], &[1, NEXT_A]);
    wire.talk(Duration::from_secs(12));
    assert_eq!(keys(&wire), [(key(NEXT_A), key(NEXT_B)), (key(NEXT_B), key(NEXT_A))]);
    set(&mut wire, 1, &[NEXT_A], &[NEXT_B]);
    wire.talk(Duration::from_millis(200));
    set(&mut wire, 2, &[NEXT_B], &[NEXT_A]);
    wire.talk(Duration::from_secs(2));
    wire.assert_all_arrived("both");
}

#[test]
fn a_peer_that_never_learns_of_the_new_key_is_reached_under_the_old_one() {
    let mut wire = Delayed::new(Duration::from_millis(20));
    set(&mut wire, 1, &[1], &[2]);
    set(&mut wire, 2, &[2], &[1]);
    wire.talk(Duration::from_secs(2));
    set(&mut wire, 1, &[1, NEXT_A], &[2]);
    for _ in 0..4 {
        wire.rest(Duration::from_secs(100));
        wire.talk(Duration::from_secs(1));
    }
    assert_eq!(keys(&wire), [(key(1), key(2)), (key(2), key(1))]);
    wire.assert_all_arrived("the old one");
}

#[test]
fn what_was_made_under_a_key_that_is_gone_ends_with_it() {
    let mut wire = Delayed::new(Duration::from_millis(1));
    set(&mut wire, 1, &[1], &[2]);
    set(&mut wire, 2, &[2], &[1]);
    wire.talk(Duration::from_secs(1));
    let old = wire.world.a.seal(b"under the old key", wire.world.now).unwrap().datagram;
    set(&mut wire, 2, &[2], &[1, NEXT_A]);
    let (now, wall) = (wire.world.now, wire.world.wall);
    let b = &mut wire.world.b;
    assert!(b.status(now).up, "nothing ends while both hold");
    b.tunnels.set_peers(vec![peer(&[2], &[NEXT_A], 1)], now);
    assert!(!b.status(now).up, "whoever stole the old key has no session left");
    assert_eq!(b.take(address(1), &old, now, wall), Err(DropReason::UnknownIndex));
    let mut thief = End::new(1, now);
    thief.tunnels.set_peers(vec![peer(&[1], &[2], 2)], now);
    let _ = thief.seal(b"x", now);
    thief.tunnels.handle_timeout(now, wall + Duration::from_secs(1));
    let call = thief.tunnels.poll_transmit().unwrap().datagram;
    assert_eq!(b.take(address(1), &call, now, wall), Err(DropReason::UnknownPeer));
}

/// `a` calls `b` while its clock is ten years ahead; gives that call.
fn from_the_future(world: &mut World) -> OnWire {
    world.wall = world.wall + TEN_YEARS;
    world.live(Duration::from_secs(121));
    world.say_a(b"from the future");
    world.settle();
    let call = world.captured.iter().rfind(|packet| packet.datagram[0] == 1).unwrap().clone();
    world.wall = Wall::from_secs(1_700_000_500);
    call
}

/// Seconds until both directions work, with both ends talking once a second.
fn recovers(world: &mut World) -> u64 {
    let (a, b) = (world.a.got.len(), world.b.got.len());
    for second in 0..600 {
        if world.a.got.len() > a && world.b.got.len() > b {
            return second;
        }
        for (from, sealed) in [(1, world.a.seal(b"x", world.now)), (2, world.b.seal(b"x", world.now))] {
            if let Ok(sealed) = sealed {
                let _ = world.deliver(&OnWire { from: address(from), to: sealed.to, datagram: sealed.datagram });
            }
        }
        world.live(Duration::from_secs(1));
    }
    panic!("not within ten minutes");
}

#[test]
fn a_clock_that_jumps_ten_years_and_back_costs_nothing_while_the_node_runs() {
    let mut world = World::up();
    from_the_future(&mut world);
    world.live(Duration::from_secs(200));
    assert_eq!(recovers(&mut world), 1);
    assert_eq!(world.b.drops(DropReason::StaleTimestamp), 0);
}

#[test]
fn a_node_that_starts_again_after_a_jump_goes_on_from_its_mark() {
    let mut world = World::up();
    from_the_future(&mut world);
    let mark = world.wall + TEN_YEARS + Duration::from_secs(600);
    world.a = End::new(1, world.now);
    world.a.tunnels.set_keys(&[OwnKey { secret: secret(1), floor: mark }]);
    world.a.tunnels.set_peers(vec![config(2)], world.now);
    let seconds = recovers(&mut world);
    assert!(seconds <= 2, "its first call is taken: {seconds}");
}

#[test]
fn a_call_from_the_future_that_is_played_to_a_fresh_peer_locks_nobody_out_for_a_minute() {
    let mut world = World::up();
    let call = from_the_future(&mut world);
    // Both start again, the clock is right, and somebody plays the old call before anybody speaks: CVE-2021-46873.
    let mark = world.wall + TEN_YEARS + Duration::from_secs(600);
    for (marked, keys) in [(true, [1_u8, 1]), (false, [1, NEXT_A])] {
        world.a = End::new(1, world.now);
        world.b = End::new(2, world.now);
        let floor = if marked { mark } else { Wall::default() };
        world.a.tunnels.set_keys(&[OwnKey { secret: secret(keys[1]), floor }]);
        world.a.tunnels.set_peers(vec![config(2)], world.now);
        let theirs = PeerConfig { public_key: key(keys[1]), endpoint: None, ..config(1) };
        world.b.tunnels.set_peers(vec![theirs], world.now);
        let _ = world.deliver(&call);
        while world.b.tunnels.poll_transmit().is_some() {}
        let seconds = recovers(&mut world);
        assert!(seconds < 60, "{seconds} s, although b cannot call: marked {marked}");
    }
}
