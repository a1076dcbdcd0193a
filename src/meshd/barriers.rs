//! What others of this host do to frames between guests: told where frames that cross a bridge do not come out, or where a packet filter at
//! an interface of a guest drops everything. Rules are read only then, and chains only where some packet filter has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::kernel::Kernel;
use super::pace::Pace;
use super::shared::{Shared, Topic};
use crate::api::cut::Cut;
use crate::clock::mono;
use crate::linux::KernelError;
use crate::node::barriers::{self, Changed, Ends, Filters, Place, Ports};
use crate::node::crossing::Way;
use crate::node::desired::{Desired, Link, Observed};
use crate::node::doubts::{Book, Crossing};
use crate::node::let_through;
use crate::node::named_guests;
use crate::node::older::Older;
use crate::node::outer;
use crate::node::reconcile::is_ours;
use crate::node::shown::{self, Legacy, Shown};
use crate::node::unwatched::Eye;
use crate::policy::path::Path;
use crate::probe::crossing::{Crossed, Flow, Protocol};
use crate::types::{IfName, Mac, Mono, Version};

/// How often it is seen whether something has changed.
const PACE: Pace = Pace { every: Duration::from_secs(1), share: 20, longest: Duration::from_secs(60) };

/// How often the older iptables is asked, which tells nobody of a change, where bridged frames are shown to it.
const OLDER: Duration = Duration::from_secs(5);

/// What was looked at last, and what to look at.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    at: Mono,
    ports: Ports,
    seen: Option<Seen>,
    changed: Changed,
    older: Vec<Older>,
    older_at: Mono,
}

/// Where an interface stands that is a guest's or ours, and what is cut off where nothing passes there.
fn place(desired: &Desired, name: &IfName, link: &Link) -> Option<Place> {
    let bridge = link.port.as_ref()?.bridge.clone();
    let net = desired.networks.get(&bridge)?;
    let guests = |macs: &BTreeSet<Mac>| {
        let guests: Vec<_> = macs.iter().map(|mac| (net.key.clone(), *mac)).collect();
        Cut::guests(true, &guests)
    };
    let cut = if net.tap == *name {
        Cut::way(&net.key, Path::Tunnel)
    } else if net.vxlan.as_ref() == Some(name) {
        Cut::way(&net.key, Path::Plain)
    } else if is_ours(name, link) {
        return None;
    } else if let Some(macs) = net.guests.get(name) {
        guests(macs)
    } else if net.loose.is_empty() {
        return None;
    } else {
        // Whose it is among these is not known.
        Cut { surely: false, ..guests(&net.loose) }
    };
    Some(Place { bridge, key: net.key.clone(), cut })
}

/// All that findings depend on.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    lost: BTreeSet<Flow>,
    ports: Ports,
    shown: Shown,
    /// What the older iptables says, where somebody shows it anything.
    legacy: Legacy,
    /// The same in whole, where frames are shown to it.
    older: Vec<Older>,
    /// What all bridges show.
    host: BTreeSet<Protocol>,
    crossing: Option<Crossing>,
    /// Rules may name a guest that was not there before.
    version: Version,
    generation: u32,
}

impl Seen {
    /// True where something else drops frames than before. The older iptables is read in part only where nothing is lost.
    fn drops_otherwise(&self, new: &Self) -> bool {
        let older = |seen: &Self| (seen.legacy.clone(), seen.older.clone(), seen.shown.clone(), seen.host.clone());
        self.generation != new.generation || !self.lost.is_empty() && older(self) != older(new)
    }
}

impl Barriers {
    /// Remembers which interfaces stand in bridges of guests: guests' own, and ours.
    pub(super) fn seen(&mut self, desired: &Desired, observed: &Observed) {
        self.ports = observed
            .links
            .iter()
            .filter_map(|(name, link)| Some((name.clone(), place(desired, name, link)?)))
            .collect();
    }

    /// Interfaces in bridges of guests.
    pub(super) const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Looks where it is due, and tells what is wrong.
    pub(super) fn look<K: Kernel>(&mut self, kernel: &mut K, shown: &Shown, shared: &Shared) {
        let start = mono();
        if start < self.at {
            return;
        }
        let outcome = self.told(kernel, shown, shared);
        shared.looked(Eye::Filters, outcome);
        self.at = PACE.after(start);
    }

    /// True: it was read. What cannot be read names nothing, and what is lost is told all the same.
    fn told<K: Kernel>(&mut self, kernel: &mut K, shown: &Shown, shared: &Shared) -> Result<bool, KernelError> {
        let (way, crossed) = shared.watch.crossing();
        let generation = kernel.filter_generation();
        let host = kernel.bridges_show();
        self.look_at_older(kernel, host.is_empty() && shown.is_empty());
        let seen = Seen {
            ports: self.ports.clone(),
            shown: shown.clone(),
            legacy: if shown.is_empty() && crossed.lost.is_empty() { Legacy::new() } else { kernel.legacy_forward() },
            older: self.older.clone(),
            host,
            crossing: crossing_of(way.as_ref(), &crossed),
            version: shared.view().applied,
            generation: generation.as_ref().copied().unwrap_or_default(),
            lost: crossed.lost,
        };
        if generation.is_ok() && self.is_told(&seen, crossed.sent) {
            return Ok(true);
        }
        let mut failed = generation.err();
        let mut filters = Filters::default();
        match kernel.hooks() {
            Ok(bases) => filters.bases = bases,
            Err(error) => failed = Some(error),
        }
        let asked = !seen.lost.is_empty() || !seen.shown.is_empty() || !seen.host.is_empty();
        for table in barriers::wanted(&filters.bases, asked, &seen.ports) {
            match kernel.rules(&table) {
                Ok(rules) => drop(filters.rules.insert(table, rules)),
                Err(error) => failed = Some(error),
            }
        }
        let mut sent = BTreeMap::new();
        for table in outer::wanted(&filters.bases, &filters.rules) {
            match kernel.rules(&table) {
                Ok(rules) => drop(sent.insert(table, rules)),
                Err(error) => failed = Some(error),
            }
        }
        if !seen.lost.is_empty() {
            filters.legacy = kernel.legacy_filters();
            (filters.forward, filters.shown) = (seen.legacy.clone(), seen.shown.clone());
        }
        let ends = way.as_ref().map(|way| Ends { bridge: &way.bridge, near: &way.near, far: &way.far });
        let flows = way.as_ref().map(|way| way.flows.as_slice()).unwrap_or_default();
        let mut found = barriers::findings(ends, &seen.lost, flows, &seen.ports, &filters);
        found.extend(shown::findings(&seen.shown, &seen.lost, &seen.ports, &filters, &seen.legacy));
        let book = Book {
            filters,
            sent,
            older: seen.older.clone(),
            host: seen.host.clone(),
            shown: seen.shown.clone(),
            crossing: seen.crossing.clone(),
        };
        let (slice, presence) = {
            let view = shared.view();
            (view.slice.clone(), Arc::clone(&view.presence))
        };
        if let Some(slice) = slice {
            found = let_through::judge(found, &book, way.as_ref(), (&slice, &presence));
            let named = named_guests::findings(&book, &seen.ports, (&slice, &presence), &found);
            found.extend(named);
        }
        shared.view().book = Arc::new(book);
        shared.find(Topic::Bridges, found);
        match failed {
            Some(error) => Err(error),
            None => {
                self.seen = Some(seen);
                Ok(true)
            }
        }
    }

    /// True where nothing is to be told now: it is what was told last, or what is lost is asked again first.
    fn is_told(&mut self, seen: &Seen, sent: Mono) -> bool {
        let changed = self.seen.as_ref().is_some_and(|old| old.drops_otherwise(seen));
        let outdated = self.changed.outdates(changed, seen.generation, sent, mono());
        self.seen.as_ref() == Some(seen) || outdated && !seen.lost.is_empty()
    }

    fn look_at_older<K: Kernel>(&mut self, kernel: &mut K, unseen: bool) {
        let now = mono();
        if unseen {
            (self.older, self.older_at) = (Vec::new(), now);
        } else if now >= self.older_at {
            self.older = kernel.older_tables();
            self.older_at = now + OLDER;
        }
    }
}

/// Where frames of our own cross, if all of them do.
fn crossing_of(way: Option<&Way>, crossed: &Crossed) -> Option<Crossing> {
    let way = way.filter(|_| crossed.asked && crossed.lost.is_empty())?;
    Some(Crossing { bridge: way.bridge.clone(), near: way.near.clone(), far: way.far.clone() })
}
