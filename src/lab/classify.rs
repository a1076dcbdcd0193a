//! What a frame on a wire is, seen by an eye that shares no code with the data path.
//!
//! Two questions are asked of every frame: does it look like something that may be on this wire, and does it hold anything of a
//! guest in clear? The second is a search through all its bytes, so it finds what the first would not recognise.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::layout::{self, Layout, Wire, WireKind};
use crate::types::Mac;

/// Stands once in every 1024 bytes that the demo sends from guest to guest.
pub const MAGIC: &[u8; 16] = b"vxmesh-in-clear!";

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IGMP: u8 = 2;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;

/// What may be on a wire, and what guests look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expect {
    /// The wire.
    pub kind: WireKind,
    /// True where plain VXLAN between `nodes` is allowed.
    pub plain: bool,
    /// Addresses of nodes on this wire.
    pub nodes: BTreeSet<Ipv4Addr>,
    /// The management node.
    pub management: Ipv4Addr,
    /// Ethernet addresses of guests.
    pub macs: Vec<Mac>,
    /// IPv4 addresses of guests.
    pub ips: Vec<Ipv4Addr>,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Plain VXLAN between nodes of the PDC, on its admin wire.
    Vxlan,
    /// WireGuard between nodes.
    Wireguard,
    /// TCP of the management API.
    Management,
    /// ARP, neighbour discovery, multicast membership and ICMP of the machines themselves.
    Housekeeping,
    /// Something of a guest that anybody on this wire can read, where nobody may.
    Clear,
    /// None of these.
    Other,
}

impl Class {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 6] =
        [Self::Vxlan, Self::Wireguard, Self::Management, Self::Housekeeping, Self::Other, Self::Clear];

    /// The word in tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Vxlan => "VXLAN",
            Self::Wireguard => "WireGuard",
            Self::Management => "management",
            Self::Housekeeping => "ARP, ND, ICMP",
            Self::Clear => "in clear",
            Self::Other => "other",
        }
    }
}

impl Expect {
    /// Of one wire of a lab.
    pub fn of(layout: &Layout, wire: &Wire) -> Self {
        let here = |node: &&layout::Node| wire.pdc.as_ref().is_none_or(|pdc| *pdc == node.pdc);
        let address = |node: &layout::Node| match wire.kind {
            WireKind::Admin => node.admin,
            WireKind::Internet => node.external,
        };
        let encrypted = layout.pdcs.iter().any(|pdc| Some(&pdc.name) == wire.pdc.as_ref() && pdc.encrypted);
        let ipv4 = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(_) => None,
        };
        Self {
            kind: wire.kind,
            plain: wire.kind == WireKind::Admin && !encrypted,
            nodes: layout.nodes.iter().filter(here).map(address).collect(),
            management: layout::MANAGEMENT,
            macs: layout.guests().map(|(_, guest)| guest.mac).collect(),
            ips: layout.guests().flat_map(|(_, guest)| guest.ips.iter().filter_map(ipv4)).collect(),
        }
    }
}

/// [`Expect`] prepared for looking at many frames.
#[derive(Debug)]
pub struct Eye {
    expect: Expect,
    /// Byte strings that only a guest's frame holds, by first byte.
    needles: Vec<Vec<u8>>,
    /// True at the first byte of a needle.
    first: Box<[bool; 256]>,
}

impl Eye {
    /// Prepares: every guest's address, every pair of guests as an IP header has them, the magic of the demo's payload.
    pub fn new(expect: Expect) -> Self {
        let mut needles = vec![MAGIC.to_vec()];
        needles.extend(expect.macs.iter().map(|mac| mac.0.to_vec()));
        for from in &expect.ips {
            let others = expect.ips.iter().filter(|to| *to != from);
            needles.extend(others.map(|to| [from.octets(), to.octets()].concat()));
        }
        let mut first = Box::new([false; 256]);
        for needle in &needles {
            first[usize::from(needle[0])] = true;
        }
        Self { expect, needles, first }
    }

    /// What this frame is.
    pub fn classify(&self, frame: &[u8]) -> Class {
        let class = self.outside(frame).unwrap_or(Class::Other);
        let readable = || vxlan_on_any_udp_port(frame) || self.holds_guest(frame);
        // Where guests' frames may be read, so may an error that quotes one.
        let may_quote = self.expect.plain && class == Class::Housekeeping && be16(frame, 12) == Some(ETHERTYPE_IPV4);
        if class != Class::Vxlan && !may_quote && readable() { Class::Clear } else { class }
    }

    /// By the outermost headers alone; none where they are cut short.
    fn outside(&self, frame: &[u8]) -> Option<Class> {
        match be16(frame, 12)? {
            ETHERTYPE_ARP => Some(Class::Housekeeping),
            ETHERTYPE_IPV4 => self.ipv4(frame.get(14..)?),
            ETHERTYPE_IPV6 => match *frame.get(20)? {
                ICMPV6 | HOP_BY_HOP => Some(Class::Housekeeping),
                _ => None,
            },
            _ => None,
        }
    }

    fn ipv4(&self, packet: &[u8]) -> Option<Class> {
        let (from, to) = (address(packet, 12)?, address(packet, 16)?);
        let body = packet.get(usize::from(packet.first()? & 15) * 4..)?;
        let between_nodes = self.expect.nodes.contains(&from) && self.expect.nodes.contains(&to);
        match *packet.get(9)? {
            IGMP => Some(Class::Housekeeping),
            // An error quotes what it answers; whether that is a guest's is looked at like everything else.
            ICMP if between_nodes => Some(Class::Housekeeping),
            UDP if between_nodes => self.udp(packet, body),
            TCP if from == self.expect.management || to == self.expect.management => {
                let port = if from == self.expect.management { be16(body, 0)? } else { be16(body, 2)? };
                (port == layout::MANAGEMENT_TCP_PORT).then_some(Class::Management)
            }
            _ => None,
        }
    }

    fn udp(&self, packet: &[u8], udp: &[u8]) -> Option<Class> {
        let (from, to, payload) = (be16(udp, 0)?, be16(udp, 2)?, udp.get(8..)?);
        // A router would have lowered it: what is not 255 was not sent by a neighbour.
        let direct = *packet.get(8)? == 255;
        if to == layout::VXLAN_UDP_PORT {
            return (self.expect.plain && direct && is_vxlan(payload)).then_some(Class::Vxlan);
        }
        let lanes = layout::TUNNEL_UDP_PORT..layout::TUNNEL_UDP_PORT + layout::TUNNEL_UDP_PORTS;
        (lanes.contains(&from) && lanes.contains(&to) && is_wireguard(payload)).then_some(Class::Wireguard)
    }

    fn holds_guest(&self, frame: &[u8]) -> bool {
        let starts = frame.iter().enumerate().filter(|(_, byte)| self.first[usize::from(**byte)]);
        starts.map(|(at, _)| &frame[at..]).any(|rest| self.needles.iter().any(|needle| rest.starts_with(needle)))
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?.into())
}

/// RFC 7348 section 5: the I flag alone, all reserved bits zero, and a frame behind.
fn is_vxlan(payload: &[u8]) -> bool {
    payload.len() >= 8 + 14 && payload[0] == 0x08 && payload[1..4] == [0; 3] && payload[7] == 0
}

/// WireGuard's four messages: type, three zeros, and the length that the type has.
fn is_wireguard(payload: &[u8]) -> bool {
    let length = payload.len();
    match payload.first_chunk::<4>() {
        Some([1, 0, 0, 0]) => length == 148,
        Some([2, 0, 0, 0]) => length == 92,
        Some([3, 0, 0, 0]) => length == 64,
        // Several of them in one when the sender leaves cutting to the interface; and padding to 16 ends at what the path carries,
        // so that probes of a path and the largest datagrams have any length.
        Some([4, 0, 0, 0]) => length >= 32,
        _ => false,
    }
}

/// True for a UDP datagram, IPv4 or IPv6, on any UDP port, whose payload is VXLAN.
fn vxlan_on_any_udp_port(frame: &[u8]) -> bool {
    let payload = match be16(frame, 12) {
        Some(ETHERTYPE_IPV4) if frame.get(23) == Some(&UDP) => {
            frame.get(14).and_then(|first| frame.get(14 + usize::from(first & 15) * 4 + 8..))
        }
        Some(ETHERTYPE_IPV6) if frame.get(20) == Some(&UDP) => frame.get(14 + 40 + 8..),
        _ => None,
    };
    payload.is_some_and(is_vxlan)
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
