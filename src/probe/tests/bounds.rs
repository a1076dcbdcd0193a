use proptest::prelude::*;

use super::*;

/// The underlays of `docs/mtu.md`.
const ORACLE: [u16; 8] = [1280, 1420, 1460, 1492, 1500, 1800, 9000, 1200];

/// No guest may lose frames for longer.
const LOST: Duration = secs(3);

#[test]
fn every_underlay_of_the_table_is_found_to_the_byte() {
    for mtu in ORACLE {
        for (interface, assumed) in [(1500, 1500), (9000, 9000), (9000, 1500), (1500, 1282), (mtu, mtu)] {
            let mut world = World::new(interface, assumed, mtu);
            assert!(world.exact_within(secs(5)), "{mtu} behind {interface}, assumed {assumed}: {:?}", world.status());
            assert!(world.worst < LOST, "{mtu} behind {interface}: lost for {:?}", world.worst);
        }
    }
}

#[test]
fn every_change_between_two_underlays_of_the_table_is_found() {
    for from in ORACLE {
        for to in ORACLE.into_iter().filter(|to| *to != from) {
            let mut world = World::new(9000, 9000, from);
            assert!(world.exact_within(secs(10)));
            world.run(secs(20));
            (world.mtu, world.worst, world.settled) = (to, Duration::ZERO, Vec::new());
            let limit = if to < from { secs(10) } else { secs(60) };
            assert!(world.exact_within(limit), "from {from} to {to}: {:?}", world.status());
            assert!(world.worst < LOST, "from {from} to {to}: lost for {:?}", world.worst);
            assert_eq!(world.settled, [(from, to)], "told once, when it is settled");
        }
    }
}

/// What a path is like.
fn any_path() -> impl Strategy<Value = (Duration, Duration, u64, u64)> {
    (0u64..500, 0u64..100, 0u64..200, any::<u64>())
        .prop_map(|(rtt, jitter, copies, seed)| (millis(rtt), millis(jitter.min(rtt / 2)), copies, seed))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_size_is_found_to_the_byte_after_any_change(
        interface in prop_oneof![Just(1500u16), Just(9000), 1200u16..9600],
        sizes in proptest::collection::vec(1200u16..9600, 1..4),
        (rtt, jitter, copies, seed) in any_path(),
    ) {
        let mut world = World::new(interface, interface, sizes[0]).seed(seed);
        (world.rtt, world.jitter, world.copies) = (rtt, jitter, copies);
        prop_assert!(world.exact_within(secs(15)), "{:?} on a path of {}", world.status(), world.mtu);
        for &mtu in &sizes[1..] {
            world.run(secs(7));
            let shrinks = mtu < world.mtu;
            (world.mtu, world.worst) = (mtu, Duration::ZERO);
            let limit = if shrinks { secs(10) } else { secs(60) };
            prop_assert!(world.exact_within(limit), "{:?} on a path of {mtu}", world.status());
            prop_assert!(world.worst < LOST, "lost for {:?} at {mtu}", world.worst);
        }
        prop_assert_eq!(world.fallen, 0, "the size fell although the path carried it");
    }

    #[test]
    fn a_path_that_falls_asleep_and_wakes_up_smaller_costs_no_more(
        asleep in 1u64..10_000, mtu in 1200u16..1500, (rtt, jitter, copies, seed) in any_path(),
    ) {
        let mut world = World::new(1500, 1500, 1500).seed(seed);
        (world.rtt, world.jitter, world.copies) = (rtt, jitter, copies);
        world.run(secs(10));
        world.in_use = false;
        world.run(secs(5));
        // The machine sleeps: time jumps, and nothing that was under way arrives.
        world.answers.clear();
        world.now = world.now + secs(asleep);
        world.mtu = mtu;
        world.in_use = true;
        prop_assert!(world.exact_within(secs(10)), "{:?} on a path of {mtu}", world.status());
        prop_assert!(world.worst < LOST, "lost for {:?}", world.worst);
    }
}

#[test]
fn loss_at_random_never_makes_it_fall() {
    for seed in 0..5 {
        for loss in [10, 50, 100, 190] {
            let mut world = World::new(1500, 1500, 1500).seed(seed);
            (world.loss, world.jitter) = (loss, millis(15));
            world.run(secs(300));
            assert_eq!(world.fallen, 0, "seed {seed}, {loss} of a thousand lost each way");
            assert_eq!(world.size, 1500);
        }
    }
}

#[test]
fn with_loss_a_change_is_still_found_in_time() {
    for seed in 0..20 {
        for loss in [20, 100] {
            let mut world = World::new(9000, 9000, 9000).seed(seed);
            world.loss = loss;
            assert!(world.exact_within(secs(60)), "seed {seed}, loss {loss}: {:?}", world.status());
            for mtu in [1500, 1433, 5120, 1400] {
                world.run(secs(5));
                let shrinks = mtu < world.mtu;
                (world.mtu, world.worst) = (mtu, Duration::ZERO);
                let limit = if shrinks { secs(10) } else { secs(60) };
                assert!(world.exact_within(limit), "seed {seed}, loss {loss}, {mtu}: {:?}", world.status());
                assert!(world.worst < LOST, "seed {seed}, loss {loss}, {mtu}: lost for {:?}", world.worst);
            }
        }
    }
}

#[test]
fn a_second_of_round_trip_is_only_slower() {
    let mut world = World::new(1500, 1500, 1500);
    world.rtt = millis(1000);
    world.run(secs(60));
    assert_eq!((world.fallen, world.size), (0, 1500));
    world.mtu = 1433;
    assert!(world.exact_within(secs(15)), "{:?}", world.status());
    assert!(world.worst < secs(5), "lost for {:?}", world.worst);
}
