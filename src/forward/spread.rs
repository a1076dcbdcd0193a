//! Which lane carries a frame.
//!
//! The kernel gives a flow to one queue of a TAP, so to one lane, and keeps it there. That lane carries it, but in two cases: the
//! pair does not use this lane (or has no session on it now), or the frame opens a TCP connection. New connections go to the
//! lanes in turn, whichever lane read them: the answer comes back by the lane that the question went by, the kernel sees on
//! which queue it is written, and from then on gives the whole flow to that queue. So connections spread evenly, and nothing
//! is looked up or remembered per flow here. A first SYN is alone on its way, so nothing can overtake it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::types::PeerSlot;

/// Most lanes of a node: one bit each.
pub const MAX_LANES: u8 = 8;

/// What the lanes of a node know of each other. Read once a frame, written when a session comes or goes; the turn moves once a
/// TCP connection. Nothing else depends on these numbers, so their order among other memory does not matter.
pub struct Board {
    /// By peer slot: a bit for each lane that has a session.
    up: Box<[AtomicU8]>,
    turn: AtomicU8,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("turn", &self.turn).finish_non_exhaustive()
    }
}

impl Default for Board {
    fn default() -> Self {
        Self { up: (0..=u16::MAX).map(|_| AtomicU8::new(0)).collect(), turn: AtomicU8::new(0) }
    }
}

impl Board {
    /// Lanes with a session to a peer.
    fn up(&self, peer: PeerSlot) -> u8 {
        self.up.get(peer.index()).map_or(0, |up| up.load(Ordering::Relaxed))
    }

    /// A lane has, or no longer has, a session with a peer that answers.
    pub fn set(&self, lane: u8, peer: PeerSlot, up: bool) {
        let Some(place) = self.up.get(peer.index()) else { return };
        let was = place.load(Ordering::Relaxed) & bit(lane) != 0;
        match (was, up) {
            (false, true) => drop(place.fetch_or(bit(lane), Ordering::Relaxed)),
            (true, false) => drop(place.fetch_and(!bit(lane), Ordering::Relaxed)),
            (false, false) | (true, true) => {}
        }
    }

    /// A lane has ended, or has just begun: it has no session.
    pub fn clear(&self, lane: u8) {
        for place in &self.up {
            if place.load(Ordering::Relaxed) & bit(lane) != 0 {
                place.fetch_and(!bit(lane), Ordering::Relaxed);
            }
        }
    }
}

/// A lane among the lanes of its node.
#[derive(Debug, Clone, Default)]
pub struct Spread {
    own: u8,
    /// None: it is the only one.
    among: Option<(u8, Arc<Board>)>,
}

impl Spread {
    /// Lane `own` of `count`, up to [`MAX_LANES`].
    pub fn new(own: u8, count: u8, board: &Arc<Board>) -> Self {
        let count = count.clamp(1, MAX_LANES);
        Self { own, among: (count > 1).then(|| (count, Arc::clone(board))) }
    }

    /// Which lane this is.
    pub const fn own(&self) -> u8 {
        self.own
    }

    /// What the lanes know of each other; none: there is one lane.
    pub fn board(&self) -> Option<&Board> {
        self.among.as_ref().map(|(_, board)| board.as_ref())
    }

    /// The lane that carries a frame for a peer, where the pair uses `lanes`. `opens` says whether the frame opens a connection;
    /// it is asked only if that matters. Of the lanes that the pair uses, those count that have a session; all where none has.
    #[inline]
    pub(super) fn lane(&self, lanes: u8, peer: PeerSlot, opens: impl FnOnce() -> bool) -> u8 {
        let Some((count, board)) = &self.among else { return self.own };
        let used = u8::MAX >> (MAX_LANES - lanes.clamp(1, *count));
        let usable = match board.up(peer) & used {
            0 => used,
            some => some,
        };
        if usable.count_ones() > 1 && opens() {
            return nth(usable, board.turn.fetch_add(1, Ordering::Relaxed));
        }
        if usable & bit(self.own) != 0 { self.own } else { nth(usable, self.own) }
    }
}

const fn bit(lane: u8) -> u8 {
    1_u8.rotate_left(lane as u32)
}

/// The `n`th set bit, counted round and round.
fn nth(bits: u8, n: u8) -> u8 {
    let at = u32::from(n) % bits.count_ones().max(1);
    (0..MAX_LANES)
        .filter(|lane| bits & bit(*lane) != 0)
        .nth(usize::try_from(at).unwrap_or_default())
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "spread_tests.rs"]
mod tests;
