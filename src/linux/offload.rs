//! What this machine's kernel does for many packets at once, found out without a packet on any wire.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;

use super::tap::{self, Probe};
use super::{host, sys};
use crate::policy::offload::{Seen, Writes};
use crate::types::IfName;
use crate::wire::Header;
use crate::wire::ip::{Ipv4, TCP, UDP};
use crate::wire::virtio::{Gso, Virtio};

/// `ETHTOOL_GTXCSUM` (linux/ethtool.h): whether an interface makes the checksums of what it sends.
const GET_TX_CHECKSUM: u32 = 0x16;
/// Ethernet and IPv4.
const L4: usize = 34;
/// Bytes of payload of each segment of a super-frame that a TAP is tried with.
const SEGMENT: u16 = 100;

/// Looks at the kernel, at a TAP of its own and at these interfaces. What cannot be found out is left open; lanes meet it then.
pub fn look(interfaces: impl IntoIterator<Item = IfName>) -> Seen {
    let checksums = interfaces.into_iter().filter_map(|name| {
        let makes = makes_checksums(&name).ok()?;
        Some((name, makes))
    });
    Seen { release: host::release(), checksums: checksums.collect(), writes: writes() }
}

/// True where an interface makes the checksums of what it sends.
///
/// # Errors
/// There is no such interface.
pub fn makes_checksums(name: &IfName) -> std::io::Result<bool> {
    // Any socket does: the question is for the network namespace.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    sys::ethtool_value(socket.as_fd(), name, GET_TX_CHECKSUM).map(|value| value != 0)
}

/// Which super-frames a TAP takes; none where it cannot be tried.
///
/// The TAP is made for this, is never up, and is gone when this returns: a kernel looks at a super-frame before it finds that
/// the device is down, so nothing of it ever reaches anybody.
pub fn writes() -> Option<Writes> {
    let probe = Probe::make().inspect_err(|error| tracing::debug!("no TAP to try: {error}")).ok()?;
    Some(Writes { tcp: probe.takes(&super_frame(TCP))?, udp: probe.takes(&super_frame(UDP))? })
}

/// A super-frame of two segments behind its virtio header, as one is joined from what tunnels carry.
fn super_frame(protocol: u8) -> Vec<u8> {
    let head = if protocol == TCP { 20 } else { 8 };
    let payload = head + 2 * SEGMENT;
    let mut bytes = vec![0; tap::HEADER + L4 + usize::from(payload)];
    let (virtio, frame) = bytes.split_at_mut(tap::HEADER);
    frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
    frame[12..14].copy_from_slice(&[8, 0]);
    let [source, destination] = [1, 2].map(|last| Ipv4Addr::new(192, 0, 2, last));
    let ip = Ipv4 { id: 1, ttl: 1, ..Ipv4::whole(protocol, 20 + payload, source, destination) };
    let l4 = &mut frame[L4..];
    l4[1] = 9;
    l4[3] = 9;
    if protocol == TCP {
        l4[12..14].copy_from_slice(&[0x50, 0x10]);
    } else {
        l4[4..6].copy_from_slice(&payload.to_be_bytes());
    }
    let (gso, csum_offset) = if protocol == TCP { (Gso::TcpV4, 16) } else { (Gso::UdpL4, 6) };
    let header = Virtio {
        needs_checksum: true,
        gso,
        hdr_len: 34 + head,
        gso_size: SEGMENT,
        csum_start: 34,
        csum_offset,
        ..Virtio::default()
    };
    // Both have room: the sizes above are theirs.
    let emitted = ip.emit(&mut frame[14..]).and_then(|()| header.emit(virtio));
    debug_assert!(emitted.is_ok());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::segment::Segments;

    #[test]
    fn the_super_frames_that_a_tap_is_tried_with_are_right_ones() {
        for protocol in [TCP, UDP] {
            let bytes = super_frame(protocol);
            let virtio = Virtio::parse(&bytes).unwrap();
            let segments = Segments::new(&bytes[tap::HEADER..], &virtio, 1500).unwrap();
            assert_eq!(segments.count(), 2);
        }
    }

    #[test]
    fn loopback_makes_checksums_and_what_is_not_there_cannot_be_asked() {
        assert!(makes_checksums(&"lo".parse().unwrap()).unwrap());
        assert!(makes_checksums(&"nothere0".parse().unwrap()).is_err());
        let seen = look(["lo".parse().unwrap(), "nothere0".parse().unwrap()]);
        assert_eq!(seen.checksums, [("lo".parse().unwrap(), true)]);
        assert!(seen.release.is_some());
    }
}
