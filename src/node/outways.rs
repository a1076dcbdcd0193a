//! By which interface and router the kernel sends to the other ends of tunnels, and what it was before. A route that somebody has added leads
//! a tunnel astray while its peer is still heard: what does not arrive there says so only after a while, and not why.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::strays::Way;
use crate::api::local::Finding;
use crate::types::{IfName, Mono, NodeId, Wall};

/// What is said where there is no way at all.
pub(super) const NO_WAY: &str = "the kernel has no way to";
/// Other ends that are remembered, at most; as many as nodes a mesh may have.
pub const MOST: usize = 4096;

/// How long this host is said to refuse to send: a peer that is not heard is called every five seconds (WireGuard, section 6.4).
const LATELY: Duration = Duration::from_secs(20);

/// The other end of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Its address.
    pub to: IpAddr,
    /// The interface of this node that packets should leave by, where it is known.
    pub by: Option<IfName>,
    /// The address of this node that they should leave from, where it is known.
    pub from: Option<IpAddr>,
    /// The address that management has of the peer, where it has one.
    pub known: Option<IpAddr>,
}

impl End {
    /// The address that a route has packets leave from, where that is another than it should be: the peer answers to that one.
    fn mistaken(&self, way: Option<&Way>) -> Option<(IpAddr, IpAddr)> {
        let (source, from) = way?.source.zip(self.from)?;
        (source != from && source.is_ipv4() == from.is_ipv4()).then_some((source, from))
    }
}

/// The way to one address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    /// None: the kernel has no way.
    way: Option<Way>,
    /// The way before, and since when it is another.
    before: Option<(Option<Way>, Mono, Wall)>,
    /// The error with which this host has refused to send there lately, and when.
    refused: Option<(i32, Mono)>,
}

/// The ways to all other ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutWays(BTreeMap<IpAddr, Known>);

impl OutWays {
    /// Takes what the kernel answers. What is not asked for any more is forgotten.
    pub fn learn(&mut self, answers: Vec<(IpAddr, Option<Way>)>, now: Mono, wall: Wall) {
        let mut old = std::mem::take(&mut self.0);
        for (to, way) in answers.into_iter().take(MOST) {
            let known = match old.remove(&to) {
                Some(known) if same(known.way.as_ref(), way.as_ref()) => Known { way, ..known },
                // A way that is there again is no other one.
                Some(Known { way: None, before, refused })
                    if before.as_ref().is_some_and(|(was, ..)| same(was.as_ref(), way.as_ref())) =>
                {
                    Known { way, before: None, refused }
                }
                Some(known) => Known { way, before: Some((known.way, now, wall)), refused: known.refused },
                None => Known { way, before: None, refused: None },
            };
            self.0.insert(to, known);
        }
    }

    /// Takes which addresses this host has refused to send to, with the errors, and when; what is older than 20 s is forgotten.
    pub fn refuse(&mut self, refused: impl Iterator<Item = (IpAddr, i32, Mono)>, now: Mono) {
        for (to, error, at) in refused {
            if let Some(known) = self.0.get_mut(&to) {
                known.refused = Some((error, at));
            }
        }
        for known in self.0.values_mut() {
            known.refused = known.refused.filter(|(_, at)| now.since(*at) < LATELY);
        }
    }

    /// A tunnel has answered a probe that left at `at`: what was before is nothing that matters any more.
    pub fn worked(&mut self, to: IpAddr, at: Mono) {
        if let Some(known) = self.0.get_mut(&to)
            && known.before.as_ref().is_some_and(|(_, since, _)| at > *since)
        {
            known.before = None;
        }
    }

    /// By which way packets leave for a peer; where that is not the interface that should be, or another way than before, it says so.
    pub fn says(&self, end: &End) -> Option<String> {
        let to = end.to;
        let known = self.0.get(&to)?;
        let mut text = match &known.way {
            Some(way) => format!("packets to {to} leave {}", by(way)),
            None => format!("{NO_WAY} {to}"),
        };
        if let Some(by) = end.by.as_ref().filter(|by| known.strays(by)) {
            let _ = write!(text, ", not by {by} as they should");
        }
        if let Some((before, _, since)) = &known.before {
            let before = before.as_ref().map_or_else(|| "by no way".to_owned(), by);
            let _ = write!(text, ", since {since}, {before} before");
        }
        if let Some((source, from)) = end.mistaken(known.way.as_ref()) {
            let _ =
                write!(text, ", from {source}, which a route says, and not from {from}, where peers know this node");
        }
        if let Some(hop) = known.way.as_ref().and_then(|way| way.mute) {
            let _ = write!(text, "; {hop} answers no question for its Ethernet address (ARP, ND), so nothing leaves");
        }
        if let Some((error, _)) = known.refused {
            let error = std::io::Error::from_raw_os_error(error);
            let _ = write!(text, "; this host itself refuses to send there: {error}");
        }
        if let Some(known) = end.known.filter(|known| *known != to) {
            let _ = write!(text, "; its packets come from {to}, and management has it at {known}");
        }
        Some(text)
    }

    /// What shows why nothing leaves for a peer, or nothing comes back.
    fn shows(&self, end: &End) -> Option<String> {
        let known = self.0.get(&end.to)?;
        if known.refused.is_some() {
            return Some("nft list ruleset; iptables-legacy-save; ip xfrm policy".to_owned());
        }
        if let Some(hop) = known.way.as_ref().and_then(|way| way.mute) {
            return Some(format!("ip neigh show {hop}; then its cable, its switch and what drops ARP there"));
        }
        let there = || format!("there: ip route get {}", end.from.unwrap_or(end.to));
        end.known.filter(|known| *known != end.to).map(|_| there())
    }

    /// Since when packets to an address take another way than before, as far as that has been seen.
    pub fn changed(&self, to: IpAddr) -> Option<Mono> {
        self.0.get(&to)?.before.as_ref().map(|(_, at, _)| *at)
    }

    /// True where the kernel was asked, and has no way to an address.
    pub fn has_none(&self, to: IpAddr) -> bool {
        self.0.get(&to).is_some_and(|known| known.way.is_none())
    }

    /// The one interface by which packets to an address leave.
    pub fn only_by(&self, to: IpAddr) -> Option<&IfName> {
        let hops = &self.0.get(&to)?.way.as_ref()?.hops;
        let first = hops.first()?.dev.as_ref()?;
        hops.iter().all(|hop| hop.dev.as_ref() == Some(first)).then_some(first)
    }

    /// True where packets to a peer leave by another interface than they should.
    pub fn astray(&self, end: &End) -> bool {
        self.0.get(&end.to).is_some_and(|known| end.by.as_ref().is_some_and(|by| known.strays(by)))
    }

    /// By which way packets to several peers leave, where it is the same one for all.
    fn together(&self, ends: &[&End]) -> Option<String> {
        let ways = ends.iter().map(|end| self.0.get(&end.to)?.way.as_ref());
        let ways: Vec<&Way> = ways.collect::<Option<_>>()?;
        let first = ways.first().filter(|_| ways.len() > 1)?;
        ways.iter().all(|way| way.hops == first.hops).then(|| format!("packets to them leave {}", by(first)))
    }

    /// Adds to what is said of tunnels that carry nothing by which way packets leave: of the one peer, of the first whose way is amiss, or of
    /// all whose way is the same.
    pub fn explain(&self, findings: &mut [Finding], ends: &BTreeMap<NodeId, End>) {
        for finding in findings.iter_mut() {
            let peers = finding.cut.as_ref().map(|cut| cut.peers.as_slice()).unwrap_or_default();
            let amiss = |end: &&End| {
                let way = self.0.get(&end.to).and_then(|known| known.way.as_ref());
                let sent = end.mistaken(way).is_some() || self.shows(end).is_some();
                sent || self.astray(end) || self.changed(end.to).is_some()
            };
            let all: Vec<&End> = peers.iter().filter_map(|peer| ends.get(peer)).collect();
            let end = all.iter().copied().find(amiss).or_else(|| all.first().copied().filter(|_| all.len() == 1));
            let Some((to, says)) = end.and_then(|end| Some((end.to, self.says(end)?))) else {
                if let Some(says) = self.together(&all) {
                    let _ = write!(finding.what, "; {says}");
                }
                continue;
            };
            let _ = write!(finding.what, "; {says}");
            // A way that is as it should be is no first place to look.
            finding.help = asking(&finding.help, to, end.is_some_and(|end| amiss(&end)));
            if let Some(shows) = end.and_then(|end| self.shows(end)) {
                finding.help = format!("{shows}; {}", finding.help);
            }
        }
    }
}

/// A help with what shows the way to an address, as its first or its last command; once.
pub(super) fn asking(help: &str, to: IpAddr, first: bool) -> String {
    let get = format!("ip route get {to}");
    match help.split(';').any(|command| command.trim().ends_with(&get)) {
        true => help.to_owned(),
        false if first => format!("{get}; {help}"),
        false => format!("{help}; {get}"),
    }
}

impl Known {
    fn strays(&self, by: &IfName) -> bool {
        let Some(way) = &self.way else { return false };
        way.hops.iter().any(|hop| hop.dev.as_ref().is_some_and(|dev| dev != by))
    }
}

/// The same next hops: by which of several equal routes is nothing that matters.
fn same(one: Option<&Way>, other: Option<&Way>) -> bool {
    one.map(|way| &way.hops) == other.map(|way| &way.hops)
}

/// Interface and router of a way.
fn by(way: &Way) -> String {
    let hop = |hop: &super::strays::Hop| {
        let dev = hop.dev.as_ref().map_or_else(|| "by an unknown interface".to_owned(), |dev| format!("by {dev}"));
        let router = hop.gateway.map_or_else(String::new, |router| format!(" via {router}"));
        format!("{dev}{router}")
    };
    way.hops.iter().map(hop).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
#[path = "outways_tests.rs"]
mod tests;
