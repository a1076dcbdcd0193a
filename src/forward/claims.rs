//! What a frame claims besides its source address: ARP, ND, router advertisements and DHCP answers speak for addresses, and whoever
//! hears them believes them. A guest speaks for its own, and only a port with that role for a router or a DHCP server.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::drops::DropReason;
use super::table::{Net, Rights};
use super::view::View;
use crate::types::Mac;
use crate::wire::arp::Arp;
use crate::wire::ip::{self, Ipv4, Ipv6};
use crate::wire::nd::{self, Advertisement, Solicitation};
use crate::wire::udp::Udp;
use crate::wire::vlan::Tag;
use crate::wire::{Header, ethernet};

/// UDP port of a DHCP server (RFC 2131 section 4.1).
const DHCP_SERVER: u16 = 67;
/// UDP port of a DHCPv6 server or relay (RFC 9915 section 7.2).
const DHCPV6_SERVER: u16 = 547;
/// Redirect (RFC 4861 section 4.5).
const REDIRECT: u8 = 137;
/// Extension headers that are walked; a packet with more hides what it is.
const MOST_HEADERS: usize = 8;

/// May the sender say this? `view` is of `frame`.
pub(super) fn check(net: &Net, rights: Rights, view: &View, frame: &[u8]) -> Result<(), DropReason> {
    let body = frame.get(view.network..).unwrap_or_default();
    match view.ethertype {
        ethernet::ARP => arp(net, rights, view, body),
        ethernet::IPV4 => ipv4(rights, body),
        ethernet::IPV6 => ipv6(net, rights, view, body),
        ethernet::VLAN | ethernet::SERVICE_VLAN => nested(view, body),
        _ => Ok(()),
    }
}

/// Linux takes priority tags off wherever they stand, and looks at what is behind them (`__netif_receive_skb_core`).
fn nested(view: &View, body: &[u8]) -> Result<(), DropReason> {
    let inner = Tag::parse(body).map_err(|_| DropReason::FrameMalformed)?;
    if view.vlan.is_none() || inner.vlan.is_none() { Err(DropReason::TagNested) } else { Ok(()) }
}

fn arp(net: &Net, rights: Rights, view: &View, body: &[u8]) -> Result<(), DropReason> {
    let arp = Arp::parse(body).map_err(|_| DropReason::ArpForeign)?;
    let owns = arp.sender_ip.is_unspecified() || owns_v4(net, rights, view, arp.sender_ip);
    if arp.sender_mac == view.source && owns { Ok(()) } else { Err(DropReason::ArpForeign) }
}

fn owns_v4(net: &Net, rights: Rights, view: &View, address: Ipv4Addr) -> bool {
    net.arp(view.vlan, address).map_or(rights.unlisted, |owner| owner.mac == view.source)
}

fn owns_v6(net: &Net, rights: Rights, view: &View, address: Ipv6Addr) -> bool {
    let own = || rights.unlisted || address == nd::link_local(view.source);
    net.nd(view.vlan, address).map_or_else(own, |owner| owner.mac == view.source)
}

fn ipv4(rights: Rights, body: &[u8]) -> Result<(), DropReason> {
    // What does not parse here, no host takes.
    let Ok(header) = Ipv4::parse(body) else { return Ok(()) };
    if header.protocol == ip::UDP && header.offset == 0 {
        dhcp(rights, &body[header.header_len()..], DHCP_SERVER)?;
    }
    Ok(())
}

fn dhcp(rights: Rights, datagram: &[u8], server: u16) -> Result<(), DropReason> {
    let serves = Udp::parse(datagram).is_ok_and(|udp| udp.source == server);
    if serves && !rights.serve_dhcp { Err(DropReason::DhcpUnexpected) } else { Ok(()) }
}

fn ipv6(net: &Net, rights: Rights, view: &View, body: &[u8]) -> Result<(), DropReason> {
    let Ok((header, rest)) = Ipv6::split(body) else { return Ok(()) };
    let payload = rest.get(..usize::from(header.payload)).unwrap_or(rest);
    let Some((protocol, message)) = upper(header.next, payload)? else { return Ok(()) };
    match protocol {
        ip::ICMPV6 => icmpv6(net, rights, view, header.source, message),
        ip::UDP => dhcp(rights, message, DHCPV6_SERVER),
        _ => Ok(()),
    }
}

/// The upper-layer protocol and its message; none in a later fragment. A first fragment without all of its headers is refused: "a
/// host that receives a First Fragment that does not satisfy" this "SHOULD discard the packet" (RFC 7112 section 5).
fn upper(mut next: u8, mut rest: &[u8]) -> Result<Option<(u8, &[u8])>, DropReason> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    for _ in 0..MOST_HEADERS {
        let units = match next {
            HOP_BY_HOP | ROUTING | DESTINATION => usize::from(*rest.get(1).ok_or(DropReason::NdForeign)?),
            FRAGMENT => 0,
            _ => return Ok(Some((next, rest))),
        };
        let (this, after) = rest.split_at_checked((units + 1) * 8).ok_or(DropReason::NdForeign)?;
        if next == FRAGMENT && u16::from_be_bytes([this[2], this[3]]) >> 3 != 0 {
            return Ok(None);
        }
        (next, rest) = (this[0], after);
    }
    Err(DropReason::NdForeign)
}

fn icmpv6(net: &Net, rights: Rights, view: &View, from: Ipv6Addr, message: &[u8]) -> Result<(), DropReason> {
    let owns = |address| owns_v6(net, rights, view, address);
    let itself = |mac: Option<Mac>| mac.is_none_or(|mac| mac == view.source);
    let from_itself = || from.is_unspecified() || owns(from);
    let allowed = match message.first().copied() {
        Some(nd::ROUTER_ADVERTISEMENT | REDIRECT) if !rights.advertise => return Err(DropReason::RouterUnexpected),
        Some(nd::ROUTER_ADVERTISEMENT | REDIRECT) => owns(from),
        Some(nd::ROUTER_SOLICITATION) => from_itself(),
        Some(nd::SOLICITATION) => Solicitation::parse(message).is_ok_and(|s| itself(s.source) && from_itself()),
        Some(nd::ADVERTISEMENT) => Advertisement::parse(message).is_ok_and(|a| itself(a.mac) && owns(a.target)),
        _ => true,
    };
    if allowed { Ok(()) } else { Err(DropReason::NdForeign) }
}
