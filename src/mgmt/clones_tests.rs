use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Mono {
    Mono::default() + Duration::from_millis(millis)
}

fn voice(instance: u64, connection: u64) -> Voice {
    Voice { instance, connection }
}

#[test]
fn two_machines_that_take_turns_are_found_at_the_second_turn() {
    let mut voices = Voices::default();
    assert!(!voices.hear(voice(1, 1), at(0)));
    assert!(!voices.hear(voice(2, 1), at(100)), "it may be a restart");
    assert!(!voices.hear(voice(1, 2), at(400)), "it may be a machine that was set back");
    assert!(voices.hear(voice(2, 2), at(700)), "now both are alive");
}

#[test]
fn a_snapshot_of_memory_that_runs_twice_is_found_by_its_numbers() {
    let mut voices = Voices::default();
    for connection in 1..6 {
        assert!(!voices.hear(voice(1, connection), at(connection)));
    }
    // Both go on from 5.
    assert!(!voices.hear(voice(1, 6), at(1_000)));
    assert!(!voices.hear(voice(1, 6), at(1_300)));
    assert!(!voices.hear(voice(1, 7), at(1_600)));
    assert!(voices.hear(voice(1, 7), at(1_900)));
}

#[test]
fn a_late_packet_a_month_is_no_proof() {
    let mut voices = Voices::default();
    for turn in 0..50 {
        let now = Duration::from_secs(120 * turn);
        assert!(!voices.hear(voice(1, 2 * turn + 2), Mono::default() + now));
        assert!(!voices.hear(voice(1, 2 * turn + 1), Mono::default() + now), "overtaken by the next one");
    }
}

#[test]
fn who_is_released_begins_anew() {
    let mut voices = Voices::default();
    for turn in 0..4 {
        voices.hear(voice(turn % 2, turn / 2 + 1), at(turn));
    }
    voices.forget();
    assert!(!voices.hear(voice(0, 9), at(10)));
}

proptest! {
    /// Any life of one machine: it reconnects as often as it likes, restarts as often as it likes, as fast as it likes.
    #[test]
    fn one_machine_is_never_taken_for_two(steps in prop::collection::vec((any::<bool>(), 0_u64..5_000), 0..200)) {
        let (mut voices, mut instance, mut connection, mut now) = (Voices::default(), 1, 0, 0);
        for (restarts, wait) in steps {
            now += wait;
            if restarts {
                (instance, connection) = (instance + 1, 0);
            }
            connection += 1;
            prop_assert!(!voices.hear(voice(instance, connection), at(now)));
        }
    }
}
