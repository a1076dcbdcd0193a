//! What a peer's guests say of addresses.

use super::ingress::compact;
use super::*;
use crate::table::PortRole;
use crate::wire::arp::{self, Arp};
use crate::wire::ip::{self, Ipv6};
use crate::wire::nd::{Advertisement, link_local};

fn announces(from: Mac, sender: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![0; Arp::LEN];
    let target_mac = Mac::BROADCAST;
    let said = Arp { operation: arp::REPLY, sender_mac: sender, sender_ip: address, target_mac, target_ip: address };
    said.emit(&mut body).unwrap();
    frame(Mac::BROADCAST, from, 0x0806, &body)
}

/// An ICMPv6 message behind these extension headers.
fn icmp6(from: Mac, source: Ipv6Addr, headers: &[u8], message: &[u8]) -> Vec<u8> {
    let mut body = vec![0; Ipv6::LEN];
    let mut payload = Vec::new();
    for (at, header) in headers.iter().enumerate() {
        let next = headers.get(at + 1).copied().unwrap_or(ip::ICMPV6);
        // Of no units more than eight bytes; a fragment at offset 0 of which more is to come.
        payload.extend([next, 0, 0, u8::from(*header == 44), 0, 0, 0, 0]);
    }
    payload.extend(message);
    let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let (next, length) = (headers.first().copied().unwrap_or(ip::ICMPV6), u16::try_from(payload.len()).unwrap());
    let header = Ipv6 { class: 0, label: 0, payload: length, next, hop_limit: 255, source, destination };
    header.emit(&mut body).unwrap();
    body.extend(payload);
    frame(Mac::BROADCAST, from, 0x86dd, &body)
}

fn advertises(from: Mac, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![0; 32];
    let said = Advertisement { router: false, solicited: false, replaces: true, target, mac: Some(from) };
    said.emit(&mut message, target, Ipv6Addr::UNSPECIFIED).unwrap();
    icmp6(from, target, &[], &message)
}

fn sent(world: &mut World, frame: &[u8]) -> Result<(), DropReason> {
    world.arrive(world.peer("b-1"), &compact(4789, 10, frame)).map(drop)
}

#[test]
fn a_guest_without_listed_addresses_may_have_any_that_is_nobodys() {
    let mut slice = slice(Flood::Replicate);
    let row = slice.rows.get_mut(&row_key("default/10/-", FAR)).unwrap();
    (row.arp, row.nd) = Default::default();
    let mut world = World::of(&slice);
    assert_eq!(sent(&mut world, &announces(FAR, FAR, ip(200))), Ok(()));
    assert_eq!(sent(&mut world, &announces(FAR, FAR, ip(1))), Err(DropReason::ArpForeign));
    assert_eq!(sent(&mut world, &advertises(FAR, ip6(200))), Ok(()));
    assert_eq!(sent(&mut world, &advertises(FAR, ip6(1))), Err(DropReason::NdForeign));
}

#[test]
fn an_address_that_several_may_hold_is_said_by_those_alone_and_never_answered_for() {
    let mut slice = slice(Flood::Suppress);
    for mac in [FAR, GATEWAY, HERE] {
        let row = slice.rows.get_mut(&row_key("default/10/-", mac)).unwrap();
        row.floating = [ip(100).into(), ip6(100).into()].into();
    }
    // A port of which no address is said may use any that is nobody's; this one is somebody's.
    let bare = Row::of(node("b-1"));
    slice.rows.insert(row_key("default/10/-", STRANGER), bare);
    let mut world = World::of(&slice);
    for holder in [FAR, GATEWAY] {
        assert_eq!(sent(&mut world, &announces(holder, holder, ip(100))), Ok(()), "{holder}");
        assert_eq!(sent(&mut world, &advertises(holder, ip6(100))), Ok(()), "{holder}");
        assert_eq!(sent(&mut world, &announces(holder, holder, ip(101))), Err(DropReason::ArpForeign), "{holder}");
        assert_eq!(sent(&mut world, &announces(holder, STRANGER, ip(100))), Err(DropReason::ArpForeign), "for another");
    }
    assert_eq!(sent(&mut world, &announces(STRANGER, STRANGER, ip(100))), Err(DropReason::ArpForeign));
    assert_eq!(sent(&mut world, &advertises(STRANGER, ip6(100))), Err(DropReason::NdForeign));
    let net = world.table.net(world.net("default/10")).unwrap();
    assert_eq!((net.arp(None, ip(100)), net.nd(None, ip6(100))), (None, None));
    let seven = Some(crate::types::Vlan::try_from(7).unwrap());
    assert!(net.holders(None, ip(100).into()).is_some() && net.holders(seven, ip(100).into()).is_none());
}

#[test]
fn a_network_that_finds_its_guests_takes_their_word_but_not_for_addresses_of_others() {
    let mut slice = slice(Flood::Replicate);
    slice.networks.values_mut().for_each(|network| network.learning = Learning::Local);
    let mut world = World::of(&slice);
    let advertisement = icmp6(FAR, link_local(FAR), &[], &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(sent(&mut world, &advertisement), Ok(()));
    assert_eq!(sent(&mut world, &announces(FAR, FAR, ip(200))), Ok(()));
    assert_eq!(sent(&mut world, &announces(FAR, FAR, ip(1))), Err(DropReason::ArpForeign));
}

#[test]
fn an_address_belongs_to_a_guest_in_one_vlan_only() {
    let mut world = World::new(Flood::Replicate);
    let in_vlan = |address| {
        let plain = announces(FAR, FAR, address);
        tagged(Mac::BROADCAST, FAR, 7, 0x0806, &plain[14..])
    };
    let mut sent = |frame: &[u8]| world.arrive(world.peer("b-2"), &compact(4789, 10, frame)).map(drop);
    assert_eq!(sent(&in_vlan(ip(77))), Ok(()));
    assert_eq!(sent(&in_vlan(ip(4))), Err(DropReason::ArpForeign), "that is its address without a tag");
    assert_eq!(sent(&in_vlan(ip(71))), Err(DropReason::ArpForeign));
}

#[test]
fn a_role_is_for_what_its_name_says() {
    let advertisement = icmp6(FAR, link_local(FAR), &[], &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (role, answer) in [
        (vec![PortRole::Guest], Err(DropReason::RouterUnexpected)),
        (vec![PortRole::Dhcp], Err(DropReason::RouterUnexpected)),
        (vec![PortRole::Router], Ok(())),
        (vec![PortRole::Router, PortRole::Dhcp], Ok(())),
    ] {
        let mut slice = slice(Flood::Replicate);
        slice.rows.get_mut(&row_key("default/10/-", FAR)).unwrap().role = role.iter().copied().collect();
        assert_eq!(sent(&mut World::of(&slice), &advertisement), answer, "{role:?}");
    }
}

#[test]
fn extension_headers_hide_nothing() {
    let mut world = World::new(Flood::Replicate);
    let message = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut behind = |headers: &[u8], message: &[u8]| sent(&mut world, &icmp6(FAR, link_local(FAR), headers, message));
    for headers in [&[0][..], &[60], &[43], &[44], &[0, 60, 43, 44, 60]] {
        assert_eq!(behind(headers, &message), Err(DropReason::RouterUnexpected), "{headers:?}");
        assert_eq!(behind(headers, &[128, 0, 0, 0]), Ok(()), "a ping: {headers:?}");
    }
    assert_eq!(behind(&[60; 9], &message), Err(DropReason::HeadersHidden), "more headers than anybody needs");
    assert_eq!(behind(&[44, 60], &[]), Err(DropReason::HeadersHidden), "what it is would come in the next fragment");
    // A first fragment that ends within its headers.
    let cut = icmp6(FAR, link_local(FAR), &[44, 60], &[]);
    let mut cut = cut[..cut.len() - 4].to_vec();
    cut[19] = 12;
    assert_eq!(sent(&mut World::new(Flood::Replicate), &cut), Err(DropReason::HeadersHidden));
}

proptest::proptest! {
    /// Whatever the bytes are, nothing panics, and no ARP passes whose sender is not the table's.
    #[test]
    fn arp_of_any_bytes_passes_only_for_its_own(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60), last in 0_u8..=255, own: bool) {
        let mut world = World::new(Flood::Replicate);
        let noise = frame(Mac::BROADCAST, FAR, if own { 0x86dd } else { 0x0806 }, &bytes);
        let _ = sent(&mut world, &noise);
        let sender = if own { FAR } else { HERE };
        let passes = sent(&mut World::new(Flood::Replicate), &announces(FAR, sender, ip(last))).is_ok();
        proptest::prop_assert_eq!(passes, own && last == 4);
    }
}
