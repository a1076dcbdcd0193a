use super::*;
use crate::forward::coalesce::{Coalescer, HEADROOM};
use crate::wire::ip::{Ipv4, TCP};
use crate::wire::sum::Sum;

/// A TCP packet of a flow with right checksums.
fn packet(id: u16, sequence: u32, payload: usize) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0]);
    frame.resize(54, 0);
    let total = u16::try_from(40 + payload).unwrap();
    let (source, destination) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let (tos, offset, options, ttl) = (0, 0, 0, 64);
    let (dont_fragment, more_fragments, protocol) = (true, false, TCP);
    let ip =
        Ipv4 { options, tos, total, id, dont_fragment, more_fragments, offset, ttl, protocol, source, destination };
    ip.emit(&mut frame[14..]).unwrap();
    frame[38..42].copy_from_slice(&sequence.to_be_bytes());
    frame[46..48].copy_from_slice(&[0x50, 0x10]);
    frame.extend((0..payload).map(|n| (n * 7 / 3).to_le_bytes()[0]));
    let sum = Sum::default().with(&frame[26..34]).word(TCP.into()).word(total - 20).with(&frame[34..]);
    frame[50..52].copy_from_slice(&sum.checksum().to_be_bytes());
    frame
}

#[test]
fn a_super_frame_that_a_tap_refuses_is_cut_into_what_it_was_joined_from() {
    let packets = [packet(7, 1000, 1300), packet(8, 2300, 1300), packet(9, 3600, 77)];
    let (mut batch, mut coalescer) = (Vec::new(), Coalescer::new(64, &[]));
    let mut ranges = Vec::new();
    for packet in &packets {
        batch.resize(batch.len() + HEADROOM, 0);
        ranges.push(batch.len()..batch.len() + packet.len());
        batch.extend(packet);
    }
    for range in ranges {
        coalescer.push(&batch, range, NetSlot(0)).unwrap();
    }
    let (mut scratch, mut writes, mut frames) = (Buf::default(), 0, Vec::new());
    coalescer.flush(&mut batch, |_, headed| {
        writes += 1;
        assert!(kind(&mut Writes::ALL.clone(), headed).is_some());
        cut(headed, scratch.space(), |frame| frames.push(frame.to_vec()));
    });
    assert_eq!(writes, 1);
    assert!(frames == packets, "the very packets come back");
}

#[test]
fn a_frame_that_is_no_super_frame_stays_as_it_is() {
    let headed = [vec![0; Virtio::LEN], packet(7, 1, 100)].concat();
    let mut frames = Vec::new();
    assert!(kind(&mut Writes::ALL.clone(), &headed).is_none());
    cut(&headed, Buf::default().space(), |frame| frames.push(frame.to_vec()));
    assert_eq!(frames, [packet(7, 1, 100)]);
}

#[test]
fn a_kind_of_super_frame_that_was_refused_says_nothing_about_the_other_kind() {
    let of = |gso| {
        let mut headed = vec![0; Virtio::LEN];
        Virtio { gso, ..Virtio::default() }.emit(&mut headed).unwrap();
        headed
    };
    let mut takes = Writes::ALL;
    *kind(&mut takes, &of(Gso::UdpL4)).unwrap() = false;
    assert_eq!(takes, Writes { tcp: true, udp: false }, "Linux before 6.2");
    *kind(&mut takes, &of(Gso::TcpV6)).unwrap() = false;
    assert_eq!(kind(&mut takes, &of(Gso::TcpV4)), Some(&mut false));
}
