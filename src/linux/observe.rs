//! What the kernel holds, read from netlink dumps into [`Observed`].

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel has more attributes than we look at")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;

use netlink_packet_core::{NetlinkPayload, NlasIterator};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeBooleanOptionFlags, BridgePortState, BridgeStpState, In6AddrGenMode, InfoBridge,
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoTun, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags,
    LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::fdb::{self, Guests};
use super::netlink::{self, HEADER, Netlink, word};
use super::{addresses, sysctl};
use crate::node::desired::{
    Bridge, BridgeEntry, Hold, Kind, Link, Neighbour, Observed, Place, Port, PortFlags, Tap, Vtep, Vxlan,
};
use crate::node::names;
use crate::types::{IfName, Mac};

/// `IFLA_TUN_*` (linux/if_link.h).
const TUN_OWNER: u16 = 1;
const TUN_TYPE: u16 = 3;
const TUN_VNET_HDR: u16 = 5;
const TUN_PERSIST: u16 = 6;
const TUN_MULTI_QUEUE: u16 = 7;
const TUN_QUEUES: [u16; 2] = [8, 9];
/// `IFF_TAP` (linux/if_tun.h).
const TYPE_TAP: u8 = 2;

/// `IFF_LOWER_UP` (linux/if.h).
const LOWER_UP: u32 = 1 << 16;
/// `IFLA_*` (linux/if_link.h), which tell a link that matters from one that does not.
const NAME: u16 = 3;
const MTU: u16 = 4;
const MASTER: u16 = 10;
const ALIAS: u16 = 20;
const INFO: u16 = 18;
const INFO_KIND: u16 = 1;
/// Of what kind that is which a link is a part of (`IFLA_INFO_SLAVE_KIND`).
const INFO_MASTER_KIND: u16 = 4;
/// Kinds of interfaces that guests are behind (`IFLA_INFO_KIND`). A network card says none.
const GUESTS: [&str; 6] = ["tun", "veth", "macvtap", "macvlan", "ipvtap", "netkit"];
/// `struct ifinfomsg` and `struct ndmsg`, behind the header.
const LINK: usize = HEADER + 16;
const ENTRY: usize = HEADER + 12;
/// `NDA_LLADDR` (linux/neighbour.h).
const LLADDR: u16 = 2;
/// What the kernel has heard by itself on one of our bridges and is kept of it: guests decide how much there is.
const HEARD: usize = 4096;

/// Names of links by index.
pub(super) type Names = BTreeMap<u32, IfName>;

/// Everything but the packet filter. What strangers, guests and other programs make many of (links that are none of ours, neighbours
/// on them, addresses that bridges learn) is passed over where it is read, and what is left of it is bounded.
pub(super) fn observe(netlink: &mut Netlink, guests: &mut Guests) -> io::Result<(Observed, Names)> {
    let (mut observed, names) = links(netlink)?;
    let ours = |name: &IfName| names::parse(name.as_str()).is_some();
    for (index, name) in names.iter().filter(|(_, name)| ours(name)) {
        // Nothing is learned on our own ports, so all that is there is of the table.
        if !is_bridge(name, &observed) {
            all_entries(netlink, *index, &names, &mut observed)?;
        }
    }
    let place = |(index, name): (&u32, &IfName)| {
        let bridge = observed.links.get(name)?.port.as_ref()?.bridge.clone();
        Some(fdb::Port { index: *index, name: name.clone(), bridge })
    };
    let ports = names.iter().filter(|(_, name)| !ours(name)).filter_map(place);
    let ports = ports.filter(|port| ours(&port.bridge)).collect();
    guests.read(netlink, ports, &names, &mut observed)?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        neighbours(netlink, family, &names, &mut observed)?;
    }
    let mut addressed = BTreeSet::new();
    let is_ours = |index: u32, scope: u8| {
        let ours = names.get(&index).is_some_and(ours);
        if !ours && scope < libc::RT_SCOPE_LINK {
            addressed.insert(index);
        }
        ours
    };
    for address in addresses::dump(netlink, AddressFamily::Unspec, is_ours)? {
        read_address(address, &names, &mut observed);
    }
    observed.addressed = addressed.iter().filter_map(|index| names.get(index).cloned()).collect();
    Ok((observed, names))
}

fn is_bridge(name: &IfName, observed: &Observed) -> bool {
    observed.links.get(name).is_some_and(|link| matches!(link.kind, Kind::Bridge(_)))
}

/// Links that matter: with our names, in our bridges, and vxlan devices, which hold UDP ports. Of all others the name is known.
fn links(netlink: &mut Netlink) -> io::Result<(Observed, Names)> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let mut bridges = request.clone();
    // The kernel sorts them out.
    bridges.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
    let bridges = netlink.dump_by(RouteNetlinkMessage::GetLink(bridges), |raw| {
        // One that somebody has renamed still says whose it is.
        let named = |link: &Light| link.name.as_ref().is_some_and(|n| names::parse(n.as_str()).is_some());
        let ours = light(raw).filter(|link| named(link) || link.alias_is_ours);
        Ok(ours.map(|link| (link.index, ())))
    })?;
    let all = netlink.dump_by(RouteNetlinkMessage::GetLink(request), |raw| {
        let Some(link) = light(raw) else { return Ok(None) };
        let ours = link.name.as_ref().is_some_and(|name| names::parse(name.as_str()).is_some());
        let held = bridges.contains_key(&link.index) || link.master.is_some_and(|master| bridges.contains_key(&master));
        let message = if ours || link.vxlan || held { netlink::decode(raw)? } else { None };
        let part_of_bridge = link.master_is_bridge && !held;
        Ok(link
            .name
            .map(|name| (link.index, (name, (link.up, link.card, link.dark), (link.master, part_of_bridge), message))))
    })?;
    let mut names = Names::new();
    let (mut messages, mut others, mut dark, mut stand) = (Vec::new(), BTreeSet::new(), BTreeSet::new(), Vec::new());
    let mut bridged = BTreeSet::new();
    for (index, (name, (up, card, is_dark), (master, part_of_bridge), message)) in all {
        if part_of_bridge {
            bridged.insert(name.clone());
        }
        if is_dark {
            dark.insert(name.clone());
        }
        if up && message.is_none() {
            others.insert(name.clone());
        }
        stand.push((name.clone(), index, master, (up, card)));
        names.insert(index, name);
        messages.extend(message.and_then(link));
    }
    let named = |index: u32| names.get(&index).map_or_else(|| format!("#{index}"), ToString::to_string);
    let place = |(name, index, master, (up, card)): (IfName, u32, Option<u32>, (bool, bool))| {
        (name, Place { index, master: master.map(named), up, card })
    };
    let places = stand.into_iter().map(place).collect();
    let mut observed = read_links(&messages, &names);
    observed.blocked.retain(|name| !dark.contains(name));
    Ok((Observed { up: others, dark, places, bridged, ..observed }, names))
}

/// What tells whether a link matters.
pub(super) struct Light {
    pub(super) index: u32,
    /// None where it is no [`IfName`].
    pub(super) name: Option<IfName>,
    pub(super) mtu: u32,
    up: bool,
    /// It is up, and has no carrier.
    dark: bool,
    master: Option<u32>,
    master_is_bridge: bool,
    vxlan: bool,
    alias_is_ours: bool,
    card: bool,
}

/// Reads no more of a link than that.
pub(super) fn light(raw: &[u8]) -> Option<Light> {
    let flags = word(raw, HEADER + 8)?;
    let up = flags & libc::IFF_UP.cast_unsigned() != 0;
    let dark = up && flags & LOWER_UP == 0;
    let mut link = Light {
        index: word(raw, HEADER + 4)?,
        name: None,
        mtu: 0,
        up,
        dark,
        master: None,
        master_is_bridge: false,
        vxlan: false,
        alias_is_ours: false,
        card: true,
    };
    for attribute in NlasIterator::new(raw.get(LINK..)?).flatten() {
        match attribute.kind() {
            NAME => link.name = text(attribute.value()).and_then(|name| name.parse().ok()),
            MTU => link.mtu = word(attribute.value(), 0).unwrap_or_default(),
            MASTER => link.master = word(attribute.value(), 0),
            ALIAS => {
                link.alias_is_ours = text(attribute.value()).and_then(names::net_of_alias).is_some();
            }
            INFO => {
                for info in NlasIterator::new(attribute.value()).flatten() {
                    match (info.kind(), text(info.value())) {
                        (INFO_KIND, kind) => {
                            link.vxlan = kind == Some("vxlan");
                            link.card = !kind.is_some_and(|kind| GUESTS.contains(&kind));
                        }
                        (INFO_MASTER_KIND, kind) => link.master_is_bridge = kind == Some("bridge"),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(link)
}

/// A text of the kernel, without the zero behind it.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().map(|text| text.trim_end_matches('\0'))
}

/// A dump of the entries of one port, those of its bridge and its own.
pub(super) fn entries_of(index: u32) -> RouteNetlinkMessage {
    let mut request = NeighbourMessage::default();
    request.header.family = AddressFamily::Bridge;
    request.header.ifindex = index;
    RouteNetlinkMessage::GetNeighbour(request)
}

/// All entries of one of our own ports.
fn all_entries(netlink: &mut Netlink, index: u32, names: &Names, observed: &mut Observed) -> io::Result<()> {
    let read = netlink.dump_each(entries_of(index), |raw| {
        if let Some(RouteNetlinkMessage::NewNeighbour(entry)) = netlink::decode(raw)? {
            read_entry(&entry, names, observed);
        }
        Ok(ControlFlow::Continue(()))
    });
    match read {
        // It went meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        read => read.map(drop),
    }
}

/// Neighbours on our bridges. Those of other devices are not even read: a host may have as many of them as others like.
fn neighbours(netlink: &mut Netlink, family: AddressFamily, names: &Names, observed: &mut Observed) -> io::Result<()> {
    let mut request = NeighbourMessage::default();
    request.header.family = family;
    netlink
        .dump_each(RouteNetlinkMessage::GetNeighbour(request), |raw| {
            let device = word(raw, HEADER + 4).and_then(|index| names.get(&index));
            if device.is_some_and(|name| names::parse(name.as_str()).is_some())
                && let Some(RouteNetlinkMessage::NewNeighbour(entry)) = netlink::decode(raw)?
            {
                read_entry(&entry, names, observed);
            }
            Ok(ControlFlow::Continue(()))
        })
        .map(drop)
}

/// The Ethernet address of an entry.
pub(super) fn mac_of(raw: &[u8]) -> Option<Mac> {
    let mut attributes = NlasIterator::new(raw.get(ENTRY..)?).flatten();
    let address = attributes.find(|attribute| attribute.kind() == LLADDR)?;
    <[u8; 6]>::try_from(address.value()).ok().map(Mac)
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
    let links: Vec<LinkMessage> = messages.iter().cloned().filter_map(link).collect();
    let names: Names = links.iter().filter_map(|link| Some((link.header.index, name_of(link)?))).collect();
    let mut observed = read_links(&links, &names);
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

fn read_links(links: &[LinkMessage], names: &Names) -> Observed {
    let mut observed = Observed::default();
    for message in links {
        if let Some(name) = names.get(&message.header.index) {
            observed.links.insert(name.clone(), read_link(name, message, names));
            if message.header.flags.contains(LinkFlags::Up) && blocks(message) {
                observed.blocked.insert(name.clone());
            }
        }
    }
    observed
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

/// True for a port of a bridge that does not forward. Without STP that is one which somebody has disabled, or whose bridge has not heard of its carrier yet.
fn blocks(message: &LinkMessage) -> bool {
    let infos = message
        .attributes
        .iter()
        .filter_map(|one| if let LinkAttribute::LinkInfo(all) = one { Some(all) } else { None });
    let ports = infos.flatten().filter_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(data)) => Some(data),
        _ => None,
    });
    ports.flatten().any(|one| matches!(one, InfoBridgePort::State(state) if *state != BridgePortState::Forwarding))
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
            InfoBridge::StpState(state) => bridge.stp = *state != BridgeStpState::Disabled,
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
    let byte = |wanted| tun_value::<1>(data, wanted).map(|[byte]| byte);
    if byte(TUN_TYPE) != Some(TYPE_TAP) {
        return Kind::Other("tun".into());
    }
    let on = |wanted| byte(wanted) == Some(1);
    let owned = tun_value::<4>(data, TUN_OWNER).is_some();
    Kind::Tap(Tap { multi_queue: on(TUN_MULTI_QUEUE), vnet_hdr: on(TUN_VNET_HDR), persist: on(TUN_PERSIST), owned })
}

fn tun_value<const SIZE: usize>(data: &[InfoTun], wanted: u16) -> Option<[u8; SIZE]> {
    use netlink_packet_core::Nla as _;
    data.iter().find_map(|attribute| match attribute {
        InfoTun::Other(nla) if nla.kind() == wanted && nla.value_len() == SIZE => {
            let mut value = [0; SIZE];
            nla.emit_value(&mut value);
            Some(value)
        }
        _ => None,
    })
}

/// Queues of a TAP that somebody has open, those that are switched off among them.
pub(super) fn queues(link: &LinkMessage) -> u32 {
    let infos = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let data = infos.flatten().find_map(|info| match info {
        LinkInfo::Data(InfoData::Tun(data)) => Some(data),
        _ => None,
    });
    let number = |wanted| data.and_then(|data| tun_value::<4>(data, wanted)).map_or(0, u32::from_ne_bytes);
    TUN_QUEUES.into_iter().map(number).fold(0, u32::saturating_add)
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
        hairpin: false,
        proxy_arp: false,
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
            InfoBridgePort::HairpinMode(on) => flags.hairpin = *on,
            InfoBridgePort::ProxyARP(on) | InfoBridgePort::ProxyARPWifi(on) => flags.proxy_arp |= *on,
            _ => {}
        }
    }
    flags
}

/// One FDB or neighbour entry, if it is on a device with our name.
pub(super) fn read_entry(entry: &NeighbourMessage, names: &Names, observed: &mut Observed) {
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
            let known = observed.neighbours.entry(device.clone()).or_default();
            if permanent || known.len() < HEARD {
                let router = entry.header.flags.contains(NeighbourFlags::Router);
                known.insert(address, Neighbour { mac, permanent, router });
            }
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
        keep_bridge_entry(bridge, port, mac, hold, observed);
    }
}

/// One entry of a bridge.
pub(super) fn keep_bridge_entry(bridge: &IfName, port: &IfName, mac: Mac, hold: Hold, observed: &mut Observed) {
    let entry = BridgeEntry { port: port.clone(), hold };
    observed.bridge_fdb.entry(bridge.clone()).or_default().insert(mac, entry);
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
