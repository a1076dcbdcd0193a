//! Payload forms: what a guest's frame looks like inside a tunnel.
//!
//! ```text
//! B, compact    first nibble 0   | VXLAN 8, with UDP port and length |            Ethernet frame
//! A, standard   first nibble 4   | IPv4 20 | UDP 8 | VXLAN 8         |            Ethernet frame
//! ```
//!
//! Which one a peer speaks is stated by the table. A receiver refuses the other one, but for frames too large for one datagram:
//! they travel as form A in IPv4 fragments to every peer.

use std::net::Ipv4Addr;

use super::drops::DropReason;
use super::paths::PathSizes;
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

/// Frame, control message, ICMP of a foreign peer's system, or a piece of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Frame { udp_port: UdpPort, vni: Vni },
    Control,
    Ping,
    Fragment(Piece),
}

/// Which part of a packet of form A a fragment holds. What follows the IPv4 header counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Which packet, among those of the peer.
    pub(super) id: u16,
    /// Where it begins, in bytes.
    pub(super) offset: usize,
    /// It is not the last.
    pub(super) more: bool,
}

/// The headers of a peer's form, ready to be written before frames of one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrap {
    Compact(Content),
    Standard(Standard),
}

/// What the headers of form A say, but for lengths and fragmentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standard {
    own: Ipv4Addr,
    theirs: Ipv4Addr,
    source_port: u16,
    udp_port: UdpPort,
    vni: Vni,
}

impl Wrap {
    /// For a frame to `peer`. The flow of the frame chooses the source UDP port of form A.
    pub(super) fn new(table: &Table, net: &Net, peer: PeerSlot, view: &View, frame: &[u8]) -> Result<Self, DropReason> {
        let (udp_port, vni) = (net.udp_port, net.vni);
        Ok(match table.form(peer).ok_or(DropReason::PeerGone)? {
            Form::Compact => Self::Compact(Content::Frame { udp_port, vni }),
            Form::Session => return Err(DropReason::SessionOnly),
            Form::Standard { .. } => Self::Standard(Standard::new(table, net, peer, view, frame)?),
        })
    }

    /// Bytes of the headers.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Compact(_) => Compact::LEN,
            Self::Standard(_) => STANDARD,
        }
    }

    /// Writes the headers for a frame of `len` bytes to the front of `out`.
    pub(super) fn write(&self, out: &mut [u8], len: usize) -> Result<(), DropReason> {
        match self {
            Self::Compact(content) => Compact::new(*content, len).emit(out),
            Self::Standard(standard) => standard.write(out, len),
        }
        .map_err(|_| DropReason::FrameMalformed)
    }
}

impl Standard {
    /// Bytes between the IPv4 header and the frame.
    pub(super) const BEHIND_IP: usize = Udp::LEN + Vxlan::LEN;

    /// For a frame to `peer`. Between two `meshd`s there are no tunnel addresses and nobody who hashes UDP ports.
    pub(super) fn new(table: &Table, net: &Net, peer: PeerSlot, view: &View, frame: &[u8]) -> Result<Self, DropReason> {
        let (udp_port, vni) = (net.udp_port, net.vni);
        let (own, theirs) = addresses(table, peer)?;
        let foreign = matches!(table.form(peer), Some(Form::Standard { .. }));
        let source_port = source_port(if foreign { view.flow(frame) } else { 0 });
        Ok(Self { own, theirs, source_port, udp_port, vni })
    }

    /// Writes all headers for a frame of `len` bytes.
    fn write(&self, out: &mut [u8], len: usize) -> Result<(), WireError> {
        // "VTEPs MUST NOT fragment VXLAN packets" (RFC 7348 section 4.3); without fragments the identification means nothing
        // (RFC 6864 section 4.1).
        let outer = Ipv4 { dont_fragment: true, ..self.fragment(0, 0, Self::BEHIND_IP + len, false)? };
        outer.emit(out)?;
        self.write_behind_ip(&mut out[Ipv4::LEN..], len)
    }

    /// Writes what stands between the IPv4 header and a frame of `len` bytes.
    pub(super) fn write_behind_ip(&self, out: &mut [u8], len: usize) -> Result<(), WireError> {
        let Self { source_port, udp_port, vni, .. } = *self;
        let length = u16::try_from(len + Self::BEHIND_IP).map_err(|_| TOO_LONG)?;
        // "UDP Checksum: It SHOULD be transmitted as zero" (RFC 7348 section 5).
        Udp { source: source_port, destination: udp_port.get(), length, checksum: 0 }.emit(out)?;
        Vxlan { vni }.emit(out.get_mut(Udp::LEN..).unwrap_or_default())
    }

    /// The IPv4 header of `len` bytes of the packet from `offset` on.
    pub(super) fn fragment(&self, id: u16, offset: usize, len: usize, more: bool) -> Result<Ipv4, WireError> {
        Ok(Ipv4 {
            options: 0,
            tos: 0,
            total: u16::try_from(Ipv4::LEN + len).map_err(|_| TOO_LONG)?,
            id,
            dont_fragment: false,
            more_fragments: more,
            offset: u16::try_from(offset / 8).map_err(|_| TOO_LONG)?,
            ttl: 64,
            protocol: ip::UDP,
            source: self.own,
            destination: self.theirs,
        })
    }
}

const TOO_LONG: WireError = WireError::Field { header: Ipv4::NAME, field: "total length" };

/// Own address and the peer's in packets of form A.
fn addresses(table: &Table, peer: PeerSlot) -> Result<(Ipv4Addr, Ipv4Addr), DropReason> {
    match table.form(peer).ok_or(DropReason::PeerGone)? {
        // Only fragments travel so between two `meshd`s, and the tunnel says who sends them.
        Form::Compact => Ok((Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED)),
        Form::Session => Err(DropReason::SessionOnly),
        Form::Standard { address } => Ok((table.tunnel_address().ok_or(DropReason::NoTunnelAddress)?, address)),
    }
}

/// "a hash of fields from the inner packet ... the dynamic/private port range 49152-65535" (RFC 7348 section 5).
fn source_port(flow: u64) -> u16 {
    let [_, _, _, _, _, _, a, b] = (flow ^ flow >> 32).to_be_bytes();
    0xc000 | u16::from_be_bytes([a, b])
}

/// Bytes that a peer's form puts before a frame.
pub(super) fn overhead(form: Form) -> usize {
    match form {
        Form::Compact | Form::Session => Compact::LEN,
        Form::Standard { .. } => STANDARD,
    }
}

/// Largest IP packet of a guest that one datagram to a peer carries, and that the network allows.
pub(super) fn largest_packet(table: &Table, paths: &PathSizes, net: &Net, view: &View, peer: PeerSlot) -> usize {
    let around = table.form(peer).map_or(STANDARD, overhead) + view.network;
    paths.payload(peer).saturating_sub(around).min(usize::from(net.guest_mtu))
}

/// Finds what a payload of `peer` holds. A peer of form B sends form A where it must: in fragments.
pub(super) fn unwrap(table: &Table, peer: PeerSlot, payload: &[u8]) -> Result<Inside, DropReason> {
    let form = table.form(peer).ok_or(DropReason::PeerGone)?;
    match (payload.first().map(|first| first >> 4), form) {
        (Some(0), Form::Compact) => unwrap_compact(payload),
        (Some(0), Form::Session) => match unwrap_compact(payload)? {
            control @ Inside { what: What::Control, .. } => Ok(control),
            Inside { .. } => Err(DropReason::SessionOnly),
        },
        (Some(4), Form::Session) => Err(DropReason::SessionOnly),
        (Some(4), Form::Compact | Form::Standard { .. }) => unwrap_standard(addresses(table, peer)?, form, payload),
        (Some(0), Form::Standard { .. }) => Err(DropReason::FormWrong),
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

fn unwrap_standard((own, theirs): (Ipv4Addr, Ipv4Addr), form: Form, payload: &[u8]) -> Result<Inside, DropReason> {
    let outer = Ipv4::parse(payload).map_err(|_| DropReason::OuterMalformed)?;
    let end = usize::from(outer.total);
    if outer.options != 0 || end > payload.len() || !outer.checksum_holds(payload) {
        return Err(DropReason::OuterMalformed);
    }
    if form == Form::Compact && !outer.is_fragment() {
        return Err(DropReason::FormWrong);
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
    if outer.protocol == ip::ICMP {
        return Err(DropReason::OuterFragment);
    }
    if outer.protocol != ip::UDP {
        return Err(DropReason::OuterMalformed);
    }
    if outer.is_fragment() {
        let piece = piece(&outer, end - Ipv4::LEN)?;
        return Ok(Inside { what: What::Fragment(piece), start: Ipv4::LEN, end });
    }
    let what = unwrap_behind_ip(&payload[Ipv4::LEN..end])?;
    Ok(Inside { what, start: STANDARD, end })
}

/// Which part of its packet a fragment with `len` bytes holds.
fn piece(outer: &Ipv4, len: usize) -> Result<Piece, DropReason> {
    let offset = usize::from(outer.offset) * 8;
    let whole = len > 0 && (!outer.more_fragments || len.is_multiple_of(8));
    if !whole || offset + len > usize::from(u16::MAX) - Ipv4::LEN {
        return Err(DropReason::OuterMalformed);
    }
    Ok(Piece { id: outer.id, offset, more: outer.more_fragments })
}

/// What a packet of form A holds: `body` is all of it behind its IPv4 header. The frame follows after [`Standard::BEHIND_IP`].
pub(super) fn unwrap_behind_ip(body: &[u8]) -> Result<What, DropReason> {
    let (udp, inside) = Udp::split(body).map_err(|_| DropReason::OuterMalformed)?;
    if usize::from(udp.length) != body.len() {
        return Err(DropReason::OuterMalformed);
    }
    let vxlan = Vxlan::parse(inside).map_err(|_| DropReason::VxlanMalformed)?;
    let udp_port = UdpPort::try_from(u64::from(udp.destination)).map_err(|_| DropReason::OuterMalformed)?;
    Ok(What::Frame { udp_port, vni: vxlan.vni })
}
