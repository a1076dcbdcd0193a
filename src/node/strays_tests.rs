use serde_json::json;

use super::*;
use crate::node::plan::tests::{local, planned, slice};

fn desired(hops: u8, routers: &[&str]) -> Desired {
    let mut slice = slice("suppress", json!({}));
    for facts in slice.pdcs.values_mut() {
        facts.max_hops = hops;
        facts.routers = routers.iter().map(|router| router.parse().unwrap()).collect();
    }
    planned(&slice, &local()).desired
}

fn pdc() -> PdcId {
    "x".parse().unwrap()
}

/// A way like `10.9.0.2/32 254 eth0 10.9.0.254 eth0 -`: destination, table, and pairs of interface and router.
fn way(text: &str) -> Way {
    let words: Vec<&str> = text.split(' ').collect();
    let hops = words[2..].chunks(2).map(|hop| Hop {
        dev: hop[0].parse().ok(),
        gateway: hop[1].parse().ok(),
        wraps: hop[1] == "encap",
    });
    Way {
        to: words[0].parse().unwrap(),
        table: words[1].parse().unwrap(),
        hops: hops.collect(),
        source: None,
        mute: None,
    }
}

fn answer(vxlan: bool, text: &str) -> Answer {
    Answer { vtep: "10.9.0.2".parse().unwrap(), vxlan, mark: 0, way: way(text) }
}

fn told(desired: &Desired, answers: Vec<Answer>, earlier: Vec<Earlier>) -> Vec<String> {
    findings(&pdc(), desired, &Ways { answers, earlier })
        .into_iter()
        .map(|f| format!("{} {} | {}", f.code, f.what, f.help))
        .collect()
}

#[test]
fn the_kernel_is_asked_for_each_vtep_and_port_where_the_next_hop_matters() {
    let text = |desired: &Desired| {
        asks(desired)
            .iter()
            .map(|ask| format!("{}>{} {} {}", ask.own, ask.vtep, ask.interface, ask.port))
            .collect::<Vec<_>>()
    };
    assert_eq!(text(&desired(0, &[])), ["10.9.0.1>10.9.0.2 eth0 4789", "10.9.0.1>10.9.0.3 eth0 4789"]);
    assert_eq!(text(&desired(1, &["10.9.0.254"])).len(), 2);
    assert_eq!(text(&desired(1, &[])), [""; 0], "any router may");
}

#[test]
fn a_way_is_astray_by_what_it_is_and_not_by_who_made_it() {
    let none = desired(0, &[]);
    let declared = desired(1, &["10.9.0.254"]);
    for (what, text, astray, astray_if_declared) in [
        ("on the segment", "10.9.0.0/24 254 eth0 -", false, false),
        ("by the VTEP itself", "10.9.0.0/24 254 eth0 10.9.0.2", false, false),
        ("a host route by a router", "10.9.0.2/32 254 eth0 10.9.0.254", true, false),
        ("by another router", "0.0.0.0/0 254 eth0 10.9.0.253", true, true),
        ("by an IPv6 router", "10.9.0.2/32 254 eth0 fe80::fe", true, true),
        ("one of two next hops", "10.9.0.2/32 254 eth0 - eth0 10.9.0.254", true, false),
        ("the router of another interface's next hop", "10.9.0.2/32 254 eth0 - eth1 10.9.0.254", false, false),
        ("wrapped into another packet", "10.9.0.2/32 254 eth0 encap", true, true),
        ("another interface", "10.9.0.2/32 100 tun0 -", true, true),
    ] {
        assert_eq!(told(&none, vec![answer(true, text)], vec![]).len(), usize::from(astray), "{what}");
        assert_eq!(told(&declared, vec![answer(true, text)], vec![]).len(), usize::from(astray_if_declared), "{what}");
    }
}

#[test]
fn a_finding_names_the_route_and_the_next_command() {
    let none = desired(0, &[]);
    let stray = "10.9.0.2/32 254 eth0 10.9.0.254";
    let aside = told(&none, vec![answer(true, "10.9.0.0/24 7764077 eth0 -"), answer(false, stray)], vec![]);
    assert_eq!(
        aside,
        [
            "M0647 the host's route 10.9.0.2/32 via 10.9.0.254 dev eth0 (table main) leads to 10.9.0.2 otherwise than PDC 'x' is declared; \
         plain frames are kept from it, everything else takes it | ip route del 10.9.0.2/32 via 10.9.0.254 dev eth0 table main; or, if it is right: \
         meshctl pdc set x --max-hops 1 --router 10.9.0.254"
        ]
    );
    let rule = vec![Earlier { preference: 9, table: 100 }];
    let real = told(&none, vec![answer(true, "0.0.0.0/0 100 eth0 10.9.0.254")], rule);
    assert_eq!(
        real,
        [
            "M0648 plain frames for 10.9.0.2 take the route 0.0.0.0/0 via 10.9.0.254 dev eth0 (table 100); the guard drops them \
         (out_routed, out_unknown) | a rule comes before ours (pref 40): ip rule show pref 9; give it a later place or remove it"
        ]
    );
    let marked = Answer { mark: 7, ..answer(true, "0.0.0.0/0 100 eth0 10.9.0.254") };
    assert!(told(&none, vec![marked.clone()], vec![])[0].contains("for 10.9.0.2 with mark 0x7 take"));
    let both = told(&none, vec![marked, answer(true, "0.0.0.0/0 100 eth0 10.9.0.254")], vec![]);
    assert!(both.len() == 1 && !both[0].contains("mark"), "unmarked packets take it, too: {both:?}");
    let hidden = told(&none, vec![answer(true, "0.0.0.0/0 100 eth0 fe80::fe")], vec![]);
    assert!(hidden[0].contains("they leave in clear"), "{hidden:?}");
}

#[test]
fn one_route_is_one_finding_and_there_are_only_so_many() {
    let none = desired(0, &[]);
    let stray = "10.9.0.0/24 254 eth0 10.9.0.254";
    let second = Answer { vtep: "10.9.0.3".parse().unwrap(), ..answer(false, stray) };
    let both = told(&none, vec![answer(false, stray), second, answer(true, stray)], vec![]);
    assert_eq!(both.len(), 1, "what happens need not be told as well that it would: {both:?}");
    let many = (0..100).map(|n| answer(false, &format!("10.9.0.2/32 {n} eth0 10.9.0.254"))).collect();
    assert_eq!(told(&none, many, vec![]).len(), TOLD);
}
