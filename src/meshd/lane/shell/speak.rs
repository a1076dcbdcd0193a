//! Control messages that the owner wants to be said.

use super::Shell;
use crate::forward::echo;
use crate::types::{Mono, PeerSlot};
use crate::wire::Header as _;
use crate::wire::oam::Oam;

impl Shell {
    /// Seals them for their peers; they leave with what else does. A peer that is gone meanwhile hears nothing.
    pub(super) fn say(&mut self, messages: Vec<(PeerSlot, Oam)>, now: Mono) {
        for (peer, Oam { kind, token }) in messages {
            let mut alone = Vec::with_capacity(1);
            match echo(kind, token, Oam::LEN, peer, &mut self.pool, &mut alone) {
                Ok(()) => alone.into_iter().for_each(|train| self.seal(train, now)),
                Err(reason) => self.drops.count(reason),
            }
        }
    }
}
