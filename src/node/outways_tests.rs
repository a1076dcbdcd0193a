use super::*;
use crate::api::cut::Cut;
use crate::node::strays::Hop;
use crate::policy::path::Path;

const PEER: &str = "198.18.2.1";

fn to() -> IpAddr {
    PEER.parse().unwrap()
}

fn way(dev: &str, router: &str) -> Option<Way> {
    let hop = Hop { dev: Some(dev.parse().unwrap()), gateway: Some(router.parse().unwrap()), wraps: false };
    Some(Way { to: "0.0.0.0/0".parse().unwrap(), table: 254, hops: vec![hop], source: None, mute: None })
}

fn at(seconds: u64) -> (Mono, Wall) {
    (Mono::from_nanos(seconds * 1_000_000_000), Wall::from_secs(1_800_000_000 + seconds))
}

/// The kernel's answers, each a second after the one before.
fn learnt(answers: &[Option<Way>]) -> OutWays {
    let mut ways = OutWays::default();
    for (seconds, answer) in (1..).zip(answers) {
        let (now, wall) = at(seconds);
        ways.learn(vec![(to(), answer.clone())], now, wall);
    }
    ways
}

fn end(to: &str) -> End {
    End { to: to.parse().unwrap(), by: Some("eth1".parse().unwrap()), from: None, known: None }
}

#[test]
fn a_way_that_was_gone_for_a_moment_is_no_other_one() {
    let right = way("eth1", "10.0.0.1");
    let gone = learnt(&[right.clone(), None]);
    assert!(gone.changed(to()).is_some());
    let back = learnt(&[right.clone(), None, right.clone()]);
    assert_eq!(
        (back.changed(to()), back.says(&end(PEER))),
        (None, Some(format!("packets to {PEER} leave by eth1 via 10.0.0.1")))
    );
    let other = learnt(&[right, None, way("vpn0", "172.30.0.1")]);
    assert!(other.changed(to()).is_some());
}

#[test]
fn a_way_says_interface_and_router_and_what_it_was_before() {
    let (right, vpn, other) = (way("eth1", "10.0.0.1"), way("vpn0", "172.30.0.1"), way("eth1", "10.0.0.9"));
    let since = at(2).1;
    for (answers, says, astray, changed) in [
        (vec![right.clone()], format!("packets to {PEER} leave by eth1 via 10.0.0.1"), false, false),
        (vec![right.clone(), right.clone()], format!("packets to {PEER} leave by eth1 via 10.0.0.1"), false, false),
        (
            vec![right.clone(), vpn.clone()],
            format!(
                "packets to {PEER} leave by vpn0 via 172.30.0.1, not by eth1 as they should, since {since}, by eth1 via \
                 10.0.0.1 before"
            ),
            true,
            true,
        ),
        (
            vec![vpn.clone()],
            format!("packets to {PEER} leave by vpn0 via 172.30.0.1, not by eth1 as they should"),
            true,
            false,
        ),
        (
            vec![right.clone(), other, way("eth1", "10.0.0.9")],
            format!("packets to {PEER} leave by eth1 via 10.0.0.9, since {since}, by eth1 via 10.0.0.1 before"),
            false,
            true,
        ),
        (
            vec![right, None],
            format!("the kernel has no way to {PEER}, since {since}, by eth1 via 10.0.0.1 before"),
            false,
            true,
        ),
    ] {
        let ways = learnt(&answers);
        assert_eq!(ways.says(&end(PEER)), Some(says), "{answers:?}");
        assert_eq!((ways.astray(&end(PEER)), ways.changed(to()).is_some()), (astray, changed), "{answers:?}");
    }
    assert_eq!(OutWays::default().says(&end(PEER)), None, "of what was not asked nothing is said");
}

#[test]
fn a_change_after_which_the_tunnel_has_worked_is_no_clue_to_a_later_fault() {
    let ends = [("b-1".parse().unwrap(), end(PEER))].into();
    let peers: [NodeId; 1] = ["b-1".parse().unwrap()];
    let told = |ways: &OutWays| {
        let mut findings =
            vec![Finding::new("M0410", "down".into(), "look").cuts(Cut::peers(true, Path::Tunnel, &peers))];
        ways.explain(&mut findings, &ends);
        (findings[0].what.clone(), findings[0].help.clone())
    };
    let mut ways = learnt(&[None, way("eth1", "10.0.0.1")]);
    ways.worked(to(), at(1).0);
    assert!(told(&ways).0.contains("by no way before") && told(&ways).1.starts_with("ip route get"));
    ways.worked(to(), at(3).0);
    assert_eq!(told(&ways).0, format!("down; packets to {PEER} leave by eth1 via 10.0.0.1"));
    assert!(told(&ways).1.starts_with("look") && ways.changed(to()).is_none());
    // Where they should not leave they still leave.
    let mut ways = learnt(&[way("eth1", "10.0.0.1"), way("vpn0", "10.0.0.1")]);
    ways.worked(to(), at(3).0);
    assert!(told(&ways).0.ends_with("not by eth1 as they should"), "{:?}", told(&ways));
}

#[test]
fn a_dead_tunnel_is_told_with_the_way_that_its_packets_take() {
    let nodes: Vec<NodeId> = ["b-1", "b-2"].map(|name| name.parse().unwrap()).into();
    let ends = [(nodes[0].clone(), end(PEER)), (nodes[1].clone(), end("198.18.2.2"))].into();
    let down = |peers: &[NodeId]| {
        vec![Finding::new("M0410", "down".into(), "look").cuts(Cut::peers(true, Path::Tunnel, peers))]
    };
    let told = |ways: &OutWays, peers: &[NodeId]| {
        let mut findings = down(peers);
        ways.explain(&mut findings, &ends);
        (findings[0].what.clone(), findings[0].help.clone())
    };
    let vpn = learnt(&[way("eth1", "10.0.0.1"), way("vpn0", "172.30.0.1")]);
    for peers in [&nodes[..1], &nodes[..]] {
        let (what, help) = told(&vpn, peers);
        assert!(what.contains("leave by vpn0 via 172.30.0.1, not by eth1"), "{what}");
        assert!(help.starts_with("ip route get 198.18.2.1; "), "{help}");
    }
    let (what, help) = told(&learnt(&[way("eth1", "10.0.0.1")]), &nodes[..1]);
    assert!(what.ends_with("; packets to 198.18.2.1 leave by eth1 via 10.0.0.1") && help.contains("ip route get"));
    assert_eq!(told(&learnt(&[way("eth1", "10.0.0.1")]), &nodes), ("down".to_owned(), "look".to_owned()));
    let both = |other: &str| {
        let mut ways = OutWays::default();
        let answers = vec![(to(), way("eth1", "10.0.0.1")), (ends[&nodes[1]].to, way(other, "10.0.0.1"))];
        ways.learn(answers, at(1).0, at(1).1);
        told(&ways, &nodes).0
    };
    assert_eq!(both("eth1"), "down; packets to them leave by eth1 via 10.0.0.1");
    assert_eq!(both("eth2"), "down; packets to 198.18.2.2 leave by eth2 via 10.0.0.1, not by eth1 as they should");
    assert_eq!(told(&vpn, &nodes[1..]), ("down".to_owned(), "look".to_owned()), "of that one nothing is known");
}

#[test]
fn what_shows_a_way_is_asked_once_whoever_asks_it_first() {
    let to = "10.0.0.1".parse().unwrap();
    assert_eq!(asking("look there", to, true), "ip route get 10.0.0.1; look there");
    assert_eq!(asking("look there", to, false), "look there; ip route get 10.0.0.1");
    assert_eq!(asking("here: ip route get 10.0.0.1; look there", to, false), "here: ip route get 10.0.0.1; look there");
    let other = "ip route get 10.0.0.12";
    assert_eq!(asking(other, to, true), format!("ip route get 10.0.0.1; {other}"), "of another address");
}

/// What this host does to packets that leave is said first, with what shows it.
#[test]
fn what_keeps_packets_here_or_answers_away_is_told_with_the_command_that_shows_it() {
    let peers: [NodeId; 1] = ["b-1".parse().unwrap()];
    let told = |ways: &OutWays, end: End| {
        let mut findings =
            vec![Finding::new("M0410", "down".into(), "look").cuts(Cut::peers(true, Path::Tunnel, &peers))];
        ways.explain(&mut findings, &[(peers[0].clone(), end)].into());
        (findings[0].what.clone(), findings[0].help.clone())
    };
    let right = Way { ..way("eth1", "10.0.0.1").unwrap() };
    let from = |own: &str| End { from: own.parse().ok(), ..end(PEER) };
    // A route that says from where.
    let hinted = learnt(&[Some(Way { source: "10.1.0.1".parse().ok(), ..right.clone() })]);
    let (what, help) = told(&hinted, from("198.18.1.1"));
    assert!(what.contains(", from 10.1.0.1, which a route says, and not from 198.18.1.1"), "{what}");
    assert!(help.starts_with("ip route get 198.18.2.1"), "{help}");
    assert!(told(&hinted, from("10.1.0.1")).1.starts_with("look"));
    // A next hop that is not there.
    let mute = learnt(&[Some(Way { mute: "10.0.0.1".parse().ok(), ..right.clone() })]);
    let (what, help) = told(&mute, from("198.18.1.1"));
    assert!(what.contains("10.0.0.1 answers no question for its Ethernet address"), "{what}");
    assert!(help.starts_with("ip neigh show 10.0.0.1"), "{help}");
    // What the system refuses to send, for as long as it does.
    let mut refused = learnt(&[Some(right.clone())]);
    refused.refuse([(to(), 1, at(30).0)].into_iter(), at(31).0);
    let (what, help) = told(&refused, from("198.18.1.1"));
    assert!(what.contains("this host itself refuses to send there: Operation not permitted"), "{what}");
    assert!(help.starts_with("nft list ruleset") && help.contains("ip xfrm policy"), "{help}");
    refused.refuse(std::iter::empty(), at(51).0);
    assert!(!told(&refused, from("198.18.1.1")).0.contains("refuses"));
    // A peer that calls from elsewhere than management says.
    let elsewhere = End { known: "198.18.9.9".parse().ok(), ..from("198.18.1.1") };
    let (what, help) = told(&learnt(&[Some(right)]), elsewhere);
    assert!(what.ends_with("its packets come from 198.18.2.1, and management has it at 198.18.9.9"), "{what}");
    assert!(help.starts_with("there: ip route get 198.18.1.1"), "{help}");
}
