use proptest::prelude::*;

use super::*;
use crate::wire::ip::Ipv4;
use crate::wire::udp::Udp;

const BLUE: &str = "default/10";

/// The payload that a frame of HERE becomes for the guest `to`.
fn payload(world: &mut World, to: Mac) -> Vec<u8> {
    match world.out(BLUE, &plain(to, HERE)) {
        Fate::Tunnels(mut list) => list.pop().unwrap().1,
        other @ (Fate::Answer(_) | Fate::Dropped(_)) => panic!("{other:?}"),
    }
}

#[test]
fn form_b_is_eight_bytes_and_the_frame() {
    let mut world = World::new(Flood::Suppress);
    let sent = payload(&mut world, FAR);
    let frame = plain(FAR, HERE);
    let modulo = u8::try_from((8 + frame.len()) % 16).unwrap();
    assert_eq!(sent[..8], [8, modulo, 0x12, 0xb5, 0, 0, 10, 0]);
    assert_eq!(sent[8..], frame);
}

#[test]
fn form_a_is_what_a_kernel_vxlan_device_behind_wireguard_takes() {
    let mut world = World::new(Flood::Suppress);
    let sent = payload(&mut world, FOREIGN);
    let frame = plain(FOREIGN, HERE);
    let outer = Ipv4::parse(&sent).unwrap();
    assert!(outer.checksum_holds(&sent));
    assert_eq!((outer.source, outer.destination, outer.protocol), (OWN_TUNNEL, FOREIGN_TUNNEL, 17));
    assert_eq!(usize::from(outer.total), sent.len());
    assert!(outer.dont_fragment && !outer.is_fragment());
    let udp = Udp::parse(&sent[20..]).unwrap();
    assert_eq!((udp.destination, usize::from(udp.length), udp.checksum), (4789, sent.len() - 20, 0));
    assert!(udp.source >= 49_152, "{}", udp.source);
    assert_eq!(sent[28..36], [8, 0, 0, 0, 0, 0, 10, 0]);
    assert_eq!(sent[36..], frame);
}

#[test]
fn a_flow_keeps_its_source_port_and_flows_differ() {
    let port = |world: &mut World, tail: [u8; 4]| {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 6, 0, 0, 192, 168, 10, 1, 192, 168, 10, 7];
        packet.extend(tail);
        match world.out(BLUE, &frame(FOREIGN, HERE, 0x0800, &packet)) {
            Fate::Tunnels(list) => Udp::parse(&list[0].1[20..]).unwrap().source,
            other @ (Fate::Answer(_) | Fate::Dropped(_)) => panic!("{other:?}"),
        }
    };
    let mut world = World::new(Flood::Suppress);
    let ports: std::collections::BTreeSet<u16> = (0..64).map(|n| port(&mut world, [4, n, 0, 80])).collect();
    assert!(ports.len() > 48, "{} ports for 64 flows", ports.len());
    assert_eq!(port(&mut world, [4, 7, 0, 80]), port(&mut world, [4, 7, 0, 80]));
}

#[test]
fn without_a_tunnel_address_form_a_has_its_reason() {
    let mut slice = slice(Flood::Suppress);
    slice.tunnel_address = None;
    let mut world = World::of(&slice);
    assert_eq!(world.out(BLUE, &plain(FOREIGN, HERE)), Fate::Dropped(DropReason::NoTunnelAddress));
}

/// A payload as the foreign peer sends it, from FOREIGN to HERE.
fn foreign() -> Vec<u8> {
    let frame = plain(HERE, FOREIGN);
    let total = u16::try_from(36 + frame.len()).unwrap();
    let mut bytes = vec![0; 36];
    let header = Ipv4 {
        options: 0,
        tos: 0,
        total,
        id: 77,
        dont_fragment: false,
        more_fragments: false,
        offset: 0,
        ttl: 64,
        protocol: 17,
        source: FOREIGN_TUNNEL,
        destination: OWN_TUNNEL,
    };
    header.emit(&mut bytes).unwrap();
    Udp { source: 50_000, destination: 4789, length: total - 20, checksum: 0 }.emit(&mut bytes[20..]).unwrap();
    bytes[28..36].copy_from_slice(&[0x08, 0, 0, 0, 0, 0, 10, 0]);
    bytes.extend(frame);
    bytes
}

#[test]
fn form_a_arrives_with_and_without_padding() {
    let mut world = World::new(Flood::Suppress);
    let peer = world.peer("f-1");
    let mut sent = foreign();
    let expected = Ok((world.net(BLUE), plain(HERE, FOREIGN)));
    assert_eq!(world.arrive(peer, &sent), expected);
    sent.resize(sent.len().next_multiple_of(16) + 16, 0);
    assert_eq!(world.arrive(peer, &sent), expected);
    sent[28..36].copy_from_slice(&[0xff, 1, 2, 3, 0, 0, 10, 9]);
    assert_eq!(world.arrive(peer, &sent), expected, "reserved bits are ignored on receipt");
}

#[test]
fn each_wrong_outer_header_has_its_reason() {
    let mut world = World::new(Flood::Suppress);
    let peer = world.peer("f-1");
    let mut case = |change: fn(&mut Vec<u8>), reason| {
        let mut bytes = foreign();
        change(&mut bytes);
        // Only what was changed is wrong: the checksum is made anew.
        bytes[10..12].fill(0);
        let sum = crate::wire::ip::Checksum::default().with(&bytes[..20]).value();
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(world.arrive(peer, &bytes), Err(reason));
    };
    case(|b| b[15] = 8, DropReason::OuterSource);
    case(|b| b[19] = 2, DropReason::OuterDestination);
    // Only the last fragment may end where no multiple of eight does, and none beyond the largest packet.
    case(
        |b| {
            b[3] -= 1;
            b[6] = 0x20;
        },
        DropReason::OuterMalformed,
    );
    case(|b| b[6..8].copy_from_slice(&[0x1f, 0xff]), DropReason::OuterMalformed);
    case(|b| b[9] = 6, DropReason::OuterMalformed);
    case(|b| b[2] = 0xff, DropReason::OuterMalformed);
    case(|b| b[25] ^= 1, DropReason::OuterMalformed);
    case(|b| b[28] = 0, DropReason::VxlanMalformed);
    case(|b| b[34] = 0, DropReason::VxlanMalformed);
    case(|b| b[22..24].fill(0), DropReason::OuterMalformed);
    case(|b| b[23] ^= 1, DropReason::NetworkUnknown);
    case(|b| b[34] = 11, DropReason::NetworkUnknown);
    let mut bytes = foreign();
    bytes[10] ^= 1;
    assert_eq!(world.arrive(peer, &bytes), Err(DropReason::OuterMalformed), "checksum");
}

#[test]
fn a_peer_speaks_the_form_that_the_table_states_and_no_other() {
    let mut world = World::new(Flood::Suppress);
    let (meshd, foreigner) = (world.peer("b-1"), world.peer("f-1"));
    assert_eq!(world.arrive(meshd, &foreign()), Err(DropReason::FormWrong), "form A only in fragments");
    assert_eq!(world.arrive(foreigner, &[8, 0, 0x12, 0xb5, 0, 0, 10, 0]), Err(DropReason::FormWrong));
    assert_eq!(world.arrive(foreigner, &[0x60; 64]), Err(DropReason::FormIpv6));
    assert_eq!(world.arrive(meshd, &[0xf0; 64]), Err(DropReason::FormUnknown));
    assert_eq!(world.arrive(meshd, &[]), Err(DropReason::FormUnknown));
    assert_eq!(world.arrive(PeerSlot(999), &foreign()), Err(DropReason::PeerGone));
}

proptest! {
    #[test]
    fn no_payload_panics_and_every_payload_has_one_fate(
        mut noise in proptest::collection::vec(any::<u8>(), 0..300), first in prop_oneof![Just(8u8), Just(0x45), Just(1), any::<u8>()],
        good in any::<bool>(), at in 0..80usize, flip in any::<u8>(),
    ) {
        let mut world = World::new(Flood::Replicate);
        if good {
            noise = foreign();
            let at = at % noise.len();
            noise[at] ^= flip;
        } else if let Some(byte) = noise.first_mut() {
            *byte = first;
        }
        for name in ["a-2", "b-1", "c-1", "f-1"] {
            let peer = world.peer(name);
            let before = world.ingress.drops.total();
            let out = world.arrive_all(peer, &noise);
            let fates = out.frames.len() + out.assembled.len() + out.tunnels.len() + out.echoes.len();
            let gone = world.ingress.drops.total() - before + u64::try_from(fates).unwrap();
            // A fragment may wait for others.
            let fragment = Ipv4::parse(&noise).is_ok_and(|header| header.is_fragment());
            prop_assert!(gone == 1 || gone == 0 && fragment, "{gone}");
        }
    }
}
