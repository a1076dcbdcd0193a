//! How often something is looked at that takes time: not more often than it is worth, and never for more than its share of a core.

use std::time::Duration;

use crate::clock::mono;
use crate::types::Mono;

/// Bounds of how often a thing is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// From one end to the next beginning, where it takes no time.
    pub(super) every: Duration,
    /// How many times longer it rests than it took: 200 is half a percent of a core.
    pub(super) share: u32,
    /// The longest rest, however long it took.
    pub(super) longest: Duration,
}

impl Pace {
    /// When it is due again, after it has begun at `start`.
    pub(super) fn after(self, start: Mono) -> Mono {
        let now = mono();
        now + self.rest(now.since(start))
    }

    fn rest(self, took: Duration) -> Duration {
        self.every.max(took.saturating_mul(self.share)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_done_seldom_and_never_more_seldom_than_its_longest_rest() {
        let pace = Pace { every: Duration::from_secs(5), share: 200, longest: Duration::from_secs(60) };
        for (took, rest) in [(0, 5000), (25, 5000), (100, 20_000), (1000, 60_000)] {
            assert_eq!(pace.rest(Duration::from_millis(took)), Duration::from_millis(rest), "{took} ms");
        }
    }
}
