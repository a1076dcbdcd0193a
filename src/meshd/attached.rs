//! Looks again and again at what others have attached to interfaces that guests' frames go by: the kernel tells nobody of it who does not
//! listen to all that anybody does with `tc`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::kernel::Kernel;
use super::pace::Pace;
use super::shared::{Shared, Topic};
use crate::api::cut::Cut;
use crate::clock::mono;
use crate::node::attached::{At, doubtful, findings};
use crate::node::barriers::Ports;
use crate::node::plan::Underlay;
use crate::node::shown::Shown;
use crate::node::unwatched::Eye;
use crate::policy::path::Path;
use crate::types::{IfName, Mono};

/// How often.
const PACE: Pace = Pace { every: Duration::from_secs(5), share: 200, longest: Duration::from_secs(60) };

/// When it is due again.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    at: Mono,
    shown: Shown,
}

impl Attachments {
    /// What bridges of guests show to the packet filters of the host.
    pub(super) const fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Looks where it is due, and tells what is wrong.
    pub(super) fn look<K: Kernel>(&mut self, kernel: &mut K, ports: &Ports, shared: &Shared) {
        let start = mono();
        if start < self.at {
            return;
        }
        let places = places(ports, shared);
        let bridges: BTreeSet<&IfName> = ports.values().map(|place| &place.bridge).collect();
        let names: BTreeSet<IfName> = places.keys().chain(bridges).cloned().collect();
        let outcome = kernel.attached(&names).map(|attached| {
            let shows = attached.iter().filter(|(_, attached)| !attached.shows.is_empty());
            self.shown = shows.map(|(name, attached)| (name.clone(), attached.shows.clone())).collect();
            shared.find(Topic::Attached, findings(&places, &attached));
            shared.view().queues = Arc::new(doubtful(&attached));
            true
        });
        shared.looked(Eye::Attached, outcome);
        self.at = PACE.after(start);
    }
}

/// Interfaces that guests' frames go by: in bridges of guests, and towards peers.
fn places(ports: &Ports, shared: &Shared) -> BTreeMap<IfName, At> {
    let mut places: BTreeMap<IfName, At> = ports
        .iter()
        .map(|(name, place)| {
            let words = format!("{name} in bridge {}", place.bridge);
            (name.clone(), At { words, cut: place.cut.clone(), line: false })
        })
        .collect();
    let view = shared.view();
    let Some(slice) = view.slice.as_ref().filter(|slice| !slice.peers.is_empty()) else { return places };
    let interface = |side: &Option<Underlay>| side.as_ref().map(|side| side.interface.clone());
    let (admin, external) = (interface(&view.local.admin), interface(&view.local.external));
    for (name, path) in [(&admin, Path::Plain), (&external, Path::Tunnel)] {
        let Some(name) = name else { continue };
        let cut = Cut::peers(true, path, slice.peers.keys());
        // One interface for both.
        let path = if admin == external { None } else { cut.path };
        let at = At { words: format!("{name}, the interface towards peers,"), cut: Cut { path, ..cut }, line: true };
        places.insert(name.clone(), at);
    }
    places
}
