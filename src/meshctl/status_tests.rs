use std::collections::BTreeMap;

use super::*;
use crate::api::local::{Finding, NetworkStatus, Offload, TunnelStatus};
use crate::api::mtu::SizeCounts;
use crate::policy::path::Path;
use crate::table::Suite;
use crate::types::{Mtu, Version};

fn network(n: usize) -> NetworkStatus {
    NetworkStatus {
        plugged: 1000,
        absent: Vec::new(),
        name: format!("network-with-a-long-name-{n}").parse().unwrap(),
        key: format!("default/{}", n + 1).parse().unwrap(),
        bridge: format!("vb{}.12b5", n + 1),
        ports: 1000,
        rows: 100_000,
        mtu: Mtu::try_from(1418).unwrap(),
        problem: (n > 90).then(|| "the bridge is gone".to_owned()),
    }
}

fn peer(n: usize) -> PeerStatus {
    let node: NodeId = format!("node-with-a-long-name-{n}").parse().unwrap();
    let tunnel = (n % 2 == 1).then(|| TunnelStatus {
        node: node.clone(),
        endpoint: "203.0.113.1:51820".parse().ok(),
        handshake_age: Some(17),
        up: n < 90,
        suite: Suite::Chacha,
        received: 123_456_789,
        sent: 5,
        lanes: Vec::new(),
        starting: false,
        loss: None,
        silence: None,
        little: None,
    });
    PeerStatus {
        node,
        pdc: "frankfurt".parse().unwrap(),
        paths: vec![if n % 2 == 1 { Path::Tunnel } else { Path::Plain }],
        why: "different PDCs".to_owned(),
        vtep: n.is_multiple_of(2).then(|| "10.0.0.1".parse().unwrap()),
        tunnel,
        plain: Vec::new(),
    }
}

fn status(count: usize, wrong: usize) -> Status {
    let finding = |n: usize| {
        Finding::new(
            "M0417",
            format!("peer b-{n} has been silent for an hour and this sentence goes on and on and on and on"),
            format!("meshctl tunnel list | grep b-{n}"),
        )
    };
    Status {
        unknown: Vec::new(),
        node: "a-1".parse().unwrap(),
        pdc: "a".parse().unwrap(),
        daemon: "0.1.0".to_owned(),
        management: Management::Away { since: Wall::from_secs(100), why: "connection refused ".repeat(9) },
        version: Version { incarnation: 1, revision: 48_213 },
        certificate_ends: Some(Wall::from_secs(1_000_000)),
        networks: (0..count).map(network).collect(),
        peers: (0..count).map(peer).collect(),
        problems: (0..wrong).map(finding).collect(),
        drops: BTreeMap::from([("no-row".to_owned(), 12)]),
        sizes: SizeCounts { fragmented: 3, ..SizeCounts::default() },
        offload: offload(count),
    }
}

/// Everything is on, on a node of few; nothing, on one of many.
fn offload(count: usize) -> Offload {
    use crate::policy::offload::{EqualTrains, Seen, Switch, Switches, Writes, decide};
    let off =
        Switches { udp_segment: Switch::Off, equal_trains: EqualTrains::Avoid, udp_gro: Switch::Off, tap: Switch::Off };
    let switches = if count < 50 { Switches::default() } else { off };
    let seen = Seen { release: "7.1.9".parse().ok(), writes: Some(Writes::ALL), checksums: Vec::new() };
    Offload {
        features: decide(switches, &seen).1,
        super_frames_cut: 1234,
        super_frames_whole: 5,
        trains_resent: 6,
        frames_written: 4567,
        tap_writes: 1000,
        ..Offload::default()
    }
}

#[test]
fn a_port_that_is_away_says_how_and_since_when() {
    let port = |no_carrier| AbsentPort {
        port: "web".parse().ok(),
        mac: "02:00:00:00:00:01".parse().unwrap(),
        interface: "g1".to_owned(),
        since: Wall::from_secs(1_800_000_000),
        no_carrier,
    };
    let mut status = status(1, 0);
    for (no_carrier, words) in
        [(false, "port web: g1 absent since 2027-"), (true, "port web: g1 no carrier since 2027-")]
    {
        status.networks[0].absent = vec![port(no_carrier)];
        let text = WHOLE.networks(&status);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn what_the_kernel_does_in_bulk_is_shown_with_what_came_of_it() {
    let text = WHOLE.node(&status(3, 1), Wall::from_secs(4000));
    let line = "  super-frames: 1234 cut, 5 whole; trains re-sent: 6; frames a TAP write: 4.5\n";
    assert!(text.contains(&format!("offload: all on\n{line}")), "{text}");
    assert!(!TERMINAL.node(&status(3, 1), Wall::from_secs(4000)).contains("offload"), "nothing is wrong there");
    let text = TERMINAL.node(&status(100, 0), Wall::from_secs(4000));
    assert!(text.contains("offload: udp_segment off, equal_trains off, udp_gro off, tap off\n"), "{text}");
    assert!(text.contains("  udp_segment: meshd.toml says udp_segment = \"off\"\n    leave the key out"), "{text}");
    assert!(
        !text.contains("super-frames") && WHOLE.node(&status(100, 0), Wall::from_secs(4000)).contains(line),
        "{text}"
    );
}

#[test]
fn a_node_fits_one_screen_however_large_the_mesh_is() {
    for (count, wrong) in [(0, 0), (3, 1), (100, 50), (100, 0)] {
        let text = TERMINAL.node(&status(count, wrong), Wall::from_secs(4000));
        assert!(text.lines().count() <= 24, "{} lines:\n{text}", text.lines().count());
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.contains("all is well"), wrong == 0, "{text}");
        assert_eq!(text.contains("more peers"), count > TERMINAL.list, "{text}");
    }
}

#[test]
fn what_is_wrong_comes_first_with_the_next_command() {
    let text = TERMINAL.node(&status(100, 50), Wall::from_secs(4000));
    assert!(text.contains("network-with-a-long-name-91  92"), "{text}");
    assert!(text.contains("problems: 50\n  M0417 peer b-0"), "{text}");
    assert!(text.contains("    meshctl tunnel list | grep b-0\n"), "{text}");
    assert!(text.contains("and 48 more problems"), "{text}");
    assert!(text.contains("down"), "{text}");
}

fn line(n: usize, connected: bool, in_sync: bool) -> NodeLine {
    NodeLine {
        node: format!("a-{n}").parse().unwrap(),
        pdc: "a".parse().unwrap(),
        foreign: false,
        quarantined: false,
        joined: Some(Wall::from_secs(1)),
        left: false,
        connected,
        seen: Some(Wall::from_secs(90)),
        acknowledged: Some(Version { incarnation: 1, revision: 7 }),
        in_sync,
        expected: false,
        unreported: false,
        changing: false,
        daemon: Some("0.1.0".to_owned()),
    }
}

#[test]
fn the_mesh_fits_one_screen_and_names_nodes_that_are_away() {
    let nodes: Vec<NodeLine> = (0..200).map(|n| line(n, n != 150, n != 160)).collect();
    let status = MeshStatus {
        daemon: "0.1.0".to_owned(),
        version: Version::default(),
        objects: BTreeMap::new(),
        problems: nodes.iter().filter_map(|node| crate::mgmt::nodes::wrong(node, Wall::default())).collect(),
        nodes,
    };
    let (text, count) = TERMINAL.mesh(&status, Wall::from_secs(100));
    assert_eq!(count, 2);
    assert!(text.lines().count() <= 24, "{text}");
    assert!(text.contains("M0107 node a-150 is away") && text.contains("M0108 node a-160"), "{text}");
    assert!(text.contains("a-150  a    away       10 s ago"), "{text}");
}

#[test]
fn a_node_that_is_only_declared_or_foreign_is_no_problem() {
    let declared = NodeLine { joined: None, ..line(1, false, false) };
    let foreign = NodeLine { foreign: true, ..line(2, false, false) };
    assert!(!wrong(&declared) && !wrong(&foreign));
}

#[test]
fn nodes_that_a_new_server_has_not_heard_yet_are_expected_and_neither_away_nor_well() {
    let late = NodeLine { expected: true, seen: None, ..line(7, false, false) };
    let (daemon, objects) = ("0.1.0".to_owned(), BTreeMap::new());
    let nodes = vec![line(1, true, true), late];
    let mesh = MeshStatus { daemon, version: Version::default(), objects, nodes, problems: Vec::new() };
    let (text, count) = TERMINAL.mesh(&mesh, Wall::from_secs(100));
    assert_eq!(count, 0);
    assert!(text.contains("not heard yet since the server started, and expected: a-7"), "{text}");
    assert!(text.contains("a-7   a    expected") && !text.contains("all is well"), "{text}");
}

#[test]
fn where_nobody_looks_at_a_screen_nothing_is_left_out_or_cut() {
    let mut everything = status(100, 50);
    everything.problems[49].what = "reason ".repeat(60);
    let text = WHOLE.node(&everything, Wall::from_secs(4000));
    assert!(!text.contains("...") && !text.contains("more problems") && !text.contains("more peers"), "{text}");
    assert!(text.contains(&format!("  {} {}\n", everything.problems[49].code, everything.problems[49].what.trim())));
    assert_eq!(text.lines().filter(|line| line.starts_with("  M")).count(), 50);
    let nodes = (0..200).map(|n| line(n, n != 150, n != 160)).collect();
    let (daemon, objects) = ("0.1.0".to_owned(), BTreeMap::new());
    let mesh = MeshStatus { daemon, version: Version::default(), objects, nodes, problems: Vec::new() };
    let text = WHOLE.mesh(&mesh, Wall::from_secs(100)).0;
    assert_eq!(text.lines().filter(|line| line.starts_with("a-")).count(), 200);
}

#[test]
fn a_long_reason_is_wrapped_on_a_screen_and_never_cut() {
    let mut one = status(1, 1);
    one.problems[0].what = (0..60).map(|n| format!("word{n} ")).collect();
    let text = TERMINAL.node(&one, Wall::from_secs(4000));
    assert!(text.contains("word59\n") && !text.contains("word59..."), "{text}");
    assert!(text.lines().filter(|line| line.contains("word")).all(|line| line.chars().count() <= 80), "{text}");
    let words: Vec<&str> = text.split_ascii_whitespace().filter(|word| word.starts_with("word")).collect();
    assert_eq!(words.len(), 60);
}

#[test]
fn what_nobody_has_looked_at_yet_is_not_called_well_and_alarms_nobody() {
    let text = |unknown: &[&str], wrong| {
        let unknown = unknown.iter().map(|open| (*open).to_owned()).collect();
        TERMINAL.node(&Status { unknown, ..status(2, wrong) }, Wall::default())
    };
    let open = text(&["whether this host lets frames pass"], 0);
    assert!(!open.contains("all is well") && !open.contains("problems:"), "{open}");
    assert!(open.contains("not known yet: whether this host lets frames pass"), "{open}");
    assert!(text(&[], 0).contains("all is well"));
    assert!(text(&["whether"], 1).contains("problems: 1"));
}
