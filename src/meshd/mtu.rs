//! What tunnels were measured to carry: gathered from the lanes, told to the management node, held against the MTU of each
//! network. A node without management lets sizes count by itself, by the same rule.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lane::LaneStats;
use super::plain;
use super::shared::{Shared, Topic, View};
use crate::api::local::Finding;
use crate::api::mtu::{LaneMtu, NodeMtu, SizeCounts};
use crate::api::stream::MeasuredPath;
use crate::clock::mono;
use crate::forward::{Flooder, Lost, Tallies, Tally};
use crate::node::flooded::{Flooded, Limited, Whose};
use crate::node::larger::{Larger, Sent};
use crate::node::singles::{Singles, ToGroup};
use crate::node::spans::{self, AllMeasured, Measured};
use crate::policy::path::Path;
use crate::policy::steady::Steady;
use crate::probe::{self, Phase};
use crate::types::{Mono, NetSlot, NodeId, PeerSlot, Wall};

/// How often the lanes are asked.
const LOOK: Duration = Duration::from_secs(1);

/// Looks at the paths of this node.
#[derive(Debug, Default)]
pub(super) struct Watch {
    due: Mono,
    steady: BTreeMap<NodeId, Steady>,
    larger: Larger,
    flooded: Flooded,
    singles: Singles,
    /// What counts of what was measured, where it is less than the interface says.
    counted: BTreeMap<NodeId, u16>,
}

impl Watch {
    /// What counts on a node without management, bytes of the outer packet by peer.
    pub(super) const fn counted(&self) -> &BTreeMap<NodeId, u16> {
        &self.counted
    }

    /// What is found is of a slice that no longer counts: look again at once.
    pub(super) fn look_again(&mut self) {
        self.due = Mono::default();
    }

    /// Asks the lanes, if it is time. True: what counts is another from now on.
    pub(super) fn look(&mut self, shared: &Shared, now: Mono, wall: Wall) -> bool {
        if now < self.due {
            return false;
        }
        self.due = now + LOOK;
        // Before the view is held: a lane may take its time.
        let stats = shared.lanes.stats();
        let (measured, findings): (_, Vec<_>) = {
            let mut view = shared.view();
            let measured = gather(&view, &stats, wall);
            view.measured.clone_from(&measured);
            let slice = view.slice.as_deref();
            let found = slice.map(|slice| spans::findings(slice, &view.paths, &view.local, &measured));
            let larger = self.larger(&view, &stats, now);
            (measured, found.into_iter().flatten().chain(larger).collect())
        };
        shared.find(Topic::Mtu, findings);
        let path = |(node, measured): (&NodeId, &Measured)| MeasuredPath {
            node: node.clone(),
            bytes: measured.bytes,
            since: Some(measured.since),
        };
        shared.say(|outgoing| outgoing.paths = measured.iter().map(path).collect());
        self.count(shared, &measured, now)
    }

    /// Guests that send larger packets, or more to many, than their networks have, or to many what is for one.
    fn larger(&mut self, view: &View, stats: &[LaneStats], now: Mono) -> Vec<Finding> {
        let Some(slice) = &view.slice else { return Vec::new() };
        let counted: BTreeMap<NetSlot, Tally> = counted(stats).nets().collect();
        let sent = slice.networks.iter().filter_map(|(key, network)| {
            let frames = counted.get(&view.slots.net(key)?).map_or(0, |tally| tally.oversize);
            let (mtu, oversize) = (view.local.guest_mtu(network), view.local.policy(network).oversize);
            Some(Sent { key, name: &network.name, mtu, oversize, frames })
        });
        let flooded = self.flooded.look(slice, limited(view, stats), now);
        let singles = self.singles.look(slice, &view.presence, singles(view, stats), now);
        self.larger.look(sent, now).into_iter().chain(flooded).chain(singles).collect()
    }

    /// Lets sizes count that have stood for long enough.
    fn count(&mut self, shared: &Shared, measured: &AllMeasured, now: Mono) -> bool {
        let interface = shared.view().local.external.as_ref().map_or(super::ETHERNET_MTU, |side| side.mtu);
        let mut changed = false;
        for (node, measured) in measured {
            let counted = self.counted.get(node).map_or(interface, |counted| interface.min(*counted));
            let steady = self.steady.entry(node.clone()).or_default();
            if let Some(new) = steady.look(measured.bytes.min(interface), counted, now) {
                changed = true;
                if new < interface {
                    self.counted.insert(node.clone(), new);
                } else {
                    self.counted.remove(node);
                }
            }
        }
        self.steady.retain(|node, _| measured.contains_key(node));
        changed
    }
}

/// Whose frames to many are dropped.
fn limited(view: &View, stats: &[LaneStats]) -> Vec<Limited> {
    let counted = counted(stats);
    let one = |(net, by, many): (NetSlot, Flooder, Lost)| {
        let whose = match by {
            Flooder::Guest(place) => Whose::Guest(place),
            Flooder::Peer(peer) => Whose::Peer(view.slots.peer_name(peer)?.clone()),
        };
        let key = view.slots.net_name(net)?.clone();
        let hosted = view.slice.as_ref().is_some_and(|slice| slice.networks.contains_key(&key));
        hosted.then_some(Limited { key, whose, mac: many.mac, frames: many.frames })
    };
    counted.floods().filter_map(one).collect()
}

/// Whose frames to a group are for one host by IP.
fn singles(view: &View, stats: &[LaneStats]) -> Vec<ToGroup> {
    let one = |(net, place, lost): (NetSlot, u8, Lost)| {
        let key = view.slots.net_name(net)?.clone();
        Some(ToGroup { key, place, mac: lost.mac, frames: lost.frames })
    };
    counted(stats).singles().filter_map(one).collect()
}

/// What is known now. A search that goes on says nothing yet: what was known before it stands until it ends.
fn gather(view: &View, stats: &[LaneStats], wall: Wall) -> AllMeasured {
    let Some(slice) = &view.slice else { return AllMeasured::new() };
    let sizes = smallest(stats);
    let one = |node: &NodeId| {
        let old = view.measured.get(node).copied();
        let known = match sizes.get(&view.slots.peer(node)?) {
            Some(bytes) => old.filter(|old| old.bytes == *bytes).or(Some(Measured { bytes: *bytes, since: wall })),
            None => old,
        };
        known.map(|known| (node.clone(), known))
    };
    slice.peers.keys().filter_map(one).collect()
}

/// The smallest size of each peer over all lanes that have found theirs.
fn smallest(stats: &[LaneStats]) -> BTreeMap<PeerSlot, u16> {
    let mut sizes: BTreeMap<PeerSlot, u16> = BTreeMap::new();
    let found = stats.iter().flat_map(|lane| &lane.paths).filter(|(_, path)| path.phase == Phase::Complete);
    for (peer, path) in found {
        sizes.entry(*peer).and_modify(|size| *size = path.size.min(*size)).or_insert(path.size);
    }
    sizes
}

/// What this node knows of its paths.
pub(super) fn map(shared: &Shared) -> NodeMtu {
    let stats = shared.lanes.stats();
    let view = shared.view();
    let Some(slice) = &view.slice else {
        return NodeMtu { node: view.node.clone(), peers: Vec::new(), networks: Vec::new() };
    };
    let known = shared.watch.known();
    let mut map = spans::map(slice, &view.paths, &view.local, &view.measured, &plain::narrow(&view, &known));
    let counted = counted(&stats);
    for peer in map.peers.iter_mut().filter(|peer| peer.path == Path::Tunnel) {
        peer.lanes = lanes(&view, &stats, &peer.node, mono());
        let slot = view.slots.peer(&peer.node);
        peer.counts = counts(counted.peers().filter(|(of, _)| Some(*of) == slot).map(|(_, tally)| tally));
    }
    let plain = plain::measured(&view, &known);
    for peer in map.peers.iter_mut().filter(|peer| peer.path == Path::Plain) {
        peer.measured = plain.get(&peer.node).copied();
    }
    for (line, key) in map.networks.iter_mut().zip(slice.networks.keys()) {
        let slot = view.slots.net(key);
        line.counts = counts(counted.nets().filter(|(of, _)| Some(*of) == slot).map(|(_, tally)| tally));
    }
    map
}

/// What all networks together counted.
pub(super) fn all_counts(stats: &[LaneStats]) -> SizeCounts {
    let counted = counted(stats);
    let refused = counted.peers().map(|(_, tally)| tally.fragments_refused).sum();
    SizeCounts { fragments_refused: refused, ..counts(counted.nets().map(|(_, tally)| tally)) }
}

fn counted(stats: &[LaneStats]) -> Tallies {
    let mut counted = Tallies::default();
    stats.iter().for_each(|lane| counted.merge(&lane.sizes));
    counted
}

fn counts(tallies: impl Iterator<Item = Tally>) -> SizeCounts {
    let sum = tallies.fold(Tally::default(), |mut sum, tally| {
        sum.merge(&tally);
        sum
    });
    SizeCounts {
        oversize: sum.oversize,
        fragmented: sum.fragmented,
        fragments_sent: sum.fragments_sent,
        reassembled: sum.reassembled,
        fragments_refused: sum.fragments_refused,
        too_big: sum.too_big,
        mss_clamped: sum.mss_clamped,
    }
}

/// What each lane knows of its path to a peer.
pub(super) fn lanes(view: &View, stats: &[LaneStats], node: &NodeId, now: Mono) -> Vec<LaneMtu> {
    let slot = view.slots.peer(node);
    let lanes = (0_u8..).zip(stats);
    let of_peer = lanes.filter_map(|(lane, stats)| {
        let (_, status) = stats.paths.iter().find(|(peer, _)| Some(*peer) == slot)?;
        Some((lane, status))
    });
    let line = |(lane, status): (u8, &probe::Status)| LaneMtu {
        lane,
        bytes: status.little.unwrap_or(status.size),
        phase: phase(status.phase).to_owned(),
        seconds: now.since(status.since).as_secs(),
    };
    of_peer.map(line).collect()
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Base => "base",
        Phase::Searching => "searching",
        Phase::Complete => "complete",
        Phase::Error => "error",
    }
}
