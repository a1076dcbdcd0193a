//! A wire that loses, doubles, delays and reorders, under simulated time.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::world::*;

/// How bad the wire is, in percent, and how long it may delay.
#[derive(Clone, Debug)]
struct Wire {
    loss: u64,
    doubling: u64,
    delay: u64,
    seed: u64,
}

fn wires() -> impl Strategy<Value = Wire> {
    (0_u64..40, 0_u64..40, 0_u64..3_000, any::<u64>()).prop_map(|(loss, doubling, delay, seed)| Wire {
        loss,
        doubling,
        delay,
        seed,
    })
}

/// Both ends talk for a while across the wire; gives how much each said.
fn talk(world: &mut World, wire: &Wire, seconds: u64) -> u64 {
    let mut dice = Dice::new(wire.seed);
    let mut flying: Vec<(u64, OnWire)> = Vec::new();
    let mut said = 0;
    for tick in 0..seconds * 10 {
        world.pass(Duration::from_millis(100));
        let mut sent = Vec::new();
        if tick % 5 == 0 {
            said += 1;
            for (end, to) in [(&mut world.a, 2), (&mut world.b, 1)] {
                let from = address(end.byte);
                if let Ok(transmit) = end.seal(&u64::to_be_bytes(said).repeat(3), world.now) {
                    assert_eq!(transmit.to, address(to));
                    sent.push(OnWire { from, to: transmit.to, datagram: transmit.datagram });
                }
            }
        }
        sent.extend(world.sent());
        for packet in sent {
            let copies = 1 + u64::from(dice.roll() % 100 < wire.doubling);
            for _ in 0..copies {
                if dice.roll() % 100 >= wire.loss {
                    flying.push((tick + dice.roll() % (wire.delay / 100 + 1), packet.clone()));
                }
            }
        }
        let (due, later) = flying.into_iter().partition(|(at, _)| *at <= tick);
        flying = later;
        for (_, packet) in due {
            let _ = world.deliver(&packet);
        }
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_arrives_twice_nothing_false_arrives_and_a_good_wire_heals_everything(wire in wires()) {
        let mut world = World::new();
        let said = talk(&mut world, &wire, 400);
        for end in [&world.a, &world.b] {
            let distinct: BTreeSet<_> = end.got.iter().collect();
            prop_assert_eq!(distinct.len(), end.got.len(), "something arrived twice");
            for payload in &end.got {
                let number = u64::from_be_bytes(payload[..8].try_into().unwrap());
                prop_assert!((1..=said).contains(&number));
                prop_assert_eq!(payload, &padded(&number.to_be_bytes().repeat(3)));
            }
        }
        for end in [&mut world.a, &mut world.b] {
            let sessions = end.tunnels.peer_mut(PEER).sessions.count();
            prop_assert!(end.tunnels.indices_used() <= sessions + 1, "indices leak");
            end.got.clear();
        }
        // Whatever state that left: once the wire is good, within the 15 s of silence and a retry both directions work.
        let good = Wire { loss: 0, doubling: 0, delay: 0, seed: 0 };
        talk(&mut world, &good, 30);
        world.a.got.clear();
        world.b.got.clear();
        let said = talk(&mut world, &good, 200);
        prop_assert_eq!(world.a.got.len() as u64, said);
        prop_assert_eq!(world.b.got.len() as u64, said);
    }
}

#[test]
fn most_of_it_gets_through_a_bad_wire() {
    let mut world = World::new();
    let wire = Wire { loss: 20, doubling: 10, delay: 200, seed: 1 };
    let said = talk(&mut world, &wire, 1_000);
    for end in [&world.a, &world.b] {
        let share = end.got.len() as f64 / said as f64;
        assert!(share > 0.75, "{share}: a lossy wire must not cost more than what it loses");
    }
}

#[test]
fn a_peer_that_restarts_is_back_as_soon_as_it_speaks() {
    let mut world = World::up();
    world.b = End::new(2, world.now);
    world.b.tunnels.set_peers(vec![config(1)], world.now);
    world.say_b(b"I am back");
    world.settle();
    assert_eq!(world.a.got.last().unwrap(), &padded(b"I am back"));
    world.say_a(b"so you are");
    assert_eq!(world.b.got.last().unwrap(), &padded(b"so you are"));
}

#[test]
fn a_peer_that_restarts_in_silence_is_found_by_who_has_something_to_say() {
    let mut world = World::quiet();
    world.b = End::new(2, world.now);
    world.b.tunnels.set_peers(vec![config(1)], world.now);
    let begin = world.now;
    while world.b.got.is_empty() {
        let sealed = world.a.seal(b"anybody there?", world.now);
        if let Ok(sealed) = sealed {
            let _ = world.b.take(address(1), &sealed.datagram, world.now, world.wall);
        }
        world.live(Duration::from_millis(100));
        assert!(world.now.since(begin) < Duration::from_secs(16));
    }
}

#[test]
fn what_waits_is_bounded_and_the_youngest_stay() {
    let mut world = World::new();
    for number in 0..100_u8 {
        let _ = world.a.seal(&[number; 16], world.now);
    }
    assert_eq!(world.a.status(world.now).staged, 64);
    assert_eq!(world.a.drops(crate::tunnel::DropReason::StagedOverflow), 36);
    world.settle();
    assert_eq!(world.b.got, (36..100).map(|n| vec![n; 16]).collect::<Vec<_>>(), "in order");
}

#[test]
fn what_is_lost_is_known_over_all_sessions_whatever_is_late() {
    let mut world = World::up();
    let (mut lost, mut late): (u64, Option<OnWire>) = (0, None);
    for n in 0..5000 {
        world.pass(Duration::from_millis(100));
        world.settle();
        let Ok(sealed) = world.a.seal(b"x", world.now) else { continue };
        let packet = OnWire { from: address(1), to: sealed.to, datagram: sealed.datagram };
        match n % 10 {
            3 => lost += 1,
            5 => late = Some(packet),
            _ => {
                world.deliver(&packet).unwrap();
                late.take().into_iter().for_each(|late| world.deliver(&late).unwrap());
            }
        }
    }
    let (there, back) = (world.b.status(world.now).arrivals, world.a.status(world.now).arrivals);
    assert!(world.b.counters().initiations_accepted >= 4, "sessions follow each other");
    // The last message of a session may be the one that is lost: nothing tells of it.
    let gap = there.sealed - there.accepted;
    assert!(gap <= lost && gap + 5 >= lost && lost >= 490, "{gap} of {lost}");
    assert_eq!(back.sealed, back.accepted, "the other direction");
    assert!(back.accepted > 0);
}
