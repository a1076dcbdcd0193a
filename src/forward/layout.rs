//! Where the headers of a TCP or UDP frame are. Offsets only: cutting and joining frames rewrites single fields in place.

use crate::wire::chain::Chain;
use crate::wire::ethernet;
use crate::wire::ip;
use crate::wire::sum::Sum;

/// Offset of the TCP checksum in its header.
pub(super) const TCP_CHECKSUM: usize = 16;
/// Offset of the UDP checksum in its header.
pub(super) const UDP_CHECKSUM: usize = 6;

/// IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// Protocol above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// A frame with at most one 802.1Q tag that holds one whole TCP segment or UDP datagram; its lengths agree with each other.
/// Offsets count from the Ethernet header: `l3 < l4 < payload <= end <= frame.len()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub version: Version,
    pub protocol: Protocol,
    /// The IP header: 14, or 18 with a tag.
    pub l3: usize,
    /// The TCP or UDP header.
    pub l4: usize,
    /// What TCP or UDP carries.
    pub payload: usize,
    /// End of the IP packet; what follows is padding.
    pub end: usize,
}

impl Layout {
    /// Finds the headers. None: not TCP or UDP, a fragment, an extension header other than hop-by-hop and destination
    /// options, a jumbogram, or lengths that contradict each other.
    #[inline]
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let (l3, ethertype) = match word(frame, 12)? {
            ethernet::VLAN => (18, word(frame, 16)?),
            other => (14, other),
        };
        let (version, protocol, l4, end) = match ethertype {
            ethernet::IPV4 => ipv4(frame, l3)?,
            ethernet::IPV6 => ipv6(frame, l3)?,
            _ => return None,
        };
        if end > frame.len() {
            return None;
        }
        let (protocol, header) = match protocol {
            ip::TCP => (Protocol::Tcp, usize::from(frame.get(l4 + 12)? >> 4) * 4),
            ip::UDP => (Protocol::Udp, 8),
            _ => return None,
        };
        let payload = l4 + header;
        let whole = match protocol {
            Protocol::Tcp => header >= 20 && payload <= end,
            Protocol::Udp => payload <= end && usize::from(word(frame, l4 + 4)?) == end - l4,
        };
        whole.then_some(Self { version, protocol, l3, l4, payload, end })
    }

    /// Neither IPv4 options nor IPv6 extension headers.
    pub(super) fn is_plain(&self) -> bool {
        self.l4 - self.l3
            == match self.version {
                Version::V4 => 20,
                Version::V6 => 40,
            }
    }

    /// Source and destination address.
    #[inline]
    pub(super) fn addresses<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        match self.version {
            Version::V4 => &frame[self.l3 + 12..self.l3 + 20],
            Version::V6 => &frame[self.l3 + 8..self.l3 + 40],
        }
    }

    /// True where another frame with this layout has the same addresses. Fixed lengths compare without a call.
    #[inline]
    pub(super) fn same_addresses(&self, a: &[u8], b: &[u8]) -> bool {
        match self.version {
            Version::V4 => a[self.l3 + 12..self.l3 + 20] == b[self.l3 + 12..self.l3 + 20],
            Version::V6 => a[self.l3 + 8..self.l3 + 40] == b[self.l3 + 8..self.l3 + 40],
        }
    }

    /// Sum of the pseudo header, without the length (RFC 9293 section 3.1, RFC 8200 section 8.1).
    #[inline]
    pub(super) fn pseudo(&self, frame: &[u8]) -> Sum {
        let protocol = match self.protocol {
            Protocol::Tcp => ip::TCP,
            Protocol::Udp => ip::UDP,
        };
        Sum::default().with(self.addresses(frame)).word(u16::from(protocol))
    }

    /// Offset of the checksum in the TCP or UDP header.
    pub(super) fn checksum(&self) -> usize {
        match self.protocol {
            Protocol::Tcp => TCP_CHECKSUM,
            Protocol::Udp => UDP_CHECKSUM,
        }
    }
}

fn ipv4(frame: &[u8], l3: usize) -> Option<(Version, u8, usize, usize)> {
    let head = frame.get(l3..)?.first_chunk::<20>()?;
    let header = usize::from(head[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([head[2], head[3]]));
    // More fragments, or an offset; the reserved bit and "don't fragment" say nothing here.
    let fragment = head[6] & 0x3f != 0 || head[7] != 0;
    let whole = head[0] >> 4 == 4 && header >= 20 && total >= header && !fragment;
    whole.then_some((Version::V4, head[9], l3 + header, l3 + total))
}

#[inline]
fn ipv6(frame: &[u8], l3: usize) -> Option<(Version, u8, usize, usize)> {
    let head = frame.get(l3..)?.first_chunk::<40>()?;
    if head[0] >> 4 != 6 {
        return None;
    }
    let end = l3 + 40 + usize::from(u16::from_be_bytes([head[4], head[5]]));
    let chain = Chain::of(frame.get(l3..end)?).ok()?;
    let at = l3 + chain.at;
    (chain.options_only && at < end).then_some((Version::V6, chain.protocol, at, end))
}

/// A 16-bit number in network byte order.
#[inline]
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Writes a 16-bit number in network byte order.
///
/// # Panics
/// If it lies outside: offsets come from a [`Layout`] of these bytes.
#[inline]
pub(super) fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// A length as a header holds it. Lengths here come from headers or are bounded by [`u16::MAX`]; a larger one would be a
/// mistake of this module and saturates.
#[inline]
pub(super) fn length(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
