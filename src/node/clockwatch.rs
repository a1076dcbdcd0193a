//! The wall clock, watched. An initiation carries the time of day, and a peer takes none that is earlier than the last one
//! (whitepaper 5.1). A clock that was in the future, for a minute, has therefore used up this key's time until then: after a
//! restart with the right time nobody would take its calls, and whoever recorded a call from the future could play it to any peer
//! that starts anew and lock this node out for years (CVE-2021-46873).
//!
//! So a mark is kept on disk that no timestamp under the key has passed; after a restart the timestamps go on from there. And a clock
//! that has gone back far gets the node a new key, for which no call from the future exists.

use std::time::Duration;

use crate::types::{Mono, Wall};

/// Steps of the clock that are none of the ordinary ones.
pub const JUMP: Duration = Duration::from_secs(3600);
/// The mark is this far ahead of the clock, so that it need not be written at every call.
const AHEAD: Duration = Duration::from_secs(600);

/// The clock has jumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// Into the future, by this much. Nothing is wrong as long as it stays there.
    Forward(Duration),
    /// Back, by this much: what was sent before is in the future now.
    Back(Duration),
}

/// The watch.
#[derive(Debug, Clone, Copy)]
pub struct ClockWatch {
    last: (Mono, Wall),
    mark: Wall,
}

impl ClockWatch {
    /// Begins. `mark` is what was on disk for the key in force; also says whether the clock is far behind it.
    pub fn new(now: Mono, wall: Wall, mark: Wall) -> (Self, Option<Jump>) {
        let behind = mark.since(wall);
        let jump = (behind > JUMP + AHEAD).then_some(Jump::Back(behind));
        (Self { last: (now, wall), mark }, jump)
    }

    /// Looks at both clocks; to be called often.
    pub fn look(&mut self, now: Mono, wall: Wall) -> Option<Jump> {
        let (then, before) = std::mem::replace(&mut self.last, (now, wall));
        let expected = before + now.since(then);
        let (ahead, behind) = (wall.since(expected), expected.since(wall));
        match (ahead > JUMP, behind > JUMP) {
            (true, _) => Some(Jump::Forward(ahead)),
            (_, true) => Some(Jump::Back(behind)),
            _ => None,
        }
    }

    /// The mark to write down, if the one on disk will not do for long.
    pub fn mark(&mut self) -> Option<Wall> {
        let (_, wall) = self.last;
        (self.mark < wall + AHEAD / 2).then(|| {
            self.mark = wall + AHEAD;
            self.mark
        })
    }

    /// Begins anew with another key, whose calls are all of now.
    pub fn new_key(&mut self) {
        self.mark = Wall::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

    fn at(secs: u64) -> (Mono, Wall) {
        (Mono::default() + Duration::from_secs(secs), Wall::from_secs(1_800_000_000 + secs))
    }

    fn watch(mark: Wall) -> ClockWatch {
        let (now, wall) = at(0);
        ClockWatch::new(now, wall, mark).0
    }

    #[test]
    fn jumps_are_told_and_ordinary_steps_are_not() {
        let mut watch = watch(Wall::default());
        for secs in 1..100 {
            let (now, wall) = at(secs * 40);
            let skewed = if secs % 2 == 0 { wall + Duration::from_secs(1_500) } else { wall };
            assert_eq!(watch.look(now, skewed), None, "half an hour to and fro is a time server");
        }
        let (now, wall) = at(4_000);
        assert!(matches!(watch.look(now, wall + TEN_YEARS), Some(Jump::Forward(by)) if by > TEN_YEARS - JUMP));
        let (now, wall) = at(4_001);
        assert_eq!(watch.look(now, wall + TEN_YEARS), None, "it stays there");
        let (now, wall) = at(4_002);
        assert!(matches!(watch.look(now, wall), Some(Jump::Back(by)) if by > TEN_YEARS - JUMP));
    }

    #[test]
    fn a_machine_that_slept_has_not_jumped() {
        let mut watch = watch(Wall::default());
        let (now, wall) = at(86_400 * 30);
        assert_eq!(watch.look(now, wall), None);
    }

    #[test]
    fn the_mark_is_ahead_of_every_timestamp_and_seldom_written() {
        let mut watch = watch(Wall::default());
        let (mut mark, mut written) = (Wall::default(), 0);
        for secs in 0..86_400 {
            let (now, wall) = at(secs);
            watch.look(now, wall);
            if let Some(new) = watch.mark() {
                (mark, written) = (new, written + 1);
            }
            assert!(mark > wall);
        }
        assert!((250..=300).contains(&written), "{written} times a day");
    }

    #[test]
    fn a_start_far_behind_the_mark_is_a_jump_and_an_ordinary_restart_is_none() {
        let (now, wall) = at(0);
        assert_eq!(ClockWatch::new(now, wall, wall + AHEAD).1, None);
        assert_eq!(ClockWatch::new(now, wall, Wall::default()).1, None, "the first start");
        assert!(matches!(ClockWatch::new(now, wall, wall + TEN_YEARS).1, Some(Jump::Back(_))));
    }
}
