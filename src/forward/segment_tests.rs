//! Each segment is a right packet, and together they are the frame.

use proptest::prelude::*;

use super::super::sample_tests::{ACK, CWR, FIN, PSH, Sample, any_sample, finish, read};
use super::{Segments, Whole, finish_checksum};
use crate::wire::Header;
use crate::wire::virtio::{Gso, Virtio};

/// All segments, each written into a buffer with noise in it.
fn cut(mut segments: Segments<'_>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(len) = segments.next_len() {
        let mut out = vec![0xa5; len + 7];
        assert_eq!(segments.write_next(&mut out), Some(len));
        assert_eq!(out[len..], [0xa5; 7], "nothing is written behind the segment");
        out.truncate(len);
        all.push(out);
    }
    assert_eq!(segments.write_next(&mut [0; 2000]), None);
    assert_eq!(segments.count(), 0);
    all
}

fn simple() -> Sample {
    Sample {
        v6: false,
        tcp: true,
        macs: [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2],
        tag: None,
        addresses: [10; 32],
        ports: [40_000, 5201],
        tos: 0,
        ttl: 64,
        id: 0xffff,
        dont_fragment: true,
        ip_options: 0,
        flags: ACK | PSH,
        sequence: u32::MAX - 100,
        acknowledgement: 7,
        window: 500,
        tcp_options: vec![1; 12],
        payload: (0..4000u16).map(|n| n.to_be_bytes()[1]).collect(),
        size: 1448,
    }
}

proptest! {
    #[test]
    fn segments_are_right_packets_that_add_up_to_the_frame(sample in any_sample(20_000), room in 1..1600usize, pad in 0..3usize) {
        let mut frame = sample.frame();
        frame.extend(vec![0; pad]);
        let headers = sample.head() - sample.l3();
        let limit = headers + room.max(sample.payload.len() / 200);
        let segments = Segments::new(&frame, &sample.virtio(), limit).unwrap();
        let (count, packet_len) = (segments.count(), segments.packet_len());
        let seen: Vec<_> = cut(segments).iter().map(|segment| read(segment)).collect();
        prop_assert_eq!(seen.len(), count);
        prop_assert_eq!(seen.iter().map(|seen| seen.packet).max(), Some(packet_len));
        let size = match sample.tcp {
            true => usize::from(sample.size).min(limit - headers),
            false => usize::from(sample.size),
        };
        let original = read(&sample.finished());
        let mut done = 0;
        for (number, seen) in seen.iter().enumerate() {
            let (first, last) = (number == 0, number + 1 == count);
            prop_assert_eq!(&seen.constant, &original.constant);
            prop_assert_eq!(seen.payload.len(), size.min(sample.payload.len() - done));
            prop_assert_eq!(&seen.payload, &sample.payload[done..done + seen.payload.len()]);
            if sample.tcp {
                let lost = if last { 0 } else { FIN | PSH } | if first { 0 } else { CWR };
                prop_assert_eq!(seen.flags, sample.flags & !lost);
                prop_assert_eq!(seen.sequence, sample.sequence.wrapping_add(u32::try_from(done).unwrap()));
            }
            if !sample.v6 {
                prop_assert_eq!(seen.id, sample.id.wrapping_add(u16::try_from(number).unwrap()));
            }
            done += seen.payload.len();
        }
        prop_assert_eq!(done, sample.payload.len());
    }

    #[test]
    fn noise_never_panics(frame in prop::collection::vec(any::<u8>(), 0..200), header in any::<[u8; 10]>(), limit in 0..3000usize) {
        if let Ok(virtio) = Virtio::parse(&header) {
            let _ = Segments::new(&frame, &virtio, limit).map(cut);
            let mut frame = frame;
            let _ = finish_checksum(&mut frame, &virtio);
        }
    }

    #[test]
    fn a_damaged_super_frame_is_cut_or_passes_whole(
        sample in any_sample(3000),
        damage in prop::collection::vec((0..150usize, any::<u8>()), 1..4),
        length in 0..3200usize,
        limit in 0..3000usize,
        size in any::<u16>(),
    ) {
        let mut frame = sample.frame();
        for (at, value) in damage {
            let at = at % frame.len();
            frame[at] = value;
        }
        frame.truncate(length.max(1));
        let virtio = Virtio { gso_size: size, ..sample.virtio() };
        if let Ok(segments) = Segments::new(&frame, &virtio, limit) {
            let payload: usize = cut(segments.clone()).iter().map(Vec::len).sum();
            prop_assert!(payload >= segments.count());
            prop_assert!(!sample.tcp || segments.packet_len() <= limit);
        }
    }

    #[test]
    fn a_checksum_left_to_the_interface_is_finished(sample in any_sample(1500)) {
        let mut frame = sample.frame();
        let virtio = Virtio { gso: Gso::None, gso_size: 0, ..sample.virtio() };
        prop_assert_eq!(Segments::new(&frame, &virtio, 1400).unwrap_err(), Whole::NotGso);
        finish_checksum(&mut frame, &virtio).unwrap();
        read(&frame);
        prop_assert_eq!(frame, finish(sample.frame(), sample.l4(), sample.tcp));
    }
}

#[test]
fn a_guest_with_a_large_mtu_is_cut_to_what_the_path_carries() {
    let sample = simple();
    let frame = sample.frame();
    let cut_at = |limit| Segments::new(&frame, &sample.virtio(), limit).unwrap().packet_len();
    assert_eq!(cut_at(1400), 1400);
    assert_eq!(cut_at(1350), 1350);
    assert_eq!(cut_at(9000), 1500, "the receiver has announced its MSS: never more");
}

#[test]
fn datagrams_are_messages_and_keep_their_size() {
    let sample = Sample { tcp: false, size: 1400, ..simple() };
    let frame = sample.frame();
    let segments = Segments::new(&frame, &sample.virtio(), 1000).unwrap();
    assert_eq!((segments.count(), segments.packet_len()), (3, 1428));
}

#[test]
fn sixty_four_kibibytes_are_cut() {
    let sample = Sample { payload: vec![0xff; 65_535 - 52], ..simple() };
    let frame = sample.frame();
    let all = cut(Segments::new(&frame, &sample.virtio(), 1400).unwrap());
    assert_eq!(all.len(), 49);
    assert!(all.iter().all(|segment| read(segment).packet <= 1400));
}

#[test]
fn a_buffer_that_is_too_short_loses_nothing() {
    let sample = simple();
    let frame = sample.frame();
    let mut segments = Segments::new(&frame, &sample.virtio(), 1400).unwrap();
    let len = segments.next_len().unwrap();
    assert_eq!(segments.write_next(&mut vec![0; len - 1]), None);
    let mut out = vec![0; len];
    assert_eq!(segments.write_next(&mut out), Some(len));
    assert_eq!(read(&out).sequence, sample.sequence);
}

#[test]
fn the_hint_about_the_length_of_headers_is_not_believed() {
    let sample = simple();
    let frame = sample.frame();
    let right = cut(Segments::new(&frame, &sample.virtio(), 1400).unwrap());
    for hdr_len in [0, 14, 1000, u16::MAX] {
        let virtio = Virtio { hdr_len, ..sample.virtio() };
        assert_eq!(cut(Segments::new(&frame, &virtio, 1400).unwrap()), right);
    }
}

#[test]
fn a_header_that_contradicts_its_frame_lets_it_pass_whole() {
    let sample = simple();
    let frame = sample.frame();
    let right = sample.virtio();
    for wrong in [
        Virtio { gso: Gso::TcpV6, ..right },
        Virtio { gso: Gso::UdpL4, ..right },
        Virtio { gso_size: 0, ..right },
        Virtio { needs_checksum: false, ..right },
        Virtio { csum_start: right.csum_start + 4, ..right },
        Virtio { csum_start: 20, ..right },
        Virtio { csum_offset: 6, ..right },
    ] {
        assert_eq!(Segments::new(&frame, &wrong, 1400).unwrap_err(), Whole::Header, "{wrong:?}");
    }
}

#[test]
fn unknown_shapes_pass_whole() {
    let sample = simple();
    let damaged = |at: usize, value: u8| {
        let mut frame = sample.frame();
        frame[at] = value;
        Segments::new(&frame, &sample.virtio(), 1400).unwrap_err()
    };
    assert_eq!(damaged(12, 0x88), Whole::Shape, "not IP");
    assert_eq!(damaged(14, 0x44), Whole::Shape, "header length");
    assert_eq!(damaged(20, 0x20), Whole::Shape, "more fragments");
    assert_eq!(damaged(21, 1), Whole::Shape, "fragment offset");
    assert_eq!(damaged(23, 47), Whole::Shape, "GRE");
    assert_eq!(damaged(16, 0xff), Whole::Shape, "longer than the frame");
    assert_eq!(damaged(46, 0x40), Whole::Shape, "TCP header length");
    let empty = Sample { payload: Vec::new(), ..simple() };
    assert_eq!(Segments::new(&empty.frame(), &empty.virtio(), 1400).unwrap_err(), Whole::Shape);
    let mut twice = sample.frame();
    twice.splice(12..12, [0x81, 0, 0, 5, 0x81, 0, 0, 6]);
    assert_eq!(Segments::new(&twice, &sample.virtio(), 1400).unwrap_err(), Whole::Shape, "two tags");
    let mut jumbo = Sample { v6: true, ..simple() }.frame();
    jumbo[18..20].fill(0);
    assert_eq!(Segments::new(&jumbo, &sample.virtio(), 1400).unwrap_err(), Whole::Shape, "jumbogram");
    assert_eq!(Segments::new(&[], &sample.virtio(), 1400).unwrap_err(), Whole::Shape);
}

#[test]
fn flags_that_must_not_be_repeated_let_it_pass_whole() {
    for flag in [0x02, 0x04, 0x20] {
        let sample = Sample { flags: ACK | flag, ..simple() };
        assert_eq!(Segments::new(&sample.frame(), &sample.virtio(), 1400).unwrap_err(), Whole::Flags);
    }
}

#[test]
fn a_path_without_room_for_a_byte_is_refused() {
    let sample = simple();
    let error = Segments::new(&sample.frame(), &sample.virtio(), 52).unwrap_err();
    assert_eq!(error, Whole::Limit { limit: 52, headers: 52 });
    assert_eq!(cut(Segments::new(&sample.frame(), &sample.virtio(), 53).unwrap()).len(), 4000);
}

#[test]
fn a_checksum_field_outside_the_frame_is_refused() {
    let mut frame = [7; 60];
    for (csum_start, csum_offset) in [(61, 0), (60, 0), (34, 25), (u16::MAX, u16::MAX)] {
        let virtio = Virtio { needs_checksum: true, csum_start, csum_offset, ..Virtio::default() };
        assert!(finish_checksum(&mut frame, &virtio).is_err());
    }
    finish_checksum(&mut frame, &Virtio::default()).unwrap();
    assert_eq!(frame, [7; 60]);
}
