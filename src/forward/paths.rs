//! How much one datagram to each peer may carry: the result of probing, read for every frame.

use crate::types::PeerSlot;

/// Bytes of tunnel payload that fit in one datagram, by peer. Each lane has its own, so a path that changes costs no new table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathSizes(Vec<u16>);

impl PathSizes {
    /// Bytes of tunnel payload (headers of the payload form and frame, without WireGuard's own) that fit in one datagram to a
    /// peer. [`usize::MAX`] where nothing is known: the guest MTU of the network is the only limit then.
    #[inline]
    pub fn payload(&self, peer: PeerSlot) -> usize {
        match self.0.get(peer.index()) {
            None | Some(0) => usize::MAX,
            Some(bytes) => usize::from(*bytes),
        }
    }

    /// What one datagram to a peer carries from now on; 0 stands for "not known".
    pub fn set(&mut self, peer: PeerSlot, payload: u16) {
        if self.0.len() <= peer.index() {
            self.0.resize(peer.index() + 1, 0);
        }
        self.0[peer.index()] = payload;
    }
}
