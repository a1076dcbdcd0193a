//! What this host is besides our own devices: its interfaces with their addresses and MTUs, the interface of its default route,
//! and what its CPU can do.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use super::netlink::Netlink;
use crate::node::attach::Interface;
use crate::types::IfName;

/// Every interface, by name.
///
/// # Errors
/// The system's.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut netlink = Netlink::open()?;
    let mut found: BTreeMap<u32, Interface> = BTreeMap::new();
    for message in netlink.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))? {
        if let RouteNetlinkMessage::NewLink(link) = message
            && let Some(interface) = read_link(&link)
        {
            found.insert(link.header.index, interface);
        }
    }
    for message in netlink.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))? {
        if let RouteNetlinkMessage::NewAddress(address) = message
            && let Some(interface) = found.get_mut(&address.header.index)
        {
            interface.addresses.extend(read_address(&address));
        }
    }
    let mut all: Vec<Interface> = found.into_values().collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    for interface in &mut all {
        // IPv4 first; within a family the kernel's order stands, so that the primary address comes first.
        interface.addresses.sort_by_key(IpAddr::is_ipv6);
    }
    Ok(all)
}

fn read_link(link: &LinkMessage) -> Option<Interface> {
    let (mut name, mut mtu) = (None, 0);
    for attribute in &link.attributes {
        if let LinkAttribute::IfName(text) = attribute {
            name = text.parse::<IfName>().ok();
        } else if let LinkAttribute::Mtu(bytes) = attribute {
            mtu = *bytes;
        }
    }
    Some(Interface { name: name?, mtu, addresses: Vec::new() })
}

/// The host's own address of a message; none where only this link or this host knows it.
fn read_address(message: &AddressMessage) -> Option<IpAddr> {
    if message.header.scope != AddressScope::Universe {
        return None;
    }
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        if let AddressAttribute::Local(ip) = attribute {
            local = Some(*ip);
        } else if let AddressAttribute::Address(ip) = attribute {
            address = Some(*ip);
        }
    }
    // On a point-to-point link `Address` is the other end.
    local.or(address)
}

/// The interface of the default route, IPv4 before IPv6.
pub fn default_route() -> Option<IfName> {
    let v4 = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    default_v4(&v4).or_else(|| default_v6(&v6))
}

/// `/proc/net/route`: Iface Destination Gateway Flags RefCnt Use Metric Mask ...; the numbers but the metric in hexadecimal.
fn default_v4(text: &str) -> Option<IfName> {
    let routes = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let all = *fields.get(1)? == "00000000" && *fields.get(7)? == "00000000";
        all.then_some((fields.get(6)?.parse::<u32>().ok()?, fields.first()?.parse().ok()?))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

/// `/proc/net/ipv6_route`: destination, its length, source, its length, next hop, metric, references, uses, flags, device.
fn default_v6(text: &str) -> Option<IfName> {
    let routes = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let all = *fields.first()? == format!("{:032x}", u128::from(Ipv6Addr::UNSPECIFIED)) && *fields.get(1)? == "00";
        let metric = u32::from_str_radix(fields.get(5)?, 16).ok()?;
        let name = *fields.get(9)?;
        // The kernel's own "unreachable" default stands on lo.
        (all && name != "lo").then_some((metric, name.parse().ok()?))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

/// True where the CPU has AES and carry-less multiplication instructions.
pub fn aes_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

/// Effective capabilities of this process, one bit each (capabilities(7)).
///
/// # Errors
/// The system's.
pub fn capabilities() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status names no capabilities"))
}

/// The first label of the host's name, in lower case.
///
/// # Errors
/// The system's.
pub fn name() -> io::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    Ok(text.trim().split('.').next().unwrap_or_default().to_ascii_lowercase())
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
