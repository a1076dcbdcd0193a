//! The routing table of the plain path, the rules that lead to it, and what the host's routes say of VTEPs. A host may have a million
//! routes: the kernel is asked for one table, or for one destination at a time.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel has more attributes than we look at")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Nla as _};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage};

use super::netlink::{Netlink, Refusal, Request};
use super::sys;
use crate::node::onlink::{Action, HeldOnLink, OnLink, PREFERENCE, Route, Rule, Step, TABLE};
use crate::node::strays::{Answer, Ask, Earlier, Hop, Way, Ways};
use crate::types::{IfName, Prefix, UdpPort};

/// Both families of addresses.
const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];
/// `FRA_DPORT_MASK` (linux/fib_rules.h), since Linux 6.15 there for every port; all ones means the port itself.
const DPORT_MASK: u16 = 29;
/// `RT_TABLE_LOCAL` (linux/rtnetlink.h): the addresses of this host.
const LOCAL: u32 = 255;
/// `RTN_UNICAST` (linux/rtnetlink.h).
const UNICAST: u8 = 1;
/// Marks with which the kernel is asked, at most: those of rules before ours.
const MARKS: usize = 8;

/// A socket that asks the kernel for routes, and what it was told.
#[derive(Debug)]
pub(super) struct Routes {
    netlink: Netlink,
    /// Why this kernel cannot have a table by UDP port.
    unsupported: Option<String>,
}

impl Routes {
    /// Opens it in the calling thread's network namespace. A kernel that cannot be asked for one table (before 4.20) is not asked.
    pub(super) fn open() -> io::Result<Self> {
        let netlink = Netlink::open()?;
        let unsupported = netlink.strict().err().map(|error| error.to_string());
        Ok(Self { netlink, unsupported })
    }

    /// What the kernel holds of the table. Where it cannot be read, nothing of it is changed.
    pub(super) fn observe(&mut self) -> HeldOnLink {
        if let Some(why) = &self.unsupported {
            return HeldOnLink { table: OnLink::default(), unsupported: Some(why.clone()) };
        }
        match self.read() {
            Ok(table) => HeldOnLink { table, unsupported: None },
            Err(error) => HeldOnLink { table: OnLink::default(), unsupported: Some(error.to_string()) },
        }
    }

    fn read(&mut self) -> io::Result<OnLink> {
        let mut table = OnLink::default();
        for family in FAMILIES {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            request.attributes.push(RouteAttribute::Table(TABLE));
            for message in self.dump(RouteNetlinkMessage::GetRoute(request))? {
                if let RouteNetlinkMessage::NewRoute(route) = message {
                    table.routes.extend(read_route(&route));
                }
            }
            table.rules.extend(self.rules(family)?.iter().filter(|rule| table_of(rule) == TABLE).map(read_rule));
        }
        Ok(table)
    }

    fn rules(&mut self, family: AddressFamily) -> io::Result<Vec<RuleMessage>> {
        let mut request = RuleMessage::default();
        request.header.family = family;
        let of = |message| if let RouteNetlinkMessage::NewRule(rule) = message { Some(rule) } else { None };
        let rules = self.dump(RouteNetlinkMessage::GetRule(request))?.into_iter().filter_map(of);
        Ok(rules.filter(|rule| rule.header.family == family).collect())
    }

    /// A dump; of a family or a table that the kernel does not have there is nothing.
    fn dump(&mut self, request: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        match self.netlink.dump(request) {
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) =>
            {
                Ok(Vec::new())
            }
            other => other,
        }
    }

    /// Does one step; `index` is of the route's interface. What this kernel does not know is remembered and told by
    /// [`Routes::observe`], and nothing of it stays.
    ///
    /// # Errors
    /// The socket failed (outer) or the kernel refused (inner).
    pub(super) fn step(&mut self, step: &Step, index: Option<u32>) -> io::Result<Result<(), Refusal>> {
        let request = match step {
            Step::AddRoute(route) => {
                let route = RouteNetlinkMessage::NewRoute(add_route(route, index));
                (route, NLM_F_CREATE | NLM_F_REPLACE)
            }
            Step::DeleteRoute(route) => (RouteNetlinkMessage::DelRoute(delete_route(route, index)), 0),
            Step::AddRule(rule) => return self.add_rule(rule),
            Step::DeleteRule(rule) => (RouteNetlinkMessage::DelRule(message(rule)), 0),
        };
        self.send(request)
    }

    fn add_rule(&mut self, rule: &Rule) -> io::Result<Result<(), Refusal>> {
        let request = (RouteNetlinkMessage::NewRule(message(rule)), NLM_F_CREATE | NLM_F_EXCL);
        match self.send(request)? {
            Err(refusal) if refusal.errno == libc::EEXIST => return Ok(Ok(())),
            Err(refusal) if is_unknown(&refusal) => {
                self.unsupported = Some(refusal.to_string());
                return Ok(Ok(()));
            }
            Err(refusal) => return Ok(Err(refusal)),
            Ok(()) => {}
        }
        // Before Linux 4.17 the kernel passes over the port in silence, and the rule would lead everything.
        let family = if rule.ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        if !self.rules(family)?.iter().any(|there| table_of(there) == TABLE && read_rule(there) == *rule) {
            self.unsupported = Some("its rules know no UDP port, Linux 4.17 has them".to_owned());
            let _ = self.send((RouteNetlinkMessage::DelRule(message(rule)), 0))?;
        }
        Ok(Ok(()))
    }

    fn send(&mut self, request: Request) -> io::Result<Result<(), Refusal>> {
        Ok(self.netlink.request(request)?.map(drop))
    }

    /// Which ways the kernel would take; `index` is of their interface.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn ways(&mut self, asks: &[Ask], index: u32) -> io::Result<Ways> {
        let Some(first) = asks.first() else { return Ok(Ways::default()) };
        let family = if first.own.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let rules = self.rules(family)?;
        let earlier: Vec<&RuleMessage> = rules.iter().filter(|rule| comes_before_ours(rule)).collect();
        let marks: BTreeSet<u32> = earlier.iter().filter_map(|rule| mark(rule)).take(MARKS).collect();
        let mut questions = Vec::new();
        for ask in asks {
            questions.push((ask, false, 0));
            questions.extend(std::iter::once(0).chain(marks.iter().copied()).map(|mark| (ask, true, mark)));
        }
        let requests: Vec<RouteNetlinkMessage> =
            questions.iter().map(|(ask, vxlan, mark)| question(ask, *vxlan, *mark, index)).collect();
        let answers = self.netlink.ask(&requests)?.into_iter().zip(questions);
        let mut names = BTreeMap::new();
        let answers = answers.filter_map(|(answer, (ask, vxlan, mark))| {
            let RouteNetlinkMessage::NewRoute(route) = answer? else { return None };
            Some(Answer { vtep: ask.vtep, vxlan, mark, way: read_way(&route, &mut names)? })
        });
        let answers = answers.collect();
        let earlier = earlier.into_iter().map(|rule| Earlier { preference: preference(rule), table: table_of(rule) });
        Ok(Ways { answers, earlier: earlier.collect() })
    }
}

impl Routes {
    /// By which way UDP leaves for addresses, from no address in particular, as the sockets of tunnels send; none: by no way. Of those that are
    /// `dead` it says whether the next hop answers.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn out_ways(
        &mut self,
        ends: &[SocketAddr],
        dead: &BTreeSet<IpAddr>,
    ) -> io::Result<Vec<(IpAddr, Option<Way>)>> {
        let question = |end: &SocketAddr| {
            let mut message = RouteMessage::default();
            let (family, bits) = if end.is_ipv4() { (AddressFamily::Inet, 32) } else { (AddressFamily::Inet6, 128) };
            message.header.address_family = family;
            message.header.destination_prefix_length = bits;
            // The route itself, with all its next hops: which of them one flow gets is chance.
            message.header.flags =
                RouteFlags::FibMatch | if end.is_ipv4() { RouteFlags::LookupTable } else { RouteFlags::empty() };
            message.attributes = vec![
                RouteAttribute::Destination(end.ip().into()),
                RouteAttribute::IpProto(u8::from(IpProtocol::Udp)),
                RouteAttribute::Dport(end.port()),
            ];
            RouteNetlinkMessage::GetRoute(message)
        };
        let answers = self.netlink.ask(&ends.iter().map(question).collect::<Vec<_>>())?;
        let mut names = BTreeMap::new();
        let mut way = |answer: Option<RouteNetlinkMessage>| match answer? {
            RouteNetlinkMessage::NewRoute(route) => read_way(&route, &mut names),
            _ => None,
        };
        let mut ways: Vec<_> = ends.iter().map(SocketAddr::ip).zip(answers.into_iter().map(&mut way)).collect();
        self.mute(ways.iter_mut().filter(|(to, _)| dead.contains(to)).collect(), &names)?;
        Ok(ways)
    }

    /// Looks which next hops answer no question for their Ethernet address.
    fn mute(&mut self, ways: Vec<&mut (IpAddr, Option<Way>)>, names: &BTreeMap<u32, Option<IfName>>) -> io::Result<()> {
        let index = |dev: &IfName| names.iter().find(|(_, name)| name.as_ref() == Some(dev)).map(|(index, _)| *index);
        let hop = |(to, way): &(IpAddr, Option<Way>)| {
            let [hop] = way.as_ref()?.hops.as_slice() else { return None };
            Some((index(hop.dev.as_ref()?)?, hop.gateway.unwrap_or(*to)))
        };
        let hops: BTreeSet<(u32, IpAddr)> = ways.iter().filter_map(|one| hop(one)).collect();
        let questions: Vec<_> = hops.iter().map(|(index, to)| neighbour(*index, *to)).collect();
        let answers = self.netlink.ask(&questions)?;
        let mute = |answer: &Option<RouteNetlinkMessage>| {
            matches!(answer, Some(RouteNetlinkMessage::NewNeighbour(entry))
                if matches!(entry.header.state, NeighbourState::Failed | NeighbourState::Incomplete))
        };
        let mute: BTreeSet<(u32, IpAddr)> =
            hops.into_iter().zip(&answers).filter(|(_, answer)| mute(answer)).map(|(hop, _)| hop).collect();
        for one in ways {
            let found = hop(one).filter(|hop| mute.contains(hop));
            if let Some(way) = &mut one.1 {
                way.mute = found.map(|(_, to)| to);
            }
        }
        Ok(())
    }
}

/// The question for what is known of the Ethernet address of a next hop.
fn neighbour(index: u32, to: IpAddr) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.ifindex = index;
    message.attributes.push(NeighbourAttribute::Destination(to.into()));
    RouteNetlinkMessage::GetNeighbour(message)
}

/// What a kernel answers that does not know what it is asked for.
fn is_unknown(refusal: &Refusal) -> bool {
    matches!(refusal.errno, libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::EINVAL | libc::EPROTONOSUPPORT)
}

fn head(to: Prefix) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = if to.network().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.destination_prefix_length = to.len();
    message.attributes.push(RouteAttribute::Table(TABLE));
    if !to.is_empty() {
        message.attributes.push(RouteAttribute::Destination(to.network().into()));
    }
    message
}

fn add_route(route: &Route, index: Option<u32>) -> RouteMessage {
    let mut message = head(route.to);
    message.header.kind = kind(route.action);
    // networkd removes what others made, but not what it takes for the kernel's own.
    message.header.protocol = RouteProtocol::Kernel;
    if route.action == Action::Send && !route.ipv6() {
        message.header.scope = RouteScope::Link;
    }
    message.attributes.extend(index.map(RouteAttribute::Oif));
    if route.metric != 0 {
        message.attributes.push(RouteAttribute::Priority(route.metric));
    }
    message
}

fn delete_route(route: &Route, index: Option<u32>) -> RouteMessage {
    let mut message = head(route.to);
    message.header.kind = kind(route.action);
    message.header.scope = RouteScope::NoWhere;
    message.header.tos = route.tos;
    message.attributes.extend(index.map(RouteAttribute::Oif));
    if route.metric != 0 {
        message.attributes.push(RouteAttribute::Priority(route.metric));
    }
    match route.gateway {
        Some(IpAddr::V6(router)) if !route.ipv6() => {
            message.attributes.push(RouteAttribute::Via(RouteVia::Inet6(router)));
        }
        Some(router) => message.attributes.push(RouteAttribute::Gateway(router.into())),
        None => {}
    }
    message
}

fn kind(action: Action) -> RouteType {
    match action {
        Action::Send => RouteType::Unicast,
        Action::Unreachable => RouteType::Unreachable,
        Action::Throw => RouteType::Throw,
        Action::Other(number) => RouteType::from(number),
    }
}

/// A route of our table. One of several next hops stands for all: none is ever ours.
fn read_route(message: &RouteMessage) -> Option<Route> {
    let way = read_way(message, &mut BTreeMap::new()).filter(|way| way.table == TABLE)?;
    let action = match message.header.kind {
        RouteType::Unicast => Action::Send,
        RouteType::Unreachable => Action::Unreachable,
        RouteType::Throw => Action::Throw,
        other => Action::Other(other.into()),
    };
    // IPv6 has routes that refuse stand on `lo`.
    let hop = way.hops.into_iter().next().filter(|_| action == Action::Send);
    // What wraps packets is none of ours, whatever else it says.
    let action = if hop.as_ref().is_some_and(|hop| hop.wraps) { Action::Other(UNICAST) } else { action };
    let (dev, gateway) = hop.map(|hop| (hop.dev, hop.gateway)).unwrap_or_default();
    let metric =
        message.attributes.iter().find_map(|a| if let RouteAttribute::Priority(m) = a { Some(*m) } else { None });
    Some(Route { to: way.to, action, dev, gateway, metric: metric.unwrap_or(0), tos: message.header.tos })
}

/// Where a route leads.
fn read_way(message: &RouteMessage, names: &mut BTreeMap<u32, Option<IfName>>) -> Option<Way> {
    let ipv4 = message.header.address_family == AddressFamily::Inet;
    let mut to: IpAddr = if ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let (mut table, mut hops) = (u32::from(message.header.table), Vec::new());
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(address) => to = ip(address)?,
            RouteAttribute::MultiPath(several) => {
                for one in several {
                    hops.push(hop(&one.attributes, one.interface_index, names));
                }
            }
            _ => {}
        }
    }
    if hops.is_empty() {
        let oif = message
            .attributes
            .iter()
            .find_map(|a| if let RouteAttribute::Oif(index) = a { Some(*index) } else { None });
        hops.push(hop(&message.attributes, oif.unwrap_or(0), names));
    }
    let source = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::PrefSource(address) => ip(address),
        _ => None,
    });
    Some(Way { to: Prefix::new(to, message.header.destination_prefix_length)?, table, hops, source, mute: None })
}

fn hop(attributes: &[RouteAttribute], index: u32, names: &mut BTreeMap<u32, Option<IfName>>) -> Hop {
    let name = || sys::interface_name(index).ok().and_then(|name| name.parse().ok());
    let dev = names.entry(index).or_insert_with(name).clone();
    let gateway = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(router)) => Some(IpAddr::V4(*router)),
        RouteAttribute::Via(RouteVia::Inet6(router)) => Some(IpAddr::V6(*router)),
        _ => None,
    });
    let wraps = attributes.iter().any(|a| matches!(a, RouteAttribute::Encap(_) | RouteAttribute::EncapType(_)));
    Hop { dev, gateway, wraps }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// The question for one destination: the route itself, with all its next hops, and its table.
fn question(ask: &Ask, vxlan: bool, mark: u32, index: u32) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    let (family, bits) = if ask.vtep.is_ipv4() { (AddressFamily::Inet, 32) } else { (AddressFamily::Inet6, 128) };
    message.header.address_family = family;
    message.header.destination_prefix_length = bits;
    message.header.source_prefix_length = bits;
    // IPv6 tells the table unasked, and refuses to be asked for it.
    message.header.flags =
        RouteFlags::FibMatch | if ask.vtep.is_ipv4() { RouteFlags::LookupTable } else { RouteFlags::empty() };
    message.attributes = vec![
        RouteAttribute::Destination(ask.vtep.into()),
        RouteAttribute::Source(ask.own.into()),
        RouteAttribute::Oif(index),
    ];
    if vxlan {
        message.attributes.push(RouteAttribute::IpProto(u8::from(IpProtocol::Udp)));
        message.attributes.push(RouteAttribute::Dport(ask.port.get()));
    }
    if mark != 0 {
        message.attributes.push(RouteAttribute::Mark(mark));
    }
    RouteNetlinkMessage::GetRoute(message)
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![RuleAttribute::Priority(rule.preference), RuleAttribute::Table(TABLE)];
    message.attributes.extend(rule.oif.iter().map(|oif| RuleAttribute::Oifname(oif.to_string())));
    if let Some(port) = rule.port {
        message.attributes.push(RuleAttribute::IpProtocol(IpProtocol::Udp));
        let (start, end) = (port.get(), port.get());
        message.attributes.push(RuleAttribute::DestinationPortRange(RulePortRange { start, end }));
    }
    if rule.exact {
        message.attributes.push(RuleAttribute::Protocol(RouteProtocol::Kernel));
    }
    message
}

fn read_rule(message: &RuleMessage) -> Rule {
    let header = &message.header;
    let ipv6 = header.family == AddressFamily::Inet6;
    let mut rule = Rule { ipv6, preference: 0, oif: None, port: None, exact: header.action == RuleAction::ToTable };
    rule.exact &=
        header.src_len == 0 && header.dst_len == 0 && header.tos == 0 && !header.flags.contains(RuleFlags::Invert);
    let mut udp = false;
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(place) => rule.preference = *place,
            RuleAttribute::Oifname(name) => rule.oif = name.parse().ok(),
            RuleAttribute::IpProtocol(protocol) => udp = *protocol == IpProtocol::Udp,
            RuleAttribute::DestinationPortRange(range) if range.start == range.end => {
                rule.port = UdpPort::try_from(u64::from(range.start)).ok();
            }
            RuleAttribute::Table(_) | RuleAttribute::SuppressPrefixLen(u32::MAX) => {}
            RuleAttribute::Protocol(by) => rule.exact &= *by == RouteProtocol::Kernel,
            RuleAttribute::Other(other) if other.kind() == DPORT_MASK => {
                let mut mask = [0; 2];
                let whole = other.value_len() == mask.len();
                if whole {
                    other.emit_value(&mut mask);
                }
                rule.exact &= whole && mask == [u8::MAX; 2];
            }
            _ => rule.exact = false,
        }
    }
    rule.exact &= udp && rule.port.is_some() && rule.oif.is_some();
    rule
}

/// The table of a rule: numbers above 255 have an attribute.
fn table_of(rule: &RuleMessage) -> u32 {
    let number =
        rule.attributes.iter().find_map(|a| if let RuleAttribute::Table(number) = a { Some(*number) } else { None });
    number.unwrap_or_else(|| u32::from(rule.header.table))
}

fn preference(rule: &RuleMessage) -> u32 {
    let place =
        rule.attributes.iter().find_map(|a| if let RuleAttribute::Priority(place) = a { Some(*place) } else { None });
    place.unwrap_or(0)
}

fn mark(rule: &RuleMessage) -> Option<u32> {
    rule.attributes.iter().find_map(|a| if let RuleAttribute::FwMark(mark) = a { Some(*mark) } else { None })
}

/// True for a rule of others that the kernel asks first.
fn comes_before_ours(rule: &RuleMessage) -> bool {
    !matches!(table_of(rule), TABLE | LOCAL) && preference(rule) <= PREFERENCE
}
