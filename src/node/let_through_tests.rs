use std::collections::BTreeSet;

use super::*;
use crate::node::causes;
use crate::node::named_guests::tests::slice;
use crate::node::older::Older;
use crate::probe::crossing::Protocol;

fn way() -> Way {
    let [bridge, near, far] =
        ["vb16777215.12b5", "vp16777215.12b5", "vq16777215.12b5"].map(|name| name.parse().unwrap());
    Way { bridge, near, far, flows: Vec::new() }
}

fn cut_off() -> Finding {
    lost(Some(false))
}

fn lost(ipv6: Option<bool>) -> Finding {
    let cut = Cut { ipv6, ..Cut::node(true) };
    Finding::new(DROPS_FRAMES, "IPv4 is dropped".to_owned(), "open it").cuts(cut)
}

fn judged(rules: &str, found: Vec<Finding>) -> Vec<Finding> {
    let older = vec![Older::read("iptables-legacy", "filter", rules)];
    let book = Book { older, host: [Protocol::Ipv4, Protocol::Ipv6].into(), ..Book::default() };
    judge(found, &book, Some(&way()), (&slice(), &Presence::default()))
}

#[test]
fn a_firewall_that_lets_guests_through_hits_the_watch_and_no_guest() {
    let rules = "-P FORWARD DROP\n-A FORWARD -s 192.168.10.0/24 -d 192.168.10.0/24 -j ACCEPT";
    for found in [vec![], vec![cut_off()]] {
        let told = judged(rules, found);
        let [one] = &told[..] else { panic!("{told:?}") };
        assert_eq!(one.code, AT_PORT);
        assert!(one.what.contains(" vt16777215.12b5, ") && one.cut.is_none() && causes::watch_is_hit(&told), "{one:?}");
    }
}

#[test]
fn where_some_guests_are_let_through_the_others_are_not_certain() {
    let rules = "-P FORWARD DROP\n-A FORWARD -s 192.168.10.1/32 -j ACCEPT\n-A FORWARD -d 192.168.10.1/32 -j ACCEPT";
    let told = judged(rules, vec![cut_off()]);
    let codes: BTreeSet<&str> = told.iter().map(|one| one.code.as_str()).collect();
    assert_eq!(codes, [DROPS_FRAMES, AT_PORT].into());
    let lost = told.iter().find(|one| one.code == DROPS_FRAMES).unwrap();
    assert!(lost.what.contains("3 of 4") && lost.cut.as_ref().is_some_and(|cut| !cut.surely && cut.node), "{lost:?}");
}

#[test]
fn what_was_not_looked_at_is_not_certain_and_never_gone() {
    let rules = "-P FORWARD DROP\n-A FORWARD -s 192.168.10.0/24 -d 192.168.10.0/24 -j ACCEPT";
    let doubted = |told: &[Finding]| {
        let one = told.iter().find(|one| one.code == DROPS_FRAMES);
        one.is_some_and(|one| one.cut.as_ref().is_some_and(|cut| !cut.surely))
    };
    assert!(doubted(&judged(rules, vec![lost(None)])), "no guest has an IPv6 address");
    let mut many = slice();
    for n in 10..40 {
        let row = many.rows.values().next().unwrap().clone();
        many.rows.insert(format!("default/10/-/02:00:00:00:00:{n}").parse().unwrap(), row);
    }
    let older = vec![Older::read("iptables-legacy", "filter", rules)];
    let book = Book { older, host: [Protocol::Ipv4].into(), ..Book::default() };
    assert!(doubted(&judge(vec![cut_off()], &book, Some(&way()), (&many, &Presence::default()))), "more guests");
}

#[test]
fn where_nobody_passes_or_all_do_what_is_found_stays() {
    assert_eq!(judged("-P FORWARD DROP", vec![cut_off()]), [cut_off()]);
    assert_eq!(judged("-P FORWARD ACCEPT", vec![cut_off()]), [cut_off()], "something drops that cannot be read");
    assert_eq!(judged("-P FORWARD ACCEPT", vec![]), []);
}

/// Both families at each guest, and rules of IPv4 alone.
fn of_both(rules: &str, found: Vec<Finding>) -> Vec<Finding> {
    let mut slice = slice();
    for (number, row) in (1..).zip(slice.rows.values_mut()) {
        row.nd.insert(std::net::Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, number));
    }
    let older = vec![Older::read("iptables-legacy", "filter", rules)];
    let book = Book { older, host: [Protocol::Ipv4, Protocol::Ipv6].into(), ..Book::default() };
    judge(found, &book, Some(&way()), (&slice, &Presence::default()))
}

#[test]
fn a_chain_that_drops_all_ipv4_of_guests_is_one_fault_and_lets_nothing_of_them_through() {
    assert_eq!(of_both("-P FORWARD DROP", vec![cut_off()]), [cut_off()], "it is certain, and told once");
    let told = of_both("-P FORWARD DROP", vec![lost(None)]);
    let text = |code: &str| told.iter().find(|one| one.code == code).map_or("", |one| one.what.as_str());
    assert!(text(DROPS_FRAMES).contains("rules let 4 of 8 looked-at kinds"), "{told:?}");
    assert!(text(AT_PORT).contains("as IPv4 of guests is; rules let IPv6 of guests through"), "{told:?}");
    assert!(!text(AT_PORT).contains("which lets"), "{told:?}");
    // Of a firewall that lets some through, IPv4 alone is counted where that is what is lost.
    let some = "-P FORWARD DROP\n-A FORWARD -s 192.168.10.1/32 -j ACCEPT\n-A FORWARD -d 192.168.10.1/32 -j ACCEPT";
    let told = of_both(some, vec![cut_off()]);
    let codes: BTreeSet<&str> = told.iter().map(|one| one.code.as_str()).collect();
    assert_eq!(codes, [DROPS_FRAMES, AT_PORT].into());
    assert!(told.iter().any(|one| one.what.contains("rules let 3 of 4 looked-at kinds")), "{told:?}");
}
