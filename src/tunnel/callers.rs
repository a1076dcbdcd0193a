//! Which initiations under one static key of a peer are answered: their order, replays, and how many.
//!
//! An initiation shows that its caller has the private key, and not that it has the PSK: that the first data message of the session
//! shows. So only then its timestamp becomes the one that later calls have to pass. Linux takes the timestamp as soon as it answers
//! (`drivers/net/wireguard/noise.c`), and who has stolen a private key alone locks its owner out with one call from the future.

use std::collections::VecDeque;

use super::drops::DropReason;
use super::limits::{CALLS_REMEMBERED, INITIATION_INTERVAL};
use super::tai64n::Tai64n;
use crate::types::Mono;

/// Where an initiation came from. Each has its own allowance and its own sessions in the making, so that a thief of the key alone takes nothing from
/// a peer that is where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The IP address at which the peer was proved to be, or is stated to be.
    Known,
    /// Anywhere else: the peer has moved, or somebody else calls.
    Elsewhere,
}

/// What is remembered of the calls under one static key.
#[derive(Default)]
pub(super) struct Callers {
    /// The latest timestamp of a call whose session was opened with data.
    confirmed: Option<Tai64n>,
    /// Timestamps beyond it that were answered, newest answer last.
    answered: VecDeque<Tai64n>,
    /// When a call was last answered, by [`From`].
    last: [Option<Mono>; 2],
}

impl Callers {
    /// Takes a call. What is refused changes nothing.
    ///
    /// # Errors
    /// [`DropReason::StaleTimestamp`] for one that is not later than the last confirmed or was answered already, and
    /// [`DropReason::PeerLimited`] for one too soon after the last.
    pub(super) fn take(&mut self, stamp: Tai64n, from: From, now: Mono) -> Result<(), DropReason> {
        if self.confirmed.is_some_and(|mark| stamp <= mark) || self.answered.contains(&stamp) {
            return Err(DropReason::StaleTimestamp);
        }
        let last = &mut self.last[from as usize];
        if last.is_some_and(|last| now.since(last) < INITIATION_INTERVAL) {
            return Err(DropReason::PeerLimited);
        }
        *last = Some(now);
        if self.answered.len() >= CALLS_REMEMBERED {
            self.answered.pop_front();
        }
        self.answered.push_back(stamp);
        Ok(())
    }

    /// The caller of this one has shown that it has the PSK.
    pub(super) fn confirm(&mut self, stamp: Tai64n) {
        self.confirmed = self.confirmed.max(Some(stamp));
        self.answered.retain(|answered| Some(*answered) > self.confirmed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::Wall;

    fn stamp(second: u64) -> Tai64n {
        Tai64n::after(None, Wall::from_secs(second))
    }

    fn at(call: u64) -> Mono {
        Mono::from_nanos(1_000_000_000) + INITIATION_INTERVAL * u32::try_from(call).unwrap()
    }

    #[test]
    fn the_mark_is_what_was_confirmed_and_a_repeat_is_refused_before_that() {
        let mut callers = Callers::default();
        assert_eq!(callers.take(stamp(1_000), From::Elsewhere, at(0)), Ok(()), "from the future, by whom nobody knows");
        assert_eq!(callers.take(stamp(10), From::Known, at(1)), Ok(()), "the peer, at its time");
        for again in [1_000, 10] {
            assert_eq!(callers.take(stamp(again), From::Known, at(2)), Err(DropReason::StaleTimestamp), "{again}");
        }
        callers.confirm(stamp(10));
        assert_eq!(callers.take(stamp(9), From::Known, at(3)), Err(DropReason::StaleTimestamp));
        assert_eq!(callers.take(stamp(1_000), From::Known, at(3)), Err(DropReason::StaleTimestamp), "still remembered");
        assert_eq!(callers.take(stamp(11), From::Known, at(3)), Ok(()));
        callers.confirm(stamp(11));
        callers.confirm(stamp(10));
        assert_eq!(callers.take(stamp(11), From::Known, at(4)), Err(DropReason::StaleTimestamp), "it never goes back");
    }

    #[test]
    fn who_calls_from_elsewhere_takes_no_allowance_and_little_memory() {
        let mut callers = Callers::default();
        let soon = at(0) + Duration::from_millis(1);
        assert_eq!(callers.take(stamp(500), From::Elsewhere, at(0)), Ok(()));
        assert_eq!(callers.take(stamp(501), From::Elsewhere, soon), Err(DropReason::PeerLimited));
        assert_eq!(callers.take(stamp(5), From::Known, soon), Ok(()));
        for call in 1..1_000 {
            assert_eq!(callers.take(stamp(1_000 + call), From::Elsewhere, at(call)), Ok(()));
        }
        assert_eq!(callers.answered.len(), CALLS_REMEMBERED);
        assert_eq!(callers.take(stamp(6), From::Known, at(1_000)), Ok(()), "and the peer still calls");
    }
}
