use super::*;
use crate::api::mtu::{PdcPairMtu, PeerMtu};
use crate::policy::path::Path;
use crate::types::Mtu;

fn network(missing: u16) -> NetworkMtu {
    NetworkMtu {
        network: "blue".parse().unwrap(),
        mtu: Mtu::try_from(1418).unwrap(),
        fixed: missing > 0,
        said_by: Some(SaidBy::Network),
        whole: 1418 - missing,
        missing,
        lost: false,
        alone: false,
        sum: String::new(),
        limit: "the path a-1 - b-1".to_owned(),
        oversize: Oversize::Fragment,
        counts: SizeCounts { too_big: 2, ..SizeCounts::default() },
    }
}

#[test]
fn the_map_of_the_mesh_is_a_matrix_of_pdcs_and_a_list_of_networks() {
    let pair = PdcPairMtu {
        detours: Vec::new(),
        a: "a".parse().unwrap(),
        b: "b".parse().unwrap(),
        path: Path::Tunnel,
        ends: ["a-1".parse().unwrap(), "b-1".parse().unwrap()],
        underlay: 1500,
        measured: Some(1400),
        since: Some(Wall::from_secs(40)),
        counts: 1400,
        guest: 1318,
        sum: String::new(),
        limit: "the path a-1 - b-1".to_owned(),
    };
    let map = MeshMtu { pairs: vec![pair], networks: vec![network(100)] };
    assert_eq!(
        of_mesh(&map, Wall::from_secs(100)),
        "PDC  PDC  PATH    UNDERLAY  MEASURED  SINCE     GUEST  LIMITED BY\n\
         a    b    tunnel  1500      1400      60 s ago  1318   the path a-1 - b-1\n\
         \n\
         NETWORK  MTU   POLICY           WHOLE  STATE                       LIMITED BY\n\
         blue     1418  fixed (network)  1318   100 bytes short: fragments  the path a-1 - b-1\n"
    );
    let lost = MeshMtu { pairs: Vec::new(), networks: vec![NetworkMtu { lost: true, ..network(100) }] };
    assert!(of_mesh(&lost, Wall::from_secs(0)).contains("100 bytes short: lost"));
    let less = MeshMtu { pairs: Vec::new(), networks: vec![NetworkMtu { lost: true, ..network(0) }] };
    assert!(of_mesh(&less, Wall::from_secs(0)).contains("  less passes: lost  "));
    let alone = MeshMtu { pairs: Vec::new(), networks: vec![NetworkMtu { alone: true, ..network(100) }] };
    assert!(of_mesh(&alone, Wall::from_secs(0)).contains("  100 bytes more than a plain path  "));
    let empty = MeshMtu { pairs: Vec::new(), networks: Vec::new() };
    assert_eq!(of_mesh(&empty, Wall::from_secs(0)), "no two nodes share a network yet\n\nno networks\n");
}

#[test]
fn a_number_that_is_too_large_is_warned_of_as_what_becomes_of_its_frames() {
    let line = |alone, oversize| NetworkMtu { alone, oversize, ..network(8) };
    let pairs = warning(&line(false, Oversize::Fragment));
    assert!(
        pairs.contains("than every path of network blue carries whole: such frames travel in fragments"),
        "{pairs}"
    );
    assert!(pairs.contains("network set blue --mtu 1410"), "{pairs}");
    for (oversize, tunnels) in [
        (Oversize::Fragment, "across PDCs such frames travel in fragments"),
        (Oversize::TooBig, "one across PDCs as well"),
        (Oversize::Drop, "one across PDCs as well"),
    ] {
        let alone = warning(&line(true, oversize));
        for words in ["network blue has no pair of nodes yet", "8 bytes more than a plain path", "M0501", tunnels] {
            assert!(alone.contains(words), "{words}: {alone}");
        }
        assert!(alone.ends_with("meshctl network set blue --mtu auto"), "{alone}");
    }
}

#[test]
fn the_map_of_a_node_says_where_the_lanes_are() {
    let lane = |lane, phase: &str| LaneMtu { lane, bytes: 1400, phase: phase.to_owned(), seconds: 3 };
    let peer = PeerMtu {
        node: "b-1".parse().unwrap(),
        pdc: "b".parse().unwrap(),
        path: Path::Tunnel,
        underlay: 1500,
        measured: None,
        since: None,
        counts: SizeCounts { fragmented: 12, fragments_sent: 24, ..SizeCounts::default() },
        lanes: vec![lane(0, "complete"), lane(1, "searching"), lane(2, "complete")],
        guest: 1418,
        sum: String::new(),
        limit: "not measured yet".to_owned(),
    };
    let map = NodeMtu { node: "a-1".parse().unwrap(), peers: vec![peer], networks: vec![network(0)] };
    let text = of_node(&map, Wall::from_secs(100));
    assert!(
        text.contains("b-1   b    tunnel  1500      -         -      complete,searching  1418   not measured yet\n"),
        "{text}"
    );
    assert!(text.contains("auto (network)  1418   fits"), "{text}");
    assert!(text.ends_with("\npeer b-1: fragmented 12, fragments-sent 24\nnetwork blue: too-big 2\n"), "{text}");
    let other = one_network(map, Some(&"bleu".parse().unwrap())).unwrap_err();
    assert_eq!((other.code.as_str(), other.help[0].as_str()), ("M0309", "did you mean 'blue'?"));
}

#[test]
fn a_probe_says_what_each_lane_found() {
    let probed = Probed {
        node: "b-1".parse().unwrap(),
        milliseconds: 812,
        lanes: vec![LaneMtu { lane: 0, bytes: 1492, phase: "complete".to_owned(), seconds: 0 }],
        complete: true,
        guest: 1410,
        sum: "1492 measured - 82 = 1410".to_owned(),
    };
    assert_eq!(
        found(&probed),
        "b-1 measured in 812 ms\nLANE  BYTES  PHASE\n0     1492   complete\n1492 measured - 82 = 1410\n"
    );
}
