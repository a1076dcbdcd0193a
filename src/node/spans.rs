//! What this node knows of the way to each peer: what carries, what its own interface says, what was measured. `status`, the map
//! and `explain` say the same because they all ask here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::paths::{self, Paths};
use super::plan::Local;
use crate::api::cut::{Cut, Direction};
use crate::api::list::named;
use crate::api::local::Finding;
use crate::api::mtu::{NetworkMtu, NodeMtu, PeerMtu, SizeCounts};
use crate::policy::mtu::{Carrier, Family, IPV6_LEAST, MtuPolicy, Oversize, Span, Sum};
use crate::policy::path::{Path, Verdict};
use crate::probe::BASE;
use crate::table::{NetKey, Network, Peer, Slice};
use crate::types::{NodeId, Wall};

/// Code of a path that carries less than it should.
const NARROW: &str = "M0502";
/// Peers of one finding that are named.
const SMALL_NAMED: usize = 3;

/// What becomes of frames that are too large for a path of that many bytes but not for their network. What carries less than [`BASE`] is not
/// measured: who has a larger interface goes on sending that much, and loses it.
pub fn meanwhile(size: u16) -> String {
    if size >= BASE {
        return "frames that use them go in fragments, none is lost".to_owned();
    }
    format!(
        "frames that use them leave in fragments, but paths of fewer than {BASE} bytes are not measured: what is sent by a node with a larger \
         interface is lost; raise this one's MTU"
    )
}

/// What a tunnel was measured to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// The largest outer packet that was seen to arrive, bytes; of several lanes the smallest.
    pub bytes: u16,
    /// Since when it is so.
    pub since: Wall,
}

/// What all tunnels were measured to carry.
pub type AllMeasured = BTreeMap<NodeId, Measured>;

/// The way to a peer; none: nothing goes, or this host has no interface for it.
pub fn span(peer: &Peer, verdict: &Verdict, local: &Local, measured: Option<Measured>) -> Option<Span> {
    let side = local.side(verdict.outer)?;
    let carrier = carrier(peer, verdict.path, paths::family(peer, verdict.outer, Some(side.address)))?;
    // The kernel's own path is not measured.
    let measured = measured.filter(|_| verdict.path == Path::Tunnel).map(|measured| measured.bytes);
    Some(Span { carrier, underlay: side.mtu, measured })
}

fn carrier(peer: &Peer, path: Path, outer: Family) -> Option<Carrier> {
    match path {
        Path::Plain => Some(Carrier::Plain(outer)),
        Path::Tunnel if peer.foreign.is_some() => Some(Carrier::Standard { outer, inner: Family::V4 }),
        Path::Tunnel => Some(Carrier::Compact(outer)),
        Path::Forbidden => None,
    }
}

/// What is wrong: every network whose MTU some tunnel does not carry whole, with the tightest tunnel, since when, what becomes of
/// frames meanwhile, and the next command.
pub fn findings(slice: &Slice, paths: &Paths, local: &Local, measured: &AllMeasured) -> Vec<Finding> {
    let one = |(key, network): (&NetKey, &Network)| short(slice, key, network, paths, local, measured);
    slice.networks.iter().filter_map(one).collect()
}

fn short(
    slice: &Slice,
    key: &NetKey,
    network: &Network,
    paths: &Paths,
    local: &Local,
    measured: &AllMeasured,
) -> Option<Finding> {
    let (policy, guest) = (local.policy(network), local.guest_mtu(network));
    let tunnels = paths.get(key)?.iter().filter(|(_, verdict)| verdict.path == Path::Tunnel);
    let missing = |(node, verdict): (&NodeId, &Verdict)| {
        // Nothing goes to a machine that has not joined yet, and its paths are not in the network's number.
        let peer = slice.peers.get(node).filter(|peer| peer.public_key.is_some())?;
        let span = span(peer, verdict, local, measured.get(node).copied())?;
        let missing = guest.get().checked_sub(span.sum(policy.vlan).guest()).filter(|missing| *missing > 0)?;
        Some((missing, node.clone(), span))
    };
    let short: Vec<_> = tunnels.filter_map(missing).collect();
    let (missing, node, span) = short.iter().max_by_key(|(missing, ..)| *missing)?;
    let others = match short.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let since = measured.get(node).filter(|_| span.size() < span.underlay);
    let since = since.map_or_else(String::new, |measured| format!(", since {}", measured.since));
    let needs = span.size().saturating_add(*missing);
    let what = format!(
        "network {}: {missing} bytes short on the path to {node}{others} ({}, needs {needs}); its MTU is {guest}; {}{since}",
        network.name,
        span.size(),
        meanwhile(span.size()),
    );
    let fits = span.sum(policy.vlan).guest();
    let alone = slice.version.incarnation == 0;
    Some(Finding::new(NARROW, what, help(policy, network, fits, alone)))
}

/// The next command or edit; `alone`: there is no management node.
fn help(policy: MtuPolicy, network: &Network, fits: u16, alone: bool) -> String {
    let name = &network.name;
    // What is computed has a floor (`mgmt::mtus::guest`); without a management node it is for networks with IPv6 alone.
    let floor = if alone && !network.has_ipv6() { 0 } else { IPV6_LEAST };
    let (now, follows) = (network.guest_mtu.get(), fits.max(floor));
    match policy.fixed {
        Some(_) if alone => {
            format!("repair the path, or set an MTU of {fits} in meshd.toml, then: systemctl reload meshd")
        }
        Some(_) => {
            format!("repair the path, or: meshctl network set {name} --mtu {fits}, and give its guests that number")
        }
        None if follows >= now => format!("it stays, IPv6 needs {floor}; repair the path: meshctl mtu map"),
        None if fits < follows => format!(
            "the network's MTU follows: {follows}, less than which no IPv6 has, once that has stood for 30 s; repair the path: \
             meshctl mtu map"
        ),
        None => format!(
            "the network's MTU follows: {fits} once that has stood for 30 s; meshctl mtu map says who limits it"
        ),
    }
}

/// What is said of the way to a peer that answers packets of up to `little` bytes and none of the [`BASE`] that every path has to carry.
pub fn only_small(node: &NodeId, little: u16) -> String {
    format!(
        "the path to {node} is too small: packets of up to {little} bytes are answered, those of {} and more are lost; small frames arrive, \
         large ones do not; meshctl status",
        BASE
    )
}

/// The same of all whose paths are alike; `to` is where the packets of the one go. A fragment is as large as what is lost.
pub fn small(peers: &[&NodeId], little: u16, to: Option<SocketAddr>) -> Finding {
    let (base, names) = (BASE, named(peers.iter().copied(), SMALL_NAMED));
    let what = format!(
        "the path to {names} is too small: packets of up to {little} bytes are answered, those of {base} bytes and more that are sent from here \
         are lost; small frames go on, large ones do not arrive"
    );
    let ping = to.map_or_else(String::new, |to| match to.ip().to_canonical() {
        IpAddr::V4(to) => format!("ping -M do -s {} {to}; ", base - 28),
        IpAddr::V6(to) => format!("ping -M do -s {} {to}; ", base - 48),
    });
    let help = format!(
        "every path of a tunnel has to carry {base} bytes: {ping}look for an MTU below that and for rules that drop by length, on the way, here \
         and there: ip link; nft list ruleset"
    );
    let cut = Cut::peers(false, Path::Tunnel, peers.iter().copied());
    Finding::new(NARROW, what, help).cuts(Cut { direction: Some(Direction::FromGuests), ..cut })
}

/// The map of this node: the way to every peer, and what each network makes of it. `narrow` are plain paths that lose what their guests may
/// send, with the largest outer packet that passes, bytes. What lanes know and count is left open.
pub fn map(
    slice: &Slice,
    paths: &Paths,
    local: &Local,
    measured: &AllMeasured,
    narrow: &BTreeMap<NodeId, u16>,
) -> NodeMtu {
    let known = |node: &NodeId, verdict: &Verdict| {
        let peer = slice.peers.get(node)?;
        let mut span = span(peer, verdict, local, measured.get(node).copied())?;
        if verdict.path == Path::Plain {
            span.measured = narrow.get(node).copied();
        }
        Some((peer, span))
    };
    let mut peers = BTreeMap::new();
    for (node, verdict) in paths.values().flatten() {
        let Some((peer, span)) = known(node, verdict) else { continue };
        let line = || peer_line(node, peer, verdict.path, span, measured);
        peers.entry((node.clone(), verdict.path)).or_insert_with(line);
    }
    let network = |(key, network): (&NetKey, &Network)| {
        let ways = paths.get(key).into_iter().flatten();
        let ways = ways.filter_map(|(node, verdict)| known(node, verdict).map(|(_, span)| (node, verdict, span)));
        let tightest = ways.min_by_key(|(_, _, span)| span.sum(local.policy(network).vlan).guest());
        let line =
            |(node, verdict, span): (&NodeId, &Verdict, Span)| (verdict.path, span, limit(node, verdict.path, span));
        network_line(network, local, tightest.map(line))
    };
    let networks = slice.networks.iter().map(network).collect();
    NodeMtu { node: slice.node.clone(), peers: peers.into_values().collect(), networks }
}

fn peer_line(node: &NodeId, peer: &Peer, path: Path, span: Span, measured: &AllMeasured) -> PeerMtu {
    let sum = span.sum(false);
    PeerMtu {
        node: node.clone(),
        pdc: peer.pdc.clone(),
        path,
        underlay: span.underlay,
        measured: span.measured,
        since: measured
            .get(node)
            .filter(|_| span.measured.is_some() && path == Path::Tunnel)
            .map(|measured| measured.since),
        lanes: Vec::new(),
        counts: SizeCounts::default(),
        guest: sum.guest(),
        sum: sum.to_string(),
        limit: limit(node, path, span),
    }
}

fn network_line(network: &Network, local: &Local, tightest: Option<(Path, Span, String)>) -> NetworkMtu {
    let (policy, mtu) = (local.policy(network), local.guest_mtu(network));
    let sum = tightest.as_ref().map(|(_, span, _)| span.sum(policy.vlan));
    let whole = sum.as_ref().map_or_else(|| mtu.get(), Sum::guest);
    NetworkMtu {
        network: network.name.clone(),
        mtu,
        fixed: policy.fixed.is_some(),
        said_by: None,
        whole,
        missing: mtu.get().saturating_sub(whole),
        lost: mtu.get() > whole && tightest.as_ref().is_some_and(|(path, ..)| *path == Path::Plain),
        alone: tightest.is_none(),
        sum: sum.map(|sum| sum.to_string()).unwrap_or_default(),
        limit: tightest.map_or_else(|| "no peer hosts it".to_owned(), |(.., limit)| limit),
        oversize: policy.oversize,
        counts: SizeCounts::default(),
    }
}

/// Who limits the way to a peer, in words.
fn limit(node: &NodeId, path: Path, span: Span) -> String {
    match (path, span.measured) {
        (Path::Tunnel, None) => "not measured yet".to_owned(),
        (Path::Tunnel, Some(_)) if span.size() < span.underlay => format!("the path to {node}"),
        (Path::Plain, Some(_)) if span.size() < span.underlay => {
            format!("the plain path to {node}, which loses larger packets")
        }
        (Path::Plain | Path::Tunnel | Path::Forbidden, _) => "the interface here".to_owned(),
    }
}

/// What a frame meets that is larger than the guest MTU of its network.
pub const fn fate(oversize: Oversize) -> &'static str {
    match oversize {
        Oversize::Fragment => "carried in fragments, and arrives where the receiver's interface takes as much",
        Oversize::TooBig => "answered with ICMP too big and dropped",
        Oversize::Drop => "dropped and counted",
    }
}

#[cfg(test)]
#[path = "spans_tests.rs"]
mod tests;
