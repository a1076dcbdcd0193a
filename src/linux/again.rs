//! Starts after failures. The units start a daemon again and again, each second, and it is the daemon that becomes slower: systemd can do
//! that itself only from 254 on (`RestartSteps`), and Debian 12 has 252. Who ends it in its wait, as `systemctl restart` does, has it
//! started at once.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file;
use crate::types::Mono;

/// File of the mark, in the folder that the unit gives.
pub const MARK: &str = "starts";
/// Failures that cost no wait: what is over at once, and what a person does.
const FREE: u32 = 2;
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// Who has run for as long did not fail at its start.
const STEADY: Duration = Duration::from_secs(60);
/// What a start may take after its wait, as systemd has it where nobody says otherwise (`DefaultTimeoutStartSec`).
const START: Duration = Duration::from_secs(90);

/// What the last start has written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    /// Starts in a row that did not end well, this one included.
    starts: u32,
    /// When its wait was over.
    at: Mono,
}

impl Last {
    fn read(text: &str) -> Option<Self> {
        let (starts, at) = text.trim().split_once(' ')?;
        Some(Self { starts: starts.parse().ok()?, at: Mono::from_nanos(at.parse().ok()?) })
    }

    fn text(self) -> String {
        format!("{} {}\n", self.starts, self.at.as_nanos())
    }
}

/// Which start in a row this is. One that is not the last one's failure is the first: it was ended in its wait (or before a boot), or
/// it had run for a while.
fn next(last: Option<Last>, now: Mono) -> Last {
    let failed = last.filter(|last| last.at <= now && now.since(last.at) < STEADY);
    let starts = failed.map_or(1, |last| last.starts.saturating_add(1));
    Last { starts, at: now + wait(starts) }
}

/// How long the start waits: 1, 2, 4 s and so on, up to a minute.
fn wait(starts: u32) -> Duration {
    let doubled = starts.saturating_sub(1).checked_sub(FREE).map(|times| 1_u64.checked_shl(times).unwrap_or(u64::MAX));
    doubled.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST)
}

/// A start under systemd; elsewhere it is nothing.
#[derive(Debug)]
pub struct Start {
    mark: Option<PathBuf>,
}

impl Start {
    /// Waits where the starts before this one have failed.
    pub fn begin() -> Self {
        let folder = ["RUNTIME_DIRECTORY", "STATE_DIRECTORY"].into_iter().find_map(std::env::var_os);
        // Both are of the unit: with one alone, a person has typed it.
        let folder = folder.filter(|_| std::env::var_os("NOTIFY_SOCKET").is_some());
        let folder = folder.and_then(|all| Some(PathBuf::from(all.to_str()?.split(':').next()?)));
        let Some(folder) = folder else { return Self { mark: None } };
        // A mark that cannot be written costs the wait, not the start.
        let this = note(&folder.join(MARK), crate::clock::mono()).ok();
        let left = this.map_or(Duration::ZERO, |this| wait(this.starts));
        if let Some(this) = this.filter(|_| !left.is_zero()) {
            tell(this, left);
            std::thread::sleep(left);
        }
        Self { mark: Some(folder.join(MARK)) }
    }

    /// It ended as it should: the next start is the first.
    pub fn ended_well(self) {
        if let Some(mark) = self.mark {
            let _ = file::remove(&mark);
        }
    }
}

/// Writes down that this start is there.
fn note(mark: &Path, now: Mono) -> io::Result<Last> {
    let text = file::read(mark).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let this = next(text.as_deref().and_then(Last::read), now);
    file::write(mark, this.text().as_bytes(), 0o600).map(|()| this)
}

/// Says to systemd and to its log what it waits for.
fn tell(this: Last, left: Duration) {
    let (failed, left_s) = (this.starts - 1, left.as_secs());
    let text = format!("{failed} starts in a row have failed: waits {left_s} s; systemctl restart does not wait");
    // The log begins with the configuration, which is read when the wait is over.
    let _ = writeln!(io::stderr(), "{text}");
    let micros = u32::try_from((left + START).as_micros()).unwrap_or(u32::MAX);
    let states = [sd_notify::NotifyState::ExtendTimeoutUsec(micros), sd_notify::NotifyState::Status(&text)];
    // Nobody to notify is no fault.
    let _ = sd_notify::notify(&states);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::default() + Duration::from_secs(seconds)
    }

    /// Starts, each as long after the end of the wait of the one before as is said: what each waits.
    fn waits(lives: &[u64]) -> Vec<u64> {
        let mut now = at(100);
        let mut last = None;
        let mut waited = Vec::new();
        for life in lives {
            let this = next(last, now);
            waited.push(wait(this.starts).as_secs());
            now = this.at + Duration::from_secs(*life);
            last = Some(this);
        }
        waited
    }

    #[test]
    fn starts_that_fail_in_a_row_wait_ever_longer_and_at_most_a_minute() {
        assert_eq!(waits(&[1; 12]), [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(wait(u32::MAX), LONGEST);
    }

    #[test]
    fn one_that_has_run_for_a_while_begins_anew() {
        assert_eq!(waits(&[1, 1, 1, 1, 60, 1, 1, 1]), [0, 0, 1, 2, 4, 0, 0, 1]);
        assert_eq!(waits(&[1, 1, 59, 59, 59]), [0, 0, 1, 2, 4], "not long enough");
    }

    #[test]
    fn one_that_is_ended_in_its_wait_is_started_at_once_and_so_is_one_after_a_boot() {
        let waiting = Last { starts: 9, at: at(160) };
        assert_eq!(next(Some(waiting), at(101)), Last { starts: 1, at: at(101) });
        assert_eq!(next(Some(Last { starts: 9, at: at(9_000) }), at(5)).starts, 1, "the clock begins with the boot");
    }

    #[test]
    fn the_mark_is_read_as_it_was_written_and_another_text_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join(MARK);
        for starts in 1..=4 {
            assert_eq!(note(&mark, at(100 + u64::from(starts) * 5)).unwrap().starts, starts);
        }
        for text in ["", "x", "1", "1 x", "-1 5", "1 2 3", "\u{0}"] {
            assert_eq!(Last::read(text), None, "{text:?}");
            std::fs::write(&mark, text).unwrap();
            assert_eq!(note(&mark, at(200)).unwrap().starts, 1, "{text:?}");
        }
        assert!(note(&folder.path().join("none/starts"), at(1)).is_err());
        Start { mark: Some(mark.clone()) }.ended_well();
        assert!(!mark.exists());
    }
}
