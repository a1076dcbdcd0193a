//! What joins is what was cut, nothing else joins, and no flow is reordered.

use proptest::prelude::*;

use super::super::sample_tests::{ACK, PSH, Sample, any_sample, finish, joinable_sample, read};
use super::super::segment::Segments;
use super::{Coalescer, HEADROOM, MAX_SEGMENTS, OPEN_FLOWS};
use crate::types::NetSlot;
use crate::wire::Header;
use crate::wire::ip::Checksum;
use crate::wire::virtio::{Gso, Virtio};

const NET: NetSlot = NetSlot(3);

/// One write: its network, virtio header and frame, and how many packets it holds.
#[derive(Debug, Clone, PartialEq)]
struct Write {
    to: NetSlot,
    virtio: Virtio,
    frame: Vec<u8>,
    packets: usize,
}

/// Frames as they lie in a batch: each behind bytes that nobody needs any more.
fn batch(frames: &[Vec<u8>]) -> (Vec<u8>, Vec<std::ops::Range<usize>>) {
    let mut bytes = Vec::new();
    let ranges = frames.iter().map(|frame| {
        bytes.extend([0x5a; HEADROOM + 3]);
        bytes.extend(frame);
        bytes.len() - frame.len()..bytes.len()
    });
    let ranges = ranges.collect();
    (bytes, ranges)
}

fn write_of(to: NetSlot, bytes: &[u8]) -> Write {
    let virtio = Virtio::parse(bytes).unwrap();
    let frame = bytes[HEADROOM..].to_vec();
    let packets = match virtio.gso {
        Gso::None => 1,
        Gso::TcpV4 | Gso::TcpV6 | Gso::UdpL4 => {
            (frame.len() - usize::from(virtio.hdr_len)).div_ceil(usize::from(virtio.gso_size))
        }
    };
    Write { to, virtio, frame, packets }
}

fn coalesce_with(coalescer: &mut Coalescer, frames: &[(NetSlot, Vec<u8>)]) -> Vec<Write> {
    let bytes: Vec<_> = frames.iter().map(|(_, frame)| frame.clone()).collect();
    let (mut bytes, ranges) = batch(&bytes);
    for (range, (to, _)) in ranges.into_iter().zip(frames) {
        coalescer.push(&bytes, range, *to).unwrap();
    }
    let mut writes = Vec::new();
    let promised = coalescer.writes();
    coalescer.flush(&mut bytes, |to, bytes| writes.push(write_of(to, bytes)));
    assert_eq!(writes.len(), promised);
    writes
}

fn coalesce(frames: &[Vec<u8>]) -> Vec<Write> {
    let frames: Vec<_> = frames.iter().map(|frame| (NET, frame.clone())).collect();
    coalesce_with(&mut Coalescer::new(64, &[]), &frames)
}

fn cut(frame: &[u8], virtio: &Virtio, limit: usize) -> Vec<Vec<u8>> {
    let mut segments = Segments::new(frame, virtio, limit).unwrap();
    let mut all = Vec::new();
    while let Some(len) = segments.next_len() {
        let mut out = vec![0; len];
        segments.write_next(&mut out).unwrap();
        all.push(out);
    }
    all
}

/// A write as the receiving kernel would cut it again.
fn uncoalesce(write: &Write) -> Vec<Vec<u8>> {
    match write.virtio.gso {
        Gso::None => vec![write.frame.clone()],
        Gso::TcpV4 | Gso::TcpV6 | Gso::UdpL4 => cut(&write.frame, &write.virtio, usize::MAX),
    }
}

fn simple() -> Sample {
    Sample {
        v6: false,
        tcp: true,
        macs: [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2],
        tag: None,
        addresses: std::array::from_fn(|n| u8::try_from(n + 10).unwrap()),
        ports: [40_000, 5201],
        tos: 2,
        ttl: 64,
        id: 0xfffe,
        dont_fragment: true,
        ip_options: 0,
        flags: ACK,
        sequence: u32::MAX - 100,
        acknowledgement: 7,
        window: 500,
        tcp_options: vec![1; 12],
        payload: (0..4000u16).map(|n| n.to_be_bytes()[1]).collect(),
        size: 1000,
    }
}

fn segments(sample: &Sample) -> Vec<Vec<u8>> {
    cut(&sample.frame(), &sample.virtio(), 65_535)
}

proptest! {
    #[test]
    fn what_was_cut_joins_to_the_same_super_frame(sample in joinable_sample(20_000), room in 1..1600usize) {
        let headers = sample.head() - sample.l3();
        let limit = headers + room.max(sample.payload.len().div_ceil(MAX_SEGMENTS));
        let frames = cut(&sample.frame(), &sample.virtio(), limit);
        let size = if sample.tcp { sample.size.min(u16::try_from(limit - headers).unwrap()) } else { sample.size };
        let writes = coalesce(&frames);
        prop_assert_eq!(writes.len(), 1);
        if frames.len() == 1 {
            let whole = Virtio { checksum_valid: true, ..Virtio::default() };
            prop_assert_eq!(&writes[0], &Write { to: NET, virtio: whole, frame: sample.finished(), packets: 1 });
        } else {
            let virtio = Virtio { gso_size: size, ..sample.virtio() };
            prop_assert_eq!(&writes[0], &Write { to: NET, virtio, frame: sample.frame(), packets: frames.len() });
        }
    }

    #[test]
    fn whatever_was_cut_comes_back_when_cut_again(sample in any_sample(5000), limit in 0..1600usize) {
        let headers = sample.head() - sample.l3();
        let frames = cut(&sample.frame(), &sample.virtio(), headers + limit.max(50));
        let writes = coalesce(&frames);
        prop_assert_eq!(writes.iter().flat_map(uncoalesce).collect::<Vec<_>>(), frames);
    }

    #[test]
    fn noise_passes_alone_and_never_panics(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..20)) {
        let writes = coalesce(&frames);
        prop_assert_eq!(writes.into_iter().map(|write| write.frame).collect::<Vec<_>>(), frames);
    }

    #[test]
    fn damaged_segments_lose_no_payload(
        sample in joinable_sample(4000),
        damage in prop::collection::vec((0..100usize, 0..120usize, any::<u8>()), 0..6),
        lengths in prop::collection::vec((0..100usize, 0..200usize), 0..3),
    ) {
        let mut frames = segments(&sample);
        for (number, at, value) in damage {
            let number = number % frames.len();
            let at = at % frames[number].len();
            frames[number][at] = value;
        }
        for (number, length) in lengths {
            let number = number % frames.len();
            frames[number].truncate(length);
        }
        let packets: usize = coalesce(&frames).iter().map(|write| write.packets).sum();
        prop_assert_eq!(packets, frames.len());
    }
}

/// What a flow does next.
#[derive(Debug, Clone)]
enum Step {
    Data { flow: usize, len: u16, push: bool },
    Gap { flow: usize },
    Acknowledge { flow: usize },
    OtherWindow { flow: usize },
    Fragment { flow: usize },
    Arp,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flow = || 0..5usize;
    let length = prop::sample::select(vec![100u16, 100, 100, 60]);
    let push = prop::sample::select(vec![false, false, false, true]);
    let step = prop_oneof![
        12 => (flow(), length, push).prop_map(|(flow, len, push)| Step::Data { flow, len, push }),
        1 => flow().prop_map(|flow| Step::Gap { flow }),
        1 => flow().prop_map(|flow| Step::Acknowledge { flow }),
        1 => flow().prop_map(|flow| Step::OtherWindow { flow }),
        1 => flow().prop_map(|flow| Step::Fragment { flow }),
        1 => Just(Step::Arp),
    ];
    prop::collection::vec(step, 1..60)
}

/// The frames of some steps. Flows 0 and 1 have the same Ethernet addresses, 3 and 4 are UDP.
fn play(steps: &[Step]) -> Vec<(Option<usize>, [u8; 12], Vec<u8>)> {
    let mut flows: Vec<Sample> = (0..5u8).map(flow_sample).collect();
    let mut frames = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        let (flow, len, flags) = match step {
            Step::Data { flow, len, push } => (*flow, *len, ACK | if *push { PSH } else { 0 }),
            Step::Gap { flow } => {
                flows[*flow].sequence = flows[*flow].sequence.wrapping_add(1000);
                (*flow, 100, ACK)
            }
            Step::Acknowledge { flow } => (*flow, 0, ACK),
            Step::OtherWindow { flow } => {
                flows[*flow].window ^= 1;
                (*flow, 100, ACK)
            }
            Step::Fragment { flow } => (*flow, 100, ACK),
            Step::Arp => {
                let arp = [[0xff; 6].as_slice(), &[2, 0, 0, 0, 0, 9, 8, 6, number], &[0; 27]].concat();
                frames.push((None, *arp.first_chunk().unwrap(), arp));
                continue;
            }
        };
        let sample = &mut flows[flow];
        (sample.flags, sample.payload) = (flags, vec![number; usize::from(len)]);
        let mut frame = sample.finished();
        sample.sequence = sample.sequence.wrapping_add(u32::from(len));
        sample.id = sample.id.wrapping_add(1);
        let fragment = matches!(step, Step::Fragment { .. }) && !sample.v6;
        if fragment {
            frame[20] |= 0x20;
        }
        frames.push(((!fragment).then_some(flow), sample.macs, frame));
    }
    frames
}

fn flow_sample(n: u8) -> Sample {
    let v6 = n == 2;
    let macs = [2, 0, 0, 0, 0, n / 2, 2, 0, 0, 0, 1, 1];
    Sample { v6, tcp: n < 3, macs, ports: [1000 + u16::from(n), 80], id: 0xffc0, dont_fragment: n == 0, ..simple() }
}

proptest! {
    #[test]
    fn the_order_of_a_flow_is_kept(steps in steps()) {
        let frames = play(&steps);
        let bytes: Vec<_> = frames.iter().map(|(_, _, frame)| frame.clone()).collect();
        let out: Vec<_> = coalesce(&bytes).iter().flat_map(uncoalesce).collect();
        prop_assert_eq!(out.len(), bytes.len());
        let mut from = Vec::new();
        for frame in &out {
            // Two equal frames of one flow (pure acknowledgements aside, payloads are numbered) may stand for each other.
            let at = (0..bytes.len()).find(|at| !from.contains(at) && bytes[*at] == *frame);
            prop_assert!(at.is_some(), "a frame that nobody sent");
            from.extend(at);
        }
        for (place, late) in from.iter().enumerate() {
            for early in &from[..place] {
                let ((flow_a, macs_a, _), (flow_b, macs_b, _)) = (&frames[*early], &frames[*late]);
                let independent = match (flow_a, flow_b) {
                    (Some(a), Some(b)) => a != b,
                    (None, _) | (_, None) => macs_a != macs_b,
                };
                // A frame without a flow never overtakes; one with a flow may be joined to one before it only if nothing
                // of the same addresses lies between.
                prop_assert!(early < late || independent, "{early} left after {late}");
            }
        }
    }
}

#[test]
fn a_change_in_any_field_between_two_segments_keeps_them_apart() {
    let tagged = Sample { tag: Some(5), ..simple() };
    let counting = Sample { dont_fragment: false, ..simple() };
    let six = Sample { v6: true, ..simple() };
    let udp = Sample { tcp: false, ..simple() };
    // Sample, offset of the byte, what the field is. Offsets: Ethernet 0, tag 14, IP 14, TCP 34 (54 over IPv6).
    let fields: &[(&Sample, usize, &str)] = &[
        (&simple(), 5, "destination MAC"),
        (&simple(), 11, "source MAC"),
        (&tagged, 14, "VLAN priority"),
        (&tagged, 15, "VLAN"),
        (&simple(), 15, "DSCP and ECN"),
        (&counting, 19, "identification"),
        (&simple(), 20, "don't fragment"),
        (&simple(), 22, "time to live"),
        (&simple(), 29, "source address"),
        (&simple(), 33, "destination address"),
        (&simple(), 35, "source port"),
        (&simple(), 37, "destination port"),
        (&simple(), 41, "sequence"),
        (&simple(), 45, "acknowledgement"),
        (&simple(), 46, "reserved bits of TCP"),
        (&simple(), 47, "flags"),
        (&simple(), 49, "window"),
        (&simple(), 53, "urgent pointer"),
        (&simple(), 60, "TCP options"),
        (&six, 15, "class and label"),
        (&six, 17, "label"),
        (&six, 20, "next header"),
        (&six, 21, "hop limit"),
        (&six, 37, "source address"),
        (&six, 53, "destination address"),
        (&six, 61, "sequence"),
        (&udp, 35, "source port"),
        (&udp, 37, "destination port"),
        (&udp, 22, "time to live"),
    ];
    for (sample, at, name) in fields {
        let frames = segments(sample);
        assert_eq!(coalesce(&frames[..2]).len(), 1, "{name}: unchanged, they join");
        for bit in 0..8 {
            let mut changed = frames[..2].to_vec();
            changed[1][*at] ^= 1 << bit;
            if *name == "flags" && bit == 3 {
                continue; // PSH may end a super-frame.
            }
            let writes = coalesce(&changed);
            assert_eq!(writes.len(), 2, "{name}, bit {bit}");
            assert_eq!(writes.iter().map(|write| write.frame.clone()).collect::<Vec<_>>(), changed);
        }
    }
}

#[test]
fn two_networks_never_share_a_super_frame() {
    let frames = segments(&simple());
    let mixed = [(NetSlot(1), frames[0].clone()), (NetSlot(2), frames[1].clone()), (NetSlot(1), frames[1].clone())];
    let writes = coalesce_with(&mut Coalescer::new(8, &[]), &mixed);
    assert_eq!(writes.iter().map(|w| (w.to, w.packets)).collect::<Vec<_>>(), [(NetSlot(1), 2), (NetSlot(2), 1)]);
}

#[test]
fn push_and_a_short_segment_end_a_super_frame() {
    let pushed = segments(&Sample { flags: ACK | PSH, payload: vec![1; 2000], ..simple() });
    let more = segments(&Sample {
        sequence: simple().sequence.wrapping_add(2000),
        id: simple().id.wrapping_add(2),
        payload: vec![2; 2500],
        ..simple()
    });
    let all = [pushed, more].concat();
    let writes = coalesce(&all);
    assert_eq!(writes.iter().map(|write| write.packets).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(read(&finish(writes[0].frame.clone(), 34, true)).flags, ACK | PSH);
    let after = segments(&Sample {
        sequence: simple().sequence.wrapping_add(4500),
        id: simple().id.wrapping_add(5),
        payload: vec![3; 2000],
        ..simple()
    });
    assert_eq!(coalesce(&[all, after].concat()).len(), 3, "nothing after a short one");
}

#[test]
fn a_longer_segment_starts_its_own_super_frame() {
    let short = Sample { payload: vec![1; 400], ..simple() };
    let long = Sample { sequence: short.sequence.wrapping_add(400), id: short.id.wrapping_add(1), ..simple() };
    let writes = coalesce(&[vec![short.finished()], segments(&long)].concat());
    assert_eq!(writes.iter().map(|write| write.packets).collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn a_super_frame_has_at_most_64_segments_and_64_kibibytes() {
    let many = segments(&Sample { size: 100, payload: vec![7; 13_000], ..simple() });
    assert_eq!(coalesce(&many).iter().map(|write| write.packets).collect::<Vec<_>>(), [64, 64, 2]);
    for tcp in [true, false] {
        let start = Sample { tcp, size: 1400, payload: vec![7; 44_800], ..simple() };
        let next =
            Sample { id: start.id.wrapping_add(32), sequence: start.sequence.wrapping_add(44_800), ..start.clone() };
        let writes = coalesce(&[segments(&start), segments(&next)].concat());
        assert_eq!(writes.iter().map(|write| write.packets).collect::<Vec<_>>(), [46, 18]);
        assert!(writes.iter().all(|write| write.frame.len() <= 65_535 + 14));
    }
}

#[test]
fn datagrams_of_tunnels_stay_alone() {
    let udp = Sample { tcp: false, ..simple() };
    assert_eq!(coalesce(&segments(&udp)).len(), 1);
    for port in [4789, 8472, 6081, 51820, 7777] {
        for ports in [[port, 9], [9, port]] {
            let frames: Vec<_> = segments(&Sample { ports, ..udp.clone() }).into_iter().map(|f| (NET, f)).collect();
            let writes = coalesce_with(&mut Coalescer::new(8, &[7777]), &frames);
            assert_eq!(writes.len(), frames.len(), "UDP port {port}");
        }
    }
    assert_eq!(coalesce(&segments(&Sample { ports: [4789, 8472], ..simple() })).len(), 1, "TCP is free to use them");
}

#[test]
fn datagrams_without_a_checksum_stay_alone() {
    let mut frames = segments(&Sample { tcp: false, ..simple() });
    for frame in &mut frames {
        frame[40..42].fill(0);
    }
    assert_eq!(coalesce(&frames).into_iter().map(|write| write.frame).collect::<Vec<_>>(), frames);
}

#[test]
fn a_fixed_identification_joins_only_where_it_means_nothing() {
    for (dont_fragment, writes) in [(true, 1), (false, 4)] {
        let sample = Sample { dont_fragment, ..simple() };
        let mut frames = segments(&sample);
        for frame in &mut frames {
            frame[18..20].copy_from_slice(&[0, 0]);
            frame[24..26].fill(0);
            let checksum = Checksum::default().with(&frame[14..34]).value();
            frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        assert_eq!(coalesce(&frames).len(), writes);
        frames[3][19] = if dont_fragment { 1 } else { 2 };
        assert_eq!(coalesce(&frames).len(), writes.max(2), "first fixed, then not: apart");
    }
}

#[test]
fn padding_behind_a_packet_goes_when_it_joins_and_stays_when_alone() {
    let mut frames = segments(&simple());
    for frame in &mut frames {
        frame.extend([0; 9]);
    }
    assert_eq!(coalesce(&frames)[0].frame, simple().frame());
    assert_eq!(coalesce(&frames[..1])[0].frame, frames[0]);
}

#[test]
fn fragments_and_options_close_what_is_open() {
    let frames = segments(&Sample { payload: vec![1; 4000], ..simple() });
    let mut fragment = frames[1].clone();
    fragment[20] |= 0x20;
    let options = Sample { ip_options: 1, ..simple() }.finished();
    let icmp = Sample { ..simple() }.finished().iter().enumerate().map(|(n, b)| if n == 23 { 1 } else { *b }).collect();
    for between in [fragment, options, icmp] {
        let sent = [frames[0].clone(), frames[1].clone(), between, frames[2].clone(), frames[3].clone()];
        let writes = coalesce(&sent);
        assert_eq!(writes.iter().map(|write| write.packets).collect::<Vec<_>>(), [2, 1, 2]);
        assert_eq!(writes[1].frame, sent[2]);
    }
}

#[test]
fn more_flows_than_may_be_open_still_arrive_in_order() {
    let flows: Vec<_> = (0..40u16).map(|n| segments(&Sample { ports: [n, 80], ..simple() })).collect();
    let frames: Vec<_> = (0..4).flat_map(|n| flows.iter().map(move |flow| flow[n].clone())).collect();
    let out: Vec<_> = coalesce(&frames).iter().flat_map(uncoalesce).collect();
    for flow in &flows {
        assert_eq!(
            out.iter().filter(|frame| flow.contains(frame)).collect::<Vec<_>>(),
            flow.iter().collect::<Vec<_>>()
        );
    }
    let few: Vec<_> = (0..4).flat_map(|n| flows[..OPEN_FLOWS].iter().map(move |flow| flow[n].clone())).collect();
    assert_eq!(coalesce(&few).len(), OPEN_FLOWS);
}

#[test]
fn a_coalescer_keeps_its_memory_and_nothing_else_between_batches() {
    let frames: Vec<_> = segments(&simple()).into_iter().map(|frame| (NET, frame)).collect();
    let mut coalescer = Coalescer::new(8, &[]);
    let before = (coalescer.units.capacity(), coalescer.pieces.capacity());
    let first = coalesce_with(&mut coalescer, &frames);
    for _ in 0..50 {
        assert_eq!(coalesce_with(&mut coalescer, &frames), first);
        assert!(coalesce_with(&mut coalescer, &[]).is_empty());
    }
    assert_eq!((coalescer.units.capacity(), coalescer.pieces.capacity()), before);
}

#[test]
fn a_frame_outside_the_batch_or_without_room_in_front_is_refused() {
    let mut coalescer = Coalescer::new(8, &[]);
    let bytes = [0; 100];
    for (start, end) in [(HEADROOM - 1, 80), (20, 101), (101, 110), (60, 40), (usize::MAX, usize::MAX)] {
        assert!(coalescer.push(&bytes, start..end, NET).is_err(), "{start}..{end}");
    }
    assert_eq!(coalescer.writes(), 0);
    coalescer.push(&bytes, HEADROOM..100, NET).unwrap();
    assert_eq!(coalescer.writes(), 1);
}
