//! How much to read at once, so that latency is not traded for throughput, nor throughput for latency.
//!
//! To know that a second frame waits costs a system call. After a quiet moment the first frame leaves before anybody asks: it is
//! most likely alone, and if it is not, the others follow in the next turn, together. Where frames follow each other closely,
//! a batch is read to its end, and small frames share their system calls.

use std::time::Duration;

use crate::types::Mono;

/// Frames that are further apart than this would not have shared a batch. A turn of a lane takes some ten microseconds.
const QUIET: Duration = Duration::from_micros(100);

/// When one direction last had something to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace(Mono);

impl Pace {
    /// Nothing was read before `now`.
    pub(super) const fn new(now: Mono) -> Self {
        Self(now)
    }

    /// How many messages to read at `now`: one after a quiet moment, else a `batch`.
    pub(super) fn read(&mut self, now: Mono, batch: usize) -> usize {
        let quiet = now.since(self.0) >= QUIET;
        self.0 = now;
        if quiet { 1 } else { batch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_after_a_quiet_moment_is_not_kept_waiting_and_what_follows_shares_a_batch() {
        let start = Mono::default();
        let mut pace = Pace::new(start);
        let at = |micros| start + Duration::from_micros(micros);
        assert_eq!(pace.read(at(100), 64), 1);
        assert_eq!(pace.read(at(110), 64), 64, "a turn later");
        assert_eq!(pace.read(at(209), 64), 64);
        assert_eq!(pace.read(at(309), 64), 1);
    }
}
