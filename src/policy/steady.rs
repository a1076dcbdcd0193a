//! Which of a path's measured sizes count. A path that flaps must not make the guests' MTU flap: a smaller size counts once it
//! has stood for [`DECREASE`], a larger one once it has stood for [`INCREASE`]. Meanwhile nothing is lost: what does not fit
//! travels in fragments, and what would fit travels in smaller pieces than it could.

use std::time::Duration;

use crate::types::Mono;

/// How long a smaller size must stand.
pub const DECREASE: Duration = Duration::from_secs(30);
/// How long a larger size must stand.
pub const INCREASE: Duration = Duration::from_secs(300);

/// What is waiting to count for one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Steady {
    pending: Option<Pending>,
}

/// A run of sizes that all lie on one side of what counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pending {
    /// The one that is nearest to what counts: only so much has stood all the time.
    mildest: u16,
    since: Mono,
}

impl Steady {
    /// Looks at a path: `size` is what it carries now, `counted` what counts. Returns what counts from now on, if that is another.
    /// To be asked again about once a second while [`Steady::waits`].
    pub fn look(&mut self, size: u16, counted: u16, now: Mono) -> Option<u16> {
        if size == counted {
            self.pending = None;
            return None;
        }
        let shrinks = size < counted;
        let same_side = |pending: &Pending| (pending.mildest < counted) == shrinks && pending.mildest != counted;
        let pending = match self.pending.filter(same_side) {
            Some(Pending { mildest, since }) => {
                Pending { mildest: if shrinks { mildest.max(size) } else { mildest.min(size) }, since }
            }
            None => Pending { mildest: size, since: now },
        };
        self.pending = Some(pending);
        let patience = if shrinks { DECREASE } else { INCREASE };
        (now.since(pending.since) >= patience).then(|| {
            self.pending = None;
            pending.mildest
        })
    }

    /// Nothing is known of the path any more: what was waiting has not stood.
    pub const fn forget(&mut self) {
        self.pending = None;
    }

    /// True while a size waits to count.
    pub const fn waits(&self) -> bool {
        self.pending.is_some()
    }
}

#[cfg(test)]
#[path = "steady_tests.rs"]
mod tests;
