//! How many cookie replies are sent: who calls without a cookie costs a bounded part of a core, and leaves others theirs.
//!
//! One source has a rate, so a source that floods is answered at that rate and takes nobody's. Sources that are forged without end
//! use up what is for all; what is for addresses of peers is kept apart from it, so that peers still get theirs.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::limits::{ALL_COOKIES, COOKIES_BURST, COOKIES_PER_SECOND, PROVIDER_COOKIES, SITE_COOKIES, SOURCES};
use crate::policy::sources::{Bucket, Rate, Rates, Sources};
use crate::types::Mono;

const RATES: Rates = Rates {
    host: Rate::per_second(COOKIES_PER_SECOND, COOKIES_BURST),
    site: Rate::per_second(SITE_COOKIES, SITE_COOKIES),
    provider: Rate::per_second(PROVIDER_COOKIES, PROVIDER_COOKIES),
    most: SOURCES,
};
const ALL: Rate = Rate::per_second(ALL_COOKIES, ALL_COOKIES);
/// How long it is believed which addresses are of peers.
const KNOWN_TIME: Duration = Duration::from_secs(1);

/// Allowances of cookie replies.
pub(super) struct Replies {
    sources: Sources,
    strangers: Bucket,
    peers: Bucket,
    known: BTreeSet<IpAddr>,
    looked: Option<Mono>,
}

impl Replies {
    /// Nothing has been sent yet.
    pub(super) const fn new(now: Mono) -> Self {
        let (strangers, peers) = (Bucket::full(ALL, now), Bucket::full(ALL, now));
        Self { sources: Sources::new(RATES, now), strangers, peers, known: BTreeSet::new(), looked: None }
    }

    /// Whether `to` gets a cookie now. `endpoints` are where peers are; they are read at most once a second.
    pub(super) fn allow(&mut self, to: IpAddr, now: Mono, endpoints: impl Iterator<Item = SocketAddr>) -> bool {
        if self.looked.is_none_or(|looked| now.since(looked) >= KNOWN_TIME) {
            self.looked = Some(now);
            self.known = endpoints.map(|endpoint| endpoint.ip().to_canonical()).collect();
        }
        let all = if self.known.contains(&to.to_canonical()) { &mut self.peers } else { &mut self.strangers };
        // In this order a source that has had its part takes nothing of all, and one that gets nothing of all is not remembered.
        all.holds(ALL, now) && self.sources.allow(to, now) && all.take(ALL, now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    fn stranger(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    const ENDPOINT: ([u8; 4], u16) = ([192, 0, 2, 1], 51820);

    fn allow(replies: &mut Replies, to: IpAddr, millis: u64) -> bool {
        replies.allow(to, at(millis), [SocketAddr::from(ENDPOINT)].into_iter())
    }

    /// So many calls a millisecond for ten seconds, of the sources that the number of a call gives, and ten a second of another one. How many
    /// of the flood's are answered, and how many of the hundred of the other.
    fn flood(a_millisecond: u32, source: fn(u32) -> IpAddr, other: IpAddr) -> (usize, usize) {
        let (mut replies, mut flood, mut others) = (Replies::new(at(0)), 0, 0);
        for millis in 0..10_000 {
            let calls = (0..a_millisecond).map(|number| millis * a_millisecond + number);
            flood += calls.filter(|call| allow(&mut replies, source(*call), millis.into())).count();
            others += usize::from(millis % 100 == 50 && allow(&mut replies, other, millis.into()));
            assert!(replies.sources.len() <= SOURCES);
        }
        (flood, others)
    }

    #[test]
    fn a_source_that_floods_is_answered_at_its_rate_and_others_get_theirs() {
        let (flood, other) = flood(8, |_| stranger(1), stranger(2));
        assert!((1000..=1100).contains(&flood), "{flood} in ten seconds");
        assert_eq!(other, 100, "who floods takes nothing of others");
    }

    #[test]
    fn sources_without_end_have_a_sum_and_peers_get_theirs() {
        let (flood, peer) = flood(100, stranger, SocketAddr::from(ENDPOINT).ip());
        assert!((10_000..=11_100).contains(&flood), "{flood} in ten seconds");
        assert_eq!(peer, 100);
    }
}
