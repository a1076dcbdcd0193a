//! The routing table of the plain path. Where a PDC has no routers (`maxHops: 0`), a VTEP is on the segment of the admin interface
//! or nowhere: VXLAN that leaves by that interface is looked up in a table of its own, which knows the segment and ends there. No
//! other route of the host, whoever makes it and whenever, has a say.
//!
//! The table stands on what is declared of the PDC and not on the interface's addresses, so it is the same whatever addresses come
//! and go. The kernel takes its routes away when the interface goes down or loses its last address; they are put back when it is up.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::desired::{Desired, Observed};
use super::guard::{Guard, Side};
use crate::api::local::Finding;
use crate::table::Slice;
use crate::types::{IfName, Prefix, UdpPort};

/// Number of the table: "vxm" in ASCII. Beyond 255, where others number theirs by hand.
pub const TABLE: u32 = 0x76_78_6d;
/// Preference of the rules that lead to it. Before those of VPNs, network managers and operators; only the kernel's own rule for local
/// addresses has to come first. What others put before it is told ([`super::strays`]).
pub const PREFERENCE: u32 = 40;
/// Metric of an IPv6 route that is made without one (`IP6_RT_PRIO_USER`, include/net/ip6_fib.h).
const METRIC6: u32 = 1024;

/// Routes of the table and the rules that lead to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnLink {
    /// All routes of the table.
    pub routes: BTreeSet<Route>,
    /// All rules that look it up.
    pub rules: BTreeSet<Rule>,
}

/// What the kernel holds of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeldOnLink {
    /// The table.
    pub table: OnLink,
    /// Why this kernel cannot have it, in the kernel's words; none where it can.
    pub unsupported: Option<String>,
}

/// What a route does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Sends it out of an interface.
    Send,
    /// Refuses it.
    Unreachable,
    /// Looks it up as if there were no such table.
    Throw,
    /// Anything else, by the kernel's number (`RTN_*`, linux/rtnetlink.h). Never ours.
    Other(u8),
}

/// One route of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Destination.
    pub to: Prefix,
    /// What becomes of the packet.
    pub action: Action,
    /// Out of this interface.
    pub dev: Option<IfName>,
    /// By this router. Never ours.
    pub gateway: Option<IpAddr>,
    /// Metric.
    pub metric: u32,
    /// Type of service that it is for; 0: all.
    pub tos: u8,
}

/// One rule that looks the table up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// For IPv6.
    pub ipv6: bool,
    /// Its place among all rules.
    pub preference: u32,
    /// For packets that are to leave by this interface.
    pub oif: Option<IfName>,
    /// For this UDP port.
    pub port: Option<UdpPort>,
    /// True where it asks for just that: UDP, one port, an interface. Ours all do.
    pub exact: bool,
}

/// One step. Each is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes a route, in place of one with the same destination and metric.
    AddRoute(Route),
    /// Removes a route.
    DeleteRoute(Route),
    /// Makes a rule.
    AddRule(Rule),
    /// Removes a rule.
    DeleteRule(Rule),
}

impl OnLink {
    /// The table for the plain members that the guard knows by the admin interface; empty where the PDC has routers. Members that no
    /// prefix of the PDC's underlay holds get a route of their own, and are told.
    pub fn wanted(slice: &Slice, guard: &Guard, findings: &mut Vec<Finding>) -> Self {
        let facts = slice.pdcs.get(&slice.pdc);
        let Some(side) = guard.admin.as_ref().filter(|_| facts.is_none_or(|facts| facts.max_hops == 0)) else {
            return Self::default();
        };
        let underlay = facts.map(|facts| facts.underlay.as_slice()).unwrap_or_default();
        let mut table = Self::default();
        let on_link = underlay.iter().copied().filter(|prefix| prefix.network().is_ipv4() == side.own.is_ipv4());
        table.routes.extend(on_link.map(|prefix| Route::new(prefix, Action::Send, Some(&side.interface))));
        let vteps: BTreeSet<IpAddr> = side.members.iter().map(|(_, address, _)| *address).collect();
        let held = |vtep: &&IpAddr| underlay.iter().any(|prefix| prefix.contains(**vtep));
        let strangers: Vec<IpAddr> = vteps.iter().filter(|vtep| !held(vtep)).copied().collect();
        findings.extend(outside(slice, side, &strangers));
        let host = |vtep: &IpAddr| Some(Route::new(Prefix::host(*vtep)?, Action::Send, Some(&side.interface)));
        table.routes.extend(strangers.iter().filter_map(host));
        table.routes.extend(others(guard, side, &vteps));
        let everything = everything(side.own);
        if !table.routes.iter().any(|route| Some(route.to) == everything) {
            table.routes.extend(everything.map(|to| Route::new(to, Action::Unreachable, None)));
        }
        table.rules = guard.ports.iter().map(|port| Rule::new(side, *port)).collect();
        table
    }

    /// The same for these UDP ports only: others' VXLAN is not ours to lead.
    #[must_use]
    pub fn on(&self, ports: &BTreeSet<UdpPort>) -> Self {
        let wanted = |rule: &&Rule| rule.port.is_some_and(|port| ports.contains(&port));
        let rules: BTreeSet<Rule> = self.rules.iter().filter(wanted).cloned().collect();
        let routes = if rules.is_empty() { BTreeSet::new() } else { self.routes.clone() };
        Self { routes, rules }
    }

    /// True where there is nothing.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.rules.is_empty()
    }
}

/// Members of other PDCs in clear, where they are reached by the same interface: routers are right on their way.
fn others(guard: &Guard, side: &Side, vteps: &BTreeSet<IpAddr>) -> Vec<Route> {
    let external = guard.external.iter().filter(|external| external.interface == side.interface);
    let members = external.flat_map(|external| external.members.iter().map(|(_, address, _)| *address));
    let there = members.filter(|address| address.is_ipv4() == side.own.is_ipv4() && !vteps.contains(address));
    there.filter_map(|address| Some(Route::new(Prefix::host(address)?, Action::Throw, None))).collect()
}

/// The prefix that holds every address of this family.
fn everything(family: IpAddr) -> Option<Prefix> {
    let zero = if family.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    Prefix::new(zero, 0)
}

impl Route {
    fn new(to: Prefix, action: Action, dev: Option<&IfName>) -> Self {
        let metric = if to.network().is_ipv6() { METRIC6 } else { 0 };
        Self { to, action, dev: dev.cloned(), gateway: None, metric, tos: 0 }
    }

    /// True for IPv6.
    pub fn ipv6(&self) -> bool {
        self.to.network().is_ipv6()
    }
}

impl Rule {
    fn new(side: &Side, port: UdpPort) -> Self {
        let oif = Some(side.interface.clone());
        Self { ipv6: side.own.is_ipv6(), preference: PREFERENCE, oif, port: Some(port), exact: true }
    }
}

/// The steps before all devices, and those after them: what leads frames stands before there are any, and goes after the last. In a
/// table that is wanted, what is not ours goes first: of two routes to one destination the kernel may remove the wrong one.
pub fn diff(wanted: &OnLink, observed: &Observed) -> (Vec<Step>, Vec<Step>) {
    let held = &observed.onlink;
    let nothing = OnLink::default();
    let wanted = if held.unsupported.is_some() { &nothing } else { wanted };
    let rules = held.table.rules.difference(&wanted.rules).cloned().map(Step::DeleteRule);
    let routes = held.table.routes.difference(&wanted.routes).cloned().map(Step::DeleteRoute);
    let gone: Vec<Step> = rules.chain(routes).collect();
    if wanted.is_empty() {
        return (Vec::new(), gone);
    }
    // The kernel keeps no route by an interface that is down.
    let up = |route: &&Route| route.dev.as_ref().is_none_or(|dev| observed.is_up(dev));
    let routes = wanted.routes.difference(&held.table.routes).filter(up).cloned().map(Step::AddRoute);
    let rules = wanted.rules.difference(&held.table.rules).cloned().map(Step::AddRule);
    (gone.into_iter().chain(routes).chain(rules).collect(), Vec::new())
}

/// That this kernel cannot have the table, where one is wanted.
pub fn unsupported(desired: &Desired, observed: &Observed) -> Option<Finding> {
    let why = observed.onlink.unsupported.as_ref().filter(|_| !desired.onlink.is_empty())?;
    let what = format!(
        "this kernel has no routing table by UDP port ({why}); the guard drops plain frames that a route leads to a router, \
         but nothing leads them back to the segment"
    );
    Some(
        Finding::new(
            "M0645",
            what,
            "a kernel with CONFIG_IP_MULTIPLE_TABLES, and CONFIG_IPV6_MULTIPLE_TABLES for IPv6",
        )
        .harmless(),
    )
}

fn outside(slice: &Slice, side: &Side, vteps: &[IpAddr]) -> Option<Finding> {
    let first = vteps.first()?;
    let node = slice.peers.iter().find(|(_, peer)| peer.admin == Some(*first));
    let node = node.map(|(name, _)| name.to_string()).unwrap_or_default();
    let more = if vteps.len() > 1 { format!(" and {} more", vteps.len().saturating_sub(1)) } else { String::new() };
    let pdc = &slice.pdc;
    let what = format!(
        "plain paths to '{node}' ({first}){more} leave the underlay of PDC '{pdc}', which has no routers (maxHops 0); \
         frames go out on the segment of {} and nowhere else",
        side.interface
    );
    let help = format!("meshctl pdc set {pdc} --underlay PREFIXES, or --max-hops NUMBER --router IP");
    Some(Finding::new("M0646", what, help).harmless())
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = |ipv6| if ipv6 { "ip -6" } else { "ip" };
        match self {
            Self::AddRoute(route) => write!(f, "{} route replace {route} protocol kernel", ip(route.ipv6())),
            Self::DeleteRoute(route) => write!(f, "{} route delete {route}", ip(route.ipv6())),
            Self::AddRule(rule) => write!(f, "{} rule add {rule} protocol kernel", ip(rule.ipv6)),
            Self::DeleteRule(rule) => write!(f, "{} rule delete {rule}", ip(rule.ipv6)),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Action::Send => {}
            Action::Unreachable => f.write_str("unreachable ")?,
            Action::Throw => f.write_str("throw ")?,
            Action::Other(number) => write!(f, "type {number} ")?,
        }
        write!(f, "{}", self.to)?;
        if self.tos != 0 {
            write!(f, " tos {:#x}", self.tos)?;
        }
        if let Some(gateway) = self.gateway {
            let family = if gateway.is_ipv6() && !self.ipv6() { "inet6 " } else { "" };
            write!(f, " via {family}{gateway}")?;
        }
        if let Some(dev) = &self.dev {
            write!(f, " dev {dev}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        write!(f, " table {TABLE}")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pref {}", self.preference)?;
        if let Some(port) = self.port {
            write!(f, " ipproto udp dport {port}")?;
        }
        if let Some(oif) = &self.oif {
            write!(f, " oif {oif}")?;
        }
        write!(f, " lookup {TABLE}")
    }
}

#[cfg(test)]
#[path = "onlink_tests.rs"]
mod tests;
