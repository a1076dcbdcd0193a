//! Counters of what is wrong, read again and again: which of them grow, since when, and by how much. Lanes that start anew count anew.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::{Mac, Mono};

/// One counter.
#[derive(Debug, Clone, Copy)]
struct Seen {
    frames: u64,
    /// How many there were before it began.
    before: u64,
    last: Option<Mono>,
    mac: Mac,
}

/// What was counted before, and when it last grew.
#[derive(Debug)]
pub(super) struct Growing<K> {
    seen: BTreeMap<K, Seen>,
    looked: bool,
}

impl<K> Default for Growing<K> {
    fn default() -> Self {
        Self { seen: BTreeMap::new(), looked: false }
    }
}

impl<K: Ord> Growing<K> {
    /// Compares with what was counted before: of each counter its frames, and whose the last one was. What has not grown for `quiet` has ended.
    pub(super) fn look(&mut self, all: impl IntoIterator<Item = (K, u64, Mac)>, now: Mono, quiet: Duration) {
        let mut seen = BTreeMap::new();
        for (key, frames, mac) in all {
            // What is new since the last look has been counted since then; what the first look finds, nobody knows when.
            let new = Seen { frames: if self.looked { 0 } else { frames }, before: 0, last: None, mac };
            let old = self.seen.get(&key).copied().unwrap_or(new);
            let last = old.last.filter(|last| now.since(*last) < quiet);
            let before = if last.is_some() { old.before } else { old.frames };
            let last = if frames > old.frames { Some(now) } else { last };
            seen.insert(key, Seen { frames, before: before.min(frames), last, mac });
        }
        (self.seen, self.looked) = (seen, true);
    }

    /// Those that grow: by how many frames since it began, and whose the last one was.
    pub(super) fn all(&self) -> impl Iterator<Item = (&K, u64, Mac)> {
        let grows = self.seen.iter().filter(|(_, seen)| seen.last.is_some());
        grows.map(|(key, seen)| (key, seen.frames - seen.before, seen.mac))
    }
}
