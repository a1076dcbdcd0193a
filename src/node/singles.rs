//! Guests that send to a group of Ethernet what is for one host by its IP address: a cluster whose address has a group for its Ethernet address,
//! static entries for such. No tunnel carries it, since each host that has the IP address would take it. It is told while it goes on.

use std::collections::{BTreeMap, BTreeSet};

use super::barred::{QUIET, REPEATED, SENDS, wrong};
use super::presence::{Presence, bounded, name_of, port_of};
use crate::api::local::Finding;
use crate::table::{NetKey, Slice};
use crate::types::{Mac, Mono};

/// What is counted of one guest.
#[derive(Debug, Clone)]
pub struct ToGroup {
    /// Its network.
    pub key: NetKey,
    /// Its place among the guests of its network.
    pub place: u8,
    /// Its Ethernet address, as of the last frame.
    pub mac: Mac,
    /// Frames that were dropped, since the lanes started.
    pub frames: u64,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    frames: u64,
    /// How many there were before it began.
    before: u64,
    last: Option<Mono>,
    mac: Mac,
}

/// What was counted before, and when it last grew.
#[derive(Debug, Default)]
pub struct Singles {
    seen: BTreeMap<(NetKey, u8), Seen>,
    looked: bool,
}

impl Singles {
    /// Compares with what was counted before. Lanes that start anew count anew.
    pub fn look(
        &mut self,
        slice: &Slice,
        presence: &Presence,
        all: impl IntoIterator<Item = ToGroup>,
        now: Mono,
    ) -> Vec<Finding> {
        let mut seen = BTreeMap::new();
        for ToGroup { key, place, mac, frames } in all {
            let key = (key, place);
            // What is new since the last look was sent since then.
            let new = Seen { frames: if self.looked { 0 } else { frames }, before: 0, last: None, mac };
            let old = self.seen.get(&key).copied().unwrap_or(new);
            let last = old.last.filter(|last| now.since(*last) < QUIET);
            let before = if last.is_some() { old.before.min(frames) } else { old.frames.min(frames) };
            let last = if frames > old.frames { Some(now) } else { last };
            seen.insert(key, Seen { frames, before, last, mac });
        }
        (self.seen, self.looked) = (seen, true);
        let goes_on = |seen: &Seen| seen.last.is_some() && seen.frames - seen.before >= REPEATED;
        let hosted = |key: &NetKey| slice.networks.contains_key(key);
        let all = self.seen.iter().filter(|((key, _), seen)| hosted(key) && goes_on(seen));
        let told: BTreeSet<_> = all.map(|((key, _), seen)| told(slice, presence, key, seen.mac)).collect();
        bounded(SENDS, told.into_iter().map(wrong).collect())
    }
}

fn told(slice: &Slice, presence: &Presence, key: &NetKey, mac: Mac) -> (String, String) {
    let interface = presence.of(&(key.clone(), mac)).and_then(|here| here.interface.as_ref());
    let behind = interface.map_or_else(String::new, |interface| format!(" ({interface})"));
    let what = format!(
        "{}{behind} in network {} sends frames to a group of Ethernet that are for one host by their IP address; tunnels drop them (group-unicast), \
         the plain path carries them",
        port_of(slice, key, mac),
        name_of(slice, key)
    );
    let any = interface.map_or("any", |interface| interface.as_str());
    let help = format!(
        "give that IP address a unicast Ethernet address: in the guest, where it has an entry for it (ip neigh), and where it is a cluster's \
         by its unicast mode; what it is: tcpdump -eni {any} ether multicast and ether src {mac}"
    );
    (what, help)
}

#[cfg(test)]
#[path = "singles_tests.rs"]
mod tests;
