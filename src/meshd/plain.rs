//! What the watch of the plain path has found, brought together with who the peers are: for `status`, `tunnel list`, `explain` and the
//! findings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::lane::LaneStats;
use super::lossy::Loser;
use super::outways::{self, Route};
use super::shared::{Shared, Topic, View};
use super::watch::Known;
use super::{silent, status};
use crate::api::local::{Finding, PlainPeer, PlainState, PlainStatus};
use crate::clock::{mono, wall};
use crate::node::causes;
use crate::node::detour::Detours;
use crate::node::explain::{Live, Now};
use crate::node::paths::Paths;
use crate::node::spans;
use crate::node::watch::{ECHO_VNI, Echoed};
use crate::node::watch_told::{self, Seen};
use crate::policy::path::Path;
use crate::probe::plain::Report;
use crate::probe::{self, Phase};
use crate::table::{NetKey, Network, Slice};
use crate::tunnel;
use crate::types::{Mono, NodeId, PeerSlot, UdpPort};

/// How often the findings are made anew.
const LOOK: Duration = Duration::from_secs(1);
/// How often dead tunnels are looked for: nobody is called dead sooner than after a dozen seconds.
const TUNNELS: Duration = Duration::from_secs(5);
/// How long after its start a node waits before it calls a session down.
const GRACE: Duration = Duration::from_secs(30);
/// How long a session may bring nothing; it is asked every 12 s, and a call that is not answered is made again after 5 s.
const SESSION: Duration = Duration::from_secs(25);
/// What was under way when the first question left that was not answered may still arrive: each of two daemons looks twice a second.
const LATE: Duration = Duration::from_secs(2);

/// Makes findings of it.
#[derive(Debug, Default)]
pub(super) struct Plain {
    due: Mono,
    detours: Detours,
    lossy: Loser,
    /// Tunnels that carry nothing, of which there is an event, and when they are looked at again.
    dead: (Vec<Finding>, Mono),
}

impl Plain {
    /// The paths as they are while some plain ones are dead.
    pub(super) fn apply(&self, slice: &Slice, paths: Paths) -> Paths {
        self.detours.apply(slice, paths)
    }

    /// Tells what is wrong, if it is time. True: paths are others from now on.
    pub(super) fn look(&mut self, shared: &Shared, now: Mono) -> bool {
        if now < self.due {
            return false;
        }
        self.due = now + LOOK;
        self.lossy.look(shared, now);
        let known = shared.watch.known();
        // Before the view is held: a lane may take its time.
        let stats = if known.reports.is_empty() { Vec::new() } else { shared.lanes.stats() };
        let (changed, findings) = {
            let view = shared.view();
            let changed = self.detours.look(view.slice.as_deref(), &seen(&view, &known, &stats, now), now, wall());
            (changed, findings(&view, &known, &stats, now))
        };
        shared.find(Topic::Detours, self.detours.findings());
        shared.find(Topic::Plain, findings);
        self.tunnels(shared, now);
        changed
    }

    /// Makes events of tunnels that carry nothing.
    fn tunnels(&mut self, shared: &Shared, now: Mono) {
        let (old, due) = &mut self.dead;
        if now < *due {
            return;
        }
        *due = now + TUNNELS;
        let tunnels =
            shared.view().paths.values().flat_map(|of| of.values()).any(|verdict| verdict.path == Path::Tunnel);
        let dead = if tunnels { status::dead(shared) } else { Vec::new() };
        shared.tell(old, &dead);
        *old = dead;
    }
}

/// What is wrong with plain paths now.
pub(super) fn findings(view: &View, known: &Known, stats: &[LaneStats], now: Mono) -> Vec<Finding> {
    let mut findings = watch_told::findings(&view.node, &seen(view, known, stats, now), &view.down, now);
    findings.extend(known.closed.iter().map(|(port, why)| closed(*port, why)));
    outways::plain(view, &mut findings, now);
    findings
}

/// All pairs, as far as they are known.
pub(super) fn seen<'a>(view: &'a View, known: &Known, stats: &[LaneStats], now: Mono) -> Vec<Seen<'a>> {
    let mut all = Vec::new();
    // Hundreds of peers are looked up each second.
    let lane = stats.iter().find(|lane| lane.lane == 0);
    let lane = lane.map(|lane| lane.peers.iter().map(|(peer, status)| (*peer, status)).collect());
    for echoes in view.echoes.iter() {
        for (node, echoed) in &echoes.peers {
            let (Some(side), Some(slot)) = (view.local.side(echoed.outer), view.slots.peer(node)) else { continue };
            let report = known.reports.get(&(echoes.udp_port, slot)).cloned();
            let mut one = Seen {
                node,
                udp_port: echoes.udp_port,
                own: echoed.own,
                address: echoed.address,
                outer: echoed.outer,
                interface: &side.interface,
                session: session(view, node, lane.as_ref(), now),
                unheard: unheard(lane.as_ref(), slot, report.as_ref()),
                theirs: view.words.get(node, now).and_then(|word| word.plain.as_ref()).filter(|line| line.is_plain()),
                speaks: view.slice.as_ref().is_some_and(|slice| slice.version.incarnation != 0),
                narrow: Vec::new(),
                report,
            };
            one.narrow = one.passes(now).map(|passes| larger(view, &one, passes)).unwrap_or_default();
            all.push(one);
        }
    }
    all
}

/// Networks whose guests send larger packets than that to a peer by the plain path.
fn larger<'a>(view: &'a View, one: &Seen<'_>, passes: u16) -> Vec<&'a Network> {
    let networks = view.slice.as_ref().map(|slice| &slice.networks);
    let plain = |key: &NetKey| {
        view.paths.get(key).and_then(|paths| paths.get(one.node)).is_some_and(|verdict| verdict.path == Path::Plain)
    };
    let wanted = |(key, network): &(&'a NetKey, &'a Network)| {
        network.udp_port == one.udp_port && view.local.guest_mtu(network).get() > passes && plain(key)
    };
    networks.into_iter().flatten().filter(wanted).map(|(_, network)| network).collect()
}

/// The sessions of the first lane.
type Sessions<'a> = BTreeMap<PeerSlot, &'a tunnel::PeerStatus>;

/// True where the session with a peer stands, where none is wanted, and while it is too early to say.
fn session(view: &View, node: &NodeId, lane: Option<&Sessions<'_>>, now: Mono) -> bool {
    if now.since(view.started) < GRACE {
        return true;
    }
    let wanted =
        view.slice.as_ref().and_then(|slice| slice.peers.get(node)).is_some_and(|peer| peer.public_key.is_some());
    let Some((lane, slot)) = lane.filter(|_| wanted).zip(view.slots.peer(node)) else { return true };
    let stands =
        |status: &tunnel::PeerStatus| status.up && status.last_received.is_some_and(|at| now.since(at) < SESSION);
    lane.get(&slot).is_none_or(|status| stands(status))
}

/// True where a peer has been heard by its session since it began to leave questions by it without an answer: they do not arrive there.
fn unheard(lane: Option<&Sessions<'_>>, slot: PeerSlot, report: Option<&Report>) -> bool {
    let heard =
        lane.and_then(|lane| lane.get(&slot)).filter(|status| status.up).and_then(|status| status.last_received);
    heard.zip(report.and_then(|report| report.mute)).is_some_and(|(heard, first)| heard > first + LATE)
}

/// What the plain paths to each peer answer, the worst first.
pub(super) fn by_peer(seen: &[Seen<'_>], now: Mono) -> BTreeMap<NodeId, Vec<PlainStatus>> {
    let mut by_peer: BTreeMap<NodeId, Vec<PlainStatus>> = BTreeMap::new();
    for one in seen {
        by_peer.entry(one.node.clone()).or_default().push(one.status(now));
    }
    by_peer.values_mut().for_each(|all| all.sort_by_key(|status| status.state));
    by_peer
}

/// One line a peer and overlay of the plain path.
pub(super) fn list(shared: &Shared) -> Vec<PlainPeer> {
    let (known, stats, now) = (shared.watch.known(), shared.lanes.stats(), mono());
    let view = shared.view();
    let one = |one: Seen<'_>| PlainPeer { node: one.node.clone(), vtep: Some(one.address), plain: one.status(now) };
    seen(&view, &known, &stats, now).into_iter().map(one).collect()
}

/// What plain paths were measured to carry, bytes of the outer packet by peer: the smaller of both directions, and of several overlays the
/// smallest. One that is not known to the byte is left out.
pub(super) fn measured(view: &View, known: &Known) -> BTreeMap<NodeId, u16> {
    let mut sizes: BTreeMap<NodeId, u16> = BTreeMap::new();
    for echoes in view.echoes.iter() {
        for (node, echoed) in &echoes.peers {
            let report = view.slots.peer(node).and_then(|slot| known.reports.get(&(echoes.udp_port, slot)));
            let Some(report) = report.filter(|report| report.exact && report.size > 0) else { continue };
            let back = report.theirs.map(|theirs| theirs.passes).filter(|size| *size > 0);
            let size = report.size.min(back.unwrap_or(u16::MAX)).saturating_add(echoed.overhead());
            sizes.entry(node.clone()).and_modify(|least| *least = size.min(*least)).or_insert(size);
        }
    }
    sizes
}

/// The same of those that lose what their guests may send, as M0664 tells it.
pub(super) fn narrow(view: &View, known: &Known) -> BTreeMap<NodeId, u16> {
    let mut sizes: BTreeMap<NodeId, u16> = BTreeMap::new();
    for one in seen(view, known, &[], mono()) {
        let around = || view.echoes.iter().find_map(|echoes| echoes.peers.get(one.node)).map(Echoed::overhead);
        let Some(size) = one.passes(mono()).zip(around()).map(|(passes, around)| passes.saturating_add(around)) else {
            continue;
        };
        sizes.entry(one.node.clone()).and_modify(|least| *least = size.min(*least)).or_insert(size);
    }
    sizes
}

/// What `explain` is told of the paths as they are now.
pub(super) fn live(view: &View, known: &Known, stats: &[LaneStats], now: Mono) -> Live {
    let plain = seen(view, known, stats, now).into_iter();
    // Guests' frames do not go by that device.
    let hit = causes::watch_is_hit(view.findings.values().flatten());
    let plain = plain.map(|one| ((one.node.clone(), one.udp_port), doubted(plain_now(&one, now), hit, &one, now)));
    let tunnels = view.paths.values().flatten().filter(|(_, verdict)| verdict.path == Path::Tunnel);
    let tunnels = tunnels.map(|(node, _)| (node.clone(), tunnel_now(view, node, stats, now)));
    Live { plain: plain.collect(), tunnels: tunnels.collect() }
}

/// What is said of a path where what it is watched by is hit at this end (`hit`) or at the other one.
fn doubted(is: Now, hit: bool, one: &Seen<'_>, now: Mono) -> Now {
    let whose = match hit {
        true => "this node's own host drops what it watches by (meshctl status)".to_owned(),
        false if one.is_doubted(now) => {
            format!("{} says that its own host drops what it watches by (meshctl status there)", one.node)
        }
        false => return is,
    };
    match is {
        Now::Fails(text) => Now::Unknown(format!("{text}; {whose}, and other frames may pass")),
        Now::Answers(_) | Now::Unknown(_) => is,
    }
}

fn plain_now(one: &Seen<'_>, now: Mono) -> Now {
    let status = one.status(now);
    let age = status.answered_age.map_or_else(String::new, |age| format!(" {age} s ago"));
    let (node, address): (_, IpAddr) = (one.node, one.address);
    match status.state {
        PlainState::Answers | PlainState::Small | PlainState::Legs => {
            let rtt = status.rtt_micros.map_or_else(String::new, |micros| format!(", round trip {micros} us"));
            let bytes = status.bytes.map_or_else(String::new, |bytes| format!(", packets of {bytes} bytes pass"));
            let some = if status.state == PlainState::Legs { "some flows are lost; others: " } else { "" };
            // The echoes have a VNI of their own.
            Now::Answers(format!(
                "{some}{node} answered over this path{age}{rtt}{bytes}; asked with VNI {ECHO_VNI}: what drops the VNI of this network alone on its way is not seen"
            ))
        }
        PlainState::OutLost => {
            Now::Fails(format!("what is sent from here does not arrive at {node} ({address}); meshctl status"))
        }
        PlainState::InLost => Now::Answers(format!(
            "it arrives at {node}, but nothing from {node} ({address}) arrives here: no answer comes back; meshctl status"
        )),
        PlainState::BothLost => {
            Now::Fails(format!("nothing passes between here and {node} ({address}); meshctl status"))
        }
        PlainState::Silent if one.theirs.is_some() => Now::Fails(format!(
            "{node} ({address}) answers neither over this path nor by its session, and {}; meshctl status",
            watch_told::theirs(node.as_str(), one.theirs)
        )),
        PlainState::Silent => Now::Unknown(format!(
            "{node} ({address}) answers neither over this path nor by its session: if only meshd there is down, the frame arrives"
        )),
        PlainState::Quiet => Now::Unknown(format!(
            "{node} ({address}) does not answer over this path any more, and nobody knows yet what fails"
        )),
        PlainState::Starting => Now::Unknown(format!("{node} has not answered over this path yet")),
    }
}

fn tunnel_now(view: &View, node: &NodeId, stats: &[LaneStats], now: Mono) -> Now {
    let Some(slot) = view.slots.peer(node) else {
        return Now::Unknown(format!("{node} is not known to the lanes yet"));
    };
    let lanes: Vec<&tunnel::PeerStatus> =
        stats.iter().flat_map(|lane| &lane.peers).filter(|(peer, _)| *peer == slot).map(|(_, status)| status).collect();
    let of = |(peer, path): &'_ (PeerSlot, probe::Status)| (*peer == slot).then_some(*path);
    let paths: Vec<probe::Status> = stats.iter().flat_map(|lane| &lane.paths).filter_map(of).collect();
    let phases: Vec<Phase> = paths.iter().map(|path| path.phase).collect();
    if lanes.iter().all(|lane| !lane.up) {
        return Now::Fails(format!("the tunnel to {node} is down: meshctl tunnel list"));
    }
    if !phases.is_empty() && phases.iter().all(|phase| *phase == Phase::Error) {
        let foreign =
            view.slice.as_ref().and_then(|slice| slice.peers.get(node)).is_some_and(|peer| peer.foreign.is_some());
        if let Some(little) = silent::little(Some(slot), stats) {
            return Now::Unknown(spans::only_small(node, little));
        }
        let silence = silent::silence(Some(slot), foreign, stats, now);
        return silent::now(node, silence.map(|silence| silent::told(silence, view.words.get(node, now))));
    }
    if phases.iter().all(|phase| *phase == Phase::Base) {
        return Now::Unknown(format!("the tunnel to {node} is up, and not probed yet"));
    }
    // What is heard of it comes by the other direction, and shows nothing of this one.
    let to = lanes.iter().find_map(|lane| lane.endpoint);
    outways::answered(node, &paths, &Route::of(view, node, to), now)
}

fn closed(port: UdpPort, why: &str) -> Finding {
    let help = "it is tried again every second; meshctl events says who changes devices";
    watch_told::unwatched(&format!("the plain paths of UDP port {port}"), why, help)
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
