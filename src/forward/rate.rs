//! Token buckets: how often something may happen. Time is an argument.

use std::time::Duration;

use crate::types::Mono;

/// So many a second on average, so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// On average, per second; at least 1.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Rate {
    /// Echo requests of one peer, and its answers: a search for the size of a path sends some twenty at once, and up to a hundred
    /// in two seconds.
    pub const CONTROL: Self = Self { per_second: 100, burst: 100 };
    /// ICMP answers of one network to packets that are too big. A guest that has been told remembers it for minutes.
    pub const TOO_BIG: Self = Self { per_second: 100, burst: 100 };
    /// Events of one lane about frames of one source that were refused.
    pub const EVENT: Self = Self { per_second: 1, burst: 10 };
    /// The same of all sources.
    pub const EVENTS: Self = Self { per_second: 8, burst: 40 };
}

impl Rate {
    /// Flooded frames of one network that go out, or come from one peer, counted before they are copied to the members: a broadcast
    /// storm costs at most this. Sources have [fair shares](super::Fair) of it.
    pub const fn flood(per_second: u32) -> Self {
        Self { per_second, burst: per_second / 2 }
    }
}

/// The state of one rate. Full at first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    /// When the bucket will be full again, had nothing more been taken.
    full_at: Mono,
}

impl Bucket {
    /// Takes one token if there is one.
    pub fn take(&mut self, rate: Rate, now: Mono) -> bool {
        let cost = Duration::from_secs(1) / rate.per_second.max(1);
        self.spend(cost, cost * rate.burst, now)
    }

    /// Takes what fills itself again in `cost`, if no more than what fills itself in `most` is missing then.
    pub(super) fn spend(&mut self, cost: Duration, most: Duration, now: Mono) -> bool {
        let next = self.full_at.max(now) + cost;
        let fits = next.since(now) <= most;
        if fits {
            self.full_at = next;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate { per_second: 10, burst: 5 };
        let mut bucket = Bucket::default();
        let mut now = Mono::from_nanos(1_000_000_000_000);
        let burst = (0..20).filter(|_| bucket.take(rate, now)).count();
        assert_eq!(burst, 5);
        let mut given = 0;
        for _ in 0..1000 {
            now = now + Duration::from_millis(10);
            given += usize::from(bucket.take(rate, now));
        }
        assert!((99..=101).contains(&given), "{given} in ten seconds at ten a second");
    }

    #[test]
    fn an_idle_bucket_never_holds_more_than_its_burst() {
        let rate = Rate { per_second: 10, burst: 5 };
        let mut bucket = Bucket::default();
        let later = Mono::from_nanos(1) + Duration::from_secs(1_000_000);
        assert_eq!((0..20).filter(|_| bucket.take(rate, later)).count(), 5);
    }
}
