//! Frames to many, and who would hear them who must not. A host is a member of every group on its own bridges.

use std::net::{IpAddr, Ipv4Addr};

use super::drops::DropReason;
use super::table::{Net, Place};
use super::view::View;
use crate::types::Mac;
use crate::wire::Header;
use crate::wire::ethernet;
use crate::wire::ip::{Ipv4, Ipv6};

/// May a frame to this destination be carried between nodes? `view` is of `frame`. What does not parse is not for here to judge.
pub(super) fn check(net: &Net, view: &View, frame: &[u8]) -> Result<(), DropReason> {
    if !view.destination.is_group() {
        return Ok(());
    }
    if is_reserved(view.destination) {
        return Err(DropReason::GroupReserved);
    }
    let packet = frame.get(view.network..).unwrap_or_default();
    let for_one = match view.ethertype {
        ethernet::IPV4 => Ipv4::parse(packet).is_ok_and(|header| !is_to_many(net, view, &header)),
        ethernet::IPV6 => Ipv6::parse(packet).is_ok_and(|header| !header.destination.is_multicast()),
        _ => false,
    };
    if for_one { Err(DropReason::GroupUnicast) } else { Ok(()) }
}

/// True where all guests that may have the IP address which such a frame is for are reached without a tunnel: nobody misses what ends here.
pub(super) fn misses_nobody(net: &Net, view: &View, frame: &[u8]) -> bool {
    let packet = frame.get(view.network..).unwrap_or_default();
    let to = match view.ethertype {
        ethernet::IPV4 => Ipv4::parse(packet).ok().map(|header| IpAddr::V4(header.destination)),
        ethernet::IPV6 => Ipv6::parse(packet).ok().map(|header| IpAddr::V6(header.destination)),
        _ => None,
    };
    let Some(to) = to else { return false };
    let owner = match to {
        IpAddr::V4(to) => net.arp(view.vlan, to),
        IpAddr::V6(to) => net.nd(view.vlan, to),
    };
    let holders = net.holders(view.vlan, to).unwrap_or_default().iter().copied();
    let mut all = owner.map(|owner| owner.mac).into_iter().chain(holders).peekable();
    let near = |mac| {
        let place = net.station(view.vlan, mac).map(|station| station.place);
        place.is_some_and(|place| matches!(place, Place::Local | Place::Plain(_)))
    };
    all.peek().is_some() && all.all(near)
}

/// The groups that no bridge forwards (IEEE 802.1Q-2018 table 8-1), of which a Linux bridge keeps some for its host, past the verdicts
/// of its prerouting hook (`br_handle_frame`).
fn is_reserved(destination: Mac) -> bool {
    matches!(destination.0, [0x01, 0x80, 0xc2, 0, 0, 0..=0x0f])
}

/// Multicast, the limited broadcast, or the broadcast of a subnet that the sender is in.
fn is_to_many(net: &Net, view: &View, header: &Ipv4) -> bool {
    let to = header.destination;
    to.is_multicast() || to.is_broadcast() || (is_broadcast_for(header.source, to) && is_nobodys(net, view, to))
}

/// True where some subnet that `source` is in has this broadcast address: behind the first bit in which the two differ there are only ones,
/// and two at least, since a subnet of hosts has four addresses (RFC 1122 section 3.2.1.3 (d)). How guests divide their network is not told
/// to anybody.
fn is_broadcast_for(source: Ipv4Addr, to: Ipv4Addr) -> bool {
    let differ = u32::from(source) ^ u32::from(to);
    let hosts = u32::MAX.checked_shr(differ.leading_zeros()).unwrap_or(0) | 3;
    u32::from(to) & hosts == hosts
}

/// Inside the network, and of no guest.
fn is_nobodys(net: &Net, view: &View, to: Ipv4Addr) -> bool {
    let inside = net.cidr.is_empty() || net.cidr.iter().any(|prefix| prefix.contains(IpAddr::V4(to)));
    inside && net.arp(view.vlan, to).is_none() && net.holders(view.vlan, IpAddr::V4(to)).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_address_is_one_of_a_subnet_that_the_sender_is_in() {
        for (source, to, is) in [
            ("192.168.10.4", "192.168.10.255", true),
            ("192.168.10.4", "192.168.10.7", true),
            ("192.168.10.4", "192.168.255.255", true),
            ("10.1.2.3", "10.255.255.255", true),
            ("192.168.10.4", "192.168.10.5", false),
            ("192.168.10.4", "192.168.10.3", false),
            ("192.168.10.4", "192.168.10.254", false),
            ("192.168.10.4", "192.168.11.255", true),
            ("192.168.10.4", "192.168.12.255", false),
            ("192.168.10.4", "198.18.1.1", false),
            ("192.168.10.4", "198.18.1.255", false),
            ("192.168.10.4", "192.168.10.4", false),
            ("192.168.10.7", "192.168.10.7", true),
            ("0.0.0.0", "10.0.0.1", false),
            ("0.0.0.0", "0.0.0.0", false),
        ] {
            assert_eq!(is_broadcast_for(source.parse().unwrap(), to.parse().unwrap()), is, "{source} to {to}");
        }
    }

    #[test]
    fn sixteen_groups_are_reserved_and_their_neighbours_are_not() {
        let of = |last| Mac([0x01, 0x80, 0xc2, 0, 0, last]);
        assert!((0..=0x0f).all(|last| is_reserved(of(last))));
        assert!((0x10..=0xff).all(|last| !is_reserved(of(last))));
        for other in [[0x33, 0x33, 0, 0, 0, 1], [0x01, 0, 0x5e, 0, 0, 1], [0x01, 0x80, 0xc2, 0, 1, 0], [0xff; 6]] {
            assert!(!is_reserved(Mac(other)));
        }
    }
}
