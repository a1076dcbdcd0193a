use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const RATES: Rates = Rates {
    host: Rate::per_second(20, 5),
    site: Rate::per_second(80, 40),
    provider: Rate::per_second(160, 80),
    most: 4096,
};

/// The address of the how-manieth request.
type Address = fn(u16) -> IpAddr;

fn at(millis: u64) -> Mono {
    Mono::from_nanos(millis * 1_000_000)
}

fn v4(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(n).into()
}

/// An address of a /32, a /48 in it, a /64 in that, and a host in that.
fn v6(provider: u16, site: u16, net: u16, host: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, provider, site, net, 0, 0, 0, host).into()
}

#[test]
fn a_bucket_gives_a_burst_and_then_its_rate() {
    let rate = Rate::one_in(10, 3);
    let mut bucket = Bucket::full(rate, at(0));
    assert_eq!((0..100).filter(|_| bucket.take(rate, at(1))).count(), 3);
    assert_eq!((1..100).filter(|second| bucket.take(rate, at(second * 1_000))).count(), 9);
}

#[test]
fn who_waits_has_its_turn_at_the_rate() {
    let rate = Rate::per_second(4, 2);
    let mut bucket = Bucket::full(rate, at(0));
    let waits: Vec<u128> = (0..6).map(|_| bucket.wait(rate, at(0)).as_millis()).collect();
    assert_eq!(waits, [0, 0, 250, 500, 750, 1000]);
    assert_eq!(bucket.wait(rate, at(60_000)), Duration::ZERO, "and what is saved up is bounded");
    let all: Duration = (0..3).map(|_| bucket.wait(rate, at(60_000))).sum();
    assert_eq!(all.as_millis(), 250 + 500);
}

/// What each of many sources gets that ask once in a millisecond all together for ten seconds, one after the other.
fn flood(sources: &mut Sources, address: impl Fn(u16) -> IpAddr) -> usize {
    (0..10_000_u16).filter(|n| sources.allow(address(*n), at(u64::from(*n)))).count()
}

#[test]
fn every_size_of_source_has_its_own_rate_and_cannot_escape_within_its_prefix() {
    let kinds: [(&str, Address, u32, u32); 5] = [
        ("one IPv4 address", |_| v4(7), 20, 5),
        ("one IPv4 address, written as IPv6", |_| Ipv4Addr::from_bits(7).to_ipv6_mapped().into(), 20, 5),
        ("all hosts of a /64", |n| v6(1, 1, 1, n), 20, 5),
        ("all networks of a /48", |n| v6(1, 1, n, n), 80, 40),
        ("all sites of a /32", |n| v6(1, n, n, n), 160, 80),
    ];
    for (what, address, a_second, burst) in kinds {
        let passed = flood(&mut Sources::new(RATES, at(0)), address);
        let expected = usize::try_from(a_second * 10 + burst).unwrap();
        assert!(passed.abs_diff(expected) <= 2, "{what}: {passed}, not {expected}");
    }
}

#[test]
fn a_site_or_a_provider_cannot_fill_the_table_for_others() {
    let attackers: [(&str, Address); 3] =
        [("a /48", |n| v6(1, 1, n, 1)), ("a /32", |n| v6(1, n, n, 1)), ("one /64", |n| v6(1, 1, 1, n))];
    for (what, address) in attackers {
        let mut sources = Sources::new(RATES, at(0));
        for millisecond in 0..20_000_u64 {
            for n in 0..4 {
                sources.allow(address(u16::try_from((millisecond * 4 + n) % 65_536).unwrap()), at(millisecond));
            }
            if millisecond % 500 == 250 {
                let others =
                    [v4(u32::try_from(millisecond).unwrap()), v6(2, u16::try_from(millisecond).unwrap(), 1, 1)];
                for other in others {
                    assert!(sources.allow(other, at(millisecond)), "{what}: {other} has no room at {millisecond} ms");
                }
            }
        }
        assert!(sources.len() <= RATES.most, "{what}: {}", sources.len());
    }
}

#[test]
fn the_table_is_bounded_and_empties_by_itself() {
    let mut sources = Sources::new(RATES, at(0));
    let flood =
        |sources: &mut Sources, now| (0..20_000).filter(|n| sources.allow(v4(0x0a00_0000 + n), at(now))).count();
    assert_eq!(flood(&mut sources, 0), RATES.most);
    assert!(sources.allow(v6(1, 1, 1, 1), at(0)), "the other family has its own room");
    assert_eq!(flood(&mut sources, 2_000), RATES.most, "idle sources made room");
}
