//! Frames that are larger than their network or their path, from the guest's TAP to the TAP at the other end.

use proptest::prelude::*;

use super::*;
use crate::policy::mtu::{MtuPolicy, Oversize};
use crate::wire::icmp::FragmentationNeeded;
use crate::wire::ip::UDP;
use crate::wire::sum::Sum;
use crate::wire::virtio::Gso;

const BLUE: &str = "default/10";

/// The mesh as `b-1` sees it: what FAR's node needs to take frames of HERE.
fn far_end() -> World {
    World::of(&pair::slice_of_b(Flood::Suppress))
}

/// Node `a-1` where frames that are too large meet this.
fn world(oversize: Oversize) -> World {
    let mut slice = slice(Flood::Suppress);
    for network in slice.networks.values_mut() {
        network.mtu = Some(MtuPolicy { oversize, ..MtuPolicy::default() });
    }
    World::of(&slice)
}

/// A frame of HERE with an IPv4 packet of `size` bytes: UDP, "don't fragment", checksum right.
fn datagram(to: Mac, size: usize) -> Vec<u8> {
    let total = u16::try_from(size).unwrap();
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
        protocol: UDP,
        source: ip(1),
        destination: ip(4),
    };
    header.emit(&mut packet).unwrap();
    packet.extend([0x9c, 0x40, 0x14, 0x51]);
    packet.extend((total - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend((28..size).map(|n| (n * 7 / 3).to_le_bytes()[0]));
    let sum = Sum::default().with(&packet[12..20]).word(UDP.into()).word(total - 20).with(&packet[20..]);
    packet[26..28].copy_from_slice(&sum.checksum_udp().to_be_bytes());
    frame(to, HERE, 0x0800, &packet)
}

/// What one frame becomes, padding included.
fn sent(world: &mut World, frame: &[u8]) -> Vec<Vec<u8>> {
    let mut buf = world.pool.take().unwrap();
    buf.copy_from(frame);
    let (mut frames, mut out) = (vec![Frame { net: world.net(BLUE), buf, virtio: world.virtio }], EgressOut::default());
    world.egress.batch(&world.table, &world.paths, world.now, &mut frames, &mut world.pool, &mut out);
    out.tunnels.iter_mut().flat_map(payloads).map(|(_, _, padded)| padded).collect()
}

/// Payloads of `a-1` arrive in one batch, at distances as in an inbox. Returns the frames in the order in which TAPs get them.
fn arrive(world: &mut World, payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let peer = world.peer("a-1");
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    for payload in payloads {
        bytes.extend([0xee; 16]);
        places.push(Payload { peer, start: bytes.len(), len: payload.len() });
        bytes.extend(payload);
        bytes.extend([0xee; 16]);
    }
    let mut out = IngressOut::default();
    let arrived = Arrived { bytes: &mut bytes, payloads: &places };
    world.ingress.batch(&world.table, &world.paths, world.now, arrived, &mut world.pool, &mut out);
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for Frame { buf, .. } in out.assembled {
        frames.push(buf.bytes().to_vec());
        world.pool.give(buf);
    }
    frames.extend(out.frames.iter().map(|one| bytes[one.start..one.start + one.len].to_vec()));
    frames
}

proptest! {
    #[test]
    fn what_goes_out_in_fragments_comes_in_whole_in_any_order_and_in_any_batches(
        sizes in prop::collection::vec(28..9000usize, 1..8), carried in 600..1500u16, mix in any::<u64>(), split in 1..20usize,
    ) {
        let (mut a, mut b) = (world(Oversize::Fragment), far_end());
        let peer = a.peer("b-1");
        a.paths.set(peer, carried);
        let frames: Vec<_> = sizes.iter().map(|size| datagram(FAR, *size)).collect();
        let mut all: Vec<Vec<u8>> = frames.iter().flat_map(|frame| sent(&mut a, frame)).collect();
        prop_assert!(all.iter().all(|payload| payload.len() <= usize::from(carried)));
        let mut dice = mix;
        for at in (1..all.len()).rev().filter(|_| mix % 3 != 0) {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            all.swap(at, usize::try_from(dice >> 33).unwrap() % (at + 1));
        }
        let mut got: Vec<_> = all.chunks(split).flat_map(|batch| arrive(&mut b, batch)).collect();
        if mix % 3 == 0 {
            prop_assert!(got == frames, "in order they stay in order");
        }
        got.sort();
        let mut wanted = frames;
        wanted.sort();
        prop_assert!(got == wanted);
        prop_assert_eq!(b.ingress.drops.total(), 0);
    }
}

#[test]
fn pieces_of_one_frame_have_one_size_and_share_a_train() {
    let mut a = world(Oversize::Fragment);
    let far = a.peer("b-1");
    a.paths.set(far, 1440);
    let mut frames = Vec::new();
    for _ in 0..20 {
        let mut buf = Buf::default();
        buf.copy_from(&datagram(FAR, 1500));
        frames.push(Frame { net: a.net(BLUE), buf, virtio: Virtio::default() });
    }
    let mut out = EgressOut::default();
    a.egress.batch(&a.table, &a.paths, a.now, &mut frames, &mut a.pool, &mut out);
    assert_eq!(out.tunnels.len(), 1);
    assert_eq!(out.tunnels[0].datagrams().map(|one| one.len()).collect::<Vec<_>>(), [32 + 800; 40]);
    let tally = a.egress.sizes.peers().next().unwrap();
    assert_eq!((tally.0, tally.1.fragmented, tally.1.fragments_sent), (far, 20, 40));
    assert_eq!(a.egress.sizes.nets().next().unwrap().1.oversize, 20);
}

#[test]
fn fragments_are_what_a_kernel_reassembles() {
    let mut a = world(Oversize::Fragment);
    let original = datagram(FOREIGN, 1500);
    let all = sent(&mut a, &original);
    let mut body: Vec<u8> = Vec::new();
    let mut ids = Vec::new();
    for (n, payload) in all.iter().enumerate() {
        let header = Ipv4::parse(payload).unwrap();
        assert!(header.checksum_holds(payload) && !header.dont_fragment);
        assert_eq!((header.source, header.destination, header.protocol), (OWN_TUNNEL, FOREIGN_TUNNEL, UDP));
        assert_eq!((usize::from(header.offset) * 8, header.more_fragments), (body.len(), n + 1 < all.len()));
        body.extend(&payload[20..usize::from(header.total)]);
        ids.push(header.id);
    }
    assert!(all.len() == 2 && ids[0] == ids[1]);
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    assert_eq!(body[4..8], [length[0], length[1], 0, 0], "UDP's length is that of the whole, its checksum is not used");
    assert_eq!(body[8..16], [8, 0, 0, 0, 0, 0, 10, 0]);
    assert!(body[16..] == original);
    let next = Ipv4::parse(&sent(&mut a, &original)[0]).unwrap().id;
    assert_eq!(next, ids[0] + 1);
}

#[test]
fn a_frame_at_the_guest_mtu_is_carried_by_every_path_in_every_mode() {
    for mode in [Oversize::Fragment, Oversize::TooBig, Oversize::Drop] {
        let (mut a, mut b) = (world(mode), far_end());
        let far = a.peer("b-1");
        for carried in [1422, 1421, 1153] {
            a.paths.set(far, carried);
            let original = datagram(FAR, 1400);
            let all = sent(&mut a, &original);
            assert_eq!(all.len(), if carried < 1422 { 2 } else { 1 }, "{mode:?} on {carried}");
            assert!(arrive(&mut b, &all) == [original]);
        }
        assert_eq!(a.egress.drops.total(), 0);
    }
}

#[test]
fn a_larger_one_is_carried_answered_or_dropped() {
    let mut a = world(Oversize::Drop);
    assert_eq!(a.out(BLUE, &datagram(FAR, 1401)), Fate::Dropped(DropReason::Oversize));
    let mut a = world(Oversize::Fragment);
    assert!(matches!(a.out(BLUE, &datagram(FAR, 1401)), Fate::Tunnels(_)));
    let mut a = world(Oversize::TooBig);
    let far = a.peer("b-1");
    for (carried, told) in [(1440, 1400), (1200, 1178)] {
        a.paths.set(far, carried);
        let original = datagram(FAR, 1401);
        let Fate::Answer(answer) = a.out(BLUE, &original) else { panic!() };
        assert_eq!((&answer[..6], &answer[6..12]), (&HERE.0[..], &FAR.0[..]));
        let header = Ipv4::parse(&answer[14..]).unwrap();
        assert_eq!((header.source, header.destination), (ip(4), ip(1)));
        assert_eq!(FragmentationNeeded::parse(&answer[34..]), Ok(FragmentationNeeded { mtu: told }));
        assert!(answer[42..] == original[14..14 + answer.len() - 42]);
    }
    assert_eq!(a.egress.drops.get(DropReason::TooBig), 2);
    let (_, tally) = a.egress.sizes.nets().next().unwrap();
    assert_eq!((tally.oversize, tally.too_big), (2, 2));
}

#[test]
fn answers_are_limited_and_go_on_a_second_later() {
    let mut a = world(Oversize::TooBig);
    let original = datagram(FAR, 1500);
    let answered = |a: &mut World| (0..1000).filter(|_| matches!(a.out(BLUE, &original), Fate::Answer(_))).count();
    assert_eq!(answered(&mut a), 100);
    assert_eq!(a.egress.drops.get(DropReason::Oversize), 900);
    a.now = a.now + std::time::Duration::from_secs(1);
    assert_eq!(answered(&mut a), 100);
}

#[test]
fn a_frame_that_may_not_send_is_not_answered() {
    let mut a = world(Oversize::TooBig);
    let mut spoofed = datagram(FAR, 1500);
    spoofed[6..12].copy_from_slice(&OTHER.0);
    assert_eq!(a.out(BLUE, &spoofed), Fate::Dropped(DropReason::SourceNotHere));
    let mut unknown = datagram(STRANGER, 1500);
    unknown[6..12].copy_from_slice(&HERE.0);
    assert_eq!(a.out(BLUE, &unknown), Fate::Dropped(DropReason::DestinationUnknown));
    let noise = frame(FAR, HERE, 0x88b5, &[0; 1500]);
    assert_eq!(a.out(BLUE, &noise), Fate::Dropped(DropReason::Oversize), "nobody to tell");
}

/// A UDP super-frame whose datagrams have `size` bytes of payload.
fn udp_super_frame(payload: usize, size: u16) -> (Vec<u8>, Virtio) {
    let mut frame = datagram(FAR, 28 + payload);
    let total = u16::try_from(8 + payload).unwrap();
    let pseudo = Sum::default().with(&frame[26..34]).word(UDP.into()).word(total).partial();
    frame[40..42].copy_from_slice(&pseudo.to_be_bytes());
    let gso = Gso::UdpL4;
    (frame, Virtio { needs_checksum: true, gso, gso_size: size, csum_start: 34, csum_offset: 6, ..Virtio::default() })
}

#[test]
fn datagrams_of_a_super_frame_are_cut_apart_first_and_each_arrives_whole() {
    let (mut a, mut b) = (world(Oversize::Fragment), far_end());
    let (whole, virtio) = udp_super_frame(10 * 1472 + 100, 1472);
    a.virtio = virtio;
    let got = {
        let all = sent(&mut a, &whole);
        assert_eq!(all.len(), 21);
        arrive(&mut b, &all)
    };
    let mut carried: Vec<u8> = Vec::new();
    for frame in &got {
        let sum = Sum::default().with(&frame[26..34]).word(UDP.into()).with(&frame[38..40]).with(&frame[34..]);
        assert_eq!(sum.checksum(), 0, "the checksum of each datagram is made");
        carried.extend(&frame[42..]);
    }
    assert_eq!(got.len(), 11);
    assert!(carried == whole[42..]);
    let mut a = world(Oversize::TooBig);
    a.virtio = virtio;
    let Fate::Answer(answer) = a.out(BLUE, &whole) else { panic!() };
    let quoted = Ipv4::parse(&answer[42..]).unwrap();
    assert_eq!(quoted.total, 1500, "the datagram that was too big, not the super-frame");
}

#[test]
fn a_super_frame_of_tcp_is_never_too_big() {
    for mode in [Oversize::Fragment, Oversize::TooBig, Oversize::Drop] {
        let mut a = world(mode);
        let far = a.peer("b-1");
        a.paths.set(far, 1200);
        let (frame, virtio) = offload::tcp_super_frame(FAR, 60_000);
        a.virtio = virtio;
        assert!(sent(&mut a, &frame).iter().all(|payload| payload.len() <= 1200 && payload[0] == 8), "{mode:?}");
    }
}

#[test]
fn the_mss_of_a_syn_is_lowered_on_its_way_out_and_in() {
    let (mut a, mut b) = (world(Oversize::Fragment), far_end());
    let (far, near) = (a.peer("b-1"), b.peer("a-1"));
    // Checksum left to the interface: it is finished first, and right in the end.
    let (syn, virtio) = offload::syn(FAR, 1460);
    a.virtio = virtio;
    for (out, back, mss) in [(1440, 1440, 1360), (1200, 1440, 1138), (1440, 1200, 1138)] {
        a.paths.set(far, out);
        b.paths.set(near, back);
        let all = sent(&mut a, &syn);
        let [got] = <[Vec<u8>; 1]>::try_from(arrive(&mut b, &all)).unwrap();
        assert_eq!(u16::from_be_bytes([got[56], got[57]]), mss);
        let sum = Sum::default().with(&got[26..34]).word(6).word(24).with(&got[34..]);
        assert_eq!(sum.checksum(), 0);
    }
    let clamped = |tallies: &Tallies| tallies.peers().map(|(_, tally)| tally.mss_clamped).sum::<u64>();
    assert_eq!((clamped(&a.egress.sizes), clamped(&b.ingress.sizes)), (3, 1));
}

#[test]
fn a_node_that_does_not_clamp_leaves_a_syn_as_it_is() {
    let slice = slice(Flood::Suppress);
    let mut a = World::of(&slice);
    let own = Own { admin: Some("10.0.0.1".parse().unwrap()), external: Some("198.51.100.1".parse().unwrap()) };
    let sizing = Sizing { clamp_mss: false, ..Sizing::default() };
    a.table = Table::build(&slice, &decide_all(&slice, own), &a.slots, sizing);
    let (syn, virtio) = offload::syn(FAR, 1460);
    a.virtio = virtio;
    assert_eq!(sent(&mut a, &syn)[0][8 + 56..8 + 58], 1460u16.to_be_bytes());
}

#[test]
fn half_packets_of_one_peer_cost_the_others_nothing() {
    let mut b = far_end();
    let mut slice = slice(Flood::Suppress);
    slice.rows.insert(row_key("default/10/-", HERE_TOO), row("a-1", 2));
    let mut a = World::of(&slice);
    let peer = a.peer("b-1");
    a.paths.set(peer, 1200);
    let (original, small) = (datagram(FAR, 1500), datagram(FAR, 500));
    let other = b.peer("b-2");
    let half = {
        let mut first = sent(&mut a, &original)[0].clone();
        first[4..6].fill(0);
        first
    };
    for n in 0..20_000u16 {
        let mut attack = half.clone();
        attack[4..6].copy_from_slice(&n.to_be_bytes());
        attack[10..12].fill(0);
        let sum = Sum::default().with(&attack[..20]).checksum();
        attack[10..12].copy_from_slice(&sum.to_be_bytes());
        assert!(b.arrive_all(other, &attack).frames.is_empty());
        if n % 100 == 0 {
            let all = sent(&mut a, &original);
            assert!(arrive(&mut b, &all[..1]).is_empty());
            assert!(b.arrive_all(other, &attack).frames.is_empty());
            assert!(arrive(&mut b, &all[1..]) == [original.clone()], "after {n}");
            let whole = sent(&mut a, &small);
            assert!(arrive(&mut b, &whole) == [small.clone()]);
        }
    }
    let refused = b.ingress.sizes.peers().find(|(slot, _)| *slot == other).unwrap().1.fragments_refused;
    assert!(refused >= 20_000 - 64, "{refused}");
    let own = b.peer("a-1");
    assert_eq!(b.ingress.sizes.peers().find(|(slot, _)| *slot == own).unwrap().1.fragments_refused, 0);
}
