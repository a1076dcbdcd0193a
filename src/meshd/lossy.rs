//! Counts what tunnels lose, second by second, and tells where many are lost.

use std::time::Duration;

use super::lane::LaneStats;
use super::outways;
use super::shared::{Shared, Topic, View};
use crate::api::local::Finding;
use crate::linux;
use crate::node::losses::{Counted, Losses};
use crate::node::losses_told::{self, Lossy};
use crate::policy::path::Path;
use crate::tunnel;
use crate::types::{Mono, PeerSlot};

/// How often is looked.
const LOOK: Duration = Duration::from_secs(1);

/// The count so far.
#[derive(Debug, Default)]
pub(super) struct Loser {
    due: Mono,
    losses: Losses,
}

impl Loser {
    /// Looks, if it is time.
    pub(super) fn look(&mut self, shared: &Shared, now: Mono) {
        if now < self.due {
            return;
        }
        self.due = now + LOOK;
        if !has_tunnels(&shared.view()) {
            self.losses = Losses::default();
            shared.view().losses.clear();
            shared.find(Topic::Losses, Vec::new());
            return;
        }
        // Before the view is held: a lane may take its time.
        let stats = shared.lanes.stats();
        let no_room = linux::udp_without_room().unwrap_or_default();
        self.losses.look(&stats.iter().map(counted).collect::<Vec<_>>(), no_room, now);
        let findings = {
            let mut view = shared.view();
            let losses = tunnels(&view).filter_map(|slot| Some((slot, self.losses.of(slot)?))).collect();
            view.losses = losses;
            findings(&view, &stats)
        };
        shared.find(Topic::Losses, findings);
    }
}

fn has_tunnels(view: &View) -> bool {
    tunnels(view).next().is_some()
}

/// Peers that guests' frames go to by tunnels. By the sessions beside plain paths only control messages go.
fn tunnels(view: &View) -> impl Iterator<Item = PeerSlot> {
    let verdicts = view.paths.values().flatten().filter(|(_, verdict)| verdict.path == Path::Tunnel);
    verdicts.filter_map(|(node, _)| view.slots.peer(node))
}

fn counted(stats: &LaneStats) -> Counted {
    let peers = stats.peers.iter().map(|(slot, status)| (*slot, status.arrivals)).collect();
    Counted { lane: stats.lane, overflows: stats.overflows, peers }
}

fn findings(view: &View, stats: &[LaneStats]) -> Vec<Finding> {
    let from = |slot: PeerSlot| {
        let of = |lane: &LaneStats| -> Option<tunnel::PeerStatus> {
            lane.peers.iter().find(|(peer, _)| *peer == slot).map(|(_, status)| *status)
        };
        stats.iter().filter_map(of).find_map(|status| status.endpoint)
    };
    let lossy = view.losses.iter().filter_map(|(slot, loss)| {
        Some(Lossy { node: view.slots.peer_name(*slot)?, from: from(*slot), whence: loss.stands? })
    });
    let lossy: Vec<Lossy<'_>> = lossy.collect();
    let of_first = lossy.first().and_then(|one| Some(outways::end_of(view, one.node, one.from?)));
    losses_told::findings(&view.node, lossy, of_first.and_then(|end| end.by).as_ref())
}
