//! Frames that other lanes carry.

use std::sync::Arc;

use super::*;
use crate::forward::view::View;
use crate::wire::ip::TCP;

const BLUE: &str = "default/10";

/// Lane `own` of two. `b-1` and this node use two lanes, everybody else one.
fn world(own: u8, flood: Flood) -> (World, Arc<Board>) {
    let mut slice = slice(flood);
    slice.peers.get_mut(&node("b-1")).unwrap().lanes = 2;
    let mut world = World::of(&slice);
    let board = Arc::new(Board::new(2));
    world.egress = Egress::new(Spread::new(own, 2, &board));
    (world, board)
}

fn sent(world: &mut World, bytes: &[u8]) -> EgressOut {
    let mut buf = world.pool.take().unwrap();
    buf.copy_from(bytes);
    let mut frames = vec![Frame { net: world.net(BLUE), buf, virtio: Virtio::default() }];
    let mut out = EgressOut::default();
    world.egress.batch(&world.table, &PathSizes::default(), world.now, &mut frames, &mut world.pool, &mut out);
    out
}

fn handed(out: &EgressOut) -> Vec<(u8, PeerSlot)> {
    out.handed.iter().map(|handed| (handed.lane, handed.peer)).collect()
}

fn trains(out: &EgressOut) -> Vec<PeerSlot> {
    out.tunnels.iter().map(|train| train.peer).collect()
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A TCP segment without payload from a port of this guest to port 80 of `FAR`, or back.
fn segment(port: u16, flags: u8, back: bool) -> Vec<u8> {
    let mut packet = vec![0; 40];
    let (here, there) = ((ip(1), port), (ip(4), 80));
    let ((source, from), (destination, to)) = if back { (there, here) } else { (here, there) };
    let header = Ipv4 {
        options: 0,
        tos: 0,
        total: 40,
        id: 1,
        dont_fragment: true,
        more_fragments: false,
        offset: 0,
        ttl: 64,
        protocol: TCP,
        source,
        destination,
    };
    header.emit(&mut packet).unwrap();
    packet[20..22].copy_from_slice(&from.to_be_bytes());
    packet[22..24].copy_from_slice(&to.to_be_bytes());
    packet[33] = flags;
    if back { frame(HERE, FAR, 0x0800, &packet) } else { frame(FAR, HERE, 0x0800, &packet) }
}

#[test]
fn a_frame_for_a_pair_with_fewer_lanes_is_handed_to_one_that_it_has() {
    let (mut world, _) = world(1, Flood::Suppress);
    let (far, other) = (world.peer("b-1"), world.peer("b-2"));
    let out = sent(&mut world, &plain(FAR, HERE));
    assert_eq!((trains(&out), handed(&out)), (vec![far], vec![]));
    let out = sent(&mut world, &plain(OTHER, HERE));
    assert_eq!((trains(&out), handed(&out)), (vec![], vec![(0, other)]));
}

#[test]
fn the_other_lane_sends_what_this_one_would_have_sent() {
    let (mut one, _) = world(1, Flood::Suppress);
    let (mut zero, _) = world(0, Flood::Suppress);
    for (mac, form) in [(OTHER, "B"), (FOREIGN, "A")] {
        let Handed { peer, frame, .. } = sent(&mut one, &plain(mac, HERE)).handed.pop().unwrap();
        let mut tunnels = Vec::new();
        zero.egress.carry(&zero.table, &PathSizes::default(), peer, frame, &mut zero.pool, &mut tunnels);
        let carried = payloads(&mut tunnels[0]);
        let directly = payloads(&mut sent(&mut zero, &plain(mac, HERE)).tunnels[0]);
        assert_eq!(carried, directly, "form {form}");
    }
    assert_eq!(one.egress.drops.total() + zero.egress.drops.total(), 0);
}

#[test]
fn a_flooded_frame_reaches_each_member_by_one_lane() {
    let (mut world, _) = world(1, Flood::Replicate);
    let [far, other, foreign] = ["b-1", "b-2", "f-1"].map(|name| world.peer(name));
    let out = sent(&mut world, &plain(Mac::BROADCAST, HERE));
    assert_eq!((trains(&out), handed(&out)), (vec![far], vec![(0, other), (0, foreign)]));
}

#[test]
fn a_frame_that_is_refused_is_refused_where_it_was_read() {
    let (mut world, _) = world(1, Flood::Suppress);
    let out = sent(&mut world, &plain(OTHER, STRANGER));
    assert!(out.handed.is_empty() && out.tunnels.is_empty());
    assert_eq!(world.egress.drops.get(DropReason::SourceUnknown), 1);
}

#[test]
fn connections_take_lanes_in_turn_and_what_follows_stays() {
    let (mut world, _) = world(0, Flood::Suppress);
    let stays = |world: &mut World, port, flags| sent(world, &segment(port, flags, false)).handed.is_empty();
    let lanes: Vec<bool> = (0..6).map(|port| stays(&mut world, port, SYN)).collect();
    assert_eq!(lanes, [true, false, true, false, true, false]);
    for (port, lane) in (0..6).zip(lanes) {
        for flags in [SYN, ACK, 0x04, 0x11] {
            assert_eq!(stays(&mut world, port, flags), lane, "port {port}, flags {flags:#x}");
        }
    }
}

#[test]
fn an_answer_leaves_by_the_lane_that_the_question_came_by() {
    let (mut one, board) = world(1, Flood::Suppress);
    let (mut zero, _) = world(0, Flood::Suppress);
    zero.egress = Egress::new(Spread::new(0, 2, &board));
    one.ingress = Ingress::new(Spread::new(1, 2, &board));
    let far = one.peer("b-1");
    one.arrive(far, &ingress::compact(4789, 10, &segment(9, SYN, true))).unwrap();
    let out = sent(&mut zero, &segment(9, SYN | ACK, false));
    assert_eq!((trains(&out), handed(&out)), (vec![], vec![(1, far)]));
}

#[test]
fn small_frames_of_other_lanes_leave_together() {
    let (mut one, _) = world(1, Flood::Suppress);
    let (mut zero, _) = world(0, Flood::Suppress);
    let mut tunnels = Vec::new();
    for _ in 0..5 {
        let Handed { peer, frame, .. } = sent(&mut one, &plain(OTHER, HERE)).handed.pop().unwrap();
        zero.egress.carry(&zero.table, &PathSizes::default(), peer, frame, &mut zero.pool, &mut tunnels);
    }
    assert_eq!(tunnels.iter_mut().map(|train| payloads(train).len()).collect::<Vec<_>>(), [5]);
}

#[test]
fn frames_of_a_network_or_peer_that_has_just_gone_end_with_a_reason() {
    let (mut one, _) = world(1, Flood::Suppress);
    let mut handed = || sent(&mut one, &plain(OTHER, HERE)).handed.pop().unwrap();
    let (mut zero, _) = world(0, Flood::Suppress);
    let Handed { peer, frame, .. } = handed();
    zero.egress.carry(&Table::default(), &PathSizes::default(), peer, frame, &mut zero.pool, &mut Vec::new());
    assert_eq!(zero.egress.drops.get(DropReason::NetworkGone), 1);
    let Handed { frame, .. } = handed();
    zero.egress.carry(&zero.table, &PathSizes::default(), PeerSlot(99), frame, &mut zero.pool, &mut Vec::new());
    assert_eq!(zero.egress.drops.get(DropReason::PeerGone), 1);
}

/// A UDP datagram over IPv6 without payload.
fn datagram6(source: Ipv6Addr, destination: Ipv6Addr, ports: [u16; 2]) -> Vec<u8> {
    let mut packet = vec![0; 48];
    packet[0] = 0x60;
    packet[6] = 17;
    packet[8..24].copy_from_slice(&source.octets());
    packet[24..40].copy_from_slice(&destination.octets());
    packet[40..42].copy_from_slice(&ports[0].to_be_bytes());
    packet[42..44].copy_from_slice(&ports[1].to_be_bytes());
    frame(FAR, HERE, 0x86dd, &packet)
}

fn flow_key(frame: &[u8], vni: u64) -> u64 {
    View::parse(frame).unwrap().conversation(frame, vni.try_into().unwrap()).key
}

/// A frame of which only Ethernet is known.
fn opaque(destination: Mac, source: Mac) -> Vec<u8> {
    frame(destination, source, 0x88b5, b"local experimental")
}

#[test]
fn both_directions_of_a_flow_are_one_flow() {
    for port in [1, 80, 40_000, 65_535] {
        assert_eq!(flow_key(&segment(port, ACK, false), 10), flow_key(&segment(port, SYN, true), 10), "port {port}");
        let six = [(ip6(1), ip6(4), [port, 53]), (ip6(4), ip6(1), [53, port])];
        let [there, back] =
            six.map(|(source, destination, ports)| flow_key(&datagram6(source, destination, ports), 10));
        assert_eq!(there, back, "port {port}");
    }
    assert_eq!(flow_key(&opaque(FAR, HERE), 10), flow_key(&opaque(HERE, FAR), 10));
}

#[test]
fn flows_that_differ_in_anything_are_others() {
    let one = segment(1, ACK, false);
    let all = [
        flow_key(&one, 10),
        flow_key(&one, 11),
        flow_key(&segment(2, ACK, false), 10),
        flow_key(&opaque(FAR, HERE), 10),
        flow_key(&opaque(OTHER, HERE), 10),
        flow_key(&datagram6(ip6(1), ip6(4), [1, 80]), 10),
        flow_key(&datagram6(ip6(1), ip6(5), [1, 80]), 10),
        // What is no port of the other end is not taken for one.
        flow_key(&datagram6(ip6(1), ip6(4), [80, 1]), 10),
    ];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len(), "{all:x?}");
}

#[test]
fn neighbouring_ports_take_places_all_over() {
    // Of 4096 in 65,536 places by chance, some 125 meet another.
    let places = (0..4096).map(|port| flow_key(&segment(port, ACK, false), 10) >> 48);
    assert!(places.collect::<std::collections::BTreeSet<_>>().len() > 3_900);
}

#[test]
fn a_fragment_goes_with_the_addresses_and_opens_nothing() {
    let mut first = segment(1, SYN, false);
    first[14 + 6] = 0x20;
    let mut other = segment(2, SYN, false);
    other[14 + 7] = 9;
    assert_eq!(flow_key(&first, 10), flow_key(&other, 10), "all fragments of two guests take one lane");
    for bytes in [first, other] {
        assert!(!View::parse(&bytes).unwrap().conversation(&bytes, 10_u64.try_into().unwrap()).opens);
    }
}
