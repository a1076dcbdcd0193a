//! Files that are either the old one or the new one, whatever happens in between: a crash, a full disk, a power cut.
//!
//! Every error names the path. Nothing here knows what the files hold.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::sys;

/// End of the names of temporary files. They also start with a dot.
const TEMPORARY: &str = ".vxmesh-new";

/// Writes `bytes` as the whole content of `path` with exactly `mode`: into a temporary file in the same folder, synced, renamed
/// over the old one, folder synced.
///
/// # Errors
/// The system's, with the path in front (`ErrorKind::StorageFull` for a full disk). The old file is untouched then, and the
/// temporary file is gone.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_all(path, mode, |file| file.write_all(bytes))
}

/// As [`write()`], with the content made by `fill`.
fn write_all(path: &Path, mode: u32, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let named = |error: io::Error| name(path, "write", &error);
    let (folder, temporary) = temporary_beside(path)?;
    let filled = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).and_then(|mut file| {
        fill(&mut file)?;
        // The umask may have taken bits away.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if let Err(error) = filled {
        // Best effort: what stays is cleaned at the next start.
        let _ = fs::remove_file(&temporary);
        return Err(named(error));
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(named)
}

/// The folder of `path`, and a name in it that no other writer uses.
fn temporary_beside(path: &Path) -> io::Result<(&Path, PathBuf)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let file = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| {
        io::Error::new(ErrorKind::InvalidInput, format!("cannot write {}: not a file name", path.display()))
    })?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    Ok((folder, folder.join(format!(".{file}.{}-{count}{TEMPORARY}", std::process::id()))))
}

/// The name of the file that this name is a temporary one of; none: it is no such name.
pub fn temporary_of(name: &str) -> Option<&str> {
    let (file, number) = name.strip_prefix('.')?.strip_suffix(TEMPORARY)?.rsplit_once('.')?;
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    is_number.then_some(file)
}

/// Removes temporary files that a crash left in `folder`; call it at start, before the first [`write()`]. Returns how many.
/// A folder that does not exist holds none.
///
/// # Errors
/// The system's, with the path in front.
pub fn clean(folder: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(name(folder, "list", &error)),
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry.map_err(|e| name(folder, "list", &e))?;
        let left = entry.file_name().to_str().is_some_and(|n| n.starts_with('.') && n.ends_with(TEMPORARY));
        if left {
            fs::remove_file(entry.path()).map_err(|e| name(&entry.path(), "remove", &e))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Makes `path` and its missing parents with `mode`. A folder that exists already may not be open to more people than `mode` says.
///
/// # Errors
/// The system's, with the path in front; `ErrorKind::PermissionDenied` with the command to run where it is too open.
pub fn ensure_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|e| name(path, "make folder", &e))?;
    refuse_loose(path, mode)
}

/// As [`ensure_dir`] for a folder that becomes this user's alone. One that is there, is empty and that nobody else can write to is tightened
/// to `mode`: nothing in it was ever shown, as where another program has made it. One that holds something is refused as it stands.
///
/// # Errors
/// As [`ensure_dir`].
pub fn take_dir(path: &Path, mode: u32) -> io::Result<()> {
    if let Ok(found) = fs::metadata(path)
        && found.is_dir()
        && [0, sys::effective_user()].contains(&found.uid())
        && found.permissions().mode() & 0o022 == 0
        && found.permissions().mode() & 0o077 & !mode != 0
        && fs::read_dir(path).is_ok_and(|mut all| all.next().is_none())
    {
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|e| name(path, "tighten", &e))?;
    }
    ensure_dir(path, mode)
}

/// Refuses a file or folder that belongs to another user than this one and root, or that is open to more people than `mode`
/// says. One that does not exist is fine.
///
/// # Errors
/// The system's, with the path in front; `ErrorKind::PermissionDenied` with the `chmod` or `chown` to run.
pub fn refuse_loose(path: &Path, mode: u32) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) => strict(path, &found, mode, sys::effective_user()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(name(path, "look at", &error)),
    }
}

fn strict(path: &Path, found: &Metadata, mode: u32, user: u32) -> io::Result<()> {
    let denied = |text: String| Err(io::Error::new(ErrorKind::PermissionDenied, text));
    let (what, path_of, path) = (if found.is_dir() { "folder" } else { "file" }, path, path.display());
    let (bits, owner) = (found.permissions().mode() & 0o777, found.uid());
    if owner != user && owner != 0 {
        let beside = path_of.parent().and_then(|folder| fs::metadata(folder).ok());
        if user == 0 && beside.as_ref().is_some_and(|folder| folder.uid() == owner) {
            // All of it is that user's: given to root, it would be out of that user's reach.
            return denied(format!("{what} {path}, as its folder, belongs to user {owner}: run this as that user"));
        }
        if user != 0 && beside.is_some_and(|folder| folder.uid() != user) {
            // It is an installation of somebody else: who only runs a command there must not be given its keys.
            return denied(format!("{what} {path} belongs to user {owner}: run this as that user, or as root"));
        }
        return denied(format!(
            "{what} {path} belongs to user {owner}, who can open it to others; run: chown {user} {path}"
        ));
    }
    if bits & 0o077 & !mode != 0 {
        let strict = bits & (0o700 | mode);
        return denied(format!(
            "{what} {path} has mode {bits:04o}, which is open to more people than {mode:04o}; run: chmod {strict:04o} {path}"
        ));
    }
    Ok(())
}

/// The content of `path`.
///
/// # Errors
/// The system's, with the path in front.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|e| name(path, "read", &e))
}

/// The text of a file that holds a secret, wiped after use.
///
/// # Errors
/// As [`read`], and `ErrorKind::PermissionDenied` where group or others can read the file, or it belongs to another user.
pub fn read_secret(path: &Path) -> io::Result<zeroize::Zeroizing<String>> {
    let named = |error: io::Error| name(path, "read", &error);
    // First by its name: root without `CAP_DAC_OVERRIDE` cannot even open what belongs to another user, and should be told why.
    refuse_loose(path, 0o600)?;
    let mut file = File::open(path).map_err(named)?;
    strict(path, &file.metadata().map_err(named)?, 0o600, sys::effective_user())?;
    let mut text = zeroize::Zeroizing::new(String::with_capacity(4096));
    file.read_to_string(&mut text).map_err(named)?;
    Ok(text)
}

/// Removes a file; one that does not exist is removed already.
///
/// # Errors
/// The system's, with the path in front.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(name(path, "remove", &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn name(path: &Path, verb: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
