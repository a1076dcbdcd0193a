//! Sizes between the least and the largest that passes: a filter on lengths may drop some of them, while the echoes of both ends pass.

/// Parts that the range is divided into; what lies between two of them is asked for.
const PARTS: u16 = 6;
/// How often one size must be lost in a row, while others pass.
const LOST: u8 = 3;

/// Which size is asked for next, and what came of the last.
#[derive(Debug, Default)]
pub(super) struct Middle {
    part: u16,
    /// The last was answered, so the next round is left out: half of all echoes would be of this kind.
    rests: bool,
    /// The echo under way, and its size.
    asked: Option<(u64, u16)>,
    lost: u8,
    hole: Option<u16>,
}

impl Middle {
    /// The next size between `low` and `high`, with its token, every other time; none as well: there is nothing between. What was asked before and
    /// has not been answered by now is lost: the same size is asked for again.
    pub(super) fn next(&mut self, low: u16, high: u16, token: u64) -> Option<u16> {
        if std::mem::take(&mut self.rests) {
            return None;
        }
        if let Some((_, size)) = self.asked.take() {
            self.lost = self.lost.saturating_add(1);
            if self.lost >= LOST {
                self.hole = Some(size);
            }
        }
        let gap = high.saturating_sub(low);
        let size = low + u16::try_from(u32::from(gap) * u32::from(self.part + 1) / u32::from(PARTS)).unwrap_or(gap);
        if size <= low || size >= high {
            *self = Self::default();
            return None;
        }
        self.asked = Some((token, size));
        Some(size)
    }

    /// An echo was answered: where it is the one that was asked for, the next size has its turn.
    pub(super) fn answered(&mut self, token: u64) {
        if self.asked.is_some_and(|(asked, _)| asked == token) {
            *self = Self { part: (self.part + 1) % (PARTS - 1), rests: true, ..Self::default() };
        }
    }

    /// The path is asked otherwise for now: what is under way tells nothing.
    pub(super) fn forget(&mut self) {
        self.asked = None;
    }

    /// True while one was lost and it is not known yet what that tells.
    pub(super) fn hurries(&self) -> bool {
        self.lost > 0 && self.hole.is_none()
    }

    /// A size that is lost while smaller and larger ones pass.
    pub(super) fn hole(&self) -> Option<u16> {
        self.hole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds until a hole is found on a path that drops `lost`.
    fn found(lost: std::ops::Range<u16>) -> Option<u64> {
        let mut middle = Middle::default();
        for round in 0..40 {
            let size = middle.next(128, 1450, round);
            if middle.hole().is_some() {
                return Some(round);
            }
            assert!(size.is_none_or(|size| size > 128 && size < 1450));
            if size.is_some_and(|size| !lost.contains(&size)) {
                assert!(!middle.hurries());
                middle.answered(round);
            }
        }
        None
    }

    #[test]
    fn a_hole_in_the_middle_is_found_and_ends_and_a_whole_path_has_none() {
        assert_eq!(found(0..0), None);
        assert_eq!(found(600..1100), Some(7), "two sizes with a rest behind each, and three of the third");
        assert_eq!(found(1000..1020), Some(9));
        let mut middle = Middle::default();
        for round in 0..4 {
            let _ = middle.next(128, 1450, round);
        }
        assert!(middle.hole().is_some());
        middle.answered(99);
        assert!(middle.hole().is_some(), "another echo is none of it");
        middle.answered(3);
        assert_eq!(middle.hole(), None);
        // Lost ones that are not in a row are none, and a path without a middle has none.
        assert_eq!(middle.next(128, 129, 9), None);
    }
}
