//! Losses inside of tunnels. Each data message has the next counter of its session (whitepaper 5.4.6), so the receiver knows how many the peer has
//! sealed and how many of them have arrived, without a question. Judged over two spans of ten seconds, one after the other: what is lost in one
//! second, because a link has flapped, is no standing loss. No I/O: counts go in, a judgement of each peer comes out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::tunnel::Arrivals;
use crate::types::{Mono, PeerSlot};

/// One of the two spans that are judged.
const SPAN: Duration = Duration::from_secs(10);
/// How long a loss that has been told is told on after the last span that shows it: guests make pauses.
const HOLD: Duration = Duration::from_secs(10);
/// What is told: of at least so many messages of a span, so many of a thousand lost. Of few messages more must be, to be no chance.
const BARS: [(u64, u64); 2] = [(200, 20), (50, 100)];
/// What ends it: fewer of a thousand.
const ENDS: u64 = 10;
/// A percentage of fewer messages than that is none.
const SHOWN: u64 = 50;
/// Looks of a span in which more is lost than in all others, and that count no more than the next: a gap of any length shows in the look that
/// ends it, and is cut in two at most.
const OUTLIERS: usize = 2;

/// What a lane has counted.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Which lane.
    pub lane: u8,
    /// Packets that its socket could not take, damaged ones among them; wraps.
    pub overflows: u32,
    /// The messages of each peer.
    pub peers: Vec<(PeerSlot, Arrivals)>,
}

/// Where messages are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whence {
    /// Before they come to this node's socket.
    Way,
    /// While the socket overflows: this machine reads less than comes.
    Socket,
}

/// What is known of a peer's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Lost of those of the last 20 s, percent; none: they are too few.
    pub percent: Option<u8>,
    /// Many are lost for longer than a moment, and where.
    pub stands: Option<Whence>,
}

/// All peers of a node.
#[derive(Debug, Default)]
pub struct Losses {
    seen: BTreeMap<(u8, PeerSlot), Arrivals>,
    overflows: BTreeMap<u8, u32>,
    /// Datagrams that no socket of the machine had room for, and whether there were more at the look before.
    no_room: (u64, bool),
    /// Lanes whose socket has overflowed between the two looks before this one: gaps show when what had waited before them is read.
    full: Vec<u8>,
    tracks: BTreeMap<PeerSlot, Track>,
}

/// What came from a peer between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Slice {
    at: Mono,
    sealed: u64,
    lost: u64,
    /// A socket that it came by has overflowed.
    full: bool,
}

#[derive(Debug, Default)]
struct Track {
    slices: VecDeque<Slice>,
    stands: Option<Whence>,
    shown: Mono,
}

impl Losses {
    /// Takes what the lanes have counted since they began; to be called about once a second. A lane that begins anew counts from there.
    /// `no_room`: datagrams that no UDP socket of the machine had room for. Where it stands still, what a socket could not take was damaged,
    /// as anybody's may be.
    pub fn look(&mut self, lanes: &[Counted], no_room: u64, now: Mono) {
        let before = std::mem::take(&mut self.full);
        // The two are not counted at the same moment.
        let (was, just) = self.no_room;
        self.no_room = (no_room, no_room != was);
        let room = no_room == was && !just;
        let changed = |lane: &Counted| self.overflows.get(&lane.lane).is_some_and(|was| *was != lane.overflows);
        let overflowed = |lane: &&Counted| !room && changed(lane);
        self.full = lanes.iter().filter(overflowed).map(|lane| lane.lane).collect();
        self.overflows = lanes.iter().map(|lane| (lane.lane, lane.overflows)).collect();
        let mut slices: BTreeMap<PeerSlot, Slice> = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for Counted { lane, peers, .. } in lanes {
            let full = before.contains(lane) || self.full.contains(lane);
            for (peer, arrivals) in peers {
                let slice = slices.entry(*peer).or_insert_with(|| Slice { at: now, ..Slice::default() });
                seen.insert((*lane, *peer), *arrivals);
                if let Some(was) = self.seen.get(&(*lane, *peer)) {
                    slice.add(*was, *arrivals, full);
                }
            }
        }
        self.seen = seen;
        self.tracks.retain(|peer, _| slices.contains_key(peer));
        for (peer, slice) in slices {
            self.tracks.entry(peer).or_default().add(slice, now);
        }
    }

    /// What is known of a peer.
    pub fn of(&self, peer: PeerSlot) -> Option<Loss> {
        let track = self.tracks.get(&peer)?;
        let total = sum(track.slices.iter().map(|slice| (slice.sealed, slice.lost)));
        Some(Loss { percent: percent(total), stands: track.stands })
    }
}

impl Slice {
    fn add(&mut self, was: Arrivals, is: Arrivals, full: bool) {
        let sealed = is.sealed.checked_sub(was.sealed);
        let Some((sealed, accepted)) = sealed.zip(is.accepted.checked_sub(was.accepted)) else { return };
        // What is late counts where it arrives.
        let lost = sealed.saturating_sub(accepted);
        self.sealed = self.sealed.saturating_add(sealed);
        self.lost = self.lost.saturating_add(lost);
        self.full |= full && lost > 0;
    }
}

impl Track {
    fn add(&mut self, slice: Slice, now: Mono) {
        if slice.sealed > 0 {
            self.slices.push_back(slice);
        }
        while self.slices.front().is_some_and(|first| now.since(first.at) >= 2 * SPAN) {
            self.slices.pop_front();
        }
        let (recent, earlier): (Vec<Slice>, Vec<Slice>) =
            self.slices.iter().partition(|slice| now.since(slice.at) < SPAN);
        let spans = [recent, earlier];
        let clear = spans.each_ref().map(|span| span.iter().copied().filter(|slice| !slice.full).collect::<Vec<_>>());
        let found = if clear.iter().all(|span| is_bad(span)) {
            Some(Whence::Way)
        } else {
            spans.iter().all(|span| is_bad(span)).then_some(Whence::Socket)
        };
        let (sealed, lost) = steady(&spans[0]);
        if found.is_some() {
            (self.stands, self.shown) = (found, now);
        } else if lost > 0 && reaches(sealed, lost, ENDS) {
            self.shown = now;
        } else if now.since(self.shown) >= HOLD {
            self.stands = None;
        }
    }
}

/// Whether so many are lost in a span that it is told.
fn is_bad(span: &[Slice]) -> bool {
    let (sealed, lost) = steady(span);
    BARS.iter().any(|(least, of_thousand)| sealed >= *least && reaches(sealed, lost, *of_thousand))
}

fn reaches(sealed: u64, lost: u64, of_thousand: u64) -> bool {
    u128::from(lost) * 1000 >= u128::from(sealed) * u128::from(of_thousand)
}

/// How many messages a span has, and how many of them are lost, where no look counts that stands out.
fn steady(span: &[Slice]) -> (u64, u64) {
    let mut lost: Vec<u64> = span.iter().map(|slice| slice.lost).collect();
    lost.sort_unstable_by_key(|lost| std::cmp::Reverse(*lost));
    let most = lost.get(OUTLIERS).copied().unwrap_or_default();
    sum(span.iter().map(|slice| {
        let lost = slice.lost.min(most);
        (slice.sealed - (slice.lost - lost), lost)
    }))
}

/// A peer may let its counters jump as far as they reach.
fn sum(counts: impl Iterator<Item = (u64, u64)>) -> (u64, u64) {
    counts.fold((0, 0), |(sealed, lost), one| (sealed.saturating_add(one.0), lost.saturating_add(one.1)))
}

fn percent((sealed, lost): (u64, u64)) -> Option<u8> {
    let rounded = (u128::from(lost) * 100 + u128::from(sealed) / 2).checked_div(u128::from(sealed))?;
    if sealed < SHOWN { None } else { u8::try_from(rounded).ok() }
}

#[cfg(test)]
#[path = "losses_tests.rs"]
mod tests;
