//! Many initiations: cookies under load, allowances of sources, the limit of one peer.

use std::net::SocketAddr;
use std::time::Duration;

use super::world::*;
use crate::tunnel::DropReason;
use crate::tunnel::limits::{ALL_COOKIES, COOKIES_BURST, LOAD_INITIATIONS_PER_SECOND, SOURCE_BURST};

/// Initiations to `b` that have a true first MAC and nothing else: what anybody who knows its public key can make.
fn junk(count: u32) -> Vec<Vec<u8>> {
    let mut dice = Dice::new(77);
    let mut jar = crate::tunnel::cookie::Jar::new(&key(2));
    (0..count)
        .map(|_| {
            let mut message = vec![0; 148];
            crate::tunnel::Random::fill(&mut dice, &mut message);
            message[..4].copy_from_slice(&[1, 0, 0, 0]);
            jar.fill(&mut message, crate::types::Mono::default());
            message
        })
        .collect()
}

/// A source of its own for each number.
fn spoofed(number: u32) -> SocketAddr {
    SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0a00_0000 + number), 1234))
}

#[test]
fn a_spoofed_flood_brings_cookies_and_the_peer_gets_through_with_its_second_mac() {
    let mut world = World::new();
    let count = LOAD_INITIATIONS_PER_SECOND + 2_000;
    for (number, message) in (0..).zip(junk(count)) {
        let _ = world.b.take(spoofed(number), &message, world.now, world.wall);
    }
    assert_eq!(world.b.drops(DropReason::HandshakeForged), u64::from(LOAD_INITIATIONS_PER_SECOND), "computed");
    assert_eq!(world.b.drops(DropReason::CookieDemanded), 2_000, "not computed");
    let cookies = world.sent();
    assert_eq!(cookies.len(), usize::try_from(ALL_COOKIES).unwrap(), "and no more than that in all");
    assert!(cookies.iter().all(|c| c.datagram.len() == 64), "less than what was asked with: no amplifier");

    let _ = world.a.seal(b"x", world.now);
    world.settle();
    assert!(!world.a.status(world.now).up, "under load the first call only yields a cookie");
    assert_eq!(world.a.counters().cookies_accepted, 1);
    // The flood goes on, and the peer calls again after its 5 s.
    for second in 1..7 {
        world.pass_secs(1);
        for (number, message) in (0..).zip(junk(LOAD_INITIATIONS_PER_SECOND + 50)) {
            let _ = world.b.take(spoofed(second * 10_000 + number), &message, world.now, world.wall);
        }
        while world.b.tunnels.poll_transmit().is_some() {}
        world.settle();
    }
    assert_eq!(world.b.got, [padded(b"x")]);
}

#[test]
fn a_caller_that_nobody_knows_gets_its_cookie_while_one_source_floods() {
    let mut world = World::new();
    // A peer whose address is stated nowhere.
    world.b.tunnels.set_peers(vec![crate::tunnel::PeerConfig { endpoint: None, ..config(1) }], world.now);
    let count = LOAD_INITIATIONS_PER_SECOND + 3_000;
    for message in junk(count) {
        let _ = world.b.take(spoofed(1), &message, world.now, world.wall);
    }
    assert_eq!(world.sent().len(), usize::try_from(COOKIES_BURST).unwrap(), "one source is answered so often");
    let _ = world.a.seal(b"x", world.now);
    world.settle();
    assert_eq!(world.a.counters().cookies_accepted, 1);
    for _ in 1..7 {
        world.pass_secs(1);
        for message in junk(LOAD_INITIATIONS_PER_SECOND + 500) {
            let _ = world.b.take(spoofed(1), &message, world.now, world.wall);
        }
        while world.b.tunnels.poll_transmit().is_some() {}
        world.settle();
    }
    assert_eq!(world.b.got, [padded(b"x")]);
}

#[test]
fn an_established_session_does_not_notice_a_flood() {
    let mut world = World::up();
    for (number, message) in (0..).zip(junk(3_000)) {
        let _ = world.b.take(spoofed(number), &message, world.now, world.wall);
        if number % 10 == 0 {
            world.say_a(&[1; 100]);
        }
    }
    assert_eq!(world.b.got.len(), 300);
}

#[test]
fn a_flood_that_ended_is_forgotten_after_a_second() {
    let mut world = World::new();
    for (number, message) in (0..).zip(junk(LOAD_INITIATIONS_PER_SECOND + 1)) {
        let _ = world.b.take(spoofed(number), &message, world.now, world.wall);
    }
    while world.b.tunnels.poll_transmit().is_some() {}
    world.pass_secs(1);
    let _ = world.a.seal(b"x", world.now);
    world.settle();
    assert_eq!(world.b.got, [padded(b"x")], "no cookie was needed");
}

#[test]
fn a_source_that_proves_its_address_has_an_allowance_and_no_more() {
    let mut world = World::new();
    world.b.tunnels.set_load_limit(0);
    let mut jar = crate::tunnel::cookie::Jar::new(&key(2));
    let mut messages = junk(101);
    jar.fill(&mut messages[0], world.now);
    let _ = world.b.take(spoofed(1), &messages[0], world.now, world.wall);
    let cookie = world.sent().remove(0).datagram;
    assert!(jar.accept(&cookie, world.now));
    for message in &mut messages[1..] {
        jar.fill(message, world.now);
        let _ = world.b.take(spoofed(1), message, world.now, world.wall);
    }
    assert_eq!(world.b.drops(DropReason::HandshakeForged), u64::from(SOURCE_BURST));
    assert_eq!(world.b.drops(DropReason::SourceLimited), 100 - u64::from(SOURCE_BURST));
    let elsewhere = world.b.take(spoofed(2), &messages[1], world.now, world.wall);
    assert_eq!(elsewhere, Err(DropReason::CookieDemanded), "a cookie is no good from another address");
}

#[test]
fn a_wrong_first_mac_costs_nothing_and_is_not_load() {
    let mut world = World::new();
    for (number, mut message) in (0..).zip(junk(2_000)) {
        message[130] ^= 1;
        let refused = world.b.take(spoofed(number), &message, world.now, world.wall);
        assert_eq!(refused, Err(DropReason::WrongMac1));
    }
    let _ = world.a.seal(b"x", world.now);
    world.settle();
    assert_eq!(world.b.got, [padded(b"x")]);
}

#[test]
fn a_peer_may_call_every_20_ms_and_not_faster() {
    let mut world = World::new();
    let calls = |world: &mut World, apart: Duration| {
        // A peer that restarts each time: its own limit of one in 5 s is gone.
        world.pass(apart);
        let mut caller = End::new(1, world.now);
        caller.tunnels.set_peers(vec![config(2)], world.now);
        let _ = caller.seal(b"x", world.now);
        caller.tunnels.handle_timeout(world.now, world.wall);
        let call = caller.tunnels.poll_transmit().unwrap().datagram;
        world.b.take(address(1), &call, world.now, world.wall)
    };
    for _ in 0..20 {
        assert_eq!(calls(&mut world, Duration::from_millis(20)), Ok(()));
        assert_eq!(calls(&mut world, Duration::from_millis(17)), Err(DropReason::PeerLimited));
        world.pass(Duration::from_millis(17));
    }
}

#[test]
fn our_own_calls_are_answered_even_when_we_are_under_load() {
    let mut world = World::new();
    world.a.tunnels.set_load_limit(0);
    for message in junk(10) {
        let _ = world.a.take(spoofed(1), &message, world.now, world.wall);
    }
    let _ = world.a.seal(b"x", world.now);
    world.settle();
    assert_eq!(world.b.got, [padded(b"x")]);
}
