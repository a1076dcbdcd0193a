//! Whether handshakes come faster than we care to compute them, and what one source may have then.
//!
//! All sources together decide whether we are under load, so a flood from spoofed addresses is seen; the allowance of one
//! source counts only once a cookie has proved its address, so a spoofed flood takes nobody's. Neither alone does both.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::limits::{LOAD_INITIATIONS_PER_SECOND, SOURCE_BURST, SOURCE_PER_SECOND, SOURCES};
use crate::types::Mono;

const SECOND: Duration = Duration::from_secs(1);

/// Initiations of the running second, all sources together.
pub(super) struct Load {
    limit: u32,
    since: Mono,
    count: u32,
    until: Option<Mono>,
}

impl Load {
    /// Nothing has come yet.
    pub(super) const fn new(now: Mono) -> Self {
        Self { limit: LOAD_INITIATIONS_PER_SECOND, since: now, count: 0, until: None }
    }

    /// Sets how many initiations a second are too many.
    pub(super) const fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Counts an initiation and says whether we are under load: from the one past the limit on, until a second after the last
    /// such one.
    pub(super) fn count(&mut self, now: Mono) -> bool {
        if now.since(self.since) >= SECOND {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        if self.count > self.limit {
            self.until = Some(now + SECOND);
        }
        self.until.is_some_and(|until| now < until)
    }
}

/// Nanoseconds of allowance that one handshake takes.
const COST: u64 = 1_000_000_000 / SOURCE_PER_SECOND as u64;
/// Nanoseconds of allowance that a source can save up.
const FULL: u64 = COST * SOURCE_BURST as u64;

/// A token bucket for each source that has proved its address.
pub(super) struct Sources {
    /// By prefix: when the bucket was last looked at and what was in it, in nanoseconds.
    buckets: BTreeMap<u128, (Mono, u64)>,
    swept: Mono,
}

impl Sources {
    /// No source yet.
    pub(super) const fn new(now: Mono) -> Self {
        Self { buckets: BTreeMap::new(), swept: now }
    }

    /// Whether `source` may have a handshake now. A source is an IPv4 address or an IPv6 /64, which one host commands whole.
    pub(super) fn allow(&mut self, source: IpAddr, now: Mono) -> bool {
        let key = match source.to_canonical() {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits() >> 64 << 64 | 1 << 63,
        };
        if !self.buckets.contains_key(&key) && !self.make_room(now) {
            return false;
        }
        let (last, saved) = self.buckets.entry(key).or_insert((now, FULL));
        let gained = u64::try_from(now.since(*last).as_nanos()).unwrap_or(FULL);
        (*last, *saved) = (now, saved.saturating_add(gained).min(FULL));
        let allowed = *saved >= COST;
        if allowed {
            *saved -= COST;
        }
        allowed
    }

    /// Forgets sources whose bucket is full again, at most once a second; says whether one more fits.
    fn make_room(&mut self, now: Mono) -> bool {
        if self.buckets.len() >= SOURCES && now.since(self.swept) >= SECOND {
            self.swept = now;
            self.buckets.retain(|_, (last, _)| now.since(*last) < Duration::from_nanos(FULL));
        }
        self.buckets.len() < SOURCES
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
