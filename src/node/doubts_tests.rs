use serde_json::{Value, json};

use super::*;
use crate::node::attached::Fate;
use crate::node::verdicts::Rule;

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn ip(text: &str) -> Vec<IpAddr> {
    vec![text.parse().unwrap()]
}

/// From the guest behind g1, 192.168.10.11, to one on another node, 192.168.10.12.
pub(in crate::node) fn away(ipv6: Option<bool>) -> Passage {
    Passage {
        bridge: name("vb10.12b5"),
        near: Some(name("g1")),
        far: Some(name("vv10.12b5")),
        from: Some((mac(11), ip("192.168.10.11"))),
        to: Some((mac(12), ip("192.168.10.12"))),
        ipv6,
        open: false,
    }
}

pub(in crate::node) fn book(family: &'static str, hook: &'static str, drops: bool, chains: &[(&str, Value)]) -> Book {
    let devices = if matches!(hook, "ingress" | "egress") { vec!["g1".to_owned()] } else { Vec::new() };
    let base = Base { family, table: "op".into(), name: "c".into(), hook, drops, devices };
    let rule = |(parts, handle): (&Value, u64)| Rule { handle, parts: parts.as_array().unwrap().clone() };
    let of = |(chain, rules): &(&str, Value)| {
        ((*chain).to_owned(), rules.as_array().unwrap().iter().zip(7..).map(rule).collect())
    };
    let rules = [((family, "op".to_owned()), chains.iter().map(of).collect())].into();
    let crossing =
        Crossing { bridge: name("vb16777215.12b5"), near: name("vp16777215.12b5"), far: name("vq16777215.12b5") };
    Book {
        filters: Filters { bases: vec![base], rules, ..Filters::default() },
        host: [Protocol::Ipv4, Protocol::Ipv6, Protocol::Arp].into(),
        crossing: Some(crossing),
        ..Book::default()
    }
}

pub(in crate::node) fn asked(book: &Book, passage: &Passage) -> Vec<Doubt> {
    doubts(Others { book: Some(book), queues: None }, passage)
}

fn one(family: &'static str, hook: &'static str, rule: &Value) -> Vec<Doubt> {
    asked(&book(family, hook, false, &[("c", json!([rule]))]), &away(Some(false)))
}

pub(in crate::node) fn is(left: Value, right: Value) -> Value {
    json!({"match": {"op": "==", "left": left, "right": right}})
}

pub(super) fn meta(key: &str, value: &str) -> Value {
    is(json!({"meta": {"key": key}}), json!(value))
}

pub(super) fn payload(protocol: &str, field: &str, value: Value) -> Value {
    is(json!({"payload": {"protocol": protocol, "field": field}}), value)
}

pub(super) fn payload_of(protocol: &str, field: &str) -> Value {
    json!({"payload": {"protocol": protocol, "field": field}})
}

fn raw(base: &str, offset: u32, len: u32) -> Value {
    json!({"payload": {"base": base, "offset": offset, "len": len}})
}

/// An Ethernet address begins with 02:00:00:00:00.
fn begins(field: &str, mask: &str) -> Value {
    is(json!({"&": [payload_of("ether", field), mask]}), json!("02:00:00:00:00:00"))
}

fn set(key: &Value, value: Value) -> Value {
    json!({"mangle": {"key": key, "value": value}})
}

pub(super) fn dropping() -> Value {
    json!({"drop": null})
}

#[test]
fn a_rule_that_names_a_guest_its_interface_or_its_bridge_is_told_with_the_command_that_shows_it() {
    let smtp = || payload("tcp", "dport", json!(25));
    for (family, hook, parts, surely) in [
        ("bridge", "prerouting", json!([payload("ether", "saddr", json!("02:00:00:00:00:0b")), dropping()]), true),
        ("bridge", "forward", json!([payload("ether", "daddr", json!("02:00:00:00:00:0c")), dropping()]), true),
        ("bridge", "forward", json!([payload("ip", "daddr", json!("192.168.10.12")), dropping()]), true),
        ("bridge", "forward", json!([payload("arp", "daddr ip", json!("192.168.10.12")), dropping()]), true),
        ("bridge", "forward", json!([meta("iifname", "g1"), smtp(), dropping()]), false),
        ("bridge", "forward", json!([meta("oifname", "vv*"), meta("iifname", "g1"), dropping()]), true),
        ("bridge", "postrouting", json!([meta("obrname", "vb10.12b5"), {"limit": {}}, dropping()]), false),
        ("bridge", "forward", json!([meta("iifname", "g1"), {"queue": null}]), false),
        ("bridge", "forward", json!([payload("ether", "saddr", json!("@blocked")), dropping()]), false),
        ("bridge", "forward", json!([{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@ports"}}]), false),
        (
            "bridge",
            "forward",
            json!([
                is(
                    json!({"concat": [{"payload": {"protocol": "ether", "field": "saddr"}}, {"payload": {"protocol": "ip", "field": "saddr"}}]}),
                    json!({"set": [{"concat": ["02:00:00:00:00:0b", {"prefix": {"addr": "0.0.0.0", "len": 0}}]}]})
                ),
                dropping()
            ]),
            true,
        ),
        ("bridge", "forward", json!([is(raw("nh", 96, 32), json!(3_232_238_091_u32)), dropping()]), true),
        ("bridge", "forward", json!([is(raw("ll", 0, 48), json!("02:00:00:00:00:0c")), dropping()]), true),
        ("bridge", "forward", json!([begins("saddr", "ff:ff:ff:ff:ff:00"), dropping()]), true),
        (
            "bridge",
            "prerouting",
            json!([
                payload("ip", "daddr", json!("192.168.10.12")),
                set(&payload_of("ether", "daddr"), json!("02:00:00:00:00:99"))
            ]),
            false,
        ),
        ("netdev", "ingress", json!([smtp(), dropping()]), false),
        ("inet", "ingress", json!([payload("ip", "daddr", json!("192.168.10.12")), dropping()]), true),
        ("arp", "forward", json!([payload("arp", "daddr ip", json!("192.168.10.12")), dropping()]), true),
        ("ip", "forward", json!([is(json!({"physdev": "in"}), json!("g1")), dropping()]), true),
        (
            "ip",
            "forward",
            json!([is(json!({"physdev": "out"}), json!("vv10.*")), {"xt": {"type": "target", "name": "REJECT"}}]),
            true,
        ),
        (
            "ip",
            "forward",
            json!([payload("ip", "saddr", json!({"prefix": {"addr": "192.168.10.8", "len": 29}})), smtp(), dropping()]),
            false,
        ),
        (
            "inet",
            "prerouting",
            json!([payload("ether", "saddr", json!({"prefix": {"addr": "02:00:00:00:00:08", "len": 44}})), dropping()]),
            true,
        ),
    ] {
        let found = one(family, hook, &parts);
        let [one] = found.as_slice() else { panic!("{family} {parts}: {found:?}") };
        assert_eq!(one.surely, surely, "{parts}: {one:?}");
        let does = match parts.as_array().unwrap().last().unwrap() {
            last if last.get("mangle").is_some() => ", which rewrites it",
            last if last.get("queue").is_some() => ", which leaves it to a program",
            _ => "",
        };
        let rule = format!(
            "by a rule in chain c of table {family} op (hook {hook}){does}, handle 7: nft -a list chain {family} op c"
        );
        assert!(one.text.ends_with(&rule), "{one:?}");
    }
}

#[test]
fn a_rule_that_cannot_meet_the_frame_or_lets_it_pass_or_names_nobody_is_not_told() {
    let ct = |state: &str| is(json!({"ct": {"key": "state"}}), json!(state));
    for (family, hook, parts) in [
        ("bridge", "forward", json!([payload("ether", "saddr", json!("02:00:00:00:00:0c")), dropping()])),
        ("bridge", "forward", json!([payload("ip", "daddr", json!("192.168.10.21")), dropping()])),
        ("bridge", "forward", json!([payload("ip6", "daddr", json!("fd00::1")), dropping()])),
        ("bridge", "forward", json!([meta("iifname", "g2"), dropping()])),
        ("bridge", "forward", json!([meta("oifname", "g1"), dropping()])),
        ("bridge", "forward", json!([meta("ibrname", "br0"), dropping()])),
        ("bridge", "forward", json!([meta("iifname", "g1"), meta("protocol", "ip6"), dropping()])),
        ("bridge", "forward", json!([meta("iifname", "g1"), {"counter": {"packets": 1}}])),
        ("bridge", "forward", json!([meta("iifname", "g1"), {"log": null}])),
        ("bridge", "forward", json!([meta("iifname", "g1"), {"accept": null}])),
        (
            "bridge",
            "forward",
            json!([meta("iifname", "g1"), {"mangle": {"key": {"meta": {"key": "mark"}}, "value": 7}}]),
        ),
        ("bridge", "forward", json!([meta("iifname", "g1"), {"xt": {"type": "watcher", "name": "log"}}])),
        ("bridge", "input", json!([meta("iifname", "g1"), dropping()])),
        // Whom it is about is said by nothing that is a guest's, or is everybody.
        ("bridge", "forward", json!([payload("tcp", "dport", json!(25)), dropping()])),
        ("ip", "forward", json!([ct("invalid"), dropping()])),
        ("ip", "forward", json!([{"xt": {"type": "match", "name": "conntrack"}}, dropping()])),
        ("ip", "forward", json!([is(json!({"physdev": "in"}), json!("g2")), dropping()])),
        ("ip", "forward", json!([meta("iifname", "docker0"), dropping()])),
        ("ip6", "forward", json!([meta("iifname", "vb10.12b5"), dropping()])),
        ("netdev", "egress", json!([dropping()])),
    ] {
        assert_eq!(one(family, hook, &parts), [], "{family} {hook} {parts}");
    }
    // Frames that nobody shows to packet filters do not meet them.
    let mut hidden =
        book("ip", "forward", false, &[("c", json!([[is(json!({"physdev": "in"}), json!("g1")), dropping()]]))]);
    assert_eq!(asked(&hidden, &away(None)).len(), 1);
    hidden.host.clear();
    assert_eq!(asked(&hidden, &away(None)), []);
    hidden.shown = [(name("vb10.12b5"), [Protocol::Ipv4].into())].into();
    assert_eq!(asked(&hidden, &away(None)).len(), 1);
}

#[test]
fn of_a_family_that_may_not_be_meant_it_is_not_certain() {
    let four = json!([payload("ip", "daddr", json!("192.168.10.12")), dropping()]);
    for (ipv6, surely) in [(Some(false), Some(true)), (None, Some(false)), (Some(true), None)] {
        let found = asked(&book("bridge", "forward", false, &[("c", json!([four]))]), &away(ipv6));
        assert_eq!(found.first().map(|one| one.surely), surely, "{found:?}");
        assert!(found.iter().all(|one| one.text.starts_with("IPv4 of it is dropped by")), "{found:?}");
    }
}

#[test]
fn a_guest_that_is_not_on_the_list_of_those_that_may_pass_is_told() {
    let listed =
        |of: &[&str]| json!(of.iter().map(|of| json!([meta("iifname", of), {"accept": null}])).collect::<Vec<_>>());
    let told = |of: &[&str]| asked(&book("bridge", "prerouting", true, &[("c", listed(of))]), &away(None));
    let found = told(&["vp16777215.12b5", "g2"]);
    assert!(found.len() == 1 && found[0].surely && found[0].by.contains("policy drop"), "{found:?}");
    assert_eq!(told(&["vp16777215.12b5", "g1"]), []);
    // What drops our own frames as well is told with them.
    assert_eq!(told(&["g2"]), []);
}

#[test]
fn a_security_group_is_followed_into_its_chains() {
    let group = |last: Value| {
        [
            (
                "c",
                json!([[is(json!({"physdev": "in"}), json!("g1")), {"jump": {"target": "g1-out"}}], [is(json!({"physdev": "in"}), json!("g2")), {"jump": {"target": "g2-out"}}]]),
            ),
            (
                "g1-out",
                json!([[payload("ether", "saddr", json!("02:00:00:00:00:0b")), payload("ip", "saddr", json!("192.168.10.11")), {"return": null}], last]),
            ),
            ("g2-out", json!([[dropping()]])),
        ]
    };
    let told = |chains: &[(&str, Value)]| asked(&book("ip", "forward", false, chains), &away(Some(false)));
    assert_eq!(told(&group(json!([dropping()]))), []);
    let mut other = group(json!([dropping()]));
    other[1].1 = json!([[payload("ip", "saddr", json!("192.168.10.99")), {"return": null}], [dropping()]]);
    let found = told(&other);
    assert!(
        found.len() == 1 && found[0].surely && found[0].text.contains("chain g1-out of table ip op (by chain c"),
        "{found:?}"
    );
}

pub(super) fn older(tool: &'static str, text: &str) -> Book {
    let crossing = book("bridge", "forward", false, &[]).crossing;
    let older = vec![Older::read(tool, "filter", text)];
    Book { older, crossing, host: [Protocol::Ipv4, Protocol::Ipv6].into(), ..Book::default() }
}

#[test]
fn what_cannot_be_read_of_a_rule_that_drops_may_be_about_the_guest() {
    for rule in [
        "-m iprange --dst-range 192.168.10.12-192.168.10.12 -j DROP",
        "-m u32 --u32 0x10=0xc0a80a0c -j DROP",
        "-m bpf --bytecode \"4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0\" -j DROP",
        "-m string --hex-string \"|c0a80a0c|\" --algo bm --to 65535 -j REJECT --reject-with icmp-port-unreachable",
        "-m set --match-set blocked dst -j DROP",
        "-m statistic --mode random --probability 0.99 -j DROP",
        "-m recent --rcheck --name x --mask 255.255.255.255 --rdest -j DROP",
        "-m a_match_of_tomorrow -p tcp -j DROP",
        "-d 0.0.0.12/0.0.0.255 -j DROP",
        "-d 192.168.10.12/32 -j TPROXY --on-port 9",
        "-m u32 --u32 0x10=0xc0a80a0c -j X",
    ] {
        let text = format!("-P FORWARD ACCEPT\n-N X\n-A FORWARD {rule}\n-A X -j DROP");
        let found = asked(&older("iptables-legacy", &text), &away(Some(false)));
        assert!(
            matches!(&found[..], [one] if one.text.contains("iptables-legacy -t filter -vnL")),
            "{rule}: {found:?}"
        );
    }
    for rule in [
        "-m iprange --dst-range 192.168.10.13-192.168.10.19 -j DROP",
        "-m iprange --src-range 10.0.0.1-10.0.0.9 -j DROP",
        "-m set --match-set open dst -j ACCEPT",
    ] {
        let found =
            asked(&older("iptables-legacy", &format!("-P FORWARD ACCEPT\n-A FORWARD {rule}")), &away(Some(false)));
        assert_eq!(found, [], "{rule}");
    }
}

#[test]
fn what_nft_asks_of_a_part_of_an_address_or_of_a_set_is_followed() {
    let last = |number: u64| is(raw("nh", 152, 8), json!(number));
    let masked = || json!({"&": [payload_of("ip", "daddr"), "0.0.0.255"]});
    let vmap = |key: Value, data: Value| json!({"vmap": {"key": key, "data": data}});
    let timed = json!({"set": [{"elem": {"val": "192.168.10.12", "timeout": 60}}]});
    let seen = |family, parts: Value| one(family, "forward", &parts).first().map(|one| one.surely);
    for family in ["bridge", "ip"] {
        for (parts, told) in [
            (json!([last(12), dropping()]), Some(true)),
            (json!([last(13), dropping()]), None),
            (json!([is(masked(), json!("0.0.0.12")), dropping()]), Some(true)),
            (json!([is(masked(), json!("0.0.0.13")), dropping()]), None),
            (json!([vmap(masked(), json!({"set": [["0.0.0.12", {"drop": null}]]}))]), Some(true)),
            (json!([vmap(payload_of("ip", "daddr"), json!("@verdicts"))]), Some(false)),
            (json!([payload("ip", "daddr", json!("@blocked")), dropping()]), Some(false)),
            (json!([payload("ip", "daddr", timed.clone()), dropping()]), Some(true)),
            (
                json!([is(json!({"jhash": {"mod": 2, "expr": payload_of("ip", "daddr")}}), json!(0)), dropping()]),
                Some(false),
            ),
            (json!([payload("ip", "daddr", json!("192.168.10.12")), {"tproxy": {"port": 9}}]), Some(false)),
        ] {
            assert_eq!(seen(family, parts.clone()), told, "{family} {parts}");
        }
    }
}

#[test]
fn a_mark_of_one_table_counts_in_another_of_any_family() {
    let marks = book(
        "bridge",
        "prerouting",
        false,
        &[(
            "c",
            json!([[
                payload("ether", "daddr", json!("02:00:00:00:00:0c")),
                set(&json!({"meta": {"key": "mark"}}), json!(7))
            ]]),
        )],
    );
    let of = |rule: &str| Book {
        older: vec![Older::read("iptables-legacy", "filter", &format!("-P FORWARD ACCEPT\n-A FORWARD {rule}"))],
        ..marks.clone()
    };
    let told = |rule: &str| asked(&of(rule), &away(Some(false))).len();
    assert_eq!(
        [
            told("-m mark --mark 0x7 -j DROP"),
            told("-m mark --mark 0x3/0x3 -j DROP"),
            told("-m mark ! --mark 0x0 -j DROP")
        ],
        [1; 3]
    );
    assert_eq!([told("-m mark --mark 0x8 -j DROP"), told("-m connmark --mark 0x7 -j DROP")], [0; 2], "nobody has it");
    let both = [
        Older::read(
            "iptables-legacy",
            "mangle",
            "-P PREROUTING ACCEPT\n-A PREROUTING -d 192.168.10.12/32 -j MARK --set-xmark 0x10/0xf0",
        ),
        Older::read("iptables-legacy", "filter", "-P FORWARD ACCEPT\n-A FORWARD -m mark --mark 0x10/0xff -j DROP"),
    ];
    let book = Book { older: both.to_vec(), ..marks.clone() };
    assert_eq!(
        (asked(&book, &away(Some(false))).len(), asked(&book, &away(Some(false)).back().unwrap()).len()),
        (1, 0)
    );
}

/// Two books in one; the second one's table gets another name.
fn both(mut first: Book, second: Book) -> Book {
    let rename = |table: String| format!("{table}2");
    first.filters.bases.extend(second.filters.bases.into_iter().map(|base| Base { table: rename(base.table), ..base }));
    let rules = second.filters.rules.into_iter().map(|((family, table), rules)| ((family, rename(table)), rules));
    first.filters.rules.extend(rules);
    first
}

#[test]
fn who_gets_no_mark_is_told_where_all_others_get_one() {
    let mark = || json!({"meta": {"key": "mark"}});
    let others = json!([
        {"match": {"op": "!=", "left": payload_of("ip", "daddr"), "right": "192.168.10.12"}},
        set(&mark(), json!(9))
    ]);
    let unmarked = json!([{"match": {"op": "!=", "left": mark(), "right": 9}}, dropping()]);
    let accepts = json!([is(mark(), json!(9)), {"accept": null}]);
    let told = |marks: &Value, drops: bool, rule: &Value| {
        let marks = book("bridge", "prerouting", false, &[("c", json!([marks]))]);
        let two = both(marks, book("bridge", "forward", drops, &[("c", json!([rule]))]));
        [away(Some(false)), away(Some(false)).back().unwrap()].map(|passage| asked(&two, &passage).len())
    };
    assert_eq!((told(&others, false, &unmarked), told(&others, true, &accepts)), ([1, 0], [1, 0]));
    let all = json!([set(&mark(), json!(9))]);
    assert_eq!((told(&all, false, &unmarked), told(&all, true, &accepts)), ([0; 2], [0; 2]), "nobody is dropped");
}

#[test]
fn a_mark_that_is_given_at_one_interface_is_nobody_elses() {
    let given = json!([[set(&json!({"meta": {"key": "mark"}}), json!(66))]]);
    let drops = json!([[is(json!({"meta": {"key": "mark"}}), json!(66)), dropping()]]);
    let two =
        both(book("netdev", "ingress", false, &[("c", given)]), book("bridge", "forward", false, &[("c", drops)]));
    assert_eq!(asked(&two, &away(Some(false))).len(), 1);
    assert_eq!(asked(&two, &away(Some(false)).back().unwrap()).len(), 0, "the answer comes by another");
}

#[test]
fn a_rule_for_a_pair_is_told_of_each_of_them_where_the_other_is_not_said() {
    let pair = is(
        json!({"concat": [payload_of("ether", "saddr"), payload_of("ether", "daddr")]}),
        json!({"set": [{"concat": ["02:00:00:00:00:0b", "02:00:00:00:00:0c"]}]}),
    );
    let of = |parts: Value| book("bridge", "forward", false, &[("c", json!([parts]))]);
    let sender = Passage { to: None, far: None, open: true, ..away(None) };
    let receiver = Passage { from: None, open: true, ..away(None) };
    let other = Passage { from: Some((mac(21), ip("192.168.10.21"))), ..sender.clone() };
    for (parts, told) in [
        (json!([pair, dropping()]), [1, 1, 0]),
        (
            json!([
                payload("ip", "saddr", json!("192.168.10.11")),
                payload("ip", "daddr", json!("192.168.10.12")),
                dropping()
            ]),
            [1, 1, 0],
        ),
        (json!([payload("ip", "saddr", json!("192.168.10.99")), dropping()]), [0; 3]),
        (json!([payload("tcp", "dport", json!(25)), dropping()]), [0; 3]),
    ] {
        let book = of(parts.clone());
        assert_eq!([&sender, &receiver, &other].map(|passage| asked(&book, passage).len()), told, "{parts}");
    }
}

#[test]
fn filters_of_tc_are_asked_as_rules_are() {
    let filter = |parts: Value, fate| Filter {
        kind: "u32".to_owned(),
        pref: 7,
        protocol: 0x0800,
        whole: false,
        parts: parts.as_array().unwrap().clone(),
        fate,
    };
    let told = |filters: Vec<Filter>| {
        let filters = [((name("g1"), Side::Ingress), filters)].into();
        let queues = Queues { filters, ..Queues::default() };
        doubts(Others { book: None, queues: Some(&queues) }, &away(Some(false)))
    };
    let to = |number: u32| is(raw("nh", 128, 32), json!(number));
    let drops = |parts: Value| filter(parts, Fate::Dropped);
    let found = told(vec![drops(json!([to(3_232_238_092)]))]);
    let text = "what comes from g1 may be dropped by a filter of tc (u32, pref 7): tc filter show dev g1 ingress";
    assert!(matches!(&found[..], [one] if !one.surely && one.text == text), "{found:?}");
    assert_eq!(told(vec![drops(json!([to(3_232_238_093)]))]), [], "another one's");
    assert_eq!(told(vec![drops(json!([is(raw("nh", 176, 16), json!(25))]))]), [], "anybody's");
    assert_eq!(told(vec![filter(json!([{"xt": {"type": "match", "name": "bpf"}}]), Fate::Unread)]).len(), 1);
    assert_eq!(told(vec![filter(json!([to(3_232_238_092)]), Fate::Passes), drops(json!([to(3_232_238_092)]))]), []);
}

#[test]
fn rules_of_the_older_iptables_are_judged_as_all_others() {
    for (rule, surely) in [
        ("-m physdev --physdev-in g1 -j DROP", Some(true)),
        (
            "-m physdev --physdev-out vv10.12b5 --physdev-is-bridged -j REJECT --reject-with icmp-port-unreachable",
            Some(true),
        ),
        ("-m physdev --physdev-in g+ -p tcp -m tcp --dport 25 -j DROP", Some(false)),
        ("-m mac --mac-source 02:00:00:00:00:0B -j DROP", Some(true)),
        ("-d 192.168.10.12/32 -j DROP", Some(true)),
        ("-d 192.168.10.12/32 -m comment --comment \"a -j ACCEPT\" -j DROP", Some(true)),
        ("-i vb10.12b5 -m limit --limit 5/sec -j DROP", Some(false)),
        ("-m physdev ! --physdev-in g1 -j DROP", None),
        ("-m physdev --physdev-in g2 -j DROP", None),
        ("-m physdev --physdev-in g1 ! --physdev-is-bridged -j DROP", None),
        ("-m mac ! --mac-source 02:00:00:00:00:0b -j ACCEPT", None),
        ("-s 192.168.10.11/32 -j LOG", None),
        ("-s 10.0.0.0/8 -j DROP", None),
    ] {
        let found =
            asked(&older("iptables-legacy", &format!("-P FORWARD ACCEPT\n-A FORWARD {rule}")), &away(Some(false)));
        assert_eq!(found.first().map(|one| one.surely), surely, "{rule}: {found:?}");
        let shows = "by rule 1 in chain FORWARD of iptables-legacy (table filter, hook forward): iptables-legacy -t filter -vnL FORWARD --line-numbers";
        assert!(found.iter().all(|one| one.text.ends_with(shows)), "{found:?}");
    }
}

#[test]
fn a_slow_class_is_in_the_way_of_what_goes_there_alone() {
    let slow = [(name("vv10.12b5"), vec!["what goes to vv10.12b5 may be dropped".to_owned()])].into();
    let queues = Queues { slow, ..Queues::default() };
    let told = |passage: &Passage| doubts(Others { book: None, queues: Some(&queues) }, passage);
    let found = told(&away(None));
    assert!(found.len() == 1 && !found[0].surely, "{found:?}");
    assert_eq!(told(&away(None).back().unwrap()), []);
}

#[test]
fn a_mark_counts_where_its_table_drops_what_has_it_and_other_writing_does_not() {
    let guest = || payload("ip", "saddr", json!("192.168.10.11"));
    let mark = json!({"meta": {"key": "mark"}});
    let marked = || json!([guest(), set(&mark, json!(7))]);
    let drops = |left: Value| json!([is(left, json!(7)), dropping()]);
    let of = |rules: Value| asked(&book("bridge", "forward", false, &[("c", rules)]), &away(Some(false)));
    for left in [mark.clone(), json!({"&": [mark.clone(), 7]})] {
        let [one] = &of(json!([marked(), drops(left)]))[..] else { panic!() };
        assert!(one.surely && one.text.contains("handle 8"), "what drops is told: {one:?}");
    }
    assert_eq!(of(json!([marked()])), [], "nobody asks for it");
    assert_eq!(of(json!([marked(), [is(mark.clone(), json!(7)), {"accept": null}]])), []);
    assert_eq!(of(json!([[set(&mark, json!(7))], drops(mark.clone())])), [], "everybody has it");
    assert_eq!(of(json!([[guest(), set(&payload_of("ip", "dscp"), json!(8))]])), [], "it goes where it went");
    let other = is(json!({"&": [payload_of("ether", "saddr"), "ff:ff:ff:00:00:00"]}), json!("02:76:78:00:00:00"));
    assert_eq!(of(json!([[other, dropping()]])), [], "of another range");
}
