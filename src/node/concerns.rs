//! Which findings are in the way of a frame: `explain` says what `status` knows. A node asks its own findings, the management node those that
//! both ends have told.

use std::net::IpAddr;

use super::explain;
use super::paths::Paths;
use crate::api::cut::{Cut, CutGuest, Direction};
use crate::api::local::{Arrival, Explanation, Finding, Step};
use crate::policy::path::Path;
use crate::table::{NetKey, Row, RowKey, Slice};
use crate::types::{Mac, NodeId};

/// Findings of one explanation that are named.
const NAMED: usize = 4;

/// One end of a frame, as the node there sees it.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// The network.
    pub net: &'a NetKey,
    /// The guest on this node; none: all of the network.
    pub mac: Option<Mac>,
    /// The node at the other end, and the path to it; none: the same node.
    pub peer: Option<(&'a NodeId, Path)>,
    /// What is sent is IPv6, or IPv4; none: that is not known.
    pub ipv6: Option<bool>,
    /// Both ends are guests of this node: the frame is for nobody else.
    pub alone: bool,
    /// Whether this is where the frame comes from or where it goes to; none: either.
    pub direction: Option<Direction>,
    /// The IP address that the guest at this end sends from; none: that is not known, or it is who gets the frame.
    pub ip: Option<IpAddr>,
}

/// Whether a finding of the node at this end is in the way: surely, or maybe.
pub fn concerns(cut: &Cut, end: End<'_>) -> Option<bool> {
    let path = end.peer.is_some_and(|(_, path)| cut.path.is_none_or(|cut| cut == path));
    let peer = path && end.peer.is_some_and(|(node, _)| cut.peers.contains(node));
    let guest = |guest: &CutGuest| guest.network == *end.net && Some(guest.mac) == end.mac;
    let network = cut.networks.contains(end.net) && (path || cut.path.is_none());
    if cut.ipv6.zip(end.ipv6).is_some_and(|(cut, sent)| cut != sent) {
        return None;
    }
    if cut.away && end.alone || cut.direction.zip(end.direction).is_some_and(|(cut, goes)| cut != goes) {
        return None;
    }
    if !cut.from.is_empty() && end.ip.is_some_and(|ip| !cut.from.contains(&ip)) {
        return None;
    }
    if cut.node || peer || network || cut.guests.iter().any(guest) {
        // Of a frame that may be of the other family it is not certain.
        return Some(cut.surely && (cut.ipv6.is_none() || end.ipv6.is_some()));
    }
    // What is not listed may be among the rest, if the rest is of that kind.
    let rest = !cut.guests.is_empty() || !cut.networks.is_empty() || path && !cut.peers.is_empty();
    (cut.others && rest).then_some(false)
}

/// What a guest speaks, where its addresses are of one family: true for IPv6.
pub fn family(row: &Row) -> Option<bool> {
    (row.arp.is_empty() != row.nd.is_empty()).then_some(row.arp.is_empty())
}

/// The findings that are in the way at one end, the sure ones first.
pub fn in_the_way<'a>(findings: &'a [Finding], end: End<'_>) -> Vec<(&'a Finding, bool)> {
    let of = |finding: &'a Finding| Some((finding, concerns(finding.cut.as_ref()?, end)?));
    let mut found: Vec<_> = findings.iter().filter_map(of).collect();
    found.sort_by_key(|(_, surely)| !surely);
    found
}

/// The findings that are in the way of the answer to a frame and not of the frame.
pub(super) fn in_the_way_back<'a>(findings: &'a [Finding], end: End<'_>) -> Vec<(&'a Finding, bool)> {
    let directed = |finding: &Finding| finding.cut.as_ref().is_some_and(|cut| cut.direction.is_some());
    let back = End { direction: end.direction.map(Direction::back), ..end };
    in_the_way(findings, back).into_iter().filter(|(finding, _)| directed(finding)).collect()
}

/// Adds what the findings of a node say of its end. What a step says already is not said again.
pub fn add(explanation: &mut Explanation, findings: &[Finding], end: End<'_>) {
    let said = |finding: &Finding| {
        explanation.steps.iter().any(|step| {
            !step.passes && step.what == "guest" && guests_only(finding) || step.text.contains(&finding.what)
        })
    };
    let all: Vec<_> = in_the_way(findings, end).into_iter().filter(|(finding, _)| !said(finding)).collect();
    let step = |(finding, surely): (&Finding, bool)| {
        let text = format!("{} {}", finding.code, finding.what);
        if surely { Step::new("status", false, text) } else { Step::open("status", text) }
    };
    let steps: Vec<Step> = all.into_iter().take(NAMED).map(step).collect();
    // Who asks why nobody answers looks at the way there first. What is for all has no answer.
    let back = explanation.mac.map(|_| in_the_way_back(findings, end)).unwrap_or_default();
    let back = back.into_iter().filter(|(finding, _)| !said(finding)).take(NAMED).map(|(finding, surely)| {
        let does = if surely { "does not come back" } else { "may not come back" };
        Step::new("back", true, format!("the answer {does}: {} {}", finding.code, finding.what))
    });
    let back: Vec<Step> = back.collect();
    // What is in the sender's way is in it whoever holds the address.
    let all = explanation.steps.len();
    let holder = explanation.steps.iter().position(|step| step.what == HOLDER);
    let at = holder.filter(|_| end.direction == Some(Direction::FromGuests)).unwrap_or(all);
    explanation.steps.splice(at..at, steps.into_iter().chain(back));
    settle(explanation);
}

/// A finding about guests alone, which the step about the guest tells where it ends there.
fn guests_only(finding: &Finding) -> bool {
    finding.cut.as_ref().is_some_and(|cut| !cut.guests.is_empty() && !cut.node)
}

/// The step from which on one holder of an address is looked at, where another one may hold it.
pub const HOLDER: &str = "holder";

/// What the steps come to. That one who may hold an address is not reached says nothing of who does.
pub fn settle(explanation: &mut Explanation) {
    let guessed = explanation.steps.iter().position(|step| step.what == HOLDER);
    if let Some(at) = guessed {
        for step in explanation.steps.iter_mut().skip(at).filter(|step| !step.passes) {
            (step.passes, step.open) = (true, true);
        }
        explanation.verdict = explanation.verdict.min(Arrival::NotCertain);
    }
    let of = |step: &Step| match step {
        Step { passes: false, .. } => Arrival::DoesNotArrive,
        Step { open: true, .. } => Arrival::NotCertain,
        Step { .. } => Arrival::Arrives,
    };
    explanation.verdict = explanation.steps.iter().map(of).fold(explanation.verdict, Arrival::max);
}

/// Where a frame of an explanation goes: the sender's row, and the receiver's, if there is one.
pub struct Way<'a> {
    /// The sender's.
    pub from: &'a RowKey,
    /// Its network.
    pub net: NetKey,
    /// The receiver's.
    pub to: Option<(&'a RowKey, &'a Row)>,
    /// The path to the receiver's node; none: it is the same.
    pub path: Option<Path>,
    /// What is sent is IPv6, or IPv4; none: that is not known.
    pub ipv6: Option<bool>,
    /// The receiver is on the sender's node.
    pub alone: bool,
    /// The IP address that the sender was asked for by.
    pub ip: Option<IpAddr>,
}

impl std::fmt::Debug for Way<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("from", &self.from.mac).field("path", &self.path).finish_non_exhaustive()
    }
}

impl<'a> Way<'a> {
    /// Finds the rows again that an explanation is about. `ipv6` as far as it was asked for; else it is what the receiver speaks.
    pub fn of(explanation: &Explanation, slice: &'a Slice, paths: &Paths, ipv6: Option<bool>) -> Option<Self> {
        let (from, _) = explain::row_of(slice, &explanation.from.parse().ok()?, &explanation.to.parse().ok()?)?;
        let net = from.net();
        let to = explanation.mac.and_then(|mac| {
            let key = RowKey { mac, ..from.clone() };
            slice.rows.get_key_value(&key)
        });
        let verdict = to.and_then(|(_, row)| paths.get(&net)?.get(&row.node));
        let path = verdict.map(|verdict| verdict.path);
        let ipv6 = ipv6.or_else(|| family(to?.1));
        let alone = to.is_some_and(|(_, row)| row.node == explanation.from_node);
        let ip = explanation.from.parse().ok();
        Some(Self { from, net, to, path, ipv6, alone, ip })
    }

    /// The sender's end.
    pub fn near(&self) -> End<'_> {
        let peer = self.to.and_then(|(_, row)| Some((&row.node, self.path?)));
        let direction = Some(Direction::FromGuests);
        let ip = self.ip;
        End { net: &self.net, mac: Some(self.from.mac), peer, ipv6: self.ipv6, alone: self.alone, direction, ip }
    }

    /// The receiver's end, on its node; `own` is the sender's node.
    pub fn far<'b>(&'b self, own: &'b NodeId) -> Option<End<'b>> {
        let (key, row) = self.to?;
        // On one node there is no path.
        let peer = if row.node == *own { None } else { Some((own, self.path?)) };
        let direction = Some(Direction::ToGuests);
        let ip = None;
        Some(End { net: &self.net, mac: Some(key.mac), peer, ipv6: self.ipv6, alone: self.alone, direction, ip })
    }
}

#[cfg(test)]
#[path = "concerns_tests.rs"]
pub(crate) mod tests;
