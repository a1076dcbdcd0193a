//! The parts of a guest's frame that decide where it goes.

use crate::types::{Mac, Vlan};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ip::{self, Ipv4};
use crate::wire::udp::Udp;
use crate::wire::vlan::Tag;
use crate::wire::{Header, WireError};

/// UDP port of a DHCP server (RFC 2131 section 4.1: "'DHCP server' port (67)").
const DHCP_SERVER: u16 = 67;

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

    /// True for what a DHCP client says to whoever is a server.
    pub(super) fn is_dhcp_broadcast(&self, frame: &[u8]) -> bool {
        if self.destination != Mac::BROADCAST || self.ethertype != ethernet::IPV4 {
            return false;
        }
        let packet = &frame[self.network..];
        let Ok(header) = Ipv4::parse(packet) else { return false };
        header.protocol == ip::UDP
            && header.offset == 0
            && Udp::parse(&packet[header.header_len()..]).is_ok_and(|udp| udp.destination == DHCP_SERVER)
    }

    /// True for the first packet of a TCP connection: SYN without ACK (RFC 9293 section 3.5).
    pub(super) fn opens_connection(&self, frame: &[u8]) -> bool {
        const FLAGS: usize = 13;
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;
        let packet = &frame[self.network..];
        let header = match self.ethertype {
            ethernet::IPV4 if packet.get(9) == Some(&ip::TCP) => match Ipv4::parse(packet) {
                Ok(ip) if !ip.is_fragment() => ip.header_len(),
                Ok(_) | Err(_) => return false,
            },
            ethernet::IPV6 if packet.get(6) == Some(&ip::TCP) => ip::Ipv6::LEN,
            _ => return false,
        };
        packet.get(header + FLAGS).is_some_and(|flags| flags & (SYN | ACK) == SYN)
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

/// The two ports of TCP and UDP, if they are there.
fn ports(protocol: u8, packet: &[u8], at: usize) -> &[u8] {
    if protocol == ip::TCP || protocol == ip::UDP { packet.get(at..at + 4).unwrap_or_default() } else { &[] }
}
