//! Tunnels that carry nothing: which direction fails, and what to say. Equal causes are one finding, however many peers it meets.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lane::LaneStats;
use super::shared::View;
use crate::api::cut::{Cut, Direction};
use crate::api::list::named;
use crate::api::local::{Finding, Management, PeerStatus, Silence};
use crate::api::stream::PeerWord;
use crate::mgmt::uplinks::{AWAY_TOO, ITS_FAULT};
use crate::node::explain::Now;
use crate::node::spans;
use crate::node::watch_told::Down;
use crate::policy::path::Path;
use crate::probe;
use crate::table::Slice;
use crate::types::{IfName, Mono, NodeId, PeerSlot};

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
    if little(peer, stats).is_some() {
        return None;
    }
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

/// Where every lane with a session answers small packets alone: up to how many bytes, of the outer IP packet.
pub(super) fn little(peer: Option<PeerSlot>, stats: &[LaneStats]) -> Option<u16> {
    let of = |stats: &LaneStats| {
        stats.peers.iter().find(|(slot, status)| Some(*slot) == peer && status.up)?;
        let path = stats.paths.iter().find(|(slot, _)| Some(*slot) == peer).map(|(_, path)| path);
        Some(path.filter(|path| path.silent.is_some()).map(|path| path.little))
    };
    let lanes: Option<Vec<Option<u16>>> = stats.iter().filter_map(of).collect();
    lanes?.into_iter().flatten().min()
}

/// What that says of the direction from here, where no probe is answered.
pub(super) fn now(node: &NodeId, silence: Option<Silence>) -> Now {
    match silence {
        Some(Silence::Out) => Now::Fails(format!(
            "the tunnel to {node} is dead from here: what is sent does not arrive there, what it sends arrives here: meshctl status"
        )),
        Some(Silence::In) => Now::Unknown(format!(
            "the tunnel to {node} is dead to here: nothing of it arrives any more; whether what is sent from here arrives is known there alone: on {node}: meshctl status"
        )),
        Some(Silence::Unknown) => Now::Unknown(format!(
            "the tunnel to {node} is not answering: its session stands, and which direction fails is not known yet; meshctl status"
        )),
        None => {
            Now::Unknown(format!("the tunnel to {node} answers no probe, and its session stands; meshctl tunnel list"))
        }
    }
}

/// What management knows of peers that this node does not hear.
pub(super) type Words = BTreeMap<NodeId, PeerWord>;

/// The direction, with what management knows: the peer hears this node and says that it does not reach it.
pub(super) fn told(silence: Silence, word: Option<&PeerWord>) -> Silence {
    match silence {
        Silence::Unknown if word.is_some_and(|word| word.one_way) => Silence::In,
        Silence::Unknown | Silence::Out | Silence::In => silence,
    }
}

/// What is known of a peer that is not heard, the surest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Theirs {
    /// It says itself that this interface of its own is the fault.
    Line(IfName),
    /// Management does not hear it either.
    Away,
    /// Other nodes do not hear it either.
    Missed,
    Nothing,
}

impl Theirs {
    fn of(word: Option<&PeerWord>) -> Self {
        match word {
            Some(PeerWord { line: Some(line), .. }) if line.is_plain() => Self::Line(line.clone()),
            Some(PeerWord { away: true, .. }) => Self::Away,
            // It hears this node, so its line works, one way.
            Some(PeerWord { missed: true, one_way: false, .. }) => Self::Missed,
            Some(_) | None => Self::Nothing,
        }
    }

    /// It is said first, with where to look first.
    fn says(&self, peers: &[&PeerStatus]) -> Option<(String, String)> {
        let many = peers.len() > 1;
        let names = some(peers);
        let on = if many { "on each of them" } else { "on it" };
        Some(match self {
            Self::Line(line) => (
                format!(
                    "{names} {} that interface {line} {ITS_FAULT}",
                    if many { "say themselves" } else { "says itself" }
                ),
                format!("on {names} first: ip link show dev {line}; meshctl status"),
            ),
            Self::Away => (
                format!("the management node hears nothing of {} either {AWAY_TOO}", if many { "them" } else { "it" }),
                format!("M0107 at management first; {on}: is the machine up; ip -brief link; systemctl status meshd"),
            ),
            Self::Missed => (
                format!("other nodes hear nothing of {} either", if many { "them" } else { "it" }),
                format!("on {names} first: meshctl status; ip -brief link: its own line is likelier than one here"),
            ),
            Self::Nothing => return None,
        })
    }
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
        Self { down: interface.as_ref().and_then(|name| view.down.get(name).cloned()), interface, heard }
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
pub(super) fn findings(peers: &[PeerStatus], slice: Option<&Slice>, line: &Line, words: &Words) -> Vec<Finding> {
    let known = |peer: &PeerStatus| slice.and_then(|slice| slice.peers.get(&peer.node));
    let joined = |peer: &PeerStatus| known(peer).is_some_and(|peer| peer.public_key.is_some());
    let foreign = |peer: &PeerStatus| known(peer).is_some_and(|peer| peer.foreign.is_some());
    // Another make that was never set up tells nothing of this node's line.
    let counts = |peer: &&PeerStatus| {
        !foreign(peer) || peer.tunnel.as_ref().is_some_and(|tunnel| tunnel.handshake_age.is_some())
    };
    // There is no `meshctl` at one of another make.
    let theirs = |peer: &PeerStatus| Theirs::of(words.get(&peer.node).filter(|_| !foreign(peer)));
    let mut by_cause: BTreeMap<Cause, Vec<&PeerStatus>> = BTreeMap::new();
    let mut carries = 0;
    let mut small: BTreeMap<u16, Vec<&PeerStatus>> = BTreeMap::new();
    for peer in peers {
        let Some(tunnel) = &peer.tunnel else { continue };
        let cause = match (tunnel.up, tunnel.silence) {
            (true, None) => {
                carries += 1;
                if let Some(little) = tunnel.little {
                    small.entry(little).or_default().push(peer);
                }
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
    let heard = carries > 0 || by_cause.contains_key(&Cause::Silent(Silence::Out)) || line.heard;
    // An interface that is down is the cause at once: those that seem to carry have not been asked since.
    // Who is known to be cut off at its own end tells nothing of this one.
    let unexplained = alone.iter().filter(|peer| matches!(theirs(peer), Theirs::Missed | Theirs::Nothing)).count();
    let down = line.down.as_ref().is_some_and(|how| how.is_whole() || !heard);
    let own = !alone.is_empty() && down || !heard && unexplained > 1;
    let all = alone.len() == peers.iter().filter(|peer| peer.tunnel.is_some()).filter(counts).count();
    if own {
        for (_, peers) in by_cause.iter_mut().filter(|(cause, _)| unheard(cause)) {
            peers.retain(|peer| !counts(peer));
        }
        by_cause.retain(|_, peers| !peers.is_empty());
    }
    let own = own.then(|| cut_off(&alone, all, line));
    let mut parts: BTreeMap<(Cause, Theirs), Vec<&PeerStatus>> = BTreeMap::new();
    for (cause, peers) in by_cause {
        for peer in peers {
            let theirs = if unheard(&cause) { theirs(peer) } else { Theirs::Nothing };
            parts.entry((cause, theirs)).or_default().push(peer);
        }
    }
    let parts = parts.into_iter().map(|((cause, theirs), peers)| cause.finding(&theirs, &peers));
    let small = small.iter().map(|(little, peers)| {
        let to = peers.first().and_then(|peer| peer.tunnel.as_ref()?.endpoint).filter(|_| peers.len() == 1);
        spans::small(&peers.iter().map(|peer| &peer.node).collect::<Vec<_>>(), *little, to)
    });
    own.into_iter().chain(parts).chain(small).collect()
}

impl Cause {
    fn finding(self, theirs: &Theirs, peers: &[&PeerStatus]) -> Finding {
        let names = some(peers);
        let (the, is, it) = if peers.len() > 1 { ("the tunnels", "are", "them") } else { ("the tunnel", "is", "it") };
        let check = "meshctl status there first: it says so where meshd does not run or has a key that is not its own; then look for what drops UDP, here and there: meshctl tunnel list names the ports; nft list tables | grep -v vxmesh; iptables-legacy-save";
        let foreign = "what it has to be set to: meshctl node list says which are foreign, meshctl node foreign NODE prints it; there: wg show; then look for what drops UDP, here and there: meshctl tunnel list names the ports";
        let out = "look for what drops UDP from here, there first: nft list tables | grep -v vxmesh; iptables-legacy-save; then here: meshctl tunnel list";
        let back = "meshctl status there first: if an interface of its own is down, it says so; then look for what drops UDP from there, here first: nft list tables | grep -v vxmesh; iptables-legacy-save; then there: meshctl tunnel list";
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
        let (state, fate) = self.fate(is);
        let (why, help) = match theirs.says(peers) {
            Some((known, first)) => (format!("{known}; {why}"), format!("{first}; only then {help}")),
            None => (why, help.to_owned()),
        };
        let what = format!("{the} to {names} {state}: {why}; {}", fate.replace("THEM", it));
        Finding::new("M0410", what, help).cuts(self.cut(peers))
    }

    /// How it is with the tunnel, and what happens to frames. Of a direction of which nobody here knows anything, nothing sure is said.
    const fn fate(self, is: &str) -> (&'static str, &'static str) {
        let one = is.len() == "is".len();
        match self {
            Self::Silent(Silence::Unknown) => (
                if one { "is not answering" } else { "are not answering" },
                "which direction fails is not known yet: frames to THEM leave by the session, and may arrive",
            ),
            Self::Silent(Silence::Out) => (
                if one { "is dead from here" } else { "are dead from here" },
                "frames to THEM are lost on their way, those from there go on",
            ),
            Self::Silent(Silence::In) => (
                if one { "is dead to here" } else { "are dead to here" },
                "frames to THEM leave by the session for as long as it stands, and whether they arrive is known there alone",
            ),
            Self::NotJoined | Self::Nowhere | Self::NoHandshake | Self::ForeignNoHandshake => {
                (if one { "is down" } else { "are down" }, "frames to THEM are dropped, never sent in clear")
            }
        }
    }

    /// What it keeps from arriving. By a session that stands only what is known to fail does.
    fn cut(self, peers: &[&PeerStatus]) -> Cut {
        let direction = match self {
            Self::Silent(Silence::Out) => Some(Direction::FromGuests),
            Self::Silent(Silence::In) => Some(Direction::ToGuests),
            Self::Silent(Silence::Unknown)
            | Self::NotJoined
            | Self::Nowhere
            | Self::NoHandshake
            | Self::ForeignNoHandshake => None,
        };
        Cut { direction, ..cut(self != Self::Silent(Silence::Unknown), peers) }
    }
}

/// What goes between here and these by their tunnels.
fn cut(surely: bool, peers: &[&PeerStatus]) -> Cut {
    Cut::peers(surely, Path::Tunnel, peers.iter().map(|peer| &peer.node))
}

/// What an own line cuts off by which nothing arrives: all where it is down or no session stands; else what is sent from here may leave.
fn cut_line(peers: &[&PeerStatus], line: &Line) -> Cut {
    let tunnels = || peers.iter().filter_map(|peer| peer.tunnel.as_ref());
    if line.down.as_ref().is_some_and(Down::is_whole) || !tunnels().any(|tunnel| tunnel.up) {
        return cut(true, peers);
    }
    let unheard = tunnels().all(|tunnel| !tunnel.up || tunnel.silence == Some(Silence::In));
    Cut { direction: unheard.then_some(Direction::ToGuests), ..cut(unheard, peers) }
}

/// None of several peers is heard, or their interface is down: the fault is here. `all`: there are no other tunnels.
fn cut_off(peers: &[&PeerStatus], all: bool, line: &Line) -> Finding {
    let interface = line.interface.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let why = match &line.down {
        Some(how) => format!("interface {interface} {how}"),
        None => format!("no peer is heard by {interface}: it is this node's own line or packet filter"),
    };
    let which = match peers.len() {
        1 => format!("the tunnel to {} is", some(peers)),
        count if all => format!("all {count} tunnels ({}) are", some(peers)),
        _ => format!("the tunnels to {} are", some(peers)),
    };
    let what = format!("{which} down: {why}; nothing of them arrives here, and nothing is sent in clear");
    let show = format!("ip -s link show dev {interface}; ip address show dev {interface}");
    let help = match line.interface.as_ref().zip(line.down.as_ref()) {
        Some((interface, how)) if !how.is_whole() => how.help(interface),
        Some(_) | None => show,
    };
    let help = format!("{help}; meshctl tunnel list");
    Finding::new("M0410", what, help).cuts(cut_line(peers, line)).of_line(line.interface.as_ref())
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
