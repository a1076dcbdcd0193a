//! What a lane does for the other lanes of its node, and tells them.

use std::time::Duration;

use super::{BATCH, BATCH_BYTES, Shell};
use crate::types::Mono;

/// How old what the other lanes know may be, while anything happens here. An event of a tunnel is told at once.
const PUBLISH: Duration = Duration::from_secs(1);
/// A handshake that is unanswered for so long: the other lanes may do better. Three tries.
const SILENT: Duration = Duration::from_secs(15);

impl Shell {
    /// Carries a batch of frames that other lanes have read.
    pub(super) fn carry_for_others(&mut self, now: Mono) {
        self.passage.hear();
        let (mut count, mut bytes) = (0, 0);
        while let Some(passed) = self.passage.take(&mut self.pool) {
            count += 1;
            bytes += passed.frame.buf.len();
            let Self { egress, setup, paths, pool, egress_out, .. } = self;
            egress.carry(&setup.table, &paths.sizes, passed.peer, passed.frame, pool, &mut egress_out.tunnels);
            if count == BATCH || bytes >= BATCH_BYTES {
                self.passage.ring_self();
                break;
            }
        }
        self.traffic.carried += u64::try_from(count).unwrap_or_default();
        self.after_egress(now);
    }

    /// Tells the other lanes which peers answer here, at most once a second but after an event.
    pub(super) fn publish(&mut self, now: Mono) {
        let Some(board) = self.egress.spread.board() else { return };
        if now < self.publish_at {
            return;
        }
        self.publish_at = now + PUBLISH;
        for peer in &self.setup.peers {
            let answers = self.tunnels.status(peer.slot, now).is_some_and(|status| {
                status.up && status.handshaking_since.is_none_or(|since| now.since(since) < SILENT)
            });
            board.set(self.egress.spread.own(), peer.slot, answers);
        }
    }

    /// Takes back what was told of peers that have just been removed here.
    pub(super) fn withdraw(&mut self, now: Mono) {
        let Some(board) = self.egress.spread.board() else { return };
        for peer in &self.setup.peers {
            if self.tunnels.status(peer.slot, now).is_none() {
                board.set(self.egress.spread.own(), peer.slot, false);
            }
        }
        self.publish_at = now;
    }
}

impl Drop for Shell {
    /// Also after a panic: the other lanes count on this one no longer.
    fn drop(&mut self) {
        if let Some(board) = self.egress.spread.board() {
            board.clear(self.egress.spread.own());
        }
    }
}
