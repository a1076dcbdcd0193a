//! Token buckets by where something comes from, in a table that nobody can fill for others.
//!
//! A source is an IPv4 address, or an IPv6 /64, which one host commands whole. But who has a /48 has 65,536 of them, and who has a
//! /32 has as many of those again; so each of the three has a bucket of its own, and something passes where all three have
//! enough. What a /48 makes the table remember is thereby bounded by what the /48 may have, not by how many addresses it tries.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::types::Mono;

const SECOND: Duration = Duration::from_secs(1);

/// How much at once, and how often one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// What can be saved up.
    pub burst: u32,
    /// Nanoseconds for each one more.
    cost: u64,
}

impl Rate {
    /// So many a second, not zero.
    pub const fn per_second(count: u32, burst: u32) -> Self {
        Self { burst, cost: 1_000_000_000 / if count == 0 { 1 } else { count as u64 } }
    }

    /// One in so many seconds.
    pub const fn one_in(seconds: u32, burst: u32) -> Self {
        Self { burst, cost: 1_000_000_000 * seconds as u64 }
    }

    /// Nanoseconds until an empty bucket is full.
    const fn full(self) -> u64 {
        self.cost.saturating_mul(self.burst as u64)
    }
}

/// One token bucket: when it was last looked at, and what was in it then, in nanoseconds of allowance.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    last: Mono,
    saved: u64,
}

impl Bucket {
    /// A full one.
    pub const fn full(rate: Rate, now: Mono) -> Self {
        Self { last: now, saved: rate.full() }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, rate: Rate, now: Mono) -> bool {
        let saved = self.fill(rate, now);
        *self = Self { last: now, saved: saved.checked_sub(rate.cost).unwrap_or(saved) };
        saved >= rate.cost
    }

    /// Whether there is one.
    pub fn holds(&self, rate: Rate, now: Mono) -> bool {
        self.fill(rate, now) >= rate.cost
    }

    /// Takes one that may not be there yet, and says how long it takes until it is.
    pub fn wait(&mut self, rate: Rate, now: Mono) -> Duration {
        let saved = self.fill(rate, now);
        match saved.checked_sub(rate.cost) {
            Some(left) => {
                *self = Self { last: now.max(self.last), saved: left };
                Duration::ZERO
            }
            None => {
                // The bucket is empty up to a moment that is still to come.
                let missing = Duration::from_nanos(rate.cost - saved);
                *self = Self { last: now.max(self.last) + missing, saved: 0 };
                self.last.since(now)
            }
        }
    }

    fn fill(self, rate: Rate, now: Mono) -> u64 {
        let gained = u64::try_from(now.since(self.last).as_nanos()).unwrap_or(u64::MAX);
        self.saved.saturating_add(gained).min(rate.full())
    }
}

/// What each kind of source may have.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// An IPv4 address or an IPv6 /64.
    pub host: Rate,
    /// An IPv6 /48.
    pub site: Rate,
    /// An IPv6 /32.
    pub provider: Rate,
    /// Sources that are remembered at one time, of each family.
    pub most: usize,
}

/// A bucket for each source.
#[derive(Debug)]
pub struct Sources {
    rates: Rates,
    v4: Table,
    v6: Table,
}

/// How many bits of an address name the source, and which.
type Key = (u8, u128);

/// The buckets of one family.
#[derive(Debug)]
struct Table {
    buckets: BTreeMap<Key, Bucket>,
    swept: Mono,
}

impl Sources {
    /// No source yet.
    pub const fn new(rates: Rates, now: Mono) -> Self {
        let v4 = Table { buckets: BTreeMap::new(), swept: now };
        Self { rates, v4, v6: Table { buckets: BTreeMap::new(), swept: now } }
    }

    /// Whether `source` may have one more now.
    pub fn allow(&mut self, source: IpAddr, now: Mono) -> bool {
        let Rates { host, site, provider, most } = self.rates;
        match source.to_canonical() {
            IpAddr::V4(ip) => self.v4.allow(&[((32, u128::from(ip.to_bits())), host)], most, now),
            IpAddr::V6(ip) => {
                let prefix = |bits: u8| (bits, ip.to_bits() >> (128 - u32::from(bits)));
                self.v6.allow(&[(prefix(32), provider), (prefix(48), site), (prefix(64), host)], most, now)
            }
        }
    }

    /// How many buckets there are.
    pub fn len(&self) -> usize {
        self.v4.buckets.len() + self.v6.buckets.len()
    }

    /// True before anything came.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    /// Takes one of each bucket where all of them have one; nothing is taken, and no bucket is made, where one has not.
    fn allow(&mut self, levels: &[(Key, Rate)], most: usize, now: Mono) -> bool {
        let missing = levels.iter().filter(|(key, _)| !self.buckets.contains_key(key)).count();
        if missing > 0 && !self.make_room(missing, most, levels, now) {
            return false;
        }
        let has_one = |(key, rate): &(Key, Rate)| self.buckets.get(key).is_none_or(|bucket| bucket.holds(*rate, now));
        if !levels.iter().all(has_one) {
            return false;
        }
        for (key, rate) in levels {
            self.buckets.entry(*key).or_insert_with(|| Bucket::full(*rate, now)).take(*rate, now);
        }
        true
    }

    /// Forgets sources whose bucket is full again, at most once a second; says whether so many more fit.
    fn make_room(&mut self, missing: usize, most: usize, levels: &[(Key, Rate)], now: Mono) -> bool {
        if self.buckets.len() + missing > most && now.since(self.swept) >= SECOND {
            self.swept = now;
            let full =
                |bits: u8| levels.iter().find(|((level, _), _)| *level == bits).map_or(0, |(_, rate)| rate.full());
            self.buckets.retain(|(bits, _), bucket| now.since(bucket.last) < Duration::from_nanos(full(*bits)));
        }
        self.buckets.len() + missing <= most
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
