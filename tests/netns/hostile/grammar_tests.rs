use std::collections::BTreeSet;

use super::*;

fn numbers(first: u32, count: u32) -> Vec<u32> {
    (first..first + count).collect()
}

fn who(last: u8) -> Who {
    let six = Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, last.into());
    Who { mac: Mac([2, 0, 0, 0, 0, last]), four: Ipv4Addr::new(192, 168, 10, last), six }
}

fn cast() -> Cast {
    Cast {
        me: who(1),
        vlan: None,
        victims: vec![who(2), who(3)],
        gateway: who(4),
        hosts: vec![who(5)],
        devices: vec![Mac([2, 0, 0, 0, 1, 1])],
        nobody: who(99),
        asked: vec![([1, 2, 3, 4], Mac([2, 0, 0, 0, 0, 2]))],
    }
}

#[test]
fn the_same_seed_is_the_same_burst_and_an_element_is_the_same_in_any() {
    let cast = cast();
    for seed in 0..20 {
        let whole = burst(seed, &numbers(0, 200), &cast);
        assert_eq!(whole, burst(seed, &numbers(0, 200), &cast));
        assert_ne!(whole, burst(seed + 1, &numbers(0, 200), &cast));
        assert_eq!(
            whole[150..],
            burst(seed, &numbers(150, 50), &cast),
            "the element does not depend on what came before"
        );
    }
}

#[test]
fn every_frame_can_be_sent() {
    let cast = cast();
    for element in (0..30).flat_map(|seed| burst(seed, &numbers(0, 500), &cast)) {
        assert!(!element.frames.is_empty(), "{element:?}");
        for frame in &element.frames {
            assert!((14..=1514).contains(&frame.len()), "{} bytes: {}", frame.len(), element.what);
        }
    }
}

#[test]
fn all_kinds_come_and_most_carry_their_mark() {
    let all = burst(7, &numbers(0, 10_000), &cast());
    let words: BTreeSet<String> = all
        .iter()
        .flat_map(|e| e.what.split(' '))
        .map(|word| word.split([':', '@', '[', 'x']).next().unwrap().to_owned())
        .collect();
    for kind in [
        "to", "arp", "ip", "udp", "dhcp", "icmp", "tcp", "carries", "ra", "nd", "redirect", "icmp6", "dhcp6", "header",
        "fragment", "pieces", "option", "sum", "tags", "llc", "type", "from-mac", "cut", "long", "bits",
    ] {
        assert!(words.contains(kind), "{kind} is not among {words:?}");
    }
    let marked = all.iter().filter(|e| e.frames.iter().any(|frame| marks(frame).eq([e.number]))).count();
    assert!(marked > 8000, "{marked} of 10000 are marked");
}

#[test]
fn a_tagged_attacker_mostly_uses_its_tag() {
    let own = burst(1, &numbers(0, 1000), &Cast { vlan: Some(7), ..cast() });
    let tagged = own.iter().filter(|e| e.frames[0][12..16] == [0x81, 0, 0, 7]).count();
    assert!(tagged > 700, "{tagged}");
}
