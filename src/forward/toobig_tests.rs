use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::sample_tests::{Sample, any_sample};
use super::*;
use crate::wire::nd::checksum_holds;

const FROM: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 1);
const TO: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 4);
const FROM6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const TO6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 4);

/// A datagram that may not be cut, between hosts.
fn large(sample: Sample, size: usize) -> Sample {
    let mut addresses = [0; 32];
    if sample.v6 {
        addresses[..16].copy_from_slice(&FROM6.octets());
        addresses[16..].copy_from_slice(&TO6.octets());
    } else {
        addresses[..4].copy_from_slice(&FROM.octets());
        addresses[4..8].copy_from_slice(&TO.octets());
    }
    let mut macs = sample.macs;
    macs[0] &= 0xfe;
    macs[6] &= 0xfe;
    let tag = sample.tag.map(|tag| tag & 0xe7ff);
    Sample { addresses, macs, tag, dont_fragment: true, payload: vec![0x5a; size], ..sample }
}

fn judged(frame: &[u8]) -> Verdict {
    let view = View::parse(frame).unwrap();
    judge(&view, frame, frame.len() - view.network)
}

proptest! {
    #[test]
    fn the_answer_comes_from_the_destination_quotes_the_packet_and_holds(
        sample in any_sample(1), size in 1300..9000usize, mtu in 576..1400u16,
    ) {
        let sample = large(sample, size);
        let frame = sample.finished();
        let view = View::parse(&frame).unwrap();
        let Verdict::Tell(told) = judged(&frame) else { panic!("{:?}", judged(&frame)) };
        let mut buf = Buf::default();
        buf.copy_from(&frame);
        answer(&mut buf, &view, told, mtu).unwrap();
        let (out, l3) = (buf.bytes(), sample.l3());
        prop_assert_eq!(&out[..6], &frame[6..12]);
        prop_assert_eq!(&out[6..12], &frame[..6]);
        prop_assert_eq!(&out[12..l3], &frame[12..l3], "tag and EtherType stay");
        let packet = &out[l3..];
        let quote = if sample.v6 {
            prop_assert_eq!(packet.len(), 1280);
            let (header, message) = Ipv6::split(packet).unwrap();
            prop_assert_eq!((header.source, header.destination, header.next), (TO6, FROM6, ip::ICMPV6));
            prop_assert_eq!(usize::from(header.payload), message.len());
            prop_assert!(checksum_holds(message, TO6, FROM6));
            let said = PacketTooBig::parse(message, TO6, FROM6).unwrap();
            prop_assert_eq!(said.mtu, u32::from(mtu).max(1280), "less than 1280 is never told");
            &message[8..]
        } else {
            prop_assert_eq!(packet.len(), 576);
            let (header, message) = Ipv4::split(packet).unwrap();
            prop_assert!(header.checksum_holds(packet));
            prop_assert_eq!((header.source, header.destination, header.protocol), (TO, FROM, ip::ICMP));
            prop_assert_eq!(usize::from(header.total), packet.len());
            prop_assert_eq!(FragmentationNeeded::parse(message), Ok(FragmentationNeeded { mtu }));
            &message[8..]
        };
        prop_assert_eq!(quote, &frame[l3..l3 + quote.len()]);
    }

    #[test]
    fn no_frame_panics(noise in prop::collection::vec(any::<u8>(), 14..200), v6 in any::<bool>()) {
        let mut frame = noise;
        frame[12..14].copy_from_slice(if v6 { &[0x86, 0xdd] } else { &[8, 0] });
        let view = View::parse(&frame).unwrap();
        if let Verdict::Tell(told) = judge(&view, &frame, 2000) {
            let mut buf = Buf::default();
            buf.copy_from(&frame);
            answer(&mut buf, &view, told, 1400).unwrap();
        }
    }
}

/// A frame of 1500 bytes with this protocol, whose payload starts with `first`.
fn v4(protocol: u8, first: u8, change: impl FnOnce(&mut Ipv4)) -> Vec<u8> {
    let mut header = Ipv4 {
        options: 0,
        tos: 0,
        total: 1500,
        id: 1,
        dont_fragment: true,
        more_fragments: false,
        offset: 0,
        ttl: 64,
        protocol,
        source: FROM,
        destination: TO,
    };
    change(&mut header);
    let mut frame = [vec![2; 12], vec![8, 0], vec![0; 1500]].concat();
    header.emit(&mut frame[14..]).unwrap();
    frame[34] = first;
    frame
}

fn v6(next: u8, upper: &[u8], change: impl FnOnce(&mut Ipv6)) -> Vec<u8> {
    let (class, label, payload, hop_limit, source, destination) = (0, 0, 1460, 64, FROM6, TO6);
    let mut header = Ipv6 { class, label, payload, next, hop_limit, source, destination };
    change(&mut header);
    let mut frame = [vec![2; 12], vec![0x86, 0xdd], vec![0; 1500]].concat();
    header.emit(&mut frame[14..]).unwrap();
    frame[54..54 + upper.len()].copy_from_slice(upper);
    frame
}

#[test]
fn errors_later_fragments_and_groups_are_not_answered() {
    let group = |mut frame: Vec<u8>| {
        frame[0] = 1;
        frame
    };
    for silent in [
        v4(1, 3, |_| ()),
        v4(1, 11, |_| ()),
        v4(17, 0, |h| h.offset = 185),
        v4(17, 0, |h| h.destination = Ipv4Addr::new(224, 0, 0, 251)),
        v4(17, 0, |h| h.destination = Ipv4Addr::BROADCAST),
        v4(17, 0, |h| h.source = Ipv4Addr::UNSPECIFIED),
        v4(17, 0, |h| h.source = Ipv4Addr::new(239, 1, 1, 1)),
        group(v4(17, 0, |_| ())),
        v6(58, &[1], |_| ()),
        v6(60, &[58, 0, 1, 4, 0, 0, 0, 0, 3], |_| ()),
        v6(44, &[17, 0, 0, 8], |_| ()),
        v6(17, &[], |h| h.destination = "ff02::fb".parse().unwrap()),
        v6(17, &[], |h| h.source = Ipv6Addr::UNSPECIFIED),
        group(v6(17, &[], |_| ())),
        [vec![2; 12], vec![0x88, 0xb5], vec![0; 1500]].concat(),
    ] {
        assert_eq!(judged(&silent), Verdict::Silent, "{:02x?}", &silent[..70]);
    }
}

#[test]
fn questions_first_fragments_and_messages_are_answered() {
    for told in [
        v4(1, 8, |_| ()),
        v4(17, 0, |h| h.more_fragments = true),
        v4(6, 0, |_| ()),
        v6(58, &[128], |_| ()),
        v6(44, &[17, 0, 0, 1], |_| ()),
        v6(0, &[17, 0, 1, 4, 0, 0, 0, 0], |_| ()),
        v6(132, &[], |_| ()),
    ] {
        assert!(matches!(judged(&told), Verdict::Tell(_)), "{:02x?}", &told[..70]);
    }
}

#[test]
fn what_may_be_cut_is_carried() {
    assert_eq!(judged(&v4(17, 0, |h| h.dont_fragment = false)), Verdict::Carry);
    assert_eq!(judged(&v6(17, &[], |_| ())[..14 + 1280]), Verdict::Carry, "no link may refuse 1280 bytes of IPv6");
}
