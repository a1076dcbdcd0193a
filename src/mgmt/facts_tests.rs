use super::*;
use crate::api::objects::{Any, ForeignSpec};
use crate::mgmt::state::Edit;
use crate::mgmt::{fixture, validate};

/// a-1 as it is in the fixture, and as it would be.
fn says(state: &State, change: impl FnOnce(&mut Node)) -> Result<(), FactsError> {
    let before = state.nodes[&"a-1".parse::<NodeId>().unwrap()].as_ref();
    let mut node = before.clone();
    change(&mut node);
    check(state, Some(before), &node)
}

fn facts(node: &mut Node) -> &mut NodeFacts {
    node.status.facts.as_mut().unwrap()
}

/// Addresses that no node may have: name and address.
const BAD: &[(&str, &str)] = &[
    ("unspecified", "0.0.0.0"),
    ("this network", "0.1.2.3"),
    ("loopback", "127.0.0.1"),
    ("loopback, all of it", "127.9.9.9"),
    ("link-local", "169.254.169.254"),
    ("group", "224.0.0.1"),
    ("group, organisation", "239.1.2.3"),
    ("class E", "240.0.0.1"),
    ("broadcast", "255.255.255.255"),
    ("network of the underlay", "10.0.0.0"),
    ("broadcast of the underlay", "10.0.0.255"),
    ("address inside tunnels", "100.64.0.3"),
    ("own address inside tunnels", "100.64.0.1"),
    ("neighbour's admin address", "10.0.0.2"),
    ("neighbour's external address", "198.51.0.2"),
    ("external address of a node elsewhere", "198.51.1.1"),
    ("unspecified", "::"),
    ("loopback", "::1"),
    ("IPv4 in IPv6, mapped", "::ffff:10.0.0.9"),
    ("IPv4 in IPv6, compatible", "::10.0.0.9"),
    ("link-local", "fe80::1"),
    ("group", "ff02::1"),
    ("routers of the underlay", "2001:db8:7::"),
];

/// Addresses that may be: the neighbour in another place has the private one too.
const GOOD: &[&str] = &["10.0.0.77", "10.1.0.1", "192.168.10.11", "203.0.113.5", "2001:db8:7::1", "fd00::7"];

fn mesh() -> State {
    let mut state = fixture::mesh();
    let mut pdc = state.pdcs[&"a".parse().unwrap()].as_ref().clone();
    pdc.spec.underlay.push("2001:db8:7::/64".parse().unwrap());
    state.put(Any::Pdc(pdc));
    state
}

type Door = (&'static str, fn(&mut Node, IpAddr));

/// Where an address comes in: said by the node, or by an operator.
const DOORS: &[Door] = &[
    ("reported admin", |node, ip| facts(node).admin = Some(ip)),
    ("reported external", |node, ip| facts(node).external = Some(ip)),
    ("declared admin", |node, ip| node.spec.admin = Some(ip)),
    ("declared external", |node, ip| node.spec.external = Some(ip)),
    ("declared endpoint", |node, ip| {
        let endpoint = Some(std::net::SocketAddr::new(ip, 51820));
        let tunnel_address = "100.64.9.9".parse().unwrap();
        let public_key = crate::types::PublicKey([50; 32]);
        node.status = Default::default();
        node.spec.foreign = Some(ForeignSpec { public_key, endpoint, tunnel_address });
    }),
];

#[test]
fn no_address_that_is_not_of_this_host_alone_comes_in_by_any_door() {
    let state = mesh();
    for (door, enter) in DOORS {
        for (what, address) in BAD {
            let address = address.parse().unwrap();
            // A foreign peer has no tunnel address of the mesh's own, and keeps no admin address.
            if *what == "own address inside tunnels" && *door == "declared endpoint" {
                continue;
            }
            assert!(says(&state, |node| enter(node, address)).is_err(), "{door}: {what} {address}");
        }
        for address in GOOD {
            let address = address.parse().unwrap();
            assert_eq!(says(&state, |node| enter(node, address)), Ok(()), "{door}: {address}");
        }
    }
}

/// UDP ports that hosts serve, or that are somebody's already.
#[test]
fn no_tunnel_listens_where_hosts_serve_or_vxlan_is() {
    let mut state = mesh();
    state.put(Any::Overlay(fixture::overlay("other", 40_000)));
    let listens = |port: u16, lanes: u8| {
        says(&state, |node| {
            facts(node).listen = u64::from(port).try_into().unwrap();
            facts(node).lanes = lanes;
        })
    };
    for port in [1, 53, 67, 123, 161, 443, 500, 514, 853, 1023].into_iter().chain(SERVED) {
        assert_eq!(listens(port, 1), Err(FactsError::Served(port)), "{port}");
        assert!(listens(port - u16::from(port > 1), 2).is_err(), "a lane beside {port}");
    }
    for (port, lanes) in [(40_000, 1), (39_999, 2), (39_990, 64)] {
        assert!(matches!(listens(port, lanes), Err(FactsError::Overlay { port: 40_000, .. })), "{port} {lanes}");
    }
    for (port, lanes) in [(1024, 1), (51_821, 8), (40_001, 1), (65_535, 1)] {
        assert_eq!(listens(port, lanes), Ok(()), "{port} {lanes}");
    }
    assert!(matches!(listens(65_535, 2), Err(FactsError::Ports { .. })));
    assert_eq!(listens(51_820, 0), Err(FactsError::Lanes(0)));
    assert_eq!(listens(51_820, 65), Err(FactsError::Lanes(65)));
    assert_eq!(says(&state, |node| facts(node).version = "1\u{1b}[2J".into()), Err(FactsError::Version));
}

#[test]
fn nodes_behind_one_external_address_have_ports_of_their_own() {
    let state = mesh();
    let beside = |listen: u64| {
        says(&state, |node| {
            facts(node).external = "198.51.0.2".parse().ok();
            facts(node).listen = listen.try_into().unwrap();
        })
    };
    assert!(matches!(beside(51_821), Err(FactsError::Taken { .. })), "lane 1 of the neighbour");
    assert_eq!(beside(51_822), Ok(()));
}

#[test]
fn what_an_old_store_holds_keeps_nobody_from_the_rest() {
    let mut state = mesh();
    let mut old = state.nodes[&"a-1".parse::<NodeId>().unwrap()].as_ref().clone();
    facts(&mut old).listen = 443_u64.try_into().unwrap();
    facts(&mut old).admin = "10.0.0.2".parse().ok();
    state.put(Any::Node(old));
    assert_eq!(says(&state, |node| facts(node).version = "2".to_owned()), Ok(()));
    assert!(says(&state, |node| facts(node).lanes = 3).is_err());
}

/// The same function for an operator's object.
#[test]
fn an_operators_node_is_judged_by_the_same_rules() {
    let state = mesh();
    for (door, enter) in DOORS.iter().filter(|(door, _)| door.starts_with("declared")) {
        let mut node = fixture::node("new", "a");
        enter(&mut node, "10.0.0.2".parse().unwrap());
        let refused = validate::check(&state, &[Edit::create(Any::Node(node))]).unwrap_err();
        assert!(refused.code == "M0328" && refused.what.contains("a-2"), "{door}: {refused}");
    }
}

#[test]
fn who_moves_is_told_from_where_to_where() {
    let before = fixture::facts("10.0.0.1", "198.51.0.1");
    let mut after = before.clone();
    assert_eq!(moved(Some(&before), &after), None);
    after.external = None;
    after.listen = 51_900_u64.try_into().unwrap();
    let text = moved(Some(&before), &after).unwrap();
    assert_eq!(text, "external 198.51.0.1 -> none, UDP port 51820 -> 51900");
}
