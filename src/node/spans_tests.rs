use serde_json::json;

use super::*;
use crate::node::paths::decide_all;
use crate::node::plan::tests::{local, slice};
use crate::types::{Mtu, PublicKey};

fn findings(change: impl FnOnce(&mut Slice), sizes: &[(&str, u16)]) -> Vec<Finding> {
    let mut slice = slice("suppress", json!({}));
    slice.peers.values_mut().for_each(|peer| peer.public_key = Some(PublicKey([7; 32])));
    change(&mut slice);
    let measured =
        |(node, bytes): &(&str, u16)| (node.parse().unwrap(), Measured { bytes: *bytes, since: Wall::from_secs(0) });
    let paths = decide_all(&slice, local().own());
    super::findings(&slice, &paths, &local(), &sizes.iter().map(measured).collect())
}

fn fix(slice: &mut Slice, mtu: u64) {
    slice.networks.values_mut().for_each(|network| {
        network.mtu = Some(MtuPolicy { fixed: Mtu::try_from(mtu).ok(), ..MtuPolicy::default() });
    });
}
#[test]
fn a_path_that_carries_all_is_no_finding() {
    assert_eq!(findings(|_| (), &[]), []);
    assert_eq!(findings(|_| (), &[("far", 1500), ("b", 1300)]), [], "the plain path to b is not measured");
}

/// What becomes of the number is what management makes of it (`mgmt::mtus::guest`), and without one what this node makes of it.
#[test]
fn what_the_number_becomes_is_foretold_with_its_floor() {
    for (alone, cidr, size, expected) in [
        (false, "192.168.10.0/24", 1300, "follows: 1280, less"),
        (false, "fd00::/64", 1300, "follows: 1280, less"),
        (false, "192.168.10.0/24", 1400, "follows: 1318 once"),
        (true, "192.168.10.0/24", 1300, "follows: 1218 once"),
        (true, "fd00::/64", 1300, "follows: 1280, less"),
    ] {
        let change = |slice: &mut Slice| {
            slice.version.incarnation = u64::from(!alone);
            slice.networks.values_mut().for_each(|network| network.cidr = vec![cidr.parse().unwrap()]);
        };
        let found = findings(change, &[("far", size)]);
        assert!(found[0].help.contains(expected), "{alone} {cidr} {size}: {}", found[0].help);
    }
}

#[test]
fn a_machine_that_has_not_joined_has_no_path() {
    let unknown = |slice: &mut Slice| {
        fix(slice, 1430);
        slice.peers.values_mut().for_each(|peer| peer.public_key = None);
    };
    assert_eq!(findings(unknown, &[]), []);
}

#[test]
fn what_a_path_below_the_base_size_loses_is_said() {
    assert!(meanwhile(1200).contains("none is lost"));
    assert!(!meanwhile(1199).contains("none is lost") && meanwhile(1100).contains("is lost"));
}

#[test]
fn a_shrunk_path_says_how_many_bytes_since_when_what_becomes_of_frames_and_what_to_do() {
    let found = findings(|_| (), &[("far", 1400)]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].code, "M0502");
    assert_eq!(
        found[0].what,
        "network blue: 100 bytes short on the path to far (1400, needs 1500); its MTU is 1418; \
         frames that use them go in fragments, none is lost, since 1970-01-01T00:00:00Z"
    );
    assert_eq!(
        found[0].help,
        "the network's MTU follows: 1318 once that has stood for 30 s; meshctl mtu map says who limits it"
    );
}

#[test]
fn a_fixed_number_that_no_path_carries_whole_is_kept_and_says_so() {
    let found = findings(|slice| fix(slice, 1430), &[]);
    assert!(
        found[0].what.contains("12 bytes short on the path to far (1500, needs 1512); its MTU is 1430"),
        "{}",
        found[0].what
    );
    assert!(found[0].help.contains("meshctl network set blue --mtu 1418"), "{}", found[0].help);
    assert!(findings(|slice| fix(slice, 1300), &[("far", 1400)]).is_empty());
}

#[test]
fn a_network_with_ipv6_that_got_its_least_does_not_follow() {
    let ipv6 = |slice: &mut Slice| {
        slice.networks.values_mut().for_each(|network| network.guest_mtu = Mtu::try_from(1280).unwrap());
    };
    let found = findings(ipv6, &[("far", 1280)]);
    assert!(found[0].help.contains("it stays, IPv6 needs 1280"), "{}", found[0].help);
}

#[test]
fn the_map_names_every_peer_once_and_every_network() {
    let slice = slice("suppress", json!({}));
    let paths = decide_all(&slice, local().own());
    let measured = AllMeasured::from([("far".parse().unwrap(), Measured { bytes: 1400, since: Wall::from_secs(7) })]);
    let map = map(&slice, &paths, &local(), &measured, &BTreeMap::new());
    let peers: Vec<_> =
        map.peers.iter().map(|peer| (peer.node.as_str(), peer.path, peer.measured, peer.guest)).collect();
    let expected =
        [("b", Path::Plain, None, 1450), ("c", Path::Plain, None, 1450), ("far", Path::Tunnel, Some(1400), 1318)];
    assert_eq!(peers, expected);
    let blue = &map.networks[0];
    assert_eq!((blue.mtu.get(), blue.whole, blue.missing, blue.limit.as_str()), (1418, 1318, 100, "the path to far"));
}

#[test]
fn a_plain_path_that_loses_large_packets_has_the_number_that_its_finding_says() {
    let slice = slice("suppress", json!({}));
    let paths = decide_all(&slice, local().own());
    let narrow = BTreeMap::from([("b".parse().unwrap(), 1300)]);
    let map = map(&slice, &paths, &local(), &AllMeasured::new(), &narrow);
    let peers: Vec<_> = map.peers.iter().map(|peer| (peer.node.as_str(), peer.guest, peer.limit.as_str())).collect();
    assert_eq!(
        peers[..2],
        [("b", 1250, "the plain path to b, which loses larger packets"), ("c", 1450, "the interface here")]
    );
    let blue = &map.networks[0];
    assert_eq!((blue.whole, blue.missing, blue.lost), (1250, 168, true));
    assert_eq!(blue.limit, "the plain path to b, which loses larger packets");
}

#[test]
fn the_sum_is_of_the_family_of_the_address_that_packets_go_to() {
    let mut slice = slice("suppress", json!({}));
    let far = slice.peers.get_mut(&"far".parse().unwrap()).unwrap();
    // Declared at management, as this node's own one of that family is; it reports an IPv4 address itself.
    far.external = Some("fd02::21".parse().unwrap());
    let paths = decide_all(&slice, local().own());
    let map = map(&slice, &paths, &local(), &AllMeasured::new(), &BTreeMap::new());
    let far = map.peers.iter().find(|peer| peer.node.as_str() == "far").unwrap();
    assert!(far.guest == 1398 && far.sum.contains("40 IPv6"), "{far:?}");
    assert_eq!((map.networks[0].whole, map.networks[0].missing), (1398, 20));
}
