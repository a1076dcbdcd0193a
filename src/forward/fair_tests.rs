use proptest::prelude::*;

use super::*;

const RATE: Rate = Rate::flood(1000);

fn at(micros: u64) -> Mono {
    Mono::from_nanos(1_000_000_000_000 + micros * 1000)
}

/// Runs sources that send at an even pace, `(place, frames a second)`, for so many seconds; how many frames each gets through.
fn run(rate: Rate, sources: &[(u8, u64)], seconds: u64) -> Vec<u64> {
    let mut fair = Fair::default();
    let mut frames: Vec<(u64, usize)> = Vec::new();
    for (index, (_, per_second)) in sources.iter().enumerate() {
        // Nobody begins at the same moment.
        let start = u64::try_from(index).unwrap() * 137;
        frames.extend((0..per_second * seconds).map(|number| (start + number * 1_000_000 / per_second, index)));
    }
    frames.sort_unstable();
    let mut through = vec![0; sources.len()];
    for (micros, index) in frames {
        through[index] += u64::from(fair.take(rate, sources[index].0, at(micros)));
    }
    through
}

#[test]
fn who_speaks_little_loses_nothing_beside_floods() {
    for floods in [1_u8, 2, 5, 20] {
        let mut sources: Vec<(u8, u64)> = (0..floods).map(|place| (place, 2500)).collect();
        sources.extend([(50, 10), (51, 10)]);
        let through = run(RATE, &sources, 10);
        assert_eq!(&through[usize::from(floods)..], [100, 100], "{floods} floods: {through:?}");
        let all: u64 = through.iter().sum();
        let most = 10_000 + u64::from(Fair::most_at_once(RATE));
        assert!((9_900..=most).contains(&all), "{floods} floods: {all}");
        let flooders = &through[..usize::from(floods)];
        let part = 10_000 / u64::from(floods + 2);
        assert!(flooders.iter().all(|through| *through >= part * 9 / 10), "{floods}: each has its part: {through:?}");
    }
}

#[test]
fn one_alone_has_all_and_no_more() {
    let mut fair = Fair::default();
    assert_eq!((0..2000).filter(|_| fair.take(RATE, 3, at(0))).count(), 500);
    assert_eq!(run(RATE, &[(3, 900)], 10), [9000], "below the limit");
    let through = run(RATE, &[(3, 8000)], 10)[0];
    assert!((10_000..=10_500).contains(&through), "{through}");
}

#[test]
fn what_the_others_leave_is_for_who_wants_it() {
    let through = run(RATE, &[(0, 8000), (1, 100)], 10);
    assert_eq!(through[1], 1000);
    assert!((8_900..=9_500).contains(&through[0]), "{through:?}");
}

#[test]
fn a_source_that_has_ended_gives_its_part_back() {
    let mut fair = Fair::default();
    (0..64).for_each(|place| assert!(fair.take(RATE, place, at(0))));
    assert_eq!(fair.note(0, at(0)), 64);
    assert_eq!(fair.note(0, at(1_000_000)), 64, "in the period after");
    assert_eq!(fair.note(0, at(2_000_000)), 1);
    (1..64).for_each(|place| assert!(fair.take(RATE, place, at(2_500_000))));
    assert_eq!(fair.note(0, at(60_000_000)), 1, "nobody has spoken for a long time");
}

#[test]
fn a_rate_that_is_smaller_than_the_sources_are_many_keeps_its_sum() {
    let rate = Rate::flood(10);
    let sources: Vec<(u8, u64)> = (0..64).map(|place| (place, 100)).collect();
    let all: u64 = run(rate, &sources, 30).iter().sum();
    assert!((290..=300 + u64::from(Fair::most_at_once(rate))).contains(&all), "{all}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever comes when, the sum holds, for any rate, from the start to any frame.
    #[test]
    fn the_sum_holds(
        per_second in 10..2000_u32,
        frames in prop::collection::vec((any::<u8>(), prop_oneof![Just(0_u64), 0..300_u64, 0..2_000_000_u64], 1..200_u32), 1..300),
    ) {
        let rate = Rate::flood(per_second);
        let (mut fair, mut micros, mut given) = (Fair::default(), 0, 0_u64);
        for (place, pause, count) in frames {
            micros += pause;
            for number in 0..count {
                // A run of one source, or of all of them one after the other.
                let place = if place < 128 { place } else { u8::try_from(number).unwrap() };
                given += u64::from(fair.take(rate, place, at(micros)));
            }
            let most = u64::from(per_second) * micros / 1_000_000 + u64::from(Fair::most_at_once(rate)) + 1;
            prop_assert!(given <= most, "{given} of {most} after {micros} us");
        }
    }
}
