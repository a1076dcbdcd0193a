use super::*;
use crate::probe::plain::{Theirs, Told};

const NOW: Mono = Mono::from_nanos(1_000_000_000_000);

fn ago(seconds: u64) -> Mono {
    NOW - Duration::from_secs(seconds)
}

fn secs(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

/// A path that has answered 3 s ago.
fn good() -> Report {
    Report::well(ago(3))
}

/// One that has answered nothing for so long: what arrived here lately, and what the peer said by its session or over the path.
fn quiet(seconds: u64, heard: u64, told: Option<Option<Duration>>, theirs: Option<Option<Duration>>) -> Report {
    let said = |heard| Theirs { heard, passes: 1450, at: ago(2) };
    Report {
        quiet: Some(ago(seconds)),
        answered: Some(ago(seconds)),
        heard: Some(ago(heard)),
        told: told.map(|heard| Told { heard, hit: false, at: ago(1) }),
        theirs: theirs.map(said),
        ..good()
    }
}

/// The same where it was asked again after it was heard, in vain.
fn lost(report: Report) -> Report {
    Report { unanswered: true, ..report }
}

/// The same where nothing has come or been said for so long: what a peer says right before it dies.
fn dead(seconds: u64, said: u64, heard: u64) -> Report {
    let (at, heard) = (ago(said), secs(heard));
    Report {
        told: Some(Told { heard, hit: false, at }),
        theirs: Some(Theirs { heard, passes: 1450, at }),
        ..quiet(seconds, said, None, None)
    }
}

struct Mesh {
    nodes: Vec<NodeId>,
    interface: IfName,
}

impl Mesh {
    fn new(count: u8) -> Self {
        Self {
            nodes: (2..2 + count).map(|n| format!("a-{n}").parse().unwrap()).collect(),
            interface: "eth0".parse().unwrap(),
        }
    }

    fn seen(&self, report: &Report) -> Vec<Seen<'_>> {
        let one = |(n, node)| Seen {
            outer: Outer::Admin,
            node,
            udp_port: UdpPort::try_from(4789).unwrap(),
            own: "10.1.0.1".parse().unwrap(),
            address: IpAddr::from([10, 1, 0, 2 + u8::try_from(n).unwrap()]),
            interface: &self.interface,
            session: true,
            unheard: false,
            theirs: None,
            speaks: true,
            narrow: Vec::new(),
            report: Some(report.clone()),
        };
        self.nodes.iter().enumerate().map(one).collect()
    }
}

fn told(seen: &[Seen<'_>], down: &[&IfName]) -> Vec<(String, String)> {
    let down = down.iter().map(|name| ((*name).clone(), Down::Off)).collect();
    let found = findings(&"a-1".parse().unwrap(), seen, &down, NOW);
    found.into_iter().map(|finding| (finding.code, finding.what)).collect()
}

#[test]
fn a_peer_that_says_its_own_interface_is_down_is_told_as_that_and_apart_from_others() {
    let (mesh, admin0) = (Mesh::new(3), "admin0".parse::<IfName>().unwrap());
    for (since, surely) in [(12, false), (30, true)] {
        let mut seen = mesh.seen(&quiet(since, 30, None, None));
        seen[0].theirs = Some(&admin0);
        // One that answers, so that it is not this node's own line.
        seen[2].report = Some(good());
        let found = findings(&"a-1".parse().unwrap(), &seen, &BTreeMap::new(), NOW);
        crate::node::concerns::tests::codes::as_decided(&found);
        let (theirs, other): (Vec<_>, Vec<_>) = found.iter().partition(|one| one.what.contains("admin0"));
        let ([theirs], [other]) = (&theirs[..], &other[..]) else { panic!("{found:?}") };
        assert!(theirs.what.contains("interface admin0 there is the fault by the word of a-2 (M0667)"), "{theirs:?}");
        assert!(!theirs.what.contains("meshd there") && !theirs.what.contains("nobody knows"), "{theirs:?}");
        assert!(theirs.help.starts_with("on a-2 first: ip link show dev admin0"), "{theirs:?}");
        assert_eq!(theirs.cut.as_ref().map(|cut| cut.surely), Some(surely));
        assert!(other.what.contains("a-3") && !other.cut.as_ref().unwrap().surely, "{other:?}");
    }
    // What answers answers, whatever is said of it.
    let mut seen = mesh.seen(&good());
    seen[0].theirs = Some(&admin0);
    assert_eq!(told(&seen, &[]), []);
}

#[test]
fn an_interface_in_a_bridge_of_others_is_its_own_fault_unless_peers_are_heard() {
    let mesh = Mesh::new(2);
    let down = [(mesh.interface.clone(), Down::InBridge("br0".into()))].into();
    let found = |seen: &[Seen<'_>]| findings(&"a-1".parse().unwrap(), seen, &down, NOW);
    let silent = found(&mesh.seen(&quiet(30, 30, None, None)));
    crate::node::concerns::tests::codes::as_decided(&silent);
    let [finding] = &silent[..] else { panic!("{silent:?}") };
    let line = &mesh.interface;
    assert_eq!(
        finding.what,
        format!(
            "interface {line} is a port of the bridge br0, which takes all that arrives: nothing arrives of a-2, a-3 by the plain path"
        )
    );
    assert!(finding.help.starts_with(&format!("ip link set dev {line} nomaster; or give br0")), "{finding:?}");
    let cut = finding.cut.as_ref().unwrap();
    assert!(cut.surely && cut.direction == Some(Direction::ToGuests), "what is sent from here may arrive: {cut:?}");
    // A filter of that bridge may leave it to the host.
    assert_eq!(found(&mesh.seen(&good())), []);
}

#[test]
fn what_arrives_and_what_the_peer_says_name_the_direction() {
    let cases = [
        ("fine", good(), PlainState::Answers),
        ("some lost echoes", quiet(5, 5, None, None), PlainState::Answers),
        ("ours do not arrive, it says", lost(quiet(9, 1, Some(None), None)), PlainState::OutLost),
        ("ours arrived long ago, it says", lost(quiet(40, 1, Some(secs(40)), None)), PlainState::OutLost),
        ("ours do not arrive, it says over the path", lost(quiet(9, 1, None, Some(None))), PlainState::OutLost),
        ("theirs arrive, and nobody says more", lost(quiet(9, 1, None, None)), PlainState::OutLost),
        ("theirs arrive, and it was not asked since", quiet(40, 1, Some(None), None), PlainState::Quiet),
        ("ours arrive, theirs do not", quiet(30, 30, Some(secs(1)), None), PlainState::InLost),
        ("neither arrives", quiet(30, 30, Some(secs(29)), None), PlainState::BothLost),
        ("a daemon that has died", dead(9, 10, 1), PlainState::Quiet),
        ("one that had heard nothing for a while", dead(12, 13, 6), PlainState::Quiet),
        ("one that is dead for longer", dead(17, 18, 1), PlainState::Silent),
        ("one that died after its path", dead(30, 16, 14), PlainState::Silent),
        ("nothing is known yet", quiet(12, 30, None, None), PlainState::Quiet),
        ("nothing is known", quiet(17, 30, None, None), PlainState::Silent),
        ("both have arrived just now", quiet(9, 1, Some(secs(1)), None), PlainState::Quiet),
        ("too small", Report { size: 1400, ..good() }, PlainState::Small),
        ("smaller, and more than guests need", Report { size: 1430, ..good() }, PlainState::Answers),
        ("too small, not yet exact", Report { size: 1300, exact: false, ..good() }, PlainState::Answers),
        (
            "too small from there",
            Report { theirs: Some(Theirs { heard: secs(1), passes: 1300, at: ago(2) }), ..good() },
            PlainState::Small,
        ),
        ("a dead leg", Report { legs: vec![49_161], ..good() }, PlainState::Legs),
    ];
    let mesh = Mesh::new(1);
    for (what, report, state) in cases {
        let seen = mesh.seen(&report);
        assert_eq!(seen[0].state(NOW), state, "{what}");
        let quiet = matches!(state, PlainState::Answers | PlainState::Starting);
        assert_eq!(told(&seen, &[]).is_empty(), quiet, "{what}");
    }
}

#[test]
fn who_lives_and_does_not_say_when_it_has_heard_may_be_unable_to_look() {
    let mesh = Mesh::new(1);
    let report = quiet(100, 100, None, None);
    for (unheard, state, words) in
        [(false, PlainState::Silent, "neither over"), (true, PlainState::Quiet, "nobody knows yet what fails")]
    {
        let mut seen = mesh.seen(&report);
        seen[0].unheard = unheard;
        assert_eq!(seen[0].state(NOW), state);
        let told = told(&seen, &[]);
        assert!(told.len() == 1 && told[0].0 == "M0666" && told[0].1.contains(words), "{told:?}");
    }
}

#[test]
fn who_is_no_meshd_for_certain_and_was_never_heard_is_not_missed() {
    let mesh = Mesh::new(1);
    let never = Report { answered: None, heard: None, told: None, theirs: None, ..quiet(100, 100, None, None) };
    for (speaks, report, state) in [
        (true, never.clone(), PlainState::Silent),
        (false, never, PlainState::Starting),
        (false, quiet(100, 100, None, None), PlainState::Silent),
    ] {
        let mut seen = mesh.seen(&report);
        seen[0].speaks = speaks;
        assert_eq!(seen[0].state(NOW), state);
    }
}

#[test]
fn what_is_said_names_the_pair_and_the_direction() {
    let mesh = Mesh::new(1);
    let says = |report: Report| told(&mesh.seen(&report), &[]).remove(0);
    for (report, code, words) in [
        (
            lost(quiet(9, 1, Some(None), None)),
            "M0663",
            "plain frames from a-1 to a-2 do not arrive there (10.1.0.1 - 10.1.0.2, UDP port 4789)",
        ),
        (quiet(30, 30, Some(secs(1)), None), "M0663", "plain frames from a-2 to a-1 do not arrive here"),
        (quiet(30, 30, Some(None), None), "M0663", "between a-1 and a-2 arrive in neither direction"),
        (Report { size: 1400, ..good() }, "M0664", "from a-1 to a-2 with packets of more than 1400 bytes are lost"),
        (
            Report { theirs: Some(Theirs { heard: secs(1), passes: 1300, at: ago(2) }), ..good() },
            "M0664",
            "from a-2 to a-1 with packets of more than 1300 bytes are lost",
        ),
        (Report { legs: vec![49_161], ..good() }, "M0665", "between a-1 and a-2"),
        (Report { scattered: true, size: 600, ..good() }, "M0722", "between a-1 and a-2 many are lost at random"),
        (Report { hole: Some(700), ..good() }, "M0721", "from a-1 to a-2 with packets of about 700 bytes are lost"),
        (quiet(12, 30, None, None), "M0666", "a-2 does not answer over the plain path"),
        (quiet(17, 30, None, None), "M0666", "nothing is heard of a-2, neither over the plain path nor by the session"),
    ] {
        let (of, what) = says(report);
        assert!(of == code && what.contains(words), "{of} {what}");
    }
    let mut seen = mesh.seen(&good());
    seen[0].session = false;
    assert_eq!(told(&seen, &[])[0].0, "M0669");
    for (session, unheard, words) in [
        (true, false, None),
        (true, true, Some("only what comes from there arrives")),
        (false, true, Some("the session with a-2 is down")),
        (false, false, Some("the session with a-2 is down")),
    ] {
        (seen[0].session, seen[0].unheard) = (session, unheard);
        let found = told(&seen, &[]);
        assert_eq!(found.first().map(|(code, _)| code.as_str()), words.map(|_| "M0669"));
        assert!(words.is_none_or(|words| found[0].1.contains(words)), "{found:?}");
    }
    // Of a path that fails itself, that is said.
    seen[0].report = Some(quiet(17, 30, None, None));
    assert_eq!(told(&seen, &[])[0].0, "M0666");
}

#[test]
fn one_cause_is_one_finding_however_many_peers_it_meets() {
    let mesh = Mesh::new(40);
    for (report, words) in [
        (lost(quiet(9, 1, Some(None), None)), "to a-10, a-11, a-12 and 37 more do not arrive"),
        (quiet(17, 30, None, None), "nothing arrives by eth0 from any of 40 peers"),
    ] {
        let found = told(&mesh.seen(&report), &[]);
        assert!(found.len() == 1 && found[0].1.contains(words), "{found:?}");
        let found = told(&mesh.seen(&report), &[&mesh.interface]);
        assert!(found.len() == 1 && found[0].0 == "M0667" && found[0].1.contains("eth0 is down"), "{found:?}");
    }
    // One that answers shows that it is not the own line.
    let mut seen = mesh.seen(&quiet(17, 30, None, None));
    seen[7].report = Some(good());
    let found = told(&seen, &[]);
    assert!(found.len() == 1 && found[0].0 == "M0666" && found[0].1.contains("and 36 more"), "{found:?}");
}

#[test]
fn a_finding_stays_the_same_text_while_its_cause_stands() {
    let mesh = Mesh::new(3);
    for heard in [None, secs(40)] {
        let at = |seconds: u64| told(&mesh.seen(&quiet(seconds, seconds, Some(heard), None)), &[]);
        assert_eq!(at(30), at(3000));
    }
}

/// What is to be done about a report whose path these networks take.
fn helps(report: &Report, narrow: &[Network]) -> Vec<String> {
    let mesh = Mesh::new(1);
    let mut seen = mesh.seen(report);
    seen[0].narrow = narrow.iter().collect();
    let found = findings(&"a-1".parse().unwrap(), &seen, &BTreeMap::new(), NOW);
    found.into_iter().map(|finding| finding.help).collect()
}

#[test]
fn both_directions_of_a_narrow_path_name_its_networks_and_the_number_that_mends_the_pair() {
    let slice = crate::node::plan::tests::slice("suppress", serde_json::json!({}));
    let blue = slice.networks.values().next().unwrap().clone();
    let green = Network { name: "green".parse().unwrap(), cidr: vec!["fd10::/64".parse().unwrap()], ..blue.clone() };
    let theirs = |passes| Some(Theirs { heard: secs(1), passes, at: ago(2) });
    let both = |size, passes| Report { size, theirs: theirs(passes), ..good() };
    let told = helps(&both(1250, 1254), &[blue.clone(), green.clone()]);
    assert_eq!(told.len(), 2);
    for help in &told {
        assert!(help.contains("lower what guests may send: meshctl network set blue --mtu 1250;"), "{help}");
        assert!(help.contains("green with IPv6 cannot have less than 1280"), "{help}");
        assert!(!help.contains("set green") && !help.contains("NETWORK"), "{help}");
    }
    let told = helps(&both(1400, 1450), &[blue, green]);
    assert_eq!(told.len(), 1);
    assert!(told[0].ends_with("meshctl network set blue --mtu 1400; meshctl network set green --mtu 1400"), "{told:?}");
}

#[test]
fn a_dead_plain_path_is_looked_for_where_it_can_be_cut() {
    for heard in [Some(None), Some(secs(1)), Some(secs(29))] {
        let report = if heard == Some(None) { lost(quiet(9, 1, heard, None)) } else { quiet(30, 30, heard, None) };
        let help = helps(&report, &[]).remove(0);
        for command in [
            "meshctl status on a-2 (names its FORWARD rules)",
            "iptables-legacy-save",
            "sysctl net.ipv4.conf.eth0.rp_filter",
            "ip xfrm policy",
            "ip route get 10.1.0.2",
            "ip neigh show 10.1.0.2",
            "arping -D -c 2 -I eth0 10.1.0.1",
            "arping -b -c 3 -I eth0 10.1.0.2",
        ] {
            assert!(help.contains(command), "{command}: {help}");
        }
        assert_eq!(crate::api::problem::clip(&help), help, "it is cut at management");
    }
}

#[test]
fn a_peer_whose_own_watch_is_hit_is_no_proof_that_frames_are_lost() {
    let mesh = Mesh::new(2);
    let silent = |hit, at| {
        let mut report = quiet(9, 9, Some(None), None);
        report.told = Some(Told { heard: None, hit, at });
        report
    };
    for (hit, at, surely) in [(false, ago(1), true), (true, ago(1), false), (true, ago(600), true)] {
        let mut seen = mesh.seen(&silent(false, ago(1)));
        seen[0].report = Some(silent(hit, at));
        let state = seen[0].state(NOW);
        let found = findings(&"a-1".parse().unwrap(), &seen, &BTreeMap::new(), NOW);
        let of = |node: &str| {
            let of = |finding: &&Finding| {
                finding.cut.as_ref().is_some_and(|cut| cut.peers.iter().any(|p| p.as_str() == node))
            };
            found.iter().find(of).unwrap()
        };
        let (first, second) = (of("a-2"), of("a-3"));
        if first.code == "M0663" {
            assert_eq!(first.cut.as_ref().unwrap().surely, surely, "{hit} {state:?}: {first:?}");
            assert_eq!(
                first.what.contains("a-2 says that its own host drops what it watches by"),
                !surely,
                "{first:?}"
            );
        } else {
            assert_eq!(at, ago(600), "old news: {first:?}");
        }
        assert!(second.cut.as_ref().unwrap().surely && second.code == "M0663", "another peer's: {second:?}");
    }
}
