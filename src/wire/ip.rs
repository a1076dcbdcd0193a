//! IPv4 (RFC 791 section 3.1), IPv6 (RFC 8200 section 3) and the Internet checksum (RFC 1071).
//!
//! ```text
//! IPv4  0    1    2      4      6      8    9    10     12          16          20
//!      +----+----+------+------+------+----+----+------+-----------+-----------+------
//!      |4|hl|tos | len  | id   |fl|off|ttl |prot|chksum| source    | dest.     | options
//!      +----+----+------+------+------+----+----+------+-----------+-----------+------
//! IPv6  0             4      6    7    8                24               40
//!      +-------------+------+----+----+-----------------+----------------+------
//!      |6|class|label| len  |next|hop | source          | destination    | ...
//!      +-------------+------+----+----+-----------------+----------------+------
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Header, WireError, front, front_mut};

/// ICMP's protocol number (RFC 792).
pub const ICMP: u8 = 1;
/// IGMP's protocol number (RFC 3376 section 4).
pub const IGMP: u8 = 2;
/// TCP's protocol number (RFC 9293 section 3.1).
pub const TCP: u8 = 6;
/// UDP's protocol number (RFC 768).
pub const UDP: u8 = 17;
/// ICMPv6's next header value (RFC 4443 section 1).
pub const ICMPV6: u8 = 58;

/// IPv4 header. Options are counted, not held; a header with options cannot be emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4 {
    /// Bytes of options, a multiple of 4, at most 40.
    pub options: u8,
    /// Differentiated services and ECN (RFC 2474, RFC 3168).
    pub tos: u8,
    /// Header and payload in bytes.
    pub total: u16,
    /// Identification.
    pub id: u16,
    /// "Don't fragment".
    pub dont_fragment: bool,
    /// "More fragments".
    pub more_fragments: bool,
    /// Offset of this fragment in units of 8 bytes.
    pub offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Source.
    pub source: Ipv4Addr,
    /// Destination.
    pub destination: Ipv4Addr,
}

impl Ipv4 {
    /// The header of a packet of our own: whole, not to be fragmented, of the usual class, 64 hops (RFC 1700). `total` bytes with the header.
    pub const fn whole(protocol: u8, total: u16, source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        let (options, tos, id, offset) = (0, 0, 0, 0);
        let (dont_fragment, more_fragments, ttl) = (true, false, 64);
        Self { options, tos, total, id, dont_fragment, more_fragments, offset, ttl, protocol, source, destination }
    }

    /// Bytes of the header with its options.
    pub fn header_len(&self) -> usize {
        Self::LEN + usize::from(self.options)
    }

    /// True for one of several pieces of a packet.
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.offset != 0
    }

    /// True where the checksum of the header at the front of `bytes` is right.
    pub fn checksum_holds(&self, bytes: &[u8]) -> bool {
        bytes.get(..self.header_len()).is_some_and(|header| Checksum::default().with(header).value() == 0)
    }
}

impl Header for Ipv4 {
    const NAME: &'static str = "IPv4";
    const LEN: usize = 20;

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let head = front::<20>(Self::NAME, bytes)?;
        let words = head[0] & 0x0f;
        if head[0] >> 4 != 4 || words < 5 {
            return Err(WireError::Field { header: Self::NAME, field: "version or header length" });
        }
        let options = (words - 5) * 4;
        let needs = Self::LEN + usize::from(options);
        let total = u16::from_be_bytes([head[2], head[3]]);
        if usize::from(total) < needs {
            return Err(WireError::Field { header: Self::NAME, field: "total length" });
        }
        if bytes.len() < needs {
            return Err(WireError::Short { header: Self::NAME, needs, has: bytes.len() });
        }
        Ok(Self {
            options,
            tos: head[1],
            total,
            id: u16::from_be_bytes([head[4], head[5]]),
            dont_fragment: head[6] & 0x40 != 0,
            more_fragments: head[6] & 0x20 != 0,
            offset: u16::from_be_bytes([head[6] & 0x1f, head[7]]),
            ttl: head[8],
            protocol: head[9],
            source: Ipv4Addr::new(head[12], head[13], head[14], head[15]),
            destination: Ipv4Addr::new(head[16], head[17], head[18], head[19]),
        })
    }

    fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        if self.options != 0 {
            return Err(WireError::Field { header: Self::NAME, field: "options" });
        }
        let out = front_mut::<20>(Self::NAME, out)?;
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        out[0] = 0x45;
        out[1] = self.tos;
        out[2..4].copy_from_slice(&self.total.to_be_bytes());
        out[4..6].copy_from_slice(&self.id.to_be_bytes());
        out[6..8].copy_from_slice(&(flags | self.offset & 0x1fff).to_be_bytes());
        out[8..12].copy_from_slice(&[self.ttl, self.protocol, 0, 0]);
        out[12..16].copy_from_slice(&self.source.octets());
        out[16..].copy_from_slice(&self.destination.octets());
        let checksum = Checksum::default().with(out.as_slice()).value();
        out[10..12].copy_from_slice(&checksum.to_be_bytes());
        Ok(())
    }
}

/// IPv6 header, without extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6 {
    /// Traffic class.
    pub class: u8,
    /// Flow label, 20 bits.
    pub label: u32,
    /// Bytes after this header.
    pub payload: u16,
    /// What follows.
    pub next: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source.
    pub source: Ipv6Addr,
    /// Destination.
    pub destination: Ipv6Addr,
}

impl Header for Ipv6 {
    const NAME: &'static str = "IPv6";
    const LEN: usize = 40;

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let head = front::<40>(Self::NAME, bytes)?;
        let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        if first >> 28 != 6 {
            return Err(WireError::Field { header: Self::NAME, field: "version" });
        }
        Ok(Self {
            class: (head[0] & 0x0f) << 4 | head[1] >> 4,
            label: first & 0x000f_ffff,
            payload: u16::from_be_bytes([head[4], head[5]]),
            next: head[6],
            hop_limit: head[7],
            source: Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|i| head[8 + i])),
            destination: Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|i| head[24 + i])),
        })
    }

    fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        let out = front_mut::<40>(Self::NAME, out)?;
        let first = 6 << 28 | u32::from(self.class) << 20 | self.label & 0x000f_ffff;
        out[..4].copy_from_slice(&first.to_be_bytes());
        out[4..6].copy_from_slice(&self.payload.to_be_bytes());
        out[6..8].copy_from_slice(&[self.next, self.hop_limit]);
        out[8..24].copy_from_slice(&self.source.octets());
        out[24..].copy_from_slice(&self.destination.octets());
        Ok(())
    }
}

/// The Internet checksum: "the 16-bit one's complement sum of the 1's complement ... of all 16-bit words" (RFC 1071). Parts
/// but the last must have an even length.
#[derive(Debug, Clone, Copy, Default)]
pub struct Checksum(u64);

impl Checksum {
    /// With more bytes; an odd last byte counts as if a zero followed.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        let pairs = bytes.chunks_exact(2);
        let last = pairs.remainder().first().map_or(0, |byte| u64::from(*byte) << 8);
        let sum: u64 = pairs.map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        Self(self.0 + sum + last)
    }

    /// With the pseudo header of IPv6 (RFC 8200 section 8.1).
    #[must_use]
    pub fn pseudo_v6(self, source: Ipv6Addr, destination: Ipv6Addr, length: u16, next: u8) -> Self {
        let sum = self.with(&source.octets()).with(&destination.octets());
        Self(sum.0 + u64::from(length) + u64::from(next))
    }

    /// The value for the checksum field; zero for bytes that hold a right checksum.
    pub fn value(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        !u16::try_from(sum).unwrap_or_default()
    }
}
