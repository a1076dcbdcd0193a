//! The laws of the virtio header, and its bytes as the kernel has them.

use proptest::prelude::*;

use super::super::Header;
use super::{Gso, Virtio};

fn virtio() -> impl Strategy<Value = Virtio> {
    let gso = prop::sample::select(vec![Gso::None, Gso::TcpV4, Gso::TcpV6, Gso::UdpL4]);
    (any::<[bool; 3]>(), gso, any::<[u16; 4]>()).prop_map(|([a, b, ecn], gso, [hdr_len, gso_size, start, offset])| {
        Virtio {
            needs_checksum: a,
            checksum_valid: b,
            gso,
            ecn,
            hdr_len,
            gso_size,
            csum_start: start,
            csum_offset: offset,
        }
    })
}

proptest! {
    #[test]
    fn what_is_emitted_parses_to_itself(header in virtio()) {
        let mut bytes = [0; 12];
        header.emit(&mut bytes).unwrap();
        prop_assert_eq!(Virtio::parse(&bytes), Ok(header));
        prop_assert!(header.emit(&mut bytes[..9]).is_err());
        prop_assert!(Virtio::parse(&bytes[..9]).is_err());
    }

    #[test]
    fn what_parses_emits_the_same_bytes_but_for_reserved_flags(mut bytes in any::<[u8; 10]>()) {
        if let Ok(header) = Virtio::parse(&bytes) {
            let mut out = [0; 10];
            header.emit(&mut out).unwrap();
            bytes[0] &= 3;
            prop_assert_eq!(out, bytes);
        }
    }
}

#[test]
fn a_kind_that_nobody_asked_for_is_an_error() {
    for kind in [2, 3, 6, 0x20, 0x40, 0x83] {
        assert!(Virtio::parse(&[0, kind, 0, 0, 0, 0, 0, 0, 0, 0]).is_err(), "{kind}");
    }
    assert!(Virtio::parse(&[0, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap().ecn);
}

#[test]
#[cfg(target_endian = "little")]
fn a_udp_super_frame_reads_as_measured_on_a_tap() {
    let bytes = [1, 5, 42, 0, 0x78, 0x05, 34, 0, 6, 0];
    let header = Virtio::parse(&bytes).unwrap();
    assert_eq!((header.gso, header.gso_size, header.csum_start, header.csum_offset), (Gso::UdpL4, 1400, 34, 6));
}
