//! Where the host's routes would lead plain frames, held against where they may go. The kernel is asked twice for each VTEP: once as
//! it is asked for VXLAN, and once as for anything else. The first says what happens; the second what would, were it not for the table
//! of the plain path ([`super::onlink`]) and the guard.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::desired::Desired;
use super::guard::Side;
use super::onlink::{PREFERENCE, TABLE};
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::policy::path::Path;
use crate::types::{IfName, PdcId, Prefix, UdpPort};

/// VTEPs and UDP ports that the kernel is asked for at a time, at most.
pub const MOST: usize = 4096;
/// Findings of one look, at most: a host has few routes that go astray, or many for one reason.
const TOLD: usize = 8;

/// Code of routes that lead to VTEPs otherwise than plain frames go.
pub(super) const ASIDE: &str = "M0647";

/// What is asked: which way does VXLAN take to a VTEP?
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// Our end.
    pub own: IpAddr,
    /// The interface that it is to leave by.
    pub interface: IfName,
    /// The VTEP.
    pub vtep: IpAddr,
    /// UDP port of the overlay.
    pub port: UdpPort,
}

/// One answer of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The VTEP.
    pub vtep: IpAddr,
    /// True where the kernel was asked for VXLAN, false for anything else.
    pub vxlan: bool,
    /// The mark with which it was asked; packets carry those that others gave them.
    pub mark: u32,
    /// The route that it would take.
    pub way: Way,
}

/// A route, as far as it says where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Its destination.
    pub to: Prefix,
    /// Its table.
    pub table: u32,
    /// Next hops; more than one where it spreads the load.
    pub hops: Vec<Hop>,
    /// The address that packets leave from, where the route names one.
    pub source: Option<IpAddr>,
    /// The next hop that answers no question for its Ethernet address, where that was asked.
    pub mute: Option<IpAddr>,
}

/// One next hop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// Interface.
    pub dev: Option<IfName>,
    /// Router; none: the destination itself.
    pub gateway: Option<IpAddr>,
    /// True where the packet is wrapped into another one (MPLS, segment routing), which goes where it likes.
    pub wraps: bool,
}

/// A rule of others that comes before ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Its place.
    pub preference: u32,
    /// The table that it looks up.
    pub table: u32,
}

/// All answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ways {
    /// By VTEP.
    pub answers: Vec<Answer>,
    /// Rules of others before ours, of both families.
    pub earlier: Vec<Earlier>,
}

/// What to ask: the VTEPs of the admin side, where it matters by which router frames go.
pub fn asks(desired: &Desired) -> Vec<Ask> {
    let Some(side) = desired.guard.admin.as_ref().filter(|side| side.routers.is_some()) else { return Vec::new() };
    let targets: BTreeSet<(IpAddr, UdpPort)> = side.members.iter().map(|(port, vtep, _)| (*vtep, *port)).collect();
    let ask = |(vtep, port)| Ask { own: side.own, interface: side.interface.clone(), vtep, port };
    targets.into_iter().take(MOST).map(ask).collect()
}

/// What is wrong with the answers, one finding a route.
pub fn findings(pdc: &PdcId, desired: &Desired, ways: &Ways) -> Vec<Finding> {
    let Some(side) = &desired.guard.admin else { return Vec::new() };
    let mut strays: BTreeMap<(bool, &Way, Hop), (u32, BTreeSet<IpAddr>)> = BTreeMap::new();
    // Without a table of our own both questions are one.
    for answer in ways.answers.iter().filter(|answer| answer.vxlan || !desired.onlink.is_empty()) {
        if let Some(hop) = stray(side, answer) {
            let none = || (answer.mark, BTreeSet::new());
            let (mark, vteps) = strays.entry((!answer.vxlan, &answer.way, hop)).or_insert_with(none);
            // What comes to unmarked packets as well is not for the mark.
            *mark = (*mark).min(answer.mark);
            vteps.insert(answer.vtep);
        }
    }
    // Of what happens it need not be told as well that it would.
    let real: BTreeSet<(Way, Hop)> =
        strays.keys().filter(|(aside, ..)| !aside).map(|(_, way, hop)| ((*way).clone(), hop.clone())).collect();
    strays.retain(|(aside, way, hop), _| !aside || !real.contains(&((*way).clone(), hop.clone())));
    let one = |((aside, way, hop), (mark, vteps)): ((bool, &Way, Hop), (u32, BTreeSet<IpAddr>))| {
        if aside {
            would(pdc, desired, way, &hop, &vteps)
        } else {
            does(desired, (way, &hop, mark), &vteps, &ways.earlier)
        }
    };
    strays.into_iter().take(TOLD).map(one).collect()
}

/// The next hop of an answer that no plain frame may take.
fn stray(side: &Side, answer: &Answer) -> Option<Hop> {
    let may = |router: &IpAddr| *router == answer.vtep || side.routers.iter().flatten().any(|one| one == router);
    let here = |hop: &&Hop| hop.dev.as_ref() == Some(&side.interface);
    let hops = &answer.way.hops;
    // Of several next hops the kernel takes one by the interface that it is told, if there is one.
    if !hops.iter().any(|hop| here(&hop)) {
        return hops.first().cloned();
    }
    hops.iter().filter(here).find(|hop| hop.wraps || hop.gateway.is_some_and(|router| !may(&router))).cloned()
}

/// Plain frames take a way that they may not.
fn does(desired: &Desired, way: (&Way, &Hop, u32), vteps: &BTreeSet<IpAddr>, earlier: &[Earlier]) -> Finding {
    let (way, hop, mark) = way;
    let other = |router: IpAddr| router.is_ipv4() == way.to.network().is_ipv6();
    let hidden = hop.wraps || hop.gateway.is_some_and(other);
    let kept = if hidden {
        "they leave in clear: of such a next hop the kernel tells the packet filter nothing"
    } else {
        "the guard drops them (out_routed, out_unknown)"
    };
    let marked = if mark == 0 { String::new() } else { format!(" with mark {mark:#x}") };
    let what = format!("plain frames for {}{marked} take the route {}; {kept}", some(vteps), shown(way, hop));
    let rule = earlier.iter().find(|rule| rule.table == way.table);
    let family = if way.to.network().is_ipv6() { "ip -6" } else { "ip" };
    let help = match rule {
        Some(rule) => format!(
            "a rule comes before ours (pref {PREFERENCE}): {family} rule show pref {}; give it a later place or remove it",
            rule.preference
        ),
        None if desired.onlink.is_empty() => format!("{family} route show {} table {}", way.to, table(way.table)),
        None => format!("{family} rule show; the rule with pref {PREFERENCE} should lead to table {TABLE}"),
    };
    let networks = desired.networks.values().map(|net| net.key.clone()).collect();
    Finding::new("M0648", what, help).cuts(Cut { path: Some(Path::Plain), networks, ..Cut::default() }.bounded())
}

/// The host has a route by a router, and only what is ours keeps plain frames from it. Where it does not, their echoes tell.
fn would(pdc: &PdcId, desired: &Desired, way: &Way, hop: &Hop, vteps: &BTreeSet<IpAddr>) -> Finding {
    let kept = if desired.onlink.is_empty() { "the guard drops such frames" } else { "plain frames are kept from it" };
    let what = format!(
        "the host's route {} leads to {} otherwise than PDC '{pdc}' is declared; {kept}, everything else takes it",
        shown(way, hop),
        some(vteps)
    );
    let family = if way.to.network().is_ipv6() { "ip -6" } else { "ip" };
    // With its next hop: another route may have the same destination.
    let one = if way.hops.len() > 1 { String::new() } else { hop.to_string() };
    let remove = format!("{family} route del {}{one} table {}", way.to, table(way.table));
    let help = match hop.gateway {
        Some(router) => format!("{remove}; or, if it is right: meshctl pdc set {pdc} --max-hops 1 --router {router}"),
        None => remove,
    };
    Finding::new(ASIDE, what, help).harmless()
}

fn shown(way: &Way, hop: &Hop) -> String {
    let more = if way.hops.len() > 1 {
        format!(" and {} more next hops", way.hops.len().saturating_sub(1))
    } else {
        String::new()
    };
    format!("{}{hop}{more} (table {})", way.to, table(way.table))
}

/// The kernel's names for its own tables (linux/rtnetlink.h).
fn table(number: u32) -> String {
    match number {
        253 => "default".to_owned(),
        254 => "main".to_owned(),
        255 => "local".to_owned(),
        _ => number.to_string(),
    }
}

/// The first of them and how many more there are.
fn some(vteps: &BTreeSet<IpAddr>) -> String {
    let more = vteps.len().saturating_sub(1);
    let first = vteps.first().map(ToString::to_string).unwrap_or_default();
    if more > 0 { format!("{first} and {more} more VTEPs") } else { first }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(router) = self.gateway {
            write!(f, " via {router}")?;
        }
        if self.wraps {
            f.write_str(" encap")?;
        }
        self.dev.as_ref().map_or(Ok(()), |dev| write!(f, " dev {dev}"))
    }
}

#[cfg(test)]
#[path = "strays_tests.rs"]
mod tests;
