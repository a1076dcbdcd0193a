use super::*;
use crate::api::local::TunnelStatus;
use crate::policy::path::Path;
use crate::probe::Phase;
use crate::table::{Peer, Suite};
use crate::tunnel;
use crate::types::{NodeId, PublicKey, Version};

const PEER: PeerSlot = PeerSlot(1);

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

/// A lane with a session that was heard last at a time, and a path that is silent since another.
fn lane(number: u8, up: bool, heard: u64, silent: Option<u64>) -> LaneStats {
    let status = tunnel::PeerStatus {
        endpoint: None,
        suite: Suite::Chacha,
        up,
        keys: None,
        last_handshake: None,
        last_received: Some(at(heard)),
        handshaking_since: None,
        staged: 0,
        received_bytes: 0,
        arrivals: tunnel::Arrivals::default(),
        sent_bytes: 0,
    };
    let phase = if silent.is_some() { Phase::Error } else { Phase::Complete };
    let path = probe::Status {
        size: 1500,
        phase,
        since: at(0),
        largest: 1500,
        silent: silent.map(at),
        little: None,
        one_way: false,
        answered: at(0),
        doubted: false,
        answers: true,
    };
    LaneStats { lane: number, peers: vec![(PEER, status)], paths: vec![(PEER, path)], ..LaneStats::default() }
}

#[test]
fn the_direction_is_what_was_heard_since_the_first_lost_probe() {
    let lost = |mut lane: LaneStats| {
        lane.paths[0].1.one_way = true;
        lane
    };
    let cases: [(&str, Vec<LaneStats>, Option<Silence>); 14] = [
        ("it answers", vec![lane(0, true, 99, None)], None),
        ("too early", vec![lane(0, true, 90, Some(95))], Some(Silence::Unknown)),
        ("what was under way", vec![lane(0, true, 95, Some(95))], Some(Silence::Unknown)),
        ("heard since, and not asked again", vec![lane(0, true, 98, Some(95))], Some(Silence::Unknown)),
        ("asked again after it was heard, in vain", vec![lost(lane(0, true, 98, Some(95)))], Some(Silence::Out)),
        (
            "one of two lanes did",
            vec![lane(0, true, 98, Some(95)), lost(lane(1, true, 97, Some(95)))],
            Some(Silence::Out),
        ),
        ("and not heard any more", vec![lost(lane(0, true, 68, Some(60)))], Some(Silence::In)),
        ("not heard for long", vec![lane(0, true, 60, Some(65))], Some(Silence::In)),
        ("not heard since before it was asked", vec![lane(0, true, 72, Some(96))], Some(Silence::In)),
        ("asleep until just now", vec![lane(0, true, 10, Some(98))], Some(Silence::Unknown)),
        ("heard not that long ago", vec![lane(0, true, 74, Some(90))], Some(Silence::Unknown)),
        ("one lane of two answers", vec![lane(0, true, 60, Some(65)), lane(1, true, 99, None)], None),
        (
            "one lane of two has a session",
            vec![lane(0, true, 60, Some(65)), lane(1, false, 99, None)],
            Some(Silence::In),
        ),
        ("no session", vec![lane(0, false, 60, Some(65))], None),
    ];
    for (what, stats, silent) in cases {
        for foreign in [false, true] {
            assert_eq!(silence(Some(PEER), foreign, &stats, at(100)), silent, "{what}");
            assert_eq!(silence(None, foreign, &stats, at(100)), None, "{what}");
        }
    }
    // A box that answers no pings is no dead tunnel; a meshd that answers no probes is.
    let mut never = lost(lane(0, true, 98, Some(95)));
    never.paths[0].1.answers = false;
    assert_eq!(silence(Some(PEER), true, &[never.clone()], at(100)), None);
    assert_eq!(silence(Some(PEER), false, &[never], at(100)), Some(Silence::Out));
}

fn peer(n: u8, up: bool, silence: Option<Silence>) -> PeerStatus {
    let node: NodeId = format!("b-{n}").parse().unwrap();
    let tunnel = TunnelStatus {
        node: node.clone(),
        endpoint: format!("198.51.100.{n}:51820").parse().ok(),
        handshake_age: None,
        up,
        suite: Suite::Chacha,
        received: 0,
        sent: 0,
        lanes: Vec::new(),
        starting: false,
        loss: None,
        silence,
        little: None,
    };
    PeerStatus {
        node,
        pdc: "b".parse().unwrap(),
        paths: vec![Path::Tunnel],
        why: String::new(),
        vtep: None,
        tunnel: Some(tunnel),
        plain: Vec::new(),
    }
}

fn slice(joined: &[PeerStatus]) -> Slice {
    let mut slice = Slice::empty(Version::default(), "a-1".parse().unwrap(), "a".parse().unwrap());
    for peer in joined {
        let known = Peer {
            pdc: peer.pdc.clone(),
            public_key: Some(PublicKey([1; 32])),
            psk: None,
            suite: Suite::Chacha,
            admin: None,
            external: None,
            listen: crate::types::UdpPort::try_from(51_820).unwrap(),
            lanes: 1,
            changing: Vec::new(),
            foreign: None,
        };
        slice.peers.insert(peer.node.clone(), known);
    }
    slice
}

fn said(peers: &[PeerStatus], down: bool) -> Vec<String> {
    let line = Line { interface: "eth0".parse().ok(), down: down.then_some(Down::Off), heard: false };
    of_line(peers, &slice(peers), &line)
}

fn of_line(peers: &[PeerStatus], slice: &Slice, line: &Line) -> Vec<String> {
    let found = findings(peers, Some(slice), line, &Words::new());
    crate::node::concerns::tests::codes::as_decided(&found);
    assert!(found.iter().all(|finding| finding.code == "M0410" && finding.cut.is_some()), "{found:?}");
    found.into_iter().map(|finding| finding.what).collect()
}

#[test]
fn what_is_not_known_to_fail_is_not_called_dead() {
    use crate::api::cut::Direction::{FromGuests, ToGuests};
    for (up, silence, surely, direction) in [
        (false, None, true, None),
        (true, Some(Silence::Unknown), false, None),
        (true, Some(Silence::Out), true, Some(FromGuests)),
        (true, Some(Silence::In), true, Some(ToGuests)),
    ] {
        let peers = [peer(1, up, silence), peer(2, true, None)];
        let line = Line { interface: "eth0".parse().ok(), down: None, heard: false };
        let found = findings(&peers, Some(&slice(&peers)), &line, &Words::new());
        let cut = found[0].cut.as_ref().unwrap();
        assert_eq!((cut.surely, cut.direction), (surely, direction), "{found:?}");
        assert_eq!(found[0].what.contains("are dropped") || found[0].what.contains("is dropped"), !up, "{found:?}");
        let here = now(&"b-1".parse().unwrap(), silence);
        assert_eq!(matches!(here, Now::Fails(_)), direction == Some(FromGuests), "{here:?}");
    }
    // Several are unheard by one line: what is sent from here may leave; and not where the line is down.
    let peers = [peer(1, true, Some(Silence::In)), peer(2, true, Some(Silence::In))];
    for (down, direction) in [(None, Some(ToGuests)), (Some(Down::Off), None)] {
        let line = Line { interface: "eth0".parse().ok(), down, heard: false };
        let found = findings(&peers, Some(&slice(&peers)), &line, &Words::new());
        let cut = found[0].cut.as_ref().unwrap();
        assert_eq!((cut.surely, cut.direction, found.len()), (true, direction, 1), "{found:?}");
    }
    let maybe = [peer(1, true, Some(Silence::In)), peer(2, true, Some(Silence::Unknown))];
    let line = Line { interface: "eth0".parse().ok(), down: None, heard: false };
    assert!(!findings(&maybe, Some(&slice(&maybe)), &line, &Words::new())[0].cut.as_ref().unwrap().surely);
}

#[test]
fn an_interface_that_is_down_is_named_before_all_peers_are_missed() {
    let peers = [peer(1, true, Some(Silence::Unknown)), peer(2, true, None), peer(3, true, None)];
    let found = said(&peers, true);
    assert!(found.len() == 1 && found[0].contains("the tunnel to b-1 is down: interface eth0 is down"), "{found:?}");
    assert!(said(&[peer(1, true, None)], true).is_empty());
}

#[test]
fn one_silent_tunnel_is_named_with_its_direction() {
    for (up, silence, words) in [
        (false, None, "the tunnel to b-1 is down: 198.51.100.1:51820 answers no handshake"),
        (true, Some(Silence::Unknown), "the session stands, and 198.51.100.1:51820 answers nothing any more"),
        (true, Some(Silence::Out), "what is sent from here does not arrive at 198.51.100.1:51820"),
        (true, Some(Silence::In), "nothing of 198.51.100.1:51820 arrives here any more"),
    ] {
        let found = said(&[peer(1, up, silence), peer(2, true, None)], false);
        assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
    }
    assert_eq!(said(&[peer(1, true, None)], false), Vec::<String>::new());
}

#[test]
fn equal_causes_are_one_finding_and_an_own_line_that_is_dead_is_called_so() {
    let many: Vec<PeerStatus> = (1..=30).map(|n| peer(n, false, None)).collect();
    let found = said(&many, false);
    assert!(found.len() == 1 && found[0].contains("all 30 tunnels (b-1, b-2, b-3 and 27 more)"), "{found:?}");
    assert!(found[0].contains("this node's own line"), "{found:?}");
    let found = said(&many, true);
    assert!(found.len() == 1 && found[0].contains("interface eth0 is down"), "{found:?}");
    let one_up: Vec<PeerStatus> = many.into_iter().chain([peer(31, true, None)]).collect();
    let found = said(&one_up, false);
    assert!(found.len() == 1 && found[0].contains("the tunnels to b-1, b-2, b-3 and 27 more are down"), "{found:?}");
    // Some are silent and others have lost their session: still one line.
    let mixed = [peer(1, false, None), peer(2, true, Some(Silence::In)), peer(3, true, Some(Silence::Unknown))];
    assert_eq!(said(&mixed, false).len(), 1);
    // What arrives from one shows that the line works.
    let heard = [peer(1, false, None), peer(2, true, Some(Silence::Out))];
    assert_eq!(said(&heard, false).len(), 2);
}

#[test]
fn an_own_line_by_which_management_is_heard_or_that_another_make_never_answered_is_not_called_dead() {
    let peers = [peer(1, false, None), peer(2, false, None)];
    let line = Line { interface: "eth0".parse().ok(), down: None, heard: true };
    let found = of_line(&peers, &slice(&peers), &line);
    assert!(found.len() == 1 && found[0].contains("the tunnels to b-1, b-2 are down"), "{found:?}");
    let shut = Line { down: Some(Down::Off), ..line };
    assert!(of_line(&peers, &slice(&peers), &shut)[0].contains("interface eth0 is down"));
    let shut = Line { down: Some(Down::InBridge("br0".into())), ..shut };
    let shut = Line { heard: false, ..shut };
    let found = findings(&peers, Some(&slice(&peers)), &shut, &Words::new());
    assert!(found[0].what.contains("interface eth0 is a port of the bridge br0"), "{found:?}");
    assert!(found[0].help.starts_with("ip link set dev eth0 nomaster; or give br0 the address of eth0"), "{found:?}");
    // A filter of that bridge may leave it to the host: what is heard by it shows so.
    let answers = [peer(1, false, None), peer(2, true, Some(Silence::Out))];
    let found = findings(&answers, Some(&slice(&answers)), &Line { heard: false, ..shut }, &Words::new());
    assert!(found.iter().all(|finding| !finding.what.contains("br0")), "{found:?}");
    // b-2 is of another make, and never answered: one that is left is no proof.
    let mut table = slice(&peers);
    table.peers.get_mut(&peers[1].node).unwrap().foreign =
        Some(crate::table::Foreign { tunnel_address: std::net::Ipv4Addr::LOCALHOST, endpoint: None });
    let silent = Line { interface: "eth0".parse().ok(), down: None, heard: false };
    let found = findings(&peers, Some(&table), &silent, &Words::new());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|finding| !finding.what.contains("own line")), "{found:?}");
    let [_, foreign] = &found[..] else { panic!("{found:?}") };
    assert!(foreign.what.contains("b-2") && !foreign.help.contains("meshctl status there"), "{foreign:?}");
}

#[test]
fn a_path_that_answers_small_packets_is_not_called_dead() {
    let small = |mut lane: LaneStats| {
        (lane.paths[0].1.little, lane.paths[0].1.one_way) = (Some(800), true);
        lane
    };
    let one = small(lane(0, true, 99, Some(60)));
    assert_eq!(
        (
            little(Some(PEER), std::slice::from_ref(&one)),
            silence(Some(PEER), false, std::slice::from_ref(&one), at(100))
        ),
        (Some(800), None)
    );
    // Another lane carries all, or has no session.
    assert_eq!(little(Some(PEER), &[one.clone(), lane(1, true, 99, None)]), None);
    assert_eq!(little(Some(PEER), &[one, lane(1, false, 99, Some(60))]), Some(800));

    let mut narrow = peer(1, true, None);
    narrow.tunnel.as_mut().unwrap().little = Some(800);
    let peers = [narrow, peer(2, false, None)];
    let line = Line { interface: "eth0".parse().ok(), down: None, heard: false };
    let found = findings(&peers, Some(&slice(&peers)), &line, &Words::new());
    let [dead, narrow] = &found[..] else { panic!("{found:?}") };
    // What it answers shows that the line works.
    assert!(dead.line.is_none(), "{dead:?}");
    crate::node::concerns::tests::codes::as_decided(&found);
    assert_eq!(narrow.code, "M0502");
    assert!(
        narrow.what.contains("the path to b-1 is too small: packets of up to 800 bytes are answered"),
        "{narrow:?}"
    );
    assert!(narrow.what.contains("1200 bytes and more that are sent from here are lost"), "{narrow:?}");
    assert!(narrow.help.contains("ping -M do -s 1172 198.51.100.1"), "{narrow:?}");
    let cut = narrow.cut.as_ref().unwrap();
    assert_eq!((cut.surely, cut.direction), (false, Some(Direction::FromGuests)));
}

/// What management knows of b-1.
fn word(line: Option<&str>, [away, missed, one_way]: [bool; 3]) -> Words {
    let node: NodeId = "b-1".parse().unwrap();
    let line = line.map(|line| line.parse().unwrap());
    Words::from([(node.clone(), PeerWord { node, away, line, plain: None, missed, one_way })])
}

#[test]
fn what_is_known_of_the_peer_itself_comes_before_what_may_drop_packets() {
    let line = Line { interface: "eth0".parse().ok(), down: None, heard: false };
    for (up, silence) in [(false, None), (true, Some(Silence::In)), (true, Some(Silence::Unknown))] {
        let peers = [peer(1, up, silence), peer(2, true, None)];
        for (words, says, first) in [
            (
                word(Some("ext0"), [false, true, false]),
                "b-1 says itself that interface ext0 there is the fault",
                "on b-1 first: ip link show dev ext0",
            ),
            (
                word(None, [true, true, false]),
                "the management node hears nothing of it either (M0107 there)",
                "M0107 at management first",
            ),
            (
                word(None, [false, true, false]),
                "other nodes hear nothing of it either",
                "on b-1 first: meshctl status; ip -brief link",
            ),
        ] {
            let found = findings(&peers, Some(&slice(&peers)), &line, &words);
            let [one] = &found[..] else { panic!("{found:?}") };
            let (_, reason) = one.what.split_once(": ").unwrap();
            assert!(reason.starts_with(says), "{one:?}");
            assert!(one.help.starts_with(first), "{one:?}");
            assert!(one.help.find("drops UDP").is_some_and(|at| at > first.len()), "filters come after: {one:?}");
        }
        // Nobody knows anything: the peer itself is asked all the same before a filter is looked for here.
        let found = findings(&peers, Some(&slice(&peers)), &line, &Words::new());
        assert!(found[0].help.starts_with("meshctl status there first"), "{found:?}");
    }
    // What arrives from a peer shows that its line works, whatever is said of it.
    let peers = [peer(1, true, Some(Silence::Out))];
    let found = findings(&peers, Some(&slice(&peers)), &line, &word(Some("ext0"), [true, true, false]));
    assert!(found[0].help.starts_with("look for what drops UDP from here"), "{found:?}");
}

#[test]
fn peers_that_are_cut_off_at_their_own_end_are_no_sign_of_this_nodes_own_line() {
    let peers = [peer(1, false, None), peer(2, false, None)];
    let line = Line { interface: "eth0".parse().ok(), down: None, heard: false };
    let mut words = word(Some("ext0"), [false; 3]);
    let own = |words: &Words| findings(&peers, Some(&slice(&peers)), &line, words).iter().any(|f| f.line.is_some());
    assert!(own(&Words::new()));
    assert!(!own(&words));
    let node: NodeId = "b-2".parse().unwrap();
    words.insert(node.clone(), PeerWord { node, away: false, line: None, plain: None, missed: true, one_way: false });
    assert!(!own(&words), "one that is left is no proof");
}

#[test]
fn the_end_that_hears_nothing_knows_by_the_other_ends_word() {
    let (says, silent) = (word(None, [false, false, true]), word(None, [true, true, false]));
    for (before, word, after) in [
        (Silence::Unknown, says.values().next(), Silence::In),
        (Silence::Unknown, silent.values().next(), Silence::Unknown),
        (Silence::Unknown, None, Silence::Unknown),
        (Silence::Out, says.values().next(), Silence::Out),
    ] {
        assert_eq!(told(before, word), after);
    }
}
