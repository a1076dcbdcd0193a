//! The program run by a small machine of its own, on every kind of frame.

use std::collections::BTreeMap;

use super::super::asm::Step;
use super::*;

/// Where the machine has what the program may look at.
const STACK_TOP: u64 = 0x1000_0200;
const KERNEL: u64 = 0x2000_0000;
const CONTEXT: u64 = 0x3000_0000;
const VALUES: u64 = 0x4000_0000;
/// Where the buffer of the packet is, and the Ethernet header in it.
const BUFFER: u64 = 0xffff_8880_0000_0000;
const ROOM: u64 = 130;
const INTERFACE: u32 = 7;

const PLACES: Places = Places { cast: 4711, summed: (3, 3 << 5, 3 << 5), fields: [8, 10, 16, 24] };

struct Machine<'a> {
    frame: &'a [u8],
    memory: BTreeMap<u64, u8>,
    /// Values by key; the address of one is [`VALUES`] and eight times the key.
    counts: &'a mut BTreeMap<u32, u64>,
}

impl Machine<'_> {
    fn load(&self, at: u64, length: u64) -> u64 {
        if (VALUES..VALUES + 0x1000).contains(&at) {
            return self.counts[&u32::try_from((at - VALUES) / 8).unwrap()];
        }
        (0..length).map(|i| u64::from(self.memory.get(&(at + i)).copied().expect("it is there")) << (8 * i)).sum()
    }

    fn store(&mut self, at: u64, length: u64, value: u64) {
        if (VALUES..VALUES + 0x1000).contains(&at) {
            self.counts.insert(u32::try_from((at - VALUES) / 8).unwrap(), value);
            return;
        }
        for i in 0..length {
            self.memory.insert(at + i, value.to_le_bytes()[usize::try_from(i).unwrap()]);
        }
    }

    fn call(&mut self, step: Step, r: [u64; 11]) -> u64 {
        match (step.source, step.number) {
            (2, 4711) => KERNEL,
            (0, 26) => {
                let (from, length) = (usize::try_from(r[2]).unwrap(), usize::try_from(r[4]).unwrap());
                let Some(bytes) = self.frame.get(from..from + length) else { return u64::MAX };
                for (i, byte) in (0..).zip(bytes) {
                    self.memory.insert(r[3] + i, *byte);
                }
                0
            }
            (0, 1) => {
                let key = u32::try_from(self.load(r[2], 4)).unwrap();
                if self.counts.contains_key(&key) { VALUES + 8 * u64::from(key) } else { 0 }
            }
            (0, 2) => {
                let key = u32::try_from(self.load(r[2], 4)).unwrap();
                let value = self.load(r[3], 8);
                self.counts.insert(key, value);
                0
            }
            other => panic!("{other:?}"),
        }
    }

    fn run(&mut self, code: &[Step]) -> i32 {
        let (mut r, mut at) = ([0_u64; 11], 0);
        (r[1], r[10]) = (CONTEXT, STACK_TOP);
        loop {
            let step = code[at];
            let (target, source) = (usize::from(step.target), usize::from(step.source));
            at += 1;
            let number = i64::from(step.number).cast_unsigned();
            let with = if step.code & 8 == 0 { number } else { r[source] };
            let width = match step.code & 0x18 {
                0 => 4,
                0x08 => 2,
                0x10 => 1,
                _ => 8,
            };
            let (to, from) = [target, source].map(|reg| r[reg].wrapping_add_signed(step.offset.into())).into();
            match (step.code & 7, step.code) {
                (0, 0x18) => {
                    r[target] = number;
                    at += 1;
                }
                (1, _) => r[target] = self.load(from, width),
                (2, _) => self.store(to, width, number),
                (3, 0xdb) => self.store(to, 8, self.load(to, 8) + r[source]),
                (3, _) => self.store(to, width, r[source]),
                (5, 0x95) => return i32::try_from(r[0].cast_signed()).unwrap(),
                (5, 0x85) => r[0] = self.call(step, r),
                (5, code) => {
                    let left = r[target];
                    let jumps = match code & 0xf0 {
                        0 => true,
                        0x10 => left == with,
                        0x50 => left != with,
                        0x70 => left.cast_signed() >= with.cast_signed(),
                        0xa0 => left < with,
                        other => panic!("{other:x}"),
                    };
                    if jumps {
                        at = at.checked_add_signed(step.offset.into()).unwrap();
                    }
                }
                (7, code) => {
                    r[target] = match code & 0xf0 {
                        0 => r[target].wrapping_add(with),
                        0x10 => r[target].wrapping_sub(with),
                        0x50 => r[target] & with,
                        0x60 => r[target] << with,
                        0x70 => r[target] >> with,
                        0xb0 => with,
                        other => panic!("{other:x}"),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What becomes of a frame whose checksum is open from `start` on and goes to `offset` behind that; `summed` is the kernel's word for
/// what is known of its checksum.
fn verdict(frame: &[u8], summed: u8, start: i64, offset: u16, counts: &mut BTreeMap<u32, u64>) -> i32 {
    verdict_cut(frame, 0, summed, start, offset, counts)
}

/// The same of one that is to be cut into parts of `size` bytes.
fn verdict_cut(frame: &[u8], size: u32, summed: u8, start: i64, offset: u16, counts: &mut BTreeMap<u32, u64>) -> i32 {
    run(frame, (size, 0), summed, (start, offset), counts).0
}

/// Of one that has a priority already, also which it has then.
fn run(
    frame: &[u8],
    (size, priority): (u32, u32),
    summed: u8,
    (start, offset): (i64, u16),
    counts: &mut BTreeMap<u32, u64>,
) -> (i32, u32) {
    let mut machine = Machine { frame, memory: BTreeMap::new(), counts };
    machine.store(KERNEL + 3, 1, u64::from(summed) << 5 | 0x1f);
    machine.store(KERNEL + 8, 2, ROOM.checked_add_signed(start).unwrap());
    machine.store(KERNEL + 10, 2, offset.into());
    machine.store(KERNEL + 16, 8, BUFFER);
    machine.store(KERNEL + 24, 8, BUFFER + ROOM);
    machine.store(CONTEXT + 40, 4, INTERFACE.into());
    machine.store(CONTEXT + 32, 4, priority.into());
    machine.store(CONTEXT + 176, 4, size.into());
    machine.store(CONTEXT, 4, u64::try_from(frame.len()).unwrap());
    let kind = [3, 2, 1][usize::from(frame[0] & 1) + usize::from(frame[..6] == [0xff; 6])];
    machine.store(CONTEXT + 4, 4, kind);
    let code = program(&PLACES, 3).unwrap();
    let verdict = machine.run(&code);
    (verdict, u32::try_from(machine.load(CONTEXT + 32, 4)).unwrap())
}

/// A frame with these types before its packet.
fn frame(tags: &[u16], kind: u16, packet: &[u8]) -> Vec<u8> {
    let mut out = vec![2; 12];
    for tag in tags {
        out.extend([tag.to_be_bytes(), [0, 5]].concat());
    }
    out.extend(kind.to_be_bytes());
    out.extend(packet);
    out.extend([0; 80]);
    out
}

fn four(words: u8, fragment: u16, protocol: u8) -> Vec<u8> {
    let mut out = vec![0; usize::from(words) * 4];
    out[0] = 0x40 | words;
    out[6..8].copy_from_slice(&fragment.to_be_bytes());
    out[9] = protocol;
    out
}

/// Extension headers by kind and length, 8 bytes and more, and the protocol behind them.
fn six(extensions: &[(u8, u8)], protocol: u8) -> Vec<u8> {
    let mut out = vec![0; 40];
    out[0] = 0x60;
    out[6] = extensions.first().map_or(protocol, |(kind, _)| *kind);
    for (i, (_, more)) in extensions.iter().enumerate() {
        let next = extensions.get(i + 1).map_or(protocol, |(kind, _)| *kind);
        out.extend([next, *more]);
        out.extend(vec![0; 6 + 8 * usize::from(*more)]);
    }
    out
}

/// Frames with where their upper header begins, and its protocol.
fn right() -> Vec<(&'static str, Vec<u8>, usize, u8)> {
    let mut all = Vec::new();
    for protocol in [6, 17, 132] {
        for (tags, more) in [(&[][..], 0), (&[0x8100], 4), (&[0x88a8, 0x8100], 8)] {
            all.push(("IPv4", frame(tags, IPV4, &four(5, 0, protocol)), 34 + more, protocol));
            all.push(("IPv4 with options", frame(tags, IPV4, &four(15, 0x4000, protocol)), 74 + more, protocol));
            all.push(("IPv6", frame(tags, IPV6, &six(&[], protocol)), 54 + more, protocol));
            let options = six(&[(0, 0), (43, 2), (60, 1)], protocol);
            all.push(("IPv6 with headers", frame(tags, IPV6, &options), 54 + 8 + 24 + 16 + more, protocol));
            let atomic = six(&[(44, 0)], protocol);
            all.push(("an atomic fragment", frame(tags, IPV6, &atomic), 62 + more, protocol));
            let most = six(&[(60, 0); EXTENSIONS], protocol);
            all.push(("as many headers as are walked", frame(tags, IPV6, &most), 54 + 64 + more, protocol));
        }
    }
    all
}

fn place(protocol: u8) -> u16 {
    match protocol {
        6 => 16,
        17 => 6,
        _ => 8,
    }
}

fn signed(place: usize) -> i64 {
    i64::try_from(place).unwrap()
}

#[test]
fn what_leaves_no_checksum_open_passes_whatever_else_it_says() {
    for summed in [0, 1, 2] {
        for (_, bytes, ..) in right() {
            let mut counts = BTreeMap::new();
            assert_eq!(verdict(&bytes, summed, 3, 1, &mut counts), NEXT);
            assert!(counts.is_empty());
        }
    }
}

#[test]
fn an_open_checksum_has_one_place_in_each_frame() {
    let mut counts = BTreeMap::new();
    let mut dropped = 0;
    for (what, bytes, upper, protocol) in right() {
        let right = place(protocol);
        assert_eq!(verdict(&bytes, 3, signed(upper), right, &mut counts), NEXT, "{what}, {protocol}");
        let behind_udp = |start: i64| protocol == 17 && start >= signed(upper) + 28;
        for start in -8..signed(upper) + 40 {
            for offset in [0, 1, 2, 6, 7, 8, 10, 16, 17, 40] {
                if start == signed(upper) && offset == right || behind_udp(start) {
                    continue;
                }
                let found = verdict(&bytes, 3, start, offset, &mut counts);
                assert_eq!(found, DROP, "{what}, {protocol}: {start} + {offset}");
                dropped += 1;
            }
        }
    }
    assert_eq!(counts, BTreeMap::from([(0, dropped), (INTERFACE, dropped)]));
}

#[test]
fn what_a_guests_own_tunnel_carries_has_its_checksums_inside() {
    let mut counts = BTreeMap::new();
    for (protocol, least) in [(4, 20), (41, 20), (47, 20), (17, 28)] {
        for (bytes, upper) in
            [(frame(&[], IPV4, &four(5, 0, protocol)), 34), (frame(&[0x8100], IPV6, &six(&[(60, 0)], protocol)), 66)]
        {
            for offset in [0, 6, 16] {
                assert_eq!(verdict(&bytes, 3, upper + least, offset, &mut counts), NEXT, "{protocol}");
                assert_eq!(verdict(&bytes, 3, upper + least + 51, offset, &mut counts), NEXT, "{protocol}");
                assert_eq!(verdict(&bytes, 3, upper + least - 1, offset, &mut counts), DROP, "{protocol}");
            }
        }
    }
}

#[test]
fn where_nothing_of_tcp_udp_or_sctp_is_no_checksum_is_open() {
    let many = six(&[(60, 0); EXTENSIONS + 1], 17);
    let wrong = [
        ("ARP", frame(&[], 0x0806, &[0; 28])),
        ("three tags", frame(&[0x8100; 3], IPV4, &four(5, 0, 17))),
        ("a length for a type", frame(&[], 46, &four(5, 0, 17))),
        ("ICMP", frame(&[], IPV4, &four(5, 0, 1))),
        ("ICMPv6", frame(&[], IPV6, &six(&[], 58))),
        ("ESP", frame(&[], IPV4, &four(5, 0, 50))),
        ("a first fragment", frame(&[], IPV4, &four(5, 0x2000, 17))),
        ("a later fragment", frame(&[], IPV4, &four(5, 1, 17))),
        ("a short IPv4 header", frame(&[], IPV4, &[&[0x44][..], &four(5, 0, 17)[1..]].concat())),
        ("IPv6 by the type of IPv4", frame(&[], IPV4, &six(&[], 17))),
        ("IPv4 by the type of IPv6", frame(&[], IPV6, &four(5, 0, 17))),
        ("more headers than are walked", frame(&[], IPV6, &many)),
        ("less than a type", vec![2; 13]),
        ("less than IPv4", [&[2; 12][..], &[8, 0, 0x45, 0, 0]].concat()),
    ];
    let mut counts = BTreeMap::new();
    let mut fragment = frame(&[], IPV6, &six(&[(44, 0)], 17));
    for place in [vec![0, 1], vec![0, 8], vec![0xff, 0xf8]] {
        fragment[56..58].copy_from_slice(&place);
        for start in [54, 62] {
            assert_eq!(verdict(&fragment, 3, start, 6, &mut counts), DROP, "an IPv6 fragment");
        }
    }
    for (what, bytes) in wrong {
        for start in [0, 14, 34, 38, 54, 54 + 72] {
            for offset in [0, 6, 16] {
                assert_eq!(verdict(&bytes, 3, start, offset, &mut counts), DROP, "{what}: {start} + {offset}");
            }
        }
    }
}

#[test]
fn this_kernel_describes_itself_or_has_no_description() {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        eprintln!("SKIPPED: this kernel has no BTF");
        return;
    };
    let places = Places::find(&Types::read(&bytes).unwrap()).unwrap();
    assert!(places.cast > 0 && places.fields.iter().all(|at| *at > 0), "{places:?}");
}

/// An IP header, and UDP to a port.
fn udp(mut header: Vec<u8>, port: u16) -> Vec<u8> {
    header.extend([5000_u16.to_be_bytes(), port.to_be_bytes(), [0, 0], [0, 0]].concat());
    header
}

#[test]
fn what_is_to_be_cut_is_no_fragment_and_no_message_that_is_judged_by_its_first_byte() {
    let mut counts = BTreeMap::new();
    for tags in [&[][..], &[VLAN]] {
        let at = 14 + 4 * i64::try_from(tags.len()).unwrap();
        for (size, cut) in [(0, false), (256, true)] {
            let mut verdict = |kind: u16, packet: &[u8], open: Option<i64>| {
                let (summed, start) = open.map_or((1, 0), |header| (3, at + header));
                verdict_cut(&frame(tags, kind, packet), size, summed, start, 6, &mut counts)
            };
            let expected = if cut { DROP } else { NEXT };
            for port in [9, 53, 68, 546, 67, 547] {
                let judged = if [67, 547].contains(&port) { expected } else { NEXT };
                assert_eq!(verdict(IPV4, &udp(four(5, 0, 17), port), Some(20)), judged, "{port}, open");
                assert_eq!(verdict(IPV4, &udp(four(5, 0, 17), port), None), judged, "{port}");
                assert_eq!(verdict(IPV6, &udp(six(&[], 17), port), Some(40)), judged, "{port}, IPv6, open");
                assert_eq!(verdict(IPV6, &udp(six(&[(0, 0)], 17), port), None), judged, "{port}, IPv6");
            }
            for fragment in [1, 2, 64, 0x2000, 0x2001, 0x1fff] {
                assert_eq!(verdict(IPV4, &udp(four(5, fragment, 17), 9), None), expected, "{fragment:x}");
            }
            // TCP that is cut and has its checksum.
            assert_eq!(verdict(IPV4, &four(5, 0, 6), None), NEXT);
        }
    }
}

#[test]
fn what_is_to_be_cut_is_for_nobody_but_one_and_becomes_no_more_frames_than_a_filter_may_count_as_one() {
    let mut counts = BTreeMap::new();
    let mut verdict = |to: u8, size: u32, payload: usize| {
        let packet = [four(5, 0, 6), vec![0; payload]].concat();
        let mut frame = frame(&[], IPV4, &packet);
        frame[..6].fill(to);
        let len = u32::try_from(frame.len()).unwrap();
        (verdict_cut(&frame, size, 3, 34, 16, &mut counts), len)
    };
    for (to, whole, cut) in [(2, NEXT, NEXT), (3, NEXT, DROP), (0xff, NEXT, DROP)] {
        assert_eq!(verdict(to, 0, 1000).0, whole, "{to:x}");
        assert_eq!(verdict(to, 500, 1000).0, cut, "{to:x}");
    }
    for (size, payload) in [(1, 3000), (16, 60_000), (100, 13_000), (400, 64_000)] {
        assert_eq!(verdict(2, size, payload).0, DROP, "{size}");
    }
    for (size, payload) in [(1, 100), (100, 12_800), (512, 65_000), (1448, 65_000)] {
        assert_eq!(verdict(2, size, payload).0, NEXT, "{size}");
    }
    let (_, len) = verdict(2, 10, 128 * 10 + 142);
    assert_eq!(len, 128 * 10 + 256, "the frame has as many bytes of headers and padding as are allowed");
    assert_eq!([0, 1].map(|more| verdict(2, 10, 128 * 10 + 142 + more).0), [NEXT, DROP]);
}

#[test]
fn what_is_to_be_cut_and_is_not_tcp_bears_a_sign_where_its_length_is_compared() {
    let mut counts = BTreeMap::new();
    let mut priority = |packet: Vec<u8>, size: u32, before: u32, offset: u16| {
        let frame = frame(&[], if packet[0] >> 4 == 6 { IPV6 } else { IPV4 }, &packet);
        let start = if packet[0] >> 4 == 6 { 54 } else { 34 };
        let (verdict, after) = run(&frame, (size, before), 3, (start, offset), &mut counts);
        assert_eq!(verdict, NEXT);
        after
    };
    // The helper puts 80 bytes behind.
    let datagram = |length: usize| [udp(four(5, 0, 17), 443), vec![0; length - 28 - 80]].concat();
    assert_eq!(priority(datagram(12_000), 1200, 0, 6), TO_BE_CUT);
    assert_eq!(priority([udp(six(&[], 17), 443), vec![0; 3000]].concat(), 1200, 0, 6), TO_BE_CUT);
    assert_eq!(priority(datagram(12_000), 0, 0, 6), 0, "it is one");
    assert_eq!(priority(datagram(12_000), 1200, 7, 6), 7, "somebody else's");
    let least = usize::from(IPV6_LEAST);
    assert_eq!([0, 1].map(|more| priority(datagram(least + more), 600, 0, 6)), [0, TO_BE_CUT]);
    assert_eq!(priority([four(5, 0, 6), vec![0; 12_000]].concat(), 1200, 0, 16), 0, "TCP is not compared");
}

#[test]
fn the_checksum_of_gre_is_one() {
    let mut counts = BTreeMap::new();
    for (kind, packet, header) in [(IPV4, four(5, 0, 47), 34), (IPV6, six(&[(60, 0)], 47), 62)] {
        let frame = frame(&[], kind, &packet);
        assert_eq!(verdict(&frame, 3, header, 4, &mut counts), NEXT);
        for (start, offset) in [(header, 2), (header, 6), (header - 4, 4), (header + 4, 4)] {
            assert_eq!(verdict(&frame, 3, start, offset, &mut counts), DROP, "{start} {offset}");
        }
    }
}
