//! When which peer is to be looked at.
//!
//! A wake-up must not cost a walk over all peers: a node with 500 of them has many wake-ups a second and one peer due at each. So the
//! peers wait in a heap by their nearest deadline. A deadline that moves *later*, as most do with each packet, is not moved in the heap:
//! the peer is looked at too early once, and is put back where it then belongs. Only one that moves *earlier* costs an entry, and
//! what it replaces is passed over when its time comes. So a packet costs one comparison, as with a single deadline for all.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::timers::NEVER;
use crate::types::{Mono, PeerSlot};

/// Peers by the time at which they are looked at.
#[derive(Default)]
pub(super) struct Schedule {
    heap: BinaryHeap<Reverse<(Mono, PeerSlot)>>,
    /// How often a peer was looked at: what a test bounds.
    #[cfg(test)]
    pub(super) taken: u64,
}

impl Schedule {
    /// Looks at a peer at `when`.
    pub(super) fn add(&mut self, when: Mono, slot: PeerSlot) {
        if when < NEVER {
            self.heap.push(Reverse((when, slot)));
        }
    }

    /// The next time at which there is a peer to look at, or [`NEVER`]. It may be too early, never too late.
    pub(super) fn next(&self) -> Mono {
        self.heap.peek().map_or(NEVER, |Reverse((when, _))| *when)
    }

    /// Takes one that is due, the longest due first, with the time for which it was added.
    pub(super) fn take_due(&mut self, now: Mono) -> Option<(Mono, PeerSlot)> {
        if self.next() > now {
            return None;
        }
        #[cfg(test)]
        {
            self.taken += 1;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Takes everything of a peer out. Costs a walk over all entries: for when peers change.
    pub(super) fn forget(&mut self, slot: PeerSlot) {
        self.heap.retain(|Reverse((_, of))| *of != slot);
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}
