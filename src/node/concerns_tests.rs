//! For each thing that can be wrong, at each of the places where somebody explains a frame: "arrives" is not said where it is in the way, and is
//! said where it is in somebody else's.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::api::local::{Arrival, Explanation};
use crate::node::desired::{Kind, Link, Observed, Place};
use crate::node::doubts::Others;
use crate::node::end::{self, Stands};
use crate::node::explain_guests::{self, Now};
use crate::node::plan::tests as plans;
use crate::node::plugs::Plugs;
use crate::node::presence::Presence;
use crate::node::watch_told::{self, Seen};
use crate::node::{paths, reconcile};
use crate::probe::plain::Report;
use crate::types::{IfName, Mono, UdpPort, Wall};

#[path = "concerns_codes_tests.rs"]
pub(crate) mod codes;

const NOW: Mono = Mono::from_nanos(1_000_000_000_000);
const BLUE: &str = "vb10.12b5";

/// `one` and `two` on node a (this one), `three` on b (plain), `four` on far (tunnel).
fn slice() -> Slice {
    let mut slice = plans::slice("suppress", json!({}));
    slice.rows.clear();
    for (n, port, node) in [(1, "one", "a"), (2, "two", "a"), (3, "three", "b"), (4, "four", "far")] {
        let row =
            json!({"node": node, "interface": format!("tap{n}"), "port": port, "arp": [format!("192.168.10.{n}")]});
        let key = format!("default/10/-/02:00:00:00:00:0{n}").parse().unwrap();
        slice.rows.insert(key, serde_json::from_value(row).unwrap());
    }
    slice
}

fn decided(slice: &Slice) -> Paths {
    paths::decide_all(slice, plans::local().own())
}

/// What a node says whose path has answered a moment ago.
fn arrives(slice: &Slice, to: u8) -> Explanation {
    Explanation {
        from: "one".parse().unwrap(),
        from_node: slice.node.clone(),
        to: "it".to_owned(),
        steps: vec![Step::new("port", true, ""), Step::new("now", true, "")],
        verdict: Arrival::Arrives,
        mac: format!("02:00:00:00:00:0{to}").parse().ok(),
    }
}

/// Guests of this node in their bridge, but `tap1`, which stands as it is said.
fn presence(slice: &Slice, tap1: Option<(Option<&str>, bool)>) -> Presence {
    let mut observed = Observed::default();
    for (index, name) in (1..).zip(["tap1", "tap2"]) {
        let stands = if name == "tap1" { tap1 } else { Some((Some(BLUE), true)) };
        if let Some((master, up)) = stands {
            let place = Place { index, master: master.map(str::to_owned), up, card: false };
            observed.places.insert(name.parse().unwrap(), place);
        }
        let mac = format!("02:00:00:00:00:0{index}").parse().unwrap();
        observed.heard.entry(name.parse().unwrap()).or_default().insert(mac, Duration::from_secs(1));
    }
    let mut presence = Presence::default();
    let desired = plans::planned(slice, &plans::local()).desired;
    let plugs = Plugs::default();
    presence.learn(&desired, &observed, &plugs, (NOW - Duration::from_secs(20), Wall::default()));
    presence.learn(&desired, &observed, &plugs, (NOW, Wall::default()));
    presence
}

fn well(slice: &Slice) -> Presence {
    presence(slice, Some((Some(BLUE), true)))
}

/// The same frame explained by the sender's node, by what the receiver's node answers, and by management. True: "arrives" is said; management
/// never says more than "would arrive", so there it is whether all is clear.
fn said(near: (&Presence, &[Finding]), far: &[Finding], to: u8) -> [bool; 3] {
    let slice = slice();
    let paths = decided(&slice);
    let mut here = arrives(&slice, to);
    let way = Way::of(&here, &slice, &paths, None).unwrap();
    explain_guests::add(&mut here, Now { slice: &slice, presence: near.0, found: &[], findings: near.1 }, &way);
    let mut management = arrives(&slice, to);
    explain_guests::add_told(&mut management, &way, near.1, far);
    [here.arrives(), matches!(there(far, to), Stands::Well | Stands::Mute), management.arrives()]
}

/// What the receiver's node answers.
fn there(findings: &[Finding], to: u8) -> Stands {
    let mut slice = slice();
    let own: NodeId = if to == 3 { "b" } else { "far" }.parse().unwrap();
    let path = if to == 3 { Path::Plain } else { Path::Tunnel };
    let peer = std::mem::replace(&mut slice.node, own);
    // Its guest is where it belongs.
    let (mut observed, name): (Observed, IfName) = (Observed::default(), format!("tap{to}").parse().unwrap());
    observed.places.insert(name, Place { index: 9, master: Some(BLUE.to_owned()), up: true, card: false });
    let mut presence = Presence::default();
    let desired = plans::planned(&slice, &plans::local()).desired;
    presence.learn(&desired, &observed, &Plugs::default(), (NOW, Wall::default()));
    let here = end::Here { slice: &slice, presence: &presence, found: &[], findings, others: Others::default() };
    let mac = format!("02:00:00:00:00:0{to}").parse().unwrap();
    end::stands(here, &"default/10".parse().unwrap(), mac, (&peer, path))
}

/// What echoes of the plain path have found of a peer.
fn plain(peer: &str, change: impl Fn(&mut Report), down: bool) -> Vec<Finding> {
    let ago = |seconds| NOW - Duration::from_secs(seconds);
    let mut report = Report { rtt: None, loss: None, ..Report::well(ago(1)) };
    change(&mut report);
    let (node, interface): (NodeId, IfName) = (peer.parse().unwrap(), "eth0".parse().unwrap());
    let one = Seen {
        node: &node,
        udp_port: UdpPort::try_from(4789).unwrap(),
        own: "10.9.0.1".parse().unwrap(),
        address: "10.9.0.2".parse().unwrap(),
        outer: crate::policy::path::Outer::Admin,
        interface: &interface,
        session: true,
        unheard: false,
        theirs: None,
        speaks: true,
        narrow: Vec::new(),
        report: Some(report),
    };
    let down: BTreeMap<_, _> = down.then(|| (interface.clone(), watch_told::Down::Off)).into_iter().collect();
    watch_told::findings(&"a".parse().unwrap(), &[one], &down, NOW)
}

/// Everything that is known to cut something off, as its source tells it: what, and the findings at the end of node a about peer `b`.
fn of_peer(peer: &str) -> Vec<(&'static str, Vec<Finding>)> {
    let since = |seconds| Some(NOW - Duration::from_secs(seconds));
    let quiet = |report: &mut Report| (report.quiet, report.answered) = (since(30), since(30));
    let out = move |report: &mut Report| {
        quiet(report);
        report.theirs = None;
        report.unanswered = true;
    };
    let silent = move |report: &mut Report| {
        quiet(report);
        (report.heard, report.theirs) = (None, None);
    };
    let inward = move |report: &mut Report| {
        quiet(report);
        report.heard = since(30);
        report.theirs = None;
        report.told = Some(crate::probe::plain::Told { heard: Some(Duration::from_secs(1)), hit: false, at: NOW });
    };
    vec![
        ("M0663", plain(peer, out, false)),
        ("M0663", plain(peer, inward, false)),
        ("M0666", plain(peer, silent, false)),
        ("M0665", plain(peer, |report| report.legs = vec![49152], false)),
        ("M0722", plain(peer, |report| report.scattered = true, false)),
        ("M0664", plain(peer, |report| report.size = 1300, false)),
        ("M0667", plain(peer, |_| {}, true)),
    ]
}

#[test]
fn nothing_is_in_the_way_where_all_is_well() {
    let there = well(&slice());
    for to in [2, 3, 4] {
        let [here, far, management] = said((&there, &[]), &[], to);
        assert!(here && management, "{to}");
        assert!(far || to == 2, "{to}");
    }
    let slice = slice();
    let mut mine = Vec::new();
    // What is wrong and in no frame's way.
    for code in ["M0669", "M0615", "M0690", "M0502", "M0213"] {
        mine.push(Finding::new(code, "something".to_owned(), "").harmless());
        mine.push(Finding::new(code, "something else".to_owned(), ""));
    }
    assert_eq!(said((&well(&slice), &mine), &mine, 3), [true; 3]);
}

fn goes(finding: &Finding) -> Option<Direction> {
    finding.cut.as_ref().and_then(|cut| cut.direction)
}

#[test]
fn a_path_that_does_not_carry_is_in_the_way_at_both_ends_and_at_management_and_of_that_peer_alone() {
    let there = well(&slice());
    for (code, findings) in of_peer("b") {
        assert_eq!(findings.first().map(|finding| finding.code.as_str()), Some(code), "{findings:?}");
        let [here, _, management] = said((&there, &findings), &[], 3);
        // What does not come back is in no way of what is sent.
        let back = findings.iter().all(|finding| goes(finding) == Some(Direction::ToGuests));
        assert_eq!([here, management], [back; 2], "{code}");
        assert_eq!(said((&there, &findings), &[], 4), [true; 3], "{code}: another peer");
    }
    for (code, findings) in of_peer("a") {
        let [here, far, management] = said((&there, &[]), &findings, 3);
        let back = findings.iter().all(|finding| goes(finding) == Some(Direction::FromGuests));
        assert_eq!([here, far, management], [true, back, back], "{code} is known to the other end alone");
        assert_eq!(said((&there, &[]), &findings, 4), [true; 3], "{code}: by the other kind of path");
    }
}

#[test]
fn a_tunnel_that_loses_is_told_by_who_receives_and_is_known_to_who_sends() {
    let lossy = |node: &NodeId, peer: &NodeId| {
        let whence = crate::node::losses::Whence::Way;
        crate::node::losses_told::findings(
            node,
            [crate::node::losses_told::Lossy { node: peer, from: None, whence }],
            None,
        )
    };
    let (a, far): (NodeId, NodeId) = ("a".parse().unwrap(), "far".parse().unwrap());
    let findings = lossy(&far, &a);
    assert_eq!(said((&well(&slice()), &[]), &findings, 4), [true, false, false], "what a sends");
    assert_eq!(there(&findings, 4), Stands::Lossy);
    let step = Stands::Lossy.step(&far, "meshctl status");
    assert!(step.open && step.text.contains("many datagrams of the tunnel from here"), "{step:?}");
    // What it gets is in the way of the answer alone.
    assert_eq!(said((&well(&slice()), &lossy(&a, &far)), &[], 4), [true; 3]);
    assert_eq!(said((&well(&slice()), &lossy(&a, &far)), &[], 3), [true; 3]);
}

#[test]
fn a_guest_of_which_all_that_it_sends_is_dropped_is_reached_and_does_not_answer() {
    let net: NetKey = "default/10".parse().unwrap();
    for (goes_to, surely, stands) in
        [(false, true, Stands::Mute), (false, false, Stands::Well), (true, true, Stands::Dropped)]
    {
        let cut = Cut::guests(surely, &[(net.clone(), "02:00:00:00:00:03".parse().unwrap())]).at_interface(goes_to);
        let finding = Finding::new("M0696", "what comes from tap3 is dropped".to_owned(), "nft").cuts(cut);
        assert_eq!(there(&[finding], 3), stands, "to the guest: {goes_to}, surely: {surely}");
    }
    let step = Stands::Mute.step(&"b".parse().unwrap(), "meshctl explain three one");
    assert!(step.what == "back" && step.passes && step.text.contains("meshctl explain three one"), "{step:?}");
}

#[test]
fn a_guest_that_is_not_in_its_place_is_in_the_way_of_its_own_frames_and_of_no_others() {
    let slice = slice();
    for (code, stands) in [
        ("M0670", Some((Some("virbr0"), true))),
        ("M0672", Some((None, true))),
        ("M0674", Some((Some(BLUE), false))),
        ("M0673", None),
    ] {
        let there = presence(&slice, stands);
        let findings = there.findings(&slice, NOW);
        assert_eq!(findings.first().map(|finding| finding.code.as_str()), Some(code), "{findings:?}");
        for to in [2, 3, 4] {
            let [here, _, management] = said((&there, &findings), &[], to);
            assert!(!here && !management, "{code} to {to}");
        }
        // The same seen from the other end: it is the receiver.
        let mut far = findings.clone();
        for cut in far.iter_mut().filter_map(|finding| finding.cut.as_mut()) {
            cut.guests.iter_mut().for_each(|guest| guest.mac = "02:00:00:00:00:03".parse().unwrap());
        }
        let [here, end, management] = said((&well(&slice), &[]), &far, 3);
        assert!(here && !end && !management, "{code} there");
        assert_eq!(said((&well(&slice), &[]), &far, 4), [true; 3], "{code}: another guest");
    }
}

#[test]
fn a_network_that_is_not_built_and_a_kernel_that_refuses_cut_off_what_they_say() {
    let slice = slice();
    let desired = plans::planned(&slice, &plans::local()).desired;
    let mut observed = Observed::default();
    let kind = Kind::Other("dummy".to_owned());
    let link = Link { kind, alias: None, mtu: 1500, up: true, no_addresses: false, port: None };
    observed.links.insert(BLUE.parse().unwrap(), link);
    let blocked = reconcile::conflicts(&desired, &observed);
    assert_eq!(blocked.first().map(|finding| finding.code.as_str()), Some("M0611"), "{blocked:?}");
    let refuses = vec![Finding::new("M0626", "the kernel refuses".to_owned(), "").cuts(Cut::node(true))];
    let perhaps = vec![Finding::new("M9999", "a code of a newer program".to_owned(), "").cuts(Cut::node(false))];
    let there = well(&slice);
    for findings in [&blocked, &refuses, &perhaps] {
        assert_eq!(said((&there, findings), findings, 3), [false; 3], "{findings:?}");
        let [here, end, management] = said((&there, &[]), findings, 3);
        assert!(here && !end && !management, "{findings:?}");
        let [here, _, _] = said((&there, findings), &[], 2);
        assert!(!here, "{findings:?}: inside the node too");
    }
    let other =
        vec![Finding::new("M0611", "network".to_owned(), "").cuts(Cut::network(&"default/11".parse().unwrap()))];
    assert_eq!(said((&there, &other), &other, 3), [true; 3], "another network");
}

#[test]
fn what_is_cut_off_from_other_nodes_alone_is_in_no_way_on_the_node() {
    let (net, b): (NetKey, NodeId) = ("default/10".parse().unwrap(), "b".parse().unwrap());
    let mac = "02:00:00:00:00:01".parse().unwrap();
    let cut = Cut { away: true, ..Cut::guests(true, &[(net.clone(), mac)]) };
    // A broadcast has no peer, and is for other nodes too.
    for (peer, alone, says) in [
        (None, true, None),
        (None, false, Some(true)),
        (Some((&b, Path::Plain)), false, Some(true)),
        (Some((&b, Path::Tunnel)), false, Some(true)),
    ] {
        assert_eq!(
            concerns(&cut, End { net: &net, mac: Some(mac), peer, ipv6: None, alone, direction: None, ip: None }),
            says
        );
    }
}

#[test]
fn what_is_cut_off_in_one_direction_is_in_the_way_of_that_direction_alone_and_of_the_answer_to_the_other() {
    let (net, b): (NetKey, NodeId) = ("default/10".parse().unwrap(), "b".parse().unwrap());
    let mac = "02:00:00:00:00:01".parse().unwrap();
    let tap = Cut::guests(true, &[(net.clone(), mac)]);
    let (vxlan, admin) = (Cut::way(&net, Path::Plain), Cut { path: None, ..Cut::peers(true, Path::Plain, [&b]) });
    let (from, to) = (Direction::FromGuests, Direction::ToGuests);
    for (cut, goes_to, hit) in
        [(&tap, true, to), (&tap, false, from), (&vxlan, true, from), (&vxlan, false, to), (&admin, true, from)]
    {
        let cut = cut.clone().at_interface(goes_to);
        let end = |direction| End {
            net: &net,
            mac: Some(mac),
            peer: Some((&b, Path::Plain)),
            ipv6: None,
            alone: false,
            direction,
            ip: None,
        };
        assert_eq!(concerns(&cut, end(Some(hit))), Some(true), "{cut:?}");
        assert_eq!(concerns(&cut, end(Some(hit.back()))), None, "{cut:?}");
        assert_eq!(concerns(&cut, end(None)), Some(true), "{cut:?}");
        let findings = [Finding::new("M0695", "dropped".to_owned(), "").cuts(cut)];
        assert_eq!(in_the_way_back(&findings, end(Some(hit))).len(), 0);
        assert_eq!(in_the_way_back(&findings, end(Some(hit.back()))).len(), 1);
    }
    let both = [Finding::new("M0611", "down".to_owned(), "").cuts(tap)];
    let end = End { net: &net, mac: Some(mac), peer: None, ipv6: None, alone: false, direction: Some(from), ip: None };
    assert!(in_the_way_back(&both, end).is_empty(), "it is in the way there already");
}

#[test]
fn what_is_in_the_way_of_the_receiver_on_the_same_node_is_in_the_way() {
    let there = well(&slice());
    let net: NetKey = "default/10".parse().unwrap();
    let of = |guest: u8, direction| {
        let cut = Cut::guests(true, &[(net.clone(), format!("02:00:00:00:00:0{guest}").parse().unwrap())]);
        vec![Finding::new("M0695", "dropped".to_owned(), "").cuts(Cut { direction: Some(direction), ..cut })]
    };
    let (from, to) = (Direction::FromGuests, Direction::ToGuests);
    for (guest, direction, arrives) in [(1, from, false), (1, to, true), (2, from, true), (2, to, false)] {
        let findings = of(guest, direction);
        let [here, _, management] = said((&there, &findings), &findings, 2);
        assert_eq!([here, management], [arrives; 2], "{guest} {direction:?}");
    }
}

#[test]
fn that_one_of_several_holders_is_not_reached_says_nothing_of_the_others() {
    let mut explanation = arrives(&slice(), 3);
    explanation.steps.extend([Step::open(HOLDER, "if it is b:"), Step::new("far", false, "b has no such guest")]);
    settle(&mut explanation);
    assert_eq!(explanation.verdict, Arrival::NotCertain);
    let mut explanation = arrives(&slice(), 3);
    explanation.steps.extend([Step::new("guest", false, "unplugged"), Step::open(HOLDER, "if it is b:")]);
    settle(&mut explanation);
    assert_eq!(explanation.verdict, Arrival::DoesNotArrive);
}

#[test]
fn who_is_not_listed_among_many_may_be_one_of_the_rest() {
    let names: Vec<NodeId> = (0..200).map(|n| format!("n-{n}").parse().unwrap()).collect();
    let cut = Cut::peers(true, Path::Plain, &names);
    assert!(cut.peers.len() == crate::api::cut::LISTED && cut.others);
    let net = "default/10".parse().unwrap();
    let b: NodeId = "b".parse().unwrap();
    let end = |path| End {
        net: &net,
        mac: None,
        peer: Some((&b, path)),
        ipv6: None,
        alone: false,
        direction: None,
        ip: None,
    };
    assert_eq!(concerns(&cut, end(Path::Plain)), Some(false));
    assert_eq!(concerns(&cut, end(Path::Tunnel)), None);
    assert_eq!(
        concerns(&cut, End { net: &net, mac: None, peer: None, ipv6: None, alone: false, direction: None, ip: None }),
        None
    );
}

#[test]
fn who_sends_from_one_address_may_send_from_another_one_that_is_refused() {
    let (net, mac): (NetKey, Mac) = ("default/10".parse().unwrap(), "02:00:00:00:00:01".parse().unwrap());
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let guests = [(net.clone(), mac)];
    let cut = Cut::guests(false, &guests).sent_from([ip("192.168.10.200")]);
    let end = |from: Option<&str>, ipv6, direction| End {
        net: &net,
        mac: Some(mac),
        peer: None,
        ipv6,
        alone: false,
        direction: Some(direction),
        ip: from.map(ip),
    };
    let (sends, gets) = (Direction::FromGuests, Direction::ToGuests);
    for (end, says) in [
        (end(Some("192.168.10.11"), Some(false), sends), None),
        (end(Some("192.168.10.200"), Some(false), sends), Some(false)),
        (end(None, None, sends), Some(false)),
        (end(None, Some(true), sends), None),
        (end(None, None, gets), Some(false)),
        (end(None, Some(true), gets), None),
    ] {
        assert_eq!(concerns(&cut, end), says, "{end:?}");
    }
    let other = Cut::guests(false, &guests).sent_from([ip("fd00::9")]);
    assert!(!cut.takes(&other) && cut.takes(&cut.clone()));
    let many = (0..=crate::api::cut::LISTED).map(|n| ip(&format!("10.0.0.{n}")));
    let many = Cut::guests(false, &guests).sent_from(many);
    assert_eq!(concerns(&many, end(Some("192.168.10.11"), None, sends)), Some(false), "which they are is not said");
}
