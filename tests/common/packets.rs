//! Packets byte by byte, right or wrong as a test wants them.

use std::net::{Ipv4Addr, Ipv6Addr};

use vxmesh::types::Mac;
use vxmesh::wire::ip::Checksum;

/// An IPv4 packet; the rest is as a host would fill it in.
#[derive(Clone)]
pub(crate) struct Four {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) protocol: u8,
    pub(crate) options: &'static [u8],
    /// Flags and offset, as they stand in the header.
    pub(crate) fragment: u16,
    pub(crate) ttl: u8,
    /// What is wrong: added to version and header length, to the total length, and to the checksum.
    pub(crate) wrong: (u8, u16, u16),
    pub(crate) payload: Vec<u8>,
}

impl Four {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        let total = u16::try_from(header + self.payload.len()).unwrap().wrapping_add(self.wrong.1);
        let mut out = vec![0x40 | u8::try_from(header / 4).unwrap(), 0];
        out[0] = out[0].wrapping_add(self.wrong.0);
        out.extend(total.to_be_bytes());
        out.extend([0, 7]);
        out.extend(self.fragment.to_be_bytes());
        out.extend([self.ttl, self.protocol, 0, 0]);
        out.extend(self.source.octets());
        out.extend(self.destination.octets());
        out.extend(self.options);
        let sum = Checksum::default().with(&out).value().wrapping_add(self.wrong.2);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        out.extend(&self.payload);
        out
    }
}

/// An extension header: its kind, and all of it but the first byte.
pub(crate) type Extension = (u8, Vec<u8>);

/// An IPv6 packet.
#[derive(Clone)]
pub(crate) struct Six {
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) headers: Vec<Extension>,
    pub(crate) protocol: u8,
    pub(crate) hops: u8,
    /// What is wrong: added to the version and to the payload's length.
    pub(crate) wrong: (u8, u16),
    pub(crate) payload: Vec<u8>,
}

impl Six {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let next = |at: usize| self.headers.get(at).map_or(self.protocol, |(kind, _)| *kind);
        let mut behind = Vec::new();
        for (at, (_, header)) in self.headers.iter().enumerate() {
            behind.push(next(at + 1));
            behind.extend(header);
        }
        behind.extend(&self.payload);
        let mut out = vec![0x60_u8.wrapping_add(self.wrong.0), 0, 0, 0];
        out.extend(u16::try_from(behind.len()).unwrap().wrapping_add(self.wrong.1).to_be_bytes());
        out.extend([next(0), self.hops]);
        out.extend(self.source.octets());
        out.extend(self.destination.octets());
        out.extend(behind);
        out
    }
}

/// A UDP datagram whose checksum says that there is none.
pub(crate) fn udp(source: u16, destination: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + body.len()).unwrap();
    let mut out: Vec<u8> = [source, destination, length, 0].into_iter().flat_map(u16::to_be_bytes).collect();
    out.extend(body);
    out
}

/// An ICMP message of eight bytes and the start of a packet.
pub(crate) fn icmp(kind: u8) -> Vec<u8> {
    let mut out = vec![kind, 0, 0, 0, 1, 2, 0, 0];
    out.extend([0x45; 28]);
    let sum = Checksum::default().with(&out).value();
    out[2..4].copy_from_slice(&sum.to_be_bytes());
    out
}

/// An ICMP error with the packet that it is about.
pub(crate) fn icmp_error(kind: u8, code: u8, quote: &[u8]) -> Vec<u8> {
    let mut out = [&[kind, code, 0, 0, 0, 0, 2, 88][..], quote].concat();
    let sum = Checksum::default().with(&out).value();
    out[2..4].copy_from_slice(&sum.to_be_bytes());
    out
}

/// An ICMPv6 message: what stands behind type, code and checksum, then options.
pub(crate) fn icmp6(kind: u8, from: Ipv6Addr, to: Ipv6Addr, fixed: &[u8], options: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0, 0, 0];
    out.extend(fixed);
    out.extend(options);
    let length = u16::try_from(out.len()).unwrap();
    let sum = Checksum::default().pseudo_v6(from, to, length, 58).with(&out).value();
    out[2..4].copy_from_slice(&sum.to_be_bytes());
    out
}

/// An option of discovery that holds an Ethernet address.
pub(crate) fn says(kind: u8, mac: Mac) -> Vec<u8> {
    let mut out = vec![kind, 1];
    out.extend(mac.0);
    out
}

/// An Ethernet frame, not filled up.
pub(crate) fn frame(to: Mac, from: Mac, ethertype: u16, body: &[u8]) -> Vec<u8> {
    let mut out = to.0.to_vec();
    out.extend(from.0);
    out.extend(ethertype.to_be_bytes());
    out.extend(body);
    out
}

/// The frame with a tag in front of those that it has.
pub(crate) fn tagged(protocol: u16, vlan: u16, frame: &[u8]) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    out.extend(protocol.to_be_bytes());
    out.extend(vlan.to_be_bytes());
    out.extend(&frame[12..]);
    out
}
