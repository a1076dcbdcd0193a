//! The parts of a guest's frame that decide where it goes.

use super::dhcp;
use super::spread::Flow;
use crate::types::{Mac, Vlan, Vni};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ip::{self, Ipv4};
use crate::wire::udp::Udp;
use crate::wire::vlan::Tag;
use crate::wire::{Header, WireError};

/// A frame, classified. Only the outermost tag counts: what is behind it is the guest's own affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub(super) destination: Mac,
    pub(super) source: Mac,
    pub(super) vlan: Option<Vlan>,
    /// Of what begins at `network`.
    pub(super) ethertype: u16,
    /// Offset of the network layer.
    pub(super) network: usize,
}

impl View {
    pub(super) fn parse(frame: &[u8]) -> Result<Self, WireError> {
        let (Ethernet { destination, source, ethertype }, rest) = Ethernet::split(frame)?;
        let plain = Self { destination, source, vlan: None, ethertype, network: Ethernet::LEN };
        match ethertype {
            ethernet::VLAN | ethernet::SERVICE_VLAN => {
                let tag = Tag::parse(rest)?;
                Ok(Self { vlan: tag.vlan, ethertype: tag.ethertype, network: Ethernet::LEN + Tag::LEN, ..plain })
            }
            _ => Ok(plain),
        }
    }

    /// True where the tag is one of a service provider (IEEE 802.1ad).
    pub(super) fn is_service_tagged(&self, frame: &[u8]) -> bool {
        self.network > Ethernet::LEN && frame.get(12..14) == Some(&ethernet::SERVICE_VLAN.to_be_bytes())
    }

    /// True for what a DHCP client says to whoever is a server.
    pub(super) fn is_dhcp_broadcast(&self, frame: &[u8]) -> bool {
        if self.destination != Mac::BROADCAST || self.ethertype != ethernet::IPV4 {
            return false;
        }
        let packet = &frame[self.network..];
        let Ok(header) = Ipv4::parse(packet) else { return false };
        header.protocol == ip::UDP
            && header.offset == 0
            && Udp::parse(&packet[header.header_len()..]).is_ok_and(|udp| udp.destination == dhcp::V4.server)
    }

    /// The flow of a frame in a network: addresses and, of whole TCP and UDP packets, ports; of anything but IP the Ethernet
    /// addresses. `opens`: SYN without ACK (RFC 9293 section 3.5).
    pub(super) fn conversation(&self, frame: &[u8], vni: Vni) -> Flow {
        const FLAGS: usize = 13;
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;
        let packet = &frame[self.network..];
        let (protocol, header, [from, to]) = match self.ethertype {
            ethernet::IPV4 if packet.len() >= Ipv4::LEN => {
                let fragment = (packet[6] & 0x3f) | packet[7] != 0;
                let protocol = if fragment { 0 } else { packet[9] };
                (protocol, usize::from(packet[0] & 0x0f) * 4, [number(&packet[12..16]), number(&packet[16..20])])
            }
            ethernet::IPV6 if packet.len() >= ip::Ipv6::LEN => {
                (packet[6], ip::Ipv6::LEN, [number(&packet[8..24]), number(&packet[24..40])])
            }
            _ => (0, 0, [number(&self.source.0), number(&self.destination.0)]),
        };
        let ports = ports(protocol, packet, header);
        let (from_port, to_port) = ports.split_at(ports.len() / 2);
        let ends = mix(from ^ number(from_port) << 32).wrapping_add(mix(to ^ number(to_port) << 32));
        let flags = packet.get(header + FLAGS).copied().unwrap_or_default();
        Flow {
            key: mix(ends ^ u64::from(vni.get()) << 8 ^ u64::from(protocol)),
            opens: protocol == ip::TCP && flags & (SYN | ACK) == SYN,
        }
    }

    /// A number that is the same for all frames of a flow and, most likely, another for another flow: FNV-1a over the
    /// addresses, the protocol and the ports.
    pub(super) fn flow(&self, frame: &[u8]) -> u64 {
        let packet = &frame[self.network..];
        let mix = |hash: u64, bytes: &[u8]| {
            bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
        };
        let hash = mix(0xcbf2_9ce4_8422_2325, &frame[..12]);
        match self.ethertype {
            ethernet::IPV4 => {
                let Ok(header) = Ipv4::parse(packet) else { return hash };
                let ports =
                    if header.is_fragment() { &[] } else { ports(header.protocol, packet, header.header_len()) };
                mix(mix(mix(hash, &packet[12..20]), &[header.protocol]), ports)
            }
            ethernet::IPV6 if packet.len() >= ip::Ipv6::LEN => mix(mix(hash, &packet[6..7]), &packet[8..40])
                .wrapping_add(mix(0, ports(packet[6], packet, ip::Ipv6::LEN))),
            _ => hash,
        }
    }
}

/// Up to eight bytes as they are, more of them folded.
fn number(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0, |number, part| {
        let part = part.iter().fold(0, |part, byte| part << 8 | u64::from(*byte));
        number.rotate_left(29).wrapping_mul(ODD) ^ part
    })
}

/// 2^64 divided by the golden ratio, odd: multiplying by it spreads neighbours over all bits.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Each bit of the result depends on each of `x`: twice a multiplication, after which the upper bits are stirred into the lower.
fn mix(x: u64) -> u64 {
    let x = (x ^ x >> 32).wrapping_mul(ODD);
    (x ^ x >> 29).wrapping_mul(ODD) ^ x >> 32
}

/// The two ports of TCP and UDP, if they are there.
fn ports(protocol: u8, packet: &[u8], at: usize) -> &[u8] {
    if protocol == ip::TCP || protocol == ip::UDP { packet.get(at..at + 4).unwrap_or_default() } else { &[] }
}
