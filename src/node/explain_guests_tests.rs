use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::api::local::Arrival;
use crate::api::problem::Problem;
use crate::node::desired::{Bridge, Kind, Link, Observed, Place, Port, PortFlags};
use crate::node::end::{self, Stands};
use crate::node::paths::Paths;
use crate::node::plan::tests as plans;
use crate::node::plugs::Plugs;
use crate::policy::path::Path;
use crate::types::{Mono, Prefix, Wall};

const BLUE: &str = "vb10.12b5";

/// `one` and `two` are here, behind `tap1` and `tap2`.
fn slice() -> Slice {
    let mut slice = plans::slice("suppress", json!({}));
    slice.rows.clear();
    for n in 1..=2 {
        let name = ["one", "two"][n - 1];
        let row = json!({"node": slice.node, "interface": format!("tap{n}"), "port": name, "arp": [format!("192.168.10.{n}")]});
        let key = format!("default/10/-/02:00:00:00:00:0{n}").parse().unwrap();
        slice.rows.insert(key, serde_json::from_value(row).unwrap());
    }
    slice
}

/// Where the interfaces stand, and when their guests were heard.
fn presence(slice: &Slice, stand: [Option<(Option<&str>, bool)>; 2], heard: u64) -> Presence {
    let mut observed = Observed::default();
    let kind = Kind::Bridge(Bridge::OURS);
    let alias = Some("vxmesh:default/10".to_owned());
    let bridge = Link { kind, alias, mtu: 1500, up: true, no_addresses: true, port: None };
    observed.links.insert(BLUE.parse().unwrap(), bridge);
    for (n, place) in (1..).zip(stand) {
        let name: crate::types::IfName = format!("tap{n}").parse().unwrap();
        if let Some((master, up)) = place {
            observed
                .places
                .insert(name.clone(), Place { index: n, master: master.map(str::to_owned), up, card: false });
        }
        let mac = format!("02:00:00:00:00:0{n}").parse().unwrap();
        observed.heard.entry(name).or_default().insert(mac, Duration::from_secs(heard));
    }
    let mut presence = Presence::default();
    let desired = plans::planned(slice, &plans::local()).desired;
    presence.learn(&desired, &observed, &Plugs::default(), (Mono::default(), Wall::default()));
    presence
}

fn explanation() -> Explanation {
    let step = |what: &str| Step::new(what, true, "");
    Explanation {
        from: "one".parse().unwrap(),
        from_node: "a".parse().unwrap(),
        to: "two".to_owned(),
        steps: vec![step("port"), step("row"), step("path")],
        verdict: Arrival::Arrives,
        mac: "02:00:00:00:00:02".parse().ok(),
    }
}

fn ask(presence: &Presence, slice: &Slice, findings: &[Finding]) -> Explanation {
    let mut explanation = explanation();
    let way = Way::of(&explanation, slice, &Paths::default(), None).unwrap();
    add(&mut explanation, Now { slice, presence, found: &[], findings }, &way);
    explanation
}

#[test]
fn it_arrives_only_where_both_guests_are_in_their_bridge_and_the_bridge_is_as_planned() {
    let slice = slice();
    let right = Some((Some(BLUE), true));
    for (what, stand, arrives) in [
        ("both are", [right, right], true),
        ("the sender is in another bridge", [Some((Some("virbr0"), true)), right], false),
        ("the receiver is in another bridge", [right, Some((Some("virbr0"), true))], false),
        ("the sender is in none", [Some((None, true)), right], false),
        ("the receiver is down", [right, Some((Some(BLUE), false))], false),
        ("the receiver is not there", [right, None], false),
    ] {
        let answer = ask(&presence(&slice, stand, 3), &slice, &[]);
        assert_eq!((answer.may_arrive(), answer.arrives()), (arrives, arrives), "{what}");
        let steps: Vec<&str> = answer.steps.iter().map(|step| step.what.as_str()).collect();
        assert_eq!(steps, ["port", "guest", "devices", "row", "path", "guest"], "and it says what would happen");
        assert_eq!(answer.steps.iter().all(|step| step.passes), arrives, "{what}: {:?}", answer.steps);
    }
}

#[test]
fn a_bridge_hands_nothing_to_a_guest_without_a_carrier() {
    let slice = slice();
    let desired = plans::planned(&slice, &plans::local()).desired;
    for dark in ["tap1", "tap2"] {
        let mut observed = Observed::default();
        for (index, name) in [(1, "tap1"), (2, "tap2")] {
            let place = Place { index, master: Some(BLUE.to_owned()), up: true, card: false };
            observed.places.insert(name.parse().unwrap(), place);
        }
        observed.dark.insert(dark.parse().unwrap());
        let mut presence = Presence::default();
        presence.learn(&desired, &observed, &Plugs::default(), (Mono::default(), Wall::default()));
        let answer = ask(&presence, &slice, &[]);
        assert!(!answer.may_arrive(), "{:?}", answer.steps);
        let ends: Vec<_> = answer.steps.iter().filter(|step| !step.passes).collect();
        assert!(
            ends.len() == 1 && ends[0].text.contains(&format!("{dark} stands in {BLUE} and has no carrier")),
            "{ends:?}"
        );
    }
}

#[test]
fn whatever_a_node_says_of_a_guest_its_own_explanation_shows_with_a_command() {
    let slice = slice();
    let desired = plans::planned(&slice, &plans::local()).desired;
    let own: NetKey = "default/10".parse().unwrap();
    let mac = "02:00:00:00:00:01".parse().unwrap();
    let stand = |master: Option<&str>, up| Some((master.map(str::to_owned), up));
    let ours = || stand(Some(BLUE), true);
    for (what, place, state, command) in [
        ("down", stand(Some(BLUE), false), "", "ip link show dev tap1"),
        ("dark", ours(), "dark", "ip link show dev tap1"),
        ("blocked", ours(), "blocked", "bridge -d link show dev tap1"),
        ("in a bridge of others", stand(Some("virbr0"), true), "", "ip link show dev tap1"),
        ("in none", stand(None, true), "", "ip link show dev tap1"),
        ("gone", None, "", "ip link show dev tap1"),
    ] {
        let mut observed = Observed::default();
        let places = [("tap1", place), ("tap2", ours())];
        for (index, (name, place)) in (1..).zip(places) {
            let Some((master, up)) = place else { continue };
            observed.places.insert(name.parse().unwrap(), Place { index, master, up, card: false });
        }
        match state {
            "dark" => observed.dark.insert("tap1".parse().unwrap()),
            "blocked" => observed.blocked.insert("tap1".parse().unwrap()),
            _ => true,
        };
        let mut presence = Presence::default();
        presence.learn(&desired, &observed, &Plugs::default(), (Mono::default(), Wall::default()));
        // It was quiet for long, so that status names no fault.
        let found = presence.findings(&slice, Mono::from_nanos(1));
        assert_eq!(found, [], "{what}");
        let others = crate::node::doubts::Others::default();
        let here = end::Here { slice: &slice, presence: &presence, found: &[], findings: &[], others };
        let peer = ("b".parse().unwrap(), Path::Plain);
        let stands = end::stands(here, &own, mac, (&peer.0, peer.1));
        let look = end::look("one".parse().ok().as_ref(), mac, "three");
        let far = stands.step(&"a".parse().unwrap(), &look);
        assert!(!far.passes && far.text.ends_with("says there: meshctl explain one three"), "{what}: {far:?}");
        let answer = ask(&presence, &slice, &[]);
        let ends: Vec<_> = answer.steps.iter().filter(|step| !step.passes).collect();
        assert!(ends.len() == 1 && ends[0].text.ends_with(&format!(": {command}")), "{what}: {ends:?}");
    }
    assert_eq!(end::look(None, mac, "three"), "meshctl explain 02:00:00:00:00:01 three");
}

#[test]
fn an_isolated_guest_is_cut_off_from_other_nodes_and_from_other_isolated_guests_alone() {
    let slice = slice();
    let desired = plans::planned(&slice, &plans::local()).desired;
    for (isolated, arrives) in [(vec!["tap1"], true), (vec!["tap2"], true), (vec!["tap1", "tap2"], false)] {
        let mut observed = Observed::default();
        for (index, name) in [(1, "tap1"), (2, "tap2")] {
            let place = Place { index, master: Some(BLUE.to_owned()), up: true, card: false };
            observed.places.insert(name.parse().unwrap(), place);
            let flags = PortFlags { isolated: isolated.contains(&name), ..crate::linux::fake::NEW_PORT };
            let port = Some(Port { bridge: BLUE.parse().unwrap(), flags });
            let kind = Kind::Other("tun".to_owned());
            let link = Link { kind, alias: None, mtu: 1500, up: true, no_addresses: true, port };
            observed.links.insert(name.parse().unwrap(), link);
        }
        let mut presence = Presence::default();
        let at = |second: u64| Mono::from_nanos(second * 1_000_000_000);
        for second in [1, 60] {
            presence.learn(&desired, &observed, &Plugs::default(), (at(second), Wall::default()));
        }
        let findings = presence.findings(&slice, at(60));
        assert!(findings.iter().any(|finding| finding.code == "M0687"), "{findings:?}");
        let answer = ask(&presence, &slice, &findings);
        assert_eq!(answer.arrives(), arrives, "{isolated:?}: {:?}", answer.steps);
    }
}

#[test]
fn what_is_refused_of_a_guest_is_said_and_is_in_the_way_where_it_says_nothing_else() {
    let slice = slice();
    let right = Some((Some(BLUE), true));
    let wrong = [Finding::new("M0675", "port one (tap1) in network blue: its guest sends from 02:aa".to_owned(), "")];
    for (heard, arrives) in [(3, true), (600, false)] {
        let answer = ask(&presence(&slice, [right, right], heard), &slice, &wrong);
        assert_eq!(answer.may_arrive(), arrives, "{heard}");
        assert!(!answer.arrives(), "what it sends may be what is refused: {:?}", answer.steps);
        assert!(answer.steps[1].text.contains("M0675"), "{:?}", answer.steps[1]);
    }
}

#[test]
fn who_uses_the_address_of_another_beside_its_own_sends_from_its_own_all_the_same() {
    let (slice, blue): (Slice, NetKey) = (slice(), "default/10".parse().unwrap());
    let right = Some((Some(BLUE), true));
    let said = |mac: &str, value: Option<&str>| crate::node::fence::Said {
        interface: "tap1".parse().unwrap(),
        mac: mac.parse().unwrap(),
        value: value.map(|value| value.parse().unwrap()),
        samples: 3,
    };
    let places = [("tap1".parse().unwrap(), blue)].into();
    let desired = plans::planned(&slice, &plans::local()).desired;
    let own = "02:00:00:00:00:01";
    let taken = [("arp", said(own, Some("192.168.10.2")))];
    let both = [("arp", said(own, Some("192.168.10.2"))), ("ip", said(own, Some("192.168.10.2")))];
    let mac = [("mac", said("02:00:00:00:00:02", None))];
    for (says, heard, arrives, may) in [
        (&taken[..], 3, false, true),
        (&both[..], 3, false, true),
        (&taken[..], 600, false, true),
        (&mac[..], 3, false, true),
        (&mac[..], 600, false, false),
    ] {
        let mut wrongs = wrongs::Wrongs::default();
        says.iter().for_each(|(reason, said)| wrongs.learn(reason, std::slice::from_ref(said), Mono::default()));
        let presence = presence(&slice, [right, right], heard);
        let findings = wrongs.findings(&slice, &desired, &presence, &places);
        let answer = ask(&presence, &slice, &findings);
        assert_eq!((answer.arrives(), answer.may_arrive()), (arrives, may), "{says:?} {heard}: {:?}", answer.steps);
        let text = &answer.steps[1].text;
        assert!(text.contains("refused: M0677"), "{text}");
        let beside = text.contains("what it sends from its own IP address is not");
        assert_eq!(beside, says[0].0 == "arp", "by a wrong Ethernet address all of it is dropped: {text}");
    }
}

#[test]
fn a_guest_that_has_not_spoken_yet_behind_no_named_interface_is_not_said_to_be_reached() {
    let mut slice = slice();
    slice.rows.values_mut().for_each(|row| row.interface = None);
    let answer = ask(&presence(&slice, [None, None], 600), &slice, &[]);
    assert!(answer.may_arrive() && !answer.arrives(), "{:?}", answer.steps);
}

#[test]
fn what_is_not_certain_is_no_yes_in_json_and_is_read_as_it_was_written() {
    for (verdict, word, yes) in [
        (Arrival::Arrives, "arrives", true),
        (Arrival::NotCertain, "not-certain", false),
        (Arrival::DoesNotArrive, "does-not-arrive", false),
    ] {
        let json = serde_json::to_value(Explanation { verdict, ..explanation() }).unwrap();
        assert_eq!([&json["verdict"], &json["delivered"], &json["probed"]], [&json!(word), &json!(yes), &json!(yes)]);
        assert_eq!(serde_json::from_value::<Explanation>(json).unwrap().verdict, verdict);
    }
    // What nodes of before say has no verdict.
    let mut json = serde_json::to_value(explanation()).unwrap();
    json.as_object_mut().unwrap().remove("verdict");
    json["probed"] = json!(false);
    assert_eq!(serde_json::from_value::<Explanation>(json).unwrap().verdict, Arrival::NotCertain);
}

#[test]
fn an_address_for_all_is_no_guests() {
    let prefixes: Vec<Prefix> = vec!["192.168.10.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()];
    let expected = BTreeMap::from([
        ("192.168.10.255", true),
        ("192.168.10.254", false),
        ("192.168.11.255", false),
        ("255.255.255.255", true),
        ("224.0.0.251", true),
        ("ff02::1", true),
        ("fd00::ffff:ffff:ffff:ffff", false),
    ]);
    for (ip, all) in expected {
        assert_eq!(is_for_all(ip.parse().unwrap(), &prefixes), all, "{ip}");
    }
}

#[test]
fn who_uses_an_address_that_no_port_has_is_named_with_the_command() {
    let (slice, blue): (Slice, NetKey) = (slice(), "default/10".parse().unwrap());
    let mut wrongs = wrongs::Wrongs::default();
    let value = "192.168.10.10".parse().unwrap();
    let said = crate::node::fence::Said {
        interface: "tap1".parse().unwrap(),
        mac: "02:00:00:00:00:01".parse().unwrap(),
        value: Some(value),
        samples: 3,
    };
    wrongs.learn("arp", &[said], Mono::default());
    let desired = plans::planned(&slice, &plans::local()).desired;
    let places = [("tap1".parse().unwrap(), blue.clone())].into();
    let findings = wrongs.findings(&slice, &desired, &Presence::default(), &places);
    for (to, other, named) in [
        (Target::Ip(value), "default/10", true),
        (Target::Ip("192.168.10.1".parse().unwrap()), "default/10", false),
        (Target::Ip(value), "default/11", false),
        (Target::Port("two".parse().unwrap()), "default/10", false),
    ] {
        let mut explanation = Explanation { mac: None, ..explanation() };
        add_users(&mut explanation, &other.parse().unwrap(), &to, &findings);
        add_users(&mut explanation, &other.parse().unwrap(), &to, &findings);
        let last = &explanation.steps.last().unwrap().text;
        assert_eq!(explanation.steps.len(), if named { 4 } else { 3 }, "{explanation:?}");
        assert_eq!(explanation.verdict == Arrival::DoesNotArrive, named);
        assert_eq!(
            last.starts_with("M0676 port one (tap1)") && last.contains("meshctl port set one --allowed 192.168.10.10"),
            named
        );
    }
}

#[test]
fn a_guest_that_its_node_says_is_not_plugged_in_is_told_at_either_end_and_is_not_certain() {
    let slice = slice();
    let right = Some((Some(BLUE), true));
    for (stand, says) in [([right, right], [false; 2]), ([right, None], [false, true]), ([None, right], [true, false])]
    {
        let away = presence(&slice, stand, 1).away(8);
        assert_eq!(away.len(), says.iter().filter(|says| **says).count());
        let mut explanation = explanation();
        let way = Way::of(&explanation, &slice, &Paths::default(), None).unwrap();
        add_away(&mut explanation, &way, &away, &away);
        add_told(&mut explanation, &way, &[], &[]);
        let text = |name: &str| {
            let words = format!("the interface of {name}, is not there");
            explanation.steps.iter().any(|step| step.open && step.text.contains(&words))
        };
        assert_eq!([text("one"), text("two")], says, "{:#?}", explanation.steps);
        let open = says.contains(&true);
        assert_eq!(explanation.verdict == Arrival::NotCertain, open, "{:#?}", explanation.steps);
        let clear = explanation.steps.iter().any(|step| step.text.contains("nothing that is in its way is known"));
        assert_eq!(clear, !open, "it says one of the two");
    }
    let all = presence(&slice, [None, None], 1);
    assert_eq!((all.away(8).len(), all.away(1).len()), (2, 1));
}

#[test]
fn what_a_shell_would_run_does_not_come_into_a_command_by_way_of_an_interface_that_is_away() {
    let slice = slice();
    let said = |interface: &str| {
        let mut away = presence(&slice, [Some((Some(BLUE), true)), None], 1).away(8);
        away.iter_mut().for_each(|guest| guest.interface = interface.parse().unwrap());
        let mut explanation = explanation();
        let way = Way::of(&explanation, &slice, &Paths::default(), None).unwrap();
        add_away(&mut explanation, &way, &away, &away);
        explanation.steps.iter().any(|step| step.text.contains(&format!("ip link show dev {interface}")))
    };
    assert!(said("gh0"));
    assert!(!["$(reboot)", "x;id", "-h", "`id`", "\"&&id;\""].iter().any(|name| said(name)));
}

#[test]
fn a_sender_asked_for_by_an_address_that_its_port_does_not_have_is_named_with_what_to_do() {
    let what = "port one (tap1) in network blue uses the address 192.168.10.10, which the port does not have";
    let finding = Finding::new("M0676", what.to_owned(), "meshctl port set one --allowed 192.168.10.10");
    let from = |address: &str| in_use(&address.parse().unwrap(), std::slice::from_ref(&finding)).map(Problem::from);
    let problem = from("192.168.10.10").unwrap();
    assert!(problem.to_string().contains(what) && problem.help == ["meshctl port set one --allowed 192.168.10.10"]);
    assert!(from("192.168.10.11").is_none() && from("one").is_none());
}

#[test]
fn an_interface_that_takes_less_than_its_network_is_said_at_both_ends_with_the_command() {
    let slice = slice();
    let desired = plans::planned(&slice, &plans::local()).desired;
    let link = |mtu| Link {
        kind: Kind::Other("veth".to_owned()),
        alias: None,
        mtu,
        up: true,
        no_addresses: true,
        port: Some(Port { bridge: BLUE.parse().unwrap(), flags: crate::linux::fake::NEW_PORT }),
    };
    for (small, mtu, arrives, far) in [
        ("tap1", 600, false, Stands::Small),
        ("tap2", 600, false, Stands::Well),
        ("tap2", 1417, false, Stands::Well),
        ("tap1", 1418, true, Stands::Well),
    ] {
        let mut observed = Observed::default();
        for (index, name) in [(1, "tap1"), (2, "tap2")] {
            let place = Place { index, master: Some(BLUE.to_owned()), up: true, card: false };
            observed.places.insert(name.parse().unwrap(), place);
            observed.links.insert(name.parse().unwrap(), link(if name == small { mtu } else { 1500 }));
        }
        let mut presence = Presence::default();
        presence.learn(&desired, &observed, &Plugs::default(), (Mono::default(), Wall::default()));
        let answer = ask(&presence, &slice, &[]);
        assert_eq!((answer.arrives(), answer.may_arrive()), (arrives, true), "{small} {mtu}: {:?}", answer.steps);
        let said: Vec<_> = answer.steps.iter().filter(|step| step.what == "mtu").collect();
        assert_eq!(said.len(), usize::from(!arrives), "{said:?}");
        let command = format!("ip link set dev {small} mtu 1418");
        assert!(said.iter().all(|step| step.open && step.text.ends_with(&command)), "{said:?}");
        let here =
            end::Here { slice: &slice, presence: &presence, found: &[], findings: &[], others: Default::default() };
        let (net, peer): (NetKey, NodeId) = ("default/10".parse().unwrap(), "b".parse().unwrap());
        let stands = end::stands(here, &net, "02:00:00:00:00:01".parse().unwrap(), (&peer, Path::Plain));
        assert_eq!(stands, far, "{small} {mtu}");
        let step = stands.step(&peer, "meshctl explain one three");
        assert_eq!((step.open, step.passes), (far == Stands::Small, true), "{step:?}");
    }
}
