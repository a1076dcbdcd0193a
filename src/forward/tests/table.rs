use super::*;
use crate::types::{Vlan, Vni};

#[test]
fn each_guest_is_where_its_row_says_by_the_path_that_policy_says() {
    let world = World::new(Flood::Suppress);
    let blue = world.table.net(world.net("default/10")).unwrap();
    let at = |mac| blue.station(None, mac).map(|station| station.place);
    assert_eq!(at(HERE), Some(Place::Local));
    assert_eq!(at(PLAIN), Some(Place::Plain(world.peer("a-2"))));
    assert_eq!(at(FAR), Some(Place::Tunnel(world.peer("b-1"))));
    assert_eq!(at(BANNED), Some(Place::Forbidden(world.peer("c-1"))));
    assert_eq!(at(FOREIGN), Some(Place::Tunnel(world.peer("f-1"))));
    assert_eq!(at(STRANGER), None);
}

#[test]
fn a_vlan_is_part_of_the_key() {
    let world = World::new(Flood::Suppress);
    let blue = world.table.net(world.net("default/10")).unwrap();
    let seven = Vlan::try_from(7).unwrap();
    assert_eq!(blue.station(Some(seven), FAR).unwrap().place, Place::Tunnel(world.peer("b-2")));
    assert_eq!(blue.station(Some(Vlan::try_from(8).unwrap()), FAR), None);
    assert_eq!(blue.arp(Some(seven), ip(77)).unwrap().mac, FAR);
    assert_eq!(blue.arp(None, ip(77)), None);
}

#[test]
fn a_network_that_finds_its_guests_carries_them_behind_any_tag() {
    let mut slice = slice(Flood::Suppress);
    slice.networks.values_mut().for_each(|network| network.learning = Learning::Local);
    let mut world = World::of(&slice);
    let eight = Vlan::try_from(8).unwrap();
    let place = |mac| world.table.net(world.net("default/10")).unwrap().station(Some(eight), mac).map(|s| s.place);
    assert_eq!((place(HERE), place(STRANGER)), (Some(Place::Local), None));
    let there = tagged(FAR, HERE, 8, 0x0800, &[0x45; 40]);
    assert_eq!(world.reached("default/10", &there), [world.peer("b-1")]);
}

#[test]
fn one_mac_in_two_networks_is_two_guests() {
    let world = World::new(Flood::Suppress);
    let place = |net: &str| world.table.net(world.net(net)).unwrap().station(None, FAR).map(|station| station.place);
    assert_eq!(place("default/10"), Some(Place::Tunnel(world.peer("b-1"))));
    assert_eq!(place("other/10"), Some(Place::Tunnel(world.peer("b-2"))));
    assert_eq!(place("default/20"), None);
    let answer = |net: &str| world.table.net(world.net(net)).unwrap().arp(None, ip(4)).unwrap().mac;
    assert_eq!(answer("default/10"), FAR);
    assert_eq!(answer("default/20"), OTHER);
}

#[test]
fn only_members_that_a_tunnel_reaches_get_floods() {
    let world = World::new(Flood::Suppress);
    let blue = world.table.net(world.net("default/10")).unwrap();
    assert_eq!(*blue.members, [world.peer("b-1"), world.peer("b-2"), world.peer("f-1")]);
}

#[test]
fn a_member_that_has_not_joined_gets_no_floods() {
    let mut slice = slice(Flood::Suppress);
    slice.peers.get_mut(&node("b-2")).unwrap().public_key = None;
    let world = World::of(&slice);
    let blue = world.table.net(world.net("default/10")).unwrap();
    assert_eq!(*blue.members, [world.peer("b-1"), world.peer("f-1")]);
}

#[test]
fn a_network_is_found_by_udp_port_and_vni() {
    let world = World::new(Flood::Suppress);
    let (ten, twenty) = (Vni::try_from(10).unwrap(), Vni::try_from(20).unwrap());
    let port = |n| UdpPort::try_from(n).unwrap();
    assert_eq!(world.table.net_of(port(4789), ten), Some(world.net("default/10")));
    assert_eq!(world.table.net_of(port(4790), ten), Some(world.net("other/10")));
    assert_eq!(world.table.net_of(port(4789), twenty), Some(world.net("default/20")));
    assert_eq!(world.table.net_of(port(4790), twenty), None);
}

#[test]
fn slots_stay_with_their_names() {
    let mut slots = Slots::default();
    let mut slice = slice(Flood::Suppress);
    slots.assign(&slice).unwrap();
    let (peer, net) = (slots.peer(&node("b-2")), slots.net(&key("other/10")));
    slice.peers.remove(&node("b-1"));
    slice.networks.remove(&key("default/10"));
    slice.peers.insert(node("a-0"), super::peer("a", "10.0.0.9", 9));
    slots.assign(&slice).unwrap();
    assert_eq!((slots.peer(&node("b-2")), slots.net(&key("other/10"))), (peer, net));
    assert_eq!(slots.peer_name(slots.peer(&node("a-0")).unwrap()), Some(&node("a-0")));
    assert_ne!(slots.peer(&node("a-0")), slots.peer(&node("b-1")), "a slot is never given twice");
}

#[test]
fn the_65537th_slot_is_refused() {
    let mut slots = Slots::default();
    for n in 0..=u16::MAX {
        slots.give_peer(&node(&format!("n{n}"))).unwrap();
    }
    assert!(slots.give_peer(&node("one-more")).is_err());
    assert_eq!(slots.give_peer(&node("n7")).unwrap(), PeerSlot(7));
}

#[test]
fn names_of_drop_reasons_are_unique_kebab_case_and_explained() {
    let mut names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
    assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')));
    assert!(DropReason::ALL.iter().all(|reason| reason.meaning().ends_with('.')));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), DropReason::COUNT);
}

#[test]
fn the_documentation_lists_every_drop_reason() {
    let page = include_str!("../../../docs/datapath.md");
    for reason in DropReason::ALL {
        let line = format!("| `{reason}` | {} |", reason.meaning());
        assert!(page.contains(&line), "docs/datapath.md needs this line:\n{line}");
    }
}
