//! Every message of a conversation, again: in any order, at any time, from anywhere, to either end.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::world::*;
use crate::tunnel::DropReason;

/// A conversation in which all four messages occur: both ends call, both are under load at some time, keys are replaced.
/// `between` is run after each turn.
fn conversation(world: &mut World, mut between: impl FnMut(&mut World, u64)) -> u64 {
    let mut said = 0;
    for turn in 0..24 {
        if turn == 8 {
            world.b.tunnels.set_load_limit(0);
        }
        if turn == 16 {
            world.b.tunnels.set_load_limit(256);
            world.a.tunnels.set_load_limit(0);
        }
        // In the middle the other end begins again from nothing: it calls, and has no memory of what it has heard.
        if turn == 12 {
            world.live(Duration::from_secs(600));
        }
        let speaks_first = if turn < 12 { World::say_a } else { World::say_b };
        said += 1;
        speaks_first(world, &u64::to_be_bytes(said).repeat(2));
        world.live(Duration::from_secs(6));
        said += 1;
        let answers = if turn < 12 { World::say_b } else { World::say_a };
        answers(world, &u64::to_be_bytes(said).repeat(2));
        between(world, turn);
        world.live(Duration::from_secs(20));
    }
    said
}

fn kinds(captured: &[OnWire]) -> BTreeSet<u8> {
    captured.iter().map(|packet| packet.datagram[0]).collect()
}

/// How often a replay was refused, by reason, summed over both ends.
fn refused(world: &World, reason: DropReason) -> u64 {
    world.a.drops(reason) + world.b.drops(reason)
}

/// The reasons for which a message that was true once is refused.
const REPLAYED: [DropReason; 7] = [
    DropReason::Replayed,
    DropReason::StaleTimestamp,
    DropReason::UnknownIndex,
    DropReason::SessionExpired,
    DropReason::CookieDemanded,
    DropReason::SourceLimited,
    DropReason::WrongCookie,
];

fn any_captured(world: &World, dice: &mut Dice) -> OnWire {
    let nth = usize::try_from(dice.roll() % world.captured.len() as u64).unwrap();
    world.captured[nth].clone()
}

fn assert_heard_once(world: &World, said: u64) -> Result<(), TestCaseError> {
    let mut all: Vec<_> = world.a.got.iter().chain(&world.b.got).cloned().collect();
    all.sort();
    let wanted: Vec<_> = (1..=said).map(|number| number.to_be_bytes().repeat(2)).collect();
    prop_assert_eq!(all, wanted, "everything once");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nothing_replayed_in_any_order_has_any_effect_and_the_counters_say_so(
        order in Just((0..10_000_usize).collect::<Vec<_>>()).prop_shuffle(),
        from_elsewhere in any::<bool>(),
    ) {
        let mut world = World::new();
        let said = conversation(&mut world, |_, _| {});
        let captured = world.captured.clone();
        prop_assert_eq!(kinds(&captured), BTreeSet::from([1, 2, 3, 4]));
        assert_heard_once(&world, said)?;
        let before = (world.a.status(world.now), world.b.status(world.now));
        let drops = world.a.counters().drops.total() + world.b.counters().drops.total();
        let by_reason: u64 = REPLAYED.iter().map(|reason| refused(&world, *reason)).sum();
        let mut replays = 0;
        for packet in order.iter().filter_map(|nth| captured.get(*nth)) {
            let end = if packet.to == address(1) { &mut world.a } else { &mut world.b };
            let from = if from_elsewhere { address(66) } else { packet.from };
            prop_assert!(end.take(from, &packet.datagram, world.now, world.wall).is_err(), "{:?}", packet);
            replays += 1;
        }
        prop_assert_eq!(replays, captured.len());
        assert_heard_once(&world, said)?;
        let refused_now: u64 = REPLAYED.iter().map(|reason| refused(&world, *reason)).sum();
        prop_assert_eq!(refused_now - by_reason, replays as u64, "each is counted, and by its name");
        let total = world.a.counters().drops.total() + world.b.counters().drops.total();
        prop_assert_eq!(total - drops, replays as u64);
        prop_assert_eq!((world.a.status(world.now), world.b.status(world.now)), before);
    }

    #[test]
    fn replays_between_the_true_messages_change_nothing_of_what_arrives(seed in any::<u64>()) {
        let mut world = World::new();
        let mut dice = Dice::new(seed);
        let said = conversation(&mut world, |world, _| {
            for _ in 0..20 {
                let packet = any_captured(world, &mut dice);
                let end = if packet.to == address(1) { &mut world.a } else { &mut world.b };
                let from = if dice.roll().is_multiple_of(2) { address(66) } else { packet.from };
                let _ = end.take(from, &packet.datagram, world.now, world.wall);
                assert_eq!(end.status(world.now).endpoint, Some(address(3 - end.byte)));
            }
        });
        assert_heard_once(&world, said)?;
    }

    #[test]
    fn what_an_end_sent_means_nothing_to_itself(seed in any::<u64>()) {
        let mut world = World::new();
        let mut dice = Dice::new(seed);
        let said = conversation(&mut world, |world, _| {
            for _ in 0..20 {
                let packet = any_captured(world, &mut dice);
                let sender = if packet.from == address(1) { &mut world.a } else { &mut world.b };
                let before = sender.status(world.now);
                let back = sender.take(packet.to, &packet.datagram, world.now, world.wall);
                assert!(back.is_err(), "sent back to its sender: {:?}", packet.datagram);
                assert_eq!(sender.status(world.now), before);
            }
        });
        assert_heard_once(&world, said)?;
    }
}

#[test]
fn an_initiation_with_our_own_key_is_refused_even_when_it_is_meant_for_us() {
    // Reflection of the strongest kind: a message whose first MAC is made for its own sender.
    let mut world = World::new();
    let mut twin = End::new(1, world.now);
    twin.tunnels.set_peers(vec![config(2)], world.now);
    let _ = twin.seal(b"x", world.now);
    twin.tunnels.handle_timeout(world.now, world.wall);
    let call = twin.tunnels.poll_transmit().unwrap().datagram;
    assert_eq!(world.a.take(address(2), &call, world.now, world.wall), Err(DropReason::WrongMac1));
    let mut myself = End::new(1, world.now);
    myself.tunnels.set_peers(vec![config(1)], world.now);
    assert_eq!(myself.tunnels.status(PEER, world.now), None, "one's own key is no peer's");
}
