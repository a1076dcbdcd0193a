//! Addresses of devices, and which of them the kernel has given to a device by itself.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel has more attributes than we look at")]

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{self, HEADER, Netlink, word};

/// Those that the kernel has given to one device: link-local ones, and those that follow a router advertisement.
///
/// # Errors
/// The kernel cannot be read.
pub(super) fn read(netlink: &mut Netlink, index: u32) -> io::Result<Vec<AddressMessage>> {
    let all = dump(netlink, AddressFamily::Inet6, |of, _| of == index)?;
    Ok(all.into_iter().filter_map(of_kernel).collect())
}

/// An address by which the host is reached at a device: one that is not link-local, which every device gets that is up.
///
/// # Errors
/// The kernel cannot be read.
pub(super) fn of_host(netlink: &mut Netlink, index: u32) -> io::Result<Option<IpAddr>> {
    let all = dump(netlink, AddressFamily::Unspec, |of, _| of == index)?;
    let address = |message| if let RouteNetlinkMessage::NewAddress(of) = message { address_of(&of) } else { None };
    let reached = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    Ok(all.into_iter().filter_map(address).find(reached))
}

/// All addresses of some devices, by index and scope (`enum rt_scope_t`, linux/rtnetlink.h). Those of other devices are passed over: a host of containers has thousands.
///
/// # Errors
/// The kernel cannot be read.
pub(super) fn dump(
    netlink: &mut Netlink,
    family: AddressFamily,
    mut wanted: impl FnMut(u32, u8) -> bool,
) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut request = AddressMessage::default();
    request.header.family = family;
    let all = netlink.dump_by(RouteNetlinkMessage::GetAddress(request), |raw| {
        // `struct ifaddrmsg`: family, length of the prefix, flags, scope, index.
        let (Some(index), Some(scope)) = (word(raw, HEADER + 4), raw.get(HEADER + 3)) else { return Ok(None) };
        if !wanted(index, *scope) {
            return Ok(None);
        }
        let message = netlink::decode(raw)?;
        let address = if let Some(RouteNetlinkMessage::NewAddress(of)) = &message { address_of(of) } else { None };
        Ok(message.map(|message| ((index, address), message)))
    })?;
    Ok(all.into_values().collect())
}

/// The address that a message is about.
pub(super) fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let own = |a: &AddressAttribute| if let AddressAttribute::Local(own) = a { Some(*own) } else { None };
    let address = |a: &AddressAttribute| if let AddressAttribute::Address(own) = a { Some(*own) } else { None };
    message.attributes.iter().find_map(own).or_else(|| message.attributes.iter().find_map(address))
}

/// The message, if it is of such an address.
pub(super) fn of_kernel(message: RouteNetlinkMessage) -> Option<AddressMessage> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let (mut from, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Protocol(protocol) => from = Some(*protocol),
            AddressAttribute::Address(IpAddr::V6(own)) => address = Some(*own),
            _ => {}
        }
    }
    let by_kernel = match from {
        Some(AddressProtocol::LinkLocal | AddressProtocol::RouterAnnouncement) => true,
        Some(_) => false,
        // Before Linux 5.18 nobody says whose it is.
        None => address.is_some_and(|address| address.is_unicast_link_local() && is_of_mac(address)),
    };
    by_kernel.then_some(message)
}

/// True where the lower half is made of an Ethernet address (RFC 4291, appendix A).
fn is_of_mac(address: Ipv6Addr) -> bool {
    address.octets()[11..13] == [0xff, 0xfe]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(address: &str, from: Option<AddressProtocol>) -> RouteNetlinkMessage {
        let mut message = AddressMessage::default();
        message.attributes.push(AddressAttribute::Address(address.parse().unwrap()));
        message.attributes.extend(from.map(AddressAttribute::Protocol));
        RouteNetlinkMessage::NewAddress(message)
    }

    #[test]
    fn what_an_operator_has_given_is_not_of_the_kernel() {
        use AddressProtocol::{LinkLocal, Other, RouterAnnouncement};
        for (address, from, by_kernel) in [
            ("fe80::8487:87ff:fee8:4967", None, true),
            ("fe80::8487:87ff:fee8:4967", Some(LinkLocal), true),
            ("fe80::1234:5678:9abc:def0", Some(LinkLocal), true),
            ("2001:db8::8487:87ff:fee8:4967", Some(RouterAnnouncement), true),
            ("fe80::1", None, false),
            ("fe80::8487:87ff:fee8:4967", Some(Other(4)), false),
            ("2001:db8::8487:87ff:fee8:4967", None, false),
            ("192.0.2.1", None, false),
        ] {
            assert_eq!(of_kernel(message(address, from)).is_some(), by_kernel, "{address} {from:?}");
        }
    }
}
