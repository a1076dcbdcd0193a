//! Which of a path's measured sizes count. A path that flaps must not make the guests' MTU flap: a smaller size counts once it
//! has stood for [`DECREASE`], a larger one once it has stood for [`INCREASE`]. Meanwhile nothing is lost: what does not fit
//! travels in fragments, and what would fit travels in smaller pieces than it could.

use std::time::Duration;

use crate::types::Mono;

/// How long a smaller size must stand.
pub const DECREASE: Duration = Duration::from_secs(30);
/// How long a larger size must stand.
pub const INCREASE: Duration = Duration::from_secs(300);

/// How long a larger size stands before it is told that it is there and when it counts: a search finds smaller ones on its way.
const TELL: Duration = Duration::from_secs(10);
/// Sizes that are remembered while they wait. With more than that some wait longer than they had to.
const WAITING: usize = 4;

/// What is waiting to count for one path: the run of sizes that all lie on one side of what counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steady {
    /// The one that is nearest to what counts first: only so much has stood all the time. Each later one is further off and has stood for less.
    waiting: Vec<Stood>,
    /// When something counted last.
    counted_at: Option<Mono>,
    /// It was told that a larger size waits.
    told: bool,
}

/// A size that was there, or passed, at every look since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stood {
    size: u16,
    since: Mono,
}

/// What counts next, if things stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// The size.
    pub size: u16,
    /// Since when what counts is not so any more.
    pub since: Mono,
    /// When it counts.
    pub at: Mono,
}

impl Steady {
    /// Looks at a path: `size` is what it carries now, `counted` what counts. Returns what counts from now on, if that is another.
    /// To be asked again about once a second while [`Steady::waits`].
    pub fn look(&mut self, size: u16, counted: u16, now: Mono) -> Option<u16> {
        self.look_since(size, counted, now, now)
    }

    /// The same of a size that has stood `since` then, as who measures it has seen.
    pub fn look_since(&mut self, size: u16, counted: u16, now: Mono, since: Mono) -> Option<u16> {
        if size == counted {
            self.waiting.clear();
            return None;
        }
        self.wait(size, counted, since.min(now));
        let (last, Next { size, at, .. }) = self.ripe(counted)?;
        if now < at {
            return None;
        }
        self.waiting.drain(..=last);
        self.counted_at = Some(now);
        self.told = false;
        Some(size)
    }

    /// What counts next and when.
    pub fn next(&self, counted: u16) -> Option<Next> {
        self.ripe(counted).map(|(_, next)| next)
    }

    /// A larger size that waits and was not told yet: once between two sizes that count, so a path that flaps is told once.
    pub fn grown(&mut self, counted: u16, now: Mono) -> Option<Next> {
        let next =
            self.next(counted).filter(|next| next.size > counted && now.since(next.since) >= TELL && !self.told)?;
        self.told = true;
        Some(next)
    }

    /// Nothing is known of the path any more: what was waiting has not stood.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }

    /// True while a size waits to count.
    pub const fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A size has stood since the first look at which it, or one further from what counts, was there.
    fn wait(&mut self, size: u16, counted: u16, stands: Mono) {
        let shrinks = size < counted;
        self.waiting.retain(|stood| (stood.size < counted) == shrinks && stood.size != counted);
        let mut since = stands;
        while let Some(last) = self.waiting.last().copied() {
            let milder = if shrinks { last.size > size } else { last.size < size };
            if milder {
                break;
            }
            self.waiting.pop();
            since = since.min(last.since);
        }
        if self.waiting.len() >= WAITING {
            self.waiting.pop();
        }
        self.waiting.push(Stood { size, since });
    }

    /// What counts next, and the last of those that wait which it covers. Two changes are never closer than [`DECREASE`]: a larger size
    /// waits for one that is larger still and nearly there, a smaller one for the change before.
    fn ripe(&self, counted: u16) -> Option<(usize, Next)> {
        let first = self.waiting.first().filter(|first| first.size != counted)?;
        let shrinks = first.size < counted;
        let stood = |stood: &Stood| stood.since + if shrinks { DECREASE } else { INCREASE };
        let mut at = stood(first);
        if let Some(before) = self.counted_at.filter(|_| shrinks) {
            at = at.max(before + DECREASE);
        }
        let mut last = (0, first.size);
        for (n, next) in self.waiting.iter().enumerate().skip(1) {
            if stood(next) > if shrinks { at } else { at + DECREASE } {
                break;
            }
            at = at.max(stood(next));
            last = (n, next.size);
        }
        Some((last.0, Next { size: last.1, since: first.since, at }))
    }
}

#[cfg(test)]
#[path = "steady_tests.rs"]
mod tests;
