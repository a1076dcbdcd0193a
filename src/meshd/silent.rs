//! Tunnels that carry nothing: which direction fails, and what to say. Equal causes are one finding, however many peers it meets.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lane::LaneStats;
use super::shared::View;
use crate::api::cut::Cut;
use crate::api::list::named;
use crate::api::local::{Finding, Management, PeerStatus, Silence};
use crate::node::watch_told::Down;
use crate::policy::path::Path;
use crate::probe;
use crate::table::Slice;
use crate::types::{IfName, Mono, PeerSlot};

/// A peer that hears nothing asks, and one that has nothing to say keeps alive: after so long without a word nothing arrives from it.
const QUIET: Duration = Duration::from_secs(27);
/// Who has slept has heard nothing for long: what is asked first must have had time to be answered.
const SURE: Duration = Duration::from_secs(3);
/// Peers of one finding that are named.
const NAMED: usize = 3;

/// Which direction of a tunnel fails whose session stands; none: it answers, or nobody knows. Every lane with a session must be silent.
/// A foreign peer that has never answered may still carry.
pub(super) fn silence(peer: Option<PeerSlot>, foreign: bool, stats: &[LaneStats], now: Mono) -> Option<Silence> {
    let of = |stats: &LaneStats| -> Option<(Option<Mono>, Option<Mono>, bool)> {
        let (_, tunnel) = stats.peers.iter().find(|(slot, status)| Some(*slot) == peer && status.up)?;
        let path: Option<&probe::Status> =
            stats.paths.iter().find(|(slot, _)| Some(*slot) == peer).map(|(_, path)| path);
        let counts = path.filter(|path| path.answers || !foreign);
        Some((counts.and_then(|path| path.silent), tunnel.last_received, path.is_some_and(|path| path.one_way)))
    };
    let lanes: Vec<_> = stats.iter().filter_map(of).collect();
    let since = lanes.iter().map(|(silent, ..)| *silent).collect::<Option<Vec<Mono>>>()?.into_iter().min()?;
    let heard = lanes.iter().filter_map(|(_, heard, _)| *heard).max();
    // A peer that does hear speaks as often before the first lost probe as after it.
    let unheard = now.since(heard.unwrap_or(since)) > QUIET && now.since(since) >= SURE;
    // That the peer is heard shows nothing by itself: the break may be over, and the next answer on its way.
    Some(match lanes.iter().any(|(.., one_way)| *one_way) {
        _ if unheard => Silence::In,
        true => Silence::Out,
        false => Silence::Unknown,
    })
}

/// The interface that tunnels leave by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    interface: Option<IfName>,
    down: Option<Down>,
    /// The management node is heard by it.
    heard: bool,
}

impl Line {
    pub(super) fn of(view: &View) -> Self {
        let interface = view.local.external.as_ref().map(|side| side.interface.clone());
        let own = view.local.external.as_ref().map(|side| side.address);
        let heard =
            matches!(view.management, Management::Connected { .. }) && own.is_some() && own == view.management_by;
        Self { down: interface.as_ref().and_then(|name| view.down.get(name).copied()), interface, heard }
    }
}

/// Why a tunnel carries nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    NotJoined,
    Nowhere,
    NoHandshake,
    /// Of one of another make, where there is no `meshctl`.
    ForeignNoHandshake,
    Silent(Silence),
}

/// One finding for each cause, or one for all where no tunnel of the node carries.
pub(super) fn findings(peers: &[PeerStatus], slice: Option<&Slice>, line: &Line) -> Vec<Finding> {
    let known = |peer: &PeerStatus| slice.and_then(|slice| slice.peers.get(&peer.node));
    let joined = |peer: &PeerStatus| known(peer).is_some_and(|peer| peer.public_key.is_some());
    let foreign = |peer: &PeerStatus| known(peer).is_some_and(|peer| peer.foreign.is_some());
    // Another make that was never set up tells nothing of this node's line.
    let counts = |peer: &&PeerStatus| {
        !foreign(peer) || peer.tunnel.as_ref().is_some_and(|tunnel| tunnel.handshake_age.is_some())
    };
    let mut by_cause: BTreeMap<Cause, Vec<&PeerStatus>> = BTreeMap::new();
    let mut carries = 0;
    for peer in peers {
        let Some(tunnel) = &peer.tunnel else { continue };
        let cause = match (tunnel.up, tunnel.silence) {
            (true, None) => {
                carries += 1;
                continue;
            }
            (true, Some(silence)) => Cause::Silent(silence),
            (false, _) if !joined(peer) => Cause::NotJoined,
            (false, _) if tunnel.endpoint.is_none() => Cause::Nowhere,
            (false, _) if foreign(peer) => Cause::ForeignNoHandshake,
            (false, _) => Cause::NoHandshake,
        };
        by_cause.entry(cause).or_default().push(peer);
    }
    let unheard = |cause: &Cause| {
        matches!(cause, Cause::NoHandshake | Cause::ForeignNoHandshake | Cause::Silent(Silence::Unknown | Silence::In))
    };
    let alone: Vec<&PeerStatus> =
        by_cause.iter().filter(|(cause, _)| unheard(cause)).flat_map(|(_, peers)| peers.clone()).collect();
    let alone: Vec<&PeerStatus> = alone.into_iter().filter(counts).collect();
    let heard = carries > 0 || by_cause.contains_key(&Cause::Silent(Silence::Out)) || line.heard && line.down.is_none();
    let own = !heard && (alone.len() > 1 || line.down.is_some() && !alone.is_empty());
    if own {
        for (_, peers) in by_cause.iter_mut().filter(|(cause, _)| unheard(cause)) {
            peers.retain(|peer| !counts(peer));
        }
        by_cause.retain(|_, peers| !peers.is_empty());
    }
    let own = own.then(|| cut_off(&alone, line));
    own.into_iter().chain(by_cause.into_iter().map(|(cause, peers)| cause.finding(&peers))).collect()
}

impl Cause {
    fn finding(self, peers: &[&PeerStatus]) -> Finding {
        let names = some(peers);
        let (the, is, it) = if peers.len() > 1 { ("the tunnels", "are", "them") } else { ("the tunnel", "is", "it") };
        let check = "meshctl status there first: it says so where meshd does not run or has a key that is not its own; then look for what drops UDP, here and there: meshctl tunnel list names the ports; nft list tables | grep -v vxmesh";
        let foreign = "what it has to be set to: meshctl node list says which are foreign, meshctl node foreign NODE prints it; there: wg show; then look for what drops UDP, here and there: meshctl tunnel list names the ports";
        let out = "look for what drops UDP from here, there first: nft list tables | grep -v vxmesh; then here: meshctl tunnel list";
        let back = "look for what drops UDP from there, here first: nft list tables | grep -v vxmesh; then there: meshctl tunnel list";
        let (why, help) = match self {
            Self::NotJoined if peers.len() > 1 => ("they have not joined yet".to_owned(), "run meshctl join there"),
            Self::NotJoined => ("it has not joined yet".to_owned(), "run meshctl join there"),
            Self::Nowhere => (format!("nothing says where {it} {is}"), "it must call first, or: meshctl node set"),
            Self::NoHandshake => (format!("{} answers no handshake", somewhere(peers)), check),
            Self::ForeignNoHandshake => (format!("{} answers no handshake", somewhere(peers)), foreign),
            Self::Silent(Silence::Unknown) => {
                (format!("the session stands, and {} answers nothing any more", somewhere(peers)), check)
            }
            Self::Silent(Silence::Out) => {
                (format!("what is sent from here does not arrive at {}; from there it arrives", somewhere(peers)), out)
            }
            Self::Silent(Silence::In) => (format!("nothing of {} arrives here any more", somewhere(peers)), back),
        };
        let what = format!("{the} to {names} {is} down: {why}; frames to {it} are dropped, never sent in clear");
        Finding::new("M0410", what, help).cuts(cut(peers))
    }
}

/// Nothing goes to these by their tunnels.
fn cut(peers: &[&PeerStatus]) -> Cut {
    Cut::peers(true, Path::Tunnel, peers.iter().map(|peer| &peer.node))
}

/// None of several peers is heard: the fault is here.
fn cut_off(peers: &[&PeerStatus], line: &Line) -> Finding {
    let interface = line.interface.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let why = match line.down {
        Some(how) => format!("interface {interface} {how}"),
        None => format!("no peer is heard by {interface}: it is this node's own line or packet filter"),
    };
    let what = format!(
        "all {} tunnels ({}) are down: {why}; frames to them are dropped, never sent in clear",
        peers.len(),
        some(peers)
    );
    let help = format!("ip -s link show dev {interface}; ip address show dev {interface}; meshctl tunnel list");
    Finding::new("M0410", what, help).cuts(cut(peers)).of_line(line.interface.as_ref())
}

fn some(peers: &[&PeerStatus]) -> String {
    named(peers.iter().map(|peer| &peer.node), NAMED)
}

fn somewhere(peers: &[&PeerStatus]) -> String {
    let one = peers.first().and_then(|peer| peer.tunnel.as_ref()).and_then(|tunnel| tunnel.endpoint);
    match one {
        Some(to) if peers.len() == 1 => to.to_string(),
        Some(_) | None => "any of them".to_owned(),
    }
}

#[cfg(test)]
#[path = "silent_tests.rs"]
mod tests;
