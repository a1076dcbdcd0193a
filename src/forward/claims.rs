//! What a frame claims besides its Ethernet source: its IP source, and what ARP, ND, router advertisements, redirects and DHCP answers in
//! it say, which whoever hears them believes. A guest speaks for its own addresses; for a router or a DHCP server speaks only a port with
//! that role. In doubt, where headers hide what a packet is, it is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::dhcp;
use super::drops::DropReason;
use super::table::{Net, Station};
use super::view::View;
use crate::wire::arp::Arp;
use crate::wire::chain::{Chain, Part};
use crate::wire::ip::{self, Ipv4, Ipv6};
use crate::wire::nd::{self, Advertisement, Solicitation};
use crate::wire::vlan::Tag;
use crate::wire::{Header, ethernet, icmp, icmp6};

/// May the sender say this? `station` is the sender's row, `view` is of `frame`.
pub(super) fn check(net: &Net, station: Station, view: &View, frame: &[u8]) -> Result<(), DropReason> {
    let sender = Sender { net, station, view };
    if !net.found && view.is_service_tagged(frame) {
        return Err(DropReason::TypeUnexpected);
    }
    let body = frame.get(view.network..).unwrap_or_default();
    match view.ethertype {
        ethernet::IPV4 => sender.ipv4(body),
        ethernet::IPV6 => sender.ipv6(body),
        ethernet::ARP => sender.arp(body),
        ethernet::VLAN | ethernet::SERVICE_VLAN => sender.nested(body),
        // At the port of a guest these end too. A length instead of a type is one of them: some hosts take IP behind LLC and SNAP.
        _ if net.found => Ok(()),
        _ => Err(DropReason::TypeUnexpected),
    }
}

/// Who says something, and with which tag.
struct Sender<'a> {
    net: &'a Net,
    station: Station,
    view: &'a View,
}

impl Sender<'_> {
    /// Linux takes priority tags off wherever they stand, and looks at what is behind them (`__netif_receive_skb_core`). Two real ones
    /// pass only where anything does.
    fn nested(&self, body: &[u8]) -> Result<(), DropReason> {
        let inner = Tag::parse(body).map_err(|_| DropReason::FrameMalformed)?;
        let opaque = self.net.found && self.view.vlan.is_some() && inner.vlan.is_some();
        if opaque { Ok(()) } else { Err(DropReason::TagNested) }
    }

    fn arp(&self, body: &[u8]) -> Result<(), DropReason> {
        let arp = Arp::parse(body).map_err(|_| DropReason::ArpForeign)?;
        // Who asks whether an address is taken makes its owner give it up (RFC 5227 section 2.1.1).
        let owns = self.owns_v4(if arp.sender_ip.is_unspecified() { arp.target_ip } else { arp.sender_ip });
        if arp.sender_mac == self.view.source && owns { Ok(()) } else { Err(DropReason::ArpForeign) }
    }

    fn owns_v4(&self, address: Ipv4Addr) -> bool {
        let unlisted = || self.station.rights.unlisted;
        self.net.arp(self.view.vlan, address).map_or_else(
            || self.may_hold(address.into()).unwrap_or_else(unlisted),
            |owner| owner.mac == self.view.source,
        )
    }

    fn owns_v6(&self, address: Ipv6Addr) -> bool {
        let own = || self.station.rights.unlisted || address == nd::link_local(self.view.source);
        self.net
            .nd(self.view.vlan, address)
            .map_or_else(|| self.may_hold(address.into()).unwrap_or_else(own), |owner| owner.mac == self.view.source)
    }

    /// Whether it is one of the guests that may hold this address; none: no address that several may hold.
    fn may_hold(&self, address: IpAddr) -> Option<bool> {
        self.net.holders(self.view.vlan, address).map(|holders| holders.contains(&self.view.source))
    }

    fn ipv4(&self, body: &[u8]) -> Result<(), DropReason> {
        // What does not parse no host's IP takes, but a DHCP client that reads its interface might.
        let header = Ipv4::parse(body).map_err(|_| DropReason::FrameMalformed)?;
        let packet = body.get(..usize::from(header.total)).ok_or(DropReason::FrameMalformed)?;
        let message = &packet[header.header_len()..];
        let first = header.offset == 0;
        match header.protocol {
            ip::UDP if first && !self.station.rights.serve_dhcp => dhcp::V4.check(message, header.more_fragments)?,
            ip::ICMP if first => self.icmp(header.source, message)?,
            _ => {}
        }
        if self.station.v4 == Some(header.source) || self.station.rights.route || self.owns_v4(header.source) {
            return Ok(());
        }
        let begins = header.source.is_unspecified() && !header.is_fragment();
        let passes = match header.protocol {
            ip::UDP => dhcp::V4.is_request(message),
            // Reports of groups by who has no address yet: RFC 3376 section 4.2.13.
            ip::IGMP => header.destination.is_multicast(),
            _ => false,
        };
        if begins && passes { Ok(()) } else { Err(DropReason::IpForeign) }
    }

    /// Redirects and router advertisements (RFC 1256): of routers, and for themselves. Errors about packets that were for others, of routers.
    fn icmp(&self, from: Ipv4Addr, message: &[u8]) -> Result<(), DropReason> {
        match message.first().copied().ok_or(DropReason::FrameMalformed)? {
            icmp::REDIRECT | icmp::ROUTER_ADVERTISEMENT if !self.station.rights.route => {
                Err(DropReason::RouterUnexpected)
            }
            icmp::REDIRECT | icmp::ROUTER_ADVERTISEMENT if !self.owns_v4(from) => Err(DropReason::IpForeign),
            kind if icmp::is_error(kind) && !self.station.rights.route => {
                let quoted = icmp::quoted_destination(message).is_some_and(|to| self.owns_v4(to));
                if quoted { Ok(()) } else { Err(DropReason::RouterUnexpected) }
            }
            _ => Ok(()),
        }
    }

    fn ipv6(&self, body: &[u8]) -> Result<(), DropReason> {
        let header = Ipv6::parse(body).map_err(|_| DropReason::FrameMalformed)?;
        let len = Ipv6::LEN + usize::from(header.payload);
        let packet = body.get(..len).ok_or(DropReason::FrameMalformed)?;
        let chain = Chain::of(packet).map_err(|_| DropReason::HeadersHidden)?;
        let message = packet.get(chain.at..).unwrap_or_default();
        // "A host that receives a First Fragment that does not satisfy" this "SHOULD discard the packet" (RFC 7112 section 5).
        if chain.part == Part::First && !chain.is_complete(packet) {
            return Err(DropReason::HeadersHidden);
        }
        match chain.protocol {
            _ if chain.part == Part::Later => {}
            ip::UDP if !self.station.rights.serve_dhcp => dhcp::V6.check(message, chain.part == Part::First)?,
            ip::ICMPV6 => self.icmpv6(header.source, message, chain.part)?,
            _ => {}
        }
        if self.station.v6 == Some(header.source) || self.station.rights.route || self.owns_v6(header.source) {
            return Ok(());
        }
        let begins = header.source.is_unspecified() && chain.protocol == ip::ICMPV6 && chain.part == Part::Whole;
        if begins && message.first().is_some_and(|kind| nd::needs_no_source(*kind)) {
            Ok(())
        } else {
            Err(DropReason::IpForeign)
        }
    }

    fn icmpv6(&self, from: Ipv6Addr, message: &[u8], part: Part) -> Result<(), DropReason> {
        let kind = message.first().copied().ok_or(DropReason::FrameMalformed)?;
        if matches!(kind, nd::ROUTER_ADVERTISEMENT | nd::REDIRECT) && !self.station.rights.route {
            return Err(DropReason::RouterUnexpected);
        }
        // Messages of discovery behind a fragment header are ignored by whoever follows RFC 6980 section 5, and believed by the others.
        let whole = part == Part::Whole || !nd::is_discovery(kind);
        if icmp6::is_error(kind) && !self.station.rights.route {
            let quoted = icmp6::quoted_destination(message).is_some_and(|to| self.owns_v6(to));
            return if quoted { Ok(()) } else { Err(DropReason::RouterUnexpected) };
        }
        let honest = match kind {
            nd::ROUTER_ADVERTISEMENT | nd::REDIRECT => self.owns_v6(from),
            nd::ROUTER_SOLICITATION => from.is_unspecified() || self.owns_v6(from),
            // From nobody it is address detection, by which an owner gives its address up (RFC 4862 section 5.4.3).
            nd::SOLICITATION => Solicitation::parse(message)
                .is_ok_and(|said| self.owns_v6(if from.is_unspecified() { said.target } else { from })),
            nd::ADVERTISEMENT => Advertisement::parse(message).is_ok_and(|said| self.owns_v6(said.target)),
            _ => true,
        };
        let allowed = whole && honest && nd::names_only(message, self.view.source);
        if allowed { Ok(()) } else { Err(DropReason::NdForeign) }
    }
}
