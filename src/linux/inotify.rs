//! Waits until something in a folder is other than before (inotify(7)).

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::sys;

/// A file was written and closed, renamed or removed, or a folder appeared. Not each write: nobody wants to read half a file.
const MASK: u32 = libc::IN_CLOSE_WRITE | libc::IN_MOVED_TO | libc::IN_MOVED_FROM | libc::IN_DELETE | libc::IN_CREATE;

/// A set of watched folders.
#[derive(Debug)]
pub struct Inotify(File);

impl Inotify {
    /// Nothing is watched yet.
    ///
    /// # Errors
    /// Too many instances of this user.
    pub fn new() -> io::Result<Self> {
        Ok(Self(sys::inotify()?.into()))
    }

    /// Watches a folder, not what is below it. Watching it again changes nothing.
    ///
    /// # Errors
    /// There is no such folder, or too many are watched.
    pub fn add(&self, folder: &Path) -> io::Result<()> {
        let path = CString::new(folder.as_os_str().as_bytes())?;
        sys::inotify_watch(&self.0, &path, MASK)
    }

    /// Waits for a change. Changes between two calls are not lost.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(&self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let read = (&self.0).read(&mut buffer)?;
            if matters(buffer.get(..read).unwrap_or_default()) {
                return Ok(());
            }
        }
    }
}

/// Whether one of the events is a change that somebody can read: all are but the birth of an empty file.
fn matters(mut events: &[u8]) -> bool {
    // struct inotify_event: watch, mask, cookie, length of the name, the name.
    while let Some((head, rest)) = events.split_at_checked(16) {
        let number = |at: usize| head.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
        let (mask, length) = (number(4), number(12));
        if mask & libc::IN_CREATE == 0 || mask & libc::IN_ISDIR != 0 {
            return true;
        }
        events = rest.get(usize::try_from(length).unwrap_or(usize::MAX)..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_renames_and_new_folders_wake() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let watch = Inotify::new().unwrap();
        watch.add(path).unwrap();
        watch.add(path).unwrap();
        std::fs::write(path.join("a"), b"x").unwrap();
        watch.wait().unwrap();
        std::fs::rename(path.join("a"), path.join("b")).unwrap();
        watch.wait().unwrap();
        std::fs::create_dir(path.join("c")).unwrap();
        watch.wait().unwrap();
        assert!(watch.add(&path.join("absent")).is_err());
    }

    #[test]
    fn the_birth_of_an_empty_file_does_not_matter() {
        let event = |mask: u32, name: &[u8; 16]| {
            let numbers = [1, mask, 0, 16_u32];
            [numbers.iter().flat_map(|n| n.to_ne_bytes()).collect::<Vec<u8>>(), name.to_vec()].concat()
        };
        let birth = event(libc::IN_CREATE, b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        let close = event(libc::IN_CLOSE_WRITE, b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert!(!matters(&birth));
        assert!(matters(&[birth.clone(), close].concat()));
        assert!(matters(&event(libc::IN_CREATE | libc::IN_ISDIR, b"d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")));
        assert!(!matters(&birth[..10]));
    }
}
