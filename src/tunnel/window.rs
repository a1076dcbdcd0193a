//! Which counters of a session have been seen: a ring of bits behind the newest one (whitepaper 5.4.6, RFC 6479).

use super::limits::WINDOW;

/// One word more than the window holds, so that the word being filled and the oldest one never meet.
const WORDS: usize = 129;
const BITS: u64 = 64;

const _: () = assert!(BITS * (WORDS as u64 - 1) == WINDOW);

/// A window of [`WINDOW`] counters. A counter is checked before the packet is authenticated and committed after, so a
/// forgery never moves it.
pub(super) struct Window {
    /// One past the newest counter committed; zero while there is none.
    next: u64,
    ring: [u64; WORDS],
}

impl Window {
    /// Nothing seen.
    pub(super) const fn new() -> Self {
        Self { next: 0, ring: [0; WORDS] }
    }

    /// Whether `counter` is neither seen nor too old.
    pub(super) fn fresh(&self, counter: u64) -> bool {
        if counter >= self.next {
            return true;
        }
        if self.next - counter > WINDOW {
            return false;
        }
        let (word, bit) = place(counter);
        self.ring[word] & bit == 0
    }

    /// Marks `counter` as seen; it was [`Self::fresh`]. Says by how much the newest counter has advanced; zero: this one is late.
    pub(super) fn commit(&mut self, counter: u64) -> u64 {
        let ahead = (counter + 1).saturating_sub(self.next);
        if ahead > 0 {
            self.clear_up_to(counter);
            self.next = counter + 1;
        }
        let (word, bit) = place(counter);
        self.ring[word] |= bit;
        ahead
    }

    /// Clears the words between the newest counter's and `counter`'s.
    fn clear_up_to(&mut self, counter: u64) {
        let Some(last) = self.next.checked_sub(1) else { return };
        let ahead = (counter / BITS - last / BITS).min(WORDS as u64);
        for step in 1..=ahead {
            self.ring[slot(last / BITS + step)] = 0;
        }
    }
}

/// Where the ring holds the word of this number.
#[expect(clippy::cast_possible_truncation, reason = "less than WORDS")]
const fn slot(word: u64) -> usize {
    (word % WORDS as u64) as usize
}

/// The word and the bit of a counter.
const fn place(counter: u64) -> (usize, u64) {
    (slot(counter / BITS), 1 << (counter % BITS))
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
