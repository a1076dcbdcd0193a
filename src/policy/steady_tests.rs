use proptest::prelude::*;

use super::*;

/// Looks once a second at what the path carries at each second; every change with its second.
fn run(counted: u16, sizes: impl IntoIterator<Item = u16>) -> Vec<(u64, u16)> {
    let (mut steady, mut counted, mut changes) = (Steady::default(), counted, Vec::new());
    for (second, size) in (0_u64..).zip(sizes) {
        if let Some(new) = steady.look(size, counted, Mono::from_nanos(second * 1_000_000_000)) {
            counted = new;
            changes.push((second, new));
        }
    }
    changes
}

#[test]
fn a_decrease_counts_after_thirty_seconds() {
    assert_eq!(run(1500, [1400; 60]), [(30, 1400)]);
    assert_eq!(run(1500, [1400; 30]), [], "29 seconds have passed");
}

#[test]
fn an_increase_counts_after_five_minutes() {
    assert_eq!(run(1400, [1500; 400]), [(300, 1500)]);
    assert_eq!(run(1400, [1500; 300]), []);
}

#[test]
fn a_path_that_recovers_in_time_changes_nothing() {
    let sizes = [1400; 29].into_iter().chain([1500]).cycle().take(600);
    assert_eq!(run(1500, sizes), []);
    let sizes = [1500; 299].into_iter().chain([1400]).cycle().take(3000);
    assert_eq!(run(1400, sizes), []);
}

#[test]
fn of_a_search_only_what_it_found_counts() {
    let search = [1200, 1200, 1300, 1350, 1390].into_iter().chain([1400; 100]);
    assert_eq!(run(1500, search), [(30, 1400)]);
}

#[test]
fn a_path_that_shrinks_step_by_step_is_followed() {
    let sizes = [1450; 10].into_iter().chain([1300; 100]);
    assert_eq!(run(1500, sizes), [(30, 1450), (60, 1300)], "thirty seconds lie between two changes");
}

/// What a search finds on its way up, and what stood only for a while: each with what counts in the end, and when.
#[test]
fn a_size_on_the_way_up_does_not_start_the_clock_anew() {
    let long = |size: u16| std::iter::repeat_n(size, 700);
    for (way, expected) in [
        (vec![1304], vec![(301, 1500)]),
        (vec![1304, 1420, 1492], vec![(303, 1500)]),
        (vec![1304; 20], vec![(320, 1500)]),
        // A size that has stood for longer counts by itself.
        (vec![1304; 40], vec![(300, 1304), (340, 1500)]),
        // It fell back: only the smaller one has stood.
        (vec![1500, 1500, 1304], vec![(303, 1500)]),
        (vec![1281, 1282, 1283, 1284, 1285, 1286, 1287, 1288], vec![(308, 1500)]),
    ] {
        assert_eq!(run(1280, way.iter().copied().chain(long(1500))), expected, "{way:?}");
    }
}

#[test]
fn what_counts_next_is_foretold_as_it_comes_and_a_path_that_grows_is_told_once() {
    let (mut steady, mut told) = (Steady::default(), Vec::new());
    let second = |n: u64| Mono::from_nanos(n * 1_000_000_000);
    for n in 0..301 {
        // It flaps, and then it stays.
        let size = if n < 60 && n % 20 == 0 { 1400 } else { 1500 };
        let counted = steady.look(size, 1400, second(n));
        let next = steady.next(1400);
        assert!(counted.is_none() && next.is_none_or(|next| next.size == 1500 && next.at > second(n)), "{n}: {next:?}");
        told.extend(steady.grown(1400, second(n)).map(|next| (n, next)));
    }
    let first = Next { size: 1500, since: second(1), at: second(301) };
    assert_eq!(told, [(11, first)]);
    assert_eq!(steady.next(1400), Some(Next { size: 1500, since: second(41), at: second(341) }));
    assert_eq!(steady.look(1500, 1400, second(340)), None);
    assert_eq!(steady.look(1500, 1400, second(341)), Some(1500));
}

proptest! {
    #[test]
    fn guests_never_see_two_changes_within_thirty_seconds_nor_a_size_that_was_not_there(
        runs in prop::collection::vec((prop::sample::select(vec![1280_u16, 1400, 1420, 1500]), 1_usize..400), 0..16),
    ) {
        let sizes: Vec<u16> = runs.iter().flat_map(|(size, long)| std::iter::repeat_n(*size, *long)).collect();
        let changes = run(1500, sizes.iter().copied());
        for pair in changes.windows(2) {
            prop_assert!(pair[1].0 - pair[0].0 >= 30);
        }
        let mut counted = 1500;
        for (second, new) in changes {
            let patience: usize = if new < counted { 30 } else { 300 };
            let end = usize::try_from(second).unwrap();
            let stood = &sizes[end - patience..=end];
            // All that time the path carried at most (a decrease) or at least (an increase) this.
            let held = |size: &u16| if new < counted { *size <= new } else { *size >= new };
            prop_assert!(stood.iter().all(held));
            counted = new;
        }
    }
}
