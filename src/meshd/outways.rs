//! Asks the kernel by which way packets leave for the other ends of tunnels.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::kernel::Kernel;
use super::lane::LaneStats;
use super::pace::Pace;
use super::shared::{Shared, View};
use super::status;
use crate::api::local::{Finding, PeerStatus};
use crate::clock::{mono, wall};
use crate::node::explain::Now;
use crate::node::outways::{End, MOST};
use crate::node::unwatched::Eye;
use crate::node::{paths, plainways};
use crate::policy::path::{Path, Why};
use crate::probe;
use crate::table::Peer;
use crate::types::{IfName, Mono, NodeId};

/// How often; a dead tunnel is told after a dozen seconds. On a busy machine a look takes long by waiting alone, and costs no more.
const PACE: Pace = Pace { every: Duration::from_secs(5), share: 200, longest: Duration::from_secs(30) };

/// When it is due again.
#[derive(Debug, Default)]
pub(super) struct Asker {
    at: Option<Mono>,
}

impl Asker {
    /// Asks where it is due.
    pub(super) fn look<K: Kernel>(&mut self, kernel: &mut K, shared: &Shared) {
        let start = mono();
        if self.at.is_some_and(|at| start < at) {
            return;
        }
        let tunnels = status::tunnels(shared);
        let mut ends: Vec<SocketAddr> = tunnels.iter().filter_map(|one| one.endpoint).collect();
        let dead = tunnels.iter().filter(|one| !one.up || one.silence.is_some());
        let dead: BTreeSet<IpAddr> = dead.filter_map(|one| Some(one.endpoint?.ip())).collect();
        ends.extend(sessions(&shared.view()).into_iter().map(|(.., to)| to));
        ends.sort_unstable();
        ends.dedup_by_key(|end| end.ip());
        ends.truncate(MOST);
        let told = kernel.out_ways(&ends, &dead).map(|answers| {
            let mut ways = shared.view().outways.as_ref().clone();
            ways.learn(answers, mono(), wall());
            let lanes = shared.lanes.stats();
            lanes.iter().flat_map(worked).for_each(|(to, at)| ways.worked(to, at));
            let refused = lanes.iter().filter_map(|lane| lane.refused);
            ways.refuse(refused.map(|(to, error, at)| (to.ip(), error, at)), mono());
            shared.view().outways = Arc::new(ways);
            true
        });
        shared.looked(Eye::Tunnels, told);
        self.at = Some(PACE.after(start));
    }
}

/// The other ends of a lane that have answered, with when the newest of these probes left.
fn worked(lane: &LaneStats) -> impl Iterator<Item = (IpAddr, Mono)> {
    lane.paths.iter().filter(|(_, path)| path.answers).filter_map(|(peer, path)| {
        let (_, status) = lane.peers.iter().find(|(slot, _)| slot == peer)?;
        Some((status.endpoint?.ip(), path.answered))
    })
}

/// Adds to what is said of dead tunnels by which way their packets leave.
pub(super) fn explain(view: &View, findings: &mut [Finding], peers: &[PeerStatus]) {
    let end = |peer: &PeerStatus| {
        let to = peer.tunnel.as_ref()?.endpoint?;
        Some((peer.node.clone(), end_of(view, &peer.node, to)))
    };
    view.outways.explain(findings, &peers.iter().filter_map(end).collect());
}

/// The sessions with peers of plain paths: which, by which interface, and where to.
fn sessions(view: &View) -> Vec<(NodeId, IfName, SocketAddr)> {
    let Some(slice) = &view.slice else { return Vec::new() };
    let one = |(node, peer): (&NodeId, &Peer)| {
        let mut verdicts = view.paths.values().filter_map(|of| of.get(node));
        let verdict = verdicts.find(|verdict| verdict.path == Path::Plain)?;
        let interface = view.local.side(verdict.outer)?.interface.clone();
        peer.public_key.as_ref()?;
        Some((node.clone(), interface, paths::endpoint(peer, verdict.outer, 0)?))
    };
    slice.peers.iter().filter_map(one).collect()
}

/// Adds to what is said of plain paths what this host's own routes do to them.
pub(super) fn plain(view: &View, findings: &mut Vec<Finding>, now: Mono) {
    let sessions = sessions(view).into_iter().filter(|(_, by, _)| !view.down.contains_key(by));
    let end = |by, to: SocketAddr| End { to: to.ip(), by: Some(by), from: None, known: None };
    let ends = sessions.map(|(node, by, to)| (node, end(by, to))).collect();
    plainways::refused(&view.outways, &ends, findings, now);
    let Some(admin) = &view.local.admin else { return };
    let mut whys = view.paths.values().flat_map(|of| of.values()).map(|verdict| &verdict.why);
    if whys.any(|why| matches!(why, Why::OutsideUnderlay(node) if *node == view.node)) {
        let pdc = view.slice.as_ref().and_then(|slice| slice.pdcs.get(&view.pdc));
        let underlay = pdc.map(|pdc| pdc.underlay.as_slice()).unwrap_or_default();
        findings.push(plainways::outside((&view.pdc, admin.address, &admin.interface), underlay));
    }
    let Some(external) = &view.local.external else { return };
    if admin.interface == external.interface {
        let own = (&view.pdc, admin.address, &admin.interface);
        findings.extend(plainways::elsewhere(&view.outways, &ends, own));
    }
}

/// The other end of the tunnel to a node.
pub(super) fn end_of(view: &View, node: &NodeId, to: SocketAddr) -> End {
    let tunnel = view.paths.values().filter_map(|of| of.get(node)).find(|verdict| verdict.path == Path::Tunnel);
    let side = tunnel.and_then(|verdict| view.local.side(verdict.outer));
    let peer = view.slice.as_ref().and_then(|slice| slice.peers.get(node));
    let known = tunnel.zip(peer).and_then(|(verdict, peer)| paths::endpoint(peer, verdict.outer, 0));
    End {
        to: to.ip(),
        by: side.map(|side| side.interface.clone()),
        from: side.map(|side| side.address),
        known: known.map(|known| known.ip()),
    }
}

/// The way that packets to a peer take.
#[derive(Debug, Clone, Default)]
pub(super) struct Route {
    says: String,
    astray: bool,
    changed: Option<Mono>,
    to: Option<IpAddr>,
}

impl Route {
    /// As of the last look.
    pub(super) fn of(view: &View, node: &NodeId, to: Option<SocketAddr>) -> Self {
        let Some(end) = to.map(|to| end_of(view, node, to)) else { return Self::default() };
        let ways = &view.outways;
        let (says, astray) = (ways.says(&end).unwrap_or_default(), ways.astray(&end));
        Self { says, astray, changed: ways.changed(end.to), to: Some(end.to) }
    }
}

/// Of a tunnel whose probes are answered: what that shows now of the direction from here.
pub(super) fn answered(node: &NodeId, paths: &[probe::Status], way: &Route, now: Mono) -> Now {
    let last = paths.iter().map(|path| path.answered).max().unwrap_or(now);
    let ago = now.since(last).as_secs();
    let get = way.to.map_or_else(String::new, |to| format!("; ip route get {to}"));
    if way.changed.is_some_and(|at| at > last) {
        return Now::Unknown(format!("{}; no probe to {node} has been answered since{get}", way.says));
    }
    if !paths.is_empty() && paths.iter().all(|path| path.doubted) {
        return Now::Unknown(format!(
            "the tunnel to {node} is up; its last answered probe left {ago} s ago, one after it was lost and is sent again{get}"
        ));
    }
    let astray = if way.astray { format!("; {}{get}", way.says) } else { String::new() };
    Now::Answers(format!("the tunnel to {node} is up; its last answered probe left {ago} s ago{astray}"))
}

#[cfg(test)]
#[path = "outways_tests.rs"]
mod tests;
