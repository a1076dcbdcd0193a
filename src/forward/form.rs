//! Payload forms: what a guest's frame looks like inside a tunnel.
//!
//! ```text
//! B, compact    first nibble 0   | VXLAN 8, with UDP port and length |            Ethernet frame
//! A, standard   first nibble 4   | IPv4 20 | UDP 8 | VXLAN 8         |            Ethernet frame
//! ```
//!
//! Which one a peer speaks is stated by the table. A receiver refuses the other one.

use std::net::Ipv4Addr;

use super::buffer::Buf;
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

/// Frame or control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Frame { udp_port: UdpPort, vni: Vni },
    Control,
}

/// Puts the headers of the peer's form before the frame in `buf`. The flow of the frame chooses the source
/// UDP port of form A.
pub(super) fn wrap(table: &Table, net: &Net, peer: PeerSlot, view: &View, buf: &mut Buf) -> Result<(), DropReason> {
    match table.form(peer).ok_or(DropReason::PeerGone)? {
        Form::Compact => {
            let content = Content::Frame { udp_port: net.udp_port, vni: net.vni };
            wrap_compact(content, buf)
        }
        Form::Standard { address } => {
            let own = table.tunnel_address().ok_or(DropReason::NoTunnelAddress)?;
            let flow = view.flow(buf.bytes());
            wrap_standard(net, own, address, flow, buf).map_err(|_| DropReason::FrameMalformed)
        }
    }
}

/// Puts the header of form B before what is in `buf`.
pub(super) fn wrap_compact(content: Content, buf: &mut Buf) -> Result<(), DropReason> {
    let header = Compact::new(content, buf.len());
    header.emit(buf.prepend(Compact::LEN)).map_err(|_| DropReason::FrameMalformed)
}

fn wrap_standard(net: &Net, own: Ipv4Addr, theirs: Ipv4Addr, flow: u64, buf: &mut Buf) -> Result<(), WireError> {
    let too_long = |_| WireError::Field { header: Ipv4::NAME, field: "total length" };
    let total = u16::try_from(buf.len() + STANDARD).map_err(too_long)?;
    let length = total - u16::try_from(Ipv4::LEN).unwrap_or_default();
    let out = buf.prepend(STANDARD);
    let outer = Ipv4 {
        options: 0,
        tos: 0,
        total,
        id: 0,
        // "VTEPs MUST NOT fragment VXLAN packets" (RFC 7348 section 4.3); without fragments the identification means nothing
        // (RFC 6864 section 4.1).
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
    Udp { source: source_port(flow), destination: net.udp_port.get(), length, checksum: 0 }
        .emit(&mut out[Ipv4::LEN..])?;
    Vxlan { vni: net.vni }.emit(&mut out[Ipv4::LEN + Udp::LEN..])
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
