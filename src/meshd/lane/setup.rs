//! What a lane forwards by, made from a slice by the control plane.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::forward::{Slots, Table};
use crate::node::names::{self, Device};
use crate::node::paths::{self, Paths};
use crate::node::plan::Local;
use crate::policy::mtu::{Carrier, Family};
use crate::policy::path::{Path, Verdict};
use crate::probe::{BASE, PathConfig};
use crate::table::{NetKey, Network, Peer, Slice};
use crate::tunnel::{OwnKey, PeerConfig};
use crate::types::{IfName, NetSlot, NodeId};

/// How often an idle tunnel sends something: keeps NAT open on the way, and makes a lane that has just started call its peers
/// at once instead of at the first frame. WireGuard's customary 25 s.
const KEEPALIVE: Duration = Duration::from_secs(25);

/// What an interface is taken to carry where none is known: Ethernet's.
const ETHERNET_MTU: u16 = 1500;

/// What a lane forwards by. Immutable; a change is a new one.
#[derive(Default)]
pub struct Setup {
    /// What it asks for each frame.
    pub table: Arc<Table>,
    /// The node's static keys; none: those of before, at first the one that the lane was started with.
    pub keys: Arc<[OwnKey]>,
    /// Its tunnels.
    pub peers: Vec<PeerConfig>,
    /// The paths that carry the tunnels, one a peer.
    pub paths: Vec<PathConfig>,
    /// Its TAPs.
    pub taps: Vec<(NetSlot, IfName)>,
}

impl fmt::Debug for Setup {
    /// Sizes only: peers hold secrets, tables are long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("peers", &self.peers.len()).field("taps", &self.taps).finish_non_exhaustive()
    }
}

impl Setup {
    /// All of it for one lane alone. `slots` must have been given the slice with [`Slots::assign`]. `local` says what the paths
    /// leave by.
    pub fn build(slice: &Slice, paths: &Paths, slots: &Slots, local: &Local, lane: u8) -> Self {
        Self::with(Arc::new(Table::build(slice, paths, slots, local.into())), slice, paths, slots, local, lane)
    }

    /// All of it for one lane, with a table that all lanes share.
    pub fn with(table: Arc<Table>, slice: &Slice, paths: &Paths, slots: &Slots, local: &Local, lane: u8) -> Self {
        Self {
            table,
            keys: Arc::default(),
            peers: peer_configs(slice, paths, slots, lane),
            paths: path_configs(slice, paths, slots, local, lane),
            taps: taps(slice, paths, slots, lane),
        }
    }
}

/// Every peer that some network reaches by a tunnel.
fn tunnelled<'a>(slice: &'a Slice, paths: &'a Paths) -> impl Iterator<Item = (&'a NodeId, &'a Peer, &'a Verdict)> {
    let verdicts = paths.values().flatten().filter(|(_, verdict)| verdict.path == Path::Tunnel);
    let by_node: BTreeMap<&NodeId, &Verdict> = verdicts.collect();
    by_node.into_iter().filter_map(|(node, verdict)| Some((node, slice.peers.get(node)?, verdict)))
}

/// Every peer of ours that no network reaches by a tunnel and some reach by the plain path: there is a session for control messages.
fn sessions<'a>(slice: &'a Slice, paths: &'a Paths) -> impl Iterator<Item = (&'a NodeId, &'a Peer, &'a Verdict)> {
    let mut by_node: BTreeMap<&NodeId, &Verdict> = BTreeMap::new();
    for (node, verdict) in paths.values().flatten().filter(|(_, verdict)| verdict.path != Path::Forbidden) {
        let strictest = by_node.entry(node).or_insert(verdict);
        if verdict.path > strictest.path {
            *strictest = verdict;
        }
    }
    let plain = by_node.into_iter().filter(|(_, verdict)| verdict.path == Path::Plain);
    let peers = plain.filter_map(|(node, verdict)| Some((node, slice.peers.get(node)?, verdict)));
    peers.filter(|(_, peer, _)| peer.foreign.is_none())
}

/// The tunnels of one lane: every peer that some network reaches by one, that has joined, and that uses this lane. Lane 0 has sessions
/// with those of the plain path besides.
pub fn peer_configs(slice: &Slice, paths: &Paths, slots: &Slots, lane: u8) -> Vec<PeerConfig> {
    let config = |(node, peer, verdict): (&NodeId, &Peer, &Verdict)| -> Option<PeerConfig> {
        if lane >= peer.lanes.max(1) {
            return None;
        }
        Some(PeerConfig {
            slot: slots.peer(node)?,
            public_key: peer.public_key?,
            psk: peer.psk.clone(),
            suite: peer.suite,
            endpoint: paths::endpoint(peer, verdict.outer, lane),
            keepalive: Some(KEEPALIVE),
            changing: peer.changing.clone(),
        })
    };
    let besides = sessions(slice, paths).filter(|_| lane == 0);
    tunnelled(slice, paths).chain(besides).filter_map(config).collect()
}

/// The paths of the tunnels of one lane, as far as the interfaces of this node and the networks tell.
fn path_configs(slice: &Slice, paths: &Paths, slots: &Slots, local: &Local, lane: u8) -> Vec<PathConfig> {
    let guests = largest_guests(slice, paths);
    let config = |(node, peer, verdict): (&NodeId, &Peer, &Verdict)| {
        let interface_mtu = local.side(verdict.outer).map_or(ETHERNET_MTU, |side| side.mtu);
        let guest = guests.get(node).copied().unwrap_or_default();
        let family = match paths::endpoint(peer, verdict.outer, lane) {
            Some(SocketAddr::V6(_)) => Family::V6,
            Some(SocketAddr::V4(_)) | None => Family::V4,
        };
        let carrier = match peer.foreign {
            Some(_) => Carrier::Standard { outer: family, inner: Family::V4 },
            None => Carrier::Compact(family),
        };
        let assumed = guest.saturating_add(carrier.sum(0, false).overhead()).max(BASE).min(interface_mtu);
        Some(PathConfig { peer: slots.peer(node)?, interface_mtu, assumed })
    };
    tunnelled(slice, paths).filter(|(_, peer, _)| lane < peer.lanes.max(1)).filter_map(config).collect()
}

/// By peer, the largest guest MTU of the networks that its tunnel carries.
fn largest_guests<'a>(slice: &Slice, paths: &'a Paths) -> BTreeMap<&'a NodeId, u16> {
    let mut largest = BTreeMap::new();
    for (key, verdicts) in paths {
        let Some(network) = slice.networks.get(key) else { continue };
        for (node, _) in verdicts.iter().filter(|(_, verdict)| verdict.path == Path::Tunnel) {
            let guest: &mut u16 = largest.entry(node).or_default();
            *guest = (*guest).max(network.guest_mtu.get());
        }
    }
    largest
}

/// The TAPs of one lane: lane 0 has a queue of every network, the others of those that some peer reaches by them. The kernel gives a
/// flow to any queue that is there, and a lane that nobody uses would only hand it over.
pub fn taps(slice: &Slice, paths: &Paths, slots: &Slots, lane: u8) -> Vec<(NetSlot, IfName)> {
    let used = |key: &NetKey| {
        let peers = paths.get(key).into_iter().flatten().filter(|(_, verdict)| verdict.path == Path::Tunnel);
        lane == 0 || peers.filter_map(|(node, _)| slice.peers.get(node)).any(|peer| lane < peer.lanes)
    };
    let named = |(key, network): (&NetKey, &Network)| {
        Some((slots.net(key)?, names::device(Device::Tap, key.vni, network.udp_port)))
    };
    slice.networks.iter().filter(|(key, _)| used(key)).filter_map(named).collect()
}
