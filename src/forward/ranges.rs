//! Which bytes of a packet have arrived: a few ranges that do not touch each other, in order.

/// Ranges that are remembered. A sender that keeps its order needs one.
const MOST: usize = 16;

/// The ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ranges {
    list: [(u16, u16); MOST],
    len: usize,
}

/// What became of one more range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Insert {
    /// It is new.
    Added,
    /// All of it had arrived before.
    Inside,
    /// Some of it had arrived before.
    Overlaps,
    /// It is new and there is no room for it.
    Full,
}

impl Ranges {
    pub(super) const EMPTY: Self = Self { list: [(0, 0); MOST], len: 0 };

    fn all(&self) -> &[(u16, u16)] {
        &self.list[..self.len]
    }

    /// End of the last one.
    pub(super) fn end(&self) -> u16 {
        self.all().last().map_or(0, |(_, end)| *end)
    }

    /// True where exactly the first `total` bytes are there.
    pub(super) fn is_exactly(&self, total: u16) -> bool {
        self.all() == [(0, total)]
    }

    /// Adds the bytes from `start` to `end`, which are at least one. Nothing changes unless they were added.
    pub(super) fn insert(&mut self, start: u16, end: u16) -> Insert {
        // The first that ends where this starts, or behind.
        let at = self.all().partition_point(|(_, theirs)| *theirs < start);
        let (mut from, mut to) = (start, end);
        let mut swallowed = 0;
        for (their_start, their_end) in &self.all()[at..] {
            if *their_start > end {
                break;
            }
            if *their_start <= start && end <= *their_end {
                return Insert::Inside;
            }
            if *their_start < end && start < *their_end {
                return Insert::Overlaps;
            }
            // It touches this one at an end.
            from = from.min(*their_start);
            to = to.max(*their_end);
            swallowed += 1;
        }
        if swallowed == 0 && self.len == MOST {
            return Insert::Full;
        }
        self.list.copy_within(at + swallowed..self.len, at + 1);
        self.list[at] = (from, to);
        self.len = self.len + 1 - swallowed;
        Insert::Added
    }
}
