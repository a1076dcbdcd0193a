//! How much others may make this node say. Guests, members and strangers decide how often something happens that is worth a line; so
//! each source has a budget for each kind of line, and so have all sources of a kind together. What is above is counted and told as a
//! number.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::Mono;

/// Lines of one kind about one source: at once, and one in this time on average.
const OF_SOURCE: Pace = Pace { burst: 20, every: Duration::from_secs(10) };
/// Lines of one kind, whatever they are about.
const OF_KIND: Pace = Pace { burst: 100, every: Duration::from_secs(1) };
/// Sources that are told apart. Those above share one budget.
const SOURCES: usize = 512;
/// How often what was held back is told.
const TELL: Duration = Duration::from_secs(30);

/// So many at once, and one more each time.
#[derive(Debug, Clone, Copy)]
struct Pace {
    burst: u32,
    every: Duration,
}

/// The state of one pace: when all of its burst will be there again.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket(Mono);

/// What has been said lately, and how much was not.
#[derive(Debug, Default)]
pub(super) struct Quota {
    kinds: BTreeMap<String, Kind>,
}

#[derive(Debug, Default)]
struct Kind {
    all: Bucket,
    sources: BTreeMap<String, Bucket>,
    /// Lines held back since they were last told.
    held: u64,
    told: Mono,
}

impl Bucket {
    fn take(&mut self, pace: Pace, now: Mono) -> bool {
        let next = self.0.max(now) + pace.every;
        let fits = next.since(now) <= pace.every * pace.burst;
        if fits {
            self.0 = next;
        }
        fits
    }
}

impl Quota {
    /// True where one more line of this kind about this source may be said.
    pub(super) fn admit(&mut self, kind: &str, source: &str, now: Mono) -> bool {
        if !self.kinds.contains_key(kind) {
            self.kinds.insert(kind.to_owned(), Kind { told: now, ..Kind::default() });
        }
        let Some(of) = self.kinds.get_mut(kind) else { return true };
        if !of.sources.contains_key(source) && of.sources.len() >= SOURCES {
            of.sources.retain(|_, bucket| bucket.0 > now);
        }
        let source = if of.sources.contains_key(source) || of.sources.len() < SOURCES { source } else { "" };
        // A source that has used up its own budget costs the others nothing.
        let admitted =
            of.sources.entry(source.to_owned()).or_default().take(OF_SOURCE, now) && of.all.take(OF_KIND, now);
        of.held += u64::from(!admitted);
        admitted
    }

    /// Kinds of which lines were held back, and how many, each once in a while.
    pub(super) fn held(&mut self, now: Mono) -> Vec<(String, u64)> {
        let mut held = Vec::new();
        for (kind, of) in &mut self.kinds {
            if of.held > 0 && now.since(of.told) >= TELL {
                held.push((kind.clone(), std::mem::take(&mut of.held)));
                of.told = now;
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(1_000_000_000_000) + Duration::from_secs(seconds)
    }

    fn admitted(quota: &mut Quota, source: &str, lines: u32, now: Mono) -> u32 {
        (0..lines).map(|_| u32::from(quota.admit("source-refused", source, now))).sum()
    }

    #[test]
    fn a_source_has_its_burst_and_then_one_line_in_ten_seconds() {
        let mut quota = Quota::default();
        assert_eq!(admitted(&mut quota, "a", 1000, at(0)), OF_SOURCE.burst);
        let later: u32 = (1..=100).map(|s| admitted(&mut quota, "a", 10, at(s))).sum();
        assert_eq!(later, 10);
    }

    #[test]
    fn a_source_that_shouts_takes_no_line_from_another_or_from_another_kind() {
        let mut quota = Quota::default();
        admitted(&mut quota, "loud", 100_000, at(0));
        assert_eq!(admitted(&mut quota, "quiet", 5, at(0)), 5);
        assert!(quota.admit("endpoint-moved", "loud", at(0)));
    }

    #[test]
    fn many_sources_together_have_a_sum_and_little_memory() {
        let mut quota = Quota::default();
        let mut lines = 0;
        for second in 0..10 {
            lines += (0..10_000).map(|n| admitted(&mut quota, &format!("{second}-{n}"), 1, at(second))).sum::<u32>();
        }
        assert!(lines <= OF_KIND.burst + 10, "{lines} lines of 100,000 in ten seconds");
        assert!(quota.kinds.values().all(|kind| kind.sources.len() <= SOURCES + 1));
    }

    #[test]
    fn what_was_held_back_is_told_as_a_number_once_in_a_while() {
        let mut quota = Quota::default();
        admitted(&mut quota, "a", 1000, at(0));
        assert_eq!(quota.held(at(1)), [], "not at once");
        assert_eq!(quota.held(at(31)), [("source-refused".to_owned(), u64::from(1000 - OF_SOURCE.burst))]);
        assert_eq!(quota.held(at(62)), [], "and not twice");
    }
}
