//! The way from lane to lane, for frames that the lane that read them does not carry. Bounded, first in first out, without a
//! lock: a lane in front of a full one drops, it never waits.
//!
//! The queues are `std::sync::mpsc::sync_channel`s: a ring of slots that is allocated once. Its waiting room, which has a lock, is
//! never entered, because nobody here blocks. For each full buffer that comes, an empty one goes back, so the pools stay as they are
//! and nothing is allocated.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};

use crate::forward::{Buf, DropReason, Drops, Frame, Handed, Pool};
use crate::linux::poll::Wake;
use crate::types::PeerSlot;

/// Frames that wait in front of a lane at most.
const ROOM: usize = 256;

/// A frame on its way between two lanes.
#[derive(Debug)]
pub(super) struct Passed {
    /// Lane that read it.
    from: u8,
    /// Where it goes.
    pub(super) peer: PeerSlot,
    /// It.
    pub(super) frame: Frame,
}

/// What other lanes hold of a lane.
#[derive(Debug, Clone)]
pub struct Door {
    frames: SyncSender<Passed>,
    empties: SyncSender<Buf>,
    bell: Arc<Bell>,
}

impl Door {
    /// The door of a lane that does not run yet: what is handed in is dropped and counted, as at the door of a dead one.
    ///
    /// # Errors
    /// Of `eventfd(2)`.
    pub fn nowhere() -> io::Result<Self> {
        pair().map(|(door, _)| door)
    }
}

/// What a lane holds of itself.
#[derive(Debug)]
pub(super) struct Entrance {
    frames: Receiver<Passed>,
    empties: Receiver<Buf>,
    bell: Arc<Bell>,
}

/// Readable while frames wait. `rung` spares a system call for each ring but the first.
#[derive(Debug)]
struct Bell {
    wake: Wake,
    rung: AtomicBool,
}

impl Bell {
    /// Who pushes before it rings is heard: the lane first clears the bell and then looks at the queue.
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.wake.ring();
        }
    }

    fn clear(&self) {
        self.wake.clear();
        // A swap, so that what was pushed before the ring that it takes back is seen.
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// Both ends of the way into a lane.
///
/// # Errors
/// Of `eventfd(2)`.
pub(super) fn pair() -> io::Result<(Door, Entrance)> {
    let (sender, frames) = mpsc::sync_channel(ROOM);
    let (empty_sender, empties) = mpsc::sync_channel(ROOM);
    let bell = Arc::new(Bell { wake: Wake::new()?, rung: AtomicBool::new(false) });
    Ok((Door { frames: sender, empties: empty_sender, bell: Arc::clone(&bell) }, Entrance { frames, empties, bell }))
}

/// All that a lane knows of the others.
#[derive(Debug)]
pub(super) struct Passage {
    own: u8,
    entrance: Entrance,
    /// By lane; empty while it is the only one.
    doors: Vec<Door>,
    /// A bit for each lane whose bell is to be rung.
    called: u8,
}

impl Passage {
    pub(super) fn new(own: u8, entrance: Entrance) -> Self {
        Self { own, entrance, doors: Vec::new(), called: 0 }
    }

    /// The doors of all lanes from now on.
    pub(super) fn set_doors(&mut self, doors: Vec<Door>) {
        self.doors = doors;
    }

    /// Hands a frame over, or drops and counts it. Then, once a batch, call [`Passage::ring`].
    pub(super) fn pass(&mut self, handed: Handed, pool: &mut Pool, drops: &mut Drops) {
        let Handed { lane, peer, frame } = handed;
        while let Ok(empty) = self.entrance.empties.try_recv() {
            pool.gained();
            pool.give(empty);
        }
        let frame = match self.doors.get(usize::from(lane)) {
            Some(door) => match door.frames.try_send(Passed { from: self.own, peer, frame }) {
                Ok(()) => {
                    pool.lost();
                    self.called |= 1_u8.rotate_left(lane.into());
                    return;
                }
                Err(mpsc::TrySendError::Full(passed) | mpsc::TrySendError::Disconnected(passed)) => passed.frame,
            },
            None => frame,
        };
        drops.count(DropReason::LaneBusy);
        pool.give(frame.buf);
    }

    /// Rings at every lane that something was handed to.
    pub(super) fn ring(&mut self) {
        if self.called == 0 {
            return;
        }
        for (lane, door) in (0_u32..).zip(&self.doors) {
            if self.called & 1_u8.rotate_left(lane) != 0 {
                door.bell.ring();
            }
        }
        self.called = 0;
    }

    /// True while frames may wait here.
    pub(super) fn is_called(&self) -> bool {
        self.entrance.bell.rung.load(Ordering::Acquire)
    }

    /// Silences the bell; then take everything, or ring again with [`Passage::ring_self`].
    pub(super) fn hear(&self) {
        self.entrance.bell.clear();
    }

    /// There is more, for the next turn.
    pub(super) fn ring_self(&self) {
        self.entrance.bell.ring();
    }

    /// The next frame, against an empty buffer.
    pub(super) fn take(&self, pool: &mut Pool) -> Option<Passed> {
        let passed = self.entrance.frames.try_recv().ok()?;
        pool.gained();
        if let Some(door) = self.doors.get(usize::from(passed.from))
            && let Some(empty) = pool.take()
        {
            match door.empties.try_send(empty) {
                Ok(()) => pool.lost(),
                Err(mpsc::TrySendError::Full(empty) | mpsc::TrySendError::Disconnected(empty)) => pool.give(empty),
            }
        }
        Some(passed)
    }
}

impl AsFd for Passage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.entrance.bell.wake.as_fd()
    }
}

#[cfg(test)]
#[path = "doors_tests.rs"]
mod tests;
