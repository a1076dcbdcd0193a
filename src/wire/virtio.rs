//! The virtio network header in front of each frame on a TAP with `IFF_VNET_HDR` (VIRTIO 1.2 section 5.1.6; `linux/virtio_net.h`,
//! `struct virtio_net_hdr`).
//!
//! ```text
//!  0       1     2         4          6            8            10
//! +-------+-----+---------+----------+------------+------------+------
//! | flags | gso | hdr_len | gso_size | csum_start | csum_offset| frame
//! +-------+-----+---------+----------+------------+------------+------
//! ```
//!
//! Fields are in the byte order of the machine, unless `TUNSETVNETLE` asks otherwise. On a TAP `csum_start` counts from the
//! Ethernet header, a VLAN tag included. `hdr_len` is a hint: of a forwarded frame the kernel says its whole linear part.

use super::{Header, WireError, front, front_mut};

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// What the other side is to cut a frame into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gso {
    /// Nothing: it is one packet.
    #[default]
    None,
    /// TCP segments over IPv4.
    TcpV4,
    /// TCP segments over IPv6.
    TcpV6,
    /// UDP datagrams over IPv4 or IPv6.
    UdpL4,
}

/// The header. The default is a frame with nothing left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Virtio {
    /// The checksum field holds the sum of the pseudo header only; see `csum_start` and `csum_offset`.
    pub needs_checksum: bool,
    /// Whoever gives the frame vouches for its checksums.
    pub checksum_valid: bool,
    /// Whether it is to be cut, and how.
    pub gso: Gso,
    /// TCP with congestion window reduced (CWR) set: it belongs to the first segment only.
    pub ecn: bool,
    /// Bytes of all headers, as a hint.
    pub hdr_len: u16,
    /// Bytes of payload in each segment.
    pub gso_size: u16,
    /// Where the checksum starts, in bytes from the start of the frame.
    pub csum_start: u16,
    /// Where the field is, in bytes from `csum_start`.
    pub csum_offset: u16,
}

/// Pieces that a frame may be cut into: as many as Linux puts into one of UDP (`UDP_MAX_SEGMENTS`, include/linux/udp.h), and more than 64 KiB of TCP
/// have with any MSS that the Internet knows (536, RFC 9293 section 3.7.1). A size of one byte would make 65,000 frames of one.
pub const PIECES: u16 = 128;
/// Bytes of headers that are not asked for exactly.
pub const HEADERS: u16 = 256;

impl Virtio {
    /// True where a frame of `len` bytes would be cut into more than [`PIECES`].
    pub fn is_crumbled(&self, len: usize) -> bool {
        let most = usize::from(self.gso_size) * usize::from(PIECES) + usize::from(HEADERS);
        self.gso != Gso::None && len > most
    }
}

impl Header for Virtio {
    const NAME: &'static str = "virtio";
    const LEN: usize = 10;

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let [flags, gso, h0, h1, g0, g1, s0, s1, o0, o1] = *front::<10>(Self::NAME, bytes)?;
        let kind = match gso & !GSO_ECN {
            0 => Gso::None,
            GSO_TCPV4 => Gso::TcpV4,
            GSO_TCPV6 => Gso::TcpV6,
            GSO_UDP_L4 => Gso::UdpL4,
            _ => return Err(WireError::Field { header: Self::NAME, field: "gso_type" }),
        };
        Ok(Self {
            needs_checksum: flags & NEEDS_CSUM != 0,
            checksum_valid: flags & DATA_VALID != 0,
            gso: kind,
            ecn: gso & GSO_ECN != 0,
            hdr_len: u16::from_ne_bytes([h0, h1]),
            gso_size: u16::from_ne_bytes([g0, g1]),
            csum_start: u16::from_ne_bytes([s0, s1]),
            csum_offset: u16::from_ne_bytes([o0, o1]),
        })
    }

    fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        let out = front_mut::<10>(Self::NAME, out)?;
        let kind = match self.gso {
            Gso::None => 0,
            Gso::TcpV4 => GSO_TCPV4,
            Gso::TcpV6 => GSO_TCPV6,
            Gso::UdpL4 => GSO_UDP_L4,
        };
        out[0] = if self.needs_checksum { NEEDS_CSUM } else { 0 } | if self.checksum_valid { DATA_VALID } else { 0 };
        out[1] = kind | if self.ecn { GSO_ECN } else { 0 };
        out[2..4].copy_from_slice(&self.hdr_len.to_ne_bytes());
        out[4..6].copy_from_slice(&self.gso_size.to_ne_bytes());
        out[6..8].copy_from_slice(&self.csum_start.to_ne_bytes());
        out[8..].copy_from_slice(&self.csum_offset.to_ne_bytes());
        Ok(())
    }
}

#[cfg(test)]
#[path = "virtio_tests.rs"]
mod tests;
