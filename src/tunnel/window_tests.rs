use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What the window must be equal to: the set of all counters seen.
#[derive(Default)]
struct Model {
    seen: BTreeSet<u64>,
}

impl Model {
    fn fresh(&self, counter: u64) -> bool {
        let newest = self.seen.last().copied();
        !self.seen.contains(&counter) && newest.is_none_or(|n| counter > n || n - counter < WINDOW)
    }
}

/// Counters near each other, jumps of any size, and both ends of the range.
fn counters() -> impl Strategy<Value = Vec<u64>> {
    let step = prop_oneof![
        8 => 0_u64..4,
        4 => 0_u64..200,
        2 => WINDOW - 70..WINDOW + 70,
        1 => 0_u64..1 << 40,
    ];
    let start = prop_oneof![Just(0_u64), 0_u64..1 << 20, Just(u64::MAX - (1 << 13) - (1 << 42) * 400)];
    (start, prop::collection::vec((any::<bool>(), step), 1..400)).prop_map(|(start, steps)| {
        let mut at = start;
        steps
            .into_iter()
            .map(|(back, step)| {
                if back {
                    return at.saturating_sub(step);
                }
                at = at.saturating_add(step).min(crate::tunnel::limits::REJECT_AFTER_MESSAGES - 1);
                at
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn it_equals_the_set_of_everything_seen(counters in counters()) {
        let (mut window, mut model) = (Window::new(), Model::default());
        for counter in counters {
            prop_assert_eq!(window.fresh(counter), model.fresh(counter), "{}", counter);
            if model.fresh(counter) {
                let ahead = (counter + 1).saturating_sub(model.seen.last().map_or(0, |newest| newest + 1));
                model.seen.insert(counter);
                prop_assert_eq!(window.commit(counter), ahead);
                prop_assert!(!window.fresh(counter));
            }
        }
    }
}

#[test]
fn the_edge_of_the_window_is_exact() {
    let mut window = Window::new();
    window.commit(WINDOW);
    assert!(window.fresh(1), "newest - 8191 is the last inside");
    assert!(!window.fresh(0), "newest - 8192 is outside");
}

#[test]
fn a_check_changes_nothing() {
    let mut window = Window::new();
    window.commit(5);
    assert!(window.fresh(1 << 50));
    assert!(window.fresh(4), "a forged far counter must not age the real ones");
}

#[test]
fn a_jump_forgets_everything_behind_it() {
    let mut window = Window::new();
    for counter in 0..WINDOW {
        window.commit(counter);
    }
    window.commit(3 * WINDOW);
    assert!((2 * WINDOW + 1..3 * WINDOW).all(|counter| window.fresh(counter)));
}
