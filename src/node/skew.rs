//! How far the clock of this machine is from that of the management node. Certificates, tokens and the order of events hang on it.

use std::time::Duration;

use crate::api::local::Finding;
use crate::types::Wall;

/// Clocks that differ by more than this are told of.
const FAR: Duration = Duration::from_secs(30);
/// Looks in a row that must find the same: lines that waited while this machine slept, or while the network did, are old.
const LOOKS: u8 = 3;

/// Compares the two clocks.
#[derive(Debug, Default)]
pub struct Skew {
    /// Looks in a row that found them far apart.
    far: u8,
    /// What was said last: by how much, and whether this one is ahead.
    said: Option<(Duration, bool)>,
}

impl Skew {
    /// Takes what both clocks say at one moment; what is to be told of it.
    pub fn look(&mut self, here: Wall, there: Wall) -> Vec<Finding> {
        let ahead = here > there;
        let apart = if ahead { here.since(there) } else { there.since(here) };
        if apart <= FAR {
            *self = Self::default();
            return Vec::new();
        }
        self.far = self.far.saturating_add(1);
        if self.far < LOOKS {
            return self.finding();
        }
        // It stays said as it was said while it is about so: a clock that drifts is no news every two seconds.
        let about =
            |(said, was_ahead): (Duration, bool)| was_ahead == ahead && apart.abs_diff(said) <= FAR.max(said / 4);
        if !self.said.is_some_and(about) {
            self.said = Some((apart, ahead));
        }
        self.finding()
    }

    fn finding(&self) -> Vec<Finding> {
        let finding = |(apart, ahead): (Duration, bool)| {
            let side = if ahead { "ahead of" } else { "behind" };
            let by = humantime::format_duration(Duration::from_secs(apart.as_secs()));
            let what = format!("the clock of this machine is {by} {side} that of the management node");
            Finding::new(
                "M0690",
                what,
                "on both machines: timedatectl; certificates and tokens are judged by these clocks",
            )
        };
        self.said.map(finding).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Wall {
        Wall::from_secs(1_800_000_000 + secs)
    }

    fn said(findings: &[Finding]) -> String {
        findings.iter().map(|finding| finding.what.clone()).collect()
    }

    #[test]
    fn clocks_that_are_far_apart_for_three_looks_are_told_of_until_they_agree() {
        for (here, there, words) in [
            (at(1000), at(0), "16m 40s ahead of"),
            (at(0), at(1000), "16m 40s behind"),
            (at(31), at(0), "31s ahead of"),
            (at(0), at(31), "31s behind"),
            (Wall::from_secs(0), at(0), "behind"),
        ] {
            let mut skew = Skew::default();
            assert!(skew.look(here, there).is_empty() && skew.look(here, there).is_empty(), "one line may be late");
            let found = skew.look(here, there);
            assert!(said(&found).contains(words) && found[0].code == "M0690", "{found:?}");
            assert!(skew.look(at(0), at(30)).is_empty(), "they agree again");
            assert!(skew.look(here, there).is_empty(), "it is counted anew");
        }
    }

    #[test]
    fn lines_that_were_late_are_no_skew_and_a_drift_is_no_news() {
        let mut skew = Skew::default();
        for (late, apart) in [(60, 0), (58, 0), (0, 0), (40, 0), (40, 0), (2, 0)] {
            assert!(skew.look(at(100 + late + apart), at(100)).is_empty());
        }
        let first = (0..3).map(|_| skew.look(at(100), at(0))).last().unwrap();
        for drift in 0..25 {
            assert_eq!(skew.look(at(100 + drift), at(0)), first);
        }
        assert_ne!(skew.look(at(400), at(0)), first, "that is another thing");
        assert_ne!(skew.look(at(0), at(100)), first, "so is the other side");
    }
}
