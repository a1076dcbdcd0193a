//! Session indices: random 32-bit numbers that tell the receiver which session a message belongs to.
//!
//! Random, because numbers in sequence would tell everybody on the way how many peers and handshakes there are. And because
//! they are random, the low bits are already a good hash: the table is open addressing without a hash function.

use crate::types::PeerSlot;

/// Index to peer. Lookup is one read and rarely a second; it never allocates.
pub(super) struct IndexTable {
    /// A power of two of cells, at most half of them used.
    cells: Vec<Option<(u32, PeerSlot)>>,
    used: usize,
}

impl IndexTable {
    /// No index in use.
    pub(super) fn new() -> Self {
        Self { cells: vec![None; 64], used: 0 }
    }

    /// Whose session or handshake `index` is.
    pub(super) fn get(&self, index: u32) -> Option<PeerSlot> {
        self.cells[self.find(index)].map(|(_, slot)| slot)
    }

    /// Takes `index` for `slot`; false if it is taken.
    pub(super) fn insert(&mut self, index: u32, slot: PeerSlot) -> bool {
        if (self.used + 1) * 2 > self.cells.len() {
            self.grow();
        }
        let at = self.find(index);
        if self.cells[at].is_some() {
            return false;
        }
        self.cells[at] = Some((index, slot));
        self.used += 1;
        true
    }

    /// Gives `index` back.
    pub(super) fn remove(&mut self, index: u32) {
        let mut hole = self.find(index);
        if self.cells[hole].take().is_none() {
            return;
        }
        self.used -= 1;
        // What stands behind the hole moves into it, unless that would put it before its home.
        let mut at = self.after(hole);
        while let Some((other, _)) = self.cells[at] {
            if self.distance(self.home(other), at) >= self.distance(hole, at) {
                self.cells[hole] = self.cells[at].take();
                hole = at;
            }
            at = self.after(at);
        }
    }

    /// The cell that holds `index`, or the free one where it would go. There is a free one: half of them are.
    fn find(&self, index: u32) -> usize {
        let mut at = self.home(index);
        while self.cells[at].is_some_and(|(other, _)| other != index) {
            at = self.after(at);
        }
        at
    }

    fn grow(&mut self) {
        let wider = vec![None; self.cells.len() * 2];
        for (index, slot) in std::mem::replace(&mut self.cells, wider).into_iter().flatten() {
            let at = self.find(index);
            self.cells[at] = Some((index, slot));
        }
    }

    const fn home(&self, index: u32) -> usize {
        index as usize & (self.cells.len() - 1)
    }

    const fn after(&self, at: usize) -> usize {
        (at + 1) & (self.cells.len() - 1)
    }

    /// Steps forward from `from` to `to`.
    const fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.cells.len() - 1)
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;

#[cfg(test)]
impl IndexTable {
    /// How many indices name something.
    pub(super) const fn used(&self) -> usize {
        self.used
    }
}
