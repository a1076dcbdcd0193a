//! The four laws, for every header.

use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::arp::Arp;
use super::compact::{Compact, Content};
use super::ethernet::Ethernet;
use super::ip::{Checksum, Ipv4, Ipv6};
use super::nd::{Advertisement, Solicitation};
use super::oam::{Kind, Oam};
use super::udp::Udp;
use super::vlan::Tag;
use super::vxlan::Vxlan;
use super::*;
use crate::types::{Mac, UdpPort, Vlan, Vni};

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac)
}

fn vni() -> impl Strategy<Value = Vni> {
    (1..1u64 << 24).prop_map(|n| Vni::try_from(n).unwrap())
}

fn udp_port() -> impl Strategy<Value = UdpPort> {
    (1..=65_535u64).prop_map(|n| UdpPort::try_from(n).unwrap())
}

fn ethernet() -> impl Strategy<Value = Ethernet> {
    (mac(), mac(), any::<u16>()).prop_map(|(destination, source, ethertype)| Ethernet {
        destination,
        source,
        ethertype,
    })
}

fn tag() -> impl Strategy<Value = Tag> {
    (0..8u8, any::<bool>(), 0..4095u64, any::<u16>()).prop_map(|(priority, drop_eligible, vlan, ethertype)| Tag {
        priority,
        drop_eligible,
        vlan: Vlan::try_from(vlan).ok(),
        ethertype,
    })
}

fn arp() -> impl Strategy<Value = Arp> {
    (any::<u16>(), mac(), any::<Ipv4Addr>(), mac(), any::<Ipv4Addr>()).prop_map(
        |(operation, sender_mac, sender_ip, target_mac, target_ip)| Arp {
            operation,
            sender_mac,
            sender_ip,
            target_mac,
            target_ip,
        },
    )
}

fn udp() -> impl Strategy<Value = Udp> {
    any::<(u16, u16, u16, u16)>().prop_map(|(source, destination, length, checksum)| Udp {
        source,
        destination,
        length,
        checksum,
    })
}

fn compact() -> impl Strategy<Value = Compact> {
    let frame = (udp_port(), vni()).prop_map(|(udp_port, vni)| Content::Frame { udp_port, vni });
    (prop_oneof![frame, Just(Content::Control)], 0..16u8).prop_map(|(content, modulo)| Compact { content, modulo })
}

fn oam() -> impl Strategy<Value = Oam> {
    let kind = prop_oneof![
        Just(Kind::EchoRequest),
        any::<u16>().prop_map(|size| Kind::EchoReply { size }),
        Just(Kind::PlainAsk),
        any::<(u16, bool)>().prop_map(|(heard, hit)| Kind::PlainTell { heard, hit }),
        any::<(u8, u16)>().prop_map(|(vni, udp_port)| Kind::GuestAsk { vni, udp_port }),
        any::<(u8, u16)>().prop_map(|(stands, udp_port)| Kind::GuestTell { stands, udp_port }),
    ];
    (kind, any::<u64>()).prop_map(|(kind, token)| Oam { kind, token })
}

fn ipv4() -> impl Strategy<Value = Ipv4> {
    let small = (any::<u8>(), 20..=u16::MAX, any::<u16>(), any::<bool>(), any::<bool>(), 0..0x2000u16);
    let rest = (any::<u8>(), any::<u8>(), any::<Ipv4Addr>(), any::<Ipv4Addr>());
    (small, rest).prop_map(
        |((tos, total, id, dont_fragment, more_fragments, offset), (ttl, protocol, source, destination))| Ipv4 {
            options: 0,
            tos,
            total,
            id,
            dont_fragment,
            more_fragments,
            offset,
            ttl,
            protocol,
            source,
            destination,
        },
    )
}

fn ipv6() -> impl Strategy<Value = Ipv6> {
    (any::<u8>(), 0..1u32 << 20, any::<u16>(), any::<u8>(), any::<u8>(), any::<Ipv6Addr>(), any::<Ipv6Addr>()).prop_map(
        |(class, label, payload, next, hop_limit, source, destination)| Ipv6 {
            class,
            label,
            payload,
            next,
            hop_limit,
            source,
            destination,
        },
    )
}

/// Laws of a header: `reserved` has a one for each bit that is reserved, or computed like a checksum.
fn laws<H: Header + PartialEq + Debug>(headers: impl Strategy<Value = H>, reserved: &[u8]) {
    assert_eq!(reserved.len(), H::LEN);
    let mut runner = proptest::test_runner::TestRunner::default();
    let tail = proptest::collection::vec(any::<u8>(), 0..4);
    runner
        .run(&(headers, tail), |(header, tail)| {
            let mut bytes = vec![0xaa; H::LEN];
            header.emit(&mut bytes).unwrap();
            bytes.extend(&tail);
            let (again, rest) = H::split(&bytes).unwrap();
            prop_assert_eq!(&again, &header);
            prop_assert_eq!(rest, &tail);
            for short in 0..H::LEN {
                let is_short = |e| matches!(e, Err(WireError::Short { .. }));
                prop_assert!(is_short(H::parse(&bytes[..short]).map(|_| ())));
                prop_assert!(is_short(header.emit(&mut vec![0; short])));
            }
            Ok(())
        })
        .unwrap();
    let noise = proptest::collection::vec(any::<u8>(), 0..H::LEN + 4);
    runner.run(&noise, |noise| same_bytes::<H>(&noise, reserved)).unwrap();
}

/// What parses emits the same bytes but for `reserved` bits.
fn same_bytes<H: Header>(bytes: &[u8], reserved: &[u8]) -> Result<(), TestCaseError> {
    let Ok(header) = H::parse(bytes) else { return Ok(()) };
    let mut again = vec![0; H::LEN];
    if header.emit(&mut again).is_ok() {
        let masked = |from: &[u8]| from.iter().zip(reserved).map(|(byte, mask)| byte & !mask).collect::<Vec<_>>();
        prop_assert_eq!(masked(&again), masked(bytes));
    }
    Ok(())
}

#[test]
fn ethernet_obeys_the_laws() {
    laws(ethernet(), &[0; 14]);
}

#[test]
fn vlan_obeys_the_laws() {
    laws(tag(), &[0; 4]);
}

#[test]
fn arp_obeys_the_laws() {
    laws(arp(), &[0; 28]);
}

#[test]
fn udp_obeys_the_laws() {
    laws(udp(), &[0; 8]);
}

#[test]
fn vxlan_obeys_the_laws() {
    laws(vni().prop_map(|vni| Vxlan { vni }), &[0xf7, 0xff, 0xff, 0xff, 0, 0, 0, 0xff]);
}

#[test]
fn compact_obeys_the_laws() {
    laws(compact(), &[0xf6, 0, 0, 0, 0, 0, 0, 0xff]);
}

#[test]
fn oam_obeys_the_laws() {
    laws(oam(), &[0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn ipv4_obeys_the_laws() {
    let mut reserved = [0; 20];
    reserved[6] = 0x80;
    reserved[10..12].fill(0xff);
    laws(ipv4(), &reserved);
}

#[test]
fn ipv6_obeys_the_laws() {
    laws(ipv6(), &[0; 40]);
}

proptest! {
    #[test]
    fn neighbour_discovery_obeys_the_laws(
        target in any::<Ipv6Addr>(), from in any::<Ipv6Addr>(), to in any::<Ipv6Addr>(),
        link in proptest::option::of(mac()), flags in any::<[bool; 3]>(),
    ) {
        prop_assume!(!target.is_multicast());
        let ask = Solicitation { target, source: link };
        let answer =
            Advertisement { router: flags[0], solicited: flags[1], replaces: flags[2], target, mac: link };
        let mut bytes = [0xaa; 40];
        let len = ask.emit(&mut bytes, from, to).unwrap();
        prop_assert_eq!(Solicitation::parse(&bytes[..len]), Ok(ask));
        prop_assert!(nd::checksum_holds(&bytes[..len], from, to));
        prop_assert!(Advertisement::parse(&bytes[..len]).is_err());
        let len = answer.emit(&mut bytes, from, to).unwrap();
        prop_assert_eq!(Advertisement::parse(&bytes[..len]), Ok(answer));
        prop_assert!(nd::checksum_holds(&bytes[..len], from, to));
        for short in (0..len).filter(|short| *short != 24) {
            prop_assert!(Advertisement::parse(&bytes[..short]).is_err());
            prop_assert!(answer.emit(&mut vec![0; short], from, to).is_err() || short >= len);
        }
    }

    #[test]
    fn neighbour_discovery_survives_noise(mut noise in proptest::collection::vec(any::<u8>(), 0..80), kind in 135..137u8) {
        let _ = Solicitation::parse(&noise);
        if noise.len() > 2 {
            noise[..2].copy_from_slice(&[kind, 0]);
        }
        if let Ok(ask) = Solicitation::parse(&noise) {
            let mut again = [0; 40];
            let len = ask.emit(&mut again, Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST).unwrap();
            prop_assert_eq!(Solicitation::parse(&again[..len]), Ok(ask));
        }
        let _ = Advertisement::parse(&noise);
    }

    #[test]
    fn ip_headers_survive_noise(mut noise in proptest::collection::vec(any::<u8>(), 1..80), first in 0x40..0x70u8) {
        noise[0] = first;
        let _ = (Ipv4::parse(&noise).map(|header| header.checksum_holds(&noise)), Ipv6::parse(&noise));
    }

    #[test]
    fn padding_is_found_whether_the_tunnel_pads_or_not(len in 0..5000usize, padded in any::<bool>()) {
        let header = Compact::new(Content::Control, len);
        let real = Compact::LEN + len;
        let payload = if padded { real.next_multiple_of(16) } else { real };
        prop_assert_eq!(header.unpadded(payload), Ok(real));
    }
}

#[test]
fn a_length_that_leaves_no_header_is_refused() {
    let header = Compact { content: Content::Control, modulo: 7 };
    assert!(header.unpadded(8).is_err());
    assert!(header.unpadded(3).is_err());
    assert_eq!(header.unpadded(23), Ok(23));
}

#[test]
fn a_vlan_of_4095_a_vni_of_0_and_a_missing_flag_are_refused() {
    assert!(Tag::parse(&[0x0f, 0xff, 8, 0]).is_err());
    assert_eq!(Tag::parse(&[0xe0, 0, 8, 0]).unwrap().vlan, None);
    assert!(Vxlan::parse(&[8, 0, 0, 0, 0, 0, 0, 0]).is_err());
    assert!(Vxlan::parse(&[0, 0, 0, 0, 0, 0, 10, 0]).is_err());
    assert!(Vxlan::parse(&[0xff, 1, 2, 3, 0, 0, 10, 9]).is_ok());
    assert!(Compact::parse(&[8, 0, 0x12, 0xb5, 0, 0, 10, 0]).is_ok());
    assert!(Compact::parse(&[9, 0, 0x12, 0xb5, 0, 0, 10, 0]).is_err());
    assert!(Compact::parse(&[8, 0, 0, 0, 0, 0, 10, 0]).is_err());
    assert!(Compact::parse(&[8, 16, 0x12, 0xb5, 0, 0, 10, 0]).is_err());
}

#[test]
fn the_checksum_of_the_example_in_rfc_1071() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(Checksum::default().with(&bytes).value(), !0xddf2);
}

#[test]
fn an_option_of_length_zero_ends_the_packet() {
    let ask = Solicitation { target: "fe80::1".parse().unwrap(), source: Some(Mac([2, 0, 0, 0, 0, 1])) };
    let mut bytes = [0; 32];
    ask.emit(&mut bytes, Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST).unwrap();
    bytes[25] = 0;
    assert!(Solicitation::parse(&bytes).is_err());
}
