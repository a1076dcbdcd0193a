//! Cuts a super-frame of a guest into segments, and finishes checksums that a guest left to its interface.
//!
//! A segment is written where it will be sealed: headers copied and patched, payload copied and summed in one pass. The size
//! is the smaller of what the path carries and what the guest asked for. Smaller than the guest's is always legal TCP, so a
//! guest's own MTU need not fit the path; larger never is, because the guest's size honours the MSS that the *receiver*
//! announced. UDP datagrams are messages: they keep the guest's size whatever the path carries, and the caller compares
//! [`Segments::packet_len`] with its limit.

use super::layout::{Layout, Protocol, Version, length, put, word};
use crate::wire::sum::Sum;
use crate::wire::virtio::{Gso, Virtio};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const URG: u8 = 0x20;
const CWR: u8 = 0x80;

/// Why a frame passes whole and in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Whole {
    /// Nothing is to be cut. The only reason that is no exception.
    #[error("the frame is one packet")]
    NotGso,
    /// Not TCP or UDP in a shape that is known here: tunnels, fragments, routing headers, contradicting lengths.
    #[error("the frame is not TCP or UDP directly over IP with at most one VLAN tag")]
    Shape,
    /// The virtio header contradicts the frame: protocol, start or place of the checksum, a size of zero.
    #[error("the virtio header and the frame contradict each other")]
    Header,
    /// TCP with SYN, RST or URG: repeating those on each segment would change what they mean.
    #[error("a TCP segment with SYN, RST or URG cannot be cut")]
    Flags,
    /// The path does not carry even one byte beside the headers.
    #[error("the path carries {limit} bytes, the headers alone take {headers}")]
    Limit {
        /// Largest IP packet of the path.
        limit: usize,
        /// IP and TCP headers of the frame.
        headers: usize,
    },
}

/// The checksum of a frame starts or ends outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the checksum field at {start} + {offset} is not inside the frame of {len} bytes")]
pub struct ChecksumOutside {
    /// `csum_start`.
    pub start: u16,
    /// `csum_offset`.
    pub offset: u16,
    /// Bytes of the frame.
    pub len: usize,
}

/// Finishes the checksum of a frame that is sent as it is: nothing to do unless the header asks for it.
///
/// # Errors
/// [`ChecksumOutside`]; the frame is unchanged.
pub fn finish_checksum(frame: &mut [u8], virtio: &Virtio) -> Result<(), ChecksumOutside> {
    if !virtio.needs_checksum {
        return Ok(());
    }
    let outside = ChecksumOutside { start: virtio.csum_start, offset: virtio.csum_offset, len: frame.len() };
    let summed = frame.get_mut(usize::from(virtio.csum_start)..).ok_or(outside)?;
    let offset = usize::from(virtio.csum_offset);
    if summed.len() < offset + 2 {
        return Err(outside);
    }
    // Zero becomes all ones whatever the protocol, as `skb_checksum_help` has it: for TCP both are the same number.
    let checksum = Sum::default().with(summed).checksum_udp();
    put(summed, offset, checksum);
    Ok(())
}

/// A super-frame on its way into segments. Several may be made of one frame: it is only read.
#[derive(Debug, Clone)]
pub struct Segments<'a> {
    /// All headers.
    head: &'a [u8],
    /// What is left to send.
    payload: &'a [u8],
    layout: Layout,
    /// Bytes of payload in each segment but the last; at least 1.
    size: usize,
    first: bool,
    /// TCP sequence number of the next segment.
    sequence: u32,
    /// IPv4 identification of the next segment.
    id: u16,
    /// IPv4 header without length, identification and checksum.
    ip_sum: Sum,
    /// Pseudo header and TCP or UDP header without what changes: lengths, sequence, flags, checksum.
    l4_sum: Sum,
}

impl<'a> Segments<'a> {
    /// Looks at a frame with its virtio header; `limit` is the largest IP packet that the path carries, in bytes.
    ///
    /// # Errors
    /// [`Whole`]: the frame is to be sent as it is, after [`finish_checksum`].
    pub fn new(frame: &'a [u8], virtio: &Virtio, limit: usize) -> Result<Self, Whole> {
        if virtio.gso == Gso::None {
            return Err(Whole::NotGso);
        }
        let layout = Layout::of(frame).ok_or(Whole::Shape)?;
        if !agrees(virtio, &layout) {
            return Err(Whole::Header);
        }
        let (head, payload) = frame[..layout.end].split_at(layout.payload);
        if payload.is_empty() {
            return Err(Whole::Shape);
        }
        let wanted = usize::from(virtio.gso_size);
        let headers = layout.payload - layout.l3;
        let size = match layout.protocol {
            Protocol::Tcp if head[layout.l4 + 13] & (SYN | RST | URG) != 0 => return Err(Whole::Flags),
            Protocol::Tcp if limit <= headers => return Err(Whole::Limit { limit, headers }),
            Protocol::Tcp => wanted.min(limit - headers),
            Protocol::Udp => wanted,
        };
        Ok(Self {
            head,
            payload,
            layout,
            size,
            first: true,
            sequence: u32::from_be_bytes(std::array::from_fn(|i| head[layout.l4 + 4 + i])),
            id: word(head, layout.l3 + 4).unwrap_or_default(),
            ip_sum: constant_ip(head, &layout),
            l4_sum: constant_l4(head, &layout),
        })
    }

    /// The same, cut further where a path carries less: no frame of TCP is larger than `frame` bytes, from the Ethernet header.
    /// Datagrams keep their size.
    #[must_use]
    pub fn within(mut self, frame: usize) -> Self {
        if self.layout.protocol == Protocol::Tcp {
            self.size = self.size.min(frame.saturating_sub(self.head.len())).max(1);
        }
        self
    }

    /// All headers of the frame, from the Ethernet header.
    pub const fn head(&self) -> &'a [u8] {
        self.head
    }

    /// How many segments are left.
    pub fn count(&self) -> usize {
        self.payload.len().div_ceil(self.size)
    }

    /// IP packet size of the largest segment left, in bytes. For TCP at most the limit.
    pub fn packet_len(&self) -> usize {
        self.head.len() - self.layout.l3 + self.size.min(self.payload.len())
    }

    /// Bytes of the next frame, from the Ethernet header; none when all are written.
    pub fn next_len(&self) -> Option<usize> {
        (!self.payload.is_empty()).then(|| self.head.len() + self.size.min(self.payload.len()))
    }

    /// Writes the next segment to the front of `out` and returns its bytes. None when all are written, and also where `out`
    /// is shorter than [`Segments::next_len`]: then nothing is lost and a larger `out` gets the same segment.
    pub fn write_next(&mut self, out: &mut [u8]) -> Option<usize> {
        let len = self.next_len()?;
        let (head, body) = out.get_mut(..len)?.split_at_mut(self.head.len());
        let (payload, rest) = self.payload.split_at(body.len());
        head.copy_from_slice(self.head);
        let sum = self.l4_sum.copy(body, payload);
        self.patch_ip(head, payload.len());
        match self.layout.protocol {
            Protocol::Tcp => self.patch_tcp(head, payload.len(), rest.is_empty(), sum),
            Protocol::Udp => self.patch_udp(head, payload.len(), sum),
        }
        self.payload = rest;
        self.first = false;
        self.id = self.id.wrapping_add(1);
        Some(len)
    }

    fn patch_ip(&self, head: &mut [u8], payload: usize) {
        let ip = &mut head[self.layout.l3..];
        match self.layout.version {
            Version::V4 => {
                let total = length(ip.len() + payload);
                put(ip, 2, total);
                put(ip, 4, self.id);
                put(ip, 10, self.ip_sum.word(total).word(self.id).checksum());
            }
            Version::V6 => put(ip, 4, length(ip.len() - 40 + payload)),
        }
    }

    fn patch_tcp(&mut self, head: &mut [u8], payload: usize, last: bool, sum: Sum) {
        let tcp = &mut head[self.layout.l4..];
        tcp[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        if !last {
            tcp[13] &= !(FIN | PSH);
        }
        if !self.first {
            tcp[13] &= !CWR;
        }
        let flags = u16::from_be_bytes([tcp[12], tcp[13]]);
        let sum = sum.long(self.sequence).word(flags).word(length(tcp.len() + payload));
        put(tcp, 16, sum.checksum());
        self.sequence = self.sequence.wrapping_add(u32::from(length(payload)));
    }

    fn patch_udp(&self, head: &mut [u8], payload: usize, sum: Sum) {
        let udp = &mut head[self.layout.l4..];
        let len = length(udp.len() + payload);
        put(udp, 4, len);
        // Once in the pseudo header, once in the header.
        put(udp, 6, sum.word(len).word(len).checksum_udp());
    }
}

/// True where the virtio header says of the frame what its own headers say. `hdr_len` is not asked: of a forwarded frame it
/// is whatever was linear in memory.
fn agrees(virtio: &Virtio, layout: &Layout) -> bool {
    let kind = match virtio.gso {
        Gso::TcpV4 => layout.protocol == Protocol::Tcp && layout.version == Version::V4,
        Gso::TcpV6 => layout.protocol == Protocol::Tcp && layout.version == Version::V6,
        Gso::UdpL4 => layout.protocol == Protocol::Udp,
        Gso::None => false,
    };
    kind && virtio.gso_size > 0
        && virtio.needs_checksum
        && usize::from(virtio.csum_start) == layout.l4
        && usize::from(virtio.csum_offset) == layout.checksum()
}

fn constant_ip(head: &[u8], layout: &Layout) -> Sum {
    match layout.version {
        Version::V4 => {
            let ip = &head[layout.l3..layout.l4];
            Sum::default().with(&ip[..2]).with(&ip[6..10]).with(&ip[12..])
        }
        Version::V6 => Sum::default(),
    }
}

fn constant_l4(head: &[u8], layout: &Layout) -> Sum {
    let l4 = &head[layout.l4..];
    let sum = layout.pseudo(head).with(&l4[..4]);
    match layout.protocol {
        Protocol::Tcp => sum.with(&l4[8..12]).with(&l4[14..16]).with(&l4[18..]),
        Protocol::Udp => sum,
    }
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
