//! What the peers of one lane share: the node's keys, randomness, indices, the outbox, counters, and when which of them is due.

use std::time::Duration;

use zeroize::Zeroizing;

use super::drops::DropReason;
use super::index::IndexTable;
use super::interface::{Counters, Event, Random, Transmit};
use super::limits::REKEY_JITTER;
use super::noise::Identity;
use super::outbox::Outbox;
use super::schedule::Schedule;
use crate::types::{PeerSlot, PublicKey};

/// Shared by all peers of one [`Tunnels`](super::Tunnels).
pub(super) struct Common {
    /// The node's static keys: the one in force, and behind it the one that is to follow.
    pub(super) identities: Vec<Identity>,
    pub(super) random: Box<dyn Random + Send>,
    pub(super) indices: IndexTable,
    pub(super) outbox: Outbox,
    pub(super) counters: Counters,
    pub(super) schedule: Schedule,
}

impl Common {
    pub(super) fn new(random: Box<dyn Random + Send>) -> Self {
        Self {
            identities: Vec::new(),
            random,
            indices: IndexTable::new(),
            outbox: Outbox::default(),
            counters: Counters::default(),
            schedule: Schedule::default(),
        }
    }

    /// The static key in force.
    pub(super) fn own(&self) -> PublicKey {
        self.identities.first().map_or(PublicKey([0; 32]), |identity| identity.public)
    }

    /// The one of the node's static keys whose public half this is.
    pub(super) fn identity(&self, public: &PublicKey) -> Option<&Identity> {
        self.identities.iter().find(|identity| identity.public == *public)
    }

    /// A random index that names nothing yet, now naming `slot`.
    pub(super) fn new_index(&mut self, slot: PeerSlot) -> u32 {
        loop {
            let mut bytes = [0; 4];
            self.random.fill(&mut bytes);
            let index = u32::from_le_bytes(bytes);
            if self.indices.insert(index, slot) {
                return index;
            }
        }
    }

    /// Gives indices back.
    pub(super) fn free(&mut self, indices: impl IntoIterator<Item = Option<u32>>) {
        for index in indices.into_iter().flatten() {
            self.indices.remove(index);
        }
    }

    /// A private ephemeral key.
    pub(super) fn ephemeral(&mut self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        self.random.fill(bytes.as_mut_slice());
        bytes
    }

    /// A random time up to [`REKEY_JITTER`].
    pub(super) fn jitter(&mut self) -> Duration {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        REKEY_JITTER.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
    }

    /// Puts a datagram out.
    pub(super) fn send(&mut self, transmit: Transmit) {
        self.outbox.send(transmit.to, transmit.datagram, &mut self.counters.drops);
    }

    /// Puts an event out.
    pub(super) fn report(&mut self, event: Event) {
        self.outbox.report(event, &mut self.counters.drops);
    }

    /// Counts a drop and gives its reason back.
    pub(super) const fn dropped(&mut self, reason: DropReason) -> DropReason {
        self.counters.drops.count(reason);
        reason
    }
}
