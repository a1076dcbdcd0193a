//! What the owner of a lane asks of it. The lane looks inside only when its eventfd wakes it, so it takes no lock per packet.

use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, mem};

use super::{Door, LaneStats, Setup};
use crate::linux::poll::Wake;
use crate::types::{NetSlot, PeerSlot};
use crate::wire::oam::Oam;

/// Box and bell.
#[derive(Debug)]
pub(super) struct Mailbox {
    letters: Mutex<Letters>,
    /// Readable while there is something inside.
    pub(super) wake: Wake,
}

/// What is asked.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Swap this in.
    pub(super) setup: Option<Arc<Setup>>,
    /// Answer these with the statistics.
    pub(super) stats: Vec<SyncSender<LaneStats>>,
    /// Measure the paths to these now.
    pub(super) probe: Vec<PeerSlot>,
    /// Say this to these peers.
    pub(super) say: Vec<(PeerSlot, Oam)>,
    /// Say these to the guests of this node.
    pub(super) announce: Vec<(NetSlot, Vec<u8>)>,
    /// The doors of all lanes from now on.
    pub(super) doors: Option<Vec<Door>>,
    /// End.
    pub(super) stop: bool,
    /// Panic, for tests of what happens then.
    #[cfg(debug_assertions)]
    pub(super) fail: bool,
    /// Setups that the lane no longer uses: freed here, because freeing a large table takes a lane's time.
    used: Vec<Arc<Setup>>,
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { letters: Mutex::new(Letters::default()), wake: Wake::new()? })
    }

    fn put<T>(&self, write: impl FnOnce(&mut Letters) -> T) -> T {
        let result = write(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.ring();
        result
    }

    pub(super) fn set(&self, setup: Arc<Setup>) {
        let replaced = self.put(|letters| (letters.setup.replace(setup), mem::take(&mut letters.used)));
        drop(replaced);
    }

    pub(super) fn stats(&self, patience: Duration) -> Option<LaneStats> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.put(|letters| letters.stats.push(sender));
        receiver.recv_timeout(patience).ok()
    }

    pub(super) fn probe(&self, peer: PeerSlot) {
        self.put(|letters| letters.probe.push(peer));
    }

    pub(super) fn say(&self, messages: Vec<(PeerSlot, Oam)>) {
        self.put(|letters| letters.say.extend(messages));
    }

    /// Has these said to the guests of this node.
    pub(super) fn announce(&self, frames: Vec<(NetSlot, Vec<u8>)>) {
        self.put(|letters| letters.announce.extend(frames));
    }

    pub(super) fn set_doors(&self, doors: Vec<Door>) {
        self.put(|letters| letters.doors = Some(doors));
    }

    #[cfg(debug_assertions)]
    pub(super) fn fail(&self) {
        self.put(|letters| letters.fail = true);
    }

    pub(super) fn stop(&self) {
        self.put(|letters| letters.stop = true);
    }

    /// Everything that is asked; `used` goes back to be freed.
    pub(super) fn take(&self) -> Letters {
        self.wake.clear();
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let used = mem::take(&mut letters.used);
        let taken = mem::take(&mut *letters);
        letters.used = used;
        taken
    }

    /// Gives back what is no longer used.
    pub(super) fn give_back(&self, setup: Arc<Setup>) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).used.push(setup);
    }
}
