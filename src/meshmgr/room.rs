//! Whether the disk of the store can be written. Nobody may change a mesh for weeks, so it is tried: who has to change it at night is not the
//! one who finds out.

use std::io::{Error, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::api::local::Finding;
use crate::types::Mono;

/// How often it is tried at most.
const AGAIN: Duration = Duration::from_secs(5);
/// The file that is written, and removed.
const FILE: &str = ".room";
/// Bytes that a change takes at least: some pages of the store.
static BYTES: [u8; 32_768] = [0; 32_768];

/// The folder of the store.
#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    last: Mutex<Option<(Mono, Option<Finding>)>>,
}

impl Room {
    /// Nothing is tried yet.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, last: Mutex::default() }
    }

    /// What is wrong with the disk, as of a moment ago. Blocks.
    pub(super) fn finding(&self, now: Mono) -> Option<Finding> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(at, _)| now.since(*at) >= AGAIN) {
            *last = Some((now, attempt(&self.folder).err().map(|error| full(&self.folder, &error))));
        }
        last.as_ref().and_then(|(_, finding)| finding.clone())
    }
}

fn attempt(folder: &Path) -> Result<(), Error> {
    let path = folder.join(FILE);
    let written = std::fs::File::create(&path).and_then(|mut file| file.write_all(&BYTES));
    // What could not be made cannot be removed.
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

fn full(folder: &Path, error: &Error) -> Finding {
    let limit = error.kind() == ErrorKind::FileTooLarge;
    let folder = folder.display();
    let help = if limit {
        "raise the limit for the size of its files: prlimit --fsize --pid $(pidof meshmgr); LimitFSIZE= in its unit"
            .to_owned()
    } else {
        format!("make room, or mount it writable: df {folder}; mount | grep {folder}")
    };
    let what = format!(
        "the store of the management node cannot be written: {error} ({folder}); changes are refused, nodes go on as before"
    );
    Finding::new("M0689", what, help).harmless()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told_until_it_can_and_nothing_stays_in_one_that_can() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("state");
        let room = Room::new(folder.clone());
        let found = room.finding(at(1)).unwrap();
        assert!(found.code == "M0689" && found.what.contains("No such file"), "{found:?}");
        std::fs::create_dir(&folder).unwrap();
        assert!(room.finding(at(2)).is_some(), "it is not tried at every question");
        assert_eq!(room.finding(at(7)), None);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        std::fs::remove_dir(&folder).unwrap();
        assert!(room.finding(at(13)).is_some());
    }
}
