//! Which lane carries a frame.
//!
//! The kernel gives what guests send to one queue of a TAP, so to one lane: by a hash of the flow, or, once something of the flow was
//! written into the TAP, to the queue that it was written to. Two such kernels that follow each other can chase a flow from lane
//! to lane without end, and reorder it. So the first lane that has to do with a flow is written down, for all lanes of the node: the
//! lane that read its first frame, the lane by which it arrived, or, for a TCP connection that begins here, the next in turn, so that
//! connections spread evenly. What another lane reads is handed over to that lane; the kernel soon follows.
//!
//! Of the lanes that a pair uses, those count that have a session with the peer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::types::PeerSlot;

/// Most lanes of a node: one bit each.
pub const MAX_LANES: u8 = 8;

/// Flows that can be remembered. One that is forgotten is written down anew, and by then the kernel gives it to its lane.
const FLOWS: usize = 1 << 16;
/// Bits of an entry that hold the lane, plus one; the others are those of the flow's key.
const LANE_BITS: u64 = 0x0f;

/// What the lanes of a node know of each other: which has a session with whom, and which flow is whose. Each is one atomic number
/// that nothing else depends on, read for each frame and rarely written. The default is for one lane, which asks nobody.
#[derive(Default)]
pub struct Board {
    /// By peer slot: a bit for each lane that has a session.
    up: Box<[AtomicU8]>,
    /// By the first bits of the flow's key: the rest of it and the lane.
    flows: Box<[AtomicU64]>,
    turn: AtomicU8,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("turn", &self.turn).finish_non_exhaustive()
    }
}

/// What a frame belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    /// The same for both directions; most likely another for another flow.
    pub(super) key: u64,
    /// True for the first packet of a TCP connection.
    pub(super) opens: bool,
}

impl Board {
    /// For so many lanes.
    pub fn new(lanes: u8) -> Self {
        // One alone asks nobody.
        let places = |count| if lanes > 1 { 0..count } else { 0..0 };
        Self {
            up: places(1 << 16).map(|_| AtomicU8::new(0)).collect(),
            flows: places(FLOWS).map(|_| AtomicU64::new(0)).collect(),
            turn: AtomicU8::new(0),
        }
    }

    fn place(&self, key: u64) -> Option<&AtomicU64> {
        self.flows.get(usize::try_from(key >> (u64::BITS - FLOWS.ilog2())).ok()?)
    }

    /// The lane of a flow, if it is known.
    fn lane_of(&self, key: u64) -> Option<u8> {
        let entry = self.place(key)?.load(Ordering::Relaxed);
        let lane = u8::try_from(entry & LANE_BITS).ok()?.checked_sub(1)?;
        (entry & !LANE_BITS == key & !LANE_BITS).then_some(lane)
    }

    fn keep(&self, key: u64, lane: u8) {
        if let Some(place) = self.place(key) {
            place.store(key & !LANE_BITS | u64::from(lane + 1), Ordering::Relaxed);
        }
    }

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

    /// The lane that carries a flow to a peer, where the pair uses `lanes`.
    #[inline]
    pub(super) fn lane(&self, lanes: u8, peer: PeerSlot, flow: impl FnOnce() -> Flow) -> u8 {
        let Some((count, board)) = &self.among else { return self.own };
        let usable = usable(board, lanes.min(*count), peer);
        if usable.count_ones() == 1 {
            return nth(usable, 0);
        }
        let Flow { key, opens } = flow();
        let known = board.lane_of(key);
        let lane = match known {
            Some(lane) => among(usable, lane),
            None if opens => nth(usable, board.turn.fetch_add(1, Ordering::Relaxed)),
            None => among(usable, self.own),
        };
        if known.is_none() {
            board.keep(key, lane);
        }
        lane
    }

    /// The lane that carries a frame for many to one of them.
    #[inline]
    pub(super) fn lane_to_many(&self, lanes: u8, peer: PeerSlot) -> u8 {
        let Some((count, board)) = &self.among else { return self.own };
        among(usable(board, lanes.min(*count), peer), self.own)
    }

    /// A frame of a flow has arrived here: what answers it leaves from here.
    #[inline]
    pub(super) fn arrived(&self, lanes: u8, flow: impl FnOnce() -> Flow) {
        let Some((count, board)) = &self.among else { return };
        if lanes.min(*count) > 1 {
            let Flow { key, opens } = flow();
            if opens || board.lane_of(key).is_none() {
                board.keep(key, self.own);
            }
        }
    }
}

/// Of the lanes that a pair uses, those that have a session; all where none has: its tunnel makes one.
fn usable(board: &Board, lanes: u8, peer: PeerSlot) -> u8 {
    let used = u8::MAX >> (MAX_LANES - lanes.clamp(1, MAX_LANES));
    match board.up(peer) & used {
        0 => used,
        some => some,
    }
}

/// This lane if it is among those, else the one that stands for it.
fn among(bits: u8, lane: u8) -> u8 {
    if bits & bit(lane) != 0 { lane } else { nth(bits, lane) }
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
