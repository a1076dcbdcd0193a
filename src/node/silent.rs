//! `learning: local`: guests that say nothing. A bridge forgets after five minutes; the table does not. A guest is kept where it was heard for a
//! day, or until its interface is in no bridge of its network any more, or until another node has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::contest::elsewhere;
use super::discover::{Guest, MAX_PORTS, PORTS_OF_INTERFACE};
use crate::api::stream::FoundPort;
use crate::table::{NetKey, Slice};
use crate::types::{IfName, Mono};

/// How long a guest may be silent.
pub const KEPT: Duration = Duration::from_hours(24);

/// A guest that was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The guest.
    pub port: FoundPort,
    /// The interface that it was heard behind.
    pub interface: IfName,
    /// When it was last heard, in nanoseconds since the machine's start ([`Mono`]).
    last: u64,
}

/// All of them, silent or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Silent {
    all: BTreeMap<Guest, Kept>,
}

impl Silent {
    /// Adds to what the bridges know now the guests that they have forgotten. The bounds of an interface and of the node hold for both together, and
    /// who speaks goes first, then who was heard last.
    pub fn add(
        &mut self,
        found: &mut BTreeMap<FoundPort, IfName>,
        slice: &Slice,
        places: &BTreeMap<IfName, NetKey>,
        now: Mono,
    ) {
        let heard: BTreeSet<Guest> = found.keys().map(|port| (port.network.clone(), port.mac)).collect();
        let mut count: BTreeMap<IfName, usize> = BTreeMap::new();
        found.values().for_each(|interface| *count.entry(interface.clone()).or_default() += 1);
        let mut silent: Vec<(Guest, Kept)> = std::mem::take(&mut self.all).into_iter().collect();
        silent.retain(|(guest, kept)| {
            let stands = places.get(&kept.interface) == Some(&guest.0);
            stands
                && !heard.contains(guest)
                && now.since(Mono::from_nanos(kept.last)) < KEPT
                && elsewhere(slice, guest).is_none()
        });
        silent.sort_by_key(|(_, kept)| std::cmp::Reverse(kept.last));
        for (port, interface) in &*found {
            self.note(port, interface, now);
        }
        for (guest, kept) in silent {
            let of_interface = count.entry(kept.interface.clone()).or_default();
            if *of_interface < PORTS_OF_INTERFACE && self.all.len() < MAX_PORTS {
                *of_interface += 1;
                found.insert(kept.port.clone(), kept.interface.clone());
                self.all.insert(guest, kept);
            }
        }
    }

    /// Notes a guest that is heard.
    pub fn note(&mut self, port: &FoundPort, interface: &IfName, now: Mono) {
        let kept = Kept { port: port.clone(), interface: interface.clone(), last: now.as_nanos() };
        self.all.insert((port.network.clone(), port.mac), kept);
    }

    /// What an earlier process knew.
    pub fn with(known: Vec<Kept>) -> Self {
        let guest = |kept: Kept| ((kept.port.network.clone(), kept.port.mac), kept);
        Self { all: known.into_iter().take(MAX_PORTS).map(guest).collect() }
    }

    /// All of them, by network and address.
    pub fn all(&self) -> impl Iterator<Item = &Kept> {
        self.all.values()
    }

    /// Forgets a guest that has gone.
    pub fn forget(&mut self, guest: &Guest) {
        self.all.remove(guest);
    }
}

#[cfg(test)]
#[path = "silent_tests.rs"]
mod tests;
