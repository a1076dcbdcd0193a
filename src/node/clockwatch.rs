//! The wall clock, watched. An initiation carries the time of day, and a peer takes none that is earlier than the last one
//! (whitepaper 5.1). A clock that was in the future, for a minute, has therefore used up this key's time until then: after a
//! restart with the right time nobody would take its calls, and whoever recorded a call from the future could play it to any peer
//! that starts anew and lock this node out for years (CVE-2021-46873).
//!
//! So a mark is kept on disk that no timestamp under the key has passed; after a restart the timestamps go on from there, and the mark
//! moves before the first of them is used: one that did not would have the next restart begin where this one began, and peers would
//! refuse its calls as old ones. And a clock that has gone back far gets the node a new key, for which no call from the future exists.

use std::time::Duration;

use crate::types::{Mono, Wall};

/// Steps of the clock that are none of the ordinary ones.
pub const JUMP: Duration = Duration::from_secs(3600);
/// The mark is this far ahead of the clock, so that it need not be written at every call.
const AHEAD: Duration = Duration::from_secs(600);
/// Where timestamps go on from a mark that is ahead of the clock: how far one process may come while it runs this often as long. A peer
/// is called every five seconds at most (whitepaper 6.1), and each call is a sixtieth of a second later than the one before, so this is ten
/// times what is used.
const PACE: u32 = 30;
/// The same for the calls that a start makes at once.
const MARGIN: Duration = Duration::from_secs(1);

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
    /// From where the timestamps of this process go on, and since when.
    floor: (Mono, Wall),
}

impl ClockWatch {
    /// Begins. `mark` is what was on disk for the key in force; also says whether the clock is far behind it.
    pub fn new(now: Mono, wall: Wall, mark: Wall) -> (Self, Option<Jump>) {
        let behind = mark.since(wall);
        let jump = (behind > JUMP + AHEAD).then_some(Jump::Back(behind));
        (Self { last: (now, wall), mark, floor: (now, mark) }, jump)
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

    /// The mark to write down, if the one on disk will not do for long. Whole seconds.
    pub fn mark(&mut self) -> Option<Wall> {
        let (now, wall) = self.last;
        let (began, floor) = self.floor;
        let come = floor + now.since(began) / PACE;
        if self.mark >= wall + AHEAD / 2 && self.mark >= come + MARGIN / 2 {
            return None;
        }
        self.mark = Wall::from_secs((wall + AHEAD).max(come + MARGIN).as_secs() + 1);
        Some(self.mark)
    }

    /// The mark could not be written: it is asked for again.
    pub fn not_kept(&mut self) {
        self.mark = Wall::default();
    }

    /// Begins anew with another key, whose calls are all of now.
    pub fn new_key(&mut self) {
        self.mark = Wall::default();
        self.floor = (self.last.0, Wall::default());
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
    fn restarts_in_a_row_each_go_on_from_a_later_mark_and_hardly_run_ahead() {
        for life in [0, 1, 7, 40, 400] {
            let (mut disk, mut secs) = (Wall::default(), 0);
            for _ in 0..500 {
                let (now, wall) = at(secs);
                let (mut watch, jump) = ClockWatch::new(now, wall, disk);
                assert_eq!(jump, None, "lives of {life} s: restarts are no jump of the clock");
                let floor = disk;
                disk = watch.mark().unwrap_or(disk);
                assert!(disk > floor, "lives of {life} s: before a call is made");
                for passed in 0..=life {
                    let (now, wall) = at(secs + passed);
                    watch.look(now, wall);
                    disk = watch.mark().unwrap_or(disk);
                    let calls = u32::try_from(passed).unwrap() / 5 + 2;
                    let used = wall.max(floor + Duration::from_secs(1) / 60 * calls);
                    assert!(disk > used, "lives of {life} s, {passed} s of it");
                }
                secs += life + 2;
            }
        }
    }

    #[test]
    fn a_start_far_behind_the_mark_is_a_jump_and_an_ordinary_restart_is_none() {
        let (now, wall) = at(0);
        assert_eq!(ClockWatch::new(now, wall, wall + AHEAD).1, None);
        assert_eq!(ClockWatch::new(now, wall, Wall::default()).1, None, "the first start");
        assert!(matches!(ClockWatch::new(now, wall, wall + TEN_YEARS).1, Some(Jump::Back(_))));
    }
}
