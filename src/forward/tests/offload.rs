//! Super-frames and unfinished checksums on their way out.

use super::*;
use crate::wire::ip::{TCP, UDP};
use crate::wire::sum::Sum;
use crate::wire::virtio::Gso;

const BLUE: &str = "default/10";
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A frame of HERE with `payload` bytes of TCP or UDP over IPv4, its checksum left to the interface.
fn unfinished(to: Mac, protocol: u8, flags: u8, payload: usize) -> Vec<u8> {
    let head = if protocol == TCP { 20 } else { 8 };
    let total = u16::try_from(20 + head + payload).unwrap();
    let mut packet = vec![0; 20];
    let header = Ipv4 {
        options: 0,
        tos: 0,
        total,
        id: 7,
        dont_fragment: true,
        more_fragments: false,
        offset: 0,
        ttl: 64,
        protocol,
        source: ip(1),
        destination: ip(4),
    };
    header.emit(&mut packet).unwrap();
    let mut l4 = vec![0; head];
    l4[..4].copy_from_slice(&[0x9c, 0x40, 0x14, 0x51]);
    if protocol == TCP {
        l4[12..14].copy_from_slice(&[0x50, flags]);
    } else {
        l4[4..6].copy_from_slice(&(total - 20).to_be_bytes());
    }
    let pseudo = Sum::default().with(&packet[12..20]).word(protocol.into()).word(total - 20);
    let at = if protocol == TCP { 16 } else { 6 };
    l4[at..at + 2].copy_from_slice(&pseudo.partial().to_be_bytes());
    packet.extend(l4);
    packet.extend((0..payload).map(|n| (n * 7 / 3).to_le_bytes()[0]));
    frame(to, HERE, 0x0800, &packet)
}

/// A TCP super-frame of a guest that believes in a large MTU.
pub(super) fn tcp_super_frame(to: Mac, payload: usize) -> (Vec<u8>, Virtio) {
    (unfinished(to, TCP, ACK, payload), virtio(TCP, 8000))
}

/// A SYN that announces an MSS, its checksum left to the interface.
pub(super) fn syn(to: Mac, mss: u16) -> (Vec<u8>, Virtio) {
    let mut frame = unfinished(to, TCP, SYN, 4);
    frame[46] = 0x60;
    frame[54..56].copy_from_slice(&[2, 4]);
    frame[56..].copy_from_slice(&mss.to_be_bytes());
    (frame, virtio(TCP, 0))
}

/// What a kernel says of such a frame.
fn virtio(protocol: u8, gso_size: u16) -> Virtio {
    Virtio {
        needs_checksum: true,
        gso: match protocol {
            _ if gso_size == 0 => Gso::None,
            TCP => Gso::TcpV4,
            _ => Gso::UdpL4,
        },
        gso_size,
        csum_start: 34,
        csum_offset: if protocol == TCP { 16 } else { 6 },
        ..Virtio::default()
    }
}

fn trains(world: &mut World, frame: &[u8], virtio: Virtio) -> Vec<Outgoing> {
    let mut buf = world.pool.take().unwrap();
    buf.copy_from(frame);
    let (mut frames, mut out) = (vec![Frame { net: world.net(BLUE), buf, virtio }], EgressOut::default());
    world.egress.batch(&world.table, &world.paths, world.now, &mut frames, &mut world.pool, &mut out);
    out.tunnels
}

fn l4_checksum_holds(frame: &[u8]) -> bool {
    let length = u16::try_from(frame.len() - 34).unwrap();
    let sum = Sum::default().with(&frame[26..34]).word(frame[23].into()).word(length).with(&frame[34..]);
    sum.checksum() == 0
}

#[test]
fn a_super_frame_is_cut_to_the_path_whatever_the_guest_wished_for() {
    for (wish, to, form, peer) in [(1360, FAR, 8, "b-1"), (8000, FAR, 8, "b-1"), (8000, FOREIGN, 36, "f-1")] {
        let mut world = World::new(Flood::Suppress);
        let whole = unfinished(to, TCP, ACK, 60_000);
        let mut made = trains(&mut world, &whole, virtio(TCP, wish));
        let expected = world.peer(peer);
        let (mut carried, mut sizes) = (Vec::new(), Vec::new());
        for (peer, payload, padded) in made.iter_mut().flat_map(payloads) {
            assert_eq!(peer, expected);
            let segment = &payload[form..];
            assert!(segment.len() <= 1414 && l4_checksum_holds(segment));
            carried.extend_from_slice(&segment[54..]);
            sizes.push(padded.len());
        }
        assert!(carried == whole[54..], "{wish}: every byte, in order");
        let (last, others) = sizes.split_last().unwrap();
        assert!(others.iter().all(|size| *size == others[0]) && *last <= others[0], "{sizes:?}");
        assert!(others[0] <= form + 1414, "padding stays within the path: {sizes:?}");
        assert_eq!(world.egress.cuts, Cuts { cut: 1, whole: 0 });
    }
}

#[test]
fn a_path_that_shrinks_cuts_the_next_super_frame_and_ends_padding() {
    let mut world = World::new(Flood::Suppress);
    let (far, foreign) = (world.peer("b-1"), world.peer("f-1"));
    for carried in [1440, 1233, 1141, 1140] {
        world.paths.set(far, carried);
        world.paths.set(foreign, carried);
        for (to, form) in [(FAR, 8), (FOREIGN, 36)] {
            let whole = unfinished(to, TCP, ACK, 60_000);
            let mut made = trains(&mut world, &whole, virtio(TCP, 8000));
            let all: Vec<_> = made.iter_mut().flat_map(payloads).collect();
            let largest = all.iter().map(|(_, _, padded)| padded.len()).max().unwrap();
            let most = usize::from(carried).min(form + 14 + 1400);
            assert!(largest <= usize::from(carried), "{largest} bytes on a path of {carried}");
            assert!(all[..all.len() - 1].iter().all(|(_, payload, _)| payload.len() == most), "cut to the byte");
            let bytes: Vec<u8> = all.iter().flat_map(|(_, payload, _)| payload[form + 54..].to_vec()).collect();
            assert!(bytes == whole[54..], "every byte, in order");
        }
    }
}

#[test]
fn super_frames_of_one_flow_share_trains() {
    let mut world = World::new(Flood::Suppress);
    let net = world.net(BLUE);
    let mut frames: Vec<Frame> = Vec::new();
    for _ in 0..3 {
        let mut buf = Buf::default();
        buf.copy_from(&unfinished(FAR, TCP, ACK, 20 * 1360));
        frames.push(Frame { net, buf, virtio: virtio(TCP, 1360) });
    }
    let mut out = EgressOut::default();
    world.egress.batch(&world.table, &world.paths, world.now, &mut frames, &mut world.pool, &mut out);
    let counts: Vec<usize> = out.tunnels.iter_mut().map(|train| train.datagrams().count()).collect();
    // 45 datagrams of 1422 + 32 bytes are all that one call can send.
    assert_eq!(counts, [45, 15]);
}

#[test]
fn a_checksum_that_was_left_is_made_for_a_frame_that_goes_alone() {
    for protocol in [TCP, UDP] {
        let mut world = World::new(Flood::Suppress);
        let frame = unfinished(FAR, protocol, ACK, 100);
        assert!(!l4_checksum_holds(&frame));
        let sent: Vec<_> = trains(&mut world, &frame, virtio(protocol, 0)).iter_mut().flat_map(payloads).collect();
        assert!(l4_checksum_holds(&sent[0].1[8..]));
    }
    let mut world = World::new(Flood::Suppress);
    let outside = Virtio { needs_checksum: true, csum_start: 200, ..Virtio::default() };
    assert!(trains(&mut world, &unfinished(FAR, TCP, ACK, 100), outside).is_empty());
    assert_eq!(world.egress.drops.get(DropReason::FrameMalformed), 1);
}

#[test]
fn a_datagram_larger_than_the_path_is_not_cut_smaller() {
    let mut world = World::new(Flood::Suppress);
    let made = |world: &mut World, size| {
        let mut made = trains(world, &unfinished(FAR, UDP, 0, 9000), virtio(UDP, size));
        made.iter_mut().flat_map(payloads).map(|(_, payload, _)| payload[0]).collect::<Vec<_>>()
    };
    let fragments = made(&mut world, 1373);
    assert_eq!(
        (fragments.len(), fragments[0], *fragments.last().unwrap()),
        (13, 0x45, 8),
        "six in two, and a short one"
    );
    assert_eq!(made(&mut world, 1372), [8; 7]);
}

#[test]
fn a_super_frame_that_cannot_be_cut_is_counted_and_goes_whole_if_it_fits() {
    let mut world = World::new(Flood::Suppress);
    let sent: Vec<_> =
        trains(&mut world, &unfinished(FAR, TCP, SYN, 1000), virtio(TCP, 500)).iter_mut().flat_map(payloads).collect();
    assert!(sent.len() == 1 && l4_checksum_holds(&sent[0].1[8..]));
    assert!(trains(&mut world, &unfinished(FAR, TCP, SYN, 9000), virtio(TCP, 500)).is_empty());
    assert_eq!(world.egress.cuts, Cuts { cut: 0, whole: 2 });
    assert_eq!(world.egress.drops.get(DropReason::Oversize), 1);
}

#[test]
fn a_flooded_super_frame_is_cut_for_every_member() {
    let mut world = World::new(Flood::Replicate);
    let made = trains(&mut world, &unfinished(STRANGER, UDP, 0, 5000), virtio(UDP, 1000));
    let counts: Vec<_> = made.into_iter().map(|mut train| (train.peer, train.datagrams().count())).collect();
    assert_eq!(counts, ["b-1", "b-2", "f-1"].map(|name| (world.peer(name), 5)));
    assert_eq!(world.egress.cuts, Cuts { cut: 3, whole: 0 });
}
