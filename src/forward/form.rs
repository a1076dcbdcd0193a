//! Payload forms: what a guest's frame looks like inside a tunnel.
//!
//! ```text
//! B, compact    first nibble 0   | VXLAN 8, with UDP port and length |            Ethernet frame
//! A, standard   first nibble 4   | IPv4 20 | UDP 8 | VXLAN 8         |            Ethernet frame
//! ```
//!
//! Which one a peer speaks is stated by the table. A receiver refuses the other one.

use std::net::Ipv4Addr;

use super::drops::DropReason;
use super::table::{Form, Net, Table};
use super::view::View;
use crate::types::{PeerSlot, UdpPort, Vni};
use crate::wire::compact::{Compact, Content};
use crate::wire::ip::{self, Ipv4};
use crate::wire::udp::Udp;
use crate::wire::vxlan::Vxlan;
use crate::wire::{Header, WireError};

/// Bytes that form A puts before a frame.
const STANDARD: usize = Ipv4::LEN + Udp::LEN + Vxlan::LEN;

/// What a payload holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inside {
    pub(super) what: What,
    /// Where it begins and ends in the payload.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Frame, control message, or ICMP of a foreign peer's system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Frame { udp_port: UdpPort, vni: Vni },
    Control,
    Ping,
}

/// The headers of a peer's form, ready to be written before frames of one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrap {
    Compact(Content),
    Standard { own: Ipv4Addr, theirs: Ipv4Addr, source_port: u16, udp_port: UdpPort, vni: Vni },
}

impl Wrap {
    /// For a frame to `peer`. The flow of the frame chooses the source UDP port of form A.
    pub(super) fn new(table: &Table, net: &Net, peer: PeerSlot, view: &View, frame: &[u8]) -> Result<Self, DropReason> {
        let (udp_port, vni) = (net.udp_port, net.vni);
        Ok(match table.form(peer).ok_or(DropReason::PeerGone)? {
            Form::Compact => Self::Compact(Content::Frame { udp_port, vni }),
            Form::Standard { address: theirs } => {
                let own = table.tunnel_address().ok_or(DropReason::NoTunnelAddress)?;
                Self::Standard { own, theirs, source_port: source_port(view.flow(frame)), udp_port, vni }
            }
        })
    }

    /// Bytes of the headers.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Compact(_) => Compact::LEN,
            Self::Standard { .. } => STANDARD,
        }
    }

    /// Writes the headers for a frame of `len` bytes to the front of `out`.
    pub(super) fn write(&self, out: &mut [u8], len: usize) -> Result<(), DropReason> {
        match self {
            Self::Compact(content) => Compact::new(*content, len).emit(out),
            Self::Standard { .. } => self.write_standard(out, len),
        }
        .map_err(|_| DropReason::FrameMalformed)
    }

    fn write_standard(&self, out: &mut [u8], len: usize) -> Result<(), WireError> {
        let Self::Standard { own, theirs, source_port, udp_port, vni } = *self else { return Ok(()) };
        let too_long = |_| WireError::Field { header: Ipv4::NAME, field: "total length" };
        let total = u16::try_from(len + STANDARD).map_err(too_long)?;
        let length = total - u16::try_from(Ipv4::LEN).unwrap_or_default();
        let outer = Ipv4 {
            options: 0,
            tos: 0,
            total,
            id: 0,
            // "VTEPs MUST NOT fragment VXLAN packets" (RFC 7348 section 4.3); without fragments the identification means
            // nothing (RFC 6864 section 4.1).
            dont_fragment: true,
            more_fragments: false,
            offset: 0,
            ttl: 64,
            protocol: ip::UDP,
            source: own,
            destination: theirs,
        };
        outer.emit(out)?;
        // "UDP Checksum: It SHOULD be transmitted as zero" (RFC 7348 section 5).
        Udp { source: source_port, destination: udp_port.get(), length, checksum: 0 }.emit(&mut out[Ipv4::LEN..])?;
        Vxlan { vni }.emit(&mut out[Ipv4::LEN + Udp::LEN..])
    }
}

/// "a hash of fields from the inner packet ... the dynamic/private port range 49152-65535" (RFC 7348 section 5).
fn source_port(flow: u64) -> u16 {
    let [_, _, _, _, _, _, a, b] = (flow ^ flow >> 32).to_be_bytes();
    0xc000 | u16::from_be_bytes([a, b])
}

/// Finds what a payload of `peer` holds.
pub(super) fn unwrap(table: &Table, peer: PeerSlot, payload: &[u8]) -> Result<Inside, DropReason> {
    let form = table.form(peer).ok_or(DropReason::PeerGone)?;
    match (payload.first().map(|first| first >> 4), form) {
        (Some(0), Form::Compact) => unwrap_compact(payload),
        (Some(4), Form::Standard { address }) => {
            let own = table.tunnel_address().ok_or(DropReason::NoTunnelAddress)?;
            unwrap_standard(own, address, payload)
        }
        (Some(0 | 4), Form::Compact | Form::Standard { .. }) => Err(DropReason::FormWrong),
        (Some(6), _) => Err(DropReason::FormIpv6),
        (Some(_) | None, _) => Err(DropReason::FormUnknown),
    }
}

fn unwrap_compact(payload: &[u8]) -> Result<Inside, DropReason> {
    let header = Compact::parse(payload).map_err(|_| DropReason::VxlanMalformed)?;
    let end = header.unpadded(payload.len()).map_err(|_| DropReason::VxlanMalformed)?;
    let what = match header.content {
        Content::Frame { udp_port, vni } => What::Frame { udp_port, vni },
        Content::Control => What::Control,
    };
    Ok(Inside { what, start: Compact::LEN, end })
}

fn unwrap_standard(own: Ipv4Addr, theirs: Ipv4Addr, payload: &[u8]) -> Result<Inside, DropReason> {
    let malformed = |_| DropReason::OuterMalformed;
    let outer = Ipv4::parse(payload).map_err(malformed)?;
    let end = usize::from(outer.total);
    if outer.options != 0 || end > payload.len() || !outer.checksum_holds(payload) {
        return Err(DropReason::OuterMalformed);
    }
    if outer.source != theirs {
        return Err(DropReason::OuterSource);
    }
    if outer.destination != own {
        return Err(DropReason::OuterDestination);
    }
    // A foreign peer's system cuts what is larger than its tunnel device's MTU, its answers to our probes too; the first piece says
    // all that there is to know.
    if outer.protocol == ip::ICMP && outer.offset == 0 {
        return Ok(Inside { what: What::Ping, start: Ipv4::LEN, end });
    }
    if outer.is_fragment() {
        return Err(DropReason::OuterFragment);
    }
    let (udp, inside) = Udp::split(&payload[Ipv4::LEN..end]).map_err(malformed)?;
    if outer.protocol != ip::UDP || usize::from(udp.length) != end - Ipv4::LEN {
        return Err(DropReason::OuterMalformed);
    }
    let vxlan = Vxlan::parse(inside).map_err(|_| DropReason::VxlanMalformed)?;
    let udp_port = UdpPort::try_from(u64::from(udp.destination)).map_err(|_| DropReason::OuterMalformed)?;
    Ok(Inside { what: What::Frame { udp_port, vni: vxlan.vni }, start: STANDARD, end })
}
