use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::node::causes;
use crate::node::older::Older;
use crate::node::plan::tests as plans;
use crate::probe::crossing::Protocol;

/// `one` and `two` on this node, `three` on another of its PDC.
fn slice() -> Slice {
    let mut slice = plans::slice("suppress", json!({}));
    slice.rows.clear();
    for (n, port, node) in [(1, "one", "a"), (2, "two", "a"), (3, "three", "b")] {
        let row =
            json!({"node": node, "interface": format!("tap{n}"), "port": port, "arp": [format!("192.168.10.{n}")]});
        let key = format!("default/10/-/02:00:00:00:00:0{n}").parse().unwrap();
        slice.rows.insert(key, serde_json::from_value(row).unwrap());
    }
    slice
}

fn way() -> Way {
    let [bridge, near, far] =
        ["vb16777215.12b5", "vp16777215.12b5", "vq16777215.12b5"].map(|name| name.parse().unwrap());
    Way { bridge, near, far, flows: Vec::new() }
}

fn cut_off() -> Finding {
    Finding::new(DROPS_FRAMES, "IPv4 is dropped".to_owned(), "open it").cuts(Cut::node(true))
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
fn where_nobody_passes_or_all_do_what_is_found_stays() {
    assert_eq!(judged("-P FORWARD DROP", vec![cut_off()]), [cut_off()]);
    assert_eq!(judged("-P FORWARD ACCEPT", vec![cut_off()]), [cut_off()], "something drops that cannot be read");
    assert_eq!(judged("-P FORWARD ACCEPT", vec![]), []);
}
