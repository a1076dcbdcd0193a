//! What the kernel holds, read from netlink dumps into [`Observed`].

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel has more attributes than we look at")]

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeBooleanOptionFlags, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData,
    InfoPortData, InfoTun, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{self, Netlink};
use super::{addresses, sysctl};
use crate::node::desired::{
    Bridge, BridgeEntry, Hold, Kind, Link, Neighbour, Observed, Port, PortFlags, Tap, Vtep, Vxlan,
};
use crate::node::names;
use crate::types::{IfName, Mac};

/// `IFLA_TUN_*` (linux/if_link.h).
const TUN_TYPE: u16 = 3;
const TUN_VNET_HDR: u16 = 5;
const TUN_PERSIST: u16 = 6;
const TUN_MULTI_QUEUE: u16 = 7;
/// `IFF_TAP` (linux/if_tun.h).
const TYPE_TAP: u8 = 2;

/// Names of links by index.
type Names = BTreeMap<u32, IfName>;

/// Everything but the packet filter.
pub(super) fn observe(netlink: &mut Netlink) -> io::Result<Observed> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let (mut observed, names) = read_links(netlink.dump(RouteNetlinkMessage::GetLink(request))?);
    for family in [AddressFamily::Bridge, AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = NeighbourMessage::default();
        request.header.family = family;
        for message in netlink.dump(RouteNetlinkMessage::GetNeighbour(request))? {
            if let RouteNetlinkMessage::NewNeighbour(entry) = message {
                read_entry(&entry, &names, &mut observed);
            }
        }
    }
    for address in addresses::dump(netlink, AddressFamily::Unspec)? {
        read_address(address, &names, &mut observed);
    }
    Ok(observed)
}

/// What a datagram of the kernel says of links and entries, whatever it was asked. [`super::Kernel::observe`] asks one by one.
///
/// # Errors
/// It is cut, or no netlink.
pub fn read(datagram: &[u8]) -> io::Result<Observed> {
    let mut messages = Vec::new();
    netlink::each(datagram, |message| {
        if let NetlinkPayload::InnerMessage(inner) = message.payload {
            messages.push(inner);
        }
        Ok(())
    })?;
    let (mut observed, names) = read_links(messages.clone());
    for message in messages {
        if let RouteNetlinkMessage::NewNeighbour(entry) = message {
            read_entry(&entry, &names, &mut observed);
        } else {
            read_address(message, &names, &mut observed);
        }
    }
    Ok(observed)
}

/// An address on a device with our name: one that the kernel gave is taken off again, any other is somebody's.
fn read_address(message: RouteNetlinkMessage, known: &Names, observed: &mut Observed) {
    let RouteNetlinkMessage::NewAddress(address) = &message else { return };
    let Some(name) = known.get(&address.header.index).filter(|name| names::parse(name.as_str()).is_some()) else {
        return;
    };
    let (name, own) = (name.clone(), addresses::address_of(address));
    if addresses::of_kernel(message).is_none() {
        observed.addresses.entry(name).or_default().extend(own);
    } else if let Some(link) = observed.links.get_mut(&name) {
        link.no_addresses = false;
    }
}

fn read_links(messages: Vec<RouteNetlinkMessage>) -> (Observed, Names) {
    let links: Vec<LinkMessage> = messages.into_iter().filter_map(link).collect();
    let names: Names = links.iter().filter_map(|link| Some((link.header.index, name_of(link)?))).collect();
    let mut observed = Observed::default();
    for message in &links {
        if let Some(name) = names.get(&message.header.index) {
            observed.links.insert(name.clone(), read_link(name, message, &names));
        }
    }
    (observed, names)
}

fn link(message: RouteNetlinkMessage) -> Option<LinkMessage> {
    if let RouteNetlinkMessage::NewLink(link) = message { Some(link) } else { None }
}

/// A name that is no [`IfName`] (bytes that are not ASCII) is of no link that we could mean.
fn name_of(link: &LinkMessage) -> Option<IfName> {
    link.attributes.iter().find_map(|a| if let LinkAttribute::IfName(name) = a { name.parse().ok() } else { None })
}

fn read_link(name: &IfName, message: &LinkMessage, names: &Names) -> Link {
    let up = message.header.flags.contains(LinkFlags::Up);
    let kind = Kind::Other(String::new());
    let mut link = Link { kind, alias: None, mtu: 0, up, no_addresses: true, port: None };
    let (mut bridge, mut flags) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => bridge = names.get(index).cloned(),
            LinkAttribute::AfSpecUnspec(families) => link.no_addresses = no_addresses(families),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) if matches!(link.kind, Kind::Other(_)) => {
                            link.kind = Kind::Other(kind.to_string());
                        }
                        LinkInfo::Data(InfoData::Bridge(data)) => link.kind = Kind::Bridge(read_bridge(name, data)),
                        LinkInfo::Data(InfoData::Vxlan(data)) => link.kind = Kind::Vxlan(read_vxlan(data, names)),
                        LinkInfo::Data(InfoData::Tun(data)) => link.kind = read_tun(data),
                        LinkInfo::PortData(InfoPortData::BridgePort(data)) => flags = Some(read_port(data)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    link.port = bridge.zip(flags).map(|(bridge, flags)| Port { bridge, flags });
    link
}

/// True where IPv6 gives the device no address of its own: it is told not to, or there is no IPv6.
fn no_addresses(families: &[AfSpecUnspec]) -> bool {
    let inet6 = families.iter().find_map(|f| if let AfSpecUnspec::Inet6(inet6) = f { Some(inet6) } else { None });
    inet6.is_none_or(|inet6| inet6.contains(&AfSpecInet6::AddrGenMode(In6AddrGenMode::None)))
}

fn read_bridge(name: &IfName, data: &[InfoBridge]) -> Bridge {
    // A kernel that does not tell of an attribute does not have it, and asking again would not help.
    let mut bridge = Bridge { mcast_snooping: false, vlan_filtering: false, ..Bridge::OURS };
    for attribute in data {
        match attribute {
            InfoBridge::MulticastSnooping(on) => bridge.mcast_snooping = *on,
            InfoBridge::VlanFiltering(on) => bridge.vlan_filtering = *on,
            InfoBridge::FdbMaxLearned(most) => bridge.fdb_max_learned = *most,
            InfoBridge::GroupFwdMask(mask) => bridge.group_fwd_mask = *mask,
            InfoBridge::MultiBoolOpt(options) => {
                bridge.no_linklocal_learn = options.value.contains(BridgeBooleanOptionFlags::NoLinkLocalLearn);
            }
            _ => {}
        }
    }
    // Two files each: not for the bridges of others.
    if names::parse(name.as_str()).is_some() {
        bridge.accept_ra = sysctl::accept_ra(name).unwrap_or(bridge.accept_ra);
        bridge.arp_ignore = sysctl::arp_ignore(name).unwrap_or(bridge.arp_ignore);
    }
    bridge
}

fn read_vxlan(data: &[InfoVxlan], names: &Names) -> Vxlan {
    let mut vxlan = Vxlan { vni: 0, udp_port: 0, ipv6: false, local: None, dev: None, ttl: 0, learning: false };
    for attribute in data {
        match attribute {
            InfoVxlan::Id(vni) => vxlan.vni = *vni,
            InfoVxlan::Port(port) => vxlan.udp_port = *port,
            InfoVxlan::Local(address) => vxlan.local = Some(IpAddr::V4(*address)),
            InfoVxlan::Local6(address) => vxlan.local = Some(IpAddr::V6(*address)),
            InfoVxlan::Link(index) => vxlan.dev = names.get(index).cloned(),
            InfoVxlan::Ttl(ttl) => vxlan.ttl = *ttl,
            InfoVxlan::Learning(on) => vxlan.learning = *on,
            _ => {}
        }
    }
    vxlan.ipv6 = vxlan.local.is_some_and(|a| a.is_ipv6());
    vxlan.local = vxlan.local.filter(|a| !a.is_unspecified());
    vxlan
}

fn read_tun(data: &[InfoTun]) -> Kind {
    use netlink_packet_core::Nla as _;
    let byte = |wanted| {
        data.iter().find_map(|attribute| match attribute {
            InfoTun::Other(nla) if nla.kind() == wanted && nla.value_len() == 1 => {
                let mut value = [0];
                nla.emit_value(&mut value);
                Some(value[0])
            }
            _ => None,
        })
    };
    if byte(TUN_TYPE) != Some(TYPE_TAP) {
        return Kind::Other("tun".into());
    }
    let on = |wanted| byte(wanted) == Some(1);
    Kind::Tap(Tap { multi_queue: on(TUN_MULTI_QUEUE), vnet_hdr: on(TUN_VNET_HDR), persist: on(TUN_PERSIST) })
}

fn read_port(data: &[InfoBridgePort]) -> PortFlags {
    let mut flags = PortFlags {
        isolated: false,
        learning: false,
        locked: false,
        neigh_suppress: false,
        flood: false,
        mcast_flood: false,
        bcast_flood: false,
    };
    for attribute in data {
        match attribute {
            InfoBridgePort::Isolated(on) => flags.isolated = *on,
            InfoBridgePort::Learning(on) => flags.learning = *on,
            InfoBridgePort::Locked(on) => flags.locked = *on,
            InfoBridgePort::NeighSupress(on) => flags.neigh_suppress = *on,
            InfoBridgePort::UnicastFlood(on) => flags.flood = *on,
            InfoBridgePort::MulticastFlood(on) => flags.mcast_flood = *on,
            InfoBridgePort::BroadcastFlood(on) => flags.bcast_flood = *on,
            _ => {}
        }
    }
    flags
}

/// One FDB or neighbour entry, if it is on a device with our name.
fn read_entry(entry: &NeighbourMessage, names: &Names, observed: &mut Observed) {
    let Some(device) = names.get(&entry.header.ifindex) else { return };
    let (mut mac, mut address, mut via, mut bridge) = (None, None, None, None);
    for attribute in &entry.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = <[u8; 6]>::try_from(&bytes[..]).ok().map(Mac),
            NeighbourAttribute::Destination(destination) => address = ip(destination),
            NeighbourAttribute::IfIndex(index) => via = names.get(index).cloned(),
            NeighbourAttribute::Controller(index) => bridge = names.get(index),
            _ => {}
        }
    }
    let Some(mac) = mac else { return };
    if entry.header.family != AddressFamily::Bridge {
        // The kernel's own entries for groups come and go.
        let permanent = entry.header.state == NeighbourState::Permanent;
        let ours = names::parse(device.as_str()).is_some() && entry.header.state != NeighbourState::Noarp;
        if let Some(address) = address.filter(|_| ours) {
            observed.neighbours.entry(device.clone()).or_default().insert(address, Neighbour { mac, permanent });
        }
        return;
    }
    match (bridge, address) {
        (Some(bridge), _) => read_bridge_entry(entry, bridge, device, mac, observed),
        (None, Some(address)) if entry.header.flags.contains(NeighbourFlags::Own) => {
            if names::parse(device.as_str()).is_none() {
                return;
            }
            let vtep = Vtep { address, via };
            if mac == Mac::ZERO {
                observed.flood.entry(device.clone()).or_default().insert(vtep);
            } else {
                observed.vxlan_fdb.entry(device.clone()).or_default().entry(mac).or_default().insert(vtep);
            }
        }
        (None, _) => {}
    }
}

fn read_bridge_entry(entry: &NeighbourMessage, bridge: &IfName, port: &IfName, mac: Mac, observed: &mut Observed) {
    let hold = match entry.header.state {
        // The address of the port itself.
        NeighbourState::Permanent => return,
        NeighbourState::Noarp if entry.header.flags.contains(NeighbourFlags::Sticky) => Hold::Pinned,
        NeighbourState::Noarp => Hold::Static,
        _ => Hold::Learned,
    };
    if names::parse(bridge.as_str()).is_some() {
        let entry = BridgeEntry { port: port.clone(), hold };
        observed.bridge_fdb.entry(bridge.clone()).or_default().insert(mac, entry);
    }
}

fn ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(a) => Some(IpAddr::V4(*a)),
        NeighbourAddress::Inet6(a) => Some(IpAddr::V6(*a)),
        // In the family of bridges the length tells.
        NeighbourAddress::Other(bytes) => <[u8; 4]>::try_from(&bytes[..])
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(&bytes[..]).map(IpAddr::from))
            .ok(),
        _ => None,
    }
}
