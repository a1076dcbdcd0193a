use proptest::prelude::*;

use super::*;

const A: PeerSlot = PeerSlot(1);
const B: PeerSlot = PeerSlot(2);

/// A lane's reassembly, and what it gave up.
struct Desk {
    reassembly: Reassembly,
    now: Mono,
    lost: Vec<(PeerSlot, DropReason, u32)>,
}

impl Desk {
    fn new() -> Self {
        Self { reassembly: Reassembly::default(), now: Mono::from_nanos(1_000_000_000), lost: Vec::new() }
    }

    /// One fragment; the packet that it completes.
    fn put(&mut self, peer: PeerSlot, id: u16, offset: usize, more: bool, data: &[u8]) -> Option<Vec<u8>> {
        let part = Part { peer, id, offset, more, data, fragments: 1 };
        let lost = &mut self.lost;
        let whole = self.reassembly.add(&part, self.now, &mut |peer, reason, n| lost.push((peer, reason, n)))?;
        let mut out = vec![0; self.reassembly.len(&whole)];
        self.reassembly.take(whole, &mut out);
        Some(out)
    }

    fn lost(&self, reason: DropReason) -> u32 {
        self.lost.iter().filter(|(_, why, _)| *why == reason).map(|(_, _, count)| count).sum()
    }

    /// Free memory and free packets agree with what is used.
    fn check(&self) {
        let Reassembly { free_blocks, free_packets, packets, peers, links, .. } = &self.reassembly;
        let used: Vec<_> = packets.iter().zip(links).filter(|(packet, _)| packet.used).collect();
        assert_eq!(free_packets.len() + used.len(), PACKETS);
        let held: usize = used.iter().map(|(packet, _)| packet.blocks.iter().filter(|b| **b != NONE).count()).sum();
        assert_eq!(free_blocks.len() + held, BLOCKS);
        for (index, usage) in peers.iter().enumerate() {
            let mine = used.iter().filter(|(_, link)| link.peer.index() == index);
            assert_eq!(mine.count(), usize::from(usage.packets));
            assert!(usage.packets <= PEER_PACKETS && usage.blocks <= PEER_BLOCKS);
            let (mut at, mut walked) = (usage.first, 0);
            while at != NONE {
                walked += 1;
                at = links[usize::from(at)].after;
            }
            assert_eq!(walked, usage.packets);
        }
    }
}

fn bytes(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 / 7 + seed).to_le_bytes()[0]).collect()
}

/// Offset, more, data.
fn pieces(packet: &[u8], piece: usize) -> Vec<(usize, bool, &[u8])> {
    let count = packet.len().div_ceil(piece);
    packet.chunks(piece).enumerate().map(|(n, data)| (n * piece, n + 1 < count, data)).collect()
}

proptest! {
    #[test]
    fn packets_come_together_in_any_order_with_duplicates_and_between_each_other(
        lens in prop::collection::vec((9..9000usize, 1..180usize), 1..6), order in any::<u64>(), twice in any::<u64>(),
    ) {
        let packets: Vec<_> = lens.iter().enumerate().map(|(n, (len, _))| bytes(*len, n)).collect();
        let mut all = Vec::new();
        for (n, (packet, (len, eighths))) in packets.iter().zip(&lens).enumerate() {
            // At most 16 holes are remembered, so at most 17 pieces come in any order.
            let piece = (eighths * 8).max(len.div_ceil(17).next_multiple_of(8));
            for (k, (offset, more, data)) in pieces(packet, piece).into_iter().enumerate() {
                let id = u16::try_from(n).unwrap();
                let part = (if n % 2 == 0 { A } else { B }, id, offset, more, data);
                all.push(part);
                if twice >> ((n * 7 + k) % 64) & 1 == 1 {
                    all.push(part);
                }
            }
        }
        let mut dice = order;
        for at in (1..all.len()).rev() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            all.swap(at, usize::try_from(dice >> 33).unwrap() % (at + 1));
        }
        let mut desk = Desk::new();
        let mut whole = std::collections::BTreeMap::new();
        for (peer, id, offset, more, data) in all {
            // A duplicate that comes after its packet was whole begins another, which is given up later.
            if let Some(packet) = desk.put(peer, id, offset, more, data) {
                prop_assert_eq!(&packet, &packets[usize::from(id)]);
                whole.insert(id, packet);
            }
            desk.check();
        }
        prop_assert_eq!(whole.len(), packets.len());
        prop_assert!(desk.lost.iter().all(|(_, reason, _)| *reason == DropReason::FragmentDuplicate));
    }

    #[test]
    fn no_fragments_break_the_books(
        parts in prop::collection::vec(
            (0..4u16, 0..3u16, 0..8189usize, any::<bool>(), 1..400usize, 0..700u64), 1..400),
    ) {
        let mut desk = Desk::new();
        let data = bytes(4000, 3);
        for (peer, id, unit, more, len, wait) in parts {
            desk.now = desk.now + Duration::from_millis(wait / 10);
            let offset = unit * 8 % 60_000;
            desk.put(PeerSlot(peer), id, offset, more, &data[..len]);
            let lost = &mut desk.lost;
            desk.reassembly.sweep(desk.now, &mut |peer, reason, n| lost.push((peer, reason, n)));
            desk.check();
        }
    }
}

#[test]
fn overlapping_fragments_drop_the_packet_and_all_that_still_comes_of_it() {
    let packet = bytes(3000, 0);
    let mut desk = Desk::new();
    assert!(desk.put(A, 7, 0, true, &packet[..1000]).is_none());
    assert!(desk.put(A, 7, 992, true, &packet[992..2000]).is_none());
    assert_eq!(desk.lost(DropReason::FragmentOverlap), 2);
    assert!(desk.put(A, 7, 0, true, &packet[..1000]).is_none());
    assert!(desk.put(A, 7, 1000, false, &packet[1000..]).is_none(), "not even now");
    assert_eq!(desk.lost(DropReason::FragmentOverlap), 4);
    assert!(desk.put(A, 8, 0, true, &packet[..1000]).is_none());
    assert_eq!(desk.put(A, 8, 1000, false, &packet[1000..]), Some(packet), "another packet is another");
    desk.check();
}

#[test]
fn other_bytes_in_the_same_place_are_no_duplicate() {
    let packet = bytes(3000, 0);
    let mut desk = Desk::new();
    desk.put(A, 7, 0, true, &packet[..2000]);
    desk.put(A, 7, 1000, true, &packet[1000..1008]);
    assert_eq!(desk.lost, [(A, DropReason::FragmentDuplicate, 1)]);
    desk.put(A, 7, 1000, true, &packet[1..9]);
    assert_eq!(desk.lost(DropReason::FragmentOverlap), 2);
}

#[test]
fn fragments_agree_about_the_end() {
    let packet = bytes(3000, 0);
    type Step = (usize, bool, Range<usize>);
    let cases: [[Step; 2]; 4] = [
        [(2000, false, 2000..3000), (1000, false, 1000..2000)],
        [(2000, false, 2000..3000), (2992, true, 0..8)],
        [(2000, false, 2000..3000), (4000, true, 0..8)],
        [(2000, true, 2000..2008), (1000, false, 1000..1500)],
    ];
    for steps in cases {
        let mut desk = Desk::new();
        for (offset, more, range) in steps {
            assert!(desk.put(A, 7, offset, more, &packet[range]).is_none());
        }
        let refused = desk.lost(DropReason::FragmentConflict) + desk.lost(DropReason::FragmentOverlap);
        assert_eq!(refused, 2, "{:?}", desk.lost);
        desk.check();
    }
}

#[test]
fn a_packet_waits_a_second_and_not_longer() {
    let packet = bytes(2000, 0);
    let mut desk = Desk::new();
    desk.put(A, 7, 0, true, &packet[..1000]);
    desk.now = desk.now + Duration::from_millis(999);
    assert!(desk.put(A, 7, 1000, false, &packet[1000..]).is_some());
    desk.put(A, 8, 0, true, &packet[..1000]);
    desk.now = desk.now + Duration::from_secs(1);
    assert!(desk.put(A, 8, 1000, false, &packet[1000..]).is_none());
    assert_eq!(desk.lost, [(A, DropReason::FragmentLate, 1)]);
    desk.check();
}

#[test]
fn a_packet_does_not_wait_until_its_identification_comes_again() {
    let packet = bytes(2000, 0);
    let mut desk = Desk::new();
    desk.put(A, 7, 0, true, &packet[..1000]);
    for id in 100..100 + 2048 {
        desk.put(A, id, 0, true, &packet[..1000]);
        assert!(desk.put(A, id, 1000, false, &packet[1000..]).is_some());
    }
    assert!(desk.put(A, 7, 1000, false, &packet[1000..]).is_none());
    assert_eq!(desk.lost, [(A, DropReason::FragmentLate, 1)]);
}

#[test]
fn a_silent_peer_gives_its_memory_back() {
    let mut desk = Desk::new();
    for id in 0..64 {
        desk.put(A, id, 0, true, &bytes(1000, 0));
    }
    desk.now = desk.now + Duration::from_secs(2);
    for _ in 0..PACKETS {
        let lost = &mut desk.lost;
        desk.reassembly.sweep(desk.now, &mut |peer, reason, n| lost.push((peer, reason, n)));
    }
    assert_eq!(desk.lost(DropReason::FragmentLate), 64);
    assert_eq!(desk.reassembly.free_blocks.len(), BLOCKS);
    desk.check();
}

#[test]
fn a_million_half_packets_cost_their_sender_its_own_and_nobody_else() {
    let packet = bytes(2000, 0);
    let mut desk = Desk::new();
    let capacity = |desk: &Desk| {
        let r = &desk.reassembly;
        (r.memory.len(), r.free_blocks.capacity(), r.free_packets.capacity(), r.peers.capacity())
    };
    desk.put(B, 1, 0, true, &packet[..1000]);
    let before = capacity(&desk);
    for n in 0..1_000_000u32 {
        let id = u16::try_from(n & 0xffff).unwrap();
        assert!(desk.put(A, id, 0, true, &packet[..1000]).is_none());
        desk.now = desk.now + Duration::from_nanos(900);
        if n % 1000 == 0 {
            desk.lost.clear();
        }
    }
    assert_eq!(capacity(&desk), before, "no memory grew");
    assert_eq!(desk.put(B, 1, 1000, false, &packet[1000..]), Some(packet));
    desk.check();
}

#[test]
fn a_crowd_of_greedy_peers_does_not_starve_a_modest_one() {
    let mut desk = Desk::new();
    let (half, packet) = (bytes(1000, 0), bytes(2000, 0));
    let mut id = 0u16;
    let mut storm = |desk: &mut Desk| {
        for greedy in 10..30 {
            for _ in 0..20 {
                id = id.wrapping_add(1);
                // Every part of every packet in blocks of its own: as much memory as can be had.
                for place in [0, 8192, 16_384, 24_576] {
                    desk.put(PeerSlot(greedy), id, place, true, &half);
                }
            }
        }
    };
    storm(&mut desk);
    for round in 0..50 {
        assert!(desk.put(A, round, 0, true, &packet[..1000]).is_none());
        storm(&mut desk);
        assert!(desk.put(A, round, 1000, false, &packet[1000..]).is_some(), "round {round}");
        desk.lost.clear();
    }
    desk.check();
}

#[test]
fn more_holes_than_are_remembered_drop_the_packet() {
    let mut desk = Desk::new();
    for n in 0..16 {
        assert!(desk.put(A, 7, n * 16, true, &[1; 8]).is_none());
    }
    assert!(desk.lost.is_empty());
    desk.put(A, 7, 16 * 16, true, &[1; 8]);
    assert_eq!(desk.lost(DropReason::FragmentScattered), 17);
    desk.check();
}

#[test]
fn the_largest_packet_comes_together() {
    let packet = bytes(65_515, 5);
    let mut desk = Desk::new();
    let (last, others) = pieces(&packet, 1400).split_last().map(|(l, o)| (*l, o.to_vec())).unwrap();
    for (offset, more, data) in others {
        assert!(desk.put(A, 9, offset, more, data).is_none());
    }
    assert!(desk.put(A, 9, last.0, last.1, last.2).as_deref() == Some(packet.as_slice()));
    assert_eq!(desk.reassembly.free_blocks.len(), BLOCKS);
}
