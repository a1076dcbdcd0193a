//! Ops as netlink requests. Devices are named in ops and numbered here: nothing outside `linux` knows an interface index.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeBooleanOptionFlags, BridgeBooleanOptions, BridgeStpState, In6AddrGenMode,
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVxlan, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::Request;
use crate::node::desired::{Bridge, PortFlags, Vtep, Vxlan};
use crate::types::{IfName, Mac};

/// `NUD_NOARP | NUD_REACHABLE`, what `static` means to `bridge fdb`: it does not age. A vxlan device refuses the first without
/// the second.
const STATIC: u16 = 0x42;

/// A link by index with some attributes.
fn link(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn change(index: u32, attributes: Vec<LinkAttribute>) -> Request {
    (RouteNetlinkMessage::SetLink(link(index, attributes)), 0)
}

/// Asks for one link by name.
pub(super) fn find(name: &str) -> Request {
    (RouteNetlinkMessage::GetLink(link(0, vec![LinkAttribute::IfName(name.to_owned())])), 0)
}

/// A new bridge that will get this MTU. It starts with another one, so that [`christen`] changes it: a bridge keeps an MTU that
/// was *changed*, and follows its ports with any other (`br_mtu_auto_adjust`, net/bridge/br_if.c).
pub(super) fn new_bridge(name: &str, mtu: u32) -> Request {
    let other = LinkAttribute::Mtu(if mtu == ETHERNET_MTU { ETHERNET_MTU + 1 } else { ETHERNET_MTU });
    create(name, vec![other], LinkInfo::Kind(InfoKind::Bridge), InfoData::Bridge(Vec::new()))
}

const ETHERNET_MTU: u32 = 1500;

/// A new vxlan device; `dev` is the index of its underlay. The MTU is given here because the kernel checks it against the underlay.
pub(super) fn new_vxlan(name: &str, vxlan: &Vxlan, mtu: u32, dev: Option<u32>, ipv6: bool) -> Request {
    let mut data = vec![
        InfoVxlan::Id(vxlan.vni),
        InfoVxlan::Port(vxlan.udp_port),
        InfoVxlan::Ttl(vxlan.ttl),
        InfoVxlan::Learning(vxlan.learning),
    ];
    data.extend(dev.map(InfoVxlan::Link));
    match vxlan.local {
        Some(IpAddr::V4(address)) => data.push(InfoVxlan::Local(address)),
        Some(IpAddr::V6(address)) => data.push(InfoVxlan::Local6(address)),
        // Without a local address it is the unspecified one that says which family the device speaks.
        None if ipv6 => data.push(InfoVxlan::Local6(std::net::Ipv6Addr::UNSPECIFIED)),
        None => {}
    }
    create(name, vec![LinkAttribute::Mtu(mtu)], LinkInfo::Kind(InfoKind::Vxlan), InfoData::Vxlan(data))
}

fn create(name: &str, mut attributes: Vec<LinkAttribute>, kind: LinkInfo, data: InfoData) -> Request {
    attributes.push(LinkAttribute::IfName(name.to_owned()));
    attributes.push(LinkAttribute::LinkInfo(vec![kind, LinkInfo::Data(data)]));
    (RouteNetlinkMessage::NewLink(link(0, attributes)), NLM_F_CREATE | NLM_F_EXCL)
}

/// Gives a new device its name and its alias in one step, so that it is never seen with our name but not ours.
pub(super) fn christen(index: u32, name: &IfName, alias: &str, mtu: u32) -> Request {
    let name = LinkAttribute::IfName(name.to_string());
    change(index, vec![name, LinkAttribute::IfAlias(alias.to_owned()), LinkAttribute::Mtu(mtu)])
}

/// Gives a device another name.
pub(super) fn rename(index: u32, name: &IfName) -> Request {
    change(index, vec![LinkAttribute::IfName(name.to_string())])
}

/// Sets an Ethernet address, after which the kernel no longer chooses one.
pub(super) fn address(index: u32, address: Vec<u8>) -> Request {
    change(index, vec![LinkAttribute::Address(address)])
}

/// The Ethernet address that an answer tells.
pub(super) fn address_of(link: &LinkMessage) -> Vec<u8> {
    let address = |a: &LinkAttribute| if let LinkAttribute::Address(bytes) = a { Some(bytes.clone()) } else { None };
    link.attributes.iter().find_map(address).unwrap_or_default()
}

pub(super) fn no_addresses(index: u32) -> Request {
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    change(index, vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])])])
}

pub(super) fn delete_address(address: AddressMessage) -> Request {
    (RouteNetlinkMessage::DelAddress(address), 0)
}

pub(super) fn delete(index: u32) -> Request {
    (RouteNetlinkMessage::DelLink(link(index, Vec::new())), 0)
}

pub(super) fn mtu(index: u32, mtu: u32) -> Request {
    change(index, vec![LinkAttribute::Mtu(mtu)])
}

pub(super) fn up(index: u32, up: bool) -> Request {
    let mut message = link(index, Vec::new());
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    (RouteNetlinkMessage::SetLink(message), 0)
}

pub(super) fn master(index: u32, bridge: u32) -> Request {
    change(index, vec![LinkAttribute::Controller(bridge)])
}

pub(super) fn bridge(index: u32, bridge: &Bridge) -> Request {
    let learn = BridgeBooleanOptionFlags::NoLinkLocalLearn;
    let value = if bridge.no_linklocal_learn { learn } else { BridgeBooleanOptionFlags::empty() };
    bridge_data(
        index,
        vec![
            InfoBridge::StpState(if bridge.stp { BridgeStpState::KernelStp } else { BridgeStpState::Disabled }),
            InfoBridge::MulticastSnooping(bridge.mcast_snooping),
            InfoBridge::GroupFwdMask(bridge.group_fwd_mask),
            InfoBridge::FdbMaxLearned(bridge.fdb_max_learned),
            InfoBridge::MultiBoolOpt(BridgeBooleanOptions { value, mask: learn }),
        ],
    )
}

pub(super) fn no_vlan_filtering(index: u32) -> Request {
    bridge_data(index, vec![InfoBridge::VlanFiltering(false)])
}

fn bridge_data(index: u32, data: Vec<InfoBridge>) -> Request {
    let info = vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(InfoData::Bridge(data))];
    (RouteNetlinkMessage::NewLink(link(index, vec![LinkAttribute::LinkInfo(info)])), 0)
}

pub(super) fn port(index: u32, flags: PortFlags) -> Request {
    let data = vec![
        InfoBridgePort::Isolated(flags.isolated),
        InfoBridgePort::Learning(flags.learning),
        InfoBridgePort::Locked(flags.locked),
        InfoBridgePort::NeighSupress(flags.neigh_suppress),
        InfoBridgePort::UnicastFlood(flags.flood),
        InfoBridgePort::MulticastFlood(flags.mcast_flood),
        InfoBridgePort::BroadcastFlood(flags.bcast_flood),
        InfoBridgePort::HairpinMode(flags.hairpin),
        InfoBridgePort::ProxyARP(flags.proxy_arp),
        InfoBridgePort::ProxyARPWifi(flags.proxy_arp),
    ];
    let info = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(InfoPortData::BridgePort(data))];
    (RouteNetlinkMessage::NewLink(link(index, vec![LinkAttribute::LinkInfo(info)])), 0)
}

/// What is done to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Replace,
    Append,
    Delete,
}

fn entry(verb: Verb, message: NeighbourMessage) -> Request {
    match verb {
        Verb::Replace => (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE),
        Verb::Append => (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_APPEND),
        Verb::Delete => (RouteNetlinkMessage::DelNeighbour(message), 0),
    }
}

/// An entry of the bridge that a port is in.
pub(super) fn bridge_entry(verb: Verb, port: u32, mac: Mac) -> Request {
    let mut message = fdb(port, mac);
    message.header.flags = NeighbourFlags::Controller;
    if verb != Verb::Delete {
        message.header.flags |= NeighbourFlags::Sticky;
    }
    entry(verb, message)
}

/// An entry of a vxlan device; `via` is the index of the interface. [`Mac::ZERO`] is the flood list.
pub(super) fn vxlan_entry(verb: Verb, vxlan: u32, mac: Mac, vtep: &Vtep, via: Option<u32>) -> Request {
    let mut message = fdb(vxlan, mac);
    message.header.flags = NeighbourFlags::Own;
    if mac == Mac::ZERO {
        message.header.state = NeighbourState::Permanent;
    }
    let address = match vtep.address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Other(address)));
    message.attributes.extend(via.map(NeighbourAttribute::IfIndex));
    entry(verb, message)
}

fn fdb(device: u32, mac: Mac) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = device;
    message.header.state = NeighbourState::Other(STATIC);
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message
}

/// A neighbour on a bridge with its Ethernet address, and whether it is a router; none for deletion.
pub(super) fn neighbour(verb: Verb, bridge: u32, address: IpAddr, owner: Option<(Mac, bool)>) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.ifindex = bridge;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    if let Some((mac, router)) = owner {
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        if router {
            message.header.flags |= NeighbourFlags::Router;
        }
    }
    entry(verb, message)
}
