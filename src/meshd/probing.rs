//! `meshctl mtu probe`: has the lanes, or the watch of the plain path, measure one path now, and waits for what they find.

use std::sync::Arc;
use std::time::Duration;

use super::control::{aside, current};
use super::lane::LaneStats;
use super::mtu;
use super::plain;
use super::shared::{Shared, View};
use super::watch::Known;
use crate::api::mtu::{LaneMtu, Probed};
use crate::api::problem::{Exit, Problem};
use crate::clock::mono;
use crate::node::spans::{self, Measured};
use crate::policy::mtu::Span;
use crate::policy::path::Path;
use crate::probe::plain::Report;
use crate::table::Slice;
use crate::types::{NodeId, PeerSlot, Wall};

/// How long an answer may take. A search of a path takes some round trips; with losses some seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the lanes are asked how far they are.
const LOOK: Duration = Duration::from_millis(50);

/// Measures the path to a node, or to the node of a port.
///
/// # Errors
/// M0333: there is neither; M0411: its path cannot be measured; M0122: the daemon failed to look at itself.
pub(super) async fn probe(shared: &Arc<Shared>, target: &str) -> Result<Probed, Problem> {
    let slice = current(shared)?;
    let (node, peer, path) = whom(&shared.view(), &slice, target)?;
    if path == Path::Plain {
        return probe_plain(shared, node, peer).await;
    }
    let (started, lanes) = (mono(), Arc::clone(shared));
    let up = aside(move || {
        let up = lanes.lanes.stats().iter().any(|lane| is_up(lane, peer));
        lanes.lanes.probe(peer);
        up
    });
    if !up.await? {
        let what = format!("the path to '{node}' cannot be measured: its tunnel is down");
        return Err(Problem::new("M0411", Exit::Degraded, what).help("meshctl tunnel list"));
    }
    loop {
        tokio::time::sleep(LOOK).await;
        let (asked, name) = (Arc::clone(shared), node.clone());
        let lanes = aside(move || lanes_of(&asked, &name, peer)).await?;
        let took = mono().since(started);
        let searching = lanes.iter().any(|lane| lane.phase == "base" || lane.phase == "searching");
        if !searching || took > PATIENCE {
            let (guest, sum) = arithmetic(&shared.view(), &node, &lanes)?;
            let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let complete = lanes.iter().all(|lane| lane.phase == "complete");
            return Ok(Probed { node, milliseconds, lanes, complete, guest, sum });
        }
    }
}

/// Has the watch of the plain path measure it, and waits for what it finds.
async fn probe_plain(shared: &Arc<Shared>, node: NodeId, peer: PeerSlot) -> Result<Probed, Problem> {
    let started = mono();
    shared.watch.again(peer);
    loop {
        tokio::time::sleep(LOOK).await;
        let (known, took) = (shared.watch.known(), mono().since(started));
        let reports: Vec<&Report> =
            known.reports.iter().filter(|((_, slot), _)| *slot == peer).map(|(_, report)| report).collect();
        let found = |report: &&Report| report.exact && report.answered.is_some_and(|at| at > started);
        if !reports.is_empty() && reports.iter().all(found) {
            let view = shared.view();
            let (guest, sum) = plain_sum(&view, &node, &known)?;
            let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            return Ok(Probed { node, milliseconds, lanes: Vec::new(), complete: true, guest, sum });
        }
        if took > PATIENCE {
            let what = format!("the plain path to '{node}' cannot be measured: it answers no echo");
            return Err(Problem::new("M0411", Exit::Degraded, what).help("meshctl status; meshctl tunnel list"));
        }
    }
}

fn plain_sum(view: &View, node: &NodeId, known: &Known) -> Result<(u16, String), Problem> {
    let peer = view.slice.as_ref().and_then(|slice| slice.peers.get(node));
    let verdict = view.paths.values().filter_map(|paths| paths.get(node)).find(|verdict| verdict.path == Path::Plain);
    let span = peer.zip(verdict).and_then(|(peer, verdict)| spans::span(peer, verdict, &view.local, None));
    let measured = plain::measured(view, known).get(node).copied();
    let sum = span.map(|span| Span { measured, ..span }.sum(false)).ok_or_else(|| gone(node))?;
    Ok((sum.guest(), sum.to_string()))
}

fn gone(node: &NodeId) -> Problem {
    Problem::new("M0411", Exit::Degraded, format!("the path to '{node}' is gone meanwhile")).help("meshctl mtu map")
}

/// The peer that is meant, and how its path is measured: by the lanes where some network has a tunnel there.
fn whom(view: &View, slice: &Slice, target: &str) -> Result<(NodeId, PeerSlot, Path), Problem> {
    let port = slice.rows.values().find(|row| row.port.as_ref().is_some_and(|port| port.as_str() == target));
    let node = slice.peers.keys().chain([&slice.node]).find(|node| node.as_str() == target);
    let Some(node) = node.or_else(|| port.map(|row| &row.node)) else { return Err(missing(slice, target)) };
    let cannot = |why: &str| {
        let what = format!("the path to '{node}' cannot be measured: {why}");
        Err(Problem::new("M0411", Exit::Invalid, what).help("what is known of all paths: meshctl mtu map"))
    };
    if *node == slice.node {
        return cannot("that is this node");
    }
    let paths = view.paths.values().filter_map(|paths| paths.get(node)).map(|verdict| verdict.path);
    let strictest = paths.filter(|path| *path != Path::Forbidden).max();
    match (view.slots.peer(node), strictest) {
        (Some(peer), Some(path)) => Ok((node.clone(), peer, path)),
        (Some(_) | None, _) => cannot("nothing goes there"),
    }
}

fn missing(slice: &Slice, target: &str) -> Problem {
    let ports = slice.rows.values().filter_map(|row| row.port.as_ref()).map(|port| port.as_str());
    let known = slice.peers.keys().map(NodeId::as_str).chain(ports);
    let what = format!("'{target}' is neither a node nor a port that '{}' knows", slice.node);
    let problem = Problem::new("M0333", Exit::NotFound, what);
    match crate::config::nearest(target, known) {
        Some(near) => problem.help(format!("did you mean '{near}'?")),
        None => problem.help("meshctl mtu map"),
    }
}

fn is_up(lane: &LaneStats, peer: PeerSlot) -> bool {
    lane.peers.iter().any(|(slot, status)| *slot == peer && status.up)
}

/// Lanes with a tunnel to the peer. One without cannot measure and is not waited for.
fn lanes_of(shared: &Shared, node: &NodeId, peer: PeerSlot) -> Vec<LaneMtu> {
    let stats = shared.lanes.stats();
    let mut lanes = mtu::lanes(&shared.view(), &stats, node, mono());
    lanes.retain(|lane| stats.get(usize::from(lane.lane)).is_some_and(|stats| is_up(stats, peer)));
    lanes
}

fn arithmetic(view: &View, node: &NodeId, lanes: &[LaneMtu]) -> Result<(u16, String), Problem> {
    let peer = view.slice.as_ref().and_then(|slice| slice.peers.get(node));
    let verdict = view.paths.values().filter_map(|paths| paths.get(node)).find(|verdict| verdict.path == Path::Tunnel);
    let bytes = lanes.iter().map(|lane| lane.bytes).min();
    let measured = bytes.map(|bytes| Measured { bytes, since: Wall::default() });
    let span = peer.zip(verdict).and_then(|(peer, verdict)| spans::span(peer, verdict, &view.local, measured));
    let sum = span.map(|span| span.sum(false)).ok_or_else(|| gone(node))?;
    Ok((sum.guest(), sum.to_string()))
}
