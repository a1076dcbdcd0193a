use super::*;

const TAP: &str = "tap1";

fn told(attached: Attached) -> Vec<Finding> {
    let at = At {
        words: "tap1 in bridge vb10.12b5".to_owned(),
        cut: Cut { surely: true, node: true, ..Cut::default() },
        line: false,
    };
    findings(&[(TAP.parse().unwrap(), at)].into(), &[(TAP.parse().unwrap(), attached)].into())
}

fn queue(kind: &str, does: Does) -> Vec<Finding> {
    told(Attached { queue: Some(Queue { kind: kind.to_owned(), does }), ..Attached::default() })
}

fn filter(protocol: u16, whole: bool, fate: Fate) -> Filter {
    Filter { kind: "u32".to_owned(), pref: 7, protocol, whole, parts: Vec::new(), fate }
}

fn filters(side: Side, filters: Vec<Filter>) -> Vec<Finding> {
    told(Attached { filters: [(side, filters)].into(), ..Attached::default() })
}

#[test]
fn a_queue_is_told_where_next_to_nothing_leaves_it_and_no_other() {
    let tbf = |rate, burst, limit| Does::Shapes { rate, burst, limit };
    for (does, surely) in [
        (Does::Packets(0), Some(true)),
        (Does::Packets(1), None),
        (Does::Bytes(59), Some(true)),
        (Does::Bytes(60), Some(false)),
        (Does::Bytes(1294), None),
        (tbf(1_000_000, 1293, 9000), Some(false)),
        (tbf(1_000_000, 1600, 1293), Some(false)),
        (Does::Drops, Some(true)),
        (tbf(1, 1, 1), Some(true)),
        (tbf(1_000_000, 59, 9000), Some(true)),
        (tbf(1_000_000, 1600, 59), Some(true)),
        (tbf(59, 1600, 9000), Some(true)),
        (tbf(7_999, 1600, 9000), Some(false)),
        (tbf(8_000, 1600, 9000), None),
        (Does::Loses(u32::MAX, 1000), Some(true)),
        (Does::Loses(u32::MAX / 100 * 95, 1000), Some(false)),
        (Does::Loses(u32::MAX / 2, 1000), None),
        (Does::Loses(0, 0), Some(true)),
        (Does::Other, None),
    ] {
        let found = queue("kind", does);
        let cut = found.first().and_then(|finding| finding.cut.as_ref());
        assert_eq!(cut.map(|cut| (cut.node, cut.surely)), surely.map(|surely| (true, surely)), "{does:?}: {found:?}");
        assert!(found.iter().all(|one| one.what.starts_with("what goes to tap1 in bridge vb10.12b5 is")), "{found:?}");
        assert!(found.iter().all(|one| one.help.starts_with("tc qdisc del dev tap1 root")), "{found:?}");
    }
}

#[test]
fn a_filter_is_told_where_it_takes_every_frame_of_a_family() {
    let drop = |protocol| filter(protocol, true, Fate::Dropped);
    let some = filter(ALL, false, Fate::Dropped);
    let passes = filter(ALL, false, Fate::Passes);
    let unread = filter(ALL, true, Fate::Unread);
    let on = filter(ALL, true, Fate::GoesOn);
    for (all, cut) in [
        (vec![drop(ALL)], vec![None]),
        (vec![drop(IPV4)], vec![Some(false)]),
        (vec![drop(ARP)], vec![Some(false)]),
        (vec![drop(IPV6)], vec![Some(true)]),
        (vec![drop(IPV4), drop(IPV6)], vec![Some(false), Some(true)]),
        (vec![some.clone()], vec![]),
        (vec![some, on, drop(ALL)], vec![None]),
        (vec![passes, drop(ALL)], vec![]),
        (vec![unread.clone(), drop(ALL)], vec![]),
        (vec![unread], vec![]),
    ] {
        let found = filters(Side::Ingress, all.clone());
        let cuts: Vec<_> = found.iter().map(|finding| finding.cut.as_ref().unwrap().ipv6).collect();
        assert_eq!(cuts, cut, "{all:?}: {found:?}");
    }
}

#[test]
fn what_is_said_names_side_fate_and_the_command_that_ends_it() {
    let one = filters(Side::Egress, vec![filter(ALL, true, Fate::Redirected("eth9".to_owned()))]);
    assert_eq!(
        one[0].what,
        "what goes to tap1 in bridge vb10.12b5 goes to eth9 instead, by a filter of tc (u32, egress, pref 7)"
    );
    assert!(one[0].code == ATTACHED && one[0].help.starts_with("tc filter del dev tap1 egress pref 7"), "{one:?}");
    let one = filters(Side::Ingress, vec![filter(IPV6, true, Fate::Dropped)]);
    assert!(one[0].what.starts_with("IPv6 that comes from tap1 in bridge vb10.12b5 is dropped"), "{one:?}");
}

#[test]
fn a_slow_class_or_a_queue_of_one_that_takes_all_is_doubtful_and_what_cards_have_is_not() {
    let queue = |kind: &str, does| Queue { kind: kind.to_owned(), does };
    let told = |attached: Attached| {
        let all = doubtful(&[(TAP.parse().unwrap(), attached)].into());
        all.slow.into_values().flatten().collect::<Vec<_>>()
    };
    let root = |kind: &str| Attached { queue: Some(queue(kind, Does::Other)), ..Attached::default() };
    let class = |rate| Attached { classes: vec![("1:10".to_owned(), rate)], ..root("htb") };
    let inner = |does| Attached { inner: vec![("1:10".to_owned(), queue("blackhole", does))], ..root("prio") };
    assert_eq!(
        told(class(125)),
        ["what goes to tap1 may be dropped by class 1:10 of its queue (1000 bit/s): tc -s class show dev tap1"]
    );
    assert_eq!(
        told(inner(Does::Drops)),
        [
            "what goes to tap1 may be dropped by the queue of its class 1:10 (blackhole, it drops all): tc -s qdisc show dev tap1"
        ]
    );
    assert_eq!(told(root("plug")).len(), 1);
    for well in [class(8_000), inner(Does::Packets(1000)), root("mq"), root("fq_codel"), root("noqueue")] {
        assert_eq!(told(well.clone()), Vec::<String>::new(), "{well:?}");
    }
}
