//! What `status`, `tunnels` and `explain` say, out of what is true now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::lane::LaneStats;
use super::shared::{Shared, Topic, View};
use super::{mtu, outways, plain, silent, unknown};
use crate::api::local::{
    AbsentPort, Finding, LaneTunnel, Management, NetworkStatus, Offload, PeerStatus, Status, TunnelStatus,
};
use crate::api::stream::{AWAY, AwayGuest};
use crate::clock::{mono, wall};
use crate::linux;
use crate::mgmt::told::bounded;
use crate::mgmt::uplinks::TUNNEL;
use crate::node::causes;
use crate::node::names::{self, Device};
use crate::node::paths;
use crate::node::presence::At;
use crate::policy::path::{Path, Verdict};
use crate::table::{Learning, NetKey, Network, Peer, Slice};
use crate::types::{Mac, Mono, NodeId, Wall};

/// How long after its start a node waits before it calls a tunnel down.
const GRACE: Duration = Duration::from_secs(15);
/// Counts frames that the kernel dropped because the queue of a tunnels' TAP was full.
const TAP_OVERFLOW: &str = "tap-overflow";
/// Ports of a network without their interface that are listed.
const ABSENT: usize = 64;

/// All of it.
pub fn status(shared: &Shared) -> Status {
    // Before the view is held: a lane may take its time.
    let stats = shared.lanes.stats();
    let crossing = shared.watch.crossing();
    let view = shared.view();
    let slice = view.slice.clone();
    let now = mono();
    let tunnels = tunnels_of(&view, &stats, now);
    let mut peers = slice.as_deref().map(|slice| peers(slice, &view, &tunnels)).unwrap_or_default();
    let known = shared.watch.known();
    let mut watched = plain::by_peer(&plain::seen(&view, &known, &stats, now), now);
    let carried = plain::findings(&view, &known, &stats, now);
    for peer in &mut peers {
        peer.plain = watched.remove(&peer.node).unwrap_or_default();
    }
    let (way, crossed) = &crossing;
    let unknown = unknown::unknown(unknown::Known::of(&view, (way.as_ref(), crossed)), &peers);
    Status {
        node: view.node.clone(),
        pdc: view.pdc.clone(),
        daemon: env!("CARGO_PKG_VERSION").to_owned(),
        management: view.management.clone(),
        version: view.applied,
        certificate_ends: view.certificate_ends,
        networks: slice.as_deref().map(|slice| networks(slice, &view)).unwrap_or_default(),
        problems: problems(&view, &peers, &carried),
        unknown,
        peers,
        drops: drops(&stats, &view),
        sizes: mtu::all_counts(&stats),
        offload: offload(&view, &stats),
    }
}

/// What management is told of it: all but that management does not answer.
pub fn told(shared: &Shared) -> Vec<Finding> {
    bounded(&all(shared))
}

/// Guests whose interface is not there, as management is told.
pub fn away(shared: &Shared) -> Vec<AwayGuest> {
    shared.view().presence.away(AWAY)
}

/// What is wrong with this node, all of it.
pub fn all(shared: &Shared) -> Vec<Finding> {
    let (stats, known, now) = (shared.lanes.stats(), shared.watch.known(), mono());
    let view = shared.view();
    let tunnels = tunnels_of(&view, &stats, now);
    let peers = view.slice.as_deref().map(|slice| peers(slice, &view, &tunnels)).unwrap_or_default();
    found(&view, &peers, &plain::findings(&view, &known, &stats, now))
}

/// Tunnels that carry nothing, which only time brings: they are made when somebody asks, and events of them by who asks again and again.
pub fn dead(shared: &Shared) -> Vec<Finding> {
    all(shared).into_iter().filter(|finding| finding.code == TUNNEL).collect()
}

/// One line a peer that is reached by a tunnel.
pub fn tunnels(shared: &Shared) -> Vec<TunnelStatus> {
    let stats = shared.lanes.stats();
    let view = shared.view();
    tunnels_of(&view, &stats, mono()).into_values().collect()
}

fn verdicts<'a>(view: &'a View, node: &'a NodeId) -> impl Iterator<Item = &'a Verdict> {
    view.paths.values().filter_map(move |of| of.get(node))
}

/// Each peer's tunnel, summed over lanes.
fn tunnels_of(view: &View, stats: &[LaneStats], now: Mono) -> BTreeMap<NodeId, TunnelStatus> {
    let Some(slice) = &view.slice else { return BTreeMap::new() };
    let mut tunnels = BTreeMap::new();
    for (node, peer) in &slice.peers {
        let Some(verdict) = verdicts(view, node).find(|v| v.path == Path::Tunnel) else { continue };
        let lanes = lanes_of(view, node, stats, now);
        let tunnel = TunnelStatus {
            node: node.clone(),
            endpoint: lanes.iter().find_map(|lane| lane.endpoint).or_else(|| paths::endpoint(peer, verdict.outer, 0)),
            handshake_age: lanes.iter().filter_map(|lane| lane.handshake_age).min(),
            up: lanes.iter().any(|lane| lane.up),
            suite: peer.suite,
            received: lanes.iter().map(|lane| lane.received).sum(),
            sent: lanes.iter().map(|lane| lane.sent).sum(),
            starting: !lanes.iter().any(|lane| lane.up) && now.since(view.started) <= GRACE,
            lanes,
            loss: view.slots.peer(node).and_then(|slot| view.losses.get(&slot)?.percent),
            little: silent::little(view.slots.peer(node), stats),
            silence: silent::silence(view.slots.peer(node), peer.foreign.is_some(), stats, now)
                .map(|silence| silent::told(silence, view.words.get(node, now))),
        };
        tunnels.insert(node.clone(), tunnel);
    }
    tunnels
}

/// The sessions of all lanes with a peer.
fn lanes_of(view: &View, node: &NodeId, stats: &[LaneStats], now: Mono) -> Vec<LaneTunnel> {
    let slot = view.slots.peer(node);
    let of_lane = |stats: &LaneStats| {
        let (_, status) = stats.peers.iter().find(|(peer, _)| Some(*peer) == slot)?;
        Some(LaneTunnel {
            lane: stats.lane,
            endpoint: status.endpoint,
            handshake_age: status.last_handshake.map(|at| now.since(at).as_secs()),
            up: status.up,
            received: status.received_bytes,
            sent: status.sent_bytes,
        })
    };
    stats.iter().filter_map(of_lane).collect()
}

fn networks(slice: &Slice, view: &View) -> Vec<NetworkStatus> {
    let one = |(key, network): (&NetKey, &Network)| {
        let own = || slice.rows_of(key).filter(|(_, row)| row.node == slice.node);
        let ports = own().count();
        // Where ports are found, what is not plugged in has not been found.
        let plugged = |mac: Mac| {
            let here = view.presence.of(&(key.clone(), mac));
            here.is_some_and(|here| here.at == At::Plugged) || network.learning == Learning::Local
        };
        let planned = view.mtus.get(key);
        let not_built = planned.is_none().then(|| "not built; see problems".to_owned());
        NetworkStatus {
            name: network.name.clone(),
            key: key.clone(),
            bridge: names::device(Device::Bridge, key.vni, network.udp_port).to_string(),
            ports,
            plugged: own().filter(|(row, _)| plugged(row.mac)).count(),
            absent: absent(slice, view, key),
            rows: slice.rows_of(key).count() - ports,
            mtu: planned.and_then(|(_, mtu)| *mtu).unwrap_or(network.guest_mtu),
            problem: not_built.or_else(|| troubled(view, key, network)),
        }
    };
    slice.networks.iter().map(one).collect()
}

/// The code of the first finding that names the network.
fn troubled(view: &View, key: &NetKey, network: &Network) -> Option<String> {
    let names = [format!("network {key}"), format!("network {}", network.name)];
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '/');
    let about = |finding: &&Finding| {
        let named = |name: &String| {
            finding.what.match_indices(name.as_str()).any(|(at, _)| ends(&finding.what[at + name.len()..]))
        };
        names.iter().any(named)
    };
    view.findings.values().flatten().find(about).map(|finding| format!("{}; see problems", finding.code))
}

/// Ports whose interface is not there, or has no carrier.
fn absent(slice: &Slice, view: &View, key: &NetKey) -> Vec<AbsentPort> {
    let port = |mac: Mac| slice.rows_of(key).find(|(row, _)| row.mac == mac).and_then(|(_, row)| row.port.clone());
    let missing = view.presence.missing(key).into_iter().filter_map(|missing| {
        Some(AbsentPort {
            port: port(missing.mac),
            mac: missing.mac,
            interface: missing.interface?.to_string(),
            since: missing.since?,
            no_carrier: missing.at == At::Dark,
        })
    });
    missing.take(ABSENT).collect()
}

fn peers(slice: &Slice, view: &View, tunnels: &BTreeMap<NodeId, TunnelStatus>) -> Vec<PeerStatus> {
    let one = |(node, peer): (&NodeId, &Peer)| {
        let paths: BTreeSet<Path> = verdicts(view, node).map(|v| v.path).collect();
        let why: BTreeSet<String> = verdicts(view, node).map(|v| v.why.to_string()).collect();
        let vtep: Option<IpAddr> =
            verdicts(view, node).find(|v| v.path == Path::Plain).and_then(|v| paths::vtep(peer, v.outer));
        PeerStatus {
            node: node.clone(),
            pdc: peer.pdc.clone(),
            paths: paths.into_iter().collect(),
            why: why.into_iter().collect::<Vec<_>>().join("; "),
            vtep,
            tunnel: tunnels.get(node).cloned(),
            plain: Vec::new(),
        }
    };
    slice.peers.iter().map(one).collect()
}

/// Findings, worst first, with those that only time brings. What is wrong with plain paths is `plain`, as of now: a state and what is said of it are
/// of one moment.
fn found(view: &View, peers: &[PeerStatus], plain: &[Finding]) -> Vec<Finding> {
    let now = || plain.iter().cloned().map(|finding| Topic::Plain.of(finding)).collect();
    let of = |(topic, findings): (&Topic, &Vec<Finding>)| -> Vec<Finding> {
        if *topic == Topic::Plain { now() } else { findings.clone() }
    };
    let first = std::iter::once((Topic::Plain, Vec::new()));
    let all: BTreeMap<Topic, Vec<Finding>> = first.chain(view.findings.clone()).collect();
    let mut found: Vec<Finding> = all.iter().flat_map(of).collect();
    if mono().since(view.started) > GRACE {
        let mut silent =
            silent::findings(peers, view.slice.as_deref(), &silent::Line::of(view), &view.words.all(mono()));
        outways::explain(view, &mut silent, peers);
        found.extend(silent);
        found.extend(peers.iter().filter_map(lame));
    }
    causes::once(found)
}

/// The same with what is between this node and management.
fn problems(view: &View, peers: &[PeerStatus], plain: &[Finding]) -> Vec<Finding> {
    let mut problems = found(view, peers, plain);
    let told = |topic| view.findings.get(&topic).is_some_and(|findings| !findings.is_empty());
    let removed = told(Topic::Removed) || told(Topic::Quarantined);
    match &view.management {
        // That it no longer answers is no news then.
        Management::Away { .. } if removed => {}
        Management::Away { since, why } => problems.push(Finding::new(
            "M0120",
            format!("no management node since {since}: {why}"),
            way_out(&problems, view, why),
        )),
        Management::Connected { .. } | Management::Files => {}
    }
    problems.extend(view.certificate_ends.and_then(|ends| ended(ends, wall())));
    problems
}

/// What to do about a management node that does not answer: where a side of this node itself is dead, that comes first.
fn way_out(problems: &[Finding], view: &View, why: &str) -> String {
    let side = |finding: &&Finding| finding.line.is_some() || causes::of_a_side(&finding.code);
    match problems.iter().find(side) {
        Some(side) => {
            format!(
                "{} of this node first: by that side nothing goes on, and it may be the way to the management node",
                side.code
            )
        }
        None => dead_side(view).unwrap_or_else(|| way_to(why)),
    }
}

/// What brings a node back whose management node was given another address, which nobody else can tell it.
const MOVED: &str =
    "if the management node has another address now: `management` in meshd.toml, then systemctl reload meshd";

/// Where to look first, by what the system says of the way to the management node.
fn way_to(why: &str) -> String {
    // `EHOSTUNREACH` and `ENETUNREACH` (errno.h), and what getaddrinfo(3) says.
    let first = if why.contains("os error 113") {
        "nobody answers on this machine's way to it, or a router says that there is none: ip route get ADDRESS; ip neigh show; traffic goes on by the ways that answer"
    } else if why.contains("os error 101") {
        "this machine has no route to it: ip route get ADDRESS; traffic goes on by the routes that there are"
    } else if why.contains("failed to lookup address") {
        // What is written is a name, and its address is what may be new.
        return "traffic goes on; this machine does not find the address of that name: getent hosts NAME; cat /etc/resolv.conf; or its address in meshd.toml, then systemctl reload meshd".to_owned();
    } else {
        "traffic goes on; check the management node"
    };
    format!("{first}; {MOVED}")
}

/// An interface of this node's sides that is down, before anything else tells of it.
fn dead_side(view: &View) -> Option<String> {
    let sides = [&view.local.admin, &view.local.external].into_iter().flatten();
    let (name, how) = sides.filter_map(|side| view.down.get_key_value(&side.interface)).next()?;
    Some(format!(
        "interface {name} of this node first, which {how}: by that side nothing goes on, and it may be the way to the management node: \
         ip link show dev {name}"
    ))
}

/// A peer that some lanes reach and others do not: a packet filter that knows one UDP port of two, most likely.
fn lame(peer: &PeerStatus) -> Option<Finding> {
    let tunnel = peer.tunnel.as_ref().filter(|tunnel| tunnel.up)?;
    let lane = tunnel.lanes.iter().find(|lane| !lane.up)?;
    let at = lane.endpoint.map_or_else(|| "unknown".to_owned(), |endpoint| endpoint.to_string());
    let what = format!("lane {} has no session with {} (at {at}); other lanes carry its frames", lane.lane, peer.node);
    Some(Finding::new("M0412", what, "let UDP ports listen to listen + lanes - 1 pass both ways: meshctl tunnel list"))
}

fn ended(ends: Wall, now: Wall) -> Option<Finding> {
    (ends <= now).then(|| {
        let help = "check the clock and the management node; it is renewed as soon as that answers";
        Finding::new("M0213", format!("the certificate ended at {ends}"), help)
    })
}

fn offload(view: &View, stats: &[LaneStats]) -> Offload {
    let mut offload = Offload { features: view.offload.clone(), ..Offload::default() };
    for traffic in stats.iter().map(|lane| lane.traffic) {
        offload.super_frames_cut += traffic.cuts.cut;
        offload.super_frames_whole += traffic.cuts.whole;
        offload.trains_resent += traffic.resent;
        offload.frames_written += traffic.ingress_frames;
        offload.tap_writes += traffic.ingress_writes;
        offload.super_frames_recut += traffic.recut;
        offload.tails_sent += traffic.tails_sent;
        offload.tails_received += traffic.tails_received;
    }
    offload
}

fn drops(stats: &[LaneStats], view: &View) -> BTreeMap<String, u64> {
    let mut drops = view.filtered.clone();
    for lane in stats {
        for (reason, count) in lane.drops.nonzero() {
            *drops.entry(reason.name().to_owned()).or_default() += count;
        }
        for (reason, count) in lane.tunnels.drops.iter().filter(|(_, count)| *count > 0) {
            *drops.entry(format!("tunnel-{}", reason.name())).or_default() += count;
        }
    }
    // The kernel drops these before a lane can see them, and counts them by device.
    let taps = stats.iter().flat_map(|lane| &lane.taps).map(|(_, name, _)| name.as_str()).collect();
    if let Ok(count @ 1..) = linux::tx_dropped(&taps) {
        drops.insert(TAP_OVERFLOW.to_owned(), count);
    }
    drops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_the_way_to_management_says_where_to_look() {
        for (why, first) in [
            ("198.18.255.1:7443: No route to host (os error 113)", "nobody answers on this machine's way to it"),
            ("198.18.255.1:7443: Network is unreachable (os error 101)", "this machine has no route to it"),
            (
                "m:7443: failed to lookup address information: Temporary failure in name resolution",
                "traffic goes on; this machine does not find",
            ),
            ("198.18.255.1:7443 did not answer within 5 s", "traffic goes on; check the management node"),
        ] {
            assert!(way_to(why).starts_with(first), "{why}: {}", way_to(why));
            // Nobody can tell a node that management has moved.
            assert!(way_to(why).contains("in meshd.toml, then systemctl reload meshd"), "{why}: {}", way_to(why));
        }
    }
}
