//! Which sizes are tried next: those that links really have first, then an even spread. Many at once, because a round trip costs
//! more than a packet.

/// Sizes of common links, in bytes of the IP packet: the least of IPv6, tunnels over Ethernet and PPPoE, clouds, Ethernet, jumbo.
const COMMON: [u16; 20] = [
    1280, 1380, 1400, 1420, 1440, 1450, 1454, 1460, 1472, 1476, 1480, 1488, 1492, 1496, 1500, 2000, 4000, 8896, 9000,
    9001,
];

/// Sizes below the least that every path is taken to carry: where one of these is answered, the path is too small, and not dead.
const LITTLE: [u16; 5] = [152, 300, 576, 800, 1000];

/// The sizes to ask about where nothing of `base` bytes and more is answered.
pub(super) fn little(base: u16) -> impl Iterator<Item = u16> {
    LITTLE.into_iter().filter(move |size| *size < base)
}

/// How many parts a range is divided into.
const PARTS: u32 = 8;

/// The first sizes to try between what passes and what does not: the common ones and the largest.
pub(super) fn common(low: u16, high: u16) -> Vec<u16> {
    let mut sizes: Vec<u16> = COMMON.into_iter().filter(|size| *size > low && *size < high).collect();
    let largest = high.saturating_sub(1);
    if largest > low && sizes.last() != Some(&largest) {
        sizes.push(largest);
    }
    sizes
}

/// Sizes spread over a range, one byte above `low` among them: where a common size was right, that one ends the search.
pub(super) fn spread(low: u16, high: u16) -> Vec<u16> {
    let gap = u32::from(high.saturating_sub(low));
    let part = |n: u32| u16::try_from(u32::from(low) + gap * n / PARTS).unwrap_or(u16::MAX);
    let mut sizes = vec![low.saturating_add(1)];
    sizes.extend((1..PARTS).map(part));
    sizes.dedup();
    sizes.retain(|size| *size > low && *size < high);
    sizes.dedup();
    sizes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sizes_to_try_lie_between_and_rise(low in 68u16..9000, gap in 2u16..60_000) {
            let high = low.saturating_add(gap);
            for sizes in [common(low, high), spread(low, high)] {
                prop_assert!(!sizes.is_empty() && sizes.len() <= 21);
                prop_assert!(sizes.iter().all(|size| (low + 1..high).contains(size)), "{sizes:?} in {low}..{high}");
                prop_assert!(sizes.is_sorted_by(|a, b| a < b), "{sizes:?}");
            }
            prop_assert!(spread(low, high).contains(&(low + 1)));
            prop_assert_eq!(common(low, high).last().copied(), Some(high - 1));
        }
    }

    #[test]
    fn nothing_lies_between_neighbours() {
        assert!(common(1500, 1501).is_empty() && spread(1500, 1501).is_empty());
    }
}
