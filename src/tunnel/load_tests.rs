use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

fn at(millis: u64) -> Mono {
    Mono::from_nanos(millis * 1_000_000)
}

#[test]
fn load_begins_past_the_limit_and_ends_a_second_after_the_last_excess() {
    let mut load = Load::new(at(0));
    assert!((0..LOAD_INITIATIONS_PER_SECOND).all(|_| !load.count(at(10))));
    assert!(load.count(at(500)));
    assert!(load.count(at(1_499)), "a new second has begun, the load is still remembered");
    assert!(!load.count(at(1_500)));
}

#[test]
fn counts_are_forgotten_even_if_nothing_else_ever_happens() {
    let mut load = Load::new(at(0));
    for second in 0..1_000 {
        assert!(!load.count(at(second * 1_000)));
    }
}

#[test]
fn a_source_has_a_burst_and_then_its_rate() {
    let mut sources = sources(at(0));
    let source = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
    let allowed =
        |sources: &mut Sources, from: u64, to: u64| (from..to).filter(|ms| sources.allow(source, at(*ms))).count();
    assert_eq!((0..100).filter(|_| sources.allow(source, at(0))).count(), 5);
    assert_eq!(allowed(&mut sources, 1, 10_001), 200);
    assert!(sources.allow(IpAddr::from(Ipv4Addr::new(192, 0, 2, 2)), at(10_001)), "another source is another bucket");
}

#[test]
fn an_ipv6_host_or_site_cannot_escape_within_its_prefix() {
    let address = |low: u128| IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | low));
    for (shift, allowed) in [(0, 5), (64, 40), (80, 80)] {
        let mut sources = sources(at(0));
        assert_eq!((0..1_000).filter(|n| sources.allow(address(*n << shift), at(0))).count(), allowed, "2^{shift}");
    }
}

/// The table has room for a peer that comes once in a while, however many networks of its own a site tries for how long.
#[test]
fn a_site_that_uses_all_its_networks_shuts_nobody_out() {
    let mut sources = sources(at(0));
    let flood = |n: u64| IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(n % 65_536) << 64 | 1));
    for millisecond in 0..30_000 {
        let tried = (0..8).filter(|n| sources.allow(flood(millisecond * 8 + n), at(millisecond))).count();
        assert!(tried <= 8);
        if millisecond % 100 == 50 {
            let peer = IpAddr::from(Ipv6Addr::from_bits(0x2001_0db9 << 96 | u128::from(millisecond) << 64 | 1));
            assert!(sources.allow(peer, at(millisecond)), "at {millisecond} ms");
        }
    }
    assert!(sources.len() < SOURCES, "{}", sources.len());
}

#[test]
fn the_table_of_sources_is_bounded_and_empties_by_itself() {
    let mut sources = sources(at(0));
    let flood = |sources: &mut Sources, now| {
        (0..20_000_u32).filter(|i| sources.allow(Ipv4Addr::from_bits(0x0a00_0000 + i).into(), at(now))).count()
    };
    assert_eq!((flood(&mut sources, 0), sources.len()), (SOURCES, SOURCES));
    assert_eq!(flood(&mut sources, 2_000), SOURCES, "idle sources made room");
}
