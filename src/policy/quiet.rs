//! What strangers cause is said a few times and then counted: by source, and of all sources together. What was kept back is said
//! as a number, so a flood is seen and fills nothing.

use std::net::IpAddr;

use super::sources::{Bucket, Rate, Rates, Sources};
use crate::types::Mono;

/// How often one may speak, and all together.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// By source.
    pub sources: Rates,
    /// All of them.
    pub all: Rate,
}

/// Whether one more line or entry about one thing is worth saying.
#[derive(Debug, Default)]
pub struct Hush {
    /// None: nothing has been said.
    bucket: Option<Bucket>,
    kept_back: u64,
}

impl Hush {
    /// May something be said? If so: how much was kept back since something was said last.
    pub fn may(&mut self, rate: Rate, now: Mono) -> Option<u64> {
        if self.bucket.get_or_insert_with(|| Bucket::full(rate, now)).take(rate, now) {
            return Some(std::mem::take(&mut self.kept_back));
        }
        self.keep_back(1);
        None
    }

    /// Counts what is not said.
    pub const fn keep_back(&mut self, count: u64) {
        self.kept_back = self.kept_back.saturating_add(count);
    }

    /// What was kept back and not said yet, where there is any. To be asked from time to time: a flood may end without a word.
    pub fn rest(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.kept_back)).filter(|count| *count > 0)
    }
}

/// Whether one more line or entry about a stranger is worth saying.
#[derive(Debug)]
pub struct Quiet {
    patience: Patience,
    sources: Sources,
    all: Hush,
}

impl Quiet {
    /// Nothing has been said.
    pub fn new(patience: Patience, now: Mono) -> Self {
        Self { patience, sources: Sources::new(patience.sources, now), all: Hush::default() }
    }

    /// May something be said about `source`? If so: how much was kept back since something was said last.
    pub fn may(&mut self, source: IpAddr, now: Mono) -> Option<u64> {
        if self.sources.allow(source, now) {
            return self.all.may(self.patience.all, now);
        }
        self.all.keep_back(1);
        None
    }

    /// As [`Hush::rest`].
    pub fn rest(&mut self) -> Option<u64> {
        self.all.rest()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PATIENCE: Patience = Patience {
        sources: Rates {
            host: Rate::one_in(10, 4),
            site: Rate::one_in(2, 8),
            provider: Rate::one_in(1, 16),
            most: 1024,
        },
        all: Rate::per_second(2, 32),
    };

    #[test]
    fn a_source_says_little_and_all_of_them_not_much_more_and_the_rest_is_a_number() {
        for (sources, least, most) in [(1_u32, 4, 6), (4096, 32, 55)] {
            let mut quiet = Quiet::new(PATIENCE, Mono::default());
            let (mut said, mut kept_back) = (0, 0);
            for n in 0..100_000_u32 {
                let now = Mono::from_nanos(u64::from(n) * 100_000);
                if let Some(before) = quiet.may(Ipv4Addr::from_bits(n % sources).into(), now) {
                    (said, kept_back) = (said + 1, kept_back + before);
                }
            }
            assert!((least..=most).contains(&said), "{sources} sources: {said} in ten seconds");
            assert_eq!(kept_back + quiet.rest().unwrap_or(0) + said, 100_000, "nothing is forgotten");
            assert_eq!(quiet.rest(), None);
        }
    }
}
