//! ARP requests and neighbour solicitations answered from the table, so that they need not be flooded.

use std::net::Ipv6Addr;

use super::buffer::Buf;
use super::table::{Neighbour, Net};
use super::view::View;
use crate::types::Mac;
use crate::wire::arp::{self, Arp};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ip::{self, Ipv6};
use crate::wire::nd::{self, Advertisement, Solicitation};
use crate::wire::{Header, WireError};

/// A group frame as a question about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// It is none, or nobody in the table has the address: flood it.
    Open,
    /// The table knows.
    Known(Neighbour, Asked),
}

/// What was asked, and what the answer needs of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Arp(Arp),
    Nd { solicitation: Solicitation, asker: Ipv6Addr },
}

/// Looks the question up. A guest that speaks of its own address (gratuitous ARP, address detection) asks nothing.
pub(super) fn ask(net: &Net, view: &View, frame: &[u8]) -> Question {
    let found = match view.ethertype {
        ethernet::ARP => arp_question(net, view, frame),
        ethernet::IPV6 => nd_question(net, view, frame),
        _ => None,
    };
    match found {
        Some((neighbour, asked)) if neighbour.mac != view.source => Question::Known(neighbour, asked),
        Some(_) | None => Question::Open,
    }
}

fn arp_question(net: &Net, view: &View, frame: &[u8]) -> Option<(Neighbour, Asked)> {
    let arp = Arp::parse(&frame[view.network..]).ok()?;
    let asks = arp.operation == arp::REQUEST && arp.sender_ip != arp.target_ip;
    let neighbour = if asks { net.arp(view.vlan, arp.target_ip)? } else { return None };
    Some((neighbour, Asked::Arp(arp)))
}

fn nd_question(net: &Net, view: &View, frame: &[u8]) -> Option<(Neighbour, Asked)> {
    let (header, rest) = Ipv6::split(&frame[view.network..]).ok()?;
    let message = rest.get(..usize::from(header.payload))?;
    if header.next != ip::ICMPV6 || header.hop_limit != nd::HOP_LIMIT {
        return None;
    }
    let solicitation = Solicitation::parse(message).ok()?;
    let neighbour = net.nd(view.vlan, solicitation.target)?;
    let holds = nd::checksum_holds(message, header.source, header.destination);
    holds.then_some((neighbour, Asked::Nd { solicitation, asker: header.source }))
}

/// Turns the buffer that holds the question into the answer, tag included.
pub(super) fn answer(buf: &mut Buf, view: &View, neighbour: Neighbour, asked: Asked) -> Result<(), WireError> {
    // Long enough for every answer; what is not needed is cut off below.
    let mut tagged = [0; 18];
    tagged[..view.network].copy_from_slice(&buf.bytes()[..view.network]);
    let space = buf.space();
    let ethertype = u16::from_be_bytes([tagged[12], tagged[13]]);
    space[..view.network].copy_from_slice(&tagged[..view.network]);
    let (destination, length) = match asked {
        Asked::Arp(request) => (view.source, arp_answer(&mut space[view.network..], request, neighbour)?),
        Asked::Nd { solicitation, asker } => {
            let all_nodes = asker.is_unspecified();
            let destination = if all_nodes { ALL_NODES_MAC } else { view.source };
            (destination, nd_answer(&mut space[view.network..], solicitation, asker, neighbour)?)
        }
    };
    Ethernet { destination, source: neighbour.mac, ethertype }.emit(space)?;
    buf.filled(view.network + length);
    Ok(())
}

fn arp_answer(out: &mut [u8], request: Arp, neighbour: Neighbour) -> Result<usize, WireError> {
    let reply = Arp {
        operation: arp::REPLY,
        sender_mac: neighbour.mac,
        sender_ip: request.target_ip,
        target_mac: request.sender_mac,
        target_ip: request.sender_ip,
    };
    reply.emit(out)?;
    Ok(Arp::LEN)
}

/// "If the source of the solicitation is the unspecified address, the node MUST set the Solicited flag to zero and multicast
/// the advertisement to the all-nodes address" (RFC 4861 section 7.2.4).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

fn nd_answer(
    out: &mut [u8],
    solicitation: Solicitation,
    asker: Ipv6Addr,
    neighbour: Neighbour,
) -> Result<usize, WireError> {
    let solicited = !asker.is_unspecified();
    let (source, destination) = (solicitation.target, if solicited { asker } else { ALL_NODES });
    let (router, mac) = (neighbour.router, Some(neighbour.mac));
    let answer = Advertisement { router, solicited, replaces: true, target: solicitation.target, mac };
    let has = out.len();
    let body = out.get_mut(Ipv6::LEN..).ok_or(WireError::Short { header: Ipv6::NAME, needs: Ipv6::LEN, has })?;
    let len = answer.emit(body, source, destination)?;
    let payload = u16::try_from(len).unwrap_or_default();
    let header = Ipv6 { class: 0, label: 0, payload, next: ip::ICMPV6, hop_limit: nd::HOP_LIMIT, source, destination };
    header.emit(out)?;
    Ok(Ipv6::LEN + len)
}
