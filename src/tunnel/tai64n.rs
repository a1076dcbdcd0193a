//! Timestamps of initiations: a peer accepts only one later than the last (whitepaper 5.1, 5.4.2).

use crate::types::Wall;

/// TAI64 label of 1970-01-01T00:00:00Z: 2^62, and the ten seconds that TAI was ahead then.
const EPOCH: u64 = (1 << 62) + 10;
/// Nanoseconds are rounded down to a multiple of this (2^24, a sixtieth of a second), so that a timestamp tells nothing about
/// the time that anything on this machine takes. Less than the 20 ms that a peer wants between two initiations.
const GRAIN: u32 = 1 << 24;
const SECOND: u32 = 1_000_000_000;

/// Seconds and nanoseconds, big-endian: bytes compare like times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tai64n(pub(super) [u8; 12]);

impl Tai64n {
    fn new(seconds: u64, nanos: u32) -> Self {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&seconds.to_be_bytes());
        bytes[8..].copy_from_slice(&nanos.to_be_bytes());
        Self(bytes)
    }

    fn parts(self) -> (u64, u32) {
        let [s @ .., a, b, c, d] = self.0;
        (u64::from_be_bytes(s), u32::from_be_bytes([a, b, c, d]))
    }

    /// For an initiation at `wall`; later than `last` even if the clock has gone back since.
    pub(super) fn after(last: Option<Self>, wall: Wall) -> Self {
        let nanos = u32::try_from(wall.as_nanos() % u64::from(SECOND)).unwrap_or(0);
        let stamp = Self::new(wall.as_secs() + EPOCH, nanos - nanos % GRAIN);
        match last {
            Some(last) if stamp <= last => last.next(),
            Some(_) | None => stamp,
        }
    }

    fn next(self) -> Self {
        match self.parts() {
            (seconds, nanos) if nanos + GRAIN < SECOND => Self::new(seconds, nanos + GRAIN),
            (seconds, _) => Self::new(seconds.saturating_add(1), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_known_time_has_the_known_label() {
        // 2000-01-01T00:00:00Z in the fixed ten-second offset that WireGuard uses.
        let stamp = Tai64n::after(None, Wall::from_secs(946_684_800) + Duration::from_nanos(500_000_000));
        assert_eq!(stamp.0, [0x40, 0, 0, 0, 0x38, 0x6d, 0x43, 0x8a, 0x1d, 0, 0, 0]);
    }

    #[test]
    fn it_goes_on_when_the_clock_goes_back() {
        let mut last = Tai64n::after(None, Wall::from_secs(1_000));
        for second in (0..500).rev() {
            let next = Tai64n::after(Some(last), Wall::from_secs(second));
            assert!(next > last);
            last = next;
        }
        assert!(last < Tai64n::after(None, Wall::from_secs(1_010)), "and hardly runs ahead");
    }

    #[test]
    fn nanoseconds_are_rounded_down() {
        let at = |nanos| Tai64n::after(None, Wall::from_nanos(nanos));
        assert_eq!(at(0), at(u64::from(GRAIN) - 1));
        assert!(at(u64::from(GRAIN)) > at(0));
    }
}
