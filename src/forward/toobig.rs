//! Answers a packet that is too big with ICMP, as the packet's own destination would: the guest learns what its network carries.

use super::buffer::Buf;
use super::view::View;
use crate::wire::chain::{Chain, Part};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::icmp::{self, FragmentationNeeded};
use crate::wire::icmp6::{self, MINIMUM_MTU, PacketTooBig};
use crate::wire::ip::{self, Ipv4, Ipv6};
use crate::wire::{Header, WireError};

/// Precedence of ICMP errors: internetwork control (RFC 1812 section 4.3.2.5).
const INTERNETWORK_CONTROL: u8 = 0xc0;
const HOPS: u8 = 64;

/// What can be said about a packet that is too big.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It must be carried all the same: its sender allows fragments (IPv4 without "don't fragment") or may not be told less
    /// (IPv6 up to 1280 bytes).
    Carry,
    /// Its sender can be told.
    Tell(Told),
    /// It cannot: no IP, an error message, a fragment other than the first, to or from a group.
    Silent,
}

/// Whom to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    V4(Ipv4),
    V6(Ipv6),
}

/// Decides about a frame that is too big for its network. `packet` is its IP packet's size.
pub(super) fn judge(view: &View, frame: &[u8], packet: usize) -> Verdict {
    let inside = &frame[view.network..];
    match view.ethertype {
        ethernet::IPV4 => Ipv4::parse(inside).map_or(Verdict::Silent, |header| judge_v4(view, &header, inside)),
        ethernet::IPV6 if packet <= usize::from(MINIMUM_MTU) => Verdict::Carry,
        ethernet::IPV6 => Ipv6::parse(inside).map_or(Verdict::Silent, |header| judge_v6(view, &header, inside)),
        _ => Verdict::Silent,
    }
}

fn judge_v4(view: &View, header: &Ipv4, packet: &[u8]) -> Verdict {
    if !header.dont_fragment {
        return Verdict::Carry;
    }
    // RFC 1122 section 3.2.2: no error about an error, a group address, a fragment other than the first, or a source that is
    // no single host.
    let error = header.protocol == ip::ICMP && packet.get(header.header_len()).is_none_or(|kind| icmp::is_error(*kind));
    let (from, to) = (header.source, header.destination);
    let host = !(from.is_unspecified() || from.is_loopback() || from.is_multicast() || from.is_broadcast());
    let group = view.destination.is_group() || to.is_multicast() || to.is_broadcast() || to.is_unspecified();
    if error || header.offset != 0 || group || !host { Verdict::Silent } else { Verdict::Tell(Told::V4(*header)) }
}

fn judge_v6(view: &View, header: &Ipv6, packet: &[u8]) -> Verdict {
    // RFC 4443 section 2.4 (e). Packet too big may answer multicast; a whole group asking at once is not worth it.
    let (from, to) = (header.source, header.destination);
    let host = !(from.is_unspecified() || from.is_loopback() || from.is_multicast());
    let group = view.destination.is_group() || to.is_multicast() || to.is_unspecified();
    let told = !group && host && upper_layer_may_be_told(packet);
    if told { Verdict::Tell(Told::V6(*header)) } else { Verdict::Silent }
}

/// False behind a fragment other than the first, for an ICMPv6 error, and where extension headers do not end.
fn upper_layer_may_be_told(packet: &[u8]) -> bool {
    let Ok(chain) = Chain::of(packet) else { return false };
    let Some(first) = packet.get(chain.at) else { return false };
    chain.part != Part::Later && (chain.protocol != ip::ICMPV6 || !icmp6::is_error(*first))
}

/// Turns the buffer that holds the frame into the answer, tag included: `mtu` is what the network carries.
pub(super) fn answer(buf: &mut Buf, view: &View, told: Told, mtu: u16) -> Result<(), WireError> {
    let (l3, had) = (view.network, buf.len());
    let (ip, most) = match told {
        Told::V4(_) => (Ipv4::LEN + FragmentationNeeded::LEN, FragmentationNeeded::MOST),
        Told::V6(_) => (Ipv6::LEN + PacketTooBig::LEN, PacketTooBig::MOST),
    };
    let quoted = (had - l3).min(most - ip);
    let space = buf.space();
    space.copy_within(l3..l3 + quoted, l3 + ip);
    // The first bytes stay: addresses are exchanged below, tag and EtherType are the answer's too.
    let back = Ethernet { destination: view.source, source: view.destination, ethertype: outermost(space) };
    back.emit(space)?;
    let packet = space.get_mut(l3..l3 + ip + quoted).unwrap_or_default();
    match told {
        Told::V4(header) => answer_v4(packet, &header, mtu)?,
        Told::V6(header) => answer_v6(packet, &header, mtu)?,
    }
    buf.filled(l3 + ip + quoted);
    Ok(())
}

fn outermost(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[12], frame[13]])
}

fn answer_v4(packet: &mut [u8], about: &Ipv4, mtu: u16) -> Result<(), WireError> {
    let too_long = |_| WireError::Field { header: Ipv4::NAME, field: "total length" };
    let header = Ipv4 {
        tos: INTERNETWORK_CONTROL,
        ttl: HOPS,
        ..Ipv4::whole(ip::ICMP, u16::try_from(packet.len()).map_err(too_long)?, about.destination, about.source)
    };
    header.emit(packet)?;
    FragmentationNeeded { mtu }.emit(&mut packet[Ipv4::LEN..])
}

fn answer_v6(packet: &mut [u8], about: &Ipv6, mtu: u16) -> Result<(), WireError> {
    let too_long = |_| WireError::Field { header: Ipv6::NAME, field: "payload length" };
    let (source, destination) = (about.destination, about.source);
    let header = Ipv6 {
        class: INTERNETWORK_CONTROL,
        label: 0,
        payload: u16::try_from(packet.len() - Ipv6::LEN).map_err(too_long)?,
        next: ip::ICMPV6,
        hop_limit: HOPS,
        source,
        destination,
    };
    header.emit(packet)?;
    // A message that tells less than that is discarded (RFC 8201 section 4).
    PacketTooBig { mtu: mtu.max(MINIMUM_MTU).into() }.emit(&mut packet[Ipv6::LEN..], source, destination)
}

#[cfg(test)]
#[path = "toobig_tests.rs"]
mod tests;
